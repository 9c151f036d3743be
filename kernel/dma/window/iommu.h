/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what iommu.c, iommu_revoke.c and
 * iommu_attach.c share.
 */
#ifndef _KERNEL_DMA_WINDOW_IOMMU_H
#define _KERNEL_DMA_WINDOW_IOMMU_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "window.h"

/**
 * struct dma_window_iommu - a window in an IOMMU domain
 * @list: in domains, see iommu_attach.c
 * @domain: the domain, or NULL once it is gone; read under RCU
 * @win: the window
 * @users: clients
 * @iova: start of what was allocated for the window, bytes
 * @span: length of what was allocated for the window, bytes
 * @granule: smallest unit of the IOMMU, bytes
 * @shift: logarithm of @granule
 * @exposed: a device of the domain reaches memory that others use
 * @rcu: frees the record
 * @lock: protects @inplace, @nretired
 * @inplace: mappings in place by IOVA, retired ones included; see iommu.c
 * @nretired: number of retired mappings in @inplace
 */
struct dma_window_iommu {
	struct list_head	list;
	struct iommu_domain	*domain;
	struct dma_window	*win;
	unsigned int		users;
	dma_addr_t		iova;
	size_t			span;
	size_t			granule;
	unsigned int		shift;
	bool			exposed;
	struct rcu_head		rcu;
	spinlock_t		lock;	/* irq-safe */
	struct rb_root		inplace;
	unsigned int		nretired;
};

bool dma_window_iommu_revoke(struct dma_window_iommu *io, dma_addr_t iova,
			     size_t span);
bool dma_window_iommu_revoke_failed_map(struct dma_window_iommu *io,
					dma_addr_t iova, size_t span);
void dma_window_iommu_free_iova(struct dma_window_iommu *io, dma_addr_t iova,
				size_t span);
void dma_window_iommu_hold_back(struct dma_window_client *client,
				struct scatterlist *sgl, int nents, size_t span);
bool dma_window_iommu_release_retired(struct dma_window_iommu *io);

#endif /* _KERNEL_DMA_WINDOW_IOMMU_H */
