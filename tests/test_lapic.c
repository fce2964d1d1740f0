/* dev/lapic: registers, priorities, timer, IPIs and pins. */
#include "dev/lapic.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    TMICT = 0x380,
    TMCCT = 0x390,
    TDCR = 0x3e0,
    SELF = 1 << 18
};

struct fix {
    struct devtest t;
    struct lapic *l;
    bool intr;
    unsigned nmis, smis, eois;
    uint8_t eoi_vector;
};

static void on_intr(void *context, bool asserted)
{
    struct fix *f = context;
    assert_int_not_equal(f->intr, asserted);
    f->intr = asserted;
}

static void on_nmi(void *context)
{
    struct fix *f = context;
    f->nmis++;
}

static void on_smi(void *context)
{
    struct fix *f = context;
    f->smis++;
}

static void on_eoi(void *context, uint8_t vector)
{
    struct fix *f = context;
    f->eois++;
    f->eoi_vector = vector;
}

static void put(struct fix *f, unsigned reg, uint32_t value)
{
    phys_write(f->t.phys, 0xfee00000u + reg, &value, 4);
}

static uint32_t get(struct fix *f, unsigned reg)
{
    uint32_t value = 0;
    phys_read(f->t.phys, 0xfee00000u + reg, &value, 4);
    return value;
}

static int setup(void **state)
{
    static const struct lapic_wires wires = {on_intr, on_nmi, on_smi, on_eoi};
    static struct fix f;
    f = (struct fix){0};
    devtest_init(&f.t);
    f.l = lapic_new(f.t.bus, &wires, &f);
    if (!f.l)
        return -1;
    put(&f, SVR, 0x1ff);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    lapic_free(f->l);
    devtest_fini(&f->t);
    return 0;
}

static void reset_values_are_the_manuals(void **state)
{
    struct fix *f = *state;
    lapic_ops.reset(f->l);
    assert_int_equal(get(f, ID), 0);
    assert_int_equal(get(f, VERSION), 0x50014);
    assert_int_equal(get(f, SVR), 0xff);
    assert_int_equal(get(f, DFR), 0xffffffff);
    assert_int_equal(get(f, LVT_TIMER), 0x10000);
    assert_int_equal(get(f, LVT_LINT0), 0x700);
    assert_int_equal(lapic_base(f->l), 0xfee00900);
}

static void self_ipi_is_pending_then_in_service_until_eoi(void **state)
{
    struct fix *f = *state;
    put(f, ICR, SELF | 0x45);
    assert_true(f->intr);
    assert_int_equal(get(f, IRR + 0x20), 1 << 5);
    assert_int_equal(lapic_acknowledge(f->l), 0x45);
    assert_false(f->intr);
    assert_int_equal(get(f, ISR + 0x20), 1 << 5);
    assert_int_equal(get(f, PPR), 0x40);
    put(f, EOI, 0);
    assert_int_equal(get(f, ISR + 0x20), 0);
    assert_int_equal(f->eois, 0); /* edge: no broadcast */
}

static void same_class_waits_and_higher_class_nests(void **state)
{
    struct fix *f = *state;
    put(f, ICR, SELF | 0x45);
    assert_int_equal(lapic_acknowledge(f->l), 0x45);
    put(f, ICR, SELF | 0x4f);
    assert_false(f->intr);
    put(f, ICR, SELF | 0x51);
    assert_true(f->intr);
    assert_int_equal(lapic_acknowledge(f->l), 0x51);
    put(f, EOI, 0);
    assert_false(f->intr);
    put(f, EOI, 0);
    assert_true(f->intr);
    assert_int_equal(lapic_acknowledge(f->l), 0x4f);
}

static void tpr_and_cr8_hold_back_their_class(void **state)
{
    struct fix *f = *state;
    lapic_set_tpr(f->l, 5);
    assert_int_equal(get(f, TPR), 0x50);
    put(f, ICR, SELF | 0x5f);
    assert_false(f->intr);
    put(f, TPR, 0x4f);
    assert_int_equal(lapic_tpr(f->l), 4);
    assert_true(f->intr);
    put(f, TPR, 0x50);
    assert_false(f->intr);
    assert_int_equal(lapic_acknowledge(f->l), 0xff); /* spurious */
}

static void one_shot_timer_fires_once_at_its_exact_tick(void **state)
{
    struct fix *f = *state;
    put(f, TDCR, 0x3); /* by 16 */
    put(f, LVT_TIMER, 0x60);
    put(f, TMICT, 1000);
    devtest_run_to(&f->t, 8000);
    assert_int_equal(get(f, TMCCT), 500);
    devtest_run_to(&f->t, 15999);
    assert_false(f->intr);
    devtest_run_to(&f->t, 16000);
    assert_true(f->intr);
    assert_int_equal(get(f, TMCCT), 0);
    (void)lapic_acknowledge(f->l);
    put(f, EOI, 0);
    devtest_run_to(&f->t, 100000);
    assert_false(f->intr);
}

static void periodic_timer_keeps_its_phase_while_masked(void **state)
{
    struct fix *f = *state;
    put(f, TDCR, 0xb); /* by 1 */
    put(f, LVT_TIMER, 0x20060);
    put(f, TMICT, 100);
    devtest_run_to(&f->t, 100);
    assert_int_equal(lapic_acknowledge(f->l), 0x60);
    put(f, EOI, 0);
    put(f, LVT_TIMER, 0x30060);
    devtest_run_to(&f->t, 250);
    assert_false(f->intr);
    assert_int_equal(get(f, TMCCT), 50);
    put(f, LVT_TIMER, 0x20060);
    devtest_run_to(&f->t, 299);
    assert_false(f->intr);
    devtest_run_to(&f->t, 300);
    assert_true(f->intr);
}

static void expired_one_shot_stays_stopped_when_made_periodic(void **state)
{
    struct fix *f = *state;
    put(f, TDCR, 0xb);
    put(f, LVT_TIMER, 0x60);
    put(f, TMICT, 100);
    devtest_run_to(&f->t, 150);
    put(f, LVT_TIMER, 0x20060);
    devtest_run_to(&f->t, 180);
    assert_int_equal(get(f, TMCCT), 0);
}

static void illegal_vectors_set_esr_and_fire_the_error_entry(void **state)
{
    struct fix *f = *state;
    put(f, LVT_ERROR, 0x70);
    put(f, ICR, SELF | 0x05);
    assert_int_equal(get(f, ESR), 0);
    put(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0x20);
    assert_int_equal(lapic_acknowledge(f->l), 0x70);
    put(f, EOI, 0);
    const struct lapic_message m = {.destination = 0, .vector = 3};
    assert_true(lapic_receive(f->l, &m));
    put(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0x40);
    put(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0);
    (void)get(f, 0x3f0);
    put(f, ESR, 0);
    assert_int_equal(get(f, ESR), 0x80);
}

static void pic_reaches_the_cpu_through_lint0(void **state)
{
    struct fix *f = *state;
    lapic_set_lint(f->l, 0, true);
    assert_true(f->intr);
    put(f, ICR, SELF | 0x45); /* the APIC's own go first */
    assert_int_equal(lapic_acknowledge(f->l), 0x45);
    assert_int_equal(lapic_acknowledge(f->l), LAPIC_EXTINT);
    put(f, LVT_LINT0, 0x10700);
    assert_false(f->intr);
    put(f, LVT_LINT0, 0x700);
    assert_true(f->intr);
    lapic_set_lint(f->l, 0, false);
    assert_false(f->intr);
}

static void pic_works_before_the_apic_is_enabled(void **state)
{
    struct fix *f = *state;
    lapic_ops.reset(f->l);
    lapic_set_lint(f->l, 0, true);
    assert_int_equal(lapic_acknowledge(f->l), LAPIC_EXTINT);
    lapic_set_base(f->l, 0xfee00100); /* APIC off: LINT0 is INTR */
    assert_true(lapic_intr(f->l));
    assert_int_equal(get(f, VERSION), 0xffffffff);
    lapic_set_lint(f->l, 1, true);
    assert_int_equal(f->nmis, 1);
}

static void nmi_comes_in_through_lint1_and_icr(void **state)
{
    struct fix *f = *state;
    lapic_set_lint(f->l, 1, true);
    assert_int_equal(f->nmis, 0); /* masked */
    lapic_set_lint(f->l, 1, false);
    put(f, LVT_LINT1, 0x400);
    lapic_set_lint(f->l, 1, true);
    assert_int_equal(f->nmis, 1);
    put(f, ICR, 0x4400);
    assert_int_equal(f->nmis, 2);
    put(f, ICR, 0x4200);
    assert_int_equal(f->smis, 1);
}

static void level_lint0_asks_again_until_its_pin_drops(void **state)
{
    struct fix *f = *state;
    put(f, LVT_LINT0, 0x8055);
    lapic_set_lint(f->l, 0, true);
    assert_int_equal(lapic_acknowledge(f->l), 0x55);
    assert_int_equal(get(f, LVT_LINT0), 0xc055);
    put(f, EOI, 0);
    assert_int_equal(lapic_acknowledge(f->l), 0x55);
    lapic_set_lint(f->l, 0, false);
    put(f, EOI, 0);
    assert_false(f->intr);
    assert_int_equal(get(f, LVT_LINT0), 0x8055);
}

static bool takes(struct fix *f, uint8_t destination, bool logical)
{
    const struct lapic_message m = {
        .destination = destination, .logical = logical, .vector = 0x33};
    return lapic_receive(f->l, &m);
}

static void destinations_match_flat_and_cluster(void **state)
{
    struct fix *f = *state;
    put(f, ID, 3u << 24);
    assert_true(takes(f, 3, false));
    assert_true(takes(f, 0xff, false));
    assert_false(takes(f, 0, false));
    put(f, LDR, 0x12u << 24);
    assert_true(takes(f, 0x02, true));
    assert_true(takes(f, 0x30, true));
    assert_false(takes(f, 0x21, true));
    put(f, DFR, 0);
    assert_int_equal(get(f, DFR), 0x0fffffff);
    assert_true(takes(f, 0x13, true));
    assert_false(takes(f, 0x23, true));
    assert_true(takes(f, 0xf2, true));
    assert_false(takes(f, 0x11, true));
}

static void level_message_is_broadcast_at_eoi(void **state)
{
    struct fix *f = *state;
    const struct lapic_message m = {.vector = 0x61, .level = true};
    assert_true(lapic_receive(f->l, &m));
    assert_int_equal(get(f, TMR + 0x30), 2);
    (void)lapic_acknowledge(f->l);
    put(f, EOI, 0);
    assert_int_equal(f->eois, 1);
    assert_int_equal(f->eoi_vector, 0x61);
}

static void software_disable_masks_the_lvt_and_refuses_fixed(void **state)
{
    struct fix *f = *state;
    put(f, LVT_TIMER, 0x60);
    put(f, SVR, 0xff);
    assert_int_equal(get(f, LVT_TIMER), 0x10060);
    put(f, LVT_TIMER, 0x60);
    assert_int_equal(get(f, LVT_TIMER), 0x10060);
    assert_false(takes(f, 0, false));
}

static void init_to_self_asks_the_board_and_startup_is_ignored(void **state)
{
    struct fix *f = *state;
    put(f, ICR, 0x4600);        /* start-up to ID 0 */
    put(f, ICR, SELF | 0x4500); /* INIT by shorthand is not allowed */
    put(f, ICR, 0xc4500);       /* all but self */
    put(f, ICR, 0x8500);        /* level de-assert */
    assert_int_equal(f->t.requests[REQUEST_INIT], 0);
    put(f, ICR, 0x4500);
    assert_int_equal(f->t.requests[REQUEST_INIT], 1);
}

static void window_moves_with_the_msr(void **state)
{
    struct fix *f = *state;
    uint32_t value = 0;
    lapic_set_base(f->l, 0xfed10000 | 0x900);
    phys_read(f->t.phys, 0xfed10030, &value, 4);
    assert_int_equal(value, 0x50014);
    assert_int_equal(get(f, VERSION), 0xffffffff);
}

static void byte_write_to_eoi_ends_the_interrupt(void **state)
{
    struct fix *f = *state;
    uint8_t zero = 0;
    put(f, ICR, SELF | 0x45);
    (void)lapic_acknowledge(f->l);
    phys_write(f->t.phys, 0xfee00000u + EOI, &zero, 1);
    assert_int_equal(get(f, ISR + 0x20), 0);
}

static void state_survives_save_and_hostile_loads(void **state)
{
    struct fix *f = *state;
    put(f, LVT_TIMER, 0x60);
    put(f, TMICT, 1000);
    put(f, ICR, SELF | 0x45);
    struct lapic *other = lapic_new(f->t.bus, NULL, NULL);
    assert_true(devtest_copy(&lapic_ops, f->l, other));
    assert_true(lapic_intr(other));
    devtest_hostile_loads(&lapic_ops, f->l, other);
    lapic_free(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reset_values_are_the_manuals),
        T(self_ipi_is_pending_then_in_service_until_eoi),
        T(same_class_waits_and_higher_class_nests),
        T(tpr_and_cr8_hold_back_their_class),
        T(one_shot_timer_fires_once_at_its_exact_tick),
        T(periodic_timer_keeps_its_phase_while_masked),
        T(expired_one_shot_stays_stopped_when_made_periodic),
        T(illegal_vectors_set_esr_and_fire_the_error_entry),
        T(pic_reaches_the_cpu_through_lint0),
        T(pic_works_before_the_apic_is_enabled),
        T(nmi_comes_in_through_lint1_and_icr),
        T(level_lint0_asks_again_until_its_pin_drops),
        T(destinations_match_flat_and_cluster),
        T(level_message_is_broadcast_at_eoi),
        T(software_disable_masks_the_lvt_and_refuses_fixed),
        T(init_to_self_asks_the_board_and_startup_is_ignored),
        T(window_moves_with_the_msr),
        T(byte_write_to_eoi_ends_the_interrupt),
        T(state_survives_save_and_hostile_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
