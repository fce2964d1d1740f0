#include "replay/replayer.h"

#include "base/bytes.h"
#include "replay/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replayer {
    struct session *session; /* owned */
    struct machine *machine; /* borrowed */
    struct place_keeper *places; /* owned; NULL until somebody seeks */
    struct store_cursor event_cursor, digest_cursor;
    struct event event; /* the next to feed; END is not fed */
    uint32_t fed;       /* events applied to the machine */
    bool has_event;
    struct digest_record digest; /* the next to compare */
    bool has_digest;
    bool verify;
    replay_progress_fn *progress;
    void *progress_context;
    struct replay_report report;
};

struct replayer *replayer_open(const char *path, struct error *err)
{
    struct session *s;
    return session_open(path, &s, err) ? replayer_open_session(s, err) : NULL;
}

struct replayer *replayer_open_session(struct session *s, struct error *err)
{
    struct replayer *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s->store));
        session_close(s);
        return NULL;
    }
    r->verify = true;
    r->session = s;
    if (!store_cursor_open(r->session->store, STORE_EVENTS, &r->event_cursor,
                           err) ||
        !store_cursor_open(r->session->store, STORE_DIGESTS, &r->digest_cursor,
                           err)) {
        replayer_free(r);
        return NULL;
    }
    return r;
}

void replayer_free(struct replayer *r)
{
    if (!r)
        return;
    store_cursor_close(&r->event_cursor);
    store_cursor_close(&r->digest_cursor);
    place_keeper_free(r->places);
    session_close(r->session);
    free(r);
}

const struct session *replayer_session(const struct replayer *r)
{
    return r->session;
}

bool replayer_check_media(const struct replayer *r,
                          const struct media_identity *found, unsigned count,
                          struct error *err)
{
    return media_check(r->session->media, r->session->media_count, found, count,
                       store_path(r->session->store), err);
}

const struct media_identity *replayer_find_media(const struct replayer *r,
                                                 const char *path)
{
    const struct session *s = r->session;
    for (unsigned i = s->media_count; i-- > 0;)
        if (strcmp(s->media[i].path, path) == 0)
            return &s->media[i];
    return NULL;
}

void replayer_set_verify(struct replayer *r, bool verify)
{
    r->verify = verify;
}

void replayer_set_progress(struct replayer *r, replay_progress_fn *fn,
                           void *context)
{
    r->progress = fn;
    r->progress_context = context;
}

const struct replay_report *replayer_report(const struct replayer *r)
{
    return &r->report;
}

/* ---- the two cursors
 * ------------------------------------------------------------ */

static const char *where(const struct replayer *r)
{
    return store_path(r->session->store);
}

static bool got_event(struct replayer *r, enum store_found found,
                      const struct store_bytes *k, const struct store_bytes *v,
                      struct error *err)
{
    uint32_t index;
    r->has_event = false;
    if (found != STORE_FOUND)
        return found == STORE_NONE;
    if (!event_record_get(k, v, &index, &r->event, where(r), err))
        return false;
    if (index != r->fed || r->event.tick < machine_tick(r->machine))
        return error_set(err, ERR_INPUT,
                         "%s: damaged: expected event %u, found %u at tick "
                         "%llu",
                         where(r), r->fed, index,
                         (unsigned long long)r->event.tick);
    r->has_event = r->event.type != EVENT_TYPE_END;
    return true;
}

static bool got_digest(struct replayer *r, enum store_found found,
                       const struct store_bytes *k, const struct store_bytes *v,
                       struct error *err)
{
    r->has_digest = found == STORE_FOUND;
    if (!r->has_digest)
        return found == STORE_NONE;
    return digest_record_get(k, v, &r->digest, where(r), err);
}

static bool next_event(struct replayer *r, struct error *err)
{
    struct store_bytes k, v;
    enum store_found found = store_cursor_next(&r->event_cursor, &k, &v, err);
    return got_event(r, found, &k, &v, err);
}

static bool next_digest(struct replayer *r, struct error *err)
{
    struct store_bytes k, v;
    enum store_found found = store_cursor_next(&r->digest_cursor, &k, &v, err);
    return got_digest(r, found, &k, &v, err);
}

/* Put both cursors where `fed` events have been applied at the machine's tick.
 */
static bool position(struct replayer *r, uint32_t fed, struct error *err)
{
    struct store_bytes k, v;
    uint8_t key[KEY_INDEXED_BYTES];
    uint64_t tick = machine_tick(r->machine);
    r->fed = fed;
    key_indexed(key, tick, fed);
    enum store_found found =
        store_cursor_seek(&r->event_cursor, key, sizeof key, &k, &v, err);
    if (!got_event(r, found, &k, &v, err))
        return false;
    found =
        store_cursor_seek(&r->digest_cursor, key, KEY_TICK_BYTES, &k, &v, err);
    if (!got_digest(r, found, &k, &v, err))
        return false;
    while (r->has_digest && r->digest.tick == tick &&
           r->digest.events_before < fed)
        if (!next_digest(r, err))
            return false;
    r->report.last_good_tick = tick;
    return true;
}

bool replayer_attach(struct replayer *r, struct machine *m, struct error *err)
{
    if (machine_tick(m) != 0)
        return error_set(err, ERR_USAGE,
                         "%s: a replay starts with a machine at tick 0",
                         where(r));
    r->machine = m;
    r->report = (struct replay_report){0};
    if (r->session->start_tick > 0)
        return replayer_seek(r, r->session->start_tick, err);
    return position(r, 0, err);
}

uint32_t replayer_events_fed(const struct replayer *r)
{
    return r->fed;
}

bool replayer_resume(struct replayer *r, uint32_t events_fed, struct error *err)
{
    return position(r, events_fed, err);
}

struct place_keeper *replayer_places(struct replayer *r, struct error *err)
{
    if (!r->places)
        r->places = place_keeper_new(r->session->store, r->machine, err);
    return r->places;
}

bool replayer_seek(struct replayer *r, uint64_t tick, struct error *err)
{
    struct place place;
    uint64_t end = r->session->end_tick;
    struct place_keeper *places = replayer_places(r, err);
    if (!places)
        return false;
    enum store_found found =
        place_find(places, tick < end ? tick : end, false, &place, err);
    if (found == STORE_BAD)
        return false;
    if (found == STORE_NONE)
        return error_set(err, ERR_INPUT,
                         "%s: the session has no snapshot at or below tick "
                         "%llu",
                         where(r), (unsigned long long)tick);
    bool ok = place_load(places, &place, err) &&
              position(r, place.events_before, err);
    place_fini(&place);
    return ok;
}

/* ---- divergence
 * ----------------------------------------------------------------- */

static void name_difference(struct replayer *r)
{
    struct place place;
    struct replay_report *report = &r->report;
    struct place_keeper *places = replayer_places(r, NULL);
    if (!places || place_find(places, r->digest.tick, true, &place, NULL) !=
                       STORE_FOUND)
        return;
    if (place.events_before == r->fed &&
        !place_differs(places, &place, report->difference,
                       sizeof report->difference))
        report->difference[0] = 0;
    place_fini(&place);
}

static enum replay_stop diverged(struct replayer *r, struct error *err)
{
    struct replay_report *report = &r->report;
    const char *parts =
        report->cpu_differs
            ? (report->io_differs
                   ? (report->mem_differs ? "cpu, io and memory" : "cpu and io")
                   : (report->mem_differs ? "cpu and memory" : "cpu"))
            : (report->io_differs
                   ? (report->mem_differs ? "io and memory" : "io")
                   : "memory");
    report->diverged = true;
    error_set(err, ERR_MISMATCH,
              "%.300s: replay differs from the recording: %s state, first seen "
              "at tick %llu, last equal at tick %llu%s%.200s",
              where(r), parts, (unsigned long long)report->first_bad_tick,
              (unsigned long long)report->last_good_tick,
              report->difference[0] ? "; first difference: " : "",
              report->difference);
    return REPLAY_DIVERGED;
}

/* The guest ended where the recording's did not, or not as it did. */
static enum replay_stop
ended_otherwise(struct replayer *r, enum stop_reason reason, struct error *err)
{
    const struct session *s = r->session;
    uint64_t tick = machine_tick(r->machine);
    r->report.diverged = true;
    r->report.first_bad_tick = tick;
    error_set(
        err, ERR_MISMATCH,
        "%.300s: replay differs from the recording: expected %s at tick "
        "%llu, found %s at tick %llu; last equal at tick %llu",
        where(r), s->torn ? "to go on to" : stop_reason_name(s->end_reason),
        (unsigned long long)s->end_tick, stop_reason_name(reason),
        (unsigned long long)tick, (unsigned long long)r->report.last_good_tick);
    return REPLAY_DIVERGED;
}

/* Compare the digest that is due now. False: it differs. */
static bool compare(struct replayer *r)
{
    struct digest now = machine_digest(r->machine);
    const struct digest *want = &r->digest.digest;
    struct replay_report *report = &r->report;
    report->cpu_differs = memcmp(now.cpu, want->cpu, 16) != 0;
    report->io_differs = memcmp(now.io, want->io, 16) != 0;
    report->mem_differs = memcmp(now.mem, want->mem, 16) != 0;
    if (!report->cpu_differs && !report->io_differs && !report->mem_differs) {
        report->digests_compared++;
        report->last_good_tick = r->digest.tick;
        return true;
    }
    report->first_bad_tick = r->digest.tick;
    name_difference(r);
    return false;
}

enum replay_stop replayer_meet_snapshot(struct replayer *r, struct error *err)
{
    struct place place;
    struct replay_report *report = &r->report;
    struct place_keeper *places = replayer_places(r, err);
    uint64_t tick = machine_tick(r->machine);
    if (!places)
        return REPLAY_FAILED;
    enum store_found found = place_find(places, tick, true, &place, err);
    if (found != STORE_FOUND)
        return found == STORE_NONE ? REPLAY_UNTIL : REPLAY_FAILED;
    bool differs = place.events_before == r->fed &&
                   place_differs(places, &place, report->difference,
                                 sizeof report->difference);
    place_fini(&place);
    if (!differs)
        return REPLAY_UNTIL;
    report->first_bad_tick = tick;
    report->cpu_differs = strncmp(report->difference, "memory", 6) != 0 &&
                          strncmp(report->difference, "drive", 5) != 0;
    report->mem_differs = !report->cpu_differs;
    return diverged(r, err);
}

/* ---- the run loop
 * ----------------------------------------------------------------- */

enum step {
    STEP_DONE, /* nothing more is due at this tick */
    STEP_DIVERGED,
    STEP_FAILED
};

/* Does the guest end by itself at the recording's last tick? Then the digest of
 * that tick was taken after it had. */
static bool guest_ends(const struct session *s)
{
    return !s->torn &&
           (s->end_reason == STOP_POWER_OFF ||
            s->end_reason == STOP_DEBUG_EXIT || s->end_reason == STOP_SHUTDOWN);
}

/* Compare and feed all that is due at the current tick, in recorded order.
 * ended: the guest has ended here as recorded. */
static enum step due_now(struct replayer *r, bool ended, struct error *err)
{
    uint64_t tick = machine_tick(r->machine);
    for (;;) {
        bool digest_waits =
            guest_ends(r->session) && tick == r->session->end_tick && !ended;
        if (r->has_digest && r->digest.tick == tick && !digest_waits &&
            r->digest.events_before == r->fed) {
            if (r->verify && !compare(r))
                return STEP_DIVERGED;
            if (!next_digest(r, err))
                return STEP_FAILED;
        } else if (r->has_event && r->event.tick == tick) {
            if (!machine_inject(r->machine, &r->event, err))
                return STEP_FAILED;
            r->fed++;
            r->report.events_fed++;
            if (!next_event(r, err))
                return STEP_FAILED;
        } else {
            break;
        }
    }
    if (r->has_digest && r->digest.tick <= tick &&
        (ended || tick != r->session->end_tick)) {
        error_set(err, ERR_INPUT,
                  "%s: damaged: digest at tick %llu after %u events, %u exist",
                  where(r), (unsigned long long)r->digest.tick,
                  r->digest.events_before, r->fed);
        return STEP_FAILED;
    }
    return STEP_DONE;
}

static uint64_t next_stop(const struct replayer *r, uint64_t until)
{
    uint64_t stop = checkpoint_next(machine_tick(r->machine));
    if (r->session->end_tick < stop)
        stop = r->session->end_tick;
    if (until < stop)
        stop = until;
    if (r->has_event && r->event.tick < stop)
        stop = r->event.tick;
    if (r->has_digest && r->digest.tick < stop)
        stop = r->digest.tick;
    return stop;
}

/* machine_run() gave something else than STOP_TICK. */
static enum replay_stop stopped(struct replayer *r, enum stop_reason reason,
                                struct error *err)
{
    const struct session *s = r->session;
    if (reason == STOP_REQUEST)
        return REPLAY_REQUEST;
    if (reason == STOP_PROBE)
        return REPLAY_PROBE;
    if (reason == STOP_MEDIA_ERROR) {
        *err = *machine_error(r->machine);
        return REPLAY_FAILED;
    }
    bool at_end = machine_tick(r->machine) == s->end_tick && !r->has_event;
    if (at_end && s->torn)
        return REPLAY_TORN;
    if (!at_end || reason != s->end_reason ||
        (reason == STOP_DEBUG_EXIT &&
         machine_exit_value(r->machine) != s->end_value))
        return ended_otherwise(r, reason, err);
    switch (due_now(r, true, err)) {
    case STEP_DIVERGED:
        return diverged(r, err);
    case STEP_FAILED:
        return REPLAY_FAILED;
    default:
        return REPLAY_END;
    }
}

/* At the recording's last tick, everything fed: how did it end? */
static enum replay_stop at_end(struct replayer *r, struct error *err)
{
    const struct session *s = r->session;
    if (s->torn)
        return REPLAY_TORN;
    if (!guest_ends(s))
        return REPLAY_END;
    enum stop_reason reason = machine_run(r->machine, s->end_tick + 1);
    if (reason == STOP_TICK)
        return ended_otherwise(r, reason, err);
    return stopped(r, reason, err);
}

enum replay_stop replayer_run(struct replayer *r, uint64_t until_tick,
                              struct error *err)
{
    struct error local;
    if (!err)
        err = &local;
    for (;;) {
        switch (due_now(r, false, err)) {
        case STEP_DIVERGED:
            return diverged(r, err);
        case STEP_FAILED:
            return REPLAY_FAILED;
        default:
            break;
        }
        uint64_t tick = machine_tick(r->machine);
        if (tick >= r->session->end_tick)
            return at_end(r, err);
        if (tick >= until_tick)
            return REPLAY_UNTIL;
        enum stop_reason reason =
            machine_run(r->machine, next_stop(r, until_tick));
        if (r->progress)
            r->progress(r->progress_context, r, machine_tick(r->machine));
        if (reason != STOP_TICK)
            return stopped(r, reason, err);
    }
}
