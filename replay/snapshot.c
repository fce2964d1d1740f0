#include "replay/snapshot.h"

#include "base/bytes.h"
#include "dev/block.h"
#include "mem/phys.h"
#include "replay/record.h"
#include "replay/snapshot_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    RAW_LENGTH_BYTES = 4 /* of the uncompressed bytes, before the zstd frame */
};

bool snapshot_unpack(const struct store_bytes *k, const struct store_bytes *v,
                     struct snapshot *out, const char *where, struct error *err)
{
    struct reader r, devices, frames, blocks;
    *out = (struct snapshot){0};
    if (k->bytes != KEY_TICK_BYTES || v->bytes < RAW_LENGTH_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: snapshots: expected a key of %d bytes and a "
                         "value, found %zu and %zu bytes",
                         where, KEY_TICK_BYTES, k->bytes, v->bytes);
    uint64_t tick = load_be64(k->data);
    uint32_t raw_bytes = load_le32(v->data);
    if (raw_bytes == 0 || raw_bytes > SNAPSHOT_RAW_MAX)
        return error_set(err, ERR_INPUT,
                         "%s: snapshot at tick %llu claims %u bytes", where,
                         (unsigned long long)tick, raw_bytes);
    out->raw = malloc(raw_bytes);
    if (!out->raw)
        return error_set(err, ERR_NOMEM, "%s: out of memory", where);
    size_t got = ZSTD_decompress(out->raw, raw_bytes,
                                 (const uint8_t *)v->data + RAW_LENGTH_BYTES,
                                 v->bytes - RAW_LENGTH_BYTES);
    if (ZSTD_isError(got) || got != raw_bytes) {
        error_set(err, ERR_INPUT,
                  "%s: snapshot at tick %llu does not decompress to %u bytes",
                  where, (unsigned long long)tick, raw_bytes);
        goto fail;
    }
    reader_init(&r, out->raw, raw_bytes);
    out->tick = reader_u64(&r);
    out->insns = reader_u64(&r);
    out->events_before = reader_u32(&r);
    if (!reader_section(&r, "DEVS", &devices, err) ||
        !reader_section(&r, "FRMS", &frames, err) ||
        !reader_section(&r, "BLKS", &blocks, err) ||
        !reader_done(&r, "snapshot", err))
        goto fail;
    if (out->tick != tick || frames.size % SNAPSHOT_FRAME_BYTES != 0) {
        error_set(err, ERR_INPUT, "%s: snapshot at tick %llu is malformed",
                  where, (unsigned long long)tick);
        goto fail;
    }
    out->devices = devices.data;
    out->devices_bytes = devices.size;
    out->frames = frames.data;
    out->frame_count = frames.size / SNAPSHOT_FRAME_BYTES;
    out->blocks = blocks.data;
    out->blocks_bytes = blocks.size;
    if (snapshot_well_formed(out, where, err))
        return true;
fail:
    snapshot_fini(out);
    return false;
}

void snapshot_fini(struct snapshot *s)
{
    free(s->raw);
    *s = (struct snapshot){0};
}

bool snapshot_next_block(struct reader *r, uint32_t *drive, uint64_t *bytes,
                         uint32_t *chunks, const uint8_t **hashes)
{
    if (r->failed || r->at == r->size)
        return false;
    *drive = reader_u32(r);
    *bytes = reader_u64(r);
    *chunks = reader_u32(r);
    uint64_t list = (uint64_t)*chunks * SNAPSHOT_HASH_BYTES;
    uint64_t chunks_needed =
        *bytes / SNAPSHOT_CHUNK + (*bytes % SNAPSHOT_CHUNK != 0);
    if (r->failed || *drive >= MACHINE_BLOCKS || *chunks != chunks_needed ||
        list > r->size - r->at) {
        r->failed = true;
        return false;
    }
    *hashes = r->data + r->at;
    r->at += list;
    return true;
}

bool snapshot_well_formed(const struct snapshot *s, const char *where,
                          struct error *err)
{
    for (size_t i = 1; i < s->frame_count; i++) {
        const uint8_t *at = s->frames + i * SNAPSHOT_FRAME_BYTES;
        if (load_le32(at) <= load_le32(at - SNAPSHOT_FRAME_BYTES))
            return error_set(err, ERR_INPUT,
                             "%s: snapshot at tick %llu: frames out of order",
                             where, (unsigned long long)s->tick);
    }
    struct reader r;
    uint32_t drive, chunks;
    uint64_t bytes;
    const uint8_t *hashes;
    reader_init(&r, s->blocks, s->blocks_bytes);
    while (snapshot_next_block(&r, &drive, &bytes, &chunks, &hashes))
        ;
    if (r.failed)
        return error_set(err, ERR_INPUT,
                         "%s: snapshot at tick %llu: malformed disk layers",
                         where, (unsigned long long)s->tick);
    return true;
}

enum store_found snapshot_find(struct store *s, uint64_t tick, bool exact,
                               struct snapshot *out, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v, best_k = {0}, best_v = {0};
    if (!store_cursor_open(s, STORE_SNAPSHOTS, &c, err))
        return STORE_BAD;
    enum store_found found = store_cursor_seek(&c, NULL, 0, &k, &v, err);
    while (found == STORE_FOUND && k.bytes == KEY_TICK_BYTES &&
           load_be64(k.data) <= tick) {
        best_k = k;
        best_v = v;
        found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    if (found == STORE_BAD)
        return STORE_BAD;
    if (!best_k.data || (exact && load_be64(best_k.data) != tick))
        return STORE_NONE;
    return snapshot_unpack(&best_k, &best_v, out, store_path(s), err)
               ? STORE_FOUND
               : STORE_BAD;
}

bool snapshot_each_ref(const struct snapshot *s, snapshot_ref_fn *fn,
                       void *context)
{
    for (size_t i = 0; i < s->frame_count; i++)
        if (!fn(context, s->frames + i * SNAPSHOT_FRAME_BYTES + 4))
            return false;
    struct reader r;
    uint32_t drive, chunks;
    uint64_t bytes;
    const uint8_t *hashes;
    reader_init(&r, s->blocks, s->blocks_bytes);
    while (snapshot_next_block(&r, &drive, &bytes, &chunks, &hashes))
        for (uint32_t i = 0; i < chunks; i++)
            if (!fn(context, hashes + (size_t)i * SNAPSHOT_HASH_BYTES))
                return false;
    return true;
}

/* ---- pages ------------------------------------------------------------------
 */

bool snapshot_page_unpack(const uint8_t hash[SNAPSHOT_HASH_BYTES],
                          const struct store_bytes *v, uint8_t *out,
                          size_t *bytes, const char *where, struct error *err)
{
    XXH128_canonical_t found;
    uint32_t raw_bytes = v->bytes < RAW_LENGTH_BYTES ? 0 : load_le32(v->data);
    if (raw_bytes == 0 || raw_bytes > SNAPSHOT_CHUNK)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx: claims %u bytes, expected 1 to %d",
                         where, (unsigned long long)load_be64(hash), raw_bytes,
                         SNAPSHOT_CHUNK);
    *bytes = ZSTD_decompress(out, raw_bytes,
                             (const uint8_t *)v->data + RAW_LENGTH_BYTES,
                             v->bytes - RAW_LENGTH_BYTES);
    if (ZSTD_isError(*bytes) || *bytes != raw_bytes)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx does not decompress to %u bytes",
                         where, (unsigned long long)load_be64(hash), raw_bytes);
    XXH128_canonicalFromHash(&found, XXH3_128bits(out, *bytes));
    if (memcmp(found.digest, hash, SNAPSHOT_HASH_BYTES) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: page %016llx holds other contents", where,
                         (unsigned long long)load_be64(hash));
    return true;
}

bool snapshot_page(struct store *s, const uint8_t hash[SNAPSHOT_HASH_BYTES],
                   uint8_t *out, size_t *bytes, struct error *err)
{
    struct store_bytes v;
    switch (store_get(s, STORE_PAGES, hash, SNAPSHOT_HASH_BYTES, &v, err)) {
    case STORE_FOUND:
        return snapshot_page_unpack(hash, &v, out, bytes, store_path(s), err);
    case STORE_NONE:
        return error_set(err, ERR_INPUT,
                         "%s: damaged: a snapshot names page %016llx, which "
                         "is missing",
                         store_path(s), (unsigned long long)load_be64(hash));
    default:
        return false;
    }
}

/* ---- into a machine
 * ---------------------------------------------------------- */

static bool load_frames(struct store *s, const struct snapshot *snap,
                        struct phys *phys, struct error *err)
{
    static const uint8_t zero[PAGE_BYTES];
    uint8_t *page = malloc(SNAPSHOT_CHUNK);
    size_t at = 0, bytes;
    bool ok = page != NULL ||
              error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s));
    for (uint32_t f = 0; ok && f < phys_frames(phys); f++) {
        const uint8_t *entry = snap->frames + at * SNAPSHOT_FRAME_BYTES;
        const uint8_t *want = zero;
        if (at < snap->frame_count && load_le32(entry) == f) {
            at++;
            want = page;
            ok = snapshot_page(s, entry + 4, page, &bytes, err);
            if (ok && bytes != PAGE_BYTES)
                ok = error_set(err, ERR_INPUT,
                               "%s: snapshot at tick %llu: frame %u has %zu "
                               "bytes, expected %d",
                               store_path(s), (unsigned long long)snap->tick, f,
                               bytes, PAGE_BYTES);
        } else if (!(phys_frame_flags(phys, f) & FRAME_TOUCHED)) {
            continue;
        }
        if (ok && memcmp(phys_frame_host(phys, f), want, PAGE_BYTES) != 0)
            phys_frame_write(phys, f, 0, want, PAGE_BYTES);
    }
    free(page);
    if (ok && at != snap->frame_count)
        return error_set(err, ERR_INPUT,
                         "%s: snapshot at tick %llu names frame %u, this "
                         "machine has %u",
                         store_path(s), (unsigned long long)snap->tick,
                         load_le32(snap->frames + at * SNAPSHOT_FRAME_BYTES),
                         phys_frames(phys));
    return ok;
}

static bool load_block(struct store *s, struct block *b, uint64_t bytes,
                       uint32_t chunks, const uint8_t *hashes,
                       struct error *err)
{
    struct writer w;
    struct reader r;
    size_t got;
    uint8_t *chunk = malloc(SNAPSHOT_CHUNK);
    bool ok = chunk != NULL;
    writer_init(&w);
    if (!ok)
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s));
    for (uint32_t i = 0; ok && i < chunks; i++) {
        ok = snapshot_page(s, hashes + (size_t)i * SNAPSHOT_HASH_BYTES, chunk,
                           &got, err);
        if (ok)
            writer_bytes(&w, chunk, got);
    }
    if (ok && (w.failed || w.used != bytes))
        ok = error_set(err, w.failed ? ERR_NOMEM : ERR_INPUT,
                       "%s: a disk layer has %zu bytes, expected %llu",
                       store_path(s), w.used, (unsigned long long)bytes);
    if (ok) {
        reader_init(&r, w.data, w.used);
        ok = block_load(b, &r, err);
    }
    writer_fini(&w);
    free(chunk);
    return ok;
}

static bool load_blocks(struct store *s, const struct snapshot *snap,
                        struct machine *m, struct error *err)
{
    struct reader r;
    uint32_t drive, chunks;
    uint64_t bytes;
    const uint8_t *hashes;
    reader_init(&r, snap->blocks, snap->blocks_bytes);
    while (snapshot_next_block(&r, &drive, &bytes, &chunks, &hashes)) {
        struct block *b = machine_block(m, drive);
        if (!b)
            return error_set(err, ERR_MISMATCH,
                             "%s: snapshot at tick %llu: expected a medium in "
                             "drive %u, found none",
                             store_path(s), (unsigned long long)snap->tick,
                             drive);
        if (!load_block(s, b, bytes, chunks, hashes, err))
            return false;
    }
    return true;
}

bool snapshot_load(struct store *s, const struct snapshot *snap,
                   struct machine *m, struct error *err)
{
    struct reader r;
    reader_init(&r, snap->devices, snap->devices_bytes);
    if (!machine_load_devices(m, &r, err) ||
        !load_frames(s, snap, machine_phys(m), err) ||
        !load_blocks(s, snap, m, err))
        return false;
    if (machine_tick(m) != snap->tick)
        return error_set(err, ERR_INPUT,
                         "%s: snapshot at tick %llu holds the state of tick "
                         "%llu",
                         store_path(s), (unsigned long long)snap->tick,
                         (unsigned long long)machine_tick(m));
    return true;
}

/* ---- comparing
 * ----------------------------------------------------------------- */

static bool frame_differs(const struct phys *phys, uint32_t f,
                          const uint8_t *hash)
{
    XXH128_canonical_t now;
    XXH128_canonicalFromHash(
        &now, XXH3_128bits(phys_frame_host(phys, f), PAGE_BYTES));
    return memcmp(now.digest, hash, SNAPSHOT_HASH_BYTES) != 0;
}

bool snapshot_first_difference(struct store *s, const struct snapshot *snap,
                               struct machine *m, char *text, size_t text_bytes)
{
    struct writer w;
    (void)s;
    writer_init(&w);
    machine_save_devices(m, &w);
    bool differs = !w.failed &&
                   machine_first_difference(snap->devices, snap->devices_bytes,
                                            w.data, w.used, text, text_bytes);
    writer_fini(&w);
    const struct phys *phys = machine_phys(m);
    size_t at = 0;
    for (uint32_t f = 0; !differs && f < phys_frames(phys); f++) {
        const uint8_t *entry = snap->frames + at * SNAPSHOT_FRAME_BYTES;
        bool named = at < snap->frame_count && load_le32(entry) == f;
        if (named)
            differs = frame_differs(phys, f, entry + 4);
        else if (phys_frame_flags(phys, f) & FRAME_TOUCHED)
            differs = !snapshot_is_zero(phys_frame_host(phys, f));
        at += named;
        if (differs)
            (void)snprintf(text, text_bytes, "memory frame %u", f);
    }
    return differs;
}
