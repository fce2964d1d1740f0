/* Stored traces as files for other tools. */
#ifndef RELIVE_ANALYSIS_TRACE_EXPORT_H
#define RELIVE_ANALYSIS_TRACE_EXPORT_H

#include "analysis/trace_read.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct trace_export {
    uint64_t from, to; /* ticks, from <= tick < to */
    uint32_t cpu_mhz;  /* ticks a microsecond */
    uint64_t period;   /* perf: instructions between samples; 0: 10007 */
    /* The name of a code address into text, with "+0x..."; false: none. NULL:
     * there are no names. */
    bool (*name)(void *context, uint64_t address, char *text,
                 size_t text_bytes);
    void *context;
};

/* "csv": one line for each instruction, access, device access and event.
 * "chrome": a timeline in the JSON of Chrome's tracing and Perfetto: calls,
 *   interrupts, exceptions, system calls, device accesses, address spaces.
 * "perf": stacks as `perf script` prints them, for flame graphs.
 * "drcov": the code that was executed, for Lighthouse (version 2).
 * False: err. The file is written under another name first. */
bool trace_export(struct trace *t, const char *format, const char *path,
                  const struct trace_export *options, struct error *err);
bool trace_export_known(const char *format);

#endif
