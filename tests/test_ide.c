/* ATA disks behind the PIIX3 IDE controller. */
#include "base/bytes.h"
#include "tests/lib_idetest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void command(struct idetest *i, uint32_t lba, unsigned count, uint8_t op)
{
    idetest_out(i, IDE0 + 6, 0xE0 | lba >> 24, 1);
    idetest_out(i, IDE0 + 2, count & 0xFF, 1);
    idetest_out(i, IDE0 + 3, lba & 0xFF, 1);
    idetest_out(i, IDE0 + 4, lba >> 8 & 0xFF, 1);
    idetest_out(i, IDE0 + 5, lba >> 16 & 0xFF, 1);
    idetest_out(i, IDE0 + 7, op, 1);
}

static void command48(struct idetest *i, uint64_t lba, unsigned count,
                      uint8_t op)
{
    idetest_out(i, IDE0 + 6, 0x40, 1);
    idetest_out(i, IDE0 + 2, count >> 8, 1);
    idetest_out(i, IDE0 + 3, lba >> 24 & 0xFF, 1);
    idetest_out(i, IDE0 + 4, lba >> 32 & 0xFF, 1);
    idetest_out(i, IDE0 + 5, lba >> 40 & 0xFF, 1);
    idetest_out(i, IDE0 + 2, count & 0xFF, 1);
    idetest_out(i, IDE0 + 3, lba & 0xFF, 1);
    idetest_out(i, IDE0 + 4, lba >> 8 & 0xFF, 1);
    idetest_out(i, IDE0 + 5, lba >> 16 & 0xFF, 1);
    idetest_out(i, IDE0 + 7, op, 1);
}

static void expect_sector(const uint8_t *data, uint64_t sector)
{
    for (unsigned k = 0; k < 512; k++)
        assert_int_equal(data[k], idetest_byte(sector, k));
}

static void identify(struct idetest *i, uint8_t data[512])
{
    idetest_out(i, IDE0 + 6, 0xA0, 1);
    idetest_out(i, IDE0 + 7, 0xEC, 1);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 512);
}

static void identify_tells_geometry_and_size(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    identify(i, data);
    assert_int_equal(load_le16(data + 2), IDETEST_SECTORS / (16 * 63));
    assert_int_equal(load_le16(data + 6), 16);
    assert_int_equal(load_le16(data + 12), 63);
    assert_int_equal(load_le32(data + 120), IDETEST_SECTORS);
    assert_int_equal(load_le64(data + 200), IDETEST_SECTORS);
    assert_memory_equal(data + 54, "ERILEVH RADDSI K", 16);
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0x50);
}

static void read_sectors_interrupts_for_each_sector(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    command(i, 1000, 3, 0x20);
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0x80);
    for (unsigned s = 0; s < 3; s++) {
        assert_int_equal(idetest_wait(i, IDE0), 0x58);
        assert_true(i->t.line[14]);
        assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0x58);
        assert_false(i->t.line[14]);
        idetest_read_words(i, IDE0, data, 512);
        expect_sector(data, 1000 + s);
    }
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0x50);
    assert_int_equal(i->t.rises[14], 3);
}

static void chs_and_lba_name_the_same_sector(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    idetest_out(i, IDE0 + 6, 0xA0 | 5, 1); /* cylinder 2, head 5, sector 7 */
    idetest_out(i, IDE0 + 2, 1, 1);
    idetest_out(i, IDE0 + 3, 7, 1);
    idetest_out(i, IDE0 + 4, 2, 1);
    idetest_out(i, IDE0 + 5, 0, 1);
    idetest_out(i, IDE0 + 7, 0x20, 1);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 512);
    expect_sector(data, (2 * 16 + 5) * 63 + 6);
}

static void write_multiple_reads_back_by_dword(void **state)
{
    struct idetest *i = *state;
    uint8_t data[5 * 512], back[512];
    memset(data, 0xA7, sizeof data);
    command(i, 0, 4, 0xC6);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    command(i, 500, 5, 0xC5);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_write_words(i, IDE0, data, 4 * 512);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_write_words(i, IDE0, data, 512);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    command(i, 504, 1, 0x20);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    for (unsigned k = 0; k < 512; k += 4)
        store_le32(back + k, idetest_in(i, IDE0, 4));
    assert_memory_equal(back, data, 512);
    block_read(i->disk, 505, 1, back);
    expect_sector(back, 505);
}

static void dma_reads_and_writes_with_lba48(void **state)
{
    struct idetest *i = *state;
    uint8_t data[64 * 512];
    command48(i, 2000, 64, 0x25);
    idetest_dma_start(i, 0, 0x100000, sizeof data, true);
    assert_int_equal(idetest_in(i, IDETEST_BM + 2, 1) & 7, 1);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    assert_int_equal(idetest_in(i, IDETEST_BM + 2, 1) & 7, 4);
    assert_true(i->t.line[14]);
    phys_read(i->t.phys, 0x100000, data, sizeof data);
    for (unsigned s = 0; s < 64; s++)
        expect_sector(data + 512 * s, 2000 + s);
    idetest_dma_start(i, 0, 0x100000, 2 * 512, false);
    command48(i, 7, 2, 0x35); /* either order works */
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    block_read(i->disk, 8, 1, data);
    expect_sector(data, 2001);
}

static void dma_completes_at_its_deadline_all_at_once(void **state)
{
    struct idetest *i = *state;
    uint64_t deadline = bus_next_deadline(i->t.bus);
    uint8_t byte;
    assert_true(deadline == UINT64_MAX);
    command(i, 1, 1, 0xC8);
    idetest_dma_start(i, 0, 0x100000, 512, true);
    deadline = bus_next_deadline(i->t.bus);
    devtest_run_to(&i->t, deadline - 1);
    phys_read(i->t.phys, 0x100000, &byte, 1);
    assert_int_equal(byte, 0);
    assert_false(i->t.line[14]);
    devtest_run_to(&i->t, deadline);
    phys_read(i->t.phys, 0x100000, &byte, 1);
    assert_int_equal(byte, idetest_byte(1, 0));
    assert_true(i->t.line[14]);
}

static void a_short_prd_table_hangs_until_reset(void **state)
{
    struct idetest *i = *state;
    command(i, 1, 4, 0xC8);
    idetest_dma_start(i, 0, 0x100000, 512, true);
    devtest_run_ns(&i->t, 10000000);
    assert_int_equal(idetest_in(i, IDETEST_BM + 2, 1) & 7, 0);
    assert_false(i->t.line[14]);
    idetest_out(i, 0x3F6, 4, 1);
    idetest_out(i, 0x3F6, 0, 1);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
}

static void a_long_prd_table_leaves_active_set(void **state)
{
    struct idetest *i = *state;
    command(i, 1, 1, 0xC8);
    idetest_dma_start(i, 0, 0x100000, 1024, true);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    assert_int_equal(idetest_in(i, IDETEST_BM + 2, 1) & 7, 5);
}

static void past_the_end_is_id_not_found(void **state)
{
    struct idetest *i = *state;
    command(i, IDETEST_SECTORS - 1, 2, 0x20);
    assert_int_equal(idetest_wait(i, IDE0), 0x51);
    assert_int_equal(idetest_in(i, IDE0 + 1, 1), 0x10);
    command48(i, 1ull << 40, 1, 0x24);
    assert_int_equal(idetest_wait(i, IDE0), 0x51);
    command(i, IDETEST_SECTORS - 1, 1, 0x40);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
}

static void unknown_commands_abort(void **state)
{
    struct idetest *i = *state;
    command(i, 0, 0, 0x5C);
    assert_int_equal(idetest_wait(i, IDE0), 0x51);
    assert_int_equal(idetest_in(i, IDE0 + 1, 1), 0x04);
    assert_true(i->t.line[14]);
}

static void software_reset_shows_the_signature(void **state)
{
    struct idetest *i = *state;
    idetest_out(i, 0x3F6, 0x0E, 1);
    assert_int_equal(idetest_in(i, 0x3F6, 1), 0x80);
    idetest_out(i, 0x3F6, 0x08, 1);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    assert_int_equal(idetest_in(i, IDE0 + 1, 1), 1);
    assert_int_equal(idetest_in(i, IDE0 + 2, 1), 1);
    assert_int_equal(idetest_in(i, IDE0 + 3, 1), 1);
    assert_int_equal(idetest_in(i, IDE0 + 4, 1), 0);
    assert_int_equal(idetest_in(i, IDE0 + 5, 1), 0);
    assert_false(i->t.line[14]);
}

static void nien_masks_the_line(void **state)
{
    struct idetest *i = *state;
    idetest_out(i, 0x3F6, 2, 1);
    command(i, 0, 0, 0xE7);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    assert_false(i->t.line[14]);
    idetest_out(i, 0x3F6, 0, 1);
    assert_true(i->t.line[14]);
}

static void an_absent_slave_reads_status_zero(void **state)
{
    struct idetest *i = *state;
    idetest_out(i, IDE0 + 6, 0xB0, 1);
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0);
    idetest_out(i, IDE0 + 7, 0xEC, 1);
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0);
}

static void set_features_chooses_the_dma_mode(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    idetest_out(i, IDE0 + 1, 3, 1);
    command(i, 0, 0x45, 0xEF);
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    identify(i, data);
    assert_int_equal(load_le16(data + 176), 0x203F);
    assert_int_equal(load_le16(data + 126), 0x0007);
    idetest_out(i, IDE0 + 1, 3, 1);
    command(i, 0, 0x77, 0xEF);
    assert_int_equal(idetest_wait(i, IDE0), 0x51);
}

static void the_hob_bit_shows_the_upper_registers(void **state)
{
    struct idetest *i = *state;
    idetest_out(i, IDE0 + 6, 0x40, 1);
    idetest_out(i, IDE0 + 7, 0x27, 1); /* READ NATIVE MAX ADDRESS EXT */
    assert_int_equal(idetest_wait(i, IDE0), 0x50);
    assert_int_equal(idetest_in(i, IDE0 + 4, 1),
                     (IDETEST_SECTORS - 1) >> 8 & 0xFF);
    idetest_out(i, 0x3F6, 0x80, 1);
    assert_int_equal(idetest_in(i, IDE0 + 4, 1), 0);
    idetest_out(i, IDE0 + 3, 0, 1);
    assert_int_equal(idetest_in(i, IDE0 + 4, 1),
                     (IDETEST_SECTORS - 1) >> 8 & 0xFF);
}

static void smart_needs_its_key(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512], sum = 0;
    idetest_out(i, IDE0 + 1, 0xD0, 1);
    command(i, 0, 1, 0xB0);
    assert_int_equal(idetest_wait(i, IDE0), 0x51);
    idetest_out(i, IDE0 + 1, 0xD0, 1);
    command(i, 0xC24F00, 1, 0xB0);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 512);
    for (unsigned k = 0; k < 512; k++)
        sum = (uint8_t)(sum + data[k]);
    assert_int_equal(sum, 0);
    assert_int_equal(idetest_in(i, IDE0 + 7, 1), 0x50);
}

/* Save, break everything, and load again. */
static void save_and_load(struct idetest *i)
{
    struct writer w, b;
    struct reader r;
    struct error err;
    writer_init(&w);
    writer_init(&b);
    ide_ops.save(i->ide, &w);
    bus_save(i->t.bus, &b);
    bus_reset(i->t.bus);
    ide_ops.reset(i->ide);
    reader_init(&r, b.data, b.used);
    assert_true(bus_load(i->t.bus, &r, &err));
    reader_init(&r, w.data, w.used);
    assert_true(ide_ops.load(i->ide, &r, &err));
    writer_fini(&w);
    writer_fini(&b);
}

static void a_transfer_goes_on_after_load(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    command(i, 77, 2, 0x20);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 100);
    save_and_load(i);
    idetest_read_words(i, IDE0, data + 100, 412);
    expect_sector(data, 77);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 512);
    expect_sector(data, 78);
}

static void identify_answers_after_a_load_before_its_deadline(void **state)
{
    struct idetest *i = *state;
    uint8_t before[512], after[512];
    identify(i, before);
    idetest_out(i, IDE0 + 7, 0xEC, 1);
    save_and_load(i);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, after, 512);
    assert_memory_equal(before, after, 512);
}

/* Else two machines, one of them loaded in between, would differ. */
static void a_write_begins_with_an_empty_buffer(void **state)
{
    struct idetest *i = *state;
    struct writer idle, went_on, loaded;
    struct reader r;
    uint8_t data[512];
    writer_init(&idle);
    writer_init(&went_on);
    writer_init(&loaded);
    command(i, 77, 1, 0x20);
    assert_int_equal(idetest_wait(i, IDE0), 0x58);
    idetest_read_words(i, IDE0, data, 512);
    ide_ops.save(i->ide, &idle);
    command(i, 5, 1, 0x30);
    ide_ops.save(i->ide, &went_on);
    ide_ops.reset(i->ide);
    reader_init(&r, idle.data, idle.used);
    assert_true(ide_ops.load(i->ide, &r, NULL));
    command(i, 5, 1, 0x30);
    ide_ops.save(i->ide, &loaded);
    assert_int_equal(went_on.used, loaded.used);
    assert_memory_equal(went_on.data, loaded.data, loaded.used);
    writer_fini(&idle);
    writer_fini(&went_on);
    writer_fini(&loaded);
}

static void hostile_saved_bytes_do_no_harm(void **state)
{
    struct idetest *i = *state;
    command(i, 77, 2, 0x20);
    devtest_hostile_loads(&ide_ops, i->ide, i->ide);
}

/* Random register accesses and time: nothing may crash or index wildly. */
static void random_accesses_do_no_harm(void **state)
{
    static const uint16_t ports[] = {
        0x1F0,      0x1F0,          0x1F1,          0x1F2,         0x1F3,
        0x1F4,      0x1F5,          0x1F6,          0x1F7,         0x3F6,
        0x170,      0x170,          0x171,          0x172,         0x173,
        0x174,      0x175,          0x176,          0x177,         0x376,
        IDETEST_BM, IDETEST_BM + 2, IDETEST_BM + 4, IDETEST_BM + 8};
    struct idetest *i = *state;
    uint32_t x = 12345;
    for (unsigned n = 0; n < 60000; n++) {
        x = x * 1664525 + 1013904223;
        unsigned port = ports[(x >> 8) % (sizeof ports / sizeof ports[0])];
        unsigned bytes = 1u << (x >> 28) % 3;
        if (x >> 20 & 1)
            idetest_out(i, port, x >> 3 ^ x >> 17, bytes);
        else
            (void)idetest_in(i, port, bytes);
        if (x >> 16 & 1)
            devtest_run_ns(&i->t, 30000);
    }
}

#define IDE_TEST(f)                                                            \
    cmocka_unit_test_setup_teardown(f, idetest_set_up, idetest_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IDE_TEST(identify_tells_geometry_and_size),
        IDE_TEST(read_sectors_interrupts_for_each_sector),
        IDE_TEST(chs_and_lba_name_the_same_sector),
        IDE_TEST(write_multiple_reads_back_by_dword),
        IDE_TEST(dma_reads_and_writes_with_lba48),
        IDE_TEST(dma_completes_at_its_deadline_all_at_once),
        IDE_TEST(a_short_prd_table_hangs_until_reset),
        IDE_TEST(a_long_prd_table_leaves_active_set),
        IDE_TEST(past_the_end_is_id_not_found),
        IDE_TEST(unknown_commands_abort),
        IDE_TEST(software_reset_shows_the_signature),
        IDE_TEST(nien_masks_the_line),
        IDE_TEST(an_absent_slave_reads_status_zero),
        IDE_TEST(set_features_chooses_the_dma_mode),
        IDE_TEST(the_hob_bit_shows_the_upper_registers),
        IDE_TEST(smart_needs_its_key),
        IDE_TEST(a_transfer_goes_on_after_load),
        IDE_TEST(identify_answers_after_a_load_before_its_deadline),
        IDE_TEST(a_write_begins_with_an_empty_buffer),
        IDE_TEST(hostile_saved_bytes_do_no_harm),
        IDE_TEST(random_accesses_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
