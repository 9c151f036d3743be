// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random mappings behind an IOMMU, several at a time, compared with a model: what
 * the device finds at each address (I3), what the driver gets back (I7), and what
 * the page tables have (I1): the window, the granules that a live mapping covers
 * wholly, its chunks of the window, and nothing else.
 *
 * FUZZ_SEED	another seed than the fixed ones; what fails says how to repeat it
 * FUZZ_CASES	mappings, 10000 by default, shared by the seeds
 * FUZZ_SAMPLE	one in so many goes through the device's engine, too: 500
 */

#include <sched.h>
#include <sys/wait.h>
#include <time.h>

#include "iommu_look.h"
#include "../kselftest_harness.h"

#define SLOTS	8
#define SPACE	(512 * KIB)
#define NSEGS	64
#define MAX_SEG	65536

struct live {
	bool on, list;
	u32 id, dir, np;
	u64 addr, at, size;
	u64 from, to;		/* the part of the driver's memory that is checked */
	struct piece pieces[3 * NSEGS];
};

/* Seeds of every run, so that runs can be compared; the last two once found faults. */
static const u64 fixed_seeds[] = { 1, 2149581294, 66142076931 };

struct fuzz {
	struct behind b;
	struct rng rng;
	struct mem buf;
	struct live live[SLOTS];
	struct edu_seg segs[NSEGS];
	u64 copybreak;
	/* The model: bytes of the driver's memory, and bytes the window shows instead. */
	u8 *cpu, *shadow, *look;
	u64 cases, refused, engine, walks;
	bool alone;
	/* Printed with a failure, to repeat the case. */
	u64 seed, step;
	u32 slot;
	const char *doing;
};

static u64 env(const char *name, u64 value)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : value;
}

/* Mostly small, sometimes large; often just at a boundary. */
static u64 random_size(struct fuzz *f, u64 max)
{
	const u64 g = f->b.g;
	u64 size;

	switch (below(&f->rng, 8)) {
	case 0:
		size = 1 + below(&f->rng, 256);
		break;
	case 1:
	case 2:
		size = 1 + below(&f->rng, 3 * g);
		break;
	case 3:
		size = (1 + below(&f->rng, 16)) * g + below(&f->rng, 3) - 1;
		break;
	case 4:
		size = f->copybreak + below(&f->rng, 3);
		break;
	case 5:
		size = (1 + below(&f->rng, 32)) * g;
		break;
	case 6:
		size = 1 + below(&f->rng, 64 * KIB);
		break;
	default:
		size = 1 + below(&f->rng, 256 * KIB);
		break;
	}
	return size < 1 ? 1 : size > max ? max : size;
}

static u64 random_offset(struct fuzz *f)
{
	switch (below(&f->rng, 5)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 512 * below(&f->rng, 8);
	case 3:
		return f->b.g - 1 - below(&f->rng, 2);
	default:
		return below(&f->rng, f->b.g);
	}
}

/* A list in a slot's space: no two entries in one cache line, whole ones often. */
static u32 random_list(struct fuzz *f, u64 base)
{
	u64 at = 0, g = f->b.g;
	u32 n = 1 + below(&f->rng, below(&f->rng, 2) ? NSEGS : 6), i;

	for (i = 0; i < n; i++) {
		u64 size;

		if (below(&f->rng, 5) < 3) {
			at = (at + g - 1) & -g;
			size = (1 + below(&f->rng, below(&f->rng, 4) ? 2 : 10)) * g;
		} else {
			at = ((at + 63) & -64ull) + random_offset(f) % g;
			size = 1 + below(&f->rng, below(&f->rng, 2) ? 300 : 3 * g);
		}
		if (size > MAX_SEG)
			size = MAX_SEG;
		if (at + size > SPACE)
			break;
		f->segs[i] = (struct edu_seg){ f->buf.id, size, base + at, 0, 0 };
		at += size;
		if (!below(&f->rng, 3))
			at += below(&f->rng, 2 * g);
	}
	return i;
}

/* Bytes that the device is to find in a part of a piece. */
static const u8 *model(struct fuzz *f, const struct piece *p)
{
	return (p->bounced ? f->shadow : f->cpu) + p->at;
}

static bool check_pad(struct fuzz *f, const struct piece *p)
{
	u64 end = p->addr + p->size, rest = -end % f->b.g;

	if (!p->bounced || inside(&f->b.e, p->addr, p->size))
		return true;
	if (access_bus(&f->b.e, EDU_PEEK, p->addr - p->pad, f->look, p->pad ? p->pad : 1, false) ||
	    (p->pad && !is_zero(f->look, p->pad)))
		return wrong("padding before the data");
	/* A head ends with its granule. */
	if (rest && (access_bus(&f->b.e, EDU_PEEK, end, f->look, rest, false) ||
		     !is_zero(f->look, rest)))
		return wrong("padding behind the data");
	return true;
}

static bool check_pieces(struct fuzz *f, const struct live *m)
{
	u32 i;

	for (i = 0; i < m->np; i++) {
		const struct piece *p = &m->pieces[i];

		if (access_bus(&f->b.e, EDU_PEEK, p->addr, f->look, p->size, false))
			return wrong("piece %u of %u: nothing there", i, m->np);
		if (memcmp(f->look, model(f, p), p->size))
			return wrong("piece %u of %u: the device sees wrong bytes", i, m->np);
	}
	return true;
}

static bool check_driver(struct fuzz *f, const struct live *m)
{
	return !memcmp(f->cpu + m->from, f->buf.mem + m->from, m->to - m->from) ||
	       wrong("the driver has wrong bytes");
}

/* The device writes, into a piece and in the model. */
static bool device_writes(struct fuzz *f, const struct piece *p, u64 from, u64 size,
			  unsigned long by)
{
	scribble(&f->rng, f->look, size);
	memcpy((p->bounced ? f->shadow : f->cpu) + p->at + from, f->look, size);
	return !access_bus(&f->b.e, by, p->addr + from, f->look, size, true) ||
	       wrong("the device cannot write");
}

/*
 * The device writes with its engine, which leaves out a byte where a transfer must
 * not begin: see engine_access(). The CPU writes the byte instead.
 */
static bool engine_writes(struct fuzz *f, const struct piece *p, u64 from, u64 size)
{
	if (engine_avoids(&f->b.e, p->addr + from)) {
		if (!device_writes(f, p, from, 1, EDU_PEEK))
			return false;
		from++;
		size--;
	}
	return !size || device_writes(f, p, from, size, EDU_DMA);
}

/* The same with the engine: both ends of a mapping. */
static bool through_engine(struct fuzz *f, const struct live *m)
{
	u32 ends[] = { 0, m->np - 1 }, i;

	for (i = 0; i < 2; i++) {
		const struct piece *p = &m->pieces[ends[i]];
		u64 size = p->size < 1024 ? p->size : 1024, from = i ? p->size - size : 0;

		if (m->dir != EDU_FROM_DEVICE) {
			if (access_bus(&f->b.e, EDU_DMA, p->addr + from, f->look, size, false))
				return wrong("the engine does not work");
			if (memcmp(f->look, model(f, p) + from, size))
				return wrong("the engine reads wrong bytes");
		}
		if (m->dir != EDU_TO_DEVICE && !engine_writes(f, p, from, size))
			return false;
	}
	f->engine++;
	return check_pieces(f, m);
}

/* New bytes for the driver's memory from @from to @to, and a granule around it. */
static void renew(struct fuzz *f, struct live *m, u32 slot, u64 from, u64 to)
{
	u64 base = slot * SPACE, end = base + SPACE;

	m->from = from - base > f->b.g ? from - f->b.g : base;
	m->to = end - to > f->b.g ? to + f->b.g : end;
	scribble(&f->rng, f->buf.mem + m->from, m->to - m->from);
	memcpy(f->cpu + m->from, f->buf.mem + m->from, m->to - m->from);
}

static bool begin(struct fuzz *f, u32 slot, u64 sample)
{
	struct live *m = &f->live[slot];
	u64 attrs = EDU_NO_WARN | (below(&f->rng, 4) ? 0 : EDU_SKIP_CPU_SYNC);
	u64 base = slot * SPACE, full;
	u32 i;

	m->dir = below(&f->rng, 3);
	m->list = !below(&f->rng, 3);
	full = counter("fail_full");
	if (m->list) {
		u32 n = random_list(f, base);
		struct edu_map_sg sg = {
			.segs = (uintptr_t)f->segs, .nents = n, .dir = m->dir, .attrs = attrs,
		};

		if (!n)
			return true;
		renew(f, m, slot, f->segs[0].offset, f->segs[n - 1].offset + f->segs[n - 1].size);
		if (ioctl(f->b.e.fd, EDU_MAP_SG, &sg))
			goto refused;
		m->id = sg.id;
		f->b.full = counter("fail_full") > full;
		if (!sg_placed(&f->b, f->copybreak, f->buf.addr, f->segs, n, sg.mapped, m->dir,
			       attrs, MAX_SEG, 0xffffffff, m->pieces, &m->np))
			return wrong("list of %u", n);
	} else {
		struct layout l;
		struct map p;

		m->at = base + random_offset(f);
		m->size = random_size(f, base + SPACE - m->at);
		renew(f, m, slot, m->at, m->at + m->size);
		if (map(&f->b.e, &p, &f->buf, m->at, m->size, m->dir, attrs))
			goto refused;
		m->id = p.id;
		m->addr = p.addr;
		f->b.full = counter("fail_full") > full;
		l = layout_at(&f->b, f->copybreak, p.addr, f->buf.addr + m->at, m->size, m->dir,
			      attrs);
		if (!placed(&f->b, &l, p.addr, f->buf.addr + m->at, m->size))
			return wrong("%llu bytes at %llu", (unsigned long long)m->size,
				     (unsigned long long)m->at);
		m->np = pieces_of(f->b.g, &l, m->at, m->size, p.addr, m->pieces);
	}
	m->on = true;
	f->cases++;
	for (i = 0; i < m->np; i++) {
		const struct piece *p = &m->pieces[i];

		if (attrs & EDU_SKIP_CPU_SYNC || m->dir == EDU_FROM_DEVICE)
			memset(f->shadow + p->at, 0, p->size);
		else
			memcpy(f->shadow + p->at, f->cpu + p->at, p->size);
		if (!check_pad(f, p))
			return wrong("piece %u of %u", i, m->np);
	}
	return check_pieces(f, m) &&
	       (f->cases % sample || through_engine(f, m));

refused:
	/* Only for want of room, and then with a count. */
	f->refused++;
	return counter("fail_full") > full || wrong("refused: %s", strerror(errno));
}

static bool end(struct fuzz *f, u32 slot)
{
	struct live *m = &f->live[slot];
	u64 attrs = below(&f->rng, 4) ? 0 : EDU_SKIP_CPU_SYNC;
	u32 i;

	m->on = false;
	if (edu_end(&f->b.e, m->id, attrs))
		return wrong("unmap: %s", strerror(errno));
	for (i = 0; i < m->np; i++) {
		const struct piece *p = &m->pieces[i];

		if (p->bounced && m->dir != EDU_TO_DEVICE && !attrs)
			memcpy(f->cpu + p->at, f->shadow + p->at, p->size);
		/* With others at work, somebody may have the address already. */
		if (f->alone && !inside(&f->b.e, p->addr, p->size) &&
		    !unreachable(&f->b, p->addr, p->size))
			return false;
	}
	return check_driver(f, m);
}

/* Something that a driver or a device does with a mapping. */
static bool use(struct fuzz *f, u32 slot)
{
	struct live *m = &f->live[slot];
	struct edu_sync sync = { .id = m->id, .dir = m->dir };
	const struct piece *p = &m->pieces[below(&f->rng, m->np)];
	u64 from = below(&f->rng, p->size), size = 1 + below(&f->rng, p->size - from);
	u64 first, last;
	u32 i;

	switch (below(&f->rng, 6)) {
	case 0:
	case 1:
		if (m->dir == EDU_TO_DEVICE && !p->bounced)
			return true;
		return device_writes(f, p, from, size, EDU_PEEK);
	case 2:
		/* The device may write the padding, too. */
		if (m->dir == EDU_TO_DEVICE || !p->pad || inside(&f->b.e, p->addr, p->size))
			return true;
		scribble(&f->rng, f->look, p->pad);
		return !access_bus(&f->b.e, EDU_PEEK, p->addr - p->pad, f->look, p->pad, true);
	case 3:
		scribble(&f->rng, f->cpu + p->at + from, size);
		memcpy(f->buf.mem + p->at + from, f->cpu + p->at + from, size);
		return true;
	case 4:
		return check_pieces(f, m) && check_driver(f, m);
	}
	sync.for_cpu = below(&f->rng, 2);
	first = 0;
	last = ~0ull;
	if (!m->list) {
		sync.offset = below(&f->rng, m->size);
		sync.size = below(&f->rng, m->size - sync.offset + 1);
		first = m->at + sync.offset;
		last = first + sync.size;
	}
	if (ioctl(f->b.e.fd, EDU_SYNC, &sync))
		return wrong("sync: %s", strerror(errno));
	for (i = 0; i < m->np; i++) {
		u64 a, z;

		p = &m->pieces[i];
		a = p->at > first ? p->at : first;
		z = p->at + p->size < last ? p->at + p->size : last;
		if (!p->bounced || a >= z)
			continue;
		if (sync.for_cpu && m->dir != EDU_TO_DEVICE)
			memcpy(f->cpu + a, f->shadow + a, z - a);
		if (!sync.for_cpu && m->dir != EDU_FROM_DEVICE)
			memcpy(f->shadow + a, f->cpu + a, z - a);
	}
	return check_driver(f, m) && check_pieces(f, m);
}

struct granule {
	u64 addr, phys;		/* phys 0: somewhere in the window */
};

static int compare(const void *a, const void *b)
{
	const struct granule *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* The whole page table against all live mappings. */
static bool check_walk(struct fuzz *f)
{
	enum { MAX = SLOTS * (SPACE / 4096 + 2 * NSEGS) };
	static struct granule should[MAX];
	struct walk w = walk(&f->b, 0, 1ull << SPACE_BITS);
	u64 g = f->b.g, at, phys;
	u32 n = 0, i, k, s;
	bool window = false;

	f->walks++;
	/* Memory of the driver's that nobody has mapped is unchanged. */
	if (memcmp(f->cpu, f->buf.mem, SLOTS * SPACE))
		return wrong("the driver has wrong bytes, where nothing is mapped");
	for (s = 0; s < SLOTS; s++) {
		for (i = 0; f->live[s].on && i < f->live[s].np; i++) {
			const struct piece *p = &f->live[s].pieces[i];

			if (inside(&f->b.e, p->addr, p->size))
				continue;
			for (at = p->addr & -g; at < p->addr + p->size; at += g)
				should[n++] = (struct granule){
					at, p->bounced ? 0 : f->buf.addr + p->at + at - p->addr,
				};
		}
	}
	qsort(should, n, sizeof(*should), compare);
	for (i = 0, k = 0; i < w.n; i++) {
		const struct edu_extent *x = &w.extents[i];

		if (x->addr == f->b.e.base && x->phys == f->b.phys && x->size >= f->b.e.size &&
		    !window) {
			window = true;
			at = f->b.e.size;
		} else {
			at = 0;
		}
		for (; at < x->size; at += g, k++) {
			phys = x->phys + at;
			if (k == n || should[k].addr != x->addr + at ||
			    (should[k].phys ? should[k].phys != phys :
			     !in_window(&f->b, phys)))
				return wrong("%#llx leads to %#llx, %s",
					     (unsigned long long)(x->addr + at),
					     (unsigned long long)phys,
					     k < n && should[k].addr == x->addr + at ?
					     "and should not" : "and nothing is mapped there");
		}
	}
	free(w.extents);
	if (!window)
		return wrong("where is the window?");
	return k == n || wrong("%#llx leads nowhere", (unsigned long long)should[k].addr);
}

static bool fuzz_begin(struct fuzz *f, u64 seed, bool alone)
{
	memset(f, 0, sizeof(*f));
	f->alone = alone;
	f->seed = seed;
	f->rng.s = seed * 0x9e3779b97f4a7c15ull | 1;
	behind_open(&f->b);
	edu_limit(&f->b.e, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	if (mem_new(&f->b.e, &f->buf, EDU_BUFFER, SLOTS * SPACE, 0, 0))
		return wrong("no memory");
	f->cpu = malloc(SLOTS * SPACE);
	f->shadow = malloc(SLOTS * SPACE);
	f->look = malloc(SPACE);
	memcpy(f->cpu, f->buf.mem, SLOTS * SPACE);
	f->copybreak = number(copybreak_file());
	return true;
}

static bool fuzz_steps(struct fuzz *f, u64 cases, u64 sample, time_t until)
{
	static const u64 values[] = { 0, 300, 4096, 10000, 32768, 65536 };
	u32 slot;

	for (; f->cases < cases && time(NULL) < until; f->step++) {
		slot = below(&f->rng, SLOTS);
		f->slot = slot;
		if (!f->live[slot].on) {
			f->doing = "map";
			/* Change copybreak now and then: live mappings keep the old one. */
			if (f->alone && !below(&f->rng, 100)) {
				f->copybreak = values[below(&f->rng, 6)];
				write_number(copybreak_file(), f->copybreak);
			}
			if (!begin(f, slot, sample))
				return false;
			f->doing = "walk";
			if (f->alone && f->cases % 50 == 0 && !check_walk(f))
				return false;
		} else {
			bool used = below(&f->rng, 4);

			f->doing = used ? "use" : "unmap";
			if (!(used ? use(f, slot) : end(f, slot)))
				return false;
		}
	}
	f->doing = "last unmap";
	for (slot = 0; slot < SLOTS; slot++) {
		f->slot = slot;
		if (f->live[slot].on && !end(f, slot))
			return false;
	}
	f->doing = "last walk";
	return !f->alone || check_walk(f);
}

/* A failure is printed with seed and step, to repeat it. */
static bool fuzz_run(struct fuzz *f, u64 cases, u64 sample, time_t until)
{
	const char *others = f->alone ? "" : ", with others at work";
	const struct live *m;
	u32 i;

	if (fuzz_steps(f, cases, sample, until))
		return true;
	m = &f->live[f->slot];
	wrong("at step %llu (%s), case %llu%s", (unsigned long long)f->step, f->doing,
	      (unsigned long long)f->cases, others);
	wrong("repeat: FUZZ_SEED=%llu FUZZ_CASES=%llu FUZZ_SAMPLE=%llu",
	      (unsigned long long)f->seed, (unsigned long long)f->cases + 1,
	      (unsigned long long)sample);
	wrong("slot %u: a %s, direction %u, copybreak %llu, buffer at %#llx; its pieces:",
	      f->slot, m->list ? "list" : "buffer", m->dir, (unsigned long long)f->copybreak,
	      (unsigned long long)f->buf.addr);
	for (i = 0; i < m->np; i++)
		wrong("%llu bytes from %llu on, the device's at %#llx, %s",
		      (unsigned long long)m->pieces[i].size,
		      (unsigned long long)m->pieces[i].at,
		      (unsigned long long)m->pieces[i].addr,
		      m->pieces[i].bounced ? "bounced" : "in place");
	return false;
}

static void fuzz_end(struct fuzz *f)
{
	munmap(f->buf.mem, SLOTS * SPACE);
	close(f->b.e.fd);
	free(f->cpu);
	free(f->shadow);
	free(f->look);
}

FIXTURE(confinement)
{
	u64 used, live, copybreak, seeds[sizeof(fixed_seeds) / sizeof(*fixed_seeds)];
	u32 nseeds;
	struct edu_info info;
	struct behind b;
	struct walk before;
};

FIXTURE_SETUP(confinement)
{
	behind_open(&self->b);
	self->info = edu_info(&self->b.e);
	self->used = counter("io_tlb_used");
	self->live = counter("maps") - counter("unmaps");
	self->copybreak = number(copybreak_file());
	self->before = walk(&self->b, 0, 1ull << SPACE_BITS);
	memcpy(self->seeds, fixed_seeds, sizeof(fixed_seeds));
	self->nseeds = sizeof(fixed_seeds) / sizeof(*fixed_seeds);
	if (getenv("FUZZ_SEED")) {
		self->seeds[0] = env("FUZZ_SEED", 0);
		self->nseeds = 1;
	}
}

FIXTURE_TEARDOWN(confinement)
{
	struct walk after = walk(&self->b, 0, 1ull << SPACE_BITS);

	EXPECT_TRUE(walks_equal(&self->before, &after));
	EXPECT_EQ(self->used, counter("io_tlb_used"));
	EXPECT_EQ(self->live, counter("maps") - counter("unmaps"));
	EXPECT_EQ(0, write_number(copybreak_file(), self->copybreak));
	edu_limit(&self->b.e, EDU_FORCE_MASK, self->info.mask);
	close(self->b.e.fd);
}

/* One after the other, with the whole page table compared time and again. */
TEST_F_TIMEOUT(confinement, random_cases, LIMIT)
{
	u64 cases = env("FUZZ_CASES", 10000) / self->nseeds;
	u64 sample = env("FUZZ_SAMPLE", 500);
	static struct fuzz f;
	bool good = true;
	u32 i;

	for (i = 0; i < self->nseeds && good; i++) {
		ASSERT_TRUE(fuzz_begin(&f, self->seeds[i], true));
		good = fuzz_run(&f, cases, sample, time(NULL) + LIMIT / self->nseeds);
		TH_LOG("seed %llu: %llu cases, %llu refused, %llu through the engine, %llu walks",
		       (unsigned long long)f.seed, (unsigned long long)f.cases,
		       (unsigned long long)f.refused, (unsigned long long)f.engine,
		       (unsigned long long)f.walks);
		EXPECT_TRUE(good);
		EXPECT_EQ(cases, f.cases);
		EXPECT_LE(f.refused, cases / 10);
		EXPECT_EQ(cases / sample, f.engine);
		fuzz_end(&f);
		ASSERT_EQ(0, write_number(copybreak_file(), self->copybreak));
	}
}

/* On all CPUs at once, in one window and one domain. */
TEST_F_TIMEOUT(confinement, random_cases_on_all_cpus, LIMIT)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), i, status, bad = 0;
	u64 cases = env("FUZZ_CASES", 10000) / cpus / 4;

	if (cpus < 2)
		SKIP(return, "one CPU");
	/* Set copybreak here, once: no child changes it, since none is alone. */
	ASSERT_EQ(0, write_number(copybreak_file(), 16384));
	for (i = 0; i < 2 * cpus; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid) {
			static struct fuzz f;
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(i % cpus, &set);
			sched_setaffinity(0, sizeof(set), &set);
			if (!fuzz_begin(&f, self->seeds[i % self->nseeds] + i + 1, false) ||
			    !fuzz_run(&f, cases, ~0ull, time(NULL) + LIMIT))
				_exit(1);
			_exit(f.cases != cases);
		}
	}
	while (wait(&status) > 0)
		bad += status != 0;
	EXPECT_EQ(0, bad);
}

TEST_HARNESS_MAIN
