// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: the slots of a window.
 *
 * Two layers. The shared one knows which slots are free: a bitmap, and over its
 * words a tree whose nodes have the longest free run below them, and those at
 * their two ends (the classic segment tree for "maximal run"; J. Bentley,
 * "Solutions to Klee's rectangle problems", 1977, for the tree as such). It
 * finds the first or last run of a length in as many steps as the tree is
 * high, under one lock.
 *
 * Above it, each CPU keeps runs of the sizes that are asked for all the time,
 * a power of two of slots up to 64 KiB and naturally aligned ("magazines",
 * after J. Bonwick and J. Adams, "Magazines and vmem", 2001). A mapping that
 * finds one there takes no lock, and writes only the run's record.
 *
 * A request that finds no room takes back what all CPUs keep before it fails,
 * if that can help. For that purpose, an entry of a magazine is only ever taken
 * by xchg(); the owner puts entries in and moves the top, with interrupts
 * disabled. Whatever is done for a request, the lock is held for a few runs or
 * places at a time.
 *
 * Streaming mappings are taken from the bottom up, and leave the last sixteenth
 * alone; coherent allocations from the top down, and not from the lower half; a
 * request that is larger than its share may be anywhere. So neither kind can
 * starve the other for ever, what lives long does not fragment what comes and
 * goes, and once the streaming mappings that are in flight are gone, the lower
 * half is one free run. dma_window_max_request() relies on that.
 *
 * There is a record for each slot, and that of a run is its first slot's; so
 * nothing is allocated to map. The record that an address in the middle of a run
 * belongs to is the nearest one before it where a run begins, by a bitmap. A
 * record whose client is NULL is of no live run; nothing else is ever in the
 * field but what a look-up may compare with, so that look-ups take no lock.
 */

#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "window.h"

/* Slots in a word of the bitmaps. */
#define WORD_SLOTS	64U

/* Limit of a CPU's runs of a class: 256 KiB of each, at least 8. */
static const u16 max_depth[DMA_WINDOW_CLASSES] = { 128, 64, 32, 16, 8, 8 };

/* Runs that are taken from the shared layer at a time, if it has plenty. */
#define REFILL		8

/* Runs that are given back, and places that are tried, per section with the lock. */
#define PUT_BATCH	8
#define FIND_BATCH	32

/**
 * struct pool_search - where the search for a place is
 * @pos: slots up to here, or from here on if from above, were tried; 0 at first
 * @tries: places that may still be tried with the lock held
 * @done: all was tried
 */
struct pool_search {
	unsigned int	pos;
	unsigned int	tries;
	bool		done;
};

/* ---- The shared layer: all under pool->lock ---- */

static unsigned int word_longest_run(u64 bits)
{
	unsigned int n = 0;

	while (bits) {
		bits &= bits << 1;
		n++;
	}
	return n;
}

static void tree_update_word(struct dma_window_pool *pool, unsigned int word)
{
	struct dma_window_node *node = &pool->tree[pool->words + word];
	u64 bits = pool->free_bits[word];

	if (bits == U64_MAX) {
		node->pre = WORD_SLOTS;
		node->suf = WORD_SLOTS;
		node->max = WORD_SLOTS;
		return;
	}
	node->pre = __ffs64(~bits);
	node->suf = WORD_SLOTS - fls64(~bits);
	node->max = word_longest_run(bits);
}

static void tree_update_node(struct dma_window_pool *pool, unsigned int i,
			     unsigned int half)
{
	const struct dma_window_node *left = &pool->tree[2 * i];
	const struct dma_window_node *right = &pool->tree[2 * i + 1];
	struct dma_window_node *node = &pool->tree[i];

	node->pre = left->pre == half ? half + right->pre : left->pre;
	node->suf = right->suf == half ? half + left->suf : right->suf;
	node->max = max3(left->max, right->max, left->suf + right->pre);
}

static void pool_mark(struct dma_window_pool *pool, unsigned int slot,
		      unsigned int nslots, bool free)
{
	unsigned int first = slot / WORD_SLOTS;
	unsigned int last = (slot + nslots - 1) / WORD_SLOTS;
	unsigned int word, i, half;

	for (word = first; word <= last; word++) {
		u64 bits = U64_MAX;

		if (word == first)
			bits &= U64_MAX << (slot % WORD_SLOTS);
		if (word == last)
			bits &= U64_MAX >>
				(WORD_SLOTS - 1 - (slot + nslots - 1) % WORD_SLOTS);
		if (free)
			pool->free_bits[word] |= bits;
		else
			pool->free_bits[word] &= ~bits;
		tree_update_word(pool, word);
	}

	first += pool->words;
	last += pool->words;
	for (half = WORD_SLOTS; first > 1; half *= 2) {
		first /= 2;
		last /= 2;
		for (i = first; i <= last; i++)
			tree_update_node(pool, i, half);
	}
}

/* Bit p is set if @bits has @n ones from p on upwards; @n from 1 to 64. */
static u64 word_runs_of(u64 bits, unsigned int n)
{
	unsigned int have, step;

	for (have = 1; have < n && bits; have += step) {
		step = min(have, n - have);
		bits &= bits >> step;
	}
	return bits;
}

/*
 * The first slot from @pos on where @n free slots begin; DMA_WINDOW_NO_SLOT if
 * there is none. Walks along the words' nodes, up while there is nothing in a
 * subtree and down into the first that has something; @open is how many free
 * slots there are just before the node.
 */
static unsigned int pool_first_run(struct dma_window_pool *pool,
				   unsigned int pos, unsigned int n)
{
	unsigned int word = pos / WORD_SLOTS, i, span, at, open;
	u64 bits, hit;

	if (pos >= pool->words * WORD_SLOTS)
		return DMA_WINDOW_NO_SLOT;

	bits = pool->free_bits[word] & (U64_MAX << (pos % WORD_SLOTS));
	hit = n <= WORD_SLOTS ? word_runs_of(bits, n) : 0;
	if (hit)
		return word * WORD_SLOTS + __ffs64(hit);
	open = WORD_SLOTS - fls64(~bits);

	i = pool->words + word;
	at = (word + 1) * WORD_SLOTS;
	span = WORD_SLOTS;
	for (;;) {
		const struct dma_window_node *node;

		/* Go to the right: up from right children, then over. */
		while (i & 1) {
			i /= 2;
			span *= 2;
		}
		if (!i)
			return DMA_WINDOW_NO_SLOT;
		i++;
		for (;;) {
			node = &pool->tree[i];
			if (open + node->pre >= n)
				return at - open;
			if (node->max < n)
				break;
			if (i >= pool->words) {
				bits = pool->free_bits[i - pool->words];
				return at + __ffs64(word_runs_of(bits, n));
			}
			i *= 2;
			span /= 2;
		}
		open = node->suf == span ? open + span : node->suf;
		at += span;
	}
}

/* Mirror image of pool_first_run(): end of the last @n free slots before @pos. */
static unsigned int pool_last_run(struct dma_window_pool *pool,
				  unsigned int pos, unsigned int n)
{
	unsigned int word = (pos - 1) / WORD_SLOTS, i, span, at, open;
	u64 bits, hit;

	if (!pos)
		return DMA_WINDOW_NO_SLOT;

	bits = pool->free_bits[word] &
	       (U64_MAX >> (WORD_SLOTS - 1 - (pos - 1) % WORD_SLOTS));
	hit = n <= WORD_SLOTS ? word_runs_of(bits, n) : 0;
	if (hit)
		return word * WORD_SLOTS + fls64(hit) - 1 + n;
	open = bits == U64_MAX ? WORD_SLOTS : __ffs64(~bits);

	i = pool->words + word;
	at = word * WORD_SLOTS;
	span = WORD_SLOTS;
	for (;;) {
		const struct dma_window_node *node;

		/* Go to the left: up from left children, then over. */
		while (!(i & 1)) {
			i /= 2;
			span *= 2;
		}
		if (i == 1)
			return DMA_WINDOW_NO_SLOT;
		i--;
		for (;;) {
			node = &pool->tree[i];
			if (open + node->suf >= n)
				return at + open;
			if (node->max < n)
				break;
			if (i >= pool->words) {
				bits = pool->free_bits[i - pool->words];
				hit = word_runs_of(bits, n);
				return at - WORD_SLOTS + fls64(hit) - 1 + n;
			}
			i = 2 * i + 1;
			span /= 2;
		}
		open = node->pre == span ? open + span : node->pre;
		at -= span;
	}
}

/* The end of the free run around @slot, but not beyond @limit. */
static unsigned int pool_run_end(struct dma_window_pool *pool,
				 unsigned int slot, unsigned int limit)
{
	while (slot < limit) {
		u64 used = ~pool->free_bits[slot / WORD_SLOTS] >>
			   (slot % WORD_SLOTS);

		if (used)
			return min(slot + (unsigned int)__ffs64(used), limit);
		slot = round_down(slot, WORD_SLOTS) + WORD_SLOTS;
	}
	return limit;
}

/* The beginning of the free run that ends at @slot, but not before @floor. */
static unsigned int pool_run_start(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int floor)
{
	while (slot > floor) {
		unsigned int bit = (slot - 1) % WORD_SLOTS;
		u64 used = ~pool->free_bits[(slot - 1) / WORD_SLOTS] <<
			   (WORD_SLOTS - 1 - bit);

		if (used)
			return max(slot - (WORD_SLOTS - (unsigned int)fls64(used)),
				   floor);
		slot = round_down(slot - 1, WORD_SLOTS);
	}
	return floor;
}

/* The first slot from @slot on that is aligned as asked. */
static unsigned int req_align_up(const struct dma_window_req *req,
				 unsigned int slot)
{
	return slot + ((req->phase - (req->bus + slot)) & (req->align - 1));
}

/*
 * The first place in the free slots from @start up to @end for @req, or
 * DMA_WINDOW_NO_SLOT.
 */
static unsigned int req_place_up(const struct dma_window_req *req,
				 unsigned int start, unsigned int end)
{
	unsigned int slot = req_align_up(req, start);
	u64 first, last;

	if (slot + req->nslots > end)
		return DMA_WINDOW_NO_SLOT;
	if (!req->boundary)
		return slot;

	first = req->bus + slot;
	last = first + req->nslots - 1;
	if (!((first ^ last) & ~(req->boundary - 1)))
		return slot;

	/* Place behind the boundary: the run fits there if anywhere. */
	slot = req_align_up(req, round_down(last, req->boundary) - req->bus);
	first = req->bus + slot;
	last = first + req->nslots - 1;
	if (slot + req->nslots > end ||
	    ((first ^ last) & ~(req->boundary - 1)))
		return DMA_WINDOW_NO_SLOT;
	return slot;
}

/* Slots below which a streaming request may be placed. */
static unsigned int req_streaming_limit(const struct dma_window_pool *pool,
					const struct dma_window_req *req)
{
	unsigned int share = pool->nslots - pool->reserve;

	return req->nslots > share ? req->limit : min(req->limit, share);
}

/* Slots from which on a coherent request may be placed. */
static unsigned int req_coherent_floor(const struct dma_window_pool *pool,
				       const struct dma_window_req *req)
{
	return req->nslots <= pool->nslots / 2 ? pool->nslots / 2 : 0;
}

/* The last place for a coherent request in the free slots from @start to @end. */
static unsigned int req_place_down(const struct dma_window_req *req,
				   unsigned int start, unsigned int end)
{
	s64 slot = (s64)end - req->nslots;

	slot -= (req->bus + slot) & (req->align - 1);
	return slot >= start ? slot : DMA_WINDOW_NO_SLOT;
}

/* Tell whether a request has a place in a pool that is empty. */
static bool req_is_possible(const struct dma_window_pool *pool,
			    const struct dma_window_req *req)
{
	if (req->limit > pool->nslots || req->nslots > req->limit ||
	    (req->boundary && req->nslots > req->boundary))
		return false;
	if (req->coherent)
		return req_place_down(req, req_coherent_floor(pool, req),
				      req->limit) != DMA_WINDOW_NO_SLOT;
	return req_place_up(req, 0, req_streaming_limit(pool, req)) !=
	       DMA_WINDOW_NO_SLOT;
}

static unsigned int pool_find_up(struct dma_window_pool *pool,
				 const struct dma_window_req *req,
				 struct pool_search *search)
{
	unsigned int limit = req_streaming_limit(pool, req);
	/* A free run of so many slots has a place, wherever it begins. */
	u64 ample = (u64)req->nslots + req->align - 1 +
		    (req->boundary ? req->nslots + req->align - 1 : 0);
	unsigned int start, slot, end;

	if (!search->pos && ample <= limit) {
		start = pool_first_run(pool, 0, ample);
		if (start < limit) {
			slot = req_place_up(req, start,
					    min_t(u64, start + ample, limit));
			if (slot != DMA_WINDOW_NO_SLOT)
				return slot;
		}
	}

	/* Try the free runs one by one, before the request is refused. */
	while (search->tries) {
		start = pool_first_run(pool, search->pos, req->nslots);
		if (start >= limit) {
			search->done = true;
			break;
		}
		search->tries--;
		end = pool_run_end(pool, start, limit);
		slot = req_place_up(req, start, end);
		if (slot != DMA_WINDOW_NO_SLOT)
			return slot;
		search->pos = end;
	}
	return DMA_WINDOW_NO_SLOT;
}

/* Coherent requests have no boundary and no phase. */
static unsigned int pool_find_down(struct dma_window_pool *pool,
				   const struct dma_window_req *req,
				   struct pool_search *search)
{
	unsigned int floor = req_coherent_floor(pool, req);
	/* A free run of so many slots has a place, unless it reaches below @floor. */
	u64 ample = (u64)req->nslots + req->align - 1;
	unsigned int start, slot, end;

	if (!search->pos) {
		search->pos = req->limit;
		end = ample <= search->pos ?
			pool_last_run(pool, search->pos, ample) :
			DMA_WINDOW_NO_SLOT;
		if (end != DMA_WINDOW_NO_SLOT && end > floor) {
			start = pool_run_start(pool, end, floor);
			slot = req_place_down(req, start, end);
			if (slot != DMA_WINDOW_NO_SLOT)
				return slot;
		}
	}

	while (search->tries) {
		end = search->pos > floor ?
			pool_last_run(pool, search->pos, req->nslots) :
			DMA_WINDOW_NO_SLOT;
		if (end == DMA_WINDOW_NO_SLOT || end <= floor) {
			search->done = true;
			break;
		}
		search->tries--;
		start = pool_run_start(pool, end, floor);
		slot = req_place_down(req, start, end);
		if (slot != DMA_WINDOW_NO_SLOT)
			return slot;
		search->pos = start;
	}
	return DMA_WINDOW_NO_SLOT;
}

/* Note where a run begins, or that none does any more. */
static void pool_mark_start(struct dma_window_pool *pool, unsigned int slot,
			    bool begins)
{
	unsigned int word = slot / WORD_SLOTS;
	u64 *bits = &pool->start_bits[word];
	u64 *words = &pool->start_words[word / WORD_SLOTS];

	/* Look-ups take no lock: they only need bits that do not change. */
	if (begins)
		WRITE_ONCE(*bits, *bits | BIT_ULL(slot % WORD_SLOTS));
	else
		WRITE_ONCE(*bits, *bits & ~BIT_ULL(slot % WORD_SLOTS));
	if (*bits)
		WRITE_ONCE(*words, *words | BIT_ULL(word % WORD_SLOTS));
	else
		WRITE_ONCE(*words, *words & ~BIT_ULL(word % WORD_SLOTS));
}

/* Note that @nslots from @slot on are a run, which is nobody's yet. */
static void pool_begin(struct dma_window_pool *pool, unsigned int slot,
		       unsigned int nslots, unsigned int class)
{
	struct dma_window_mapping *map = &pool->records[slot];

	map->class = class;
	/* Of a run without class, size and begin say how long it is. */
	map->begin = 0;
	map->size = nslots << DMA_WINDOW_SLOT_SHIFT;
	pool_mark_start(pool, slot, true);
}

/* Make slots free: for the floor that they belong to, or for all. */
static void pool_give(struct dma_window_pool *pool, unsigned int slot,
		      unsigned int nslots)
{
	if (test_bit(slot, pool->floor_bits)) {
		bitmap_set(pool->floor_free, slot, nslots);
	} else {
		pool_mark(pool, slot, nslots, true);
		WRITE_ONCE(pool->used, pool->used - nslots);
	}
}

/*
 * Take a run of @class, or if that is DMA_WINDOW_NO_CLASS as long as @req says.
 * Every run but a floor's comes from here, and all go back by pool_put(). Returns
 * its first slot,
 * or DMA_WINDOW_NO_SLOT; then, unless the search is done, places are left to try.
 */
static unsigned int pool_take(struct dma_window_pool *pool,
			      const struct dma_window_req *req,
			      unsigned int class, struct pool_search *search)
{
	unsigned int slot;

	lockdep_assert_held(&pool->lock);

	if (req->nslots > pool->nslots - pool->used) {
		search->done = true;
		return DMA_WINDOW_NO_SLOT;
	}
	slot = req->coherent ? pool_find_down(pool, req, search) :
			       pool_find_up(pool, req, search);
	if (slot == DMA_WINDOW_NO_SLOT)
		return slot;

	pool_mark(pool, slot, req->nslots, false);
	WRITE_ONCE(pool->used, pool->used + req->nslots);
	pool->hiwater = max(pool->hiwater, pool->used);
	pool_begin(pool, slot, req->nslots, class);
	return slot;
}

/* Give back a run that is not live. */
static void pool_put(struct dma_window_pool *pool,
		     struct dma_window_mapping *map)
{
	unsigned int slot = dma_window_slot(pool, map);
	unsigned int nslots = dma_window_nslots(map);

	lockdep_assert_held(&pool->lock);

	pool_mark_start(pool, slot, false);
	pool_give(pool, slot, nslots);
}

/* ---- Magazines: what a CPU keeps ---- */

/* A run of a class, as the shared layer is asked for it. */
static struct dma_window_req pool_class_req(struct dma_window_pool *pool,
					    unsigned int class)
{
	return (struct dma_window_req){
		.nslots = BIT(class),
		.limit = pool->nslots,
		.align = BIT(class),
		.bus = pool->first,
	};
}

/* Take back what a CPU keeps, PUT_BATCH runs per section with the lock. */
static bool pool_drain_cpu(struct dma_window_pool *pool, unsigned int cpu)
{
	struct dma_window_cpu *c = per_cpu_ptr(pool->cpu, cpu);
	unsigned int i = 0, n;
	unsigned long flags;
	bool any = false;
	u32 run;

	for (;;) {
		while (i < pool->entries && !READ_ONCE(c->runs[i]))
			i++;
		if (i == pool->entries)
			return any;
		spin_lock_irqsave(&pool->lock, flags);
		for (n = 0; n < PUT_BATCH && i < pool->entries; n++) {
			run = xchg(&c->runs[i++], 0);
			if (!run)
				continue;
			pool_put(pool, &pool->records[run - 1]);
			any = true;
		}
		spin_unlock_irqrestore(&pool->lock, flags);
	}
}

/* How many slots CPUs keep. Others map and unmap meanwhile. */
static unsigned int pool_kept(struct dma_window_pool *pool)
{
	unsigned int cpu, class, i, kept = 0;

	for_each_possible_cpu(cpu) {
		struct dma_window_cpu *c = per_cpu_ptr(pool->cpu, cpu);

		for (class = 0; class < DMA_WINDOW_CLASSES; class++)
			for (i = 0; i < pool->depth[class]; i++)
				if (READ_ONCE(c->runs[pool->class_start[class] + i]))
					kept += BIT(class);
	}
	return kept;
}

/**
 * dma_window_pool_drain() - take back what CPUs keep
 * @pool: the pool
 *
 * Context: any. Takes pool->lock, for a few runs at a time.
 */
void dma_window_pool_drain(struct dma_window_pool *pool)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		pool_drain_cpu(pool, cpu);
}

/**
 * dma_window_pool_drain_cpu() - take back what one CPU keeps
 * @pool: the pool
 * @cpu: the CPU, which is offline
 *
 * Context: any. Takes pool->lock, for a few runs at a time.
 */
void dma_window_pool_drain_cpu(struct dma_window_pool *pool, unsigned int cpu)
{
	pool_drain_cpu(pool, cpu);
}

/* ---- Retired runs: taken back from a device whose driver forgot them ---- */

/* The first slot from @slot on where a run begins, or DMA_WINDOW_NO_SLOT. */
static unsigned int pool_next_start(struct dma_window_pool *pool,
				    unsigned int slot)
{
	unsigned int word;
	u64 bits;

	if (slot >= pool->nslots)
		return DMA_WINDOW_NO_SLOT;
	word = slot / WORD_SLOTS;
	bits = READ_ONCE(pool->start_bits[word]) & (U64_MAX << (slot % WORD_SLOTS));
	while (!bits) {
		if (++word >= pool->words)
			return DMA_WINDOW_NO_SLOT;
		bits = READ_ONCE(pool->start_bits[word]);
	}
	return word * WORD_SLOTS + __ffs64(bits);
}

static bool owner_is_retired(const struct dma_window_client *owner)
{
	return (unsigned long)owner & DMA_WINDOW_RETIRED;
}

/*
 * Free the retired run of @owner, which is a dma_window_retired(). Under the
 * lock such a run stays what it is. False if it is not @owner's, or not retired.
 */
static bool pool_put_retired(struct dma_window_pool *pool,
			     struct dma_window_mapping *map,
			     struct dma_window_client *owner)
{
	lockdep_assert_held(&pool->lock);

	if (READ_ONCE(map->client) != owner)
		return false;
	WRITE_ONCE(map->client, NULL);
	WRITE_ONCE(pool->nretired, pool->nretired - dma_window_nslots(map));
	pool_put(pool, map);
	return true;
}

/* Free the retired runs of @client, or of all clients if NULL. */
static bool pool_release_retired(struct dma_window_pool *pool,
				 struct dma_window_client *client)
{
	struct dma_window_client *owner;
	unsigned int slot = 0;
	unsigned long flags;
	bool any = false;

	/* Look without the lock, and have it for each run by itself. */
	while (READ_ONCE(pool->nretired)) {
		struct dma_window_mapping *map;

		slot = pool_next_start(pool, slot);
		if (slot == DMA_WINDOW_NO_SLOT)
			break;
		map = &pool->records[slot++];
		owner = READ_ONCE(map->client);
		if (!owner_is_retired(owner) ||
		    (client && owner != dma_window_retired(client)))
			continue;
		spin_lock_irqsave(&pool->lock, flags);
		any |= pool_put_retired(pool, map, owner);
		spin_unlock_irqrestore(&pool->lock, flags);
	}
	return any;
}

/**
 * dma_window_pool_retire() - take a live run from its client
 * @pool: the pool
 * @map: the run's record, found for @client
 * @client: whose it is
 *
 * The run is as good as free, but is the last thing that a request is given:
 * the driver that forgot the run may undo it late, and must not undo another
 * mapping by that. No lookup for @client finds the run any more.
 *
 * Context: any, under the RCU read lock since @map was found. Takes pool->lock.
 *
 * Return: false if the run was undone meanwhile.
 */
bool dma_window_pool_retire(struct dma_window_pool *pool,
			    struct dma_window_mapping *map,
			    struct dma_window_client *client)
{
	unsigned long flags;
	unsigned int n;
	bool mine;

	spin_lock_irqsave(&pool->lock, flags);
	/*
	 * If the run is undone meanwhile, @n may be anything, and does not
	 * matter. Count before marking: dma_window_pool_end_retired() looks for
	 * a mark only where there may be one.
	 */
	n = data_race(dma_window_nslots(map));
	WRITE_ONCE(pool->nretired, pool->nretired + n);
	mine = cmpxchg(&map->client, client, dma_window_retired(client)) == client;
	if (!mine)
		WRITE_ONCE(pool->nretired, pool->nretired - n);
	spin_unlock_irqrestore(&pool->lock, flags);

	return mine;
}

/**
 * dma_window_pool_end_retired() - a retired run is undone late
 * @pool: the pool
 * @client: whose it was
 * @offset: of the first byte that was mapped, in the window
 *
 * Context: any. Takes pool->lock if anything may be retired.
 *
 * Return: true if there was such a run, which is free now.
 */
bool dma_window_pool_end_retired(struct dma_window_pool *pool,
				 struct dma_window_client *client, u64 offset)
{
	struct dma_window_mapping *map;
	unsigned long flags;
	unsigned int slot;
	bool found;
	u64 begin;

	if (!READ_ONCE(pool->nretired))
		return false;

	slot = dma_window_pool_start(pool, offset >> DMA_WINDOW_SLOT_SHIFT);
	if (slot == DMA_WINDOW_NO_SLOT)
		return false;
	map = &pool->records[slot];
	begin = offset - ((u64)slot << DMA_WINDOW_SLOT_SHIFT);
	spin_lock_irqsave(&pool->lock, flags);
	found = READ_ONCE(map->client) == dma_window_retired(client) &&
		map->begin == begin &&
		pool_put_retired(pool, map, dma_window_retired(client));
	spin_unlock_irqrestore(&pool->lock, flags);

	return found;
}

/**
 * dma_window_pool_forget() - free what was retired
 * @pool: the pool
 * @client: whose it was, if nobody can undo anything for it any more; NULL for
 *	all clients
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_forget(struct dma_window_pool *pool,
			    struct dma_window_client *client)
{
	pool_release_retired(pool, client);
}

/* Take more runs of a class, for the mappings that are likely to come next. */
static void pool_refill(struct dma_window_pool *pool, unsigned int class,
			struct pool_search *search)
{
	unsigned int want = min(pool->depth[class] / 2, REFILL - 1);
	struct dma_window_req req = pool_class_req(pool, class);
	unsigned long flags;
	unsigned int slot;
	bool kept;

	while (want-- && pool->used < pool->nslots / 4 * 3) {
		slot = pool_take(pool, &req, class, search);
		if (slot == DMA_WINDOW_NO_SLOT)
			return;
		/*
		 * The magazine may have been filled since dma_window_pool_pop()
		 * looked. Disable interrupts: pool->lock does not everywhere
		 * (PREEMPT_RT).
		 */
		local_irq_save(flags);
		kept = dma_window_pool_push(pool, this_cpu_ptr(pool->cpu), slot,
					    class);
		local_irq_restore(flags);
		if (!kept) {
			pool_put(pool, &pool->records[slot]);
			return;
		}
	}
}

/* Search all places for @req, FIND_BATCH of them per section with the lock. */
static unsigned int pool_search_all(struct dma_window_pool *pool,
				    const struct dma_window_req *req,
				    unsigned int class)
{
	struct pool_search search = {};
	unsigned long flags;
	unsigned int slot;

	do {
		search.tries = FIND_BATCH;
		spin_lock_irqsave(&pool->lock, flags);
		slot = pool_take(pool, req, class, &search);
		if (slot != DMA_WINDOW_NO_SLOT && class != DMA_WINDOW_NO_CLASS)
			pool_refill(pool, class, &search);
		spin_unlock_irqrestore(&pool->lock, flags);
	} while (slot == DMA_WINDOW_NO_SLOT && !search.done);
	return slot;
}

/*
 * Find room for a request that there was none for: take back what CPUs keep, and
 * then what is retired, but only if all of that can be enough.
 */
static unsigned int pool_make_room(struct dma_window_pool *pool,
				   const struct dma_window_req *req)
{
	unsigned int slot = DMA_WINDOW_NO_SLOT;
	unsigned int kept = pool_kept(pool);
	unsigned int retired = READ_ONCE(pool->nretired);

	if ((!kept && !retired) || !req_is_possible(pool, req) ||
	    req->nslots > pool->nslots - READ_ONCE(pool->used) + kept + retired)
		return slot;

	if (kept) {
		dma_window_pool_drain(pool);
		slot = pool_search_all(pool, req, DMA_WINDOW_NO_CLASS);
	}
	if (slot == DMA_WINDOW_NO_SLOT && pool_release_retired(pool, NULL))
		slot = pool_search_all(pool, req, DMA_WINDOW_NO_CLASS);
	return slot;
}

/**
 * dma_window_pool_alloc() - take a run of slots from the shared layer
 * @pool: the pool
 * @req: what is wanted
 * @class: the size class that would do as well, or DMA_WINDOW_NO_CLASS
 *
 * Serves streaming requests that dma_window_pool_pop() found nothing for, and
 * all that have no class. Before a request is refused that could be placed, all
 * magazines are drained, and then what was retired is freed, if that can help.
 *
 * Context: any. Takes pool->lock, for a few runs or places at a time.
 *
 * Return: the run's record, its class set; if the class is DMA_WINDOW_NO_CLASS
 * the run is exactly what was asked for. Until the run is made live, by writing
 * its client, its begin and size may change only together: they say how many
 * slots it has. NULL if no run of free slots fits.
 */
struct dma_window_mapping *
dma_window_pool_alloc(struct dma_window_pool *pool,
		      const struct dma_window_req *req, unsigned int class)
{
	unsigned int slot = DMA_WINDOW_NO_SLOT;

	if (class != DMA_WINDOW_NO_CLASS) {
		struct dma_window_req aligned = pool_class_req(pool, class);

		slot = pool_search_all(pool, &aligned, class);
	}
	if (slot == DMA_WINDOW_NO_SLOT && req_is_possible(pool, req)) {
		slot = pool_search_all(pool, req, DMA_WINDOW_NO_CLASS);
		if (slot == DMA_WINDOW_NO_SLOT)
			slot = pool_make_room(pool, req);
	}
	return slot == DMA_WINDOW_NO_SLOT ? NULL : &pool->records[slot];
}

/**
 * dma_window_pool_free() - give a run of slots back to the shared layer
 * @pool: the pool
 * @map: the run's record; the run is not live
 *
 * If the run is of a class, the CPU's magazine of that class is full: half of
 * the magazine goes back, too.
 *
 * Context: any. Takes pool->lock, for a few runs at a time.
 */
void dma_window_pool_free(struct dma_window_pool *pool,
			  struct dma_window_mapping *map)
{
	unsigned int class = map->class, more, n;
	unsigned long flags;

	more = class == DMA_WINDOW_NO_CLASS ? 0 : pool->depth[class] / 2;
	do {
		spin_lock_irqsave(&pool->lock, flags);
		for (n = min(more, PUT_BATCH); n; n--, more--) {
			unsigned int slot;
			unsigned long irq;

			/* Disable interrupts as in pool_refill(). */
			local_irq_save(irq);
			slot = dma_window_pool_pop(pool, this_cpu_ptr(pool->cpu),
						   class);
			local_irq_restore(irq);
			if (slot == DMA_WINDOW_NO_SLOT) {
				more = 0;
				break;
			}
			pool_put(pool, &pool->records[slot]);
		}
		/*
		 * Put @map last: the pool may go when nothing of it is in use.
		 * See window_free().
		 */
		if (!more)
			pool_put(pool, map);
		spin_unlock_irqrestore(&pool->lock, flags);
	} while (more);
}

/* ---- Floors: slots that are kept for one user ---- */

/**
 * dma_window_pool_floor_reserve() - take slots away for a floor
 * @pool: the pool
 * @nslots: how many, at least 1
 *
 * The slots lie where coherent memory does, but not in the last sixteenth,
 * which rings that are allocated later rely on. They count as used.
 *
 * Context: any. Takes pool->lock, for a few runs or places at a time.
 *
 * Return: the first of the slots, or DMA_WINDOW_NO_SLOT if there is no such run.
 */
unsigned int dma_window_pool_floor_reserve(struct dma_window_pool *pool,
					   unsigned int nslots)
{
	struct dma_window_req req = {
		.nslots = nslots,
		.limit = pool->nslots - pool->reserve,
		.align = 1,
		.coherent = true,
	};
	struct dma_window_mapping *map;
	unsigned long flags;
	unsigned int slot;

	if (nslots > req.limit - pool->nslots / 2)
		return DMA_WINDOW_NO_SLOT;
	map = dma_window_pool_alloc(pool, &req, DMA_WINDOW_NO_CLASS);
	if (!map)
		return DMA_WINDOW_NO_SLOT;

	/* The slots are no run now: runs begin among them. */
	slot = dma_window_slot(pool, map);
	spin_lock_irqsave(&pool->lock, flags);
	pool_mark_start(pool, slot, false);
	bitmap_set(pool->floor_bits, slot, nslots);
	bitmap_set(pool->floor_free, slot, nslots);
	pool->floor_slots += nslots;
	spin_unlock_irqrestore(&pool->lock, flags);
	return slot;
}

/**
 * dma_window_pool_floor_is_free() - has a floor all of its slots?
 * @pool: the pool
 * @slot: what dma_window_pool_floor_reserve() returned
 * @nslots: how many
 *
 * Without a lock: who else frees slots of it meanwhile may be missed.
 *
 * Context: any.
 *
 * Return: true if no mapping has any of its slots.
 */
bool dma_window_pool_floor_is_free(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int nslots)
{
	return find_next_zero_bit(pool->floor_free, slot + nslots, slot) >=
	       slot + nslots;
}

/**
 * dma_window_pool_floor_release() - give the slots of a floor back
 * @pool: the pool
 * @slot: what dma_window_pool_floor_reserve() returned
 * @nslots: how many
 *
 * Slots that a mapping has are free for all when the mapping is undone.
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_floor_release(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int nslots)
{
	unsigned int end = slot + nslots, begin, stop;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	bitmap_clear(pool->floor_bits, slot, nslots);
	pool->floor_slots -= nslots;
	for (begin = slot;; begin = stop) {
		begin = find_next_bit(pool->floor_free, end, begin);
		if (begin >= end)
			break;
		stop = find_next_zero_bit(pool->floor_free, end, begin);
		bitmap_clear(pool->floor_free, begin, stop - begin);
		pool_give(pool, begin, stop - begin);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}

/* The place for @req in the free slots of a floor, or DMA_WINDOW_NO_SLOT. */
static unsigned int pool_find_floor(struct dma_window_pool *pool,
				    const struct dma_window_req *req,
				    unsigned int floor, unsigned int nslots)
{
	unsigned int end = min(floor + nslots, req->limit), begin, stop, slot;

	for (begin = floor;; begin = stop) {
		begin = find_next_bit(pool->floor_free, end, begin);
		if (begin >= end)
			return DMA_WINDOW_NO_SLOT;
		stop = find_next_zero_bit(pool->floor_free, end, begin);
		slot = req_place_up(req, begin, stop);
		if (slot != DMA_WINDOW_NO_SLOT)
			return slot;
	}
}

/**
 * dma_window_pool_floor_alloc() - take a run of slots from a floor
 * @pool: the pool
 * @req: what is wanted; not coherent
 * @floor: what dma_window_pool_floor_reserve() returned
 * @nslots: how many slots the floor has
 *
 * Context: any. Takes pool->lock.
 *
 * Return: as dma_window_pool_alloc(); the run has no class, so that no CPU
 * keeps it.
 */
struct dma_window_mapping *
dma_window_pool_floor_alloc(struct dma_window_pool *pool,
			    const struct dma_window_req *req,
			    unsigned int floor, unsigned int nslots)
{
	unsigned long flags;
	unsigned int slot;

	spin_lock_irqsave(&pool->lock, flags);
	slot = pool_find_floor(pool, req, floor, nslots);
	if (slot != DMA_WINDOW_NO_SLOT) {
		bitmap_clear(pool->floor_free, slot, req->nslots);
		pool_begin(pool, slot, req->nslots, DMA_WINDOW_NO_CLASS);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	return slot == DMA_WINDOW_NO_SLOT ? NULL : &pool->records[slot];
}

/**
 * dma_window_pool_is_idle() - is nothing in use any more?
 * @pool: the pool, which nobody maps in any more
 *
 * Takes back what CPUs keep first; retired runs count as free. A run whose
 * mapping is being undone counts as in use until a CPU keeps it, or it is free.
 *
 * Context: any. Takes pool->lock, for a few runs at a time.
 *
 * Return: true if so.
 */
bool dma_window_pool_is_idle(struct dma_window_pool *pool)
{
	unsigned long flags;
	bool idle;

	dma_window_pool_drain(pool);
	spin_lock_irqsave(&pool->lock, flags);
	idle = pool->used == pool->nretired;
	spin_unlock_irqrestore(&pool->lock, flags);
	return idle;
}

/* The last set bit of @bits up to @bit; @bits has one there. */
static unsigned int last_bit(u64 bits, unsigned int bit)
{
	return fls64(bits & (U64_MAX >> (WORD_SLOTS - 1 - bit))) - 1;
}

static bool any_bit(u64 bits, unsigned int bit)
{
	return bits & (U64_MAX >> (WORD_SLOTS - 1 - bit));
}

/**
 * dma_window_pool_start() - where the run begins that a slot may belong to
 * @pool: the pool
 * @slot: the slot, below pool->nslots
 *
 * Context: any. Exact if the slot is part of a run that stays.
 *
 * Return: the nearest slot up to @slot at which a run begins, or
 * DMA_WINDOW_NO_SLOT.
 */
unsigned int dma_window_pool_start(struct dma_window_pool *pool,
				   unsigned int slot)
{
	unsigned int word = slot / WORD_SLOTS, i, bit;
	u64 bits = READ_ONCE(pool->start_bits[word]), words;

	if (any_bit(bits, slot % WORD_SLOTS))
		return word * WORD_SLOTS + last_bit(bits, slot % WORD_SLOTS);
	if (!word--)
		return DMA_WINDOW_NO_SLOT;

	/* Search the words before by the bitmap of those that are not 0. */
	i = word / WORD_SLOTS;
	bit = word % WORD_SLOTS;
	words = READ_ONCE(pool->start_words[i]);
	while (!any_bit(words, bit)) {
		if (!i--)
			return DMA_WINDOW_NO_SLOT;
		bit = WORD_SLOTS - 1;
		words = READ_ONCE(pool->start_words[i]);
	}
	word = i * WORD_SLOTS + last_bit(words, bit);
	bits = READ_ONCE(pool->start_bits[word]);
	/* The bits of a word may go between the looks, if they are others'. */
	return bits ? word * WORD_SLOTS + fls64(bits) - 1 : DMA_WINDOW_NO_SLOT;
}

/* Tell whether the record of a run with that owner is found by an address. */
static bool owner_is_live(const struct dma_window_client *owner)
{
	return owner && owner != DMA_WINDOW_STAND_IN;
}

/**
 * dma_window_pool_at() - the live run that a slot belongs to
 * @pool: the pool
 * @slot: the slot, below pool->nslots
 *
 * Context: any. If the slot is not the caller's, the run may be another one by
 * the time it is looked at.
 *
 * Return: the run's record, or NULL if nothing is mapped there.
 */
struct dma_window_mapping *dma_window_pool_at(struct dma_window_pool *pool,
					      unsigned int slot)
{
	unsigned int start = dma_window_pool_start(pool, slot);
	struct dma_window_mapping *map;

	if (start == DMA_WINDOW_NO_SLOT)
		return NULL;
	map = &pool->records[start];
	/* Read @client before the rest: pairs with mapping_publish(). */
	if (!owner_is_live(smp_load_acquire(&map->client)))
		return NULL;
	/* The length of a run that is others' may be any. */
	return slot - start < data_race(dma_window_nslots(map)) ? map : NULL;
}

/**
 * dma_window_pool_next() - walk over the live runs
 * @pool: the pool
 * @slot: where to begin
 *
 * Context: any; see dma_window_pool_at().
 *
 * Return: the first slot from @slot on at which a live run begins, or
 * DMA_WINDOW_NO_SLOT.
 */
unsigned int dma_window_pool_next(struct dma_window_pool *pool,
				  unsigned int slot)
{
	for (;; slot++) {
		slot = pool_next_start(pool, slot);
		if (slot == DMA_WINDOW_NO_SLOT ||
		    owner_is_live(READ_ONCE(pool->records[slot].client)))
			return slot;
	}
}

/* The longest part of the slots from @begin up to @end that is no floor's. */
static unsigned int pool_gap(struct dma_window_pool *pool, unsigned int begin,
			     unsigned int end)
{
	unsigned int stop, longest = 0;

	for (; begin < end; begin = find_next_zero_bit(pool->floor_free, end, stop)) {
		stop = find_next_bit(pool->floor_free, end, begin);
		longest = max(longest, stop - begin);
	}
	return longest;
}

/**
 * dma_window_pool_look() - how much is in use, and how much in one piece is not
 * @pool: the pool
 * @used: filled with the slots in use
 * @largest: filled with the length of the largest run of other slots
 *
 * Runs that CPUs keep, and retired ones, are not in use, but all of a floor is; a run
 * whose mapping is being made, or undone, is not at that moment. Changes nothing
 * and takes no lock: the figures are exact if nobody maps or unmaps meanwhile.
 *
 * Context: any. Takes a few ns for each run in use.
 */
void dma_window_pool_look(struct dma_window_pool *pool, unsigned int *used,
			  unsigned int *largest)
{
	unsigned int slot, end = 0, n;
	struct dma_window_client *owner;

	*used = bitmap_weight(pool->floor_free, pool->nslots);
	*largest = 0;
	for (slot = 0;; slot++) {
		slot = pool_next_start(pool, slot);
		if (slot == DMA_WINDOW_NO_SLOT)
			break;
		/* Read @client before the rest, as in dma_window_pool_at(). */
		owner = smp_load_acquire(&pool->records[slot].client);
		if (!owner || owner_is_retired(owner))
			continue;
		/* The length of a run that comes or goes may be any. */
		n = data_race(dma_window_nslots(&pool->records[slot]));
		*largest = max(*largest, pool_gap(pool, end, slot));
		end = max(end, min(slot + n, pool->nslots));
		*used += n;
	}
	*largest = max(*largest, pool_gap(pool, end, pool->nslots));
	*used = min(*used, pool->nslots);
}

static size_t pool_cpu_bytes(const struct dma_window_pool *pool)
{
	return struct_size_t(struct dma_window_cpu, runs, pool->entries);
}

static size_t pool_records_bytes(const struct dma_window_pool *pool)
{
	return array_size(pool->nslots, sizeof(*pool->records));
}

/* Words of @start_words. */
static unsigned int pool_start_words(const struct dma_window_pool *pool)
{
	return DIV_ROUND_UP(pool->words, WORD_SLOTS);
}

/* The bitmaps and the tree are one allocation, at pool->free_bits. */
static size_t pool_bits_bytes(const struct dma_window_pool *pool)
{
	return array_size(4 * (size_t)pool->words + pool_start_words(pool),
			  sizeof(u64)) +
	       array_size(2 * (size_t)pool->words, sizeof(*pool->tree));
}

/* Bytes that the allocator takes for an array of @bytes. */
static size_t array_cost(size_t bytes)
{
	return bytes <= PAGE_SIZE / 2 ? kmalloc_size_roundup(bytes) :
					PAGE_ALIGN(bytes);
}

/*
 * Allocate an array, all zeroes: of whole pages, not of a power of two of them,
 * and in the linear map if that has the room. Each mapping writes a record, and
 * huge pages save misses of the TLB.
 */
static void *array_alloc(size_t bytes)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO;
	void *array = NULL;

	if (bytes <= PAGE_SIZE / 2)
		return kmalloc(bytes, gfp);
	if (get_order(bytes) <= MAX_PAGE_ORDER)
		array = alloc_pages_exact(bytes, gfp | __GFP_NOWARN | __GFP_NORETRY);
	return array ?: vzalloc(bytes);
}

static void array_free(void *array, size_t bytes)
{
	if (bytes <= PAGE_SIZE / 2)
		kfree(array);
	else if (is_vmalloc_addr(array))
		vfree(array);
	else if (array)
		free_pages_exact(array, bytes);
}

/**
 * dma_window_pool_metadata() - what a pool costs besides its slots
 * @pool: the pool
 *
 * Context: any.
 *
 * Return: bytes that the allocators really take, without struct dma_window_pool.
 */
size_t dma_window_pool_metadata(struct dma_window_pool *pool)
{
	return array_cost(pool_records_bytes(pool)) +
	       array_cost(pool_bits_bytes(pool)) +
	       num_possible_cpus() * pool_cpu_bytes(pool);
}

/**
 * dma_window_pool_init() - make a pool with all slots free
 * @pool: the pool, not in use
 * @nslots: how many slots it has, at most INT_MAX
 * @first: number of the pool's first slot in memory (its physical address in
 *	units of slots): what "naturally aligned" refers to
 *
 * Context: may sleep.
 *
 * Return: 0, or -ENOMEM; dma_window_pool_destroy() is right after both.
 */
int dma_window_pool_init(struct dma_window_pool *pool, unsigned int nslots,
			 u64 first)
{
	unsigned int class, share, word;

	spin_lock_init(&pool->lock);
	pool->nslots = nslots;
	pool->first = first & (DMA_WINDOW_MAX_CLASS_SLOTS - 1);
	pool->reserve = nslots / 16;
	pool->nretired = 0;
	pool->used = 0;
	pool->hiwater = 0;
	pool->floor_slots = 0;

	/* All CPUs together may keep only a part of even a small pool. */
	pool->entries = 0;
	for (class = 0; class < DMA_WINDOW_CLASSES; class++) {
		share = nslots / 32 / num_possible_cpus() >> class;
		pool->depth[class] = min_t(unsigned int, share, max_depth[class]);
		pool->class_start[class] = pool->entries;
		pool->entries += pool->depth[class];
	}

	pool->words = roundup_pow_of_two(DIV_ROUND_UP(nslots, WORD_SLOTS));
	pool->records = array_alloc(pool_records_bytes(pool));
	pool->free_bits = array_alloc(pool_bits_bytes(pool));
	pool->cpu = __alloc_percpu(pool_cpu_bytes(pool), SMP_CACHE_BYTES);
	if (!pool->records || !pool->free_bits || !pool->cpu)
		return -ENOMEM;
	pool->start_bits = pool->free_bits + pool->words;
	pool->start_words = pool->start_bits + pool->words;
	pool->floor_bits = (void *)(pool->start_words + pool_start_words(pool));
	pool->floor_free = pool->floor_bits + pool->words;
	pool->tree = (void *)(pool->floor_free + pool->words);

	for (word = 0; word < pool->words; word++)
		tree_update_word(pool, word);
	pool_mark(pool, 0, nslots, true);
	return 0;
}

/**
 * dma_window_pool_destroy() - free what dma_window_pool_init() allocated
 * @pool: the pool; nothing is in use, or dma_window_pool_init() failed
 *
 * Context: may sleep.
 */
void dma_window_pool_destroy(struct dma_window_pool *pool)
{
	free_percpu(pool->cpu);
	array_free(pool->free_bits, pool_bits_bytes(pool));
	array_free(pool->records, pool_records_bytes(pool));
}
