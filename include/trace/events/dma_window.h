/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows: what happens to a device's DMA.
 *
 * Addresses are bus addresses, in the window or, behind an IOMMU, of a mapping in
 * place; where a driver's own buffer is, is not told. Sizes are bytes.
 *
 * dma_window_assign_str() is __assign_str() with the arguments that the kernel
 * takes: see kernel/dma/window/compat.h.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dma_window

#if !defined(_TRACE_DMA_WINDOW_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_DMA_WINDOW_H

#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

TRACE_DEFINE_ENUM(DMA_BIDIRECTIONAL);
TRACE_DEFINE_ENUM(DMA_TO_DEVICE);
TRACE_DEFINE_ENUM(DMA_FROM_DEVICE);
TRACE_DEFINE_ENUM(DMA_NONE);

#define show_dma_window_dir(dir)			\
	__print_symbolic(dir,				\
			 { DMA_BIDIRECTIONAL, "bidirectional" },\
			 { DMA_TO_DEVICE, "to-device" },	\
			 { DMA_FROM_DEVICE, "from-device" },	\
			 { DMA_NONE, "none" })

/* A device got its window. */
TRACE_EVENT(dma_window_attach,
	    TP_PROTO(struct device *dev, const char *window, u64 base, u64 size),
	    TP_ARGS(dev, window, base, size),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __string(window, window)
			     __field(u64, base)
			     __field(u64, size)),
	    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
			   dma_window_assign_str(window, window);
			   __entry->base = base;
			   __entry->size = size;),
	    TP_printk("%s window=%s base=%#llx size=%llu", __get_str(dev),
		      __get_str(window), __entry->base, __entry->size)
);

/* A device was refused; the log has the reason. */
TRACE_EVENT(dma_window_refuse,
	    TP_PROTO(struct device *dev, int error),
	    TP_ARGS(dev, error),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(int, error)),
	    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
			   __entry->error = error;),
	    TP_printk("%s error=%d", __get_str(dev), __entry->error)
);

DECLARE_EVENT_CLASS(dma_window_mapping,
		    TP_PROTO(struct device *dev, dma_addr_t addr, size_t size, int dir,
			     unsigned long attrs, size_t copied),
		    TP_ARGS(dev, addr, size, dir, attrs, copied),
		    TP_STRUCT__entry(__string(dev, dev_name(dev))
				     __field(u64, addr)
				     __field(size_t, size)
				     __field(size_t, copied)
				     __field(unsigned long, attrs)
				     __field(int, dir)),
		    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
				   __entry->addr = addr;
				   __entry->size = size;
				   __entry->copied = copied;
				   __entry->attrs = attrs;
				   __entry->dir = dir;),
		    TP_printk("%s addr=%#llx size=%zu dir=%s attrs=%#lx copied=%zu",
			      __get_str(dev), __entry->addr, __entry->size,
			      show_dma_window_dir(__entry->dir), __entry->attrs,
			      __entry->copied)
);

DEFINE_EVENT(dma_window_mapping, dma_window_map,
	     TP_PROTO(struct device *dev, dma_addr_t addr, size_t size, int dir,
		      unsigned long attrs, size_t copied),
	     TP_ARGS(dev, addr, size, dir, attrs, copied)
);

DEFINE_EVENT(dma_window_mapping, dma_window_unmap,
	     TP_PROTO(struct device *dev, dma_addr_t addr, size_t size, int dir,
		      unsigned long attrs, size_t copied),
	     TP_ARGS(dev, addr, size, dir, attrs, copied)
);

/* A part of a mapping was synced; copied=0 if the directions do not agree. */
TRACE_EVENT(dma_window_sync,
	    TP_PROTO(struct device *dev, dma_addr_t addr, size_t size, int dir,
		     bool for_cpu, size_t copied),
	    TP_ARGS(dev, addr, size, dir, for_cpu, copied),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __field(u64, addr)
			     __field(size_t, size)
			     __field(size_t, copied)
			     __field(int, dir)
			     __field(bool, for_cpu)),
	    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
			   __entry->addr = addr;
			   __entry->size = size;
			   __entry->copied = copied;
			   __entry->dir = dir;
			   __entry->for_cpu = for_cpu;),
	    TP_printk("%s addr=%#llx size=%zu dir=%s for=%s copied=%zu",
		      __get_str(dev), __entry->addr, __entry->size,
		      show_dma_window_dir(__entry->dir),
		      __entry->for_cpu ? "cpu" : "device", __entry->copied)
);

DECLARE_EVENT_CLASS(dma_window_memory,
		    TP_PROTO(struct device *dev, dma_addr_t addr, size_t size),
		    TP_ARGS(dev, addr, size),
		    TP_STRUCT__entry(__string(dev, dev_name(dev))
				     __field(u64, addr)
				     __field(size_t, size)),
		    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
				   __entry->addr = addr;
				   __entry->size = size;),
		    TP_printk("%s addr=%#llx size=%zu", __get_str(dev), __entry->addr,
			      __entry->size)
);

/* Coherent memory was allocated, or freed. */
DEFINE_EVENT(dma_window_memory, dma_window_alloc,
	     TP_PROTO(struct device *dev, dma_addr_t addr, size_t size),
	     TP_ARGS(dev, addr, size)
);

DEFINE_EVENT(dma_window_memory, dma_window_free,
	     TP_PROTO(struct device *dev, dma_addr_t addr, size_t size),
	     TP_ARGS(dev, addr, size)
);

/* A mapping, an allocation or a call was refused; see the fail_* counters. */
TRACE_EVENT(dma_window_fail,
	    TP_PROTO(struct device *dev, const char *reason, size_t size),
	    TP_ARGS(dev, reason, size),
	    TP_STRUCT__entry(__string(dev, dev_name(dev))
			     __string(reason, reason)
			     __field(size_t, size)),
	    TP_fast_assign(dma_window_assign_str(dev, dev_name(dev));
			   dma_window_assign_str(reason, reason);
			   __entry->size = size;),
	    TP_printk("%s reason=%s size=%zu", __get_str(dev), __get_str(reason),
		      __entry->size)
);

#endif /* _TRACE_DMA_WINDOW_H */

#include <trace/define_trace.h>
