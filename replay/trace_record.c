#include "replay/trace_record.h"

#include "base/bytes.h"
#include "base/stream.h"

#include <ctype.h>
#include <string.h>

enum { DELETE_AT_ONCE = 4096 };

bool trace_name_ok(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (n == TRACE_NAME_MAX ||
            (!isalnum((unsigned char)name[n]) && !strchr("-_.", name[n])))
            return false;
    return n > 0;
}

void trace_key(uint8_t key[TRACE_KEY_BYTES], uint32_t id, unsigned column,
               uint32_t chunk)
{
    store_be32(key, id);
    key[4] = (uint8_t)column;
    store_be32(key + 5, chunk);
}

bool trace_key_get(const struct store_bytes *k, uint32_t *id, unsigned *column,
                   uint32_t *chunk)
{
    const uint8_t *p = k->data;
    if (k->bytes != TRACE_KEY_BYTES)
        return false;
    *id = load_be32(p);
    *column = p[4];
    *chunk = load_be32(p + 5);
    return true;
}

void trace_head_put(struct store_batch *b, const struct trace_head *head)
{
    uint8_t key[TRACE_KEY_BYTES];
    struct writer w;
    writer_init(&w);
    trace_key(key, head->id, 0, 0);
    writer_u32(&w, TRACE_FORMAT);
    writer_u32(&w, head->what);
    writer_u64(&w, head->from);
    writer_u64(&w, head->to);
    writer_u64(&w, head->rows);
    writer_u64(&w, head->accesses);
    writer_u64(&w, head->devices);
    writer_u64(&w, head->events);
    writer_u64(&w, head->bytes);
    writer_u32(&w, head->chunks);
    writer_u32(&w, head->blocks);
    writer_u8(&w, head->is_finished);
    writer_u8(&w, (uint8_t)strlen(head->name));
    writer_bytes(&w, head->name, strlen(head->name));
    if (w.failed)
        b->bytes.failed = true;
    else
        store_batch_put(b, STORE_TRACES, key, sizeof key, w.data, w.used);
    writer_fini(&w);
}

static void read_fields(struct reader *r, struct trace_head *head)
{
    head->what = reader_u32(r);
    head->from = reader_u64(r);
    head->to = reader_u64(r);
    head->rows = reader_u64(r);
    head->accesses = reader_u64(r);
    head->devices = reader_u64(r);
    head->events = reader_u64(r);
    head->bytes = reader_u64(r);
    head->chunks = reader_u32(r);
    head->blocks = reader_u32(r);
    head->is_finished = reader_u8(r) != 0;
    uint8_t name = reader_u8(r);
    if (name > TRACE_NAME_MAX)
        r->failed = true;
    else
        reader_bytes(r, head->name, name);
}

bool trace_head_get(const struct store_bytes *k, const struct store_bytes *v,
                    struct trace_head *head, const char *where,
                    struct error *err)
{
    struct reader r;
    unsigned column;
    uint32_t chunk;
    *head = (struct trace_head){0};
    reader_init(&r, v->data, v->bytes);
    bool ok = trace_key_get(k, &head->id, &column, &chunk) && column == 0 &&
              chunk == 0;
    uint32_t version = reader_u32(&r);
    if (ok && !r.failed && version > TRACE_FORMAT)
        return error_set(err, ERR_VERSION,
                         "%s: trace %u was made by a newer relive: expected "
                         "format %d or older, found %u",
                         where, head->id, TRACE_FORMAT, version);
    if (ok)
        read_fields(&r, head);
    if (!ok || r.failed || r.at != r.size || !trace_name_ok(head->name) ||
        head->from > head->to)
        return error_set(err, ERR_INPUT,
                         "%s: the head of trace %u is malformed", where,
                         head->id);
    return true;
}

enum store_found trace_head_find(struct store *s, uint32_t id,
                                 struct trace_head *head, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    uint8_t key[TRACE_KEY_BYTES];
    trace_key(key, id, 0, 0);
    if (!store_cursor_open(s, STORE_TRACES, &c, err))
        return STORE_BAD;
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    if (found == STORE_FOUND &&
        !trace_head_get(&k, &v, head, store_path(s), err))
        found = STORE_BAD;
    store_cursor_close(&c);
    return found;
}

/* Keys are read from the view of before, so that one walk meets all. */
bool trace_delete(struct store *s, uint32_t id, struct error *err)
{
    struct store_cursor c;
    struct store_batch b;
    struct store_bytes k, v;
    uint8_t key[TRACE_KEY_BYTES];
    trace_key(key, id, 0, 0);
    if (!store_cursor_open(s, STORE_TRACES, &c, err))
        return false;
    store_batch_init(&b);
    bool ok = true;
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    while (ok && found == STORE_FOUND && k.bytes == TRACE_KEY_BYTES &&
           memcmp(k.data, key, 4) == 0) {
        store_batch_delete(&b, STORE_TRACES, k.data, k.bytes);
        if (b.count == DELETE_AT_ONCE) {
            ok = store_commit(s, &b, err);
            store_batch_reset(&b);
        }
        found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    ok = ok && found != STORE_BAD && store_commit(s, &b, err);
    store_batch_fini(&b);
    return ok;
}
