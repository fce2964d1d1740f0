#include "replay/copy_snapshots.h"

#include "replay/content.h"
#include "replay/page_value.h"
#include "replay/record.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_BYTES = 8 << 20 };

static bool no_memory(const struct snapshot_copy *c, struct error *err)
{
    return error_set(err, ERR_NOMEM, "%s: out of memory", store_path(c->store));
}

void snapshot_copy_fini(struct snapshot_copy *c)
{
    for (size_t i = 0; i < c->count; i++)
        snapshot_fini(&c->snapshots[i]);
    free(c->snapshots);
    page_refs_fini(&c->refs);
    thin_fini(&c->thin);
    *c = (struct snapshot_copy){0};
}

/* ---- reading ----------------------------------------------------------------
 */

/* Takes the snapshot. Each stands on the one before it, or on nothing. */
static bool append(struct snapshot_copy *c, struct snapshot *snap,
                   struct error *err)
{
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 64;
        struct snapshot *more = realloc(c->snapshots, capacity * sizeof *more);
        if (!more) {
            snapshot_fini(snap);
            return no_memory(c, err);
        }
        c->snapshots = more;
        c->capacity = capacity;
    }
    uint64_t before = c->count ? c->snapshots[c->count - 1].tick : 0;
    bool ok = snap->base == SNAPSHOT_WHOLE ||
              (c->count > 0 && snap->base == before);
    c->snapshots[c->count++] = *snap;
    return ok || error_set(err, ERR_INPUT,
                           "%s: damaged: the snapshot at tick %llu stands on "
                           "one at tick %llu, expected %llu",
                           store_path(c->store), (unsigned long long)snap->tick,
                           (unsigned long long)snap->base,
                           (unsigned long long)before);
}

/* Snapshot i+1 takes over from snapshot i. */
static bool drop(struct snapshot_copy *c, size_t i, snapshot_hash_fn *dropped,
                 struct error *err)
{
    struct snapshot merged, *older = &c->snapshots[i], *newer = older + 1;
    if (newer->base != SNAPSHOT_WHOLE) {
        if (!snapshot_merge(older, newer, &merged, dropped, c, err))
            return false;
        snapshot_fini(newer);
        *newer = merged;
    } else if (dropped) {
        for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
            for (uint32_t n = 0; n < older->list[l].count; n++)
                dropped(c, older->list[l].entries +
                               (size_t)n * SNAPSHOT_ENTRY_BYTES + 4);
    }
    snapshot_fini(older);
    memmove(older, newer, (c->count - i - 1) * sizeof *older);
    c->count--;
    return true;
}

static bool read_all(struct snapshot_copy *c, uint64_t from, uint64_t to,
                     struct error *err)
{
    struct store_cursor cursor;
    struct store_bytes k, v;
    struct snapshot snap;
    if (!store_cursor_open(c->store, STORE_SNAPSHOTS, &cursor, err))
        return false;
    enum store_found found = store_cursor_seek(&cursor, NULL, 0, &k, &v, err);
    bool ok = true;
    while (ok && found == STORE_FOUND) {
        ok = snapshot_unpack(&k, &v, &snap, store_path(c->store), err);
        if (ok && snap.tick > to) {
            snapshot_fini(&snap);
            break;
        }
        ok = ok && append(c, &snap, err);
        /* Only the last at or below `from` counts. */
        if (ok && c->count == 2 && c->snapshots[1].tick <= from) {
            ok = drop(c, 0, NULL, err);
            c->dropped++;
        }
        if (ok)
            found = store_cursor_next(&cursor, &k, &v, err);
    }
    store_cursor_close(&cursor);
    return ok && found != STORE_BAD;
}

/* ---- thinning ---------------------------------------------------------------
 */

struct count_refs {
    struct snapshot_copy *copy;
    struct error *err;
};

static bool count_ref(void *context, const uint8_t hash[PAGE_HASH_BYTES])
{
    struct count_refs *r = context;
    struct snapshot_copy *c = r->copy;
    struct store_bytes v;
    struct page_ref *ref = page_refs_add(&c->refs, hash);
    if (!ref)
        return no_memory(c, r->err);
    if (ref->refs > 1)
        return true;
    uint8_t buffer[PAGE_VALUE_MAX];
    enum store_found found = page_value_get(c->store, hash, buffer, &v, r->err);
    if (found == STORE_NONE)
        error_set(r->err, ERR_INPUT,
                  "%s: damaged: a snapshot names a page that is missing",
                  store_path(c->store));
    if (found != STORE_FOUND)
        return false;
    ref->bytes = (uint32_t)v.bytes;
    c->page_bytes += v.bytes;
    return true;
}

static void uncount_ref(void *context, const uint8_t hash[PAGE_HASH_BYTES])
{
    struct snapshot_copy *c = context;
    struct page_ref *ref =
        snapshot_hash_is_none(hash) ? NULL : page_refs_remove(&c->refs, hash);
    if (ref && ref->refs == 0)
        c->page_bytes -= ref->bytes;
}

/* Names are counted at their length before compression. */
static uint64_t record_bytes(const struct snapshot *s)
{
    uint64_t bytes = s->devices_bytes;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        bytes += (uint64_t)s->list[l].count * SNAPSHOT_ENTRY_BYTES;
    return bytes;
}

static bool thin_out(struct snapshot_copy *c, uint64_t budget,
                     struct error *err)
{
    uint64_t tick, next;
    while (budget && c->page_bytes + c->thin.bytes > budget &&
           thin_choose(&c->thin, UINT64_MAX, &tick, &next)) {
        size_t i = 0;
        while (c->snapshots[i].tick != tick)
            i++;
        if (!drop(c, i, uncount_ref, err))
            return false;
        thin_remove(&c->thin, tick);
        c->dropped++;
        if (!thin_put(&c->thin, next, record_bytes(&c->snapshots[i])))
            return no_memory(c, err);
    }
    return true;
}

/* Pages of packed media stay, whoever else names them. */
static bool count_contents(const struct session *s, struct count_refs *refs,
                           struct error *err)
{
    for (unsigned i = 0; i < s->media_count; i++) {
        struct content content;
        enum store_found found = content_find(s, i, &content, err);
        if (found == STORE_NONE)
            continue;
        bool ok = found == STORE_FOUND &&
                  content_each_ref(&content, count_ref, refs);
        content_fini(&content);
        if (!ok)
            return false;
    }
    return true;
}

bool snapshot_copy_read(struct snapshot_copy *c, const struct session *s,
                        uint64_t from, uint64_t to, uint64_t budget,
                        struct error *err)
{
    *c = (struct snapshot_copy){.store = s->store};
    if (from < s->start_tick)
        from = s->start_tick;
    struct count_refs refs = {c, err};
    page_refs_init(&c->refs);
    thin_init(&c->thin);
    if (s->format < SNAPSHOT_FORMAT)
        return true; /* from the start, without any */
    if (!read_all(c, from, to, err))
        return false;
    for (size_t i = 0; i < c->count; i++)
        if (!snapshot_each_ref(&c->snapshots[i], count_ref, &refs) ||
            !thin_put(&c->thin, c->snapshots[i].tick,
                      record_bytes(&c->snapshots[i])))
            return false;
    if (!thin_out(c, budget, err) || !count_contents(s, &refs, err))
        return false;
    if (c->count > 0 && c->snapshots[0].tick <= from) {
        c->from = c->snapshots[0].tick;
        c->first_event = c->snapshots[0].events_before;
    }
    return true;
}

/* ---- writing ----------------------------------------------------------------
 */

static bool flush(struct store *out, struct store_batch *batch,
                  struct error *err)
{
    if (batch->bytes.used < BATCH_BYTES && !batch->bytes.failed)
        return true;
    bool ok = store_commit(out, batch, err);
    store_batch_reset(batch);
    return ok;
}

static int by_hash(const void *a, const void *b)
{
    const struct page_ref *x = *(const struct page_ref *const *)a;
    const struct page_ref *y = *(const struct page_ref *const *)b;
    return memcmp(x->hash, y->hash, PAGE_HASH_BYTES);
}

/* The named pages in the order of their keys, which fills the store's leaves
 * where any other would leave them a third empty. */
static const struct page_ref **sort_pages(const struct snapshot_copy *c,
                                          size_t *count)
{
    size_t n = 0;
    for (size_t i = 0; i < c->refs.capacity; i++)
        n += c->refs.slots[i].refs > 0;
    const struct page_ref **pages = malloc((n + 1) * sizeof *pages);
    *count = 0;
    for (size_t i = 0; pages && i < c->refs.capacity; i++)
        if (c->refs.slots[i].refs > 0)
            pages[(*count)++] = &c->refs.slots[i];
    if (pages)
        qsort(pages, n, sizeof *pages, by_hash);
    return pages;
}

static bool write_pages(struct snapshot_copy *c, struct store *out,
                        struct store_batch *batch, struct error *err)
{
    uint8_t buffer[PAGE_VALUE_MAX];
    struct store_bytes v;
    size_t count;
    const struct page_ref **pages = sort_pages(c, &count);
    bool ok = pages || no_memory(c, err);
    for (size_t i = 0; ok && i < count; i++) {
        const uint8_t *hash = pages[i]->hash;
        ok = page_value_get(c->store, hash, buffer, &v, err) == STORE_FOUND;
        if (ok)
            page_value_put(batch, hash, v.data, v.bytes);
        ok = ok && flush(out, batch, err);
    }
    free(pages);
    return ok;
}

bool snapshot_copy_write(struct snapshot_copy *c, struct store *out,
                         struct store_batch *batch, struct error *err)
{
    struct writer value;
    uint8_t key[KEY_TICK_BYTES];
    bool ok = write_pages(c, out, batch, err);
    writer_init(&value);
    for (size_t i = 0; ok && i < c->count; i++) {
        struct snapshot *snap = &c->snapshots[i];
        snap->events_before -= c->first_event;
        writer_reset(&value);
        key_tick(key, snap->tick);
        ok = snapshot_pack(snap, &value, err);
        if (ok)
            store_batch_put(batch, STORE_SNAPSHOTS, key, sizeof key, value.data,
                            value.used);
        ok = ok && flush(out, batch, err);
    }
    writer_fini(&value);
    return ok;
}
