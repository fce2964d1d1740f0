/* relive check: is a session whole? */
#include "analysis/trace_read.h"
#include "cli/commands.h"
#include "replay/check.h"
#include "replay/session.h"

#include <stdio.h>

static const struct option_row no_options[] = {{0}};

static bool check_traces(const char *path, struct trace_check_report *traces,
                         struct error *err)
{
    struct session *s;
    if (!session_open(path, &s, err))
        return false;
    bool ok = trace_check(s, traces, err);
    session_close(s);
    return ok;
}

static int run(const struct cli_options *o)
{
    struct check_report r;
    struct trace_check_report traces;
    struct error err;
    if (!session_check(o->session, &r, &err) ||
        !check_traces(o->session, &traces, &err))
        return cli_fail(&err);
    if (r.warning[0])
        cli_warn(r.warning);
    (void)printf("%s: good: %llu events, %llu digests, %llu snapshots, %llu "
                 "pages (%llu bytes unpacked), %llu output records, "
                 "%llu traces\n",
                 o->session, (unsigned long long)r.events,
                 (unsigned long long)r.digests, (unsigned long long)r.snapshots,
                 (unsigned long long)r.pages, (unsigned long long)r.page_bytes,
                 (unsigned long long)r.outputs,
                 (unsigned long long)traces.traces);
    return STATUS_OK;
}

const struct command command_check = {
    .name = "check",
    .synopsis = "SESSION",
    .summary = "check the integrity of a session",
    .details = "Read the whole store: its structure, every page and every\n"
               "record, checksums, order and references. Exit status 0 when\n"
               "all is well, 2 with one sentence on the first thing that is\n"
               "not.",
    .groups = {no_options},
    .takes_session = true,
    .run = run,
};
