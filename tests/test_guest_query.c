/* relive query as users type it: options, marks, limits, and a prompt. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void record(struct lab *lab)
{
    lab_run(lab, "test -d s || $R record -o s --bios $G/irq.bin --vgabios none "
                 "--mem 16M --rtc 2026-01-31T12:00:00");
}

static void code_prints_what_it_returns(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "$R query s -e '1 + 1'");
    lab_assert_status(lab, 0);
    assert_string_equal(lab->text, "2\n");
    lab_run(lab, "$R query s --json -e '{b = 1, a = {true}}'");
    assert_string_equal(lab->text, "{\"a\":[true],\"b\":1}\n");
    lab_run(lab, "$R query s --at 1000 -e 'session:at().tick'");
    assert_string_equal(lab->text, "1000\n");
    lab_run(lab, "$R query s --at end "
                 "-e 'session:at().tick == session.length'");
    assert_string_equal(lab->text, "true\n");
    lab_run(lab, "$R query s -e 'error(\"this does not go\")'");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R query s -e 'for'");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

static void words_behind_a_script_are_its_own(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_write("lib.lua", "return {twice = function(n) return 2 * n end}\n");
    lab_write("a.lua", "#!/usr/bin/relive\n"
                       "print(#arg, arg[0], ...)\n"
                       "print(require('lib').twice(21))\n"
                       "exit(5)\n");
    lab_run(lab, "$R query s --engine interp a.lua --json -x y");
    lab_assert_status(lab, 5);
    assert_string_equal(lab->text, "3\ta.lua\t--json\t-x\ty\n42\n");
    lab_run(lab, "cd / && $R query $OLDPWD/s $OLDPWD/a.lua");
    lab_assert_text(lab, "42");
    lab_run(lab, "$R query s none.lua");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

static void limits_hold(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "$R query s --timeout 300ms -e 'while true do end'");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "stopped after 0.300 s (--timeout)");
    lab_assert_one_sentence(lab);
    /* A pattern that no hook can stop: the watchdog does. */
    lab_run(lab, "$R query s --timeout 100ms -e "
                 "'(\"a\"):rep(5000):find((\".-\"):rep(8) .. \"b\")'");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "(--timeout)");
    lab_run(lab, "$R query s --memory 8M -e 'local t = {} for i = 1, 1e8 do "
                 "t[i] = i end'");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "8 MiB that --memory allows");
    lab_run(lab, "timeout -s INT 1 $R query s -e 'while true do end'; "
                 "true");
    lab_assert_text(lab, "interrupted");
}

static void files_are_written_where_allowed(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "$R query s -e 'io.open(\"x\")'");
    lab_assert_status(lab, 2);
    lab_run(lab, "$R query s --allow-files --at end -e "
                 "'session:at():screen():png(\"p.png\") "
                 "io.open(\"x\", \"w\"):write(\"here\")' && cat x && "
                 "$R screenshot s --at 31000000 -o q.png >/dev/null; "
                 "head -c 8 p.png | od -An -tx1");
    lab_assert_text(lab, "here");
    lab_assert_text(lab, "89 50 4e 47 0d 0a 1a 0a");
}

static void marks_stay_and_the_recording_too(void **state)
{
    struct lab *lab = *state;
    char before[64], after[64];
    record(lab);
    lab_run(lab, "$R replay s");
    lab_state(lab, before);
    lab_run(lab, "$R query s -e 'session:mark(500, \"here\") "
                 "session:mark(\"end\", \"last\") session:mark(500, \"too\")'");
    lab_assert_status(lab, 0);
    lab_run(lab, "$R query s --json -e 'session:mark(3, \"x\")' -e "
                 "'session:marks()'");
    lab_assert_text(lab, "[{\"text\":\"here\",\"tick\":500},"
                         "{\"text\":\"too\",\"tick\":500},"
                         "{\"text\":\"last\",\"tick\":");
    lab_run(lab, "$R check s && $R replay s");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
    lab_state(lab, after);
    assert_string_equal(before, after);
    lab_run(lab, "$R trim s --from 0 --to 5000000 -o cut && "
                 "$R query cut --json -e 'session:marks()'");
    lab_assert_text(lab, "too");
    lab_assert_no_text(lab, "last");
    lab_run(lab, "$R query s -e 'session:mark(1 << 50, \"x\")'");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "behind the end");
}

static void lines_of_a_pipe_are_run(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "printf 'x = 6\\nfor i = 1, 2 do\\nprint(i * x)\\nend\\n"
                 "x * 7\\n' | $R query s");
    lab_assert_status(lab, 0);
    assert_string_equal(lab->text, "6\n12\n42\n");
    lab_run(lab, "printf 'error(1)\\nprint(2)\\n' | $R query s");
    lab_assert_status(lab, 2);
    lab_assert_text(lab, "2\n");
    lab_run(lab, "echo 'exit(9)' | $R query s");
    lab_assert_status(lab, 9);
}

/* A terminal: script(1) gives one. Tab completes, the history is kept. */
static void prompt_completes_and_remembers(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "export HOME=$PWD TERM=xterm; "
                 "(sleep 0.5; printf 'session.le\\t\\n'; sleep 0.3; "
                 "printf 'exit(3)\\n'; sleep 0.3) | "
                 "script -qec \"$R query s\" /dev/null");
    lab_assert_status(lab, 3);
    lab_run(lab, "$R query s -e session.length");
    lab_assert_status(lab, 0);
    lab_run(lab, "cat .relive_history");
    lab_assert_text(lab, "session.length");
}

static void other_sessions_open(void **state)
{
    struct lab *lab = *state;
    record(lab);
    lab_run(lab, "$R query s -e 'o = open(\"s\") a = o:at(5000) "
                 "b = session:at(5000) assert(a.regs.pc == b.regs.pc) "
                 "assert(o:at(9).tick == 9 and o.length == session.length) "
                 "print(a:digest().cpu == b:digest().cpu)'");
    assert_string_equal(lab->text, "true\n");
    lab_run(lab, "$R query s -e 'open(\"none\")'");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_prints_what_it_returns),
        cmocka_unit_test(words_behind_a_script_are_its_own),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(files_are_written_where_allowed),
        cmocka_unit_test(marks_stay_and_the_recording_too),
        cmocka_unit_test(lines_of_a_pipe_are_run),
        cmocka_unit_test(prompt_completes_and_remembers),
        cmocka_unit_test(other_sessions_open),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
