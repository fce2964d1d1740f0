/* relive bisect: the first instruction behind which two engines or two programs
 * differ, or the first tick at which a condition holds. */
#include "replay/bisect.h"
#include "cli/bisect_when.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/states_client.h"
#include "host/clock.h"
#include "replay/session.h"

#include <jansson.h>
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
     "compare states every N ticks (default: 4 million times, at most "
     "16777216 ticks apart)",
     take_every},
    {"json", 0, NULL, "print JSON", take_json},
    {0},
};

/* ---- the two sides ----------------------------------------------------------
 */

struct bisection {
    struct session *session; /* owned */
    struct states_client client[2];
    char name[2][NAME_MAX_BYTES];
    struct progress progress;
    struct bisect bisect;
    struct bisect_result result;
    struct writer code[2], difference; /* texts of the report */
};

static bool open_side(struct bisection *b, unsigned n,
                      const struct cli_options *o, const char *engine,
                      const char *program, struct error *err)
{
    char threshold[16], cache[24];
    const char *args[8] = {"--engine", strcmp(engine, "jit") ? engine : "auto",
                           "--jit-threshold", threshold};
    /* Compile at once: what is run again must be run the same way. */
    (void)snprintf(threshold, sizeof threshold, "%u",
                   o->engine.tier1_threshold ? o->engine.tier1_threshold : 1);
    if (o->engine.cache_bytes) {
        (void)snprintf(cache, sizeof cache, "%lluK",
                       (unsigned long long)o->engine.cache_bytes >> 10);
        args[4] = "--jit-cache";
        args[5] = cache;
    }
    if (!states_client_open(&b->client[n], program ? program : b->name[n],
                            program ? program : "/proc/self/exe", o->session,
                            args, err))
        return false;
    b->bisect.side[n] = &b->client[n].side;
    return true;
}

static bool open_sides(struct bisection *b, const struct cli_options *o,
                       struct error *err)
{
    if (o->engines) {
        size_t length = (size_t)(strchr(o->engines, ',') - o->engines);
        memcpy(b->name[0], o->engines, length);
        strcpy(b->name[1], o->engines + length + 1);
        return open_side(b, 0, o, b->name[0], NULL, err) &&
               open_side(b, 1, o, b->name[1], NULL, err);
    }
    const char *engine = machine_engine_name(o->engine.kind);
    strcpy(b->name[0], "this program");
    strcpy(b->name[1], "the other");
    return open_side(b, 0, o, engine, NULL, err) &&
           open_side(b, 1, o, engine, o->against, err);
}

static bool on_progress(void *context, uint64_t tick)
{
    struct bisection *b = context;
    uint64_t now = clock_monotonic_ns();
    if (progress_due(&b->progress, now)) {
        struct progress_figures f = {.tick = tick,
                                     .end_tick = b->session->end_tick};
        progress_show(&b->progress, now, &f);
    }
    return !signals_arrived();
}

/* ---- the report
 * --------------------------------------------------------------- */

static void print_indented(const struct writer *text)
{
    const char *at = (const char *)text->data, *end = at + text->used;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        (void)printf("  %.*s\n", (int)length, at);
        at += length + 1;
    }
}

static bool same_text(const struct writer *a, const struct writer *b)
{
    return a->used == b->used && memcmp(a->data, b->data, a->used) == 0;
}

static const char *certainty(const struct bisect_result *r)
{
    return !r->is_exact    ? "one of the instructions"
           : r->block == 1 ? "the instruction"
                           : "the last of the instructions, compiled "
                             "together,";
}

static void print_text(const struct bisection *b, const struct cli_options *o)
{
    const struct bisect_result *r = &b->result;
    unsigned long long good = r->last_equal, bad = r->tick;
    if (!r->differs) {
        (void)printf("no difference from tick %llu to %llu, compared every "
                     "%llu ticks\n",
                     (unsigned long long)b->bisect.from,
                     (unsigned long long)b->bisect.to,
                     (unsigned long long)r->every);
        return;
    }
    (void)printf("%s and %s differ at tick %llu, are equal at tick %llu\n",
                 b->name[0], b->name[1], bad, good);
    if (!r->is_exact)
        (void)printf("the difference does not show when looked at more "
                     "closely\n");
    bool same = same_text(&b->code[0], &b->code[1]);
    for (unsigned n = 0; n < (same ? 1 : 2); n++) {
        (void)printf("%s between them", certainty(r));
        if (!same)
            (void)printf(", by %s", b->name[n]);
        (void)printf(":\n");
        print_indented(&b->code[n]);
    }
    (void)printf("state at tick %llu, %s and %s:\n", bad, b->name[0],
                 b->name[1]);
    print_indented(&b->difference);
    (void)printf("\nrelive debug %s --at %llu --gdb\n", o->session, good);
}

static json_t *text_value(const struct writer *w)
{
    return json_stringn((const char *)w->data, w->used);
}

static bool print_json(const struct bisection *b, struct error *err)
{
    const struct bisect_result *r = &b->result;
    json_t *o =
        json_pack("{s:b, s:I, s:I, s:I}", "differs", r->differs, "from",
                  (json_int_t)b->bisect.from, "to", (json_int_t)b->bisect.to,
                  "every", (json_int_t)r->every);
    if (o && r->differs)
        (void)json_object_update_new(
            o, json_pack("{s:I, s:I, s:b, s:i, s:[s,s], s:[o,o], s:o}",
                         "last_equal", (json_int_t)r->last_equal, "tick",
                         (json_int_t)r->tick, "exact", r->is_exact, "block",
                         (int)r->block, "sides", b->name[0], b->name[1], "code",
                         text_value(&b->code[0]), text_value(&b->code[1]),
                         "difference", text_value(&b->difference)));
    char *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (text)
        (void)printf("%s\n", text);
    free(text);
    json_decref(o);
    return text || error_set(err, ERR_NOMEM, "out of memory");
}

/* ---- the command
 * -------------------------------------------------------------- */

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

static bool report(struct bisection *b, struct error *err)
{
    const struct bisect_result *r = &b->result;
    if (!r->differs)
        return true;
    return bisect_code(&b->bisect, r, 0, &b->code[0], err) &&
           bisect_code(&b->bisect, r, 1, &b->code[1], err) &&
           bisect_differences(&b->bisect, r, &b->difference, err);
}

static bool bisect(struct bisection *b, const struct cli_options *o,
                   struct error *err)
{
    if (!session_open(o->session, &b->session, err) || !set_range(b, o, err) ||
        !open_sides(b, o, err))
        return false;
    b->bisect.store = b->session->store;
    b->bisect.progress = on_progress;
    b->bisect.progress_context = b;
    signals_install(NULL);
    progress_init(&b->progress, false, b->session->config.cpu_mhz, 0, 0);
    bool ok = bisect_find(&b->bisect, &b->result, err);
    progress_clear(&b->progress);
    ok = ok && report(b, err);
    if (ok && o->json)
        return print_json(b, err);
    if (ok)
        print_text(b, o);
    return ok;
}

static int run_sides(const struct cli_options *o)
{
    struct error err;
    struct bisection *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    bool ok = bisect(b, o, &err);
    bool is_said = b->client[0].has_spoken || b->client[1].has_spoken;
    int status = ok        ? (b->result.differs ? STATUS_GUEST : STATUS_OK)
                 : is_said ? STATUS_BAD
                           : cli_fail(&err);
    for (unsigned n = 0; n < 2; n++) {
        states_client_close(&b->client[n]);
        writer_fini(&b->code[n]);
    }
    writer_fini(&b->difference);
    session_close(b->session);
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
