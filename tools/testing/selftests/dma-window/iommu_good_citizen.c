// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: what is bounced, what is mapped and how, and that both work.
 */

#include "iommu_fixture.h"

/* I7 */
FIXTURE(good_citizen) { struct state s; };
FIXTURE_SETUP(good_citizen) { start(&self->s); }
FIXTURE_TEARDOWN(good_citizen) { finish(_metadata, &self->s); }

/* The size where copying ends and mapping begins, to the byte; it can be changed. */
TEST_F_TIMEOUT(good_citizen, copybreak, LIMIT)
{
	const u64 values[] = { 0, 1, 4096, 8192, 10000, 65536, MIB };
	struct job j = { .dir = EDU_BIDIRECTIONAL };
	struct mem buf;
	struct map p;
	u64 i, d;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 2 * MIB, 0, 0));
	EXPECT_GE(self->s.copybreak, 1);
	EXPECT_LE(self->s.copybreak, E->size);
	j.buf = &buf;
	for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
		ASSERT_EQ(0, copybreak(values[i]));
		ASSERT_EQ(values[i], number(copybreak_file()));
		j.copybreak = values[i];
		for (d = 0; d < 3; d++) {
			j.size = values[i] + d - 1;
			if (!j.size || j.size > values[i] + 1 || (i * 3 + d) % stride() % 3)
				continue;
			for (j.at = G; j.at <= G + 100; j.at += 100)
				ASSERT_TRUE(lifetime(B, &j)) {
					TH_LOG("copybreak %llu, %llu bytes at %llu",
					       (unsigned long long)values[i],
					       (unsigned long long)j.size,
					       (unsigned long long)j.at);
				}
		}
	}
	/* A live mapping stays copied, or in place, when copybreak changes. */
	ASSERT_EQ(0, copybreak(0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 100, 64 * KIB, EDU_BIDIRECTIONAL, 0));
	EXPECT_FALSE(inside(E, p.addr, 64 * KIB));
	ASSERT_EQ(0, copybreak(MIB));
	fill(look, 64 * KIB, 2);
	ASSERT_EQ(0, poke(E, p.addr, look, 64 * KIB));
	ASSERT_EQ(0, sync_range(E, &p, 0, 64 * KIB, EDU_BIDIRECTIONAL, true));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 64 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_TRUE(unreachable(B, p.addr, 64 * KIB));
	ASSERT_EQ(0, map(E, &p, &buf, 100, 64 * KIB, EDU_BIDIRECTIONAL, 0));
	EXPECT_TRUE(inside(E, p.addr, 64 * KIB));
	ASSERT_EQ(0, copybreak(0));
	fill(look, 64 * KIB, 3);
	ASSERT_EQ(0, poke(E, p.addr, look, 64 * KIB));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 64 * KIB));
	/* Text that is not a number is refused. */
	EXPECT_NE(0, write_text(copybreak_file(), "many"));
	EXPECT_NE(0, write_text(copybreak_file(), "-1"));
	EXPECT_EQ(0, number(copybreak_file()));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Mainline has 256 KiB; and however large, two granules at most are copied. */
TEST_F_TIMEOUT(good_citizen, sizes_to_8_mib, LIMIT)
{
	const u64 sizes[] = {
		128 * KIB, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, MIB + 4095, 4 * MIB + 1,
		8 * MIB - 1, 8 * MIB, 8 * MIB + 1,
	};
	u64 before[COUNTERS], after[COUNTERS], max = edu_info(E).max_mapping;
	struct job j = {};
	struct mem buf;
	size_t i;

	EXPECT_EQ(B->write_only ? 2048 * MIB : (E->size / 8 - 16 * KIB) & -4096ull, max);
	if (mem_new(E, &buf, EDU_BUFFER, 12 * MIB, 0, 0))
		SKIP(return, "no 12 MiB of memory in one piece");
	ASSERT_EQ(0, copybreak(4096));
	j.buf = &buf;
	j.copybreak = 4096;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i += stride()) {
		j.size = sizes[i];
		for (j.at = 2 * G; j.at <= 2 * G + 512; j.at += 512) {
			j.dir = i % 3;
			if (!can_map(B, j.dir, 0))
				j.dir = EDU_BIDIRECTIONAL;
			device_counters(before);
			ASSERT_TRUE(lifetime(B, &j)) {
				TH_LOG("%llu bytes at %llu, direction %u",
				       (unsigned long long)j.size, (unsigned long long)j.at,
				       j.dir);
			}
			device_counters(after);
			EXPECT_LE(after[BYTES_IN] - before[BYTES_IN], 2 * G);
			EXPECT_LE(after[BYTES_OUT] - before[BYTES_OUT], 2 * G);
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A sync of any part copies what is bounced of it, and nothing else. */
TEST_F_TIMEOUT(good_citizen, syncs, LIMIT)
{
	/* From byte 300 of a granule to byte 3996 - 300 of the fifth. */
	const u64 size = 5 * G - 700, at = G + 300;
	const u64 head = G - 300, tail = size - (G - 400);
	const struct { u64 at, size; } parts[] = {
		{ 0, 1 }, { 1, 1 }, { 0, head }, { head - 1, 1 }, { head - 1, 2 }, { head, 1 },
		{ head, 3 * G }, { head + 5, 100 }, { tail - 1, 1 }, { tail - 1, 2 },
		{ tail, 1 }, { tail, size - tail }, { size - 1, 1 }, { 0, size },
		{ 10, size - 20 }, { head, size - head }, { 0, tail }, { 17, 0 }, { size, 0 },
	};
	u64 before[COUNTERS], after[COUNTERS];
	struct layout l;
	struct mem buf;
	struct map p;
	u64 i, k;
	u32 dir;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * G, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (dir = 0; dir <= EDU_FROM_DEVICE; dir++) {
		fill(buf.mem, buf.size, 1);
		ASSERT_EQ(0, map(E, &p, &buf, at, size, dir, 0));
		l = layout_of(B, 0, buf.addr + at, size, dir, 0);
		ASSERT_TRUE(placed(B, &l, p.addr, buf.addr + at, size));
		if (l.small) {
			/* Bounced as a whole, as in any window: see api_good_citizen.c. */
			ASSERT_EQ(0, unmap(E, &p, 0));
			continue;
		}
		ASSERT_EQ(head, l.head_bytes);
		ASSERT_EQ(size - tail, l.tail_bytes);
		for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
			u64 from = parts[i].at, to = from + parts[i].size, bounced = 0;

			/* The device's own bytes: only bounced parts differ from the driver's. */
			fill(look, size, 20 + i);
			ASSERT_EQ(0, poke(E, p.addr, look, head));
			ASSERT_EQ(0, poke(E, p.addr + tail, look + tail, size - tail));
			fill(buf.mem, buf.size, 40 + i);
			memcpy(want, buf.mem, buf.size);
			for (k = from; k < to; k++) {
				if (k >= head && k < tail)
					continue;
				bounced++;
				if (dir != EDU_TO_DEVICE)
					want[at + k] = look[k];
			}
			device_counters(before);
			ASSERT_EQ(0, sync_range(E, &p, from, to - from, dir, true));
			device_counters(after);
			ASSERT_EQ(0, memcmp(buf.mem, want, buf.size)) {
				TH_LOG("for the CPU, %llu bytes at %llu, direction %u",
				       (unsigned long long)(to - from),
				       (unsigned long long)from, dir);
			}
			ASSERT_EQ(dir == EDU_TO_DEVICE ? 0 : bounced,
				  after[BYTES_OUT] - before[BYTES_OUT]);
			ASSERT_EQ(before[BYTES_IN], after[BYTES_IN]);
			ASSERT_EQ(before[IOMMU_MAPS], after[IOMMU_MAPS]);

			fill(buf.mem, buf.size, 60 + i);
			fill(want, size, 20 + i);
			for (k = 0; k < size; k++)
				if (k >= head && k < tail)
					want[k] = buf.mem[at + k];
				else if (k >= from && k < to && dir != EDU_FROM_DEVICE)
					want[k] = buf.mem[at + k];
			ASSERT_EQ(0, sync_range(E, &p, from, to - from, dir, false));
			ASSERT_EQ(0, peek(E, p.addr, look, size));
			ASSERT_EQ(0, memcmp(look, want, size)) {
				TH_LOG("for the device, %llu bytes at %llu, direction %u",
				       (unsigned long long)(to - from),
				       (unsigned long long)from, dir);
			}
			device_counters(before);
			ASSERT_EQ(dir == EDU_FROM_DEVICE ? 0 : bounced,
				  before[BYTES_IN] - after[BYTES_IN]);
			/* The padding is nobody's. */
			ASSERT_EQ(0, peek(E, p.addr & -G, look, 300));
			ASSERT_TRUE(is_zero(look, 300));
		}
		ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
		ASSERT_TRUE(has(buf.mem, 0, buf.size, 60 + i - 1));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* As drivers do that round up: the tail is copied, whatever granule the sync ends in. */
TEST_F_TIMEOUT(good_citizen, syncs_past_the_end, LIMIT)
{
	/* Ends 0x700 into the seventeenth granule; in the middle of a granule; at one. */
	const struct { u64 at, size, from, sync; } cases[] = {
		/* Of 16 granules, as what is beside it: into the beginning of that. */
		{ G / 2, 15 * G + 1024, 8 * G, 8 * G }, { G / 2, 15 * G + 1024, 0, 16 * G },
		{ G / 2, 16 * G - 256, 0, 16 * G + G }, { G / 2, 16 * G - 256, 8 * G, 9 * G },
		{ 100, 4 * G, 50, 20 * G },
		{ 0, 8 * G + 100, 0, 8 * G + 512 }, { 0, 8 * G + 100, 4 * G, 4 * G + 101 },
		{ 100, 8 * G, 7 * G, 2 * G },
	};
	u64 i, head, tail, before[COUNTERS], after[COUNTERS];
	struct mem buf, other;
	struct map p, beside;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 32 * G, 0, 0));
	ASSERT_EQ(0, mem_new(E, &other, EDU_BUFFER, 32 * G, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		u64 at = cases[i].at, size = cases[i].size, from = cases[i].from;

		ASSERT_EQ(0, map(E, &beside, &other, 8, 15 * G + 100, EDU_BIDIRECTIONAL, 0));
		ASSERT_EQ(0, map(E, &p, &buf, at, size, EDU_BIDIRECTIONAL, 0));
		head = at ? G - at : 0;
		tail = (at + size) % G;
		fill(look, size, 4);
		ASSERT_EQ(0, poke(E, p.addr, look, size));
		fill(buf.mem, buf.size, 5);
		fill(other.mem, other.size, 6);
		device_counters(before);
		raw(E, EDU_RAW_SYNC_FOR_CPU, p.addr + from, cases[i].sync, 0);
		device_counters(after);
		EXPECT_EQ((from < head ? head - from : 0) + tail,
			  after[BYTES_OUT] - before[BYTES_OUT]);
		EXPECT_EQ(0, memcmp(buf.mem + at + size - tail, look + size - tail, tail));
		EXPECT_TRUE(has(buf.mem, at + size, buf.size - at - size, 5));
		EXPECT_TRUE(has(other.mem, 0, other.size, 6));
		raw(E, EDU_RAW_SYNC_FOR_DEVICE, p.addr + from, cases[i].sync, 0);
		self->s.invalid += 2;
		EXPECT_EQ(self->s.invalid, counter("fail_invalid"));
		EXPECT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
		EXPECT_EQ(0, unmap(E, &beside, EDU_SKIP_CPU_SYNC));
	}
	EXPECT_EQ(0, mem_free(E, &other));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Lists of every mixture: whole granules or not, small or not, in any order. */
TEST_F_TIMEOUT(good_citizen, lists, LIMIT)
{
	const struct { u64 pad, size; } kinds[] = {
		{ 0, G }, { 0, 4 * G }, { 0, 100 }, { 100, 50 }, { 512, 3 * G }, { 0, 2 * G + 1 },
		{ G - 1, G + 1 },
	};
	enum { KINDS = sizeof(kinds) / sizeof(*kinds) };
	struct edu_seg segs[64];
	struct mem buf;
	u64 cb, at;
	u32 i, k, n, d;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 32 * G, 0, 0));
	for (cb = 0; cb <= 4 * G; cb += 2 * G) {
		ASSERT_EQ(0, copybreak(cb));
		for (i = 0; i < KINDS * KINDS * KINDS; i += stride() * stride()) {
			memset(segs, 0, sizeof(segs));
			/* Every triple of kinds, the first twice. */
			for (n = 0, at = 0, k = i; n < 4; n++, k = n == 3 ? i : k / KINDS) {
				/* Leave a gap between entries, but not always. */
				at = (at + G - 1 + (i + n) % 3 * G) & -G;
				segs[n].offset = at + kinds[k % KINDS].pad;
				segs[n].size = kinds[k % KINDS].size;
				at = segs[n].offset + segs[n].size;
			}
			d = i % 3;
			ASSERT_TRUE(list(B, &buf, segs, n, cb, d, 65536, 0xffffffff)) {
				TH_LOG("copybreak %llu, list %u, direction %u",
				       (unsigned long long)cb, i, d);
			}
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Merged as mainline merges them: no segment too long, none across a boundary. */
TEST_F_TIMEOUT(good_citizen, lists_are_merged, LIMIT)
{
	const u64 sizes[] = { 65536, 4096, 8192, 24576, 1 << 20 };
	const u64 boundaries[] = { 0xffffffff, 0xffff, 0x3fffff };
	u64 before[COUNTERS], after[COUNTERS];
	struct edu_seg segs[64];
	struct mem buf;
	u32 i, k, n;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * MIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (k = 0; k < 3; k++) {
		for (i = stride() > 1 ? k : 0; i < 5; i += stride()) {
			edu_limit(E, EDU_MAX_SEG_SIZE, sizes[i]);
			edu_limit(E, EDU_SEG_BOUNDARY, boundaries[k]);
			memset(segs, 0, sizeof(segs));
			for (n = 0; n < 64; n++) {
				segs[n].offset = (n * 7 % 64) * 64 * KIB;
				segs[n].size = sizes[i] > 3 * G ? (1 + n % 6) * G : G;
			}
			device_counters(before);
			ASSERT_TRUE(list(B, &buf, segs, n, 0, i % 3, sizes[i], boundaries[k])) {
				TH_LOG("segments of %llu, boundary %llx",
				       (unsigned long long)sizes[i],
				       (unsigned long long)boundaries[k]);
			}
			device_counters(after);
			if (!can_map(B, i % 3, 0))
				continue;
			/* At once, if no boundary is in the way, and nothing is bounced. */
			if (boundaries[k] > 4 * MIB)
				EXPECT_EQ(before[IOMMU_MAPS] + 1, after[IOMMU_MAPS]);
			EXPECT_EQ(before[HEADS], after[HEADS]);
			EXPECT_EQ(before[BYTES_IN], after[BYTES_IN]);
			EXPECT_EQ(before[BYTES_OUT], after[BYTES_OUT]);
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* With interrupts disabled. */
TEST_F_TIMEOUT(good_citizen, atomic, LIMIT)
{
	struct edu_map arg = {
		.offset = 100, .size = 300 * KIB, .dir = EDU_TO_DEVICE, .flags = EDU_ATOMIC,
	};
	struct mem buf;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	arg.buffer = buf.id;
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP, &arg));
	EXPECT_EQ(0, peek(E, arg.addr, look, 300 * KIB));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 300 * KIB));
	EXPECT_EQ(0, edu_end(E, arg.id, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A hundred drivers later: each granule of 4 GiB leads where it led. */
TEST_F_TIMEOUT(good_citizen, rebind_100_times, LIMIT)
{
	u32 bits = stride() > 1 ? SPACE_BITS : 32;
	struct walk was, is;
	struct mem buf;
	struct map p;
	int i;

	was = walk(B, 0, 1ull << bits);
	for (i = 0; i < 100; i += stride()) {
		ASSERT_EQ(0, unbind(setting("EDU")));
		ASSERT_EQ(0, bind_again(setting("EDU")));
		if (i % 10)
			continue;
		edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
		ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
		ASSERT_EQ(0, map(E, &p, &buf, 1000, 200 * KIB, EDU_TO_DEVICE, 0));
		ASSERT_EQ(0, unmap(E, &p, 0));
		ASSERT_EQ(0, mem_free(E, &buf));
	}
	is = walk(B, 0, 1ull << bits);
	EXPECT_TRUE(walks_equal(&was, &is));
	edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	free(was.extents);
	free(is.extents);
}

/* Every address is free again: not one was lost to a hundred failed mappings. */
TEST_F_TIMEOUT(good_citizen, addresses_come_back, LIMIT)
{
	struct mem buf;
	int round, n;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	edu_limit(E, EDU_FORCE_MASK, E->base + E->size + MIB - 1);
	n = capacity(B, &buf);
	ASSERT_GT(n, 0);
	for (round = 0; round < 100; round += stride())
		ASSERT_EQ(n, capacity(B, &buf)) {
			TH_LOG("round %d", round);
		}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* An alignment larger than a granule: all is bounced, to slots that keep it. */
TEST_F_TIMEOUT(good_citizen, min_align_mask, LIMIT)
{
	struct edu_seg seg = { .size = 64 * KIB };
	struct edu_map_sg sg = { .segs = (uintptr_t)&seg, .nents = 1 };
	const u64 offsets[] = { 0, 512, 5000 };
	struct mem buf;
	struct map p;
	size_t i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	fill(buf.mem, buf.size, 1);
	for (i = 0; i < 3; i++) {
		edu_limit(E, EDU_MIN_ALIGN_MASK, G - 1);
		ASSERT_EQ(0, map(E, &p, &buf, offsets[i], 100 * KIB, EDU_TO_DEVICE, 0));
		EXPECT_EQ((buf.addr + offsets[i]) % G, p.addr % G);
		EXPECT_FALSE(inside(E, p.addr, 100 * KIB));
		EXPECT_EQ(0, unmap(E, &p, 0));
		edu_limit(E, EDU_MIN_ALIGN_MASK, 0xffff);
		ASSERT_EQ(0, map(E, &p, &buf, offsets[i], 100 * KIB, EDU_TO_DEVICE, 0));
		EXPECT_EQ((buf.addr + offsets[i]) % 65536, p.addr % 65536);
		EXPECT_TRUE(inside(E, p.addr, 100 * KIB));
		EXPECT_EQ(0, peek(E, p.addr, look, 100 * KIB));
		EXPECT_EQ(0, memcmp(look, buf.mem + offsets[i], 100 * KIB));
		EXPECT_EQ(0, unmap(E, &p, 0));
		seg.buffer = buf.id;
		seg.offset = offsets[i];
		ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
		EXPECT_EQ((buf.addr + offsets[i]) % 65536, seg.addr % 65536);
		EXPECT_TRUE(inside(E, seg.addr, 64 * KIB));
		EXPECT_EQ(0, edu_end(E, sg.id, 0));
		edu_limit(E, EDU_MIN_ALIGN_MASK, 0);
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
