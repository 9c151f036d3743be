// SPDX-License-Identifier: GPL-2.0-only
/* status: what there is, and what to do about what failed. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* Advice for each failure, as the page "what is wrong" has it. */
static const struct {
	enum win_stat	stat;
	int		status;
	const char	*what, *advice;
} failures[] = {
	{ ST_FAIL_FULL, EXIT_WARN, "requests found no room",
	  "no error, they wait; a larger window is faster: \"dma-window size\"" },
	{ ST_FAIL_MASK, EXIT_BAD, "requests out of the device's reach",
	  "place the region lower: the log has the device's DMA mask" },
	{ ST_FAIL_NOMEM, EXIT_BAD, "requests without memory for a record",
	  "the guest is out of memory" },
	{ ST_FAIL_IOMMU, EXIT_BAD, "requests that the IOMMU did not map",
	  "the log has the reason" },
	{ ST_FAIL_INVALID, EXIT_BAD, "wrong calls of a driver",
	  "a bug in a driver: the log has the call" },
	{ ST_LEAKED, EXIT_BAD, "bytes that an IOMMU did not let go of",
	  "the device is cut off: remove it and let it be found again" },
};

static bool window_wanted(const struct state *s, size_t w)
{
	size_t i;

	if (!opt.ndevices || wanted(s->windows[w].name))
		return true;
	for (i = 0; i < s->ndevices; i++)
		if (s->devices[i].window == (int)w && wanted(s->devices[i].name))
			return true;
	return false;
}

/* Nearly full at its worst: 15 of 16 slots, less what only coherent memory has. */
static bool was_tight(const struct window *w)
{
	return w->stat[ST_NSLABS] && w->stat[ST_HIWATER] * 16 >= w->stat[ST_NSLABS] * 15;
}

static int window_level(const struct window *w)
{
	int level = EXIT_FINE;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(failures); i++)
		if (w->stat[failures[i].stat])
			level = worse(level, failures[i].status);
	return level;
}

static void device_text(const struct device *d)
{
	printf("  %-16s %s", d->name, d->kind[0] ? d->kind : "device");
	if (d->uses[0])
		printf(" %s", d->uses);
	printf(", %s%s", d->driver[0] ? "driver " : "no driver", d->driver);
	if (d->has_copybreak) {
		if (d->copybreak == UINT32_MAX)
			printf(", copybreak all");
		else
			printf(", copybreak %s", human(d->copybreak));
	}
	if (d->iommu)
		printf(", behind an IOMMU");
	putchar('\n');
}

static void window_text(const struct state *s, size_t index, const struct window *before,
			double seconds)
{
	const struct window *w = &s->windows[index];
	const uint64_t *v = w->stat;
	size_t i;
	bool any = false;

	printf("%s: %s at %#llx%s%s, %s\n", w->name, human(v[ST_SIZE]),
	       (unsigned long long)v[ST_BASE], w->source[0] ? ", named by " : "", w->source,
	       s->module ? "as a module" : "built in");
	for (i = 0; i < s->ndevices; i++)
		if (s->devices[i].window == (int)index)
			device_text(&s->devices[i]);
	printf("  fill             %.0f %% now, %.0f %% at most; largest free run %s\n",
	       percent(v[ST_USED], v[ST_NSLABS]), percent(v[ST_HIWATER], v[ST_NSLABS]),
	       human(v[ST_LARGEST_FREE]));
	printf("  mappings         %llu live of %llu; coherent memory: %llu live of %llu\n",
	       (unsigned long long)(v[ST_MAPS] - v[ST_UNMAPS]), (unsigned long long)v[ST_MAPS],
	       (unsigned long long)(v[ST_ALLOCS] - v[ST_FREES]),
	       (unsigned long long)v[ST_ALLOCS]);
	printf("  copied           %s in, %s out", human(v[ST_BYTES_IN]),
	       human(v[ST_BYTES_OUT]));
	if (before) {
		printf("; now %s mappings/s,",
		       brief((v[ST_MAPS] - before->stat[ST_MAPS]) / seconds));
		printf(" %s/s in,", human((v[ST_BYTES_IN] - before->stat[ST_BYTES_IN]) / seconds));
		printf(" %s/s out",
		       human((v[ST_BYTES_OUT] - before->stat[ST_BYTES_OUT]) / seconds));
	}
	putchar('\n');
	for (i = 0; i < ARRAY_SIZE(failures); i++) {
		if (!v[failures[i].stat])
			continue;
		any = true;
		printf("  %s %s %s: %s\n    %s\n", failures[i].status == EXIT_BAD ? "BAD " : "WARN",
		       brief(v[failures[i].stat]), failures[i].what,
		       stat_files[failures[i].stat].name, failures[i].advice);
	}
	if (!any)
		printf("  failures         none%s\n",
		       was_tight(w) ? ", but it was nearly full once" : "");
}

static void device_json(const struct device *d)
{
	json_open(NULL, '{');
	json_text("name", d->name);
	json_text("kind", d->kind);
	json_text("driver", d->driver);
	json_text("uses", d->uses);
	json_text("source", d->source);
	json_bool("iommu", d->iommu);
	if (d->has_copybreak)
		json_number("copybreak", d->copybreak);
	json_close('}');
}

static void window_json(const struct state *s, size_t index, const struct window *before,
			double seconds)
{
	const struct window *w = &s->windows[index];
	size_t i;

	json_open(NULL, '{');
	json_text("name", w->name);
	json_text("source", w->source);
	json_text("level", window_level(w) == EXIT_FINE ? "fine" :
			   window_level(w) == EXIT_WARN ? "warn" : "bad");
	for (i = 0; i < ST_MAX; i++)
		if (w->has >> i & 1)
			json_number(stat_files[i].name, w->stat[i]);
	if (before) {
		json_float("maps_per_second",
			   (w->stat[ST_MAPS] - before->stat[ST_MAPS]) / seconds);
		json_float("bytes_in_per_second",
			   (w->stat[ST_BYTES_IN] - before->stat[ST_BYTES_IN]) / seconds);
		json_float("bytes_out_per_second",
			   (w->stat[ST_BYTES_OUT] - before->stat[ST_BYTES_OUT]) / seconds);
	}
	json_open("devices", '[');
	for (i = 0; i < s->ndevices; i++)
		if (s->devices[i].window == (int)index)
			device_json(&s->devices[i]);
	json_close(']');
	json_close('}');
}

/* A label's value: quotes, backslashes and line ends are escaped. */
static void label(const char *name, const char *value)
{
	printf("%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			putchar('\\');
		if (*value == '\n')
			printf("\\n");
		else
			putchar(*value);
	}
	putchar('"');
}

/* The text format of Prometheus, version 0.0.4. */
static void prometheus(const struct state *s)
{
	size_t i, w;

	for (i = 0; i < ST_MAX; i++) {
		const char *suffix = stat_files[i].gauge ? "" : "_total";

		if (i == ST_BASE)
			continue;
		printf("# HELP dma_window_%s%s %s\n", stat_files[i].name, suffix,
		       stat_files[i].help);
		printf("# TYPE dma_window_%s%s %s\n", stat_files[i].name, suffix,
		       stat_files[i].gauge ? "gauge" : "counter");
		for (w = 0; w < s->nwindows; w++) {
			if (!(s->windows[w].has >> i & 1) || !window_wanted(s, w))
				continue;
			printf("dma_window_%s%s{", stat_files[i].name, suffix);
			label("window", s->windows[w].name);
			printf("} %llu\n", (unsigned long long)s->windows[w].stat[i]);
		}
	}
	printf("# HELP dma_window_device A device and its window, or none for one that is "
	       "refused\n"
	       "# TYPE dma_window_device gauge\n");
	for (i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		if (d->window < 0 && s->error)
			continue;
		printf("dma_window_device{");
		label("device", d->name);
		putchar(',');
		label("kind", d->kind);
		putchar(',');
		label("window", d->window < 0 ? "" : s->windows[d->window].name);
		printf("} 1\n");
	}
}

/* Devices that name a region and have no window: refused, or just not readable. */
static int named_text(const struct state *s)
{
	int level = EXIT_FINE;
	size_t i;

	for (i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		if (d->window >= 0 || (opt.ndevices && !wanted(d->name)))
			continue;
		if (s->error) {
			printf("%s: names a region (%s), %s%s\n", d->name, d->source,
			       d->driver[0] ? "driver " : "no driver: refused?", d->driver);
			continue;
		}
		printf("%s: BAD  names a region (%s), and has no window: refused, or not "
		       "probed yet\n    \"dma-window doctor\" looks for the reason in the log\n",
		       d->name, d->source);
		level = EXIT_BAD;
	}
	return level;
}

static void all_json(const struct state *s, const struct state *before, double seconds)
{
	size_t i;

	json_open(NULL, '{');
	json_text("form", s->module ? "module" : s->kernel ? "built in" : "unknown");
	json_text("error", state_why_not(s));
	json_open("windows", '[');
	for (i = 0; i < s->nwindows; i++)
		if (window_wanted(s, i))
			window_json(s, i, before ? &before->windows[i] : NULL, seconds);
	json_close(']');
	json_open("without_window", '[');
	for (i = 0; i < s->ndevices; i++)
		if (s->devices[i].window < 0)
			device_json(&s->devices[i]);
	json_close(']');
	json_close('}');
	json_end();
}

/* How full windows are, and were at most. */
static void plot(const struct state *s)
{
	static const char * const keys[] = { "% now", "% at most" };
	struct bar *bars = xalloc((s->nwindows + 1) * sizeof(*bars));
	size_t i, n = 0;

	for (i = 0; i < s->nwindows; i++) {
		const struct window *w = &s->windows[i];

		if (!window_wanted(s, i))
			continue;
		memcpy(bars[n].name, w->name, sizeof(bars[n].name));
		bars[n].value[0] = percent(w->stat[ST_USED], w->stat[ST_NSLABS]);
		bars[n++].value[1] = percent(w->stat[ST_HIWATER], w->stat[ST_NSLABS]);
	}
	if (n)
		plot_bars("fill", keys, bars, n);
	free(bars);
}

int verb_status(void)
{
	double seconds = opt.interval >= 0 ? opt.interval : opt.prometheus ? 0 : 1, start = now();
	struct state s, before = { 0 };
	bool rates = seconds > 0, any = false;
	int level = EXIT_FINE;
	size_t i;

	state_load(&s);
	if (s.error || !s.nwindows)
		rates = false;
	if (rates) {
		before = s;
		usleep(seconds * 1e6);
		state_load(&s);
		seconds = now() - start;
		/* Windows came or went: there is no rate to tell. */
		rates = s.nwindows == before.nwindows;
		for (i = 0; rates && i < s.nwindows; i++)
			rates = !strcmp(s.windows[i].name, before.windows[i].name);
	}
	for (i = 0; i < s.nwindows; i++) {
		if (!window_wanted(&s, i))
			continue;
		any = true;
		level = worse(level, window_level(&s.windows[i]));
	}
	for (i = 0; i < s.ndevices; i++) {
		any = any || (s.devices[i].window < 0 && wanted(s.devices[i].name));
		if (s.devices[i].window < 0 && !s.error && wanted(s.devices[i].name))
			level = worse(level, EXIT_BAD);
	}
	if (opt.prometheus) {
		if (s.error)
			die(EXIT_CANNOT, "%s", state_why_not(&s));
		prometheus(&s);
	} else if (opt.json) {
		all_json(&s, rates ? &before : NULL, seconds);
	} else {
		for (i = 0; i < s.nwindows; i++)
			if (window_wanted(&s, i))
				window_text(&s, i, rates ? &before.windows[i] : NULL, seconds);
		named_text(&s);
	}
	if (opt.plot)
		plot(&s);
	if (opt.ndevices && !any && !s.error) {
		complain("no device or window is called %s", opt.devices[0]);
		level = EXIT_CANNOT;
	} else if (s.error || (!s.nwindows && !any)) {
		complain("%s", state_why_not(&s));
		level = EXIT_CANNOT;
	}
	state_free(&before);
	state_free(&s);
	return level;
}
