/* Seeking: the state at a tick is the same however the machine came there. */
#include "lib_session.h"
#include "mem/phys.h"
#include "replay/seek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SECONDS = 6, PROBES = 60 };

struct probe_point {
    uint64_t tick;
    struct digest digest;
};

static void record(void)
{
    struct recorder_options o = session_options();
    o.snapshot_interval = SECOND / 3;
    session_record(&o, SECONDS);
}

/* What a replay from the start finds at odd ticks, some of them with events. */
static void run_forward(struct probe_point p[PROBES])
{
    struct machine *m;
    struct error err = {0};
    struct replayer *rp = session_replayer(&m);
    uint64_t end = replayer_session(rp)->end_tick;
    for (unsigned i = 0; i < PROBES; i++) {
        p[i].tick = end / PROBES * i + i * 7919;
        if (i % 10 == 9) /* the tick of an event */
            p[i].tick = (i / 10 + 1) * (SECOND - 12345);
        assert_true(i == 0 || p[i].tick > p[i - 1].tick);
        assert_int_equal(replayer_run(rp, p[i].tick, &err), REPLAY_UNTIL);
        p[i].digest = machine_digest(m);
    }
    session_drop(rp, m);
}

static void assert_stands_at(struct machine *m, const struct probe_point *p)
{
    struct digest now = machine_digest(m);
    assert_int_equal(machine_tick(m), p->tick);
    assert_memory_equal(&now, &p->digest, sizeof now);
}

static void seeks_in_any_order_give_the_forward_digests(void **state)
{
    (void)state;
    struct probe_point p[PROBES];
    struct machine *m;
    struct error err = {0};
    record();
    run_forward(p);
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 0, &err);
    for (unsigned i = 0; i < 4 * PROBES; i++) {
        const struct probe_point *to = &p[i * 37 % PROBES];
        assert_int_equal(seeker_goto(s, to->tick, &err), REPLAY_UNTIL);
        assert_stands_at(m, to);
    }
    seeker_free(s);
    session_drop(rp, m);
}

/* With room for next to nothing it takes longer and gives the same. */
static void a_tiny_cache_gives_the_same_digests(void **state)
{
    (void)state;
    struct probe_point p[PROBES];
    struct seeker_stats stats;
    struct machine *m;
    struct error err = {0};
    record();
    run_forward(p);
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 1, &err);
    for (unsigned i = PROBES; i-- > 0;) {
        assert_int_equal(seeker_goto(s, p[i].tick, &err), REPLAY_UNTIL);
        assert_stands_at(m, &p[i]);
        seeker_stats(s, &stats);
        assert_in_range(stats.checkpoints, 1, 2);
    }
    seeker_free(s);
    session_drop(rp, m);
}

static void a_thousand_steps_back_run_few_ticks_each(void **state)
{
    (void)state;
    enum { STEPS = 1000 };
    static struct digest want[STEPS + 1];
    struct seeker_stats before, after;
    struct machine *m;
    struct error err = {0};
    uint64_t from = 5 * SECOND - 12345 * 5 - STEPS / 2; /* across an event */
    record();
    struct replayer *rp = session_replayer(&m);
    for (unsigned i = 0; i <= STEPS; i++) {
        assert_int_equal(replayer_run(rp, from + i, &err), REPLAY_UNTIL);
        want[i] = machine_digest(m);
    }
    struct seeker *s = seeker_new(rp, m, 0, &err);
    assert_int_equal(seeker_goto(s, from + STEPS, &err), REPLAY_UNTIL);
    assert_int_equal(seeker_goto(s, from + STEPS - 1, &err), REPLAY_UNTIL);
    seeker_stats(s, &before);
    for (unsigned i = STEPS; i-- > 0;) {
        assert_int_equal(seeker_goto(s, from + i, &err), REPLAY_UNTIL);
        struct digest now = machine_digest(m);
        assert_memory_equal(&now, &want[i], sizeof now);
    }
    seeker_stats(s, &after);
    assert_true(after.ticks_run - before.ticks_run < STEPS * 300000ull);
    seeker_free(s);
    session_drop(rp, m);
}

static void what_was_changed_by_hand_is_gone_after_a_seek(void **state)
{
    (void)state;
    struct probe_point p[PROBES];
    struct machine *m;
    struct error err = {0};
    uint8_t sector[512] = {7};
    record();
    run_forward(p);
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 0, &err);
    for (unsigned i = 10; i < PROBES; i += 10) {
        assert_int_equal(seeker_goto(s, p[i].tick, &err), REPLAY_UNTIL);
        phys_write(machine_phys(m), 0x12345, "what if", 7);
        block_write(machine_block(m, 0), 100 + i, 1, sector);
        (void)machine_run(m, p[i].tick + 3 * SECOND);
        seeker_forget_position(s);
        assert_false(seeker_keep(s, &err));
        assert_int_equal(seeker_goto(s, p[i].tick, &err), REPLAY_UNTIL);
        assert_stands_at(m, &p[i]);
    }
    seeker_free(s);
    session_drop(rp, m);
}

static void start_and_end_can_be_reached(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record();
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 0, &err);
    struct digest start = machine_digest(m);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(seeker_goto(s, UINT64_MAX, &err), REPLAY_END);
        assert_int_equal(machine_tick(m), SECONDS * SECOND);
        assert_int_equal(seeker_goto(s, 0, &err), REPLAY_UNTIL);
        struct digest now = machine_digest(m);
        assert_memory_equal(&now, &start, sizeof now);
    }
    assert_int_equal(seeker_run(s, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(replayer_report(rp)->diverged, false);
    seeker_free(s);
    session_drop(rp, m);
}

static void the_floor_is_the_nearest_known_place(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record();
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 0, &err);
    uint64_t floor = seeker_floor(s, 3 * SECOND);
    assert_in_range(floor, 2 * SECOND, 3 * SECOND);
    assert_int_equal(seeker_goto(s, floor + 1000, &err), REPLAY_UNTIL);
    assert_true(seeker_keep(s, &err));
    assert_int_equal(seeker_floor(s, floor + 1000), floor + 1000);
    assert_int_equal(seeker_floor(s, floor + 999), floor);
    seeker_free(s);
    session_drop(rp, m);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(seeks_in_any_order_give_the_forward_digests),
        TEST(a_tiny_cache_gives_the_same_digests),
        TEST(a_thousand_steps_back_run_few_ticks_each),
        TEST(what_was_changed_by_hand_is_gone_after_a_seek),
        TEST(start_and_end_can_be_reached),
        TEST(the_floor_is_the_nearest_known_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
