// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test driver for QEMU's "edu" PCI device (1234:11e8), which has a DMA
 * engine: user space makes every call of the DMA API for such a device, and
 * has the device itself read and write what it was given. edu_uapi.h is the
 * interface; the tests are in tools/testing/selftests/dma-window/.
 *
 * For test machines only: who may open the file can read and write all memory.
 *
 * The registers, from the device's documentation (docs/specs/edu.txt in QEMU):
 * a transfer goes from SRC to DST, COUNT bytes; one of the two is the device's
 * buffer of 4 KiB at 0x40000, the other a bus address. CMD starts it and says
 * which; its lowest bit is set until the transfer is done, 100 ms later.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "edu_uapi.h"

#define EDU_VENDOR	0x1234
#define EDU_ID		0x11e8

#define EDU_REG_SRC	0x80
#define EDU_REG_DST	0x88
#define EDU_REG_COUNT	0x90
#define EDU_REG_CMD	0x98
#define EDU_INTERNAL	0x40000
#define EDU_START	BIT(0)
#define EDU_TO_RAM	BIT(1)

/* Bytes per transfer: QEMU 7.2 aborts at the full 4096. */
#define EDU_CHUNK	SZ_2K

#define EDU_MAX_SIZE	SZ_64M
#define EDU_MAX_NENTS	8192

/* The most that can be had in one piece without reserving it at boot. */
#ifndef MAX_PAGE_ORDER
#define MAX_PAGE_ORDER	(MAX_ORDER - 1)
#endif
#define EDU_BLOCK	((size_t)PAGE_SIZE << MAX_PAGE_ORDER)

/**
 * struct edu - a bound device
 * @regs: its registers
 * @box: coherent memory, one chunk: data on its way to and from the caller
 * @box_addr: its bus address
 */
struct edu {
	void __iomem	*regs;
	u8		*box;
	dma_addr_t	box_addr;
};

enum obj_type { OBJ_BUFFER, OBJ_COHERENT, OBJ_PAGES, OBJ_MAP, OBJ_SG };

/**
 * struct obj - what an id stands for
 * @type: what it is
 * @users: itself in the file's table, calls that use it, mappings of a buffer,
 *	and areas of user space that map it
 * @dev: the device (reference held), not for a buffer
 * @buffer: of a mapping (user)
 * @page: of a buffer or pages
 * @vaddr: of coherent memory
 * @addr: bus address
 * @size: bytes
 * @attrs: attributes it was made with
 * @dir: direction
 * @sgt: of a scatterlist
 * @buffers: of a scatterlist (users)
 */
struct obj {
	enum obj_type		type;
	refcount_t		users;
	struct device		*dev;
	struct obj		*buffer;
	struct page		*page;
	void			*vaddr;
	dma_addr_t		addr;
	size_t			size;
	unsigned long		attrs;
	enum dma_data_direction	dir;
	struct sg_table		sgt;
	struct obj		**buffers;
};

/**
 * struct session - an open file
 * @objs: its objects, by id
 * @lock: protects @dev
 * @dev: the device that calls are for (reference held)
 */
struct session {
	struct xarray	objs;
	struct mutex	lock;	/* dev */
	struct device	*dev;
};

static struct pci_driver edu_driver;

static void buffer_free(struct page *page, size_t size)
{
	size_t done;

	if (size <= EDU_BLOCK) {
		__free_pages(page, get_order(size));
		return;
	}
	for (done = 0; done < size; done += EDU_BLOCK)
		__free_pages(page + done / PAGE_SIZE, MAX_PAGE_ORDER);
}

static int compare_blocks(const void *a, const void *b)
{
	unsigned long x = page_to_pfn(*(struct page **)a);
	unsigned long y = page_to_pfn(*(struct page **)b);

	return x < y ? -1 : x > y;
}

/* A buffer larger than a block: from blocks that happen to be adjacent. */
static struct page *buffer_alloc_large(size_t size, gfp_t gfp)
{
	size_t need = DIV_ROUND_UP(size, EDU_BLOCK), have, i, run = 1;
	struct page **blocks, *page = NULL;

	blocks = kvcalloc(4 * need, sizeof(*blocks), gfp);
	if (!blocks)
		return NULL;
	for (have = 0; have < 4 * need; have++) {
		blocks[have] = alloc_pages(gfp | __GFP_NOWARN | __GFP_NORETRY,
					   MAX_PAGE_ORDER);
		if (!blocks[have])
			break;
	}
	sort(blocks, have, sizeof(*blocks), compare_blocks, NULL);
	for (i = 1; i < have && run < need; i++)
		run = page_to_pfn(blocks[i]) == page_to_pfn(blocks[i - 1]) +
		      EDU_BLOCK / PAGE_SIZE ? run + 1 : 1;
	if (run == need) {
		page = blocks[i - need];
		memset(page_address(page), 0, need * EDU_BLOCK);
	}
	while (have--)
		if (!page || have >= i || have < i - need)
			__free_pages(blocks[have], MAX_PAGE_ORDER);
	kvfree(blocks);
	return page;
}

static struct page *buffer_alloc(size_t size, gfp_t gfp)
{
	if (size > EDU_BLOCK)
		return gfpflags_allow_blocking(gfp) ?
		       buffer_alloc_large(size, gfp) : NULL;
	return alloc_pages(gfp | __GFP_ZERO, get_order(size));
}

/* Callers hold the last reference, or did not publish it yet. */
static void obj_free(struct obj *obj)
{
	unsigned int i;

	switch (obj->type) {
	case OBJ_BUFFER:
		buffer_free(obj->page, obj->size);
		break;
	case OBJ_COHERENT:
	case OBJ_PAGES:
	case OBJ_MAP:
		break;
	case OBJ_SG:
		for (i = 0; i < obj->sgt.orig_nents; i++)
			if (obj->buffers[i] &&
			    refcount_dec_and_test(&obj->buffers[i]->users))
				obj_free(obj->buffers[i]);
		kvfree(obj->buffers);
		sg_free_table(&obj->sgt);
		break;
	}
	if (obj->buffer && refcount_dec_and_test(&obj->buffer->users))
		obj_free(obj->buffer);
	put_device(obj->dev);
	kfree(obj);
}

static void obj_put(struct obj *obj)
{
	if (refcount_dec_and_test(&obj->users))
		obj_free(obj);
}

static struct obj *obj_get(struct session *s, u32 id)
{
	struct obj *obj;

	xa_lock(&s->objs);
	obj = xa_load(&s->objs, id);
	if (obj)
		refcount_inc(&obj->users);
	xa_unlock(&s->objs);
	return obj;
}

static struct obj *buffer_get(struct session *s, u32 id, u64 offset, u64 size)
{
	struct obj *obj = obj_get(s, id);

	if (!obj)
		return NULL;
	if (obj->type == OBJ_BUFFER && offset <= obj->size &&
	    size <= obj->size - offset)
		return obj;
	obj_put(obj);
	return NULL;
}

static struct obj *obj_new(struct device *dev, enum obj_type type)
{
	struct obj *obj = kzalloc(sizeof(*obj), GFP_KERNEL);

	if (!obj)
		return NULL;
	obj->type = type;
	obj->dev = get_device(dev);
	refcount_set(&obj->users, 1);
	return obj;
}

/* Undo what was done with the DMA API; the object itself stays. */
static void obj_undo(struct obj *obj, unsigned long attrs)
{
	attrs |= obj->attrs;

	switch (obj->type) {
	case OBJ_BUFFER:
		break;
	case OBJ_COHERENT:
		dma_free_attrs(obj->dev, obj->size, obj->vaddr, obj->addr,
			       obj->attrs);
		break;
	case OBJ_PAGES:
		dma_free_pages(obj->dev, obj->size, obj->page, obj->addr,
			       obj->dir);
		break;
	case OBJ_MAP:
		dma_unmap_page_attrs(obj->dev, obj->addr, obj->size, obj->dir,
				     attrs);
		break;
	case OBJ_SG:
		dma_unmap_sgtable(obj->dev, &obj->sgt, obj->dir, attrs);
		break;
	}
}

static int obj_publish(struct session *s, struct obj *obj, u32 *id)
{
	int ret = xa_alloc(&s->objs, id, obj, xa_limit_16b, GFP_KERNEL);

	if (ret) {
		obj_undo(obj, DMA_ATTR_SKIP_CPU_SYNC);
		obj_put(obj);
	}
	return ret;
}

static struct device *session_dev(struct session *s)
{
	struct device *dev;

	mutex_lock(&s->lock);
	dev = get_device(s->dev);
	mutex_unlock(&s->lock);
	return dev;
}

static long edu_select(struct session *s, struct edu_select *arg)
{
	struct device *dev, *old;

	arg->name[sizeof(arg->name) - 1] = '\0';
	dev = bus_find_device_by_name(&pci_bus_type, NULL, arg->name);
	if (!dev)
		return -ENODEV;
	if (to_pci_dev(dev)->vendor != EDU_VENDOR ||
	    to_pci_dev(dev)->device != EDU_ID) {
		put_device(dev);
		return -ENODEV;
	}
	mutex_lock(&s->lock);
	old = s->dev;
	s->dev = dev;
	mutex_unlock(&s->lock);
	put_device(old);
	return 0;
}

static long edu_info(struct device *dev, struct edu_info *arg)
{
	arg->mask = dma_get_mask(dev);
	arg->coherent_mask = dev->coherent_dma_mask;
	arg->required_mask = dma_get_required_mask(dev);
	arg->max_mapping = dma_max_mapping_size(dev);
	device_lock(dev);
	arg->bound = dev->driver == &edu_driver.driver;
	device_unlock(dev);
#ifdef CONFIG_DMA_DECLARE_COHERENT
	arg->own_memory = !!dev->dma_mem;
#endif
	return 0;
}

static long edu_limit(struct device *dev, struct edu_limit *arg)
{
	switch (arg->what) {
	case EDU_MASK:
		return dma_set_mask(dev, arg->value);
	case EDU_COHERENT_MASK:
		return dma_set_coherent_mask(dev, arg->value);
	case EDU_FORCE_MASK:
		*dev->dma_mask = arg->value;
		return 0;
	case EDU_FORCE_COHERENT_MASK:
		dev->coherent_dma_mask = arg->value;
		return 0;
	case EDU_MIN_ALIGN_MASK:
		dma_set_min_align_mask(dev, arg->value);
		return 0;
	case EDU_SEG_BOUNDARY:
		dma_set_seg_boundary(dev, arg->value);
		return 0;
	case EDU_MAX_SEG_SIZE:
		dma_set_max_seg_size(dev, arg->value);
		return 0;
	case EDU_RESERVED_MEMORY:
		if (arg->value)
			return of_reserved_mem_device_init(dev);
		of_reserved_mem_device_release(dev);
		return 0;
	}
	return -EINVAL;
}

static long edu_new(struct session *s, struct device *dev, struct edu_new *arg)
{
	static const enum obj_type types[] = {
		[EDU_BUFFER] = OBJ_BUFFER,
		[EDU_COHERENT] = OBJ_COHERENT,
		[EDU_PAGES] = OBJ_PAGES,
	};
	gfp_t gfp = arg->flags & EDU_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;
	unsigned long flags = 0;
	struct obj *obj;
	bool done;

	if (arg->kind >= ARRAY_SIZE(types) || !arg->size ||
	    arg->size > EDU_MAX_SIZE)
		return -EINVAL;
	if (arg->attrs & DMA_ATTR_NO_WARN)
		gfp |= __GFP_NOWARN;
	obj = obj_new(dev, types[arg->kind]);
	if (!obj)
		return -ENOMEM;
	obj->size = arg->size;
	obj->attrs = arg->attrs;
	obj->dir = arg->dir;

	if (arg->flags & EDU_ATOMIC)
		local_irq_save(flags);
	switch (obj->type) {
	case OBJ_BUFFER:
		obj->page = buffer_alloc(obj->size, gfp);
		if (obj->page)
			obj->addr = page_to_phys(obj->page);
		done = obj->page;
		break;
	case OBJ_COHERENT:
		obj->vaddr = dma_alloc_attrs(dev, obj->size, &obj->addr, gfp,
					     obj->attrs);
		done = obj->vaddr;
		break;
	default:
		obj->page = dma_alloc_pages(dev, obj->size, &obj->addr,
					    obj->dir, gfp);
		done = obj->page;
		break;
	}
	if (arg->flags & EDU_ATOMIC)
		local_irq_restore(flags);

	if (!done) {
		put_device(obj->dev);
		kfree(obj);
		return -ENOMEM;
	}
	arg->addr = obj->addr;
	return obj_publish(s, obj, &arg->id);
}

static long edu_map(struct session *s, struct device *dev, struct edu_map *arg)
{
	unsigned long flags = 0;
	struct obj *obj;

	if (!valid_dma_direction(arg->dir))
		return -EINVAL;
	obj = obj_new(dev, OBJ_MAP);
	if (!obj)
		return -ENOMEM;
	obj->buffer = buffer_get(s, arg->buffer, arg->offset, arg->size);
	if (!obj->buffer) {
		obj_put(obj);
		return -EINVAL;
	}
	obj->size = arg->size;
	obj->dir = arg->dir;

	if (arg->flags & EDU_ATOMIC)
		local_irq_save(flags);
	obj->addr = dma_map_page_attrs(dev,
				       obj->buffer->page + arg->offset / PAGE_SIZE,
				       arg->offset % PAGE_SIZE, arg->size,
				       arg->dir, arg->attrs);
	if (arg->flags & EDU_ATOMIC)
		local_irq_restore(flags);

	if (dma_mapping_error(dev, obj->addr)) {
		obj_put(obj);
		return -EIO;
	}
	arg->addr = obj->addr;
	return obj_publish(s, obj, &arg->id);
}

static long edu_map_sg(struct session *s, struct device *dev,
		       struct edu_map_sg *arg)
{
	struct edu_seg __user *user = u64_to_user_ptr(arg->segs);
	struct scatterlist *sg;
	struct edu_seg *segs;
	struct obj *obj;
	unsigned int i;
	long ret;

	if (!valid_dma_direction(arg->dir) || !arg->nents ||
	    arg->nents > EDU_MAX_NENTS)
		return -EINVAL;
	segs = kvmalloc_array(arg->nents, sizeof(*segs), GFP_KERNEL);
	if (!segs)
		return -ENOMEM;
	ret = -EFAULT;
	if (copy_from_user(segs, user, arg->nents * sizeof(*segs)))
		goto free_segs;
	ret = -ENOMEM;
	obj = obj_new(dev, OBJ_SG);
	if (!obj)
		goto free_segs;
	obj->buffers = kvcalloc(arg->nents, sizeof(*obj->buffers), GFP_KERNEL);
	if (!obj->buffers ||
	    sg_alloc_table(&obj->sgt, arg->nents, GFP_KERNEL)) {
		obj->sgt.orig_nents = 0;
		goto put;
	}
	obj->dir = arg->dir;

	ret = -EINVAL;
	for_each_sgtable_sg(&obj->sgt, sg, i) {
		obj->buffers[i] = buffer_get(s, segs[i].buffer, segs[i].offset,
					     segs[i].size);
		if (!obj->buffers[i])
			goto put;
		sg_set_page(sg, obj->buffers[i]->page + segs[i].offset / PAGE_SIZE,
			    segs[i].size, segs[i].offset % PAGE_SIZE);
	}
	ret = dma_map_sgtable(dev, &obj->sgt, arg->dir, arg->attrs);
	if (ret)
		goto put;
	arg->mapped = obj->sgt.nents;
	for_each_sgtable_dma_sg(&obj->sgt, sg, i) {
		segs[i].addr = sg_dma_address(sg);
		segs[i].dma_size = sg_dma_len(sg);
	}
	if (copy_to_user(user, segs, arg->nents * sizeof(*segs))) {
		ret = -EFAULT;
		obj_undo(obj, DMA_ATTR_SKIP_CPU_SYNC);
		goto put;
	}
	kvfree(segs);
	return obj_publish(s, obj, &arg->id);

put:
	obj_put(obj);
free_segs:
	kvfree(segs);
	return ret;
}

static long edu_sync(struct session *s, struct edu_sync *arg)
{
	struct obj *obj;
	long ret = 0;

	if (!valid_dma_direction(arg->dir))
		return -EINVAL;
	obj = obj_get(s, arg->id);
	if (!obj)
		return -EINVAL;
	if (obj->type == OBJ_SG) {
		if (arg->for_cpu)
			dma_sync_sgtable_for_cpu(obj->dev, &obj->sgt, arg->dir);
		else
			dma_sync_sgtable_for_device(obj->dev, &obj->sgt,
						    arg->dir);
	} else if (obj->type == OBJ_MAP && arg->offset <= obj->size &&
		   arg->size <= obj->size - arg->offset) {
		if (arg->for_cpu)
			dma_sync_single_range_for_cpu(obj->dev, obj->addr,
						      arg->offset, arg->size,
						      arg->dir);
		else
			dma_sync_single_range_for_device(obj->dev, obj->addr,
							 arg->offset, arg->size,
							 arg->dir);
	} else {
		ret = -EINVAL;
	}
	obj_put(obj);
	return ret;
}

static long edu_end(struct session *s, struct edu_end *arg)
{
	struct obj *obj;
	long ret = 0;

	/* None but the table may use it: no area, no mapping, no other call. */
	xa_lock(&s->objs);
	obj = xa_load(&s->objs, arg->id);
	if (!obj)
		ret = -EINVAL;
	else if (refcount_read(&obj->users) != 1)
		ret = -EBUSY;
	else
		__xa_erase(&s->objs, arg->id);
	xa_unlock(&s->objs);
	if (ret)
		return ret;

	if (!(arg->flags & EDU_LEAK))
		obj_undo(obj, arg->attrs);
	obj_put(obj);
	return 0;
}

/* The operations that map and unmap a buffer; the Makefile looks which there are. */
#ifdef EDU_HAVE_MAP_PHYS
#define EDU_HAS_MAP_PHYS	1
#define RAW_MAP_OP		map_phys
#define RAW_UNMAP_OP		unmap_phys
#else
#define EDU_HAS_MAP_PHYS	0
#define RAW_MAP_OP		map_page
#define RAW_UNMAP_OP		unmap_page
#endif

static dma_addr_t raw_map(const struct dma_map_ops *ops, struct device *dev,
			  struct page *page, size_t size,
			  enum dma_data_direction dir)
{
#ifdef EDU_HAVE_MAP_PHYS
	return ops->map_phys(dev, page_to_phys(page), size, dir, DMA_ATTR_NO_WARN);
#else
	return ops->map_page(dev, page, 0, size, dir, DMA_ATTR_NO_WARN);
#endif
}

static long edu_raw(struct session *s, struct device *dev, struct edu_raw *arg)
{
	const struct dma_map_ops *ops = get_dma_ops(dev);
	struct obj *obj = NULL;
	struct sg_table sgt;
	long ret = 0;

	/* A device without dma_map_ops of its own has no window to test. */
	if (!ops)
		return -EOPNOTSUPP;
	if (arg->op == EDU_RAW_MAP || arg->op == EDU_RAW_FREE ||
	    arg->op == EDU_RAW_SGTABLE) {
		obj = obj_get(s, arg->id);
		if (!obj)
			return -EINVAL;
	}
	switch (arg->op) {
	case EDU_RAW_MAP:
		if (!ops->RAW_MAP_OP || obj->type != OBJ_BUFFER) {
			ret = -EINVAL;
			break;
		}
		arg->addr = raw_map(ops, dev, obj->page, arg->size, arg->dir);
		if (arg->addr == DMA_MAPPING_ERROR)
			ret = -EIO;
		break;
	case EDU_RAW_UNMAP:
		ops->RAW_UNMAP_OP(dev, arg->addr, arg->size, arg->dir, 0);
		break;
	case EDU_RAW_SYNC_FOR_CPU:
		ops->sync_single_for_cpu(dev, arg->addr, arg->size, arg->dir);
		break;
	case EDU_RAW_SYNC_FOR_DEVICE:
		ops->sync_single_for_device(dev, arg->addr, arg->size,
					    arg->dir);
		break;
	case EDU_RAW_FREE:
		ops->free(dev, arg->size, obj->vaddr, arg->addr, 0);
		break;
	case EDU_RAW_SGTABLE:
		ret = -EINVAL;
		if (!ops->get_sgtable || obj->type != OBJ_COHERENT)
			break;
		ret = ops->get_sgtable(dev, &sgt, obj->vaddr, arg->addr,
				       arg->size, 0);
		if (ret)
			break;
		if (sgt.orig_nents != 1 || sgt.sgl->length != arg->size ||
		    sg_phys(sgt.sgl) != dma_to_phys(dev, arg->addr))
			ret = -EBADMSG;
		sg_free_table(&sgt);
		break;
	default:
		ret = -EINVAL;
	}
	if (obj)
		obj_put(obj);
	return ret;
}

/* One transfer; under the device's lock. */
static int transfer(struct edu *edu, u64 src, u64 dst, size_t size, u32 cmd)
{
	u32 val;

	writeq(src, edu->regs + EDU_REG_SRC);
	writeq(dst, edu->regs + EDU_REG_DST);
	writeq(size, edu->regs + EDU_REG_COUNT);
	writeq(EDU_START | cmd, edu->regs + EDU_REG_CMD);
	return readl_poll_timeout(edu->regs + EDU_REG_CMD, val,
				  !(val & EDU_START), 5000, 10 * USEC_PER_SEC);
}

/* Bus memory to @box. A transfer that fails must not look like an old one. */
static int device_read(struct edu *edu, u64 addr, size_t size)
{
	int ret;

	memset(edu->box, 0xdb, size);
	ret = transfer(edu, edu->box_addr, EDU_INTERNAL, size, 0);
	if (!ret)
		ret = transfer(edu, addr, EDU_INTERNAL, size, 0);
	if (!ret)
		ret = transfer(edu, EDU_INTERNAL, edu->box_addr, size,
			       EDU_TO_RAM);
	return ret;
}

static int device_write(struct edu *edu, u64 addr, size_t size)
{
	int ret = transfer(edu, edu->box_addr, EDU_INTERNAL, size, 0);

	if (!ret)
		ret = transfer(edu, EDU_INTERNAL, addr, size, EDU_TO_RAM);
	return ret;
}

static long edu_dma(struct device *dev, struct edu_dma *arg)
{
	u8 __user *data = u64_to_user_ptr(arg->data);
	struct edu *edu;
	size_t done, step;
	long ret = 0;

	device_lock(dev);
	if (dev->driver != &edu_driver.driver) {
		device_unlock(dev);
		return -ENODEV;
	}
	edu = dev_get_drvdata(dev);
	for (done = 0; done < arg->size && !ret; done += step) {
		step = min_t(size_t, arg->size - done, EDU_CHUNK);
		if (arg->write) {
			if (copy_from_user(edu->box, data + done, step))
				ret = -EFAULT;
			else
				ret = device_write(edu, arg->addr + done, step);
		} else {
			ret = device_read(edu, arg->addr + done, step);
			if (!ret && copy_to_user(data + done, edu->box, step))
				ret = -EFAULT;
		}
	}
	device_unlock(dev);
	return ret;
}

/* Where the device's bus address leads: 0 if nowhere. */
static phys_addr_t reached(struct device *dev, dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain ? iommu_iova_to_phys(domain, addr) :
	       dma_to_phys(dev, addr);
}

static long edu_peek(struct device *dev, struct edu_dma *arg)
{
	u8 __user *data = u64_to_user_ptr(arg->data);
	unsigned long left = 0;
	phys_addr_t phys;
	size_t done, step;

	if (!arg->size || arg->size > EDU_MAX_SIZE)
		return -EINVAL;
	for (done = 0; done < arg->size && !left; done += step) {
		phys = reached(dev, arg->addr + done);
		if (!phys || !pfn_valid(PHYS_PFN(phys)))
			return -ENXIO;
		step = min_t(size_t, arg->size - done,
			     SZ_4K - (arg->addr + done) % SZ_4K);
		if (arg->write)
			left = copy_from_user(phys_to_virt(phys), data + done,
					      step);
		else
			left = copy_to_user(data + done, phys_to_virt(phys),
					    step);
	}
	return left ? -EFAULT : 0;
}

#ifdef CONFIG_IOMMU_API
static size_t edu_granule(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	return domain && domain->pgsize_bitmap ?
	       BIT(__ffs(domain->pgsize_bitmap)) : PAGE_SIZE;
}

static long edu_iommu(struct device *dev, struct edu_iommu *arg)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	struct iommu_group *group = iommu_group_get(dev);

	arg->granule = edu_granule(dev);
	if (group)
		arg->group = iommu_group_id(group);
	iommu_group_put(group);
	if (!domain)
		arg->domain = EDU_DOMAIN_NONE;
	else if (domain->type == IOMMU_DOMAIN_DMA)
		arg->domain = EDU_DOMAIN_STRICT;
	else if (domain->type == IOMMU_DOMAIN_DMA_FQ)
		arg->domain = EDU_DOMAIN_LAZY;
	else
		arg->domain = EDU_DOMAIN_OTHER;
	return 0;
}

/* The Makefile looks which of these functions the kernel has. */
#ifndef EDU_HAVE_PAGING_DOMAIN
static struct iommu_domain *iommu_paging_domain_alloc(struct device *dev)
{
	return iommu_domain_alloc(dev->bus) ?: ERR_PTR(-ENODEV);
}
#endif

#ifdef EDU_HAVE_DEVICE_PASID
static long attach_pasid(struct iommu_domain *domain, struct device *dev)
{
	const u32 pasid = 1;
	long ret;

	ret = iommu_attach_device_pasid(domain, dev, pasid, NULL);
	if (!ret)
		iommu_detach_device_pasid(domain, dev, pasid);
	return ret;
}
#else
/* The only domain with a PASID is that of a process. */
static long attach_pasid(struct iommu_domain *domain, struct device *dev)
{
	struct iommu_sva *handle = iommu_sva_bind_device(dev, current->mm, NULL);

	if (IS_ERR(handle))
		return handle == ERR_PTR(-ENODEV) ? -EOPNOTSUPP : PTR_ERR(handle);
	iommu_sva_unbind_device(handle);
	return 0;
}
#endif

static long claim_owner(struct iommu_group *group, struct device *dev)
{
	long ret;

#ifdef EDU_HAVE_DEVICE_OWNER
	ret = iommu_device_claim_dma_owner(dev, &edu_driver);
	if (!ret)
		iommu_device_release_dma_owner(dev);
#else
	ret = iommu_group_claim_dma_owner(group, &edu_driver);
	if (!ret)
		iommu_group_release_dma_owner(group);
#endif
	return ret;
}

static long edu_attach(struct device *dev, struct edu_attach *arg)
{
	struct iommu_group *group = iommu_group_get(dev);
	struct iommu_domain *domain;
	long ret = -EINVAL;

	if (!group)
		return -ENODEV;
	domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(domain)) {
		iommu_group_put(group);
		return PTR_ERR(domain);
	}
	switch (arg->how) {
	case EDU_ATTACH_DEVICE:
		ret = iommu_attach_device(domain, dev);
		if (!ret)
			iommu_detach_device(domain, dev);
		break;
	case EDU_ATTACH_GROUP:
		ret = iommu_attach_group(domain, group);
		if (!ret)
			iommu_detach_group(domain, group);
		break;
	case EDU_ATTACH_PASID:
		ret = attach_pasid(domain, dev);
		break;
	case EDU_ATTACH_OWNER:
		ret = claim_owner(group, dev);
		break;
	}
	iommu_domain_free(domain);
	iommu_group_put(group);
	return ret;
}
#else
static long edu_attach(struct device *dev, struct edu_attach *arg)
{
	return -EOPNOTSUPP;
}

static size_t edu_granule(struct device *dev)
{
	return PAGE_SIZE;
}

static long edu_iommu(struct device *dev, struct edu_iommu *arg)
{
	arg->domain = EDU_DOMAIN_NONE;
	arg->granule = PAGE_SIZE;
	return 0;
}
#endif

static long edu_walk(struct device *dev, struct edu_walk *arg)
{
	struct edu_extent __user *user = u64_to_user_ptr(arg->extents);
	size_t granule = edu_granule(dev);
	struct edu_extent cur = {};
	phys_addr_t phys;
	u64 at;

	if ((arg->start | arg->size) & (granule - 1) ||
	    arg->start + arg->size < arg->start)
		return -EINVAL;
	arg->count = 0;
	/* Once more at the end, for the last extent. */
	for (at = arg->start; at <= arg->start + arg->size; at += granule) {
		phys = at < arg->start + arg->size ? reached(dev, at) : 0;
		if (phys && cur.size && phys == cur.phys + cur.size) {
			cur.size += granule;
			continue;
		}
		if (cur.size) {
			if (arg->count == arg->max)
				return -ENOSPC;
			if (copy_to_user(user + arg->count++, &cur,
					 sizeof(cur)))
				return -EFAULT;
		}
		cur = (struct edu_extent){
			.addr = at, .phys = phys, .size = phys ? granule : 0,
		};
		if (!(at % SZ_64M))
			cond_resched();
	}
	return 0;
}

static long edu_resource(struct device *dev)
{
	dma_addr_t addr;
	long ret;

	addr = dma_map_resource(dev, pci_resource_start(to_pci_dev(dev), 0),
				SZ_4K, DMA_BIDIRECTIONAL, 0);
	ret = dma_mapping_error(dev, addr);
	/*
	 * Where that is a call of its own, CONFIG_DMA_API_DEBUG records the failure
	 * as a mapping, too.
	 */
	if (!ret || !EDU_HAS_MAP_PHYS)
		dma_unmap_resource(dev, addr, SZ_4K, DMA_BIDIRECTIONAL, 0);
	return ret;
}

static long edu_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct session *s = file->private_data;
	union {
		struct edu_select	select;
		struct edu_info		info;
		struct edu_limit	limit;
		struct edu_new		new;
		struct edu_map		map;
		struct edu_map_sg	map_sg;
		struct edu_sync		sync;
		struct edu_end		end;
		struct edu_raw		raw;
		struct edu_dma		dma;
		struct edu_iommu	iommu;
		struct edu_walk		walk;
		struct edu_attach	attach;
	} arg = {};
	void __user *from = (void __user *)user;
	struct device *dev;
	long ret;

	if (_IOC_TYPE(cmd) != 'e' || _IOC_SIZE(cmd) > sizeof(arg))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) &&
	    copy_from_user(&arg, from, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (cmd == EDU_SELECT)
		return edu_select(s, &arg.select);

	dev = session_dev(s);
	if (!dev)
		return -ENODEV;
	switch (cmd) {
	case EDU_INFO:
		ret = edu_info(dev, &arg.info);
		break;
	case EDU_LIMIT:
		ret = edu_limit(dev, &arg.limit);
		break;
	case EDU_NEW:
		ret = edu_new(s, dev, &arg.new);
		break;
	case EDU_MAP:
		ret = edu_map(s, dev, &arg.map);
		break;
	case EDU_MAP_SG:
		ret = edu_map_sg(s, dev, &arg.map_sg);
		break;
	case EDU_SYNC:
		ret = edu_sync(s, &arg.sync);
		break;
	case EDU_END:
		ret = edu_end(s, &arg.end);
		break;
	case EDU_RAW:
		ret = edu_raw(s, dev, &arg.raw);
		break;
	case EDU_DMA:
		ret = edu_dma(dev, &arg.dma);
		break;
	case EDU_PEEK:
		ret = edu_peek(dev, &arg.dma);
		break;
	case EDU_RESOURCE:
		ret = edu_resource(dev);
		break;
	case EDU_IOMMU:
		ret = edu_iommu(dev, &arg.iommu);
		break;
	case EDU_WALK:
		ret = edu_walk(dev, &arg.walk);
		break;
	case EDU_ATTACH:
		ret = edu_attach(dev, &arg.attach);
		break;
	default:
		ret = -ENOTTY;
	}
	put_device(dev);
	/* An object whose id gets lost here goes with the file. */
	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user(from, &arg, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static void area_open(struct vm_area_struct *vma)
{
	struct obj *obj = vma->vm_private_data;

	refcount_inc(&obj->users);
}

static void area_close(struct vm_area_struct *vma)
{
	obj_put(vma->vm_private_data);
}

static const struct vm_operations_struct area_ops = {
	.open	= area_open,
	.close	= area_close,
};

static int edu_mmap(struct file *file, struct vm_area_struct *vma)
{
	const unsigned int shift = ilog2(EDU_MMAP(1)) - PAGE_SHIFT;
	unsigned long size = vma->vm_end - vma->vm_start;
	unsigned long pgoff = vma->vm_pgoff & (BIT(shift) - 1);
	struct obj *obj;
	int ret = -ENXIO;

	obj = obj_get(file->private_data, vma->vm_pgoff >> shift);
	if (!obj)
		return -ENXIO;
	vma->vm_pgoff = pgoff;
	switch (obj->type) {
	case OBJ_BUFFER:
		if (pgoff * PAGE_SIZE + size <= PAGE_ALIGN(obj->size))
			ret = remap_pfn_range(vma, vma->vm_start,
					      page_to_pfn(obj->page) + pgoff,
					      size, vma->vm_page_prot);
		break;
	case OBJ_COHERENT:
		ret = dma_mmap_attrs(obj->dev, vma, obj->vaddr, obj->addr,
				     obj->size, obj->attrs);
		break;
	case OBJ_PAGES:
		ret = dma_mmap_pages(obj->dev, vma, obj->size, obj->page);
		break;
	default:
		break;
	}
	if (ret) {
		obj_put(obj);
		return ret;
	}
	vma->vm_private_data = obj;
	vma->vm_ops = &area_ops;
	return 0;
}

static int edu_open(struct inode *inode, struct file *file)
{
	struct session *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	xa_init_flags(&s->objs, XA_FLAGS_ALLOC1);
	mutex_init(&s->lock);
	file->private_data = s;
	return 0;
}

static int edu_release(struct inode *inode, struct file *file)
{
	struct session *s = file->private_data;
	unsigned long id;
	struct obj *obj;

	xa_for_each(&s->objs, id, obj) {
		obj_undo(obj, DMA_ATTR_SKIP_CPU_SYNC);
		obj_put(obj);
	}
	xa_destroy(&s->objs);
	put_device(s->dev);
	kfree(s);
	return 0;
}

static const struct file_operations edu_fops = {
	.owner		= THIS_MODULE,
	.open		= edu_open,
	.release	= edu_release,
	.unlocked_ioctl	= edu_ioctl,
	.mmap		= edu_mmap,
};

static struct miscdevice edu_misc = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "dma-window-edu",
	.fops	= &edu_fops,
	.mode	= 0600,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu->regs = pcim_iomap(pdev, 0, 0);
	if (!edu->regs)
		return -ENOMEM;
	/* QEMU has been told dma_mask=0xffffffff; the default is 28 bits. */
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	edu->box = dmam_alloc_coherent(&pdev->dev, EDU_CHUNK, &edu->box_addr,
				       GFP_KERNEL);
	if (!edu->box)
		return -ENOMEM;
	pci_set_master(pdev);
	pci_set_drvdata(pdev, edu);
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	/* Leave mappings of user space mapped, as with any driver's bug. */
	pci_clear_master(pdev);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_ID) },
	{}
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name		= "dma-window-edu",
	.id_table	= edu_ids,
	.probe		= edu_probe,
	.remove		= edu_remove,
};

static int __init edu_init(void)
{
	int ret = pci_register_driver(&edu_driver);

	if (ret)
		return ret;
	ret = misc_register(&edu_misc);
	if (ret)
		pci_unregister_driver(&edu_driver);
	return ret;
}
module_init(edu_init);

static void __exit edu_exit(void)
{
	misc_deregister(&edu_misc);
	pci_unregister_driver(&edu_driver);
}
module_exit(edu_exit);

MODULE_DESCRIPTION("The DMA API of QEMU's edu device, for tests in user space");
MODULE_LICENSE("GPL");
