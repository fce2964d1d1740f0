/* The copy-on-write layer of dev/block.h. */
#include "dev/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { SECTORS = 37 }; /* ends inside a 4 KiB block */

struct fake {
    uint64_t fail_at; /* byte offset whose read fails */
    unsigned closed;
};

static bool fake_read(void *context, uint64_t offset, void *out, size_t bytes,
                      struct error *err)
{
    struct fake *f = context;
    uint8_t *to = out;
    if (f->fail_at >= offset && f->fail_at < offset + bytes)
        return error_set(err, ERR_IO, "fake.img: read failed");
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)((offset + i) / 512 + 1);
    return true;
}

static void fake_close(void *context)
{
    ((struct fake *)context)->closed++;
}

static struct block *make(struct fake *f, bool read_only)
{
    struct block_base base = {.bytes = SECTORS * 512,
                              .context = f,
                              .read = fake_read,
                              .close = fake_close};
    f->fail_at = UINT64_MAX;
    struct block *b = block_new("fake.img", &base, read_only, NULL);
    assert_non_null(b);
    return b;
}

static uint8_t first_byte(struct block *b, uint64_t sector)
{
    uint8_t data[512];
    block_read(b, sector, 1, data);
    return data[0];
}

static void a_write_shows_and_leaves_its_neighbours(void **state)
{
    struct fake f = {0};
    struct block *b = make(&f, false);
    uint8_t data[3 * 512];
    (void)state;
    memset(data, 0xEE, sizeof data);
    block_write(b, 7, 3, data);
    uint8_t all[SECTORS * 512];
    block_read(b, 0, SECTORS, all);
    for (unsigned s = 0; s < SECTORS; s++)
        assert_int_equal(all[s * 512 + 511],
                         s >= 7 && s < 10 ? 0xEE : (uint8_t)(s + 1));
    block_free(b);
    assert_int_equal(f.closed, 1);
}

static void the_last_partial_block_is_writable(void **state)
{
    struct fake f = {0};
    struct block *b = make(&f, false);
    uint8_t data[512] = {0x77};
    (void)state;
    block_write(b, SECTORS - 1, 1, data);
    assert_int_equal(first_byte(b, SECTORS - 1), 0x77);
    assert_int_equal(first_byte(b, SECTORS - 2), SECTORS - 1);
    block_free(b);
}

static void the_digest_depends_on_contents_not_on_history(void **state)
{
    struct fake f = {0}, g = {0};
    struct block *a = make(&f, false), *b = make(&g, false);
    uint8_t one[512] = {1}, two[512] = {2}, da[16], db[16], zero[16] = {0};
    (void)state;
    block_digest(a, da);
    assert_memory_equal(da, zero, 16);
    block_write(a, 0, 1, one);
    block_write(a, 20, 1, two);
    block_write(b, 20, 1, one);
    block_digest(b, db);
    block_write(b, 20, 1, two);
    block_digest(b, db);
    block_write(b, 0, 1, one);
    block_digest(a, da);
    assert_memory_not_equal(da, db, 16);
    block_digest(b, db);
    assert_memory_equal(da, db, 16);
    block_free(a);
    block_free(b);
}

static void a_saved_layer_loads_into_a_used_one(void **state)
{
    struct fake f = {0}, g = {0};
    struct block *a = make(&f, false), *b = make(&g, false);
    uint8_t one[512] = {0xAB}, da[16], db[16];
    struct writer w;
    struct reader r;
    struct error err;
    (void)state;
    writer_init(&w);
    block_write(a, 12, 1, one);
    block_write(b, 30, 1, one);
    block_digest(b, db);
    block_save(a, &w);
    reader_init(&r, w.data, w.used);
    assert_true(block_load(b, &r, &err));
    assert_true(reader_done(&r, "block", &err));
    assert_int_equal(first_byte(b, 12), 0xAB);
    assert_int_equal(first_byte(b, 30), 31);
    block_digest(a, da);
    block_digest(b, db);
    assert_memory_equal(da, db, 16);
    writer_fini(&w);
    block_free(a);
    block_free(b);
}

static void truncated_or_wild_saved_layers_are_refused(void **state)
{
    struct fake f = {0}, g = {0};
    struct block *a = make(&f, false), *b = make(&g, false);
    uint8_t one[512] = {0xAB};
    struct writer w;
    struct reader r;
    struct error err;
    (void)state;
    writer_init(&w);
    block_write(a, 12, 1, one);
    block_save(a, &w);
    for (size_t n = 0; n < w.used; n++) {
        reader_init(&r, w.data, n);
        assert_false(block_load(b, &r, &err));
    }
    w.data[16] = 200; /* the block number */
    reader_init(&r, w.data, w.used);
    assert_false(block_load(b, &r, &err));
    w.data[0]++; /* the size of the medium */
    reader_init(&r, w.data, w.used);
    assert_false(block_load(b, &r, &err));
    assert_int_equal(err.code, ERR_MISMATCH);
    writer_fini(&w);
    block_free(a);
    block_free(b);
}

static void a_host_error_is_remembered_and_reads_zeros(void **state)
{
    struct fake f = {0};
    struct block *b = make(&f, true);
    struct error err = {0};
    (void)state;
    f.fail_at = 512;
    assert_int_equal(first_byte(b, 0), 1);
    assert_false(block_failed(b, &err));
    assert_int_equal(first_byte(b, 1), 0);
    assert_true(block_failed(b, &err));
    assert_string_equal(err.text, "fake.img: read failed");
    block_free(b);
}

static void sizes_that_are_no_medium_are_refused(void **state)
{
    struct fake f = {0};
    struct error err;
    struct block_base base = {
        .context = &f, .read = fake_read, .close = fake_close};
    (void)state;
    assert_null(block_new("x", &base, false, &err));
    base.bytes = 513;
    assert_null(block_new("x", &base, false, &err));
    base.bytes = (uint64_t)1 << 50;
    assert_null(block_new("x", &base, false, &err));
    assert_int_equal(f.closed, 3);
}

static void count_block(void *context, uint64_t n)
{
    unsigned *count = context;
    *count += (unsigned)n + 1;
}

static void changes_are_listed_once_apart_from_digests(void **state)
{
    struct fake f = {0};
    struct block *b = make(&f, false);
    uint8_t data[512] = {9}, digest[16];
    const uint64_t *list;
    unsigned seen = 0;
    (void)state;
    assert_true(block_is_new(b));
    block_write(b, 17, 1, data);
    assert_int_equal(block_changes(b, &list), 1);
    assert_int_equal(list[0], 2);
    block_digest(b, digest);
    assert_int_equal(block_changes(b, &list), 1);
    block_forget_changes(b);
    assert_false(block_is_new(b));
    assert_int_equal(block_changes(b, &list), 0);
    block_on_first_write(b, count_block, &seen);
    block_write(b, 16, 1, data);
    block_write(b, 18, 1, data);
    assert_int_equal(seen, 3);
    assert_int_equal(block_changes(b, &list), 1);
    block_free(b);
}

static void a_block_put_back_equals_one_never_written(void **state)
{
    struct fake f = {0};
    struct block *b = make(&f, false);
    uint8_t data[BLOCK_LAYER_BYTES] = {9}, none[16] = {0}, digest[16];
    (void)state;
    block_put(b, 3, data);
    assert_memory_equal(block_contents(b, 3), data, sizeof data);
    block_digest(b, digest);
    assert_memory_not_equal(digest, none, 16);
    block_put(b, 3, NULL);
    assert_null(block_contents(b, 3));
    assert_int_equal(first_byte(b, 24), 25);
    block_digest(b, digest);
    assert_memory_equal(digest, none, 16);
    block_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_shows_and_leaves_its_neighbours),
        cmocka_unit_test(the_last_partial_block_is_writable),
        cmocka_unit_test(the_digest_depends_on_contents_not_on_history),
        cmocka_unit_test(a_saved_layer_loads_into_a_used_one),
        cmocka_unit_test(truncated_or_wild_saved_layers_are_refused),
        cmocka_unit_test(a_host_error_is_remembered_and_reads_zeros),
        cmocka_unit_test(sizes_that_are_no_medium_are_refused),
        cmocka_unit_test(changes_are_listed_once_apart_from_digests),
        cmocka_unit_test(a_block_put_back_equals_one_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
