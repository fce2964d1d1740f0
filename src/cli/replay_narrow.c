#include "cli/replay_narrow.h"

#include "replay/explain.h"

#include <stdio.h>

static void say_difference(struct replayer *rp)
{
    char what[200], line[300];
    uint64_t tick;
    if (!explain_difference(rp, &tick, what, sizeof what))
        return;
    (void)snprintf(line, sizeof line,
                   "the first difference at the snapshot of tick %llu: %s",
                   (unsigned long long)tick, what);
    cli_warn(line);
}

/* Run the window again by the interpreter: is it the engine's doing? */
static bool is_engine(struct replay *r, uint64_t from, uint64_t to)
{
    struct error err;
    bool is_known;
    const struct machine_engine interp = {.config.kind = ENGINE_INTERP};
    return r->setup.engine.config.kind != ENGINE_INTERP &&
           machine_set_engine(r->setup.machine, &interp, &err) &&
           explain_agrees(r->replayer, from, to, &is_known) && is_known;
}

void replay_narrow(struct replay *r, const struct cli_options *o)
{
    char line[1600];
    const struct replay_report *report = replayer_report(r->replayer);
    const struct session *s = replayer_session(r->replayer);
    unsigned long long from = report->last_good_tick,
                       to = report->first_bad_tick;
    replayer_set_progress(r->replayer, NULL, NULL);
    say_difference(r->replayer);
    if (is_engine(r, from, to))
        (void)snprintf(line, sizeof line,
                       "engine interp gives what was recorded; find the "
                       "instruction: relive bisect %s --engines interp,%s "
                       "--from %llu --to %llu",
                       o->session, machine_engine_name(r->setup.engine.config.kind),
                       from, to);
    else
        (void)snprintf(line, sizeof line,
                       "engine interp differs too; find the instruction with "
                       "the build that recorded it (%.100s): relive bisect %s "
                       "--against PROGRAM --from %llu --to %llu",
                       s->build, o->session, from, to);
    cli_warn(line);
}
