// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: whatever a driver maps or allocates is in the window,
 * with the right bytes; a device that was refused gets nothing.
 */

#include "api_fixture.h"

/* I1 */
FIXTURE(confinement) { struct state s; };
FIXTURE_SETUP(confinement) { start(&self->s); }
FIXTURE_TEARDOWN(confinement) { finish(_metadata, &self->s); }

/* I2 */
FIXTURE(fail_closed) { struct state s; };
FIXTURE_SETUP(fail_closed) { start(&self->s); }
FIXTURE_TEARDOWN(fail_closed) { finish(_metadata, &self->s); }

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
	/* 4 KiB more than the largest free run do not fit. */
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
		pages = whole_pages(size);
		for (align = page_size(); align < pages; align *= 2)
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
	u64 page = page_size();
	struct mem m;
	u8 *area;

	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 4 * page, 0, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 5 * page, PROT_READ, MAP_SHARED, E->fd,
				   EDU_MMAP(m.id)));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, E->fd,
				   EDU_MMAP(m.id) + 3 * page));
	area = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, E->fd,
		    EDU_MMAP(m.id) + 3 * page);
	ASSERT_NE(MAP_FAILED, area);
	area[page - 1] = 0x77;
	EXPECT_EQ(0, see(E, m.addr + 4 * page - 1, look, 1));
	EXPECT_EQ(0x77, look[0]);
	EXPECT_EQ(0, munmap(area, page));
	EXPECT_EQ(0, mem_free(E, &m));
}

TEST_F_TIMEOUT(confinement, sgtable_of_coherent, LIMIT)
{
	u64 invalid = counter("fail_invalid"), page = page_size();
	struct mem m;

	ASSERT_EQ(0, mem_new(E, &m, EDU_COHERENT, 16 * page, 0, 0));
	EXPECT_EQ(0, raw(E, EDU_RAW_SGTABLE, m.addr, 16 * page, m.id));
	EXPECT_EQ(0, raw(E, EDU_RAW_SGTABLE, m.addr, 15 * page, m.id));
	/* Fail for more bytes than were allocated, and for another address. */
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, m.addr, 17 * page, m.id));
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, m.addr + page, page, m.id));
	EXPECT_EQ(-ENXIO, raw(E, EDU_RAW_SGTABLE, 0x1000, page, m.id));
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

/* A mask that excludes the window is refused, when set and when used. */
TEST_F_TIMEOUT(confinement, masks, LIMIT)
{
	struct edu_info info = edu_info(E);
	u64 half = E->base + E->size / 2 - 1, masked = counter("fail_mask");
	u64 page = page_size();
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
	edu_limit(E, EDU_FORCE_COHERENT_MASK, half + 4 * page);
	for (n = 0; n < 8; n++) {
		if (mem_new(E, &mems[n], EDU_COHERENT, page, 0, EDU_NO_WARN))
			break;
		EXPECT_LE(mems[n].addr + page - 1, half + 4 * page);
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

TEST_HARNESS_MAIN
