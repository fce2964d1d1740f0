/* The digest of all frames, and saving and loading them. */
#include "mem/phys.h"

#include "base/bytes.h"
#include "mem/phys_internal.h"

#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#define SAVE_END UINT32_MAX /* stands where a frame number would */

static bool is_zero(const uint8_t *page)
{
    return load_le64(page) == 0 && memcmp(page, page + 8, PAGE_BYTES - 8) == 0;
}

/* a += b and a -= b modulo 2^128. */
static void add128(uint64_t a[2], const uint64_t b[2])
{
    a[0] += b[0];
    a[1] += b[1] + (a[0] < b[0]);
}

static void sub128(uint64_t a[2], const uint64_t b[2])
{
    uint64_t borrow = a[0] < b[0];
    a[0] -= b[0];
    a[1] -= b[1] + borrow;
}

static void rehash(struct phys *p, uint32_t frame)
{
    const uint8_t *page = p->memory + ((size_t)frame << PAGE_SHIFT);
    uint64_t now[2] = {0, 0};
    if (!is_zero(page)) {
        XXH128_hash_t h = XXH3_128bits_withSeed(page, PAGE_BYTES, frame);
        now[0] = h.low64;
        now[1] = h.high64;
    }
    sub128(p->digest, p->hashes[frame]);
    add128(p->digest, now);
    memcpy(p->hashes[frame], now, sizeof now);
}

void phys_digest(struct phys *p, uint8_t out[16])
{
    bool was_direct = false;
    for (uint32_t i = 0; i < p->dirty_count; i++) {
        uint32_t frame = p->dirty[i];
        rehash(p, frame);
        was_direct |= (p->flags[frame] & FRAME_DIRECT) != 0;
        p->flags[frame] &= (uint8_t) ~(FRAME_DIRTY | FRAME_DIRECT);
    }
    p->dirty_count = 0;
    if (was_direct)
        phys_drop(p, PHYS_DROP_WRITES);
    store_le64(out, p->digest[0]);
    store_le64(out + 8, p->digest[1]);
}

void phys_save(const struct phys *p, struct writer *w)
{
    writer_u32(w, p->frames);
    for (uint32_t frame = 0; frame < p->frames; frame++) {
        if (!(p->flags[frame] & FRAME_TOUCHED))
            continue;
        const uint8_t *page = p->memory + ((size_t)frame << PAGE_SHIFT);
        if (is_zero(page))
            continue;
        writer_u32(w, frame);
        writer_bytes(w, page, PAGE_BYTES);
    }
    writer_u32(w, SAVE_END);
}

/* All frames as they were at machine start. Their digest is brought up to date
 * by the next phys_digest(), because they stay DIRTY. */
static void zero_touched(struct phys *p)
{
    static const uint8_t zeros[PAGE_BYTES];
    phys_drop(p, PHYS_DROP_ALL);
    for (uint32_t frame = 0; frame < p->frames; frame++) {
        if (!(p->flags[frame] & FRAME_TOUCHED))
            continue;
        phys_store(p, frame, 0, zeros, PAGE_BYTES);
        madvise(p->memory + ((size_t)frame << PAGE_SHIFT), PAGE_BYTES,
                MADV_DONTNEED);
        p->flags[frame] &= (uint8_t) ~(FRAME_TOUCHED | FRAME_DIRECT);
    }
    p->touched = 0;
}

bool phys_load(struct phys *p, struct reader *r, struct error *err)
{
    uint32_t frames = reader_u32(r);
    if (!reader_ok(r, "guest memory", err))
        return false;
    if (frames != p->frames)
        return error_set(err, ERR_MISMATCH,
                         "guest memory: expected %u pages, found %u", p->frames,
                         frames);
    zero_touched(p);
    for (int64_t before = -1;;) {
        uint8_t page[PAGE_BYTES];
        uint32_t frame = reader_u32(r);
        if (!reader_ok(r, "guest memory", err))
            return false;
        if (frame == SAVE_END)
            return true;
        if (frame >= p->frames || (int64_t)frame <= before)
            return error_set(err, ERR_INPUT,
                             "guest memory: expected a page from %lld to %u, "
                             "found page %u",
                             (long long)before + 1, p->frames, frame);
        before = frame;
        reader_bytes(r, page, sizeof page);
        if (!reader_ok(r, "guest memory", err))
            return false;
        phys_store(p, frame, 0, page, sizeof page);
    }
}
