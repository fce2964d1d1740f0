/* Frames: their memory, their flags and every store into them. */
#include "mem/phys.h"

#include "base/pages.h"
#include "mem/phys_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct phys *phys_new(uint64_t frame_bytes_max, struct error *err)
{
    uint64_t frames = (frame_bytes_max + PAGE_BYTES - 1) >> PAGE_SHIFT;
    if (frames == 0 || frames >= PHYS_DROP_WRITES) {
        error_set(err, ERR_USAGE,
                  "guest memory: expected 1 byte to 16 TiB, found %llu bytes",
                  (unsigned long long)frame_bytes_max);
        return NULL;
    }
    struct phys *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ERR_NOMEM, "guest memory: out of memory");
        return NULL;
    }
    p->frames_max = (uint32_t)frames;
    p->a20_mask = UINT64_MAX;
    p->memory = pages_reserve(frames << PAGE_SHIFT);
    p->flags = pages_reserve(frames);
    p->hashes = pages_reserve(frames * sizeof *p->hashes);
    p->dirty = pages_reserve(frames * sizeof *p->dirty);
    p->changes = pages_reserve(frames * sizeof *p->changes);
    p->read.ranges = pages_reserve(PHYS_RANGES_MAX * sizeof *p->read.ranges);
    p->write.ranges = pages_reserve(PHYS_RANGES_MAX * sizeof *p->write.ranges);
    if (!p->memory || !p->flags || !p->hashes || !p->dirty || !p->changes ||
        !p->read.ranges || !p->write.ranges) {
        phys_free(p);
        error_set(err, ERR_NOMEM, "guest memory: cannot reserve %llu bytes",
                  (unsigned long long)frame_bytes_max);
        return NULL;
    }
    return p;
}

void phys_free(struct phys *p)
{
    if (!p)
        return;
    size_t frames = p->frames_max;
    pages_release(p->memory, frames << PAGE_SHIFT);
    pages_release(p->flags, frames);
    pages_release(p->hashes, frames * sizeof *p->hashes);
    pages_release(p->dirty, frames * sizeof *p->dirty);
    pages_release(p->changes, frames * sizeof *p->changes);
    pages_release(p->read.ranges, PHYS_RANGES_MAX * sizeof *p->read.ranges);
    pages_release(p->write.ranges, PHYS_RANGES_MAX * sizeof *p->write.ranges);
    free(p);
}

uint32_t phys_add_memory(struct phys *p, const char *name, uint64_t bytes,
                         bool rom)
{
    (void)name; /* for readers of the caller */
    uint64_t count = (bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
    assert(count <= p->frames_max - p->frames);
    uint32_t first = p->frames;
    if (rom)
        memset(p->flags + first, FRAME_ROM, count);
    p->frames += (uint32_t)count;
    return first;
}

uint32_t phys_frames(const struct phys *p)
{
    return p->frames;
}

uint8_t *phys_frame_host(const struct phys *p, uint32_t frame)
{
    assert(frame < p->frames);
    return p->memory + ((size_t)frame << PAGE_SHIFT);
}

unsigned phys_frame_flags(const struct phys *p, uint32_t frame)
{
    assert(frame < p->frames);
    return p->flags[frame] & FRAME_FLAGS_PUBLIC;
}

void phys_on_drop(struct phys *p, phys_drop_fn *fn, void *context)
{
    p->drop_fn = fn;
    p->drop_context = context;
}

void phys_drop(struct phys *p, uint32_t frame)
{
    if (p->drop_fn)
        p->drop_fn(p->drop_context, frame);
}

void phys_flag_set(struct phys *p, uint32_t frame, unsigned flag)
{
    assert(frame < p->frames && !(flag & ~(unsigned)FRAME_WATCHED));
    bool was_direct = p->flags[frame] & FRAME_DIRECT;
    p->flags[frame] = (uint8_t)((p->flags[frame] & ~FRAME_DIRECT) | flag);
    if (was_direct)
        phys_drop(p, frame);
}

void phys_flag_clear(struct phys *p, uint32_t frame, unsigned flag)
{
    assert(frame < p->frames && !(flag & ~(unsigned)FRAME_WATCHED));
    p->flags[frame] &= (uint8_t)~flag;
}

void phys_mark_dirty(struct phys *p, uint32_t frame)
{
    const uint8_t all = FRAME_DIRTY | FRAME_TOUCHED | FRAME_CHANGED;
    uint8_t flags = p->flags[frame];
    if ((flags & all) == all)
        return;
    if (!(flags & FRAME_CHANGED)) {
        p->changes[p->change_count++] = frame;
        if (p->first_store)
            p->first_store(p->first_store_context, frame);
    }
    if (!(flags & FRAME_DIRTY))
        p->dirty[p->dirty_count++] = frame;
    p->touched += !(flags & FRAME_TOUCHED);
    p->flags[frame] = flags | all;
}

uint32_t phys_changes(const struct phys *p, const uint32_t **frames)
{
    *frames = p->changes;
    return p->change_count;
}

void phys_forget_changes(struct phys *p)
{
    bool was_direct = false;
    for (uint32_t i = 0; i < p->change_count; i++) {
        uint8_t *flags = &p->flags[p->changes[i]];
        was_direct |= (*flags & FRAME_DIRECT) != 0;
        *flags &= (uint8_t) ~(FRAME_CHANGED | FRAME_DIRECT);
    }
    p->change_count = 0;
    if (was_direct)
        phys_drop(p, PHYS_DROP_WRITES);
}

void phys_on_first_store(struct phys *p, phys_first_store_fn *fn, void *context)
{
    p->first_store = fn;
    p->first_store_context = context;
}

bool phys_make_writable(struct phys *p, uint32_t frame)
{
    assert(frame < p->frames);
    if (p->flags[frame] & (FRAME_WATCHED | FRAME_ROM))
        return false;
    phys_mark_dirty(p, frame);
    p->flags[frame] |= FRAME_DIRECT;
    return true;
}

void phys_watch(struct phys *p, unsigned flag, phys_watch_fn *fn, void *context)
{
    assert(flag == FRAME_CODE || flag == FRAME_TABLE);
    struct phys_watcher w = {fn, context};
    if (flag == FRAME_CODE)
        p->code_watcher = w;
    else
        p->table_watcher = w;
}

void phys_spy(struct phys *p, phys_spy_fn *fn, void *context)
{
    p->spy = fn;
    p->spy_context = context;
}

void phys_set_clock(struct phys *p, uint64_t (*now_ns)(void *context),
                    void *context)
{
    p->now_ns = now_ns;
    p->now_context = context;
}

const struct phys_counts *phys_counts(const struct phys *p)
{
    return &p->counts;
}

void phys_spy_mmio(struct phys *p, phys_mmio_spy_fn *fn, void *context)
{
    p->mmio_spy = fn;
    p->mmio_spy_context = context;
}

/* A store into a frame that somebody watches. Storing what is there already
 * changes nothing, so nobody is told. */
static void store_watched(struct phys *p, uint32_t frame, uint32_t offset,
                          const void *in, uint32_t bytes)
{
    uint8_t old[PAGE_BYTES];
    uint8_t *at = p->memory + ((size_t)frame << PAGE_SHIFT) + offset;
    if ((p->flags[frame] & FRAME_SPIED) && p->spy)
        p->spy(p->spy_context, frame, offset, bytes, in, p->is_dma);
    if (memcmp(at, in, bytes) == 0)
        return;
    memcpy(old, at, bytes);
    memcpy(at, in, bytes);
    const struct phys_watcher *w = &p->code_watcher;
    if ((p->flags[frame] & FRAME_CODE) && w->fn)
        w->fn(w->context, frame, offset, bytes, old);
    w = &p->table_watcher;
    if ((p->flags[frame] & FRAME_TABLE) && w->fn)
        w->fn(w->context, frame, offset, bytes, old);
}

void phys_store(struct phys *p, uint32_t frame, uint32_t offset, const void *in,
                uint32_t bytes)
{
    phys_mark_dirty(p, frame);
    if (p->flags[frame] & FRAME_WATCHED)
        store_watched(p, frame, offset, in, bytes);
    else
        memcpy(p->memory + ((size_t)frame << PAGE_SHIFT) + offset, in, bytes);
}

void phys_frame_write(struct phys *p, uint32_t frame, uint32_t offset,
                      const void *in, uint32_t bytes)
{
    assert(frame < p->frames && offset <= PAGE_BYTES &&
           bytes <= PAGE_BYTES - offset);
    if (bytes)
        phys_store(p, frame, offset, in, bytes);
}

uint64_t phys_touched_bytes(const struct phys *p)
{
    return (uint64_t)p->touched << PAGE_SHIFT;
}
