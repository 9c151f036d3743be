// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: a device finds nothing in its window but what its
 * drivers gave it.
 */

#include "api_fixture.h"

/* I3 */
FIXTURE(no_stale_data) { struct state s; };
FIXTURE_SETUP(no_stale_data) { start(&self->s); }
FIXTURE_TEARDOWN(no_stale_data) { finish(_metadata, &self->s); }

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
		size_t pages = whole_pages(sizes[i]);

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
