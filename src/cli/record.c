/* relive record: run a machine and keep the session. */
#include "cli/commands.h"
#include "cli/live.h"
#include "base/duration.h"

#include <stdlib.h>
#include <string.h>

/* -o SESSION */
static bool take_session(struct cli_options *o, const char *v,
                         struct error *err)
{
    if (!*v)
        return error_set(err, ERR_USAGE, "--output: expected a directory name");
    o->session = v;
    return true;
}

/* --limit MIB */
static bool take_limit(struct cli_options *o, const char *v, struct error *err)
{
    char *end;
    uint64_t mib = strtoull(v, &end, 10);
    if (v[0] < '0' || v[0] > '9' || *end || mib == 0 || mib > UINT64_MAX >> 20)
        return error_set(err, ERR_USAGE,
                         "--limit: expected a number of MiB above 0, found "
                         "'%.100s'",
                         v);
    o->limit_bytes = mib << 20;
    return true;
}

static bool take_interval(struct cli_options *o, const char *v,
                          struct error *err)
{
    o->has_interval = true;
    if (strcmp(v, "none") == 0 || duration_parse(v, &o->snapshot_interval))
        return true;
    return error_set(err, ERR_USAGE,
                     "--snapshot-interval: expected a guest time like 2s, or "
                     "none, found '%.100s'",
                     v);
}

bool take_budget(struct cli_options *o, const char *v, struct error *err)
{
    o->has_budget = true;
    return strcmp(v, "none") == 0 ||
           size_parse("snapshot-budget", v, &o->snapshot_budget, err);
}

static const struct option_row record_options[] = {
    {"output", 'o', "SESSION", "the session to make: a new directory",
     take_session},
    {"limit", 0, "MIB",
     "end the recording when the session's file would grow beyond this",
     take_limit},
    {"snapshot-interval", 0, "TIME",
     "guest time between snapshots, from which seeks start, or "
     "none (default: 2s, and twice a second of host work)",
     take_interval},
    {"snapshot-budget", 0, "SIZE",
     "thin old snapshots out when all take more than this, or "
     "none (default: 8G)",
     take_budget},
    {0},
};

static int run(const struct cli_options *o)
{
    struct error err;
    if (o->session)
        return live_run(o);
    error_set(&err, ERR_USAGE,
              "record: expected -o SESSION (see relive record --help)");
    return cli_fail(&err);
}

const struct command command_record = {
    .name = "record",
    .synopsis = "-o SESSION MACHINE-OPTIONS",
    .summary = "run a machine and record the session",
    .details =
        "Run a PC as relive run does and record everything that relive replay\n"
        "needs into SESSION. Ctrl-C ends the recording cleanly; a recorder\n"
        "that is killed leaves a session that replays up to its last commit,\n"
        "at most a second earlier. Media are named with size and content "
        "hash,\n"
        "not copied: keep the images.",
    .groups = {record_options, machine_options, engine_options,
               stats_options},
    .takes_machine = true,
    .run = run,
};
