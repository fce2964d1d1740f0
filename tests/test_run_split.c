/* A run in one piece and a run tick by tick pass the same states. */
#include "lib_fuzz.h"

#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    CODE_AT = 0x8000,
    HANDLER_AT = 0x9000,
    TICKS = 250
};

/* Real-mode code that turns on single stepping, for a while, by POPF, and
 * changes itself: only a machine that has decoded the changed instruction need
 * stop for that. */
static struct machine *stepping_machine(void)
{
    static const uint8_t code[] = {
        0x68, 0x02, 0x01, /* push 102h: TF */
        0x9d,             /* popf */
        0x90, 0x40,       /* nop; inc ax */
        0x16, 0x17, 0x43, /* push ss; pop ss; inc bx */
        0xf3, 0xaa,       /* rep stosb */
        0xfe, 0x06, 0x81, 0x80, /* inc byte ptr [8081h] */
        0xcd, 0x20,       /* int 20h */
        0x6a, 0x02, 0x9d, /* push 2; popf */
        0xfb, 0xfa,       /* sti; cli */
        0xe8, 0x67, 0x00, /* call 8080h */
        0xeb, 0xe5        /* again */
    };
    static const uint8_t routine[] = {0xb9, 0x03, 0x00, 0xc3}; /* cx = 3 */
    static const uint8_t handler[] = {0x42, 0xcf}; /* inc dx; iret */
    struct machine *m = fuzz_machine(0, 1);
    struct phys *p = machine_phys(m);
    struct cpu *c = machine_cpu(m);
    const uint16_t vector[2] = {HANDLER_AT, 0};
    for (unsigned n = 0; n < 256; n++)
        phys_write(p, 4 * n, vector, sizeof vector);
    phys_write(p, CODE_AT, code, sizeof code);
    phys_write(p, CODE_AT + 0x80, routine, sizeof routine);
    phys_write(p, HANDLER_AT, handler, sizeof handler);
    cpu_set_real_segment(c, SEG_CS, 0);
    c->r[REG_RIP] = CODE_AT;
    c->r[REG_RSP] = 0x7000;
    c->r[REG_RDI] = 0x6000;
    c->r[REG_RCX] = 3;
    cpu_update_mode(c);
    return m;
}

/* Compares and searches in flat segments, which take many iterations at once. */
static struct machine *searching_machine(void)
{
    static const uint8_t code[] = {
        0xfc, 0xbe, 0x00, 0x60, 0xbf, 0x00, 0x61, /* cld; si, di = 6000h, 6100h */
        0xb9, 0x28, 0x00, 0xf3, 0xa6,             /* cx = 40; repe cmpsb */
        0xb8, 0x41, 0x42,                         /* ax = 4241h */
        0xb9, 0x14, 0x00, 0xf2, 0xaf,             /* cx = 20; repne scasw */
        0xb9, 0x0a, 0x00, 0xb0, 0x00, 0xf3, 0xae, /* cx = 10; al = 0; repe scasb */
        0xbe, 0x01, 0x60, 0xbf, 0x40, 0x61,       /* si, di = 6001h, 6140h */
        0xb9, 0x0c, 0x00, 0xf2, 0xa7,             /* cx = 12; repne cmpsw */
        0xfe, 0x06, 0x14, 0x60,                   /* inc byte ptr [6014h] */
        0xeb, 0xd3                                /* again */
    };
    static const uint8_t wanted[] = {0x41, 0x42, 0, 0, 0, 0, 7};
    struct machine *m = fuzz_machine(0, 1);
    struct cpu *c = machine_cpu(m);
    uint8_t zeros[0x200] = {0};
    phys_write(machine_phys(m), CODE_AT, code, sizeof code);
    phys_write(machine_phys(m), 0x6000, zeros, sizeof zeros);
    phys_write(machine_phys(m), 0x6136, wanted, sizeof wanted);
    cpu_set_real_segment(c, SEG_CS, 0);
    c->seg[SEG_DS].limit = c->seg[SEG_ES].limit = UINT32_MAX;
    c->r[REG_RIP] = CODE_AT;
    cpu_update_mode(c);
    return m;
}

static void run_ends_at_every_tick(struct machine *make(void))
{
    struct machine *split = make();
    for (uint64_t tick = 1; tick < TICKS; tick++) {
        struct machine *whole = make();
        assert_int_equal(machine_run(split, tick), STOP_TICK);
        assert_int_equal(machine_run(whole, tick), STOP_TICK);
        fuzz_same(whole, split, "run tick by tick");
        machine_free(whole);
    }
    machine_free(split);
}

static void a_run_can_end_at_every_tick(void **state)
{
    (void)state;
    run_ends_at_every_tick(stepping_machine);
}

static void a_search_can_stop_at_every_tick(void **state)
{
    (void)state;
    run_ends_at_every_tick(searching_machine);
}

static void a_machine_can_be_loaded_at_every_tick(void **state)
{
    struct machine *m = stepping_machine();
    (void)state;
    for (uint64_t tick = 1; tick < TICKS; tick++) {
        struct machine *loaded = fuzz_fork(m, 0, 1);
        assert_int_equal(machine_run(m, tick), STOP_TICK);
        assert_int_equal(machine_run(loaded, tick), STOP_TICK);
        fuzz_same(m, loaded, "loaded a tick before");
        machine_free(loaded);
    }
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_can_end_at_every_tick),
        cmocka_unit_test(a_search_can_stop_at_every_tick),
        cmocka_unit_test(a_machine_can_be_loaded_at_every_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
