// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: what virtio devices need beyond the DMA API.
 *
 * virtio_has_dma_quirk() decides that a virtio device with a window uses the
 * DMA API at all. Refuse here the devices that would not work, or would not be
 * confined, all the same.
 */

#include <linux/dma-mapping.h>
#include <linux/dma-window.h>
#include <linux/swiotlb.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "window.h"

/*
 * The largest chain that a driver adds to a queue with no regard for
 * dma_max_mapping_size(), in bytes, for the kinds where that is more than the
 * smallest window takes. The window has to hold two, because coherent memory
 * may take half of it.
 */
static size_t virtio_largest_chain(u32 device_id)
{
	switch (device_id) {
	case VIRTIO_ID_FS:
		/* FUSE_MAX_MAX_PAGES, and as much again for arguments */
		return 2 * 256 * PAGE_SIZE;
	default:
		return 0;
	}
}

/*
 * Check that a device takes the addresses that it is given. Without
 * VIRTIO_F_ACCESS_PLATFORM it takes them for guest-physical ones, and does not
 * go through an IOMMU.
 */
static int virtio_check_addresses(struct virtio_device *vdev,
				  const struct dma_window_client *client)
{
	if (virtio_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM))
		return 0;
	if (client->iommu) {
		dev_err(&vdev->dev, "does not offer VIRTIO_F_ACCESS_PLATFORM, so it does not go through the IOMMU that its window is behind\n");
		return -ENXIO;
	}
	if (client->bus_base != client->win->base) {
		dev_err(&vdev->dev, "does not offer VIRTIO_F_ACCESS_PLATFORM, and bus addresses (%pad) are not physical addresses (%pa)\n",
			&client->bus_base, &client->win->base);
		return -ENXIO;
	}
	return 0;
}

static bool on_mainline_pool(const struct device *dev)
{
#ifdef CONFIG_DMA_RESTRICTED_POOL
	return dev->dma_io_tlb_mem && dev->dma_io_tlb_mem->for_alloc;
#else
	return false;
#endif
}

/*
 * The balloon gives pages of all the guest's memory to the host by number, and to
 * do so it clears VIRTIO_F_ACCESS_PLATFORM. In mainline this takes a balloon past
 * its restricted-dma-pool. With the DMA API its reports of free pages would be
 * reports of bounced ones.
 */
bool __dma_window_virtio_confined(const struct virtio_device *vdev)
{
	struct device *dev = vdev->dev.parent;
	bool balloon = vdev->id.device == VIRTIO_ID_BALLOON;
	struct dma_window_client *client;

	if (!dev)
		return false;
	if (!__dma_window_attached(dev))
		return on_mainline_pool(dev) && !balloon;
	client = balloon && dma_window_has_window(dev) ?
		 dma_window_client_of(dev) : NULL;
	return !client || !client->or_mainline;
}
EXPORT_SYMBOL_GPL(__dma_window_virtio_confined);

/*
 * Let a device in a window that was made of a mainline's pool do what it could do
 * in mainline.
 */
static int virtio_check_pool(struct virtio_device *vdev,
			     const struct dma_window_client *client)
{
	size_t need = 2 * virtio_largest_chain(vdev->id.device);

	if (vdev->id.device == VIRTIO_ID_BALLOON) {
		dev_info(&vdev->dev, "a balloon is not confined by memory-region\n");
		return 0;
	}
	if (client->win->size < need)
		dev_warn(&vdev->dev, "%s: %s: may be too small: %llu KiB, this kind of device needs %zu KiB\n",
			 client->prop, client->win->where,
			 (u64)client->win->size / SZ_1K, need / SZ_1K);
	return virtio_check_addresses(vdev, client);
}

int __dma_window_virtio_check(struct virtio_device *vdev)
{
	struct device *dev = vdev->dev.parent;
	struct dma_window_client *client;
	size_t need;

	if (!dev)
		return 0;

	client = dma_window_client_of(dev);
	if (!__dma_window_attached(dev)) {
		if (!client)
			return 0;
		dev_err(&vdev->dev, "the DMA operations of %s were replaced behind its window\n",
			dev_name(dev));
		return -EPERM;
	}

	if (client)
		clear_bit(DMA_WINDOW_NO_FLOOR, &client->warned);
	if (dma_window_has_window(dev) && client && client->or_mainline)
		return virtio_check_pool(vdev, client);

	/* A balloon cannot be: see __dma_window_virtio_confined(). */
	if (vdev->id.device == VIRTIO_ID_BALLOON) {
		dev_err(&vdev->dev, "a balloon cannot be confined to a restricted-dma-region\n");
		return -EPERM;
	}

	/* IOMMUs that the tree does not call so: see dma_window_ref_find(). */
	if (vdev->id.device == VIRTIO_ID_IOMMU) {
		dev_err(&vdev->dev, "an IOMMU cannot be confined to a restricted-dma-region\n");
		return -EPERM;
	}

	if (!dma_window_has_window(dev) || !client) {
		dev_err(&vdev->dev, "%s has no window of its own, and can do no DMA\n",
			dev_name(dev));
		return -EPERM;
	}

	if (virtio_check_addresses(vdev, client))
		return -ENXIO;

	need = 2 * virtio_largest_chain(vdev->id.device);
	if (client->win->size < need) {
		dev_err(&vdev->dev, "%s: %s: is too small: %llu KiB, this kind of device needs %zu KiB\n",
			client->prop, client->win->where,
			(u64)client->win->size / SZ_1K, need / SZ_1K);
		return -ENOSPC;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(__dma_window_virtio_check);
