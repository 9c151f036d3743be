/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what the rest of the kernel calls.
 *
 * A device whose firmware node names a restricted-dma-region gets all its DMA,
 * coherent and streaming, confined to that region; if the region cannot be used
 * it gets no DMA at all. See Documentation/core-api/dma-window.rst.
 *
 * Everything here is a stub without CONFIG_DMA_WINDOW, and behind a static key
 * that is off until the first device appears that has a region, or a pool of
 * mainline's, or that dma_window.untrusted= gives a window.
 */
#ifndef _LINUX_DMA_WINDOW_H
#define _LINUX_DMA_WINDOW_H

#include <linux/bits.h>
#include <linux/dma-direction.h>
#include <linux/jump_label.h>
#include <linux/types.h>

struct device;
struct device_node;
struct iommu_domain;
struct virtio_device;

/*
 * Do not zero the space of a DMA_FROM_DEVICE dma_map_page_attrs(), for a device
 * with a window only. Bytes that earlier mappings left there stay where the
 * device could always see them, but must not reach the driver: a caller that
 * sets this attribute copies back no more than the device says it wrote
 * (dma_sync_single_for_cpu() of that much, then an unmap with
 * DMA_ATTR_SKIP_CPU_SYNC), and never looks further.
 *
 * A bit far above those of <linux/dma-mapping.h>, which are no ABI: ops.c asserts
 * that the two do not meet.
 */
#define DMA_ATTR_WINDOW_NO_FILL		BIT(30)

/*
 * The number of a floor of the device's window, or 0: what to fall back on in a
 * window that is full. See dma_window_vq_create().
 */
#define DMA_ATTR_WINDOW_FLOOR		GENMASK(29, 16)

/**
 * struct dma_window_vq - a virtqueue of a device with a window
 * @attrs: attributes to map buffers with
 * @floor: number of its floor, or 0
 * @len_aware: its driver never looks beyond the used length
 * @left: bytes of the used length that are not copied back yet; 0 except while
 *	a used buffer is detached
 *
 * All zero for every other virtqueue. Protected by what serialises the
 * virtqueue's operations.
 */
struct dma_window_vq {
	unsigned long attrs;
	u16 floor;
	bool len_aware;
	u32 left;
};

#ifdef CONFIG_DMA_WINDOW_IOMMU

DECLARE_STATIC_KEY_FALSE(dma_window_key);

void __dma_window_iommu_setup(struct device *dev);
void __dma_window_domain_gone(struct iommu_domain *domain);
bool __dma_window_keeps_domain(struct device *dev);

/**
 * dma_window_iommu_setup() - an IOMMU has been set up for a device
 * @dev: the device
 *
 * Call behind whatever makes dma-iommu serve the device: dma-iommu must not
 * serve a device with a window, or one that was refused.
 *
 * Context: may sleep. The mutex of the device's IOMMU group is held.
 */
static inline void dma_window_iommu_setup(struct device *dev)
{
	if (static_branch_unlikely(&dma_window_key))
		__dma_window_iommu_setup(dev);
}

/**
 * dma_window_domain_gone() - a domain is about to be freed
 * @domain: the domain; nothing in it is needed any more
 *
 * Context: may sleep. The mutex of the domain's IOMMU group may be held.
 */
static inline void dma_window_domain_gone(struct iommu_domain *domain)
{
	if (static_branch_unlikely(&dma_window_key))
		__dma_window_domain_gone(domain);
}

/**
 * dma_window_keeps_domain() - may nobody attach a domain of their own?
 * @dev: a member of the IOMMU group that a domain is to be attached to
 *
 * Ask for each member, and for a domain of a PASID, too, but not for what the
 * core does with default domains.
 *
 * Context: may sleep. The mutex of the device's IOMMU group is held.
 *
 * Return: true if @dev names a region: refuse the domain with -EPERM; the
 * reason was logged.
 */
static inline bool dma_window_keeps_domain(struct device *dev)
{
	return static_branch_unlikely(&dma_window_key) &&
	       __dma_window_keeps_domain(dev);
}

#else /* !CONFIG_DMA_WINDOW_IOMMU */

static inline void dma_window_iommu_setup(struct device *dev)
{
}

static inline void dma_window_domain_gone(struct iommu_domain *domain)
{
}

static inline bool dma_window_keeps_domain(struct device *dev)
{
	return false;
}

#endif /* CONFIG_DMA_WINDOW_IOMMU */

#if defined(CONFIG_DMA_WINDOW) && defined(CONFIG_OF_EARLY_FLATTREE)
void dma_window_keep_regions(bool capped);
#else
static inline void dma_window_keep_regions(bool capped)
{
}
#endif

#ifdef CONFIG_DMA_WINDOW

DECLARE_STATIC_KEY_FALSE(dma_window_key);

bool dma_window_of_begin(struct device *dev, struct device_node *np,
			 bool force_dma);
int dma_window_of_attach(struct device *dev, struct device_node *np,
			 const u32 *id, int iommu_err);
bool dma_window_leaves_pool(struct device *dev, struct device_node *np);
bool __dma_window_attached(const struct device *dev);
bool __dma_window_virtio_confined(const struct virtio_device *vdev);
void __dma_window_release(struct device *dev);
unsigned int __dma_window_unbound(struct device *dev);
int __dma_window_virtio_check(struct virtio_device *vdev);
unsigned int __dma_window_max_sectors(struct device *dev, unsigned int limit);
unsigned int __dma_window_max_segments(struct device *dev, unsigned int limit);
int __dma_window_vq_create(struct dma_window_vq *vq, struct virtio_device *vdev,
			   struct device *dev, unsigned int index);
void __dma_window_vq_destroy(struct dma_window_vq *vq, struct device *dev);
bool __dma_window_vq_floor_is_free(const struct dma_window_vq *vq,
				   struct device *dev);
void __dma_window_vq_init(struct dma_window_vq *vq, struct virtio_device *vdev,
			  struct device *dev);
void __dma_window_vq_unmap(struct dma_window_vq *vq, struct device *dev,
			   dma_addr_t addr, u32 len);

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
 * dma_window_virtio_confined() - must a virtio device go through the DMA API?
 * @vdev: the virtio device
 *
 * True for a device with a window, or that was refused one, and for a device on
 * mainline's restricted-dma-pool: the addresses that such a device is given have
 * to come from the DMA API, whatever its own features say. A balloon on a pool
 * is an exception, as in mainline.
 *
 * Context: any.
 *
 * Return: true if @vdev can only reach a part of memory.
 */
static inline bool dma_window_virtio_confined(const struct virtio_device *vdev)
{
	return static_branch_unlikely(&dma_window_key) &&
	       __dma_window_virtio_confined(vdev);
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
 * dma_window_unbound() - a device has lost its driver, or did not get it
 * @dev: the device, its managed resources released
 *
 * Takes back the mappings that the driver has left: the device cannot reach their
 * buffers any more. Undoing such a mapping late changes nothing. Coherent memory
 * stays allocated.
 *
 * Context: may sleep. The device's lock is held.
 */
static inline void dma_window_unbound(struct device *dev)
{
	if (static_branch_unlikely(&dma_window_key))
		__dma_window_unbound(dev);
}

/**
 * dma_window_virtio_check() - may this virtio device run in its window?
 * @vdev: the virtio device, its features negotiated, its driver not yet probed
 *
 * Context: may sleep.
 *
 * Return: 0 if @vdev may or has no window; -EPERM if its kind cannot be
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
 * @dev: the device that does the DMA, its virtqueues made
 * @limit: the driver's own bound, in 512-byte sectors
 *
 * A request is mapped as a whole. One that is larger than the window could
 * never be mapped and would be retried for ever; one that the floor of its
 * virtqueue holds need not wait for others.
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

/**
 * dma_window_max_segments() - bound the segments of a block request
 * @dev: the device that does the DMA, its virtqueues made
 * @limit: the driver's own bound
 *
 * Each segment takes room of its own in the window: dma_window_max_sectors() is
 * right for requests of so many segments.
 *
 * Context: any.
 *
 * Return: the bound to use; @limit without a window.
 */
static inline unsigned int dma_window_max_segments(struct device *dev,
						   unsigned int limit)
{
	if (static_branch_unlikely(&dma_window_key))
		return __dma_window_max_segments(dev, limit);
	return limit;
}

/**
 * dma_window_vq_create() - give a virtqueue of a device with a window its floor
 * @vq: of the virtqueue; all zero
 * @vdev: its virtio device
 * @dev: the device that does the DMA, or NULL if it is not by the DMA API
 * @index: the virtqueue's number
 *
 * The floor is room for a chain of the largest size, which nobody else takes.
 *
 * Context: may sleep.
 *
 * Return: 0, also without a window; -ENOSPC if the window has no room, which is
 * logged; -ENOMEM or -EBUSY if there is no memory or number for the floor.
 */
static inline int dma_window_vq_create(struct dma_window_vq *vq,
				       struct virtio_device *vdev,
				       struct device *dev, unsigned int index)
{
	if (static_branch_unlikely(&dma_window_key))
		return __dma_window_vq_create(vq, vdev, dev, index);
	return 0;
}

/**
 * dma_window_vq_destroy() - undo dma_window_vq_create()
 * @vq: of the virtqueue
 * @dev: the device that does the DMA
 *
 * Context: may sleep. Nobody adds to the virtqueue any more.
 */
static inline void dma_window_vq_destroy(struct dma_window_vq *vq,
					 struct device *dev)
{
	if (static_branch_unlikely(&dma_window_key) && vq->floor)
		__dma_window_vq_destroy(vq, dev);
}

/**
 * dma_window_vq_waits() - does a chain that finds no room wait for others?
 * @vq: of the virtqueue
 *
 * Context: any.
 *
 * Return: true if the virtqueue has a floor: once the chains in flight are
 * done, there is room.
 */
static inline bool dma_window_vq_waits(const struct dma_window_vq *vq)
{
	return static_branch_unlikely(&dma_window_key) && vq->floor;
}

/**
 * dma_window_vq_floor_is_free() - is there room for a chain as large as the floor?
 * @vq: of the virtqueue; dma_window_vq_waits() is true
 * @dev: the device that does the DMA
 *
 * Context: any. Nobody adds to the virtqueue meanwhile.
 *
 * Return: true if no chain in flight has slots of the floor.
 */
static inline bool dma_window_vq_floor_is_free(const struct dma_window_vq *vq,
					       struct device *dev)
{
	return __dma_window_vq_floor_is_free(vq, dev);
}

/**
 * dma_window_vq_init() - copy back what was written, if there is a window
 * @vq: of a virtqueue that has no buffers
 * @vdev: its virtio device
 * @dev: the device that does the DMA
 *
 * Legacy devices are left out: the length that they report was never reliable.
 *
 * Context: any.
 */
static inline void dma_window_vq_init(struct dma_window_vq *vq,
				      struct virtio_device *vdev,
				      struct device *dev)
{
	if (static_branch_unlikely(&dma_window_key))
		__dma_window_vq_init(vq, vdev, dev);
}

/**
 * dma_window_vq_attrs() - attributes to map a buffer of a virtqueue with
 * @vq: of the virtqueue
 *
 * Context: any.
 *
 * Return: attributes for dma_map_page_attrs(), 0 for most.
 */
static inline unsigned long dma_window_vq_attrs(const struct dma_window_vq *vq)
{
	return static_branch_unlikely(&dma_window_key) ? vq->attrs : 0;
}

/**
 * dma_window_vq_begin() - a used buffer is about to be detached
 * @vq: of the virtqueue
 * @len: what the device says it wrote; may be a lie
 *
 * Context: any.
 */
static inline void dma_window_vq_begin(struct dma_window_vq *vq, u32 len)
{
	if (static_branch_unlikely(&dma_window_key) && vq->len_aware)
		vq->left = len;
}

/**
 * dma_window_vq_unmap() - copy back what was written, and unmap
 * @vq: of the virtqueue
 * @dev: the device that does the DMA
 * @addr: from dma_map_page_attrs() with dma_window_vq_attrs()
 * @len: bytes mapped there
 * @dir: the direction of the mapping
 *
 * Call in the order of the chain. Outside of dma_window_vq_begin() and
 * dma_window_vq_end() nothing was written, so nothing is copied.
 *
 * Context: any.
 *
 * Return: false if the caller has to unmap, as if there were no window.
 */
static inline bool dma_window_vq_unmap(struct dma_window_vq *vq,
				       struct device *dev, dma_addr_t addr,
				       u32 len, enum dma_data_direction dir)
{
	if (!static_branch_unlikely(&dma_window_key) || !vq->len_aware ||
	    dir != DMA_FROM_DEVICE)
		return false;
	__dma_window_vq_unmap(vq, dev, addr, len);
	return true;
}

/**
 * dma_window_vq_skip() - pass over a part of a used buffer that the driver maps itself
 * @vq: of the virtqueue
 * @len: bytes of the part, for the device to write
 *
 * Call in the order of the chain, in place of dma_window_vq_unmap().
 *
 * Context: any.
 */
static inline void dma_window_vq_skip(struct dma_window_vq *vq, u32 len)
{
	if (static_branch_unlikely(&dma_window_key) && vq->len_aware)
		vq->left -= len < vq->left ? len : vq->left;
}

/**
 * dma_window_vq_end() - a used buffer was detached
 * @vq: of the virtqueue
 * @len: as given to dma_window_vq_begin()
 *
 * Context: any.
 *
 * Return: the length to tell the driver: what was copied, so never more than
 * was mapped; @len without a window.
 */
static inline u32 dma_window_vq_end(struct dma_window_vq *vq, u32 len)
{
	if (static_branch_unlikely(&dma_window_key) && vq->len_aware) {
		len -= vq->left;
		vq->left = 0;
	}
	return len;
}

#else /* !CONFIG_DMA_WINDOW */

static inline bool dma_window_of_begin(struct device *dev,
				       struct device_node *np, bool force_dma)
{
	return force_dma;
}

static inline int dma_window_of_attach(struct device *dev,
				       struct device_node *np, const u32 *id,
				       int iommu_err)
{
	return 0;
}

static inline bool dma_window_leaves_pool(struct device *dev,
					  struct device_node *np)
{
	return true;
}

static inline bool dma_window_attached(const struct device *dev)
{
	return false;
}

static inline bool dma_window_virtio_confined(const struct virtio_device *vdev)
{
	return false;
}

static inline void dma_window_release(struct device *dev)
{
}

static inline void dma_window_unbound(struct device *dev)
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

static inline unsigned int dma_window_max_segments(struct device *dev,
						   unsigned int limit)
{
	return limit;
}

static inline int dma_window_vq_create(struct dma_window_vq *vq,
				       struct virtio_device *vdev,
				       struct device *dev, unsigned int index)
{
	return 0;
}

static inline void dma_window_vq_destroy(struct dma_window_vq *vq,
					 struct device *dev)
{
}

static inline bool dma_window_vq_waits(const struct dma_window_vq *vq)
{
	return false;
}

static inline bool dma_window_vq_floor_is_free(const struct dma_window_vq *vq,
					       struct device *dev)
{
	return true;
}

static inline void dma_window_vq_init(struct dma_window_vq *vq,
				      struct virtio_device *vdev,
				      struct device *dev)
{
}

static inline unsigned long dma_window_vq_attrs(const struct dma_window_vq *vq)
{
	return 0;
}

static inline void dma_window_vq_begin(struct dma_window_vq *vq, u32 len)
{
}

static inline bool dma_window_vq_unmap(struct dma_window_vq *vq,
				       struct device *dev, dma_addr_t addr,
				       u32 len, enum dma_data_direction dir)
{
	return false;
}

static inline void dma_window_vq_skip(struct dma_window_vq *vq, u32 len)
{
}

static inline u32 dma_window_vq_end(struct dma_window_vq *vq, u32 len)
{
	return len;
}

#endif /* CONFIG_DMA_WINDOW */
#endif /* _LINUX_DMA_WINDOW_H */
