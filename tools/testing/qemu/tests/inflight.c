// SPDX-License-Identifier: GPL-2.0-only
/*
 * A load of a known size: readers that each have one read of the disk in flight, all
 * at once if the disk is slow, again and again.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int reader(const char *disk, size_t size, off_t at, int rounds, int start)
{
	void *buf;
	char c;
	int fd;

	fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign(&buf, 4096, size)) {
		perror(disk);
		return 1;
	}
	memset(buf, 0, size);
	/* Wait until the parent has closed the other end: all start at once. */
	if (read(start, &c, 1))
		return 1;
	while (rounds--) {
		ssize_t n = pread(fd, buf, size, at);

		if (n != (ssize_t)size) {
			printf("%s: read of %zu bytes at %lld: %s\n", disk, size, (long long)at,
			       n < 0 ? strerror(errno) : "short");
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	int readers, rounds, start[2], status, i, bad = 0;
	size_t size;

	if (argc != 5) {
		fprintf(stderr, "usage: inflight DISK READERS KIB ROUNDS\n");
		return 2;
	}
	readers = atoi(argv[2]);
	size = strtoul(argv[3], NULL, 0) << 10;
	rounds = atoi(argv[4]);
	if (readers < 1 || !size || rounds < 1 || pipe(start)) {
		fprintf(stderr, "inflight: numbers from 1 on\n");
		return 2;
	}
	for (i = 0; i < readers; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return 2;
		}
		if (!pid) {
			close(start[1]);
			exit(reader(argv[1], size, i * size, rounds, start[0]));
		}
	}
	close(start[1]);
	for (i = 0; i < readers; i++)
		if (wait(&status) < 0 || status)
			bad++;
	printf("%s: %d of %d readers failed\n", argv[1], bad, readers);
	return bad != 0;
}
