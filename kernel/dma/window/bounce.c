// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: mappings, and the copies between a driver's buffer
 * and the window.
 *
 * What always holds here:
 *  - an address handed out lies inside the window, and in reach of the device;
 *  - window memory that a device may write for a driver was zeroed, or filled
 *    with that driver's data, when it was mapped (I3), and is never zeroed or
 *    copied over behind the device's back later;
 *  - how far a copy goes is decided by the mapping's record alone. A caller's
 *    address that no record knows changes nothing.
 *
 * The driver of a mapping owns it: as everywhere in the DMA API, unmapping
 * while another CPU syncs or unmaps the same address is the driver's bug. The
 * record of a mapping is claimed atomically all the same, so that a second
 * unmap finds nothing.
 */

#include <linux/dma-window.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "window.h"

#ifdef CONFIG_SWIOTLB
#include <linux/swiotlb.h>
#include <trace/events/swiotlb.h>
#else
static inline void trace_swiotlb_bounced(struct device *dev, dma_addr_t addr,
					 size_t size)
{
}
#endif

/* Last: it would create those of the headers after it, too. */
#define CREATE_TRACE_POINTS
#include <trace/events/dma_window.h>

/**
 * struct mapping - one mapped buffer or coherent allocation
 * @client: whose it is
 * @orig: physical address of the driver's buffer; unused if @coherent
 * @size: bytes mapped
 * @offset: of the first mapped byte in the window, bytes
 * @slot: first slot
 * @nslots: slots taken, padding before @offset included
 * @dir: direction it was mapped for
 * @coherent: an allocation, not a buffer: there is nothing to copy
 */
struct mapping {
	struct dma_window_client	*client;
	phys_addr_t			orig;
	size_t				size;
	u64				offset;
	unsigned int			slot;
	unsigned int			nslots;
	u8				dir;
	bool				coherent;
};

/*
 * win->maps[] has a word per slot: 0 if the slot is free, else the address of
 * its record. Records are at least word-aligned; INTERIOR marks the slots of a
 * mapping after its first, so that only the first can be used to undo it.
 */
#define INTERIOR	1UL

static struct kmem_cache *mapping_cache;

static int __init mapping_cache_init(void)
{
	/*
	 * Type-safe by RCU, so that a walk over a window that devices share
	 * may look at the records of the other devices: see mapping_at().
	 */
	mapping_cache = kmem_cache_create("dma_window_mapping",
					  sizeof(struct mapping), 0,
					  SLAB_PANIC | SLAB_TYPESAFE_BY_RCU,
					  NULL);
	return 0;
}
core_initcall(mapping_cache_init); /* devices are probed from arch_initcall_sync on */

/**
 * dma_window_bounce_init() - make the mapping table of a window
 * @win: the window, its pool made
 *
 * Context: may sleep.
 *
 * Return: 0, or -ENOMEM.
 */
int dma_window_bounce_init(struct dma_window *win)
{
	win->maps = kvcalloc(win->pool.nslots, sizeof(*win->maps), GFP_KERNEL);
	return win->maps ? 0 : -ENOMEM;
}

/**
 * dma_window_bounce_exit() - free what dma_window_bounce_init() allocated
 * @win: the window, nothing mapped in it
 *
 * Context: may sleep.
 */
void dma_window_bounce_exit(struct dma_window *win)
{
	kvfree(win->maps);
}

/**
 * dma_window_max_request() - what a driver may ask for in one request
 * @win: the window
 *
 * Nearly an eighth of the window. The lower half holds no coherent memory (see
 * pool.c), so it is free once the requests in flight are done, and it takes a
 * request of this size even if each segment is of 512 bytes and costs a slot
 * of 2 KiB: a fourth of the slots' size, of half the window. The 16 KiB less
 * are 32 slots for what goes with a request: header, status, indirect table.
 *
 * Mappings that are never undone while the device is in use, such as a ring of
 * receive buffers, come on top. A single mapping may be larger than this, up to
 * the largest free run.
 *
 * Context: any.
 *
 * Return: bytes.
 */
size_t dma_window_max_request(const struct dma_window *win)
{
	return round_down(win->size / 8 - SZ_16K, PAGE_SIZE);
}

/* What an operator needs to know of a request that found no room. */
static void report_full(struct dma_window_client *client, size_t size,
			const char *what)
{
	struct dma_window *win = client->win;
	unsigned int used = READ_ONCE(win->pool.used);

	if (!__ratelimit(&client->ratelimit))
		return;
	dev_warn(client->dev,
		 "%s is full: %s of %zu bytes failed; %llu bytes free, largest free run %llu bytes\n",
		 win->name, what, size,
		 (u64)(win->pool.nslots - used) << DMA_WINDOW_SLOT_SHIFT,
		 (u64)dma_window_pool_largest(&win->pool) << DMA_WINDOW_SLOT_SHIFT);
}

/**
 * dma_window_fail() - count and trace a call that is refused
 * @client: the device and its window
 * @counter: one of the window's fail_* counters
 * @reason: its name, without the fail_
 * @size: bytes asked for, 0 if that has no meaning
 *
 * Context: any.
 */
void dma_window_fail(struct dma_window_client *client, u64 __percpu *counter,
		     const char *reason, size_t size)
{
	this_cpu_add(*counter, 1);
	trace_dma_window_fail(client->dev, reason, size);
}

static void report_too_large(struct dma_window_client *client, size_t size,
			     const char *what)
{
	if (__ratelimit(&client->ratelimit))
		dev_warn(client->dev,
			 "%s can never hold %s of %zu bytes: it has %pa bytes\n",
			 client->win->name, what, size, &client->win->size);
}

static void report_unreachable(struct dma_window_client *client, u64 mask)
{
	if (__ratelimit(&client->ratelimit))
		dev_warn(client->dev,
			 "%s at bus address %pad is out of reach: DMA mask %#llx, bus limit %#llx\n",
			 client->win->name, &client->bus_base, mask,
			 client->dev->bus_dma_limit);
}

/* Once per device: it is a bug of its driver, and would not get clearer. */
static void report_invalid(struct dma_window_client *client, const char *what,
			   dma_addr_t addr)
{
	dma_window_fail(client, &client->win->stats->fail_invalid, "invalid",
			0);
	if (READ_ONCE(client->warned))
		return;
	WRITE_ONCE(client->warned, true);
	dev_err(client->dev, "%s: %s of %pad, which is not mapped: ignored\n",
		client->win->name, what, &addr);
}

/* How many of the window's slots, from the first, the device can address. */
static unsigned int reachable(const struct dma_window_client *client, u64 mask)
{
	const struct dma_window *win = client->win;
	u64 limit = min_not_zero(mask, client->dev->bus_dma_limit);

	if (limit >= client->bus_base + win->size - 1)
		return win->pool.nslots;
	if (limit < client->bus_base)
		return 0;
	return (limit - client->bus_base + 1) >> DMA_WINDOW_SLOT_SHIFT;
}

/* Slots and a record for a mapping; nothing is visible to anybody yet. */
static struct mapping *mapping_new(struct dma_window_client *client,
				   struct dma_window_req *req, u64 mask,
				   size_t size, gfp_t gfp, bool quiet)
{
	const char *what = req->coherent ? "an allocation" : "a mapping";
	struct dma_window *win = client->win;
	struct mapping *map;

	req->bus = client->bus_base >> DMA_WINDOW_SLOT_SHIFT;
	req->limit = reachable(client, mask);
	if (!req->limit) {
		dma_window_fail(client, &win->stats->fail_mask, "mask", size);
		report_unreachable(client, mask);
		return NULL;
	}

	map = kmem_cache_alloc(mapping_cache, gfp | __GFP_NOWARN);
	if (!map) {
		dma_window_fail(client, &win->stats->fail_nomem, "nomem", size);
		return NULL;
	}

	map->slot = dma_window_pool_alloc(&win->pool, req);
	if (map->slot == DMA_WINDOW_NO_SLOT) {
		kmem_cache_free(mapping_cache, map);
		dma_window_fail(client, &win->stats->fail_full, "full", size);
		if (!quiet)
			report_full(client, size, what);
		return NULL;
	}

	WRITE_ONCE(map->client, client);
	map->size = size;
	map->nslots = req->nslots;
	map->coherent = req->coherent;
	return map;
}

/* Make a complete record findable by the address it is handed out as. */
static dma_addr_t mapping_publish(struct mapping *map)
{
	unsigned long *slots = &map->client->win->maps[map->slot];
	unsigned int i;

	/*
	 * The record before the words that lead to it: it may be one that was
	 * freed, and must not be seen to be its former owner's any more. Pairs
	 * with the address dependencies in mapping_of() and mapping_at().
	 */
	smp_wmb();
	for (i = 1; i < map->nslots; i++)
		WRITE_ONCE(slots[i], (unsigned long)map | INTERIOR);
	WRITE_ONCE(slots[0], (unsigned long)map);

	return map->client->bus_base + map->offset;
}

static void mapping_delete(struct mapping *map)
{
	struct dma_window *win = map->client->win;
	unsigned int i;

	/* The first slot was cleared by whoever claimed the mapping. */
	for (i = 1; i < map->nslots; i++)
		WRITE_ONCE(win->maps[map->slot + i], 0);
	dma_window_pool_free(&win->pool, map->slot, map->nslots);
	kmem_cache_free(mapping_cache, map);
}

/*
 * The mapping of @client that contains bus address @addr, or NULL. Padding
 * before the mapped bytes does not count, padding behind them does: callers
 * check how far they may go.
 *
 * Under the RCU read lock: if the address is not the caller's, the record that
 * it leads to may be freed meanwhile (see mapping_at()). And it keeps the
 * client of a mapping that is being undone; see client_attach().
 */
static struct mapping *mapping_of(struct dma_window_client *client,
				  dma_addr_t addr)
{
	struct dma_window *win = client->win;
	u64 offset = addr - client->bus_base;
	struct mapping *map;

	if (addr < client->bus_base || offset >= win->size)
		return NULL;
	map = (void *)(READ_ONCE(win->maps[offset >> DMA_WINDOW_SLOT_SHIFT]) &
		       ~INTERIOR);
	if (!map || READ_ONCE(map->client) != client || offset < map->offset)
		return NULL;
	return map;
}

/* Take a mapping, if it starts at @addr, away from everybody else. */
static bool mapping_claim(struct mapping *map, dma_addr_t addr)
{
	struct dma_window_client *client = map->client;
	unsigned long *word = &client->win->maps[map->slot];

	return map->offset == addr - client->bus_base &&
	       cmpxchg(word, (unsigned long)map, 0) == (unsigned long)map;
}

static size_t copy_in(struct mapping *map, u64 from, size_t size)
{
	struct dma_window *win = map->client->win;

	memcpy(win->vaddr + map->offset + from,
	       phys_to_virt(map->orig) + from, size);
	this_cpu_add(win->stats->bytes_in, size);
	return size;
}

static size_t copy_out(struct mapping *map, u64 from, size_t size)
{
	struct dma_window *win = map->client->win;

	memcpy(phys_to_virt(map->orig) + from,
	       win->vaddr + map->offset + from, size);
	this_cpu_add(win->stats->bytes_out, size);
	return size;
}

/**
 * dma_window_bounce_map() - give a driver's buffer a place in the window
 * @client: the device and its window
 * @orig: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy, but not the zeroing;
 *	DMA_ATTR_NO_WARN silences a full window; DMA_ATTR_WINDOW_NO_FILL skips
 *	the zeroing of DMA_FROM_DEVICE space
 *
 * Space that the device is to write is zeroed, not filled with what the
 * driver's buffer held: that is not the device's to read (I3).
 *
 * Context: any. Takes pool->lock.
 *
 * Return: the bus address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_window_bounce_map(struct dma_window_client *client,
				 phys_addr_t orig, size_t size,
				 enum dma_data_direction dir,
				 unsigned long attrs)
{
	struct device *dev = client->dev;
	struct dma_window *win = client->win;
	u64 boundary = (u64)dma_get_seg_boundary(dev) + 1;
	unsigned int align_mask = dma_get_min_align_mask(dev);
	u64 in_slot = orig & align_mask & (DMA_WINDOW_SLOT_SIZE - 1);
	struct dma_window_req req = { .align = 1 };
	struct mapping *map;
	size_t copied = 0;
	dma_addr_t addr;

	if (size > win->size) {
		dma_window_fail(client, &win->stats->fail_full, "full", size);
		if (!(attrs & DMA_ATTR_NO_WARN))
			report_too_large(client, size, "a mapping");
		return DMA_MAPPING_ERROR;
	}

	if (boundary && boundary < DMA_WINDOW_SLOT_SIZE &&
	    (in_slot & (boundary - 1)) + size > boundary) {
		dma_window_fail(client, &win->stats->fail_mask, "mask", size);
		if (__ratelimit(&client->ratelimit))
			dev_warn(dev, "%s: %zu bytes cannot be placed inside a segment boundary of %llu bytes\n",
				 win->name, size, boundary);
		return DMA_MAPPING_ERROR;
	}

	req.nslots = max_t(u64, 1, (in_slot + size + DMA_WINDOW_SLOT_SIZE - 1) >>
				   DMA_WINDOW_SLOT_SHIFT);
	req.boundary = boundary >> DMA_WINDOW_SLOT_SHIFT;
	if (align_mask >= DMA_WINDOW_SLOT_SIZE) {
		req.align = (align_mask + 1) >> DMA_WINDOW_SLOT_SHIFT;
		req.phase = (orig & align_mask) >> DMA_WINDOW_SLOT_SHIFT;
	} else if (!align_mask && size >= PAGE_SIZE) {
		/* What drivers have come to expect of swiotlb. */
		req.align = PAGE_SIZE >> DMA_WINDOW_SLOT_SHIFT;
	}

	map = mapping_new(client, &req, *dev->dma_mask, size, GFP_ATOMIC,
			  attrs & DMA_ATTR_NO_WARN);
	if (!map)
		return DMA_MAPPING_ERROR;

	map->orig = orig;
	map->offset = ((u64)map->slot << DMA_WINDOW_SLOT_SHIFT) + in_slot;
	map->dir = dir;

	if (dir == DMA_FROM_DEVICE && (attrs & DMA_ATTR_WINDOW_NO_FILL))
		; /* See there. */
	else if (dir == DMA_FROM_DEVICE || (attrs & DMA_ATTR_SKIP_CPU_SYNC))
		memset(win->vaddr + map->offset, 0, size);
	else
		copied = copy_in(map, 0, size);

	/* The skipping of syncs may date from before the window. */
	dma_reset_need_sync(dev);
	this_cpu_add(win->stats->maps, 1);
	addr = mapping_publish(map);
	trace_swiotlb_bounced(dev, addr, size);
	trace_dma_window_map(dev, addr, size, dir, attrs, copied);

	return addr;
}

/**
 * dma_window_bounce_unmap() - undo dma_window_bounce_map()
 * @client: the device and its window
 * @addr: what dma_window_bounce_map() returned
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy
 *
 * An address that is not mapped changes nothing.
 *
 * Context: any. Takes pool->lock.
 */
void dma_window_bounce_unmap(struct dma_window_client *client, dma_addr_t addr,
			     unsigned long attrs)
{
	struct mapping *map;
	size_t copied = 0;

	rcu_read_lock();
	map = mapping_of(client, addr);
	if (!map || map->coherent || !mapping_claim(map, addr)) {
		report_invalid(client, "unmap", addr);
		goto out;
	}

	if (map->dir != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		copied = copy_out(map, 0, map->size);
	this_cpu_add(client->win->stats->unmaps, 1);
	trace_dma_window_unmap(client->dev, addr, map->size, map->dir, attrs,
			       copied);
	mapping_delete(map);
out:
	rcu_read_unlock();
}

/**
 * dma_window_bounce_sync() - copy a part of a mapping
 * @client: the device and its window
 * @addr: bus address of the first byte, anywhere in a mapping
 * @size: bytes
 * @dir: direction
 * @for_cpu: copy what the device wrote, else what it is to read
 *
 * Copies only what both @dir and the direction of the mapping allow. Coherent
 * memory needs no copy. A range that is not inside one mapping changes nothing.
 *
 * Context: any.
 */
void dma_window_bounce_sync(struct dma_window_client *client, dma_addr_t addr,
			    size_t size, enum dma_data_direction dir,
			    bool for_cpu)
{
	struct mapping *map;
	size_t copied = 0;
	u64 from;

	rcu_read_lock();
	map = mapping_of(client, addr);
	if (!map) {
		report_invalid(client, "sync", addr);
		goto out;
	}
	from = addr - client->bus_base - map->offset;
	if (from > map->size || size > map->size - from) {
		report_invalid(client, "sync beyond the end", addr);
		goto out;
	}
	if (map->coherent)
		goto out;

	if (for_cpu) {
		if (dir != DMA_TO_DEVICE && map->dir != DMA_TO_DEVICE)
			copied = copy_out(map, from, size);
	} else {
		if (dir != DMA_FROM_DEVICE && map->dir != DMA_FROM_DEVICE)
			copied = copy_in(map, from, size);
	}
	trace_dma_window_sync(client->dev, addr, size, dir, for_cpu, copied);
out:
	rcu_read_unlock();
}

/**
 * dma_window_coherent_alloc() - allocate coherent memory in the window
 * @client: the device and its window
 * @size: bytes; rounded up to whole pages
 * @addr: filled with the bus address
 * @gfp: whether the allocation of the mapping's record may sleep, and
 *	__GFP_NOWARN; the memory itself is taken from the window, and zeroed
 *
 * The allocation is aligned to the smallest power of two of pages that holds
 * it, as the DMA API has it.
 *
 * Context: any if @gfp does not allow sleeping. Takes pool->lock.
 *
 * Return: the memory's kernel address, or NULL.
 */
void *dma_window_coherent_alloc(struct dma_window_client *client, size_t size,
				dma_addr_t *addr, gfp_t gfp)
{
	struct dma_window *win = client->win;
	struct dma_window_req req = { .coherent = true };
	struct mapping *map;

	if (!size || size > win->size) {
		dma_window_fail(client, &win->stats->fail_full, "full", size);
		if (!(gfp & __GFP_NOWARN))
			report_too_large(client, size, "an allocation");
		return NULL;
	}

	size = PAGE_ALIGN(size);
	req.nslots = size >> DMA_WINDOW_SLOT_SHIFT;
	req.align = (PAGE_SIZE << get_order(size)) >> DMA_WINDOW_SLOT_SHIFT;

	map = mapping_new(client, &req, client->dev->coherent_dma_mask, size,
			  gfp & ~__GFP_ZERO, gfp & __GFP_NOWARN);
	if (!map)
		return NULL;

	map->offset = (u64)map->slot << DMA_WINDOW_SLOT_SHIFT;
	map->dir = DMA_BIDIRECTIONAL;
	memset(win->vaddr + map->offset, 0, size);
	this_cpu_add(win->stats->allocs, 1);
	*addr = mapping_publish(map);
	trace_dma_window_alloc(client->dev, *addr, size);

	return win->vaddr + map->offset;
}

/**
 * dma_window_coherent_valid() - is this a live coherent allocation?
 * @client: the device and its window
 * @size: bytes, at most what was allocated
 * @vaddr: its kernel address
 * @addr: its bus address
 *
 * Context: any.
 *
 * Return: true if it is.
 */
bool dma_window_coherent_valid(struct dma_window_client *client, size_t size,
			       const void *vaddr, dma_addr_t addr)
{
	struct mapping *map;
	bool valid;

	rcu_read_lock();
	map = mapping_of(client, addr);
	valid = map && map->coherent && PAGE_ALIGN(size) <= map->size &&
		map->offset == addr - client->bus_base &&
		vaddr == client->win->vaddr + map->offset;
	rcu_read_unlock();

	return valid;
}

/**
 * dma_window_coherent_free() - undo dma_window_coherent_alloc()
 * @client: the device and its window
 * @size: bytes, as allocated
 * @addr: the bus address
 *
 * Anything that is not an allocation of that size changes nothing.
 *
 * Context: any. Takes pool->lock.
 *
 * Return: true if it was freed.
 */
bool dma_window_coherent_free(struct dma_window_client *client, size_t size,
			      dma_addr_t addr)
{
	struct mapping *map;
	bool mine;

	rcu_read_lock();
	map = mapping_of(client, addr);
	mine = map && map->coherent && map->size == PAGE_ALIGN(size) &&
	       mapping_claim(map, addr);
	if (mine) {
		this_cpu_add(client->win->stats->frees, 1);
		trace_dma_window_free(client->dev, addr, map->size);
		mapping_delete(map);
	} else {
		report_invalid(client, "free", addr);
	}
	rcu_read_unlock();

	return mine;
}

/*
 * The mapping of @client whose first slot is @slot, or NULL. Nobody maps or
 * unmaps for @client meanwhile, but others may, so a record may be freed, and
 * used again, while it is looked at. It stays a record for as long as the RCU
 * read lock is held, and none but @client's own ever says @client.
 */
static struct mapping *mapping_at(struct dma_window_client *client,
				  unsigned int slot)
{
	unsigned long word = READ_ONCE(client->win->maps[slot]);
	struct mapping *map = (void *)word;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "window walked outside RCU");
	if (!word || (word & INTERIOR) || READ_ONCE(map->client) != client)
		return NULL;
	return map;
}

/**
 * dma_window_bounce_live() - how many mappings a device has
 * @client: the device and its window; no driver is bound to the device
 *
 * Walks the whole window: for attach only.
 *
 * Context: any. Nobody maps for @client meanwhile. What a driver that is gone
 * left behind may still be unmapped, so there may be fewer by now.
 *
 * Return: mappings and coherent allocations.
 */
unsigned int dma_window_bounce_live(struct dma_window_client *client)
{
	unsigned int slot, live = 0;

	rcu_read_lock();
	for (slot = 0; slot < client->win->pool.nslots; slot++)
		live += !!mapping_at(client, slot);
	rcu_read_unlock();

	return live;
}

/**
 * dma_window_bounce_reclaim() - take back what a device left mapped
 * @client: the device, which is gone, and its window
 *
 * Copies nothing: the drivers' buffers may be long gone too.
 *
 * Context: may sleep; nobody can reach the device any more. Takes pool->lock.
 *
 * Return: how many mappings and coherent allocations there were.
 */
unsigned int dma_window_bounce_reclaim(struct dma_window_client *client)
{
	unsigned int slot, live = 0;

	for (slot = 0; slot < client->win->pool.nslots; slot++) {
		struct mapping *map;

		rcu_read_lock();
		map = mapping_at(client, slot);
		rcu_read_unlock();
		if (!map)
			continue;
		WRITE_ONCE(client->win->maps[slot], 0);
		this_cpu_add(client->win->stats->unmaps, !map->coherent);
		this_cpu_add(client->win->stats->frees, map->coherent);
		mapping_delete(map);
		live++;
	}
	return live;
}
