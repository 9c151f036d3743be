// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots for regions: more than a back-end has, and back-ends that only take
 * tables.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "guard_fixture.h"

FIXTURE(slots) { int fds; };
FIXTURE_SETUP(slots) { self->fds = start(); }
FIXTURE_TEARDOWN(slots) { finish(_metadata, self->fds); }

#define SLOTS	VU_BIT(VU_PF_MEM_SLOTS)
#define PAGE	0x1000ULL

/* A session with a back-end that only takes tables */
static void tables_open(struct rig *r)
{
	u64 f = VU_BIT(VU_F_PROTOCOL_FEATURES), got;
	struct vug_msg m;

	rig_plain(r);
	u64_exchange(r, VU_GET_FEATURES, f, NULL);
	u64_exchange(r, VU_GET_PROTOCOL_FEATURES, ~SLOTS, &got);
	if (got != PROTO_PASSED)
		die("the protocol features arrive as 0x%llx", got);
	got = PROTO_PASSED;
	send_msg(r->front, VU_SET_PROTOCOL_FEATURES, V, &got, 8, NULL, 0);
	if (!reaches(r, VU_SET_PROTOCOL_FEATURES, &m) ||
	    m.w.p.u64 != (PROTO_PASSED & ~SLOTS))
		die("the back-end gets features 0x%llx", m.w.p.u64);
	u64_set(r, VU_SET_FEATURES, f);
}

/* Region @i of one page each; 15 and less are in the window. */
static struct vu_region page(u64 i)
{
	return (struct vu_region){ WIN + i * PAGE, PAGE, WIN_UA + i * PAGE, 0 };
}

static bool is_page(const struct vu_region *r, u64 i)
{
	return r->gpa == WIN + i * PAGE && r->size == PAGE &&
	       r->uaddr == r->gpa && !r->offset;
}

static void rem_region(struct rig *r, struct vu_region region, u32 flags)
{
	struct vu_mem_reg reg = { 0, region };

	send_msg(r->front, VU_REM_MEM_REG, flags, &reg, sizeof(reg), NULL, 0);
	pump(r);
}

/* Did the back-end get a table of @n regions? */
static bool got_table(struct rig *r, u32 n, struct vug_msg *m)
{
	return recv_msg(r->back, m) && m->w.hdr.request == VU_SET_MEM_TABLE &&
	       m->w.p.table.nregions == n && m->nfds == n &&
	       m->w.hdr.size == 8 + 32 * n && !m->w.p.table.padding;
}

TEST_F(slots, tables)
{
	ino_t ino[VU_MAX_TABLE_REGIONS];
	struct vug_msg m;
	struct rig r;

	tables_open(&r);
	for (u64 i = 0; i < VU_MAX_TABLE_REGIONS; i++) {
		int fd = mem_fd(PAGE);
		u64 ack = 5;

		ino[i] = inode(fd);
		add_region(&r, page(i), fd, NEED);
		ASSERT_TRUE(got_table(&r, (u32)i + 1, &m))
			TH_LOG("region %llu: %s", i, r.log);
		EXPECT_EQ(NEED, m.w.hdr.flags);
		for (u64 k = 0; k <= i; k++) {
			EXPECT_TRUE(is_page(&m.w.p.table.region[k], k))
				TH_LOG("region %llu of %llu", k, i);
			EXPECT_EQ(ino[k], inode(m.fds[k]))
				TH_LOG("file %llu of %llu", k, i);
		}
		drop_fds(&m);
		/* The answer to the table is the answer to the region. */
		send_msg(r.back, VU_SET_MEM_TABLE, ANSWER, &ack, 8, NULL, 0);
		pump(&r);
		EXPECT_TRUE(recv_msg(r.front, &m) && m.w.p.u64 == 5 &&
			    m.w.hdr.request == VU_ADD_MEM_REG)
			TH_LOG("%s", r.log);
	}
	for (u64 i = VU_MAX_TABLE_REGIONS; i-- > 0;) {
		rem_region(&r, page(i), V);
		ASSERT_TRUE(got_table(&r, (u32)i, &m)) TH_LOG("%s", r.log);
		for (u64 k = 0; k < i; k++) {
			EXPECT_TRUE(is_page(&m.w.p.table.region[k], k))
				TH_LOG("region %llu of %llu", k, i);
			EXPECT_EQ(ino[k], inode(m.fds[k]));
		}
		drop_fds(&m);
	}
	EXPECT_TRUE(silent(r.front));
	rig_close(&r);
}

/* The number of slots is what the guard has: most regions stop here. */
TEST_F(slots, number)
{
	struct vug_msg m;
	struct rig r;
	u64 got;

	tables_open(&r);
	send_msg(r.front, VU_GET_MAX_MEM_SLOTS, V, NULL, 0, NULL, 0);
	pump(&r);
	EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
	EXPECT_TRUE(recv_msg(r.front, &m) && m.w.hdr.flags == ANSWER &&
		    m.w.hdr.request == VU_GET_MAX_MEM_SLOTS &&
		    m.w.p.u64 == VUG_MAX_REGIONS)
		TH_LOG("%s", r.log);
	rig_close(&r);

	rig_ready(&r);
	u64_exchange(&r, VU_GET_MAX_MEM_SLOTS, 8, &got);
	EXPECT_EQ(VUG_MAX_REGIONS, got);
	rig_close(&r);
}

/* Many windows of which this back-end has one */
TEST_F(slots, windows)
{
	struct vug_msg m;
	struct rig r;

	tables_open(&r);
	for (u64 i = 0; i < 20; i++) {
		/* Window 12 is the one that is allowed. */
		struct vu_region region = page(16 * i - 16 * 12);

		add_region(&r, region, mem_fd(PAGE), NEED);
		if (i == 12) {
			ASSERT_TRUE(got_table(&r, 1, &m)) TH_LOG("%s", r.log);
			drop_fds(&m);
			send_msg(r.back, VU_SET_MEM_TABLE, ANSWER, "\0\0\0\0\0\0\0",
				 8, NULL, 0);
			pump(&r);
		}
		EXPECT_TRUE(silent(r.back)) TH_LOG("window %llu", i);
		EXPECT_TRUE(recv_msg(r.front, &m) && !m.w.p.u64 &&
			    m.w.hdr.request == VU_ADD_MEM_REG)
			TH_LOG("window %llu: %s", i, r.log);
	}
	rig_close(&r);
}

/* A region too many is refused to the front-end; the session goes on. */
TEST_F(slots, full)
{
	struct vug_msg m;

	for (int own = 0; own < 2; own++) {
		u64 most = own ? 12 : VU_MAX_TABLE_REGIONS;
		struct rig r;

		if (own) {
			rig_plain(&r);
			negotiate(&r, PROTO_PASSED);
			u64_exchange(&r, VU_GET_MAX_MEM_SLOTS, most, NULL);
		} else {
			tables_open(&r);
		}
		for (u64 i = 0; i < most; i++) {
			add_region(&r, page(i), mem_fd(PAGE), V);
			EXPECT_TRUE(recv_msg(r.back, &m)) TH_LOG("%llu", i);
			drop_fds(&m);
		}
		add_region(&r, page(most), mem_fd(PAGE), NEED);
		EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
		EXPECT_TRUE(recv_msg(r.front, &m) && m.w.p.u64 == 1 &&
			    m.w.hdr.request == VU_ADD_MEM_REG)
			TH_LOG("%s", r.log);
		EXPECT_NE(NULL, strstr(r.log, "no slot")) TH_LOG("%s", r.log);
		/* The region is not held, and one that goes makes room. */
		rem_region(&r, page(most), V);
		EXPECT_TRUE(silent(r.back)) TH_LOG("%s", r.log);
		rem_region(&r, page(0), V);
		EXPECT_FALSE(silent(r.back)) TH_LOG("%s", r.log);
		add_region(&r, page(most), mem_fd(PAGE), V);
		EXPECT_FALSE(silent(r.back)) TH_LOG("%s", r.log);
		rig_close(&r);
	}
}

/* A table of the front-end is what later regions are added to. */
TEST_F(slots, after_table)
{
	struct vu_mem_table t = { .nregions = 2 };
	struct vug_msg m;
	struct rig r;
	int fds[2];

	tables_open(&r);
	add_region(&r, page(9), mem_fd(PAGE), V);
	EXPECT_TRUE(got_table(&r, 1, &m)) TH_LOG("%s", r.log);
	drop_fds(&m);
	for (u64 i = 0; i < 2; i++) {
		t.region[i] = page(i);
		fds[i] = mem_fd(PAGE);
	}
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 72, fds, 2);
	pump(&r);
	EXPECT_TRUE(got_table(&r, 2, &m)) TH_LOG("%s", r.log);
	drop_fds(&m);
	add_region(&r, page(2), mem_fd(PAGE), V);
	EXPECT_TRUE(got_table(&r, 3, &m)) TH_LOG("%s", r.log);
	drop_fds(&m);
	rig_close(&r);

	/* The front-end sets a table, and says then that it knows slots. */
	rig_plain(&r);
	u64_exchange(&r, VU_GET_FEATURES, VU_BIT(VU_F_PROTOCOL_FEATURES), NULL);
	fds[0] = mem_fd(PAGE);
	t.nregions = 1;
	send_msg(r.front, VU_SET_MEM_TABLE, V, &t, 40, fds, 1);
	EXPECT_TRUE(reaches(&r, VU_SET_MEM_TABLE, &m));
	drop_fds(&m);
	u64_exchange(&r, VU_GET_PROTOCOL_FEATURES, 0, NULL);
	u64_set(&r, VU_SET_PROTOCOL_FEATURES, SLOTS);
	add_region(&r, page(2), mem_fd(PAGE), V);
	expect_violation(_metadata, &r, "a region whose file is gone");
	rig_close(&r);
}

/* The back-end answers for a message that it did not get. */
TEST_F(slots, other_answer)
{
	struct vug_msg m;
	struct rig r;
	u64 ack = 0;

	tables_open(&r);
	add_region(&r, page(0), mem_fd(PAGE), NEED);
	EXPECT_TRUE(got_table(&r, 1, &m)) TH_LOG("%s", r.log);
	drop_fds(&m);
	send_msg(r.back, VU_ADD_MEM_REG, ANSWER, &ack, 8, NULL, 0);
	expect_violation(_metadata, &r, "answer to a message not sent");
	rig_close(&r);
}

/* Memory is kept open only for tables, and no longer than it is held. */
TEST_F(slots, kept)
{
	struct vug_msg m;
	struct rig r;
	int before;

	rig_plain(&r);
	negotiate(&r, PROTO_PASSED);
	before = count_fds();
	add_region(&r, page(0), mem_fd(PAGE), V);
	EXPECT_FALSE(silent(r.back)) TH_LOG("%s", r.log);
	EXPECT_EQ(before, count_fds());
	rig_close(&r);

	tables_open(&r);
	before = count_fds();
	for (u64 i = 0; i < 3; i++) {
		add_region(&r, page(i), mem_fd(PAGE), V);
		EXPECT_FALSE(silent(r.back)) TH_LOG("%s", r.log);
	}
	EXPECT_EQ(before + 3, count_fds());
	rem_region(&r, page(1), V);
	EXPECT_FALSE(silent(r.back)) TH_LOG("%s", r.log);
	EXPECT_EQ(before + 2, count_fds());
	send_msg(r.front, VU_RESET_OWNER, V, NULL, 0, NULL, 0);
	EXPECT_TRUE(reaches(&r, VU_RESET_OWNER, &m)) TH_LOG("%s", r.log);
	EXPECT_EQ(before, count_fds());
	rig_close(&r);
}

TEST_HARNESS_MAIN
