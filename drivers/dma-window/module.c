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
 * The module stays while a device that it serves or refuses has a driver, or has
 * kept memory of a window.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/dma-window.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "module.h"
#include "window.h"

/* Devices that have a driver, or are about to, and that we serve or refuse. */
struct bound {
	struct list_head	list;
	struct device		*dev;
};

static LIST_HEAD(bound_devices);
static DEFINE_MUTEX(bound_mutex);

static void bound_add(struct device *dev)
{
	/* The caller has nobody to tell that there is no memory. */
	struct bound *bound = kmalloc(sizeof(*bound), GFP_KERNEL | __GFP_NOFAIL);

	bound->dev = dev;
	mutex_lock(&bound_mutex);
	list_add(&bound->list, &bound_devices);
	mutex_unlock(&bound_mutex);
	__module_get(THIS_MODULE);
}

static bool bound_del(struct device *dev)
{
	struct bound *bound;
	bool found = false;

	mutex_lock(&bound_mutex);
	list_for_each_entry(bound, &bound_devices, list) {
		if (bound->dev != dev)
			continue;
		list_del(&bound->list);
		kfree(bound);
		found = true;
		break;
	}
	mutex_unlock(&bound_mutex);
	return found;
}

/* Take back what the driver has left; what it keeps allocated keeps the module. */
static void device_unbound(struct device *dev)
{
	if (!bound_del(dev))
		return;
	if (__dma_window_unbound(dev))
		dev_warn(dev, "the module stays for what the device keeps\n");
	else
		module_put(THIS_MODULE);
}

static int device_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	switch (action) {
	case BUS_NOTIFY_BIND_DRIVER:
		if (dma_window_bind(data))
			bound_add(data);
		break;
	case BUS_NOTIFY_DRIVER_NOT_BOUND:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		device_unbound(data);
		break;
	case BUS_NOTIFY_REMOVED_DEVICE:
		dma_window_release(data);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block pci_notifier = { .notifier_call = device_notify };
static struct notifier_block platform_notifier = { .notifier_call = device_notify };

/* A device that has a driver already was not confined until now. */
static int device_take(struct device *dev, void *unused)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;
	const char *driver;
	bool everyone;

	if (!dev->driver)
		return 0;
	named = dma_window_ref_find(dev, dma_window_config_node(dev), &ref);
	everyone = ref.everyone;
	dma_window_ref_put(&ref);
	if (named == DMA_WINDOW_UNNAMED || named == DMA_WINDOW_MAINLINE ||
	    named == DMA_WINDOW_BRIDGE)
		return 0;
	driver = dma_window_transport_driver(dev);
	if (everyone && driver) {
		dev_err(dev, "has driver %s already, and is not confined: load dma-window before it, or name the device\n",
			driver);
		return 0;
	}
	dev_info(dev, "taken from %s, and probed anew\n",
		 driver ?: dev->driver->name);
	device_release_driver(dev);
	if (device_attach(dev) <= 0)
		dev_err(dev, "no driver took it again\n");
	return 0;
}

static int device_forget(struct device *dev, void *unused)
{
	if (__dma_window_attached(dev))
		dma_window_let_go(dev);
	return 0;
}

static void windows_exit(void)
{
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
		ret = dma_window_sources_watch();
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
