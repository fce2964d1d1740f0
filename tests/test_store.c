/* The session store: batches, checksums, limits, refusals. */
#include "base/bytes.h"
#include "lib_session.h"
#include "replay/record.h"
#include "replay/store.h"

#include <fcntl.h>
#include <lmdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* `count` events with payloads of `bytes`, from index `first` on. */
static bool put_events(struct store *s, uint32_t first, uint32_t count,
                       uint16_t bytes, struct error *err)
{
    struct store_batch b;
    store_batch_init(&b);
    for (uint32_t i = first; i < first + count; i++) {
        struct event e = {
            .tick = 10 * i, .type = EVENT_TYPE_SERIAL, .bytes = bytes};
        memset(e.payload, (int)i, bytes);
        event_record_put(&b, i, &e);
    }
    bool ok = store_commit(s, &b, err);
    store_batch_fini(&b);
    return ok;
}

static uint32_t count_events(struct store *s, struct error *err)
{
    struct store_cursor c;
    struct store_bytes k, v;
    struct event e;
    uint32_t n = 0, index;
    assert_true(store_cursor_open(s, STORE_EVENTS, &c, err));
    enum store_found f = store_cursor_seek(&c, NULL, 0, &k, &v, err);
    for (; f == STORE_FOUND; f = store_cursor_next(&c, &k, &v, err)) {
        assert_true(event_record_get(&k, &v, &index, &e, "t", err));
        assert_int_equal(index, n);
        n++;
    }
    store_cursor_close(&c);
    assert_int_equal(f, STORE_NONE);
    return n;
}

static void what_is_committed_can_be_read(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    struct store_bytes v;
    assert_true(store_create(session_path, 0, &s, &err));
    assert_true(put_events(s, 0, 100, 3, &err));
    assert_true(put_events(s, 100, 1, 1100, &err));
    store_close(s);
    assert_true(store_open(session_path, &s, &err));
    assert_int_equal(count_events(s, &err), 101);
    assert_int_equal(store_get(s, STORE_META, "none", 4, &v, &err), STORE_NONE);
    store_close(s);
}

static void a_full_map_grows_and_the_file_stays_small(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    struct store_batch b;
    static uint8_t value[1 << 20];
    assert_true(store_create(session_path, 0, &s, &err));
    assert_true(store_file_bytes(s) < 100000);
    store_batch_init(&b);
    for (uint8_t i = 0; i < 20; i++)
        store_batch_put(&b, STORE_PAGES, &i, 1, value, sizeof value);
    assert_true(store_commit(s, &b, &err));
    store_batch_fini(&b);
    assert_in_range(store_file_bytes(s), 20 << 20, 22 << 20);
    store_close(s);
}

static void reaching_the_limit_keeps_the_last_commit(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    uint32_t n = 0;
    assert_true(store_create(session_path, 1 << 20, &s, &err));
    while (put_events(s, n, 10, 1000, &err))
        n += 10;
    assert_int_equal(err.code, ERR_FULL);
    assert_true(n > 100);
    store_close(s);
    assert_true(store_open(session_path, &s, &err));
    assert_int_equal(count_events(s, &err), n);
    store_close(s);
}

/* RLIMIT_FSIZE stands in for a disk that fills up: a part of a write fits. */
static void a_full_disk_keeps_the_last_commit(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {.rlim_cur = 1000000, .rlim_max = 1000000};
        uint32_t n = 0;
        if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
            setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
            !store_create(session_path, 0, &s, &err))
            _exit(1);
        while (put_events(s, n, 10, 1000, &err))
            n += 10;
        _exit(err.code == ERR_FULL && n > 100 && n <= 1000 ? (int)(n / 10) : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) > 1);
    assert_true(store_open(session_path, &s, &err));
    assert_int_equal(count_events(s, &err), 10 * WEXITSTATUS(status));
    store_close(s);
}

static void a_killed_writer_leaves_whole_commits(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    int committed[2];
    char byte;
    assert_int_equal(pipe(committed), 0);
    pid_t child = fork();
    if (child == 0) {
        if (!store_create(session_path, 0, &s, &err))
            _exit(1);
        for (uint32_t n = 0; put_events(s, n, 7, 100, &err); n += 7)
            (void)!write(committed[1], "c", 1);
        _exit(1);
    }
    assert_int_equal(close(committed[1]), 0);
    assert_int_equal(read(committed[0], &byte, 1), 1);
    usleep(20000);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(close(committed[0]), 0);
    assert_true(store_open(session_path, &s, &err));
    uint32_t events = count_events(s, &err);
    assert_true(events >= 7 && events % 7 == 0);
    store_close(s);
}

static void a_session_is_never_overwritten(void **state)
{
    (void)state;
    struct store *s, *t;
    struct error err = {0};
    assert_true(store_create(session_path, 0, &s, &err));
    store_close(s);
    assert_false(store_create(session_path, 0, &t, &err));
    assert_non_null(strstr(err.text, "exists there already"));
    assert_false(store_create(session_dir, 0, &t, &err)); /* not empty */
    assert_int_equal(err.code, ERR_USAGE);
}

static void a_running_recording_cannot_be_opened(void **state)
{
    (void)state;
    struct store *s, *t;
    struct error err = {0};
    assert_true(store_create(session_path, 0, &s, &err));
    assert_false(store_open(session_path, &t, &err));
    assert_non_null(strstr(err.text, "in use"));
    store_discard(s);
    assert_int_not_equal(access(session_path, F_OK), 0);
}

static void what_is_no_session_is_refused(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    assert_false(store_open(session_path, &s, &err));
    assert_non_null(strstr(err.text, "no such session"));
    assert_false(store_open(session_dir, &s, &err));
    assert_non_null(strstr(err.text, "not a relive session"));
    assert_false(store_open("/etc/passwd", &s, &err));
    assert_non_null(strstr(err.text, "expected a directory"));
}

static void another_programs_lmdb_is_refused(void **state)
{
    (void)state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct store *s;
    struct error err = {0};
    assert_int_equal(mkdir(session_path, 0777), 0);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, session_path, 0, 0666), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "other", MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_false(store_open(session_path, &s, &err));
    assert_non_null(strstr(err.text, "not a relive session"));
}

static void a_newer_format_is_refused_by_version(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    struct store_batch b;
    uint8_t value[19] = "relive session";
    store_le32(value + 15, 77);
    assert_true(store_create(session_path, 0, &s, &err));
    store_batch_init(&b);
    store_batch_put(&b, STORE_META, "format", 6, value, sizeof value);
    assert_true(store_commit(s, &b, &err));
    store_batch_fini(&b);
    store_close(s);
    assert_false(store_open(session_path, &s, &err));
    assert_int_equal(err.code, ERR_VERSION);
    assert_non_null(strstr(err.text, "found 77"));
}

static void what_a_batch_deletes_is_gone(void **state)
{
    (void)state;
    struct store *s;
    struct error err = {0};
    struct store_batch b;
    struct writer value;
    writer_init(&value);
    assert_true(store_create(session_path, 0, &s, &err));
    store_batch_init(&b);
    store_batch_put(&b, STORE_META, "a", 1, "x", 1);
    store_batch_put(&b, STORE_META, "b", 1, "yz", 2);
    assert_true(store_commit(s, &b, &err));
    store_batch_reset(&b);
    store_batch_delete(&b, STORE_META, "a", 1);
    store_batch_delete(&b, STORE_META, "never", 5);
    assert_true(store_commit(s, &b, &err));
    assert_int_equal(store_fetch(s, STORE_META, "a", 1, &value, &err),
                     STORE_NONE);
    assert_int_equal(store_fetch(s, STORE_META, "b", 1, &value, &err),
                     STORE_FOUND);
    assert_int_equal(value.used, 2);
    assert_memory_equal(value.data, "yz", 2);
    writer_fini(&value);
    store_batch_fini(&b);
    store_close(s);
}

static void output_keeps_the_tick_of_every_chunk(void **state)
{
    (void)state;
    struct output_gather g = {0};
    struct store_batch b;
    struct store *s;
    struct error err = {0};
    uint8_t blob[4000];
    memset(blob, 'z', sizeof blob);
    store_batch_init(&b);
    for (uint64_t i = 0; i < 1000; i++)
        output_gather_add(&g, &b, 100 * i, OUT_SERIAL, "x", 1);
    output_gather_add(&g, &b, 100000, OUT_POST, "\x55", 1);
    output_gather_add(&g, &b, 200000, OUT_SERIAL, blob, sizeof blob);
    output_gather_flush(&g, &b);
    assert_true(store_create(session_path, 0, &s, &err));
    assert_true(store_commit(s, &b, &err));
    store_batch_fini(&b);
    store_close(s);
    assert_true(store_open(session_path, &s, &err));
    struct store_cursor c;
    struct store_bytes k, v;
    uint64_t chunks = 0, bytes = 0;
    assert_true(store_cursor_open(s, STORE_OUTPUT, &c, &err));
    enum store_found f = store_cursor_seek(&c, NULL, 0, &k, &v, &err);
    for (; f == STORE_FOUND; f = store_cursor_next(&c, &k, &v, &err)) {
        struct output_chunks i;
        struct output_chunk chunk;
        uint32_t index;
        assert_true(output_chunks_begin(&i, &k, &v, &index, "t", &err));
        while (output_chunks_next(&i, &chunk)) {
            if (chunks < 1000)
                assert_int_equal(chunk.tick, 100 * chunks);
            chunks++;
            bytes += chunk.count;
        }
        assert_true(i.ok);
    }
    assert_int_equal(bytes, 1000 + 1 + 4000);
    store_cursor_close(&c);
    store_close(s);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_committed_can_be_read),
        TEST(a_full_map_grows_and_the_file_stays_small),
        TEST(reaching_the_limit_keeps_the_last_commit),
        TEST(a_full_disk_keeps_the_last_commit),
        TEST(a_killed_writer_leaves_whole_commits),
        TEST(a_session_is_never_overwritten),
        TEST(a_running_recording_cannot_be_opened),
        TEST(what_is_no_session_is_refused),
        TEST(another_programs_lmdb_is_refused),
        TEST(a_newer_format_is_refused_by_version),
        TEST(what_a_batch_deletes_is_gone),
        TEST(output_keeps_the_tick_of_every_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
