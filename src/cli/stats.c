#include "cli/stats.h"

#include "host/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool stats_open(struct stats *s, const struct cli_options *o, uint32_t cpu_mhz,
                struct error *err)
{
    if (!o->stats)
        return true;
    s->path = o->stats;
    FILE *file = fopen(s->path, "a"); /* rather now than after the run */
    if (!file)
        return error_set(err, ERR_IO, "%s: cannot write: %s", s->path,
                         strerror(errno));
    (void)fclose(file);
    s->telemetry = telemetry_new(machine_engine_name(o->engine.kind), cpu_mhz);
    return s->telemetry ||
           error_set(err, ERR_NOMEM, "no memory for --stats");
}

static void sample(struct stats *s, const struct machine *m, uint64_t now)
{
    struct machine_stats figures;
    machine_stats(m, &figures);
    telemetry_sample(s->telemetry, now, &figures);
}

void stats_look(struct stats *s, const struct machine *m)
{
    if (!s->telemetry)
        return;
    uint64_t now = clock_monotonic_ns();
    if (telemetry_due(s->telemetry, now))
        sample(s, m, now);
}

bool stats_write(struct stats *s, const struct machine *m, struct error *err)
{
    if (!s->telemetry)
        return true;
    sample(s, m, clock_monotonic_ns());
    return telemetry_write(s->telemetry, s->path, err);
}

void stats_close(struct stats *s)
{
    telemetry_free(s->telemetry);
    s->telemetry = NULL;
}
