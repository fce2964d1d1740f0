#include "cli/bisect_when.h"

#include "cli/replay.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "replay/gdb_monitor.h"
#include "replay/gdb_target.h"
#include "replay/when.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static bool poll_signals(void *context)
{
    (void)context;
    return signals_arrived();
}

static void print_text(const struct cli_options *o, struct machine *m,
                       struct machine_place place, bool at_start)
{
    struct writer w;
    unsigned long long tick = place.tick;
    (void)printf("%s at tick %llu", at_start ? "holds already" : "comes true",
                 tick);
    if (place.deliveries)
        (void)printf(" behind %u deliveries", place.deliveries);
    (void)printf("; next is\n");
    writer_init(&w);
    gdb_disassemble(m, gdb_linear_pc(m), 1, &w);
    gdb_print(&w, "\n");
    gdb_info_registers(m, &w);
    (void)fwrite(w.data, 1, w.used, stdout);
    writer_fini(&w);
    (void)printf("\nrelive debug %s --at %llu --gdb\n", o->session, tick);
}

static bool print_json(struct machine_place place, bool is_found,
                       struct error *err)
{
    json_t *o = json_pack("{s:b}", "found", is_found);
    if (o && is_found)
        (void)json_object_update_new(
            o, json_pack("{s:I, s:i}", "tick", (json_int_t)place.tick,
                         "deliveries", (int)place.deliveries));
    return report_json(o, err);
}

static void print_never(const struct cli_options *o,
                        const struct when_search *s)
{
    if (o->first)
        (void)printf("never holds from tick %llu to %llu\n",
                     (unsigned long long)s->from, (unsigned long long)s->to);
    else
        (void)printf("does not hold at tick %llu; if it did before, --first "
                     "finds it\n",
                     (unsigned long long)s->to);
}

static bool set_range(struct when_search *s, const struct cli_options *o,
                      struct error *err)
{
    const struct session *session = travel_session(s->travel);
    uint32_t mhz = session->config.cpu_mhz;
    s->from = tick_option_ticks(&o->from, mhz, session->start_tick);
    s->to = tick_option_ticks(&o->to, mhz, session->end_tick);
    if (s->to > session->end_tick)
        s->to = session->end_tick;
    if (s->from < session->start_tick)
        s->from = session->start_tick;
    return s->from <= s->to ||
           error_set(err, ERR_USAGE,
                     "--from: expected a tick up to %llu, found %llu",
                     (unsigned long long)s->to, (unsigned long long)s->from);
}

static int search(struct when_search *s, const struct cli_options *o,
                  struct error *err)
{
    struct machine_place place = {0};
    enum when w =
        o->first ? when_first(s, &place, err) : when_stays(s, &place, err);
    if (w == WHEN_INTERRUPTED)
        error_set(err, ERR_USAGE, "interrupted");
    if (w == WHEN_FAILED || w == WHEN_INTERRUPTED)
        return cli_fail(err);
    if (o->json && !print_json(place, w == WHEN_FOUND, err))
        return cli_fail(err);
    if (o->json)
        return w == WHEN_FOUND ? STATUS_OK : STATUS_GUEST;
    if (w == WHEN_FOUND)
        print_text(o, travel_machine(s->travel), place,
                   place.tick == s->from && !place.deliveries);
    else
        print_never(o, s);
    return w == WHEN_FOUND ? STATUS_OK : STATUS_GUEST;
}

/* What a search needs, at its end. */
struct when_parts {
    struct replay replay;
    struct condition condition;
};

static int run(struct when_parts *p, const struct cli_options *o)
{
    struct error err;
    struct when_search s = {.condition = &p->condition};
    if (!condition_parse(&p->condition, o->when, &err) ||
        !replay_open(&p->replay, o, &err))
        return cli_fail(&err);
    s.replayer = p->replay.replayer;
    s.travel = travel_new(s.replayer, p->replay.setup.machine, 0, &err);
    int status = STATUS_BAD;
    signals_install(NULL);
    if (s.travel)
        travel_set_poll(s.travel, poll_signals, NULL);
    if (!s.travel || !set_range(&s, o, &err))
        (void)cli_fail(&err);
    else
        status = search(&s, o, &err);
    travel_free(s.travel);
    return status;
}

int bisect_when(const struct cli_options *o)
{
    struct error err;
    struct when_parts *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = run(p, o);
    replay_close(&p->replay);
    free(p);
    return status;
}
