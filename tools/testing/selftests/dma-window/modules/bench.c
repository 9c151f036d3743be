// SPDX-License-Identifier: GPL-2.0-only
/*
 * A benchmark of the DMA API, for whatever path a device's DMA takes: it binds
 * to any PCI or platform device by driver_override, never touches the device
 * itself, and makes the calls that user space asks for. bench_uapi.h is the
 * interface.
 *
 * With QEMU's -icount shift=0 a nanosecond is an instruction, so the times are
 * counts that do not depend on the host.
 *
 * buffer= names a node of /reserved-memory to map from. Without it, the page
 * allocator's largest block has to do. untrusted= names PCI devices.
 */

#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "bench_uapi.h"

#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER		(MAX_ORDER - 1)
#endif
#define BENCH_NAME		"dma-window-bench"
#define BENCH_MAX_DEPTH		1024
#define BENCH_MAX_CHUNK		4096
#define BENCH_MAX_TIME		(60 * NSEC_PER_SEC)
#define BENCH_MAX_FILL		SZ_1G
#define BENCH_MAX_THREADS	64
/* The smallest unit of a fill, and what the mix is made of: a power of two. */
#define BENCH_MIN_UNIT		SZ_2K
#define BENCH_MIX		6

static char *buffer_path;
module_param_named(buffer, buffer_path, charp, 0444);
MODULE_PARM_DESC(buffer, "node of /reserved-memory to map from");

/*
 * Mappings of an untrusted device are bounced behind an IOMMU. Firmware can call
 * devices behind a port untrusted, but in v6.12 for x86 with ACPI only.
 */
static char *untrusted[8];
static int nuntrusted;
module_param_array(untrusted, charp, &nuntrusted, 0444);
MODULE_PARM_DESC(untrusted, "PCI devices that are to be untrusted from now on");

/**
 * struct held - a mapping that occupies space
 * @addr: its bus address
 * @size: its size
 */
struct held {
	dma_addr_t	addr;
	size_t		size;
};

/**
 * struct bench - a bound device
 * @list: in bench_list
 * @dev: the device
 * @held: what occupies its DMA memory
 * @nheld: how many
 */
struct bench {
	struct list_head	list;
	struct device		*dev;
	struct held		*held;
	unsigned int		nheld;
};

/**
 * struct lock_count - how often a worker took a lock
 * @lock: its address, NULL if the entry is free
 * @count: how often
 */
struct lock_count {
	void	*lock;
	u64	count;
};

#define LOCKS	64

/**
 * struct worker - one thread of a run
 * @work: on its CPU
 * @dev: the device
 * @run: what to do
 * @ready: how many workers of the run have come to the start
 * @task: who does it
 * @src: first page of its buffer
 * @dst: where BENCH_MEMCPY copies to
 * @sgl: list for BENCH_SG
 * @addrs: bus addresses, as many as the run's depth
 * @vaddrs: as @addrs, for BENCH_COHERENT
 * @done: operations done
 * @first: time of the first half
 * @second: time of the second half
 * @ret: 0 or an error
 * @locks: see BENCH_COUNT_LOCKS
 * @locks_missed: there was no room in @locks
 */
struct worker {
	struct work_struct	work;
	struct device		*dev;
	const struct bench_run	*run;
	atomic_t		*ready;
	struct task_struct	*task;
	struct page		*src;
	void			*dst;
	struct scatterlist	*sgl;
	dma_addr_t		*addrs;
	void			**vaddrs;
	u64			done;
	u64			first;
	u64			second;
	int			ret;
	struct lock_count	locks[LOCKS];
	u64			locks_missed;
};

/* One call at a time; devices come and go between calls. */
static DEFINE_MUTEX(bench_mutex);
static LIST_HEAD(bench_list);
static struct workqueue_struct *bench_wq;

static struct page *buffer;
static size_t buffer_size;
static bool buffer_reserved;

static enum dma_data_direction run_dir(const struct worker *w)
{
	return w->run->dir;
}

static int empty(struct worker *w, unsigned int n)
{
	u64 start = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < n; i++)
		barrier();
	w->first += ktime_get_ns() - start;
	w->done += n;
	return 0;
}

static int copy(struct worker *w, unsigned int n)
{
	void *src = page_address(w->src);
	u64 start = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < n; i++) {
		memcpy(w->dst, src, w->run->size);
		barrier();
	}
	w->first += ktime_get_ns() - start;
	w->done += n;
	return 0;
}

static int clear(struct worker *w, unsigned int n)
{
	u64 start = ktime_get_ns();
	unsigned int i;

	for (i = 0; i < n; i++) {
		memset(w->dst, 0, w->run->size);
		barrier();
	}
	w->first += ktime_get_ns() - start;
	w->done += n;
	return 0;
}

static int pair(struct worker *w, unsigned int n)
{
	enum dma_data_direction dir = run_dir(w);
	size_t size = w->run->size, offset = w->run->offset;
	u64 start = ktime_get_ns();
	dma_addr_t addr;
	unsigned int i;

	for (i = 0; i < n; i++) {
		addr = dma_map_page_attrs(w->dev, w->src, offset, size, dir,
					  DMA_ATTR_NO_WARN);
		if (dma_mapping_error(w->dev, addr))
			return -ENOSPC;
		dma_unmap_page_attrs(w->dev, addr, size, dir, 0);
	}
	w->first += ktime_get_ns() - start;
	w->done += n;
	return 0;
}

/* In each of these, n is a number of batches. */
static int batch(struct worker *w, unsigned int n)
{
	unsigned int depth = w->run->depth, i, mapped;
	enum dma_data_direction dir = run_dir(w);
	size_t size = w->run->size, offset = w->run->offset;
	u64 start, middle;

	while (n--) {
		start = ktime_get_ns();
		for (mapped = 0; mapped < depth; mapped++) {
			w->addrs[mapped] =
				dma_map_page_attrs(w->dev, w->src, offset,
						   size, dir, DMA_ATTR_NO_WARN);
			if (dma_mapping_error(w->dev, w->addrs[mapped]))
				break;
		}
		middle = ktime_get_ns();
		for (i = 0; i < mapped; i++)
			dma_unmap_page_attrs(w->dev, w->addrs[i], size, dir, 0);
		if (mapped < depth)
			return -ENOSPC;
		w->second += ktime_get_ns() - middle;
		w->first += middle - start;
		w->done += depth;
	}
	return 0;
}

static int sync(struct worker *w, unsigned int n)
{
	enum dma_data_direction dir = run_dir(w);
	size_t size = w->run->size, offset = w->run->offset;
	u64 start, middle;
	dma_addr_t addr;
	unsigned int i;

	addr = dma_map_page_attrs(w->dev, w->src, offset, size, dir,
				  DMA_ATTR_NO_WARN);
	if (dma_mapping_error(w->dev, addr))
		return -ENOSPC;
	start = ktime_get_ns();
	for (i = 0; i < n; i++)
		dma_sync_single_for_cpu(w->dev, addr, size, dir);
	middle = ktime_get_ns();
	for (i = 0; i < n; i++)
		dma_sync_single_for_device(w->dev, addr, size, dir);
	w->second += ktime_get_ns() - middle;
	w->first += middle - start;
	w->done += n;
	dma_unmap_page_attrs(w->dev, addr, size, dir, 0);
	return 0;
}

static int scatter(struct worker *w, unsigned int n)
{
	unsigned int depth = w->run->depth, i;
	enum dma_data_direction dir = run_dir(w);
	u64 start = ktime_get_ns();

	for (i = 0; i < n; i++) {
		if (!dma_map_sg_attrs(w->dev, w->sgl, depth, dir,
				      DMA_ATTR_NO_WARN))
			return -ENOSPC;
		dma_unmap_sg_attrs(w->dev, w->sgl, depth, dir, 0);
	}
	w->first += ktime_get_ns() - start;
	w->done += n;
	return 0;
}

static int coherent(struct worker *w, unsigned int n)
{
	unsigned int depth = w->run->depth, i, got;
	size_t size = w->run->size;
	u64 start, middle;

	while (n--) {
		start = ktime_get_ns();
		for (got = 0; got < depth; got++) {
			w->vaddrs[got] =
				dma_alloc_coherent(w->dev, size, &w->addrs[got],
						   GFP_KERNEL | __GFP_NOWARN);
			if (!w->vaddrs[got])
				break;
		}
		middle = ktime_get_ns();
		for (i = 0; i < got; i++)
			dma_free_coherent(w->dev, size, w->vaddrs[i],
					  w->addrs[i]);
		if (got < depth)
			return -ENOSPC;
		w->second += ktime_get_ns() - middle;
		w->first += middle - start;
		w->done += depth;
	}
	return 0;
}

static int (*const ops[BENCH_OPS])(struct worker *w, unsigned int n) = {
	[BENCH_EMPTY]		= empty,
	[BENCH_MEMCPY]		= copy,
	[BENCH_MEMSET]		= clear,
	[BENCH_PAIR]		= pair,
	[BENCH_BATCH]		= batch,
	[BENCH_SYNC]		= sync,
	[BENCH_SG]		= scatter,
	[BENCH_COHERENT]	= coherent,
};

#ifdef CONFIG_KPROBES
/*
 * The functions behind every spinlock, rwlock and mutex, as long as they are
 * not inlined: PREEMPT has them out of line on arm64. Those that the kernel
 * does not have are left out.
 */
static const char *const lock_functions[] = {
	"_raw_spin_lock", "_raw_spin_lock_bh", "_raw_spin_lock_irq",
	"_raw_spin_lock_irqsave", "_raw_spin_trylock", "_raw_spin_trylock_bh",
	"_raw_read_lock", "_raw_read_lock_bh", "_raw_read_lock_irq",
	"_raw_read_lock_irqsave", "_raw_write_lock", "_raw_write_lock_bh",
	"_raw_write_lock_irq", "_raw_write_lock_irqsave", "mutex_lock",
	"mutex_lock_interruptible", "mutex_trylock", "down_read", "down_write",
};

static struct kprobe lock_probes[ARRAY_SIZE(lock_functions)];
static unsigned int lock_nprobes;

/* Workers whose locks are counted; unchanged while a probe is armed. */
static struct worker *counted;
static unsigned int ncounted;

static int lock_taken(struct kprobe *p, struct pt_regs *regs)
{
	void *lock = (void *)regs_get_kernel_argument(regs, 0);
	struct worker *w;
	unsigned int i;

	for (w = counted; w < counted + ncounted; w++)
		if (READ_ONCE(w->task) == current)
			break;
	if (w == counted + ncounted)
		return 0;
	for (i = 0; i < LOCKS; i++) {
		if (!w->locks[i].lock)
			w->locks[i].lock = lock;
		if (w->locks[i].lock == lock) {
			w->locks[i].count++;
			return 0;
		}
	}
	w->locks_missed++;
	return 0;
}

static void locks_stop(void)
{
	while (lock_nprobes)
		unregister_kprobe(&lock_probes[--lock_nprobes]);
}

static int locks_start(struct worker *workers, unsigned int n)
{
	unsigned int i, offset;
	int ret;

	counted = workers;
	ncounted = n;
	for (i = 0; i < ARRAY_SIZE(lock_functions); i++) {
		struct kprobe *p = &lock_probes[lock_nprobes];

		/*
		 * Some lock functions begin with the instruction that turns
		 * interrupts off, which cannot be probed: try the next ones. The
		 * argument is still in its register a few instructions later.
		 */
		for (offset = 0; offset <= 16; offset += 4) {
			*p = (struct kprobe){ .symbol_name = lock_functions[i],
					      .offset = offset,
					      .pre_handler = lock_taken };
			ret = register_kprobe(p);
			if (ret != -EINVAL)
				break;
		}
		if (ret == -ENOENT)
			continue;
		if (ret) {
			locks_stop();
			return ret;
		}
		lock_nprobes++;
	}
	return lock_nprobes ? 0 : -EOPNOTSUPP;
}
#else
static int locks_start(struct worker *workers, unsigned int n)
{
	return -EOPNOTSUPP;
}

static void locks_stop(void)
{
}
#endif

static u64 locks_of(const struct worker *w, const void *lock)
{
	unsigned int i;

	for (i = 0; i < LOCKS && w->locks[i].lock; i++)
		if (w->locks[i].lock == lock)
			return w->locks[i].count;
	return 0;
}

/* A lock is shared if another worker, so another CPU, took it as well. */
static void locks_sum(struct bench_run *run, const struct worker *workers)
{
	unsigned int i, j, k;

	for (i = 0; i < run->threads; i++) {
		const struct worker *w = &workers[i];

		run->locks += w->locks_missed;
		run->shared += w->locks_missed;
		for (j = 0; j < LOCKS && w->locks[j].lock; j++) {
			run->locks += w->locks[j].count;
			for (k = 0; k < run->threads; k++) {
				if (k == i || !locks_of(&workers[k], w->locks[j].lock))
					continue;
				run->shared += w->locks[j].count;
				break;
			}
		}
	}
}

static void work(struct work_struct *work)
{
	struct worker *w = container_of(work, struct worker, work);
	const struct bench_run *run = w->run;
	bool irqs_off = (run->flags & BENCH_IRQS_OFF) &&
			run->op != BENCH_COHERENT;
	unsigned long flags = 0;

	atomic_inc(w->ready);
	while (atomic_read(w->ready) < run->threads)
		cpu_relax();

	while (!w->ret && w->done < run->loops &&
	       w->first + w->second < run->limit) {
		if (irqs_off)
			local_irq_save(flags);
		/* Locks that are taken outside have nothing to do with DMA. */
		WRITE_ONCE(w->task, current);
		w->ret = ops[run->op](w, run->chunk);
		WRITE_ONCE(w->task, NULL);
		if (irqs_off)
			local_irq_restore(flags);
		cond_resched();
	}
}

static struct bench *bench_find(char *name)
{
	struct bench *b;

	name[31] = '\0';
	list_for_each_entry(b, &bench_list, list)
		if (!strcmp(dev_name(b->dev), name))
			return b;
	return NULL;
}

static int worker_init(struct worker *w, struct device *dev,
		       const struct bench_run *run, unsigned int nr)
{
	size_t size = ALIGN(run->offset + run->size, PAGE_SIZE);
	size_t offset = nr * 2 * size;
	struct scatterlist *sg;
	unsigned int i;

	INIT_WORK(&w->work, work);
	w->dev = dev;
	w->run = run;
	/* A part of the buffer per worker, so that no cache line is shared. */
	if (offset + 2 * size > buffer_size) {
		if (run->op == BENCH_MEMCPY || run->op == BENCH_MEMSET)
			return -EINVAL;
		offset = 0;
	}
	w->src = buffer + offset / PAGE_SIZE;
	w->dst = page_address(w->src) + size;
	w->addrs = kcalloc(run->depth, sizeof(*w->addrs), GFP_KERNEL);
	w->vaddrs = kcalloc(run->depth, sizeof(*w->vaddrs), GFP_KERNEL);
	w->sgl = kcalloc(run->depth, sizeof(*w->sgl), GFP_KERNEL);
	if (!w->addrs || !w->vaddrs || !w->sgl)
		return -ENOMEM;
	sg_init_table(w->sgl, run->depth);
	for_each_sg(w->sgl, sg, run->depth, i)
		sg_set_page(sg, w->src + i * (run->stride / PAGE_SIZE),
			    run->size, run->offset);
	return 0;
}

static void worker_exit(struct worker *w)
{
	kfree(w->sgl);
	kfree(w->vaddrs);
	kfree(w->addrs);
}

static long run_workers(struct bench_run *run, struct worker *workers,
			atomic_t *ready)
{
	unsigned int i = 0, cpu;
	long ret = 0;

	/* A work that waits for another at the start must not lose its CPU. */
	cpus_read_lock();
	if (run->threads > num_online_cpus()) {
		cpus_read_unlock();
		return -EINVAL;
	}
	for_each_online_cpu(cpu) {
		if (i == run->threads)
			break;
		workers[i].ready = ready;
		queue_work_on(cpu, bench_wq, &workers[i++].work);
	}
	for (i = 0; i < run->threads; i++)
		flush_work(&workers[i].work);
	cpus_read_unlock();

	for (i = 0; i < run->threads; i++) {
		u64 time = workers[i].first + workers[i].second;

		run->done += workers[i].done;
		run->first += workers[i].first;
		run->second += workers[i].second;
		if (time)
			run->rate += mul_u64_u64_div_u64(workers[i].done,
							 NSEC_PER_SEC, time);
		if (workers[i].ret)
			ret = workers[i].ret;
	}
	return ret;
}

/* All that is mapped is in the buffer; mind the overflow of what a user gives. */
static bool in_buffer(const struct bench_run *run)
{
	u64 last = 0;

	if (run->offset >= PAGE_SIZE || !IS_ALIGNED(run->stride, PAGE_SIZE) ||
	    run->size > buffer_size || run->stride > buffer_size)
		return false;
	if (run->op == BENCH_SG)
		last = (run->depth - 1) * run->stride;
	/* Of another thread than the first, they may begin at a later page. */
	return (!run->stride || run->threads == 1) &&
	       last + run->offset + run->size <= buffer_size;
}

static long bench_run(struct bench *b, struct bench_run *run)
{
	struct worker *workers;
	atomic_t ready = ATOMIC_INIT(0);
	unsigned int i;
	long ret = 0;

	if (run->op >= BENCH_OPS || !valid_dma_direction(run->dir) ||
	    !run->threads || run->threads > BENCH_MAX_THREADS ||
	    !run->depth || run->depth > BENCH_MAX_DEPTH ||
	    !run->chunk || run->chunk > BENCH_MAX_CHUNK ||
	    !run->size || run->limit > BENCH_MAX_TIME ||
	    (run->op == BENCH_COHERENT ? run->size > BENCH_MAX_FILL :
					 !in_buffer(run)))
		return -EINVAL;
	workers = kvcalloc(run->threads, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		return -ENOMEM;
	run->done = 0;
	run->first = 0;
	run->second = 0;
	run->rate = 0;
	run->locks = 0;
	run->shared = 0;
	for (i = 0; i < run->threads && !ret; i++)
		ret = worker_init(&workers[i], b->dev, run, i);
	if (!ret && (run->flags & BENCH_COUNT_LOCKS))
		ret = locks_start(workers, run->threads);
	if (!ret) {
		ret = run_workers(run, workers, &ready);
		if (run->flags & BENCH_COUNT_LOCKS) {
			locks_stop();
			locks_sum(run, workers);
		}
	}
	for (i = 0; i < run->threads; i++)
		worker_exit(&workers[i]);
	kvfree(workers);
	return ret;
}

static void unmap_held(struct bench *b)
{
	struct held *h = &b->held[--b->nheld];

	dma_unmap_page_attrs(b->dev, h->addr, h->size, DMA_TO_DEVICE,
			     DMA_ATTR_SKIP_CPU_SYNC);
}

static void unfill(struct bench *b)
{
	while (b->nheld)
		unmap_held(b);
	kvfree(b->held);
	b->held = NULL;
}

static long bench_fill(struct bench *b, struct bench_fill *arg)
{
	struct rnd_state rnd;
	unsigned int max, i, j;
	size_t size = 0;
	u64 keep;

	if (arg->permille > 1000 || arg->limit > BENCH_MAX_FILL ||
	    (arg->unit && arg->unit < BENCH_MIN_UNIT) ||
	    max(arg->unit, BENCH_MIN_UNIT << (BENCH_MIX - 1)) > buffer_size)
		return -EINVAL;
	unfill(b);
	arg->filled = 0;
	arg->left = 0;
	if (!arg->permille)
		return 0;
	max = arg->limit / BENCH_MIN_UNIT;
	b->held = kvcalloc(max, sizeof(*b->held), GFP_KERNEL);
	if (!b->held)
		return -ENOMEM;

	/* The same sequence each time: the runs are to be comparable. */
	prandom_seed_state(&rnd, 1);
	while (b->nheld < max) {
		struct held *h = &b->held[b->nheld];

		if (!size)
			size = arg->unit ?: BENCH_MIN_UNIT <<
				(prandom_u32_state(&rnd) % BENCH_MIX);
		h->size = size;
		if (arg->filled + size <= arg->limit)
			h->addr = dma_map_page_attrs(b->dev, buffer, 0, size,
						     DMA_TO_DEVICE,
						     DMA_ATTR_SKIP_CPU_SYNC |
						     DMA_ATTR_NO_WARN);
		else
			h->addr = DMA_MAPPING_ERROR;
		if (h->addr == DMA_MAPPING_ERROR) {
			/* No room for this size; of the mix, a smaller may fit. */
			if (arg->unit || size == BENCH_MIN_UNIT)
				break;
			size /= 2;
			continue;
		}
		arg->filled += size;
		b->nheld++;
		size = 0;
		cond_resched();
	}
	if (arg->random) {
		for (i = b->nheld; i > 1; i--) {
			j = prandom_u32_state(&rnd) % i;
			swap(b->held[i - 1], b->held[j]);
		}
	}
	keep = arg->filled * arg->permille / 1000;
	arg->left = arg->filled;
	while (b->nheld && arg->left > keep) {
		arg->left -= b->held[b->nheld - 1].size;
		unmap_held(b);
	}
	return 0;
}

static bool works(struct bench *b, bool coherent, size_t size, size_t offset)
{
	dma_addr_t addr;
	void *vaddr;

	if (coherent) {
		vaddr = dma_alloc_coherent(b->dev, size, &addr,
					   GFP_KERNEL | __GFP_NOWARN);
		if (!vaddr)
			return false;
		dma_free_coherent(b->dev, size, vaddr, addr);
		return true;
	}
	addr = dma_map_page_attrs(b->dev, buffer, offset, size, DMA_TO_DEVICE,
				  DMA_ATTR_NO_WARN);
	if (dma_mapping_error(b->dev, addr))
		return false;
	dma_unmap_page_attrs(b->dev, addr, size, DMA_TO_DEVICE, 0);
	return true;
}

static long bench_largest(struct bench *b, struct bench_largest *arg)
{
	u64 limit = arg->limit, low, high, middle;

	if (arg->offset >= PAGE_SIZE || (arg->coherent && arg->offset))
		return -EINVAL;
	if (!arg->coherent)
		limit = min_t(u64, limit, buffer_size - arg->offset);
	limit = min_t(u64, limit, BENCH_MAX_FILL);
	/* In pages: @low works, @high does not. */
	low = 0;
	high = limit / PAGE_SIZE + 1;
	while (high - low > 1) {
		middle = (low + high) / 2;
		if (works(b, arg->coherent, middle * PAGE_SIZE, arg->offset))
			low = middle;
		else
			high = middle;
	}
	arg->size = low * PAGE_SIZE;
	return 0;
}

static long bench_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	void __user *from = (void __user *)user;
	union {
		char			name[32];
		struct bench_run	run;
		struct bench_fill	fill;
		struct bench_largest	largest;
	} arg = {};
	struct bench *b;
	long ret;

	if (_IOC_TYPE(cmd) != 'b' || _IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if (copy_from_user(&arg, from, _IOC_SIZE(cmd)))
		return -EFAULT;

	mutex_lock(&bench_mutex);
	b = bench_find(arg.name);
	if (!b)
		ret = -ENODEV;
	else if (cmd == BENCH_RUN)
		ret = bench_run(b, &arg.run);
	else if (cmd == BENCH_FILL)
		ret = bench_fill(b, &arg.fill);
	else if (cmd == BENCH_LARGEST)
		ret = bench_largest(b, &arg.largest);
	else
		ret = -ENOTTY;
	mutex_unlock(&bench_mutex);

	if (!ret && copy_to_user(from, &arg, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static void unbind(void *data)
{
	struct bench *b = data;

	mutex_lock(&bench_mutex);
	list_del(&b->list);
	unfill(b);
	mutex_unlock(&bench_mutex);
	kfree(b);
}

static int bind(struct device *dev)
{
	struct bench *b;
	int ret;

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return -ENOMEM;
	b->dev = dev;
	mutex_lock(&bench_mutex);
	list_add(&b->list, &bench_list);
	mutex_unlock(&bench_mutex);
	/* A devm action: the type of a driver's remove() is not the same in all kernels. */
	return devm_add_action_or_reset(dev, unbind, b);
}

static int bench_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return bind(&pdev->dev);
}

static int bench_platform_probe(struct platform_device *pdev)
{
	return bind(&pdev->dev);
}

/* No ids: only a driver_override, or an id added by hand, leads here. */
static const struct pci_device_id bench_pci_ids[] = {
	{}
};

static struct pci_driver bench_pci_driver = {
	.name		= BENCH_NAME,
	.id_table	= bench_pci_ids,
	.probe		= bench_pci_probe,
};

static struct platform_driver bench_platform_driver = {
	.driver.name	= BENCH_NAME,
	.probe		= bench_platform_probe,
};

static const struct file_operations bench_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= bench_ioctl,
};

static struct miscdevice bench_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= BENCH_NAME,
	.fops	= &bench_fops,
	.mode	= 0600,
};

static int buffer_get(void)
{
	struct reserved_mem *rmem;
	struct device_node *np;

	if (!buffer_path || !*buffer_path) {
		buffer_size = PAGE_SIZE << MAX_PAGE_ORDER;
		buffer = alloc_pages(GFP_KERNEL | __GFP_ZERO, MAX_PAGE_ORDER);
		return buffer ? 0 : -ENOMEM;
	}
	np = of_find_node_by_path(buffer_path);
	rmem = np ? of_reserved_mem_lookup(np) : NULL;
	of_node_put(np);
	if (!rmem || !pfn_valid(PHYS_PFN(rmem->base)) ||
	    !PageReserved(pfn_to_page(PHYS_PFN(rmem->base)))) {
		pr_err(BENCH_NAME ": %s is not reserved memory that can be used\n",
		       buffer_path);
		return -EINVAL;
	}
	buffer_reserved = true;
	buffer = pfn_to_page(PHYS_PFN(rmem->base));
	buffer_size = rmem->size;
	return 0;
}

static void buffer_put(void)
{
	if (!buffer_reserved)
		__free_pages(buffer, MAX_PAGE_ORDER);
}

static int __init distrust(const char *name)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, name);

	if (!dev)
		return -ENODEV;
	to_pci_dev(dev)->untrusted = true;
	put_device(dev);
	return 0;
}

static int __init bench_init(void)
{
	int ret, i;

	for (i = 0; i < nuntrusted; i++) {
		ret = distrust(untrusted[i]);
		if (ret)
			return ret;
	}
	ret = buffer_get();
	if (ret)
		return ret;
	bench_wq = alloc_workqueue(BENCH_NAME, WQ_HIGHPRI | WQ_CPU_INTENSIVE, 0);
	if (!bench_wq) {
		ret = -ENOMEM;
		goto put_buffer;
	}
	ret = pci_register_driver(&bench_pci_driver);
	if (ret)
		goto destroy_wq;
	ret = platform_driver_register(&bench_platform_driver);
	if (ret)
		goto unregister_pci;
	ret = misc_register(&bench_misc);
	if (ret)
		goto unregister_platform;
	return 0;

unregister_platform:
	platform_driver_unregister(&bench_platform_driver);
unregister_pci:
	pci_unregister_driver(&bench_pci_driver);
destroy_wq:
	destroy_workqueue(bench_wq);
put_buffer:
	buffer_put();
	return ret;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	misc_deregister(&bench_misc);
	platform_driver_unregister(&bench_platform_driver);
	pci_unregister_driver(&bench_pci_driver);
	destroy_workqueue(bench_wq);
	buffer_put();
}
module_exit(bench_exit);

MODULE_DESCRIPTION("What the DMA API costs, for any device");
MODULE_LICENSE("GPL");
