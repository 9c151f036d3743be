// SPDX-License-Identifier: GPL-2.0-only
/*
 * survey: what a load does with memory, and what follows: how large a window it
 * needs, whether to copy or to map, and up to which size.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tool.h"

/* Rings and the like of a queue, in slots: not seen if they are older than the trace. */
#define RING_SLOTS	8

/*
 * Costs of map and unmap behind an IOMMU, in ns, if nobody says: three register
 * writes and a wait for an SMMU; an exit to the host for a virtio-iommu.
 */
#define GUESS_SMMU	3000
#define GUESS_VIRTIO	20000

struct answers {
	struct need	need;
	double		copy_ns_kib;	/* measured on this machine */
	double		map_ns;
	bool		map_guessed;
	uint64_t	copybreak;	/* 0: there is none */
	double		copied;		/* bytes, in a window without an IOMMU */
	double		cpu;		/* percent of one CPU for that */
	double		delivered_ratio; /* bytes mapped for each one delivered, or 0 */
	bool		length_aware;	/* drivers of the kind opt in */
};

static double cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_utime.tv_sec + ru.ru_utime.tv_usec / 1e6 + ru.ru_stime.tv_sec +
	       ru.ru_stime.tv_usec / 1e6;
}

/* ns per KiB, of 4 KiB at a time that the cache most likely does not have. */
double measure_copy(void)
{
	size_t size = 8 * MIB, i;
	char *from = xalloc(size), *to = xalloc(size);
	double best = 0, t;
	int round;

	memset(from, 1, size);
	memset(to, 2, size);
	for (round = 0; round < 3; round++) {
		t = now();
		for (i = 0; i < size; i += 4096)
			memcpy(to + i, from + size - 4096 - i, 4096);
		t = now() - t;
		/* Make the copies count. */
		__asm__ volatile("" : : "r"(to) : "memory");
		if (!round || t < best)
			best = t;
	}
	free(from);
	free(to);
	return best * 1e9 / (size / KIB);
}

/* A power of two from 4 KiB to 1 MiB. */
static uint64_t round_copybreak(double bytes)
{
	uint64_t v = 4 * KIB;

	while (v < MIB && v * 1.5 < bytes)
		v *= 2;
	return v;
}

static bool kind_is_length_aware(const char *kind)
{
	return !strcmp(kind, "virtio-net") || !strcmp(kind, "virtio-vsock") ||
	       !strcmp(kind, "virtio-crypto");
}

static void answer(struct answers *a, struct load *l, const struct device *d,
		   double copy_ns_kib, uint64_t delivered)
{
	uint64_t coherent = RING_SLOTS * (d->queues + 1), hidden = 0, size;

	memset(a, 0, sizeof(*a));
	if (!strcmp(d->kind, "virtio-net"))
		coherent = RING_SLOTS * (2 * d->queues + 1);
	if (l->peak_coherent > coherent)
		coherent = l->peak_coherent;
	/* Receive buffers that waited all the time were never seen. */
	if (d->ring && (uint64_t)d->ring * d->queues > l->peak_from) {
		size = l->dir_maps[DIR_FROM] ? l->dir_bytes[DIR_FROM] / l->dir_maps[DIR_FROM] :
					       SLOT;
		hidden = ((uint64_t)d->ring * d->queues - l->peak_from) *
			 ((size + SLOT - 1) / SLOT);
	}
	replay_need(&a->need, l, d, coherent, hidden);

	a->copy_ns_kib = copy_ns_kib;
	a->map_ns = opt.map_ns;
	if (!opt.map_ns) {
		a->map_ns = strstr(d->iommu_driver, "smmu") ? GUESS_SMMU : GUESS_VIRTIO;
		a->map_guessed = true;
	}
	if (d->iommu)
		a->copybreak = round_copybreak(a->map_ns / copy_ns_kib * KIB);
	a->copied = l->dir_bytes[DIR_TO] + l->dir_bytes[DIR_FROM] + 2.0 * l->dir_bytes[DIR_BOTH];
	if (l->seconds > 0)
		a->cpu = a->copied / KIB * copy_ns_kib / 1e9 / l->seconds * 100;
	a->length_aware = kind_is_length_aware(d->kind);
	if (l->from_copied && l->from_copied < l->from_mapped)
		a->delivered_ratio = (double)l->from_mapped / l->from_copied;
	else if (delivered != UINT64_MAX && delivered && l->dir_bytes[DIR_FROM])
		a->delivered_ratio = (double)l->dir_bytes[DIR_FROM] / delivered;
}

static const char *micros(uint64_t ns)
{
	static char bufs[8][24];
	static int next;
	char *buf = bufs[next++ % 8];

	if (ns < 1000000)
		snprintf(buf, sizeof(bufs[0]), "%llu us", (unsigned long long)(ns + 500) / 1000);
	else if (ns < 1000000000)
		snprintf(buf, sizeof(bufs[0]), "%.3g ms", ns / 1e6);
	else
		snprintf(buf, sizeof(bufs[0]), "%.3g s", ns / 1e9);
	return buf;
}

/* Where buffers are: in granules, at multiples of what, in which pages. */
static void text_places(const struct load *l)
{
	const char *size = human(l->granule);

	if (!l->with_phys) {
		if (l->maps)
			printf("  granules    not told by dma_window:*; dma:* of 6.12 does\n");
		return;
	}
	printf("  granules    of %s: %.0f %% of the mappings share one with others,\n",
	       size, percent(l->shares, l->with_phys));
	printf("              %.0f %% cover none whole; %.0f %% begin in one, %.0f %% end in one\n",
	       percent(l->inside, l->with_phys), percent(l->head, l->with_phys),
	       percent(l->tail, l->with_phys));
	printf("              mapped so, they would show %s of others, %.2g times their own\n",
	       human(l->exposed), l->bytes ? (double)l->exposed / l->bytes : 0);
	printf("  alignment   they begin at multiples\n");
	hist_print(&l->align_hist, "multiple");
	printf("  pages       %llu touched, %llu different: each %.3g times; ",
	       (unsigned long long)l->pages, (unsigned long long)l->distinct_pages,
	       l->distinct_pages ? (double)l->pages / l->distinct_pages : 0);
	printf("%.0f %% began in a page seen before\n", percent(l->reused, l->with_phys));
}

static void text_facts(struct load *l)
{
	static const uint8_t order[] = { DIR_TO, DIR_FROM, DIR_BOTH };
	size_t i;

	printf("  mappings    %llu of %s in %.3g s: %s/s; %llu failed\n",
	       (unsigned long long)l->maps, human(l->bytes), l->seconds,
	       brief(l->seconds > 0 ? l->maps / l->seconds : 0),
	       (unsigned long long)(l->failed + l->fails));
	for (i = 0; i < ARRAY_SIZE(order); i++)
		if (l->dir_maps[order[i]])
			printf("    %-4s device %llu of %s\n", dir_names[order[i]],
			       (unsigned long long)l->dir_maps[order[i]],
			       human(l->dir_bytes[order[i]]));
	printf("  sizes       p50 %s, p99 %s, most %s\n", human(values_at(&l->sizes, 50)),
	       human(values_at(&l->sizes, 99)), human(values_at(&l->sizes, 100)));
	hist_print(&l->size_hist, "bytes");
	text_places(l);
	printf("  lifetime    p50 %s, p99 %s, most %s\n", micros(values_at(&l->lifetimes, 50)),
	       micros(values_at(&l->lifetimes, 99)), micros(values_at(&l->lifetimes, 100)));
	printf("  in flight   p50 %llu, p99 %llu, most %llu mappings, %s, %llu slots of 2 KiB\n",
	       (unsigned long long)values_at(&l->inflight, 50),
	       (unsigned long long)values_at(&l->inflight, 99), (unsigned long long)l->peak,
	       human(l->peak_bytes), (unsigned long long)l->peak_slots);
	if (l->at_start || l->live_end)
		printf("              %llu were mapped before, %llu stayed so\n",
		       (unsigned long long)l->at_start, (unsigned long long)l->live_end);
	printf("  requests    %s%llu, p50 %llu, p99 %llu segments, at most %s\n",
	       l->requests_exact ? "" : "about ", (unsigned long long)l->requests,
	       (unsigned long long)values_at(&l->segments, 50),
	       (unsigned long long)values_at(&l->segments, 99), human(l->max_request));
	if (l->win_maps)
		printf("  copied      %s in, %s out\n", human(l->copied_in), human(l->copied_out));
	if (l->allocs || l->frees)
		printf("  coherent    %llu allocations, %llu freed, at most %s more than "
		       "before\n",
		       (unsigned long long)l->allocs, (unsigned long long)l->frees,
		       human(l->peak_coherent * SLOT));
}

static void text_window(const struct answers *a, const struct device *d)
{
	const struct need *n = &a->need;

	printf("  window      minimum %s, comfortable %s\n", human(n->minimum),
	       human(n->comfortable));
	if (n->least_rules)
		printf("              the minimum is what the kernel asks for; the load needs "
		       "no more\n");
	else if (n->half_refused)
		printf("              half of it would be refused\n");
	else
		printf("              in half of it, %llu of %llu mappings would find no room\n",
		       (unsigned long long)n->half_failed, (unsigned long long)n->half_all);
	if (d->virtio_id < 0 && !d->kind[0])
		printf("              the kind of device is not known, so floors of "
		       "virtqueues are not in it: --kind\n");
	if (n->hidden)
		printf("              with %s of receive buffers that were never used\n",
		       human(n->hidden * SLOT));
}

static void text_copy(const struct answers *a, const struct load *l, const struct device *d)
{
	printf("  copy        %.3g ns per KiB here: all of it is %s/s, about %.1f %% of a CPU\n",
	       a->copy_ns_kib, human(l->seconds > 0 ? a->copied / l->seconds : 0), a->cpu);
	if (!d->iommu) {
		printf("              not behind an IOMMU: a window copies all, and there is "
		       "no copybreak\n");
		return;
	}
	printf("  copybreak   %s: a mapping costs %.3g us%s\n", human(a->copybreak),
	       a->map_ns / 1e3, a->map_guessed ? " (a guess; --map-ns says better)" : "");
}

static uint64_t count_up_to(const struct load *l, uint64_t size, uint64_t *bytes)
{
	uint64_t n = 0;
	size_t i;

	*bytes = 0;
	for (i = 0; i < l->sizes.n; i++) {
		if (l->sizes.v[i] > size)
			continue;
		n++;
		*bytes += l->sizes.v[i];
	}
	return n;
}

static void text_advice(const struct answers *a, struct load *l, const struct device *d)
{
	double shares = percent(l->shares, l->with_phys);
	uint64_t n, bytes;
	const char *what;

	if (d->iommu) {
		n = count_up_to(l, a->copybreak, &bytes);
		printf("  copy or map with that, %.0f %% of the mappings and %.0f %% of the "
		       "bytes are copied:\n",
		       percent(n, l->maps), percent(bytes, l->bytes));
		if (percent(bytes, l->bytes) > 50)
			printf("              copy, most are too small for a mapping to pay\n");
		else
			printf("              map the large ones, copy the rest\n");
		if (strstr(d->iommu_driver, "smmu") && l->dir_bytes[DIR_FROM])
			printf("              (behind an SMMU what the device writes is "
			       "copied in any case)\n");
	} else if (values_at(&l->sizes, 50) <= 4096 || shares > 50) {
		printf("  copy or map copy: half of the mappings are of at most %s%s\n",
		       human(values_at(&l->sizes, 50)),
		       shares > 50 ? ", and most share a granule with others" : "");
	} else {
		printf("  copy or map large buffers: if the copies cost too much, an IOMMU "
		       "maps them; the window serves the rest\n");
	}
	if (a->delivered_ratio <= 0) {
		printf("  used bytes  not known%s\n", a->length_aware ?
		       "; a window copies what the device says it wrote" : "");
		return;
	}
	if (!a->length_aware)
		what = "; drivers of this kind copy all";
	else if (a->delivered_ratio > 1.2)
		what = ": length-aware queues help, and are on in a window";
	else
		what = ": length-aware queues hardly help";
	printf("  used bytes  %.3g bytes mapped for each one delivered%s\n", a->delivered_ratio,
	       what);
}

static void json_percentiles(const char *name, struct values *v)
{
	json_open(name, '{');
	json_number("p50", values_at(v, 50));
	json_number("p99", values_at(v, 99));
	json_number("most", values_at(v, 100));
	json_close('}');
}

static void json_device(struct load *l, const struct answers *a, const struct device *d)
{
	json_open(NULL, '{');
	json_text("device", l->device);
	json_text("kind", d->kind);
	json_bool("iommu", d->iommu);
	json_float("seconds", l->seconds);
	json_number("maps", l->maps);
	json_number("unmaps", l->unmaps);
	json_number("failed", l->failed + l->fails);
	json_number("bytes", l->bytes);
	json_number("to_device", l->dir_maps[DIR_TO]);
	json_number("to_device_bytes", l->dir_bytes[DIR_TO]);
	json_number("from_device", l->dir_maps[DIR_FROM]);
	json_number("from_device_bytes", l->dir_bytes[DIR_FROM]);
	json_number("both", l->dir_maps[DIR_BOTH]);
	json_percentiles("size", &l->sizes);
	hist_json(&l->size_hist, "size_histogram");
	json_percentiles("lifetime_ns", &l->lifetimes);
	hist_json(&l->life_hist, "lifetime_histogram");
	json_percentiles("in_flight", &l->inflight);
	json_number("peak_bytes", l->peak_bytes);
	json_number("peak_slots", l->peak_slots);
	json_number("mapped_before", l->at_start);
	json_number("mapped_after", l->live_end);
	if (l->with_phys) {
		json_number("granule", l->granule);
		json_number("share_granule", l->shares);
		json_number("cover_none_whole", l->inside);
		json_number("exposed_bytes", l->exposed);
		json_number("pages", l->pages);
		json_number("different_pages", l->distinct_pages);
		json_number("began_in_seen_page", l->reused);
		hist_json(&l->align_hist, "alignment_histogram");
	}
	json_number("requests", l->requests);
	json_bool("requests_exact", l->requests_exact);
	json_percentiles("segments", &l->segments);
	json_number("largest_request", l->max_request);
	json_number("copied_in", l->copied_in);
	json_number("copied_out", l->copied_out);
	json_open("answers", '{');
	json_number("minimum", a->need.minimum);
	json_number("comfortable", a->need.comfortable);
	json_bool("minimum_is_the_kernels", a->need.least_rules);
	json_bool("half_refused", a->need.half_refused);
	json_number("half_without_room", a->need.half_failed);
	json_float("copy_ns_per_kib", a->copy_ns_kib);
	json_float("copied_bytes_per_second", l->seconds > 0 ? a->copied / l->seconds : 0);
	json_float("copy_cpu_percent", a->cpu);
	if (d->iommu) {
		json_number("copybreak", a->copybreak);
		json_float("map_ns", a->map_ns);
		json_bool("map_ns_guessed", a->map_guessed);
	}
	if (a->delivered_ratio > 0)
		json_float("mapped_per_delivered", a->delivered_ratio);
	json_bool("length_aware", a->length_aware);
	json_close('}');
	json_close('}');
}

/* Find out about a device: from the notes of a saved trace, or from sysfs. */
static void look(struct device *d, const struct trace *t, const char *name, uint64_t *delivered)
{
	size_t i;

	*delivered = UINT64_MAX;
	memset(d, 0, sizeof(*d));
	d->window = -1;
	if (!opt.from || opt.root[0]) {
		device_look(d, name);
	} else {
		d->virtio_id = -1;
		d->queues = 1;
		snprintf(d->name, sizeof(d->name), "%s", name);
	}
	for (i = 0; i < t->nnotes; i++) {
		const struct note *n = &t->notes[i];

		if (strcmp(n->device, name))
			continue;
		snprintf(d->kind, sizeof(d->kind), "%s", n->kind);
		d->queues = n->queues;
		d->ring = n->ring;
		d->iommu = n->iommu[0];
		snprintf(d->iommu_driver, sizeof(d->iommu_driver), "%s", n->iommu);
		*delivered = n->delivered;
	}
	if (opt.kind && !d->kind[0])
		snprintf(d->kind, sizeof(d->kind), "%s", opt.kind);
	if (!strncmp(d->kind, "virtio", 6) && d->virtio_id < 0)
		d->virtio_id = 0;
}

static void save_notes(FILE *f, const struct device *d, uint64_t delivered)
{
	fprintf(f, "# dma-window: device=%s kind=%s queues=%u ring=%u iommu=%s", d->name,
		d->kind[0] ? d->kind : "-", d->queues, d->ring,
		d->iommu ? d->iommu_driver[0] ? d->iommu_driver : "yes" : "-");
	if (delivered != UINT64_MAX)
		fprintf(f, " delivered=%llu", (unsigned long long)delivered);
	fputc('\n', f);
}

/* Devices that cannot be seen: say so, before somebody waits for nothing. */
static void check_devices(void)
{
	struct device d;
	int i;

	for (i = 0; i < opt.ndevices; i++) {
		d.window = -1;
		device_look(&d, opt.devices[i]);
		if (!d.path[0])
			die(EXIT_CANNOT, "there is no device %s on the buses pci, platform, "
			    "virtio and amba",
			    opt.devices[i]);
		if (!strncmp(opt.devices[i], "virtio", 6))
			die(EXIT_USAGE, "%s is a virtio device: DMA is its transport's, the "
			    "device above it in sysfs",
			    opt.devices[i]);
	}
}

/* A virtio device without ACCESS_PLATFORM passes the DMA API by, but for a window. */
static bool passes_by(const char *name)
{
	struct device d = { .window = -1 };

	device_look(&d, name);
	return d.platform == 0;
}

struct before {
	uint64_t	delivered[ARRAY_SIZE(opt.devices)];
};

static void delivered_of(uint64_t *delivered, const char *name)
{
	struct device d = { .window = -1 };

	device_look(&d, name);
	if (!device_delivered(&d, delivered))
		*delivered = UINT64_MAX;
}

struct overhead {
	double		cpu, seconds, plain, recorded;
	uint64_t	marker_ns;
	int		status;
};

static void record(struct trace *t, struct overhead *o)
{
	struct before b;
	struct session s;
	struct device d;
	uint64_t delivered;
	FILE *copy = NULL;
	size_t k;
	int i;

	check_devices();
	if (opt.compare) {
		o->status = run_command(&o->plain);
		if (o->status)
			complain("%s ended with status %d without recording", opt.command[0],
				 o->status);
	}
	if (opt.save) {
		copy = fopen(opt.save, "we");
		if (!copy)
			die(EXIT_CANNOT, "%s: %s", opt.save, strerror(errno));
	}
	trace_init(t, "trace_pipe");
	t->copy = copy;
	session_open(&s, RECORD_MAINLINE | RECORD_WINDOWS);
	if (!s.mainline)
		complain("no tracepoints dma:* here (from Linux 6.12 on): only devices with a "
			 "window are seen, and not where buffers are");
	for (i = 0; i < opt.ndevices; i++)
		delivered_of(&b.delivered[i], opt.devices[i]);
	o->cpu = cpu_seconds();
	o->status = session_run(&s, t);
	o->cpu = cpu_seconds() - o->cpu;
	o->seconds = s.end - s.start;
	o->recorded = o->seconds;
	o->marker_ns = s.marker_ns;
	session_close(&s);
	if (o->status)
		complain("%s ended with status %d", opt.command[0], o->status);
	for (k = 0; k < t->ndevices; k++) {
		struct note n = { .delivered = UINT64_MAX };

		look(&d, t, t->devices[k], &delivered);
		for (i = 0; i < opt.ndevices; i++) {
			if (strcmp(opt.devices[i], t->devices[k]) || b.delivered[i] == UINT64_MAX)
				continue;
			delivered_of(&delivered, t->devices[k]);
			n.delivered = delivered - b.delivered[i];
		}
		if (copy)
			save_notes(copy, &d, n.delivered);
		snprintf(n.device, sizeof(n.device), "%s", d.name);
		snprintf(n.kind, sizeof(n.kind), "%s", d.kind);
		snprintf(n.iommu, sizeof(n.iommu), "%s",
			 d.iommu ? d.iommu_driver[0] ? d.iommu_driver : "yes" : "");
		n.queues = d.queues;
		n.ring = d.ring;
		t->notes = xgrow(t->notes, t->nnotes, &t->cap_notes, sizeof(n));
		t->notes[t->nnotes++] = n;
	}
	if (copy && (fflush(copy) || ferror(copy) || fclose(copy)))
		die(EXIT_CANNOT, "%s: %s", opt.save, strerror(errno));
}

static void text_overhead(const struct trace *t, const struct overhead *o)
{
	double record_ms = t->nevents * (double)o->marker_ns / 1e6;

	printf("overhead: %llu events; recording about %llu ns each (measured), %.3g ms in "
	       "all; reading %.3g s of CPU time; together %.1f %% of a CPU\n",
	       (unsigned long long)t->nevents, (unsigned long long)o->marker_ns, record_ms, o->cpu,
	       percent(record_ms / 1e3 + o->cpu, o->seconds));
	if (opt.compare)
		printf("overhead: the command took %.3g s without recording, %.3g s with it: "
		       "%+.1f %%\n",
		       o->plain, o->recorded, percent(o->recorded - o->plain, o->plain));
}

static void json_overhead(const struct trace *t, const struct overhead *o)
{
	json_open("overhead", '{');
	json_number("events", t->nevents);
	json_number("record_ns", o->marker_ns);
	json_float("read_cpu_seconds", o->cpu);
	json_float("cpu_percent", percent(t->nevents * (o->marker_ns / 1e9) + o->cpu, o->seconds));
	if (opt.compare) {
		json_float("seconds_without", o->plain);
		json_float("seconds_with", o->recorded);
	}
	json_close('}');
}

static void report(const struct trace *t, size_t index, double copy_ns_kib)
{
	struct answers a;
	struct device d;
	struct load l;
	uint64_t delivered;

	load_make(&l, t, index, sysconf(_SC_PAGESIZE));
	look(&d, t, l.device, &delivered);
	answer(&a, &l, &d, copy_ns_kib, delivered);
	if (opt.json) {
		json_device(&l, &a, &d);
	} else {
		printf("%s%s%s%s%s\n", l.device, d.kind[0] ? ": " : "", d.kind,
		       d.uses[0] ? " " : "", d.uses);
		text_facts(&l);
		text_window(&a, &d);
		text_copy(&a, &l, &d);
		text_advice(&a, &l, &d);
	}
	if (opt.plot)
		plot_load(&l, a.copybreak, a.copy_ns_kib, a.map_ns, a.need.minimum);
	load_free(&l);
}

int verb_survey(void)
{
	struct overhead o = { 0 };
	struct trace t;
	double copy_ns_kib;
	int status;
	size_t i;
	int k;

	if (opt.compare && !opt.command)
		die(EXIT_USAGE, "--compare runs a command twice: give one after --");
	if (opt.from) {
		if (opt.command || opt.save || opt.seconds >= 0)
			die(EXIT_USAGE, "with --from nothing is recorded: no --save, no -t, "
			    "no command");
		trace_init(&t, opt.from);
		trace_file(&t, opt.from);
	} else {
		if (!opt.command && opt.seconds < 0)
			opt.seconds = 10;
		record(&t, &o);
	}
	if (opt.plot && t.ndevices > 1)
		die(EXIT_USAGE, "--plot draws one device, and there are %zu: choose by -d",
		    t.ndevices);
	copy_ns_kib = measure_copy();
	status = trace_verdict(&t);
	if (opt.json) {
		json_open(NULL, '{');
		json_open("devices", '[');
	}
	for (i = 0; i < t.ndevices; i++)
		report(&t, i, copy_ns_kib);
	for (k = 0; k < opt.ndevices; k++) {
		for (i = 0; i < t.ndevices; i++)
			if (!strcmp(t.devices[i], opt.devices[k]))
				break;
		if (i < t.ndevices)
			continue;
		status = EXIT_CANNOT;
		if (!opt.from && passes_by(opt.devices[k]))
			complain("%s mapped nothing: its back end does not offer "
				 "VIRTIO_F_ACCESS_PLATFORM, so without a window it passes the "
				 "DMA API by; for a survey, start QEMU with iommu_platform=on "
				 "for it (that needs no IOMMU)",
				 opt.devices[k]);
		else
			complain("%s mapped nothing", opt.devices[k]);
	}
	if (opt.json) {
		json_close(']');
		json_number("lost", t.lost);
		json_number("bad_lines", t.bad);
		json_number("cut_lists", t.cut);
		if (!opt.from)
			json_overhead(&t, &o);
		json_close('}');
		json_end();
	} else {
		if (!t.ndevices && !opt.ndevices)
			printf("no device mapped anything\n");
		printf("lost events: %llu%s\n", (unsigned long long)t.lost,
		       t.lost_lines ? ", and more" : "");
		if (!opt.from)
			text_overhead(&t, &o);
	}
	trace_free(&t);
	return o.status ? worse(status, EXIT_WARN) : status;
}
