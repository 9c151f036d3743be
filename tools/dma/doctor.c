// SPDX-License-Identifier: GPL-2.0-only
/*
 * doctor: looks at the kernel, its parameters, the device tree, the log, features of
 * virtio and the counters, and says what is wrong and what to do.
 */

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static int level;

/* How a finding begins, by its level. */
static const char * const words[] = { "ok  ", "WARN", "BAD ", "?   " };

static void PRINTF(4, 5) finding(int how, const char *about, const char *advice,
				 const char *fmt, ...)
{
	static const char * const names[] = { "fine", "warn", "bad", "unknown" };
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	level = worse(level, how);
	if (opt.json) {
		json_open(NULL, '{');
		json_text("level", names[how]);
		json_text("about", about);
		json_text("finding", text);
		json_text("advice", advice ? advice : "");
		json_close('}');
		return;
	}
	printf("%s %s: %s\n", words[how], about, text);
	if (advice)
		printf("     %s\n", advice);
}

/*
 * Messages of kernel/dma/window/, the part that does not vary, and what to do: in
 * short what the page "what is wrong" has.
 */
static const struct {
	const char	*text;
	int		how;
	const char	*advice;
} messages[] = {
	{ "it must be one phandle", EXIT_BAD,
	  "write restricted-dma-region = <&region>; with nothing else in it" },
	{ "dangling phandle", EXIT_BAD,
	  "the region's node is not in this tree: was it left out, or its overlay not applied?" },
	{ "is not a child of /reserved-memory", EXIT_BAD,
	  "move the region there" },
	{ ": is disabled", EXIT_BAD,
	  "remove the region's status, or the device's property" },
	{ "is reusable: others may use its memory", EXIT_BAD,
	  "remove \"reusable\" from the region" },
	{ "is no-map: the kernel cannot copy through it", EXIT_BAD,
	  "remove \"no-map\" from the region" },
	{ "is a system-wide default pool", EXIT_BAD,
	  "remove linux,cma-default or linux,dma-default" },
	{ "it belongs to another user", EXIT_BAD,
	  "remove the region's compatible, or use another region" },
	{ "it must be one entry of", EXIT_BAD,
	  "a region is one range; see #address-cells and #size-cells of /reserved-memory" },
	{ "its size is zero", EXIT_BAD,
	  "give the region a size" },
	{ "has neither reg nor size", EXIT_BAD,
	  "give the region a reg" },
	{ "are not whole pages of", EXIT_BAD,
	  "align the region to the page size of the guest's kernel" },
	{ "this kind of device needs", EXIT_BAD,
	  "a larger region: README, \"How large a window?\"" },
	{ "is too small, or too full", EXIT_BAD,
	  "a larger region, or fewer devices or queues in it" },
	{ "is too small:", EXIT_BAD,
	  "a larger region: at least 1 MiB, or 64 pages" },
	{ "was not reserved at boot", EXIT_BAD,
	  "see the kernel's \"OF: reserved mem:\" messages; are the cells and ranges of "
	  "/reserved-memory those of the root?" },
	{ "could not be set up at boot", EXIT_BAD,
	  "a restricted-dma-pool must not be reusable, no-map or a default; the host still "
	  "shares the memory, which the guest now uses itself" },
	{ "reserved at boot as", EXIT_BAD,
	  "two regions have one name, or an overlay changed reg" },
	{ ": overlaps ", EXIT_BAD,
	  "every byte of a region must be its own: move it" },
	{ "its memory is that of window", EXIT_BAD,
	  "two regions overlap; devices that share a window name one node" },
	{ "is not mapped RAM", EXIT_BAD,
	  "the range is not memory of this guest: is its memory large enough?" },
	{ "is not reserved, the kernel uses it", EXIT_BAD,
	  "the memory went back to the page allocator: see the boot's messages" },
	{ "is in use as a swiotlb pool", EXIT_BAD,
	  "give the pool and the window a node each" },
	{ "the device is not dma-coherent", EXIT_BAD,
	  "add dma-coherent to the device, for PCI to the host bridge" },
	{ "the device has other DMA operations already", EXIT_BAD,
	  "Xen serves the device: one of the two has to go" },
	{ "out of reach of DMA mask", EXIT_BAD,
	  "place the region lower" },
	{ "is out of reach: DMA mask", EXIT_BAD,
	  "place the region lower" },
	{ "a balloon cannot be confined", EXIT_BAD,
	  "do not give virtio-balloon a region: it hands out all memory" },
	{ "an IOMMU cannot be confined", EXIT_BAD,
	  "do not give a virtio-iommu a region" },
	{ "does not offer VIRTIO_F_ACCESS_PLATFORM", EXIT_BAD,
	  "QEMU: iommu_platform=on; or take the device out of the iommu-map" },
	{ "has no window of its own, and can do no DMA", EXIT_BAD,
	  "its transport was refused: see that line" },
	{ "its IOMMU is not there", EXIT_BAD,
	  "build the IOMMU's driver in, or take the device out of iommus or iommu-map" },
	{ "its IOMMU domain is not one for the DMA API", EXIT_BAD,
	  "no iommu.passthrough=1, no identity domain" },
	{ "shares its IOMMU group with", EXIT_BAD,
	  "give all devices of the group one region" },
	{ "its driver may manage DMA by itself", EXIT_BAD,
	  "do not bind VFIO to a device with a region" },
	{ "refused: an IOMMU took it over", EXIT_BAD,
	  "the IOMMU's driver came too late: build it in" },
	{ "cannot be mapped by the IOMMU", EXIT_BAD,
	  "-28: the domain has no address space for a window of this size" },
	{ "no device reads it, nothing is confined by it", EXIT_BAD,
	  "the property has to be on a device's own node, a virtio device's, or a PCI bridge; "
	  "is there a device in that slot?" },
	{ "a mapping of", EXIT_WARN,
	  "often a larger window is faster: \"dma-window size\"" },
	{ "an allocation of", EXIT_WARN,
	  "coherent memory did not fit: a larger window" },
	{ "can never hold", EXIT_BAD,
	  "a larger window" },
	{ "which is not mapped: ignored", EXIT_BAD,
	  "a bug in the device's driver" },
	{ "a balloon is not confined by memory-region", EXIT_WARN,
	  "take the balloon's pool away, or dma_window.pools=strict" },
	{ "left to mainline", EXIT_WARN,
	  "mainline's pool serves it, or nothing does; for a window name the region by "
	  "restricted-dma-region" },
};

/* Lines that other parts of the kernel write with the same words. */
static bool line_is_ours(const char *line, const char *text)
{
	if (strstr(line, "dma-window: ") || strstr(line, "restricted-dma-region: ") ||
	    strstr(line, "memory-region: "))
		return true;
	if (strstr(line, "window@") || strstr(line, "dma_window"))
		return true;
	return strstr(text, "VIRTIO_F_ACCESS_PLATFORM") || strstr(text, "restricted") ||
	       strstr(text, "no window of its own") || strstr(text, "out of reach of DMA mask");
}

static size_t seen[ARRAY_SIZE(messages)];

static void log_line(char *line)
{
	const char *text = strchr(line, ';');
	size_t i;

	/* "6,123,4567,-;text" of /dev/kmsg, or a line of dmesg. */
	text = isdigit(line[0]) && text ? text + 1 : line;
	for (i = 0; i < ARRAY_SIZE(messages); i++) {
		if (!strstr(text, messages[i].text) || !line_is_ours(text, messages[i].text))
			continue;
		/* Of each kind, three say enough. */
		if (seen[i]++ < 3)
			finding(messages[i].how, "log", messages[i].advice, "%s", text);
		return;
	}
}

static void check_log(void)
{
	const char *path = opt.log ? opt.log : at("/dev/kmsg");
	char buf[8192], *line, *save;
	size_t i, n = 0;
	ssize_t len;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		if (opt.log)
			die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
		finding(EXIT_CANNOT, "log", "as root, or: dmesg >FILE; dma-window doctor "
			"--log FILE",
			"cannot be read: %s", strerror(errno));
		return;
	}
	if (opt.log || opt.root[0]) {
		FILE *f = fdopen(fd, "r");

		while (f && fgets(buf, sizeof(buf), f)) {
			buf[strcspn(buf, "\n")] = '\0';
			log_line(buf);
		}
		if (f)
			fclose(f);
	} else {
		for (;;) {
			len = read(fd, buf, sizeof(buf) - 1);
			/* EPIPE: lines were overwritten meanwhile. */
			if (len < 0 && (errno == EPIPE || errno == EINTR))
				continue;
			if (len <= 0)
				break;
			buf[len] = '\0';
			line = strtok_r(buf, "\n", &save);
			if (line)
				log_line(line);
		}
		close(fd);
	}
	for (i = 0; i < ARRAY_SIZE(messages); i++) {
		n += seen[i];
		if (seen[i] > 3)
			finding(messages[i].how, "log", NULL, "%zu more of \"%s\"", seen[i] - 3,
				messages[i].text);
	}
	if (!n)
		finding(EXIT_FINE, "log", NULL, "no complaint of the kernel's");
}

static void check_kernel(const struct state *s)
{
	if (!s->kernel && !s->nwindows)
		finding(EXIT_BAD, "kernel", "build it with CONFIG_DMA_WINDOW=y, or boot the "
			"one that was",
			"has no restricted DMA windows: there is no /sys/module/dma_window");
	else
		finding(EXIT_FINE, "kernel", NULL, "has restricted DMA windows, %s",
			s->module ? "as a module" : "built in");
	if (s->error)
		finding(EXIT_CANNOT, "counters", NULL, "%s", state_why_not(s));
}

/* The value of a parameter of the command line; the last one counts. */
static const char *parameter(const char *cmdline, const char *name, char *buf, size_t size)
{
	size_t n = strlen(name);
	const char *p = cmdline, *found = NULL;

	while ((p = strstr(p, name))) {
		if ((p == cmdline || p[-1] == ' ') && p[n] == '=')
			found = p + n + 1;
		p += n;
	}
	if (!found)
		return NULL;
	snprintf(buf, size, "%.*s", (int)strcspn(found, " "), found);
	return buf;
}

static void check_parameters(const struct state *s)
{
	char text[4096], value[64];
	uint64_t bytes;
	const char *v;
	size_t i;

	if (read_text(at("/proc/cmdline"), text, sizeof(text)) < 0) {
		finding(EXIT_CANNOT, "parameters", NULL, "/proc/cmdline cannot be read");
		return;
	}
	v = parameter(text, "dma_window.pools", value, sizeof(value));
	if (v && strcmp(v, "serve") && strcmp(v, "strict") && strcmp(v, "mainline"))
		finding(EXIT_BAD, "parameters", "serve, strict or mainline; any other value "
			"means strict",
			"dma_window.pools=%s", v);
	else if (v && !strcmp(v, "mainline"))
		finding(EXIT_WARN, "parameters", "remove it, for windows in place of "
			"mainline's pools",
			"dma_window.pools=mainline: restricted-dma-pools are left to mainline");
	v = parameter(text, "dma_window.untrusted", value, sizeof(value));
	if (v && (!parse_size(v, &bytes) || (bytes && bytes < MIB)))
		finding(EXIT_BAD, "parameters", "a size of at least 1M",
			"dma_window.untrusted=%s", v);
	v = parameter(text, "iommu.passthrough", value, sizeof(value));
	for (i = 0; v && strcmp(v, "0") && i < s->ndevices; i++) {
		if (!s->devices[i].iommu)
			continue;
		finding(EXIT_BAD, "parameters", "remove it: a window needs a domain of the "
			"DMA API",
			"iommu.passthrough=%s, and %s is behind an IOMMU", v, s->devices[i].name);
		break;
	}
}

static void check_devices(const struct state *s)
{
	size_t i, j, n = 0;
	char region[64];

	for (i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		if (d->window >= 0) {
			n++;
			if (!strcmp(d->kind, "virtio-balloon"))
				finding(EXIT_BAD, d->name, "take its region away",
					"a balloon hands out all memory and cannot be confined");
			else if (!d->driver[0])
				finding(EXIT_WARN, d->name, "did its probe fail? see the log",
					"has a window, but no driver");
			continue;
		}
		if (s->error)
			continue;
		if (!strncmp(d->source, "memory-region", 13))
			continue;
		finding(EXIT_BAD, d->name,
			d->driver[0] ? "is the driver older than the property? unbind and "
			"bind it, and see the log" :
			"the log has a line with the reason: below, if it is still there",
			"names region %s by %s, and has no window",
			region_of(d, region, sizeof(region)) ? region : "of another node",
			d->source);
	}
	if (n)
		finding(EXIT_FINE, "devices", NULL, "%zu in %zu windows", n, s->nwindows);
	else if (!s->error && !s->ndevices)
		finding(EXIT_BAD, "devices", "name a region by restricted-dma-region on the "
			"device's node: README, \"Use it in your kernel\"",
			"no device of this guest names a region");
	for (i = 0; i < s->ndevices; i++) {
		for (j = 0; j < i; j++)
			if (s->devices[j].window == s->devices[i].window)
				break;
		if (s->devices[i].window < 0 || j == i)
			continue;
		finding(EXIT_FINE, s->devices[i].name, NULL,
			"shares %s with %s: each of them sees what the other one has there",
			s->windows[s->devices[i].window].name, s->devices[j].name);
	}
}

/* Virtio transports that are not confined, and what that means. */
static void check_unconfined(const struct state *s)
{
	DIR *dir = opendir(at("/sys/bus/virtio/devices"));
	struct dirent *e;
	char list[256] = "";
	size_t i, n = 0;

	while (dir && (e = readdir(dir))) {
		struct device v = { .window = -1 };
		char parent[1024], *slash;

		if (e->d_name[0] == '.')
			continue;
		device_look(&v, e->d_name);
		if (!v.path[0])
			continue;
		snprintf(parent, sizeof(parent), "%s", v.path);
		slash = strrchr(parent, '/');
		if (!slash)
			continue;
		*slash = '\0';
		slash = strrchr(parent, '/');
		for (i = 0; i < s->ndevices; i++)
			if (!strcmp(s->devices[i].name, v.name) ||
			    (slash && !strcmp(s->devices[i].name, slash + 1)))
				break;
		if (i < s->ndevices) {
			if (s->devices[i].iommu && s->devices[i].window >= 0 && v.platform == 0)
				finding(EXIT_BAD, s->devices[i].name, "QEMU: iommu_platform=on",
					"does not offer VIRTIO_F_ACCESS_PLATFORM, so it does "
					"not go through its IOMMU");
			continue;
		}
		n++;
		if (strlen(list) + 80 < sizeof(list))
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s (%s)",
				 list[0] ? ", " : "", slash ? slash + 1 : v.name,
				 v.kind[0] ? v.kind : "virtio");
	}
	if (dir)
		closedir(dir);
	if (n && !s->error)
		finding(EXIT_WARN, "virtio", "if a back end is not trusted, give its device a "
			"region",
			"%zu not confined, whose back ends may need all memory: %s", n, list);
}

static void check_counters(const struct state *s)
{
	size_t i;

	for (i = 0; i < s->nwindows; i++) {
		const struct window *w = &s->windows[i];
		const uint64_t *v = w->stat;

		if (v[ST_FAIL_FULL])
			finding(EXIT_WARN, w->name, "no error, drivers wait; a larger window "
				"is faster: \"dma-window size\"",
				"was too full for %llu requests",
				(unsigned long long)v[ST_FAIL_FULL]);
		if (window_failures(w))
			finding(EXIT_BAD, w->name, "\"dma-window status\" has them one by one",
				"%llu requests failed for other reasons",
				(unsigned long long)window_failures(w));
		if (v[ST_LEAKED])
			finding(EXIT_BAD, w->name, "the device is cut off: remove it and let "
				"it be found again",
				"an IOMMU did not let go of %llu bytes",
				(unsigned long long)v[ST_LEAKED]);
		if (!v[ST_MAPS] && !v[ST_ALLOCS])
			finding(EXIT_WARN, w->name, "does its device have a driver?", "was "
				"never used");
		else if (!v[ST_FAIL_FULL] && !window_failures(w) && !v[ST_LEAKED])
			finding(EXIT_FINE, w->name, NULL, "%llu mappings, none failed; %.0f "
				"%% full at most",
				(unsigned long long)v[ST_MAPS],
				percent(v[ST_HIWATER], v[ST_NSLABS]));
	}
}

static void check_tracing(void)
{
	if (!access(at("/sys/kernel/tracing/events/dma"), F_OK))
		finding(EXIT_FINE, "tracing", NULL, "survey works, also for devices without a "
			"window");
	else if (!access(at("/sys/kernel/tracing/events/dma_window"), F_OK))
		finding(EXIT_FINE, "tracing", NULL, "survey works for devices with a window "
			"only: no dma:* here");
	else
		finding(EXIT_CANNOT, "tracing", "as root; mount -t tracefs none "
			"/sys/kernel/tracing",
			"no tracepoints that can be seen: no survey, no events");
}

int verb_doctor(void)
{
	struct state s;

	state_load(&s);
	if (opt.json)
		json_open(NULL, '[');
	check_kernel(&s);
	check_parameters(&s);
	check_devices(&s);
	check_counters(&s);
	check_unconfined(&s);
	check_tracing();
	check_log();
	if (opt.json) {
		json_close(']');
		json_end();
	}
	state_free(&s);
	return level;
}
