#include "dev/piix3.h"

#include <stdlib.h>

enum {
    REG_COMMAND = 0x04,
    REG_STATUS_HIGH = 0x07,
    REG_HEADER = 0x0E,
    REG_PIRQ = 0x60,
    PIRQS = 4
};

struct piix3 {
    struct pci_function pci; /* saved by pci_function_save() */
    struct pci_bus *bus;     /* borrowed */
};

/* 82371SB data sheet, 2.3: offset, reset value, writable bits. */
static const struct {
    uint8_t offset, reset, writable;
} piix3_regs[] = {
    {0x4C, 0x4D, 0xFF},                     /* IORT */
    {0x4E, 0x03, 0xFF},                     /* XBCS */
    {0x4F, 0x00, 0x01}, {0x60, 0x80, 0x8F}, /* PIRQRCA */
    {0x61, 0x80, 0x8F}, {0x62, 0x80, 0x8F},
    {0x63, 0x80, 0x8F}, {0x69, 0x02, 0xFE}, /* TOM */
    {0x6A, 0x04, 0xFF}, /* MSTAT: header type is multi-function */
    {0x6B, 0x00, 0x80}, {0x70, 0x80, 0xEF}, /* MBIRQ0 */
    {0x76, 0x0C, 0x8F},                     /* MBDMA */
    {0x77, 0x0C, 0x8F}, {0x78, 0x02, 0xFF}, /* PCSC */
    {0x79, 0x00, 0xFF}, {0x80, 0x00, 0x7F}, /* APICBASE */
    {0x82, 0x00, 0x0F},                     /* DLC */
    {0xA0, 0x08, 0x1F},                     /* SMICNTL */
    {0xA2, 0x00, 0xFF},                     /* SMIEN */
    {0xA3, 0x00, 0x01}, {0xA4, 0x00, 0xFF}, /* SEE */
    {0xA5, 0x00, 0xFF}, {0xA6, 0x00, 0xFF},
    {0xA7, 0x00, 0xE0}, {0xA8, 0x0F, 0xFF}, /* FTMR */
    {0xAA, 0x00, 0xFF},                     /* SMIREQ */
    {0xAC, 0x00, 0xFF},                     /* CTLTMR */
    {0xAE, 0x00, 0xFF},                     /* CTHTMR */
};

static void reset_registers(struct piix3 *p)
{
    for (size_t i = 0; i < sizeof piix3_regs / sizeof piix3_regs[0]; i++)
        p->pci.config[piix3_regs[i].offset] = piix3_regs[i].reset;
}

static void route(struct piix3 *p)
{
    for (unsigned i = 0; i < PIRQS; i++)
        pci_set_pirq(p->bus, i, p->pci.config[REG_PIRQ + i]);
}

static void piix3_on_write(void *chip, uint8_t offset, unsigned bytes)
{
    if (offset + bytes > REG_PIRQ && offset < REG_PIRQ + PIRQS)
        route(chip);
}

static void piix3_reset(void *chip)
{
    struct piix3 *p = chip;
    pci_function_reset(&p->pci);
    reset_registers(p);
    route(p);
}

static void piix3_save(const void *chip, struct writer *w)
{
    const struct piix3 *p = chip;
    pci_function_save(&p->pci, w);
}

/* The routes themselves are saved with pci and the bus. */
static bool piix3_load(void *chip, struct reader *r, struct error *err)
{
    struct piix3 *p = chip;
    return pci_function_load(&p->pci, r, err);
}

struct piix3 *piix3_new(struct dev_bus *bus, struct pci_bus *pci)
{
    struct piix3 *p = calloc(1, sizeof *p);
    (void)bus;
    if (!p)
        return NULL;
    p->bus = pci;
    struct pci_function *f = &p->pci;
    f->device = 1;
    f->chip = p;
    f->on_write = piix3_on_write;
    pci_init_header(f, 0x8086, 0x7000, 0x060100, 0x00, 0);
    f->config[REG_COMMAND] = 0x07; /* hard-wired */
    f->writable[REG_COMMAND] = 0;
    f->config[REG_STATUS_HIGH] = 0x02;
    f->config[REG_HEADER] = 0x80;
    for (size_t i = 0; i < sizeof piix3_regs / sizeof piix3_regs[0]; i++)
        f->writable[piix3_regs[i].offset] = piix3_regs[i].writable;
    reset_registers(p);
    pci_add_function(pci, f);
    route(p);
    return p;
}

void piix3_free(struct piix3 *p)
{
    free(p);
}

const struct chip_ops piix3_ops = {.name = "piix3",
                                   .tag = "PIX3",
                                   .reset = piix3_reset,
                                   .save = piix3_save,
                                   .load = piix3_load};
