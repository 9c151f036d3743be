// SPDX-License-Identifier: GPL-2.0-only
/* events: decoded, one a line, in one form for dma:* and dma_window:*. */

#include <errno.h>
#include <string.h>

#include "tool.h"

static void event_json(const struct trace *t, const struct event *e)
{
	json_open(NULL, '{');
	json_number("ns", e->ns);
	json_number("cpu", e->cpu);
	json_number("pid", e->pid);
	json_text("device", t->devices[e->device]);
	json_text("event", event_names[e->type]);
	if (e->type == EV_WIN_FAIL)
		json_text("reason", t->reasons[e->reason]);
	if (e->type < EV_ALLOC || (e->type >= EV_WIN_MAP && e->type <= EV_WIN_UNMAP))
		json_text("direction", dir_names[e->dir]);
	if (e->type != EV_WIN_REFUSE && e->type != EV_WIN_FAIL)
		json_number("address", e->addr);
	json_number("size", e->size);
	if (e->phys != NO_PHYS)
		json_number("buffer", e->phys);
	if (e->type >= EV_WIN_MAP && e->type <= EV_WIN_SYNC)
		json_number("copied", e->copied);
	json_close('}');
	json_end();
}

static void event_text(const struct trace *t, const struct event *e)
{
	printf("%12.6f %3u %7u %-16s %-13s", e->ns / 1e9, e->cpu, e->pid, t->devices[e->device],
	       event_names[e->type]);
	if (e->type == EV_WIN_REFUSE || e->type == EV_MAP_FAILED) {
		putchar('\n');
		return;
	}
	if (e->type != EV_WIN_FAIL)
		printf(" %#12llx", (unsigned long long)e->addr);
	printf(" %8llu", (unsigned long long)e->size);
	if (e->dir != DIR_NONE)
		printf(" %s", dir_names[e->dir]);
	if (e->phys != NO_PHYS)
		printf(" buffer=%#llx", (unsigned long long)e->phys);
	if (e->type == EV_WIN_MAP || e->type == EV_WIN_UNMAP || e->type == EV_WIN_SYNC)
		printf(" copied=%llu", (unsigned long long)e->copied);
	if (e->type == EV_WIN_FAIL)
		printf(" %s", t->reasons[e->reason]);
	putchar('\n');
}

static void show(struct trace *t, size_t *shown)
{
	for (; *shown < t->nevents; ++*shown) {
		if (opt.json)
			event_json(t, &t->events[*shown]);
		else
			event_text(t, &t->events[*shown]);
	}
	fflush(stdout);
}

int verb_events(void)
{
	double end = opt.seconds >= 0 ? now() + opt.seconds : -1;
	struct session s;
	struct trace t;
	size_t shown = 0;
	int status = EXIT_FINE;

	if (!opt.json)
		printf("%12s %3s %7s %-16s %-13s %12s %8s\n", "time", "cpu", "pid", "device",
		       "event", "address", "size");
	if (opt.from) {
		trace_init(&t, opt.from);
		trace_file(&t, opt.from);
		show(&t, &shown);
	} else if (opt.command) {
		trace_init(&t, "trace_pipe");
		session_open(&s, RECORD_MAINLINE | RECORD_WINDOWS);
		if (session_run(&s, &t))
			complain("%s failed", opt.command[0]);
		show(&t, &shown);
		session_close(&s);
	} else {
		trace_init(&t, "trace_pipe");
		session_open(&s, RECORD_MAINLINE | RECORD_WINDOWS);
		session_start(&s);
		while (!interrupted && (end < 0 || now() < end)) {
			session_read(&s, &t, end < 0 || end - now() > 0.2 ? 0.2 : end - now());
			show(&t, &shown);
			/* Nobody looks at what was shown. */
			t.nevents = 0;
			shown = 0;
		}
		session_stop(&s, &t);
		show(&t, &shown);
		session_close(&s);
	}
	status = trace_verdict(&t);
	trace_free(&t);
	return status;
}
