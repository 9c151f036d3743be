// SPDX-License-Identifier: GPL-2.0-only
/*
 * How large a window a load needs: its mappings are placed once more, in windows
 * of growing size, by the rules of kernel/dma/window/pool.c:
 *
 * - a mapping of up to 64 KiB takes a power of two of slots where there is one,
 *   and else as many as it needs; streaming mappings begin at the bottom;
 * - the last sixteenth is for coherent memory, which comes from the top and takes
 *   no more than half;
 * - each virtqueue has a floor, see floor.c, which lies below that.
 *
 * Magazines are not played: CPUs give back what is in them before a request is refused,
 * so they cost speed and not room.
 */

#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define LARGEST		(4 * GIB)

static bool is_kind(const struct device *d, const char *kind)
{
	return !strcmp(d->kind, kind);
}

static bool is_disk(const struct device *d)
{
	return is_kind(d, "virtio-blk") || is_kind(d, "virtio-scsi");
}

/* The sizes that are recommended: a sixteenth more or less is of no interest. */
uint64_t round_window(uint64_t bytes)
{
	uint64_t step = 32 * MIB;

	if (bytes <= 4 * MIB)
		step = 256 * KIB;
	else if (bytes <= 16 * MIB)
		step = MIB;
	else if (bytes <= 256 * MIB)
		step = 4 * MIB;
	return (bytes + step - 1) / step * step;
}

/* The least that the kernel asks for: smaller windows, or devices in them, are refused. */
uint64_t least_window(const struct device *d)
{
	if (is_kind(d, "virtio-fs"))
		return 4 * MIB;
	if (is_kind(d, "virtio-9p"))
		return 2 * MIB;
	return MIB;
}

/* Slots of one queue's floor, of a kind whose floor is a share of the window. */
static uint64_t share(const struct device *d, uint64_t nslots)
{
	uint64_t n = nslots / 8 / (d->queues ? d->queues : 1);

	if (n > 977)
		n = 977;
	return n < 16 ? 16 : n;
}

/**
 * floors() - slots that virtqueues of a device keep for themselves
 * @d: the device
 * @nslots: of the window
 */
uint64_t floors(const struct device *d, uint64_t nslots)
{
	uint64_t q = d->queues ? d->queues : 1, small;

	if (d->virtio_id < 0)
		return 0;
	if (is_kind(d, "virtio-blk"))
		return q * share(d, nslots);
	if (is_kind(d, "virtio-scsi"))
		return 8 + q * share(d, nslots);
	if (is_kind(d, "virtio-net"))
		return q * (68 + 52) + 8;
	if (is_kind(d, "virtio-fs"))
		return 4 + 528;
	if (is_kind(d, "virtio-9p"))
		return 258;
	if (is_kind(d, "virtio-vsock"))
		return 70;
	if (is_kind(d, "virtio-console"))
		return 48;
	if (is_kind(d, "virtio-rng"))
		return 1;
	if (is_kind(d, "virtio-input"))
		return 17;
	if (is_kind(d, "virtio-crypto"))
		return 78;
	small = nslots / 8 < 64 ? nslots / 8 : 64;
	if (is_kind(d, "virtio-gpu"))
		return 2 * small;
	if (is_kind(d, "virtio-sound"))
		return 4 * small;
	return 8;
}

/* How large a disk's request is in such a window, or 0 if nothing bounds it. */
uint64_t request_bound(const struct device *d, uint64_t nslots)
{
	uint64_t n = share(d, nslots), bound, all;

	if (!is_disk(d))
		return 0;
	bound = (n - 8 - (n + 127) / 128 - 1) / 3 * 4 * KIB;
	all = nslots * SLOT / 8 - 16 * KIB;
	return bound < all ? bound : all;
}

static uint64_t streaming_area(const struct device *d, uint64_t nslots, uint64_t coherent)
{
	uint64_t top = nslots / 16, kept = floors(d, nslots);

	if (coherent > top)
		top = coherent;
	if (kept > nslots / 2 - nslots / 16 || top + kept > nslots / 2 + nslots / 16)
		return 0;
	return nslots - top - kept;
}

bool window_fits(const struct device *d, uint64_t nslots, uint64_t streaming,
		 uint64_t coherent)
{
	return streaming_area(d, nslots, coherent) >= streaming;
}

/* ---- Placing ---- */

struct area {
	uint64_t	*bits;
	uint64_t	nslots;
	uint64_t	floor, floor_free;
};

static bool area_free(const struct area *a, uint64_t slot, uint64_t n, uint64_t *taken)
{
	uint64_t i;

	for (i = slot + n; i-- > slot;) {
		if (a->bits[i / 64] >> (i % 64) & 1) {
			*taken = i;
			return false;
		}
	}
	return true;
}

static void area_set(struct area *a, uint64_t slot, uint64_t n, bool value)
{
	uint64_t i;

	for (i = slot; i < slot + n; i++) {
		if (value)
			a->bits[i / 64] |= 1ULL << (i % 64);
		else
			a->bits[i / 64] &= ~(1ULL << (i % 64));
	}
}

static bool area_take(struct area *a, uint64_t n, uint64_t align, uint64_t *slot)
{
	uint64_t at_slot = 0, taken;

	while (at_slot + n <= a->nslots) {
		if (n <= 64 && a->bits[at_slot / 64] == UINT64_MAX) {
			at_slot = (at_slot / 64 + 1) * 64;
			continue;
		}
		if (area_free(a, at_slot, n, &taken)) {
			area_set(a, at_slot, n, true);
			*slot = at_slot;
			return true;
		}
		at_slot = (taken + align) / align * align;
	}
	return false;
}

enum where { NOWHERE, AREA, FLOOR };

struct placed {
	uint32_t	slot, n;
	uint8_t		where;
};

/* Place the load in a window; returns how many mappings found no room, at once. */
static uint64_t replay(const struct load *l, const struct device *d, uint64_t nslots,
		       uint64_t coherent, uint64_t extra, bool strict, uint64_t *on_floor)
{
	struct area a = { 0 };
	struct placed *placed;
	uint64_t failed = 0, slot, n, run;
	size_t i;

	*on_floor = 0;
	a.nslots = streaming_area(d, nslots, coherent);
	if (a.nslots <= extra)
		return l->maps;
	a.nslots -= extra;
	a.floor_free = floors(d, nslots);
	a.bits = xalloc((a.nslots / 64 + 1) * sizeof(*a.bits));
	placed = xalloc((l->nops + 1) * sizeof(*placed));
	for (i = 0; i < l->nops; i++) {
		struct placed *p = &placed[l->ops[i].id];

		if (!l->ops[i].map) {
			if (p->where == AREA)
				area_set(&a, p->slot, p->n, false);
			else if (p->where == FLOOR)
				a.floor_free += p->n;
			p->where = NOWHERE;
			continue;
		}
		n = (l->ops[i].size + SLOT - 1) / SLOT;
		for (run = 1; run < n; run *= 2)
			;
		if (n <= 32 && area_take(&a, run, run, &slot)) {
			*p = (struct placed){ slot, run, AREA };
		} else if (area_take(&a, n, 1, &slot)) {
			*p = (struct placed){ slot, n, AREA };
		} else if (!strict && a.floor_free >= n) {
			*p = (struct placed){ 0, n, FLOOR };
			a.floor_free -= n;
			++*on_floor;
		} else {
			failed++;
			if (strict)
				break;
		}
	}
	free(a.bits);
	free(placed);
	return failed;
}

/*
 * Slots beside the load's mappings: of those that were not seen, and, where requests
 * are bounded and so become more, of a header, a status and a table each.
 */
static uint64_t extra_slots(const struct load *l, const struct device *d, uint64_t nslots,
			    uint64_t hidden)
{
	uint64_t bound = request_bound(d, nslots);

	if (!bound || l->max_request <= bound)
		return hidden;
	return hidden + 3 * ((l->peak_bytes + bound - 1) / bound);
}

/**
 * replay_need() - the window that a load needs
 * @n: filled in
 * @l: the load
 * @d: whose it is
 * @coherent: slots of rings and other coherent memory
 * @hidden: slots of buffers that were mapped before, and not undone
 */
void replay_need(struct need *n, const struct load *l, const struct device *d,
		 uint64_t coherent, uint64_t hidden)
{
	uint64_t bytes, want, extra, margin = l->peak_exact / 16, on_floor;

	memset(n, 0, sizeof(*n));
	n->coherent = coherent;
	n->hidden = hidden;
	n->least = least_window(d);
	for (bytes = n->least; bytes < LARGEST; bytes = round_window(bytes + 1)) {
		uint64_t nslots = bytes / SLOT;

		extra = extra_slots(l, d, nslots, hidden);
		/* The next run of the load may have a little more in flight. */
		want = l->peak_exact + margin + extra;
		if (window_fits(d, nslots, want, coherent) &&
		    !replay(l, d, nslots, coherent, extra, true, &on_floor))
			break;
	}
	n->minimum = bytes;
	n->least_rules = bytes == n->least;
	for (; bytes < LARGEST; bytes = round_window(bytes + 1))
		if (window_fits(d, bytes / SLOT, 2 * l->peak_slots + hidden, coherent))
			break;
	n->comfortable = bytes;
	if (n->comfortable == n->minimum)
		n->comfortable = round_window(n->minimum * 5 / 4);
	bytes = n->minimum / 2;
	n->half_refused = bytes < n->least;
	if (!n->half_refused) {
		extra = extra_slots(l, d, bytes / SLOT, hidden);
		n->half_failed = replay(l, d, bytes / SLOT, coherent, extra, false, &on_floor);
		n->half_all = l->maps;
	}
}
