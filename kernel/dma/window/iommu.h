/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what iommu.c and iommu_attach.c share.
 */
#ifndef _KERNEL_DMA_WINDOW_IOMMU_H
#define _KERNEL_DMA_WINDOW_IOMMU_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "window.h"

/* linux/iommu-dma.h relies on the includes above. */
#include <linux/iommu-dma.h>

#define DMA_WINDOW_BUCKET_BITS	8

/**
 * struct dma_window_bucket - a part of the table of mappings in place
 * @lock: protects both lists
 * @first: mappings by their first granule
 * @last: mappings by their last granule, if a chunk stands in for it
 */
struct dma_window_bucket {
	spinlock_t		lock;	/* irq-safe */
	struct hlist_head	first;
	struct hlist_head	last;
};

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
 * @lock: protects @retired, @nretired
 * @retired: by &large.first, mappings that drivers had forgotten; they are
 *	unmapped, but their IOVA is not used again while there is other room
 * @nretired: number of mappings in @retired
 * @table: mappings in place
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
	struct hlist_head	retired;
	unsigned int		nretired;
	struct dma_window_bucket	table[BIT(DMA_WINDOW_BUCKET_BITS)];
};

bool dma_window_iommu_revoke(struct dma_window_iommu *io, dma_addr_t iova,
			     size_t span);
bool dma_window_iommu_revoke_failed_map(struct dma_window_iommu *io,
					dma_addr_t iova, size_t span);
void dma_window_iommu_free_iova(struct dma_window_iommu *io, dma_addr_t iova,
				size_t span);
bool dma_window_iommu_release_retired(struct dma_window_iommu *io,
				      struct dma_window_client *client,
				      dma_addr_t addr);

#endif /* _KERNEL_DMA_WINDOW_IOMMU_H */
