// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: making windows, and announcing them.
 *
 * The window of a region is made when the first device is attached to it, and is
 * kept for ever; that of a group of untrusted devices goes with the last of them, and
 * one in a BAR with the device that has the BAR.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/seq_buf.h>
#include <linux/set_memory.h>
#include <linux/slab.h>

#include "window.h"

/* Protects dma_window_list and writes to the client table. */
DEFINE_MUTEX(dma_window_mutex);
LIST_HEAD(dma_window_list);

/* Windows without devices, of whose memory an IOMMU did not let go. */
static LIST_HEAD(lost_windows);

/**
 * dma_window_metadata() - what a window costs besides its memory
 * @win: the window
 *
 * Context: any.
 *
 * Return: bytes, as the allocators round them: the pool with all its records, the
 * window's own record, and those of its devices.
 */
size_t dma_window_metadata(struct dma_window *win)
{
	size_t bytes = kmalloc_size_roundup(sizeof(*win)) +
		       dma_window_pool_metadata(&win->pool);
	struct dma_window_client *client;
	int i;

	rcu_read_lock();
	hash_for_each_rcu(dma_window_clients, i, client, node) {
		if (client->win != win)
			continue;
		bytes += kmalloc_size_roundup(sizeof(*client));
		if (client->stats)
			bytes += num_possible_cpus() * sizeof(*client->stats);
	}
	rcu_read_unlock();
	return bytes;
}

/**
 * dma_window_destroy() - free the records of a window
 * @win: the window, on no list and without clients
 *
 * Context: may sleep.
 */
void dma_window_destroy(struct dma_window *win)
{
	dma_window_pool_destroy(&win->pool);
	of_node_put(win->region);
	kfree(win->where);
	kfree(win->name);
	kfree(win);
}

/* Let go of the memory of a window, which nobody can reach any more. */
static void window_free_memory(struct dma_window *win)
{
	if (win->source) {
		dma_window_source_release(win->source);
		return;
	}
	if (win->region) {
		dma_window_region_unclaim(win->region, win->rmem_ops);
		return;
	}
	dma_window_untrusted_free(win->vaddr, win->size);
	iommu_group_put(win->group);
}

/**
 * dma_window_free() - free a window that is on no list
 * @win: the window, whose clients no lookup finds any more
 *
 * Context: may sleep, and waits for late unmaps. Takes dma_window_mutex.
 */
void dma_window_free(struct dma_window *win)
{
	/*
	 * A late unmap may have claimed the last mapping and still be copying.
	 * The mapping's run counts as used until the unmap has freed it, or
	 * given it to a CPU to keep; dma_window_pool_is_idle() takes back what
	 * CPUs keep. After that, the unmap is in a section with interrupts
	 * disabled at most, which synchronize_rcu() waits for.
	 */
	while (!READ_ONCE(win->leaked) && !dma_window_pool_is_idle(&win->pool))
		msleep(20);
	synchronize_rcu();
	/* A device may still reach the memory: give it to nobody, ever. */
	if (win->leaked) {
		mutex_lock(&dma_window_mutex);
		list_add(&win->list, &lost_windows);
		mutex_unlock(&dma_window_mutex);
		return;
	}
	if (WARN_ONCE(win->has_pages &&
		      set_memory_encrypted((unsigned long)win->vaddr,
					   win->size >> PAGE_SHIFT),
		      "%s: still shared with the host: not used again\n",
		      win->name)) {
		if (win->region)
			dma_window_region_unclaim(win->region, win->rmem_ops);
		return;
	}
	window_free_memory(win);
	dma_window_destroy(win);
}

static void window_free_work(struct work_struct *work)
{
	dma_window_free(container_of(work, struct dma_window, free_work));
}

/**
 * dma_window_unlist() - let nobody find a window any more
 * @win: the window, which has no device
 *
 * Context: dma_window_mutex held.
 */
void dma_window_unlist(struct dma_window *win)
{
	lockdep_assert_held(&dma_window_mutex);

	list_del(&win->list);
	dma_window_debugfs_remove(win);
}

/**
 * dma_window_gone() - unlist a window that has no device left, and free it
 * @win: the window, of a group
 *
 * A work item frees the window: letting go of the group may free its domain, and
 * that takes dma_window_mutex.
 *
 * Context: dma_window_mutex held.
 */
void dma_window_gone(struct dma_window *win)
{
	dma_window_unlist(win);
	INIT_WORK(&win->free_work, window_free_work);
	queue_work(dma_window_unbound_wq, &win->free_work);
}

static void window_clear(struct dma_window *win)
{
	phys_addr_t done, step;

	for (done = 0; done < win->size; done += step) {
		step = min_t(phys_addr_t, win->size - done, SZ_1M);
		memset(win->vaddr + done, 0, step);
		cond_resched();
	}
}

/*
 * Set when all the devices of the board have been probed: then each window is
 * announced in one line. A window that is made later is announced with its
 * first device.
 */
static bool booted;

static void seq_buf_append_name(void *line, const char *name)
{
	seq_buf_printf(line, " %s", name);
}

static void window_announce(struct dma_window *win)
{
	DECLARE_SEQ_BUF(devices, 256);

	dma_window_client_names(win, seq_buf_append_name, &devices);
	/* A window has no device if the one it was made for was refused. */
	if (!seq_buf_used(&devices))
		return;
	pr_info("%s: %llu KiB at %#llx, for%s%s\n", win->name,
		(u64)win->size / SZ_1K, (u64)win->base, seq_buf_str(&devices),
		seq_buf_has_overflowed(&devices) ? " ..." : "");
	win->announced = true;
}

/**
 * dma_window_announce_late() - describe a window that was made after boot
 * @win: the window, which has its first device
 *
 * Context: dma_window_mutex held.
 */
void dma_window_announce_late(struct dma_window *win)
{
	lockdep_assert_held(&dma_window_mutex);

	if (booted && !win->announced)
		window_announce(win);
}

static int cpu_dead_state __ro_after_init;

/* CPU hotplug callback: return the runs that a dead CPU keeps to the pool. */
static int window_cpu_dead(unsigned int cpu)
{
	struct dma_window *win;

	mutex_lock(&dma_window_mutex);
	list_for_each_entry(win, &dma_window_list, list)
		dma_window_pool_drain_cpu(&win->pool, cpu);
	mutex_unlock(&dma_window_mutex);
	return 0;
}

/* Announce the windows that are there; from here on, each when it is made. */
int __init dma_window_announce_all(void)
{
	struct dma_window *win;

	/* Without window_cpu_dead(), a full window drains dead CPUs' runs, too. */
	cpu_dead_state = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN,
						   "dma/window:dead", NULL,
						   window_cpu_dead);
	if (cpu_dead_state < 0)
		pr_warn("no notice of CPUs that go offline\n");

	mutex_lock(&dma_window_mutex);
	booted = true;
	list_for_each_entry(win, &dma_window_list, list)
		window_announce(win);
	mutex_unlock(&dma_window_mutex);
	return 0;
}

#ifndef MODULE
late_initcall_sync(dma_window_announce_all);
#endif

/**
 * dma_window_new() - the records of a window
 * @base: physical address, bytes
 * @size: bytes
 * @vaddr: the kernel address of @base
 * @name: for messages and debugfs; freed with the window, unless NULL is returned
 *
 * Context: may sleep.
 *
 * Return: the window, not listed yet, or NULL if there is no memory.
 */
struct dma_window *dma_window_new(phys_addr_t base, phys_addr_t size, void *vaddr,
				  const char *name)
{
	struct dma_window *win;

	win = kzalloc(sizeof(*win), GFP_KERNEL);
	if (!win)
		return NULL;
	win->base = base;
	win->size = size;
	win->vaddr = vaddr;
	win->has_pages = virt_addr_valid(vaddr);
	if (dma_window_pool_init(&win->pool, size >> DMA_WINDOW_SLOT_SHIFT,
				 base >> DMA_WINDOW_SLOT_SHIFT)) {
		dma_window_destroy(win);
		return NULL;
	}
	win->name = name;
	return win;
}

/**
 * dma_window_share() - share a complete window with the host, and list it
 * @dev: its first device, for messages
 * @ref: what names its region, for messages
 * @win: the window
 *
 * Context: dma_window_mutex held.
 *
 * Return: 0, or an error of the platform's, which is logged.
 */
int dma_window_share(struct device *dev, const struct dma_window_ref *ref,
		     struct dma_window *win)
{
	int ret = 0;

	/*
	 * Clear the window before and after sharing: what its memory held
	 * before is not the devices' to read. In a protected guest the window
	 * is private until it is shared, and sharing may scramble it. What is not
	 * the guest's own memory, a PCI device's, is the host's already.
	 */
	window_clear(win);
	if (win->has_pages)
		ret = set_memory_decrypted((unsigned long)win->vaddr,
					   win->size >> PAGE_SHIFT);
	if (ret) {
		dma_window_err(dev, ref, "cannot be shared with the host: error %d",
			       ret);
		return ret;
	}
	window_clear(win);

	list_add_tail(&win->list, &dma_window_list);
	dma_window_debugfs_add(win);
	return 0;
}

/**
 * dma_window_check_range() - can a window be made of a range?
 * @dev: the device that is to have it, for messages
 * @ref: what names the range, for messages
 * @base: physical address, bytes
 * @size: bytes
 *
 * Context: may sleep.
 *
 * Return: 0, whatever the memory is; -EINVAL if the range is not whole pages;
 * -ENOSPC if it is too small. The reason was logged.
 */
int dma_window_check_range(struct device *dev, const struct dma_window_ref *ref,
			   phys_addr_t base, phys_addr_t size)
{
	if (base + size < base) {
		dma_window_err(dev, ref, "%pa bytes at %pa wrap around",
			       &size, &base);
		return -EINVAL;
	}
	if (!PAGE_ALIGNED(base) || !PAGE_ALIGNED(size)) {
		dma_window_err(dev, ref, "%pa bytes at %pa are not whole pages of %lu bytes",
			       &size, &base, PAGE_SIZE);
		return -EINVAL;
	}
	if (size < DMA_WINDOW_MIN_SIZE) {
		dma_window_err(dev, ref, "is too small: %llu KiB, it must have at least %llu KiB",
			       (u64)size / SZ_1K,
			       (u64)DMA_WINDOW_MIN_SIZE / SZ_1K);
		return -ENOSPC;
	}
	return 0;
}

/**
 * dma_window_check_pages() - look at every page of a range of memory
 * @dev: the device that is to have it, for messages
 * @ref: what names the range, for messages
 * @base: physical address, bytes
 * @size: bytes
 *
 * Every page has to be RAM, in the linear map, and out of the page allocator's
 * hands. Pages that are need not be kept for us: dma_window_memory_check_free()
 * looks at that.
 *
 * Context: may sleep.
 *
 * Return: 0; -EINVAL if the memory is not mapped RAM; -EBUSY if the kernel uses it.
 * The reason was logged.
 */
int dma_window_check_pages(struct device *dev, const struct dma_window_ref *ref,
			   phys_addr_t base, phys_addr_t size)
{
	unsigned long pfn, end = PHYS_PFN(base + size);

	for (pfn = PHYS_PFN(base); pfn < end; pfn++) {
		phys_addr_t addr = PFN_PHYS(pfn);

		if (!dma_window_memory_is_mapped_ram(pfn)) {
			dma_window_err(dev, ref, "the page at %pa is not mapped RAM",
				       &addr);
			return -EINVAL;
		}
		if (!PageReserved(pfn_to_page(pfn))) {
			dma_window_err(dev, ref, "the page at %pa is not reserved, the kernel uses it",
				       &addr);
			return -EBUSY;
		}
		if (!(pfn & 0xfff))
			cond_resched();
	}
	return 0;
}

/* The name of a region's window: the node's, or what the source is called. */
static const char *window_name(const struct dma_window_ref *ref)
{
	return ref->source ? dma_window_source_name(ref->source) :
	       kstrdup(kbasename(ref->region->full_name), GFP_KERNEL);
}

static const char *window_where(const struct dma_window_ref *ref)
{
	return ref->source ? kstrdup(ref->source->text, GFP_KERNEL) :
	       kasprintf(GFP_KERNEL, "%pOF", ref->region);
}

/*
 * Take the memory of a region for a window. Returns its kernel address. *@rmem_ops is
 * for the way back.
 */
static void *window_claim(struct device *dev, const struct dma_window_ref *ref,
			  phys_addr_t base, phys_addr_t size,
			  const struct reserved_mem_ops **rmem_ops)
{
	int ret;

	if (ref->source)
		return dma_window_source_claim(dev, ref, base, size);
	ret = dma_window_region_check_memory(dev, ref, base, size);
	if (!ret)
		ret = dma_window_region_claim(dev, ref, rmem_ops);
	return ret ? ERR_PTR(ret) : phys_to_virt(base);
}

static struct dma_window *window_create(struct device *dev,
					const struct dma_window_ref *ref,
					phys_addr_t base, phys_addr_t size)
{
	const struct reserved_mem_ops *rmem_ops = NULL;
	struct dma_window *win;
	const char *name;
	void *vaddr;
	int ret;

	if (size >> DMA_WINDOW_SLOT_SHIFT > INT_MAX) {
		dma_window_err(dev, ref, "is too large: %pa bytes", &size);
		return ERR_PTR(-EFBIG);
	}

	vaddr = window_claim(dev, ref, base, size, &rmem_ops);
	if (IS_ERR(vaddr))
		return ERR_CAST(vaddr);
	name = window_name(ref);
	win = name ? dma_window_new(base, size, vaddr, name) : NULL;
	ret = -ENOMEM;
	if (!win) {
		kfree(name);
		goto release;
	}
	win->where = window_where(ref);
	if (!win->where)
		goto destroy;
	win->region = of_node_get(ref->region);
	win->source = ref->source;
	win->rmem_ops = rmem_ops;
	ret = dma_window_share(dev, ref, win);
	if (!ret)
		return win;

destroy:
	dma_window_destroy(win);
release:
	if (ref->source)
		dma_window_source_release(ref->source);
	else
		dma_window_region_unclaim(ref->region, rmem_ops);
	return ERR_PTR(ret);
}

/**
 * dma_window_get() - the window of a region
 * @dev: a device that names the region
 * @ref: where it does
 *
 * Context: dma_window_mutex held. May sleep.
 *
 * Return: the window, made if it was not there; or an error, which is logged
 * unless it is -ENOMEM: that of dma_window_region_check(),
 * dma_window_region_check_memory() or dma_window_region_claim(), or for another
 * source, of dma_window_source_check() or dma_window_source_claim(); -EBUSY if the
 * memory is another window's; -EFBIG.
 */
struct dma_window *dma_window_get(struct device *dev,
				  const struct dma_window_ref *ref)
{
	struct dma_window *win;
	phys_addr_t base, size;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	ret = ref->source ? dma_window_source_check(dev, ref, &base, &size) :
			    dma_window_region_check(dev, ref, &base, &size);
	if (ret)
		return ERR_PTR(ret);

	list_for_each_entry(win, &dma_window_list, list) {
		if (win->base == base && win->size == size &&
		    win->source == ref->source) {
			if (!win->ended)
				return win;
			dma_window_err(dev, ref, "its PCI device is being removed");
			return ERR_PTR(-ENODEV);
		}
		if (base < win->base + win->size && win->base < base + size) {
			dma_window_err(dev, ref, "its memory is that of window %s",
				       win->name);
			return ERR_PTR(-EBUSY);
		}
	}
	return window_create(dev, ref, base, size);
}

#ifdef MODULE
/* For work of the module, which is not unloaded before the work has ended. */
struct workqueue_struct *dma_window_wq;

/**
 * dma_window_init() - before there are windows
 *
 * Context: may sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int __init dma_window_init(void)
{
	dma_window_wq = alloc_workqueue("dma-window", WQ_UNBOUND, 0);
	return dma_window_wq ? 0 : -ENOMEM;
}

/**
 * dma_window_exit() - free all windows
 *
 * Context: may sleep; no device that has a window has a driver, or gets one.
 */
void dma_window_exit(void)
{
	struct dma_window *win;
	struct device *dev;

	if (cpu_dead_state > 0)
		cpuhp_remove_state_nocalls(cpu_dead_state);
	mutex_lock(&dma_window_mutex);
	while (!list_empty(&dma_window_list)) {
		win = list_first_entry(&dma_window_list, struct dma_window, list);
		while ((dev = dma_window_client_first(win))) {
			mutex_unlock(&dma_window_mutex);
			dma_window_evict(dev);
			put_device(dev);
			mutex_lock(&dma_window_mutex);
		}
		dma_window_unlist(win);
		mutex_unlock(&dma_window_mutex);
		dma_window_free(win);
		mutex_lock(&dma_window_mutex);
	}
	mutex_unlock(&dma_window_mutex);
	destroy_workqueue(dma_window_wq);
	/* client_free() */
	rcu_barrier();
}
#endif
