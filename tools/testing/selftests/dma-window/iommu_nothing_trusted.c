// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: wrong calls, and calls with a neighbour's addresses.
 */

#include "iommu_fixture.h"

/* I4 */
FIXTURE(nothing_trusted) { struct state s; };
FIXTURE_SETUP(nothing_trusted) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_trusted) { finish(_metadata, &self->s); }

/* Calls with addresses that are not mapped change nothing, are counted, logged once. */
TEST_F_TIMEOUT(nothing_trusted, unknown_addresses, LIMIT)
{
	struct map large, small, gone;
	struct walk was, is;
	struct mem buf, m;
	u64 n, calls;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 4096, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &large, &buf, 100, 64 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, map(E, &small, &buf, 128 * KIB, 1000, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, map(E, &gone, &buf, 256 * KIB + 100, 64 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, unmap(E, &gone, 0));
	was = space(B);
	{
		/* Gone; the middle, a byte off, its granule; never; coherent; physical. */
		const u64 addrs[] = {
			gone.addr, large.addr + 8192, large.addr + 1, large.addr & -G,
			large.addr + 64 * KIB, 0, 4096, (1ull << SPACE_BITS) - G,
			(1ull << 40), ~0ull - 4095, m.addr, small.addr + 8, buf.addr,
			E->base - 1, E->base + E->size, B->phys,
		};

		calls = sizeof(addrs) / sizeof(*addrs);
		for (n = 0; n < calls; n++)
			raw(E, EDU_RAW_UNMAP, addrs[n], 64 * KIB, 0);
		raw(E, EDU_RAW_FREE, large.addr, 4096, m.id);
		calls++;
		/* Syncs beyond the end, and of nothing: nothing new is copied. */
		raw(E, EDU_RAW_SYNC_FOR_CPU, large.addr, 64 * KIB + 1, 0);
		raw(E, EDU_RAW_SYNC_FOR_CPU, large.addr + 60 * KIB, 8 * KIB, 0);
		calls += 2;
		EXPECT_EQ(self->s.invalid + calls, counter("fail_invalid"));
		raw(E, EDU_RAW_SYNC_FOR_DEVICE, large.addr + 4096, ~0ull - 100, 0);
		EXPECT_EQ(self->s.invalid + ++calls, counter("fail_invalid"));
		raw(E, EDU_RAW_SYNC_FOR_CPU, gone.addr, 4096, 0);
		EXPECT_EQ(self->s.invalid + ++calls, counter("fail_invalid"));
		raw(E, EDU_RAW_SYNC_FOR_DEVICE, ~0ull - 4095, 4096, 0);
		calls++;
	}
	EXPECT_EQ(self->s.invalid + calls, counter("fail_invalid"));
	self->s.invalid = counter("fail_invalid");
	is = space(B);
	EXPECT_TRUE(walks_equal(&was, &is));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	/* Each kind of call once. */
	EXPECT_EQ(2, log_lines(setting("EDU"), "which is not mapped: ignored"));
	/* Mappings that were live still are: each can be unmapped, once. */
	fill(look, 64 * KIB, 2);
	ASSERT_EQ(0, poke(E, large.addr, look, 64 * KIB));
	EXPECT_EQ(0, unmap(E, &large, 0));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 64 * KIB));
	raw(E, EDU_RAW_UNMAP, large.addr, 64 * KIB, 0);
	EXPECT_EQ(++self->s.invalid, counter("fail_invalid"));
	EXPECT_EQ(0, unmap(E, &small, 0));
	EXPECT_EQ(0, mem_free(E, &m));
	free(was.extents);
	free(is.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Devices that share a window share neither addresses nor mappings. */
TEST_F_TIMEOUT(nothing_trusted, neighbour, LIMIT)
{
	struct walk was, is;
	struct mem buf;
	struct map p;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	fill(buf.mem, buf.size, 1);
	was = space(B);
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, map(E, &p, &buf, 100, 512 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
	is = space(B);
	EXPECT_TRUE(walks_equal(&was, &is));
	raw(E, EDU_RAW_UNMAP, p.addr, 512 * KIB, 0);
	raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr, 4096, 0);
	self->s.invalid += 2;
	EXPECT_EQ(self->s.invalid, counter("fail_invalid"));
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	EXPECT_EQ(0, peek(E, p.addr, look, 512 * KIB));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 512 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_TRUE(unreachable(B, p.addr, 512 * KIB));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
	free(was.extents);
	free(is.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
