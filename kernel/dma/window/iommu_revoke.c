// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: taking addresses away from the devices behind an
 * IOMMU, and what happens when the IOMMU fails to.
 *
 * No memory that a device could reach goes back to its owner, and no address
 * is used again, unless dma_window_iommu_revoke() says that the device cannot
 * reach it any more.
 *
 * Revoke strictly, whatever the domain's type: invalidate the IOTLB before an
 * unmap returns. The flush queue belongs to dma-iommu's own unmap, which
 * devices with a window never go through.
 */

#include <linux/error-injection.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>

#include "iommu.h"

/* Unmap a range. The IOTLB's invalidation is complete on return. */
static noinline int dma_window_unmap_invalidate(struct iommu_domain *domain,
						dma_addr_t iova, size_t span)
{
	/* iommu_unmap() takes more if a part cannot go alone. */
	return iommu_unmap(domain, iova, span) >= span ? 0 : -EIO;
}
ALLOW_ERROR_INJECTION(dma_window_unmap_invalidate, ERRNO);

/**
 * dma_window_iommu_revoke() - take addresses away from the devices of a domain
 * @io: the window in the domain
 * @iova: the first granule's address, bytes
 * @span: whole granules, all of them mapped, bytes
 *
 * If the IOMMU fails, neither the addresses nor the memory behind them may be
 * used again: the caller frees no address and gives back no memory of the
 * window; dma_window_iommu_hold_back() takes care of a driver's memory. A domain
 * that is gone took its mappings along.
 *
 * Context: any, under the RCU read lock or dma_window_mutex.
 *
 * Return: true if no device can reach anything there any more.
 */
bool dma_window_iommu_revoke(struct dma_window_iommu *io, dma_addr_t iova,
			     size_t span)
{
	struct iommu_domain *domain = READ_ONCE(io->domain);

	if (!domain)
		return true;
	if (likely(!dma_window_unmap_invalidate(domain, iova, span)))
		return true;
	WRITE_ONCE(io->win->leaked, true);
	this_cpu_add(io->win->pool.cpu->stats.leaked, span);
	return false;
}

/**
 * dma_window_iommu_free_iova() - give addresses back to the domain
 * @io: the window in the domain
 * @iova: the first address, bytes
 * @span: whole granules, none of them mapped any more, bytes
 *
 * Context: any, under the RCU read lock or dma_window_mutex.
 */
void dma_window_iommu_free_iova(struct dma_window_iommu *io, dma_addr_t iova,
				size_t span)
{
	struct iommu_domain *domain = READ_ONCE(io->domain);

	if (domain)
		dma_window_free_iova(domain, iova, span);
}

/**
 * dma_window_iommu_revoke_failed_map() - revoke what a failed map may have left
 * @io: the window in the domain, which is not gone
 * @iova: the first granule's address, bytes
 * @span: whole granules, bytes
 *
 * Call after iommu_map() or iommu_map_sg() failed: they undo what they did but
 * do not say whether they could. Memory that an IOMMU's driver knows to be
 * mapped still is; see patch "iommu/virtio: an unmap does not fail for want of
 * memory" for why a virtio-iommu can be believed that.
 *
 * Context: any, under the RCU read lock or dma_window_mutex.
 *
 * Return: as dma_window_iommu_revoke().
 */
bool dma_window_iommu_revoke_failed_map(struct dma_window_iommu *io,
					dma_addr_t iova, size_t span)
{
	size_t at;

	for (at = 0; at < span; at += io->granule)
		if (iommu_iova_to_phys(io->domain, iova + at) &&
		    !dma_window_iommu_revoke(io, iova + at, io->granule))
			return false;
	return true;
}

/*
 * Keep memory from being allocated again, as far as it has references to take:
 * objects of slabs have none, nor have tails of pages that are not compound.
 */
static void hold_pages(phys_addr_t phys, size_t size)
{
	unsigned long pfn, end = PHYS_PFN(phys + size - 1);

	for (pfn = PHYS_PFN(phys); pfn <= end; pfn++) {
		struct folio *folio = page_folio(pfn_to_page(pfn));

		if (!folio_test_slab(folio))
			folio_try_get(folio);
	}
}

/* Cut off a device: without bus mastering, PCI devices reach no memory. */
static void client_cut_off(struct dma_window_client *client, size_t span)
{
	struct device *dev = client->dev;

	dma_window_deny(dev);
	if (dev_is_pci(dev))
		pci_clear_master(to_pci_dev(dev));
	dev_err(dev, "%s: the IOMMU does not let go of %zu bytes: the device %s\n",
		client->win->name, span,
		dev_is_pci(dev) ? "is cut off" : "CANNOT be cut off");
}

/**
 * dma_window_iommu_hold_back() - an IOMMU did not let go of a driver's memory
 * @client: for whom the memory was mapped
 * @sgl: the memory, or NULL if it may have another owner by now
 * @nents: entries of @sgl
 * @span: what stays mapped, bytes
 *
 * The memory's owner goes on using it, or gives it to others. Cut off all
 * devices that share the domain, and let no driver have them while the domain
 * lasts. Should a driver turn bus mastering on again, the memory in @sgl that
 * can be held is nobody else's at least.
 *
 * Context: any, under the RCU read lock.
 */
void dma_window_iommu_hold_back(struct dma_window_client *client,
				struct scatterlist *sgl, int nents, size_t span)
{
	struct dma_window_client *other;
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i)
		if (sg->length)
			hold_pages(sg_phys(sg), sg->length);

	if (READ_ONCE(client->iommu->exposed))
		return;
	WRITE_ONCE(client->iommu->exposed, true);
	hash_for_each_rcu(dma_window_clients, i, other, node)
		if (other->iommu == client->iommu)
			client_cut_off(other, span);
}
