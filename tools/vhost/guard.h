/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost-user-guard, the session: everything but the command line and the
 * making of connections, so that tests and the fuzzer drive the same code.
 */
#ifndef VHOST_GUARD_H
#define VHOST_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "proto.h"

#define VUG_MAX_RANGES	64	/* --allow */
#define VUG_MAX_FILES	64	/* --allow-file */
#define VUG_MAX_REGIONS	512	/* regions a backend holds; QEMU's limit too */
#define VUG_MAX_FDS	8	/* descriptors of one message */

enum vug_level {
	VUG_ERROR,		/* ends the session */
	VUG_END,		/* how a session ended */
	VUG_REFUSED,		/* something was held back; the session goes on */
	VUG_INFO,
	VUG_DEBUG,		/* each message */
};

struct vug_range {
	u64 start;
	u64 size;		/* at least 1; start + size - 1 does not wrap */
};

/*
 * A file that is allowed wherever the guest has it, as the memory of a PCI BAR,
 * whose address is the firmware's choice. Looked up each time a descriptor is
 * compared: the file may be made after the guard has started.
 */
struct vug_file {
	const char *path;
	u64 size;		/* bytes that regions may use; 0: the file's own */
};

/*
 * The file in which a backend notes the requests in flight, for the one that
 * takes over when it has crashed: made here and sealed, so that neither side can
 * truncate it under the other. Outlives sessions.
 */
struct vug_inflight {
	int fd;			/* -1: none */
	u64 size;
	u16 queues;
	u16 queue_size;
};

struct vug_config {
	struct vug_range range[VUG_MAX_RANGES];
	size_t nranges;
	struct vug_file file[VUG_MAX_FILES];
	size_t nfiles;
	bool allow_log;
	bool require_seals;
	struct vug_inflight *inflight;
	void (*log)(void *ctx, enum vug_level level, const char *line);
	void *log_ctx;
};

/* How a session stands, or ended */
enum vug_status {
	VUG_RUNNING,
	VUG_HANGUP,		/* a peer closed between two messages */
	VUG_VIOLATION,		/* a peer broke the rules */
	VUG_SYSTEM,		/* the guard could not go on (memory, files) */
};

/*
 * A message and the descriptors that came with it. The descriptors belong to
 * the message: vug_msg_clear() closes those that nobody took over.
 */
struct vug_msg {
	struct vu_wire w;
	size_t done;		/* bytes read or written so far */
	int fds[VUG_MAX_FDS];
	unsigned int nfds;
};

/* One socket: the message being read from it, the one being written to it. */
struct vug_port {
	const char *name;
	int fd;
	struct vug_msg in;
	struct vug_msg out;
	bool writing;
};

struct vug_rule;

/*
 * A requester and a responder. There are two: front-end to back-end, and the
 * back-channel on which the back-end asks. At most one request is under way:
 * the next is not read before the answer has been delivered. So an answer is
 * always checked against the one request it can belong to, and the guard's own
 * acknowledgments come in order.
 */
struct vug_link {
	const char *name;
	const struct vug_rule *rules;
	size_t nrules;
	bool open;
	struct vug_port req;
	struct vug_port rsp;
	bool waiting;		/* for the answer to .asked */
	struct {
		u32 request;	/* as it was sent */
		u32 as;		/* ... and as it came */
		u32 flags;
		u32 key[6];	/* first words of the payload */
	} asked;
};

struct vug_held {
	u64 gpa;
	u64 size;
	u64 uaddr;
	u64 offset;	/* in its file */
	int fd;		/* -1: not kept */
};

struct vug_session {
	const struct vug_config *cfg;
	int proc_fd;		/* /proc/self/fd, to tell what a descriptor is */
	struct vug_link front;
	struct vug_link back;
	u64 features_offered;
	u64 features_acked;
	u64 proto_offered;
	u64 proto_acked;
	u64 proto_backend;	/* offered by the backend itself */
	bool tables;	/* regions come one by one, the backend takes tables */
	size_t slots;		/* that the backend has */
	struct vug_held held[VUG_MAX_REGIONS];	/* the backend knows of */
	size_t nheld;
	u64 answer;	/* of a request that the guard keeps */
	struct {
		u64 requests;
		u64 replies;
		u64 regions_passed;
		u64 regions_dropped;
		u64 kicks;	/* SET_VRING_KICK: rings that were started */
	} stats;
};

/**
 * vug_init() - start a session
 * @s: the session, of any content
 * @cfg: the rules; must outlive the session
 * @frontend: connected stream socket to the VMM
 * @backend: connected stream socket to the device
 *
 * Takes over both sockets, also when it fails.
 *
 * Return: 0, or -1 with errno set when /proc is not usable.
 */
int vug_init(struct vug_session *s, const struct vug_config *cfg, int frontend,
	     int backend);

/**
 * vug_poll() - wait for something to happen, and handle it
 * @s: the session
 * @wake_fd: returns when this becomes readable (-1: none)
 * @timeout_ms: as for poll(2)
 *
 * Return: VUG_RUNNING (also when @wake_fd woke it), or how the session ended.
 */
enum vug_status vug_poll(struct vug_session *s, int wake_fd, int timeout_ms);

/**
 * vug_fini() - end a session
 * @s: the session
 *
 * Closes every descriptor that the session holds; both peers see a hang-up.
 */
void vug_fini(struct vug_session *s);

/**
 * vug_range_error() - can a range be added to the allowed ones?
 * @cfg: the ranges so far
 * @r: the new one
 *
 * Return: NULL if so, else the reason why not.
 */
const char *vug_range_error(const struct vug_config *cfg,
			    const struct vug_range *r);

/**
 * vug_file_error() - can a file be added to the allowed ones?
 * @cfg: the files so far
 * @f: the new one, which need not exist
 *
 * Return: NULL if so, else the reason why not.
 */
const char *vug_file_error(const struct vug_config *cfg,
			   const struct vug_file *f);

#endif
