#include "base/bytes.h"
#include "dev/fwcfg_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct fwcfg *fw;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->fw = fwcfg_new(f->t.bus, 0x123456000, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fwcfg_free(f->fw);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

static void read_item(struct fixture *f, uint16_t key, void *out, size_t n)
{
    bus_io_write(f->t.bus, 0x510, key, 2);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = devtest_in8(&f->t, 0x511);
}

static void standard_items(void **state)
{
    struct fixture *f = *state;
    uint8_t b[8];
    read_item(f, 0x00, b, 6);
    assert_memory_equal(b, "QEMU\0\0", 6); /* zeros behind the end */
    read_item(f, 0x01, b, 4);
    assert_int_equal(load_le32(b), 3);
    read_item(f, 0x03, b, 8);
    assert_true(load_le64(b) == 0x123456000);
    read_item(f, 0x05, b, 2);
    assert_int_equal(load_le16(b), 1);
    read_item(f, 0x0f, b, 2);
    assert_int_equal(load_le16(b), 1);
    read_item(f, 0x3333, b, 1);
    assert_int_equal(b[0], 0);
}

static void byte_writes_do_not_select(void **state)
{
    struct fixture *f = *state;
    uint8_t b;
    read_item(f, 0x00, &b, 1);
    devtest_out8(&f->t, 0x510, 5);
    devtest_out8(&f->t, 0x511, 5);
    assert_int_equal(devtest_in8(&f->t, 0x511), 'E');
}

static void directory_lists_files(void **state)
{
    struct fixture *f = *state;
    assert_true(fwcfg_add_file(f->fw, "etc/one", "abc", 3));
    assert_true(fwcfg_add_file(f->fw, "bootorder", "xy", 2));
    assert_true(fwcfg_add_file(f->fw, "etc/one", "abcd", 4)); /* replaced */
    uint8_t dir[4 + 128];
    read_item(f, 0x19, dir, sizeof dir);
    assert_int_equal(load_be32(dir), 2);
    assert_int_equal(load_be32(dir + 4), 4);
    assert_int_equal(load_be16(dir + 8), 0x20);
    assert_string_equal((char *)dir + 12, "etc/one");
    assert_int_equal(load_be32(dir + 68), 2);
    assert_int_equal(load_be16(dir + 72), 0x21);
    assert_string_equal((char *)dir + 76, "bootorder");
    read_item(f, 0x20, dir, 4);
    assert_memory_equal(dir, "abcd", 4);
}

static void room_for_64_files_and_no_long_names(void **state)
{
    struct fixture *f = *state;
    char name[80];
    for (unsigned i = 0; i < FWCFG_FILES; i++) {
        snprintf(name, sizeof name, "file%u", i);
        assert_true(fwcfg_add_file(f->fw, name, "x", 1));
    }
    assert_false(fwcfg_add_file(f->fw, "another", "x", 1));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_false(fwcfg_add_file(f->fw, name, "x", 1));
    assert_false(fwcfg_add_file(f->fw, "", "x", 1));
}

static void items_replace_items(void **state)
{
    struct fixture *f = *state;
    uint8_t b[4];
    assert_true(fwcfg_add_u16(f->fw, FWCFG_BOOT_MENU, 1));
    assert_true(fwcfg_add_u16(f->fw, FWCFG_BOOT_MENU, 2));
    read_item(f, FWCFG_BOOT_MENU, b, 2);
    assert_int_equal(load_le16(b), 2);
    assert_true(fwcfg_add_item(f->fw, 0x8002, NULL, 0));
    read_item(f, 0x8002, b, 1);
    assert_int_equal(b[0], 0);
}

/* Run a DMA command whose structure lies at 100h; returns its control word. */
static uint32_t dma(struct fixture *f, uint32_t control, uint32_t length,
                    uint64_t address)
{
    uint8_t access[16];
    store_be32(access, control);
    store_be32(access + 4, length);
    store_be64(access + 8, address);
    bus_dma_write(f->t.bus, 0x100, access, 16);
    bus_io_write(f->t.bus, 0x514, 0, 4);
    bus_io_write(f->t.bus, 0x518, __builtin_bswap32(0x100), 4);
    bus_dma_read(f->t.bus, 0x100, access, 4);
    return load_be32(access);
}

static void dma_selects_skips_and_reads(void **state)
{
    struct fixture *f = *state;
    char back[6] = "......";
    fwcfg_add_file(f->fw, "f", "abcdefgh", 8);
    assert_int_equal(dma(f, 0x200000 | 8 | 2, 2, 0x1000), 0);
    assert_int_equal(dma(f, 4, 3, 0), 0);
    assert_int_equal(dma(f, 2, 6, 0x2000), 0);
    bus_dma_read(f->t.bus, 0x1000, back, 2);
    assert_memory_equal(back, "ab", 2);
    bus_dma_read(f->t.bus, 0x2000, back, 6);
    assert_memory_equal(back, "fgh\0\0\0", 6);
    assert_int_equal(dma(f, 16, 6, 0x2000), 1);
}

static void dma_signature_reads_back(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(bus_io_read(f->t.bus, 0x514, 4), load_le32("QEMU"));
    assert_int_equal(bus_io_read(f->t.bus, 0x518, 4), load_le32(" CFG"));
    bus_io_read(f->t.bus, 0x51b, 4);
}

static void hostile_dma_is_harmless(void **state)
{
    struct fixture *f = *state;
    dma(f, 2, 0x100000, UINT64_MAX - 5);
    dma(f, 4, UINT32_MAX, 0);
    dma(f, 4, UINT32_MAX, 0);
    dma(f, 0xffffffff, 16, 0xfffffff0);
    bus_io_write(f->t.bus, 0x514, UINT32_MAX, 4);
    bus_io_write(f->t.bus, 0x518, UINT32_MAX, 4);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        {0, offsetof(struct fwcfg, offset)} /* configuration and derived */
    };
    devtest_fields(fwcfg_fields, FWCFG_FIELDS, sizeof(struct fwcfg), exempt, 1);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct fwcfg *other = fwcfg_new(u.bus, 0x123456000, 1);
    uint8_t b[2];
    read_item(f, 0x03, b, 2);
    assert_true(devtest_copy(&fwcfg_ops, f->fw, other));
    assert_int_equal(devtest_in8(&u, 0x511), 0x45);
    devtest_hostile_loads(&fwcfg_ops, f->fw, other);
    devtest_in8(&u, 0x511);
    fwcfg_free(other);
    devtest_fini(&u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(standard_items),
        TEST(byte_writes_do_not_select),
        TEST(directory_lists_files),
        TEST(room_for_64_files_and_no_long_names),
        TEST(items_replace_items),
        TEST(dma_selects_skips_and_reads),
        TEST(dma_signature_reads_back),
        TEST(hostile_dma_is_harmless),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
