/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what differs between kernels, and nothing else does.
 *
 * The code is written for the interfaces of the default kernel in kernels.conf;
 * here are those that another kernel lacks, made of what it has.
 * DMA_WINDOW_HAVE_... are from probes.mk.
 */
#ifndef _KERNEL_DMA_WINDOW_COMPAT_H
#define _KERNEL_DMA_WINDOW_COMPAT_H

#include <linux/cc_platform.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/iova.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/scatterlist.h>

#if defined(MODULE) && !defined(CONFIG_ARCH_HAS_DMA_OPS) && !defined(CONFIG_DMA_OPS)
#error "This kernel has no DMA operations of devices: CONFIG_ARCH_HAS_DMA_OPS is not set"
#endif

/* ---- The DMA API ---- */

/* The member of struct dma_map_ops that allocates pages. */
#ifdef DMA_WINDOW_HAVE_ALLOC_PAGES_OP
#define dma_window_alloc_pages_op	alloc_pages_op
#else
#define dma_window_alloc_pages_op	alloc_pages
#endif

/*
 * The members that map and unmap a buffer, and the function NAME_page() as one of
 * them. What is mapped by physical address without DMA_ATTR_MMIO has a page.
 */
#ifdef DMA_WINDOW_HAVE_MAP_PHYS
#define dma_window_map_op		map_phys
#define dma_window_unmap_op		unmap_phys
#define DMA_WINDOW_MAP_OP(name)		name##_phys
#define DMA_WINDOW_DEFINE_MAP_OP(name)					\
static dma_addr_t name##_phys(struct device *dev, phys_addr_t phys,	\
			      size_t size, enum dma_data_direction dir,	\
			      unsigned long attrs)			\
{									\
	if (dma_window_attrs_unfit(attrs))				\
		return DMA_MAPPING_ERROR;				\
	return name##_page(dev, pfn_to_page(PHYS_PFN(phys)),		\
			   offset_in_page(phys), size, dir, attrs);	\
}
#else
#define dma_window_map_op		map_page
#define dma_window_unmap_op		unmap_page
#define DMA_WINDOW_MAP_OP(name)		name##_page
#define DMA_WINDOW_DEFINE_MAP_OP(...)
#endif

#ifndef DMA_ATTR_MMIO
#define DMA_ATTR_MMIO			0
#endif
#ifndef DMA_ATTR_DEBUGGING_IGNORE_CACHELINES
#define DMA_ATTR_DEBUGGING_IGNORE_CACHELINES	0
#endif
#ifndef DMA_ATTR_REQUIRE_COHERENT
#define DMA_ATTR_REQUIRE_COHERENT	0
#endif
#ifndef DMA_ATTR_CC_SHARED
#define DMA_ATTR_CC_SHARED		0
#endif
#ifndef __DMA_ATTR_ALLOC_CC_SHARED
#define __DMA_ATTR_ALLOC_CC_SHARED	0
#endif

/*
 * Tell whether a buffer must not be copied: device registers, or for its user. What
 * is shared with the host already is refused by the DMA API, but for lists.
 */
static inline bool dma_window_attrs_unfit(unsigned long attrs)
{
	return attrs & (DMA_ATTR_MMIO | DMA_ATTR_REQUIRE_COHERENT |
			DMA_ATTR_CC_SHARED);
}

#ifndef DMA_WINDOW_HAVE_NEED_SYNC
/* Syncs are never skipped. */
static inline void dma_reset_need_sync(struct device *dev)
{
}
#endif

/* Tell whether what a device shares with the kernel is not encrypted, as all else is. */
static inline bool dma_window_is_unencrypted(struct device *dev)
{
#ifdef MODULE
	/* Each architecture's own test is not exported. */
	return cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT);
#else
	return force_dma_unencrypted(dev);
#endif
}

/* ---- dma-iommu ---- */

#ifdef MODULE
/* The core keeps these to itself; a module refuses devices behind an IOMMU. */
static inline int dma_window_domain_hold(struct device *dev)
{
	return 0;
}

static inline void dma_window_domain_release(struct device *dev)
{
}
#else
/* Keep a device's IOMMU domain what it is. */
static inline int dma_window_domain_hold(struct device *dev)
{
	return iommu_device_use_default_domain(dev);
}

static inline void dma_window_domain_release(struct device *dev)
{
	iommu_device_unuse_default_domain(dev);
}
#endif

#if defined(CONFIG_IOMMU_DMA) && !defined(MODULE)

/* linux/iommu-dma.h relies on the includes above. */
#ifdef DMA_WINDOW_HAVE_IOMMU_DMA_H
#include <linux/iommu-dma.h>
#else
static inline size_t iommu_dma_opt_mapping_size(void)
{
	return iova_rcache_range();
}

/*
 * Set up a domain for what the device can address, as arch_setup_dma_ops() does;
 * a virtio-iommu may have done so for all addresses before.
 */
static inline int dma_window_init_domain(struct iommu_domain *domain,
					 struct device *dev)
{
	const struct bus_dma_region *range = dev->dma_range_map;
	dma_addr_t base = 0, limit = U64_MAX;
	int ret;

	if (range && range->size) {
		base = U64_MAX;
		limit = 0;
	}
	for (; range && range->size; range++) {
		base = min_t(u64, base, range->dma_start);
		limit = max_t(u64, limit, range->dma_start + range->size - 1);
	}
	ret = iommu_dma_init_domain(domain, base, limit, dev);
	if (ret && base)
		ret = iommu_dma_init_domain(domain, 0, U64_MAX, dev);
	return ret;
}

#define iommu_dma_init_domain(domain, dev)	dma_window_init_domain(domain, dev)
#endif

#endif /* CONFIG_IOMMU_DMA && !MODULE */

#ifdef CONFIG_IOMMU_DMA

static inline bool dma_window_in_dma_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && (domain->type & __IOMMU_DOMAIN_DMA_API);
}

#endif /* CONFIG_IOMMU_DMA */

/*
 * A module cannot tell dma-iommu's operations from others: it does not need to,
 * since it refuses devices behind an IOMMU.
 */
#if !defined(CONFIG_IOMMU_DMA) || (defined(MODULE) && !defined(DMA_WINDOW_HAVE_DMA_IOMMU) && \
				   !defined(DMA_WINDOW_HAVE_DEV_FLAG_DMA_IOMMU))

static inline void dma_window_no_dma_iommu(struct device *dev)
{
}

static inline bool dma_window_has_dma_iommu_ops(const struct device *dev)
{
	return false;
}

static inline void dma_window_set_ops(struct device *dev,
				      const struct dma_map_ops *ops)
{
	set_dma_ops(dev, ops);
}

#elif defined(DMA_WINDOW_HAVE_DEV_FLAG_DMA_IOMMU)

/* The DMA API looks at this flag before a device's own operations. */
static inline void dma_window_no_dma_iommu(struct device *dev)
{
	dev_clear_dma_iommu(dev);
}

static inline bool dma_window_has_dma_iommu_ops(const struct device *dev)
{
	return false;
}

/*
 * Set who serves a device's DMA: @ops, or if that is NULL, dma-iommu or
 * dma-direct.
 */
static inline void dma_window_set_ops(struct device *dev,
				      const struct dma_map_ops *ops)
{
	dev_assign_dma_iommu(dev, !ops && dma_window_in_dma_domain(dev));
	set_dma_ops(dev, ops);
}

#elif defined(DMA_WINDOW_HAVE_DMA_IOMMU)

/* The DMA API looks at this flag before a device's own operations. */
static inline void dma_window_no_dma_iommu(struct device *dev)
{
	dev->dma_iommu = false;
}

static inline bool dma_window_has_dma_iommu_ops(const struct device *dev)
{
	return false;
}

/*
 * Set who serves a device's DMA: @ops, or if that is NULL, dma-iommu or
 * dma-direct.
 */
static inline void dma_window_set_ops(struct device *dev,
				      const struct dma_map_ops *ops)
{
	bool dma_iommu = !ops && dma_window_in_dma_domain(dev);

	/*
	 * A device with a window has the flag off already: do not write the bit
	 * field then, which others write under the device's lock, while an unmap
	 * in any context may get here by client_cut_off().
	 */
	if (dev->dma_iommu != dma_iommu)
		dev->dma_iommu = dma_iommu;
	set_dma_ops(dev, ops);
}

#else

static inline void dma_window_no_dma_iommu(struct device *dev)
{
}

/* dma-iommu's operations are nobody's in particular: a window replaces them. */
static inline bool dma_window_has_dma_iommu_ops(const struct device *dev)
{
	return dev->dma_ops == &iommu_dma_ops;
}

/*
 * Set who serves a device's DMA: @ops, or if that is NULL, dma-iommu or
 * dma-direct. Context: any with @ops, may sleep without.
 */
static inline void dma_window_set_ops(struct device *dev,
				      const struct dma_map_ops *ops)
{
	if (!ops && dma_window_in_dma_domain(dev) &&
	    !iommu_dma_init_domain(iommu_get_domain_for_dev(dev), dev))
		ops = &iommu_dma_ops;
	set_dma_ops(dev, ops);
}

#endif

#if defined(CONFIG_IOMMU_DMA) && !defined(MODULE)

/* Tell whether addresses of a domain can be had from dma-iommu's allocator. */
static inline bool dma_window_domain_has_iova(const struct iommu_domain *domain)
{
#ifdef DMA_WINDOW_HAVE_COOKIE_TYPE
	return domain->cookie_type == IOMMU_COOKIE_DMA_IOVA;
#else
	return domain->iova_cookie;
#endif
}

static inline void dma_window_free_iova(struct iommu_domain *domain,
					dma_addr_t iova, size_t size)
{
#ifdef DMA_WINDOW_HAVE_FREE_IOVA_DOMAIN
	iommu_dma_free_iova(domain, iova, size, NULL);
#else
	iommu_dma_free_iova(domain->iova_cookie, iova, size, NULL);
#endif
}

#endif /* CONFIG_IOMMU_DMA && !MODULE */

/*
 * Tell whether it is the IOMMU core that has a device's DMA configured, when it
 * looks for the device's IOMMU: the device has no domain yet, a driver is probed
 * later, and nobody looks at what is returned.
 */
static inline bool dma_window_is_early(const struct device *dev)
{
#if defined(DMA_WINDOW_HAVE_EARLY_CONFIGURE) && defined(CONFIG_IOMMU_API)
	return !dev->driver && dev->iommu && !dev->iommu_group;
#else
	return false;
#endif
}

/* ---- The IOMMU API ---- */

#if !defined(DMA_WINDOW_HAVE_IOMMU_MAP_GFP) && !defined(MODULE)
static inline int dma_window_iommu_map_gfp(struct iommu_domain *domain,
					   unsigned long iova, phys_addr_t phys,
					   size_t size, int prot, gfp_t gfp)
{
	return gfpflags_allow_blocking(gfp) ?
	       iommu_map(domain, iova, phys, size, prot) :
	       iommu_map_atomic(domain, iova, phys, size, prot);
}

static inline ssize_t dma_window_iommu_map_sg_gfp(struct iommu_domain *domain,
						  unsigned long iova,
						  struct scatterlist *sgl,
						  unsigned int nents, int prot,
						  gfp_t gfp)
{
	return gfpflags_allow_blocking(gfp) ?
	       iommu_map_sg(domain, iova, sgl, nents, prot) :
	       iommu_map_sg_atomic(domain, iova, sgl, nents, prot);
}

#define iommu_map(domain, iova, phys, size, prot, gfp) \
	dma_window_iommu_map_gfp(domain, iova, phys, size, prot, gfp)
#define iommu_map_sg(domain, iova, sgl, nents, prot, gfp) \
	dma_window_iommu_map_sg_gfp(domain, iova, sgl, nents, prot, gfp)
#endif

/* Tell whether a device is still to be attached to its domain; it has one. */
static inline bool dma_window_attach_is_deferred(struct device *dev)
{
#if !defined(CONFIG_IOMMU_API)
	return false;
#elif defined(DMA_WINDOW_HAVE_ATTACH_DEFERRED)
	return dev->iommu->attach_deferred;
#else
	const struct iommu_ops *ops = dev_iommu_ops(dev);

	return ops->is_attach_deferred && ops->is_attach_deferred(dev);
#endif
}

#ifdef CONFIG_OF
/* Find the IOMMU that an iommu-map has for an ID: *@iommu, to be put, or NULL. */
static inline int dma_window_map_iommu_id(struct device_node *np, u32 id,
					  struct device_node **iommu)
{
#ifdef DMA_WINDOW_HAVE_OF_MAP_IOMMU_ID
	struct of_phandle_args arg = {};
	int ret = of_map_iommu_id(np, id, &arg);

	*iommu = arg.np;
	return ret;
#else
	*iommu = NULL;
	return of_map_id(np, id, "iommu-map", "iommu-map-mask", iommu, NULL);
#endif
}
#endif

#ifdef CONFIG_OF
/* Cells of the entry of an iommu-map of @len cells that begins with cell @at. */
static inline int dma_window_iommu_map_width(const __be32 *map, int len, int at)
{
#ifdef DMA_WINDOW_HAVE_OF_MAP_IOMMU_ID
	struct device_node *iommu = of_find_node_by_phandle(be32_to_cpu(map[at + 1]));
	u32 cells = 1;
	int i;

	of_property_read_u32(iommu, "#iommu-cells", &cells);
	of_node_put(iommu);
	/* For two cells, of_map_id() takes entries of four as well. */
	for (i = 0; cells == 2 && len % 4 == 0; i += 4) {
		if (i >= len)
			cells = 1;
		else if (map[i + 1] != map[1] || be32_to_cpu(map[i + 3]) != 1)
			break;
	}
	/* An entry that cannot be ends behind the map. */
	return cells < len ? 3 + cells : len + 1;
#else
	return 4;
#endif
}
#endif

/* ---- Memory ---- */

#ifdef DMA_WINDOW_HAVE_CRASH_RESERVE
#include <linux/crash_reserve.h>
#ifdef CONFIG_CRASH_RESERVE
#define DMA_WINDOW_CRASHK_RES
#endif
#else
#include <linux/kexec.h>
#ifdef CONFIG_KEXEC_CORE
#define DMA_WINDOW_CRASHK_RES
#endif
#endif

/* Find what reserve_mem= has put aside. */
static inline bool dma_window_reserved_find(const char *name, phys_addr_t *base,
					    phys_addr_t *size)
{
#ifdef DMA_WINDOW_HAVE_RESERVE_MEM
	return reserve_mem_find_by_name(name, base, size);
#else
	return false;
#endif
}

/* MAX_ORDER was one more, before its name changed. */
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER	(MAX_ORDER - 1)
#endif

/* The workqueue whose workers are not bound to a CPU; a module has to outlive its work. */
#ifdef MODULE
extern struct workqueue_struct *dma_window_wq;
#define dma_window_unbound_wq	dma_window_wq
#elif defined(DMA_WINDOW_HAVE_DFL_WQ)
#define dma_window_unbound_wq	system_dfl_wq
#else
#define dma_window_unbound_wq	system_unbound_wq
#endif

/* ---- Virtio ---- */

/* The driver of a kernel that does not know a feature never has it. */
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4	54
#endif

/* ---- Tracepoints ---- */

#ifdef DMA_WINDOW_HAVE_ASSIGN_STR_DST
#define dma_window_assign_str(dst, ...)	__assign_str(dst)
#else
#define dma_window_assign_str(dst, src)	__assign_str(dst, src)
#endif

/* ---- KUnit, for the files that include kunit/test.h first ---- */

#ifdef _KUNIT_TEST_H

#ifndef KUNIT_CASE_SLOW
#define KUNIT_CASE_SLOW	KUNIT_CASE
#endif

#ifdef DMA_WINDOW_HAVE_KUNIT_DEVICE
#include <kunit/device.h>
#else
static inline int dma_window_test_device_init(struct kunit_resource *res,
					      void *name)
{
	res->data = root_device_register(name);
	return PTR_ERR_OR_ZERO(res->data);
}

static inline void dma_window_test_device_free(struct kunit_resource *res)
{
	root_device_unregister(res->data);
}

static inline struct device *kunit_device_register(struct kunit *test,
						   const char *name)
{
	return kunit_alloc_resource(test, dma_window_test_device_init,
				    dma_window_test_device_free, GFP_KERNEL,
				    (void *)name);
}
#endif

#endif /* _KUNIT_TEST_H */

#endif /* _KERNEL_DMA_WINDOW_COMPAT_H */
