/* Intel 82077AA floppy disk controller in AT mode: ports 3F2h-3F5h and 3F7h,
 * line 6, DMA channel 2, two drives that take every format up to 2.88 MB. */
#ifndef RELIVE_DEV_FLOPPY_H
#define RELIVE_DEV_FLOPPY_H

#include "dev/block.h"
#include "dev/bus.h"
#include "dev/dma.h"

enum { FLOPPY_DRIVES = 2 };

struct floppy;

struct floppy *floppy_new(struct dev_bus *bus, struct dma *dma);
void floppy_free(struct floppy *f);
extern const struct chip_ops floppy_ops;

/* Put a disk (borrowed) into a drive, or take it out (NULL). The change line
 * tells the guest. To restore a saved state, put the disk in first, then
 * load. */
void floppy_set_media(struct floppy *f, unsigned drive, struct block *medium);

/* The CMOS drive type (register 10h nibble) that suits a medium of `sectors`:
 * 1 360K, 2 1.2M, 3 720K, 4 1.44M, 5 2.88M. */
unsigned floppy_cmos_type(uint64_t sectors);

#endif
