#include "replay/when.h"

#include "cpu/cpu.h"
#include "replay/session.h"
#include "replay/snapshot.h"

static enum when from_stop(enum travel_stop stop)
{
    return stop == TRAVEL_INTERRUPTED ? WHEN_INTERRUPTED
           : stop == TRAVEL_FAILED    ? WHEN_FAILED
                                      : WHEN_FOUND;
}

static bool holds(const struct when_search *s)
{
    return condition_holds(s->condition, travel_machine(s->travel));
}

/* Stand at a tick and look. WHEN_FOUND: it holds. */
static enum when look_at(const struct when_search *s, uint64_t tick,
                         struct error *err)
{
    struct machine_place place = {tick, 0};
    enum when w = from_stop(travel_goto(s->travel, place, err));
    return w == WHEN_FOUND && !holds(s) ? WHEN_NEVER : w;
}

/* Between the two; a snapshot, if there is one, for it costs no running. */
static uint64_t middle(const struct when_search *s, uint64_t low, uint64_t high)
{
    uint64_t half = low + (high - low) / 2, floor;
    struct store *store = travel_session(s->travel)->store;
    if (snapshot_floor(store, half, &floor, NULL) == STORE_FOUND && floor > low)
        return floor;
    if (snapshot_floor(store, high - 1, &floor, NULL) == STORE_FOUND &&
        floor > low)
        return floor;
    return half;
}

enum when when_stays(const struct when_search *s, struct machine_place *place,
                     struct error *err)
{
    uint64_t low = s->from, high = s->from;
    enum when w = look_at(s, s->from, err);
    if (w == WHEN_NEVER) {
        high = s->to;
        w = look_at(s, s->to, err);
    }
    if (w != WHEN_FOUND)
        return w;
    while (high - low > 1) {
        uint64_t at = middle(s, low, high);
        w = look_at(s, at, err);
        if (w != WHEN_FOUND && w != WHEN_NEVER)
            return w;
        *(w == WHEN_FOUND ? &high : &low) = at;
    }
    *place = (struct machine_place){high, 0};
    return from_stop(travel_goto(s->travel, *place, err));
}

enum when_way when_way(const struct condition *c)
{
    struct probe probes[PROBES_MAX];
    unsigned count = condition_probes(c, probes);
    for (unsigned i = 0; i < count; i++)
        if (probes[i].kinds != PROBE_EXEC)
            return WHEN_BY_STORES;
    return count ? WHEN_BY_EXECUTION : WHEN_BY_STEPS;
}

static enum when by_probes(const struct when_search *s,
                           const struct probe *probes, unsigned count,
                           struct error *err)
{
    for (;;) {
        struct probe_hit hit;
        enum travel_stop stop =
            travel_continue(s->travel, probes, count, &hit, err);
        struct machine_place here = travel_place(s->travel);
        bool is_past = here.tick > s->to;
        if (stop == TRAVEL_HIT && !is_past) {
            if (holds(s))
                return WHEN_FOUND;
            continue;
        }
        if (stop != TRAVEL_HIT && stop != TRAVEL_END)
            return from_stop(stop);
        return look_at(s, s->to, err);
    }
}

/* The next tick at which something can have changed. */
static uint64_t next_tick(const struct when_search *s, bool reads_tick)
{
    struct machine *m = travel_machine(s->travel);
    uint64_t next = machine_tick(m) + 1, wake = machine_next_deadline(m);
    bool is_asleep = machine_is_halted(m) && !machine_cpu(m)->intr;
    return is_asleep && !reads_tick && wake > next ? wake : next;
}

static enum when by_steps(const struct when_search *s, struct error *err)
{
    bool reads_tick = condition_reads_tick(s->condition);
    struct machine *m = travel_machine(s->travel);
    while (machine_tick(m) < s->to) {
        uint64_t next = next_tick(s, reads_tick);
        enum replay_stop stop =
            replayer_run(s->replayer, next < s->to ? next : s->to, err);
        if (stop == REPLAY_REQUEST)
            return WHEN_INTERRUPTED;
        if (stop == REPLAY_FAILED || stop == REPLAY_DIVERGED)
            return WHEN_FAILED;
        if (holds(s))
            return WHEN_FOUND;
        if (stop != REPLAY_UNTIL)
            break;
    }
    return WHEN_NEVER;
}

enum when when_first(const struct when_search *s, struct machine_place *place,
                     struct error *err)
{
    struct probe probes[PROBES_MAX];
    unsigned count = condition_probes(s->condition, probes);
    enum when w = look_at(s, s->from, err);
    if (w == WHEN_NEVER)
        w = count ? by_probes(s, probes, count, err) : by_steps(s, err);
    *place = travel_place(s->travel);
    return w;
}
