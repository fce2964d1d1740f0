/* Two 8237A DMA controllers as a PC/AT wires them: channels 0..3 move bytes
 * (ports 00h..0Fh), 5..7 words (C0h..DFh), page registers at 81h..8Fh (Intel
 * 8237A data sheet; 82371SB 4.3). */
#ifndef RELIVE_DEV_DMA_H
#define RELIVE_DEV_DMA_H

#include "dev/bus.h"

struct dma;

struct dma *dma_new(struct dev_bus *bus);
void dma_free(struct dma *dma);
extern const struct chip_ops dma_ops;

enum dma_direction {
    DMA_TO_MEMORY,  /* the device has the bytes */
    DMA_FROM_MEMORY /* the device wants them */
};

/* The device on `channel` asserts DREQ and moves up to `bytes` bytes (even on
 * word channels). Returns how many were moved: 0 while the channel is masked or
 * its controller disabled; fewer than asked when terminal count ends the
 * transfer, which *tc (not NULL) tells. In verify mode bytes count but memory
 * and buf are left alone. */
size_t dma_transfer(struct dma *dma, unsigned channel, void *buf, size_t bytes,
                    enum dma_direction direction, bool *tc);

#endif
