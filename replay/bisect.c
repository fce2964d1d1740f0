#include "replay/bisect.h"

#include "replay/checkpoint.h"
#include "replay/snapshot.h"

#include <string.h>

enum {
    SAMPLES_MAX = 1 << 20, /* bisect_every()'s */
    ROUND = 1000,          /* samples when a window is made smaller */
    BLOCK_STEPS = 7        /* blocks of 1, 2, 4, ... 64 instructions */
};

uint64_t bisect_every(uint64_t from, uint64_t to)
{
    uint64_t every = (to - from) / SAMPLES_MAX + 1;
    return every < CHECKPOINT_TICKS ? every : CHECKPOINT_TICKS;
}

/* ---- comparing one stretch --------------------------------------------------
 */

/* Where the first difference lies: behind good, at bad or before. */
struct window {
    bool differs;
    uint64_t good, bad;
    bool is_single; /* no sample between the two */
};

static void judge(const struct stretch *w, const struct station_mark *a,
                  unsigned a_count, const struct station_mark *b,
                  unsigned b_count, struct window *out)
{
    unsigned i = 0, most = a_count < b_count ? a_count : b_count;
    while (i < most && a[i].tick == b[i].tick &&
           memcmp(a[i].hash, b[i].hash, STATION_HASH_BYTES) == 0)
        i++;
    *out = (struct window){.differs = i < most || a_count != b_count};
    if (!out->differs)
        return;
    out->good = i ? a[i - 1].tick : w->from;
    uint64_t a_tick = i < a_count ? a[i].tick : w->to;
    uint64_t b_tick = i < b_count ? b[i].tick : w->to;
    /* The guest of one has ended: at the latest behind that tick the other's
     * is another. */
    out->bad = a_tick == b_tick  ? a_tick
               : a_tick < b_tick ? a_tick + 1
                                 : b_tick + 1;
    out->is_single = !w->every || out->bad - out->good <= w->every;
}

static bool compare(const struct bisect *b, const struct stretch *w,
                    struct window *out, struct error *err)
{
    struct station_mark marks[2][STATION_MARKS_MAX];
    unsigned count[2];
    for (unsigned n = 0; n < 2; n++)
        if (!b->side[n]->begin_run(b->side[n]->context, w, err))
            return false;
    for (unsigned n = 0; n < 2; n++)
        if (!b->side[n]->end_run(b->side[n]->context, marks[n], &count[n], err))
            return false;
    judge(w, marks[0], count[0], marks[1], count[1], out);
    return true;
}

/* ---- the pieces of the recording --------------------------------------------
 */

/* The first snapshot behind `tick`; `to` when there is none before it. */
static bool next_snapshot(struct store *s, uint64_t tick, uint64_t to,
                          uint64_t *next, struct error *err)
{
    enum store_found found = snapshot_ceiling(s, tick, next, err);
    if (found == STORE_NONE || *next > to)
        *next = to;
    return found != STORE_BAD;
}

/* The first window in which the sides differ, and where its piece begins. */
static bool find_piece(const struct bisect *b, uint64_t every,
                       struct window *out, uint64_t *start, struct error *err)
{
    uint64_t at = b->from, next;
    out->differs = false;
    while (at < b->to) {
        if (b->progress && !b->progress(b->progress_context, at))
            return error_set(err, ERR_USAGE, "interrupted");
        if (!next_snapshot(b->store, at, b->to, &next, err))
            return false;
        *start = at;
        struct stretch w = {
            .start = at, .from = at, .to = next, .every = every};
        if (!compare(b, &w, out, err))
            return false;
        while (out->differs && !out->is_single) {
            struct window all = *out;
            w.start = w.from = all.good;
            w.to = all.bad;
            if (!compare(b, &w, out, err))
                return false;
            if (!out->differs) { /* not when begun there: leave it at that */
                *out = all;
                return true;
            }
        }
        if (out->differs)
            return true;
        at = next;
    }
    return true;
}

/* ---- closing in -------------------------------------------------------------
 */

/* Does it show at window->bad when run from `start` with such blocks? */
static bool shows(const struct bisect *b, uint64_t start, unsigned block,
                  uint64_t bad, bool *is_shown, struct error *err)
{
    struct window w;
    struct stretch s = {.start = start, .from = bad, .to = bad, .block = block};
    if (!compare(b, &s, &w, err))
        return false;
    *is_shown = w.differs;
    return true;
}

bool bisect_begins_equal(const struct bisect *b, bool *is_equal,
                         struct error *err)
{
    bool is_shown;
    if (!shows(b, b->from, 0, b->from, &is_shown, err))
        return false;
    *is_equal = !is_shown;
    return true;
}

/* The shortest run and the smallest blocks with which it still shows. */
static bool reproduce(const struct bisect *b, const struct window *w,
                      uint64_t piece, struct bisect_result *r, bool *is_shown,
                      struct error *err)
{
    *is_shown = false;
    for (unsigned i = 0; !*is_shown && i <= BLOCK_STEPS + 1; i++) {
        r->block = i < BLOCK_STEPS ? 1u << i : 0;
        r->start = i <= BLOCK_STEPS ? w->good : piece;
        if (!shows(b, r->start, r->block, w->bad, is_shown, err))
            return false;
    }
    return true;
}

/* Ever closer samples, to the instruction. Stops where it no longer shows. */
static bool close_in(const struct bisect *b, struct bisect_result *r,
                     struct window *w, struct error *err)
{
    while (w->bad - w->good > 1) {
        struct window in;
        struct stretch s = {.start = r->start,
                            .from = w->good,
                            .to = w->bad,
                            .every = (w->bad - w->good) / ROUND + 1,
                            .block = r->block};
        if (!compare(b, &s, &in, err))
            return false;
        if (!in.differs)
            return true;
        *w = in;
    }
    return true;
}

/* Samples on the way would change how blocks are run: look at the end alone. */
static bool halve(const struct bisect *b, struct bisect_result *r,
                  struct window *w, struct error *err)
{
    while (w->bad - w->good > 1) {
        bool is_shown;
        uint64_t middle = w->good + (w->bad - w->good) / 2;
        if (!shows(b, r->start, r->block, middle, &is_shown, err))
            return false;
        *(is_shown ? &w->bad : &w->good) = middle;
    }
    return true;
}

bool bisect_find(const struct bisect *b, struct bisect_result *r,
                 struct error *err)
{
    struct window w;
    uint64_t piece = b->from;
    bool is_shown;
    *r = (struct bisect_result){
        .every = b->every ? b->every : bisect_every(b->from, b->to)};
    if (!find_piece(b, r->every, &w, &piece, err))
        return false;
    r->differs = w.differs;
    if (!w.differs)
        return true;
    r->start = piece;
    if (w.is_single) {
        if (!reproduce(b, &w, piece, r, &is_shown, err) ||
            (is_shown && r->block == 1 && !close_in(b, r, &w, err)) ||
            (is_shown && !halve(b, r, &w, err)))
            return false;
        r->is_exact = is_shown && w.bad - w.good == 1;
    }
    r->last_equal = w.good;
    r->tick = w.bad;
    return true;
}
