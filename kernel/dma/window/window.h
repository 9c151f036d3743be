/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: internal declarations.
 *
 * Who owns what:
 *   region   the device-tree node, checked by region.c; or another source of a
 *            window, see source.c
 *   window   one per region, made at the first attach and kept for ever, or as long
 *            as the PCI device that has its memory; or one per IOMMU group of
 *            untrusted devices, see untrusted.c
 *   pool     the free slots of a window, and what finds the owner of the
 *            others (pool.c)
 *   mapping  the record of a mapped buffer or coherent allocation: the pool has
 *            one for each slot; what is in those of live runs is bounce.c's
 *   client   one per device and window, from its first attach there to the
 *            device's release, or to an attach elsewhere or to none, or to the
 *            window's end
 *
 * No record lives in window memory, and nothing that is read from window memory
 * is ever used as a pointer, a length or an index (I4).
 *
 * Lock order:
 *   iommu group's mutex	see iommu_attach.c
 *   cpu_hotplug_lock	when a CPU goes offline: window_cpu_dead(); so nothing under
 *			dma_window_mutex may take it
 *     dma_window_mutex	windows, clients (sleeps; never held while mapping)
 *       pool->lock	slots of one window (irq-safe, innermost)
 */
#ifndef _KERNEL_DMA_WINDOW_H
#define _KERNEL_DMA_WINDOW_H

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "compat.h"

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

/*
 * Size classes of what CPUs keep for the next mapping: 2 KiB to 64 KiB, by
 * powers of two.
 */
#define DMA_WINDOW_CLASSES		6
#define DMA_WINDOW_MAX_CLASS_SLOTS	BIT(DMA_WINDOW_CLASSES - 1)
#define DMA_WINDOW_MAX_CLASS_SIZE	(DMA_WINDOW_MAX_CLASS_SLOTS << DMA_WINDOW_SLOT_SHIFT)
#define DMA_WINDOW_NO_CLASS		DMA_WINDOW_CLASSES

/**
 * struct dma_window_mapping - what a run of slots is used for
 * @client: whose run it is; NULL if the run is not live, DMA_WINDOW_STAND_IN if
 *	it has no address in the window, dma_window_retired() if it is retired
 * @orig: physical address of the driver's buffer; unused if @dir is DMA_NONE
 * @size: bytes mapped
 * @begin: of the first mapped byte in the run, bytes: below 64 KiB, because only
 *	a run of a class can begin more than a slot before its mapping
 * @class: size class of the run, or DMA_WINDOW_NO_CLASS
 * @dir: direction of the mapping; DMA_NONE for a coherent allocation: there is
 *	nothing to copy
 *
 * There is one for each slot, in the pool's array, and a run's is that of its
 * first slot. How many slots the run has, dma_window_nslots() knows.
 *
 * All fields but @client belong to whoever has the run: to those who map it for
 * the client, and from there on to the one who takes it away from the client, by
 * a cmpxchg() of @client.
 */
struct dma_window_mapping {
	struct dma_window_client	*client;
	phys_addr_t			orig;
	u32				size;
	u16				begin;
	u8				class;
	u8				dir;
};

/* The largest mapping or allocation in a window, whatever the window's size. */
#define DMA_WINDOW_MAX_MAPPING	((u64)SZ_4G - SZ_64K)

/* Counters of a window; they only ever grow. */
struct dma_window_stats {
	u64	maps;		/* streaming mappings made */
	u64	unmaps;		/* streaming mappings undone */
	u64	floor_maps;	/* of maps, those that took a floor's room */
	u64	allocs;		/* coherent allocations made */
	u64	frees;		/* coherent allocations freed */
	u64	bytes_in;	/* bytes copied into the window */
	u64	bytes_out;	/* bytes copied out of the window */
	u64	fail_full;	/* refused: no run of slots that fits */
	u64	fail_mask;	/* refused: out of the device's reach */
	u64	fail_nomem;	/* refused: no memory for the record of a
				 * mapping in place
				 */
	u64	fail_iommu;	/* refused: the IOMMU does not map it */
	u64	fail_invalid;	/* calls with an address that is not mapped,
				 * or with memory that cannot be bounced
				 */
	u64	leaked;		/* bytes that an IOMMU did not let go of */
};

/**
 * struct dma_window_cpu - what a CPU has of a window for itself
 * @stats: the CPU's part of the window's counters
 * @top: by class, how many runs the CPU keeps; only the CPU itself looks, with
 *	interrupts disabled, and finds out late when others have taken them
 * @runs: by class, the runs that the CPU keeps: their first slots, plus 1, or 0;
 *	others may take them by xchg()
 */
struct dma_window_cpu {
	struct dma_window_stats		stats;
	u16				top[DMA_WINDOW_CLASSES];
	u32				runs[];
};

/* The longest free run below a node of the tree, and those at its ends. */
struct dma_window_node {
	u32	pre;
	u32	suf;
	u32	max;
};

/**
 * struct dma_window_pool - the free slots of a window
 * @cpu: what CPUs have for themselves
 * @records: by slot; the record of a run is that of its first slot
 * @nslots: number of slots
 * @first: place of slot 0 in a naturally aligned run of the largest class
 * @reserve: slots at the end that streaming may not have
 * @nretired: slots of retired runs: those that a driver forgot, not used again as
 *	long as there is other room; written under @lock
 * @depth: by class, how many runs a CPU may keep
 * @class_start: by class, where the class begins in a CPU's runs[]
 * @entries: length of a CPU's runs[]
 * @words: words in @free_bits, a power of two
 * @free_bits: a bit per slot, set if the slot is free
 * @start_bits: a bit per slot, set if a run begins there that is not free; it may
 *	be one that a CPU keeps
 * @start_words: a bit per word of @start_bits, set if the word is not 0
 * @floor_bits: a bit per slot, set if the slot is a floor's
 * @floor_free: a bit per slot, set if the slot is a floor's and free
 * @tree: as a heap: the root is 1, the words' nodes begin at @words
 * @lock: protects @free_bits, @floor_bits, @tree, @used, @hiwater, and writes to
 *	@floor_free, @floor_slots, @start_bits, @start_words and @nretired
 * @used: slots that are not free, those that CPUs keep, retired ones and floors
 *	included
 * @hiwater: largest value of @used so far
 * @floor_slots: slots of all floors
 */
struct dma_window_pool {
	struct dma_window_cpu __percpu	*cpu;
	struct dma_window_mapping	*records;
	unsigned int			nslots;
	unsigned int			first;
	unsigned int			reserve;
	unsigned int			nretired;
	u16				depth[DMA_WINDOW_CLASSES];
	u16				class_start[DMA_WINDOW_CLASSES];
	unsigned int			entries;
	unsigned int			words;
	u64				*free_bits;
	u64				*start_bits;
	u64				*start_words;
	unsigned long			*floor_bits;
	unsigned long			*floor_free;
	struct dma_window_node		*tree;

	spinlock_t			lock ____cacheline_aligned_in_smp;
	unsigned int			used;
	unsigned int			hiwater;
	unsigned int			floor_slots;
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

int dma_window_pool_init(struct dma_window_pool *pool, unsigned int nslots,
			 u64 first);
void dma_window_pool_destroy(struct dma_window_pool *pool);
struct dma_window_mapping *
dma_window_pool_alloc(struct dma_window_pool *pool,
		      const struct dma_window_req *req, unsigned int class);
void dma_window_pool_free(struct dma_window_pool *pool,
			  struct dma_window_mapping *map);
bool dma_window_pool_retire(struct dma_window_pool *pool,
			    struct dma_window_mapping *map,
			    struct dma_window_client *client);
bool dma_window_pool_end_retired(struct dma_window_pool *pool,
				 struct dma_window_client *client, u64 offset);
void dma_window_pool_forget(struct dma_window_pool *pool,
			    struct dma_window_client *client);
unsigned int dma_window_pool_floor_reserve(struct dma_window_pool *pool,
					   unsigned int nslots);
bool dma_window_pool_floor_is_free(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int nslots);
void dma_window_pool_floor_release(struct dma_window_pool *pool,
				   unsigned int slot, unsigned int nslots);
struct dma_window_mapping *
dma_window_pool_floor_alloc(struct dma_window_pool *pool,
			    const struct dma_window_req *req,
			    unsigned int floor, unsigned int nslots);
void dma_window_pool_drain(struct dma_window_pool *pool);
void dma_window_pool_drain_cpu(struct dma_window_pool *pool, unsigned int cpu);
bool dma_window_pool_is_idle(struct dma_window_pool *pool);
unsigned int dma_window_pool_start(struct dma_window_pool *pool,
				   unsigned int slot);
struct dma_window_mapping *dma_window_pool_at(struct dma_window_pool *pool,
					      unsigned int slot);
unsigned int dma_window_pool_next(struct dma_window_pool *pool,
				  unsigned int slot);
void dma_window_pool_look(struct dma_window_pool *pool, unsigned int *used,
			  unsigned int *largest);
size_t dma_window_pool_metadata(struct dma_window_pool *pool);

/* In dma_window_mapping.client of a run that no look-up by address finds. */
#define DMA_WINDOW_STAND_IN	((struct dma_window_client *)2UL)

/**
 * dma_window_slot() - the first slot of a run
 * @pool: the pool
 * @map: the run's record
 *
 * Context: any.
 *
 * Return: the slot.
 */
static inline unsigned int dma_window_slot(const struct dma_window_pool *pool,
					   const struct dma_window_mapping *map)
{
	return map - pool->records;
}

/**
 * dma_window_nslots() - how many slots a run has
 * @map: the run's record
 *
 * Context: any. Exact for whoever has the run.
 *
 * Return: slots, those before and behind the mapped bytes included.
 */
static inline unsigned int dma_window_nslots(const struct dma_window_mapping *map)
{
	u64 bytes = max_t(u64, (u64)map->begin + map->size, 1);

	if (map->class != DMA_WINDOW_NO_CLASS)
		return BIT(map->class);
	return (bytes + DMA_WINDOW_SLOT_SIZE - 1) >> DMA_WINDOW_SLOT_SHIFT;
}

/**
 * dma_window_pool_pop() - take a run that this CPU keeps
 * @pool: the pool
 * @c: this CPU's part of @pool
 * @class: size class
 *
 * Context: any, interrupts disabled. Takes no lock.
 *
 * Return: the run's first slot, or DMA_WINDOW_NO_SLOT if the CPU has none.
 */
static inline unsigned int dma_window_pool_pop(struct dma_window_pool *pool,
					       struct dma_window_cpu *c,
					       unsigned int class)
{
	unsigned int top = c->top[class];
	u32 run;

	if (!top)
		return DMA_WINDOW_NO_SLOT;
	top--;
	/*
	 * If the entry is empty, pool_drain_cpu() took it, and most likely all
	 * below, too. Runs that this CPU put in behind the drain stay there
	 * until the next push skips them, or the next drain takes them: see
	 * "Magazines and drains" in Documentation/core-api/dma-window.rst.
	 */
	run = xchg(&c->runs[pool->class_start[class] + top], 0);
	c->top[class] = run ? top : 0;
	return run - 1;
}

/**
 * dma_window_pool_push() - keep a run for this CPU's next mapping
 * @pool: the pool
 * @c: this CPU's part of @pool
 * @slot: the run's first slot; the run is not live
 * @class: the run's size class
 *
 * Context: any, interrupts disabled. Takes no lock.
 *
 * Return: true if the run was kept; else it is still the caller's.
 */
static inline bool dma_window_pool_push(struct dma_window_pool *pool,
					struct dma_window_cpu *c,
					unsigned int slot, unsigned int class)
{
	unsigned int top = c->top[class];

	/*
	 * A drain that this CPU overtook has left some runs behind, below what
	 * it took: they are still this CPU's. See dma_window_pool_pop().
	 */
	while (top < pool->depth[class] &&
	       READ_ONCE(c->runs[pool->class_start[class] + top]))
		top++;
	if (top >= pool->depth[class]) {
		c->top[class] = top;
		return false;
	}
	/* Be done with the record before others can have it: pairs with xchg(). */
	smp_store_release(&c->runs[pool->class_start[class] + top], slot + 1);
	c->top[class] = top + 1;
	return true;
}

/* Counters of a device behind an IOMMU; they only ever grow. */
struct dma_window_device_stats {
	u64	bytes_in;	/* bytes copied into the window */
	u64	bytes_out;	/* bytes copied out of the window */
	u64	granules;	/* granules mapped in place */
	u64	heads;		/* first granules that were bounced */
	u64	tails;		/* last granules that were bounced */
	u64	iommu_maps;	/* calls to the IOMMU to map */
	u64	iommu_unmaps;	/* calls to the IOMMU to unmap */
};

/**
 * struct dma_window - the memory that the devices of one region can reach
 * @list: in dma_window_list
 * @region: the region's node (reference held), or NULL
 * @group: the IOMMU group of untrusted devices without a region that the window
 *	was made for (reference held), or NULL
 * @users: clients; a window that was made for a @group goes with the last one
 * @free_work: frees the window
 * @rmem_ops: of the region's memory, before it was a window's
 * @source: what the window was made of, if that is not a region of the tree
 * @name: the region's name, for messages and debugfs
 * @where: where the window is from, as error messages have it: the path of the
 *	region, or the text of the source; NULL for a @group's
 * @base: physical address, bytes
 * @size: bytes
 * @vaddr: the kernel address of @base
 * @has_pages: @vaddr is in the linear map, so the window has struct pages
 * @announced: the boot line that describes it is out
 * @ended: the memory is about to go: no device is attached any more
 * @leaked: an IOMMU did not let go of a part of the window, or of what was
 *	mapped beside it
 * @debugfs: the window's directory in debugfs, or NULL
 * @pool: the window's free slots, and its counters
 */
struct dma_window {
	struct list_head	list;
	struct device_node	*region;
	struct iommu_group	*group;
	unsigned int		users;
	struct work_struct	free_work;
	const struct reserved_mem_ops *rmem_ops;
	struct dma_window_source *source;
	const char		*name;
	const char		*where;
	phys_addr_t		base;
	phys_addr_t		size;
	void			*vaddr;
	bool			has_pages;
	bool			announced;
	bool			ended;
	bool			leaked;
	struct dentry		*debugfs;
	struct dma_window_pool	pool;
};

/**
 * struct dma_window_client - a device and its window
 * @node: in dma_window_clients
 * @dev: the device
 * @win: its window
 * @prop: the property that names the region, for messages
 * @or_mainline: the region is a pool that mainline would have served
 * @everyone: the parameter names all virtio devices, not this one by itself
 * @bus_base: bus address of the window's first byte, as the device sees it
 * @bus_last: bus address of the window's last byte
 * @class_aligned: what is naturally aligned in memory is so on the bus, up to the
 *	largest size class, and all of the window is within the bus's limit
 * @fast_max: buffers of up to this size can have any run of their class, bytes
 * @copybreak: buffers of up to this size are bounced as a whole, bytes; only
 *	behind an IOMMU there is a choice
 * @granule: smallest unit of the IOMMU, bytes
 * @in_place: behind an IOMMU, a bit for each direction in which buffers may be
 *	mapped in place
 * @stats: behind an IOMMU, the device's own counters, else NULL
 * @refused_mask: the last DMA mask, if the window is out of its reach, else 0
 * @ratelimit: of its messages about a window that is full or out of reach
 * @warned: a bit for each kind of enum dma_window_bug that was logged
 * @floors: the floors of the device's virtqueues, by the number that is in
 *	DMA_ATTR_WINDOW_FLOOR
 * @least_share: slots of the smallest floor that is a share of the window, or 0
 * @iommu: the IOMMU domain that the window is mapped into, or NULL without one
 * @debugfs: the device's directory in debugfs, or NULL
 * @rcu: frees the client when no lookup can be passing it any more
 */
struct dma_window_client {
	struct hlist_node	node;
	struct device		*dev;
	struct dma_window	*win;
	const char		*prop;
	bool			or_mainline;
	bool			everyone;
	dma_addr_t		bus_base;
	dma_addr_t		bus_last;
	u32			fast_max;
	u32			copybreak;
	u32			granule;
	bool			class_aligned;
	u8			in_place;
	struct dma_window_device_stats __percpu *stats;
	u64			refused_mask;
	struct ratelimit_state	ratelimit;
	unsigned long		warned;
	struct xarray		floors;
	unsigned int		least_share;
	struct dma_window_iommu	*iommu;
	struct dentry		*debugfs;
	struct rcu_head		rcu;
};

/* Set in dma_window_mapping.client of a retired run. */
#define DMA_WINDOW_RETIRED	1UL

/**
 * dma_window_retired() - the mark of a device's retired runs
 * @client: the device and its window
 *
 * The mark goes by device, because a device may have another client by the time
 * of a late unmap.
 *
 * Context: any.
 *
 * Return: the value of dma_window_mapping.client, to be compared only. No
 * client has this address, so no look-up finds the run.
 */
static inline struct dma_window_client *
dma_window_retired(const struct dma_window_client *client)
{
	return (void *)((unsigned long)client->dev | DMA_WINDOW_RETIRED);
}

/**
 * dma_window_set_copybreak() - up to which size buffers are bounced as a whole
 * @client: the device and its window, its @class_aligned set
 * @size: bytes
 *
 * Context: any. Concurrent mappings see the old value or the new one.
 */
static inline void dma_window_set_copybreak(struct dma_window_client *client,
					    u32 size)
{
	WRITE_ONCE(client->copybreak, size);
	WRITE_ONCE(client->fast_max, client->class_aligned ?
		   min_t(u32, size, DMA_WINDOW_MAX_CLASS_SIZE) : 0);
}

/* The largest buffer that is mapped in place at once, bytes. */
#define DMA_WINDOW_MAX_IN_PLACE	SZ_2G

/*
 * The address of the scatterlist entry at which unmaps and syncs stop, because
 * entries before it were merged.
 */
#define DMA_WINDOW_LIST_END	DMA_MAPPING_ERROR

extern struct mutex dma_window_mutex;
extern struct list_head dma_window_list;
extern const struct dma_map_ops dma_window_ops;
extern const struct dma_map_ops dma_window_iommu_ops;
extern const struct dma_map_ops dma_window_deny_ops;

/* Clients by device. Read under RCU, or with interrupts disabled. */
#define DMA_WINDOW_CLIENTS_BITS	6
extern DECLARE_HASHTABLE(dma_window_clients, DMA_WINDOW_CLIENTS_BITS);

/**
 * dma_window_client_find() - the window of a device, without a lock
 * @dev: the device
 *
 * Context: any, interrupts disabled or under the RCU read lock.
 *
 * Return: its client, or NULL if @dev has no window; see
 * dma_window_client_of().
 */
static inline struct dma_window_client *
dma_window_client_find(struct device *dev)
{
	struct dma_window_client *client;

	hash_for_each_possible_rcu(dma_window_clients, client, node,
				   (unsigned long)dev, irqs_disabled())
		if (client->dev == dev)
			return client;
	return NULL;
}

struct dma_window_client *dma_window_client_of(struct device *dev);
void dma_window_deny(struct device *dev);

/**
 * dma_window_has_window() - does a device have its window?
 * @dev: the device
 *
 * Context: any.
 *
 * Return: true if its DMA operations are those of a window, not those of a
 * device that was refused one.
 */
static inline bool dma_window_has_window(const struct device *dev)
{
	return dev->dma_ops == &dma_window_ops ||
	       dev->dma_ops == &dma_window_iommu_ops;
}

size_t dma_window_metadata(struct dma_window *win);
void dma_window_client_names(struct dma_window *win,
			     void (*show)(void *arg, const char *name),
			     void *arg);
bool dma_window_client_names_try(struct dma_window *win,
				 void (*show)(void *arg, const char *name),
				 void *arg);

/**
 * enum dma_window_named - what firmware says about a device's region
 * @DMA_WINDOW_UNNAMED: nothing
 * @DMA_WINDOW_MAINLINE: a pool that mainline serves
 * @DMA_WINDOW_POOL: a pool that we serve if we can, else mainline
 * @DMA_WINDOW_BRIDGE: a PCI bridge on the way from endpoints to a region; a
 *	bridge has no business with DMA, and gets none
 * @DMA_WINDOW_NAMED: a region that we serve, or refuse
 */
enum dma_window_named {
	DMA_WINDOW_UNNAMED,
	DMA_WINDOW_MAINLINE,
	DMA_WINDOW_POOL,
	DMA_WINDOW_BRIDGE,
	DMA_WINDOW_NAMED,
};

/**
 * struct dma_window_ref - the property that names a device's region
 * @holder: the node that has the property (reference held)
 * @prop: the property
 * @region: the node that the property names, or NULL (reference held)
 * @source: what is named instead of a node, by a parameter or by ACPI, or NULL
 * @everyone: the parameter names all virtio devices, not this one by itself
 * @conflict: what else names a region for the device, and may not, or NULL
 * @or_mainline: mainline serves the region if we do not
 */
struct dma_window_ref {
	struct device_node	*holder;
	const char		*prop;
	struct device_node	*region;
	struct dma_window_source *source;
	const char		*conflict;
	bool			everyone;
	bool			or_mainline;
};

/**
 * struct dma_window_source - memory for a window that no tree describes
 * @list: in sources of source.c
 * @text: as the parameter has it, for messages
 * @bad: why @text means nothing, or NULL
 * @kind: what the other fields mean
 * @base: physical address, bytes; of what has a name or is a BAR, as last looked up
 * @size: bytes
 * @reserved: name of the memory that reserve_mem= has put aside
 * @domain: PCI domain of the device that has the BAR
 * @bus: PCI bus of that device
 * @devfn: device and function of that device
 * @bar: number of the BAR
 * @bar_error: why there can be no window in the BAR, or NULL
 * @requested: @base is ours in /proc/iomem
 * @vaddr: kernel address of @base, if it was mapped for the window; of a BAR as long
 *	as its device is ours; written under dma_window_mutex
 */
struct dma_window_source {
	struct list_head	list;
	const char		*text;
	const char		*bad;
	enum {
		DMA_WINDOW_SOURCE_MEMORY,
		DMA_WINDOW_SOURCE_NAME,
		DMA_WINDOW_SOURCE_BAR,
	} kind;
	phys_addr_t		base;
	phys_addr_t		size;
	const char		*reserved;
	int			domain;
	u8			bus;
	u8			devfn;
	u8			bar;
	const char		*bar_error;
	bool			requested;
	void			*vaddr;
};

__printf(3, 4)
void dma_window_err(struct device *dev, const struct dma_window_ref *ref,
		    const char *fmt, ...);

struct device_node *dma_window_config_node(struct device *dev);
bool dma_window_bind(struct device *dev);

extern struct list_head dma_window_sources;
bool dma_window_is_virtio_transport(struct device *dev);
#ifdef CONFIG_PCI
int dma_window_bar_check(struct device *dev, const struct dma_window_ref *ref,
			 phys_addr_t *base, phys_addr_t *size);
#else
static inline int dma_window_bar_check(struct device *dev,
				       const struct dma_window_ref *ref,
				       phys_addr_t *base, phys_addr_t *size)
{
	dma_window_err(dev, ref, "there is no such PCI device");
	return -ENODEV;
}
#endif

bool dma_window_sources_any(void);
enum dma_window_named dma_window_source_find(struct device *dev,
					     enum dma_window_named named,
					     struct dma_window_ref *ref);
int dma_window_source_check(struct device *dev, const struct dma_window_ref *ref,
			    phys_addr_t *base, phys_addr_t *size);
void *dma_window_source_claim(struct device *dev, const struct dma_window_ref *ref,
			      phys_addr_t base, phys_addr_t size);
void dma_window_source_release(struct dma_window_source *source);
const char *dma_window_source_name(const struct dma_window_source *source);

bool dma_window_has_foreign_ops(const struct device *dev);
int dma_window_client_attach(struct device *dev, const struct dma_window_ref *ref,
			     struct dma_window *win, bool behind_iommu);
int dma_window_refuse(struct device *dev, int ret);
void dma_window_serve(struct device *dev, struct dma_window *win,
		      bool behind_iommu);
int dma_window_let_go(struct device *dev);
void dma_window_evict(struct device *dev);
struct device *dma_window_client_first(struct dma_window *win);

struct dma_window *dma_window_new(phys_addr_t base, phys_addr_t size, void *vaddr,
				  const char *name);
void dma_window_destroy(struct dma_window *win);
int dma_window_share(struct device *dev, const struct dma_window_ref *ref,
		     struct dma_window *win);
struct dma_window *dma_window_get(struct device *dev,
				  const struct dma_window_ref *ref);
void dma_window_gone(struct dma_window *win);
void dma_window_unlist(struct dma_window *win);
void dma_window_free(struct dma_window *win);
void dma_window_announce_late(struct dma_window *win);

/* Tell whether two ranges of bytes have bytes in common. */
static inline bool dma_window_overlaps(phys_addr_t a, phys_addr_t asize,
				       phys_addr_t b, phys_addr_t bsize)
{
	return asize && bsize && (a < b ? b - a < asize : a - b < bsize);
}

enum dma_window_named dma_window_ref_find(struct device *dev,
					  struct device_node *np,
					  struct dma_window_ref *ref);
void dma_window_ref_put(struct dma_window_ref *ref);
int dma_window_check_range(struct device *dev, const struct dma_window_ref *ref,
			   phys_addr_t base, phys_addr_t size);
int dma_window_memory_check_free(struct device *dev,
				 const struct dma_window_ref *ref,
				 phys_addr_t base, phys_addr_t size);
bool dma_window_memory_is_mapped_ram(unsigned long pfn);
int dma_window_check_pages(struct device *dev, const struct dma_window_ref *ref,
			   phys_addr_t base, phys_addr_t size);

#ifdef CONFIG_OF
enum dma_window_named dma_window_tree_find(struct device *dev,
					   struct device_node *np,
					   struct dma_window_ref *ref);
bool dma_window_is_pci_host(const struct device_node *node);
bool dma_window_is_virtio_node(const struct device_node *node);
bool dma_window_iommu_named(struct device *dev, struct device_node *np,
			    const u32 *id);
int dma_window_region_check(struct device *dev,
			    const struct dma_window_ref *ref,
			    phys_addr_t *base, phys_addr_t *size);
int dma_window_region_check_memory(struct device *dev,
				   const struct dma_window_ref *ref,
				   phys_addr_t base, phys_addr_t size);
int dma_window_region_check_holder(struct device *dev,
				   const struct dma_window_ref *ref,
				   phys_addr_t base, phys_addr_t size);
bool dma_window_region_claimed(const struct dma_window_ref *ref);
int dma_window_region_claim(struct device *dev,
			    const struct dma_window_ref *ref,
			    const struct reserved_mem_ops **old);
void dma_window_region_unclaim(struct device_node *region,
			       const struct reserved_mem_ops *old);
#else
/* Without a device tree, only other sources name windows. */
static inline enum dma_window_named
dma_window_tree_find(struct device *dev, struct device_node *np,
		     struct dma_window_ref *ref)
{
	return DMA_WINDOW_UNNAMED;
}

static inline bool dma_window_is_pci_host(const struct device_node *node)
{
	return false;
}

static inline bool dma_window_iommu_named(struct device *dev,
					  struct device_node *np, const u32 *id)
{
	return false;
}

static inline int dma_window_region_check(struct device *dev,
					  const struct dma_window_ref *ref,
					  phys_addr_t *base, phys_addr_t *size)
{
	return -ENODEV;
}

static inline int dma_window_region_check_memory(struct device *dev,
						 const struct dma_window_ref *ref,
						 phys_addr_t base, phys_addr_t size)
{
	return -ENODEV;
}

static inline int dma_window_region_check_holder(struct device *dev,
						 const struct dma_window_ref *ref,
						 phys_addr_t base, phys_addr_t size)
{
	return -ENOENT;
}

static inline bool dma_window_region_claimed(const struct dma_window_ref *ref)
{
	return false;
}

static inline int dma_window_region_claim(struct device *dev,
					  const struct dma_window_ref *ref,
					  const struct reserved_mem_ops **old)
{
	return -ENODEV;
}

static inline void
dma_window_region_unclaim(struct device_node *region,
			  const struct reserved_mem_ops *old)
{
}
#endif

#ifdef CONFIG_EFI
int dma_window_efi_check(struct device *dev, const struct dma_window_ref *ref,
			 phys_addr_t base, phys_addr_t size);
#else
static inline int dma_window_efi_check(struct device *dev,
				       const struct dma_window_ref *ref,
				       phys_addr_t base, phys_addr_t size)
{
	return 0;
}
#endif

#ifdef CONFIG_DMA_WINDOW_IOMMU
bool dma_window_untrusted_asked(struct device *dev);
phys_addr_t dma_window_untrusted_size(struct device *dev);
void *dma_window_untrusted_alloc(struct device *dev, size_t size);
void dma_window_untrusted_free(void *vaddr, size_t size);
#else
static inline bool dma_window_untrusted_asked(struct device *dev)
{
	return false;
}

static inline phys_addr_t dma_window_untrusted_size(struct device *dev)
{
	return 0;
}

static inline void *dma_window_untrusted_alloc(struct device *dev, size_t size)
{
	return NULL;
}

static inline void dma_window_untrusted_free(void *vaddr, size_t size)
{
}
#endif

/**
 * enum dma_window_bug - what a driver does wrong; each kind is logged once
 * @DMA_WINDOW_BUG_UNMAP: unmap of an address that is not mapped
 * @DMA_WINDOW_BUG_SYNC: sync of an address that is not mapped
 * @DMA_WINDOW_BUG_SYNC_END: sync that runs past the end of a mapping
 * @DMA_WINDOW_BUG_FREE: free of coherent memory that was not allocated
 * @DMA_WINDOW_NO_FLOOR: no bug: a virtqueue's floor finds no room
 */
enum dma_window_bug {
	DMA_WINDOW_BUG_UNMAP,
	DMA_WINDOW_BUG_SYNC,
	DMA_WINDOW_BUG_SYNC_END,
	DMA_WINDOW_BUG_FREE,
	DMA_WINDOW_NO_FLOOR,
};

/**
 * enum dma_window_way - how a buffer of a device behind an IOMMU gets mapped
 * @DMA_WINDOW_COPY: bounced as a whole, or not at all
 * @DMA_WINDOW_COPY_OR_MAP: bounced as a whole; in place if the window is full
 * @DMA_WINDOW_MAP: in place, but for the granules that it does not cover whole
 */
enum dma_window_way {
	DMA_WINDOW_COPY,
	DMA_WINDOW_COPY_OR_MAP,
	DMA_WINDOW_MAP,
};

void __dma_window_fail(struct dma_window_client *client, size_t counter,
		       const char *reason, size_t size);

/**
 * dma_window_fail() - count and trace a call that is refused
 * @client: the device and its window
 * @reason: the counter's name in struct dma_window_stats, without the fail_
 * @size: bytes asked for, 0 if that has no meaning
 *
 * Context: any.
 */
#define dma_window_fail(client, reason, size)				\
	__dma_window_fail(client,					\
			  offsetof(struct dma_window_stats, fail_##reason), \
			  #reason, size)

/**
 * dma_window_count_in() - count bytes that were copied into the window
 * @client: the device and its window
 * @bytes: how many
 *
 * Context: any.
 */
static inline void dma_window_count_in(struct dma_window_client *client,
				       size_t bytes)
{
	this_cpu_add(client->win->pool.cpu->stats.bytes_in, bytes);
	if (client->stats)
		this_cpu_add(client->stats->bytes_in, bytes);
}

/**
 * dma_window_count_out() - count bytes that were copied out of the window
 * @client: the device and its window
 * @bytes: how many
 *
 * Context: any.
 */
static inline void dma_window_count_out(struct dma_window_client *client,
					size_t bytes)
{
	this_cpu_add(client->win->pool.cpu->stats.bytes_out, bytes);
	if (client->stats)
		this_cpu_add(client->stats->bytes_out, bytes);
}

void dma_window_invalid(struct dma_window_client *client,
			enum dma_window_bug bug, dma_addr_t addr);
bool dma_window_can_map(struct device *dev, struct page *page);
struct dma_window_mapping *
dma_window_stand_in_get(struct dma_window_client *client, size_t size,
			unsigned long attrs);
void dma_window_stand_in_put(struct dma_window *win,
			     struct dma_window_mapping *stand_in);
dma_addr_t dma_window_bounce_map(struct device *dev, phys_addr_t orig,
				 size_t size, enum dma_data_direction dir,
				 unsigned long attrs);
dma_addr_t dma_window_bounce_map_slow(struct dma_window_client *client,
				      phys_addr_t orig, size_t size,
				      enum dma_data_direction dir,
				      unsigned long attrs);
bool dma_window_bounce_end_retired(struct dma_window_client *client,
				   dma_addr_t addr);
u64 dma_window_bounce_slots(const struct dma_window_client *client,
			    phys_addr_t orig, size_t size);
bool dma_window_bounce_fits(const struct dma_window_client *client, u64 slots);
bool dma_window_bounce_sync(struct dma_window_client *client, dma_addr_t addr,
			    size_t size, enum dma_data_direction dir,
			    bool for_cpu);
void *dma_window_coherent_alloc(struct dma_window_client *client, size_t size,
				dma_addr_t *addr, gfp_t gfp);
bool dma_window_coherent_free(struct dma_window_client *client, size_t size,
			      dma_addr_t addr);
bool dma_window_coherent_valid(struct dma_window_client *client, size_t size,
			       const void *vaddr, dma_addr_t addr);
unsigned int dma_window_bounce_reclaim(struct dma_window_client *client, bool gone,
				       unsigned int *kept);
size_t dma_window_max_request(const struct dma_window *win);
void dma_window_floors_drop(struct dma_window_client *client);
struct dma_window_mapping *
dma_window_floor_alloc(struct dma_window_client *client,
		       const struct dma_window_req *req, unsigned long attrs);
unsigned int dma_window_floor_4k(const struct dma_window_client *client);
size_t dma_window_max_mapping(const struct dma_window *win);

#ifdef CONFIG_DMA_WINDOW_IOMMU
enum dma_window_way
dma_window_copy_or_map(const struct dma_window_client *client, phys_addr_t phys,
		       size_t size, enum dma_data_direction dir,
		       unsigned long attrs);
const char *dma_window_granule_unfit_reason(unsigned long pgsize_bitmap);
void dma_window_iommu_probe(struct dma_window_client *client);
dma_addr_t dma_window_iommu_map(struct device *dev, phys_addr_t phys,
				size_t size, enum dma_data_direction dir,
				unsigned long attrs);
size_t dma_window_iommu_unmap(struct dma_window_client *client, dma_addr_t addr,
			      struct scatterlist *sgl, int nents,
			      unsigned long attrs);
int dma_window_iommu_map_sg(struct device *dev, struct scatterlist *sgl,
			    int nents, enum dma_data_direction dir,
			    unsigned long attrs);
bool dma_window_iommu_sync(struct dma_window_client *client, dma_addr_t addr,
			   size_t size, enum dma_data_direction dir,
			   bool for_cpu);
const char *dma_window_iommu_group_conflict(struct device *dev,
					    const struct device_node *region);
const char *dma_window_iommu_unfit_reason(struct device *dev);
int dma_window_iommu_check(struct device *dev, const struct dma_window_ref *ref,
			   bool *behind);
struct dma_window_iommu *
dma_window_iommu_get(struct device *dev, const struct dma_window_ref *ref,
		     struct dma_window *win, dma_addr_t *base);
void dma_window_iommu_put(struct dma_window_iommu *io);
bool dma_window_iommu_exposed(struct device *dev);
u32 dma_window_iommu_copybreak(struct device *dev,
			       const struct dma_window_iommu *io);
bool dma_window_iommu_in_domain(struct device *dev, const struct dma_window_iommu *io);
unsigned int dma_window_iommu_reclaim(struct dma_window_client *client);
#else
static inline size_t dma_window_iommu_unmap(struct dma_window_client *client,
					    dma_addr_t addr,
					    struct scatterlist *sgl, int nents,
					    unsigned long attrs)
{
	return 0;
}

static inline bool dma_window_iommu_sync(struct dma_window_client *client,
					 dma_addr_t addr, size_t size,
					 enum dma_data_direction dir,
					 bool for_cpu)
{
	return false;
}

static inline bool dma_window_iommu_exposed(struct device *dev)
{
	return false;
}

static inline u32
dma_window_iommu_copybreak(struct device *dev, const struct dma_window_iommu *io)
{
	return U32_MAX;
}

static inline void dma_window_iommu_probe(struct dma_window_client *client)
{
}

static inline const char *
dma_window_iommu_group_conflict(struct device *dev, const struct device_node *region)
{
	return NULL;
}

static inline const char *dma_window_iommu_unfit_reason(struct device *dev)
{
	return "this kernel does not use its IOMMU for DMA";
}

static inline int dma_window_iommu_check(struct device *dev,
					 const struct dma_window_ref *ref,
					 bool *behind)
{
	*behind = false;
	if (!iommu_get_domain_for_dev(dev) && !dev_iommu_fwspec_get(dev))
		return 0;
	dma_window_err(dev, ref, "the device is behind an IOMMU, which this kernel does not use for DMA");
	return -EOPNOTSUPP;
}

static inline struct dma_window_iommu *
dma_window_iommu_get(struct device *dev, const struct dma_window_ref *ref,
		     struct dma_window *win, dma_addr_t *base)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void dma_window_iommu_put(struct dma_window_iommu *io)
{
}

static inline bool dma_window_iommu_in_domain(struct device *dev,
					      const struct dma_window_iommu *io)
{
	return true;
}

static inline unsigned int
dma_window_iommu_reclaim(struct dma_window_client *client)
{
	return 0;
}
#endif

/*
 * Init functions: the kernel runs them when it boots, as their files say, and
 * module.c when the module is loaded; the others are the module's only.
 */
int dma_window_sources_init(void);
int dma_window_bars_watch(void);
void dma_window_bars_unwatch(void);
int dma_window_sources_report(void);
int dma_window_announce_all(void);
int dma_window_debugfs_init(void);
int dma_window_init(void);
void dma_window_exit(void);
void dma_window_debugfs_exit(void);
void dma_window_sources_exit(void);

#ifdef CONFIG_DEBUG_FS
void dma_window_debugfs_add(struct dma_window *win);
void dma_window_debugfs_remove(struct dma_window *win);
void dma_window_debugfs_add_client(struct dma_window_client *client);
void dma_window_debugfs_remove_client(struct dma_window_client *client);
#else
static inline void dma_window_debugfs_add(struct dma_window *win)
{
}

static inline void dma_window_debugfs_remove(struct dma_window *win)
{
}

static inline void
dma_window_debugfs_add_client(struct dma_window_client *client)
{
}

static inline void
dma_window_debugfs_remove_client(struct dma_window_client *client)
{
}
#endif

#endif /* _KERNEL_DMA_WINDOW_H */
