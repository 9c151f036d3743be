/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of the tests behind an IOMMU, and what several of them need: each
 * test begins with a window, page tables and counters that it has to leave as
 * they were. For programs with one main file.
 */
#ifndef _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H
#define _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H

#include "iommu_look.h"
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

struct job {
	struct mem *buf;
	u64 at, size, copybreak;
	u32 dir;
	u64 map_attrs, unmap_attrs;
};

/*
 * Check everything about one mapping, from map to unmap: place, contents of all
 * that the device can see, bytes that the device writes, bytes copied back, counters.
 * Memory from a granule before the buffer to a granule behind is the caller's.
 */
static inline bool lifetime(struct behind *b, const struct job *j)
{
	bool skip = j->map_attrs & EDU_SKIP_CPU_SYNC, zero = skip || j->dir == EDU_FROM_DEVICE;
	struct layout l = layout_of(b, j->copybreak, j->buf->addr + j->at, j->size, j->dir,
				    j->map_attrs);
	bool back = j->dir != EDU_TO_DEVICE && !(j->unmap_attrs & EDU_SKIP_CPU_SYNC);
	u64 from = j->at > b->g ? j->at - b->g : 0, to, g = b->g, n, off, i;
	u64 before[COUNTERS], after[COUNTERS], should[COUNTERS] = {};
	u64 maps = counter("maps"), unmaps = counter("unmaps");
	u8 *mem = j->buf->mem;
	struct map p;

	to = j->at + j->size + g < j->buf->size ? j->at + j->size + g : j->buf->size;
	fill(mem + from, to - from, 3);
	device_counters(before);
	if (map(&b->e, &p, j->buf, j->at, j->size, j->dir, j->map_attrs))
		return wrong("map: %s", strerror(errno));
	if (!placed(b, &l, p.addr, j->buf->addr + j->at, j->size))
		return false;
	if (counter("maps") != maps + 1)
		return wrong("not counted as a mapping");
	if (!has(mem + from, 0, to - from, 3))
		return wrong("the mapping changed the driver's memory");

	if (l.small) {
		if (j->size <= ENGINE_MAX ? see(&b->e, p.addr, look, j->size) :
		    peek(&b->e, p.addr, look, j->size))
			return wrong("the device sees nothing");
		if (zero ? !is_zero(look, j->size) : memcmp(look, mem + j->at, j->size))
			return wrong("the device sees wrong bytes in the window");
		fill(look, j->size, 5);
		if (poke(&b->e, p.addr, look, j->size))
			return wrong("the device cannot write");
		memcpy(want + from, mem + from, to - from);
		if (back)
			memcpy(want + j->at, look, j->size);
		goto unmap;
	}

	/* All that the device can see: the whole first and last granule, too. */
	n = l.granules * g;
	off = p.addr % g;
	memset(want, 0, n);
	memcpy(want + off + l.head_bytes, mem + j->at + l.head_bytes, l.whole * g);
	if (!zero) {
		memcpy(want + off, mem + j->at, l.head_bytes);
		memcpy(want + off + j->size - l.tail_bytes, mem + j->at + j->size - l.tail_bytes,
		       l.tail_bytes);
	}
	if (peek(&b->e, p.addr - off, look, n))
		return wrong("the device sees nothing");
	if (see_granule(&b->e, p.addr - off, look, g, j->dir) ||
	    see_granule(&b->e, p.addr - off + n - g, look + n - g, g, j->dir))
		return wrong("the engine does not work");
	if (memcmp(look, want, n)) {
		for (i = 0; look[i] == want[i]; i++)
			;
		return wrong("the device sees %#x at byte %lld of %llu, not %#x", look[i],
			     (long long)(i - off), (unsigned long long)j->size, want[i]);
	}

	/* The device writes everything in reach, unless the direction forbids writing. */
	memcpy(want + from, mem + from, to - from);
	if (j->dir != EDU_TO_DEVICE) {
		fill(look, n, 9);
		if (poke(&b->e, p.addr - off, look, n) ||
		    put(&b->e, p.addr - off, look, g) ||
		    put(&b->e, p.addr - off + n - g, look + n - g, g))
			return wrong("the device cannot write");
		memcpy(want + j->at + l.head_bytes, look + off + l.head_bytes, l.whole * g);
		/* In place at once, bounced at the unmap. */
		if (memcmp(mem + from, want + from, to - from))
			return wrong("wrong bytes before the unmap");
		if (back)
			memcpy(want + j->at, look + off, j->size);
	}
unmap:
	if (unmap(&b->e, &p, j->unmap_attrs))
		return wrong("unmap: %s", strerror(errno));
	if (memcmp(mem + from, want + from, to - from)) {
		for (i = from; mem[i] == want[i]; i++)
			;
		return wrong("after the unmap, byte %lld of %llu is %#x, not %#x",
			     (long long)(i - j->at), (unsigned long long)j->size, mem[i],
			     want[i]);
	}
	if (!l.small && !unreachable(b, p.addr, j->size))
		return false;
	if (counter("unmaps") != unmaps + 1)
		return wrong("not counted as unmapped");

	device_counters(after);
	should[BYTES_IN] = zero ? 0 : l.small ? j->size : l.head_bytes + l.tail_bytes;
	should[BYTES_OUT] = !back ? 0 : l.small ? j->size : l.head_bytes + l.tail_bytes;
	if (!l.small) {
		should[GRANULES] = l.whole;
		should[HEADS] = l.head;
		should[TAILS] = l.tail;
		should[IOMMU_MAPS] = 1;
		should[IOMMU_UNMAPS] = 1;
	}
	for (i = 0; i < COUNTERS; i++)
		if (after[i] - before[i] != should[i])
			return wrong("%s counts %lld, not %llu", counter_names[i],
				     (long long)(after[i] - before[i]),
				     (unsigned long long)should[i]);
	return true;
}

/* A list, from map to unmap: place, contents, syncs, what is copied back. */
static inline bool list(struct behind *b, struct mem *buf, struct edu_seg *segs, u32 n, u64 cb,
			u32 dir, u64 max, u64 boundary)
{
	struct edu_map_sg sg = { .segs = (uintptr_t)segs, .nents = n, .dir = dir };
	struct edu_sync sync = { .dir = dir };
	struct piece pieces[3 * 64];
	u32 i, k, np;
	u64 end;

	for (i = 0; i < n; i++)
		segs[i].buffer = buf->id;
	fill(buf->mem, buf->size, 1);
	if (ioctl(b->e.fd, EDU_MAP_SG, &sg))
		return wrong("map: %s", strerror(errno));
	sync.id = sg.id;
	if (!sg_placed(b, cb, buf->addr, segs, n, sg.mapped, dir, 0, max, boundary, pieces, &np))
		return false;
	/* The device reads all of it, and writes. */
	for (i = 0; i < np; i++) {
		struct piece *p = &pieces[i];
		bool chunk = p->bounced && !inside(&b->e, p->addr, p->size);

		end = p->addr + p->size;
		if (peek(&b->e, p->addr, look, p->size))
			return wrong("piece %u: nothing there", i);
		if (p->bounced && dir == EDU_FROM_DEVICE ? !is_zero(look, p->size) :
		    memcmp(look, buf->mem + p->at, p->size))
			return wrong("piece %u of %u has wrong bytes", i, np);
		if (chunk && (peek(&b->e, p->addr - p->pad, look, p->pad) ||
			      !is_zero(look, p->pad)))
			return wrong("padding before piece %u", i);
		end = -end % b->g;
		if (chunk && !p->pad && (peek(&b->e, p->addr + p->size, look, end) ||
					 !is_zero(look, end)))
			return wrong("padding behind piece %u", i);
	}
	for (k = 0; k < 3; k++) {
		memcpy(want, buf->mem, buf->size);
		for (i = 0; i < np; i++) {
			struct piece *p = &pieces[i];

			if (dir == EDU_TO_DEVICE && !p->bounced)
				continue;
			fill(look, p->size, i + k + 2);
			if (poke(&b->e, p->addr, look, p->size))
				return wrong("piece %u: cannot write", i);
			if (!p->bounced || dir != EDU_TO_DEVICE)
				memcpy(want + p->at, look, p->size);
		}
		sync.for_cpu = 1;
		if (k < 2 && ioctl(b->e.fd, EDU_SYNC, &sync))
			return wrong("sync: %s", strerror(errno));
		if (k == 2 && edu_end(&b->e, sg.id, 0))
			return wrong("unmap: %s", strerror(errno));
		if (memcmp(buf->mem, want, buf->size)) {
			for (i = 0; buf->mem[i] == want[i]; i++)
				;
			return wrong("step %u: byte %u of the buffer is %#x, not %#x", k, i,
				     buf->mem[i], want[i]);
		}
		if (k == 2)
			break;
		fill(buf->mem, buf->size, 30 + k);
		sync.for_cpu = 0;
		if (ioctl(b->e.fd, EDU_SYNC, &sync))
			return wrong("sync: %s", strerror(errno));
		for (i = 0; i < np; i++) {
			struct piece *p = &pieces[i];

			peek(&b->e, p->addr, look, p->size);
			if (p->bounced && dir == EDU_FROM_DEVICE)
				fill(want, p->size, i + k + 2);
			else
				memcpy(want, buf->mem + p->at, p->size);
			if (memcmp(look, want, p->size))
				return wrong("step %u: piece %u has wrong bytes", k, i);
		}
	}
	for (i = 0; i < np; i++)
		if (!inside(&b->e, pieces[i].addr, pieces[i].size) &&
		    !unreachable(b, pieces[i].addr, pieces[i].size))
			return wrong("piece %u", i);
	return true;
}

#endif /* _DMA_WINDOW_SELFTEST_IOMMU_FIXTURE_H */
