#include "dev/pic_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct pic *pic;
    bool intr;
};

static void on_intr(void *board, bool intr)
{
    struct fixture *f = board;
    f->intr = intr;
}

/* As a PC BIOS does: vectors 08h and 70h, everything unmasked. */
static void program(struct fixture *f, uint8_t icw4)
{
    static const uint16_t port[] = {0x20, 0x21, 0x21, 0x21,
                                    0xa0, 0xa1, 0xa1, 0xa1};
    const uint8_t value[] = {0x11, 0x08, 0x04, icw4, 0x11, 0x70, 0x02, icw4};
    for (unsigned i = 0; i < 8; i++)
        devtest_out8(&f->t, port[i], value[i]);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->pic = pic_new(f->t.bus);
    pic_set_output(f->pic, on_intr, f);
    program(f, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pic_free(f->pic);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static void raise_line(struct fixture *f, unsigned line)
{
    pic_set_line(f->pic, line, true);
    f->t.tick++;
}

static void lower_line(struct fixture *f, unsigned line)
{
    pic_set_line(f->pic, line, false);
    f->t.tick++;
}

static void edge_gives_one_interrupt(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 3);
    assert_true(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x0b);
    assert_false(f->intr);
    devtest_out8(&f->t, 0x20, 0x20);
    assert_false(f->intr); /* still high: no new edge */
    lower_line(f, 3);
    raise_line(f, 3);
    assert_true(f->intr);
}

static void slave_vector_through_cascade(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 12);
    assert_int_equal(pic_acknowledge(f->pic), 0x74);
    devtest_out8(&f->t, 0x20, 0x0b);
    devtest_out8(&f->t, 0xa0, 0x0b);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x04);
    assert_int_equal(devtest_in8(&f->t, 0xa0), 0x10);
}

static void higher_level_interrupts_lower(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 4);
    assert_int_equal(pic_acknowledge(f->pic), 0x0c);
    raise_line(f, 5);
    assert_false(f->intr);
    raise_line(f, 1);
    assert_true(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x09);
    devtest_out8(&f->t, 0x20, 0x20); /* ends 1, not 4 */
    assert_false(f->intr);
    devtest_out8(&f->t, 0x20, 0x20);
    assert_int_equal(pic_acknowledge(f->pic), 0x0d);
}

static void two_slave_requests_both_arrive(void **state)
{
    struct fixture *f = *state;
    pic_set_line(f->pic, 14, true);
    pic_set_line(f->pic, 8, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x70);
    assert_false(f->intr);
    devtest_out8(&f->t, 0xa0, 0x20);
    devtest_out8(&f->t, 0x20, 0x20);
    assert_true(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x76);
}

static void slave_with_auto_eoi_still_raises_again(void **state)
{
    struct fixture *f = *state;
    program(f, 3);
    pic_set_line(f->pic, 14, true);
    pic_set_line(f->pic, 15, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x76);
    assert_int_equal(pic_acknowledge(f->pic), 0x77);
    assert_false(f->intr);
}

static void vanished_request_is_spurious(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 4);
    lower_line(f, 4);
    assert_false(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x0f);
    devtest_out8(&f->t, 0x20, 0x0b);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x00);
}

static void pulse_within_a_tick_stays_latched(void **state)
{
    struct fixture *f = *state;
    pic_set_line(f->pic, 4, true);
    pic_set_line(f->pic, 4, false);
    assert_true(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x0c);
    assert_false(f->intr);
    pic_set_line(f->pic, 9, true);
    pic_set_line(f->pic, 9, false);
    devtest_out8(&f->t, 0x20, 0x20);
    assert_int_equal(pic_acknowledge(f->pic), 0x71);
}

static void level_line_requests_until_it_falls(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x4d1, 0xff);
    devtest_out8(&f->t, 0x4d0, 0xff);
    assert_int_equal(devtest_in8(&f->t, 0x4d1), 0xde);
    assert_int_equal(devtest_in8(&f->t, 0x4d0), 0xf8);
    raise_line(f, 5);
    assert_int_equal(pic_acknowledge(f->pic), 0x0d);
    devtest_out8(&f->t, 0x20, 0x20);
    assert_true(f->intr);
    lower_line(f, 5);
    assert_false(f->intr);
}

static void mask_hides_and_reveals(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x21, 0x10);
    raise_line(f, 4);
    assert_false(f->intr);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x10); /* IRR */
    devtest_out8(&f->t, 0x21, 0x00);
    assert_true(f->intr);
    assert_int_equal(devtest_in8(&f->t, 0x21), 0x00);
}

static void rotation_moves_the_bottom(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x20, 0xc3); /* set priority: 3 lowest, 4 highest */
    pic_set_line(f->pic, 0, true);
    pic_set_line(f->pic, 4, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x0c);
    devtest_out8(&f->t, 0x20, 0xa0); /* rotate on non-specific EOI */
    assert_int_equal(pic_acknowledge(f->pic), 0x08);
    devtest_out8(&f->t, 0x20, 0xe0); /* rotate on specific EOI of 0 */
    raise_line(f, 1);
    lower_line(f, 0);
    raise_line(f, 0);
    assert_int_equal(pic_acknowledge(f->pic), 0x09);
}

static void rotate_in_auto_eoi_mode(void **state)
{
    struct fixture *f = *state;
    program(f, 3);
    devtest_out8(&f->t, 0x20, 0x80);
    pic_set_line(f->pic, 0, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x08);
    devtest_out8(&f->t, 0x20, 0x0b);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x00);
    lower_line(f, 0);
    pic_set_line(f->pic, 0, true);
    pic_set_line(f->pic, 7, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x0f);
}

static void special_mask_lets_lower_levels_in(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 3);
    assert_int_equal(pic_acknowledge(f->pic), 0x0b);
    raise_line(f, 6);
    assert_false(f->intr);
    devtest_out8(&f->t, 0x21, 0x08);
    devtest_out8(&f->t, 0x20, 0x68);
    assert_int_equal(pic_acknowledge(f->pic), 0x0e);
    devtest_out8(&f->t, 0x20, 0x20); /* ends 6: masked 3 is left alone */
    devtest_out8(&f->t, 0x20, 0x0b);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x08);
    devtest_out8(&f->t, 0x20, 0x63); /* specific EOI of 3 */
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x00);
}

static void special_fully_nested_lets_the_slave_nest(void **state)
{
    struct fixture *f = *state;
    program(f, 0x11);
    raise_line(f, 14);
    assert_int_equal(pic_acknowledge(f->pic), 0x76);
    raise_line(f, 8);
    assert_true(f->intr);
    assert_int_equal(pic_acknowledge(f->pic), 0x70);
}

static void poll_acknowledges(void **state)
{
    struct fixture *f = *state;
    raise_line(f, 6);
    devtest_out8(&f->t, 0x20, 0x0c);
    assert_int_equal(devtest_in8(&f->t, 0x20), 0x86);
    assert_false(f->intr);
    devtest_out8(&f->t, 0x20, 0x0c);
    assert_int_equal(devtest_in8(&f->t, 0x21), 0x00);
}

static void icw1_forgets_edges_and_masks(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x21, 0xff);
    raise_line(f, 4);
    devtest_out8(&f->t, 0x20, 0x11);
    assert_false(f->intr);
    devtest_out8(&f->t, 0x21, 0x20);
    devtest_out8(&f->t, 0x21, 0x04);
    devtest_out8(&f->t, 0x21, 0x01);
    assert_int_equal(devtest_in8(&f->t, 0x21), 0x00);
    assert_false(f->intr);
    raise_line(f, 5);
    assert_int_equal(pic_acknowledge(f->pic), 0x25);
}

static void single_without_icw4_takes_two_bytes(void **state)
{
    struct fixture *f = *state;
    devtest_out8(&f->t, 0x20, 0x12);
    devtest_out8(&f->t, 0x21, 0x47);
    devtest_out8(&f->t, 0x21, 0xa5);
    assert_int_equal(devtest_in8(&f->t, 0x21), 0xa5);
    pic_set_line(f->pic, 1, true);
    assert_int_equal(pic_acknowledge(f->pic), 0x41);
}

static void fields_are_complete(void **state)
{
    (void)state;
    devtest_fields(pic_chip_fields, PIC_CHIP_FIELDS, sizeof(struct pic_chip),
                   NULL, 0);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct pic *other = pic_new(u.bus);
    raise_line(f, 3);
    raise_line(f, 9);
    assert_true(devtest_copy(&pic_ops, f->pic, other));
    assert_true(pic_intr(other));
    assert_int_equal(pic_acknowledge(other), 0x71);
    devtest_hostile_loads(&pic_ops, f->pic, other);
    pic_free(other);
    devtest_fini(&u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(edge_gives_one_interrupt),
        TEST(slave_vector_through_cascade),
        TEST(higher_level_interrupts_lower),
        TEST(two_slave_requests_both_arrive),
        TEST(slave_with_auto_eoi_still_raises_again),
        TEST(vanished_request_is_spurious),
        TEST(pulse_within_a_tick_stays_latched),
        TEST(level_line_requests_until_it_falls),
        TEST(mask_hides_and_reveals),
        TEST(rotation_moves_the_bottom),
        TEST(rotate_in_auto_eoi_mode),
        TEST(special_mask_lets_lower_levels_in),
        TEST(special_fully_nested_lets_the_slave_nest),
        TEST(poll_acknowledges),
        TEST(icw1_forgets_edges_and_masks),
        TEST(single_without_icw4_takes_two_bytes),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
