// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session of the guard between two fake peers; see session.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

static char folder[64];

/* A path in the folder of this test, which the first call makes. */
char *path_of(const char *name)
{
	static char buf[16][128];
	static int i;

	if (!folder[0]) {
		const char *tmp = getenv("TMPDIR");

		snprintf(folder, sizeof(folder), "%.40s/vhost-guard.XXXXXX",
			 tmp ? tmp : P_tmpdir);
		if (!mkdtemp(folder)) {
			perror(folder);
			exit(1);
		}
	}
	i = (i + 1) % 16;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", folder, name);
	return buf[i];
}

int remove_folder(void)
{
	if (!folder[0])
		return 0;
	unlink(path_of("front"));
	unlink(path_of("back"));
	return rmdir(folder);
}

void die(const char *fmt, ...)
{
	char why[16384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	for (char *p = strchr(why, '\n'); p; p = strchr(p, '\n'))
		*p = ' ';
	fprintf(stderr, "# %s\n", why);
	remove_folder();
	exit(1);
}

int count_fds(void)
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

int mem_fd(u64 size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		die("memfd: %s", strerror(errno));
	return fd;
}

int event_fd(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

void sock_pair(int type, int p[2])
{
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p) < 0)
		die("socketpair: %s", strerror(errno));
}

int sock_fd(int type)
{
	int p[2];

	sock_pair(type, p);
	close(p[1]);
	return p[0];
}

int pipe_fd(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		die("pipe: %s", strerror(errno));
	close(p[0]);
	return p[1];
}

int path_fd(void)
{
	return open("/", O_PATH | O_CLOEXEC);
}

int proc_mem_fd(void)
{
	return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
}

ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

static void rig_log(void *ctx, enum vug_level level, const char *line)
{
	struct rig *r = ctx;

	if (level == VUG_DEBUG || r->len + strlen(line) + 3 > sizeof(r->log))
		return;
	r->len += (size_t)sprintf(r->log + r->len, "%s; ", line);
}

/* The file of requests in flight of the session that was opened last */
static int inflight_fd = -1;

/* A session, with a file of requests in flight that an earlier one left */
void rig_open(struct rig *r)
{
	r->inflight = (struct vug_inflight){
		.fd = mem_fd(INFLIGHT_SIZE), .size = INFLIGHT_SIZE,
		.queues = QUEUES, .queue_size = QUEUE_SIZE,
	};
	inflight_fd = r->inflight.fd;
	rig_connect(r);
}

void rig_connect(struct rig *r)
{
	int f[2], b[2];

	memset(&r->s, 0, sizeof(r->s));
	r->st = VUG_RUNNING;
	r->len = 0;
	r->log[0] = '\0';
	r->cfg.inflight = &r->inflight;
	r->cfg.log = rig_log;
	r->cfg.log_ctx = r;
	sock_pair(SOCK_STREAM, f);
	sock_pair(SOCK_STREAM, b);
	if (vug_init(&r->s, &r->cfg, f[1], b[1]) < 0)
		die("vug_init: %s", strerror(errno));
	r->front = f[0];
	r->back = b[0];
}

void rig_plain(struct rig *r)
{
	memset(&r->cfg, 0, sizeof(r->cfg));
	r->cfg.range[0] = (struct vug_range){ WIN, WIN_SIZE };
	r->cfg.nranges = 1;
	rig_open(r);
}

void rig_disconnect(struct rig *r)
{
	vug_fini(&r->s);
	if (r->front >= 0)
		close(r->front);
	if (r->back >= 0)
		close(r->back);
}

void rig_close(struct rig *r)
{
	rig_disconnect(r);
	if (r->inflight.fd >= 0)
		close(r->inflight.fd);
}

enum vug_status pump(struct rig *r)
{
	for (int i = 0; i < 40 && r->st == VUG_RUNNING; i++)
		r->st = vug_poll(&r->s, -1, 0);
	return r->st;
}

void send_part(int fd, const void *data, size_t len, const int *fds,
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
		die("sendmsg: %s", strerror(errno));
}

/* Send and close the descriptors, as a front-end that is done with them does. */
void send_msg(int fd, u32 request, u32 flags, const void *payload, u32 size,
	      const int *fds, unsigned int nfds)
{
	struct vu_wire w = { .hdr = { request, flags, size } };

	if (size)
		memcpy(&w.p, payload, size);
	send_part(fd, &w, sizeof(w.hdr) + size, fds, nfds);
	for (unsigned int i = 0; i < nfds; i++)
		close(fds[i]);
}

/* One message; false if there is none. */
bool recv_msg(int fd, struct vug_msg *m)
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
			die("%u descriptors came", m->nfds);
		memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
	}
	if (n != sizeof(m->w.hdr))
		return false;
	if (m->w.hdr.size > sizeof(m->w.p))
		die("a payload of %u bytes came", m->w.hdr.size);
	return !m->w.hdr.size || recv(fd, &m->w.p, m->w.hdr.size,
				      MSG_DONTWAIT) == m->w.hdr.size;
}

void drop_fds(struct vug_msg *m)
{
	while (m->nfds)
		close(m->fds[--m->nfds]);
}

bool silent(int fd)
{
	struct vug_msg m;
	bool got = recv_msg(fd, &m);

	drop_fds(&m);
	return !got;
}

bool hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* The back-end gets a request; true if it is this one. */
bool reaches(struct rig *r, u32 request, struct vug_msg *m)
{
	if (pump(r) != VUG_RUNNING || !recv_msg(r->back, m))
		return false;
	return m->w.hdr.request == request;
}

void u64_exchange(struct rig *r, u32 request, u64 value, u64 *got)
{
	struct vug_msg m;

	send_msg(r->front, request, V, NULL, 0, NULL, 0);
	if (!reaches(r, request, &m))
		die("request %u does not arrive: %s", request, r->log);
	send_msg(r->back, request, ANSWER, &value, sizeof(value), NULL, 0);
	pump(r);
	if (!recv_msg(r->front, &m))
		die("request %u: no answer: %s", request, r->log);
	if (got)
		*got = m.w.p.u64;
}

void u64_set(struct rig *r, u32 request, u64 value)
{
	struct vug_msg m;

	send_msg(r->front, request, V, &value, sizeof(value), NULL, 0);
	if (!reaches(r, request, &m))
		die("request %u does not arrive: %s", request, r->log);
}

void negotiate(struct rig *r, u64 proto)
{
	u64 f = VU_BIT(VU_F_PROTOCOL_FEATURES) | VU_BIT(VU_F_ACCESS_PLATFORM);

	u64_exchange(r, VU_GET_FEATURES, f, NULL);
	u64_exchange(r, VU_GET_PROTOCOL_FEATURES, ~0ULL, NULL);
	u64_set(r, VU_SET_PROTOCOL_FEATURES, proto);
	u64_set(r, VU_SET_FEATURES, f);
}

struct vu_region window(void)
{
	return (struct vu_region){ WIN, WIN_SIZE, WIN_UA, 0 };
}

void add_region(struct rig *r, struct vu_region region, int fd, u32 flags)
{
	struct vu_mem_reg reg = { 0, region };

	send_msg(r->front, VU_ADD_MEM_REG, flags, &reg, sizeof(reg), &fd, 1);
	pump(r);
}

u64 all_proto(const struct rig *r)
{
	return PROTO_PASSED |
	       (r->cfg.allow_log ? VU_BIT(VU_PF_LOG_SHMFD) : 0);
}

/* All features set, the window passed: every message is legal now. */
void rig_ready_proto(struct rig *r, bool log, u64 proto)
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
	if (!recv_msg(r->back, &m))
		die("setting up: %s", r->log);
	drop_fds(&m);
}

void rig_ready(struct rig *r)
{
	rig_ready_proto(r, false, ~0ULL);
}

#define M(n, s, ...) { .name = #n, .request = VU_##n, .size = (s), ##__VA_ARGS__ }
#define PF(f) .proto = VU_BIT(VU_PF_##f)

const struct spec specs[] = {
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
	M(SET_VRING_ERR, 8, .fd = EVENT, .keeps = true),
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
	M(GET_INFLIGHT_FD, 24, .reply = 24, PF(INFLIGHT_SHMFD)),
	M(SET_INFLIGHT_FD, 24, .fd = IN_FLIGHT, PF(INFLIGHT_SHMFD)),
	M(RESET_DEVICE, 0, PF(RESET_DEVICE)),
	M(GET_MAX_MEM_SLOTS, 0, .reply = 8, PF(MEM_SLOTS)),
	M(ADD_MEM_REG, 40, .fd = MEMORY, PF(MEM_SLOTS)),
	M(REM_MEM_REG, 40, PF(MEM_SLOTS)),
	M(SET_STATUS, 8, PF(STATUS)),
	M(GET_STATUS, 0, .reply = 8, PF(STATUS)),
	{ }
};

union vu_payload valid_payload(const struct spec *m)
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
	case VU_GET_INFLIGHT_FD:
	case VU_SET_INFLIGHT_FD:
		p.inflight = (struct vu_inflight){
			.queues = QUEUES, .queue_size = QUEUE_SIZE,
		};
		if (m->request == VU_SET_INFLIGHT_FD)
			p.inflight.size = INFLIGHT_SIZE;
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

int valid_fd(const struct spec *m)
{
	switch (m->fd) {
	case EVENT:
		return event_fd();
	case MEMORY:
		return mem_fd(m->request == VU_SET_LOG_BASE ? 4096 : WIN_SIZE);
	case SOCKET:
		return sock_fd(SOCK_STREAM);
	case IN_FLIGHT:
		return fcntl(inflight_fd, F_DUPFD_CLOEXEC, 0);
	default:
		return -1;
	}
}

unsigned int nfds_of(const struct spec *m)
{
	return m->fd != NOTHING;
}

/* Descriptors and payload of @m, as the back-end gets them */

unsigned int sent_fds(const struct spec *m)
{
	return nfds_of(m) && !m->keeps;
}

union vu_payload sent_payload(const struct spec *m)
{
	union vu_payload p = valid_payload(m);

	switch (m->request) {
	case VU_SET_VRING_ERR:
		p.u64 |= VU_VRING_NOFD;
		break;
	case VU_SET_MEM_TABLE:
		p.table.region[0].uaddr = WIN;
		break;
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
		p.mem_reg.region.uaddr = WIN;
		break;
	case VU_IOTLB_MSG:
		p.iotlb.uaddr += WIN - WIN_UA;
		break;
	}
	return p;
}

u32 flags_of(const struct spec *m)
{
	return m->need ? NEED : V;
}

/* Send @m as it should be, but for what the arguments say. */
void send_spec(struct rig *r, const struct spec *m, u32 flags, u32 size,
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

void send_valid(struct rig *r, const struct spec *m)
{
	send_spec(r, m, flags_of(m), m->size, nfds_of(m));
}
