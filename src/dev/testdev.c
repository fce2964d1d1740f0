#include "dev/testdev.h"

#include "base/field.h"

#include <stdlib.h>

enum {
    TESTDEV_LINES = 16,
    TESTDEV_LINE_PORTS = 24,
    TESTDEV_RAM_BYTES = 64 * 1024
};
#define TESTDEV_RAM_BASE 0xff000000u

struct testdev {
    uint32_t loopback;
    struct dev_bus *bus;            /* borrowed */
    unsigned source[TESTDEV_LINES]; /* handles; levels are saved with the bus */
};

static const struct field testdev_fields[] = {
    FIELD_U32(struct testdev, loopback),
};

/* The bits of the register that an access of `bytes` at `offset` covers. */
static uint32_t covered(unsigned offset, unsigned bytes)
{
    uint32_t ones = bytes >= 4 ? 0xffffffff : (1u << bytes * 8) - 1;
    return ones << offset * 8;
}

static uint32_t loopback_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct testdev *t = chip;
    return (t->loopback & covered(offset, bytes)) >> offset * 8;
}

static void loopback_write(void *chip, uint16_t offset, uint32_t value,
                           unsigned bytes)
{
    struct testdev *t = chip;
    uint32_t mask = covered(offset, bytes);
    t->loopback = (t->loopback & ~mask) | (value << offset * 8 & mask);
}

static uint32_t zero_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip, (void)offset, (void)bytes;
    return 0;
}

static void flush_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    (void)chip, (void)offset, (void)value, (void)bytes;
}

static void line_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct testdev *t = chip;
    (void)bytes;
    if (offset < TESTDEV_LINES)
        bus_irq_set(t->bus, t->source[offset], value != 0);
}

static const struct io_ops loopback_io = {loopback_read, loopback_write, 4};
static const struct io_ops flush_io = {zero_read, flush_write, 4};
static const struct io_ops line_io = {zero_read, line_write, 4};

static void testdev_reset(void *chip)
{
    struct testdev *t = chip;
    t->loopback = 0;
}

struct testdev *testdev_new(struct dev_bus *bus)
{
    struct testdev *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->bus = bus;
    for (unsigned i = 0; i < TESTDEV_LINES; i++)
        t->source[i] = bus_irq_source(bus, "testdev", i);
    bus_io_map(bus, 0xe0, 4, &loopback_io, t);
    bus_io_map(bus, 0xe4, 4, &flush_io, t);
    bus_io_map(bus, 0x2000, TESTDEV_LINE_PORTS, &line_io, t);
    uint32_t frame =
        phys_add_memory(bus_phys(bus), "testdev", TESTDEV_RAM_BYTES, false);
    phys_map_memory(bus_phys(bus), TESTDEV_RAM_BASE, TESTDEV_RAM_BYTES, frame,
                    PHYS_READ | PHYS_WRITE);
    return t;
}

void testdev_free(struct testdev *t)
{
    free(t);
}

static void testdev_save(const void *chip, struct writer *w)
{
    fields_save(testdev_fields, FIELD_COUNT(testdev_fields), chip, w);
}

static bool testdev_load(void *chip, struct reader *r, struct error *err)
{
    return fields_load(testdev_fields, FIELD_COUNT(testdev_fields), chip, r,
                       err);
}

const struct chip_ops testdev_ops = {.name = "testdev",
                                     .tag = "TEST",
                                     .reset = testdev_reset,
                                     .save = testdev_save,
                                     .load = testdev_load};
