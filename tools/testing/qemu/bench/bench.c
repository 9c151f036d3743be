// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ask /dev/dma-window-bench for measurements, print them.
 *
 * usage: bench COMMAND PATH=DEVICE...
 *        bench page-size
 * COMMAND is instructions, contention, locks, largest, profile, profile-small,
 * profile-large, iommu or touch.
 *
 * PATH is what the device's DMA goes through: "direct", which has nothing that
 * could get full, "window", which can have a copybreak, or any other word. The
 * output is KTAP; the results are comments in it, with columns separated by tabs
 * (README.md):
 *
 *	# bench cost OP PATH POOL DIR SIZE DEPTH THREADS ROUND OPS FIRST SECOND RATE
 *	# bench value KEY PATH VALUE
 *
 * Times are nanoseconds per operation, without those of the loop around it.
 */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench_uapi.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define KIB		1024ull
#define MIB		(1024 * KIB)
#define MSEC		1000000ull

/* Most bytes to map to fill up a pool; no pool here is larger. */
#define FILL_LIMIT	(64 * MIB)
/* In flight at a time, or entries of a scatterlist. */
#define DEPTH		16
#define ROUNDS		5
/* Slices of a round: the best one counts, the host disturbed the others. */
#define SLICES		3

static const char *const op_names[] = {
	"empty", "memcpy", "memset", "pair", "batch", "sync", "sg", "coherent",
};

static const char *const dir_names[] = { "both", "to", "from" };

struct path {
	const char *name;
	const char *device;
};

static int fd;
static struct path *paths;
static int npaths;
static int results, failures;
static double loop_ns;

static void result(bool ok, const char *what, const char *path)
{
	printf("%s %d %s%s%s\n", ok ? "ok" : "not ok", ++results, what,
	       *path ? ": " : "", path);
	failures += !ok;
}

static bool is_direct(const struct path *p)
{
	return !strcmp(p->name, "direct");
}

static struct bench_run request(const struct path *p, int op, int dir,
				unsigned long long size)
{
	struct bench_run run = { .op = op, .dir = dir, .size = size,
				 .threads = 1, .depth = 1, .chunk = 1,
				 .limit = 20 * MSEC };

	snprintf(run.name, sizeof(run.name), "%s", p->device);
	return run;
}

/* 0, -ENOSPC if there is no room, or an error that should not be. */
static int measure(const struct path *p, struct bench_run *run,
		   const char *pool, int round)
{
	double ops, first, second = 0;
	int ret = 0;

	if (ioctl(fd, BENCH_RUN, run))
		ret = -errno;
	printf("# bench\tcost\t%s\t%s\t%s\t%s\t%llu\t%u\t%u\t%d\t",
	       op_names[run->op], p->name, pool, dir_names[run->dir], run->size,
	       run->depth, run->threads, round);
	if (ret || !run->done) {
		/* A call that found no room is a result as well. */
		printf("0\t-\t-\t-\n");
		return ret;
	}
	ops = run->done;
	first = run->first / ops;
	switch (run->op) {
	case BENCH_BATCH:
	case BENCH_SYNC:
	case BENCH_COHERENT:
		second = run->second / ops - loop_ns;
		break;
	}
	first -= loop_ns;
	printf("%llu\t%.1f\t%.1f\t%llu\n", run->done, first, second, run->rate);
	return 0;
}

/* Operations for a size: enough for an average, few enough to end. */
static void amount(struct bench_run *run)
{
	if (run->op == BENCH_BATCH || run->op == BENCH_COHERENT)
		run->chunk = run->size > 64 * KIB ? 1 : 4;
	else if (run->op == BENCH_SG)
		run->chunk = run->size > 16 * KIB ? 1 : 8;
	else
		/* The clock ticks every 16 instructions. */
		run->chunk = run->size > 64 * KIB ? 2 : run->size > 4 * KIB ? 64 : 512;
	run->loops = (run->chunk > 64 ? 2 : 8) * run->chunk * run->depth;
	if (run->op == BENCH_SG)
		run->loops = 8 * run->chunk;
}

/* One measurement with a clock that counts instructions. */
static bool count(const struct path *p, int op, int dir, unsigned long long size,
		  unsigned int depth, const char *pool)
{
	struct bench_run run = request(p, op, dir, size), warm;
	int ret;

	run.flags = BENCH_IRQS_OFF;
	run.depth = depth;
	amount(&run);
	/* Run once unmeasured: the first call is slower, and not what is asked for. */
	warm = run;
	warm.loops = 1;
	if (ioctl(fd, BENCH_RUN, &warm) && errno != ENOSPC)
		return false;
	ret = measure(p, &run, pool, 0);
	return !ret || ret == -ENOSPC;
}

static bool fill(const struct path *p, unsigned int percent, unsigned int unit,
		 bool random, const char *pool)
{
	struct bench_fill arg = { .unit = unit, .permille = percent * 10,
				  .random = random, .limit = FILL_LIMIT };

	snprintf(arg.name, sizeof(arg.name), "%s", p->device);
	if (ioctl(fd, BENCH_FILL, &arg)) {
		printf("# pool %s: %s\n", pool, strerror(errno));
		return false;
	}
	if (percent) {
		printf("# bench\tvalue\tfilled.%s\t%s\t%llu\n", pool, p->name,
		       arg.filled);
		printf("# bench\tvalue\tleft.%s\t%s\t%llu\n", pool, p->name,
		       arg.left);
	}
	return true;
}

static void instructions(void)
{
	static const unsigned long long sizes[] = {
		64, 256, KIB, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB,
		64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB,
	};
	static const struct {
		const char *name;
		unsigned int percent, unit;
		bool random;
	} pools[] = {
		/* The last mappings of a full pool undone: one free run. */
		{ "50", 50, 2048, false },
		{ "90", 90, 2048, false },
		{ "99", 99, 2048, false },
		/* Any of the mappings undone: holes of 2 KiB to 64 KiB. */
		{ "frag50", 50, 0, true },
		{ "frag90", 90, 0, true },
		{ "frag99", 99, 0, true },
		/* The same with holes of 2 KiB, the worst there is. */
		{ "small90", 90, 2048, true },
	};
	struct bench_run run = request(&paths[0], BENCH_EMPTY, 0, 1);
	unsigned int i, j;
	int dir, k;
	bool ok;

	printf("1..%d\n", 1 + 2 * npaths);
	run.flags = BENCH_IRQS_OFF;
	run.chunk = 512;
	run.loops = 4096;
	ok = !ioctl(fd, BENCH_RUN, &run) && run.done;
	if (ok)
		loop_ns = (double)run.first / run.done;
	printf("# bench\tvalue\tloop\t-\t%.2f\n", loop_ns);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ok &= count(&paths[0], BENCH_MEMCPY, 0, sizes[i], 1, "0");
		ok &= count(&paths[0], BENCH_MEMSET, 0, sizes[i], 1, "0");
	}
	result(ok, "copies", "");

	for (k = 0; k < npaths; k++) {
		const struct path *p = &paths[k];

		ok = true;
		for (dir = 0; dir < 3; dir++) {
			for (i = 0; i < ARRAY_SIZE(sizes); i++) {
				ok &= count(p, BENCH_PAIR, dir, sizes[i], 1, "0");
				if (sizes[i] <= 64 * KIB)
					ok &= count(p, BENCH_BATCH, dir, sizes[i],
						    DEPTH, "0");
				if (sizes[i] <= 256 * KIB)
					ok &= count(p, BENCH_SYNC, dir, sizes[i],
						    1, "0");
				if (sizes[i] <= 64 * KIB)
					ok &= count(p, BENCH_SG, dir, sizes[i],
						    DEPTH, "0");
			}
		}
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			if (sizes[i] >= 4 * KIB)
				ok &= count(p, BENCH_COHERENT, 0, sizes[i],
					    sizes[i] > 256 * KIB ? 2 : DEPTH, "0");
		result(ok, "empty pool", p->name);

		ok = true;
		for (j = 0; j < ARRAY_SIZE(pools) && !is_direct(p); j++) {
			const char *pool = pools[j].name;

			ok &= fill(p, pools[j].percent, pools[j].unit,
				   pools[j].random, pool);
			for (i = 0; i < ARRAY_SIZE(sizes); i++) {
				if (sizes[i] > 256 * KIB)
					break;
				ok &= count(p, BENCH_PAIR, BENCH_TO_DEVICE,
					    sizes[i], 1, pool);
				ok &= count(p, BENCH_PAIR, BENCH_FROM_DEVICE,
					    sizes[i], 1, pool);
				if (sizes[i] <= 64 * KIB)
					ok &= count(p, BENCH_BATCH, BENCH_TO_DEVICE,
						    sizes[i], DEPTH, pool);
			}
			ok &= count(p, BENCH_COHERENT, 0, 4 * KIB, 1, pool);
			ok &= count(p, BENCH_COHERENT, 0, 64 * KIB, 1, pool);
		}
		if (!is_direct(p))
			ok &= fill(p, 0, 0, false, "");
		result(ok, "occupied pool", p->name);
	}
}

static void contention(void)
{
	static const unsigned long long sizes[] = { 64, 4 * KIB, 64 * KIB };
	unsigned int i, threads, slice;
	int round, k;
	bool ok;

	printf("1..%d\n", ROUNDS);
	for (round = 1; round <= ROUNDS; round++) {
		ok = true;
		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			/* Copies without any mapping: the gain of a second CPU on this machine. */
			for (k = -1; k < npaths; k++) {
				const struct path *p = &paths[k < 0 ? 0 : k];
				int op = k < 0 ? BENCH_MEMCPY : BENCH_PAIR;

				for (slice = 0; slice < 2 * SLICES; slice++) {
					struct bench_run run = request(p, op,
						BENCH_TO_DEVICE, sizes[i]);

					threads = 1 + slice % 2;
					run.threads = threads;
					run.chunk = 64;
					run.loops = ~0ull;
					run.limit = 80 * MSEC;
					ok &= !measure(p, &run, "0", round);
				}
			}
		}
		/* The time that a page of a disk's data costs. */
		for (slice = 0; slice < SLICES; slice++) {
			for (k = 0; k < npaths; k++) {
				struct bench_run run = request(&paths[k], BENCH_PAIR,
							       BENCH_FROM_DEVICE, 4 * KIB);

				run.chunk = 64;
				run.loops = ~0ull;
				run.limit = 80 * MSEC;
				ok &= !measure(&paths[k], &run, "0", round);
			}
		}
		result(ok, "round", "");
	}
}

/* 100 000 operations on two CPUs, all of them looked at. */
static void locks(void)
{
	int k;

	printf("1..%d\n", npaths);
	for (k = 0; k < npaths; k++) {
		const struct path *p = &paths[k];
		struct bench_run run = request(p, BENCH_PAIR, BENCH_TO_DEVICE,
					       4 * KIB);
		struct bench_run warm = run;
		bool ok;

		warm.threads = 2;
		warm.chunk = 100;
		warm.loops = 1000;
		/* The timer's interrupt takes locks, too. */
		run.flags = BENCH_COUNT_LOCKS | BENCH_IRQS_OFF;
		run.threads = 2;
		run.chunk = 100;
		run.loops = 50000;
		run.limit = 60000 * MSEC;
		ok = !ioctl(fd, BENCH_RUN, &warm) && !ioctl(fd, BENCH_RUN, &run);
		if (!ok)
			printf("# cannot count: %s\n", strerror(errno));
		ok &= run.done == 100000;
		if (ok) {
			printf("# bench\tvalue\tlocks\t%s\t%.5f\n", p->name,
			       (double)run.locks / run.done);
			printf("# bench\tvalue\tlocks.shared\t%s\t%.5f\n",
			       p->name, (double)run.shared / run.done);
		}
		result(ok, "locks", p->name);
	}
}

static void largest(void)
{
	unsigned int coherent;
	int k;

	printf("1..%d\n", 2 * npaths);
	for (k = 0; k < npaths; k++) {
		for (coherent = 0; coherent < 2; coherent++) {
			struct bench_largest arg = { .coherent = coherent,
						     .limit = FILL_LIMIT };
			const char *key = coherent ? "max.coherent" : "max.map";

			snprintf(arg.name, sizeof(arg.name), "%s",
				 paths[k].device);
			if (ioctl(fd, BENCH_LARGEST, &arg)) {
				printf("# %s: %s\n", key, strerror(errno));
				result(false, key, paths[k].name);
				continue;
			}
			printf("# bench\tvalue\t%s\t%s\t%llu\n", key,
			       paths[k].name, arg.size);
			result(true, key, paths[k].name);
		}
	}
}

/*
 * Ask the host for an action, as the command "host" does, but without an exec()
 * between the answer and the calls after it. True if the action ended well.
 */
static bool ask(const char *action, const char *arg)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/run/host" };
	char buf[4096] = "";
	int s, n, len = 0;

	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&addr, sizeof(addr)) ||
	    dprintf(s, "%s %s\n", action, arg) < 0)
		return false;
	do {
		n = read(s, buf + len, sizeof(buf) - 1 - len);
		len += n > 0 ? n : 0;
	} while (n > 0);
	close(s);
	return !strncmp(buf, "0\n", 2);
}

/* A call to profile; the names are in report.py, too. */
struct profiled {
	const char *name;
	int dir;
	unsigned long long size, offset;
	bool full;
};

/* The host records each instruction; profile.py picks those of the calls. */
static void profile_of(const struct profiled *c, const struct path *p)
{
	bool full = c->full && !is_direct(p);
	struct bench_run run = request(p, BENCH_PAIR, c->dir, c->size), warm;
	char key[64];
	bool ok = true;

	snprintf(key, sizeof(key), "%s.%s", c->name, p->name);
	run.offset = c->offset;
	run.flags = BENCH_IRQS_OFF;
	run.chunk = c->size > 64 * KIB ? 8 : 64;
	run.loops = run.chunk;
	warm = run;
	/* As pool.full in the summary: 90 % of a mix. */
	if (full)
		ok = fill(p, 90, 0, true, "profile");
	ok = ok && !ioctl(fd, BENCH_RUN, &warm) && ask("profile_on", key);
	run.limit = 60000 * MSEC;
	ok = ok && !ioctl(fd, BENCH_RUN, &run);
	ok &= ask("profile_off", key);
	if (full)
		ok &= fill(p, 0, 0, false, "profile");
	result(ok, "profile", key);
}

static void profile(void)
{
	static const struct profiled cases[] = {
		{ "to4k", BENCH_TO_DEVICE, 4 * KIB, 0, false },
		{ "from4k", BENCH_FROM_DEVICE, 4 * KIB, 0, false },
		{ "full64", BENCH_TO_DEVICE, 64, 0, true },
	};
	unsigned int i;
	int k;

	printf("1..%d\n", (int)ARRAY_SIZE(cases) * npaths);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		for (k = 0; k < npaths; k++)
			profile_of(&cases[i], &paths[k]);
}

static void profile_small(void)
{
	static const struct profiled small = { "small", BENCH_FROM_DEVICE, 1500, 0, false };
	int k;

	printf("1..%d\n", npaths);
	for (k = 0; k < npaths; k++)
		profile_of(&small, &paths[k]);
}

static void profile_large(void)
{
	static const struct profiled large = { "large", BENCH_TO_DEVICE, 128 * KIB, 512, false };
	int k;

	printf("1..%d\n", npaths);
	for (k = 0; k < npaths; k++)
		profile_of(&large, &paths[k]);
}

/*
 * Behind an IOMMU. A buffer begins at a page or in one; the column POOL has where,
 * and in front of it "copy" or "map" if the copybreak was set so that all buffers
 * are copied, or none.
 */
static const struct {
	unsigned long long offset;
	const char *name[3];
} places[] = {
	{ 0, { "at0", "copy.at0", "map.at0" } },
	{ 512, { "at512", "copy.at512", "map.at512" } },
};

/* The file NAME of a device, wherever PATTERN, with the device for "%s", has it. */
static FILE *device_file(const char *pattern, const struct path *p, const char *mode)
{
	char path[256];
	FILE *f = NULL;
	glob_t found;

	snprintf(path, sizeof(path), pattern, p->device);
	if (!glob(path, 0, NULL, &found))
		f = fopen(found.gl_pathv[0], mode);
	globfree(&found);
	return f;
}

static bool read_number(const char *pattern, const struct path *p, long long *value)
{
	FILE *f = device_file(pattern, p, "r");
	bool ok = f && fscanf(f, "%lld", value) == 1;

	if (f)
		fclose(f);
	return ok;
}

static bool write_number(const char *pattern, const struct path *p, long long value)
{
	FILE *f = device_file(pattern, p, "w");
	bool ok = f && fprintf(f, "%lld\n", value) > 0;

	if (f)
		ok &= !fclose(f);
	return ok;
}

#define COPYBREAK	"/sys/bus/*/devices/%s/dma_window/copybreak"
#define TRACEFS		"/sys/kernel/tracing/"

static bool write_trace(const char *file, const char *text)
{
	char path[128];
	int f, len = strlen(text);
	bool ok;

	snprintf(path, sizeof(path), TRACEFS "%s", file);
	f = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ok = f >= 0 && write(f, text, len) == len;
	if (f >= 0)
		close(f);
	return ok;
}

/* Work of the kernel for one operation, by its own trace. */
struct work {
	double maps, unmaps, requests, copied;
};

static bool read_trace(struct work *w)
{
	FILE *f = fopen(TRACEFS "trace", "r");
	char line[512];
	const char *at;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		w->maps += !!strstr(line, ": map: ");
		w->unmaps += !!strstr(line, ": unmap: ");
		w->requests += !!strstr(line, ": bench_request: ");
		if (!strstr(line, ": bench_bounce: "))
			continue;
		at = strstr(line, "size=");
		if (at)
			w->copied += strtoull(at + 5, NULL, 0);
	}
	fclose(f);
	return true;
}

/* Copies of a window are not in swiotlb's events: read the window's counters. */
static long long window_copied(const struct path *p)
{
	long long in, out;

	if (!read_number("/sys/kernel/debug/swiotlb/*/%s/bytes_in", p, &in) ||
	    !read_number("/sys/kernel/debug/swiotlb/*/%s/bytes_out", p, &out))
		return 0;
	return in + out;
}

static void observed(const char *key, double value, const struct path *p,
		     const struct bench_run *run, const char *pool)
{
	printf("# bench\tvalue\t%s.%s.%s.%llu\t%s\t%.2f\n", key, pool,
	       dir_names[run->dir], run->size, p->name, value / run->done);
}

static bool observe(const struct path *p, struct bench_run *run, const char *pool)
{
	struct work w = {};
	long long before;
	bool ok;

	run->chunk = 16;
	run->loops = 16;
	run->limit = 1000 * MSEC;
	before = window_copied(p);
	ok = write_trace("trace", "") && write_trace("tracing_on", "1");
	if (ioctl(fd, BENCH_RUN, run))
		/* No room, as the instructions say as well. */
		return errno == ENOSPC && write_trace("tracing_on", "0") && ok;
	ok &= write_trace("tracing_on", "0") && read_trace(&w) && run->done;
	if (!ok)
		return false;
	w.copied += window_copied(p) - before;
	observed("maps", w.maps, p, run, pool);
	observed("unmaps", w.unmaps, p, run, pool);
	observed("requests", w.requests, p, run, pool);
	observed("copied", w.copied, p, run, pool);
	return true;
}

static bool trace_begin(void)
{
	return write_trace("tracing_on", "0") &&
	       write_trace("kprobe_events",
			   "p:bench_bounce swiotlb_bounce size=%x2:u64\n"
			   "p:bench_request __viommu_add_req\n") &&
	       write_trace("events/kprobes/enable", "1") &&
	       write_trace("events/iommu/map/enable", "1") &&
	       write_trace("events/iommu/unmap/enable", "1");
}

static bool trace_end(void)
{
	return write_trace("events/enable", "0") && write_trace("kprobe_events", "\n") &&
	       write_trace("trace", "");
}

/* As count(), at an offset. */
static bool count_at(const struct path *p, struct bench_run *run, const char *pool)
{
	struct bench_run warm;
	int ret;

	run->flags = BENCH_IRQS_OFF;
	amount(run);
	warm = *run;
	warm.loops = 1;
	if (ioctl(fd, BENCH_RUN, &warm) && errno != ENOSPC)
		return false;
	ret = measure(p, run, pool, 0);
	return !ret || ret == -ENOSPC;
}

/* Every size, place and direction; HOW is an index of places[].name. */
static bool behind(const struct path *p, int how, bool watched)
{
	static const unsigned long long sizes[] = {
		64, 256, KIB, 1500, 2 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB,
		64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB,
	};
	unsigned int i, j, dir;
	bool ok = true;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			for (dir = BENCH_TO_DEVICE; dir <= BENCH_FROM_DEVICE; dir++) {
				struct bench_run run = request(p, BENCH_PAIR, dir,
							       sizes[j]);

				run.offset = places[i].offset;
				ok &= watched ?
				      observe(p, &run, places[i].name[how]) :
				      count_at(p, &run, places[i].name[how]);
			}
		}
	}
	/* A list of pages of which no two are neighbours. */
	for (dir = BENCH_TO_DEVICE; dir <= BENCH_FROM_DEVICE && !how; dir++) {
		struct bench_run run = request(p, BENCH_SG, dir, 4 * KIB);

		run.depth = 32;
		run.stride = 8 * KIB;
		ok &= watched ? observe(p, &run, "list") : count_at(p, &run, "list");
	}
	return ok;
}

static void iommu(void)
{
	long long copybreak;
	struct bench_run run = request(&paths[0], BENCH_EMPTY, 0, 1);
	bool ok;
	int k;

	printf("1..%d\n", 4 * npaths);
	run.flags = BENCH_IRQS_OFF;
	run.chunk = 512;
	run.loops = 4096;
	if (!ioctl(fd, BENCH_RUN, &run) && run.done)
		loop_ns = (double)run.first / run.done;
	for (k = 0; k < npaths; k++) {
		const struct path *p = &paths[k];
		struct bench_largest arg = { .offset = 512, .limit = FILL_LIMIT };

		result(behind(p, 0, false), "instructions", p->name);

		ok = true;
		if (!strcmp(p->name, "window")) {
			ok = read_number(COPYBREAK, p, &copybreak);
			if (ok)
				printf("# bench\tvalue\tcopybreak\t%s\t%lld\n",
				       p->name, copybreak);
			ok = ok && write_number(COPYBREAK, p, MIB) && behind(p, 1, false) &&
			     write_number(COPYBREAK, p, 0) && behind(p, 2, false) &&
			     write_number(COPYBREAK, p, copybreak);
		}
		result(ok, "copybreak", p->name);

		/* The probes would cost something all the time. */
		ok = trace_begin() && behind(p, 0, true);
		result(trace_end() && ok, "operations", p->name);

		snprintf(arg.name, sizeof(arg.name), "%s", p->device);
		ok = !ioctl(fd, BENCH_LARGEST, &arg);
		if (ok)
			printf("# bench\tvalue\tmax.at512\t%s\t%llu\n", p->name,
			       arg.size);
		result(ok, "largest", p->name);
	}
}

/* Make one mapping, for a caller that traces where it goes: no KTAP. */
static void touch(void)
{
	struct bench_run run = request(&paths[0], BENCH_PAIR, BENCH_TO_DEVICE, 64);

	run.loops = 1;
	if (ioctl(fd, BENCH_RUN, &run)) {
		perror(paths[0].device);
		failures++;
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} commands[] = {
	{ "touch", touch },
	{ "profile", profile },
	{ "profile-small", profile_small },
	{ "profile-large", profile_large },
	{ "iommu", iommu },
	{ "instructions", instructions },
	{ "contention", contention },
	{ "locks", locks },
	{ "largest", largest },
};

int main(int argc, char **argv)
{
	unsigned int i;
	char *eq;
	int k;

	if (argc == 2 && !strcmp(argv[1], "page-size")) {
		printf("%ld\n", sysconf(_SC_PAGESIZE));
		return 0;
	}
	if (argc < 3)
		goto usage;
	npaths = argc - 2;
	paths = calloc(npaths, sizeof(*paths));
	if (!paths)
		return 1;
	for (k = 0; k < npaths; k++) {
		eq = strchr(argv[2 + k], '=');
		if (!eq)
			goto usage;
		*eq = '\0';
		paths[k].name = argv[2 + k];
		paths[k].device = eq + 1;
	}
	fd = open(BENCH_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror(BENCH_DEVICE);
		return 1;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		setvbuf(stdout, NULL, _IOLBF, 0);
		if (commands[i].run != touch)
			printf("TAP version 13\n");
		commands[i].run();
		return failures ? 1 : 0;
	}
usage:
	fprintf(stderr, "usage: bench COMMAND PATH=DEVICE...\n");
	return 2;
}
