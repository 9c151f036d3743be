// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the pool: what it hands out is checked against a plain bitmap,
 * and so is every refusal: there must really be no place.
 */

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "window.h"

#define MAX_SLOTS	5000
#define MAX_LIVE	1100

/* A pool and what is known of it. */
struct model {
	struct dma_window_pool		pool;
	DECLARE_BITMAP(taken, MAX_SLOTS);
	struct dma_window_mapping	*live[MAX_LIVE];
	unsigned int			nlive;
	struct rnd_state		rnd;
};

/* Two owners; only that they differ matters. */
static struct dma_window_client clients[2] = {
	{ .dev = (void *)0x1000 },
	{ .dev = (void *)0x2000 },
};

static unsigned int slot_of(struct model *m, struct dma_window_mapping *map)
{
	return dma_window_slot(&m->pool, map);
}

/* By another seed, make soak has these tests take other sequences. */
static unsigned long test_seed;
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "dma_window."
module_param(test_seed, ulong, 0400);

static unsigned int used(struct model *m)
{
	unsigned int used, largest;

	dma_window_pool_look(&m->pool, &used, &largest);
	return used;
}

static unsigned int rnd(struct model *m, unsigned int below)
{
	return prandom_u32_state(&m->rnd) % below;
}

static struct model *model(struct kunit *test, unsigned int nslots, u64 first)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	KUNIT_ASSERT_LE(test, nslots, MAX_SLOTS);
	KUNIT_ASSERT_EQ(test, dma_window_pool_init(&m->pool, nslots, first), 0);
	prandom_seed_state(&m->rnd, nslots + first + test_seed);
	return m;
}

/* Tell whether @req may have its run at @slot, as far as its wishes go. */
static bool allowed(const struct dma_window_req *req, unsigned int slot)
{
	u64 bus = req->bus + slot;

	if ((bus & (req->align - 1)) != req->phase)
		return false;
	return !req->boundary ||
	       bus / req->boundary == (bus + req->nslots - 1) / req->boundary;
}

/* The slots that @req may have: streaming and coherent have their shares. */
static void range(struct model *m, const struct dma_window_req *req,
		  unsigned int *from, unsigned int *to)
{
	*from = 0;
	*to = req->limit;
	/* A request that is larger than its share may be anywhere. */
	if (!req->coherent && req->nslots <= m->pool.nslots - m->pool.nslots / 16)
		*to = min(*to, m->pool.nslots - m->pool.nslots / 16);
	if (req->coherent && req->nslots <= m->pool.nslots / 2)
		*from = m->pool.nslots / 2;
}

static bool any_place(struct model *m, const struct dma_window_req *req)
{
	unsigned int slot, from, to;

	range(m, req, &from, &to);
	for (slot = from; slot + req->nslots <= to; slot++)
		if (allowed(req, slot) &&
		    find_next_bit(m->taken, slot + req->nslots, slot) >=
		    slot + req->nslots)
			return true;
	return false;
}

/* Allocate as bounce.c does. */
static struct dma_window_mapping *get(struct model *m,
				      const struct dma_window_req *req,
				      unsigned int class)
{
	unsigned int slot = DMA_WINDOW_NO_SLOT;
	struct dma_window_mapping *map;
	unsigned long flags;

	if (class != DMA_WINDOW_NO_CLASS) {
		local_irq_save(flags);
		slot = dma_window_pool_pop(&m->pool, this_cpu_ptr(m->pool.cpu), class);
		local_irq_restore(flags);
	}
	map = slot == DMA_WINDOW_NO_SLOT ?
		dma_window_pool_alloc(&m->pool, req, class) :
		&m->pool.records[slot];
	if (map) {
		/* A mapping that begins and ends inside a slot of its run. */
		map->begin = 1;
		map->size = (req->nslots << DMA_WINDOW_SLOT_SHIFT) - 2;
		/* Publish the record when it is complete. */
		smp_store_release(&map->client, &clients[0]);
	}
	return map;
}

static void give(struct model *m, struct dma_window_mapping *map)
{
	unsigned long flags;
	bool kept;

	WRITE_ONCE(map->client, NULL);
	local_irq_save(flags);
	kept = map->class != DMA_WINDOW_NO_CLASS &&
	       dma_window_pool_push(&m->pool, this_cpu_ptr(m->pool.cpu),
				    slot_of(m, map), map->class);
	local_irq_restore(flags);
	if (!kept)
		dma_window_pool_free(&m->pool, map);
}

static bool is_retired(struct dma_window_mapping *map)
{
	return map->client == dma_window_retired(&clients[0]) ||
	       map->client == dma_window_retired(&clients[1]);
}

static void check_lookup(struct kunit *test, struct model *m,
			 struct dma_window_mapping *map)
{
	unsigned int start = slot_of(m, map), end = start + dma_window_nslots(map), i;

	for (i = start; i < end; i++)
		KUNIT_EXPECT_PTR_EQ(test, dma_window_pool_at(&m->pool, i), map);
	KUNIT_EXPECT_EQ(test, dma_window_pool_next(&m->pool, start), start);
	/* Neighbours of the run do not lead to its record. */
	if (start)
		KUNIT_EXPECT_PTR_NE(test, dma_window_pool_at(&m->pool, start - 1), map);
	if (end < m->pool.nslots && !test_bit(end, m->taken)) {
		map = dma_window_pool_at(&m->pool, end);
		KUNIT_EXPECT_TRUE(test, !map || is_retired(map));
	}
}

/* Allocate once, and check all that can be said about it; true if it worked. */
static bool alloc(struct kunit *test, struct model *m,
		  const struct dma_window_req *req, unsigned int class)
{
	struct dma_window_mapping *map = get(m, req, class);
	unsigned int from, to, slot, nslots;

	if (!map) {
		KUNIT_EXPECT_FALSE_MSG(test, any_place(m, req),
				       "%u slots, align %u phase %u boundary %llu limit %u coherent %d: refused, but there is room",
				       req->nslots, req->align, req->phase, req->boundary,
				       req->limit, req->coherent);
		return false;
	}
	range(m, req, &from, &to);
	slot = slot_of(m, map);
	nslots = dma_window_nslots(map);
	if (map->class == DMA_WINDOW_NO_CLASS) {
		KUNIT_EXPECT_EQ(test, nslots, req->nslots);
		KUNIT_EXPECT_TRUE_MSG(test, allowed(req, slot),
				      "%u slots, align %u phase %u boundary %llu: at %u",
				      req->nslots, req->align, req->phase, req->boundary,
				      slot);
	} else {
		/* A run of a class is aligned, and has room for any phase. */
		KUNIT_EXPECT_EQ(test, map->class, class);
		KUNIT_EXPECT_EQ(test, nslots, BIT(class));
		KUNIT_EXPECT_GE(test, nslots, req->nslots);
		KUNIT_EXPECT_EQ(test, (slot + m->pool.first) & (BIT(class) - 1), 0);
	}
	KUNIT_EXPECT_GE(test, slot, from);
	KUNIT_EXPECT_LE(test, slot + nslots, to);
	KUNIT_EXPECT_GE_MSG(test, find_next_bit(m->taken, slot + nslots, slot),
			    slot + nslots, "taken twice");
	bitmap_set(m->taken, slot, nslots);
	check_lookup(test, m, map);
	m->live[m->nlive++] = map;
	return true;
}

static void free_one(struct model *m, unsigned int i)
{
	struct dma_window_mapping *map = m->live[i];

	bitmap_clear(m->taken, slot_of(m, map), dma_window_nslots(map));
	m->live[i] = m->live[--m->nlive];
	give(m, map);
}

static unsigned int largest(struct model *m, unsigned int limit)
{
	unsigned int start, end, most = 0;

	for_each_clear_bitrange(start, end, m->taken, limit)
		most = max(most, end - start);
	return most;
}

/* The walk comes by each live run, and by nothing else. */
static void check_walk(struct kunit *test, struct model *m)
{
	unsigned int slot = 0, n = 0;

	while ((slot = dma_window_pool_next(&m->pool, slot)) != DMA_WINDOW_NO_SLOT) {
		struct dma_window_mapping *map = dma_window_pool_at(&m->pool, slot);

		if (!map || slot_of(m, map) != slot)
			break;
		slot++;
		n++;
	}
	KUNIT_EXPECT_EQ(test, slot, DMA_WINDOW_NO_SLOT);
	KUNIT_EXPECT_EQ(test, n, m->nlive);

	/* The end of a run leads to its record, whatever came and went elsewhere. */
	for (n = 0; n < m->nlive; n++) {
		slot = slot_of(m, m->live[n]) + dma_window_nslots(m->live[n]) - 1;
		KUNIT_EXPECT_PTR_EQ(test, dma_window_pool_at(&m->pool, slot), m->live[n]);
	}
}

static void check_room(struct kunit *test, struct model *m)
{
	unsigned int before = m->pool.used, used, most;

	dma_window_pool_look(&m->pool, &used, &most);
	KUNIT_EXPECT_EQ(test, used, bitmap_weight(m->taken, m->pool.nslots));
	KUNIT_EXPECT_EQ(test, most, largest(m, m->pool.nslots));
	/* To look changes nothing. */
	KUNIT_EXPECT_EQ(test, m->pool.used, before);
}

static void check_figures(struct kunit *test, struct model *m)
{
	check_room(test, m);
	check_walk(test, m);
}

/* Give everything back, and check that all of it is there again. */
static void finish(struct kunit *test, struct model *m)
{
	while (m->nlive)
		free_one(m, m->nlive - 1);
	check_figures(test, m);
	KUNIT_EXPECT_TRUE(test, dma_window_pool_is_idle(&m->pool));
	KUNIT_EXPECT_EQ(test, m->pool.used, 0);
	KUNIT_EXPECT_EQ(test, dma_window_pool_start(&m->pool, m->pool.nslots - 1),
			DMA_WINDOW_NO_SLOT);
	KUNIT_EXPECT_EQ(test, dma_window_pool_next(&m->pool, 0), DMA_WINDOW_NO_SLOT);
	dma_window_pool_destroy(&m->pool);
}

static struct dma_window_req streaming(struct model *m, unsigned int nslots)
{
	return (struct dma_window_req){
		.nslots = nslots, .limit = m->pool.nslots, .align = 1,
		.bus = m->pool.first,
	};
}

/* Make a request of any kind. Returns its class, if it has one. */
static unsigned int random_req(struct model *m, struct dma_window_req *req)
{
	unsigned int class;

	*req = streaming(m, 1 + rnd(m, rnd(m, 4) ? 8 : 200));
	switch (rnd(m, 6)) {
	case 0:
	case 1:
		class = order_base_2(req->nslots);
		return class < DMA_WINDOW_CLASSES ? class : DMA_WINDOW_NO_CLASS;
	case 2:
		req->coherent = true;
		req->align = roundup_pow_of_two(req->nslots);
		break;
	case 3:
		req->align = BIT(rnd(m, 7));
		req->phase = rnd(m, req->align);
		break;
	case 4:
		req->boundary = roundup_pow_of_two(req->nslots) << rnd(m, 3);
		req->align = min_t(u64, BIT(rnd(m, 4)), req->boundary);
		req->phase = rnd(m, req->align);
		break;
	case 5:
		req->limit = 1 + rnd(m, m->pool.nslots);
		req->coherent = rnd(m, 2);
		break;
	}
	/* A bus that begins elsewhere. */
	req->bus += (u64)rnd(m, 3) * 7919;
	return DMA_WINDOW_NO_CLASS;
}

static const struct {
	unsigned int	nslots;
	u64		first;
} pools[] = {
	{ 512, 0 }, { 513, 1 }, { 64, 0 }, { 1000, 31 }, { 2048, 0x28000 },
	{ 4103, 2 }, { 5000, 16 },
};

/* Random calls; the pool is mostly full, mostly empty, and in between. */
static void test_random(struct kunit *test)
{
	unsigned int i, round, refused = 0, fill;
	struct dma_window_req req;

	for (i = 0; i < ARRAY_SIZE(pools); i++) {
		struct model *m = model(test, pools[i].nslots, pools[i].first);

		for (round = 0; round < 3000; round++) {
			fill = round / 300 % 2 ? 70 : 35;
			if (m->nlive && (m->nlive == MAX_LIVE || rnd(m, 100) >= fill)) {
				free_one(m, rnd(m, m->nlive));
			} else {
				unsigned int class = random_req(m, &req);

				if (req.nslots > req.limit ||
				    (req.boundary && req.nslots > req.boundary))
					continue;
				refused += !alloc(test, m, &req, class);
			}
			if (!rnd(m, 50))
				dma_window_pool_drain(&m->pool);
			if (!rnd(m, 100))
				check_figures(test, m);
			if (!(round % 100))
				cond_resched();
		}
		finish(test, m);
	}
	/* Refusals were checked, too. */
	KUNIT_EXPECT_GT(test, refused, 500);
}

/* Any run up to the largest free one can be had, however torn the rest is. */
static void test_largest(struct kunit *test)
{
	struct model *m = model(test, 4103, 3);
	struct dma_window_req req;
	unsigned int round;

	req = streaming(m, 4103);
	KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	free_one(m, 0);
	for (round = 0; round < 200; round++) {
		unsigned int n = largest(m, 4103 - 4103 / 16);

		req = streaming(m, n);
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
		free_one(m, m->nlive - 1);
		if (n < 4103 - 4103 / 16) {
			req.nslots++;
			KUNIT_ASSERT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
		}
		check_figures(test, m);
		/* Tear the free run: take a few slots somewhere. */
		req = streaming(m, 1 + rnd(m, 30));
		req.align = 64;
		req.phase = rnd(m, 64);
		alloc(test, m, &req, DMA_WINDOW_NO_CLASS);
		if (rnd(m, 3) == 0)
			free_one(m, rnd(m, m->nlive));
	}
	finish(test, m);
}

/* Every second slot, then every second run of each size: the worst there is. */
static void test_combs(struct kunit *test)
{
	struct model *m = model(test, 1200, 0);
	unsigned int class, i, half;
	struct dma_window_req req;

	for (class = 0; class < DMA_WINDOW_CLASSES; class++) {
		req = streaming(m, BIT(class));
		while (m->nlive < MAX_LIVE - 10 && alloc(test, m, &req, DMA_WINDOW_NO_CLASS))
			;
		/* Free the even ones, by place. */
		half = 0;
		for (i = m->nlive; i--;) {
			if (!(slot_of(m, m->live[i]) / BIT(class) % 2)) {
				free_one(m, i);
				half++;
			}
		}
		KUNIT_EXPECT_GT(test, half, 10);
		check_figures(test, m);
		/* One slot more than a gap, and each alignment in a gap. */
		req.nslots = BIT(class) + 1;
		alloc(test, m, &req, DMA_WINDOW_NO_CLASS);
		for (i = 0; i < 8; i++) {
			req = streaming(m, 1 + rnd(m, BIT(class)));
			req.align = BIT(rnd(m, 7));
			req.phase = rnd(m, req.align);
			alloc(test, m, &req, DMA_WINDOW_NO_CLASS);
		}
		while (m->nlive)
			free_one(m, m->nlive - 1);
	}
	finish(test, m);
}

/* Free the live run that begins at a slot. */
static void free_at(struct kunit *test, struct model *m, unsigned int slot)
{
	unsigned int i;

	for (i = 0; i < m->nlive; i++) {
		if (slot_of(m, m->live[i]) == slot) {
			free_one(m, i);
			return;
		}
	}
	KUNIT_FAIL(test, "nothing at %u", slot);
}

/* The only place there is, behind hundreds of free runs that do not fit. */
static void test_last_place(struct kunit *test)
{
	struct model *m = model(test, 1000, 0);
	struct dma_window_req req = streaming(m, 1);
	unsigned int i;

	/* 62 slots are not for streaming. */
	for (i = 0; i < 1000 - 62; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	for (i = 0; i < 800; i += 2)
		free_at(test, m, i);
	req.align = 2;
	req.phase = 1;
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	free_at(test, m, 851);
	KUNIT_EXPECT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	while (m->nlive)
		free_one(m, m->nlive - 1);

	/* From above: take all, and free odd slots, and one even one below. */
	req = streaming(m, 1);
	req.coherent = true;
	for (i = 0; i < 500; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	for (i = 601; i < 1000; i += 2)
		free_at(test, m, i);
	req.align = 2;
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	free_at(test, m, 502);
	KUNIT_EXPECT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	finish(test, m);
}

/* Each boundary and each limit for a request. */
static void try_limits(struct kunit *test, struct model *m,
		       struct dma_window_req req)
{
	unsigned int least = max(roundup_pow_of_two(req.nslots), req.align);

	for (req.boundary = 0; req.boundary <= 4096;
	     req.boundary = req.boundary ? req.boundary * 4 : least) {
		for (req.limit = req.nslots; req.limit <= m->pool.nslots;
		     req.limit += req.limit < 500 ? req.limit + 1 : 333) {
			if (alloc(test, m, &req, DMA_WINDOW_NO_CLASS))
				free_one(m, 0);
		}
	}
}

/* Every combination of alignment, boundary and mask, in an empty pool. */
static void test_constraints(struct kunit *test)
{
	static const unsigned int sizes[] = { 1, 2, 3, 8, 31, 32, 33, 64, 65, 200 };
	struct model *m = model(test, 1000, 5);
	struct dma_window_req req;
	unsigned int s;

	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		req = streaming(m, sizes[s]);
		for (req.align = 1; req.align <= 256; req.align *= 4)
			for (req.phase = 0; req.phase < req.align;
			     req.phase += max(1, req.align / 3))
				try_limits(test, m, req);
	}
	finish(test, m);
}

/* Shares: neither kind of request can take what the other one needs. */
static void test_shares(struct kunit *test)
{
	struct model *m = model(test, 1024, 0);
	struct dma_window_req small = streaming(m, 1), ring = streaming(m, 2);
	unsigned int n;

	ring.coherent = true;
	ring.align = 2;
	for (n = 0; alloc(test, m, &small, 0); n++)
		;
	KUNIT_EXPECT_EQ(test, n, 1024 - 1024 / 16);
	for (n = 0; alloc(test, m, &ring, DMA_WINDOW_NO_CLASS); n++)
		;
	KUNIT_EXPECT_EQ(test, n, 1024 / 16 / 2);
	finish(test, m);
}

static void test_rings_first(struct kunit *test)
{
	struct model *m = model(test, 1024, 0);
	struct dma_window_req ring = streaming(m, 2), half = streaming(m, 512);
	unsigned int n;

	ring.coherent = true;
	ring.align = 2;
	for (n = 0; alloc(test, m, &ring, DMA_WINDOW_NO_CLASS); n++)
		;
	KUNIT_EXPECT_EQ(test, n, 256);
	KUNIT_EXPECT_TRUE(test, alloc(test, m, &half, DMA_WINDOW_NO_CLASS));
	finish(test, m);
}

static struct dma_window_mapping *floor_get(struct model *m, unsigned int floor,
					    unsigned int nslots, unsigned int n,
					    unsigned int align)
{
	struct dma_window_req req = streaming(m, n);
	struct dma_window_mapping *map;

	req.align = align;
	map = dma_window_pool_floor_alloc(&m->pool, &req, floor, nslots);
	if (map)
		WRITE_ONCE(map->client, &clients[0]);
	return map;
}

/* Slots in use, floors included. */
static unsigned int used_slots(struct model *m)
{
	unsigned int used, largest;

	dma_window_pool_look(&m->pool, &used, &largest);
	return used;
}

/*
 * A floor lies where coherent memory does, outside of the reserve; nobody else is
 * given its slots, and its user is, until they are gone; runs of it go to no
 * magazine. What is mapped when the floor goes is free for all later.
 */
static void test_floor(struct kunit *test)
{
	struct model *m = model(test, 1024, 3);
	struct dma_window_mapping *map[8];
	struct dma_window_req one = streaming(m, 1), beyond = one;
	unsigned int i, floor, other;

	floor = dma_window_pool_floor_reserve(&m->pool, 32);
	other = dma_window_pool_floor_reserve(&m->pool, 16);
	KUNIT_ASSERT_NE(test, floor, DMA_WINDOW_NO_SLOT);
	KUNIT_ASSERT_NE(test, other, DMA_WINDOW_NO_SLOT);
	KUNIT_EXPECT_GE(test, other, 512);
	KUNIT_EXPECT_LE(test, other + 16, floor);
	KUNIT_EXPECT_LE(test, floor + 32, 1024 - 1024 / 16);
	KUNIT_EXPECT_EQ(test, m->pool.floor_slots, 48);
	KUNIT_EXPECT_EQ(test, used_slots(m), 48);
	bitmap_set(m->taken, floor, 32);
	bitmap_set(m->taken, other, 16);

	/* Fill the rest: no run overlaps a floor. */
	while (m->nlive < MAX_LIVE && alloc(test, m, &one, 0))
		;
	KUNIT_EXPECT_EQ(test, m->nlive, 1024 - 1024 / 16 - 48);

	for (i = 0; i < 8; i++) {
		map[i] = floor_get(m, floor, 32, 4, 4);
		KUNIT_ASSERT_NOT_NULL(test, map[i]);
		KUNIT_EXPECT_GE(test, dma_window_slot(&m->pool, map[i]), floor);
		KUNIT_EXPECT_LE(test, dma_window_slot(&m->pool, map[i]) + 4, floor + 32);
		KUNIT_EXPECT_EQ(test, dma_window_nslots(map[i]), 4);
		KUNIT_EXPECT_EQ(test, (dma_window_slot(&m->pool, map[i]) + m->pool.first) % 4, 0);
		KUNIT_EXPECT_EQ(test, map[i]->class, DMA_WINDOW_NO_CLASS);
		check_lookup(test, m, map[i]);
		/* Seven or eight fit, by how the floor lies. */
		if (i == 6)
			break;
	}
	KUNIT_EXPECT_NULL(test, floor_get(m, floor, 32, 5, 1));
	/* Slots that a device cannot reach, all from the floor's middle on, are not. */
	give(m, map[6]);
	beyond.nslots = 4;
	beyond.limit = floor + 16;
	KUNIT_EXPECT_NULL(test, dma_window_pool_floor_alloc(&m->pool, &beyond, floor, 32));
	map[6] = floor_get(m, floor, 32, 4, 4);
	KUNIT_ASSERT_NOT_NULL(test, map[6]);

	/* A run that goes back to the floor is the floor's again. */
	i = dma_window_slot(&m->pool, map[3]);
	give(m, map[3]);
	map[3] = floor_get(m, floor, 32, 4, 4);
	KUNIT_ASSERT_NOT_NULL(test, map[3]);
	KUNIT_EXPECT_EQ(test, dma_window_slot(&m->pool, map[3]), i);
	KUNIT_EXPECT_EQ(test, used_slots(m), 1024 - 1024 / 16);

	/* End the floor with seven mappings; the first two go before. */
	give(m, map[0]);
	give(m, map[1]);
	dma_window_pool_floor_release(&m->pool, floor, 32);
	KUNIT_EXPECT_EQ(test, m->pool.floor_slots, 16);
	KUNIT_EXPECT_EQ(test, used_slots(m),
			1024 - 1024 / 16 - 32 + 5 * 4);
	for (i = 2; i < 7; i++)
		give(m, map[i]);
	bitmap_clear(m->taken, floor, 32);
	check_room(test, m);
	dma_window_pool_floor_release(&m->pool, other, 16);
	bitmap_clear(m->taken, other, 16);
	finish(test, m);
}

/* Floors leave room: no more than the upper half without the reserve has. */
static void test_floor_room(struct kunit *test)
{
	struct model *m = model(test, 1024, 0);
	unsigned int all = 512 - 1024 / 16, floor;

	KUNIT_EXPECT_EQ(test, dma_window_pool_floor_reserve(&m->pool, all + 1),
			DMA_WINDOW_NO_SLOT);
	floor = dma_window_pool_floor_reserve(&m->pool, all);
	KUNIT_EXPECT_EQ(test, floor, 512);
	KUNIT_EXPECT_EQ(test, dma_window_pool_floor_reserve(&m->pool, 1),
			DMA_WINDOW_NO_SLOT);
	dma_window_pool_floor_release(&m->pool, floor, all);
	finish(test, m);
}

/* A CPU that goes gives back what it keeps, and nothing else goes. */
static void test_drain_cpu(struct kunit *test)
{
	struct model *m = model(test, 4096, 0);
	struct dma_window_req req = streaming(m, 4);
	unsigned int i, cpu, kept;

	for (i = 0; i < 10; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 2));
	migrate_disable();
	cpu = smp_processor_id();
	while (m->nlive > 2)
		free_one(m, m->nlive - 1);
	kept = m->pool.used - 8;
	KUNIT_EXPECT_GT(test, kept, 0);
	for_each_possible_cpu(i)
		if (i != cpu)
			dma_window_pool_drain_cpu(&m->pool, i);
	KUNIT_EXPECT_GT(test, m->pool.used, 8);
	dma_window_pool_drain_cpu(&m->pool, cpu);
	KUNIT_EXPECT_EQ(test, m->pool.used, 8);
	/* The CPU does not take what it no longer has for granted. */
	for (i = 0; i < 10; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 2));
	migrate_enable();
	finish(test, m);
}

/* All that CPUs keep comes back before anything is refused. */
static void test_drain_before_refusal(struct kunit *test)
{
	struct model *m = model(test, 2048, 0);
	struct dma_window_req req = streaming(m, 1), all = streaming(m, 2048 - 128);
	unsigned int i;

	for (i = 0; i < 500; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 0));
	while (m->nlive)
		free_one(m, m->nlive - 1);
	KUNIT_EXPECT_GT(test, m->pool.used, 0);
	KUNIT_EXPECT_TRUE(test, alloc(test, m, &all, DMA_WINDOW_NO_CLASS));
	finish(test, m);
}

static bool retire(struct model *m, unsigned int i)
{
	struct dma_window_mapping *map = m->live[i];
	bool mine;

	mine = dma_window_pool_retire(&m->pool, map, map->client);
	bitmap_clear(m->taken, slot_of(m, map), dma_window_nslots(map));
	m->live[i] = m->live[--m->nlive];
	return mine;
}

static bool end_retired(struct model *m, unsigned int client, u64 offset)
{
	return dma_window_pool_end_retired(&m->pool, &clients[client], offset);
}

/*
 * Retired runs are free as far as figures go and requests that find nothing
 * else, are not given to other requests, and can be ended by whose they were.
 */
static void test_retired(struct kunit *test)
{
	DECLARE_BITMAP(retired, MAX_SLOTS);
	struct dma_window_mapping *map;
	struct dma_window_req req;
	unsigned int p, i, slot, n;
	struct model *m;
	u64 offset;

	for (p = 0; p < ARRAY_SIZE(pools); p++) {
		m = model(test, pools[p].nslots, pools[p].first);
		while (m->nlive < MAX_LIVE - 300 &&
		       bitmap_weight(m->taken, m->pool.nslots) < m->pool.nslots / 2) {
			unsigned int class = random_req(m, &req);

			alloc(test, m, &req, class);
		}
		bitmap_zero(retired, MAX_SLOTS);
		for (i = 0, n = m->nlive / 2; i < n; i++) {
			slot = rnd(m, m->nlive);
			map = m->live[slot];
			map->client = &clients[i % 2];
			bitmap_set(retired, slot_of(m, map), dma_window_nslots(map));
			KUNIT_ASSERT_TRUE(test, retire(m, slot));
			check_room(test, m);
		}

		/* End a run late, by its client; its middle is no run. */
		slot = find_next_bit(retired, m->pool.nslots, 0);
		map = dma_window_pool_at(&m->pool, slot);
		KUNIT_ASSERT_NOT_NULL(test, map);
		i = map->client == dma_window_retired(&clients[1]);
		KUNIT_EXPECT_TRUE(test, is_retired(map));
		offset = ((u64)slot << DMA_WINDOW_SLOT_SHIFT) + map->begin;
		n = dma_window_nslots(map);
		KUNIT_EXPECT_FALSE(test, end_retired(m, !i, offset));
		KUNIT_EXPECT_FALSE(test, end_retired(m, i, offset + 1));
		KUNIT_EXPECT_TRUE(test, end_retired(m, i, offset));
		KUNIT_EXPECT_FALSE(test, end_retired(m, i, offset));
		bitmap_clear(retired, slot, n);
		check_room(test, m);

		/* Forget the runs of one of the two clients. */
		dma_window_pool_forget(&m->pool, &clients[1]);
		check_room(test, m);
		for (slot = 0; slot < m->pool.nslots; slot++) {
			map = dma_window_pool_at(&m->pool, slot);
			KUNIT_EXPECT_TRUE(test, !map ||
					  map->client != dma_window_retired(&clients[1]));
			if (!map)
				clear_bit(slot, retired);
		}

		/* Requests that find other room are placed there. */
		req = streaming(m, 1);
		n = bitmap_weight(retired, m->pool.nslots);
		while (m->pool.nslots - m->pool.used > m->pool.reserve + 1 &&
		       m->nlive < MAX_LIVE - 1) {
			if (!alloc(test, m, &req, DMA_WINDOW_NO_CLASS))
				break;
			if (!m->pool.nretired)
				break;
			KUNIT_EXPECT_FALSE(test, test_bit(slot_of(m, m->live[m->nlive - 1]),
							  retired));
		}
		check_room(test, m);
		/* Take all the rest, in one piece if it is. */
		req = streaming(m, largest(m, m->pool.nslots - m->pool.reserve));
		if (req.nslots && m->nlive < MAX_LIVE)
			KUNIT_EXPECT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
		dma_window_pool_forget(&m->pool, NULL);
		KUNIT_EXPECT_EQ(test, m->pool.nretired, 0);
		finish(test, m);
	}
}

/* A window that goes takes along retired runs, but not those undone. */
static void test_retired_late(struct kunit *test)
{
	struct model *m = model(test, 1000, 0);
	struct dma_window_req req = streaming(m, 1);
	struct dma_window_mapping *map;

	KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 0));
	KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 0));
	map = m->live[0];
	free_one(m, 0);
	KUNIT_EXPECT_FALSE(test, dma_window_pool_retire(&m->pool, map, &clients[0]));
	KUNIT_EXPECT_EQ(test, m->pool.nretired, 0);
	KUNIT_EXPECT_FALSE(test, dma_window_pool_is_idle(&m->pool));
	map = m->live[0];
	KUNIT_EXPECT_FALSE(test, dma_window_pool_retire(&m->pool, map, &clients[1]));
	KUNIT_EXPECT_TRUE(test, retire(m, 0));
	KUNIT_EXPECT_EQ(test, m->pool.nretired, 1);
	KUNIT_EXPECT_EQ(test, used(m), 0);
	KUNIT_EXPECT_TRUE(test, dma_window_pool_is_idle(&m->pool));
	dma_window_pool_destroy(&m->pool);
}

/* Small windows, many CPUs: all keep a small part of a window. */
static void test_small(struct kunit *test)
{
	struct model *m = model(test, 512, 0);
	unsigned int class, kept = 0;

	for (class = 0; class < DMA_WINDOW_CLASSES; class++)
		kept += m->pool.depth[class] << class;
	KUNIT_EXPECT_LE(test, kept * num_possible_cpus(), 512 / 4);
	finish(test, m);

	m = model(test, 4096, 0);
	/* 8 MiB: a target of 13 KiB per MiB, of which 12 KiB are the records. */
	KUNIT_EXPECT_LE(test, dma_window_pool_metadata(&m->pool),
			ALIGN(8 * 12 * SZ_1K, PAGE_SIZE) + 8 * SZ_1K);
	/* At least what is there for certain: a record and three bits a slot. */
	KUNIT_EXPECT_GE(test, dma_window_pool_metadata(&m->pool),
			4096 * sizeof(struct dma_window_mapping) + 3 * 4096 / 8 +
			num_possible_cpus() * sizeof(*m->pool.cpu));
	finish(test, m);
}

/* The mark is the most that was ever in use, whatever is now. */
static void test_hiwater(struct kunit *test)
{
	struct model *m = model(test, 1024, 0);
	struct dma_window_req large = streaming(m, 300), small = streaming(m, 1);

	KUNIT_ASSERT_TRUE(test, alloc(test, m, &large, DMA_WINDOW_NO_CLASS));
	KUNIT_ASSERT_TRUE(test, alloc(test, m, &large, DMA_WINDOW_NO_CLASS));
	free_one(m, 0);
	KUNIT_ASSERT_TRUE(test, alloc(test, m, &small, DMA_WINDOW_NO_CLASS));
	KUNIT_EXPECT_EQ(test, m->pool.hiwater, 600);
	finish(test, m);
}

/* A run is found only while it is live, from any of its slots; so are figures. */
static void test_not_live(struct kunit *test)
{
	struct model *m = model(test, 1000, 0);
	struct dma_window_req req = streaming(m, 300);
	struct dma_window_client *owners[] = {
		NULL, &clients[0], NULL, DMA_WINDOW_STAND_IN, NULL,
	};
	struct dma_window_mapping *map, *seen;
	unsigned int slot, i;

	map = dma_window_pool_alloc(&m->pool, &req, DMA_WINDOW_NO_CLASS);
	KUNIT_ASSERT_NOT_NULL(test, map);
	KUNIT_EXPECT_EQ(test, dma_window_nslots(map), 300);
	for (i = 0; i < ARRAY_SIZE(owners); i++) {
		WRITE_ONCE(map->client, owners[i]);
		seen = i == 1 ? map : NULL;
		slot = slot_of(m, map);
		for (; slot < slot_of(m, map) + 300; slot++)
			KUNIT_EXPECT_PTR_EQ(test, dma_window_pool_at(&m->pool, slot), seen);
		KUNIT_EXPECT_EQ(test, used(m), owners[i] ? 300 : 0);
		KUNIT_EXPECT_FALSE(test, dma_window_pool_is_idle(&m->pool));
	}
	dma_window_pool_free(&m->pool, map);
	finish(test, m);
}

/* How many slots a run has follows from what is mapped in it. */
static void test_nslots(struct kunit *test)
{
	static const struct {
		u8	class;
		u16	begin;
		u32	size;
		u32	nslots;
	} cases[] = {
		{ DMA_WINDOW_NO_CLASS, 0, 0, 1 },
		{ DMA_WINDOW_NO_CLASS, 0, 1, 1 },
		{ DMA_WINDOW_NO_CLASS, 2047, 1, 1 },
		{ DMA_WINDOW_NO_CLASS, 2047, 2, 2 },
		{ DMA_WINDOW_NO_CLASS, 2047, DMA_WINDOW_MAX_MAPPING, SZ_2M - 31 },
		{ 0, 2047, 0, 1 },
		{ 5, 65535, 1, 32 },
	};
	struct dma_window_mapping map = {};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		map.class = cases[i].class;
		map.begin = cases[i].begin;
		map.size = cases[i].size;
		KUNIT_EXPECT_EQ(test, dma_window_nslots(&map), cases[i].nslots);
	}
	KUNIT_EXPECT_LE(test, sizeof(map), 24);
}

/* Runs that CPUs keep are left to them if they cannot help a request. */
static void test_hopeless(struct kunit *test)
{
	struct model *m = model(test, 2048, 0);
	struct dma_window_req small = streaming(m, 1), half = streaming(m, 1024), req;
	unsigned int kept, i;

	KUNIT_ASSERT_TRUE(test, alloc(test, m, &half, DMA_WINDOW_NO_CLASS));
	for (i = 0; i < 2 * m->pool.depth[0]; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &small, 0));
	while (m->nlive > 1)
		free_one(m, 1);
	kept = m->pool.used - 1024;
	KUNIT_ASSERT_GT(test, kept, 0);

	/* One slot more than there is with all that is kept. */
	req = streaming(m, 1025);
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	/* Places that no pool has: out of reach, or not within a boundary. */
	req = streaming(m, 4);
	req.align = 64;
	req.phase = 61;
	req.limit = 64;
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	req.limit = 2048;
	req.boundary = 64;
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	req = streaming(m, 64);
	req.coherent = true;
	req.align = 64;
	req.limit = 1024 + 63;
	KUNIT_EXPECT_FALSE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	KUNIT_EXPECT_EQ(test, m->pool.used, 1024 + kept);
	finish(test, m);
}

/* A CPU gets next what it keeps, also once others have drained it. */
static void test_kept(struct kunit *test)
{
	struct model *m = model(test, 4096, 0);
	struct dma_window_req req = streaming(m, 4);
	struct dma_window_mapping *map;
	unsigned int round;

	migrate_disable();
	for (round = 0; round < 3; round++) {
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 2));
		map = m->live[0];
		free_one(m, 0);
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 2));
		KUNIT_EXPECT_PTR_EQ(test, m->live[0], map);
		free_one(m, 0);
		dma_window_pool_drain(&m->pool);
	}
	migrate_enable();
	finish(test, m);
}

/*
 * Runs that are taken ahead leave as much room for runs that are given back;
 * none are taken ahead where others may need them.
 */
static void test_refill(struct kunit *test)
{
	struct model *m = model(test, 4096, 0);
	struct dma_window_req req;
	unsigned int class, scarce, kept, depth;

	for (scarce = 0; scarce < 2; scarce++) {
		for (class = 0; class < DMA_WINDOW_CLASSES; class++) {
			req = streaming(m, BIT(class));
			depth = m->pool.depth[class];
			dma_window_pool_drain(&m->pool);
			migrate_disable();
			KUNIT_EXPECT_TRUE(test, alloc(test, m, &req, class));
			kept = this_cpu_ptr(m->pool.cpu)->top[class];
			migrate_enable();
			KUNIT_EXPECT_LE(test, kept, scarce ? 0 : depth / 2);
			KUNIT_EXPECT_GE(test, kept, scarce ? 0 : min(depth / 2, 1u));
		}
		req = streaming(m, 4096 / 4 * 3);
		if (!scarce)
			KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, DMA_WINDOW_NO_CLASS));
	}
	finish(test, m);
}

/*
 * Other tasks may have filled what this CPU keeps since dma_window_pool_pop()
 * found nothing there, or the task may have come from another CPU.
 */
static void test_refill_of_full(struct kunit *test)
{
	struct model *m = model(test, 4096, 0);
	struct dma_window_req req = streaming(m, 1);
	struct dma_window_mapping *map;
	struct dma_window_cpu *c;
	unsigned int i;

	for (i = 0; i < m->pool.depth[0]; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 0));
	migrate_disable();
	c = this_cpu_ptr(m->pool.cpu);
	while (m->nlive && c->top[0] < m->pool.depth[0])
		free_one(m, 0);
	KUNIT_EXPECT_EQ(test, c->top[0], m->pool.depth[0]);
	map = dma_window_pool_alloc(&m->pool, &req, 0);
	migrate_enable();
	KUNIT_ASSERT_NOT_NULL(test, map);
	dma_window_pool_free(&m->pool, map);
	finish(test, m);
}

/*
 * A drain that looked at the first place before anything was put there, and at
 * the second one afterwards: what is in the first one is not lost.
 */
static void test_drain_is_overtaken(struct kunit *test)
{
	struct model *m = model(test, 4096, 0);
	struct dma_window_req req = streaming(m, 1);
	struct dma_window_mapping *map;
	struct dma_window_cpu *c;
	unsigned int i;
	u32 run;

	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_TRUE(test, alloc(test, m, &req, 0));
	migrate_disable();
	c = this_cpu_ptr(m->pool.cpu);
	dma_window_pool_drain(&m->pool);
	c->top[0] = 0;
	while (m->nlive)
		free_one(m, 0);
	run = xchg(&c->runs[m->pool.class_start[0] + 1], 0);
	KUNIT_EXPECT_NE(test, run, 0);
	if (run) {
		map = &m->pool.records[run - 1];
		map->class = DMA_WINDOW_NO_CLASS;
		map->begin = 0;
		map->size = 1;
		dma_window_pool_free(&m->pool, map);
	}
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_TRUE(test, alloc(test, m, &req, 0));
	migrate_enable();
	finish(test, m);
}

struct racer {
	struct model		*m;
	struct completion	done;
	unsigned int		seed;
	unsigned int		rounds;
	const char		*wrong;
};

/* The bitmap is shared: a racer finds its bits cleared if others had them. */
static void racer_gives(struct racer *r, struct dma_window_mapping *map)
{
	unsigned int i, slot = slot_of(r->m, map);

	for (i = 0; i < dma_window_nslots(map); i++)
		if (!test_and_clear_bit(slot + i, r->m->taken))
			r->wrong = "lost";
	give(r->m, map);
}

static int racer(void *arg)
{
	struct dma_window_mapping *live[16] = {};
	struct racer *r = arg;
	struct model *m = r->m;
	unsigned long end = jiffies + HZ;
	struct rnd_state state;
	unsigned int i, slot, n, most;

	prandom_seed_state(&state, r->seed);
	/* Race for a second, and on a busy machine for as long as it takes. */
	while ((time_before(jiffies, end) || r->rounds <= 100) && !r->wrong) {
		u32 random = prandom_u32_state(&state);
		unsigned int class = random / 16 % DMA_WINDOW_CLASSES;
		struct dma_window_req req = streaming(m, BIT(class));
		struct dma_window_mapping **l = &live[random % 16];

		r->rounds++;
		if (random % 1024 == 1)
			dma_window_pool_drain(&m->pool);
		if (random % 1024 == 2) {
			dma_window_pool_look(&m->pool, &n, &most);
			if (n > m->pool.nslots || most > m->pool.nslots)
				r->wrong = "figures";
		}
		if (*l) {
			racer_gives(r, *l);
			*l = NULL;
		} else {
			if (random % 512 / 256)
				class = DMA_WINDOW_NO_CLASS;
			*l = get(m, &req, class);
			if (!*l)
				continue;
			n = dma_window_nslots(*l);
			for (i = 0; i < n; i++) {
				slot = slot_of(m, *l) + i;
				if (test_and_set_bit(slot, m->taken))
					r->wrong = "taken twice";
				if (dma_window_pool_at(&m->pool, slot) != *l)
					r->wrong = "not found";
			}
		}
		cond_resched();
	}
	for (i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i])
			racer_gives(r, live[i]);
	complete(&r->done);
	return 0;
}

static void test_race(struct kunit *test)
{
	unsigned int n = 2 * num_online_cpus() + 1, i;
	/* Small enough to be full most of the time. */
	struct model *m = model(test, 700, 0);
	struct racer *racers;
	struct task_struct *task;

	racers = kunit_kcalloc(test, n, sizeof(*racers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, racers);
	for (i = 0; i < n; i++) {
		racers[i].m = m;
		racers[i].seed = i + test_seed;
		init_completion(&racers[i].done);
		task = kthread_run(racer, &racers[i], "dma-window/%u", i);
		if (IS_ERR(task)) {
			racers[i].wrong = "no thread";
			complete(&racers[i].done);
		}
	}
	for (i = 0; i < n; i++) {
		wait_for_completion(&racers[i].done);
		KUNIT_EXPECT_STREQ(test, racers[i].wrong ?: "", "");
		KUNIT_EXPECT_GT(test, racers[i].rounds, 100);
	}
	KUNIT_EXPECT_TRUE(test, bitmap_empty(m->taken, MAX_SLOTS));
	finish(test, m);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_random),
	KUNIT_CASE(test_largest),
	KUNIT_CASE(test_combs),
	KUNIT_CASE(test_last_place),
	KUNIT_CASE(test_constraints),
	KUNIT_CASE(test_shares),
	KUNIT_CASE(test_rings_first),
	KUNIT_CASE(test_floor),
	KUNIT_CASE(test_floor_room),
	KUNIT_CASE(test_drain_cpu),
	KUNIT_CASE(test_drain_before_refusal),
	KUNIT_CASE(test_retired),
	KUNIT_CASE(test_retired_late),
	KUNIT_CASE(test_small),
	KUNIT_CASE(test_hiwater),
	KUNIT_CASE(test_not_live),
	KUNIT_CASE(test_nslots),
	KUNIT_CASE(test_hopeless),
	KUNIT_CASE(test_kept),
	KUNIT_CASE(test_refill),
	KUNIT_CASE(test_refill_of_full),
	KUNIT_CASE(test_drain_is_overtaken),
	KUNIT_CASE_SLOW(test_race),
	{}
};

static struct kunit_suite suite = {
	.name = "dma_window_pool",
	.test_cases = cases,
};

kunit_test_suite(suite);
