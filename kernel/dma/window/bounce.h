/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: the fast path of bouncing, to be inlined into the
 * operations.
 *
 * bounce_map_fast() and bounce_unmap() do not call on: they say whether the
 * mapping was theirs. The next step, the slow path of bounce.c or a mapping in
 * place of iommu.c, is up to the operation.
 */
#ifndef _KERNEL_DMA_WINDOW_BOUNCE_H
#define _KERNEL_DMA_WINDOW_BOUNCE_H

#include <linux/dma-window.h>
#include <trace/events/dma_window.h>

/* The tracepoint is not exported. */
#if defined(CONFIG_SWIOTLB) && !defined(MODULE)
#include <linux/swiotlb.h>
#include <trace/events/swiotlb.h>
#else
static inline void trace_swiotlb_bounced(struct device *dev, dma_addr_t addr,
					 size_t size)
{
}
#endif

#include "window.h"

/* Where the mapped bytes of the run at @slot begin in the window, bytes. */
static __always_inline u64 mapping_offset(const struct dma_window_mapping *map,
					  unsigned int slot)
{
	return ((u64)slot << DMA_WINDOW_SLOT_SHIFT) + map->begin;
}

/* Publish a complete record: from here on, lookups by address find it. */
static __always_inline void mapping_publish(struct dma_window_mapping *map,
					    struct dma_window_client *client)
{
	/*
	 * Write the rest of the record before @client: a lookup that finds
	 * @client must not find what the slot's mapping before this one was.
	 * Pairs with smp_load_acquire() in mapping_of().
	 */
	smp_store_release(&map->client, client);
}

/*
 * The mapping of @client that contains bus address @addr, or NULL; @slot is
 * filled with its run's first slot. Padding counts: callers check how far they
 * may go.
 *
 * Callers hold the RCU read lock, or have interrupts disabled. That keeps
 * @client, and so nobody else has a record that says @client: see client_free().
 */
static __always_inline struct dma_window_mapping *
mapping_of(struct dma_window_client *client, dma_addr_t addr, unsigned int *slot)
{
	struct dma_window_pool *pool = &client->win->pool;
	u64 at = addr - client->bus_base;
	struct dma_window_mapping *map;

	/* Addresses before the window wrap. */
	if (at >= client->win->size)
		return NULL;

	/* Find the run that begins in this slot, or reaches over it. */
	*slot = at >> DMA_WINDOW_SLOT_SHIFT;
	map = &pool->records[*slot];
	/* Read @client before the rest: pairs with mapping_publish(). */
	if (unlikely(smp_load_acquire(&map->client) != client)) {
		map = dma_window_pool_at(pool, *slot);
		if (!map || READ_ONCE(map->client) != client)
			return NULL;
		*slot = dma_window_slot(pool, map);
	}
	return map;
}

/*
 * Take a mapping away from everybody else. From there on the caller has the run:
 * nobody finds it, and it is not used again before the caller gives it back.
 */
static __always_inline bool mapping_claim(struct dma_window_mapping *map,
					  struct dma_window_client *client)
{
	return cmpxchg(&map->client, client, NULL) == client;
}

/**
 * bounce_zeroes() - is window memory zeroed for a mapping, not filled?
 * @dir: direction of the mapping
 * @attrs: attributes of the mapping
 *
 * Memory that the device is to write is not filled with what the driver's
 * buffer held: the device is not to read those bytes (I3).
 *
 * Context: any.
 *
 * Return: true if nothing of the driver's buffer is copied in.
 */
static inline bool bounce_zeroes(enum dma_data_direction dir, unsigned long attrs)
{
	return dir == DMA_FROM_DEVICE || (attrs & DMA_ATTR_SKIP_CPU_SYNC);
}

/*
 * Fill in a mapping's record and contents, and publish it at its address. The
 * run begins at @slot, the mapping @begin bytes behind that.
 */
static __always_inline dma_addr_t
mapping_begin(struct dma_window_client *client, struct device *dev,
	      unsigned int slot, u16 begin, phys_addr_t orig, size_t size,
	      enum dma_data_direction dir, unsigned long attrs, bool zero)
{
	u64 offset = ((u64)slot << DMA_WINDOW_SLOT_SHIFT) + begin;
	struct dma_window *win = client->win;
	struct dma_window_mapping *map = &win->pool.records[slot];
	dma_addr_t addr = client->bus_base + offset;

	map->orig = orig;
	map->size = size;
	map->begin = begin;
	map->dir = dir;

	if (!zero)
		memcpy(win->vaddr + offset, phys_to_virt(orig), size);
	else if (dir != DMA_FROM_DEVICE || !(attrs & DMA_ATTR_WINDOW_NO_FILL))
		memset(win->vaddr + offset, 0, size);

	/* End the skipping of syncs: it may date from before the window. */
	dma_reset_need_sync(dev);
	mapping_publish(map, client);
	trace_swiotlb_bounced(dev, addr, size);
	trace_dma_window_map(dev, addr, size, dir, attrs, zero ? 0 : size);

	return addr;
}

/*
 * If there is no alignment to keep, and no boundary that could be crossed, a
 * mapping of @size bytes can have any run of its class. Page alignment comes
 * with the class.
 */
static __always_inline bool
bounce_is_fast(const struct dma_window_client *client, const struct device *dev,
	       size_t size)
{
	const struct device_dma_parameters *parms = dev->dma_parms;

	/*
	 * Size 0 wraps and fails. A segment_boundary_mask of 0 means "not set",
	 * and wraps to pass.
	 */
	return size - 1 < READ_ONCE(client->fast_max) &&
	       *dev->dma_mask >= client->bus_last &&
	       (!parms ||
		(!parms->min_align_mask &&
		 parms->segment_boundary_mask - 1 >=
		 DMA_WINDOW_MAX_CLASS_SIZE - 2));
}

/**
 * bounce_map_fast() - map a buffer with a run that this CPU keeps
 * @dev: the device
 * @orig: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 * @addr: filled with the bus address, if there was such a run
 *
 * Behind an IOMMU, a buffer larger than the device's copybreak is never mapped
 * here: see dma_window_copy_or_map().
 *
 * Context: any. Takes no lock.
 *
 * Return: true if the buffer is mapped.
 */
static __always_inline bool
bounce_map_fast(struct device *dev, phys_addr_t orig, size_t size,
		enum dma_data_direction dir, unsigned long attrs,
		dma_addr_t *addr)
{
	bool zero = bounce_zeroes(dir, attrs);
	unsigned int slot = DMA_WINDOW_NO_SLOT;
	struct dma_window_client *client;
	struct dma_window_cpu *c;
	unsigned long flags;

	local_irq_save(flags);
	client = dma_window_client_find(dev);
	if (likely(client && bounce_is_fast(client, dev, size))) {
		struct dma_window_pool *pool = &client->win->pool;

		c = this_cpu_ptr(pool->cpu);
		slot = dma_window_pool_pop(pool, c,
					   fls((size - 1) >> DMA_WINDOW_SLOT_SHIFT));
		if (slot != DMA_WINDOW_NO_SLOT) {
			c->stats.maps++;
			if (!zero) {
				c->stats.bytes_in += size;
				if (client->stats)
					this_cpu_ptr(client->stats)->bytes_in += size;
			}
		}
	}
	local_irq_restore(flags);
	if (unlikely(slot == DMA_WINDOW_NO_SLOT))
		return false;

	*addr = mapping_begin(client, dev, slot, 0, orig, size, dir, attrs, zero);
	return true;
}

/**
 * bounce_unmap() - undo a mapping in the window, made fast or slowly
 * @dev: the device
 * @addr: the mapping's bus address
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy
 *
 * Context: any. Takes pool->lock if this CPU does not keep the run.
 *
 * Return: false if @addr is not the address of such a mapping; then nothing has
 * changed.
 */
static __always_inline bool bounce_unmap(struct device *dev, dma_addr_t addr,
					 unsigned long attrs)
{
	enum dma_data_direction dir;
	struct dma_window_client *client;
	struct dma_window_mapping *map;
	struct dma_window_pool *pool;
	struct dma_window_cpu *c;
	unsigned long flags;
	unsigned int slot, class;
	size_t size, copied = 0;
	bool kept;

	/*
	 * Disable interrupts, which is as good as the RCU read lock: the client
	 * of a mapping that is being undone stays; see client_free().
	 */
	local_irq_save(flags);
	client = dma_window_client_find(dev);
	if (unlikely(!client)) {
		local_irq_restore(flags);
		return false;
	}
	map = mapping_of(client, addr, &slot);
	if (unlikely(!map || map->dir == DMA_NONE ||
		     mapping_offset(map, slot) != addr - client->bus_base ||
		     !mapping_claim(map, client))) {
		local_irq_restore(flags);
		return false;
	}

	/*
	 * mapping_claim() took the run, with its record, and what the record
	 * says from here on is what counts. @client may go once
	 * interrupts are enabled; the window stays as long as the run counts as
	 * used, or interrupts are disabled: see window_free().
	 */
	pool = &client->win->pool;
	class = map->class;
	size = map->size;
	dir = map->dir;
	if ((dir == DMA_FROM_DEVICE || dir == DMA_BIDIRECTIONAL) &&
	    !(attrs & DMA_ATTR_SKIP_CPU_SYNC)) {
		void *from = client->win->vaddr + mapping_offset(map, slot);

		if (client->stats)
			this_cpu_ptr(client->stats)->bytes_out += size;
		local_irq_restore(flags);
		memcpy(phys_to_virt(map->orig), from, size);
		copied = size;
		local_irq_save(flags);
	}
	c = this_cpu_ptr(pool->cpu);
	c->stats.unmaps++;
	c->stats.bytes_out += copied;
	kept = class != DMA_WINDOW_NO_CLASS &&
	       dma_window_pool_push(pool, c, slot, class);
	local_irq_restore(flags);
	if (!kept)
		dma_window_pool_free(pool, map);
	trace_dma_window_unmap(dev, addr, size, dir, attrs, copied);
	return true;
}

#endif /* _KERNEL_DMA_WINDOW_BOUNCE_H */
