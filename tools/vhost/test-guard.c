// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of vhost-user-guard: a session between a fake front-end and a fake
 * back-end in this process, then the program itself. Output is KTAP.
 *
 * Every test also fails when it leaves a descriptor open.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Nothing for a minute is a hang, however slow the machine is. */
#define HANG_MS		60000

#define V		VU_VERSION
#define NEED		(VU_VERSION | VU_NEED_REPLY)
#define ANSWER		(VU_VERSION | VU_REPLY)

/* The window of these tests, in the guest and in the front-end */
#define WIN		0x5c000000ULL
#define WIN_SIZE	0x10000ULL
#define WIN_UA		0x7f0000000000ULL

/* MQ RARP REPLY_ACK MTU BACKEND_REQ CROSS_ENDIAN CONFIG RESET SLOTS STATUS */
#define PROTO_PASSED	0x1a27dULL

static const char *program;
static const char *failed;	/* why the running test did */
static char why[1024];
static char dir[64];

/* Cutting the text is fine; looking at the result tells the compiler so. */
#define FAIL(...)							\
	do {								\
		if (!failed && snprintf(why, sizeof(why), __VA_ARGS__) < 0) \
			why[0] = '\0';					\
		failed = why;						\
	} while (0)

#define EXPECT(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			char what_[512];				\
									\
			if (snprintf(what_, sizeof(what_), __VA_ARGS__) < 0) \
				what_[0] = '\0';			\
			FAIL("line %d: %s: %s", __LINE__, #cond, what_);\
		}							\
	} while (0)

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Descriptors of every kind */

static int mem_fd(u64 size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
		perror("memfd");
		exit(1);
	}
	return fd;
}

static int event_fd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

static int sock_fd(int type)
{
	int p[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p) < 0)
		exit(1);
	close(p[1]);
	return p[0];
}

static int pipe_fd(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		exit(1);
	close(p[0]);
	return p[1];
}

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* A session and its two peers */

struct rig {
	struct vug_config cfg;
	struct vug_session s;
	enum vug_status st;
	int front;
	int back;
	char log[16384];
	size_t len;
};

static void rig_log(void *ctx, enum vug_level level, const char *line)
{
	struct rig *r = ctx;

	if (level == VUG_DEBUG || r->len + strlen(line) + 2 > sizeof(r->log))
		return;
	r->len += (size_t)sprintf(r->log + r->len, "%s\n", line);
}

static void rig_open(struct rig *r)
{
	int f[2], b[2];

	memset(&r->s, 0, sizeof(r->s));
	r->st = VUG_RUNNING;
	r->len = 0;
	r->log[0] = '\0';
	r->cfg.log = rig_log;
	r->cfg.log_ctx = r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) < 0 ||
	    vug_init(&r->s, &r->cfg, f[1], b[1]) < 0) {
		perror("rig");
		exit(1);
	}
	r->front = f[0];
	r->back = b[0];
}

static void rig_plain(struct rig *r)
{
	memset(&r->cfg, 0, sizeof(r->cfg));
	r->cfg.range[0] = (struct vug_range){ WIN, WIN_SIZE };
	r->cfg.nranges = 1;
	rig_open(r);
}

static void rig_close(struct rig *r)
{
	vug_fini(&r->s);
	if (r->front >= 0)
		close(r->front);
	if (r->back >= 0)
		close(r->back);
}

static enum vug_status pump(struct rig *r)
{
	for (int i = 0; i < 40 && r->st == VUG_RUNNING; i++)
		r->st = vug_poll(&r->s, -1, 0);
	return r->st;
}

static void send_part(int fd, const void *data, size_t len, const int *fds,
		      unsigned int nfds)
{
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(unsigned long)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		FAIL("test: sendmsg: %s", strerror(errno));
}

/* Send and close the descriptors, as a front-end that is done with them does. */
static void send_msg(int fd, u32 request, u32 flags, const void *payload,
		     u32 size, const int *fds, unsigned int nfds)
{
	struct vu_wire w = { .hdr = { request, flags, size } };

	if (size)
		memcpy(&w.p, payload, size);
	send_part(fd, &w, sizeof(w.hdr) + size, fds, nfds);
	for (unsigned int i = 0; i < nfds; i++)
		close(fds[i]);
}

/* One message; false if there is none. */
static bool recv_msg(int fd, struct vug_msg *m)
{
	union {
		char buf[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { &m->w.hdr, sizeof(m->w.hdr) };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	memset(m, 0, sizeof(*m));
	n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&mh) : NULL; c;
	     c = CMSG_NXTHDR(&mh, c)) {
		m->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (m->nfds > VUG_MAX_FDS)
			exit(1);
		memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
	}
	if (n != sizeof(m->w.hdr))
		return false;
	if (m->w.hdr.size > sizeof(m->w.p))
		exit(1);
	return !m->w.hdr.size || recv(fd, &m->w.p, m->w.hdr.size,
				      MSG_DONTWAIT) == m->w.hdr.size;
}

static void drop_fds(struct vug_msg *m)
{
	while (m->nfds)
		close(m->fds[--m->nfds]);
}

static bool silent(int fd)
{
	struct vug_msg m;
	bool got = recv_msg(fd, &m);

	drop_fds(&m);
	return !got;
}

static bool hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* The back-end gets a request; true if it is this one. */
static bool reaches(struct rig *r, u32 request, struct vug_msg *m)
{
	if (pump(r) != VUG_RUNNING || !recv_msg(r->back, m))
		return false;
	return m->w.hdr.request == request;
}

static void u64_exchange(struct rig *r, u32 request, u64 value, u64 *got)
{
	struct vug_msg m;

	send_msg(r->front, request, V, NULL, 0, NULL, 0);
	EXPECT(reaches(r, request, &m), "request %u: %s", request, r->log);
	send_msg(r->back, request, ANSWER, &value, sizeof(value), NULL, 0);
	pump(r);
	EXPECT(recv_msg(r->front, &m), "request %u: no answer", request);
	if (got)
		*got = m.w.p.u64;
}

static void u64_set(struct rig *r, u32 request, u64 value)
{
	struct vug_msg m;

	send_msg(r->front, request, V, &value, sizeof(value), NULL, 0);
	EXPECT(reaches(r, request, &m), "request %u: %s", request, r->log);
}

static void negotiate(struct rig *r, u64 proto)
{
	u64 f = VU_BIT(VU_F_PROTOCOL_FEATURES) | VU_BIT(VU_F_ACCESS_PLATFORM);

	u64_exchange(r, VU_GET_FEATURES, f, NULL);
	u64_exchange(r, VU_GET_PROTOCOL_FEATURES, ~0ULL, NULL);
	u64_set(r, VU_SET_PROTOCOL_FEATURES, proto);
	u64_set(r, VU_SET_FEATURES, f);
}

static struct vu_region window(void)
{
	return (struct vu_region){ WIN, WIN_SIZE, WIN_UA, 0 };
}

static void add_region(struct rig *r, struct vu_region region, int fd, u32 flags)
{
	struct vu_mem_reg reg = { 0, region };

	send_msg(r->front, VU_ADD_MEM_REG, flags, &reg, sizeof(reg), &fd, 1);
	pump(r);
}

static u64 all_proto(const struct rig *r)
{
	return PROTO_PASSED |
	       (r->cfg.allow_log ? VU_BIT(VU_PF_LOG_SHMFD) : 0);
}

/* All features set, the window passed: every message is legal now. */
static void rig_ready_proto(struct rig *r, bool log, u64 proto)
{
	struct vug_msg m;

	memset(&r->cfg, 0, sizeof(r->cfg));
	r->cfg.range[0] = (struct vug_range){ WIN, WIN_SIZE };
	r->cfg.nranges = 1;
	r->cfg.allow_log = log;
	rig_open(r);
	negotiate(r, proto & all_proto(r));
	if (!(proto & VU_BIT(VU_PF_MEM_SLOTS)))
		return;
	add_region(r, window(), mem_fd(WIN_SIZE), V);
	EXPECT(recv_msg(r->back, &m), "setting up: %s", r->log);
	drop_fds(&m);
}

static void rig_ready(struct rig *r)
{
	rig_ready_proto(r, false, ~0ULL);
}

/* Each message that may pass */

enum kind { NOTHING, EVENT, MEMORY, SOCKET };

struct spec {
	const char *name;
	u32 request;
	u32 size;
	enum kind fd;
	u32 reply;		/* bytes; 0 if none of its own */
	u64 proto;
	bool log;
	bool need;		/* always with NEED_REPLY */
	bool any_size;		/* within bounds */
	bool offered;		/* needs F_PROTOCOL_FEATURES */
};

#define M(n, s, ...) { .name = #n, .request = VU_##n, .size = (s), ##__VA_ARGS__ }
#define PF(f) .proto = VU_BIT(VU_PF_##f)

static const struct spec specs[] = {
	M(GET_FEATURES, 0, .reply = 8),
	M(SET_FEATURES, 8),
	M(SET_OWNER, 0),
	M(RESET_OWNER, 0),
	M(SET_MEM_TABLE, 40, .fd = MEMORY),
	M(SET_LOG_BASE, 16, .fd = MEMORY, .reply = 8, .log = true,
	  PF(LOG_SHMFD)),
	M(SET_LOG_FD, 0, .fd = EVENT, .log = true),
	M(SET_VRING_NUM, 8),
	M(SET_VRING_ADDR, 40),
	M(SET_VRING_BASE, 8),
	M(GET_VRING_BASE, 8, .reply = 8),
	M(SET_VRING_KICK, 8, .fd = EVENT),
	M(SET_VRING_CALL, 8, .fd = EVENT),
	M(SET_VRING_ERR, 8, .fd = EVENT),
	M(GET_PROTOCOL_FEATURES, 0, .reply = 8, .offered = true),
	M(SET_PROTOCOL_FEATURES, 8, .offered = true),
	M(GET_QUEUE_NUM, 0, .reply = 8, PF(MQ)),
	M(SET_VRING_ENABLE, 8, .offered = true),
	M(SEND_RARP, 8, PF(RARP)),
	M(NET_SET_MTU, 8, PF(MTU)),
	M(SET_BACKEND_REQ_FD, 0, .fd = SOCKET, PF(BACKEND_REQ)),
	M(IOTLB_MSG, 32, .need = true, PF(REPLY_ACK)),
	M(SET_VRING_ENDIAN, 8, PF(CROSS_ENDIAN)),
	M(GET_CONFIG, 20, .reply = 20, .any_size = true, PF(CONFIG)),
	M(SET_CONFIG, 20, .any_size = true, PF(CONFIG)),
	M(RESET_DEVICE, 0, PF(RESET_DEVICE)),
	M(GET_MAX_MEM_SLOTS, 0, .reply = 8, PF(MEM_SLOTS)),
	M(ADD_MEM_REG, 40, .fd = MEMORY, PF(MEM_SLOTS)),
	M(REM_MEM_REG, 40, PF(MEM_SLOTS)),
	M(SET_STATUS, 8, PF(STATUS)),
	M(GET_STATUS, 0, .reply = 8, PF(STATUS)),
	{ }
};

static union vu_payload valid_payload(const struct spec *m)
{
	union vu_payload p = { .u64 = 1 };

	switch (m->request) {
	case VU_SET_FEATURES:
		p.u64 = VU_BIT(VU_F_PROTOCOL_FEATURES);
		break;
	case VU_SET_MEM_TABLE:
		p.table = (struct vu_mem_table){ .nregions = 1 };
		p.table.region[0] = window();
		break;
	case VU_SET_LOG_BASE:
		p.log = (struct vu_log){ 4096, 0 };
		break;
	case VU_SET_VRING_ADDR:
		p.addr = (struct vu_vring_addr){
			.index = 1, .desc = WIN_UA, .used = WIN_UA + 4096,
			.avail = WIN_UA + 8192,
		};
		break;
	case VU_IOTLB_MSG:
		p.iotlb = (struct vu_iotlb){
			.iova = 0x1000, .size = 4096, .uaddr = WIN_UA,
			.perm = 3, .type = VU_IOTLB_UPDATE,
		};
		break;
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		p.config = (struct vu_config){ .offset = 4, .size = 8 };
		break;
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
		p.mem_reg = (struct vu_mem_reg){ 0, window() };
		break;
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_BASE:
	case VU_GET_VRING_BASE:
	case VU_SET_VRING_ENABLE:
	case VU_SET_VRING_ENDIAN:
		p.state = (struct vu_vring_state){ 1, 1 };
		break;
	}
	return p;
}

static int valid_fd(const struct spec *m)
{
	switch (m->fd) {
	case EVENT:
		return event_fd();
	case MEMORY:
		return mem_fd(m->request == VU_SET_LOG_BASE ? 4096 : WIN_SIZE);
	case SOCKET:
		return sock_fd(SOCK_STREAM);
	default:
		return -1;
	}
}

static unsigned int nfds_of(const struct spec *m)
{
	return m->fd != NOTHING;
}

static u32 flags_of(const struct spec *m)
{
	return m->need ? NEED : V;
}

/* Send @m as it should be, but for what the arguments say. */
static void send_spec(struct rig *r, const struct spec *m, u32 flags, u32 size,
		      unsigned int nfds)
{
	union vu_payload p = valid_payload(m);
	int fds[VUG_MAX_FDS + 1];

	for (unsigned int i = 0; i < nfds; i++) {
		fds[i] = valid_fd(m);
		if (fds[i] < 0)
			fds[i] = event_fd();
	}
	send_msg(r->front, m->request, flags, &p, size, fds, nfds);
}

static void send_valid(struct rig *r, const struct spec *m)
{
	send_spec(r, m, flags_of(m), m->size, nfds_of(m));
}

static void expect_violation(struct rig *r, const char *what)
{
	EXPECT(pump(r) == VUG_VIOLATION, "%s: status %d: %s", what, r->st,
	       r->log);
	EXPECT(silent(r->back), "%s: reached the back-end", what);
	EXPECT(silent(r->front), "%s: reached the front-end", what);
	EXPECT(strlen(r->log), "%s: nothing was logged", what);
}

static void test_valid(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		union vu_payload p = valid_payload(m);
		u32 reply = m->reply ? m->reply : m->need ? 8 : 0;
		struct vug_msg got;
		struct rig r;

		rig_ready_proto(&r, m->log, ~0ULL);
		if (m->request == VU_SET_PROTOCOL_FEATURES)
			p.u64 = 1;
		send_valid(&r, m);
		EXPECT(reaches(&r, m->request, &got), "%s: %s", m->name, r.log);
		EXPECT(got.w.hdr.flags == flags_of(m), "%s", m->name);
		EXPECT(got.w.hdr.size == m->size, "%s", m->name);
		EXPECT(got.nfds == nfds_of(m), "%s: %u", m->name, got.nfds);
		EXPECT(!memcmp(&got.w.p, &p, m->size), "%s", m->name);
		drop_fds(&got);
		if (reply) {
			send_msg(r.back, m->request, ANSWER, &p, reply, NULL,
				 0);
			EXPECT(pump(&r) == VUG_RUNNING, "%s: %s", m->name,
			       r.log);
			EXPECT(recv_msg(r.front, &got), "%s", m->name);
			EXPECT(got.w.hdr.request == m->request, "%s", m->name);
			EXPECT(got.w.hdr.flags == ANSWER, "%s", m->name);
			EXPECT(got.w.hdr.size == reply, "%s", m->name);
		}
		EXPECT(silent(r.front), "%s", m->name);
		rig_close(&r);
	}
}

static void test_acknowledged(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct vug_msg got;
		u64 ack = 7;
		struct rig r;

		if (m->reply)
			continue;
		rig_ready_proto(&r, m->log, ~0ULL);
		send_spec(&r, m, NEED, m->size, nfds_of(m));
		EXPECT(reaches(&r, m->request, &got), "%s: %s", m->name, r.log);
		EXPECT(got.w.hdr.flags == NEED, "%s", m->name);
		drop_fds(&got);
		send_msg(r.back, m->request, ANSWER, &ack, 8, NULL, 0);
		pump(&r);
		EXPECT(recv_msg(r.front, &got), "%s: %s", m->name, r.log);
		EXPECT(got.w.hdr.flags == ANSWER, "%s", m->name);
		EXPECT(got.w.p.u64 == 7, "%s", m->name);
		rig_close(&r);

		/* Without REPLY_ACK a back-end does not have to answer. */
		rig_ready_proto(&r, m->log, ~VU_BIT(VU_PF_REPLY_ACK));
		send_spec(&r, m, NEED, m->size, nfds_of(m));
		expect_violation(&r, m->name);
		rig_close(&r);
	}
}

static void test_sizes(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		const u32 bad[] = { 0, m->size - 1, m->size + 1, m->size + 32,
				    269, 0x7fffffff, 0xffffffff };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			struct vu_hdr h = { m->request, flags_of(m), bad[i] };
			union vu_payload p = valid_payload(m);
			unsigned int nfds = nfds_of(m);
			struct rig r;
			int fd;

			if (bad[i] == m->size)
				continue;
			rig_ready_proto(&r, m->log, ~0ULL);
			fd = valid_fd(m);
			send_part(r.front, &h, sizeof(h), &fd, nfds);
			/* Send all that fits: the guard must not wait. */
			if (bad[i])
				send_part(r.front, &p, bad[i] < sizeof(p) ?
					  bad[i] : sizeof(p), NULL, 0);
			if (nfds)
				close(fd);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
	}
}

static void test_fd_counts(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		for (unsigned int n = 0; n <= VUG_MAX_FDS + 1; n++) {
			struct rig r;

			/* REM_MEM_REG may have one; see test_rem_with_fd(). */
			if (n == nfds_of(m) ||
			    (m->request == VU_REM_MEM_REG && n == 1))
				continue;
			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, flags_of(m), m->size, n);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
	}
}

static void test_flags(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		const u32 bad[] = { 0, 2, 3, V | VU_REPLY, V | 0x10,
				    V | 0x80000000, ANSWER | VU_NEED_REPLY };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			struct rig r;

			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, bad[i], m->size, nfds_of(m));
			expect_violation(&r, m->name);
			rig_close(&r);
		}
	}
}

static void test_gates(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct rig r;

		if (m->proto) {
			rig_ready_proto(&r, m->log, ~m->proto);
			send_valid(&r, m);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
		if (m->log) {
			rig_ready(&r);
			send_valid(&r, m);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
		if (m->offered) {
			rig_plain(&r);
			send_valid(&r, m);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
	}
}

static void test_unknown(void)
{
	static const u32 extra[] = { 64, 255, 256, 0x7fffffff, 0xffffffff };

	for (u32 i = 0; i < 64 + ARRAY_SIZE(extra); i++) {
		u32 request = i < 64 ? i : extra[i - 64];
		bool known = false;
		u64 payload = 0;
		struct rig r;
		int fd;

		for (const struct spec *m = specs; m->name; m++)
			known |= m->request == request;
		if (known)
			continue;
		for (u32 size = 0; size <= 8; size += 8) {
			rig_ready_proto(&r, true, ~0ULL);
			fd = mem_fd(4096);
			send_msg(r.front, request, V, &payload, size, &fd, 1);
			expect_violation(&r, "unknown request");
			rig_close(&r);
		}
	}
}

static void test_answers(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		u32 size = m->reply ? m->reply : 8;
		const struct {
			u32 request, flags, size;
			unsigned int nfds;
		} bad[] = {
			{ m->request + 1, ANSWER, size, 0 },
			{ 0, ANSWER, size, 0 },
			{ 0xffffffff, ANSWER, size, 0 },
			{ m->request, V, size, 0 },
			{ m->request, VU_REPLY, size, 0 },
			{ m->request, ANSWER | 2, size, 0 },
			{ m->request, ANSWER | 0x10, size, 0 },
			{ m->request, ANSWER, size - 1, 0 },
			{ m->request, ANSWER, size + 1, 0 },
			{ m->request, ANSWER, 268, 0 },
			{ m->request, ANSWER, 269, 0 },
			{ m->request, ANSWER, 0xffffffff, 0 },
			{ m->request, ANSWER, size, 1 },
			{ m->request, ANSWER, size, 8 },
		};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			union vu_payload p = valid_payload(m);
			struct vu_hdr h = { bad[i].request, bad[i].flags,
					    bad[i].size };
			u32 flags = m->reply ? V : NEED;
			struct vug_msg got;
			int fds[8];
			struct rig r;

			rig_ready_proto(&r, m->log, ~0ULL);
			send_spec(&r, m, flags, m->size, nfds_of(m));
			EXPECT(reaches(&r, m->request, &got), "%s: %s",
			       m->name, r.log);
			drop_fds(&got);
			for (unsigned int n = 0; n < bad[i].nfds; n++)
				fds[n] = mem_fd(4096);
			send_part(r.back, &h, sizeof(h), fds, bad[i].nfds);
			send_part(r.back, &p, bad[i].size < sizeof(p) ?
				  bad[i].size : sizeof(p), NULL, 0);
			for (unsigned int n = 0; n < bad[i].nfds; n++)
				close(fds[n]);
			expect_violation(&r, m->name);
			rig_close(&r);
		}
	}
}

static void test_unsolicited(void)
{
	u64 v = 0;

	/* Before anything; after a request without answer; a second answer. */
	for (int when = 0; when < 3; when++) {
		struct vug_msg got;
		struct rig r;

		rig_ready(&r);
		if (when == 1) {
			send_msg(r.front, VU_SET_OWNER, V, NULL, 0, NULL, 0);
			EXPECT(reaches(&r, VU_SET_OWNER, &got), "%s", r.log);
		}
		if (when == 2)
			u64_exchange(&r, VU_GET_STATUS, 1, NULL);
		send_msg(r.back, when == 1 ? VU_SET_OWNER : VU_GET_STATUS,
			 ANSWER, &v, 8, NULL, 0);
		expect_violation(&r, "unsolicited answer");
		rig_close(&r);
	}
}

/* libvhost-user echoes NEED_REPLY; QEMU does not take such an answer. */
static void test_echoed_flag(void)
{
	struct vug_msg got;
	struct rig r;
	u64 v = 3;

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, NEED, NULL, 0, NULL, 0);
	EXPECT(reaches(&r, VU_GET_STATUS, &got), "%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER | VU_NEED_REPLY, &v, 8, NULL, 0);
	pump(&r);
	EXPECT(recv_msg(r.front, &got) && got.w.hdr.flags == ANSWER, "%s",
	       r.log);
	rig_close(&r);

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	EXPECT(reaches(&r, VU_GET_STATUS, &got), "%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER | VU_NEED_REPLY, &v, 8, NULL, 0);
	expect_violation(&r, "NEED_REPLY in an answer");
	rig_close(&r);
}

static void test_masks(void)
{
	for (int log = 0; log < 2; log++) {
		u64 want = PROTO_PASSED |
			   (log ? VU_BIT(VU_PF_LOG_SHMFD) : 0);
		u64 f = ~0ULL, got = 0;
		struct vug_msg m;
		struct rig r;

		rig_plain(&r);
		r.cfg.allow_log = log;
		u64_exchange(&r, VU_GET_FEATURES, ~0ULL, &got);
		if (!log)
			f &= ~VU_BIT(VU_F_LOG_ALL);
		EXPECT(got == f, "features 0x%llx", got);
		u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, ~0ULL, &got);
		EXPECT(got == want, "protocol features 0x%llx", got);
		f = VU_BIT(VU_F_LOG_ALL);
		send_msg(r.front, VU_SET_FEATURES, V, &f, 8, NULL, 0);
		pump(&r);
		EXPECT(recv_msg(r.back, &m) == log, "%s", r.log);
		EXPECT((r.st == VUG_VIOLATION) == !log, "%s", r.log);
		rig_close(&r);
	}
	for (int bit = 0; bit < 64; bit++) {
		u64 v = VU_BIT(bit);
		struct rig r;

		if (PROTO_PASSED & v)
			continue;
		rig_plain(&r);
		u64_exchange(&r, VU_GET_FEATURES, ~0ULL, NULL);
		u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, ~0ULL, NULL);
		send_msg(r.front, VU_SET_PROTOCOL_FEATURES, V, &v, 8, NULL, 0);
		expect_violation(&r, "masked protocol feature");
		rig_close(&r);
	}
}

/* Regions */

struct region_case {
	const char *name;
	u64 gpa, size, uaddr, offset;
	int (*fd)(u64 size);
	u64 file_size;
	bool passes;
	const char *log;
};

static int fd_dir(u64 size)
{
	(void)size;
	return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int fd_path(u64 size)
{
	(void)size;
	return open("/", O_PATH | O_CLOEXEC);
}

static int fd_zero(u64 size)
{
	(void)size;
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int fd_proc_mem(u64 size)
{
	(void)size;
	return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
}

static int fd_sysfs(u64 size)
{
	(void)size;
	return open("/sys/kernel/notes", O_RDONLY | O_CLOEXEC);
}

static int fd_event(u64 size)
{
	(void)size;
	return event_fd();
}

static int fd_pipe(u64 size)
{
	(void)size;
	return pipe_fd();
}

static int fd_socket(u64 size)
{
	(void)size;
	return sock_fd(SOCK_STREAM);
}

static int fd_disk(u64 size)
{
	(void)size;
	return open(program, O_RDONLY | O_CLOEXEC);
}

#define S	WIN_SIZE
#define U	WIN_UA

static const struct region_case region_cases[] = {
	{ "exact", WIN, S, U, 0, mem_fd, S, true, "passed region" },
	{ "start", WIN, S / 2, U, 0, mem_fd, S / 2, true, "passed" },
	{ "end", WIN + S / 2, S / 2, U, 0, mem_fd, S / 2, true, "passed" },
	{ "short file", WIN, S, U, 0, mem_fd, S / 2, true, "passed" },
	{ "before", WIN - S, S, U, 0, mem_fd, S, false, "outside" },
	{ "behind", WIN + S, S, U, 0, mem_fd, S, false, "outside" },
	{ "far", 0, S, U, 0, mem_fd, S, false, "outside" },
	{ "one byte early", WIN - 1, S, U, 0, mem_fd, S, false, "partly" },
	{ "one byte late", WIN + 1, S, U, 0, mem_fd, S, false, "partly" },
	{ "one byte more", WIN, S + 1, U, 0, mem_fd, S, false, "partly" },
	{ "around", WIN - S, 3 * S, U, 0, mem_fd, S, false, "partly" },
	{ "everything", 0, ~0ULL, 0, 0, mem_fd, S, false, "partly" },
	{ "empty", WIN, 0, U, 0, mem_fd, 0, false, "empty" },
	{ "wraps", WIN, 0 - WIN + S, U, 0, mem_fd, S, false, "wrap" },
	{ "wraps to 0", ~0ULL - 1, 16, U, 0, mem_fd, S, false, "wrap" },
	{ "user wraps", WIN, S, ~0ULL - 1, 0, mem_fd, S, false, "wrap" },
	{ "offset", WIN, S, U, 1, mem_fd, S, false, "beginning" },
	{ "page offset", WIN, S, U, 4096, mem_fd, S, false, "beginning" },
	{ "file one more", WIN, S, U, 0, mem_fd, S + 1, false, "larger" },
	{ "file huge", WIN, S, U, 0, mem_fd, 1ULL << 40, false, "larger" },
	{ "directory", WIN, S, U, 0, fd_dir, 0, false, "not a file" },
	{ "path", WIN, S, U, 0, fd_path, 0, false, "not a file" },
	{ "device", WIN, S, U, 0, fd_zero, 0, false, "not a file" },
	{ "eventfd", WIN, S, U, 0, fd_event, 0, false, "not a file" },
	{ "pipe", WIN, S, U, 0, fd_pipe, 0, false, "not a file" },
	{ "socket", WIN, S, U, 0, fd_socket, 0, false, "not a file" },
	{ "/proc/PID/mem", WIN, S, U, 0, fd_proc_mem, 0, false, "tmpfs" },
	{ "sysfs", WIN, S, U, 0, fd_sysfs, 0, false, "tmpfs" },
	{ "disk", WIN, S, U, 0, fd_disk, 0, false, "" },
};

#undef S
#undef U

static int case_fd(const struct region_case *c)
{
	struct statfs fs;
	int fd = c->fd(c->file_size);

	/* On tmpfs, the build folder is no disk: its file is only too large. */
	if (fd < 0 && c->fd == fd_sysfs)
		fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		FAIL("%s: %s", c->name, strerror(errno));
	return fd;
}

static void test_regions_table(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(region_cases); i++) {
		const struct region_case *c = &region_cases[i];
		struct vu_mem_table t = { .nregions = 1 };
		struct vug_msg got;
		struct rig r;
		ino_t ino;
		int fd;

		t.region[0] = (struct vu_region){ c->gpa, c->size, c->uaddr,
						  c->offset };
		rig_plain(&r);
		fd = case_fd(c);
		ino = inode(fd);
		send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
		EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", c->name);
		EXPECT(got.nfds == (unsigned int)c->passes, "%s: %s", c->name,
		       r.log);
		EXPECT(got.w.p.table.nregions == c->passes, "%s", c->name);
		EXPECT(got.w.hdr.size == 8 + 32U * c->passes, "%s", c->name);
		EXPECT(strstr(r.log, c->log), "%s: %s", c->name, r.log);
		if (c->passes && got.nfds) {
			EXPECT(inode(got.fds[0]) == ino, "%s", c->name);
			EXPECT(!memcmp(&got.w.p.table.region[0], &t.region[0],
				       32), "%s", c->name);
		}
		drop_fds(&got);
		rig_close(&r);
	}
}

static void test_regions_single(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(region_cases); i++) {
		const struct region_case *c = &region_cases[i];
		struct vu_region region = { c->gpa, c->size, c->uaddr,
					    c->offset };
		struct vu_mem_reg reg = { 0, region };
		struct vug_msg got;
		struct rig r;

		rig_plain(&r);
		negotiate(&r, PROTO_PASSED);

		/* Both ways, then remove it again. */
		for (u32 ack = 0; ack < 2; ack++) {
			u32 flags = ack ? NEED : V;

			for (u32 req = VU_ADD_MEM_REG; req <= VU_REM_MEM_REG;
			     req++) {
				unsigned int n = req == VU_ADD_MEM_REG;
				int fd = -1;

				if (n)
					fd = case_fd(c);
				send_msg(r.front, req, flags, &reg,
					 sizeof(reg), &fd, n);
				EXPECT(reaches(&r, req, &got) == c->passes,
				       "%s: %s", c->name, r.log);
				EXPECT(got.nfds == (c->passes ? n : 0), "%s",
				       c->name);
				drop_fds(&got);
				if (c->passes && ack)
					send_msg(r.back, req, ANSWER, "1234567",
						 8, NULL, 0);
				pump(&r);
				EXPECT(recv_msg(r.front, &got) == !!ack,
				       "%s", c->name);
				if (!ack)
					continue;
				EXPECT(got.w.hdr.flags == ANSWER &&
				       got.w.hdr.size == 8 &&
				       got.w.hdr.request == req, "%s", c->name);
				EXPECT(c->passes || !got.w.p.u64, "%s",
				       c->name);
			}
		}
		EXPECT(r.st == VUG_RUNNING, "%s: %s", c->name, r.log);
		EXPECT(strstr(r.log, c->log), "%s: %s", c->name, r.log);
		rig_close(&r);
	}
}

static void test_table_mixed(void)
{
	static const u64 gpa[] = {
		0x40000000, WIN, 0x60000000, WIN + 0x8000, 0x70000000,
		WIN + 0x4000, WIN + 0xf000, WIN + 0xc000,
	};
	/* The seventh sticks out. */
	static const int pass[] = { 1, 3, 5, 7 };
	struct vu_mem_table t = { .nregions = 8 };
	struct vug_msg got;
	int fds[8];
	ino_t ino[8];
	struct rig r;

	for (int i = 0; i < 8; i++) {
		t.region[i] = (struct vu_region){ gpa[i], 0x4000,
						  WIN_UA + gpa[i], 0 };
		fds[i] = mem_fd(0x4000);
		ino[i] = inode(fds[i]);
	}
	rig_ready(&r);
	send_msg(r.front, VU_SET_MEM_TABLE, NEED, &t, sizeof(t), fds, 8);
	EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", r.log);
	EXPECT(got.w.p.table.nregions == 4, "%u", got.w.p.table.nregions);
	EXPECT(got.w.hdr.size == 8 + 4 * 32, "%u", got.w.hdr.size);
	EXPECT(got.nfds == 4, "%u", got.nfds);
	for (unsigned int i = 0; i < got.nfds && i < 4; i++) {
		EXPECT(inode(got.fds[i]) == ino[pass[i]], "descriptor %u", i);
		EXPECT(got.w.p.table.region[i].gpa == gpa[pass[i]],
		       "region %u", i);
	}
	EXPECT(strstr(r.log, "0x40000000+0x4000"), "%s", r.log);
	drop_fds(&got);
	rig_close(&r);
}

static void test_table_malformed(void)
{
	static const struct {
		u32 nregions, size;
		unsigned int nfds;
	} bad[] = {
		{ 1, 8, 0 }, { 1, 8, 1 }, { 0, 40, 0 }, { 0, 40, 1 },
		{ 2, 40, 1 }, { 2, 40, 2 }, { 2, 72, 1 }, { 1, 40, 0 },
		{ 1, 40, 2 }, { 1, 72, 1 }, { 9, 264, 8 }, { 8, 264, 7 },
		{ 0x08000000, 8, 0 }, { 0x08000001, 40, 1 },
		{ 0xffffffff, 264, 8 }, { 1, 44, 1 }, { 0, 8, 1 },
	};
	struct vu_mem_table t = { 0 };
	struct vug_msg got;
	struct rig r;

	for (int i = 0; i < 8; i++)
		t.region[i] = window();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fds[8];

		rig_ready(&r);
		for (unsigned int n = 0; n < bad[i].nfds; n++)
			fds[n] = mem_fd(WIN_SIZE);
		t.nregions = bad[i].nregions;
		send_msg(r.front, VU_SET_MEM_TABLE, V, &t, bad[i].size, fds,
			 bad[i].nfds);
		expect_violation(&r, "memory table");
		rig_close(&r);
	}
	/* None at all is legal. */
	rig_ready(&r);
	t.nregions = 0;
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 8, NULL, 0);
	EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", r.log);
	EXPECT(!got.w.p.table.nregions && got.w.hdr.size == 8, "%s", r.log);
	rig_close(&r);
}

/* A table replaces the regions before: removing one of those is not sent on. */
static void test_table_replaces(void)
{
	struct vu_mem_table t = { 0 };
	struct vu_mem_reg reg = { 0, window() };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 8, NULL, 0);
	EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", r.log);
	send_msg(r.front, VU_REM_MEM_REG, NEED, &reg, sizeof(reg), NULL, 0);
	pump(&r);
	EXPECT(silent(r.back), "%s", r.log);
	EXPECT(recv_msg(r.front, &got) && !got.w.p.u64, "%s", r.log);
	rig_close(&r);
}

/* A region that came in a table can be removed, and be an update's target. */
static void test_table_holds(void)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct vu_mem_reg reg = { 0, window() };
	struct vu_iotlb u = { .size = 1, .uaddr = WIN_UA + 0x100000,
			      .type = VU_IOTLB_UPDATE };
	struct vug_msg got;
	struct rig r;
	u64 ack = 0;
	int fd;

	rig_ready(&r);
	reg.region.uaddr += 0x100000;
	t.region[0] = reg.region;
	fd = mem_fd(WIN_SIZE);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
	EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", r.log);
	drop_fds(&got);
	send_msg(r.front, VU_IOTLB_MSG, NEED, &u, 32, NULL, 0);
	EXPECT(reaches(&r, VU_IOTLB_MSG, &got), "%s", r.log);
	send_msg(r.back, VU_IOTLB_MSG, ANSWER, &ack, 8, NULL, 0);
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
	EXPECT(reaches(&r, VU_REM_MEM_REG, &got), "%s", r.log);
	rig_close(&r);
}

static void test_rem_with_fd(void)
{
	struct vu_mem_reg reg = { 0, window() };
	struct vug_msg got;
	struct rig r;
	int fd;

	rig_ready(&r);
	fd = mem_fd(WIN_SIZE);
	/* The offset does not count. */
	reg.region.offset = 4096;
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), &fd, 1);
	EXPECT(reaches(&r, VU_REM_MEM_REG, &got), "%s", r.log);
	EXPECT(!got.nfds, "%u", got.nfds);
	/* The region is gone: a second removal is not sent on. */
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
	pump(&r);
	EXPECT(silent(r.back), "%s", r.log);
	rig_close(&r);
}

static void test_many_regions(void)
{
	struct vu_region region = { WIN, 16, WIN_UA, 0 };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	for (int i = 1; i < VUG_MAX_REGIONS; i++) {
		region.gpa += 16;
		add_region(&r, region, mem_fd(16), V);
		EXPECT(recv_msg(r.back, &got), "region %d: %s", i, r.log);
		drop_fds(&got);
		r.len = 0;
	}
	region.gpa += 16;
	add_region(&r, region, mem_fd(16), V);
	expect_violation(&r, "one region too many");
	rig_close(&r);
}

/* Two ranges that touch are still two: a region across them is not inside. */
static void test_ranges(void)
{
	struct vu_mem_table t = { .nregions = 3 };
	struct vug_msg got;
	struct rig r;
	int fds[3];

	memset(&r.cfg, 0, sizeof(r.cfg));
	r.cfg.range[0] = (struct vug_range){ 0x1000, 0x1000 };
	r.cfg.range[1] = (struct vug_range){ 0x2000, 0x1000 };
	r.cfg.range[2] = (struct vug_range){ ~0ULL - 0xfff, 0x1000 };
	r.cfg.nranges = 3;
	rig_open(&r);
	t.region[0] = (struct vu_region){ 0x2000, 0x1000, 0x1000, 0 };
	t.region[1] = (struct vu_region){ 0x1800, 0x1000, 0x1000, 0 };
	t.region[2] = (struct vu_region){ ~0ULL - 0xfff, 0x1000, 0, 0 };
	for (int i = 0; i < 3; i++)
		fds[i] = mem_fd(0x1000);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 104, fds, 3);
	EXPECT(reaches(&r, VU_SET_MEM_TABLE, &got), "%s", r.log);
	EXPECT(got.w.p.table.nregions == 2 && got.nfds == 2, "%s", r.log);
	EXPECT(got.w.p.table.region[1].gpa == ~0ULL - 0xfff, "%s", r.log);
	drop_fds(&got);
	rig_close(&r);
}

static void test_range_errors(void)
{
	struct vug_config c = { .nranges = 1 };
	static const struct {
		struct vug_range r;
		bool ok;
	} cases[] = {
		{ { 0x1000, 0x1000 }, false }, { { 0xfff, 2 }, false },
		{ { 0x1fff, 1 }, false }, { { 0, ~0ULL }, false },
		{ { 0x2000, 0x1000 }, true }, { { 0, 0x1000 }, true },
		{ { 0x3000, 0 }, false }, { { ~0ULL, 1 }, true },
		{ { ~0ULL, 2 }, false }, { { 2, ~0ULL }, false },
	};

	c.range[0] = (struct vug_range){ 0x1000, 0x1000 };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT(!vug_range_error(&c, &cases[i].r) == cases[i].ok,
		       "case %zu", i);
	for (c.nranges = 0; c.nranges < VUG_MAX_RANGES; c.nranges++)
		c.range[c.nranges] = (struct vug_range){ c.nranges, 1 };
	EXPECT(vug_range_error(&c, &(struct vug_range){ 1000, 1 }), "65th");
}

static void test_seals(void)
{
	static const int seals[] = {
		0, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_GROW | F_SEAL_SHRINK,
	};

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		struct vug_msg got;
		struct rig r;
		int fd;

		rig_plain(&r);
		r.cfg.require_seals = true;
		negotiate(&r, PROTO_PASSED);
		fd = mem_fd(WIN_SIZE);
		EXPECT(!fcntl(fd, F_ADD_SEALS, seals[i]), "seals");
		add_region(&r, window(), fd, V);
		EXPECT(recv_msg(r.back, &got) == (i == 3), "seals 0x%x: %s",
		       seals[i], r.log);
		drop_fds(&got);
		rig_close(&r);
	}
}

/* Contents */

static void refuse(u32 request, const void *payload, u32 size, int fd)
{
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, request, request == VU_IOTLB_MSG ? NEED : V, payload,
		 size, &fd, fd >= 0);
	expect_violation(&r, "content");
	rig_close(&r);
}

static void test_vring_index(void)
{
	static const u32 requests[] = {
		VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_VRING_BASE,
		VU_SET_VRING_ENABLE, VU_SET_VRING_ENDIAN,
	};
	struct vu_vring_state st = { 256, 1 };
	struct vu_vring_addr a = { .index = 256 };

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		refuse(requests[i], &st, sizeof(st), -1);
	st.index = 0xffffffff;
	refuse(VU_SET_VRING_NUM, &st, sizeof(st), -1);
	st = (struct vu_vring_state){ 1, 2 };
	refuse(VU_SET_VRING_ENDIAN, &st, sizeof(st), -1);
	refuse(VU_SET_VRING_ADDR, &a, sizeof(a), -1);
	a = (struct vu_vring_addr){ .flags = VU_VRING_ADDR_F_LOG };
	refuse(VU_SET_VRING_ADDR, &a, sizeof(a), -1);
	a.flags = 2;
	refuse(VU_SET_VRING_ADDR, &a, sizeof(a), -1);
}

static void test_vring_fds(void)
{
	for (u32 req = VU_SET_VRING_KICK; req <= VU_SET_VRING_ERR; req++) {
		static const u64 bad[] = { 0x200, 0x1000000000000001ULL,
					   0x80000000, 0xffff };
		int fds[] = {
			mem_fd(4096), pipe_fd(), sock_fd(SOCK_STREAM),
			open("/dev/null", O_RDWR | O_CLOEXEC),
			timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
			epoll_create1(EPOLL_CLOEXEC), fd_proc_mem(0),
			fd_path(0),
		};
		u64 v = 255, nofd = VU_VRING_NOFD | 3;
		struct vug_msg got;
		struct rig r;
		int fd;

		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			refuse(req, &v, 8, fds[i]);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			refuse(req, &bad[i], 8, event_fd());
		refuse(req, &nofd, 8, event_fd());
		refuse(req, &v, 8, -1);

		rig_ready(&r);
		send_msg(r.front, req, V, &nofd, 8, NULL, 0);
		EXPECT(reaches(&r, req, &got) && !got.nfds, "%s", r.log);
		fd = event_fd();
		send_msg(r.front, req, V, &v, 8, &fd, 1);
		EXPECT(reaches(&r, req, &got) && got.nfds == 1, "%s", r.log);
		drop_fds(&got);
		rig_close(&r);
	}
}

static void test_config(void)
{
	static const struct {
		struct vu_config c;
		u32 size;
		bool ok;
	} cases[] = {
		{ { 0, 256, 0, { 0 } }, 268, true },
		{ { 255, 1, 1, { 0 } }, 13, true },
		{ { 0, 60, 0, { 0 } }, 72, true },
		{ { 0, 0, 0, { 0 } }, 12, false },
		{ { 0, 8, 0, { 0 } }, 21, false },
		{ { 0, 8, 0, { 0 } }, 19, false },
		{ { 1, 256, 0, { 0 } }, 268, false },
		{ { 256, 1, 0, { 0 } }, 13, false },
		{ { 0xffffffff, 2, 0, { 0 } }, 14, false },
		{ { 0, 257, 0, { 0 } }, 268, false },
		{ { 0, 0xfffffffd, 0, { 0 } }, 20, false },
		{ { 0, 8, 2, { 0 } }, 20, false },
	};

	for (u32 req = VU_GET_CONFIG; req <= VU_SET_CONFIG; req++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct vug_msg got;
			struct rig r;

			if (!cases[i].ok) {
				refuse(req, &cases[i].c, cases[i].size, -1);
				continue;
			}
			rig_ready(&r);
			send_msg(r.front, req, V, &cases[i].c, cases[i].size,
				 NULL, 0);
			EXPECT(reaches(&r, req, &got), "case %zu: %s", i,
			       r.log);
			rig_close(&r);
		}
	}
}

static void test_config_answers(void)
{
	static const struct {
		u32 offset, size, bytes;
		bool ok;
	} cases[] = {
		{ 4, 8, 20, true }, { 0, 0, 0, true }, { 4, 8, 12, false },
		{ 4, 9, 21, false }, { 4, 9, 20, false }, { 5, 8, 20, false },
		{ 4, 7, 19, false }, { 4, 256, 268, false }, { 0, 0, 4, false },
	};
	struct vu_config ask = { 4, 8, 0, { 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_config c = { cases[i].offset, cases[i].size, 0,
				       { 0 } };
		struct vug_msg got;
		struct rig r;

		rig_ready(&r);
		send_msg(r.front, VU_GET_CONFIG, V, &ask, 20, NULL, 0);
		EXPECT(reaches(&r, VU_GET_CONFIG, &got), "%s", r.log);
		send_msg(r.back, VU_GET_CONFIG, ANSWER, &c, cases[i].bytes,
			 NULL, 0);
		pump(&r);
		EXPECT((r.st == VUG_RUNNING) == cases[i].ok, "case %zu: %s", i,
		       r.log);
		EXPECT(recv_msg(r.front, &got) == cases[i].ok, "case %zu", i);
		rig_close(&r);
	}
}

static void test_vring_base_answer(void)
{
	struct vu_vring_state st = { 1, 0 };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, VU_GET_VRING_BASE, V, &st, 8, NULL, 0);
	EXPECT(reaches(&r, VU_GET_VRING_BASE, &got), "%s", r.log);
	st.index = 2;
	send_msg(r.back, VU_GET_VRING_BASE, ANSWER, &st, 8, NULL, 0);
	expect_violation(&r, "answer for another vring");
	rig_close(&r);
}

static void test_status(void)
{
	u64 v = 0x100;

	refuse(VU_SET_STATUS, &v, 8, -1);
}

static void test_log(void)
{
	static const struct {
		u64 size, offset, file;
		bool ok;
	} cases[] = {
		{ 4096, 0, 4096, true }, { 100, 0, 4096, true },
		{ 100, 0, 100, true }, { 4096, 0, 4097, false },
		{ 4096, 4096, 8192, false }, { 4096, 4096, 4096, false },
		{ 4096, 1, 100, false }, { 0, 0, 0, false },
		{ 4096, 0, 1 << 30, false }, { ~0ULL, 0, 4096, false },
	};
	struct vug_msg got;
	struct rig r;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_log l = { cases[i].size, cases[i].offset };

		rig_ready_proto(&r, true, ~0ULL);
		fd = mem_fd(cases[i].file);
		send_msg(r.front, VU_SET_LOG_BASE, V, &l, 16, &fd, 1);
		EXPECT(reaches(&r, VU_SET_LOG_BASE, &got) == cases[i].ok,
		       "case %zu: %s", i, r.log);
		drop_fds(&got);
		rig_close(&r);
	}
	rig_ready_proto(&r, true, ~0ULL);
	fd = mem_fd(4096);
	send_msg(r.front, VU_SET_LOG_FD, V, NULL, 0, &fd, 1);
	expect_violation(&r, "memory as log eventfd");
	rig_close(&r);
}

static void test_iotlb(void)
{
	static const struct {
		u64 uaddr, size;
		u8 type, perm;
		int what;	/* 0 refused, 1 passes, 2 answered */
	} cases[] = {
		{ WIN_UA, WIN_SIZE, VU_IOTLB_UPDATE, 1, 1 },
		{ WIN_UA + 4096, 4096, VU_IOTLB_UPDATE, 3, 1 },
		{ WIN_UA - 1, 4096, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA + 1, WIN_SIZE, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA + WIN_SIZE, 1, VU_IOTLB_UPDATE, 3, 2 },
		{ 0x1000, 4096, VU_IOTLB_UPDATE, 3, 2 },
		{ WIN_UA, ~0ULL, VU_IOTLB_UPDATE, 3, 2 },
		{ 0, 4096, VU_IOTLB_INVALIDATE, 0, 1 },
		{ WIN_UA, 0, VU_IOTLB_UPDATE, 3, 0 },
		{ WIN_UA, 4096, VU_IOTLB_UPDATE, 4, 0 },
		{ WIN_UA, 4096, VU_IOTLB_MISS, 3, 0 },
		{ WIN_UA, 4096, VU_IOTLB_ACCESS_FAIL, 3, 0 },
		{ WIN_UA, 4096, 0, 3, 0 }, { WIN_UA, 4096, 255, 3, 0 },
	};
	struct vu_iotlb t = { 0 };
	struct vug_msg got;
	struct rig r;
	u64 f = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		t = (struct vu_iotlb){
			.iova = 0x8000, .size = cases[i].size,
			.uaddr = cases[i].uaddr, .perm = cases[i].perm,
			.type = cases[i].type,
		};
		if (!cases[i].what) {
			refuse(VU_IOTLB_MSG, &t, 32, -1);
			continue;
		}
		rig_ready(&r);
		send_msg(r.front, VU_IOTLB_MSG, NEED, &t, 32, NULL, 0);
		EXPECT(reaches(&r, VU_IOTLB_MSG, &got) == (cases[i].what == 1),
		       "case %zu: %s", i, r.log);
		if (cases[i].what == 2)
			EXPECT(recv_msg(r.front, &got) && got.w.p.u64 == 1,
			       "case %zu: %s", i, r.log);
		EXPECT(r.st == VUG_RUNNING, "case %zu: %s", i, r.log);
		rig_close(&r);
	}
	/* Refuse updates without ACCESS_PLATFORM, and unacknowledged ones. */
	t = (struct vu_iotlb){ .size = 1, .uaddr = WIN_UA,
			       .type = VU_IOTLB_UPDATE };
	rig_ready(&r);
	u64_set(&r, VU_SET_FEATURES, f);
	send_msg(r.front, VU_IOTLB_MSG, NEED, &t, 32, NULL, 0);
	expect_violation(&r, "IOTLB without ACCESS_PLATFORM");
	rig_close(&r);
	rig_ready(&r);
	send_msg(r.front, VU_IOTLB_MSG, V, &t, 32, NULL, 0);
	expect_violation(&r, "IOTLB without NEED_REPLY");
	rig_close(&r);
}

/* The back-channel */

struct channel {
	struct rig r;
	int front;		/* the front-end's end */
	int back;		/* the back-end's end */
};

static void channel_open(struct channel *c)
{
	struct vug_msg got;
	int p[2];

	rig_ready(&c->r);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		exit(1);
	c->front = p[0];
	c->back = -1;
	send_msg(c->r.front, VU_SET_BACKEND_REQ_FD, V, NULL, 0, &p[1], 1);
	EXPECT(reaches(&c->r, VU_SET_BACKEND_REQ_FD, &got) && got.nfds == 1,
	       "%s", c->r.log);
	if (got.nfds == 1)
		c->back = got.fds[0];
	else
		drop_fds(&got);
}

static void channel_close(struct channel *c)
{
	if (c->front >= 0)
		close(c->front);
	if (c->back >= 0)
		close(c->back);
	rig_close(&c->r);
}

static void test_channel(void)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_MISS };
	struct channel c;
	struct vug_msg m;
	u64 ack = 5;

	channel_open(&c);
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, NULL, 0);
	pump(&c.r);
	EXPECT(recv_msg(c.front, &m) &&
	       m.w.hdr.request == VU_BACKEND_CONFIG_CHANGE, "%s", c.r.log);
	send_msg(c.back, VU_BACKEND_IOTLB_MSG, NEED, &t, 32, NULL, 0);
	pump(&c.r);
	EXPECT(recv_msg(c.front, &m) && !memcmp(&m.w.p, &t, 32), "%s",
	       c.r.log);
	EXPECT(m.w.hdr.flags == NEED, "%s", c.r.log);
	send_msg(c.front, VU_BACKEND_IOTLB_MSG, ANSWER, &ack, 8, NULL, 0);
	pump(&c.r);
	EXPECT(recv_msg(c.back, &m) && m.w.p.u64 == 5 &&
	       m.w.hdr.flags == ANSWER, "%s", c.r.log);
	/* Both links are independent: this one waits, the other one works. */
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, NEED, NULL, 0, NULL, 0);
	pump(&c.r);
	EXPECT(recv_msg(c.front, &m), "%s", c.r.log);
	u64_exchange(&c.r, VU_GET_STATUS, 1, NULL);
	EXPECT(c.r.st == VUG_RUNNING, "%s", c.r.log);
	channel_close(&c);
}

static void channel_refuse(u32 request, u32 flags, const void *payload,
			   u32 size, unsigned int nfds)
{
	int fd = nfds ? mem_fd(4096) : -1;
	struct channel c;
	struct vug_msg m;

	channel_open(&c);
	send_msg(c.back, request, flags, payload, size, &fd, nfds);
	EXPECT(pump(&c.r) == VUG_VIOLATION, "request %u: %s", request,
	       c.r.log);
	EXPECT(!recv_msg(c.front, &m), "request %u", request);
	drop_fds(&m);
	channel_close(&c);
}

static void test_channel_refused(void)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_UPDATE };
	u8 big[268] = { 0 };
	struct channel c;
	u64 ack = 0;

	channel_refuse(VU_BACKEND_IOTLB_MSG, V, &t, 32, 0);
	t.type = VU_IOTLB_INVALIDATE;
	channel_refuse(VU_BACKEND_IOTLB_MSG, V, &t, 32, 0);
	t.type = VU_IOTLB_MISS;
	channel_refuse(VU_BACKEND_IOTLB_MSG, V, &t, 32, 1);
	channel_refuse(VU_BACKEND_IOTLB_MSG, V, &t, 31, 0);
	channel_refuse(VU_BACKEND_IOTLB_MSG, V, big, 268, 0);
	channel_refuse(VU_BACKEND_IOTLB_MSG, ANSWER, &t, 32, 0);
	channel_refuse(VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, 1);
	channel_refuse(VU_BACKEND_CONFIG_CHANGE, V, &ack, 8, 0);
	channel_refuse(VU_BACKEND_CONFIG_CHANGE, 2, NULL, 0, 0);
	channel_refuse(VU_BACKEND_HOST_NOTIFIER, V, big, 24, 1);
	channel_refuse(VU_BACKEND_HOST_NOTIFIER, V, big, 24, 0);
	for (u32 req = 4; req < 16; req++)
		channel_refuse(req, V, big, 8, 0);
	channel_refuse(0, V, NULL, 0, 0);
	channel_refuse(0xffffffff, V, NULL, 0, 0);

	/* The front-end answers although nothing was asked. */
	channel_open(&c);
	send_msg(c.front, VU_BACKEND_CONFIG_CHANGE, ANSWER, &ack, 8, NULL, 0);
	EXPECT(pump(&c.r) == VUG_VIOLATION, "%s", c.r.log);
	EXPECT(silent(c.back), "%s", c.r.log);
	channel_close(&c);
}

static void test_channel_fd(void)
{
	int fds[] = {
		mem_fd(4096), event_fd(), pipe_fd(), sock_fd(SOCK_DGRAM),
		sock_fd(SOCK_SEQPACKET),
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] < 0)
			continue;	/* no network here */
		refuse(VU_SET_BACKEND_REQ_FD, NULL, 0, fds[i]);
	}
}

/* The features that the back-channel's messages need have gone again. */
static void test_channel_gates(void)
{
	struct vu_iotlb t = { .iova = 1, .size = 1, .type = VU_IOTLB_MISS };
	u64 f = VU_BIT(VU_F_PROTOCOL_FEATURES);
	struct channel c;

	channel_open(&c);
	u64_set(&c.r, VU_SET_FEATURES, f);
	send_msg(c.back, VU_BACKEND_IOTLB_MSG, V, &t, 32, NULL, 0);
	EXPECT(pump(&c.r) == VUG_VIOLATION, "%s", c.r.log);
	EXPECT(silent(c.front), "%s", c.r.log);
	channel_close(&c);

	channel_open(&c);
	u64_set(&c.r, VU_SET_PROTOCOL_FEATURES,
		PROTO_PASSED & ~VU_BIT(VU_PF_CONFIG));
	send_msg(c.back, VU_BACKEND_CONFIG_CHANGE, V, NULL, 0, NULL, 0);
	EXPECT(pump(&c.r) == VUG_VIOLATION, "%s", c.r.log);
	EXPECT(silent(c.front), "%s", c.r.log);
	channel_close(&c);
}

/* The VMM's own socket must not get to the backend. */
static void test_channel_interposed(void)
{
	struct channel c;
	struct stat a, b;
	char byte = 0;

	channel_open(&c);
	EXPECT(!fstat(c.back, &a) && !fstat(c.r.s.back.rsp.fd, &b) &&
	       a.st_ino != b.st_ino, "same socket");
	EXPECT(fcntl(c.r.s.back.req.fd, F_GETFD) == FD_CLOEXEC, "flags");
	EXPECT(fcntl(c.r.s.back.rsp.fd, F_GETFD) == FD_CLOEXEC, "flags");
	send_part(c.back, &byte, 1, NULL, 0);
	pump(&c.r);
	EXPECT(recv(c.front, &byte, 1, MSG_DONTWAIT) < 0, "not interposed");
	channel_close(&c);
}

static void test_channel_hangup(void)
{
	for (int side = 0; side < 2; side++) {
		struct channel c;

		channel_open(&c);
		close(side ? c.front : c.back);
		*(side ? &c.front : &c.back) = -1;
		EXPECT(pump(&c.r) == VUG_RUNNING, "%s", c.r.log);
		EXPECT(hung_up(side ? c.back : c.front), "side %d", side);
		u64_exchange(&c.r, VU_GET_STATUS, 1, NULL);
		channel_close(&c);
	}
}

static void test_channel_replaced(void)
{
	struct channel c;
	struct vug_msg got;
	int p[2];

	channel_open(&c);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		exit(1);
	send_msg(c.r.front, VU_SET_BACKEND_REQ_FD, V, NULL, 0, &p[1], 1);
	EXPECT(reaches(&c.r, VU_SET_BACKEND_REQ_FD, &got), "%s", c.r.log);
	EXPECT(hung_up(c.front) && hung_up(c.back), "the first is still there");
	drop_fds(&got);
	close(p[0]);
	channel_close(&c);
}

/* How messages arrive */

static void test_bytewise(void)
{
	for (const struct spec *m = specs; m->name; m++) {
		struct vu_wire w = {
			.hdr = { m->request, flags_of(m), m->size },
			.p = valid_payload(m),
		};
		size_t len = sizeof(w.hdr) + m->size;
		unsigned int nfds = nfds_of(m);
		struct vug_msg got;
		struct rig r;
		int fd;

		rig_ready_proto(&r, m->log, ~0ULL);
		fd = valid_fd(m);
		for (size_t i = 0; i < len; i++) {
			send_part(r.front, (char *)&w + i, 1, &fd,
				  i ? 0 : nfds);
			pump(&r);
			if (i + 1 < len)
				EXPECT(silent(r.back), "%s: byte %zu", m->name,
				       i);
		}
		if (nfds)
			close(fd);
		EXPECT(recv_msg(r.back, &got) && got.nfds == nfds, "%s: %s",
		       m->name, r.log);
		EXPECT(!memcmp(&got.w, &w, len), "%s", m->name);
		drop_fds(&got);
		rig_close(&r);
	}
}

static void test_bytewise_answer(void)
{
	struct vu_wire w = { .hdr = { VU_GET_STATUS, ANSWER, 8 } };
	struct vug_msg got;
	struct rig r;

	w.p.u64 = 42;
	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	EXPECT(reaches(&r, VU_GET_STATUS, &got), "%s", r.log);
	for (size_t i = 0; i < 20; i++) {
		EXPECT(silent(r.front), "byte %zu", i);
		send_part(r.back, (char *)&w + i, 1, NULL, 0);
		pump(&r);
	}
	EXPECT(recv_msg(r.front, &got) && got.w.p.u64 == 42, "%s", r.log);
	rig_close(&r);
}

/* Several in one write; an answer is due before the next is sent on. */
static void test_pipelined(void)
{
	struct vu_wire w[3] = {
		{ .hdr = { VU_GET_STATUS, V, 0 } },
		{ .hdr = { VU_SET_OWNER, V, 0 } },
		{ .hdr = { VU_GET_STATUS, V, 0 } },
	};
	struct vug_msg got;
	char buf[36];
	struct rig r;
	u64 v = 9;

	for (int i = 0; i < 3; i++)
		memcpy(buf + 12 * i, &w[i], 12);
	rig_ready(&r);
	send_part(r.front, buf, sizeof(buf), NULL, 0);
	EXPECT(reaches(&r, VU_GET_STATUS, &got), "%s", r.log);
	EXPECT(silent(r.back), "the second was not held back");
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	EXPECT(reaches(&r, VU_SET_OWNER, &got), "%s", r.log);
	EXPECT(recv_msg(r.back, &got) && got.w.hdr.request == VU_GET_STATUS,
	       "%s", r.log);
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	pump(&r);
	EXPECT(recv_msg(r.front, &got) && recv_msg(r.front, &got), "%s",
	       r.log);
	rig_close(&r);
}

/* The guard's own acknowledgment does not overtake the back-end's. */
static void test_order(void)
{
	struct vu_region far = { 0, 4096, 0, 0 };
	struct vu_mem_reg reg = { 0, far };
	struct vug_msg got;
	struct rig r;
	u64 v = 9;
	int fd;

	rig_ready(&r);
	send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
	fd = mem_fd(4096);
	send_msg(r.front, VU_ADD_MEM_REG, NEED, &reg, sizeof(reg), &fd, 1);
	EXPECT(reaches(&r, VU_GET_STATUS, &got), "%s", r.log);
	EXPECT(silent(r.front), "acknowledged too early");
	send_msg(r.back, VU_GET_STATUS, ANSWER, &v, 8, NULL, 0);
	pump(&r);
	EXPECT(recv_msg(r.front, &got) && got.w.hdr.request == VU_GET_STATUS,
	       "%s", r.log);
	EXPECT(recv_msg(r.front, &got) && got.w.hdr.request == VU_ADD_MEM_REG,
	       "%s", r.log);
	rig_close(&r);
}

static void test_truncated_control(void)
{
	struct rlimit old, low;
	int fds[VUG_MAX_FDS];
	struct vu_mem_table t = { .nregions = 8 };
	struct rig r;
	int top;

	rig_ready(&r);
	for (int i = 0; i < 8; i++)
		fds[i] = mem_fd(4096);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, sizeof(t), fds, 8);
	/* Too few free descriptors: the kernel cuts the message short. */
	top = dup(r.front);
	close(top);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)top + 3;
	setrlimit(RLIMIT_NOFILE, &low);
	pump(&r);
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT(strstr(r.log, "truncated"), "%s", r.log);
	expect_violation(&r, "truncated control message");
	rig_close(&r);
}

static void test_too_many_fds(void)
{
	static const unsigned int counts[] = { 9, 16, 64, 253 };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct vu_hdr h = { VU_SET_OWNER, V, 0 };
		int fds[253];
		struct rig r;

		rig_ready(&r);
		fds[0] = mem_fd(4096);
		for (unsigned int n = 1; n < counts[i]; n++)
			fds[n] = fds[0];
		send_part(r.front, &h, sizeof(h), fds, counts[i]);
		close(fds[0]);
		expect_violation(&r, "too many descriptors");
		rig_close(&r);
	}
}

static void test_late_fds(void)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct vu_wire w = { .hdr = { VU_SET_MEM_TABLE, V, 40 } };
	size_t at[] = { 1, 4, 11 };

	t.region[0] = window();
	w.p.table = t;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		struct rig r;
		int fd;

		rig_ready(&r);
		send_part(r.front, &w, at[i], NULL, 0);
		pump(&r);
		fd = mem_fd(WIN_SIZE);
		send_part(r.front, (char *)&w + at[i], 52 - at[i], &fd, 1);
		close(fd);
		expect_violation(&r, "descriptor inside the header");
		rig_close(&r);
	}
	/* In the payload: of a message that has its count already. */
	for (int n = 0; n < 2; n++) {
		struct rig r;
		int fd = mem_fd(WIN_SIZE);

		rig_ready(&r);
		w.hdr.request = n ? VU_ADD_MEM_REG : VU_REM_MEM_REG;
		send_part(r.front, &w, 12, &fd, n);
		pump(&r);
		send_part(r.front, &w.p, 40, &fd, 1);
		close(fd);
		expect_violation(&r, "descriptor with the payload");
		rig_close(&r);
	}
}

static void test_cloexec(void)
{
	struct vu_hdr h = { VU_ADD_MEM_REG, V, 40 };
	struct rig r;
	int fd;

	rig_ready(&r);
	fd = mem_fd(WIN_SIZE);
	fcntl(fd, F_SETFD, 0);
	send_part(r.front, &h, sizeof(h), &fd, 1);
	close(fd);
	pump(&r);
	EXPECT(r.s.front.req.in.nfds == 1, "%s", r.log);
	EXPECT(fcntl(r.s.front.req.in.fds[0], F_GETFD) == FD_CLOEXEC, "flags");
	EXPECT(fcntl(r.s.proc_fd, F_GETFD) == FD_CLOEXEC, "flags");
	rig_close(&r);
}

/* Ends */

static void test_hangup(void)
{
	for (int side = 0; side < 2; side++) {
		for (size_t sent = 0; sent < 21; sent++) {
			struct vu_wire w = {
				.hdr = { VU_SET_VRING_NUM, V, 8 },
			};
			bool whole = sent == 0 || sent == 20;
			struct vug_msg m;
			struct rig r;

			rig_ready(&r);
			if (side) {
				w.hdr = (struct vu_hdr){ VU_GET_STATUS, ANSWER,
							 8 };
				send_msg(r.front, VU_GET_STATUS, V, NULL, 0,
					 NULL, 0);
				EXPECT(reaches(&r, VU_GET_STATUS, &m), "%s",
				       r.log);
			}
			send_part(side ? r.back : r.front, &w, sent, NULL, 0);
			pump(&r);
			close(side ? r.back : r.front);
			*(side ? &r.back : &r.front) = -1;
			EXPECT(pump(&r) == (whole ? VUG_HANGUP :
						    VUG_VIOLATION),
			       "side %d, %zu bytes: %d: %s", side, sent, r.st,
			       r.log);
			rig_close(&r);
		}
	}
}

/* Messages sent before the hang-up still arrive. */
static void test_hangup_after(void)
{
	struct vug_msg m;
	struct rig r;

	rig_ready(&r);
	for (int i = 0; i < 3; i++)
		send_msg(r.front, VU_SET_OWNER, V, NULL, 0, NULL, 0);
	close(r.front);
	r.front = -1;
	EXPECT(pump(&r) == VUG_HANGUP, "%s", r.log);
	for (int i = 0; i < 3; i++)
		EXPECT(recv_msg(r.back, &m), "message %d", i);
	rig_close(&r);
}

static void test_hangup_waiting(void)
{
	for (int side = 0; side < 2; side++) {
		struct vug_msg m;
		struct rig r;

		rig_ready(&r);
		send_msg(r.front, VU_GET_STATUS, V, NULL, 0, NULL, 0);
		EXPECT(reaches(&r, VU_GET_STATUS, &m), "%s", r.log);
		close(side ? r.back : r.front);
		*(side ? &r.back : &r.front) = -1;
		EXPECT(pump(&r) == VUG_HANGUP, "side %d: %s", side, r.log);
		rig_close(&r);
	}
}

static void test_peers_see_end(void)
{
	struct rig r;

	rig_ready(&r);
	vug_fini(&r.s);
	EXPECT(hung_up(r.front) && hung_up(r.back), "a socket is open");
	close(r.front);
	close(r.back);
}

/* A peer that does not read holds up the other, loses nothing, and can go. */
static void test_backpressure(void)
{
	struct vu_vring_state st = { 1, 0 };
	int small = 1, sent = 0;
	struct vug_msg m;
	struct rig r;

	rig_ready(&r);
	setsockopt(r.s.front.rsp.fd, SOL_SOCKET, SO_SNDBUF, &small,
		   sizeof(small));
	for (; !r.s.front.rsp.writing && sent < 10000; sent++) {
		st.num = (u32)sent;
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		vug_poll(&r.s, -1, 0);
	}
	EXPECT(r.s.front.rsp.writing, "never blocked");
	for (int i = 0; i < 3; i++) {
		st.num = (u32)sent++;
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		EXPECT(vug_poll(&r.s, -1, 0) == VUG_RUNNING, "%s", r.log);
	}
	for (int i = 0; i < sent; i++) {
		EXPECT(recv_msg(r.back, &m) && m.w.p.state.num == (u32)i,
		       "message %d of %d", i, sent);
		pump(&r);
	}
	for (int i = 0; i < 10000 && !r.s.front.rsp.writing; i++) {
		send_msg(r.front, VU_SET_VRING_NUM, V, &st, 8, NULL, 0);
		vug_poll(&r.s, -1, 0);
	}
	close(r.front);
	r.front = -1;
	EXPECT(pump(&r) == VUG_HANGUP, "%s", r.log);
	rig_close(&r);
}

static void test_answer_too_early(void)
{
	struct vu_vring_state st = { 1, 0 };
	int small = 1;
	struct rig r;
	u64 v = 0;

	rig_ready(&r);
	setsockopt(r.s.front.rsp.fd, SOL_SOCKET, SO_SNDBUF, &small,
		   sizeof(small));
	for (int i = 0; i < 10000 && !r.s.front.rsp.writing; i++) {
		send_msg(r.front, VU_SET_VRING_NUM, NEED, &st, 8, NULL, 0);
		for (int k = 0; k < 3; k++)
			vug_poll(&r.s, -1, 0);
		if (!r.s.front.rsp.writing)
			send_msg(r.back, VU_SET_VRING_NUM, ANSWER, &v, 8, NULL,
				 0);
		for (int k = 0; k < 3; k++)
			vug_poll(&r.s, -1, 0);
	}
	EXPECT(r.s.front.rsp.writing, "never blocked");
	send_msg(r.back, VU_SET_VRING_NUM, ANSWER, &v, 8, NULL, 0);
	EXPECT(pump(&r) == VUG_VIOLATION, "%s", r.log);
	rig_close(&r);
}

static void test_long_session(void)
{
	struct rig r;
	int before;

	rig_ready(&r);
	before = count_fds();
	for (int i = 0; i < 300 && !failed; i++) {
		for (const struct spec *m = specs; m->name; m++) {
			u64 v = all_proto(&r);
			struct vug_msg got;

			if (m->reply || m->log || m->need ||
			    m->request == VU_SET_BACKEND_REQ_FD ||
			    m->request == VU_SET_FEATURES ||
			    m->request == VU_SET_MEM_TABLE)
				continue;
			if (m->request == VU_SET_PROTOCOL_FEATURES) {
				send_msg(r.front, m->request, V, &v, 8, NULL,
					 0);
			} else {
				send_valid(&r, m);
			}
			EXPECT(reaches(&r, m->request, &got), "%s: %s",
			       m->name, r.log);
			drop_fds(&got);
			r.len = 0;
		}
		add_region(&r, (struct vu_region){ 0, 1, 0, 0 }, mem_fd(1), V);
		EXPECT(silent(r.back), "dropped region");
		r.len = 0;
	}
	EXPECT(count_fds() == before, "%d descriptors more",
	       count_fds() - before);
	rig_close(&r);
}

/* The program */

struct run {
	pid_t pid;
	int out;		/* stdout and stderr of the program */
	char text[8192];
	int status;
};

static void run_start(struct run *r, const char * const *args, int keep)
{
	const char *argv[32] = { program };
	int p[2], n = 1;

	for (; args && args[n - 1] && n < 31; n++)
		argv[n] = args[n - 1];
	memset(r, 0, sizeof(*r));
	if (pipe2(p, O_CLOEXEC) < 0)
		exit(1);
	r->pid = fork();
	if (!r->pid) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		if (keep >= 0)
			fcntl(keep, F_SETFD, 0);
		execv(program, (char **)(unsigned long)argv);
		_exit(127);
	}
	close(p[1]);
	r->out = p[0];
}

/* Everything the program says until it ends */
static void run_end(struct run *r)
{
	size_t len = strlen(r->text);
	struct pollfd p = { .fd = r->out, .events = POLLIN };
	int st;

	for (;;) {
		ssize_t n;

		if (poll(&p, 1, HANG_MS) <= 0) {
			FAIL("the program does not end");
			kill(r->pid, SIGKILL);
		}
		n = read(r->out, r->text + len, sizeof(r->text) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(r->out);
	waitpid(r->pid, &st, 0);
	r->status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* Wait until the program has printed @what. */
static void run_until(struct run *r, const char *what)
{
	size_t len = strlen(r->text);
	struct pollfd p = { .fd = r->out, .events = POLLIN };

	while (!strstr(r->text, what)) {
		ssize_t n = poll(&p, 1, HANG_MS) <= 0 ? 0 :
			    read(r->out, r->text + len,
				 sizeof(r->text) - 1 - len);

		if (n <= 0) {
			FAIL("the program did not say '%s' but: %s", what,
			     r->text);
			return;
		}
		len += (size_t)n;
	}
}

static char *path_of(const char *name)
{
	static char buf[16][128];
	static int i;

	i = (i + 1) % 16;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);
	return buf[i];
}

static struct sockaddr_un addr_of(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%.80s", path_of(name));
	return a;
}

static int sock_listen(const char *name)
{
	struct sockaddr_un a = addr_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 1) < 0)
		FAIL("test: %s: %s", a.sun_path, strerror(errno));
	return fd;
}

static int sock_accept(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, HANG_MS) <= 0) {
		FAIL("nobody connects");
		return -1;
	}
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC);
}

static int sock_connect(const char *name)
{
	struct sockaddr_un a = addr_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < HANG_MS / 10; i++) {
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
		usleep(10000);
	}
	FAIL("cannot connect to %s: %s", a.sun_path, strerror(errno));
	return fd;
}

static bool wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, HANG_MS) > 0;
}

static char long_path[120];

static void test_cli_errors(void)
{
	static const struct {
		const char *args[10];
		const char *says;
	} cases[] = {
		{ { NULL }, "--listen" },
		{ { "--listen", "x", NULL }, "--connect" },
		{ { "--listen", "x", "--connect", "y", NULL }, "--allow" },
		{ { "--allow", "1", NULL }, "--allow 1: expected" },
		{ { "--allow", "", NULL }, "--allow" },
		{ { "--allow", "+1", NULL }, "number is missing" },
		{ { "--allow", "1+", NULL }, "number is missing" },
		{ { "--allow", "-1+1", NULL }, "number is missing" },
		{ { "--allow", "1+-1", NULL }, "number is missing" },
		{ { "--allow", " 1+1", NULL }, "number is missing" },
		{ { "--allow", "1+1x", NULL }, "--allow 1+1x: expected" },
		{ { "--allow", "1+1KK", NULL }, "expected" },
		{ { "--allow", "1-1", NULL }, "expected" },
		{ { "--allow", "0x+1", NULL }, "expected" },
		{ { "--allow", "0xg+1", NULL }, "expected" },
		{ { "--allow", "1+0", NULL }, "zero" },
		{ { "--allow", "1+18446744073709551616", NULL }, "64 bits" },
		{ { "--allow", "0xffffffffffffffff+2", NULL }, "64 bits" },
		{ { "--allow", "1+17179869184G", NULL }, "64 bits" },
		{ { "--allow", "1+16777216T", NULL }, "64 bits" },
		{ { "--allow", "4K+4K", "--allow", "8191+1", NULL },
		  "--allow 8191+1: the range overlaps" },
		{ { "--allow", NULL }, "argument is missing" },
		{ { "--listen", "", NULL }, "path is empty" },
		{ { "--listen", long_path, NULL }, "too long" },
		{ { "--listen", "x", "--listen", "y", NULL }, "twice" },
		{ { "--connect", "x", "--backend-fd", "0", NULL }, "twice" },
		{ { "--listen", "x", "--connect", "x", "--allow", "0+1", NULL },
		  "same socket" },
		{ { "--allo", "1+1", NULL }, "--allo: no such option" },
		{ { "--allow-logs", NULL }, "no such option" },
		{ { "--allow-log=1", NULL }, "takes no argument" },
		{ { "--nonsense", NULL }, "--nonsense: no such option" },
		{ { "-x", NULL }, "-x: not an option" },
		{ { "stray", NULL }, "stray: not an option" },
		{ { "--", "stray", NULL }, "stray: not an option" },
		{ { "--timeout", "x", NULL }, "--timeout x: not a number" },
		{ { "--timeout", "-1", NULL }, "not a number" },
		{ { "--timeout", "99999999999", NULL }, "too large" },
		{ { "--mode", "9", NULL }, "--mode 9: not an octal" },
		{ { "--mode", "1777", NULL }, "too large" },
		{ { "--frontend-fd", "0", NULL }, "not an inherited" },
		{ { "--frontend-fd", "777", NULL }, "not an inherited" },
		{ { "--frontend-fd", "x", NULL }, "not a number" },
		{ { "--listen", "x", "--connect", "y", "--allow", "0+1",
		    "--log", "/nonexistent/log", NULL }, "--log /nonexistent" },
		{ { "--listen", "x", "--connect", "y", "--allow", "0+1",
		    "--quiet", "--verbose", NULL }, "--quiet" },
	};

	memset(long_path, 'a', sizeof(long_path) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run r;

		run_start(&r, cases[i].args, -1);
		run_end(&r);
		EXPECT(r.status == 2, "case %zu: status %d: %s", i, r.status,
		       r.text);
		EXPECT(strstr(r.text, cases[i].says), "case %zu: %s", i,
		       r.text);
	}
}

static void test_cli_help(void)
{
	static const char * const options[] = {
		"--listen", "--frontend-connect", "--frontend-fd", "--connect",
		"--backend-listen", "--backend-fd", "--allow ADDR+SIZE",
		"--allow-log", "--require-seals", "--once", "--loop",
		"--timeout", "--mode", "--log", "--name", "--quiet",
		"--verbose", "--help", "--version", "Exit status",
	};
	const char * const help[] = { "--help", NULL };
	const char * const version[] = { "--version", NULL };
	struct run r;

	run_start(&r, help, -1);
	run_end(&r);
	EXPECT(!r.status, "%d", r.status);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		EXPECT(strstr(r.text, options[i]), "%s", options[i]);
	run_start(&r, version, -1);
	run_end(&r);
	EXPECT(!r.status && !strncmp(r.text, "vhost-user-guard ", 17), "%s",
	       r.text);
}

/* A session through the program; how it ends is up to the caller. */
struct session {
	struct run run;
	int listener;
	int front;
	int back;
};

static void session_start(struct session *s, const char *extra)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("back"),
		"--allow", "0x5c000000+64K", extra, NULL,
	};

	s->listener = sock_listen("back");
	run_start(&s->run, args, -1);
	s->front = sock_connect("front");
	s->back = sock_accept(s->listener);
	run_until(&s->run, "session started");
}

static void session_exchange(struct session *s)
{
	struct vug_msg m;
	u64 v = ~0ULL;

	send_msg(s->front, VU_GET_FEATURES, V, NULL, 0, NULL, 0);
	EXPECT(wait_readable(s->back) && recv_msg(s->back, &m), "request");
	send_msg(s->back, VU_GET_FEATURES, ANSWER, &v, 8, NULL, 0);
	EXPECT(wait_readable(s->front) && recv_msg(s->front, &m), "answer");
	EXPECT(m.w.p.u64 == ~VU_BIT(VU_F_LOG_ALL), "0x%llx", m.w.p.u64);
}

static void session_close(struct session *s)
{
	if (s->front >= 0)
		close(s->front);
	if (s->back >= 0)
		close(s->back);
	close(s->listener);
}

static void test_exit_status(void)
{
	struct session s;

	for (int how = 0; how < 4; how++) {
		int want = how == 2 ? 3 : 0;

		session_start(&s, NULL);
		session_exchange(&s);
		if (how == 0) {
			close(s.front);
			s.front = -1;
		} else if (how == 1) {
			close(s.back);
			s.back = -1;
		} else if (how == 2) {
			send_msg(s.front, VU_GPU_SET_SOCKET, V, NULL, 0, NULL,
				 0);
		} else {
			kill(s.run.pid, SIGTERM);
		}
		run_end(&s.run);
		EXPECT(s.run.status == want, "end %d: status %d: %s", how,
		       s.run.status, s.run.text);
		EXPECT(access(path_of("front"), F_OK), "end %d: socket left",
		       how);
		EXPECT(how == 0 || hung_up(s.front), "end %d", how);
		EXPECT(how == 1 || hung_up(s.back), "end %d", how);
		session_close(&s);
	}
}

static void test_once_stops_listening(void)
{
	struct session s;

	session_start(&s, NULL);
	EXPECT(access(path_of("front"), F_OK), "a second VMM could wait");
	session_close(&s);
	run_end(&s.run);
}

static void test_loop(void)
{
	struct session s;

	session_start(&s, "--loop");
	for (int i = 0; i < 3; i++) {
		session_exchange(&s);
		/* The second one ends badly: the third is served. */
		if (i == 1)
			send_msg(s.front, 999, V, NULL, 0, NULL, 0);
		else
			close(s.front);
		EXPECT(wait_readable(s.back) && hung_up(s.back), "round %d", i);
		close(s.back);
		if (i == 1)
			close(s.front);
		s.front = sock_connect("front");
		s.back = sock_accept(s.listener);
	}
	kill(s.run.pid, SIGTERM);
	run_end(&s.run);
	EXPECT(!s.run.status, "%d: %s", s.run.status, s.run.text);
	EXPECT(access(path_of("front"), F_OK), "socket left");
	session_close(&s);
}

static void test_signal_waiting(void)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("nobody"),
		"--allow", "0+1", NULL,
	};
	struct run r;
	int fd;

	/* While waiting for the VMM, then for the device */
	for (int i = 0; i < 2; i++) {
		fd = -1;
		run_start(&r, args, -1);
		run_until(&r, "waiting for the front-end");
		if (i) {
			fd = sock_connect("front");
			run_until(&r, "waiting for the back-end");
		}
		kill(r.pid, i ? SIGINT : SIGTERM);
		run_end(&r);
		EXPECT(!r.status, "%d: %s", r.status, r.text);
		EXPECT(access(path_of("front"), F_OK), "socket left");
		if (fd >= 0)
			close(fd);
	}
	/* The VMM goes before the device is there. */
	run_start(&r, args, -1);
	fd = sock_connect("front");
	run_until(&r, "waiting for the back-end");
	close(fd);
	run_end(&r);
	EXPECT(!r.status, "%d: %s", r.status, r.text);
}

static void test_timeout(void)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("nobody"),
		"--allow", "0+1", "--timeout", "1", NULL,
	};
	struct run r;
	int fd;

	run_start(&r, args, -1);
	fd = sock_connect("front");
	run_end(&r);
	EXPECT(r.status == 1, "%d", r.status);
	EXPECT(strstr(r.text, "nobody: the back-end was not there"), "%s",
	       r.text);
	EXPECT(hung_up(fd), "front-end kept");
	close(fd);
}

static void test_paths(void)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("nobody"),
		"--allow", "0+1", "--mode", "0640", NULL,
	};
	struct stat st;
	struct run r;
	int fd;

	/* In the way: a file, then a socket in use, then a stale one */
	fd = open(path_of("front"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	run_start(&r, args, -1);
	run_end(&r);
	EXPECT(r.status == 1 && strstr(r.text, "not a socket"), "%d: %s",
	       r.status, r.text);
	EXPECT(!access(path_of("front"), F_OK), "the file was removed");
	unlink(path_of("front"));

	fd = sock_listen("front");
	run_start(&r, args, -1);
	run_end(&r);
	EXPECT(r.status == 1 && strstr(r.text, "another program"), "%d: %s",
	       r.status, r.text);
	EXPECT(!access(path_of("front"), F_OK), "the socket was removed");
	close(fd);

	run_start(&r, args, -1);
	run_until(&r, "waiting");
	EXPECT(!stat(path_of("front"), &st) && (st.st_mode & 07777) == 0640,
	       "mode %o", st.st_mode);
	kill(r.pid, SIGTERM);
	run_end(&r);
	EXPECT(!r.status, "%d: %s", r.status, r.text);
}

/* The VMM is the server, the device the client, as with OVS-DPDK. */
static void test_other_way(void)
{
	const char * const args[] = {
		"--frontend-connect", path_of("front"), "--backend-listen",
		path_of("back"), "--allow", "0+1", NULL,
	};
	struct session s;

	s.listener = sock_listen("front");
	run_start(&s.run, args, -1);
	s.front = sock_accept(s.listener);
	s.back = sock_connect("back");
	run_until(&s.run, "session started");
	session_exchange(&s);
	close(s.back);
	s.back = -1;
	run_end(&s.run);
	EXPECT(!s.run.status, "%d: %s", s.run.status, s.run.text);
	session_close(&s);
	unlink(path_of("front"));
}

static void test_inherited(void)
{
	char num[16];
	const char * const args[] = {
		"--frontend-fd", num, "--connect", path_of("back"),
		"--allow", "0+1", NULL,
	};
	struct session s;
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		exit(1);
	snprintf(num, sizeof(num), "%d", p[1]);
	s.listener = sock_listen("back");
	s.front = p[0];
	run_start(&s.run, args, p[1]);
	close(p[1]);
	s.back = sock_accept(s.listener);
	session_exchange(&s);
	close(s.front);
	s.front = -1;
	run_end(&s.run);
	EXPECT(!s.run.status, "%d: %s", s.run.status, s.run.text);
	session_close(&s);
}

static void test_log_file(void)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("nobody"),
		"--allow", "0+1", "--log", path_of("log"), "--name", "blk0",
		NULL,
	};
	char buf[512] = "";
	struct run r;
	int fd;

	run_start(&r, args, -1);
	fd = sock_connect("front");
	close(fd);
	run_end(&r);
	EXPECT(!r.status && !r.text[0], "%d: %s", r.status, r.text);
	fd = open(path_of("log"), O_RDONLY | O_CLOEXEC);
	EXPECT(fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0, "no log");
	EXPECT(strstr(buf, "blk0: "), "%s", buf);
	if (fd >= 0)
		close(fd);
	unlink(path_of("log"));
}

/* Nobody can fill the log: neither a guest nor a back-end. */
static void test_log_limit(void)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct session s;
	struct vug_msg m;
	int lines = 0;

	session_start(&s, NULL);
	for (int i = 0; i < 2000; i++) {
		int fd = mem_fd(1);

		send_msg(s.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
		EXPECT(wait_readable(s.back) && recv_msg(s.back, &m), "%d", i);
		/* The pipe must not fill up. */
		if (i % 50 == 0 && s.run.text[0]) {
			char buf[4096];
			struct pollfd p = { .fd = s.run.out, .events = POLLIN };
			ssize_t n;

			while (poll(&p, 1, 0) > 0) {
				n = read(s.run.out, buf, sizeof(buf));
				for (ssize_t k = 0; k < n; k++)
					lines += buf[k] == '\n';
			}
		}
	}
	session_close(&s);
	s.run.text[0] = '\0';
	run_end(&s.run);
	EXPECT(lines > 50 && lines < 600, "%d lines", lines);
	EXPECT(strstr(s.run.text, "left out"), "%s", s.run.text);
}

static int count_fds_of(pid_t pid)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	/* The guard is not dumpable: only root can look into the process. */
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_program_fds(void)
{
	struct session s;
	struct vug_msg m;
	int before, after;

	session_start(&s, NULL);
	session_exchange(&s);
	before = count_fds_of(s.run.pid);
	for (u64 i = 0; i < 12; i++) {
		int fd = event_fd();

		send_msg(s.front, VU_SET_VRING_KICK, V, &i, 8, &fd, 1);
		EXPECT(wait_readable(s.back) && recv_msg(s.back, &m) &&
		       m.nfds == 1, "kick");
		drop_fds(&m);
	}
	session_exchange(&s);
	after = count_fds_of(s.run.pid);
	EXPECT(after == before, "%d, then %d", before, after);
	session_close(&s);
	run_end(&s.run);
}

#define T(f) { #f, test_##f }

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	T(valid), T(acknowledged), T(sizes), T(fd_counts), T(flags), T(gates),
	T(unknown), T(answers), T(unsolicited), T(echoed_flag), T(masks),
	T(regions_table), T(regions_single), T(table_mixed),
	T(table_malformed), T(table_replaces), T(table_holds), T(rem_with_fd),
	T(many_regions), T(ranges), T(range_errors), T(seals),
	T(vring_index), T(vring_fds), T(config), T(config_answers),
	T(vring_base_answer), T(status), T(log), T(iotlb),
	T(channel), T(channel_refused), T(channel_fd), T(channel_gates),
	T(channel_interposed), T(channel_hangup), T(channel_replaced),
	T(bytewise), T(bytewise_answer), T(pipelined), T(order),
	T(truncated_control), T(too_many_fds), T(late_fds), T(cloexec),
	T(hangup), T(hangup_after), T(hangup_waiting), T(peers_see_end),
	T(backpressure), T(answer_too_early), T(long_session),
	T(cli_errors), T(cli_help), T(exit_status), T(once_stops_listening),
	T(loop), T(signal_waiting), T(timeout), T(paths), T(other_way),
	T(inherited), T(log_file), T(log_limit), T(program_fds),
};

int main(int argc, char **argv)
{
	unsigned int bad = 0, n = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s PROGRAM [TEST...]\n", argv[0]);
		return 2;
	}
	program = argv[1];
	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "%.40s/vhost-guard.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir);
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%zu\n",
	       argc > 2 ? (size_t)argc - 2 : ARRAY_SIZE(tests));
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		bool chosen = argc == 2;
		int before, after;

		for (int a = 2; a < argc; a++)
			chosen |= !strcmp(argv[a], tests[i].name);
		if (!chosen)
			continue;
		failed = NULL;
		before = count_fds();
		tests[i].run();
		after = count_fds();
		unlink(path_of("front"));
		unlink(path_of("back"));
		if (after != before)
			FAIL("%d descriptors leaked", after - before);
		if (failed) {
			bad++;
			for (char *p = why; *p; p++)
				if (*p == '\n')
					*p = ' ';
			printf("# %s\n", failed);
		}
		printf("%sok %u %s\n", failed ? "not " : "", ++n,
		       tests[i].name);
	}
	if (rmdir(dir))
		printf("# %s is not empty\n", dir);
	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:0 error:0\n",
	       n - bad, bad);
	return bad || (argc > 2 && n != (unsigned int)argc - 2);
}
