#include "dev/keys.h"
#include "dev/ps2_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct ps2 *ps2;
    bool a20;
    uint8_t got[64];
    unsigned count;
};

static void on_a20(void *board, bool enabled)
{
    struct fixture *f = board;
    f->a20 = enabled;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->ps2 = ps2_new(f->t.bus);
    ps2_set_a20(f->ps2, on_a20, f);
    f->a20 = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ps2_free(f->ps2);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

/* Fetch all bytes that arrive within 100 ms; aux says from where. */
static void drain(struct fixture *f, bool aux)
{
    f->count = 0;
    for (unsigned i = 0; i < 400; i++) {
        devtest_run_ns(&f->t, PS2_BYTE_NS);
        uint8_t status = devtest_in8(&f->t, 0x64);
        if (!(status & 1))
            continue;
        assert_int_equal(!!(status & 0x20), aux);
        assert_true(f->count < sizeof f->got);
        f->got[f->count++] = devtest_in8(&f->t, 0x60);
    }
}

static void expect(struct fixture *f, bool aux, const char *bytes,
                   unsigned count)
{
    drain(f, aux);
    assert_int_equal(f->count, count);
    assert_memory_equal(f->got, bytes, count);
}

#define KEYBOARD_SENDS(f, s) expect(f, false, s, sizeof(s) - 1)
#define MOUSE_SENDS(f, s)    expect(f, true, s, sizeof(s) - 1)

static void command(struct fixture *f, uint8_t value)
{
    devtest_out8(&f->t, 0x64, value);
}

static void data(struct fixture *f, uint8_t value)
{
    devtest_out8(&f->t, 0x60, value);
}

static void command_byte(struct fixture *f, uint8_t value)
{
    command(f, 0x60);
    data(f, value);
}

static void mouse(struct fixture *f, uint8_t value)
{
    command(f, 0xd4);
    data(f, value);
}

/* Command and parameter with their acknowledgements. */
static void mouse_set(struct fixture *f, uint8_t value, uint8_t parameter)
{
    mouse(f, value);
    MOUSE_SENDS(f, "\xfa");
    mouse(f, parameter);
    MOUSE_SENDS(f, "\xfa");
}

static void self_tests_answer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(devtest_in8(&f->t, 0x64), 0x18);
    command(f, 0xaa);
    KEYBOARD_SENDS(f, "\x55");
    assert_int_equal(devtest_in8(&f->t, 0x64), 0x1c);
    command(f, 0xab);
    KEYBOARD_SENDS(f, "\x00");
    command(f, 0xa9);
    KEYBOARD_SENDS(f, "\x00");
    command(f, 0xa4);
    KEYBOARD_SENDS(f, "\xf1");
}

static void command_byte_and_ram_read_back(void **state)
{
    struct fixture *f = *state;
    command_byte(f, 0x65);
    command(f, 0x20);
    KEYBOARD_SENDS(f, "\x65");
    command(f, 0x7f);
    data(f, 0x99);
    command(f, 0x3f);
    KEYBOARD_SENDS(f, "\x99");
    command(f, 0xa7);
    command(f, 0xad);
    command(f, 0x20);
    KEYBOARD_SENDS(f, "\x75");
    command(f, 0xa8);
    command(f, 0xae);
    command(f, 0x20);
    KEYBOARD_SENDS(f, "\x45");
}

static void reset_line_and_pulse(void **state)
{
    struct fixture *f = *state;
    command(f, 0xfe);
    assert_int_equal(f->t.requests[REQUEST_RESET], 1);
    command(f, 0xff);
    assert_int_equal(f->t.requests[REQUEST_RESET], 1);
    command(f, 0xd1);
    data(f, 0xfe);
    assert_int_equal(f->t.requests[REQUEST_RESET], 2);
}

static void a20_by_output_port_and_port_92(void **state)
{
    struct fixture *f = *state;
    command(f, 0xd1);
    data(f, 0xdd);
    assert_false(f->a20);
    assert_int_equal(devtest_in8(&f->t, 0x92), 0x00);
    devtest_out8(&f->t, 0x92, 0x02);
    assert_true(f->a20);
    command(f, 0xd0);
    KEYBOARD_SENDS(f, "\xcf");
    command(f, 0xdd);
    assert_false(f->a20);
    command(f, 0xdf);
    assert_true(f->a20);
    devtest_out8(&f->t, 0x92, 0x03);
    devtest_out8(&f->t, 0x92, 0x03);
    assert_int_equal(f->t.requests[REQUEST_INIT], 1);
}

static void keys_in_set_2(void **state)
{
    struct fixture *f = *state;
    ps2_key(f->ps2, 0x1e, true);
    ps2_key(f->ps2, 0x1e, false);
    ps2_key(f->ps2, KEY_EXTENDED | 0x48, true);
    ps2_key(f->ps2, KEY_EXTENDED | 0x48, false);
    ps2_key(f->ps2, 0x41, true); /* F7 */
    KEYBOARD_SENDS(f, "\x1c\xf0\x1c\xe0\x75\xe0\xf0\x75\x83");
}

static void translation_gives_the_key_codes_back(void **state)
{
    struct fixture *f = *state;
    command_byte(f, 0x41);
    for (unsigned key = 1; key < 0x59; key++) {
        if (key == 0x55)
            continue; /* no such key */
        ps2_key(f->ps2, (uint16_t)key, true);
        ps2_key(f->ps2, (uint16_t)key, false);
        char want[2] = {(char)key, (char)(key | 0x80)};
        expect(f, false, want, 2);
        ps2_key(f->ps2, (uint16_t)(KEY_EXTENDED | key), true);
        ps2_key(f->ps2, (uint16_t)(KEY_EXTENDED | key), false);
        char extended[4] = {(char)0xe0, (char)key, (char)0xe0,
                            (char)(key | 0x80)};
        expect(f, false, extended, 4);
    }
}

static void pause_and_print_screen(void **state)
{
    struct fixture *f = *state;
    command_byte(f, 0x41);
    ps2_key(f->ps2, KEY_PAUSE, true);
    ps2_key(f->ps2, KEY_PAUSE, false);
    KEYBOARD_SENDS(f, "\xe1\x1d\x45\xe1\x9d\xc5");
    ps2_key(f->ps2, KEY_PRINT_SCREEN, true);
    ps2_key(f->ps2, KEY_PRINT_SCREEN, false);
    KEYBOARD_SENDS(f, "\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa");
    ps2_key(f->ps2, 0x38, true);
    ps2_key(f->ps2, KEY_PRINT_SCREEN, true);
    ps2_key(f->ps2, 0x38, false);
    ps2_key(f->ps2, KEY_PRINT_SCREEN, false);
    KEYBOARD_SENDS(f, "\x38\x54\xb8\xd4");
    ps2_key(f->ps2, 0x1d, true);
    ps2_key(f->ps2, KEY_PAUSE, true);
    KEYBOARD_SENDS(f, "\x1d\xe0\x46\xe0\xc6");
}

static void sets_1_and_3(void **state)
{
    struct fixture *f = *state;
    data(f, 0xf0);
    KEYBOARD_SENDS(f, "\xfa");
    data(f, 0x01);
    KEYBOARD_SENDS(f, "\xfa");
    ps2_key(f->ps2, KEY_EXTENDED | 0x1d, true);
    ps2_key(f->ps2, KEY_EXTENDED | 0x1d, false);
    KEYBOARD_SENDS(f, "\xe0\x1d\xe0\x9d");
    data(f, 0xf0);
    data(f, 0x03);
    KEYBOARD_SENDS(f, "\xfa");
    ps2_key(f->ps2, 0x01, true);
    ps2_key(f->ps2, 0x01, false); /* Esc sends no break by default */
    ps2_key(f->ps2, KEY_EXTENDED | 0x48, true);
    ps2_key(f->ps2, 0x2a, true);
    ps2_key(f->ps2, 0x2a, false);
    KEYBOARD_SENDS(f, "\x08\x63\x12\xf0\x12");
    data(f, 0xfc);
    data(f, 0x08);
    KEYBOARD_SENDS(f, "\xfa");
    ps2_key(f->ps2, 0x01, false);
    KEYBOARD_SENDS(f, "\xf0\x08");
    data(f, 0xf0);
    data(f, 0x00);
    KEYBOARD_SENDS(f, "\xfa\x03");
}

static void keyboard_commands(void **state)
{
    struct fixture *f = *state;
    data(f, 0xee);
    KEYBOARD_SENDS(f, "\xee");
    data(f, 0xf2);
    KEYBOARD_SENDS(f, "\xfa\xab\x83");
    data(f, 0xed);
    KEYBOARD_SENDS(f, "\xfa");
    data(f, 0x06);
    KEYBOARD_SENDS(f, "\xfa");
    assert_int_equal(ps2_leds(f->ps2), 6);
    data(f, 0xf3);
    data(f, 0x20);
    KEYBOARD_SENDS(f, "\xfa");
    data(f, 0xfe);
    KEYBOARD_SENDS(f, "\xfa");
    data(f, 0xf1);
    KEYBOARD_SENDS(f, "\xfe");
    data(f, 0xff);
    KEYBOARD_SENDS(f, "\xfa\xaa");
    data(f, 0xf5);
    KEYBOARD_SENDS(f, "\xfa");
    ps2_key(f->ps2, 0x1e, true);
    KEYBOARD_SENDS(f, "");
    data(f, 0xf4);
    ps2_key(f->ps2, 0x1f, true);
    KEYBOARD_SENDS(f, "\xfa\x1b");
}

static void overrun_marks_what_was_lost(void **state)
{
    struct fixture *f = *state;
    command(f, 0xad);
    for (unsigned i = 0; i < 20; i++)
        ps2_key(f->ps2, 0x1e, true);
    command(f, 0xae);
    KEYBOARD_SENDS(f, "\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c\x1c"
                      "\x1c\x1c\x00");
}

static void byte_takes_time_and_raises_irq_1(void **state)
{
    struct fixture *f = *state;
    ps2_key(f->ps2, 0x1e, true);
    devtest_run_ns(&f->t, PS2_BYTE_NS - 1);
    assert_int_equal(devtest_in8(&f->t, 0x64) & 1, 0);
    devtest_run_ns(&f->t, 1);
    assert_true(f->t.line[1]);
    ps2_key(f->ps2, 0x1e, false);
    devtest_run_ns(&f->t, 10 * PS2_BYTE_NS);
    assert_int_equal(f->t.rises[1], 1); /* waits for the first to be read */
    devtest_in8(&f->t, 0x60);
    assert_false(f->t.line[1]);
    devtest_run_ns(&f->t, PS2_BYTE_NS);
    assert_int_equal(f->t.rises[1], 2);
    command_byte(f, 0x00);
    assert_false(f->t.line[1]);
}

static void output_buffer_can_be_written(void **state)
{
    struct fixture *f = *state;
    command(f, 0xd2);
    data(f, 0x12);
    KEYBOARD_SENDS(f, "\x12");
    command(f, 0xd3);
    data(f, 0x34);
    devtest_run_ns(&f->t, PS2_BYTE_NS);
    assert_true(f->t.line[12]);
    MOUSE_SENDS(f, "\x34");
}

static void mouse_reset_and_status(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xff);
    MOUSE_SENDS(f, "\xfa\xaa\x00");
    mouse(f, 0xf2);
    MOUSE_SENDS(f, "\xfa\x00");
    mouse(f, 0xe9);
    MOUSE_SENDS(f, "\xfa\x00\x02\x64");
    mouse_set(f, 0xe8, 3);
    mouse_set(f, 0xf3, 40);
    mouse(f, 0xe7);
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    mouse(f, 0xe9);
    MOUSE_SENDS(f, "\xfa\x30\x03\x28");
    mouse(f, 0xe8);
    mouse(f, 9);
    MOUSE_SENDS(f, "\xfe");
    mouse(f, 0x55);
    MOUSE_SENDS(f, "\xfe");
}

static void mouse_streams_three_byte_reports(void **state)
{
    struct fixture *f = *state;
    ps2_mouse(f->ps2, 1, 1, 0, 0); /* not enabled yet */
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    ps2_mouse(f->ps2, 5, -3, 0, 1);
    MOUSE_SENDS(f, "\x09\x05\x03");
    ps2_mouse(f->ps2, -300, 2, 0, 1);
    MOUSE_SENDS(f, "\x39\x01\xfe\x19\xd3\x00");
    ps2_mouse(f->ps2, 0, 0, 0, 1); /* no news */
    MOUSE_SENDS(f, "");
}

static void click_within_a_sample_is_not_lost(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    for (unsigned i = 0; i < 2; i++) {
        ps2_mouse(f->ps2, 0, 0, 0, 2);
        ps2_mouse(f->ps2, 0, 0, 0, 0);
    }
    MOUSE_SENDS(f, "\x0a\0\0\x08\0\0\x0a\0\0\x08\0\0");
}

static void reports_keep_to_the_sample_rate(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    unsigned bytes = 0;
    for (unsigned ms = 0; ms < 1000; ms++) {
        ps2_mouse(f->ps2, 1, 0, 0, 0);
        for (unsigned i = 0; i < 4; i++) {
            devtest_run_ns(&f->t, 250000);
            if (devtest_in8(&f->t, 0x64) & 1) {
                devtest_in8(&f->t, 0x60);
                bytes++;
            }
        }
    }
    assert_in_range(bytes, 3 * 99, 3 * 101);
}

static void knock(struct fixture *f, uint8_t a, uint8_t b, uint8_t c)
{
    mouse_set(f, 0xf3, a);
    mouse_set(f, 0xf3, b);
    mouse_set(f, 0xf3, c);
    mouse(f, 0xf2);
}

static void intellimouse_knock_adds_the_wheel(void **state)
{
    struct fixture *f = *state;
    knock(f, 200, 100, 80);
    MOUSE_SENDS(f, "\xfa\x03");
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    ps2_mouse(f->ps2, 1, 0, -1, 0);
    MOUSE_SENDS(f, "\x08\x01\x00\xff");
}

static void explorer_knock_adds_side_buttons(void **state)
{
    struct fixture *f = *state;
    knock(f, 200, 100, 80);
    MOUSE_SENDS(f, "\xfa\x03");
    knock(f, 200, 200, 80);
    MOUSE_SENDS(f, "\xfa\x04");
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    ps2_mouse(f->ps2, 0, 0, -1, 0x18);
    MOUSE_SENDS(f, "\x08\x00\x00\x3f");
    ps2_mouse(f->ps2, 0, 0, 9, 0x00);
    MOUSE_SENDS(f, "\x08\x00\x00\x07\x08\x00\x00\x02");
}

static void remote_and_wrap_modes(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xf0);
    MOUSE_SENDS(f, "\xfa");
    ps2_mouse(f->ps2, 4, 0, 0, 4);
    MOUSE_SENDS(f, "");
    mouse(f, 0xeb);
    MOUSE_SENDS(f, "\xfa\x0c\x04\x00");
    mouse(f, 0xee);
    MOUSE_SENDS(f, "\xfa");
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xf4");
    mouse(f, 0xec);
    MOUSE_SENDS(f, "\xfa");
    mouse(f, 0xea);
    MOUSE_SENDS(f, "\xfa");
}

static void scaling_doubles_stream_counts(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xe7);
    mouse(f, 0xf4);
    MOUSE_SENDS(f, "\xfa");
    ps2_mouse(f->ps2, 5, 0, 0, 0);
    MOUSE_SENDS(f, "\x08\x09\x00");
    ps2_mouse(f->ps2, 10, 2, 0, 0);
    MOUSE_SENDS(f, "\x28\x14\xff");
}

static void mouse_bytes_raise_irq_12_when_enabled(void **state)
{
    struct fixture *f = *state;
    mouse(f, 0xf4);
    devtest_run_ns(&f->t, PS2_BYTE_NS);
    assert_true(f->t.line[12]);
    assert_false(f->t.line[1]);
    devtest_in8(&f->t, 0x60);
    assert_false(f->t.line[12]);
    command(f, 0xa7);
    ps2_mouse(f->ps2, 5, 0, 0, 0);
    MOUSE_SENDS(f, "");
    command(f, 0xa8);
    MOUSE_SENDS(f, "\x08\x05\x00");
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range keyboard[] = {
        DEVTEST_RANGE(struct ps2_keyboard, out)};
    static const struct devtest_range mouse_out[] = {
        DEVTEST_RANGE(struct ps2_mouse, out)};
    static const struct devtest_range top[] = {
        {0, offsetof(struct ps2, ram)} /* handles, devices with own tables */
    };
    devtest_fields(ps2_fifo_fields, PS2_FIFO_FIELDS, sizeof(struct ps2_fifo),
                   NULL, 0);
    devtest_fields(ps2_keyboard_fields, PS2_KEYBOARD_FIELDS,
                   sizeof(struct ps2_keyboard), keyboard, 1);
    devtest_fields(ps2_mouse_fields, PS2_MOUSE_FIELDS, sizeof(struct ps2_mouse),
                   mouse_out, 1);
    devtest_fields(ps2_fields, PS2_FIELDS, sizeof(struct ps2), top, 1);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct ps2 *other = ps2_new(u.bus);
    command(f, 0xdd);
    mouse(f, 0xf4);
    ps2_key(f->ps2, 0x1e, true);
    ps2_mouse(f->ps2, 3, 4, 5, 1);
    assert_true(devtest_copy(&ps2_ops, f->ps2, other));
    assert_int_equal(devtest_in8(&u, 0x92), 0);
    devtest_hostile_loads(&ps2_ops, f->ps2, other);
    ps2_key(other, 0x1e, true);
    ps2_mouse(other, 1, 1, 1, 1);
    devtest_run_ns(&u, 1000000000);
    ps2_free(other);
    devtest_fini(&u);
}

static void any_port_write_is_survived(void **state)
{
    struct fixture *f = *state;
    uint32_t x = 12345;
    for (unsigned i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        static const uint16_t ports[] = {0x60, 0x64, 0x60, 0x92};
        devtest_out8(&f->t, ports[x >> 30], (uint8_t)(x >> 16));
        if (x & 0x100)
            devtest_in8(&f->t, 0x60);
        if (x & 0x200)
            ps2_key(f->ps2, (uint16_t)(x >> 8), x & 1);
        if (x & 0x400)
            ps2_mouse(f->ps2, (int)x, (int)(x * 3), (int)(x * 5), x >> 3);
        devtest_run_ns(&f->t, x >> 12 & 0xfffff);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(self_tests_answer),
        TEST(command_byte_and_ram_read_back),
        TEST(reset_line_and_pulse),
        TEST(a20_by_output_port_and_port_92),
        TEST(keys_in_set_2),
        TEST(translation_gives_the_key_codes_back),
        TEST(pause_and_print_screen),
        TEST(sets_1_and_3),
        TEST(keyboard_commands),
        TEST(overrun_marks_what_was_lost),
        TEST(byte_takes_time_and_raises_irq_1),
        TEST(output_buffer_can_be_written),
        TEST(mouse_reset_and_status),
        TEST(mouse_streams_three_byte_reports),
        TEST(click_within_a_sample_is_not_lost),
        TEST(reports_keep_to_the_sample_rate),
        TEST(intellimouse_knock_adds_the_wheel),
        TEST(explorer_knock_adds_side_buttons),
        TEST(remote_and_wrap_modes),
        TEST(scaling_doubles_stream_counts),
        TEST(mouse_bytes_raise_irq_12_when_enabled),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
        TEST(any_port_write_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
