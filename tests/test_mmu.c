/* Translation: access rights in every paging mode, accessed and dirty bits,
 * and what the TLB keeps and drops. */
#include "mem/mmu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define P    1ULL
#define W    2ULL
#define U    4ULL
#define A    0x20ULL
#define D    0x40ULL
#define PS   0x80ULL
#define G    0x100ULL
#define NX   (1ULL << 63)
#define WP   0x10000u
#define PG   0x80000001u
#define PSE  0x10u
#define PAE  0x20u
#define SMEP 0x100000u
#define LMA  0x500u
#define NXE  0x800u

enum {
    RAM_BYTES = 0x200000,
    TOP = 0x10000, /* page tables lie here, one page for each level */
    PDPT = 0x11000,
    PD = 0x12000,
    PT = 0x13000,
    DATA = 0x20000
};

struct bench {
    struct phys *p;
    struct mmu m;
    struct mmu_regs regs;
    unsigned mmio_reads, mmio_writes;
};

enum kind { TWO_LEVEL, PAE_MODE, FOUR_LEVEL, KINDS };

static int setup(void **state)
{
    static struct bench bench;
    struct bench *b = &bench;
    *b = (struct bench){0};
    b->p = phys_new(RAM_BYTES + 0x2000, NULL);
    phys_add_memory(b->p, "ram", RAM_BYTES, false);
    phys_map_memory(b->p, 0, RAM_BYTES, 0, PHYS_READ | PHYS_WRITE);
    assert_true(mmu_init(&b->m, b->p, NULL));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    mmu_fini(&b->m);
    phys_free(b->p);
    return 0;
}

static void put(struct bench *b, uint64_t paddr, uint64_t v)
{
    phys_write(b->p, paddr, &v, b->regs.cr4 & PAE ? 8 : 4);
}

static uint64_t get(struct bench *b, uint64_t paddr)
{
    uint64_t v = 0;
    phys_read(b->p, paddr, &v, b->regs.cr4 & PAE ? 8 : 4);
    return v;
}

static void configure(struct bench *b)
{
    mmu_configure(&b->m, &b->regs);
}

/* Tables for the first pages of the address space; leaf entries are the
 * test's: page n's is at pte(b, n). */
static void set_mode(struct bench *b, enum kind kind, uint64_t cr0_more,
                     uint64_t cr4_more, uint64_t efer_more)
{
    b->regs = (struct mmu_regs){.cr0 = PG | cr0_more, .cr4 = cr4_more};
    b->regs.efer = efer_more;
    b->regs.cr3 = kind == FOUR_LEVEL ? TOP : kind == TWO_LEVEL ? PD : 0;
    if (kind != TWO_LEVEL)
        b->regs.cr4 |= PAE;
    if (kind == FOUR_LEVEL)
        b->regs.efer |= LMA;
    if (kind == PAE_MODE)
        b->regs.pdpte[0] = PD | P;
    put(b, TOP, PDPT | P | W | U);
    put(b, PDPT, PD | P | W | U);
    put(b, PD, PT | P | W | U);
    configure(b);
}

static uint64_t pte(const struct bench *b, unsigned page)
{
    return PT + page * (b->regs.cr4 & PAE ? 8 : 4);
}

static enum exc touch(struct bench *b, uint64_t vaddr, unsigned how)
{
    uint32_t v = 0;
    if ((how & 3) == ACCESS_WRITE)
        return mmu_write(&b->m, vaddr, &v, 4, how);
    return mmu_read(&b->m, vaddr, &v, 4, how);
}

static void expect_fault(struct bench *b, uint64_t vaddr, unsigned how,
                         uint32_t error)
{
    assert_int_equal(touch(b, vaddr, how), EXC_PF);
    assert_int_equal(b->m.fault_vaddr, vaddr);
    assert_int_equal(b->m.fault_error, error);
}

/* ---- rights ----------------------------------------------------------------
 */

/* SDM vol. 3A 4.6.1 as one expression. */
static bool should_pass(unsigned how, bool user, bool u, bool w, bool nx,
                        bool wp, bool smep)
{
    if (user && !u)
        return false;
    if (how == ACCESS_WRITE)
        return w || (!user && !wp);
    if (how == ACCESS_FETCH)
        return !nx && (user || !u || !smep);
    return true;
}

/* One leaf with rights c, whose parent has the rights c >> 3. */
static void check_rights(struct bench *b, enum kind kind, unsigned c,
                         unsigned how, bool user, unsigned settings)
{
    bool wp = settings & 1, smep = settings & 2;
    bool nxe = (settings & 4) && kind != TWO_LEVEL;
    set_mode(b, kind, wp ? WP : 0, smep ? SMEP : 0, settings & 4 ? NXE : 0);
    bool nx = nxe && (c & 36);
    uint64_t leaf_nx = nxe && (c & 4) ? NX : 0;
    uint64_t above_nx = nxe && (c & 32) ? NX : 0;
    put(b, pte(b, 1), DATA | P | (c & 1 ? W : 0) | (c & 2 ? U : 0) | leaf_nx);
    put(b, PD, PT | P | (c & 8 ? W : 0) | (c & 16 ? U : 0) | above_nx);
    mmu_set_user(&b->m, user);
    bool w = (c & 9) == 9, u = (c & 18) == 18;
    uint32_t error = 1 | (how == ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0) |
                     (how == ACCESS_FETCH && (nxe || smep) ? 16 : 0);
    for (unsigned again = 0; again < 2; again++) {
        if (should_pass(how, user, u, w, nx, wp, smep))
            assert_int_equal(touch(b, 0x1010, how), EXC_NONE);
        else
            expect_fault(b, 0x1010, how, error);
    }
    mmu_set_user(&b->m, false);
}

static void rights_matrix(void **state)
{
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned settings = 0; settings < 8; settings++)
            for (unsigned c = 0; c < 64; c++)
                for (unsigned how = 0; how < 3; how++)
                    for (unsigned user = 0; user < 2; user++)
                        check_rights(*state, kind, c, how, user, settings);
}

static void not_present_tells_no_protection(void **state)
{
    struct bench *b = *state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        set_mode(b, kind, WP, 0, NXE);
        put(b, pte(b, 1), DATA | W | U);
        expect_fault(b, 0x1000, ACCESS_READ, 0);
        expect_fault(b, 0x1000, ACCESS_WRITE, 2);
        expect_fault(b, 0x1000, ACCESS_FETCH, kind == TWO_LEVEL ? 0 : 16);
        mmu_set_user(&b->m, true);
        expect_fault(b, 0x1000, ACCESS_WRITE, 6);
        expect_fault(b, 0x1000, ACCESS_WRITE | ACCESS_SYSTEM, 2);
        mmu_set_user(&b->m, false);
    }
}

static void reserved_bits_fault(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    static const struct {
        uint64_t where, bits;
    } bad[] = {
        {PT + 8, 1ULL << 40}, {PT + 8, 1ULL << 51},
        {PT + 8, NX},         {PD, NX},
        {PDPT, PS},           {TOP, PS},
        {PDPT, 1ULL << 45},
    };
    put(b, PT + 8, DATA | P | W | U);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
        uint64_t good = get(b, bad[i].where);
        put(b, bad[i].where, good | bad[i].bits);
        expect_fault(b, 0x1000, ACCESS_WRITE, 1 | 2 | 8);
        put(b, bad[i].where, good);
    }
    put(b, PT + 8, get(b, PT + 8) | 0x7feULL << 52); /* ignored */
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    put(b, PD, 0x2000 | PS | P);
    expect_fault(b, 0, ACCESS_READ, 1 | 8);
    set_mode(b, PAE_MODE, 0, 0, 0);
    put(b, PT + 8, DATA | P | 1ULL << 60);
    expect_fault(b, 0x1000, ACCESS_READ, 1 | 8);
}

static void two_level_large_pages(void **state)
{
    struct bench *b = *state;
    uint64_t paddr;
    set_mode(b, TWO_LEVEL, 0, 0, 0);
    put(b, PD + 4, 0x25 << 13 | 0xffc00000 | PS | P);
    put(b, PT, DATA | P);
    put(b, PD + 4, (get(b, PD + 4) & ~0xfffff000ULL) | PT);
    assert_true(mmu_peek(&b->m, 0x400010, &paddr)); /* no PSE: PS ignored */
    assert_int_equal(paddr, DATA + 0x10);
    b->regs.cr4 = PSE;
    configure(b);
    put(b, PD + 4, 0x25 << 13 | 0xff800000 | PS | P);
    assert_int_equal(mmu_translate(&b->m, 0x7ff123, 1, ACCESS_READ, &paddr),
                     EXC_NONE);
    assert_true(paddr == 0x25ffbff123);
    put(b, PD + 4, 1 << 21 | PS | P);
    expect_fault(b, 0x400000, ACCESS_READ, 9);
}

static void large_pages_of_two_mib(void **state)
{
    struct bench *b = *state;
    for (unsigned kind = PAE_MODE; kind < KINDS; kind++) {
        set_mode(b, kind, 0, 0, 0);
        put(b, PD + 8, PS | P | W | U | G);
        uint32_t v = 0x5511 + kind, got = 0;
        assert_int_equal(mmu_write(&b->m, 0x2a0004, &v, 4, ACCESS_WRITE),
                         EXC_NONE);
        phys_read(b->p, 0xa0004, &got, 4);
        assert_int_equal(got, v);
        assert_int_equal(get(b, PD + 8), PS | P | W | U | G | A | D);
        uint64_t walks = b->m.walks;
        assert_int_equal(touch(b, 0x2b0000, ACCESS_WRITE), EXC_NONE);
        assert_int_equal(b->m.walks, walks);
        put(b, PD + 8, 0);
        expect_fault(b, 0x2a0004, ACCESS_READ, 0);
        expect_fault(b, 0x2b0000, ACCESS_READ, 0);
    }
}

static void non_canonical_is_gp(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    assert_int_equal(touch(b, 0x800000000000, ACCESS_READ), EXC_GP);
    assert_int_equal(touch(b, 0xffff7fffffffffff, ACCESS_WRITE), EXC_GP);
    assert_int_equal(touch(b, 0x7ffffffffffe, ACCESS_READ), EXC_GP);
    expect_fault(b, 0x7ffffffffff0, ACCESS_READ, 0);
    expect_fault(b, 0xffff800000000000, ACCESS_READ, 0);
}

static void linear_addresses_wrap_at_4_gib(void **state)
{
    struct bench *b = *state;
    uint8_t got[4];
    set_mode(b, PAE_MODE, 0, 0, 0);
    b->regs.pdpte[3] = PDPT | P;
    configure(b);
    put(b, PDPT + 511 * 8, TOP | P | W | U);
    put(b, TOP + 511 * 8, DATA | P | W | U);
    put(b, PT, (DATA + 0x1000) | P | W | U);
    assert_int_equal(mmu_write(&b->m, 0xfffffffe, "abcd", 4, ACCESS_WRITE),
                     EXC_NONE);
    phys_read(b->p, DATA + 0xffe, got, 4);
    assert_memory_equal(got, "abcd", 4);
    put(b, PT, 0);
    assert_int_equal(touch(b, 0xfffffffe, ACCESS_READ), EXC_PF);
    assert_int_equal(b->m.fault_vaddr, 0);
}

static void without_paging_all_is_identity(void **state)
{
    struct bench *b = *state;
    uint64_t paddr;
    mmu_set_user(&b->m, true);
    assert_int_equal(mmu_translate(&b->m, 0x12345, 4, ACCESS_WRITE, &paddr),
                     EXC_NONE);
    assert_int_equal(paddr, 0x12345);
    phys_set_a20(b->p, false);
    assert_int_equal(mmu_translate(&b->m, 0x112345, 4, ACCESS_READ, &paddr),
                     EXC_NONE);
    assert_int_equal(paddr, 0x12345);
}

/* ---- accessed and dirty
 * ------------------------------------------------------ */

static void accessed_and_dirty_bits(void **state)
{
    struct bench *b = *state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        set_mode(b, kind, WP, 0, 0);
        put(b, pte(b, 1), DATA | P | W | U);
        assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
        assert_int_equal(get(b, pte(b, 1)), DATA | P | W | U | A);
        assert_int_equal(get(b, PD), PT | P | W | U | A);
        assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
        assert_int_equal(get(b, pte(b, 1)), DATA | P | W | U | A | D);
        assert_int_equal(get(b, PD), PT | P | W | U | A);
        /* The guest clears them: the next access sets them again. */
        put(b, pte(b, 1), DATA | P | W | U | A);
        assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
        assert_int_equal(get(b, pte(b, 1)), DATA | P | W | U | A | D);
        put(b, pte(b, 1), DATA | P | W | U | D);
        assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
        assert_int_equal(get(b, pte(b, 1)), DATA | P | W | U | A | D);
        put(b, PD, PT | P | W | U);
        assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
        assert_int_equal(get(b, PD), PT | P | W | U | A);
    }
}

static void a_fault_marks_only_the_levels_above(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, WP, 0, 0);
    put(b, pte(b, 1), DATA | P);
    expect_fault(b, 0x1000, ACCESS_WRITE, 3);
    assert_int_equal(get(b, pte(b, 1)), DATA | P);
    assert_int_equal(get(b, PD), PT | P | W | U | A);
}

static void peek_changes_nothing(void **state)
{
    struct bench *b = *state;
    uint64_t paddr;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P);
    mmu_set_user(&b->m, true);
    assert_true(mmu_peek(&b->m, 0x1234, &paddr));
    assert_int_equal(paddr, DATA + 0x234);
    assert_false(mmu_peek(&b->m, 0x2000, &paddr));
    assert_int_equal(get(b, pte(b, 1)), DATA | P);
    assert_int_equal(get(b, TOP), PDPT | P | W | U);
    assert_int_equal(b->m.fault_vaddr, 0);
}

static void a_write_across_pages_is_all_or_nothing(void **state)
{
    struct bench *b = *state;
    uint8_t got[8];
    set_mode(b, FOUR_LEVEL, WP, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    put(b, pte(b, 2), (DATA + 0x2000) | P);
    assert_int_equal(mmu_write(&b->m, 0x1ffc, "12345678", 8, ACCESS_WRITE),
                     EXC_PF);
    assert_int_equal(b->m.fault_vaddr, 0x2000);
    assert_int_equal(mmu_probe_write(&b->m, 0x1ffc, 8, 0), EXC_PF);
    phys_read(b->p, DATA + 0xffc, got, 4);
    assert_memory_equal(got, "\0\0\0\0", 4);
    put(b, pte(b, 2), (DATA + 0x2000) | P | W);
    assert_int_equal(mmu_probe_write(&b->m, 0x1ffc, 8, 0), EXC_NONE);
    assert_int_equal(mmu_write(&b->m, 0x1ffc, "12345678", 8, ACCESS_WRITE),
                     EXC_NONE);
    phys_read(b->p, DATA + 0x2000, got, 4);
    assert_memory_equal(got, "5678", 4);
    assert_int_equal(mmu_read(&b->m, 0x1ffc, got, 8, ACCESS_READ), EXC_NONE);
    assert_memory_equal(got, "12345678", 8);
}

/* ---- what the TLB keeps
 * --------------------------------------------------------- */

static const struct tlb_entry *slot(const struct bench *b, uint64_t vaddr)
{
    return &b->m.tlb[vaddr >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
}

static void inline_entries_lead_to_the_bytes(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W | U);
    assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
    assert_true(slot(b, 0x1000)->read_tag == 0x1000);
    assert_true(slot(b, 0x1000)->write_tag == TLB_NONE);
    assert_true(0x1000 + slot(b, 0x1000)->addend ==
                (uintptr_t)phys_frame_host(b->p, DATA >> 12));
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
    uint8_t digest[16];
    phys_digest(b->p, digest);
    assert_true(slot(b, 0x1000)->write_tag == TLB_NONE);
    assert_true(slot(b, 0x1000)->read_tag == 0x1000);
}

static void privileges_have_tlbs_of_their_own(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    mmu_set_user(&b->m, true);
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE | ACCESS_SYSTEM), EXC_NONE);
    assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
    expect_fault(b, 0x1000, ACCESS_READ, 5);
    uint64_t key = b->m.space_key;
    mmu_set_user(&b->m, false);
    assert_true(slot(b, 0x1000)->read_tag == 0x1000);
    assert_int_not_equal(key, b->m.space_key);
}

static void checked_shows_an_empty_tlb(void **state)
{
    struct bench *b = *state;
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
    mmu_set_checked(&b->m, true);
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    mmu_set_user(&b->m, true);
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        assert_true(b->m.tlb[i].read_tag == TLB_NONE &&
                    b->m.tlb[i].write_tag == TLB_NONE);
    mmu_set_user(&b->m, false);
    mmu_set_checked(&b->m, false);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
}

static void spaces_stay_cached_across_cr3_loads(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    put(b, 0x30000, PDPT | P | W | U);
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    uint64_t paddr;
    (void)mmu_translate(&b->m, 0x1000, 1, ACCESS_FETCH, &paddr);
    uint64_t key = b->m.space_key;
    b->regs.cr3 = 0x30000;
    configure(b);
    assert_int_not_equal(key, b->m.space_key);
    assert_int_equal(touch(b, 0x1000, ACCESS_WRITE), EXC_NONE);
    b->regs.cr3 = TOP | 0x18; /* PCD and PWT are no part of it */
    configure(b);
    assert_int_equal(key, b->m.space_key);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
    put(b, pte(b, 1), 0); /* drops from both */
    assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
    b->regs.cr3 = 0x30000;
    configure(b);
    expect_fault(b, 0x1000, ACCESS_READ, 0);
}

static void more_spaces_than_fit_still_translate(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 12; i++) {
            uint64_t at = 0x40000 + i * 0x4000;
            uint32_t v = 0;
            put(b, at, (at + 0x1000) | P | W);
            put(b, at + 0x1000, (at + 0x2000) | P | W);
            put(b, at + 0x2000, (at + 0x3000) | P | W);
            put(b, at + 0x3008, (DATA + i * 0x1000) | P | W);
            put(b, DATA + i * 0x1000, 100 + i);
            b->regs.cr3 = at;
            configure(b);
            assert_int_equal(mmu_read(&b->m, 0x1000, &v, 4, ACCESS_READ),
                             EXC_NONE);
            assert_int_equal(v, 100 + i);
        }
}

static void filling_an_unused_entry_drops_nothing(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
    uint64_t walks = b->m.walks, drops = b->m.drops;
    put(b, pte(b, 2), DATA | P | W);
    put(b, pte(b, 1), get(b, pte(b, 1)) | D | G | 0x600);
    assert_true(slot(b, 0x1000)->read_tag == 0x1000);
    assert_int_equal(b->m.drops, drops);
    mmu_drop_all(&b->m);
    assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
    assert_int_equal(b->m.walks, walks + 1);
}

static void one_page_goes_and_its_neighbour_stays(void **state)
{
    struct bench *b = *state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        set_mode(b, kind, 0, 0, 0);
        put(b, pte(b, 1), DATA | P | W);
        put(b, pte(b, 2), DATA | P | W);
        assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
        assert_int_equal(touch(b, 0x2000, ACCESS_READ), EXC_NONE);
        uint64_t zero = 0;
        phys_dma_write(b->p, pte(b, 1), &zero, 4);
        assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
        assert_true(slot(b, 0x2000)->read_tag == 0x2000);
        expect_fault(b, 0x1000, ACCESS_READ, 0);
        put(b, PD, 0);
        expect_fault(b, 0x2000, ACCESS_READ, 0);
    }
}

static void tables_written_through_their_own_mapping(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 3), PT | P | W); /* page 3 is the page table */
    put(b, pte(b, 1), DATA | P | W);
    uint64_t v = 0;
    assert_int_equal(mmu_write(&b->m, 0x3ff8, &v, 8, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0x3000)->write_tag == TLB_NONE);
    assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
    assert_int_equal(mmu_write(&b->m, 0x3008, &v, 8, ACCESS_WRITE), EXC_NONE);
    expect_fault(b, 0x1000, ACCESS_READ, 0);
    assert_null(mmu_host_pointer(&b->m, 0x3000, 8, ACCESS_WRITE));
    assert_non_null(mmu_host_pointer(&b->m, 0x3000, 8, ACCESS_READ));
}

static void data_page_that_becomes_a_table_loses_direct_writes(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), 0x30000 | P | W);
    uint64_t v = DATA | P | W;
    assert_int_equal(mmu_write(&b->m, 0x1000, &v, 8, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
    put(b, PD + 8, 0x30000 | P | W);
    assert_int_equal(touch(b, 0x200000, ACCESS_READ), EXC_NONE);
    assert_true(slot(b, 0x1000)->write_tag == TLB_NONE);
    assert_true(phys_frame_flags(b->p, 0x30) & FRAME_TABLE);
    v = 0;
    assert_int_equal(mmu_write(&b->m, 0x1000, &v, 8, ACCESS_WRITE), EXC_NONE);
    expect_fault(b, 0x200000, ACCESS_READ, 0);
    assert_false(phys_frame_flags(b->p, 0x30) & FRAME_TABLE);
    assert_int_equal(mmu_write(&b->m, 0x1000, &v, 8, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0x1000)->write_tag == 0x1000);
}

static void a_table_reused_for_data_is_let_go(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    assert_int_equal(touch(b, 0x1000, ACCESS_READ), EXC_NONE);
    assert_true(phys_frame_flags(b->p, PT >> 12) & FRAME_TABLE);
    for (uint64_t i = 0; i < 600; i++)
        put(b, PT + 0x800 + i % 64 * 8, i + 1);
    assert_false(phys_frame_flags(b->p, PT >> 12) & FRAME_TABLE);
    put(b, pte(b, 1), 0);
    expect_fault(b, 0x1000, ACCESS_READ, 0);
}

static void the_space_key_follows_fetches(void **state)
{
    struct bench *b = *state;
    uint64_t paddr, key;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), DATA | P | W);
    put(b, pte(b, 2), DATA | P | W);
    assert_int_equal(mmu_translate(&b->m, 0x1000, 1, ACCESS_FETCH, &paddr),
                     EXC_NONE);
    assert_int_equal(touch(b, 0x2000, ACCESS_WRITE), EXC_NONE);
    key = b->m.space_key;
    put(b, pte(b, 2), 0);
    assert_int_equal(b->m.space_key, key);
    put(b, pte(b, 1), 0);
    assert_int_not_equal(b->m.space_key, key);
    key = b->m.space_key;
    mmu_drop_all(&b->m);
    assert_int_not_equal(b->m.space_key, key);
    key = b->m.space_key;
    phys_unmap(b->p, 0x100000, 0x1000, PHYS_READ);
    assert_int_not_equal(b->m.space_key, key);
}

static void limited_tlb_keeps_n_entries(void **state)
{
    struct bench *b = *state;
    mmu_limit_entries(&b->m, 3);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(touch(b, i * 0x1000, ACCESS_WRITE), EXC_NONE);
    unsigned alive = 0;
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        alive += b->m.tlb[i].read_tag != TLB_NONE;
    assert_int_equal(alive, 3);
    assert_true(slot(b, 19 * 0x1000)->write_tag == 19 * 0x1000);
}

/* ---- what is not plain memory
 * -------------------------------------------------- */

static uint64_t device_read(void *device, uint64_t offset, unsigned bytes)
{
    (void)bytes;
    ((struct bench *)device)->mmio_reads++;
    return offset;
}

static void device_write(void *device, uint64_t offset, uint64_t value,
                         unsigned bytes)
{
    (void)offset, (void)value, (void)bytes;
    ((struct bench *)device)->mmio_writes++;
}

static const struct mmio_ops device_ops = {device_read, device_write};

static void mmio_never_enters_the_inline_tlb(void **state)
{
    struct bench *b = *state;
    uint32_t v = 0;
    phys_map_mmio(b->p, 0xfec00000, 0x1000, &device_ops, b, 0,
                  PHYS_READ | PHYS_WRITE);
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, pte(b, 1), 0xfec00000 | P | W);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mmu_read(&b->m, 0x1010, &v, 4, ACCESS_READ), EXC_NONE);
        assert_int_equal(mmu_write(&b->m, 0x1010, &v, 4, ACCESS_WRITE),
                         EXC_NONE);
    }
    assert_int_equal(v, 0x10);
    assert_int_equal(b->mmio_reads, 3);
    assert_int_equal(b->mmio_writes, 3);
    assert_int_equal(b->m.walks, 2); /* the second sets D */
    assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
    assert_null(mmu_host_pointer(&b->m, 0x1010, 4, ACCESS_READ));
}

static void rom_is_read_directly_and_never_written(void **state)
{
    struct bench *b = *state;
    uint32_t rom = phys_add_memory(b->p, "rom", 0x1000, true), v = 7;
    phys_frame_write(b->p, rom, 0, "BIOS", 4);
    phys_map_memory(b->p, 0xf0000, 0x1000, rom, PHYS_READ | PHYS_WRITE);
    assert_int_equal(touch(b, 0xf0000, ACCESS_READ), EXC_NONE);
    assert_int_equal(mmu_write(&b->m, 0xf0000, &v, 4, ACCESS_WRITE), EXC_NONE);
    assert_true(slot(b, 0xf0000)->read_tag == 0xf0000);
    assert_true(slot(b, 0xf0000)->write_tag == TLB_NONE);
    assert_null(mmu_host_pointer(&b->m, 0xf0000, 4, ACCESS_WRITE));
    assert_memory_equal(phys_frame_host(b->p, rom), "BIOS", 4);
}

static void shadow_memory_takes_writes_behind_rom(void **state)
{
    struct bench *b = *state;
    uint32_t rom = phys_add_memory(b->p, "rom", 0x1000, true), v = 7, got;
    phys_frame_write(b->p, rom, 0, "BIOS", 4);
    phys_map_memory(b->p, 0xf0000, 0x1000, rom, PHYS_READ);
    assert_int_equal(mmu_write(&b->m, 0xf0000, &v, 4, ACCESS_WRITE), EXC_NONE);
    assert_int_equal(mmu_read(&b->m, 0xf0000, &got, 4, ACCESS_READ), EXC_NONE);
    assert_memory_equal(&got, "BIOS", 4);
    assert_int_equal(phys_frame_host(b->p, 0xf0)[0], 7);
    assert_null(mmu_host_pointer(&b->m, 0xf0000, 4, ACCESS_WRITE));
}

static void a20_applies_behind_paging(void **state)
{
    struct bench *b = *state;
    uint64_t v = 0;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    put(b, DATA, 1);
    put(b, DATA + 0x100000, 2);
    put(b, pte(b, 1), (DATA + 0x100000) | P | W);
    for (unsigned on = 0; on < 4; on++) {
        phys_set_a20(b->p, on % 2);
        assert_int_equal(mmu_read(&b->m, 0x1000, &v, 8, ACCESS_READ), EXC_NONE);
        assert_int_equal(v, 1 + on % 2);
    }
}

static void wild_cr3_reads_all_ones(void **state)
{
    struct bench *b = *state;
    set_mode(b, FOUR_LEVEL, 0, 0, 0);
    b->regs.cr3 = 0xfffffff000;
    configure(b);
    expect_fault(b, 0x1000, ACCESS_READ, 9);
    expect_fault(b, 0x1000, ACCESS_READ, 9);
}

/* More page-table frames than records. */
static void table_records_are_bounded(void **state)
{
    (void)state;
    enum { TABLES = 16500, LOW = 64 };
    struct bench b = {0};
    b.p = phys_new((uint64_t)(TABLES + LOW) * PAGE_BYTES, NULL);
    phys_add_memory(b.p, "ram", (uint64_t)(TABLES + LOW) * PAGE_BYTES, false);
    phys_map_memory(b.p, 0, (uint64_t)(TABLES + LOW) * PAGE_BYTES, 0,
                    PHYS_READ | PHYS_WRITE);
    assert_true(mmu_init(&b.m, b.p, NULL));
    set_mode(&b, FOUR_LEVEL, 0, 0, 0);
    for (unsigned i = 0; i < 40; i++)
        put(&b, PDPT + i * 8, (0x14000 + i * 0x1000) | P | W);
    for (uint64_t i = 0; i < TABLES; i++) {
        uint64_t table = (LOW + i) * PAGE_BYTES;
        put(&b, 0x14000 + i * 8, table | P | W);
        put(&b, table, (i % 2 ? 0x1000 : 0) | P | W);
        assert_int_equal(touch(&b, i << 21, ACCESS_READ), EXC_NONE);
    }
    unsigned flagged = 0;
    for (uint32_t f = 0; f < phys_frames(b.p); f++)
        flagged += (phys_frame_flags(b.p, f) & FRAME_TABLE) != 0;
    assert_true(flagged > 0 && flagged < 1000);
    put(&b, (LOW + TABLES - 1) * (uint64_t)PAGE_BYTES, 0);
    expect_fault(&b, (TABLES - 1ULL) << 21, ACCESS_READ, 0);
    mmu_fini(&b.m);
    phys_free(b.p);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(rights_matrix),
        CASE(not_present_tells_no_protection),
        CASE(reserved_bits_fault),
        CASE(two_level_large_pages),
        CASE(large_pages_of_two_mib),
        CASE(non_canonical_is_gp),
        CASE(linear_addresses_wrap_at_4_gib),
        CASE(without_paging_all_is_identity),
        CASE(accessed_and_dirty_bits),
        CASE(a_fault_marks_only_the_levels_above),
        CASE(peek_changes_nothing),
        CASE(a_write_across_pages_is_all_or_nothing),
        CASE(inline_entries_lead_to_the_bytes),
        CASE(privileges_have_tlbs_of_their_own),
        CASE(checked_shows_an_empty_tlb),
        CASE(spaces_stay_cached_across_cr3_loads),
        CASE(more_spaces_than_fit_still_translate),
        CASE(filling_an_unused_entry_drops_nothing),
        CASE(one_page_goes_and_its_neighbour_stays),
        CASE(tables_written_through_their_own_mapping),
        CASE(data_page_that_becomes_a_table_loses_direct_writes),
        CASE(a_table_reused_for_data_is_let_go),
        CASE(the_space_key_follows_fetches),
        CASE(limited_tlb_keeps_n_entries),
        CASE(mmio_never_enters_the_inline_tlb),
        CASE(rom_is_read_directly_and_never_written),
        CASE(shadow_memory_takes_writes_behind_rom),
        CASE(a20_applies_behind_paging),
        CASE(wild_cr3_reads_all_ones),
        cmocka_unit_test(table_records_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
