#include "dev/dma_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
    COMMAND_DISABLE = 4,
    MODE_TYPE = 0x0c, /* 0 verify, 4 write memory, 8 read memory */
    MODE_WRITE_MEMORY = 4,
    MODE_READ_MEMORY = 8,
    MODE_AUTOINIT = 0x10,
    MODE_DOWN = 0x20,
    ALL_CHANNELS = 15,
    CASCADE = 4 /* channel 0 of the second controller */
};

/* ---- registers (8237A data sheet, figures 4 to 7) ------------------------ */

/* Write one half of a 16-bit register, which the flip-flop selects. */
static void put_half(uint16_t *reg, bool high, uint8_t value)
{
    if (high)
        *reg = (uint16_t)((*reg & 0x00ff) | value << 8);
    else
        *reg = (uint16_t)((*reg & 0xff00) | value);
}

static void write_address_or_count(struct dma_chip *c, unsigned reg,
                                   uint8_t value)
{
    unsigned channel = reg >> 1;
    uint16_t *base = reg & 1 ? c->base_count : c->base_address;
    uint16_t *current = reg & 1 ? c->count : c->address;
    put_half(&base[channel], c->high_byte, value);
    put_half(&current[channel], c->high_byte, value);
    c->high_byte = !c->high_byte;
}

static uint8_t read_address_or_count(struct dma_chip *c, unsigned reg)
{
    uint16_t value = (reg & 1 ? c->count : c->address)[reg >> 1];
    bool high = c->high_byte;
    c->high_byte = !high;
    return (uint8_t)(high ? value >> 8 : value);
}

static void master_clear(struct dma_chip *c)
{
    c->command = 0;
    c->request = 0;
    c->reached = 0;
    c->mask = ALL_CHANNELS;
    c->high_byte = false;
}

static void set_bit(uint8_t *bits, uint8_t value)
{
    uint8_t bit = (uint8_t)(1u << (value & 3));
    if (value & 4)
        *bits |= bit;
    else
        *bits &= (uint8_t)~bit;
}

static void chip_write(struct dma_chip *c, unsigned reg, uint8_t value)
{
    switch (reg) {
    case 8:
        c->command = value;
        break;
    case 9:
        set_bit(&c->request, value);
        break;
    case 10:
        set_bit(&c->mask, value);
        break;
    case 11:
        c->mode[value & 3] = value & 0xfc;
        break;
    case 12:
        c->high_byte = false;
        break;
    case 13:
        master_clear(c);
        break;
    case 14:
        c->mask = 0;
        break;
    case 15:
        c->mask = value & ALL_CHANNELS;
        break;
    default:
        write_address_or_count(c, reg, value);
        break;
    }
}

static uint8_t chip_read(struct dma_chip *c, unsigned reg)
{
    if (reg < 8)
        return read_address_or_count(c, reg);
    if (reg == 8) { /* status; reading clears the terminal counts */
        uint8_t value = (uint8_t)(c->reached | c->request << 4);
        c->reached = 0;
        return value;
    }
    if (reg == 15) /* 82371SB: all mask bits read back */
        return c->mask;
    return reg == 13 ? 0 : 0xff; /* the temporary register; nothing */
}

static uint32_t byte_chip_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct dma *d = chip;
    (void)bytes;
    return chip_read(&d->chip[0], offset);
}

static void byte_chip_write(void *chip, uint16_t offset, uint32_t value,
                            unsigned bytes)
{
    struct dma *d = chip;
    (void)bytes;
    chip_write(&d->chip[0], offset, (uint8_t)value);
}

/* Registers of the word-wide controller are two ports apart. */
static uint32_t word_chip_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct dma *d = chip;
    (void)bytes;
    return offset & 1 ? 0xff : chip_read(&d->chip[1], offset >> 1);
}

static void word_chip_write(void *chip, uint16_t offset, uint32_t value,
                            unsigned bytes)
{
    struct dma *d = chip;
    (void)bytes;
    if (!(offset & 1))
        chip_write(&d->chip[1], offset >> 1, (uint8_t)value);
}

static uint32_t page_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct dma *d = chip;
    (void)bytes;
    return d->page[offset + 1];
}

static void page_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct dma *d = chip;
    (void)bytes;
    d->page[offset + 1] = (uint8_t)value;
}

static const struct io_ops byte_io = {byte_chip_read, byte_chip_write, 1};
static const struct io_ops word_io = {word_chip_read, word_chip_write, 1};
static const struct io_ops page_io = {page_read, page_write, 1};

/* ---- transfers ---------------------------------------------------------- */

/* Page register of each channel (82371SB, DMA page registers). */
static uint8_t page_of(const struct dma *d, unsigned channel)
{
    static const uint8_t port[8] = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};
    return d->page[port[channel]];
}

/* Words have address line 0 low and take A16 from the address register. */
static uint64_t physical(const struct dma *d, unsigned channel)
{
    uint16_t address = d->chip[channel >> 2].address[channel & 3];
    uint64_t page = page_of(d, channel);
    if (channel < 4)
        return page << 16 | address;
    return (page & 0xfe) << 16 | (uint64_t)address << 1;
}

/* One transfer cycle of a byte or a word. False: terminal count. */
static bool cycle(struct dma *d, unsigned channel, uint8_t *buf, unsigned unit)
{
    struct dma_chip *c = &d->chip[channel >> 2];
    unsigned n = channel & 3;
    uint8_t mode = c->mode[n];
    if ((mode & MODE_TYPE) == MODE_WRITE_MEMORY)
        bus_dma_write(d->bus, physical(d, channel), buf, unit);
    else if ((mode & MODE_TYPE) == MODE_READ_MEMORY)
        bus_dma_read(d->bus, physical(d, channel), buf, unit);
    c->address[n] = (uint16_t)(c->address[n] + (mode & MODE_DOWN ? -1 : 1));
    if (c->count[n]-- != 0)
        return true;
    c->reached |= (uint8_t)(1u << n);
    if (mode & MODE_AUTOINIT) {
        c->address[n] = c->base_address[n];
        c->count[n] = c->base_count[n];
    } else {
        c->mask |= (uint8_t)(1u << n);
    }
    return false;
}

size_t dma_transfer(struct dma *d, unsigned channel, void *buf, size_t bytes,
                    enum dma_direction direction, bool *tc)
{
    assert(channel < 8 && channel != CASCADE);
    const struct dma_chip *c = &d->chip[channel >> 2];
    const struct dma_chip *second = &d->chip[1];
    *tc = false;
    bool cascade_blocked =
        channel < 4 && (second->mask & 1 || second->command & COMMAND_DISABLE);
    if (c->mask >> (channel & 3) & 1 || c->command & COMMAND_DISABLE ||
        cascade_blocked)
        return 0;
    unsigned type = c->mode[channel & 3] & MODE_TYPE;
    unsigned wanted =
        direction == DMA_TO_MEMORY ? MODE_WRITE_MEMORY : MODE_READ_MEMORY;
    if (type != 0 && type != wanted) {
        bus_log(d->bus, "dma: channel %u is programmed for the other direction",
                channel);
        return 0;
    }
    unsigned unit = channel < 4 ? 1 : 2;
    size_t moved = 0;
    while (moved + unit <= bytes && !*tc) {
        *tc = !cycle(d, channel, (uint8_t *)buf + moved, unit);
        moved += unit;
    }
    return moved;
}

/* ---- life --------------------------------------------------------------- */

static void dma_reset(void *chip)
{
    struct dma *d = chip;
    for (unsigned i = 0; i < 2; i++) {
        d->chip[i] = (struct dma_chip){0};
        master_clear(&d->chip[i]);
    }
    for (unsigned i = 0; i < DMA_PAGES; i++)
        d->page[i] = 0;
}

struct dma *dma_new(struct dev_bus *bus)
{
    struct dma *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->bus = bus;
    bus_io_map(bus, 0x00, 16, &byte_io, d);
    bus_io_map(bus, 0x81, 15, &page_io, d);
    bus_io_map(bus, 0xc0, 32, &word_io, d);
    dma_reset(d);
    return d;
}

void dma_free(struct dma *d)
{
    free(d);
}

const struct field dma_chip_fields[DMA_CHIP_FIELDS] = {
    FIELD_U16(struct dma_chip, base_address),
    FIELD_U16(struct dma_chip, base_count),
    FIELD_U16(struct dma_chip, address),
    FIELD_U16(struct dma_chip, count),
    FIELD_U8(struct dma_chip, mode),
    FIELD_U8(struct dma_chip, command),
    FIELD_U8(struct dma_chip, mask),
    FIELD_U8(struct dma_chip, request),
    FIELD_U8(struct dma_chip, reached),
    FIELD_BOOL(struct dma_chip, high_byte),
};

const struct field dma_fields[DMA_FIELDS] = {
    FIELD_U8(struct dma, page),
};

static void dma_save(const void *chip, struct writer *w)
{
    const struct dma *d = chip;
    fields_save(dma_fields, DMA_FIELDS, d, w);
    for (unsigned i = 0; i < 2; i++)
        fields_save(dma_chip_fields, DMA_CHIP_FIELDS, &d->chip[i], w);
}

static bool dma_load(void *chip, struct reader *r, struct error *err)
{
    struct dma *d = chip;
    if (!fields_load(dma_fields, DMA_FIELDS, d, r, err))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (!fields_load(dma_chip_fields, DMA_CHIP_FIELDS, &d->chip[i], r, err))
            return false;
    return true;
}

const struct chip_ops dma_ops = {
    .name = "dma",
    .tag = "DMA ",
    .reset = dma_reset,
    .save = dma_save,
    .load = dma_load,
};
