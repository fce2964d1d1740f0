/* Snapshots taken while recording: what they hold, what they cost, and that
 * neither the guest nor the log nor a kill can tell them apart. */
#include "lib_session.h"
#include "mem/phys.h"
#include "replay/check.h"
#include "replay/info.h"
#include "replay/stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SNAPSHOTS_MAX = 600 };

static unsigned disk_blocks; /* that the listed snapshots name */

static unsigned list_snapshots(uint64_t ticks[SNAPSHOTS_MAX])
{
    struct session *s;
    struct store_cursor c;
    struct store_bytes k, v;
    struct error err = {0};
    unsigned n = 0;
    assert_true(session_open(session_path, &s, &err));
    assert_true(store_cursor_open(s->store, STORE_SNAPSHOTS, &c, &err));
    enum store_found found = store_cursor_seek(&c, NULL, 0, &k, &v, &err);
    while (found == STORE_FOUND) {
        struct snapshot snap;
        assert_true(n < SNAPSHOTS_MAX);
        assert_true(snapshot_unpack(&k, &v, &snap, "s", &err));
        ticks[n++] = snap.tick;
        disk_blocks += snap.list[1].count;
        snapshot_fini(&snap);
        found = store_cursor_next(&c, &k, &v, &err);
    }
    assert_int_equal(found, STORE_NONE);
    store_cursor_close(&c);
    session_close(s);
    return n;
}

/* Each snapshot of the session, loaded by itself, is where a replay comes. */
static void assert_snapshots_are_on_the_path(unsigned step)
{
    uint64_t ticks[SNAPSHOTS_MAX];
    struct machine *m, *n;
    struct error err = {0};
    struct place place;
    unsigned count = list_snapshots(ticks);
    struct replayer *rp = session_replayer(&m), *loads = session_replayer(&n);
    struct place_keeper *k = replayer_places(loads, &err);
    for (unsigned i = 0; i < count; i += step) {
        enum replay_stop stop = replayer_run(rp, ticks[i], &err);
        assert_int_not_equal(stop, REPLAY_DIVERGED);
        assert_int_equal(machine_tick(m), ticks[i]);
        /* Out of order, so that bases are read afresh. */
        assert_int_equal(
            place_find(k, ticks[(i * 31) % count], true, &place, &err),
            STORE_FOUND);
        place_fini(&place);
        assert_int_equal(place_find(k, ticks[i], true, &place, &err),
                         STORE_FOUND);
        assert_true(place_load(k, &place, &err));
        /* The last may stand in front of the last tick's events. */
        struct digest a = machine_digest(m), b = machine_digest(n);
        if (place.events_before == replayer_events_fed(rp))
            assert_memory_equal(&a, &b, sizeof a);
        place_fini(&place);
    }
    session_drop(rp, m);
    session_drop(loads, n);
}

static void snapshots_stand_at_the_interval_on_the_path(void **state)
{
    (void)state;
    uint64_t ticks[SNAPSHOTS_MAX];
    struct check_report report;
    struct error err = {0};
    struct recorder_options o = session_options();
    o.snapshot_interval = SECOND / 4;
    session_record(&o, 5);
    unsigned count = list_snapshots(ticks);
    assert_in_range(count, 10, 22);
    assert_true(disk_blocks > 10);
    for (unsigned i = 1; i + 1 < count; i++)
        assert_true(ticks[i] - ticks[i - 1] >= SECOND / 4);
    assert_snapshots_are_on_the_path(1);
    assert_true(session_check(session_path, &report, &err));
    assert_int_equal(report.snapshots, count);
}

struct log_list {
    struct digest_record digests[64];
    unsigned count;
};

static bool add_digest(void *context, const struct digest_record *d)
{
    struct log_list *l = context;
    assert_true(l->count < 64);
    l->digests[l->count++] = *d;
    return true;
}

static void read_log(struct log_list *l)
{
    struct session *s;
    struct error err = {0};
    memset(l, 0, sizeof *l);
    assert_true(session_open(session_path, &s, &err));
    assert_true(info_each_digest(s, 0, UINT64_MAX, add_digest, l, &err));
    session_close(s);
}

static void snapshots_do_not_show_in_the_log(void **state)
{
    static struct log_list with, without;
    struct recorder_options o = session_options();
    session_record(&o, 4);
    read_log(&without);
    assert_int_equal(session_dir_remove(state), 0);
    assert_int_equal(session_dir_make(state), 0);
    o.path = session_path;
    o.snapshot_interval = 1; /* as often as can be */
    session_record(&o, 4);
    read_log(&with);
    assert_true(with.count > 3);
    assert_int_equal(with.count, without.count);
    assert_memory_equal(with.digests, without.digests,
                        with.count * sizeof with.digests[0]);
}

static void equal_pages_are_stored_once(void **state)
{
    (void)state;
    struct check_report often, seldom;
    struct error err = {0};
    struct recorder_options o = session_options();
    struct machine *m = session_machine();
    uint8_t page[PAGE_DATA_BYTES];
    memset(page, 0x5a, sizeof page);
    for (unsigned i = 0; i < 100; i++)
        phys_write(machine_phys(m), 0x100000 + i * sizeof page, page,
                   sizeof page);
    for (unsigned i = 0; i < 50; i++)
        block_write(machine_block(m, 0), i * 8u, 8, page);
    struct recorder *r = recorder_new(&o, m, &err);
    assert_non_null(r);
    assert_true(recorder_finish(r, STOP_TICK, &err));
    recorder_free(r);
    machine_free(m);
    assert_true(session_check(session_path, &often, &err));
    assert_in_range(often.pages, 1, 40); /* the rest is firmware */
    assert_int_equal(session_dir_remove(state), 0);
    assert_int_equal(session_dir_make(state), 0);
    o.path = session_path;
    m = session_machine();
    r = recorder_new(&o, m, &err);
    assert_true(recorder_finish(r, STOP_TICK, &err));
    recorder_free(r);
    machine_free(m);
    assert_true(session_check(session_path, &seldom, &err));
    assert_int_equal(seldom.pages + 1, often.pages);
}

static void a_budget_thins_old_snapshots_out(void **state)
{
    (void)state;
    uint64_t ticks[SNAPSHOTS_MAX];
    struct check_report report;
    struct recorder_stats stats;
    struct error err = {0};
    struct recorder_options o = session_options();
    o.snapshot_interval = 1;
    o.snapshot_budget = 600 << 10;
    struct machine *m = session_machine();
    struct recorder *r = recorder_new(&o, m, &err);
    for (unsigned i = 1; i <= 400; i++) {
        assert_int_equal(recorder_run(r, i * (SECOND / 50)), STOP_TICK);
        snapshotter_wait_copied(recorder_snapshotter(r));
    }
    assert_true(recorder_finish(r, STOP_TICK, &err));
    recorder_stats(r, &stats);
    assert_true(stats.snapshots.thinned > 10);
    assert_true(stats.snapshots.page_bytes < 600 << 10);
    recorder_free(r);
    machine_free(m);
    assert_true(session_check(session_path, &report, &err));
    assert_int_equal(report.pages, stats.snapshots.pages);
    unsigned count = list_snapshots(ticks);
    assert_int_equal(ticks[0], 0);
    assert_int_equal(count, stats.snapshots.taken - stats.snapshots.thinned);
    assert_true(ticks[2] - ticks[1] > 2 * (ticks[count - 2] - ticks[count - 3]));
    assert_snapshots_are_on_the_path(1);
}

static void record_until_killed(int ready)
{
    struct error err;
    struct recorder_stats stats = {0};
    struct recorder_options o = session_options();
    o.snapshot_interval = 1;
    o.snapshot_budget = 800 << 10;
    struct machine *m = session_machine();
    struct recorder *r = recorder_new(&o, m, &err);
    if (!r)
        _exit(1);
    for (uint64_t t = 0;; t += SECOND / 50) {
        (void)recorder_run(r, t);
        usleep(500);
        recorder_stats(r, &stats);
        if (stats.snapshots.taken > 20)
            (void)!write(ready, "c", 1);
    }
}

static void a_kill_leaves_whole_snapshots(void **state)
{
    struct check_report report;
    struct error err = {0};
    for (unsigned i = 0; i < 4; i++) {
        int ready[2];
        char byte;
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0)
            record_until_killed(ready[1]);
        assert_int_equal(close(ready[1]), 0);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        usleep(i * 23000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(close(ready[0]), 0);
        if (!session_check(session_path, &report, &err))
            print_error("%s\n", err.text);
        assert_string_equal(err.text, "");
        assert_true(report.torn);
        assert_snapshots_are_on_the_path(5);
        if (i < 3) {
            assert_int_equal(session_dir_remove(state), 0);
            assert_int_equal(session_dir_make(state), 0);
        }
    }
}

static void a_stage_keeps_what_the_guest_overwrites(void **state)
{
    (void)state;
    struct machine *m = session_machine();
    struct stage s;
    struct error err = {0};
    uint8_t old[PAGE_DATA_BYTES], now[PAGE_DATA_BYTES], got[PAGE_DATA_BYTES];
    memset(old, 1, sizeof old);
    memset(now, 2, sizeof now);
    for (unsigned f = 0x100; f < 0x140; f++)
        phys_write(machine_phys(m), f * 4096ull, old, sizeof old);
    block_write(machine_block(m, 0), 80, 8, old);
    assert_true(stage_init(&s, m, &err));
    for (unsigned round = 0; round < 3; round++) {
        assert_true(stage_begin(&s, &err));
        assert_int_equal(s.list[0].whole, round == 0);
        assert_int_equal(s.list[1].count, 1);
        phys_write(machine_phys(m), 0x100 * 4096ull, now,
                   sizeof now);
        block_write(machine_block(m, 0), 80, 8, now);
        stage_sort(&s);
        for (uint32_t i = 0; i < s.list[0].count; i++) {
            uint32_t number = s.list[0].items[i].number;
            stage_take(&s, 0, &s.list[0].items[i], got);
            if (number == 0x100 || (number > 0x100 && number < 0x140))
                assert_memory_equal(got, old, sizeof old);
        }
        stage_take(&s, 1, &s.list[1].items[0], got);
        assert_memory_equal(got, old, sizeof old);
        stage_end(&s);
        memcpy(old, now, sizeof old);
        memset(now, (int)round + 3, sizeof now);
    }
    stage_fini(&s);
    machine_free(m);
}

/* Anywhere in the file of a session full of snapshots, shared pages and all. */
static void every_flipped_bit_of_200_is_found(void **state)
{
    (void)state;
    char file[96];
    struct check_report report;
    struct error err = {0};
    struct recorder_options o = session_options();
    o.snapshot_interval = SECOND / 4;
    session_record(&o, 5);
    (void)snprintf(file, sizeof file, "%s/data.mdb", session_path);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    off_t bytes = lseek(fd, 0, SEEK_END);
    srand(20260131);
    for (unsigned i = 0; i < 200; i++) {
        off_t at = (off_t)(((uint64_t)rand() << 16 ^ (unsigned)rand()) %
                           (uint64_t)bytes);
        uint8_t good, bad;
        assert_int_equal(pread(fd, &good, 1, at), 1);
        bad = good ^ (uint8_t)(1u << rand() % 8);
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        err = (struct error){0};
        if (session_check(session_path, &report, &err))
            fail_msg("a flipped bit of byte %lld is not noticed", (long long)at);
        assert_true(strlen(err.text) > 20);
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    }
    assert_true(session_check(session_path, &report, &err));
    assert_in_range(report.snapshots, 10, 22);
    assert_int_equal(close(fd), 0);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(snapshots_stand_at_the_interval_on_the_path),
        TEST(snapshots_do_not_show_in_the_log),
        TEST(equal_pages_are_stored_once),
        TEST(a_budget_thins_old_snapshots_out),
        TEST(a_kill_leaves_whole_snapshots),
        TEST(a_stage_keeps_what_the_guest_overwrites),
        TEST(every_flipped_bit_of_200_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
