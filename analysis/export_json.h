/* A machine at a tick as JSON: registers, descriptor tables, memory map,
 * interrupts and the state of every chip, condensed. */
#ifndef RELIVE_ANALYSIS_EXPORT_JSON_H
#define RELIVE_ANALYSIS_EXPORT_JSON_H

#include "base/error.h"
#include "board/machine.h"

#include <jansson.h>
#include <stdbool.h>

bool export_json(struct machine *m, const char *path, struct error *err);

/* Its parts; NULL when out of memory, which jansson's _new() calls take. */
json_t *export_json_registers(struct machine *m);
json_t *export_json_tables(struct machine *m);
/* "0x1f"; JSON's numbers do not hold 64 bits. */
json_t *export_json_hex(uint64_t value);

#endif
