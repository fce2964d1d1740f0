/* The conformance guests of tests/guests: each checks itself, ends with status
 * 33, and reaches the same state in a replay and under stress options. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { STATUS_PASSED = 33 };

#define MACHINE "--mem 64M --vgabios none --rtc 2026-01-31T12:00:00 --until 20s"

static void check(struct lab *lab, const char *name)
{
    char state[64], again[64];
    static const char *const stress[] = {
        "--stress-tlb 1", "--stress-block 1", "--stress-save 1009",
        "--stress-tlb 1 --stress-block 1 --stress-save 100003",
        "--engine interp", "--engine tier1 --jit-threshold 1",
        "--engine tier1 --jit-threshold 1 --jit-cache 1M --stress-save 4001",
        "--engine tier2 --jit-threshold 1 --jit-tier2-threshold 1 --jit-wait",
        "--engine tier2 --jit-threshold 2 --jit-tier2-threshold 70 "
        "--stress-tlb 1"};
    lab_run(lab, "$R run --bios $G/%s.bin " MACHINE " --debugcon stdio $S",
            name);
    lab_assert_text(lab, ": ok, checks passed");
    lab_assert_status(lab, STATUS_PASSED);
    lab_state(lab, state);
    for (unsigned i = 0; i < sizeof stress / sizeof *stress; i++) {
        lab_run(lab, "$R run --bios $G/%s.bin " MACHINE " %s", name, stress[i]);
        lab_assert_status(lab, STATUS_PASSED);
        lab_state(lab, again);
        assert_string_equal(state, again);
    }
    lab_run(lab, "rm -rf %s; $R record -o %s --bios $G/%s.bin " MACHINE, name,
            name, name);
    lab_assert_status(lab, STATUS_PASSED);
    lab_state(lab, again);
    assert_string_equal(state, again);
    lab_run(lab, "$R replay %s $S", name);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
    lab_state(lab, again);
    assert_string_equal(state, again);
}

#define GUEST_TEST(name)                     \
    static void guest_##name(void **state) \
    {                                        \
        check(*state, #name);                \
    }
#include "test_guest_asm.def"
#undef GUEST_TEST

int main(void)
{
    const struct CMUnitTest tests[] = {
#define GUEST_TEST(name) cmocka_unit_test(guest_##name),
#include "test_guest_asm.def"
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
