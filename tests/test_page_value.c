/* Pages in the store: long ones in two pieces, those of older sessions in one.
 */
#include "lib_session.h"
#include "replay/page_value.h"
#include "replay/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <cmocka.h>

enum { PAGES = 500 };
/* Page n: no two bytes of it help to compress another. */
static void fill(uint8_t page[PAGE_DATA_BYTES], unsigned n)
{
    uint64_t x = n * 2 + 1;
    for (unsigned i = 0; i < PAGE_DATA_BYTES; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        page[i] = (uint8_t)(x >> 56);
    }
}

static size_t pack(const uint8_t page[PAGE_DATA_BYTES],
                   uint8_t hash[PAGE_HASH_BYTES], uint8_t out[PAGE_VALUE_MAX])
{
    XXH128_canonical_t h;
    XXH128_canonicalFromHash(&h, XXH3_128bits(page, PAGE_DATA_BYTES));
    memcpy(hash, h.digest, PAGE_HASH_BYTES);
    ZSTD_CCtx *zip = ZSTD_createCCtx();
    size_t bytes = page_value_pack(zip, page, out);
    (void)ZSTD_freeCCtx(zip);
    assert_in_range(bytes, 1, PAGE_VALUE_MAX);
    return bytes;
}

static void put(struct store_batch *b, unsigned n, bool whole)
{
    uint8_t page[PAGE_DATA_BYTES], hash[PAGE_HASH_BYTES], value[PAGE_VALUE_MAX];
    fill(page, n);
    size_t bytes = pack(page, hash, value);
    assert_true(bytes > PAGE_HEAD_BYTES);
    if (whole)
        store_batch_put(b, STORE_PAGES, hash, PAGE_HASH_BYTES, value, bytes);
    else
        page_value_put(b, hash, value, bytes);
}

static void expect_page(struct store *s, unsigned n)
{
    uint8_t page[PAGE_DATA_BYTES], back[PAGE_DATA_BYTES];
    uint8_t hash[PAGE_HASH_BYTES], value[PAGE_VALUE_MAX];
    struct error err;
    ZSTD_DCtx *unzip = ZSTD_createDCtx();
    fill(page, n);
    (void)pack(page, hash, value);
    if (!snapshot_page(s, unzip, hash, back, &err))
        fail_msg("%s", err.text);
    assert_memory_equal(page, back, sizeof page);
    (void)ZSTD_freeDCtx(unzip);
}

static void written(struct store_batch *b)
{
    struct store *s;
    struct error err;
    assert_true(store_create(session_path, 0, &s, &err));
    if (!store_commit(s, b, &err))
        fail_msg("%s", err.text);
    store_close(s);
}

static void incompressible_pages_take_a_page_each(void **state)
{
    (void)state;
    struct store_batch b;
    struct store *s;
    struct store_stats stats;
    struct error err;
    store_batch_init(&b);
    for (unsigned n = 0; n < PAGES; n++)
        put(&b, n, false);
    written(&b);
    store_batch_fini(&b);
    assert_true(store_open(session_path, &s, &err));
    for (unsigned n = 0; n < PAGES; n++)
        expect_page(s, n);
    assert_true(store_stats(s, STORE_PAGES, &stats, &err));
    assert_int_equal(stats.records, 2 * PAGES);
    assert_in_range(stats.file_bytes, PAGES * 4096, PAGES * 4096 * 11 / 10);
    store_close(s);
}

static void pages_of_older_sessions_are_in_one_piece(void **state)
{
    (void)state;
    struct store_batch b;
    struct store *s;
    struct error err;
    store_batch_init(&b);
    put(&b, 7, true);
    put(&b, 8, false);
    written(&b);
    store_batch_fini(&b);
    assert_true(store_open(session_path, &s, &err));
    expect_page(s, 7);
    expect_page(s, 8);
    store_close(s);
}

static void deleting_takes_both_pieces(void **state)
{
    (void)state;
    uint8_t page[PAGE_DATA_BYTES], hash[PAGE_HASH_BYTES], value[PAGE_VALUE_MAX];
    struct store_batch b;
    struct store *s;
    struct store_stats stats;
    struct error err;
    store_batch_init(&b);
    put(&b, 1, false);
    put(&b, 2, false);
    fill(page, 1);
    (void)pack(page, hash, value);
    page_value_delete(&b, hash);
    written(&b);
    store_batch_fini(&b);
    assert_true(store_open(session_path, &s, &err));
    assert_true(store_stats(s, STORE_PAGES, &stats, &err));
    assert_int_equal(stats.records, 2);
    expect_page(s, 2);
    store_close(s);
}

/* Words of which each is repeated `times` times in a row, and nothing else. */
static size_t packed_bytes(unsigned times)
{
    uint8_t page[PAGE_DATA_BYTES], words[PAGE_DATA_BYTES];
    uint8_t back[PAGE_DATA_BYTES];
    uint8_t hash[PAGE_HASH_BYTES], value[PAGE_VALUE_MAX];
    struct store_bytes v = {.data = value};
    struct error err;
    ZSTD_DCtx *unzip = ZSTD_createDCtx();
    fill(words, 3);
    for (unsigned i = 0; i < PAGE_DATA_BYTES / 4; i++)
        memcpy(page + (size_t)i * 4, words + i / times * 4, 4);
    v.bytes = pack(page, hash, value);
    if (!snapshot_page_unpack(unzip, hash, &v, back, "test", &err))
        fail_msg("%s", err.text);
    assert_memory_equal(page, back, sizeof page);
    (void)ZSTD_freeDCtx(unzip);
    return v.bytes;
}

/* Above half a page of the file nothing is saved, so no time is spent. */
static void pages_are_compressed_where_it_saves_room(void **state)
{
    (void)state;
    assert_true(packed_bytes(16) < PAGE_DATA_BYTES / 8);
    assert_true(packed_bytes(4) < PAGE_DATA_BYTES / 2);
    assert_true(packed_bytes(1) > PAGE_DATA_BYTES);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, session_dir_make, session_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(incompressible_pages_take_a_page_each),
        TEST(pages_of_older_sessions_are_in_one_piece),
        TEST(deleting_takes_both_pieces),
        TEST(pages_are_compressed_where_it_saves_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
