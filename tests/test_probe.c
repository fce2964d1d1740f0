/* Probes of a machine: hits where they are, and nothing the guest could see. */
#include "board/probe.h"

#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A BIOS that copies a string and counts in a loop at f000:0020, and whose
 * timer interrupt at f000:0030 counts too. */
/* clang-format off */
static const uint8_t guest_code[] = {
    0xfa,                               /* 00 cli */
    0x31, 0xc0,                         /* 01 xor ax,ax */
    0x8e, 0xd8,                         /* 03 mov ds,ax */
    0x8e, 0xc0,                         /* 05 mov es,ax */
    0x8e, 0xd0,                         /* 07 mov ss,ax */
    0xbc, 0x00, 0x70,                   /* 09 mov sp,0x7000 */
    0xc7, 0x06, 0x18, 0x00, 0x30, 0x00, /* 0c mov word [6*4],0x30 */
    0xc7, 0x06, 0x1a, 0x00, 0x00, 0xf0, /* 12 mov word [6*4+2],0xf000 */
    0xbf, 0x00, 0x10,                   /* 18 mov di,0x1000 */
    0xb9, 0x10, 0x00,                   /* 1b mov cx,16 */
    0xf3, 0xaa,                         /* 1e rep stosb */
    0xff, 0x06, 0x00, 0x05,             /* 20 inc word [0x500] */
    0xa0, 0x02, 0x05,                   /* 24 mov al,[0x502] */
    0x0f, 0x0b,                         /* 27 ud2 */
    0xeb, 0xf5,                         /* 29 jmp 0x20 */
    0x90, 0x90, 0x90, 0x90, 0x90,
    0xff, 0x06, 0x04, 0x05,             /* 30 inc word [0x504] */
    0x89, 0xe3,                         /* 34 mov bx,sp */
    0x36, 0x83, 0x07, 0x02,             /* 36 add word ss:[bx],2 */
    0xcf,                               /* 3a iret */
};
/* clang-format on */
enum {
    BASE = 0xf0000,
    LOOP = BASE + 0x20,
    HANDLER = BASE + 0x30,
    REP = BASE + 0x1e
};

static uint8_t bios[65536];

static int make(void **state)
{
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    struct machine_config config;
    struct error err;
    memcpy(bios, guest_code, sizeof guest_code);
    memcpy(bios + 0xfff0, reset, sizeof reset);
    machine_config_init(&config);
    config.mem_bytes = 2 << 20;
    const struct machine_media media = {
        .bios = {.data = bios, .bytes = sizeof bios}};
    *state = machine_new(&config, &media, &err);
    return *state ? 0 : -1;
}

static int drop(void **state)
{
    machine_free(*state);
    return 0;
}

static void arm(struct machine *m, struct probe p, enum probe_mode mode)
{
    machine_set_probes(m, &p, 1);
    machine_probe_mode(m, mode, true);
}

static uint64_t rip(struct machine *m)
{
    return machine_cpu(m)->r[REG_RIP];
}

static void execution_stops_in_front_of_the_instruction(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){.vaddr = LOOP, .kinds = PROBE_EXEC}, PROBE_STOP);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    assert_int_equal(rip(m), 0x20);
    /* jmp, 10 instructions, 16 iterations; then what one round takes */
    uint64_t first = machine_tick(m);
    assert_int_equal(first, 1 + 10 + 16);
    machine_probe_mode(m, PROBE_STOP, true);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    assert_int_equal(rip(m), 0x20);
    assert_int_equal(machine_tick(m), first + 2 + 4 + 1);
}

static void writes_stop_behind_and_are_placed_in_front(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){0x501, 1, PROBE_WRITE}, PROBE_STOP);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    assert_int_equal(rip(m), 0x24);
    const struct probe_tally *t = machine_probe_tally(m);
    assert_int_equal(t->hits, 1);
    assert_int_equal(t->last.place.tick, machine_tick(m) - 1);
    assert_int_equal(t->last.kind, PROBE_WRITE);
    assert_int_equal(t->last.vaddr, 0x500);
    assert_int_equal(t->last.bytes, 2);
}

static void reads_and_writes_are_told_apart(void **state)
{
    struct machine *m = *state;
    const struct probe list[] = {{0x502, 1, PROBE_READ},
                                 {0x502, 1, PROBE_WRITE},
                                 {0x500, 2, PROBE_READ | PROBE_WRITE}};
    machine_set_probes(m, list, 3);
    machine_probe_mode(m, PROBE_COUNT, false);
    assert_int_equal(machine_run(m, 27 + 7 * 100), STOP_TICK);
    /* INC reads and writes */
    assert_int_equal(machine_probe_tally(m)->hits, 100 * 3);
}

static void a_repeated_instruction_stops_between_iterations(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){0x1005, 1, PROBE_WRITE}, PROBE_STOP);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    assert_int_equal(rip(m), 0x1e);
    assert_int_equal(machine_cpu(m)->r[REG_RCX], 10);
    assert_int_equal(machine_tick(m), 1 + 10 + 6);
}

static void a_repeated_instruction_is_executed_once(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){.vaddr = REP, .kinds = PROBE_EXEC}, PROBE_COUNT);
    for (uint64_t t = 0; t < 100; t++)
        assert_int_equal(machine_run(m, t), STOP_TICK);
    assert_int_equal(machine_probe_tally(m)->hits, 1);
}

static void delivery_makes_a_place_of_its_own(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){.vaddr = HANDLER, .kinds = PROBE_EXEC}, PROBE_STOP);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    struct machine_place place = machine_place(m);
    assert_int_equal(rip(m), 0x30);
    assert_int_equal(place.tick, 27 + 2);
    assert_int_equal(place.deliveries, 1);
    machine_probe_mode(m, PROBE_STOP, true);
    assert_int_equal(machine_run(m, place.tick + 1), STOP_TICK);
    assert_int_equal(rip(m), 0x34);
    assert_int_equal(machine_place(m).deliveries, 0);
}

static void the_push_of_a_delivery_stops_in_the_handler(void **state)
{
    struct machine *m = *state;
    arm(m, (struct probe){0x6ffe, 2, PROBE_WRITE}, PROBE_STOP);
    assert_int_equal(machine_run(m, 10000), STOP_PROBE);
    assert_int_equal(rip(m), 0x30);
    assert_int_equal(machine_probe_tally(m)->last.place.tick, 29);
    assert_int_equal(machine_probe_tally(m)->last.place.deliveries, 0);
}

static void stopping_at_a_place_finds_it(void **state)
{
    struct machine *m = *state;
    struct machine_place place = {29, 1};
    assert_int_equal(machine_run(m, 29), STOP_TICK);
    assert_int_equal(rip(m), 0x27);
    machine_stop_at(m, &place);
    assert_int_equal(machine_run(m, 30), STOP_PROBE);
    assert_int_equal(rip(m), 0x30);
    machine_stop_at(m, NULL);
    assert_int_equal(machine_run(m, 30), STOP_TICK);
    assert_int_equal(rip(m), 0x34);
}

static void probes_do_not_show(void **state)
{
    struct machine *m = *state;
    void *other;
    const struct probe list[] = {{0x1000, 8, PROBE_READ | PROBE_WRITE},
                                 {0x6ff0, 16, PROBE_READ | PROBE_WRITE},
                                 {.vaddr = LOOP, .kinds = PROBE_EXEC},
                                 {.vaddr = HANDLER, .kinds = PROBE_EXEC},
                                 {.vaddr = REP, .kinds = PROBE_EXEC}};
    assert_int_equal(make(&other), 0);
    assert_int_equal(machine_run(other, 100000), STOP_TICK);
    machine_set_probes(m, list, 5);
    unsigned stops = 0;
    machine_probe_mode(m, PROBE_STOP, false);
    while (machine_run(m, 100000) == STOP_PROBE) {
        machine_probe_mode(m, PROBE_STOP, true);
        stops++;
    }
    assert_true(stops > 20000);
    struct digest a = machine_digest(m), b = machine_digest(other);
    assert_memory_equal(&a, &b, sizeof a);
    machine_free(other);
}

static void single_stops_do_not_show(void **state)
{
    struct machine *m = *state;
    void *other;
    assert_int_equal(make(&other), 0);
    assert_int_equal(machine_run(other, 3000), STOP_TICK);
    struct machine_place place = {0, 0};
    while (machine_tick(m) < 3000) {
        machine_stop_at(m, &place);
        (void)machine_run(m, 3000);
        place = machine_place(m);
        place.deliveries++;
    }
    machine_stop_at(m, NULL);
    struct digest a = machine_digest(m), b = machine_digest(other);
    assert_memory_equal(&a, &b, sizeof a);
    machine_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        T(execution_stops_in_front_of_the_instruction),
        T(writes_stop_behind_and_are_placed_in_front),
        T(reads_and_writes_are_told_apart),
        T(a_repeated_instruction_stops_between_iterations),
        T(a_repeated_instruction_is_executed_once),
        T(delivery_makes_a_place_of_its_own),
        T(the_push_of_a_delivery_stops_in_the_handler),
        T(stopping_at_a_place_finds_it),
        T(probes_do_not_show),
        T(single_stops_do_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
