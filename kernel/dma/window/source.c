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
 * A BAR is the host's memory, mapped write-back, and there is no struct page of it.
 * Only virtio devices may use one: their back ends are the VMM's, and reach the
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
static LIST_HEAD(sources);

/* The parameter as it was given: there is no allocator yet when it is read. */
static char map_text[1024];

static int map_set(const char *val, const struct kernel_param *kp)
{
	if (strscpy(map_text, val, sizeof(map_text)) >= 0)
		return 0;
	/* Some device would be left out: refuse them all. */
	pr_err("map: longer than %zu bytes: no virtio device is served\n",
	       sizeof(map_text) - 1);
	strscpy(map_text, "*=too long", sizeof(map_text));
	return 0;
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
static const char *parse_bar(struct dma_window_source *source, const char *text)
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
static const char *parse_memory(struct dma_window_source *source, const char *text)
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

static const char *source_parse(struct dma_window_source *source)
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
static struct dma_window_source *source_add(const char *text)
{
	struct dma_window_source *source;

	list_for_each_entry(source, &sources, list)
		if (!strcmp(source->text, text))
			return source;
	source = kzalloc(sizeof(*source), GFP_KERNEL);
	if (!source)
		return NULL;
	source->text = text;
	source->bad = source_parse(source);
	if (source->bad)
		pr_err("map: %s: %s\n", text, source->bad);
	list_add_tail(&source->list, &sources);
	return source;
}

/* Note what one part of the parameter says; what it cannot mean refuses devices. */
static int map_add(char *part)
{
	struct map_entry *entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	char *text = strchr(part, '=');

	if (!entry)
		return -ENOMEM;
	if (text && text != part) {
		*text++ = '\0';
		entry->device = part;
	} else {
		/* Refuse them all: nobody knows which one is meant. */
		pr_err("map: %s: is not DEVICE=MEMORY: no virtio device is served\n",
		       part);
		text = part;
		entry->device = "*";
	}
	entry->source = source_add(text);
	if (!entry->source) {
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
	strreplace(text, '\n', '\0');
	while (!ret && (part = strsep(&rest, ",")))
		if (*part)
			ret = map_add(part);
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
	return !list_empty(&map);
}

/* ---- Who has a window ---- */

/* virtio-pci is tried for all devices of its vendor, and takes those of these IDs. */
static bool is_virtio_pci(const struct pci_dev *pdev)
{
	return pdev->vendor == PCI_VENDOR_ID_REDHAT_QUMRANET &&
	       pdev->device >= 0x1000 && pdev->device <= 0x107f;
}

static bool is_virtio_transport(struct device *dev)
{
	if (!dev->driver)
		return false;
	if (dev_is_pci(dev))
		return !strcmp(dev->driver->name, "virtio-pci") &&
		       is_virtio_pci(to_pci_dev(dev));
	return !strcmp(dev->driver->name, "virtio-mmio");
}

static bool has_a_name(const struct device *dev)
{
	return dev_is_pci(dev) || dev->bus == &platform_bus_type;
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
	struct map_entry *entry, *found = NULL;

	if (list_empty(&map) || named == DMA_WINDOW_BRIDGE || !has_a_name(dev))
		return named;
	list_for_each_entry(entry, &map, list) {
		if (strcmp(entry->device, dev_name(dev)))
			continue;
		if (found && found->source != entry->source)
			ref->conflict = entry->source->text;
		found = found ?: entry;
	}
	if (found && named != DMA_WINDOW_UNNAMED) {
		ref->conflict = "dma_window.map";
		ref->or_mainline = false;
		return DMA_WINDOW_NAMED;
	}
	if (!found && named == DMA_WINDOW_UNNAMED && is_virtio_transport(dev))
		list_for_each_entry(entry, &map, list)
			if (!strcmp(entry->device, "*"))
				found = found ?: entry;
	if (!found)
		return named;
	ref->everyone = !strcmp(found->device, "*");
	ref->prop = "dma_window.map";
	ref->source = found->source;
	return DMA_WINDOW_NAMED;
}

/* ---- Is the memory fit? ---- */

static int bar_check(struct device *dev, const struct dma_window_ref *ref,
		     struct pci_dev *pdev, phys_addr_t *base, phys_addr_t *size)
{
	const struct dma_window_source *source = ref->source;
	unsigned long flags;

	if (!pdev) {
		dma_window_err(dev, ref, "there is no such PCI device");
		return -ENODEV;
	}
	if (!is_virtio_transport(dev)) {
		dma_window_err(dev, ref, "only virtio devices can use a BAR");
		return -EOPNOTSUPP;
	}
	flags = pci_resource_flags(pdev, source->bar);
	*base = pci_resource_start(pdev, source->bar);
	*size = pci_resource_len(pdev, source->bar);
	if (!(flags & IORESOURCE_MEM) || (flags & IORESOURCE_UNSET) || !*size) {
		dma_window_err(dev, ref, "the device has no memory there");
		return -EINVAL;
	}
	if (!(flags & IORESOURCE_PREFETCH)) {
		dma_window_err(dev, ref, "is not prefetchable: it is registers, not memory");
		return -EINVAL;
	}
	if (!source->pdev && pdev->dev.driver) {
		dma_window_err(dev, ref, "is in use by driver %s",
			       pdev->dev.driver->name);
		return -EBUSY;
	}
	return 0;
}

static struct pci_dev *bar_device(const struct dma_window_source *source)
{
	return pci_get_domain_bus_and_slot(source->domain, source->bus,
					   source->devfn);
}

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
	if (ram == REGION_DISJOINT && reserved == size)
		return 0;
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
	struct pci_dev *pdev;
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
		pdev = bar_device(source);
		ret = bar_check(dev, ref, pdev, base, size);
		pci_dev_put(pdev);
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

static void *bar_claim(struct device *dev, const struct dma_window_ref *ref,
		       phys_addr_t base, phys_addr_t size)
{
	struct dma_window_source *source = ref->source;
	struct pci_dev *pdev = bar_device(source);
	void *vaddr;
	int ret;

	if (!pdev)
		return ERR_PTR(-ENODEV);
	ret = pci_enable_device_mem(pdev);
	if (ret) {
		dma_window_err(dev, ref, "cannot be enabled: error %d", ret);
		goto put;
	}
	ret = pci_request_region(pdev, source->bar, "dma-window");
	if (ret) {
		dma_window_err(dev, ref, "is in use by somebody else");
		goto disable;
	}
	vaddr = memremap(base, size, MEMREMAP_WB);
	if (!vaddr) {
		dma_window_err(dev, ref, "cannot be mapped");
		ret = -ENOMEM;
		goto release;
	}
	source->pdev = pdev;
	source->vaddr = vaddr;
	return vaddr;

release:
	pci_release_region(pdev, source->bar);
disable:
	pci_disable_device(pdev);
put:
	pci_dev_put(pdev);
	return ERR_PTR(ret);
}

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
		return bar_claim(dev, ref, base, size);
	ret = memory_check(dev, ref, base, size);
	if (ret)
		return ERR_PTR(ret);
	if (region_intersects(base, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) == REGION_INTERSECTS) {
		ret = dma_window_memory_check_pages(dev, ref, base, size);
		return ret ? ERR_PTR(ret) : phys_to_virt(base);
	}
	/* Memory that firmware keeps from the kernel is not in the linear map. */
	source->vaddr = memremap(base, size, MEMREMAP_WB);
	if (!source->vaddr) {
		dma_window_err(dev, ref, "cannot be mapped");
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
	struct pci_dev *pdev = source->pdev;

	if (source->vaddr)
		memunmap(source->vaddr);
	source->vaddr = NULL;
	source->pdev = NULL;
	if (!pdev)
		return;
	pci_release_region(pdev, source->bar);
	pci_disable_device(pdev);
	pci_dev_put(pdev);
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

/* ---- A BAR's device goes ---- */

/* The window in a BAR of a device, or NULL. */
static struct dma_window *bar_window(const struct device *dev)
{
	struct dma_window *win;

	lockdep_assert_held(&dma_window_mutex);

	list_for_each_entry(win, &dma_window_list, list)
		if (win->source && win->source->pdev &&
		    &win->source->pdev->dev == dev)
			return win;
	return NULL;
}

/*
 * Deny the devices of a window whose memory is about to go, and take their drivers
 * from them: no mapping may be left when the memory is gone.
 */
static int bar_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct dma_window *win;
	struct device *dev;

	if (action != BUS_NOTIFY_DEL_DEVICE)
		return NOTIFY_DONE;
	mutex_lock(&dma_window_mutex);
	win = bar_window(data);
	if (win)
		win->ended = true;
	while (win) {
		dev = dma_window_client_first(win);
		if (!dev)
			break;
		dma_window_deny(dev);
		mutex_unlock(&dma_window_mutex);
		dev_err(dev, "%s: its PCI device is gone: the device can do no DMA any more\n",
			win->where);
		device_release_driver(dev);
		dma_window_evict(dev);
		put_device(dev);
		mutex_lock(&dma_window_mutex);
	}
	if (win)
		dma_window_gone(win);
	mutex_unlock(&dma_window_mutex);
	return NOTIFY_OK;
}

static struct notifier_block bar_notifier = {
	.notifier_call = bar_notify,
};

/**
 * dma_window_sources_watch() - learn of PCI devices that go
 *
 * Context: may sleep.
 *
 * Return: 0, or what bus_register_notifier() returns.
 */
int __init dma_window_sources_watch(void)
{
	return list_empty(&sources) ? 0 :
	       bus_register_notifier(&pci_bus_type, &bar_notifier);
}

#ifndef MODULE
device_initcall(dma_window_sources_watch);
#endif

#ifdef MODULE
/**
 * dma_window_sources_exit() - undo the init functions, when all windows are gone
 *
 * Context: may sleep.
 */
void dma_window_sources_exit(void)
{
	struct dma_window_source *source, *next_source;
	struct map_entry *entry, *next;

	if (!list_empty(&sources))
		bus_unregister_notifier(&pci_bus_type, &bar_notifier);
	list_for_each_entry_safe(entry, next, &map, list)
		kfree(entry);
	list_for_each_entry_safe(source, next_source, &sources, list)
		kfree(source);
}
#endif
