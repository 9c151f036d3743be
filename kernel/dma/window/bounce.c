// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: mappings, and the copies between a driver's buffer
 * and the window.
 *
 * Invariants of this file:
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
#include <linux/error-injection.h>
#include <linux/mm.h>

#include "bounce.h"

/* CREATE_TRACE_POINTS last: it would create later headers' events, too. */
#define CREATE_TRACE_POINTS
#include <trace/events/dma_window.h>

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

/**
 * dma_window_max_mapping() - what a window can hold as one mapping at most
 * @win: the window
 *
 * Context: any.
 *
 * Return: bytes.
 */
size_t dma_window_max_mapping(const struct dma_window *win)
{
	return min_t(u64, win->size, DMA_WINDOW_MAX_MAPPING);
}

/*
 * Log what an operator needs to know of a request that found no room. To look
 * for that takes less time than to write it to a console.
 */
static void client_report_full(struct dma_window_client *client, size_t size,
			       const char *what)
{
	struct dma_window *win = client->win;
	unsigned int used, largest;

	if (!__ratelimit(&client->ratelimit))
		return;
	dma_window_pool_look(&win->pool, &used, &largest);
	dev_warn(client->dev,
		 "%s is full: %s of %zu bytes failed; %llu bytes free, largest free run %llu bytes\n",
		 win->name, what, size,
		 (u64)(win->pool.nslots - used) << DMA_WINDOW_SLOT_SHIFT,
		 (u64)largest << DMA_WINDOW_SLOT_SHIFT);
}

/* @counter: offset in struct dma_window_stats; see dma_window_fail(). */
void __dma_window_fail(struct dma_window_client *client, size_t counter,
		       const char *reason, size_t size)
{
	void __percpu *stats = &client->win->pool.cpu->stats;

	this_cpu_add(*(u64 __percpu *)(stats + counter), 1);
	trace_dma_window_fail(client->dev, reason, size);
}

static void client_report_too_large(struct dma_window_client *client,
				    size_t size, const char *what)
{
	if (__ratelimit(&client->ratelimit))
		dev_warn(client->dev,
			 "%s can never hold %s of %zu bytes: it has %pa bytes\n",
			 client->win->name, what, size, &client->win->size);
}

static void client_report_unreachable(struct dma_window_client *client,
				      u64 mask)
{
	if (__ratelimit(&client->ratelimit))
		dev_warn(client->dev,
			 "%s at bus address %pad is out of reach: DMA mask %#llx, bus limit %#llx\n",
			 client->win->name, &client->bus_base, mask,
			 client->dev->bus_dma_limit);
}

static void client_report_boundary(struct dma_window_client *client,
				   size_t size, u64 boundary)
{
	if (__ratelimit(&client->ratelimit))
		dev_warn(client->dev,
			 "%s: %zu bytes cannot be placed inside a segment boundary of %llu bytes\n",
			 client->win->name, size, boundary);
}

static const struct {
	const char	*call;
	const char	*wrong;
} bugs[] = {
	[DMA_WINDOW_BUG_UNMAP]	  = { "unmap", "is not mapped: ignored" },
	[DMA_WINDOW_BUG_SYNC]	  = { "sync", "is not mapped: ignored" },
	[DMA_WINDOW_BUG_SYNC_END] = { "sync", "is mapped, but runs past the end: cut off there" },
	[DMA_WINDOW_BUG_FREE]	  = { "free", "is not allocated: ignored" },
};

/*
 * If there is a retired run of @client's around @addr, a call with @addr comes
 * late, from a driver that forgot the run, which was reported.
 */
static bool bounce_is_retired(struct dma_window_client *client, dma_addr_t addr)
{
	struct dma_window_pool *pool = &client->win->pool;
	u64 offset = addr - client->bus_base;
	struct dma_window_mapping *map;

	if (!READ_ONCE(pool->nretired) || addr < client->bus_base ||
	    offset >= client->win->size)
		return false;

	map = dma_window_pool_at(pool, offset >> DMA_WINDOW_SLOT_SHIFT);
	return map && READ_ONCE(map->client) == dma_window_retired(client);
}

/**
 * dma_window_bounce_end_retired() - undo a mapping that its driver forgot
 * @client: the device and its window
 * @addr: the mapping's bus address
 *
 * Context: any. Takes pool->lock if anything in the window may be retired.
 *
 * Return: true if a retired run begins at @addr; the run is free now.
 */
bool dma_window_bounce_end_retired(struct dma_window_client *client,
				   dma_addr_t addr)
{
	u64 offset = addr - client->bus_base;

	return addr >= client->bus_base && offset < client->win->size &&
	       dma_window_pool_end_retired(&client->win->pool, client, offset);
}

/**
 * dma_window_invalid() - count a call that is a bug of the device's driver
 * @client: the device and its window
 * @bug: the kind of bug
 * @addr: the address
 *
 * Each kind of bug is logged once per device: more lines would not make the bug
 * clearer.
 * Calls for a retired mapping are not counted again.
 *
 * Context: any.
 */
void dma_window_invalid(struct dma_window_client *client,
			enum dma_window_bug bug, dma_addr_t addr)
{
	if (bounce_is_retired(client, addr))
		return;
	dma_window_fail(client, invalid, 0);
	if (!test_and_set_bit(bug, &client->warned))
		dev_err(client->dev, "%s: %s of %pad, which %s\n",
			client->win->name, bugs[bug].call, &addr, bugs[bug].wrong);
}

/* Count the window's slots, from the first, that the device can address. */
static unsigned int client_slots_in_mask(const struct dma_window_client *client,
					 u64 mask)
{
	const struct dma_window *win = client->win;
	u64 limit = min_not_zero(mask, client->dev->bus_dma_limit);

	if (limit >= client->bus_last)
		return win->pool.nslots;
	if (limit < client->bus_base)
		return 0;
	return (limit - client->bus_base + 1) >> DMA_WINDOW_SLOT_SHIFT;
}

/*
 * Take slots from the shared part of the pool, or from the floor that @attrs may
 * name; nothing is visible to anybody yet.
 */
static struct dma_window_mapping *
mapping_new(struct dma_window_client *client, struct dma_window_req *req,
	    unsigned int class, u64 mask, size_t size, unsigned long attrs)
{
	const char *what = req->coherent ? "an allocation" : "a mapping";
	struct dma_window_mapping *map;

	req->bus = client->bus_base >> DMA_WINDOW_SLOT_SHIFT;
	req->limit = client_slots_in_mask(client, mask);
	if (!req->limit) {
		dma_window_fail(client, mask, size);
		client_report_unreachable(client, mask);
		return NULL;
	}

	map = dma_window_pool_alloc(&client->win->pool, req, class);
	if (!map)
		map = dma_window_floor_alloc(client, req, attrs);
	if (!map) {
		dma_window_fail(client, full, size);
		if (!(attrs & DMA_ATTR_NO_WARN))
			client_report_full(client, size, what);
	}
	return map;
}

/* Take a run of a class that this CPU keeps, or NULL if there is none. */
static struct dma_window_mapping *pool_pop_here(struct dma_window_pool *pool,
						unsigned int class)
{
	unsigned long flags;
	unsigned int slot;

	local_irq_save(flags);
	slot = dma_window_pool_pop(pool, this_cpu_ptr(pool->cpu), class);
	local_irq_restore(flags);
	return slot == DMA_WINDOW_NO_SLOT ? NULL : &pool->records[slot];
}

/* Bytes of the first slot before a mapping, for the device's min_align_mask. */
static u64 bounce_in_slot(const struct dma_window_client *client,
			  phys_addr_t orig)
{
	return orig & dma_get_min_align_mask(client->dev) &
	       (DMA_WINDOW_SLOT_SIZE - 1);
}

/**
 * dma_window_bounce_slots() - what a buffer takes of a window
 * @client: the device and its window
 * @orig: physical address of the buffer
 * @size: bytes
 *
 * Context: any.
 *
 * Return: slots, at least.
 */
u64 dma_window_bounce_slots(const struct dma_window_client *client,
			    phys_addr_t orig, size_t size)
{
	u64 bytes = max(bounce_in_slot(client, orig) + size, 1ULL);

	return (bytes + DMA_WINDOW_SLOT_SIZE - 1) >> DMA_WINDOW_SLOT_SHIFT;
}

/**
 * dma_window_bounce_fits() - can there ever be so much room?
 * @client: the device and its window
 * @slots: what all buffers of a request take
 *
 * Context: any.
 *
 * Return: false if the window cannot hold the request even when all other
 * streaming mappings are undone. A request of one buffer may use more of the
 * window.
 */
bool dma_window_bounce_fits(const struct dma_window_client *client, u64 slots)
{
	const struct dma_window_pool *pool = &client->win->pool;

	return slots <= pool->nslots - pool->reserve;
}

/*
 * The size class for a streaming request, or DMA_WINDOW_NO_CLASS if only the
 * shared part of the pool can serve it. A run of a class is naturally aligned:
 * it can be cut so that it begins at any phase, and it crosses no boundary
 * that is not smaller.
 */
static unsigned int bounce_size_class(const struct dma_window_client *client,
				      const struct dma_window_req *req,
				      u64 mask)
{
	unsigned int slots = max(req->nslots + req->phase, req->align);
	unsigned int class = order_base_2(slots);

	if (class >= DMA_WINDOW_CLASSES || !client->class_aligned ||
	    mask < client->bus_last ||
	    (req->boundary && req->boundary < BIT(class)))
		return DMA_WINDOW_NO_CLASS;
	return class;
}

/**
 * dma_window_bounce_map_slow() - bounce a buffer as a whole, whatever its size
 * @client: the device and its window
 * @orig: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * Context: any. Takes pool->lock if this CPU keeps no run that suits the
 * buffer.
 *
 * Return: the bus address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_window_bounce_map_slow(struct dma_window_client *client,
				      phys_addr_t orig, size_t size,
				      enum dma_data_direction dir,
				      unsigned long attrs)
{
	bool zero = bounce_zeroes(dir, attrs);
	struct device *dev = client->dev;
	struct dma_window *win = client->win;
	u64 boundary = (u64)dma_get_seg_boundary(dev) + 1;
	unsigned int align_mask = dma_get_min_align_mask(dev);
	u64 in_slot = bounce_in_slot(client, orig);
	struct dma_window_req req = { .align = 1 };
	struct dma_window_mapping *map = NULL;
	unsigned int class, phase = 0;

	if (size > dma_window_max_mapping(win)) {
		dma_window_fail(client, full, size);
		if (!(attrs & DMA_ATTR_NO_WARN))
			client_report_too_large(client, size, "a mapping");
		return DMA_MAPPING_ERROR;
	}

	/* A boundary smaller than a slot is kept, or not, wherever the slot is. */
	if (boundary && boundary < DMA_WINDOW_SLOT_SIZE &&
	    (in_slot & (boundary - 1)) + size > boundary) {
		dma_window_fail(client, mask, size);
		client_report_boundary(client, size, boundary);
		return DMA_MAPPING_ERROR;
	}

	req.nslots = dma_window_bounce_slots(client, orig, size);
	req.boundary = boundary >> DMA_WINDOW_SLOT_SHIFT;
	if (align_mask >= DMA_WINDOW_SLOT_SIZE) {
		req.align = (align_mask + 1) >> DMA_WINDOW_SLOT_SHIFT;
		req.phase = (orig & align_mask) >> DMA_WINDOW_SLOT_SHIFT;
	} else if (!align_mask && size >= PAGE_SIZE) {
		/* Align to pages, as drivers have come to expect of swiotlb. */
		req.align = PAGE_SIZE >> DMA_WINDOW_SLOT_SHIFT;
	}

	class = bounce_size_class(client, &req, *dev->dma_mask);
	if (class != DMA_WINDOW_NO_CLASS)
		map = pool_pop_here(&win->pool, class);
	if (!map)
		map = mapping_new(client, &req, class, *dev->dma_mask, size,
				  attrs);
	if (!map)
		return DMA_MAPPING_ERROR;
	this_cpu_add(win->pool.cpu->stats.maps, 1);
	dma_window_count_in(client, zero ? 0 : size);

	/* A run of a class may begin slots before the mapping. */
	if (map->class != DMA_WINDOW_NO_CLASS)
		phase = req.phase;
	return mapping_begin(client, dev, dma_window_slot(&win->pool, map),
			     (phase << DMA_WINDOW_SLOT_SHIFT) + in_slot, orig,
			     size, dir, attrs, zero);
}

/**
 * dma_window_bounce_map() - give a driver's buffer a place in the window
 * @dev: the device
 * @orig: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy, but not the zeroing;
 *	DMA_ATTR_NO_WARN silences a full window; DMA_ATTR_WINDOW_NO_FILL skips
 *	the zeroing of DMA_FROM_DEVICE space; DMA_ATTR_WINDOW_FLOOR names a
 *	floor
 *
 * Context: any. Takes pool->lock if this CPU keeps no run that suits the
 * buffer.
 *
 * Return: the bus address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_window_bounce_map(struct device *dev, phys_addr_t orig,
				 size_t size, enum dma_data_direction dir,
				 unsigned long attrs)
{
	struct dma_window_client *client;
	dma_addr_t addr;

	if (likely(bounce_map_fast(dev, orig, size, dir, attrs, &addr)))
		return addr;
	client = dma_window_client_of(dev);
	if (!client)
		return DMA_MAPPING_ERROR;
	return dma_window_bounce_map_slow(client, orig, size, dir, attrs);
}

/**
 * dma_window_bounce_sync() - copy a part of a mapping
 * @client: the device and its window
 * @addr: bus address of the first byte, anywhere in a mapping
 * @size: bytes
 * @dir: direction
 * @for_cpu: copy what the device wrote, else what it is to read
 *
 * Copies only what both @dir and the direction of the mapping allow, and of a
 * range that runs past the end of the mapping what is inside. Coherent memory
 * needs no copy.
 *
 * Context: any, under the RCU read lock.
 *
 * Return: false if nothing is mapped at @addr in the window; then nothing has
 * changed.
 */
bool dma_window_bounce_sync(struct dma_window_client *client, dma_addr_t addr,
			    size_t size, enum dma_data_direction dir,
			    bool for_cpu)
{
	struct dma_window_mapping *map;
	size_t copied = 0;
	unsigned int slot;
	u64 offset, from;
	void *mem, *buf;

	map = mapping_of(client, addr, &slot);
	if (!map)
		return false;
	offset = mapping_offset(map, slot);
	if (addr - client->bus_base < offset)
		return false;
	from = addr - client->bus_base - offset;
	if (from > map->size || size > map->size - from) {
		/* Cut off as swiotlb does, for drivers that round up. */
		dma_window_invalid(client, DMA_WINDOW_BUG_SYNC_END, addr);
		size = from < map->size ? map->size - from : 0;
	}
	if (map->dir == DMA_NONE)
		return true;

	mem = client->win->vaddr + offset + from;
	buf = phys_to_virt(map->orig) + from;
	if (for_cpu) {
		if (dir != DMA_TO_DEVICE && map->dir != DMA_TO_DEVICE) {
			memcpy(buf, mem, size);
			copied = size;
		}
		dma_window_count_out(client, copied);
	} else {
		if (dir != DMA_FROM_DEVICE && map->dir != DMA_FROM_DEVICE) {
			memcpy(mem, buf, size);
			copied = size;
		}
		dma_window_count_in(client, copied);
	}
	trace_dma_window_sync(client->dev, addr, size, dir, for_cpu, copied);
	return true;
}

/**
 * dma_window_stand_in_get() - take memory of the window that has no address in it
 * @client: the device and its window
 * @size: bytes, a power of two of at least a slot; the memory is naturally
 *	aligned
 * @attrs: attributes of the mapping that the memory is for
 *
 * An IOMMU maps the memory, at an address outside the window, in place of a
 * granule of a driver's. Where the device's mask ends does not matter then.
 *
 * Context: any. Takes pool->lock if this CPU keeps no run of the size.
 *
 * Return: the record, or NULL.
 */
noinline struct dma_window_mapping *
dma_window_stand_in_get(struct dma_window_client *client, size_t size,
			unsigned long attrs)
{
	struct dma_window_pool *pool = &client->win->pool;
	unsigned int nslots = size >> DMA_WINDOW_SLOT_SHIFT;
	struct dma_window_req req = { .nslots = nslots, .align = nslots };
	unsigned int class = ilog2(nslots);
	struct dma_window_mapping *map;

	map = pool_pop_here(pool, class);
	if (!map)
		map = mapping_new(client, &req, class, U64_MAX, size, attrs);
	if (map) {
		map->begin = 0;
		map->size = size;
		WRITE_ONCE(map->client, DMA_WINDOW_STAND_IN);
	}
	return map;
}
ALLOW_ERROR_INJECTION(dma_window_stand_in_get, NULL);

/**
 * dma_window_stand_in_put() - undo dma_window_stand_in_get()
 * @win: the window
 * @stand_in: what dma_window_stand_in_get() returned
 *
 * Context: any. Takes pool->lock if this CPU does not keep the run.
 */
void dma_window_stand_in_put(struct dma_window *win,
			     struct dma_window_mapping *stand_in)
{
	struct dma_window_pool *pool = &win->pool;
	unsigned int class = stand_in->class;
	unsigned long flags;
	bool kept;

	WRITE_ONCE(stand_in->client, NULL);
	local_irq_save(flags);
	kept = class != DMA_WINDOW_NO_CLASS &&
	       dma_window_pool_push(pool, this_cpu_ptr(pool->cpu),
				    dma_window_slot(pool, stand_in), class);
	local_irq_restore(flags);
	if (!kept)
		dma_window_pool_free(pool, stand_in);
}

/**
 * dma_window_coherent_alloc() - allocate coherent memory in the window
 * @client: the device and its window
 * @size: bytes; rounded up to whole pages
 * @addr: filled with the bus address
 * @gfp: only __GFP_NOWARN means something: the memory is taken from the window,
 *	and zeroed
 *
 * The allocation is aligned to the smallest power of two of pages that holds
 * it, as the DMA API has it.
 *
 * Context: any. Takes pool->lock.
 *
 * Return: the memory's kernel address, or NULL.
 */
void *dma_window_coherent_alloc(struct dma_window_client *client, size_t size,
				dma_addr_t *addr, gfp_t gfp)
{
	struct dma_window *win = client->win;
	struct dma_window_req req = { .coherent = true };
	struct dma_window_mapping *map;
	u64 offset;

	if (!size || size > dma_window_max_mapping(win)) {
		dma_window_fail(client, full, size);
		if (!(gfp & __GFP_NOWARN))
			client_report_too_large(client, size, "an allocation");
		return NULL;
	}

	size = PAGE_ALIGN(size);
	req.nslots = size >> DMA_WINDOW_SLOT_SHIFT;
	req.align = (PAGE_SIZE << get_order(size)) >> DMA_WINDOW_SLOT_SHIFT;

	map = mapping_new(client, &req, DMA_WINDOW_NO_CLASS,
			  client->dev->coherent_dma_mask, size,
			  gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : 0);
	if (!map)
		return NULL;

	offset = (u64)dma_window_slot(&win->pool, map) << DMA_WINDOW_SLOT_SHIFT;
	map->size = size;
	map->begin = 0;
	map->dir = DMA_NONE;
	memset(win->vaddr + offset, 0, size);
	this_cpu_add(win->pool.cpu->stats.allocs, 1);
	mapping_publish(map, client);
	*addr = client->bus_base + offset;
	trace_dma_window_alloc(client->dev, *addr, size);

	return win->vaddr + offset;
}

/**
 * dma_window_coherent_valid() - is this a live coherent allocation?
 * @client: the device and its window
 * @size: bytes, at most what was allocated
 * @vaddr: the allocation's kernel address
 * @addr: the allocation's bus address
 *
 * Context: any.
 *
 * Return: true if there is such an allocation.
 */
bool dma_window_coherent_valid(struct dma_window_client *client, size_t size,
			       const void *vaddr, dma_addr_t addr)
{
	u64 offset = addr - client->bus_base;
	struct dma_window_mapping *map;
	unsigned int slot;
	bool valid;

	rcu_read_lock();
	map = mapping_of(client, addr, &slot);
	valid = map && map->dir == DMA_NONE && PAGE_ALIGN(size) <= map->size &&
		mapping_offset(map, slot) == offset &&
		vaddr == client->win->vaddr + offset;
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
 * Return: true if there was such an allocation, which is free now.
 */
bool dma_window_coherent_free(struct dma_window_client *client, size_t size,
			      dma_addr_t addr)
{
	struct dma_window_mapping *map;
	unsigned int slot;
	bool mine;

	rcu_read_lock();
	map = mapping_of(client, addr, &slot);
	mine = map && map->dir == DMA_NONE && map->size == PAGE_ALIGN(size) &&
	       mapping_offset(map, slot) == addr - client->bus_base &&
	       mapping_claim(map, client);
	if (mine) {
		this_cpu_add(client->win->pool.cpu->stats.frees, 1);
		trace_dma_window_free(client->dev, addr, map->size);
		dma_window_pool_free(&client->win->pool, map);
	} else if (!dma_window_bounce_end_retired(client, addr)) {
		dma_window_invalid(client, DMA_WINDOW_BUG_FREE, addr);
	}
	rcu_read_unlock();

	return mine;
}

/*
 * The next mapping of @client from *@slot on, or NULL; *@slot is then behind
 * its first slot. Nobody maps for @client meanwhile, but its mappings may be
 * undone, and others map and unmap. None but @client's own records ever say
 * @client, for as long as the RCU read lock keeps @client.
 */
static struct dma_window_mapping *
client_next_mapping(struct dma_window_client *client, unsigned int *slot)
{
	struct dma_window_pool *pool = &client->win->pool;
	struct dma_window_mapping *map;

	while ((*slot = dma_window_pool_next(pool, *slot)) != DMA_WINDOW_NO_SLOT) {
		map = &pool->records[(*slot)++];
		/* Read @client before the rest: pairs with mapping_publish(). */
		if (smp_load_acquire(&map->client) == client)
			return map;
	}
	return NULL;
}

/**
 * dma_window_bounce_reclaim() - take back what a device left mapped
 * @client: the device, which has no driver, and its window
 * @gone: the client goes, too; else coherent memory stays allocated
 * @kept: filled with how many coherent allocations stay
 *
 * Copies nothing: the drivers' buffers may be long gone. A mapping that is
 * taken back is retired, since it may be undone late. Coherent memory may have
 * users that outlive the driver (a process that has mapped it), and no other
 * device can reach that memory as long as it is allocated.
 *
 * Context: any. Nobody maps for @client meanwhile, but its mappings may be
 * undone. Takes pool->lock.
 *
 * Return: how many mappings and coherent allocations there were.
 */
unsigned int dma_window_bounce_reclaim(struct dma_window_client *client, bool gone,
				       unsigned int *kept)
{
	struct dma_window_stats __percpu *stats = &client->win->pool.cpu->stats;
	struct dma_window_mapping *map;
	unsigned int slot = 0, left = 0;

	*kept = 0;
	rcu_read_lock();
	while ((map = client_next_mapping(client, &slot))) {
		bool coherent = READ_ONCE(map->dir) == DMA_NONE;

		if (coherent && !gone) {
			(*kept)++;
			continue;
		}
		if (!dma_window_pool_retire(&client->win->pool, map, client))
			continue;
		if (coherent)
			this_cpu_inc(stats->frees);
		else
			this_cpu_inc(stats->unmaps);
		left++;
	}
	rcu_read_unlock();

	return left;
}
