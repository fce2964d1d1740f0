#include "analysis/scan.h"

#include "analysis/scan_internal.h"

#include <stdlib.h>

/* Parts forwards grow from this many ticks to that many while nothing is found.
 */
#define STRIDE_FIRST (UINT64_C(1) << 22)
#define STRIDE_LAST  (UINT64_C(1) << 28)

struct scan_query scan_query_all(enum scan_kind kind)
{
    return (struct scan_query){
        .kind = kind, .to = UINT64_MAX, .last = UINT64_MAX};
}

struct scan *scan_new(struct travel *t, const struct scan_query *q,
                      struct error *err)
{
    static const uint64_t most[SCAN_KINDS] = {[SCAN_READ] = UINT64_C(1) << 30,
                                              [SCAN_WRITE] = UINT64_C(1) << 30,
                                              [SCAN_STORE] = UINT64_C(1) << 22};
    if (q->first > q->last ||
        (most[q->kind] && q->last - q->first >= most[q->kind])) {
        error_set(err, ERR_USAGE,
                  "expected a range of at most %llu bytes, found %#llx to "
                  "%#llx",
                  (unsigned long long)most[q->kind],
                  (unsigned long long)q->first, (unsigned long long)q->last);
        return NULL;
    }
    struct scan *s = calloc(1, sizeof *s);
    if (s)
        s->capacity = q->buffer ? q->buffer : SCAN_BUFFER;
    if (s)
        s->hit = malloc(s->capacity * sizeof *s->hit);
    if (!s || !s->hit) {
        error_set(err, ERR_NOMEM, "no memory to search");
        free(s);
        return NULL;
    }
    const struct session *session = travel_session(t);
    s->travel = t;
    s->machine = travel_machine(t);
    s->q = *q;
    s->stride = STRIDE_FIRST;
    if (s->q.from < session->start_tick)
        s->q.from = session->start_tick;
    /* Something may be delivered at the last tick. */
    if (s->q.to > session->end_tick + 1)
        s->q.to = session->end_tick + 1;
    return s;
}

void scan_free(struct scan *s)
{
    if (!s)
        return;
    machine_set_probes(s->machine, NULL, 0);
    free(s->hit);
    free(s);
}

void scan_add(struct scan *s, const struct scan_hit *hit)
{
    if (hit->place.tick < s->skip_below || s->is_full)
        return;
    if (hit->place.tick == s->q.from && s->skip && !s->q.backwards) {
        s->skip--;
        return;
    }
    if (s->count < s->capacity) {
        s->hit[(s->head + s->count++) % s->capacity] = *hit;
        return;
    }
    if (s->q.backwards) {
        s->hit[s->head] = *hit;
        s->head = (s->head + 1) % s->capacity;
        return;
    }
    s->is_full = true;
    machine_observed_enough(s->machine);
}

/* ---- parts ------------------------------------------------------------------
 */

/* Run from one tick to another with the observer. The run-up of a tick lets a
 * repeated instruction that lies across the start be told from a new one. */
static enum travel_stop run_part(struct scan *s, uint64_t from, uint64_t to,
                                 struct error *err)
{
    uint64_t start = travel_session(s->travel)->start_tick;
    uint64_t run_up = s->q.kind == SCAN_EXEC && from > start ? from - 1 : from;
    s->head = s->count = 0;
    s->is_full = false;
    s->skip_below = from;
    enum travel_stop stop =
        travel_goto(s->travel, (struct machine_place){run_up, 0}, err);
    if (stop != TRAVEL_THERE && stop != TRAVEL_END)
        return stop;
    scan_arm(s);
    stop = travel_run(s->travel, to, err);
    scan_disarm(s);
    bool is_there = stop == TRAVEL_END || (stop == TRAVEL_HIT && s->is_full);
    return is_there ? TRAVEL_THERE : stop;
}

static enum travel_stop forwards(struct scan *s, struct error *err)
{
    uint64_t left = s->q.to - s->q.from;
    uint64_t to = s->q.from + (left < s->stride ? left : s->stride);
    unsigned skip = s->skip;
    enum travel_stop stop = run_part(s, s->q.from, to, err);
    if (stop != TRAVEL_THERE) {
        s->skip = skip;
        s->count = 0;
        return stop;
    }
    if (!s->is_full) {
        s->q.from = to;
        s->skip = 0;
        s->stride = s->count                  ? STRIDE_FIRST
                    : s->stride < STRIDE_LAST ? s->stride * 2
                                              : STRIDE_LAST;
        return stop;
    }
    /* Go on at the last hit's tick, behind those that were gathered. */
    uint64_t last = s->hit[s->count - 1].place.tick;
    unsigned same = last == s->q.from ? skip : 0;
    for (unsigned i = s->count; i-- > 0 && s->hit[i].place.tick == last;)
        same++;
    s->q.from = last;
    s->skip = same;
    return stop;
}

static enum travel_stop backwards(struct scan *s, struct error *err)
{
    uint64_t from = travel_floor(s->travel, s->q.to - 1);
    if (from < s->q.from)
        from = s->q.from;
    enum travel_stop stop = run_part(s, from, s->q.to, err);
    if (stop != TRAVEL_THERE) {
        s->count = 0;
        return stop;
    }
    if (s->count < s->capacity) {
        s->q.to = from;
        return stop;
    }
    /* Older ones may have been lost: drop those of the oldest tick, to find
     * them again. */
    uint64_t oldest = s->hit[s->head].place.tick;
    while (s->count && s->hit[s->head].place.tick == oldest) {
        s->head = (s->head + 1) % s->capacity;
        s->count--;
    }
    if (s->count == 0)
        return error_set(err, ERR_INPUT, "more than %u hits at tick %llu",
                         s->capacity, (unsigned long long)oldest)
                   ? stop
                   : TRAVEL_FAILED;
    s->q.to = oldest + 1;
    return stop;
}

enum scan_found scan_next(struct scan *s, struct scan_hit *hit,
                          struct error *err)
{
    if (s->q.limit && s->given == s->q.limit)
        return SCAN_DONE;
    while (s->count == 0) {
        if (s->q.from >= s->q.to)
            return SCAN_DONE;
        enum travel_stop stop =
            s->q.backwards ? backwards(s, err) : forwards(s, err);
        if (stop == TRAVEL_INTERRUPTED)
            return SCAN_INTERRUPTED;
        if (stop != TRAVEL_THERE)
            return SCAN_FAILED;
    }
    s->count--;
    s->given++;
    if (s->q.backwards) {
        *hit = s->hit[(s->head + s->count) % s->capacity];
        return SCAN_HIT;
    }
    *hit = s->hit[s->head];
    s->head = (s->head + 1) % s->capacity;
    return SCAN_HIT;
}

/* ---- what system calls give back --------------------------------------------
 */

enum scan_found scan_syscall_result(struct travel *t,
                                    const struct scan_hit *hit, uint64_t to,
                                    uint64_t *value,
                                    struct machine_place *place,
                                    struct error *err)
{
    struct scan_query q = scan_query_all(SCAN_EXEC);
    enum scan_found found = SCAN_DONE;
    struct scan_hit back;
    if (!hit->back)
        return SCAN_DONE;
    q.from = hit->place.tick + 1;
    q.to = to;
    q.first = q.last = hit->back;
    q.has_cr3 = true;
    q.cr3 = hit->cr3;
    struct scan *s = scan_new(t, &q, err);
    if (!s)
        return SCAN_FAILED;
    while ((found = scan_next(s, &back, err)) == SCAN_HIT)
        if (back.rsp == hit->rsp) {
            *value = back.value;
            *place = back.place;
            break;
        }
    scan_free(s);
    return found;
}
