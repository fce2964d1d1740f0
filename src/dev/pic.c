#include "dev/pic_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
    CASCADE = 2,  /* the master's pin that the slave drives */
    SPURIOUS = 7, /* level reported when the request is gone */
    NOTHING = 8
};

/* ---- priorities --------------------------------------------------------- */

/* Requests as IRR shows them: latched edges, live levels. */
static uint8_t requests(const struct pic_chip *c)
{
    return (uint8_t)((c->latch & ~c->elcr) | (c->lines & c->elcr));
}

/* Rank of the highest-priority bit, 0 highest .. 7, or NOTHING. */
static unsigned best_rank(const struct pic_chip *c, uint8_t bits)
{
    for (unsigned rank = 0; rank < 8; rank++)
        if (bits >> ((c->lowest + 1 + rank) & 7) & 1)
            return rank;
    return NOTHING;
}

static unsigned level_of_rank(const struct pic_chip *c, unsigned rank)
{
    return (c->lowest + 1 + rank) & 7;
}

/* The level that INT is asserted for, or NOTHING. In special mask mode a
 * masked level in service blocks nobody; in special fully nested mode the
 * slave may interrupt its own level (8259A, "Special Fully Nested Mode"). */
static unsigned winner(const struct pic_chip *c, bool is_master)
{
    unsigned want = best_rank(c, (uint8_t)(requests(c) & ~c->imr));
    if (want == NOTHING)
        return NOTHING;
    uint8_t serving = c->isr;
    if (c->special_mask)
        serving &= (uint8_t)~c->imr;
    if (is_master && c->nested && level_of_rank(c, want) == CASCADE)
        serving &= (uint8_t) ~(1u << CASCADE);
    return want < best_rank(c, serving) ? level_of_rank(c, want) : NOTHING;
}

/* ---- lines -------------------------------------------------------------- */

static void set_pin(struct pic_chip *c, uint64_t tick, unsigned pin, bool level)
{
    uint8_t bit = (uint8_t)(1u << pin);
    bool was = c->lines & bit;
    if (level == was)
        return;
    c->lines ^= bit;
    if (level) {
        if (c->rise_tick != tick)
            c->rose = 0;
        c->rise_tick = tick;
        c->rose |= bit;
        c->latch |= bit;
    } else if (c->rise_tick != tick || !(c->rose & bit)) {
        c->latch &= (uint8_t)~bit;
    }
}

/* Propagate the slave's INT to the master and the master's to the CPU. */
static void update(struct pic *pic)
{
    bool slave = winner(&pic->chip[PIC_SLAVE], false) != NOTHING;
    set_pin(&pic->chip[PIC_MASTER], bus_tick(pic->bus), CASCADE, slave);
    bool intr = winner(&pic->chip[PIC_MASTER], true) != NOTHING;
    if (intr == pic->intr)
        return;
    pic->intr = intr;
    if (pic->output)
        pic->output(pic->board, intr);
}

void pic_set_line(struct pic *pic, unsigned line, bool level)
{
    assert(line < 16);
    if (line == CASCADE)
        return;
    set_pin(&pic->chip[line >> 3], bus_tick(pic->bus), line & 7, level);
    update(pic);
}

bool pic_intr(const struct pic *pic)
{
    return pic->intr;
}

void pic_view(const struct pic *pic, unsigned chip, struct pic_view *out)
{
    const struct pic_chip *c = &pic->chip[chip == 0 ? PIC_MASTER : PIC_SLAVE];
    *out = (struct pic_view){.irr = requests(c),
                             .imr = c->imr,
                             .isr = c->isr,
                             .elcr = c->elcr,
                             .base = c->base};
}

/* ---- acknowledge -------------------------------------------------------- */

static void acknowledge_level(struct pic_chip *c, unsigned level)
{
    uint8_t bit = (uint8_t)(1u << level);
    c->latch &= (uint8_t)~bit;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_on_aeoi)
        c->lowest = (uint8_t)level;
}

/* INT drops while the slave is acknowledged, so that a further request makes
 * a new edge on the master's pin. */
static unsigned acknowledge_chip(struct pic *pic, unsigned which)
{
    struct pic_chip *c = &pic->chip[which];
    unsigned level = winner(c, which == PIC_MASTER);
    if (level == NOTHING)
        return NOTHING;
    acknowledge_level(c, level);
    if (which == PIC_SLAVE)
        set_pin(&pic->chip[PIC_MASTER], bus_tick(pic->bus), CASCADE, false);
    return level;
}

uint8_t pic_acknowledge(struct pic *pic)
{
    const struct pic_chip *from = &pic->chip[PIC_MASTER];
    unsigned level = acknowledge_chip(pic, PIC_MASTER);
    if (level == CASCADE && from->icw3 >> CASCADE & 1) {
        from = &pic->chip[PIC_SLAVE];
        level = acknowledge_chip(pic, PIC_SLAVE);
    }
    update(pic);
    return (uint8_t)(from->base | (level == NOTHING ? SPURIOUS : level));
}

/* ---- registers ---------------------------------------------------------- */

/* ICW1 (8259A, "Initialization Command Words", a to f). */
static void write_icw1(struct pic_chip *c, uint8_t value)
{
    c->latch = 0;
    c->imr = 0;
    c->isr = 0;
    c->lowest = 7;
    c->special_mask = false;
    c->read_isr = false;
    c->poll = false;
    c->auto_eoi = false;
    c->nested = false;
    c->rotate_on_aeoi = false;
    c->single = value & 2;
    c->wants_icw4 = value & 1;
    c->step = PIC_ICW2;
}

/* Level that a non-specific EOI ends, or NOTHING: in special mask mode masked
 * levels are left in service. */
static unsigned served_level(const struct pic_chip *c)
{
    uint8_t serving = c->isr;
    if (c->special_mask)
        serving &= (uint8_t)~c->imr;
    unsigned rank = best_rank(c, serving);
    return rank == NOTHING ? NOTHING : level_of_rank(c, rank);
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
    bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
    unsigned level = value & 7;
    if (!eoi) {
        if (!specific)
            c->rotate_on_aeoi = rotate;
        else if (rotate)
            c->lowest = (uint8_t)level;
        return;
    }
    if (!specific)
        level = served_level(c);
    if (level == NOTHING)
        return;
    c->isr &= (uint8_t) ~(1u << level);
    if (rotate)
        c->lowest = (uint8_t)level;
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
    c->poll = value & 4;
    if (value & 2)
        c->read_isr = value & 1;
    if (value & 0x40)
        c->special_mask = value & 0x20;
}

static void write_odd(struct pic_chip *c, uint8_t value)
{
    switch (c->step) {
    case PIC_ICW2:
        c->base = value & 0xf8;
        c->step = !c->single ? PIC_ICW3 : c->wants_icw4 ? PIC_ICW4 : PIC_READY;
        break;
    case PIC_ICW3:
        c->icw3 = value;
        c->step = c->wants_icw4 ? PIC_ICW4 : PIC_READY;
        break;
    case PIC_ICW4:
        c->nested = value & 0x10;
        c->auto_eoi = value & 2;
        c->step = PIC_READY;
        break;
    default:
        c->imr = value;
        break;
    }
}

static void write_port(struct pic *pic, unsigned which, uint16_t offset,
                       uint8_t value)
{
    struct pic_chip *c = &pic->chip[which];
    if (offset & 1)
        write_odd(c, value);
    else if (value & 0x10)
        write_icw1(c, value);
    else if (value & 8)
        write_ocw3(c, value);
    else
        write_ocw2(c, value);
    update(pic);
}

static uint8_t read_port(struct pic *pic, unsigned which, uint16_t offset)
{
    struct pic_chip *c = &pic->chip[which];
    if (c->poll) {
        c->poll = false;
        unsigned level = acknowledge_chip(pic, which);
        update(pic);
        return level == NOTHING ? 0 : (uint8_t)(0x80 | level);
    }
    if (offset & 1)
        return c->imr;
    return c->read_isr ? c->isr : requests(c);
}

static uint32_t master_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)bytes;
    return read_port(chip, PIC_MASTER, offset);
}

static void master_write(void *chip, uint16_t offset, uint32_t value,
                         unsigned bytes)
{
    (void)bytes;
    write_port(chip, PIC_MASTER, offset, (uint8_t)value);
}

static uint32_t slave_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)bytes;
    return read_port(chip, PIC_SLAVE, offset);
}

static void slave_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    (void)bytes;
    write_port(chip, PIC_SLAVE, offset, (uint8_t)value);
}

static uint32_t elcr_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct pic *pic = chip;
    (void)bytes;
    return pic->chip[offset & 1].elcr;
}

/* Lines 0, 1, 2, 8 and 13 are always edge-triggered (82371SB, ELCR). */
static void elcr_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    static const uint8_t writable[PIC_CHIPS] = {0xf8, 0xde};
    struct pic *pic = chip;
    (void)bytes;
    pic->chip[offset & 1].elcr = (uint8_t)(value & writable[offset & 1]);
    update(pic);
}

static const struct io_ops master_io = {master_read, master_write, 1};
static const struct io_ops slave_io = {slave_read, slave_write, 1};
static const struct io_ops elcr_io = {elcr_read, elcr_write, 1};

/* ---- life --------------------------------------------------------------- */

static void pic_reset(void *chip)
{
    struct pic *pic = chip;
    for (unsigned i = 0; i < PIC_CHIPS; i++) {
        uint8_t lines = pic->chip[i].lines;
        pic->chip[i] = (struct pic_chip){.lines = lines, .lowest = 7};
    }
    update(pic);
}

struct pic *pic_new(struct dev_bus *bus)
{
    struct pic *pic = calloc(1, sizeof *pic);
    if (!pic)
        return NULL;
    pic->bus = bus;
    bus_io_map(bus, 0x20, 2, &master_io, pic);
    bus_io_map(bus, 0xa0, 2, &slave_io, pic);
    bus_io_map(bus, 0x4d0, 2, &elcr_io, pic);
    pic_reset(pic);
    return pic;
}

void pic_free(struct pic *pic)
{
    free(pic);
}

void pic_set_output(struct pic *pic, pic_output_fn *fn, void *board)
{
    pic->output = fn;
    pic->board = board;
}

const struct field pic_chip_fields[PIC_CHIP_FIELDS] = {
    FIELD_U64(struct pic_chip, rise_tick),
    FIELD_U8(struct pic_chip, rose),
    FIELD_U8(struct pic_chip, lines),
    FIELD_U8(struct pic_chip, latch),
    FIELD_U8(struct pic_chip, imr),
    FIELD_U8(struct pic_chip, isr),
    FIELD_U8(struct pic_chip, elcr),
    FIELD_U8(struct pic_chip, base),
    FIELD_U8(struct pic_chip, icw3),
    FIELD_U8(struct pic_chip, lowest),
    FIELD_U8(struct pic_chip, step),
    FIELD_BOOL(struct pic_chip, single),
    FIELD_BOOL(struct pic_chip, wants_icw4),
    FIELD_BOOL(struct pic_chip, auto_eoi),
    FIELD_BOOL(struct pic_chip, nested),
    FIELD_BOOL(struct pic_chip, rotate_on_aeoi),
    FIELD_BOOL(struct pic_chip, special_mask),
    FIELD_BOOL(struct pic_chip, read_isr),
    FIELD_BOOL(struct pic_chip, poll),
};

static void pic_save(const void *chip, struct writer *w)
{
    const struct pic *pic = chip;
    for (unsigned i = 0; i < PIC_CHIPS; i++)
        fields_save(pic_chip_fields, PIC_CHIP_FIELDS, &pic->chip[i], w);
}

static bool pic_load(void *chip, struct reader *r, struct error *err)
{
    struct pic *pic = chip;
    for (unsigned i = 0; i < PIC_CHIPS; i++) {
        struct pic_chip *c = &pic->chip[i];
        if (!fields_load(pic_chip_fields, PIC_CHIP_FIELDS, c, r, err))
            return false;
        if (c->lowest > 7 || c->step > PIC_ICW4)
            return error_set(err, ERR_INPUT,
                             "pic %u: lowest priority %u or init step %u is "
                             "out of range",
                             i, c->lowest, c->step);
    }
    pic->intr = winner(&pic->chip[PIC_MASTER], true) != NOTHING;
    return true;
}

const struct chip_ops pic_ops = {
    .name = "pic",
    .tag = "PIC ",
    .reset = pic_reset,
    .save = pic_save,
    .load = pic_load,
};
