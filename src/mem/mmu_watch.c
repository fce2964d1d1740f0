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
    mmu_tlb_reset(m);
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
                      bool is_write)
{
    const struct mmu_internal *in = m->internal;
    for (unsigned i = 0; i < in->watch_count; i++) {
        const struct mmu_watch *w = &in->watches[i];
        if ((is_write ? w->writes : w->reads) &&
            overlap(w->vaddr, w->bytes, vaddr, bytes))
            in->watch_fn(in->watch_context, i, vaddr, bytes, is_write);
    }
}
