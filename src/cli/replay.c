/* relive replay: run a session again, in lockstep. */
#include "cli/replay.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/replay_narrow.h"
#include "cli/replay_shares.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/stats.h"
#include "host/channel.h"
#include "host/clock.h"
#include "host/png.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shared with screenshot -----------------------------------------------
 */

bool replay_open(struct replay *r, const struct cli_options *o,
                 struct error *err)
{
    char warning[600];
    struct session *opened;
    bool ok = r->updates ? session_open_update(o->session, &opened, err)
                         : session_open(o->session, &opened, err);
    r->replayer = ok ? replayer_open_session(opened, err) : NULL;
    if (!r->replayer)
        return false;
    const struct session *s = replayer_session(r->replayer);
    if (!machine_setup_open_session(&r->setup, s, r->notes_reads,
                                    o->media_dir, err) ||
        !machine_setup_engine(&r->setup, o, err))
        return false;
    r->setup.replayer = r->replayer;
    if (!replayer_check_media(r->replayer, r->setup.media, r->setup.media_count,
                              err) ||
        !replayer_attach(r->replayer, r->setup.machine, err))
        return false;
    session_warning(s, warning, sizeof warning);
    if (warning[0])
        cli_warn(warning);
    return true;
}

void replay_close(struct replay *r)
{
    stats_close(&r->stats);
    replayer_free(r->replayer);
    machine_setup_close(&r->setup);
}

int replay_command(const struct cli_options *o, replay_work_fn *work)
{
    struct error err;
    struct replay *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = work(r, o);
    replay_close(r);
    free(r);
    return status;
}

bool replay_screenshot(struct replay *r, const char *path, struct error *err)
{
    struct screen screen = {0};
    bool ok = machine_screen(r->setup.machine, &screen) ||
              error_set(err, ERR_NOMEM, "%s: no memory for a picture", path);
    if (ok)
        stats_draw(&r->stats, r->setup.machine, &screen);
    ok = ok && png_write_screen(path, &screen, err);
    screen_fini(&screen);
    return ok;
}

enum replay_stop replay_run_until(struct replay *r, uint64_t until,
                                  struct error *err)
{
    const struct machine *m = r->setup.machine;
    for (;;) {
        uint64_t next = stats_next_tick(&r->stats, m);
        enum replay_stop stop =
            replayer_run(r->replayer, next < until ? next : until, err);
        stats_look(&r->stats, r->setup.machine);
        if (stop != REPLAY_UNTIL || next >= until)
            return stop;
    }
}

bool replay_go_to(struct replay *r, const struct cli_options *o, uint64_t tick,
                  struct error *err)
{
    const struct session *s = replayer_session(r->replayer);
    if (tick > s->end_tick)
        return error_set(err, ERR_USAGE,
                         "--at: expected a tick from 0 to %llu, the end of the "
                         "session, found %llu",
                         (unsigned long long)s->end_tick,
                         (unsigned long long)tick);
    if (!replayer_seek(r->replayer, tick, err) ||
        !stats_open(&r->stats, o, &r->setup, err))
        return false;
    stats_look(&r->stats, r->setup.machine);
    enum replay_stop stop = replay_run_until(r, tick, err);
    return stop != REPLAY_DIVERGED && stop != REPLAY_FAILED;
}

/* ---- options --------------------------------------------------------------
 */

static bool take_no_verify(struct cli_options *o, const char *v,
                           struct error *err)
{
    (void)v;
    (void)err;
    o->no_verify = true;
    return true;
}

static bool take_screenshot(struct cli_options *o, const char *v,
                            struct error *err)
{
    (void)err;
    o->screenshot = v;
    return true;
}

static bool take_serial(struct cli_options *o, const char *v, struct error *err)
{
    o->serial = v;
    return strcmp(v, "-") == 0 ||
           error_set(err, ERR_USAGE,
                     "--serial: expected - (standard output), found '%.100s'",
                     v);
}

static const struct option_row replay_options[] = {
    {"until", 0, "TICK", "stop at this tick, or guest time like 2.5s",
     take_until},
    {"no-verify", 0, NULL, "do not compare digests", take_no_verify},
    {"screenshot", 0, "FILE", "write the last picture to a PNG file",
     take_screenshot},
    {"serial", 0, "-", "write what COM1 sends to standard output", take_serial},
    {0},
};

/* ---- replaying ------------------------------------------------------------
 */

struct replay_run {
    struct replay replay;
    struct channel serial;
    struct progress progress;
    uint64_t begun_ticks, begun_insns; /* not 0 in a part of a session */
    uint64_t host_ns;
};

static void on_output(void *context, uint64_t tick, enum output_channel channel,
                      const void *bytes, size_t count)
{
    struct replay_run *r = context;
    (void)tick;
    if (channel != OUT_SERIAL)
        return;
    channel_write(&r->serial, bytes, count);
    /* Whole lines at once: the next progress may be long in coming. */
    if (memchr(bytes, '\n', count))
        channel_flush(&r->serial);
}

static void on_progress(void *context, const struct replayer *replayer,
                        uint64_t tick)
{
    struct replay_run *r = context;
    struct machine *m = r->replay.setup.machine;
    uint64_t now = clock_monotonic_ns();
    channel_flush(&r->serial);
    if (progress_due(&r->progress, now)) {
        struct progress_figures f = {.tick = tick,
                                     .insns = machine_insns(m),
                                     .end_tick =
                                         replayer_session(replayer)->end_tick};
        progress_show(&r->progress, now, &f);
    }
    if (signals_arrived() || r->serial.has_failed)
        machine_request_stop(m);
}

static enum replay_stop run_to(struct replay_run *r,
                               const struct cli_options *o, uint64_t until,
                               struct error *err)
{
    uint64_t step = o->stress_save, next = step ? step : UINT64_MAX;
    for (;;) {
        enum replay_stop stop =
            replay_run_until(&r->replay, next < until ? next : until, err);
        if (stop == REPLAY_REQUEST && r->serial.has_failed) {
            *err = r->serial.error;
            return REPLAY_FAILED;
        }
        if (stop == REPLAY_REQUEST && !signals_arrived())
            continue;
        if (stop != REPLAY_UNTIL || next >= until)
            return stop;
        next = next > UINT64_MAX - step ? UINT64_MAX : next + step;
        if (!machine_setup_reload(&r->replay.setup, err))
            return REPLAY_FAILED;
    }
}

static const char *stopped_where(const struct session *s, enum replay_stop stop)
{
    switch (stop) {
    case REPLAY_END:
        return s->end_reason == STOP_TICK || s->end_reason == STOP_REQUEST
                   ? "at the recording's end"
                   : stop_reason_name(s->end_reason);
    case REPLAY_TORN:
        return "at the last commit of a torn recording";
    case REPLAY_REQUEST:
        return "interrupted";
    default:
        return "as --until asks";
    }
}

static int report(struct replay_run *r, const struct cli_options *o,
                  enum replay_stop stop, const struct error *err)
{
    FILE *to = o->serial ? stderr : stdout;
    struct machine *m = r->replay.setup.machine;
    const struct session *s = replayer_session(r->replay.replayer);
    const struct replay_report *p = replayer_report(r->replay.replayer);
    if (stop == REPLAY_FAILED)
        return cli_fail(err);
    if (stop == REPLAY_DIVERGED)
        (void)cli_fail(err);
    else if (o->no_verify)
        (void)fprintf(to, "no digests compared (--no-verify)");
    else
        (void)fprintf(to, "%llu digests compared, all equal",
                      (unsigned long long)p->digests_compared);
    if (stop != REPLAY_DIVERGED)
        (void)fprintf(to, "; stopped at tick %llu: %s\n",
                      (unsigned long long)machine_tick(m),
                      stopped_where(s, stop));
    struct figures f = {.ticks = machine_tick(m) - r->begun_ticks,
                        .insns = machine_insns(m) - r->begun_insns,
                        .cpu_mhz = s->config.cpu_mhz,
                        .host_ns = r->host_ns,
                        .digests_name = "digests equal",
                        .digests = p->digests_compared,
                        .machine = m};
    report_figures(to, &f);
    return stop == REPLAY_DIVERGED ? STATUS_GUEST : STATUS_OK;
}

static int replay(struct replay_run *r, const struct cli_options *o)
{
    struct error err;
    struct machine_stress stress = {.tlb_entries = (unsigned)o->stress_tlb,
                                    .block_insns = (unsigned)o->stress_block,
                                    .slice_seed = o->stress_slice};
    if (!channel_open(&r->serial, o->serial ? "stdio" : "none", "--serial",
                      &err) ||
        !replay_open(&r->replay, o, &err))
        return cli_fail(&err);
    struct machine *m = r->replay.setup.machine;
    uint32_t mhz = machine_config(m)->cpu_mhz;
    machine_set_stress(m, &stress);
    machine_set_output(m, on_output, r);
    replayer_set_verify(r->replay.replayer, !o->no_verify);
    replayer_set_progress(r->replay.replayer, on_progress, r);
    progress_init(&r->progress, o->serial && terminal_is_tty(fileno(stdout)),
                  mhz, 0, 0);
    signals_install(NULL);
    if (!stats_open(&r->replay.stats, o, &r->replay.setup, &err))
        return cli_fail(&err);
    stats_look(&r->replay.stats, m);
    r->begun_ticks = machine_tick(m);
    r->begun_insns = machine_insns(m);
    uint64_t begun = clock_monotonic_ns();
    enum replay_stop stop =
        run_to(r, o, tick_option_ticks(&o->until, mhz, UINT64_MAX), &err);
    r->host_ns = clock_monotonic_ns() - begun;
    channel_flush(&r->serial);
    progress_clear(&r->progress);
    int status = report(r, o, stop, &err);
    if (stop == REPLAY_DIVERGED)
        replay_narrow(&r->replay, o);
    if (stop != REPLAY_FAILED && !stats_write(&r->replay.stats, m, &err))
        return cli_fail(&err);
    if (o->screenshot && stop != REPLAY_FAILED &&
        !replay_screenshot(&r->replay, o->screenshot, &err))
        return cli_fail(&err);
    return status;
}

static int run(const struct cli_options *o)
{
    struct error err;
    if (replay_is_shared(o))
        return replay_shared(o);
    struct replay_run *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = replay(r, o);
    channel_close(&r->serial);
    replay_close(&r->replay);
    free(r);
    return status;
}

const struct command command_replay = {
    .name = "replay",
    .synopsis = "SESSION [OPTIONS]",
    .summary = "run a session again and compare every digest",
    .details =
        "Run the recorded machine again with the recorded events and compare\n"
        "its state with every digest of the recording. Exit status 0 when all\n"
        "were equal, 1 when the replay differs. A session whose recorder was\n"
        "killed replays up to its last commit, with a warning.",
    .groups = {replay_options, share_options, engine_options, media_options,
               stats_options, stress_options},
    .takes_session = true,
    .run = run,
};
