// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send frames of one size from one network interface to another that the host
 * has connected to it.
 *
 * usage: frames SENDER RECEIVER BYTES COUNT
 *
 * A few at a time, so that no ring overflows: how many arrive is printed.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* IEEE 802: for local experiments. */
#define PROTOCOL	0x88b5
#define BATCH		16

static int open_port(const char *name, unsigned char *mac)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(PROTOCOL) };
	struct ifreq ifr = {};
	int fd;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -1;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		return -1;
	if (!(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &ifr))
			return -1;
		/* The backend drops what comes before the interface is up. */
		usleep(200000);
	}
	addr.sll_ifindex = if_nametoindex(name);
	return bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -1 : fd;
}

int main(int argc, char **argv)
{
	unsigned char frame[ETH_FRAME_LEN + 64] = {}, in[ETH_FRAME_LEN + 64];
	struct ethhdr *eth = (void *)frame;
	long sent = 0, received = 0, count;
	int from, to, i;
	size_t size;

	if (argc != 5) {
		fprintf(stderr, "usage: frames SENDER RECEIVER BYTES COUNT\n");
		return 2;
	}
	size = strtoul(argv[3], NULL, 0);
	count = strtol(argv[4], NULL, 0);
	from = open_port(argv[1], eth->h_source);
	to = open_port(argv[2], eth->h_dest);
	if (from < 0 || to < 0 || size < sizeof(*eth) || size > ETH_FRAME_LEN) {
		fprintf(stderr, "frames: %s\n", strerror(errno));
		return 1;
	}
	eth->h_proto = htons(PROTOCOL);
	while (sent < count) {
		struct pollfd pfd = { .fd = to, .events = POLLIN };

		for (i = 0; i < BATCH && sent < count; i++, sent++)
			if (send(from, frame, size, 0) != (ssize_t)size)
				return 1;
		while (received < sent) {
			if (poll(&pfd, 1, 2000) != 1) {
				fprintf(stderr, "frames: %ld of %ld arrived\n",
					received, sent);
				return 1;
			}
			if (recv(to, in, sizeof(in), 0) != (ssize_t)size) {
				fprintf(stderr, "frames: one arrived with another size\n");
				return 1;
			}
			received++;
		}
	}
	printf("%ld\n", received);
	return 0;
}
