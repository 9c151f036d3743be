/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests of windows behind an IOMMU: which granules the device's
 * page tables have, which they should have, the counters of one device, and
 * IOMMU reports of accesses that were stopped. See edu.h for the devices needed.
 */
#ifndef _DMA_WINDOW_SELFTEST_IOMMU_LOOK_H
#define _DMA_WINDOW_SELFTEST_IOMMU_LOOK_H

#include <poll.h>
#include <stdarg.h>

#include "edu.h"

/* Addresses that the tests leave to the device: few enough to look at each. */
#define SPACE_BITS	26

/* A device behind an IOMMU. @e.base is the window's bus address, not @phys. */
struct behind {
	struct edu	e;
	u64		g;	/* granule */
	u64		phys;
	u32		domain;
	/* The window had no room: memory that may be mapped in place may have been. */
	bool		full;
	/* The IOMMU can let a device write memory without letting it read. */
	bool		write_only;
};

/* A walk's result: sorted, as all walks. */
struct walk {
	u32			n;
	struct edu_extent	*extents;
};

#define WALK_MAX	8192

static inline struct walk walk(struct behind *b, u64 start, u64 size)
{
	struct walk w = { .extents = calloc(WALK_MAX, sizeof(*w.extents)) };
	struct edu_walk arg = {
		.start = start, .size = size, .max = WALK_MAX,
		.extents = (uintptr_t)w.extents,
	};

	if (!w.extents || ioctl(b->e.fd, EDU_WALK, &arg)) {
		perror("EDU_WALK");
		exit(1);
	}
	w.n = arg.count;
	return w;
}

/* Where a granule leads, 0 if nowhere. */
static inline u64 reach(struct behind *b, u64 addr)
{
	struct edu_extent extent = {};
	struct edu_walk arg = {
		.start = addr & -b->g, .size = b->g, .max = 1,
		.extents = (uintptr_t)&extent,
	};

	if (ioctl(b->e.fd, EDU_WALK, &arg)) {
		perror("EDU_WALK");
		exit(1);
	}
	return extent.phys;
}

static inline bool walks_equal(const struct walk *a, const struct walk *b)
{
	u32 i;

	if (a->n == b->n && !memcmp(a->extents, b->extents, a->n * sizeof(*a->extents)))
		return true;
	for (i = 0; i < a->n && i < b->n; i++)
		if (memcmp(&a->extents[i], &b->extents[i], sizeof(*a->extents)))
			break;
	fprintf(stderr, "# %u extents, should be %u; from the %uth on:\n", b->n, a->n, i);
	if (i < b->n)
		fprintf(stderr, "#  is %#llx to %#llx, %#llx bytes\n", b->extents[i].addr,
			b->extents[i].phys, b->extents[i].size);
	if (i < a->n)
		fprintf(stderr, "#  not %#llx to %#llx, %#llx bytes\n", a->extents[i].addr,
			a->extents[i].phys, a->extents[i].size);
	return false;
}

static inline bool in_window(struct behind *b, u64 phys)
{
	return phys >= b->phys && phys < b->phys + b->e.size;
}

/* A virtio-iommu has write-only mappings, stage 1 of an SMMUv3 has not. */
static inline bool has_write_only(void)
{
	char path[128], link[256] = "";

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu", setting("EDU"));
	if (readlink(path, link, sizeof(link) - 1) < 0) {
		perror(path);
		exit(1);
	}
	return strstr(link, "/virtio");
}

/* Find the window's bus address: look up where a small mapping leads. */
static inline void behind_open(struct behind *b)
{
	struct edu_iommu iommu;
	struct mem buf;
	struct map p;
	u64 at;

	edu_open(&b->e);
	b->write_only = has_write_only();
	iommu = edu_iommu(&b->e);
	b->g = iommu.granule;
	b->domain = iommu.domain;
	b->phys = b->e.base;
	if (mem_new(&b->e, &buf, EDU_BUFFER, 4096, 0, 0) ||
	    map(&b->e, &p, &buf, 0, 8, EDU_TO_DEVICE, 0)) {
		perror("a small mapping");
		exit(1);
	}
	at = reach(b, p.addr);
	if (!in_window(b, at)) {
		fprintf(stderr, "a small mapping is not in the window, but at %#llx\n",
			(unsigned long long)at);
		exit(1);
	}
	b->e.base = (p.addr & -b->g) - (at - b->phys);
	unmap(&b->e, &p, 0);
	mem_free(&b->e, &buf);
}

/* A number that a file has, ~0 if it cannot be read. */
static inline u64 number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1) {
		fprintf(stderr, "# %s: %s\n", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ~0ull;
	}
	close(fd);
	return strtoull(text, NULL, 0);
}

static inline int write_number(const char *path, u64 value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return write_text(path, text);
}

/* Counters of one device, since device_counters() last read and reset them. */
enum { BYTES_IN, BYTES_OUT, GRANULES, IOMMU_MAPS, IOMMU_UNMAPS, HEADS, TAILS, COUNTERS };

static const char * const counter_names[COUNTERS] = {
	"bytes_in", "bytes_out", "granules", "iommu_maps", "iommu_unmaps",
	"heads", "tails",
};

static inline void device_counters(u64 *values)
{
	char path[256];
	int i;

	for (i = 0; i < COUNTERS; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/swiotlb/%s/%s/%s",
			 setting("WINDOW"), setting("EDU"), counter_names[i]);
		values[i] = number(path);
	}
}

static inline const char *copybreak_file(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/dma_window/copybreak",
		 setting("EDU"));
	return path;
}

/*
 * The rule of what a device may read: in place is only what is handed over for
 * reading as it is, or what the IOMMU keeps from being read.
 */
static inline bool can_map(const struct behind *b, u32 dir, u64 attrs)
{
	return dir == EDU_FROM_DEVICE ? b->write_only : !(attrs & EDU_SKIP_CPU_SYNC);
}

/*
 * How a buffer has to be mapped. The granules of the range of addresses: whole
 * ones lead to the buffer; the first, if the buffer begins in its middle, and
 * the last, if it ends there, to chunks of the window.
 */
struct layout {
	bool	small;		/* bounced as a whole */
	bool	head, tail;
	u64	granules;	/* of the range */
	u64	whole;		/* of which in place */
	u64	head_bytes, tail_bytes;
};

static inline struct layout layout_of(const struct behind *b, u64 copybreak, u64 phys,
				      u64 size, u32 dir, u64 attrs)
{
	u64 g = b->g;
	u64 start = phys & -g, end = (phys + size + g - 1) & -g;
	u64 first = (phys + g - 1) & -g, last = (phys + size) & -g;
	struct layout l = {
		.head = phys != start, .tail = phys + size != end,
		.granules = (end - start) / g,
	};

	l.small = size <= copybreak || last <= first || !can_map(b, dir, attrs);
	if (l.small)
		return l;
	l.whole = (last - first) / g;
	if (l.head)
		l.head_bytes = first - phys;
	if (l.tail)
		l.tail_bytes = phys + size - last;
	return l;
}

/* The layout of a mapping at @addr: as found, where a full window left a choice. */
static inline struct layout layout_at(struct behind *b, u64 copybreak, u64 addr, u64 phys,
				      u64 size, u32 dir, u64 attrs)
{
	return layout_of(b, b->full && !inside(&b->e, addr, size) ? 0 : copybreak, phys,
			 size, dir, attrs);
}

/* An explanation on its own line of the output; false for the caller. */
static inline bool wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("# ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return false;
}

/* Is the buffer at @phys mapped as it should be, and nothing beside it? */
static inline bool placed(struct behind *b, const struct layout *l, u64 addr, u64 phys,
			  u64 size)
{
	u64 g = b->g, at = addr & -g, i, want, have;

	if (l->small)
		return inside(&b->e, addr, size) ||
		       wrong("%llu bytes at %#llx: not in the window",
			     (unsigned long long)size, (unsigned long long)addr);
	if (addr % g != phys % g)
		return wrong("%#llx has address %#llx", (unsigned long long)phys,
			     (unsigned long long)addr);
	if (addr < b->e.base + b->e.size && addr + size > b->e.base)
		return wrong("%#llx is in the window", (unsigned long long)addr);
	for (i = 0; i < l->granules; i++) {
		have = reach(b, at + i * g);
		want = (phys & -g) + i * g;
		if ((!i && l->head) || (i == l->granules - 1 && l->tail)) {
			if (!in_window(b, have) || have % g)
				return wrong("granule %llu leads to %#llx, not to the window",
					     (unsigned long long)i, (unsigned long long)have);
		} else if (have != want) {
			return wrong("granule %llu leads to %#llx, not %#llx",
				     (unsigned long long)i, (unsigned long long)have,
				     (unsigned long long)want);
		}
	}
	return true;
}

/*
 * Bytes of a mapping that are in one place: @size bytes of the buffer from @at
 * on are the device's at @addr. They are the window's if @bounced, else the
 * buffer's own. The granules of a bounced piece outside of the window's
 * addresses have @pad bytes before it, and zeros up to their end behind it.
 */
struct piece {
	u64	at, size, addr;
	bool	bounced;
	u64	pad;
};

/* The pieces of one buffer's mapping: at most three. */
static inline u32 pieces_of(u64 g, const struct layout *l, u64 at, u64 size, u64 addr,
			    struct piece *out)
{
	u64 whole = l->whole * g;
	u32 n = 0;

	if (l->small) {
		out[0] = (struct piece){ at, size, addr, true, 0 };
		return 1;
	}
	if (l->head)
		out[n++] = (struct piece){ at, l->head_bytes, addr, true, addr % g };
	out[n++] = (struct piece){ at + l->head_bytes, whole, addr + l->head_bytes, false, 0 };
	if (l->tail)
		out[n++] = (struct piece){
			at + size - l->tail_bytes, l->tail_bytes,
			addr + size - l->tail_bytes, true, 0,
		};
	return n;
}

/* How a list is mapped: consecutive whole granules as one, others one by one. */
static inline bool seg_whole(u64 g, u64 phys, const struct edu_seg *seg)
{
	return seg->size && !((phys + seg->offset) % g) && !(seg->size % g);
}

/* From @i on, the end of what is mapped as one, or else one by one. */
static inline u32 run_end(u64 g, u64 copybreak, u64 phys, const struct edu_seg *segs,
			  u32 n, u32 i, u64 boundary, bool *as_one)
{
	u64 total = 0;
	u32 end;

	/* No range is larger than what may lie within a boundary. */
	for (end = i; end < n && seg_whole(g, phys, &segs[end]); end++) {
		if (total + segs[end].size > boundary + 1)
			break;
		total += segs[end].size;
	}
	*as_one = end > i && total > copybreak;
	return end > i ? end : i + 1;
}

/*
 * Is a list mapped as it should be? Fills in its pieces, at most three for each
 * entry. @boundary is the mask of the device's segments, @max their largest size.
 */
static inline bool sg_placed(struct behind *b, u64 copybreak, u64 phys,
			     const struct edu_seg *segs, u32 n, u32 mapped, u32 dir,
			     u64 attrs, u64 max, u64 boundary, struct piece *pieces,
			     u32 *npieces)
{
	const u64 at_once = can_map(b, dir, attrs) ? copybreak : ~0ull;
	u64 len = 0, at = 0;
	u32 i, d, k, end = 0;
	struct layout l;
	bool as_one = false;

	*npieces = 0;
	for (i = 0, d = 0, k = 0; i < n; i++) {
		const struct edu_seg *seg = &segs[i];

		if (i == end) {
			k = i;
			end = run_end(b->g, at_once, phys, segs, n, i, boundary, &as_one);
		}
		/* As __finalise_sg() of dma-iommu merges them. */
		if (as_one && i > k && at & boundary && len + seg->size <= max) {
			len += seg->size;
		} else {
			if (i && segs[d++].dma_size != len)
				return wrong("segment %u has %llu bytes, not %llu", d - 1,
					     (unsigned long long)segs[d - 1].dma_size,
					     (unsigned long long)len);
			if (d == mapped)
				return wrong("only %u segments", mapped);
			if (as_one && i > k && segs[d].addr != at)
				return wrong("segment %u is at %#llx, not %#llx", d,
					     (unsigned long long)segs[d].addr,
					     (unsigned long long)at);
			at = segs[d].addr;
			len = seg->size;
		}
		l = layout_at(b, as_one ? 0 : copybreak, at, phys + seg->offset, seg->size,
			      dir, attrs);
		if (!placed(b, &l, at, phys + seg->offset, seg->size))
			return wrong("entry %u of %u, segment %u", i, n, d);
		*npieces += pieces_of(b->g, &l, seg->offset, seg->size, at, pieces + *npieces);
		at += seg->size;
	}
	if (segs[d].dma_size != len)
		return wrong("segment %u has %llu bytes, not %llu", d,
			     (unsigned long long)segs[d].dma_size, (unsigned long long)len);
	d++;
	for (k = 0; k < mapped; k++)
		if ((segs[k].addr ^ (segs[k].addr + segs[k].dma_size - 1)) & ~boundary)
			return wrong("segment %u crosses the boundary: %#llx, %#llx bytes", k,
				     (unsigned long long)segs[k].addr,
				     (unsigned long long)segs[k].dma_size);
	return d == mapped || wrong("%u segments, not %u", mapped, d);
}

/* Does nothing of that range lead anywhere? */
static inline bool unreachable(struct behind *b, u64 addr, u64 size)
{
	u64 start = addr & -b->g, end = (addr + size + b->g - 1) & -b->g;
	struct walk w = walk(b, start, end - start);
	u32 n = w.n;

	if (n)
		wrong("%#llx still leads to %#llx", w.extents[0].addr, w.extents[0].phys);
	free(w.extents);
	return !n;
}

/* Of many similar cases, one in so many: EDU_QUICK=y is for slow kernels. */
static inline u32 stride(void)
{
	return getenv("EDU_QUICK") ? 7 : 1;
}

/* The kernel's log from here on. */
static inline int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * Did an IOMMU report an access that it stopped? Waits for up to @ms, or longer on
 * a slow machine, since the report comes by an interrupt.
 */
static inline bool faulted(int log, int ms)
{
	char line[1024];
	bool seen = false;

	ms *= slow();
	for (;;) {
		ssize_t n = read(log, line, sizeof(line) - 1);

		if (n > 0) {
			line[n] = '\0';
			/* virtio-iommu; SMMUv3: F_TRANSLATION, F_PERMISSION */
			if (strstr(line, " fault from EP ") ||
			    strstr(line, "event 0x10 received") ||
			    strstr(line, "event 0x13 received"))
				seen = true;
			continue;
		}
		if (n < 0 && errno == EPIPE)
			continue;
		if (seen || ms <= 0)
			return seen;
		usleep(10000);
		ms -= 10;
	}
}

/* A generator of its own: the same numbers everywhere. */
struct rng {
	u64 s;
};

static inline u64 rnd(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s >> 11;
}

static inline u64 below(struct rng *r, u64 n)
{
	return rnd(r) % n;
}

/* Random bytes, quickly. */
static inline void scribble(struct rng *r, u8 *buf, size_t size)
{
	u64 word = rnd(r) | 1, step = rnd(r) | 1;

	for (; size >= 8; size -= 8, buf += 8) {
		memcpy(buf, &word, 8);
		word += step;
	}
	memcpy(buf, &word, size);
}

#endif /* _DMA_WINDOW_SELFTEST_IOMMU_LOOK_H */
