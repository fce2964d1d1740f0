/* The MMU's life, address spaces, and accesses by linear address. */
#include "mem/mmu.h"

#include "mem/mmu_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CR0_WP    (UINT64_C(1) << 16)
#define CR0_PG    (UINT64_C(1) << 31)
#define CR4_PSE   (UINT64_C(1) << 4)
#define CR4_PAE   (UINT64_C(1) << 5)
#define CR4_SMEP  (UINT64_C(1) << 20)
#define EFER_LMA  (UINT64_C(1) << 10)
#define EFER_NXE  (UINT64_C(1) << 11)
#define PAGE_MASK (~(uint64_t)(PAGE_BYTES - 1))

/* ---- life ---------------------------------------------------------------- */

static bool allocate(struct mmu *m)
{
    struct mmu_internal *in = calloc(1, sizeof *in);
    m->internal = in;
    if (!in)
        return false;
    size_t bytes = (INLINE_ENTRIES + TLB_ENTRIES) * sizeof *in->entries;
    in->entries = aligned_alloc(64, bytes);
    in->tables = calloc(TABLES_MAX, sizeof *in->tables);
    if (!in->entries || !in->tables)
        return false;
    memset(in->entries, 0xff, bytes); /* TLB_NONE */
    return true;
}

bool mmu_init(struct mmu *m, struct phys *phys, struct error *err)
{
    *m = (struct mmu){.phys = phys};
    if (!allocate(m)) {
        mmu_fini(m);
        return error_set(err, ERR_NOMEM, "TLB: out of memory");
    }
    struct mmu_internal *in = m->internal;
    in->limit = TLB_ENTRIES;
    memset(in->write_head, 0xff, sizeof in->write_head); /* INDEX_NONE */
    memset(in->table_head, 0xff, sizeof in->table_head); /* TABLE_NONE */
    for (unsigned i = 0; i < SPACES * 2; i++) {
        struct space *s = &in->spaces[i / 2];
        s->own[i & 1].entries = in->entries + (size_t)i * TLB_ENTRIES;
        s->tlb[i & 1] = &s->own[i & 1];
    }
    in->kernel.tlb.entries = in->entries + INLINE_ENTRIES - TLB_ENTRIES;
    in->space = in->spaces;
    in->space->stamp = ++in->stamp;
    mmu_tlb_reset(m);
    mmu_show(m);
    phys_on_drop(phys, mmu_tlb_on_drop, m);
    phys_watch(phys, FRAME_TABLE, mmu_track_store, m);
    return true;
}

void mmu_fini(struct mmu *m)
{
    if (!m->internal)
        return;
    if (m->internal->entries && m->internal->tables) {
        mmu_track_reset(m);
        phys_on_drop(m->phys, NULL, NULL);
        phys_watch(m->phys, FRAME_TABLE, NULL, NULL);
    }
    free(m->internal->entries);
    free(m->internal->tables);
    free(m->internal);
    *m = (struct mmu){0};
}

/* ---- spaces -------------------------------------------------------------- */

static struct mmu_config make_config(const struct mmu_regs *r)
{
    struct mmu_config c = {.bits = PAGING_OFF};
    if (!(r->cr0 & CR0_PG))
        return c;
    if (r->cr0 & CR0_WP)
        c.bits |= CONFIG_WP;
    if (r->cr4 & CR4_SMEP)
        c.bits |= CONFIG_SMEP;
    if (!(r->cr4 & CR4_PAE)) {
        c.bits |= PAGING_2LEVEL;
        c.bits |= r->cr4 & CR4_PSE ? CONFIG_PSE : 0;
        c.root = r->cr3 & 0xfffff000;
        return c;
    }
    c.bits |= CONFIG_PSE;
    c.bits |= r->efer & EFER_NXE ? CONFIG_NXE : 0;
    if (r->efer & EFER_LMA) {
        c.bits |= PAGING_4LEVEL;
        c.root = r->cr3 & UINT64_C(0x000000fffffff000);
    } else {
        c.bits |= PAGING_PAE;
        memcpy(c.pdpte, r->pdpte, sizeof c.pdpte);
    }
    return c;
}

static bool same_config(const struct mmu_config *a, const struct mmu_config *b)
{
    return a->bits == b->bits && a->root == b->root &&
           memcmp(a->pdpte, b->pdpte, sizeof a->pdpte) == 0;
}

void mmu_show(struct mmu *m)
{
    struct mmu_internal *in = m->internal;
    bool is_empty = in->is_checked || in->observe_fn;
    for (unsigned user = 0; user < 2; user++) {
        struct tlb_entry *own = in->space->tlb[user]->entries;
        m->view[user] = (struct mmu_view){
            in->space->key[user],
            is_empty ? in->entries + INLINE_ENTRIES : own};
    }
    mmu_set_user(m, m->is_user);
}

void mmu_configure(struct mmu *m, const struct mmu_regs *regs)
{
    struct mmu_internal *in = m->internal;
    struct mmu_config config = make_config(regs);
    struct space *oldest = in->spaces;
    if (same_config(&in->space->config, &config))
        return;
    for (unsigned i = 0; i < SPACES; i++) {
        struct space *s = &in->spaces[i];
        if (s->stamp && same_config(&s->config, &config)) {
            oldest = s;
            break;
        }
        if (s->stamp < oldest->stamp)
            oldest = s;
    }
    if (!oldest->stamp || !same_config(&oldest->config, &config)) {
        mmu_tlb_reset_space(m, oldest);
        oldest->config = config;
    }
    mmu_share_join(m, oldest);
    oldest->stamp = ++in->stamp;
    in->space = oldest;
    mmu_share_switched(m);
    mmu_show(m);
}

void mmu_set_checked(struct mmu *m, bool checked)
{
    if (m->internal->is_checked == checked)
        return;
    m->internal->is_checked = checked;
    mmu_show(m);
}

void mmu_drop_all(struct mmu *m)
{
    mmu_tlb_reset(m);
}

void mmu_limit_entries(struct mmu *m, unsigned n)
{
    assert(n >= 1 && n <= TLB_ENTRIES);
    mmu_tlb_reset(m);
    m->internal->limit = n;
    m->internal->ring_at = 0;
}

/* ---- translation --------------------------------------------------------- */

static unsigned mode_of(const struct mmu *m)
{
    return m->internal->space->config.bits & PAGING_MODE;
}

static bool is_canonical(uint64_t vaddr)
{
    return (uint64_t)((int64_t)(vaddr << 16) >> 16) == vaddr;
}

static bool acts_as_user(const struct mmu *m, unsigned how)
{
    return m->is_user && !(how & ACCESS_SYSTEM);
}

/* A translation by the walker, entered behind the inline TLB. */
static enum exc walk_page(struct mmu *m, uint64_t vaddr, unsigned how,
                          struct mmu_page *page)
{
    const struct mmu_config *config = &m->internal->space->config;
    struct walk w = {
        .vaddr = vaddr, .access = how & 3, .is_user = acts_as_user(m, how)};
    m->walks++;
    enum exc e = mmu_walk(m, config, &w);
    if (e) {
        m->fault_vaddr = vaddr;
        m->fault_error = w.error;
        return e;
    }
    uint64_t inside = vaddr & ((UINT64_C(1) << w.page_shift) - 1) & PAGE_MASK;
    page->paddr = mmu_a20(m, w.paddr + inside);
    page->rights = w.rights;
    page->is_cacheable = w.is_cacheable;
    mmu_page_find_memory(m, page);
    if (w.is_cacheable) {
        mmu_track(m, &w);
        mmu_tlb_insert(m, vaddr, &w, page);
    }
    return EXC_NONE;
}

/* Translate for an access, with all checks; enters it into the inline TLB. */
static enum exc find_page(struct mmu *m, uint64_t vaddr, unsigned how,
                          struct mmu_page *page)
{
    uint64_t bits = m->internal->space->config.bits;
    unsigned access = how & 3;
    bool is_user = acts_as_user(m, how);
    m->slow_calls++;
    if (mode_of(m) == PAGING_OFF) {
        page->paddr = mmu_a20(m, vaddr & PAGE_MASK);
        page->rights = RIGHT_USER | RIGHT_WRITE | RIGHT_DIRTY;
        page->is_cacheable = true;
        mmu_page_find_memory(m, page);
    } else if (mode_of(m) == PAGING_4LEVEL && !is_canonical(vaddr)) {
        return EXC_GP;
    } else if (!mmu_tlb_find(m, vaddr, page) ||
               !mmu_is_allowed(bits, page->rights, access, is_user) ||
               (access == ACCESS_WRITE && !(page->rights & RIGHT_DIRTY))) {
        enum exc e = walk_page(m, vaddr, how, page);
        if (e)
            return e;
    }
    if (access == ACCESS_FETCH)
        mmu_tlb_note_fetch(m, vaddr);
    else
        mmu_tlb_fill(m, is_user, vaddr, page, access == ACCESS_WRITE);
    return EXC_NONE;
}

static uint64_t wrap(const struct mmu *m, uint64_t vaddr)
{
    return mode_of(m) == PAGING_4LEVEL ? vaddr : (uint32_t)vaddr;
}

enum exc mmu_translate(struct mmu *m, uint64_t vaddr, unsigned len,
                       unsigned how, uint64_t *paddr)
{
    struct mmu_page page;
    assert(len >= 1 && (vaddr & 0xfff) + len <= PAGE_BYTES);
    (void)len;
    vaddr = wrap(m, vaddr);
    enum exc e = find_page(m, vaddr, how, &page);
    if (!e)
        *paddr = page.paddr | (vaddr & ~PAGE_MASK);
    return e;
}

bool mmu_peek(struct mmu *m, uint64_t vaddr, uint64_t *paddr)
{
    vaddr = wrap(m, vaddr);
    if (mode_of(m) == PAGING_OFF) {
        *paddr = mmu_a20(m, vaddr);
        return true;
    }
    struct walk w = {.vaddr = vaddr, .is_peek = true};
    if (mode_of(m) == PAGING_4LEVEL && !is_canonical(vaddr))
        return false;
    if (mmu_walk(m, &m->internal->space->config, &w))
        return false;
    uint64_t inside = vaddr & ((UINT64_C(1) << w.page_shift) - 1);
    *paddr = mmu_a20(m, w.paddr + inside);
    return true;
}

/* ---- accesses ------------------------------------------------------------ */

/* The part of an access inside one page, after its checks. */
struct piece {
    uint8_t *host;  /* of its first byte; NULL: go by paddr */
    uint64_t paddr; /* valid without host */
    uint32_t frame; /* valid with host */
    unsigned bytes;
};

/* Does the entry allow a write to the page, be it into a watched frame? */
static bool may_write(const struct mmu *m, const struct tlb_entry *t,
                      uint64_t page)
{
    return t->write_tag == page ||
           (t->read_tag == page && (t->spare & SPARE_WATCHED) &&
            (phys_frame_flags(m->phys, (uint32_t)t->spare) &
             (FRAME_CODE | FRAME_TABLE)));
}

static enum exc find_piece(struct mmu *m, uint64_t vaddr, unsigned how,
                           struct piece *piece)
{
    struct mmu_internal *in = m->internal;
    bool is_write = (how & 3) == ACCESS_WRITE;
    const struct tlb_entry *t =
        &in->space->tlb[acts_as_user(m, how)]
             ->entries[vaddr >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    if ((how & 3) != ACCESS_FETCH &&
        (is_write ? may_write(m, t, vaddr & PAGE_MASK)
                  : t->read_tag == (vaddr & PAGE_MASK))) {
        piece->host = (uint8_t *)(uintptr_t)(vaddr + t->addend);
        piece->frame = (uint32_t)t->spare;
        return EXC_NONE;
    }
    struct mmu_page page;
    enum exc e = find_page(m, vaddr, how, &page);
    if (e)
        return e;
    piece->host = NULL;
    piece->paddr = page.paddr | (vaddr & ~PAGE_MASK);
    piece->frame = page.frame;
    if (page.host && (!is_write || (page.rights & RIGHT_SAME)))
        piece->host = page.host + (vaddr & ~PAGE_MASK);
    return EXC_NONE;
}

/* Split at the page boundary and translate all before anything is accessed.
 * The whole operand must be canonical before any page is looked at. */
static enum exc find_pieces(struct mmu *m, uint64_t vaddr, unsigned len,
                            unsigned how, struct piece piece[2],
                            unsigned *pieces)
{
    assert(len <= PAGE_BYTES);
    unsigned room = PAGE_BYTES - (unsigned)(vaddr & ~PAGE_MASK);
    vaddr = wrap(m, vaddr);
    piece[0].bytes = len;
    *pieces = 1;
    if (len > room) {
        uint64_t last = vaddr + len - 1;
        if (mode_of(m) == PAGING_4LEVEL &&
            (!is_canonical(vaddr) || !is_canonical(last)))
            return EXC_GP;
        piece[0].bytes = room;
        piece[1].bytes = len - room;
        *pieces = 2;
    }
    enum exc e = find_piece(m, vaddr, how, &piece[0]);
    if (!e && *pieces == 2)
        e = find_piece(m, wrap(m, vaddr + room), how, &piece[1]);
    return e;
}

enum exc mmu_read(struct mmu *m, uint64_t vaddr, void *out, unsigned len,
                  unsigned how)
{
    struct piece piece[2];
    unsigned pieces;
    uint8_t *at = out;
    enum exc e = find_pieces(m, vaddr, len, how, piece, &pieces);
    if (e)
        return e;
    for (unsigned i = 0; i < pieces; at += piece[i++].bytes) {
        if (piece[i].host)
            memcpy(at, piece[i].host, piece[i].bytes);
        else
            phys_read(m->phys, piece[i].paddr, at, piece[i].bytes);
    }
    if (m->internal->is_told)
        mmu_watch_report(m, wrap(m, vaddr), len, how, out);
    return EXC_NONE;
}

enum exc mmu_write(struct mmu *m, uint64_t vaddr, const void *in, unsigned len,
                   unsigned how)
{
    struct piece piece[2];
    unsigned pieces;
    const uint8_t *at = in;
    enum exc e = find_pieces(m, vaddr, len, how, piece, &pieces);
    if (e)
        return e;
    if (m->internal->is_told)
        mmu_watch_report(m, wrap(m, vaddr), len, how, in);
    for (unsigned i = 0; i < pieces; at += piece[i++].bytes) {
        const struct piece *p = &piece[i];
        if (!p->host)
            phys_write(m->phys, p->paddr, at, p->bytes);
        else if (!(phys_frame_flags(m->phys, p->frame) & FRAME_ROM))
            phys_frame_write(m->phys, p->frame,
                             (uint32_t)((uintptr_t)p->host & ~PAGE_MASK), at,
                             p->bytes);
    }
    return EXC_NONE;
}

enum exc mmu_probe_write(struct mmu *m, uint64_t vaddr, unsigned len,
                         unsigned how)
{
    struct piece piece[2];
    unsigned pieces;
    how = (how & ACCESS_SYSTEM) | ACCESS_WRITE;
    return find_pieces(m, vaddr, len, how, piece, &pieces);
}

void *mmu_host_pointer(struct mmu *m, uint64_t vaddr, unsigned len,
                       unsigned how)
{
    struct piece piece[2];
    unsigned pieces;
    if (find_pieces(m, vaddr, len, how, piece, &pieces) || pieces != 1 ||
        !piece[0].host || m->internal->observe_fn ||
        (m->internal->watch_count &&
         mmu_is_watched(m, wrap(m, vaddr), len, (how & 3) == ACCESS_WRITE)))
        return NULL;
    if ((how & 3) == ACCESS_WRITE &&
        !phys_make_writable(m->phys, piece[0].frame))
        return NULL;
    return piece[0].host;
}
