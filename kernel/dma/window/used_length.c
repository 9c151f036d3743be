// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: virtqueues that copy back no more than the device
 * says it wrote.
 *
 * Such virtqueues are safe although the used length is the device's word: the
 * caller reads the length once, and no copy goes beyond a mapping or beyond
 * what is left of the length, so the worst that a lie does is to return other
 * bytes of the device's own window, which the device could have written anyhow.
 * The driver is told how much was copied, not how much was claimed.
 */

#include <linux/dma-mapping.h>
#include <linux/dma-window.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "window.h"

void __dma_window_vq_init(struct dma_window_vq *vq, struct virtio_device *vdev,
			  struct device *dev)
{
	if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1) &&
	    dma_window_has_window(dev) && dma_window_client_of(dev)) {
		vq->len_aware = true;
		vq->attrs |= DMA_ATTR_WINDOW_NO_FILL;
	}
}
EXPORT_SYMBOL_GPL(__dma_window_vq_init);

void __dma_window_vq_unmap(struct dma_window_vq *vq, struct device *dev,
			   dma_addr_t addr, u32 len)
{
	u32 written = min(len, vq->left);

	if (written)
		dma_sync_single_for_cpu(dev, addr, written, DMA_FROM_DEVICE);
	vq->left -= written;
	dma_unmap_page_attrs(dev, addr, len, DMA_FROM_DEVICE,
			     DMA_ATTR_SKIP_CPU_SYNC);
}
EXPORT_SYMBOL_GPL(__dma_window_vq_unmap);
