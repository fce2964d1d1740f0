/* The telemetry file of a run: --stats. */
#ifndef RELIVE_CLI_STATS_H
#define RELIVE_CLI_STATS_H

#include "analysis/telemetry.h"
#include "cli/options.h"

struct stats {
    struct telemetry *telemetry; /* owned; NULL: nobody asked */
    const char *path;            /* borrowed */
};

/* Nothing is measured when o does not ask. */
bool stats_open(struct stats *s, const struct cli_options *o, uint32_t cpu_mhz,
                struct error *err);
/* Now and then; the first call begins the run. */
void stats_look(struct stats *s, const struct machine *m);
/* The last sample, and the file. */
bool stats_write(struct stats *s, const struct machine *m, struct error *err);
void stats_close(struct stats *s); /* zeroed is fine */

#endif
