// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: attaching devices to windows.
 *
 * Attach from of_dma_configure_id(), at every probe, in two steps: before
 * anything can return early, give a device that names a region operations that
 * refuse everything; give it those of its window only when all is well.
 * Whatever goes wrong, and whether or not the caller looks at the error, the
 * device does no DMA outside its region (I2).
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/device.h>
#include <linux/dma-window.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "window.h"

/**
 * dma_window_of_begin() - before a device's DMA is configured
 * @dev: the device
 * @np: the node that has its DMA configuration
 * @force_dma: whether DMA is to be configured if firmware does not ask for it
 *
 * Evaluates the device's firmware nodes afresh. A device that names a region
 * can do no DMA from here on until dma_window_of_attach() succeeds.
 *
 * Context: may sleep; called before the device's driver is probed.
 *
 * Return: @force_dma, or true if a region is named: then configuration must not
 * be cut short.
 */
bool dma_window_of_begin(struct device *dev, struct device_node *np,
			 bool force_dma)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;

	named = dma_window_ref_find(dev, np, &ref);
	dma_window_ref_put(&ref);

	if (named == DMA_WINDOW_UNNAMED && !dma_window_attached(dev))
		return force_dma;

	/* Enable for mainline's pool, too: see dma_window_virtio_confined(). */
	static_branch_enable(&dma_window_key);

	/* Wait for attach to tell whether mainline has to serve the device. */
	if (named == DMA_WINDOW_POOL)
		return force_dma;
	if (named == DMA_WINDOW_BRIDGE) {
		dma_window_deny(dev);
		return force_dma;
	}
	if (named == DMA_WINDOW_NAMED) {
		/*
		 * Leave foreign operations for attach to find and refuse, and if
		 * no attach follows, a window that a driver may have by now.
		 */
		if (!dma_window_has_foreign_ops(dev) &&
		    !(dma_window_is_early(dev) && __dma_window_attached(dev)))
			dma_window_deny(dev);
		return true;
	}

	if (__dma_window_attached(dev) && !dma_window_is_early(dev)) {
		/* The device had a region, and the property is gone. */
		struct dma_window_client *client = dma_window_client_of(dev);

		/* An untrusted device never had a region. */
		if (client && client->win->group)
			return force_dma;
		dma_window_let_go(dev);
	}
	return force_dma;
}

/* Refuse a device that cannot have a window, whatever its region. */
static int attach_check_device(struct device *dev,
			       const struct dma_window_ref *ref,
			       struct device_node *np, const u32 *id,
			       int iommu_err, bool *behind_iommu)
{
	int ret;

	if (dma_window_has_foreign_ops(dev)) {
		dma_window_err(dev, ref, "the device has other DMA operations already");
		return -EBUSY;
	}
	if (!dev_is_dma_coherent(dev)) {
		dma_window_err(dev, ref, "the device is not dma-coherent, which windows do not support");
		return -EOPNOTSUPP;
	}
#ifdef CONFIG_DMA_DECLARE_COHERENT
	if (dev->dma_mem) {
		dma_window_err(dev, ref, "the device has coherent memory of its own");
		return -EBUSY;
	}
#endif
	/* Refuse where mainline would carry on without translation, or a pool. */
	if (iommu_err && !ref->or_mainline &&
	    dma_window_iommu_named(dev, np, id)) {
		dma_window_err(dev, ref, "its IOMMU is not there");
		return -ENODEV;
	}
	ret = dma_window_iommu_check(dev, ref, behind_iommu);
	if (!ret && *behind_iommu && ref->source) {
		/* Members of a group are compared by the tree. */
		dma_window_err(dev, ref, "the device is behind an IOMMU: name its window in the device tree");
		ret = -EOPNOTSUPP;
	}
	return ret;
}

/* The window of @group, or a new one of @size bytes. */
static struct dma_window *group_window_get(struct device *dev,
					   const struct dma_window_ref *ref,
					   struct iommu_group *group, size_t size)
{
	struct dma_window *win;
	const char *name;
	void *vaddr;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	list_for_each_entry(win, &dma_window_list, list)
		if (win->group == group)
			return win;

	vaddr = dma_window_untrusted_alloc(dev, size);
	if (!vaddr)
		return ERR_PTR(-ENOMEM);
	name = kasprintf(GFP_KERNEL, "untrusted-%d", iommu_group_id(group));
	win = name ? dma_window_new(virt_to_phys(vaddr), size, vaddr, name) : NULL;
	if (!win) {
		kfree(name);
		dma_window_untrusted_free(vaddr, size);
		return ERR_PTR(-ENOMEM);
	}
	win->group = iommu_group_get(dev);
	ret = dma_window_share(dev, ref, win);
	if (!ret)
		return win;
	/* Memory that may be shared with the host is not used again. */
	iommu_group_put(win->group);
	dma_window_destroy(win);
	return ERR_PTR(ret);
}

/*
 * Give a device that names no region a window all the same, if it is untrusted
 * and the kernel was told to. See untrusted.c.
 */
static int attach_untrusted(struct device *dev)
{
	static const struct dma_window_ref ref = { .prop = "dma_window.untrusted" };
	phys_addr_t size = dma_window_untrusted_size(dev);
	struct iommu_group *group;
	bool exposed;
	struct dma_window *win;
	int ret;

	/* Its IOMMU domain may be one that windows are not for by now. */
	if (!size)
		return dma_window_client_of(dev) ? dma_window_let_go(dev) : 0;
	group = iommu_group_get(dev);
	if (!group)
		return 0;
	static_branch_enable(&dma_window_key);

	mutex_lock(&dma_window_mutex);
	exposed = dma_window_iommu_exposed(dev);
	win = exposed ? ERR_PTR(-EIO) : group_window_get(dev, &ref, group, size);
	ret = PTR_ERR_OR_ZERO(win);
	if (!ret) {
		/* Hold the window: the old client may be its last one. */
		win->users++;
		ret = dma_window_client_attach(dev, &ref, win, true);
		if (!--win->users)
			dma_window_gone(win);
	}
	if (!ret)
		dma_window_announce_late(win);
	mutex_unlock(&dma_window_mutex);
	iommu_group_put(group);

	if (!ret) {
		dma_window_serve(dev, win, true);
		return 0;
	}
	/* Deny the device: dma-iommu could not undo its mappings. */
	if (dma_window_client_of(dev) || exposed)
		return dma_window_refuse(dev, ret);
	/* The domain may be exposed by now, if an old client was reclaimed. */
	if (__dma_window_attached(dev) && dma_window_let_go(dev))
		return -EIO;
	dev_warn(dev, "untrusted, but has no window of its own (error %d): swiotlb serves it\n",
		 ret);
	return 0;
}

/*
 * Hold the device's IOMMU group, so that its domain stays what it is until the
 * operations are set. A later change of domain finds the operations: see
 * dma_window_iommu_setup(). Hold the group only for devices that are to have
 * such a window, or have one: while a group is held, VFIO cannot have it.
 */
static int attach_untrusted_held(struct device *dev)
{
	int ret;

	if (!dma_window_untrusted_asked(dev) &&
	    (!static_branch_unlikely(&dma_window_key) ||
	     !dma_window_client_of(dev)))
		return 0;
	ret = dma_window_domain_hold(dev);
	if (ret)
		return ret == -EPROBE_DEFER ? ret : 0;
	ret = attach_untrusted(dev);
	dma_window_domain_release(dev);
	return ret;
}

/* Attach a device that names a region, with its IOMMU group, if any, held. */
static int attach_region(struct device *dev, const struct dma_window_ref *ref,
			 struct device_node *np, const u32 *id, int iommu_err)
{
	struct dma_window *win;
	bool behind_iommu;
	int ret;

	/* Check without dma_window_mutex: the IOMMU group's mutex is taken. */
	ret = attach_check_device(dev, ref, np, id, iommu_err,
				  &behind_iommu);
	if (ret)
		return ret;
	mutex_lock(&dma_window_mutex);
	win = dma_window_get(dev, ref);
	ret = PTR_ERR_OR_ZERO(win);
	if (!ret)
		ret = dma_window_client_attach(dev, ref, win, behind_iommu);
	if (ret == -ENOMEM)
		dma_window_err(dev, ref, "no memory for its records");
	if (!ret)
		dma_window_announce_late(win);
	mutex_unlock(&dma_window_mutex);
	if (ret)
		return ret;

	dma_window_serve(dev, win, behind_iommu);
	return 0;
}

/* The same, holding the group: see attach_untrusted_held(). */
static int attach_region_held(struct device *dev, const struct dma_window_ref *ref,
			      struct device_node *np, const u32 *id,
			      int iommu_err)
{
	int ret = dma_window_domain_hold(dev);

	if (!ret) {
		ret = attach_region(dev, ref, np, id, iommu_err);
		dma_window_domain_release(dev);
	} else if (ret != -EPROBE_DEFER) {
		dma_window_err(dev, ref, "its IOMMU group is in use by somebody else");
		ret = -EBUSY;
	}
	return ret;
}

/* Attach a device that names no region, or one that is left to mainline. */
static int attach_unnamed(struct device *dev)
{
	struct dma_window_client *client;
	const char *other;

	if (!static_branch_unlikely(&dma_window_key))
		return attach_untrusted_held(dev);
	/* dma_window_of_begin() left the device denied: see there. */
	client = dma_window_client_of(dev);
	if (dma_window_attached(dev) && !(client && client->win->group)) {
		dev_err(dev, "names no restricted-dma-region any more\n");
		return -EBUSY;
	}
	/* Mappings of dma-iommu would be in reach of both devices. */
	other = dma_window_iommu_group_conflict(dev, NULL);
	if (other) {
		dev_err(dev, "shares its IOMMU group with %s, which names a restricted-dma-region\n",
			other);
		return dma_window_refuse(dev, -EBUSY);
	}
	return attach_untrusted_held(dev);
}

/* Tell whether a device is between others and a pool, and needs none itself. */
static bool dev_is_bridge(struct device *dev)
{
	return dev_is_pci(dev) ? pci_is_bridge(to_pci_dev(dev)) :
				 dma_window_is_pci_host(dev->of_node);
}

/*
 * Make a window of the pool that a bridge names, before mainline makes a pool of
 * the bridge's own. A PCI bridge does no DMA then, a host bridge does its own.
 */
static int attach_pool_bridge(struct device *dev, const struct dma_window_ref *ref)
{
	struct dma_window *win = ERR_PTR(-EOPNOTSUPP);

	if (dev_is_dma_coherent(dev)) {
		mutex_lock(&dma_window_mutex);
		win = dma_window_get(dev, ref);
		mutex_unlock(&dma_window_mutex);
	} else {
		dma_window_err(dev, ref, "the device is not dma-coherent, which windows do not support");
	}
	if (!IS_ERR(win) && dev_is_pci(dev))
		dma_window_deny(dev);
	return PTR_ERR_OR_ZERO(win);
}

/*
 * Attach a device that names a restricted-dma-pool to a window, or leave the
 * device and the pool to mainline, which serves it unless it is behind an IOMMU.
 * Refuse a device of a pool that has become a window of others.
 */
static int attach_pool(struct device *dev, struct dma_window_ref *ref, bool serve,
		       struct device_node *np, const u32 *id, int iommu_err)
{
	int ret = -EOPNOTSUPP;

	if (serve && !iommu_err)
		dev_info(dev, "%s: %pOF: the device is behind an IOMMU: left to mainline\n",
			 ref->prop, ref->region);
	else if (serve && dev_is_bridge(dev))
		ret = attach_pool_bridge(dev, ref);
	else if (serve)
		ret = attach_region_held(dev, ref, np, id, iommu_err);
	else if (iommu_err && dma_window_region_claimed(ref))
		dma_window_err(dev, ref, "is a window, which mainline cannot serve");
	if (!ret || ret == -EPROBE_DEFER)
		return ret;
	if (iommu_err && dma_window_region_claimed(ref))
		return dma_window_refuse(dev, ret);

	if (dma_window_attached(dev) && dma_window_let_go(dev))
		return -EIO;
	return attach_unnamed(dev);
}

/**
 * dma_window_of_attach() - confine a device to the region that it names
 * @dev: the device, its DMA otherwise configured
 * @np: the node that has its DMA configuration
 * @id: input ID of @dev, if @np has an iommu-map for it and @dev is no PCI
 *	device
 * @iommu_err: what of_iommu_configure() returned for @dev
 *
 * Context: may sleep; called before the device's driver is probed. Takes
 * dma_window_mutex, and, if @dev names a region, the device's IOMMU group for as
 * long as it runs.
 *
 * Return: 0 if the device has its window, names no region, or is left to
 * mainline: see dma_window_leaves_pool(); -EPROBE_DEFER, with no message, if its
 * IOMMU, or IOMMU group, is still being set up. Otherwise an error, with which the device's
 * probe must fail, and the reason was logged: -EINVAL, -ENODEV, -ENOSPC, -EBUSY
 * or -EPERM from dma_window_region_check() and dma_window_region_check_memory();
 * -EOPNOTSUPP, -ENODEV or -EBUSY from dma_window_iommu_check(); -ENODEV if the
 * tree puts the device behind an IOMMU that is not there; -EBUSY if its IOMMU
 * group is in use, or if the device has DMA operations or coherent memory of
 * its own; -EOPNOTSUPP if the device is not coherent; -ENXIO if it cannot reach
 * the region; -EIO if its IOMMU domain leads to memory of others; -EFBIG,
 * -ENOMEM. Whatever the error, a device that names a region can do no DMA.
 */
int dma_window_of_attach(struct device *dev, struct device_node *np,
			 const u32 *id, int iommu_err)
{
	struct dma_window_ref ref = {};
	enum dma_window_named named;
	int ret = 0;

	named = dma_window_ref_find(dev, np, &ref);
	/* Leave it denied, and to nobody, until its IOMMU is there or is not. */
	if (dma_window_is_early(dev)) {
		dma_window_ref_put(&ref);
		return named == DMA_WINDOW_UNNAMED ? 0 : -EPROBE_DEFER;
	}
	switch (named) {
	case DMA_WINDOW_NAMED:
		ret = attach_region_held(dev, &ref, np, id, iommu_err);
		if (ret && ret != -EPROBE_DEFER)
			dma_window_refuse(dev, ret);
		break;
	case DMA_WINDOW_BRIDGE:
		/* Deny again, should DMA have been configured meanwhile. */
		dma_window_deny(dev);
		break;
	case DMA_WINDOW_POOL:
	case DMA_WINDOW_MAINLINE:
		ret = attach_pool(dev, &ref, named == DMA_WINDOW_POOL, np, id,
				  iommu_err);
		break;
	case DMA_WINDOW_UNNAMED:
		ret = attach_unnamed(dev);
		break;
	}
	dma_window_ref_put(&ref);
	return ret;
}
