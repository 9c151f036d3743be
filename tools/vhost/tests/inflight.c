// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file of requests in flight, and back-ends that take over.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>

#include "guard_fixture.h"

FIXTURE(inflight) { int fds; };
FIXTURE_SETUP(inflight) { self->fds = start(); }
FIXTURE_TEARDOWN(inflight) { finish(_metadata, self->fds); }

#define SEALS	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct vu_inflight inflight(u64 size, u64 offset)
{
	return (struct vu_inflight){ .size = size, .offset = offset,
				     .queues = QUEUES,
				     .queue_size = QUEUE_SIZE };
}

/* A file of the back-end, with a mark at @offset */
static int back_file(u64 size, u64 offset)
{
	int fd = mem_fd(size);

	if (pwrite(fd, "in flight", 9, (off_t)offset) != 9)
		die("no mark");
	return fd;
}

/* Answer to the front-end if the back-end answers with @f and its file @fd */
static bool get(struct rig *r, struct vu_inflight f, u32 size, int fd,
		struct vug_msg *got)
{
	struct vu_inflight ask = inflight(0x1234, 0x5678);

	ask.padding = 0x9abc;
	send_msg(r->front, VU_GET_INFLIGHT_FD, V, &ask, size, NULL, 0);
	if (!reaches(r, VU_GET_INFLIGHT_FD, got))
		die("GET_INFLIGHT_FD does not arrive: %s", r->log);
	ask = inflight(0, 0);
	if (got->w.hdr.size != size || memcmp(&got->w.p, &ask, size))
		die("GET_INFLIGHT_FD is not as it was asked");
	send_msg(r->back, VU_GET_INFLIGHT_FD, ANSWER, &f, size, &fd, fd >= 0);
	pump(r);
	return recv_msg(r->front, got);
}

/* Does the back-end get @f with a duplicate of @fd? */
static bool set(struct rig *r, struct vu_inflight f, int fd,
		struct vug_msg *got)
{
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	send_msg(r->front, VU_SET_INFLIGHT_FD, V, &f, sizeof(f), &fd, 1);
	return reaches(r, VU_SET_INFLIGHT_FD, got);
}

static bool marked(int fd)
{
	char mark[9] = "";

	return pread(fd, mark, 9, 0) == 9 && !memcmp(mark, "in flight", 9);
}

/* Neither side gets a file of the other, and nobody can truncate what it gets. */
TEST_F(inflight, made_here)
{
	static const struct { u64 size, offset; u32 payload; } cases[] = {
		{ 4096, 0, 24 }, { 4096, 4096, 24 }, { 5000, 100, 20 },
		{ 16, 0, 20 }, { QUEUES * (QUEUE_SIZE * 64 + 4096), 0, 24 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_inflight f = inflight(cases[i].size, cases[i].offset);
		int fd = back_file(cases[i].size + cases[i].offset,
				   cases[i].offset);
		ino_t ino = inode(fd);
		struct vug_msg got, passed;
		struct rig r;

		rig_ready(&r);
		ASSERT_TRUE(get(&r, f, cases[i].payload, fd, &got))
			TH_LOG("case %zu: %s", i, r.log);
		f.offset = 0;
		EXPECT_EQ(cases[i].payload, got.w.hdr.size);
		EXPECT_EQ(0, memcmp(&got.w.p, &f, cases[i].payload))
			TH_LOG("case %zu", i);
		ASSERT_EQ(1, got.nfds);
		EXPECT_NE(ino, inode(got.fds[0])) TH_LOG("case %zu", i);
		EXPECT_TRUE(marked(got.fds[0])) TH_LOG("case %zu", i);
		EXPECT_EQ(SEALS, fcntl(got.fds[0], F_GET_SEALS));
		EXPECT_NE(0, ftruncate(got.fds[0], 0));
		EXPECT_EQ(cases[i].size, lseek(got.fds[0], 0, SEEK_END));
		ASSERT_TRUE(set(&r, f, got.fds[0], &passed))
			TH_LOG("case %zu: %s", i, r.log);
		EXPECT_EQ(1, passed.nfds);
		EXPECT_EQ(inode(got.fds[0]), inode(passed.fds[0]));
		drop_fds(&got);
		drop_fds(&passed);
		rig_close(&r);
	}
}

TEST_F(inflight, back_files)
{
	static const struct { u64 size, offset, file; } cases[] = {
		{ 4096, 0, 4095 }, { 4096, 1, 4096 }, { 4096, 4097, 4096 },
		{ 4096, ~0ULL, 4096 }, { 4096, 0 - 4096ULL, 8192 },
		{ 0, 0, 4096 }, { ~0ULL, 1, 4096 }, { 1ULL << 40, 0, 4096 },
		{ QUEUES * (QUEUE_SIZE * 64 + 4096) + 1, 0, 1 << 20 },
	};
	int fds[] = {
		event_fd(), pipe_fd(), sock_fd(SOCK_STREAM), proc_mem_fd(),
		path_fd(), open(PROGRAM, O_RDONLY | O_CLOEXEC),
		open("/dev/zero", O_RDWR | O_CLOEXEC), -1,
	};
	struct vug_msg got;
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_ready(&r);
		EXPECT_FALSE(get(&r, inflight(cases[i].size, cases[i].offset),
				 24, mem_fd(cases[i].file), &got))
			TH_LOG("case %zu", i);
		expect_violation(_metadata, &r, "size or offset");
		rig_close(&r);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		rig_ready(&r);
		EXPECT_FALSE(get(&r, inflight(4096, 0), 24, fds[i], &got))
			TH_LOG("file %zu", i);
		expect_violation(_metadata, &r, "file");
		rig_close(&r);
	}
}

/* A back-end that has no file says so by a size of 0. */
TEST_F(inflight, none)
{
	struct vug_msg got;
	struct rig r;

	rig_ready(&r);
	EXPECT_TRUE(get(&r, inflight(0, 0), 24, -1, &got)) TH_LOG("%s", r.log);
	EXPECT_TRUE(!got.nfds && !got.w.p.inflight.size);
	EXPECT_EQ(-1, r.inflight.fd);
	rig_close(&r);
}

TEST_F(inflight, asked)
{
	static const struct { u16 queues, queue_size; u32 size; } cases[] = {
		{ 0, 128, 24 }, { 1, 0, 24 }, { 257, 128, 24 },
		{ 1, 32769, 24 }, { 1, 128, 21 }, { 1, 128, 23 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vu_inflight f = { .queues = cases[i].queues,
					 .queue_size = cases[i].queue_size };

		refuse(_metadata, VU_GET_INFLIGHT_FD, &f, cases[i].size, -1);
	}
}

/* Only the file that this guard has given out, and as it was given out */
TEST_F(inflight, set)
{
	struct vu_inflight f = inflight(INFLIGHT_SIZE, 0);
	const struct vu_inflight bad[] = {
		inflight(INFLIGHT_SIZE - 1, 0), inflight(INFLIGHT_SIZE + 1, 0),
		inflight(INFLIGHT_SIZE, 4096), inflight(0, 0),
		{ INFLIGHT_SIZE, 0, QUEUES + 1, QUEUE_SIZE, 0 },
		{ INFLIGHT_SIZE, 0, QUEUES, QUEUE_SIZE * 2, 0 },
		{ INFLIGHT_SIZE, 0, 0, QUEUE_SIZE, 0 },
	};
	int fds[] = { mem_fd(INFLIGHT_SIZE), mem_fd(WIN_SIZE), event_fd(),
		      proc_mem_fd() };
	struct vug_msg got;
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		rig_ready(&r);
		EXPECT_FALSE(set(&r, bad[i], r.inflight.fd, &got))
			TH_LOG("case %zu", i);
		expect_violation(_metadata, &r, "not as given out");
		rig_close(&r);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		refuse(_metadata, VU_SET_INFLIGHT_FD, &f, 24, fds[i]);

	/* A guard that has given out none takes none. */
	rig_ready(&r);
	close(r.inflight.fd);
	r.inflight.fd = -1;
	fds[0] = mem_fd(INFLIGHT_SIZE);
	EXPECT_FALSE(set(&r, f, fds[0], &got));
	expect_violation(_metadata, &r, "none given out");
	close(fds[0]);
	rig_close(&r);
}

/* The next file replaces the one before. */
TEST_F(inflight, again)
{
	struct vu_inflight f = inflight(4096, 0);
	struct vug_msg first, second, got;
	struct rig r;

	rig_ready(&r);
	ASSERT_TRUE(get(&r, f, 24, mem_fd(4096), &first)) TH_LOG("%s", r.log);
	ASSERT_TRUE(get(&r, f, 24, mem_fd(4096), &second)) TH_LOG("%s", r.log);
	EXPECT_NE(inode(first.fds[0]), inode(second.fds[0]));
	EXPECT_FALSE(set(&r, f, first.fds[0], &got));
	expect_violation(_metadata, &r, "the file before");
	drop_fds(&first);
	drop_fds(&second);
	rig_close(&r);
}

/* A back-end that takes over in a new session gets what the one before noted. */
TEST_F(inflight, restart)
{
	struct vu_inflight f = inflight(4096, 0);
	struct vug_msg front, back;
	struct rig r;

	rig_ready(&r);
	ASSERT_TRUE(get(&r, f, 24, mem_fd(4096), &front)) TH_LOG("%s", r.log);
	ASSERT_TRUE(set(&r, f, front.fds[0], &back)) TH_LOG("%s", r.log);
	EXPECT_EQ(9, pwrite(back.fds[0], "in flight", 9, 0));
	drop_fds(&back);
	for (int i = 0; i < 3; i++) {
		rig_disconnect(&r);
		rig_connect(&r);
		negotiate(&r, PROTO_PASSED);
		ASSERT_TRUE(set(&r, f, front.fds[0], &back))
			TH_LOG("%s", r.log);
		EXPECT_TRUE(back.nfds == 1 && marked(back.fds[0]))
			TH_LOG("round %d", i);
		drop_fds(&back);
	}
	drop_fds(&front);
	rig_close(&r);
}

TEST_HARNESS_MAIN
