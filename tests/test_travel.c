/* Travelling in a session: forwards and backwards meet the same places in the
 * same states, and a what-if branch leaves nothing behind. */
#include "lib_travelguest.h"
#include "lib_travelsession.h"
#include "replay/gdb_target.h"
#include "replay/travel.h"

#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    if (travelsession_make_with_text(state) != 0)
        return -1;
    travelsession_open(*state, false, true);
    return ((struct travelsession *)*state)->travel ? 0 : -1;
}

static void go(struct travelsession *f, uint64_t tick, uint32_t deliveries)
{
    struct error err = {0};
    struct machine_place place = {tick, deliveries};
    enum travel_stop stop = travel_goto(f->travel, place, &err);
    if (stop == TRAVEL_FAILED)
        fail_msg("%s", err.text);
    assert_true(stop == TRAVEL_THERE || stop == TRAVEL_END);
}

static uint64_t pc(struct travelsession *f)
{
    return gdb_linear_pc(f->machine);
}

static void assert_place(struct travelsession *f, struct machine_place want)
{
    struct machine_place here = travel_place(f->travel);
    assert_int_equal(here.tick, want.tick);
    assert_int_equal(here.deliveries, want.deliveries);
}

static void every_step_is_a_place_further_on(void **state)
{
    struct travelsession *f = *state;
    travelsession_walk(f, NULL, NULL);
    unsigned timers = 0, faults = 0, sleeps = 0, iterations = 0;
    for (unsigned i = 1; i < f->count; i++) {
        const struct travelplace *p = &f->places[i];
        assert_true(machine_place_compare(p[-1].place, p->place) < 0);
        timers += p->rip == TRAVELGUEST_TIMER;
        faults += p->rip == TRAVELGUEST_BADOP;
        iterations += p->rip == TRAVELGUEST_REP;
        sleeps += p->place.tick > p[-1].place.tick + 1;
    }
    assert_int_equal(timers, TRAVELGUEST_TIMERS);
    assert_int_equal(faults, TRAVELGUEST_ROUNDS);
    assert_int_equal(sleeps, TRAVELGUEST_ROUNDS);
    assert_int_equal(iterations, TRAVELGUEST_ROUNDS * 16);
}

static void steps_back_meet_every_place_again(void **state)
{
    struct travelsession *f = *state;
    struct error err = {0};
    travelsession_walk(f, NULL, NULL);
    struct machine_place last = f->places[f->count - 1].place;
    go(f, last.tick, last.deliveries);
    for (unsigned i = f->count - 1; i-- > 0;) {
        enum travel_stop stop =
            travel_step_back(f->travel, NULL, 0, NULL, &err);
        assert_int_equal(stop, TRAVEL_THERE);
        assert_place(f, f->places[i].place);
        assert_int_equal(pc(f), f->places[i].rip);
    }
    assert_int_equal(travel_step_back(f->travel, NULL, 0, NULL, &err),
                     TRAVEL_START);
    assert_place(f, (struct machine_place){0, 0});
}

static void state_is_that_of_an_undisturbed_replay(void **state)
{
    struct travelsession *f = *state;
    struct error err = {0};
    travelsession_walk(f, NULL, NULL);
    struct machine *other = travelsession_machine(f);
    struct replayer *rp = replayer_open(f->path, &err);
    assert_true(replayer_attach(rp, other, &err));
    for (unsigned i = 0; i < f->count; i += 7) {
        uint64_t tick = f->places[i].place.tick;
        (void)replayer_run(rp, tick, &err);
        go(f, tick, 1);
        (void)travel_step(f->travel, NULL, 0, NULL, &err);
        (void)travel_step_back(f->travel, NULL, 0, NULL, &err);
        go(f, tick, 0);
        struct digest a = machine_digest(f->machine);
        struct digest b = machine_digest(other);
        assert_memory_equal(&a, &b, sizeof a);
    }
    replayer_free(rp);
    machine_free(other);
}

static enum travel_stop back_to(struct travelsession *f, uint64_t vaddr,
                                unsigned kinds, struct probe_hit *hit)
{
    struct error err = {0};
    const struct probe p = {vaddr, 1, kinds};
    return travel_continue_back(f->travel, &p, 1, hit, &err);
}

static enum travel_stop on_to(struct travelsession *f, uint64_t vaddr,
                              unsigned kinds, struct probe_hit *hit)
{
    struct error err = {0};
    const struct probe p = {vaddr, 1, kinds};
    return travel_continue(f->travel, &p, 1, hit, &err);
}

static void hits_backwards_are_those_forwards(void **state)
{
    static const struct {
        uint64_t vaddr;
        unsigned kinds;
    } rows[] = {{TRAVELGUEST_WORK, PROBE_EXEC},
                {TRAVELGUEST_TIMER, PROBE_EXEC},
                {TRAVELGUEST_BADOP, PROBE_EXEC},
                {TRAVELGUEST_REP, PROBE_EXEC},
                {TRAVELGUEST_COPY + 3, PROBE_WRITE},
                {TRAVELGUEST_TARGET + 5, PROBE_WRITE},
                {TRAVELGUEST_TICKS, PROBE_READ}};
    struct travelsession *f = *state;
    for (unsigned r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct probe_hit hits[100], hit = {0};
        unsigned count = 0;
        go(f, 0, 0);
        while (on_to(f, rows[r].vaddr, rows[r].kinds, &hit) == TRAVEL_HIT) {
            assert_true(count < 100);
            hits[count++] = hit;
        }
        assert_true(count >= TRAVELGUEST_ROUNDS);
        go(f, UINT64_MAX, 0);
        while (back_to(f, rows[r].vaddr, rows[r].kinds, &hit) == TRAVEL_HIT) {
            assert_true(count > 0);
            assert_int_equal(hit.place.tick, hits[--count].place.tick);
            assert_int_equal(hit.place.deliveries,
                             hits[count].place.deliveries);
            assert_place(f, hit.place);
        }
        /* One READ of each CMP and INC, some at the same place. */
        if (rows[r].kinds != PROBE_READ)
            assert_int_equal(count, 0);
        assert_int_equal(travel_place(f->travel).tick, 0);
    }
}

static void a_watch_backwards_stands_in_front_of_the_writer(void **state)
{
    struct travelsession *f = *state;
    struct probe_hit hit;
    go(f, UINT64_MAX, 0);
    assert_int_equal(back_to(f, TRAVELGUEST_COPY, PROBE_WRITE, &hit),
                     TRAVEL_HIT);
    assert_int_equal(pc(f), TRAVELGUEST_STORE);
    uint8_t before, after;
    struct error err;
    (void)gdb_memory_read(f->machine, false, TRAVELGUEST_COPY, &before, 1);
    assert_int_equal(travel_step(f->travel, NULL, 0, NULL, &err), TRAVEL_THERE);
    (void)gdb_memory_read(f->machine, false, TRAVELGUEST_COPY, &after, 1);
    assert_int_equal(before, TRAVELGUEST_ROUNDS - 1);
    assert_int_equal(after, TRAVELGUEST_ROUNDS);
}

static void without_a_hit_the_ends_are_reached(void **state)
{
    struct travelsession *f = *state;
    struct probe_hit hit;
    go(f, 1000, 0);
    assert_int_equal(on_to(f, 0x12345, PROBE_EXEC, &hit), TRAVEL_END);
    assert_int_equal(travel_place(f->travel).tick,
                     travel_session(f->travel)->end_tick);
    assert_int_equal(back_to(f, 0x12345, PROBE_EXEC, &hit), TRAVEL_START);
    assert_int_equal(travel_place(f->travel).tick, 0);
}

/* The guest leaves early when its counter is raised; then all is as before. */
static void a_branch_leaves_nothing_behind(void **state)
{
    struct travelsession *f = *state;
    struct machine_place from;
    struct probe_hit hit;
    struct error err;
    uint64_t tick = 30000000;
    go(f, tick, 0);
    struct digest a = machine_digest(f->machine);
    assert_false(travel_branch(f->travel, &from));
    assert_int_equal(
        gdb_memory_write(f->machine, false, TRAVELGUEST_TICKS, "\xc8", 1), 1);
    assert_true(travel_changed(f->travel));
    assert_false(travel_changed(f->travel));
    assert_true(travel_branch(f->travel, &from));
    assert_int_equal(from.tick, tick);
    assert_int_equal(on_to(f, TRAVELGUEST_OUT, PROBE_EXEC, &hit), TRAVEL_HIT);
    assert_true(travel_place(f->travel).tick <
                travel_session(f->travel)->end_tick - 10000000);
    assert_int_equal(travel_step(f->travel, NULL, 0, NULL, &err), TRAVEL_END);
    assert_true(travel_branch(f->travel, &from));
    go(f, tick, 0);
    assert_false(travel_branch(f->travel, &from));
    struct digest b = machine_digest(f->machine);
    assert_memory_equal(&a, &b, sizeof a);
}

static void steps_notice_watched_data(void **state)
{
    struct travelsession *f = *state;
    struct error err;
    struct probe_hit hit;
    const struct probe list[] = {
        {.vaddr = TRAVELGUEST_STORE, .kinds = PROBE_EXEC},
        {TRAVELGUEST_COPY, 4, PROBE_WRITE}};
    go(f, 20000000, 0);
    assert_int_equal(on_to(f, TRAVELGUEST_STORE, PROBE_EXEC, &hit), TRAVEL_HIT);
    assert_int_equal(travel_step(f->travel, list, 2, &hit, &err), TRAVEL_HIT);
    assert_int_equal(hit.index, 1);
    assert_int_equal(travel_step(f->travel, list, 2, &hit, &err), TRAVEL_THERE);
    assert_int_equal(travel_step_back(f->travel, list, 2, &hit, &err),
                     TRAVEL_THERE);
    assert_int_equal(travel_step_back(f->travel, list, 2, &hit, &err),
                     TRAVEL_HIT);
    assert_int_equal(hit.index, 1);
    assert_int_equal(pc(f), TRAVELGUEST_STORE);
}

static bool stop_now(void *context)
{
    (void)context;
    return true;
}

static void an_interrupt_stops_both_directions(void **state)
{
    struct travelsession *f = *state;
    struct probe_hit hit;
    go(f, 0, 0);
    travel_set_poll(f->travel, stop_now, NULL);
    assert_int_equal(on_to(f, 0x12345, PROBE_EXEC, &hit), TRAVEL_INTERRUPTED);
    travel_set_poll(f->travel, NULL, NULL);
    go(f, UINT64_MAX, 0);
    travel_set_poll(f->travel, stop_now, NULL);
    assert_int_equal(back_to(f, 0x12345, PROBE_EXEC, &hit), TRAVEL_INTERRUPTED);
    travel_set_poll(f->travel, NULL, NULL);
    assert_int_equal(travel_place(f->travel).tick,
                     travel_session(f->travel)->end_tick);
}

int main(void)
{
#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, set_up, travelsession_remove)
    const struct CMUnitTest tests[] = {
        T(every_step_is_a_place_further_on),
        T(steps_back_meet_every_place_again),
        T(state_is_that_of_an_undisturbed_replay),
        T(hits_backwards_are_those_forwards),
        T(a_watch_backwards_stands_in_front_of_the_writer),
        T(without_a_hit_the_ends_are_reached),
        T(a_branch_leaves_nothing_behind),
        T(steps_notice_watched_data),
        T(an_interrupt_stops_both_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
