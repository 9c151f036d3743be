// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCP or UDP stream to or from netrate.py on the host, for a given time.
 *
 * usage: netrate tcp|udp ADDRESS PORT rx|tx MILLISECONDS
 *
 * Prints bytes per second that arrived: as the guest sees them, or, for UDP that
 * the guest sends, as the host says. The first tenth of the time is not counted.
 *
 * With UDP, who receives acknowledges, so that who sends is never more than
 * WINDOW datagrams ahead: nothing is sent only to be dropped.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* As in netrate.py. */
#define WINDOW	64
#define ACK	16
#define PAYLOAD	1472

/* Waits in a row for the other side, each as long as the socket's time-out. */
#define PATIENCE	50

/**
 * struct head - what a UDP datagram begins with, little endian
 * @what: "r" asks for data and acknowledges, "t" is data, "a" acknowledges
 * @unused: 0
 * @next: of data, its number; of an acknowledgment, the number that comes next
 * @bytes: of "a", what has arrived since number 0
 */
struct head {
	char		what;
	char		unused[7];
	uint64_t	next;
	uint64_t	bytes;
};

static char buf[256 * 1024];
static int fd;

/* When counting starts and ends, and what has been counted. */
static uint64_t begin, end, bytes;
static bool counting;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* True once the time is over; begin and end are then when it was counted. */
static bool counted(uint64_t len)
{
	uint64_t t = now();

	if (counting) {
		bytes += len;
		if (t < end)
			return false;
		end = t;
		return true;
	}
	if (t >= begin) {
		counting = true;
		begin = t;
	}
	return false;
}

static bool tcp(bool tx)
{
	ssize_t len;

	if (send(fd, tx ? "t" : "r", 1, 0) != 1)
		return false;
	do {
		len = tx ? send(fd, buf, sizeof(buf), 0) : recv(fd, buf, sizeof(buf), 0);
		if (len <= 0)
			return false;
	} while (!counted(len));
	return true;
}

static bool send_head(char what, uint64_t next, size_t len)
{
	struct head h = { .what = what, .next = htole64(next) };

	memcpy(buf, &h, sizeof(h));
	return send(fd, buf, len, 0) == (ssize_t)len;
}

/* The next datagram, or 0 bytes if none came for a while. */
static ssize_t receive(struct head *h)
{
	ssize_t len = recv(fd, buf, sizeof(buf), 0);

	if (len < 0)
		return errno == EAGAIN ? 0 : -1;
	if ((size_t)len < sizeof(*h))
		return -1;
	memcpy(h, buf, sizeof(*h));
	return len;
}

static bool udp_rx(void)
{
	uint64_t next = 0, acked = 0;
	int patience = PATIENCE;
	struct head h;
	ssize_t len;

	if (!send_head('r', 0, sizeof(h)))
		return false;
	while (patience) {
		len = receive(&h);
		if (len < 0)
			return false;
		if (!len)
			patience--;
		else
			patience = PATIENCE;
		/* Count on behind a gap: this is UDP. */
		if (len && le64toh(h.next) >= next)
			next = le64toh(h.next) + 1;
		if (counted(len))
			return true;
		/* A repeated request means that datagrams sent since are lost. */
		if (!len || next - acked >= ACK) {
			acked = next;
			if (!send_head('r', acked, sizeof(h)))
				return false;
		}
	}
	errno = ETIMEDOUT;
	return false;
}

static bool udp_tx(void)
{
	uint64_t next = 0, acked = 0, arrived = 0;
	int patience = PATIENCE;
	struct head h;
	ssize_t len;

	while (patience) {
		while (next < acked + WINDOW)
			if (!send_head('t', next++, PAYLOAD))
				return false;
		len = receive(&h);
		if (len < 0)
			return false;
		if (!len) {
			patience--;
			acked = next;
			continue;
		}
		patience = PATIENCE;
		if (le64toh(h.next) > acked)
			acked = le64toh(h.next);
		if (counted(le64toh(h.bytes) - arrived))
			return true;
		arrived = le64toh(h.bytes);
	}
	errno = ETIMEDOUT;
	return false;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct timeval timeout = { .tv_sec = 10 };
	uint64_t start;
	bool udp, tx;

	if (argc != 6 || inet_pton(AF_INET, argv[2], &addr.sin_addr) != 1) {
		fprintf(stderr, "usage: netrate tcp|udp ADDRESS PORT rx|tx MILLISECONDS\n");
		return 2;
	}
	udp = !strcmp(argv[1], "udp");
	addr.sin_port = htons(atoi(argv[3]));
	tx = !strcmp(argv[4], "tx");
	if (udp)
		timeout = (struct timeval){ .tv_usec = 100000 };
	fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	start = now();
	end = start + strtoull(argv[5], NULL, 0) * 1000000;
	begin = start + (end - start) / 10;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    !(!udp ? tcp(tx) : tx ? udp_tx() : udp_rx())) {
		perror(argv[2]);
		return 1;
	}
	printf("%.0f\n", bytes * 1e9 / (end - begin));
	return 0;
}
