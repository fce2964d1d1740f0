#include "dev/lapic.h"

#include "base/field.h"

#include <stdlib.h>
#include <string.h>

enum lvt {
    LVT_TIMER,
    LVT_THERMAL,
    LVT_PERF,
    LVT_LINT0,
    LVT_LINT1,
    LVT_ERROR,
    LVT_COUNT
};

enum {
    LVT_STATUS = 1 << 12,
    LVT_POLARITY = 1 << 13,
    LVT_REMOTE_IRR = 1 << 14,
    LVT_LEVEL = 1 << 15,
    LVT_MASKED = 1 << 16,
    LVT_PERIODIC = 1 << 17,
    SVR_ENABLE = 1 << 8,
    ESR_SEND_ILLEGAL = 1 << 5,
    ESR_RECEIVE_ILLEGAL = 1 << 6,
    ESR_ILLEGAL_REGISTER = 1 << 7,
    BASE_ENABLE = 1 << 11,
    BASE_BSP = 1 << 8,
    LINT_PINS = 2
};
#define LAPIC_DEFAULT_BASE 0xfee00000u
#define LAPIC_VERSION      0x00050014u

/* Bits software may change in each LVT entry (SDM vol. 3A, figure "Local
 * Vector Table"); status and remote IRR are the chip's own. */
static const uint32_t lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = LVT_PERIODIC | LVT_MASKED | 0xff,
    [LVT_THERMAL] = LVT_MASKED | 0x7ff,
    [LVT_PERF] = LVT_MASKED | 0x7ff,
    [LVT_LINT0] = LVT_MASKED | LVT_LEVEL | LVT_POLARITY | 0x7ff,
    [LVT_LINT1] = LVT_MASKED | LVT_LEVEL | LVT_POLARITY | 0x7ff,
    [LVT_ERROR] = LVT_MASKED | 0xff,
};

struct lapic {
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t id;   /* register layout: bits 31..24 */
    uint32_t ldr, dfr, svr;
    uint32_t isr[8], tmr[8], irr[8];
    uint32_t esr, esr_pending;
    uint32_t icr_low, icr_high;
    uint32_t lvt[LVT_COUNT];
    uint32_t initial_count, divide;
    uint32_t count;      /* what the timer counts down from, 0: stopped */
    uint64_t count_tick; /* since this tick */
    uint8_t tpr;
    bool pin[LINT_PINS];
    bool extint_message; /* an ExtINT message waits for its acknowledge */
    bool intr;           /* derived: level last reported */
    struct dev_bus *bus; /* borrowed */
    struct lapic_wires wires;
    void *context; /* borrowed */
    unsigned timer;
    bool mapped; /* derived: the window is in the physical map */
};

static const struct field lapic_fields[] = {
    FIELD_U64(struct lapic, base),
    FIELD_U32(struct lapic, id),
    FIELD_U32(struct lapic, ldr),
    FIELD_U32(struct lapic, dfr),
    FIELD_U32(struct lapic, svr),
    FIELD_U32(struct lapic, isr),
    FIELD_U32(struct lapic, tmr),
    FIELD_U32(struct lapic, irr),
    FIELD_U32(struct lapic, esr),
    FIELD_U32(struct lapic, esr_pending),
    FIELD_U32(struct lapic, icr_low),
    FIELD_U32(struct lapic, icr_high),
    FIELD_U32(struct lapic, lvt),
    FIELD_U32(struct lapic, initial_count),
    FIELD_U32(struct lapic, divide),
    FIELD_U32(struct lapic, count),
    FIELD_U64(struct lapic, count_tick),
    FIELD_U8(struct lapic, tpr),
    FIELD_BOOL(struct lapic, pin),
    FIELD_BOOL(struct lapic, extint_message),
};

/* ---- the 256-bit registers ------------------------------------------------
 */

static void bit_set(uint32_t *set, uint8_t vector)
{
    set[vector >> 5] |= 1u << (vector & 31);
}

static void bit_clear(uint32_t *set, uint8_t vector)
{
    set[vector >> 5] &= ~(1u << (vector & 31));
}

static bool bit_test(const uint32_t *set, uint8_t vector)
{
    return set[vector >> 5] >> (vector & 31) & 1;
}

/* Highest vector in the set, -1 when empty. */
static int bit_highest(const uint32_t *set)
{
    for (int i = 7; i >= 0; i--)
        if (set[i])
            return i * 32 + 31 - __builtin_clz(set[i]);
    return -1;
}

static unsigned class_of(int vector)
{
    return vector < 0 ? 0 : (unsigned)vector & 0xf0;
}

/* ---- priorities ------------------------------------------------------------
 */

static uint8_t ppr(const struct lapic *l)
{
    unsigned in_service = class_of(bit_highest(l->isr));
    return (uint8_t)((l->tpr & 0xf0u) >= in_service ? l->tpr : in_service);
}

/* Arbitration priority (SDM vol. 3A "Arbitration Priority Register"). */
static uint8_t apr(const struct lapic *l)
{
    unsigned t = l->tpr & 0xf0u, v = class_of(bit_highest(l->isr)),
             r = class_of(bit_highest(l->irr));
    if (t >= r && t > v)
        return l->tpr;
    return (uint8_t)((t & v) > r ? (t & v) : r);
}

static bool globally_enabled(const struct lapic *l)
{
    return l->base & BASE_ENABLE;
}

static bool software_enabled(const struct lapic *l)
{
    return globally_enabled(l) && (l->svr & SVR_ENABLE);
}

static unsigned lvt_mode(const struct lapic *l, enum lvt which)
{
    return l->lvt[which] >> 8 & 7;
}

/* The level a LINT pin asserts, active-low polarity applied. */
static bool pin_asserted(const struct lapic *l, unsigned pin)
{
    bool low = l->lvt[LVT_LINT0 + pin] & LVT_POLARITY;
    return l->pin[pin] != low;
}

static bool extint_pending(const struct lapic *l)
{
    if (!globally_enabled(l))
        return l->pin[0];
    if (l->extint_message)
        return true;
    for (unsigned pin = 0; pin < LINT_PINS; pin++)
        if (!(l->lvt[LVT_LINT0 + pin] & LVT_MASKED) &&
            lvt_mode(l, LVT_LINT0 + pin) == LAPIC_EXTINT_MODE &&
            pin_asserted(l, pin))
            return true;
    return false;
}

/* The vector to be delivered next, -1 when priorities hold all back. */
static int deliverable(const struct lapic *l)
{
    if (!globally_enabled(l))
        return -1;
    int vector = bit_highest(l->irr);
    return class_of(vector) > (ppr(l) & 0xf0u) ? vector : -1;
}

bool lapic_intr(const struct lapic *l)
{
    return deliverable(l) >= 0 || extint_pending(l);
}

static void update_intr(struct lapic *l)
{
    bool now = lapic_intr(l);
    if (now == l->intr)
        return;
    l->intr = now;
    if (l->wires.intr)
        l->wires.intr(l->context, now);
}

/* ---- accepting interrupts
 * ---------------------------------------------------- */

static void accept(struct lapic *l, uint8_t vector, bool level);

/* Note an error; the LVT error entry fires (SDM vol. 3A "Error Handling"). An
 * error entry that itself holds an illegal vector is only noted. */
static void raise_error(struct lapic *l, uint32_t bit)
{
    l->esr_pending |= bit;
    uint32_t entry = l->lvt[LVT_ERROR];
    if (entry & LVT_MASKED)
        return;
    if ((entry & 0xff) < 16)
        l->esr_pending |= ESR_RECEIVE_ILLEGAL;
    else
        accept(l, (uint8_t)entry, false);
}

static void accept(struct lapic *l, uint8_t vector, bool level)
{
    if (vector < 16) {
        raise_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    bit_set(l->irr, vector);
    if (level)
        bit_set(l->tmr, vector);
    else
        bit_clear(l->tmr, vector);
    update_intr(l);
}

static void signal_mode(struct lapic *l, unsigned mode)
{
    if (mode == LAPIC_NMI && l->wires.nmi)
        l->wires.nmi(l->context);
    else if (mode == LAPIC_SMI && l->wires.smi)
        l->wires.smi(l->context);
    else if (mode == LAPIC_INIT)
        bus_request(l->bus, REQUEST_INIT, 0);
}

/* Logical destinations (SDM vol. 3A "Logical Destination Mode"): flat when DFR
 * bits 31..28 are ones, else cluster; cluster 15 is a broadcast. */
static bool matches(const struct lapic *l, uint8_t destination, bool logical)
{
    if (destination == 0xff)
        return true;
    if (!logical)
        return destination == l->id >> 24;
    uint8_t own = (uint8_t)(l->ldr >> 24);
    if (l->dfr >> 28 == 0xf)
        return destination & own;
    return (destination >> 4 == 0xf || destination >> 4 == own >> 4) &&
           (destination & own & 0xf);
}

bool lapic_receive(struct lapic *l, const struct lapic_message *m)
{
    if (!globally_enabled(l) || !matches(l, m->destination, m->logical))
        return false;
    switch (m->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST: /* one CPU: it has the lowest priority of all */
        if (!software_enabled(l))
            return false;
        accept(l, m->vector, m->level);
        return true;
    case LAPIC_EXTINT_MODE:
        l->extint_message = true;
        update_intr(l);
        return true;
    case LAPIC_NMI:
    case LAPIC_SMI:
    case LAPIC_INIT:
        signal_mode(l, m->mode);
        return true;
    default: /* a start-up IPI to a running CPU is ignored */
        return true;
    }
}

/* ---- local interrupts
 * --------------------------------------------------------- */

static void fire_lvt(struct lapic *l, enum lvt which)
{
    if (!(l->lvt[which] & LVT_MASKED))
        accept(l, (uint8_t)l->lvt[which], false);
}

/* A level-triggered fixed LINT0 asks again until its pin drops. */
static void lint_level(struct lapic *l, unsigned pin)
{
    uint32_t *entry = &l->lvt[LVT_LINT0 + pin];
    if ((*entry & (LVT_MASKED | LVT_REMOTE_IRR)) || !(*entry & LVT_LEVEL) ||
        lvt_mode(l, LVT_LINT0 + pin) != LAPIC_FIXED || !pin_asserted(l, pin))
        return;
    *entry |= LVT_REMOTE_IRR;
    accept(l, (uint8_t)*entry, true);
}

static void lint_edge(struct lapic *l, unsigned pin)
{
    enum lvt which = LVT_LINT0 + pin;
    if (l->lvt[which] & LVT_MASKED)
        return;
    unsigned mode = lvt_mode(l, which);
    if (mode == LAPIC_FIXED && !(l->lvt[which] & LVT_LEVEL))
        accept(l, (uint8_t)l->lvt[which], false);
    else if (mode != LAPIC_FIXED)
        signal_mode(l, mode);
}

void lapic_set_lint(struct lapic *l, unsigned pin, bool level)
{
    if (pin >= LINT_PINS || l->pin[pin] == level)
        return;
    l->pin[pin] = level;
    if (!globally_enabled(l)) {
        if (pin == 1 && level)
            signal_mode(l, LAPIC_NMI);
    } else {
        if (pin_asserted(l, pin))
            lint_edge(l, pin);
        lint_level(l, pin);
    }
    update_intr(l);
}

/* ---- the timer
 * ---------------------------------------------------------------- */

/* Divide configuration: bits 3, 1, 0 are log2 - 1; 111 is divide by 1. */
static unsigned divide_shift(const struct lapic *l)
{
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);
    return (code + 1) & 7;
}

/* Counts since the timer was (re)based. */
static uint64_t counts_passed(const struct lapic *l)
{
    return (bus_tick(l->bus) - l->count_tick) >> divide_shift(l);
}

static bool periodic(const struct lapic *l)
{
    return (l->lvt[LVT_TIMER] & LVT_PERIODIC) && l->initial_count;
}

static uint32_t current_count(const struct lapic *l)
{
    uint64_t passed = counts_passed(l);
    if (passed < l->count)
        return (uint32_t)(l->count - passed);
    if (!l->count || !periodic(l))
        return 0;
    uint64_t into = (passed - l->count) % l->initial_count;
    return (uint32_t)(l->initial_count - into);
}

/* A masked timer counts but needs no deadline. */
static void timer_arm(struct lapic *l)
{
    uint64_t passed = counts_passed(l), at = l->count;
    bool runs = l->count && !(l->lvt[LVT_TIMER] & LVT_MASKED);
    if (runs && passed >= at) {
        runs = periodic(l);
        if (runs)
            at += ((passed - at) / l->initial_count + 1) * l->initial_count;
    }
    if (runs)
        bus_timer_set(l->bus, l->timer,
                      l->count_tick + (at << divide_shift(l)));
    else
        bus_timer_cancel(l->bus, l->timer);
}

/* Count on from the present value, as a new mode or divider takes over. A
 * one-shot that has run out stays stopped. */
static void timer_rebase(struct lapic *l)
{
    uint32_t now = current_count(l);
    uint64_t passed = counts_passed(l) << divide_shift(l);
    l->count_tick += passed;
    l->count = now;
}

static void timer_fire(void *chip)
{
    struct lapic *l = chip;
    timer_arm(l);
    if (globally_enabled(l))
        fire_lvt(l, LVT_TIMER);
}

/* ---- reset
 * ---------------------------------------------------------------------- */

void lapic_init_signal(struct lapic *l)
{
    l->ldr = 0;
    l->dfr = 0xffffffff;
    l->svr = 0xff;
    l->tpr = 0;
    memset(l->isr, 0, sizeof l->isr);
    memset(l->tmr, 0, sizeof l->tmr);
    memset(l->irr, 0, sizeof l->irr);
    l->esr = l->esr_pending = 0;
    l->icr_low = l->icr_high = 0;
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = LVT_MASKED;
    l->lvt[LVT_LINT0] = LAPIC_EXTINT_MODE << 8;
    l->initial_count = l->divide = l->count = 0;
    l->count_tick = 0;
    l->extint_message = false;
    bus_timer_cancel(l->bus, l->timer);
    update_intr(l);
}

static uint64_t mmio_read(void *chip, uint64_t offset, unsigned bytes);
static void mmio_write(void *chip, uint64_t offset, uint64_t value,
                       unsigned bytes);
static const struct mmio_ops lapic_mmio = {mmio_read, mmio_write};

static uint64_t window(const struct lapic *l)
{
    return l->base & ((1ull << PHYS_ADDRESS_BITS) - PAGE_BYTES);
}

static void map_window(struct lapic *l, bool map)
{
    struct phys *p = bus_phys(l->bus);
    if (map)
        phys_map_mmio(p, window(l), PAGE_BYTES, &lapic_mmio, l, 0,
                      PHYS_READ | PHYS_WRITE);
    else if (l->mapped)
        phys_unmap(p, window(l), PAGE_BYTES, PHYS_READ | PHYS_WRITE);
    l->mapped = map;
}

static void lapic_reset(void *chip)
{
    struct lapic *l = chip;
    map_window(l, false);
    l->base = LAPIC_DEFAULT_BASE | BASE_ENABLE | BASE_BSP;
    l->id = 0;
    memset(l->pin, 0, sizeof l->pin);
    lapic_init_signal(l);
    map_window(l, true);
}

void lapic_set_base(struct lapic *l, uint64_t msr_value)
{
    bool was = globally_enabled(l);
    uint64_t old = window(l);
    bool on = msr_value & BASE_ENABLE;
    bool moves =
        old != (msr_value & ((1ull << PHYS_ADDRESS_BITS) - PAGE_BYTES));
    if (was != on || moves)
        map_window(l, false);
    l->base = msr_value;
    if (on && !l->mapped)
        map_window(l, true);
    if (was && !on) {
        lapic_init_signal(l);
        l->id = 0;
    }
    update_intr(l);
}

uint64_t lapic_base(const struct lapic *l)
{
    return l->base;
}

/* ---- acknowledge and EOI
 * ------------------------------------------------------------ */

int lapic_acknowledge(struct lapic *l)
{
    int vector = deliverable(l);
    if (vector >= 0) {
        bit_clear(l->irr, (uint8_t)vector);
        bit_set(l->isr, (uint8_t)vector);
        update_intr(l);
        return vector;
    }
    if (extint_pending(l)) {
        l->extint_message = false;
        update_intr(l);
        return LAPIC_EXTINT;
    }
    return (int)(l->svr & 0xff);
}

static void write_eoi(struct lapic *l)
{
    int vector = bit_highest(l->isr);
    if (vector < 0)
        return;
    bit_clear(l->isr, (uint8_t)vector);
    if (bit_test(l->tmr, (uint8_t)vector)) {
        for (unsigned pin = 0; pin < LINT_PINS; pin++) {
            uint32_t *entry = &l->lvt[LVT_LINT0 + pin];
            if ((*entry & 0xff) == (uint32_t)vector)
                *entry &= ~(uint32_t)LVT_REMOTE_IRR;
            lint_level(l, pin);
        }
        if (l->wires.eoi)
            l->wires.eoi(l->context, (uint8_t)vector);
    }
    update_intr(l);
}

uint8_t lapic_tpr(const struct lapic *l)
{
    return l->tpr >> 4;
}

void lapic_set_tpr(struct lapic *l, uint8_t cr8)
{
    l->tpr = (uint8_t)(cr8 << 4);
    update_intr(l);
}

/* ---- interprocessor interrupts
 * --------------------------------------------------------- */

/* This machine's only possible target is its own CPU. INIT reaches it only by
 * explicit destination: the shorthands that include the sender allow fixed
 * delivery alone (SDM vol. 3A, table "Valid Combinations"); NMI and SMI by
 * shorthand are delivered, as guests expect of other PCs. */
static void send_ipi(struct lapic *l)
{
    uint32_t icr = l->icr_low;
    unsigned shorthand = icr >> 18 & 3;
    struct lapic_message m = {
        .destination = (uint8_t)(l->icr_high >> 24),
        .logical = icr >> 11 & 1,
        .mode = icr >> 8 & 7,
        .vector = (uint8_t)icr,
    };
    bool level = icr >> 15 & 1, assert_level = icr >> 14 & 1;
    if (m.mode == LAPIC_INIT && level && !assert_level)
        return; /* INIT level de-assert: arbitration IDs, not modelled */
    if (m.mode <= LAPIC_LOWEST && m.vector < 16) {
        raise_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == 3 || m.mode == LAPIC_EXTINT_MODE || m.mode == 3)
        return; /* all but self: nobody; reserved modes */
    if (shorthand) {
        if (m.mode == LAPIC_INIT || m.mode == LAPIC_STARTUP)
            return;
        m.destination = 0xff;
    }
    (void)lapic_receive(l, &m);
}

/* ---- registers
 * ------------------------------------------------------------------------- */

static void write_lvt(struct lapic *l, enum lvt which, uint32_t value)
{
    if (which == LVT_TIMER)
        timer_rebase(l);
    uint32_t keep = l->lvt[which] & LVT_REMOTE_IRR;
    value &= lvt_writable[which];
    if (!software_enabled(l))
        value |= LVT_MASKED;
    if (!(value & LVT_LEVEL))
        keep = 0;
    l->lvt[which] = value | keep;
    if (which == LVT_TIMER)
        timer_arm(l);
    if (which == LVT_LINT0 || which == LVT_LINT1)
        lint_level(l, which - LVT_LINT0);
    update_intr(l);
}

static void write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & 0x3ff;
    if (!(l->svr & SVR_ENABLE)) {
        for (unsigned i = 0; i < LVT_COUNT; i++)
            l->lvt[i] |= LVT_MASKED;
        timer_arm(l);
    }
    update_intr(l);
}

static void write_initial_count(struct lapic *l, uint32_t value)
{
    l->initial_count = l->count = value;
    l->count_tick = bus_tick(l->bus);
    timer_arm(l);
}

/* Index: register offset / 16. LVT entries: 32h..37h. */
static int lvt_index(unsigned reg)
{
    return reg >= 0x32 && reg <= 0x37 ? (int)reg - 0x32 : -1;
}

static uint32_t read_set(const struct lapic *l, unsigned reg)
{
    unsigned k = reg & 7;
    return reg < 0x18 ? l->isr[k] : reg < 0x20 ? l->tmr[k] : l->irr[k];
}

static uint32_t read_reg(struct lapic *l, unsigned reg)
{
    if (lvt_index(reg) >= 0)
        return l->lvt[lvt_index(reg)];
    if (reg >= 0x10 && reg < 0x28)
        return read_set(l, reg);
    switch (reg) {
    case 0x02:
        return l->id;
    case 0x03:
        return LAPIC_VERSION;
    case 0x08:
        return l->tpr;
    case 0x09:
        return apr(l);
    case 0x0a:
        return ppr(l);
    case 0x0d:
        return l->ldr;
    case 0x0e:
        return l->dfr;
    case 0x0f:
        return l->svr;
    case 0x28:
        return l->esr;
    case 0x30:
        return l->icr_low;
    case 0x31:
        return l->icr_high;
    case 0x38:
        return l->initial_count;
    case 0x39:
        return current_count(l);
    case 0x3e:
        return l->divide;
    case 0x0b: /* EOI is write-only */
    case 0x0c: /* remote read: none */
        return 0;
    default:
        raise_error(l, ESR_ILLEGAL_REGISTER);
        return 0;
    }
}

static void write_reg(struct lapic *l, unsigned reg, uint32_t value)
{
    if (lvt_index(reg) >= 0) {
        write_lvt(l, (enum lvt)lvt_index(reg), value);
        return;
    }
    switch (reg) {
    case 0x02:
        l->id = value & 0xff000000;
        break;
    case 0x08:
        l->tpr = (uint8_t)value;
        update_intr(l);
        break;
    case 0x0b:
        write_eoi(l);
        break;
    case 0x0d:
        l->ldr = value & 0xff000000;
        break;
    case 0x0e:
        l->dfr = value | 0x0fffffff;
        break;
    case 0x0f:
        write_svr(l, value);
        break;
    case 0x28: /* a write latches what happened since the last one */
        l->esr = l->esr_pending;
        l->esr_pending = 0;
        break;
    case 0x30:
        l->icr_low = value & 0x000ccfff;
        send_ipi(l);
        break;
    case 0x31:
        l->icr_high = value & 0xff000000;
        break;
    case 0x38:
        write_initial_count(l, value);
        break;
    case 0x3e:
        timer_rebase(l);
        l->divide = value & 0xb;
        timer_arm(l);
        break;
    default: /* read-only ones ignore it */
        if (reg < 2 || (reg >= 0x04 && reg < 0x08) || reg > 0x39 ||
            (reg > 0x28 && reg < 0x2f))
            raise_error(l, ESR_ILLEGAL_REGISTER);
        break;
    }
}

/* Registers are 32 bits on 16-byte boundaries. Narrower accesses inside the
 * register reach its bytes (some guests write EOI as a byte); the rest of the
 * 16 bytes reads 0. */
static uint64_t mmio_read(void *chip, uint64_t offset, unsigned bytes)
{
    unsigned byte = offset & 0xf;
    if (byte > 3)
        return 0;
    uint64_t value = read_reg(chip, (unsigned)(offset >> 4) & 0xff);
    value >>= byte * 8;
    return bytes == 8 ? value : value & ((1ull << bytes * 8) - 1);
}

static void mmio_write(void *chip, uint64_t offset, uint64_t value,
                       unsigned bytes)
{
    struct lapic *l = chip;
    unsigned reg = (unsigned)(offset >> 4) & 0xff, byte = offset & 0xf;
    if (byte > 3)
        return;
    if (bytes < 4) {
        uint64_t mask = ((1ull << bytes * 8) - 1) << byte * 8;
        uint64_t old = reg == 0x0b ? 0 : read_reg(l, reg);
        value = (old & ~mask) | (value << byte * 8 & mask);
    }
    write_reg(l, reg, (uint32_t)value);
}

/* ---- life
 * ------------------------------------------------------------------------------
 */

struct lapic *lapic_new(struct dev_bus *bus, const struct lapic_wires *wires,
                        void *context)
{
    struct lapic *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->bus = bus;
    if (wires)
        l->wires = *wires;
    l->context = context;
    l->timer = bus_timer_new(bus, "lapic timer", timer_fire, l);
    lapic_reset(l);
    return l;
}

void lapic_free(struct lapic *l)
{
    free(l);
}

static void lapic_save(const void *chip, struct writer *w)
{
    fields_save(lapic_fields, FIELD_COUNT(lapic_fields), chip, w);
}

/* The INTR level is not reported: the board reads lapic_intr() after loading
 * everything. */
static bool lapic_load(void *chip, struct reader *r, struct error *err)
{
    struct lapic *l = chip;
    map_window(l, false);
    if (!fields_load(lapic_fields, FIELD_COUNT(lapic_fields), l, r, err))
        return false;
    for (unsigned i = 0; i < LVT_COUNT; i++)
        l->lvt[i] &= lvt_writable[i] | LVT_REMOTE_IRR;
    if (globally_enabled(l))
        map_window(l, true);
    l->intr = lapic_intr(l);
    return true;
}

const struct chip_ops lapic_ops = {.name = "lapic",
                                   .tag = "LAPC",
                                   .reset = lapic_reset,
                                   .save = lapic_save,
                                   .load = lapic_load};
