// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: the operations of the DMA API.
 *
 * Three sets. A device with a window has dma_window_ops, or behind an IOMMU
 * dma_window_iommu_ops. A device that was refused has dma_window_deny_ops: it
 * can map and allocate nothing, but the mappings that it had before (its region
 * may have been good at an earlier probe) can still be synced and undone.
 *
 * Calls go one way, down from here: to bounce.c for what is in the window, to
 * iommu.c for what may be mapped in place, and from there to bounce.c. A
 * callee that does not know an address says so.
 *
 * A device that has these operations but no client, because somebody copied
 * the operations of another device, is refused too.
 */

#include <linux/memremap.h>
#include <linux/scatterlist.h>

#include "bounce.h"

/*
 * DMA_ATTR_WINDOW_NO_FILL and _FLOOR are no attributes of the kernel's: notice one
 * that takes a bit of theirs. New ones are given the next bit from below.
 */
static_assert(!((DMA_ATTR_WINDOW_NO_FILL | DMA_ATTR_WINDOW_FLOOR) &
		(DMA_ATTR_WEAK_ORDERING | DMA_ATTR_WRITE_COMBINE |
		 DMA_ATTR_NO_KERNEL_MAPPING | DMA_ATTR_SKIP_CPU_SYNC |
		 DMA_ATTR_FORCE_CONTIGUOUS | DMA_ATTR_ALLOC_SINGLE_PAGES |
		 DMA_ATTR_NO_WARN | DMA_ATTR_PRIVILEGED | DMA_ATTR_MMIO |
		 DMA_ATTR_DEBUGGING_IGNORE_CACHELINES |
		 DMA_ATTR_REQUIRE_COHERENT | DMA_ATTR_CC_SHARED |
		 __DMA_ATTR_ALLOC_CC_SHARED)));

/**
 * dma_window_can_map() - may a page be mapped for a device with a window?
 * @dev: the device
 * @page: the page
 *
 * Peer memory may not: it is not ours to copy, may have side effects, and
 * behind an IOMMU it would be reachable besides the window.
 *
 * Context: any.
 *
 * Return: true if it may.
 */
bool dma_window_can_map(struct device *dev, struct page *page)
{
	struct dma_window_client *client;

	if (!is_pci_p2pdma_page(page))
		return true;

	client = dma_window_client_of(dev);
	if (!client)
		return false;
	dma_window_fail(client, invalid, 0);
	if (__ratelimit(&client->ratelimit))
		dev_warn(dev, "%s: peer-to-peer memory cannot be mapped\n",
			 client->win->name);
	return false;
}

/* ---- Unmapping and syncing: the same whatever the operations are now ---- */

/*
 * Undo what bounce_unmap() did not find: a mapping in place, or one that its
 * driver had forgotten, which changes nothing. @sgl: the list that the mapping
 * may be of, or NULL. Returns the size of a mapping in place, bytes, else 0.
 */
static noinline size_t unmap_not_bounced(struct device *dev, dma_addr_t addr,
					 struct scatterlist *sgl, int nents,
					 unsigned long attrs)
{
	struct dma_window_client *client;
	size_t size = 0;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (client && !dma_window_bounce_end_retired(client, addr)) {
		size = dma_window_iommu_unmap(client, addr, sgl, nents, attrs);
		if (!size)
			dma_window_invalid(client, DMA_WINDOW_BUG_UNMAP, addr);
	}
	rcu_read_unlock();
	return size;
}

static void window_unmap_page(struct device *dev, dma_addr_t addr, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	if (unlikely(!bounce_unmap(dev, addr, attrs)))
		unmap_not_bounced(dev, addr, NULL, 0, attrs);
}

static void window_unmap_sg(struct device *dev, struct scatterlist *sgl,
			    int nents, enum dma_data_direction dir,
			    unsigned long attrs)
{
	struct scatterlist *sg;
	dma_addr_t addr = 0;
	size_t gone = 0;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		if (sg_dma_address(sg) == DMA_WINDOW_LIST_END)
			break;
		/* Skip more of what went with an entry before. */
		if (sg_dma_address(sg) - addr < gone)
			continue;
		addr = sg_dma_address(sg);
		gone = 0;
		if (unlikely(!bounce_unmap(dev, addr, attrs)))
			gone = unmap_not_bounced(dev, addr, sgl, nents, attrs);
	}
}

/* Sync a part of a mapping in the window, or else in place. */
static void window_sync(struct device *dev, dma_addr_t addr, size_t size,
			enum dma_data_direction dir, bool for_cpu)
{
	struct dma_window_client *client;

	/* A late sync, of a driver that is gone, may meet the client's end. */
	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (client &&
	    !dma_window_bounce_sync(client, addr, size, dir, for_cpu) &&
	    !dma_window_iommu_sync(client, addr, size, dir, for_cpu))
		dma_window_invalid(client, DMA_WINDOW_BUG_SYNC, addr);
	rcu_read_unlock();
}

static void window_sync_sg(struct device *dev, struct scatterlist *sgl,
			   int nents, enum dma_data_direction dir, bool for_cpu)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		if (sg_dma_address(sg) == DMA_WINDOW_LIST_END)
			break;
		window_sync(dev, sg_dma_address(sg), sg_dma_len(sg), dir,
			    for_cpu);
	}
}

static void window_sync_for_cpu(struct device *dev, dma_addr_t addr,
				size_t size, enum dma_data_direction dir)
{
	window_sync(dev, addr, size, dir, true);
}

static void window_sync_for_device(struct device *dev, dma_addr_t addr,
				   size_t size, enum dma_data_direction dir)
{
	window_sync(dev, addr, size, dir, false);
}

static void window_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl,
				   int nents, enum dma_data_direction dir)
{
	window_sync_sg(dev, sgl, nents, dir, true);
}

static void window_sync_sg_for_device(struct device *dev,
				      struct scatterlist *sgl, int nents,
				      enum dma_data_direction dir)
{
	window_sync_sg(dev, sgl, nents, dir, false);
}

/* ---- Mapping in a window, without an IOMMU ---- */

static dma_addr_t window_map_page(struct device *dev, struct page *page,
				  unsigned long offset, size_t size,
				  enum dma_data_direction dir,
				  unsigned long attrs)
{
	if (!dma_window_can_map(dev, page))
		return DMA_MAPPING_ERROR;

	return dma_window_bounce_map(dev, page_to_phys(page) + offset, size,
				     dir, attrs);
}

DMA_WINDOW_DEFINE_MAP_OP(window_map)

/* The error for a list that found no room: -ENOMEM says "try again". */
static int window_list_error(struct dma_window_client *client,
			     struct scatterlist *sgl, int nents)
{
	struct scatterlist *sg;
	u64 slots = 0;
	int i;

	/* A buffer by itself may have what several cannot. */
	if (nents == 1)
		return sgl->length <= dma_window_max_mapping(client->win) ?
		       -ENOMEM : -EINVAL;
	for_each_sg(sgl, sg, nents, i)
		slots += dma_window_bounce_slots(client, sg_phys(sg), sg->length);
	return dma_window_bounce_fits(client, slots) ? -ENOMEM : -EINVAL;
}

static int window_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
			 enum dma_data_direction dir, unsigned long attrs)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	struct scatterlist *sg;
	int i, ret = -EINVAL;

	if (!client || dma_window_attrs_unfit(attrs))
		return ret;

	for_each_sg(sgl, sg, nents, i) {
		if (!dma_window_can_map(dev, sg_page(sg))) {
			ret = -EREMOTEIO;
			goto unmap;
		}
		sg_dma_address(sg) = dma_window_bounce_map(dev, sg_phys(sg),
							   sg->length, dir,
							   attrs);
		if (sg_dma_address(sg) == DMA_MAPPING_ERROR) {
			ret = window_list_error(client, sgl, nents);
			goto unmap;
		}
		sg_dma_len(sg) = sg->length;
	}
	return nents;

unmap:
	/* The device never saw these buffers: copy nothing back. */
	window_unmap_sg(dev, sgl, i, dir, attrs | DMA_ATTR_SKIP_CPU_SYNC);
	sg_dma_len(sgl) = 0;
	return ret;
}

/* ---- Coherent memory, and limits ---- */

static void *window_alloc(struct device *dev, size_t size, dma_addr_t *addr,
			  gfp_t gfp, unsigned long attrs)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	if (!client)
		return NULL;
	if (attrs & DMA_ATTR_NO_WARN)
		gfp |= __GFP_NOWARN;

	return dma_window_coherent_alloc(client, size, addr, gfp);
}

static void window_free(struct device *dev, size_t size, void *vaddr,
			dma_addr_t addr, unsigned long attrs)
{
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (client)
		dma_window_coherent_free(client, size, addr);
	rcu_read_unlock();
}

static struct page *window_alloc_pages(struct device *dev, size_t size,
				       dma_addr_t *addr,
				       enum dma_data_direction dir, gfp_t gfp)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	void *vaddr;

	if (!client || !client->win->has_pages)
		return NULL;
	vaddr = window_alloc(dev, size, addr, gfp, 0);
	return vaddr ? virt_to_page(vaddr) : NULL;
}

static void window_free_pages(struct device *dev, size_t size,
			      struct page *page, dma_addr_t addr,
			      enum dma_data_direction dir)
{
	window_free(dev, size, page_address(page), addr, 0);
}

/* Where an allocation is in memory: *@phys; -ENXIO if there is no such one. */
static int coherent_phys(struct device *dev, size_t size, void *vaddr,
			 dma_addr_t addr, phys_addr_t *phys)
{
	struct dma_window_client *client;
	int ret = -ENXIO;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (client && dma_window_coherent_valid(client, size, vaddr, addr)) {
		*phys = client->win->base + (addr - client->bus_base);
		ret = client->win->has_pages;
	}
	rcu_read_unlock();
	return ret;
}

/* The kernel's own dma_common_mmap() asks for struct pages. */
static int window_mmap(struct device *dev, struct vm_area_struct *vma,
		       void *vaddr, dma_addr_t addr, size_t size,
		       unsigned long attrs)
{
	unsigned long count = PAGE_ALIGN(size) >> PAGE_SHIFT;
	phys_addr_t phys;

	if (coherent_phys(dev, size, vaddr, addr, &phys) < 0 ||
	    vma->vm_pgoff >= count || vma_pages(vma) > count - vma->vm_pgoff)
		return -ENXIO;
	/* The window is shared with the host. */
	if (dma_window_is_unencrypted(dev))
		vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(phys) + vma->vm_pgoff,
			       vma_pages(vma) << PAGE_SHIFT, vma->vm_page_prot);
}

static int window_get_sgtable(struct device *dev, struct sg_table *sgt,
			      void *vaddr, dma_addr_t addr, size_t size,
			      unsigned long attrs)
{
	phys_addr_t phys;
	int ret = coherent_phys(dev, size, vaddr, addr, &phys);

	/* A list is of struct pages, which a BAR has none of. */
	if (ret <= 0)
		return -ENXIO;
	ret = sg_alloc_table(sgt, 1, GFP_KERNEL);
	if (!ret)
		sg_set_page(sgt->sgl, pfn_to_page(PHYS_PFN(phys)),
			    PAGE_ALIGN(size), 0);
	return ret;
}

/* The highest bus address of the window, or 0 without one. */
static dma_addr_t window_last(struct dma_window_client *client)
{
	return client ? client->bus_last : 0;
}

static int window_mask_supported(struct device *dev, u64 mask)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	dma_addr_t last = window_last(client);

	if (!client)
		return 0;
	if (last <= min_not_zero(mask, dev->bus_dma_limit)) {
		WRITE_ONCE(client->refused_mask, 0);
		return 1;
	}
	/* Say so when the driver gives up: it may only try the mask. */
	WRITE_ONCE(client->refused_mask, mask);
	return 0;
}

static u64 window_required_mask(struct device *dev)
{
	dma_addr_t last = window_last(dma_window_client_of(dev));

	return DMA_BIT_MASK(fls64(last));
}

static size_t window_max_mapping_size(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	return client ? dma_window_max_request(client->win) : 0;
}

/*
 * No map_resource: a window cannot stand in for device registers, so the core
 * refuses. No get_merge_boundary: each segment is bounced by itself.
 */
const struct dma_map_ops dma_window_ops = {
	.alloc			= window_alloc,
	.free			= window_free,
	.dma_window_alloc_pages_op = window_alloc_pages,
	.free_pages		= window_free_pages,
	.mmap			= window_mmap,
	.get_sgtable		= window_get_sgtable,
	.dma_window_map_op	= DMA_WINDOW_MAP_OP(window_map),
	.dma_window_unmap_op	= window_unmap_page,
	.map_sg			= window_map_sg,
	.unmap_sg		= window_unmap_sg,
	.sync_single_for_cpu	= window_sync_for_cpu,
	.sync_single_for_device	= window_sync_for_device,
	.sync_sg_for_cpu	= window_sync_sg_for_cpu,
	.sync_sg_for_device	= window_sync_sg_for_device,
	.dma_supported		= window_mask_supported,
	.get_required_mask	= window_required_mask,
	.max_mapping_size	= window_max_mapping_size,
};

#ifdef CONFIG_DMA_WINDOW_IOMMU
static dma_addr_t iommu_map_page(struct device *dev, struct page *page,
				 unsigned long offset, size_t size,
				 enum dma_data_direction dir,
				 unsigned long attrs)
{
	if (!dma_window_can_map(dev, page))
		return DMA_MAPPING_ERROR;

	return dma_window_iommu_map(dev, page_to_phys(page) + offset, size,
				    dir, attrs);
}

DMA_WINDOW_DEFINE_MAP_OP(iommu_map)

static int iommu_map_sg_or_none(struct device *dev, struct scatterlist *sgl,
				int nents, enum dma_data_direction dir,
				unsigned long attrs)
{
	int ret;

	if (dma_window_attrs_unfit(attrs))
		return -EINVAL;
	ret = dma_window_iommu_map_sg(dev, sgl, nents, dir, attrs);
	if (ret < 0) {
		/* The device never saw these buffers: copy nothing back. */
		window_unmap_sg(dev, sgl, nents, dir,
				attrs | DMA_ATTR_SKIP_CPU_SYNC);
		sg_dma_len(sgl) = 0;
	}
	return ret;
}

/* Ask for 32 bits, as dma-iommu does: a driver that asks takes them then. */
static u64 iommu_required_mask(struct device *dev)
{
	return max(window_required_mask(dev), DMA_BIT_MASK(32));
}

/*
 * The limit is for buffers of either direction: unless both can be in place, it
 * is that without an IOMMU.
 */
static size_t iommu_max_mapping_size(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	if (!client)
		return 0;
	return client->in_place & BIT(DMA_FROM_DEVICE) ?
	       DMA_WINDOW_MAX_IN_PLACE : dma_window_max_request(client->win);
}

/* Coherent memory is in the window, as without an IOMMU, and so is what is bounced. */
const struct dma_map_ops dma_window_iommu_ops = {
	.alloc			= window_alloc,
	.free			= window_free,
	.dma_window_alloc_pages_op = window_alloc_pages,
	.free_pages		= window_free_pages,
	.mmap			= window_mmap,
	.get_sgtable		= window_get_sgtable,
	.dma_window_map_op	= DMA_WINDOW_MAP_OP(iommu_map),
	.dma_window_unmap_op	= window_unmap_page,
	.map_sg			= iommu_map_sg_or_none,
	.unmap_sg		= window_unmap_sg,
	.sync_single_for_cpu	= window_sync_for_cpu,
	.sync_single_for_device	= window_sync_for_device,
	.sync_sg_for_cpu	= window_sync_sg_for_cpu,
	.sync_sg_for_device	= window_sync_sg_for_device,
	.dma_supported		= window_mask_supported,
	.get_required_mask	= iommu_required_mask,
	.max_mapping_size	= iommu_max_mapping_size,
	.opt_mapping_size	= iommu_dma_opt_mapping_size,
};
#else
/* Unused: no device with a window is behind an IOMMU. */
const struct dma_map_ops dma_window_iommu_ops = {};
#endif

static dma_addr_t deny_map_page(struct device *dev, struct page *page,
				unsigned long offset, size_t size,
				enum dma_data_direction dir,
				unsigned long attrs)
{
	return DMA_MAPPING_ERROR;
}

DMA_WINDOW_DEFINE_MAP_OP(deny_map)

static int deny_map_sg(struct device *dev, struct scatterlist *sg, int nents,
		       enum dma_data_direction dir, unsigned long attrs)
{
	return -EINVAL;
}

static int deny_mask_supported(struct device *dev, u64 mask)
{
	return 0;
}

static size_t deny_max_mapping_size(struct device *dev)
{
	return 0;
}

/* The core answers calls of missing operations with an error. */
const struct dma_map_ops dma_window_deny_ops = {
	.free			= window_free,
	.free_pages		= window_free_pages,
	.dma_window_map_op	= DMA_WINDOW_MAP_OP(deny_map),
	.dma_window_unmap_op	= window_unmap_page,
	.map_sg			= deny_map_sg,
	.unmap_sg		= window_unmap_sg,
	.sync_single_for_cpu	= window_sync_for_cpu,
	.sync_single_for_device	= window_sync_for_device,
	.sync_sg_for_cpu	= window_sync_sg_for_cpu,
	.sync_sg_for_device	= window_sync_sg_for_device,
	.dma_supported		= deny_mask_supported,
	.max_mapping_size	= deny_max_mapping_size,
};
