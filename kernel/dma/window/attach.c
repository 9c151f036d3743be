// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: attaching devices to windows.
 *
 * Attach from of_dma_configure_id(), at every probe, in two steps: before
 * anything can return early, give a device that names a region operations that
 * refuse everything; give it those of its window only when all is well.
 * Whatever goes wrong, and whether or not the caller looks at the error, the
 * device does no DMA outside its region (I2).
 *
 * A client (a device's tie to its window) is made at the first successful
 * attach and lives until the device is released, or is configured for another
 * window or none. When a driver goes, the mappings that it has left are taken
 * back: no driver is bound, so nobody has a use for them.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-window.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/seq_buf.h>
#include <linux/set_memory.h>
#include <linux/slab.h>
#include <trace/events/dma_window.h>

#include "window.h"

/* Protects dma_window_list and writes to the client table. */
DEFINE_MUTEX(dma_window_mutex);
LIST_HEAD(dma_window_list);

/* Windows without devices, of whose memory an IOMMU did not let go. */
static LIST_HEAD(lost_windows);

DEFINE_STATIC_KEY_FALSE(dma_window_key);
EXPORT_SYMBOL_GPL(dma_window_key);

DEFINE_HASHTABLE(dma_window_clients, DMA_WINDOW_CLIENTS_BITS);

/**
 * dma_window_client_of() - the window of a device
 * @dev: the device
 *
 * Context: any. The client stays until @dev is released, or is configured for
 * another window, or none.
 *
 * Return: the client of @dev, or NULL if @dev has no window.
 */
struct dma_window_client *dma_window_client_of(struct device *dev)
{
	struct dma_window_client *client;

	rcu_read_lock();
	client = dma_window_client_find(dev);
	rcu_read_unlock();
	return client;
}

static void client_names(struct dma_window *win,
			 void (*show)(void *arg, const char *name), void *arg)
{
	struct dma_window_client *client;
	int i;

	lockdep_assert_held(&dma_window_mutex);

	hash_for_each(dma_window_clients, i, client, node)
		if (client->win == win)
			show(arg, dev_name(client->dev));
}

/**
 * dma_window_client_names() - visit the devices of a window
 * @win: the window
 * @show: called with @arg and each device's name
 * @arg: passed on
 *
 * Context: may sleep. Tries to take dma_window_mutex.
 *
 * Return: false if the mutex is taken: try again.
 */
bool dma_window_client_names(struct dma_window *win,
			     void (*show)(void *arg, const char *name),
			     void *arg)
{
	if (!mutex_trylock(&dma_window_mutex))
		return false;
	client_names(win, show, arg);
	mutex_unlock(&dma_window_mutex);
	return true;
}

/**
 * dma_window_metadata() - what a window costs besides its memory
 * @win: the window
 *
 * Context: any.
 *
 * Return: bytes, as the allocators round them: the pool with all its records, the
 * window's own record, and those of its devices.
 */
size_t dma_window_metadata(struct dma_window *win)
{
	size_t bytes = kmalloc_size_roundup(sizeof(*win)) +
		       dma_window_pool_metadata(&win->pool);
	struct dma_window_client *client;
	int i;

	rcu_read_lock();
	hash_for_each_rcu(dma_window_clients, i, client, node) {
		if (client->win != win)
			continue;
		bytes += kmalloc_size_roundup(sizeof(*client));
		if (client->stats)
			bytes += num_possible_cpus() * sizeof(*client->stats);
	}
	rcu_read_unlock();
	return bytes;
}

bool __dma_window_attached(const struct device *dev)
{
	return dev && (dma_window_has_window(dev) ||
		       dev->dma_ops == &dma_window_deny_ops);
}
EXPORT_SYMBOL_GPL(__dma_window_attached);

/* Tell whether somebody else has set a device's operations, as Xen does. */
static bool has_foreign_ops(const struct device *dev)
{
	return dev->dma_ops && !dma_window_has_dma_iommu_ops(dev) &&
	       !__dma_window_attached(dev);
}

unsigned int __dma_window_max_sectors(struct device *dev, unsigned int limit)
{
	struct dma_window_client *client;
	unsigned int floor;

	if (!dma_window_has_window(dev))
		return limit;
	client = dma_window_client_of(dev);
	if (!client)
		return limit;
	limit = min_t(u64, limit, dma_window_max_request(client->win) >> 9);
	floor = dma_window_floor_4k(client);
	if (!floor)
		return limit;
	return min_t(u64, limit, round_down(floor * SZ_4K, PAGE_SIZE) >> 9);
}
EXPORT_SYMBOL_GPL(__dma_window_max_sectors);

unsigned int __dma_window_max_segments(struct device *dev, unsigned int limit)
{
	struct dma_window_client *client = NULL;
	unsigned int floor;

	if (dma_window_has_window(dev))
		client = dma_window_client_of(dev);
	floor = client ? dma_window_floor_4k(client) : 0;
	return floor ? min(limit, floor + 1) : limit;
}
EXPORT_SYMBOL_GPL(__dma_window_max_segments);

/* ---- Settings of userspace, for devices behind an IOMMU ---- */

static ssize_t copybreak_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	if (!client)
		return -ENODEV;
	return sysfs_emit(buf, "%u\n", READ_ONCE(client->copybreak));
}

static ssize_t copybreak_store(struct device *dev,
			       struct device_attribute *attr,
			       const char *buf, size_t count)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	u32 size;
	int ret;

	if (!client)
		return -ENODEV;
	ret = kstrtou32(buf, 0, &size);
	if (ret)
		return ret;
	dma_window_set_copybreak(client, size);
	return count;
}
static DEVICE_ATTR_RW(copybreak);

static struct attribute *client_attrs[] = {
	&dev_attr_copybreak.attr,
	NULL
};

/* /sys/.../<device>/dma_window/ */
static const struct attribute_group client_group = {
	.name	= "dma_window",
	.attrs	= client_attrs,
};

/* Free a window that is on no list and has no client. */
static void window_destroy(struct dma_window *win)
{
	dma_window_pool_destroy(&win->pool);
	of_node_put(win->region);
	kfree(win);
}

/* Work item: free a window whose clients no lookup can find any more. */
static void window_free(struct work_struct *work)
{
	struct dma_window *win = container_of(work, struct dma_window, free_work);

	/*
	 * A late unmap may have claimed the last mapping and still be copying.
	 * The mapping's run counts as used until the unmap has freed it, or
	 * given it to a CPU to keep; dma_window_pool_is_idle() takes back what
	 * CPUs keep. After that, the unmap is in a section with interrupts
	 * disabled at most, which synchronize_rcu() waits for.
	 */
	while (!READ_ONCE(win->leaked) && !dma_window_pool_is_idle(&win->pool))
		msleep(20);
	synchronize_rcu();
	/* A device may still reach the memory: give it to nobody, ever. */
	if (win->leaked) {
		mutex_lock(&dma_window_mutex);
		list_add(&win->list, &lost_windows);
		mutex_unlock(&dma_window_mutex);
		return;
	}
	if (WARN_ONCE(set_memory_encrypted((unsigned long)win->vaddr,
					   win->size >> PAGE_SHIFT),
		      "%s: still shared with the host: not used again\n",
		      win->name))
		return;
	dma_window_untrusted_free(win->vaddr, win->size);
	iommu_group_put(win->group);
	kfree(win->name);
	window_destroy(win);
}

/*
 * Unlist the window of a group that has no device left, and let a work item
 * free the window: letting go of the group may free its domain, and that takes
 * dma_window_mutex, which is held here.
 */
static void window_gone(struct dma_window *win)
{
	lockdep_assert_held(&dma_window_mutex);

	list_del(&win->list);
	dma_window_debugfs_remove(win);
	INIT_WORK(&win->free_work, window_free);
	queue_work(dma_window_unbound_wq, &win->free_work);
}

/*
 * Free a client after a grace period: readers, and whoever undoes the client's
 * last mapping, are under the RCU read lock.
 */
static void client_free(struct rcu_head *rcu)
{
	struct dma_window_client *client;

	client = container_of(rcu, struct dma_window_client, rcu);
	free_percpu(client->stats);
	kfree(client);
}

static void client_drop(struct dma_window_client *client)
{
	lockdep_assert_held(&dma_window_mutex);

	hash_del_rcu(&client->node);
	dma_window_floors_drop(client);
	if (client->iommu) {
		dma_window_debugfs_remove_client(client);
		/* A device that is gone has no directory any more. */
		if (device_is_registered(client->dev))
			device_remove_group(client->dev, &client_group);
		dma_window_iommu_put(client->iommu);
	}
	if (client->win->group && !--client->win->users)
		window_gone(client->win);
	call_rcu(&client->rcu, client_free);
}

/*
 * Take back, from the window and from the IOMMU, all mappings that a device's
 * last driver has left. The device has no driver now, or is about to get one.
 */
static void client_reclaim(struct dma_window_client *client, bool gone)
{
	unsigned int left, kept;

	left = dma_window_iommu_reclaim(client);
	left += dma_window_bounce_reclaim(client, gone, &kept);
	if (left)
		dev_warn(client->dev, "left %u mappings in %s: taken back\n",
			 left, client->win->name);
	if (kept)
		dev_warn(client->dev, "left %u coherent allocations in %s: kept until it frees them or goes\n",
			 kept, client->win->name);
}

/* Tell why a driver has given up, if it is for the DMA mask that it tried last. */
static void client_report_mask(struct dma_window_client *client)
{
	struct device *dev = client->dev;

	if (!client->refused_mask)
		return;
	dev_err(dev, "%s: %pOF: ends at bus address %pad, out of reach of DMA mask %#llx (bus limit %#llx)\n",
		client->prop, client->win->region, &client->bus_last,
		client->refused_mask, dev->bus_dma_limit);
	client->refused_mask = 0;
}

void __dma_window_unbound(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	if (!client)
		return;
	client_report_mask(client);
	client_reclaim(client, false);
}

/* ---- States of a device ---- */

/*
 * States of a device: who serves its DMA. All DMA operations are set here.
 *
 *	NONE		firmware names no region: dma-iommu or dma-direct
 *	DENIED		dma_window_deny_ops
 *	WINDOW		dma_window_ops
 *	IOMMU		dma_window_iommu_ops
 *
 *	from		to		when
 *	any		DENIED		dma_window_deny(): a region is named, before
 *					the device is configured (so that DENIED is
 *					what every failure leaves), or by a bridge;
 *					an IOMMU took the device over, or away, or
 *					failed to revoke
 *	DENIED, NONE	WINDOW, IOMMU	device_serve(): at the end of an attach
 *	any		NONE		device_let_go(): no region is named any more,
 *					and the device has no window without one
 *
 * A device whose IOMMU domain leads to memory of others is never let go: it
 * stays DENIED until its domain is replaced.
 */
enum device_state { DEVICE_NONE, DEVICE_DENIED, DEVICE_WINDOW, DEVICE_IOMMU };

static void device_set_state(struct device *dev, enum device_state state)
{
	static const struct dma_map_ops *const ops[] = {
		[DEVICE_NONE]	= NULL,
		[DEVICE_DENIED]	= &dma_window_deny_ops,
		[DEVICE_WINDOW]	= &dma_window_ops,
		[DEVICE_IOMMU]	= &dma_window_iommu_ops,
	};

	dma_window_set_ops(dev, ops[state]);
}

/**
 * dma_window_deny() - let a device do no DMA
 * @dev: the device
 *
 * Mappings that exist can still be synced and undone.
 *
 * Context: any.
 */
void dma_window_deny(struct device *dev)
{
	device_set_state(dev, DEVICE_DENIED);
}

/* Refuse a device for good, with error @ret for its probe. */
static int device_refuse(struct device *dev, int ret)
{
	dma_window_deny(dev);
	trace_dma_window_refuse(dev, ret);
	return ret;
}

/* Let a device that is a client of @win use it. */
static void device_serve(struct device *dev, struct dma_window *win,
			 bool behind_iommu)
{
	dma_reset_need_sync(dev);
	device_set_state(dev, behind_iommu ? DEVICE_IOMMU : DEVICE_WINDOW);
	if (win->group)
		dev_info(dev, "untrusted: what it shares with others goes through %s\n",
			 win->name);
	else if (behind_iommu)
		dev_info(dev, "DMA goes through %s, or is mapped by the IOMMU\n",
			 win->name);
	else
		dev_info(dev, "all DMA goes through %s\n", win->name);
	trace_dma_window_attach(dev, win->name, win->base, win->size);
}

/*
 * Take the window from a device, which has no driver, and leave the device to
 * whoever serves devices without one. Returns 0, or -EIO if the device's domain
 * leads to memory of others: it is denied then.
 */
static int device_let_go(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	bool exposed;

	if (client)
		client_reclaim(client, true);
	mutex_lock(&dma_window_mutex);
	exposed = dma_window_iommu_exposed(dev);
	if (client)
		client_drop(client);
	mutex_unlock(&dma_window_mutex);
	if (exposed) {
		dev_err(dev, "its IOMMU did not let go of memory that others use\n");
		return device_refuse(dev, -EIO);
	}
	device_set_state(dev, DEVICE_NONE);
	return 0;
}

/**
 * dma_window_of_begin() - before a device's DMA is configured
 * @dev: the device
 * @np: the node that has its DMA configuration
 * @force_dma: whether DMA is to be configured if firmware does not ask for it
 *
 * Evaluates the device's firmware nodes afresh. A device that names a region
 * can do no DMA from here on until dma_window_of_attach() succeeds.
 *
 * Context: may sleep; called before the device's driver is probed.
 *
 * Return: @force_dma, or true if a region is named: then configuration must not
 * be cut short.
 */
bool dma_window_of_begin(struct device *dev, struct device_node *np,
			 bool force_dma)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;

	named = dma_window_ref_find(dev, np, &ref);
	dma_window_ref_put(&ref);

	if (named == DMA_WINDOW_UNNAMED && !dma_window_attached(dev))
		return force_dma;

	/* Enable for mainline's pool, too: see dma_window_virtio_confined(). */
	static_branch_enable(&dma_window_key);

	/* Wait for attach to tell whether mainline has to serve the device. */
	if (named == DMA_WINDOW_POOL)
		return force_dma;
	if (named == DMA_WINDOW_BRIDGE) {
		dma_window_deny(dev);
		return force_dma;
	}
	if (named == DMA_WINDOW_NAMED) {
		/*
		 * Leave foreign operations for attach to find and refuse, and if
		 * no attach follows, a window that a driver may have by now.
		 */
		if (!has_foreign_ops(dev) &&
		    !(dma_window_is_early(dev) && __dma_window_attached(dev)))
			dma_window_deny(dev);
		return true;
	}

	if (__dma_window_attached(dev) && !dma_window_is_early(dev)) {
		/* The device had a region, and the property is gone. */
		struct dma_window_client *client = dma_window_client_of(dev);

		/* An untrusted device never had a region. */
		if (client && client->win->group)
			return force_dma;
		device_let_go(dev);
	}
	return force_dma;
}

static void window_clear(struct dma_window *win)
{
	phys_addr_t done, step;

	for (done = 0; done < win->size; done += step) {
		step = min_t(phys_addr_t, win->size - done, SZ_1M);
		memset(win->vaddr + done, 0, step);
		cond_resched();
	}
}

/*
 * Set when all the devices of the board have been probed: then each window is
 * announced in one line. A window that is made later is announced with its
 * first device.
 */
static bool booted;

static void seq_buf_append_name(void *line, const char *name)
{
	seq_buf_printf(line, " %s", name);
}

static void window_announce(struct dma_window *win)
{
	DECLARE_SEQ_BUF(devices, 256);

	lockdep_assert_held(&dma_window_mutex);

	client_names(win, seq_buf_append_name, &devices);
	/* A window has no device if the one it was made for was refused. */
	if (!seq_buf_used(&devices))
		return;
	pr_info("%s: %llu KiB at %#llx, for%s%s\n", win->name,
		(u64)win->size / SZ_1K, (u64)win->base, seq_buf_str(&devices),
		seq_buf_has_overflowed(&devices) ? " ..." : "");
	win->announced = true;
}

/* CPU hotplug callback: return the runs that a dead CPU keeps to the pool. */
static int window_cpu_dead(unsigned int cpu)
{
	struct dma_window *win;

	mutex_lock(&dma_window_mutex);
	list_for_each_entry(win, &dma_window_list, list)
		dma_window_pool_drain_cpu(&win->pool, cpu);
	mutex_unlock(&dma_window_mutex);
	return 0;
}

static int __init window_announce_all(void)
{
	struct dma_window *win;

	/* Without window_cpu_dead(), a full window drains dead CPUs' runs, too. */
	if (cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "dma/window:dead",
				      NULL, window_cpu_dead) < 0)
		pr_warn("no notice of CPUs that go offline\n");

	mutex_lock(&dma_window_mutex);
	booted = true;
	list_for_each_entry(win, &dma_window_list, list)
		window_announce(win);
	mutex_unlock(&dma_window_mutex);
	return 0;
}
late_initcall_sync(window_announce_all);

static struct dma_window *window_new(phys_addr_t base, phys_addr_t size)
{
	struct dma_window *win;

	win = kzalloc(sizeof(*win), GFP_KERNEL);
	if (!win)
		return NULL;
	win->base = base;
	win->size = size;
	win->vaddr = phys_to_virt(base);
	if (dma_window_pool_init(&win->pool, size >> DMA_WINDOW_SLOT_SHIFT,
				 base >> DMA_WINDOW_SLOT_SHIFT)) {
		window_destroy(win);
		return NULL;
	}
	return win;
}

/* Share a complete window with the host, and list it for devices. */
static int window_share(struct device *dev, const struct dma_window_ref *ref,
			struct dma_window *win)
{
	int ret;

	/*
	 * Clear the window before and after sharing: what its memory held
	 * before is not the devices' to read. In a protected guest the window
	 * is private until it is shared, and sharing may scramble it.
	 */
	window_clear(win);
	ret = set_memory_decrypted((unsigned long)win->vaddr,
				   win->size >> PAGE_SHIFT);
	if (ret) {
		dma_window_err(dev, ref, "cannot be shared with the host: error %d",
			       ret);
		return ret;
	}
	window_clear(win);

	list_add_tail(&win->list, &dma_window_list);
	dma_window_debugfs_add(win);
	return 0;
}

static struct dma_window *window_create(struct device *dev,
					const struct dma_window_ref *ref,
					phys_addr_t base, phys_addr_t size)
{
	struct dma_window *win;
	int ret;

	if (size >> DMA_WINDOW_SLOT_SHIFT > INT_MAX) {
		dma_window_err(dev, ref, "is too large: %pa bytes", &size);
		return ERR_PTR(-EFBIG);
	}

	win = window_new(base, size);
	if (!win)
		return ERR_PTR(-ENOMEM);
	win->region = of_node_get(ref->region);
	win->name = kbasename(win->region->full_name);

	ret = dma_window_region_check_memory(dev, ref, base, size);
	if (!ret)
		ret = dma_window_region_claim(dev, ref);
	if (!ret)
		ret = window_share(dev, ref, win);
	if (ret) {
		window_destroy(win);
		return ERR_PTR(ret);
	}
	return win;
}

static struct dma_window *window_get(struct device *dev,
				     const struct dma_window_ref *ref)
{
	struct dma_window *win;
	phys_addr_t base, size;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	ret = dma_window_region_check(dev, ref, &base, &size);
	if (ret)
		return ERR_PTR(ret);

	list_for_each_entry(win, &dma_window_list, list) {
		if (win->base == base && win->size == size)
			return win;
		if (base < win->base + win->size && win->base < base + size) {
			dma_window_err(dev, ref, "its memory is that of window %s",
				       win->name);
			return ERR_PTR(-EBUSY);
		}
	}
	return window_create(dev, ref, base, size);
}

/* Refuse a device that cannot have a window, whatever its region. */
static int attach_check_device(struct device *dev,
			       const struct dma_window_ref *ref,
			       struct device_node *np, const u32 *id,
			       int iommu_err, bool *behind_iommu)
{
	if (has_foreign_ops(dev)) {
		dma_window_err(dev, ref, "the device has other DMA operations already");
		return -EBUSY;
	}
	if (!dev_is_dma_coherent(dev)) {
		dma_window_err(dev, ref, "the device is not dma-coherent, which windows do not support");
		return -EOPNOTSUPP;
	}
#ifdef CONFIG_DMA_DECLARE_COHERENT
	if (dev->dma_mem) {
		dma_window_err(dev, ref, "the device has coherent memory of its own");
		return -EBUSY;
	}
#endif
	/* Refuse where mainline would carry on without translation, or a pool. */
	if (iommu_err && !ref->or_mainline &&
	    dma_window_iommu_named(dev, np, id)) {
		dma_window_err(dev, ref, "its IOMMU is not there");
		return -ENODEV;
	}
	return dma_window_iommu_check(dev, ref, behind_iommu);
}

/* The window's bus address for @dev, if the window is contiguous on the bus. */
static int window_bus_base(struct device *dev, const struct dma_window_ref *ref,
			   struct dma_window *win, dma_addr_t *base)
{
	const struct bus_dma_region *range = dev->dma_range_map;

	/* Find the range of dma-ranges that has to hold all of the window. */
	while (range && range->size &&
	       (win->base < range->cpu_start ||
		win->base - range->cpu_start >= range->size))
		range++;

	*base = phys_to_dma_unencrypted(dev, win->base);
	if ((range && win->size > range->size - (win->base - range->cpu_start)) ||
	    *base == DMA_MAPPING_ERROR || !PAGE_ALIGNED(*base)) {
		dma_window_err(dev, ref, "is not reachable in one piece through the device's dma-ranges");
		return -ENXIO;
	}
	return 0;
}

/* Tell whether a device is still where its client was made for. */
static bool client_is_current(struct dma_window_client *client,
			      struct dma_window *win, bool behind_iommu,
			      dma_addr_t base)
{
	return client->win == win && !client->iommu == !behind_iommu &&
	       dma_window_iommu_in_domain(client->dev, client->iommu) &&
	       (behind_iommu || client->bus_base == base);
}

/* @base: the window's bus address; behind an IOMMU the window is mapped first. */
static struct dma_window_client *
client_new(struct device *dev, const struct dma_window_ref *ref,
	   struct dma_window *win, bool behind_iommu, dma_addr_t base)
{
	struct dma_window_client *client;
	int ret = -ENOMEM;

	lockdep_assert_held(&dma_window_mutex);

	client = kzalloc(sizeof(*client), GFP_KERNEL);
	if (!client)
		return ERR_PTR(-ENOMEM);
	client->dev = dev;
	client->win = win;
	client->copybreak = U32_MAX;
	xa_init_flags(&client->floors, XA_FLAGS_ALLOC1);
	ratelimit_state_init(&client->ratelimit, DEFAULT_RATELIMIT_INTERVAL,
			     DEFAULT_RATELIMIT_BURST);
	if (behind_iommu) {
		client->stats = alloc_percpu(struct dma_window_device_stats);
		if (!client->stats)
			goto free;
		client->iommu = dma_window_iommu_get(dev, ref, win, &base);
		if (IS_ERR(client->iommu)) {
			ret = PTR_ERR(client->iommu);
			goto free;
		}
		client->copybreak = dma_window_iommu_copybreak(dev, client->iommu);
	}
	client->bus_base = base;
	client->bus_last = base + win->size - 1;
	/* Show the client when its record is complete. */
	if (behind_iommu) {
		dma_window_debugfs_add_client(client);
		if (device_is_registered(dev) &&
		    device_add_group(dev, &client_group))
			dev_warn(dev, "no dma_window directory in sysfs\n");
	}
	return client;

free:
	free_percpu(client->stats);
	kfree(client);
	return ERR_PTR(ret);
}

/* Make @dev a client of @win, if it is not one already. */
static int client_attach(struct device *dev, const struct dma_window_ref *ref,
			 struct dma_window *win, bool behind_iommu)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	dma_addr_t base = 0;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	if (!behind_iommu) {
		ret = window_bus_base(dev, ref, win, &base);
		if (ret)
			return ret;
	}
	if (client && !client_is_current(client, win, behind_iommu, base)) {
		client_reclaim(client, true);
		client_drop(client);
		client = NULL;
	}
	if (!client) {
		client = client_new(dev, ref, win, behind_iommu, base);
		if (IS_ERR(client))
			return PTR_ERR(client);
		win->users++;
		hash_add_rcu(dma_window_clients, &client->node,
			     (unsigned long)dev);
	}

	/* Each attach may come with another property, bus limit or IOMMU. */
	client->prop = ref->prop;
	client->or_mainline = ref->or_mainline;
	base = client->bus_base;
	client->class_aligned =
		IS_ALIGNED(base - win->base, DMA_WINDOW_MAX_CLASS_SIZE) &&
		(!dev->bus_dma_limit || dev->bus_dma_limit >= client->bus_last);
	if (behind_iommu)
		dma_window_iommu_probe(client);
	dma_window_set_copybreak(client, client->copybreak);
	return 0;
}

/* The window of @group, or a new one of @size bytes. */
static struct dma_window *group_window_get(struct device *dev,
					   const struct dma_window_ref *ref,
					   struct iommu_group *group, size_t size)
{
	struct dma_window *win;
	void *vaddr;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	list_for_each_entry(win, &dma_window_list, list)
		if (win->group == group)
			return win;

	vaddr = dma_window_untrusted_alloc(dev, size);
	if (!vaddr)
		return ERR_PTR(-ENOMEM);
	win = window_new(virt_to_phys(vaddr), size);
	if (!win) {
		ret = -ENOMEM;
		goto free;
	}
	win->name = kasprintf(GFP_KERNEL, "untrusted-%d", iommu_group_id(group));
	if (!win->name) {
		ret = -ENOMEM;
		window_destroy(win);
		goto free;
	}
	win->group = iommu_group_get(dev);
	ret = window_share(dev, ref, win);
	if (!ret)
		return win;
	/* Memory that may be shared with the host is not used again. */
	iommu_group_put(win->group);
	kfree(win->name);
	window_destroy(win);
	return ERR_PTR(ret);

free:
	dma_window_untrusted_free(vaddr, size);
	return ERR_PTR(ret);
}

/*
 * Give a device that names no region a window all the same, if it is untrusted
 * and the kernel was told to. See untrusted.c.
 */
static int attach_untrusted(struct device *dev)
{
	static const struct dma_window_ref ref = { .prop = "dma_window.untrusted" };
	phys_addr_t size = dma_window_untrusted_size(dev);
	struct iommu_group *group;
	bool exposed;
	struct dma_window *win;
	int ret;

	/* Its IOMMU domain may be one that windows are not for by now. */
	if (!size)
		return dma_window_client_of(dev) ? device_let_go(dev) : 0;
	group = iommu_group_get(dev);
	if (!group)
		return 0;
	static_branch_enable(&dma_window_key);

	mutex_lock(&dma_window_mutex);
	exposed = dma_window_iommu_exposed(dev);
	win = exposed ? ERR_PTR(-EIO) : group_window_get(dev, &ref, group, size);
	ret = PTR_ERR_OR_ZERO(win);
	if (!ret) {
		/* Hold the window: the old client may be its last one. */
		win->users++;
		ret = client_attach(dev, &ref, win, true);
		if (!--win->users)
			window_gone(win);
	}
	if (!ret && booted && !win->announced)
		window_announce(win);
	mutex_unlock(&dma_window_mutex);
	iommu_group_put(group);

	if (!ret) {
		device_serve(dev, win, true);
		return 0;
	}
	/* Deny the device: dma-iommu could not undo its mappings. */
	if (dma_window_client_of(dev) || exposed)
		return device_refuse(dev, ret);
	/* The domain may be exposed by now, if an old client was reclaimed. */
	if (__dma_window_attached(dev) && device_let_go(dev))
		return -EIO;
	dev_warn(dev, "untrusted, but has no window of its own (error %d): swiotlb serves it\n",
		 ret);
	return 0;
}

/*
 * Hold the device's IOMMU group, so that its domain stays what it is until the
 * operations are set. A later change of domain finds the operations: see
 * dma_window_iommu_setup(). Hold the group only for devices that are to have
 * such a window, or have one: while a group is held, VFIO cannot have it.
 */
static int attach_untrusted_held(struct device *dev)
{
	int ret;

	if (!dma_window_untrusted_asked(dev) &&
	    (!static_branch_unlikely(&dma_window_key) ||
	     !dma_window_client_of(dev)))
		return 0;
	ret = iommu_device_use_default_domain(dev);
	if (ret)
		return ret == -EPROBE_DEFER ? ret : 0;
	ret = attach_untrusted(dev);
	iommu_device_unuse_default_domain(dev);
	return ret;
}

/* Attach a device that names a region, with its IOMMU group, if any, held. */
static int attach_region(struct device *dev, const struct dma_window_ref *ref,
			 struct device_node *np, const u32 *id, int iommu_err)
{
	struct dma_window *win;
	bool behind_iommu;
	int ret;

	/* Check without dma_window_mutex: the IOMMU group's mutex is taken. */
	ret = attach_check_device(dev, ref, np, id, iommu_err,
				  &behind_iommu);
	if (ret)
		return ret;
	mutex_lock(&dma_window_mutex);
	win = window_get(dev, ref);
	ret = PTR_ERR_OR_ZERO(win);
	if (!ret)
		ret = client_attach(dev, ref, win, behind_iommu);
	if (ret == -ENOMEM)
		dma_window_err(dev, ref, "no memory for its records");
	if (!ret && booted && !win->announced)
		window_announce(win);
	mutex_unlock(&dma_window_mutex);
	if (ret)
		return ret;

	device_serve(dev, win, behind_iommu);
	return 0;
}

/* The same, holding the group: see attach_untrusted_held(). */
static int attach_region_held(struct device *dev, const struct dma_window_ref *ref,
			      struct device_node *np, const u32 *id,
			      int iommu_err)
{
	int ret = iommu_device_use_default_domain(dev);

	if (!ret) {
		ret = attach_region(dev, ref, np, id, iommu_err);
		iommu_device_unuse_default_domain(dev);
	} else if (ret != -EPROBE_DEFER) {
		dma_window_err(dev, ref, "its IOMMU group is in use by somebody else");
		ret = -EBUSY;
	}
	return ret;
}

/* Attach a device that names no region, or one that is left to mainline. */
static int attach_unnamed(struct device *dev)
{
	struct dma_window_client *client;
	const char *other;

	if (!static_branch_unlikely(&dma_window_key))
		return attach_untrusted_held(dev);
	/* dma_window_of_begin() left the device denied: see there. */
	client = dma_window_client_of(dev);
	if (dma_window_attached(dev) && !(client && client->win->group)) {
		dev_err(dev, "names no restricted-dma-region any more\n");
		return -EBUSY;
	}
	/* Mappings of dma-iommu would be in reach of both devices. */
	other = dma_window_iommu_group_conflict(dev, NULL);
	if (other) {
		dev_err(dev, "shares its IOMMU group with %s, which names a restricted-dma-region\n",
			other);
		return device_refuse(dev, -EBUSY);
	}
	return attach_untrusted_held(dev);
}

/* Tell whether a device is between others and a pool, and needs none itself. */
static bool dev_is_bridge(struct device *dev)
{
	return dev_is_pci(dev) ? pci_is_bridge(to_pci_dev(dev)) :
				 dma_window_is_pci_host(dev->of_node);
}

/*
 * Make a window of the pool that a bridge names, before mainline makes a pool of
 * the bridge's own. A PCI bridge does no DMA then, a host bridge does its own.
 */
static int attach_pool_bridge(struct device *dev, const struct dma_window_ref *ref)
{
	struct dma_window *win = ERR_PTR(-EOPNOTSUPP);

	if (dev_is_dma_coherent(dev)) {
		mutex_lock(&dma_window_mutex);
		win = window_get(dev, ref);
		mutex_unlock(&dma_window_mutex);
	} else {
		dma_window_err(dev, ref, "the device is not dma-coherent, which windows do not support");
	}
	if (!IS_ERR(win) && dev_is_pci(dev))
		dma_window_deny(dev);
	return PTR_ERR_OR_ZERO(win);
}

/*
 * Attach a device that names a restricted-dma-pool to a window, or leave the
 * device and the pool to mainline, which serves it unless it is behind an IOMMU.
 * Refuse a device of a pool that has become a window of others.
 */
static int attach_pool(struct device *dev, struct dma_window_ref *ref, bool serve,
		       struct device_node *np, const u32 *id, int iommu_err)
{
	int ret = -EOPNOTSUPP;

	if (serve && !iommu_err)
		dev_info(dev, "%s: %pOF: the device is behind an IOMMU: left to mainline\n",
			 ref->prop, ref->region);
	else if (serve && dev_is_bridge(dev))
		ret = attach_pool_bridge(dev, ref);
	else if (serve)
		ret = attach_region_held(dev, ref, np, id, iommu_err);
	else if (iommu_err && dma_window_region_claimed(ref))
		dma_window_err(dev, ref, "is a window, which mainline cannot serve");
	if (!ret || ret == -EPROBE_DEFER)
		return ret;
	if (iommu_err && dma_window_region_claimed(ref))
		return device_refuse(dev, ret);

	if (dma_window_attached(dev) && device_let_go(dev))
		return -EIO;
	return attach_unnamed(dev);
}

/**
 * dma_window_of_attach() - confine a device to the region that it names
 * @dev: the device, its DMA otherwise configured
 * @np: the node that has its DMA configuration
 * @id: input ID of @dev, if @np has an iommu-map for it and @dev is no PCI
 *	device
 * @iommu_err: what of_iommu_configure() returned for @dev
 *
 * Context: may sleep; called before the device's driver is probed. Takes
 * dma_window_mutex, and, if @dev names a region, the device's IOMMU group for as
 * long as it runs.
 *
 * Return: 0 if the device has its window, names no region, or is left to
 * mainline: see dma_window_leaves_pool(); -EPROBE_DEFER, with no message, if its
 * IOMMU, or IOMMU group, is still being set up. Otherwise an error, with which the device's
 * probe must fail, and the reason was logged: -EINVAL, -ENODEV, -ENOSPC, -EBUSY
 * or -EPERM from dma_window_region_check() and dma_window_region_check_memory();
 * -EOPNOTSUPP, -ENODEV or -EBUSY from dma_window_iommu_check(); -ENODEV if the
 * tree puts the device behind an IOMMU that is not there; -EBUSY if its IOMMU
 * group is in use, or if the device has DMA operations or coherent memory of
 * its own; -EOPNOTSUPP if the device is not coherent; -ENXIO if it cannot reach
 * the region; -EIO if its IOMMU domain leads to memory of others; -EFBIG,
 * -ENOMEM. Whatever the error, a device that names a region can do no DMA.
 */
int dma_window_of_attach(struct device *dev, struct device_node *np,
			 const u32 *id, int iommu_err)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;
	int ret = 0;

	named = dma_window_ref_find(dev, np, &ref);
	/* Leave it denied, and to nobody, until its IOMMU is there or is not. */
	if (dma_window_is_early(dev)) {
		dma_window_ref_put(&ref);
		return named == DMA_WINDOW_UNNAMED ? 0 : -EPROBE_DEFER;
	}
	switch (named) {
	case DMA_WINDOW_NAMED:
		ret = attach_region_held(dev, &ref, np, id, iommu_err);
		if (ret && ret != -EPROBE_DEFER)
			device_refuse(dev, ret);
		break;
	case DMA_WINDOW_BRIDGE:
		/* Deny again, should DMA have been configured meanwhile. */
		dma_window_deny(dev);
		break;
	case DMA_WINDOW_POOL:
	case DMA_WINDOW_MAINLINE:
		ret = attach_pool(dev, &ref, named == DMA_WINDOW_POOL, np, id,
				  iommu_err);
		break;
	case DMA_WINDOW_UNNAMED:
		ret = attach_unnamed(dev);
		break;
	}
	dma_window_ref_put(&ref);
	return ret;
}

void __dma_window_release(struct device *dev)
{
	struct dma_window_client *client;
	unsigned int left, kept;

	client = dma_window_client_of(dev);
	if (!client)
		return;

	left = dma_window_iommu_reclaim(client);
	left += dma_window_bounce_reclaim(client, true, &kept);
	if (left)
		dev_err(dev, "gone with %u mappings left in %s: freed\n",
			left, client->win->name);
	dma_window_pool_forget(&client->win->pool, client);

	mutex_lock(&dma_window_mutex);
	client_drop(client);
	mutex_unlock(&dma_window_mutex);
}
