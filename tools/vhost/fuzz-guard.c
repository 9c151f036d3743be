// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz target of vhost-user-guard. The input is a script for two hostile
 * peers. Each message that the guard lets through is checked against an
 * independent statement of the rules, and no descriptor may be lost.
 *
 * Built for libFuzzer, or with -DSTANDALONE as a program that runs its own
 * seeds, a fixed number of mutations of them, and the files it is given.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"

#define WIN		0x10000ULL
#define WIN_SIZE	0x4000ULL
#define WIN_UA		0x700000ULL
#define MAX_FD		128

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

/* Under the name that libFuzzer calls */
int fuzz_one(const u8 *data, size_t size) __asm__("LLVMFuzzerTestOneInput");

#define CHECK(cond)							\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "%s:%d: %s\n", __FILE__,	\
				__LINE__, #cond);			\
			abort();					\
		}							\
	} while (0)

struct input {
	const u8 *p;
	size_t left;
};

static u8 byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static size_t take(struct input *in, void *to, size_t n)
{
	if (n > in->left)
		n = in->left;
	memcpy(to, in->p, n);
	in->p += n;
	in->left -= n;
	return n;
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < MAX_FD; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

struct world {
	struct vug_config cfg;
	struct vug_inflight inflight;
	struct vug_session s;
	enum vug_status st;
	int front, back;	/* the peers */
	int chan_front, chan_back;
	u32 asked;		/* last request that the back-end got */
	u64 features;		/* that the back-end got */
	u64 proto;		/* ... and protocol features */
};

/* The rules, said in another way */

static void check_memory(const struct world *w, struct vu_region r, int fd)
{
	bool named = w->cfg.nfiles;
	struct stat st, file;

	CHECK(r.uaddr == r.gpa);
	if (named && fd >= 0) {
		CHECK(!fstat(fd, &st) && !stat(w->cfg.file[0].path, &file));
		named = st.st_dev == file.st_dev && st.st_ino == file.st_ino &&
			r.size && r.offset < (u64)st.st_size &&
			r.size <= (u64)st.st_size - r.offset;
	}
	if (named)
		return;
	CHECK(!r.offset);
	CHECK(r.size && r.size <= WIN_SIZE);
	CHECK(r.gpa >= WIN && r.gpa <= WIN + WIN_SIZE - r.size);
	if (fd < 0)
		return;
	CHECK(!fstat(fd, &st) && S_ISREG(st.st_mode));
	CHECK((u64)st.st_size <= r.size);
}

static void check_inflight(struct vu_inflight f, int fd)
{
	struct stat st;

	CHECK(!fstat(fd, &st) && (u64)st.st_size == f.size && !f.offset);
	CHECK((fcntl(fd, F_GET_SEALS) & 7) == 7);
	CHECK(f.queues && f.queues <= 256);
	CHECK(f.queue_size && f.queue_size <= 32768);
}

static bool is_eventfd(int fd)
{
	char name[64], target[64];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	return strstr(target, "eventfd");
}

static bool is_socket(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

/* Check a request that was sent to the back-end. */
static void check_request(struct world *w, struct vug_msg *m)
{
	u32 req = m->w.hdr.request;
	u64 slots = VU_BIT(VU_PF_MEM_SLOTS);

	CHECK((m->w.hdr.flags & ~VU_NEED_REPLY) == VU_VERSION);
	CHECK(m->w.hdr.size <= sizeof(m->w.p));
	switch (req) {
	case VU_SET_MEM_TABLE:
		CHECK(m->w.p.table.nregions == m->nfds && m->nfds <= 8);
		CHECK(m->w.hdr.size == 8 + 32 * m->nfds);
		for (unsigned int i = 0; i < m->nfds; i++)
			check_memory(w, m->w.p.table.region[i], m->fds[i]);
		break;
	case VU_ADD_MEM_REG:
		CHECK(w->proto & slots);
		CHECK(m->nfds == 1 && m->w.hdr.size == 40);
		check_memory(w, m->w.p.mem_reg.region, m->fds[0]);
		break;
	case VU_REM_MEM_REG:
		CHECK(w->proto & slots);
		CHECK(!m->nfds);
		m->w.p.mem_reg.region.offset = 0;
		check_memory(w, m->w.p.mem_reg.region, -1);
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		CHECK(m->nfds == !(m->w.p.u64 & 0x100));
		CHECK(!m->nfds || req != VU_SET_VRING_ERR);
		CHECK(!(m->w.p.u64 & ~0x1ffULL));
		CHECK(!m->nfds || is_eventfd(m->fds[0]));
		break;
	case VU_SET_LOG_FD:
		CHECK(w->cfg.allow_log && m->nfds == 1);
		CHECK(is_eventfd(m->fds[0]));
		break;
	case VU_SET_LOG_BASE:
		CHECK(w->cfg.allow_log && m->nfds == 1 && !m->w.p.log.offset);
		break;
	case VU_SET_BACKEND_REQ_FD:
		CHECK(m->nfds == 1 && is_socket(m->fds[0]));
		if (w->chan_back >= 0)
			close(w->chan_back);
		w->chan_back = m->fds[0];
		m->nfds = 0;
		break;
	case VU_IOTLB_MSG:
		CHECK(m->w.hdr.flags & VU_NEED_REPLY);
		if (m->w.p.iotlb.type == VU_IOTLB_INVALIDATE) {
			CHECK(!m->w.p.iotlb.uaddr);
			break;
		}
		CHECK(m->w.p.iotlb.type == VU_IOTLB_UPDATE);
		/* Some region was held: none is larger than the window. */
		CHECK(m->w.p.iotlb.size && m->w.p.iotlb.size <= WIN_SIZE);
		CHECK(m->w.p.iotlb.uaddr >= WIN);
		CHECK(m->w.p.iotlb.uaddr <= WIN + WIN_SIZE -
		      m->w.p.iotlb.size);
		break;
	case VU_SET_STATUS:
		CHECK(m->w.p.u64 <= 0xff);
		break;
	case VU_SET_VRING_ADDR:
		CHECK(w->cfg.allow_log || !m->w.p.addr.flags);
		/* WIN_UA and its like are nowhere near these. */
		if (w->features & VU_BIT(VU_F_ACCESS_PLATFORM))
			break;
		CHECK(m->w.p.addr.desc < WIN + WIN_SIZE);
		CHECK(m->w.p.addr.used < WIN + WIN_SIZE);
		CHECK(m->w.p.addr.avail < WIN + WIN_SIZE);
		break;
	case VU_RESET_OWNER:
		w->features = 0;
		break;
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		CHECK(m->w.hdr.size == 12 + m->w.p.config.size);
		CHECK(m->w.p.config.size >= 1 && m->w.p.config.size <= 256);
		CHECK(m->w.p.config.offset <= 256 - m->w.p.config.size);
		break;
	case VU_SET_FEATURES:
		w->features = m->w.p.u64;
		CHECK(w->cfg.allow_log ||
		      !(m->w.p.u64 & VU_BIT(VU_F_LOG_ALL)));
		break;
	case VU_SET_PROTOCOL_FEATURES:
		w->proto = m->w.p.u64;
		CHECK(!(m->w.p.u64 & ~0x1b27fULL));
		break;
	case VU_GET_INFLIGHT_FD:
		CHECK(!m->nfds && !m->w.p.inflight.size);
		CHECK(!m->w.p.inflight.offset);
		break;
	case VU_SET_INFLIGHT_FD:
		CHECK(m->nfds == 1);
		check_inflight(m->w.p.inflight, m->fds[0]);
		break;
	case VU_CREATE_CRYPTO_SESSION:
	case VU_CLOSE_CRYPTO_SESSION:
	case VU_POSTCOPY_ADVISE:
	case VU_POSTCOPY_LISTEN:
	case VU_POSTCOPY_END:
	case VU_GPU_SET_SOCKET:
	case VU_VRING_KICK:
		CHECK(!"a request that never passes");
		break;
	default:
		CHECK(req >= 1 && req <= VU_GET_STATUS);
		CHECK(!m->nfds);
	}
	w->asked = req;
}

/* Check an answer that was sent to the front-end. */
static void check_answer(struct world *w, const struct vug_msg *m)
{
	CHECK(m->w.hdr.flags == (VU_VERSION | VU_REPLY));
	CHECK(!m->nfds || m->w.hdr.request == VU_GET_INFLIGHT_FD);
	CHECK(m->nfds <= 1);
	if (m->nfds)
		check_inflight(m->w.p.inflight, m->fds[0]);
	CHECK(m->w.hdr.size <= sizeof(m->w.p));
	if (m->w.hdr.request == VU_GET_FEATURES && !w->cfg.allow_log)
		CHECK(!(m->w.p.u64 & VU_BIT(VU_F_LOG_ALL)));
	if (m->w.hdr.request == VU_GET_PROTOCOL_FEATURES)
		CHECK(!(m->w.p.u64 & ~0x1b27fULL));
}

static bool recv_msg(int fd, struct vug_msg *m)
{
	union {
		char buf[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { &m->w, sizeof(m->w.hdr) };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	memset(m, 0, sizeof(*m));
	if (fd < 0)
		return false;
	n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return false;
	CHECK(n == sizeof(m->w.hdr));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c;
	     c = CMSG_NXTHDR(&mh, c)) {
		m->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		CHECK(m->nfds <= VUG_MAX_FDS);
		memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
	}
	CHECK(m->w.hdr.size <= sizeof(m->w.p));
	CHECK(!m->w.hdr.size || recv(fd, &m->w.p, m->w.hdr.size,
				     MSG_DONTWAIT) == m->w.hdr.size);
	return true;
}

static void drain(struct world *w)
{
	struct vug_msg m;

	while (recv_msg(w->back, &m)) {
		check_request(w, &m);
		while (m.nfds)
			close(m.fds[--m.nfds]);
	}
	while (recv_msg(w->front, &m)) {
		check_answer(w, &m);
		while (m.nfds)
			close(m.fds[--m.nfds]);
	}
	while (recv_msg(w->chan_front, &m)) {
		CHECK(m.w.hdr.request == VU_BACKEND_IOTLB_MSG ||
		      m.w.hdr.request == VU_BACKEND_CONFIG_CHANGE);
		CHECK((m.w.hdr.flags & ~VU_NEED_REPLY) == VU_VERSION);
		CHECK(!m.nfds);
	}
	while (recv_msg(w->chan_back, &m)) {
		CHECK(m.w.hdr.flags == (VU_VERSION | VU_REPLY));
		CHECK(m.w.hdr.size == 8 && !m.nfds);
	}
}

static void pump(struct world *w)
{
	for (int i = 0; i < 6 && w->st == VUG_RUNNING; i++)
		w->st = vug_poll(&w->s, -1, 0);
	drain(w);
}

static void send_bytes(int fd, const void *p, size_t n, const int *fds,
		       unsigned int nfds)
{
	union {
		char buf[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd < 0 || !n)
		return;
	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	/* A full or closed socket is as good an outcome. */
	if (sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		errno = 0;
}

/* Descriptors of the kinds that matter, made once; the second has a path, too. */
static int kinds[8];
static char named_path[64];

static void make_kinds(void)
{
	static const off_t sizes[] = { WIN_SIZE, 0x1000, 0, WIN_SIZE + 1 };

	if (kinds[0])
		return;
	for (int i = 0; i < 4; i++) {
		kinds[i] = memfd_create("fuzz", MFD_CLOEXEC);
		CHECK(kinds[i] > 0 && !ftruncate(kinds[i], sizes[i]));
	}
	snprintf(named_path, sizeof(named_path), "/proc/self/fd/%d", kinds[1]);
	kinds[4] = eventfd(0, EFD_CLOEXEC);
	kinds[5] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kinds[6] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* 7: one end of a back-channel, made when needed */
}

/* The low half of @b says how many, the high half which first. */
static unsigned int pick_fds(struct world *w, u8 b, int *fds)
{
	unsigned int n = b & 15;
	int p[2];

	if (n > 10)
		n = 1;
	for (unsigned int i = 0; i < n; i++)
		fds[i] = kinds[((b >> 4) + i) % 7];
	if (n && (b >> 4) == 7 &&
	    !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p)) {
		if (w->chan_front >= 0)
			close(w->chan_front);
		w->chan_front = p[0];
		fds[0] = p[1];
	}
	return n;
}

static u64 interesting(u8 b)
{
	static const u64 v[] = {
		0, 1, 8, WIN, WIN_SIZE, WIN_UA, WIN + 0x1000, WIN - 1,
		0x1000, WIN_SIZE + 1, ~0ULL, ~0ULL - WIN + 1, 0x100, 0x101,
		1ULL << 33 | 1ULL << 30, 0x1b27d,
	};

	return v[b & 15];
}

/* Requests of the front-end and answers of the back-end that make sense */
static void structured(struct world *w, struct input *in, int fd, u32 request,
		       u32 flags, u32 size)
{
	struct vu_wire m = { .hdr = { request, flags, size } };
	u8 shape = byte(in), which = byte(in);
	unsigned int nfds;
	int fds[16];
	size_t len;

	for (size_t i = 0; i + 8 <= size; i += 8) {
		u64 v = interesting(byte(in));

		memcpy(&m.p.bytes[i], &v, 8);
	}
	if (shape & 1)
		take(in, m.p.bytes, size);
	nfds = pick_fds(w, which, fds);
	len = sizeof(m.hdr) + size;
	if ((shape & 6) == 2 && len > 1) {
		size_t cut = 1 + byte(in) % (len - 1);

		send_bytes(fd, &m, cut, fds, nfds);
		pump(w);
		send_bytes(fd, (char *)&m + cut, len - cut, fds,
			   shape & 8 ? nfds : 0);
	} else {
		send_bytes(fd, &m, len, fds, nfds);
	}
	if (nfds && (which >> 4) == 7)
		close(fds[0]);
	if (!(shape & 16))
		pump(w);
}

static u32 pick_flags(u8 b, u32 usual)
{
	return b < 200 ? usual | (b & 1 ? VU_NEED_REPLY : 0) : b & 15;
}

static u32 pick_size(u8 b)
{
	static const u16 v[] = { 0, 8, 8, 16, 20, 32, 40, 40, 72, 264, 268,
				 12, 24, 104, 136, 7 };

	return v[b & 15];
}

static void step(struct world *w, struct input *in)
{
	u8 op = byte(in), buf[256];
	u32 request, flags;

	switch (op & 7) {
	default:
		request = byte(in) % 46;
		flags = pick_flags(byte(in), VU_VERSION);
		structured(w, in, w->front, request, flags,
			   pick_size(op >> 4));
		break;
	case 3:
	case 4:
		request = op & 8 ? byte(in) % 46 : w->asked;
		flags = pick_flags(byte(in) & ~1, VU_VERSION | VU_REPLY);
		structured(w, in, w->back, request, flags, pick_size(op >> 4));
		break;
	case 5:
		request = byte(in) % 12;
		flags = pick_flags(byte(in), VU_VERSION |
				   (op & 8 ? VU_REPLY : 0));
		structured(w, in, op & 8 ? w->chan_front : w->chan_back,
			   request, flags, pick_size(op >> 4));
		break;
	case 6:
		send_bytes(op & 8 ? w->front : w->back, buf,
			   take(in, buf, byte(in)), kinds, op >> 6);
		pump(w);
		break;
	case 7:
		if ((op >> 3) == 1) {
			shutdown(w->front, SHUT_RDWR);
		} else if ((op >> 3) == 2) {
			shutdown(w->back, SHUT_RDWR);
		} else if ((op >> 3) == 3 && w->chan_back >= 0) {
			close(w->chan_back);
			w->chan_back = -1;
		}
		pump(w);
	}
}

/* With a back-end that has all features, or all but @lacking */
static void say_hello(struct world *w, u64 lacking)
{
	const struct vu_wire hello[] = {
		{ .hdr = { VU_GET_FEATURES, VU_VERSION, 0 } },
		{ .hdr = { VU_GET_FEATURES, VU_VERSION | VU_REPLY, 8 },
		  .p = { .u64 = ~0ULL } },
		{ .hdr = { VU_GET_PROTOCOL_FEATURES, VU_VERSION, 0 } },
		{ .hdr = { VU_GET_PROTOCOL_FEATURES, VU_VERSION | VU_REPLY, 8 },
		  .p = { .u64 = ~lacking } },
		{ .hdr = { VU_SET_PROTOCOL_FEATURES, VU_VERSION, 8 },
		  .p = { .u64 = 0x1b27d } },
		{ .hdr = { VU_SET_FEATURES, VU_VERSION, 8 },
		  .p = { .u64 = 1ULL << 33 | 1ULL << 30 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(hello); i++) {
		send_bytes(i == 1 || i == 3 ? w->back : w->front, &hello[i],
			   sizeof(hello[i].hdr) + hello[i].hdr.size, NULL, 0);
		pump(w);
	}
	CHECK(w->st == VUG_RUNNING);
}

int fuzz_one(const u8 *data, size_t size)
{
	struct input in = { data, size };
	struct world w = { .chan_front = -1, .chan_back = -1 };
	int f[2], b[2];
	unsigned int before;
	u8 how = byte(&in);

	make_kinds();
	before = open_fds();
	w.cfg.range[0] = (struct vug_range){ WIN, WIN_SIZE };
	w.cfg.nranges = 1;
	if (how & 32)
		w.cfg.file[w.cfg.nfiles++].path = named_path;
	w.cfg.inflight = &w.inflight;
	w.inflight.fd = -1;
	w.cfg.allow_log = how & 1;
	w.cfg.require_seals = (how & 6) == 6;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b));
	w.front = f[0];
	w.back = b[0];
	CHECK(!vug_init(&w.s, &w.cfg, f[1], b[1]));
	if (!(how & 8))
		say_hello(&w, how & 16 ? VU_BIT(VU_PF_MEM_SLOTS) : 0);
	while (in.left && w.st == VUG_RUNNING)
		step(&w, &in);
	pump(&w);
	vug_fini(&w.s);
	if (w.inflight.fd >= 0)
		close(w.inflight.fd);
	drain(&w);
	close(w.front);
	close(w.back);
	if (w.chan_front >= 0)
		close(w.chan_front);
	if (w.chan_back >= 0)
		close(w.chan_back);
	CHECK(open_fds() == before);
	return 0;
}

#ifdef STANDALONE

#define SEED_MAX	64
#define ROUNDS		40000

/*
 * A seed for each request, with usual size and descriptor: a message that
 * passes is a good start for mutations. Each is followed by an answer.
 */
static size_t make_seed(unsigned int n, u8 *out)
{
	static const struct { u8 request, size, fds; u8 words[5]; } seed[] = {
		{ VU_SET_OWNER, 0, 0, { 0 } },
		{ VU_SET_MEM_TABLE, 6, 0x01, { 1, 3, 4, 5, 0 } },
		{ VU_ADD_MEM_REG, 6, 0x01, { 0, 3, 4, 5, 0 } },
		{ VU_REM_MEM_REG, 6, 0x00, { 0, 3, 4, 5, 0 } },
		{ VU_SET_VRING_NUM, 1, 0, { 1 } },
		{ VU_SET_VRING_ADDR, 6, 0, { 0, 5, 5, 5, 0 } },
		{ VU_GET_VRING_BASE, 1, 0, { 1 } },
		{ VU_SET_VRING_KICK, 1, 0x41, { 1 } },
		{ VU_SET_VRING_CALL, 1, 0x41, { 0 } },
		{ VU_SET_VRING_ERR, 1, 0x00, { 12 } },
		{ VU_GET_QUEUE_NUM, 0, 0, { 0 } },
		{ VU_SET_VRING_ENABLE, 1, 0, { 1 } },
		{ VU_SET_BACKEND_REQ_FD, 0, 0x71, { 0 } },
		{ VU_IOTLB_MSG, 5, 0, { 3, 8, 5, 0 } },
		{ VU_GET_CONFIG, 4, 0, { 0, 0 } },
		{ VU_SET_STATUS, 1, 0, { 1 } },
		{ VU_GET_STATUS, 0, 0, { 0 } },
		{ VU_SET_LOG_BASE, 3, 0x11, { 8, 0 } },
		{ VU_SET_LOG_FD, 0, 0x41, { 0 } },
		{ VU_GET_MAX_MEM_SLOTS, 0, 0, { 0 } },
	};
	static const u8 words[] = { 0, 1, 1, 2, 2, 4, 5 };
	size_t len = 0;

	out[len++] = (u8)((n & 1) | (n & 2 ? 16 : 0));
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int k = (n * (1 + i * 7) + i) % ARRAY_SIZE(seed);

		out[len++] = (u8)(seed[k].size << 4);
		out[len++] = seed[k].request;
		out[len++] = (u8)(n >> 1 & 1);
		out[len++] = 0;
		out[len++] = seed[k].fds;
		for (u8 j = 0; j < words[seed[k].size]; j++)
			out[len++] = j < 5 ? seed[k].words[j] : 0;
		out[len++] = 0x13;	/* an answer of eight bytes */
		out[len++] = 0;
		out[len++] = 0;
		out[len++] = 0;
		out[len++] = 0;
	}
	return len;
}

static u32 random_u32(void)
{
	static u64 x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (u32)(x >> 16);
}

static void run_file(const char *name)
{
	static u8 buf[1 << 16];
	FILE *f = fopen(name, "re");
	size_t n;

	if (!f) {
		perror(name);
		exit(1);
	}
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	fuzz_one(buf, n);
}

static void write_corpus(const char *to)
{
	u8 buf[256];

	for (unsigned int i = 0; i < SEED_MAX; i++) {
		size_t n = make_seed(i, buf);
		char name[512];
		FILE *f;

		snprintf(name, sizeof(name), "%.480s/seed-%02u", to, i);
		f = fopen(name, "we");
		if (!f || fwrite(buf, 1, n, f) != n || fclose(f)) {
			perror(name);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	u8 buf[512];

	if (argc == 3 && !strcmp(argv[1], "--write-corpus")) {
		write_corpus(argv[2]);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc > 1)
		return 0;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		size_t n = make_seed(i < SEED_MAX ? i : random_u32(), buf);

		/* Every fourth is noise, the others are nearly right. */
		if (i >= SEED_MAX && !(i & 3)) {
			n = 1 + random_u32() % (sizeof(buf) - 1);
			for (size_t k = 0; k < n; k++)
				buf[k] = (u8)random_u32();
		} else if (i >= SEED_MAX) {
			for (u32 k = random_u32() % 4; k; k--)
				buf[random_u32() % n] = (u8)random_u32();
		}
		fuzz_one(buf, n);
	}
	printf("fuzz-smoke: %u inputs, nothing got through\n", ROUNDS);
	return 0;
}

#endif
