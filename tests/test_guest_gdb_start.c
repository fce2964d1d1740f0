/* relive debug --gdb from the outside: where it puts what it gives gdb to start
 * with, and that it takes it away again. A script stands in for gdb. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* A recording, and a gdb that tells where its files are and ends. */
static void prepare(struct lab *lab)
{
    lab_run(lab, "test -d s || $R record -o s --bios $G/irq.bin --vgabios none "
                 "--mem 16M --rtc 2026-01-31T12:00:00");
    lab_run(lab, "mkdir -p bin tmp");
    lab_write("bin/gdb", "#!/bin/sh\n"
                         "echo \"arguments: $*\"\n"
                         "dir=$(dirname \"$3\")\n"
                         "echo \"rights $(stat -c %%a \"$dir\")\"\n"
                         "echo \"in $(dirname \"$dir\")\"\n"
                         "test -S \"$dir/socket\" && echo a socket\n"
                         "grep -c hookpost-monitor \"$3\"\n"
                         "echo \"$dir\" >started\n");
    lab_run(lab, "chmod +x bin/gdb; rm -f started");
    lab_assert_status(lab, 0);
}

static void debug(struct lab *lab, const char *environment)
{
    lab_run(lab, "env %s PATH=\"$PWD/bin:$PATH\" $R debug s --gdb",
            environment);
}

static void files_are_where_tmpdir_says(void **state)
{
    struct lab *lab = *state;
    char in[300];
    prepare(lab);
    debug(lab, "TMPDIR=\"$PWD/tmp\"");
    (void)snprintf(in, sizeof in, "in %s/tmp\n", lab->dir);
    lab_assert_text(lab, in);
    lab_assert_text(lab, "arguments: -q -x ");
    lab_assert_text(lab, " -ex target remote ");
    lab_assert_text(lab, "rights 700\n");
    lab_assert_text(lab, "a socket\n1\n");
    lab_run(lab, "test -s started && ls -A tmp");
    lab_assert_status(lab, 0);
    assert_string_equal(lab->text, "");
}

static void files_are_in_tmp_without_tmpdir(void **state)
{
    static const char *const environments[] = {"-u TMPDIR", "TMPDIR="};
    struct lab *lab = *state;
    for (unsigned n = 0; n < 2; n++) {
        prepare(lab);
        debug(lab, environments[n]);
        lab_assert_text(lab, "in /tmp\n");
        lab_assert_text(lab, "a socket\n1\n");
        lab_run(lab, "test -s started && test ! -e \"$(cat started)\"");
        lab_assert_status(lab, 0);
    }
}

static void a_tmpdir_that_does_not_do_is_refused(void **state)
{
    struct lab *lab = *state;
    prepare(lab);
    debug(lab, "TMPDIR=\"$PWD/missing\"");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_assert_text(lab, "/missing: No such file");
    /* A socket's path has 107 bytes: 27 behind TMPDIR, so 80 of it go. */
    lab_run(lab, "rm -f long; ln -s /tmp long");
    debug(lab, "TMPDIR=./long$(printf '/%.0s' $(seq 75))");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_assert_text(lab, "expected a TMPDIR of at most 80 bytes");
    lab_run(lab, "test ! -e started");
    lab_assert_status(lab, 0);
    debug(lab, "TMPDIR=./long$(printf '/%.0s' $(seq 74))");
    lab_assert_text(lab, "a socket\n1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_where_tmpdir_says),
        cmocka_unit_test(files_are_in_tmp_without_tmpdir),
        cmocka_unit_test(a_tmpdir_that_does_not_do_is_refused),
    };
    return cmocka_run_group_tests_name("starting gdb", tests, lab_open,
                                       lab_close);
}
