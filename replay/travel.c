#include "replay/travel.h"

#include <stdlib.h>

struct travel {
    struct replayer *replayer; /* borrowed */
    struct machine *machine;   /* borrowed */
    struct seeker *seeker;     /* owned */
    travel_poll_fn *poll;      /* borrowed with context */
    void *poll_context;
    bool is_branch;
    bool is_inside; /* stopped inside a tick: what comes back to the start of it
                       must load it */
    struct machine_place branch; /* where it left the recording */
};

static void on_progress(void *context, const struct replayer *r, uint64_t tick)
{
    struct travel *t = context;
    (void)r;
    (void)tick;
    if (t->poll && t->poll(t->poll_context))
        machine_request_stop(t->machine);
}

struct travel *travel_new(struct replayer *rp, struct machine *m,
                          uint64_t cache_bytes, struct error *err)
{
    struct travel *t = calloc(1, sizeof *t);
    if (!t) {
        error_set(err, ERR_NOMEM, "no memory to travel");
        return NULL;
    }
    t->replayer = rp;
    t->machine = m;
    t->seeker = seeker_new(rp, m, cache_bytes, err);
    if (!t->seeker) {
        free(t);
        return NULL;
    }
    replayer_set_verify(rp, false);
    replayer_set_progress(rp, on_progress, t);
    return t;
}

void travel_free(struct travel *t)
{
    if (!t)
        return;
    machine_set_probes(t->machine, NULL, 0);
    replayer_set_progress(t->replayer, NULL, NULL);
    seeker_free(t->seeker);
    free(t);
}

struct machine *travel_machine(const struct travel *t)
{
    return t->machine;
}

const struct session *travel_session(const struct travel *t)
{
    return replayer_session(t->replayer);
}

struct machine_place travel_place(const struct travel *t)
{
    return machine_place(t->machine);
}

void travel_set_poll(struct travel *t, travel_poll_fn *fn, void *context)
{
    t->poll = fn;
    t->poll_context = context;
}

bool travel_changed(struct travel *t)
{
    bool is_first = !t->is_branch;
    if (is_first)
        t->branch = travel_place(t);
    t->is_branch = true;
    seeker_forget_position(t->seeker);
    return is_first;
}

bool travel_branch(const struct travel *t, struct machine_place *from)
{
    if (t->is_branch)
        *from = t->branch;
    return t->is_branch;
}

/* ---- running ----------------------------------------------------------------
 */

/* Forward, with what the machine's probes say. In a branch, and for short ways,
 * no checkpoints are left. */
static enum replay_stop run(struct travel *t, uint64_t until, bool keeps,
                            struct error *err)
{
    enum replay_stop stop = keeps && !t->is_branch
                                ? seeker_run(t->seeker, until, err)
                                : replayer_run(t->replayer, until, err);
    t->is_inside = stop != REPLAY_UNTIL;
    return stop;
}

/* What a stop other than those looked for means. */
static enum travel_stop other_stop(const struct travel *t,
                                   enum replay_stop stop)
{
    switch (stop) {
    case REPLAY_UNTIL:
        return TRAVEL_THERE;
    case REPLAY_END:
    case REPLAY_TORN:
        return TRAVEL_END;
    case REPLAY_REQUEST:
        return TRAVEL_INTERRUPTED;
    case REPLAY_PROBE:
        return TRAVEL_HIT;
    case REPLAY_DIVERGED: /* a what-if guest has ended otherwise */
        return t->is_branch ? TRAVEL_END : TRAVEL_FAILED;
    default:
        return TRAVEL_FAILED;
    }
}

/* A probe stopped the machine. Behind a data access it stands at the start of a
 * tick: feed what is due there. */
static enum travel_stop settle(struct travel *t, const struct probe_hit *hit,
                               struct error *err)
{
    struct machine_place here = travel_place(t);
    if (here.deliveries || hit->kind == PROBE_EXEC)
        return TRAVEL_HIT;
    enum travel_stop stop = other_stop(t, run(t, here.tick, false, err));
    return stop == TRAVEL_FAILED ? TRAVEL_FAILED : TRAVEL_HIT;
}

/* Stand at the start of a tick of the recording. */
static enum travel_stop go_to_tick(struct travel *t, uint64_t tick,
                                   struct error *err)
{
    machine_stop_at(t->machine, NULL);
    if (t->is_branch || t->is_inside)
        seeker_forget_position(t->seeker);
    t->is_branch = t->is_inside = false;
    enum travel_stop stop = other_stop(t, seeker_goto(t->seeker, tick, err));
    if (stop == TRAVEL_END && tick <= travel_session(t)->end_tick)
        stop = TRAVEL_THERE;
    return stop;
}

/* Run up to, but not into, the instruction at a place in this tick or the next.
 * TRAVEL_HIT: there; TRAVEL_THERE: at the start of tick `until` before it. */
static enum travel_stop run_to_place(struct travel *t,
                                     struct machine_place place, uint64_t until,
                                     struct error *err)
{
    machine_stop_at(t->machine, &place);
    enum travel_stop stop = other_stop(t, run(t, until, false, err));
    machine_stop_at(t->machine, NULL);
    return stop;
}

enum travel_stop travel_goto(struct travel *t, struct machine_place place,
                             struct error *err)
{
    machine_probe_mode(t->machine, PROBE_OFF, false);
    enum travel_stop stop = go_to_tick(t, place.tick, err);
    if (stop != TRAVEL_THERE || place.deliveries == 0)
        return stop;
    stop = run_to_place(t, place, place.tick + 1, err);
    if (stop == TRAVEL_HIT)
        return TRAVEL_THERE;
    if (stop == TRAVEL_THERE || stop == TRAVEL_END)
        stop = go_to_tick(t, place.tick, err); /* there is no such place */
    return stop;
}

enum travel_stop travel_run(struct travel *t, uint64_t until, struct error *err)
{
    return other_stop(t, run(t, until, true, err));
}

uint64_t travel_floor(struct travel *t, uint64_t tick)
{
    return seeker_floor(t->seeker, tick);
}

/* ---- single steps
 * ------------------------------------------------------------- */

/* What tells that nothing was executed. */
struct sleep {
    bool halted;
    uint64_t insns;
};

static struct sleep sleep_now(const struct travel *t)
{
    return (struct sleep){machine_is_halted(t->machine),
                          machine_insns(t->machine)};
}

static bool still_asleep(const struct travel *t, const struct sleep *before)
{
    struct sleep now = sleep_now(t);
    return before->halted && now.halted && now.insns == before->insns;
}

static enum travel_stop step(struct travel *t, struct error *err)
{
    struct machine_place here = travel_place(t), next = here;
    struct sleep before = sleep_now(t);
    next.deliveries++;
    enum travel_stop stop = run_to_place(t, next, here.tick + 1, err);
    if (stop == TRAVEL_THERE && still_asleep(t, &before))
        stop = run_to_place(t, travel_place(t), UINT64_MAX, err);
    return stop == TRAVEL_HIT ? TRAVEL_THERE : stop;
}

/* Set the probes for data; false: there is none. Those for instructions would
 * only cost time. */
static bool watch_data(struct travel *t, const struct probe *probes,
                       unsigned count, unsigned index[PROBES_MAX])
{
    struct probe data[PROBES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++)
        if (!(probes[i].kinds & (PROBE_EXEC | PROBE_RANGE))) {
            index[n] = i;
            data[n++] = probes[i];
        }
    machine_set_probes(t->machine, data, n);
    return n > 0;
}

/* What was hit; switches the probes off. */
static enum travel_stop data_hit(struct travel *t, enum travel_stop stop,
                                 const unsigned index[PROBES_MAX],
                                 struct probe_hit *hit)
{
    const struct probe_tally *tally = machine_probe_tally(t->machine);
    bool is_hit = stop == TRAVEL_THERE && tally->hits;
    if (is_hit) {
        *hit = tally->last;
        hit->index = index[hit->index];
    }
    machine_probe_mode(t->machine, PROBE_OFF, false);
    return is_hit ? TRAVEL_HIT : stop;
}

enum travel_stop travel_step(struct travel *t, const struct probe *probes,
                             unsigned count, struct probe_hit *hit,
                             struct error *err)
{
    unsigned index[PROBES_MAX];
    if (watch_data(t, probes, count, index))
        machine_probe_mode(t->machine, PROBE_COUNT, false);
    return data_hit(t, step(t, err), index, hit);
}

/* The CPU has been asleep for some time at `tick`, in the recording: stand at
 * the tick where that began. */
static enum travel_stop go_to_sleep_start(struct travel *t, uint64_t tick,
                                          struct error *err)
{
    uint64_t from = tick, since;
    enum travel_stop stop = go_to_tick(t, tick, err);
    uint64_t insns = machine_insns(t->machine);
    while (stop == TRAVEL_THERE && from > 0 &&
           machine_insns(t->machine) == insns) {
        from = seeker_floor(t->seeker, from - 1);
        stop = go_to_tick(t, from, err);
    }
    if (stop == TRAVEL_THERE)
        stop = other_stop(t, run(t, tick, false, err));
    if (stop != TRAVEL_THERE && stop != TRAVEL_END)
        return stop;
    since = machine_asleep_since(t->machine);
    return go_to_tick(t, since < tick ? since : tick, err);
}

/* Stand at the last place in the tick in front of `tick`. */
static enum travel_stop go_to_last_place(struct travel *t, uint64_t tick,
                                         struct error *err)
{
    struct machine_place last = {tick - 1, 0};
    enum travel_stop stop = go_to_tick(t, last.tick, err);
    if (stop != TRAVEL_THERE)
        return stop;
    struct sleep before = sleep_now(t);
    for (;;) {
        struct machine_place next = {last.tick, last.deliveries + 1};
        stop = run_to_place(t, next, tick, err);
        if (stop != TRAVEL_HIT)
            break;
        last = travel_place(t);
    }
    if (stop != TRAVEL_THERE && stop != TRAVEL_END)
        return stop;
    if (last.deliveries == 0 && still_asleep(t, &before))
        return go_to_sleep_start(t, last.tick, err);
    return travel_goto(t, last, err);
}

static enum travel_stop step_back(struct travel *t, struct error *err)
{
    struct machine_place here = travel_place(t);
    if (here.deliveries == 0 && here.tick == 0)
        return t->is_branch ? travel_goto(t, here, err) : TRAVEL_START;
    if (here.deliveries == 0)
        return go_to_last_place(t, here.tick, err);
    here.deliveries--;
    enum travel_stop stop = travel_goto(t, here, err);
    /* An interrupt woke the CPU: the step back is to behind its HLT. */
    if (stop == TRAVEL_THERE && here.deliveries == 0 && here.tick > 0 &&
        machine_is_halted(t->machine))
        stop = go_to_sleep_start(t, here.tick, err);
    return stop;
}

enum travel_stop travel_step_back(struct travel *t, const struct probe *probes,
                                  unsigned count, struct probe_hit *hit,
                                  struct error *err)
{
    unsigned index[PROBES_MAX];
    struct machine_place from = travel_place(t);
    bool has_data = watch_data(t, probes, count, index);
    enum travel_stop stop = step_back(t, err);
    if (stop != TRAVEL_THERE || !has_data)
        return stop;
    /* What would one step do from here? */
    struct machine_place here = travel_place(t);
    machine_probe_mode(t->machine, PROBE_COUNT, false);
    stop = run_to_place(t, from, from.tick + (from.deliveries != 0), err);
    if (stop == TRAVEL_HIT || stop == TRAVEL_END)
        stop = TRAVEL_THERE;
    bool is_hit = data_hit(t, stop, index, hit) == TRAVEL_HIT;
    stop = travel_goto(t, here, err);
    return is_hit && stop == TRAVEL_THERE ? TRAVEL_HIT : stop;
}

/* ---- to the next hit
 * ------------------------------------------------------------ */

enum travel_stop travel_continue(struct travel *t, const struct probe *probes,
                                 unsigned count, struct probe_hit *hit,
                                 struct error *err)
{
    machine_set_probes(t->machine, probes, count);
    machine_probe_mode(t->machine, PROBE_STOP, true);
    enum travel_stop stop = other_stop(t, run(t, UINT64_MAX, true, err));
    const struct probe_tally *tally = machine_probe_tally(t->machine);
    if (tally->hits) /* also when the guest ends with that instruction */
        *hit = tally->last;
    machine_probe_mode(t->machine, PROBE_OFF, false);
    return stop == TRAVEL_HIT ? settle(t, hit, err) : stop;
}

/* From the start of `from` up to `limit`, counting hits. */
static enum travel_stop scan(struct travel *t, uint64_t from,
                             struct machine_place limit, struct error *err)
{
    enum travel_stop stop = go_to_tick(t, from, err);
    if (stop != TRAVEL_THERE)
        return stop;
    machine_probe_mode(t->machine, PROBE_COUNT, false);
    if (from < limit.tick)
        stop = other_stop(t, run(t, limit.tick, true, err));
    if (stop == TRAVEL_THERE && limit.deliveries)
        stop = run_to_place(t, limit, limit.tick + 1, err);
    return stop == TRAVEL_HIT || stop == TRAVEL_END ? TRAVEL_THERE : stop;
}

enum travel_stop travel_continue_back(struct travel *t,
                                      const struct probe *probes,
                                      unsigned count, struct probe_hit *hit,
                                      struct error *err)
{
    struct machine_place limit = travel_place(t);
    machine_set_probes(t->machine, probes, count);
    while (limit.tick > 0 || limit.deliveries > 0) {
        uint64_t last = limit.tick - (limit.deliveries == 0);
        uint64_t from = seeker_floor(t->seeker, last);
        enum travel_stop stop = scan(t, from, limit, err);
        const struct probe_tally *tally = machine_probe_tally(t->machine);
        uint64_t hits = tally->hits;
        *hit = tally->last;
        machine_probe_mode(t->machine, PROBE_OFF, false);
        if (stop == TRAVEL_INTERRUPTED) {
            stop = travel_goto(t, limit, err);
            return stop == TRAVEL_FAILED ? stop : TRAVEL_INTERRUPTED;
        }
        if (stop != TRAVEL_THERE)
            return stop;
        if (hits) {
            stop = travel_goto(t, hit->place, err);
            return stop == TRAVEL_THERE ? TRAVEL_HIT : stop;
        }
        limit = (struct machine_place){from, 0};
    }
    enum travel_stop stop = go_to_tick(t, 0, err);
    return stop == TRAVEL_THERE ? TRAVEL_START : stop;
}
