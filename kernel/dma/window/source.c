// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restricted DMA windows: windows that no device tree describes.
 *
 * dma_window.map=DEVICE=MEMORY,... names a window for a device. DEVICE is the name
 * of a PCI or platform device, or * for every virtio transport for which nothing
 * else names one. MEMORY is
 *
 *	ADDRESS+SIZE		memory that the device tree or firmware put aside
 *	reserve_mem:NAME	memory that the parameter reserve_mem= put aside
 *	bar:PCI-DEVICE/BAR	a prefetchable BAR, such as ivshmem-plain's BAR 2
 *
 * Each ends in a struct dma_window_ref, as a property of the tree does, and goes
 * the same way from there on.
 *
 * A BAR is the host's memory, mapped write-back, and there is no struct page of it: see
 * bar.c. Only virtio devices may use one: their back ends are the VMM's, and reach the
 * memory as such. A passed-through device would send its writes to another device.
 */

#define pr_fmt(fmt) "dma-window: " fmt

#include <linux/dma-window.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/setup.h>

#include "window.h"

/**
 * struct map_entry - what the parameter says about a device
 * @list: in map
 * @device: the device's name, or *
 * @source: the memory
 */
struct map_entry {
	struct list_head	 list;
	const char		*device;
	struct dma_window_source *source;
};

/* Both are filled when parameters are read, and never change after that. */
static LIST_HEAD(map);
LIST_HEAD(dma_window_sources);

/*
 * The parameter as it was given: there is no allocator yet when it is read. It is as long
 * as the kernel's command line can be.
 */
static char map_text[COMMAND_LINE_SIZE];

/* A part of the parameter that cannot be read: somebody was meant by it. */
static struct dma_window_source *unreadable;

static int map_set(const char *val, const struct kernel_param *kp)
{
	static const char too_long[] __maybe_unused = ",overlong";
	size_t len = strlen(map_text);
	char *end __maybe_unused;

	/* Given twice, it is one list. */
	if (snprintf(map_text + len, sizeof(map_text) - len, "%s%s",
		     len ? "," : "", val) < sizeof(map_text) - len)
		return 0;
	pr_err("map: longer than %zu bytes: no virtio device is served\n",
	       sizeof(map_text) - 1);
#ifdef MODULE
	/* The device that is left out may be any: be not loaded at all. */
	return -ENOSPC;
#else
	/* Keep the parts that are complete; the last one refuses virtio devices. */
	map_text[sizeof(map_text) - sizeof(too_long)] = '\0';
	end = strrchr(map_text, ',');
	strscpy(end ?: map_text, too_long, sizeof(too_long));
	return 0;
#endif
}

static const struct kernel_param_ops map_ops = {
	.set	= map_set,
	.get	= param_get_string,
};

static struct kparam_string map_string = {
	.maxlen	= sizeof(map_text),
	.string	= map_text,
};
module_param_cb(map, &map_ops, &map_string, 0400);
MODULE_PARM_DESC(map,
		 "DEVICE=MEMORY,...: windows of devices; MEMORY is ADDRESS+SIZE, reserve_mem:NAME or bar:PCI-DEVICE/BAR");

/* ---- Reading the parameter ---- */

/* bar:DDDD:BB:DD.F/N */
static const char * __init parse_bar(struct dma_window_source *source, const char *text)
{
	unsigned int domain, bus, slot, fn, bar;
	int end = 0;

	if (sscanf(text, "%x:%x:%x.%x/%u%n", &domain, &bus, &slot, &fn, &bar,
		   &end) != 5 || text[end])
		return "is not bar:DOMAIN:BUS:SLOT.FUNCTION/BAR";
	if (bus > 0xff || slot > 0x1f || fn > 7 || bar >= PCI_STD_NUM_BARS)
		return "is no BAR of a PCI device";
	source->kind = DMA_WINDOW_SOURCE_BAR;
	source->domain = domain;
	source->bus = bus;
	source->devfn = PCI_DEVFN(slot, fn);
	source->bar = bar;
	return NULL;
}

/* ADDRESS+SIZE, both with the suffixes of memparse(). */
static const char * __init parse_memory(struct dma_window_source *source, const char *text)
{
	char *end;

	source->kind = DMA_WINDOW_SOURCE_MEMORY;
	source->base = memparse(text, &end);
	if (end == text || *end != '+')
		return "is none of ADDRESS+SIZE, reserve_mem:NAME and bar:DEVICE/BAR";
	text = end + 1;
	source->size = memparse(text, &end);
	if (end == text || *end)
		return "has no size behind its +";
	return NULL;
}

static const char * __init source_parse(struct dma_window_source *source)
{
	const char *text = source->text;

	if (str_has_prefix(text, "bar:"))
		return parse_bar(source, text + strlen("bar:"));
	if (!str_has_prefix(text, "reserve_mem:"))
		return parse_memory(source, text);
	source->kind = DMA_WINDOW_SOURCE_NAME;
	source->reserved = text + strlen("reserve_mem:");
	return *source->reserved ? NULL : "names no memory";
}

/* The source that is called @text, which is kept. NULL if there is no memory. */
static struct dma_window_source * __init source_add(const char *text)
{
	struct dma_window_source *source;

	list_for_each_entry(source, &dma_window_sources, list)
		if (!strcmp(source->text, text))
			return source;
	source = kzalloc(sizeof(*source), GFP_KERNEL);
	if (!source)
		return NULL;
	source->text = text;
	source->bad = source_parse(source);
	list_add_tail(&source->list, &dma_window_sources);
	return source;
}

/* A device's name as the kernel writes it. NULL if there is no memory. */
static const char * __init device_name(const char *text)
{
	unsigned int domain = 0, bus, slot, fn;
	int end = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", &domain, &bus, &slot, &fn, &end) == 4 &&
	    !text[end])
		return kasprintf(GFP_KERNEL, "%04x:%02x:%02x.%d", domain, bus, slot, fn);
	end = 0;
	if (sscanf(text, "%x:%x.%x%n", &bus, &slot, &fn, &end) == 3 && !text[end])
		return kasprintf(GFP_KERNEL, "0000:%02x:%02x.%d", bus, slot, fn);
	return kstrdup(text, GFP_KERNEL);
}

/* Note what one part of the parameter says. */
static int __init map_add(char *part)
{
	char *text = strchr(part, '=');
	struct map_entry *entry;

	if (!text || text == part) {
		pr_err("map: %s: is not DEVICE=MEMORY: no virtio device is served\n",
		       part);
		unreadable = kzalloc(sizeof(*unreadable), GFP_KERNEL);
		if (!unreadable)
			return -ENOMEM;
		unreadable->text = part;
		unreadable->bad = "is not DEVICE=MEMORY";
		list_add_tail(&unreadable->list, &dma_window_sources);
		return 0;
	}
	*text++ = '\0';
	entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	entry->device = device_name(part);
	entry->source = source_add(text);
	if (!entry->device || !entry->source) {
		kfree(entry->device);
		kfree(entry);
		return -ENOMEM;
	}
	list_add_tail(&entry->list, &map);
	return 0;
}

/**
 * dma_window_sources_init() - read the parameter
 *
 * Context: may sleep; before any device is probed, or when the module is loaded.
 *
 * Return: 0 or -ENOMEM.
 */
int __init dma_window_sources_init(void)
{
	/* Kept for ever: the names of devices and memory are in it. */
	static char text[sizeof(map_text)] __ro_after_init;
	char *rest = text, *part;
	int ret = 0;

	strscpy(text, map_text, sizeof(text));
	while (!ret && (part = strsep(&rest, ","))) {
		part = strim(part);
		if (*part)
			ret = map_add(part);
	}
	return ret;
}

#ifndef MODULE
core_initcall(dma_window_sources_init);
#endif

/**
 * dma_window_sources_any() - does the parameter name a window for anybody?
 *
 * Context: any, after dma_window_sources_init().
 *
 * Return: true if it does.
 */
bool dma_window_sources_any(void)
{
	return unreadable || !list_empty(&map);
}

/* ---- Who has a window ---- */

/* virtio-pci is tried for all devices of its vendor, and takes those of these IDs. */
static bool is_virtio_pci(const struct pci_dev *pdev)
{
	return pdev->vendor == PCI_VENDOR_ID_REDHAT_QUMRANET &&
	       pdev->device >= 0x1000 && pdev->device <= 0x107f;
}

/**
 * dma_window_is_virtio_transport() - is a device one that virtio drivers talk through?
 * @dev: the device, its driver set already
 *
 * Context: any; the device's lock is held.
 *
 * Return: true if @dev is.
 */
bool dma_window_is_virtio_transport(struct device *dev)
{
	const struct device_driver *driver = READ_ONCE(dev->driver);

	if (!driver)
		return false;
	if (dev_is_pci(dev))
		return !strcmp(driver->name, "virtio-pci") &&
		       is_virtio_pci(to_pci_dev(dev));
	return !strcmp(driver->name, "virtio-mmio");
}

static bool has_a_name(const struct device *dev)
{
	return dev_is_pci(dev) || dev->bus == &platform_bus_type;
}

/* Of two parts for one device, the first; *@conflict is the other if they differ. */
static struct map_entry *entry_merge(struct map_entry *first, struct map_entry *entry,
				     const char **conflict)
{
	if (first && first->source != entry->source)
		*conflict = entry->source->text;
	return first ?: entry;
}

/**
 * dma_window_source_find() - find what names a window for a device, beside the tree
 * @dev: the device, its driver set already
 * @named: what the tree says
 * @ref: what the tree says; filled with what the parameter says
 *
 * A device by its name comes before *, which is for those without a window.
 * Two that disagree are a conflict, with which the device is refused.
 *
 * Context: any.
 *
 * Return: @named, or DMA_WINDOW_NAMED if the parameter names a window.
 */
enum dma_window_named dma_window_source_find(struct device *dev,
					     enum dma_window_named named,
					     struct dma_window_ref *ref)
{
	struct map_entry *entry, *found = NULL, *all = NULL;
	const char *conflict = NULL;

	if (!dma_window_sources_any() || named == DMA_WINDOW_BRIDGE ||
	    !has_a_name(dev))
		return named;
	list_for_each_entry(entry, &map, list) {
		if (!strcmp(entry->device, dev_name(dev)))
			found = entry_merge(found, entry, &conflict);
	}
	list_for_each_entry(entry, &map, list) {
		if (!found && !strcmp(entry->device, "*"))
			all = entry_merge(all, entry, &conflict);
	}
	if (found && named != DMA_WINDOW_UNNAMED) {
		ref->conflict = "dma_window.map";
		ref->or_mainline = false;
		return DMA_WINDOW_NAMED;
	}
	if (!found && (named != DMA_WINDOW_UNNAMED || !dma_window_is_virtio_transport(dev)))
		return named;
	if (!found && !all && !unreadable)
		return named;
	ref->prop = "dma_window.map";
	ref->everyone = !found;
	ref->conflict = conflict;
	if (found)
		ref->source = found->source;
	else
		ref->source = unreadable ?: all->source;
	return DMA_WINDOW_NAMED;
}

/* ---- Is the memory fit? ---- */

static int memory_add(struct resource *res, void *bytes)
{
	*(u64 *)bytes += resource_size(res);
	return 0;
}

/* Check that memory that has a name or an address is put aside for us. */
static int memory_check(struct device *dev, const struct dma_window_ref *ref,
			phys_addr_t base, phys_addr_t size)
{
	int ram = region_intersects(base, size, IORESOURCE_SYSTEM_RAM,
				    IORES_DESC_NONE);
	u64 reserved = 0;
	int ret;

	if (ram == REGION_MIXED) {
		dma_window_err(dev, ref, "is RAM in part only");
		return -EINVAL;
	}
	ret = dma_window_memory_check_free(dev, ref, base, size);
	if (ret)
		return ret;
	ret = dma_window_region_check_holder(dev, ref, base, size);
	if (ret != -ENOENT)
		return ret;
	/* Memory that reserve_mem= put aside is nobody else's. */
	if (ref->source->kind == DMA_WINDOW_SOURCE_NAME)
		return 0;
	walk_iomem_res_desc(IORES_DESC_RESERVED, IORESOURCE_MEM, base,
			    base + size - 1, &reserved, memory_add);
	if (ram == REGION_DISJOINT && reserved == size) {
		/* Configuration space, say, is reserved as well. */
		ref->source->requested = request_mem_region(base, size, "dma-window");
		if (ref->source->requested)
			return 0;
		dma_window_err(dev, ref, "is in use by somebody else");
		return -EBUSY;
	}
	dma_window_err(dev, ref, "is memory that nothing puts aside: neither /reserved-memory, firmware nor memmap=");
	return -EBUSY;
}

/**
 * dma_window_source_check() - can a window be made of a source?
 * @dev: the device that is to have it, for messages
 * @ref: what names the source
 * @base: filled with its physical address, bytes
 * @size: filled with its size, bytes
 *
 * For each device, at each probe: a PCI device may have gone.
 *
 * Context: may sleep.
 *
 * Return: 0; -EINVAL if there is no such memory, or two sources disagree; -ENODEV
 * if a PCI device is not there; -EBUSY if the memory is somebody else's;
 * -EOPNOTSUPP if it is not for such a device; -ENOSPC if it is too small. The reason
 * was logged.
 */
int dma_window_source_check(struct device *dev, const struct dma_window_ref *ref,
			    phys_addr_t *base, phys_addr_t *size)
{
	struct dma_window_source *source = ref->source;
	int ret = 0;

	if (ref->conflict) {
		dma_window_err(dev, ref, "%s is named for the device, too",
			       ref->conflict);
		return -EINVAL;
	}
	if (source->bad) {
		dma_window_err(dev, ref, "%s", source->bad);
		return -EINVAL;
	}
	switch (source->kind) {
	case DMA_WINDOW_SOURCE_BAR:
		ret = dma_window_bar_check(dev, ref, base, size);
		break;
	case DMA_WINDOW_SOURCE_NAME:
		if (dma_window_reserved_find(source->reserved, base, size))
			break;
		dma_window_err(dev, ref, "no memory of this name was put aside by reserve_mem=");
		ret = -EINVAL;
		break;
	case DMA_WINDOW_SOURCE_MEMORY:
		*base = source->base;
		*size = source->size;
		break;
	}
	return ret ?: dma_window_check_range(dev, ref, *base, *size);
}

/* ---- Taking the memory ---- */

/**
 * dma_window_source_claim() - take the memory of a source for a window
 * @dev: the window's first device, for messages
 * @ref: what names the source
 * @base: what dma_window_source_check() says
 * @size: the same
 *
 * Context: dma_window_mutex held. May sleep.
 *
 * Return: the memory's kernel address; or -EBUSY if somebody uses it, -EINVAL,
 * -ENODEV or -ENOMEM. The reason was logged.
 */
void *dma_window_source_claim(struct device *dev, const struct dma_window_ref *ref,
			      phys_addr_t base, phys_addr_t size)
{
	struct dma_window_source *source = ref->source;
	int ret;

	lockdep_assert_held(&dma_window_mutex);

	if (source->kind == DMA_WINDOW_SOURCE_BAR)
		return source->vaddr;
	ret = memory_check(dev, ref, base, size);
	if (ret)
		return ERR_PTR(ret);
	if (region_intersects(base, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) == REGION_INTERSECTS) {
		ret = dma_window_check_pages(dev, ref, base, size);
		return ret ? ERR_PTR(ret) : phys_to_virt(base);
	}
	/* Memory that is kept from the kernel is not in the linear map. */
	source->vaddr = memremap(base, size, MEMREMAP_WB);
	if (!source->vaddr) {
		dma_window_err(dev, ref, "cannot be mapped");
		dma_window_source_release(source);
		return ERR_PTR(-ENOMEM);
	}
	return source->vaddr;
}

/**
 * dma_window_source_release() - undo dma_window_source_claim()
 * @source: the source; no window uses it any more
 *
 * Context: may sleep.
 */
void dma_window_source_release(struct dma_window_source *source)
{
	/* A BAR is its driver's: see bar_remove(). */
	if (source->kind == DMA_WINDOW_SOURCE_BAR)
		return;
	if (source->vaddr)
		memunmap(source->vaddr);
	source->vaddr = NULL;
	if (source->requested)
		release_mem_region(source->base, source->size);
	source->requested = false;
}

/**
 * dma_window_source_name() - what to call a window
 * @source: what it is made of
 *
 * Context: may sleep.
 *
 * Return: a name that can be a file's, to be freed, or NULL.
 */
const char *dma_window_source_name(const struct dma_window_source *source)
{
	switch (source->kind) {
	case DMA_WINDOW_SOURCE_BAR:
		return kasprintf(GFP_KERNEL, "bar%u@%04x:%02x:%02x.%u", source->bar,
				 source->domain, source->bus,
				 PCI_SLOT(source->devfn), PCI_FUNC(source->devfn));
	case DMA_WINDOW_SOURCE_NAME:
		return kstrdup(source->reserved, GFP_KERNEL);
	default:
		return kasprintf(GFP_KERNEL, "window@%llx", (u64)source->base);
	}
}

static bool __init is_there(const char *name)
{
	struct device *dev = NULL;

#ifdef CONFIG_PCI
	dev = bus_find_device_by_name(&pci_bus_type, NULL, name);
#endif
	if (!dev)
		dev = bus_find_device_by_name(&platform_bus_type, NULL, name);
	put_device(dev);
	return dev;
}

/**
 * dma_window_sources_report() - name the devices that the parameter names in vain
 *
 * Context: may sleep; when the devices of the board are there.
 *
 * Return: 0.
 */
int __init dma_window_sources_report(void)
{
	struct map_entry *entry;

	list_for_each_entry(entry, &map, list)
		if (strcmp(entry->device, "*") && !is_there(entry->device))
			pr_warn("map: %s: no such device so far\n", entry->device);
	return 0;
}

#ifndef MODULE
late_initcall_sync(dma_window_sources_report);
#else
/**
 * dma_window_sources_exit() - undo dma_window_sources_init(), when all windows are gone
 *
 * Context: may sleep.
 */
void dma_window_sources_exit(void)
{
	struct dma_window_source *source, *next_source;
	struct map_entry *entry, *next;

	list_for_each_entry_safe(entry, next, &map, list) {
		kfree(entry->device);
		kfree(entry);
	}
	list_for_each_entry_safe(source, next_source, &dma_window_sources, list)
		kfree(source);
}
#endif
