/* What may happen to a recorder and to a session: kills, full disks, changed
 * media, damage. Each ends in one clear sentence or a session that replays. */
#include "lib_program.h"

#include "replay/store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { KILLS = 20, FLIPS = 60, CUTS = 12, STATUS_BAD = 2 };

#define ECHO "--bios $G/echo.bin --vgabios none --mem 16M --disk disk.img"

static void record_echo(struct lab *lab, const char *session)
{
    lab_run(lab, "head -c 32768 $G/disk_text.bin >disk.img; rm -rf %s; "
                 "cp $G/echo.bin bios.bin; $R record -o %s --bios bios.bin "
                 "--vgabios none --mem 16M --disk disk.img",
            session, session);
    lab_assert_status(lab, 33);
}

static void killed_recorders_leave_sessions_that_replay(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "head -c 32768 $G/disk_text.bin >disk.img");
    for (unsigned i = 0; i < KILLS; i++) {
        useconds_t us = 150000 + (useconds_t)(lab_random() % 1850000);
        lab_run(lab, "rm -rf k");
        pid_t pid = lab_spawn(lab, "k.out",
                              "$R record -o k --bios $G/echo_long.bin "
                              "--vgabios none --mem 16M --disk disk.img "
                              "--pace %s",
                              i % 2 ? "real" : "max");
        (void)usleep(us);
        assert_int_equal(kill(pid, SIGKILL), 0);
        lab_wait(lab, pid);
        assert_int_equal(lab->status, 128 + SIGKILL);
        lab_run(lab, "$R info k");
        lab_assert_status(lab, 0);
        lab_assert_text(lab, "torn");
        lab_run(lab, "$R replay k $S");
        lab_assert_status(lab, 0);
        lab_assert_text(lab, "all equal");
        lab_assert_text(lab, "at the last commit of a torn recording");
        lab_run(lab, "$R check k");
        lab_assert_status(lab, 0);
    }
}

/* The limit of a file's size is what a full disk looks like to the store. */
static void full_disk_ends_the_recording_with_a_sentence(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "trap '' XFSZ; ulimit -f 6000; exec $R record -o full --bios "
                 "$G/flood.bin --vgabios none --mem 16M --until 60s");
    lab_assert_status(lab, STATUS_BAD);
    lab_assert_text(lab, "relive: ");
    lab_run(lab, "$R replay full $S");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
    assert_true(lab_figure(lab, "ticks") > 0);
    lab_run(lab, "$R check full");
    lab_assert_status(lab, 0);
}

static void a_real_full_file_system_does_the_same(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "mkdir -p small && mount -t tmpfs -o size=3m none small");
    if (lab->status != 0)
        skip(); /* not permitted here */
    lab_run(lab, "$R record -o small/s --bios $G/flood.bin --vgabios none "
                 "--mem 16M --until 60s");
    int status = lab->status;
    lab_run(lab, "$R replay small/s $S");
    int replay_status = lab->status;
    char *replay = strdup(lab->text);
    lab_run(lab, "umount small");
    assert_int_equal(status, STATUS_BAD);
    assert_int_equal(replay_status, 0);
    assert_non_null(strstr(replay, "all equal"));
    free(replay);
}

static void limit_of_the_recorder_ends_it_with_a_sentence(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "$R record -o limit --limit 2 --bios $G/flood.bin --vgabios "
                 "none --mem 16M --until 60s");
    lab_assert_status(lab, STATUS_BAD);
    lab_run(lab, "$R replay limit $S");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
}

static void refused(struct lab *lab, const char *command, const char *session)
{
    lab_run(lab, "$R %s %s", command, session);
    lab_assert_status(lab, STATUS_BAD);
    lab_assert_one_sentence(lab);
}

static void changed_disk_image_is_refused(void **state)
{
    struct lab *lab = *state;
    record_echo(lab, "image");
    lab_run(lab, "printf x | dd of=disk.img bs=1 seek=777 conv=notrunc");
    refused(lab, "replay", "image");
    lab_assert_text(lab, "disk.img");
    lab_run(lab, "printf more >>disk.img");
    refused(lab, "replay", "image");
    lab_run(lab, "rm disk.img");
    refused(lab, "replay", "image");
    lab_assert_text(lab, "disk.img");
}

static void changed_firmware_is_refused(void **state)
{
    struct lab *lab = *state;
    record_echo(lab, "firmware");
    lab_run(lab, "printf x | dd of=bios.bin bs=1 seek=60000 conv=notrunc");
    refused(lab, "replay", "firmware");
    lab_assert_text(lab, "bios.bin");
}

static void what_is_no_session_is_refused(void **state)
{
    static const char *const commands[] = {"replay", "info", "events", "check"};
    struct lab *lab = *state;
    lab_run(lab, "mkdir empty; mkdir text; echo no >text/data.mdb; echo >file; "
                 "mkdir zeros; head -c 100000 /dev/zero >zeros/data.mdb");
    for (unsigned i = 0; i < 4; i++) {
        refused(lab, commands[i], "empty");
        refused(lab, commands[i], "text");
        refused(lab, commands[i], "zeros");
        refused(lab, commands[i], "file");
        refused(lab, commands[i], "missing");
        refused(lab, commands[i], "/");
    }
}

static void newer_format_is_refused(void **state)
{
    struct lab *lab = *state;
    static const char name[] = "relive session"; /* and its NUL */
    uint8_t value[sizeof name + 4] = {0};
    struct store *store;
    struct store_batch batch;
    struct error err;
    memcpy(value, name, sizeof name);
    value[sizeof name] = 99; /* the version, little-endian */
    assert_true(store_create("newer", 0, &store, &err));
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, "format", 6, value, sizeof value);
    assert_true(store_commit(store, &batch, &err));
    store_batch_fini(&batch);
    store_close(store);
    refused(lab, "replay", "newer");
    lab_assert_text(lab, "99");
    refused(lab, "info", "newer");
}

/* Whatever was done to the bytes: no crash, and a refusal is one sentence. */
static void must_not_crash(struct lab *lab)
{
    static const char *const commands[] = {"check", "replay", "info", "events"};
    for (unsigned i = 0; i < 4; i++) {
        lab_run(lab, "$R %s damaged >damaged.out", commands[i]);
        if (lab->status == STATUS_BAD)
            lab_assert_one_sentence(lab);
        else if (lab->status != 0)
            lab_assert_status(lab, 1); /* the replay differed */
    }
}

static void truncated_sessions_are_told(void **state)
{
    struct lab *lab = *state;
    size_t bytes;
    record_echo(lab, "whole");
    char *data = lab_read("whole/data.mdb", &bytes);
    for (unsigned i = 0; i < CUTS; i++) {
        size_t keep = i == 0 ? bytes - 4096 : lab_random() % bytes;
        lab_run(lab, "rm -rf damaged; mkdir damaged");
        lab_write_bytes("damaged/data.mdb", data, keep);
        must_not_crash(lab);
        lab_run(lab, "$R check damaged");
        lab_assert_status(lab, STATUS_BAD);
    }
    free(data);
}

static void flipped_bits_never_crash(void **state)
{
    struct lab *lab = *state;
    size_t bytes;
    record_echo(lab, "whole");
    char *data = lab_read("whole/data.mdb", &bytes);
    for (unsigned i = 0; i < FLIPS; i++) {
        /* Half of them in the first pages, where the structure is. */
        size_t at = lab_random() % (i % 2 ? bytes : 8 * 4096);
        char bit = (char)(1 << lab_random() % 8);
        lab_run(lab, "rm -rf damaged; mkdir damaged");
        data[at] ^= bit;
        lab_write_bytes("damaged/data.mdb", data, bytes);
        must_not_crash(lab);
        data[at] ^= bit;
    }
    free(data);
}

/* To another machine, where none of the files that it was made from is. */
static void a_packed_session_needs_nothing_else(void **state)
{
    struct lab *lab = *state;
    char recorded[64], replayed[64];
    record_echo(lab, "sent");
    lab_state(lab, recorded);
    lab_run(lab, "$R pack sent --with-media && mkdir far away && "
                 "mv sent.relive far && mv disk.img bios.bin sent away");
    lab_assert_status(lab, 0);
    lab_run(lab, "cd far && $R unpack sent.relive -o here && rm sent.relive && "
                 "$R replay here $S && ls");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "all equal");
    lab_assert_no_text(lab, "bios.bin");
    lab_state(lab, replayed);
    assert_string_equal(recorded, replayed);
    lab_run(lab, "$R check far/here");
    lab_assert_status(lab, 0);
}

static void unwritable_and_existing_sessions_are_refused(void **state)
{
    struct lab *lab = *state;
    record_echo(lab, "there");
    lab_run(lab, "$R record -o there " ECHO);
    lab_assert_status(lab, STATUS_BAD);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R record -o no/such/place " ECHO);
    lab_assert_status(lab, STATUS_BAD);
    lab_assert_one_sentence(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_recorders_leave_sessions_that_replay),
        cmocka_unit_test(full_disk_ends_the_recording_with_a_sentence),
        cmocka_unit_test(a_real_full_file_system_does_the_same),
        cmocka_unit_test(limit_of_the_recorder_ends_it_with_a_sentence),
        cmocka_unit_test(changed_disk_image_is_refused),
        cmocka_unit_test(changed_firmware_is_refused),
        cmocka_unit_test(what_is_no_session_is_refused),
        cmocka_unit_test(newer_format_is_refused),
        cmocka_unit_test(truncated_sessions_are_told),
        cmocka_unit_test(flipped_bits_never_crash),
        cmocka_unit_test(a_packed_session_needs_nothing_else),
        cmocka_unit_test(unwritable_and_existing_sessions_are_refused),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
