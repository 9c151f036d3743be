// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call, from both sides: what the driver gets, and what
 * the device can see and do. A fixture is named after the invariant of
 * Documentation/core-api/dma-window.rst that its tests guard. See edu.h for
 * the devices and variables that these tests need.
 */

#include <sched.h>
#include <sys/wait.h>

#include "edu.h"
#include "../kselftest_harness.h"

/* Slow machines emulate slow ones: see the debug kernel. */

struct state {
	struct edu e;
	u64 used, invalid;
};

#define E (&self->s.e)

static void start(struct state *s)
{
	edu_open(&s->e);
	s->used = counter("io_tlb_used");
	s->invalid = counter("fail_invalid");
}

/*
 * Nothing is left behind, and no call was a mistake but those meant to be. A
 * test has to unmap its memory, or the file stays open.
 */
static void finish(struct __test_metadata *_metadata, struct state *s)
{
	close(s->e.fd);
	EXPECT_EQ(s->used, counter("io_tlb_used"));
	EXPECT_EQ(s->invalid, counter("fail_invalid"));
}

/* I1 */
FIXTURE(confinement) { struct state s; };
FIXTURE_SETUP(confinement) { start(&self->s); }
FIXTURE_TEARDOWN(confinement) { finish(_metadata, &self->s); }

/* I2 */
FIXTURE(fail_closed) { struct state s; };
FIXTURE_SETUP(fail_closed) { start(&self->s); }
FIXTURE_TEARDOWN(fail_closed) { finish(_metadata, &self->s); }

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

/* Counters and events, for an operator. */
FIXTURE(observed) { struct state s; };
FIXTURE_SETUP(observed) { start(&self->s); }
FIXTURE_TEARDOWN(observed) { finish(_metadata, &self->s); }

static u8 look[4 * MIB], other[4 * MIB];

/* Stay on this CPU: the slots that its cache keeps are the slots that it gets again. */
static bool stay(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

/* 1, 2, 3, ... around every power of two, up to @max itself. */
static size_t next_size(size_t size, size_t max)
{
	size_t power = 1;

	if (size < 4)
		return size + 1;
	while (power * 2 <= size + 1)
		power *= 2;
	if (size == power - 1 || size == power)
		size++;
	else
		size = power * 2 - 1;
	return size < max ? size : max;
}

/*
 * Each size class from a byte to the largest free run, each direction: inside
 * the window, with the right bytes, and back again.
 */
TEST_F_TIMEOUT(confinement, streaming_of_every_size, LIMIT)
{
	size_t max = counter("largest_free"), size = 0;
	u64 maps = counter("maps"), n = 0;
	struct mem buf;
	struct map p;
	u32 dir;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * MIB, 0, 0));
	ASSERT_LE(max, buf.size);
	ASSERT_GE(max, 256 * KIB);
	do {
		size = next_size(size, max);
		for (dir = EDU_BIDIRECTIONAL; dir <= EDU_FROM_DEVICE; dir++) {
			fill(buf.mem, size, size + dir);
			ASSERT_EQ(0, map(E, &p, &buf, 0, size, dir, 0)) {
				TH_LOG("%zu bytes, direction %u", size, dir);
			}
			n++;
			ASSERT_TRUE(inside(E, p.addr, size));
			ASSERT_EQ(0, see(E, p.addr, look, size));
			ASSERT_TRUE(dir == EDU_FROM_DEVICE ? is_zero(look, size) :
				    has(look, 0, size, size + dir));
			fill(look, size, 77);
			ASSERT_EQ(0, put(E, p.addr, look, size));
			ASSERT_EQ(0, unmap(E, &p, 0));
			/* Bytes that the device wrote reach the driver, except TO_DEVICE. */
			ASSERT_TRUE(has(buf.mem, 0, size, dir == EDU_TO_DEVICE ?
					size + dir : 77));
		}
	} while (size < max);
	EXPECT_EQ(maps + n, counter("maps"));
	EXPECT_EQ(counter("maps"), counter("unmaps"));
	/* A page more than the largest free run does not fit. */
	if (max + 4096 <= buf.size) {
		u64 full = counter("fail_full");

		EXPECT_EQ(-EIO, map(E, &p, &buf, 0, max + 4096, EDU_TO_DEVICE,
				    EDU_NO_WARN));
		EXPECT_EQ(full + 1, counter("fail_full"));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* A part of a buffer at any offset: its own bytes, and not its neighbours'. */
TEST_F_TIMEOUT(confinement, streaming_at_every_offset, LIMIT)
{
	static const size_t offsets[] = { 1, 13, 511, 512, 2047, 4095, 4096, 5001 };
	static const size_t sizes[] = { 1, 100, 2048, 4097 };
	struct mem buf;
	struct map p;
	size_t i, j;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	for (i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		for (j = 0; j < sizeof(sizes) / sizeof(*sizes); j++) {
			size_t at = offsets[i], size = sizes[j];

			fill(buf.mem, buf.size, 1);
			ASSERT_EQ(0, map(E, &p, &buf, at, size, EDU_BIDIRECTIONAL, 0));
			ASSERT_TRUE(inside(E, p.addr, size));
			ASSERT_EQ(0, see(E, p.addr, look, size));
			ASSERT_EQ(0, memcmp(look, buf.mem + at, size));
			memset(look, 0xee, size);
			ASSERT_EQ(0, put(E, p.addr, look, size));
			ASSERT_EQ(0, unmap(E, &p, 0));
			ASSERT_EQ(0, memcmp(look, buf.mem + at, size));
			ASSERT_TRUE(has(buf.mem, 0, at, 1));
			ASSERT_TRUE(has(buf.mem, at + size, buf.size - at - size, 1));
		}
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Coherent memory of each size class, each call that makes it, any context. */
TEST_F_TIMEOUT(confinement, coherent_of_every_size, LIMIT)
{
	/* A quarter: memory is aligned to its size, in the upper half, partly taken. */
	size_t max = counter("largest_free") / 4, size = 0, pages, align;
	u64 allocs = counter("allocs"), n = 0;
	u32 kind, flags;

	do {
		size = next_size(size, max);
		pages = (size + 4095) & ~4095ul;
		for (align = 4096; align < pages; align *= 2)
			;
		for (kind = EDU_COHERENT; kind <= EDU_PAGES; kind++) {
			for (flags = 0; flags <= EDU_ATOMIC; flags++) {
				struct mem m;

				if (kind == EDU_PAGES && size != pages)
					continue;
				ASSERT_EQ(0, mem_new(E, &m, kind, size, flags, 0)) {
					TH_LOG("%zu bytes, kind %u, flags %u",
					       size, kind, flags);
				}
				n++;
				ASSERT_TRUE(inside(E, m.addr, pages));
				ASSERT_EQ(0, m.addr % align);
				/* Zeroed up to whole pages: the device reads padding, too. */
				ASSERT_EQ(0, see(E, m.addr, look, pages));
				ASSERT_TRUE(is_zero(look, pages));
				/* The same memory on both sides, with no sync. */
				fill(m.mem, pages, size);
				ASSERT_EQ(0, see(E, m.addr, look, size));
				ASSERT_TRUE(has(look, 0, size, size));
				fill(look, size, size + 1);
				ASSERT_EQ(0, put(E, m.addr, look, size));
				ASSERT_TRUE(has(m.mem, 0, size, size + 1));
				ASSERT_EQ(0, mem_free(E, &m));
			}
		}
	} while (size < max);
	EXPECT_EQ(allocs + n, counter("allocs"));
}

/* No more of the window is mapped to user space than was allocated. */
TEST_F_TIMEOUT(confinement, coherent_in_user_space, LIMIT)
{
	struct mem m;
	u8 *area;

	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 16 * KIB, 0, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 20 * KIB, PROT_READ, MAP_SHARED, E->fd,
				   EDU_MMAP(m.id)));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 8 * KIB, PROT_READ, MAP_SHARED, E->fd,
				   EDU_MMAP(m.id) + 12 * KIB));
	area = mmap(NULL, 4 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, E->fd,
		    EDU_MMAP(m.id) + 12 * KIB);
	ASSERT_NE(MAP_FAILED, area);
	area[4095] = 0x77;
	EXPECT_EQ(0, see(E, m.addr + 16 * KIB - 1, look, 1));
	EXPECT_EQ(0x77, look[0]);
	EXPECT_EQ(0, munmap(area, 4 * KIB));
	EXPECT_EQ(0, mem_free(E, &m));
}

TEST_F_TIMEOUT(confinement, sgtable_of_coherent, LIMIT)
{
	u64 invalid = counter("fail_invalid");
	struct mem m;

	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 64 * KIB, 0, 0));
	EXPECT_EQ(0, raw(E, EDU_RAW_SGTABLE, m.addr, 64 * KIB, m.id));
	EXPECT_EQ(0, raw(E, EDU_RAW_SGTABLE, m.addr, 60 * KIB, m.id));
	/* Fail for more bytes than were allocated, and for another address. */
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, m.addr, 68 * KIB, m.id));
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, m.addr + 4096, 4 * KIB, m.id));
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, 0x1000, 4 * KIB, m.id));
	EXPECT_EQ(invalid, counter("fail_invalid"));
	EXPECT_EQ(0, mem_free(E, &m));
}

/* Mixed sizes and offsets, their syncs; each entry is in the window. */
TEST_F_TIMEOUT(confinement, scatterlists, LIMIT)
{
	static const u32 sizes[] = { 1, 4096, 513, 30000, 2048, 100, 8191, 1, 65536 };
	enum { N = sizeof(sizes) / sizeof(*sizes) };
	struct edu_seg segs[N] = {};
	struct edu_map_sg arg = {
		.segs = (uintptr_t)segs, .nents = N, .dir = EDU_BIDIRECTIONAL,
	};
	struct edu_sync sync = { .dir = EDU_BIDIRECTIONAL };
	struct mem buf;
	int i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MIB, 0, 0));
	for (i = 0; i < N; i++) {
		segs[i].buffer = buf.id;
		segs[i].offset = i * 70000 + 3;
		segs[i].size = sizes[i];
		fill(buf.mem + segs[i].offset, sizes[i], i);
	}
	ASSERT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &arg));
	ASSERT_EQ(N, arg.mapped);
	sync.id = arg.id;
	for (i = 0; i < N; i++) {
		ASSERT_EQ(sizes[i], segs[i].dma_size);
		ASSERT_TRUE(inside(E, segs[i].addr, sizes[i]));
		ASSERT_EQ(0, see(E, segs[i].addr, look, sizes[i]));
		ASSERT_TRUE(has(look, 0, sizes[i], i));
		fill(look, sizes[i], 30 + i);
		ASSERT_EQ(0, put(E, segs[i].addr, look, sizes[i]));
	}
	sync.for_cpu = 1;
	ASSERT_EQ(0, ioctl(E->fd, EDU_SYNC, &sync));
	for (i = 0; i < N; i++) {
		ASSERT_TRUE(has(buf.mem + segs[i].offset, 0, sizes[i], 30 + i));
		fill(buf.mem + segs[i].offset, sizes[i], 40 + i);
	}
	sync.for_cpu = 0;
	ASSERT_EQ(0, ioctl(E->fd, EDU_SYNC, &sync));
	for (i = 0; i < N; i++) {
		ASSERT_EQ(0, see(E, segs[i].addr, look, sizes[i]));
		ASSERT_TRUE(has(look, 0, sizes[i], 40 + i));
		fill(look, sizes[i], 50 + i);
		ASSERT_EQ(0, put(E, segs[i].addr, look, sizes[i]));
	}
	ASSERT_EQ(0, edu_end(E, arg.id, 0));
	for (i = 0; i < N; i++)
		ASSERT_TRUE(has(buf.mem + segs[i].offset, 0, sizes[i], 50 + i));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* As many mappings of 64 KiB as fit; their ids and addresses. */
static int take_all(struct edu *e, struct mem *buf, struct map *maps, int max)
{
	int n = 0;

	while (n < max && !map(e, &maps[n], buf, 0, 64 * KIB, EDU_TO_DEVICE, EDU_NO_WARN))
		n++;
	return n;
}

static int give_all(struct edu *e, struct map *maps, int n)
{
	int ret = 0;

	while (n--)
		ret = unmap(e, &maps[n], 0) ?: ret;
	return ret;
}

/* A mask that excludes the window is refused, when set and when used. */
TEST_F_TIMEOUT(confinement, masks, LIMIT)
{
	struct edu_info info = edu_info(E);
	u64 half = E->base + E->size / 2 - 1, masked = counter("fail_mask");
	struct map maps[512], p;
	struct mem buf, mems[8];
	int n, i;

	ASSERT_LE(E->size / (64 * KIB), 512);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_MASK, (1 << 28) - 1));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_COHERENT_MASK, (1 << 28) - 1));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_MASK, E->base + E->size - 2));
	EXPECT_EQ(info.mask, edu_info(E).mask);
	EXPECT_EQ(0, edu_limit(E, EDU_MASK, E->base + E->size - 1));
	EXPECT_EQ(0, edu_limit(E, EDU_COHERENT_MASK, ~0ull));
	EXPECT_GE(info.required_mask, E->base + E->size - 1);

	/* A driver that writes the mask itself: only a mapping can notice. */
	edu_limit(E, EDU_FORCE_MASK, (1 << 28) - 1);
	edu_limit(E, EDU_FORCE_COHERENT_MASK, (1 << 28) - 1);
	EXPECT_EQ(-EIO, map(E, &p, &buf, 0, 4096, EDU_TO_DEVICE, 0));
	EXPECT_EQ(-ENOMEM, mem_new(E, mems, EDU_COHERENT, 4096, 0, EDU_NO_WARN));
	EXPECT_EQ(masked + 2, counter("fail_mask"));

	/* In reach up to the middle: nothing beyond is ever handed out. */
	edu_limit(E, EDU_FORCE_MASK, half);
	edu_limit(E, EDU_FORCE_COHERENT_MASK, half + 16 * KIB);
	for (n = 0; n < 8; n++) {
		if (mem_new(E, &mems[n], EDU_COHERENT, 4096, 0, EDU_NO_WARN))
			break;
		EXPECT_LE(mems[n].addr + 4096 - 1, half + 16 * KIB);
	}
	EXPECT_EQ(4, n);
	while (n--)
		EXPECT_EQ(0, mem_free(E, &mems[n]));
	n = take_all(E, &buf, maps, 512);
	EXPECT_GE(n, (int)(E->size / (128 * KIB)) - 1);
	EXPECT_LE(n, (int)(E->size / (128 * KIB)));
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(inside(E, maps[i].addr, 64 * KIB));
		EXPECT_LE(maps[i].addr + 64 * KIB - 1, half);
	}
	EXPECT_EQ(0, give_all(E, maps, n));

	/* To the slot: one that is in reach only in part is not used. */
	edu_limit(E, EDU_FORCE_MASK, E->base + 5 * SLOT + SLOT / 2 - 1);
	for (n = 0; n < 8; n++) {
		if (map(E, &maps[n], &buf, 0, SLOT, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
		EXPECT_LE(maps[n].addr + SLOT, E->base + 5 * SLOT);
	}
	EXPECT_EQ(5, n);
	EXPECT_EQ(0, give_all(E, maps, n));
	edu_limit(E, EDU_FORCE_MASK, info.mask);
	edu_limit(E, EDU_FORCE_COHERENT_MASK, info.coherent_mask);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Slots that a CPU keeps of earlier mappings are checked against the mask, too. */
TEST_F_TIMEOUT(confinement, masks_and_what_is_kept, LIMIT)
{
	static const u64 aligns[] = { 0, 0x1ff };
	enum { MAX = 2048, SIZE = 2048 };
	struct edu_info info = edu_info(E);
	u64 half = E->base + E->size / 2 - 1;
	static struct map maps[MAX];
	struct mem buf;
	int n, i, j;

	ASSERT_TRUE(stay());
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, SIZE, 0, 0));
	for (i = 0; i < 2; i++) {
		for (n = 0; n < MAX; n++)
			if (map(E, &maps[n], &buf, 0, SIZE, EDU_TO_DEVICE, EDU_NO_WARN))
				break;
		ASSERT_LT(n, MAX);
		ASSERT_GT(maps[n - 1].addr, half);
		/* The highest are the last ones. */
		for (j = 0; j < n; j++)
			ASSERT_EQ(0, unmap(E, &maps[j], 0));
		edu_limit(E, EDU_FORCE_MASK, half);
		edu_limit(E, EDU_MIN_ALIGN_MASK, aligns[i]);
		for (n = 0; n < 4; n++) {
			ASSERT_EQ(0, map(E, &maps[n], &buf, 0, SIZE, EDU_TO_DEVICE, 0));
			EXPECT_LE(maps[n].addr + SIZE - 1, half);
		}
		while (n--)
			EXPECT_EQ(0, unmap(E, &maps[n], 0));
		edu_limit(E, EDU_MIN_ALIGN_MASK, 0);
		edu_limit(E, EDU_FORCE_MASK, info.mask);
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Fill the window, so that slots kept for a late unmap are used again. */
static void settle(struct edu *e)
{
	struct map maps[512];
	struct mem buf;

	mem_new(e, &buf, EDU_BUFFER, 64 * KIB, 0, 0);
	give_all(e, maps, take_all(e, &buf, maps, 512));
	mem_free(e, &buf);
}

/*
 * Mappings and memory that a driver forgets, of whatever kind, are all taken back
 * when the driver goes; however often, the window is the same afterwards.
 */
TEST_F_TIMEOUT(nothing_lost, forgotten_by_the_driver, LIMIT)
{
	static const size_t sizes[] = { 1, 2048, 5000, 64 * KIB, 100 * KIB };
	const u32 n = sizeof(sizes) / sizeof(*sizes);
	const char *edu = setting("EDU");
	u64 used, largest, live;
	struct mem buf;
	struct map p[5];
	int round, lines;
	u32 i;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, unbind(edu));
	used = counter("io_tlb_used");
	largest = counter("largest_free");
	live = counter("maps") - counter("unmaps");
	ASSERT_EQ(0, bind_again(edu));
	lines = left_lines(edu, n);
	/* Of 4 MiB, 174 KiB each time. */
	for (round = 0; round < 40; round++) {
		ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 128 * KIB, 0, 0));
		for (i = 0; i < n; i++) {
			ASSERT_EQ(0, map(E, &p[i], &buf, 0, sizes[i], i % 3, 0));
			ASSERT_EQ(0, leak(E, p[i].id));
		}
		/* The buffers of mappings for the device to write must not be. */
		fill(buf.mem, buf.size, round);
		memset(look, 0x5a, sizeof(look));
		for (i = 0; i < n; i++)
			ASSERT_EQ(0, access_bus(E, EDU_PEEK, p[i].addr, look, sizes[i], true));
		ASSERT_EQ(0, unbind(edu));
		EXPECT_TRUE(has(buf.mem, 0, buf.size, round));
		ASSERT_EQ(used, counter("io_tlb_used"));
		ASSERT_EQ(largest, counter("largest_free"));
		ASSERT_EQ(live, counter("maps") - counter("unmaps"));
		ASSERT_EQ(0, bind_again(edu));
		ASSERT_EQ(0, mem_free(E, &buf));
	}
	EXPECT_EQ(lines + round, left_lines(edu, n));
	/* A driver that forgets nothing is not reported. */
	lines = left_lines(edu, 0) + left_lines(edu, 1);
	ASSERT_EQ(0, unbind(edu));
	ASSERT_EQ(0, bind_again(edu));
	EXPECT_EQ(lines, left_lines(edu, 0) + left_lines(edu, 1));
	settle(E);
}

/*
 * Coherent memory may have users that outlive the driver, as a process that has
 * mapped the memory: nobody else gets the slots until the memory is freed.
 */
TEST_F_TIMEOUT(nothing_lost, coherent_outlives_the_driver, LIMIT)
{
	const char *edu = setting("EDU");
	struct mem m;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 64 * KIB, 0, 0));
	fill(m.mem, m.size, 1);
	ASSERT_EQ(0, unbind(edu));
	EXPECT_EQ(1, log_lines(edu, "left 1 coherent allocations in "));
	ASSERT_EQ(0, bind_again(edu));
	EXPECT_EQ(self->s.used + 32, counter("io_tlb_used"));
	/* Mappings of others take all slots that are free. */
	settle(E);
	EXPECT_TRUE(has(m.mem, 0, m.size, 1));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(self->s.used, counter("io_tlb_used"));
}

/*
 * An unmap that comes when the driver is gone, as page_pool's, changes nothing and is
 * no mistake; slots that were forgotten are not given to others while there is room.
 */
TEST_F_TIMEOUT(nothing_lost, undone_late, LIMIT)
{
	const char *edu = setting("EDU");
	struct map late[3], maps[512];
	struct mem buf, other_buf, m;
	u64 unmaps, used;
	int n, i, k;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 192 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &other_buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, map(E, &late[i], &buf, 64 * KIB * i, 64 * KIB, EDU_FROM_DEVICE, 0));
	ASSERT_EQ(0, unbind(edu));
	ASSERT_EQ(0, bind_again(edu));
	used = counter("io_tlb_used");

	/* The window has room for 30 more mappings without the forgotten ones' slots. */
	fill(other_buf.mem, 64 * KIB, 1);
	for (n = 0; n < 30; n++) {
		ASSERT_EQ(0, map(E, &maps[n], &other_buf, 0, 64 * KIB, EDU_TO_DEVICE, 0));
		for (k = 0; k < 3; k++)
			ASSERT_NE(maps[n].addr, late[k].addr);
	}
	fill(buf.mem, buf.size, 2);
	memset(look, 0x5a, 64 * KIB);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, access_bus(E, EDU_PEEK, late[i].addr, look, 64 * KIB, true));
	unmaps = counter("unmaps");
	EXPECT_EQ(0, sync_range(E, &late[0], 0, 64 * KIB, EDU_FROM_DEVICE, true));
	EXPECT_EQ(0, unmap(E, &late[0], 0));
	EXPECT_EQ(0, unmap(E, &late[1], EDU_SKIP_CPU_SYNC));
	munmap(m.mem, m.size);
	EXPECT_EQ(0, edu_end(E, m.id, 0));
	EXPECT_TRUE(has(buf.mem, 0, buf.size, 2));
	EXPECT_EQ(unmaps, counter("unmaps"));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, access_bus(E, EDU_PEEK, maps[i].addr, look, 64 * KIB, false));
		ASSERT_TRUE(has(look, 0, 64 * KIB, 1));
	}
	/* If one of these unmaps counted as a mistake, finish() would fail. */
	EXPECT_EQ(0, unmap(E, &late[2], 0));
	EXPECT_EQ(0, give_all(E, maps, n));
	/* Coherent memory was kept for its users until it was freed: 4 slots less. */
	EXPECT_EQ(used - 4, counter("io_tlb_used"));
	/* A second late unmap of the same mapping is a mistake. */
	EXPECT_EQ(0, raw(E, EDU_RAW_UNMAP, late[2].addr, 64 * KIB, 0));
	EXPECT_EQ(++self->s.invalid, counter("fail_invalid"));
	EXPECT_EQ(0, mem_free(E, &other_buf));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* If no other slots are free, others get forgotten ones; a late unmap spares them. */
TEST_F_TIMEOUT(nothing_lost, undone_after_others_have_it, LIMIT)
{
	const char *edu = setting("EDU");
	struct mem buf, other_buf;
	struct map late, maps[512];
	int n, i, at = -1;
	u64 largest;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &late, &buf, 0, 64 * KIB, EDU_FROM_DEVICE, 0));
	ASSERT_EQ(0, unbind(edu));
	ASSERT_EQ(0, bind_again(edu));

	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &other_buf, EDU_BUFFER, 64 * KIB, 0, 0));
	fill(other_buf.mem, 64 * KIB, 1);
	n = take_all(E, &other_buf, maps, 512);
	for (i = 0; i < n; i++)
		if (maps[i].addr == late.addr)
			at = i;
	ASSERT_GE(at, 0);
	largest = counter("largest_free");
	fill(buf.mem, 64 * KIB, 2);
	EXPECT_EQ(0, unmap(E, &late, 0));
	EXPECT_TRUE(has(buf.mem, 0, 64 * KIB, 2));
	/* Unmapping an address that is somebody else's now is counted as a mistake. */
	EXPECT_EQ(++self->s.invalid, counter("fail_invalid"));
	EXPECT_EQ(largest, counter("largest_free"));
	ASSERT_EQ(0, access_bus(E, EDU_PEEK, late.addr, look, 64 * KIB, false));
	EXPECT_TRUE(has(look, 0, 64 * KIB, 1));
	ASSERT_EQ(0, sync_range(E, &maps[at], 0, 64 * KIB, EDU_TO_DEVICE, false));
	EXPECT_EQ(0, give_all(E, maps, n));
	EXPECT_EQ(0, mem_free(E, &other_buf));
	ASSERT_EQ(0, edu_select(E, edu));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * Mappings made for a device without a driver go when the device is gone for
 * good. (Mappings that its drivers forgot went with those drivers.)
 */
TEST_F_TIMEOUT(nothing_lost, device_gone_with_mappings, LIMIT)
{
	u64 unbound, used = counter("io_tlb_used"), live = counter("maps") - counter("unmaps");
	struct mem buf, m;
	char path[128];
	struct map p;

	if (dma_debug())
		SKIP(return, DMA_DEBUG);
	ASSERT_EQ(0, unbind(setting("NEIGHBOUR")));
	unbound = counter("io_tlb_used");
	ASSERT_EQ(0, edu_select(E, setting("NEIGHBOUR")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 64 * KIB, EDU_FROM_DEVICE, 0));
	fill(buf.mem, 64 * KIB, 1);
	munmap(m.mem, 8 * KIB);
	ASSERT_EQ(0, leak(E, m.id));
	ASSERT_EQ(0, leak(E, p.id));
	EXPECT_EQ(unbound + 36, counter("io_tlb_used"));
	EXPECT_EQ(live + 1, counter("maps") - counter("unmaps"));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", setting("NEIGHBOUR"));
	ASSERT_EQ(0, write_text(path, "1"));
	/* A buffer holds the device, too; free this one, which is of no more use. */
	EXPECT_TRUE(has(buf.mem, 0, 64 * KIB, 1));
	EXPECT_EQ(0, mem_free(E, &buf));
	ASSERT_EQ(0, edu_select(E, setting("EDU")));
	EXPECT_EQ(unbound, counter("io_tlb_used"));
	EXPECT_EQ(live, counter("maps") - counter("unmaps"));
	EXPECT_EQ(counter("allocs") - counter("frees"), 1);
	EXPECT_EQ(0, write_text("/sys/bus/pci/rescan", "1"));
	EXPECT_EQ(used, counter("io_tlb_used"));
}

/* Device registers cannot be bounced. */
TEST_F_TIMEOUT(confinement, no_resources, LIMIT)
{
	EXPECT_EQ(-1, ioctl(E->fd, EDU_RESOURCE));
}

/*
 * dma_alloc_coherent() asks dev->dma_mem before any operations. The node of the
 * device has a shared-dma-pool, too, and a driver may ask for it.
 */
TEST_F_TIMEOUT(confinement, no_memory_of_its_own, LIMIT)
{
	struct mem m;

	EXPECT_NE(0, edu_limit(E, EDU_RESERVED_MEMORY, 1));
	EXPECT_EQ(0, edu_info(E).own_memory);
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 4 * KIB, 0, 0));
	EXPECT_TRUE(inside(E, m.addr, 4 * KIB));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, edu_limit(E, EDU_RESERVED_MEMORY, 0));
}

/* A device that was refused: every call of the DMA API fails, by any caller. */
TEST_F_TIMEOUT(fail_closed, refused_device, LIMIT)
{
	struct edu_seg seg = { .size = 4096 };
	struct edu_map_sg sg = {
		.segs = (uintptr_t)&seg, .nents = 1, .dir = EDU_TO_DEVICE,
	};
	struct mem buf, m;
	struct map p;

	ASSERT_EQ(0, edu_select(E, setting("REFUSED")));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4096, 0, 0));
	EXPECT_EQ(0, edu_info(E).bound);
	EXPECT_EQ(0, edu_info(E).max_mapping);
	EXPECT_EQ(-EIO, map(E, &p, &buf, 0, 4096, EDU_TO_DEVICE, 0));
	seg.buffer = buf.id;
	EXPECT_EQ(-1, ioctl(E->fd, EDU_MAP_SG, &sg));
	EXPECT_EQ(-ENOMEM, mem_new(E, &m, EDU_COHERENT, 4096, 0, 0));
	EXPECT_EQ(-ENOMEM, mem_new(E, &m, EDU_COHERENT, 4096, EDU_ATOMIC, 0));
	EXPECT_EQ(-ENOMEM, mem_new(E, &m, EDU_PAGES, 4096, 0, 0));
	EXPECT_EQ(-1, ioctl(E->fd, EDU_RESOURCE));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_MASK, ~0ull));
	EXPECT_EQ(-EIO, edu_limit(E, EDU_COHERENT_MASK, ~0ull));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Fill what is free with @byte, as a device would that writes wherever it can. */
static int soil(struct edu *e, u8 byte)
{
	struct map maps[512];
	struct mem buf;
	int n, i, ret;

	ret = mem_new(e, &buf, EDU_BUFFER, 64 * KIB, 0, 0);
	memset(other, byte, 64 * KIB);
	n = take_all(e, &buf, maps, 512);
	for (i = 0; i < n && !ret; i++)
		ret = access_bus(e, EDU_PEEK, maps[i].addr, other, 64 * KIB, true);
	return give_all(e, maps, n) ?: mem_free(e, &buf) ?: ret;
}

/*
 * FROM_DEVICE: neither the buffer's old bytes nor those of earlier mappings can
 * be read; what the device does not write comes back as zero; a sync does not
 * zero again.
 */
TEST_F_TIMEOUT(no_stale_data, from_device, LIMIT)
{
	static const size_t sizes[] = { 1, 64, 1500, 2048, 2049, 4096, 8192, 70000 };
	struct mem buf;
	struct map p;
	size_t i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 128 * KIB, 0, 0));
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t size = sizes[i], part = (size + 1) / 2;

		ASSERT_EQ(0, soil(E, 0xd1));
		fill(buf.mem, buf.size, 2);
		ASSERT_EQ(0, map(E, &p, &buf, 0, size, EDU_FROM_DEVICE, 0));
		ASSERT_EQ(0, see(E, p.addr, look, size));
		ASSERT_TRUE(is_zero(look, size));

		/* A short write. */
		fill(look, part, 3);
		ASSERT_EQ(0, put(E, p.addr, look, part));
		ASSERT_EQ(0, sync_range(E, &p, 0, size, EDU_FROM_DEVICE, false));
		ASSERT_EQ(0, see(E, p.addr, look, part));
		ASSERT_TRUE(has(look, 0, part, 3));
		ASSERT_TRUE(has(buf.mem, 0, buf.size, 2));
		ASSERT_EQ(0, sync_range(E, &p, 0, size, EDU_FROM_DEVICE, true));
		ASSERT_TRUE(has(buf.mem, 0, part, 3));
		ASSERT_TRUE(is_zero(buf.mem + part, size - part));
		ASSERT_EQ(0, see(E, p.addr, look, part));
		ASSERT_TRUE(has(look, 0, part, 3));
		ASSERT_TRUE(has(buf.mem, size, buf.size - size, 2));

		fill(buf.mem, size, 5);
		fill(look, part, 4);
		ASSERT_EQ(0, put(E, p.addr, look, part));
		ASSERT_EQ(0, unmap(E, &p, 0));
		ASSERT_TRUE(has(buf.mem, 0, part, 4));
		ASSERT_TRUE(is_zero(buf.mem + part, size - part));
		ASSERT_TRUE(has(buf.mem, size, buf.size - size, 2));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* DMA_ATTR_SKIP_CPU_SYNC skips copies; the space is zeroed all the same. */
TEST_F_TIMEOUT(no_stale_data, skip_cpu_sync, LIMIT)
{
	struct mem buf;
	struct map p;
	u32 dir;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	for (dir = EDU_BIDIRECTIONAL; dir <= EDU_FROM_DEVICE; dir++) {
		ASSERT_EQ(0, soil(E, 0xd2));
		fill(buf.mem, buf.size, 11);
		ASSERT_EQ(0, map(E, &p, &buf, 0, 8 * KIB, dir, EDU_SKIP_CPU_SYNC));
		ASSERT_EQ(0, see(E, p.addr, look, 8 * KIB));
		ASSERT_TRUE(is_zero(look, 8 * KIB));
		/* A sync shows the device the bytes that it names, and no more. */
		ASSERT_EQ(0, sync_range(E, &p, 100, 50, dir, false));
		ASSERT_EQ(0, see(E, p.addr, look, 8 * KIB));
		ASSERT_TRUE(dir == EDU_FROM_DEVICE ? is_zero(look + 100, 50) :
			    has(look, 100, 50, 11));
		ASSERT_TRUE(is_zero(look, 100));
		ASSERT_TRUE(is_zero(look + 150, 8 * KIB - 150));
		fill(look, 8 * KIB, 12);
		ASSERT_EQ(0, put(E, p.addr, look, 8 * KIB));
		ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
		ASSERT_TRUE(has(buf.mem, 0, 8 * KIB, 11));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/*
 * DMA_ATTR_WINDOW_NO_FILL: for drivers that copy back no more than was written.
 * The device then reads old bytes of the window, never of the buffer.
 */
TEST_F_TIMEOUT(no_stale_data, no_fill, LIMIT)
{
	struct mem buf;
	struct map p;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	ASSERT_EQ(0, soil(E, 0xd6));
	fill(buf.mem, buf.size, 1);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_FROM_DEVICE, EDU_WINDOW_NO_FILL));
	memset(other, 0xd6, 4 * KIB);
	ASSERT_EQ(0, see(E, p.addr, look, 4 * KIB));
	EXPECT_EQ(0, memcmp(look, other, 4 * KIB));
	fill(look, 100, 2);
	ASSERT_EQ(0, put(E, p.addr, look, 100));
	ASSERT_EQ(0, sync_range(E, &p, 0, 100, EDU_FROM_DEVICE, true));
	ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EXPECT_TRUE(has(buf.mem, 0, 100, 2));
	EXPECT_TRUE(has(buf.mem, 100, 8 * KIB - 100, 1));
	/* NO_FILL means nothing in the other directions. */
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_BIDIRECTIONAL, EDU_WINDOW_NO_FILL));
	ASSERT_EQ(0, see(E, p.addr, look, 4 * KIB));
	EXPECT_EQ(0, memcmp(look, buf.mem, 4 * KIB));
	ASSERT_EQ(0, unmap(E, &p, 0));
	ASSERT_EQ(0, map(E, &p, &buf, 0, 4 * KIB, EDU_TO_DEVICE,
			 EDU_WINDOW_NO_FILL | EDU_SKIP_CPU_SYNC));
	ASSERT_EQ(0, see(E, p.addr, look, 4 * KIB));
	EXPECT_TRUE(is_zero(look, 4 * KIB));
	ASSERT_EQ(0, unmap(E, &p, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Coherent memory that others have used before is zeroed, padding included. */
TEST_F_TIMEOUT(no_stale_data, coherent, LIMIT)
{
	static const size_t sizes[] = { 1, 4096, 5000, 65537, 300000 };
	u32 kind, flags;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t pages = (sizes[i] + 4095) & ~4095ul;

		for (kind = EDU_COHERENT; kind <= EDU_PAGES; kind++) {
			for (flags = 0; flags <= EDU_ATOMIC; flags++) {
				struct mem m;

				ASSERT_EQ(0, soil(E, 0xd3));
				ASSERT_EQ(0, mem_new(E, &m, kind, pages, flags, 0));
				ASSERT_EQ(0, see(E, m.addr, look, pages));
				ASSERT_TRUE(is_zero(look, pages));
				ASSERT_TRUE(is_zero(m.mem, pages));
				ASSERT_EQ(0, mem_free(E, &m));
			}
		}
		if (pages != sizes[i]) {
			struct mem m;

			ASSERT_EQ(0, soil(E, 0xd4));
			ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, sizes[i], 0, 0));
			ASSERT_EQ(0, see(E, m.addr, look, pages));
			ASSERT_TRUE(is_zero(look, pages));
			ASSERT_EQ(0, mem_free(E, &m));
		}
	}
}

/* A scatterlist that does not fit leaves the buffers as they were. */
TEST_F_TIMEOUT(no_stale_data, scatterlist_that_fails, LIMIT)
{
	struct edu_seg segs[4] = {};
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = 4, .attrs = EDU_NO_WARN,
	};
	struct map maps[512];
	struct mem buf, sgbuf;
	u64 out, maps_made;
	int n, i, dir;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &sgbuf, EDU_BUFFER, 256 * KIB, 0, 0));
	ASSERT_EQ(0, soil(E, 0xd5));
	for (i = 0; i < 4; i++) {
		segs[i].buffer = sgbuf.id;
		segs[i].offset = i * 64 * KIB;
		segs[i].size = 64 * KIB;
	}
	n = take_all(E, &buf, maps, 512);
	/* Room for two of four. */
	ASSERT_GE(n, 4);
	ASSERT_EQ(0, give_all(E, maps + n - 2, 2));
	maps_made = counter("maps") - counter("unmaps");
	for (dir = EDU_BIDIRECTIONAL; dir <= EDU_FROM_DEVICE; dir++) {
		fill(sgbuf.mem, sgbuf.size, 62);
		out = counter("bytes_out");
		sg.dir = dir;
		EXPECT_EQ(-1, ioctl(E->fd, EDU_MAP_SG, &sg));
		EXPECT_EQ(ENOMEM, errno);
		EXPECT_TRUE(has(sgbuf.mem, 0, sgbuf.size, 62));
		EXPECT_EQ(out, counter("bytes_out"));
		EXPECT_EQ(maps_made, counter("maps") - counter("unmaps"));
	}
	/* The two places are free again, and no more. */
	EXPECT_EQ(2, take_all(E, &buf, maps + n - 2, 3));
	EXPECT_EQ(0, give_all(E, maps, n));
	EXPECT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	EXPECT_EQ(0, edu_end(E, sg.id, 0));
	EXPECT_EQ(0, mem_free(E, &sgbuf));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* Calls with addresses that are not mapped change nothing, and are counted. */
TEST_F_TIMEOUT(nothing_trusted, bad_calls, LIMIT)
{
	u64 used, out, in;
	struct map p, gone;
	struct mem buf, m;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
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
	raw(E, EDU_RAW_UNMAP, m.addr, 8 * KIB, 0);
	/* Syncs of addresses that are not mapped. */
	raw(E, EDU_RAW_SYNC_FOR_CPU, gone.addr, 8 * KIB, 0);
	/* Of another size; a mapping. */
	raw(E, EDU_RAW_FREE, m.addr, 4 * KIB, m.id);
	raw(E, EDU_RAW_FREE, m.addr, 16 * KIB, m.id);
	raw(E, EDU_RAW_FREE, m.addr + 4096, 4 * KIB, m.id);
	raw(E, EDU_RAW_FREE, p.addr, 8 * KIB, m.id);

	EXPECT_EQ(self->s.invalid + 14, counter("fail_invalid"));
	self->s.invalid += 14;
	EXPECT_EQ(used, counter("io_tlb_used"));
	EXPECT_EQ(out, counter("bytes_out"));
	EXPECT_EQ(in, counter("bytes_in"));
	EXPECT_TRUE(has(buf.mem, 0, 8 * KIB, 90));
	EXPECT_EQ(0, see(E, p.addr, look, 8 * KIB));
	EXPECT_TRUE(has(look, 0, 8 * KIB, 91));
	EXPECT_TRUE(is_zero(m.mem, 8 * KIB));
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

/*
 * A full window fails the next mapping and leaves the others alone; one unmap
 * makes room for as much; and in the end all slots are free again.
 */
TEST_F_TIMEOUT(nothing_lost, full_of_mappings, LIMIT)
{
	enum { MAX = 2048, SIZE = 1000, SPACE = 2048 };
	static struct map maps[MAX];
	u64 full = counter("fail_full"), largest = counter("largest_free");
	struct mem buf, m;
	int n, i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, MAX * SPACE, 0, 0));
	for (n = 0; n < MAX; n++) {
		fill(buf.mem + n * SPACE, SPACE, n);
		if (map(E, &maps[n], &buf, n * SPACE, SIZE, EDU_BIDIRECTIONAL, EDU_NO_WARN))
			break;
		ASSERT_TRUE(inside(E, maps[n].addr, SIZE));
	}
	/* A slot per mapping: only the share kept for coherent memory is left. */
	ASSERT_LT(n, MAX);
	EXPECT_GE(counter("io_tlb_used"), counter("io_tlb_nslabs") * 15 / 16);
	EXPECT_LE(counter("io_tlb_used"), counter("io_tlb_used_hiwater"));
	EXPECT_LE(counter("largest_free"), E->size / 16);
	EXPECT_EQ(full + 1, counter("fail_full"));
	/* Requests do not take what rings need. */
	EXPECT_EQ(0, mem_new(E, &m, EDU_COHERENT, 16 * KIB, 0, EDU_NO_WARN));
	EXPECT_EQ(0, mem_free(E, &m));
	/* Nobody's bytes are another's; each device write finds its buffer. */
	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, access_bus(E, EDU_PEEK, maps[i].addr, look, SIZE, false));
		ASSERT_TRUE(has(look, 0, SIZE, i));
		fill(look, SIZE, i + 1);
		ASSERT_EQ(0, access_bus(E, EDU_PEEK, maps[i].addr, look, SIZE, true));
	}
	/* A slot that is freed, wherever in the window, is room for one mapping. */
	for (i = 0; i < n; i += n / 5) {
		u8 *mem = buf.mem + i * SPACE;

		ASSERT_EQ(0, see(E, maps[i].addr, look, SIZE));
		ASSERT_TRUE(has(look, 0, SIZE, i + 1));
		EXPECT_EQ(0, unmap(E, &maps[i], 0));
		EXPECT_TRUE(has(mem, 0, SIZE, i + 1));
		EXPECT_EQ(0, map(E, &maps[i], &buf, i * SPACE, SIZE, EDU_BIDIRECTIONAL, 0));
		EXPECT_EQ(-EIO, map(E, &maps[n], &buf, n * SPACE, 1, EDU_BIDIRECTIONAL,
				    EDU_NO_WARN));
	}
	for (i = 0; i < n; i++) {
		EXPECT_EQ(0, unmap(E, &maps[i], 0));
		ASSERT_TRUE(has(buf.mem + i * SPACE, 0, SIZE, i + 1));
		ASSERT_TRUE(has(buf.mem + i * SPACE, SIZE, SPACE - SIZE, i));
	}
	EXPECT_EQ(largest, counter("largest_free"));
	EXPECT_EQ(0, mem_free(E, &buf));
}

TEST_F_TIMEOUT(nothing_lost, full_of_coherent, LIMIT)
{
	enum { MAX = 4096 };
	static struct mem mems[MAX];
	u64 largest = counter("largest_free"), full = counter("fail_full");
	struct mem buf;
	struct map p;
	int n, i;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 64 * KIB, 0, 0));
	for (n = 0; n < MAX; n++) {
		if (mem_new(E, &mems[n], EDU_COHERENT, 4 * KIB, n % 2 ? EDU_ATOMIC : 0,
			    EDU_NO_WARN))
			break;
		ASSERT_TRUE(inside(E, mems[n].addr, 4 * KIB));
		memset(mems[n].mem, n, 4 * KIB);
	}
	ASSERT_GT(n, 0);
	ASSERT_LT(n, MAX);
	EXPECT_EQ(full + 1, counter("fail_full"));
	/* Rings do not take what requests need. */
	EXPECT_EQ(0, map(E, &p, &buf, 0, 64 * KIB, EDU_TO_DEVICE, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	for (i = 0; i < n; i++) {
		memset(look, i, 4 * KIB);
		ASSERT_EQ(0, memcmp(look, mems[i].mem, 4 * KIB));
	}
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, mem_free(E, &mems[i]));
	EXPECT_EQ(largest, counter("largest_free"));
	/* More memory than the window has. */
	EXPECT_EQ(-ENOMEM, mem_new(E, &mems[0], EDU_COHERENT, 2 * E->size, 0, EDU_NO_WARN));
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, E->size + 1, buf.id));
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, ~0ull, buf.id));
	EXPECT_EQ(full + 4, counter("fail_full"));
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* One maximal request, in the smallest segments that block drivers make. */
TEST_F_TIMEOUT(nothing_lost, largest_request, LIMIT)
{
	u64 max = edu_info(E).max_mapping, n = max / 512, i;
	struct edu_seg *segs = calloc(n, sizeof(*segs));
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .nents = n, .dir = EDU_TO_DEVICE,
	};
	struct mem buf;

	EXPECT_GT(max, E->size / 16);
	EXPECT_LE(max, E->size / 8);
	ASSERT_NE(NULL, segs);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 4 * KIB, 0, 0));
	for (i = 0; i < n; i++) {
		segs[i].buffer = buf.id;
		segs[i].size = 512;
	}
	EXPECT_EQ(0, ioctl(E->fd, EDU_MAP_SG, &sg));
	EXPECT_EQ(0, edu_end(E, sg.id, 0));
	EXPECT_EQ(0, mem_free(E, &buf));
}

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
	struct mem buf;
	struct map p;
	size_t i, j;

	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	fill(buf.mem, 16 * KIB, 80);
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

		ASSERT_EQ(0, map(E, &q, &buf, 5, 4096, EDU_TO_DEVICE, 0));
		EXPECT_EQ(0, q.addr % 4096);
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

#define TRACING "/sys/kernel/tracing/"

static int tracing(const char *file, const char *text)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* The next line of the trace, from the name of its event on. */
static const char *next_event(FILE *trace, char *line, int size)
{
	while (fgets(line, size, trace)) {
		char *event = strstr(line, "dma_window_");

		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#' && event)
			return event;
	}
	return "";
}

/* Each call leaves its event, with the size asked for and the bytes copied. */
TEST_F_TIMEOUT(observed, tracepoints, LIMIT)
{
	const char *dev = setting("EDU");
	char line[512], want[16][256];
	struct mem buf, m;
	struct map p;
	FILE *trace;
	int i, n = 0;

	ASSERT_EQ(0, tracing("set_event", "dma_window:*"));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	ASSERT_EQ(0, tracing("trace", ""));
#define EVENT(format, ...) \
	snprintf(want[n++], sizeof(*want), "dma_window_" format, ##__VA_ARGS__)
	ASSERT_EQ(0, map(E, &p, &buf, 0, 5000, EDU_BIDIRECTIONAL, 0));
	EVENT("map: %s addr=%#llx size=5000 dir=bidirectional attrs=0x0 copied=5000", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, sync_range(E, &p, 100, 200, EDU_FROM_DEVICE, true));
	EVENT("sync: %s addr=%#llx size=200 dir=from-device for=cpu copied=200", dev,
	      (unsigned long long)p.addr + 100);
	ASSERT_EQ(0, sync_range(E, &p, 8, 7, EDU_TO_DEVICE, false));
	EVENT("sync: %s addr=%#llx size=7 dir=to-device for=device copied=7", dev,
	      (unsigned long long)p.addr + 8);
	ASSERT_EQ(0, unmap(E, &p, EDU_SKIP_CPU_SYNC));
	EVENT("unmap: %s addr=%#llx size=5000 dir=bidirectional attrs=0x20 copied=0", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 300, EDU_FROM_DEVICE, 0));
	EVENT("map: %s addr=%#llx size=300 dir=from-device attrs=0x0 copied=0", dev,
	      (unsigned long long)p.addr);
	ASSERT_EQ(0, unmap(E, &p, 0));
	EVENT("unmap: %s addr=%#llx size=300 dir=from-device attrs=0x0 copied=300", dev,
	      (unsigned long long)p.addr);
	raw(E, EDU_RAW_UNMAP, p.addr, 5000, 0);
	EVENT("fail: %s reason=invalid size=0", dev);
	self->s.invalid++;
	ASSERT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, E->size + 1, buf.id));
	EVENT("fail: %s reason=full size=%llu", dev, (unsigned long long)E->size + 1);
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	EVENT("alloc: %s addr=%#llx size=8192", dev, (unsigned long long)m.addr);
	EXPECT_EQ(0, mem_free(E, &m));
	EVENT("free: %s addr=%#llx size=8192", dev, (unsigned long long)m.addr);
#undef EVENT
	EXPECT_EQ(0, tracing("set_event", ""));
	trace = fopen(TRACING "trace", "re");
	ASSERT_NE(NULL, trace);
	for (i = 0; i < n; i++)
		EXPECT_STREQ(want[i], next_event(trace, line, sizeof(line)));
	EXPECT_STREQ("", next_event(trace, line, sizeof(line)));
	fclose(trace);
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* The counters, for one call of each kind. */
TEST_F_TIMEOUT(observed, counters, LIMIT)
{
	static const char * const names[] = {
		"maps", "unmaps", "allocs", "frees", "bytes_in", "bytes_out",
		"fail_full", "fail_mask", "fail_nomem", "fail_invalid",
	};
	static const u64 want[] = { 2, 2, 1, 1, 5000 + 7, 5000 + 300, 1, 0, 0, 0 };
	u64 used = counter("io_tlb_used"), before[10], i;
	struct mem buf, m;
	struct map p, q;

	EXPECT_EQ(E->size / SLOT, counter("io_tlb_nslabs"));
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 16 * KIB, 0, 0));
	for (i = 0; i < 10; i++)
		before[i] = counter(names[i]);
	ASSERT_EQ(0, map(E, &p, &buf, 0, 5000, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, map(E, &q, &buf, 8 * KIB, 5000, EDU_FROM_DEVICE, 0));
	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 8 * KIB, 0, 0));
	/* 5000 bytes need three slots, and may get four. */
	EXPECT_GE(counter("io_tlb_used"), used + 3 + 3 + 4);
	EXPECT_LE(counter("io_tlb_used"), used + 4 + 4 + 4);
	EXPECT_EQ(0, sync_range(E, &p, 8, 7, EDU_TO_DEVICE, false));
	EXPECT_EQ(0, sync_range(E, &q, 8, 300, EDU_FROM_DEVICE, true));
	EXPECT_EQ(-EIO, raw(E, EDU_RAW_MAP, 0, E->size + 1, buf.id));
	EXPECT_EQ(0, mem_free(E, &m));
	EXPECT_EQ(0, unmap(E, &q, 0));
	EXPECT_EQ(0, unmap(E, &p, 0));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(before[i] + want[i], counter(names[i])) {
			TH_LOG("%s", names[i]);
		}
	EXPECT_EQ(0, mem_free(E, &buf));
}

/* The engine itself, whatever the environment says: a read and a short write. */
TEST_F_TIMEOUT(no_stale_data, device_engine, LIMIT)
{
	struct mem from, to;
	struct map src, dst;

	ASSERT_EQ(0, mem_new(E, &from, EDU_BUFFER, 4096, 0, 0));
	ASSERT_EQ(0, mem_new(E, &to, EDU_BUFFER, 4096, 0, 0));
	fill(from.mem, 4096, 100);
	fill(to.mem, 4096, 101);
	ASSERT_EQ(0, map(E, &src, &from, 0, 1000, EDU_TO_DEVICE, 0));
	ASSERT_EQ(0, map(E, &dst, &to, 0, 1000, EDU_FROM_DEVICE, 0));
	memset(look, 0xaa, 4096);
	ASSERT_EQ(0, access_bus(E, EDU_DMA, dst.addr, look, 1000, false));
	EXPECT_TRUE(is_zero(look, 1000));
	ASSERT_EQ(0, access_bus(E, EDU_DMA, src.addr, look, 1000, false));
	EXPECT_TRUE(has(look, 0, 1000, 100));
	ASSERT_EQ(0, access_bus(E, EDU_DMA, dst.addr, look, 999, true));
	ASSERT_EQ(0, unmap(E, &dst, 0));
	ASSERT_EQ(0, unmap(E, &src, 0));
	EXPECT_TRUE(has(to.mem, 0, 999, 100));
	/* The last byte was not written, and is not the old one. */
	EXPECT_EQ(0, to.mem[999]);
	EXPECT_TRUE(has(to.mem, 1000, 3096, 101));
	EXPECT_EQ(0, mem_free(E, &from));
	EXPECT_EQ(0, mem_free(E, &to));
}

TEST_HARNESS_MAIN
