// SPDX-License-Identifier: GPL-2.0-only
/*
 * top: windows and devices, live. Clean on a serial console: 80 columns, lines are
 * rewritten in place, no colours but reverse for the heading.
 *
 * Counters cost nothing. With -e, or the key e, mappings of each device and how long
 * they live come from events, which cost what each of them costs.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tool.h"

struct row {
	char		name[64];
	bool		device;
	double		maps, in, out;		/* per second */
	uint64_t	live, slots, fails, p50, p99;
	double		fill;
	bool		has_rates, has_live, has_window, has_life;
};

static struct termios saved;
static bool raw;

static void restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = false;
	/* Show the cursor again. */
	if (!opt.batch)
		fputs("\033[?25h", stdout);
	fflush(stdout);
}

static void set_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved))
		return;
	t = saved;
	t.c_lflag &= ~(ICANON | ECHO);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	if (!tcsetattr(STDIN_FILENO, TCSANOW, &t))
		raw = true;
	atexit(restore);
	fputs("\033[?25l", stdout);
}

static void screen_size(int *lines, int *columns)
{
	struct winsize w;

	*lines = 24;
	*columns = 80;
	/* A serial console has no size: it says 0. */
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w)) {
		if (w.ws_row >= 5)
			*lines = w.ws_row;
		if (w.ws_col >= 40)
			*columns = w.ws_col;
	}
}

static int sort_key = 'm';

static double key_of(const struct row *r)
{
	switch (sort_key) {
	case 'b':
		return r->in + r->out;
	case 'f':
		return r->fails;
	case 'u':
		return r->fill;
	default:
		return r->maps;
	}
}

/* Windows by the key, and behind each its devices. */
static int by_key(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;

	if (key_of(*x) != key_of(*y))
		return key_of(*x) < key_of(*y) ? 1 : -1;
	return strcmp((*x)->name, (*y)->name);
}

static const struct window *find(const struct state *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->nwindows; i++)
		if (!strcmp(s->windows[i].name, name))
			return &s->windows[i];
	return NULL;
}

static void window_row(struct row *r, const struct window *w, const struct window *old,
		       double seconds)
{
	const uint64_t *v = w->stat;

	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "%s", w->name);
	if (old && seconds > 0) {
		r->maps = (v[ST_MAPS] - old->stat[ST_MAPS]) / seconds;
		r->in = (v[ST_BYTES_IN] - old->stat[ST_BYTES_IN]) / seconds;
		r->out = (v[ST_BYTES_OUT] - old->stat[ST_BYTES_OUT]) / seconds;
		r->has_rates = true;
	}
	r->live = v[ST_MAPS] - v[ST_UNMAPS];
	r->has_live = true;
	r->slots = v[ST_USED];
	r->fill = percent(v[ST_USED], v[ST_NSLABS]);
	r->fails = window_failures(w) + v[ST_FAIL_FULL];
	r->has_window = true;
}

/* A device by its events of the last interval. */
static void device_row(struct row *r, const struct device *d, const struct trace *t,
		       double seconds)
{
	struct load l;
	size_t i;

	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "  %s", d->name);
	r->device = true;
	for (i = 0; t && i < t->ndevices; i++) {
		if (strcmp(t->devices[i], d->name))
			continue;
		load_make(&l, t, i, sysconf(_SC_PAGESIZE));
		r->maps = l.maps / seconds;
		r->in = l.copied_in / seconds;
		r->out = l.copied_out / seconds;
		r->has_rates = true;
		r->live = l.peak;
		r->has_live = true;
		r->fails = l.fails;
		r->p50 = values_at(&l.lifetimes, 50);
		r->p99 = values_at(&l.lifetimes, 99);
		r->has_life = l.lifetimes.n;
		load_free(&l);
	}
}

static const char *cell(bool has, const char *text)
{
	return has ? text : "-";
}

static const char *bytes_cell(double bytes)
{
	static char bufs[8][12];
	static int next;
	char *buf = bufs[next++ % 8];
	static const char units[] = "BKMGT";
	int i;

	for (i = 0; bytes >= 1000 && i < 4; i++)
		bytes /= 1024;
	snprintf(buf, sizeof(bufs[0]), bytes < 9.95 && i ? "%.1f%c" : "%.0f%c", bytes, units[i]);
	return buf;
}

static const char *life_cell(uint64_t ns)
{
	static char bufs[8][12];
	static int next;
	char *buf = bufs[next++ % 8];

	if (ns < 1000000)
		snprintf(buf, sizeof(bufs[0]), "%lluus", (unsigned long long)ns / 1000);
	else if (ns < 1000000000)
		snprintf(buf, sizeof(bufs[0]), ns < 10000000 ? "%.1fms" : "%.0fms", ns / 1e6);
	else
		snprintf(buf, sizeof(bufs[0]), ns < 9950000000ULL ? "%.1fs" : "%.0fs", ns / 1e9);
	return buf;
}

static const char heading[] =
	"WINDOW, DEVICE        MAPS/s  IN/s OUT/s  LIVE SLOTS FULL  FAIL   P50   P99";

static void row_line(char *line, size_t size, const struct row *r)
{
	char fill[8];

	snprintf(fill, sizeof(fill), "%.0f", r->fill);
	snprintf(line, size, "%-21.21s %6s %5s %5s %5s %5s %4s %5s %5s %5s", r->name,
		 cell(r->has_rates, brief(r->maps)), cell(r->has_rates, bytes_cell(r->in)),
		 cell(r->has_rates, bytes_cell(r->out)), cell(r->has_live, brief(r->live)),
		 cell(r->has_window, brief(r->slots)), cell(r->has_window, fill),
		 cell(r->has_window || r->has_live, brief(r->fails)),
		 cell(r->has_life, life_cell(r->p50)), cell(r->has_life, life_cell(r->p99)));
}

/* One line of the screen, cut to its width; what was there before is erased. */
static void put_line(const char *text, int columns, bool reverse)
{
	if (opt.batch) {
		printf("%s\n", text);
		return;
	}
	printf("%s%.*s%s\033[K\n", reverse ? "\033[7m" : "", columns - 1, text,
	       reverse ? "\033[0m" : "");
}

static void show_json(const struct row *rows, size_t n, uint64_t lost)
{
	size_t i;

	json_open(NULL, '{');
	json_number("lost", lost);
	json_open("rows", '[');
	for (i = 0; i < n; i++) {
		const struct row *r = &rows[i];

		json_open(NULL, '{');
		json_text(r->device ? "device" : "window", r->device ? r->name + 2 : r->name);
		if (r->has_rates) {
			json_float("maps_per_second", r->maps);
			json_float("bytes_in_per_second", r->in);
			json_float("bytes_out_per_second", r->out);
		}
		if (r->has_live)
			json_number(r->device ? "most_live" : "live", r->live);
		if (r->has_window) {
			json_number("slots", r->slots);
			json_float("full_percent", r->fill);
		}
		json_number("failed", r->fails);
		if (r->has_life) {
			json_number("lifetime_p50_ns", r->p50);
			json_number("lifetime_p99_ns", r->p99);
		}
		json_close('}');
	}
	json_close(']');
	json_close('}');
	json_end();
}

static void show(const struct state *s, const struct state *old, const struct trace *t,
		 double seconds, uint64_t lost)
{
	struct row *rows = xalloc((s->nwindows + s->ndevices) * sizeof(*rows));
	struct row **order = xalloc(s->nwindows * sizeof(*order));
	int lines, columns, used = 0;
	char line[160];
	size_t i, j, n = 0, windows = 0;

	for (i = 0; i < s->nwindows; i++) {
		if (opt.ndevices && !wanted(s->windows[i].name)) {
			for (j = 0; j < s->ndevices; j++)
				if (s->devices[j].window == (int)i && wanted(s->devices[j].name))
					break;
			if (j == s->ndevices)
				continue;
		}
		order[windows++] = &rows[n];
		window_row(&rows[n++], &s->windows[i],
			   old ? find(old, s->windows[i].name) : NULL, seconds);
		for (j = 0; j < s->ndevices; j++)
			if (s->devices[j].window == (int)i)
				device_row(&rows[n++], &s->devices[j], t, seconds);
	}
	if (opt.json) {
		show_json(rows, n, lost);
		goto out;
	}
	screen_size(&lines, &columns);
	qsort(order, windows, sizeof(*order), by_key);
	if (!opt.batch)
		fputs("\033[H", stdout);
	snprintf(line, sizeof(line), "dma-window: %zu windows, %zu devices; every %.3g s; %s",
		 s->nwindows, s->ndevices, seconds, t ? "events on" : "events off (e)");
	if (lost)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), ", %llu LOST",
			 (unsigned long long)lost);
	put_line(line, columns, false);
	put_line(heading, columns, true);
	used = 2;
	for (i = 0; i < windows; i++) {
		const struct row *r = order[i];

		do {
			if (opt.batch || used < lines - 2) {
				row_line(line, sizeof(line), r);
				put_line(line, columns, false);
				used++;
			}
			r++;
		} while (r < rows + n && r->device);
	}
	if (!opt.batch) {
		fputs("\033[J", stdout);
		printf("\033[%d;1H", lines);
		snprintf(line, sizeof(line), "q quit  sort: m maps b bytes u full f failed  e "
			 "events  p pause  r reset mark");
		printf("%.*s\033[K", columns - 1, line);
	}
out:
	fflush(stdout);
	free(order);
	free(rows);
}

static void reset_marks(const struct state *s)
{
	size_t i;

	for (i = 0; i < s->nwindows; i++)
		write_text(at("/sys/kernel/debug/swiotlb/%s/io_tlb_used_hiwater",
			      s->windows[i].name), "0");
}

/* Read keys for that long; false to quit. */
static bool keys(double seconds, bool *events, bool *paused, const struct state *s)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	double end = now() + seconds, left;
	char c;

	while (!interrupted && (left = end - now()) > 0) {
		if (opt.batch || !raw) {
			usleep(left < 0.1 ? left * 1e6 : 100000);
			continue;
		}
		if (poll(&p, 1, left < 0.2 ? left * 1e3 + 1 : 200) <= 0)
			continue;
		if (read(STDIN_FILENO, &c, 1) != 1)
			return false;
		switch (c) {
		case 'q':
			return false;
		case 'm':
		case 'b':
		case 'u':
		case 'f':
			sort_key = c;
			return true;
		case 'e':
			*events = !*events;
			return true;
		case 'p':
			*paused = !*paused;
			return true;
		case 'r':
			reset_marks(s);
			return true;
		case ' ':
			return true;
		}
	}
	return !interrupted;
}

static void add_point(struct series *p, size_t *cap, double at_time, const struct state *s,
		      const struct state *old, double seconds)
{
	const struct window *w = &s->windows[0], *before = old ? find(old, w->name) : NULL;
	size_t b = *cap, c = *cap;

	p->t = xgrow(p->t, p->n, &b, sizeof(double));
	p->a = xgrow(p->a, p->n, &c, sizeof(double));
	p->b = xgrow(p->b, p->n, cap, sizeof(double));
	p->t[p->n] = at_time;
	p->a[p->n] = percent(w->stat[ST_USED], w->stat[ST_NSLABS]);
	p->b[p->n++] = before ? (w->stat[ST_MAPS] - before->stat[ST_MAPS]) / seconds : 0;
}

/* Events are of devices: with a window that was asked for, ask for its devices. */
static void add_devices(const struct state *s)
{
	static char names[ARRAY_SIZE(opt.devices)][64];
	int given = opt.ndevices, k;
	size_t i;

	for (i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		for (k = 0; k < given; k++)
			if (d->window >= 0 && !strcmp(opt.devices[k], s->windows[d->window].name))
				break;
		if (k == given || wanted(d->name))
			continue;
		if (opt.ndevices == (int)ARRAY_SIZE(opt.devices))
			die(EXIT_USAGE, "more than %zu devices", ARRAY_SIZE(opt.devices));
		memcpy(names[opt.ndevices], d->name, sizeof(d->name));
		opt.devices[opt.ndevices] = names[opt.ndevices];
		opt.ndevices++;
	}
}

int verb_top(void)
{
	double interval = opt.interval > 0 ? opt.interval : 2, last, seconds, begin;
	bool events = opt.events, paused = false, open = false, go = true;
	struct state s, old = { 0 };
	struct series points = { 0 };
	struct session session;
	struct trace t;
	size_t cap = 0;
	uint64_t lost = 0;
	long round;

	if (opt.json || !isatty(STDOUT_FILENO))
		opt.batch = true;
	state_load(&old);
	if (old.error || !old.nwindows)
		die(EXIT_CANNOT, "%s", state_why_not(&old));
	add_devices(&old);
	if (!opt.batch) {
		set_raw();
		fputs("\033[2J", stdout);
	}
	last = now();
	begin = last;
	trace_init(&t, "trace_pipe");
	for (round = 0; go && (opt.rounds < 0 || round < opt.rounds); round++) {
		if (events && !open) {
			session_open(&session, RECORD_WINDOWS);
			session_start(&session);
			/* Rates of counters and those of events are of the same time. */
			state_free(&old);
			state_load(&old);
			last = now();
			open = true;
		} else if (!events && open) {
			session_close(&session);
			open = false;
		}
		if (open && (opt.batch || !raw))
			session_read(&session, &t, interval);
		else
			go = keys(interval, &events, &paused, &old);
		if (open)
			session_stop(&session, &t);
		if (interrupted)
			break;
		state_load(&s);
		seconds = now() - last;
		if (s.error || !s.nwindows)
			die(EXIT_CANNOT, "%s", state_why_not(&s));
		/* The kernel's count is since the session began. */
		if (open && t.lost > lost)
			lost = t.lost;
		if (!paused)
			show(&s, &old, open ? &t : NULL, seconds, lost);
		add_point(&points, &cap, now() - begin, &s, &old, seconds);
		state_free(&old);
		old = s;
		last = now();
		trace_free(&t);
		trace_init(&t, "trace_pipe");
		if (open)
			session_start(&session);
	}
	if (open)
		session_close(&session);
	if (!opt.batch) {
		int lines, columns;

		screen_size(&lines, &columns);
		printf("\033[%d;1H\033[K", lines);
	}
	if (opt.plot && points.n)
		plot_fill(old.windows[0].name, &points);
	trace_free(&t);
	state_free(&old);
	free(points.t);
	free(points.a);
	free(points.b);
	return lost ? EXIT_WARN : EXIT_FINE;
}
