/* Compacted sessions, parts of sessions, and shares of the work on them. */
#include "lib_session.h"
#include "replay/check.h"
#include "replay/copy.h"
#include "replay/seek.h"
#include "replay/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SECONDS = 4 };

static char other[100];

static void record(void)
{
    struct recorder_options o = session_options();
    o.snapshot_interval = SECOND / 5;
    session_record(&o, SECONDS);
    (void)snprintf(other, sizeof other, "%s2", session_path);
}

/* From here on the copy is the session. */
static void use_copy(void)
{
    (void)snprintf(session_path, sizeof session_path, "%.79s", other);
}

static struct digest digest_at(uint64_t tick)
{
    struct machine *m;
    struct error err = {0};
    struct replayer *rp = session_replayer(&m);
    struct seeker *s = seeker_new(rp, m, 0, &err);
    assert_int_not_equal(seeker_goto(s, tick, &err), REPLAY_FAILED);
    assert_int_equal(machine_tick(m), tick);
    struct digest d = machine_digest(m);
    seeker_free(s);
    session_drop(rp, m);
    return d;
}

static void assert_replays(uint64_t from, uint64_t to)
{
    struct machine *m;
    struct error err = {0};
    struct check_report report;
    if (!session_check(session_path, &report, &err))
        print_error("%s\n", err.text);
    assert_string_equal(err.text, "");
    assert_true(report.sealed);
    assert_false(report.torn);
    struct replayer *rp = session_replayer(&m);
    assert_int_equal(machine_tick(m), from);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(machine_tick(m), to);
    assert_int_equal(replayer_report(rp)->digests_compared, report.digests);
    session_drop(rp, m);
}

static void a_part_replays_by_itself(void **state)
{
    (void)state;
    struct copy_report r;
    struct error err = {0};
    uint64_t from = 3 * SECOND / 2, to = 3 * SECOND + 4321;
    record();
    struct digest middle = digest_at(2 * SECOND + 1), last = digest_at(to);
    const struct copy_options o = {.from = from, .to = to};
    assert_true(session_copy(session_path, other, &o, &r, &err));
    assert_in_range(r.from, SECOND, from);
    assert_int_equal(r.to, to);
    assert_true(r.bytes_after < r.bytes_before);
    use_copy();
    assert_replays(r.from, to);
    struct digest now = digest_at(2 * SECOND + 1);
    assert_memory_equal(&now, &middle, sizeof now);
    now = digest_at(to);
    assert_memory_equal(&now, &last, sizeof now);
}

static void a_part_of_a_part_replays_too(void **state)
{
    (void)state;
    struct copy_report r;
    struct error err = {0};
    record();
    struct copy_options o = {.from = SECOND, .to = UINT64_MAX};
    assert_true(session_copy(session_path, other, &o, &r, &err));
    use_copy();
    (void)snprintf(other, sizeof other, "%s3", session_path);
    uint64_t start = r.from;
    o = (struct copy_options){.from = 0, .to = 2 * SECOND};
    assert_true(session_copy(session_path, other, &o, &r, &err));
    assert_int_equal(r.from, start);
    use_copy();
    assert_replays(start, 2 * SECOND);
}

static void parts_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct copy_report r;
    struct error err = {0};
    record();
    struct copy_options o = {.from = 2, .to = 1};
    assert_false(session_copy(session_path, other, &o, &r, &err));
    assert_int_equal(err.code, ERR_USAGE);
    o = (struct copy_options){.from = 100 * SECOND, .to = 200 * SECOND};
    assert_false(session_copy(session_path, other, &o, &r, &err));
    o = (struct copy_options){.to = SECOND};
    assert_false(session_copy(session_path, session_path, &o, &r, &err));
    assert_replays(0, SECONDS * SECOND);
}

static void compacting_keeps_the_log_and_fewer_snapshots(void **state)
{
    (void)state;
    struct copy_report r;
    struct check_report before, after;
    struct error err = {0};
    record();
    struct digest middle = digest_at(2 * SECOND + 1);
    assert_true(session_check(session_path, &before, &err));
    assert_true(session_compact(session_path, 0, &r, &err));
    assert_int_equal(r.dropped_snapshots, 0);
    assert_true(session_check(session_path, &after, &err));
    assert_int_equal(after.snapshots, before.snapshots);
    assert_int_equal(after.pages, before.pages);
    /* How many there are depends on the host's speed: they gather while the
     * writer is behind. All that may go must go for a budget of one byte. */
    assert_true(session_compact(session_path, 1, &r, &err));
    assert_true(session_check(session_path, &after, &err));
    assert_int_equal(after.snapshots + r.dropped_snapshots, before.snapshots);
    assert_true(after.snapshots < before.snapshots);
    assert_int_equal(after.events, before.events);
    assert_int_equal(after.digests, before.digests);
    assert_true(after.pages < before.pages);
    assert_replays(0, SECONDS * SECOND);
    struct digest now = digest_at(2 * SECOND + 1);
    assert_memory_equal(&now, &middle, sizeof now);
}

static void shares_meet_and_cover_the_session(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    struct share share;
    uint64_t at = 0, digests = 0, all = 0;
    record();
    for (unsigned i = 1; i <= 4; i++) {
        struct replayer *rp = session_replayer(&m);
        assert_true(share_find(replayer_session(rp), i, 4, &share, &err));
        assert_int_equal(share.from, at);
        assert_int_equal(share.is_last, i == 4);
        assert_true(share.to > share.from);
        assert_int_equal(share_start(rp, &share, &err), REPLAY_UNTIL);
        enum replay_stop stop = share_run(rp, &share, &err);
        assert_int_equal(stop, i == 4 ? REPLAY_END : REPLAY_UNTIL);
        digests += replayer_report(rp)->digests_compared;
        at = share.to;
        all = replayer_session(rp)->commit.digests;
        session_drop(rp, m);
    }
    assert_int_equal(at, SECONDS * SECOND);
    assert_true(all > 3 && digests >= all);
}

static void more_shares_than_snapshots_are_no_harm(void **state)
{
    (void)state;
    struct session *s;
    struct error err = {0};
    struct share share;
    uint64_t at = 0;
    record();
    assert_true(session_open(session_path, &s, &err));
    for (unsigned i = 1; i <= 1000; i++) {
        assert_true(share_find(s, i, 1000, &share, &err));
        assert_int_equal(share.from, at);
        assert_true(share.to >= at);
        at = share.to;
    }
    assert_int_equal(at, s->end_tick);
    session_close(s);
}

static void a_share_that_ends_elsewhere_is_told(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    struct share share;
    record();
    struct replayer *rp = session_replayer(&m);
    assert_true(share_find(replayer_session(rp), 2, 4, &share, &err));
    assert_int_equal(share_start(rp, &share, &err), REPLAY_UNTIL);
    replayer_set_verify(rp, false);
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 1};
    assert_true(machine_inject(m, &e, &err)); /* not in the log */
    assert_int_equal(share_run(rp, &share, &err), REPLAY_DIVERGED);
    assert_int_equal(replayer_report(rp)->first_bad_tick, share.to);
    assert_non_null(strstr(err.text, "first difference"));
    session_drop(rp, m);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_part_replays_by_itself),
        TEST(a_part_of_a_part_replays_too),
        TEST(parts_that_cannot_be_are_refused),
        TEST(compacting_keeps_the_log_and_fewer_snapshots),
        TEST(shares_meet_and_cover_the_session),
        TEST(more_shares_than_snapshots_are_no_harm),
        TEST(a_share_that_ends_elsewhere_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
