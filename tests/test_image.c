/* Image files: raw, qcow2 as qemu-img writes it (when it is installed), and
 * files that are no image. */
#include "host/image.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/relive-image-XXXXXX";

static char *path_of(const char *name)
{
    static char path[4][300];
    static unsigned turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put(const char *name, const void *data, size_t bytes)
{
    int fd = open(path_of(name), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    assert_int_equal(close(fd), 0);
}

static bool shell(const char *command)
{
    char line[1000];
    (void)snprintf(line, sizeof line, "cd %s && %s >/dev/null 2>&1", folder,
                   command);
    return system(line) == 0;
}

/* A pattern with runs of zeros and compressible and random-looking pages. */
static void fill(uint8_t *data, size_t bytes)
{
    uint32_t x = 1;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525 + 1013904223;
        unsigned kind = (unsigned)(i >> 16) % 3;
        data[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)(i >> 8) : x >> 24;
    }
}

static void expect(const char *name, const uint8_t *data, size_t bytes)
{
    struct block_base base;
    struct error err = {0};
    uint8_t hash[16];
    uint8_t *got = malloc(bytes);
    if (!image_open(path_of(name), &base, hash, &err))
        fail_msg("%s", err.text);
    assert_int_equal(base.bytes, bytes);
    /* In odd pieces, so that clusters are crossed. */
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < 50 * 512 ? bytes - at : 50 * 512;
        assert_true(base.read(base.context, at, got + at, n, &err));
        at += n;
    }
    assert_memory_equal(got, data, bytes);
    base.close(base.context);
    free(got);
}

static void refuse(const char *name, const char *words)
{
    struct block_base base;
    struct error err = {0};
    uint8_t hash[16];
    assert_false(image_open(path_of(name), &base, hash, &err));
    if (!strstr(err.text, words))
        fail_msg("expected '%s' in: %s", words, err.text);
    assert_null(strchr(err.text, '\n'));
}

static void raw_sizes_round_up_with_zeros(void **state)
{
    uint8_t data[1024];
    (void)state;
    memset(data, 0x5A, 700);
    memset(data + 700, 0, 324);
    put("raw.img", data, 700);
    expect("raw.img", data, 1024);
}

static void the_hash_follows_the_contents_not_the_path(void **state)
{
    struct block_base base;
    uint8_t data[1024] = {1}, a[16], b[16], c[16];
    (void)state;
    put("one.img", data, sizeof data);
    put("two.img", data, sizeof data);
    data[1000] = 9;
    put("three.img", data, sizeof data);
    assert_true(image_open(path_of("one.img"), &base, a, NULL));
    base.close(base.context);
    assert_true(image_open(path_of("two.img"), &base, b, NULL));
    base.close(base.context);
    assert_true(image_open(path_of("three.img"), &base, c, NULL));
    base.close(base.context);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, c, 16);
}

static void foreign_formats_name_the_conversion(void **state)
{
    uint8_t data[4096] = {0};
    (void)state;
    memcpy(data, "KDMV", 4);
    put("a.vmdk", data, sizeof data);
    refuse("a.vmdk", "qemu-img convert -f vmdk");
    memset(data, 0, sizeof data);
    memcpy(data + 4096 - 512, "conectix", 8);
    put("a.vhd", data, sizeof data);
    refuse("a.vhd", "qemu-img convert -f vpc");
}

static void absent_empty_and_odd_files_are_refused(void **state)
{
    (void)state;
    refuse("nothing.img", "No such file");
    put("empty.img", "", 0);
    refuse("empty.img", "empty");
    refuse(".", "expected a file or a block device");
}

static void raw_files_cut_later_are_an_error(void **state)
{
    struct block_base base;
    struct error err = {0};
    uint8_t data[4096] = {7}, hash[16];
    (void)state;
    put("cut.img", data, sizeof data);
    assert_true(image_open(path_of("cut.img"), &base, hash, &err));
    assert_int_equal(truncate(path_of("cut.img"), 512), 0);
    assert_false(base.read(base.context, 2048, data, 512, &err));
    assert_non_null(strstr(err.text, "now ends"));
    base.close(base.context);
}

/* ---- qcow2 by hand: version 2, 512-byte clusters ---------------------------
 */

enum { HAND = 4096 };
static void by_hand(uint8_t *f)
{
    memset(f, 0, HAND);
    memcpy(f, "QFI\xfb", 4);
    store_be32(f + 4, 2);
    store_be32(f + 20, 9);        /* cluster bits */
    store_be64(f + 24, 64 * 512); /* one L2 table */
    store_be32(f + 36, 1);
    store_be64(f + 40, 1024); /* L1 */
    store_be64(f + 1024, 1536 | 1ull << 63);
    store_be64(f + 1536 + 8 * 3, 2048 | 1ull << 63);
    memset(f + 2048, 0xC3, 512);
}

static void a_qcow2_built_by_hand_reads(void **state)
{
    uint8_t file[HAND], data[64 * 512] = {0};
    (void)state;
    by_hand(file);
    memset(data + 3 * 512, 0xC3, 512);
    put("hand.qcow2", file, sizeof file);
    expect("hand.qcow2", data, sizeof data);
}

static void hostile_qcow2_headers_are_refused(void **state)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        const char *words;
    } cases[] = {
        {4, 4, 9, "version"},
        {20, 4, 40, "cluster size"},
        {20, 4, 3, "cluster size"},
        {24, 8, 0, "virtual size"},
        {24, 8, 1ull << 60, "virtual size"},
        {24, 8, 1ull << 40, "L1 table's size"},
        {32, 4, 1, "encrypted"},
        {40, 8, 1ull << 40, "L1 table's offset"},
        {8, 8, 1ull << 50, "backing file name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t file[HAND];
        by_hand(file);
        if (cases[i].bytes == 4)
            store_be32(file + cases[i].at, (uint32_t)cases[i].value);
        else
            store_be64(file + cases[i].at, cases[i].value);
        put("bad.qcow2", file, sizeof file);
        refuse("bad.qcow2", cases[i].words);
    }
}

static void a_backing_chain_to_itself_is_refused(void **state)
{
    uint8_t file[HAND];
    (void)state;
    by_hand(file);
    store_be64(file + 8, 3000);
    store_be32(file + 16, 10);
    memcpy(file + 3000, "loop.qcow2", 10);
    put("loop.qcow2", file, sizeof file);
    refuse("loop.qcow2", "backing chain");
}

/* Every byte of the metadata flipped: reading fails or not, but never harms. */
static void bit_flips_in_qcow2_do_no_harm(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 2048 * 8; bit += 7) {
        uint8_t file[HAND], hash[16], data[512];
        struct block_base base;
        struct error err;
        if (bit / 8 > 112 && bit / 8 < 1024)
            continue;
        by_hand(file);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put("flip.qcow2", file, sizeof file);
        if (!image_open(path_of("flip.qcow2"), &base, hash, &err))
            continue;
        for (uint64_t at = 0; at + 512 <= base.bytes && at < 64 * 512;
             at += 512)
            (void)base.read(base.context, at, data, 512, &err);
        base.close(base.context);
    }
}

/* ---- qcow2 as qemu-img writes it --------------------------------------------
 */

enum { MEDIUM = 1 << 20 };

static void with_qemu_img(const char *command, const char *name)
{
    static uint8_t data[MEDIUM];
    fill(data, sizeof data);
    put("src.raw", data, sizeof data);
    if (!shell("qemu-img --version"))
        skip();
    assert_true(shell(command));
    expect(name, data, sizeof data);
}

static void qemu_img_version_3_reads(void **state)
{
    (void)state;
    with_qemu_img("qemu-img convert -O qcow2 src.raw a.qcow2", "a.qcow2");
}

static void qemu_img_version_2_compressed_reads(void **state)
{
    (void)state;
    with_qemu_img("qemu-img convert -c -o compat=0.10 -O qcow2 src.raw "
                  "b.qcow2",
                  "b.qcow2");
}

static void qemu_img_zstd_small_clusters_read(void **state)
{
    (void)state;
    with_qemu_img("qemu-img convert -c -o compression_type=zstd,"
                  "cluster_size=4096 -O qcow2 src.raw c.qcow2",
                  "c.qcow2");
}

static void qemu_img_backing_file_reads(void **state)
{
    (void)state;
    with_qemu_img("qemu-img create -b src.raw -F raw -f qcow2 d.qcow2",
                  "d.qcow2");
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char line[100];
    (void)state;
    (void)snprintf(line, sizeof line, "rm -r %s", folder);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_sizes_round_up_with_zeros),
        cmocka_unit_test(the_hash_follows_the_contents_not_the_path),
        cmocka_unit_test(foreign_formats_name_the_conversion),
        cmocka_unit_test(absent_empty_and_odd_files_are_refused),
        cmocka_unit_test(raw_files_cut_later_are_an_error),
        cmocka_unit_test(a_qcow2_built_by_hand_reads),
        cmocka_unit_test(hostile_qcow2_headers_are_refused),
        cmocka_unit_test(a_backing_chain_to_itself_is_refused),
        cmocka_unit_test(bit_flips_in_qcow2_do_no_harm),
        cmocka_unit_test(qemu_img_version_3_reads),
        cmocka_unit_test(qemu_img_version_2_compressed_reads),
        cmocka_unit_test(qemu_img_zstd_small_clusters_read),
        cmocka_unit_test(qemu_img_backing_file_reads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
