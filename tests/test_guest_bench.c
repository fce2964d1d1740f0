/* The benchmarks' guests, briefly: each kernel of bench/guests verifies its own
 * sums, and the Linux workloads must compute what the host computes. What they
 * are for, the time, is not looked at. */
#include "lib_program.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STATUS_PASSED = 33, UNITS_AT = 0xfff8 };

static char root[1024]; /* of the sources: where the tests are started */

/* A copy of the kernel that does two units, on each engine. */
static void check_kernel(struct lab *lab, const char *path)
{
    static const char *const engines[] = {
        "--engine interp", "--engine auto",
        "--engine auto --jit-threshold 1 --stress-block 3"};
    char state[64] = "", again[64];
    lab_run(lab,
            "cp %s kernel && printf '\\002\\0\\0\\0' | "
            "dd of=kernel bs=1 seek=%d conv=notrunc",
            path, UNITS_AT);
    lab_assert_status(lab, 0);
    for (unsigned i = 0; i < sizeof engines / sizeof *engines; i++) {
        lab_run(lab,
                "$R run --bios kernel --vgabios none --mem 64M --until 20s "
                "--serial file:serial --debugcon stdio "
                "--rtc 2026-01-31T12:00:00 %s $S",
                engines[i]);
        lab_assert_text(lab, ": ok, checks passed");
        lab_assert_status(lab, STATUS_PASSED);
        lab_state(lab, again);
        if (i > 0)
            assert_string_equal(state, again);
        memcpy(state, again, sizeof state);
    }
    lab_run(lab, "cat serial");
    lab_assert_text(lab, "<\n>\n+ ok 0 0\n");
}

static void kernels(void **state)
{
    struct lab *lab = *state;
    char pattern[sizeof lab->guests + 32];
    glob_t found;
    (void)snprintf(pattern, sizeof pattern, "%s/../bench/*-[36][24].bin",
                   lab->guests);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 22);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_kernel(lab, found.gl_pathv[i]);
    globfree(&found);
}

static void kernel_that_errs_is_noticed(void **state)
{
    struct lab *lab = *state;
    /* The sum that alu-64 compares with is part of an instruction. */
    lab_run(lab, "sed 's/\\xf6\\x8f\\xa1\\x8c/\\xf6\\x8f\\xa1\\x8d/g' "
                 "$G/../bench/alu-64.bin >bad && ! cmp -s bad "
                 "$G/../bench/alu-64.bin");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R run --bios bad --vgabios none --mem 64M --until 20s "
                 "--debugcon stdio");
    lab_assert_text(lab, "alu: check at line");
    lab_assert_status(lab, 35);
}

static void linux_workloads(void **state)
{
    struct lab *lab = *state;
    lab_needs(lab, "vmlinuz-amd64");
    lab_run(lab,
            "'%s/bench/linux.sh' --build $G/.. --rounds 1 --scale 0.01 "
            "--modes run --peers none --keep samples",
            root);
    lab_assert_status(lab, 0);
    lab_assert_no_text(lab, "WRONG");
    lab_run(lab, "grep -c run-auto samples; grep -c native samples");
    lab_assert_text(lab, "15\n15\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels),
        cmocka_unit_test(kernel_that_errs_is_noticed),
        cmocka_unit_test(linux_workloads),
    };
    if (!getcwd(root, sizeof root))
        return 1;
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
