#include "dev/serial_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    CHARACTER_NS = 7234 /* 10 bits at 12 * 115200 baud, rounded up */
};

struct fixture {
    struct devtest t;
    struct serial *serial;
};

static void out(struct fixture *f, uint16_t reg, uint8_t value)
{
    devtest_out8(&f->t, (uint16_t)(0x3f8 + reg), value);
}

static uint8_t in(struct fixture *f, uint16_t reg)
{
    return devtest_in8(&f->t, (uint16_t)(0x3f8 + reg));
}

/* 115200 8N1, OUT2 on. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->serial = serial_new(f->t.bus, 0x3f8, 4);
    out(f, 3, 0x83);
    out(f, 0, 1);
    out(f, 1, 0);
    out(f, 3, 0x03);
    out(f, 4, 0x0b);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    serial_free(f->serial);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static void characters(struct fixture *f, unsigned n)
{
    devtest_run_ns(&f->t, (uint64_t)n * CHARACTER_NS);
}

static void reset_values(void **state)
{
    struct fixture *f = *state;
    serial_ops.reset(f->serial);
    assert_int_equal(in(f, 1), 0x00);
    assert_int_equal(in(f, 2), 0x01);
    assert_int_equal(in(f, 3), 0x00);
    assert_int_equal(in(f, 4), 0x00);
    assert_int_equal(in(f, 5), 0x60);
    assert_int_equal(in(f, 6), 0xb0);
}

static void scratch_and_divisor_are_plain_memory(void **state)
{
    struct fixture *f = *state;
    out(f, 7, 0xa5);
    assert_int_equal(in(f, 7), 0xa5);
    out(f, 3, 0x80);
    out(f, 0, 0x34);
    out(f, 1, 0x12);
    assert_int_equal(in(f, 0), 0x34);
    assert_int_equal(in(f, 1), 0x12);
    out(f, 3, 0x00);
    assert_int_equal(in(f, 1), 0x00); /* IER */
    out(f, 1, 0xff);
    assert_int_equal(in(f, 1), 0x0f);
}

static void character_leaves_after_its_time(void **state)
{
    struct fixture *f = *state;
    out(f, 0, 'x');
    assert_int_equal(in(f, 5), 0x20); /* THR went on to the shifter */
    devtest_run_ns(&f->t, CHARACTER_NS - 1);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 0);
    devtest_run_ns(&f->t, 1);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 1);
    assert_int_equal(f->t.out[OUT_SERIAL][0], 'x');
    assert_int_equal(in(f, 5), 0x60);
}

static void fifo_holds_sixteen(void **state)
{
    struct fixture *f = *state;
    out(f, 2, 0x01);
    for (unsigned i = 0; i < 17; i++) /* one goes to the shifter at once */
        out(f, 0, (uint8_t)('a' + i));
    assert_int_equal(in(f, 5), 0x00);
    characters(f, 16);
    assert_int_equal(in(f, 5), 0x20);
    characters(f, 1);
    assert_int_equal(in(f, 5), 0x60);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 17);
    assert_memory_equal(f->t.out[OUT_SERIAL], "abcdefghijklmnopq", 17);
}

static void thre_interrupt_clears_on_iir_read(void **state)
{
    struct fixture *f = *state;
    out(f, 1, 0x02);
    assert_true(f->t.line[4]); /* enabled while empty */
    assert_int_equal(in(f, 2), 0x02);
    assert_false(f->t.line[4]);
    assert_int_equal(in(f, 2), 0x01);
    out(f, 0, 'a');
    assert_int_equal(in(f, 2), 0x02); /* moved to the shifter */
    out(f, 0, 'b');
    assert_false(f->t.line[4]);
    characters(f, 1);
    assert_true(f->t.line[4]);
    out(f, 0, 'c');
    assert_false(f->t.line[4]);
}

static void received_character_interrupts(void **state)
{
    struct fixture *f = *state;
    out(f, 1, 0x01);
    assert_int_equal(serial_receive(f->serial, "AB", 2), 2);
    assert_int_equal(in(f, 5), 0x60);
    characters(f, 1);
    assert_true(f->t.line[4]);
    assert_int_equal(in(f, 2), 0x04);
    assert_int_equal(in(f, 5), 0x61);
    characters(f, 10); /* the queue waits: no overrun */
    assert_int_equal(in(f, 5), 0x61);
    assert_int_equal(in(f, 0), 'A');
    assert_false(f->t.line[4]);
    characters(f, 1);
    assert_int_equal(in(f, 0), 'B');
    assert_int_equal(in(f, 0), 'B'); /* nothing new */
}

static void trigger_level_and_timeout(void **state)
{
    struct fixture *f = *state;
    out(f, 2, 0x81); /* 8 bytes */
    out(f, 1, 0x01);
    serial_receive(f->serial, "12345678", 7);
    characters(f, 7);
    assert_false(f->t.line[4]);
    characters(f, 4);
    assert_true(f->t.line[4]);
    assert_int_equal(in(f, 2), 0xcc);
    assert_int_equal(in(f, 0), '1');
    assert_false(f->t.line[4]);
    serial_receive(f->serial, "89", 2);
    characters(f, 2);
    assert_int_equal(in(f, 2), 0xc4);
    for (unsigned i = 0; i < 8; i++)
        in(f, 0);
    assert_int_equal(in(f, 2), 0xc1);
    characters(f, 10);
    assert_int_equal(in(f, 2), 0xc1); /* an empty FIFO never times out */
}

static void disabling_fifos_empties_them(void **state)
{
    struct fixture *f = *state;
    out(f, 2, 0x01);
    serial_receive(f->serial, "123", 3);
    characters(f, 3);
    out(f, 2, 0x00);
    assert_int_equal(in(f, 5) & 1, 0);
    assert_int_equal(in(f, 2), 0x01);
}

static void loopback_returns_characters_and_modem_lines(void **state)
{
    struct fixture *f = *state;
    out(f, 4, 0x1a); /* loop, OUT2, RTS */
    in(f, 6);
    assert_int_equal(in(f, 6), 0x90);
    out(f, 4, 0x1f);
    assert_int_equal(in(f, 6), 0xf2); /* DSR changed; RI rising is no TERI */
    out(f, 4, 0x1b);
    assert_int_equal(in(f, 6), 0xb4); /* trailing edge of RI */
    out(f, 0, 0x5a);
    characters(f, 1);
    assert_int_equal(in(f, 0), 0x5a);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 0);
}

static void overrun_is_a_line_status_interrupt(void **state)
{
    struct fixture *f = *state;
    out(f, 4, 0x1b);
    out(f, 1, 0x05);
    out(f, 0, 'a');
    characters(f, 1);
    out(f, 0, 'b');
    characters(f, 1);
    assert_int_equal(in(f, 2), 0x06); /* above received data */
    assert_int_equal(in(f, 5), 0x63);
    assert_int_equal(in(f, 2), 0x04);
    assert_int_equal(in(f, 0), 'b');
}

static void modem_status_interrupts(void **state)
{
    struct fixture *f = *state;
    out(f, 1, 0x08);
    assert_false(f->t.line[4]);
    out(f, 4, 0x19);
    assert_true(f->t.line[4]);
    assert_int_equal(in(f, 2), 0x00);
    in(f, 6);
    assert_false(f->t.line[4]);
}

static void out2_gates_the_interrupt(void **state)
{
    struct fixture *f = *state;
    out(f, 4, 0x03);
    out(f, 1, 0x02);
    assert_false(f->t.line[4]);
    out(f, 4, 0x0b);
    assert_true(f->t.line[4]);
}

static void short_characters_lose_their_high_bits(void **state)
{
    struct fixture *f = *state;
    out(f, 3, 0x02); /* 7 bits */
    out(f, 0, 0xc1);
    characters(f, 1);
    assert_int_equal(f->t.out[OUT_SERIAL][0], 0x41);
}

static void format_and_divisor_set_the_pace(void **state)
{
    struct fixture *f = *state;
    out(f, 3, 0x80);
    out(f, 0, 0x80);
    out(f, 1, 0x01); /* 384: 300 baud */
    out(f, 3, 0x1f); /* 8 bits, even parity, 2 stop: 12 bits, 40/12 ms */
    out(f, 0, 'x');
    devtest_run_ns(&f->t, 3333333);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 0);
    devtest_run_ns(&f->t, 1);
    assert_int_equal(f->t.out_used[OUT_SERIAL], 1);
}

static void queue_takes_64_kib(void **state)
{
    struct fixture *f = *state;
    uint8_t *bytes = calloc(1, 70000);
    assert_int_equal(serial_receive(f->serial, bytes, 70000), 65536);
    characters(f, 1);
    assert_int_equal(serial_receive(f->serial, bytes, 70000), 1);
    free(bytes);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        DEVTEST_RANGE(struct serial, bus),
        DEVTEST_RANGE(struct serial, tx_timer),
        DEVTEST_RANGE(struct serial, rx_timer),
        DEVTEST_RANGE(struct serial, idle_timer),
        DEVTEST_RANGE(struct serial, irq),
        DEVTEST_RANGE(struct serial, queue), /* by hand, used part only */
    };
    devtest_fields(serial_fields, SERIAL_FIELDS, sizeof(struct serial), exempt,
                   6);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct serial *other = serial_new(u.bus, 0x3f8, 4);
    out(f, 2, 0x01);
    serial_receive(f->serial, "hello world", 11);
    characters(f, 3);
    out(f, 0, 'a');
    out(f, 0, 'b');
    assert_true(devtest_copy(&serial_ops, f->serial, other));
    devtest_hostile_loads(&serial_ops, f->serial, other);
    serial_free(other);
    devtest_fini(&u);
}

static void any_register_write_is_survived(void **state)
{
    struct fixture *f = *state;
    uint32_t x = 99;
    for (unsigned i = 0; i < 100000; i++) {
        x = x * 1664525 + 1013904223;
        out(f, x >> 29, (uint8_t)(x >> 8));
        in(f, x >> 26 & 7);
        if (x & 0x4000)
            serial_receive(f->serial, &x, 4);
        devtest_run_ns(&f->t, x >> 12);
        f->t.out_used[OUT_SERIAL] = 0;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reset_values),
        TEST(scratch_and_divisor_are_plain_memory),
        TEST(character_leaves_after_its_time),
        TEST(fifo_holds_sixteen),
        TEST(thre_interrupt_clears_on_iir_read),
        TEST(received_character_interrupts),
        TEST(trigger_level_and_timeout),
        TEST(disabling_fifos_empties_them),
        TEST(loopback_returns_characters_and_modem_lines),
        TEST(overrun_is_a_line_status_interrupt),
        TEST(modem_status_interrupts),
        TEST(out2_gates_the_interrupt),
        TEST(short_characters_lose_their_high_bits),
        TEST(format_and_divisor_set_the_pace),
        TEST(queue_takes_64_kib),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
        TEST(any_register_write_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
