/* 82441FX (PMC) host bridge, function 00:00.0: decides what answers at every
 * physical address: RAM, the BIOS ROM, the VGA window or PCI (82441FX data
 * sheet 3.2.16 PAM, 3.2.19 SMRAM). */
#ifndef RELIVE_DEV_I440FX_H
#define RELIVE_DEV_I440FX_H

#include "dev/pci.h"

struct i440fx;

/* The frames it maps (phys_add_memory()); all sizes are multiples of 4 KiB.
 * The bridge maps everything below and above 4 GiB that is listed here. */
struct i440fx_memory {
    uint32_t ram_frame;  /* frame of physical address 0; RAM is contiguous */
    uint64_t low_bytes;  /* RAM below 4 GiB, at least 1 MiB */
    uint64_t high_bytes; /* RAM from 4 GiB on; 0 for none */
    uint32_t bios_frame; /* ROM frames of the system BIOS */
    uint32_t bios_bytes; /* ends at 4 GiB and at 1 MiB (its last 128 KiB) */
};

/* memory is copied. Also tells pci which addresses BARs may have: from the top
 * of low RAM to FEC00000h. */
struct i440fx *i440fx_new(struct dev_bus *bus, struct pci_bus *pci,
                          const struct i440fx_memory *memory);
void i440fx_free(struct i440fx *h);
extern const struct chip_ops i440fx_ops;

/* map_window(vga) maps A0000h-BFFFFh for the VGA chip; the bridge calls it now
 * and whenever SMRAM closes. While i440fx_smram_open() the chip must leave the
 * window alone. */
void i440fx_set_vga(struct i440fx *h, void (*map_window)(void *vga), void *vga);
bool i440fx_smram_open(const struct i440fx *h);

#endif
