/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session of the guard between a fake front-end and a fake back-end, all in
 * this process. A helper that cannot do what the test needs ends the process,
 * and with it the test.
 */
#ifndef _VHOST_TESTS_SESSION_H
#define _VHOST_TESTS_SESSION_H

#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "../guard.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

/* Nothing for a minute is a hang, however slow the machine is. */
#define HANG_MS		60000

#define V		VU_VERSION
#define NEED		(VU_VERSION | VU_NEED_REPLY)
#define ANSWER		(VU_VERSION | VU_REPLY)

/* The window of these tests, in the guest and in the front-end */
#define WIN		0x5c000000ULL
#define WIN_SIZE	0x10000ULL
#define WIN_UA		0x7f0000000000ULL

/* MQ RARP REPLY_ACK MTU BACKEND_REQ CROSS_ENDIAN CONFIG INFLIGHT RESET SLOTS STATUS */
#define PROTO_PASSED	0x1b27dULL

/* Queues of the device, and the file of their requests in flight */
#define QUEUES		2
#define QUEUE_SIZE	128
#define INFLIGHT_SIZE	8192ULL

void die(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
int count_fds(void);

/* The folder of this test: 0 if none was needed, or it had but the sockets. */
char *path_of(const char *name);
int remove_folder(void);

/* Descriptors of every kind */
int mem_fd(u64 size);
int event_fd(void);
int sock_fd(int type);
void sock_pair(int type, int p[2]);
int pipe_fd(void);
int path_fd(void);
int proc_mem_fd(void);
ino_t inode(int fd);

/* A session and its two peers; what was logged is one line. */
struct rig {
	struct vug_config cfg;
	struct vug_inflight inflight;
	struct vug_session s;
	enum vug_status st;
	int front;
	int back;
	char log[16384];
	size_t len;
};

void rig_connect(struct rig *r);
void rig_disconnect(struct rig *r);
void rig_open(struct rig *r);
void rig_plain(struct rig *r);
void rig_ready_proto(struct rig *r, bool log, u64 proto);
void rig_ready(struct rig *r);
void rig_close(struct rig *r);
enum vug_status pump(struct rig *r);

void send_part(int fd, const void *data, size_t len, const int *fds,
	       unsigned int nfds);
void send_msg(int fd, u32 request, u32 flags, const void *payload, u32 size,
	      const int *fds, unsigned int nfds);
bool recv_msg(int fd, struct vug_msg *m);
void drop_fds(struct vug_msg *m);
bool silent(int fd);
bool hung_up(int fd);
bool reaches(struct rig *r, u32 request, struct vug_msg *m);
void u64_exchange(struct rig *r, u32 request, u64 value, u64 *got);
void u64_set(struct rig *r, u32 request, u64 value);
void negotiate(struct rig *r, u64 proto);
struct vu_region window(void);
void add_region(struct rig *r, struct vu_region region, int fd, u32 flags);
u64 all_proto(const struct rig *r);

/* Each message that may pass */

enum kind { NOTHING, EVENT, MEMORY, SOCKET, IN_FLIGHT };

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
	bool keeps;		/* the guard keeps the descriptor */
};

/* The last one has no name. */
extern const struct spec specs[];

union vu_payload valid_payload(const struct spec *m);
int valid_fd(const struct spec *m);
unsigned int nfds_of(const struct spec *m);
unsigned int sent_fds(const struct spec *m);
union vu_payload sent_payload(const struct spec *m);
u32 flags_of(const struct spec *m);
void send_spec(struct rig *r, const struct spec *m, u32 flags, u32 size,
	       unsigned int nfds);
void send_valid(struct rig *r, const struct spec *m);

#endif
