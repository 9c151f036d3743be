// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: attaching devices where there is no hook.
 *
 * of_dma_configure_id() has hooks, in a kernel that was built with them. A device
 * whose DMA is configured otherwise, by ACPI or by a kernel without hooks, gets its
 * window from a notifier of its bus: after its bus has configured the device, and
 * before the driver's probe. A notifier cannot fail the probe; but a device that is
 * refused can do no DMA, and virtio.c fails the probe of a virtio driver.
 */

#include <linux/dma-window.h>
#include <linux/init.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>

#include "window.h"

/**
 * dma_window_config_node() - the node that has the configuration of a device's DMA
 * @dev: a PCI or platform device
 *
 * Context: any.
 *
 * Return: the node, or NULL if there is none: then of_dma_configure() is not called.
 */
struct device_node *dma_window_config_node(struct device *dev)
{
	struct pci_bus *bus;

	if (!dev_is_pci(dev))
		return dev->of_node;
	bus = to_pci_dev(dev)->bus;
	while (bus->parent)
		bus = bus->parent;
	return bus->bridge->parent ? bus->bridge->parent->of_node : NULL;
}

/**
 * dma_window_bind() - attach a device that is about to be probed
 * @dev: a PCI or platform device, its driver set and its DMA configured
 *
 * Context: may sleep; from a notifier, at BUS_NOTIFY_BIND_DRIVER.
 *
 * Return: true if @dev is served, or refused.
 */
bool dma_window_bind(struct device *dev)
{
	struct device_node *np = dma_window_config_node(dev);

	dma_window_of_begin(dev, np, false);
	/* Let the device's domain tell whether there is an IOMMU. */
	if (dma_window_of_attach(dev, np, NULL, -ENODEV) == -EPROBE_DEFER) {
		dev_err(dev, "what its window depends on is not there yet: bind it again\n");
		dma_window_deny(dev);
	}
	return dma_window_attached(dev);
}

#ifndef MODULE
static int bind_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == BUS_NOTIFY_BIND_DRIVER && !dma_window_config_node(data))
		dma_window_bind(data);
	return NOTIFY_OK;
}

#ifdef CONFIG_PCI
static struct notifier_block bind_pci = { .notifier_call = bind_notify };
#endif
static struct notifier_block bind_platform = { .notifier_call = bind_notify };

static int __init bind_init(void)
{
	int ret = 0;

	if (!dma_window_sources_any())
		return 0;
#ifdef CONFIG_PCI
	ret = bus_register_notifier(&pci_bus_type, &bind_pci);
#endif
	return ret ?: bus_register_notifier(&platform_bus_type, &bind_platform);
}

/* After the buses, which are there by postcore_initcall, and before devices. */
arch_initcall(bind_init);
#endif
