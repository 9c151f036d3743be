// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: which devices behind an IOMMU have a window, and how
 * windows and IOMMU domains come together and part. The mappings of such a
 * device are in iommu.c.
 *
 * Lock order, in addition to window.h:
 *   iommu group's mutex	held by the callers of dma_window_domain_gone() and
 *				dma_window_iommu_setup(), taken by the check of the
 *				group's members
 *     dma_window_mutex		so nothing under it may take a group's mutex
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/amba/bus.h>
#include <linux/arm-smccc.h>
#include <linux/cc_platform.h>
#include <linux/dma-window.h>
#include <linux/error-injection.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#ifdef CONFIG_ARM64
#include <asm/hypervisor.h>
#endif

#include "iommu.h"

/* Windows in domains; list and @domain are under dma_window_mutex. */
static LIST_HEAD(domains);

struct members {
	struct device			*dev;
	const struct device_node	*region;
	const char			*other;
};

/* The node that of_dma_configure_id() is called with. */
static struct device_node *dma_node(struct device *dev)
{
	struct device *bridge;

	if (!dev_is_pci(dev))
		return dev->of_node;
	bridge = &pci_find_host_bridge(to_pci_dev(dev)->bus)->dev;
	return bridge->parent ? bridge->parent->of_node : NULL;
}

/* Tell whether another member of the group goes by a different region. */
static int member_differs(struct device *dev, void *data)
{
	struct members *members = data;
	struct dma_window_ref ref = {};
	enum dma_window_named named;
	bool differs;

	if (dev == members->dev)
		return 0;
	/* Bridges do no DMA of their own; one that names a region is denied. */
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return 0;

	named = dma_window_tree_find(dev, dma_node(dev), &ref);
	differs = (named == DMA_WINDOW_NAMED ? ref.region : NULL) !=
		  members->region;
	dma_window_ref_put(&ref);
	if (differs)
		members->other = dev_name(dev);
	return differs;
}

/**
 * dma_window_iommu_group_conflict() - who shares a device's domain, but not its region
 * @dev: the device
 * @region: the region that @dev names, or NULL if it names none
 *
 * All members of an IOMMU group can reach what one of them has mapped.
 *
 * Context: may sleep. Takes the group's mutex.
 *
 * Return: the name of a member of @dev's group that names another region, or
 * none, or, if @region is NULL, that names one; NULL if there is no such
 * member.
 */
const char *dma_window_iommu_group_conflict(struct device *dev,
					    const struct device_node *region)
{
	struct members members = { .dev = dev, .region = region };
	struct iommu_group *group = iommu_group_get(dev);

	if (!group)
		return NULL;
	iommu_group_for_each_dev(group, &members, member_differs);
	iommu_group_put(group);
	return members.other;
}

/* VFIO and the like put the device into domains of their own. */
static bool driver_manages_dma(struct device *dev)
{
	if (!dev->driver)
		return false;
	if (dev_is_pci(dev))
		return to_pci_driver(dev->driver)->driver_managed_dma;
	if (dev_is_platform(dev))
		return to_platform_driver(dev->driver)->driver_managed_dma;
#ifdef CONFIG_ARM_AMBA
	if (dev->bus == &amba_bustype)
		return container_of_const(dev->driver, struct amba_driver,
					  drv)->driver_managed_dma;
#endif
	/* Other buses have such drivers as well. */
	return true;
}

/* Addresses that a device has translated by itself pass the IOMMU. */
static bool has_ats(struct device *dev)
{
#ifdef CONFIG_PCI_ATS
	return dev_is_pci(dev) && to_pci_dev(dev)->ats_enabled;
#else
	return false;
#endif
}

/**
 * dma_window_granule_unfit_reason() - can a window be mapped in units of this IOMMU?
 * @pgsize_bitmap: the IOMMU's page sizes, bytes; at least one
 *
 * Context: any.
 *
 * Return: NULL, or why not.
 */
const char *dma_window_granule_unfit_reason(unsigned long pgsize_bitmap)
{
	unsigned long granule = 1UL << __ffs(pgsize_bitmap);

	if (granule > PAGE_SIZE)
		return "the granule of its IOMMU is larger than a page";
	/* Slots stand in for granules: see dma_window_stand_in_get(). */
	if (granule < DMA_WINDOW_SLOT_SIZE)
		return "the granule of its IOMMU is smaller than 2 KiB";
	return NULL;
}

static bool is_virtio_iommu(struct device *dev)
{
	struct device *iommu = dev->iommu->iommu_dev->dev;

	return iommu && iommu->parent && iommu->parent->bus &&
	       !strcmp(iommu->parent->bus->name, "virtio");
}

/*
 * Tell whether the IOMMU can let a device write what it cannot read. A
 * virtio-iommu can, and its VMM enforces that. Stage 1 of an SMMU cannot, and
 * of the IOMMUs of other architectures nothing is known here.
 */
static bool has_write_only(struct device *dev)
{
	return is_virtio_iommu(dev);
}

/*
 * Tell whether memory of this guest is private until it is shared explicitly.
 * If so, a device cannot reach private memory that an IOMMU maps. A protected
 * guest of pKVM shows by the hypercall that shares memory.
 */
static noinline bool dma_window_memory_is_private(struct device *dev)
{
	if (force_dma_unencrypted(dev) ||
	    cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return true;
#ifdef ARM_SMCCC_KVM_FUNC_MEM_SHARE
	return kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_MEM_SHARE);
#else
	return false;
#endif
}
ALLOW_ERROR_INJECTION(dma_window_memory_is_private, TRUE);

/**
 * dma_window_iommu_probe() - note what decides between copy and map
 * @client: a device and its window, its @iommu set
 *
 * See dma_window_copy_or_map().
 *
 * Context: any.
 */
void dma_window_iommu_probe(struct dma_window_client *client)
{
	struct device *dev = client->dev;

	client->granule = client->iommu->granule;
	client->in_place = 0;
	if (dma_window_memory_is_private(dev))
		return;
	client->in_place = BIT(DMA_BIDIRECTIONAL) | BIT(DMA_TO_DEVICE);
	if (has_write_only(dev))
		client->in_place |= BIT(DMA_FROM_DEVICE);
}

/**
 * dma_window_iommu_unfit_reason() - can a device be trusted to go by its IOMMU domain?
 * @dev: the device; its driver is not probed yet
 *
 * Context: may sleep.
 *
 * Return: NULL, or why not.
 */
const char *dma_window_iommu_unfit_reason(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	const char *why;

	if (!(domain->type & __IOMMU_DOMAIN_DMA_API) ||
	    !dma_window_domain_has_iova(domain) ||
	    dma_window_attach_is_deferred(dev))
		return "its IOMMU domain is not one for the DMA API";
	/*
	 * Repeat the set-up: it does nothing if it was done; else whoever tried
	 * before only warned.
	 */
	if (iommu_dma_init_domain(domain, dev))
		return "its IOMMU domain could not be set up";
	why = dma_window_granule_unfit_reason(domain->pgsize_bitmap);
	if (why)
		return why;
	if (driver_manages_dma(dev))
		return "its driver may manage DMA by itself";
	if (has_ats(dev))
		return "it translates addresses by itself (ATS)";
	return NULL;
}

/**
 * dma_window_iommu_check() - can a device behind an IOMMU have a window?
 * @dev: the device; its driver is not probed yet
 * @ref: the property that names its region, for messages
 * @behind: filled with whether @dev is behind an IOMMU at all
 *
 * Context: may sleep. Takes the mutex of the device's IOMMU group.
 *
 * Return: 0; -EOPNOTSUPP for what dma_window_iommu_unfit_reason() says; -ENODEV if the
 * IOMMU is not there; -EBUSY if a member of its group has another region, or
 * none. The reason was logged.
 */
int dma_window_iommu_check(struct device *dev, const struct dma_window_ref *ref,
			   bool *behind)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	const char *other, *why;

	*behind = domain;
	if (!domain) {
		/* An IOMMU may still take the device over. */
		if (!dev_iommu_fwspec_get(dev))
			return 0;
		dma_window_err(dev, ref, "its IOMMU is not there");
		return -ENODEV;
	}
	why = dma_window_iommu_unfit_reason(dev);
	if (why) {
		dma_window_err(dev, ref, "%s", why);
		return -EOPNOTSUPP;
	}
	other = dma_window_iommu_group_conflict(dev, ref->region);
	if (other) {
		dma_window_err(dev, ref, "shares its IOMMU group with %s, which does not name the same region",
			       other);
		return -EBUSY;
	}
	return 0;
}

/* Offset of the window in what was allocated for it, bytes. */
static size_t io_skew(const struct dma_window_iommu *io)
{
	return io->win->base & (DMA_WINDOW_MAX_CLASS_SIZE - 1);
}

static void io_unmap(struct dma_window_iommu *io)
{
	if (dma_window_iommu_revoke(io, io->iova + io_skew(io), io->win->size))
		dma_window_iommu_free_iova(io, io->iova, io->span);
	else
		pr_err("%s: the IOMMU does not let go of it: never given to others\n",
		       io->win->name);
}

/*
 * Map the window low, so that a device with a small mask reaches it, and in the
 * same place relative to a run of the largest size class as in memory: see
 * dma_window_client.class_aligned.
 */
static int io_map(struct device *dev, struct dma_window_iommu *io)
{
	struct dma_window *win = io->win;
	u64 limit, lowest;
	dma_addr_t lower;
	int ret;

	io->span = ALIGN(win->size + io_skew(io),
			 max(io->granule, DMA_WINDOW_MAX_CLASS_SIZE));
	io->iova = iommu_dma_alloc_iova(io->domain, io->span, DMA_BIT_MASK(32),
					dev);
	/*
	 * Search down from there: a search that fails makes all others below
	 * 4 GiB fail until something is freed. An allocation is aligned to the
	 * next power of two of its size.
	 */
	lowest = 2 * roundup_pow_of_two(io->span) - 1;
	for (limit = DMA_BIT_MASK(31); io->iova && limit >= lowest; limit >>= 1) {
		lower = iommu_dma_alloc_iova(io->domain, io->span, limit, dev);
		if (!lower)
			break;
		dma_window_free_iova(io->domain, io->iova, io->span);
		io->iova = lower;
	}
	if (!io->iova)
		io->iova = iommu_dma_alloc_iova(io->domain, io->span,
						DMA_BIT_MASK(52), dev);
	if (!io->iova)
		return -ENOSPC;

	ret = iommu_map(io->domain, io->iova + io_skew(io), win->base, win->size,
			IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE, GFP_KERNEL);
	if (ret && dma_window_iommu_revoke_failed_map(io, io->iova + io_skew(io), win->size))
		dma_window_iommu_free_iova(io, io->iova, io->span);
	return ret;
}

/**
 * dma_window_iommu_exposed() - does a device's domain lead to memory of others?
 * @dev: the device
 *
 * Context: may sleep. Called with dma_window_mutex held.
 *
 * Return: true if the IOMMU did not let go of memory that was mapped in the
 * domain.
 */
bool dma_window_iommu_exposed(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct dma_window_iommu *io;

	lockdep_assert_held(&dma_window_mutex);

	list_for_each_entry(io, &domains, list)
		if (domain && io->domain == domain && io->exposed)
			return true;
	return false;
}

/**
 * dma_window_iommu_get() - have a window mapped into a device's domain
 * @dev: the device; dma_window_iommu_check() was good
 * @ref: the property that names its region, for messages
 * @win: the window
 * @base: filled with the window's bus address
 *
 * Context: may sleep. Called with dma_window_mutex held.
 *
 * Return: what is to be given to dma_window_iommu_put(), or an ERR_PTR():
 * -ENOMEM, -EIO if the domain still maps memory that others use, or what
 * iommu_map() says; the reason was logged.
 */
struct dma_window_iommu *
dma_window_iommu_get(struct device *dev, const struct dma_window_ref *ref,
		     struct dma_window *win, dma_addr_t *base)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct dma_window_iommu *io;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	if (dma_window_iommu_exposed(dev)) {
		dma_window_err(dev, ref, "its IOMMU did not let go of memory that others use");
		return ERR_PTR(-EIO);
	}
	list_for_each_entry(io, &domains, list) {
		if (io->domain == domain && io->win == win) {
			io->users++;
			goto found;
		}
	}

	io = kzalloc(sizeof(*io), GFP_KERNEL);
	if (!io)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&io->lock);
	io->inplace = RB_ROOT;
	io->domain = domain;
	io->win = win;
	io->users = 1;
	io->shift = __ffs(domain->pgsize_bitmap);
	io->granule = 1UL << io->shift;

	ret = io_map(dev, io);
	if (ret) {
		dma_window_err(dev, ref, "cannot be mapped by the IOMMU: error %d",
			       ret);
		kfree(io);
		return ERR_PTR(ret);
	}
	list_add(&io->list, &domains);
found:
	*base = io->iova + io_skew(io);
	return io;
}

/**
 * dma_window_iommu_put() - undo dma_window_iommu_get()
 * @io: what dma_window_iommu_get() returned
 *
 * Context: may sleep. Called with dma_window_mutex held.
 */
void dma_window_iommu_put(struct dma_window_iommu *io)
{
	lockdep_assert_held(&dma_window_mutex);

	if (--io->users)
		return;
	/* dma_window_mutex is held: the domain stays until it is released. */
	dma_window_iommu_release_retired(io);
	if (io->domain)
		io_unmap(io);
	/* Keep @io with its domain, for dma_window_iommu_exposed() to find. */
	if (io->domain && io->exposed)
		return;
	list_del(&io->list);
	kfree_rcu(io, rcu);
}

/**
 * dma_window_iommu_copybreak() - up to which size is a copy cheaper?
 * @dev: the device
 * @io: the window in its domain
 *
 * Measured with "make bench", guests smmuv3 and virtio-iommu, in instructions
 * of the guest: mapping in place costs less from 32 KiB on with an SMMUv3 (64
 * KiB if not aligned), and from 32 KiB (128 KiB) on with a virtio-iommu, where
 * the host's work is not counted. With that work, a copy of 128 KiB was still
 * cheaper (D. Stevens, "Add dynamic iommu backed bounce buffers", 2021). The
 * two differ in that a virtio-iommu has to be told of each new mapping, which
 * before v6.9 it was by the map itself.
 *
 * Context: any.
 *
 * Return: bytes.
 */
u32 dma_window_iommu_copybreak(struct device *dev,
			       const struct dma_window_iommu *io)
{
	return io->domain->ops->iotlb_sync_map || is_virtio_iommu(dev) ?
	       SZ_64K : SZ_16K;
}

/**
 * dma_window_iommu_in_domain() - is this the domain that a device is in now?
 * @dev: the device
 * @io: what the device's client has, or NULL for none
 *
 * Context: may sleep.
 *
 * Return: true if @dev is in the domain of @io, and nobody's memory is at risk
 * there.
 */
bool dma_window_iommu_in_domain(struct device *dev,
				const struct dma_window_iommu *io)
{
	if (io && READ_ONCE(io->exposed))
		return false;
	return (io ? READ_ONCE(io->domain) : NULL) ==
	       iommu_get_domain_for_dev(dev) && (!io || io->domain);
}

/*
 * A domain takes along what is mapped in it, and its IOVA space. A domain goes
 * when the last device has left its group, or when the group's type is changed,
 * without a driver.
 */
void __dma_window_domain_gone(struct iommu_domain *domain)
{
	struct dma_window_iommu *io, *next;
	struct dma_window_client *client;
	bool found = false;
	int i;

	mutex_lock(&dma_window_mutex);
	list_for_each_entry_safe(io, next, &domains, list) {
		if (io->domain == domain) {
			WRITE_ONCE(io->domain, NULL);
			found = true;
			if (!io->users) {
				list_del(&io->list);
				kfree_rcu(io, rcu);
			}
		}
	}
	/* If a driver is bound all the same, its IOMMU was taken away. */
	if (found)
		hash_for_each(dma_window_clients, i, client, node)
			if (client->iommu && !client->iommu->domain)
				dma_window_deny(client->dev);
	mutex_unlock(&dma_window_mutex);
	/* Wait for an unmap of a late user that has seen the domain. */
	if (found)
		synchronize_rcu();
}

/*
 * dma-iommu comes before a device's own operations when the DMA API looks for
 * who serves the device; not so for a device with a window. If the IOMMU took
 * over a device that has its window without one, or moved a device to another
 * domain, the device's addresses are not right any more: it can do no DMA until
 * it is probed again.
 */
void __dma_window_iommu_setup(struct device *dev)
{
	struct dma_window_client *client;

	if (!__dma_window_attached(dev))
		return;
	dma_window_no_dma_iommu(dev);
	if (dev->dma_ops == &dma_window_deny_ops)
		return;
	client = dma_window_client_of(dev);
	if (client && dma_window_iommu_in_domain(dev, client->iommu))
		return;
	dma_window_deny(dev);
	if (dev->driver)
		dev_err(dev, "refused: an IOMMU took it over after it was given its window\n");
}

/*
 * A domain that is attached beside the DMA API (VFIO, vhost-vdpa, iommufd; SVA
 * with a PASID) lets a device reach what its owner likes. A window without a
 * region does not promise more than dma-iommu does.
 */
bool __dma_window_keeps_domain(struct device *dev)
{
	struct dma_window_client *client = dma_window_client_of(dev);

	if (!__dma_window_attached(dev) || (client && client->win->group))
		return false;
	/* Bridges do no DMA of their own; above a region they are denied it. */
	if (dev_is_pci(dev) && pci_is_bridge(to_pci_dev(dev)))
		return false;
	dev_warn_ratelimited(dev, "names a restricted-dma-region: its IOMMU group gets no other domain\n");
	return true;
}
