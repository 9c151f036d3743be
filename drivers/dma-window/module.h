/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restricted DMA windows, as a module: what its files share.
 */
#ifndef _DMA_WINDOW_MODULE_H
#define _DMA_WINDOW_MODULE_H

#include <linux/device.h>

int dma_window_transport_init(void);
void dma_window_transport_exit(void);
bool dma_window_transport_driver(struct device *dev, char *name, size_t size);
void dma_window_memory_init(void);

#endif /* _DMA_WINDOW_MODULE_H */
