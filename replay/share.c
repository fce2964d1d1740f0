#include "replay/share.h"

#include "replay/record.h"
#include "replay/snapshot.h"

#include <stdlib.h>

/* Where a session can be cut. */
struct cut {
    uint64_t tick, insns;
};

struct cuts {
    struct cut *at; /* owned */
    size_t count, capacity;
};

static bool add(struct cuts *c, const struct session *s, uint64_t tick,
                uint64_t insns, struct error *err)
{
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 64;
        struct cut *more = realloc(c->at, capacity * sizeof *more);
        if (!more)
            return error_set(err, ERR_NOMEM, "%s: out of memory",
                             store_path(s->store));
        c->at = more;
        c->capacity = capacity;
    }
    c->at[c->count++] = (struct cut){tick, insns};
    return true;
}

/* Does an event follow the snapshot at its own tick? Who runs to that tick has
 * that event behind him, and cannot be compared. */
static enum store_found event_follows(const struct session *s,
                                      const struct snapshot *snap,
                                      struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct event e;
    uint8_t key[KEY_INDEXED_BYTES];
    uint32_t index;
    if (!store_cursor_open(s->store, STORE_EVENTS, &c, err))
        return STORE_BAD;
    key_indexed(key, snap->tick, snap->events_before);
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    if (found == STORE_FOUND &&
        !event_record_get(&k, &v, &index, &e, store_path(s->store), err))
        found = STORE_BAD;
    store_cursor_close(&c);
    if (found == STORE_FOUND && e.tick != snap->tick)
        found = STORE_NONE;
    return found;
}

/* A snapshot is a cut, if replays can be compared with it. */
static bool find_cut(const struct session *s, const struct store_bytes *k,
                     const struct store_bytes *v, struct cuts *cuts,
                     struct error *err)
{
    struct snapshot snap;
    enum store_found found = STORE_NONE;
    if (!snapshot_unpack(k, v, &snap, store_path(s->store), err))
        return false;
    bool is_start = snap.tick == s->start_tick;
    bool is_cut = is_start || snap.tick < s->end_tick;
    if (is_cut && !is_start)
        found = event_follows(s, &snap, err);
    bool ok = found != STORE_BAD;
    if (is_cut && found == STORE_NONE)
        ok = add(cuts, s, snap.tick, snap.insns, err);
    snapshot_fini(&snap);
    return ok;
}

static bool find_cuts(const struct session *s, struct cuts *cuts, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    if (s->format < SNAPSHOT_FORMAT)
        return add(cuts, s, s->start_tick, 0, err);
    if (!store_cursor_open(s->store, STORE_SNAPSHOTS, &c, err))
        return false;
    enum store_found found = store_cursor_seek(&c, NULL, 0, &k, &v, err);
    bool ok = true;
    while (ok && found == STORE_FOUND) {
        ok = find_cut(s, &k, &v, cuts, err);
        if (ok)
            found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    if (ok && found != STORE_BAD && cuts->count == 0)
        return add(cuts, s, s->start_tick, 0, err);
    return ok && found != STORE_BAD;
}

/* The cut nearest to a number of instructions. */
static size_t nearest(const struct cuts *c, uint64_t insns)
{
    size_t best = 0;
    uint64_t best_far = UINT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        uint64_t at = c->at[i].insns;
        uint64_t far = at < insns ? insns - at : at - insns;
        if (far < best_far) {
            best = i;
            best_far = far;
        }
    }
    return best;
}

bool share_find(const struct session *s, unsigned index, unsigned count,
                struct share *out, struct error *err)
{
    struct cuts cuts = {0};
    *out = (struct share){0};
    if (!find_cuts(s, &cuts, err)) {
        free(cuts.at);
        return false;
    }
    uint64_t first = cuts.at[0].insns;
    uint64_t total = s->commit.insns > first ? s->commit.insns - first : 0;
    size_t from = nearest(&cuts, first + total / count * (index - 1));
    size_t to = nearest(&cuts, first + total / count * index);
    out->is_first = index == 1;
    out->is_last = index == count;
    if (out->is_first)
        from = 0;
    out->from = cuts.at[from].tick;
    out->to = out->is_last ? s->end_tick : cuts.at[to].tick;
    uint64_t end = out->is_last ? s->commit.insns : cuts.at[to].insns;
    out->insns = end > cuts.at[from].insns ? end - cuts.at[from].insns : 0;
    free(cuts.at);
    return true;
}

enum replay_stop share_start(struct replayer *r, const struct share *share,
                             struct error *err)
{
    bool is_there = share->from == replayer_session(r)->start_tick ||
                    replayer_seek(r, share->from, err);
    return is_there ? REPLAY_UNTIL : REPLAY_FAILED;
}

enum replay_stop share_run(struct replayer *r, const struct share *share,
                           struct error *err)
{
    enum replay_stop stop =
        replayer_run(r, share->is_last ? UINT64_MAX : share->to, err);
    if (stop != REPLAY_UNTIL)
        return stop;
    return replayer_meet_snapshot(r, err);
}
