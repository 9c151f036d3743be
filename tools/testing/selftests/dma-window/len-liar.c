// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network card in a window that lies about how much it wrote into its receive
 * buffers. What arrives is what the device wrote or what stands in its window,
 * up to the length that it told, clamped to the buffer, and nothing else: no old
 * memory of the guest's (I3), no crash (I4). As many bytes are copied.
 *
 * tools/testing/qemu/host/liar.py is the device, and has the words that are used.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../kselftest.h"

#define PROTOCOL	0x88b5
#define MAGIC		0x4c494152
#define VNET		12
/* receive_buf() drops frames that are shorter. */
#define LEAST		(VNET + ETH_HLEN)
#define CAPACITY	UINT32_MAX
#define BUFFERS		4

enum { MADE = 1, ASKED = 2 };

struct buffer {
	uint32_t write;		/* the first bytes that the device writes */
	uint32_t report;	/* the length that the device reports, */
	uint32_t base;		/* plus the end of so many descriptors */
};

struct command {
	struct ethhdr eth;
	uint16_t unused;
	uint32_t magic;
	uint32_t kind;
	uint32_t id;
	uint32_t count;
	struct buffer buffers[BUFFERS];
};

struct answer {
	struct ethhdr eth;
	uint16_t unused;
	uint32_t magic;
	uint32_t kind;
	uint32_t id;
	uint32_t length;
	uint32_t crc;
	uint32_t total_high;
	uint32_t total_low;
	uint32_t dirty;
};

static int fd, ifindex;
static uint8_t mac[ETH_ALEN];
static const char *interface, *window;
static uint64_t copied0;
static uint32_t last_id, dirty;

static bool failed(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	return false;
}

static uint64_t number_in(const char *format, const char *name, const char *file)
{
	unsigned long long n = 0;
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), format, name, file);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llu", &n) != 1)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	fclose(f);
	return n;
}

static uint64_t copied(void)
{
	return number_in("/sys/kernel/debug/swiotlb/%s/%s", window, "bytes_out");
}

static uint64_t dropped(void)
{
	return number_in("/sys/class/net/%s/statistics/%s", interface, "rx_length_errors");
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
	uint32_t crc = ~0;
	int bit;

	while (n--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void interface_up(void)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(PROTOCOL) };
	struct ifreq ifr = {};

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr))
		ksft_exit_fail_msg("%s: %s\n", interface, strerror(errno));
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	if (!ioctl(fd, SIOCGIFFLAGS, &ifr))
		ifr.ifr_flags |= IFF_UP;
	ifindex = if_nametoindex(interface);
	addr.sll_ifindex = ifindex;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		ksft_exit_fail_msg("%s: %s\n", interface, strerror(errno));
}

static bool tell(int kind, const struct buffer *buffers, int count)
{
	struct command c = {
		.eth = { .h_dest = { 2, 0, 0, 0, 0, 1 },
			 .h_proto = htons(PROTOCOL) },
		.magic = htonl(MAGIC), .kind = htonl(kind),
		.id = htonl(++last_id), .count = htonl(count),
	};
	size_t n = offsetof(struct command, buffers[count]);
	int i;

	memcpy(c.eth.h_source, mac, ETH_ALEN);
	for (i = 0; i < count; i++)
		c.buffers[i] = (struct buffer){ htonl(buffers[i].write),
						htonl(buffers[i].report),
						htonl(buffers[i].base) };
	if (n < ETH_ZLEN)
		n = ETH_ZLEN;
	return send(fd, &c, n, 0) == (ssize_t)n ||
	       failed("send: %s", strerror(errno));
}

/* How many times slower than usual the machine and its kernel are. */
static unsigned int slow(void)
{
	const char *text = getenv("SLOW");
	int n = text ? atoi(text) : 1;

	return n > 1 ? n : 1;
}

/* One frame into @buf, its length or 0. */
static size_t hear(uint8_t *buf, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pfd, 1, 3000 * slow()) != 1)
		return 0;
	n = recv(fd, buf, size, MSG_TRUNC);
	return n < 0 ? 0 : n;
}

/* Is the frame of this kind, and all of its content as its header says? */
static bool whole(const uint8_t *frame, size_t n, int kind)
{
	const struct answer *a = (const void *)frame;

	if (n < sizeof(*a))
		return failed("%zu bytes arrived: too short", n);
	if (ntohl(a->magic) != MAGIC || ntohl(a->kind) != (uint32_t)kind)
		return failed("what arrived is not an answer: %08x %08x",
			      ntohl(a->magic), ntohl(a->kind));
	if (memcmp(a->eth.h_dest, mac, ETH_ALEN) || ntohs(a->eth.h_proto) != PROTOCOL)
		return failed("its header is wrong");
	if (ntohl(a->length) != n)
		return failed("%zu bytes arrived, not %u", n, ntohl(a->length));
	if (crc32(frame + sizeof(*a), n - sizeof(*a)) != ntohl(a->crc))
		return failed("its %zu bytes are not what the device has", n);
	return true;
}

/*
 * Ask for a packet; its frame @arrives, or is dropped for want of length.
 * @length is that of the frame, 0 where only the device knows the buffers.
 */
static bool lie(const struct buffer *buffers, int count, size_t length, bool arrives)
{
	static uint8_t frame[1 << 18];
	const struct answer *a = (const void *)frame;
	uint64_t drops = dropped(), bytes;
	size_t n;

	if (!tell(MADE, buffers, count) || !tell(ASKED, NULL, 0))
		return false;
	n = hear(frame, sizeof(frame));
	if (arrives) {
		if (n < sizeof(*a) && n == length)
			; /* The frame is too short for an answer. */
		else if (!whole(frame, n, MADE))
			return false;
		if (length && n != length)
			return failed("%zu bytes arrived, not %zu", n, length);
		n = hear(frame, sizeof(frame));
	}
	if (!n)
		ksft_exit_fail_msg("the device does not answer any more\n");
	if (!whole(frame, n, ASKED) || ntohl(a->id) != last_id)
		return failed("no honest answer after that");
	dirty = ntohl(a->dirty);
	bytes = (uint64_t)ntohl(a->total_high) << 32 | ntohl(a->total_low);
	if (copied() - copied0 != bytes)
		return failed("%llu bytes were copied, %llu reported",
			      (unsigned long long)(copied() - copied0),
			      (unsigned long long)bytes);
	if (dropped() - drops != !arrives)
		return failed("%llu packets dropped",
			      (unsigned long long)(dropped() - drops));
	return true;
}

#define ALL CAPACITY

static bool lie_once(uint32_t write, uint32_t report, uint32_t base, size_t length,
		     bool arrives)
{
	struct buffer b = { write, report, base };

	return lie(&b, 1, length, arrives);
}

static void case_honest(void)
{
	ksft_test_result(lie_once(VNET + 60, VNET + 60, 0, 60, true) &&
			 lie_once(VNET + 1500, VNET + 1500, 0, 1500, true) &&
			 lie_once(ALL, 0, CAPACITY, 0, true),
			 "honest: it arrives\n");
}

static void case_shorter(void)
{
	ksft_test_result(lie_once(VNET + 1000, VNET + 200, 0, 200, true) &&
			 lie_once(ALL, VNET + 99, 0, 99, true) &&
			 lie_once(ALL, -1, CAPACITY, 0, true) &&
			 lie_once(ALL, LEAST, 0, ETH_HLEN, true),
			 "shorter than written: what is told arrives\n");
}

static void case_longer(void)
{
	ksft_test_result(lie_once(VNET + 60, VNET + 1500, 0, 1500, true) &&
			 lie_once(VNET + 60, 0, CAPACITY, 0, true) &&
			 lie_once(VNET + 100, -1, CAPACITY, 0, true),
			 "longer than written: the window's bytes arrive\n");
}

static void case_too_long(void)
{
	ksft_test_result(lie_once(ALL, 1, CAPACITY, 0, true) &&
			 lie_once(VNET + 300, 5000, CAPACITY, 0, true) &&
			 lie_once(ALL, INT32_MAX, 0, 0, true) &&
			 lie_once(ALL, UINT32_MAX, 0, 0, true),
			 "longer than mapped: no more than that arrives\n");
}

static void case_nothing(void)
{
	ksft_test_result(lie_once(ALL, 0, 0, 0, false) &&
			 lie_once(0, 0, 0, 0, false),
			 "zero: nothing arrives, nothing is copied\n");
}

static void case_no_header(void)
{
	ksft_test_result(lie_once(ALL, 1, 0, 0, false) &&
			 lie_once(ALL, VNET - 1, 0, 0, false) &&
			 lie_once(ALL, VNET, 0, 0, false) &&
			 lie_once(ALL, LEAST - 1, 0, 0, false),
			 "shorter than the headers: dropped\n");
}

/* At the ends of the descriptors of a chain. */
static void case_edges(int descriptors)
{
	int i, off;
	bool ok = true;

	for (i = 2; i <= descriptors && ok; i++)
		for (off = -1; off <= 1 && ok; off++)
			ok = lie_once(ALL, off, i, 0, true) &&
			     lie_once(VNET + 60, off, i, 0, true);
	ksft_test_result(ok, "%d descriptors: each of their ends\n", descriptors);
}

/* Packets in several buffers. */
static void case_several(void)
{
	struct buffer made[][BUFFERS] = {
		{ { ALL, 0, CAPACITY }, { 700, 700, 0 } },
		{ { ALL, 0, CAPACITY }, { 700, 100, 0 } },
		{ { ALL, 0, CAPACITY }, { 7, 0, CAPACITY } },
		{ { ALL, 100, 0 }, { ALL, 1, CAPACITY } },
		{ { ALL, 9, CAPACITY }, { ALL, 0, 0 } },
		{ { ALL, -1, CAPACITY }, { ALL, UINT32_MAX, 0 }, { 1, 300, 0 },
		  { ALL, 1, 0 } },
	};
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(made) && ok; i++)
		ok = lie(made[i], made[i][3].write ? 4 : 2, 0, true);
	ksft_test_result(ok, "packets in several buffers\n");
}

static void case_random(unsigned int seed)
{
	bool ok = true;
	int i;

	for (i = 0; i < 200 && ok; i++) {
		uint32_t write = rand_r(&seed) % 1600, report = rand_r(&seed) % 1530;
		size_t length = report - VNET;

		/* Too short for an answer, it has to be written by the device. */
		if (report < VNET + sizeof(struct answer))
			write = ALL;
		else if (write < VNET + sizeof(struct answer))
			write += VNET + sizeof(struct answer);
		if (report < LEAST)
			ok = lie_once(write, report, 0, 0, false);
		else if (i & 1)
			ok = lie_once(write, report, 0, length, true);
		else
			ok = lie_once(write, report, CAPACITY, 0, true);
	}
	ksft_test_result(ok, "%d lies at random\n", i);
}

/*
 * The device finds bytes that it left in the window earlier. Those are no secret
 * from the device: zeroing every buffer would be work for nothing.
 */
static void case_not_filled(void)
{
	int i;

	for (i = 0; i < 1000 && !dirty; i++)
		if (!lie_once(ALL, VNET + 60, 0, 60, true))
			break;
	ksft_test_result(dirty, "the space was not zeroed (%u times)\n", dirty);
}

/*
 * The last buffer before the others are taken back unused: the part of its length
 * that exceeds the buffer must not be copied from the others.
 */
static void case_last_word(void)
{
	static uint8_t frame[1 << 18];
	struct buffer b = { ALL, 1 << 20, CAPACITY };

	ksft_test_result(tell(MADE, &b, 1) &&
			 whole(frame, hear(frame, sizeof(frame)), MADE),
			 "the last word is a lie\n");
}

int main(int argc, char **argv)
{
	int descriptors;

	if (argc != 4) {
		fprintf(stderr, "usage: len-liar INTERFACE WINDOW DESCRIPTORS\n"
			"\tper receive buffer; 0: mergeable buffers\n");
		return KSFT_SKIP;
	}
	interface = argv[1];
	window = argv[2];
	descriptors = atoi(argv[3]);

	ksft_print_header();
	ksft_set_plan(descriptors == 1 ? 9 : 10);
	interface_up();
	copied0 = copied();
	case_honest();
	case_shorter();
	case_longer();
	case_too_long();
	case_nothing();
	case_no_header();
	if (descriptors > 1)
		case_edges(descriptors);
	else if (!descriptors)
		case_several();
	case_random(descriptors + 1);
	case_not_filled();
	case_last_word();
	ksft_finished();
}
