# SPDX-License-Identifier: GPL-2.0-only
#
# Which interfaces this kernel has: each probe looks for a text in the source
# and, where it is, defines DMA_WINDOW_HAVE_... for compat.h. Probes go by
# interface, never by version: stable kernels and vendors backport.

# $(call dma_window_probe,HEADER,TEXT,NAME): TEXT is a fixed string.
dma_window_probe = $(shell grep -qsF -- '$(2)' $(srctree)/$(strip $(1)) && \
			echo -DDMA_WINDOW_HAVE_$(strip $(3)))

# v6.10: dma_map_ops.alloc_pages_op, before that .alloc_pages
ccflags-y += $(call dma_window_probe,include/linux/dma-map-ops.h,alloc_pages_op,ALLOC_PAGES_OP)

# v6.11: syncs of a coherent device are skipped until dma_reset_need_sync()
ccflags-y += $(call dma_window_probe,include/linux/dma-map-ops.h,dma_reset_need_sync,NEED_SYNC)

# v6.12: dma-iommu is called directly if a flag of the device says so; before that,
# by the operations iommu_dma_ops
ccflags-y += $(call dma_window_probe,include/linux/device.h,dma_iommu:1,DMA_IOMMU)

# v6.12: linux/iommu-dma.h has what other built-in code calls of dma-iommu
ccflags-y += $(call dma_window_probe,include/linux/iommu-dma.h,use_dma_iommu,IOMMU_DMA_H)

# v6.3: iommu_map() and iommu_map_sg() take gfp flags, before that there are two of each
ccflags-y += $(if $(call dma_window_probe,include/linux/iommu.h,iommu_map_atomic,X),,-DDMA_WINDOW_HAVE_IOMMU_MAP_GFP)

# v6.3: dev_iommu.attach_deferred, before that a call of the IOMMU's driver
ccflags-y += $(call dma_window_probe,include/linux/iommu.h,attach_deferred:1,ATTACH_DEFERRED)

# v6.9: linux/crash_reserve.h has the crash kernel's memory, before that linux/kexec.h
ccflags-y += $(call dma_window_probe,include/linux/crash_reserve.h,crashk_res,CRASH_RESERVE)

# v6.10: __assign_str() finds the source by itself
ccflags-y += $(call dma_window_probe,include/trace/stages/stage6_event_callback.h,__assign_str(dst),ASSIGN_STR_DST)

# v6.8: devices for KUnit tests
ccflags-y += $(call dma_window_probe,include/kunit/device.h,kunit_device_register,KUNIT_DEVICE)

# v6.19: dma_map_ops.map_phys, before that .map_page
ccflags-y += $(call dma_window_probe,include/linux/dma-map-ops.h,*map_phys,MAP_PHYS)

# by v7.3: the flag of a device that has dma-iommu called has accessors
ccflags-y += $(call dma_window_probe,include/linux/device.h,DEV_FLAG_DMA_IOMMU,DEV_FLAG_DMA_IOMMU)

# v6.15: the IOMMU core has the DMA of devices configured that have no driver yet
ccflags-y += $(call dma_window_probe,drivers/iommu/iommu.c,bus->dma_configure,EARLY_CONFIGURE)

# v6.15: iommu_domain.cookie_type tells whose the domain's cookie is
ccflags-y += $(call dma_window_probe,include/linux/iommu.h,IOMMU_COOKIE_DMA_IOVA,COOKIE_TYPE)

# v6.16: iommu_dma_free_iova() takes the domain, before that its cookie
dma_window_paren := (
ccflags-y += $(call dma_window_probe,include/linux/iommu-dma.h,iommu_dma_free_iova$(dma_window_paren)struct iommu_domain,FREE_IOVA_DOMAIN)

# v6.17: system_dfl_wq, before that system_unbound_wq
ccflags-y += $(call dma_window_probe,include/linux/workqueue.h,system_dfl_wq,DFL_WQ)

# by v7.3: of_map_id() has more arguments, and of_map_iommu_id() gives them
ccflags-y += $(call dma_window_probe,include/linux/of.h,of_map_iommu_id,OF_MAP_IOMMU_ID)

# v6.12: reserve_mem= puts memory aside that has a name
ccflags-y += $(call dma_window_probe,include/linux/mm.h,reserve_mem_find_by_name,RESERVE_MEM)

# by v7.3: virtio transports offer more than 64 features by get_extended_features()
ccflags-y += $(call dma_window_probe,include/linux/virtio_config.h,get_extended_features,EXTENDED_FEATURES)
