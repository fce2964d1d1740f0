#include "dev/hpet.h"

#include "base/field.h"

#include <stdlib.h>
#include <string.h>

enum {
    TIMERS = 3,
    PERIODIC_TIMERS = 2,
    FIRST_PIN = 20,
    PINS = 4,
    HPET_HZ = 100000000
};
#define HPET_BASE 0xfed00000u

/* General capabilities (2.3.4): revision 1, three timers, 64-bit counter,
 * legacy replacement, vendor 8086h, period 10^7 fs. */
#define CAPABILITIES                                                           \
    (10000000ull << 32 | 0x8086u << 16 | 1 << 15 | 1 << 13 |                   \
     (TIMERS - 1) << 8 | 1)

/* General configuration (2.3.5). */
enum { CONF_ENABLE = 1, CONF_LEGACY = 2 };
/* Timer configuration and capabilities (2.3.8). */
enum {
    TN_LEVEL = 1 << 1,
    TN_ENABLE = 1 << 2,
    TN_PERIODIC = 1 << 3,
    TN_PERIODIC_CAP = 1 << 4,
    TN_64BIT_CAP = 1 << 5,
    TN_VALUE_SET = 1 << 6,
    TN_32BIT = 1 << 8,
    TN_ROUTE_SHIFT = 9,
    TN_WRITABLE =
        0x3e00 | TN_32BIT | TN_VALUE_SET | TN_PERIODIC | TN_ENABLE | TN_LEVEL
};
#define TN_ROUTES ((uint64_t)((1u << PINS) - 1) << (32 + FIRST_PIN))

struct hpet_timer {
    struct hpet *hpet; /* borrowed */
    unsigned timer;    /* handle */
    unsigned index;
};

struct hpet {
    uint64_t config;  /* CONF_ bits */
    uint64_t status;  /* one bit per timer, level-triggered ones only */
    uint64_t counter; /* main counter when it was last halted or written */
    uint64_t counter_cycle; /* running: bus cycle at which it had that value */
    uint64_t tn_config[TIMERS]; /* writable bits only */
    uint64_t comparator[TIMERS];
    uint64_t period[TIMERS];
    bool pin[PINS];      /* levels reported */
    struct dev_bus *bus; /* borrowed */
    struct hpet_wires wires;
    void *context;             /* borrowed */
    unsigned legacy_source[2]; /* handles; levels are saved with the bus */
    struct hpet_timer timer[TIMERS];
};

static const struct field hpet_fields[] = {
    FIELD_U64(struct hpet, config),    FIELD_U64(struct hpet, status),
    FIELD_U64(struct hpet, counter),   FIELD_U64(struct hpet, counter_cycle),
    FIELD_U64(struct hpet, tn_config), FIELD_U64(struct hpet, comparator),
    FIELD_U64(struct hpet, period),    FIELD_BOOL(struct hpet, pin),
};

/* ---- the main counter ------------------------------------------------------
 */

static bool running(const struct hpet *h)
{
    return h->config & CONF_ENABLE;
}

static uint64_t cycle_now(const struct hpet *h)
{
    return bus_cycles_at(h->bus, bus_tick(h->bus), HPET_HZ);
}

static uint64_t main_counter(const struct hpet *h)
{
    return running(h) ? h->counter + (cycle_now(h) - h->counter_cycle)
                      : h->counter;
}

/* ---- timers
 * ------------------------------------------------------------------ */

static uint64_t timer_mask(const struct hpet *h, unsigned n)
{
    return h->tn_config[n] & TN_32BIT ? 0xffffffffull : ~0ull;
}

static bool is_periodic(const struct hpet *h, unsigned n)
{
    return n < PERIODIC_TIMERS && (h->tn_config[n] & TN_PERIODIC);
}

/* The next match of timer n at least `least` counts from now. A match further
 * away than 2^56 counts (22 years) never comes. */
static void arm(struct hpet *h, unsigned n, uint64_t least)
{
    uint64_t mask = timer_mask(h, n), now = main_counter(h);
    uint64_t wait = ((h->comparator[n] - now - least) & mask) + least;
    if (!running(h) || wait > 1ull << 56 || wait < least)
        bus_timer_cancel(h->bus, h->timer[n].timer);
    else
        bus_timer_set(h->bus, h->timer[n].timer,
                      bus_tick_of_cycle(h->bus, cycle_now(h) + wait, HPET_HZ));
}

static bool in_legacy(const struct hpet *h, unsigned n)
{
    return n < 2 && (h->config & CONF_LEGACY);
}

/* Index into pin[] that timer n drives, -1: none. */
static int timer_pin(const struct hpet *h, unsigned n)
{
    unsigned route = h->tn_config[n] >> TN_ROUTE_SHIFT & 31;
    if (in_legacy(h, n) || route < FIRST_PIN || route >= FIRST_PIN + PINS)
        return -1;
    return (int)(route - FIRST_PIN);
}

static void set_pin(struct hpet *h, unsigned index, bool level)
{
    if (h->pin[index] == level)
        return;
    h->pin[index] = level;
    if (h->wires.pin)
        h->wires.pin(h->context, FIRST_PIN + index, level);
}

/* Drive the lines from status: level-triggered timers hold theirs. */
static void update_lines(struct hpet *h)
{
    bool pin[PINS] = {false}, legacy[2] = {false, false};
    for (unsigned n = 0; n < TIMERS; n++) {
        bool on = running(h) && (h->status >> n & 1) &&
                  (h->tn_config[n] & TN_ENABLE) && (h->tn_config[n] & TN_LEVEL);
        int index = timer_pin(h, n);
        if (in_legacy(h, n))
            legacy[n] = on;
        else if (index >= 0)
            pin[index] |= on;
    }
    for (unsigned i = 0; i < PINS; i++)
        set_pin(h, i, pin[i]);
    for (unsigned i = 0; i < 2; i++)
        bus_irq_set(h->bus, h->legacy_source[i], legacy[i]);
}

static void pulse(struct hpet *h, unsigned n)
{
    int index = timer_pin(h, n);
    if (in_legacy(h, n)) {
        bus_irq_pulse(h->bus, h->legacy_source[n]);
    } else if (index >= 0 && !h->pin[index]) {
        set_pin(h, (unsigned)index, true);
        set_pin(h, (unsigned)index, false);
    }
}

/* A match: note or raise the interrupt, and aim at the next one. A one-shot
 * matches again when the counter has wrapped (2.3.9.2.1). */
static void hpet_fire(void *chip)
{
    struct hpet_timer *t = chip;
    struct hpet *h = t->hpet;
    unsigned n = t->index;
    if (!running(h))
        return;
    if (is_periodic(h, n))
        h->comparator[n] =
            ((h->comparator[n] + h->period[n]) & timer_mask(h, n)) |
            (h->comparator[n] & ~timer_mask(h, n));
    arm(h, n, 1);
    if (h->tn_config[n] & TN_LEVEL) {
        h->status |= 1u << n;
        update_lines(h);
    } else if (h->tn_config[n] & TN_ENABLE) {
        pulse(h, n);
    }
}

/* ---- register writes
 * --------------------------------------------------------- */

static void write_config(struct hpet *h, uint64_t value)
{
    uint64_t old = h->config;
    uint64_t counter = main_counter(h);
    h->config = value & (CONF_ENABLE | CONF_LEGACY);
    if ((old ^ h->config) & CONF_LEGACY) {
        if (h->wires.legacy)
            h->wires.legacy(h->context, h->config & CONF_LEGACY);
    }
    if ((old ^ h->config) & CONF_ENABLE) {
        h->counter = counter;
        h->counter_cycle = running(h) ? cycle_now(h) : 0;
        for (unsigned n = 0; n < TIMERS; n++)
            arm(h, n, 0);
    }
    update_lines(h);
}

static void write_counter(struct hpet *h, uint64_t value)
{
    if (running(h)) /* "should only be written while halted" (2.3.7) */
        bus_log(h->bus, "hpet: main counter written while it runs: ignored");
    else
        h->counter = value;
}

static void write_timer_config(struct hpet *h, unsigned n, uint64_t value)
{
    uint64_t old = h->tn_config[n];
    value &= TN_WRITABLE;
    if (n >= PERIODIC_TIMERS)
        value &= ~(uint64_t)(TN_PERIODIC | TN_VALUE_SET);
    h->tn_config[n] = value;
    if (!(value & TN_LEVEL))
        h->status &= ~(1ull << n);
    if ((old ^ value) & (TN_32BIT | TN_PERIODIC))
        arm(h, n, 0);
    update_lines(h);
}

/* In periodic mode a write sets the period, and with VALUE_SET the comparator
 * as well (2.3.9.2.2; guests that write once expect both). */
static void write_comparator(struct hpet *h, unsigned n, uint64_t value,
                             uint64_t bytes_mask)
{
    if (is_periodic(h, n)) {
        h->period[n] = (h->period[n] & ~bytes_mask) | (value & bytes_mask);
        if (!(h->tn_config[n] & TN_VALUE_SET))
            return;
    }
    h->tn_config[n] &= ~(uint64_t)TN_VALUE_SET;
    h->comparator[n] = (h->comparator[n] & ~bytes_mask) | (value & bytes_mask);
    arm(h, n, 0);
}

/* ---- MMIO
 * ---------------------------------------------------------------------- */

static uint64_t read_timer(const struct hpet *h, unsigned n, unsigned reg)
{
    if (reg == 0x00) {
        uint64_t caps = TN_ROUTES | TN_64BIT_CAP;
        if (n < PERIODIC_TIMERS)
            caps |= TN_PERIODIC_CAP;
        return caps | (h->tn_config[n] & ~(uint64_t)TN_VALUE_SET);
    }
    if (reg == 0x08)
        return h->comparator[n] & timer_mask(h, n);
    return 0; /* no FSB route */
}

static uint64_t read_reg(const struct hpet *h, uint64_t reg)
{
    if (reg >= 0x100 && reg < 0x100 + 0x20 * TIMERS)
        return read_timer(h, (unsigned)(reg - 0x100) / 0x20, reg & 0x18);
    switch (reg) {
    case 0x000:
        return CAPABILITIES;
    case 0x010:
        return h->config;
    case 0x020:
        return h->status;
    case 0x0f0:
        return main_counter(h);
    default:
        return 0;
    }
}

/* value is in place; bytes_mask covers the bytes that were written. */
static void write_reg(struct hpet *h, uint64_t reg, uint64_t value,
                      uint64_t bytes_mask)
{
    if (reg >= 0x100 && reg < 0x100 + 0x20 * TIMERS) {
        unsigned n = (unsigned)(reg - 0x100) / 0x20;
        uint64_t old = h->tn_config[n];
        if ((reg & 0x18) == 0x00)
            write_timer_config(h, n,
                               (old & ~bytes_mask) | (value & bytes_mask));
        else if ((reg & 0x18) == 0x08)
            write_comparator(h, n, value, bytes_mask);
        return;
    }
    uint64_t merged = (read_reg(h, reg) & ~bytes_mask) | (value & bytes_mask);
    if (reg == 0x010) {
        write_config(h, merged);
    } else if (reg == 0x020) { /* write 1 to clear */
        h->status &= ~(value & bytes_mask);
        update_lines(h);
    } else if (reg == 0x0f0) {
        write_counter(h, merged);
    }
}

static uint64_t ones(unsigned bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << bytes * 8) - 1;
}

static uint64_t mmio_read(void *chip, uint64_t offset, unsigned bytes)
{
    unsigned shift = (offset & 7) * 8;
    return read_reg(chip, offset & ~7ull) >> shift & ones(bytes);
}

static void mmio_write(void *chip, uint64_t offset, uint64_t value,
                       unsigned bytes)
{
    unsigned shift = (offset & 7) * 8;
    write_reg(chip, offset & ~7ull, value << shift, ones(bytes) << shift);
}

static const struct mmio_ops hpet_mmio = {mmio_read, mmio_write};

/* ---- life
 * ------------------------------------------------------------------------ */

static void hpet_reset(void *chip)
{
    struct hpet *h = chip;
    bool was_legacy = hpet_legacy(h);
    h->config = h->status = h->counter = h->counter_cycle = 0;
    for (unsigned n = 0; n < TIMERS; n++) {
        h->tn_config[n] = 0;
        h->comparator[n] = ~0ull;
        h->period[n] = 0;
        bus_timer_cancel(h->bus, h->timer[n].timer);
    }
    update_lines(h);
    if (was_legacy && h->wires.legacy)
        h->wires.legacy(h->context, false);
}

struct hpet *hpet_new(struct dev_bus *bus, const struct hpet_wires *wires,
                      void *context)
{
    static const char *const names[TIMERS] = {"hpet 0", "hpet 1", "hpet 2"};
    struct hpet *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->bus = bus;
    if (wires)
        h->wires = *wires;
    h->context = context;
    for (unsigned n = 0; n < TIMERS; n++) {
        h->timer[n].hpet = h;
        h->timer[n].index = n;
        h->timer[n].timer =
            bus_timer_new(bus, names[n], hpet_fire, &h->timer[n]);
    }
    h->legacy_source[0] = bus_irq_source(bus, "hpet 0", 0);
    h->legacy_source[1] = bus_irq_source(bus, "hpet 1", 8);
    hpet_reset(h);
    phys_map_mmio(bus_phys(bus), HPET_BASE, PAGE_BYTES, &hpet_mmio, h, 0,
                  PHYS_READ | PHYS_WRITE);
    return h;
}

void hpet_free(struct hpet *h)
{
    free(h);
}

bool hpet_legacy(const struct hpet *h)
{
    return h->config & CONF_LEGACY;
}

static void hpet_save(const void *chip, struct writer *w)
{
    fields_save(hpet_fields, FIELD_COUNT(hpet_fields), chip, w);
}

static bool hpet_load(void *chip, struct reader *r, struct error *err)
{
    struct hpet *h = chip;
    if (!fields_load(hpet_fields, FIELD_COUNT(hpet_fields), h, r, err))
        return false;
    h->config &= CONF_ENABLE | CONF_LEGACY;
    h->status &= (1u << TIMERS) - 1;
    for (unsigned n = 0; n < TIMERS; n++)
        h->tn_config[n] &= TN_WRITABLE;
    return true;
}

const struct chip_ops hpet_ops = {.name = "hpet",
                                  .tag = "HPET",
                                  .reset = hpet_reset,
                                  .save = hpet_save,
                                  .load = hpet_load};
