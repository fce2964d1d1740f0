/* Symbol files and tables: ELF with DWARF lines, PDB, BTF, kallsyms. Edited ones
 * must never make a reader leave them, or go on for ever. */
#include "analysis/btf.h"
#include "analysis/kallsyms.h"
#include "analysis/pdb.h"
#include "analysis/symbols.h"
#include "lib_fuzz.h"
#include "lib_fuzz_symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void ask(struct symbol_table *t)
{
    struct symbol_place place;
    struct symbol s;
    if (!t)
        return;
    for (size_t i = 0; i < symbol_table_count(t) && i < 50; i++) {
        s = symbol_table_at(t, i);
        if (!symbol_table_find(t, s.name, &s))
            fuzz_fail("%s is not found", s.name);
        if (symbol_table_lookup(t, s.address + s.size / 2, &place) &&
            place.symbol.address > s.address + s.size / 2)
            fuzz_fail("a symbol above the address");
    }
    symbol_table_free(t);
}

static void elf(struct fuzz *f, uint8_t *bytes, bool has_lines)
{
    struct error err = {0};
    char path[64];
    size_t n = symimage_elf(bytes, fuzz_u8(f) & 1, has_lines);
    fuzz_edit(f, bytes, &n, SYMIMAGE_BYTES);
    if (!has_lines) {
        ask(symbols_read_elf("x", NULL, bytes, n, true, 0x1000, &err));
        return;
    }
    int fd = memfd_create("elf", MFD_CLOEXEC);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, bytes, n) == (ssize_t)n)
        ask(symbols_read_elf("x", path, bytes, n, false, 0, &err));
    (void)close(fd);
}

static void pdb(struct fuzz *f, uint8_t *bytes)
{
    struct error err = {0};
    uint32_t at;
    size_t n = symimage_pdb(bytes, fuzz_u8(f) & 1);
    fuzz_edit(f, bytes, &n, SYMIMAGE_BYTES);
    struct pdb *p = pdb_open("x", bytes, n, &err);
    if (!p)
        return;
    ask(pdb_symbols(p, "x", 0x400000, &err));
    (void)pdb_member(p, "s", "in.b", &at);
    (void)pdb_size(p, "in", &at);
    pdb_close(p);
}

static void btf(struct fuzz *f, uint8_t *bytes)
{
    uint32_t at;
    size_t n = symimage_btf(bytes);
    fuzz_edit(f, bytes, &n, SYMIMAGE_BYTES);
    struct btf *b = btf_open(bytes, n);
    if (!b)
        return;
    (void)btf_member(b, "task", "links.previous", &at);
    (void)btf_member(b, "task", "deep", &at);
    (void)btf_size(b, "task", &at);
    btf_close(b);
}

static void kallsyms(struct fuzz *f, uint8_t *bytes)
{
    struct kallsyms k;
    unsigned choice = fuzz_u8(f), word = choice & 1 ? 8 : 4;
    size_t tokens = 0;
    size_t n = symimage_kallsyms(bytes, word, choice / 2 % 3,
                                 word == 8 ? 0xffffffff81000000 : 0xc1000000,
                                 &tokens);
    fuzz_edit(f, bytes, &n, SYMIMAGE_BYTES);
    if (tokens < n)
        ask(kallsyms_parse(bytes, n, tokens, word, &k));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[SYMIMAGE_BYTES];
    struct fuzz f = fuzz_begin(data, size);
    unsigned which = fuzz_u8(&f) % 6;
    if (which == 0 || which == 1)
        elf(&f, room, which == 1);
    else if (which == 2 || which == 3)
        pdb(&f, room);
    else if (which == 4)
        btf(&f, room);
    else
        kallsyms(&f, room);
    return 0;
}
