#include "cli/live.h"

#include "cli/report.h"
#include "cli/session_loop.h"
#include "cli/signals.h"
#include "cli/version.h"
#include "host/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct live {
    struct machine_setup setup;
    struct session_loop loop;
    struct stats stats;
    FILE *log; /* NULL: none; stderr is not closed */
};

static bool open_log(struct live *v, const char *path, struct error *err)
{
    if (!path)
        return true;
    v->log = strcmp(path, "-") == 0 ? stderr : fopen(path, "w");
    return v->log || error_set(err, ERR_IO, "%s: cannot write: %s", path,
                               strerror(errno));
}

static void on_log(void *context, uint64_t tick, const char *line)
{
    (void)fprintf(context, "%llu: %s\n", (unsigned long long)tick, line);
}

static bool start_recorder(struct live *v, const struct cli_options *o,
                           struct error *err)
{
    struct recorder_options r = {.path = o->session,
                                 .media = v->setup.media,
                                 .media_count = v->setup.media_count,
                                 .build = RELIVE_BUILD,
                                 .created = clock_wall_seconds(),
                                 .limit_bytes = o->limit_bytes,
                                 .output = session_loop_output,
                                 .output_context = &v->loop,
                                 .snapshot_interval = o->snapshot_interval,
                                 .snapshot_budget = o->snapshot_budget};
    if (!o->has_interval) {
        r.snapshot_interval = SNAPSHOT_INTERVAL_DEFAULT;
        r.snapshot_work = SNAPSHOT_WORK_DEFAULT;
    }
    if (!o->has_budget)
        r.snapshot_budget = SNAPSHOT_BUDGET_DEFAULT;
    v->setup.recorder = recorder_new(&r, v->setup.machine, err);
    return v->setup.recorder != NULL;
}

/* Everything up to the first instruction. */
static bool start(struct live *v, const struct cli_options *o,
                  struct error *err)
{
    struct machine_stress stress = {.tlb_entries = (unsigned)o->stress_tlb,
                                    .block_insns = (unsigned)o->stress_block,
                                    .slice_seed = o->stress_slice};
    if (!session_loop_open(&v->loop, o, err) || !open_log(v, o->log, err) ||
        !machine_setup_open(&v->setup, &o->config, err) ||
        !machine_setup_engine(&v->setup, o, err) ||
        !stats_open(&v->stats, o, &v->setup, err))
        return false;
    v->stats.log = v->log;
    v->loop.stats = &v->stats;
    struct machine *m = v->setup.machine;
    machine_set_stress(m, &stress);
    if (v->log)
        machine_set_log(m, on_log, v->log);
    if (!o->session)
        machine_set_output(m, session_loop_output, &v->loop);
    else if (!start_recorder(v, o, err))
        return false;
    return session_loop_attach(&v->loop, &v->setup, err);
}

/* True when the recording is complete; says why it is not. */
static bool finish_recording(struct live *v)
{
    struct error err;
    struct recorder *r = v->setup.recorder;
    if (!r || recorder_finish(r, v->loop.reason, &err))
        return true;
    if (v->loop.end != LOOP_RECORDER) /* else the loop's error says it */
        (void)cli_fail(&err);
    return false;
}

static int finish(struct live *v, const struct cli_options *o)
{
    struct session_loop *l = &v->loop;
    struct recorder_stats stats = {0};
    bool is_complete = finish_recording(v);
    terminal_restore(&l->terminal);
    bool guest_has_stdout =
        l->serial.kind == CHANNEL_STDIO || l->debugcon.kind == CHANNEL_STDIO;
    FILE *to = guest_has_stdout ? stderr : stdout;
    int status = report_end(to, l);
    if (status == STATUS_OK && !is_complete)
        status = STATUS_BAD;
    if (v->setup.recorder)
        recorder_stats(v->setup.recorder, &stats);
    struct machine *m = v->setup.machine;
    struct figures f = {.ticks = machine_tick(m),
                        .insns = machine_insns(m),
                        .cpu_mhz = o->config.cpu_mhz,
                        .host_ns = l->host_ns,
                        .log = o->session,
                        .log_bytes = stats.log_bytes,
                        .file_bytes = stats.file_bytes,
                        .digests_name = o->session ? "digests" : NULL,
                        .digests = stats.digests,
                        .snapshots = stats.snapshots.taken,
                        .stop_ns_max = stats.snapshots.stop_ns_max,
                        .machine = m};
    report_figures(to, &f);
    struct error err;
    if (!stats_write(&v->stats, m, &err))
        status = cli_fail(&err);
    return status;
}

int live_run(const struct cli_options *o)
{
    struct error err;
    struct live *v = calloc(1, sizeof *v);
    if (!v) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status;
    signals_install(&v->loop.terminal);
    if (start(v, o, &err)) {
        session_loop_run(&v->loop);
        status = finish(v, o);
    } else {
        terminal_restore(&v->loop.terminal);
        status = cli_fail(&err);
    }
    session_loop_close(&v->loop);
    signals_install(NULL); /* the terminal's memory goes */
    stats_close(&v->stats);
    recorder_free(v->setup.recorder);
    machine_setup_close(&v->setup);
    if (v->log && v->log != stderr)
        (void)fclose(v->log);
    free(v);
    return status;
}
