#include "cli/bisection.h"

#include "cli/report.h"
#include "cli/signals.h"
#include "host/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- the two sides ----------------------------------------------------------
 */

/* The words of one limit of the command line, if it is given. */
static unsigned limit_words(const struct engine_config *c, unsigned n,
                            const char **args, char words[2][40])
{
    const struct engine_limit *limit = &engine_limits[n];
    uint64_t value = engine_limit_of(c, limit);
    if (!value)
        return 0;
    bool is_size = strcmp(limit->name, "jit_cache") == 0;
    (void)snprintf(words[0], sizeof words[0], "--%s", limit->name);
    for (char *at = words[0]; *at; at++)
        *at = *at == '_' ? '-' : *at;
    (void)snprintf(words[1], sizeof words[1], is_size ? "%lluK" : "%llu",
                   (unsigned long long)(is_size ? value >> 10 : value));
    args[0] = words[0];
    args[1] = words[1];
    return 2;
}

bool bisection_open_side(struct bisection *b, unsigned n,
                         const struct cli_options *o,
                         const struct bisection_side *side, struct error *err)
{
    char words[ENGINE_LIMITS][2][40];
    const char *args[2 * ENGINE_LIMITS + 4] = {"--engine"};
    unsigned count = 2;
    struct engine_config engine = o->config.engine;
    if (engine.kind == ENGINE_UNSET)
        engine.kind = b->session->config.engine.kind;
    /* Compile at once: what is run again must be run the same way. */
    if (!engine.tier1_threshold)
        engine.tier1_threshold = 1;
    args[1] = side->engine ? side->engine : machine_engine_name(engine.kind);
    if (strcmp(args[1], "jit") == 0)
        args[1] = "auto";
    if (engine.wait == WAIT_YES)
        args[count++] = "--jit-wait";
    for (unsigned i = 0; i < ENGINE_LIMITS; i++)
        count += limit_words(&engine, i, args + count, words[i]);
    const char *program = side->program;
    b->name[n] = side->name;
    if (!states_client_open(&b->client[n], program ? program : side->name,
                            program ? program : "/proc/self/exe", side->session,
                            args, err))
        return false;
    b->bisect.side[n] = &b->client[n].side;
    return true;
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

/* ---- running ----------------------------------------------------------------
 */

static bool look_at(struct bisection *b, struct error *err)
{
    const struct bisect_result *r = &b->result;
    if (!r->differs)
        return true;
    return bisect_code(&b->bisect, r, 0, &b->code[0], err) &&
           bisect_code(&b->bisect, r, 1, &b->code[1], err) &&
           bisect_differences(&b->bisect, r, &b->difference, err);
}

bool bisection_run(struct bisection *b, struct error *err)
{
    b->bisect.store = b->session->store;
    b->bisect.progress = on_progress;
    b->bisect.progress_context = b;
    signals_install(NULL);
    progress_init(&b->progress, false, b->session->config.cpu_mhz, 0, 0);
    bool ok = bisect_find(&b->bisect, &b->result, err);
    progress_clear(&b->progress);
    return ok && look_at(b, err);
}

bool bisection_is_said(const struct bisection *b)
{
    return b->client[0].has_spoken || b->client[1].has_spoken;
}

void bisection_close(struct bisection *b)
{
    for (unsigned n = 0; n < 2; n++) {
        states_client_close(&b->client[n]);
        writer_fini(&b->code[n]);
    }
    writer_fini(&b->difference);
    session_close(b->session);
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

void bisection_print(const struct bisection *b, const char *session)
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
    (void)printf("\nrelive debug %s --at %llu --gdb\n", session, good);
}

static json_t *text_value(const struct writer *w)
{
    return json_stringn((const char *)w->data, w->used);
}

bool bisection_print_json(const struct bisection *b, struct error *err)
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
    return report_json(o, err);
}
