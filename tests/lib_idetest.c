#include "tests/lib_idetest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint8_t idetest_byte(uint64_t sector, unsigned offset)
{
    return (uint8_t)(sector + offset);
}

static bool pattern_read(void *context, uint64_t offset, void *out,
                         size_t bytes, struct error *err)
{
    uint8_t *to = out;
    (void)context;
    (void)err;
    for (size_t i = 0; i < bytes; i++)
        to[i] = idetest_byte((offset + i) / 512, (offset + i) % 512);
    return true;
}

static void pattern_close(void *context)
{
    (void)context;
}

struct block *idetest_medium(uint64_t sectors, bool read_only)
{
    struct block_base base = {
        .bytes = sectors * 512, .read = pattern_read, .close = pattern_close};
    struct block *b = block_new("pattern", &base, read_only, NULL);
    assert_non_null(b);
    return b;
}

int idetest_set_up(void **state)
{
    struct idetest *i = calloc(1, sizeof *i);
    devtest_init(&i->t);
    uint32_t more = phys_add_memory(i->t.phys, "more", 1 << 20, false);
    phys_map_memory(i->t.phys, 1 << 20, 1 << 20, more, PHYS_READ | PHYS_WRITE);
    i->pci = pci_bus_new(i->t.bus);
    i->ide = ide_new(i->t.bus, i->pci);
    i->disk = idetest_medium(IDETEST_SECTORS, false);
    i->cd = idetest_medium(IDETEST_FRAMES * 4, true);
    ide_attach_disk(i->ide, IDE_PRIMARY_MASTER, i->disk);
    ide_attach_cdrom(i->ide, IDE_SECONDARY_MASTER);
    ide_set_cdrom(i->ide, i->cd);
    idetest_out(i, 0xCF8, 0x80000920, 4);
    idetest_out(i, 0xCFC, IDETEST_BM, 4);
    idetest_out(i, 0xCF8, 0x80000904, 4);
    idetest_out(i, 0xCFC, 5, 2);
    *state = i;
    return 0;
}

int idetest_tear_down(void **state)
{
    struct idetest *i = *state;
    ide_free(i->ide);
    pci_bus_free(i->pci);
    block_free(i->disk);
    block_free(i->cd);
    devtest_fini(&i->t);
    free(i);
    return 0;
}

uint32_t idetest_in(struct idetest *i, unsigned port, unsigned bytes)
{
    return bus_io_read(i->t.bus, (uint16_t)port, bytes);
}

void idetest_out(struct idetest *i, unsigned port, uint32_t value,
                 unsigned bytes)
{
    bus_io_write(i->t.bus, (uint16_t)port, value, bytes);
}

uint8_t idetest_wait(struct idetest *i, unsigned base)
{
    for (unsigned n = 0; n < 100000; n++) {
        uint8_t status = (uint8_t)idetest_in(i, base + 0x206, 1);
        if (!(status & 0x80))
            return status;
        devtest_run_ns(&i->t, 100000);
    }
    fail_msg("the drive stays busy");
    return 0xFF;
}

void idetest_read_words(struct idetest *i, unsigned base, void *to,
                        unsigned bytes)
{
    uint8_t *b = to;
    for (unsigned n = 0; n < bytes; n += 2) {
        uint16_t v = (uint16_t)idetest_in(i, base, 2);
        memcpy(b + n, &v, bytes - n < 2 ? 1 : 2);
    }
}

void idetest_write_words(struct idetest *i, unsigned base, const void *from,
                         unsigned bytes)
{
    const uint8_t *b = from;
    for (unsigned n = 0; n < bytes; n += 2) {
        uint16_t v;
        memcpy(&v, b + n, 2);
        idetest_out(i, base, v, 2);
    }
}

void idetest_packet(struct idetest *i, const uint8_t *packet, unsigned limit,
                    bool dma)
{
    idetest_out(i, IDE1 + 6, 0xA0, 1);
    idetest_out(i, IDE1 + 1, dma, 1);
    idetest_out(i, IDE1 + 4, limit & 0xFF, 1);
    idetest_out(i, IDE1 + 5, limit >> 8, 1);
    idetest_out(i, IDE1 + 7, 0xA0, 1);
    assert_int_equal(idetest_wait(i, IDE1) & 0x08, 0x08);
    assert_int_equal(idetest_in(i, IDE1 + 2, 1) & 3, 1); /* command */
    idetest_write_words(i, IDE1, packet, 12);
}

int idetest_packet_in(struct idetest *i, const uint8_t *packet, unsigned limit,
                      void *to, unsigned room)
{
    unsigned got = 0;
    idetest_packet(i, packet, limit, false);
    for (;;) {
        uint8_t status = idetest_wait(i, IDE1);
        assert_true(i->t.line[15]);
        (void)idetest_in(i, IDE1 + 7, 1);
        assert_false(i->t.line[15]);
        if (!(status & 0x08)) {
            assert_int_equal(idetest_in(i, IDE1 + 2, 1) & 3, 3);
            return status & 1 ? -1 : (int)got;
        }
        assert_int_equal(idetest_in(i, IDE1 + 2, 1) & 3, 2);
        unsigned n = idetest_in(i, IDE1 + 4, 1) | idetest_in(i, IDE1 + 5, 1)
                                                      << 8;
        assert_true(n > 0 && n <= limit && got + n <= room);
        idetest_read_words(i, IDE1, (uint8_t *)to + got, n);
        got += n;
    }
}

void idetest_dma_start(struct idetest *i, unsigned channel, uint32_t address,
                       uint32_t bytes, bool to_memory)
{
    unsigned bm = IDETEST_BM + 8 * channel;
    uint32_t prd[2] = {address, (bytes & 0xFFFF) | 0x80000000};
    phys_write(i->t.phys, 0x8000, prd, sizeof prd);
    idetest_out(i, bm, 0, 1);
    idetest_out(i, bm + 2, 6, 1);
    idetest_out(i, bm + 4, 0x8000, 4);
    idetest_out(i, bm, to_memory ? 9 : 1, 1);
}
