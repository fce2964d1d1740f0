/* Names compiled guest code for perf(1): /tmp/perf-PID.map, one line for each
 * piece of code ("start size name", Linux tools/perf/Documentation/
 * jit-interface.txt). */
#ifndef RELIVE_HOST_PERF_MAP_H
#define RELIVE_HOST_PERF_MAP_H

#include "base/error.h"
#include "board/machine.h"

struct perf_map;

/* Creates this process's map. NULL and err when it cannot be written. */
struct perf_map *perf_map_open(struct error *err);
/* A jit_code_fn; context is the map. */
void perf_map_add(void *context, const struct jit_code *code);
void perf_map_close(struct perf_map *p); /* takes NULL; the file stays */

#endif
