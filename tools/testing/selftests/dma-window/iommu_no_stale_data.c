// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: which bytes are in what a device can reach.
 */

#include "iommu_fixture.h"

/* I3 */
FIXTURE(no_stale_data) { struct state s; };
FIXTURE_SETUP(no_stale_data) { start(&self->s); }
FIXTURE_TEARDOWN(no_stale_data) { finish(_metadata, &self->s); }

/* Fill what is free of the window, as a device would that writes all it can. */
static bool soil(struct behind *b, u8 byte)
{
	static u8 junk[64 * 1024];
	u64 at;

	if (counter("io_tlb_used") > 64)
		return wrong("the window is in use");
	memset(junk, byte, sizeof(junk));
	/* Spare the upper half: coherent memory, such as the engine's page, is there. */
	for (at = 0; at < b->e.size / 2; at += sizeof(junk))
		if (poke(&b->e, b->e.base + at, junk, sizeof(junk)))
			return wrong("cannot write to the window");
	return true;
}

/*
 * Bytes that the device can read around the data: zeros, whatever was in the window
 * before, and never the neighbours in memory. With every direction and attribute.
 */
TEST_F_TIMEOUT(no_stale_data, around_the_data, LIMIT)
{
	const struct { u64 at, size; } parts[] = {
		{ 100, 2 * G }, { G - 1, G + 1 }, { 0, G + 1 }, { 2048, 2 * G },
		{ 1, 2 * G - 1 }, { 0, 2 * G - 1 }, { G / 2, 64 * G },
	};
	struct job j = {};
	size_t i, n = 0;
	struct mem buf;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	j.buf = &buf;
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		j.at = 4 * G + parts[i].at;
		j.size = parts[i].size;
		for (j.dir = 0; j.dir <= EDU_FROM_DEVICE; j.dir++) {
			for (j.map_attrs = 0; j.map_attrs <= EDU_SKIP_CPU_SYNC;
			     j.map_attrs += EDU_SKIP_CPU_SYNC) {
				for (j.unmap_attrs = 0; j.unmap_attrs <= EDU_SKIP_CPU_SYNC;
				     j.unmap_attrs += EDU_SKIP_CPU_SYNC) {
					if (n++ % stride())
						continue;
					ASSERT_TRUE(soil(B, 0xd7));
					ASSERT_TRUE(lifetime(B, &j)) {
						TH_LOG("%llu at %llu, direction %u, %llx %llx",
						       (unsigned long long)j.size,
						       (unsigned long long)j.at, j.dir,
						       (unsigned long long)j.map_attrs,
						       (unsigned long long)j.unmap_attrs);
					}
				}
			}
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Bytes around a small buffer: the device reads the window's, not the driver's. */
TEST_F_TIMEOUT(no_stale_data, around_a_small_buffer, LIMIT)
{
	const u64 sizes[] = { 1, 64, 1500, 2048, 4095 };
	struct mem buf;
	struct map p;
	u64 i, k, at;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * G, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		at = G + 77;
		ASSERT_TRUE(soil(B, 0));
		memset(buf.mem, 0xc5, buf.size);
		memset(buf.mem + at, 0x11, sizes[i]);
		ASSERT_EQ(0, map(E, &p, &buf, at, sizes[i], EDU_TO_DEVICE, 0));
		ASSERT_TRUE(inside(E, p.addr, sizes[i]));
		ASSERT_EQ(0, see(E, p.addr & -G, look, 2 * G));
		for (k = 0; k < 2 * G; k++)
			ASSERT_NE(0xc5, look[k]);
		for (k = 0; k < sizes[i]; k++)
			ASSERT_EQ(0x11, look[p.addr % G + k]);
		ASSERT_EQ(0, unmap(E, &p, 0));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A list that cannot be mapped leaves nothing, and the buffers as they were. */
TEST_F_TIMEOUT(no_stale_data, list_that_fails, LIMIT)
{
	struct edu_seg segs[4] = {};
	struct edu_map_sg sg = { .segs = (uintptr_t)segs, .nents = 4, .attrs = EDU_NO_WARN };
	u64 before[COUNTERS], after[COUNTERS];
	static struct map hog[4096];
	struct walk was, is;
	struct mem buf;
	u64 live;
	u32 dir;
	int n, last;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	/*
	 * Mappings without a whole granule have to be bounced: until there is no
	 * room, first for those like segs[1], then for a head or a tail. Both kinds
	 * may be left, because runs that other CPUs kept may lie anywhere.
	 */
	for (n = 0; n < 4096; n++)
		if (map(E, &hog[n], &buf, 1, 2 * G - 2, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_GE(n, 4);
	last = n - 1;
	for (; n < 4096; n++)
		if (map(E, &hog[n], &buf, 1, G - 2, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_LT(n, 4096);
	ASSERT_EQ(0, unmap(E, &hog[last], 0));
	hog[last] = hog[--n];
	was = space(B);
	live = counter("maps") - counter("unmaps");
	for (dir = 0; dir <= EDU_FROM_DEVICE; dir++) {
		/* Mapped; bounced, in the room there is; with a head and a tail: no room. */
		segs[0] = (struct edu_seg){ buf.id, 64 * KIB, 256 * KIB, 0, 0 };
		segs[1] = (struct edu_seg){ buf.id, 2 * G - 2, 384 * KIB + 1, 0, 0 };
		segs[2] = (struct edu_seg){ buf.id, 64 * KIB, 512 * KIB + 100, 0, 0 };
		segs[3] = (struct edu_seg){ buf.id, 64 * KIB, 768 * KIB, 0, 0 };
		sg.dir = dir;
		fill(buf.mem, buf.size, 1);
		device_counters(before);
		EXPECT_EQ(-1, ioctl(E->fd, EDU_MAP_SG, &sg));
		EXPECT_EQ(ENOMEM, errno);
		device_counters(after);
		/* Nothing is copied back, and nothing was changed. */
		EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
		EXPECT_EQ(before[BYTES_OUT], after[BYTES_OUT]);
		EXPECT_EQ(live, counter("maps") - counter("unmaps"));
		is = space(B);
		EXPECT_TRUE(walks_equal(&was, &is));
		free(is.extents);
	}
	while (n--)
		EXPECT_EQ(0, unmap(E, &hog[n], 0));
	EXPECT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	EXPECT_EQ(0, edu_end(E, sg.id, 0));
	free(was.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
