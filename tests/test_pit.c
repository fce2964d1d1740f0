#include "dev/pit_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct pit *pit;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->pit = pit_new(f->t.bus);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pit_free(f->pit);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static uint64_t now(struct fixture *f)
{
    return bus_cycles_at(f->t.bus, f->t.tick, PIT_HZ);
}

/* To the first tick at which CLK pulse c has happened. */
static void run_to(struct fixture *f, uint64_t c)
{
    devtest_run_to(&f->t, bus_tick_of_cycle(f->t.bus, c, PIT_HZ));
}

static void run(struct fixture *f, uint64_t pulses)
{
    run_to(f, now(f) + pulses);
}

static void out(struct fixture *f, uint16_t port, uint8_t value)
{
    devtest_out8(&f->t, port, value);
}

static uint8_t in(struct fixture *f, uint16_t port)
{
    return devtest_in8(&f->t, port);
}

static unsigned count(struct fixture *f, unsigned which)
{
    out(f, 0x43, (uint8_t)(which << 6));
    unsigned low = in(f, (uint16_t)(0x40 + which));
    return low | (unsigned)in(f, (uint16_t)(0x40 + which)) << 8;
}

static void program(struct fixture *f, unsigned which, uint8_t control,
                    uint16_t n)
{
    out(f, 0x43, (uint8_t)(which << 6 | control));
    out(f, (uint16_t)(0x40 + which), (uint8_t)n);
    out(f, (uint16_t)(0x40 + which), (uint8_t)(n >> 8));
}

static bool out2(struct fixture *f)
{
    return in(f, 0x61) & 0x20;
}

static void mode0_rises_n_plus_1_pulses_after_the_count(void **state)
{
    struct fixture *f = *state;
    run_to(f, 10);
    program(f, 0, 0x30, 5);
    assert_false(f->t.line[0]);
    run(f, 1);
    assert_int_equal(count(f, 0), 5);
    run(f, 4);
    assert_int_equal(count(f, 0), 1);
    assert_false(f->t.line[0]);
    run(f, 1);
    assert_true(f->t.line[0]);
    run(f, 1);
    assert_int_equal(count(f, 0), 0xffff); /* wraps, OUT stays high */
    run(f, 70000);
    assert_int_equal(f->t.rises[0], 1);
}

static void mode0_first_byte_stops_and_lowers(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x30, 2);
    run(f, 10);
    assert_true(f->t.line[0]);
    out(f, 0x40, 4);
    assert_false(f->t.line[0]);
    unsigned frozen = count(f, 0);
    run(f, 10);
    assert_int_equal(count(f, 0), frozen);
    out(f, 0x40, 0);
    run(f, 5);
    assert_true(f->t.line[0]);
}

static void mode2_period_is_n(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x34, 1193);
    assert_true(f->t.line[0]);
    unsigned before = f->t.rises[0];
    run(f, 1 + 1193 * 10);
    assert_int_equal(f->t.rises[0] - before, 10);
    assert_int_equal(count(f, 0), 1193);
    run(f, 1192);
    assert_int_equal(count(f, 0), 1);
    assert_false(f->t.line[0]);
}

static void mode2_new_count_waits_for_the_period(void **state)
{
    struct fixture *f = *state;
    uint64_t start = now(f) + 1;
    program(f, 0, 0x34, 100);
    run_to(f, start + 30);
    out(f, 0x40, 50);
    out(f, 0x40, 0);
    assert_int_equal(count(f, 0), 70);
    run_to(f, start + 99);
    assert_int_equal(count(f, 0), 1);
    run_to(f, start + 100);
    assert_int_equal(count(f, 0), 50);
    run_to(f, start + 149);
    assert_false(f->t.line[0]);
    run_to(f, start + 150);
    assert_true(f->t.line[0]);
}

static void mode3_halves_of_even_and_odd_counts(void **state)
{
    struct fixture *f = *state;
    out(f, 0x61, 1);
    uint64_t start = now(f) + 1;
    program(f, 2, 0x36, 7);
    static const uint8_t element[] = {6, 4, 2, 0, 6, 4, 2, 6};
    for (unsigned i = 0; i < 8; i++) {
        run_to(f, start + i);
        assert_int_equal(count(f, 2), element[i]);
        assert_int_equal(out2(f), i < 4 || i == 7);
    }
    start = now(f) + 1;
    program(f, 2, 0x36, 4);
    static const uint8_t even[] = {4, 2, 4, 2, 4};
    for (unsigned i = 0; i < 5; i++) {
        run_to(f, start + i);
        assert_int_equal(count(f, 2), even[i]);
        assert_int_equal(out2(f), i < 2 || i == 4);
    }
}

static void mode3_new_count_waits_for_the_half_cycle(void **state)
{
    struct fixture *f = *state;
    out(f, 0x61, 1);
    uint64_t start = now(f) + 1;
    program(f, 2, 0x36, 20);
    run_to(f, start + 3);
    out(f, 0x42, 6);
    out(f, 0x42, 0);
    run_to(f, start + 9);
    assert_true(out2(f));
    for (unsigned i = 0; i < 3; i++) {
        run_to(f, start + 10 + i);
        assert_false(out2(f)); /* low half of 6 */
    }
    run_to(f, start + 13);
    assert_true(out2(f));
    assert_int_equal(count(f, 2), 6);
    run_to(f, start + 16);
    assert_false(out2(f));
}

static void mode1_is_a_retriggerable_one_shot(void **state)
{
    struct fixture *f = *state;
    program(f, 2, 0x32, 10);
    assert_true(out2(f));
    run(f, 50);
    assert_true(out2(f));
    out(f, 0x61, 1);
    run(f, 1);
    assert_false(out2(f));
    run(f, 5);
    out(f, 0x61, 0);
    out(f, 0x61, 1);
    run(f, 10);
    assert_false(out2(f));
    run(f, 1);
    assert_true(out2(f));
}

static void mode4_strobes_once(void **state)
{
    struct fixture *f = *state;
    out(f, 0x61, 1);
    program(f, 2, 0x38, 3);
    run(f, 3);
    assert_true(out2(f));
    run(f, 1);
    assert_false(out2(f));
    run(f, 1);
    assert_true(out2(f));
    run(f, 65536);
    assert_true(out2(f));
}

static void mode5_strobes_after_its_trigger(void **state)
{
    struct fixture *f = *state;
    program(f, 2, 0x3a, 3);
    run(f, 100);
    assert_true(out2(f));
    out(f, 0x61, 1);
    run(f, 3);
    assert_true(out2(f));
    run(f, 1);
    assert_false(out2(f));
    run(f, 1);
    assert_true(out2(f));
}

static void gate_holds_mode0_and_restarts_mode2(void **state)
{
    struct fixture *f = *state;
    out(f, 0x61, 1);
    program(f, 2, 0x30, 100);
    run(f, 41);
    assert_int_equal(count(f, 2), 60);
    out(f, 0x61, 0);
    run(f, 500);
    assert_int_equal(count(f, 2), 60);
    out(f, 0x61, 1);
    run(f, 59);
    assert_false(out2(f));
    run(f, 1);
    assert_true(out2(f));
    program(f, 2, 0x34, 100);
    run(f, 31);
    out(f, 0x61, 0);
    assert_int_equal(count(f, 2), 70);
    assert_true(out2(f));
    out(f, 0x61, 1);
    run(f, 1);
    assert_int_equal(count(f, 2), 100);
}

static void gate_low_holds_a_loaded_mode0(void **state)
{
    struct fixture *f = *state;
    program(f, 2, 0x30, 9);
    run(f, 50);
    assert_int_equal(count(f, 2), 9);
    out(f, 0x61, 1);
    run(f, 9);
    assert_true(out2(f));
}

static void bcd_counts_in_decimal(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x35, 0x1000);
    run(f, 2);
    assert_int_equal(count(f, 0), 0x0999);
    program(f, 0, 0x31, 0);
    run(f, 2);
    assert_int_equal(count(f, 0), 0x9999);
}

static void latch_holds_until_read(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x34, 0x1234);
    run(f, 1);
    out(f, 0x43, 0x00);
    run(f, 100);
    out(f, 0x43, 0x00); /* ignored: the latch is full */
    assert_int_equal(in(f, 0x40), 0x34);
    run(f, 100);
    assert_int_equal(in(f, 0x40), 0x12);
    assert_int_equal(count(f, 0), 0x1234 - 200);
}

static void single_byte_reads_and_writes(void **state)
{
    struct fixture *f = *state;
    out(f, 0x43, 0x14); /* LSB only */
    out(f, 0x40, 200);
    run(f, 11);
    assert_int_equal(in(f, 0x40), 190);
    assert_int_equal(in(f, 0x40), 190);
    out(f, 0x43, 0x24); /* MSB only */
    out(f, 0x40, 3);
    run(f, 2);
    assert_int_equal(in(f, 0x40), 2);
    assert_int_equal(in(f, 0x43), 0xff);
}

static void read_back_gives_status_then_count(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x34, 1000);
    out(f, 0x43, 0xe2);                                /* status of counter 0 */
    assert_int_equal(in(f, 0x40), 0x80 | 0x40 | 0x34); /* null count */
    run(f, 1);
    out(f, 0x43, 0xc2); /* both */
    assert_int_equal(in(f, 0x40), 0xb4);
    assert_int_equal(in(f, 0x40), 1000 & 255);
    assert_int_equal(in(f, 0x40), 1000 >> 8);
}

static void port61_refresh_toggles_every_15_us(void **state)
{
    struct fixture *f = *state;
    run_to(f, 18 * 6);
    unsigned toggles = 0;
    uint8_t last = in(f, 0x61) & 0x10;
    for (unsigned i = 0; i < 1800; i++) {
        run(f, 1);
        uint8_t bit = in(f, 0x61) & 0x10;
        toggles += bit != last;
        last = bit;
    }
    assert_int_equal(toggles, 100);
    out(f, 0x61, 0xff);
    assert_int_equal(in(f, 0x61) & 0xcf, 0x0f);
}

static void mode3_interrupts_at_18_hz(void **state)
{
    struct fixture *f = *state;
    program(f, 0, 0x36, 0);
    devtest_run_ns(&f->t, 1000000000);
    assert_int_equal(f->t.rises[0], 19); /* the control word's rise and 18 */
}

static void disconnected_irq_is_silent(void **state)
{
    struct fixture *f = *state;
    pit_connect_irq(f->pit, false);
    program(f, 0, 0x34, 100);
    run(f, 1000);
    assert_int_equal(f->t.rises[0], 0);
    pit_connect_irq(f->pit, true);
    run(f, 1000);
    assert_true(f->t.rises[0] >= 10);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        DEVTEST_RANGE(struct pit, bus), DEVTEST_RANGE(struct pit, timer),
        DEVTEST_RANGE(struct pit, irq),
        DEVTEST_RANGE(struct pit, counter), /* own table */
    };
    devtest_fields(pit_counter_fields, PIT_COUNTER_FIELDS,
                   sizeof(struct pit_counter), NULL, 0);
    devtest_fields(pit_fields, PIT_FIELDS, sizeof(struct pit), exempt, 4);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct pit *other = pit_new(u.bus);
    program(f, 0, 0x36, 1000);
    run(f, 777);
    assert_true(devtest_copy(&pit_ops, f->pit, other));
    devtest_hostile_loads(&pit_ops, f->pit, other);
    u.tick = f->t.tick;
    for (uint16_t port = 0x40; port < 0x43; port++)
        devtest_in8(&u, port);
    pit_free(other);
    devtest_fini(&u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mode0_rises_n_plus_1_pulses_after_the_count),
        TEST(mode0_first_byte_stops_and_lowers),
        TEST(mode2_period_is_n),
        TEST(mode2_new_count_waits_for_the_period),
        TEST(mode3_halves_of_even_and_odd_counts),
        TEST(mode3_new_count_waits_for_the_half_cycle),
        TEST(mode1_is_a_retriggerable_one_shot),
        TEST(mode4_strobes_once),
        TEST(mode5_strobes_after_its_trigger),
        TEST(gate_holds_mode0_and_restarts_mode2),
        TEST(gate_low_holds_a_loaded_mode0),
        TEST(bcd_counts_in_decimal),
        TEST(latch_holds_until_read),
        TEST(single_byte_reads_and_writes),
        TEST(read_back_gives_status_then_count),
        TEST(port61_refresh_toggles_every_15_us),
        TEST(mode3_interrupts_at_18_hz),
        TEST(disconnected_irq_is_silent),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
