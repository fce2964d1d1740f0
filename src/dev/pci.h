/* PCI bus 0 with configuration mechanism 1 (PCI Local Bus 2.1, 3.2.2.3.2) and
 * the INTx wires. The i440FX host bridge and PIIX3 own the routing registers. */
#ifndef RELIVE_DEV_PCI_H
#define RELIVE_DEV_PCI_H

#include "dev/bus.h"

struct pci_bus;

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_IO,     /* mapped with bus_io_map() */
    PCI_BAR_MMIO,   /* mapped with phys_map_mmio() */
    PCI_BAR_MEMORY, /* frames, mapped with phys_map_memory() */
    PCI_BAR_CUSTOM  /* the function maps it itself in on_bar() */
};

struct pci_bar {
    enum pci_bar_kind kind;
    uint32_t bytes; /* power of two */
    bool prefetchable;
    const struct io_ops *io;
    const struct mmio_ops *mmio;
    uint32_t first_frame;
};

/* One function. The chip embeds it, fills the constants and calls
 * pci_add_function(). config[] is saved by pci_function_save(). */
struct pci_function {
    uint8_t device, function; /* slot, function */
    uint8_t config[256];
    uint8_t writable[256]; /* bit mask: which config bits the guest may write */
    uint8_t clear_on_one[256]; /* bit mask: write-1-to-clear bits */
    struct pci_bar bar[6];
    struct pci_bar rom; /* kind MEMORY: expansion ROM at 0x30 */
    void *chip;         /* given to io, mmio and on_write */
    /* After any guest write of the bytes [offset, offset+bytes); may be NULL. */
    void (*on_write)(void *chip, uint8_t offset, unsigned bytes);
    /* CUSTOM bars (memory space): new base, or UINT64_MAX when not decoded.
     * May be called again with the same base: map again. */
    void (*on_bar)(void *chip, unsigned bar, uint64_t base);
    struct pci_bus *bus; /* set by pci_add_function() */
    uint64_t mapped[7];  /* derived: where each BAR is mapped now, UINT64_MAX */
    unsigned irq_source; /* set by pci_add_function() */
    bool intx;           /* level it drives on its INTx pin */
};

struct pci_bus *pci_bus_new(struct dev_bus *bus);
void pci_bus_free(struct pci_bus *pci);
extern const struct chip_ops pci_bus_ops; /* CF8 latch, reset control CF9 */

/* Borrows f for the life of the bus. Memory BARs are at least a page, I/O BARs
 * at most 256 ports. I/O BARs below port 0x1000 stay unmapped (ISA's ports). */
void pci_add_function(struct pci_bus *pci, struct pci_function *f);

/* Configuration accesses as the guest makes them, with all their effects. */
uint32_t pci_config_read(const struct pci_function *f, uint8_t offset,
                         unsigned bytes);
void pci_config_write(struct pci_function *f, uint8_t offset, uint32_t value,
                      unsigned bytes);

/* The host bridge: memory BARs are decoded inside [first, end) only. */
void pci_set_window(struct pci_bus *pci, uint64_t first, uint64_t end);
/* Map all BARs again, after something else gave up addresses. */
void pci_remap(struct pci_bus *pci);
/* remapped() runs after each mapping of BARs: a chip with ports that outrank
 * BARs (PIIX4 power management) maps them again. */
void pci_set_remapped(struct pci_bus *pci, void (*remapped)(void *context),
                      void *context);

/* Put the standard header in place (ids, class, header type, pin) and make
 * command, BARs, interrupt line writable as the specification says. */
void pci_init_header(struct pci_function *f, uint16_t vendor, uint16_t device,
                     uint32_t class_code, uint8_t revision,
                     uint8_t interrupt_pin);

/* To reset values: config command, BARs unmapped, INTx low. */
void pci_function_reset(struct pci_function *f);
void pci_function_save(const struct pci_function *f, struct writer *w);
/* Loads and maps the BARs again. */
bool pci_function_load(struct pci_function *f, struct reader *r,
                       struct error *err);
/* Bus master enable bit of the command register. */
bool pci_can_master(const struct pci_function *f);

/* Drive INTx of the function: pin and slot are swizzled to PIRQA..D and from
 * there by PIIX3's PIRQRC registers to an ISA line. */
void pci_irq(struct pci_function *f, bool level);
/* PIIX3 tells the router what its PIRQRC registers (0x60..0x63) say. */
void pci_set_pirq(struct pci_bus *pci, unsigned pirq, uint8_t route);

#endif
