/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the api_* programs: the DMA API from both sides, what the driver
 * gets, and what the device can see and do. A program, and a fixture, is named
 * after the invariant of Documentation/core-api/dma-window.rst that its tests
 * guard. See edu.h for the devices and variables that these tests need. For
 * programs with one main file.
 */
#ifndef _DMA_WINDOW_SELFTEST_API_FIXTURE_H
#define _DMA_WINDOW_SELFTEST_API_FIXTURE_H

#include <sched.h>

#include "edu.h"
#include "../kselftest_harness.h"

struct state {
	struct edu e;
	u64 used, invalid;
};

#define E (&self->s.e)

static inline void start(struct state *s)
{
	edu_open(&s->e);
	s->used = counter("io_tlb_used");
	s->invalid = counter("fail_invalid");
}

/*
 * Nothing is left behind, and no call was a mistake but those meant to be. A
 * test has to unmap its memory, or the file stays open.
 */
static inline void finish(struct __test_metadata *_metadata, struct state *s)
{
	close(s->e.fd);
	EXPECT_EQ(s->used, counter("io_tlb_used"));
	EXPECT_EQ(s->invalid, counter("fail_invalid"));
}

static u8 look[4 * MIB], other[4 * MIB] __attribute__((unused));

/* Stay on this CPU: the slots that its cache keeps are the slots that it gets again. */
static inline bool stay(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

/* As many mappings of 64 KiB as fit; their ids and addresses. */
static inline int take_all(struct edu *e, struct mem *buf, struct map *maps, int max)
{
	int n = 0;

	while (n < max && !map(e, &maps[n], buf, 0, 64 * KIB, EDU_TO_DEVICE, EDU_NO_WARN))
		n++;
	return n;
}

static inline int give_all(struct edu *e, struct map *maps, int n)
{
	int ret = 0;

	while (n--)
		ret = unmap(e, &maps[n], 0) ?: ret;
	return ret;
}

#endif /* _DMA_WINDOW_SELFTEST_API_FIXTURE_H */
