#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
    struct devtest *t = calloc(1, sizeof *t);
    devtest_init(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    devtest_fini(*state);
    free(*state);
    return 0;
}

/* A chip that writes down what happens to it. */
struct probe {
    struct devtest *t;
    char id;
    char *trace; /* shared; letters in firing order */
    unsigned timer;
    uint64_t again; /* re-arm this much later, 0 for never */
    uint16_t offset[8];
    unsigned bytes[8];
    uint32_t value[8];
    unsigned accesses;
};

static void probe_fire(void *chip)
{
    struct probe *p = chip;
    size_t n = strlen(p->trace);
    p->trace[n] = p->id;
    p->trace[n + 1] = 0;
    if (p->again)
        bus_timer_set(p->t->bus, p->timer, bus_tick(p->t->bus) + p->again - 1);
}

static uint32_t probe_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct probe *p = chip;
    p->offset[p->accesses] = offset;
    p->bytes[p->accesses++] = bytes;
    return 0xa0b0c000u + offset;
}

static void probe_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    struct probe *p = chip;
    p->offset[p->accesses] = offset;
    p->value[p->accesses] = value;
    p->bytes[p->accesses++] = bytes;
}

static const struct io_ops byte_ops = {probe_read, probe_write, 1};
static const struct io_ops word_ops = {probe_read, probe_write, 2};
static const struct io_ops long_ops = {probe_read, probe_write, 4};

static void cycle_and_tick_are_inverse(void **state)
{
    struct devtest *t = *state;
    static const uint64_t hz[] = {32768,    1193182,    3579545,
                                  14318180, 1000000000, 2400000000};
    for (size_t i = 0; i < 6; i++)
        for (uint64_t c = 1; c < (uint64_t)1 << 50; c = c * 7 + 3) {
            uint64_t tick = bus_tick_of_cycle(t->bus, c, hz[i]);
            assert_true(bus_cycles_at(t->bus, tick, hz[i]) >= c);
            assert_true(bus_cycles_at(t->bus, tick - 1, hz[i]) < c);
        }
}

static void time_does_not_overflow(void **state)
{
    struct devtest *t = *state;
    t->tick = UINT64_MAX - 1;
    assert_true(bus_ns(t->bus) == UINT64_MAX - 1);
    assert_true(bus_tick_of_cycle(t->bus, UINT64_MAX, 1) == UINT64_MAX);
}

static void ns_round_up_to_ticks(void **state)
{
    struct devtest *t = *state;
    struct dev_bus *slow = bus_new(t->phys, &t->tick, 3000000);
    assert_int_equal(bus_ticks_of_ns(slow, 333), 1);
    assert_int_equal(bus_ticks_of_ns(slow, 334), 2);
    assert_int_equal(bus_ticks_of_ns(slow, 1000), 3);
    bus_free(slow);
}

static void timers_fire_by_deadline_then_creation(void **state)
{
    struct devtest *t = *state;
    char trace[16] = "";
    struct probe p[3];
    for (unsigned i = 0; i < 3; i++) {
        p[i] = (struct probe){.t = t, .id = (char)('a' + i), .trace = trace};
        p[i].timer = bus_timer_new(t->bus, "probe", probe_fire, &p[i]);
    }
    bus_timer_set(t->bus, p[2].timer, 50);
    bus_timer_set(t->bus, p[1].timer, 100);
    bus_timer_set(t->bus, p[0].timer, 100);
    assert_int_equal(bus_next_deadline(t->bus), 50);
    devtest_run_to(t, 99);
    assert_string_equal(trace, "c");
    devtest_run_to(t, 100);
    assert_string_equal(trace, "cab");
    assert_true(bus_next_deadline(t->bus) == UINT64_MAX);
    assert_false(bus_timer_armed(t->bus, p[0].timer, NULL));
}

static void cancelled_timer_does_not_fire(void **state)
{
    struct devtest *t = *state;
    char trace[16] = "";
    struct probe p = {.t = t, .id = 'x', .trace = trace};
    p.timer = bus_timer_new(t->bus, "probe", probe_fire, &p);
    uint64_t deadline = 0;
    bus_timer_set(t->bus, p.timer, 5);
    assert_true(bus_timer_armed(t->bus, p.timer, &deadline));
    assert_int_equal(deadline, 5);
    bus_timer_cancel(t->bus, p.timer);
    devtest_run_to(t, 10);
    assert_string_equal(trace, "");
    bus_timer_set(t->bus, p.timer, 3); /* in the past: fires at once */
    bus_fire_due(t->bus);
    assert_string_equal(trace, "x");
}

static void zero_period_advances_one_tick(void **state)
{
    struct devtest *t = *state;
    char trace[32] = "";
    struct probe p = {.t = t, .id = 'x', .trace = trace, .again = 1};
    p.timer = bus_timer_new(t->bus, "probe", probe_fire, &p);
    bus_timer_set(t->bus, p.timer, 1);
    devtest_run_to(t, 10);
    assert_string_equal(trace, "xxxxxxxxxx");
}

static void unowned_ports_read_ones(void **state)
{
    struct devtest *t = *state;
    assert_true(bus_io_read(t->bus, 0x1234, 4) == 0xffffffff);
    assert_true(bus_io_read(t->bus, 0x1234, 1) == 0xff);
    assert_true(bus_io_read(t->bus, 0xffff, 4) == 0xffffffff);
    bus_io_write(t->bus, 0xffff, 1, 4);
}

static void wide_access_splits_to_owners(void **state)
{
    struct devtest *t = *state;
    struct probe a = {.t = t}, b = {.t = t};
    bus_io_map(t->bus, 0x100, 2, &byte_ops, &a);
    bus_io_map(t->bus, 0x102, 2, &word_ops, &b);
    bus_io_write(t->bus, 0x100, 0x44332211, 4);
    assert_int_equal(a.accesses, 2);
    assert_int_equal(a.value[1], 0x22);
    assert_int_equal(a.offset[1], 1);
    assert_int_equal(b.accesses, 1);
    assert_int_equal(b.bytes[0], 2);
    assert_int_equal(b.value[0], 0x4433);
    assert_true(bus_io_read(t->bus, 0x100, 4) == 0xc0000100);
}

static void narrow_and_full_width_reach_the_chip_whole(void **state)
{
    struct devtest *t = *state;
    struct probe a = {.t = t};
    bus_io_map(t->bus, 0x200, 8, &long_ops, &a);
    assert_true(bus_io_read(t->bus, 0x204, 4) == 0xa0b0c004);
    assert_true(bus_io_read(t->bus, 0x205, 1) == 0x05);
    assert_int_equal(a.accesses, 2);
    assert_int_equal(a.bytes[0], 4);
    assert_int_equal(a.bytes[1], 1);
}

static void unmap_leaves_the_new_owner(void **state)
{
    struct devtest *t = *state;
    struct probe a = {.t = t}, b = {.t = t};
    bus_io_map(t->bus, 0x100, 4, &byte_ops, &a);
    bus_io_map(t->bus, 0x102, 4, &byte_ops, &b);
    bus_io_unmap(t->bus, 0x100, 4, &a);
    assert_int_equal(bus_io_read(t->bus, 0x101, 1), 0xff);
    assert_int_equal(bus_io_read(t->bus, 0x102, 1), 0x00);
    assert_int_equal(b.accesses, 1);
}

static void remapping_for_ever_does_not_run_out(void **state)
{
    struct devtest *t = *state;
    struct probe a = {.t = t};
    for (unsigned i = 0; i < 5000; i++) {
        bus_io_map(t->bus, (uint16_t)(0xc000 + 16 * (i % 64)), 16, &byte_ops,
                   &a);
        bus_io_unmap(t->bus, (uint16_t)(0xc000 + 16 * (i % 64)), 16, &a);
    }
    bus_io_map(t->bus, 0xc000, 16, &byte_ops, &a);
    assert_int_equal(bus_io_read(t->bus, 0xc000, 1), 0x00);
    assert_int_equal(t->logs, 0);
}

static void line_is_the_or_of_its_sources(void **state)
{
    struct devtest *t = *state;
    unsigned a = bus_irq_source(t->bus, "a", 5);
    unsigned b = bus_irq_source(t->bus, "b", 5);
    bus_irq_set(t->bus, a, true);
    bus_irq_set(t->bus, b, true);
    assert_int_equal(t->rises[5], 1);
    bus_irq_set(t->bus, a, false);
    assert_true(t->line[5]);
    bus_irq_route(t->bus, b, 11);
    assert_false(t->line[5]);
    assert_true(t->line[11]);
    bus_irq_set(t->bus, b, false);
    assert_false(t->line[11]);
    bus_irq_pulse(t->bus, a);
    assert_int_equal(t->rises[5], 2);
    assert_false(t->line[5]);
}

static void hash_sees_reads_writes_and_output(void **state)
{
    struct devtest *t = *state;
    uint64_t h[5];
    h[0] = bus_io_hash(t->bus);
    bus_io_write(t->bus, 0x80, 1, 1);
    h[1] = bus_io_hash(t->bus);
    bus_io_read(t->bus, 0x80, 1);
    h[2] = bus_io_hash(t->bus);
    bus_io_write(t->bus, 0x80, 1, 2);
    h[3] = bus_io_hash(t->bus);
    bus_output(t->bus, OUT_POST, "x", 1);
    h[4] = bus_io_hash(t->bus);
    for (unsigned i = 0; i < 5; i++)
        for (unsigned k = i + 1; k < 5; k++)
            assert_true(h[i] != h[k]);
    assert_int_equal(t->out_used[OUT_POST], 1);
}

static void log_keeps_one_line_per_site(void **state)
{
    struct devtest *t = *state;
    for (unsigned i = 0; i < 3; i++)
        bus_log(t->bus, "first site %u", i);
    assert_int_equal(t->logs, 1);
    assert_string_equal(t->log, "first site 0");
    bus_log(t->bus, "second site");
    assert_int_equal(t->logs, 2);
}

static void state_survives_save_and_load(void **state)
{
    struct devtest *t = *state;
    struct devtest u;
    devtest_init(&u);
    char trace[16] = "";
    struct probe p = {.t = t, .trace = trace};
    unsigned timer = bus_timer_new(t->bus, "p", probe_fire, &p);
    bus_timer_new(u.bus, "p", probe_fire, &p);
    unsigned irq = bus_irq_source(t->bus, "p", 3);
    bus_irq_source(u.bus, "p", 3);
    bus_timer_set(t->bus, timer, 77);
    bus_irq_route(t->bus, irq, 9);
    bus_irq_set(t->bus, irq, true);
    bus_io_write(t->bus, 1, 2, 1);
    struct writer w;
    writer_init(&w);
    bus_save(t->bus, &w);
    struct reader r;
    struct error err = {0};
    reader_init(&r, w.data, w.used);
    assert_true(bus_load(u.bus, &r, &err));
    assert_true(reader_done(&r, "bus", &err));
    assert_int_equal(bus_next_deadline(u.bus), 77);
    assert_true(bus_irq_level(u.bus, irq));
    assert_true(bus_io_hash(u.bus) == bus_io_hash(t->bus));
    bus_irq_set(u.bus, irq, false); /* the derived OR falls on line 9 */
    assert_false(u.line[9]);
    bus_irq_set(u.bus, irq, true);
    assert_int_equal(u.rises[9], 1);
    for (size_t n = 0; n < w.used; n++) {
        reader_init(&r, w.data, n);
        assert_false(bus_load(u.bus, &r, &err));
    }
    w.data[w.used - 2] = 16; /* a line that does not exist */
    reader_init(&r, w.data, w.used);
    assert_false(bus_load(u.bus, &r, &err));
    writer_fini(&w);
    devtest_fini(&u);
}

static void reset_cancels_timers_and_lowers_lines(void **state)
{
    struct devtest *t = *state;
    char trace[16] = "";
    struct probe p = {.t = t, .trace = trace};
    unsigned timer = bus_timer_new(t->bus, "p", probe_fire, &p);
    unsigned irq = bus_irq_source(t->bus, "p", 3);
    bus_timer_set(t->bus, timer, 77);
    bus_irq_set(t->bus, irq, true);
    bus_reset(t->bus);
    assert_false(t->line[3]);
    assert_true(bus_next_deadline(t->bus) == UINT64_MAX);
}

static void dma_reaches_ram(void **state)
{
    struct devtest *t = *state;
    char back[5] = "";
    bus_dma_write(t->bus, 4094, "abcd", 4);
    bus_dma_read(t->bus, 4094, back, 4);
    assert_string_equal(back, "abcd");
    assert_ptr_equal(bus_phys(t->bus), t->phys);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cycle_and_tick_are_inverse),
        TEST(time_does_not_overflow),
        TEST(ns_round_up_to_ticks),
        TEST(timers_fire_by_deadline_then_creation),
        TEST(cancelled_timer_does_not_fire),
        TEST(zero_period_advances_one_tick),
        TEST(unowned_ports_read_ones),
        TEST(wide_access_splits_to_owners),
        TEST(narrow_and_full_width_reach_the_chip_whole),
        TEST(unmap_leaves_the_new_owner),
        TEST(remapping_for_ever_does_not_run_out),
        TEST(line_is_the_or_of_its_sources),
        TEST(hash_sees_reads_writes_and_output),
        TEST(log_keeps_one_line_per_site),
        TEST(state_survives_save_and_load),
        TEST(reset_cancels_timers_and_lowers_lines),
        TEST(dma_reaches_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
