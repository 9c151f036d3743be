// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows, as a module: what stands in for the hooks.
 *
 *	built in				here
 *	of_dma_configure_id()			BUS_NOTIFY_BIND_DRIVER
 *	device_unbind_cleanup()			BUS_NOTIFY_UNBOUND_DRIVER,
 *						BUS_NOTIFY_DRIVER_NOT_BOUND
 *	device_release()			BUS_NOTIFY_REMOVED_DEVICE
 *	virtio_has_dma_quirk(),			transport.c
 *	virtio_features_ok()
 *
 * A device that has its driver already when the module is loaded is taken from it
 * and probed anew. A virtio transport that only * stands for is left alone if its
 * device has a driver: that may be the disk that the module was read from.
 *
 * The module stays while a device that it serves or refuses has a driver, or keeps
 * memory of a window. For good, if such a device is removed.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/dma-window.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "module.h"
#include "window.h"

/**
 * struct bound - a device that we serve or refuse, and that keeps the module
 * @list: in bound_devices
 * @dev: the device (reference held)
 * @ops: its operations before
 * @settle: lets the module go, if the device has no driver
 */
struct bound {
	struct list_head		list;
	struct device			*dev;
	const struct dma_map_ops	*ops;
	struct work_struct		settle;
};

static LIST_HEAD(bound_devices);
static DEFINE_MUTEX(bound_mutex);

static struct bound *bound_find(struct device *dev)
{
	struct bound *bound;

	lockdep_assert_held(&bound_mutex);

	list_for_each_entry(bound, &bound_devices, list)
		if (bound->dev == dev)
			return bound;
	return NULL;
}

static void bound_settle(struct work_struct *work)
{
	struct bound *bound = container_of(work, struct bound, settle);
	struct device *dev = bound->dev;
	bool settled = false;

	device_lock(dev);
	mutex_lock(&bound_mutex);
	/* Nothing is settled if the device has a driver again, or keeps memory. */
	if (!dev->driver && bound_find(dev) == bound) {
		if (__dma_window_unbound(dev))
			dma_window_deny(dev);
		else
			settled = true;
	}
	if (settled) {
		list_del(&bound->list);
		if (bound->ops)
			set_dma_ops(dev, bound->ops);
	}
	mutex_unlock(&bound_mutex);
	device_unlock(dev);
	if (!settled)
		return;
	put_device(dev);
	kfree(bound);
	module_put(THIS_MODULE);
}

static void device_bind(struct device *dev)
{
	const struct dma_map_ops *ops = __dma_window_attached(dev) ? NULL : dev->dma_ops;
	struct bound *bound;

	/* Once the module is about to go, devices are as they were before it came. */
	if (!try_module_get(THIS_MODULE)) {
		if (__dma_window_attached(dev))
			dma_window_let_go(dev);
		return;
	}
	if (!dma_window_bind(dev) || (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))) {
		module_put(THIS_MODULE);
		return;
	}
	mutex_lock(&bound_mutex);
	bound = bound_find(dev);
	if (bound) {
		module_put(THIS_MODULE);
	} else {
		/* Nobody can be told that there is no memory. */
		bound = kzalloc(sizeof(*bound), GFP_KERNEL | __GFP_NOFAIL);
		bound->dev = get_device(dev);
		bound->ops = ops;
		INIT_WORK(&bound->settle, bound_settle);
		list_add(&bound->list, &bound_devices);
	}
	mutex_unlock(&bound_mutex);
}

/*
 * A work item takes back what the driver has left: after a failed probe this is
 * called before the driver core has released what belongs to the device.
 */
static void device_unbound(struct device *dev)
{
	struct bound *bound;

	mutex_lock(&bound_mutex);
	bound = bound_find(dev);
	if (bound)
		queue_work(dma_window_unbound_wq, &bound->settle);
	mutex_unlock(&bound_mutex);
}

/* Forget a device that is gone, but for the operations that late calls need. */
static void device_removed(struct device *dev)
{
	struct bound *bound;
	unsigned int kept;

	mutex_lock(&bound_mutex);
	bound = bound_find(dev);
	if (bound)
		list_del(&bound->list);
	mutex_unlock(&bound_mutex);
	/* The work item may be at it, since the driver has gone just now. */
	if (bound)
		cancel_work_sync(&bound->settle);
	kept = __dma_window_unbound(dev);
	dma_window_release(dev);
	if (kept)
		dma_window_deny(dev);
	else if (__dma_window_attached(dev))
		set_dma_ops(dev, NULL);
	if (!bound)
		return;
	put_device(dev);
	kfree(bound);
	/* Stay if memory may be freed late: that is done here. */
	if (!kept)
		module_put(THIS_MODULE);
}

static int device_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	switch (action) {
	case BUS_NOTIFY_BIND_DRIVER:
		device_bind(data);
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		device_unbound(data);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		device_removed(data);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block pci_notifier = { .notifier_call = device_notify };
static struct notifier_block platform_notifier = { .notifier_call = device_notify };

/*
 * Tell whether a device is to be confined and has a driver already. @driver: filled with
 * that of its virtio device, if it has one
 */
static bool device_is_late(struct device *dev, char *driver, size_t size, bool *everyone)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;
	bool late = false;

	device_lock(dev);
	if (dev->driver && !__dma_window_attached(dev)) {
		named = dma_window_ref_find(dev, dma_window_config_node(dev), &ref);
		*everyone = ref.everyone;
		late = named == DMA_WINDOW_NAMED;
		dma_window_ref_put(&ref);
		if (!dma_window_transport_driver(dev, driver, size))
			*driver = '\0';
	}
	device_unlock(dev);
	return late;
}

/* A device that has a driver already was not confined until now. */
static int device_take(struct device *dev, void *unused)
{
	bool everyone;
	char driver[32];

	if (!device_is_late(dev, driver, sizeof(driver), &everyone))
		return 0;
	if (everyone && *driver) {
		dev_err(dev, "has driver %s already, and is not confined: load dma-window before it, or name the device\n",
			driver);
		return 0;
	}
	dev_info(dev, "taken from its driver, and probed anew\n");
	device_release_driver(dev);
	if (device_attach(dev) < 0)
		dev_err(dev, "cannot be probed anew\n");
	return 0;
}

static int device_forget(struct device *dev, void *unused)
{
	device_lock(dev);
	if (__dma_window_attached(dev))
		dma_window_let_go(dev);
	device_unlock(dev);
	return 0;
}

static void windows_exit(void)
{
	dma_window_bars_unwatch();
	bus_for_each_dev(&pci_bus_type, NULL, NULL, device_forget);
	bus_for_each_dev(&platform_bus_type, NULL, NULL, device_forget);
	dma_window_exit();
	dma_window_debugfs_exit();
	dma_window_sources_exit();
}

static int __init dma_window_module_init(void)
{
	int ret;

	dma_window_memory_init();
	ret = dma_window_init();
	if (ret)
		return ret;
	ret = dma_window_sources_init();
	if (!ret)
		ret = dma_window_bars_watch();
	if (ret)
		goto exit;
	dma_window_debugfs_init();
	dma_window_announce_all();
	ret = dma_window_transport_init();
	if (ret)
		goto exit;
	ret = bus_register_notifier(&pci_bus_type, &pci_notifier);
	if (ret)
		goto transport;
	ret = bus_register_notifier(&platform_bus_type, &platform_notifier);
	if (ret)
		goto pci;
	pr_info("as a module: devices behind an IOMMU are refused, a short read is zeros to its end, queues share a window without floors\n");
	bus_for_each_dev(&pci_bus_type, NULL, NULL, device_take);
	bus_for_each_dev(&platform_bus_type, NULL, NULL, device_take);
	dma_window_sources_report();
	return 0;

pci:
	bus_unregister_notifier(&pci_bus_type, &pci_notifier);
transport:
	dma_window_transport_exit();
exit:
	windows_exit();
	return ret;
}
module_init(dma_window_module_init);

static void __exit dma_window_module_exit(void)
{
	bus_unregister_notifier(&platform_bus_type, &platform_notifier);
	bus_unregister_notifier(&pci_bus_type, &pci_notifier);
	dma_window_transport_exit();
	windows_exit();
}
module_exit(dma_window_module_exit);

MODULE_DESCRIPTION("Confines virtio back ends to a window of the guest's memory");
MODULE_LICENSE("GPL");
