// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: is memory fit for a window, whoever says that it is?
 *
 * For a kernel that has windows built in. A module has less to ask: see
 * drivers/dma-window/memory.c.
 */

#include <linux/init.h>
#include <linux/initrd.h>
#include <linux/libfdt.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/of_fdt.h>
#include <linux/set_memory.h>
#include <asm/sections.h>
#include <asm/setup.h>

#include "window.h"

/* Ranges that the boot loader filled; a window must not overlap them. */
static struct boot_range {
	const char	*name;
	phys_addr_t	base;
	phys_addr_t	size;
} boot_ranges[3];

/* Run early: all of these are __initdata, and no device is probed yet. */
static int __init memory_note_boot_ranges(void)
{
	boot_ranges[0].name = "the kernel image";
	boot_ranges[0].base = __pa_symbol(_text);
	boot_ranges[0].size = _end - _text;
	boot_ranges[1].name = "the device tree";
	boot_ranges[1].base = __fdt_pointer;
	boot_ranges[1].size = initial_boot_params ?
			      fdt_totalsize(initial_boot_params) : 0;
	if (IS_ENABLED(CONFIG_BLK_DEV_INITRD)) {
		boot_ranges[2].name = "the initrd";
		boot_ranges[2].base = phys_initrd_start;
		boot_ranges[2].size = phys_initrd_size;
	}
	return 0;
}
pure_initcall(memory_note_boot_ranges);

#ifdef DMA_WINDOW_CRASHK_RES
static bool memory_overlaps_resource(phys_addr_t base, phys_addr_t size,
				     const struct resource *res)
{
	return res->end &&
	       dma_window_overlaps(base, size, res->start, resource_size(res));
}
#endif

/**
 * dma_window_memory_check_free() - is nobody known to use a range of memory?
 * @dev: the device that is to have it, for messages
 * @ref: what names the range, for messages
 * @base: physical address, bytes
 * @size: bytes
 *
 * The regions of the device tree are left to dma_window_region_check().
 *
 * Context: may sleep.
 *
 * Return: 0; -EBUSY if somebody does; what dma_window_efi_check() returns. The
 * reason was logged.
 */
int dma_window_memory_check_free(struct device *dev,
				 const struct dma_window_ref *ref,
				 phys_addr_t base, phys_addr_t size)
{
	u64 rsv, rsv_size;
	int i, nr_rsv;

	for (i = 0; i < ARRAY_SIZE(boot_ranges); i++) {
		if (dma_window_overlaps(base, size, boot_ranges[i].base,
					boot_ranges[i].size)) {
			dma_window_err(dev, ref, "overlaps %s",
				       boot_ranges[i].name);
			return -EBUSY;
		}
	}
#ifdef DMA_WINDOW_CRASHK_RES
	if (memory_overlaps_resource(base, size, &crashk_res) ||
	    memory_overlaps_resource(base, size, &crashk_low_res)) {
		dma_window_err(dev, ref, "overlaps the crash kernel");
		return -EBUSY;
	}
#endif
	nr_rsv = initial_boot_params ? fdt_num_mem_rsv(initial_boot_params) : 0;
	for (i = 0; i < nr_rsv; i++) {
		if (fdt_get_mem_rsv(initial_boot_params, i, &rsv, &rsv_size) ||
		    !dma_window_overlaps(base, size, rsv, rsv_size))
			continue;
		dma_window_err(dev, ref, "overlaps the /memreserve/ of %#llx bytes at %#llx",
			       rsv_size, rsv);
		return -EBUSY;
	}
	return dma_window_efi_check(dev, ref, base, size);
}

/**
 * dma_window_memory_is_mapped_ram() - is a page RAM, and in the linear map?
 * @pfn: its number
 *
 * Context: any.
 *
 * Return: true if it is.
 */
bool dma_window_memory_is_mapped_ram(unsigned long pfn)
{
	return pfn_valid(pfn) && memblock_is_map_memory(PFN_PHYS(pfn)) &&
	       kernel_page_present(pfn_to_page(pfn));
}
