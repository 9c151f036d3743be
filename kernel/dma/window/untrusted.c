// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: PCI devices that are untrusted, and name no region.
 *
 * Such a device is behind an IOMMU, and dma-iommu bounces its unaligned buffers
 * as a whole through swiotlb's default pool, mapping and unmapping each. With
 * the kernel parameter dma_window.untrusted=SIZE it is served as a device with
 * a region is, only that its window is ordinary memory, made for its IOMMU
 * group and freed with it. It is not swiotlb's pool: that belongs to all
 * devices, and mapping it once and for all would show each of them the others'
 * data.
 *
 * Nothing fails closed here: without a window the device keeps dma-iommu's
 * operations, which are confined enough, only slower.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>

#include "window.h"

static unsigned long untrusted_bytes;

static int untrusted_set(const char *val, const struct kernel_param *kp)
{
	unsigned long size;
	char *end;

	size = memparse(val, &end);
	if (end == val || (*end && *end != '\n')) {
		pr_err("untrusted=%s: not a size\n", val);
		return -EINVAL;
	}
	if (size && (size < DMA_WINDOW_MIN_SIZE || !PAGE_ALIGNED(size))) {
		pr_err("untrusted=%s: at least %llu KiB, in whole pages\n", val,
		       (u64)DMA_WINDOW_MIN_SIZE / SZ_1K);
		return -EINVAL;
	}
	untrusted_bytes = size;
	return 0;
}

static const struct kernel_param_ops untrusted_ops = {
	.set	= untrusted_set,
	.get	= param_get_ulong,
};
module_param_cb(untrusted, &untrusted_ops, &untrusted_bytes, 0400);
MODULE_PARM_DESC(untrusted,
		 "size of the windows of untrusted PCI devices without a region; 0: leave them to swiotlb");

/*
 * Ask the PCI core and firmware: from 6.12.y on, the core on arm64 makes
 * nothing of a port that faces the outside.
 */
static bool pci_is_untrusted(struct pci_dev *pdev)
{
	for (; pdev; pdev = pci_upstream_bridge(pdev))
		if (pdev->untrusted || pdev->external_facing)
			return true;
	return false;
}

/**
 * dma_window_untrusted_asked() - is a device one that such windows are for?
 * @dev: the device
 *
 * Context: may sleep.
 *
 * Return: true if @dev is untrusted and the kernel was told to give such
 * devices windows; whether it can have one, dma_window_untrusted_size() says.
 */
bool dma_window_untrusted_asked(struct device *dev)
{
	return untrusted_bytes && dev_is_pci(dev) && dev_is_dma_coherent(dev) &&
	       !pci_is_bridge(to_pci_dev(dev)) &&
	       pci_is_untrusted(to_pci_dev(dev));
}

/**
 * dma_window_untrusted_size() - how large a window for a device without a region?
 * @dev: the device, its IOMMU set up, and the IOMMU group held
 *
 * Context: may sleep.
 *
 * Return: bytes, or 0 if @dev is not to have a window.
 */
phys_addr_t dma_window_untrusted_size(struct device *dev)
{
	if (!dma_window_untrusted_asked(dev))
		return 0;
	if (!iommu_get_domain_for_dev(dev) ||
	    dma_window_iommu_unfit_reason(dev))
		return 0;
	return untrusted_bytes;
}

/**
 * dma_window_untrusted_alloc() - memory for a window that has no region
 * @dev: the window's first device
 * @size: bytes, whole pages
 *
 * Context: may sleep.
 *
 * Return: the memory's kernel address, in the linear map, or NULL.
 */
void *dma_window_untrusted_alloc(struct device *dev, size_t size)
{
#ifdef CONFIG_CONTIG_ALLOC
	int nid = dev_to_node(dev);
	struct page *page;

	if (nid == NUMA_NO_NODE)
		nid = numa_mem_id();
	page = alloc_contig_pages(size >> PAGE_SHIFT, GFP_KERNEL | __GFP_NOWARN,
				  nid, NULL);
	return page ? page_address(page) : NULL;
#else
	return alloc_pages_exact(size, GFP_KERNEL | __GFP_NOWARN);
#endif
}

/**
 * dma_window_untrusted_free() - undo dma_window_untrusted_alloc()
 * @vaddr: what dma_window_untrusted_alloc() returned
 * @size: bytes
 *
 * Context: may sleep.
 */
void dma_window_untrusted_free(void *vaddr, size_t size)
{
#ifdef CONFIG_CONTIG_ALLOC
	free_contig_range(page_to_pfn(virt_to_page(vaddr)), size >> PAGE_SHIFT);
#else
	free_pages_exact(vaddr, size);
#endif
}
