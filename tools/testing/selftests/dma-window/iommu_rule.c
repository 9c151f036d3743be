// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rule of what a device behind an IOMMU may read of a driver's memory (I3), as
 * a table: direction x attributes x size x what else is mapped there x whether the
 * window has room. The rule is in Documentation/core-api/dma-window.rst; a mapping
 * by itself must not change the driver's memory, either. See edu.h for the devices
 * and variables that these tests need.
 */

#include "iommu_fixture.h"

#define SPAN	(512 * KIB)

/* I3 */
FIXTURE(no_stale_data) { struct state s; };
FIXTURE_SETUP(no_stale_data) { start(&self->s); }
FIXTURE_TEARDOWN(no_stale_data) { finish(_metadata, &self->s); }

/* The driver's bytes, and what the device writes by its first and second mapping. */
static u8 bytes[3][SPAN], zeroes[SPAN];

static void make_bytes(void)
{
	struct rng r = { .s = 0x9e3779b97f4a7c15ull };
	int i;

	for (i = 0; i < 3; i++)
		scribble(&r, bytes[i], SPAN);
}

/* One of the mappings of a buffer. */
struct view {
	u64		at, size, attrs;
	u32		dir;
	struct map	p;
	struct piece	pieces[3];
	u32		np;
};

static bool readable(const struct view *v)
{
	return v->dir != EDU_FROM_DEVICE && !(v->attrs & EDU_SKIP_CPU_SYNC);
}

/* 1: mapped; 0: refused, as it may be with a full window; -1: wrong. */
static int view_map(struct behind *b, struct mem *buf, struct view *v, u64 copybreak)
{
	struct layout l;
	int ret;

	ret = map(&b->e, &v->p, buf, v->at, v->size, v->dir, v->attrs | EDU_NO_WARN);
	if (memcmp(buf->mem, bytes[0], SPAN))
		return wrong("the call changed the driver's memory") - 1;
	if (ret)
		return b->full ? 0 : wrong("map: %s", strerror(-ret)) - 1;
	l = layout_at(b, copybreak, v->p.addr, buf->addr + v->at, v->size, v->dir, v->attrs);
	if (!placed(b, &l, v->p.addr, buf->addr + v->at, v->size))
		return -1;
	v->np = pieces_of(b->g, &l, v->at, v->size, v->p.addr, v->pieces);
	return 1;
}

/* Check all that the device reads, one end with its engine; if it may read at all. */
static bool view_check(struct behind *b, const struct view *v, u64 shown_at, u64 shown,
		       bool at_end)
{
	const u64 part = v->size < 1000 ? v->size : 1000, from = at_end ? v->size - part : 0;
	u32 i;

	memcpy(want, readable(v) ? bytes[0] + v->at : zeroes, v->size);
	memcpy(want + shown_at, bytes[0] + v->at + shown_at, shown);
	for (i = 0; i < v->np; i++) {
		const struct piece *p = &v->pieces[i];

		/* In place but not readable: only the IOMMU can tell, see write_only. */
		if (!p->bounced && !readable(v)) {
			if (!b->write_only)
				return wrong("piece %u is in place", i);
			continue;
		}
		if (peek(&b->e, p->addr, look, p->size))
			return wrong("piece %u: nothing there", i);
		if (memcmp(look, want + p->at - v->at, p->size))
			return wrong("piece %u of %u: the device sees wrong bytes", i, v->np);
	}
	if (v->dir == EDU_FROM_DEVICE && b->write_only)
		return true;
	return (!see(&b->e, v->p.addr + from, look, part) && !memcmp(look, want + from, part)) ||
	       wrong("the engine reads wrong bytes at %llu", (unsigned long long)from);
}

/* The device writes all that it may; memory mapped in place changes at once. */
static bool view_write(struct behind *b, const struct view *v, const u8 *by, u8 *memory)
{
	u32 i;

	if (v->dir == EDU_TO_DEVICE)
		return true;
	for (i = 0; i < v->np; i++) {
		const struct piece *p = &v->pieces[i];

		if (poke(&b->e, p->addr, by + p->at, p->size))
			return wrong("piece %u: the device cannot write", i);
		if (!p->bounced)
			memcpy(memory + p->at, by + p->at, p->size);
	}
	return true;
}

static bool view_unmap(struct behind *b, struct view *v, const u8 *by, u8 *memory)
{
	u32 i;

	if (unmap(&b->e, &v->p, 0))
		return wrong("unmap: %s", strerror(errno));
	for (i = 0; v->dir != EDU_TO_DEVICE && i < v->np; i++)
		if (v->pieces[i].bounced)
			memcpy(memory + v->pieces[i].at, by + v->pieces[i].at, v->pieces[i].size);
	return true;
}

/* Two mappings of one buffer, mapped and undone in that order or the other. */
static bool pair(struct behind *b, struct mem *buf, struct view *v, u64 copybreak,
		 bool reverse)
{
	static u8 memory[SPAN];
	int i, last, mapped[2];

	memcpy(buf->mem, bytes[0], SPAN);
	memcpy(memory, bytes[0], SPAN);
	for (i = 0; i < 2; i++) {
		mapped[i] = view_map(b, buf, &v[i], copybreak);
		if (mapped[i] < 0)
			return wrong("mapping %d", i);
	}
	for (i = 0; i < 2; i++)
		if (mapped[i] && !view_check(b, &v[i], 0, 0, reverse))
			return wrong("mapping %d", i);
	/* Bytes handed over by a sync are shown to the device, and no others. */
	for (i = 0; i < 2; i++) {
		if (!mapped[i] || readable(&v[i]) || v[i].dir == EDU_FROM_DEVICE)
			continue;
		if (sync_range(&b->e, &v[i].p, 100, 200, v[i].dir, false) ||
		    !view_check(b, &v[i], 100, 200, false))
			return wrong("mapping %d, synced", i);
	}
	for (i = 0; i < 2; i++)
		if (mapped[i] && !view_write(b, &v[i], bytes[1 + i], memory))
			return wrong("mapping %d", i);
	if (memcmp(buf->mem, memory, SPAN))
		return wrong("wrong bytes before the unmaps");
	for (i = 0; i < 2; i++) {
		last = reverse ? 1 - i : i;
		if (mapped[last] && !view_unmap(b, &v[last], bytes[1 + last], memory))
			return false;
		if (memcmp(buf->mem, memory, SPAN))
			return wrong("wrong bytes after unmap %d", i);
	}
	return true;
}

/* All pairs of directions and attributes, in both orders, in several sizes. */
static u64 pairs(struct __test_metadata *_metadata, struct behind *b, struct mem *buf,
		 const u64 *sizes, int nsizes, u64 copybreak)
{
	/* The same bytes; an end that overlaps; a part of them. */
	const struct { u64 shift, part; } places[] = { { 0, 1 }, { 1, 1 }, { 1, 4 } };
	u64 n = 0, done = 0;
	u32 k, place, kinds, reverse;

	for (k = 0; k < nsizes; k++) {
		for (place = 0; place < 3; place++) {
			for (kinds = 0; kinds < 36; kinds++) {
				u64 size = sizes[k], at = 64 * KIB + size % 4096 % 1000;
				u64 shift = places[place].shift * (size / 4 & -512ull);
				struct view v[2] = {
					{
						.at = at, .size = size, .dir = kinds % 3,
						.attrs = kinds / 9 & 1 ? EDU_SKIP_CPU_SYNC : 0,
					}, {
						.at = at + shift, .dir = kinds / 3 % 3,
						.size = size / places[place].part,
						.attrs = kinds / 18 ? EDU_SKIP_CPU_SYNC : 0,
					},
				};

				reverse = (kinds + place) % 2;
				if (v[1].size < 400 || n++ % stride())
					continue;
				done++;
				if (pair(b, buf, v, copybreak, reverse))
					continue;
				TH_LOG("%llu bytes, place %u, kinds %u, reverse %u",
				       (unsigned long long)size, place, kinds, reverse);
				return 0;
			}
		}
	}
	return done;
}

TEST_F_TIMEOUT(no_stale_data, pairs, LIMIT)
{
	/* Bounced; with granules at both ends that are; whole granules; large. */
	const u64 sizes[] = { 2048, 5 * G + 700, 4 * G, 32 * G };
	struct mem buf;

	make_bytes();
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, SPAN, 0, 0));
	ASSERT_EQ(0, copybreak(2 * G));
	EXPECT_NE(0, pairs(_metadata, B, &buf, sizes, 4, 2 * G));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * Pairs in a window with no room: a buffer that would have been copied is mapped in
 * place if the rule allows, else refused; its bytes are never shown or changed.
 */
TEST_F_TIMEOUT(no_stale_data, pairs_in_a_full_window, LIMIT)
{
	const u64 sizes[] = { 2 * G, 32 * G };
	static struct map hog[4096];
	struct mem buf, m;
	int n;

	make_bytes();
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, SPAN, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_BUFFER, 4096, 0, 0));
	ASSERT_EQ(0, copybreak(16 * G));
	for (n = 0; n < 4096; n++)
		if (map(E, &hog[n], &m, 0, 2048, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	ASSERT_LT(n, 4096);
	B->full = true;
	EXPECT_NE(0, pairs(_metadata, B, &buf, sizes, 2, 16 * G));
	B->full = false;
	while (n--)
		ASSERT_EQ(0, unmap(E, &hog[n], 0));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Check all that the device reads: walk the driver's segments and the device's. */
static bool list_check(struct behind *b, const struct edu_seg *segs, u32 n, u32 dir)
{
	u64 done, step, in = 0;
	u32 d = 0, k;

	for (k = 0; k < n; k++) {
		for (done = 0; done < segs[k].size; done += step) {
			const u8 *from = bytes[0] + segs[k].offset + done;

			step = segs[d].dma_size - in;
			if (step > segs[k].size - done)
				step = segs[k].size - done;
			if (peek(&b->e, segs[d].addr + in, look, step))
				return wrong("segment %u: nothing there", d);
			if (dir == EDU_TO_DEVICE ? memcmp(look, from, step) :
			    !b->write_only && !is_zero(look, step))
				return wrong("entry %u: the device sees wrong bytes", k);
			in += step;
			if (in == segs[d].dma_size) {
				d++;
				in = 0;
			}
		}
	}
	return true;
}

/* Lists over the same memory: handed over for reading by one, to be written by one. */
TEST_F_TIMEOUT(no_stale_data, lists, LIMIT)
{
	const struct { u64 at, size; } parts[4] = {
		{ 0, 8 * G }, { 16 * G, 4 * G }, { 24 * G, G }, { 32 * G + 100, 6 * G },
	};
	struct edu_seg segs[2][4];
	struct edu_map_sg sg[2];
	struct mem buf;
	u32 first, i, k;

	make_bytes();
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, SPAN, 0, 0));
	ASSERT_EQ(0, copybreak(2 * G));
	for (first = EDU_TO_DEVICE; first <= EDU_FROM_DEVICE; first++) {
		memcpy(buf.mem, bytes[0], SPAN);
		for (i = 0; i < 2; i++) {
			for (k = 0; k < 4; k++)
				segs[i][k] = (struct edu_seg){
					.buffer = buf.id, .offset = parts[k].at,
					.size = parts[k].size,
				};
			sg[i] = (struct edu_map_sg){
				.segs = (uintptr_t)segs[i], .nents = 4,
				.dir = i ? EDU_TO_DEVICE + EDU_FROM_DEVICE - first : first,
			};
			ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg[i]));
			ASSERT_EQ(0, memcmp(buf.mem, bytes[0], SPAN));
		}
		for (i = 0; i < 2; i++) {
			ASSERT_TRUE(list_check(B, segs[i], 4, sg[i].dir)) {
				TH_LOG("list %u, direction %u", i, sg[i].dir);
			}
		}
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, edu_end(E, sg[i].id, EDU_SKIP_CPU_SYNC));
		EXPECT_EQ(0, memcmp(buf.mem, bytes[0], SPAN));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* In place and to be written only: the device cannot read a byte of it. */
TEST_F_TIMEOUT(no_stale_data, write_only, LIMIT)
{
	const u64 attrs[] = { 0, EDU_SKIP_CPU_SYNC };
	struct mem buf;
	struct map p;
	u64 i;

	if (!B->write_only)
		SKIP(return, "this IOMMU has no write-only: nothing to write is in place");
	if (!E->engine)
		SKIP(return, "without a clock that can be skipped");
	make_bytes();
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, SPAN, 0, 0));
	ASSERT_EQ(0, copybreak(0));
	for (i = 0; i < 2; i++) {
		memcpy(buf.mem, bytes[0], SPAN);
		ASSERT_EQ(0, map(E, &p, &buf, 100, 16 * G, EDU_FROM_DEVICE, attrs[i]));
		ASSERT_FALSE(inside(E, p.addr, 16 * G));
		EXPECT_TRUE(stopped_reading(&self->s, p.addr + 4 * G, buf.mem + 100 + 4 * G, 1024));
		/* The ends are the window's: not the driver's bytes either. */
		EXPECT_TRUE(stopped_reading(&self->s, p.addr + 8, buf.mem + 108, 1024));
		ASSERT_EQ(0, put(E, p.addr + 4 * G, bytes[1], 1000));
		EXPECT_EQ(0, memcmp(buf.mem + 100 + 4 * G, bytes[1], 1000));
		EXPECT_EQ(0, unmap(E, &p, 0));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_HARNESS_MAIN
