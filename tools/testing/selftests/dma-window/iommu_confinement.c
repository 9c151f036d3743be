// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: which granules a device can reach, and until when.
 */

#include "iommu_fixture.h"

/* I1 */
FIXTURE(confinement) { struct state s; };
FIXTURE_SETUP(confinement) { start(&self->s); }
FIXTURE_TEARDOWN(confinement) { finish(_metadata, &self->s); }

static int attach(struct edu *e, u32 how)
{
	struct edu_attach arg = { .how = how };

	return ioctl(e->fd, EDU_ATTACH, &arg) ? -errno : 0;
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

TEST_HARNESS_MAIN
