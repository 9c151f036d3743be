// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that an IOMMU fails to unmap is never used again by anybody (I1, I3), and
 * in a guest whose memory is private nothing but the window is shown to a device.
 * Both need functions of the kernel that fail on request (CONFIG_FAIL_FUNCTION).
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

/* Take all free pages: does the page allocator give out the page at @phys? */
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
	bool done = fail_call("dma_window_unmap_invalidate", 1, true) && !unmap(e, p, 0);

	return failed_call() && done;
}

/* Was the neighbour cut off, once more than @before, and reads nothing of @data? */
static bool is_cut_off(struct behind *b, int before, u64 addr, const u8 *data)
{
	struct edu_map again = { .size = 64, .dir = EDU_TO_DEVICE };
	struct mem buf;
	int ret;

	if (log_lines(setting("NEIGHBOUR"), "is cut off") != before + 1)
		return wrong("not cut off");
	memset(look, 0, 1024);
	access_bus(&b->e, EDU_DMA, addr, look, 1024, false);
	if (!memcmp(look, data, 1024))
		return wrong("the device still reads");
	if (mem_new(&b->e, &buf, EDU_BUFFER, 4096, 0, 0))
		return wrong("no memory");
	again.buffer = buf.id;
	ret = ioctl(b->e.fd, EDU_MAP, &again);
	mem_free(&b->e, &buf);
	return ret || wrong("the device is given an address");
}

/* A neighbour that maps all it can in place. */
static void fresh(struct __test_metadata *_metadata, struct behind *b)
{
	ASSERT_EQ(0, edu_select(&b->e, setting("NEIGHBOUR")));
	ASSERT_EQ(0, write_number(neighbour_file("dma_window/copybreak"), 0));
}

/* The device is cut off, and nobody is given the memory or the address. */
TEST_F_TIMEOUT(confinement, memory_is_held_back, LIMIT)
{
	int cut = log_lines(setting("NEIGHBOUR"), "is cut off");
	u64 leaked = counter("leaked"), phys, addr;
	struct edu_seg segs[2] = {};
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = 2, .dir = EDU_BIDIRECTIONAL,
	};
	struct mem buf, other;
	struct map p;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	fresh(_metadata, B);

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
	fill(buf.mem, 4096, 1);
	phys = buf.addr;
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4096, EDU_BIDIRECTIONAL, 0));
	addr = p.addr;
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 4096, counter("leaked"));
	EXPECT_TRUE(is_cut_off(B, cut, addr, buf.mem));
	ASSERT_EQ(0, mem_free(E, &buf));
	EXPECT_EQ(phys, reach(B, addr));
	EXPECT_FALSE(allocated_again(B, phys));

	/* A list of two pages. */
	EXPECT_TRUE(replace_neighbour());
	fresh(_metadata, B);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4096, 0, 0));
	ASSERT_EQ(0, mem_new(E, &other, EDU_BUFFER, 4096, 0, 0));
	segs[0] = (struct edu_seg){ .buffer = buf.id, .size = 4096 };
	segs[1] = (struct edu_seg){ .buffer = other.id, .size = 4096 };
	fill(buf.mem, 4096, 1);
	phys = other.addr;
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	p.id = sg.id;
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 3 * 4096, counter("leaked"));
	EXPECT_TRUE(is_cut_off(B, cut + 1, segs[0].addr, buf.mem));
	ASSERT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, mem_free(E, &other));
	EXPECT_FALSE(allocated_again(B, phys));

	EXPECT_TRUE(replace_neighbour());
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
}

/* A device cut off gets no driver again; its chunks of the window are not reused. */
TEST_F_TIMEOUT(confinement, device_stays_cut_off, LIMIT)
{
	int cut = log_lines(setting("NEIGHBOUR"), "is cut off");
	u64 leaked = counter("leaked"), used = counter("io_tlb_used");
	struct mem buf;
	struct map p;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	fresh(_metadata, B);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 100, 32 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, access_bus(E, EDU_DMA, p.addr + 8 * KIB, look, 1024, false));
	ASSERT_EQ(0, memcmp(look, buf.mem + 100 + 8 * KIB, 1024));
	EXPECT_TRUE(unmap_fails(E, &p));
	EXPECT_EQ(leaked + 36 * KIB, counter("leaked"));
	EXPECT_EQ(used + 4, counter("io_tlb_used"));
	self->s.used += 4;
	EXPECT_TRUE(is_cut_off(B, cut, p.addr + 8 * KIB, buf.mem + 100 + 8 * KIB));

	ASSERT_EQ(0, write_text(DRIVER "unbind", setting("NEIGHBOUR")));
	EXPECT_NE(0, write_text(DRIVER "bind", setting("NEIGHBOUR")));
	EXPECT_NE(0, log_lines(setting("NEIGHBOUR"),
			       "its IOMMU did not let go of memory that others use"));
	EXPECT_EQ(0, mem_free(E, &buf));

	/* Remove the device: its domain goes, with all that was mapped there. */
	EXPECT_TRUE(replace_neighbour());
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 64, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
}

/* An unmap, and what undoes a map, needs memory for its requests; none may be needed. */
TEST_F_TIMEOUT(confinement, unmap_without_memory, LIMIT)
{
	u64 leaked = counter("leaked");
	struct edu_seg segs[2] = {};
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = 2, .dir = EDU_BIDIRECTIONAL,
		.attrs = EDU_NO_WARN,
	};
	struct mem buf;
	struct map p;
	char text[16];
	int fd, nth;

	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no CONFIG_FAULT_INJECTION");
	write_text("/sys/kernel/debug/failslab/verbose", "0");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (nth = 1; nth < 4; nth++) {
		ASSERT_EQ(0, map(E, &p, &buf, 100, 64 * KIB, EDU_BIDIRECTIONAL, 0));
		snprintf(text, sizeof(text), "%d", nth);
		ASSERT_LT(0, pwrite(fd, text, strlen(text), 0));
		EXPECT_EQ(0, unmap(E, &p, 0));
		ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
		EXPECT_TRUE(unreachable(B, p.addr, 64 * KIB));
	}
	/* Each allocation of a list that goes in place in two pieces, or not at all. */
	for (nth = 1; nth < 12; nth++) {
		segs[0] = (struct edu_seg){ .buffer = buf.id, .size = 8 * KIB };
		segs[1] = (struct edu_seg){ .buffer = buf.id, .size = 8 * KIB, .offset = 64 * KIB };
		snprintf(text, sizeof(text), "%d", nth);
		ASSERT_LT(0, pwrite(fd, text, strlen(text), 0));
		if (!ioctl(E->fd, EDU_MAP_SG, &sg)) {
			ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
			EXPECT_EQ(0, edu_end(E, sg.id, 0));
		}
		ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
	}
	close(fd);
	EXPECT_EQ(leaked, counter("leaked"));
	EXPECT_EQ(0, log_lines(setting("EDU"), "is cut off"));
	EXPECT_EQ(0, mem_free(E, &buf));
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

	/* The next binding decides anew whether all is copied. */
	ASSERT_EQ(0, write_text(DRIVER "unbind", setting("EDU")));
	ASSERT_EQ(0, write_text(DRIVER "bind", setting("EDU")));
	edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 128 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_FALSE(inside(E, p.addr, 128 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
