// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of dma:* and dma_window:*, as text.
 *
 * Text, and not the binary pages of the ring buffer: one parser reads what the
 * kernel prints now, what somebody saved, and what trace-cmd and perf print, so
 * that tests on saved traces test what a live trace goes through; it needs no
 * library, and no knowledge of the layout of an event in a particular kernel.
 * The price is that the kernel formats each event when it is read, which the
 * report counts as overhead.
 *
 * A live trace has an instance of its own, so other users of tracing are not
 * disturbed, and nothing is left behind.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

/* The longest line: three lists of 128 entries. */
#define BUF_SIZE	(64 * 1024)
#define MARKERS		2000
#define ROUNDS		10

const char * const event_names[EV_TYPES] = {
	[EV_MAP] = "map", [EV_UNMAP] = "unmap", [EV_MAP_FAILED] = "map failed",
	[EV_ALLOC] = "alloc", [EV_FREE] = "free", [EV_SYNC] = "sync",
	[EV_WIN_MAP] = "window map", [EV_WIN_UNMAP] = "window unmap",
	[EV_WIN_ALLOC] = "window alloc", [EV_WIN_FREE] = "window free",
	[EV_WIN_SYNC] = "window sync", [EV_WIN_FAIL] = "window fail",
	[EV_WIN_ATTACH] = "window attach", [EV_WIN_REFUSE] = "window refuse",
};

const char * const dir_names[] = { "both", "to", "from", "none" };

/* Events that are read. The rest of dma:* is of no use here. */
static const struct {
	const char	*name;
	uint8_t		type;
	bool		list;
	bool		record;
} kinds[] = {
	{ "dma_map_page", EV_MAP, false, true },
	{ "dma_map_phys", EV_MAP, false, true },
	{ "dma_map_sg", EV_MAP, true, true },
	{ "dma_map_sg_err", EV_MAP_FAILED, false, true },
	{ "dma_unmap_page", EV_UNMAP, false, true },
	{ "dma_unmap_phys", EV_UNMAP, false, true },
	{ "dma_unmap_sg", EV_UNMAP, true, true },
	{ "dma_alloc", EV_ALLOC, false, true },
	{ "dma_alloc_pages", EV_ALLOC, false, true },
	{ "dma_free", EV_FREE, false, true },
	{ "dma_free_pages", EV_FREE, false, true },
	{ "dma_sync_single_for_cpu", EV_SYNC, false, true },
	{ "dma_sync_single_for_device", EV_SYNC, false, true },
	{ "dma_window_map", EV_WIN_MAP, false, true },
	{ "dma_window_unmap", EV_WIN_UNMAP, false, true },
	{ "dma_window_sync", EV_WIN_SYNC, false, true },
	{ "dma_window_alloc", EV_WIN_ALLOC, false, true },
	{ "dma_window_free", EV_WIN_FREE, false, true },
	{ "dma_window_fail", EV_WIN_FAIL, false, true },
	{ "dma_window_attach", EV_WIN_ATTACH, false, true },
	{ "dma_window_refuse", EV_WIN_REFUSE, false, true },
};

atomic_bool interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = true;
}

/* Interrupt what waits, so that the instance is removed and the report made. */
void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

/* ---- A line ---- */

void trace_init(struct trace *t, const char *name)
{
	memset(t, 0, sizeof(*t));
	t->name = name;
	t->limit = 8000000;
}

void trace_free(struct trace *t)
{
	free(t->events);
	free(t->devices);
	free(t->notes);
}

static void bad_line(struct trace *t, const char *event, const char *why, const char *text)
{
	if (t->bad++ < 3)
		complain("%s:%llu: %s: %s: \"%.60s\"", t->name, (unsigned long long)t->lines,
			 event, why, text);
}

static int device_index(struct trace *t, const char *name)
{
	size_t i;

	for (i = t->ndevices; i-- > 0;)
		if (!strcmp(t->devices[i], name))
			return i;
	if (t->ndevices == UINT16_MAX)
		return -1;
	t->devices = xgrow(t->devices, t->ndevices, &t->cap_devices, sizeof(*t->devices));
	snprintf(t->devices[t->ndevices], sizeof(*t->devices), "%s", name);
	return t->ndevices++;
}

/* The value behind " NAME=", which ends with a space. */
static const char *field(const char *args, const char *name)
{
	size_t n = strlen(name);
	const char *p = args;

	while ((p = strstr(p, name))) {
		if (p > args && p[-1] == ' ' && p[n] == '=')
			return p + n + 1;
		p += n;
	}
	return NULL;
}

/* Addresses of dma:* have no 0x, but are hexadecimal; sizes are decimal. */
static bool field_number(const char *args, const char *name, int base, uint64_t *value)
{
	const char *p = field(args, name);
	char *end;

	if (!p)
		return false;
	errno = 0;
	*value = strtoull(p, &end, base);
	return end != p && !errno && (!*end || *end == ' ');
}

static bool field_direction(const char *args, uint8_t *dir)
{
	static const struct {
		const char	*name;
		uint8_t		dir;
	} words[] = {
		{ "BIDIRECTIONAL", DIR_BOTH }, { "bidirectional", DIR_BOTH },
		{ "TO_DEVICE", DIR_TO }, { "to-device", DIR_TO },
		{ "FROM_DEVICE", DIR_FROM }, { "from-device", DIR_FROM },
		{ "NONE", DIR_NONE }, { "none", DIR_NONE },
	};
	const char *p = field(args, "dir");
	size_t i;

	for (i = 0; p && i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].name);

		if (!strncmp(p, words[i].name, n) && (!p[n] || p[n] == ' ')) {
			*dir = words[i].dir;
			return true;
		}
	}
	return false;
}

/* The next number of "{0x1,0x2}"; false at its end. */
static bool next_of_list(const char **list, uint64_t *value)
{
	char *end;

	if (!*list || (**list != '{' && **list != ','))
		return false;
	errno = 0;
	*value = strtoull(*list + 1, &end, 16);
	if (end == *list + 1 || errno)
		return false;
	*list = end;
	return true;
}

static void add_event(struct trace *t, const struct event *e)
{
	if (t->nevents == t->limit) {
		t->full = true;
		return;
	}
	t->events = xgrow(t->events, t->nevents, &t->cap, sizeof(*t->events));
	t->events[t->nevents++] = *e;
}

/*
 * A list: one event for each entry. The unmap of a list tells where the driver's
 * buffers are, not the bus addresses; who matches it with the map goes by that.
 */
static const char *add_list(struct trace *t, struct event *e, const char *args)
{
	const char *phys = field(args, "phys_addrs"), *addrs = NULL, *sizes = NULL;
	bool any = false;

	if (!phys)
		return "no phys_addrs=";
	if (e->type == EV_MAP) {
		addrs = field(args, "dma_addrs");
		sizes = field(args, "sizes");
		if (!addrs || !sizes)
			return "no dma_addrs= or sizes=";
		if (strstr(args, "[TRUNCATED]"))
			t->cut++;
	}
	for (;;) {
		if (!next_of_list(&phys, &e->phys))
			e->phys = NO_PHYS;
		if (e->type == EV_MAP) {
			/* An IOMMU may have merged entries: there are fewer addresses. */
			if (!next_of_list(&addrs, &e->addr) || !next_of_list(&sizes, &e->size))
				break;
		} else {
			if (e->phys == NO_PHYS)
				break;
			e->addr = e->phys;
		}
		e->list = any ? 2 : 1;
		add_event(t, e);
		any = true;
	}
	return any ? NULL : "an empty list";
}

static int reason_index(struct trace *t, const char *text)
{
	char word[32];
	int i;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text, " "), text);
	for (i = 0; i < t->nreasons; i++)
		if (!strcmp(t->reasons[i], word))
			return i;
	if (t->nreasons == (int)ARRAY_SIZE(t->reasons))
		return t->nreasons - 1;
	memcpy(t->reasons[t->nreasons], word, sizeof(word));
	return t->nreasons++;
}

/* Parse the arguments of an event. Returns NULL, or what is wrong. */
static const char *parse_args(struct trace *t, struct event *e, bool list, const char *args)
{
	bool window = e->type >= EV_WIN_MAP;
	const char *addr = window ? "addr" : "dma_addr", *p;
	int base = window ? 0 : 16;

	if (e->type != EV_WIN_ATTACH && e->type != EV_WIN_REFUSE &&
	    e->type < EV_WIN_ALLOC && !field_direction(args, &e->dir))
		return "no dir=, or none that is known";
	if (list)
		return add_list(t, e, args);
	switch (e->type) {
	case EV_MAP_FAILED:
	case EV_WIN_REFUSE:
		break;
	case EV_WIN_FAIL:
		p = field(args, "reason");
		if (!p || !field_number(args, "size", 10, &e->size))
			return "no reason= or size=";
		e->reason = reason_index(t, p);
		break;
	case EV_WIN_ATTACH:
		if (!field_number(args, "base", 0, &e->addr) ||
		    !field_number(args, "size", 10, &e->size))
			return "no base= or size=";
		break;
	default:
		if (!field_number(args, addr, base, &e->addr))
			return window ? "no addr=" : "no dma_addr=";
		if (!field_number(args, "size", 10, &e->size))
			return "no size=";
		if (e->size > UINT32_MAX)
			return "a size of more than 4 GiB";
		if (e->type >= EV_WIN_MAP && e->type <= EV_WIN_SYNC && e->type != EV_WIN_ALLOC &&
		    e->type != EV_WIN_FREE && !field_number(args, "copied", 10, &e->copied))
			return "no copied=";
		if (e->type == EV_WIN_SYNC) {
			p = field(args, "for");
			if (!p)
				return "no for=";
			e->reason = !strncmp(p, "cpu", 3);
		}
		if (!field_number(args, "phys_addr", 16, &e->phys))
			e->phys = NO_PHYS;
		if (e->type == EV_MAP && e->phys == NO_PHYS)
			return "no phys_addr=";
		/* DMA_MAPPING_ERROR; an allocation that failed has address 0. */
		if (e->type == EV_MAP && e->addr == UINT64_MAX)
			e->type = EV_MAP_FAILED;
		if (e->type == EV_ALLOC && !e->addr)
			e->type = EV_MAP_FAILED;
		break;
	}
	add_event(t, e);
	return NULL;
}

/* Find "PID ... [CPU] ... SECONDS: "; returns what is behind, or NULL. */
static char *parse_head(char *line, struct event *e)
{
	char *open = line, *close, *p, *end, *dot;
	uint64_t whole, part;
	int digits;

	for (; (open = strchr(open, '[')); open++) {
		if (open == line || open[-1] != ' ' || open[1] < '0' || open[1] > '9')
			continue;
		e->cpu = strtoul(open + 1, &close, 10);
		if (*close != ']')
			continue;
		/* A word of flags, or none, and the time. */
		p = close + 1;
		p += strspn(p, " ");
		dot = p + strspn(p, "0123456789");
		if (dot == p || *dot != '.') {
			p += strcspn(p, " ");
			p += strspn(p, " ");
			dot = p + strspn(p, "0123456789");
			if (dot == p || *dot != '.')
				continue;
		}
		whole = strtoull(p, NULL, 10);
		part = strtoull(dot + 1, &end, 10);
		digits = end - dot - 1;
		if (*end != ':' || !digits || digits > 9)
			continue;
		while (digits++ < 9)
			part *= 10;
		e->ns = whole * 1000000000 + part;
		/* The process id ends before the CPU, or before "(TGID)". */
		p = open - 1;
		while (p > line && *p == ' ')
			p--;
		if (*p == ')') {
			while (p > line && *p != '(')
				p--;
			while (p > line && (*p == '(' || *p == ' '))
				p--;
		}
		while (p > line && p[-1] >= '0' && p[-1] <= '9')
			p--;
		e->pid = strtoul(p, NULL, 10);
		return end + 1;
	}
	return NULL;
}

/* "CPU:1 [LOST 12 EVENTS]", "CPU:1 [12 EVENTS DROPPED]", "[LOST EVENTS]" */
static bool lost_line(struct trace *t, const char *line)
{
	const char *p = strstr(line, "[LOST ");
	uint64_t n;

	if (p) {
		p += 6;
	} else if (strstr(line, " EVENTS DROPPED]")) {
		p = strchr(line, '[') + 1;
	} else {
		/* "# entries-in-buffer/entries-written: 10/30   #P:4" */
		unsigned long long in, written;

		p = strstr(line, "entries-in-buffer/entries-written:");
		if (p && sscanf(p, "%*[^:]: %llu/%llu", &in, &written) == 2 && written > in)
			t->lost += written - in;
		return false;
	}
	n = strtoull(p, NULL, 10);
	t->lost += n;
	if (!n)
		t->lost_lines++;
	return true;
}

/* "# dma-window: device=0000:00:02.0 kind=virtio-blk ...", written by survey --save */
static void note_line(struct trace *t, const char *line)
{
	struct note n = { .delivered = UINT64_MAX };
	uint64_t delivered;

	if (strncmp(line, "# dma-window: device=", 21))
		return;
	if (sscanf(line + 21, "%63s kind=%31s queues=%u ring=%u iommu=%31s", n.device, n.kind,
		   &n.queues, &n.ring, n.iommu) != 5 || !n.queues) {
		bad_line(t, "device", "no kind=, queues=, ring= or iommu=", line);
		return;
	}
	if (field_number(line, "delivered", 10, &delivered))
		n.delivered = delivered;
	if (!strcmp(n.kind, "-"))
		n.kind[0] = '\0';
	if (!strcmp(n.iommu, "-"))
		n.iommu[0] = '\0';
	t->notes = xgrow(t->notes, t->nnotes, &t->cap_notes, sizeof(n));
	t->notes[t->nnotes++] = n;
}

/**
 * trace_line() - add the event of a line
 * @t: the trace
 * @line: without its newline; changed
 *
 * Lines of other events are counted; what cannot be decoded is reported.
 */
void trace_line(struct trace *t, char *line)
{
	struct event e = { .phys = NO_PHYS, .dir = DIR_NONE };
	char *p, *name, *colon, *args, device[64];
	const char *why;
	size_t i, n;
	int index;

	t->lines++;
	if (*line == '#') {
		lost_line(t, line);
		note_line(t, line);
		t->other++;
		return;
	}
	p = parse_head(line, &e);
	if (!p) {
		if (!lost_line(t, line)) {
			t->other++;
			/* A line of ours that was cut off, or is none of the kernel's. */
			if (strstr(line, ": dma_") || strstr(line, "[LINE TOO BIG]"))
				bad_line(t, "event", "no \"[CPU] SECONDS:\" before it", line);
		}
		return;
	}
	name = p + strspn(p, " ");
	/* perf says "dma:dma_map_page:". */
	colon = name + strcspn(name, ": ");
	if (*colon == ':' && colon[1] != ' ' && colon[1]) {
		name = colon + 1;
		colon = name + strcspn(name, ": ");
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		n = strlen(kinds[i].name);
		if (n == (size_t)(colon - name) && !strncmp(name, kinds[i].name, n))
			break;
	}
	if (i == ARRAY_SIZE(kinds)) {
		if (!*colon && !strncmp(name, "dma", colon - name < 3 ? colon - name : 3)) {
			bad_line(t, "event", "the line ends in its name", name);
			return;
		}
		t->other++;
		if (strstr(p, "[LINE TOO BIG]"))
			t->cut++;
		return;
	}
	e.type = kinds[i].type;
	if (*colon != ':') {
		bad_line(t, kinds[i].name, "it ends here", line);
		return;
	}
	p = colon + 1;
	p += strspn(p, " ");
	n = strcspn(p, " ");
	if (!n || n >= sizeof(device) || memchr(p, '=', n)) {
		bad_line(t, kinds[i].name, "no name of a device", p);
		return;
	}
	snprintf(device, sizeof(device), "%.*s", (int)n, p);
	if (!wanted(device))
		return;
	index = device_index(t, device);
	if (index < 0) {
		bad_line(t, kinds[i].name, "too many devices", p);
		return;
	}
	e.device = index;
	args = p + n;
	why = parse_args(t, &e, kinds[i].list, args);
	if (why)
		bad_line(t, kinds[i].name, why, args);
}

/* ---- A file ---- */

void trace_file(struct trace *t, const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	size_t size = 0;
	char *line = NULL;
	ssize_t n;

	if (!f)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	while (errno = 0, (n = getline(&line, &size, f)) > 0) {
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		if (n && line[n - 1] == '\r')
			line[--n] = '\0';
		if (memchr(line, 0, n))
			die(EXIT_CANNOT, "%s:%llu: not a text: save trace_pipe, or what "
			    "\"trace-cmd report\" prints",
			    path, (unsigned long long)t->lines + 1);
		trace_line(t, line);
	}
	if (ferror(f))
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if (f != stdin)
		fclose(f);
	if (!t->nevents && !opt.ndevices)
		die(EXIT_CANNOT, "%s: no event of dma:* or dma_window:* in its %llu lines%s",
		    path, (unsigned long long)t->lines,
		    t->bad ? " that could be decoded" : "");
	free(line);
}

int trace_verdict(const struct trace *t)
{
	int status = EXIT_FINE;

	if (t->lost || t->lost_lines) {
		complain("the kernel dropped %llu events%s: counts are too low, and some "
			 "lifetimes are missing; a larger --buffer, or one device (-d)",
			 (unsigned long long)t->lost,
			 t->lost_lines ? ", and more that it did not count" : "");
		status = EXIT_WARN;
	}
	if (t->bad) {
		complain("%llu lines could not be decoded", (unsigned long long)t->bad);
		status = EXIT_WARN;
	}
	if (t->cut) {
		complain("%llu lists were longer than the kernel tells: their ends are missing",
			 (unsigned long long)t->cut);
		status = EXIT_WARN;
	}
	if (t->full) {
		complain("only the first %zu events were kept", t->limit);
		status = EXIT_WARN;
	}
	return status;
}

/* ---- A live trace ---- */

static const char *tracefs(void)
{
	static char path[512];
	const char *p = at("/sys/kernel/tracing");

	if (access(at("/sys/kernel/tracing/events"), F_OK) &&
	    !access(at("/sys/kernel/debug/tracing/events"), F_OK))
		p = at("/sys/kernel/debug/tracing");
	snprintf(path, sizeof(path), "%s", p);
	return path;
}

static int control(const struct session *s, const char *file, const char *text)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", s->dir, file);
	return write_text(path, text);
}

static void must(const struct session *s, const char *file, const char *text)
{
	int err = control(s, file, text);

	if (!err)
		return;
	session_close((struct session *)s);
	die(EXIT_CANNOT, "%s: cannot write \"%s\": %s", file, text, strerror(-err));
}

static bool group_there(const struct session *s, const char *group)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/events/%s", s->dir, group);
	return !access(path, F_OK);
}

/* Switch on what there is of a group, for the devices that are wanted. */
static bool enable_group(const struct session *s, const char *group, const char *dev)
{
	char file[128], filter[8192] = "";
	size_t i, n = 0;
	int k;

	if (!group_there(s, group))
		return false;
	for (k = 0; k < opt.ndevices && n < sizeof(filter); k++)
		n += snprintf(filter + n, sizeof(filter) - n, "%s%s == \"%s\"",
			      k ? " || " : "", dev, opt.devices[k]);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool window = !strncmp(kinds[i].name, "dma_window", 10);

		if (!kinds[i].record || window != !strcmp(group, "dma_window"))
			continue;
		snprintf(file, sizeof(file), "events/%s/%s/filter", group, kinds[i].name);
		if (filter[0] && control(s, file, filter) == -ENOENT)
			continue;
		snprintf(file, sizeof(file), "events/%s/%s/enable", group, kinds[i].name);
		control(s, file, "1");
	}
	return true;
}

static struct session *to_close;

static void close_at_exit(void)
{
	if (to_close)
		session_close(to_close);
}

/*
 * Measure what an event costs to record: a write of a marker with tracing on, less the
 * same with tracing off, each the fastest of several rounds, since others use the machine.
 * The formatting of an event comes on top: it is in the CPU time of this process.
 */
static void measure_marker(struct session *s)
{
	char path[1024], text[64];
	double cost[2] = { HUGE_VAL, HUGE_VAL }, start;
	int fd, on, i, round;

	snprintf(path, sizeof(path), "%s/trace_marker", s->dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	memset(text, 'x', sizeof(text));
	for (round = 0; round < 2 * ROUNDS; round++) {
		on = round % 2;
		control(s, "tracing_on", on ? "1" : "0");
		start = now();
		for (i = 0; i < MARKERS / ROUNDS; i++)
			if (write(fd, text, sizeof(text)) < 0 && on)
				break;
		cost[on] = fmin(cost[on], now() - start);
	}
	control(s, "tracing_on", "0");
	close(fd);
	if (cost[1] > cost[0])
		s->marker_ns = (cost[1] - cost[0]) * 1e9 / (MARKERS / ROUNDS);
	snprintf(path, sizeof(path), "%s/trace", s->dir);
	write_text(path, "");
}

void session_open(struct session *s, int what)
{
	const char *top = tracefs();
	char text[32], path[1024];
	int err = 0;

	memset(s, 0, sizeof(*s));
	s->pipe = -1;
	snprintf(s->dir, sizeof(s->dir), "%s/instances/dma-window-%d", top, (int)getpid());
	if (mkdir(s->dir, 0700))
		err = errno;
	if (err)
		s->dir[0] = '\0';
	if (err == EACCES || err == EPERM)
		die(EXIT_CANNOT, "only root may trace");
	if (err)
		die(EXIT_CANNOT, "%s/instances: %s; is tracefs mounted (mount -t tracefs none "
		    "/sys/kernel/tracing), and has the kernel CONFIG_FTRACE?",
		    top, strerror(err));
	to_close = s;
	atexit(close_at_exit);
	must(s, "tracing_on", "0");
	/* One clock for all CPUs; the default one differs between them. */
	must(s, "trace_clock", "mono");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(opt.buffer / KIB));
	must(s, "buffer_size_kb", text);
	measure_marker(s);
	if (what & RECORD_MAINLINE)
		s->mainline = enable_group(s, "dma", "device");
	if (what & RECORD_WINDOWS)
		s->windows = enable_group(s, "dma_window", "dev");
	if (!s->mainline && !s->windows)
		die(EXIT_CANNOT, "the kernel has neither the tracepoints dma:* (from 6.12 on) "
		    "nor dma_window:*");
	snprintf(path, sizeof(path), "%s/trace_pipe", s->dir);
	s->pipe = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (s->pipe < 0)
		die(EXIT_CANNOT, "trace_pipe: %s", strerror(errno));
	s->buf = xalloc(BUF_SIZE);
}

void session_start(struct session *s)
{
	must(s, "tracing_on", "1");
	s->start = now();
}

static void take_lines(struct session *s, struct trace *t)
{
	char *line = s->buf, *nl;

	while ((nl = memchr(line, '\n', s->buf + s->fill - line))) {
		*nl = '\0';
		if (t->copy)
			fprintf(t->copy, "%s\n", line);
		trace_line(t, line);
		line = nl + 1;
	}
	s->fill -= line - s->buf;
	memmove(s->buf, line, s->fill);
	if (s->fill == BUF_SIZE - 1) {
		t->cut++;
		s->fill = 0;
	}
}

/* Read what is there; false if that was nothing. */
static bool drain(struct session *s, struct trace *t)
{
	ssize_t n = read(s->pipe, s->buf + s->fill, BUF_SIZE - 1 - s->fill);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		die(EXIT_CANNOT, "trace_pipe: %s", strerror(errno));
	if (n <= 0)
		return false;
	s->fill += n;
	take_lines(s, t);
	return true;
}

void session_read(struct session *s, struct trace *t, double seconds)
{
	struct pollfd p = { .fd = s->pipe, .events = POLLIN };
	double end = now() + seconds, left;

	while (!interrupted && (left = end - now()) > 0) {
		if (drain(s, t))
			continue;
		/* Let some events gather: to be woken for each would cost more. */
		usleep(left < 0.02 ? left * 1e6 : 20000);
		left = end - now();
		if (left > 0 && poll(&p, 1, left < 0.1 ? left * 1e3 : 100) < 0 && errno != EINTR)
			die(EXIT_CANNOT, "trace_pipe: %s", strerror(errno));
	}
}

/* Events that the kernel counted as dropped. */
static uint64_t session_lost(const struct session *s)
{
	char path[1024], text[1024];
	uint64_t lost = 0;
	const char *p;
	int cpu;

	for (cpu = 0;; cpu++) {
		static const char * const keys[] = {
			"\noverrun: ", "\ncommit overrun: ", "\ndropped events: "
		};
		size_t i;

		snprintf(path, sizeof(path), "%s/per_cpu/cpu%d/stats", s->dir, cpu);
		if (read_text(path, text, sizeof(text)) < 0)
			return lost;
		for (i = 0; i < ARRAY_SIZE(keys); i++) {
			p = strstr(text, keys[i]);
			if (p)
				lost += strtoull(p + strlen(keys[i]), NULL, 10);
		}
	}
}

void session_stop(struct session *s, struct trace *t)
{
	uint64_t lost;

	s->end = now();
	control(s, "tracing_on", "0");
	while (drain(s, t))
		;
	/* The lines in the text say so as well, but only if events follow. */
	lost = session_lost(s);
	if (lost > t->lost)
		t->lost = lost;
}

void session_close(struct session *s)
{
	if (s->pipe >= 0)
		close(s->pipe);
	s->pipe = -1;
	free(s->buf);
	s->buf = NULL;
	if (s->dir[0]) {
		control(s, "tracing_on", "0");
		control(s, "events/enable", "0");
		if (rmdir(s->dir))
			complain("%s: cannot be removed: %s", s->dir, strerror(errno));
	}
	s->dir[0] = '\0';
	to_close = NULL;
}

/* ---- What is recorded ---- */

static pid_t start_command(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die(EXIT_CANNOT, "fork: %s", strerror(errno));
	if (!pid) {
		/* Output of a command is not part of a report that a program reads. */
		if (opt.json)
			dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(opt.command[0], opt.command);
		fprintf(stderr, "dma-window: %s: %s\n", opt.command[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Run COMMAND without recording anything. */
int run_command(double *seconds)
{
	double start = now();
	int status;
	pid_t pid;

	fflush(stdout);
	pid = start_command();
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die(EXIT_CANNOT, "waitpid: %s", strerror(errno));
	*seconds = now() - start;
	return status_of(status);
}

int session_run(struct session *s, struct trace *t)
{
	double end;
	int status = 0;
	pid_t pid;

	fflush(stdout);
	session_start(s);
	if (!opt.command) {
		session_read(s, t, opt.seconds);
		session_stop(s, t);
		return 0;
	}
	pid = start_command();
	end = opt.seconds >= 0 ? now() + opt.seconds : -1;
	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			break;
		if (interrupted || (end >= 0 && now() > end)) {
			kill(pid, SIGTERM);
			interrupted = false;
			end = -1;
		}
		session_read(s, t, 0.05);
	}
	session_stop(s, t);
	return status_of(status);
}
