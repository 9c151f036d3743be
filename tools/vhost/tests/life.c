// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of the program: sessions, signals, limits.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "guard_fixture.h"

FIXTURE(life) { int fds; };
FIXTURE_SETUP(life) { self->fds = start(); }
FIXTURE_TEARDOWN(life) { finish(_metadata, self->fds); }

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

TEST_F(life, exit_status)
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
		EXPECT_EQ(want, s.run.status)
			TH_LOG("end %d: status %d: %s", how, s.run.status,
			       s.run.text);
		EXPECT_NE(0, access(path_of("front"), F_OK))
			TH_LOG("end %d: socket left", how);
		EXPECT_TRUE(how == 0 || hung_up(s.front)) TH_LOG("end %d", how);
		EXPECT_TRUE(how == 1 || hung_up(s.back)) TH_LOG("end %d", how);
		session_close(&s);
	}
}

TEST_F(life, once_stops_listening)
{
	struct session s;

	session_start(&s, NULL);
	EXPECT_NE(0, access(path_of("front"), F_OK))
		TH_LOG("a second VMM could wait");
	session_close(&s);
	run_end(&s.run);
}

TEST_F(life, loop)
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
		EXPECT_TRUE(wait_readable(s.back) && hung_up(s.back))
			TH_LOG("round %d", i);
		close(s.back);
		if (i == 1)
			close(s.front);
		s.front = sock_connect("front");
		s.back = sock_accept(s.listener);
	}
	kill(s.run.pid, SIGTERM);
	run_end(&s.run);
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	EXPECT_NE(0, access(path_of("front"), F_OK)) TH_LOG("socket left");
	session_close(&s);
}

/* A new session of @s, which must have been started with --loop */
static void session_again(struct session *s)
{
	close(s->front);
	close(s->back);
	s->front = sock_connect("front");
	s->back = sock_accept(s->listener);
}

static void session_kick(struct session *s)
{
	int fd = event_fd();
	struct vug_msg m;
	u64 ring = 0;

	send_msg(s->front, VU_SET_VRING_KICK, V, &ring, 8, &fd, 1);
	if (!wait_readable(s->back) || !recv_msg(s->back, &m) || m.nfds != 1)
		die("a kick does not arrive");
	drop_fds(&m);
}

/* Rubbish of the back-end, and the end of the session */
static void session_rubbish(struct session *s)
{
	send_part(s->back, "rubbish, rubbish", 16, NULL, 0);
	if (!wait_readable(s->front) || !hung_up(s->front))
		die("the session goes on");
}

static int count_text(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		text++;
		n++;
	}
	return n;
}

/* A back-end that sends rubbish and comes again has to wait, ever longer. */
TEST_F(life, loop_backoff)
{
	static const char * const waits[] = {
		"begins in 100 ms", "begins in 200 ms", "begins in 400 ms",
	};
	struct session s;

	session_start(&s, "--loop");
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		session_rubbish(&s);
		run_until(&s.run, waits[i]);
		session_again(&s);
	}
	/* A session that starts a ring forgives, however it ends. */
	session_kick(&s);
	session_rubbish(&s);
	session_again(&s);
	session_rubbish(&s);
	for (int i = 0; i < 2; i++) {
		s.run.text[0] = '\0';
		run_until(&s.run, i ? "begins in 200 ms" : "begins in 100 ms");
		session_again(&s);
		session_rubbish(&s);
	}
	kill(s.run.pid, SIGTERM);
	run_end(&s.run);
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	session_close(&s);
}

/* Errors that nothing delays have a budget, too. */
TEST_F(life, loop_errors)
{
	const char * const args[] = {
		"--listen", path_of("front"), "--connect", path_of("back"),
		"--allow", "0+1", "--loop", "--quiet", NULL,
	};
	const int rounds = 150;
	int errors, lost = 0;
	time_t start = time(NULL), took;
	struct session s;

	s.listener = sock_listen("back");
	run_start(&s.run, args, -1);
	s.front = sock_connect("front");
	s.back = sock_accept(s.listener);
	for (int i = 0; i < rounds; i++) {
		session_kick(&s);
		session_rubbish(&s);
		session_again(&s);
		ASSERT_GE(HANG_MS / 1000, time(NULL) - start)
			TH_LOG("sessions that did work are delayed");
	}
	kill(s.run.pid, SIGTERM);
	run_end(&s.run);
	took = time(NULL) - start + 1;
	errors = count_text(s.run.text, "error: ");
	for (char *p = s.run.text; (p = strstr(p, " messages left out")); p++) {
		char *n = p;

		while (n[-1] >= '0' && n[-1] <= '9')
			n--;
		lost += atoi(n);
	}
	EXPECT_LE(errors, 40 + 2 * took) TH_LOG("in %d s", (int)took);
	EXPECT_EQ(rounds, errors + lost)
		TH_LOG("%d errors, %d left out", errors, lost);
	session_close(&s);
}

/* Send a request; @got is what the back-end gets. */
static void session_ask(struct session *s, u32 request, const void *payload,
			u32 size, int fd, struct vug_msg *got)
{
	send_msg(s->front, request, V, payload, size, &fd, fd >= 0);
	if (!wait_readable(s->back) || !recv_msg(s->back, got))
		die("request %u does not arrive", request);
}

/* Answer it; @got is what the front-end gets. */
static void session_answer(struct session *s, u32 request, const void *payload,
			   u32 size, int fd, struct vug_msg *got)
{
	send_msg(s->back, request, ANSWER, payload, size, &fd, fd >= 0);
	if (!wait_readable(s->front) || !recv_msg(s->front, got))
		die("the answer to %u does not arrive", request);
}

static void session_negotiate(struct session *s, u64 proto)
{
	struct vug_msg m;

	session_exchange(s);
	session_ask(s, VU_GET_PROTOCOL_FEATURES, NULL, 0, -1, &m);
	session_answer(s, VU_GET_PROTOCOL_FEATURES, &proto, 8, -1, &m);
	session_ask(s, VU_SET_PROTOCOL_FEATURES, &proto, 8, -1, &m);
}

/* A back-end is killed while it writes; the next one has what it had noted. */
TEST_F(life, loop_inflight)
{
	struct vu_inflight f = { .size = 4096, .queues = QUEUES,
				 .queue_size = QUEUE_SIZE };
	struct vug_msg front, back;
	struct session s;
	char mark[9] = "";

	session_start(&s, "--loop");
	session_negotiate(&s, VU_BIT(VU_PF_INFLIGHT_SHMFD));
	session_ask(&s, VU_GET_INFLIGHT_FD, &f, sizeof(f), -1, &back);
	session_answer(&s, VU_GET_INFLIGHT_FD, &f, sizeof(f), mem_fd(4096),
		       &front);
	ASSERT_EQ(1, front.nfds);
	for (int i = 0; i < 3; i++) {
		session_ask(&s, VU_SET_INFLIGHT_FD, &f, sizeof(f),
			    fcntl(front.fds[0], F_DUPFD_CLOEXEC, 0), &back);
		ASSERT_EQ(1, back.nfds);
		if (i) {
			EXPECT_EQ(9, pread(back.fds[0], mark, 9, 0));
			EXPECT_EQ(0, memcmp(mark, "in flight", 9))
				TH_LOG("back-end %d", i);
		}
		EXPECT_EQ(9, pwrite(back.fds[0], "in flight", 9, 0));
		drop_fds(&back);
		session_kick(&s);
		session_rubbish(&s);
		session_again(&s);
		session_negotiate(&s, VU_BIT(VU_PF_INFLIGHT_SHMFD));
	}
	drop_fds(&front);
	kill(s.run.pid, SIGTERM);
	run_end(&s.run);
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	session_close(&s);
}

TEST_F(life, signal_waiting)
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
		EXPECT_EQ(0, r.status) TH_LOG("%d: %s", r.status, r.text);
		EXPECT_NE(0, access(path_of("front"), F_OK))
			TH_LOG("socket left");
		if (fd >= 0)
			close(fd);
	}
	/* The VMM goes before the device is there. */
	run_start(&r, args, -1);
	fd = sock_connect("front");
	run_until(&r, "waiting for the back-end");
	close(fd);
	run_end(&r);
	EXPECT_EQ(0, r.status) TH_LOG("%d: %s", r.status, r.text);
}

TEST_F(life, timeout)
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
	EXPECT_EQ(1, r.status);
	EXPECT_NE(NULL, strstr(r.text, "nobody: the back-end was not there"))
		TH_LOG("%s", r.text);
	EXPECT_TRUE(hung_up(fd)) TH_LOG("front-end kept");
	close(fd);
}

/* Nobody can fill the log: neither a guest nor a back-end. */
TEST_F(life, log_limit)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct session s;
	struct vug_msg m;
	int lines = 0;

	session_start(&s, NULL);
	for (int i = 0; i < 2000; i++) {
		int fd = mem_fd(1);

		send_msg(s.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
		ASSERT_TRUE(wait_readable(s.back) && recv_msg(s.back, &m))
			TH_LOG("%d", i);
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
	EXPECT_TRUE(lines > 50 && lines < 600) TH_LOG("%d lines", lines);
	EXPECT_NE(NULL, strstr(s.run.text, "left out"))
		TH_LOG("%s", s.run.text);
}

TEST_F(life, program_fds)
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
		EXPECT_TRUE(wait_readable(s.back) && recv_msg(s.back, &m) &&
			    m.nfds == 1)
			TH_LOG("kick");
		drop_fds(&m);
	}
	session_exchange(&s);
	after = count_fds_of(s.run.pid);
	EXPECT_EQ(before, after);
	session_close(&s);
	run_end(&s.run);
}

TEST_HARNESS_MAIN
