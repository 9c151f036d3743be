// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device with a window behind an IOMMU, from both sides: what is bounced, what
 * is mapped and how, which granules the device can reach, and which bytes are
 * there. A fixture is named after the invariant that its tests guard. See edu.h
 * for the devices and variables that these tests need.
 */

#include "iommu_fixture.h"

/* I1 */
FIXTURE(confinement) { struct state s; };
FIXTURE_SETUP(confinement) { start(&self->s); }
FIXTURE_TEARDOWN(confinement) { finish(_metadata, &self->s); }

/* I3 */
FIXTURE(no_stale_data) { struct state s; };
FIXTURE_SETUP(no_stale_data) { start(&self->s); }
FIXTURE_TEARDOWN(no_stale_data) { finish(_metadata, &self->s); }

/* I4 */
FIXTURE(nothing_trusted) { struct state s; };
FIXTURE_SETUP(nothing_trusted) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_trusted) { finish(_metadata, &self->s); }

/* I5 */
FIXTURE(nothing_lost) { struct state s; };
FIXTURE_SETUP(nothing_lost) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_lost) { finish(_metadata, &self->s); }

/* I7 */
FIXTURE(good_citizen) { struct state s; };
FIXTURE_SETUP(good_citizen) { start(&self->s); }
FIXTURE_TEARDOWN(good_citizen) { finish(_metadata, &self->s); }

/* Counters, for an operator. */
FIXTURE(observed) { struct state s; };
FIXTURE_SETUP(observed) { start(&self->s); }
FIXTURE_TEARDOWN(observed) { finish(_metadata, &self->s); }

struct job {
	struct mem *buf;
	u64 at, size, copybreak;
	u32 dir;
	u64 map_attrs, unmap_attrs;
};

/*
 * Check everything about one mapping, from map to unmap: place, contents of all
 * that the device can see, bytes that the device writes, bytes copied back, counters.
 * Memory from a granule before the buffer to a granule behind is the caller's.
 */
static bool lifetime(struct behind *b, const struct job *j)
{
	bool skip = j->map_attrs & EDU_SKIP_CPU_SYNC, zero = skip || j->dir == EDU_FROM_DEVICE;
	struct layout l = layout_of(b, j->copybreak, j->buf->addr + j->at, j->size, j->dir,
				    j->map_attrs);
	bool back = j->dir != EDU_TO_DEVICE && !(j->unmap_attrs & EDU_SKIP_CPU_SYNC);
	u64 from = j->at > b->g ? j->at - b->g : 0, to, g = b->g, n, off, i;
	u64 before[COUNTERS], after[COUNTERS], should[COUNTERS] = {};
	u64 maps = counter("maps"), unmaps = counter("unmaps");
	u8 *mem = j->buf->mem;
	struct map p;

	to = j->at + j->size + g < j->buf->size ? j->at + j->size + g : j->buf->size;
	fill(mem + from, to - from, 3);
	device_counters(before);
	if (map(&b->e, &p, j->buf, j->at, j->size, j->dir, j->map_attrs))
		return wrong("map: %s", strerror(errno));
	if (!placed(b, &l, p.addr, j->buf->addr + j->at, j->size))
		return false;
	if (counter("maps") != maps + 1)
		return wrong("not counted as a mapping");
	if (!has(mem + from, 0, to - from, 3))
		return wrong("the mapping changed the driver's memory");

	if (l.small) {
		if (j->size <= ENGINE_MAX ? see(&b->e, p.addr, look, j->size) :
		    peek(&b->e, p.addr, look, j->size))
			return wrong("the device sees nothing");
		if (zero ? !is_zero(look, j->size) : memcmp(look, mem + j->at, j->size))
			return wrong("the device sees wrong bytes in the window");
		fill(look, j->size, 5);
		if (poke(&b->e, p.addr, look, j->size))
			return wrong("the device cannot write");
		memcpy(want + from, mem + from, to - from);
		if (back)
			memcpy(want + j->at, look, j->size);
		goto unmap;
	}

	/* All that the device can see: the whole first and last granule, too. */
	n = l.granules * g;
	off = p.addr % g;
	memset(want, 0, n);
	memcpy(want + off + l.head_bytes, mem + j->at + l.head_bytes, l.whole * g);
	if (!zero) {
		memcpy(want + off, mem + j->at, l.head_bytes);
		memcpy(want + off + j->size - l.tail_bytes, mem + j->at + j->size - l.tail_bytes,
		       l.tail_bytes);
	}
	if (peek(&b->e, p.addr - off, look, n))
		return wrong("the device sees nothing");
	if (see_granule(&b->e, p.addr - off, look, g, j->dir) ||
	    see_granule(&b->e, p.addr - off + n - g, look + n - g, g, j->dir))
		return wrong("the engine does not work");
	if (memcmp(look, want, n)) {
		for (i = 0; look[i] == want[i]; i++)
			;
		return wrong("the device sees %#x at byte %lld of %llu, not %#x", look[i],
			     (long long)(i - off), (unsigned long long)j->size, want[i]);
	}

	/* The device writes everything in reach, unless the direction forbids writing. */
	memcpy(want + from, mem + from, to - from);
	if (j->dir != EDU_TO_DEVICE) {
		fill(look, n, 9);
		if (poke(&b->e, p.addr - off, look, n) ||
		    put(&b->e, p.addr - off, look, g) ||
		    put(&b->e, p.addr - off + n - g, look + n - g, g))
			return wrong("the device cannot write");
		memcpy(want + j->at + l.head_bytes, look + off + l.head_bytes, l.whole * g);
		/* In place at once, bounced at the unmap. */
		if (memcmp(mem + from, want + from, to - from))
			return wrong("wrong bytes before the unmap");
		if (back)
			memcpy(want + j->at, look + off, j->size);
	}
unmap:
	if (unmap(&b->e, &p, j->unmap_attrs))
		return wrong("unmap: %s", strerror(errno));
	if (memcmp(mem + from, want + from, to - from)) {
		for (i = from; mem[i] == want[i]; i++)
			;
		return wrong("after the unmap, byte %lld of %llu is %#x, not %#x",
			     (long long)(i - j->at), (unsigned long long)j->size, mem[i],
			     want[i]);
	}
	if (!l.small && !unreachable(b, p.addr, j->size))
		return false;
	if (counter("unmaps") != unmaps + 1)
		return wrong("not counted as unmapped");

	device_counters(after);
	should[BYTES_IN] = zero ? 0 : l.small ? j->size : l.head_bytes + l.tail_bytes;
	should[BYTES_OUT] = !back ? 0 : l.small ? j->size : l.head_bytes + l.tail_bytes;
	if (!l.small) {
		should[GRANULES] = l.whole;
		should[HEADS] = l.head;
		should[TAILS] = l.tail;
		should[IOMMU_MAPS] = 1;
		should[IOMMU_UNMAPS] = 1;
	}
	for (i = 0; i < COUNTERS; i++)
		if (after[i] - before[i] != should[i])
			return wrong("%s counts %lld, not %llu", counter_names[i],
				     (long long)(after[i] - before[i]),
				     (unsigned long long)should[i]);
	return true;
}

/* Mapped once, at a low address, aligned; reached by all that is small. */
TEST_F_TIMEOUT(confinement, window, LIMIT)
{
	u64 pow2 = 1, before[COUNTERS], after[COUNTERS];
	struct mem buf, m;
	struct walk w;
	struct map p;
	u32 kind, i;

	ASSERT_TRUE(B->domain == EDU_DOMAIN_STRICT || B->domain == EDU_DOMAIN_LAZY);
	ASSERT_LE(G, 4096);
	while (pow2 < E->size)
		pow2 *= 2;
	EXPECT_EQ(0, E->base % pow2);
	EXPECT_EQ(0, (E->base - B->phys) % (64 * KIB));
	EXPECT_LE(E->base + E->size, 1ull << SPACE_BITS);
	w = walk(B, E->base, E->size);
	ASSERT_EQ(1, w.n);
	EXPECT_EQ(E->base, w.extents[0].addr);
	EXPECT_EQ(B->phys, w.extents[0].phys);
	EXPECT_EQ(E->size, w.extents[0].size);
	free(w.extents);

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(16 * KIB));
	device_counters(before);
	for (kind = EDU_COHERENT; kind <= EDU_PAGES; kind++) {
		for (i = 0; i <= EDU_ATOMIC; i++) {
			ASSERT_EQ(0, mem_new(E, &m, kind, 12 * KIB, i, 0));
			EXPECT_TRUE(inside(E, m.addr, 12 * KIB));
			fill(m.mem, 12 * KIB, i);
			ASSERT_EQ(0, see(E, m.addr, look, 12 * KIB));
			EXPECT_TRUE(has(look, 0, 12 * KIB, i));
			EXPECT_EQ(0, mem_free(E, &m));
		}
	}
	for (i = 1; i <= 16 * KIB; i *= 2) {
		fill(buf.mem, i, i);
		ASSERT_EQ(0, map(E, &p, &buf, 0, i, EDU_BIDIRECTIONAL, 0));
		EXPECT_TRUE(inside(E, p.addr, i));
		ASSERT_EQ(0, see(E, p.addr, look, i));
		EXPECT_TRUE(has(look, 0, i, i));
		ASSERT_EQ(0, unmap(E, &p, 0));
	}
	device_counters(after);
	EXPECT_EQ(before[IOMMU_MAPS], after[IOMMU_MAPS]);
	EXPECT_EQ(before[IOMMU_UNMAPS], after[IOMMU_UNMAPS]);
	EXPECT_EQ(before[GRANULES], after[GRANULES]);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * Head only, tail only, both, neither, none, one and more whole granules in the
 * middle; one byte either side of each boundary; each direction. All of the first
 * and last granule is looked at.
 */
TEST_F_TIMEOUT(confinement, every_boundary, LIMIT)
{
	const u64 offsets[] = { 0, 1, 512, G - 1 };
	u64 i, k, d, n = 0;
	struct mem buf;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * G, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		for (k = 0; k < 5; k++) {
			/* The end: -1, 0, 1 of a boundary. */
			for (d = 0; d < 3; d++) {
				u64 end = 2 * G + k * G + d - 1;
				struct job j = {
					.buf = &buf, .at = 2 * G + offsets[i] - (k > 1 ? G : 0),
				};

				if (end <= j.at)
					continue;
				j.size = end - j.at;
				for (j.dir = 0; j.dir <= EDU_FROM_DEVICE; j.dir++) {
					if (n++ % stride())
						continue;
					ASSERT_TRUE(lifetime(B, &j)) {
						TH_LOG("%llu bytes at %llu, direction %u",
						       (unsigned long long)j.size,
						       (unsigned long long)j.at, j.dir);
					}
				}
			}
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

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

/* The device reaches nothing but mapped memory, and not after the unmap. */
TEST_F_TIMEOUT(confinement, gone_after_unmap, LIMIT)
{
	const u64 places[] = { 0, 2048, 8 * KIB, 62 * KIB };
	struct mem buf;
	struct map p;
	size_t i;

	if (!E->engine)
		SKIP(return, "without a clock that can be skipped");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (i = 0; i < 4; i++) {
		u64 size = 64 * KIB + i * 100, at = 64 * KIB + i * 512;

		fill(buf.mem, buf.size, i);
		ASSERT_EQ(0, map(E, &p, &buf, at, size, EDU_BIDIRECTIONAL, 0));
		ASSERT_EQ(0, see(E, p.addr + places[i], look, 1024));
		ASSERT_EQ(0, memcmp(look, buf.mem + at + places[i], 1024));
		/* The granules beside a mapping lead nowhere, ever. */
		ASSERT_TRUE(stopped_reading(&self->s, (p.addr & -G) - 1024,
					    buf.mem + (at & -G) - 1024, 1024));
		ASSERT_TRUE(stopped_writing(&self->s, (p.addr + size + G - 1) & -G, 64));
		ASSERT_EQ(0, unmap(E, &p, 0));
		ASSERT_TRUE(has(buf.mem, 0, buf.size, i));
		ASSERT_TRUE(stopped_reading(&self->s, p.addr + places[i],
					    buf.mem + at + places[i], 1024));
		ASSERT_TRUE(stopped_writing(&self->s, p.addr + places[i], 1024));
		ASSERT_TRUE(has(buf.mem, 0, buf.size, i));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A list cannot be reached after the unmap, not even its very last granule. */
TEST_F_TIMEOUT(confinement, lists_are_gone_after_unmap, LIMIT)
{
	struct edu_seg segs[2] = {
		{ .size = 32 * KIB }, { .size = 32 * KIB, .offset = 128 * KIB },
	};
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = 2, .dir = EDU_BIDIRECTIONAL,
	};
	struct mem buf;
	u64 last;

	if (!E->engine)
		SKIP(return, "without a clock that can be skipped");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	fill(buf.mem, buf.size, 1);
	segs[0].buffer = buf.id;
	segs[1].buffer = buf.id;
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	ASSERT_EQ(1, sg.mapped);
	last = segs[0].addr + 64 * KIB - 1024;
	ASSERT_EQ(0, see(E, last, look, 1024));
	ASSERT_EQ(0, memcmp(look, buf.mem + 160 * KIB - 1024, 1024));
	ASSERT_EQ(0, edu_end(E, sg.id, 0));
	EXPECT_TRUE(stopped_reading(&self->s, last, buf.mem + 160 * KIB - 1024, 1024));
	EXPECT_TRUE(stopped_reading(&self->s, segs[0].addr, buf.mem, 1024));
	EXPECT_TRUE(stopped_writing(&self->s, last, 1024));
	EXPECT_TRUE(stopped_writing(&self->s, segs[0].addr, 1024));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A device that is to read only cannot write to memory mapped in place. */
TEST_F_TIMEOUT(confinement, read_only, LIMIT)
{
	struct mem buf;
	struct map p;

	if (!E->engine)
		SKIP(return, "without a clock that can be skipped");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 128 * KIB, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 100, 64 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_TRUE(stopped_writing(&self->s, p.addr + 8 * KIB, 1024));
	EXPECT_TRUE(stopped_writing(&self->s, p.addr, 1024));
	ASSERT_EQ(0, see(E, p.addr + 8 * KIB, look, 1024));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100 + 8 * KIB, 1024));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Masks that exclude the window, or a part of the addresses. */
TEST_F_TIMEOUT(confinement, masks, LIMIT)
{
	u64 last = E->base + E->size - 1, masked, i;
	struct map p, many[256];
	struct mem buf, m;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_MASK, last - 1));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_COHERENT_MASK, last - 1));
	EXPECT_EQ(0, edu_limit(E, EDU_MASK, last));
	EXPECT_EQ(0, edu_limit(E, EDU_MASK, (1ull << SPACE_BITS) - 1));

	/* A driver that writes the mask itself: only a mapping can notice. */
	masked = counter("fail_mask");
	edu_limit(E, EDU_FORCE_MASK, E->base - 1);
	edu_limit(E, EDU_FORCE_COHERENT_MASK, E->base - 1);
	EXPECT_EQ(-EIO, map(E, &p, &buf, 0, 1, EDU_TO_DEVICE, 0));
	EXPECT_EQ(-EIO, map(E, &p, &buf, 100, 4096, EDU_FROM_DEVICE, 0));
	EXPECT_EQ(-ENOMEM, mem_new(E, &m, EDU_COHERENT, 4096, 0, EDU_NO_WARN));
	EXPECT_EQ(masked + 3, counter("fail_mask"));
	edu_limit(E, EDU_FORCE_COHERENT_MASK, self->s.info.coherent_mask);

	/* No address beyond the mask, and an end: all of it can be had, and no more. */
	edu_limit(E, EDU_FORCE_MASK, last + 4 * MIB);
	for (i = 0; i < 256; i++) {
		if (map(E, &many[i], &buf, 512, 64 * KIB, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
		ASSERT_LE(many[i].addr + 64 * KIB - 1, last + 4 * MIB);
		ASSERT_FALSE(many[i].addr < E->base + E->size &&
			     many[i].addr + 64 * KIB > E->base);
	}
	EXPECT_GE(i, 16);
	EXPECT_LT(i, 256);
	while (i--)
		ASSERT_EQ(0, unmap(E, &many[i], 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Peers' memory and registers are not for a device that is confined. */
TEST_F_TIMEOUT(confinement, no_resources, LIMIT)
{
	EXPECT_EQ(-1, ioctl(E->fd, EDU_RESOURCE));
}

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
			/* Bounced as a whole: as of any window, see dma_api.c. */
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

/* A list, from map to unmap: place, contents, syncs, what is copied back. */
static bool list(struct behind *b, struct mem *buf, struct edu_seg *segs, u32 n, u64 cb,
		 u32 dir, u64 max, u64 boundary)
{
	struct edu_map_sg sg = { .segs = (uintptr_t)segs, .nents = n, .dir = dir };
	struct edu_sync sync = { .dir = dir };
	struct piece pieces[3 * 64];
	u32 i, k, np;
	u64 end;

	for (i = 0; i < n; i++)
		segs[i].buffer = buf->id;
	fill(buf->mem, buf->size, 1);
	if (ioctl(b->e.fd, EDU_MAP_SG, &sg))
		return wrong("map: %s", strerror(errno));
	sync.id = sg.id;
	if (!sg_placed(b, cb, buf->addr, segs, n, sg.mapped, dir, 0, max, boundary, pieces, &np))
		return false;
	/* The device reads all of it, and writes. */
	for (i = 0; i < np; i++) {
		struct piece *p = &pieces[i];
		bool chunk = p->bounced && !inside(&b->e, p->addr, p->size);

		end = p->addr + p->size;
		if (peek(&b->e, p->addr, look, p->size))
			return wrong("piece %u: nothing there", i);
		if (p->bounced && dir == EDU_FROM_DEVICE ? !is_zero(look, p->size) :
		    memcmp(look, buf->mem + p->at, p->size))
			return wrong("piece %u of %u has wrong bytes", i, np);
		if (chunk && (peek(&b->e, p->addr - p->pad, look, p->pad) ||
			      !is_zero(look, p->pad)))
			return wrong("padding before piece %u", i);
		end = -end % b->g;
		if (chunk && !p->pad && (peek(&b->e, p->addr + p->size, look, end) ||
					 !is_zero(look, end)))
			return wrong("padding behind piece %u", i);
	}
	for (k = 0; k < 3; k++) {
		memcpy(want, buf->mem, buf->size);
		for (i = 0; i < np; i++) {
			struct piece *p = &pieces[i];

			if (dir == EDU_TO_DEVICE && !p->bounced)
				continue;
			fill(look, p->size, i + k + 2);
			if (poke(&b->e, p->addr, look, p->size))
				return wrong("piece %u: cannot write", i);
			if (!p->bounced || dir != EDU_TO_DEVICE)
				memcpy(want + p->at, look, p->size);
		}
		sync.for_cpu = 1;
		if (k < 2 && ioctl(b->e.fd, EDU_SYNC, &sync))
			return wrong("sync: %s", strerror(errno));
		if (k == 2 && edu_end(&b->e, sg.id, 0))
			return wrong("unmap: %s", strerror(errno));
		if (memcmp(buf->mem, want, buf->size)) {
			for (i = 0; buf->mem[i] == want[i]; i++)
				;
			return wrong("step %u: byte %u of the buffer is %#x, not %#x", k, i,
				     buf->mem[i], want[i]);
		}
		if (k == 2)
			break;
		fill(buf->mem, buf->size, 30 + k);
		sync.for_cpu = 0;
		if (ioctl(b->e.fd, EDU_SYNC, &sync))
			return wrong("sync: %s", strerror(errno));
		for (i = 0; i < np; i++) {
			struct piece *p = &pieces[i];

			peek(&b->e, p->addr, look, p->size);
			if (p->bounced && dir == EDU_FROM_DEVICE)
				fill(want, p->size, i + k + 2);
			else
				memcpy(want, buf->mem + p->at, p->size);
			if (memcmp(look, want, p->size))
				return wrong("step %u: piece %u has wrong bytes", k, i);
		}
	}
	for (i = 0; i < np; i++)
		if (!inside(&b->e, pieces[i].addr, pieces[i].size) &&
		    !unreachable(b, pieces[i].addr, pieces[i].size))
			return wrong("piece %u", i);
	return true;
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
	int n;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	/* Mappings without a whole granule have to be bounced: until there is no room. */
	for (n = 0; n < 4096; n++)
		if (map(E, &hog[n], &buf, 1, 2 * G - 2, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_GE(n, 4);
	ASSERT_LT(n, 4096);
	ASSERT_EQ(0, unmap(E, &hog[--n], 0));
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

/* A full window: a mapping that needs a chunk fails, one that needs none works. */
TEST_F_TIMEOUT(nothing_lost, full_window, LIMIT)
{
	static struct map hog[4096];
	struct walk was, is;
	struct mem buf, m;
	struct map p;
	u64 full;
	int n;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(64 * KIB));
	for (n = 0; n < 4096; n++)
		if (map(E, &hog[n], &buf, 0, 2048, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_LT(n, 4096);
	/* Coherent memory has a share of its own, which chunks may not take. */
	full = counter("fail_full");
	was = space(B);
	fill(buf.mem, buf.size, 1);
	EXPECT_EQ(-EIO, map(E, &p, &buf, 100, 128 * KIB, EDU_TO_DEVICE, EDU_NO_WARN));
	EXPECT_EQ(-EIO, map(E, &p, &buf, 0, 128 * KIB + 1, EDU_FROM_DEVICE, EDU_NO_WARN));
	EXPECT_EQ(full + 2, counter("fail_full"));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	is = space(B);
	EXPECT_TRUE(walks_equal(&was, &is));
	EXPECT_EQ(0, map(E, &p, &buf, 0, 128 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	/* Below copybreak, too, if there is a whole granule. */
	EXPECT_EQ(0, map(E, &p, &buf, 0, 2 * G, EDU_TO_DEVICE, 0));
	EXPECT_FALSE(inside(E, p.addr, 2 * G));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(-EIO, map(E, &p, &buf, 1, 2 * G - 2, EDU_TO_DEVICE, EDU_NO_WARN));
	EXPECT_EQ(0, mem_new(E, &m, EDU_COHERENT, 4096, 0, EDU_NO_WARN));
	EXPECT_EQ(0, mem_free(E, &m));
	while (n--)
		ASSERT_EQ(0, unmap(E, &hog[n], 0));
	/* The same mapping works again, now that there is room. */
	EXPECT_EQ(0, map(E, &p, &buf, 100, 128 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	free(was.extents);
	free(is.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Half of a large mapping's chunks: the head is had, the tail is not. */
TEST_F_TIMEOUT(nothing_lost, room_for_one_chunk, LIMIT)
{
	static struct map hog[4096];
	struct walk was, is;
	struct mem buf;
	struct map p;
	int n;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(64 * KIB));
	for (n = 0; n < 4096; n++)
		if (map(E, &hog[n], &buf, 1, G, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_LT(n, 4096);
	ASSERT_GT(n, 1);
	ASSERT_EQ(0, unmap(E, &hog[--n], 0));
	was = space(B);
	EXPECT_EQ(-EIO, map(E, &p, &buf, 100, 128 * KIB, EDU_TO_DEVICE, EDU_NO_WARN));
	is = space(B);
	EXPECT_TRUE(walks_equal(&was, &is));
	/* The one chunk that was free is free again. */
	EXPECT_EQ(0, map(E, &p, &buf, 100, 128 * KIB - 100, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	while (n--)
		ASSERT_EQ(0, unmap(E, &hog[n], 0));
	free(was.extents);
	free(is.extents);
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

static int attach(struct edu *e, u32 how)
{
	struct edu_attach arg = { .how = how };

	return ioctl(e->fd, EDU_ATTACH, &arg) ? -errno : 0;
}

/*
 * Nobody can attach a domain beside the DMA API to a device with a region, whose
 * window goes on, nor to one that was refused. To a device without a region, they can.
 */
TEST_F_TIMEOUT(confinement, no_other_domain, LIMIT)
{
	static const char *text = "names a restricted-dma-region: its IOMMU group gets no";
	const char *edu = setting("EDU"), *plain = getenv("PLAIN");
	int lines = log_lines(edu, text), how;
	struct walk is;
	struct mem buf;
	struct map p;

	ASSERT_EQ(0, copybreak(4096));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 64 * KIB, EDU_BIDIRECTIONAL, 0));
	for (how = EDU_ATTACH_DEVICE; how <= EDU_ATTACH_OWNER; how++) {
		int ret = attach(E, how);

		/* virtio-iommu has no PASIDs. */
		if (how != EDU_ATTACH_PASID || ret != -EOPNOTSUPP)
			EXPECT_EQ(-EPERM, ret);
	}
	EXPECT_LT(lines, log_lines(edu, text));
	ASSERT_EQ(0, see(E, p.addr, look, 2048));
	EXPECT_TRUE(has(look, 0, 2048, 1));
	EXPECT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));

	/* A bound driver keeps owners off any device: ask without one. */
	ASSERT_EQ(0, unbind(edu));
	EXPECT_EQ(-EPERM, attach(E, EDU_ATTACH_OWNER));
	EXPECT_EQ(-EPERM, attach(E, EDU_ATTACH_DEVICE));
	ASSERT_EQ(0, bind_again(edu));
	is = space(B);
	EXPECT_TRUE(walks_equal(&self->s.before, &is));
	free(is.extents);

	ASSERT_EQ(0, edu_select(E, setting("REFUSED")));
	EXPECT_EQ(-EPERM, attach(E, EDU_ATTACH_OWNER));
	EXPECT_EQ(-EPERM, attach(E, EDU_ATTACH_DEVICE));

	if (plain) {
		int ret;

		ASSERT_EQ(0, edu_select(E, plain));
		EXPECT_EQ(0, attach(E, EDU_ATTACH_DEVICE));
		EXPECT_EQ(0, attach(E, EDU_ATTACH_GROUP));
		ret = attach(E, EDU_ATTACH_PASID);
		EXPECT_TRUE(!ret || ret == -EOPNOTSUPP);
		ASSERT_EQ(0, unbind(plain));
		EXPECT_EQ(0, attach(E, EDU_ATTACH_OWNER));
		ASSERT_EQ(0, bind_again(plain));
		EXPECT_EQ(1, edu_info(E).bound);
	} else {
		TH_LOG("no PLAIN: not tried with a device without a region");
	}
	ASSERT_EQ(0, edu_select(E, edu));
}

/* Fill the window, so that chunks kept for a late unmap are used again. */
static void settle(struct behind *b)
{
	static struct map maps[4096];
	struct mem buf;
	int n;

	mem_new(&b->e, &buf, EDU_BUFFER, 4 * b->g, 0, 0);
	for (n = 0; n < 4096; n++)
		if (map(&b->e, &maps[n], &buf, 1, 2 * b->g - 2, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	while (n--)
		unmap(&b->e, &maps[n], 0);
	mem_free(&b->e, &buf);
}

/*
 * Mappings that a driver forgets, in the window and in place, are taken back when the
 * driver goes: the device cannot reach the buffers, which soon have other owners.
 */
TEST_F_TIMEOUT(confinement, forgotten_by_the_driver, LIMIT)
{
	const char *edu = setting("EDU");
	struct map whole, ends, small;
	struct mem buf;
	int round, lines;
	struct walk is;
	u64 live;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, copybreak(4096));
	lines = left_lines(edu, 3);
	live = counter("maps") - counter("unmaps");
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
		fill(buf.mem, buf.size, 1);
		ASSERT_EQ(0, map(E, &whole, &buf, 0, 64 * KIB, EDU_BIDIRECTIONAL, 0));
		ASSERT_EQ(0, map(E, &ends, &buf, 128 * KIB + 100, 400 * KIB,
				 EDU_BIDIRECTIONAL, 0));
		ASSERT_EQ(0, map(E, &small, &buf, 900 * KIB, 100, EDU_FROM_DEVICE, 0));
		ASSERT_EQ(0, see(E, whole.addr, look, 2048));
		ASSERT_TRUE(has(look, 0, 2048, 1));
		ASSERT_EQ(0, leak(E, whole.id));
		ASSERT_EQ(0, leak(E, ends.id));
		ASSERT_EQ(0, leak(E, small.id));
		ASSERT_EQ(0, unbind(edu));
		EXPECT_TRUE(unreachable(B, whole.addr, 64 * KIB));
		EXPECT_TRUE(unreachable(B, ends.addr, 400 * KIB));
		EXPECT_EQ(live, counter("maps") - counter("unmaps"));
		ASSERT_EQ(0, bind_again(edu));
		is = space(B);
		EXPECT_TRUE(walks_equal(&self->s.before, &is));
		free(is.extents);
		edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
		if (E->engine) {
			EXPECT_TRUE(stopped_reading(&self->s, whole.addr, buf.mem, 2048));
			EXPECT_TRUE(stopped_writing(&self->s, ends.addr + 64 * KIB, 2048));
		}
		EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
		EXPECT_EQ(0, mem_free(E, &buf));
	}
	EXPECT_EQ(lines + round, left_lines(edu, 3));
	EXPECT_EQ(self->s.used, counter("io_tlb_used"));
	/* Fill the window, so that forgotten chunks are not in the way of other tests. */
	settle(B);
}

/* A late unmap changes nothing, and cannot hit another mapping. */
TEST_F_TIMEOUT(nothing_lost, undone_late, LIMIT)
{
	const char *edu = setting("EDU");
	struct map late, again;
	struct mem buf, other;
	u64 unmaps, n;
	int i;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, copybreak(4096));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &other, EDU_BUFFER, 256 * KIB, 0, 0));
	fill(other.mem, other.size, 2);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, map(E, &late, &buf, 100, 200 * KIB, EDU_BIDIRECTIONAL, 0));
		ASSERT_EQ(0, unbind(edu));
		ASSERT_EQ(0, bind_again(edu));
		edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
		ASSERT_EQ(0, map(E, &again, &other, 100, 200 * KIB, EDU_TO_DEVICE, 0));
		ASSERT_NE(late.addr, again.addr);
		fill(buf.mem, buf.size, 1);
		unmaps = counter("unmaps");
		/* With a late sync, and without. */
		n = i % 2 ? 200 * KIB : 0;
		EXPECT_EQ(0, sync_range(E, &late, 0, n, EDU_BIDIRECTIONAL, true));
		EXPECT_EQ(0, unmap(E, &late, i / 2 ? EDU_SKIP_CPU_SYNC : 0));
		EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
		EXPECT_EQ(unmaps, counter("unmaps"));
		EXPECT_EQ(0, peek(E, again.addr, look, 200 * KIB));
		EXPECT_EQ(0, memcmp(look, other.mem + 100, 200 * KIB));
		EXPECT_EQ(0, unmap(E, &again, 0));
	}
	EXPECT_EQ(0, mem_free(E, &other));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * A domain that is replaced while something is mapped without a driver: the mapping
 * is taken back when the device is configured for the new domain.
 */
TEST_F_TIMEOUT(nothing_lost, moved_to_another_domain, LIMIT)
{
	const char *edu = setting("EDU");
	char path[128], was[16] = "";
	struct map large, small;
	struct mem buf;
	int fd, lines;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group/type", edu);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_GT(read(fd, was, sizeof(was) - 1), 0);
	close(fd);
	ASSERT_EQ(0, copybreak(4096));
	lines = left_lines(edu, 2);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, unbind(edu));
	ASSERT_EQ(0, map(E, &large, &buf, 0, 128 * KIB, EDU_BIDIRECTIONAL, 0));
	ASSERT_EQ(0, map(E, &small, &buf, 192 * KIB, 100, EDU_FROM_DEVICE, 0));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, write_text(path, "identity"));
	ASSERT_EQ(0, write_text(path, was));
	ASSERT_EQ(0, bind_again(edu));
	EXPECT_EQ(lines + 1, left_lines(edu, 2));
	EXPECT_EQ(self->s.used, counter("io_tlb_used"));
	EXPECT_TRUE(unreachable(B, large.addr, 128 * KIB));
	EXPECT_EQ(0, unmap(E, &small, 0));
	/* Addresses of a domain that is gone are not known any more. */
	EXPECT_EQ(self->s.invalid, counter("fail_invalid"));
	EXPECT_EQ(0, unmap(E, &large, 0));
	EXPECT_EQ(++self->s.invalid, counter("fail_invalid"));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Addresses are used again before there are none left, however many are forgotten. */
TEST_F_TIMEOUT(nothing_lost, addresses_are_not_used_up, LIMIT)
{
	const char *edu = setting("EDU");
	struct mem buf;
	struct map p;
	u64 sum = 0;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, copybreak(4096));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * MIB, 0, 0));
	while (sum < 2ull << SPACE_BITS) {
		ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * MIB, EDU_TO_DEVICE, 0)) {
			TH_LOG("after %llu MiB", (unsigned long long)(sum / MIB));
		}
		ASSERT_EQ(0, leak(E, p.id));
		ASSERT_EQ(0, unbind(edu));
		ASSERT_EQ(0, bind_again(edu));
		edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
		sum += 4 * MIB;
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * Mappings made for a device without a driver go when the device is gone for
 * good. (Mappings that its drivers forgot went with those drivers.)
 */
TEST_F_TIMEOUT(nothing_lost, device_gone_with_mappings, LIMIT)
{
	u64 used = counter("io_tlb_used"), live = counter("maps") - counter("unmaps");
	struct map large, small;
	struct mem buf, m;
	char path[128];

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, unbind(setting("NEIGHBOUR")));
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &large, &buf, 100, 800 * KIB, EDU_FROM_DEVICE, 0));
	ASSERT_EQ(0, map(E, &small, &buf, 900 * KIB, 100, EDU_FROM_DEVICE, 0));
	fill(buf.mem, buf.size, 1);
	munmap(m.mem, 8 * KIB);
	ASSERT_EQ(0, leak(E, m.id));
	ASSERT_EQ(0, leak(E, large.id));
	ASSERT_EQ(0, leak(E, small.id));
	EXPECT_EQ(live + 2, counter("maps") - counter("unmaps"));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", setting("NEIGHBOUR"));
	ASSERT_EQ(0, write_text(path, "1"));
	/* A buffer holds the device, too; free this one, which is of no more use. */
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
	EXPECT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
	EXPECT_EQ(live, counter("maps") - counter("unmaps"));
	EXPECT_EQ(0, write_text("/sys/bus/pci/rescan", "1"));
	EXPECT_EQ(used, counter("io_tlb_used"));
	/* The device, found anew, works as before. */
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, map(E, &large, &buf, 100, 800 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, peek(E, large.addr, look, 800 * KIB));
	EXPECT_EQ(0, memcmp(look, buf.mem + 100, 800 * KIB));
	EXPECT_EQ(0, unmap(E, &large, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
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

/* One call of each kind. */
TEST_F_TIMEOUT(observed, counters, LIMIT)
{
	u64 before[COUNTERS], after[COUNTERS], in, out;
	const u64 should[COUNTERS] = {
		[BYTES_IN] = 100 + (G - 100) + 100, [BYTES_OUT] = (G - 100) + 100 + 50,
		[GRANULES] = 31, [IOMMU_MAPS] = 1, [IOMMU_UNMAPS] = 1, [HEADS] = 1, [TAILS] = 1,
	};
	struct mem buf;
	struct map p;
	size_t i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	device_counters(before);
	in = counter("bytes_in");
	out = counter("bytes_out");
	ASSERT_EQ(0, map(E, &p, &buf, 0, 100, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, unmap(E, &p, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 100, 32 * G, EDU_BIDIRECTIONAL, 0));
	/* Of the 200 bytes, 50 are of the tail. */
	ASSERT_EQ(0, sync_range(E, &p, 32 * G - 250, 200, EDU_BIDIRECTIONAL, true));
	ASSERT_EQ(0, unmap(E, &p, 0));
	device_counters(after);
	for (i = 0; i < COUNTERS; i++)
		EXPECT_EQ(should[i], after[i] - before[i]) {
			TH_LOG("counter %zu", i);
		}
	EXPECT_EQ(should[BYTES_IN], counter("bytes_in") - in);
	EXPECT_EQ(should[BYTES_OUT], counter("bytes_out") - out);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Failure at every step is as if nothing had been asked for. */
TEST_F_TIMEOUT(nothing_lost, failure_at_every_step, LIMIT)
{
	static const struct {
		const char *function;
		int calls, list_calls;
		bool is_errno;
	} steps[] = {
		{ "dma_window_inplace_new", 1, 2, false },
		{ "dma_window_stand_in_get", 2, 2, false },
		{ "dma_window_inplace_iova", 1, 2, false },
		{ "dma_window_inplace_iommu_map", 1, 2, true },
	};
	struct edu_seg segs[3] = {};
	struct edu_map_sg sg = { .segs = (uintptr_t)segs, .nents = 3, .attrs = EDU_NO_WARN };
	int nth, max, room;
	struct walk was, is;
	u64 used, live, out;
	struct mem buf;
	struct map p;
	u32 i, dir;
	int as_list;

	if (access(FAIL "inject", F_OK))
		SKIP(return, "no CONFIG_FAIL_FUNCTION");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	used = counter("io_tlb_used");
	live = counter("maps") - counter("unmaps");
	/* Leave few addresses, so that a lost one is missed. */
	edu_limit(E, EDU_FORCE_MASK, E->base + E->size + MIB - 1);
	room = capacity(B, &buf);
	was = space(B);
	for (i = 0; i < 4; i++) {
		for (as_list = 0; as_list < 2; as_list++) {
			max = as_list ? steps[i].list_calls : steps[i].calls;
			for (nth = 1; nth <= max; nth++) {
				dir = can_map(B, nth % 3, 0) ? nth % 3 : EDU_BIDIRECTIONAL;
				fill(buf.mem, buf.size, 1);
				out = counter("bytes_out");
				segs[0] = (struct edu_seg){ buf.id, 512, 512, 0, 0 };
				segs[1] = (struct edu_seg){ buf.id, 64 * KIB, 128 * KIB, 0, 0 };
				segs[2] = (struct edu_seg){
					buf.id, 64 * KIB, 256 * KIB + 100, 0, 0,
				};
				sg.dir = dir;
				ASSERT_TRUE(fail_call(steps[i].function, nth, steps[i].is_errno));
				EXPECT_NE(0, as_list ? ioctl(E->fd, EDU_MAP_SG, &sg) :
					  map(E, &p, &buf, 100, 128 * KIB, dir, EDU_NO_WARN));
				EXPECT_TRUE(failed_call());
				EXPECT_EQ(used, counter("io_tlb_used"));
				EXPECT_EQ(live, counter("maps") - counter("unmaps"));
				EXPECT_EQ(out, counter("bytes_out"));
				EXPECT_TRUE(has(buf.mem, 0, buf.size, 1));
				is = space(B);
				EXPECT_TRUE(walks_equal(&was, &is)) {
					TH_LOG("%s, call %d, %s", steps[i].function, nth,
					       as_list ? "list" : "page");
				}
				free(is.extents);
				/* The same mapping works right after the failure. */
				if (as_list) {
					ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
					ASSERT_EQ(0, edu_end(E, sg.id, 0));
				} else {
					ASSERT_EQ(0, map(E, &p, &buf, 100, 128 * KIB, dir, 0));
					ASSERT_EQ(0, unmap(E, &p, 0));
				}
			}
		}
	}
	EXPECT_GT(room, 0);
	EXPECT_EQ(room, capacity(B, &buf));
	free(was.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Each allocation of a call, the first, the second, ..., until none is left. */
TEST_F_TIMEOUT(nothing_lost, failure_of_every_allocation, LIMIT)
{
	struct walk was, is;
	u64 used, live, at;
	struct mem buf;
	char text[16];
	struct map p;
	int nth, fd, ret;
	ssize_t n;

	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no CONFIG_FAULT_INJECTION");
	write_text("/sys/kernel/debug/failslab/verbose", "0");
	write_text("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * MIB, 0, 0));
	ASSERT_EQ(0, copybreak(4096));
	used = counter("io_tlb_used");
	live = counter("maps") - counter("unmaps");
	was = space(B);
	for (nth = 1; nth < 60; nth++) {
		/* New addresses, so that page tables are needed, too. */
		edu_limit(E, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1 - nth % 24 * 2 * MIB);
		at = nth * 4096 + 100;
		snprintf(text, sizeof(text), "%d", nth);
		ASSERT_LT(0, pwrite(fd, text, strlen(text), 0));
		ret = map(E, &p, &buf, at, 3 * MIB, EDU_TO_DEVICE, EDU_NO_WARN);
		n = pread(fd, text, sizeof(text) - 1, 0);
		ASSERT_LT(0, n);
		text[n] = '\0';
		ASSERT_EQ(1, pwrite(fd, "0", 1, 0));
		if (!ret) {
			ASSERT_EQ(0, unmap(E, &p, 0));
			/* If the counter is not used up, no call is left to fail. */
			if (atoi(text))
				break;
			continue;
		}
		EXPECT_EQ(used, counter("io_tlb_used"));
		EXPECT_EQ(live, counter("maps") - counter("unmaps"));
		is = space(B);
		EXPECT_TRUE(walks_equal(&was, &is)) {
			TH_LOG("allocation %d", nth);
		}
		free(is.extents);
	}
	EXPECT_LT(nth, 60);
	EXPECT_GT(nth, 2);
	close(fd);
	free(was.extents);
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
