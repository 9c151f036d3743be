// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows and devices, as debugfs, sysfs and the device tree have them.
 *
 * debugfs is for root. Without it there are still the devices that name a
 * region, and what sysfs says of them.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

const struct stat_file stat_files[ST_MAX] = {
	[ST_NSLABS]	  = { "io_tlb_nslabs", "Slots of 2 KiB", true },
	[ST_USED]	  = { "io_tlb_used", "Slots in use", true },
	[ST_HIWATER]	  = { "io_tlb_used_hiwater", "Most slots ever in use", true },
	[ST_BASE]	  = { "base", "Physical address", true },
	[ST_SIZE]	  = { "size", "Bytes", true },
	[ST_LARGEST_FREE] = { "largest_free", "Largest free run, bytes", true },
	[ST_METADATA]	  = { "metadata", "Bytes of records", true },
	[ST_MAPS]	  = { "maps", "Streaming mappings made" },
	[ST_UNMAPS]	  = { "unmaps", "Streaming mappings undone" },
	[ST_FLOOR_MAPS]	  = { "floor_maps", "Mappings that took room of a floor" },
	[ST_ALLOCS]	  = { "allocs", "Coherent allocations made" },
	[ST_FREES]	  = { "frees", "Coherent allocations freed" },
	[ST_BYTES_IN]	  = { "bytes_in", "Bytes copied into the window" },
	[ST_BYTES_OUT]	  = { "bytes_out", "Bytes copied out of the window" },
	[ST_FAIL_FULL]	  = { "fail_full", "Requests that found no room" },
	[ST_FAIL_MASK]	  = { "fail_mask", "Requests out of the device's reach" },
	[ST_FAIL_NOMEM]	  = { "fail_nomem", "Requests without memory for a record" },
	[ST_FAIL_IOMMU]	  = { "fail_iommu", "Requests that the IOMMU did not map" },
	[ST_FAIL_INVALID] = { "fail_invalid", "Wrong calls of drivers" },
	[ST_LEAKED]	  = { "leaked", "Bytes that an IOMMU did not let go of" },
};

static const char * const buses[] = { "pci", "platform", "virtio", "amba" };

static const struct {
	int		id;
	const char	*name;
} kinds[] = {
	{ 1, "virtio-net" }, { 2, "virtio-blk" }, { 3, "virtio-console" },
	{ 4, "virtio-rng" }, { 5, "virtio-balloon" }, { 8, "virtio-scsi" },
	{ 9, "virtio-9p" }, { 16, "virtio-gpu" }, { 18, "virtio-input" },
	{ 19, "virtio-vsock" }, { 20, "virtio-crypto" }, { 23, "virtio-iommu" },
	{ 25, "virtio-sound" }, { 26, "virtio-fs" },
};

static bool is_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

/* each_entry: readdir() without what is hidden. */
static const char *each_entry(DIR *dir)
{
	struct dirent *e;

	do {
		e = readdir(dir);
	} while (e && e->d_name[0] == '.');
	return e ? e->d_name : NULL;
}

static void link_name(const char *path, char *buf, size_t size)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	buf[0] = '\0';
	if (n <= 0)
		return;
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(buf, size, "%s", slash ? slash + 1 : target);
}

bool window_counters(struct window *w)
{
	int i;

	w->has = 0;
	for (i = 0; i < ST_MAX; i++)
		if (!read_number(at("/sys/kernel/debug/swiotlb/%s/%s", w->name,
				    stat_files[i].name), &w->stat[i]))
			w->has |= 1U << i;
	/* A pool of swiotlb has the first three, but none of the others. */
	return (w->has >> ST_BASE & 1) && (w->has >> ST_MAPS & 1);
}

uint64_t window_failures(const struct window *w)
{
	uint64_t n = 0;
	int i;

	for (i = ST_FAIL_MASK; i <= ST_FAIL_INVALID; i++)
		n += w->stat[i];
	return n;
}

/* The directory in sysfs of a device of any bus that is looked at. */
static bool find_path(struct device *d)
{
	char real[PATH_MAX];
	const char *p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buses); i++) {
		p = at("/sys/bus/%s/devices/%s", buses[i], d->name);
		if (!exists(p) || !realpath(p, real) || strlen(real) >= sizeof(d->path))
			continue;
		snprintf(d->path, sizeof(d->path), "%s", real);
		d->pci = !strcmp(buses[i], "pci");
		return true;
	}
	return false;
}

/* The property that names a region, on the device's own node or one above. */
static void find_source(struct device *d)
{
	static const char * const props[] = { "restricted-dma-region", "memory-region" };
	char dir[PATH_MAX], *slash;
	char base[PATH_MAX];
	bool own = true;
	size_t i;

	snprintf(dir, sizeof(dir), "%s", d->path);
	if (!realpath(at("/sys/devices"), base))
		return;
	while (strlen(dir) > strlen(base)) {
		for (i = 0; i < ARRAY_SIZE(props); i++) {
			char prop[PATH_MAX + 64];

			snprintf(prop, sizeof(prop), "%s/of_node/%s", dir, props[i]);
			/* Without a window, memory-region may be for anything. */
			if ((i && d->window < 0) || !exists(prop))
				continue;
			snprintf(d->source, sizeof(d->source), "%s%s", props[i],
				 own ? "" : " of a bridge");
			return;
		}
		/* Only PCI devices inherit; a virtio device has its transport's. */
		if (!d->pci && strncmp(d->name, "virtio", 6))
			return;
		slash = strrchr(dir, '/');
		if (!slash)
			return;
		*slash = '\0';
		own = false;
	}
}

static void add_use(struct device *d, const char *name)
{
	size_t n = strlen(d->uses);

	snprintf(d->uses + n, sizeof(d->uses) - n, "%s%s", n ? " " : "", name);
}

static unsigned int count_entries(const char *path, const char *prefix)
{
	unsigned int n = 0;
	const char *name;
	DIR *dir = opendir(path);

	if (!dir)
		return 0;
	while ((name = each_entry(dir)))
		n += !strncmp(name, prefix, strlen(prefix));
	closedir(dir);
	return n;
}

/* How many receive buffers a queue of the interface has; 0 if it does not say. */
static unsigned int receive_ring(const char *name)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct ifreq ifr = { .ifr_data = (void *)&ring };
	int fd;

	/* Below another root it is another machine's. */
	if (opt.root[0])
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, SIOCETHTOOL, &ifr))
		ring.rx_pending = 0;
	close(fd);
	return ring.rx_pending;
}

/* Disks and interfaces in a directory of sysfs, at most DEPTH below it. */
static void find_uses(struct device *d, const char *path, int depth)
{
	char sub[PATH_MAX];
	const char *name;
	unsigned int n;
	DIR *dir = opendir(path);
	bool leaf = strlen(path) > 6 && (!strcmp(path + strlen(path) - 4, "/net") ||
					 !strcmp(path + strlen(path) - 6, "/block"));

	if (!dir)
		return;
	while ((name = each_entry(dir))) {
		if (snprintf(sub, sizeof(sub), "%s/%s", path, name) >= (int)sizeof(sub))
			continue;
		if (leaf) {
			add_use(d, name);
			strncat(sub, strstr(path, "/net") ? "/queues" : "/mq",
				sizeof(sub) - strlen(sub) - 1);
			n = count_entries(sub, strstr(path, "/net") ? "rx-" : "");
			if (n > d->queues)
				d->queues = n;
			if (strstr(path, "/net"))
				d->ring = receive_ring(name);
		} else if (depth && is_dir(sub) && !strchr(name, ':') &&
			   (!strcmp(name, "net") || !strcmp(name, "block") ||
			    !strncmp(name, "virtio", 6) || !strncmp(name, "host", 4) ||
			    !strncmp(name, "target", 6) || !strncmp(name, "nvme", 4))) {
			find_uses(d, sub, depth - 1);
		} else if (depth && strchr(name, ':') && strstr(path, "/target")) {
			find_uses(d, sub, depth - 1);
		}
	}
	closedir(dir);
}

/* The kind of a virtio device, or of the one below a transport. */
static void find_virtio(struct device *d)
{
	char sub[PATH_MAX], features[80];
	const char *name = NULL;
	uint64_t id;
	DIR *dir = NULL;
	size_t i;

	if (!strncmp(d->name, "virtio", 6)) {
		snprintf(sub, sizeof(sub), "%s", d->path);
	} else {
		dir = opendir(d->path);
		while (dir && (name = each_entry(dir)))
			if (!strncmp(name, "virtio", 6) && strncmp(name, "virtio_mmio", 11))
				break;
		if (!name)
			goto out;
		snprintf(sub, sizeof(sub), "%s/%s", d->path, name);
	}
	strncat(sub, "/device", sizeof(sub) - strlen(sub) - 1);
	if (!read_number(sub, &id))
		d->virtio_id = id;
	*strrchr(sub, '/') = '\0';
	strncat(sub, "/features", sizeof(sub) - strlen(sub) - 1);
	if (read_text(sub, features, sizeof(features)) >= 34)
		d->platform = features[33] == '1';
	*strrchr(sub, '/') = '\0';
	strncat(sub, "/driver", sizeof(sub) - strlen(sub) - 1);
	if (d->virtio_id >= 0)
		link_name(sub, d->driver, sizeof(d->driver));
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].id == d->virtio_id)
			snprintf(d->kind, sizeof(d->kind), "%s", kinds[i].name);
	if (d->virtio_id >= 0 && !d->kind[0])
		snprintf(d->kind, sizeof(d->kind), "virtio (%d)", d->virtio_id);
out:
	if (dir)
		closedir(dir);
}

static void iommu_name(struct device *d)
{
	char sub[PATH_MAX];

	/* "iommu" leads to the IOMMU's own entry, whose parent has the driver. */
	snprintf(sub, sizeof(sub), "%s/iommu", d->path);
	link_name(sub, d->iommu_driver, sizeof(d->iommu_driver));
}

/**
 * device_look() - find out about a device
 * @d: filled in, but for the window, which is -1
 * @name: the device's name on its bus
 */
void device_look(struct device *d, const char *name)
{
	int window = d->window;
	char sub[PATH_MAX];

	memset(d, 0, sizeof(*d));
	d->window = window;
	d->virtio_id = -1;
	d->platform = -1;
	d->queues = 1;
	snprintf(d->name, sizeof(d->name), "%s", name);
	if (!find_path(d))
		return;
	snprintf(sub, sizeof(sub), "%s/driver", d->path);
	link_name(sub, d->driver, sizeof(d->driver));
	find_virtio(d);
	find_uses(d, d->path, 5);
	find_source(d);
	snprintf(sub, sizeof(sub), "%s/iommu_group", d->path);
	d->iommu = exists(sub);
	if (d->iommu)
		iommu_name(d);
	snprintf(sub, sizeof(sub), "%s/dma_window/copybreak", d->path);
	d->has_copybreak = !read_number(sub, &d->copybreak);
}

/* Lines of sysfs that count what a device delivered, in units of bytes. */
bool device_delivered(const struct device *d, uint64_t *bytes)
{
	char uses[64], *name, *save, text[256];
	bool any = false;
	uint64_t value;

	*bytes = 0;
	snprintf(uses, sizeof(uses), "%s", d->uses);
	for (name = strtok_r(uses, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		if (!read_number(at("/sys/class/net/%s/statistics/rx_bytes", name), &value)) {
			*bytes += value;
			any = true;
		} else if (read_text(at("/sys/class/block/%s/stat", name), text,
				     sizeof(text)) > 0 &&
			   sscanf(text, "%*u %*u %llu", (unsigned long long *)&value) == 1) {
			*bytes += value * 512;
			any = true;
		}
	}
	return any;
}

static struct device *add_device(struct state *s, const char *name, int window)
{
	struct device *d;

	s->devices = xgrow(s->devices, s->ndevices, &s->cap_devices, sizeof(*s->devices));
	d = &s->devices[s->ndevices++];
	d->window = window;
	device_look(d, name);
	return d;
}

static void window_source(struct state *s, struct window *w, int index)
{
	char text[256] = "";
	size_t i;

	if (!strncmp(w->name, "untrusted-", 10)) {
		snprintf(w->source, sizeof(w->source), "dma_window.untrusted");
		return;
	}
	for (i = 0; i < s->ndevices; i++)
		if (s->devices[i].window == index && s->devices[i].source[0])
			snprintf(w->source, sizeof(w->source), "%s", s->devices[i].source);
	if (read_text(at("/sys/firmware/devicetree/base/reserved-memory/%s/compatible",
			 w->name), text, sizeof(text)) > 0 &&
	    !strcmp(text, "restricted-dma-pool"))
		snprintf(w->source + strlen(w->source), sizeof(w->source) - strlen(w->source),
			 "%s(restricted-dma-pool)", w->source[0] ? " " : "");
}

static void load_windows(struct state *s)
{
	const char *name;
	DIR *dir = opendir(at("/sys/kernel/debug/swiotlb"));
	size_t i;

	if (!dir) {
		s->error = errno;
		return;
	}
	while ((name = each_entry(dir))) {
		char text[4096], *line, *save;
		struct window *w;

		s->windows = xgrow(s->windows, s->nwindows, &s->cap_windows,
				   sizeof(*s->windows));
		w = &s->windows[s->nwindows];
		memset(w, 0, sizeof(*w));
		snprintf(w->name, sizeof(w->name), "%s", name);
		if (!is_dir(at("/sys/kernel/debug/swiotlb/%s", name)) || !window_counters(w))
			continue;
		s->nwindows++;
		if (read_text(at("/sys/kernel/debug/swiotlb/%s/devices", name), text,
			      sizeof(text)) <= 0)
			continue;
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			add_device(s, line, s->nwindows - 1);
	}
	closedir(dir);
	for (i = 0; i < s->nwindows; i++)
		window_source(s, &s->windows[i], i);
}

/* Devices that name a region, but are in no window that is readable. */
static void load_named(struct state *s)
{
	const char *name;
	size_t i, j;
	DIR *dir;

	for (i = 0; i < ARRAY_SIZE(buses); i++) {
		dir = opendir(at("/sys/bus/%s/devices", buses[i]));
		if (!dir)
			continue;
		while ((name = each_entry(dir))) {
			struct device *d;

			for (j = 0; j < s->ndevices; j++)
				if (!strcmp(s->devices[j].name, name))
					break;
			if (j < s->ndevices)
				continue;
			d = add_device(s, name, -1);
			if (!d->source[0] && !d->has_copybreak)
				s->ndevices--;
		}
		closedir(dir);
	}
	/* A virtio device is its transport's, which has the window. */
	for (i = 0; i < s->ndevices; i++) {
		const struct device *v = &s->devices[i];

		if (strncmp(v->name, "virtio", 6))
			continue;
		for (j = 0; j < s->ndevices; j++)
			if (j != i && s->devices[j].path[0] &&
			    !strncmp(v->path, s->devices[j].path, strlen(s->devices[j].path)) &&
			    v->path[strlen(s->devices[j].path)] == '/')
				break;
		if (j == s->ndevices)
			continue;
		s->devices[i--] = s->devices[--s->ndevices];
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct device *)a)->name, ((const struct device *)b)->name);
}

/**
 * state_load() - all windows, and all devices that have one or name a region
 * @s: filled in; s->error is why there are no counters
 */
void state_load(struct state *s)
{
	memset(s, 0, sizeof(*s));
	s->module = exists(at("/sys/module/dma_window/initstate"));
	s->kernel = exists(at("/sys/module/dma_window"));
	load_windows(s);
	load_named(s);
	if (s->ndevices)
		qsort(s->devices, s->ndevices, sizeof(*s->devices), by_name);
}

void state_free(struct state *s)
{
	free(s->windows);
	free(s->devices);
	memset(s, 0, sizeof(*s));
}

/* One sentence for whoever expected a window. */
const char *state_why_not(const struct state *s)
{
	if (s->error == EACCES || s->error == EPERM)
		return "the counters are in debugfs, which only root may read";
	if (s->error && !is_dir(at("/sys/kernel/debug")))
		return "there is no debugfs: the kernel needs CONFIG_DEBUG_FS";
	if (s->error)
		return "no /sys/kernel/debug/swiotlb: is debugfs mounted (mount -t debugfs "
		"none /sys/kernel/debug), and has the kernel CONFIG_DMA_WINDOW?";
	if (!s->nwindows)
		return "the kernel has made no window: \"dma-window doctor\" says why";
	return "";
}

/* Path in the device tree of the region that a device's own node names. */
const char *region_of(const struct device *d, char *buf, size_t size)
{
	unsigned char want[4], have[4];
	char path[PATH_MAX];
	const char *name;
	FILE *f;
	DIR *dir;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/of_node/restricted-dma-region", d->path);
	f = fopen(path, "re");
	if (!f)
		return NULL;
	if (fread(want, 1, 4, f) != 4) {
		fclose(f);
		return NULL;
	}
	fclose(f);
	dir = opendir(at("/sys/firmware/devicetree/base/reserved-memory"));
	while (dir && (name = each_entry(dir))) {
		f = fopen(at("/sys/firmware/devicetree/base/reserved-memory/%s/phandle", name),
			  "re");
		if (!f)
			continue;
		if (fread(have, 1, 4, f) == 4 && !memcmp(want, have, 4))
			snprintf(buf, size, "%s", name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return buf[0] ? buf : NULL;
}
