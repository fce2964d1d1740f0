#include "replay/seek.h"

#include "replay/checkpoint.h"
#include "replay/place.h"

#include <stdlib.h>
#include <string.h>

enum { MARKS_MAX = 1024 };
#define CACHE_DEFAULT (UINT64_C(512) << 20)
/* Checkpoints on the way to a goal stand at half the distance, a quarter, ...
 * down to this: less than a millisecond of running. */
#define FINEST (UINT64_C(1) << 16)
/* Running this far is cheaper than loading another state. */
#define NEAR (UINT64_C(1) << 20)

struct seeker {
    struct replayer *replayer;   /* borrowed */
    struct machine *machine;     /* borrowed */
    struct place_keeper *places; /* borrowed: the replayer's */
    uint64_t cache_bytes;
    struct place *marks; /* owned, ascending ticks */
    size_t count, capacity;
    bool is_lost; /* the machine is not where the recording was */
    struct seeker_stats stats;
};

/* ---- checkpoints ------------------------------------------------------------
 */

/* How many checkpoints are at or below a tick. */
static size_t marks_below(const struct seeker *s, uint64_t tick)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->marks[middle].tick <= tick)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_mark(const struct seeker *s, uint64_t tick)
{
    size_t n = marks_below(s, tick);
    return n > 0 && s->marks[n - 1].tick == tick;
}

/* Takes the place. */
static bool add_mark(struct seeker *s, struct place *place, struct error *err)
{
    size_t at = marks_below(s, place->tick);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct place *more = realloc(s->marks, capacity * sizeof *more);
        if (!more) {
            place_fini(place);
            return error_set(err, ERR_NOMEM, "no memory for a checkpoint");
        }
        s->marks = more;
        s->capacity = capacity;
    }
    memmove(s->marks + at + 1, s->marks + at,
            (s->count - at) * sizeof *s->marks);
    s->marks[at] = *place;
    s->count++;
    return true;
}

static void drop_mark(struct seeker *s, size_t at)
{
    place_fini(&s->marks[at]);
    s->count--;
    memmove(s->marks + at, s->marks + at + 1,
            (s->count - at) * sizeof *s->marks);
}

/* The checkpoint whose absence makes the smallest gap in proportion to its
 * distance from the machine. The first one stays: a session without usable
 * snapshots begins there. */
static size_t least_useful(const struct seeker *s)
{
    uint64_t here = machine_tick(s->machine);
    size_t best = 0;
    unsigned __int128 best_gap = 0, best_far = 0;
    for (size_t i = 1; i < s->count; i++) {
        uint64_t tick = s->marks[i].tick;
        uint64_t end = i + 1 < s->count ? s->marks[i + 1].tick
                       : tick > here    ? tick
                                        : here;
        unsigned __int128 gap = end - s->marks[i - 1].tick + 1;
        unsigned __int128 far = (tick < here ? here - tick : tick - here) + 1;
        if (best == 0 || gap * best_far < best_gap * far) {
            best = i;
            best_gap = gap;
            best_far = far;
        }
    }
    return best;
}

static void trim_cache(struct seeker *s)
{
    while (s->count > 1 && (s->count > MARKS_MAX ||
                            place_bytes(s->places) > s->cache_bytes))
        drop_mark(s, least_useful(s));
}

bool seeker_keep(struct seeker *s, struct error *err)
{
    struct place place;
    if (s->is_lost)
        return error_set(err, ERR_USAGE,
                         "the machine is not on the recording's path");
    if (has_mark(s, machine_tick(s->machine)))
        return true;
    if (!place_keep(s->places, replayer_events_fed(s->replayer), &place, err) ||
        !add_mark(s, &place, err))
        return false;
    trim_cache(s);
    return true;
}

/* ---- life -------------------------------------------------------------------
 */

struct seeker *seeker_new(struct replayer *rp, struct machine *m,
                          uint64_t cache_bytes, struct error *err)
{
    struct seeker *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ERR_NOMEM, "no memory for seeking");
        return NULL;
    }
    s->replayer = rp;
    s->machine = m;
    s->cache_bytes = cache_bytes ? cache_bytes : CACHE_DEFAULT;
    s->places = replayer_places(rp, err);
    if (!s->places || !seeker_keep(s, err)) {
        seeker_free(s);
        return NULL;
    }
    return s;
}

void seeker_free(struct seeker *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        place_fini(&s->marks[i]);
    free(s->marks);
    free(s);
}

void seeker_forget_position(struct seeker *s)
{
    s->is_lost = true;
}

void seeker_stats(const struct seeker *s, struct seeker_stats *out)
{
    *out = s->stats;
    out->checkpoints = s->count;
    out->cache_bytes = place_bytes(s->places);
}

/* ---- seeking ----------------------------------------------------------------
 */

static struct store *store_of(const struct seeker *s)
{
    return replayer_session(s->replayer)->store;
}

uint64_t seeker_floor(struct seeker *s, uint64_t tick)
{
    uint64_t floor = 0;
    size_t n = marks_below(s, tick);
    if (snapshot_floor(store_of(s), tick, &floor, NULL) != STORE_FOUND)
        floor = 0;
    return n > 0 && s->marks[n - 1].tick > floor ? s->marks[n - 1].tick : floor;
}

/* The checkpoint to start from; a snapshot that is nearer becomes one. */
static const struct place *start_for(struct seeker *s, uint64_t tick,
                                     struct error *err)
{
    struct place place;
    uint64_t floor;
    size_t n = marks_below(s, tick);
    enum store_found found = snapshot_floor(store_of(s), tick, &floor, err);
    if (found == STORE_BAD)
        return NULL;
    if (found == STORE_FOUND && (n == 0 || s->marks[n - 1].tick < floor)) {
        if (place_find(s->places, floor, true, &place, err) != STORE_FOUND ||
            !add_mark(s, &place, err))
            return NULL;
        n = marks_below(s, tick);
    }
    if (n > 0)
        return &s->marks[n - 1];
    error_set(err, ERR_INPUT, "%s: no snapshot at or below tick %llu",
              store_path(store_of(s)), (unsigned long long)tick);
    return NULL;
}

/* Stand at or below the tick, as near as can be had without running. */
static bool approach(struct seeker *s, uint64_t tick, struct error *err)
{
    uint64_t here = machine_tick(s->machine);
    if (!s->is_lost && here <= tick &&
        (tick - here < NEAR || seeker_floor(s, tick) < here + NEAR))
        return true;
    const struct place *from = start_for(s, tick, err);
    if (!from)
        return false;
    s->is_lost = true;
    if (!place_load(s->places, from, err) ||
        !replayer_resume(s->replayer, from->events_before, err))
        return false;
    s->is_lost = false;
    s->stats.loads++;
    return true;
}

static enum replay_stop run(struct seeker *s, uint64_t until, struct error *err)
{
    uint64_t from = machine_tick(s->machine);
    enum replay_stop stop = replayer_run(s->replayer, until, err);
    s->stats.ticks_run += machine_tick(s->machine) - from;
    if (stop == REPLAY_FAILED)
        s->is_lost = true;
    return stop;
}

enum replay_stop seeker_goto(struct seeker *s, uint64_t tick, struct error *err)
{
    struct error local;
    uint64_t end = replayer_session(s->replayer)->end_tick;
    uint64_t goal = tick < end ? tick : end;
    enum replay_stop stop;
    if (!err)
        err = &local;
    s->stats.seeks++;
    if (!approach(s, goal, err))
        return REPLAY_FAILED;
    trim_cache(s);
    for (;;) {
        uint64_t here = machine_tick(s->machine);
        uint64_t left = goal > here ? goal - here : 0;
        uint64_t next = left > FINEST ? here + left / 2 : goal;
        stop = run(s, next, err);
        if (stop != REPLAY_UNTIL || machine_tick(s->machine) >= goal)
            return stop;
        if (!seeker_keep(s, err))
            return REPLAY_FAILED;
    }
}

enum replay_stop seeker_run(struct seeker *s, uint64_t until_tick,
                            struct error *err)
{
    struct error local;
    uint64_t kept = machine_insns(s->machine);
    if (!err)
        err = &local;
    for (;;) {
        uint64_t next = checkpoint_next(machine_tick(s->machine));
        enum replay_stop stop =
            run(s, next < until_tick ? next : until_tick, err);
        if (stop != REPLAY_UNTIL || machine_tick(s->machine) >= until_tick)
            return stop;
        if (machine_insns(s->machine) - kept < SEEK_STRIDE)
            continue;
        kept = machine_insns(s->machine);
        if (!s->is_lost && !seeker_keep(s, err))
            return REPLAY_FAILED;
    }
}
