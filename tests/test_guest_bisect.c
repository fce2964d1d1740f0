/* Bisecting finds what it is to find: in a program that does one instruction
 * wrong, exactly that instruction, every time; and the tick at which a
 * condition comes true. $RELIVE_PLANTS is the number of faults of each kind
 * (5). */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    FIRST_TICK = 32000,
    LAST_TICK = 300000
}; /* of the guest's work, with an interrupt behind */

static const char *const kinds[] = {"flag", "store", "interrupt", "x87"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void need_session(struct lab *lab)
{
    lab_needs(lab, "parting.bin");
    lab_run(lab, "test -d s || $R record -o s --bios $G/parting.bin "
                 "--vgabios none --mem 4M --pace max "
                 "--rtc 2026-01-31T12:00:00");
    assert_true(lab->status == 33 || lab->status == 0);
}

/* The program with a fault, beside this test. */
static const char *planted(const struct lab *lab)
{
    static char path[1200];
    const char *slash = strrchr(lab->relive, '/');
    (void)snprintf(path, sizeof path, "%.*s/tests/relive-plant",
                   (int)(slash - lab->relive), lab->relive);
    return path;
}

static unsigned plants(void)
{
    const char *text = getenv("RELIVE_PLANTS");
    return text ? (unsigned)strtoul(text, NULL, 10) : 5;
}

static unsigned long long after(const struct lab *lab, const char *name)
{
    const char *at = strstr(lab->text, name);
    if (!at)
        fail_msg("no %s in: %s", name, lab->text);
    return strtoull(at + strlen(name), NULL, 10);
}

/* The answer to a bisect names what the program with the fault has written to
 * the file `log`. */
static void check_answer(struct lab *lab, const char *kind)
{
    unsigned long long tick;
    char pc[20], line[40];
    size_t bytes;
    char *log = lab_read("log", &bytes);
    if (sscanf(log, "%llu %19s", &tick, pc) != 2)
        fail_msg("log: %s", log);
    free(log);
    lab_assert_status(lab, 1);
    (void)snprintf(line, sizeof line, "%llu  %s", tick, pc);
    if (after(lab, "\"last_equal\": ") != tick ||
        after(lab, "\"tick\": ") != tick + 1 ||
        after(lab, "\"block\": ") != 1 ||
        !strstr(lab->text, "\"exact\": true") || !strstr(lab->text, line))
        fail_msg("%s planted at %s, found: %s", kind, line, lab->text);
}

static unsigned long long random_tick(void)
{
    return FIRST_TICK + lab_random() % (LAST_TICK - FIRST_TICK);
}

static void every_planted_instruction_is_named(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < plants(); i++) {
            lab_run(lab,
                    "rm -f log; RELIVE_PLANT_LOG=$PWD/log %s --plant %llu:%s "
                    "bisect s --engines interp,jit --json",
                    planted(lab), random_tick(), kinds[k]);
            check_answer(lab, kinds[k]);
        }
}

static void another_build_is_told_apart(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    for (unsigned k = 0; k < KINDS; k++) {
        lab_run(lab,
                "rm -f log; RELIVE_PLANT_LOG=$PWD/log RELIVE_PLANT=%llu:%s "
                "$R bisect s --against %s --json",
                random_tick(), kinds[k], planted(lab));
        check_answer(lab, kinds[k]);
    }
    lab_run(lab, "$R bisect s --against $R --every 1000");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "no difference from tick 0 to ");
    lab_assert_text(lab, "compared every 1000 ticks");
}

static void the_answer_shows_code_and_state(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    lab_run(lab,
            "RELIVE_PLANT_LOG=$PWD/log %s --plant 100000:interrupt bisect s "
            "--engines interp,jit",
            planted(lab));
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "interp and jit differ at tick ");
    lab_assert_text(lab, "the instruction between them, by interp:");
    lab_assert_text(lab, "+1  00000000000037d8  pushad"); /* the handler */
    lab_assert_text(lab, "cpu.flags: 0x00000000, 0x00000200");
    lab_assert_text(lab, "memory at physical address 0xefcc: ");
    lab_assert_text(lab, "relive debug s --at ");
}

static void engines_do_not_differ(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    lab_run(lab, "$R bisect s --engines interp,jit");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "compared every 1 ticks");
}

static unsigned long long when(struct lab *lab, const char *expression,
                               const char *options)
{
    lab_run(lab, "$R bisect s --json %s --when '%s'", options, expression);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "\"found\": true");
    return after(lab, "\"tick\": ");
}

/* Stores, executions, steps and halving find the same. */
static void conditions_are_found_in_every_way(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    unsigned long long halved = when(lab, "[u32 0x37b0] >= 3", "--from 40000");
    unsigned long long stored =
        when(lab, "[u32 0x37b0] >= 3", "--from 40000 --first");
    unsigned long long stepped =
        when(lab, "[phys u32 0x37b0] >= 3", "--from 40000 --first");
    assert_int_equal(halved, stored);
    assert_int_equal(halved, stepped);
    /* Not for good: the first of many times. */
    unsigned long long executed =
        when(lab, "pc == 0x38f1 && ecx > 5", "--first");
    unsigned long long walked =
        when(lab, "eip == 0x38f1 && ecx > 5", "--first");
    assert_int_equal(executed, walked);
    assert_int_equal(when(lab, "tick > 77", ""), 78);
    assert_int_equal(when(lab, "tick > 77", "--first"), 78);
}

static void what_never_holds_is_said(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    lab_run(lab, "$R bisect s --when 'pc == 0x38f1'");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "--first finds it");
    lab_run(lab, "$R bisect s --when 'cr3 == 7' --first");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "never holds from tick 0 to ");
}

/* The tick in front of an instruction that adds to a table, whose loss lasts.
 */
static unsigned long long lasting_store(struct lab *lab)
{
    return when(lab, "[u32 pc] == 0x950401", "--first --from 100000");
}

/* A replay that differs says which command finds the instruction; it does. */
static void replay_names_the_command_that_narrows(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    unsigned long long tick = lasting_store(lab);
    const char *relive_plant = planted(lab);
    lab_run(lab, "%s --plant %llu:store replay s", relive_plant, tick);
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "replay differs from the recording: ");
    lab_assert_text(lab, "engine interp gives what was recorded");
    const char *command = strstr(lab->text, "relive bisect s --engines ");
    assert_non_null(command);
    char words[200];
    (void)snprintf(words, sizeof words, "%.*s", (int)strcspn(command, "\n"),
                   command);
    lab_run(lab, "%s --plant %llu:store %s --json", relive_plant, tick,
            words + strlen("relive "));
    lab_assert_status(lab, 1);
    assert_int_equal(after(lab, "\"last_equal\": "), tick);
    assert_non_null(strstr(lab->text, "add [edx*4+0x"));
}

static void a_recording_of_another_build_is_told(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    lab_run(lab,
            "rm -rf p; %s --plant %llu:store record -o p "
            "--bios $G/parting.bin --vgabios none --mem 4M --pace max "
            "--rtc 2026-01-31T12:00:00",
            planted(lab), lasting_store(lab));
    lab_assert_status(lab, 33);
    lab_run(lab, "$R replay p");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "engine interp differs too");
    lab_assert_text(lab, "relive bisect p --against PROGRAM --from 0 --to ");
}

/* ---- two recordings ---------------------------------------------------------
 */

static void make_disk(const char *path, char filling)
{
    char bytes[64 * 512];
    memset(bytes, filling, sizeof bytes);
    lab_write_bytes(path, bytes, sizeof bytes);
}

static void record_echo(struct lab *lab, const char *name, const char *disk,
                        const char *input)
{
    lab_needs(lab, "echo.bin");
    lab_write("in.txt",
              "wait serial \"ready\" within 2s\nat 30ms serial \"b\"\n%s\n",
              input);
    lab_run(lab,
            "$R record -o %s --bios $G/echo.bin --vgabios none --mem 16M "
            "--disk %s --rtc 2026-01-31T12:00:00 --pace max --input in.txt",
            name, disk);
    lab_assert_status(lab, 33);
}

static void recordings_part_by_an_event(void **state)
{
    struct lab *lab = *state;
    make_disk("d1", 'a');
    record_echo(lab, "e1", "d1", "at 40ms serial \"x\"");
    record_echo(lab, "e2", "d1", "at 41ms serial \"x\"");
    record_echo(lab, "e3", "d1", "");
    record_echo(lab, "e4", "d1", "at 40ms serial \"x\"");
    lab_run(lab, "$R diff e1 e2");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "they part at tick 40000000, by what came from "
                         "outside; 1 events before it are equal");
    lab_assert_text(lab, "  e1: tick 40000000: serial \"x\"");
    lab_assert_text(lab, "  e2: tick 41000000: serial \"x\"");
    lab_run(lab, "$R diff e1 e3");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "  e3: no more, up to its end at tick ");
    lab_run(lab, "$R diff e1 e4");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "no difference: 2 events and ");
}

/* They part when a drive has read. */
static void recordings_part_by_their_disks(void **state)
{
    struct lab *lab = *state;
    make_disk("d1", 'a');
    make_disk("d2", 'z');
    record_echo(lab, "f1", "d1", "at 40ms serial \"x\"");
    record_echo(lab, "f2", "d2", "at 40ms serial \"x\"");
    lab_run(lab, "$R diff f1 f2 --every 100000");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "disk0: other contents: ");
    lab_assert_text(lab, "they part in state, although the same came from ");
    lab_assert_text(lab, "f1 and f2 differ at tick ");
    lab_assert_text(lab, "IDE  byte 346: 61, 7a"); /* the drive's buffer */
}

static void recordings_of_two_builds_part_in_a_window(void **state)
{
    struct lab *lab = *state;
    need_session(lab);
    lab_run(lab,
            "rm -rf q; %s --plant %llu:store record -o q "
            "--bios $G/parting.bin --vgabios none --mem 4M --pace max "
            "--rtc 2026-01-31T12:00:00",
            planted(lab), lasting_store(lab));
    lab_run(lab, "$R diff s q --every 10000");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "memory digests differ at tick ");
    lab_assert_text(lab, "this build runs both alike");
    lab_run(lab, "$R diff s s");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R diff s");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

static void bad_questions_get_one_sentence(void **state)
{
    static const char *const lines[] = {
        "",
        "--engines interp",
        "--engines interp,jit --when 1",
        "--engines interp,jat",
        "--against /nowhere/relive",
        "--against /bin/true",
        "--when '1 +'",
        "--every 0",
        "--engines interp,jit --from 999999999"};
    struct lab *lab = *state;
    need_session(lab);
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        lab_run(lab, "$R bisect s %s", lines[i]);
        lab_assert_status(lab, 2);
        lab_assert_one_sentence(lab);
    }
    lab_run(lab, "printf 'run 5 4 3 0 0\\nstate\\nframe 99999999\\n' | "
                 "$R states s");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "relive-states 1 relive ");
    lab_assert_text(lab, "error run: expected START <= FROM <= TO");
    lab_assert_text(lab, "error expected run, devices");
    lab_assert_text(lab, "error frame: expected the number of a frame");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_planted_instruction_is_named),
        cmocka_unit_test(another_build_is_told_apart),
        cmocka_unit_test(the_answer_shows_code_and_state),
        cmocka_unit_test(engines_do_not_differ),
        cmocka_unit_test(conditions_are_found_in_every_way),
        cmocka_unit_test(what_never_holds_is_said),
        cmocka_unit_test(replay_names_the_command_that_narrows),
        cmocka_unit_test(a_recording_of_another_build_is_told),
        cmocka_unit_test(recordings_part_by_an_event),
        cmocka_unit_test(recordings_part_by_their_disks),
        cmocka_unit_test(recordings_of_two_builds_part_in_a_window),
        cmocka_unit_test(bad_questions_get_one_sentence),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
