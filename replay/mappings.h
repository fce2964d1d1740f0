/* What the page tables map where, as runs of pages. */
#ifndef RELIVE_REPLAY_MAPPINGS_H
#define RELIVE_REPLAY_MAPPINGS_H

#include "board/machine.h"

#include <stdbool.h>
#include <stdint.h>

struct mapping {
    uint64_t vaddr, paddr, bytes;
    bool is_user, is_writable, is_executable;
};

/* Runs in ascending linear order; false ends the walk. */
typedef bool mapping_fn(void *context, const struct mapping *run);

/* Walk the tables of the current address space without touching accessed bits.
 * Without paging there is one run: the low 4 GiB, as they are. */
void mappings_each(struct machine *m, mapping_fn *fn, void *context);

/* "off", "32-bit", "PAE" or "4-level"; where the top table is. */
const char *mappings_mode(struct machine *m, uint64_t *root);

#endif
