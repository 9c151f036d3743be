// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA API, call by call: what is taken comes back, also from drivers that go,
 * and a full window refuses without loss.
 */

#include "api_fixture.h"

/* I5 */
FIXTURE(nothing_lost) { struct state s; };
FIXTURE_SETUP(nothing_lost) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_lost) { finish(_metadata, &self->s); }

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
	/* Coherent memory was kept for its users until it was freed. */
	EXPECT_EQ(used - whole_pages(8 * KIB) / SLOT, counter("io_tlb_used"));
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
	EXPECT_EQ(unbound + (64 * KIB + whole_pages(8 * KIB)) / SLOT, counter("io_tlb_used"));
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
	/* A slot per mapping, whatever a page is: the share of coherent memory is left. */
	ASSERT_LT(n, MAX);
	EXPECT_EQ(self->s.used + n, counter("io_tlb_used"));
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

/* A list that can never fit is refused for good, one that can is not. */
TEST_F_TIMEOUT(nothing_lost, list_that_never_fits, LIMIT)
{
	u64 slots = counter("io_tlb_nslabs"), share = slots - slots / 16, n, i;
	struct edu_seg *segs = calloc(slots, sizeof(*segs));
	struct edu_map_sg sg = {
		.segs = (uintptr_t)segs, .dir = EDU_TO_DEVICE, .attrs = EDU_NO_WARN,
	};
	struct mem buf;
	int bad;

	ASSERT_NE(NULL, segs);
	ASSERT_EQ(0, mem_new(E, &buf, EDU_BUFFER, 8 * KIB, 0, 0));
	/* 6 KiB from offset 512 on: three slots each. */
	for (n = 0; 3 * n <= share; n++) {
		segs[n].buffer = buf.id;
		segs[n].offset = 512;
		segs[n].size = 6 * KIB;
	}
	sg.nents = n;
	EXPECT_EQ(-1, ioctl(E->fd, EDU_MAP_SG, &sg));
	EXPECT_EQ(EINVAL, errno);
	/* The largest that could: with all of it in other hands, it may try again. */
	sg.nents = n - 1;
	for (i = 0; i < 2; i++) {
		struct map p;

		if (i)
			ASSERT_EQ(0, map(E, &p, &buf, 0, 8 * KIB, EDU_TO_DEVICE, 0));
		bad = ioctl(E->fd, EDU_MAP_SG, &sg);
		EXPECT_EQ(bad ? ENOMEM : 0, bad ? errno : edu_end(E, sg.id, 0));
		if (i)
			ASSERT_EQ(0, unmap(E, &p, 0));
	}
	EXPECT_EQ(0, mem_free(E, &buf));
	free(segs);
}

TEST_HARNESS_MAIN
