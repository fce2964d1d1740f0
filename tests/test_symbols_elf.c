/* ELF symbols and DWARF lines, compared with nm and addr2line on programs that
 * the test compiles; malformed files fail with a sentence or give less. */
#include "analysis/symbols.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char program[] =
    "#include \"inner.h\"\n"
    "int data = 3;\n"
    "static int hidden(int a)\n"
    "{\n"
    "    for (int i = 0; i < a; i++)\n"
    "        data += inner(i);\n"
    "    return data;\n"
    "}\n"
    "int shown(int a)\n"
    "{\n"
    "    if (a > 7)\n"
    "        return hidden(a * 3);\n"
    "    return hidden(a) + 1;\n"
    "}\n"
    "void _start(void)\n"
    "{\n"
    "    data = shown(data);\n"
    "    for (;;)\n"
    "        ;\n"
    "}\n";
static const char header[] = "static inline int inner(int i)\n"
                             "{\n"
                             "    return i * i +\n"
                             "           7;\n"
                             "}\n";

static void write_file(const char *name, const void *bytes, size_t count)
{
    char path[100];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
}

static int make(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/relive-elf-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    write_file("a.c", program, sizeof program - 1);
    write_file("inner.h", header, sizeof header - 1);
    return 0;
}

static int drop(void **state)
{
    char command[100];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* Compiles it with more options to dir/name. */
static void compile(const char *options, const char *name)
{
    char command[400];
    (void)snprintf(command, sizeof command,
                   "cd %s && cc -nostdlib -fno-pic -no-pie -static "
                   "-fno-stack-protector %s a.c -o %s",
                   dir, options, name);
    assert_int_equal(system(command), 0);
}

static struct symbols *open_file(const char *name, const char *where)
{
    char argument[150];
    struct error err;
    struct symbols *s = symbols_new();
    (void)snprintf(argument, sizeof argument, "%s/%s%s", dir, name, where);
    if (!symbols_add_file(s, argument, &err))
        fail_msg("%s", err.text);
    return s;
}

static FILE *run(const char *format, const char *name, uint64_t address)
{
    char command[300];
    (void)snprintf(command, sizeof command, format, dir, name,
                   (unsigned long long)address);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    return f;
}

/* Every symbol that nm lists, by name and by address. Returns how many. */
static unsigned compare_with_nm(const struct symbols *s, const char *name,
                                uint64_t bias)
{
    char line[300], word[200];
    unsigned long long address;
    unsigned n = 0;
    FILE *f = run("cd %s && nm --defined-only %s", name, 0);
    while (fgets(line, sizeof line, f)) {
        char type;
        struct symbol found;
        struct symbol_place place;
        assert_int_equal(sscanf(line, "%llx %c %199s", &address, &type, word),
                         3);
        if (type == 'A' || word[0] == '.')
            continue;
        assert_true(symbols_find(s, word, &found));
        assert_int_equal(found.address, address + bias);
        if (type == 'T' || type == 't') {
            assert_true(symbols_lookup(s, address + bias, &place));
            assert_string_equal(place.symbol.name, word);
            assert_int_equal(place.offset, 0);
        }
        n++;
    }
    assert_int_equal(pclose(f), 0);
    return n;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Function and line of every byte of code. */
static unsigned compare_with_addr2line(const struct symbols *s,
                                       const char *name, uint64_t bias)
{
    struct symbol from, to;
    unsigned n = 0;
    assert_true(symbols_find(s, "hidden", &from));
    assert_true(symbols_find(s, "_start", &to));
    for (uint64_t at = from.address; at < to.address + to.size; at++) {
        char function[200], line[300], ours[200];
        struct symbol_place place;
        FILE *f = run("cd %s && addr2line -f -e %s 0x%llx", name, at - bias);
        assert_non_null(fgets(function, sizeof function, f));
        assert_non_null(fgets(line, sizeof line, f));
        assert_int_equal(pclose(f), 0);
        if (strncmp(function, "??", 2) == 0)
            continue;
        line[strcspn(line, " \n")] = 0;
        assert_true(symbols_lookup(s, at, &place));
        assert_non_null(place.file);
        (void)snprintf(ours, sizeof ours, "%s:%u", base_name(place.file),
                       place.line);
        assert_string_equal(ours, base_name(line));
        n++;
    }
    return n;
}

static void every_version_of_dwarf(void **state)
{
    (void)state;
    for (unsigned version = 2; version <= 5; version++)
        for (unsigned bits = 32; bits <= 64; bits += 32) {
            char options[64], name[16];
            (void)snprintf(options, sizeof options, "-O0 -m%u -gdwarf-%u", bits,
                           version);
            (void)snprintf(name, sizeof name, "p%u-%u", bits, version);
            compile(options, name);
            struct symbols *s = open_file(name, "");
            assert_true(compare_with_nm(s, name, 0) >= 4);
            if (bits == 64)
                assert_true(compare_with_addr2line(s, name, 0) > 60);
            symbols_free(s);
        }
}

static void compressed_and_moved(void **state)
{
    struct symbol symbol;
    struct symbol_place place;
    char text[200];
    (void)state;
    compile("-O1 -gdwarf-5 -gz", "moved");
    struct symbols *s = open_file("moved", "@0xffff800000000000");
    /* Linked at 400000h, the first segment of a static program. */
    uint64_t bias = 0xffff800000000000 - 0x400000;
    assert_true(compare_with_nm(s, "moved", bias) >= 3);
    assert_true(symbols_find(s, "moved!shown", &symbol));
    assert_int_equal(symbol.kind, SYMBOL_CODE);
    assert_true(symbols_lookup(s, symbol.address + 1, &place));
    assert_string_equal(base_name(place.file), "a.c");
    symbols_format(s, symbol.address + 1, text, sizeof text);
    assert_non_null(strstr(text, "moved!shown+0x1 (a.c:"));
    symbols_format(s, 0x1234, text, sizeof text);
    assert_string_equal(text, "0x1234");
    assert_false(symbols_lookup(s, symbol.address - bias, &place));
    symbols_free(s);
}

static void dynamic_symbols_when_stripped(void **state)
{
    struct symbol symbol;
    (void)state;
    compile("-O1 -shared -fPIC -s", "lib.so");
    struct symbols *s = open_file("lib.so", "@0x10000");
    assert_true(symbols_find(s, "shown", &symbol));
    assert_false(symbols_find(s, "hidden", &symbol));
    char line[200];
    unsigned long long address;
    FILE *f = run("cd %s && nm -D --defined-only %s | grep shown", "lib.so", 0);
    assert_non_null(fgets(line, sizeof line, f));
    (void)pclose(f);
    assert_int_equal(sscanf(line, "%llx", &address), 1);
    assert_int_equal(symbol.address, address + 0x10000);
    symbols_free(s);
}

static uint8_t *load(const char *name, size_t *count)
{
    char path[100];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(1 << 20);
    *count = fread(bytes, 1, 1 << 20, f);
    (void)fclose(f);
    return bytes;
}

/* Truncated anywhere, or with any byte of the header changed: no crash, and a
 * sentence when there is no table. */
static void malformed_files(void **state)
{
    size_t count;
    struct error err;
    (void)state;
    compile("-O1 -g", "whole");
    uint8_t *bytes = load("whole", &count);
    for (size_t n = 0; n < count; n += n < 128 ? 1 : 97) {
        err.text[0] = 0;
        /* A copy of its own size, so that reading past its end is noticed. */
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, bytes, n);
        struct symbol_table *t =
            symbols_read_elf("cut", NULL, cut, n, true, 0x1000, &err);
        assert_true(t || err.text[0]);
        symbol_table_free(t);
        free(cut);
    }
    for (size_t at = 0; at < 64; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            struct symbol_table *t = symbols_read_elf(
                "bad", NULL, bytes, count, true, 0x1000, &err);
            symbol_table_free(t);
            bytes[at] ^= (uint8_t)(1u << bit);
        }
    free(bytes);
}

static void bad_arguments_are_refused(void **state)
{
    static const struct {
        const char *argument, *sentence;
    } rows[] = {
        {"/nonexistent/x", "/nonexistent/x: cannot be read"},
        {"/etc/passwd", "expected an ELF, PE or PDB file"},
        {"/etc/passwd@x12", "expected FILE or FILE@ADDRESS"},
        {"/etc/passwd@0x12z", "expected FILE or FILE@ADDRESS"},
        {"@0x12", "expected the name of a file"},
        {"/tmp", "expected a file with symbols"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error err;
        struct symbols *s = symbols_new();
        assert_false(symbols_add_file(s, rows[i].argument, &err));
        if (!strstr(err.text, rows[i].sentence))
            fail_msg("%s", err.text);
        symbols_free(s);
    }
}

static void first_of_equal_addresses_and_sizes(void **state)
{
    struct symbol_place place;
    struct error err;
    (void)state;
    struct symbol_table *t = symbol_table_new("m");
    symbol_table_add(t, "whole", 5, 0x1000, 0x100, SYMBOL_CODE);
    symbol_table_add(t, "short", 5, 0x1000, 0x10, SYMBOL_CODE);
    symbol_table_add(t, "late", 4, 0x2000, 0, SYMBOL_CODE);
    symbol_table_add(t, "", 0, 0x1800, 0, SYMBOL_CODE);
    assert_true(symbol_table_finish(t, &err));
    assert_int_equal(symbol_table_count(t), 3);
    assert_true(symbol_table_lookup(t, 0x1008, &place));
    assert_string_equal(place.symbol.name, "whole");
    assert_true(symbol_table_lookup(t, 0x10ff, &place));
    assert_false(symbol_table_lookup(t, 0x1100, &place));
    assert_false(symbol_table_lookup(t, 0xfff, &place));
    assert_true(symbol_table_lookup(t, 0x2fff, &place));
    assert_int_equal(place.offset, 0xfff);
    assert_false(symbol_table_lookup(t, 0x3000, &place));
    struct symbols *s = symbols_new();
    assert_true(symbols_add(s, t, &err));
    assert_false(symbols_remove(s, "n"));
    assert_true(symbols_remove(s, "m"));
    assert_false(symbols_lookup(s, 0x1000, &place));
    symbols_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version_of_dwarf),
        cmocka_unit_test(compressed_and_moved),
        cmocka_unit_test(dynamic_symbols_when_stripped),
        cmocka_unit_test(malformed_files),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(first_of_equal_addresses_and_sizes),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
