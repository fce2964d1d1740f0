#include "dev/rtc_internal.h"

#include <stdlib.h>

enum {
    CRYSTAL_HZ = 32768,
    /* UIP rises 244 us before the update cycle, which lasts 1984 us (data
     * sheet, table 6): 8 + 65 cycles before the new time can be read. */
    UIP_CYCLES = 73
};

enum {
    SECONDS = 0x00,
    SECONDS_ALARM = 0x01,
    MINUTES = 0x02,
    MINUTES_ALARM = 0x03,
    HOURS = 0x04,
    HOURS_ALARM = 0x05,
    WEEKDAY = 0x06,
    DAY = 0x07,
    MONTH = 0x08,
    YEAR = 0x09,
    REG_A = 0x0a,
    REG_B = 0x0b,
    REG_C = 0x0c,
    REG_D = 0x0d,
    CENTURY = 0x32
};

enum {
    A_UIP = 0x80,
    A_DIVIDER = 0x70,
    A_RATE = 0x0f,
    A_DIVIDER_RUN = 0x20, /* 32768 Hz crystal */
    A_DIVIDER_RESET = 0x60,
    B_SET = 0x80,
    B_PIE = 0x40,
    B_AIE = 0x20,
    B_UIE = 0x10,
    B_SQWE = 0x08,
    B_BINARY = 0x04,
    B_24H = 0x02,
    C_IRQF = 0x80, /* PF, AF, UF are at the places of PIE, AIE, UIE */
    D_VRT = 0x80,
    PM = 0x80
};

/* ---- number formats ----------------------------------------------------- */

static unsigned get(const struct rtc *rtc, unsigned index)
{
    unsigned v = rtc->ram[index];
    return rtc->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t coded(const struct rtc *rtc, unsigned v)
{
    if (rtc->ram[REG_B] & B_BINARY)
        return (uint8_t)v;
    return (uint8_t)(v / 10 << 4 | v % 10);
}

static void put(struct rtc *rtc, unsigned index, unsigned v)
{
    rtc->ram[index] = coded(rtc, v);
}

/* Hours 0..23 from either format; noon is 12 PM. */
static unsigned get_hours(const struct rtc *rtc)
{
    if (rtc->ram[REG_B] & B_24H)
        return get(rtc, HOURS);
    unsigned v = rtc->ram[HOURS] & ~PM;
    unsigned h = rtc->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
    return h % 12 + (rtc->ram[HOURS] & PM ? 12 : 0);
}

static void put_hours(struct rtc *rtc, unsigned h)
{
    if (rtc->ram[REG_B] & B_24H)
        put(rtc, HOURS, h);
    else
        rtc->ram[HOURS] =
            (uint8_t)(coded(rtc, h % 12 ? h % 12 : 12) | (h >= 12 ? PM : 0));
}

/* ---- the calendar ------------------------------------------------------- */

static unsigned month_days(unsigned month, unsigned year)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30,
                                   31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12)
        return 31;
    return days[month - 1] + (month == 2 && leap);
}

static void next_day(struct rtc *rtc)
{
    unsigned weekday = get(rtc, WEEKDAY);
    put(rtc, WEEKDAY, weekday >= 7 ? 1 : weekday + 1);
    unsigned year = get(rtc, YEAR), month = get(rtc, MONTH);
    unsigned day = get(rtc, DAY) + 1;
    if (day > month_days(month, get(rtc, CENTURY) * 100 + year)) {
        day = 1;
        month++;
    }
    put(rtc, DAY, day);
    if (month > 12) {
        month = 1;
        put(rtc, YEAR, year >= 99 ? 0 : year + 1);
        if (year >= 99)
            put(rtc, CENTURY, (get(rtc, CENTURY) + 1) % 100);
    }
    put(rtc, MONTH, month);
}

/* What the update cycle does to the ten time bytes. */
static void next_second(struct rtc *rtc)
{
    unsigned v = get(rtc, SECONDS) + 1;
    put(rtc, SECONDS, v >= 60 ? 0 : v);
    if (v < 60)
        return;
    v = get(rtc, MINUTES) + 1;
    put(rtc, MINUTES, v >= 60 ? 0 : v);
    if (v < 60)
        return;
    v = get_hours(rtc) + 1;
    put_hours(rtc, v >= 24 ? 0 : v);
    if (v >= 24)
        next_day(rtc);
}

/* Civil date of a day count, in the proleptic Gregorian calendar: eras of 400
 * years that begin on 1 March. */
static void put_date(struct rtc *rtc, int64_t days)
{
    int64_t z = days + 719468; /* since 1 March of year 0 */
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year =
        of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned m = (5 * of_year + 2) / 153; /* 0: March */
    unsigned month = m < 10 ? m + 3 : m - 9;
    int64_t year = (int64_t)year_of_era + era * 400 + (month <= 2);
    put(rtc, DAY, of_year - (153 * m + 2) / 5 + 1);
    put(rtc, MONTH, month);
    put(rtc, YEAR, (unsigned)(((year % 100) + 100) % 100));
    put(rtc, CENTURY, (unsigned)((((year / 100) % 100) + 100) % 100));
    put(rtc, WEEKDAY, (unsigned)(((days + 4) % 7 + 7) % 7) + 1);
}

/* ---- time base ---------------------------------------------------------- */

static uint64_t cycle(const struct rtc *rtc)
{
    return bus_cycles_at(rtc->bus, bus_tick(rtc->bus), CRYSTAL_HZ);
}

static bool divider_runs(const struct rtc *rtc)
{
    return (rtc->ram[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

/* Cycles into the current second, 0..32767. */
static unsigned phase(const struct rtc *rtc, uint64_t c)
{
    return (unsigned)((c - rtc->origin) & (CRYSTAL_HZ - 1));
}

/* Cycles of the periodic rate (data sheet, table 5); 0: none. */
static unsigned period_of(const struct rtc *rtc)
{
    unsigned rate = rtc->ram[REG_A] & A_RATE;
    if (rate == 0 || !divider_runs(rtc))
        return 0;
    return 1u << (rate < 3 ? rate + 6 : rate - 1);
}

/* PF is set at each edge of the divider tap, enabled or not. */
static void account_periodic(struct rtc *rtc)
{
    uint64_t c = cycle(rtc);
    unsigned period = period_of(rtc);
    if (period && (c - rtc->origin) / period !=
                      (rtc->periodic_from - rtc->origin) / period)
        rtc->ram[REG_C] |= B_PIE;
    rtc->periodic_from = c;
}

static void update_irq(struct rtc *rtc)
{
    bool asserted = rtc->ram[REG_C] & rtc->ram[REG_B] & (B_PIE | B_AIE | B_UIE);
    if (asserted)
        rtc->ram[REG_C] |= C_IRQF;
    else
        rtc->ram[REG_C] &= (uint8_t)~C_IRQF;
    bus_irq_set(rtc->bus, rtc->irq, asserted && rtc->connected);
}

static void set_timer_at_cycle(struct rtc *rtc, unsigned timer, uint64_t c)
{
    bus_timer_set(rtc->bus, timer, bus_tick_of_cycle(rtc->bus, c, CRYSTAL_HZ));
}

/* The periodic timer runs only while its edge would be news. */
static void schedule(struct rtc *rtc)
{
    uint64_t c = cycle(rtc);
    if (divider_runs(rtc))
        set_timer_at_cycle(rtc, rtc->second_timer,
                           c - phase(rtc, c) + CRYSTAL_HZ);
    else
        bus_timer_cancel(rtc->bus, rtc->second_timer);
    unsigned period = period_of(rtc);
    if (period && rtc->ram[REG_B] & B_PIE && !(rtc->ram[REG_C] & B_PIE))
        set_timer_at_cycle(rtc, rtc->periodic_timer,
                           c - phase(rtc, c) % period + period);
    else
        bus_timer_cancel(rtc->bus, rtc->periodic_timer);
}

static void periodic_fired(void *chip)
{
    struct rtc *rtc = chip;
    account_periodic(rtc);
    update_irq(rtc);
    schedule(rtc);
}

/* Alarm bytes C0h..FFh match anything. */
static bool alarm_matches(const struct rtc *rtc, unsigned time, unsigned alarm)
{
    return rtc->ram[alarm] >= 0xc0 || rtc->ram[alarm] == rtc->ram[time];
}

static void second_fired(void *chip)
{
    struct rtc *rtc = chip;
    account_periodic(rtc);
    if (!(rtc->ram[REG_B] & B_SET)) {
        next_second(rtc);
        rtc->ram[REG_C] |= B_UIE;
        if (alarm_matches(rtc, SECONDS, SECONDS_ALARM) &&
            alarm_matches(rtc, MINUTES, MINUTES_ALARM) &&
            alarm_matches(rtc, HOURS, HOURS_ALARM))
            rtc->ram[REG_C] |= B_AIE;
    }
    update_irq(rtc);
    schedule(rtc);
}

/* ---- registers ---------------------------------------------------------- */

static uint8_t read_register(struct rtc *rtc, unsigned index)
{
    if (index == REG_A) {
        bool uip = divider_runs(rtc) && !(rtc->ram[REG_B] & B_SET) &&
                   phase(rtc, cycle(rtc)) >= CRYSTAL_HZ - UIP_CYCLES;
        return (uint8_t)(rtc->ram[REG_A] | (uip ? A_UIP : 0));
    }
    if (index != REG_C)
        return rtc->ram[index];
    account_periodic(rtc);
    update_irq(rtc);
    uint8_t flags = rtc->ram[REG_C];
    rtc->ram[REG_C] = 0;
    update_irq(rtc);
    schedule(rtc);
    return flags;
}

/* A divider leaving reset makes its first update half a second later. */
static void write_a(struct rtc *rtc, uint8_t value)
{
    bool was_reset = (rtc->ram[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
    account_periodic(rtc);
    rtc->ram[REG_A] = value & (uint8_t)~A_UIP;
    if (was_reset && divider_runs(rtc)) {
        rtc->origin = cycle(rtc) - CRYSTAL_HZ / 2;
        rtc->periodic_from = cycle(rtc);
    }
}

static void write_register(struct rtc *rtc, unsigned index, uint8_t value)
{
    switch (index) {
    case REG_A:
        write_a(rtc, value);
        break;
    case REG_B:
        account_periodic(rtc);
        if (value & B_SET)
            value &= (uint8_t)~B_UIE;
        rtc->ram[REG_B] = value;
        break;
    case REG_C:
    case REG_D:
        return;
    default:
        rtc->ram[index] = value;
        return;
    }
    update_irq(rtc);
    schedule(rtc);
}

static uint32_t rtc_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct rtc *rtc = chip;
    (void)bytes;
    switch (offset) {
    case 1:
        return read_register(rtc, rtc->index & 0x7f);
    case 3:
        return rtc->ram[0x80 | rtc->index_high];
    default:
        return 0xff; /* the index registers are write-only */
    }
}

static void rtc_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct rtc *rtc = chip;
    (void)bytes;
    switch (offset) {
    case 0:
        rtc->index = (uint8_t)value;
        break;
    case 1:
        write_register(rtc, rtc->index & 0x7f, (uint8_t)value);
        break;
    case 2:
        rtc->index_high = value & 0x7f;
        break;
    default:
        rtc->ram[0x80 | rtc->index_high] = (uint8_t)value;
        break;
    }
}

static const struct io_ops rtc_io = {rtc_read, rtc_write, 1};

/* ---- inputs ------------------------------------------------------------- */

void rtc_set_time(struct rtc *rtc, int64_t seconds_since_1970)
{
    int64_t days = seconds_since_1970 / 86400;
    int64_t rest = seconds_since_1970 % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    account_periodic(rtc);
    put(rtc, SECONDS, (unsigned)(rest % 60));
    put(rtc, MINUTES, (unsigned)(rest / 60 % 60));
    put_hours(rtc, (unsigned)(rest / 3600));
    put_date(rtc, days);
    rtc->origin = cycle(rtc);
    rtc->periodic_from = rtc->origin;
    schedule(rtc);
}

void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value)
{
    if (index > REG_D)
        rtc->ram[index] = value;
}

uint8_t rtc_cmos(const struct rtc *rtc, uint8_t index)
{
    return rtc->ram[index];
}

bool rtc_nmi_masked(const struct rtc *rtc)
{
    return rtc->index & 0x80;
}

void rtc_connect_irq(struct rtc *rtc, bool connected)
{
    rtc->connected = connected;
    update_irq(rtc);
}

/* ---- life --------------------------------------------------------------- */

/* RESET# clears the enables and flags; time and CMOS go on (data sheet,
 * "RESET"). */
static void rtc_reset(void *chip)
{
    struct rtc *rtc = chip;
    rtc->ram[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->ram[REG_C] = 0;
    rtc->index = 0;
    rtc->index_high = 0;
    rtc->connected = true;
    rtc->periodic_from = cycle(rtc);
    update_irq(rtc);
    schedule(rtc);
}

struct rtc *rtc_new(struct dev_bus *bus)
{
    struct rtc *rtc = calloc(1, sizeof *rtc);
    if (!rtc)
        return NULL;
    rtc->bus = bus;
    rtc->second_timer = bus_timer_new(bus, "rtc second", second_fired, rtc);
    rtc->periodic_timer =
        bus_timer_new(bus, "rtc periodic", periodic_fired, rtc);
    rtc->irq = bus_irq_source(bus, "rtc", 8);
    bus_io_map(bus, 0x70, 4, &rtc_io, rtc);
    rtc->ram[REG_A] = A_DIVIDER_RUN | 6; /* 1024 Hz, as set-up leaves it */
    rtc->ram[REG_B] = B_24H;
    rtc->ram[REG_D] = D_VRT;
    rtc_set_time(rtc, 0);
    rtc_reset(rtc);
    return rtc;
}

void rtc_free(struct rtc *rtc)
{
    free(rtc);
}

const struct field rtc_fields[RTC_FIELDS] = {
    FIELD_U64(struct rtc, origin),    FIELD_U64(struct rtc, periodic_from),
    FIELD_U8(struct rtc, ram),        FIELD_U8(struct rtc, index),
    FIELD_U8(struct rtc, index_high), FIELD_BOOL(struct rtc, connected),
};

static void rtc_save(const void *chip, struct writer *w)
{
    fields_save(rtc_fields, RTC_FIELDS, chip, w);
}

static bool rtc_load(void *chip, struct reader *r, struct error *err)
{
    struct rtc *rtc = chip;
    if (!fields_load(rtc_fields, RTC_FIELDS, rtc, r, err))
        return false;
    rtc->index_high &= 0x7f;
    rtc->ram[REG_A] &= (uint8_t)~A_UIP;
    return true;
}

const struct chip_ops rtc_ops = {
    .name = "rtc",
    .tag = "RTC ",
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
};
