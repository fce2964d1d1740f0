#include "replay/check.h"

#include "base/bytes.h"
#include "replay/content.h"
#include "replay/mark.h"
#include "replay/page_value.h"
#include "replay/record.h"
#include "replay/session.h"
#include "replay/snapshot.h"
#include "replay/trace_record.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

struct check {
    struct session *session;
    struct check_report *report;
    struct error *err;
    const char *where;
    uint64_t last_tick; /* of the database being walked */
    uint64_t last_insns;
    uint32_t last_events_before;
    uint64_t refs; /* page names in snapshots */
    ZSTD_DCtx *unzip; /* owned */
};

typedef bool check_fn(struct check *c, const struct store_bytes *k,
                      const struct store_bytes *v);

static bool walk(struct check *c, enum store_db db, check_fn *fn)
{
    struct store_cursor cursor;
    struct store_bytes k, v;
    c->last_tick = 0;
    if (!store_cursor_open(c->session->store, db, &cursor, c->err))
        return false;
    enum store_found found =
        store_cursor_seek(&cursor, NULL, 0, &k, &v, c->err);
    bool ok = true;
    while (found == STORE_FOUND && (ok = fn(c, &k, &v)))
        found = store_cursor_next(&cursor, &k, &v, c->err);
    store_cursor_close(&cursor);
    return ok && found != STORE_BAD;
}

/* Ticks never go back and never pass the last commit. */
static bool in_order(struct check *c, const char *what, uint64_t tick)
{
    if (tick < c->last_tick)
        return error_set(
            c->err, ERR_INPUT, "%s: %s: tick %llu follows tick %llu", c->where,
            what, (unsigned long long)tick, (unsigned long long)c->last_tick);
    if (tick > c->session->commit.tick)
        return error_set(c->err, ERR_INPUT,
                         "%s: %s: tick %llu is behind the last commit, tick "
                         "%llu",
                         c->where, what, (unsigned long long)tick,
                         (unsigned long long)c->session->commit.tick);
    c->last_tick = tick;
    return true;
}

static bool numbered(struct check *c, const char *what, uint32_t index,
                     uint64_t expected)
{
    if (index != expected)
        return error_set(c->err, ERR_INPUT,
                         "%s: %s: expected record %llu, found %u", c->where,
                         what, (unsigned long long)expected, index);
    return true;
}

static bool check_ref(void *context, const uint8_t hash[PAGE_HASH_BYTES]);

static bool check_content(struct check *c, const struct store_bytes *v)
{
    struct content content;
    if (!content_unpack(v, &content, c->where, c->err))
        return false;
    bool ok = content_each_ref(&content, check_ref, c);
    content_fini(&content);
    return ok;
}

static bool check_meta(struct check *c, const struct store_bytes *k,
                       const struct store_bytes *v)
{
    uint64_t tick;
    static const char *const names[] = {
        "format", "config", "engine", "build",
        "created", "commit", "seal", "start"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (k->bytes == strlen(names[i]) &&
            memcmp(k->data, names[i], k->bytes) == 0)
            return true;
    if (k->bytes == 8 && memcmp(k->data, "media/", 6) == 0)
        return true;
    if (k->bytes == 10 && memcmp(k->data, "content/", 8) == 0)
        return check_content(c, v);
    if (mark_key_get(k, &tick) && v->bytes <= MARK_TEXT_MAX)
        return true;
    return error_set(c->err, ERR_INPUT, "%s: meta: unknown key of %zu bytes",
                     c->where, k->bytes);
}

static bool check_event(struct check *c, const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct event e;
    uint32_t index;
    if (!event_record_get(k, v, &index, &e, c->where, c->err) ||
        !in_order(c, "events", e.tick) ||
        !numbered(c, "events", index, c->report->events))
        return false;
    c->report->events++;
    if (e.type == EVENT_TYPE_END &&
        c->report->events != c->session->commit.events)
        return error_set(c->err, ERR_INPUT,
                         "%s: events: END is record %u of %u", c->where, index,
                         c->session->commit.events);
    return true;
}

static bool check_digest(struct check *c, const struct store_bytes *k,
                         const struct store_bytes *v)
{
    struct digest_record d;
    if (!digest_record_get(k, v, &d, c->where, c->err) ||
        !in_order(c, "digests", d.tick))
        return false;
    if (d.insns < c->last_insns || d.events_before < c->last_events_before ||
        d.events_before > c->session->commit.events)
        return error_set(c->err, ERR_INPUT,
                         "%s: digest at tick %llu: %llu instructions and %u "
                         "events do not follow the digest before it",
                         c->where, (unsigned long long)d.tick,
                         (unsigned long long)d.insns, d.events_before);
    c->last_insns = d.insns;
    c->last_events_before = d.events_before;
    c->report->digests++;
    return true;
}

static bool check_output(struct check *c, const struct store_bytes *k,
                         const struct store_bytes *v)
{
    struct output_chunks chunks;
    struct output_chunk chunk;
    uint32_t index;
    if (!output_chunks_begin(&chunks, k, v, &index, c->where, c->err) ||
        !numbered(c, "output", index, c->report->outputs))
        return false;
    while (output_chunks_next(&chunks, &chunk))
        if (!in_order(c, "output", chunk.tick))
            return false;
    if (!chunks.ok)
        return error_set(c->err, ERR_INPUT, "%s: output record %u is malformed",
                         c->where, index);
    c->report->outputs++;
    return true;
}

static bool check_page(struct check *c, const struct store_bytes *k,
                       const struct store_bytes *v)
{
    uint8_t page[PAGE_DATA_BYTES], buffer[PAGE_VALUE_MAX];
    struct store_bytes whole;
    if (k->bytes != PAGE_HASH_BYTES && k->bytes != PAGE_TAIL_KEY_BYTES)
        return error_set(c->err, ERR_INPUT,
                         "%s: pages: expected a key of %d or %d bytes, found "
                         "%zu",
                         c->where, PAGE_HASH_BYTES, PAGE_TAIL_KEY_BYTES,
                         k->bytes);
    enum store_found found = page_value_get(c->session->store, k->data, buffer,
                                            &whole, c->err);
    if (found == STORE_NONE)
        return error_set(c->err, ERR_INPUT,
                         "%s: page %016llx has a tail and no head", c->where,
                         (unsigned long long)load_be64(k->data));
    if (found != STORE_FOUND)
        return false;
    if (k->bytes == PAGE_TAIL_KEY_BYTES) /* was read with its head */
        return true;
    (void)v;
    if (!snapshot_page_unpack(c->unzip, k->data, &whole, page, c->where,
                              c->err))
        return false;
    c->report->pages++;
    c->report->page_bytes += sizeof page;
    return true;
}

static bool check_ref(void *context, const uint8_t hash[PAGE_HASH_BYTES])
{
    struct check *c = context;
    struct store_bytes v;
    c->refs++;
    enum store_found found = store_get(c->session->store, STORE_PAGES, hash,
                                       PAGE_HASH_BYTES, &v, c->err);
    if (found == STORE_NONE)
        return error_set(c->err, ERR_INPUT,
                         "%s: page %016llx is named, and missing",
                         c->where, (unsigned long long)load_be64(hash));
    return found == STORE_FOUND;
}

static bool check_base(struct check *c, const struct snapshot *snap)
{
    uint8_t key[KEY_TICK_BYTES];
    struct store_bytes v;
    if (snap->base == SNAPSHOT_WHOLE)
        return true;
    key_tick(key, snap->base);
    enum store_found found = store_get(c->session->store, STORE_SNAPSHOTS, key,
                                       sizeof key, &v, c->err);
    if (found == STORE_NONE)
        return error_set(c->err, ERR_INPUT,
                         "%s: the snapshot at tick %llu stands on one at tick "
                         "%llu, which is missing",
                         c->where, (unsigned long long)snap->tick,
                         (unsigned long long)snap->base);
    return found == STORE_FOUND;
}

static bool check_snapshot(struct check *c, const struct store_bytes *k,
                           const struct store_bytes *v)
{
    struct snapshot snap;
    if (!snapshot_unpack(k, v, &snap, c->where, c->err))
        return false;
    bool ok = in_order(c, "snapshots", snap.tick) && check_base(c, &snap) &&
              snapshot_each_ref(&snap, check_ref, c);
    if (ok && snap.events_before > c->session->commit.events)
        ok = error_set(c->err, ERR_INPUT,
                       "%s: snapshot at tick %llu: after %u events, %u exist",
                       c->where, (unsigned long long)snap.tick,
                       snap.events_before, c->session->commit.events);
    snapshot_fini(&snap);
    c->report->snapshots++;
    return ok;
}

/* Checksums, keys and heads; what the columns hold is for those who can read
 * them. */
static bool check_trace(struct check *c, const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct trace_head head;
    unsigned column;
    uint32_t id, chunk;
    if (!trace_key_get(k, &id, &column, &chunk))
        return error_set(c->err, ERR_INPUT,
                         "%s: traces: expected a key of %d bytes, found %zu",
                         c->where, TRACE_KEY_BYTES, k->bytes);
    return column || trace_head_get(k, v, &head, c->where, c->err);
}

/* The last commit says how many records there are. */
static bool check_counts(struct check *c)
{
    const struct commit_record *want = &c->session->commit;
    const struct check_report *got = c->report;
    if (got->events == want->events && got->digests == want->digests &&
        got->outputs == want->outputs)
        return true;
    return error_set(c->err, ERR_INPUT,
                     "%s: expected %u events, %u digests and %u output "
                     "records, found %llu, %llu and %llu",
                     c->where, want->events, want->digests, want->outputs,
                     (unsigned long long)got->events,
                     (unsigned long long)got->digests,
                     (unsigned long long)got->outputs);
}

bool session_check(const char *path, struct check_report *report,
                   struct error *err)
{
    struct check c = {.report = report, .err = err, .where = path};
    *report = (struct check_report){0};
    if (!session_open(path, &c.session, err))
        return false;
    c.unzip = ZSTD_createDCtx();
    bool ok = c.unzip ||
              error_set(err, ERR_NOMEM, "%s: out of memory", path);
    ok = ok && walk(&c, STORE_META, check_meta) &&
              walk(&c, STORE_EVENTS, check_event) &&
              walk(&c, STORE_DIGESTS, check_digest) &&
              walk(&c, STORE_OUTPUT, check_output) && check_counts(&c) &&
              walk(&c, STORE_TRACES, check_trace);
    /* Snapshots of version 1 are not used, and were laid out otherwise. */
    if (ok && c.session->format >= SNAPSHOT_FORMAT)
        ok = walk(&c, STORE_PAGES, check_page) &&
             walk(&c, STORE_SNAPSHOTS, check_snapshot);
    if (ok && report->pages > 0 && report->snapshots == 0)
        (void)snprintf(report->warning, sizeof report->warning,
                       "%.200s: pages exist, but no snapshot names them", path);
    report->torn = c.session->torn;
    report->sealed = c.session->sealed;
    if (ok && report->torn)
        session_warning(c.session, report->warning, sizeof report->warning);
    (void)ZSTD_freeDCtx(c.unzip);
    session_close(c.session);
    return ok;
}
