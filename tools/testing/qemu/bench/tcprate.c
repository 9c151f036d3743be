// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCP stream to or from tcp.py on the host, for a given time.
 *
 * usage: tcprate ADDRESS PORT rx|tx MILLISECONDS
 *
 * Prints bytes per second, as the guest sees them. The first tenth of the time
 * is not counted.
 */

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	static char buf[256 * 1024];
	struct timeval timeout = { .tv_sec = 10 };
	struct sockaddr_in addr = { .sin_family = AF_INET };
	uint64_t start, begin, end, t, bytes = 0;
	bool tx, counting = false;
	ssize_t len;
	int fd;

	if (argc != 5 || inet_pton(AF_INET, argv[1], &addr.sin_addr) != 1) {
		fprintf(stderr, "usage: tcprate ADDRESS PORT rx|tx MILLISECONDS\n");
		return 2;
	}
	addr.sin_port = htons(atoi(argv[2]));
	tx = !strcmp(argv[3], "tx");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    send(fd, tx ? "t" : "r", 1, 0) != 1) {
		perror(argv[1]);
		return 1;
	}
	start = now();
	end = start + strtoull(argv[4], NULL, 0) * 1000000;
	begin = start + (end - start) / 10;
	do {
		len = tx ? send(fd, buf, sizeof(buf), 0) : recv(fd, buf, sizeof(buf), 0);
		if (len <= 0) {
			perror("the stream ended");
			return 1;
		}
		t = now();
		if (counting) {
			bytes += len;
		} else if (t >= begin) {
			counting = true;
			begin = t;
		}
	} while (t < end);
	printf("%.0f\n", bytes * 1e9 / (t - begin));
	return 0;
}
