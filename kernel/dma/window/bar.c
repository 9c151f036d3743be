// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: windows in the BARs of PCI devices.
 *
 * A device that has such a BAR is taken by a driver, which maps the BAR, and ends the
 * window in it when the device goes. Clients may be probed before it: see
 * dma_window_bar_check().
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/delay.h>
#include <linux/dma-window.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/pci.h>

#include "window.h"

/*
 * Only devices that are known to have memory: a driver that is tried for all would
 * have the DMA of all configured. Others by new_id in sysfs.
 */
static const struct pci_device_id bar_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },	/* ivshmem */
	{ }
};

static bool bar_is_of(const struct dma_window_source *source,
		      const struct pci_dev *pdev)
{
	return !source->bad && source->kind == DMA_WINDOW_SOURCE_BAR &&
	       source->domain == pci_domain_nr(pdev->bus) &&
	       source->bus == pdev->bus->number && source->devfn == pdev->devfn;
}

/* Why a BAR is no memory for a window, or NULL. */
static const char *bar_unfit_reason(struct pci_dev *pdev, unsigned int bar)
{
	unsigned long flags = pci_resource_flags(pdev, bar);

	if (!(flags & IORESOURCE_MEM) || (flags & IORESOURCE_UNSET) ||
	    !pci_resource_len(pdev, bar))
		return "the device has no memory there";
	if (!(flags & IORESOURCE_PREFETCH))
		return "is not prefetchable: it is registers, not memory";
	return NULL;
}

/* Map a BAR, or note why that cannot be done. */
static void bar_map(struct pci_dev *pdev, struct dma_window_source *source)
{
	void *vaddr;

	source->bar_error = bar_unfit_reason(pdev, source->bar);
	if (source->bar_error)
		return;
	if (pci_request_region(pdev, source->bar, "dma-window")) {
		source->bar_error = "is in use by somebody else";
		return;
	}
	source->base = pci_resource_start(pdev, source->bar);
	source->size = pci_resource_len(pdev, source->bar);
	vaddr = memremap(source->base, source->size, MEMREMAP_WB);
	if (!vaddr) {
		pci_release_region(pdev, source->bar);
		source->bar_error = "cannot be mapped";
		return;
	}
	mutex_lock(&dma_window_mutex);
	source->vaddr = vaddr;
	mutex_unlock(&dma_window_mutex);
}

/* Leave alone the devices that nobody named. */
static int bar_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dma_window_source *source;
	int ret = -ENODEV;

	list_for_each_entry(source, &dma_window_sources, list) {
		if (!bar_is_of(source, pdev))
			continue;
		if (ret == -ENODEV)
			ret = pci_enable_device_mem(pdev);
		if (ret)
			source->bar_error = "its PCI device cannot be enabled";
		else
			bar_map(pdev, source);
	}
	return ret;
}

/* The window in a BAR, or NULL. */
static struct dma_window *source_window(const struct dma_window_source *source)
{
	struct dma_window *win;

	lockdep_assert_held(&dma_window_mutex);

	list_for_each_entry(win, &dma_window_list, list)
		if (win->source == source)
			return win;
	return NULL;
}

/*
 * Take the devices of a window whose memory is about to go from their drivers, and deny
 * them: no mapping may be left when the memory is gone.
 */
static void source_end_window(struct dma_window_source *source)
{
	struct dma_window *win;
	struct device *dev;

	mutex_lock(&dma_window_mutex);
	/* No window is made of it from here on. */
	source->vaddr = NULL;
	win = source_window(source);
	if (win)
		win->ended = true;
	while (win && win->users) {
		dev = dma_window_client_first(win);
		mutex_unlock(&dma_window_mutex);
		if (!dev) {
			/* The last client is being released, which takes the mutex. */
			msleep(20);
			mutex_lock(&dma_window_mutex);
			continue;
		}
		if (READ_ONCE(dev->driver))
			dev_err(dev, "%s: its PCI device is gone: the device can do no DMA any more\n",
				win->where);
		/* Let the driver do its last I/O: some wait for it. */
		device_release_driver(dev);
		device_lock(dev);
		dma_window_deny(dev);
		dma_window_evict(dev);
		device_unlock(dev);
		put_device(dev);
		mutex_lock(&dma_window_mutex);
	}
	if (win)
		dma_window_unlist(win);
	mutex_unlock(&dma_window_mutex);
	if (win)
		dma_window_free(win);
}

static void bar_remove(struct pci_dev *pdev)
{
	struct dma_window_source *source;

	list_for_each_entry(source, &dma_window_sources, list) {
		void *vaddr = source->vaddr;

		if (!bar_is_of(source, pdev) || !vaddr)
			continue;
		source_end_window(source);
		memunmap(vaddr);
		pci_release_region(pdev, source->bar);
	}
	pci_disable_device(pdev);
}

static struct pci_driver bar_driver = {
	.name		= "dma-window",
	.id_table	= bar_ids,
	.probe		= bar_probe,
	.remove		= bar_remove,
	.driver.probe_type = PROBE_FORCE_SYNCHRONOUS,
};

static bool bar_driver_is_there;

/**
 * dma_window_bar_check() - is a BAR there, and memory?
 * @dev: the device that is to have a window in it, for messages
 * @ref: what names the BAR
 * @base: filled with its physical address, bytes
 * @size: filled with its size, bytes
 *
 * Context: may sleep.
 *
 * Return: 0; -ENODEV if its device is not there; -EPROBE_DEFER, with no message, if
 * its device may be a moment later; -EOPNOTSUPP if @dev is no virtio device; -EINVAL if
 * it is no memory; -EBUSY if a driver has it.
 */
int dma_window_bar_check(struct device *dev, const struct dma_window_ref *ref,
			 phys_addr_t *base, phys_addr_t *size)
{
	struct dma_window_source *source = ref->source;
	struct pci_dev *pdev = pci_get_domain_bus_and_slot(source->domain, source->bus,
							   source->devfn);
	const char *driver = pdev && pdev->dev.driver ? dev_driver_string(&pdev->dev) : NULL;
	int ret = 0;

	if (!pdev) {
		dma_window_err(dev, ref, "there is no such PCI device");
		ret = -ENODEV;
	} else if (!dma_window_is_virtio_transport(dev)) {
		dma_window_err(dev, ref, "only virtio devices can use a BAR");
		ret = -EOPNOTSUPP;
	} else if (source->bar_error) {
		dma_window_err(dev, ref, "%s", source->bar_error);
		ret = -EINVAL;
	} else if (!source->vaddr && driver && strcmp(driver, bar_driver.name)) {
		dma_window_err(dev, ref, "is in use by driver %s", driver);
		ret = -EBUSY;
	} else if (!source->vaddr && !pci_match_id(bar_ids, pdev)) {
		dma_window_err(dev, ref, "is of no ivshmem: write \"%04x %04x\" to /sys/bus/pci/drivers/dma-window/new_id, if it is memory",
			       pdev->vendor, pdev->device);
		ret = -ENODEV;
	} else if (!source->vaddr && !bar_driver_is_there) {
		dma_window_err(dev, ref, "this kernel has no driver for its PCI device");
		ret = -ENODEV;
	} else if (!source->vaddr) {
		/* A module's notifier comes too late to put the probe off. */
#ifdef MODULE
		dma_window_err(dev, ref, "its PCI device is not there yet: bind this one again");
		ret = -ENODEV;
#else
		ret = -EPROBE_DEFER;
#endif
	}
	pci_dev_put(pdev);
	*base = source->base;
	*size = source->size;
	return ret;
}

static bool __init bar_is_named(void)
{
	struct dma_window_source *source;

	list_for_each_entry(source, &dma_window_sources, list)
		if (!source->bad && source->kind == DMA_WINDOW_SOURCE_BAR)
			return true;
	return false;
}

/**
 * dma_window_bars_watch() - take the devices that have BARs
 *
 * Context: may sleep.
 *
 * Return: 0, or what pci_register_driver() returns.
 */
int __init dma_window_bars_watch(void)
{
	int ret;

	if (!bar_is_named())
		return 0;
	ret = pci_register_driver(&bar_driver);
	bar_driver_is_there = !ret;
	return ret;
}

#ifndef MODULE
subsys_initcall(dma_window_bars_watch);
#else
/**
 * dma_window_bars_unwatch() - give back the devices that have BARs
 *
 * Ends the windows in them.
 *
 * Context: may sleep.
 */
void dma_window_bars_unwatch(void)
{
	if (bar_driver_is_there)
		pci_unregister_driver(&bar_driver);
}
#endif
