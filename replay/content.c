#include "replay/content.h"

#include "base/bytes.h"
#include "replay/page_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    RAW_LENGTH_BYTES = 4,
    HEAD_BYTES = 12, /* of the raw record */
    LEVEL = 3,
    BATCH_BYTES = 8 << 20
};

static uint64_t blocks_of(uint64_t bytes)
{
    return (bytes + PAGE_DATA_BYTES - 1) / PAGE_DATA_BYTES;
}

/* ---- records ----------------------------------------------------------------
 */

static int content_key(char key[16], unsigned index)
{
    return snprintf(key, 16, "content/%02u", index % 100);
}

void content_fini(struct content *c)
{
    free(c->raw);
    *c = (struct content){0};
}

static bool is_well_formed(const struct content *c, size_t raw_bytes)
{
    if ((uint64_t)c->count * SNAPSHOT_ENTRY_BYTES + HEAD_BYTES != raw_bytes)
        return false;
    const uint8_t *at = c->entries;
    for (uint32_t i = 0; i < c->count; i++, at += SNAPSHOT_ENTRY_BYTES)
        if (load_le32(at) >= blocks_of(c->bytes) ||
            (i > 0 && load_le32(at) <= load_le32(at - SNAPSHOT_ENTRY_BYTES)))
            return false;
    return true;
}

bool content_unpack(const struct store_bytes *v, struct content *out,
                    const char *where, struct error *err)
{
    *out = (struct content){0};
    uint32_t raw = v->bytes < RAW_LENGTH_BYTES ? 0 : load_le32(v->data);
    if (raw < HEAD_BYTES || raw > SNAPSHOT_RAW_MAX)
        return error_set(err, ERR_INPUT,
                         "%s: contents of a medium claim %u bytes", where, raw);
    out->raw = malloc(raw);
    if (!out->raw)
        return error_set(err, ERR_NOMEM, "%s: out of memory", where);
    size_t got = ZSTD_decompress(out->raw, raw,
                                 (const uint8_t *)v->data + RAW_LENGTH_BYTES,
                                 v->bytes - RAW_LENGTH_BYTES);
    if (!ZSTD_isError(got) && got == raw) {
        out->bytes = load_le64(out->raw);
        out->count = load_le32(out->raw + 8);
        out->entries = out->raw + HEAD_BYTES;
        if (is_well_formed(out, raw))
            return true;
    }
    content_fini(out);
    return error_set(err, ERR_INPUT, "%s: contents of a medium are malformed",
                     where);
}

enum store_found content_find(const struct session *s, unsigned index,
                              struct content *out, struct error *err)
{
    char key[16];
    struct store_bytes v;
    size_t bytes = (size_t)content_key(key, index);
    enum store_found found =
        store_get(s->store, STORE_META, key, bytes, &v, err);
    if (found != STORE_FOUND)
        return found;
    return content_unpack(&v, out, store_path(s->store), err) ? STORE_FOUND
                                                              : STORE_BAD;
}

bool content_each_ref(const struct content *c, snapshot_ref_fn *fn,
                      void *context)
{
    const uint8_t *at = c->entries;
    for (uint32_t i = 0; i < c->count; i++, at += SNAPSHOT_ENTRY_BYTES)
        if (!snapshot_hash_is_none(at + 4) && !fn(context, at + 4))
            return false;
    return true;
}

/* ---- reading ----------------------------------------------------------------
 */

struct content_base {
    struct content content; /* owned */
    struct store *store;    /* borrowed */
    char name[300];         /* of the medium, for sentences */
    ZSTD_DCtx *unzip;       /* owned */
    uint8_t page[PAGE_DATA_BYTES];
};

static const uint8_t *find_entry(const struct content *c, uint32_t block)
{
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *at = c->entries + (size_t)middle * SNAPSHOT_ENTRY_BYTES;
        if (load_le32(at) == block)
            return at;
        if (load_le32(at) < block)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool read_block(struct content_base *b, uint32_t block,
                       struct error *err)
{
    const uint8_t *entry = find_entry(&b->content, block);
    if (!entry)
        return error_set(err, ERR_INPUT,
                         "%s: the session has its medium packed without block "
                         "%u, which the recording did not read",
                         b->name, block);
    if (!snapshot_hash_is_none(entry + 4))
        return snapshot_page(b->store, b->unzip, entry + 4, b->page, err);
    memset(b->page, 0, sizeof b->page);
    return true;
}

static bool base_read(void *context, uint64_t offset, void *out, size_t bytes,
                      struct error *err)
{
    uint8_t *to = out;
    while (bytes > 0) {
        size_t inside = offset % PAGE_DATA_BYTES;
        size_t part = PAGE_DATA_BYTES - inside;
        struct content_base *b = context;
        if (part > bytes)
            part = bytes;
        if (!read_block(b, (uint32_t)(offset / PAGE_DATA_BYTES), err))
            return false;
        memcpy(to, b->page + inside, part);
        to += part;
        offset += part;
        bytes -= part;
    }
    return true;
}

static void base_close(void *context)
{
    struct content_base *b = context;
    content_fini(&b->content);
    (void)ZSTD_freeDCtx(b->unzip);
    free(b);
}

enum store_found content_open(const struct session *s, unsigned index,
                              struct block_base *base, struct error *err)
{
    struct content content;
    enum store_found found = content_find(s, index, &content, err);
    if (found != STORE_FOUND)
        return found;
    struct content_base *b = calloc(1, sizeof *b);
    if (!b || !(b->unzip = ZSTD_createDCtx())) {
        free(b);
        content_fini(&content);
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s->store));
        return STORE_BAD;
    }
    b->content = content;
    b->store = s->store;
    (void)snprintf(b->name, sizeof b->name, "%.280s", s->media[index].path);
    *base = (struct block_base){.bytes = content.bytes,
                                .context = b,
                                .read = base_read,
                                .close = base_close};
    return STORE_FOUND;
}

enum store_found content_blob(const struct session *s, unsigned index,
                              void **data, size_t *bytes, struct error *err)
{
    struct block_base base;
    enum store_found found = content_open(s, index, &base, err);
    if (found != STORE_FOUND)
        return found;
    bool ok = base.bytes == s->media[index].bytes;
    if (!ok)
        error_set(err, ERR_INPUT, "%s: damaged: %s has %llu bytes, not %llu",
                  store_path(s->store), s->media[index].role,
                  (unsigned long long)base.bytes,
                  (unsigned long long)s->media[index].bytes);
    void *blob = ok ? malloc(base.bytes + 1) : NULL;
    if (ok && !blob)
        ok = error_set(err, ERR_NOMEM, "%s: out of memory",
                       store_path(s->store));
    ok = ok && base.read(base.context, 0, blob, base.bytes, err);
    *data = blob;
    *bytes = base.bytes;
    base.close(base.context);
    if (ok)
        return STORE_FOUND;
    free(blob);
    return STORE_BAD;
}

/* ---- noting reads -----------------------------------------------------------
 */

static bool noting_read(void *context, uint64_t offset, void *out, size_t bytes,
                        struct error *err)
{
    struct content_reads *r = context;
    if (bytes > 0)
        memset(r->is_read + offset / PAGE_DATA_BYTES, 1,
               (offset + bytes - 1) / PAGE_DATA_BYTES -
                   offset / PAGE_DATA_BYTES + 1);
    return r->base.read(r->base.context, offset, out, bytes, err);
}

static void noting_close(void *context)
{
    (void)context; /* content_reads_free() does it */
}

struct content_reads *content_note_reads(const struct block_base *inner,
                                         struct block_base *base,
                                         struct error *err)
{
    struct content_reads *r = calloc(1, sizeof *r);
    void *map = mmap(NULL, blocks_of(inner->bytes), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!r || map == MAP_FAILED) {
        if (map != MAP_FAILED)
            (void)munmap(map, blocks_of(inner->bytes));
        free(r);
        inner->close(inner->context);
        error_set(err, ERR_NOMEM, "no memory to note what is read");
        return NULL;
    }
    r->base = *inner;
    r->is_read = map;
    *base = (struct block_base){.bytes = inner->bytes,
                                .context = r,
                                .read = noting_read,
                                .close = noting_close};
    return r;
}

void content_reads_free(struct content_reads *r)
{
    if (!r)
        return;
    (void)munmap(r->is_read, blocks_of(r->base.bytes));
    r->base.close(r->base.context);
    free(r);
}

/* ---- writing ----------------------------------------------------------------
 */

struct putting {
    struct store *out;
    struct store_batch *batch;
    struct writer raw;   /* the record */
    struct writer found; /* a page that is there */
    uint32_t count;
    ZSTD_CCtx *zip; /* owned */
    uint8_t packed[PAGE_DATA_BYTES + 512];
    struct error *err;
};

/* Snapshots have many of a kernel's pages already. */
static bool is_there(struct putting *p, const uint8_t hash[PAGE_HASH_BYTES])
{
    struct error unused;
    writer_reset(&p->found);
    return store_fetch(p->out, STORE_PAGES, hash, PAGE_HASH_BYTES, &p->found,
                       &unused) == STORE_FOUND;
}

static bool put_block(struct putting *p, uint32_t block, const uint8_t *page)
{
    XXH128_canonical_t hash = {{0}};
    bool is_zero = snapshot_is_zero(page);
    if (!is_zero)
        XXH128_canonicalFromHash(&hash, XXH3_128bits(page, PAGE_DATA_BYTES));
    writer_u32(&p->raw, block);
    writer_bytes(&p->raw, hash.digest, PAGE_HASH_BYTES);
    p->count++;
    if (is_zero || is_there(p, hash.digest))
        return true;
    size_t got = ZSTD_compressCCtx(p->zip, p->packed + RAW_LENGTH_BYTES,
                                   sizeof p->packed - RAW_LENGTH_BYTES, page,
                                   PAGE_DATA_BYTES, LEVEL);
    if (ZSTD_isError(got))
        return error_set(p->err, ERR_NOMEM, "compressing: %s",
                         ZSTD_getErrorName(got));
    store_le32(p->packed, PAGE_DATA_BYTES);
    page_value_put(p->batch, hash.digest, p->packed, got + RAW_LENGTH_BYTES);
    if (p->batch->bytes.used < BATCH_BYTES)
        return true;
    bool ok = store_commit(p->out, p->batch, p->err);
    store_batch_reset(p->batch);
    return ok;
}

static bool put_record(struct putting *p, unsigned index)
{
    char key[16];
    size_t key_bytes = (size_t)content_key(key, index);
    store_le32(p->raw.data + 8, p->count);
    size_t bound = ZSTD_compressBound(p->raw.used) + RAW_LENGTH_BYTES;
    uint8_t *value = malloc(bound);
    size_t got = value ? ZSTD_compress(value + RAW_LENGTH_BYTES,
                                       bound - RAW_LENGTH_BYTES, p->raw.data,
                                       p->raw.used, LEVEL)
                       : 0;
    bool ok = value && !ZSTD_isError(got);
    if (ok) {
        store_le32(value, (uint32_t)p->raw.used);
        store_batch_put(p->batch, STORE_META, key, key_bytes, value,
                        got + RAW_LENGTH_BYTES);
    }
    free(value);
    return ok || error_set(p->err, ERR_NOMEM, "no memory to pack a medium");
}

static bool begin(struct putting *p, uint64_t bytes)
{
    p->zip = ZSTD_createCCtx();
    writer_init(&p->found);
    writer_init(&p->raw);
    writer_u64(&p->raw, bytes);
    writer_u32(&p->raw, 0); /* count, later */
    return (p->zip && !p->raw.failed) ||
           error_set(p->err, ERR_NOMEM, "no memory to pack a medium");
}

static bool finish(struct putting *p, unsigned index, bool ok)
{
    if (ok && p->raw.failed)
        ok = error_set(p->err, ERR_NOMEM, "no memory to pack a medium");
    ok = ok && put_record(p, index);
    writer_fini(&p->raw);
    writer_fini(&p->found);
    (void)ZSTD_freeCCtx(p->zip);
    return ok;
}

bool content_put_reads(struct store *out, struct store_batch *b, unsigned index,
                       const struct content_reads *r, struct error *err)
{
    struct putting p = {.out = out, .batch = b, .err = err};
    uint8_t page[PAGE_DATA_BYTES];
    bool ok = begin(&p, r->base.bytes);
    for (uint64_t n = 0; ok && n < blocks_of(r->base.bytes); n++) {
        uint64_t at = n * PAGE_DATA_BYTES, left = r->base.bytes - at;
        if (!r->is_read[n])
            continue;
        memset(page, 0, sizeof page);
        ok = r->base.read(r->base.context, at, page,
                          left < sizeof page ? left : sizeof page, err) &&
             put_block(&p, (uint32_t)n, page);
    }
    return finish(&p, index, ok);
}

bool content_put_blob(struct store *out, struct store_batch *b, unsigned index,
                      const void *data, size_t bytes, struct error *err)
{
    struct putting p = {.out = out, .batch = b, .err = err};
    uint8_t page[PAGE_DATA_BYTES];
    bool ok = begin(&p, bytes);
    for (size_t at = 0; ok && at < bytes; at += sizeof page) {
        size_t left = bytes - at;
        memset(page, 0, sizeof page);
        memcpy(page, (const uint8_t *)data + at,
               left < sizeof page ? left : sizeof page);
        ok = put_block(&p, (uint32_t)(at / sizeof page), page);
    }
    return finish(&p, index, ok);
}
