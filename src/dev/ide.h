/* 82371SB (PIIX3) function 1 at 00:01.1: two ATA channels at the legacy ports
 * (1F0h/3F6h line 14, 170h/376h line 15) with bus master DMA behind BAR 4, and
 * the drives on them: ATA disks and ATAPI CD-ROM drives. */
#ifndef RELIVE_DEV_IDE_H
#define RELIVE_DEV_IDE_H

#include "dev/block.h"
#include "dev/pci.h"

struct ide;

/* The four places. */
enum ide_unit {
    IDE_PRIMARY_MASTER,
    IDE_PRIMARY_SLAVE,
    IDE_SECONDARY_MASTER,
    IDE_SECONDARY_SLAVE,
    IDE_UNITS
};

struct ide *ide_new(struct dev_bus *bus, struct pci_bus *pci);
void ide_free(struct ide *ide);
extern const struct chip_ops ide_ops;

/* While the machine is built. disk is borrowed and stays until ide_free(). */
void ide_attach_disk(struct ide *ide, enum ide_unit unit, struct block *disk);
/* A CD-ROM drive, with no medium in it. At most one. */
void ide_attach_cdrom(struct ide *ide, enum ide_unit unit);

/* Put a medium (borrowed) into the CD-ROM drive, or take it out (NULL). The
 * guest hears of it: NOT READY, then UNIT ATTENTION. Before tick 0 it is simply
 * there. Overrides the guest's door lock, as the pin hole of a drive does.
 * To restore a saved state, put the medium in first and then load. */
void ide_set_cdrom(struct ide *ide, struct block *medium);
/* The guest ejected the medium with START STOP UNIT: the tray is open. */
bool ide_cdrom_tray_open(const struct ide *ide);

#endif
