/* relive diff: where two recordings of a machine part, and why. */
#include "replay/diff.h"
#include "cli/bisection.h"
#include "cli/commands.h"
#include "replay/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row diff_options[] = {
    {"every", 0, "N",
     "compare states every N ticks where the recordings part in state "
     "(default: "
     "a million times, at most 16777216 ticks apart)",
     take_every},
    {0},
};

struct diff_run {
    struct bisection bisection; /* its session is the first */
    struct session *other;      /* owned */
    struct diff diff;
};

typedef unsigned long long ull;

/* ---- what the recordings say
 * ---------------------------------------------------- */

static bool print_machines(const struct diff_run *r, bool *differ,
                           struct error *err)
{
    struct writer text;
    writer_init(&text);
    bool ok = diff_machines(r->bisection.session, r->other, &text, err);
    *differ = text.used != 0;
    if (ok && *differ)
        (void)printf("the machines are not the same:\n%.*s", (int)text.used,
                     (const char *)text.data);
    writer_fini(&text);
    return ok;
}

static void print_event(const struct diff_run *r, unsigned n, const char *name)
{
    char line[4 * EVENT_PAYLOAD_MAX + 64];
    const struct event *e = &r->diff.event[n];
    const struct session *s = n ? r->other : r->bisection.session;
    if (e->type == 0) {
        (void)printf("  %s: no more, up to its end at tick %llu\n", name,
                     (ull)s->end_tick);
        return;
    }
    event_describe(e, line, sizeof line);
    (void)printf("  %s: tick %llu: %s\n", name, (ull)e->tick, line);
}

static void print_events(const struct diff_run *r, const struct cli_options *o)
{
    const struct event *e = r->diff.event;
    uint64_t a = e[0].type ? e[0].tick : UINT64_MAX;
    uint64_t b = e[1].type ? e[1].tick : UINT64_MAX;
    (void)printf("they part at tick %llu, by what came from outside; %llu "
                 "events before it are equal\n",
                 (ull)(a < b ? a : b), (ull)r->diff.events_equal);
    print_event(r, 0, o->session);
    print_event(r, 1, o->other);
    if (e[0].type == EVENT_TYPE_CLOCK || e[1].type == EVENT_TYPE_CLOCK)
        (void)printf("the clock is the host's unless it is recorded with "
                     "--rtc\n");
}

static void print_window(const struct diff *d)
{
    (void)printf("they part in state, although the same came from outside: "
                 "%s%s%s%sdigests differ at tick %llu, are equal at tick "
                 "%llu\n",
                 d->cpu_differs ? "cpu " : "", d->io_differs ? "io " : "",
                 d->mem_differs ? "memory " : "",
                 d->cpu_differs || d->io_differs || d->mem_differs ? ""
                                                                   : "the ",
                 (ull)d->first_differing, (ull)d->last_equal);
}

static void print_equal(const struct diff_run *r)
{
    const struct session *a = r->bisection.session, *b = r->other;
    (void)printf("no difference: %llu events and %llu digests are equal",
                 (ull)r->diff.events_equal, (ull)r->diff.digests_equal);
    if (a->end_tick != b->end_tick)
        (void)printf("; they end at ticks %llu and %llu", (ull)a->end_tick,
                     (ull)b->end_tick);
    (void)printf("\n");
}

/* ---- running both
 * ------------------------------------------------------------
 */

static bool open_sides(struct diff_run *r, const struct cli_options *o,
                       struct error *err)
{
    struct bisection *b = &r->bisection;
    const struct bisection_side side[2] = {{o->session, NULL, NULL, o->session},
                                           {o->other, NULL, NULL, o->other}};
    b->bisect.from = r->diff.last_equal;
    b->bisect.to = r->diff.first_differing;
    b->bisect.every = o->every;
    return bisection_open_side(b, 0, o, &side[0], err) &&
           bisection_open_side(b, 1, o, &side[1], err);
}

/* The states part in a window: run both there, to the instruction. */
static bool narrow(struct diff_run *r, const struct cli_options *o,
                   struct error *err)
{
    struct bisection *b = &r->bisection;
    bool is_equal;
    if (!open_sides(r, o, err) ||
        !bisect_begins_equal(&b->bisect, &is_equal, err))
        return false;
    if (!is_equal) {
        (void)printf("the states differ at tick %llu already\n",
                     (ull)b->bisect.from);
        return true;
    }
    if (!bisection_run(b, err))
        return false;
    if (b->result.differs) {
        bisection_print(b, o->session);
        return true;
    }
    (void)printf("this build runs both alike, so one of them was recorded by "
                 "another build (%s, %s), or by a host at fault: relive replay "
                 "says which\n",
                 b->session->build, r->other->build);
    return true;
}

/* ---- the command
 * ---------------------------------------------------------------- */

static bool same_file(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static bool diff(struct diff_run *r, const struct cli_options *o,
                 bool *is_different, struct error *err)
{
    struct bisection *b = &r->bisection;
    if (same_file(o->session, o->other))
        return error_set(err, ERR_USAGE,
                         "%.200s: expected two different sessions", o->session);
    if (!session_open(o->session, &b->session, err) ||
        !session_open(o->other, &r->other, err) ||
        !print_machines(r, is_different, err) ||
        !diff_recordings(b->session, r->other, &r->diff, err))
        return false;
    (void)fflush(stdout);
    bool is_event = diff_is_event(&r->diff);
    if (is_event)
        print_events(r, o);
    else if (r->diff.digests_differ)
        print_window(&r->diff);
    else
        print_equal(r);
    if (!is_event && r->diff.digests_differ && !narrow(r, o, err))
        return false;
    *is_different |= is_event || r->diff.digests_differ;
    return true;
}

static int run(const struct cli_options *o)
{
    struct error err;
    bool is_different = false;
    struct diff_run *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = diff(r, o, &is_different, &err)
                     ? (is_different ? STATUS_GUEST : STATUS_OK)
                 : bisection_is_said(&r->bisection) ? STATUS_BAD
                                                    : cli_fail(&err);
    session_close(r->other);
    bisection_close(&r->bisection);
    free(r);
    return status;
}

const struct command command_diff = {
    .name = "diff",
    .synopsis = "SESSION-A SESSION-B [OPTIONS]",
    .summary = "show where two recordings of a machine part, and why",
    .details =
        "Compare the configurations and media, the events and the digests of "
        "two\nsessions. Where the same came from outside and the states "
        "differ, run both,\ndown to the first instruction behind which they "
        "do. Exit status 0 when there\nis no difference as far as both go, 1 "
        "when there is one.",
    .groups = {diff_options, engine_options},
    .takes_session = true,
    .takes_other = true,
    .run = run,
};
