#include "replay/snapshot.h"

#include "base/bytes.h"
#include "replay/page_value.h"
#include "replay/record.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    RAW_LENGTH_BYTES = 4, /* of the uncompressed bytes, before the zstd frame */
    RECORD_LEVEL = 3      /* of zstd */
};

bool snapshot_hash_is_none(const uint8_t hash[PAGE_HASH_BYTES])
{
    return (load_le64(hash) | load_le64(hash + 8)) == 0;
}

bool snapshot_is_zero(const uint8_t *page)
{
    return load_le64(page) == 0 &&
           memcmp(page, page + 8, PAGE_DATA_BYTES - 8) == 0;
}

/* ---- reading records --------------------------------------------------------
 */

static bool malformed(const struct snapshot *s, const char *where,
                      const char *what, struct error *err)
{
    return error_set(err, ERR_INPUT, "%s: snapshot at tick %llu: %s", where,
                     (unsigned long long)s->tick, what);
}

static bool read_list(struct snapshot *s, struct reader *r, const char *where,
                      struct error *err)
{
    unsigned index = reader_u8(r);
    unsigned whole = reader_u8(r);
    uint32_t count = reader_u32(r);
    uint64_t bytes = (uint64_t)count * SNAPSHOT_ENTRY_BYTES;
    if (r->failed || bytes > r->size - r->at || whole > 1 ||
        index >= SNAPSHOT_LISTS || s->list[index].entries)
        return malformed(s, where, "malformed list of pages", err);
    const uint8_t *at = r->data + r->at;
    s->list[index] = (struct snapshot_list){
        .whole = whole || s->base == SNAPSHOT_WHOLE,
        .count = count,
        .entries = at};
    for (uint32_t i = 1; i < count; i++, at += SNAPSHOT_ENTRY_BYTES)
        if (load_le32(at + SNAPSHOT_ENTRY_BYTES) <= load_le32(at))
            return malformed(s, where, "pages out of order", err);
    r->at += bytes;
    return true;
}

static bool read_raw(struct snapshot *s, uint32_t raw_bytes, const char *where,
                     struct error *err)
{
    struct reader r, devices, base, pages;
    uint64_t tick = s->tick;
    reader_init(&r, s->raw, raw_bytes);
    s->tick = reader_u64(&r);
    s->insns = reader_u64(&r);
    s->events_before = reader_u32(&r);
    if (!reader_section(&r, "DEVS", &devices, err) ||
        !reader_section(&r, "BASE", &base, err) ||
        !reader_section(&r, "PAGS", &pages, err) ||
        !reader_done(&r, "snapshot", err))
        return false;
    s->devices = devices.data;
    s->devices_bytes = devices.size;
    s->base = reader_u64(&base);
    if (!reader_done(&base, "snapshot base", err))
        return false;
    if (s->tick != tick || (s->base != SNAPSHOT_WHOLE && s->base >= tick))
        return malformed(s, where, "its tick or base is another's", err);
    for (unsigned i = 0; i < SNAPSHOT_LISTS; i++)
        s->list[i].whole = s->base == SNAPSHOT_WHOLE;
    while (pages.at < pages.size)
        if (!read_list(s, &pages, where, err))
            return false;
    return true;
}

bool snapshot_unpack(const struct store_bytes *k, const struct store_bytes *v,
                     struct snapshot *out, const char *where, struct error *err)
{
    *out = (struct snapshot){0};
    if (k->bytes != KEY_TICK_BYTES || v->bytes < RAW_LENGTH_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: snapshots: expected a key of %d bytes and a "
                         "value, found %zu and %zu bytes",
                         where, KEY_TICK_BYTES, k->bytes, v->bytes);
    out->tick = load_be64(k->data);
    uint32_t raw_bytes = load_le32(v->data);
    if (raw_bytes == 0 || raw_bytes > SNAPSHOT_RAW_MAX)
        return malformed(out, where, "it claims an impossible size", err);
    out->raw = malloc(raw_bytes);
    if (!out->raw)
        return error_set(err, ERR_NOMEM, "%s: out of memory", where);
    size_t got = ZSTD_decompress(out->raw, raw_bytes,
                                 (const uint8_t *)v->data + RAW_LENGTH_BYTES,
                                 v->bytes - RAW_LENGTH_BYTES);
    bool ok = !ZSTD_isError(got) && got == raw_bytes;
    if (!ok)
        malformed(out, where, "it does not decompress to its size", err);
    if (ok && read_raw(out, raw_bytes, where, err))
        return true;
    snapshot_fini(out);
    return false;
}

void snapshot_fini(struct snapshot *s)
{
    free(s->raw);
    *s = (struct snapshot){0};
}

/* The record at or below a tick, or exactly at it. */
static enum store_found find(struct store *s, uint64_t tick, bool exact,
                             struct store_bytes *record_key,
                             struct store_bytes *value, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    uint8_t key[KEY_TICK_BYTES];
    if (store_format(s) < SNAPSHOT_FORMAT)
        return STORE_NONE;
    if (!store_cursor_open(s, STORE_SNAPSHOTS, &c, err))
        return STORE_BAD;
    key_tick(key, tick);
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    if (found == STORE_NONE && !exact)
        found = store_cursor_last(&c, &k, &v, err);
    else if (found == STORE_FOUND &&
             (k.bytes != sizeof key || memcmp(k.data, key, sizeof key) != 0))
        found = exact ? STORE_NONE : store_cursor_prev(&c, &k, &v, err);
    store_cursor_close(&c);
    *record_key = k;
    *value = v;
    return found;
}

enum store_found snapshot_floor(struct store *s, uint64_t tick, uint64_t *floor,
                                struct error *err)
{
    struct store_bytes k, v;
    enum store_found found = find(s, tick, false, &k, &v, err);
    if (found == STORE_FOUND && k.bytes != KEY_TICK_BYTES) {
        error_set(err, ERR_INPUT, "%s: snapshots: a key has %zu bytes",
                  store_path(s), k.bytes);
        return STORE_BAD;
    }
    if (found == STORE_FOUND)
        *floor = load_be64(k.data);
    return found;
}

enum store_found snapshot_ceiling(struct store *s, uint64_t tick,
                                  uint64_t *ceiling, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    uint8_t key[KEY_TICK_BYTES];
    if (store_format(s) < SNAPSHOT_FORMAT || tick == UINT64_MAX)
        return STORE_NONE;
    if (!store_cursor_open(s, STORE_SNAPSHOTS, &c, err))
        return STORE_BAD;
    key_tick(key, tick + 1);
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, err);
    if (found == STORE_FOUND && k.bytes != KEY_TICK_BYTES) {
        error_set(err, ERR_INPUT, "%s: snapshots: a key has %zu bytes",
                  store_path(s), k.bytes);
        found = STORE_BAD;
    }
    if (found == STORE_FOUND)
        *ceiling = load_be64(k.data);
    store_cursor_close(&c);
    return found;
}

enum store_found snapshot_find(struct store *s, uint64_t tick, bool exact,
                               struct snapshot *out, struct error *err)
{
    struct store_bytes k, v;
    enum store_found found = find(s, tick, exact, &k, &v, err);
    *out = (struct snapshot){0};
    if (found == STORE_FOUND &&
        !snapshot_unpack(&k, &v, out, store_path(s), err))
        return STORE_BAD;
    return found;
}

bool snapshot_each_ref(const struct snapshot *s, snapshot_ref_fn *fn,
                       void *context)
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        const uint8_t *entry = s->list[l].entries;
        for (uint32_t i = 0; i < s->list[l].count;
             i++, entry += SNAPSHOT_ENTRY_BYTES)
            if (!snapshot_hash_is_none(entry + 4) && !fn(context, entry + 4))
                return false;
    }
    return true;
}

/* ---- writing records --------------------------------------------------------
 */

static void write_lists(const struct snapshot *s, struct writer *w)
{
    size_t section = writer_begin_section(w, "PAGS");
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        const struct snapshot_list *list = &s->list[l];
        if (list->count == 0 && list->whole == (s->base == SNAPSHOT_WHOLE))
            continue;
        writer_u8(w, (uint8_t)l);
        writer_u8(w, list->whole);
        writer_u32(w, list->count);
        writer_bytes(w, list->entries,
                     (size_t)list->count * SNAPSHOT_ENTRY_BYTES);
    }
    writer_end_section(w, section);
}

static void write_raw(const struct snapshot *s, struct writer *w)
{
    writer_u64(w, s->tick);
    writer_u64(w, s->insns);
    writer_u32(w, s->events_before);
    size_t section = writer_begin_section(w, "DEVS");
    writer_bytes(w, s->devices, s->devices_bytes);
    writer_end_section(w, section);
    section = writer_begin_section(w, "BASE");
    writer_u64(w, s->base);
    writer_end_section(w, section);
    write_lists(s, w);
}

bool snapshot_pack(const struct snapshot *s, struct writer *out,
                   struct error *err)
{
    struct writer raw;
    writer_init(&raw);
    write_raw(s, &raw);
    size_t bound = ZSTD_compressBound(raw.used);
    uint8_t *packed =
        raw.failed || raw.used > SNAPSHOT_RAW_MAX ? NULL : malloc(bound);
    size_t got = packed ? ZSTD_compress(packed, bound, raw.data, raw.used,
                                        RECORD_LEVEL)
                        : 0;
    bool ok = packed && !ZSTD_isError(got);
    if (ok) {
        writer_u32(out, (uint32_t)raw.used);
        writer_bytes(out, packed, got);
    }
    free(packed);
    writer_fini(&raw);
    return ok || error_set(err, ERR_NOMEM,
                           "snapshot at tick %llu: out of memory",
                           (unsigned long long)s->tick);
}

/* ---- merging ----------------------------------------------------------------
 */

struct merge {
    struct writer bytes;
    snapshot_hash_fn *dropped;
    void *context;
};

static void drop_hash(const struct merge *m, const uint8_t *entry)
{
    if (m->dropped && !snapshot_hash_is_none(entry + 4))
        m->dropped(m->context, entry + 4);
}

/* The union of two lists, `newer` winning. Returns the number of entries. */
static uint32_t merge_lists(struct merge *m, const struct snapshot_list *older,
                            const struct snapshot_list *newer)
{
    const uint8_t *a = older->entries, *b = newer->entries;
    uint32_t in_a = older->count, in_b = newer->count, count = 0;
    while (in_a || in_b) {
        bool take_a = in_a && (!in_b || load_le32(a) < load_le32(b));
        if (in_a && !take_a && load_le32(a) == load_le32(b)) {
            drop_hash(m, a);
            a += SNAPSHOT_ENTRY_BYTES;
            in_a--;
        } else if (take_a && newer->whole) {
            drop_hash(m, a);
            a += SNAPSHOT_ENTRY_BYTES;
            in_a--;
        } else if (take_a) {
            writer_bytes(&m->bytes, a, SNAPSHOT_ENTRY_BYTES);
            a += SNAPSHOT_ENTRY_BYTES;
            in_a--;
            count++;
        } else {
            writer_bytes(&m->bytes, b, SNAPSHOT_ENTRY_BYTES);
            b += SNAPSHOT_ENTRY_BYTES;
            in_b--;
            count++;
        }
    }
    return count;
}

bool snapshot_merge(const struct snapshot *older, const struct snapshot *newer,
                    struct snapshot *out, snapshot_hash_fn *dropped,
                    void *context, struct error *err)
{
    struct merge m = {.dropped = dropped, .context = context};
    size_t at[SNAPSHOT_LISTS];
    *out = *newer;
    out->base = older->base;
    writer_init(&m.bytes);
    writer_bytes(&m.bytes, newer->devices, newer->devices_bytes);
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        at[l] = m.bytes.used;
        out->list[l].count = merge_lists(&m, &older->list[l], &newer->list[l]);
        out->list[l].whole = older->list[l].whole || newer->list[l].whole;
    }
    out->raw = m.bytes.data;
    if (m.bytes.failed) {
        writer_fini(&m.bytes);
        *out = (struct snapshot){0};
        return error_set(err, ERR_NOMEM,
                         "snapshot at tick %llu: out of memory",
                         (unsigned long long)newer->tick);
    }
    out->devices = out->raw;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        out->list[l].entries = out->raw ? out->raw + at[l] : NULL;
    return true;
}

/* ---- pages ------------------------------------------------------------------
 */

bool snapshot_page_unpack(ZSTD_DCtx *unzip,
                          const uint8_t hash[PAGE_HASH_BYTES],
                          const struct store_bytes *v, uint8_t *out,
                          const char *where, struct error *err)
{
    XXH128_canonical_t found;
    uint32_t raw_bytes = v->bytes < RAW_LENGTH_BYTES ? 0 : load_le32(v->data);
    if (raw_bytes != PAGE_DATA_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx: claims %u bytes, expected %d",
                         where, (unsigned long long)load_be64(hash), raw_bytes,
                         PAGE_DATA_BYTES);
    size_t bytes = ZSTD_decompressDCtx(
        unzip, out, raw_bytes, (const uint8_t *)v->data + RAW_LENGTH_BYTES,
        v->bytes - RAW_LENGTH_BYTES);
    if (ZSTD_isError(bytes) || bytes != raw_bytes)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx does not decompress to %u bytes",
                         where, (unsigned long long)load_be64(hash), raw_bytes);
    XXH128_canonicalFromHash(&found, XXH3_128bits(out, bytes));
    if (memcmp(found.digest, hash, PAGE_HASH_BYTES) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx holds other contents", where,
                         (unsigned long long)load_be64(hash));
    return true;
}

bool snapshot_page(struct store *s, ZSTD_DCtx *unzip,
                   const uint8_t hash[PAGE_HASH_BYTES], uint8_t *out,
                   struct error *err)
{
    uint8_t buffer[PAGE_VALUE_MAX];
    struct store_bytes v;
    switch (page_value_get(s, hash, buffer, &v, err)) {
    case STORE_FOUND:
        return snapshot_page_unpack(unzip, hash, &v, out, store_path(s),
                                    err);
    case STORE_NONE:
        return error_set(err, ERR_INPUT,
                         "%s: damaged: a snapshot names page %016llx, which "
                         "is missing",
                         store_path(s), (unsigned long long)load_be64(hash));
    default:
        return false;
    }
}
