// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: properties that name a region where nobody reads
 * them.
 *
 * A property in the wrong place confines nothing, and no probe fails because of
 * it. Look at all nodes once the devices of the board are there, and report
 * those that no device will ever read. The device has to exist, not its driver,
 * which may be a module. Devices that may still come (below a hot-plug port, or
 * below a device that has no driver yet) are not reported.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/init.h>
#include <linux/of.h>
#include <linux/pci.h>

#include "window.h"

/* Return the device of a node, with a reference, or NULL. */
static struct device *of_node_device(struct device_node *np)
{
	return get_device(np->fwnode.dev);
}

static bool of_node_is_enabled(const struct device_node *np)
{
	for (; np; np = np->parent)
		if (!of_device_is_available(np))
			return false;
	return true;
}

/*
 * A bus by its first compatible has no other driver than one for buses, even if
 * it is an MFD. A simple-bus needs no driver, whatever else the node is
 * compatible with; if a driver is bound all the same, the node is a device.
 */
static bool dev_is_only_bus(struct device *dev, struct device_node *np)
{
	static const char * const needs_none[] = {
		"simple-bus", "isa", "arm,amba-bus", NULL
	};
	const char *first;

	if (!of_property_read_string(np, "compatible", &first) &&
	    (!strcmp(first, "simple-mfd") || !strcmp(first, "simple-pm-bus")))
		return true;
	return of_device_compatible_match(np, needs_none) &&
	       (!dev->driver || !strcmp(dev->driver->name, "simple-pm-bus"));
}

static bool dev_is_bound(struct device *dev)
{
	bool bound;

	/* Wait for a probe that is under way. */
	device_lock(dev);
	bound = device_is_bound(dev);
	device_unlock(dev);
	return bound;
}

/* Virtual functions have nodes on the bus of their physical function. */
static bool bus_has_virtual_functions(struct device_node *bus)
{
	struct pci_dev *pdev = NULL;
	bool found = false;

	while (!found && (pdev = pci_get_device(PCI_ANY_ID, PCI_ANY_ID, pdev)))
		found = pdev->bus->dev.of_node == bus &&
			pci_sriov_get_totalvfs(pdev);
	pci_dev_put(pdev);
	return found;
}

/* Tell whether the child devices of @np that can exist do exist. */
static bool dev_children_settled(struct device *dev, struct device_node *np)
{
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return !to_pci_dev(dev)->is_hotplug_bridge &&
		       !bus_has_virtual_functions(np);
	if (!dev_is_pci(dev) && dma_window_is_pci_host(np))
		return dev_is_bound(dev) && !bus_has_virtual_functions(np);
	return dev_is_only_bus(dev, np) || dev_is_bound(dev);
}

/* Tell whether @np has a device by now, or never will. */
static bool of_node_is_settled(struct device_node *np)
{
	struct device_node *parent;
	struct device *dev;
	bool settled;

	for (parent = np->parent; parent; parent = parent->parent) {
		dev = of_node_device(parent);
		if (!dev)
			continue;
		settled = dev_children_settled(dev, parent);
		put_device(dev);
		return settled;
	}
	return true;
}

/* Return why nobody reads the property of @np, or NULL if somebody may. */
static const char *unread_reason(struct device_node *np)
{
	/* A virtio device's node is read for its transport. */
	struct device_node *reader = dma_window_is_virtio_node(np) ? np->parent : np;
	const char *why = NULL;
	struct device *dev;
	bool settled;

	settled = of_node_is_settled(reader);
	dev = of_node_device(reader);
	if (!dev)
		return settled ? "no device reads it, nothing is confined by it" : NULL;
	if (!dev->bus || !dev->bus->dma_configure)
		why = "its device is of a kind that does not read it, nothing is confined by it";
	else if (!dev_is_pci(dev) && dev_is_only_bus(dev, reader))
		why = "is on a bus, the devices below are not confined by it";
	put_device(dev);
	return why;
}

static int __init unread_report_all(void)
{
	struct device_node *np;
	const char *why;

	for_each_node_with_property(np, "restricted-dma-region") {
		why = of_node_is_enabled(np) ? unread_reason(np) : NULL;
		if (why)
			pr_err("%pOF: restricted-dma-region: %s\n", np, why);
	}
	return 0;
}
late_initcall_sync(unread_report_all);
