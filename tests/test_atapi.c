/* The ATAPI CD-ROM drive. */
#include "base/bytes.h"
#include "tests/lib_idetest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static uint8_t reply[65536];

static int packet(struct idetest *i, const uint8_t *p)
{
    memset(reply, 0xEE, sizeof reply);
    return idetest_packet_in(i, p, 0xF000, reply, sizeof reply);
}
#define PACKET(i, ...) packet(i, (const uint8_t[12]){__VA_ARGS__})

/* Key and code of REQUEST SENSE. */
static unsigned sense(struct idetest *i)
{
    assert_int_equal(PACKET(i, 0x03, 0, 0, 0, 18), 18);
    return (unsigned)reply[2] << 8 | reply[12];
}

static void expect_frame(const uint8_t *data, uint32_t frame)
{
    for (unsigned k = 0; k < 2048; k++)
        assert_int_equal(data[k], idetest_byte(frame * 4 + k / 512, k % 512));
}

static void the_signature_is_eb14(void **state)
{
    struct idetest *i = *state;
    idetest_out(i, IDE1 + 6, 0xA0, 1);
    idetest_out(i, IDE1 + 7, 0xEC, 1);
    assert_int_equal(idetest_wait(i, IDE1) & 1, 1);
    assert_int_equal(idetest_in(i, IDE1 + 4, 1), 0x14);
    assert_int_equal(idetest_in(i, IDE1 + 5, 1), 0xEB);
    idetest_out(i, IDE1 + 7, 0x08, 1);
    assert_int_equal(idetest_wait(i, IDE1), 0);
    assert_int_equal(idetest_in(i, IDE1 + 4, 1), 0x14);
}

static void identify_packet_device_is_a_cdrom(void **state)
{
    struct idetest *i = *state;
    uint8_t data[512];
    idetest_out(i, IDE1 + 6, 0xA0, 1);
    idetest_out(i, IDE1 + 7, 0xA1, 1);
    assert_int_equal(idetest_wait(i, IDE1), 0x58);
    assert_true(i->t.line[15]);
    idetest_read_words(i, IDE1, data, 512);
    assert_int_equal(load_le16(data), 0x85C0);
    assert_int_equal(idetest_in(i, IDE1 + 7, 1), 0x50);
}

static void inquiry_stops_at_the_allocation_length(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x12, 0, 0, 0, 36), 36);
    assert_int_equal(reply[0], 0x05);
    assert_memory_equal(reply + 16, "CD-ROM  ", 8);
    assert_int_equal(PACKET(i, 0x12, 0, 0, 0, 5), 5);
    assert_int_equal(reply[5], 0xEE);
}

static void read_10_gives_frames_in_chunks_of_the_limit(void **state)
{
    struct idetest *i = *state;
    const uint8_t read[12] = {0x28, 0, 0, 0, 0, 16, 0, 0, 20};
    assert_int_equal(idetest_packet_in(i, read, 3000, reply, sizeof reply),
                     20 * 2048);
    for (unsigned k = 0; k < 20; k++)
        expect_frame(reply + 2048 * k, 16 + k);
    /* Larger than the drive's buffer of 32 frames. */
    assert_int_equal(PACKET(i, 0xA8, 0, 0, 0, 0, 100, 0, 0, 0, 31), 31 * 2048);
    expect_frame(reply + 30 * 2048, 130);
}

static void dma_reads_past_the_buffer_size(void **state)
{
    struct idetest *i = *state;
    const uint8_t read[12] = {0xA8, 0, 0, 0, 0, 3, 0, 0, 0, 40};
    static uint8_t data[40 * 2048];
    const uint32_t prd[4] = {0x100000, 0, 0x110000, 0x80000000 | 0x4000};
    idetest_packet(i, read, 0, true);
    phys_write(i->t.phys, 0x8000, prd, sizeof prd);
    idetest_out(i, IDETEST_BM + 12, 0x8000, 4);
    idetest_out(i, IDETEST_BM + 8, 9, 1);
    assert_int_equal(idetest_wait(i, IDE1), 0x50);
    assert_int_equal(idetest_in(i, IDETEST_BM + 10, 1) & 7, 4);
    assert_int_equal(idetest_in(i, IDE1 + 2, 1) & 3, 3);
    phys_read(i->t.phys, 0x100000, data, sizeof data);
    for (unsigned k = 0; k < 40; k++)
        expect_frame(data + 2048 * k, 3 + k);
}

static void raw_frames_have_sync_and_address(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0xBE, 0, 0, 0, 0, 5, 0, 0, 1, 0xF8), 2352);
    assert_int_equal(reply[0], 0);
    assert_int_equal(reply[1], 0xFF);
    assert_int_equal(reply[13], 0x02); /* 00:02:05 */
    assert_int_equal(reply[14], 0x05);
    assert_int_equal(reply[15], 1);
    expect_frame(reply + 16, 5);
}

static void capacity_is_the_last_frame(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x25), 8);
    assert_int_equal(load_be32(reply), IDETEST_FRAMES - 1);
    assert_int_equal(load_be32(reply + 4), 2048);
}

static void the_toc_has_one_data_track(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x43, 0, 0, 0, 0, 0, 0, 0, 100), 20);
    assert_int_equal(load_be16(reply), 18);
    assert_int_equal(reply[6], 1);
    assert_int_equal(reply[14], 0xAA);
    assert_int_equal(load_be32(reply + 16), IDETEST_FRAMES);
    assert_int_equal(PACKET(i, 0x43, 2, 0, 0, 0, 0, 0xAA, 0, 100), 12);
    assert_int_equal(reply[9] * 4500 + reply[10] * 75 + reply[11],
                     IDETEST_FRAMES + 150);
    assert_int_equal(PACKET(i, 0x43, 0, 1, 0, 0, 0, 0, 0, 100), 12);
    assert_int_equal(PACKET(i, 0x43, 2, 2, 0, 0, 0, 0, 0, 100), 48);
}

static void errors_give_check_condition_and_sense(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0xD9), -1);
    assert_int_equal(idetest_in(i, IDE1 + 1, 1), 0x54);
    assert_int_equal(sense(i), 0x520);
    assert_int_equal(sense(i), 0);
    assert_int_equal(PACKET(i, 0x28, 0, 0, 0, 2, 0x58, 0, 0, 1),
                     -1); /* frame 600 */
    assert_int_equal(sense(i), 0x521);
}

static void a_new_medium_is_announced_in_two_steps(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x00), 0);
    devtest_run_ns(&i->t, 1000);
    ide_set_cdrom(i->ide, NULL);
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_int_equal(sense(i), 0x23A);
    ide_set_cdrom(i->ide, i->cd);
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_int_equal(sense(i), 0x23A);
    assert_int_equal(PACKET(i, 0x12, 0, 0, 0, 36), 36); /* runs anyway */
    assert_int_equal(PACKET(i, 0x25), -1);
    assert_int_equal(sense(i), 0x628);
    assert_int_equal(PACKET(i, 0x25), 8);
}

static void media_events_are_polled_once(void **state)
{
    struct idetest *i = *state;
    devtest_run_ns(&i->t, 1000);
    ide_set_cdrom(i->ide, i->cd);
    assert_int_equal(PACKET(i, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8), 8);
    assert_int_equal(reply[4], 2);
    assert_int_equal(reply[5], 2);
    assert_int_equal(PACKET(i, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8), 8);
    assert_int_equal(reply[4], 0);
    assert_int_equal(PACKET(i, 0x4A, 1, 0, 0, 0x40, 0, 0, 0, 8), 4);
    assert_int_equal(reply[2], 0x80);
}

static void a_locked_tray_does_not_open(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x1E, 0, 0, 0, 1), 0);
    assert_int_equal(PACKET(i, 0x1B, 0, 0, 0, 2), -1);
    assert_int_equal(sense(i), 0x553);
    assert_int_equal(PACKET(i, 0x1E, 0, 0, 0, 0), 0);
    assert_int_equal(PACKET(i, 0x1B, 0, 0, 0, 2), 0);
    assert_true(ide_cdrom_tray_open(i->ide));
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_int_equal(sense(i), 0x23A);
    assert_int_equal(PACKET(i, 0x1B, 0, 0, 0, 3), 0);
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_int_equal(sense(i), 0x628);
    assert_int_equal(PACKET(i, 0x00), 0);
}

static void the_profile_follows_the_medium(void **state)
{
    struct idetest *i = *state;
    assert_true(PACKET(i, 0x46, 0, 0, 0, 0, 0, 0, 4, 0) > 40);
    assert_int_equal(load_be16(reply + 6), 0x0008);
    assert_int_equal(load_be32(reply), (unsigned)reply[3]);
    assert_int_equal(PACKET(i, 0xAD, 0, 0, 0, 0, 0, 0, 0, 8, 4), -1);
    struct block *dvd = idetest_medium(500000 * 4, true);
    ide_set_cdrom(i->ide, dvd);
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_int_equal(PACKET(i, 0x00), -1);
    assert_true(PACKET(i, 0x46, 0, 0, 0, 0, 0, 0, 4, 0) > 40);
    assert_int_equal(load_be16(reply + 6), 0x0010);
    assert_int_equal(PACKET(i, 0xAD, 0, 0, 0, 0, 0, 0, 0, 8, 4), 2052);
    assert_int_equal(load_be32(reply + 12), 0x30000 + 500000 - 1);
    ide_set_cdrom(i->ide, NULL);
    block_free(dvd);
}

static void mode_sense_has_the_capabilities_page(void **state)
{
    struct idetest *i = *state;
    assert_int_equal(PACKET(i, 0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 128), 30);
    assert_int_equal(reply[8], 0x2A);
    assert_int_equal(load_be16(reply), 28);
    assert_int_equal(PACKET(i, 0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 128), 54);
    assert_int_equal(PACKET(i, 0x1A, 0, 0x01, 0, 128), 12);
    assert_int_equal(PACKET(i, 0x5A, 0, 0x08, 0, 0, 0, 0, 0, 128), -1);
}

static void every_opcode_ends(void **state)
{
    struct idetest *i = *state;
    for (unsigned op = 0; op < 256; op++) {
        uint8_t p[12] = {(uint8_t)op, 0, 0, 0, 1, 0, 0, 0, 0, 1};
        (void)idetest_packet_in(i, p, 0xFFFE, reply, sizeof reply);
        (void)PACKET(i, 0x03, 0, 0, 0, 18);
    }
}

static void a_read_goes_on_after_load(void **state)
{
    struct idetest *i = *state;
    const uint8_t read[12] = {0x28, 0, 0, 0, 0, 9, 0, 0, 2};
    struct writer w;
    struct reader r;
    struct error err;
    uint8_t data[4096];
    writer_init(&w);
    idetest_packet(i, read, 4096, false);
    assert_int_equal(idetest_wait(i, IDE1) & 0x08, 0x08);
    idetest_read_words(i, IDE1, data, 1000);
    ide_ops.save(i->ide, &w);
    idetest_read_words(i, IDE1, data + 1000, 500);
    reader_init(&r, w.data, w.used);
    assert_true(ide_ops.load(i->ide, &r, &err));
    idetest_read_words(i, IDE1, data + 1000, 3096);
    expect_frame(data, 9);
    expect_frame(data + 2048, 10);
    writer_fini(&w);
}

#define CD_TEST(f)                                                             \
    cmocka_unit_test_setup_teardown(f, idetest_set_up, idetest_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CD_TEST(the_signature_is_eb14),
        CD_TEST(identify_packet_device_is_a_cdrom),
        CD_TEST(inquiry_stops_at_the_allocation_length),
        CD_TEST(read_10_gives_frames_in_chunks_of_the_limit),
        CD_TEST(dma_reads_past_the_buffer_size),
        CD_TEST(raw_frames_have_sync_and_address),
        CD_TEST(capacity_is_the_last_frame),
        CD_TEST(the_toc_has_one_data_track),
        CD_TEST(errors_give_check_condition_and_sense),
        CD_TEST(a_new_medium_is_announced_in_two_steps),
        CD_TEST(media_events_are_polled_once),
        CD_TEST(a_locked_tray_does_not_open),
        CD_TEST(the_profile_follows_the_medium),
        CD_TEST(mode_sense_has_the_capabilities_page),
        CD_TEST(every_opcode_ends),
        CD_TEST(a_read_goes_on_after_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
