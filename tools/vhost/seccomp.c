// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-user-guard, the system calls: a table, and the filter made of it.
 *
 * A program that parses the messages of two peers should be able to do little
 * else. The guard needs few calls once its sockets listen, and always the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp.h"

#if defined(__x86_64__)
#define ARCH	AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH	AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH	AUDIT_ARCH_RISCV64
#else
#error "the audit architecture of this machine is not known here"
#endif

/* An int is the low half of a register, which comes first in memory. */
#define LOW_HALF(n)	(offsetof(struct seccomp_data, args) + 8 * (n))

struct call {
	unsigned int nr;
	int arg;		/* that is limited, or ANY */
	unsigned int value;	/* the only one that @arg may have */
};

#define ANY		(-1)
#define CALL(name)	{ __NR_##name, ANY, 0 }
#define CALL_WITH(name, arg, value) \
	{ __NR_##name, (arg), (unsigned int)(value) }

/* A session between connected sockets */
static const struct call session_calls[] = {
#ifdef __NR_poll
	CALL(poll),
#endif
	CALL(ppoll),
	CALL(restart_syscall),	/* poll() after SIGSTOP and SIGCONT */
	CALL(recvmsg),
	CALL(sendmsg),
	CALL(close),
	CALL(fstat),
	CALL_WITH(newfstatat, 3, AT_EMPTY_PATH),	/* fstat() as well */
	CALL(fstatfs),
	CALL_WITH(fcntl, 1, F_GET_SEALS),
	CALL_WITH(fcntl, 1, F_ADD_SEALS),
	CALL_WITH(fcntl, 1, F_DUPFD_CLOEXEC),
	CALL(memfd_create),	/* the file of requests in flight */
	CALL(ftruncate),
	CALL(pread64),
	CALL(pwrite64),
	CALL(readlinkat),	/* of /proc/self/fd */
	CALL(getsockopt),
	CALL_WITH(socketpair, 0, AF_UNIX),
	CALL(write),
	CALL(clock_gettime),	/* if the vDSO has none */
	CALL(exit_group),
};

static const struct call connecting_calls[] = {
	CALL_WITH(socket, 0, AF_UNIX),
	CALL(connect),
	CALL(accept4),
	CALL_WITH(newfstatat, 3, AT_SYMLINK_NOFOLLOW),
	CALL(unlinkat),
	CALL_WITH(prctl, 0, PR_SET_SECCOMP),	/* confine(), for less */
	/* /proc/self/fd: a descriptor that reads nothing */
	CALL_WITH(openat, 2, O_PATH | O_DIRECTORY | O_CLOEXEC),
};

/* --allow-file: fstatat() of a path, which reads nothing of a file */
static const struct call path_calls[] = {
	CALL_WITH(newfstatat, 3, 0),
};

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ENTRY_MAX	5
#define FILTER_MAX	(4 + 1 + ENTRY_MAX *				\
			 (ARRAY_SIZE(session_calls) +			\
			  ARRAY_SIZE(connecting_calls) +		\
			  ARRAY_SIZE(path_calls)))

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void emit(struct filter *f, unsigned short code, unsigned int k,
		 unsigned char jt, unsigned char jf)
{
	f->code[f->len++] = (struct sock_filter){ code, jt, jf, k };
}

static void load(struct filter *f, size_t offset)
{
	emit(f, BPF_LD | BPF_W | BPF_ABS, (unsigned int)offset, 0, 0);
}

static void skip_unless(struct filter *f, unsigned int value,
			unsigned char instructions)
{
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, value, 0, instructions);
}

static void end(struct filter *f, unsigned int action)
{
	emit(f, BPF_RET | BPF_K, action, 0, 0);
}

/* The number of the call is loaded when an entry begins, and when it ends. */
static void allow(struct filter *f, const struct call *c, size_t n)
{
	for (; n; c++, n--) {
		if (c->arg == ANY) {
			skip_unless(f, c->nr, 1);
			end(f, SECCOMP_RET_ALLOW);
			continue;
		}
		skip_unless(f, c->nr, 4);
		load(f, LOW_HALF((size_t)c->arg));
		skip_unless(f, c->value, 1);
		end(f, SECCOMP_RET_ALLOW);
		load(f, offsetof(struct seccomp_data, nr));
	}
}

int confine(bool connecting, bool paths)
{
	struct filter f = { .len = 0 };
	struct sock_fprog prog = { .filter = f.code };

	load(&f, offsetof(struct seccomp_data, arch));
	emit(&f, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	end(&f, SECCOMP_RET_KILL_PROCESS);
	load(&f, offsetof(struct seccomp_data, nr));
	allow(&f, session_calls, ARRAY_SIZE(session_calls));
	if (connecting)
		allow(&f, connecting_calls, ARRAY_SIZE(connecting_calls));
	if (paths)
		allow(&f, path_calls, ARRAY_SIZE(path_calls));
	end(&f, SECCOMP_RET_KILL_PROCESS);
	prog.len = f.len;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}
