/* relive trace: replay a part of a session and keep what happened in it. */
#include "analysis/trace_chunk.h"
#include "analysis/trace_make.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "host/clock.h"

#include <stdio.h>
#include <stdlib.h>

static bool take_what(struct cli_options *o, const char *v, struct error *err)
{
    unsigned what;
    o->what = v;
    if (trace_what_parse(v, &what, err))
        return true;
    struct error inner = *err;
    return error_set(err, ERR_USAGE, "--what: %.300s", inner.text);
}

static bool take_name(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->name = v;
    return true;
}

static const struct option_row trace_options[] = {
    {"from", 0, "TICK", "the first tick, or guest time like 2.5s (default: 0)",
     take_from},
    {"to", 0, "TICK", "the tick to stop at (default: the end)", take_to},
    {"what", 0, "LIST",
     "of insn, branch, mem, io, irq, regs, with commas (default: insn,mem)",
     take_what},
    {"output", 'o', "NAME", "what to call the trace", take_name},
    {0},
};

struct tracing {
    struct replay replay;
    struct progress progress;
};

static void on_progress(void *context, const struct replayer *replayer,
                        uint64_t tick)
{
    struct tracing *t = context;
    struct machine *m = t->replay.setup.machine;
    uint64_t now = clock_monotonic_ns();
    if (progress_due(&t->progress, now)) {
        struct progress_figures f = {.tick = tick,
                                     .insns = machine_insns(m),
                                     .end_tick =
                                         replayer_session(replayer)->end_tick};
        progress_show(&t->progress, now, &f);
    }
    if (signals_arrived())
        machine_request_stop(m);
}

static void report(const struct trace_head *h, uint64_t host_ns)
{
    char what[64];
    double seconds = (double)host_ns / 1e9;
    uint64_t rows = h->rows ? h->rows : h->to - h->from;
    trace_what_text(h->what, what, sizeof what);
    (void)printf("%s: %s, ticks %llu to %llu\n", h->name, what,
                 (unsigned long long)h->from, (unsigned long long)h->to);
    (void)printf("%llu instructions, %llu accesses, %llu of devices, %llu "
                 "events; %llu bytes",
                 (unsigned long long)h->rows, (unsigned long long)h->accesses,
                 (unsigned long long)h->devices, (unsigned long long)h->events,
                 (unsigned long long)h->bytes);
    if (h->rows)
        (void)printf(", %.2f an instruction",
                     (double)h->bytes / (double)h->rows);
    (void)printf("; %.3f host s, %.1f million a second\n", seconds,
                 seconds > 0 ? (double)rows / seconds / 1e6 : 0.0);
}

static bool trace(struct tracing *t, const struct cli_options *o,
                  struct error *err)
{
    struct trace_head head;
    struct trace_wish wish = {.name = o->name};
    if (!o->name)
        return error_set(err, ERR_USAGE,
                         "trace: expected -o NAME (see relive trace --help)");
    if (!trace_what_parse(o->what ? o->what : "insn,mem", &wish.what, err))
        return false;
    t->replay.updates = true;
    if (!replay_open(&t->replay, o, err))
        return false;
    struct machine *m = t->replay.setup.machine;
    const struct session *s = replayer_session(t->replay.replayer);
    uint32_t mhz = machine_config(m)->cpu_mhz;
    wish.from = tick_option_ticks(&o->from, mhz, s->start_tick);
    wish.to = tick_option_ticks(&o->to, mhz, UINT64_MAX);
    replayer_set_progress(t->replay.replayer, on_progress, t);
    progress_init(&t->progress, false, mhz, 0, 0);
    signals_install(NULL);
    /* So that the figures are of tracing alone. */
    if (wish.from < s->end_tick &&
        (!replayer_seek(t->replay.replayer, wish.from, err) ||
         replayer_run(t->replay.replayer, wish.from, err) == REPLAY_FAILED))
        return false;
    uint64_t begun = clock_monotonic_ns();
    bool ok = trace_make(t->replay.replayer, m, &wish, &head, err);
    progress_clear(&t->progress);
    if (ok)
        report(&head, clock_monotonic_ns() - begun);
    return ok;
}

static int run(const struct cli_options *o)
{
    struct error err;
    struct tracing *t = calloc(1, sizeof *t);
    if (!t) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = trace(t, o, &err) ? STATUS_OK : cli_fail(&err);
    replay_close(&t->replay);
    free(t);
    return status;
}

const struct command command_trace = {
    .name = "trace",
    .synopsis = "SESSION [--from TICK] [--to TICK] [--what LIST] -o NAME",
    .summary = "keep what happens in a part of a session",
    .details =
        "Replay a part of a session and store in it, under a name, what\n"
        "happened: insn and branch keep every instruction, mem every access "
        "to\nmemory with its bytes, regs the registers in front of every "
        "instruction,\nio accesses to ports and device memory, irq interrupts, "
        "exceptions,\nsystem calls and address-space switches. relive traces "
        "lists them. A\ntrace that is interrupted is kept as far as it came.",
    .groups = {trace_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
