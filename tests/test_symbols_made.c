/* Readers of symbols and types on files and tables made byte by byte: what no
 * tool at hand makes, and every order of the kernel's tables. */
#include "analysis/btf.h"
#include "analysis/kallsyms.h"
#include "analysis/pdb.h"
#include "analysis/symbols.h"
#include "lib_fuzz_symbols.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t bytes[SYMIMAGE_BYTES];

static void elf(void **state)
{
    char path[] = "/tmp/relive-made-XXXXXX";
    struct error err;
    struct symbol s;
    struct symbol_place place;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (unsigned is_64 = 0; is_64 < 2; is_64++) {
        size_t n = symimage_elf(bytes, is_64, true);
        assert_int_equal(pwrite(fd, bytes, n, 0), n);
        struct symbol_table *t =
            symbols_read_elf("x", path, bytes, n, false, 0, &err);
        assert_non_null(t);
        assert_int_equal(symbol_table_count(t), 3);
        assert_true(symbol_table_find(t, "data", &s));
        assert_int_equal(s.address, 0x402000);
        assert_int_equal(s.kind, SYMBOL_DATA);
        assert_true(symbol_table_lookup(t, 0x401007, &place));
        assert_string_equal(place.symbol.name, "first");
        assert_non_null(place.file);
        assert_string_equal(place.file, "x.c");
        assert_int_equal(place.line, 7);
        assert_true(symbol_table_lookup(t, 0x401008, &place));
        assert_int_equal(place.line, 9);
        symbol_table_free(t);
    }
    (void)close(fd);
    (void)unlink(path);
}

static void pdb(void **state)
{
    struct error err;
    struct symbol s;
    struct symbol_place place;
    uint32_t at;
    (void)state;
    for (unsigned has_map = 0; has_map < 2; has_map++) {
        size_t n = symimage_pdb(bytes, has_map);
        struct pdb *p = pdb_open("x", bytes, n, &err);
        assert_non_null(p);
        struct symbol_table *t = pdb_symbols(p, "x", 0x400000, &err);
        assert_non_null(t);
        assert_true(symbol_table_find(t, "proc", &s));
        assert_int_equal(s.address, 0x401010 + (has_map ? 0x100 : 0));
        assert_int_equal(s.size, 0x20);
        assert_true(symbol_table_lookup(t, s.address + 0x1f, &place));
        assert_true(symbol_table_find(t, "_public", &s));
        assert_int_equal(s.address, 0x403008);
        symbol_table_free(t);
        assert_true(pdb_member(p, "s", "a", &at));
        assert_int_equal(at, 0);
        assert_true(pdb_member(p, "s", "in.b", &at));
        assert_int_equal(at, 12);
        assert_true(pdb_size(p, "in", &at));
        assert_int_equal(at, 8);
        assert_false(pdb_member(p, "s", "in.c", &at));
        pdb_close(p);
    }
}

static void btf(void **state)
{
    uint32_t at;
    (void)state;
    size_t n = symimage_btf(bytes);
    struct btf *b = btf_open(bytes, n);
    assert_non_null(b);
    assert_true(btf_member(b, "task", "pid", &at));
    assert_int_equal(at, 0);
    assert_true(btf_member(b, "task", "a", &at));
    assert_int_equal(at, 8);
    assert_true(btf_member(b, "task", "deep", &at));
    assert_int_equal(at, 16);
    assert_true(btf_member(b, "task", "links.previous", &at));
    assert_int_equal(at, 32);
    assert_false(btf_member(b, "task", "bits", &at));
    assert_false(btf_member(b, "task", "links.none", &at));
    assert_false(btf_member(b, "nobody", "pid", &at));
    assert_true(btf_size(b, "task", &at));
    assert_int_equal(at, 48);
    btf_close(b);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        btf_close(btf_open(copy, cut));
        free(copy);
    }
}

static void kallsyms(void **state)
{
    static const uint64_t bases[] = {0xc1000000, 0xffffffff81000000};
    (void)state;
    for (unsigned order = 0; order < 3; order++)
        for (unsigned is_64 = 0; is_64 < 2; is_64++) {
            size_t tokens = 0;
            struct kallsyms k;
            struct symbol s;
            unsigned word = is_64 ? 8 : 4;
            size_t n = symimage_kallsyms(bytes, word, order, bases[is_64],
                                         &tokens);
            struct symbol_table *t =
                kallsyms_parse(bytes, n, tokens, word, &k);
            assert_non_null(t);
            assert_int_equal(k.base, bases[is_64]);
            assert_int_equal(symbol_table_count(t), 600 + is_64);
            assert_true(symbol_table_find(t, "f599", &s));
            assert_int_equal(s.address, bases[is_64] + 599 * 16);
            assert_int_equal(s.kind, SYMBOL_CODE);
            if (is_64) {
                assert_true(symbol_table_find(t, "cpu", &s));
                assert_int_equal(s.address, 0x40);
            }
            symbol_table_free(t);
            assert_null(kallsyms_parse(bytes, n, tokens + 2, word, &k));
            assert_null(kallsyms_parse(bytes, tokens, tokens, word, &k));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elf),
        cmocka_unit_test(pdb),
        cmocka_unit_test(btf),
        cmocka_unit_test(kallsyms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
