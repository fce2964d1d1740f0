/* relive compact and relive trim: smaller sessions. */
#include "cli/commands.h"
#include "replay/copy.h"
#include "replay/session.h"

#include <stdio.h>

static void report(const struct copy_report *r)
{
    (void)printf("%llu snapshots kept, %llu dropped, %llu bytes, %llu before\n",
                 (unsigned long long)r->snapshots,
                 (unsigned long long)r->dropped_snapshots,
                 (unsigned long long)r->bytes_after,
                 (unsigned long long)r->bytes_before);
}

/* ---- compact --------------------------------------------------------------
 */

static const struct option_row compact_options[] = {
    {"snapshot-budget", 0, "SIZE",
     "thin old snapshots out when all take more than this, or "
     "none (default: 8G)",
     take_budget},
    {0},
};

static int run_compact(const struct cli_options *o)
{
    struct error err;
    struct copy_report r;
    uint64_t budget =
        o->has_budget ? o->snapshot_budget : SNAPSHOT_BUDGET_DEFAULT;
    if (!session_compact(o->session, budget, &r, &err))
        return cli_fail(&err);
    report(&r);
    return STATUS_OK;
}

const struct command command_compact = {
    .name = "compact",
    .synopsis = "SESSION [--snapshot-budget SIZE]",
    .summary = "thin snapshots out and give unused room back",
    .details =
        "Write the session anew without unused room, with fewer of the older\n"
        "snapshots if all would take more than the budget, and put the new\n"
        "file in the place of the old one when it is complete.",
    .groups = {compact_options},
    .takes_session = true,
    .run = run_compact,
};

/* ---- trim -----------------------------------------------------------------
 */

static const struct option_row trim_options[] = {
    {"from", 0, "TICK",
     "begin at the last snapshot at or below this tick, or guest "
     "time like 2.5s (default: the start)",
     take_from},
    {"to", 0, "TICK", "end there (default: the end)", take_to},
    {"output", 'o', "SESSION", "the session to make: a new directory",
     take_output},
    {0},
};

/* Guest times need the recorded machine's clock. */
static bool read_mhz(const struct cli_options *o, uint32_t *mhz,
                     struct error *err)
{
    struct session *s;
    *mhz = 1000;
    if (!o->from.is_time && !o->to.is_time)
        return true;
    if (!session_open(o->session, &s, err))
        return false;
    *mhz = s->config.cpu_mhz;
    session_close(s);
    return true;
}

static int run_trim(const struct cli_options *o)
{
    struct error err;
    struct copy_report r;
    uint32_t mhz;
    if (!o->output) {
        error_set(&err, ERR_USAGE,
                  "trim: expected -o NEW (see relive trim --help)");
        return cli_fail(&err);
    }
    if (!read_mhz(o, &mhz, &err))
        return cli_fail(&err);
    const struct copy_options c = {
        .from = tick_option_ticks(&o->from, mhz, 0),
        .to = tick_option_ticks(&o->to, mhz, UINT64_MAX)};
    if (!session_copy(o->session, o->output, &c, &r, &err))
        return cli_fail(&err);
    (void)printf("from tick %llu to %llu, ", (unsigned long long)r.from,
                 (unsigned long long)r.to);
    report(&r);
    return STATUS_OK;
}

const struct command command_trim = {
    .name = "trim",
    .synopsis = "SESSION [--from TICK] [--to TICK] -o NEW",
    .summary = "cut a part of a session out as a session of its own",
    .details =
        "Copy a part of a session: it begins at the last snapshot at or below\n"
        "--from and replays like any other, with the same media. Its ticks\n"
        "stay what they were.",
    .groups = {trim_options},
    .takes_session = true,
    .run = run_trim,
};
