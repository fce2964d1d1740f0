/* The symbols of a running Linux kernel, from the tables that it keeps of them
 * in its own memory (kernel/kallsyms.c and scripts/kallsyms.c of Linux 4.20 and
 * later, whose tables come in several orders). */
#ifndef RELIVE_ANALYSIS_KALLSYMS_H
#define RELIVE_ANALYSIS_KALLSYMS_H

#include "analysis/guest_memory.h"
#include "analysis/symbols.h"

enum { KALLSYMS_MARK_BYTES = 64 };

/* Where a kernel was found. */
struct kallsyms {
    uint64_t base;   /* linear address of its first byte */
    uint64_t paddr;  /* where that is in physical memory; the image is in one
                        piece */
    uint64_t root;   /* page tables that map it (a value of CR3) */
    uint64_t tables; /* physical address of the token table */
    uint8_t mark[KALLSYMS_MARK_BYTES]; /* what is there */
};

/* Looks through all memory. NULL: there is no kernel whose tables make sense
 * and that the page tables map, or no memory. The module is "kernel". */
struct symbol_table *kallsyms_find(const struct guest_memory *g,
                                   struct kallsyms *out);

/* Cheap: is the same kernel there now? Sets root to tables of now. */
bool kallsyms_is_there(const struct guest_memory *g, struct kallsyms *k);

/* The tables in a copy of memory, whose first byte was at an address that is a
 * multiple of 8. tokens: where the tokens "0", "1", ... "9" begin in it. NULL:
 * they make no sense. Sets base and, within the copy, tables. */
struct symbol_table *kallsyms_parse(const uint8_t *bytes, size_t count,
                                    size_t tokens, unsigned word,
                                    struct kallsyms *out);

#endif
