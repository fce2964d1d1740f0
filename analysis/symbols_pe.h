/* The exports of PE images as symbols. */
#ifndef RELIVE_ANALYSIS_SYMBOLS_PE_H
#define RELIVE_ANALYSIS_SYMBOLS_PE_H

#include "analysis/pe.h"
#include "analysis/symbols.h"

/* Of a loaded image, finished; it may be empty. NULL: no memory. */
struct symbol_table *symbols_of_pe(const char *module,
                                   const struct pe_image *pe);

/* Of a file in memory, at `base`, or where its header says. NULL: err, and path
 * is named in it. */
struct symbol_table *symbols_read_pe(const char *module, const char *path,
                                     const uint8_t *bytes, size_t count,
                                     bool has_base, uint64_t base,
                                     struct error *err);

#endif
