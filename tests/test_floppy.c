/* The 82077AA floppy controller with the real DMA controller. */
#include "dev/floppy.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 0x4000 };

struct pc {
    struct devtest t;
    struct dma *dma;
    struct floppy *fdc;
    struct block *disk;
};

static bool pattern_read(void *context, uint64_t offset, void *out,
                         size_t bytes, struct error *err)
{
    (void)context;
    (void)err;
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)out)[i] = (uint8_t)((offset + i) / 512 + i % 512);
    return true;
}

static void pattern_close(void *context)
{
    (void)context;
}

static struct block *medium(uint64_t sectors, bool read_only)
{
    struct block_base base = {
        .bytes = sectors * 512, .read = pattern_read, .close = pattern_close};
    return block_new("floppy", &base, read_only, NULL);
}

static void out(struct pc *pc, uint16_t port, unsigned value)
{
    devtest_out8(&pc->t, port, (uint8_t)value);
}

static uint8_t in(struct pc *pc, uint16_t port)
{
    return devtest_in8(&pc->t, port);
}

static void wait_irq(struct pc *pc)
{
    for (unsigned n = 0; n < 10000 && !pc->t.line[6]; n++)
        devtest_run_ns(&pc->t, 50000);
    assert_true(pc->t.line[6]);
}

static void send(struct pc *pc, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(in(pc, 0x3F4) & 0xC0, 0x80);
        out(pc, 0x3F5, bytes[i]);
    }
}
#define SEND(pc, ...)                                                          \
    send(pc, (const uint8_t[]){__VA_ARGS__},                                   \
         sizeof((const uint8_t[]){__VA_ARGS__}))

static void results(struct pc *pc, uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(in(pc, 0x3F4) & 0xC0, 0xC0);
        bytes[i] = in(pc, 0x3F5);
    }
    assert_int_equal(in(pc, 0x3F4) & 0xD0, 0x80);
}

static void start(struct pc *pc)
{
    uint8_t r[2];
    out(pc, 0xD6, 0xC0); /* the cascade channel, as a BIOS opens it */
    out(pc, 0xD4, 0x00);
    out(pc, 0x3F2, 0x00);
    out(pc, 0x3F2, 0x1C);
    wait_irq(pc);
    for (unsigned i = 0; i < 4; i++) {
        SEND(pc, 0x08);
        results(pc, r, 2);
        assert_int_equal(r[0], 0xC0 | i);
    }
    out(pc, 0x3F7, 0);
    SEND(pc, 0x03, 0xAF, 0x02);
}

static void dma_program(struct pc *pc, unsigned mode, unsigned bytes)
{
    out(pc, 0x0A, 0x06);
    out(pc, 0x0C, 0);
    out(pc, 0x0B, mode);
    out(pc, 0x04, BUFFER & 0xFF);
    out(pc, 0x04, BUFFER >> 8);
    out(pc, 0x05, (bytes - 1) & 0xFF);
    out(pc, 0x05, (bytes - 1) >> 8);
    out(pc, 0x81, 0);
    out(pc, 0x0A, 0x02);
}

static void seek(struct pc *pc, uint8_t track)
{
    uint8_t r[2];
    SEND(pc, 0x0F, 0, track);
    wait_irq(pc);
    SEND(pc, 0x08);
    results(pc, r, 2);
    assert_int_equal(r[0], 0x20);
    assert_int_equal(r[1], track);
}

static int set_up(void **state)
{
    struct pc *pc = calloc(1, sizeof *pc);
    devtest_init(&pc->t);
    pc->dma = dma_new(pc->t.bus);
    pc->fdc = floppy_new(pc->t.bus, pc->dma);
    pc->disk = medium(2880, false);
    floppy_set_media(pc->fdc, 0, pc->disk);
    *state = pc;
    return 0;
}

static int tear_down(void **state)
{
    struct pc *pc = *state;
    floppy_free(pc->fdc);
    dma_free(pc->dma);
    block_free(pc->disk);
    devtest_fini(&pc->t);
    free(pc);
    return 0;
}

static void reset_owes_four_sense_interrupts(void **state)
{
    struct pc *pc = *state;
    start(pc);
    uint8_t r;
    SEND(pc, 0x08);
    results(pc, &r, 1);
    assert_int_equal(r, 0x80);
}

static void read_by_dma_crosses_heads_with_mt(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7], byte;
    start(pc);
    seek(pc, 3);
    dma_program(pc, 0x46, 4 * 512);
    SEND(pc, 0xE6, 0x00, 3, 0, 17, 2, 18, 27, 0xFF);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x04); /* normal end, head 1 */
    assert_int_equal(r[1] | r[2], 0);
    assert_int_equal(r[3], 3);
    assert_int_equal(r[4], 1);
    assert_int_equal(r[5], 3);
    phys_read(pc->t.phys, BUFFER, &byte, 1);
    assert_int_equal(byte, (uint8_t)(3 * 36 + 16));
    phys_read(pc->t.phys, BUFFER + 3 * 512 + 1, &byte, 1);
    assert_int_equal(byte, (uint8_t)(3 * 36 + 19 + 1));
    assert_false(pc->t.line[6]);
}

static void write_by_dma_reaches_the_medium(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7], data[512];
    memset(data, 0x3C, sizeof data);
    start(pc);
    phys_write(pc->t.phys, BUFFER, data, sizeof data);
    dma_program(pc, 0x4A, 512);
    SEND(pc, 0xC5, 0x04, 0, 1, 5, 2, 18, 27, 0xFF);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x04);
    memset(data, 0, sizeof data);
    block_read(pc->disk, 18 + 4, 1, data);
    assert_int_equal(data[511], 0x3C);
}

static void non_dma_reads_end_at_eot(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7];
    start(pc);
    SEND(pc, 0x03, 0xAF, 0x03);
    SEND(pc, 0x46, 0x00, 0, 0, 1, 2, 2, 27, 0xFF);
    for (unsigned s = 0; s < 2; s++) {
        wait_irq(pc);
        for (unsigned k = 0; k < 512; k++) {
            assert_int_equal(in(pc, 0x3F4), 0xF0);
            assert_int_equal(in(pc, 0x3F5), (uint8_t)(s + k));
        }
    }
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x40);
    assert_int_equal(r[1], 0x80);
}

static void absent_sectors_and_wrong_rates_are_errors(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7];
    start(pc);
    dma_program(pc, 0x46, 512);
    SEND(pc, 0x46, 0x00, 0, 0, 19, 2, 19, 27, 0xFF);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x40);
    assert_int_equal(r[1], 0x04);
    SEND(pc, 0x46, 0x00, 5, 0, 1, 2, 18, 27, 0xFF); /* head is on track 0 */
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[2], 0x10);
    out(pc, 0x3F7, 2); /* 250 kbit/s cannot read 1.44 MB */
    SEND(pc, 0x4A, 0x00);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[1], 0x01);
    floppy_set_media(pc->fdc, 0, NULL);
    SEND(pc, 0x4A, 0x00);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x40);
}

static void a_masked_dma_channel_is_an_overrun(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7];
    start(pc);
    out(pc, 0x0A, 0x06);
    SEND(pc, 0x46, 0x00, 0, 0, 1, 2, 18, 27, 0xFF);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[1], 0x10);
}

static void write_protect_shows(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7];
    struct block *disk = medium(2880, true);
    floppy_set_media(pc->fdc, 0, disk);
    start(pc);
    SEND(pc, 0x04, 0x00);
    results(pc, r, 1);
    assert_int_equal(r[0], 0x78);
    dma_program(pc, 0x4A, 512);
    SEND(pc, 0xC5, 0x00, 0, 0, 1, 2, 18, 27, 0xFF);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[1], 0x02);
    floppy_set_media(pc->fdc, 0, NULL);
    block_free(disk);
}

static void format_fills_a_track(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7], data[512];
    start(pc);
    for (unsigned s = 0; s < 18; s++) {
        uint8_t id[4] = {0, 1, (uint8_t)(s + 1), 2};
        phys_write(pc->t.phys, BUFFER + 4 * s, id, 4);
    }
    dma_program(pc, 0x4A, 18 * 4);
    SEND(pc, 0x4D, 0x04, 2, 18, 0x54, 0xF6);
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[0], 0x04);
    block_read(pc->disk, 35, 1, data);
    assert_int_equal(data[17], 0xF6);
    block_read(pc->disk, 36, 1, data);
    assert_int_equal(data[17], 36 + 17);
}

static void the_change_line_clears_with_a_step(void **state)
{
    struct pc *pc = *state;
    start(pc);
    assert_int_equal(in(pc, 0x3F7), 0x80);
    SEND(pc, 0x07, 0x00);
    wait_irq(pc);
    SEND(pc, 0x08);
    uint8_t r[2];
    results(pc, r, 2);
    assert_int_equal(in(pc, 0x3F7), 0x80); /* no step: already on track 0 */
    seek(pc, 1);
    assert_int_equal(in(pc, 0x3F7), 0x00);
    floppy_set_media(pc->fdc, 0, NULL);
    assert_int_equal(in(pc, 0x3F7), 0x80);
}

static void version_lock_and_unknown_commands_answer(void **state)
{
    struct pc *pc = *state;
    uint8_t r[10];
    start(pc);
    SEND(pc, 0x10);
    results(pc, r, 1);
    assert_int_equal(r[0], 0x90);
    SEND(pc, 0x94);
    results(pc, r, 1);
    assert_int_equal(r[0], 0x10);
    SEND(pc, 0x18);
    results(pc, r, 1);
    assert_int_equal(r[0], 0x80);
    SEND(pc, 0x13, 0, 0x57, 0);
    SEND(pc, 0x0E);
    results(pc, r, 10);
    assert_int_equal(r[5], 0x02);
    assert_int_equal(r[7], 0x80);
    assert_int_equal(r[8], 0x57);
}

static void formats_follow_the_image_size(void **state)
{
    (void)state;
    assert_int_equal(floppy_cmos_type(720), 1);
    assert_int_equal(floppy_cmos_type(2400), 2);
    assert_int_equal(floppy_cmos_type(1440), 3);
    assert_int_equal(floppy_cmos_type(2880), 4);
    assert_int_equal(floppy_cmos_type(5760), 5);
    assert_int_equal(floppy_cmos_type(1), 4); /* a boot sector alone */
}

static void a_transfer_goes_on_after_load(void **state)
{
    struct pc *pc = *state;
    uint8_t r[7];
    start(pc);
    seek(pc, 3);
    SEND(pc, 0x46, 0x00, 3, 0); /* half a command */
    assert_true(devtest_copy(&floppy_ops, pc->fdc, pc->fdc));
    dma_program(pc, 0x46, 512);
    SEND(pc, 2, 2, 18, 27, 0xFF);
    assert_true(devtest_copy(&floppy_ops, pc->fdc, pc->fdc));
    wait_irq(pc);
    results(pc, r, 7);
    assert_int_equal(r[5], 3);
    devtest_hostile_loads(&floppy_ops, pc->fdc, pc->fdc);
}

static void random_accesses_do_no_harm(void **state)
{
    struct pc *pc = *state;
    uint32_t x = 99;
    for (unsigned n = 0; n < 60000; n++) {
        x = x * 1664525 + 1013904223;
        uint16_t port = (uint16_t)(0x3F0 + (x >> 24) % 8);
        if (x >> 20 & 1)
            out(pc, x >> 21 & 1 ? 0x3F5 : port, x >> 8 & 0xFF);
        else
            (void)in(pc, port);
        if ((x >> 12 & 7) == 0)
            devtest_run_ns(&pc->t, 200000);
    }
}

#define FDC_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FDC_TEST(reset_owes_four_sense_interrupts),
        FDC_TEST(read_by_dma_crosses_heads_with_mt),
        FDC_TEST(write_by_dma_reaches_the_medium),
        FDC_TEST(non_dma_reads_end_at_eot),
        FDC_TEST(absent_sectors_and_wrong_rates_are_errors),
        FDC_TEST(a_masked_dma_channel_is_an_overrun),
        FDC_TEST(write_protect_shows),
        FDC_TEST(format_fills_a_track),
        FDC_TEST(the_change_line_clears_with_a_step),
        FDC_TEST(version_lock_and_unknown_commands_answer),
        FDC_TEST(formats_follow_the_image_size),
        FDC_TEST(a_transfer_goes_on_after_load),
        FDC_TEST(random_accesses_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
