// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: which region a device names, and whether that region
 * is what it says.
 *
 * Trust nothing to have been checked before. A region that
 * of_reserved_mem_lookup() finds is only one whose node was parsed: its memory
 * may have been given back since, may never have been RAM, or may be somebody
 * else's as well, because memblock_reserve() does not mind an overlap.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/dma-window.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "window.h"

/*
 * Devices that name a restricted-dma-pool by memory-region, which mainline serves
 * by swiotlb, where it serves them:
 *	serve		served by windows where these can, else left to mainline
 *	strict		as with restricted-dma-region: served or refused, and looked
 *			for in the same places
 *	mainline	left to mainline
 */
enum pools_mode { POOLS_SERVE, POOLS_STRICT, POOLS_MAINLINE };

static const char * const pools_modes[] = {
	[POOLS_SERVE]		= "serve",
	[POOLS_STRICT]		= "strict",
	[POOLS_MAINLINE]	= "mainline",
};

static enum pools_mode pools;

/* Take what is misspelt for the mode that fails closed. */
static int pools_set(const char *val, const struct kernel_param *kp)
{
	int mode = sysfs_match_string(pools_modes, val ?: "");

	if (mode < 0) {
		pr_err("pools=%s: none of serve, strict and mainline: taken for strict\n",
		       val ?: "");
		mode = POOLS_STRICT;
	}
	pools = mode;
	return 0;
}

static int pools_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", pools_modes[pools]);
}

static const struct kernel_param_ops pools_ops = {
	.flags	= KERNEL_PARAM_OPS_FL_NOARG,
	.set	= pools_set,
	.get	= pools_get,
};
module_param_cb(pools, &pools_ops, NULL, 0400);
MODULE_PARM_DESC(pools,
		 "memory-region = <restricted-dma-pool>: serve it where possible, strict, or leave it to mainline");

/**
 * dma_window_is_pci_host() - is a node that of a PCI host bridge?
 * @node: the node, or NULL; not a PCI device's
 *
 * The same test as in of_bus_pci_match().
 *
 * Context: any.
 *
 * Return: true if @node is a host bridge's.
 */
bool dma_window_is_pci_host(const struct device_node *node)
{
	return node && (of_node_is_type(node, "pci") ||
			of_node_is_type(node, "pciex") ||
			of_node_name_eq(node, "pcie"));
}

/**
 * dma_window_is_virtio_node() - is a node that of a virtio device?
 * @node: the node
 *
 * The node is the only child of its transport's: see virtio_device_of_init().
 *
 * Context: any.
 *
 * Return: true if @node is, whatever kind of device the transport turns out to
 * have.
 */
bool dma_window_is_virtio_node(const struct device_node *node)
{
	struct property *prop;
	const char *compat;

	if (!node->parent || dma_window_is_pci_host(node->parent))
		return false;
	of_property_for_each_string(node, "compatible", prop, compat)
		if (str_has_prefix(compat, "virtio,device"))
			return true;
	return false;
}

static bool region_named(struct device_node *node, struct dma_window_ref *ref)
{
	if (!of_property_present(node, "restricted-dma-region"))
		return false;
	ref->prop = "restricted-dma-region";
	ref->holder = of_node_get(node);
	ref->region = of_parse_phandle(node, ref->prop, 0);
	return true;
}

/*
 * Find the restricted-dma-pool that @node names by memory-region: as in mainline,
 * the first one that is not disabled. If all are, find one all the same, for the
 * message.
 */
static enum dma_window_named pool_named(struct device_node *node,
					struct dma_window_ref *ref)
{
	int i, count = of_property_count_u32_elems(node, "memory-region");
	struct device_node *target, *pool = NULL;

	for (i = 0; i < count; i++) {
		target = of_parse_phandle(node, "memory-region", i);
		if (!target)
			continue;
		if (!of_device_is_compatible(target, "restricted-dma-pool") ||
		    (pool && !of_device_is_available(target))) {
			of_node_put(target);
			continue;
		}
		of_node_put(pool);
		pool = target;
		if (pools == POOLS_STRICT || of_device_is_available(pool))
			break;
	}
	if (!pool)
		return DMA_WINDOW_UNNAMED;

	ref->prop = "memory-region";
	ref->holder = of_node_get(node);
	ref->region = pool;
	ref->or_mainline = pools != POOLS_STRICT;
	switch (pools) {
	case POOLS_STRICT:
		return DMA_WINDOW_NAMED;
	case POOLS_MAINLINE:
		return DMA_WINDOW_MAINLINE;
	default:
		return DMA_WINDOW_POOL;
	}
}

/*
 * The node where mainline looks for memory-region: the device's own, or @np if
 * that has none at all. See of_dma_set_restricted_buffer().
 */
static struct device_node *pool_place(struct device *dev, struct device_node *np)
{
	return of_property_count_u32_elems(dev->of_node, "memory-region") > 0 ?
	       dev->of_node : np;
}

/*
 * Tell whether @node names a region for the devices it is responsible for.
 * @place: where a pool counts, unless that is everywhere
 */
static enum dma_window_named of_node_names_region(struct device_node *node,
						  const struct device_node *place,
						  struct dma_window_ref *ref)
{
	if (!node)
		return DMA_WINDOW_UNNAMED;
	if (region_named(node, ref))
		return DMA_WINDOW_NAMED;
	if (node != place && pools != POOLS_STRICT)
		return DMA_WINDOW_UNNAMED;
	return pool_named(node, ref);
}

/*
 * Look at the node of the virtio device on a transport before the transport's
 * own. Mainline reads no memory-region there.
 */
static enum dma_window_named own_node_names_region(struct device_node *node,
						   const struct device_node *place,
						   struct dma_window_ref *ref)
{
	struct device_node *child;

	for_each_available_child_of_node(node, child) {
		if (dma_window_is_virtio_node(child) && region_named(child, ref)) {
			of_node_put(child);
			return DMA_WINDOW_NAMED;
		}
	}
	return of_node_names_region(node, place, ref);
}

/*
 * Tell whether the device of a node is an IOMMU. Go by the word of the tree:
 * its cells, or an iommu-map that leads to the node. The VMM that the tree is
 * from answers the IOMMU's requests, and a window's room would depend on an
 * IOMMU that needs room in the window.
 */
static bool of_node_is_iommu(struct device_node *node)
{
	struct device_node *up;
	const __be32 *map;
	int len, at, width;
	bool found;

	if (!node)
		return false;
	found = of_property_present(node, "#iommu-cells");
	for (up = of_get_parent(node); up && node->phandle && !found;
	     up = of_get_next_parent(up)) {
		/* Entries: ID, phandle, what the IOMMU's cells say, count. */
		map = of_get_property(up, "iommu-map", &len);
		len = map ? len / sizeof(*map) : 0;
		for (at = 0; at + 3 <= len && !found; at += width) {
			width = dma_window_iommu_map_width(map, len, at);
			found = at + width <= len &&
				be32_to_cpu(map[at + 1]) == node->phandle;
		}
	}
	of_node_put(up);
	return found;
}

/*
 * PCI: the function's own node, that of the physical function it is a part of,
 * then the bridges above it, and last @np, the host bridge's.
 */
static enum dma_window_named pci_names_region(struct pci_dev *pdev,
					      struct device_node *np,
					      struct dma_window_ref *ref)
{
	struct device_node *place = pool_place(&pdev->dev, np);
	enum dma_window_named named;
	struct pci_bus *bus;

	named = own_node_names_region(pdev->dev.of_node, place, ref);
	if (named == DMA_WINDOW_UNNAMED)
		named = own_node_names_region(pci_physfn(pdev)->dev.of_node,
					      place, ref);
	/* An IOMMU inherits nothing: regions are for the devices behind it. */
	if (named == DMA_WINDOW_UNNAMED && of_node_is_iommu(pdev->dev.of_node))
		return DMA_WINDOW_UNNAMED;

	for (bus = pci_physfn(pdev)->bus;
	     named == DMA_WINDOW_UNNAMED && bus; bus = bus->parent) {
		if (bus->self)
			named = of_node_names_region(bus->self->dev.of_node,
						     place, ref);
		else
			named = of_node_names_region(bus->bridge->of_node,
						     place, ref);
	}
	if (named == DMA_WINDOW_UNNAMED)
		named = of_node_names_region(np, place, ref);

	/*
	 * A bridge names a region for the devices below it. A device says
	 * itself that it is a bridge, though, and drivers that match any kind
	 * of header may bind to it.
	 */
	if (named == DMA_WINDOW_NAMED && pci_is_bridge(pdev))
		return DMA_WINDOW_BRIDGE;

	return named;
}

/**
 * dma_window_tree_find() - find the property of the tree that names a device's region
 * @dev: the device
 * @np: the node that has its DMA configuration
 * @ref: filled unless the result is DMA_WINDOW_UNNAMED; release it with
 *	dma_window_ref_put() whatever the result
 *
 * The nearest node that names a region decides: that of the virtio device on a
 * transport, the device's own, then for PCI the topology upwards, else @np. On
 * one node, restricted-dma-region comes before memory-region, which counts where
 * mainline reads it only, unless dma_window.pools=strict.
 *
 * Context: may sleep.
 *
 * Return: what was found.
 */
enum dma_window_named dma_window_tree_find(struct device *dev,
					   struct device_node *np,
					   struct dma_window_ref *ref)
{
	struct device_node *place = pool_place(dev, np);
	enum dma_window_named named;

	if (dev_is_pci(dev))
		return pci_names_region(to_pci_dev(dev), np, ref);

	/* The host bridge itself is the platform's, not behind a backend. */
	if (dma_window_is_pci_host(dev->of_node))
		return pools == POOLS_STRICT ? DMA_WINDOW_UNNAMED :
					       pool_named(dev->of_node, ref);

	named = own_node_names_region(dev->of_node, place, ref);
	if (named == DMA_WINDOW_UNNAMED && np != dev->of_node)
		named = of_node_names_region(np, place, ref);

	return named;
}

static const struct reserved_mem_ops rmem_window_ops;

/**
 * dma_window_region_claimed() - has a region become a window?
 * @ref: where a device names the region
 *
 * Context: may sleep.
 *
 * Return: true if dma_window_region_claim() has succeeded for the region.
 */
bool dma_window_region_claimed(const struct dma_window_ref *ref)
{
	struct reserved_mem *rmem;

	rmem = ref->region ? of_reserved_mem_lookup(ref->region) : NULL;
	return rmem && READ_ONCE(rmem->ops) == &rmem_window_ops;
}

/*
 * Read iommu-map as of_iommu_configure() does. An IOMMU that the map names and
 * the tree does not have counts as one, an IOMMU that is disabled does not. An
 * ID that the map leaves out is not translated.
 */
static bool of_id_has_iommu(struct device_node *np, u32 id)
{
	struct device_node *iommu;
	bool mapped;

	if (!of_property_present(np, "iommu-map"))
		return false;
	if (dma_window_map_iommu_id(np, id, &iommu))
		return true;
	mapped = of_device_is_available(iommu);
	of_node_put(iommu);
	return mapped;
}

static int pci_alias_has_iommu(struct pci_dev *pdev, u16 alias, void *np)
{
	return of_id_has_iommu(np, alias);
}

#ifdef MODULE
/*
 * Kernels do not export pci_for_each_dma_alias(): take each bridge above the device for
 * an alias. That refuses a device whose own ID goes past an IOMMU that its bridge is behind.
 */
static bool pci_any_id_has_iommu(struct pci_dev *pdev, struct device_node *np)
{
	for (; pdev; pdev = pci_upstream_bridge(pdev)) {
		if (pci_alias_has_iommu(pdev, pci_dev_id(pdev), np))
			return true;
		if (pdev->subordinate &&
		    pci_alias_has_iommu(pdev, PCI_DEVID(pdev->subordinate->number, 0), np))
			return true;
	}
	return false;
}
#else
static bool pci_any_id_has_iommu(struct pci_dev *pdev, struct device_node *np)
{
	return pci_for_each_dma_alias(pdev, pci_alias_has_iommu, np);
}
#endif

/**
 * dma_window_iommu_named() - does the tree put a device behind an IOMMU?
 * @dev: the device
 * @np: the node that has its DMA configuration
 * @id: input ID of @dev for the iommu-map of @np; NULL for PCI, where the IDs
 *	are known, and if @np has iommus instead
 *
 * When an IOMMU of the tree has no driver, of_iommu_configure() returns the
 * same errors as for a tree without an IOMMU, and frees the device's fwspec.
 *
 * Context: may sleep.
 *
 * Return: true if at least one ID of @dev is to be translated, or if that
 * cannot be told because the property is malformed.
 */
bool dma_window_iommu_named(struct device *dev, struct device_node *np,
			    const u32 *id)
{
	struct of_phandle_iterator it;
	int err;

	if (dev_is_pci(dev))
		return pci_any_id_has_iommu(to_pci_dev(dev), np);
	if (id)
		return of_id_has_iommu(np, *id);

	of_for_each_phandle(&it, err, np, "iommus", "#iommu-cells", -1) {
		if (it.node && of_device_is_available(it.node)) {
			of_node_put(it.node);
			return true;
		}
	}
	/* Count a dangling phandle as an IOMMU. */
	return err != -ENOENT;
}

/* Check that restricted-dma-region is one phandle of a node. */
static int region_check_phandle(struct device *dev,
				const struct dma_window_ref *ref)
{
	struct property *prop = of_find_property(ref->holder, ref->prop, NULL);

	if (!prop || prop->length != sizeof(u32)) {
		dma_window_err(dev, ref, "the property has %d bytes, it must be one phandle",
			       prop ? prop->length : 0);
		return -EINVAL;
	}
	if (!ref->region) {
		dma_window_err(dev, ref, "dangling phandle %#x",
			       be32_to_cpup(prop->value));
		return -EINVAL;
	}
	return 0;
}

/* Check that a child of /reserved-memory is not put aside for somebody else. */
static int region_check_owner(struct device *dev, const struct dma_window_ref *ref,
			      struct device_node *region)
{
	const char *compat;

	if (of_property_present(region, "reusable")) {
		dma_window_err(dev, ref, "is reusable: others may use its memory");
		return -EINVAL;
	}
	if (of_property_present(region, "linux,cma-default") ||
	    of_property_present(region, "linux,dma-default")) {
		dma_window_err(dev, ref, "is a system-wide default pool");
		return -EINVAL;
	}
	if (!of_property_read_string(region, "compatible", &compat) &&
	    !of_device_is_compatible(region, "restricted-dma-pool")) {
		dma_window_err(dev, ref, "is a \"%s\": it belongs to another user",
			       compat);
		return -EINVAL;
	}
	return 0;
}

/* Check that the property is well-formed, and its target a region at all. */
static int region_check_properties(struct device *dev,
				   const struct dma_window_ref *ref)
{
	struct device_node *region = ref->region;
	struct device_node *root;
	bool child;

	if (of_node_is_iommu(ref->holder)) {
		dma_window_err(dev, ref, "the device is an IOMMU, which cannot be confined");
		return -EPERM;
	}
	if (!strcmp(ref->prop, "restricted-dma-region") &&
	    region_check_phandle(dev, ref))
		return -EINVAL;

	root = of_find_node_by_path("/reserved-memory");
	child = root && region->parent == root;
	of_node_put(root);
	if (!child) {
		dma_window_err(dev, ref, "is not a child of /reserved-memory");
		return -EINVAL;
	}

	if (!of_device_is_available(region)) {
		dma_window_err(dev, ref, "is disabled");
		return -ENODEV;
	}
	if (of_property_present(region, "no-map")) {
		dma_window_err(dev, ref, "is no-map: the kernel cannot copy through it");
		return -EINVAL;
	}
	return region_check_owner(dev, ref, region);
}

/* Bytes of one entry of the reg of a child of /reserved-memory. */
static int region_reg_bytes(struct device_node *child)
{
	return (of_n_addr_cells(child) + of_n_size_cells(child)) *
	       sizeof(__be32);
}

static void region_read_reg(struct device_node *child, const __be32 *reg,
			    phys_addr_t *base, phys_addr_t *size)
{
	int na = of_n_addr_cells(child);

	*base = of_read_number(reg, na);
	*size = of_read_number(reg + na, of_n_size_cells(child));
}

/*
 * Check that all devices that name a pool are coherent. swiotlb serves those
 * that are not, and the memory cannot be its and a window's.
 */
static int pool_check_users(struct device *dev, const struct dma_window_ref *ref)
{
	struct device_node *node;

	for_each_node_with_property(node, "memory-region") {
		struct dma_window_ref other = {};
		bool coherent = true;

		if (of_device_is_available(node) &&
		    pool_named(node, &other) != DMA_WINDOW_UNNAMED)
			coherent = other.region != ref->region ||
				   of_dma_is_coherent(node);
		dma_window_ref_put(&other);
		if (!coherent) {
			dma_window_err(dev, ref, "is also the pool of %pOF, which is not dma-coherent",
				       node);
			of_node_put(node);
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

/* Find the region: the node and what was set up at boot must agree. */
static int region_check_place(struct device *dev,
			      const struct dma_window_ref *ref,
			      phys_addr_t *base, phys_addr_t *size)
{
	struct device_node *region = ref->region;
	struct reserved_mem *rmem;
	const __be32 *reg;
	int len;

	reg = of_get_property(region, "reg", &len);
	if (reg) {
		if (len != region_reg_bytes(region)) {
			dma_window_err(dev, ref, "reg has %d bytes, it must be one entry of %d",
				       len, region_reg_bytes(region));
			return -EINVAL;
		}
		region_read_reg(region, reg, base, size);
		if (!*size) {
			dma_window_err(dev, ref, "its size is zero");
			return -EINVAL;
		}
	} else if (!of_property_present(region, "size")) {
		dma_window_err(dev, ref, "has neither reg nor size");
		return -EINVAL;
	}

	rmem = of_reserved_mem_lookup(region);
	if (!rmem || !rmem->size) {
		dma_window_err(dev, ref, "was not reserved at boot");
		return -EINVAL;
	}
	if (!rmem->ops && IS_ENABLED(CONFIG_DMA_RESTRICTED_POOL) &&
	    of_device_is_compatible(region, "restricted-dma-pool")) {
		/* The memory may be the kernel's own by now, and reserved. */
		dma_window_err(dev, ref, "could not be set up at boot, its memory was given back");
		return -EINVAL;
	}
	if (!reg) {
		*base = rmem->base;
		*size = rmem->size;
	} else if (rmem->base != *base || rmem->size != *size) {
		/* The lookup is by name: @rmem is some other node's entry. */
		dma_window_err(dev, ref, "reserved at boot as %pa, %pa bytes, but now says %pa, %pa bytes",
			       &rmem->base, &rmem->size, base, size);
		return -EINVAL;
	}

	return dma_window_check_range(dev, ref, *base, *size);
}

static bool region_child_overlaps(struct device_node *child, phys_addr_t base,
				  phys_addr_t size)
{
	struct reserved_mem *rmem = of_reserved_mem_lookup(child);
	phys_addr_t other, other_size;
	const __be32 *reg;
	int len;

	if (rmem && dma_window_overlaps(base, size, rmem->base, rmem->size))
		return true;

	/* The lookup knows the first entry of reg only. */
	reg = of_get_property(child, "reg", &len);
	for (; reg && len >= region_reg_bytes(child);
	     len -= region_reg_bytes(child)) {
		region_read_reg(child, reg, &other, &other_size);
		if (dma_window_overlaps(base, size, other, other_size))
			return true;
		reg += region_reg_bytes(child) / sizeof(*reg);
	}
	return false;
}

/* Check that the memory of a region is in no other child of /reserved-memory. */
static int region_check_overlap(struct device *dev, struct device_node *region,
				const struct dma_window_ref *ref,
				phys_addr_t base, phys_addr_t size)
{
	struct device_node *child;

	for_each_available_child_of_node(region->parent, child) {
		if (child == region ||
		    !region_child_overlaps(child, base, size))
			continue;
		dma_window_err(dev, ref, "overlaps %pOF", child);
		of_node_put(child);
		return -EBUSY;
	}
	return 0;
}

/* The child of /reserved-memory that has put aside all of a range, or NULL. */
static struct device_node *region_holding(phys_addr_t base, phys_addr_t size)
{
	struct device_node *root = of_find_node_by_path("/reserved-memory");
	struct device_node *child;
	struct reserved_mem *rmem;

	for_each_available_child_of_node(root, child) {
		rmem = of_reserved_mem_lookup(child);
		if (rmem && rmem->base <= base && size <= rmem->size &&
		    base - rmem->base <= rmem->size - size)
			break;
	}
	of_node_put(root);
	return child;
}

/**
 * dma_window_region_check_holder() - does the tree put aside a range of memory?
 * @dev: the device that is to have the range, for messages
 * @ref: what names the range, other than the tree
 * @base: physical address, bytes
 * @size: bytes
 *
 * Context: may sleep.
 *
 * Return: 0 if one child of /reserved-memory does, for nobody else; -ENOENT if
 * none does, with no message; -EINVAL or -EBUSY if it is for somebody else.
 */
int dma_window_region_check_holder(struct device *dev,
				   const struct dma_window_ref *ref,
				   phys_addr_t base, phys_addr_t size)
{
	struct device_node *region = region_holding(base, size);
	int ret = 0;

	if (!region)
		return -ENOENT;
	/* Mainline would make a pool of it for whoever names it by memory-region. */
	if (of_device_is_compatible(region, "restricted-dma-pool")) {
		dma_window_err(dev, ref, "is in %pOF, a restricted-dma-pool", region);
		ret = -EBUSY;
	}
	if (!ret)
		ret = region_check_owner(dev, ref, region);
	if (!ret)
		ret = region_check_overlap(dev, region, ref, base, size);
	of_node_put(region);
	return ret;
}

/**
 * dma_window_region_check() - does the tree say that a region is fit for a window?
 * @dev: the device that names the region, for messages
 * @ref: where @dev names the region
 * @base: filled with the region's physical address, bytes
 * @size: filled with its size, bytes
 *
 * For each device, at each probe: an overlay may have changed the tree.
 *
 * Context: may sleep.
 *
 * Return: 0; -EINVAL if the tree is malformed; -ENODEV if the region is disabled;
 * -ENOSPC if it is too small; -EBUSY if its memory is another's; -EPERM if the
 * device is an IOMMU; what dma_window_efi_check() returns. The reason was logged.
 */
int dma_window_region_check(struct device *dev,
			    const struct dma_window_ref *ref,
			    phys_addr_t *base, phys_addr_t *size)
{
	int ret;

	if (ref->conflict) {
		dma_window_err(dev, ref, "the device is named by %s, too",
			       ref->conflict);
		return -EINVAL;
	}
	ret = region_check_properties(dev, ref);
	if (!ret)
		ret = region_check_place(dev, ref, base, size);
	if (!ret)
		ret = dma_window_memory_check_free(dev, ref, *base, *size);
	if (!ret)
		ret = region_check_overlap(dev, ref->region, ref, *base, *size);

	return ret;
}

/**
 * dma_window_region_check_memory() - is the memory fit that is to be a window?
 * @dev: the device that names the region, for messages
 * @ref: where @dev names the region
 * @base: what dma_window_region_check() says
 * @size: the same
 *
 * Look at every page, once per window: the pages of a region that was claimed
 * stay reserved.
 *
 * Context: may sleep.
 *
 * Return: 0; -EINVAL if the memory is not mapped RAM; -EBUSY if the kernel uses it;
 * -EOPNOTSUPP if the region is a pool that swiotlb has to serve. The reason was
 * logged.
 */
int dma_window_region_check_memory(struct device *dev,
				   const struct dma_window_ref *ref,
				   phys_addr_t base, phys_addr_t size)
{
	int ret = 0;

	if (ref->or_mainline)
		ret = pool_check_users(dev, ref);

	return ret ?: dma_window_check_pages(dev, ref, base, size);
}

static int region_rmem_device_init(struct reserved_mem *rmem,
				   struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	/* The window is attached already; there is nothing to add. */
	if (client && !strcmp(client->win->name, rmem->name))
		return 0;

	dev_err(dev, "%s is a DMA window and cannot be used otherwise\n",
		rmem->name);
	return -EBUSY;
}

static const struct reserved_mem_ops rmem_window_ops = {
	.device_init = region_rmem_device_init,
};

/**
 * dma_window_region_claim() - keep other users off a region
 * @dev: the device that names the region, for messages
 * @ref: where @dev names the region, which was checked
 * @old: filled for dma_window_region_unclaim()
 *
 * A driver that calls of_reserved_mem_device_init() itself would make swiotlb
 * set up, and zero, a pool of its own in the same memory.
 *
 * Context: dma_window_mutex held.
 *
 * Return: 0, or -EBUSY if swiotlb has such a pool already.
 */
int dma_window_region_claim(struct device *dev,
			    const struct dma_window_ref *ref,
			    const struct reserved_mem_ops **old)
{
	struct reserved_mem *rmem = of_reserved_mem_lookup(ref->region);

	lockdep_assert_held(&dma_window_mutex);

	if (!rmem || rmem->priv) {
		dma_window_err(dev, ref, "is in use as a swiotlb pool");
		return -EBUSY;
	}
	*old = rmem->ops;
	WRITE_ONCE(rmem->ops, &rmem_window_ops);
	return 0;
}

/**
 * dma_window_region_unclaim() - undo dma_window_region_claim()
 * @region: the region's node; no window is made of it any more
 * @old: from dma_window_region_claim()
 *
 * Context: may sleep.
 */
void dma_window_region_unclaim(struct device_node *region,
			       const struct reserved_mem_ops *old)
{
	struct reserved_mem *rmem = of_reserved_mem_lookup(region);

	if (rmem && rmem->ops == &rmem_window_ops)
		WRITE_ONCE(rmem->ops, old);
}
