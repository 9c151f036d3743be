// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-user-guard, the session.
 *
 * Invariants: no message is sent to a peer that did not pass a rule of the
 * tables below, whose sizes and descriptor counts are exact; and every
 * descriptor that arrives is sent on and closed, or closed. A message that is
 * not understood ends the session. All storage is of fixed size.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guard.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

/* SCM_MAX_FD of the kernel: room to receive, and close, whatever is sent */
#define SCM_MAX		253

#define P(f)		VU_BIT(VU_PF_##f)

/*
 * Protocol features that a peer may use. Not here, and so masked:
 * CRYPTO_SESSION (its message has no one size), PAGEFAULT (a userfaultfd of
 * the backend's memory for the VMM), BACKEND_SEND_FD, HOST_NOTIFIER and
 * SHARED_OBJECT (device memory and dma-bufs for the VMM), INBAND (kicks without
 * a limit through this process), XEN_MMAP (changes the layout of a region),
 * DEVICE_STATE (a pipe to the backend's state), BASE_INFLIGHT (changes what a
 * ring's base means), GPA_ADDRESSES (the same for all addresses), SHMEM (files
 * of the backend for the VMM to map), and all that is unknown.
 */
#define PROTO_PASS							\
	(VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_RARP) |			\
	 VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MTU) |			\
	 VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_CROSS_ENDIAN) |	\
	 VU_BIT(VU_PF_CONFIG) | VU_BIT(VU_PF_INFLIGHT_SHMFD) |		\
	 VU_BIT(VU_PF_RESET_DEVICE) |					\
	 VU_BIT(VU_PF_MEM_SLOTS) | VU_BIT(VU_PF_STATUS))

enum verdict {
	PASS,		/* send the message on */
	ANSWER,		/* keep the message; send s->answer if asked for one */
	REFUSE,		/* end the session; the reason has been logged */
};

struct vug_rule {
	const char *name;
	const char *refused;	/* why it never passes */
	u16 min, max;	/* payload bytes */
	u8 fds_min, fds_max;
	u64 offered;	/* feature bits that the backend must offer */
	u64 acked;		/* ... that must be in force */
	u64 proto;		/* ... protocol features */
	bool dirty_log;		/* needs --allow-log */
	bool must_ack;		/* always comes with NEED_REPLY */
	bool replies;		/* has an answer of its own, of this size: */
	u16 reply_min, reply_max;
	u8 reply_fds_max;
	enum verdict (*check)(struct vug_session *s, struct vug_msg *m);
	enum verdict (*check_reply)(struct vug_session *s, struct vug_msg *m);
};

#define say(s, level, ...)						\
	do {								\
		const struct vug_config *cfg_ = (s)->cfg;		\
		char line_[512];					\
									\
		snprintf(line_, sizeof(line_), __VA_ARGS__);		\
		if (cfg_->log)						\
			cfg_->log(cfg_->log_ctx, level, line_);		\
	} while (0)

#define error(s, ...)		say(s, VUG_ERROR, __VA_ARGS__)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void msg_close_fds(struct vug_msg *m)
{
	while (m->nfds)
		close_fd(&m->fds[--m->nfds]);
}

static void msg_clear(struct vug_msg *m)
{
	msg_close_fds(m);
	m->done = 0;
}

/* The descriptors go along; @from is ready for the next message. */
static void msg_move(struct vug_msg *to, struct vug_msg *from)
{
	*to = *from;
	to->done = 0;
	from->nfds = 0;
	from->done = 0;
}

/* Memory and events: what is behind a descriptor */

static bool fd_is_eventfd(const struct vug_session *s, int fd)
{
	char name[16], target[32];
	ssize_t n;

	/*
	 * An eventfd has no type in its mode, like a KVM vCPU or a VFIO
	 * device: only its name tells them apart.
	 */
	snprintf(name, sizeof(name), "%d", fd);
	n = readlinkat(s->proc_fd, name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strcmp(target, "anon_inode:[eventfd]");
}

static bool fd_is_unix_stream(int fd)
{
	int domain = -1, type = -1;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return false;
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return false;
	return domain == AF_UNIX && type == SOCK_STREAM;
}

/*
 * Memory: a regular file on tmpfs (memfd and /dev/shm too) or hugetlbfs. Not
 * any regular file: /proc/PID/mem and a PCI BAR in sysfs are regular as well.
 */
static const char *file_reason(int fd, struct stat *st)
{
	struct statfs fs;

	if (fstat(fd, st) < 0 || fstatfs(fd, &fs) < 0)
		return "its descriptor cannot be examined";
	if (!S_ISREG(st->st_mode))
		return "its descriptor is not a file";
	if ((u32)fs.f_type != (u32)TMPFS_MAGIC &&
	    (u32)fs.f_type != (u32)HUGETLBFS_MAGIC)
		return "its file is neither a memfd nor on tmpfs or hugetlbfs";
	if (st->st_size < 0)
		return "its file has no size";
	return NULL;
}

static u64 file_size(const struct stat *st)
{
	return st->st_size < 0 ? 0 : (u64)st->st_size;
}

/* Is what a descriptor gives no more than what is meant to be shared? */
static const char *size_reason(const struct stat *st, u64 max)
{
	if (file_size(st) > max)
		return "its file is larger than the region, and a descriptor gives the whole file";
	return NULL;
}

static bool wraps(u64 start, u64 size)
{
	return start + (size - 1) < start;
}

static bool inside(u64 start, u64 size, u64 in, u64 in_size)
{
	return start >= in && start - in < in_size &&
	       size <= in_size - (start - in);
}

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

const char *vug_range_error(const struct vug_config *cfg,
			    const struct vug_range *r)
{
	if (!r->size)
		return "the size is zero";
	if (wraps(r->start, r->size))
		return "the range does not fit into 64 bits";
	for (size_t i = 0; i < cfg->nranges; i++)
		if (overlaps(r->start, r->size, cfg->range[i].start,
			     cfg->range[i].size))
			return "the range overlaps an earlier one";
	if (cfg->nranges == VUG_MAX_RANGES)
		return "there are too many ranges";
	return NULL;
}

const char *vug_file_error(const struct vug_config *cfg,
			   const struct vug_file *f)
{
	if (!*f->path)
		return "the path is empty";
	if (strlen(f->path) >= PATH_MAX)
		return "the path is too long";
	for (size_t i = 0; i < cfg->nfiles; i++)
		if (!strcmp(f->path, cfg->file[i].path))
			return "the path is given twice";
	if (cfg->nfiles == VUG_MAX_FILES)
		return "there are too many files";
	return NULL;
}

static const char *numbers_reason(const struct vu_region *r)
{
	if (!r->size)
		return "it is empty";
	if (wraps(r->gpa, r->size) || wraps(r->uaddr, r->size))
		return "its addresses wrap around";
	return NULL;
}

/* Is a region allowed by where the guest has it? Then its file is the region. */
static const char *range_reason(const struct vug_config *cfg,
				const struct vu_region *r, const char *file,
				const struct stat *st)
{
	bool touches = false;

	if (!cfg->nranges)
		return "its file is none that --allow-file names";
	for (size_t i = 0; i < cfg->nranges; i++) {
		const struct vug_range *a = &cfg->range[i];

		if (inside(r->gpa, r->size, a->start, a->size)) {
			if (r->offset)
				return "it does not start at the beginning of its file";
			return file ? file : size_reason(st, r->size);
		}
		touches |= overlaps(r->gpa, r->size, a->start, a->size);
	}
	return touches ? "it is only partly inside an allowed range" :
			 "it is outside the allowed ranges";
}

/*
 * Find the path that names a file, by device and inode. Name a file that is not
 * there in the log: that may be why a region is dropped.
 */
static const struct vug_file *file_named(struct vug_session *s,
					 const char *what,
					 const struct stat *st)
{
	for (size_t i = 0; i < s->cfg->nfiles; i++) {
		const struct vug_file *f = &s->cfg->file[i];
		struct stat there;

		if (fstatat(AT_FDCWD, f->path, &there, 0) < 0)
			say(s, VUG_REFUSED, "%s: --allow-file %.300s: %s", what,
			    f->path, strerror(errno));
		else if (there.st_dev == st->st_dev &&
			 there.st_ino == st->st_ino)
			return f;
	}
	return NULL;
}

/* A file that is named may be shared as a whole, so a region may be a part. */
static const char *named_reason(const struct vug_file *f,
				const struct vu_region *r,
				const struct stat *st)
{
	u64 size = f->size ? f->size : file_size(st);

	if (file_size(st) > size)
		return "its file is larger than --allow-file says, and a descriptor gives all";
	if (!inside(r->offset, r->size, 0, size))
		return "it ends behind what --allow-file allows of its file";
	return NULL;
}

#define SEALS	(F_SEAL_GROW | F_SEAL_SHRINK)

/* Does the backend get this region? Each decision is logged. */
static bool region_passes(struct vug_session *s, const char *what,
			  const struct vu_region *r, int fd, bool full)
{
	const struct vug_file *named = NULL;
	const char *reason, *also = "";
	struct stat st = { 0 };
	const char *file = file_reason(fd, &st);
	int seals;

	reason = numbers_reason(r);
	if (!reason) {
		reason = range_reason(s->cfg, r, file, &st);
		if (reason && !file && s->cfg->nfiles) {
			named = file_named(s, what, &st);
			if (named)
				reason = named_reason(named, r, &st);
			else if (s->cfg->nranges)
				also = ", and its file is none that --allow-file names";
		}
	}
	seals = reason ? 0 : fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		seals = 0;
	if (!reason && s->cfg->require_seals && (seals & SEALS) != SEALS)
		reason = "its file is not sealed against growing and shrinking";
	/* For the VMM, only the last of these is a failure. */
	s->answer = !reason && full;
	if (s->answer)
		reason = "the back-end has no slot left for it";
	if (reason) {
		s->stats.regions_dropped++;
		say(s, VUG_REFUSED,
		    "%s: dropped region 0x%llx+0x%llx (offset 0x%llx, file of %llu bytes, inode %llu): %s%s",
		    what, r->gpa, r->size, r->offset, file_size(&st),
		    (u64)st.st_ino, reason, also);
		return false;
	}
	s->stats.regions_passed++;
	say(s, VUG_INFO,
	    "%s: passed region 0x%llx+0x%llx (file of %llu bytes, inode %llu%s%s%.300s)",
	    what, r->gpa, r->size, file_size(&st), (u64)st.st_ino,
	    (seals & SEALS) == SEALS ? "" : ", not sealed",
	    named ? ", --allow-file " : "", named ? named->path : "");
	return true;
}

/* Regions that were passed: removals and IOTLB entries must lie within them */

static int dup_fd(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static bool hold(struct vug_session *s, const struct vu_region *r, int fd)
{
	struct vug_held h = {
		.gpa = r->gpa, .size = r->size, .uaddr = r->uaddr,
		.offset = r->offset, .fd = -1,
	};

	if (s->nheld == ARRAY_SIZE(s->held)) {
		error(s, "there are more than %u regions", VUG_MAX_REGIONS);
		return false;
	}
	if (s->tables) {
		h.fd = dup_fd(fd);
		if (h.fd < 0) {
			error(s, "a region cannot be kept: %s",
			      strerror(errno));
			return false;
		}
	}
	s->held[s->nheld++] = h;
	return true;
}

/* The offset does not identify a region, says the specification. */
static bool unhold(struct vug_session *s, const struct vu_region *r)
{
	for (size_t i = 0; i < s->nheld; i++) {
		struct vug_held *h = &s->held[i];

		if (h->gpa != r->gpa || h->size != r->size ||
		    h->uaddr != r->uaddr)
			continue;
		close_fd(&h->fd);
		*h = s->held[--s->nheld];
		return true;
	}
	return false;
}

static void unhold_all(struct vug_session *s)
{
	while (s->nheld)
		close_fd(&s->held[--s->nheld].fd);
}

/*
 * The backend must not learn where the VMM has its memory: in all messages, an
 * address in the VMM becomes the guest-physical one of the same byte.
 */
static bool to_gpa(const struct vug_session *s, u64 uaddr, u64 size, u64 *gpa)
{
	for (size_t i = 0; i < s->nheld; i++) {
		const struct vug_held *h = &s->held[i];

		if (!inside(uaddr, size, h->uaddr, h->size))
			continue;
		*gpa = h->gpa + (uaddr - h->uaddr);
		return true;
	}
	return false;
}

/* An address that is in no region: the end of one, unless 0 will do. */
static u64 nowhere(const struct vug_session *s)
{
	u64 at = 0;
	size_t i;

	for (size_t n = 0; n <= s->nheld; n++) {
		for (i = 0; i < s->nheld; i++)
			if (inside(at, 1, s->held[i].gpa, s->held[i].size))
				break;
		if (i == s->nheld)
			break;
		at = (s->held[i].gpa + s->held[i].size + 4095) & ~4095ULL;
	}
	return at;
}

/* Checks of a request's content; sizes and counts are within the rule's */

static enum verdict check_features(struct vug_session *s, struct vug_msg *m)
{
	u64 v = m->w.p.u64;

	if ((v & VU_BIT(VU_F_LOG_ALL)) && !s->cfg->allow_log) {
		error(s, "SET_FEATURES: VHOST_F_LOG_ALL was not offered (see --allow-log)");
		return REFUSE;
	}
	s->features_acked = v;
	return PASS;
}

static enum verdict check_proto_features(struct vug_session *s,
					 struct vug_msg *m)
{
	u64 v = m->w.p.u64;

	if (v & ~s->proto_offered) {
		error(s, "SET_PROTOCOL_FEATURES: 0x%llx were not offered",
		      v & ~s->proto_offered);
		return REFUSE;
	}
	s->proto_acked = v;
	/* VMMs that know slots limit themselves to those of their backends. */
	s->tables = v & P(MEM_SLOTS) & ~s->proto_backend;
	if (s->tables) {
		say(s, VUG_INFO, "the back-end has no CONFIGURE_MEM_SLOTS: it gets tables");
		m->w.p.u64 &= ~P(MEM_SLOTS);
	}
	return PASS;
}

static enum verdict check_mem_table(struct vug_session *s, struct vug_msg *m)
{
	u32 n = m->w.p.table.nregions, kept = 0;

	if (n > VU_MAX_TABLE_REGIONS ||
	    m->w.hdr.size != VU_TABLE_HDR + n * sizeof(struct vu_region)) {
		error(s, "SET_MEM_TABLE: %u regions in %u bytes", n,
		      m->w.hdr.size);
		return REFUSE;
	}
	if (m->nfds != n) {
		error(s, "SET_MEM_TABLE: %u descriptors for %u regions",
		      m->nfds, n);
		return REFUSE;
	}

	unhold_all(s);
	for (u32 i = 0; i < n; i++) {
		struct vu_region r = m->w.p.table.region[i];
		int fd = m->fds[i];

		m->fds[i] = -1;
		if (!region_passes(s, "SET_MEM_TABLE", &r, fd, false)) {
			close(fd);
			continue;
		}
		m->fds[kept] = fd;
		if (!hold(s, &r, fd))
			return REFUSE;
		r.uaddr = r.gpa;
		m->w.p.table.region[kept++] = r;
	}
	m->nfds = kept;
	m->w.p.table.nregions = kept;
	m->w.p.table.padding = 0;
	m->w.hdr.size = (u32)(VU_TABLE_HDR +
				   kept * sizeof(struct vu_region));
	/*
	 * An empty table is sent too: the backend has to let go of what it
	 * had, and some refuse to go on, which is as good.
	 */
	if (!kept)
		say(s, VUG_REFUSED,
		    "SET_MEM_TABLE: no region is left for the back-end");
	return PASS;
}

/* Send all regions that are held, in place of @m, which changed them. */
static enum verdict send_table(struct vug_session *s, struct vug_msg *m)
{
	struct vu_mem_table t = { .nregions = (u32)s->nheld };

	msg_close_fds(m);
	for (size_t i = 0; i < s->nheld; i++) {
		const struct vug_held *h = &s->held[i];
		int fd = i < ARRAY_SIZE(t.region) ? dup_fd(h->fd) : -1;

		if (fd < 0) {
			error(s, "a table for the back-end: region %zu is not there",
			      i);
			return REFUSE;
		}
		m->fds[m->nfds++] = fd;
		t.region[i] = (struct vu_region){
			.gpa = h->gpa, .size = h->size, .uaddr = h->gpa,
			.offset = h->offset,
		};
	}
	m->w.hdr.request = VU_SET_MEM_TABLE;
	m->w.hdr.size = (u32)(VU_TABLE_HDR + s->nheld * sizeof(t.region[0]));
	m->w.p.table = t;
	return PASS;
}

static enum verdict check_add_mem(struct vug_session *s, struct vug_msg *m)
{
	struct vu_region r = m->w.p.mem_reg.region;
	size_t slots = s->tables ? VU_MAX_TABLE_REGIONS : s->slots;
	/* More than the VMM was told of break the rules, by which hold() goes. */
	bool full = s->nheld >= slots && s->nheld < VUG_MAX_REGIONS;

	if (!region_passes(s, "ADD_MEM_REG", &r, m->fds[0], full))
		return ANSWER;
	if (!hold(s, &r, m->fds[0]))
		return REFUSE;
	if (s->tables)
		return send_table(s, m);
	r.uaddr = r.gpa;
	m->w.p.mem_reg = (struct vu_mem_reg){ .region = r };
	return PASS;
}

static enum verdict check_rem_mem(struct vug_session *s, struct vug_msg *m)
{
	struct vu_region r = m->w.p.mem_reg.region;

	/* QEMU before 7.0 sends a descriptor, which nobody is to use */
	msg_close_fds(m);
	if (unhold(s, &r)) {
		if (s->tables)
			return send_table(s, m);
		r.uaddr = r.gpa;
		m->w.p.mem_reg = (struct vu_mem_reg){ .region = r };
		return PASS;
	}
	say(s, VUG_INFO, "REM_MEM_REG: 0x%llx+0x%llx had not been passed",
	    r.gpa, r.size);
	s->answer = 0;
	return ANSWER;
}

/*
 * The file of requests in flight. The backend offers one, the VMM maps it and
 * gives it to each backend that takes over. In between, the guard puts a file of
 * its own with the same contents, and takes only that back from the VMM: no
 * other memory of the guest, and nothing of the backend's, comes through.
 */

#define MAX_INFLIGHT	(64ULL << 20)

/* Room for one queue: no backend needs 64 bytes for a descriptor. */
#define PER_QUEUE(n)	((n) * 64ULL + 4096)

static const char *inflight_reason(const struct vug_msg *m)
{
	const struct vu_inflight *f = &m->w.p.inflight;

	if (m->w.hdr.size != VU_INFLIGHT_MIN && m->w.hdr.size != sizeof(*f))
		return "the payload has the wrong size";
	if (!f->queues || f->queues > VU_MAX_VRINGS || !f->queue_size ||
	    f->queue_size > VU_MAX_QUEUE_SIZE)
		return "there are no such queues";
	return NULL;
}

static bool copy_file(int from, u64 offset, int to, u64 size)
{
	char buf[4096];

	for (u64 at = 0; at < size;) {
		size_t n = size - at < sizeof(buf) ? (size_t)(size - at) :
						     sizeof(buf);
		ssize_t got = pread(from, buf, n, (off_t)(offset + at));

		if (got <= 0 || pwrite(to, buf, (size_t)got, (off_t)at) != got)
			return false;
		at += (u64)got;
	}
	return true;
}

/* A file of @size bytes that begins as @from does at @offset; -1 on failure */
static int inflight_make(int from, u64 offset, u64 size)
{
	int fd = memfd_create("vhost-user-guard-inflight",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (!ftruncate(fd, (off_t)size) && copy_file(from, offset, fd, size) &&
	    !fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL))
		return fd;
	close(fd);
	return -1;
}

static enum verdict check_get_inflight(struct vug_session *s,
				       struct vug_msg *m)
{
	const char *reason = inflight_reason(m);
	struct vu_inflight f = m->w.p.inflight;

	if (reason) {
		error(s, "GET_INFLIGHT_FD: %u queues of %u in %u bytes: %s",
		      f.queues, f.queue_size, m->w.hdr.size, reason);
		return REFUSE;
	}
	m->w.p.inflight = (struct vu_inflight){
		.queues = f.queues, .queue_size = f.queue_size,
	};
	return PASS;
}

static enum verdict check_set_inflight(struct vug_session *s,
				       struct vug_msg *m)
{
	const struct vug_inflight *kept = s->cfg->inflight;
	const char *reason = inflight_reason(m);
	struct vu_inflight f = m->w.p.inflight;
	struct stat got, want;

	if (!reason && kept->fd < 0)
		reason = "this guard has given out no file";
	if (!reason && (fstat(m->fds[0], &got) < 0 ||
			fstat(kept->fd, &want) < 0 ||
			got.st_dev != want.st_dev || got.st_ino != want.st_ino))
		reason = "the file is not the one that this guard has given out";
	if (!reason && (f.offset || f.size != kept->size ||
			f.queues != kept->queues ||
			f.queue_size != kept->queue_size))
		reason = "it is not said to be what was given out";
	if (reason) {
		error(s, "SET_INFLIGHT_FD: 0x%llx+0x%llx for %u queues of %u: %s",
		      f.offset, f.size, f.queues, f.queue_size, reason);
		return REFUSE;
	}
	m->w.p.inflight.padding = 0;
	say(s, VUG_INFO,
	    "SET_INFLIGHT_FD: passed the file of requests in flight, inode %llu",
	    (u64)got.st_ino);
	return PASS;
}

static enum verdict check_log_base(struct vug_session *s, struct vug_msg *m)
{
	u64 size = m->w.p.log.size, page = 4096;
	const char *reason = NULL;
	struct stat st = { 0 };

	if (!size || size > ULLONG_MAX - page)
		reason = "it has no sensible size";
	else if (m->w.p.log.offset)
		reason = "it does not start at the beginning of its file";
	else
		reason = file_reason(m->fds[0], &st);
	if (!reason)
		reason = size_reason(&st, (size + page - 1) / page * page);
	if (!reason) {
		say(s, VUG_INFO, "SET_LOG_BASE: passed a dirty log of %llu bytes, inode %llu",
		    size, (u64)st.st_ino);
		return PASS;
	}
	error(s, "SET_LOG_BASE: log of 0x%llx bytes: %s", size, reason);
	return REFUSE;
}

/* A VMM takes no more regions than there are slots, dropped ones included. */
static enum verdict check_max_slots(struct vug_session *s, struct vug_msg *m)
{
	(void)m;
	s->answer = VUG_MAX_REGIONS;
	return s->tables ? ANSWER : PASS;
}

static enum verdict check_log_fd(struct vug_session *s, struct vug_msg *m)
{
	if (fd_is_eventfd(s, m->fds[0]))
		return PASS;
	error(s, "SET_LOG_FD: the descriptor is not an eventfd");
	return REFUSE;
}

static enum verdict check_vring_fd(struct vug_session *s, struct vug_msg *m)
{
	u64 v = m->w.p.u64;
	unsigned int want = v & VU_VRING_NOFD ? 0 : 1;

	if (v & ~(VU_VRING_INDEX_MASK | VU_VRING_NOFD)) {
		error(s, "vring descriptor request %u: unknown bits in 0x%llx",
		      m->w.hdr.request, v);
		return REFUSE;
	}
	if (m->nfds != want) {
		error(s, "vring descriptor request %u: %u descriptors, expected %u",
		      m->w.hdr.request, m->nfds, want);
		return REFUSE;
	}
	if (want && !fd_is_eventfd(s, m->fds[0])) {
		error(s, "vring descriptor request %u: the descriptor is not an eventfd",
		      m->w.hdr.request);
		return REFUSE;
	}
	s->stats.kicks += m->w.hdr.request == VU_SET_VRING_KICK;
	/*
	 * A VMM prints what comes through the eventfd for errors, and waits for
	 * nothing there: tell the backend that there is none.
	 */
	if (m->w.hdr.request == VU_SET_VRING_ERR) {
		msg_close_fds(m);
		m->w.p.u64 |= VU_VRING_NOFD;
	}
	return PASS;
}

/* struct vu_vring_addr starts with the index, too, as struct vu_vring_state. */
static enum verdict check_vring_index(struct vug_session *s, struct vug_msg *m)
{
	if (m->w.p.state.index < VU_MAX_VRINGS)
		return PASS;
	error(s, "request %u: vring %u does not exist", m->w.hdr.request,
	      m->w.p.state.index);
	return REFUSE;
}

/*
 * A ring elsewhere (firmware may have one there) is sent on as one at an address
 * that is not mapped: the backend has to let go of the ring it had.
 */
static enum verdict check_vring_addr(struct vug_session *s, struct vug_msg *m)
{
	u32 ok = s->cfg->allow_log ? VU_VRING_ADDR_F_LOG : 0;
	struct vu_vring_addr a = m->w.p.addr;

	if (a.flags & ~ok) {
		error(s, "SET_VRING_ADDR: flags 0x%x (see --allow-log)",
		      a.flags);
		return REFUSE;
	}
	/* I/O virtual addresses of the guest: IOTLB updates translate them. */
	if (s->features_acked & VU_BIT(VU_F_ACCESS_PLATFORM))
		return check_vring_index(s, m);
	if (!to_gpa(s, a.desc, 1, &a.desc) || !to_gpa(s, a.used, 1, &a.used) ||
	    !to_gpa(s, a.avail, 1, &a.avail)) {
		say(s, VUG_REFUSED,
		    "SET_VRING_ADDR: vring %u is not in a passed region",
		    a.index);
		a.desc = nowhere(s);
		a.used = a.desc;
		a.avail = a.desc;
	}
	m->w.p.addr = a;
	return check_vring_index(s, m);
}

static enum verdict check_endian(struct vug_session *s, struct vug_msg *m)
{
	if (m->w.p.state.num > 1) {
		error(s, "SET_VRING_ENDIAN: value %u", m->w.p.state.num);
		return REFUSE;
	}
	return check_vring_index(s, m);
}

static enum verdict check_config(struct vug_session *s, struct vug_msg *m)
{
	u32 offset = m->w.p.config.offset, size = m->w.p.config.size;

	if (size && size <= VU_MAX_CONFIG && offset <= VU_MAX_CONFIG - size &&
	    m->w.hdr.size == VU_CONFIG_HDR + size && m->w.p.config.flags <= 1)
		return PASS;
	error(s, "%s_CONFIG: offset %u, size %u, flags 0x%x in %u bytes",
	      m->w.hdr.request == VU_GET_CONFIG ? "GET" : "SET", offset, size,
	      m->w.p.config.flags, m->w.hdr.size);
	return REFUSE;
}

static enum verdict check_status(struct vug_session *s, struct vug_msg *m)
{
	if (m->w.p.u64 <= 0xff)
		return PASS;
	error(s, "SET_STATUS: 0x%llx is not a status", m->w.p.u64);
	return REFUSE;
}

/*
 * An update tells the backend where in the VMM's address space a page is. The
 * backend can use a page only within a region it has; of others it would still
 * learn the guest's mappings. QEMU sets only what a type needs, so the rest of
 * a message is from its stack.
 */
static enum verdict check_iotlb(struct vug_session *s, struct vug_msg *m)
{
	struct vu_iotlb t = m->w.p.iotlb;

	if (t.type == VU_IOTLB_INVALIDATE) {
		m->w.p.iotlb = (struct vu_iotlb){
			.iova = t.iova, .size = t.size, .type = t.type,
		};
		return PASS;
	}
	if (t.type != VU_IOTLB_UPDATE || t.perm > 3 || !t.size) {
		error(s, "IOTLB_MSG: type %u, permissions %u, size 0x%llx",
		      t.type, t.perm, t.size);
		return REFUSE;
	}
	if (to_gpa(s, t.uaddr, t.size, &t.uaddr)) {
		memset(t.padding, 0, sizeof(t.padding));
		m->w.p.iotlb = t;
		return PASS;
	}
	say(s, VUG_REFUSED,
	    "IOTLB_MSG: dropped the update for 0x%llx+0x%llx: it is not in a passed region",
	    t.iova, t.size);
	s->answer = 1;
	return ANSWER;
}

static enum verdict check_backend_req(struct vug_session *s, struct vug_msg *m);
static enum verdict check_reset_owner(struct vug_session *s, struct vug_msg *m);

static enum verdict check_back_iotlb(struct vug_session *s, struct vug_msg *m)
{
	u8 type = m->w.p.iotlb.type;

	if (type == VU_IOTLB_MISS || type == VU_IOTLB_ACCESS_FAIL)
		return PASS;
	error(s, "back-channel: IOTLB_MSG: type %u", type);
	return REFUSE;
}

/* Checks of an answer's content */

static enum verdict reply_features(struct vug_session *s, struct vug_msg *m)
{
	if (!s->cfg->allow_log)
		m->w.p.u64 &= ~VU_BIT(VU_F_LOG_ALL);
	s->features_offered = m->w.p.u64;
	return PASS;
}

static enum verdict reply_proto_features(struct vug_session *s,
					 struct vug_msg *m)
{
	u64 pass = PROTO_PASS;

	if (s->cfg->allow_log)
		pass |= VU_BIT(VU_PF_LOG_SHMFD);
	if (m->w.p.u64 & ~pass)
		say(s, VUG_INFO, "masked protocol features 0x%llx",
		    m->w.p.u64 & ~pass);
	m->w.p.u64 &= pass;
	s->proto_backend = m->w.p.u64;
	m->w.p.u64 |= P(MEM_SLOTS);
	s->proto_offered = m->w.p.u64;
	return PASS;
}

static enum verdict reply_max_slots(struct vug_session *s, struct vug_msg *m)
{
	if (m->w.p.u64 < VUG_MAX_REGIONS)
		s->slots = (size_t)m->w.p.u64;
	m->w.p.u64 = VUG_MAX_REGIONS;
	return PASS;
}

static enum verdict reply_vring_base(struct vug_session *s, struct vug_msg *m)
{
	if (m->w.p.state.index == s->front.asked.key[0])
		return PASS;
	error(s, "GET_VRING_BASE: asked for vring %u, answered for %u",
	      s->front.asked.key[0], m->w.p.state.index);
	return REFUSE;
}

static enum verdict reply_config(struct vug_session *s, struct vug_msg *m)
{
	const u32 *asked = s->front.asked.key;
	u32 size = m->w.p.config.size;

	/*
	 * No payload is how a backend says that it cannot. Those made with
	 * rust-vmm say so by a header of no data.
	 */
	if (!m->w.hdr.size)
		return PASS;
	if (m->w.hdr.size == VU_CONFIG_HDR + size &&
	    m->w.p.config.offset == asked[0] && (!size || size == asked[1]))
		return PASS;
	error(s, "GET_CONFIG: asked for %u bytes at %u, answered with %u bytes of payload",
	      asked[1], asked[0], m->w.hdr.size);
	return REFUSE;
}

static const char *inflight_file_reason(const struct vug_msg *m,
					const struct vu_inflight *asked)
{
	const struct vu_inflight *f = &m->w.p.inflight;
	struct stat st = { 0 };
	const char *reason;

	if (m->nfds != 1)
		return "there is no descriptor";
	if (f->size > MAX_INFLIGHT ||
	    f->size > asked->queues * PER_QUEUE(asked->queue_size))
		return "it is larger than the queues need";
	reason = file_reason(m->fds[0], &st);
	if (!reason && (f->offset > file_size(&st) ||
			f->size > file_size(&st) - f->offset))
		reason = "its file is shorter";
	return reason;
}

static enum verdict reply_inflight(struct vug_session *s, struct vug_msg *m)
{
	struct vug_inflight *kept = s->cfg->inflight;
	struct vu_inflight f = m->w.p.inflight, asked;
	const char *reason = NULL;
	int fd = -1;

	memcpy(&asked, s->front.asked.key, sizeof(asked));
	if (m->w.hdr.size != VU_INFLIGHT_MIN && m->w.hdr.size != sizeof(f))
		reason = "the payload has the wrong size";
	else if (f.size)
		reason = inflight_file_reason(m, &asked);
	else if (m->nfds)
		reason = "it is empty";
	if (!reason && f.size) {
		fd = inflight_make(m->fds[0], f.offset, f.size);
		if (fd < 0)
			reason = strerror(errno);
	}
	msg_close_fds(m);
	if (!reason && fd >= 0) {
		m->fds[0] = dup_fd(fd);
		m->nfds = m->fds[0] >= 0;
		if (!m->nfds)
			reason = strerror(errno);
	}
	if (reason) {
		error(s, "GET_INFLIGHT_FD: answered with 0x%llx+0x%llx for %u queues of %u: %s",
		      f.offset, f.size, asked.queues, asked.queue_size, reason);
		close_fd(&fd);
		return REFUSE;
	}
	/* A size of 0 is how a backend says that it has none. */
	asked.size = f.size;
	asked.offset = 0;
	asked.padding = 0;
	m->w.p.inflight = asked;
	close_fd(&kept->fd);
	*kept = (struct vug_inflight){
		.fd = fd, .size = f.size, .queues = asked.queues,
		.queue_size = asked.queue_size,
	};
	return PASS;
}

static enum verdict reply_log_base(struct vug_session *s, struct vug_msg *m)
{
	if (!m->w.hdr.size || m->w.hdr.size == sizeof(u64))
		return PASS;
	error(s, "SET_LOG_BASE: answered with %u bytes", m->w.hdr.size);
	return REFUSE;
}

/* The rules */

#define MASKED		"its protocol feature is masked"
#define SIZE(lo, hi)	.min = (lo), .max = (hi)
#define FDS(lo, hi)	.fds_min = (lo), .fds_max = (hi)
#define REPLY(lo, hi)	.replies = true, .reply_min = (lo), .reply_max = (hi)
#define U64		sizeof(u64)
#define STATE		sizeof(struct vu_vring_state)
#define ADDR		sizeof(struct vu_vring_addr)
#define LOG		sizeof(struct vu_log)
#define IOTLB		sizeof(struct vu_iotlb)
#define MEM_REG		sizeof(struct vu_mem_reg)
#define INFLIGHT	sizeof(struct vu_inflight)
#define CONFIG_MIN	(VU_CONFIG_HDR + 1)
#define CONFIG_MAX	(VU_CONFIG_HDR + VU_MAX_CONFIG)

/* Without SIZE() there is no payload, without FDS() no descriptor. */
#define RULE(n, ...) \
	[VU_##n] = { .name = #n, ##__VA_ARGS__ }

static const struct vug_rule front_rules[] = {
	RULE(GET_FEATURES, REPLY(U64, U64), .check_reply = reply_features),
	RULE(SET_FEATURES, SIZE(U64, U64), .check = check_features),
	RULE(SET_OWNER),
	RULE(RESET_OWNER, .check = check_reset_owner),
	RULE(SET_MEM_TABLE, SIZE(VU_TABLE_HDR, sizeof(struct vu_mem_table)),
	     FDS(0, VU_MAX_TABLE_REGIONS), .check = check_mem_table),
	RULE(SET_LOG_BASE, SIZE(LOG, LOG), FDS(1, 1), REPLY(0, U64),
	     .dirty_log = true, .proto = P(LOG_SHMFD),
	     .check = check_log_base, .check_reply = reply_log_base),
	RULE(SET_LOG_FD, FDS(1, 1), .dirty_log = true, .check = check_log_fd),
	RULE(SET_VRING_NUM, SIZE(STATE, STATE), .check = check_vring_index),
	RULE(SET_VRING_ADDR, SIZE(ADDR, ADDR), .check = check_vring_addr),
	RULE(SET_VRING_BASE, SIZE(STATE, STATE), .check = check_vring_index),
	RULE(GET_VRING_BASE, SIZE(STATE, STATE), REPLY(STATE, STATE),
	     .check = check_vring_index, .check_reply = reply_vring_base),
	RULE(SET_VRING_KICK, SIZE(U64, U64), FDS(0, 1),
	     .check = check_vring_fd),
	RULE(SET_VRING_CALL, SIZE(U64, U64), FDS(0, 1),
	     .check = check_vring_fd),
	RULE(SET_VRING_ERR, SIZE(U64, U64), FDS(0, 1),
	     .check = check_vring_fd),
	RULE(GET_PROTOCOL_FEATURES, REPLY(U64, U64),
	     .offered = VU_BIT(VU_F_PROTOCOL_FEATURES),
	     .check_reply = reply_proto_features),
	RULE(SET_PROTOCOL_FEATURES, SIZE(U64, U64),
	     .offered = VU_BIT(VU_F_PROTOCOL_FEATURES),
	     .check = check_proto_features),
	RULE(GET_QUEUE_NUM, REPLY(U64, U64), .proto = P(MQ)),
	RULE(SET_VRING_ENABLE, SIZE(STATE, STATE),
	     .offered = VU_BIT(VU_F_PROTOCOL_FEATURES),
	     .check = check_vring_index),
	RULE(SEND_RARP, SIZE(U64, U64), .proto = P(RARP)),
	RULE(NET_SET_MTU, SIZE(U64, U64), .proto = P(MTU)),
	RULE(SET_BACKEND_REQ_FD, FDS(1, 1), .proto = P(BACKEND_REQ),
	     .check = check_backend_req),
	RULE(IOTLB_MSG, SIZE(IOTLB, IOTLB), .must_ack = true,
	     .acked = VU_BIT(VU_F_ACCESS_PLATFORM), .check = check_iotlb),
	RULE(SET_VRING_ENDIAN, SIZE(STATE, STATE), .proto = P(CROSS_ENDIAN),
	     .check = check_endian),
	RULE(GET_CONFIG, SIZE(CONFIG_MIN, CONFIG_MAX), REPLY(0, CONFIG_MAX),
	     .proto = P(CONFIG), .check = check_config,
	     .check_reply = reply_config),
	RULE(SET_CONFIG, SIZE(CONFIG_MIN, CONFIG_MAX), .proto = P(CONFIG),
	     .check = check_config),
	RULE(CREATE_CRYPTO_SESSION, .refused = MASKED),
	RULE(CLOSE_CRYPTO_SESSION, .refused = MASKED),
	RULE(POSTCOPY_ADVISE, .refused = MASKED),
	RULE(POSTCOPY_LISTEN, .refused = MASKED),
	RULE(POSTCOPY_END, .refused = MASKED),
	RULE(GET_INFLIGHT_FD, SIZE(VU_INFLIGHT_MIN, INFLIGHT),
	     REPLY(VU_INFLIGHT_MIN, INFLIGHT), .reply_fds_max = 1,
	     .proto = P(INFLIGHT_SHMFD), .check = check_get_inflight,
	     .check_reply = reply_inflight),
	RULE(SET_INFLIGHT_FD, SIZE(VU_INFLIGHT_MIN, INFLIGHT), FDS(1, 1),
	     .proto = P(INFLIGHT_SHMFD), .check = check_set_inflight),
	RULE(GPU_SET_SOCKET, .refused = "it opens an unguarded channel"),
	RULE(RESET_DEVICE, .proto = P(RESET_DEVICE)),
	RULE(VRING_KICK, .refused = MASKED),
	RULE(GET_MAX_MEM_SLOTS, REPLY(U64, U64), .proto = P(MEM_SLOTS),
	     .check = check_max_slots, .check_reply = reply_max_slots),
	RULE(ADD_MEM_REG, SIZE(MEM_REG, MEM_REG), FDS(1, 1),
	     .proto = P(MEM_SLOTS), .check = check_add_mem),
	RULE(REM_MEM_REG, SIZE(MEM_REG, MEM_REG), FDS(0, 1),
	     .proto = P(MEM_SLOTS), .check = check_rem_mem),
	RULE(SET_STATUS, SIZE(U64, U64), .proto = P(STATUS),
	     .check = check_status),
	RULE(GET_STATUS, REPLY(U64, U64), .proto = P(STATUS)),
	RULE(GET_SHARED_OBJECT, .refused = MASKED),
	RULE(SET_DEVICE_STATE_FD, .refused = MASKED),
	RULE(CHECK_DEVICE_STATE, .refused = MASKED),
	RULE(GET_SHMEM_CONFIG, .refused = MASKED),
};

static const struct vug_rule back_rules[] = {
	RULE(BACKEND_IOTLB_MSG, SIZE(IOTLB, IOTLB),
	     .acked = VU_BIT(VU_F_ACCESS_PLATFORM),
	     .check = check_back_iotlb),
	RULE(BACKEND_CONFIG_CHANGE, .proto = P(CONFIG)),
	RULE(BACKEND_HOST_NOTIFIER, .refused = MASKED),
	RULE(BACKEND_VRING_CALL, .refused = MASKED),
	RULE(BACKEND_VRING_ERR, .refused = MASKED),
	RULE(BACKEND_SHARED_OBJECT_ADD, .refused = MASKED),
	RULE(BACKEND_SHARED_OBJECT_REMOVE, .refused = MASKED),
	RULE(BACKEND_SHARED_OBJECT_LOOKUP, .refused = MASKED),
	RULE(BACKEND_SHMEM_MAP, .refused = MASKED),
	RULE(BACKEND_SHMEM_UNMAP, .refused = MASKED),
};

/* Links */

static void link_open(struct vug_link *l, const char *name,
		      const struct vug_rule *rules, size_t nrules,
		      struct vug_port req, struct vug_port rsp)
{
	*l = (struct vug_link){
		.name = name, .rules = rules, .nrules = nrules, .open = true,
		.req = req, .rsp = rsp,
	};
}

static void port_close(struct vug_port *p)
{
	close_fd(&p->fd);
	msg_clear(&p->in);
	msg_clear(&p->out);
	p->writing = false;
}

static void link_close(struct vug_link *l)
{
	if (!l->open)
		return;
	port_close(&l->req);
	port_close(&l->rsp);
	l->open = false;
}

/*
 * The backend gets one end of a new pair instead of the VMM's socket, and
 * what comes out of the other end is held to the rules of the back-channel.
 */
static enum verdict check_backend_req(struct vug_session *s, struct vug_msg *m)
{
	int pair[2];

	if (!fd_is_unix_stream(m->fds[0])) {
		error(s, "SET_BACKEND_REQ_FD: the descriptor is not a Unix stream socket");
		return REFUSE;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		error(s, "SET_BACKEND_REQ_FD: socketpair: %s",
		      strerror(errno));
		return REFUSE;
	}
	link_close(&s->back);
	link_open(&s->back, "back-channel: ", back_rules,
		  ARRAY_SIZE(back_rules),
		  (struct vug_port){ .name = "back-end", .fd = pair[0] },
		  (struct vug_port){ .name = "front-end", .fd = m->fds[0] });
	m->fds[0] = pair[1];
	return PASS;
}

/*
 * Void the settings of the owner: features, memory, the back-channel. Offers of
 * the backend are not the owner's, and stay. A backend that keeps its settings is
 * held to less than those until they are made again.
 */
static enum verdict check_reset_owner(struct vug_session *s, struct vug_msg *m)
{
	(void)m;
	s->features_acked = 0;
	s->proto_acked = 0;
	s->tables = false;
	s->slots = VUG_MAX_REGIONS;
	unhold_all(s);
	link_close(&s->back);
	return PASS;
}

static const struct vug_rule *rule_of(const struct vug_link *l,
				      u32 request)
{
	if (request >= l->nrules || !l->rules[request].name)
		return NULL;
	return &l->rules[request];
}

static enum vug_status end_hangup(const struct vug_session *s,
				  const struct vug_link *l,
				  const struct vug_port *p)
{
	say(s, VUG_INFO, "%sthe %s hung up", l->name, p->name);
	return VUG_HANGUP;
}

/* Can the gates of a rule be passed now? */
static const char *gate_reason(const struct vug_session *s,
			       const struct vug_rule *r)
{
	if (r->refused)
		return r->refused;
	if (r->dirty_log && !s->cfg->allow_log)
		return "the dirty log is off (see --allow-log)";
	if (r->offered & ~s->features_offered)
		return "the back-end has not offered the feature it needs";
	if (r->acked & ~s->features_acked)
		return "the feature it needs has not been set";
	if (r->proto & ~s->proto_acked)
		return "the protocol feature it needs has not been set";
	return NULL;
}

/* All that can be said of a request before its payload is there */
static enum vug_status check_request_hdr(const struct vug_session *s,
					 const struct vug_link *l)
{
	const struct vug_msg *m = &l->req.in;
	struct vu_hdr h = m->w.hdr;
	const struct vug_rule *r = rule_of(l, h.request);
	const char *reason;

	if (!r) {
		error(s, "%sthe %s sent request %u, which is unknown", l->name,
		      l->req.name, h.request);
		return VUG_VIOLATION;
	}
	reason = gate_reason(s, r);
	if (reason) {
		error(s, "%s%s from the %s: %s", l->name, r->name, l->req.name,
		      reason);
		return VUG_VIOLATION;
	}
	if ((h.flags & VU_VERSION_MASK) != VU_VERSION ||
	    (h.flags & ~(VU_VERSION_MASK | VU_NEED_REPLY))) {
		error(s, "%s%s: flags 0x%x", l->name, r->name, h.flags);
		return VUG_VIOLATION;
	}
	if ((h.flags & VU_NEED_REPLY) ? !(s->proto_acked & P(REPLY_ACK)) :
					r->must_ack) {
		error(s, "%s%s: flags 0x%x while REPLY_ACK is %s", l->name,
		      r->name, h.flags,
		      s->proto_acked & P(REPLY_ACK) ? "set" : "not set");
		return VUG_VIOLATION;
	}
	if (h.size < r->min || h.size > r->max) {
		error(s, "%s%s: %u bytes of payload, expected %u to %u",
		      l->name, r->name, h.size, r->min, r->max);
		return VUG_VIOLATION;
	}
	if (m->nfds < r->fds_min || m->nfds > r->fds_max) {
		error(s, "%s%s: %u descriptors, expected %u to %u", l->name,
		      r->name, m->nfds, r->fds_min, r->fds_max);
		return VUG_VIOLATION;
	}
	return VUG_RUNNING;
}

static enum vug_status check_reply_hdr(const struct vug_session *s,
				       const struct vug_link *l)
{
	const struct vug_msg *m = &l->rsp.in;
	struct vu_hdr h = m->w.hdr;
	const struct vug_rule *r;
	u32 min = U64, max = U64;

	/* A request that is not wholly sent cannot have been answered. */
	if (!l->waiting || l->rsp.writing) {
		error(s, "%sthe %s sent message %u that nobody asked for",
		      l->name, l->rsp.name, h.request);
		return VUG_VIOLATION;
	}
	r = rule_of(l, l->asked.request);
	if (h.request != l->asked.request) {
		error(s, "%s%s was answered with message %u", l->name, r->name,
		      h.request);
		return VUG_VIOLATION;
	}
	/* libvhost-user leaves the request's NEED_REPLY in its answer. */
	if ((h.flags & ~(l->asked.flags & VU_NEED_REPLY)) !=
	    (VU_VERSION | VU_REPLY)) {
		error(s, "%sanswer to %s: flags 0x%x", l->name, r->name,
		      h.flags);
		return VUG_VIOLATION;
	}
	if (r->replies) {
		min = r->reply_min;
		max = r->reply_max;
	}
	if (h.size < min || h.size > max) {
		error(s, "%sanswer to %s: %u bytes of payload, expected %u to %u",
		      l->name, r->name, h.size, min, max);
		return VUG_VIOLATION;
	}
	if (m->nfds > (r->replies ? r->reply_fds_max : 0)) {
		error(s, "%sanswer to %s: %u descriptors, expected %u",
		      l->name, r->name, m->nfds,
		      r->replies ? r->reply_fds_max : 0);
		return VUG_VIOLATION;
	}
	return VUG_RUNNING;
}

static enum vug_status port_write(struct vug_session *s, struct vug_link *l,
				  struct vug_port *p)
{
	union {
		char buf[CMSG_SPACE(VUG_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct vug_msg *m = &p->out;
	size_t total = sizeof(m->w.hdr) + m->w.hdr.size;

	while (p->writing) {
		struct iovec iov = {
			.iov_base = (char *)&m->w + m->done,
			.iov_len = total - m->done,
		};
		struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (m->nfds) {
			struct cmsghdr *c;

			memset(&control, 0, sizeof(control));
			mh.msg_control = control.buf;
			mh.msg_controllen = CMSG_SPACE(m->nfds * sizeof(int));
			c = CMSG_FIRSTHDR(&mh);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(m->nfds * sizeof(int));
			memcpy(CMSG_DATA(c), m->fds, m->nfds * sizeof(int));
		}
		n = sendmsg(p->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				return VUG_RUNNING;
			if (errno == EPIPE || errno == ECONNRESET)
				return end_hangup(s, l, p);
			error(s, "%swriting to the %s: %s", l->name, p->name,
			      strerror(errno));
			return VUG_SYSTEM;
		}
		/* The descriptors went with the first byte. */
		msg_close_fds(m);
		m->done += (size_t)n;
		if (m->done == total)
			p->writing = false;
	}
	msg_clear(m);
	return VUG_RUNNING;
}

static enum vug_status port_send(struct vug_session *s, struct vug_link *l,
				 struct vug_port *p, struct vug_msg *m)
{
	msg_move(&p->out, m);
	p->writing = true;
	return port_write(s, l, p);
}

static enum vug_status on_request(struct vug_session *s, struct vug_link *l)
{
	struct vug_msg *m = &l->req.in;
	const struct vug_rule *r = rule_of(l, m->w.hdr.request);
	enum verdict v;

	s->stats.requests++;
	say(s, VUG_DEBUG, "%s%s: flags 0x%x, %u bytes, %u descriptors",
	    l->name, r->name, m->w.hdr.flags, m->w.hdr.size, m->nfds);

	l->asked.as = m->w.hdr.request;
	l->asked.flags = m->w.hdr.flags;
	memset(l->asked.key, 0, sizeof(l->asked.key));
	memcpy(l->asked.key, m->w.p.bytes, sizeof(l->asked.key));

	v = r->check ? r->check(s, m) : PASS;
	l->asked.request = m->w.hdr.request;
	if (v == REFUSE)
		return VUG_VIOLATION;
	if (v == PASS) {
		l->waiting = r->replies || (m->w.hdr.flags & VU_NEED_REPLY);
		return port_send(s, l, &l->rsp, m);
	}

	msg_close_fds(m);
	m->done = 0;
	if (!r->replies && !(l->asked.flags & VU_NEED_REPLY))
		return VUG_RUNNING;
	m->w.hdr.flags = VU_VERSION | VU_REPLY;
	m->w.hdr.size = U64;
	m->w.p.u64 = s->answer;
	return port_send(s, l, &l->req, m);
}

static enum vug_status on_reply(struct vug_session *s, struct vug_link *l)
{
	struct vug_msg *m = &l->rsp.in;
	const struct vug_rule *r = rule_of(l, l->asked.request);

	s->stats.replies++;
	say(s, VUG_DEBUG, "%sanswer to %s: %u bytes", l->name, r->name,
	    m->w.hdr.size);
	if (r->replies && r->check_reply && r->check_reply(s, m) == REFUSE)
		return VUG_VIOLATION;
	l->waiting = false;
	m->w.hdr.request = l->asked.as;
	m->w.hdr.flags = VU_VERSION | VU_REPLY;
	return port_send(s, l, &l->req, m);
}

/* Take the descriptors out of a control message; true if all is in order. */
static bool take_fds(const struct vug_session *s, const struct vug_link *l,
		     struct vug_port *p, struct msghdr *mh, bool first)
{
	struct vug_msg *m = &p->in;
	bool ok = !(mh->msg_flags & MSG_CTRUNC);
	unsigned int extra = 0;

	if (!ok)
		error(s, "%sthe %s sent a control message that was truncated",
		      l->name, p->name);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			error(s, "%sthe %s sent a control message of type %d",
			      l->name, p->name, c->cmsg_type);
			ok = false;
			continue;
		}
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ok && first && m->nfds < VUG_MAX_FDS) {
				m->fds[m->nfds++] = fd;
				continue;
			}
			close(fd);
			extra++;
		}
	}
	if (extra && ok) {
		error(s, "%sthe %s sent %u descriptors %s", l->name, p->name,
		      extra, first ? "too many" : "in the middle of a message");
		ok = false;
	}
	return ok;
}

/*
 * Read on; @complete tells whether the whole message is there. The header is
 * checked as soon as it is complete, so the payload has room.
 */
static enum vug_status port_read(struct vug_session *s, struct vug_link *l,
				 struct vug_port *p, bool *complete)
{
	union {
		char buf[CMSG_SPACE(SCM_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct vug_msg *m = &p->in;
	enum vug_status st;

	*complete = false;
	for (;;) {
		bool header = m->done < sizeof(m->w.hdr);
		size_t total = sizeof(m->w.hdr) + (header ? 0 : m->w.hdr.size);
		struct iovec iov = {
			.iov_base = (char *)&m->w + m->done,
			.iov_len = total - m->done,
		};
		struct msghdr mh = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control.buf,
			.msg_controllen = sizeof(control.buf),
		};
		ssize_t n;

		if (!header && m->done == total) {
			*complete = true;
			return VUG_RUNNING;
		}
		n = recvmsg(p->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN)
				return VUG_RUNNING;
			if (errno != ECONNRESET) {
				error(s, "%sreading from the %s: %s", l->name,
				      p->name, strerror(errno));
				return VUG_SYSTEM;
			}
			n = 0;
		}
		if (n && !take_fds(s, l, p, &mh, !m->done))
			return VUG_VIOLATION;
		if (!n && m->done) {
			error(s, "%sthe %s hung up in the middle of a message",
			      l->name, p->name);
			return VUG_VIOLATION;
		}
		if (!n)
			return end_hangup(s, l, p);
		m->done += (size_t)n;
		if (!header || m->done < sizeof(m->w.hdr))
			continue;
		/* Nothing of an earlier message may show in a short one. */
		memset(&m->w.p, 0, sizeof(m->w.p));
		st = p == &l->req ? check_request_hdr(s, l) :
				    check_reply_hdr(s, l);
		if (st != VUG_RUNNING)
			return st;
	}
}

#define GONE	(POLLERR | POLLHUP | POLLNVAL)

static bool may_read(const struct vug_link *l, const struct vug_port *p)
{
	if (p == &l->req)
		return !l->waiting && !l->rsp.writing && !l->req.writing;
	/* Read even if no answer is due, to notice one that is sent anyway. */
	return !l->req.writing;
}

static short port_events(const struct vug_link *l, const struct vug_port *p)
{
	return (short)((may_read(l, p) ? POLLIN : 0) |
		       (p->writing ? POLLOUT : 0));
}

static enum vug_status port_ready(struct vug_session *s, struct vug_link *l,
				  struct vug_port *p, short revents)
{
	enum vug_status st = VUG_RUNNING;
	bool complete;

	if (p->writing && (revents & (POLLOUT | GONE)))
		st = port_write(s, l, p);
	if (st != VUG_RUNNING || !(revents & (POLLIN | GONE)))
		return st;
	if (!may_read(l, p))
		return revents & GONE ? end_hangup(s, l, p) : st;
	st = port_read(s, l, p, &complete);
	if (st != VUG_RUNNING || !complete)
		return st;
	return p == &l->req ? on_request(s, l) : on_reply(s, l);
}

static enum vug_status link_ready(struct vug_session *s, struct vug_link *l,
				  const struct pollfd *p)
{
	enum vug_status st = VUG_RUNNING;

	/* The responder first: its answer makes room for the next request. */
	if (p[1].revents)
		st = port_ready(s, l, &l->rsp, p[1].revents);
	if (st == VUG_RUNNING && p[0].revents)
		st = port_ready(s, l, &l->req, p[0].revents);
	return st;
}

static void link_poll(const struct vug_link *l, struct pollfd *p)
{
	p[0].fd = l->open ? l->req.fd : -1;
	p[1].fd = l->open ? l->rsp.fd : -1;
	if (!l->open)
		return;
	p[0].events = port_events(l, &l->req);
	p[1].events = port_events(l, &l->rsp);
}

enum vug_status vug_poll(struct vug_session *s, int wake_fd, int timeout_ms)
{
	struct pollfd p[5] = { 0 };
	enum vug_status st;

	link_poll(&s->front, &p[0]);
	link_poll(&s->back, &p[2]);
	p[4] = (struct pollfd){ .fd = wake_fd, .events = POLLIN };
	if (poll(p, ARRAY_SIZE(p), timeout_ms) < 0) {
		if (errno == EINTR)
			return VUG_RUNNING;
		error(s, "poll: %s", strerror(errno));
		return VUG_SYSTEM;
	}

	/* The back link first: a request on the front link can replace it. */
	st = s->back.open ? link_ready(s, &s->back, &p[2]) : VUG_RUNNING;
	if (st == VUG_HANGUP) {
		/* A back-channel may end before the session: pass that on. */
		link_close(&s->back);
		st = VUG_RUNNING;
	}
	if (st == VUG_RUNNING)
		st = link_ready(s, &s->front, &p[0]);
	return st;
}

int vug_init(struct vug_session *s, const struct vug_config *cfg, int frontend,
	     int backend)
{
	memset(s, 0, sizeof(*s));
	s->cfg = cfg;
	s->slots = VUG_MAX_REGIONS;
	s->back.req.fd = -1;
	s->back.rsp.fd = -1;
	link_open(&s->front, "", front_rules, ARRAY_SIZE(front_rules),
		  (struct vug_port){ .name = "front-end", .fd = frontend },
		  (struct vug_port){ .name = "back-end", .fd = backend });
	s->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->proc_fd < 0) {
		int e = errno;

		vug_fini(s);
		errno = e;
		return -1;
	}
	return 0;
}

void vug_fini(struct vug_session *s)
{
	link_close(&s->back);
	link_close(&s->front);
	unhold_all(s);
	close_fd(&s->proc_fd);
}
