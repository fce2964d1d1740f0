/* The three levels of cached translations, and dropping from them. */
#include "mem/mmu_internal.h"

#include <string.h>

#define PAGE_MASK (~(uint64_t)(PAGE_BYTES - 1))

/* ---- inline entries ------------------------------------------------------ */

static unsigned inline_index(uint64_t vaddr)
{
    return vaddr >> PAGE_SHIFT & (TLB_ENTRIES - 1);
}

static uint32_t *write_bucket(struct mmu_internal *in, uint64_t frame)
{
    return &in->write_head[frame & (WRITE_BUCKETS - 1)];
}

static void link_write(struct mmu_internal *in, const struct tlb_entry *e)
{
    uint32_t i = (uint32_t)(e - in->entries);
    uint32_t *head = write_bucket(in, e->spare);
    in->write_link[i] = (struct entry_link){*head, INDEX_NONE};
    if (*head != INDEX_NONE)
        in->write_link[*head].before = i;
    *head = i;
}

static void drop_write(struct mmu_internal *in, struct tlb_entry *e)
{
    if (e->write_tag == TLB_NONE)
        return;
    e->write_tag = TLB_NONE;
    struct entry_link link = in->write_link[e - in->entries];
    if (link.next != INDEX_NONE)
        in->write_link[link.next].before = link.before;
    if (link.before != INDEX_NONE)
        in->write_link[link.before].next = link.next;
    else
        *write_bucket(in, e->spare) = link.next;
}

static void drop_inline(struct mmu_internal *in, struct tlb_entry *e)
{
    drop_write(in, e);
    e->read_tag = TLB_NONE;
}

void mmu_tlb_empty(struct mmu_internal *in, struct tlb_array *a)
{
    for (; a->parts; a->parts &= a->parts - 1) {
        unsigned word = (unsigned)__builtin_ctzll(a->parts);
        for (; a->held[word]; a->held[word] &= a->held[word] - 1)
            drop_inline(in, &a->entries[word * 64 + (unsigned)__builtin_ctzll(
                                                        a->held[word])]);
    }
}

void mmu_tlb_drop_lower(struct mmu_internal *in)
{
    struct kernel_half *k = &in->kernel;
    for (unsigned word = 0; word < HELD_WORDS; word++) {
        for (; k->lower[word]; k->lower[word] &= k->lower[word] - 1) {
            struct tlb_entry *e =
                &k->tlb.entries[word * 64 +
                                (unsigned)__builtin_ctzll(k->lower[word])];
            if (!mmu_is_upper(e->read_tag))
                drop_inline(in, e);
        }
    }
}

/* The entry for vaddr may hold something from now on. */
static void note_held(struct mmu_internal *in, struct tlb_array *a,
                      uint64_t vaddr)
{
    unsigned index = inline_index(vaddr);
    uint64_t bit = UINT64_C(1) << index % 64;
    a->parts |= UINT64_C(1) << index / 64;
    a->held[index / 64] |= bit;
    if (a == &in->kernel.tlb && !mmu_is_upper(vaddr))
        in->kernel.lower[index / 64] |= bit;
}

static void drop_frame_writes(struct mmu_internal *in, uint32_t frame)
{
    uint32_t i = *write_bucket(in, frame);
    while (i != INDEX_NONE) {
        struct tlb_entry *e = &in->entries[i];
        i = in->write_link[i].next;
        if ((uint32_t)e->spare == frame)
            drop_write(in, e);
    }
}

static void drop_all_writes(struct mmu_internal *in)
{
    for (unsigned b = 0; b < WRITE_BUCKETS; b++) {
        uint32_t i = in->write_head[b];
        in->write_head[b] = INDEX_NONE;
        for (; i != INDEX_NONE; i = in->write_link[i].next)
            in->entries[i].write_tag = TLB_NONE;
    }
}

void mmu_tlb_on_drop(void *context, uint32_t frame)
{
    struct mmu *m = context;
    if (frame == PHYS_DROP_ALL)
        mmu_tlb_reset(m);
    else if (frame == PHYS_DROP_WRITES)
        drop_all_writes(m->internal);
    else
        drop_frame_writes(m->internal, frame);
}

/* With a limit, the entry filled `limit` fills ago goes. */
static void keep_limit(struct mmu_internal *in, const struct tlb_entry *e)
{
    if (in->limit == TLB_ENTRIES)
        return;
    uint32_t i = (uint32_t)(e - in->entries);
    uint32_t old = in->ring[in->ring_at];
    in->ring[in->ring_at] = i;
    in->ring_at = (in->ring_at + 1) % in->limit;
    if (old != INDEX_NONE && old != i)
        drop_inline(in, &in->entries[old]);
}

void mmu_tlb_fill(struct mmu *m, bool is_user, uint64_t vaddr,
                  const struct mmu_page *page, bool is_write)
{
    struct mmu_internal *in = m->internal;
    struct tlb_array *a = in->space->tlb[is_user];
    struct tlb_entry *e = &a->entries[inline_index(vaddr)];
    uint64_t tag = vaddr & PAGE_MASK;
    if (!page->host || !page->is_cacheable)
        return;
    if (in->watch_count) {
        if (mmu_is_watched(m, tag, PAGE_BYTES, false))
            return;
        is_write = is_write && !mmu_is_watched(m, tag, PAGE_BYTES, true);
    }
    note_held(in, a, vaddr);
    if (e->read_tag != tag) {
        drop_inline(in, e);
        keep_limit(in, e);
        e->read_tag = tag;
        e->addend = (uint64_t)(uintptr_t)page->host - tag;
        e->spare = page->frame;
    }
    const uint32_t needed = RIGHT_SAME | RIGHT_DIRTY;
    if (!is_write || e->write_tag != TLB_NONE ||
        (page->rights & needed) != needed)
        return;
    if (phys_make_writable(m->phys, page->frame)) {
        e->spare = page->frame;
        e->write_tag = tag;
        link_write(in, e);
    } else {
        e->spare = page->frame | SPARE_WATCHED;
    }
}

/* ---- the second level and large pages ------------------------------------ */

static unsigned space_number(const struct mmu_internal *in,
                             const struct space *s)
{
    return (unsigned)(s - in->spaces);
}

static uint64_t l2_tag(uint64_t vaddr, unsigned shift, unsigned space)
{
    return vaddr >> shift << 3 | space;
}

static struct l2_entry *l2_set(struct mmu_internal *in, uint64_t vaddr,
                               unsigned space, unsigned *set)
{
    *set = (vaddr >> PAGE_SHIFT ^ vaddr >> 20 ^ space * 37) & (L2_SETS - 1);
    return in->l2[*set];
}

void mmu_page_find_memory(struct mmu *m, struct mmu_page *page)
{
    struct phys_page from, to;
    phys_lookup(m->phys, page->paddr, PHYS_READ, &from);
    phys_lookup(m->phys, page->paddr, PHYS_WRITE, &to);
    page->host = from.host;
    page->frame = from.frame;
    page->rights &= ~(uint32_t)RIGHT_SAME;
    if (from.host && from.host == to.host)
        page->rights |= RIGHT_SAME;
}

static bool find_large(struct mmu *m, uint64_t vaddr, struct mmu_page *page)
{
    struct mmu_internal *in = m->internal;
    uint64_t tag = l2_tag(vaddr, LARGE_SHIFT, space_number(in, in->space));
    for (unsigned i = 0; i < LARGE_ENTRIES; i++) {
        const struct l2_entry *e = &in->large[i];
        if (e->tag != tag)
            continue;
        uint64_t inside = vaddr & ((1u << LARGE_SHIFT) - 1) & PAGE_MASK;
        page->paddr = mmu_a20(m, e->paddr + inside);
        page->rights = e->rights;
        page->is_cacheable = true;
        mmu_page_find_memory(m, page);
        return true;
    }
    return false;
}

bool mmu_tlb_find(struct mmu *m, uint64_t vaddr, struct mmu_page *page)
{
    struct mmu_internal *in = m->internal;
    unsigned number = space_number(in, in->space), set;
    const struct l2_entry *e = l2_set(in, vaddr, number, &set);
    uint64_t tag = l2_tag(vaddr, PAGE_SHIFT, number);
    for (unsigned i = 0; i < L2_WAYS; i++) {
        if (e[i].tag != tag)
            continue;
        *page = (struct mmu_page){e[i].paddr, e[i].host, e[i].frame,
                                  e[i].rights, true};
        m->l2_hits++;
        return true;
    }
    if (!find_large(m, vaddr, page))
        return false;
    m->large_hits++;
    return true;
}

static void insert_large(struct mmu_internal *in, uint64_t vaddr,
                         const struct walk *w)
{
    uint64_t tag = l2_tag(vaddr, LARGE_SHIFT, space_number(in, in->space));
    struct l2_entry *e = NULL;
    for (unsigned i = 0; i < LARGE_ENTRIES; i++)
        if (in->large[i].tag == tag)
            e = &in->large[i];
    if (!e) {
        e = &in->large[in->large_victim];
        in->large_victim = (in->large_victim + 1) % LARGE_ENTRIES;
    }
    uint64_t inside = vaddr & ((UINT64_C(1) << w->page_shift) - 1);
    *e = (struct l2_entry){
        .tag = tag,
        .paddr = w->paddr + (inside >> LARGE_SHIFT << LARGE_SHIFT),
        .rights = w->rights,
    };
}

void mmu_tlb_insert(struct mmu *m, uint64_t vaddr, const struct walk *w,
                    const struct mmu_page *page)
{
    struct mmu_internal *in = m->internal;
    if (in->limit != TLB_ENTRIES)
        return;
    if (w->page_shift != PAGE_SHIFT) {
        insert_large(in, vaddr, w);
        return;
    }
    unsigned number = space_number(in, in->space), set;
    struct l2_entry *e = l2_set(in, vaddr, number, &set);
    uint64_t tag = l2_tag(vaddr, PAGE_SHIFT, number);
    unsigned way = 0;
    while (way < L2_WAYS && e[way].tag != tag)
        way++;
    if (way == L2_WAYS)
        way = in->l2_victim[set]++ % L2_WAYS;
    e[way] = (struct l2_entry){tag, page->paddr, page->host, page->frame,
                               page->rights};
}

/* ---- keys ---------------------------------------------------------------- */

unsigned mmu_fetch_hash(uint64_t vaddr)
{
    /* Keeps 512 aligned pages together: see mmu_was_fetched(). */
    uint64_t number = vaddr >> PAGE_SHIFT;
    return (number ^ number >> 13) & (FETCH_BITS - 1);
}

bool mmu_was_fetched(const uint64_t set[FETCH_BITS / 64], uint64_t vaddr,
                     unsigned shift)
{
    unsigned bit = mmu_fetch_hash(vaddr), first = 0, words = FETCH_BITS / 64;
    uint64_t any = 0;
    if (shift == PAGE_SHIFT)
        return set[bit / 64] >> bit % 64 & 1;
    if (shift == LARGE_SHIFT) {
        first = (bit & ~511u) / 64;
        words = 512 / 64;
    }
    for (unsigned i = first; i < first + words; i++)
        any |= set[i];
    return any != 0;
}

static void renew_keys(struct mmu *m, struct space *s)
{
    struct mmu_internal *in = m->internal;
    if (!s->shares)
        s->key[0] = ++in->last_key;
    s->key[1] = ++in->last_key;
    memset(s->fetched, 0, sizeof s->fetched);
    if (s != in->space)
        return;
    mmu_show(m);
    if (m->on_rekey)
        m->on_rekey(m->rekey_context);
}

void mmu_tlb_note_fetch(struct mmu *m, uint64_t vaddr)
{
    struct mmu_internal *in = m->internal;
    unsigned bit = mmu_fetch_hash(vaddr);
    if (in->space->shares && !m->is_user)
        mmu_share_note_fetch(m, vaddr);
    else
        in->space->fetched[bit / 64] |= UINT64_C(1) << bit % 64;
}

/* Give the space new keys if code may have been fetched from the range. */
static void drop_fetches(struct mmu *m, struct space *s, uint64_t vaddr,
                         unsigned shift)
{
    if (mmu_was_fetched(s->fetched, vaddr, shift))
        renew_keys(m, s);
}

/* ---- dropping ------------------------------------------------------------ */

static void drop_inline_page(struct mmu_internal *in, struct tlb_array *a,
                             uint64_t vaddr)
{
    struct tlb_entry *e = &a->entries[inline_index(vaddr)];
    if (e->read_tag == vaddr)
        drop_inline(in, e);
}

/* Upper addresses may be in the kernel half's array whichever space the tables
 * were walked for. */
void mmu_tlb_drop_page(struct mmu *m, unsigned spaces, uint64_t vaddr)
{
    struct mmu_internal *in = m->internal;
    m->drops++;
    if (mmu_is_upper(vaddr))
        drop_inline_page(in, &in->kernel.tlb, vaddr);
    for (; spaces; spaces &= spaces - 1) {
        unsigned number = (unsigned)__builtin_ctz(spaces), set;
        struct space *s = &in->spaces[number];
        for (unsigned user = 0; user < 2; user++)
            drop_inline_page(in, s->tlb[user], vaddr);
        struct l2_entry *e = l2_set(in, vaddr, number, &set);
        uint64_t tag = l2_tag(vaddr, PAGE_SHIFT, number);
        for (unsigned i = 0; i < L2_WAYS; i++)
            if (e[i].tag == tag)
                e[i].tag = TLB_NONE;
        drop_fetches(m, s, vaddr, PAGE_SHIFT);
    }
}

static void drop_inline_range(struct mmu_internal *in, struct tlb_array *a,
                              uint64_t vaddr, unsigned shift)
{
    uint64_t parts = a->parts;
    if (shift == LARGE_SHIFT) {
        unsigned first = inline_index(vaddr >> shift << shift) / 64;
        parts &= ((UINT64_C(1) << 512 / 64) - 1) << first;
    }
    for (; parts; parts &= parts - 1) {
        unsigned word = (unsigned)__builtin_ctzll(parts);
        for (uint64_t held = a->held[word]; held; held &= held - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(held);
            struct tlb_entry *e = &a->entries[word * 64 + bit];
            if (e->read_tag != TLB_NONE && (e->read_tag ^ vaddr) >> shift != 0)
                continue;
            drop_inline(in, e);
            a->held[word] &= ~(UINT64_C(1) << bit);
        }
    }
}

static void drop_l2_range(struct l2_entry *e, unsigned count,
                          unsigned tag_shift, unsigned spaces, uint64_t vaddr,
                          unsigned shift)
{
    uint64_t wanted = vaddr >> shift;
    for (unsigned i = 0; i < count; i++)
        if (e[i].tag != TLB_NONE && spaces >> (e[i].tag & 7) & 1 &&
            e[i].tag >> 3 >> (shift - tag_shift) == wanted)
            e[i].tag = TLB_NONE;
}

void mmu_tlb_drop_range(struct mmu *m, unsigned spaces, uint64_t vaddr,
                        unsigned shift)
{
    struct mmu_internal *in = m->internal;
    m->drops++;
    drop_l2_range(in->l2[0], L2_SETS * L2_WAYS, PAGE_SHIFT, spaces, vaddr,
                  shift);
    drop_l2_range(in->large, LARGE_ENTRIES, LARGE_SHIFT, spaces, vaddr, shift);
    if (mmu_is_upper(vaddr))
        drop_inline_range(in, &in->kernel.tlb, vaddr, shift);
    for (; spaces; spaces &= spaces - 1) {
        struct space *s = &in->spaces[__builtin_ctz(spaces)];
        if (shift >= 48) {
            mmu_tlb_reset_space(m, s);
            continue;
        }
        for (unsigned user = 0; user < 2; user++)
            drop_inline_range(in, s->tlb[user], vaddr, shift);
        drop_fetches(m, s, vaddr, shift);
    }
}

static void forget_space(struct l2_entry *e, unsigned count, unsigned space)
{
    for (unsigned i = 0; i < count; i++)
        if (e[i].tag != TLB_NONE && (e[i].tag & 7) == space)
            e[i].tag = TLB_NONE;
}

void mmu_tlb_reset_space(struct mmu *m, struct space *s)
{
    struct mmu_internal *in = m->internal;
    mmu_share_part(in, s);
    mmu_tlb_empty(in, &s->own[0]);
    mmu_tlb_empty(in, &s->own[1]);
    forget_space(in->l2[0], L2_SETS * L2_WAYS, space_number(in, s));
    forget_space(in->large, LARGE_ENTRIES, space_number(in, s));
    s->may_share = true;
    renew_keys(m, s);
}

void mmu_tlb_reset(struct mmu *m)
{
    struct mmu_internal *in = m->internal;
    mmu_share_dissolve(m);
    for (unsigned i = 0; i < SPACES; i++) {
        mmu_tlb_empty(in, &in->spaces[i].own[0]);
        mmu_tlb_empty(in, &in->spaces[i].own[1]);
        renew_keys(m, &in->spaces[i]);
    }
    memset(in->l2, 0xff, sizeof in->l2); /* TLB_NONE */
    memset(in->large, 0xff, sizeof in->large);
    memset(in->ring, 0xff, sizeof in->ring); /* INDEX_NONE */
    mmu_track_reset(m);
}
