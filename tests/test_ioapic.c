/* dev/ioapic: redirection, edge and level, remote IRR. */
#include "dev/ioapic.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fix {
    struct devtest t;
    struct ioapic *io;
    struct lapic_message last;
    unsigned sent;
    bool refuse;
};

static bool on_send(void *context, const struct lapic_message *m)
{
    struct fix *f = context;
    if (f->refuse)
        return false;
    f->last = *m;
    f->sent++;
    return true;
}

static void put(struct fix *f, uint32_t reg, uint32_t value)
{
    phys_write(f->t.phys, 0xfec00000, &reg, 4);
    phys_write(f->t.phys, 0xfec00010, &value, 4);
}

static uint32_t get(struct fix *f, uint32_t reg)
{
    uint32_t value = 0;
    phys_write(f->t.phys, 0xfec00000, &reg, 4);
    phys_read(f->t.phys, 0xfec00010, &value, 4);
    return value;
}

static int setup(void **state)
{
    static struct fix f;
    f = (struct fix){0};
    devtest_init(&f.t);
    f.io = ioapic_new(f.t.bus, on_send, &f);
    *state = &f;
    return f.io ? 0 : -1;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    ioapic_free(f->io);
    devtest_fini(&f->t);
    return 0;
}

static void version_and_reset_are_the_data_sheets(void **state)
{
    struct fix *f = *state;
    assert_int_equal(get(f, 1), 0x00170011);
    assert_int_equal(get(f, 0x10), 0x10000);
    assert_int_equal(get(f, 0x10 + 2 * 23), 0x10000);
    put(f, 0, 0xffffffff);
    assert_int_equal(get(f, 0), 0x0f000000);
    assert_int_equal(get(f, 2), 0x0f000000);
    assert_int_equal(get(f, 0x40), 0);
}

static void edge_sends_once_per_rise_and_is_lost_while_masked(void **state)
{
    struct fix *f = *state;
    ioapic_set_pin(f->io, 4, true);
    put(f, 0x18, 0x34);
    put(f, 0x19, 0xab000000);
    assert_int_equal(f->sent, 0);
    ioapic_set_pin(f->io, 4, false);
    ioapic_set_pin(f->io, 4, true);
    ioapic_set_pin(f->io, 4, true);
    assert_int_equal(f->sent, 1);
    assert_int_equal(f->last.vector, 0x34);
    assert_int_equal(f->last.destination, 0xab);
    assert_false(f->last.level);
}

static void level_waits_for_eoi_and_asks_again(void **state)
{
    struct fix *f = *state;
    put(f, 0x10 + 2 * 10, 0x8000 | 0x800 | 0x51);
    ioapic_set_pin(f->io, 10, true);
    assert_int_equal(f->sent, 1);
    assert_true(f->last.level && f->last.logical);
    assert_int_equal(get(f, 0x10 + 2 * 10), 0xc851);
    ioapic_set_pin(f->io, 10, false);
    ioapic_set_pin(f->io, 10, true);
    assert_int_equal(f->sent, 1);
    ioapic_eoi(f->io, 0x52);
    assert_int_equal(f->sent, 1);
    ioapic_eoi(f->io, 0x51);
    assert_int_equal(f->sent, 2);
    ioapic_set_pin(f->io, 10, false);
    ioapic_eoi(f->io, 0x51);
    assert_int_equal(get(f, 0x10 + 2 * 10), 0x8851);
    assert_int_equal(f->sent, 2);
}

static void asserted_level_sends_when_unmasked(void **state)
{
    struct fix *f = *state;
    put(f, 0x10 + 2 * 9, 0x18051);
    ioapic_set_pin(f->io, 9, true);
    assert_int_equal(f->sent, 0);
    put(f, 0x10 + 2 * 9, 0x08051);
    assert_int_equal(f->sent, 1);
}

static void switching_to_edge_drops_remote_irr(void **state)
{
    struct fix *f = *state;
    put(f, 0x10 + 2 * 9, 0x8051);
    ioapic_set_pin(f->io, 9, true);
    put(f, 0x10 + 2 * 9, 0x10051);
    assert_int_equal(get(f, 0x10 + 2 * 9), 0x10051);
    put(f, 0x10 + 2 * 9, 0x8051);
    assert_int_equal(f->sent, 2);
}

static void refused_level_message_leaves_no_remote_irr(void **state)
{
    struct fix *f = *state;
    f->refuse = true;
    put(f, 0x10 + 2 * 9, 0x8051);
    ioapic_set_pin(f->io, 9, true);
    assert_int_equal(get(f, 0x10 + 2 * 9), 0x8051);
}

static void nmi_and_extint_modes_are_edges(void **state)
{
    struct fix *f = *state;
    put(f, 0x10, 0x8700);
    ioapic_set_pin(f->io, 0, true);
    assert_int_equal(f->last.mode, LAPIC_EXTINT_MODE);
    assert_int_equal(get(f, 0x10), 0x8700);
    put(f, 0x12, 0x400);
    ioapic_set_pin(f->io, 1, true);
    assert_int_equal(f->last.mode, LAPIC_NMI);
    assert_int_equal(f->sent, 2);
}

static void polarity_is_kept_and_changes_nothing(void **state)
{
    struct fix *f = *state;
    put(f, 0x18, 0xa051);
    assert_int_equal(get(f, 0x18), 0xa051);
    assert_int_equal(f->sent, 0);
    ioapic_set_pin(f->io, 4, true);
    assert_int_equal(f->sent, 1);
}

struct pair {
    struct lapic *l;
    struct ioapic *io;
};

static bool pair_send(void *context, const struct lapic_message *m)
{
    struct pair *p = context;
    return lapic_receive(p->l, m);
}

static void pair_eoi(void *context, uint8_t vector)
{
    struct pair *p = context;
    ioapic_eoi(p->io, vector);
}

static void local_apic_eoi_reaches_the_level_entry(void **state)
{
    static const struct lapic_wires wires = {.eoi = pair_eoi};
    struct fix *f = *state;
    struct pair p;
    uint32_t svr = 0x1ff, zero = 0;
    p.l = lapic_new(f->t.bus, &wires, &p);
    p.io = ioapic_new(f->t.bus, pair_send, &p);
    phys_write(f->t.phys, 0xfee000f0, &svr, 4);
    put(f, 0x10 + 2 * 10, 0x8051);
    ioapic_set_pin(p.io, 10, true);
    assert_int_equal(lapic_acknowledge(p.l), 0x51);
    assert_false(lapic_intr(p.l));
    phys_write(f->t.phys, 0xfee000b0, &zero, 4);
    assert_int_equal(lapic_acknowledge(p.l), 0x51); /* still asserted */
    ioapic_set_pin(p.io, 10, false);
    phys_write(f->t.phys, 0xfee000b0, &zero, 4);
    assert_false(lapic_intr(p.l));
    assert_int_equal(get(f, 0x10 + 2 * 10), 0x8051);
    ioapic_free(p.io);
    lapic_free(p.l);
}

static void state_survives_save_and_hostile_loads(void **state)
{
    struct fix *f = *state;
    put(f, 0x18, 0x8051);
    ioapic_set_pin(f->io, 4, true);
    struct ioapic *other = ioapic_new(f->t.bus, NULL, NULL);
    assert_true(devtest_copy(&ioapic_ops, f->io, other));
    devtest_hostile_loads(&ioapic_ops, f->io, other);
    ioapic_free(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(version_and_reset_are_the_data_sheets),
        T(edge_sends_once_per_rise_and_is_lost_while_masked),
        T(level_waits_for_eoi_and_asks_again),
        T(asserted_level_sends_when_unmasked),
        T(switching_to_edge_drops_remote_irr),
        T(refused_level_message_leaves_no_remote_irr),
        T(nmi_and_extint_modes_are_edges),
        T(polarity_is_kept_and_changes_nothing),
        T(local_apic_eoi_reaches_the_level_entry),
        T(state_survives_save_and_hostile_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
