/* The search of a bisect, with sides that only pretend to run: what it asks
 * for, and what it makes of differences that show under some circumstances
 * alone. */
#include "lib_session.h"
#include "replay/bisect.h"
#include "replay/condition.h"
#include "replay/explain.h"

#include "cpu/cpu.h"
#include "mem/phys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A run without a fault has the same hash as another over the same samples. One
 * with a fault at `bad` has another from there on, or up to `healed`. */
struct fake {
    uint64_t bad, healed;  /* 0: no fault, not healed */
    uint64_t ends;         /* its guest ends here; 0: never */
    unsigned block;        /* shows in blocks of so many instructions only */
    uint64_t closest;      /* shows with samples at least so far apart */
    uint64_t latest_start; /* shows in runs that begin there or before */
    unsigned most_runs;    /* shows in the first so many; 0: in all */
    struct stretch asked;
    unsigned runs;
};

static bool fake_begin(void *context, const struct stretch *w,
                       struct error *err)
{
    struct fake *f = context;
    (void)err;
    f->asked = *w;
    f->runs++;
    return true;
}

static bool is_bad(const struct fake *f, uint64_t tick)
{
    const struct stretch *w = &f->asked;
    return f->bad && tick >= f->bad && (!f->healed || tick < f->healed) &&
           (!w->block || w->block >= f->block) &&
           (!w->every || w->every >= f->closest) &&
           w->start <= f->latest_start &&
           (!f->most_runs || f->runs <= f->most_runs);
}

static bool fake_end(void *context, struct station_mark *marks, unsigned *count,
                     struct error *err)
{
    struct fake *f = context;
    const struct stretch *w = &f->asked;
    uint64_t tick = w->from, hash = 0, n = 0;
    uint64_t samples = w->every ? (w->to - w->from) / w->every + 1 : 1;
    uint64_t group = samples / (STATION_MARKS_MAX - 1) + 1;
    bool is_done = false;
    (void)err;
    *count = 0;
    while (!is_done) {
        uint64_t next = w->every ? (tick / w->every + 1) * w->every : w->to;
        tick = next < w->to ? next : w->to;
        if (f->ends && tick >= f->ends)
            tick = f->ends;
        hash = hash * 31 + tick + is_bad(f, tick);
        is_done = tick >= w->to || tick == f->ends;
        if (++n % group && !is_done)
            continue;
        marks[*count].tick = tick;
        memset(marks[*count].hash, 0, sizeof marks->hash);
        memcpy(marks[(*count)++].hash, &hash, sizeof hash);
    }
    return true;
}

/* With the session's snapshots, which lie a second apart. */
static void find(struct fake *f, uint64_t every, struct bisect_result *r)
{
    struct error err = {0};
    struct fake good = {.ends = 0};
    struct bisect_side side[2] = {{&good, fake_begin, fake_end, 0, 0, 0, 0, 0},
                                  {f, fake_begin, fake_end, 0, 0, 0, 0, 0}};
    struct session *s;
    assert_true(session_open(session_path, &s, &err));
    if (!f->latest_start)
        f->latest_start = UINT64_MAX;
    struct bisect b = {.store = s->store,
                       .side = {&side[0], &side[1]},
                       .to = 3 * SECOND,
                       .every = every};
    assert_true(bisect_find(&b, r, &err));
    session_close(s);
}

static int set_up(void **state)
{
    struct recorder_options options = session_options();
    if (session_dir_make(state) != 0)
        return -1;
    options.snapshot_interval = SECOND;
    session_record(&options, 5);
    return 0;
}

static void equal_sides_do_not_differ(void **state)
{
    struct fake f = {.bad = 0};
    struct bisect_result r;
    (void)state;
    find(&f, 0, &r);
    assert_false(r.differs);
    assert_int_equal(r.every, bisect_every(0, 3 * SECOND));
    assert_true(f.runs >= 3); /* piece by piece */
}

static void the_first_bad_tick_is_found(void **state)
{
    static const uint64_t ticks[] = {
        1,      2,          12345678,       SECOND - 1,
        SECOND, SECOND + 1, 3 * SECOND - 1, 3 * SECOND};
    (void)state;
    for (unsigned i = 0; i < sizeof ticks / sizeof ticks[0]; i++) {
        struct fake f = {.bad = ticks[i]};
        struct bisect_result r;
        find(&f, 1 << 24, &r);
        assert_true(r.differs && r.is_exact);
        assert_int_equal(r.tick, ticks[i]);
        assert_int_equal(r.last_equal, ticks[i] - 1);
        assert_int_equal(r.block, 1);
        assert_true(f.runs < 30);
    }
}

/* A difference of a few ticks is seen by samples that are close enough. */
static void what_heals_is_found_by_close_samples(void **state)
{
    struct fake f = {.bad = SECOND + 77777, .healed = SECOND + 77779};
    struct bisect_result r;
    (void)state;
    find(&f, 1 << 24, &r);
    assert_false(r.differs);
    find(&f, 2, &r);
    assert_true(r.differs && r.is_exact);
    assert_int_equal(r.tick, SECOND + 77777);
}

/* Samples on the way and small blocks hide it: looked for by halving. */
static void what_shows_in_long_blocks_alone_is_found(void **state)
{
    struct fake f = {.bad = 2 * SECOND + 31415, .block = 5, .closest = 100000};
    struct bisect_result r;
    (void)state;
    find(&f, 1 << 24, &r);
    assert_true(r.differs && r.is_exact);
    assert_int_equal(r.tick, 2 * SECOND + 31415);
    assert_int_equal(r.block, 8);
}

/* Only in runs from the snapshot: what came before belongs to it. */
static void what_needs_the_whole_piece_is_found(void **state)
{
    struct fake f = {.bad = SECOND + (900 << 20),
                     .closest = 1 << 24,
                     .latest_start = SECOND + (200 << 20),
                     .block = 100};
    struct bisect_result r;
    (void)state;
    find(&f, 1 << 24, &r);
    assert_true(r.differs && r.is_exact);
    assert_int_equal(r.tick, SECOND + (900 << 20));
    assert_int_equal(r.block, 0);
    assert_true(r.start >= SECOND && r.start <= f.latest_start);
}

static void what_does_not_show_again_is_a_window(void **state)
{
    struct fake f = {.bad = SECOND / 2, .most_runs = 1};
    struct bisect_result r;
    (void)state;
    find(&f, 1 << 24, &r);
    assert_true(r.differs);
    assert_false(r.is_exact);
    assert_true(r.last_equal < f.bad && f.bad <= r.tick);
    assert_true(r.tick - r.last_equal <= 1 << 24);
}

static void an_early_end_is_a_difference(void **state)
{
    struct fake f = {.ends = SECOND + 5000};
    struct bisect_result r;
    (void)state;
    find(&f, 1 << 24, &r);
    assert_true(r.differs && r.is_exact);
    assert_int_equal(r.tick, SECOND + 5001);
}

/* ---- what a replay differs in -----------------------------------------------
 */

static void the_next_snapshot_names_what_differs(void **state)
{
    struct machine *m;
    struct error err = {0};
    char text[200];
    uint64_t tick;
    bool is_known;
    (void)state;
    struct replayer *rp = session_replayer(&m);
    assert_int_equal(replayer_run(rp, SECOND + SECOND / 5, &err), REPLAY_UNTIL);
    phys_write(machine_phys(m), 0x1ff123, "x", 1); /* the guest never does */
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_DIVERGED);
    uint64_t good = replayer_report(rp)->last_good_tick;
    uint64_t bad = replayer_report(rp)->first_bad_tick;
    assert_true(good < SECOND + SECOND / 5 && SECOND + SECOND / 5 <= bad);
    assert_true(explain_difference(rp, &tick, text, sizeof text));
    assert_string_equal(text, "memory frame 511");
    assert_in_range(tick, bad, bad + 2 * SECOND);
    assert_true(explain_agrees(rp, good, bad, &is_known) && is_known);
    session_drop(rp, m);
}

/* ---- what the report says
 * -----------------------------------------------------
 */

static void differences_name_registers(void **state)
{
    struct writer a, b, text;
    struct machine *m = session_machine();
    (void)state;
    writer_init(&a);
    writer_init(&b);
    writer_init(&text);
    machine_save_devices(m, &a);
    machine_cpu(m)->r[REG_RBX] = 0x1234;
    machine_cpu(m)->x87.mantissa[3] ^= 0x100;
    machine_save_devices(m, &b);
    assert_int_equal(bisect_device_differences(&a, &a, 9, &text), 0);
    assert_int_equal(text.used, 0);
    assert_int_equal(bisect_device_differences(&a, &b, 9, &text), 2);
    writer_u8(&text, 0);
    assert_string_equal((char *)text.data,
                        "cpu.r[3]: 0x0000000000000000, 0x0000000000001234\n"
                        "cpu.x87.mantissa[3]: 0x0000000000000000, "
                        "0x0000000000000100\n");
    assert_int_equal(bisect_device_differences(&a, &b, 1, &text), 1);
    writer_fini(&a);
    writer_fini(&b);
    writer_fini(&text);
    machine_free(m);
}

/* ---- conditions
 * -----------------------------------------------------------------
 */

static bool holds(struct machine *m, const char *text)
{
    struct condition c;
    struct error err;
    if (!condition_parse(&c, text, &err))
        fail_msg("%s", err.text);
    return condition_holds(&c, m);
}

static void conditions_compute_as_in_c(void **state)
{
    static const char *const yes[] = {"1",
                                      "!0",
                                      "2 + 3 * 4 == 14",
                                      "(2 + 3) * 4 == 20",
                                      "1 << 4 | 3 == 3",
                                      "10 - 3 - 2 == 5",
                                      "-1 > 5",
                                      "~0 == 0xffffffffffffffff",
                                      "7 % 4 == 3",
                                      "1 || 1 / 0",
                                      "6 & 3 == 3 || 1",
                                      "(6 & 3) == 2",
                                      "5 ^ 1 == 1",
                                      "1 << 64 == 0",
                                      "3 >= 3 && 3 <= 3 && !(3 < 3) && 2 != 3",
                                      "0x10 == 16",
                                      "100 / 7 == 14",
                                      "rbx == 0x1122334455667788",
                                      "ebx == 0x55667788",
                                      "BX == 0x7788",
                                      "bl == 0x88 && bh == 0x77",
                                      "r9 == 9 && r9d == 9 && r10b == 0",
                                      "cs == 0xf000 && cs_base == 0xffff0000",
                                      "pc == cs_base + rip",
                                      "cpl == 0 && cr0 & 0x10",
                                      "tick == 0",
                                      "eflags == 2",
                                      "[u8 0x500] == 0x21",
                                      "[u16 0x500] == 0x4321",
                                      "[u32 0x500]==0x87654321",
                                      "[u64 0x4ff + 1] == 0x87654321",
                                      "[phys u16 0x502] == 0x8765",
                                      "[u16 [u16 0x510]] == 0x8765",
                                      "-[u8 0x500] == ~0x20"};
    static const char *const no[] = {"0",
                                     "1 / 0 == 0",
                                     "1 / 0 != 0",
                                     "!(1 / 0)",
                                     "[phys u8 0xffffffffff] == 0",
                                     "[phys u8 0xffffffffff] != 0",
                                     "![phys u64 0xffffffffff]",
                                     "0 && 1 || 0",
                                     "rbx < 5",
                                     "6 & 3 == 3"};
    struct machine *m = session_machine();
    (void)state;
    static const uint8_t bytes[] = {0x21, 0x43, 0x65, 0x87};
    static const uint8_t pointer[] = {0x02, 0x05};
    phys_write(machine_phys(m), 0x500, bytes, sizeof bytes);
    phys_write(machine_phys(m), 0x510, pointer, sizeof pointer);
    machine_cpu(m)->r[REG_RBX] = UINT64_C(0x1122334455667788);
    machine_cpu(m)->r[9] = 9;
    for (unsigned i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!holds(m, yes[i]))
            fail_msg("'%s' does not hold", yes[i]);
    for (unsigned i = 0; i < sizeof no / sizeof no[0]; i++)
        if (holds(m, no[i]))
            fail_msg("'%s' holds", no[i]);
    machine_free(m);
}

static void malformed_conditions_name_the_place(void **state)
{
    static const struct {
        const char *text, *sentence;
    } rows[] = {{"", "expected a number, a register, [ or ( at column 1"},
                {"1 +", "at column 4"},
                {"rax == rqx", "at column 8, found 'rqx'"},
                {"(1", "expected ) at column 3"},
                {"[u32 5", "expected ] at column 7"},
                {"[u24 5]", "expected u8, u16, u32 or u64 at column 2"},
                {"1 2", "expected an operator or the end at column 3"},
                {"0x1g", "expected a number below 2^64"},
                {"99999999999999999999", "expected a number below 2^64"},
                {"r16 == 1", "found 'r16 == 1'"}};
    struct condition c;
    struct error err;
    char deep[400], longest[2 * CONDITION_NODES];
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_false(condition_parse(&c, rows[i].text, &err));
        if (!strstr(err.text, rows[i].sentence))
            fail_msg("'%s': %s", rows[i].text, err.text);
    }
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_false(condition_parse(&c, deep, &err));
    assert_non_null(strstr(err.text, "fewer brackets"));
    memset(longest, '1', sizeof longest - 1); /* 1+1+...: as many nodes */
    for (unsigned i = 1; i + 1 < sizeof longest; i += 2)
        longest[i] = '+';
    longest[sizeof longest - 1] = 0;
    assert_false(condition_parse(&c, longest, &err));
    assert_non_null(strstr(err.text, "expected a shorter condition"));
    assert_int_equal(c.count, CONDITION_NODES);
}

static void conditions_know_what_can_make_them_true(void **state)
{
    static const struct {
        const char *text;
        unsigned count, kinds;
        uint64_t vaddr;
    } rows[] = {{"pc == 0x500", 1, PROBE_EXEC, 0x500},
                {"0x81000000 + 16 == rip && rax", 1, PROBE_EXEC, 0x81000010},
                {"rip == 0x500", 0, 0, 0}, /* of which segment? */
                {"pc == 1 || pc == 2", 2, PROBE_EXEC, 1},
                {"pc == 1 || rax == 2", 0, 0, 0},
                {"rax == 1 && pc == 7", 1, PROBE_EXEC, 7},
                {"[u32 0x600 + 4] != 0", 1, PROBE_WRITE, 0x604},
                {"[u8 1] + [u8 2] == 3 && ![u8 3]", 3, PROBE_WRITE, 1},
                {"[u32 rsp] == 0", 0, 0, 0},
                {"[phys u32 0x600] == 0", 0, 0, 0},
                {"[u32 0x600] == eax", 0, 0, 0},
                {"cr3 == 5", 0, 0, 0}};
    struct condition c;
    struct probe probes[PROBES_MAX];
    struct error err;
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(condition_parse(&c, rows[i].text, &err));
        unsigned count = condition_probes(&c, probes);
        if (count != rows[i].count ||
            (count && (probes[0].kinds != rows[i].kinds ||
                       probes[0].vaddr != rows[i].vaddr)))
            fail_msg("'%s': %u probes", rows[i].text, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_sides_do_not_differ),
        cmocka_unit_test(the_first_bad_tick_is_found),
        cmocka_unit_test(what_heals_is_found_by_close_samples),
        cmocka_unit_test(what_shows_in_long_blocks_alone_is_found),
        cmocka_unit_test(what_needs_the_whole_piece_is_found),
        cmocka_unit_test(what_does_not_show_again_is_a_window),
        cmocka_unit_test(an_early_end_is_a_difference),
        cmocka_unit_test(the_next_snapshot_names_what_differs),
        cmocka_unit_test(differences_name_registers),
        cmocka_unit_test(conditions_compute_as_in_c),
        cmocka_unit_test(malformed_conditions_name_the_place),
        cmocka_unit_test(conditions_know_what_can_make_them_true),
    };
    return cmocka_run_group_tests(tests, set_up, session_dir_remove);
}
