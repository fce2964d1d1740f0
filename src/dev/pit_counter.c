#include "dev/pit_internal.h"

#define NEVER UINT64_MAX

enum rw { RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3 };

static unsigned mode_of(const struct pit_counter *k)
{
    unsigned mode = k->control >> 1 & 7;
    return mode > 5 ? mode & 3 : mode; /* X10 and X11 */
}

static unsigned rw_of(const struct pit_counter *k)
{
    return k->control >> 4 & 3;
}

static uint32_t modulus(const struct pit_counter *k)
{
    return k->control & 1 ? 10000 : 65536;
}

/* A count register of 0 is the largest count. */
static uint32_t decode(const struct pit_counter *k, uint16_t raw)
{
    uint32_t n = raw;
    if (k->control & 1)
        n = (raw >> 12) * 1000u + (raw >> 8 & 15) * 100u +
            (raw >> 4 & 15) * 10u + (raw & 15);
    return n ? n : modulus(k);
}

static uint16_t encode(const struct pit_counter *k, uint32_t n)
{
    n %= modulus(k);
    if (!(k->control & 1))
        return (uint16_t)n;
    return (uint16_t)((n / 1000) << 12 | (n / 100 % 10) << 8 |
                      (n / 10 % 10) << 4 | n % 10);
}

/* ---- the counting element and OUT --------------------------------------- */

/* Pulses in the half cycle that begins a period of mode 3: high halves of odd
 * counts are one longer. */
static uint32_t first_half(const struct pit_counter *k)
{
    return k->low_first ? k->count / 2 : (k->count + 1) / 2;
}

static uint64_t elapsed_at(const struct pit_counter *k, uint64_t c)
{
    if (k->stopped)
        return k->elapsed;
    return c > k->start ? c - k->start : 0;
}

/* Let a count that waited for the end of its (half) cycle take over. */
static void settle(struct pit_counter *k, uint64_t c)
{
    unsigned mode = mode_of(k);
    if ((mode != 2 && mode != 3) || !k->next || !k->loaded || k->stopped ||
        c < k->switch_at)
        return;
    if (mode == 3 && (k->switch_at - k->start) % k->count != 0)
        k->low_first = !k->low_first;
    k->start = k->switch_at;
    k->count = k->next;
    k->next = 0;
    k->pending = false;
}

/* Data sheet, figures 15 to 20. */
bool pit_counter_out(struct pit_counter *k, uint64_t c)
{
    settle(k, c);
    if (!k->loaded || c < k->start)
        return k->before;
    uint64_t e = elapsed_at(k, c);
    switch (mode_of(k)) {
    case 0:
    case 1:
        return e >= k->count;
    case 2:
        return k->stopped || k->count == 1 || e % k->count != k->count - 1;
    case 3:
        return k->stopped || (e % k->count < first_half(k)) != k->low_first;
    default:
        return e != k->count;
    }
}

/* Mode 3 counts by two from the count, less one when it is odd. */
static uint32_t square_element(const struct pit_counter *k, uint64_t e)
{
    uint32_t at = (uint32_t)(e % k->count);
    uint32_t half = first_half(k);
    return (k->count & ~1u) - 2 * (at < half ? at : at - half);
}

static uint16_t element(struct pit_counter *k, uint64_t c)
{
    settle(k, c);
    if (!k->loaded || c < k->start)
        return k->value;
    uint64_t e = elapsed_at(k, c);
    uint32_t m = modulus(k);
    switch (mode_of(k)) {
    case 2:
        return encode(k, k->count - (uint32_t)(e % k->count));
    case 3:
        return encode(k, square_element(k, e));
    default:
        return encode(k, k->count % m + m - (uint32_t)(e % m));
    }
}

static uint64_t next_edge(const struct pit_counter *k, uint64_t c)
{
    uint64_t e = c - k->start;
    uint64_t period = c - e % k->count; /* pulse at which the period began */
    switch (mode_of(k)) {
    case 0:
    case 1:
        return e < k->count ? k->start + k->count : NEVER;
    case 2:
        if (k->count == 1)
            return NEVER;
        return period + k->count - (e % k->count < k->count - 1);
    case 3:
        if (k->count == 1)
            return NEVER;
        return period +
               (e % k->count < first_half(k) ? first_half(k) : k->count);
    default:
        return e <= k->count ? k->start + k->count + (e == k->count) : NEVER;
    }
}

uint64_t pit_counter_next_edge(struct pit_counter *k, uint64_t c)
{
    settle(k, c);
    if (!k->loaded)
        return NEVER;
    if (c < k->start)
        return k->start;
    if (k->stopped)
        return NEVER;
    uint64_t edge = next_edge(k, c);
    bool periodic = mode_of(k) == 2 || mode_of(k) == 3;
    if (periodic && k->next && k->switch_at < edge)
        edge = k->switch_at;
    return edge;
}

/* ---- control and counts ------------------------------------------------- */

/* The next CLK pulse loads n; until then OUT is `before`. */
static void load_count(struct pit_counter *k, uint64_t c, uint32_t n,
                       bool before)
{
    unsigned mode = mode_of(k);
    k->value = element(k, c);
    k->before = before;
    k->start = c + 1;
    k->count = n;
    k->elapsed = 0;
    k->low_first = false;
    k->loaded = true;
    k->pending = false;
    k->stopped = !k->gate && mode != 1 && mode != 5;
}

void pit_counter_reset(struct pit_counter *k, bool gate)
{
    *k = (struct pit_counter){
        .control = RW_BOTH << 4, .count = 65536, .pending = true, .gate = gate};
}

void pit_counter_control(struct pit_counter *k, uint64_t c, uint8_t control)
{
    k->value = element(k, c);
    k->control = control & 0x3f;
    k->before = mode_of(k) != 0;
    k->next = 0;
    k->latched_bytes = 0;
    k->status_latched = false;
    k->write_msb = false;
    k->read_msb = false;
    k->loaded = false;
    k->stopped = false;
    k->pending = true;
}

/* A count written while modes 2 and 3 run waits for the end of the cycle; of
 * the half cycle in mode 3. With the gate low it waits for the trigger. */
static void write_periodic(struct pit_counter *k, uint64_t c, uint32_t n)
{
    settle(k, c);
    if (!k->loaded || c < k->start) {
        load_count(k, c, n, true);
        return;
    }
    k->next = n;
    k->pending = true;
    if (k->stopped)
        return;
    uint32_t at = (uint32_t)((c - k->start) % k->count);
    uint32_t end = k->count;
    if (mode_of(k) == 3 && at < first_half(k))
        end = first_half(k);
    k->switch_at = c - at + end;
}

static void write_count(struct pit_counter *k, uint64_t c, uint16_t raw)
{
    uint32_t n = decode(k, raw);
    switch (mode_of(k)) {
    case 0:
        load_count(k, c, n, false);
        break;
    case 4:
        load_count(k, c, n, true);
        break;
    case 2:
    case 3:
        write_periodic(k, c, n);
        break;
    default: /* 1 and 5 wait for a trigger */
        k->next = n;
        k->pending = true;
        break;
    }
}

void pit_counter_write(struct pit_counter *k, uint64_t c, uint8_t value)
{
    switch (rw_of(k)) {
    case RW_LSB:
        write_count(k, c, value);
        return;
    case RW_MSB:
        write_count(k, c, (uint16_t)(value << 8));
        return;
    default:
        break;
    }
    if (k->write_msb) {
        k->write_msb = false;
        write_count(k, c, (uint16_t)(value << 8 | k->low_byte));
        return;
    }
    k->low_byte = value;
    k->write_msb = true;
    if (mode_of(k) == 0) { /* the first byte stops the counter, OUT falls */
        k->value = element(k, c);
        k->loaded = false;
        k->before = false;
    }
}

/* ---- reading ------------------------------------------------------------ */

void pit_counter_latch(struct pit_counter *k, uint64_t c)
{
    if (k->latched_bytes)
        return;
    k->latched = element(k, c);
    k->latched_bytes = rw_of(k) == RW_BOTH ? 2 : 1;
}

void pit_counter_latch_status(struct pit_counter *k, uint64_t c)
{
    if (k->status_latched)
        return;
    bool out = pit_counter_out(k, c);
    bool null = k->pending || (k->loaded && c < k->start);
    k->status = (uint8_t)(out << 7 | null << 6 | k->control);
    k->status_latched = true;
}

uint8_t pit_counter_read(struct pit_counter *k, uint64_t c)
{
    if (k->status_latched) {
        k->status_latched = false;
        return k->status;
    }
    bool high = rw_of(k) == RW_MSB;
    uint16_t value;
    if (k->latched_bytes) {
        value = k->latched;
        high |= rw_of(k) == RW_BOTH && k->latched_bytes == 1;
        k->latched_bytes--;
    } else {
        value = element(k, c);
        if (rw_of(k) == RW_BOTH) {
            high = k->read_msb;
            k->read_msb = !k->read_msb;
        }
    }
    return (uint8_t)(high ? value >> 8 : value);
}

/* ---- the gate (data sheet, figure 21) ----------------------------------- */

static void gate_falls(struct pit_counter *k, uint64_t c)
{
    unsigned mode = mode_of(k);
    if (!k->loaded || mode == 1 || mode == 5)
        return;
    k->elapsed = elapsed_at(k, c);
    k->stopped = true;
}

static void gate_rises(struct pit_counter *k, uint64_t c)
{
    switch (mode_of(k)) {
    case 0:
    case 4:
        if (!k->loaded)
            break;
        if (k->start <= c)
            k->start = c - k->elapsed;
        k->stopped = false;
        break;
    case 1:
    case 5:
        if (k->next)
            load_count(k, c, k->next, mode_of(k) == 5 || pit_counter_out(k, c));
        break;
    default:
        if (!k->loaded)
            break;
        load_count(k, c, k->next ? k->next : k->count, true);
        k->next = 0;
        break;
    }
}

void pit_counter_gate(struct pit_counter *k, uint64_t c, bool gate)
{
    if (k->gate == gate)
        return;
    settle(k, c);
    k->gate = gate;
    if (gate)
        gate_rises(k, c);
    else
        gate_falls(k, c);
}

/* ---- state -------------------------------------------------------------- */

const struct field pit_counter_fields[PIT_COUNTER_FIELDS] = {
    FIELD_U64(struct pit_counter, start),
    FIELD_U64(struct pit_counter, elapsed),
    FIELD_U64(struct pit_counter, switch_at),
    FIELD_U32(struct pit_counter, count),
    FIELD_U32(struct pit_counter, next),
    FIELD_U16(struct pit_counter, latched),
    FIELD_U16(struct pit_counter, value),
    FIELD_U8(struct pit_counter, control),
    FIELD_U8(struct pit_counter, low_byte),
    FIELD_U8(struct pit_counter, status),
    FIELD_U8(struct pit_counter, latched_bytes),
    FIELD_BOOL(struct pit_counter, status_latched),
    FIELD_BOOL(struct pit_counter, write_msb),
    FIELD_BOOL(struct pit_counter, read_msb),
    FIELD_BOOL(struct pit_counter, loaded),
    FIELD_BOOL(struct pit_counter, pending),
    FIELD_BOOL(struct pit_counter, low_first),
    FIELD_BOOL(struct pit_counter, before),
    FIELD_BOOL(struct pit_counter, gate),
    FIELD_BOOL(struct pit_counter, stopped),
};

bool pit_counter_valid(const struct pit_counter *k)
{
    return k->count >= 1 && k->count <= 65536 && k->next <= 65536 &&
           k->latched_bytes <= 2 && k->control < 0x40;
}
