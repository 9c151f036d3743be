// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: isolation-echo ADDRESS PAYLOAD BYTES SENT ECHOED
 *
 * Sends at least BYTES bytes of random data to ADDRESS in ICMP echo requests
 * of PAYLOAD bytes each, and takes nothing on trust that comes back: lengths,
 * IP and ICMP checksums, and every byte of the payload. What was sent goes to
 * the file SENT, what came back to ECHOED, both in the order of sending.
 *
 * Requests get lost on a loaded host and are then sent again; a wrong byte is
 * the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Requests under way, and what one may take before it is sent again. */
#define WINDOW		16
#define RETRY_MS	500
#define TRIES		20
#define MAX_PAYLOAD	1472

struct request {
	unsigned char sent[MAX_PAYLOAD];
	unsigned char echoed[MAX_PAYLOAD];
	bool answered;
};

static struct request requests[WINDOW];
static size_t payload;
static unsigned short ident;
static unsigned long resent;
static int sock;

static unsigned short checksum(const void *data, size_t len)
{
	const unsigned char *p = data;
	unsigned int sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static void die(const char *what)
{
	fprintf(stderr, "isolation-echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void bad(unsigned long seq, const char *what)
{
	fprintf(stderr, "isolation-echo: reply %lu: %s\n", seq, what);
	exit(1);
}

static void send_request(const struct sockaddr_in *to, unsigned long first,
			 unsigned int i)
{
	unsigned char packet[sizeof(struct icmphdr) + MAX_PAYLOAD];
	struct icmphdr icmp = {
		.type = ICMP_ECHO,
		.un.echo = { .id = ident, .sequence = htons(first + i) },
	};
	size_t len = sizeof(icmp) + payload;

	memcpy(packet, &icmp, sizeof(icmp));
	memcpy(packet + sizeof(icmp), requests[i].sent, payload);
	icmp.checksum = checksum(packet, len);
	memcpy(packet, &icmp, sizeof(icmp));
	if (sendto(sock, packet, len, 0, (const struct sockaddr *)to,
		   sizeof(*to)) != (ssize_t)len)
		die("sendto");
}

/* Take one packet; true if it is the first answer to one of this window. */
static bool receive(const struct sockaddr_in *from, unsigned long first)
{
	unsigned char packet[65536];
	struct icmphdr icmp;
	struct iphdr ip;
	size_t header, i;
	ssize_t len;

	len = recv(sock, packet, sizeof(packet), 0);
	if (len < 0)
		die("recv");
	if ((size_t)len < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	header = ip.ihl * 4;
	if ((size_t)len < header + sizeof(icmp))
		return false;
	memcpy(&icmp, packet + header, sizeof(icmp));
	if (ip.saddr != from->sin_addr.s_addr ||
	    icmp.type != ICMP_ECHOREPLY || icmp.un.echo.id != ident)
		return false;
	/* A late answer to a request of before that was sent twice? */
	i = (unsigned short)(ntohs(icmp.un.echo.sequence) - (unsigned short)first);
	if (i >= WINDOW || requests[i].answered)
		return false;

	if ((size_t)len != header + sizeof(icmp) + payload ||
	    ntohs(ip.tot_len) != len)
		bad(first + i, "wrong length");
	if (checksum(packet, header))
		bad(first + i, "wrong IP checksum");
	if (checksum(packet + header, len - header))
		bad(first + i, "wrong ICMP checksum");
	memcpy(requests[i].echoed, packet + header + sizeof(icmp), payload);
	if (memcmp(requests[i].echoed, requests[i].sent, payload))
		bad(first + i, "wrong payload");
	requests[i].answered = true;
	return true;
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* How many times slower than usual the machine and its kernel are. */
static unsigned int slow(void)
{
	const char *text = getenv("SLOW");
	int n = text ? atoi(text) : 1;

	return n > 1 ? n : 1;
}

/* One window of requests, until each is answered. */
static void exchange(const struct sockaddr_in *to, unsigned long first)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	unsigned int i, tries, answered = 0;
	long deadline, left;

	for (i = 0; i < WINDOW; i++) {
		if (getrandom(requests[i].sent, payload, 0) != (ssize_t)payload)
			die("getrandom");
		memset(requests[i].echoed, 0, payload);
		requests[i].answered = false;
	}
	for (tries = 0; answered < WINDOW; tries++) {
		if (tries == TRIES * slow()) {
			errno = ETIMEDOUT;
			die("no answer");
		}
		for (i = 0; i < WINDOW; i++) {
			if (requests[i].answered)
				continue;
			resent += tries > 0;
			send_request(to, first, i);
		}
		deadline = now_ms() + RETRY_MS;
		while (answered < WINDOW && (left = deadline - now_ms()) > 0)
			if (poll(&pfd, 1, left) > 0)
				answered += receive(to, first);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	unsigned long total, done = 0, seq = 0;
	FILE *sent, *echoed;
	unsigned int i;

	if (argc != 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: isolation-echo ADDRESS PAYLOAD BYTES SENT ECHOED\n");
		return 2;
	}
	payload = strtoul(argv[2], NULL, 10);
	total = strtoul(argv[3], NULL, 10);
	if (!payload || payload > MAX_PAYLOAD) {
		fprintf(stderr, "isolation-echo: payload of 1 to %d bytes\n", MAX_PAYLOAD);
		return 2;
	}
	sock = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (sock < 0)
		die("socket");
	sent = fopen(argv[4], "w");
	if (!sent)
		die(argv[4]);
	echoed = fopen(argv[5], "w");
	if (!echoed)
		die(argv[5]);
	ident = htons(getpid());

	while (done < total) {
		exchange(&to, seq);
		for (i = 0; i < WINDOW; i++) {
			fwrite(requests[i].sent, payload, 1, sent);
			fwrite(requests[i].echoed, payload, 1, echoed);
		}
		seq += WINDOW;
		done += WINDOW * payload;
	}
	if (fclose(sent) || fclose(echoed))
		die("output");
	printf("# %lu bytes in %lu requests, %lu sent again\n", done, seq, resent);
	return 0;
}
