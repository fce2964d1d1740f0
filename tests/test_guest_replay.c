/* Replay is exact: many short sessions with random keyboard, mouse and serial
 * input and disk activity, under changing load of the host, and stops, saves
 * and loads at random ticks. */
#include "lib_program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RUNS = 100, SAVES = 25, STOPS = 25, DISK_BYTES = 64 * 512 };

#define ECHO                                                                  \
    "--bios $G/echo.bin --vgabios none --mem 16M --disk disk.img --rtc "      \
    "2026-01-31T12:00:00"

static void make_disk(void)
{
    uint8_t bytes[DISK_BYTES];
    for (unsigned i = 0; i < DISK_BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    lab_write_bytes("disk.img", bytes, sizeof bytes);
}

/* 10 to 40 actions within 350 ms of guest time. */
static void random_script(const char *path)
{
    static const char *const keys[] = {"a", "shift-b", "ctrl-alt-del", "f1",
                                       "enter", "left"};
    static const char *const buttons[] = {"left", "right", "middle"};
    unsigned at = 0, count = 10 + (unsigned)(lab_random() % 31);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("wait serial \"ready\" within 2s\n", f);
    for (unsigned i = 0; i < count; i++) {
        at += (unsigned)(lab_random() % (350000 / count));
        fprintf(f, "at %uus ", 20000 + at);
        switch (lab_random() % 5) {
        case 0:
            fprintf(f, "key %s\n", keys[lab_random() % 6]);
            break;
        case 1:
            fprintf(f, "mouse move %d %d\n", (int)(lab_random() % 300) - 150,
                    (int)(lab_random() % 300) - 150);
            break;
        case 2:
            fprintf(f, "mouse down %s\n", buttons[lab_random() % 3]);
            break;
        case 3:
            fprintf(f, "mouse up\n");
            break;
        default:
            fprintf(f, "serial \"%c%c\\n\"\n",
                    (int)('A' + lab_random() % 26),
                    (int)('A' + lab_random() % 26));
        }
    }
    assert_int_equal(fclose(f), 0);
}

static void hundred_recordings_replay_exactly(void **state)
{
    struct lab *lab = *state;
    char recorded[64], replayed[64];
    make_disk();
    for (unsigned i = 0; i < RUNS; i++) {
        pid_t load = 0;
        if (i % 3 == 0)
            load = lab_spawn(lab, "/dev/null", "sh -c 'while :; do :; done'");
        random_script("in.txt");
        lab_run(lab, "rm -rf s; $R record -o s " ECHO
                     " --input in.txt --serial file:out.txt");
        if (load) {
            (void)kill(-load, SIGKILL);
            (void)kill(load, SIGKILL);
        }
        lab_assert_status(lab, 33);
        lab_state(lab, recorded);
        if (load) {
            lab_wait(lab, load);
        }
        if (i % 3 == 1)
            load = lab_spawn(lab, "/dev/null", "sh -c 'while :; do :; done'");
        else
            load = 0;
        lab_run(lab, "$R replay s $S --serial - >again.txt && "
                     "cmp out.txt again.txt");
        if (load) {
            (void)kill(-load, SIGKILL);
            (void)kill(load, SIGKILL);
        }
        lab_assert_text(lab, "all equal");
        lab_assert_status(lab, 0);
        lab_state(lab, replayed);
        assert_string_equal(recorded, replayed);
        if (load)
            lab_wait(lab, load);
    }
}

static void same_script_and_clock_give_the_same_session(void **state)
{
    struct lab *lab = *state;
    char first[64], second[64];
    make_disk();
    random_script("in.txt");
    lab_run(lab, "rm -rf s; $R record -o s " ECHO " --input in.txt");
    lab_state(lab, first);
    lab_run(lab, "$R run " ECHO " --input in.txt $S");
    lab_state(lab, second);
    assert_string_equal(first, second);
}

static void saving_and_loading_changes_nothing(void **state)
{
    struct lab *lab = *state;
    char straight[64], saved[64];
    make_disk();
    for (unsigned i = 0; i < SAVES; i++) {
        random_script("in.txt");
        lab_run(lab, "rm -rf s; $R record -o s " ECHO " --input in.txt");
        lab_assert_status(lab, 33);
        lab_state(lab, straight);
        unsigned long long step = 2000000 + lab_random() % 30000000;
        lab_run(lab, "$R replay s --stress-save %llu", step);
        if (lab->status != 0)
            print_error("with --stress-save %llu:\n", step);
        lab_assert_status(lab, 0);
        lab_state(lab, saved);
        assert_string_equal(straight, saved);
    }
}

static void stopping_anywhere_gives_one_state_per_tick(void **state)
{
    struct lab *lab = *state;
    char plain[64], stressed[64];
    make_disk();
    random_script("in.txt");
    lab_run(lab, "rm -rf s; $R record -o s " ECHO " --input in.txt");
    unsigned long long ticks = lab_figure(lab, "ticks");
    for (unsigned i = 0; i < STOPS; i++) {
        unsigned long long at = lab_random() % ticks;
        lab_run(lab, "$R replay s --until %llu", at);
        lab_assert_status(lab, 0);
        assert_true(lab_figure(lab, "ticks") == at);
        lab_state(lab, plain);
        lab_run(lab,
                "$R replay s --until %llu --stress-tlb 1 --stress-block 1 "
                "--stress-save 7777777",
                at);
        lab_assert_status(lab, 0);
        lab_state(lab, stressed);
        assert_string_equal(plain, stressed);
    }
}

static double host_seconds(struct lab *lab)
{
    const char *at = strstr(lab->text, " guest s, ");
    lab_assert_status(lab, 0);
    assert_non_null(at);
    return strtod(at + strlen(" guest s, "), NULL);
}

/* Four seconds of a guest that waits for input, recorded at its own pace. */
static void idle_time_is_not_waited_for_again(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "rm -rf s; $R record -o s --disk $G/disk_text.bin --mem 32M "
                 "--pace real --until 4s");
    assert_true(host_seconds(lab) > 3.5);
    lab_run(lab, "$R replay s");
    assert_true(host_seconds(lab) < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hundred_recordings_replay_exactly),
        cmocka_unit_test(same_script_and_clock_give_the_same_session),
        cmocka_unit_test(saving_and_loading_changes_nothing),
        cmocka_unit_test(stopping_anywhere_gives_one_state_per_tick),
        cmocka_unit_test(idle_time_is_not_waited_for_again),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
