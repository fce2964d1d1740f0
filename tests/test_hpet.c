/* dev/hpet: counter, comparators, routing, legacy replacement. */
#include "dev/hpet.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    CAPS = 0x00,
    CONF = 0x10,
    STATUS = 0x20,
    COUNTER = 0xf0,
    T0 = 0x100,
    T1 = 0x120,
    T2 = 0x140
};

struct fix {
    struct devtest t;
    struct hpet *h;
    unsigned legacy_calls;
    bool legacy;
    bool pin[24];
    unsigned rises[24];
};

static void on_legacy(void *context, bool on)
{
    struct fix *f = context;
    f->legacy = on;
    f->legacy_calls++;
}

static void on_pin(void *context, unsigned pin, bool level)
{
    struct fix *f = context;
    f->rises[pin] += level;
    f->pin[pin] = level;
}

static void put(struct fix *f, unsigned reg, uint64_t value)
{
    phys_write(f->t.phys, 0xfed00000u + reg, &value, 8);
}

static uint64_t get(struct fix *f, unsigned reg)
{
    uint64_t value = 0;
    phys_read(f->t.phys, 0xfed00000u + reg, &value, 8);
    return value;
}

static int setup(void **state)
{
    static const struct hpet_wires wires = {on_legacy, on_pin};
    static struct fix f;
    f = (struct fix){0};
    devtest_init(&f.t);
    f.h = hpet_new(f.t.bus, &wires, &f);
    *state = &f;
    return f.h ? 0 : -1;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    hpet_free(f->h);
    devtest_fini(&f->t);
    return 0;
}

static void capabilities_say_three_timers_of_10_ns(void **state)
{
    struct fix *f = *state;
    assert_true(get(f, CAPS) == 0x009896808086a201ull);
    assert_true(get(f, T0) == 0x00f0000000000030ull);
    assert_true(get(f, T2) == 0x00f0000000000020ull);
}

static void counter_runs_while_enabled_and_is_written_while_halted(void **state)
{
    struct fix *f = *state;
    devtest_run_to(&f->t, 1000);
    assert_int_equal(get(f, COUNTER), 0);
    put(f, COUNTER, 5000);
    put(f, CONF, 1);
    devtest_run_to(&f->t, 2000);
    assert_int_equal(get(f, COUNTER), 5100);
    put(f, COUNTER, 1);
    assert_int_equal(get(f, COUNTER), 5100);
    put(f, CONF, 0);
    devtest_run_to(&f->t, 3000);
    assert_int_equal(get(f, COUNTER), 5100);
}

static void halves_of_64_bit_registers_are_reachable(void **state)
{
    struct fix *f = *state;
    uint32_t v = 0x11223344;
    phys_write(f->t.phys, 0xfed000f4, &v, 4);
    assert_true(get(f, COUNTER) == 0x1122334400000000ull);
    phys_read(f->t.phys, 0xfed00004, &v, 4);
    assert_int_equal(v, 10000000);
}

static void edge_timer_pulses_its_pin_at_the_match(void **state)
{
    struct fix *f = *state;
    put(f, T2, 22 << 9 | 4);
    put(f, T2 + 8, 100);
    put(f, CONF, 1);
    devtest_run_to(&f->t, 999);
    assert_int_equal(f->rises[22], 0);
    devtest_run_to(&f->t, 1000);
    assert_int_equal(f->rises[22], 1);
    assert_false(f->pin[22]);
    assert_int_equal(get(f, STATUS), 0);
}

static void level_timer_holds_its_pin_until_status_is_cleared(void **state)
{
    struct fix *f = *state;
    put(f, T1, 21 << 9 | 6);
    put(f, T1 + 8, 100);
    put(f, CONF, 1);
    devtest_run_to(&f->t, 1000);
    assert_true(f->pin[21]);
    assert_int_equal(get(f, STATUS), 2);
    put(f, STATUS, 1);
    assert_true(f->pin[21]);
    put(f, STATUS, 2);
    assert_false(f->pin[21]);
}

static void legacy_replacement_takes_lines_0_and_8(void **state)
{
    struct fix *f = *state;
    put(f, T0, 4);
    put(f, T1, 4);
    put(f, T0 + 8, 100);
    put(f, T1 + 8, 200);
    put(f, CONF, 3);
    assert_true(f->legacy);
    devtest_run_to(&f->t, 2000);
    assert_int_equal(f->t.rises[0], 1);
    assert_int_equal(f->t.rises[8], 1);
    hpet_ops.reset(f->h);
    assert_false(f->legacy);
    assert_int_equal(f->legacy_calls, 2);
}

static void periodic_timer_adds_its_period(void **state)
{
    struct fix *f = *state;
    put(f, T0, 0x4c); /* periodic, value set, enabled */
    put(f, T0 + 8, 100);
    put(f, T0 + 8, 50); /* without value set: the period alone */
    put(f, CONF, 3);
    devtest_run_to(&f->t, 1000);
    assert_int_equal(f->t.rises[0], 1);
    assert_int_equal(get(f, T0 + 8), 150);
    devtest_run_to(&f->t, 2000);
    assert_int_equal(f->t.rises[0], 3);
    devtest_run_to(&f->t, 2499);
    assert_int_equal(f->t.rises[0], 3);
}

static void timer_in_32_bit_mode_wraps(void **state)
{
    struct fix *f = *state;
    put(f, COUNTER, 0xfffffff0);
    put(f, T2, 0x104 | 20 << 9);
    put(f, T2 + 8, 0x10);
    put(f, CONF, 1);
    devtest_run_to(&f->t, 320);
    assert_int_equal(f->rises[20], 1);
}

static void state_survives_save_and_hostile_loads(void **state)
{
    struct fix *f = *state;
    put(f, T0, 0x4c);
    put(f, T0 + 8, 100);
    put(f, CONF, 1);
    devtest_run_to(&f->t, 555);
    struct hpet *other = hpet_new(f->t.bus, NULL, NULL);
    assert_true(devtest_copy(&hpet_ops, f->h, other));
    devtest_hostile_loads(&hpet_ops, f->h, other);
    hpet_free(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(capabilities_say_three_timers_of_10_ns),
        T(counter_runs_while_enabled_and_is_written_while_halted),
        T(halves_of_64_bit_registers_are_reachable),
        T(edge_timer_pulses_its_pin_at_the_match),
        T(level_timer_holds_its_pin_until_status_is_cleared),
        T(legacy_replacement_takes_lines_0_and_8),
        T(periodic_timer_adds_its_period),
        T(timer_in_32_bit_mode_wraps),
        T(state_survives_save_and_hostile_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
