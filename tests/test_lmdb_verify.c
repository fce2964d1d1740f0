/* The walker of data.mdb: damaged files give a sentence, never a crash, and a
 * file that passes can be read by liblmdb. */
#include "replay/lmdb_verify.h"
#include "replay/record.h"
#include "replay/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[80], data_path[96];
static uint8_t *image; /* of a good data.mdb */
static size_t image_bytes;

/* Trees of two and three levels, overflow pages, and a free list. */
static void fill(struct store *s)
{
    static uint8_t value[20000];
    struct store_batch b;
    struct error err;
    store_batch_init(&b);
    for (uint32_t round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < 40; i++) {
            uint32_t n = round * 40 + i;
            struct event e = {.tick = 1000 * n, .type = EVENT_TYPE_RESET};
            event_record_put(&b, n, &e);
            uint64_t key[2] = {n * UINT64_C(0x9E3779B97F4A7C15), n};
            memset(value, (int)n, sizeof value);
            store_batch_put(&b, STORE_PAGES, key, sizeof key, value,
                            n % 97 == 0 ? 20000 : n % 50);
        }
        struct commit_record c = {.tick = round};
        commit_record_put(&b, &c);
        assert_true(store_commit(s, &b, &err));
        store_batch_reset(&b);
    }
    store_batch_fini(&b);
}

static void write_image(const uint8_t *data, size_t bytes)
{
    int fd = open(data_path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), (ssize_t)bytes);
    assert_int_equal(close(fd), 0);
}

static int make_session(void **state)
{
    (void)state;
    struct store *s;
    struct stat st;
    struct error err;
    strcpy(dir, "/tmp/relive-verify-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/s", dir);
    (void)snprintf(data_path, sizeof data_path, "%s/data.mdb", path);
    if (!store_create(path, 0, &s, &err))
        return -1;
    fill(s);
    store_close(s);
    int fd = open(data_path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0)
        return -1;
    image_bytes = (size_t)st.st_size;
    image = malloc(image_bytes);
    ssize_t got = read(fd, image, image_bytes);
    (void)close(fd);
    return got == (ssize_t)image_bytes ? 0 : -1;
}

static int remove_session(void **state)
{
    (void)state;
    char name[128];
    static const char *const files[] = {"s/data.mdb", "s/lock.mdb", "s", ""};
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", dir, files[i]);
        (void)remove(name);
    }
    free(image);
    return 0;
}

/* xorshift64: the seed is in the source, so a failure repeats. */
static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Reads every record through liblmdb; false on the first bad one. */
static bool read_all(struct error *err)
{
    struct store *s;
    if (!store_open(path, &s, err))
        return false;
    bool ok = true;
    for (unsigned db = 0; ok && db < STORE_DBS; db++) {
        struct store_cursor c;
        struct store_bytes k, v;
        ok = store_cursor_open(s, (enum store_db)db, &c, err);
        enum store_found f =
            ok ? store_cursor_seek(&c, NULL, 0, &k, &v, err) : STORE_BAD;
        while (f == STORE_FOUND)
            f = store_cursor_next(&c, &k, &v, err);
        ok = f == STORE_NONE;
        store_cursor_close(&c);
    }
    store_close(s);
    return ok;
}

static void one_sentence(const struct error *err)
{
    assert_int_not_equal(err->code, ERR_NONE);
    assert_true(strlen(err->text) > 20);
    assert_null(strchr(err->text, '\n'));
}

static void a_good_file_passes(void **state)
{
    (void)state;
    struct error err = {0};
    assert_true(lmdb_verify_image(image, image_bytes, "t", &err));
    assert_true(read_all(&err));
}

static void every_truncation_is_found_or_harmless(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < image_bytes; bytes += 4096) {
        struct error err = {0};
        if (!lmdb_verify_image(image, bytes, "t", &err))
            one_sentence(&err);
    }
    for (size_t bytes = 0; bytes < image_bytes; bytes += 5 * 4096 + 777) {
        struct error err = {0};
        write_image(image, bytes);
        if (!read_all(&err))
            one_sentence(&err);
    }
    struct error err = {0};
    assert_false(lmdb_verify_image(image, image_bytes / 2, "t", &err));
    assert_non_null(strstr(err.text, "truncated"));
    write_image(image, image_bytes);
}

static void flipped_bits_never_crash_a_reader(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252;
    unsigned found = 0;
    for (unsigned i = 0; i < 1500; i++) {
        uint64_t r = next_random(&x);
        size_t at = r % image_bytes;
        /* Half of the flips hit what steers the library: meta pages, page
         * headers and node offsets. */
        if (i % 2)
            at = (r % (image_bytes / 4096)) * 4096 + (r >> 32) % 160;
        uint8_t bit = (uint8_t)(1u << (r >> 60 & 7));
        image[at] ^= bit;
        struct error err = {0};
        write_image(image, image_bytes);
        if (!read_all(&err)) {
            one_sentence(&err);
            found++;
        }
        image[at] ^= bit;
    }
    write_image(image, image_bytes);
    assert_true(found > 500);
}

static void scrambled_headers_never_crash_the_walker(void **state)
{
    (void)state;
    uint64_t x = 12345;
    uint8_t *copy = malloc(image_bytes);
    for (unsigned i = 0; i < 3000; i++) {
        memcpy(copy, image, image_bytes);
        for (unsigned n = 0; n < 4; n++) {
            uint64_t r = next_random(&x);
            size_t page = r % (image_bytes / 4096);
            size_t at = page * 4096 + (r >> 32) % 64;
            uint64_t bytes = next_random(&x) >> (next_random(&x) % 60);
            memcpy(copy + at, &bytes, 1 + r % 8);
        }
        struct error err = {0};
        if (!lmdb_verify_image(copy, image_bytes, "t", &err))
            one_sentence(&err);
    }
    free(copy);
}

static void random_bytes_are_no_session(void **state)
{
    (void)state;
    uint64_t x = 99;
    uint8_t *noise = malloc(8 * 4096);
    for (size_t i = 0; i < 8 * 4096; i++)
        noise[i] = (uint8_t)next_random(&x);
    struct error err = {0};
    assert_false(lmdb_verify_image(noise, 8 * 4096, "t", &err));
    one_sentence(&err);
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_passes),
        cmocka_unit_test(every_truncation_is_found_or_harmless),
        cmocka_unit_test(flipped_bits_never_crash_a_reader),
        cmocka_unit_test(scrambled_headers_never_crash_the_walker),
        cmocka_unit_test(random_bytes_are_no_session),
    };
    return cmocka_run_group_tests(tests, make_session, remove_session);
}
