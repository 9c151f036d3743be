// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which regions pass: tables, single ones, their files, the allowed ranges.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "guard_fixture.h"

FIXTURE(memory) { int fds; };
FIXTURE_SETUP(memory) { self->fds = start(); }
FIXTURE_TEARDOWN(memory) { finish(_metadata, self->fds); }

struct region_case {
	const char *name;
	u64 gpa, size, uaddr, offset;
	int (*fd)(u64 size);
	u64 file_size;
	bool passes;
	const char *log;
};

static int fd_dir(u64 size)
{
	(void)size;
	return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int fd_path(u64 size)
{
	(void)size;
	return path_fd();
}

static int fd_proc_mem(u64 size)
{
	(void)size;
	return proc_mem_fd();
}

static int fd_zero(u64 size)
{
	(void)size;
	return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int fd_sysfs(u64 size)
{
	(void)size;
	return open("/sys/kernel/notes", O_RDONLY | O_CLOEXEC);
}

static int fd_event(u64 size)
{
	(void)size;
	return event_fd();
}

static int fd_pipe(u64 size)
{
	(void)size;
	return pipe_fd();
}

static int fd_socket(u64 size)
{
	(void)size;
	return sock_fd(SOCK_STREAM);
}

static int fd_disk(u64 size)
{
	(void)size;
	return open(PROGRAM, O_RDONLY | O_CLOEXEC);
}

#define S	WIN_SIZE
#define U	WIN_UA

static const struct region_case region_cases[] = {
	{ "exact", WIN, S, U, 0, mem_fd, S, true, "passed region" },
	{ "start", WIN, S / 2, U, 0, mem_fd, S / 2, true, "passed" },
	{ "end", WIN + S / 2, S / 2, U, 0, mem_fd, S / 2, true, "passed" },
	{ "short file", WIN, S, U, 0, mem_fd, S / 2, true, "passed" },
	{ "before", WIN - S, S, U, 0, mem_fd, S, false, "outside" },
	{ "behind", WIN + S, S, U, 0, mem_fd, S, false, "outside" },
	{ "far", 0, S, U, 0, mem_fd, S, false, "outside" },
	{ "one byte early", WIN - 1, S, U, 0, mem_fd, S, false, "partly" },
	{ "one byte late", WIN + 1, S, U, 0, mem_fd, S, false, "partly" },
	{ "one byte more", WIN, S + 1, U, 0, mem_fd, S, false, "partly" },
	{ "around", WIN - S, 3 * S, U, 0, mem_fd, S, false, "partly" },
	{ "everything", 0, ~0ULL, 0, 0, mem_fd, S, false, "partly" },
	{ "empty", WIN, 0, U, 0, mem_fd, 0, false, "empty" },
	{ "wraps", WIN, 0 - WIN + S, U, 0, mem_fd, S, false, "wrap" },
	{ "wraps to 0", ~0ULL - 1, 16, U, 0, mem_fd, S, false, "wrap" },
	{ "user wraps", WIN, S, ~0ULL - 1, 0, mem_fd, S, false, "wrap" },
	{ "offset", WIN, S, U, 1, mem_fd, S, false, "beginning" },
	{ "page offset", WIN, S, U, 4096, mem_fd, S, false, "beginning" },
	{ "file one more", WIN, S, U, 0, mem_fd, S + 1, false, "larger" },
	{ "file huge", WIN, S, U, 0, mem_fd, 1ULL << 40, false, "larger" },
	{ "directory", WIN, S, U, 0, fd_dir, 0, false, "not a file" },
	{ "path", WIN, S, U, 0, fd_path, 0, false, "not a file" },
	{ "device", WIN, S, U, 0, fd_zero, 0, false, "not a file" },
	{ "eventfd", WIN, S, U, 0, fd_event, 0, false, "not a file" },
	{ "pipe", WIN, S, U, 0, fd_pipe, 0, false, "not a file" },
	{ "socket", WIN, S, U, 0, fd_socket, 0, false, "not a file" },
	{ "/proc/PID/mem", WIN, S, U, 0, fd_proc_mem, 0, false, "tmpfs" },
	{ "sysfs", WIN, S, U, 0, fd_sysfs, 0, false, "tmpfs" },
	{ "disk", WIN, S, U, 0, fd_disk, 0, false, "" },
};

#undef S
#undef U

static int case_fd(const struct region_case *c)
{
	struct statfs fs;
	int fd = c->fd(c->file_size);

	/* On tmpfs, the build folder is no disk: its file is only too large. */
	if (fd < 0 && c->fd == fd_sysfs)
		fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		die("%s: %s", c->name, strerror(errno));
	return fd;
}

TEST_F(memory, regions_table)
{
	for (size_t i = 0; i < ARRAY_SIZE(region_cases); i++) {
		const struct region_case *c = &region_cases[i];
		struct vu_mem_table t = { .nregions = 1 };
		struct vug_msg got;
		struct rig r;
		ino_t ino;
		int fd;

		t.region[0] = (struct vu_region){ c->gpa, c->size, c->uaddr,
						  c->offset };
		rig_plain(&r);
		fd = case_fd(c);
		ino = inode(fd);
		send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
		EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got))
			TH_LOG("%s", c->name);
		EXPECT_EQ((unsigned int)c->passes, got.nfds)
			TH_LOG("%s: %s", c->name, r.log);
		EXPECT_EQ(c->passes, got.w.p.table.nregions)
			TH_LOG("%s", c->name);
		EXPECT_EQ(8 + 32U * c->passes, got.w.hdr.size)
			TH_LOG("%s", c->name);
		EXPECT_NE(NULL, strstr(r.log, c->log))
			TH_LOG("%s: %s", c->name, r.log);
		if (c->passes && got.nfds) {
			EXPECT_EQ(ino, inode(got.fds[0])) TH_LOG("%s", c->name);
			t.region[0].uaddr = c->gpa;
			EXPECT_EQ(0, memcmp(&got.w.p.table.region[0],
					    &t.region[0], 32))
				TH_LOG("%s", c->name);
		}
		drop_fds(&got);
		rig_close(&r);
	}
}

TEST_F(memory, regions_single)
{
	for (size_t i = 0; i < ARRAY_SIZE(region_cases); i++) {
		const struct region_case *c = &region_cases[i];
		struct vu_region region = { c->gpa, c->size, c->uaddr,
					    c->offset };
		struct vu_mem_reg reg = { 0, region };
		struct vug_msg got;
		struct rig r;

		rig_plain(&r);
		negotiate(&r, PROTO_PASSED);

		/* Both ways, then remove it again. */
		for (u32 ack = 0; ack < 2; ack++) {
			u32 flags = ack ? NEED : V;

			for (u32 req = VU_ADD_MEM_REG; req <= VU_REM_MEM_REG;
			     req++) {
				unsigned int n = req == VU_ADD_MEM_REG;
				int fd = -1;

				if (n)
					fd = case_fd(c);
				send_msg(r.front, req, flags, &reg,
					 sizeof(reg), &fd, n);
				EXPECT_EQ(c->passes, reaches(&r, req, &got))
					TH_LOG("%s: %s", c->name, r.log);
				EXPECT_EQ((c->passes ? n : 0), got.nfds)
					TH_LOG("%s", c->name);
				EXPECT_TRUE(!c->passes ||
					    got.w.p.mem_reg.region.uaddr ==
					    c->gpa)
					TH_LOG("%s", c->name);
				drop_fds(&got);
				if (c->passes && ack)
					send_msg(r.back, req, ANSWER, "1234567",
						 8, NULL, 0);
				pump(&r);
				EXPECT_EQ(!!ack, recv_msg(r.front, &got))
					TH_LOG("%s", c->name);
				if (!ack)
					continue;
				EXPECT_TRUE(got.w.hdr.flags == ANSWER &&
					    got.w.hdr.size == 8 &&
					    got.w.hdr.request == req)
					TH_LOG("%s", c->name);
				EXPECT_TRUE(c->passes || !got.w.p.u64)
					TH_LOG("%s", c->name);
			}
		}
		EXPECT_EQ(VUG_RUNNING, r.st) TH_LOG("%s: %s", c->name, r.log);
		EXPECT_NE(NULL, strstr(r.log, c->log))
			TH_LOG("%s: %s", c->name, r.log);
		rig_close(&r);
	}
}

TEST_F(memory, table_mixed)
{
	static const u64 gpa[] = {
		0x40000000, WIN, 0x60000000, WIN + 0x8000, 0x70000000,
		WIN + 0x4000, WIN + 0xf000, WIN + 0xc000,
	};
	/* The seventh sticks out. */
	static const int pass[] = { 1, 3, 5, 7 };
	struct vu_mem_table t = { .nregions = 8 };
	struct vug_msg got;
	int fds[8];
	ino_t ino[8];
	struct rig r;

	for (int i = 0; i < 8; i++) {
		t.region[i] = (struct vu_region){ gpa[i], 0x4000,
						  WIN_UA + gpa[i], 0 };
		fds[i] = mem_fd(0x4000);
		ino[i] = inode(fds[i]);
	}
	rig_ready(&r);
	send_msg(r.front, VU_SET_MEM_TABLE, NEED, &t, sizeof(t), fds, 8);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got)) TH_LOG("%s", r.log);
	EXPECT_EQ(4, got.w.p.table.nregions);
	EXPECT_EQ(8 + 4 * 32, got.w.hdr.size);
	EXPECT_EQ(4, got.nfds);
	for (unsigned int i = 0; i < got.nfds && i < 4; i++) {
		EXPECT_EQ(ino[pass[i]], inode(got.fds[i]))
			TH_LOG("descriptor %u", i);
		EXPECT_EQ(gpa[pass[i]], got.w.p.table.region[i].gpa)
			TH_LOG("region %u", i);
		EXPECT_EQ(gpa[pass[i]], got.w.p.table.region[i].uaddr)
			TH_LOG("region %u", i);
	}
	EXPECT_NE(NULL, strstr(r.log, "0x40000000+0x4000")) TH_LOG("%s", r.log);
	drop_fds(&got);
	rig_close(&r);
}

TEST_F(memory, table_malformed)
{
	static const struct {
		u32 nregions, size;
		unsigned int nfds;
	} bad[] = {
		{ 1, 8, 0 }, { 1, 8, 1 }, { 0, 40, 0 }, { 0, 40, 1 },
		{ 2, 40, 1 }, { 2, 40, 2 }, { 2, 72, 1 }, { 1, 40, 0 },
		{ 1, 40, 2 }, { 1, 72, 1 }, { 9, 264, 8 }, { 8, 264, 7 },
		{ 0x08000000, 8, 0 }, { 0x08000001, 40, 1 },
		{ 0xffffffff, 264, 8 }, { 1, 44, 1 }, { 0, 8, 1 },
	};
	struct vu_mem_table t = { 0 };
	struct vug_msg got;
	struct rig r;

	for (int i = 0; i < 8; i++)
		t.region[i] = window();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fds[8];

		rig_ready(&r);
		for (unsigned int n = 0; n < bad[i].nfds; n++)
			fds[n] = mem_fd(WIN_SIZE);
		t.nregions = bad[i].nregions;
		send_msg(r.front, VU_SET_MEM_TABLE, V, &t, bad[i].size, fds,
			 bad[i].nfds);
		expect_violation(_metadata, &r, "memory table");
		rig_close(&r);
	}
	/* None at all is legal. */
	rig_ready(&r);
	t.nregions = 0;
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 8, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(!got.w.p.table.nregions && got.w.hdr.size == 8)
		TH_LOG("%s", r.log);
	rig_close(&r);
}

/* A table replaces the regions before: removing one of those is not sent on. */
TEST_F(memory, table_replaces)
{
	struct vu_mem_table t = { 0 };
	struct vu_mem_reg reg = { 0, window() };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 8, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got)) TH_LOG("%s", r.log);
	send_msg(r.front, VU_REM_MEM_REG, NEED, &reg, sizeof(reg), NULL, 0);
	pump(&r);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	EXPECT_TRUE(recv_msg(r.front, &got) && !got.w.p.u64)
		TH_LOG("%s", r.log);
	rig_close(&r);
}

/* A region that came in a table can be removed, and be an update's target. */
TEST_F(memory, table_holds)
{
	struct vu_mem_table t = { .nregions = 1 };
	struct vu_mem_reg reg = { 0, window() };
	struct vu_iotlb u = { .size = 1, .uaddr = WIN_UA + 0x100000,
			      .type = VU_IOTLB_UPDATE };
	struct vug_msg got;
	struct rig r;
	u64 ack = 0;
	int fd;

	rig_ready(&r);
	reg.region.uaddr += 0x100000;
	t.region[0] = reg.region;
	fd = mem_fd(WIN_SIZE);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 40, &fd, 1);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got)) TH_LOG("%s", r.log);
	drop_fds(&got);
	send_msg(r.front, VU_IOTLB_MSG, NEED, &u, 32, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_IOTLB_MSG, &got)) TH_LOG("%s", r.log);
	send_msg(r.back, VU_IOTLB_MSG, ANSWER, &ack, 8, NULL, 0);
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_REM_MEM_REG, &got)) TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(memory, rem_with_fd)
{
	struct vu_mem_reg reg = { 0, window() };
	struct vug_msg got;
	struct rig r;
	int fd;

	rig_ready(&r);
	fd = mem_fd(WIN_SIZE);
	/* The offset does not count. */
	reg.region.offset = 4096;
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), &fd, 1);
	EXPECT_TRUE(reaches(&r, VU_REM_MEM_REG, &got)) TH_LOG("%s", r.log);
	EXPECT_EQ(0, got.nfds);
	/* The region is gone: a second removal is not sent on. */
	send_msg(r.front, VU_REM_MEM_REG, V, &reg, sizeof(reg), NULL, 0);
	pump(&r);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	rig_close(&r);
}

TEST_F(memory, many_regions)
{
	struct vu_region region = { WIN, 16, WIN_UA, 0 };
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	for (int i = 1; i < VUG_MAX_REGIONS; i++) {
		region.gpa += 16;
		add_region(&r, region, mem_fd(16), V);
		EXPECT_TRUE(recv_msg(r.back, &got))
			TH_LOG("region %d: %s", i, r.log);
		drop_fds(&got);
		r.len = 0;
	}
	region.gpa += 16;
	add_region(&r, region, mem_fd(16), V);
	expect_violation(_metadata, &r, "one region too many");
	rig_close(&r);
}

/* Two ranges that touch are still two: a region across them is not inside. */
TEST_F(memory, ranges)
{
	struct vu_mem_table t = { .nregions = 3 };
	struct vug_msg got;
	struct rig r;
	int fds[3];

	memset(&r.cfg, 0, sizeof(r.cfg));
	r.cfg.range[0] = (struct vug_range){ 0x1000, 0x1000 };
	r.cfg.range[1] = (struct vug_range){ 0x2000, 0x1000 };
	r.cfg.range[2] = (struct vug_range){ ~0ULL - 0xfff, 0x1000 };
	r.cfg.nranges = 3;
	rig_open(&r);
	t.region[0] = (struct vu_region){ 0x2000, 0x1000, 0x1000, 0 };
	t.region[1] = (struct vu_region){ 0x1800, 0x1000, 0x1000, 0 };
	t.region[2] = (struct vu_region){ ~0ULL - 0xfff, 0x1000, 0, 0 };
	for (int i = 0; i < 3; i++)
		fds[i] = mem_fd(0x1000);
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 104, fds, 3);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(got.w.p.table.nregions == 2 && got.nfds == 2)
		TH_LOG("%s", r.log);
	EXPECT_EQ(~0ULL - 0xfff, got.w.p.table.region[1].gpa)
		TH_LOG("%s", r.log);
	drop_fds(&got);
	rig_close(&r);
}

TEST_F(memory, range_errors)
{
	struct vug_config c = { .nranges = 1 };
	static const struct {
		struct vug_range r;
		bool ok;
	} cases[] = {
		{ { 0x1000, 0x1000 }, false }, { { 0xfff, 2 }, false },
		{ { 0x1fff, 1 }, false }, { { 0, ~0ULL }, false },
		{ { 0x2000, 0x1000 }, true }, { { 0, 0x1000 }, true },
		{ { 0x3000, 0 }, false }, { { ~0ULL, 1 }, true },
		{ { ~0ULL, 2 }, false }, { { 2, ~0ULL }, false },
	};

	c.range[0] = (struct vug_range){ 0x1000, 0x1000 };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].ok, !vug_range_error(&c, &cases[i].r))
			TH_LOG("case %zu", i);
	}
	for (c.nranges = 0; c.nranges < VUG_MAX_RANGES; c.nranges++)
		c.range[c.nranges] = (struct vug_range){ c.nranges, 1 };
	EXPECT_TRUE(vug_range_error(&c, &(struct vug_range){ 1000, 1 }))
		TH_LOG("65th");
}

TEST_F(memory, seals)
{
	static const int seals[] = {
		0, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_GROW | F_SEAL_SHRINK,
	};

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		struct vug_msg got;
		struct rig r;
		int fd;

		rig_plain(&r);
		r.cfg.require_seals = true;
		negotiate(&r, PROTO_PASSED);
		fd = mem_fd(WIN_SIZE);
		EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, seals[i])) TH_LOG("seals");
		add_region(&r, window(), fd, V);
		EXPECT_EQ((i == 3), recv_msg(r.back, &got))
			TH_LOG("seals 0x%x: %s", seals[i], r.log);
		drop_fds(&got);
		rig_close(&r);
	}
}

TEST_HARNESS_MAIN
