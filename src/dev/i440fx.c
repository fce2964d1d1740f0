#include "dev/i440fx.h"

#include <assert.h>
#include <stdlib.h>

enum {
    REG_COMMAND = 0x04,
    REG_STATUS_HIGH = 0x07,
    REG_PAM = 0x59,
    REG_PAM_END = 0x60,
    REG_SMRAM = 0x72,

    PAM_READ = 1, /* reads go to RAM, not to PCI */
    PAM_WRITE = 2,

    SMRAM_DEFAULT = 0x02, /* C_BASE_SEG: A0000h */
    SMRAM_ENABLE = 0x08,
    SMRAM_LOCKED = 0x10,
    SMRAM_OPEN = 0x40,

    WINDOW = 0xA0000,
    WINDOW_BYTES = 0x20000,
    ROM_AREA = 0xC0000,
    AREA_BYTES = 0x4000,
    ROM_AREAS = 12, /* C0000h-EFFFFh in 16 KiB steps; F0000h is one more */
    BIOS_AREA = 0xF0000,
    BIOS_AREA_BYTES = 0x10000,
    MEGABYTE = 0x100000
};
#define FOUR_GIB    0x100000000ull
#define WINDOW_END  0xFEC00000u /* IOAPIC, HPET, LAPIC and BIOS above */
#define LEGACY_BIOS 0x20000u    /* what of the BIOS shows below 1 MiB */

struct i440fx {
    struct pci_function pci; /* saved by pci_function_save() */
    struct dev_bus *bus;     /* borrowed */
    struct i440fx_memory memory;
    void (*map_window)(void *vga); /* fixed by the board */
    void *vga;                     /* borrowed */
    bool smram_open;               /* derived: what the map shows now */
    uint8_t pam_mapped[REG_PAM_END - REG_PAM]; /* derived: likewise */
};

/* ---- the map ----------------------------------------------------------------
 */

static void map_ram(struct i440fx *h, uint32_t paddr, uint32_t bytes,
                    unsigned how)
{
    phys_map_memory(bus_phys(h->bus), paddr, bytes,
                    h->memory.ram_frame + (paddr >> PAGE_SHIFT), how);
}

/* What PCI and ISA answer below 1 MiB: the end of the BIOS, else nothing. */
static void map_isa(struct i440fx *h, uint32_t paddr, uint32_t bytes,
                    unsigned how)
{
    uint32_t shown =
        h->memory.bios_bytes < LEGACY_BIOS ? h->memory.bios_bytes : LEGACY_BIOS;
    for (uint32_t at = paddr; at < paddr + bytes; at += PAGE_BYTES) {
        uint32_t below_top = MEGABYTE - at;
        if (below_top > shown) {
            phys_unmap(bus_phys(h->bus), at, PAGE_BYTES, how);
            continue;
        }
        uint32_t in_bios = h->memory.bios_bytes - below_top;
        phys_map_memory(bus_phys(h->bus), at, PAGE_BYTES,
                        h->memory.bios_frame + (in_bios >> PAGE_SHIFT), how);
    }
}

static void map_area(struct i440fx *h, uint32_t paddr, uint32_t bytes,
                     unsigned pam)
{
    if (pam & PAM_READ)
        map_ram(h, paddr, bytes, PHYS_READ);
    else
        map_isa(h, paddr, bytes, PHYS_READ);
    if (pam & PAM_WRITE)
        map_ram(h, paddr, bytes, PHYS_WRITE);
    else
        map_isa(h, paddr, bytes, PHYS_WRITE);
}

/* PAM0's upper nibble is F0000h; PAM1..PAM6 hold two 16 KiB areas each, the
 * lower one in the lower nibble (82441FX data sheet, table 4). */
static void map_pam(struct i440fx *h, bool force)
{
    for (unsigned reg = REG_PAM; reg < REG_PAM_END; reg++) {
        uint8_t pam = h->pci.config[reg];
        uint8_t *mapped = &h->pam_mapped[reg - REG_PAM];
        if (pam == *mapped && !force)
            continue;
        *mapped = pam;
        if (reg == REG_PAM) {
            map_area(h, BIOS_AREA, BIOS_AREA_BYTES, pam >> 4);
            continue;
        }
        uint32_t first = ROM_AREA + (reg - REG_PAM - 1) * 2 * AREA_BYTES;
        map_area(h, first, AREA_BYTES, pam);
        map_area(h, first + AREA_BYTES, AREA_BYTES, pam >> 4);
    }
}

static void map_smram(struct i440fx *h, bool force)
{
    uint8_t smram = h->pci.config[REG_SMRAM];
    bool open = (smram & SMRAM_OPEN) && (smram & SMRAM_ENABLE);
    if (open == h->smram_open && !force)
        return;
    h->smram_open = open;
    if (open)
        map_ram(h, WINDOW, WINDOW_BYTES, PHYS_READ | PHYS_WRITE);
    else if (h->map_window)
        h->map_window(h->vga);
    else
        phys_unmap(bus_phys(h->bus), WINDOW, WINDOW_BYTES,
                   PHYS_READ | PHYS_WRITE);
}

static void map_fixed(struct i440fx *h)
{
    struct phys *p = bus_phys(h->bus);
    const struct i440fx_memory *m = &h->memory;
    map_ram(h, 0, WINDOW, PHYS_READ | PHYS_WRITE);
    if (m->low_bytes > MEGABYTE)
        phys_map_memory(p, MEGABYTE, m->low_bytes - MEGABYTE,
                        m->ram_frame + (MEGABYTE >> PAGE_SHIFT),
                        PHYS_READ | PHYS_WRITE);
    if (m->high_bytes)
        phys_map_memory(p, FOUR_GIB, m->high_bytes,
                        m->ram_frame + (uint32_t)(m->low_bytes >> PAGE_SHIFT),
                        PHYS_READ | PHYS_WRITE);
    if (m->bios_bytes)
        phys_map_memory(p, FOUR_GIB - m->bios_bytes, m->bios_bytes,
                        m->bios_frame, PHYS_READ | PHYS_WRITE);
}

void i440fx_set_vga(struct i440fx *h, void (*map_window)(void *vga), void *vga)
{
    h->map_window = map_window;
    h->vga = vga;
    map_smram(h, true);
}

bool i440fx_smram_open(const struct i440fx *h)
{
    return h->smram_open;
}

/* ---- registers ------------------ */

/* D_LCK clears D_OPEN and makes the register read-only until reset. */
static void set_smram_mask(struct i440fx *h)
{
    bool locked = h->pci.config[REG_SMRAM] & SMRAM_LOCKED;
    if (locked)
        h->pci.config[REG_SMRAM] &= (uint8_t)~SMRAM_OPEN;
    h->pci.writable[REG_SMRAM] = locked ? 0x20 : 0x78; /* D_CLS stays */
}

static void i440fx_on_write(void *chip, uint8_t offset, unsigned bytes)
{
    struct i440fx *h = chip;
    (void)offset;
    (void)bytes;
    set_smram_mask(h);
    map_pam(h, false);
    map_smram(h, false);
}

static void reset_registers(struct i440fx *h)
{
    for (unsigned i = 0x40; i < 0x100; i++)
        h->pci.config[i] = 0;
    h->pci.config[0x51] = 0x01;
    h->pci.config[0x58] = 0x10;
    for (unsigned i = 0x60; i < 0x68; i++)
        h->pci.config[i] = 0x01; /* DRB: sized by nobody, as real rows reset */
    h->pci.config[REG_SMRAM] = SMRAM_DEFAULT;
    set_smram_mask(h);
}

static void i440fx_reset(void *chip)
{
    struct i440fx *h = chip;
    pci_function_reset(&h->pci);
    reset_registers(h);
    map_pam(h, false);
    map_smram(h, false);
}

static void i440fx_save(const void *chip, struct writer *w)
{
    const struct i440fx *h = chip;
    pci_function_save(&h->pci, w);
}

static bool i440fx_load(void *chip, struct reader *r, struct error *err)
{
    struct i440fx *h = chip;
    if (!pci_function_load(&h->pci, r, err))
        return false;
    set_smram_mask(h);
    map_pam(h, true);
    map_smram(h, true);
    return true;
}

struct i440fx *i440fx_new(struct dev_bus *bus, struct pci_bus *pci,
                          const struct i440fx_memory *memory)
{
    struct i440fx *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    assert(memory->low_bytes >= MEGABYTE);
    h->bus = bus;
    h->memory = *memory;
    struct pci_function *f = &h->pci;
    f->chip = h;
    f->on_write = i440fx_on_write;
    pci_init_header(f, 0x8086, 0x1237, 0x060000, 0x02, 0);
    f->config[REG_COMMAND] = 0x06; /* memory and bus master, hard-wired */
    f->writable[REG_COMMAND] = 0;
    f->config[REG_STATUS_HIGH] = 0x02;
    for (unsigned i = 0x50; i < 0x100; i++)
        f->writable[i] = 0xFF;
    for (unsigned i = REG_PAM; i < REG_PAM_END; i++)
        f->writable[i] = 0x33;
    f->writable[REG_PAM] = 0x30;
    reset_registers(h);
    pci_add_function(pci, f);
    pci_set_window(pci, memory->low_bytes, WINDOW_END);
    map_fixed(h);
    map_pam(h, true);
    map_smram(h, true);
    return h;
}

void i440fx_free(struct i440fx *h)
{
    free(h);
}

const struct chip_ops i440fx_ops = {.name = "i440fx",
                                    .tag = "PMC ",
                                    .reset = i440fx_reset,
                                    .save = i440fx_save,
                                    .load = i440fx_load};
