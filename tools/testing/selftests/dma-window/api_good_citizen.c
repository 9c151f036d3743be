// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: syncs, alignments, boundaries, contexts, and random
 * calls, as drivers have come to expect of the API.
 */

#include "api_fixture.h"

/* I7 */
FIXTURE(good_citizen) { struct state s; };
FIXTURE_SETUP(good_citizen) { start(&self->s); }
FIXTURE_TEARDOWN(good_citizen) { finish(_metadata, &self->s); }

/* A sync of a part, at any offset, moves that part and nothing else. */
TEST_F_TIMEOUT(good_citizen, partial_syncs, LIMIT)
{
	static const struct { size_t at, size; } parts[] = {
		{ 0, 1 }, { 1, 1 }, { 4999, 1 }, { 2047, 2 }, { 2048, 2048 },
		{ 100, 3000 }, { 4000, 1000 }, { 0, 5000 }, { 17, 0 }, { 5000, 0 },
	};
	struct mem buf;
	struct map p;
	size_t i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 5000, EDU_BIDIRECTIONAL, 0));
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t at = parts[i].at, size = parts[i].size, end = at + size;

		fill(look, 5000, 8);
		ASSERT_EQ(0, put(E, p.addr, look, 5000));
		fill(buf.mem, 8 * KIB, 9);
		ASSERT_EQ(0, sync_range(E, &p, at, size, EDU_FROM_DEVICE, true));
		ASSERT_TRUE(has(buf.mem, at, size, 8));
		ASSERT_TRUE(has(buf.mem, 0, at, 9));
		ASSERT_TRUE(has(buf.mem, end, 8 * KIB - end, 9));
		ASSERT_EQ(0, see(E, p.addr, look, 5000));
		ASSERT_TRUE(has(look, 0, 5000, 8));

		fill(buf.mem, 8 * KIB, 10);
		ASSERT_EQ(0, sync_range(E, &p, at, size, EDU_TO_DEVICE, false));
		ASSERT_EQ(0, see(E, p.addr, look, 5000));
		ASSERT_TRUE(has(look, at, size, 10));
		ASSERT_TRUE(has(look, 0, at, 8));
		ASSERT_TRUE(has(look, end, 5000 - end, 8));
		ASSERT_TRUE(has(buf.mem, 0, 8 * KIB, 10));
	}
	ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A sync in a direction that the mapping does not have copies nothing. */
TEST_F_TIMEOUT(good_citizen, syncs_of_the_other_direction, LIMIT)
{
	struct mem buf;
	struct map p;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * KIB, 0, 0));
	fill(buf.mem, 4 * KIB, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_TO_DEVICE, 0));
	memset(look, 0xaa, 4 * KIB);
	ASSERT_EQ(0, put(E, p.addr, look, 4 * KIB));
	raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr, 4 * KIB, 0);
	EXPECT_TRUE(has(buf.mem, 0, 4 * KIB, 1));
	ASSERT_EQ(0, sync_range(E, &p, 0, 4 * KIB, EDU_TO_DEVICE, true));
	EXPECT_TRUE(has(buf.mem, 0, 4 * KIB, 1));
	ASSERT_EQ(0, unmap(E, &p, 0));
	EXPECT_TRUE(has(buf.mem, 0, 4 * KIB, 1));

	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_FROM_DEVICE, 0));
	raw(E, EDU_RAW_SYNC_FOR_DEVICE, p.addr, 4 * KIB, 0);
	ASSERT_EQ(0, see(E, p.addr, look, 4 * KIB));
	EXPECT_TRUE(is_zero(look, 4 * KIB));
	ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EXPECT_TRUE(has(buf.mem, 0, 4 * KIB, 1));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* The low bits of a buffer's address are kept if the device sets a min_align_mask. */
TEST_F_TIMEOUT(good_citizen, min_align_mask, LIMIT)
{
	static const u64 masks[] = { 0x1ff, 0x7ff, 0xfff, 0xffff };
	static const u64 offsets[] = { 0, 1, 512, 2047, 2049, 4095, 9000 };
	u64 page = page_size();
	struct mem buf;
	struct map p;
	size_t i, j;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB + page, 0, 0));
	fill(buf.mem, buf.size, 80);
	for (i = 0; i < sizeof(masks) / sizeof(*masks); i++) {
		edu_limit(E, EDU_MIN_ALIGN_MASK, masks[i]);
		for (j = 0; j < sizeof(offsets) / sizeof(*offsets); j++) {
			ASSERT_EQ(0, map(E, &p, &buf, offsets[j], 5000, EDU_TO_DEVICE, 0));
			ASSERT_EQ((buf.addr + offsets[j]) & masks[i], p.addr & masks[i]);
			ASSERT_TRUE(inside(E, p.addr, 5000));
			ASSERT_EQ(0, see(E, p.addr, look, 5000));
			ASSERT_EQ(0, memcmp(look, buf.mem + offsets[j], 5000));
			ASSERT_EQ(0, unmap(E, &p, 0));
		}
	}
	edu_limit(E, EDU_MIN_ALIGN_MASK, 0);
	/* Without a mask: a page or more is aligned to a page. */
	ASSERT_EQ(0, map(E, &p, &buf, 0, 1, EDU_TO_DEVICE, 0));
	{
		struct map q;

		ASSERT_EQ(0, map(E, &q, &buf, 5, page, EDU_TO_DEVICE, 0));
		EXPECT_EQ(0, q.addr % page);
		ASSERT_EQ(0, unmap(E, &q, 0));
	}
	ASSERT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* No mapping crosses the segment boundary; one too large for that is refused. */
TEST_F_TIMEOUT(good_citizen, segment_boundary, LIMIT)
{
	u64 masked = counter("fail_mask"), i;
	struct map maps[16], p;
	struct mem buf;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 128 * KIB, 0, 0));
	edu_limit(E, EDU_SEG_BOUNDARY, 64 * KIB - 1);
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, map(E, &maps[i], &buf, 0, 24 * KIB, EDU_TO_DEVICE, 0));
		EXPECT_EQ(maps[i].addr / (64 * KIB),
			  (maps[i].addr + 24 * KIB - 1) / (64 * KIB));
	}
	ASSERT_EQ(0, map(E, &p, &buf, 0, 64 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, p.addr % (64 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	/* Call the device's operation: the DMA API would complain of the caller. */
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, 128 * KIB, buf.id));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(0, unmap(E, &maps[i], 0));
	/* Smaller than a slot. */
	edu_limit(E, EDU_SEG_BOUNDARY, 511);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 512, EDU_TO_DEVICE, 0));
	EXPECT_EQ(p.addr / 512, (p.addr + 511) / 512);
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, 513, buf.id));
	EXPECT_EQ(masked + 1, counter("fail_mask"));
	edu_limit(E, EDU_SEG_BOUNDARY, 0xffffffff);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A mapping that begins late in its run of slots does not end in another's run. */
TEST_F_TIMEOUT(good_citizen, min_align_mask_and_neighbours, LIMIT)
{
	size_t start, late;
	struct mem buf;
	struct map p, q;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	start = -buf.addr % (64 * KIB);
	late = start + (64 + 62) * KIB;
	fill(buf.mem + start, 64 * KIB, 83);
	fill(buf.mem + late, 5000, 84);
	edu_limit(E, EDU_MIN_ALIGN_MASK, 0xffff);
	ASSERT_EQ(0, map(E, &p, &buf, late, 5000, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, map(E, &q, &buf, start, 64 * KIB, EDU_TO_DEVICE, 0));
	edu_limit(E, EDU_MIN_ALIGN_MASK, 0);
	EXPECT_EQ(62 * KIB, p.addr % (64 * KIB));
	EXPECT_EQ(0, q.addr % (64 * KIB));
	ASSERT_EQ(0, see(E, p.addr, look, 5000));
	EXPECT_TRUE(has(look, 0, 5000, 84));
	ASSERT_EQ(0, see(E, q.addr, look, 64 * KIB));
	EXPECT_TRUE(has(look, 0, 64 * KIB, 83));
	EXPECT_EQ(0, unmap(E, &q, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Slots that a CPU keeps of earlier mappings do not cross a segment boundary. */
TEST_F_TIMEOUT(good_citizen, segment_boundary_and_what_is_kept, LIMIT)
{
	struct mem buf;
	struct map p;

	ASSERT_TRUE(stay());
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 8 * KIB, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, unmap(E, &p, 0));
	edu_limit(E, EDU_SEG_BOUNDARY, 4 * KIB - 1);
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, 8 * KIB, buf.id));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, p.addr % (4 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	edu_limit(E, EDU_SEG_BOUNDARY, 0xffffffff);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* With interrupts disabled. */
TEST_F_TIMEOUT(good_citizen, atomic, LIMIT)
{
	struct edu_map arg = { .size = 5000, .flags = EDU_ATOMIC };
	struct mem buf, m;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	arg.buffer = buf.id;
	fill(buf.mem, 8 * KIB, 1);
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP, &arg));
	EXPECT_EQ(0, see(E, arg.addr, look, 5000));
	EXPECT_TRUE(has(look, 0, 5000, 1));
	EXPECT_EQ(0, edu_end(E, arg.id, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 300 * KIB, EDU_ATOMIC, 0));
	EXPECT_TRUE(inside(E, m.addr, 300 * KIB));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * Many calls in random order, compared with a model of what the device and the
 * driver must see.
 */
TEST_F_TIMEOUT(good_citizen, random_calls, LIMIT)
{
	enum { N = 24, SPACE = 20480 };
	struct { bool live; struct map p; u32 dir, size, at; u8 *model; } maps[N] = {};
	unsigned int round, seed = 1, i;
	static u8 cpu[N * SPACE];
	struct mem buf;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, N * SPACE, 0, 0));
	fill(buf.mem, buf.size, 1);
	fill(cpu, sizeof(cpu), 1);
	for (i = 0; i < N; i++)
		maps[i].model = malloc(SPACE);
	for (round = 0; round < (E->engine ? 1000 : 4000); round++) {
		u32 a, n, r = rand_r(&seed);

		i = r % N;
		if (!maps[i].live) {
			u32 skip = (r >> 8) % 4 ? 0 : EDU_SKIP_CPU_SYNC;

			maps[i].size = 1 + rand_r(&seed) % ((r >> 12) % 2 ? 300 : SPACE - 1);
			maps[i].at = i * SPACE + rand_r(&seed) % (SPACE - maps[i].size + 1);
			maps[i].dir = (r >> 16) % 3;
			ASSERT_EQ(0, map(E, &maps[i].p, &buf, maps[i].at, maps[i].size,
					 maps[i].dir, skip));
			ASSERT_TRUE(inside(E, maps[i].p.addr, maps[i].size));
			if (skip || maps[i].dir == EDU_FROM_DEVICE)
				memset(maps[i].model, 0, maps[i].size);
			else
				memcpy(maps[i].model, cpu + maps[i].at, maps[i].size);
			maps[i].live = true;
			continue;
		}
		a = rand_r(&seed) % maps[i].size;
		n = rand_r(&seed) % (maps[i].size - a + 1);
		switch ((r >> 8) % 6) {
		case 0:	/* The device writes. */
			fill(look, n, round);
			ASSERT_EQ(0, put(E, maps[i].p.addr + a, look, n));
			memcpy(maps[i].model + a, look, n);
			break;
		case 1:	/* The driver writes. */
			fill(cpu + maps[i].at + a, n, round);
			memcpy(buf.mem + maps[i].at + a, cpu + maps[i].at + a, n);
			break;
		case 2:
			ASSERT_EQ(0, sync_range(E, &maps[i].p, a, n, maps[i].dir, true));
			if (maps[i].dir != EDU_TO_DEVICE)
				memcpy(cpu + maps[i].at + a, maps[i].model + a, n);
			break;
		case 3:
			ASSERT_EQ(0, sync_range(E, &maps[i].p, a, n, maps[i].dir, false));
			if (maps[i].dir != EDU_FROM_DEVICE)
				memcpy(maps[i].model + a, cpu + maps[i].at + a, n);
			break;
		case 4:
			ASSERT_EQ(0, see(E, maps[i].p.addr, look, maps[i].size));
			ASSERT_EQ(0, memcmp(look, maps[i].model, maps[i].size)) {
				TH_LOG("device, round %u", round);
			}
			break;
		case 5:
			maps[i].live = false;
			if ((r >> 20) % 4) {
				ASSERT_EQ(0, unmap(E, &maps[i].p, 0));
				if (maps[i].dir != EDU_TO_DEVICE)
					memcpy(cpu + maps[i].at, maps[i].model, maps[i].size);
			} else {
				ASSERT_EQ(0, unmap(E, &maps[i].p, EDU_SKIP_CPU_SYNC));
			}
			break;
		}
		ASSERT_EQ(0, memcmp(cpu + i * SPACE, buf.mem + i * SPACE, SPACE)) {
			TH_LOG("driver, round %u", round);
		}
	}
	for (i = 0; i < N; i++)
		if (maps[i].live)
			ASSERT_EQ(0, unmap(E, &maps[i].p, EDU_SKIP_CPU_SYNC));
	ASSERT_EQ(0, memcmp(cpu, buf.mem, sizeof(cpu)));
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
