// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send frames of all sizes between two network interfaces that the host has
 * connected, both ways, and verify every byte that arrives. With a largest size above
 * that of Ethernet they are TCP segments that nobody has cut yet, and that arrive so.
 *
 * A helper of the tests here; prints one line, exits with 0 if all is well.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* IEEE 802: for local experiments. */
#define PROTOCOL	0x88b5
#define MAX_FRAME	1514
/* The most that a segment's length field says, with an Ethernet header. */
#define MAX_SEGMENT	(65535 + ETH_HLEN)
#define SEGMENT_HEADERS	(ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))
/* In flight at a time, so that the smallest receive ring does not overflow. */
#define BATCH		16

/* The begin of the payload. */
struct frame {
	uint32_t number;
	uint32_t length;
};

/* Of a whole frame, headers included. */
static size_t largest = MAX_FRAME;
static size_t headers = ETH_HLEN;

static uint8_t out[MAX_SEGMENT], in[MAX_SEGMENT + 64];

struct port {
	const char *name;
	int fd;
	uint8_t mac[ETH_ALEN];
};

static bool segments(void)
{
	return largest > MAX_FRAME;
}

static int port_open(struct port *p, const char *name)
{
	unsigned short protocol = htons(segments() ? ETH_P_IP : PROTOCOL);
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = protocol };
	int on = 1, room = 16 << 20;
	struct ifreq ifr = {};

	p->name = name;
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (p->fd < 0)
		return -1;
	if (segments() &&
	    (setsockopt(p->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	     setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room))))
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
	size_t least = segments() ? MAX_FRAME + 1 : ETH_ZLEN;
	size_t step = segments() ? 6007 : 37;

	return least + number * step % (largest - least + 1);
}

static uint16_t ip_checksum(const void *header)
{
	const uint16_t *word = header;
	uint32_t sum = 0;
	int i;

	for (i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* Headers of a segment that the device, or the receiver, is to cut and sum up. */
static void segment_headers(uint8_t *buf, size_t len, struct virtio_net_hdr *hdr)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP,
			    .tot_len = htons(len - ETH_HLEN),
			    .saddr = htonl(0xc0000201), .daddr = htonl(0xc0000202) };
	struct tcphdr tcp = { .source = htons(9), .dest = htons(9), .doff = 5, .ack = 1 };

	ip.check = ip_checksum(&ip);
	memcpy(buf + ETH_HLEN, &ip, sizeof(ip));
	memcpy(buf + ETH_HLEN + sizeof(ip), &tcp, sizeof(tcp));
	*hdr = (struct virtio_net_hdr) {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = SEGMENT_HEADERS,
		.gso_size = MAX_FRAME - SEGMENT_HEADERS,
		.csum_start = ETH_HLEN + sizeof(ip),
		.csum_offset = offsetof(struct tcphdr, check),
	};
}

static int send_frame(struct port *from, struct port *to, uint32_t number)
{
	struct ethhdr eth = { .h_proto = htons(segments() ? ETH_P_IP : PROTOCOL) };
	struct frame frame = { .number = number, .length = length_of(number) };
	size_t len = frame.length, i;
	struct virtio_net_hdr hdr;
	struct iovec iov[] = { { &hdr, sizeof(hdr) }, { out, len } };
	int skip = !segments();

	memcpy(eth.h_dest, to->mac, ETH_ALEN);
	memcpy(eth.h_source, from->mac, ETH_ALEN);
	memcpy(out, &eth, sizeof(eth));
	if (segments())
		segment_headers(out, len, &hdr);
	memcpy(out + headers, &frame, sizeof(frame));
	for (i = headers + sizeof(frame); i < len; i++)
		out[i] = byte_of(number, i);
	if (writev(from->fd, iov + skip, 2 - skip) > 0)
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
	size_t want = length_of(number), i;
	struct virtio_net_hdr hdr = {};
	struct iovec iov[] = { { &hdr, sizeof(hdr) }, { in, sizeof(in) } };
	int skip = !segments();
	struct frame frame;
	ssize_t len;

	if (poll(&pfd, 1, 5000 * slow()) != 1) {
		printf("%s: frame %u did not arrive\n", at->name, number);
		return -1;
	}
	len = readv(at->fd, iov + skip, 2 - skip);
	if (segments())
		len -= sizeof(hdr);
	memcpy(&frame, in + headers, sizeof(frame));
	if (len != (ssize_t)want || frame.number != number || frame.length != want) {
		printf("%s: frame %u of %zu bytes arrived as %u of %zd\n", at->name,
		       number, want, frame.number, len);
		return -1;
	}
	if (segments() && hdr.gso_type != VIRTIO_NET_HDR_GSO_TCPV4) {
		printf("%s: frame %u arrived cut\n", at->name, number);
		return -1;
	}
	for (i = headers + sizeof(frame); i < want; i++) {
		if (in[i] != byte_of(number, i)) {
			printf("%s: frame %u: byte %zu is %#x, should be %#x\n",
			       at->name, number, i, in[i], byte_of(number, i));
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

	if (argc != 4 && argc != 5) {
		fprintf(stderr, "usage: netpair INTERFACE INTERFACE FRAMES [LARGEST]\n");
		return 2;
	}
	count = strtoul(argv[3], NULL, 0);
	if (argc == 5)
		largest = strtoul(argv[4], NULL, 0);
	if (largest < MAX_FRAME || largest > MAX_SEGMENT) {
		fprintf(stderr, "netpair: frames of %u to %u bytes\n", MAX_FRAME,
			(unsigned int)MAX_SEGMENT);
		return 2;
	}
	if (segments())
		headers = SEGMENT_HEADERS;
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
