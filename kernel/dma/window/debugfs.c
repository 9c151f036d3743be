// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: /sys/kernel/debug/swiotlb/<region>/.
 *
 * The io_tlb_* files are those that a swiotlb pool has there, in the same unit
 * of 2 KiB slots, so that readers of swiotlb's files can read the windows'
 * files. The others are bytes or plain counts, one decimal number a file. A
 * device behind an IOMMU has counters of its own in a directory of its name.
 */

#include <linux/debugfs.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "window.h"

/* Set once "swiotlb", or its stand-in, exists; under dma_window_mutex. */
static struct dentry *debugfs_swiotlb;
static bool swiotlb_is_ours;

static int nslabs_get(void *data, u64 *val)
{
	struct dma_window *win = data;

	*val = win->pool.nslots;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nslabs_fops, nslabs_get, NULL, "%llu\n");

static int used_get(void *data, u64 *val)
{
	struct dma_window *win = data;
	unsigned int used, largest;

	dma_window_pool_look(&win->pool, &used, &largest);
	*val = used;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(used_fops, used_get, NULL, "%llu\n");

static int hiwater_get(void *data, u64 *val)
{
	struct dma_window *win = data;

	*val = READ_ONCE(win->pool.hiwater);
	return 0;
}

static int hiwater_set(void *data, u64 val)
{
	struct dma_window *win = data;

	/* Let the mark be reset, but not made up, as swiotlb does. */
	if (val)
		return -EINVAL;

	dma_window_pool_drain(&win->pool);
	spin_lock_irq(&win->pool.lock);
	win->pool.hiwater = win->pool.used;
	spin_unlock_irq(&win->pool.lock);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hiwater_fops, hiwater_get, hiwater_set, "%llu\n");

static int largest_free_get(void *data, u64 *val)
{
	struct dma_window *win = data;
	unsigned int used, largest;

	dma_window_pool_look(&win->pool, &used, &largest);
	*val = (u64)largest << DMA_WINDOW_SLOT_SHIFT;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(largest_free_fops, largest_free_get, NULL, "%llu\n");

static int base_get(void *data, u64 *val)
{
	struct dma_window *win = data;

	*val = win->base;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(base_fops, base_get, NULL, "0x%llx\n");

static int size_get(void *data, u64 *val)
{
	struct dma_window *win = data;

	*val = win->size;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(size_fops, size_get, NULL, "%llu\n");

static int metadata_get(void *data, u64 *val)
{
	struct dma_window *win = data;

	*val = dma_window_metadata(win);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(metadata_fops, metadata_get, NULL, "%llu\n");

static void devices_show_name(void *arg, const char *name)
{
	seq_printf(arg, "%s\n", name);
}

static int devices_show(struct seq_file *s, void *unused)
{
	/*
	 * Only try: the remover of this file holds the mutex, and waits for us.
	 */
	if (!dma_window_client_names_try(s->private, devices_show_name, s))
		return restart_syscall();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(devices);

static u64 stat_sum(struct dma_window *win, size_t offset)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*(u64 *)((void *)&per_cpu_ptr(win->pool.cpu, cpu)->stats +
					  offset));
	return sum;
}

#define STAT_FILE(counter)						\
static int counter##_get(void *data, u64 *val)				\
{									\
	*val = stat_sum(data, offsetof(struct dma_window_stats, counter)); \
	return 0;							\
}									\
DEFINE_DEBUGFS_ATTRIBUTE(counter##_fops, counter##_get, NULL, "%llu\n")

STAT_FILE(maps);
STAT_FILE(unmaps);
STAT_FILE(floor_maps);
STAT_FILE(allocs);
STAT_FILE(frees);
STAT_FILE(bytes_in);
STAT_FILE(bytes_out);
STAT_FILE(fail_full);
STAT_FILE(fail_mask);
STAT_FILE(fail_nomem);
STAT_FILE(fail_iommu);
STAT_FILE(fail_invalid);
STAT_FILE(leaked);

static u64 device_stat_sum(struct dma_window_client *client, size_t offset)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*(u64 *)((void *)per_cpu_ptr(client->stats, cpu) +
					  offset));
	return sum;
}

#define DEVICE_STAT_FILE(counter)					\
static int device_##counter##_get(void *data, u64 *val)		\
{									\
	*val = device_stat_sum(data, offsetof(struct dma_window_device_stats, \
					      counter));		\
	return 0;							\
}									\
DEFINE_DEBUGFS_ATTRIBUTE(device_##counter##_fops, device_##counter##_get, NULL, \
			 "%llu\n")

DEVICE_STAT_FILE(bytes_in);
DEVICE_STAT_FILE(bytes_out);
DEVICE_STAT_FILE(granules);
DEVICE_STAT_FILE(heads);
DEVICE_STAT_FILE(tails);
DEVICE_STAT_FILE(iommu_maps);
DEVICE_STAT_FILE(iommu_unmaps);

static const struct {
	const char			*name;
	const struct file_operations	*fops;
} device_files[] = {
	{ "bytes_in",	  &device_bytes_in_fops },
	{ "bytes_out",	  &device_bytes_out_fops },
	{ "granules",	  &device_granules_fops },
	{ "heads",	  &device_heads_fops },
	{ "tails",	  &device_tails_fops },
	{ "iommu_maps",	  &device_iommu_maps_fops },
	{ "iommu_unmaps", &device_iommu_unmaps_fops },
};

static const struct {
	const char			*name;
	umode_t				mode;
	const struct file_operations	*fops;
} window_files[] = {
	{ "io_tlb_nslabs",	 0400, &nslabs_fops },
	{ "io_tlb_used",	 0400, &used_fops },
	{ "io_tlb_used_hiwater", 0600, &hiwater_fops },
	{ "base",		 0400, &base_fops },
	{ "size",		 0400, &size_fops },
	{ "largest_free",	 0400, &largest_free_fops },
	{ "metadata",		 0400, &metadata_fops },
	{ "devices",		 0400, &devices_fops },
	{ "maps",		 0400, &maps_fops },
	{ "unmaps",		 0400, &unmaps_fops },
	{ "floor_maps",		 0400, &floor_maps_fops },
	{ "allocs",		 0400, &allocs_fops },
	{ "frees",		 0400, &frees_fops },
	{ "bytes_in",		 0400, &bytes_in_fops },
	{ "bytes_out",		 0400, &bytes_out_fops },
	{ "fail_full",		 0400, &fail_full_fops },
	{ "fail_mask",		 0400, &fail_mask_fops },
	{ "fail_nomem",		 0400, &fail_nomem_fops },
	{ "fail_iommu",		 0400, &fail_iommu_fops },
	{ "fail_invalid",	 0400, &fail_invalid_fops },
	{ "leaked",		 0400, &leaked_fops },
};

/**
 * dma_window_debugfs_add_client() - make the files of a device behind an IOMMU
 * @client: the device and its window
 *
 * Does nothing before the window has its directory; dma_window_debugfs_add()
 * adds the clients that there are.
 *
 * Context: may sleep. Called with dma_window_mutex held.
 */
void dma_window_debugfs_add_client(struct dma_window_client *client)
{
	int i;

	lockdep_assert_held(&dma_window_mutex);

	if (IS_ERR_OR_NULL(client->win->debugfs))
		return;
	client->debugfs = debugfs_create_dir(dev_name(client->dev),
					     client->win->debugfs);
	for (i = 0; i < ARRAY_SIZE(device_files); i++)
		debugfs_create_file(device_files[i].name, 0400, client->debugfs,
				    client, device_files[i].fops);
}

/**
 * dma_window_debugfs_remove_client() - undo dma_window_debugfs_add_client()
 * @client: the device and its window
 *
 * Context: may sleep. Called with dma_window_mutex held, which no reader of
 * these files takes.
 */
void dma_window_debugfs_remove_client(struct dma_window_client *client)
{
	debugfs_remove_recursive(client->debugfs);
}

/**
 * dma_window_debugfs_add() - make a window's files
 * @win: the window
 *
 * Does nothing before dma_window_debugfs_init(), which adds the windows that
 * there are.
 *
 * Context: may sleep. Called with dma_window_mutex held.
 */
void dma_window_debugfs_add(struct dma_window *win)
{
	struct dma_window_client *client;
	int i;

	lockdep_assert_held(&dma_window_mutex);

	if (IS_ERR_OR_NULL(debugfs_swiotlb))
		return;
	win->debugfs = debugfs_create_dir(win->name, debugfs_swiotlb);
	for (i = 0; i < ARRAY_SIZE(window_files); i++)
		debugfs_create_file(window_files[i].name, window_files[i].mode,
				    win->debugfs, win, window_files[i].fops);
	hash_for_each(dma_window_clients, i, client, node)
		if (client->win == win && client->iommu)
			dma_window_debugfs_add_client(client);
}

/**
 * dma_window_debugfs_remove() - undo dma_window_debugfs_add()
 * @win: the window
 *
 * Context: may sleep. Called with dma_window_mutex held.
 */
void dma_window_debugfs_remove(struct dma_window *win)
{
	debugfs_remove_recursive(win->debugfs);
}

/* Run after swiotlb has made its directory, in a late_initcall. */
int __init dma_window_debugfs_init(void)
{
	struct dma_window *win;

	mutex_lock(&dma_window_mutex);
	debugfs_swiotlb = debugfs_lookup("swiotlb", NULL);
	swiotlb_is_ours = !debugfs_swiotlb;
	if (swiotlb_is_ours)
		debugfs_swiotlb = debugfs_create_dir("swiotlb", NULL);
	list_for_each_entry(win, &dma_window_list, list)
		dma_window_debugfs_add(win);
	mutex_unlock(&dma_window_mutex);
	return 0;
}

#ifndef MODULE
late_initcall_sync(dma_window_debugfs_init);
#endif

#ifdef MODULE
/**
 * dma_window_debugfs_exit() - undo dma_window_debugfs_init(), when all windows are gone
 *
 * Context: may sleep.
 */
void dma_window_debugfs_exit(void)
{
	if (swiotlb_is_ours)
		debugfs_remove(debugfs_swiotlb);
	else
		dput(debugfs_swiotlb);
}
#endif
