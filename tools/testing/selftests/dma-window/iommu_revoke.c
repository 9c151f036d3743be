// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an IOMMU does not let go of is never used again by anybody (I1, I3), and
 * in a guest whose memory is private nothing but the window is shown to a device.
 * Both by making functions of the kernel fail, so only on kernels that can do so.
 * See edu.h for what these tests need; the neighbour is removed and found anew.
 */

#include "iommu_fixture.h"

#define PAGES	768

/* I1 */
FIXTURE(confinement) { struct state s; };
FIXTURE_SETUP(confinement) { start(&self->s); }
FIXTURE_TEARDOWN(confinement) { finish(_metadata, &self->s); }

static const char *neighbour_file(const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", setting("NEIGHBOUR"), file);
	return path;
}

/* A new device in the neighbour's place, and so a new domain. */
static bool replace_neighbour(void)
{
	return (!write_text(neighbour_file("remove"), "1") &&
		!write_text("/sys/bus/pci/rescan", "1") &&
		!access(neighbour_file("driver"), F_OK)) ||
	       wrong("the neighbour does not come back");
}

/* Does the page allocator give that page to anybody, who takes all that are free? */
static bool allocated_again(struct behind *b, u64 phys)
{
	static struct mem pages[PAGES];
	bool again = false;
	int n;

	for (n = 0; n < PAGES; n++) {
		if (mem_new(&b->e, &pages[n], EDU_BUFFER, 4096, 0, 0))
			break;
		again |= pages[n].addr == phys;
	}
	while (n--)
		mem_free(&b->e, &pages[n]);
	return again;
}

/* Unmap, and the IOMMU fails. */
static bool unmap_fails(struct edu *e, struct map *p)
{
	bool done = fail_call("dma_window_revoke_unmap", 1, true) && !unmap(e, p, 0);

	return failed_call() && done;
}

TEST_F_TIMEOUT(confinement, memory_is_held_back, LIMIT)
{
	u64 leaked = counter("leaked"), phys, addr;
	struct edu_seg segs[2] = {};
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = 2, .dir = EDU_BIDIRECTIONAL,
	};
	struct mem buf, other;
	struct map p;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, write_number(neighbour_file("dma_window/copybreak"), 0));

	/* The control: a page that is free is soon somebody else's. */
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4096, 0, 0));
	phys = buf.addr;
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4096, EDU_BIDIRECTIONAL, 0));
	ASSERT_FALSE(inside(E, p.addr, 4096));
	ASSERT_EQ(0, unmap(E, &p, 0));
	ASSERT_EQ(0, mem_free(E, &buf));
	EXPECT_TRUE(allocated_again(B, phys));
	EXPECT_EQ(leaked, counter("leaked"));

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4096, 0, 0));
	phys = buf.addr;
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4096, EDU_BIDIRECTIONAL, 0));
	addr = p.addr;
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 4096, counter("leaked"));
	ASSERT_EQ(0, mem_free(E, &buf));
	EXPECT_EQ(phys, reach(B, addr));
	EXPECT_FALSE(allocated_again(B, phys));

	/* Nobody gets the address, either; and the device works as before. */
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4096, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4096, EDU_TO_DEVICE, 0));
	EXPECT_NE(addr, p.addr);
	EXPECT_EQ(buf.addr, reach(B, p.addr));
	EXPECT_EQ(0, unmap(E, &p, 0));

	/* A list of two pages. */
	ASSERT_EQ(0, mem_new(E, &other, EDU_BUFFER, 4096, 0, 0));
	segs[0] = (struct edu_seg){ .buffer = buf.id, .size = 4096 };
	segs[1] = (struct edu_seg){ .buffer = other.id, .size = 4096 };
	phys = other.addr;
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	p.id = sg.id;
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 3 * 4096, counter("leaked"));
	ASSERT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, mem_free(E, &other));
	EXPECT_FALSE(allocated_again(B, phys));
	EXPECT_EQ(0, log_lines(setting("NEIGHBOUR"), "cut off"));

	EXPECT_TRUE(replace_neighbour());
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
}

/* Memory that cannot be held back: the device reaches none at all any more. */
TEST_F_TIMEOUT(confinement, device_is_cut_off, LIMIT)
{
	u64 leaked = counter("leaked"), used = counter("io_tlb_used");
	struct edu_map again;
	struct mem buf;
	struct map p;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, write_number(neighbour_file("dma_window/copybreak"), 0));
	/* Not compound: its tail pages have no references. With chunks of the window. */
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 100, 32 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, access_bus(E, EDU_DMA, p.addr + 8 * KIB, look, 1024, false));
	ASSERT_EQ(0, memcmp(look, buf.mem + 100 + 8 * KIB, 1024));
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 36 * KIB, counter("leaked"));
	EXPECT_EQ(1, log_lines(setting("NEIGHBOUR"), "that others will use: cut off"));
	/* The two chunks are lost to the window. */
	EXPECT_EQ(used + 4, counter("io_tlb_used"));
	self->s.used += 4;

	/* It reads nothing, and can be given nothing. */
	memset(look, 0, 1024);
	access_bus(E, EDU_DMA, p.addr + 8 * KIB, look, 1024, false);
	EXPECT_NE(0, memcmp(look, buf.mem + 100 + 8 * KIB, 1024));
	again = (struct edu_map){ .buffer = buf.id, .size = 64, .dir = EDU_TO_DEVICE };
	EXPECT_EQ(-1, ioctl(E->fd, EDU_MAP, &again));

	/* Nor can another driver. */
	ASSERT_EQ(0, write_text(DRIVER "unbind", setting("NEIGHBOUR")));
	EXPECT_NE(0, write_text(DRIVER "bind", setting("NEIGHBOUR")));
	EXPECT_NE(0, log_lines(setting("NEIGHBOUR"),
			       "its IOMMU did not let go of memory that others use"));
	EXPECT_EQ(0, mem_free(E, &buf));

	/* With the device goes the domain, and what was mapped in it. */
	EXPECT_TRUE(replace_neighbour());
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 64, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
}

/* A guest whose memory is private: all is copied, whatever the size. */
TEST_F_TIMEOUT(confinement, private_memory, LIMIT)
{
	u64 before[COUNTERS], after[COUNTERS];
	char path[128];
	struct mem buf;
	struct map p;
	u32 dir;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 128 * KIB, EDU_TO_DEVICE, 0));
	ASSERT_FALSE(inside(E, p.addr, 128 * KIB));
	ASSERT_EQ(0, unmap(E, &p, 0));

	ASSERT_EQ(0, write_text(DRIVER "unbind", setting("EDU")));
	ASSERT_TRUE(fail_call("dma_window_memory_is_private", 1, false));
	snprintf(path, sizeof(path), FAIL "dma_window_memory_is_private/retval");
	ASSERT_EQ(0, write_text(path, "1"));
	ASSERT_EQ(0, write_text(DRIVER "bind", setting("EDU")));
	EXPECT_TRUE(failed_call());
	edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	device_counters(before);
	for (dir = 0; dir <= EDU_FROM_DEVICE; dir++) {
		fill(buf.mem, buf.size, dir);
		ASSERT_EQ(0, map(E, &p, &buf, 0, 128 * KIB, dir, 0));
		EXPECT_TRUE(inside(E, p.addr, 128 * KIB));
		ASSERT_EQ(0, peek(E, p.addr, look, 128 * KIB));
		EXPECT_TRUE(dir == EDU_FROM_DEVICE ? is_zero(look, 128 * KIB) :
			    has(look, 0, 128 * KIB, dir));
		EXPECT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	}
	device_counters(after);
	EXPECT_EQ(before[IOMMU_MAPS], after[IOMMU_MAPS]);

	/* With the next driver it is decided anew. */
	ASSERT_EQ(0, write_text(DRIVER "unbind", setting("EDU")));
	ASSERT_EQ(0, write_text(DRIVER "bind", setting("EDU")));
	edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 128 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_FALSE(inside(E, p.addr, 128 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
