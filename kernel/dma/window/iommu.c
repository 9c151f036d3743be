// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: mappings of devices behind an IOMMU.
 *
 * The window of such a device is mapped once, for reading and writing, into
 * the domain of its IOMMU group. Small buffers, and buffers that cover no whole
 * granule of the IOMMU, are bounced through the window without any IOMMU
 * operation, by the same code that serves devices without an IOMMU. Buffers
 * larger than the device's copybreak are mapped in place, except for the
 * granules at their ends that they do not cover whole: parts of the window
 * stand in for those, so that their other bytes stay out of the device's sight
 * (I1, I3). At most two granules are copied, whatever the size.
 *
 * Driver memory is written here only with data of the device. Whether a buffer
 * can be mapped in place at all is decided by dma_window_copy_or_map(), and how a
 * mapping ends by dma_window_iommu_revoke().
 *
 * Who owns what:
 *   dma_window_iommu	one per domain that has a window; there from the first
 *			attach in it to the drop of the last client. When the
 *			domain goes first, dma_window_domain_gone() is called.
 *   inplace		one record per mapping in place, in a tree by IOVA; its
 *			stand-ins are runs of the window's pool that nobody can
 *			find by a window address. A record whose driver has gone
 *			and forgotten it is retired: unmapped, but its IOVA stays
 *			taken while there is other room, so that a late unmap
 *			does not undo another mapping.
 *
 * One lock per domain protects the tree: for a search of some ten steps at each
 * map and unmap in place, and for the copy of a sync, of two granules at most.
 * All CPUs that map in place in the domain share that lock. What the lock costs
 * on more than four CPUs was not measured.
 *
 * Lock order, in addition to window.h and iommu_attach.c:
 *   io->lock	innermost
 */

#include <linux/dma-window.h>
#include <linux/error-injection.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "bounce.h"
#include "iommu.h"

/* Limit of a domain's retired mappings: each costs a record. */
#define MAX_RETIRED	1024

/**
 * struct inplace - a buffer, or a run of scatterlist entries, mapped in place
 * @node: in io->inplace
 * @client: whose mapping, or its dma_window_retired() if the mapping is retired
 * @iova: of the first granule, bytes
 * @span: whole granules, bytes
 * @offset: of the first mapped byte in the first granule, bytes
 * @size: bytes mapped
 * @orig: physical address of the driver's buffer; PHYS_ADDR_MAX for a list
 * @head: stands in for the first granule, or NULL
 * @tail: stands in for the last granule, or NULL
 * @dir: direction of the mapping
 */
struct inplace {
	struct rb_node			node;
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

static struct kmem_cache *inplace_cache __ro_after_init;

static int __init inplace_cache_init(void)
{
	inplace_cache = KMEM_CACHE(inplace, SLAB_PANIC);
	return 0;
}
core_initcall(inplace_cache_init);

/* ---- Copy or map ---- */

/* Tell whether a buffer can be mapped in place, going by use, not size. */
static bool may_map_in_place(const struct dma_window_client *client,
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
 * dma_window_copy_or_map() - copy a buffer, or map it in place?
 * @client: a device behind an IOMMU, and its window
 * @phys: physical address of the buffer
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * The only place where this choice is made. It is made for a buffer, or for a
 * run of list entries of whole granules, which then are one buffer. What the
 * device may read of a driver's memory (I3) depends on the choice:
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
 * bounce_map_fast() bounces without asking: buffers of up to copybreak bytes,
 * for which the answer is to copy in any case.
 *
 * Context: any.
 *
 * Return: the way.
 */
enum dma_window_way
dma_window_copy_or_map(const struct dma_window_client *client, phys_addr_t phys,
		       size_t size, enum dma_data_direction dir,
		       unsigned long attrs)
{
	u32 granule = client->granule;

	/* A buffer without a whole granule would have nothing in place. */
	if (ALIGN(phys, granule) >= ALIGN_DOWN(phys + size, granule) ||
	    !may_map_in_place(client, dir, attrs))
		return DMA_WINDOW_COPY;
	return size <= READ_ONCE(client->copybreak) ? DMA_WINDOW_COPY_OR_MAP :
						      DMA_WINDOW_MAP;
}

/* ---- The tree of mappings in place, by IOVA: none overlaps another ---- */

static bool inplace_less(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct inplace, node)->iova <
	       rb_entry(b, struct inplace, node)->iova;
}

static void inplace_publish(struct dma_window_iommu *io, struct inplace *ip)
{
	unsigned long flags;

	spin_lock_irqsave(&io->lock, flags);
	rb_add(&ip->node, &io->inplace, inplace_less);
	spin_unlock_irqrestore(&io->lock, flags);
}

/* The first mapping in the tree whose granules end behind @addr, or NULL. */
static struct inplace *inplace_from(struct dma_window_iommu *io, dma_addr_t addr)
{
	struct rb_node *node = io->inplace.rb_node;
	struct inplace *ip, *from = NULL;

	lockdep_assert_held(&io->lock);

	while (node) {
		ip = rb_entry(node, struct inplace, node);
		if (addr < ip->iova) {
			from = ip;
			node = node->rb_left;
		} else if (addr - ip->iova >= ip->span) {
			node = node->rb_right;
		} else {
			return ip;
		}
	}
	return from;
}

/* The mapping whose granules hold @addr, or NULL. */
static struct inplace *inplace_at(struct dma_window_iommu *io, dma_addr_t addr)
{
	struct inplace *ip = inplace_from(io, addr);

	return ip && ip->iova <= addr ? ip : NULL;
}

static bool inplace_is_retired(const struct inplace *ip)
{
	return (unsigned long)ip->client & DMA_WINDOW_RETIRED;
}

/* Tell whether a mapping is, or was before it was retired, @client's. */
static bool inplace_is_of(const struct inplace *ip,
			  const struct dma_window_client *client)
{
	return ip->client == client || ip->client == dma_window_retired(client);
}

/* Take a mapping out of the tree. */
static void inplace_unpublish(struct dma_window_iommu *io, struct inplace *ip)
{
	lockdep_assert_held(&io->lock);

	rb_erase(&ip->node, &io->inplace);
	io->nretired -= inplace_is_retired(ip);
}

/* Take the mapping that begins at @addr away from everybody else. */
static struct inplace *inplace_claim(struct dma_window_client *client,
				     dma_addr_t addr)
{
	struct dma_window_iommu *io = client->iommu;
	struct inplace *ip;
	unsigned long flags;

	spin_lock_irqsave(&io->lock, flags);
	ip = inplace_at(io, addr);
	if (ip && (ip->iova + ip->offset != addr || !inplace_is_of(ip, client)))
		ip = NULL;
	if (ip)
		inplace_unpublish(io, ip);
	spin_unlock_irqrestore(&io->lock, flags);
	return ip;
}

/*
 * Take the next live mapping of @client's from *@at on away from everybody
 * else; with a NULL @client, the next retired one. *@at is then behind it.
 */
static struct inplace *inplace_claim_next(struct dma_window_iommu *io,
					  struct dma_window_client *client,
					  dma_addr_t *at)
{
	bool found = false;
	struct inplace *ip;
	unsigned long flags;
	int steps;

	do {
		/* Look at a few mappings, then let others have the lock. */
		spin_lock_irqsave(&io->lock, flags);
		for (steps = 0; steps < 32 && !found; steps++) {
			ip = inplace_from(io, *at);
			if (!ip)
				break;
			*at = ip->iova + ip->span;
			found = client ? ip->client == client :
					 inplace_is_retired(ip);
		}
		if (found)
			inplace_unpublish(io, ip);
		spin_unlock_irqrestore(&io->lock, flags);
	} while (ip && !found);
	return found ? ip : NULL;
}

/* Put a mapping that is undone back into the tree, unless there are many. */
static bool inplace_retire(struct dma_window_iommu *io, struct inplace *ip)
{
	unsigned long flags;
	bool kept;

	spin_lock_irqsave(&io->lock, flags);
	kept = io->nretired < MAX_RETIRED;
	if (kept) {
		ip->client = dma_window_retired(ip->client);
		io->nretired++;
		rb_add(&ip->node, &io->inplace, inplace_less);
	}
	spin_unlock_irqrestore(&io->lock, flags);
	return kept;
}

static void inplace_free_retired(struct dma_window_iommu *io,
				 struct inplace *ip)
{
	dma_window_iommu_free_iova(io, ip->iova, ip->span);
	kmem_cache_free(inplace_cache, ip);
}

/**
 * dma_window_iommu_release_retired() - free a domain's retired mappings
 * @io: the window in the domain
 *
 * Context: any, under the RCU read lock, or without clients and under
 * dma_window_mutex, so that the domain stays.
 *
 * Return: true if there were any.
 */
bool dma_window_iommu_release_retired(struct dma_window_iommu *io)
{
	struct inplace *ip;
	dma_addr_t at = 0;
	bool any = false;

	if (!READ_ONCE(io->nretired))
		return false;
	while ((ip = inplace_claim_next(io, NULL, &at))) {
		inplace_free_retired(io, ip);
		any = true;
	}
	return any;
}

/* ---- Stand-ins for a mapping's first and last granule ---- */

static void *stand_in_vaddr(const struct dma_window *win,
			    const struct dma_window_mapping *stand_in)
{
	return win->vaddr + ((u64)dma_window_slot(&win->pool, stand_in) <<
			     DMA_WINDOW_SLOT_SHIFT);
}

/* Bytes of the buffer that the head, or the tail, stands in for. */
static size_t head_size(const struct dma_window_iommu *io,
			const struct inplace *ip)
{
	return ip->head ? io->granule - ip->offset : 0;
}

static size_t tail_size(const struct dma_window_iommu *io,
			const struct inplace *ip)
{
	return ip->tail ? (ip->offset + ip->size) & (io->granule - 1) : 0;
}

/*
 * Fill a stand-in for the device's first look: at @from, @size bytes of the
 * driver's buffer at @orig; zeroes around them. If the device is to write them,
 * all is zeroes, or with DMA_ATTR_WINDOW_NO_FILL left as it is.
 */
static void stand_in_fill(void *vaddr, size_t granule, size_t from,
			  phys_addr_t orig, size_t size,
			  enum dma_data_direction dir, unsigned long attrs)
{
	if (dir == DMA_FROM_DEVICE) {
		if (!(attrs & DMA_ATTR_WINDOW_NO_FILL))
			memset(vaddr, 0, granule);
		return;
	}
	memset(vaddr, 0, from);
	memcpy(vaddr + from, phys_to_virt(orig), size);
	memset(vaddr + from + size, 0, granule - from - size);
}

/*
 * Copy what stand-ins have of the buffer's bytes from @begin up to @end, to the
 * driver's buffer or from there. Returns how many bytes that were.
 */
static size_t stand_in_copy(struct dma_window_iommu *io,
			    const struct inplace *ip, size_t begin, size_t end,
			    bool to_driver)
{
	size_t head = min(head_size(io, ip), end);
	size_t tail = max(ip->size - tail_size(io, ip), begin);
	size_t copied = 0;

	if (begin < head) {
		void *in = stand_in_vaddr(io->win, ip->head) + ip->offset + begin;
		void *out = phys_to_virt(ip->orig) + begin;

		copied = head - begin;
		memcpy(to_driver ? out : in, to_driver ? in : out, copied);
	}
	if (tail < end) {
		void *in = stand_in_vaddr(io->win, ip->tail) +
			   (tail - (ip->size - tail_size(io, ip)));
		void *out = phys_to_virt(ip->orig) + tail;

		copied += end - tail;
		memcpy(to_driver ? out : in, to_driver ? in : out, end - tail);
	}
	return copied;
}

/* A stand-in that a device still reaches is lost to the window: it stays taken. */
static void stand_in_free(struct dma_window_iommu *io,
			  struct dma_window_mapping *stand_in, bool revoked)
{
	if (stand_in && revoked)
		dma_window_stand_in_put(io->win, stand_in);
}

/* ---- Mapping in place ---- */

static void report_iommu(struct dma_window_client *client, size_t size,
			 unsigned long attrs, const char *what)
{
	dma_window_fail(client, iommu, size);
	if (!(attrs & DMA_ATTR_NO_WARN) && __ratelimit(&client->ratelimit))
		dev_warn(client->dev, "%s: a mapping of %zu bytes failed: %s\n",
			 client->win->name, size, what);
}

static void inplace_free(struct dma_window_iommu *io, struct inplace *ip,
			 bool revoked)
{
	stand_in_free(io, ip->head, revoked);
	stand_in_free(io, ip->tail, revoked);
	kmem_cache_free(inplace_cache, ip);
}

/*
 * Make the record of a mapping, with the stand-ins that it needs. Tests can make
 * this step, and each of those below that is noinline, fail.
 */
static noinline struct inplace *
dma_window_inplace_new(struct dma_window_client *client, phys_addr_t orig,
		       size_t offset, size_t size, enum dma_data_direction dir,
		       unsigned long attrs)
{
	struct dma_window_iommu *io = client->iommu;
	struct inplace *ip;

	ip = kmem_cache_alloc(inplace_cache, GFP_ATOMIC | __GFP_NOWARN);
	if (!ip) {
		dma_window_fail(client, nomem, size);
		return NULL;
	}
	ip->client = client;
	ip->span = ALIGN(offset + size, io->granule);
	ip->offset = offset;
	ip->size = size;
	ip->orig = orig;
	ip->head = NULL;
	ip->tail = NULL;
	ip->dir = dir;

	if (offset) {
		ip->head = dma_window_stand_in_get(client, io->granule, attrs);
		if (!ip->head)
			goto free;
	}
	if ((offset + size) & (io->granule - 1)) {
		ip->tail = dma_window_stand_in_get(client, io->granule, attrs);
		if (!ip->tail)
			goto free;
	}
	return ip;

free:
	inplace_free(io, ip, true);
	return NULL;
}
ALLOW_ERROR_INJECTION(dma_window_inplace_new, NULL);

/* Allocate IOVA space. 0 is no IOVA: the first granule is never handed out. */
static noinline dma_addr_t
dma_window_inplace_iova(struct dma_window_client *client,
			struct iommu_domain *domain, size_t span)
{
	struct device *dev = client->dev;
	u64 mask = dma_get_mask(dev);
	dma_addr_t iova;

	iova = iommu_dma_alloc_iova(domain, span, mask, dev);
	if (unlikely(!iova) && dma_window_iommu_release_retired(client->iommu))
		iova = iommu_dma_alloc_iova(domain, span, mask, dev);
	return iova;
}
ALLOW_ERROR_INJECTION(dma_window_inplace_iova, NULL);

static noinline int dma_window_inplace_iommu_map(struct iommu_domain *domain,
						 const struct inplace *ip,
						 struct scatterlist *sgl,
						 int nents, unsigned long attrs)
{
	int prot = IOMMU_CACHE;
	ssize_t ret;

	if (ip->dir != DMA_FROM_DEVICE)
		prot |= IOMMU_READ;
	if (ip->dir != DMA_TO_DEVICE)
		prot |= IOMMU_WRITE;
	if (attrs & DMA_ATTR_PRIVILEGED)
		prot |= IOMMU_PRIV;

	ret = iommu_map_sg(domain, ip->iova, sgl, nents, prot, GFP_ATOMIC);
	if (ret < 0)
		return ret;
	return ret == ip->span ? 0 : -EIO;
}
ALLOW_ERROR_INJECTION(dma_window_inplace_iommu_map, ERRNO);

/*
 * Map the granules of @sgl for @ip, and let others find it. Returns the bus
 * address of the first byte. If that fails, @ip is freed.
 */
static dma_addr_t inplace_begin(struct dma_window_client *client,
				struct inplace *ip, struct scatterlist *sgl,
				int nents, unsigned long attrs)
{
	struct dma_window_iommu *io = client->iommu;
	size_t head = head_size(io, ip), tail = tail_size(io, ip);
	struct iommu_domain *domain = READ_ONCE(io->domain);
	struct dma_window_device_stats *own;
	struct dma_window_stats *stats;
	bool revoked = true;
	unsigned long flags;
	dma_addr_t addr;
	size_t bounced;

	if (!domain) {
		report_iommu(client, ip->size, attrs, "its IOMMU domain is gone");
		goto free;
	}
	ip->iova = dma_window_inplace_iova(client, domain, ip->span);
	if (!ip->iova) {
		report_iommu(client, ip->size, attrs,
			     "no IOVA space within its DMA mask");
		goto free;
	}
	if (dma_window_inplace_iommu_map(domain, ip, sgl, nents, attrs)) {
		report_iommu(client, ip->size, attrs,
			     "the IOMMU does not map it");
		revoked = dma_window_iommu_revoke_failed_map(io, ip->iova,
							     ip->span);
		if (likely(revoked))
			dma_window_iommu_free_iova(io, ip->iova, ip->span);
		else
			dma_window_iommu_hold_back(client, sgl, nents, ip->span);
		goto free;
	}

	bounced = ip->dir == DMA_FROM_DEVICE ? 0 : head + tail;
	local_irq_save(flags);
	stats = &this_cpu_ptr(io->win->pool.cpu)->stats;
	stats->maps++;
	stats->bytes_in += bounced;
	own = this_cpu_ptr(client->stats);
	own->iommu_maps++;
	own->bytes_in += bounced;
	own->granules += (ip->size - head - tail) >> io->shift;
	own->heads += !!head;
	own->tails += !!tail;
	local_irq_restore(flags);
	/* End the skipping of syncs: it may date from before the window. */
	dma_reset_need_sync(client->dev);
	addr = ip->iova + ip->offset;
	trace_dma_window_map(client->dev, addr, ip->size, ip->dir, attrs,
			     bounced);
	inplace_publish(io, ip);
	return addr;

free:
	inplace_free(io, ip, revoked);
	return DMA_MAPPING_ERROR;
}

static void sg_set_phys(struct scatterlist *sg, phys_addr_t phys, size_t size)
{
	sg_set_page(sg, pfn_to_page(PHYS_PFN(phys)), size, offset_in_page(phys));
}

static dma_addr_t inplace_map(struct dma_window_client *client,
			      phys_addr_t phys, size_t size,
			      enum dma_data_direction dir, unsigned long attrs)
{
	struct dma_window_iommu *io = client->iommu;
	size_t granule = io->granule, head, tail;
	struct scatterlist sgl[3];
	struct inplace *ip;
	int n = 0;

	if (size > DMA_WINDOW_MAX_IN_PLACE) {
		report_iommu(client, size, attrs,
			     "more than can be mapped at once");
		return DMA_MAPPING_ERROR;
	}
	ip = dma_window_inplace_new(client, phys, phys & (granule - 1), size,
				    dir, attrs);
	if (!ip)
		return DMA_MAPPING_ERROR;

	head = head_size(io, ip);
	tail = tail_size(io, ip);
	sg_init_table(sgl, 1 + !!head + !!tail);
	if (head) {
		void *vaddr = stand_in_vaddr(io->win, ip->head);

		stand_in_fill(vaddr, granule, ip->offset, phys, head, dir, attrs);
		sg_set_phys(&sgl[n++], virt_to_phys(vaddr), granule);
	}
	sg_set_phys(&sgl[n++], phys + head, size - head - tail);
	if (tail) {
		void *vaddr = stand_in_vaddr(io->win, ip->tail);

		stand_in_fill(vaddr, granule, 0, phys + size - tail, tail, dir,
			      attrs);
		sg_set_phys(&sgl[n++], virt_to_phys(vaddr), granule);
	}
	return inplace_begin(client, ip, sgl, n, attrs);
}

/* Hold back the driver's memory of @ip. @sgl: its list, if it is of one. */
static void inplace_hold_back(struct dma_window_client *client,
			      const struct inplace *ip,
			      struct scatterlist *sgl, int nents)
{
	struct dma_window_iommu *io = client->iommu;
	size_t head = head_size(io, ip), tail = tail_size(io, ip);
	struct scatterlist middle;

	if (ip->orig != PHYS_ADDR_MAX) {
		sg_init_table(&middle, 1);
		sg_set_phys(&middle, ip->orig + head, ip->size - head - tail);
		sgl = &middle;
		nents = 1;
	}
	dma_window_iommu_hold_back(client, sgl, nents, ip->span);
}

/*
 * End a mapping that nobody else can find any more. @sgl: the list that the
 * mapping may be of, or NULL. With @retire, its IOVA and its record stay.
 */
static void inplace_end(struct dma_window_client *client, struct inplace *ip,
			struct scatterlist *sgl, int nents, bool copy,
			bool retire)
{
	struct dma_window_iommu *io = client->iommu;
	struct dma_window_device_stats *own;
	struct dma_window_stats *stats;
	unsigned long flags;
	size_t copied = 0;
	bool revoked;

	revoked = dma_window_iommu_revoke(io, ip->iova, ip->span);
	/* Forgotten memory may have another owner: hold none of it. */
	if (unlikely(!revoked && retire))
		dma_window_iommu_hold_back(client, NULL, 0, ip->span);
	else if (unlikely(!revoked))
		inplace_hold_back(client, ip, sgl, nents);
	/* Copy back now: the device was revoked its access, or cut off. */
	if (copy && ip->dir != DMA_TO_DEVICE)
		copied = stand_in_copy(io, ip, 0, ip->size, true);
	local_irq_save(flags);
	stats = &this_cpu_ptr(io->win->pool.cpu)->stats;
	stats->unmaps++;
	stats->bytes_out += copied;
	own = this_cpu_ptr(client->stats);
	own->iommu_unmaps++;
	own->bytes_out += copied;
	local_irq_restore(flags);
	trace_dma_window_unmap(client->dev, ip->iova + ip->offset, ip->size,
			       ip->dir, copy ? 0 : DMA_ATTR_SKIP_CPU_SYNC,
			       copied);

	if (retire && revoked && READ_ONCE(io->domain)) {
		stand_in_free(io, ip->head, true);
		stand_in_free(io, ip->tail, true);
		ip->head = NULL;
		ip->tail = NULL;
		if (inplace_retire(io, ip))
			return;
	}
	if (revoked)
		dma_window_iommu_free_iova(io, ip->iova, ip->span);
	inplace_free(io, ip, revoked);
}

/* ---- Entry points of the operations ---- */

static dma_addr_t map_not_fast(struct device *dev, phys_addr_t phys,
			       size_t size, enum dma_data_direction dir,
			       unsigned long attrs)
{
	dma_addr_t addr = DMA_MAPPING_ERROR;
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	if (unlikely(!client))
		goto out;
	switch (dma_window_copy_or_map(client, phys, size, dir, attrs)) {
	case DMA_WINDOW_COPY:
		addr = dma_window_bounce_map_slow(client, phys, size, dir,
						  attrs);
		break;
	case DMA_WINDOW_COPY_OR_MAP:
		/*
		 * If the whole buffer finds no room, its ends may, before a
		 * floor is used.
		 */
		addr = dma_window_bounce_map_slow(client, phys, size, dir,
						  (attrs & ~DMA_ATTR_WINDOW_FLOOR) |
						  DMA_ATTR_NO_WARN);
		if (addr != DMA_MAPPING_ERROR)
			break;
		fallthrough;
	case DMA_WINDOW_MAP:
		addr = inplace_map(client, phys, size, dir, attrs);
	}
out:
	rcu_read_unlock();
	return addr;
}

/**
 * dma_window_iommu_map() - map a buffer of a device behind an IOMMU
 * @dev: the device
 * @phys: physical address of the buffer, in the linear map
 * @size: bytes
 * @dir: direction
 * @attrs: as for dma_window_bounce_map()
 *
 * Context: any.
 *
 * Return: the bus address, or DMA_MAPPING_ERROR.
 */
dma_addr_t dma_window_iommu_map(struct device *dev, phys_addr_t phys,
				size_t size, enum dma_data_direction dir,
				unsigned long attrs)
{
	dma_addr_t addr;

	if (likely(bounce_map_fast(dev, phys, size, dir, attrs, &addr)))
		return addr;
	return map_not_fast(dev, phys, size, dir, attrs);
}

/**
 * dma_window_iommu_unmap() - undo a mapping in place
 * @client: the device and its window
 * @addr: the mapping's bus address
 * @sgl: the list that the mapping may be of, or NULL
 * @nents: entries of @sgl
 * @attrs: DMA_ATTR_SKIP_CPU_SYNC skips the copy
 *
 * On return, the device cannot reach the buffer any more. To undo what was
 * retired changes nothing but that its address is free.
 *
 * Context: any, under the RCU read lock.
 *
 * Return: bytes that were mapped, all at @addr; 0 if nothing is mapped there.
 */
size_t dma_window_iommu_unmap(struct dma_window_client *client, dma_addr_t addr,
			      struct scatterlist *sgl, int nents,
			      unsigned long attrs)
{
	struct inplace *ip;
	size_t size;

	if (!client->iommu)
		return 0;
	ip = inplace_claim(client, addr);
	if (!ip)
		return 0;
	size = ip->size;
	if (inplace_is_retired(ip))
		inplace_free_retired(client->iommu, ip);
	else
		inplace_end(client, ip, sgl, nents,
			    !(attrs & DMA_ATTR_SKIP_CPU_SYNC), false);
	return size;
}

/**
 * dma_window_iommu_sync() - copy a part of a mapping in place
 * @client: the device and its window
 * @addr: bus address of the first byte, anywhere in a mapping
 * @size: bytes
 * @dir: direction
 * @for_cpu: copy what the device wrote, else what it is to read
 *
 * Copies what dma_window_bounce_sync() would, as far as stand-ins have it.
 *
 * Context: any, under the RCU read lock.
 *
 * Return: false if nothing is mapped at @addr in place; then nothing has
 * changed.
 */
bool dma_window_iommu_sync(struct dma_window_client *client, dma_addr_t addr,
			   size_t size, enum dma_data_direction dir,
			   bool for_cpu)
{
	enum dma_data_direction never = for_cpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
	struct dma_window_iommu *io = client->iommu;
	bool found, beyond = false;
	size_t from, copied = 0;
	struct inplace *ip;
	unsigned long flags;

	if (!io)
		return false;
	if (!size)
		return true;
	/* Copy under the lock, against a racing unmap: two granules at most. */
	spin_lock_irqsave(&io->lock, flags);
	ip = inplace_at(io, addr);
	from = ip ? addr - ip->iova - ip->offset : 0;
	found = ip && inplace_is_of(ip, client) && from < ip->size;
	if (found && !inplace_is_retired(ip)) {
		/* Cut off as swiotlb does, for drivers that round up. */
		beyond = size > ip->size - from;
		size = min(size, ip->size - from);
		if (dir != never && ip->dir != never)
			copied = stand_in_copy(io, ip, from, from + size,
					       for_cpu);
	}
	spin_unlock_irqrestore(&io->lock, flags);
	if (beyond)
		dma_window_invalid(client, DMA_WINDOW_BUG_SYNC_END, addr);
	if (!copied)
		return found;
	if (for_cpu)
		dma_window_count_out(client, copied);
	else
		dma_window_count_in(client, copied);
	trace_dma_window_sync(client->dev, addr, size, dir, for_cpu, copied);
	return true;
}

/* ---- Scatterlists ---- */

/**
 * struct sglist - a scatterlist that is being mapped
 * @client: for whom
 * @out: the next entry whose DMA address is to be set, or NULL
 * @last: the entry whose DMA address was set last, or NULL
 * @nout: how many are set
 * @dir: direction
 * @attrs: attributes
 */
struct sglist {
	struct dma_window_client	*client;
	struct scatterlist		*out;
	struct scatterlist		*last;
	int				nout;
	enum dma_data_direction		dir;
	unsigned long			attrs;
};

static void sglist_emit(struct sglist *list, dma_addr_t addr, size_t size)
{
	sg_dma_address(list->out) = addr;
	sg_dma_len(list->out) = size;
	list->last = list->out;
	list->out = sg_next(list->out);
	list->nout++;
}

/* Mark where unmaps and syncs are to stop, if that is before the list's end. */
static void sglist_end(struct sglist *list, int nents)
{
	if (list->nout == nents)
		return;
	sg_dma_address(list->out) = DMA_WINDOW_LIST_END;
	sg_dma_len(list->out) = 0;
}

/*
 * Count the entries from @sg on, of at most @left, that are of whole granules
 * and can be one range of IOVA. @size: filled with the range's length.
 */
static int sglist_run(struct dma_window_client *client, struct scatterlist *sg,
		      int left, size_t *size)
{
	u64 limit = min_t(u64, DMA_WINDOW_MAX_IN_PLACE,
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
static int sglist_map_run(struct sglist *list, struct scatterlist *sg, int n,
			  size_t size)
{
	struct dma_window_client *client = list->client;
	unsigned int max = dma_get_max_seg_size(client->dev);
	unsigned long boundary = dma_get_seg_boundary(client->dev);
	struct inplace *ip;
	dma_addr_t addr;
	bool fresh;

	ip = dma_window_inplace_new(client, PHYS_ADDR_MAX, 0, size, list->dir,
				    list->attrs);
	if (!ip)
		return -ENOMEM;
	addr = inplace_begin(client, ip, sg, n, list->attrs);
	if (addr == DMA_MAPPING_ERROR)
		return -ENOMEM;

	/* Emit as few entries as the device's limits allow. */
	for (fresh = true; n--; sg = sg_next(sg)) {
		size_t length = sg->length;

		if (!length)
			continue;
		if (!fresh && addr & boundary &&
		    sg_dma_len(list->last) + length <= max)
			sg_dma_len(list->last) += length;
		else
			sglist_emit(list, addr, length);
		addr += length;
		fresh = false;
	}
	return 0;
}

/* Map an entry by itself. */
static int sglist_map_one(struct sglist *list, struct scatterlist *sg)
{
	struct dma_window_client *client = list->client;
	size_t most = dma_window_max_mapping(client->win);
	dma_addr_t addr;

	/* An entry without bytes has no address. */
	if (!sg->length)
		return 0;
	if (!dma_window_can_map(client->dev, sg_page(sg)))
		return -EREMOTEIO;
	addr = dma_window_iommu_map(client->dev, sg_phys(sg), sg->length,
				    list->dir, list->attrs);
	if (addr == DMA_MAPPING_ERROR) {
		/* -ENOMEM says: try again, there may be room then. */
		if (dma_window_copy_or_map(client, sg_phys(sg), sg->length,
					   list->dir,
					   list->attrs) != DMA_WINDOW_COPY)
			most = DMA_WINDOW_MAX_IN_PLACE;
		return sg->length <= most ? -ENOMEM : -EINVAL;
	}
	sglist_emit(list, addr, sg->length);
	return 0;
}

/* Tell whether a window can hold what a list takes of it at the least. */
static bool sglist_fits(const struct sglist *list, struct scatterlist *sgl,
			int nents)
{
	const struct dma_window_client *client = list->client;
	u32 granule = client->granule;
	struct scatterlist *sg;
	u64 slots = 0;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		phys_addr_t end = sg_phys(sg) + sg->length;
		u64 copied = dma_window_bounce_slots(client, sg_phys(sg), sg->length);
		u64 ends = (!IS_ALIGNED(sg_phys(sg), granule) +
			    !IS_ALIGNED(end, granule)) *
			   (u64)(granule >> DMA_WINDOW_SLOT_SHIFT);

		if (!sg->length)
			continue;
		if (dma_window_copy_or_map(client, sg_phys(sg), sg->length, list->dir,
					   list->attrs) == DMA_WINDOW_COPY)
			ends = copied;
		slots += min(copied, ends);
	}
	return dma_window_bounce_fits(client, slots);
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
 * by one. The entries that have DMA addresses come first, and end at
 * DMA_WINDOW_LIST_END if they are fewer than @nents. If the list cannot be
 * mapped, the caller unmaps what is.
 *
 * Context: any.
 *
 * Return: how many entries have DMA addresses; -ENOMEM if trying again may
 * help; -EINVAL if not, by itself or together with the others; -EREMOTEIO for peer-to-peer memory.
 */
int dma_window_iommu_map_sg(struct device *dev, struct scatterlist *sgl,
			    int nents, enum dma_data_direction dir,
			    unsigned long attrs)
{
	struct sglist list = { .out = sgl, .dir = dir, .attrs = attrs };
	struct scatterlist *sg = sgl;
	int i, n, ret = -EINVAL;
	size_t size;

	rcu_read_lock();
	list.client = dma_window_client_find(dev);
	if (!list.client)
		goto out;
	dma_reset_need_sync(dev);

	for (i = 0; i < nents; ) {
		bool together;

		n = sglist_run(list.client, sg, nents - i, &size);
		together = n && dma_window_copy_or_map(list.client, 0, size, dir,
						       attrs) == DMA_WINDOW_MAP;
		ret = together ? sglist_map_run(&list, sg, n, size) : 0;
		for (n = max(n, 1); n-- && !ret; i++, sg = sg_next(sg))
			if (!together)
				ret = sglist_map_one(&list, sg);
		if (ret)
			goto out;
	}
	ret = list.nout ?: -EINVAL;
out:
	/* A buffer by itself may have what several cannot. */
	if (ret == -ENOMEM && nents > 1 && !sglist_fits(&list, sgl, nents))
		ret = -EINVAL;
	sglist_end(&list, nents);
	rcu_read_unlock();
	return ret;
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
	unsigned int left = 0;
	struct inplace *ip;
	dma_addr_t at = 0;

	if (!client->iommu)
		return 0;
	while ((ip = inplace_claim_next(client->iommu, client, &at))) {
		rcu_read_lock();
		inplace_end(client, ip, NULL, 0, false, true);
		rcu_read_unlock();
		left++;
	}
	return left;
}
