/* PIIX4 power management. */
#include "dev/piix4_pm.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

enum { BASE = 0x600, SMB = 0x700 };

struct pc {
    struct devtest t;
    struct pci_bus *pci;
    struct piix4_pm *pm;
};

static void set(struct pc *pc, unsigned reg, uint32_t value, unsigned bytes)
{
    bus_io_write(pc->t.bus, 0xCF8, 0x80000B00u | (reg & 0xFC), 4);
    bus_io_write(pc->t.bus, (uint16_t)(0xCFC + (reg & 3)), value, bytes);
}

static uint32_t get(struct pc *pc, unsigned reg, unsigned bytes)
{
    bus_io_write(pc->t.bus, 0xCF8, 0x80000B00u | (reg & 0xFC), 4);
    return bus_io_read(pc->t.bus, (uint16_t)(0xCFC + (reg & 3)), bytes);
}

static uint32_t in(struct pc *pc, unsigned port, unsigned bytes)
{
    return bus_io_read(pc->t.bus, (uint16_t)port, bytes);
}

static void out(struct pc *pc, unsigned port, uint32_t value, unsigned bytes)
{
    bus_io_write(pc->t.bus, (uint16_t)port, value, bytes);
}

/* What SeaBIOS programs. */
static int set_up(void **state)
{
    struct pc *pc = calloc(1, sizeof *pc);
    devtest_init(&pc->t);
    pc->pci = pci_bus_new(pc->t.bus);
    pc->pm = piix4_pm_new(pc->t.bus, pc->pci);
    set(pc, 0x40, BASE | 1, 4);
    set(pc, 0x80, 1, 1);
    set(pc, 0x90, SMB | 1, 4);
    set(pc, 0xD2, 9, 1);
    *state = pc;
    return 0;
}

static int tear_down(void **state)
{
    struct pc *pc = *state;
    piix4_pm_free(pc->pm);
    pci_bus_free(pc->pci);
    devtest_fini(&pc->t);
    free(pc);
    return 0;
}

static void smm_set_up_looks_done(void **state)
{
    assert_true(get(*state, 0x58, 4) & 1u << 25);
}

static void the_timer_counts_3579545_hz_in_24_bits(void **state)
{
    struct pc *pc = *state;
    devtest_run_to(&pc->t, 1000000000);
    assert_int_equal(in(pc, BASE + 8, 4), 3579545);
    devtest_run_to(&pc->t, 5000000000);
    assert_int_equal(in(pc, BASE + 8, 4), 5 * 3579545 & 0xFFFFFF);
}

static void tmr_sts_is_set_by_each_change_of_bit_23(void **state)
{
    struct pc *pc = *state;
    uint64_t half = bus_tick_of_cycle(pc->t.bus, 1 << 23, 3579545);
    devtest_run_to(&pc->t, half - 1);
    assert_int_equal(in(pc, BASE, 2) & 1, 0);
    devtest_run_to(&pc->t, half);
    assert_int_equal(in(pc, BASE, 2) & 1, 1);
    out(pc, BASE, 1, 2);
    assert_int_equal(in(pc, BASE, 2) & 1, 0);
    devtest_run_to(&pc->t, 2 * half);
    assert_int_equal(in(pc, BASE, 2) & 1, 1);
}

static void the_timer_interrupts_through_the_sci(void **state)
{
    struct pc *pc = *state;
    out(pc, 0xB2, 0xF1, 1);
    assert_int_equal(in(pc, BASE + 4, 2), 1); /* SCI_EN */
    out(pc, BASE + 2, 1, 2);
    devtest_run_to(&pc->t, bus_tick_of_cycle(pc->t.bus, 1 << 23, 3579545) - 1);
    assert_false(pc->t.line[9]);
    devtest_run_ns(&pc->t, 1);
    assert_true(pc->t.line[9]);
    out(pc, BASE, 1, 2);
    assert_false(pc->t.line[9]);
}

static void an_idle_timer_sets_no_deadline(void **state)
{
    struct pc *pc = *state;
    assert_true(bus_next_deadline(pc->t.bus) == UINT64_MAX);
}

static void the_power_button_raises_the_sci_in_acpi_mode(void **state)
{
    struct pc *pc = *state;
    out(pc, BASE + 2, 0x100, 2);
    piix4_pm_power_button(pc->pm);
    assert_false(pc->t.line[9]);
    out(pc, 0xB2, 0xF1, 1);
    assert_true(pc->t.line[9]);
    out(pc, 0xB2, 0xF0, 1);
    assert_false(pc->t.line[9]);
    assert_int_equal(in(pc, BASE, 2), 0x100);
}

static void sleep_type_0_powers_off(void **state)
{
    struct pc *pc = *state;
    out(pc, BASE + 4, 0x0001, 2);
    assert_int_equal(pc->t.requests[REQUEST_POWER_OFF], 0);
    out(pc, BASE + 4, 0x2001, 2);
    assert_int_equal(pc->t.requests[REQUEST_POWER_OFF], 1);
    assert_int_equal(in(pc, BASE + 4, 2), 1); /* SLP_EN reads 0 */
}

static void suspend_wakes_at_once(void **state)
{
    struct pc *pc = *state;
    out(pc, BASE + 4, 0x2401, 2);
    assert_int_equal(pc->t.requests[REQUEST_POWER_OFF], 0);
    assert_int_equal(in(pc, BASE, 2), 0x8000);
}

static void pm_base_moves_and_closes(void **state)
{
    struct pc *pc = *state;
    set(pc, 0x40, 0xB001, 4);
    assert_int_equal(in(pc, BASE + 4, 2), 0xFFFF);
    assert_int_equal(in(pc, 0xB004, 2), 0);
    set(pc, 0x80, 0, 1);
    assert_int_equal(in(pc, 0xB004, 2), 0xFFFF);
    set(pc, 0x40, 0x0061, 4); /* not over the ISA ports */
    set(pc, 0x80, 1, 1);
    assert_int_equal(in(pc, 0x44, 1), 0xFF);
}

static void no_smbus_device_answers(void **state)
{
    struct pc *pc = *state;
    out(pc, SMB + 4, 0xA1, 1);
    out(pc, SMB + 2, 0x48, 1);
    assert_int_equal(in(pc, SMB, 1), 0x04);
    out(pc, SMB, 0xFF, 1);
    assert_int_equal(in(pc, SMB, 1), 0);
}

static void nothing_is_hot_plugged(void **state)
{
    struct pc *pc = *state;
    assert_int_equal(in(pc, 0xAE00, 4), 0);
    assert_int_equal(in(pc, 0xAE08, 4), 0);
    assert_int_equal(in(pc, 0xAF00, 1), 1);
    assert_int_equal(in(pc, 0xAF01, 1), 0);
    out(pc, 0xAFE2, 0xFF, 1);
    assert_int_equal(in(pc, 0xAFE0, 4), 0x00FF0000);
}

static void state_survives_save_and_load(void **state)
{
    struct pc *pc = *state;
    struct writer w;
    struct reader r;
    struct error err;
    out(pc, 0xB2, 0xF1, 1);
    out(pc, BASE + 2, 0x121, 2);
    writer_init(&w);
    piix4_pm_ops.save(pc->pm, &w);
    piix4_pm_ops.reset(pc->pm);
    assert_int_equal(in(pc, BASE + 4, 2), 0xFFFF);
    reader_init(&r, w.data, w.used);
    assert_true(piix4_pm_ops.load(pc->pm, &r, &err));
    assert_int_equal(in(pc, BASE + 2, 2), 0x121);
    assert_int_equal(in(pc, BASE + 4, 2), 1);
    writer_fini(&w);
    devtest_hostile_loads(&piix4_pm_ops, pc->pm, pc->pm);
}

#define PC_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PC_TEST(smm_set_up_looks_done),
        PC_TEST(the_timer_counts_3579545_hz_in_24_bits),
        PC_TEST(tmr_sts_is_set_by_each_change_of_bit_23),
        PC_TEST(the_timer_interrupts_through_the_sci),
        PC_TEST(an_idle_timer_sets_no_deadline),
        PC_TEST(the_power_button_raises_the_sci_in_acpi_mode),
        PC_TEST(sleep_type_0_powers_off),
        PC_TEST(suspend_wakes_at_once),
        PC_TEST(pm_base_moves_and_closes),
        PC_TEST(no_smbus_device_answers),
        PC_TEST(nothing_is_hot_plugged),
        PC_TEST(state_survives_save_and_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
