/* Travelling in a session: forwards and backwards meet the same places in the
 * same states, and a what-if branch leaves nothing behind. */
#include "lib_travelguest.h"
#include "replay/gdb_target.h"
#include "replay/recorder.h"
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

enum { PLACES_MAX = 4000 };

struct fixture {
    char dir[64], path[80];
    struct replayer *replayer;
    struct machine *machine;
    struct travel *travel;
    struct machine_place places[PLACES_MAX];
    uint64_t pcs[PLACES_MAX];
    unsigned count;
};

static uint8_t bios[TRAVELGUEST_BIOS_BYTES];

static struct machine *new_machine(void)
{
    struct machine_config config;
    struct error err;
    machine_config_init(&config);
    config.mem_bytes = 2 << 20;
    const struct machine_media media = {
        .bios = {.data = bios, .bytes = sizeof bios}};
    return machine_new(&config, &media, &err);
}

static int record(const char *path)
{
    struct error err;
    struct media_identity media = {
        .role = "bios", .path = "b.bin", .bytes = sizeof bios};
    media_hash(bios, sizeof bios, media.hash);
    const struct recorder_options options = {.path = path,
                                             .media = &media,
                                             .media_count = 1,
                                             .build = "test",
                                             .created = 1};
    struct machine *m = new_machine();
    struct recorder *r = m ? recorder_new(&options, m, &err) : NULL;
    if (!r)
        return -1;
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 2, .payload = "ab"};
    (void)recorder_run(r, 20000000);
    bool ok = recorder_inject(r, &e, &err);
    enum stop_reason reason = recorder_run(r, UINT64_C(1) << 40);
    ok = ok && reason == STOP_DEBUG_EXIT && recorder_finish(r, reason, &err);
    recorder_free(r);
    machine_free(m);
    return ok ? 0 : -1;
}

static int set_up(void **state)
{
    struct error err;
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    travelguest_bios(bios);
    strcpy(f->dir, "/tmp/relive-travel-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    if (record(f->path) != 0)
        return -1;
    f->replayer = replayer_open(f->path, &err);
    f->machine = new_machine();
    if (!f->replayer || !f->machine ||
        !replayer_attach(f->replayer, f->machine, &err))
        return -1;
    f->travel = travel_new(f->replayer, f->machine, 0, &err);
    *state = f;
    return f->travel ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[100];
    travel_free(f->travel);
    replayer_free(f->replayer);
    machine_free(f->machine);
    (void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
    int status = system(command);
    free(f);
    return status;
}

static void go(struct fixture *f, uint64_t tick, uint32_t deliveries)
{
    struct error err = {0};
    struct machine_place place = {tick, deliveries};
    enum travel_stop stop = travel_goto(f->travel, place, &err);
    if (stop == TRAVEL_FAILED)
        fail_msg("%s", err.text);
    assert_true(stop == TRAVEL_THERE || stop == TRAVEL_END);
}

static uint64_t pc(struct fixture *f)
{
    return gdb_linear_pc(f->machine);
}

/* Step from the start to the end, noting each place. */
static void walk(struct fixture *f)
{
    struct error err = {0};
    go(f, 0, 0);
    f->count = 0;
    for (;;) {
        assert_true(f->count < PLACES_MAX);
        f->places[f->count] = travel_place(f->travel);
        f->pcs[f->count++] = pc(f);
        enum travel_stop stop = travel_step(f->travel, NULL, 0, NULL, &err);
        if (stop == TRAVEL_END)
            return;
        assert_int_equal(stop, TRAVEL_THERE);
    }
}

static void assert_place(struct fixture *f, struct machine_place want)
{
    struct machine_place here = travel_place(f->travel);
    assert_int_equal(here.tick, want.tick);
    assert_int_equal(here.deliveries, want.deliveries);
}

static void every_step_is_a_place_further_on(void **state)
{
    struct fixture *f = *state;
    walk(f);
    unsigned timers = 0, faults = 0, sleeps = 0, iterations = 0;
    for (unsigned i = 1; i < f->count; i++) {
        assert_true(machine_place_compare(f->places[i - 1], f->places[i]) < 0);
        timers += f->pcs[i] == TRAVELGUEST_TIMER;
        faults += f->pcs[i] == TRAVELGUEST_BADOP;
        iterations += f->pcs[i] == TRAVELGUEST_REP;
        sleeps += f->places[i].tick > f->places[i - 1].tick + 1;
    }
    assert_int_equal(timers, TRAVELGUEST_TIMERS);
    assert_int_equal(faults, TRAVELGUEST_ROUNDS);
    assert_int_equal(sleeps, TRAVELGUEST_ROUNDS);
    assert_int_equal(iterations, TRAVELGUEST_ROUNDS * 16);
}

static void steps_back_meet_every_place_again(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    walk(f);
    go(f, f->places[f->count - 1].tick, f->places[f->count - 1].deliveries);
    for (unsigned i = f->count - 1; i-- > 0;) {
        enum travel_stop stop =
            travel_step_back(f->travel, NULL, 0, NULL, &err);
        assert_int_equal(stop, TRAVEL_THERE);
        assert_place(f, f->places[i]);
        assert_int_equal(pc(f), f->pcs[i]);
    }
    assert_int_equal(travel_step_back(f->travel, NULL, 0, NULL, &err),
                     TRAVEL_START);
    assert_place(f, (struct machine_place){0, 0});
}

static void state_is_that_of_an_undisturbed_replay(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    walk(f);
    struct machine *other = new_machine();
    struct replayer *rp = replayer_open(f->path, &err);
    assert_true(replayer_attach(rp, other, &err));
    for (unsigned i = 0; i < f->count; i += 7) {
        uint64_t tick = f->places[i].tick;
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

static enum travel_stop back_to(struct fixture *f, uint64_t vaddr,
                                unsigned kinds, struct probe_hit *hit)
{
    struct error err = {0};
    const struct probe p = {vaddr, 1, kinds};
    return travel_continue_back(f->travel, &p, 1, hit, &err);
}

static enum travel_stop on_to(struct fixture *f, uint64_t vaddr, unsigned kinds,
                              struct probe_hit *hit)
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
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
