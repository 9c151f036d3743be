/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Commands of /dev/dma-window-edu: the DMA API, call by call, for a device that
 * the caller chooses, and the DMA engine of this device.
 *
 * An open file has objects, each with an id: buffers (memory of the kernel's),
 * coherent memory, mappings, mapped scatterlists. mmap() of an object with
 * memory is at offset EDU_MMAP(id). Sizes and offsets are bytes, addresses bus
 * addresses. Directions and attributes are those of the DMA API.
 */
#ifndef _DMA_WINDOW_EDU_UAPI_H
#define _DMA_WINDOW_EDU_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define EDU_DEVICE	"/dev/dma-window-edu"
#define EDU_MMAP(id)	((__u64)(id) << 24)

/* enum dma_data_direction and DMA_ATTR_*, which user space does not have */
#define EDU_BIDIRECTIONAL	0
#define EDU_TO_DEVICE		1
#define EDU_FROM_DEVICE		2
#define EDU_SKIP_CPU_SYNC	0x20
#define EDU_NO_WARN		0x100
#define EDU_WINDOW_NO_FILL	0x40000000

/* Call with interrupts disabled, as under a spinlock that handlers take, too. */
#define EDU_ATOMIC		0x1

/* Forget the object without undoing it, as a driver with a bug. */
#define EDU_LEAK		0x1

/**
 * struct edu_select - choose the device that later calls are for
 * @name: of the PCI device; any edu device, whether or not it has a driver
 */
struct edu_select {
	char	name[32];
};

/**
 * struct edu_info - what the DMA API says about the device
 * @mask: its DMA mask
 * @coherent_mask: its mask for coherent memory
 * @required_mask: dma_get_required_mask()
 * @max_mapping: dma_max_mapping_size()
 * @bound: it has its driver, and so an engine
 * @own_memory: it has coherent memory of its own (dev->dma_mem)
 */
struct edu_info {
	__u64	mask;
	__u64	coherent_mask;
	__u64	required_mask;
	__u64	max_mapping;
	__u32	bound;
	__u32	own_memory;
};

/* Limits that EDU_LIMIT sets; EDU_FORCE_* go behind the DMA API's back. */
enum edu_limit_what {
	EDU_MASK,
	EDU_COHERENT_MASK,
	EDU_FORCE_MASK,
	EDU_FORCE_COHERENT_MASK,
	EDU_MIN_ALIGN_MASK,
	EDU_SEG_BOUNDARY,
	EDU_RESERVED_MEMORY,	/* of_reserved_mem_device_init(), value 0: undo */
	EDU_MAX_SEG_SIZE,
};

/**
 * struct edu_limit - set one of the device's limits
 * @what: enum edu_limit_what
 * @unused: 0
 * @value: the new value
 */
struct edu_limit {
	__u32	what;
	__u32	unused;
	__u64	value;
};

enum edu_kind {
	EDU_BUFFER,		/* pages, physically contiguous */
	EDU_COHERENT,		/* dma_alloc_attrs() */
	EDU_PAGES,		/* dma_alloc_pages() */
};

/**
 * struct edu_new - make memory
 * @kind: enum edu_kind
 * @flags: EDU_ATOMIC
 * @size: bytes
 * @attrs: EDU_NO_WARN
 * @dir: direction, for EDU_PAGES
 * @id: out: the object
 * @addr: out: bus address, but of an EDU_BUFFER the physical one
 */
struct edu_new {
	__u32	kind;
	__u32	flags;
	__u64	size;
	__u64	attrs;
	__u32	dir;
	__u32	id;
	__u64	addr;
};

/**
 * struct edu_map - map a part of a buffer
 * @buffer: the buffer's id
 * @dir: direction
 * @offset: of the part
 * @size: of the part
 * @attrs: EDU_SKIP_CPU_SYNC, EDU_NO_WARN
 * @flags: EDU_ATOMIC
 * @id: out: the object
 * @addr: out: bus address
 */
struct edu_map {
	__u32	buffer;
	__u32	dir;
	__u64	offset;
	__u64	size;
	__u64	attrs;
	__u32	flags;
	__u32	id;
	__u64	addr;
};

/**
 * struct edu_seg - an entry of a scatterlist
 * @buffer: the buffer's id
 * @size: of the part
 * @offset: of the part
 * @addr: out: bus address
 * @dma_size: out: what sg_dma_len() says
 */
struct edu_seg {
	__u32	buffer;
	__u32	size;
	__u64	offset;
	__u64	addr;
	__u64	dma_size;
};

/**
 * struct edu_map_sg - map a scatterlist
 * @segs: address of the struct edu_seg
 * @nents: how many
 * @dir: direction
 * @attrs: EDU_SKIP_CPU_SYNC, EDU_NO_WARN
 * @id: out: the object
 * @mapped: out: how many are mapped
 */
struct edu_map_sg {
	__u64	segs;
	__u32	nents;
	__u32	dir;
	__u64	attrs;
	__u32	id;
	__u32	mapped;
};

/**
 * struct edu_sync - sync a part of a mapping, or a whole scatterlist
 * @id: the mapping
 * @dir: direction
 * @offset: of the part
 * @size: of the part
 * @for_cpu: for the CPU, else for the device
 * @unused: 0
 */
struct edu_sync {
	__u32	id;
	__u32	dir;
	__u64	offset;
	__u64	size;
	__u32	for_cpu;
	__u32	unused;
};

/**
 * struct edu_end - unmap or free an object
 * @id: the object
 * @flags: EDU_LEAK
 * @attrs: EDU_SKIP_CPU_SYNC
 */
struct edu_end {
	__u32	id;
	__u32	flags;
	__u64	attrs;
};

enum edu_raw_op {
	EDU_RAW_MAP,
	EDU_RAW_UNMAP,
	EDU_RAW_SYNC_FOR_CPU,
	EDU_RAW_SYNC_FOR_DEVICE,
	EDU_RAW_FREE,
	EDU_RAW_SGTABLE,
};

/**
 * struct edu_raw - call the device's operation with anything
 * @op: enum edu_raw_op
 * @dir: direction
 * @addr: bus address; out for EDU_RAW_MAP
 * @size: bytes
 * @id: whose memory to pass: a buffer to map, coherent memory to free
 * @unused: 0
 *
 * The operation itself, without the DMA API around it, which would complain
 * about what it knows to be wrong (CONFIG_DMA_API_DEBUG) before it is tried.
 */
struct edu_raw {
	__u32	op;
	__u32	dir;
	__u64	addr;
	__u64	size;
	__u32	id;
	__u32	unused;
};

/**
 * struct edu_dma - let the device, or the host, read or write memory
 * @addr: bus address
 * @size: bytes
 * @data: address of the bytes in the caller's memory
 * @write: write them to @addr, else read them
 * @unused: 0
 */
struct edu_dma {
	__u64	addr;
	__u64	size;
	__u64	data;
	__u32	write;
	__u32	unused;
};

enum edu_domain {
	EDU_DOMAIN_NONE,	/* no IOMMU before the device */
	EDU_DOMAIN_STRICT,	/* of the DMA API, with invalidation at unmap */
	EDU_DOMAIN_LAZY,	/* of the DMA API, with invalidation later */
	EDU_DOMAIN_OTHER,
};

/**
 * struct edu_iommu - what is between the device and memory
 * @domain: enum edu_domain
 * @group: number of its IOMMU group
 * @granule: bytes, the smallest that the IOMMU can map
 */
struct edu_iommu {
	__u32	domain;
	__u32	group;
	__u64	granule;
};

/**
 * struct edu_extent - memory in reach of the device, in one piece
 * @addr: bus address
 * @phys: physical address
 * @size: bytes
 */
struct edu_extent {
	__u64	addr;
	__u64	phys;
	__u64	size;
};

/**
 * struct edu_walk - look up every granule of a range in the device's page tables
 * @start: bus address, of a granule
 * @size: bytes, whole granules
 * @extents: address of the struct edu_extent
 * @max: how many there is room for
 * @count: out: how many there are; granules that continue each other on both
 *	sides are one
 */
struct edu_walk {
	__u64	start;
	__u64	size;
	__u64	extents;
	__u32	max;
	__u32	count;
};

enum edu_attach_how {
	EDU_ATTACH_DEVICE,	/* iommu_attach_device(), as vhost-vdpa does */
	EDU_ATTACH_GROUP,	/* iommu_attach_group() */
	EDU_ATTACH_PASID,	/* iommu_attach_device_pasid(), as for SVA, or SVA itself */
	EDU_ATTACH_OWNER,	/* iommu_device_claim_dma_owner(), as VFIO does */
};

/**
 * struct edu_attach - attach a new IOMMU domain beside the DMA API, and detach it
 * @how: enum edu_attach_how
 * @unused: 0
 */
struct edu_attach {
	__u32	how;
	__u32	unused;
};

#define EDU_SELECT	_IOW('e', 0, struct edu_select)
#define EDU_INFO	_IOR('e', 1, struct edu_info)
#define EDU_LIMIT	_IOW('e', 2, struct edu_limit)
#define EDU_NEW		_IOWR('e', 3, struct edu_new)
#define EDU_MAP		_IOWR('e', 4, struct edu_map)
#define EDU_MAP_SG	_IOWR('e', 5, struct edu_map_sg)
#define EDU_SYNC	_IOW('e', 6, struct edu_sync)
#define EDU_END		_IOW('e', 7, struct edu_end)
#define EDU_RAW		_IOWR('e', 8, struct edu_raw)
/* By the device's own engine: 100 ms for each 4 KiB and direction. */
#define EDU_DMA		_IOWR('e', 9, struct edu_dma)
/* Access by the CPU, through the linear map: as a host that emulates the device. */
#define EDU_PEEK	_IOWR('e', 10, struct edu_dma)
/* dma_map_resource() of the device's registers. */
#define EDU_RESOURCE	_IO('e', 11)
#define EDU_IOMMU	_IOR('e', 12, struct edu_iommu)
#define EDU_WALK	_IOWR('e', 13, struct edu_walk)
#define EDU_ATTACH	_IOW('e', 14, struct edu_attach)

#endif /* _DMA_WINDOW_EDU_UAPI_H */
