// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of the DMA API on all CPUs at once, in one window: nobody sees anybody
 * else's bytes (I3), everything is inside (I1), and nothing is left in the end
 * (I5, I7). See edu.h for the devices and variables that the test needs.
 */

#include <sched.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#include "edu.h"
#include "../kselftest_harness.h"

#define MAX	(256 * KIB)
#define LIVE	8

struct slot {
	bool	live, coherent;
	struct map p;
	struct mem m;
	u32	dir, seed;
	size_t	size;
};

static int failure(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("# ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return 1;
}

/* A child's life: a few mappings are always in use, each checked at its end. */
static int worker(int cpu, unsigned int seed, size_t largest, int min_rounds)
{
	static u8 look[MAX];
	struct slot slots[LIVE] = {};
	int rounds = 0;
	time_t end = time(NULL) + 3;
	cpu_set_t set;
	struct mem buf;
	struct edu e;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return failure("cannot run on CPU %d", cpu);
	edu_open(&e);
	if (mem_new(&e, &buf, EDU_BUFFER, LIVE * largest, 0, 0))
		return failure("no buffer");

	while (time(NULL) < end || rounds < min_rounds) {
		u32 r = rand_r(&seed), i = r % LIVE;
		struct slot *s = &slots[i];
		u8 *mine = buf.mem + i * largest;

		rounds++;
		if (!s->live) {
			s->seed = r;
			s->size = 1 + rand_r(&seed) % ((r >> 8) % 2 ? 200 : largest - 1);
			s->coherent = (r >> 9) % 4 == 0;
			s->dir = (r >> 12) % 3;
			if (s->coherent) {
				if (mem_new(&e, &s->m, EDU_COHERENT, s->size,
					    (r >> 11) % 2 ? EDU_ATOMIC : 0, EDU_NO_WARN))
					continue;
				if (!inside(&e, s->m.addr, s->size))
					return failure("coherent memory outside the window");
				if (!is_zero(s->m.mem, s->size))
					return failure("coherent memory is not zero");
				fill(s->m.mem, s->size, s->seed);
				s->live = true;
				continue;
			}
			fill(mine, s->size, s->seed);
			if (map(&e, &s->p, &buf, i * largest, s->size, s->dir, EDU_NO_WARN))
				continue;
			if (!inside(&e, s->p.addr, s->size))
				return failure("mapping outside the window");
			if (access_bus(&e, EDU_PEEK, s->p.addr, look, s->size, false))
				return failure("cannot look");
			if (s->dir == EDU_FROM_DEVICE ? !is_zero(look, s->size) :
			    !has(look, 0, s->size, s->seed))
				return failure("wrong bytes when mapped, direction %u", s->dir);
			fill(look, s->size, s->seed + 1);
			access_bus(&e, EDU_PEEK, s->p.addr, look, s->size, true);
			s->live = true;
			continue;
		}
		s->live = false;
		if (s->coherent) {
			if (!has(s->m.mem, 0, s->size, s->seed))
				return failure("coherent memory was changed by somebody else");
			if (mem_free(&e, &s->m))
				return failure("cannot free");
			continue;
		}
		access_bus(&e, EDU_PEEK, s->p.addr, look, s->size, false);
		if (!has(look, 0, s->size, s->seed + 1))
			return failure("a mapping was changed by somebody else");
		if (unmap(&e, &s->p, 0))
			return failure("cannot unmap");
		if (!has(mine, 0, s->size, s->dir == EDU_TO_DEVICE ? s->seed : s->seed + 1))
			return failure("wrong bytes when unmapped, direction %u", s->dir);
	}
	/* Close the file: the module undoes mappings that are still live. */
	close(e.fd);
	return 0;
}

FIXTURE(smp)
{
	u64 used, maps, live;
};

FIXTURE_SETUP(smp)
{
	self->used = counter("io_tlb_used");
	self->maps = counter("maps");
	self->live = self->maps - counter("unmaps");
}

FIXTURE_TEARDOWN(smp)
{
	EXPECT_EQ(self->live, counter("maps") - counter("unmaps"));
	EXPECT_EQ(self->used, counter("io_tlb_used"));
}

/* Run the children: how many ended badly. */
static int workers(int per_cpu, size_t largest, int min_rounds)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), i, status, bad = 0;

	for (i = 0; i < cpus * per_cpu; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return -1;
		if (!pid)
			_exit(worker(i % cpus, i + 1, largest, min_rounds));
	}
	while (wait(&status) > 0)
		bad += status != 0;
	return bad;
}

/* As many callers as there is room for. */
TEST_F_TIMEOUT(smp, all_cpus, LIMIT)
{
	ASSERT_GE(sysconf(_SC_NPROCESSORS_ONLN), 2);
	ASSERT_EQ(0, workers(2, 32 * KIB, 500));
	EXPECT_GT(counter("maps"), self->maps + 500);
}

/* More and larger ones: many calls find no room. */
TEST_F_TIMEOUT(smp, all_cpus_in_a_full_window, LIMIT)
{
	u64 full = counter("fail_full");

	ASSERT_EQ(0, workers(8, MAX, 100));
	EXPECT_GT(counter("maps"), self->maps + 500);
	EXPECT_GT(counter("fail_full"), full);
}

TEST_HARNESS_MAIN
