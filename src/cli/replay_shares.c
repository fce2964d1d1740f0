#include "cli/replay_shares.h"

#include "cli/progress.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "host/clock.h"
#include "replay/share.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 256, SEGMENTS_MAX = 100000, REPORT_MS = 250 };

/* ---- options --------------------------------------------------------------
 */

static bool take_jobs(struct cli_options *o, const char *v, struct error *err)
{
    char *end;
    unsigned long n = strtoul(v, &end, 10);
    o->jobs = (unsigned)n;
    return (v[0] >= '0' && v[0] <= '9' && !*end && n >= 1 && n <= JOBS_MAX) ||
           error_set(err, ERR_USAGE,
                     "--jobs: expected a number from 1 to %d, found '%.100s'",
                     JOBS_MAX, v);
}

static bool take_segment(struct cli_options *o, const char *v,
                         struct error *err)
{
    int at = 0;
    if (sscanf(v, "%9u/%9u%n", &o->segment, &o->segments, &at) == 2 &&
        !v[at] && o->segment >= 1 && o->segment <= o->segments &&
        o->segments <= SEGMENTS_MAX)
        return true;
    return error_set(err, ERR_USAGE,
                     "--segment: expected I/N with I from 1 to N, found "
                     "'%.100s'",
                     v);
}

const struct option_row share_options[] = {
    {"jobs", 0, "N",
     "verify in N processes, each a part of the session between "
     "two snapshots",
     take_jobs},
    {"segment", 0, "I/N", "verify the I-th of N such parts alone",
     take_segment},
    {0},
};

bool replay_is_shared(const struct cli_options *o)
{
    return o->jobs > 0 || o->segments > 0;
}

/* ---- the process of one share ---------------------------------------------
 */

/* What it tells its parent: a progress report, or, done, its result. */
struct message {
    uint32_t job;
    bool is_done;
    int status;
    uint64_t from, to, tick; /* of the share, and where it is */
    uint64_t insns;          /* retired by this process */
    uint64_t digests;
    char text[500]; /* why the status is not 0 */
};
_Static_assert(sizeof(struct message) <= PIPE_BUF, "written in one piece");

struct worker {
    struct replay replay;
    struct share share;
    struct message message;
    uint64_t begun_insns, told_ns;
    int to_parent;
};

static void tell(struct worker *w)
{
    struct machine *m = w->replay.setup.machine;
    struct message *msg = &w->message;
    if (m) {
        msg->tick = machine_tick(m);
        msg->insns = machine_insns(m) - w->begun_insns;
        msg->digests = replayer_report(w->replay.replayer)->digests_compared;
    }
    /* A parent that is gone needs no report. */
    (void)!write(w->to_parent, msg, sizeof *msg);
}

static void on_progress(void *context, const struct replayer *r, uint64_t tick)
{
    struct worker *w = context;
    uint64_t now = clock_monotonic_ns();
    (void)r;
    (void)tick;
    if (now - w->told_ns >= REPORT_MS * UINT64_C(1000000)) {
        w->told_ns = now;
        tell(w);
    }
    if (signals_arrived())
        machine_request_stop(w->replay.setup.machine);
}

static enum replay_stop run_share(struct worker *w, const struct cli_options *o,
                                  unsigned index, unsigned count,
                                  struct error *err)
{
    if (!replay_open(&w->replay, o, err))
        return REPLAY_FAILED;
    struct replayer *r = w->replay.replayer;
    if (!share_find(replayer_session(r), index, count, &w->share, err))
        return REPLAY_FAILED;
    w->message.from = w->share.from;
    w->message.to = w->share.to;
    if (w->share.from == w->share.to && !w->share.is_last)
        return REPLAY_UNTIL;
    replayer_set_progress(r, on_progress, w);
    enum replay_stop stop = share_start(r, &w->share, err);
    w->begun_insns = machine_insns(w->replay.setup.machine);
    if (stop != REPLAY_FAILED)
        do
            stop = share_run(r, &w->share, err);
        while (stop == REPLAY_REQUEST && !signals_arrived());
    return stop;
}

static int worker(const struct cli_options *o, unsigned job, unsigned index,
                  unsigned count, int to_parent)
{
    struct error err = {0};
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return STATUS_BAD;
    w->to_parent = to_parent;
    w->message.job = job;
    signals_install(NULL);
    enum replay_stop stop = run_share(w, o, index, count, &err);
    if (stop == REPLAY_DIVERGED)
        w->message.status = STATUS_GUEST;
    else if (stop == REPLAY_FAILED || stop == REPLAY_REQUEST)
        w->message.status = STATUS_BAD;
    if (stop == REPLAY_REQUEST)
        error_set(&err, ERR_IO, "interrupted");
    (void)snprintf(w->message.text, sizeof w->message.text, "%.499s",
                   w->message.status ? err.text : "");
    w->message.is_done = true;
    tell(w);
    replay_close(&w->replay);
    free(w);
    return STATUS_OK;
}

/* ---- the parent -----------------------------------------------------------
 */

struct jobs {
    const struct cli_options *options;
    unsigned count;
    struct message last[JOBS_MAX]; /* of each process */
    pid_t pid[JOBS_MAX];
    struct progress progress;
    uint64_t begun_ns;
};

static void show(struct jobs *j, const struct session *s)
{
    uint64_t now = clock_monotonic_ns();
    struct progress_figures f = {.end_tick = s->end_tick};
    if (!progress_due(&j->progress, now))
        return;
    for (unsigned i = 0; i < j->count; i++) {
        f.tick += j->last[i].tick > j->last[i].from
                      ? j->last[i].tick - j->last[i].from
                      : 0;
        f.insns += j->last[i].insns;
    }
    progress_show(&j->progress, now, &f);
}

/* Read what they say until all have closed their ends. */
static void listen_to(struct jobs *j, int from, const struct session *s)
{
    struct message m;
    size_t have = 0;
    for (;;) {
        ssize_t got = read(from, (char *)&m + have, sizeof m - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        have += (size_t)got;
        if (have < sizeof m)
            continue;
        have = 0;
        if (m.job < j->count)
            j->last[m.job] = m;
        show(j, s);
    }
}

static bool start(struct jobs *j, int pipe_ends[2], unsigned first,
                  unsigned count)
{
    for (unsigned i = 0; i < j->count; i++) {
        j->pid[i] = fork();
        if (j->pid[i] < 0)
            return false;
        if (j->pid[i] == 0) {
            (void)close(pipe_ends[0]);
            /* What is to be said goes to the parent. */
            if (!freopen("/dev/null", "w", stderr))
                _exit(STATUS_BAD);
            _exit(worker(j->options, i, first + i, count, pipe_ends[1]));
        }
    }
    return true;
}

static int report(struct jobs *j, const struct session *s)
{
    struct message sum = {0};
    int status = STATUS_OK;
    struct error err;
    for (unsigned i = 0; i < j->count; i++) {
        struct message *m = &j->last[i];
        if (!m->is_done) {
            m->status = STATUS_BAD;
            (void)snprintf(m->text, sizeof m->text,
                           "the process that verified part %u has died", i + 1);
        }
        if (m->status) {
            error_set(&err, ERR_INPUT, "%s", m->text);
            (void)cli_fail(&err);
        }
        status = m->status == STATUS_BAD || status == STATUS_OK ? m->status
                                                                 : status;
        sum.digests += m->digests;
        sum.insns += m->insns;
    }
    double host = (double)(clock_monotonic_ns() - j->begun_ns) / 1e9;
    uint64_t from = j->last[0].from, to = j->last[j->count - 1].to;
    (void)printf("%llu digests compared%s; ticks %llu to %llu of %llu in %u "
                 "part%s\n",
                 (unsigned long long)sum.digests,
                 status == STATUS_OK ? ", all equal" : "",
                 (unsigned long long)from, (unsigned long long)to,
                 (unsigned long long)s->end_tick, j->count,
                 j->count == 1 ? "" : "s");
    (void)printf("%llu instructions, %.3f host s, %.1f MIPS\n",
                 (unsigned long long)sum.insns, host,
                 host > 0 ? (double)sum.insns / host / 1e6 : 0.0);
    return status;
}

static int run_jobs(struct jobs *j, const struct session *s)
{
    const struct cli_options *o = j->options;
    int ends[2];
    struct error err;
    if (pipe(ends) != 0) {
        error_set(&err, ERR_IO, "cannot make a pipe: %s", strerror(errno));
        return cli_fail(&err);
    }
    unsigned first = o->segments ? o->segment : 1;
    unsigned count = o->segments ? o->segments : o->jobs;
    j->count = o->segments ? 1 : o->jobs;
    j->begun_ns = clock_monotonic_ns();
    progress_init(&j->progress, false, s->config.cpu_mhz, 0, 0);
    bool ok = start(j, ends, first, count);
    (void)close(ends[1]);
    if (!ok)
        error_set(&err, ERR_IO, "cannot start a process: %s", strerror(errno));
    listen_to(j, ends[0], s);
    (void)close(ends[0]);
    for (unsigned i = 0; i < j->count; i++)
        if (j->pid[i] > 0)
            (void)waitpid(j->pid[i], NULL, 0);
    progress_clear(&j->progress);
    return ok ? report(j, s) : cli_fail(&err);
}

int replay_shared(const struct cli_options *o)
{
    struct session *s;
    struct error err;
    char warning[600];
    if ((o->jobs && o->segments) || o->until.is_given || o->no_verify ||
        o->screenshot || o->hud || o->slow_frame_ms || o->serial || o->stress_save) {
        error_set(&err, ERR_USAGE,
                  "replay: --jobs and --segment exclude each other, --until, "
                  "--no-verify, --screenshot, --hud, --slow-frame, --serial "
                  "and --stress-save");
        return cli_fail(&err);
    }
    if (!session_open(o->session, &s, &err))
        return cli_fail(&err);
    session_warning(s, warning, sizeof warning);
    if (warning[0])
        cli_warn(warning);
    struct jobs *j = calloc(1, sizeof *j);
    int status = STATUS_BAD;
    if (j) {
        j->options = o;
        status = run_jobs(j, s);
    } else {
        error_set(&err, ERR_NOMEM, "no memory to start");
        (void)cli_fail(&err);
    }
    free(j);
    session_close(s);
    return status;
}
