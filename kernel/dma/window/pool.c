// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: the slots of a window.
 *
 * A bitmap under one lock. Streaming mappings are taken from the bottom up,
 * coherent allocations from the top down and not from the lower half, unless
 * they are larger than the upper: what lives long does not fragment what comes
 * and goes, and once the streaming mappings that are in flight are gone, the
 * lower half of the window is one free run. dma_window_max_request() relies on
 * that.
 */

#include <linux/bitmap.h>

#include "window.h"

/**
 * dma_window_pool_init() - make a pool with all slots free
 * @pool: the pool, not in use
 * @nslots: how many slots it has
 *
 * Context: may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int dma_window_pool_init(struct dma_window_pool *pool, unsigned int nslots)
{
	spin_lock_init(&pool->lock);
	pool->nslots = nslots;
	pool->used = 0;
	pool->hiwater = 0;
	pool->map = kvcalloc(BITS_TO_LONGS(nslots), sizeof(long), GFP_KERNEL);

	return pool->map ? 0 : -ENOMEM;
}

/**
 * dma_window_pool_destroy() - free what dma_window_pool_init() allocated
 * @pool: the pool; all its slots are free
 *
 * Context: may sleep.
 */
void dma_window_pool_destroy(struct dma_window_pool *pool)
{
	kvfree(pool->map);
}

/* What to add to a slot's index so that the wanted ones are multiples of align. */
static unsigned int align_offset(const struct dma_window_req *req)
{
	return (req->bus - req->phase) & (req->align - 1);
}

/*
 * The first slot index above @slot that starts a new boundary segment, if the
 * run at @slot reaches into it; otherwise 0.
 */
static unsigned int crosses(const struct dma_window_req *req, unsigned int slot)
{
	u64 first = req->bus + slot;
	u64 last = first + req->nslots - 1;

	if (!req->boundary || !((first ^ last) & ~(req->boundary - 1)))
		return 0;

	return round_down(last, req->boundary) - req->bus;
}

static unsigned int find_up(struct dma_window_pool *pool,
			    const struct dma_window_req *req)
{
	unsigned int start = 0;

	for (;;) {
		unsigned long slot;
		unsigned int next;

		slot = bitmap_find_next_zero_area_off(pool->map, req->limit,
						      start, req->nslots,
						      req->align - 1,
						      align_offset(req));
		if (slot + req->nslots > req->limit)
			return DMA_WINDOW_NO_SLOT;
		next = crosses(req, slot);
		if (!next)
			return slot;
		start = next;
	}
}

static unsigned int find_down(struct dma_window_pool *pool,
			      const struct dma_window_req *req)
{
	unsigned int offset = align_offset(req);
	s64 floor = req->nslots <= pool->nslots / 2 ? pool->nslots / 2 : 0;
	s64 slot = (s64)req->limit - req->nslots;

	for (;;) {
		unsigned long taken;
		unsigned int next;

		slot -= (slot + offset) & (req->align - 1);
		if (slot < floor)
			return DMA_WINDOW_NO_SLOT;

		taken = find_next_bit(pool->map, slot + req->nslots, slot);
		if (taken < slot + req->nslots) {
			/* Whatever covers this slot is no better: go below. */
			slot = (s64)taken - req->nslots;
			continue;
		}
		next = crosses(req, slot);
		if (!next)
			return slot;
		slot = (s64)next - req->nslots;
	}
}

/**
 * dma_window_pool_alloc() - take a run of slots
 * @pool: the pool
 * @req: what is wanted
 *
 * Context: any. Takes pool->lock.
 *
 * Return: the index of the first slot, or DMA_WINDOW_NO_SLOT if no run of free
 * slots fits.
 */
unsigned int dma_window_pool_alloc(struct dma_window_pool *pool,
				   const struct dma_window_req *req)
{
	unsigned int slot = DMA_WINDOW_NO_SLOT;
	unsigned long flags;

	if (req->limit > pool->nslots || req->nslots > req->limit ||
	    (req->boundary && req->nslots > req->boundary))
		return slot;

	spin_lock_irqsave(&pool->lock, flags);
	if (req->nslots <= pool->nslots - pool->used)
		slot = req->coherent ? find_down(pool, req) :
				       find_up(pool, req);
	if (slot != DMA_WINDOW_NO_SLOT) {
		bitmap_set(pool->map, slot, req->nslots);
		pool->used += req->nslots;
		pool->hiwater = max(pool->hiwater, pool->used);
	}
	spin_unlock_irqrestore(&pool->lock, flags);

	return slot;
}

/**
 * dma_window_pool_free() - give a run of slots back
 * @pool: the pool
 * @slot: index of the first
 * @nslots: how many, as allocated
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_free(struct dma_window_pool *pool, unsigned int slot,
			  unsigned int nslots)
{
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	bitmap_clear(pool->map, slot, nslots);
	pool->used -= nslots;
	spin_unlock_irqrestore(&pool->lock, flags);
}

/**
 * dma_window_pool_largest() - the largest run of free slots
 * @pool: the pool
 *
 * For messages and debugfs: it walks the whole map.
 *
 * Context: any. Takes pool->lock.
 *
 * Return: its length, in slots.
 */
unsigned int dma_window_pool_largest(struct dma_window_pool *pool)
{
	unsigned int start, end, largest = 0;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	for_each_clear_bitrange(start, end, pool->map, pool->nslots)
		largest = max(largest, end - start);
	spin_unlock_irqrestore(&pool->lock, flags);

	return largest;
}
