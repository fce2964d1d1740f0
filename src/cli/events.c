/* relive events: the events of a session, one a line. */
#include "cli/commands.h"
#include "base/duration.h"
#include "replay/info.h"

#include <stdio.h>
#include <stdlib.h>

static const struct option_row events_options[] = {
    {"from", 0, "TICK", "the first tick, or guest time like 2.5s", take_from},
    {"to", 0, "TICK", "the last tick, or guest time", take_to},
    {"json", 0, NULL, "print one JSON object a line", take_json},
    {0},
};

static bool print_json(void *context, uint32_t index, const struct event *e)
{
    bool *ok = context;
    char *line = info_event_json(index, e);
    *ok = line != NULL;
    if (line)
        (void)printf("%s\n", line);
    free(line);
    return *ok;
}

static bool print_text(void *context, uint32_t index, const struct event *e)
{
    const uint32_t *cpu_mhz = context;
    char line[4 * EVENT_PAYLOAD_MAX + 64];
    event_describe(e, line, sizeof line);
    (void)printf("%8u  %14llu  %12.6f s  %s\n", index,
                 (unsigned long long)e->tick,
                 (double)duration_ns(e->tick, *cpu_mhz) / 1e9, line);
    return true;
}

static int run(const struct cli_options *o)
{
    struct session *s;
    struct error err;
    bool has_memory = true;
    if (!session_open(o->session, &s, &err))
        return cli_fail(&err);
    uint32_t mhz = s->config.cpu_mhz;
    uint64_t from = tick_option_ticks(&o->from, mhz, 0);
    uint64_t to = tick_option_ticks(&o->to, mhz, UINT64_MAX);
    bool ok = o->json
                  ? info_each_event(s, from, to, print_json, &has_memory, &err)
                  : info_each_event(s, from, to, print_text, &mhz, &err);
    if (ok && !has_memory)
        ok = error_set(&err, ERR_NOMEM, "%s: out of memory", o->session);
    session_close(s);
    return ok ? STATUS_OK : cli_fail(&err);
}

const struct command command_events = {
    .name = "events",
    .synopsis = "SESSION [--from TICK] [--to TICK] [--json]",
    .summary = "list the events of a session",
    .details = "List what came into the machine from outside: index, tick,\n"
               "guest time and contents of each event.",
    .groups = {events_options},
    .takes_session = true,
    .run = run,
};
