// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what is decided for devices behind an IOMMU: copy or map, as a
 * table, and which granules a window can be mapped in.
 */

#include <kunit/test.h>
#include <linux/dma-window.h>

#include "window.h"

#define GRANULE		SZ_4K
#define COPYBREAK	SZ_16K
#define BASE		0x80000000ULL

#define TO		BIT(DMA_TO_DEVICE)
#define FROM		BIT(DMA_FROM_DEVICE)
#define BIDI		BIT(DMA_BIDIRECTIONAL)
#define SKIP		DMA_ATTR_SKIP_CPU_SYNC

#define COPY		DMA_WINDOW_COPY
#define EITHER		DMA_WINDOW_COPY_OR_MAP
#define MAP		DMA_WINDOW_MAP

static const struct way_case {
	u8			in_place;
	u8			dirs;		/* each of these */
	unsigned long		attrs;
	unsigned int		offset;
	size_t			size;
	enum dma_window_way	way;
} ways[] = {
	/* By size: copybreak, and one byte more. */
	{ TO | BIDI, TO | BIDI, 0, 0, COPYBREAK, EITHER },
	{ TO | BIDI, TO | BIDI, 0, 0, COPYBREAK + 1, MAP },
	{ TO | BIDI, TO | BIDI, 0, 512, SZ_1M, MAP },
	/* By whole granules: none, one, and a granule less a byte. */
	{ TO | BIDI, TO | BIDI, 0, 1, 2 * GRANULE - 2, COPY },
	{ TO | BIDI, TO | BIDI, 0, 1, 2 * GRANULE - 1, EITHER },
	{ TO | BIDI, TO | BIDI, 0, 0, GRANULE - 1, COPY },
	{ TO | BIDI, TO | BIDI, 0, 0, GRANULE, EITHER },
	{ TO | BIDI, TO | BIDI, 0, 0, 1, COPY },
	{ TO | BIDI, TO | BIDI, 0, 0, 0, COPY },
	/* Buffers that are handed over by hand later. */
	{ TO | BIDI | FROM, TO | BIDI, SKIP, 0, SZ_1M, COPY },
	{ TO | BIDI | FROM, TO | BIDI, SKIP, 0, COPYBREAK, COPY },
	/* Buffers to be written: in place only if not readable there. */
	{ TO | BIDI, FROM, 0, 0, SZ_1M, COPY },
	{ TO | BIDI, FROM, SKIP, 0, SZ_1M, COPY },
	{ TO | BIDI, FROM, DMA_ATTR_WINDOW_NO_FILL, 0, SZ_1M, COPY },
	{ TO | BIDI | FROM, FROM, 0, 0, SZ_1M, MAP },
	{ TO | BIDI | FROM, FROM, SKIP, 0, SZ_1M, MAP },
	{ TO | BIDI | FROM, FROM, 0, 0, COPYBREAK, EITHER },
	/* Private memory: nothing. */
	{ 0, TO | BIDI | FROM, 0, 0, SZ_1M, COPY },
	{ 0, TO | BIDI | FROM, SKIP, 512, SZ_1M, COPY },
};

static void test_way(struct kunit *test)
{
	struct dma_window_client client = { .granule = GRANULE, .copybreak = COPYBREAK };
	const struct way_case *c;
	unsigned int dir;

	client.dev = kunit_device_register(test, "dma_window_way");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, client.dev);
	for (c = ways; c < ways + ARRAY_SIZE(ways); c++) {
		client.in_place = c->in_place;
		for (dir = DMA_BIDIRECTIONAL; dir <= DMA_FROM_DEVICE; dir++)
			if (c->dirs & BIT(dir))
				KUNIT_EXPECT_EQ_MSG(test, c->way,
						    dma_window_copy_or_map(&client,
									   BASE + c->offset,
									   c->size, dir,
									   c->attrs),
						    "row %td, direction %u",
						    c - ways, dir);
	}
}

/* An alignment that is coarser than a granule is kept by the window only. */
static void test_way_of_aligned(struct kunit *test)
{
	struct dma_window_client client = {
		.granule = GRANULE, .copybreak = COPYBREAK, .in_place = TO | BIDI | FROM,
	};
	struct device_dma_parameters parms = {};

	client.dev = kunit_device_register(test, "dma_window_aligned");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, client.dev);
	client.dev->dma_parms = &parms;
	parms.min_align_mask = GRANULE - 1;
	KUNIT_EXPECT_EQ(test, MAP,
			dma_window_copy_or_map(&client, BASE, SZ_1M,
					       DMA_TO_DEVICE, 0));
	parms.min_align_mask = 2 * GRANULE - 1;
	KUNIT_EXPECT_EQ(test, COPY,
			dma_window_copy_or_map(&client, BASE, SZ_1M,
					       DMA_TO_DEVICE, 0));
	client.dev->dma_parms = NULL;
}

/* A window is mapped in pages, and its slots stand in for granules. */
static void test_granule(struct kunit *test)
{
	unsigned long size;

	for (size = 1; size && size <= SZ_1M; size *= 2) {
		const char *why = dma_window_granule_unfit_reason(size | SZ_2M);

		if (size < DMA_WINDOW_SLOT_SIZE)
			KUNIT_EXPECT_STREQ(test, why ?: "",
					   "the granule of its IOMMU is smaller than 2 KiB");
		else if (size > PAGE_SIZE)
			KUNIT_EXPECT_STREQ(test, why ?: "",
					   "the granule of its IOMMU is larger than a page");
		else
			KUNIT_EXPECT_NULL(test, why);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_way),
	KUNIT_CASE(test_way_of_aligned),
	KUNIT_CASE(test_granule),
	{}
};

static struct kunit_suite suite = {
	.name = "dma_window_iommu",
	.test_cases = cases,
};

kunit_test_suite(suite);
