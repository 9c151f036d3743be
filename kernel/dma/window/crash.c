// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: regions in a crash kernel.
 *
 * A crash kernel has the memory of linux,usable-memory-range only, which is the
 * one that the kernel before it has set apart. Regions are elsewhere: the host
 * shares these and no others. Keep them, mapped and reserved, so that a device
 * with a region can be written a vmcore to. The kernel that crashed kept nothing
 * in a region but what its devices could see.
 */

#include <linux/dma-window.h>
#include <linux/init.h>
#include <linux/libfdt.h>
#include <linux/memblock.h>
#include <linux/of_fdt.h>
#include <linux/string.h>

/* Tell whether a device names the node with this phandle. */
static bool __init flat_region_named(u32 phandle)
{
	const void *fdt = initial_boot_params;
	const __be32 *prop;
	int node, len;

	for (node = fdt_next_node(fdt, -1, NULL); node >= 0;
	     node = fdt_next_node(fdt, node, NULL)) {
		prop = fdt_getprop(fdt, node, "restricted-dma-region", &len);
		if (prop && len == sizeof(*prop) && be32_to_cpup(prop) == phandle)
			return true;
	}
	return false;
}

/* Tell whether a child of /reserved-memory is a region, and where. */
static bool __init flat_node_is_region(int node, phys_addr_t *base,
				       phys_addr_t *size)
{
	const void *fdt = initial_boot_params;
	u32 phandle = fdt_get_phandle(fdt, node);
	const char *status = fdt_getprop(fdt, node, "status", NULL);
	const __be32 *reg;
	int len;

	if ((status && strcmp(status, "okay") && strcmp(status, "ok")) ||
	    fdt_getprop(fdt, node, "no-map", NULL) ||
	    fdt_getprop(fdt, node, "reusable", NULL))
		return false;
	if (fdt_node_check_compatible(fdt, node, "restricted-dma-pool") &&
	    (!phandle || !flat_region_named(phandle)))
		return false;
	reg = fdt_getprop(fdt, node, "reg", &len);
	if (!reg || len != (dt_root_addr_cells + dt_root_size_cells) * sizeof(*reg))
		return false;
	*base = dt_mem_next_cell(dt_root_addr_cells, &reg);
	*size = dt_mem_next_cell(dt_root_size_cells, &reg);
	return *size && *base + *size > *base &&
	       PAGE_ALIGNED(*base) && PAGE_ALIGNED(*size);
}

/**
 * dma_window_keep_regions() - keep regions when memory is capped
 * @capped: false before, true after memblock_cap_memory_range()
 *
 * The cap leaves memory alone that is not mapped: mark that of regions so, as far
 * as it is memory at all, then have it mapped again, and reserved before anybody
 * can allocate it.
 *
 * Context: early in the boot of a kernel with linux,usable-memory-range.
 */
void __init dma_window_keep_regions(bool capped)
{
	const void *fdt = initial_boot_params;
	int parent = fdt_path_offset(fdt, "/reserved-memory"), node;
	phys_addr_t base, size;

	if (parent < 0)
		return;
	fdt_for_each_subnode(node, fdt, parent) {
		if (!flat_node_is_region(node, &base, &size))
			continue;
		if (!capped) {
			memblock_mark_nomap(base, size);
			continue;
		}
		memblock_reserve(base, size);
		memblock_clear_nomap(base, size);
	}
}
