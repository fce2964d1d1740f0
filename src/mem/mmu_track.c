/* Which page-table entries cached translations were read from.
 *
 * Each page-table frame in use has a record: which of its entries some cached
 * translation went through, and for which linear addresses and spaces the
 * frame serves as a table. A store that changes such an entry drops the
 * addresses that the entry covers. Records may claim too much (an evicted
 * translation, a space since replaced), never too little. */
#include "mem/mmu_internal.h"

#include "base/bytes.h"

/* Entry bits without meaning for the translation: PWT, PCD, G, available. */
#define ENTRY_IGNORED UINT64_C(0xf18)
#define ENTRY_A_D     UINT64_C(0x60)

enum { ROOT_LEVEL = 4 };

static uint32_t bucket(uint32_t frame)
{
    return frame & (TABLE_BUCKETS - 1);
}

static struct table *table_find(struct mmu_internal *in, uint32_t frame)
{
    uint32_t i = in->table_head[bucket(frame)];
    while (i != TABLE_NONE && in->tables[i].frame != frame)
        i = in->tables[i].next;
    return i == TABLE_NONE ? NULL : &in->tables[i];
}

/* NULL when all records are taken. */
static struct table *table_new(struct mmu *m, uint32_t frame,
                               uint8_t entry_bytes)
{
    struct mmu_internal *in = m->internal;
    uint32_t i = in->table_free;
    if (i != TABLE_NONE)
        in->table_free = in->tables[i].next;
    else if (in->tables_high < TABLES_MAX)
        i = in->tables_high++;
    else
        return NULL;
    struct table *t = &in->tables[i];
    *t = (struct table){.frame = frame, .entry_bytes = entry_bytes};
    t->next = in->table_head[bucket(frame)];
    in->table_head[bucket(frame)] = i;
    phys_flag_set(m->phys, frame, FRAME_TABLE);
    return t;
}

static void table_release(struct mmu *m, struct table *t)
{
    struct mmu_internal *in = m->internal;
    uint32_t i = (uint32_t)(t - in->tables);
    uint32_t *at = &in->table_head[bucket(t->frame)];
    while (*at != i)
        at = &in->tables[*at].next;
    *at = t->next;
    t->entry_bytes = 0;
    t->next = in->table_free;
    in->table_free = i;
    phys_flag_clear(m->phys, t->frame, FRAME_TABLE);
}

void mmu_track_reset(struct mmu *m)
{
    struct mmu_internal *in = m->internal;
    for (uint32_t i = 0; i < in->tables_high; i++) {
        in->table_head[bucket(in->tables[i].frame)] = TABLE_NONE;
        if (in->tables[i].entry_bytes)
            phys_flag_clear(m->phys, in->tables[i].frame, FRAME_TABLE);
    }
    in->tables_high = 0;
    in->table_free = TABLE_NONE;
}

/* Linear bytes that one entry at `level` covers, as a power of two. */
static unsigned entry_shift(unsigned entry_bytes, unsigned level)
{
    return PAGE_SHIFT + (level - 1) * (entry_bytes == 4 ? 10 : 9);
}

static uint64_t sign_extend_48(uint64_t vaddr)
{
    return (uint64_t)((int64_t)(vaddr << 16) >> 16);
}

static void drop_entry(struct mmu *m, struct table *t, unsigned entry)
{
    for (unsigned i = 0; i < t->uses; i++) {
        const struct table_use *u = &t->use[i];
        unsigned shift = entry_shift(t->entry_bytes, u->level);
        uint64_t at = sign_extend_48(u->base + ((uint64_t)entry << shift));
        if (u->level != ROOT_LEVEL)
            mmu_share_drop(m, at, shift);
        if (u->level == 1)
            mmu_tlb_drop_page(m, u->spaces, at);
        else
            mmu_tlb_drop_range(m, u->spaces, at, shift);
    }
    t->used[entry / 64] &= ~(UINT64_C(1) << entry % 64);
    t->used_entries--;
}

static void part_sharers(struct mmu *m, struct table *t)
{
    unsigned sharers = t->sharers;
    t->sharers = 0;
    mmu_share_leave_all(m, sharers);
}

/* Drop what depends on the frame as a whole, and stop watching it. */
static void drop_table(struct mmu *m, struct table *t)
{
    if (t->is_overflown) {
        mmu_tlb_reset(m);
        return;
    }
    for (unsigned i = 0; i < t->uses; i++) {
        const struct table_use *u = &t->use[i];
        unsigned shift = entry_shift(t->entry_bytes, u->level + 1u);
        if (u->level != ROOT_LEVEL)
            mmu_share_drop(m, u->base, shift);
        mmu_tlb_drop_range(m, u->spaces, u->base, shift);
    }
    part_sharers(m, t);
    table_release(m, t);
}

static void add_use(struct table *t, unsigned level, uint64_t base,
                    uint8_t space)
{
    for (unsigned i = 0; i < t->uses; i++) {
        if (t->use[i].level == level && t->use[i].base == base) {
            t->use[i].spaces |= space;
            return;
        }
    }
    if (t->uses == TABLE_USES)
        t->is_overflown = true;
    else
        t->use[t->uses++] = (struct table_use){base, (uint8_t)level, space};
}

/* False when everything must be dropped first: no record is left, or
 * the frame served too widely with entries of another size. */
static bool track_step(struct mmu *m, const struct walk *w,
                       const struct walk_step *step)
{
    struct mmu_internal *in = m->internal;
    struct table *t = table_find(in, step->frame);
    if (t && t->entry_bytes != w->entry_bytes) {
        if (t->is_overflown)
            return false;
        drop_table(m, t);
        t = NULL;
    }
    if (!t)
        t = table_new(m, step->frame, w->entry_bytes);
    if (!t)
        return false;
    unsigned shift = entry_shift(w->entry_bytes, step->level + 1u);
    uint64_t base = shift >= 48 ? 0 : w->vaddr >> shift << shift;
    add_use(t, step->level, base, (uint8_t)(1u << (in->space - in->spaces)));
    unsigned entry = step->offset / w->entry_bytes;
    uint64_t bit = UINT64_C(1) << entry % 64;
    t->used_entries += !(t->used[entry / 64] & bit);
    t->used[entry / 64] |= bit;
    t->noise = 0;
    return true;
}

void mmu_track(struct mmu *m, const struct walk *w)
{
    for (unsigned i = 0; i < w->steps; i++) {
        if (track_step(m, w, &w->step[i]))
            continue;
        mmu_tlb_reset(m);
        for (unsigned again = 0; again <= i; again++)
            track_step(m, w, &w->step[again]);
    }
}

bool mmu_track_root(struct mmu *m, uint32_t frame, const struct space *s)
{
    struct mmu_internal *in = m->internal;
    struct table *t = table_find(in, frame);
    if (!t)
        t = table_new(m, frame, 8);
    if (!t || t->entry_bytes != 8)
        return false;
    t->sharers |= (uint8_t)(1u << (s - in->spaces));
    return true;
}

/* Does the change of an entry call for another translation? Setting A or D
 * does not: a translation is cached with A set, and written through with D. */
static bool matters(uint64_t old, uint64_t now)
{
    return ((old ^ now) & ~(ENTRY_IGNORED | ENTRY_A_D)) != 0 ||
           (old & ~now & ENTRY_A_D) != 0;
}

/* The entry at byte `at` before bytes [offset, offset + bytes) changed. */
static uint64_t entry_before(const uint8_t *now, uint32_t at,
                             unsigned entry_bytes, uint32_t offset,
                             uint32_t bytes, const uint8_t *old)
{
    uint8_t e[8] = {0};
    for (uint32_t i = 0; i < entry_bytes; i++) {
        uint32_t place = at + i;
        bool is_changed = place >= offset && place - offset < bytes;
        e[i] = is_changed ? old[place - offset] : now[place];
    }
    return load_le64(e);
}

void mmu_track_store(void *context, uint32_t frame, uint32_t offset,
                     uint32_t bytes, const void *old)
{
    struct mmu *m = context;
    struct table *t = table_find(m->internal, frame);
    if (!t)
        return;
    const uint8_t *now = phys_frame_host(m->phys, frame);
    unsigned size = t->entry_bytes;
    bool has_dropped = false;
    if (t->sharers && offset + bytes > PAGE_BYTES / 2)
        part_sharers(m, t);
    for (uint32_t i = offset / size; i <= (offset + bytes - 1) / size; i++) {
        if (!(t->used[i / 64] >> i % 64 & 1))
            continue;
        uint64_t after =
            size == 4 ? load_le32(now + i * 4) : load_le64(now + i * 8);
        uint64_t before = entry_before(now, i * size, size, offset, bytes, old);
        if (!matters(before, after))
            continue;
        has_dropped = true;
        if (t->is_overflown) {
            mmu_tlb_reset(m);
            return;
        }
        drop_entry(m, t, i);
    }
    if (t->used_entries == 0 && !t->sharers)
        table_release(m, t);
    else if (!has_dropped && !m->internal->is_walking &&
             ++t->noise == TABLE_NOISE_MAX)
        drop_table(m, t);
}
