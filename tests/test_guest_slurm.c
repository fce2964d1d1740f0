/* scripts/slurm-verify.sh: with an sbatch of the test's own, which runs the
 * tasks one after the other, and with Debian's Slurm where it can run. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The source is above the guests' directory, as `make test` has it. */
#define VERIFY "RELIVE=$R $G/../../scripts/slurm-verify.sh"
#define NODE   "$G/../../tests/slurm_node.sh"

static void prepare(struct lab *lab)
{
    lab_run(lab, "test -x $G/../../scripts/slurm-verify.sh");
    if (lab->status != 0)
        skip();
    lab_run(lab, "test -d s && exit; head -c 32768 $G/disk_text.bin >disk.img; "
                 "$R record -o s --bios $G/echo.bin --vgabios none --mem 16M "
                 "--disk disk.img --snapshot-interval 200ms; mkdir bin");
    lab_write("bin/sbatch",
              "#!/bin/bash\nfor word; do case $word in\n"
              "--array=1-*) last=${word##*-} ;;\n"
              "--unheard-of) echo 'sbatch: error' >&2; exit 1 ;;\nesac\n"
              "script=$word\ndone\necho 7\n"
              "for i in $(seq $last); do SLURM_ARRAY_TASK_ID=$i bash $script "
              ">/dev/null 2>&1 || exit; done\n");
    lab_run(lab, "chmod +x bin/sbatch");
}

static void shares_are_counted(void **state)
{
    struct lab *lab = *state;
    prepare(lab);
    lab_run(lab, "PATH=$PWD/bin:$PATH " VERIFY " s 3");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "s: 3 shares equal, 0 different, 0 not verified");
    lab_run(lab, "grep -h 'all equal' s.verify/share-*.txt | wc -l");
    lab_assert_text(lab, "3");
}

static void shares_that_differ_or_fail_are_told(void **state)
{
    struct lab *lab = *state;
    prepare(lab);
    /* A program that says of the second share that it differs. */
    lab_write("differs", "#!/bin/bash\ncase $4 in 2/*) echo 'it differs'; "
                         "exit 1 ;; esac\nexit 0\n");
    lab_run(lab, "chmod +x differs; PATH=$PWD/bin:$PATH RELIVE=$PWD/differs "
                 "$G/../../scripts/slurm-verify.sh s 3");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "share 2 of 3, status 1: it differs");
    lab_assert_text(lab, "2 shares equal, 1 different, 0 not verified");
    lab_run(lab, "mv disk.img gone; PATH=$PWD/bin:$PATH " VERIFY
                 " s 2; status=$?; mv gone disk.img; exit $status");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "share 1 of 2, status 2: relive: ");
    lab_assert_text(lab, "0 shares equal, 0 different, 2 not verified");
}

static void bad_arguments_are_one_sentence(void **state)
{
    struct lab *lab = *state;
    prepare(lab);
    lab_run(lab, VERIFY " nothing 3");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "nothing: no such session");
    lab_run(lab, VERIFY " s 0");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "expected a number from 1, found '0'");
    lab_run(lab, "PATH=$PWD/bin:$PATH " VERIFY " s 1 --unheard-of");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "the job could not be run");
}

static void slurm_itself_runs_the_shares(void **state)
{
    struct lab *lab = *state;
    prepare(lab);
    lab_run(lab, NODE " start node >node.txt 2>&1");
    bool is_there = lab->status == 0;
    if (is_there)
        lab_run(lab, "SLURM_CONF=$PWD/node/slurm.conf " VERIFY " s 4");
    int status = lab->status;
    char *text = lab->text;
    lab->text = NULL;
    lab_run(lab, NODE " stop node");
    if (!is_there) {
        free(text);
        skip();
    }
    free(lab->text);
    lab->text = text;
    lab->status = status;
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "s: 4 shares equal, 0 different, 0 not verified");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_counted),
        cmocka_unit_test(shares_that_differ_or_fail_are_told),
        cmocka_unit_test(bad_arguments_are_one_sentence),
        cmocka_unit_test(slurm_itself_runs_the_shares),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
