// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-user-guard, the program: command line, sockets, log, signals. guard.c
 * decides which messages pass between the two sockets.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "seccomp.h"

#define RETRY_MS	50

/*
 * --loop: after a session that did no work the next one waits, twice as long
 * each time; a session that started a ring begins anew.
 */
#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	5000

enum exit_status {
	EXIT_CLEAN	= 0,	/* a peer hung up, or a signal came */
	EXIT_SYSTEM	= 1,
	EXIT_USAGE	= 2,
	EXIT_VIOLATION	= 3,
};

enum how { NONE, LISTEN, CONNECT, INHERIT };

/* One side: how its connection comes about */
struct side {
	const char *name;
	const char *option;	/* the option that gave @how */
	enum how how;
	const char *path;
	int fd;			/* INHERIT: the connection; LISTEN: the listener */
	dev_t dev;		/* of the socket that was made */
	ino_t ino;
};

/* A number of lines at once, then @rate a second */
struct log_budget {
	int burst;
	int rate;
	int left;
	time_t since;
};

struct guard {
	struct vug_config cfg;
	struct vug_inflight inflight;
	struct side frontend;
	struct side backend;
	const char *name;
	bool loop;
	bool quiet;
	bool verbose;
	unsigned int timeout;	/* seconds until the other program is there */
	mode_t mode;		/* of the sockets made */
	int log_fd;
	struct log_budget errors;	/* and how sessions ended */
	struct log_budget others;
	u64 log_lost;
	int signal_fd;
};

/*
 * A guest or a back-end can cause messages at will, but not fill a disk. Errors
 * have a budget of their own, so that other messages cannot hide them.
 */
static bool log_allowed(struct guard *g, struct log_budget *b, time_t now)
{
	if (now > b->since) {
		long long more = (now - b->since) * b->rate;

		b->left = more > b->burst - b->left ? b->burst :
						      b->left + (int)more;
		b->since = now;
	}
	if (b->left > 0) {
		b->left--;
		return true;
	}
	g->log_lost++;
	return false;
}

/* One write, and no memory from the heap, as dprintf() takes it */
static void log_write(const struct guard *g, const struct timespec *t,
		      const char *label, const char *line)
{
	char buf[1024];
	int n = snprintf(buf, sizeof(buf), "[%5lld.%03ld] %.200s: %s%s\n",
			 (long long)t->tv_sec, t->tv_nsec / 1000000, g->name,
			 label, line);

	/* A line that does not fit on a disk is lost. */
	if (write(g->log_fd, buf, (size_t)n) < 0)
		return;
}

/* Say how many lines were left out before this one, or before the end. */
static void log_flush_lost(struct guard *g, const struct timespec *t)
{
	char line[64];

	if (!g->log_lost)
		return;
	snprintf(line, sizeof(line), "%llu messages left out", g->log_lost);
	log_write(g, t, "", line);
	g->log_lost = 0;
}

static void log_line(void *ctx, enum vug_level level, const char *line)
{
	static const char * const label[] = {
		[VUG_ERROR] = "error: ", [VUG_REFUSED] = "refused: ",
		[VUG_END] = "", [VUG_INFO] = "", [VUG_DEBUG] = "debug: ",
	};
	struct guard *g = ctx;
	struct log_budget *budget = level == VUG_ERROR || level == VUG_END ?
				    &g->errors : &g->others;
	struct timespec t;

	if ((level == VUG_DEBUG && !g->verbose) ||
	    ((level == VUG_INFO || level == VUG_END) && g->quiet))
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	if (!g->verbose && !log_allowed(g, budget, t.tv_sec))
		return;
	log_flush_lost(g, &t);
	log_write(g, &t, label[level], line);
}

#define say(g, level, ...)						\
	do {								\
		char line_[512];					\
									\
		snprintf(line_, sizeof(line_), __VA_ARGS__);		\
		log_line(g, level, line_);				\
	} while (0)

#define error(g, ...)		say(g, VUG_ERROR, __VA_ARGS__)

/* The command line */

static const char help[] =
"usage: vhost-user-guard SIDES --allow ADDR+SIZE | --allow-file PATH [...]\n"
"                        [OPTION...]\n"
"\n"
"Stand between a VMM (the front-end) and a vhost-user device (the back-end) and\n"
"let the device have only the guest memory that it is allowed to have.\n"
"\n"
"Sides, one of each:\n"
"  --listen PATH            wait for the VMM on a new socket; QEMU:\n"
"                           -chardev socket,id=c,path=PATH\n"
"  --frontend-connect PATH  connect to the VMM; QEMU: ...,path=PATH,server=on\n"
"  --frontend-fd N          the VMM's connection, inherited\n"
"  --connect PATH           connect to the device's socket\n"
"  --backend-listen PATH    wait for the device on a new socket\n"
"  --backend-fd N           the device's connection, inherited\n"
"\n"
"Rules:\n"
"  --allow ADDR+SIZE   guest-physical range that the device may have. Numbers are\n"
"                      decimal or 0x-hexadecimal, with K, M, G or T behind:\n"
"                      --allow 0x5c000000+32M. May be given up to 64 times; the\n"
"                      ranges may touch but not overlap. A memory region passes\n"
"                      only if it lies wholly inside one range and its file\n"
"                      (memfd, tmpfs or hugetlbfs) is no larger than the region.\n"
"  --allow-file PATH[,size=BYTES]\n"
"                      file that the device may have, wherever the guest has it, as\n"
"                      the memory of a PCI BAR. A memory region passes as well if its\n"
"                      file is the one that PATH names when the region comes, and\n"
"                      none of it ends behind BYTES (default: the file's size). The\n"
"                      device gets the whole file: one larger than BYTES is not\n"
"                      passed. For a memfd, PATH is /proc/PID/fd/N. May be given up\n"
"                      to 64 times; PATH has no comma.\n"
"  --allow-log         let the dirty log of a live migration pass. It is one file\n"
"                      for all devices of the guest.\n"
"  --require-seals     drop regions whose file is not sealed against growing and\n"
"                      shrinking (QEMU seals a memory-backend-memfd by itself)\n"
"\n"
"Running:\n"
"  --once              serve one session, then exit (default)\n"
"  --loop              serve one session after the other until SIGTERM; wait up to\n"
"                      5 s after one in which no ring was started\n"
"  --timeout SECONDS   wait this long for a socket to connect to, and for the\n"
"                      device (default 30; 0: for ever)\n"
"  --mode OCTAL        permissions of new sockets (default 0600)\n"
"  --log FILE          append messages to FILE (default: stderr)\n"
"  --name NAME         begin each message with NAME\n"
"  --quiet             only errors and what was held back\n"
"  --verbose           also each message of the protocol\n"
"  --help, --version\n"
"\n"
"Exit status: 0 a side hung up, or SIGTERM or SIGINT came; 1 something that the\n"
"guard needs failed (socket, time-out, memory); 2 wrong arguments; 3 a side broke\n"
"the rules. With --loop a session that ends in 1 or 3 is only logged.\n";

static noreturn void usage(const char *option, const char *arg,
			   const char *reason)
{
	fprintf(stderr, "vhost-user-guard: %s%s%s: %s\n", option,
		arg ? " " : "", arg ? arg : "", reason);
	fputs("Try 'vhost-user-guard --help'.\n", stderr);
	exit(EXIT_USAGE);
}

/* A number with an optional suffix; NULL, or what is wrong with it. */
static const char *parse_size(const char *s, const char **end, u64 *value)
{
	static const char suffix[] = "KMGT";
	const char *at;
	char *e;

	/* strtoull() would take a sign and blanks, and octal. */
	if (*s < '0' || *s > '9')
		return "a number is missing";
	errno = 0;
	*value = strtoull(s, &e, s[0] == '0' && (s[1] | 0x20) == 'x' ? 16 : 10);
	if (errno)
		return "a number does not fit into 64 bits";
	at = *e ? strchr(suffix, *e & ~0x20) : NULL;
	if (at) {
		int shift = 10 * (int)(at - suffix + 1);

		if (*value > ULLONG_MAX >> shift)
			return "a number does not fit into 64 bits";
		*value <<= shift;
		e++;
	}
	*end = e;
	return NULL;
}

static void parse_allow(struct guard *g, const char *arg)
{
	struct vug_range r;
	const char *reason, *p;

	reason = parse_size(arg, &p, &r.start);
	if (!reason && *p != '+')
		reason = "expected ADDR+SIZE, as in 0x5c000000+32M";
	if (!reason)
		reason = parse_size(p + 1, &p, &r.size);
	if (!reason && *p)
		reason = "expected ADDR+SIZE, as in 0x5c000000+32M";
	if (!reason)
		reason = vug_range_error(&g->cfg, &r);
	if (reason)
		usage("--allow", arg, reason);
	g->cfg.range[g->cfg.nranges++] = r;
}

/* A path with a comma could be a misspelt size: take none. */
static void parse_allow_file(struct guard *g, char *arg)
{
	static const char expected[] =
		"expected PATH or PATH,size=BYTES, as in /dev/shm/window,size=16M";
	char *comma = strchr(arg, ',');
	struct vug_file f = { .path = arg };
	const char *reason = NULL, *p;

	if (comma && strncmp(comma, ",size=", 6))
		usage("--allow-file", arg, expected);
	if (comma) {
		reason = parse_size(comma + 6, &p, &f.size);
		if (!reason && *p)
			reason = expected;
		if (!reason && !f.size)
			reason = "the size is zero";
		if (reason)
			usage("--allow-file", arg, reason);
		*comma = '\0';
	}
	reason = vug_file_error(&g->cfg, &f);
	if (reason)
		usage("--allow-file", arg, reason);
	g->cfg.file[g->cfg.nfiles++] = f;
}

static unsigned int parse_uint(const char *option, const char *arg, int base,
			       unsigned long max)
{
	unsigned long v;
	char *e;

	errno = 0;
	v = strtoul(arg, &e, base);
	if (*arg < '0' || *arg > '9' || *e || errno)
		usage(option, arg, base == 8 ? "not an octal number" :
					       "not a number");
	if (v > max)
		usage(option, arg, "the number is too large");
	return (unsigned int)v;
}

static bool is_unix_stream(int fd)
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

static void set_side(struct side *s, const char *option, enum how how,
		     const char *arg)
{
	struct sockaddr_un a;

	if (s->how != NONE)
		usage(option, arg, "the same side is given twice");
	s->option = option;
	s->how = how;
	if (how == INHERIT) {
		s->fd = (int)parse_uint(option, arg, 10, INT_MAX);
		if (!is_unix_stream(s->fd) ||
		    fcntl(s->fd, F_SETFD, FD_CLOEXEC) < 0)
			usage(option, arg,
			      "not an inherited Unix stream socket");
		return;
	}
	if (!*arg)
		usage(option, arg, "the path is empty");
	if (strlen(arg) >= sizeof(a.sun_path))
		usage(option, arg, "the path is too long for a Unix socket");
	s->path = arg;
}

enum {
	OPT_LISTEN = 256, OPT_FRONTEND_CONNECT, OPT_FRONTEND_FD, OPT_CONNECT,
	OPT_BACKEND_LISTEN, OPT_BACKEND_FD, OPT_ALLOW, OPT_ALLOW_FILE,
	OPT_ALLOW_LOG, OPT_REQUIRE_SEALS, OPT_ONCE, OPT_LOOP, OPT_TIMEOUT,
	OPT_MODE, OPT_LOG, OPT_NAME, OPT_QUIET, OPT_VERBOSE, OPT_HELP, OPT_VERSION,
};

static const struct option options[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "frontend-connect", required_argument, NULL, OPT_FRONTEND_CONNECT },
	{ "frontend-fd", required_argument, NULL, OPT_FRONTEND_FD },
	{ "connect", required_argument, NULL, OPT_CONNECT },
	{ "backend-listen", required_argument, NULL, OPT_BACKEND_LISTEN },
	{ "backend-fd", required_argument, NULL, OPT_BACKEND_FD },
	{ "allow", required_argument, NULL, OPT_ALLOW },
	{ "allow-file", required_argument, NULL, OPT_ALLOW_FILE },
	{ "allow-log", no_argument, NULL, OPT_ALLOW_LOG },
	{ "require-seals", no_argument, NULL, OPT_REQUIRE_SEALS },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "loop", no_argument, NULL, OPT_LOOP },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ }
};

/* getopt_long() takes unique beginnings: with --allow that is a trap. */
static void check_spelling(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const struct option *o;
		size_t len = strcspn(argv[i], "=");

		if (!strcmp(argv[i], "--"))
			break;
		if (strncmp(argv[i], "--", 2))
			usage(argv[i], NULL, "not an option");
		for (o = options; o->name; o++)
			if (strlen(o->name) == len - 2 &&
			    !strncmp(o->name, argv[i] + 2, len - 2))
				break;
		if (!o->name)
			usage(argv[i], NULL, "no such option");
		if (o->has_arg == required_argument && !argv[i][len])
			i++;
		else if (o->has_arg == no_argument && argv[i][len])
			usage(argv[i], NULL, "the option takes no argument");
		if (i == argc)
			usage(argv[i - 1], NULL, "the argument is missing");
	}
}

static void parse_args(struct guard *g, int argc, char **argv)
{
	const char *log = "stderr";
	int c;

	check_spelling(argc, argv);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case OPT_LISTEN:
			set_side(&g->frontend, "--listen", LISTEN, optarg);
			break;
		case OPT_FRONTEND_CONNECT:
			set_side(&g->frontend, "--frontend-connect", CONNECT,
				 optarg);
			break;
		case OPT_FRONTEND_FD:
			set_side(&g->frontend, "--frontend-fd", INHERIT,
				 optarg);
			break;
		case OPT_CONNECT:
			set_side(&g->backend, "--connect", CONNECT, optarg);
			break;
		case OPT_BACKEND_LISTEN:
			set_side(&g->backend, "--backend-listen", LISTEN,
				 optarg);
			break;
		case OPT_BACKEND_FD:
			set_side(&g->backend, "--backend-fd", INHERIT, optarg);
			break;
		case OPT_ALLOW:
			parse_allow(g, optarg);
			break;
		case OPT_ALLOW_FILE:
			parse_allow_file(g, optarg);
			break;
		case OPT_ALLOW_LOG:
			g->cfg.allow_log = true;
			break;
		case OPT_REQUIRE_SEALS:
			g->cfg.require_seals = true;
			break;
		case OPT_ONCE:
			g->loop = false;
			break;
		case OPT_LOOP:
			g->loop = true;
			break;
		case OPT_TIMEOUT:
			g->timeout = parse_uint("--timeout", optarg, 10,
						INT_MAX / 1000);
			break;
		case OPT_MODE:
			g->mode = parse_uint("--mode", optarg, 8, 0777);
			break;
		case OPT_LOG:
			log = optarg;
			break;
		case OPT_NAME:
			g->name = optarg;
			break;
		case OPT_QUIET:
			g->quiet = true;
			break;
		case OPT_VERBOSE:
			g->verbose = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			exit(EXIT_CLEAN);
		case OPT_VERSION:
			puts("vhost-user-guard " VERSION);
			exit(EXIT_CLEAN);
		default:
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc)
		usage(argv[optind], NULL, "not an option");
	if (g->frontend.how == NONE)
		usage("--listen", NULL,
		      "missing (or --frontend-connect, --frontend-fd)");
	if (g->backend.how == NONE)
		usage("--connect", NULL,
		      "missing (or --backend-listen, --backend-fd)");
	if (!g->cfg.nranges && !g->cfg.nfiles)
		usage("--allow", NULL,
		      "missing (or --allow-file): nothing could ever pass");
	if (g->loop && (g->frontend.how == INHERIT ||
			g->backend.how == INHERIT))
		usage("--loop", NULL, "a connection is inherited only once");
	if (g->frontend.path && g->backend.path &&
	    !strcmp(g->frontend.path, g->backend.path))
		usage(g->backend.option, g->backend.path,
		      "both sides have the same socket");
	if (g->quiet && g->verbose)
		usage("--quiet", NULL, "contradicts --verbose");
	if (!strcmp(log, "stderr"))
		return;
	g->log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
			 O_NOCTTY, 0640);
	if (g->log_fd < 0)
		usage("--log", log, strerror(errno));
}

/* Connections */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	/* set_side() has checked that the path fits. */
	memcpy(a.sun_path, path, strlen(path) + 1);
	return a;
}

static int try_connect(const char *path)
{
	struct sockaddr_un a = address(path);
	int fd, e;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* Remove a socket that nobody listens on any more: it is in the way. */
static int remove_stale(struct guard *g, const struct side *s)
{
	struct stat st;
	int fd;

	if (lstat(s->path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		error(g, "%s %s: exists and is not a socket", s->option,
		      s->path);
		return -1;
	}
	fd = try_connect(s->path);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || errno != ECONNREFUSED) {
		error(g, "%s %s: another program listens there", s->option,
		      s->path);
		return -1;
	}
	return unlink(s->path);
}

static int side_listen(struct guard *g, struct side *s)
{
	struct sockaddr_un a;
	struct stat st;
	mode_t old;
	int ret;

	if (s->how != LISTEN)
		return 0;
	if (remove_stale(g, s) < 0)
		return -1;
	a = address(s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0) {
		error(g, "socket: %s", strerror(errno));
		return -1;
	}
	/* The socket must never exist with more permissions than wanted. */
	old = umask(~g->mode & 0777);
	ret = bind(s->fd, (struct sockaddr *)&a, sizeof(a));
	umask(old);
	if (!ret && !lstat(s->path, &st)) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	if (ret || listen(s->fd, 1) < 0) {
		error(g, "%s %s: %s", s->option, s->path, strerror(errno));
		return -1;
	}
	return 0;
}

static void side_unlisten(struct side *s)
{
	struct stat st;

	if (s->how != LISTEN || s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
	/* Remove only our own: another socket may be in its place by now. */
	if (s->ino && !fstatat(AT_FDCWD, s->path, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == s->dev && st.st_ino == s->ino)
		unlinkat(AT_FDCWD, s->path, 0);
}

enum wait { READY, TIMEOUT, SIGNALLED, PEER_GONE };

/*
 * Wait for @fd (-1: only for time to pass), a signal, or @peer, the side that
 * is already there, to go.
 */
static enum wait wait_for(struct guard *g, int fd, int peer, int ms)
{
	struct pollfd p[] = {
		{ .fd = g->signal_fd, .events = POLLIN },
		{ .fd = peer, .events = POLLRDHUP },
		{ .fd = fd, .events = POLLIN },
	};

	if (poll(p, 3, ms) < 0)
		return TIMEOUT;
	if (p[0].revents)
		return SIGNALLED;
	if (p[1].revents)
		return PEER_GONE;
	return p[2].revents ? READY : TIMEOUT;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/*
 * Get the connection to a side. Return: its descriptor, or -1 and in @status
 * how the program is to end. Without @limited there is no time-out.
 */
static int side_get(struct guard *g, struct side *s, int peer, bool limited,
		    enum exit_status *status)
{
	long long end = now_ms() + g->timeout * 1000LL;
	bool said = false;

	limited &= g->timeout != 0;
	for (;;) {
		enum wait w;
		int fd;

		switch (s->how) {
		case INHERIT:
			return s->fd;
		case CONNECT:
			fd = try_connect(s->path);
			break;
		default:
			fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		}
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != ECONNREFUSED &&
		    errno != ENOENT && errno != EINTR &&
		    errno != ECONNABORTED) {
			error(g, "%s %s: %s", s->option, s->path,
			      strerror(errno));
			*status = EXIT_SYSTEM;
			return -1;
		}
		if (!said)
			say(g, VUG_INFO, "waiting for the %s on %s", s->name,
			    s->path);
		said = true;
		if (limited && now_ms() >= end) {
			error(g, "%s %s: the %s was not there within %u s",
			      s->option, s->path, s->name, g->timeout);
			*status = EXIT_SYSTEM;
			return -1;
		}
		if (s->how == CONNECT)
			w = wait_for(g, -1, peer, RETRY_MS);
		else
			w = wait_for(g, s->fd, peer, limited ? RETRY_MS : -1);
		if (w == SIGNALLED || w == PEER_GONE) {
			say(g, VUG_INFO, w == SIGNALLED ?
			    "ended by a signal" :
			    "the front-end hung up before the back-end was there");
			*status = EXIT_CLEAN;
			return -1;
		}
	}
}

/* Serve one session; @worked tells whether the back-end got a ring to serve. */
static enum exit_status run_session(struct guard *g, bool *worked)
{
	struct vug_session s;
	enum exit_status status = EXIT_CLEAN;
	enum vug_status st = VUG_RUNNING;
	int front, back;

	*worked = false;
	/* A VMM is started when somebody feels like it, a device belongs to us. */
	front = side_get(g, &g->frontend, -1, g->frontend.how == CONNECT,
			 &status);
	if (front < 0)
		return status;
	back = side_get(g, &g->backend, front, true, &status);
	if (back < 0) {
		close(front);
		return status;
	}
	if (!g->loop) {
		side_unlisten(&g->frontend);
		side_unlisten(&g->backend);
	}
	if (vug_init(&s, &g->cfg, front, back) < 0) {
		error(g, "/proc/self/fd: %s", strerror(errno));
		return EXIT_SYSTEM;
	}
	if (!g->loop && confine(false, g->cfg.nfiles) < 0) {
		error(g, "seccomp: %s", strerror(errno));
		vug_fini(&s);
		return EXIT_SYSTEM;
	}
	say(g, VUG_INFO, "session started");
	while (st == VUG_RUNNING) {
		st = vug_poll(&s, g->signal_fd, -1);
		if (st == VUG_RUNNING &&
		    wait_for(g, -1, -1, 0) == SIGNALLED) {
			say(g, VUG_INFO, "ended by a signal");
			break;
		}
	}
	say(g, VUG_END,
	    "session ended: %llu requests, %llu answers, %llu regions passed, %llu dropped",
	    s.stats.requests, s.stats.replies, s.stats.regions_passed,
	    s.stats.regions_dropped);
	*worked = s.stats.kicks > 0;
	vug_fini(&s);
	if (st == VUG_VIOLATION)
		return EXIT_VIOLATION;
	return st == VUG_SYSTEM ? EXIT_SYSTEM : EXIT_CLEAN;
}

static enum exit_status run_sessions(struct guard *g)
{
	int delay = 0;

	for (;;) {
		bool worked;
		enum exit_status status = run_session(g, &worked);

		if (!g->loop)
			return status;
		delay = worked ? 0 : delay ? 2 * delay : BACKOFF_MIN_MS;
		if (delay > BACKOFF_MAX_MS)
			delay = BACKOFF_MAX_MS;
		if (delay)
			say(g, VUG_INFO, "no ring was started: the next session begins in %d ms",
			    delay);
		if (wait_for(g, -1, -1, delay) == SIGNALLED)
			return EXIT_CLEAN;
	}
}

static int catch_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/*
 * The VMM's memory passes through this process: no core dump may hold it, no
 * other process of the same user look into it.
 */
static int harden(void)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	return setrlimit(RLIMIT_CORE, &none);
}

int main(int argc, char **argv)
{
	struct guard g = {
		.frontend = { .name = "front-end", .fd = -1 },
		.backend = { .name = "back-end", .fd = -1 },
		.inflight = { .fd = -1 },
		.name = "vhost-user-guard",
		.timeout = 30,
		.mode = 0600,
		.log_fd = STDERR_FILENO,
		.errors = { .burst = 40, .rate = 2 },
		.others = { .burst = 200, .rate = 10 },
	};
	struct timespec now;
	enum exit_status status = EXIT_SYSTEM;

	parse_args(&g, argc, argv);
	g.cfg.inflight = &g.inflight;
	g.cfg.log = log_line;
	g.cfg.log_ctx = &g;
	g.signal_fd = catch_signals();
	if (g.signal_fd < 0 || harden() < 0) {
		error(&g, "cannot set up: %s", strerror(errno));
		return EXIT_SYSTEM;
	}
	if (side_listen(&g, &g.frontend) || side_listen(&g, &g.backend))
		goto end;
	if (confine(true, g.cfg.nfiles) < 0) {
		error(&g, "seccomp: %s", strerror(errno));
		goto end;
	}
	status = run_sessions(&g);
end:
	side_unlisten(&g.frontend);
	side_unlisten(&g.backend);
	clock_gettime(CLOCK_MONOTONIC, &now);
	log_flush_lost(&g, &now);
	return status;
}
