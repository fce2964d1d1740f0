#include "dev/misc_internal.h"

#include <stdlib.h>

static uint32_t post_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct misc *m = chip;
    (void)offset;
    (void)bytes;
    return m->post;
}

/* Operating systems write port 80h as a delay, with the same byte each time:
 * only a new code is news. */
static void post_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct misc *m = chip;
    (void)offset;
    (void)bytes;
    if (m->post == (uint8_t)value)
        return;
    m->post = (uint8_t)value;
    bus_output(m->bus, OUT_POST, &m->post, 1);
}

/* Reading E9h back tells a guest that the console is there. */
static uint32_t debugcon_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)bytes;
    return 0xe9;
}

static void debugcon_write(void *chip, uint16_t offset, uint32_t value,
                           unsigned bytes)
{
    struct misc *m = chip;
    uint8_t byte = (uint8_t)value;
    (void)offset;
    (void)bytes;
    bus_output(m->bus, OUT_DEBUGCON, &byte, 1);
}

static uint32_t exit_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)bytes;
    return 0;
}

static void exit_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct misc *m = chip;
    (void)offset;
    (void)bytes;
    bus_request(m->bus, REQUEST_DEBUG_EXIT, value);
}

static uint32_t fpu_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)bytes;
    return 0xff; /* write-only */
}

/* F0h ends IRQ 13; F1h (reset of the 80287) has nothing to reset. */
static void fpu_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct misc *m = chip;
    (void)value;
    (void)bytes;
    if (offset != 0)
        return;
    bus_irq_set(m->bus, m->irq13, false);
    if (m->ignne)
        m->ignne(m->board);
}

static const struct io_ops post_io = {post_read, post_write, 1};
static const struct io_ops debugcon_io = {debugcon_read, debugcon_write, 1};
static const struct io_ops exit_io = {exit_read, exit_write, 4};
static const struct io_ops fpu_io = {fpu_read, fpu_write, 1};

/* IRQ 13 is latched by FERR# and stays until F0h is written (82371SB). */
void misc_ferr(struct misc *m, bool level)
{
    if (level && !m->ferr)
        bus_irq_set(m->bus, m->irq13, true);
    m->ferr = level;
}

void misc_set_ignne(struct misc *m, misc_ignne_fn *fn, void *board)
{
    m->ignne = fn;
    m->board = board;
}

static void misc_reset(void *chip)
{
    struct misc *m = chip;
    m->post = 0;
    m->ferr = false;
    bus_irq_set(m->bus, m->irq13, false);
}

struct misc *misc_new(struct dev_bus *bus)
{
    struct misc *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->bus = bus;
    m->irq13 = bus_irq_source(bus, "fpu", 13);
    bus_io_map(bus, 0x80, 1, &post_io, m);
    bus_io_map(bus, 0xe9, 1, &debugcon_io, m);
    bus_io_map(bus, 0xf0, 2, &fpu_io, m);
    bus_io_map(bus, 0xf4, 4, &exit_io, m);
    misc_reset(m);
    return m;
}

void misc_free(struct misc *m)
{
    free(m);
}

const struct field misc_fields[MISC_FIELDS] = {
    FIELD_U8(struct misc, post),
    FIELD_BOOL(struct misc, ferr),
};

static void misc_save(const void *chip, struct writer *w)
{
    fields_save(misc_fields, MISC_FIELDS, chip, w);
}

static bool misc_load(void *chip, struct reader *r, struct error *err)
{
    return fields_load(misc_fields, MISC_FIELDS, chip, r, err);
}

const struct chip_ops misc_ops = {
    .name = "misc",
    .tag = "MISC",
    .reset = misc_reset,
    .save = misc_save,
    .load = misc_load,
};
