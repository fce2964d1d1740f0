#include "analysis/trace_read.h"

#include "analysis/trace_code.h"
#include "analysis/trace_stream.h"

#include <stdlib.h>
#include <string.h>

struct trace {
    struct store *store; /* borrowed */
    struct trace_head head;
    struct trace_blocks blocks;
    struct trace_coder *coder; /* owned */
    struct trace_zip *zip;     /* owned */
    struct trace_index *index; /* owned: one for each chunk */
    bool *has_index;           /* owned */
};

const struct trace_head *trace_head_of(const struct trace *t)
{
    return &t->head;
}

const struct trace_blocks *trace_blocks_of(const struct trace *t)
{
    return &t->blocks;
}

void trace_close(struct trace *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; t->index && i < t->head.chunks; i++)
        trace_index_fini(&t->index[i]);
    free(t->index);
    free(t->has_index);
    trace_blocks_fini(&t->blocks);
    trace_coder_free(t->coder);
    trace_zip_free(t->zip);
    free(t);
}

static bool damaged(const struct trace *t, unsigned column, uint32_t chunk,
                    const char *how, struct error *err)
{
    return error_set(
        err, ERR_INPUT, "%s: damaged: chunk %u of column %s of trace %s %s",
        store_path(t->store), chunk,
        trace_column_name((enum trace_column)column), t->head.name, how);
}

static enum store_found get(struct trace *t, unsigned column, uint32_t chunk,
                            struct store_bytes *v, struct error *err)
{
    uint8_t key[TRACE_KEY_BYTES];
    trace_key(key, t->head.id, column, chunk);
    return store_get(t->store, STORE_TRACES, key, sizeof key, v, err);
}

/* Blocks of all chunks, in order. */
static bool read_blocks(struct trace *t, struct error *err)
{
    struct writer w;
    bool ok = true;
    writer_init(&w);
    for (uint32_t i = 0; ok && i < t->head.chunks; i++) {
        struct store_bytes v;
        struct reader value, r;
        enum store_found found = get(t, TRACE_COLUMN_BLOCKS, i, &v, err);
        if (found == STORE_NONE)
            continue;
        ok = found == STORE_FOUND;
        if (!ok)
            break;
        reader_init(&value, v.data, v.bytes);
        ok = trace_unpack(t->zip, &value, &w);
        reader_init(&r, w.data, ok ? w.used : 0);
        ok = ok && trace_blocks_read(&t->blocks, &r) && r.at == r.size;
        if (!ok)
            damaged(t, TRACE_COLUMN_BLOCKS, i, "is malformed", err);
    }
    writer_fini(&w);
    if (ok && t->blocks.count - 1 != t->head.blocks)
        ok = error_set(err, ERR_INPUT,
                       "%s: damaged: expected %u blocks in trace %s, found %u",
                       store_path(t->store), t->head.blocks, t->head.name,
                       t->blocks.count - 1);
    return ok;
}

static bool find_head(struct store *s, const char *name,
                      struct trace_head *head, struct error *err)
{
    struct trace_head one;
    enum store_found found;
    bool any = false;
    for (uint32_t id = 0;
         (found = trace_head_find(s, id, &one, err)) == STORE_FOUND;
         id = one.id + 1)
        if (!name || strcmp(name, one.name) == 0) {
            *head = one;
            any = true;
        }
    if (found == STORE_BAD)
        return false;
    if (any)
        return true;
    return name
               ? error_set(err, ERR_USAGE, "%s: there is no trace named %.100s",
                           store_path(s), name)
               : error_set(err, ERR_USAGE, "%s: there are no traces",
                           store_path(s));
}

bool trace_open(const struct session *s, const char *name, struct trace **out,
                struct error *err)
{
    struct trace_head head;
    if (!find_head(s->store, name, &head, err))
        return false;
    struct trace *t = calloc(1, sizeof *t);
    bool ok = t != NULL;
    if (ok) {
        t->store = s->store;
        t->head = head;
        t->coder = trace_coder_new();
        t->zip = trace_zip_new();
        t->index = calloc((size_t)head.chunks + 1, sizeof *t->index);
        t->has_index = calloc((size_t)head.chunks + 1, sizeof *t->has_index);
        ok = trace_blocks_init(&t->blocks) && t->coder && t->zip && t->index &&
             t->has_index;
    }
    if (!ok)
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s->store));
    if (ok && read_blocks(t, err)) {
        *out = t;
        return true;
    }
    trace_close(t);
    return false;
}

const struct trace_index *trace_index_of(struct trace *t, uint32_t chunk,
                                         struct error *err)
{
    struct store_bytes v;
    if (t->has_index[chunk])
        return &t->index[chunk];
    enum store_found found = get(t, TRACE_COLUMN_INDEX, chunk, &v, err);
    if (found == STORE_NONE)
        damaged(t, TRACE_COLUMN_INDEX, chunk, "is missing", err);
    if (found != STORE_FOUND)
        return NULL;
    if (!trace_index_read(&t->index[chunk], t->zip, v.data, v.bytes)) {
        damaged(t, TRACE_COLUMN_INDEX, chunk, "is malformed", err);
        return NULL;
    }
    t->has_index[chunk] = true;
    return &t->index[chunk];
}

/* What the trace must have for a column to exist. */
static unsigned what_of(unsigned column)
{
    static const uint8_t what[TRACE_COLUMNS] = {
        [TRACE_COLUMN_FLOW] = TRACE_FLOW,
        [TRACE_COLUMN_ACCESSES] = TRACE_MEM,
        [TRACE_COLUMN_BYTES] = TRACE_MEM,
        [TRACE_COLUMN_REGISTERS] = TRACE_REGS,
        [TRACE_COLUMN_DEVICES] = TRACE_IO,
        [TRACE_COLUMN_EVENTS] = TRACE_EVENTS};
    return what[column];
}

bool trace_load(struct trace *t, uint32_t chunk, unsigned columns,
                struct trace_chunk *c, struct error *err)
{
    trace_chunk_reset(c);
    for (unsigned column = TRACE_COLUMN_FLOW; column < TRACE_COLUMNS;
         column++) {
        struct store_bytes v;
        if (!(columns >> column & 1) || !(what_of(column) & t->head.what))
            continue;
        enum store_found found = get(t, column, chunk, &v, err);
        if (found == STORE_NONE)
            return damaged(t, column, chunk, "is missing", err);
        if (found != STORE_FOUND)
            return false;
        if (!trace_decode(t->coder, (enum trace_column)column, v.data, v.bytes,
                          &t->blocks, c))
            return damaged(t, column, chunk, "is malformed", err);
    }
    return true;
}

/* ---- checking ---------------------------------------------------------------
 */

static bool check_one(struct trace *t, struct trace_check_report *report,
                      struct error *err)
{
    struct trace_chunk c = {0};
    uint64_t rows = 0, accesses = 0;
    bool ok = true;
    for (uint32_t i = 0; ok && i < t->head.chunks; i++) {
        const struct trace_index *x = trace_index_of(t, i, err);
        ok = x && trace_load(t, i, UINT32_MAX, &c, err);
        if (ok && (x->rows != c.rows || x->accesses != c.accesses.count))
            ok = damaged(t, TRACE_COLUMN_INDEX, i, "counts other rows", err);
        rows += c.rows;
        accesses += c.accesses.count;
    }
    trace_chunk_fini(&c);
    if (ok && (rows != t->head.rows || accesses != t->head.accesses))
        ok = error_set(err, ERR_INPUT,
                       "%s: damaged: expected %llu rows in trace %s, found "
                       "%llu",
                       store_path(t->store), (unsigned long long)t->head.rows,
                       t->head.name, (unsigned long long)rows);
    report->traces++;
    report->unfinished += !t->head.is_finished;
    report->chunks += t->head.chunks;
    report->rows += rows;
    return ok;
}

bool trace_check(const struct session *s, struct trace_check_report *report,
                 struct error *err)
{
    struct trace_head head;
    enum store_found found;
    *report = (struct trace_check_report){0};
    for (uint32_t id = 0;
         (found = trace_head_find(s->store, id, &head, err)) == STORE_FOUND;
         id = head.id + 1) {
        struct trace *t;
        if (!trace_open(s, head.name, &t, err))
            return false;
        bool ok = check_one(t, report, err);
        trace_close(t);
        if (!ok)
            return false;
    }
    return found == STORE_NONE;
}
