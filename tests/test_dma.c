#include "dev/dma_internal.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct devtest t;
    struct dma *dma;
};

static void out(struct fixture *f, uint16_t port, uint8_t value)
{
    devtest_out8(&f->t, port, value);
}

static uint8_t in(struct fixture *f, uint16_t port)
{
    return devtest_in8(&f->t, port);
}

/* As a BIOS leaves it: cascade channel open. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    devtest_init(&f->t);
    f->dma = dma_new(f->t.bus);
    out(f, 0xd6, 0xc0);
    out(f, 0xd4, 0x00);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dma_free(f->dma);
    devtest_fini(&f->t);
    free(f);
    return 0;
}

/* Channel 2 at `address`, count + 1 bytes. */
static void program(struct fixture *f, uint8_t mode, uint16_t address,
                    uint16_t count)
{
    out(f, 0x0a, 0x06);
    out(f, 0x0c, 0x00);
    out(f, 0x04, (uint8_t)address);
    out(f, 0x04, (uint8_t)(address >> 8));
    out(f, 0x05, (uint8_t)count);
    out(f, 0x05, (uint8_t)(count >> 8));
    out(f, 0x81, 0x00);
    out(f, 0x0b, mode | 2);
    out(f, 0x0a, 0x02);
}

static void writes_memory_up_to_terminal_count(void **state)
{
    struct fixture *f = *state;
    uint8_t sector[512], back[6] = {0};
    memset(sector, 0xab, sizeof sector);
    bool tc;
    program(f, 0x44, 0x1000, 3);
    assert_int_equal(dma_transfer(f->dma, 2, sector, 512, DMA_TO_MEMORY, &tc),
                     4);
    assert_true(tc);
    bus_dma_read(f->t.bus, 0xfff, back, 6);
    assert_memory_equal(back, "\0\xab\xab\xab\xab\0", 6);
    assert_int_equal(in(f, 0x08), 0x04);
    assert_int_equal(in(f, 0x08), 0x00);
    assert_int_equal(in(f, 0x0f), 0x0f); /* channel 2 masked again */
    assert_int_equal(dma_transfer(f->dma, 2, sector, 512, DMA_TO_MEMORY, &tc),
                     0);
    assert_false(tc);
}

static void reads_memory_in_pieces(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4];
    bool tc;
    bus_dma_write(f->t.bus, 0x2000, "abcdefgh", 8);
    program(f, 0x48, 0x2000, 7);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_FROM_MEMORY, &tc), 4);
    assert_false(tc);
    out(f, 0x0c, 0);
    assert_int_equal(in(f, 0x04), 0x04);
    assert_int_equal(in(f, 0x04), 0x20);
    assert_int_equal(in(f, 0x05), 0x03);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_FROM_MEMORY, &tc), 4);
    assert_true(tc);
    assert_memory_equal(buf, "efgh", 4);
}

static void autoinit_starts_over(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[8] = "12345678";
    bool tc;
    program(f, 0x54, 0x100, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dma_transfer(f->dma, 2, buf, 8, DMA_TO_MEMORY, &tc),
                         2);
        assert_true(tc);
    }
}

static void address_can_count_down_and_wraps_in_its_page(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[3] = "xyz", back[2];
    bool tc;
    program(f, 0x64, 0x0001, 2);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 3, DMA_TO_MEMORY, &tc), 3);
    bus_dma_read(f->t.bus, 0, back, 2);
    assert_memory_equal(back, "yx", 2);
    bus_dma_read(f->t.bus, 0xffff, back, 1);
    assert_int_equal(back[0], 'z');
}

static void verify_counts_without_touching_memory(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4] = "abcd", back[4];
    bool tc;
    program(f, 0x40, 0x3000, 3);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_TO_MEMORY, &tc), 4);
    assert_true(tc);
    bus_dma_read(f->t.bus, 0x3000, back, 4);
    assert_memory_equal(back, "\0\0\0\0", 4);
    assert_memory_equal(buf, "abcd", 4);
}

static void wrong_direction_moves_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4];
    bool tc;
    program(f, 0x48, 0x3000, 3);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_TO_MEMORY, &tc), 0);
    assert_int_equal(f->t.logs, 1);
}

static void word_channel_moves_words(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[5] = "abcde", back[5] = {0};
    bool tc;
    out(f, 0xd8, 0);
    out(f, 0xc4, 0x00); /* word address 0800h: byte 1000h */
    out(f, 0xc4, 0x08);
    out(f, 0xc6, 9);
    out(f, 0xc6, 0);
    out(f, 0x8b, 0x01); /* bit 0 does not count */
    out(f, 0xd6, 0x45);
    out(f, 0xd4, 0x01);
    assert_int_equal(dma_transfer(f->dma, 5, buf, 5, DMA_TO_MEMORY, &tc), 4);
    bus_dma_read(f->t.bus, 0x1000, back, 5);
    assert_memory_equal(back, "abcd\0", 5);
}

static void disabled_or_uncascaded_controller_is_idle(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4];
    bool tc;
    program(f, 0x44, 0x3000, 3);
    out(f, 0x08, 0x04);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_TO_MEMORY, &tc), 0);
    out(f, 0x08, 0x00);
    out(f, 0xd4, 0x04);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_TO_MEMORY, &tc), 0);
    out(f, 0xdc, 0x00);
    assert_int_equal(dma_transfer(f->dma, 2, buf, 4, DMA_TO_MEMORY, &tc), 4);
}

static void page_registers_are_plain_memory(void **state)
{
    struct fixture *f = *state;
    for (uint16_t port = 0x81; port < 0x90; port++)
        out(f, port, (uint8_t)(port * 7));
    for (uint16_t port = 0x81; port < 0x90; port++)
        assert_int_equal(in(f, port), (uint8_t)(port * 7));
}

static void master_clear_masks_everything(void **state)
{
    struct fixture *f = *state;
    out(f, 0x0e, 0);
    assert_int_equal(in(f, 0x0f), 0x00);
    out(f, 0x0d, 0);
    assert_int_equal(in(f, 0x0f), 0x0f);
    out(f, 0x0f, 0x05);
    assert_int_equal(in(f, 0x0f), 0x05);
}

static void fields_are_complete(void **state)
{
    (void)state;
    static const struct devtest_range exempt[] = {
        DEVTEST_RANGE(struct dma, bus),
        DEVTEST_RANGE(struct dma, chip), /* own table */
    };
    devtest_fields(dma_chip_fields, DMA_CHIP_FIELDS, sizeof(struct dma_chip),
                   NULL, 0);
    devtest_fields(dma_fields, DMA_FIELDS, sizeof(struct dma), exempt, 2);
}

static void saves_and_survives_hostile_bytes(void **state)
{
    struct fixture *f = *state;
    struct devtest u;
    devtest_init(&u);
    struct dma *other = dma_new(u.bus);
    program(f, 0x44, 0x1234, 99);
    assert_true(devtest_copy(&dma_ops, f->dma, other));
    devtest_hostile_loads(&dma_ops, f->dma, other);
    uint8_t buf[512] = {0};
    bool tc;
    for (unsigned c = 0; c < 8; c++)
        if (c != 4)
            dma_transfer(other, c, buf, sizeof buf, DMA_TO_MEMORY, &tc);
    dma_free(other);
    devtest_fini(&u);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_memory_up_to_terminal_count),
        TEST(reads_memory_in_pieces),
        TEST(autoinit_starts_over),
        TEST(address_can_count_down_and_wraps_in_its_page),
        TEST(verify_counts_without_touching_memory),
        TEST(wrong_direction_moves_nothing),
        TEST(word_channel_moves_words),
        TEST(disabled_or_uncascaded_controller_is_idle),
        TEST(page_registers_are_plain_memory),
        TEST(master_clear_masks_everything),
        TEST(fields_are_complete),
        TEST(saves_and_survives_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
