// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program as a child of the test; see program.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

void run_start(struct run *r, const char * const *args, int keep)
{
	const char *argv[32] = { PROGRAM };
	int p[2], n = 1;

	for (; args && args[n - 1] && n < 31; n++)
		argv[n] = args[n - 1];
	memset(r, 0, sizeof(*r));
	if (pipe2(p, O_CLOEXEC) < 0)
		die("pipe: %s", strerror(errno));
	r->pid = fork();
	if (!r->pid) {
		/* A test that fails leaves no guard behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(p[1], 1);
		dup2(p[1], 2);
		if (keep >= 0)
			fcntl(keep, F_SETFD, 0);
		execv(PROGRAM, (char **)(unsigned long)argv);
		_exit(127);
	}
	close(p[1]);
	r->out = p[0];
}

/* Everything the program says until it ends */
void run_end(struct run *r)
{
	size_t len = strlen(r->text);
	struct pollfd p = { .fd = r->out, .events = POLLIN };
	int st;

	for (;;) {
		ssize_t n;

		if (poll(&p, 1, HANG_MS) <= 0)
			die("the program does not end but says: %s", r->text);
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
void run_until(struct run *r, const char *what)
{
	size_t len = strlen(r->text);
	struct pollfd p = { .fd = r->out, .events = POLLIN };

	while (!strstr(r->text, what)) {
		ssize_t n = poll(&p, 1, HANG_MS) <= 0 ? 0 :
			    read(r->out, r->text + len,
				 sizeof(r->text) - 1 - len);

		if (n <= 0)
			die("the program did not say '%s' but: %s", what,
			    r->text);
		len += (size_t)n;
	}
}

static struct sockaddr_un addr_of(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%.80s", path_of(name));
	return a;
}

int sock_listen(const char *name)
{
	struct sockaddr_un a = addr_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(a.sun_path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 1) < 0)
		die("%s: %s", a.sun_path, strerror(errno));
	return fd;
}

int sock_accept(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, HANG_MS) <= 0)
		die("nobody connects");
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC);
}

int sock_connect(const char *name)
{
	struct sockaddr_un a = addr_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < HANG_MS / 10; i++) {
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
		usleep(10000);
	}
	die("cannot connect to %s: %s", a.sun_path, strerror(errno));
}

bool wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, HANG_MS) > 0;
}

void session_start(struct session *s, const char *extra)
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

void session_exchange(struct session *s)
{
	struct vug_msg m;
	u64 v = ~0ULL;

	send_msg(s->front, VU_GET_FEATURES, V, NULL, 0, NULL, 0);
	if (!wait_readable(s->back) || !recv_msg(s->back, &m))
		die("a request does not arrive");
	send_msg(s->back, VU_GET_FEATURES, ANSWER, &v, 8, NULL, 0);
	if (!wait_readable(s->front) || !recv_msg(s->front, &m))
		die("an answer does not arrive");
	if (m.w.p.u64 != ~VU_BIT(VU_F_LOG_ALL))
		die("the features arrive as 0x%llx", m.w.p.u64);
}

void session_close(struct session *s)
{
	if (s->front >= 0)
		close(s->front);
	if (s->back >= 0)
		close(s->back);
	close(s->listener);
}
