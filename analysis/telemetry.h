/* Telemetry of a run: totals and a series over its time, as JSON.
 *
 * The names and units are fixed: analysis/telemetry.schema.json.
 * A sample is taken once a second of host time; a machine that interprets has 0
 * in every jit value. */
#ifndef RELIVE_ANALYSIS_TELEMETRY_H
#define RELIVE_ANALYSIS_TELEMETRY_H

#include "analysis/frames.h"
#include "base/error.h"
#include "board/stats.h"

#include <stdint.h>

struct telemetry;

enum { TELEMETRY_WINDOW_MS = 1000 };

/* engine: its name, kept in the JSON; cpu_mhz: ticks of a guest microsecond.
 * NULL: out of memory. */
struct telemetry *telemetry_new(const char *engine, uint32_t cpu_mhz);
void telemetry_free(struct telemetry *t); /* takes NULL */

/* Is a window of host time over? host_ns: a monotonic clock. */
bool telemetry_due(const struct telemetry *t, uint64_t host_ns);
/* The figures now: the first call begins the run, later ones end a window. */
void telemetry_sample(struct telemetry *t, uint64_t host_ns,
                      const struct machine_stats *now);
/* Totals since the first sample and all windows to a file; its old contents
 * stay when that fails. */
bool telemetry_write(const struct telemetry *t,
                     const struct frame_figures *frames, const char *path,
                     struct error *err);

/* What a panel shows: totals since the first sample up to now, and the rates of
 * the last window. */
struct telemetry_rates {
    uint64_t window_ms;
    double mips, cache_hit_rate, compile_ms_per_s, blocks_compiled_per_s;
};
struct telemetry_view {
    struct machine_stats total; /* sizes: as they are now */
    double mips;                /* of the whole run */
    struct telemetry_rates rates;
};
/* Adds no sample. Before the first one, everything but sizes is 0. */
void telemetry_view(const struct telemetry *t, uint64_t host_ns,
                    const struct machine_stats *now,
                    struct telemetry_view *out);

#endif
