#include "dev/misc_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct misc *misc;
    unsigned ignne;
};

static void on_ignne(void *board)
{
    struct fixture *f = board;
    f->ignne++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->misc = misc_new(f->t.bus);
    misc_set_ignne(f->misc, on_ignne, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    misc_free(f->misc);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static void post_code_reads_back_and_is_news_once(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x80, 0x55);
    devtest_out8(&f->t, 0x80, 0x55);
    assert_int_equal(devtest_in8(&f->t, 0x80), 0x55);
    assert_int_equal(f->t.out_used[OUT_POST], 1);
    assert_int_equal(f->t.out[OUT_POST][0], 0x55);
}

static void debug_console_is_there(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(devtest_in8(&f->t, 0xe9), 0xe9);
    devtest_out8(&f->t, 0xe9, 'h');
    devtest_out8(&f->t, 0xe9, 'i');
    assert_memory_equal(f->t.out[OUT_DEBUGCON], "hi", 2);
}

static void debug_exit_takes_any_width(void **state)
{
    struct fixture *f = *state;
    bus_io_write(f->t.bus, 0xf4, 0x12345678, 4);
    assert_int_equal(f->t.requests[REQUEST_DEBUG_EXIT], 1);
    assert_int_equal(f->t.request_value, 0x12345678);
    bus_io_write(f->t.bus, 0xf4, 0x31, 1);
    assert_int_equal(f->t.request_value, 0x31);
    assert_int_equal(devtest_in8(&f->t, 0xf4), 0);
}

static void ferr_raises_irq_13_until_port_f0(void **state)
{
    struct fixture *f = *state;
    misc_ferr(f->misc, true);
    assert_true(f->t.line[13]);
    devtest_out8(&f->t, 0xf1, 0);
    assert_true(f->t.line[13]);
    devtest_out8(&f->t, 0xf0, 0);
    assert_false(f->t.line[13]);
    assert_int_equal(f->ignne, 1);
    misc_ferr(f->misc, false);
    misc_ferr(f->misc, true);
    assert_true(f->t.line[13]);
    misc_ferr(f->misc, false);
    assert_true(f->t.line[13]);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        {0, offsetof(struct misc, post)} /* borrowed, handles */
    };
    devtest_fields(misc_fields, MISC_FIELDS, sizeof(struct misc), exempt, 1);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct misc *other = misc_new(u.bus);
    devtest_out8(&f->t, 0x80, 0x55);
    misc_ferr(f->misc, true);
    assert_true(devtest_copy(&misc_ops, f->misc, other));
    devtest_hostile_loads(&misc_ops, f->misc, other);
    misc_free(other);
    devtest_fini(&u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(post_code_reads_back_and_is_news_once),
        TEST(debug_console_is_there),
        TEST(debug_exit_takes_any_width),
        TEST(ferr_raises_irq_13_until_port_f0),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
