#include "base/bytes.h"
#include "dev/block.h"
#include "mem/phys.h"
#include "replay/record.h"
#include "replay/snapshot_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    PAGE_LEVEL = 1, /* of zstd: a guest's whole memory goes through it */
    RECORD_LEVEL = 3,
    BATCH_BYTES = 4 << 20 /* of pages in one commit */
};

/* One snapshot being written. */
struct take {
    struct store *store;
    struct store_batch batch; /* owned: pages not committed yet */
    struct writer raw;        /* owned: the record */
    ZSTD_CCtx *zstd;          /* owned */
    uint8_t *packed;          /* owned: ZSTD_compressBound(SNAPSHOT_CHUNK)+4 */
    size_t packed_bytes;
    struct error *err;
};

bool snapshot_is_zero(const uint8_t *page)
{
    /* The first byte is zero and each byte equals the one before it. */
    return page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0;
}

static bool take_commit(struct take *t)
{
    bool ok = store_commit(t->store, &t->batch, t->err);
    store_batch_reset(&t->batch);
    return ok;
}

/* Store the contents unless they are there already; their hash goes into the
 * record. */
static bool take_page(struct take *t, const void *data, size_t bytes)
{
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(data, bytes));
    writer_bytes(&t->raw, hash.digest, SNAPSHOT_HASH_BYTES);
    if (store_has(t->store, STORE_PAGES, hash.digest, SNAPSHOT_HASH_BYTES))
        return true;
    store_le32(t->packed, (uint32_t)bytes);
    size_t got = ZSTD_compressCCtx(t->zstd, t->packed + 4, t->packed_bytes - 4,
                                   data, bytes, PAGE_LEVEL);
    if (ZSTD_isError(got))
        return error_set(t->err, ERR_NOMEM, "%s: compressing: %s",
                         store_path(t->store), ZSTD_getErrorName(got));
    store_batch_put(&t->batch, STORE_PAGES, hash.digest, SNAPSHOT_HASH_BYTES,
                    t->packed, got + 4);
    return t->batch.bytes.used < BATCH_BYTES || take_commit(t);
}

static bool take_frames(struct take *t, const struct phys *phys)
{
    size_t section = writer_begin_section(&t->raw, "FRMS");
    for (uint32_t f = 0; f < phys_frames(phys); f++) {
        if (!(phys_frame_flags(phys, f) & FRAME_TOUCHED))
            continue;
        const uint8_t *page = phys_frame_host(phys, f);
        if (snapshot_is_zero(page))
            continue;
        writer_u32(&t->raw, f);
        if (!take_page(t, page, PAGE_BYTES))
            return false;
    }
    writer_end_section(&t->raw, section);
    return true;
}

static bool take_block(struct take *t, const struct block *b, uint32_t drive)
{
    struct writer w;
    writer_init(&w);
    block_save(b, &w);
    bool ok = !w.failed || error_set(t->err, ERR_NOMEM, "%s: out of memory",
                                     store_path(t->store));
    writer_u32(&t->raw, drive);
    writer_u64(&t->raw, w.used);
    writer_u32(&t->raw,
               (uint32_t)((w.used + SNAPSHOT_CHUNK - 1) / SNAPSHOT_CHUNK));
    for (size_t at = 0; ok && at < w.used; at += SNAPSHOT_CHUNK) {
        size_t left = w.used - at;
        ok = take_page(t, w.data + at,
                       left < SNAPSHOT_CHUNK ? left : SNAPSHOT_CHUNK);
    }
    writer_fini(&w);
    return ok;
}

static bool take_state(struct take *t, struct machine *m,
                       uint32_t events_before)
{
    writer_u64(&t->raw, machine_tick(m));
    writer_u64(&t->raw, machine_insns(m));
    writer_u32(&t->raw, events_before);
    size_t section = writer_begin_section(&t->raw, "DEVS");
    machine_save_devices(m, &t->raw);
    writer_end_section(&t->raw, section);
    if (!take_frames(t, machine_phys(m)))
        return false;
    section = writer_begin_section(&t->raw, "BLKS");
    for (unsigned i = 0; i < MACHINE_BLOCKS; i++) {
        const struct block *b = machine_block(m, i);
        if (b && !take_block(t, b, i))
            return false;
    }
    writer_end_section(&t->raw, section);
    return true;
}

static bool take_record(struct take *t, uint64_t tick)
{
    uint8_t key[KEY_TICK_BYTES];
    size_t bound = ZSTD_compressBound(t->raw.used) + 4;
    if (t->raw.failed || t->raw.used > SNAPSHOT_RAW_MAX)
        return error_set(t->err, ERR_NOMEM,
                         "%s: out of memory for a snapshot of %zu bytes",
                         store_path(t->store), t->raw.used);
    uint8_t *packed = malloc(bound);
    if (!packed)
        return error_set(t->err, ERR_NOMEM, "%s: out of memory",
                         store_path(t->store));
    store_le32(packed, (uint32_t)t->raw.used);
    size_t got = ZSTD_compressCCtx(t->zstd, packed + 4, bound - 4, t->raw.data,
                                   t->raw.used, RECORD_LEVEL);
    bool ok = !ZSTD_isError(got);
    if (!ok)
        error_set(t->err, ERR_NOMEM, "%s: compressing: %s",
                  store_path(t->store), ZSTD_getErrorName(got));
    key_tick(key, tick);
    if (ok)
        store_batch_put(&t->batch, STORE_SNAPSHOTS, key, sizeof key, packed,
                        got + 4);
    free(packed);
    return ok && take_commit(t);
}

bool snapshot_take(struct store *s, struct machine *m, uint32_t events_before,
                   struct error *err)
{
    struct take t = {.store = s, .err = err};
    t.packed_bytes = ZSTD_compressBound(SNAPSHOT_CHUNK) + 4;
    t.packed = malloc(t.packed_bytes);
    t.zstd = ZSTD_createCCtx();
    store_batch_init(&t.batch);
    writer_init(&t.raw);
    bool ok = t.packed && t.zstd;
    if (!ok)
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s));
    /* Two commits at least: the pages are there before a record names them. */
    ok = ok && take_state(&t, m, events_before) && take_commit(&t) &&
         take_record(&t, machine_tick(m));
    writer_fini(&t.raw);
    store_batch_fini(&t.batch);
    ZSTD_freeCCtx(t.zstd);
    free(t.packed);
    return ok;
}
