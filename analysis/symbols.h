/* Names of addresses: one interface over tables that several readers fill.
 *
 *     s = symbols_new();
 *     symbols_add_file(s, "vmlinux@0xffffffff81000000", &err);
 *     symbols_lookup(s, address, &place)       "kernel!vfs_read" + 28
 *     symbols_find(s, "vfs_read", &symbol)
 *
 * A table holds the symbols of one module (a program, a library, a kernel) at
 * the addresses where the guest has it. Readers take bytes from files and from
 * guest memory that may be malformed or hostile: they fail with a sentence, or
 * leave out what makes no sense. */
#ifndef RELIVE_ANALYSIS_SYMBOLS_H
#define RELIVE_ANALYSIS_SYMBOLS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum symbol_kind { SYMBOL_CODE, SYMBOL_DATA, SYMBOL_OTHER };

/* Texts live as long as the table. size 0: unknown, up to the next symbol. */
struct symbol {
    const char *module, *name;
    uint64_t address, size;
    enum symbol_kind kind;
};

struct symbol_place {
    struct symbol symbol;
    uint64_t offset;  /* of the address in the symbol */
    const char *file; /* source file, NULL when unknown */
    unsigned line;
};

/* ---- one module
 * -------------------------------------------------------------------- */

struct symbol_table;

struct symbol_table *symbol_table_new(const char *module); /* NULL: no memory */
void symbol_table_free(struct symbol_table *t);            /* takes NULL */

/* Before symbol_table_finish(). Names are copied; a longer one is cut at
 * SYMBOL_NAME_MAX, an empty one left out, unprintable bytes become '?'. Out of
 * memory is remembered until symbol_table_finish(). */
enum { SYMBOL_NAME_MAX = 4000 };
void symbol_table_add(struct symbol_table *t, const char *name,
                      size_t name_bytes, uint64_t address, uint64_t size,
                      enum symbol_kind kind);
/* Addresses that are the module's; without it, all from its first symbol to the
 * end of its last. */
void symbol_table_set_range(struct symbol_table *t, uint64_t low,
                            uint64_t high);
/* Source lines, asked for by address; owned by the table: drop() at its end.
 * True: *file (which lives as long as the source) and *line are set. */
typedef bool symbol_line_fn(void *source, uint64_t address, const char **file,
                            unsigned *line);
void symbol_table_set_lines(struct symbol_table *t, symbol_line_fn *line,
                            void (*drop)(void *source), void *source);

/* Sorts. False: err. */
bool symbol_table_finish(struct symbol_table *t, struct error *err);

const char *symbol_table_module(const struct symbol_table *t);
size_t symbol_table_count(const struct symbol_table *t);
/* In the order of addresses, and where equal in that of adding. */
struct symbol symbol_table_at(const struct symbol_table *t, size_t index);
bool symbol_table_lookup(const struct symbol_table *t, uint64_t address,
                         struct symbol_place *out);
/* The first by that name. */
bool symbol_table_find(const struct symbol_table *t, const char *name,
                       struct symbol *out);

/* ---- all that is known
 * ------------------------------------------------------------ */

struct symbols;

struct symbols *symbols_new(void);      /* NULL: no memory */
void symbols_free(struct symbols *s);   /* takes NULL */

/* Takes the table over, also when it fails. A later table is asked first. */
bool symbols_add(struct symbols *s, struct symbol_table *t, struct error *err);
/* Frees the tables of a module; false: there are none. */
bool symbols_remove(struct symbols *s, const char *module);
/* Frees all tables but the one added first. */
void symbols_keep_first(struct symbols *s);

bool symbols_lookup(const struct symbols *s, uint64_t address,
                    struct symbol_place *out);
/* "name" or "module!name". */
bool symbols_find(const struct symbols *s, const char *name,
                  struct symbol *out);
/* Every symbol, table by table; false stops. */
typedef bool symbols_each_fn(void *context, const struct symbol *symbol);
void symbols_each(const struct symbols *s, symbols_each_fn *fn, void *context);

/* "module!name+0x1c (file.c:12)". */
void symbol_place_format(const struct symbol_place *place, char *out,
                         size_t bytes);
/* The same of an address, or "0x..." for what has no name. */
void symbols_format(const struct symbols *s, uint64_t address, char *out,
                    size_t bytes);

/* ---- files
 * ------------------------------------------------------------------------ */

/* "FILE" or "FILE@ADDRESS", where the address is that of the image's first byte
 * in the guest (without one: where the file says). ELF, PE, and PDB, whose
 * image must be given an address. The module's name is the file's, without
 * directory and extension. */
bool symbols_add_file(struct symbols *s, const char *argument,
                      struct error *err);

/* Readers of whole files in memory; the result is finished. NULL: err.
 * has_base: the image's first byte is at `base`. path is for sentences, and
 * for source lines, which are read from the file itself; NULL: none. */
struct symbol_table *symbols_read_elf(const char *module, const char *path,
                                      const uint8_t *bytes, size_t count,
                                      bool has_base, uint64_t base,
                                      struct error *err);

/* ---- source lines of ELF files (DWARF 2 to 5) ---------------------------------
 */

/* Opens the lines of a file's own debugging information; bias is added to its
 * addresses. True without lines when the file has none. */
bool symbols_add_dwarf(struct symbol_table *t, const char *path,
                       uint64_t bias, struct error *err);

#endif
