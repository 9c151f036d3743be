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

#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/iova.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>

/* ---- The DMA API ---- */

/* The member of struct dma_map_ops that allocates pages. */
#ifdef DMA_WINDOW_HAVE_ALLOC_PAGES_OP
#define dma_window_alloc_pages_op	alloc_pages_op
#else
#define dma_window_alloc_pages_op	alloc_pages
#endif

#ifndef DMA_WINDOW_HAVE_NEED_SYNC
/* Syncs are never skipped. */
static inline void dma_reset_need_sync(struct device *dev)
{
}
#endif

/* ---- dma-iommu ---- */

#ifdef CONFIG_IOMMU_DMA

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

static inline bool dma_window_in_dma_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && (domain->type & __IOMMU_DOMAIN_DMA_API);
}

#endif /* CONFIG_IOMMU_DMA */

#if !defined(CONFIG_IOMMU_DMA)

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

/* ---- The IOMMU API ---- */

#ifndef DMA_WINDOW_HAVE_IOMMU_MAP_GFP
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

/* MAX_ORDER was one more, before its name changed. */
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER	(MAX_ORDER - 1)
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
