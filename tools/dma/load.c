// SPDX-License-Identifier: GPL-2.0-only
/*
 * The load of a device, by its events.
 *
 * dma:* tells where the driver's buffers are, dma_window:* what was copied. Where
 * both were recorded, mappings are those of dma:*, and dma_window:* adds copies.
 */

#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define PAGE		4096ULL
#define CPUS		1024
#define SAMPLES		1500
/*
 * Mappings of one request follow each other; a pause begins another, but one that is
 * longer than a copy or an interrupt of a slow machine, ns.
 */
#define REQUEST_GAP	20000000

/* ---- Live mappings ---- */

struct live {
	uint64_t	key, ns, size;
	uint32_t	id, next;	/* index of the next one in the bucket, plus 1 */
	bool		before;		/* mapped before the first event */
	bool		from;		/* FROM_DEVICE */
};

struct table {
	struct live	*nodes;
	size_t		nnodes, cap;
	uint32_t	free;
	uint32_t	*heads;
	size_t		nheads;
};

/* The unmap of a list tells physical addresses: they are no bus addresses. */
static uint64_t key_of(const struct event *e)
{
	return e->list ? e->phys | 1ULL << 63 : e->addr;
}

static size_t bucket(const struct table *t, uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15ULL >> 32) & (t->nheads - 1);
}

static void table_init(struct table *t)
{
	memset(t, 0, sizeof(*t));
	t->nheads = 1 << 16;
	t->heads = xalloc(t->nheads * sizeof(*t->heads));
}

static void table_free(struct table *t)
{
	free(t->nodes);
	free(t->heads);
}

static struct live *table_add(struct table *t, uint64_t key)
{
	size_t b = bucket(t, key);
	uint32_t i = t->free;
	struct live *l;

	if (i) {
		t->free = t->nodes[i - 1].next;
	} else {
		t->nodes = xgrow(t->nodes, t->nnodes, &t->cap, sizeof(*t->nodes));
		i = ++t->nnodes;
	}
	l = &t->nodes[i - 1];
	memset(l, 0, sizeof(*l));
	l->key = key;
	l->next = t->heads[b];
	t->heads[b] = i;
	return l;
}

/* Take out the mapping at an address, that of the same size if there are several. */
static bool table_take(struct table *t, uint64_t key, uint64_t size, struct live *out)
{
	uint32_t *link = &t->heads[bucket(t, key)], *any = NULL, i;

	for (; *link; link = &t->nodes[*link - 1].next) {
		if (t->nodes[*link - 1].key != key)
			continue;
		if (!any)
			any = link;
		if (t->nodes[*link - 1].size == size) {
			any = link;
			break;
		}
	}
	if (!any)
		return false;
	i = *any;
	*out = t->nodes[i - 1];
	*any = out->next;
	t->nodes[i - 1].next = t->free;
	t->free = i;
	return true;
}

/* ---- A set of numbers ---- */

struct set {
	uint64_t	*v;
	size_t		n, size;
};

/* True if the value is new. Values are not 0. */
static bool set_add(struct set *s, uint64_t value)
{
	size_t i, j;

	if (2 * s->n >= s->size) {
		size_t size = s->size ? 2 * s->size : 4096;
		uint64_t *v = xalloc(size * sizeof(*v));

		for (i = 0; i < s->size; i++) {
			if (!s->v[i])
				continue;
			j = s->v[i] * 0x9e3779b97f4a7c15ULL >> 20 & (size - 1);
			while (v[j])
				j = (j + 1) & (size - 1);
			v[j] = s->v[i];
		}
		free(s->v);
		s->v = v;
		s->size = size;
	}
	i = value * 0x9e3779b97f4a7c15ULL >> 20 & (s->size - 1);
	for (; s->v[i]; i = (i + 1) & (s->size - 1))
		if (s->v[i] == value)
			return false;
	s->v[i] = value;
	s->n++;
	return true;
}

/* ---- Slots ---- */

static uint64_t slots_exact(uint64_t size)
{
	return (size + SLOT - 1) / SLOT;
}

/* Up to 64 KiB a run has a power of two of slots, as long as there is room. */
static uint64_t slots_of(uint64_t size)
{
	uint64_t n = slots_exact(size), run = 1;

	if (n > 32)
		return n;
	while (run < n)
		run *= 2;
	return run;
}

/* ---- Requests ---- */

struct requests {
	struct {
		uint64_t	n, bytes, ns;
		uint8_t		dir;
		bool		cut;
	} cpu[CPUS];
	struct values	exact, guess;
	uint64_t	max_exact, max_guess, segments_exact, segments_guess;
};

static void request_end(struct requests *r, unsigned int cpu, bool exact)
{
	uint64_t n = r->cpu[cpu].n, bytes = r->cpu[cpu].bytes;

	r->cpu[cpu].n = 0;
	r->cpu[cpu].bytes = 0;
	r->cpu[cpu].cut = false;
	if (!n)
		return;
	values_add(exact ? &r->exact : &r->guess, n);
	if (exact) {
		r->segments_exact += n;
		if (bytes > r->max_exact)
			r->max_exact = bytes;
	} else {
		r->segments_guess += n;
		if (bytes > r->max_guess)
			r->max_guess = bytes;
	}
}

/*
 * Tell which mappings are of one request. A virtio driver maps all of a request, what
 * the device reads before what it writes, and then, for more than one, an indirect
 * table of 16 bytes for each: where that comes, the request is known. Elsewhere a
 * request ends where the CPU undoes a mapping, waits, or begins again with what the
 * device reads.
 */
static void request_map(struct requests *r, const struct event *e)
{
	unsigned int cpu = e->cpu % CPUS;

	if (r->cpu[cpu].n >= 2 && e->dir == DIR_TO && e->size == 16 * r->cpu[cpu].n &&
	    !e->list) {
		request_end(r, cpu, true);
		return;
	}
	if (r->cpu[cpu].n &&
	    (r->cpu[cpu].cut || e->list == 1 || e->ns - r->cpu[cpu].ns > REQUEST_GAP ||
	     (r->cpu[cpu].dir == DIR_FROM && e->dir == DIR_TO)))
		request_end(r, cpu, false);
	if (!r->cpu[cpu].n++)
		r->cpu[cpu].cut = false;
	r->cpu[cpu].bytes += e->size;
	r->cpu[cpu].ns = e->ns;
	r->cpu[cpu].dir = e->dir;
}

/* ---- One device ---- */

struct progress {
	struct load	*l;
	struct table	live;
	struct set	pages;
	uint64_t	first_ns, span, next_sample;
	uint64_t	n, bytes, slots, exact, coherent;
	uint32_t	next_id;
	bool		lossy;
};

static void note_peak(struct progress *p)
{
	struct load *l = p->l;

	if (p->n > l->peak)
		l->peak = p->n;
	if (p->bytes > l->peak_bytes)
		l->peak_bytes = p->bytes;
	if (p->slots > l->peak_slots)
		l->peak_slots = p->slots;
	if (p->exact > l->peak_exact)
		l->peak_exact = p->exact;
}

/* Of the samples in one step, that with the most slots is kept. */
static void note_sample(struct progress *p, uint64_t ns)
{
	struct load *l = p->l;
	struct sample s = { (ns - p->first_ns) / 1e9, p->n, p->bytes, p->slots };

	if (l->nsamples && ns < p->next_sample) {
		if (s.slots > l->samples[l->nsamples - 1].slots)
			l->samples[l->nsamples - 1] = s;
		return;
	}
	p->next_sample = ns + p->span / SAMPLES;
	l->samples = xgrow(l->samples, l->nsamples, &l->cap_samples, sizeof(s));
	l->samples[l->nsamples++] = s;
}

static void add_op(struct load *l, uint32_t id, uint64_t size, bool map)
{
	l->ops = xgrow(l->ops, l->nops, &l->cap_ops, sizeof(*l->ops));
	l->ops[l->nops++] = (struct op){ .id = id, .size = size, .map = map };
}

static void forget(struct progress *p, const struct live *m)
{
	if (m->from)
		p->l->live_from--;
	p->n--;
	p->bytes -= m->size;
	p->slots -= slots_of(m->size);
	p->exact -= slots_exact(m->size);
	add_op(p->l, m->id, m->size, false);
}

static void remember(struct progress *p, const struct event *e, uint64_t ns, bool before)
{
	uint64_t key = key_of(e), size = e->size;
	struct load *l = p->l;
	struct live *m, old;

	/* An event of the old mapping at this address was lost. */
	if (p->lossy && table_take(&p->live, key, size, &old))
		forget(p, &old);
	m = table_add(&p->live, key);
	m->ns = ns;
	m->size = size;
	m->id = p->next_id++;
	m->before = before;
	m->from = e->dir == DIR_FROM;
	l->live_from += m->from;
	if (l->live_from > l->peak_from)
		l->peak_from = l->live_from;
	p->n++;
	p->bytes += size;
	p->slots += slots_of(size);
	p->exact += slots_exact(size);
	add_op(l, m->id, size, true);
	note_peak(p);
}

static void place(struct progress *p, const struct event *e)
{
	struct load *l = p->l;
	uint64_t g = l->granule, first, last, page;
	unsigned int shift = 0;

	if (e->phys == NO_PHYS || !e->size)
		return;
	l->with_phys++;
	first = e->phys / g;
	last = (e->phys + e->size - 1) / g;
	if (e->phys % g)
		l->head++;
	if ((e->phys + e->size) % g)
		l->tail++;
	if (e->phys % g || (e->phys + e->size) % g) {
		l->shares++;
		l->exposed += (last - first + 1) * g - e->size;
	}
	if ((e->phys + g - 1) / g >= (e->phys + e->size) / g)
		l->inside++;
	while (shift < 12 && !(e->phys >> shift & 1))
		shift++;
	hist_add(&l->align_hist, 1ULL << shift);

	for (page = e->phys / PAGE; page <= (e->phys + e->size - 1) / PAGE; page++) {
		bool new = set_add(&p->pages, page + 1);

		l->pages++;
		l->distinct_pages += new;
		if (page == e->phys / PAGE)
			l->reused += !new;
	}
}

static void on_map(struct progress *p, const struct event *e)
{
	struct load *l = p->l;

	l->maps++;
	l->bytes += e->size;
	l->dir_maps[e->dir]++;
	l->dir_bytes[e->dir] += e->size;
	values_add(&l->sizes, e->size);
	hist_add(&l->size_hist, e->size);
	place(p, e);
	remember(p, e, e->ns, false);
	values_add(&l->inflight, p->n);
	note_sample(p, e->ns);
}

static void on_unmap(struct progress *p, const struct event *e)
{
	struct load *l = p->l;
	struct live m;

	l->unmaps++;
	if (!table_take(&p->live, key_of(e), e->size, &m))
		return;
	forget(p, &m);
	if (!m.before) {
		values_add(&l->lifetimes, e->ns - m.ns);
		hist_add(&l->life_hist, e->ns - m.ns);
	}
	note_sample(p, e->ns);
}

/*
 * Mappings from before the first event: addresses whose first event is that
 * they are undone. Those that stay are not seen.
 */
static void find_before(struct progress *p, const struct trace *t, unsigned int device,
			uint8_t map, uint8_t unmap)
{
	struct set seen = { 0 };
	size_t i;

	for (i = 0; i < t->nevents; i++) {
		const struct event *e = &t->events[i];

		if (e->device != device || (e->type != map && e->type != unmap))
			continue;
		if (set_add(&seen, key_of(e) + 1) && e->type == unmap && !e->list) {
			p->l->at_start++;
			remember(p, e, p->first_ns, true);
		}
	}
	free(seen.v);
}

static void copies(struct load *l, const struct event *e)
{
	switch (e->type) {
	case EV_WIN_MAP:
		l->win_maps++;
		l->copied_in += e->copied;
		break;
	case EV_WIN_UNMAP:
		l->copied_out += e->copied;
		if (e->dir == DIR_FROM) {
			l->from_mapped += e->size;
			l->from_copied += e->copied;
		}
		break;
	case EV_WIN_SYNC:
		if (e->reason)
			l->copied_out += e->copied;
		else
			l->copied_in += e->copied;
		break;
	case EV_WIN_FAIL:
		l->fails++;
		break;
	}
}

static void coherent(struct progress *p, const struct event *e, bool alloc)
{
	struct load *l = p->l;
	/* Coherent memory is allocated in pages. */
	uint64_t slots = (e->size + PAGE - 1) / PAGE * (PAGE / SLOT);

	if (alloc) {
		l->allocs++;
		p->coherent += slots;
		if (p->coherent > l->peak_coherent)
			l->peak_coherent = p->coherent;
	} else {
		l->frees++;
		p->coherent -= p->coherent < slots ? p->coherent : slots;
	}
}

/**
 * load_make() - evaluate the events of a device
 * @l: filled in
 * @t: the trace
 * @device: index of the device in it
 * @granule: of an IOMMU, bytes: what neighbours of a buffer are reckoned by
 */
void load_make(struct load *l, const struct trace *t, unsigned int device, uint64_t granule)
{
	static struct requests r;
	struct progress p = { .l = l, .lossy = t->lost || t->lost_lines || t->bad };
	bool mainline = false, any = false;
	uint64_t last_ns = 0;
	size_t i;

	memset(l, 0, sizeof(*l));
	memset(&r, 0, sizeof(r));
	l->device = t->devices[device];
	l->granule = granule;
	table_init(&p.live);
	for (i = 0; i < t->nevents; i++) {
		const struct event *e = &t->events[i];

		if (e->device != device)
			continue;
		if (!any || e->ns < p.first_ns)
			p.first_ns = e->ns;
		any = true;
		if (e->ns > last_ns)
			last_ns = e->ns;
		mainline = mainline || e->type <= EV_SYNC;
	}
	p.span = any ? last_ns - p.first_ns : 0;
	l->seconds = p.span / 1e9;
	find_before(&p, t, device, mainline ? EV_MAP : EV_WIN_MAP,
		    mainline ? EV_UNMAP : EV_WIN_UNMAP);

	for (i = 0; i < t->nevents; i++) {
		const struct event *e = &t->events[i];
		uint8_t type = e->type;

		if (e->device != device)
			continue;
		copies(l, e);
		if (mainline && type >= EV_WIN_MAP && type <= EV_WIN_SYNC)
			continue;
		switch (type) {
		case EV_MAP:
		case EV_WIN_MAP:
			request_map(&r, e);
			on_map(&p, e);
			break;
		case EV_UNMAP:
		case EV_WIN_UNMAP:
			r.cpu[e->cpu % CPUS].cut = true;
			on_unmap(&p, e);
			break;
		case EV_MAP_FAILED:
			l->failed++;
			break;
		case EV_ALLOC:
		case EV_WIN_ALLOC:
			coherent(&p, e, true);
			break;
		case EV_FREE:
		case EV_WIN_FREE:
			coherent(&p, e, false);
			break;
		case EV_SYNC:
		case EV_WIN_SYNC:
			l->syncs++;
			break;
		}
	}
	for (i = 0; i < CPUS; i++)
		request_end(&r, i, false);
	l->live_end = p.n;
	l->requests_exact = r.exact.n;
	l->segments = r.exact.n ? r.exact : r.guess;
	l->max_request = r.exact.n ? r.max_exact : r.max_guess;
	l->requests = l->segments.n;
	l->request_segments = r.exact.n ? r.segments_exact : r.segments_guess;
	values_free(r.exact.n ? &r.guess : &r.exact);
	table_free(&p.live);
	free(p.pages.v);
}

void load_free(struct load *l)
{
	values_free(&l->sizes);
	values_free(&l->lifetimes);
	values_free(&l->inflight);
	values_free(&l->segments);
	free(l->ops);
	free(l->samples);
}
