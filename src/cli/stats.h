/* What is measured of a run: the telemetry file (--stats), the panel over
 * screen images (--hud) and warnings of slow frames (--slow-frame). */
#ifndef RELIVE_CLI_STATS_H
#define RELIVE_CLI_STATS_H

#include "analysis/frames.h"
#include "analysis/telemetry.h"
#include "cli/machine_setup.h"
#include "cli/options.h"

#include <stdio.h>

struct stats {
    struct telemetry *telemetry; /* owned; NULL: nobody asked */
    struct frames *frames;       /* owned; with telemetry */
    struct screen screen;        /* the last look's */
    const char *path;            /* borrowed; NULL: no file */
    bool has_hud;
    FILE *log;          /* borrowed: for warnings; NULL: standard error */
    uint64_t warned_ns; /* 0: not yet */
};

bool stats_wanted(const struct cli_options *o);
/* Nothing is measured when o does not ask. */
bool stats_open(struct stats *s, const struct cli_options *o,
                const struct machine_setup *setup, struct error *err);
/* Now and then; the first call begins the run. */
void stats_look(struct stats *s, struct machine *m);
/* The tick up to which to run before the next look; UINT64_MAX: any. */
uint64_t stats_next_tick(const struct stats *s, const struct machine *m);
/* Draw the panel over a picture, if asked. */
void stats_draw(const struct stats *s, const struct machine *m,
                struct screen *screen);
/* The last sample, and the file. */
bool stats_write(struct stats *s, const struct machine *m, struct error *err);
void stats_close(struct stats *s); /* zeroed is fine */

#endif
