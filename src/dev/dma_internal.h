/* State of the 8237A pair; for dma.c and its tests. */
#ifndef RELIVE_DEV_DMA_INTERNAL_H
#define RELIVE_DEV_DMA_INTERNAL_H

#include "base/field.h"
#include "dev/dma.h"

enum {
    DMA_CHANNELS = 4, /* per controller */
    DMA_PAGES = 16,
    DMA_CHIP_FIELDS = 10,
    DMA_FIELDS = 1
};

struct dma_chip {
    uint16_t base_address[DMA_CHANNELS], base_count[DMA_CHANNELS];
    uint16_t address[DMA_CHANNELS], count[DMA_CHANNELS];
    uint8_t mode[DMA_CHANNELS]; /* bits 2..7 of the mode register */
    uint8_t command;
    uint8_t mask;    /* bit per channel */
    uint8_t request; /* software requests: kept, memory to memory is not
                        wired on a PC */
    uint8_t reached; /* status bits 0..3: terminal count */
    bool high_byte;  /* the flip-flop */
};

struct dma {
    struct dev_bus *bus;     /* borrowed */
    struct dma_chip chip[2]; /* saved: own table. [1] is word-wide */
    uint8_t page[DMA_PAGES]; /* saved: ports 80h..8Fh */
};

extern const struct field dma_chip_fields[DMA_CHIP_FIELDS];
extern const struct field dma_fields[DMA_FIELDS];

#endif
