/* Sessions as files, and the contents of media inside sessions. */
#include "lib_session.h"
#include "replay/check.h"
#include "replay/content.h"
#include "replay/pack.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DISK_BYTES = 40 * 4096 + 512 };

static char file[100], other[100];

static void record(void)
{
    struct recorder_options o = session_options();
    o.snapshot_interval = SECOND / 3;
    session_record(&o, 2);
    (void)snprintf(file, sizeof file, "%s.relive", session_path);
    (void)snprintf(other, sizeof other, "%s2", session_path);
}

static void pack(void)
{
    struct copy_report r;
    struct error err = {0};
    const struct copy_options o = {.to = UINT64_MAX};
    record();
    assert_true(session_pack(session_path, file, &o, &r, &err));
    assert_true(r.bytes_after < r.bytes_before);
}

static void a_packed_session_unpacks_to_the_same(void **state)
{
    (void)state;
    struct check_report before, after;
    struct machine *m;
    struct error err = {0};
    pack();
    assert_true(session_unpack(file, other, &err));
    assert_true(session_check(session_path, &before, &err));
    assert_true(session_check(other, &after, &err));
    assert_memory_equal(&before, &after, sizeof before);
    (void)snprintf(session_path, sizeof session_path, "%.79s", other);
    struct replayer *rp = session_replayer(&m);
    assert_int_equal(replayer_run(rp, UINT64_MAX, &err), REPLAY_END);
    session_drop(rp, m);
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void what_exists_is_not_overwritten(void **state)
{
    (void)state;
    struct copy_report r;
    struct error err = {0};
    const struct copy_options o = {.to = UINT64_MAX};
    pack();
    assert_false(session_pack(session_path, file, &o, &r, &err));
    assert_non_null(strstr(err.text, "exists"));
    assert_false(session_unpack(file, session_path, &err));
    assert_true(is_there(session_path));
}

static void damaged_packs_are_refused_and_leave_nothing(void **state)
{
    (void)state;
    struct error err;
    pack();
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    off_t bytes = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < bytes; at += bytes / 23) {
        uint8_t good, bad;
        assert_int_equal(pread(fd, &good, 1, at), 1);
        bad = good ^ (uint8_t)(1u << at % 8);
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        err = (struct error){0};
        assert_false(session_unpack(file, other, &err));
        assert_true(strlen(err.text) > 10);
        assert_false(is_there(other));
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, bytes - 3), 0);
    assert_false(session_unpack(file, other, &err));
    assert_false(is_there(other));
    assert_int_equal(ftruncate(fd, 5), 0);
    assert_false(session_unpack(file, other, &err));
    assert_int_equal(close(fd), 0);
}

/* ---- contents of media ----------------------------------------------------
 */

static uint8_t disk[DISK_BYTES], blob[10000];

static bool disk_read(void *context, uint64_t offset, void *out, size_t bytes,
                      struct error *err)
{
    (void)context, (void)err;
    memcpy(out, disk + offset, bytes);
    return true;
}

static void disk_close(void *context)
{
    unsigned *closed = context;
    ++*closed;
}

struct media {
    struct content_reads *reads;
};

static bool add_contents(void *context, struct store *out,
                         struct store_batch *b, struct error *err)
{
    struct media *media = context;
    return content_put_reads(out, b, 0, media->reads, err) &&
           content_put_blob(out, b, 1, blob, sizeof blob, err);
}

/* A session with contents of medium 0, a disk of which two places were read,
 * and of medium 1, a blob. */
static struct session *with_contents(void)
{
    unsigned closed = 0;
    struct copy_report r;
    struct session *s;
    struct error err = {0};
    struct media media;
    uint8_t got[8192];
    struct media_identity two[2] = {{.role = "disk0", .path = "d.img"},
                                    {.role = "bios", .path = "b.bin"}};
    struct recorder_options o = session_options();
    two[0].bytes = DISK_BYTES;
    two[1].bytes = sizeof blob;
    o.media = two;
    o.media_count = 2;
    session_record(&o, 1);
    (void)snprintf(other, sizeof other, "%s2", session_path);
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk[i] = (uint8_t)(i / 512 * 7 + i);
    memset(disk + 8192, 0, 4096);
    memset(blob, 0x37, sizeof blob);
    const struct block_base inner = {.bytes = DISK_BYTES,
                                     .context = &closed,
                                     .read = disk_read,
                                     .close = disk_close};
    struct block_base base;
    media.reads = content_note_reads(&inner, &base, &err);
    assert_non_null(media.reads);
    assert_true(base.read(base.context, 4096 + 512, got, 4096, &err));
    assert_true(base.read(base.context, DISK_BYTES - 512, got, 512, &err));
    base.close(base.context);
    const struct copy_options c = {
        .to = UINT64_MAX, .extra = add_contents, .extra_context = &media};
    assert_true(session_copy(session_path, other, &c, &r, &err));
    content_reads_free(media.reads);
    assert_int_equal(closed, 1);
    assert_true(session_open(other, &s, &err));
    return s;
}

static void contents_hold_what_was_read_and_nothing_else(void **state)
{
    (void)state;
    struct error err = {0};
    struct block_base base;
    uint8_t got[8192];
    struct session *s = with_contents();
    assert_int_equal(content_open(s, 0, &base, &err), STORE_FOUND);
    assert_int_equal(base.bytes, DISK_BYTES);
    assert_true(base.read(base.context, 4096, got, 8192, &err));
    assert_memory_equal(got, disk + 4096, 8192);
    assert_true(base.read(base.context, DISK_BYTES - 512, got, 512, &err));
    assert_memory_equal(got, disk + DISK_BYTES - 512, 512);
    assert_false(base.read(base.context, 5 * 4096, got, 512, &err));
    assert_non_null(strstr(err.text, "d.img"));
    base.close(base.context);
    assert_int_equal(content_open(s, 7, &base, &err), STORE_NONE);
    session_close(s);
}

static void blobs_come_back_whole(void **state)
{
    (void)state;
    struct error err = {0};
    void *data;
    size_t bytes;
    struct session *s = with_contents();
    assert_int_equal(content_blob(s, 1, &data, &bytes, &err), STORE_FOUND);
    assert_int_equal(bytes, sizeof blob);
    assert_memory_equal(data, blob, sizeof blob);
    free(data);
    session_close(s);
}

static void compacting_keeps_contents(void **state)
{
    (void)state;
    struct copy_report r;
    struct check_report before, after;
    struct error err = {0};
    void *data;
    size_t bytes;
    struct session *s = with_contents();
    session_close(s);
    assert_true(session_check(other, &before, &err));
    assert_true(session_compact(other, 1, &r, &err));
    if (!session_check(other, &after, &err))
        print_error("%s\n", err.text);
    assert_string_equal(err.text, "");
    assert_true(session_open(other, &s, &err));
    assert_int_equal(content_blob(s, 1, &data, &bytes, &err), STORE_FOUND);
    assert_memory_equal(data, blob, sizeof blob);
    free(data);
    session_close(s);
}

static void hostile_contents_are_refused(void **state)
{
    (void)state;
    struct error err = {0};
    struct content content;
    struct store_bytes v;
    struct session *s = with_contents();
    assert_int_equal(store_get(s->store, STORE_META, "content/00", 10, &v, &err),
                     STORE_FOUND);
    assert_true(content_unpack(&v, &content, "x", &err));
    assert_int_equal(content.count, 3);
    content_fini(&content);
    for (size_t n = 0; n < v.bytes; n++) {
        const struct store_bytes cut = {v.data, n};
        assert_false(content_unpack(&cut, &content, "x", &err));
    }
    session_close(s);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_packed_session_unpacks_to_the_same),
        TEST(what_exists_is_not_overwritten),
        TEST(damaged_packs_are_refused_and_leave_nothing),
        TEST(contents_hold_what_was_read_and_nothing_else),
        TEST(blobs_come_back_whole),
        TEST(compacting_keeps_contents),
        TEST(hostile_contents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
