// SPDX-License-Identifier: GPL-2.0-only
/*
 * size: how large a window has to be, from the counters of one that runs. The mark
 * of most slots is since the boot, or since it was reset; with a command or a time,
 * it is reset first.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static struct bar *bars;
static size_t nbars;

static int size_window(const struct state *s, size_t index, const uint64_t *full_before)
{
	const struct window *w = &s->windows[index];
	const uint64_t *v = w->stat;
	uint64_t kept = 0, kept_now, least = MIB, need, bytes, minimum = 0, comfortable = 0;
	uint64_t full = v[ST_FAIL_FULL] - (full_before ? *full_before : 0);
	bool disk = false;
	size_t i;
	int level;

	for (i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		if (d->window != (int)index)
			continue;
		kept += floors(d, v[ST_NSLABS]);
		if (least_window(d) > least)
			least = least_window(d);
		disk = disk || request_bound(d, v[ST_NSLABS]);
	}
	/* Floors count as used; in another window they have another size. */
	need = v[ST_HIWATER] > kept ? v[ST_HIWATER] - kept : 0;
	for (bytes = least; bytes < 4 * GIB; bytes = round_window(bytes + 1)) {
		uint64_t nslots = bytes / SLOT, room;

		kept_now = 0;
		for (i = 0; i < s->ndevices; i++)
			if (s->devices[i].window == (int)index)
				kept_now += floors(&s->devices[i], nslots);
		room = nslots - nslots / 16 > kept_now ? nslots - nslots / 16 - kept_now : 0;
		if (!minimum && room >= need)
			minimum = bytes;
		if (minimum && room >= 2 * need && bytes > minimum) {
			comfortable = bytes;
			break;
		}
	}
	/* Refused requests are not in the mark: the load wants more than there is. */
	level = full ? EXIT_WARN : EXIT_FINE;
	if (full && minimum <= v[ST_SIZE])
		minimum = round_window(v[ST_SIZE] + 1);
	if (full && comfortable < 2 * v[ST_SIZE])
		comfortable = round_window(2 * v[ST_SIZE]);

	if (opt.plot) {
		memcpy(bars[nbars].name, w->name, sizeof(bars[nbars].name));
		bars[nbars].value[0] = v[ST_SIZE] / (double)MIB;
		bars[nbars++].value[1] = minimum / (double)MIB;
	}
	if (opt.json) {
		json_open(NULL, '{');
		json_text("window", w->name);
		json_number("size", v[ST_SIZE]);
		json_number("slots", v[ST_NSLABS]);
		json_number("most_slots", v[ST_HIWATER]);
		json_number("floor_slots", kept);
		json_number("fail_full", full);
		json_number("minimum", minimum);
		json_bool("minimum_known", !full);
		json_number("comfortable", comfortable);
		json_close('}');
		return level;
	}
	printf("%s: %s; %llu of %llu slots were used at most, about %llu of them floors; %llu "
	       "requests found no room\n",
	       w->name, human(v[ST_SIZE]), (unsigned long long)v[ST_HIWATER],
	       (unsigned long long)v[ST_NSLABS], (unsigned long long)kept,
	       (unsigned long long)full);
	if (full)
		printf("  it is too small for that load to run at full speed: try %s, and "
		       "look again\n",
		       human(comfortable));
	else
		printf("  minimum %s, comfortable %s%s\n", human(minimum), human(comfortable),
		       v[ST_SIZE] >= minimum && v[ST_SIZE] > comfortable ? ": it could be "
		       "smaller" :
		       v[ST_SIZE] < minimum ? "" : ": it is large enough");
	if (disk && full)
		printf("  in a larger window a disk's requests are larger, too\n");
	return level;
}

static int reset_mark(const struct window *w)
{
	int err = write_text(at("/sys/kernel/debug/swiotlb/%s/io_tlb_used_hiwater", w->name), "0");

	if (err)
		complain("%s: the mark cannot be reset: %s", w->name, strerror(-err));
	return err;
}

int verb_size(void)
{
	uint64_t full[64];
	int level = EXIT_FINE, done = 0;
	struct state s, after;
	bool ran = opt.command || opt.seconds >= 0;
	double seconds;
	size_t i, j;
	int status = 0;

	state_load(&s);
	if (s.error || !s.nwindows)
		die(EXIT_CANNOT, "%s", state_why_not(&s));
	for (i = 0; ran && i < s.nwindows; i++) {
		if (i < ARRAY_SIZE(full))
			full[i] = s.windows[i].stat[ST_FAIL_FULL];
		if (reset_mark(&s.windows[i]))
			return EXIT_CANNOT;
	}
	if (opt.command)
		status = run_command(&seconds);
	else if (opt.seconds > 0)
		usleep(opt.seconds * 1e6);
	if (status)
		complain("%s ended with status %d", opt.command[0], status);
	state_load(&after);
	bars = xalloc((after.nwindows + 1) * sizeof(*bars));
	if (opt.json)
		json_open(NULL, '[');
	for (i = 0; i < after.nwindows; i++) {
		bool want = !opt.ndevices || wanted(after.windows[i].name);

		for (j = 0; j < after.ndevices; j++)
			if (after.devices[j].window == (int)i && wanted(after.devices[j].name))
				want = true;
		if (!want)
			continue;
		done++;
		level = worse(level, size_window(&after, i, ran && i < ARRAY_SIZE(full) &&
						 i < s.nwindows ? &full[i] : NULL));
	}
	if (opt.json) {
		json_close(']');
		json_end();
	}
	if (opt.plot && nbars) {
		static const char * const keys[] = { "MiB", "MiB at least" };

		plot_bars("size", keys, bars, nbars);
	}
	free(bars);
	state_free(&s);
	state_free(&after);
	if (!done) {
		complain("no window, or device with one, is called %s", opt.devices[0]);
		return EXIT_CANNOT;
	}
	return level;
}
