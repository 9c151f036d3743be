/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dma-window: what the files of the program share.
 *
 * main.c     the command line, which verb
 * state.c    windows and devices, as debugfs, sysfs and the device tree have them
 * trace.c    events: from a tracing instance of our own, or from a saved text
 * load.c     what a device's events say about its load
 * replay.c   how large a window a load needs
 * json.c, hist.c, plot.c, util.c
 * and a file for each verb
 */
#ifndef DMA_WINDOW_TOOL_H
#define DMA_WINDOW_TOOL_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a)	__attribute__((format(printf, f, a)))
#define NORETURN	__attribute__((noreturn))

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define GIB	(1024 * MIB)

/* The unit of windows: see DMA_WINDOW_SLOT_SIZE in kernel/dma/window/window.h. */
#define SLOT	2048ULL

/* Exit statuses; a larger one is worse. */
enum {
	EXIT_FINE = 0,		/* nothing to report */
	EXIT_WARN = 1,		/* slower than it has to be, or not all was seen */
	EXIT_BAD = 2,		/* a device does not work as it should */
	EXIT_CANNOT = 3,	/* nothing could be said: no rights, no window, no file */
	EXIT_USAGE = 4,		/* the command line is wrong */
};

struct options {
	const char	*root;		/* in place of / */
	bool		json;
	const char	*plot;
	const char	*from;		/* a saved trace */
	const char	*save;		/* where to save one */
	const char	*log;		/* in place of the kernel's log */
	const char	*devices[64];
	int		ndevices;
	double		seconds;	/* -1: not given */
	double		interval;	/* the same */
	long		rounds;		/* the same */
	uint64_t	buffer;		/* bytes per CPU for events */
	uint64_t	map_ns;		/* costs of a mapping by the IOMMU; 0: guess */
	bool		batch;
	bool		prometheus;
	bool		events;		/* top: record events as well */
	const char	*kind;		/* of devices of a saved trace */
	bool		compare;	/* survey: COMMAND without recording first */
	char		**command;	/* NULL-terminated, or NULL */
};

extern struct options opt;

/* ---- util.c ---- */

extern const char *verb;

void complain(const char *fmt, ...) PRINTF(1, 2);
void NORETURN die(int status, const char *fmt, ...) PRINTF(2, 3);
void *xalloc(size_t size);
void *xgrow(void *array, size_t n, size_t *cap, size_t size);
/* A path below --root; one of eight buffers, so use it soon. */
const char *at(const char *fmt, ...) PRINTF(1, 2);
/* Length, or a negative errno; without the newline at the end. */
ssize_t read_text(const char *path, char *buf, size_t size);
int read_number(const char *path, uint64_t *value);
int write_text(const char *path, const char *text);
bool parse_size(const char *text, uint64_t *value);
bool parse_seconds(const char *text, double *value);
/* "1.5 MiB"; one of eight buffers. */
const char *human(uint64_t bytes);
/* A rate or count with three digits: "12.3k". */
const char *brief(double value);
double now(void);
double percent(double part, double whole);
int worse(int a, int b);
bool wanted(const char *device);

/* ---- json.c ---- */

void json_open(const char *name, char bracket);
void json_close(char bracket);
void json_text(const char *name, const char *value);
void json_number(const char *name, uint64_t value);
void json_float(const char *name, double value);
void json_bool(const char *name, bool value);
void json_end(void);

/* ---- hist.c ---- */

struct values {
	uint64_t	*v;
	size_t		n, cap;
	bool		sorted;
};

/* Bucket b counts values up to 2^b, and more than 2^(b - 1). */
struct hist {
	uint64_t	n[48];
};

void values_add(struct values *v, uint64_t value);
/* The value that PER of 100 do not exceed; 0 if there is none. */
uint64_t values_at(struct values *v, double per);
void values_free(struct values *v);
void hist_add(struct hist *h, uint64_t value);
void hist_print(const struct hist *h, const char *unit);
void hist_json(const struct hist *h, const char *name);

/* ---- state.c ---- */

enum win_stat {
	ST_NSLABS, ST_USED, ST_HIWATER, ST_BASE, ST_SIZE, ST_LARGEST_FREE, ST_METADATA,
	ST_MAPS, ST_UNMAPS, ST_FLOOR_MAPS, ST_ALLOCS, ST_FREES, ST_BYTES_IN,
	ST_BYTES_OUT, ST_FAIL_FULL, ST_FAIL_MASK, ST_FAIL_NOMEM, ST_FAIL_IOMMU,
	ST_FAIL_INVALID, ST_LEAKED, ST_MAX
};

struct stat_file {
	const char	*name;
	const char	*help;
	bool		gauge;
};

extern const struct stat_file stat_files[ST_MAX];

struct device {
	char		name[64];
	char		path[1024];	/* in sysfs; empty if not found */
	char		kind[32];	/* virtio-blk, ... or empty */
	char		driver[48];	/* empty if it has none */
	char		uses[64];	/* disks and network interfaces */
	char		source[48];	/* the property that names its region */
	int		window;		/* index, or -1 */
	int		virtio_id;	/* -1: it is none */
	int		platform;	/* offers ACCESS_PLATFORM: 1, 0, or -1 if unknown */
	bool		iommu;
	char		iommu_driver[32];
	bool		pci;
	bool		has_copybreak;
	uint64_t	copybreak;
	unsigned int	queues;		/* of a disk, or pairs of a network card; at least 1 */
	unsigned int	ring;		/* receive buffers of a network card's queue, or 0 */
};

struct window {
	char		name[64];
	uint64_t	stat[ST_MAX];
	uint32_t	has;		/* a bit for each */
	char		source[64];
};

struct state {
	struct window	*windows;
	size_t		nwindows, cap_windows;
	struct device	*devices;	/* with a window, or that name a region */
	size_t		ndevices, cap_devices;
	int		error;		/* errno of debugfs; 0: counters were read */
	bool		kernel;		/* has this code, as far as sysfs tells */
	bool		module;		/* as a module, not built in */
};

void state_load(struct state *s);
void state_free(struct state *s);
/* Counters only; false if the window is gone. */
bool window_counters(struct window *w);
void device_look(struct device *d, const char *name);
/* Bytes that interfaces and disks of the device took in, for FROM_DEVICE. */
bool device_delivered(const struct device *d, uint64_t *bytes);
const char *state_why_not(const struct state *s);
uint64_t window_failures(const struct window *w);
const char *region_of(const struct device *d, char *buf, size_t size);

/* ---- trace.c ---- */

enum event_type {
	EV_MAP, EV_UNMAP, EV_MAP_FAILED, EV_ALLOC, EV_FREE, EV_SYNC,
	EV_WIN_MAP, EV_WIN_UNMAP, EV_WIN_ALLOC, EV_WIN_FREE, EV_WIN_SYNC, EV_WIN_FAIL,
	EV_WIN_ATTACH, EV_WIN_REFUSE, EV_TYPES
};

enum direction { DIR_BOTH, DIR_TO, DIR_FROM, DIR_NONE };

#define NO_PHYS	UINT64_MAX

struct event {
	uint64_t	ns;
	uint64_t	addr;		/* bus address; of unmap_sg, the physical one */
	uint64_t	phys;		/* NO_PHYS if not told */
	uint64_t	size;
	uint64_t	copied;
	uint32_t	pid;
	uint16_t	cpu;
	uint16_t	device;		/* index into trace.devices */
	uint8_t		type;
	uint8_t		dir;
	uint8_t		list;		/* 1: first of a list, 2: another of it */
	uint8_t		reason;		/* EV_WIN_FAIL: index into trace.reasons;
					 * EV_WIN_SYNC: 1 if for the CPU
					 */
};

/* A line of a saved trace that says what the device is. */
struct note {
	char		device[64], kind[32], iommu[32];
	unsigned int	queues, ring;
	uint64_t	delivered;	/* bytes, or UINT64_MAX if unknown */
};

struct trace {
	struct event	*events;
	size_t		nevents, cap;
	size_t		limit;
	char		(*devices)[64];
	size_t		ndevices, cap_devices;
	char		reasons[16][32];
	int		nreasons;
	uint64_t	lost;		/* events that the kernel dropped */
	uint64_t	lost_lines;	/* reports of that without a number */
	uint64_t	bad;		/* lines that could not be decoded */
	uint64_t	cut;		/* lists of which the kernel told a part */
	uint64_t	lines, other;	/* other: of other events, and comments */
	struct note	*notes;		/* of whoever saved the trace */
	size_t		nnotes, cap_notes;
	bool		full;		/* limit was reached */
	const char	*name;		/* of the file, for messages */
	/* Called with the event's lines as they are, if set. */
	FILE		*copy;
};

extern const char * const event_names[EV_TYPES];
extern const char * const dir_names[];

void trace_init(struct trace *t, const char *name);
void trace_line(struct trace *t, char *line);
void trace_file(struct trace *t, const char *path);
void trace_free(struct trace *t);
/* Say on standard error what is missing; returns EXIT_FINE or EXIT_WARN. */
int trace_verdict(const struct trace *t);

struct session {
	char		dir[640];	/* the instance, empty if there is none */
	int		pipe;
	char		*buf;
	size_t		fill;
	bool		mainline;	/* dma:* is recorded */
	bool		windows;	/* dma_window:* is recorded */
	uint64_t	marker_ns;	/* measured: what one event costs to record */
	double		start, end;
};

#define RECORD_MAINLINE	1
#define RECORD_WINDOWS	2

void session_open(struct session *s, int what);
/* Read what there is, for at most that many seconds or until it is interrupted. */
void session_read(struct session *s, struct trace *t, double seconds);
void session_start(struct session *s);
void session_stop(struct session *s, struct trace *t);
void session_close(struct session *s);
/* Run opt.command, or wait for opt.seconds, and record. Returns the command's status. */
int session_run(struct session *s, struct trace *t);
int run_command(double *seconds);
extern atomic_bool interrupted;
void catch_signals(void);

/* ---- load.c ---- */

struct op {
	uint32_t	id;
	uint32_t	size;
	bool		map;
};

struct sample {
	double		at;		/* seconds since the first event */
	uint64_t	n, bytes, slots;
};

struct load {
	const char	*device;
	uint64_t	granule;
	double		seconds;
	uint64_t	maps, unmaps, failed, allocs, frees, syncs, fails;
	uint64_t	bytes, dir_maps[4], dir_bytes[4];
	uint64_t	with_phys;	/* maps whose offset is known */
	uint64_t	shares, inside, head, tail, exposed; /* see load.c */
	uint64_t	pages, distinct_pages, reused;
	uint64_t	at_start;	/* mapped before the first event */
	uint64_t	live_end;
	uint64_t	peak, peak_bytes, peak_slots, peak_exact, peak_coherent;
	uint64_t	copied_in, copied_out, win_maps;
	uint64_t	from_mapped, from_copied; /* of window unmaps */
	uint64_t	requests, request_segments;
	bool		requests_exact;
	uint64_t	live_from, peak_from;	/* FROM_DEVICE */
	uint64_t	max_request;
	struct values	sizes, lifetimes, inflight, segments;
	struct hist	size_hist, life_hist, align_hist;
	struct op	*ops;
	size_t		nops, cap_ops;
	struct sample	*samples;
	size_t		nsamples, cap_samples;
};

void load_make(struct load *l, const struct trace *t, unsigned int device, uint64_t granule);
void load_free(struct load *l);

/* ---- replay.c ---- */

struct need {
	uint64_t	minimum, comfortable;	/* bytes */
	uint64_t	least;			/* of this kind of device, for the kernel */
	uint64_t	coherent;		/* slots, estimated or seen */
	uint64_t	hidden;			/* slots of what was mapped unseen */
	bool		least_rules;
	uint64_t	half_failed, half_all;	/* mappings, in half of the minimum */
	bool		half_refused;
};

uint64_t round_window(uint64_t bytes);
uint64_t least_window(const struct device *d);
uint64_t floors(const struct device *d, uint64_t nslots);
uint64_t request_bound(const struct device *d, uint64_t nslots);
/* Does a window have room for that many streaming and coherent slots? */
bool window_fits(const struct device *d, uint64_t nslots, uint64_t streaming,
		 uint64_t coherent);
void replay_need(struct need *n, const struct load *l, const struct device *d,
		 uint64_t coherent, uint64_t hidden);

/* ---- plot.c ---- */

struct series {
	double		*t, *a, *b;
	size_t		n;
};

struct bar {
	char		name[64];
	double		value[2];
};

void plot_load(struct load *l, uint64_t copybreak, double copy_ns_kib, double map_ns,
	       uint64_t minimum);
void plot_fill(const char *name, const struct series *s);
void plot_bars(const char *what, const char * const *keys, struct bar *bars, size_t n);

/* ---- verbs ---- */

int verb_status(void);
int verb_top(void);
int verb_survey(void);
int verb_size(void);
int verb_set(int argc, char **argv);
int verb_events(void);
int verb_doctor(void);
double measure_copy(void);

#endif /* DMA_WINDOW_TOOL_H */
