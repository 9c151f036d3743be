// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions that pass because their file is named, wherever the guest has them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>

#include "guard_fixture.h"

FIXTURE(files) { int fds; };
FIXTURE_SETUP(files) { self->fds = start(); }
FIXTURE_TEARDOWN(files) { finish(_metadata, self->fds); }

/* Far from the window of the other tests, as a BAR is */
#define BAR	0x8000000000ULL
#define SIZE	0x10000ULL

static const char *fd_path(int fd)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "/proc/%d/fd/%d", getpid(), fd);
	return buf;
}

/* A session that allows the file @path, and the window if @ranges */
static void named_open(struct rig *r, const char *path, u64 size, bool ranges)
{
	memset(&r->cfg, 0, sizeof(r->cfg));
	r->cfg.range[0] = (struct vug_range){ WIN, WIN_SIZE };
	r->cfg.nranges = ranges;
	r->cfg.file[0] = (struct vug_file){ path, size };
	r->cfg.nfiles = 1;
	rig_open(r);
	negotiate(r, PROTO_PASSED);
}

struct named_case {
	const char *name;
	u64 gpa, size, offset;
	u64 file, allowed;	/* bytes of the file, and of --allow-file */
	bool other;		/* another file comes */
	bool ranges;
	bool passes;
	const char *log;
};

static const struct named_case cases[] = {
	{ "whole", BAR, SIZE, 0, SIZE, 0, false, false, true, "--allow-file" },
	{ "begin", BAR, 4096, 0, SIZE, 0, false, false, true, "--allow-file" },
	{ "end", BAR, 4096, SIZE - 4096, SIZE, 0, false, false, true,
	  "--allow-file" },
	{ "end given", BAR, 4096, SIZE - 4096, SIZE, SIZE, false, false, true,
	  "--allow-file" },
	{ "file is shorter", BAR, SIZE, 0, SIZE / 2, SIZE, false, false, true,
	  "--allow-file" },
	{ "one byte more", BAR, SIZE + 1, 0, SIZE, 0, false, false, false,
	  "ends behind" },
	{ "one byte late", BAR, 4096, SIZE - 4095, SIZE, 0, false, false, false,
	  "ends behind" },
	{ "behind", BAR, 4096, SIZE, SIZE, 0, false, false, false,
	  "ends behind" },
	{ "offset wraps", BAR, 4096, ~0ULL - 4095, SIZE, 0, false, false, false,
	  "ends behind" },
	{ "more than given", BAR, SIZE + 1, 0, SIZE, SIZE, false, false, false,
	  "ends behind" },
	{ "file is larger", BAR, SIZE, 0, SIZE + 1, SIZE, false, false, false,
	  "larger than --allow-file says" },
	{ "empty", BAR, 0, 0, SIZE, 0, false, false, false, "empty" },
	{ "wraps", ~0ULL - 4095, SIZE, 0, SIZE, 0, false, false, false, "wrap" },
	{ "other", BAR, SIZE, 0, SIZE, 0, true, false, false,
	  "is none that --allow-file names" },
	{ "other, ranges", BAR, SIZE, 0, SIZE, 0, true, true, false,
	  "outside the allowed ranges, and its file is none" },
	{ "other, window", WIN, SIZE, 0, SIZE, 0, true, true, true, "passed" },
	{ "other, window, no range", WIN, SIZE, 0, SIZE, 0, true, false, false,
	  "none" },
	{ "window", WIN, SIZE, 0, SIZE, 0, false, true, true, "passed" },
	{ "part in window", WIN, 4096, 4096, SIZE, 0, false, true, true,
	  "--allow-file" },
	{ "other part in window", WIN, 4096, 4096, SIZE, 0, true, true, false,
	  "does not start at the beginning of its file, and its file is none" },
	{ "over window", WIN - 4096, SIZE, 0, SIZE, 0, false, true, true,
	  "--allow-file" },
};

TEST_F(files, regions)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct named_case *c = &cases[i];
		struct vu_region region = { c->gpa, c->size, WIN_UA, c->offset };
		int named = mem_fd(c->file), fd;
		struct vug_msg got;
		struct rig r;
		ino_t ino;

		named_open(&r, fd_path(named), c->allowed, c->ranges);
		fd = c->other ? mem_fd(c->file) :
				fcntl(named, F_DUPFD_CLOEXEC, 0);
		ino = inode(fd);
		add_region(&r, region, fd, V);
		EXPECT_EQ(c->passes, recv_msg(r.back, &got))
			TH_LOG("%s: %s", c->name, r.log);
		EXPECT_NE(NULL, strstr(r.log, c->log))
			TH_LOG("%s: %s", c->name, r.log);
		if (c->passes && got.nfds == 1) {
			region.uaddr = c->gpa;
			EXPECT_EQ(ino, inode(got.fds[0])) TH_LOG("%s", c->name);
			EXPECT_EQ(0, memcmp(&got.w.p.mem_reg.region, &region,
					    sizeof(region)))
				TH_LOG("%s", c->name);
		}
		drop_fds(&got);
		EXPECT_EQ(VUG_RUNNING, r.st) TH_LOG("%s: %s", c->name, r.log);
		rig_close(&r);
		close(named);
	}
}

/* The file is looked up when a descriptor comes, not before, and not only once. */
TEST_F(files, made_later)
{
	int named = mem_fd(SIZE), other = mem_fd(SIZE), at = event_fd();
	struct vu_region bar = { BAR, SIZE, WIN_UA, 0 };
	char path[64];
	struct vug_msg got;
	struct rig r;

	snprintf(path, sizeof(path), "%s", fd_path(at));
	close(at);
	named_open(&r, path, 0, true);

	/* A region in a range asks for no file. */
	add_region(&r, window(), mem_fd(WIN_SIZE), V);
	EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
	drop_fds(&got);
	/* A descriptor of the session may have the number of @at by now. */
	EXPECT_EQ(NULL, strstr(r.log, path)) TH_LOG("%s", r.log);
	rig_close(&r);

	at = 100;
	snprintf(path, sizeof(path), "%s", fd_path(at));
	named_open(&r, path, 0, true);
	add_region(&r, bar, fcntl(named, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	EXPECT_NE(NULL, strstr(r.log, "No such file")) TH_LOG("%s", r.log);
	EXPECT_NE(NULL, strstr(r.log, path)) TH_LOG("%s", r.log);

	EXPECT_EQ(at, dup3(named, at, O_CLOEXEC));
	add_region(&r, bar, fcntl(named, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
	drop_fds(&got);

	EXPECT_EQ(at, dup3(other, at, O_CLOEXEC));
	bar.gpa += SIZE;
	add_region(&r, bar, fcntl(named, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	add_region(&r, bar, fcntl(other, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
	drop_fds(&got);
	rig_close(&r);
	close(at);
	close(named);
	close(other);
}

/* Each of several files counts; one that is missing does not hide the next. */
TEST_F(files, several)
{
	int named = mem_fd(SIZE);
	struct vug_msg got;
	struct rig r;

	named_open(&r, "/nonexistent/window", 0, false);
	r.cfg.file[1] = (struct vug_file){ fd_path(named), 0 };
	r.cfg.nfiles = 2;
	add_region(&r, (struct vu_region){ BAR, SIZE, WIN_UA, 0 },
		   fcntl(named, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
	drop_fds(&got);
	rig_close(&r);
	close(named);
}

/* A name makes no memory of what is none. */
TEST_F(files, not_memory)
{
	struct vu_region bar = { BAR, SIZE, WIN_UA, 0 };
	struct rig r;

	named_open(&r, "/proc/self/mem", SIZE, false);
	add_region(&r, bar, proc_mem_fd(), V);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	rig_close(&r);

	named_open(&r, "/", SIZE, false);
	add_region(&r, bar, path_fd(), V);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(files, seals)
{
	for (int seals = 0; seals < 2; seals++) {
		int named = mem_fd(SIZE);
		struct vug_msg got;
		struct rig r;

		named_open(&r, fd_path(named), 0, false);
		r.cfg.require_seals = true;
		if (seals)
			EXPECT_EQ(0, fcntl(named, F_ADD_SEALS,
					   F_SEAL_GROW | F_SEAL_SHRINK));
		add_region(&r, (struct vu_region){ BAR, SIZE, WIN_UA, 0 },
			   fcntl(named, F_DUPFD_CLOEXEC, 0), V);
		EXPECT_EQ(!!seals, recv_msg(r.back, &got)) TH_LOG("%s", r.log);
		drop_fds(&got);
		rig_close(&r);
		close(named);
	}
}

/* The firmware moves a BAR: rings in it are the guest's addresses each time. */
TEST_F(files, moves)
{
	int named = mem_fd(SIZE);
	struct rig r;

	named_open(&r, fd_path(named), 0, false);
	u64_set(&r, VU_SET_FEATURES, VU_BIT(VU_F_PROTOCOL_FEATURES));
	for (u64 i = 0; i < 3; i++) {
		struct vu_mem_reg reg = {
			0, { BAR + i * SIZE, 4096, WIN_UA, 8192 },
		};
		struct vu_vring_addr a = {
			.desc = WIN_UA, .used = WIN_UA + 512,
			.avail = WIN_UA + 1024,
		};
		struct vug_msg got;

		add_region(&r, reg.region, fcntl(named, F_DUPFD_CLOEXEC, 0), V);
		EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
		drop_fds(&got);
		send_msg(r.front, VU_SET_VRING_ADDR, V, &a, sizeof(a), NULL, 0);
		EXPECT_TRUE(reaches(&r, VU_SET_VRING_ADDR, &got))
			TH_LOG("%s", r.log);
		EXPECT_EQ(BAR + i * SIZE + 512, got.w.p.addr.used);
		send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
		EXPECT_TRUE(reaches(&r, VU_REM_MEM_REG, &got))
			TH_LOG("%s", r.log);
	}
	rig_close(&r);
	close(named);
}

/* A back-end that only takes tables gets the offset in the file, too. */
TEST_F(files, tables)
{
	u64 slots = VU_BIT(VU_PF_MEM_SLOTS), proto = PROTO_PASSED;
	struct vu_region bar = { BAR, 4096, WIN_UA, 8192 };
	int named = mem_fd(SIZE);
	struct vug_msg got;
	struct rig r;

	memset(&r.cfg, 0, sizeof(r.cfg));
	r.cfg.file[0] = (struct vug_file){ fd_path(named), 0 };
	r.cfg.nfiles = 1;
	rig_open(&r);
	u64_exchange(&r, VU_GET_FEATURES, VU_BIT(VU_F_PROTOCOL_FEATURES), NULL);
	u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, ~slots, NULL);
	send_msg(r.front, VU_SET_PROTOCOL_FEATURES, V, &proto, 8, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_PROTOCOL_FEATURES, &got));
	add_region(&r, bar, fcntl(named, F_DUPFD_CLOEXEC, 0), V);
	EXPECT_TRUE(recv_msg(r.back, &got)) TH_LOG("%s", r.log);
	EXPECT_EQ(VU_SET_MEM_TABLE, got.w.hdr.request);
	EXPECT_EQ(8192, got.w.p.table.region[0].offset);
	drop_fds(&got);
	rig_close(&r);
	close(named);
}

TEST_F(files, errors)
{
	static char path[VUG_MAX_FILES][8];
	static char long_path[5000];
	struct vug_config c = { .nfiles = 1 };

	memset(long_path, 'a', sizeof(long_path) - 1);
	c.file[0] = (struct vug_file){ "a", 1 };
	EXPECT_EQ(NULL, vug_file_error(&c, &(struct vug_file){ "b", 0 }));
	EXPECT_NE(NULL, vug_file_error(&c, &(struct vug_file){ "a", 0 }));
	EXPECT_NE(NULL, vug_file_error(&c, &(struct vug_file){ "", 0 }));
	EXPECT_NE(NULL, vug_file_error(&c, &(struct vug_file){ long_path, 0 }));
	for (c.nfiles = 0; c.nfiles < VUG_MAX_FILES; c.nfiles++) {
		snprintf(path[c.nfiles], sizeof(path[0]), "%zu", c.nfiles);
		c.file[c.nfiles].path = path[c.nfiles];
	}
	EXPECT_NE(NULL, vug_file_error(&c, &(struct vug_file){ "b", 0 }))
		TH_LOG("65th");
}

/* The program finds the file although it is confined, with no range at all. */
TEST_F(files, program)
{
	static const char * const how[] = { "--once", "--loop" };

	for (int i = 0; i < 2; i++) {
		struct vu_mem_table t = { .nregions = 2 };
		struct session s = { .listener = sock_listen("back") };
		char arg[96];
		const char * const args[] = {
			"--listen", path_of("front"),
			"--connect", path_of("back"), "--allow-file", arg,
			"--allow-file", "/nonexistent/window", how[i], NULL,
		};
		struct vug_msg got;
		int named, fds[2];

		snprintf(arg, sizeof(arg), "%s,size=64K", fd_path(100));
		run_start(&s.run, args, -1);
		s.front = sock_connect("front");
		s.back = sock_accept(s.listener);
		run_until(&s.run, "session started");
		session_exchange(&s);

		/* None is there yet; then one is, and then a larger one. */
		t.region[0] = (struct vu_region){ BAR, SIZE, WIN_UA, 0 };
		t.region[1] = (struct vu_region){ WIN, SIZE, WIN_UA + SIZE, 0 };
		for (u32 n = 0; n < 3; n++) {
			u32 passes = n == 1;

			named = mem_fd(n < 2 ? SIZE : SIZE + 1);
			if (n)
				EXPECT_EQ(100, dup3(named, 100, O_CLOEXEC));
			fds[0] = named;
			fds[1] = mem_fd(SIZE);
			send_msg(s.front, VU_SET_MEM_TABLE, V, &t, 72, fds, 2);
			EXPECT_TRUE(wait_readable(s.back) &&
				    recv_msg(s.back, &got))
				TH_LOG("%s", how[i]);
			EXPECT_EQ(passes, got.w.p.table.nregions)
				TH_LOG("%s", how[i]);
			EXPECT_EQ(BAR * passes, got.w.p.table.region[0].gpa)
				TH_LOG("%s", how[i]);
			drop_fds(&got);
		}
		close(100);
		kill(s.run.pid, SIGTERM);
		run_end(&s.run);
		EXPECT_EQ(0, s.run.status) TH_LOG("%s", s.run.text);
		EXPECT_NE(NULL, strstr(s.run.text, "fd/100: No such file"))
			TH_LOG("%s", s.run.text);
		session_close(&s);
	}
}

TEST_HARNESS_MAIN
