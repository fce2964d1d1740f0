#include "dev/pit_internal.h"

#include <stdlib.h>

enum {
    SPEAKER = 2,        /* the counter behind port 61h */
    REFRESH_CYCLES = 18 /* 15.085 us: bit 4 of port 61h toggles (82371SB) */
};

/* Number of the last CLK pulse. */
static uint64_t pulse(const struct pit *pit)
{
    return bus_cycles_at(pit->bus, bus_tick(pit->bus), PIT_HZ);
}

/* Bring IRQ 0 and its timer in line with counter 0. */
static void update_irq(struct pit *pit)
{
    uint64_t c = pulse(pit);
    struct pit_counter *k = &pit->counter[0];
    bus_irq_set(pit->bus, pit->irq, pit->connected && pit_counter_out(k, c));
    uint64_t edge = pit_counter_next_edge(k, c);
    if (edge == UINT64_MAX)
        bus_timer_cancel(pit->bus, pit->timer);
    else
        bus_timer_set(pit->bus, pit->timer,
                      bus_tick_of_cycle(pit->bus, edge, PIT_HZ));
}

static void timer_fired(void *chip)
{
    update_irq(chip);
}

/* Read-back command: bit 5 low latches counts, bit 4 low latches status. */
static void read_back(struct pit *pit, uint8_t command)
{
    uint64_t c = pulse(pit);
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        if (!(command >> (i + 1) & 1))
            continue;
        if (!(command & 0x20))
            pit_counter_latch(&pit->counter[i], c);
        if (!(command & 0x10))
            pit_counter_latch_status(&pit->counter[i], c);
    }
}

static void write_control(struct pit *pit, uint8_t value)
{
    unsigned which = value >> 6;
    if (which == 3)
        read_back(pit, value);
    else if (value & 0x30)
        pit_counter_control(&pit->counter[which], pulse(pit), value);
    else
        pit_counter_latch(&pit->counter[which], pulse(pit));
}

static void timer_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    struct pit *pit = chip;
    (void)bytes;
    if (offset == 3)
        write_control(pit, (uint8_t)value);
    else
        pit_counter_write(&pit->counter[offset], pulse(pit), (uint8_t)value);
    update_irq(pit);
}

/* The control word register cannot be read; the bus floats. */
static uint32_t timer_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct pit *pit = chip;
    (void)bytes;
    if (offset == 3)
        return 0xff;
    return pit_counter_read(&pit->counter[offset], pulse(pit));
}

static uint32_t port61_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct pit *pit = chip;
    (void)offset;
    (void)bytes;
    uint64_t c = pulse(pit);
    unsigned refresh = c / REFRESH_CYCLES & 1;
    unsigned out = pit_counter_out(&pit->counter[SPEAKER], c);
    return pit->port61 | refresh << 4 | out << 5;
}

static void port61_write(void *chip, uint16_t offset, uint32_t value,
                         unsigned bytes)
{
    struct pit *pit = chip;
    (void)offset;
    (void)bytes;
    pit->port61 = value & 15;
    pit_counter_gate(&pit->counter[SPEAKER], pulse(pit), value & 1);
}

static const struct io_ops timer_io = {timer_read, timer_write, 1};
static const struct io_ops port61_io = {port61_read, port61_write, 1};

void pit_connect_irq(struct pit *pit, bool connected)
{
    pit->connected = connected;
    update_irq(pit);
}

static void pit_reset(void *chip)
{
    struct pit *pit = chip;
    for (unsigned i = 0; i < PIT_COUNTERS; i++)
        pit_counter_reset(&pit->counter[i], i != SPEAKER);
    pit->port61 = 0;
    pit->connected = true;
    update_irq(pit);
}

struct pit *pit_new(struct dev_bus *bus)
{
    struct pit *pit = calloc(1, sizeof *pit);
    if (!pit)
        return NULL;
    pit->bus = bus;
    pit->timer = bus_timer_new(bus, "pit", timer_fired, pit);
    pit->irq = bus_irq_source(bus, "pit", 0);
    bus_io_map(bus, 0x40, 4, &timer_io, pit);
    bus_io_map(bus, 0x61, 1, &port61_io, pit);
    pit_reset(pit);
    return pit;
}

void pit_free(struct pit *pit)
{
    free(pit);
}

const struct field pit_fields[PIT_FIELDS] = {
    FIELD_U8(struct pit, port61),
    FIELD_BOOL(struct pit, connected),
};

static void pit_save(const void *chip, struct writer *w)
{
    const struct pit *pit = chip;
    fields_save(pit_fields, PIT_FIELDS, pit, w);
    for (unsigned i = 0; i < PIT_COUNTERS; i++)
        fields_save(pit_counter_fields, PIT_COUNTER_FIELDS, &pit->counter[i],
                    w);
}

static bool pit_load(void *chip, struct reader *r, struct error *err)
{
    struct pit *pit = chip;
    if (!fields_load(pit_fields, PIT_FIELDS, pit, r, err))
        return false;
    for (unsigned i = 0; i < PIT_COUNTERS; i++) {
        struct pit_counter *k = &pit->counter[i];
        if (!fields_load(pit_counter_fields, PIT_COUNTER_FIELDS, k, r, err))
            return false;
        if (!pit_counter_valid(k))
            return error_set(err, ERR_INPUT,
                             "pit: counter %u has an impossible count or "
                             "control word",
                             i);
    }
    pit->port61 &= 15;
    return true;
}

const struct chip_ops pit_ops = {
    .name = "pit",
    .tag = "PIT ",
    .reset = pit_reset,
    .save = pit_save,
    .load = pit_load,
};
