/* The TLB never shows: random page-table stores, DMA, accesses, CR3 and mode
 * switches on the MMU give what a walker without any TLB gives, at every
 * access. Page tables and data share few frames, so that recursive mappings and
 * aliases are everywhere. */
#include "mem/mmu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    FRAMES = 24,
    TABLES = 12, /* the first frames serve as page tables */
    BYTES = FRAMES * PAGE_BYTES,
    JUMPS = 256,
    RECENT = 12
};

#define P  1ULL
#define W  2ULL
#define U  4ULL
#define A  0x20ULL
#define D  0x40ULL
#define PS 0x80ULL
#define NX (1ULL << 63)

/* ---- the reference: memory without TLB ------------------------------------
 */

struct ref {
    uint8_t mem[BYTES];
    struct mmu_regs regs;
    bool is_user;
    uint64_t fault_vaddr;
    uint32_t fault_error;
};

static void ref_load(const struct ref *r, uint64_t paddr, void *out,
                     unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        ((uint8_t *)out)[i] = paddr + i < BYTES ? r->mem[paddr + i] : 0xff;
}

static void ref_store(struct ref *r, uint64_t paddr, const void *in,
                      unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        if (paddr + i < BYTES)
            r->mem[paddr + i] = ((const uint8_t *)in)[i];
}

static uint64_t ref_entry(const struct ref *r, uint64_t at, unsigned bytes)
{
    uint64_t v = 0;
    ref_load(r, at, &v, bytes);
    return v;
}

struct ref_mode {
    bool is_long, is_pae, has_nx;
    unsigned entry_bytes, index_bits;
};

static struct ref_mode ref_mode(const struct ref *r)
{
    struct ref_mode m = {.is_long = r->regs.efer >> 10 & 1,
                         .is_pae = r->regs.cr4 >> 5 & 1};
    m.has_nx = m.is_pae && (r->regs.efer >> 11 & 1);
    m.entry_bytes = m.is_pae ? 8 : 4;
    m.index_bits = m.is_pae ? 9 : 10;
    return m;
}

static uint64_t ref_reserved(const struct ref_mode *m, int level, bool large)
{
    if (!m->is_pae)
        return large ? 1ULL << 21 : 0;
    uint64_t bits = 0xfffULL << 40;
    bits |= m->has_nx ? 0 : NX;
    bits |= m->is_long ? 0 : 0x7ffULL << 52;
    bits |= level > 2 ? PS : 0;
    bits |= large ? 0xffULL << 13 : 0;
    return bits;
}

static enum exc ref_fault(struct ref *r, uint64_t vaddr, unsigned access,
                          bool is_user, uint32_t error)
{
    struct ref_mode m = ref_mode(r);
    bool tells_fetch = m.has_nx || (r->regs.cr4 >> 20 & 1);
    r->fault_vaddr = vaddr;
    r->fault_error = error | (access == ACCESS_WRITE ? 2 : 0) |
                     (is_user ? 4 : 0) |
                     (access == ACCESS_FETCH && tells_fetch ? 16 : 0);
    return EXC_PF;
}

static bool ref_allowed(const struct ref *r, bool u, bool w, bool nx,
                        unsigned access, bool is_user)
{
    bool wp = r->regs.cr0 >> 16 & 1, smep = r->regs.cr4 >> 20 & 1;
    if (is_user && !u)
        return false;
    if (access == ACCESS_WRITE && !w && (is_user || wp))
        return false;
    if (access == ACCESS_FETCH && (nx || (smep && !is_user && u)))
        return false;
    return true;
}

static enum exc ref_translate(struct ref *r, uint64_t vaddr, unsigned how,
                              uint64_t *paddr)
{
    struct ref_mode m = ref_mode(r);
    unsigned access = how & 3;
    bool is_user = r->is_user && !(how & ACCESS_SYSTEM);
    if (!(r->regs.cr0 >> 31)) {
        *paddr = vaddr;
        return EXC_NONE;
    }
    if (m.is_long && (uint64_t)((int64_t)(vaddr << 16) >> 16) != vaddr)
        return EXC_GP;
    uint64_t table = r->regs.cr3 & 0xfffffff000;
    int level = m.is_long ? 4 : 2;
    if (m.is_pae && !m.is_long) {
        table = r->regs.pdpte[vaddr >> 30];
        if (!(table & P))
            return ref_fault(r, vaddr, access, is_user, 0);
        table &= 0xfffffff000;
    }
    bool u = true, w = true, nx = false;
    for (;; level--) {
        unsigned shift = 12 + (unsigned)(level - 1) * m.index_bits;
        uint64_t at = table + (vaddr >> shift & ((1u << m.index_bits) - 1)) *
                                  m.entry_bytes;
        uint64_t e = ref_entry(r, at, m.entry_bytes);
        if (!(e & P))
            return ref_fault(r, vaddr, access, is_user, 0);
        bool large =
            level == 2 && (e & PS) && (m.is_pae || (r->regs.cr4 >> 4 & 1));
        if (e & ref_reserved(&m, level, large))
            return ref_fault(r, vaddr, access, is_user, 9);
        u &= (e & U) != 0;
        w &= (e & W) != 0;
        nx |= (e & NX) != 0;
        if (level > 1 && !large) {
            e |= A;
            ref_store(r, at, &e, m.entry_bytes);
            table = e & 0xfffffff000;
            continue;
        }
        if (!ref_allowed(r, u, w, nx, access, is_user))
            return ref_fault(r, vaddr, access, is_user, 1);
        e |= access == ACCESS_WRITE ? A | D : A;
        ref_store(r, at, &e, m.entry_bytes);
        uint64_t size = 1ULL << shift;
        uint64_t base = e & 0xfffffff000;
        if (large && !m.is_pae)
            base = (e & 0xffc00000) | (e >> 13 & 0xff) << 32;
        *paddr = (base & ~(size - 1)) | (vaddr & (size - 1));
        return EXC_NONE;
    }
}

static enum exc ref_access(struct ref *r, uint64_t vaddr, void *data,
                           unsigned len, unsigned how)
{
    struct ref_mode m = ref_mode(r);
    unsigned room = PAGE_BYTES - (unsigned)(vaddr % PAGE_BYTES);
    unsigned first = len < room ? len : room;
    uint64_t next = vaddr + first, paddr[2];
    uint64_t last = vaddr + len - 1;
    if (!m.is_long)
        next = (uint32_t)next;
    else if ((uint64_t)((int64_t)(last << 16) >> 16) != last)
        return EXC_GP;
    enum exc e = ref_translate(r, vaddr, how, &paddr[0]);
    if (!e && first < len)
        e = ref_translate(r, next, how, &paddr[1]);
    if (e)
        return e;
    uint8_t *rest = (uint8_t *)data + first;
    if ((how & 3) == ACCESS_WRITE) {
        ref_store(r, paddr[0], data, first);
        if (first < len)
            ref_store(r, paddr[1], rest, len - first);
    } else {
        ref_load(r, paddr[0], data, first);
        if (first < len)
            ref_load(r, paddr[1], rest, len - first);
    }
    return EXC_NONE;
}

/* ---- both worlds ------------------------------------------------------------
 */

struct jump {
    uint64_t key, vaddr, paddr;
};

struct world {
    struct phys *p;
    struct mmu m;
    struct ref r;
    struct jump jumps[JUMPS]; /* a cache as the CPU keeps them */
    uint64_t recent[RECENT];
    uint64_t jump_hits, inline_hits;
    uint64_t seed;
    unsigned modes; /* bit mask of enum paging_kind */
};
enum paging_kind { KIND_OFF, KIND_2LEVEL, KIND_PAE, KIND_LONG, KINDS };

static uint64_t rnd(struct world *w)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return w->seed * 0x2545f4914f6cdd1d;
}

static unsigned pick(struct world *w, unsigned n)
{
    return (unsigned)((rnd(w) >> 32) % n);
}

/* Mostly sound entries; now and then anything. */
static uint64_t make_entry(struct world *w)
{
    uint64_t frame = pick(w, 3) ? pick(w, TABLES) : pick(w, FRAMES + 1);
    uint64_t e = frame << 12;
    e |= pick(w, 30) ? P : 0;
    e |= pick(w, 20) ? W : 0;
    e |= pick(w, 20) ? U : 0;
    e |= pick(w, 2) ? A : 0;
    e |= pick(w, 2) ? D : 0;
    e |= (uint64_t)pick(w, 8) << 9;
    if (pick(w, 12) == 0)
        e = (e & 0xfff & ~0xe00ULL) | PS | (uint64_t)pick(w, 2) << 21;
    if (pick(w, 40) == 0)
        e |= NX;
    if (pick(w, 300) == 0)
        e |= 1ULL << (pick(w, 64));
    return e;
}

static unsigned make_index(struct world *w, unsigned bits)
{
    unsigned i = pick(w, 3);
    return i < 2 ? i : (1u << bits) - 1;
}

static uint64_t new_vaddr(struct world *w)
{
    struct ref_mode m = ref_mode(&w->r);
    unsigned levels = m.is_long ? 4 : 2;
    uint64_t v = 0;
    if (!(w->r.regs.cr0 >> 31))
        return pick(w, BYTES + 100);
    for (unsigned i = 0; i < levels; i++)
        v = v << m.index_bits | make_index(w, m.index_bits);
    v = v << 12 | (pick(w, 4) ? pick(w, 4096) : 4096 - 1 - pick(w, 16));
    if (m.is_pae && !m.is_long)
        v |= (uint64_t)pick(w, 4) << 30;
    if (m.is_long && pick(w, 100))
        v = (uint64_t)((int64_t)(v << 16) >> 16);
    return v;
}

/* Mostly pages that were used lately. */
static uint64_t make_vaddr(struct world *w)
{
    uint64_t *slot = &w->recent[pick(w, RECENT)];
    if (pick(w, 8) == 0)
        *slot = new_vaddr(w);
    uint64_t v = *slot & ~0xfffULL; /* half the time where entries are */
    if (pick(w, 2))
        v |= pick(w, 2) ? pick(w, 16) : 0xff0 + pick(w, 16);
    else
        v |= pick(w, 4096);
    return ref_mode(&w->r).is_long ? v : (uint32_t)v;
}

/* Where tables have entries that make_vaddr() reaches. */
static uint64_t make_slot(struct world *w)
{
    unsigned bytes = ref_mode(&w->r).entry_bytes;
    uint64_t frame = pick(w, TABLES);
    return frame << 12 | make_index(w, bytes == 4 ? 10 : 9) * bytes;
}

static void store_both(struct world *w, uint64_t paddr, const void *in,
                       unsigned bytes)
{
    ref_store(&w->r, paddr, in, bytes);
    if (pick(w, 2))
        phys_dma_write(w->p, paddr, in, bytes);
    else
        phys_write(w->p, paddr, in, bytes);
}

static void step_table_store(struct world *w)
{
    uint64_t at = make_slot(w);
    unsigned bytes = ref_mode(&w->r).entry_bytes;
    uint64_t v = make_entry(w);
    switch (pick(w, 4)) {
    case 0: /* the kernel ages a page */
        v = ref_entry(&w->r, at, bytes) & ~(pick(w, 2) ? A : D);
        break;
    case 1: /* or flips one bit, by one byte */
        v = ref_entry(&w->r, at, bytes) ^ 1ULL << pick(w, 13);
        store_both(w, at + 1, (uint8_t *)&v + 1, 1);
        bytes = 1;
        break;
    default:
        break;
    }
    store_both(w, at, &v, bytes);
}

static void step_configure(struct world *w)
{
    struct mmu_regs *r = &w->r.regs;
    unsigned kind = pick(w, KINDS);
    if (w->modes >> kind & 1 && pick(w, 4) == 0) {
        *r = (struct mmu_regs){0};
        r->cr0 = 1 | (kind != KIND_OFF ? 0x80000000 : 0);
        r->cr4 = kind >= KIND_PAE ? 0x20 : pick(w, 2) ? 0x10 : 0;
        r->efer = (kind == KIND_LONG ? 0x500u : 0) | (pick(w, 4) ? 0x800u : 0);
        for (unsigned i = 0; i < 4; i++)
            r->pdpte[i] = (uint64_t)pick(w, TABLES) << 12 | (pick(w, 9) != 0);
    }
    r->cr3 = (uint64_t)pick(w, 3) << 12 | pick(w, 2) << 3;
    if (pick(w, 4) == 0)
        r->cr0 ^= 0x10000;
    if (pick(w, 8) == 0)
        r->cr4 ^= 0x100000;
    mmu_configure(&w->m, r);
}

/* A load or store as the CPU makes it: inline hit first. */
static enum exc cpu_access(struct world *w, uint64_t vaddr, void *data,
                           unsigned len, unsigned how)
{
    const struct tlb_entry *t =
        &w->m.tlb[vaddr >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    uint64_t page = (vaddr + len - 1) & ~0xfffULL;
    bool is_write = (how & 3) == ACCESS_WRITE;
    if (how <= ACCESS_WRITE &&
        (is_write ? t->write_tag : t->read_tag) == page) {
        uint8_t *host = (uint8_t *)(uintptr_t)(vaddr + t->addend);
        w->inline_hits++;
        memcpy(is_write ? (void *)host : data, is_write ? data : host, len);
        return EXC_NONE;
    }
    if (how <= ACCESS_WRITE && pick(w, 8) == 0 &&
        (vaddr & 0xfff) + len <= PAGE_BYTES) {
        uint8_t *host = mmu_host_pointer(&w->m, vaddr, len, how);
        if (host)
            memcpy(is_write ? (void *)host : data, is_write ? data : host, len);
        if (host)
            return EXC_NONE;
    }
    return is_write ? mmu_write(&w->m, vaddr, data, len, how)
                    : mmu_read(&w->m, vaddr, data, len, how);
}

static void check_fault(struct world *w, enum exc e, enum exc expected)
{
    assert_int_equal(e, expected);
    if (e == EXC_PF) {
        assert_int_equal(w->m.fault_vaddr, w->r.fault_vaddr);
        assert_int_equal(w->m.fault_error, w->r.fault_error);
    }
}

static void step_access(struct world *w)
{
    static const unsigned kinds[] = {ACCESS_READ, ACCESS_READ, ACCESS_READ,
                                     ACCESS_WRITE, ACCESS_FETCH};
    unsigned how = kinds[pick(w, 5)];
    uint64_t a[3], b[3], vaddr = make_vaddr(w);
    unsigned len = 1u << pick(w, 5);
    how |= pick(w, 8) == 0 ? ACCESS_SYSTEM : 0;
    a[0] = a[1] = b[0] = b[1] = make_entry(w);
    if ((how & 3) == ACCESS_WRITE && pick(w, 30))
        vaddr &= ~15ULL;
    enum exc expected = ref_access(&w->r, vaddr, b, len, how);
    enum exc e = cpu_access(w, vaddr, a, len, how);
    check_fault(w, e, expected);
    if (!e)
        assert_memory_equal(a, b, len);
}

/* A jump cache by space_key must never hit where a fetch would not do what it
 * did when the entry was made. */
static void step_jump(struct world *w)
{
    uint64_t vaddr = make_vaddr(w) & ~0xfffULL, expected, got = 0;
    struct jump *j = &w->jumps[(vaddr >> 12 ^ w->m.space_key * 7) % JUMPS];
    enum exc re = ref_translate(&w->r, vaddr, ACCESS_FETCH, &expected);
    if (j->key == w->m.space_key && j->vaddr == vaddr) {
        w->jump_hits++;
        assert_int_equal(re, EXC_NONE);
        assert_int_equal(j->paddr, expected);
        return;
    }
    enum exc e = mmu_translate(&w->m, vaddr, 1, ACCESS_FETCH, &got);
    check_fault(w, e, re);
    if (e)
        return;
    assert_int_equal(got, expected);
    *j = (struct jump){w->m.space_key, vaddr, got};
}

static void step_peek(struct world *w)
{
    struct ref copy = w->r;
    uint64_t vaddr = make_vaddr(w), expected, got;
    copy.is_user = false;
    copy.regs.cr0 &= ~0x10000ULL;
    enum exc e = ref_translate(&copy, vaddr, ACCESS_READ, &expected);
    assert_int_equal(mmu_peek(&w->m, vaddr, &got), e == EXC_NONE);
    if (!e)
        assert_int_equal(got, expected);
}

static void check_memory(struct world *w)
{
    for (uint32_t f = 0; f < FRAMES; f++)
        assert_memory_equal(phys_frame_host(w->p, f), w->r.mem + f * PAGE_BYTES,
                            PAGE_BYTES);
}

static void step_digest(struct world *w)
{
    uint8_t got[16], expected[16];
    struct phys *fresh = phys_new(BYTES, NULL);
    phys_add_memory(fresh, "ram", BYTES, false);
    for (uint32_t f = 0; f < FRAMES; f++)
        phys_frame_write(fresh, f, 0, w->r.mem + f * PAGE_BYTES, PAGE_BYTES);
    phys_digest(fresh, expected);
    phys_digest(w->p, got);
    assert_memory_equal(got, expected, 16);
    phys_free(fresh);
}

static void one_step(struct world *w)
{
    unsigned what = pick(w, 1000);
    if (what < 60)
        step_table_store(w);
    else if (what < 80)
        step_configure(w);
    else if (what < 110)
        mmu_set_user(&w->m, w->r.is_user = pick(w, 2));
    else if (what < 114)
        mmu_set_checked(&w->m, pick(w, 2));
    else if (what < 116)
        step_digest(w);
    else if (what < 117)
        mmu_drop_all(&w->m);
    else if (what < 125)
        step_peek(w);
    else if (what < 300)
        step_jump(w);
    else
        step_access(w);
}

static void run(uint64_t seed, unsigned modes, unsigned limit, unsigned steps)
{
    static struct world world;
    struct world *w = &world;
    *w = (struct world){.seed = seed, .modes = modes};
    w->p = phys_new(BYTES, NULL);
    phys_add_memory(w->p, "ram", BYTES, false);
    phys_map_memory(w->p, 0, BYTES, 0, PHYS_READ | PHYS_WRITE);
    assert_true(mmu_init(&w->m, w->p, NULL));
    mmu_limit_entries(&w->m, limit);
    for (unsigned i = 0; i < 500; i++)
        step_table_store(w);
    for (unsigned i = 0; i < 200; i++)
        step_configure(w);
    for (unsigned i = 0; i < steps; i++) {
        if (i % 1000 == 0)
            for (unsigned k = 0; k < 150; k++)
                step_table_store(w);
        one_step(w);
        if (i % 100 == 0)
            check_memory(w);
    }
    check_memory(w);
    print_message(
        "seed %llu: %llu walks, %llu slow, %llu inline, %llu jumps, "
        "%llu drops\n",
        (unsigned long long)seed, (unsigned long long)w->m.walks,
        (unsigned long long)w->m.slow_calls, (unsigned long long)w->inline_hits,
        (unsigned long long)w->jump_hits, (unsigned long long)w->m.drops);
    assert_true(w->jump_hits > 0);
    if (limit == TLB_ENTRIES)
        assert_true(w->inline_hits > 100);
    mmu_fini(&w->m);
    phys_free(w->p);
}

static void two_level(void **state)
{
    (void)state;
    run(1, 1 << KIND_2LEVEL, TLB_ENTRIES, 40000);
}

static void pae(void **state)
{
    (void)state;
    run(2, 1 << KIND_PAE, TLB_ENTRIES, 40000);
}

static void four_level(void **state)
{
    (void)state;
    run(3, 1 << KIND_LONG, TLB_ENTRIES, 40000);
}

static void all_modes(void **state)
{
    (void)state;
    run(4, 15, TLB_ENTRIES, 40000);
}

static void all_modes_with_few_entries(void **state)
{
    (void)state;
    run(5, 15, 1, 10000);
    run(6, 15, 3, 10000);
}

int main(int argc, char **argv)
{
    /* With a number: that many more seeds, by hand. */
    for (uint64_t i = 0; argc == 2 && i < strtoull(argv[1], NULL, 10); i++)
        run(1000 + i, i % 5 ? 1u << i % 5 >> 1 | 1u << (i / 5 % 4) : 15,
            i % 3 ? TLB_ENTRIES : 1 + (unsigned)i % 7, 20000);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_level),
        cmocka_unit_test(pae),
        cmocka_unit_test(four_level),
        cmocka_unit_test(all_modes),
        cmocka_unit_test(all_modes_with_few_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
