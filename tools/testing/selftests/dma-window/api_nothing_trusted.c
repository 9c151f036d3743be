// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: wrong calls, and what a device writes, change nothing
 * but their own.
 */

#include "api_fixture.h"

/* I4 */
FIXTURE(nothing_trusted) { struct state s; };
FIXTURE_SETUP(nothing_trusted) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_trusted) { finish(_metadata, &self->s); }

/* Calls with addresses that are not mapped change nothing, and are counted. */
TEST_F_TIMEOUT(nothing_trusted, bad_calls, LIMIT)
{
	u64 used, out, in, page = page_size();
	struct map p, gone;
	struct mem buf, m;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 2 * page, 0, 0));
	fill(buf.mem, 8 * KIB, 90);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 8 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, map(E, &gone, &buf, 8 * KIB, 8 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, unmap(E, &gone, 0));
	fill(look, 8 * KIB, 91);
	ASSERT_EQ(0, put(E, p.addr, look, 8 * KIB));
	used = counter("io_tlb_used");
	out = counter("bytes_out");
	in = counter("bytes_in");

	/* Unmapped already; never mapped; in the middle; outside; coherent. */
	raw(E, EDU_RAW_UNMAP, gone.addr, 8 * KIB, 0);
	raw(E, EDU_RAW_UNMAP, p.addr + 64 * KIB, 8 * KIB, 0);
	raw(E, EDU_RAW_UNMAP, p.addr + 2048, 2048, 0);
	raw(E, EDU_RAW_UNMAP, p.addr + 1, 8 * KIB - 1, 0);
	raw(E, EDU_RAW_UNMAP, buf.addr, 8 * KIB, 0);
	raw(E, EDU_RAW_UNMAP, E->base - 1, 1, 0);
	raw(E, EDU_RAW_UNMAP, E->base + E->size, 1, 0);
	raw(E, EDU_RAW_UNMAP, 0, 1, 0);
	raw(E, EDU_RAW_UNMAP, m.addr, 2 * page, 0);
	/* Syncs of addresses that are not mapped. */
	raw(E, EDU_RAW_SYNC_FOR_CPU, gone.addr, 8 * KIB, 0);
	/* Of another size; a mapping. */
	raw(E, EDU_RAW_FREE, m.addr, page, m.id);
	raw(E, EDU_RAW_FREE, m.addr, 4 * page, m.id);
	raw(E, EDU_RAW_FREE, m.addr + page, page, m.id);
	raw(E, EDU_RAW_FREE, p.addr, 8 * KIB, m.id);

	EXPECT_EQ(self->s.invalid + 14, counter("fail_invalid"));
	self->s.invalid += 14;
	EXPECT_EQ(used, counter("io_tlb_used"));
	EXPECT_EQ(out, counter("bytes_out"));
	EXPECT_EQ(in, counter("bytes_in"));
	EXPECT_TRUE(has(buf.mem, 0, 8 * KIB, 90));
	EXPECT_EQ(0, see(E, p.addr, look, 8 * KIB));
	EXPECT_TRUE(has(look, 0, 8 * KIB, 91));
	EXPECT_TRUE(is_zero(m.mem, 2 * page));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_TRUE(has(buf.mem, 0, 8 * KIB, 91));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * A sync that runs past the end: the bytes inside are copied, as drivers that round
 * up expect, and nothing of the padding. Each kind of bug is reported, once.
 */
TEST_F_TIMEOUT(nothing_trusted, syncs_past_the_end, LIMIT)
{
	const struct { u64 at, size; } parts[] = {
		{ 0, 2048 }, { 0, 1501 }, { 1000, 4096 }, { 1499, 2 }, { 1500, 1 }, { 1600, 100 },
		{ 700, ~0ull - 100000 },
	};
	u64 i, in, out;
	struct mem buf;
	struct map p;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 1500, EDU_BIDIRECTIONAL, 0));
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		u64 at = parts[i].at, inner = at < 1500 ? 1500 - at : 0;

		fill(look, 2048, 20);
		ASSERT_EQ(0, put(E, p.addr, look, 2048));
		fill(buf.mem, buf.size, 21);
		out = counter("bytes_out");
		raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr + at, parts[i].size, 0);
		EXPECT_EQ(out + inner, counter("bytes_out"));
		EXPECT_TRUE(has(buf.mem, at, inner, 20));
		EXPECT_TRUE(has(buf.mem, 0, at < 1500 ? at : 1500, 21));
		EXPECT_TRUE(has(buf.mem, 1500, buf.size - 1500, 21));

		fill(buf.mem, buf.size, 22);
		in = counter("bytes_in");
		raw(E, EDU_RAW_SYNC_FOR_DEVICE, p.addr + at, parts[i].size, 0);
		EXPECT_EQ(in + inner, counter("bytes_in"));
		ASSERT_EQ(0, see(E, p.addr, look, 2048));
		EXPECT_TRUE(has(look, at, inner, 22));
		EXPECT_TRUE(has(look, 0, at < 1500 ? at : 1500, 20));
		EXPECT_TRUE(has(look, 1500, 548, 20));
	}
	EXPECT_EQ(self->s.invalid + 2 * i, counter("fail_invalid"));
	self->s.invalid += 2 * i;
	EXPECT_EQ(1, log_lines(setting("EDU"), "runs past the end"));

	/* Another kind of bug is still reported. */
	i = log_lines(setting("EDU"), "sync of");
	raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr + 64 * KIB, 8, 0);
	raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr + 64 * KIB, 8, 0);
	self->s.invalid += 2;
	EXPECT_EQ(2, log_lines(setting("EDU"), "sync of"));
	EXPECT_GE(2, i);
	EXPECT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Devices that share a window cannot undo each other's mappings. */
TEST_F_TIMEOUT(nothing_trusted, neighbour, LIMIT)
{
	struct mem buf, m;
	struct map p;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	fill(buf.mem, 8 * KIB, 92);
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 8 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	EXPECT_TRUE(inside(E, p.addr, 8 * KIB));
	EXPECT_TRUE(inside(E, m.addr, 8 * KIB));
	fill(look, 8 * KIB, 93);
	ASSERT_EQ(0, put(E, p.addr, look, 8 * KIB));

	ASSERT_EQ(0, edu_select(E, setting("EDU")));
	raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr, 8 * KIB, 0);
	raw(E, EDU_RAW_UNMAP, p.addr, 8 * KIB, 0);
	raw(E, EDU_RAW_FREE, m.addr, 8 * KIB, m.id);
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, m.addr, 8 * KIB, m.id));
	EXPECT_EQ(self->s.invalid + 3, counter("fail_invalid"));
	self->s.invalid += 3;
	EXPECT_TRUE(has(buf.mem, 0, 8 * KIB, 92));

	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_TRUE(has(buf.mem, 0, 8 * KIB, 93));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * The device writes all of the window, free or not: records that the kernel kept
 * in the window would be lost now.
 */
TEST_F_TIMEOUT(nothing_trusted, device_writes_everywhere, LIMIT)
{
	enum { N = 64, SPACE = 64 * KIB };
	struct map maps[N];
	struct mem buf, m;
	u64 at;
	int i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, N * SPACE, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	for (i = 0; i < N; i++)
		ASSERT_EQ(0, map(E, &maps[i], &buf, i * SPACE, 1 + i * 1000,
				 EDU_BIDIRECTIONAL, 0));
	memset(other, 0xff, sizeof(other));
	for (at = 0; at < E->size; at += MIB)
		ASSERT_EQ(0, access_bus(E, EDU_PEEK, E->base + at, other, MIB, true));
	/* Unmap every second mapping: the pool has many free runs to find again. */
	for (i = 0; i < N; i += 2)
		EXPECT_EQ(0, unmap(E, &maps[i], 0));
	for (i = 0; i < N; i += 2) {
		memset(buf.mem + i * SPACE, 0x11, SPACE);
		ASSERT_EQ(0, map(E, &maps[i], &buf, i * SPACE, 1 + i * 500,
				 EDU_TO_DEVICE, 0));
		ASSERT_TRUE(inside(E, maps[i].addr, 1 + i * 500));
	}
	for (i = N - 1; i >= 0; i--) {
		u8 *mem = buf.mem + i * SPACE;
		size_t size = 1 + i * 1000;

		memset(mem, 0x22, SPACE);
		EXPECT_EQ(0, unmap(E, &maps[i], 0));
		if (i % 2) {
			EXPECT_EQ(0, memcmp(mem, other, size));
			EXPECT_EQ(0x22, mem[size]);
		} else {
			EXPECT_EQ(0x22, mem[0]);
		}
	}
	EXPECT_EQ(0, memcmp(m.mem, other, 8 * KIB));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
