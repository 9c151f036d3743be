// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: mappings of devices behind an IOMMU.
 *
 * The window of such a device is mapped once, for reading and writing, into
 * the domain of its IOMMU group. Small buffers, and buffers that cover no whole
 * granule of the IOMMU, are bounced through the window without any IOMMU
 * operation, by the same code that serves devices without an IOMMU. Buffers
 * larger than the device's copybreak are mapped in place, except for the
 * granules at their ends that they do not cover whole: chunks of the window
 * stand in for those, so that their other bytes stay out of the device's sight
 * (I1, I3). At most two granules are copied, whatever the size.
 *
 * Driver memory is written here only with data of the device. Whether a buffer
 * can be mapped in place at all is decided by dma_window_iommu_way().
 *
 * Who owns what:
 *   dma_window_iommu	one per domain that has a window; there from the first
 *			attach in it to the drop of the last client. When the
 *			domain goes first, dma_window_domain_gone() is called.
 *   large		one record per mapping in place, in the domain's table, or
 *			retired when its driver has gone and forgotten it;
 *			its chunks are runs of the window's pool that nobody can
 *			find by a window address.
 *
 * Mappings in place are always unmapped strictly: the IOTLB is invalidated
 * before an unmap returns, whatever the domain's type, because the flush queue
 * belongs to dma-iommu's own unmap, which these devices never go through.
 *
 * Lock order, in addition to window.h and iommu_attach.c:
 *   bucket->lock, io->lock	innermost, one at a time
 */

#include <linux/dma-window.h>
#include <linux/error-injection.h>
#include <linux/iommu.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <trace/events/dma_window.h>

#include "iommu.h"

/*
 * Limit of a domain's retired mappings: a stray unmap walks over all, and each
 * costs a record.
 */
#define MAX_RETIRED	1024

/**
 * struct large - a buffer, or a run of scatterlist entries, mapped in place
 * @first: in the table, by the first granule
 * @last: in the table, by the last granule; only if there is a @tail
 * @client: the client that has the mapping
 * @iova: of the first granule, bytes
 * @span: whole granules, bytes
 * @offset: of the first mapped byte in the first granule, bytes
 * @size: bytes mapped
 * @orig: physical address of the driver's buffer; PHYS_ADDR_MAX for a list
 * @head: stands in for the first granule, or NULL
 * @tail: stands in for the last granule, or NULL
 * @dir: direction of the mapping
 */
struct large {
	struct hlist_node		first;
	struct hlist_node		last;
	struct dma_window_client	*client;
	dma_addr_t			iova;
	size_t				span;
	size_t				offset;
	size_t				size;
	phys_addr_t			orig;
	struct dma_window_mapping	*head;
	struct dma_window_mapping	*tail;
	u8				dir;
};

static struct kmem_cache *large_cache __ro_after_init;

static int __init large_cache_init(void)
{
	large_cache = KMEM_CACHE(large, SLAB_PANIC);
	return 0;
}
core_initcall(large_cache_init);

static struct dma_window_bucket *bucket_of(struct dma_window_iommu *io,
					   dma_addr_t addr)
{
	return &io->table[hash_64(addr >> io->shift, DMA_WINDOW_BUCKET_BITS)];
}

static dma_addr_t last_granule(const struct dma_window_iommu *io,
			       const struct large *large)
{
	return large->iova + large->span - io->granule;
}

/* ---- Retired mappings: unmapped, but drivers may unmap them once more ---- */

static bool large_retire(struct dma_window_iommu *io, struct large *large)
{
	unsigned long flags;
	bool kept;

	spin_lock_irqsave(&io->lock, flags);
	kept = io->nretired < MAX_RETIRED;
	if (kept) {
		hlist_add_head(&large->first, &io->retired);
		io->nretired++;
	}
	spin_unlock_irqrestore(&io->lock, flags);
	return kept;
}

/**
 * dma_window_iommu_release_retired() - free retired mappings in place
 * @io: the window in the domain
 * @client: whose, or NULL for all clients'
 * @addr: where they begin, or DMA_MAPPING_ERROR for anywhere
 *
 * Context: any, under the RCU read lock, or without clients and under
 * dma_window_mutex, so that the domain stays.
 *
 * Return: true if there were any.
 */
bool dma_window_iommu_release_retired(struct dma_window_iommu *io,
				      struct dma_window_client *client,
				      dma_addr_t addr)
{
	struct iommu_domain *domain = READ_ONCE(io->domain);
	struct hlist_node *next;
	struct large *large;
	HLIST_HEAD(found);
	unsigned long flags;
	bool any = false;

	spin_lock_irqsave(&io->lock, flags);
	hlist_for_each_entry_safe(large, next, &io->retired, first) {
		if ((client && large->client != client) ||
		    (addr != DMA_MAPPING_ERROR &&
		     large->iova + large->offset != addr))
			continue;
		hlist_del(&large->first);
		hlist_add_head(&large->first, &found);
		io->nretired--;
		any = true;
	}
	spin_unlock_irqrestore(&io->lock, flags);

	hlist_for_each_entry_safe(large, next, &found, first) {
		if (domain)
			iommu_dma_free_iova(domain->iova_cookie, large->iova,
					    large->span, NULL);
		kmem_cache_free(large_cache, large);
	}
	return any;
}

/* ---- Steps of a mapping in place; tests can make each of them fail ---- */

static noinline struct large *dma_window_large_record(void)
{
	return kmem_cache_alloc(large_cache, GFP_ATOMIC | __GFP_NOWARN);
}
ALLOW_ERROR_INJECTION(dma_window_large_record, NULL);

static noinline struct dma_window_mapping *
dma_window_large_chunk(struct dma_window_client *client, size_t size,
		       bool quiet)
{
	return dma_window_stand_in_get(client, size, quiet);
}
ALLOW_ERROR_INJECTION(dma_window_large_chunk, NULL);

/* Allocate IOVA space. 0 is no IOVA: the first granule is never handed out. */
static noinline dma_addr_t
dma_window_large_iova(struct dma_window_client *client,
		      struct iommu_domain *domain, size_t span)
{
	struct device *dev = client->dev;
	u64 mask = dma_get_mask(dev);
	dma_addr_t iova;

	iova = iommu_dma_alloc_iova(domain, span, mask, dev);
	if (unlikely(!iova) &&
	    dma_window_iommu_release_retired(client->iommu, NULL, DMA_MAPPING_ERROR))
		iova = iommu_dma_alloc_iova(domain, span, mask, dev);
	return iova;
}
ALLOW_ERROR_INJECTION(dma_window_large_iova, NULL);

static noinline int dma_window_large_map(struct dma_window_client *client,
					 struct iommu_domain *domain,
					 dma_addr_t iova, struct scatterlist *sgl,
					 int nents, size_t span,
					 enum dma_data_direction dir,
					 unsigned long attrs)
{
	int prot = IOMMU_CACHE;
	ssize_t ret;

	if (dir != DMA_FROM_DEVICE)
		prot |= IOMMU_READ;
	if (dir != DMA_TO_DEVICE)
		prot |= IOMMU_WRITE;
	if (attrs & DMA_ATTR_PRIVILEGED)
		prot |= IOMMU_PRIV;

	ret = iommu_map_sg(domain, iova, sgl, nents, prot, GFP_ATOMIC);
	if (ret < 0)
		return ret;
	return ret == span ? 0 : -EIO;
}
ALLOW_ERROR_INJECTION(dma_window_large_map, ERRNO);

/* Unmap a range. The invalidation is complete on return. */
static noinline int dma_window_revoke_unmap(struct iommu_domain *domain,
					    dma_addr_t iova, size_t span)
{
	/* iommu_unmap() takes more if a part cannot go alone. */
	return iommu_unmap(domain, iova, span) >= span ? 0 : -EIO;
}
ALLOW_ERROR_INJECTION(dma_window_revoke_unmap, ERRNO);

/* ---- Revoking: who decides whether memory goes back ---- */

/**
 * dma_window_iommu_revoke() - take addresses away from the devices of a domain
 * @io: the window in the domain
 * @iova: the first granule's address, bytes
 * @span: whole granules, all of them mapped, bytes
 *
 * The one place that decides whether memory that a device could reach goes back
 * to its owner. If the IOMMU fails, neither the addresses nor the memory behind
 * them may be used again: the caller frees no address and gives back no memory
 * of the window; hold_back() takes care of a driver's memory. A domain that is
 * gone took its mappings along.
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
	if (likely(!dma_window_revoke_unmap(domain, iova, span)))
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
		iommu_dma_free_iova(domain->iova_cookie, iova, span, NULL);
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
static void cut_off(struct dma_window_client *client, size_t span)
{
	struct device *dev = client->dev;

	set_dma_ops(dev, &dma_window_deny_ops);
	if (dev_is_pci(dev))
		pci_clear_master(to_pci_dev(dev));
	dev_err(dev, "%s: the IOMMU does not let go of %zu bytes: the device %s\n",
		client->win->name, span,
		dev_is_pci(dev) ? "is cut off" : "CANNOT be cut off");
}

/*
 * The IOMMU did not let go of a driver's memory, whose owner goes on using it,
 * or gives it to others. Cut off all devices that share the domain, and let no
 * driver have them while the domain lasts. Should a driver turn bus mastering
 * on again, the memory in @sgl that can be held is nobody else's at least.
 */
static void hold_back(struct dma_window_client *client, struct scatterlist *sgl,
		      int nents, size_t span)
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
	for (i = 0; i < BIT(DMA_WINDOW_CLIENTS_BITS); i++)
		hlist_for_each_entry_rcu(other, &dma_window_clients[i], node)
			if (other->iommu == client->iommu)
				cut_off(other, span);
}

/* ---- The table of mappings in place ---- */

static void large_publish(struct dma_window_iommu *io, struct large *large)
{
	struct dma_window_bucket *bucket = bucket_of(io, large->iova);
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_add_head(&large->first, &bucket->first);
	spin_unlock_irqrestore(&bucket->lock, flags);

	if (!large->tail)
		return;
	bucket = bucket_of(io, last_granule(io, large));
	spin_lock_irqsave(&bucket->lock, flags);
	hlist_add_head(&large->last, &bucket->last);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

static void large_unpublish_tail(struct dma_window_iommu *io,
				 struct large *large)
{
	struct dma_window_bucket *bucket;
	unsigned long flags;

	if (!large->tail)
		return;
	bucket = bucket_of(io, last_granule(io, large));
	spin_lock_irqsave(&bucket->lock, flags);
	hlist_del(&large->last);
	spin_unlock_irqrestore(&bucket->lock, flags);
}

/* Take the mapping that begins at @addr away from everybody else. */
static struct large *large_claim(struct dma_window_client *client,
				 dma_addr_t addr)
{
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_bucket *bucket = bucket_of(io, addr);
	struct large *large;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_for_each_entry(large, &bucket->first, first) {
		if (large->iova + large->offset == addr &&
		    large->client == client) {
			hlist_del(&large->first);
			spin_unlock_irqrestore(&bucket->lock, flags);
			large_unpublish_tail(io, large);
			return large;
		}
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return NULL;
}

/* ---- Mapping in place ---- */

static void *chunk_vaddr(const struct dma_window *win,
			 const struct dma_window_mapping *chunk)
{
	return win->vaddr + ((u64)chunk->slot << DMA_WINDOW_SLOT_SHIFT);
}

static void set_seg(struct scatterlist *sg, phys_addr_t phys, size_t size)
{
	sg_set_page(sg, pfn_to_page(PHYS_PFN(phys)), size, offset_in_page(phys));
}

/*
 * Fill a chunk for the device's first look: at @from, @size bytes of the
 * driver's buffer at @orig; zeroes around them. If the device is to write them,
 * all is zeroes, or with DMA_ATTR_WINDOW_NO_FILL left as it is.
 */
static void chunk_fill(void *chunk, size_t granule, size_t from,
		       phys_addr_t orig, size_t size,
		       enum dma_data_direction dir, unsigned long attrs)
{
	if (dir == DMA_FROM_DEVICE) {
		if (!(attrs & DMA_ATTR_WINDOW_NO_FILL))
			memset(chunk, 0, granule);
		return;
	}
	memset(chunk, 0, from);
	memcpy(chunk + from, phys_to_virt(orig), size);
	memset(chunk + from + size, 0, granule - from - size);
}

static size_t head_size(const struct dma_window_iommu *io,
			const struct large *large)
{
	return large->head ? io->granule - large->offset : 0;
}

static size_t tail_size(const struct dma_window_iommu *io,
			const struct large *large)
{
	return large->tail ? (large->offset + large->size) & (io->granule - 1) : 0;
}

/* A chunk in a device's reach is lost to the window, as is its record. */
static void chunk_free(struct dma_window_iommu *io,
		       struct dma_window_mapping *chunk, bool revoked)
{
	if (!chunk)
		return;
	if (revoked)
		dma_window_stand_in_put(io->win, chunk);
	else
		kmemleak_not_leak(chunk);
}

static void large_put_chunks(struct dma_window_iommu *io, struct large *large,
			     bool revoked)
{
	chunk_free(io, large->head, revoked);
	chunk_free(io, large->tail, revoked);
}

static void large_free(struct dma_window_iommu *io, struct large *large,
		       bool revoked)
{
	large_put_chunks(io, large, revoked);
	kmem_cache_free(large_cache, large);
}

static void fail_iommu(struct dma_window_client *client, size_t size,
		       unsigned long attrs, const char *what)
{
	dma_window_fail(client, &client->win->pool.cpu->stats.fail_iommu,
			"iommu", size);
	if (!(attrs & DMA_ATTR_NO_WARN) && __ratelimit(&client->ratelimit))
		dev_warn(client->dev, "%s: a mapping of %zu bytes failed: %s\n",
			 client->win->name, size, what);
}

/* Tell whether a buffer can be mapped in place, going by use, not size. */
static bool may_map(const struct dma_window_client *client,
		    enum dma_data_direction dir, unsigned long attrs)
{
	/*
	 * Bounce a buffer that is handed over later, by hand: mapped in place,
	 * the device could read it already.
	 */
	if (dir != DMA_FROM_DEVICE && (attrs & DMA_ATTR_SKIP_CPU_SYNC))
		return false;
	/* Bounce for an alignment coarser than a granule: no IOVA keeps it. */
	if (dma_get_min_align_mask(client->dev) >= client->granule)
		return false;
	return client->in_place & BIT(dir);
}

/**
 * dma_window_iommu_way() - copy a buffer, or map it in place?
 * @client: a device behind an IOMMU, and its window
 * @phys: physical address of the buffer
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * The only place where this choice is made, but for lists: of these, entries of
 * whole granules that follow each other are mapped together if may_map() allows
 * it and they are larger than copybreak in sum. What the device may read of a
 * driver's memory (I3) depends on the choice:
 *
 *  - TO_DEVICE and BIDIRECTIONAL buffers are handed over for reading as they
 *    are, so they may be mapped in place; with DMA_ATTR_SKIP_CPU_SYNC only the
 *    bytes that are synced later are handed over, so the buffers are bounced,
 *    whatever their size.
 *  - FROM_DEVICE buffers may be mapped in place only if the IOMMU lets a device
 *    write what it cannot read. Zeroing the buffers instead is no way: the
 *    driver may have handed over the same memory for reading by another
 *    mapping, or be about to.
 *  - In a guest whose memory is encrypted nothing but the window is shared.
 *
 * Context: any.
 *
 * Return: the way.
 */
enum dma_window_way dma_window_iommu_way(const struct dma_window_client *client,
					 phys_addr_t phys, size_t size,
					 enum dma_data_direction dir,
					 unsigned long attrs)
{
	u32 granule = client->granule;

	/* A buffer without a whole granule would have nothing in place. */
	if (ALIGN(phys, granule) >= ALIGN_DOWN(phys + size, granule) ||
	    !may_map(client, dir, attrs))
		return DMA_WINDOW_COPY;
	return size <= READ_ONCE(client->copybreak) ? DMA_WINDOW_COPY_OR_MAP :
						      DMA_WINDOW_MAP;
}

static dma_addr_t large_map(struct dma_window_client *client, phys_addr_t phys,
			    size_t size, enum dma_data_direction dir,
			    unsigned long attrs)
{
	bool quiet = attrs & DMA_ATTR_NO_WARN;
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_stats __percpu *stats = &io->win->pool.cpu->stats;
	struct iommu_domain *domain = READ_ONCE(io->domain);
	struct device *dev = client->dev;
	size_t mask = io->granule - 1;
	struct dma_window_device_stats *own;
	struct scatterlist sgl[3];
	size_t head, tail, bounced;
	struct large *large;
	unsigned long flags;
	bool revoked = true;
	dma_addr_t addr;
	int n = 0;

	if (!domain || size > DMA_WINDOW_MAX_LARGE) {
		fail_iommu(client, size, attrs,
			   domain ? "more than can be mapped at once" :
				    "its IOMMU domain is gone");
		return DMA_MAPPING_ERROR;
	}

	large = dma_window_large_record();
	if (!large) {
		dma_window_fail(client, &stats->fail_nomem, "nomem", size);
		return DMA_MAPPING_ERROR;
	}
	large->client = client;
	large->offset = phys & mask;
	large->size = size;
	large->span = ALIGN(large->offset + size, io->granule);
	large->orig = phys;
	large->dir = dir;
	large->head = NULL;
	large->tail = NULL;

	if (large->offset) {
		large->head = dma_window_large_chunk(client, io->granule, quiet);
		if (!large->head)
			goto free;
	}
	if ((large->offset + size) & mask) {
		large->tail = dma_window_large_chunk(client, io->granule, quiet);
		if (!large->tail)
			goto free;
	}

	head = head_size(io, large);
	tail = tail_size(io, large);
	sg_init_table(sgl, 1 + !!head + !!tail);
	if (head) {
		void *chunk = chunk_vaddr(io->win, large->head);

		chunk_fill(chunk, io->granule, large->offset, phys, head, dir,
			   attrs);
		set_seg(&sgl[n++], virt_to_phys(chunk), io->granule);
	}
	set_seg(&sgl[n++], phys + head, size - head - tail);
	if (tail) {
		void *chunk = chunk_vaddr(io->win, large->tail);

		chunk_fill(chunk, io->granule, 0, phys + size - tail, tail, dir,
			   attrs);
		set_seg(&sgl[n++], virt_to_phys(chunk), io->granule);
	}

	large->iova = dma_window_large_iova(client, domain, large->span);
	if (!large->iova) {
		fail_iommu(client, size, attrs, "no IOVA space within its DMA mask");
		goto free;
	}
	if (dma_window_large_map(client, domain, large->iova, sgl, n,
				 large->span, dir, attrs)) {
		fail_iommu(client, size, attrs, "the IOMMU does not map it");
		revoked = dma_window_iommu_revoke_failed_map(io, large->iova, large->span);
		if (likely(revoked))
			dma_window_iommu_free_iova(io, large->iova, large->span);
		else
			hold_back(client, &sgl[!!head], 1, large->span);
		goto free;
	}

	bounced = dir == DMA_FROM_DEVICE ? 0 : head + tail;
	addr = large->iova + large->offset;
	local_irq_save(flags);
	this_cpu_ptr(stats)->maps++;
	this_cpu_ptr(stats)->bytes_in += bounced;
	own = this_cpu_ptr(client->stats);
	own->iommu_maps++;
	own->bytes_in += bounced;
	own->granules += (size - head - tail) >> io->shift;
	own->heads += !!head;
	own->tails += !!tail;
	local_irq_restore(flags);
	/* End the skipping of syncs: it may date from before the window. */
	dma_reset_need_sync(dev);
	large_publish(io, large);
	trace_dma_window_map(dev, addr, size, dir, attrs, bounced);
	return addr;

free:
	large_free(io, large, revoked);
	return DMA_MAPPING_ERROR;
}

static void copy_back(struct dma_window_iommu *io, struct large *large)
{
	size_t head = head_size(io, large), tail = tail_size(io, large);

	if (head)
		memcpy(phys_to_virt(large->orig),
		       chunk_vaddr(io->win, large->head) + large->offset, head);
	if (tail)
		memcpy(phys_to_virt(large->orig + large->size - tail),
		       chunk_vaddr(io->win, large->tail), tail);
}

/* Hold back the memory of @large. @sgl: its list, if it is of one. */
static void large_hold_back(struct dma_window_client *client,
			    const struct large *large, struct scatterlist *sgl,
			    int nents)
{
	struct dma_window_iommu *io = client->iommu;
	size_t head = head_size(io, large), tail = tail_size(io, large);
	struct scatterlist middle;

	if (large->orig != PHYS_ADDR_MAX) {
		sg_init_table(&middle, 1);
		set_seg(&middle, large->orig + head, large->size - head - tail);
		sgl = &middle;
		nents = 1;
	}
	hold_back(client, sgl, nents, large->span);
}

/*
 * Undo a mapping that nobody else can find any more. @sgl: the list that the
 * mapping may be of, or NULL. With @retire, its IOVA and its record stay.
 */
static void large_undo(struct dma_window_client *client, struct large *large,
		       struct scatterlist *sgl, int nents, bool copy, bool retire)
{
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_device_stats *own;
	struct dma_window_stats *stats;
	unsigned long flags;
	size_t copied = 0;
	bool revoked;

	revoked = dma_window_iommu_revoke(io, large->iova, large->span);
	/* Forgotten memory may have another owner: hold none of it. */
	if (unlikely(!revoked && retire))
		hold_back(client, NULL, 0, large->span);
	else if (unlikely(!revoked))
		large_hold_back(client, large, sgl, nents);
	/* Copy back now: the device was revoked its access, or cut off. */
	if (copy && large->dir != DMA_TO_DEVICE) {
		copied = head_size(io, large) + tail_size(io, large);
		copy_back(io, large);
	}
	local_irq_save(flags);
	stats = &this_cpu_ptr(io->win->pool.cpu)->stats;
	stats->unmaps++;
	stats->bytes_out += copied;
	own = this_cpu_ptr(client->stats);
	own->iommu_unmaps++;
	own->bytes_out += copied;
	local_irq_restore(flags);
	trace_dma_window_unmap(client->dev, large->iova + large->offset,
			       large->size, large->dir,
			       copy ? 0 : DMA_ATTR_SKIP_CPU_SYNC, copied);
	large_put_chunks(io, large, revoked);
	if (retire && revoked && READ_ONCE(io->domain) && large_retire(io, large))
		return;
	if (revoked)
		dma_window_iommu_free_iova(io, large->iova, large->span);
	kmem_cache_free(large_cache, large);
}

/* Tell whether @addr is in @large, a mapping of @client's. */
static bool large_has(const struct large *large,
		      const struct dma_window_client *client, dma_addr_t addr)
{
	return large->client == client &&
	       addr - large->iova - large->offset < large->size;
}

/*
 * Sync the part of [@addr, @addr + @size) that is in @granule, if a chunk
 * stands for that granule in the mapping that contains @addr.
 */
static void sync_granule(struct dma_window_client *client, dma_addr_t granule,
			 dma_addr_t addr, size_t size,
			 enum dma_data_direction dir, bool for_cpu)
{
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_bucket *bucket = bucket_of(io, granule);
	struct dma_window_mapping *chunk = NULL;
	dma_addr_t begin, end;
	struct large *large;
	unsigned long flags;
	size_t copied = 0;
	void *in, *out;

	/* Copy under the lock, against a racing unmap: a granule at most. */
	spin_lock_irqsave(&bucket->lock, flags);
	hlist_for_each_entry(large, &bucket->first, first) {
		if (large->iova == granule && large_has(large, client, addr)) {
			chunk = large->head;
			break;
		}
	}
	if (!chunk) {
		hlist_for_each_entry(large, &bucket->last, last) {
			if (last_granule(io, large) == granule &&
			    large_has(large, client, addr)) {
				chunk = large->tail;
				break;
			}
		}
	}
	if (!chunk || dir == (for_cpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE) ||
	    large->dir == (for_cpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE))
		goto out;

	begin = max3(addr, granule, large->iova + large->offset);
	end = min3(addr + size, granule + io->granule,
		   large->iova + large->offset + large->size);
	if (begin >= end)
		goto out;
	copied = end - begin;
	in = chunk_vaddr(io->win, chunk) + (begin - granule);
	out = phys_to_virt(large->orig) + (begin - large->iova - large->offset);
	if (for_cpu)
		memcpy(out, in, copied);
	else
		memcpy(in, out, copied);
out:
	spin_unlock_irqrestore(&bucket->lock, flags);
	if (!copied)
		return;
	if (for_cpu) {
		this_cpu_add(io->win->pool.cpu->stats.bytes_out, copied);
		this_cpu_add(client->stats->bytes_out, copied);
	} else {
		this_cpu_add(io->win->pool.cpu->stats.bytes_in, copied);
		this_cpu_add(client->stats->bytes_in, copied);
	}
	trace_dma_window_sync(client->dev, begin, copied, dir, for_cpu, copied);
}

/* ---- Entry points of the operations ---- */

static bool in_window(const struct dma_window_client *client, dma_addr_t addr)
{
	return addr - client->bus_base < client->win->size;
}

/**
 * dma_window_iommu_map() - map a buffer of a device behind an IOMMU
 * @dev: the device
 * @phys: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * Called for what dma_window_bounce_map() could not do at once.
 *
 * Context: any.
 *
 * Return: the bus address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_window_iommu_map(struct device *dev, phys_addr_t phys,
				size_t size, enum dma_data_direction dir,
				unsigned long attrs)
{
	dma_addr_t addr = DMA_MAPPING_ERROR;
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (unlikely(!client))
		goto out;
	switch (dma_window_iommu_way(client, phys, size, dir, attrs)) {
	case DMA_WINDOW_COPY:
		addr = dma_window_bounce(client, phys, size, dir, attrs);
		break;
	case DMA_WINDOW_COPY_OR_MAP:
		/* If the whole buffer finds no room, its ends may. */
		addr = dma_window_bounce(client, phys, size, dir,
					 attrs | DMA_ATTR_NO_WARN);
		if (addr != DMA_MAPPING_ERROR)
			break;
		fallthrough;
	case DMA_WINDOW_MAP:
		addr = large_map(client, phys, size, dir, attrs);
	}
out:
	rcu_read_unlock();
	return addr;
}

/*
 * Undo a mapping in place, of a buffer or in the list @sgl. Returns the
 * mapping's size in bytes, 0 if there is no mapping.
 */
static size_t large_unmap(struct dma_window_client *client, dma_addr_t addr,
			  struct scatterlist *sgl, int nents, unsigned long attrs)
{
	struct large *large = NULL;
	size_t size;

	if (client->iommu && !in_window(client, addr))
		large = large_claim(client, addr);
	if (!large) {
		if (!client->iommu ||
		    !dma_window_iommu_release_retired(client->iommu, client, addr))
			dma_window_invalid(client, DMA_WINDOW_BUG_UNMAP, addr);
		return 0;
	}
	size = large->size;
	large_undo(client, large, sgl, nents, !(attrs & DMA_ATTR_SKIP_CPU_SYNC),
		   false);
	return size;
}

/**
 * dma_window_iommu_unmap() - undo a mapping in place
 * @dev: the device
 * @addr: what dma_window_iommu_map() returned
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy
 *
 * Called for what dma_window_bounce_unmap() did not find. An address that is
 * not mapped changes nothing. On return, the device cannot reach the buffer any
 * more.
 *
 * Context: any.
 */
void dma_window_iommu_unmap(struct device *dev, dma_addr_t addr,
			    unsigned long attrs)
{
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (likely(client))
		large_unmap(client, addr, NULL, 0, attrs);
	rcu_read_unlock();
}

/*
 * The end of the mapping of @client's that contains @addr, if that mapping
 * begins in @granule, or has a tail there; else 0.
 */
static dma_addr_t large_end(struct dma_window_client *client, dma_addr_t addr,
			    dma_addr_t granule)
{
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_bucket *bucket = bucket_of(io, granule);
	struct large *large;
	unsigned long flags;
	dma_addr_t end = 0;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_for_each_entry(large, &bucket->first, first)
		if (large->iova == granule && large_has(large, client, addr))
			end = large->iova + large->offset + large->size;
	hlist_for_each_entry(large, &bucket->last, last)
		if (last_granule(io, large) == granule &&
		    large_has(large, client, addr))
			end = large->iova + large->offset + large->size;
	spin_unlock_irqrestore(&bucket->lock, flags);
	return end;
}

/*
 * Cut a sync off at the end of its mapping, as far as that matters: without a
 * tail the end needs no copy. A mapping is found by its first granule; from its
 * middle only by its tail, in the last granule of the sync or the one before,
 * since drivers that round up do so to a page at most.
 */
static size_t large_clamp(struct dma_window_client *client, dma_addr_t addr,
			  size_t size, bool *beyond)
{
	size_t granule = client->iommu->granule;
	dma_addr_t last = ALIGN_DOWN(addr + size - 1, granule);
	dma_addr_t end;

	end = large_end(client, addr, ALIGN_DOWN(addr, granule));
	if (!end && last > addr)
		end = large_end(client, addr, last) ?:
		      large_end(client, addr, last - granule);
	*beyond = end && size > end - addr;
	return *beyond ? end - addr : size;
}

/**
 * dma_window_iommu_sync() - copy a part of a mapping in place
 * @client: the device and its window
 * @addr: bus address of the first byte, anywhere in a mapping
 * @size: bytes
 * @dir: direction
 * @for_cpu: copy what the device wrote, else what it is to read
 *
 * Called for what dma_window_bounce_sync() did not find. Only the ends of a
 * mapping need a copy.
 *
 * Context: any, under the RCU read lock.
 */
void dma_window_iommu_sync(struct dma_window_client *client, dma_addr_t addr,
			   size_t size, enum dma_data_direction dir,
			   bool for_cpu)
{
	struct dma_window_iommu *io = client->iommu;
	dma_addr_t first, last;
	bool beyond;

	if (!io || in_window(client, addr)) {
		dma_window_invalid(client, DMA_WINDOW_BUG_SYNC, addr);
		return;
	}
	if (!size)
		return;
	/*
	 * A chunk stands for a first or a last granule, so no others matter;
	 * but the last granule of a sync that is rounded up may be the one
	 * after.
	 */
	size = large_clamp(client, addr, size, &beyond);
	if (beyond)
		dma_window_invalid(client, DMA_WINDOW_BUG_SYNC_END, addr);
	first = ALIGN_DOWN(addr, io->granule);
	last = ALIGN_DOWN(addr + size - 1, io->granule);
	sync_granule(client, first, addr, size, dir, for_cpu);
	if (last != first)
		sync_granule(client, last, addr, size, dir, for_cpu);
}

/* ---- Scatterlists ---- */

/**
 * struct list - a scatterlist that is being mapped
 * @client: for whom
 * @out: the next entry whose DMA address is to be set
 * @nout: how many are set
 * @dir: direction
 * @attrs: attributes
 */
struct list {
	struct dma_window_client	*client;
	struct scatterlist		*out;
	int				nout;
	enum dma_data_direction		dir;
	unsigned long			attrs;
};

static void list_emit(struct list *list, dma_addr_t addr, size_t size)
{
	if (list->nout)
		list->out = sg_next(list->out);
	sg_dma_address(list->out) = addr;
	sg_dma_len(list->out) = size;
	list->nout++;
}

/*
 * Count the entries from @sg on, of at most @left, that are of whole granules
 * and can be one range of IOVA. @size: filled with the range's length.
 */
static int run_of(struct dma_window_client *client, struct scatterlist *sg,
		  int left, size_t *size)
{
	u64 limit = min_t(u64, DMA_WINDOW_MAX_LARGE,
			  (u64)dma_get_seg_boundary(client->dev) + 1 ?: U64_MAX);
	size_t mask = client->iommu->granule - 1;
	int n;

	*size = 0;
	for (n = 0; n < left; n++, sg = sg_next(sg)) {
		if ((sg_phys(sg) | sg->length) & mask ||
		    is_pci_p2pdma_page(sg_page(sg)) ||
		    *size + sg->length > limit)
			break;
		*size += sg->length;
	}
	return n;
}

/* Map @n entries from @sg on, together @size bytes of whole granules. */
static int run_map(struct list *list, struct scatterlist *sg, int n,
		   size_t size)
{
	struct dma_window_client *client = list->client;
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_stats __percpu *stats = &io->win->pool.cpu->stats;
	struct iommu_domain *domain = READ_ONCE(io->domain);
	struct device *dev = client->dev;
	unsigned int max = dma_get_max_seg_size(dev);
	unsigned long boundary = dma_get_seg_boundary(dev);
	struct large *large;
	dma_addr_t addr;
	bool fresh;

	if (!domain) {
		fail_iommu(client, size, list->attrs, "its IOMMU domain is gone");
		return -ENODEV;
	}
	large = dma_window_large_record();
	if (!large) {
		dma_window_fail(client, &stats->fail_nomem, "nomem", size);
		return -ENOMEM;
	}
	*large = (struct large){
		.client = client,
		.size = size,
		.span = size,
		.orig = PHYS_ADDR_MAX,
		.dir = list->dir,
	};
	large->iova = dma_window_large_iova(client, domain, size);
	if (!large->iova) {
		fail_iommu(client, size, list->attrs,
			   "no IOVA space within its DMA mask");
		goto free;
	}
	if (dma_window_large_map(client, domain, large->iova, sg, n, size,
				 list->dir, list->attrs)) {
		fail_iommu(client, size, list->attrs,
			   "the IOMMU does not map it");
		if (likely(dma_window_iommu_revoke_failed_map(io, large->iova, size)))
			dma_window_iommu_free_iova(io, large->iova, size);
		else
			hold_back(client, sg, n, size);
		goto free;
	}
	this_cpu_inc(stats->maps);
	this_cpu_inc(client->stats->iommu_maps);
	this_cpu_add(client->stats->granules, size >> io->shift);
	large_publish(io, large);
	trace_dma_window_map(dev, large->iova, size, list->dir, list->attrs, 0);

	/* Emit as few entries as the device's limits allow. */
	addr = large->iova;
	for (fresh = true; n--; sg = sg_next(sg)) {
		size_t length = sg->length;

		if (!length)
			continue;
		if (!fresh && addr & boundary &&
		    sg_dma_len(list->out) + length <= max)
			sg_dma_len(list->out) += length;
		else
			list_emit(list, addr, length);
		addr += length;
		fresh = false;
	}
	return 0;

free:
	kmem_cache_free(large_cache, large);
	return -ENOMEM;
}

/* Tell whether a refused entry could be mapped if there were room. */
static bool can_ever(struct list *list, struct scatterlist *sg)
{
	if (dma_window_iommu_way(list->client, sg_phys(sg), sg->length, list->dir,
				 list->attrs) == DMA_WINDOW_COPY)
		return sg->length <= list->client->win->size;
	return sg->length <= DMA_WINDOW_MAX_LARGE;
}

/* Unmap a list. @sgl has @nents entries, and DMA addresses in up to @mapped. */
static void list_unmap(struct dma_window_client *client,
		       struct scatterlist *sgl, int nents, int mapped,
		       unsigned long attrs)
{
	struct scatterlist *sg;
	dma_addr_t addr = 0;
	size_t gone = 0;
	int i;

	for_each_sg(sgl, sg, mapped, i) {
		if (!sg_dma_len(sg))
			break;
		/* Skip more of what went with an entry before. */
		if (sg_dma_address(sg) - addr < gone)
			continue;
		addr = sg_dma_address(sg);
		gone = 0;
		if (in_window(client, addr))
			dma_window_bounce_unmap(client->dev, addr, attrs);
		else
			gone = large_unmap(client, addr, sgl, nents, attrs);
	}
}

/**
 * dma_window_iommu_map_sg() - map a scatterlist of a device behind an IOMMU
 * @dev: the device
 * @sgl: the list
 * @nents: entries
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * Entries of whole granules that follow each other are mapped in place and
 * merged, if together they are larger than copybreak. All others are mapped one
 * by one.
 *
 * Context: any.
 *
 * Return: how many entries have DMA addresses; -ENOMEM if trying again may
 * help; -EINVAL if not; -EREMOTEIO for peer-to-peer memory.
 */
int dma_window_iommu_map_sg(struct device *dev, struct scatterlist *sgl,
			    int nents, enum dma_data_direction dir,
			    unsigned long attrs)
{
	struct list list = { .out = sgl, .dir = dir, .attrs = attrs };
	struct scatterlist *sg = sgl;
	size_t copybreak, size;
	int i, n, ret;

	rcu_read_lock();
	list.client = dma_window_client_find(dev);
	if (!list.client)
		goto out;
	copybreak = may_map(list.client, dir, attrs) ?
		    READ_ONCE(list.client->copybreak) : SIZE_MAX;
	dma_reset_need_sync(dev);

	for (i = 0; i < nents; ) {
		n = run_of(list.client, sg, nents - i, &size);
		if (n && size > copybreak) {
			ret = run_map(&list, sg, n, size);
			if (ret)
				goto unmap;
			for (i += n; n--; )
				sg = sg_next(sg);
			continue;
		}
		for (n = max(n, 1); n--; i++, sg = sg_next(sg)) {
			dma_addr_t addr;

			/* An entry without bytes has no address. */
			if (!sg->length)
				continue;
			if (!dma_window_can_map(dev, sg_page(sg))) {
				ret = -EREMOTEIO;
				goto unmap;
			}
			addr = dma_window_bounce_map(dev, sg_phys(sg),
						     sg->length, dir, attrs);
			if (addr == DMA_MAPPING_ERROR) {
				/* -ENOMEM says: try again. */
				ret = can_ever(&list, sg) ? -ENOMEM : -EINVAL;
				goto unmap;
			}
			list_emit(&list, addr, sg->length);
		}
	}
	if (!list.nout)
		goto out;
	rcu_read_unlock();
	if (list.nout < nents) {
		/* Mark where the unmap is to stop. */
		sg = sg_next(list.out);
		sg_dma_address(sg) = DMA_MAPPING_ERROR;
		sg_dma_len(sg) = 0;
	}
	return list.nout;

unmap:
	/* The device never saw these buffers: copy nothing back. */
	list_unmap(list.client, sgl, nents, list.nout,
		   attrs | DMA_ATTR_SKIP_CPU_SYNC);
	rcu_read_unlock();
	sg_dma_len(sgl) = 0;
	return ret == -ENODEV ? -EINVAL : ret;

out:
	rcu_read_unlock();
	sg_dma_len(sgl) = 0;
	return -EINVAL;
}

/**
 * dma_window_iommu_unmap_sg() - undo dma_window_iommu_map_sg()
 * @dev: the device
 * @sgl: the list
 * @nents: entries, as given to dma_window_iommu_map_sg()
 * @dir: direction
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copies
 *
 * Context: any.
 */
void dma_window_iommu_unmap_sg(struct device *dev, struct scatterlist *sgl,
			       int nents, enum dma_data_direction dir,
			       unsigned long attrs)
{
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (likely(client))
		list_unmap(client, sgl, nents, nents, attrs);
	rcu_read_unlock();
}

/* ---- Mappings that a driver left ---- */

/**
 * dma_window_iommu_reclaim() - take back what a device left mapped in place
 * @client: the device, which has no driver, and its window
 *
 * Copies nothing: the drivers' buffers may be long gone. On return, the device
 * cannot reach them any more. A mapping is retired, since its driver may undo
 * it late.
 *
 * Context: may sleep. Nobody maps for @client meanwhile, but its mappings may
 * be undone.
 *
 * Return: how many mappings there were.
 */
unsigned int dma_window_iommu_reclaim(struct dma_window_client *client)
{
	struct dma_window_iommu *io = client->iommu;
	struct large *large, *found;
	unsigned int i, live = 0;

	if (!io)
		return 0;
	for (i = 0; i < ARRAY_SIZE(io->table); i++) {
		do {
			found = NULL;
			spin_lock_irq(&io->table[i].lock);
			hlist_for_each_entry(large, &io->table[i].first, first) {
				if (large->client == client) {
					hlist_del(&large->first);
					found = large;
					break;
				}
			}
			spin_unlock_irq(&io->table[i].lock);
			if (found) {
				rcu_read_lock();
				large_unpublish_tail(io, found);
				large_undo(client, found, NULL, 0, false, true);
				rcu_read_unlock();
				live++;
			}
		} while (found);
	}
	return live;
}
