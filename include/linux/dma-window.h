/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what the rest of the kernel calls.
 *
 * A device whose firmware node names a restricted-dma-region gets all its DMA,
 * coherent and streaming, confined to that region; if the region cannot be used
 * it gets no DMA at all. See Documentation/core-api/dma-window.rst.
 *
 * Everything here is a stub without CONFIG_DMA_WINDOW, and behind a static key
 * that is off until the first device with a region appears.
 */
#ifndef _LINUX_DMA_WINDOW_H
#define _LINUX_DMA_WINDOW_H

#include <linux/bits.h>
#include <linux/jump_label.h>
#include <linux/types.h>

struct device;
struct device_node;
struct virtio_device;

/*
 * For dma_map_page_attrs(), DMA_FROM_DEVICE, of a device with a window only: do
 * not zero the space. What earlier mappings left there stays where the device
 * could always see it, but must not reach the driver: whoever sets this copies
 * back no more than the device says it wrote (dma_sync_single_for_cpu() of that
 * much, then an unmap with DMA_ATTR_SKIP_CPU_SYNC), and never looks further.
 */
#define DMA_ATTR_WINDOW_NO_FILL		BIT(30)

#ifdef CONFIG_DMA_WINDOW

DECLARE_STATIC_KEY_FALSE(dma_window_key);

bool dma_window_of_begin(struct device *dev, struct device_node *np,
			 bool force_dma);
int dma_window_of_attach(struct device *dev, struct device_node *np);
bool dma_window_serves_pools(void);
bool __dma_window_attached(const struct device *dev);
bool __dma_window_confined(const struct device *dev);
void __dma_window_release(struct device *dev);
int __dma_window_virtio_check(struct virtio_device *vdev);
unsigned int __dma_window_max_sectors(struct device *dev, unsigned int limit);

/**
 * dma_window_attached() - does this device belong to a window?
 * @dev: the device that does the DMA
 *
 * Context: any.
 *
 * Return: true if @dev has a window, or was refused one and can do no DMA.
 */
static inline bool dma_window_attached(const struct device *dev)
{
	return static_branch_unlikely(&dma_window_key) &&
	       __dma_window_attached(dev);
}

/**
 * dma_window_confined() - must this device go through the DMA API?
 * @dev: the device that does the DMA
 *
 * Like dma_window_attached(), and also true for a device on mainline's
 * restricted-dma-pool: the addresses that such a device is given have to come
 * from the DMA API, whatever its own features say.
 *
 * Context: any.
 *
 * Return: true if @dev can only reach a part of memory.
 */
static inline bool dma_window_confined(const struct device *dev)
{
	return static_branch_unlikely(&dma_window_key) &&
	       __dma_window_confined(dev);
}

/**
 * dma_window_release() - forget a device for good
 * @dev: the device whose last reference is gone
 *
 * Returns to the window what the device's drivers left mapped in it.
 *
 * Context: may sleep; the device is unreachable by anybody else.
 */
static inline void dma_window_release(struct device *dev)
{
	if (static_branch_unlikely(&dma_window_key))
		__dma_window_release(dev);
}

/**
 * dma_window_virtio_check() - may this virtio device run in its window?
 * @vdev: the virtio device, its features negotiated, its driver not yet probed
 *
 * Context: may sleep.
 *
 * Return: 0 if it may or if it has no window; -EPERM if its kind cannot be
 * confined; -ENOSPC if its window is too small for its kind; -ENXIO if window
 * addresses are not what the device would use. The reason is logged.
 */
static inline int dma_window_virtio_check(struct virtio_device *vdev)
{
	if (static_branch_unlikely(&dma_window_key))
		return __dma_window_virtio_check(vdev);
	return 0;
}

/**
 * dma_window_max_sectors() - bound a block request to what the window can hold
 * @dev: the device that does the DMA
 * @limit: the driver's own bound, in 512-byte sectors
 *
 * A request is mapped as a whole. One that is larger than the window could
 * never be mapped and would be retried for ever.
 *
 * Context: any.
 *
 * Return: the bound to use, in 512-byte sectors; @limit without a window.
 */
static inline unsigned int dma_window_max_sectors(struct device *dev,
						  unsigned int limit)
{
	if (static_branch_unlikely(&dma_window_key))
		return __dma_window_max_sectors(dev, limit);
	return limit;
}

#else /* !CONFIG_DMA_WINDOW */

static inline bool dma_window_of_begin(struct device *dev,
				       struct device_node *np, bool force_dma)
{
	return force_dma;
}

static inline int dma_window_of_attach(struct device *dev,
				       struct device_node *np)
{
	return 0;
}

static inline bool dma_window_serves_pools(void)
{
	return false;
}

static inline bool dma_window_attached(const struct device *dev)
{
	return false;
}

static inline bool dma_window_confined(const struct device *dev)
{
	return false;
}

static inline void dma_window_release(struct device *dev)
{
}

static inline int dma_window_virtio_check(struct virtio_device *vdev)
{
	return 0;
}

static inline unsigned int dma_window_max_sectors(struct device *dev,
						  unsigned int limit)
{
	return limit;
}

#endif /* CONFIG_DMA_WINDOW */
#endif /* _LINUX_DMA_WINDOW_H */
