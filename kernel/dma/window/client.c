// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: devices and their windows.
 *
 * A client (a device's tie to its window) is made at the first successful
 * attach and lives until the device is released, or is configured for another
 * window or none, or its window ends; one that the parameter's * made, until its
 * driver goes. When a driver goes, the mappings that it has left are taken
 * back: no driver is bound, so nobody has a use for them.
 */

#include <linux/device.h>
#include <linux/dma-window.h>
#include <linux/iommu.h>
#include <linux/slab.h>
#include <trace/events/dma_window.h>

#include "window.h"

DEFINE_HASHTABLE(dma_window_clients, DMA_WINDOW_CLIENTS_BITS);

DEFINE_STATIC_KEY_FALSE(dma_window_key);
EXPORT_SYMBOL_GPL(dma_window_key);

/**
 * dma_window_client_of() - the window of a device
 * @dev: the device
 *
 * Context: any. The client stays until @dev is released, or is configured for
 * another window or none, or its window ends, before which its driver is taken.
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

/**
 * dma_window_client_names() - visit the devices of a window
 * @win: the window
 * @show: called with @arg and each device's name
 * @arg: passed on
 *
 * Context: dma_window_mutex held.
 */
void dma_window_client_names(struct dma_window *win,
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
 * dma_window_client_names_try() - visit the devices of a window, or try later
 * @win: the window
 * @show: called with @arg and each device's name
 * @arg: passed on
 *
 * Context: may sleep. Tries to take dma_window_mutex.
 *
 * Return: false if the mutex is taken: try again.
 */
bool dma_window_client_names_try(struct dma_window *win,
				 void (*show)(void *arg, const char *name),
				 void *arg)
{
	if (!mutex_trylock(&dma_window_mutex))
		return false;
	dma_window_client_names(win, show, arg);
	mutex_unlock(&dma_window_mutex);
	return true;
}

bool __dma_window_attached(const struct device *dev)
{
	return dev && (dma_window_has_window(dev) ||
		       dev->dma_ops == &dma_window_deny_ops);
}
EXPORT_SYMBOL_GPL(__dma_window_attached);

/**
 * dma_window_has_foreign_ops() - has somebody else set a device's operations?
 * @dev: the device
 *
 * Xen does.
 *
 * Context: any.
 *
 * Return: true if @dev has operations that are neither ours nor dma-iommu's.
 */
bool dma_window_has_foreign_ops(const struct device *dev)
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

/* ---- Clients ---- */

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
	if (!--client->win->users && client->win->group)
		dma_window_gone(client->win);
	call_rcu(&client->rcu, client_free);
}

/*
 * Take back, from the window and from the IOMMU, all mappings that a device's
 * last driver has left. The device has no driver now, or is about to get one.
 * Returns how many coherent allocations stay.
 */
static unsigned int client_reclaim(struct dma_window_client *client, bool gone)
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
	return kept;
}

/* Tell why a driver has given up, if it is for the DMA mask that it tried last. */
static void client_report_mask(struct dma_window_client *client)
{
	struct device *dev = client->dev;

	if (!client->refused_mask)
		return;
	dev_err(dev, "%s: %s: ends at bus address %pad, out of reach of DMA mask %#llx (bus limit %#llx)\n",
		client->prop, client->win->where, &client->bus_last,
		client->refused_mask, dev->bus_dma_limit);
	client->refused_mask = 0;
}

unsigned int __dma_window_unbound(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	unsigned int kept;

	if (!client)
		return 0;
	client_report_mask(client);
	kept = client_reclaim(client, false);
	/* Transports without a device behind them are tried, too, and left. */
	if (client->everyone && !kept)
		dma_window_let_go(dev);
	return kept;
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

/**
 * dma_window_client_attach() - make a device a client of a window
 * @dev: the device
 * @ref: what names its region
 * @win: the window
 * @behind_iommu: @dev is behind an IOMMU, which is to map the window
 *
 * Does nothing but bring the client up to date if it is one of @win already.
 *
 * Context: dma_window_mutex held. The operations of @dev are not those of a
 * window.
 *
 * Return: 0; -ENXIO if @dev cannot reach @win, which is logged; what
 * dma_window_iommu_get() returns; -ENOMEM.
 */
int dma_window_client_attach(struct device *dev, const struct dma_window_ref *ref,
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
	client->everyone = ref->everyone;
	base = client->bus_base;
	client->class_aligned =
		IS_ALIGNED(base - win->base, DMA_WINDOW_MAX_CLASS_SIZE) &&
		(!dev->bus_dma_limit || dev->bus_dma_limit >= client->bus_last);
	if (behind_iommu)
		dma_window_iommu_probe(client);
	dma_window_set_copybreak(client, client->copybreak);
	return 0;
}

/* Drop the client of a device, unless the end of its window has done so. */
static void client_drop_of(struct device *dev)
{
	struct dma_window_client *client;

	mutex_lock(&dma_window_mutex);
	client = dma_window_client_of(dev);
	if (client)
		client_drop(client);
	mutex_unlock(&dma_window_mutex);
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
	client_drop_of(dev);
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
 *	DENIED, NONE	WINDOW, IOMMU	dma_window_serve(): at the end of an attach
 *	any		NONE		dma_window_let_go(): no region is named any more,
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

/**
 * dma_window_refuse() - let a device do no DMA, for good
 * @dev: the device
 * @ret: the error for its probe; the reason was logged
 *
 * Context: any.
 *
 * Return: @ret.
 */
int dma_window_refuse(struct device *dev, int ret)
{
	dma_window_deny(dev);
	trace_dma_window_refuse(dev, ret);
	return ret;
}

/**
 * dma_window_serve() - let a device use its window
 * @dev: the device
 * @win: the window that @dev is a client of
 * @behind_iommu: whether @dev is behind an IOMMU
 *
 * Context: may sleep.
 */
void dma_window_serve(struct device *dev, struct dma_window *win,
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

/**
 * dma_window_let_go() - take its window from a device
 * @dev: the device, which has no driver
 *
 * Leaves the device to whoever serves devices without a window.
 *
 * Context: may sleep. Takes dma_window_mutex.
 *
 * Return: 0, or -EIO if the device's IOMMU domain leads to memory of others: the
 * device is denied then.
 */
int dma_window_let_go(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);
	bool exposed;

	if (client)
		client_reclaim(client, true);
	mutex_lock(&dma_window_mutex);
	exposed = dma_window_iommu_exposed(dev);
	/* The end of its window may have evicted the device meanwhile. */
	client = dma_window_client_of(dev);
	if (client)
		client_drop(client);
	mutex_unlock(&dma_window_mutex);
	if (exposed) {
		dev_err(dev, "its IOMMU did not let go of memory that others use\n");
		return dma_window_refuse(dev, -EIO);
	}
	device_set_state(dev, DEVICE_NONE);
	return 0;
}

/**
 * dma_window_evict() - take its window from a device, and let it do no DMA
 * @dev: the device, denied and without a driver
 *
 * Context: may sleep. Takes dma_window_mutex.
 */
void dma_window_evict(struct device *dev)
{
	struct dma_window_client *client;

	mutex_lock(&dma_window_mutex);
	/* The device may have been released meanwhile. */
	client = dma_window_client_of(dev);
	if (client) {
		client_reclaim(client, true);
		client_drop(client);
	}
	mutex_unlock(&dma_window_mutex);
}

/**
 * dma_window_client_first() - one of the devices of a window
 * @win: the window
 *
 * Context: dma_window_mutex held.
 *
 * Return: a device, with a reference, or NULL if the window has none.
 */
struct device *dma_window_client_first(struct dma_window *win)
{
	struct dma_window_client *client;
	int i;

	lockdep_assert_held(&dma_window_mutex);

	hash_for_each(dma_window_clients, i, client, node)
		/* A device whose last reference is gone is about to be released. */
		if (client->win == win &&
		    kobject_get_unless_zero(&client->dev->kobj))
			return client->dev;
	return NULL;
}
