#include "dev/rtc_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000000000 };

struct fixture {
    struct devtest t;
    struct rtc *rtc;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->rtc = rtc_new(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rtc_free(f->rtc);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static uint8_t get(struct fixture *f, uint8_t index)
{
    devtest_out8(&f->t, 0x70, index);
    return devtest_in8(&f->t, 0x71);
}

static void put(struct fixture *f, uint8_t index, uint8_t value)
{
    devtest_out8(&f->t, 0x70, index);
    devtest_out8(&f->t, 0x71, value);
}

/* Second, minute, hour, weekday, day, month, year, century as registers. */
static void expect_time(struct fixture *f, const uint8_t *want)
{
    static const uint8_t index[] = {0, 2, 4, 6, 7, 8, 9, 0x32};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(f, index[i]), want[i]);
}

static void set_time_fills_bcd_registers(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 1330473598);
    static const uint8_t want[] = {0x58, 0x59, 0x23, 3, 0x28, 2, 0x12, 0x20};
    expect_time(f, want);
}

static void leap_day_comes(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 1330473598);
    devtest_run_ns(&f->t, 2ull * SECOND);
    static const uint8_t want[] = {0, 0, 0, 4, 0x29, 2, 0x12, 0x20};
    expect_time(f, want);
    devtest_run_ns(&f->t, 86400ull * SECOND);
    static const uint8_t march[] = {0, 0, 0, 5, 0x01, 3, 0x12, 0x20};
    expect_time(f, march);
}

static void century_turns(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 946684799);
    devtest_run_ns(&f->t, SECOND);
    static const uint8_t want[] = {0, 0, 0, 7, 1, 1, 0, 0x20};
    expect_time(f, want);
}

static void year_2100_is_no_leap_year(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 4107542399);
    devtest_run_ns(&f->t, SECOND);
    assert_int_equal(get(f, 7), 1);
    assert_int_equal(get(f, 8), 3);
}

static void times_before_1970_work(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, -1);
    static const uint8_t want[] = {0x59, 0x59, 0x23, 4, 0x31, 0x12, 0x69, 0x19};
    expect_time(f, want);
}

static void binary_and_12_hour_formats(void **state)
{
    struct fixture *f = *state;
    put(f, 0x0b, 0x04); /* binary, 12 h */
    rtc_set_time(f->rtc, 1330473598);
    assert_int_equal(get(f, 0), 58);
    assert_int_equal(get(f, 4), 0x80 | 11);
    devtest_run_ns(&f->t, 2ull * SECOND);
    assert_int_equal(get(f, 4), 12); /* midnight */
    put(f, 0x0b, 0x00);              /* BCD, 12 h */
    put(f, 4, 0x11);
    put(f, 2, 0x59);
    put(f, 0, 0x59);
    devtest_run_ns(&f->t, SECOND);
    assert_int_equal(get(f, 4), 0x92); /* noon */
}

static void uip_covers_the_last_2228_us(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 0);
    uint64_t edge = bus_tick_of_cycle(f->t.bus, 32768 - 73, 32768);
    devtest_run_to(&f->t, edge - 1);
    assert_int_equal(get(f, 0x0a), 0x26);
    devtest_run_to(&f->t, edge);
    assert_int_equal(get(f, 0x0a), 0xa6);
    devtest_run_to(&f->t, SECOND - 1);
    assert_int_equal(get(f, 0x0a), 0xa6);
    assert_int_equal(get(f, 0), 0);
    devtest_run_to(&f->t, SECOND);
    assert_int_equal(get(f, 0x0a), 0x26);
    assert_int_equal(get(f, 0), 1);
}

static void update_interrupt_once_a_second(void **state)
{
    struct fixture *f = *state;
    put(f, 0x0b, 0x12);
    for (unsigned i = 0; i < 3; i++) {
        devtest_run_ns(&f->t, SECOND);
        assert_true(f->t.line[8]);
        assert_int_equal(get(f, 0x0c) & 0xb0, 0x90);
        assert_false(f->t.line[8]);
        assert_int_equal(get(f, 0x0c), 0);
    }
    assert_int_equal(f->t.rises[8], 3);
}

static void set_bit_stops_updates_and_clears_uie(void **state)
{
    struct fixture *f = *state;
    put(f, 0x0b, 0x92);
    assert_int_equal(get(f, 0x0b), 0x82);
    put(f, 0, 0x30);
    devtest_run_ns(&f->t, 3ull * SECOND);
    assert_int_equal(get(f, 0), 0x30);
    assert_int_equal(get(f, 0x0c) & 0x10, 0);
    put(f, 0x0b, 0x02);
    devtest_run_ns(&f->t, SECOND);
    assert_int_equal(get(f, 0), 0x31);
}

static void divider_reset_gives_half_a_second(void **state)
{
    struct fixture *f = *state;
    devtest_run_ns(&f->t, 123456789);
    put(f, 0x0a, 0x66);
    devtest_run_ns(&f->t, 5ull * SECOND);
    assert_int_equal(get(f, 0), 0);
    put(f, 0x0a, 0x26);
    devtest_run_ns(&f->t, SECOND / 2 - 100000);
    assert_int_equal(get(f, 0), 0);
    devtest_run_ns(&f->t, 200000);
    assert_int_equal(get(f, 0), 1);
}

static void alarm_matches_and_ignores_dont_care(void **state)
{
    struct fixture *f = *state;
    rtc_set_time(f->rtc, 0);
    put(f, 1, 0x05);
    put(f, 3, 0xc0);
    put(f, 5, 0xff);
    put(f, 0x0b, 0x22);
    devtest_run_ns(&f->t, 4ull * SECOND);
    assert_false(f->t.line[8]);
    devtest_run_ns(&f->t, SECOND);
    assert_true(f->t.line[8]);
    assert_int_equal(get(f, 0x0c) & 0xa0, 0xa0);
    devtest_run_ns(&f->t, 60ull * SECOND);
    assert_true(f->t.line[8]);
}

static void periodic_interrupt_at_its_rate(void **state)
{
    struct fixture *f = *state;
    put(f, 0x0b, 0x42);
    unsigned interrupts = 0;
    for (unsigned i = 0; i < 10000; i++) {
        devtest_run_ns(&f->t, 100000);
        if (f->t.line[8]) {
            interrupts++;
            assert_int_equal(get(f, 0x0c) & 0xc0, 0xc0);
        }
    }
    assert_int_equal(interrupts, 1024);
    put(f, 0x0a, 0x2f); /* 2 Hz */
    f->t.rises[8] = 0;
    for (unsigned i = 0; i < 10; i++) {
        devtest_run_ns(&f->t, SECOND / 2);
        get(f, 0x0c);
    }
    assert_int_equal(f->t.rises[8], 10);
}

static void periodic_flag_is_set_without_enable(void **state)
{
    struct fixture *f = *state;
    get(f, 0x0c);
    devtest_run_ns(&f->t, 100000);
    assert_int_equal(get(f, 0x0c), 0x00);
    devtest_run_ns(&f->t, 1000000);
    assert_int_equal(get(f, 0x0c), 0x40);
    assert_false(f->t.line[8]);
}

static void registers_c_and_d_are_read_only(void **state)
{
    struct fixture *f = *state;
    put(f, 0x0d, 0);
    assert_int_equal(get(f, 0x0d), 0x80);
    put(f, 0x0a, 0xff);
    assert_int_equal(get(f, 0x0a), 0x7f);
}

static void cmos_both_banks_and_reset(void **state)
{
    struct fixture *f = *state;
    rtc_set_cmos(f->rtc, 0x3d, 0x21);
    rtc_set_cmos(f->rtc, 0x00, 0x77); /* not a CMOS byte */
    assert_int_equal(get(f, 0x3d), 0x21);
    assert_int_equal(get(f, 0x00), 0x00);
    put(f, 0x0f, 0x0a);
    devtest_out8(&f->t, 0x72, 0x81);
    devtest_out8(&f->t, 0x73, 0x5a);
    put(f, 0x0b, 0x72);
    rtc_ops.reset(f->rtc);
    assert_int_equal(get(f, 0x0f), 0x0a);
    assert_int_equal(get(f, 0x0b), 0x02);
    devtest_out8(&f->t, 0x72, 0x01);
    assert_int_equal(devtest_in8(&f->t, 0x73), 0x5a);
    assert_int_equal(rtc_cmos(f->rtc, 0x81), 0x5a);
}

static void index_bit_7_masks_nmi(void **state)
{
    struct fixture *f = *state;
    assert_false(rtc_nmi_masked(f->rtc));
    get(f, 0x8d);
    assert_true(rtc_nmi_masked(f->rtc));
    assert_int_equal(devtest_in8(&f->t, 0x71), 0x80);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        DEVTEST_RANGE(struct rtc, bus),
        DEVTEST_RANGE(struct rtc, second_timer),
        DEVTEST_RANGE(struct rtc, periodic_timer),
        DEVTEST_RANGE(struct rtc, irq),
        {offsetof(struct rtc, irq) + sizeof(unsigned), 4}, /* padding */
    };
    devtest_fields(rtc_fields, RTC_FIELDS, sizeof(struct rtc), exempt, 5);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct rtc *other = rtc_new(u.bus);
    put(f, 0x0b, 0x42);
    devtest_run_ns(&f->t, 12345678901);
    assert_true(devtest_copy(&rtc_ops, f->rtc, other));
    devtest_hostile_loads(&rtc_ops, f->rtc, other);
    devtest_run_ns(&u, 3ull * SECOND);
    rtc_free(other);
    devtest_fini(&u);
}

static void garbage_time_keeps_counting(void **state)
{
    struct fixture *f = *state;
    for (unsigned format = 0; format < 8; format += 2) {
        put(f, 0x0b, (uint8_t)format);
        for (uint8_t i = 0; i < 10; i++)
            put(f, i, 0xff);
        put(f, 0x32, 0xff);
        devtest_run_ns(&f->t, 90000ull * SECOND);
        assert_true(get(f, 0) < 0x60);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(set_time_fills_bcd_registers),
        TEST(leap_day_comes),
        TEST(century_turns),
        TEST(year_2100_is_no_leap_year),
        TEST(times_before_1970_work),
        TEST(binary_and_12_hour_formats),
        TEST(uip_covers_the_last_2228_us),
        TEST(update_interrupt_once_a_second),
        TEST(set_bit_stops_updates_and_clears_uie),
        TEST(divider_reset_gives_half_a_second),
        TEST(alarm_matches_and_ignores_dont_care),
        TEST(periodic_interrupt_at_its_rate),
        TEST(periodic_flag_is_set_without_enable),
        TEST(registers_c_and_d_are_read_only),
        TEST(cmos_both_banks_and_reset),
        TEST(index_bit_7_masks_nmi),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
        TEST(garbage_time_keeps_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
