#include "dev/ioapic.h"

#include "base/field.h"

#include <stdlib.h>
#include <string.h>

#define IOAPIC_BASE 0xfec00000u
#define ENTRY_RESET (1ull << 16)

/* Redirection table entry (82093AA 3.2.4). */
enum {
    ENTRY_LOGICAL = 1 << 11,
    ENTRY_REMOTE_IRR = 1 << 14,
    ENTRY_LEVEL = 1 << 15,
    ENTRY_MASKED = 1 << 16
};
/* Delivery status (12) and remote IRR (14) are read-only. */
#define ENTRY_WRITABLE 0xff0000000001afffull

struct ioapic {
    uint64_t entry[IOAPIC_PINS];
    uint32_t id;    /* register layout: bits 27..24 */
    uint8_t select; /* IOREGSEL */
    bool pin[IOAPIC_PINS];
    struct dev_bus *bus; /* borrowed */
    ioapic_send_fn *send;
    void *context; /* borrowed */
};

static const struct field ioapic_fields[] = {
    FIELD_U64(struct ioapic, entry),
    FIELD_U32(struct ioapic, id),
    FIELD_U8(struct ioapic, select),
    FIELD_BOOL(struct ioapic, pin),
};

static bool send(struct ioapic *io, unsigned pin)
{
    uint64_t e = io->entry[pin];
    struct lapic_message m = {
        .destination = (uint8_t)(e >> 56),
        .logical = e & ENTRY_LOGICAL,
        .mode = e >> 8 & 7,
        .vector = (uint8_t)e,
        .level = e & ENTRY_LEVEL,
    };
    return io->send && io->send(io->context, &m);
}

/* A level entry sends when asserted, unmasked and not already in service; the
 * other modes (NMI, ExtINT, SMI, INIT) are edges whatever the bit says. */
static bool is_level(uint64_t e)
{
    return (e & ENTRY_LEVEL) && (e >> 8 & 7) <= LAPIC_LOWEST;
}

static void evaluate_level(struct ioapic *io, unsigned pin)
{
    uint64_t *e = &io->entry[pin];
    if (!is_level(*e) || !io->pin[pin] ||
        (*e & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
        return;
    *e |= ENTRY_REMOTE_IRR;
    if (!send(io, pin))
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR; /* nobody took it: ask again at
                                              the next change */
}

/* An edge that arrives while the entry is masked is lost (82093AA 3.2.4, mask
 * bit: "edge-sensitive interrupts ... are ignored"). */
void ioapic_set_pin(struct ioapic *io, unsigned pin, bool asserted)
{
    if (pin >= IOAPIC_PINS || io->pin[pin] == asserted)
        return;
    io->pin[pin] = asserted;
    uint64_t e = io->entry[pin];
    if (is_level(e))
        evaluate_level(io, pin);
    else if (asserted && !(e & ENTRY_MASKED))
        (void)send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *e = &io->entry[pin];
        if ((*e & 0xff) != vector || !(*e & ENTRY_REMOTE_IRR))
            continue;
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
        evaluate_level(io, pin);
    }
}

/* Switching an entry to edge drops its remote IRR: Linux ends a stuck level
 * interrupt that way on version 11h chips. */
static void write_entry(struct ioapic *io, unsigned pin, uint64_t value)
{
    uint64_t *e = &io->entry[pin];
    *e = (value & ENTRY_WRITABLE) | (*e & ENTRY_REMOTE_IRR);
    if (!(*e & ENTRY_LEVEL))
        *e &= ~(uint64_t)ENTRY_REMOTE_IRR;
    evaluate_level(io, pin);
}

static uint32_t read_window(const struct ioapic *io)
{
    unsigned reg = io->select;
    if (reg >= 0x10 && reg < 0x10 + 2 * IOAPIC_PINS) {
        uint64_t e = io->entry[(reg - 0x10) / 2];
        return (uint32_t)(reg & 1 ? e >> 32 : e);
    }
    switch (reg) {
    case 0:
    case 2: /* arbitration ID: loaded with the ID */
        return io->id;
    case 1:
        return 0x11 | (IOAPIC_PINS - 1) << 16;
    default:
        return 0;
    }
}

static void write_window(struct ioapic *io, uint32_t value)
{
    unsigned reg = io->select;
    if (reg == 0) {
        io->id = value & 0x0f000000;
    } else if (reg >= 0x10 && reg < 0x10 + 2 * IOAPIC_PINS) {
        unsigned pin = (reg - 0x10) / 2;
        uint64_t e = io->entry[pin];
        if (reg & 1)
            e = (e & 0xffffffff) | (uint64_t)value << 32;
        else
            e = (e & ~0xffffffffull) | value;
        write_entry(io, pin, e);
    }
}

/* IOREGSEL at 00h, IOWIN at 10h; narrower accesses reach the low bytes. */
static uint64_t mmio_read(void *chip, uint64_t offset, unsigned bytes)
{
    const struct ioapic *io = chip;
    unsigned byte = offset & 0xf;
    uint32_t value = 0;
    if (byte > 3)
        return 0;
    if (offset >> 4 == 0)
        value = io->select;
    else if (offset >> 4 == 1)
        value = read_window(io);
    value >>= byte * 8;
    return bytes >= 4 ? value : value & ((1u << bytes * 8) - 1);
}

static void mmio_write(void *chip, uint64_t offset, uint64_t value,
                       unsigned bytes)
{
    struct ioapic *io = chip;
    unsigned byte = offset & 0xf;
    if (byte > 3)
        return;
    if (offset >> 4 == 0 && byte == 0) {
        io->select = (uint8_t)value;
    } else if (offset >> 4 == 1) {
        if (bytes < 4) {
            uint32_t mask = ((1u << bytes * 8) - 1) << byte * 8;
            value = (read_window(io) & ~mask) | (value << byte * 8 & mask);
        }
        write_window(io, (uint32_t)value);
    }
}

static const struct mmio_ops ioapic_mmio = {mmio_read, mmio_write};

static void ioapic_reset(void *chip)
{
    struct ioapic *io = chip;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        io->entry[i] = ENTRY_RESET;
    memset(io->pin, 0, sizeof io->pin);
    io->id = 0;
    io->select = 0;
}

struct ioapic *ioapic_new(struct dev_bus *bus, ioapic_send_fn *send_fn,
                          void *context)
{
    struct ioapic *io = calloc(1, sizeof *io);
    if (!io)
        return NULL;
    io->bus = bus;
    io->send = send_fn;
    io->context = context;
    ioapic_reset(io);
    phys_map_mmio(bus_phys(bus), IOAPIC_BASE, PAGE_BYTES, &ioapic_mmio, io, 0,
                  PHYS_READ | PHYS_WRITE);
    return io;
}

void ioapic_free(struct ioapic *io)
{
    free(io);
}

static void ioapic_save(const void *chip, struct writer *w)
{
    fields_save(ioapic_fields, FIELD_COUNT(ioapic_fields), chip, w);
}

static bool ioapic_load(void *chip, struct reader *r, struct error *err)
{
    return fields_load(ioapic_fields, FIELD_COUNT(ioapic_fields), chip, r, err);
}

const struct chip_ops ioapic_ops = {.name = "ioapic",
                                    .tag = "IOAP",
                                    .reset = ioapic_reset,
                                    .save = ioapic_save,
                                    .load = ioapic_load};
