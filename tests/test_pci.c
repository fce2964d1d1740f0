/* PCI bus 0, the host bridge and the ISA bridge. */
#include "dev/i440fx.h"
#include "dev/pci.h"
#include "dev/piix3.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { RAM_BYTES = 4 << 20, BIOS_BYTES = 256 << 10 };

struct card {
    struct pci_function pci;
    uint64_t last_base;
};

struct pc {
    struct devtest t;
    struct pci_bus *pci;
    struct i440fx *host;
    struct piix3 *isa;
    struct card card[2];
    uint32_t ram, bios;
};

static uint32_t io_value(void *chip, uint16_t offset, unsigned bytes)
{
    (void)bytes;
    return chip ? 0x50u + offset : 0;
}

static void io_ignore(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)value;
    (void)bytes;
}

static const struct io_ops card_io = {
    .read = io_value, .write = io_ignore, .max_bytes = 1};

static uint64_t mmio_value(void *chip, uint64_t offset, unsigned bytes)
{
    (void)chip;
    (void)bytes;
    return 0x1100 + offset;
}

static void mmio_ignore(void *chip, uint64_t offset, uint64_t value,
                        unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)value;
    (void)bytes;
}

static const struct mmio_ops card_mmio = {.read = mmio_value,
                                          .write = mmio_ignore};

static void add_card(struct pc *pc, unsigned n)
{
    struct pci_function *f = &pc->card[n].pci;
    f->device = (uint8_t)(3 + n);
    f->chip = &pc->card[n];
    pci_init_header(f, 0x1234, 0x5678, 0x020000, 7, 1);
    f->bar[0] = (struct pci_bar){
        .kind = PCI_BAR_MMIO, .bytes = 0x20000, .mmio = &card_mmio};
    f->bar[1] =
        (struct pci_bar){.kind = PCI_BAR_IO, .bytes = 64, .io = &card_io};
    f->rom = (struct pci_bar){
        .kind = PCI_BAR_MEMORY, .bytes = 0x10000, .first_frame = pc->bios};
    pci_add_function(pc->pci, f);
}

static void fill_rom(struct pc *pc)
{
    for (uint32_t i = 0; i < BIOS_BYTES / PAGE_BYTES; i++) {
        uint8_t page[PAGE_BYTES];
        memset(page, (int)(0x80 + i), sizeof page);
        phys_frame_write(pc->t.phys, pc->bios + i, 0, page, sizeof page);
    }
}

static int set_up(void **state)
{
    struct pc *pc = calloc(1, sizeof *pc);
    devtest_init(&pc->t);
    pc->ram = phys_add_memory(pc->t.phys, "ram", RAM_BYTES, false);
    pc->bios = phys_add_memory(pc->t.phys, "bios", BIOS_BYTES, true);
    fill_rom(pc);
    struct i440fx_memory memory = {.ram_frame = pc->ram,
                                   .low_bytes = RAM_BYTES,
                                   .bios_frame = pc->bios,
                                   .bios_bytes = BIOS_BYTES};
    pc->pci = pci_bus_new(pc->t.bus);
    pc->host = i440fx_new(pc->t.bus, pc->pci, &memory);
    pc->isa = piix3_new(pc->t.bus, pc->pci);
    add_card(pc, 0);
    add_card(pc, 1);
    *state = pc;
    return 0;
}

static int tear_down(void **state)
{
    struct pc *pc = *state;
    piix3_free(pc->isa);
    i440fx_free(pc->host);
    pci_bus_free(pc->pci);
    devtest_fini(&pc->t);
    free(pc);
    return 0;
}

static void address(struct pc *pc, unsigned slot, unsigned reg)
{
    bus_io_write(pc->t.bus, 0xCF8, 0x80000000u | slot << 11 | (reg & 0xFC), 4);
}

static uint32_t get(struct pc *pc, unsigned slot, unsigned reg, unsigned bytes)
{
    address(pc, slot, reg);
    return bus_io_read(pc->t.bus, (uint16_t)(0xCFC + (reg & 3)), bytes);
}

static void set(struct pc *pc, unsigned slot, unsigned reg, uint32_t value,
                unsigned bytes)
{
    address(pc, slot, reg);
    bus_io_write(pc->t.bus, (uint16_t)(0xCFC + (reg & 3)), value, bytes);
}

static uint8_t peek(struct pc *pc, uint64_t paddr)
{
    uint8_t v;
    phys_read(pc->t.phys, paddr, &v, 1);
    return v;
}

static void poke(struct pc *pc, uint64_t paddr, uint8_t v)
{
    phys_write(pc->t.phys, paddr, &v, 1);
}

static void config_is_read_in_bytes_words_and_dwords(void **state)
{
    struct pc *pc = *state;
    assert_int_equal(get(pc, 0, 0, 4), 0x12378086);
    assert_int_equal(get(pc, 0, 2, 2), 0x1237);
    assert_int_equal(get(pc, 0, 8, 1), 0x02);
    assert_int_equal(get(pc, 1, 14, 1), 0x80);
    assert_int_equal(get(pc, 9, 0, 4), 0xFFFFFFFF);
    bus_io_write(pc->t.bus, 0xCF8, 0, 4);
    assert_int_equal(bus_io_read(pc->t.bus, 0xCFC, 4), 0xFFFFFFFF);
}

static void the_latch_takes_dwords_only(void **state)
{
    struct pc *pc = *state;
    address(pc, 3, 0);
    devtest_out8(&pc->t, 0xCFB, 1); /* probe for mechanism 2 */
    assert_int_equal(bus_io_read(pc->t.bus, 0xCF8, 4), 0x80001800);
}

static void bars_show_their_size_and_keep_their_kind(void **state)
{
    struct pc *pc = *state;
    set(pc, 3, 0x10, 0xFFFFFFFF, 4);
    set(pc, 3, 0x14, 0xFFFFFFFF, 4);
    set(pc, 3, 0x18, 0xFFFFFFFF, 4);
    set(pc, 3, 0x30, 0xFFFFFFFE, 4);
    assert_int_equal(get(pc, 3, 0x10, 4), 0xFFFE0000);
    assert_int_equal(get(pc, 3, 0x14, 4), 0xFFFFFFC1);
    assert_int_equal(get(pc, 3, 0x18, 4), 0);
    assert_int_equal(get(pc, 3, 0x30, 4), 0xFFFF0000);
}

static void bars_map_while_the_command_register_says_so(void **state)
{
    struct pc *pc = *state;
    set(pc, 3, 0x10, 0xE0000000, 4);
    set(pc, 3, 0x14, 0xC040, 4);
    assert_int_equal(peek(pc, 0xE0000004), 0xFF);
    assert_int_equal(devtest_in8(&pc->t, 0xC041), 0xFF);
    set(pc, 3, 4, 3, 2);
    assert_int_equal(peek(pc, 0xE0000004), 0x04);
    assert_int_equal(devtest_in8(&pc->t, 0xC041), 0x51);
    set(pc, 3, 0x10, 0xE0100000, 4);
    assert_int_equal(peek(pc, 0xE0000004), 0xFF);
    assert_int_equal(peek(pc, 0xE0100004), 0x04);
    set(pc, 3, 4, 0, 2);
    assert_int_equal(peek(pc, 0xE0100004), 0xFF);
    assert_int_equal(devtest_in8(&pc->t, 0xC041), 0xFF);
}

static void the_expansion_rom_needs_its_enable_bit(void **state)
{
    struct pc *pc = *state;
    set(pc, 3, 4, 2, 2);
    set(pc, 3, 0x30, 0xE0200000, 4);
    assert_int_equal(peek(pc, 0xE0200000), 0xFF);
    set(pc, 3, 0x30, 0xE0200001, 4);
    assert_int_equal(peek(pc, 0xE0200000), 0x80);
}

static void a_bar_never_covers_ram_or_isa_ports(void **state)
{
    struct pc *pc = *state;
    poke(pc, 0x200000, 0x77);
    set(pc, 3, 4, 3, 2);
    set(pc, 3, 0x10, 0x200000, 4);
    set(pc, 3, 0x14, 0xCC0, 4);
    assert_int_equal(peek(pc, 0x200000), 0x77);
    assert_int_equal(get(pc, 0, 0, 4), 0x12378086);
}

static void overlapping_bars_do_not_depend_on_history(void **state)
{
    struct pc *pc = *state;
    set(pc, 3, 4, 3, 2);
    set(pc, 4, 4, 3, 2);
    set(pc, 3, 0x10, 0xE0000000, 4);
    set(pc, 4, 0x10, 0xE0010000, 4); /* covers the upper half of card 0 */
    assert_int_equal(peek(pc, 0xE0010004), 0x04);
    set(pc, 4, 0x10, 0xE0100000, 4);
    uint16_t v;
    phys_read(pc->t.phys, 0xE0010004, &v, 2);
    assert_int_equal(v, 0x1104); /* card 0 again: offset 10004h, 16 bits */
}

static void intx_is_swizzled_and_routed(void **state)
{
    struct pc *pc = *state;
    /* Slot 3 INTA is PIRQC, slot 4 INTA is PIRQD. */
    set(pc, 1, 0x60, 0x0B0A8080, 4);
    set(pc, 1, 0x62, 10, 1);
    set(pc, 1, 0x63, 11, 1);
    pci_irq(&pc->card[0].pci, true);
    assert_true(pc->t.line[10]);
    assert_false(pc->t.line[11]);
    set(pc, 1, 0x62, 5, 1); /* routed away while asserted */
    assert_false(pc->t.line[10]);
    assert_true(pc->t.line[5]);
    set(pc, 1, 0x62, 0x80, 1);
    assert_false(pc->t.line[5]);
    pci_irq(&pc->card[1].pci, true);
    assert_true(pc->t.line[11]);
    pci_irq(&pc->card[1].pci, false);
    assert_false(pc->t.line[11]);
}

static void cf9_resets_on_the_rising_edge_of_bit_2(void **state)
{
    struct pc *pc = *state;
    devtest_out8(&pc->t, 0xCF9, 0x02);
    assert_int_equal(pc->t.requests[REQUEST_RESET], 0);
    devtest_out8(&pc->t, 0xCF9, 0x06);
    devtest_out8(&pc->t, 0xCF9, 0x06);
    assert_int_equal(pc->t.requests[REQUEST_RESET], 1);
    assert_int_equal(devtest_in8(&pc->t, 0xCF9), 0x06);
}

static void the_bios_shows_at_both_ends(void **state)
{
    struct pc *pc = *state;
    assert_int_equal(peek(pc, 0xFFFC0000), 0x80);
    assert_int_equal(peek(pc, 0xFFFFFFF0), 0xBF);
    assert_int_equal(peek(pc, 0xE0000), 0xA0);
    assert_int_equal(peek(pc, 0xFFFF0), 0xBF);
    poke(pc, 0xF0000, 0);
    assert_int_equal(peek(pc, 0xF0000), 0xB0);
    assert_int_equal(peek(pc, 0xC0000), 0xFF);
}

static void pam_gives_ram_for_reads_and_writes_apart(void **state)
{
    struct pc *pc = *state;
    set(pc, 0, 0x59, 0x20, 1); /* F0000: write RAM, read ROM (shadowing) */
    poke(pc, 0xF0000, 0x11);
    assert_int_equal(peek(pc, 0xF0000), 0xB0);
    set(pc, 0, 0x59, 0x10, 1); /* read RAM, write-protected */
    assert_int_equal(peek(pc, 0xF0000), 0x11);
    poke(pc, 0xF0000, 0x22);
    assert_int_equal(peek(pc, 0xF0000), 0x11);
    set(pc, 0, 0x5A, 0x30, 1); /* C4000 alone */
    poke(pc, 0xC4000, 0x33);
    poke(pc, 0xC0000, 0x33);
    assert_int_equal(peek(pc, 0xC4000), 0x33);
    assert_int_equal(peek(pc, 0xC0000), 0xFF);
}

static void open_smram_hides_the_vga_window(void **state)
{
    struct pc *pc = *state;
    set(pc, 0, 0x72, 0x4A, 1);
    assert_true(i440fx_smram_open(pc->host));
    poke(pc, 0xA0000, 0x99);
    assert_int_equal(peek(pc, 0xA0000), 0x99);
    set(pc, 0, 0x72, 0x0A, 1);
    assert_int_equal(peek(pc, 0xA0000), 0xFF);
    set(pc, 0, 0x72, 0x5A, 1); /* D_LCK wins over D_OPEN */
    assert_int_equal(get(pc, 0, 0x72, 1), 0x1A);
    set(pc, 0, 0x72, 0x4A, 1);
    assert_false(i440fx_smram_open(pc->host));
}

static void a_loaded_bridge_maps_what_the_saved_one_did(void **state)
{
    struct pc *pc = *state;
    struct writer w;
    struct reader r;
    struct error err;
    set(pc, 0, 0x59, 0x30, 1);
    poke(pc, 0xF0000, 0x42);
    writer_init(&w);
    i440fx_ops.save(pc->host, &w);
    i440fx_ops.reset(pc->host);
    assert_int_equal(peek(pc, 0xF0000), 0xB0);
    reader_init(&r, w.data, w.used);
    assert_true(i440fx_ops.load(pc->host, &r, &err));
    assert_int_equal(peek(pc, 0xF0000), 0x42);
    writer_fini(&w);
}

static void hostile_saved_bytes_do_no_harm(void **state)
{
    struct pc *pc = *state;
    devtest_hostile_loads(&pci_bus_ops, pc->pci, pc->pci);
    devtest_hostile_loads(&i440fx_ops, pc->host, pc->host);
    devtest_hostile_loads(&piix3_ops, pc->isa, pc->isa);
}

#define PC_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PC_TEST(config_is_read_in_bytes_words_and_dwords),
        PC_TEST(the_latch_takes_dwords_only),
        PC_TEST(bars_show_their_size_and_keep_their_kind),
        PC_TEST(bars_map_while_the_command_register_says_so),
        PC_TEST(the_expansion_rom_needs_its_enable_bit),
        PC_TEST(a_bar_never_covers_ram_or_isa_ports),
        PC_TEST(overlapping_bars_do_not_depend_on_history),
        PC_TEST(intx_is_swizzled_and_routed),
        PC_TEST(cf9_resets_on_the_rising_edge_of_bit_2),
        PC_TEST(the_bios_shows_at_both_ends),
        PC_TEST(pam_gives_ram_for_reads_and_writes_apart),
        PC_TEST(open_smram_hides_the_vga_window),
        PC_TEST(a_loaded_bridge_maps_what_the_saved_one_did),
        PC_TEST(hostile_saved_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
