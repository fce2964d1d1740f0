/* PE images in memory: what they export, where they begin, and hostile ones. */
#include "lib_fuzz_pe.h"

#include "analysis/pe.h"
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BASE UINT64_C(0xfffff80002a00000)

/* The image lies at BASE; a page of it may be missing. */
struct world {
    uint8_t image[PEIMAGE_BYTES];
    uint64_t missing; /* its page, as an offset; UINT64_MAX: none */
    unsigned long reads;
};

static bool read_world(void *context, uint64_t address, void *out, size_t bytes)
{
    struct world *w = context;
    uint64_t at = address - BASE;
    w->reads++;
    if (at >= PEIMAGE_BYTES || bytes > PEIMAGE_BYTES - at)
        return false;
    if (w->missing != UINT64_MAX && at < w->missing + 4096 &&
        at + bytes > w->missing)
        return false;
    memcpy(out, w->image + at, bytes);
    return true;
}

static const struct peimage_export some[] = {
    {"Elsewhere", 0},
    {"KeBugCheckEx", PEIMAGE_TEXT + 0x100},
    {"NtBuildNumber", PEIMAGE_DATA + 0x10},
    {"ZwClose", PEIMAGE_TEXT + 0x40},
};
enum { SOME = sizeof some / sizeof some[0] };

static struct pe_memory set_up(struct world *w, bool is_64)
{
    memset(w, 0, sizeof *w);
    w->missing = UINT64_MAX;
    peimage_make(w->image, is_64, "ntoskrnl.exe", some, SOME);
    return (struct pe_memory){.read = read_world, .context = w};
}

static void check_all(bool is_64)
{
    struct world w;
    struct pe_memory memory = set_up(&w, is_64);
    struct pe_image pe;
    struct pe_section section;
    struct pe_pdb pdb;
    char name[PE_NAME_MAX];
    uint64_t at, offset;
    assert_true(pe_find(&pe, &memory, BASE + PEIMAGE_TEXT + 0x123));
    assert_true(pe.base == BASE);
    assert_int_equal(pe.is_64, is_64);
    assert_int_equal(pe.machine, is_64 ? PE_AMD64 : PE_I386);
    assert_int_equal(pe.bytes, PEIMAGE_BYTES);
    assert_int_equal(pe.timestamp, PEIMAGE_TIMESTAMP);
    assert_int_equal(pe.entry, PEIMAGE_TEXT);
    assert_true(pe_name(&pe, name));
    assert_string_equal(name, "ntoskrnl.exe");
    assert_true(pe_export(&pe, "KeBugCheckEx", &at));
    assert_true(at == BASE + PEIMAGE_TEXT + 0x100);
    assert_true(pe_export(&pe, "NtBuildNumber", &at));
    assert_true(at == BASE + PEIMAGE_DATA + 0x10);
    assert_false(pe_export(&pe, "Elsewhere", &at)); /* forwarded */
    assert_false(pe_export(&pe, "KeBugCheck", &at));
    assert_true(pe_nearest(&pe, BASE + PEIMAGE_TEXT + 0x13c, name, &offset));
    assert_string_equal(name, "KeBugCheckEx");
    assert_int_equal(offset, 0x3c);
    assert_true(pe_nearest(&pe, BASE + PEIMAGE_TEXT + 0xff, name, &offset));
    assert_string_equal(name, "ZwClose");
    assert_false(pe_nearest(&pe, BASE + PEIMAGE_TEXT, name, &offset));
    assert_false(pe_nearest(&pe, BASE + PEIMAGE_BYTES, name, &offset));
    assert_true(pe_section(&pe, 2, &section));
    assert_string_equal(section.name, ".data");
    assert_true(section.address == BASE + PEIMAGE_DATA);
    assert_false(pe_section(&pe, 3, &section));
    assert_true(pe_pdb(&pe, &pdb));
    assert_string_equal(pdb.name, PEIMAGE_PDB);
    assert_int_equal(pdb.age, PEIMAGE_AGE);
    assert_int_equal(pdb.guid[15], 0x1f);
}

static void a_32_bit_image_is_read(void **state)
{
    (void)state;
    check_all(false);
}

static void a_64_bit_image_is_read(void **state)
{
    (void)state;
    check_all(true);
}

/* The kernel drops pages of its image that it needs no longer. */
static void missing_pages_are_passed_over(void **state)
{
    (void)state;
    struct world w;
    struct pe_memory memory = set_up(&w, true);
    struct pe_image pe;
    uint64_t at;
    w.missing = PEIMAGE_TEXT;
    assert_true(pe_find(&pe, &memory, BASE + PEIMAGE_DATA));
    assert_true(pe.base == BASE);
    assert_true(pe_export(&pe, "KeBugCheckEx", &at));
    w.missing = PEIMAGE_RDATA;
    assert_false(pe_export(&pe, "KeBugCheckEx", &at));
    w.missing = 0;
    assert_false(pe_find(&pe, &memory, BASE + PEIMAGE_DATA));
    /* 64 MiB of pages, and not one more. */
    assert_in_range(w.reads, 1, 20000);
}

static void an_address_behind_the_image_is_not_in_it(void **state)
{
    (void)state;
    struct world w;
    struct pe_memory memory = set_up(&w, true);
    struct pe_image pe;
    assert_false(pe_find(&pe, &memory, BASE + PEIMAGE_BYTES));
    assert_false(pe_find(&pe, &memory, 0x1234));
}

/* Counts, offsets and sizes that do not fit are refused or cut. */
static void hostile_fields_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t at, value;
        bool opens;
    } pokes[] = {
        {60, 0xfffffff0, false},           /* where the PE header is */
        {0x80, 0x00004550 ^ 0x100, false}, /* its signature */
        {0x98, 0x107, false},              /* magic */
        {0x98 + 56, 0xffffffff, false},    /* size of the image */
        {0x98 + 56, 0, false},
        {0x98 + 112, 0xfffff000, true},        /* export directory */
        {0x98 + 112, PEIMAGE_BYTES - 4, true}, /* half outside */
        {PEIMAGE_RDATA + 20, 0, true},         /* no functions */
        {PEIMAGE_RDATA + 28, 0xfffffff0, true},
        {PEIMAGE_RDATA + 32, 0xfffffff0, true},
        {PEIMAGE_RDATA + 36, PEIMAGE_BYTES - 1, true},
    };
    for (unsigned n = 0; n < sizeof pokes / sizeof pokes[0]; n++) {
        struct world w;
        struct pe_memory memory = set_up(&w, true);
        struct pe_image pe;
        uint64_t at;
        store_le32(w.image + pokes[n].at, pokes[n].value);
        assert_int_equal(pe_open(&pe, &memory, BASE), pokes[n].opens);
        if (pokes[n].opens)
            assert_false(pe_export(&pe, "KeBugCheckEx", &at));
    }
}

static void too_many_names_are_cut(void **state)
{
    (void)state;
    struct world w;
    struct pe_memory memory = set_up(&w, true);
    struct pe_image pe;
    uint64_t at;
    store_le32(w.image + PEIMAGE_RDATA + 24, 0xffffffff);
    assert_true(pe_open(&pe, &memory, BASE));
    assert_false(pe_export(&pe, "NoSuchName", &at));
    assert_in_range(w.reads, 1, 4 * PE_NAMES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_32_bit_image_is_read),
        cmocka_unit_test(a_64_bit_image_is_read),
        cmocka_unit_test(missing_pages_are_passed_over),
        cmocka_unit_test(an_address_behind_the_image_is_not_in_it),
        cmocka_unit_test(hostile_fields_are_refused),
        cmocka_unit_test(too_many_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
