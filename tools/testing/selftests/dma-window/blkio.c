// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write a block device from several processes at once and read it back, every
 * byte verified: content is a function of position, process and round, so that
 * neither a block in the wrong place nor one of an earlier round is taken for
 * the right one.
 *
 * A helper of the tests here; prints one line, exits with 0 if all is well.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALIGN	4096

static const char *device;
static size_t share, block;
static uint64_t first;
static bool direct;

static void fill(uint64_t *buf, size_t len, uint64_t pos, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len / sizeof(*buf); i++)
		buf[i] = (pos + i * sizeof(*buf)) * 0x9e3779b97f4a7c15ull ^ seed;
}

static int compare(const uint64_t *buf, size_t len, uint64_t pos, uint64_t seed)
{
	size_t i;

	for (i = 0; i < len / sizeof(*buf); i++) {
		uint64_t want = (pos + i * sizeof(*buf)) * 0x9e3779b97f4a7c15ull ^ seed;

		if (buf[i] != want) {
			printf("%s: at %#llx: %#llx, should be %#llx\n", device,
			       (unsigned long long)(pos + i * sizeof(*buf)),
			       (unsigned long long)buf[i], (unsigned long long)want);
			return -1;
		}
	}
	return 0;
}

/* Requests of many sizes up to the largest, from a fixed sequence. */
static size_t next_size(uint64_t *state, size_t left)
{
	size_t size;

	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	size = (*state >> 33) % (block / ALIGN) * ALIGN + ALIGN;
	if ((*state >> 20) & 1)
		size = block;
	return size < left ? size : left;
}

static int pass(int fd, void *buf, uint64_t base, uint64_t seed, bool writing)
{
	uint64_t state = seed;
	size_t done, size;
	ssize_t ret;

	for (done = 0; done < share; done += size) {
		size = next_size(&state, share - done);
		if (writing) {
			fill(buf, size, base + done, seed);
			ret = pwrite(fd, buf, size, base + done);
		} else {
			memset(buf, 0xa5, size);
			ret = pread(fd, buf, size, base + done);
		}
		if (ret != (ssize_t)size) {
			printf("%s: %s of %zu bytes at %#llx: %s\n", device,
			       writing ? "write" : "read", size,
			       (unsigned long long)(base + done),
			       ret < 0 ? strerror(errno) : "short");
			return -1;
		}
		if (!writing && compare(buf, size, base + done, seed))
			return -1;
	}
	if (writing && fsync(fd)) {
		printf("%s: fsync: %s\n", device, strerror(errno));
		return -1;
	}
	return 0;
}

static int worker(int id, int rounds)
{
	uint64_t base = first + (uint64_t)id * share;
	void *buf;
	int fd, r;

	fd = open(device, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (fd < 0 || posix_memalign(&buf, ALIGN, block)) {
		printf("%s: %s\n", device, strerror(errno));
		return 1;
	}
	for (r = 0; r < rounds; r++) {
		uint64_t seed = ((uint64_t)getppid() << 32) + id * 1000 + r + 1;

		if (pass(fd, buf, base, seed, true))
			return 1;
		/* Drop the page cache: the bytes read back have to come from the device. */
		posix_fadvise(fd, base, share, POSIX_FADV_DONTNEED);
		if (pass(fd, buf, base, seed, false))
			return 1;
		posix_fadvise(fd, base, share, POSIX_FADV_DONTNEED);
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int workers, rounds, i, status, bad = 0;

	if (argc != 7 && argc != 8) {
		fprintf(stderr, "usage: blkio DEVICE direct|buffered WORKERS KIB-PER-WORKER\n"
			"             LARGEST-REQUEST-KIB ROUNDS [FIRST-KIB]\n");
		return 2;
	}
	device = argv[1];
	direct = !strcmp(argv[2], "direct");
	workers = atoi(argv[3]);
	share = strtoul(argv[4], NULL, 0) << 10;
	block = strtoul(argv[5], NULL, 0) << 10;
	rounds = atoi(argv[6]);
	if (argc > 7)
		first = strtoull(argv[7], NULL, 0) << 10;
	if (workers < 1 || rounds < 1 || !share || !block ||
	    share % ALIGN || block % ALIGN || first % ALIGN) {
		fprintf(stderr, "blkio: sizes are multiples of 4 KiB, counts at least 1\n");
		return 2;
	}
	setlinebuf(stdout);
	for (i = 0; i < workers; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return 2;
		}
		if (!pid)
			exit(worker(i, rounds));
	}
	for (i = 0; i < workers; i++)
		if (wait(&status) < 0 || status)
			bad++;
	printf("%s: %d of %d workers failed, %zu KiB written and read back\n",
	       device, bad, workers, workers * rounds * (share >> 10));
	return bad != 0;
}
