/* Recording and replaying: what was recorded replays with equal digests, also
 * after kills, full disks and seeks; what differs is told apart. */
#include "lib_session.h"
#include "replay/check.h"
#include "replay/checkpoint.h"
#include "replay/info.h"
#include "replay/recorder.h"
#include "replay/replayer.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A BIOS that idles with HLT. Each timer interrupt (18.2 Hz) counts, scribbles
 * over memory, sends the count to port E9h, echoes one byte of COM1 and, when
 * that is 'q', leaves through isa-debug-exit. */
/* clang-format off */
static const uint8_t guest_code[] = {
    0xfa,                                  /* 00 cli */
    0x31, 0xc0,                            /* 01 xor ax,ax */
    0x8e, 0xd8,                            /* 03 mov ds,ax */
    0x8e, 0xc0,                            /* 05 mov es,ax */
    0x8e, 0xd0,                            /* 07 mov ss,ax */
    0xbc, 0x00, 0x70,                      /* 09 mov sp,0x7000 */
    0xc7, 0x06, 0x20, 0x00, 0x4d, 0x00,    /* 0c mov ds:0x20,0x4d */
    0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0,    /* 12 mov ds:0x22,0xf000 */
    0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00,    /* 18 mov ecx,0x1b */
    0x0f, 0x32,                            /* 1e rdmsr */
    0x80, 0xe4, 0xf7,                      /* 20 and ah,0xf7 */
    0x0f, 0x30,                            /* 23 wrmsr */
    0xb0, 0x11,                            /* 25 mov al,0x11 */
    0xe6, 0x20,                            /* 27 out 0x20,al */
    0xb0, 0x08,                            /* 29 mov al,0x8 */
    0xe6, 0x21,                            /* 2b out 0x21,al */
    0xb0, 0x04,                            /* 2d mov al,0x4 */
    0xe6, 0x21,                            /* 2f out 0x21,al */
    0xb0, 0x01,                            /* 31 mov al,0x1 */
    0xe6, 0x21,                            /* 33 out 0x21,al */
    0xb0, 0xfe,                            /* 35 mov al,0xfe */
    0xe6, 0x21,                            /* 37 out 0x21,al */
    0xb0, 0x03,                            /* 39 mov al,0x3 */
    0xba, 0xfb, 0x03,                      /* 3b mov dx,0x3fb */
    0xee,                                  /* 3e out dx,al */
    0xb0, 0x34,                            /* 3f mov al,0x34 */
    0xe6, 0x43,                            /* 41 out 0x43,al */
    0x30, 0xc0,                            /* 43 xor al,al */
    0xe6, 0x40,                            /* 45 out 0x40,al */
    0xe6, 0x40,                            /* 47 out 0x40,al */
    0xfb,                                  /* 49 sti */
    0xf4,                                  /* 4a hlt */
    0xeb, 0xfc,                            /* 4b jmp 0x49 */
    0xff, 0x06, 0x00, 0x05,                /* 4d inc ds:0x500 */
    0xa1, 0x00, 0x05,                      /* 51 mov ax,ds:0x500 */
    0x89, 0xc7,                            /* 54 mov di,ax */
    0xc1, 0xe7, 0x05,                      /* 56 shl di,0x5 */
    0x81, 0xe7, 0xff, 0x3f,                /* 59 and di,0x3fff */
    0x81, 0xcf, 0x00, 0x80,                /* 5d or di,0x8000 */
    0xb9, 0xe8, 0x03,                      /* 61 mov cx,0x3e8 */
    0x01, 0x05,                            /* 64 add [di],ax */
    0xd1, 0xc0,                            /* 66 rol ax,1 */
    0xe2, 0xfa,                            /* 68 loop 0x64 */
    0xa0, 0x00, 0x05,                      /* 6a mov al,ds:0x500 */
    0xe6, 0xe9,                            /* 6d out 0xe9,al */
    0xba, 0xfd, 0x03,                      /* 6f mov dx,0x3fd */
    0xec,                                  /* 72 in al,dx */
    0xa8, 0x01,                            /* 73 test al,0x1 */
    0x74, 0x0c,                            /* 75 je 0x83 */
    0xba, 0xf8, 0x03,                      /* 77 mov dx,0x3f8 */
    0xec,                                  /* 7a in al,dx */
    0xe6, 0xe9,                            /* 7b out 0xe9,al */
    0x3c, 0x71,                            /* 7d cmp al,0x71 */
    0x75, 0x02,                            /* 7f jne 0x83 */
    0xe6, 0xf4,                            /* 81 out 0xf4,al */
    0xb0, 0x20,                            /* 83 mov al,0x20 */
    0xe6, 0x20,                            /* 85 out 0x20,al */
    0xcf,                                  /* 87 iret */
};
/* clang-format on */

static uint8_t bios[65536];

static struct machine *new_machine(void)
{
    /* f000:fff0: jmp f000:0000 */
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    struct machine_config config;
    struct error err = {0};
    memcpy(bios, guest_code, sizeof guest_code);
    memcpy(bios + 0xfff0, reset, sizeof reset);
    machine_config_init(&config);
    config.mem_bytes = 2 << 20;
    const struct machine_media media = {
        .bios = {.data = bios, .bytes = sizeof bios}};
    struct machine *m = machine_new(&config, &media, &err);
    assert_non_null(m);
    return m;
}

static struct recorder *new_recorder(struct machine *m, uint64_t limit,
                                     struct error *err)
{
    static struct media_identity media = {.role = "bios", .path = "b.bin"};
    media.bytes = sizeof bios;
    media_hash(bios, sizeof bios, media.hash);
    const struct recorder_options options = {.path = session_path,
                                             .media = &media,
                                             .media_count = 1,
                                             .build = "test",
                                             .created = 1,
                                             .limit_bytes = limit};
    return recorder_new(&options, m, err);
}

/* Ten guest seconds with input at odd moments; `last` is sent at the end. */
static void record_session(const char *last)
{
    struct error err = {0};
    struct machine *m = new_machine();
    struct recorder *r = new_recorder(m, 0, &err);
    assert_non_null(r);
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(recorder_run(r, i * SECOND - 12345 * i), STOP_TICK);
        session_send(r, i % 3 ? "a" : "bc");
        if (i % 4 == 0)
            session_send(r, "d");
    }
    session_send(r, last);
    enum stop_reason reason = recorder_run(r, 12 * SECOND);
    assert_true(recorder_finish(r, reason, &err));
    recorder_free(r);
    machine_free(m);
}

static struct replayer *new_replayer(struct machine **m)
{
    struct error err = {0};
    struct replayer *rp = replayer_open(session_path, &err);
    if (!rp)
        print_error("%s\n", err.text);
    assert_non_null(rp);
    *m = new_machine();
    assert_true(replayer_attach(rp, *m, &err));
    return rp;
}

static void a_recording_replays_with_equal_digests(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("z");
    struct replayer *rp = new_replayer(&m);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    const struct replay_report *report = replayer_report(rp);
    assert_int_equal(report->digests_compared,
                     replayer_session(rp)->commit.digests);
    assert_in_range(report->digests_compared, 11, 13);
    assert_int_equal(report->events_fed, 13);
    assert_int_equal(machine_tick(m), 12 * SECOND);
    session_drop(rp, m);
}

static void a_guest_that_ends_itself_ends_in_replay_too(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("q");
    struct replayer *rp = new_replayer(&m);
    const struct session *s = replayer_session(rp);
    assert_false(s->torn);
    assert_int_equal(s->end_reason, STOP_DEBUG_EXIT);
    assert_int_equal(s->end_value, 'q');
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(machine_tick(m), s->end_tick);
    assert_int_equal(replayer_report(rp)->digests_compared, s->commit.digests);
    session_drop(rp, m);
}

static void slices_of_the_replay_do_not_show(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("q");
    struct replayer *rp = new_replayer(&m);
    uint64_t until = 0;
    enum replay_stop stop;
    do {
        until += 87654321;
        stop = replayer_run(rp, until, &err);
        if (stop == REPLAY_UNTIL)
            assert_int_equal(machine_tick(m), until);
    } while (stop == REPLAY_UNTIL);
    assert_int_equal(stop, REPLAY_END);
    session_drop(rp, m);
}

static void seeking_to_start_and_end_gives_the_recorded_state(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("q");
    struct replayer *rp = new_replayer(&m);
    assert_true(replayer_seek(rp, UINT64_MAX, &err));
    assert_int_equal(machine_tick(m), replayer_session(rp)->end_tick);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(replayer_report(rp)->digests_compared, 1);
    assert_true(replayer_seek(rp, 5 * SECOND, &err));
    assert_int_equal(machine_tick(m), 0);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    session_drop(rp, m);
}

static atomic_bool disturbing;

static void *disturb(void *context)
{
    while (atomic_load(&disturbing)) {
        machine_request_stop(context);
        usleep(50);
    }
    return NULL;
}

/* Stops depend on the host's timing; input that arrives at them is recorded and
 * replays all the same. */
static void input_at_requested_stops_replays(void **state)
{
    (void)state;
    struct error err = {0};
    struct machine *m = new_machine();
    struct recorder *r = new_recorder(m, 0, &err);
    pthread_t thread;
    unsigned stops = 0;
    atomic_store(&disturbing, true);
    assert_int_equal(pthread_create(&thread, NULL, disturb, m), 0);
    while (machine_tick(m) < 100 * SECOND && stops < 300)
        if (recorder_run(r, 100 * SECOND) == STOP_REQUEST) {
            session_send(r, "s");
            stops++;
        }
    atomic_store(&disturbing, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(recorder_finish(r, STOP_REQUEST, &err));
    recorder_free(r);
    machine_free(m);
    struct replayer *rp = new_replayer(&m);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(replayer_report(rp)->events_fed, stops);
    session_drop(rp, m);
}

static void a_difference_names_window_and_part(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("z");
    struct replayer *rp = new_replayer(&m);
    assert_int_equal(replayer_run(rp, 3 * SECOND, &err), REPLAY_UNTIL);
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 1};
    assert_true(machine_inject(m, &e, &err)); /* not in the log */
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_DIVERGED);
    const struct replay_report *report = replayer_report(rp);
    assert_true(report->diverged && report->cpu_differs);
    assert_in_range(report->last_good_tick, SECOND, 3 * SECOND);
    assert_in_range(report->first_bad_tick, 3 * SECOND, 5 * SECOND);
    assert_non_null(strstr(err.text, "differs"));
    session_drop(rp, m);
}

static void without_verifying_differences_pass(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("z");
    struct replayer *rp = new_replayer(&m);
    replayer_set_verify(rp, false);
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 1};
    assert_true(machine_inject(m, &e, &err));
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    assert_int_equal(replayer_report(rp)->digests_compared, 0);
    session_drop(rp, m);
}

static void other_media_are_refused_by_name(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    record_session("z");
    struct replayer *rp = new_replayer(&m);
    struct media_identity found = replayer_session(rp)->media[0];
    assert_true(replayer_check_media(rp, &found, 1, &err));
    found.hash[3] ^= 1;
    assert_false(replayer_check_media(rp, &found, 1, &err));
    assert_int_equal(err.code, ERR_MISMATCH);
    assert_non_null(strstr(err.text, "bios 'b.bin'"));
    found.bytes++;
    assert_false(replayer_check_media(rp, &found, 1, &err));
    assert_non_null(strstr(err.text, "expected 65536 bytes, found 65537"));
    assert_false(replayer_check_media(rp, &found, 0, &err));
    session_drop(rp, m);
}

static void a_killed_recording_replays_to_its_last_commit(void **state)
{
    (void)state;
    struct machine *m;
    struct error err = {0};
    struct check_report report;
    int committed[2];
    char byte;
    assert_int_equal(pipe(committed), 0);
    pid_t child = fork();
    if (child == 0) {
        struct recorder_stats stats = {0};
        m = new_machine();
        struct recorder *r = new_recorder(m, 0, &err);
        if (!r)
            _exit(1);
        for (uint64_t t = 0;; t += SECOND / 7) {
            (void)recorder_run(r, t);
            session_send(r, "k");
            usleep(2000);
            recorder_stats(r, &stats);
            if (stats.committed_tick > SECOND)
                (void)!write(committed[1], "c", 1);
        }
    }
    assert_int_equal(close(committed[1]), 0);
    assert_int_equal(read(committed[0], &byte, 1), 1);
    usleep(7000);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(close(committed[0]), 0);
    struct replayer *rp = new_replayer(&m);
    assert_true(replayer_session(rp)->torn);
    assert_true(replayer_session(rp)->end_tick > SECOND);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_TORN);
    assert_int_equal(machine_tick(m), replayer_session(rp)->end_tick);
    assert_true(replayer_report(rp)->events_fed > 5);
    session_drop(rp, m);
    assert_true(session_check(session_path, &report, &err));
    assert_true(report.torn);
    assert_non_null(strstr(report.warning, "torn"));
}

static void a_full_disk_ends_the_recording_and_it_replays(void **state)
{
    (void)state;
    struct error err = {0};
    struct machine *m = new_machine();
    struct recorder *r = new_recorder(m, 200 << 10, &err);
    assert_non_null(r);
    struct event e = {.type = EVENT_TYPE_SERIAL, .bytes = 1000};
    uint64_t t = 0;
    while (!recorder_failed(r, &err) && t < 1000 * SECOND) {
        assert_true(recorder_inject(r, &e, &err));
        (void)recorder_run(r, t += SECOND / 10);
        usleep(100);
    }
    assert_int_equal(err.code, ERR_FULL);
    assert_non_null(strstr(err.text, "replays up to tick"));
    assert_int_equal(recorder_run(r, t + SECOND), STOP_REQUEST);
    assert_false(recorder_finish(r, STOP_REQUEST, &err));
    recorder_free(r);
    machine_free(m);
    struct replayer *rp = new_replayer(&m);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_TORN);
    session_drop(rp, m);
}

static void an_idle_guest_costs_few_bytes_a_second(void **state)
{
    (void)state;
    struct error err = {0};
    struct recorder_stats stats;
    struct machine *m = new_machine();
    struct recorder *r = new_recorder(m, 0, &err);
    assert_int_equal(recorder_run(r, 100 * SECOND), STOP_TICK);
    assert_true(recorder_finish(r, STOP_TICK, &err));
    recorder_stats(r, &stats);
    assert_true(stats.committed_tick == 100 * SECOND);
    assert_in_range(stats.digests, 90, 101);
    assert_in_range(stats.log_bytes, 1, 100 * 300);
    recorder_free(r);
    machine_free(m);
}

static bool count_output(void *context, const struct output_chunk *chunk)
{
    unsigned *bytes = context;
    *bytes += chunk->count;
    return true;
}

static void info_and_check_agree_with_the_recording(void **state)
{
    (void)state;
    struct session *s;
    struct error err = {0};
    struct info info;
    struct check_report report;
    unsigned bytes = 0;
    record_session("z");
    assert_true(session_check(session_path, &report, &err));
    assert_int_equal(report.events, 14);
    assert_int_equal(report.snapshots, 2);
    assert_false(report.torn);
    assert_string_equal(report.warning, "");
    assert_true(session_open(session_path, &s, &err));
    assert_true(info_gather(s, &info, &err));
    assert_int_equal(info.guest_ns, 12 * SECOND);
    assert_int_equal(info.events_by_type[EVENT_TYPE_SERIAL], 13);
    assert_int_equal(info.events_by_type[EVENT_TYPE_END], 1);
    assert_true(
        info_each_output(s, SECOND, 2 * SECOND, count_output, &bytes, &err));
    assert_in_range(bytes, 17, 25);
    char *text = info_json(s, &info);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "end_tick")),
                     12 * SECOND);
    json_decref(json);
    free(text);
    session_close(s);
}

/* Any bit, also where no record lies. */
static void every_flipped_bit_of_a_session_is_found(void **state)
{
    (void)state;
    char file[96];
    struct check_report report;
    struct error err = {0};
    record_session("z");
    assert_true(session_check(session_path, &report, &err));
    assert_true(report.sealed);
    (void)snprintf(file, sizeof file, "%s/data.mdb", session_path);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    off_t bytes = lseek(fd, 0, SEEK_END);
    for (off_t at = 5; at < bytes; at += bytes / 97) {
        uint8_t good, bad;
        assert_int_equal(pread(fd, &good, 1, at), 1);
        bad = good ^ (uint8_t)(1u << at % 8);
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        err = (struct error){0};
        assert_false(session_check(session_path, &report, &err));
        assert_true(strlen(err.text) > 20);
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    }
    assert_true(session_check(session_path, &report, &err));
    assert_int_equal(ftruncate(fd, bytes - 4096), 0);
    assert_false(session_check(session_path, &report, &err));
    assert_int_equal(close(fd), 0);
}

static void checkpoints_follow_ticks_and_instructions(void **state)
{
    (void)state;
    struct checkpoint last = {0};
    assert_int_equal(checkpoint_next(0), CHECKPOINT_TICKS);
    assert_int_equal(checkpoint_next(CHECKPOINT_TICKS), 2 * CHECKPOINT_TICKS);
    assert_false(checkpoint_due(&last, 0, 0));
    assert_false(checkpoint_due(&last, CHECKPOINT_TICKS, 5));
    assert_true(checkpoint_due(&last, CHECKPOINT_TICKS, CHECKPOINT_INSNS));
    assert_false(checkpoint_due(&last, CHECKPOINT_TICKS + 1, CHECKPOINT_INSNS));
    assert_true(checkpoint_due(&last, CHECKPOINT_TICKS_MAX, 0));
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_recording_replays_with_equal_digests),
        TEST(a_guest_that_ends_itself_ends_in_replay_too),
        TEST(slices_of_the_replay_do_not_show),
        TEST(seeking_to_start_and_end_gives_the_recorded_state),
        TEST(input_at_requested_stops_replays),
        TEST(a_difference_names_window_and_part),
        TEST(without_verifying_differences_pass),
        TEST(other_media_are_refused_by_name),
        TEST(a_killed_recording_replays_to_its_last_commit),
        TEST(a_full_disk_ends_the_recording_and_it_replays),
        TEST(an_idle_guest_costs_few_bytes_a_second),
        TEST(info_and_check_agree_with_the_recording),
        TEST(every_flipped_bit_of_a_session_is_found),
        TEST(checkpoints_follow_ticks_and_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
