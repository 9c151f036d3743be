/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the tests that make the calls of the DMA API from user space, with
 * the module dma_window_edu and QEMU's edu device. From the environment:
 *
 *	EDU, NEIGHBOUR, REFUSED	PCI names: of a device with a window, of one
 *				that shares it, and of one whose region is bad
 *	WINDOW			the region's name
 *	PLAIN			if set, a device that names no region
 *	EDU_ENGINE=y		look with the device's own DMA engine, wherever a
 *				look is of no more than ENGINE_MAX bytes; else as
 *				the host would that emulates the device: by CPU
 */
#ifndef _DMA_WINDOW_SELFTEST_EDU_H
#define _DMA_WINDOW_SELFTEST_EDU_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "modules/edu_uapi.h"

/* Seconds for one test, as a last resort: whoever runs it sees what hangs. */
#define LIMIT		3600
#define ENGINE_MAX	8192
/* The most that the module has the engine move at a time. */
#define ENGINE_TRANSFER	2048
#define SLOT		2048ull
#define KIB		1024ull
#define MIB		(1024 * KIB)

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

/* A window and a device of it, as one open file. */
struct edu {
	int	fd;
	u64	base, size;
	bool	engine;
	/* Behind a virtio-iommu, its granule; else 0. See engine_access(). */
	u64	granule;
};

/* Memory: a buffer of the kernel's, or coherent; @mem is the caller's view. */
struct mem {
	u32	id;
	u64	addr;
	size_t	size;
	u8	*mem;
};

struct map {
	u32	id;
	u64	addr;
};

static inline const char *setting(const char *name)
{
	const char *value = getenv(name);

	if (!value) {
		fprintf(stderr, "%s is not set\n", name);
		exit(1);
	}
	return value;
}

/* How many times slower than usual the machine and its kernel are. */
static inline unsigned int slow(void)
{
	const char *text = getenv("SLOW");
	int n = text ? atoi(text) : 1;

	return n > 1 ? n : 1;
}

/* A file of the window in debugfs, a number. */
static inline u64 counter(const char *file)
{
	char path[256], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/swiotlb/%s/%s",
		 setting("WINDOW"), file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	close(fd);
	return strtoull(text, NULL, 0);
}

static inline int edu_select(struct edu *e, const char *name)
{
	struct edu_select arg = {};

	snprintf(arg.name, sizeof(arg.name), "%s", name);
	return ioctl(e->fd, EDU_SELECT, &arg) ? -errno : 0;
}

static inline struct edu_iommu edu_iommu(struct edu *e)
{
	struct edu_iommu arg = {};

	if (ioctl(e->fd, EDU_IOMMU, &arg)) {
		perror("EDU_IOMMU");
		exit(1);
	}
	return arg;
}

/* Is the device behind a virtio-iommu? The IOMMU's own device has the answer. */
static inline bool behind_virtio_iommu(const char *name)
{
	char path[128], target[512];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu", name);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return strstr(target, "/virtio");
}

static inline void edu_open(struct edu *e)
{
	e->fd = open(EDU_DEVICE, O_RDWR | O_CLOEXEC);
	if (e->fd < 0 || edu_select(e, setting("EDU"))) {
		fprintf(stderr, "%s, %s: %s\n", EDU_DEVICE, setting("EDU"),
			strerror(errno));
		exit(1);
	}
	e->base = counter("base");
	e->size = counter("size");
	e->engine = getenv("EDU_ENGINE");
	e->granule = behind_virtio_iommu(setting("EDU")) ? edu_iommu(e).granule : 0;
}

static inline struct edu_info edu_info(struct edu *e)
{
	struct edu_info arg = {};

	if (ioctl(e->fd, EDU_INFO, &arg)) {
		perror("EDU_INFO");
		exit(1);
	}
	return arg;
}

static inline int edu_limit(struct edu *e, u32 what, u64 value)
{
	struct edu_limit arg = { .what = what, .value = value };

	return ioctl(e->fd, EDU_LIMIT, &arg) ? -errno : 0;
}

/* The kernel's page, and @size in whole ones. */
static inline u64 page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline size_t whole_pages(size_t size)
{
	return (size + page_size() - 1) & -page_size();
}

/* Is all of it in the window? */
static inline bool inside(struct edu *e, u64 addr, u64 size)
{
	return addr >= e->base && size <= e->size &&
	       addr - e->base <= e->size - size;
}

static inline int mem_new(struct edu *e, struct mem *m, u32 kind, size_t size,
			  u32 flags, u64 attrs)
{
	struct edu_new arg = {
		.kind = kind, .flags = flags, .size = size, .attrs = attrs,
	};

	*m = (struct mem){ .size = size };
	if (ioctl(e->fd, EDU_NEW, &arg))
		return -errno;
	m->id = arg.id;
	m->addr = arg.addr;
	m->mem = mmap(NULL, whole_pages(size), PROT_READ | PROT_WRITE,
		      MAP_SHARED, e->fd, EDU_MMAP(arg.id));
	return m->mem == MAP_FAILED ? -errno : 0;
}

static inline int edu_end(struct edu *e, u32 id, u64 attrs)
{
	struct edu_end arg = { .id = id, .attrs = attrs };

	return ioctl(e->fd, EDU_END, &arg) ? -errno : 0;
}

static inline int mem_free(struct edu *e, struct mem *m)
{
	munmap(m->mem, whole_pages(m->size));
	return edu_end(e, m->id, 0);
}

static inline int map(struct edu *e, struct map *p, struct mem *m, u64 offset,
		      u64 size, u32 dir, u64 attrs)
{
	struct edu_map arg = {
		.buffer = m->id, .dir = dir, .offset = offset, .size = size,
		.attrs = attrs,
	};

	*p = (struct map){};
	if (ioctl(e->fd, EDU_MAP, &arg))
		return -errno;
	p->id = arg.id;
	p->addr = arg.addr;
	return 0;
}

static inline int unmap(struct edu *e, struct map *p, u64 attrs)
{
	return edu_end(e, p->id, attrs);
}

static inline int sync_range(struct edu *e, struct map *p, u64 offset,
			     u64 size, u32 dir, bool for_cpu)
{
	struct edu_sync arg = {
		.id = p->id, .dir = dir, .offset = offset, .size = size,
		.for_cpu = for_cpu,
	};

	return ioctl(e->fd, EDU_SYNC, &arg) ? -errno : 0;
}

static inline int raw(struct edu *e, u32 op, u64 addr, u64 size, u32 id)
{
	struct edu_raw arg = {
		.op = op, .dir = EDU_BIDIRECTIONAL, .addr = addr, .size = size,
		.id = id,
	};

	return ioctl(e->fd, EDU_RAW, &arg) ? -errno : 0;
}

static inline int access_once(struct edu *e, unsigned long how, u64 addr,
			      void *data, u64 size, bool write)
{
	struct edu_dma arg = {
		.addr = addr, .size = size, .data = (uintptr_t)data,
		.write = write,
	};

	return ioctl(e->fd, how, &arg) ? -errno : 0;
}

/* Is a byte the last one of a granule, where the engine must not begin? */
static inline bool engine_avoids(struct edu *e, u64 addr)
{
	return e->granule && addr % e->granule == e->granule - 1;
}

/*
 * Read or write by the device's engine, in transfers none of which begins at the
 * last byte of a granule behind a virtio-iommu. QEMU 7.2 looks up [addr, addr + 1]
 * there where addr is meant, so the mapping that begins behind that byte may
 * translate it: the engine would read, or write, one byte of foreign memory.
 * QEMU translates the first byte of a transfer and the first byte of each further
 * granule, so only the beginning of a transfer can be such a byte.
 *
 * A read begins one byte earlier, in the same granule. A write would change the
 * byte before, so none may begin there: the test has to choose another case, see
 * engine_avoids().
 */
static inline int engine_access(struct edu *e, u64 addr, u8 *data, u64 size, bool write)
{
	u64 step;
	u8 two[2];
	int ret;

	if (size && engine_avoids(e, addr)) {
		if (write) {
			fprintf(stderr, "# the engine cannot write from %#llx on\n",
				(unsigned long long)addr);
			return -EINVAL;
		}
		ret = access_once(e, EDU_DMA, addr - 1, two, 2, false);
		if (ret)
			return ret;
		*data++ = two[1];
		addr++;
		size--;
	}
	for (; size; addr += step, data += step, size -= step) {
		/* Split as the module would, so that no transfer in it begins there. */
		step = size;
		if (e->granule && step > ENGINE_TRANSFER) {
			step = ENGINE_TRANSFER;
			if (engine_avoids(e, addr + step))
				step--;
		}
		ret = access_once(e, EDU_DMA, addr, data, step, write);
		if (ret)
			return ret;
	}
	return 0;
}

/* All accesses to bus addresses, @how: EDU_DMA or EDU_PEEK. */
static inline int access_bus(struct edu *e, unsigned long how, u64 addr,
			     void *data, u64 size, bool write)
{
	if (!size)
		return 0;
	return how == EDU_DMA ? engine_access(e, addr, data, size, write) :
	       access_once(e, how, addr, data, size, write);
}

/* Read, and below write, at @addr as the device does. */
static inline int see(struct edu *e, u64 addr, void *data, u64 size)
{
	return access_bus(e, e->engine && size <= ENGINE_MAX ? EDU_DMA :
			  EDU_PEEK, addr, data, size, false);
}

static inline int put(struct edu *e, u64 addr, const void *data, u64 size)
{
	return access_bus(e, e->engine && size <= ENGINE_MAX ? EDU_DMA :
			  EDU_PEEK, addr, (void *)data, size, true);
}

/* Content that says where it is from: the seed, and the place. */
static inline u8 pattern(u32 seed, size_t i)
{
	return (i * 31) ^ (i >> 8) ^ (i >> 16) * 7 ^ seed * 13;
}

static inline void fill(u8 *buf, size_t size, u32 seed)
{
	size_t i;

	for (i = 0; i < size; i++)
		buf[i] = pattern(seed, i);
}

static inline bool has(const u8 *buf, size_t from, size_t size, u32 seed)
{
	size_t i;

	for (i = from; i < from + size; i++)
		if (buf[i] != pattern(seed, i))
			return false;
	return true;
}

static inline bool is_zero(const u8 *buf, size_t size)
{
	return !size || (!buf[0] && !memcmp(buf, buf + 1, size - 1));
}

/* How many lines of the kernel's log have both texts. */
static inline int log_lines(const char *a, const char *b)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), n = 0;
	char line[2048];
	ssize_t got;

	while ((got = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (got <= 0) {
			errno = 0;
			continue;
		}
		line[got] = '\0';
		n += strstr(line, a) && strstr(line, b);
	}
	close(fd);
	return n;
}

static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

#define DRIVER "/sys/bus/pci/drivers/dma-window-edu/"

static inline int unbind(const char *device)
{
	return write_text(DRIVER "unbind", device);
}

static inline int bind_again(const char *device)
{
	return write_text(DRIVER "bind", device);
}

/* Forget an object without undoing it, as a driver with a bug. */
static inline int leak(struct edu *e, u32 id)
{
	struct edu_end arg = { .id = id, .flags = EDU_LEAK };

	return ioctl(e->fd, EDU_END, &arg) ? -errno : 0;
}

/* A kernel that would report what tests of a forgetful driver do. */
#define DMA_DEBUG "CONFIG_DMA_API_DEBUG reports what this does"

static inline bool dma_debug(void)
{
	return !access("/sys/kernel/debug/dma-api", F_OK);
}

/* The line that says how many mappings a driver has left. */
static inline int left_lines(const char *device, u32 n)
{
	char text[64];

	snprintf(text, sizeof(text), "left %u mappings in ", n);
	return log_lines(device, text);
}

#endif /* _DMA_WINDOW_SELFTEST_EDU_H */
