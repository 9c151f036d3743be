// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: what names a device's region, whatever it is.
 */

#include <linux/dma-window.h>
#include <linux/of.h>

#include "window.h"

/**
 * dma_window_ref_find() - find what names a device's region
 * @dev: the device
 * @np: the node that has its DMA configuration, or NULL
 * @ref: filled unless the result is DMA_WINDOW_UNNAMED; release it with
 *	dma_window_ref_put() whatever the result
 *
 * The device tree, see dma_window_tree_find(), and the parameter dma_window.map, see
 * dma_window_source_find(), may not both name a region for one device.
 *
 * Context: may sleep.
 *
 * Return: what was found.
 */
enum dma_window_named dma_window_ref_find(struct device *dev,
					  struct device_node *np,
					  struct dma_window_ref *ref)
{
	enum dma_window_named named = dma_window_tree_find(dev, np, ref);

	return dma_window_source_find(dev, named, ref);
}

/**
 * dma_window_leaves_pool() - is mainline to look for a restricted-dma-pool?
 * @dev: the device, which dma_window_of_attach() has returned 0 for
 * @np: the node that has its DMA configuration
 *
 * Context: may sleep.
 *
 * Return: true if @dev names a pool that is left to mainline, where mainline
 * finds it.
 */
bool dma_window_leaves_pool(struct device *dev, struct device_node *np)
{
	struct dma_window_ref ref = {};
	bool leaves;

	dma_window_ref_find(dev, np, &ref);
	leaves = ref.or_mainline && !dma_window_attached(dev) &&
		 !dma_window_region_claimed(&ref);
	dma_window_ref_put(&ref);
	return leaves;
}

/**
 * dma_window_ref_put() - release what dma_window_ref_find() filled in
 * @ref: the reference
 *
 * Context: any.
 */
void dma_window_ref_put(struct dma_window_ref *ref)
{
	of_node_put(ref->holder);
	of_node_put(ref->region);
}

/**
 * dma_window_err() - say why a device does not get its window
 * @dev: the device
 * @ref: what names its region
 * @fmt: the reason, without a newline
 *
 * One line that names the device, the property, the region (or if there is
 * none, the node that has the property, if it is one) and the reason. A pool that
 * mainline can have is no error.
 *
 * Context: may sleep.
 */
void dma_window_err(struct device *dev, const struct dma_window_ref *ref,
		    const char *fmt, ...)
{
	struct va_format reason;
	va_list args;

	va_start(args, fmt);
	reason.fmt = fmt;
	reason.va = &args;
	if (ref->or_mainline && !dma_window_region_claimed(ref))
		dev_info(dev, "%s: %pOF: %pV: left to mainline\n", ref->prop,
			 ref->region, &reason);
	else if (ref->source)
		dev_err(dev, "%s: %s: %pV\n", ref->prop, ref->source->text,
			&reason);
	else if (ref->holder)
		dev_err(dev, "%s: %pOF: %pV\n", ref->prop,
			ref->region ?: ref->holder, &reason);
	else
		dev_err(dev, "%s: %pV\n", ref->prop, &reason);
	va_end(args);
}
