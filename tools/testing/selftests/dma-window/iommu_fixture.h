/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests behind an IOMMU, and what several of them need: each
 * test begins with a window, page tables and counters that it has to leave as
 * they were. For programs with one main file.
 */
#ifndef _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H
#define _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H

#include "iommu.h"
#include "../kselftest_harness.h"

struct state {
	struct behind b;
	struct edu_info info;
	u64 used, invalid, copybreak;
	struct walk before;
	int log;
};

#define B (&self->s.b)
#define E (&self->s.b.e)
#define G (self->s.b.g)

static inline struct walk space(struct behind *b)
{
	return walk(b, 0, 1ull << SPACE_BITS);
}

static inline void start(struct state *s)
{
	behind_open(&s->b);
	s->info = edu_info(&s->b.e);
	/* Few enough addresses to look at each of them. */
	edu_limit(&s->b.e, EDU_FORCE_MASK, (1ull << SPACE_BITS) - 1);
	s->copybreak = number(copybreak_file());
	s->used = counter("io_tlb_used");
	s->invalid = counter("fail_invalid");
	s->before = space(&s->b);
	s->log = log_open();
}

/*
 * Nothing is left behind, in the window, in the page tables or of addresses, and
 * no call was a mistake but those meant to be. A test has to unmap its memory, or
 * the file stays open.
 */
static inline void finish(struct __test_metadata *_metadata, struct state *s)
{
	struct walk after;

	close(s->b.e.fd);
	EXPECT_EQ(s->used, counter("io_tlb_used"));
	EXPECT_EQ(s->invalid, counter("fail_invalid"));
	EXPECT_EQ(0, write_number(copybreak_file(), s->copybreak));
	edu_open(&s->b.e);
	after = space(&s->b);
	EXPECT_TRUE(walks_equal(&s->before, &after));
	edu_limit(&s->b.e, EDU_FORCE_MASK, s->info.mask);
	edu_limit(&s->b.e, EDU_FORCE_COHERENT_MASK, s->info.coherent_mask);
	edu_limit(&s->b.e, EDU_SEG_BOUNDARY, 0xffffffff);
	edu_limit(&s->b.e, EDU_MAX_SEG_SIZE, 65536);
	edu_limit(&s->b.e, EDU_MIN_ALIGN_MASK, 0);
	close(s->b.e.fd);
	close(s->log);
}

static u8 look[13 * MIB], want[13 * MIB] __attribute__((unused));

static inline int copybreak(u64 value)
{
	return write_number(copybreak_file(), value);
}

static inline int peek(struct edu *e, u64 addr, void *data, u64 size)
{
	return access_bus(e, EDU_PEEK, addr, data, size, false);
}

static inline int poke(struct edu *e, u64 addr, const void *data, u64 size)
{
	return access_bus(e, EDU_PEEK, addr, (void *)data, size, true);
}

/*
 * Rounds of reports are limited: ten in 5 s. Without a device that runs only as
 * fast as the clock, the wait costs nothing.
 */
static inline void calm(struct state *s)
{
	if (s->b.e.engine)
		sleep(6);
	faulted(s->log, 0);
}

/* Stopped, and reported: the device reads nothing of @data, with a granule there. */
static inline bool stopped_reading(struct state *s, u64 addr, const u8 *data, size_t size)
{
	static u8 got[2048];
	size_t i, same = 0;

	calm(s);
	if (access_bus(&s->b.e, EDU_DMA, addr, got, size, false))
		return wrong("the engine does not work");
	for (i = 0; i < size; i++)
		same += got[i] == data[i];
	if (same > size / 8)
		return wrong("%zu of %zu bytes were read at %#llx", same, size,
			     (unsigned long long)addr);
	return faulted(s->log, 2000) || wrong("nothing reports the read of %#llx",
					      (unsigned long long)addr);
}

static inline bool stopped_writing(struct state *s, u64 addr, size_t size)
{
	static u8 junk[2048];

	calm(s);
	memset(junk, 0x66, size);
	if (access_bus(&s->b.e, EDU_DMA, addr, junk, size, true))
		return wrong("the engine does not work");
	return faulted(s->log, 2000) || wrong("nothing reports the write of %#llx",
					      (unsigned long long)addr);
}

/* As the device, with its engine if it has one and may read this. */
static inline int see_granule(struct edu *e, u64 addr, void *data, u64 g, u32 dir)
{
	return dir == EDU_FROM_DEVICE ? peek(e, addr, data, g) : see(e, addr, data, g);
}

#define DRIVER "/sys/bus/pci/drivers/dma-window-edu/"

/* How many mappings the addresses up to a small mask are enough for; -1 on error. */
static inline int capacity(struct behind *b, struct mem *buf)
{
	struct map many[64];
	int n, ret, bad = 0;

	for (n = 0; n < 64; n++)
		if (map(&b->e, &many[n], buf, 100, 200 * KIB, EDU_TO_DEVICE, EDU_NO_WARN))
			break;
	for (ret = n; n--; )
		bad |= unmap(&b->e, &many[n], 0);
	return bad || ret == 64 ? -1 : ret;
}

#define FAIL "/sys/kernel/debug/fail_function/"

/* Let the @nth call of @function by this process fail, once. */
static inline bool fail_call(const char *function, int nth, bool is_errno)
{
	char path[128];

	if (write_text(FAIL "inject", function))
		return wrong("%s cannot be made to fail", function);
	snprintf(path, sizeof(path), FAIL "%s/retval", function);
	if (is_errno && write_text(path, "0xfffffffffffffff4"))
		return wrong("%s: %s", path, strerror(errno));
	return !write_text(FAIL "verbose", "0") && !write_text(FAIL "task-filter", "Y") &&
	       !write_text(FAIL "interval", "1") && !write_text(FAIL "probability", "100") &&
	       !write_number(FAIL "space", nth) && !write_text(FAIL "times", "1") &&
	       !write_text("/proc/self/make-it-fail", "1");
}

/* Did the call that fail_call() chose take place? Back to normal, in any case. */
static inline bool failed_call(void)
{
	bool used = number(FAIL "times") == 0;

	write_text("/proc/self/make-it-fail", "0");
	write_text(FAIL "times", "0");
	write_text(FAIL "inject", "");
	return used;
}

#endif /* _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H */
