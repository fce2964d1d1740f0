#include "replay/copy.h"

#include "base/bytes.h"
#include "replay/copy_snapshots.h"
#include "replay/mark.h"
#include "replay/record.h"
#include "replay/session.h"
#include "replay/store.h"
#include "replay/trace_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_BYTES = 8 << 20 };

struct copy {
    struct session *session; /* owned: what is copied */
    struct store *out;       /* owned */
    struct store_batch batch;
    uint64_t from, to;      /* ticks of the copy */
    bool keeps_trace;       /* the one whose records are met */
    uint32_t first_event;   /* index in the session */
    struct commit_record commit;
    struct output_gather *output; /* owned */
    struct output_chunks *chunks; /* owned */
    struct error *err;
};

static const char *where(const struct copy *c)
{
    return store_path(c->session->store);
}

static bool flush(struct copy *c, size_t above)
{
    if (c->batch.bytes.used <= above && !c->batch.bytes.failed)
        return true;
    bool ok = store_commit(c->out, &c->batch, c->err);
    store_batch_reset(&c->batch);
    return ok;
}

/* ---- one database after the other -------------------------------------------
 */

typedef bool copy_fn(struct copy *c, const struct store_bytes *k,
                     const struct store_bytes *v);

static bool each(struct copy *c, enum store_db db, copy_fn *fn)
{
    struct store_cursor cursor;
    struct store_bytes k, v;
    if (!store_cursor_open(c->session->store, db, &cursor, c->err))
        return false;
    enum store_found found =
        store_cursor_seek(&cursor, NULL, 0, &k, &v, c->err);
    bool ok = true;
    while (found == STORE_FOUND &&
           (ok = fn(c, &k, &v) && flush(c, BATCH_BYTES)))
        found = store_cursor_next(&cursor, &k, &v, c->err);
    store_cursor_close(&cursor);
    return ok && found != STORE_BAD;
}

/* What is written anew is left out. */
static bool copy_meta(struct copy *c, const struct store_bytes *k,
                      const struct store_bytes *v)
{
    static const char *const own[] = {"format", "commit", "seal", "start"};
    uint64_t tick;
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++)
        if (k->bytes == strlen(own[i]) &&
            memcmp(k->data, own[i], k->bytes) == 0)
            return true;
    if (mark_key_get(k, &tick) && (tick < c->from || tick > c->to))
        return true;
    store_batch_put(&c->batch, STORE_META, k->data, k->bytes, v->data,
                    v->bytes);
    return true;
}

static bool copy_event(struct copy *c, const struct store_bytes *k,
                       const struct store_bytes *v)
{
    struct event e;
    uint32_t index;
    if (!event_record_get(k, v, &index, &e, where(c), c->err))
        return false;
    if (index < c->first_event || e.tick > c->to ||
        (e.type == EVENT_TYPE_END && c->to < c->session->end_tick))
        return true;
    event_record_put(&c->batch, c->commit.events++, &e);
    c->commit.clean = e.type == EVENT_TYPE_END;
    return true;
}

/* A part that ends before the session does ends as if it had been asked to. */
static void put_end(struct copy *c)
{
    struct event e = {.tick = c->to, .type = EVENT_TYPE_END, .bytes = 5};
    if (c->to >= c->session->end_tick)
        return;
    e.payload[0] = STOP_TICK;
    event_record_put(&c->batch, c->commit.events++, &e);
    c->commit.clean = true;
}

static bool copy_digest(struct copy *c, const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct digest_record d;
    if (!digest_record_get(k, v, &d, where(c), c->err))
        return false;
    if (d.tick < c->from || d.tick > c->to ||
        d.events_before < c->first_event)
        return true;
    d.events_before -= c->first_event;
    digest_record_put(&c->batch, &d);
    c->commit.digests++;
    c->commit.insns = d.insns;
    return true;
}

static bool copy_output(struct copy *c, const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct output_chunk chunk;
    uint32_t index;
    if (!output_chunks_begin(c->chunks, k, v, &index, where(c), c->err))
        return false;
    while (output_chunks_next(c->chunks, &chunk))
        if (chunk.tick >= c->from && chunk.tick <= c->to)
            output_gather_add(c->output, &c->batch, chunk.tick, chunk.channel,
                              chunk.bytes, chunk.count);
    return c->chunks->ok || error_set(c->err, ERR_INPUT,
                                      "%s: output record %u is malformed",
                                      where(c), index);
}

/* A trace is kept when all of it lies in the copy. Its head, which comes before
 * its columns, tells. */
static bool copy_trace(struct copy *c, const struct store_bytes *k,
                       const struct store_bytes *v)
{
    struct trace_head head;
    unsigned column;
    uint32_t id, chunk;
    if (!trace_key_get(k, &id, &column, &chunk))
        return error_set(c->err, ERR_INPUT,
                         "%s: damaged: a key of %zu bytes in traces", where(c),
                         k->bytes);
    if (column == 0) {
        if (!trace_head_get(k, v, &head, where(c), c->err))
            return false;
        c->keeps_trace = head.from >= c->from && head.to <= c->to;
    }
    if (c->keeps_trace)
        store_batch_put(&c->batch, STORE_TRACES, k->data, k->bytes, v->data,
                        v->bytes);
    return true;
}

static bool copy_log(struct copy *c)
{
    uint8_t start[8];
    store_le64(start, c->from);
    if (c->from > 0)
        store_batch_put(&c->batch, STORE_META, "start", 5, start, sizeof start);
    if (!each(c, STORE_META, copy_meta) || !each(c, STORE_EVENTS, copy_event))
        return false;
    put_end(c);
    if (!each(c, STORE_DIGESTS, copy_digest) ||
        !each(c, STORE_OUTPUT, copy_output) ||
        !each(c, STORE_TRACES, copy_trace))
        return false;
    output_gather_flush(c->output, &c->batch);
    c->commit.outputs = c->output->index;
    c->commit.tick = c->to;
    commit_record_put(&c->batch, &c->commit);
    return true;
}

/* ---- the whole --------------------------------------------------------------
 */

static bool copy_all(struct copy *c, const struct copy_options *options,
                     struct copy_report *report)
{
    struct snapshot_copy snapshots;
    bool ok = snapshot_copy_read(&snapshots, c->session, options->from, c->to,
                                 options->budget, c->err);
    if (ok) {
        c->from = snapshots.from;
        c->first_event = snapshots.first_event;
        report->from = c->from;
        report->to = c->to;
        report->snapshots = snapshots.count;
        report->dropped_snapshots = snapshots.dropped;
        ok = copy_log(c) &&
             snapshot_copy_write(&snapshots, c->out, &c->batch, c->err) &&
             (!options->extra || options->extra(options->extra_context, c->out,
                                                &c->batch, c->err)) &&
             flush(c, 0) && store_seal(c->out, c->err);
    }
    snapshot_copy_fini(&snapshots);
    return ok;
}

bool session_copy(const char *from, const char *to,
                  const struct copy_options *options,
                  struct copy_report *report, struct error *err)
{
    struct copy c = {.err = err};
    *report = (struct copy_report){0};
    if (!session_open(from, &c.session, err))
        return false;
    uint64_t end = c.session->end_tick;
    c.to = options->to < end ? options->to : end;
    c.output = calloc(1, sizeof *c.output);
    c.chunks = calloc(1, sizeof *c.chunks);
    store_batch_init(&c.batch);
    bool ok = c.output && c.chunks;
    if (!ok)
        error_set(err, ERR_NOMEM, "%s: out of memory", from);
    else if (options->from > end || options->from > options->to)
        ok = error_set(err, ERR_USAGE,
                       "%s: expected a part from 0 to %llu, found %llu to %llu",
                       from, (unsigned long long)end,
                       (unsigned long long)options->from,
                       (unsigned long long)options->to);
    ok = ok && store_create(to, 0, &c.out, err);
    if (ok) {
        ok = copy_all(&c, options, report);
        report->bytes_before = store_file_bytes(c.session->store);
        report->bytes_after = store_file_bytes(c.out);
        if (ok)
            store_close(c.out);
        else
            store_discard(c.out);
    }
    store_batch_fini(&c.batch);
    free(c.output);
    free(c.chunks);
    session_close(c.session);
    return ok;
}

/* ---- in place ---------------------------------------------------------------
 */

static bool sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

void session_copy_remove(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char name[4300];
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "%.4200s/%s", path, files[i]);
        (void)unlink(name);
    }
    (void)rmdir(path);
}

bool session_compact(const char *path, uint64_t budget,
                     struct copy_report *report, struct error *err)
{
    const struct copy_options options = {.to = UINT64_MAX, .budget = budget};
    char temporary[4200], from[4300], to[4200];
    int bytes = snprintf(temporary, sizeof temporary, "%s/compact.tmp", path);
    if (bytes < 0 || (size_t)bytes >= 4100)
        return error_set(err, ERR_USAGE, "%.200s: the path is too long", path);
    (void)snprintf(from, sizeof from, "%s/data.mdb", temporary);
    (void)snprintf(to, sizeof to, "%s/data.mdb", path);
    /* Of a compaction that was killed. */
    session_copy_remove(temporary);
    if (!session_copy(path, temporary, &options, report, err))
        return false;
    bool ok = rename(from, to) == 0 && sync_directory(path);
    if (!ok)
        error_set(err, ERR_IO, "%s: %s", to, strerror(errno));
    session_copy_remove(temporary);
    return ok;
}
