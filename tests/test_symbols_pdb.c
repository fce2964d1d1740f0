/* PDB and PE symbols of programs that clang and lld make here, compared with
 * the linker's map, with offsets that the compiler knows and with the exports;
 * malformed files fail with a sentence or give less. */
#include "analysis/pdb.h"
#include "analysis/symbols_pe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

/* The structures have the same layout in this program where no pointers are. */
#define STRUCTURES                                                            \
    struct inner {                                                            \
        short a;                                                              \
        long long deep;                                                       \
    };                                                                        \
    struct outer {                                                            \
        int first;                                                            \
        char name[15];                                                        \
        unsigned bits : 3;                                                    \
        struct inner in[2], last;                                             \
        union {                                                               \
            int u;                                                            \
            long long v;                                                      \
        } both;                                                               \
        char big[40000];                                                      \
        int far;                                                              \
    };
STRUCTURES
#define TEXT_(...) #__VA_ARGS__
#define TEXT(...)  TEXT_(__VA_ARGS__)

static const char program[] =
    TEXT(STRUCTURES) "\n"
    "struct forward;\n"
    "struct holder { struct outer *where; struct forward *f; struct outer o; };"
    "struct forward { struct holder h; int behind; };\n"
    "struct forward variable;\n"
    "static int hidden_data = 5;\n"
    "int _fltused;\n"
    "static __attribute__((noinline)) int hidden(int a)\n"
    "{ return a * hidden_data + variable.h.o.far; }\n"
    "__declspec(dllexport) int shown(int a) { return hidden(a) + 1; }\n"
    "__declspec(dllexport) int other(void) { return hidden_data++; }\n"
    "int __stdcall start(void *a, int b, void *c)\n"
    "{ (void)a; (void)c; return shown(b); }\n";

static int make(void **state)
{
    char path[100];
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/relive-pdb-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/p.c", dir);
    FILE *f = fopen(path, "w");
    if (!f)
        return -1;
    (void)fputs(program, f);
    (void)fclose(f);
    return system("command -v lld-link clang >/dev/null") == 0 ? 0 : -1;
}

static int drop(void **state)
{
    char command[100];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* name.dll, name.pdb and name.map */
static void build(const char *name, const char *target, const char *entry)
{
    char command[500];
    (void)snprintf(command, sizeof command,
                   "cd %s && clang --target=%s-pc-windows-msvc -g -gcodeview "
                   "-O1 -c p.c -o %s.obj && lld-link /debug /nodefaultlib "
                   "/dll /entry:%s /safeseh:no /map:%s.map /pdb:%s.pdb "
                   "/out:%s.dll %s.obj >log.txt 2>&1 || { cat log.txt; exit 1; "
                   "}",
                   dir, target, name, entry, name, name, name, name);
    assert_int_equal(system(command), 0);
}

static const char *file(const char *name, const char *ending)
{
    static char path[150];
    (void)snprintf(path, sizeof path, "%s/%s%s", dir, name, ending);
    return path;
}

static uint8_t *load(const char *path, size_t *count)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t *bytes = malloc(4 << 20);
    *count = fread(bytes, 1, 4 << 20, f);
    (void)fclose(f);
    return bytes;
}

/* Lines " 0001:00000010 name 0000000180001010 ..." of the map. */
static unsigned compare_with_map(const struct symbol_table *t,
                                 const char *name, uint64_t linked,
                                 uint64_t base)
{
    char line[400], symbol_name[200];
    unsigned long long address;
    unsigned section, offset, n = 0;
    FILE *f = fopen(file(name, ".map"), "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        struct symbol s;
        if (sscanf(line, " %x:%x %199s %llx", &section, &offset, symbol_name,
                   &address) != 4 ||
            section == 0 || address < linked + 0x1000)
            continue;
        /* Names that the linker makes for imports and unwinding aside. */
        if (symbol_name[0] == '?' || symbol_name[0] == '.' ||
            !symbol_table_find(t, symbol_name, &s))
            continue;
        assert_int_equal(s.address, address - linked + base);
        n++;
    }
    (void)fclose(f);
    return n;
}

static void symbols_and_layouts(const char *name, uint64_t linked,
                                const char *decoration, unsigned pointer)
{
    const uint64_t base = 0xfffff80000a00000;
    struct error err;
    struct symbol s;
    struct symbol_place place;
    uint32_t at;
    char text[64];
    struct pdb *p = pdb_open_file(file(name, ".pdb"), &err);
    if (!p)
        fail_msg("%s", err.text);
    struct symbol_table *t = pdb_symbols(p, "m", base, &err);
    if (!t)
        fail_msg("%s", err.text);
    assert_true(compare_with_map(t, name, linked, base) >= 4);
    /* Known from modules alone: static ones. */
    assert_true(symbol_table_find(t, "hidden", &s));
    assert_int_equal(s.kind, SYMBOL_CODE);
    assert_true(s.size > 0);
    assert_true(symbol_table_lookup(t, s.address + s.size - 1, &place));
    assert_string_equal(place.symbol.name, "hidden");
    assert_true(symbol_table_find(t, "hidden_data", &s));
    assert_int_equal(s.kind, SYMBOL_DATA);
    /* Both the procedure and the public name of it. */
    (void)snprintf(text, sizeof text, "%sshown", decoration);
    assert_true(symbol_table_find(t, text, &s));
    assert_true(symbol_table_lookup(t, s.address, &place));
    assert_string_equal(place.symbol.name, "shown");
    symbol_table_free(t);

    static const struct {
        const char *path;
        uint32_t at;
    } rows[] = {{"first", offsetof(struct outer, first)},
                {"name", offsetof(struct outer, name)},
                {"last", offsetof(struct outer, last)},
                {"last.deep", offsetof(struct outer, last.deep)},
                {"both", offsetof(struct outer, both)},
                {"both.v", offsetof(struct outer, both.v)},
                {"far", offsetof(struct outer, far)}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(pdb_member(p, "outer", rows[i].path, &at));
        assert_int_equal(at, rows[i].at);
    }
    assert_false(pdb_member(p, "outer", "bits", &at));
    assert_false(pdb_member(p, "outer", "none", &at));
    assert_false(pdb_member(p, "outer", "last.none", &at));
    assert_false(pdb_member(p, "nobody", "first", &at));
    assert_true(pdb_size(p, "outer", &at));
    assert_int_equal(at, sizeof(struct outer));
    assert_true(pdb_member(p, "holder", "f", &at));
    assert_int_equal(at, pointer);
    assert_true(pdb_member(p, "forward", "h.o.far", &at));
    assert_int_equal(at, (2 * pointer + 7) / 8 * 8 +
                             offsetof(struct outer, far));
    pdb_close(p);
}

static void amd64(void **state)
{
    (void)state;
    build("p64", "x86_64", "start");
    symbols_and_layouts("p64", 0x180000000, "", 8);
}

static void i386(void **state)
{
    (void)state;
    build("p32", "i386", "start");
    symbols_and_layouts("p32", 0x10000000, "_", 4);
}

static void exports_of_files(void **state)
{
    char argument[200];
    struct error err;
    struct symbol a, b;
    struct symbol_place place;
    (void)state;
    build("dll", "x86_64", "start");
    struct symbols *s = symbols_new();
    (void)snprintf(argument, sizeof argument, "%s@0x7fff0000",
                   file("dll", ".dll"));
    assert_true(symbols_add_file(s, argument, &err));
    assert_true(symbols_find(s, "dll!shown", &a));
    assert_true(symbols_lookup(s, a.address + 1, &place));
    assert_string_equal(place.symbol.name, "shown");
    assert_false(symbols_find(s, "hidden", &b));
    symbols_free(s);
    s = symbols_new();
    (void)snprintf(argument, sizeof argument, "%s@0x7fff0000",
                   file("dll", ".pdb"));
    assert_true(symbols_add_file(s, argument, &err));
    assert_true(symbols_find(s, "shown", &b));
    assert_int_equal(a.address, b.address);
    assert_false(symbols_add_file(s, file("dll", ".pdb"), &err));
    assert_non_null(strstr(err.text, "expected FILE@ADDRESS"));
    symbols_free(s);
}

/* The PDB that an image names is the one beside it. */
static void identity(void **state)
{
    struct error err;
    struct pdb_identity id;
    size_t count;
    (void)state;
    build("same", "x86_64", "start");
    struct pdb *p = pdb_open_file(file("same", ".pdb"), &err);
    assert_non_null(p);
    assert_true(pdb_identity(p, &id));
    uint8_t *dll = load(file("same", ".dll"), &count);
    const uint8_t *record = memmem(dll, count, "RSDS", 4);
    assert_non_null(record);
    assert_memory_equal(record + 4, id.guid, 16);
    assert_int_equal(record[20], id.age);
    free(dll);
    pdb_close(p);
}

static void read_all(const uint8_t *bytes, size_t count)
{
    struct error err = {0};
    uint32_t at;
    struct pdb *p = pdb_open("x", bytes, count, &err);
    if (!p) {
        assert_true(err.text[0]);
        return;
    }
    symbol_table_free(pdb_symbols(p, "x", 0, &err));
    (void)pdb_member(p, "forward", "h.o.far", &at);
    pdb_close(p);
}

static void malformed_files(void **state)
{
    size_t count;
    uint32_t random = 12345;
    (void)state;
    build("bad", "x86_64", "start");
    uint8_t *bytes = load(file("bad", ".pdb"), &count);
    for (size_t n = 0; n < count; n += n < 64 ? 1 : 4099) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, bytes, n);
        read_all(cut, n);
        free(cut);
    }
    for (unsigned i = 0; i < 300; i++) {
        random = random * 1664525 + 1013904223;
        size_t at = i < 56 ? i : random % count;
        uint8_t old = bytes[at];
        bytes[at] = (uint8_t)(random >> 24);
        read_all(bytes, count);
        bytes[at] = old;
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amd64),
        cmocka_unit_test(i386),
        cmocka_unit_test(exports_of_files),
        cmocka_unit_test(identity),
        cmocka_unit_test(malformed_files),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
