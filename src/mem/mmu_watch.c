/* An observer's watches on linear addresses. */
#include "mem/mmu_internal.h"

#include <assert.h>

void mmu_set_watches(struct mmu *m, const struct mmu_watch *watches,
                     unsigned count, mmu_watch_fn *fn, void *context)
{
    struct mmu_internal *in = m->internal;
    assert(fn || count == 0);
    in->watches = watches;
    in->watch_count = count;
    in->watch_fn = fn;
    in->watch_context = context;
    in->is_told = count || in->observe_fn;
    mmu_tlb_reset(m);
}

void mmu_observe(struct mmu *m, mmu_observe_fn *fn, void *context)
{
    struct mmu_internal *in = m->internal;
    in->observe_fn = fn;
    in->observe_context = context;
    in->is_told = in->watch_count || fn;
    mmu_show(m); /* the TLB that fits */
}

/* Bytes from `a` on and from `b` on: do they share one? Neither wraps. */
static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a <= b ? b - a < a_bytes : a - b < b_bytes;
}

bool mmu_is_watched(const struct mmu *m, uint64_t vaddr, uint64_t bytes,
                    bool is_write)
{
    const struct mmu_internal *in = m->internal;
    for (unsigned i = 0; i < in->watch_count; i++) {
        const struct mmu_watch *w = &in->watches[i];
        if ((is_write ? w->writes : w->reads) &&
            overlap(w->vaddr, w->bytes, vaddr, bytes))
            return true;
    }
    return false;
}

void mmu_watch_report(struct mmu *m, uint64_t vaddr, unsigned bytes,
                      unsigned how, const void *data)
{
    const struct mmu_internal *in = m->internal;
    bool is_write = (how & 3) == ACCESS_WRITE;
    if (in->observe_fn)
        in->observe_fn(in->observe_context, vaddr, bytes, is_write,
                       (how & ACCESS_SYSTEM) != 0, data);
    for (unsigned i = 0; i < in->watch_count; i++) {
        const struct mmu_watch *w = &in->watches[i];
        if ((is_write ? w->writes : w->reads) &&
            overlap(w->vaddr, w->bytes, vaddr, bytes))
            in->watch_fn(in->watch_context, i, vaddr, bytes, is_write, data);
    }
}
