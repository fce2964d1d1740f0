/* The kernel half of address spaces: who shares a key for supervisor fetches and
 * an inline TLB, and what ends it. */
#include "mem/mmu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define P 1ULL
#define W 2ULL
#define A 0x20ULL

enum {
    RAM_BYTES = 0x200000,
    ROOT_1 = 0x10000, /* top tables */
    ROOT_2 = 0x11000,
    ROOT_3 = 0x12000,
    PDPT = 0x13000, /* of the kernel half: entry 511 */
    PD = 0x14000,
    PT = 0x15000,
    LOW_PDPT = 0x16000, /* of entry 0 */
    LOW_PD = 0x17000,
    LOW_PT = 0x18000,
    CODE = 0x20000
};
#define KERNEL UINT64_C(0xffffff8000000000) /* what entry 511 maps */

struct bench {
    struct phys *p;
    struct mmu m;
    struct mmu_regs regs;
};

static void put(struct bench *b, uint64_t paddr, uint64_t v)
{
    phys_write(b->p, paddr, &v, 8);
}

static void load(struct bench *b, uint64_t root)
{
    b->regs.cr3 = root;
    mmu_configure(&b->m, &b->regs);
}

/* The key under which code at vaddr is cached after a fetch from there. */
static uint64_t fetch(struct bench *b, uint64_t vaddr)
{
    uint64_t paddr;
    assert_int_equal(mmu_translate(&b->m, vaddr, 1, ACCESS_FETCH, &paddr),
                     EXC_NONE);
    return b->m.space_key;
}

static int setup(void **state)
{
    static struct bench bench;
    struct bench *b = &bench;
    *b = (struct bench){0};
    b->p = phys_new(RAM_BYTES, NULL);
    phys_add_memory(b->p, "ram", RAM_BYTES, false);
    phys_map_memory(b->p, 0, RAM_BYTES, 0, PHYS_READ | PHYS_WRITE);
    assert_true(mmu_init(&b->m, b->p, NULL));
    for (uint64_t root = ROOT_1; root <= ROOT_3; root += PAGE_BYTES) {
        put(b, root, LOW_PDPT | P | W | A);
        put(b, root + 511 * 8, PDPT | P | W | A);
    }
    put(b, PDPT, PD | P | W);
    put(b, PD, PT | P | W);
    put(b, PT, CODE | P | W);
    put(b, PT + 8, (CODE + PAGE_BYTES) | P | W);
    put(b, LOW_PDPT, LOW_PD | P | W);
    put(b, LOW_PD, LOW_PT | P | W);
    put(b, LOW_PT + 8, CODE | P | W);
    b->regs = (struct mmu_regs){
        .cr0 = 0x80010001, .cr4 = 0x20, .efer = 0x500, .cr3 = ROOT_1};
    mmu_configure(&b->m, &b->regs);
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

static void equal_kernel_halves_have_one_key(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    load(b, ROOT_2);
    assert_int_equal(fetch(b, KERNEL), key);
    mmu_set_user(&b->m, true);
    uint64_t user = b->m.space_key;
    assert_int_not_equal(user, key);
    load(b, ROOT_1);
    assert_int_not_equal(b->m.space_key, user);
    mmu_set_user(&b->m, false);
    assert_int_equal(b->m.space_key, key);
}

static void a_supervisor_fetch_below_parts_a_space(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    load(b, ROOT_2);
    uint64_t low = fetch(b, 0x1000);
    assert_int_not_equal(low, key);
    assert_int_equal(fetch(b, KERNEL), low);
    load(b, ROOT_3);
    assert_int_equal(fetch(b, KERNEL), key);
}

static void a_changed_top_entry_parts_its_space_alone(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    load(b, ROOT_2);
    assert_int_equal(fetch(b, KERNEL), key);
    put(b, ROOT_2 + 300 * 8, PDPT | P | W | A); /* was not even present */
    assert_int_not_equal(b->m.space_key, key);
    load(b, ROOT_1);
    assert_int_equal(fetch(b, KERNEL), key);
    load(b, ROOT_3);
    assert_int_equal(fetch(b, KERNEL), key);
}

static void a_change_below_renews_the_key_of_all(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    load(b, ROOT_2);
    assert_int_equal(fetch(b, KERNEL), key);
    put(b, PT + 8, 0); /* nothing was fetched there */
    assert_int_equal(b->m.space_key, key);
    put(b, PT, (CODE + 2 * PAGE_BYTES) | P | W);
    uint64_t renewed = b->m.space_key;
    assert_int_not_equal(renewed, key);
    load(b, ROOT_1);
    assert_int_equal(b->m.space_key, renewed);
}

static void an_entry_not_accessed_is_not_shared(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    put(b, ROOT_2 + 511 * 8, PDPT | P | W);
    load(b, ROOT_2);
    assert_int_not_equal(fetch(b, KERNEL), key);
    uint64_t entry;
    phys_read(b->p, ROOT_2 + 511 * 8, &entry, 8);
    assert_true(entry & A);
}

static void other_entries_are_not_shared(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    put(b, ROOT_2 + 256 * 8, PDPT | P | W | A);
    load(b, ROOT_2);
    assert_int_not_equal(fetch(b, KERNEL), key);
}

static void a_full_drop_renews_all_keys(void **state)
{
    struct bench *b = *state;
    uint64_t key = fetch(b, KERNEL);
    load(b, ROOT_2);
    assert_int_equal(fetch(b, KERNEL), key);
    mmu_drop_all(&b->m);
    uint64_t second = fetch(b, KERNEL);
    assert_int_not_equal(second, key);
    load(b, ROOT_1);
    assert_int_not_equal(fetch(b, KERNEL), key);
    assert_int_not_equal(fetch(b, KERNEL), second);
}

/* ---- the inline TLB that spaces share ------------------------------------- */

static const struct tlb_entry *slot(const struct bench *b, uint64_t vaddr)
{
    return &b->m.tlb[vaddr >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
}

static uint32_t read32(struct bench *b, uint64_t vaddr)
{
    uint32_t v = 0;
    assert_int_equal(mmu_read(&b->m, vaddr, &v, sizeof v, ACCESS_READ),
                     EXC_NONE);
    return v;
}

/* Two pages with these numbers, and tables that give each root another page at
 * 0x1000. */
static void put_pages(struct bench *b)
{
    enum { OTHER_PDPT = 0x19000, OTHER_PD = 0x1a000, OTHER_PT = 0x1b000 };
    put(b, CODE, 1);
    put(b, CODE + PAGE_BYTES, 2);
    put(b, OTHER_PDPT, OTHER_PD | P | W);
    put(b, OTHER_PD, OTHER_PT | P | W);
    put(b, OTHER_PT + 8, (CODE + PAGE_BYTES) | P | W);
    put(b, ROOT_2, OTHER_PDPT | P | W | A);
}

static void kernel_pages_stay_across_spaces(void **state)
{
    struct bench *b = *state;
    load(b, ROOT_2); /* the first space shares from its activation on */
    assert_int_equal(read32(b, KERNEL), 0);
    uint64_t walks = b->m.walks;
    load(b, ROOT_3);
    assert_true(slot(b, KERNEL)->read_tag == KERNEL);
    (void)read32(b, KERNEL);
    assert_int_equal(b->m.walks, walks);
}

static void lower_pages_are_their_space_s(void **state)
{
    struct bench *b = *state;
    put_pages(b);
    load(b, ROOT_2);
    assert_int_equal(read32(b, 0x1000), 2);
    load(b, ROOT_3);
    assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
    assert_int_equal(read32(b, 0x1000), 1);
    load(b, ROOT_2);
    assert_int_equal(read32(b, 0x1000), 2);
}

static void a_change_reaches_spaces_that_did_not_walk(void **state)
{
    struct bench *b = *state;
    put_pages(b);
    load(b, ROOT_2);
    assert_int_equal(read32(b, KERNEL), 1);
    put(b, ROOT_2 + 300 * 8, PDPT | P | W | A); /* the walker's space parts */
    load(b, ROOT_3);
    assert_int_equal(read32(b, KERNEL), 1);
    put(b, PT, (CODE + PAGE_BYTES) | P | W);
    assert_int_equal(read32(b, KERNEL), 2);
    load(b, ROOT_2);
    assert_int_equal(read32(b, KERNEL), 2);
    put(b, PD, 0);
    assert_true(slot(b, KERNEL)->read_tag == TLB_NONE);
    load(b, ROOT_3);
    assert_true(slot(b, KERNEL)->read_tag == TLB_NONE);
}

static void a_space_that_parts_keeps_no_entries(void **state)
{
    struct bench *b = *state;
    put_pages(b);
    load(b, ROOT_2);
    assert_int_equal(read32(b, 0x1000), 2);
    put(b, ROOT_2 + 300 * 8, PDPT | P | W | A);
    assert_true(slot(b, 0x1000)->read_tag == TLB_NONE);
    put(b, ROOT_2, LOW_PDPT | P | W | A);
    assert_int_equal(read32(b, 0x1000), 1);
}

static void writes_to_tables_stay_watched(void **state)
{
    struct bench *b = *state;
    uint64_t entry = (CODE + PAGE_BYTES) | P | W | A;
    put_pages(b);
    put(b, PT + 16, PT | P | W); /* the table maps itself */
    load(b, ROOT_2);
    for (unsigned round = 0; round < 4; round++) {
        assert_int_equal(read32(b, KERNEL), round & 1 ? 2 : 1);
        assert_int_equal(mmu_write(&b->m, KERNEL + 2 * PAGE_BYTES, &entry, 8,
                                   ACCESS_WRITE),
                         EXC_NONE);
        assert_true(slot(b, KERNEL + 2 * PAGE_BYTES)->write_tag == TLB_NONE);
        entry ^= PAGE_BYTES;
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(equal_kernel_halves_have_one_key),
        CASE(a_supervisor_fetch_below_parts_a_space),
        CASE(a_changed_top_entry_parts_its_space_alone),
        CASE(a_change_below_renews_the_key_of_all),
        CASE(an_entry_not_accessed_is_not_shared),
        CASE(other_entries_are_not_shared),
        CASE(a_full_drop_renews_all_keys),
        CASE(kernel_pages_stay_across_spaces),
        CASE(lower_pages_are_their_space_s),
        CASE(a_change_reaches_spaces_that_did_not_walk),
        CASE(a_space_that_parts_keeps_no_entries),
        CASE(writes_to_tables_stay_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
