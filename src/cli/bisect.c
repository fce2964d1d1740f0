/* relive bisect: the first instruction behind which two engines or two programs
 * differ, or the first tick at which a condition holds. */
#include "cli/bisect_when.h"
#include "cli/bisection.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 32 };

/* ---- options --------------------------------------------------------------
 */

static bool take_engines(struct cli_options *o, const char *v,
                         struct error *err)
{
    const char *comma = strchr(v, ',');
    o->engines = v;
    return (comma && comma > v && comma[1] && !strchr(comma + 1, ',') &&
            strlen(v) < NAME_MAX_BYTES) ||
           error_set(err, ERR_USAGE,
                     "--engines: expected two engines like interp,jit, found "
                     "'%.100s'",
                     v);
}

static bool take_against(struct cli_options *o, const char *v,
                         struct error *err)
{
    (void)err;
    o->against = v;
    return true;
}

static bool take_when(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->when = v;
    return true;
}

static bool take_first(struct cli_options *o, const char *v, struct error *err)
{
    (void)v;
    (void)err;
    o->first = true;
    return true;
}

static const struct option_row bisect_options[] = {
    {"engines", 0, "A,B",
     "compare two engines, names as for --engine; jit is the fastest",
     take_engines},
    {"against", 0, "PROGRAM",
     "compare this program with another build of relive", take_against},
    {"when", 0, "EXPRESSION",
     "find the first tick at which a condition holds, as in "
     "'[u32 0x500] == 7 && cpl == 0'",
     take_when},
    {"first", 0, NULL,
     "with --when: look at every place where the condition can come true, "
     "instead of taking for granted that it stays true",
     take_first},
    {"from", 0, "TICK", "where to begin: a tick, or guest time like 2.5s",
     take_from},
    {"to", 0, "TICK", "where to end (default: the session's end)", take_to},
    {"every", 0, "N",
     "compare states every N ticks (default: a million times, at most "
     "16777216 ticks apart)",
     take_every},
    {"json", 0, NULL, "print JSON", take_json},
    {0},
};

/* ---- the command
 * -------------------------------------------------------------- */

/* first holds the name of the first engine. */
static bool open_sides(struct bisection *b, const struct cli_options *o,
                       char first[NAME_MAX_BYTES], struct error *err)
{
    struct bisection_side side[2] = {{.session = o->session},
                                     {.session = o->session}};
    if (o->engines) {
        (void)snprintf(first, NAME_MAX_BYTES, "%.*s",
                       (int)strcspn(o->engines, ","), o->engines);
        side[0].name = side[0].engine = first;
        side[1].name = side[1].engine = strchr(o->engines, ',') + 1;
    } else {
        side[0].name = "this program";
        side[1].name = "the other";
        side[1].program = o->against;
    }
    return bisection_open_side(b, 0, o, &side[0], err) &&
           bisection_open_side(b, 1, o, &side[1], err);
}

static bool set_range(struct bisection *b, const struct cli_options *o,
                      struct error *err)
{
    const struct session *s = b->session;
    uint32_t mhz = s->config.cpu_mhz;
    b->bisect.from = tick_option_ticks(&o->from, mhz, s->start_tick);
    b->bisect.to = tick_option_ticks(&o->to, mhz, s->end_tick);
    b->bisect.every = o->every;
    if (b->bisect.to > s->end_tick)
        b->bisect.to = s->end_tick;
    if (b->bisect.from < s->start_tick)
        b->bisect.from = s->start_tick;
    return b->bisect.from < b->bisect.to ||
           error_set(err, ERR_USAGE,
                     "--from: expected a tick below %llu, found %llu",
                     (unsigned long long)b->bisect.to,
                     (unsigned long long)b->bisect.from);
}

static bool run_bisection(struct bisection *b, const struct cli_options *o,
                          struct error *err)
{
    char first[NAME_MAX_BYTES];
    if (!session_open(o->session, &b->session, err) || !set_range(b, o, err) ||
        !open_sides(b, o, first, err))
        return false;
    if (!bisection_run(b, err))
        return false;
    if (o->json)
        return bisection_print_json(b, err);
    bisection_print(b, o->session);
    return true;
}

static int run_sides(const struct cli_options *o)
{
    struct error err;
    struct bisection *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    bool ok = run_bisection(b, o, &err);
    int status = ok ? (b->result.differs ? STATUS_GUEST : STATUS_OK)
                 : bisection_is_said(b) ? STATUS_BAD
                                        : cli_fail(&err);
    bisection_close(b);
    free(b);
    return status;
}

static int run(const struct cli_options *o)
{
    struct error err;
    if (!!o->engines + !!o->against + !!o->when != 1) {
        error_set(&err, ERR_USAGE,
                  "bisect: expected one of --engines, --against and --when "
                  "(see relive bisect --help)");
        return cli_fail(&err);
    }
    return o->when ? bisect_when(o) : run_sides(o);
}

const struct command command_bisect = {
    .name = "bisect",
    .synopsis = "SESSION --engines A,B | --against PROGRAM | --when EXPR",
    .summary = "find the first instruction or tick at which something differs",
    .details =
        "Run a session twice at once, by two engines or by two builds of "
        "relive, and\nfind the first instruction behind which the states "
        "differ. Exit status 0\nwhen they never do, 1 when they do.\n\n"
        "Or find when a condition comes true. Expressions are as in C, of "
        "unsigned\n64-bit numbers: registers (rax, eax, rip, eflags, cs, "
        "fs_base, cr3, cpl, tick,\n...), memory by linear address [u8 A] "
        "[u16 A] [u32 A] [u64 A], by physical\naddress [phys u32 A]. A "
        "comparison with memory that is not mapped is false. The\nsearch "
        "halves the session: it takes for granted that what is true stays "
        "true.\nWith --first it does not, and looks at every tick, or at "
        "every store to what is\nread at constant addresses, or whenever rip "
        "is what is asked for. Exit status 1\nwhen the condition never "
        "holds.",
    .groups = {bisect_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
