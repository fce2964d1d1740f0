#include "base/bytes.h"
#include "replay/store_internal.h"

#include <stdio.h>
#include <string.h>

/* A key for a sentence: text for meta, otherwise hexadecimal. */
static void key_text(enum store_db db, const MDB_val *k, char *text,
                     size_t text_bytes)
{
    const uint8_t *p = k->mv_data;
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < k->mv_size && at + 3 < text_bytes; i++) {
        if (db == STORE_META && p[i] >= 0x20 && p[i] < 0x7f)
            at += (size_t)snprintf(text + at, text_bytes - at, "%c", p[i]);
        else
            at += (size_t)snprintf(text + at, text_bytes - at, "%02x", p[i]);
    }
}

static enum store_found damaged(const struct store *s, enum store_db db,
                                const MDB_val *k, const char *how,
                                struct error *err)
{
    char name[2 * STORE_KEY_MAX + 4];
    key_text(db, k, name, sizeof name);
    error_set(err, ERR_INPUT, "%s: damaged: record %s of %s %s", s->path, name,
              store_db_name(db), how);
    return STORE_BAD;
}

static enum store_found take(const struct store *s, enum store_db db,
                             const MDB_val *k, const MDB_val *v,
                             struct store_bytes *value, struct error *err)
{
    unsigned sum_bytes = store_sum_bytes(db);
    if (v->mv_size < sum_bytes)
        return damaged(s, db, k, "is shorter than its checksum", err);
    size_t bytes = v->mv_size - sum_bytes;
    uint8_t sum[8];
    store_le64(sum, store_sum(db, k->mv_data, k->mv_size, v->mv_data, bytes));
    if (memcmp(sum, (const uint8_t *)v->mv_data + bytes, sum_bytes) != 0)
        return damaged(s, db, k, "does not match its checksum", err);
    *value = (struct store_bytes){v->mv_data, bytes};
    return STORE_FOUND;
}

enum store_found store_get(struct store *s, enum store_db db, const void *key,
                           size_t key_bytes, struct store_bytes *value,
                           struct error *err)
{
    MDB_val k = {.mv_size = key_bytes, .mv_data = (void *)(uintptr_t)key};
    MDB_val v;
    if (s->dbi[db] == STORE_NO_DBI)
        return STORE_NONE;
    int code = mdb_get(s->txn, s->dbi[db], &k, &v);
    if (code == MDB_NOTFOUND)
        return STORE_NONE;
    if (code) {
        store_fail(s, code, "reading", err);
        return STORE_BAD;
    }
    return take(s, db, &k, &v, value, err);
}

enum store_found store_fetch(struct store *s, enum store_db db, const void *key,
                             size_t key_bytes, struct writer *out,
                             struct error *err)
{
    MDB_val k = {.mv_size = key_bytes, .mv_data = (void *)(uintptr_t)key};
    MDB_val v;
    MDB_txn *txn;
    struct store_bytes value;
    enum store_found found = STORE_NONE;
    (void)pthread_mutex_lock(&s->lock);
    int code = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (!code) {
        code = mdb_get(txn, s->dbi[db], &k, &v);
        if (!code)
            found = take(s, db, &k, &v, &value, err);
        if (found == STORE_FOUND)
            writer_bytes(out, value.data, value.bytes);
        mdb_txn_abort(txn);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!code || code == MDB_NOTFOUND)
        return found;
    store_fail(s, code, "reading", err);
    return STORE_BAD;
}

bool store_cursor_open(struct store *s, enum store_db db,
                       struct store_cursor *c, struct error *err)
{
    MDB_cursor *cursor;
    *c = (struct store_cursor){.store = s, .db = db};
    if (s->dbi[db] == STORE_NO_DBI)
        return true;
    int code = mdb_cursor_open(s->txn, s->dbi[db], &cursor);
    if (code)
        return store_fail(s, code, "reading", err);
    c->handle = cursor;
    return true;
}

void store_cursor_close(struct store_cursor *c)
{
    if (c->handle)
        mdb_cursor_close(c->handle);
    c->handle = NULL;
}

static enum store_found cursor_get(struct store_cursor *c, MDB_val *key,
                                   MDB_cursor_op op, struct store_bytes *k,
                                   struct store_bytes *v, struct error *err)
{
    MDB_val value;
    if (!c->handle)
        return STORE_NONE;
    int code = mdb_cursor_get(c->handle, key, &value, op);
    if (code == MDB_NOTFOUND)
        return STORE_NONE;
    if (code) {
        store_fail(c->store, code, "reading", err);
        return STORE_BAD;
    }
    *k = (struct store_bytes){key->mv_data, key->mv_size};
    return take(c->store, c->db, key, &value, v, err);
}

enum store_found store_cursor_seek(struct store_cursor *c, const void *key,
                                   size_t key_bytes, struct store_bytes *k,
                                   struct store_bytes *v, struct error *err)
{
    MDB_val at = {.mv_size = key_bytes, .mv_data = (void *)(uintptr_t)key};
    return cursor_get(c, &at, key ? MDB_SET_RANGE : MDB_FIRST, k, v, err);
}

enum store_found store_cursor_next(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err)
{
    MDB_val at = {0};
    return cursor_get(c, &at, MDB_NEXT, k, v, err);
}

enum store_found store_cursor_prev(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err)
{
    MDB_val at = {0};
    return cursor_get(c, &at, MDB_PREV, k, v, err);
}

enum store_found store_cursor_last(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err)
{
    MDB_val at = {0};
    return cursor_get(c, &at, MDB_LAST, k, v, err);
}

bool store_stats(struct store *s, enum store_db db, struct store_stats *out,
                 struct error *err)
{
    MDB_stat st;
    *out = (struct store_stats){0};
    if (s->dbi[db] == STORE_NO_DBI)
        return true;
    int code = mdb_stat(s->txn, s->dbi[db], &st);
    if (code)
        return store_fail(s, code, "reading", err);
    out->records = st.ms_entries;
    out->file_bytes =
        (st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) *
        (uint64_t)st.ms_psize;
    return true;
}
