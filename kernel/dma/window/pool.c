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
 * a power of two of slots up to 64 KiB and naturally aligned, together with
 * the records of their last mappings ("magazines", after J. Bonwick and J.
 * Adams, "Magazines and vmem", 2001). A mapping that finds one there takes no
 * lock and touches no memory that other CPUs write.
 *
 * A request that finds no room takes back what all CPUs keep before it fails.
 * For that purpose, an entry of a magazine is only ever taken by xchg(); the
 * owner puts entries in and moves the top, with interrupts disabled.
 *
 * Streaming mappings are taken from the bottom up, and leave the last sixteenth
 * alone; coherent allocations from the top down, and not from the lower half; a
 * request that is larger than its share may be anywhere. So neither kind can
 * starve the other for ever, what lives long does not fragment what comes and
 * goes, and once the streaming mappings that are in flight are gone, the lower
 * half is one free run. dma_window_max_request() relies on that.
 *
 * The record that owns a slot is found through leaves of 64 slots, which exist
 * while runs begin in them. Only the first slot of a run has its record there:
 * a slot in the middle of a run belongs to the nearest run before it. A leaf
 * that a run covers without beginning in it is that run's, with a mark.
 */

#include <linux/bitops.h>
#include <linux/cpuhotplug.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "window.h"

#define LEAF_SLOTS	DMA_WINDOW_LEAF_SLOTS
#define COVERED		DMA_WINDOW_COVERED

/* Limit of a CPU's runs of a class: 256 KiB of each, at least 8. */
static const u16 max_depth[DMA_WINDOW_CLASSES] = { 128, 64, 32, 16, 8, 8 };

/* Runs that are taken from the shared layer at a time, if it has plenty. */
#define REFILL		8

static struct kmem_cache *mapping_cache;

static int __init mapping_cache_init(void)
{
	/*
	 * Records are type-safe by RCU: a lookup of an address that is not the
	 * caller's may look at the record that the address leads to.
	 */
	mapping_cache = kmem_cache_create("dma_window_mapping",
					  sizeof(struct dma_window_mapping), 0,
					  SLAB_PANIC | SLAB_TYPESAFE_BY_RCU,
					  NULL);
	return 0;
}
core_initcall(mapping_cache_init); /* devices are probed from arch_initcall_sync on */

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
		node->pre = LEAF_SLOTS;
		node->suf = LEAF_SLOTS;
		node->max = LEAF_SLOTS;
		return;
	}
	node->pre = __ffs64(~bits);
	node->suf = LEAF_SLOTS - fls64(~bits);
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
	unsigned int first = slot / LEAF_SLOTS;
	unsigned int last = (slot + nslots - 1) / LEAF_SLOTS;
	unsigned int word, i, half;

	for (word = first; word <= last; word++) {
		u64 bits = U64_MAX;

		if (word == first)
			bits &= U64_MAX << (slot % LEAF_SLOTS);
		if (word == last)
			bits &= U64_MAX >>
				(LEAF_SLOTS - 1 - (slot + nslots - 1) % LEAF_SLOTS);
		if (free)
			pool->free_bits[word] |= bits;
		else
			pool->free_bits[word] &= ~bits;
		tree_update_word(pool, word);
	}

	first += pool->words;
	last += pool->words;
	for (half = LEAF_SLOTS; first > 1; half *= 2) {
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
	unsigned int word = pos / LEAF_SLOTS, i, span, at, open;
	u64 bits, hit;

	if (pos >= pool->words * LEAF_SLOTS)
		return DMA_WINDOW_NO_SLOT;

	bits = pool->free_bits[word] & (U64_MAX << (pos % LEAF_SLOTS));
	hit = n <= LEAF_SLOTS ? word_runs_of(bits, n) : 0;
	if (hit)
		return word * LEAF_SLOTS + __ffs64(hit);
	open = LEAF_SLOTS - fls64(~bits);

	i = pool->words + word;
	at = (word + 1) * LEAF_SLOTS;
	span = LEAF_SLOTS;
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
	unsigned int word = (pos - 1) / LEAF_SLOTS, i, span, at, open;
	u64 bits, hit;

	if (!pos)
		return DMA_WINDOW_NO_SLOT;

	bits = pool->free_bits[word] &
	       (U64_MAX >> (LEAF_SLOTS - 1 - (pos - 1) % LEAF_SLOTS));
	hit = n <= LEAF_SLOTS ? word_runs_of(bits, n) : 0;
	if (hit)
		return word * LEAF_SLOTS + fls64(hit) - 1 + n;
	open = bits == U64_MAX ? LEAF_SLOTS : __ffs64(~bits);

	i = pool->words + word;
	at = word * LEAF_SLOTS;
	span = LEAF_SLOTS;
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
				return at - LEAF_SLOTS + fls64(hit) - 1 + n;
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
		u64 used = ~pool->free_bits[slot / LEAF_SLOTS] >>
			   (slot % LEAF_SLOTS);

		if (used)
			return min(slot + (unsigned int)__ffs64(used), limit);
		slot = round_down(slot, LEAF_SLOTS) + LEAF_SLOTS;
	}
	return limit;
}

/* The beginning of the free run that ends at @slot, but not before @floor. */
static unsigned int pool_run_start(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int floor)
{
	while (slot > floor) {
		unsigned int bit = (slot - 1) % LEAF_SLOTS;
		u64 used = ~pool->free_bits[(slot - 1) / LEAF_SLOTS] <<
			   (LEAF_SLOTS - 1 - bit);

		if (used)
			return max(slot - (LEAF_SLOTS - (unsigned int)fls64(used)),
				   floor);
		slot = round_down(slot - 1, LEAF_SLOTS);
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

static unsigned int pool_find_up(struct dma_window_pool *pool,
				 const struct dma_window_req *req)
{
	unsigned int share = pool->nslots - pool->reserve;
	unsigned int limit = req->nslots > share ? req->limit :
						   min(req->limit, share);
	/* A free run of so many slots has a place, wherever it begins. */
	u64 ample = (u64)req->nslots + req->align - 1 +
		    (req->boundary ? req->nslots + req->align - 1 : 0);
	unsigned int start, slot, pos;

	if (req->nslots > limit)
		return DMA_WINDOW_NO_SLOT;

	if (ample <= limit) {
		start = pool_first_run(pool, 0, ample);
		if (start < limit) {
			slot = req_place_up(req, start,
					    min_t(u64, start + ample, limit));
			if (slot != DMA_WINDOW_NO_SLOT)
				return slot;
		}
	}

	/* Try the free runs one by one, before the request is refused. */
	for (pos = 0; pos < limit; pos = pool_run_end(pool, start, limit)) {
		start = pool_first_run(pool, pos, req->nslots);
		if (start >= limit)
			break;
		slot = req_place_up(req, start,
				    pool_run_end(pool, start, limit));
		if (slot != DMA_WINDOW_NO_SLOT)
			return slot;
	}
	return DMA_WINDOW_NO_SLOT;
}

/* The last place for @req above @floor in a run of @ample slots or more. */
static unsigned int pool_place_down(struct dma_window_pool *pool,
				    const struct dma_window_req *req,
				    unsigned int floor, u64 ample)
{
	unsigned int pos, start, end;
	s64 slot;

	for (pos = req->limit; pos > floor && pos >= ample; pos = start) {
		end = pool_last_run(pool, pos, ample);
		if (end == DMA_WINDOW_NO_SLOT || end <= floor)
			break;
		start = pool_run_start(pool, end, floor);
		slot = (s64)end - req->nslots;
		slot -= (req->bus + slot) & (req->align - 1);
		if (slot >= start)
			return slot;
	}
	return DMA_WINDOW_NO_SLOT;
}

/* Coherent requests have no boundary and no phase. */
static unsigned int pool_find_down(struct dma_window_pool *pool,
				   const struct dma_window_req *req)
{
	unsigned int floor = req->nslots <= pool->nslots / 2 ?
			     pool->nslots / 2 : 0;
	unsigned int slot;

	/* Take a run that fits in any case; else try one by one. */
	slot = pool_place_down(pool, req, floor,
			       (u64)req->nslots + req->align - 1);
	if (slot == DMA_WINDOW_NO_SLOT)
		slot = pool_place_down(pool, req, floor, req->nslots);
	return slot;
}

static struct dma_window_leaf *pool_leaf_get(struct dma_window_pool *pool,
					     unsigned int slot)
{
	struct dma_window_leaf *leaf = pool->leaves[slot / LEAF_SLOTS];

	if (!leaf) {
		leaf = kzalloc(sizeof(*leaf), GFP_NOWAIT | __GFP_NOWARN);
		if (!leaf)
			return NULL;
		pool->nleaves++;
		/* Pair with the address dependency in dma_window_pool_at(). */
		smp_store_release(&pool->leaves[slot / LEAF_SLOTS], leaf);
	}
	leaf->nruns++;
	return leaf;
}

/* Set the leaves that a run covers, or uncovers, without beginning in them. */
static void pool_cover(struct dma_window_pool *pool,
		       struct dma_window_mapping *map, void *value)
{
	unsigned int end = map->slot + map->nslots;
	unsigned int i = map->slot / LEAF_SLOTS + 1;

	for (; (i + 1) * LEAF_SLOTS <= end; i++) {
		/*
		 * Write the record before what leads to it. Pairs with the
		 * address dependency in dma_window_pool_at().
		 */
		smp_store_release(&pool->leaves[i], value);
	}
}

/* Take a run for @map. Returns 0, -ENOSPC, or -ENOMEM. */
static int pool_take(struct dma_window_pool *pool,
		     const struct dma_window_req *req,
		     struct dma_window_mapping *map)
{
	struct dma_window_leaf *leaf;
	unsigned int slot;

	lockdep_assert_held(&pool->lock);

	if (req->nslots > pool->nslots - pool->used)
		return -ENOSPC;
	slot = req->coherent ? pool_find_down(pool, req) :
			       pool_find_up(pool, req);
	if (slot == DMA_WINDOW_NO_SLOT)
		return -ENOSPC;
	leaf = pool_leaf_get(pool, slot);
	if (!leaf)
		return -ENOMEM;

	pool_mark(pool, slot, req->nslots, false);
	pool->used += req->nslots;
	pool->hiwater = max(pool->hiwater, pool->used);
	map->slot = slot;
	map->nslots = req->nslots;
	map->entry = &leaf->live[slot % LEAF_SLOTS];
	pool_cover(pool, map, (void *)((unsigned long)map | COVERED));
	return 0;
}

static void pool_put(struct dma_window_pool *pool,
		     struct dma_window_mapping *map)
{
	struct dma_window_leaf *leaf = pool->leaves[map->slot / LEAF_SLOTS];

	lockdep_assert_held(&pool->lock);

	pool_cover(pool, map, NULL);
	pool_mark(pool, map->slot, map->nslots, true);
	pool->used -= map->nslots;
	if (!--leaf->nruns) {
		WRITE_ONCE(pool->leaves[map->slot / LEAF_SLOTS], NULL);
		pool->nleaves--;
		kfree_rcu(leaf, rcu);
	}
	kmem_cache_free(mapping_cache, map);
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

static bool pool_drain_cpu(struct dma_window_pool *pool, unsigned int cpu)
{
	struct dma_window_cpu *c = per_cpu_ptr(pool->cpu, cpu);
	struct dma_window_mapping *map;
	bool any = false;
	unsigned int i;

	lockdep_assert_held(&pool->lock);

	for (i = 0; i < pool->entries; i++) {
		if (!READ_ONCE(c->runs[i]))
			continue;
		map = xchg(&c->runs[i], NULL);
		if (map) {
			pool_put(pool, map);
			any = true;
		}
	}
	return any;
}

static bool pool_drain(struct dma_window_pool *pool)
{
	unsigned int cpu;
	bool any = false;

	for_each_possible_cpu(cpu)
		any |= pool_drain_cpu(pool, cpu);
	return any;
}

/**
 * dma_window_pool_drain() - take back what CPUs keep
 * @pool: the pool
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_drain(struct dma_window_pool *pool)
{
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_drain(pool);
	spin_unlock_irqrestore(&pool->lock, flags);
}

/**
 * dma_window_pool_drain_cpu() - take back what one CPU keeps
 * @pool: the pool
 * @cpu: the CPU, which is offline
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_drain_cpu(struct dma_window_pool *pool, unsigned int cpu)
{
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_drain_cpu(pool, cpu);
	spin_unlock_irqrestore(&pool->lock, flags);
}

/* ---- Retired runs: taken back from a device whose driver forgot them ---- */

/*
 * Claim a run that is live for @owner; false if somebody else undoes it first.
 * Under pool->lock no record is freed, but a CPU may keep the run and map it
 * for another device between the look at its owner and the claim: then give the
 * run back at once. An unmap in these few instructions finds nothing: see
 * dma_window_bounce_claim_again().
 */
static bool pool_claim(struct dma_window_mapping *map,
		       struct dma_window_client *owner)
{
	if (READ_ONCE(map->client) != owner ||
	    cmpxchg(map->entry, map, NULL) != map)
		return false;
	if (likely(READ_ONCE(map->client) == owner))
		return true;
	/* Pair as in mapping_publish(). */
	smp_store_release(map->entry, map);
	return false;
}

/* The first retired run from *@slot on, or NULL; *@slot is the run's first. */
static struct dma_window_mapping *
pool_next_retired(struct dma_window_pool *pool, unsigned int *slot)
{
	struct dma_window_mapping *map;
	struct dma_window_leaf *leaf;

	lockdep_assert_held(&pool->lock);

	for (;; (*slot)++) {
		*slot = dma_window_pool_next(pool, *slot);
		if (*slot == DMA_WINDOW_NO_SLOT)
			return NULL;
		leaf = pool->leaves[*slot / LEAF_SLOTS];
		map = READ_ONCE(leaf->live[*slot % LEAF_SLOTS]);
		if (map && (unsigned long)READ_ONCE(map->client) &
			   DMA_WINDOW_RETIRED)
			return map;
	}
}

/* Free the retired runs of @client, or of all clients if NULL. */
static bool pool_release_retired(struct dma_window_pool *pool,
				 struct dma_window_client *client)
{
	struct dma_window_mapping *map;
	bool any = false, left = false;
	unsigned int slot = 0;

	lockdep_assert_held(&pool->lock);

	if (!pool->retired)
		return false;
	rcu_read_lock();
	while ((map = pool_next_retired(pool, &slot))) {
		slot += map->nslots;
		if (client && map->client != dma_window_retired(client)) {
			left = true;
		} else if (pool_claim(map, map->client)) {
			pool_put(pool, map);
			any = true;
		}
	}
	rcu_read_unlock();
	WRITE_ONCE(pool->retired, left);
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
	bool mine;

	spin_lock_irqsave(&pool->lock, flags);
	mine = pool_claim(map, client);
	if (mine) {
		WRITE_ONCE(map->client, dma_window_retired(client));
		WRITE_ONCE(pool->retired, true);
		/* Write the record before its entry: see mapping_publish(). */
		smp_store_release(map->entry, map);
	}
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
	bool found;

	if (!READ_ONCE(pool->retired))
		return false;

	rcu_read_lock();
	spin_lock_irqsave(&pool->lock, flags);
	map = dma_window_pool_at(pool, offset >> DMA_WINDOW_SLOT_SHIFT);
	found = map && map->offset == offset &&
		pool_claim(map, dma_window_retired(client));
	if (found)
		pool_put(pool, map);
	spin_unlock_irqrestore(&pool->lock, flags);
	rcu_read_unlock();

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
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_release_retired(pool, client);
	spin_unlock_irqrestore(&pool->lock, flags);
}

/* Take more runs of a class, for the mappings that are likely to come next. */
static void pool_refill(struct dma_window_pool *pool, unsigned int class)
{
	unsigned int want = min(pool->depth[class] / 2, REFILL - 1);
	struct dma_window_req req = pool_class_req(pool, class);
	unsigned long flags;
	bool kept;

	while (want-- && pool->used < pool->nslots / 4 * 3) {
		struct dma_window_mapping *map;

		map = kmem_cache_alloc(mapping_cache, GFP_NOWAIT | __GFP_NOWARN);
		if (!map)
			return;
		if (pool_take(pool, &req, map)) {
			kmem_cache_free(mapping_cache, map);
			return;
		}
		map->class = class;
		/*
		 * The magazine may have been filled since dma_window_pool_pop()
		 * looked. Disable interrupts: pool->lock does not everywhere
		 * (PREEMPT_RT).
		 */
		local_irq_save(flags);
		kept = dma_window_pool_push(pool, this_cpu_ptr(pool->cpu), map);
		local_irq_restore(flags);
		if (!kept) {
			pool_put(pool, map);
			return;
		}
	}
}

/**
 * dma_window_pool_alloc() - take a run of slots from the shared layer
 * @pool: the pool
 * @req: what is wanted
 * @class: the size class that would do as well, or DMA_WINDOW_NO_CLASS
 * @gfp: for the record
 *
 * Serves streaming requests that dma_window_pool_pop() found nothing for, and
 * all that have no class. Before it refuses a request, it drains all magazines,
 * and then frees what was retired.
 *
 * Context: any if @gfp does not allow sleeping. Takes pool->lock.
 *
 * Return: the run's record, its slot, nslots, entry and class set; if the class
 * is DMA_WINDOW_NO_CLASS the run is exactly what was asked for. -ENOSPC if no
 * run of free slots fits, -ENOMEM if there is no memory for its record.
 */
struct dma_window_mapping *
dma_window_pool_alloc(struct dma_window_pool *pool,
		      const struct dma_window_req *req, unsigned int class,
		      gfp_t gfp)
{
	struct dma_window_mapping *map;
	unsigned long flags;
	int ret = -ENOSPC;

	if (req->limit > pool->nslots || req->nslots > req->limit ||
	    (req->boundary && req->nslots > req->boundary))
		return ERR_PTR(-ENOSPC);

	map = kmem_cache_alloc(mapping_cache, gfp);
	if (!map)
		return ERR_PTR(-ENOMEM);

	spin_lock_irqsave(&pool->lock, flags);
	map->class = DMA_WINDOW_NO_CLASS;
	if (class != DMA_WINDOW_NO_CLASS) {
		struct dma_window_req aligned = pool_class_req(pool, class);

		ret = pool_take(pool, &aligned, map);
		if (!ret) {
			map->class = class;
			pool_refill(pool, class);
		}
	}
	if (ret == -ENOSPC)
		ret = pool_take(pool, req, map);
	if (ret == -ENOSPC && pool_drain(pool))
		ret = pool_take(pool, req, map);
	if (ret == -ENOSPC && pool_release_retired(pool, NULL))
		ret = pool_take(pool, req, map);
	spin_unlock_irqrestore(&pool->lock, flags);

	if (ret) {
		kmem_cache_free(mapping_cache, map);
		return ERR_PTR(ret);
	}
	return map;
}

/**
 * dma_window_pool_free() - give a run of slots back to the shared layer
 * @pool: the pool
 * @map: the run's record, which is gone then; nothing leads to it any more
 *
 * If the run is of a class, the CPU's magazine of that class is full: half of
 * the magazine goes back, too.
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_pool_free(struct dma_window_pool *pool,
			  struct dma_window_mapping *map)
{
	unsigned int class = map->class, n;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_put(pool, map);
	if (class != DMA_WINDOW_NO_CLASS) {
		for (n = pool->depth[class] / 2; n; n--) {
			unsigned long irq;

			/* Disable interrupts as in pool_refill(). */
			local_irq_save(irq);
			map = dma_window_pool_pop(pool, this_cpu_ptr(pool->cpu),
						  class);
			local_irq_restore(irq);
			if (!map)
				break;
			pool_put(pool, map);
		}
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}

/**
 * dma_window_pool_at() - the live run that a slot belongs to
 * @pool: the pool
 * @slot: the slot, below pool->nslots
 *
 * Context: any, under the RCU read lock. If the slot is not the caller's, the
 * record may be freed meanwhile, and be another run's: its memory stays a
 * record for as long as the lock is held.
 *
 * Return: the run's record, or NULL if nothing is mapped there.
 */
struct dma_window_mapping *dma_window_pool_at(struct dma_window_pool *pool,
					      unsigned int slot)
{
	unsigned int i = slot / LEAF_SLOTS, bit = slot % LEAF_SLOTS;
	struct dma_window_mapping *map;
	int back;

	/* Search the slot's leaf; then one that a run may reach over from. */
	for (back = 0; back < 2; back++, i--, bit = LEAF_SLOTS - 1) {
		unsigned long word = (unsigned long)READ_ONCE(pool->leaves[i]);
		struct dma_window_leaf *leaf = (void *)word;

		if (word & COVERED) {
			map = (void *)(word & ~COVERED);
			/*
			 * A run in a magazine, or in the making, is not live.
			 */
			if (READ_ONCE(*READ_ONCE(map->entry)) != map)
				return NULL;
			goto found;
		}
		if (leaf) {
			do {
				map = READ_ONCE(leaf->live[bit]);
				if (map)
					goto found;
			} while (bit--);
		}
		if (!i)
			return NULL;
	}
	return NULL;

found:
	return slot - READ_ONCE(map->slot) < READ_ONCE(map->nslots) ? map : NULL;
}

/**
 * dma_window_pool_next() - walk over the live runs
 * @pool: the pool
 * @slot: where to begin
 *
 * Context: any, under the RCU read lock; see dma_window_pool_at().
 *
 * Return: the first slot from @slot on at which a live run begins, or
 * DMA_WINDOW_NO_SLOT.
 */
unsigned int dma_window_pool_next(struct dma_window_pool *pool,
				  unsigned int slot)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "pool walked outside RCU");

	for (; slot < pool->nslots; slot++) {
		unsigned long word = (unsigned long)
			READ_ONCE(pool->leaves[slot / LEAF_SLOTS]);
		struct dma_window_leaf *leaf = (void *)word;

		if (!leaf || (word & COVERED))
			slot = round_up(slot + 1, LEAF_SLOTS) - 1;
		else if (READ_ONCE(leaf->live[slot % LEAF_SLOTS]))
			return slot;
	}
	return DMA_WINDOW_NO_SLOT;
}

/* The largest run of free slots where retired slots are free, too. */
static unsigned int pool_largest_with_retired(struct dma_window_pool *pool)
{
	unsigned int pos = 0, length = 0, largest = 0, slot = 0, begin, end;
	struct dma_window_mapping *map;

	rcu_read_lock();
	map = pool_next_retired(pool, &slot);
	for (;; pos = end) {
		begin = min(pool_first_run(pool, pos, 1), slot);
		if (begin == DMA_WINDOW_NO_SLOT)
			break;
		if (begin != pos)
			length = 0;
		if (begin == slot) {
			end = slot + map->nslots;
			slot = end;
			map = pool_next_retired(pool, &slot);
		} else {
			end = pool_run_end(pool, begin, pool->nslots);
		}
		length += end - begin;
		largest = max(largest, length);
	}
	rcu_read_unlock();
	return largest;
}

/**
 * dma_window_pool_largest() - the largest run of free slots
 * @pool: the pool
 *
 * Runs that CPUs keep are taken back first; retired runs count as free.
 *
 * Context: any. Takes pool->lock.
 *
 * Return: the run's length, in slots.
 */
unsigned int dma_window_pool_largest(struct dma_window_pool *pool)
{
	unsigned int pos = 0, largest = 0, end;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_drain(pool);
	if (pool->retired) {
		largest = pool_largest_with_retired(pool);
		goto out;
	}
	while ((pos = pool_first_run(pool, pos, largest + 1)) !=
	       DMA_WINDOW_NO_SLOT) {
		end = pool_run_end(pool, pos, pool->nslots);
		largest = end - pos;
		pos = end;
	}
out:
	spin_unlock_irqrestore(&pool->lock, flags);

	return largest;
}

/**
 * dma_window_pool_used() - how many slots are in use
 * @pool: the pool
 *
 * Runs that CPUs keep are taken back first; retired runs count as free.
 *
 * Context: any. Takes pool->lock.
 *
 * Return: slots of live runs.
 */
unsigned int dma_window_pool_used(struct dma_window_pool *pool)
{
	struct dma_window_mapping *map;
	unsigned int used, slot = 0;
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	pool_drain(pool);
	used = pool->used;
	rcu_read_lock();
	while (pool->retired && (map = pool_next_retired(pool, &slot))) {
		used -= map->nslots;
		slot += map->nslots;
	}
	rcu_read_unlock();
	spin_unlock_irqrestore(&pool->lock, flags);

	return used;
}

static size_t pool_cpu_bytes(const struct dma_window_pool *pool)
{
	return struct_size_t(struct dma_window_cpu, runs, pool->entries);
}

/**
 * dma_window_pool_metadata() - what a pool costs besides its slots
 * @pool: the pool
 *
 * Context: any.
 *
 * Return: bytes, without the records of live runs.
 */
size_t dma_window_pool_metadata(struct dma_window_pool *pool)
{
	return sizeof(*pool) + pool->words * sizeof(*pool->free_bits) +
	       2 * pool->words * sizeof(*pool->tree) +
	       pool->words * sizeof(*pool->leaves) +
	       READ_ONCE(pool->nleaves) * sizeof(struct dma_window_leaf) +
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
	pool->retired = false;
	pool->used = 0;
	pool->hiwater = 0;
	pool->nleaves = 0;

	/* All CPUs together may keep only a part of even a small pool. */
	pool->entries = 0;
	for (class = 0; class < DMA_WINDOW_CLASSES; class++) {
		share = nslots / 32 / num_possible_cpus() >> class;
		pool->depth[class] = min_t(unsigned int, share, max_depth[class]);
		pool->class_start[class] = pool->entries;
		pool->entries += pool->depth[class];
	}

	pool->words = roundup_pow_of_two(DIV_ROUND_UP(nslots, LEAF_SLOTS));
	pool->free_bits =
		kvcalloc(pool->words, sizeof(*pool->free_bits), GFP_KERNEL);
	pool->tree = kvcalloc(2 * pool->words, sizeof(*pool->tree), GFP_KERNEL);
	pool->leaves = kvcalloc(pool->words, sizeof(*pool->leaves), GFP_KERNEL);
	pool->cpu = __alloc_percpu(pool_cpu_bytes(pool), SMP_CACHE_BYTES);
	if (!pool->free_bits || !pool->tree || !pool->leaves || !pool->cpu)
		return -ENOMEM;

	for (word = 0; word < pool->words; word++)
		tree_update_word(pool, word);
	pool_mark(pool, 0, nslots, true);
	return 0;
}

/**
 * dma_window_pool_destroy() - free what dma_window_pool_init() allocated
 * @pool: the pool; nothing is in use
 *
 * Context: may sleep.
 */
void dma_window_pool_destroy(struct dma_window_pool *pool)
{
	if (pool->cpu)
		dma_window_pool_drain(pool);
	dma_window_pool_forget(pool, NULL);
	free_percpu(pool->cpu);
	kvfree(pool->leaves);
	kvfree(pool->tree);
	kvfree(pool->free_bits);
}
