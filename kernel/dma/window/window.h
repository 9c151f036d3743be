/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: internal declarations.
 *
 * Who owns what:
 *   region   the device-tree node, checked by region.c
 *   window   one per region, made at the first attach and kept for ever
 *   pool     the free slots of a window (pool.c); knows nothing of mappings
 *   mapping  one record per mapped buffer or coherent allocation (bounce.c)
 *   client   one per device and window, from its first attach to its release
 *
 * Nothing here lives in window memory, and nothing that is read from window
 * memory is ever used as a pointer, a length or an index (I4).
 *
 * Lock order:
 *   dma_window_mutex	windows, clients (sleeps; never held while mapping)
 *     pool->lock	slots of one window (irq-safe, innermost)
 */
#ifndef _KERNEL_DMA_WINDOW_H
#define _KERNEL_DMA_WINDOW_H

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

/*
 * The unit of allocation, in bytes. The same as swiotlb's IO_TLB_SIZE, so that
 * the io_tlb_* figures mean what they mean there, and small enough that a
 * packet costs a slot and not a page of up to 64 KiB.
 */
#define DMA_WINDOW_SLOT_SHIFT	11
#define DMA_WINDOW_SLOT_SIZE	BIT(DMA_WINDOW_SLOT_SHIFT)

/*
 * The smallest window that is accepted, in bytes: half of it is for streaming,
 * and must take one request of the size that dma_window_max_request() promises;
 * the other half is for the rings, each of at least a page.
 */
#define DMA_WINDOW_MIN_SIZE	max_t(phys_addr_t, SZ_1M, 64 * PAGE_SIZE)

#define DMA_WINDOW_NO_SLOT	UINT_MAX

/**
 * struct dma_window_pool - the free slots of a window
 * @lock: protects @map, @used and @hiwater
 * @map: a bit per slot, set if the slot is allocated
 * @nslots: number of slots
 * @used: number of slots allocated
 * @hiwater: largest value of @used so far
 */
struct dma_window_pool {
	spinlock_t	lock;	/* map, used, hiwater */
	unsigned long	*map;
	unsigned int	nslots;
	unsigned int	used;
	unsigned int	hiwater;
};

/**
 * struct dma_window_req - what is asked of a pool
 * @nslots: contiguous slots wanted, at least 1
 * @limit: only slots below this index will do (the device's DMA mask)
 * @align: the first slot's bus slot number modulo @align is to be @phase;
 *	a power of two, 1 if it does not matter
 * @phase: see @align
 * @bus: bus slot number of slot 0 (its bus address in units of slots)
 * @boundary: the run may not cross a multiple of this bus slot number;
 *	a power of two, 0 if it does not matter
 * @coherent: for a coherent allocation, else for a streaming mapping
 */
struct dma_window_req {
	unsigned int	nslots;
	unsigned int	limit;
	unsigned int	align;
	unsigned int	phase;
	u64		bus;
	u64		boundary;
	bool		coherent;
};

int dma_window_pool_init(struct dma_window_pool *pool, unsigned int nslots);
void dma_window_pool_destroy(struct dma_window_pool *pool);
unsigned int dma_window_pool_alloc(struct dma_window_pool *pool,
				   const struct dma_window_req *req);
void dma_window_pool_free(struct dma_window_pool *pool, unsigned int slot,
			  unsigned int nslots);
unsigned int dma_window_pool_largest(struct dma_window_pool *pool);

/* Counters of a window; they only ever grow. */
struct dma_window_stats {
	u64	maps;		/* streaming mappings made */
	u64	unmaps;		/* streaming mappings undone */
	u64	allocs;		/* coherent allocations made */
	u64	frees;		/* coherent allocations freed */
	u64	bytes_in;	/* bytes copied into the window */
	u64	bytes_out;	/* bytes copied out of the window */
	u64	fail_full;	/* refused: no run of slots that fits */
	u64	fail_mask;	/* refused: out of the device's reach */
	u64	fail_nomem;	/* refused: no memory for a record */
	u64	fail_invalid;	/* calls with an address that is not mapped,
				 * or with memory that cannot be bounced
				 */
};

/**
 * struct dma_window - the memory that the devices of one region can reach
 * @list: in dma_window_list
 * @region: the region's node (reference held)
 * @name: the region's name, for messages and debugfs
 * @base: physical address, bytes
 * @size: bytes
 * @vaddr: @base in the linear map
 * @pool: its free slots
 * @maps: per slot, the mapping that owns it; see mapping_of() in bounce.c
 * @stats: its counters
 * @announced: the boot line that describes it is out
 */
struct dma_window {
	struct list_head			list;
	struct device_node			*region;
	const char				*name;
	phys_addr_t				base;
	phys_addr_t				size;
	void					*vaddr;
	struct dma_window_pool			pool;
	unsigned long				*maps;
	struct dma_window_stats __percpu	*stats;
	bool					announced;
};

/**
 * struct dma_window_client - a device and its window
 * @node: in the table that dma_window_client_of() searches
 * @dev: the device
 * @win: its window
 * @prop: the property that names the region, for messages
 * @bus_base: bus address of the window's first byte, as the device sees it
 * @ratelimit: of its messages about a window that is full or out of reach
 * @warned: it was told of a call with an address that is not mapped
 * @rcu: frees the client when no lookup can be passing it any more
 */
struct dma_window_client {
	struct hlist_node	node;
	struct device		*dev;
	struct dma_window	*win;
	const char		*prop;
	dma_addr_t		bus_base;
	struct ratelimit_state	ratelimit;
	bool			warned;
	struct rcu_head		rcu;
};

extern struct mutex dma_window_mutex;
extern struct list_head dma_window_list;
extern const struct dma_map_ops dma_window_ops;
extern const struct dma_map_ops dma_window_deny_ops;

struct dma_window_client *dma_window_client_of(struct device *dev);
void dma_window_client_names(struct dma_window *win,
			     void (*show)(void *arg, const char *name),
			     void *arg);

/**
 * enum dma_window_named - what firmware says about a device's region
 * @DMA_WINDOW_UNNAMED: nothing
 * @DMA_WINDOW_MAINLINE: a pool that swiotlb serves
 * @DMA_WINDOW_BRIDGE: it is a PCI bridge on the way from endpoints to a region;
 *	it has no business with DMA, and gets none
 * @DMA_WINDOW_NAMED: a region that we serve, or refuse
 */
enum dma_window_named {
	DMA_WINDOW_UNNAMED,
	DMA_WINDOW_MAINLINE,
	DMA_WINDOW_BRIDGE,
	DMA_WINDOW_NAMED,
};

/**
 * struct dma_window_ref - the property that names a device's region
 * @holder: the node that has the property (reference held)
 * @prop: the property
 * @region: the node it names, or NULL if it names none (reference held)
 */
struct dma_window_ref {
	struct device_node	*holder;
	const char		*prop;
	struct device_node	*region;
};

enum dma_window_named dma_window_ref_find(struct device *dev,
					  struct device_node *np,
					  struct dma_window_ref *ref);
void dma_window_ref_put(struct dma_window_ref *ref);
int dma_window_region_check(struct device *dev,
			    const struct dma_window_ref *ref,
			    phys_addr_t *base, phys_addr_t *size);
int dma_window_region_claim(struct device *dev,
			    const struct dma_window_ref *ref);

__printf(3, 4)
void dma_window_err(struct device *dev, const struct dma_window_ref *ref,
		    const char *fmt, ...);

void dma_window_fail(struct dma_window_client *client, u64 __percpu *counter,
		     const char *reason, size_t size);
dma_addr_t dma_window_bounce_map(struct dma_window_client *client,
				 phys_addr_t orig, size_t size,
				 enum dma_data_direction dir,
				 unsigned long attrs);
void dma_window_bounce_unmap(struct dma_window_client *client, dma_addr_t addr,
			     unsigned long attrs);
void dma_window_bounce_sync(struct dma_window_client *client, dma_addr_t addr,
			    size_t size, enum dma_data_direction dir,
			    bool for_cpu);
void *dma_window_coherent_alloc(struct dma_window_client *client, size_t size,
				dma_addr_t *addr, gfp_t gfp);
bool dma_window_coherent_free(struct dma_window_client *client, size_t size,
			      dma_addr_t addr);
bool dma_window_coherent_valid(struct dma_window_client *client, size_t size,
			       const void *vaddr, dma_addr_t addr);
unsigned int dma_window_bounce_live(struct dma_window_client *client);
unsigned int dma_window_bounce_reclaim(struct dma_window_client *client);
int dma_window_bounce_init(struct dma_window *win);
void dma_window_bounce_exit(struct dma_window *win);
size_t dma_window_max_request(const struct dma_window *win);

#ifdef CONFIG_DEBUG_FS
void dma_window_debugfs_add(struct dma_window *win);
#else
static inline void dma_window_debugfs_add(struct dma_window *win)
{
}
#endif

#endif /* _KERNEL_DMA_WINDOW_H */
