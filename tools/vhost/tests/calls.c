// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system calls that the guard is confined to, and that they are enough.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../seccomp.h"
#include "guard_fixture.h"

FIXTURE(calls) { int fds; };
FIXTURE_SETUP(calls) { self->fds = start(); }
FIXTURE_TEARDOWN(calls) { finish(_metadata, self->fds); }

/* Make a call in a child that is confined; true if that kills the child. */
static bool kills(bool connecting, bool paths, long nr, const long *a)
{
	pid_t pid = fork();
	int st;

	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    confine(connecting, paths))
			_exit(1);
		syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		/* A sanitizer would add a call of its own to _exit(). */
		syscall(__NR_exit_group, 0);
	}
	if (pid < 0 || waitpid(pid, &st, 0) != pid)
		die("call %ld: no child", nr);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 1)
		die("call %ld: the child is not confined", nr);
	return WIFSIGNALED(st) && WTERMSIG(st) == SIGSYS;
}

static bool is_one_of(long nr, const long *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == nr)
			return true;
	return false;
}

/* Each call there is, with arguments that fit nothing */
TEST_F(calls, numbers)
{
	static const long session[] = {
#ifdef __NR_poll
		__NR_poll,
#endif
		__NR_ppoll, __NR_restart_syscall, __NR_recvmsg, __NR_sendmsg,
		__NR_close, __NR_fstat, __NR_fstatfs, __NR_readlinkat,
		__NR_getsockopt, __NR_write, __NR_clock_gettime,
		__NR_exit_group, __NR_memfd_create, __NR_ftruncate,
		__NR_pread64, __NR_pwrite64,
	};
	static const long connecting[] = {
		__NR_connect, __NR_accept4, __NR_unlinkat,
	};
	static const long none[6] = { -1, -1, -1, -1, -1, -1 };

	for (long nr = 0; nr < 500; nr++) {
		bool known = is_one_of(nr, session, ARRAY_SIZE(session));

#ifdef __x86_64__
		/* uretprobe and uprobe: no filter sees them */
		if (nr == 335 || nr == 336)
			continue;
#endif
		EXPECT_EQ(!known, kills(false, false, nr, none))
			TH_LOG("call %ld in a session", nr);
		known |= is_one_of(nr, connecting, ARRAY_SIZE(connecting));
		EXPECT_EQ(!known, kills(true, false, nr, none))
			TH_LOG("call %ld while connecting", nr);
	}
}

TEST_F(calls, arguments)
{
	static const struct {
		long nr, a[6];
		bool session, connecting;
	} cases[] = {
		{ __NR_socketpair, { AF_UNIX }, true, true },
		{ __NR_socketpair, { AF_INET }, false, false },
		{ __NR_fcntl, { -1, F_GET_SEALS }, true, true },
		{ __NR_fcntl, { -1, F_ADD_SEALS }, true, true },
		{ __NR_fcntl, { -1, F_DUPFD_CLOEXEC }, true, true },
		{ __NR_fcntl, { -1, F_DUPFD }, false, false },
		{ __NR_fcntl, { -1, F_SETFL }, false, false },
		{ __NR_fcntl, { -1, F_SETOWN }, false, false },
		{ __NR_newfstatat, { -1, 0, 0, AT_EMPTY_PATH }, true, true },
		{ __NR_newfstatat, { -1, 0, 0, 0 }, false, false },
		{ __NR_newfstatat, { -1, 0, 0, AT_SYMLINK_NOFOLLOW }, false,
		  true },
		{ __NR_socket, { AF_UNIX, -1 }, false, true },
		{ __NR_socket, { AF_INET, SOCK_STREAM }, false, false },
		{ __NR_socket, { AF_NETLINK, SOCK_RAW }, false, false },
		{ __NR_openat, { -1, 0, O_RDONLY | O_CLOEXEC }, false, false },
		{ __NR_openat, { -1, 0, O_RDWR }, false, false },
		{ __NR_openat, { -1, 0, O_PATH | O_DIRECTORY | O_CLOEXEC },
		  false, true },
		{ __NR_mmap, { 0, 4096, 7, 0x22, -1 }, false, false },
		{ __NR_execve, { 0 }, false, false },
#ifdef __x86_64__
		/* x32: the same arch, other numbers */
		{ 0x40000000 | __NR_close, { -1 }, false, false },
#endif
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(!cases[i].session,
			  kills(false, false, cases[i].nr, cases[i].a))
			TH_LOG("case %zu in a session", i);
		EXPECT_EQ(!cases[i].connecting,
			  kills(true, false, cases[i].nr, cases[i].a))
			TH_LOG("case %zu while connecting", i);
	}
}

/* With --allow-file a path can be looked up, but nothing be opened. */
TEST_F(calls, paths)
{
	static const long look_up[6] = { -1, 0, 0, 0 };
	static const long link[6] = { -1, 0, 0, AT_SYMLINK_NOFOLLOW };
	static const long open[6] = { -1, 0, O_PATH | O_CLOEXEC };

	for (int connecting = 0; connecting < 2; connecting++) {
		EXPECT_TRUE(kills(connecting, false, __NR_newfstatat, look_up));
		EXPECT_FALSE(kills(connecting, true, __NR_newfstatat, look_up));
		EXPECT_EQ(!connecting,
			  kills(connecting, true, __NR_newfstatat, link));
		EXPECT_TRUE(kills(connecting, true, __NR_openat, open));
	}
}

/* A number of /proc/PID/status */
static int status_of(pid_t pid, const char *what)
{
	char path[64], text[4096] = "";
	char *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		die("%s", path);
	close(fd);
	at = strstr(text, what);
	return at ? atoi(at + strlen(what)) : -1;
}

/* The program confines itself, once more when it makes no more connections. */
TEST_F(calls, confined)
{
	static const char * const how[] = { "--loop", "--once" };

	for (int i = 0; i < 2; i++) {
		struct session s;
		int filters;

		session_start(&s, how[i]);
		session_exchange(&s);
		EXPECT_EQ(2, status_of(s.run.pid, "Seccomp:")) TH_LOG("%d", i);
		filters = status_of(s.run.pid, "Seccomp_filters:");
		EXPECT_TRUE(filters < 0 ||
			    filters - status_of(getpid(), "Seccomp_filters:") ==
			    i + 1)
			TH_LOG("%s: %d filters", how[i], filters);
		kill(s.run.pid, SIGTERM);
		run_end(&s.run);
		EXPECT_EQ(0, s.run.status) TH_LOG("%s", s.run.text);
		session_close(&s);
	}
}

/* Send a message through the program; @got is what the back-end gets of it. */
static void through(struct session *s, const struct spec *m, u32 flags,
		    const union vu_payload *p, struct vug_msg *got)
{
	u32 reply = m->reply ? m->reply : flags & VU_NEED_REPLY ? 8 : 0;
	int fd = valid_fd(m);
	struct vug_msg answer;
	u64 all = ~0ULL;

	send_msg(s->front, m->request, flags, p, m->size, &fd, nfds_of(m));
	if (!wait_readable(s->back) || !recv_msg(s->back, got))
		die("%s does not arrive", m->name);
	if (!reply)
		return;
	send_msg(s->back, m->request, ANSWER, reply == 8 &&
		 m->request != VU_GET_VRING_BASE ? (void *)&all : (void *)p,
		 reply, NULL, 0);
	if (!wait_readable(s->front) || !recv_msg(s->front, &answer))
		die("the answer to %s does not arrive", m->name);
}

static const struct spec *spec_of(u32 request)
{
	const struct spec *m = specs;

	while (m->request != request)
		m++;
	return m;
}

/* All features, through the program */
static void negotiate_through(struct session *s)
{
	static const struct { u32 request; u64 value; } steps[] = {
		{ VU_GET_FEATURES, 0 }, { VU_GET_PROTOCOL_FEATURES, 0 },
		{ VU_SET_PROTOCOL_FEATURES, PROTO_PASSED |
					    VU_BIT(VU_PF_LOG_SHMFD) },
		{ VU_SET_FEATURES, VU_BIT(VU_F_PROTOCOL_FEATURES) |
				   VU_BIT(VU_F_ACCESS_PLATFORM) },
	};
	struct vug_msg got;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		union vu_payload p = { .u64 = steps[i].value };

		through(s, spec_of(steps[i].request), V, &p, &got);
	}
}

/* The calls that the guard may make are enough for each message. */
TEST_F(calls, every_message)
{
	struct vu_mem_reg far = { 0, { 0, 1, 0, 0 } };
	struct session s;
	struct vug_msg got;
	int channel = -1, fd;

	session_start(&s, "--allow-log");
	/* The kernel goes on with poll() by a call of its own. */
	kill(s.run.pid, SIGSTOP);
	waitpid(s.run.pid, NULL, WUNTRACED);
	kill(s.run.pid, SIGCONT);
	negotiate_through(&s);
	for (const struct spec *m = specs; m->name; m++) {
		union vu_payload p = valid_payload(m);

		/* life.loop_inflight has these. */
		if (m->fd == IN_FLIGHT || m->request == VU_RESET_OWNER ||
		    m->request == VU_SET_FEATURES ||
		    m->request == VU_SET_PROTOCOL_FEATURES)
			continue;
		through(&s, m, flags_of(m), &p, &got);
		if (m->request == VU_SET_BACKEND_REQ_FD && got.nfds == 1)
			channel = got.fds[--got.nfds];
		drop_fds(&got);
	}
	EXPECT_LE(0, channel);
	fd = mem_fd(1);
	send_msg(s.front, VU_ADD_MEM_REG, NEED, &far, sizeof(far), &fd, 1);
	EXPECT_TRUE(wait_readable(s.front) && recv_msg(s.front, &got) &&
		    got.w.hdr.request == VU_ADD_MEM_REG);
	close(channel);
	close(s.front);
	s.front = -1;
	run_end(&s.run);
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	session_close(&s);
}

TEST_HARNESS_MAIN
