/* One key, and one inline TLB of supervisor accesses, for the kernel half of many
 * address spaces.
 *
 * Caches of code by linear address go by mmu.space_key. With a key for each
 * space a kernel would be new to every process. Spaces of 4-level paging whose
 * top tables have the same upper halves, with all present entries accessed,
 * translate upper addresses alike and set the same bits: they share the key of
 * supervisor fetches, as long as those are from upper addresses. The upper
 * halves of their top tables are watched; a space whose half is stored to
 * leaves. The tables below are the same frames, so a
 * change there renews the common key.
 *
 * Kernels access the lower half too: the TLB that spaces share holds such entries
 * for one of them, its owner, and they go when another takes over. */
#include "mem/mmu_internal.h"

#include "base/bytes.h"

#include <string.h>

#define ENTRY_P UINT64_C(1)
#define ENTRY_A UINT64_C(0x20)

enum { HALF_BYTES = PAGE_BYTES / 2, HALF_ENTRIES = HALF_BYTES / 8 };

/* The key of supervisor fetches changes. */
static void set_key(struct mmu *m, struct space *s, uint64_t key)
{
    struct mmu_internal *in = m->internal;
    s->key[0] = key;
    if (s != in->space)
        return;
    mmu_show(m);
    if (!m->is_user && m->on_rekey)
        m->on_rekey(m->rekey_context);
}

/* The upper half of a top table; its frame, or false. One without entries is
 * nothing to share. */
static bool read_root(struct mmu *m, const struct space *s,
                      uint64_t root[HALF_ENTRIES], uint32_t *frame)
{
    struct phys_page page;
    phys_lookup(m->phys, mmu_a20(m, s->config.root), PHYS_READ, &page);
    if (!page.host)
        return false;
    *frame = page.frame;
    uint64_t any = 0;
    for (unsigned i = 0; i < HALF_ENTRIES; i++) {
        root[i] = load_le64(page.host + HALF_BYTES + i * 8);
        if ((root[i] & ENTRY_P) && !(root[i] & ENTRY_A))
            return false;
        any |= root[i];
    }
    return any & ENTRY_P;
}

static bool is_shared(const struct mmu_internal *in)
{
    bool any = false;
    for (unsigned i = 0; i < SPACES; i++)
        any |= in->spaces[i].shares;
    return any;
}

void mmu_share_join(struct mmu *m, struct space *s)
{
    struct mmu_internal *in = m->internal;
    struct kernel_half *k = &in->kernel;
    uint64_t root[HALF_ENTRIES];
    uint32_t frame;
    if (!s->may_share)
        return;
    s->may_share = false;
    if ((s->config.bits & PAGING_MODE) != PAGING_4LEVEL ||
        !read_root(m, s, root, &frame))
        return;
    bool fits = k->is_live && k->bits == s->config.bits &&
                memcmp(k->root, root, sizeof root) == 0;
    if ((!fits && is_shared(in)) || !mmu_track_root(m, frame, s))
        return;
    if (!fits) {
        k->is_live = true;
        k->bits = s->config.bits;
        memcpy(k->root, root, sizeof root);
        k->key = ++in->last_key;
        memset(k->fetched, 0, sizeof k->fetched);
        mmu_tlb_empty(in, &k->tlb);
    }
    s->shares = true;
    mmu_tlb_empty(in, &s->own[0]);
    s->tlb[0] = &k->tlb;
    set_key(m, s, k->key);
}

void mmu_share_switched(struct mmu *m)
{
    struct mmu_internal *in = m->internal;
    if (!in->space->shares || in->kernel.owner == in->space)
        return;
    mmu_tlb_drop_lower(in);
    in->kernel.owner = in->space;
}

void mmu_share_part(struct mmu_internal *in, struct space *s)
{
    s->shares = false;
    s->tlb[0] = &s->own[0];
    if (in->kernel.owner == s)
        in->kernel.owner = NULL;
}

static void leave(struct mmu *m, struct space *s)
{
    if (!s->shares)
        return;
    mmu_share_part(m->internal, s);
    set_key(m, s, ++m->internal->last_key);
}

void mmu_share_leave_all(struct mmu *m, unsigned spaces)
{
    for (; spaces; spaces &= spaces - 1) {
        struct space *s = &m->internal->spaces[__builtin_ctz(spaces)];
        leave(m, s);
        s->may_share = true; /* its top table may be another's by now */
    }
}

void mmu_share_dissolve(struct mmu *m)
{
    struct mmu_internal *in = m->internal;
    mmu_share_leave_all(m, (1u << SPACES) - 1);
    in->kernel.is_live = false;
    mmu_tlb_empty(in, &in->kernel.tlb);
}

void mmu_share_drop(struct mmu *m, uint64_t vaddr, unsigned shift)
{
    struct mmu_internal *in = m->internal;
    struct kernel_half *k = &in->kernel;
    if (!k->is_live || !mmu_is_upper(vaddr) ||
        !mmu_was_fetched(k->fetched, vaddr, shift))
        return;
    k->key = ++in->last_key;
    memset(k->fetched, 0, sizeof k->fetched);
    for (unsigned i = 0; i < SPACES; i++)
        if (in->spaces[i].shares)
            set_key(m, &in->spaces[i], k->key);
}

void mmu_share_note_fetch(struct mmu *m, uint64_t vaddr)
{
    struct mmu_internal *in = m->internal;
    unsigned bit = mmu_fetch_hash(vaddr);
    uint64_t *set = in->kernel.fetched;
    if (!mmu_is_upper(vaddr)) {
        leave(m, in->space);
        set = in->space->fetched;
    }
    set[bit / 64] |= UINT64_C(1) << bit % 64;
}
