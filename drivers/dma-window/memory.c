// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows, as a module: is memory fit for a window?
 *
 * The boot loader's records, which kernel/dma/window/memory.c asks, are gone when a
 * module is loaded. The kernel image is in /proc/iomem, and the device tree where its
 * properties are. Whether a region is over the initrd cannot be told as long as the
 * initrd is not freed; nor whether it is over the crash kernel.
 */

#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/string.h>

#include "module.h"
#include "window.h"

/* The lowest and the highest byte of the kernel image. */
static phys_addr_t image_first = PHYS_ADDR_MAX, image_last;

/**
 * dma_window_memory_init() - find the kernel image
 *
 * Reads resources that are there from boot on and stay.
 *
 * Context: may sleep.
 */
void dma_window_memory_init(void)
{
	const struct resource *ram, *part;

	for (ram = iomem_resource.child; ram; ram = ram->sibling) {
		for (part = ram->child; part; part = part->sibling) {
			if (!part->name || !str_has_prefix(part->name, "Kernel "))
				continue;
			image_first = min(image_first, part->start);
			image_last = max(image_last, part->end);
		}
	}
}

/* Tell whether a range has a property of the tree in it: those are where the tree is. */
static bool memory_has_tree(phys_addr_t base, phys_addr_t size)
{
#ifdef CONFIG_OF
	struct device_node *root = of_find_node_by_path("/");
	const struct property *prop;
	bool has = false;

	for (prop = root ? root->properties : NULL; prop && !has; prop = prop->next)
		has = prop->length > 0 && virt_addr_valid(prop->value) &&
		      dma_window_overlaps(base, size, virt_to_phys(prop->value),
					  prop->length);
	of_node_put(root);
	return has;
#else
	return false;
#endif
}

/**
 * dma_window_memory_check_free() - is nobody known to use a range of memory?
 * @dev: the device that is to have it, for messages
 * @ref: what names the range, for messages
 * @base: physical address, bytes
 * @size: bytes
 *
 * Context: may sleep.
 *
 * Return: 0; -EBUSY if somebody does, which was logged.
 */
int dma_window_memory_check_free(struct device *dev,
				 const struct dma_window_ref *ref,
				 phys_addr_t base, phys_addr_t size)
{
	const char *name = NULL;

	if (image_first <= image_last &&
	    dma_window_overlaps(base, size, image_first,
				image_last - image_first + 1))
		name = "the kernel image";
	else if (memory_has_tree(base, size))
		name = "the device tree";
	if (!name)
		return 0;
	dma_window_err(dev, ref, "overlaps %s", name);
	return -EBUSY;
}

/**
 * dma_window_memory_is_mapped_ram() - is a page RAM?
 * @pfn: its number
 *
 * A module cannot ask whether the page is in the linear map. On arm64 a region without
 * no-map is, which dma_window_region_check() asks for.
 *
 * Context: any.
 *
 * Return: true if it is.
 */
bool dma_window_memory_is_mapped_ram(unsigned long pfn)
{
	return pfn_valid(pfn) && page_is_ram(pfn);
}
