// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send frames of all sizes between two network interfaces that the host has
 * connected, both ways, and verify every byte that arrives.
 *
 * A helper of the tests here; prints one line, exits with 0 if all is well.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* IEEE 802: for local experiments. */
#define PROTOCOL	0x88b5
#define MAX_FRAME	1514
/* In flight at a time, so that the smallest receive ring does not overflow. */
#define BATCH		16

struct frame {
	struct ethhdr eth;
	uint16_t unused;
	uint32_t number;
	uint32_t length;
};

struct port {
	const char *name;
	int fd;
	uint8_t mac[ETH_ALEN];
};

static int port_open(struct port *p, const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(PROTOCOL) };
	struct ifreq ifr = {};

	p->name = name;
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));
	if (p->fd < 0)
		return -1;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(p->fd, SIOCGIFHWADDR, &ifr))
		return -1;
	memcpy(p->mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(p->fd, SIOCGIFFLAGS, &ifr))
		return -1;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(p->fd, SIOCSIFFLAGS, &ifr))
		return -1;
	addr.sll_ifindex = if_nametoindex(name);
	return bind(p->fd, (struct sockaddr *)&addr, sizeof(addr));
}

static uint8_t byte_of(uint32_t number, size_t i)
{
	return (number * 2654435761u >> 16) + i * 7;
}

static size_t length_of(uint32_t number)
{
	size_t least = ETH_ZLEN;

	return least + number * 37 % (MAX_FRAME - least + 1);
}

static int send_frame(struct port *from, struct port *to, uint32_t number)
{
	uint32_t words[MAX_FRAME / 4 + 1] = {};
	uint8_t *buf = (void *)words;
	struct frame *f = (void *)words;
	size_t len = length_of(number), i;

	memcpy(f->eth.h_dest, to->mac, ETH_ALEN);
	memcpy(f->eth.h_source, from->mac, ETH_ALEN);
	f->eth.h_proto = htons(PROTOCOL);
	f->number = number;
	f->length = len;
	for (i = sizeof(*f); i < len; i++)
		buf[i] = byte_of(number, i);
	if (send(from->fd, buf, len, 0) == (ssize_t)len)
		return 0;
	printf("%s: send: %s\n", from->name, strerror(errno));
	return -1;
}

/* How many times slower than usual the machine and its kernel are. */
static unsigned int slow(void)
{
	const char *text = getenv("SLOW");
	int n = text ? atoi(text) : 1;

	return n > 1 ? n : 1;
}

static int receive_frame(struct port *at, uint32_t number)
{
	struct pollfd pfd = { .fd = at->fd, .events = POLLIN };
	uint32_t words[MAX_FRAME / 4 + 16];
	uint8_t *buf = (void *)words;
	struct frame *f = (void *)words;
	size_t want = length_of(number), i;
	ssize_t len;

	if (poll(&pfd, 1, 5000 * slow()) != 1) {
		printf("%s: frame %u did not arrive\n", at->name, number);
		return -1;
	}
	len = recv(at->fd, buf, sizeof(words), 0);
	if (len != (ssize_t)want || f->number != number || f->length != want) {
		printf("%s: frame %u of %zu bytes arrived as %u of %zd\n", at->name,
		       number, want, f->number, len);
		return -1;
	}
	for (i = sizeof(*f); i < want; i++) {
		if (buf[i] != byte_of(number, i)) {
			printf("%s: frame %u: byte %zu is %#x, should be %#x\n",
			       at->name, number, i, buf[i], byte_of(number, i));
			return -1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct port port[2];
	uint32_t count, sent = 0, received = 0;
	int way;

	if (argc != 4) {
		fprintf(stderr, "usage: netpair INTERFACE INTERFACE FRAMES\n");
		return 2;
	}
	count = strtoul(argv[3], NULL, 0);
	for (way = 0; way < 2; way++) {
		if (port_open(&port[way], argv[1 + way])) {
			printf("%s: %s\n", argv[1 + way], strerror(errno));
			return 1;
		}
	}
	/* The backend drops frames for an interface that is not yet up. */
	usleep(100000 * slow());
	while (received < count) {
		for (; sent < count && sent < received + BATCH; sent++)
			if (send_frame(&port[sent & 1], &port[!(sent & 1)], sent))
				return 1;
		/* Frames of one direction keep their order: take turns. */
		for (; received < sent; received++)
			if (receive_frame(&port[!(received & 1)], received))
				return 1;
	}
	printf("%u frames each verified, both ways\n", received);
	return 0;
}
