// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind an IOMMU: room, addresses and page tables come back, also from drivers
 * that go and from steps that fail.
 */

#include "iommu_fixture.h"

/* I5 */
FIXTURE(nothing_lost) { struct state s; };
FIXTURE_SETUP(nothing_lost) { start(&self->s); }
FIXTURE_TEARDOWN(nothing_lost) { finish(_metadata, &self->s); }

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
