// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what a driver gets from the DMA API for a device with a
 * window. The device is QEMU's "edu" (1234:11e8), which has a real DMA engine;
 * a second one has a region that is refused, a third one shares the window.
 * What is in the window is read through the linear map, as the host would.
 *
 * The tests of bad calls use the device's operations without the wrappers, so
 * that CONFIG_DMA_API_DEBUG does not see, and report, them. device.sh knows how
 * many bad calls there are and looks at the window's counters.
 *
 * /dev/dma-window-test maps a coherent buffer, for coherent_mmap.c.
 */

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iopoll.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/of_address.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

/* Registers of edu, and its commands. */
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_BUFFER	0x40000
#define EDU_START	BIT(0)
#define EDU_TO_RAM	BIT(1)

static struct pci_dev *edu;
static void __iomem *edu_regs;
static struct device *dev;
/* Another device in the same window. */
static struct device *neighbour;
static struct resource window;

/* The window's memory at a bus address, as the host sees it. */
static u8 *view(dma_addr_t addr)
{
	return phys_to_virt(dma_to_phys(dev, addr));
}

static bool inside(dma_addr_t addr, size_t size)
{
	phys_addr_t phys = dma_to_phys(dev, addr);

	return phys >= window.start && phys + size - 1 <= window.end;
}

static u8 pattern(unsigned int seed, size_t i)
{
	return (i * 31) ^ (i >> 8) ^ seed;
}

static void fill(u8 *buf, size_t size, unsigned int seed)
{
	size_t i;

	for (i = 0; i < size; i++)
		buf[i] = pattern(seed, i);
}

static bool has(const u8 *buf, size_t from, size_t size, unsigned int seed)
{
	size_t i;

	for (i = from; i < from + size; i++)
		if (buf[i] != pattern(seed, i))
			return false;
	return true;
}

static bool is_zero(const u8 *buf, size_t size)
{
	return !memchr_inv(buf, 0, size);
}

static u8 *buffer(struct kunit *test, size_t size, unsigned int seed)
{
	u8 *buf = kunit_kmalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	fill(buf, size, seed);
	return buf;
}

/* I1, I3: the right bytes, inside, and no more than was handed over. */
static void test_to_device(struct kunit *test)
{
	static const size_t sizes[] = { 1, 7, 64, 2047, 2048, 2049, 4096, 70000 };
	u8 *buf = buffer(test, 70016, 1);
	size_t i, offset;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (offset = 0; offset <= 13; offset += 13) {
			size_t size = sizes[i];
			dma_addr_t addr;

			fill(buf, size + offset, 1 + i);
			addr = dma_map_single(dev, buf + offset, size, DMA_TO_DEVICE);
			KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
			KUNIT_EXPECT_TRUE(test, inside(addr, size));
			KUNIT_EXPECT_EQ(test, memcmp(view(addr), buf + offset, size), 0);
			/* What the device writes there is not for the driver. */
			memset(view(addr), 0xee, size);
			dma_unmap_single(dev, addr, size, DMA_TO_DEVICE);
			KUNIT_EXPECT_TRUE(test, has(buf, 0, size + offset, 1 + i));
		}
	}
}

/* I3: nothing of the old buffer is readable, what was not written is zero. */
static void test_from_device(struct kunit *test)
{
	u8 *buf = buffer(test, SZ_8K, 2);
	dma_addr_t addr;

	addr = dma_map_single(dev, buf, SZ_8K, DMA_FROM_DEVICE);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
	KUNIT_EXPECT_TRUE(test, inside(addr, SZ_8K));
	KUNIT_EXPECT_TRUE(test, is_zero(view(addr), SZ_8K));

	fill(view(addr), 1000, 3);
	/* Zeroed once: not again by a sync, in either direction. */
	dma_sync_single_for_device(dev, addr, SZ_8K, DMA_FROM_DEVICE);
	KUNIT_EXPECT_TRUE(test, has(view(addr), 0, 1000, 3));
	KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_8K, 2));
	dma_sync_single_for_cpu(dev, addr, SZ_8K, DMA_FROM_DEVICE);
	KUNIT_EXPECT_TRUE(test, has(view(addr), 0, 1000, 3));
	KUNIT_EXPECT_TRUE(test, has(buf, 0, 1000, 3));
	KUNIT_EXPECT_TRUE(test, is_zero(buf + 1000, SZ_8K - 1000));

	fill(view(addr), 2000, 4);
	dma_unmap_single(dev, addr, SZ_8K, DMA_FROM_DEVICE);
	KUNIT_EXPECT_TRUE(test, has(buf, 0, 2000, 4));
	KUNIT_EXPECT_TRUE(test, is_zero(buf + 2000, SZ_8K - 2000));
}

static void test_bidirectional(struct kunit *test)
{
	u8 *buf = buffer(test, 5000, 5);
	dma_addr_t addr;

	addr = dma_map_single(dev, buf, 5000, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
	KUNIT_EXPECT_TRUE(test, has(view(addr), 0, 5000, 5));
	fill(view(addr), 5000, 6);
	dma_unmap_single(dev, addr, 5000, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_TRUE(test, has(buf, 0, 5000, 6));
}

/* I7: a sync of a part, at any offset, moves that part and nothing else. */
static void test_partial_sync(struct kunit *test)
{
	static const struct { size_t at, size; } parts[] = {
		{ 0, 1 }, { 1, 1 }, { 4999, 1 }, { 2047, 2 }, { 2048, 2048 },
		{ 100, 3000 }, { 4000, 1000 }, { 0, 5000 }, { 17, 0 },
	};
	u8 *buf = buffer(test, 5000, 7);
	dma_addr_t addr;
	int i;

	addr = dma_map_single(dev, buf, 5000, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t at = parts[i].at, size = parts[i].size;

		fill(view(addr), 5000, 8);
		fill(buf, 5000, 9);
		dma_sync_single_range_for_cpu(dev, addr, at, size, DMA_FROM_DEVICE);
		KUNIT_EXPECT_TRUE(test, has(buf, at, size, 8));
		KUNIT_EXPECT_TRUE(test, has(buf, 0, at, 9));
		KUNIT_EXPECT_TRUE(test, has(buf, at + size, 5000 - at - size, 9));
		KUNIT_EXPECT_TRUE(test, has(view(addr), 0, 5000, 8));

		fill(buf, 5000, 10);
		dma_sync_single_range_for_device(dev, addr, at, size, DMA_TO_DEVICE);
		KUNIT_EXPECT_TRUE(test, has(view(addr), at, size, 10));
		KUNIT_EXPECT_TRUE(test, has(view(addr), 0, at, 8));
		KUNIT_EXPECT_TRUE(test, has(view(addr), at + size, 5000 - at - size, 8));
		KUNIT_EXPECT_TRUE(test, has(buf, 0, 5000, 10));
	}
	dma_unmap_single_attrs(dev, addr, 5000, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
}

/* I3: DMA_ATTR_SKIP_CPU_SYNC skips copies; the space is zeroed all the same. */
static void test_skip_cpu_sync(struct kunit *test)
{
	static const enum dma_data_direction dirs[] = {
		DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL,
	};
	u8 *buf = buffer(test, SZ_4K, 11);
	dma_addr_t addr;
	int i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		/* Dirt in the first free place, where the next one goes. */
		addr = dma_map_single(dev, buf, SZ_4K, DMA_TO_DEVICE);
		KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
		dma_unmap_single(dev, addr, SZ_4K, DMA_TO_DEVICE);

		addr = dma_map_single_attrs(dev, buf, SZ_4K, dirs[i], DMA_ATTR_SKIP_CPU_SYNC);
		KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
		KUNIT_EXPECT_TRUE(test, is_zero(view(addr), SZ_4K));
		fill(view(addr), SZ_4K, 12);
		dma_unmap_single_attrs(dev, addr, SZ_4K, dirs[i], DMA_ATTR_SKIP_CPU_SYNC);
		KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_4K, 11));
	}
}

/* I7: scatterlists of mixed sizes, highest offsets, and their syncs. */
static void test_sg(struct kunit *test)
{
	static const unsigned int sizes[] = { 1, 4096, 513, 30000, 2048, 100, 8191 };
	struct scatterlist sgl[ARRAY_SIZE(sizes)], *sg;
	u8 *bufs[ARRAY_SIZE(sizes)];
	int i, nents = ARRAY_SIZE(sizes);

	sg_init_table(sgl, nents);
	for (i = 0; i < nents; i++) {
		bufs[i] = buffer(test, sizes[i] + 3, 20 + i);
		fill(bufs[i] + 3, sizes[i], 20 + i);
		sg_set_buf(&sgl[i], bufs[i] + 3, sizes[i]);
	}
	KUNIT_ASSERT_EQ(test, dma_map_sg(dev, sgl, nents, DMA_BIDIRECTIONAL), nents);
	for_each_sg(sgl, sg, nents, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), sizes[i]);
		KUNIT_EXPECT_TRUE(test, inside(sg_dma_address(sg), sizes[i]));
		KUNIT_EXPECT_TRUE(test, has(view(sg_dma_address(sg)), 0, sizes[i], 20 + i));
		fill(view(sg_dma_address(sg)), sizes[i], 30 + i);
	}
	dma_sync_sg_for_cpu(dev, sgl, nents, DMA_BIDIRECTIONAL);
	for (i = 0; i < nents; i++) {
		KUNIT_EXPECT_TRUE(test, has(bufs[i] + 3, 0, sizes[i], 30 + i));
		fill(bufs[i] + 3, sizes[i], 40 + i);
	}
	dma_sync_sg_for_device(dev, sgl, nents, DMA_BIDIRECTIONAL);
	for_each_sg(sgl, sg, nents, i) {
		KUNIT_EXPECT_TRUE(test, has(view(sg_dma_address(sg)), 0, sizes[i], 40 + i));
		fill(view(sg_dma_address(sg)), sizes[i], 50 + i);
	}
	dma_unmap_sg(dev, sgl, nents, DMA_BIDIRECTIONAL);
	for (i = 0; i < nents; i++)
		KUNIT_EXPECT_TRUE(test, has(bufs[i] + 3, 0, sizes[i], 50 + i));
}

/* Everything that is free, in mappings of 64 KiB; returns how many. */
static int take_all(struct kunit *test, u8 *buf, dma_addr_t *addrs, int max)
{
	int n;

	for (n = 0; n < max; n++) {
		addrs[n] = dma_map_single_attrs(dev, buf, SZ_64K, DMA_TO_DEVICE,
						DMA_ATTR_NO_WARN);
		if (dma_mapping_error(dev, addrs[n]))
			break;
		KUNIT_EXPECT_TRUE(test, inside(addrs[n], SZ_64K));
	}
	return n;
}

static void give_all(dma_addr_t *addrs, int n)
{
	while (n--)
		dma_unmap_single(dev, addrs[n], SZ_64K, DMA_TO_DEVICE);
}

/* I5: a full window fails the mapping, and one unmap makes room again. */
static void test_full(struct kunit *test)
{
	int max = resource_size(&window) / SZ_64K + 1, n;
	u8 *buf = buffer(test, SZ_64K, 60);
	dma_addr_t *addrs;

	addrs = kunit_kcalloc(test, max, sizeof(*addrs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	n = take_all(test, buf, addrs, max);
	KUNIT_EXPECT_GE(test, n, max / 2 - 1);
	KUNIT_ASSERT_LT(test, n, max);
	give_all(addrs + n - 1, 1);
	KUNIT_EXPECT_EQ(test, take_all(test, buf, addrs + n - 1, 2), 1);
	give_all(addrs, n);
	KUNIT_EXPECT_EQ(test, take_all(test, buf, addrs, max), n);
	give_all(addrs, n);
	/* Larger than the window: refused before the buffer is looked at. */
	KUNIT_EXPECT_EQ(test, dev->dma_ops->map_page(dev, virt_to_page(buf), 0,
						     resource_size(&window) + 1,
						     DMA_TO_DEVICE, DMA_ATTR_NO_WARN),
			DMA_MAPPING_ERROR);
}

/* I3, I5: a scatterlist that does not fit leaves the buffers as they were. */
static void test_sg_unwind(struct kunit *test)
{
	int max = resource_size(&window) / SZ_64K + 1, n, i;
	dma_addr_t *addrs, again;
	u8 *buf = buffer(test, SZ_64K, 61);
	struct scatterlist sgl[4];
	u8 *bufs[4];

	addrs = kunit_kcalloc(test, max, sizeof(*addrs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	n = take_all(test, buf, addrs, max);
	/* Room for two of four. */
	give_all(addrs + n - 2, 2);
	sg_init_table(sgl, 4);
	for (i = 0; i < 4; i++) {
		bufs[i] = buffer(test, SZ_64K, 62 + i);
		sg_set_buf(&sgl[i], bufs[i], SZ_64K);
	}
	KUNIT_EXPECT_EQ(test, dma_map_sg_attrs(dev, sgl, 4, DMA_FROM_DEVICE,
					       DMA_ATTR_NO_WARN), 0);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_TRUE(test, has(bufs[i], 0, SZ_64K, 62 + i));
	/* And the two places are free again. */
	KUNIT_EXPECT_EQ(test, take_all(test, buf, addrs + n - 2, 3), 2);
	give_all(addrs, n);
	again = dma_map_single(dev, buf, SZ_64K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_mapping_error(dev, again), 0);
	dma_unmap_single(dev, again, SZ_64K, DMA_TO_DEVICE);
}

/* Mainline's pool stops at 256 KiB. */
static void test_large(struct kunit *test)
{
	size_t max = dma_max_mapping_size(dev), size;
	dma_addr_t addr;
	u8 *buf;

	KUNIT_EXPECT_GT(test, max, 0);
	KUNIT_EXPECT_LE(test, max, resource_size(&window) / 8);
	buf = (u8 *)__get_free_pages(GFP_KERNEL, get_order(resource_size(&window) / 2));
	KUNIT_ASSERT_NOT_NULL(test, buf);
	for (size = max; size <= resource_size(&window) / 2;
	     size = size == max ? SZ_512K : size * 2) {
		fill(buf, size, 70);
		addr = dma_map_single(dev, buf, size, DMA_BIDIRECTIONAL);
		KUNIT_EXPECT_EQ(test, dma_mapping_error(dev, addr), 0);
		if (dma_mapping_error(dev, addr))
			break;
		KUNIT_EXPECT_TRUE(test, inside(addr, size));
		KUNIT_EXPECT_TRUE(test, has(view(addr), 0, size, 70));
		fill(view(addr), size, 71);
		dma_unmap_single(dev, addr, size, DMA_BIDIRECTIONAL);
		KUNIT_EXPECT_TRUE(test, has(buf, 0, size, 71));
	}
	free_pages((unsigned long)buf, get_order(resource_size(&window) / 2));
}

/* One maximal request, in the smallest segments that block drivers make. */
static void test_max_request(struct kunit *test)
{
	int nents = dma_max_mapping_size(dev) / 512, i;
	struct sg_table sgt;
	struct scatterlist *sg;
	u8 *buf = buffer(test, 512, 72);

	KUNIT_ASSERT_EQ(test, sg_alloc_table(&sgt, nents, GFP_KERNEL), 0);
	for_each_sgtable_sg(&sgt, sg, i)
		sg_set_buf(sg, buf, 512);
	KUNIT_EXPECT_EQ(test, dma_map_sgtable(dev, &sgt, DMA_TO_DEVICE, 0), 0);
	dma_unmap_sgtable(dev, &sgt, DMA_TO_DEVICE, 0);
	sg_free_table(&sgt);
}

static void check_coherent(struct kunit *test, u8 *vaddr, dma_addr_t addr, size_t size)
{
	KUNIT_ASSERT_NOT_NULL(test, vaddr);
	KUNIT_EXPECT_TRUE(test, inside(addr, size));
	KUNIT_EXPECT_PTR_EQ(test, view(addr), vaddr);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(addr, PAGE_SIZE << get_order(size)));
	KUNIT_EXPECT_TRUE(test, is_zero(vaddr, size));
	memset(vaddr, 0x5a, size);
}

/* I1, I7: coherent memory of any size, naturally aligned, in any context. */
static void test_coherent(struct kunit *test)
{
	static const size_t sizes[] = { 1, 4096, 5000, SZ_256K, SZ_256K + 1, SZ_512K };
	dma_addr_t addr, other;
	static DEFINE_SPINLOCK(lock);
	unsigned long flags;
	struct page *page;
	u8 *vaddr;
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		vaddr = dma_alloc_coherent(dev, sizes[i], &addr, GFP_KERNEL);
		check_coherent(test, vaddr, addr, sizes[i]);

		spin_lock_irqsave(&lock, flags);
		vaddr = dma_alloc_coherent(dev, sizes[i], &other, GFP_ATOMIC);
		spin_unlock_irqrestore(&lock, flags);
		check_coherent(test, vaddr, other, sizes[i]);
		KUNIT_EXPECT_NE(test, addr, other);
		dma_free_coherent(dev, sizes[i], vaddr, other);
		dma_free_coherent(dev, sizes[i], view(addr), addr);

		page = dma_alloc_pages(dev, PAGE_ALIGN(sizes[i]), &addr,
				       DMA_BIDIRECTIONAL, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, page);
		check_coherent(test, page_address(page), addr, PAGE_ALIGN(sizes[i]));
		dma_free_pages(dev, PAGE_ALIGN(sizes[i]), page, addr, DMA_BIDIRECTIONAL);
	}
	/* More than there is. */
	KUNIT_EXPECT_NULL(test, dma_alloc_coherent(dev, resource_size(&window) * 2, &addr,
						   GFP_KERNEL | __GFP_NOWARN));
}

static void test_sgtable(struct kunit *test)
{
	struct sg_table sgt;
	dma_addr_t addr;
	void *vaddr;

	vaddr = dma_alloc_coherent(dev, SZ_64K, &addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vaddr);
	KUNIT_EXPECT_EQ(test, dma_get_sgtable(dev, &sgt, vaddr, addr, SZ_64K), 0);
	KUNIT_EXPECT_EQ(test, sg_phys(sgt.sgl), dma_to_phys(dev, addr));
	KUNIT_EXPECT_EQ(test, sgt.sgl->length, SZ_64K);
	sg_free_table(&sgt);
	/* Only of what was allocated. */
	KUNIT_EXPECT_NE(test, dma_get_sgtable(dev, &sgt, vaddr, addr, SZ_128K), 0);
	dma_free_coherent(dev, SZ_64K, vaddr, addr);
	KUNIT_EXPECT_NE(test, dma_get_sgtable(dev, &sgt, vaddr, addr, SZ_64K), 0);
}

/* I7: the low bits of a buffer's address are kept for who asks for it. */
static void test_min_align_mask(struct kunit *test)
{
	static const unsigned int masks[] = { SZ_512 - 1, SZ_4K - 1, SZ_64K - 1 };
	static const size_t offsets[] = { 0, 1, 512, 2047, 2049, 4095 };
	u8 *buf = buffer(test, SZ_16K, 80);
	dma_addr_t addr;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		dma_set_min_align_mask(dev, masks[i]);
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			phys_addr_t phys = virt_to_phys(buf + offsets[j]);

			addr = dma_map_single(dev, buf + offsets[j], 5000, DMA_TO_DEVICE);
			KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
			KUNIT_EXPECT_EQ(test, addr & masks[i], phys & masks[i]);
			KUNIT_EXPECT_TRUE(test, inside(addr, 5000));
			KUNIT_EXPECT_EQ(test, memcmp(view(addr), buf + offsets[j], 5000), 0);
			dma_unmap_single(dev, addr, 5000, DMA_TO_DEVICE);
		}
	}
	dma_set_min_align_mask(dev, 0);
}

/* I7: no mapping crosses the boundary, and one that has to is refused. */
static void test_seg_boundary(struct kunit *test)
{
	u8 *buf = buffer(test, SZ_128K, 81);
	dma_addr_t addrs[16], addr;
	int i;

	dma_set_seg_boundary(dev, SZ_64K - 1);
	for (i = 0; i < ARRAY_SIZE(addrs); i++) {
		addrs[i] = dma_map_single(dev, buf, 24 * SZ_1K, DMA_TO_DEVICE);
		KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addrs[i]), 0);
		KUNIT_EXPECT_EQ(test, addrs[i] / SZ_64K, (addrs[i] + 24 * SZ_1K - 1) / SZ_64K);
	}
	addr = dma_map_single(dev, buf, SZ_64K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_mapping_error(dev, addr), 0);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(addr, SZ_64K));
	dma_unmap_single(dev, addr, SZ_64K, DMA_TO_DEVICE);
	/* Its ops: a segment that is longer is the caller's mistake to debug. */
	addr = dev->dma_ops->map_page(dev, virt_to_page(buf), 0, SZ_128K, DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_EQ(test, addr, DMA_MAPPING_ERROR);
	for (i = 0; i < ARRAY_SIZE(addrs); i++)
		dma_unmap_single(dev, addrs[i], 24 * SZ_1K, DMA_TO_DEVICE);
	dma_set_seg_boundary(dev, DMA_BIT_MASK(32));
}

/* I1: a mask that excludes the window is refused, when set and when used. */
static void test_mask(struct kunit *test)
{
	u64 *mask = dev->dma_mask, coherent = dev->coherent_dma_mask, old = *mask;
	int max = resource_size(&window) / SZ_64K, n, i;
	u8 *buf = buffer(test, SZ_64K, 82);
	dma_addr_t *addrs, addr;
	void *vaddr;

	addrs = kunit_kcalloc(test, max, sizeof(*addrs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	KUNIT_EXPECT_NE(test, dma_set_mask(dev, DMA_BIT_MASK(28)), 0);
	KUNIT_EXPECT_NE(test, dma_set_coherent_mask(dev, DMA_BIT_MASK(28)), 0);
	KUNIT_EXPECT_EQ(test, *mask, old);
	KUNIT_EXPECT_EQ(test, dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
	KUNIT_EXPECT_GE(test, dma_get_required_mask(dev), window.end);

	/* Known late: a driver that writes it itself. */
	*mask = DMA_BIT_MASK(28);
	dev->coherent_dma_mask = DMA_BIT_MASK(28);
	addr = dma_map_single(dev, buf, SZ_4K, DMA_TO_DEVICE);
	KUNIT_EXPECT_NE(test, dma_mapping_error(dev, addr), 0);
	KUNIT_EXPECT_NULL(test, dma_alloc_coherent(dev, SZ_4K, &addr, GFP_KERNEL | __GFP_NOWARN));

	/* In reach up to the middle: nothing beyond it is ever handed out. */
	*mask = window.start + resource_size(&window) / 2 - 1;
	dev->coherent_dma_mask = *mask;
	vaddr = dma_alloc_coherent(dev, SZ_4K, &addr, GFP_KERNEL | __GFP_NOWARN);
	if (vaddr) {
		KUNIT_EXPECT_LE(test, addr + SZ_4K - 1, *mask);
		dma_free_coherent(dev, SZ_4K, vaddr, addr);
	}
	n = take_all(test, buf, addrs, max);
	KUNIT_EXPECT_GE(test, n, 1);
	for (i = 0; i < n; i++)
		KUNIT_EXPECT_LE(test, addrs[i] + SZ_64K - 1, *mask);
	give_all(addrs, n);
	*mask = old;
	dev->coherent_dma_mask = coherent;
}

/*
 * I4: calls with what is not mapped change nothing. device.sh expects exactly
 * as many in fail_invalid (BAD_CALLS) as this and the next test make.
 */
static void test_bad_calls(struct kunit *test)
{
	const struct dma_map_ops *ops = dev->dma_ops;
	u8 *buf = buffer(test, SZ_8K, 90);
	dma_addr_t addr, free, mem;
	u8 *vaddr;

	addr = dma_map_single(dev, buf, SZ_8K, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, addr), 0);
	free = dma_map_single(dev, buf, SZ_8K, DMA_TO_DEVICE);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, free), 0);
	dma_unmap_single(dev, free, SZ_8K, DMA_TO_DEVICE);
	vaddr = dma_alloc_coherent(dev, SZ_8K, &mem, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vaddr);
	fill(view(addr), SZ_8K, 91);

	/* Unmapped already; never mapped; in the middle; outside; coherent. */
	ops->unmap_page(dev, free, SZ_8K, DMA_BIDIRECTIONAL, 0);
	ops->unmap_page(dev, addr + SZ_64K, SZ_8K, DMA_BIDIRECTIONAL, 0);
	ops->unmap_page(dev, addr + 2048, 2048, DMA_BIDIRECTIONAL, 0);
	ops->unmap_page(dev, virt_to_phys(buf), SZ_8K, DMA_BIDIRECTIONAL, 0);
	ops->unmap_page(dev, mem, SZ_8K, DMA_BIDIRECTIONAL, 0);
	/* Beyond the end; of what is not mapped. */
	ops->sync_single_for_cpu(dev, addr + SZ_4K, SZ_8K, DMA_BIDIRECTIONAL);
	ops->sync_single_for_cpu(dev, free, SZ_8K, DMA_BIDIRECTIONAL);
	/* Of another size; a mapping. */
	ops->free(dev, SZ_4K, vaddr, mem, 0);
	ops->free(dev, SZ_8K, view(addr), addr, 0);

	KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_8K, 90));
	KUNIT_EXPECT_TRUE(test, has(view(addr), 0, SZ_8K, 91));
	KUNIT_EXPECT_TRUE(test, is_zero(vaddr, SZ_8K));
	dma_free_coherent(dev, SZ_8K, vaddr, mem);
	dma_unmap_single(dev, addr, SZ_8K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_8K, 91));
}

/* Those who share a window can still not undo each other's mappings. */
static void test_neighbour(struct kunit *test)
{
	const struct dma_map_ops *ops = dev->dma_ops;
	u8 *buf = buffer(test, SZ_8K, 92);
	dma_addr_t addr, mem;
	u8 *vaddr;

	KUNIT_ASSERT_NOT_NULL(test, neighbour);
	addr = dma_map_single(neighbour, buf, SZ_8K, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(neighbour, addr), 0);
	KUNIT_EXPECT_TRUE(test, inside(addr, SZ_8K));
	vaddr = dma_alloc_coherent(neighbour, SZ_8K, &mem, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vaddr);
	fill(view(addr), SZ_8K, 93);

	ops->sync_single_for_cpu(dev, addr, SZ_8K, DMA_BIDIRECTIONAL);
	ops->unmap_page(dev, addr, SZ_8K, DMA_BIDIRECTIONAL, 0);
	ops->free(dev, SZ_8K, vaddr, mem, 0);
	KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_8K, 92));

	dma_free_coherent(neighbour, SZ_8K, vaddr, mem);
	dma_unmap_single(neighbour, addr, SZ_8K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_TRUE(test, has(buf, 0, SZ_8K, 93));
}

/* I1: device registers cannot be bounced. */
static void expect_no_resource(struct kunit *test, struct pci_dev *pdev)
{
	dma_addr_t addr;

	addr = dma_map_resource(&pdev->dev, pci_resource_start(pdev, 0), SZ_4K,
				DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_NE(test, dma_mapping_error(&pdev->dev, addr), 0);
	/* CONFIG_DMA_API_DEBUG records the failure as a mapping. */
	dma_unmap_resource(&pdev->dev, addr, SZ_4K, DMA_BIDIRECTIONAL, 0);
}

static void test_map_resource(struct kunit *test)
{
	expect_no_resource(test, edu);
}

/*
 * I1: dma_alloc_coherent() asks dev->dma_mem before any operations. The node of
 * the device has a shared-dma-pool, too, and a driver may ask for it.
 */
static void test_dma_mem(struct kunit *test)
{
	dma_addr_t addr;
	void *vaddr;

	KUNIT_ASSERT_TRUE(test, of_property_present(dev->of_node, "memory-region"));
	of_reserved_mem_device_init(dev);
#ifdef CONFIG_DMA_DECLARE_COHERENT
	KUNIT_EXPECT_NULL(test, dev->dma_mem);
#endif
	vaddr = dma_alloc_coherent(dev, SZ_4K, &addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vaddr);
	KUNIT_EXPECT_TRUE(test, inside(addr, SZ_4K));
	dma_free_coherent(dev, SZ_4K, vaddr, addr);
	of_reserved_mem_device_release(dev);
}

/* I2: a device that was refused can do nothing, whoever tries. */
static void test_refused(struct kunit *test)
{
	struct pci_dev *other = pci_get_device(0x1234, 0x11e8, edu);
	u8 *buf = buffer(test, SZ_4K, 95);
	struct scatterlist sg;
	dma_addr_t addr;
	struct device *d;

	KUNIT_ASSERT_NOT_NULL(test, other);
	d = &other->dev;
	KUNIT_EXPECT_NULL(test, d->driver);
	addr = dma_map_single(d, buf, SZ_4K, DMA_TO_DEVICE);
	KUNIT_EXPECT_NE(test, dma_mapping_error(d, addr), 0);
	sg_init_one(&sg, buf, SZ_4K);
	KUNIT_EXPECT_EQ(test, dma_map_sg(d, &sg, 1, DMA_TO_DEVICE), 0);
	KUNIT_EXPECT_NULL(test, dma_alloc_coherent(d, SZ_4K, &addr, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, dma_alloc_pages(d, SZ_4K, &addr, DMA_TO_DEVICE, GFP_KERNEL));
	expect_no_resource(test, other);
	KUNIT_EXPECT_NE(test, dma_set_mask(d, DMA_BIT_MASK(64)), 0);
	KUNIT_EXPECT_EQ(test, dma_max_mapping_size(d), 0);
	pci_dev_put(other);
}

static int edu_dma(dma_addr_t src, dma_addr_t dst, size_t size, u32 cmd)
{
	u32 val;

	writeq(src, edu_regs + EDU_DMA_SRC);
	writeq(dst, edu_regs + EDU_DMA_DST);
	writeq(size, edu_regs + EDU_DMA_COUNT);
	writeq(EDU_START | cmd, edu_regs + EDU_DMA_CMD);
	return readl_poll_timeout(edu_regs + EDU_DMA_CMD, val, !(val & EDU_START),
				  1000, 10 * USEC_PER_SEC);
}

/* The device itself: reads one mapping, writes another. */
static void test_device_dma(struct kunit *test)
{
	/* A transfer of 4096 bytes aborts QEMU 7.2. */
	const size_t size = 4000;
	u8 *from = buffer(test, size, 100), *to = buffer(test, size, 101);
	dma_addr_t src, dst;

	src = dma_map_single(dev, from, size, DMA_TO_DEVICE);
	dst = dma_map_single(dev, to, size, DMA_FROM_DEVICE);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, src), 0);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(dev, dst), 0);
	KUNIT_EXPECT_EQ(test, edu_dma(src, EDU_BUFFER, size, 0), 0);
	KUNIT_EXPECT_EQ(test, edu_dma(EDU_BUFFER, dst, size - 1, EDU_TO_RAM), 0);
	dma_unmap_single(dev, dst, size, DMA_FROM_DEVICE);
	dma_unmap_single(dev, src, size, DMA_TO_DEVICE);
	KUNIT_EXPECT_TRUE(test, has(to, 0, size - 1, 100));
	/* A short write: the last byte is not the old one. */
	KUNIT_EXPECT_EQ(test, to[size - 1], 0);
}

struct worker {
	struct task_struct *task;
	unsigned int number;
	unsigned long rounds;
	const char *wrong;
};

#define WORKER_MAX	SZ_32K
#define WORKER_ROUNDS	100

static const char *worker_round(struct worker *w, u8 *buf, struct rnd_state *rnd)
{
	unsigned int seed = prandom_u32_state(rnd);
	size_t size = prandom_u32_state(rnd) % (seed & 1 ? 200 : WORKER_MAX) + 1;
	bool in = seed & 2;
	enum dma_data_direction dir = in ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	const char *wrong = NULL;
	dma_addr_t addr;

	fill(buf, size, seed);
	addr = dma_map_single_attrs(dev, buf, size, dir, DMA_ATTR_NO_WARN);
	if (dma_mapping_error(dev, addr))
		return NULL;
	if (!inside(addr, size))
		wrong = "outside the window";
	else if (in && !is_zero(view(addr), size))
		wrong = "not zero when mapped";
	else if (!in && !has(view(addr), 0, size, seed))
		wrong = "not the buffer's bytes when mapped";
	fill(view(addr), size, seed + 1);
	cond_resched();
	if (!has(view(addr), 0, size, seed + 1))
		wrong = "changed by somebody else";
	dma_unmap_single(dev, addr, size, dir);
	if (!has(buf, 0, size, in ? seed + 1 : seed))
		wrong = "not the device's bytes when unmapped";
	WRITE_ONCE(w->rounds, w->rounds + 1);
	return wrong;
}

static int worker(void *arg)
{
	struct worker *w = arg;
	u8 *buf = kmalloc(WORKER_MAX, GFP_KERNEL);
	struct rnd_state rnd;

	prandom_seed_state(&rnd, w->number);
	while (buf && !kthread_should_stop() && !w->wrong)
		w->wrong = worker_round(w, buf, &rnd);
	kfree(buf);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static bool all_ran(struct worker *w, int n)
{
	while (n--)
		if (READ_ONCE(w[n].rounds) < WORKER_ROUNDS && !READ_ONCE(w[n].wrong))
			return false;
	return true;
}

/* I3, I7: all CPUs at once, nobody sees anybody else's bytes. */
static void test_smp(struct kunit *test)
{
	struct worker *w;
	int i, tick, n = 2 * num_online_cpus();

	w = kunit_kcalloc(test, n, sizeof(*w), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, w);
	for (i = 0; i < n; i++) {
		w[i].number = i;
		w[i].task = kthread_create(worker, &w[i], "dma-window/%d", i);
		if (IS_ERR(w[i].task))
			break;
		kthread_bind(w[i].task, i % num_online_cpus());
		wake_up_process(w[i].task);
	}
	KUNIT_EXPECT_EQ(test, i, n);
	/* At least two seconds, and as long as it takes on a busy host. */
	for (tick = 0; tick < 300 && (tick < 20 || !all_ran(w, i)); tick++)
		msleep(100);
	while (i--) {
		kthread_stop(w[i].task);
		KUNIT_EXPECT_STREQ(test, w[i].wrong ?: "", "");
		KUNIT_EXPECT_GE(test, w[i].rounds, WORKER_ROUNDS);
	}
}

static int suite_init(struct kunit_suite *suite)
{
	return edu ? 0 : -ENODEV;
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_to_device),
	KUNIT_CASE(test_from_device),
	KUNIT_CASE(test_bidirectional),
	KUNIT_CASE(test_partial_sync),
	KUNIT_CASE(test_skip_cpu_sync),
	KUNIT_CASE(test_sg),
	KUNIT_CASE(test_full),
	KUNIT_CASE(test_sg_unwind),
	KUNIT_CASE(test_large),
	KUNIT_CASE(test_max_request),
	KUNIT_CASE(test_coherent),
	KUNIT_CASE(test_sgtable),
	KUNIT_CASE(test_min_align_mask),
	KUNIT_CASE(test_seg_boundary),
	KUNIT_CASE(test_mask),
	KUNIT_CASE(test_bad_calls),
	KUNIT_CASE(test_neighbour),
	KUNIT_CASE(test_map_resource),
	KUNIT_CASE(test_dma_mem),
	KUNIT_CASE(test_refused),
	KUNIT_CASE_SLOW(test_device_dma),
	KUNIT_CASE_SLOW(test_smp),
	{}
};

static struct kunit_suite suite = {
	.name = "dma_window_device",
	.suite_init = suite_init,
	.test_cases = cases,
};

kunit_test_suite(suite);

/* A coherent buffer, mapped to user space. */
#define SHARED_SIZE	SZ_64K
static u8 *shared;
static dma_addr_t shared_addr;

static int shared_mmap(struct file *file, struct vm_area_struct *vma)
{
	return dma_mmap_coherent(dev, vma, shared, shared_addr, SHARED_SIZE);
}

/* The same bytes, as the kernel and the host have them. */
static ssize_t shared_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	return simple_read_from_buffer(to, size, pos, view(shared_addr), SHARED_SIZE);
}

static const struct file_operations shared_fops = {
	.owner = THIS_MODULE,
	.mmap = shared_mmap,
	.read = shared_read,
};

static struct miscdevice shared_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dma-window-test",
	.fops = &shared_fops,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct device_node *region;
	int ret;

	region = of_parse_phandle(pdev->dev.of_node, "restricted-dma-region", 0);
	if (!region)
		return -ENODEV;
	if (edu) {
		of_node_put(region);
		neighbour = &pdev->dev;
		return dma_set_mask_and_coherent(neighbour, DMA_BIT_MASK(32));
	}
	ret = of_address_to_resource(region, 0, &window);
	of_node_put(region);
	if (ret)
		return ret;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	edu_regs = pcim_iomap(pdev, 0, 0);
	if (!edu_regs)
		return -ENOMEM;
	dev = &pdev->dev;
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	shared = dma_alloc_coherent(dev, SHARED_SIZE, &shared_addr, GFP_KERNEL);
	if (!shared)
		return -ENOMEM;
	ret = misc_register(&shared_dev);
	if (ret) {
		dma_free_coherent(dev, SHARED_SIZE, shared, shared_addr);
		return ret;
	}
	edu = pdev;
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	if (pdev != edu) {
		neighbour = NULL;
		return;
	}
	misc_deregister(&shared_dev);
	dma_free_coherent(dev, SHARED_SIZE, shared, shared_addr);
	edu = NULL;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{}
};

static struct pci_driver edu_driver = {
	.name = "dma-window-test",
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("Tests of restricted DMA windows with QEMU's edu device");
MODULE_LICENSE("GPL");
