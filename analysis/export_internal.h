/* What the files of analysis/export share. */
#ifndef RELIVE_ANALYSIS_EXPORT_INTERNAL_H
#define RELIVE_ANALYSIS_EXPORT_INTERNAL_H

#include "base/error.h"
#include "board/machine.h"
#include "mem/phys.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Is the page at this address memory, of whatever kind? */
bool export_is_ram(struct machine *m, uint64_t paddr);
/* Where RAM ends. */
uint64_t export_ram_end(struct machine *m);

/* RAM up to `end` at `offset` of the file on; pages of zeros are holes. */
bool export_ram(struct machine *m, FILE *f, uint64_t offset, uint64_t end);

/* errno in a sentence about the file; returns false. */
bool export_write_error(const char *path, struct error *err);
/* Closes the file; false and err unless ok and all is written. */
bool export_finish(FILE *f, bool ok, const char *path, struct error *err);

#endif
