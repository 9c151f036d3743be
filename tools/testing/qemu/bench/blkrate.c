// SPDX-License-Identifier: GPL-2.0-only
/*
 * Direct I/O on a disk with many requests in flight, for a given time.
 *
 * usage: blkrate DISK PATTERN BYTES DEPTH MILLISECONDS
 * PATTERN is randread, randwrite, read or write.
 *
 * Prints bytes per second. What fio's libaio engine does with direct=1, without
 * fio's libraries.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* xorshift: the same blocks in each run. */
static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

int main(int argc, char **argv)
{
	uint64_t start, end, bytes = 0, blocks, next = 0;
	bool random, writing;
	aio_context_t ctx = 0;
	struct io_event *events;
	struct iocb *iocbs, **list;
	long depth, i, n, inflight = 0;
	size_t size;
	off_t length;
	int fd;

	if (argc != 6) {
		fprintf(stderr, "usage: blkrate DISK PATTERN BYTES DEPTH MILLISECONDS\n");
		return 2;
	}
	random = !strncmp(argv[2], "rand", 4);
	writing = strstr(argv[2], "write");
	size = strtoul(argv[3], NULL, 0);
	depth = strtol(argv[4], NULL, 0);
	fd = open(argv[1], (writing ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || syscall(SYS_io_setup, depth, &ctx)) {
		perror(argv[1]);
		return 1;
	}
	length = lseek(fd, 0, SEEK_END);
	blocks = length / size;
	iocbs = calloc(depth, sizeof(*iocbs));
	list = calloc(depth, sizeof(*list));
	events = calloc(depth, sizeof(*events));
	if (!blocks || !iocbs || !list || !events)
		return 1;
	for (i = 0; i < depth; i++) {
		void *buf;

		if (posix_memalign(&buf, 4096, size))
			return 1;
		memset(buf, 'b', size);
		iocbs[i].aio_fildes = fd;
		iocbs[i].aio_lio_opcode = writing ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		iocbs[i].aio_buf = (uintptr_t)buf;
		iocbs[i].aio_nbytes = size;
		list[i] = &iocbs[i];
	}

	start = now();
	end = start + strtoull(argv[5], NULL, 0) * 1000000;
	n = depth;
	for (;;) {
		for (i = 0; i < n; i++) {
			list[i]->aio_offset = size *
				((random ? next_random() : next++) % blocks);
		}
		if (n && syscall(SYS_io_submit, ctx, n, list) != n) {
			perror("io_submit");
			return 1;
		}
		inflight += n;
		n = syscall(SYS_io_getevents, ctx, 1, depth, events, NULL);
		if (n < 0) {
			perror("io_getevents");
			return 1;
		}
		inflight -= n;
		for (i = 0; i < n; i++) {
			if (events[i].res != (int64_t)size) {
				printf("a request of %zu bytes: %lld\n", size,
				       (long long)events[i].res);
				return 1;
			}
			bytes += size;
			list[i] = (struct iocb *)(uintptr_t)events[i].obj;
		}
		if (now() >= end)
			break;
	}
	end = now();
	/* What is still in flight may end; its bytes do not count. */
	while (inflight > 0) {
		n = syscall(SYS_io_getevents, ctx, 1, depth, events, NULL);
		if (n < 0)
			break;
		inflight -= n;
	}
	printf("%.0f\n", bytes * 1e9 / (end - start));
	return 0;
}
