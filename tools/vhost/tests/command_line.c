// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program: its options, and the files that they name.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "guard_fixture.h"

FIXTURE(command_line) { int fds; };
FIXTURE_SETUP(command_line) { self->fds = start(); }
FIXTURE_TEARDOWN(command_line) { finish(_metadata, self->fds); }

static char long_path[120];

TEST_F(command_line, cli_errors)
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
		{ { "--allow-file", NULL }, "argument is missing" },
		{ { "--allow-file", "", NULL }, "path is empty" },
		{ { "--allow-file", ",size=1", NULL }, "path is empty" },
		{ { "--allow-file", "x,", NULL }, "--allow-file x,: expected" },
		{ { "--allow-file", "x,sice=1", NULL }, "x,sice=1: expected" },
		{ { "--allow-file", "x,y,size=1", NULL }, "expected PATH" },
		{ { "--allow-file", "x,size=", NULL }, "number is missing" },
		{ { "--allow-file", "x,size=-1", NULL }, "number is missing" },
		{ { "--allow-file", "x,size=1x", NULL }, "expected PATH" },
		{ { "--allow-file", "x,size=1,size=1", NULL }, "expected PATH" },
		{ { "--allow-file", "x,size=0", NULL }, "size is zero" },
		{ { "--allow-file", "x,size=16777216T", NULL }, "64 bits" },
		{ { "--allow-file", "x", "--allow-file", "x,size=1", NULL },
		  "--allow-file x: the path is given twice" },
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
		EXPECT_EQ(2, r.status)
			TH_LOG("case %zu: status %d: %s", i, r.status, r.text);
		EXPECT_NE(NULL, strstr(r.text, cases[i].says))
			TH_LOG("case %zu: %s", i, r.text);
	}
}

TEST_F(command_line, cli_help)
{
	static const char * const options[] = {
		"--listen", "--frontend-connect", "--frontend-fd", "--connect",
		"--backend-listen", "--backend-fd", "--allow ADDR+SIZE",
		"--allow-file PATH[,size=BYTES]",
		"--allow-log", "--require-seals", "--once", "--loop",
		"--timeout", "--mode", "--log", "--name", "--quiet",
		"--verbose", "--help", "--version", "Exit status",
	};
	const char * const help[] = { "--help", NULL };
	const char * const version[] = { "--version", NULL };
	struct run r;

	run_start(&r, help, -1);
	run_end(&r);
	EXPECT_EQ(0, r.status);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		EXPECT_NE(NULL, strstr(r.text, options[i]))
			TH_LOG("%s", options[i]);
	}
	run_start(&r, version, -1);
	run_end(&r);
	EXPECT_TRUE(!r.status && !strncmp(r.text, "vhost-user-guard ", 17))
		TH_LOG("%s", r.text);
}

TEST_F(command_line, paths)
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
	EXPECT_TRUE(r.status == 1 && strstr(r.text, "not a socket"))
		TH_LOG("%d: %s", r.status, r.text);
	EXPECT_EQ(0, access(path_of("front"), F_OK))
		TH_LOG("the file was removed");
	unlink(path_of("front"));

	fd = sock_listen("front");
	run_start(&r, args, -1);
	run_end(&r);
	EXPECT_TRUE(r.status == 1 && strstr(r.text, "another program"))
		TH_LOG("%d: %s", r.status, r.text);
	EXPECT_EQ(0, access(path_of("front"), F_OK))
		TH_LOG("the socket was removed");
	close(fd);

	run_start(&r, args, -1);
	run_until(&r, "waiting");
	EXPECT_TRUE(!stat(path_of("front"), &st) &&
		    (st.st_mode & 07777) == 0640)
		TH_LOG("mode %o", st.st_mode);
	kill(r.pid, SIGTERM);
	run_end(&r);
	EXPECT_EQ(0, r.status) TH_LOG("%d: %s", r.status, r.text);
}

/* The VMM is the server, the device the client, as with OVS-DPDK. */
TEST_F(command_line, other_way)
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
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	session_close(&s);
	unlink(path_of("front"));
}

TEST_F(command_line, inherited)
{
	char num[16];
	const char * const args[] = {
		"--frontend-fd", num, "--connect", path_of("back"),
		"--allow", "0+1", NULL,
	};
	struct session s;
	int p[2];

	sock_pair(SOCK_STREAM, p);
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
	EXPECT_EQ(0, s.run.status) TH_LOG("%d: %s", s.run.status, s.run.text);
	session_close(&s);
}

TEST_F(command_line, log_file)
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
	EXPECT_TRUE(!r.status && !r.text[0]) TH_LOG("%d: %s", r.status, r.text);
	fd = open(path_of("log"), O_RDONLY | O_CLOEXEC);
	EXPECT_TRUE(fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0)
		TH_LOG("no log");
	EXPECT_NE(NULL, strstr(buf, "blk0: ")) TH_LOG("%s", buf);
	if (fd >= 0)
		close(fd);
	unlink(path_of("log"));
}

TEST_HARNESS_MAIN
