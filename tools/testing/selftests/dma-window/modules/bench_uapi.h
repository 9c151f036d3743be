/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Commands of /dev/dma-window-bench: measure calls of the DMA API for a
 * device that is bound to the driver "dma-window-bench". Each call names its
 * device; one is served at a time. Times are nanoseconds, sizes bytes.
 */
#ifndef _DMA_WINDOW_BENCH_UAPI_H
#define _DMA_WINDOW_BENCH_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BENCH_DEVICE	"/dev/dma-window-bench"

/* enum dma_data_direction, which user space does not have */
#define BENCH_BIDIRECTIONAL	0
#define BENCH_TO_DEVICE		1
#define BENCH_FROM_DEVICE	2

enum bench_op {
	BENCH_EMPTY,	/* the loop around the other operations */
	BENCH_MEMCPY,	/* a copy of this size alone */
	BENCH_MEMSET,
	BENCH_PAIR,	/* map a page range, unmap it */
	BENCH_BATCH,	/* map @depth of them, then unmap them in that order */
	BENCH_SYNC,	/* for the CPU, then for the device, of one mapping */
	BENCH_SG,	/* map and unmap a scatterlist of @depth entries */
	BENCH_COHERENT,	/* allocate @depth times, then free them in that order */
	BENCH_OPS
};

/* Interrupts off while the clock runs; not for BENCH_COHERENT. */
#define BENCH_IRQS_OFF		0x1
/* Count the locks that are taken; the times mean nothing then. */
#define BENCH_COUNT_LOCKS	0x2

/**
 * struct bench_run - do an operation often, measure how long it takes
 * @name: of the device
 * @op: enum bench_op
 * @dir: direction
 * @flags: BENCH_IRQS_OFF, BENCH_COUNT_LOCKS
 * @threads: how many, each on a CPU of its own
 * @depth: see enum bench_op
 * @chunk: operations between two looks at the clock
 * @size: of each buffer
 * @offset: of each buffer in its page
 * @stride: from one buffer of a scatterlist to the next, whole pages; 0 if all
 *	entries are the same buffer
 * @loops: operations of each thread, at least; rounded up to chunks
 * @limit: stop earlier after this time
 * @done: out: operations of all threads
 * @first: out: time in all threads of the whole operation, or of its first
 *	half if there are two: map of a batch, sync for the CPU, allocation
 * @second: out: time of the second half
 * @rate: out: operations per second, the sum over the threads
 * @locks: out: locks taken, by all threads
 * @shared: out: those of them that more than one thread took
 */
struct bench_run {
	char	name[32];
	__u32	op;
	__u32	dir;
	__u32	flags;
	__u32	threads;
	__u32	depth;
	__u32	chunk;
	__u64	size;
	__u64	offset;
	__u64	stride;
	__u64	loops;
	__u64	limit;
	__u64	done;
	__u64	first;
	__u64	second;
	__u64	rate;
	__u64	locks;
	__u64	shared;
};

/**
 * struct bench_fill - occupy a device's DMA memory
 * @name: of the device
 * @unit: size of the mappings, or 0: a mix of 2 KiB to 64 KiB
 * @permille: how much of what can be mapped is to stay mapped
 * @random: of what is unmapped again: a random choice, else the last
 * @unused: 0
 * @limit: map no more than this
 * @filled: out: bytes that were mapped
 * @left: out: bytes of them that are mapped now
 *
 * Replaces what an earlier call left. Everything is mapped that can be, in
 * mappings of this size; then some of it is unmapped.
 */
struct bench_fill {
	char	name[32];
	__u32	unit;
	__u32	permille;
	__u32	random;
	__u32	unused;
	__u64	limit;
	__u64	filled;
	__u64	left;
};

/**
 * struct bench_largest - find the largest size that works
 * @name: of the device
 * @coherent: of a coherent allocation, else of a streaming mapping
 * @offset: of the mapping in its first page; 0 if @coherent
 * @limit: try no more than this
 * @size: out: the largest, in whole pages
 */
struct bench_largest {
	char	name[32];
	__u32	coherent;
	__u32	offset;
	__u64	limit;
	__u64	size;
};

#define BENCH_RUN	_IOWR('b', 0, struct bench_run)
#define BENCH_FILL	_IOWR('b', 1, struct bench_fill)
#define BENCH_LARGEST	_IOWR('b', 2, struct bench_largest)

#endif /* _DMA_WINDOW_BENCH_UAPI_H */
