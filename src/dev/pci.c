#include "dev/pci.h"

#include "base/bytes.h"
#include "base/field.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PCI_SLOTS = 32,
    PCI_FUNCTIONS = PCI_SLOTS * 8,
    PCI_ROM_BAR = 6,
    PCI_BARS = 7,
    PIRQS = 4,
    PIRQ_OFF = 0x80, /* PIIX3 PIRQRC bit 7: routing disabled */

    REG_COMMAND = 0x04,
    REG_STATUS = 0x06,
    REG_REVISION = 0x08,
    REG_HEADER = 0x0E,
    REG_BAR = 0x10,
    REG_ROM = 0x30,
    REG_IRQ_LINE = 0x3C,
    REG_IRQ_PIN = 0x3D,

    COMMAND_IO = 1,
    COMMAND_MEMORY = 2,
    COMMAND_MASTER = 4,
    ROM_ENABLE = 1,

    /* Below this port the ISA chips answer; a BAR that points there stays
     * without effect, so that no guest can shadow them. */
    FIRST_BAR_PORT = 0x1000,

    RESET_HARD = 2, /* CF9h bits, 82371SB data sheet 2.5.7 (RC register) */
    RESET_CPU = 4
};

struct pci_bus {
    struct dev_bus *bus;                          /* borrowed */
    struct pci_function *function[PCI_FUNCTIONS]; /* borrowed, fixed */
    uint32_t address;                             /* saved: CF8h */
    uint8_t reset_control;                        /* saved: CF9h */
    uint8_t route[PIRQS];                         /* saved: PIRQRC copies */
    uint64_t window_first, window_end;            /* fixed by the host bridge */
    void (*remapped)(void *context);              /* fixed */
    void *remapped_context;                       /* borrowed */
};

static const struct field pci_fields[] = {
    FIELD_U32(struct pci_bus, address),
    FIELD_U8(struct pci_bus, reset_control),
    FIELD_U8(struct pci_bus, route),
};

/* ---- base addresses -------------------------------------------------------
 */

static const struct pci_bar *bar_of(const struct pci_function *f, unsigned bar)
{
    return bar == PCI_ROM_BAR ? &f->rom : &f->bar[bar];
}

static unsigned bar_register(unsigned bar)
{
    return bar == PCI_ROM_BAR ? REG_ROM : REG_BAR + 4 * bar;
}

/* Where the function decodes a BAR, UINT64_MAX when it does not: decode is off,
 * the address is 0 (never programmed), or it lies where the host bridge has
 * memory of its own. */
static uint64_t bar_wanted(const struct pci_bus *pci,
                           const struct pci_function *f, unsigned i)
{
    const struct pci_bar *bar = bar_of(f, i);
    uint8_t command = f->config[REG_COMMAND];
    uint32_t raw = load_le32(&f->config[bar_register(i)]);
    uint64_t base = raw & ~(bar->bytes - 1);
    if (bar->kind == PCI_BAR_NONE)
        return UINT64_MAX;
    if (bar->kind == PCI_BAR_IO) {
        if (!(command & COMMAND_IO) || base < FIRST_BAR_PORT ||
            base + bar->bytes > 0x10000)
            return UINT64_MAX;
        return base;
    }
    if (!(command & COMMAND_MEMORY) || base < pci->window_first ||
        base + bar->bytes > pci->window_end)
        return UINT64_MAX;
    if (i == PCI_ROM_BAR && !(raw & ROM_ENABLE))
        return UINT64_MAX;
    return base;
}

static void bar_unmap(struct pci_bus *pci, struct pci_function *f, unsigned i)
{
    const struct pci_bar *bar = bar_of(f, i);
    uint64_t base = f->mapped[i];
    f->mapped[i] = UINT64_MAX;
    if (base == UINT64_MAX)
        return;
    if (bar->kind == PCI_BAR_IO)
        bus_io_unmap(pci->bus, (uint16_t)base, bar->bytes, f->chip);
    else if (bar->kind == PCI_BAR_CUSTOM)
        f->on_bar(f->chip, i, UINT64_MAX);
    else
        phys_unmap(bus_phys(pci->bus), base, bar->bytes,
                   PHYS_READ | PHYS_WRITE);
}

static void bar_map(struct pci_bus *pci, struct pci_function *f, unsigned i,
                    uint64_t base)
{
    const struct pci_bar *bar = bar_of(f, i);
    f->mapped[i] = base;
    switch (bar->kind) {
    case PCI_BAR_IO:
        bus_io_map(pci->bus, (uint16_t)base, bar->bytes, bar->io, f->chip);
        break;
    case PCI_BAR_MMIO:
        phys_map_mmio(bus_phys(pci->bus), base, bar->bytes, bar->mmio, f->chip,
                      0, PHYS_READ | PHYS_WRITE);
        break;
    case PCI_BAR_MEMORY:
        phys_map_memory(bus_phys(pci->bus), base, bar->bytes, bar->first_frame,
                        PHYS_READ | PHYS_WRITE);
        break;
    case PCI_BAR_CUSTOM:
        f->on_bar(f->chip, i, base);
        break;
    case PCI_BAR_NONE:
        break;
    }
}

/* Where BARs overlap, the highest function and BAR wins: all are mapped again
 * in that order, so the map depends on the registers and not on history. */
static void map_all(struct pci_bus *pci)
{
    for (unsigned n = 0; n < PCI_FUNCTIONS; n++) {
        struct pci_function *f = pci->function[n];
        for (unsigned i = 0; f && i < PCI_BARS; i++) {
            uint64_t base = bar_wanted(pci, f, i);
            if (base != UINT64_MAX)
                bar_map(pci, f, i, base);
        }
    }
    if (pci->remapped)
        pci->remapped(pci->remapped_context);
}

static void function_remap(struct pci_function *f)
{
    bool changed = false;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (bar_wanted(f->bus, f, i) == f->mapped[i])
            continue;
        changed = true;
        bar_unmap(f->bus, f, i);
    }
    if (changed)
        map_all(f->bus);
}

void pci_remap(struct pci_bus *pci)
{
    map_all(pci);
}

void pci_set_remapped(struct pci_bus *pci, void (*remapped)(void *context),
                      void *context)
{
    pci->remapped = remapped;
    pci->remapped_context = context;
}

void pci_set_window(struct pci_bus *pci, uint64_t first, uint64_t end)
{
    pci->window_first = first;
    pci->window_end = end;
}

/* ---- configuration space --------------------------------------------------
 */

uint32_t pci_config_read(const struct pci_function *f, uint8_t offset,
                         unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes && offset + i < 256; i++)
        value |= (uint32_t)f->config[offset + i] << (8 * i);
    return value;
}

void pci_config_write(struct pci_function *f, uint8_t offset, uint32_t value,
                      unsigned bytes)
{
    for (unsigned i = 0; i < bytes && offset + i < 256; i++) {
        unsigned at = offset + i;
        uint8_t in = (uint8_t)(value >> (8 * i));
        uint8_t keep = f->config[at] & (uint8_t)~f->writable[at];
        keep &= (uint8_t) ~(in & f->clear_on_one[at]);
        f->config[at] = keep | (in & f->writable[at]);
    }
    function_remap(f);
    if (f->on_write)
        f->on_write(f->chip, offset, bytes);
}

/* CF8h names bus 0, a device that is there, and has the enable bit. */
static struct pci_function *addressed(const struct pci_bus *pci)
{
    if (!(pci->address & 0x80000000) || (pci->address >> 16 & 0xFF) != 0)
        return NULL;
    return pci->function[pci->address >> 8 & 0xFF];
}

static void write_reset_control(struct pci_bus *pci, uint8_t value)
{
    bool rises = (value & RESET_CPU) && !(pci->reset_control & RESET_CPU);
    pci->reset_control = value & (RESET_HARD | RESET_CPU);
    if (rises)
        bus_request(pci->bus, value & RESET_HARD ? REQUEST_RESET : REQUEST_INIT,
                    0);
}

static uint32_t mechanism_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct pci_bus *pci = chip;
    uint32_t ones = bytes == 4 ? UINT32_MAX : (1U << 8 * bytes) - 1;
    if (offset == 0 && bytes == 4)
        return pci->address;
    if (offset == 1 && bytes == 1)
        return pci->reset_control;
    const struct pci_function *f = addressed(pci);
    unsigned lane = offset & 3;
    if (offset < 4 || !f)
        return ones;
    if (lane + bytes > 4) /* the upper bytes fall on ports nobody owns */
        return pci_config_read(f, (uint8_t)((pci->address & 0xFC) + lane),
                               4 - lane) |
               (ones & ~((1U << 8 * (4 - lane)) - 1));
    return pci_config_read(f, (uint8_t)((pci->address & 0xFC) + lane), bytes);
}

static void mechanism_write(void *chip, uint16_t offset, uint32_t value,
                            unsigned bytes)
{
    struct pci_bus *pci = chip;
    if (offset == 0 && bytes == 4) {
        pci->address = value & 0x80FFFFFC;
        return;
    }
    if (offset == 1 && bytes == 1) {
        write_reset_control(pci, (uint8_t)value);
        return;
    }
    struct pci_function *f = addressed(pci);
    unsigned lane = offset & 3;
    if (offset < 4 || !f)
        return;
    if (lane + bytes > 4)
        bytes = 4 - lane;
    pci_config_write(f, (uint8_t)((pci->address & 0xFC) + lane), value, bytes);
}

static const struct io_ops mechanism_io = {
    .read = mechanism_read, .write = mechanism_write, .max_bytes = 4};

/* ---- interrupts ------------------------------------------------------------
 */

/* i440FX boards wire INTA of slot 1 to PIRQA, and rotate by one per slot. */
static unsigned pirq_of(const struct pci_function *f)
{
    return (f->device - 1U + f->config[REG_IRQ_PIN] - 1U) % PIRQS;
}

static void drive_intx(struct pci_function *f)
{
    uint8_t route = f->bus->route[pirq_of(f)];
    if (route & PIRQ_OFF) {
        bus_irq_set(f->bus->bus, f->irq_source, false);
        return;
    }
    bus_irq_route(f->bus->bus, f->irq_source, route & 15);
    bus_irq_set(f->bus->bus, f->irq_source, f->intx);
}

void pci_irq(struct pci_function *f, bool level)
{
    if (f->intx == level)
        return;
    f->intx = level;
    /* Status bit 3 (interrupt status) came with PCI 2.3; this chip set's
     * functions do not have it. */
    drive_intx(f);
}

void pci_set_pirq(struct pci_bus *pci, unsigned pirq, uint8_t route)
{
    assert(pirq < PIRQS);
    if (pci->route[pirq] == route)
        return;
    pci->route[pirq] = route;
    for (unsigned n = 0; n < PCI_FUNCTIONS; n++) {
        struct pci_function *f = pci->function[n];
        if (f && f->config[REG_IRQ_PIN] && pirq_of(f) == pirq)
            drive_intx(f);
    }
}

/* ---- functions --------------------------------------------------------------
 */

void pci_init_header(struct pci_function *f, uint16_t vendor, uint16_t device,
                     uint32_t class_code, uint8_t revision,
                     uint8_t interrupt_pin)
{
    store_le16(&f->config[0], vendor);
    store_le16(&f->config[2], device);
    f->config[REG_REVISION] = revision;
    f->config[REG_REVISION + 1] = (uint8_t)class_code;
    f->config[REG_REVISION + 2] = (uint8_t)(class_code >> 8);
    f->config[REG_REVISION + 3] = (uint8_t)(class_code >> 16);
    f->config[REG_IRQ_PIN] = interrupt_pin;
    f->writable[REG_COMMAND] = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER;
    f->writable[REG_COMMAND + 1] = 0x01; /* SERR# enable */
    f->clear_on_one[REG_STATUS + 1] = 0xF9;
    f->writable[0x0C] = 0xFF; /* cache line size */
    f->writable[0x0D] = 0xFF; /* latency timer */
    if (interrupt_pin)
        f->writable[REG_IRQ_LINE] = 0xFF;
}

/* The read-only low bits of a BAR say its kind; the size is what a guest sees
 * stuck at zero (PCI Local Bus 2.1, 6.2.5.1). */
static void init_bar(struct pci_function *f, unsigned i)
{
    const struct pci_bar *bar = bar_of(f, i);
    unsigned at = bar_register(i);
    f->mapped[i] = UINT64_MAX;
    if (bar->kind == PCI_BAR_NONE)
        return;
    assert(bar->bytes && !(bar->bytes & (bar->bytes - 1)));
    assert(bar->kind != PCI_BAR_IO || bar->bytes <= 256);
    assert(bar->kind == PCI_BAR_IO || bar->bytes >= PAGE_BYTES);
    store_le32(&f->writable[at], ~(bar->bytes - 1));
    if (i == PCI_ROM_BAR)
        f->writable[at] |= ROM_ENABLE;
    else if (bar->kind == PCI_BAR_IO)
        f->config[at] |= 1;
    else if (bar->prefetchable)
        f->config[at] |= 8;
}

void pci_add_function(struct pci_bus *pci, struct pci_function *f)
{
    unsigned n = f->device * 8U + f->function;
    assert(f->device < PCI_SLOTS && f->function < 8 && !pci->function[n]);
    f->bus = pci;
    for (unsigned i = 0; i < PCI_BARS; i++)
        init_bar(f, i);
    /* The line is set when PIIX3 routes the pin. */
    f->irq_source = bus_irq_source(pci->bus, "pci", 11);
    pci->function[n] = f;
}

void pci_function_reset(struct pci_function *f)
{
    static const uint8_t cleared[] = {0x04, 0x05, 0x0C, 0x0D, 0x3C};
    for (size_t i = 0; i < sizeof cleared; i++)
        f->config[cleared[i]] &= (uint8_t)~f->writable[cleared[i]];
    for (unsigned i = 0; i < PCI_BARS; i++) {
        unsigned at = bar_register(i);
        for (unsigned k = 0; k < 4; k++)
            f->config[at + k] &= (uint8_t)~f->writable[at + k];
    }
    f->config[REG_STATUS + 1] &= (uint8_t)~f->clear_on_one[REG_STATUS + 1];
    f->intx = false;
    bus_irq_set(f->bus->bus, f->irq_source, false);
    function_remap(f);
}

bool pci_can_master(const struct pci_function *f)
{
    return f->config[REG_COMMAND] & COMMAND_MASTER;
}

static const struct field function_fields[] = {
    FIELD_U8(struct pci_function, config),
    FIELD_BOOL(struct pci_function, intx),
};

void pci_function_save(const struct pci_function *f, struct writer *w)
{
    fields_save(function_fields, FIELD_COUNT(function_fields), f, w);
}

bool pci_function_load(struct pci_function *f, struct reader *r,
                       struct error *err)
{
    uint8_t pin = f->config[REG_IRQ_PIN];
    if (!fields_load(function_fields, FIELD_COUNT(function_fields), f, r, err))
        return false;
    if (f->config[REG_IRQ_PIN] != pin)
        return error_set(err, ERR_INPUT,
                         "PCI function %u.%u: expected interrupt pin %u, "
                         "found %u",
                         f->device, f->function, pin, f->config[REG_IRQ_PIN]);
    function_remap(f); /* the interrupt line was restored with the bus */
    return true;
}

/* ---- the bus ------------------ */

struct pci_bus *pci_bus_new(struct dev_bus *bus)
{
    struct pci_bus *pci = calloc(1, sizeof *pci);
    if (!pci)
        return NULL;
    pci->bus = bus;
    /* Without a host bridge: all but the first megabyte and the top, where the
     * IOAPIC, HPET, LAPIC and the BIOS are. */
    pci->window_first = 0x100000;
    pci->window_end = 0xFEC00000;
    memset(pci->route, PIRQ_OFF, sizeof pci->route);
    bus_io_map(bus, 0xCF8, 8, &mechanism_io, pci);
    return pci;
}

void pci_bus_free(struct pci_bus *pci)
{
    free(pci);
}

static void pci_bus_reset(void *chip)
{
    struct pci_bus *pci = chip;
    pci->address = 0;
    pci->reset_control = 0;
}

static void pci_bus_save(const void *chip, struct writer *w)
{
    fields_save(pci_fields, FIELD_COUNT(pci_fields), chip, w);
}

static bool pci_bus_load(void *chip, struct reader *r, struct error *err)
{
    struct pci_bus *pci = chip;
    if (!fields_load(pci_fields, FIELD_COUNT(pci_fields), pci, r, err))
        return false;
    pci->address &= 0x80FFFFFC;
    pci->reset_control &= RESET_HARD | RESET_CPU;
    return true;
}

const struct chip_ops pci_bus_ops = {.name = "pci",
                                     .tag = "PCI ",
                                     .reset = pci_bus_reset,
                                     .save = pci_bus_save,
                                     .load = pci_bus_load};
