/* 82371SB (PIIX3) function 0 at 00:01.0: the PCI-ISA bridge. It owns the
 * PIRQRC registers that route PIRQA-D to ISA lines; the rest of its work is
 * done by the chips of their own (pic, pit, dma, pci's CF9h, ...). */
#ifndef RELIVE_DEV_PIIX3_H
#define RELIVE_DEV_PIIX3_H

#include "dev/pci.h"

struct piix3;

struct piix3 *piix3_new(struct dev_bus *bus, struct pci_bus *pci);
void piix3_free(struct piix3 *p);
extern const struct chip_ops piix3_ops;

#endif
