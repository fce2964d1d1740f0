/* relive view: a session as one HTML page. */
#include "analysis/report.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "host/clock.h"
#include "host/png.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POINTS_DEFAULT = 300,
    POINTS_MAX = 2000,
    PICTURES_DEFAULT = 40,
    PICTURES_MAX = 1000
};

static bool take_number(const char *name, const char *v, unsigned least,
                        unsigned most, unsigned *out, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(v, &end, 10);
    if (v[0] < '0' || v[0] > '9' || *end || errno || n < least || n > most)
        return error_set(err, ERR_USAGE,
                         "--%s: expected a number from %u to %u, found "
                         "'%.100s'",
                         name, least, most, v);
    *out = (unsigned)n;
    return true;
}

static bool take_points(struct cli_options *o, const char *v,
                        struct error *err)
{
    return take_number("points", v, 2, POINTS_MAX, &o->points, err);
}

static bool take_pictures(struct cli_options *o, const char *v,
                          struct error *err)
{
    return take_number("pictures", v, 1, PICTURES_MAX, &o->pictures, err);
}

static const struct option_row view_options[] = {
    {"output", 'o', "FILE", "the page to write (default: SESSION.html)",
     take_output},
    {"points", 0, "N", "moments of the time line (default 300)", take_points},
    {"pictures", 0, "N", "pictures of the screen, at most (default 40)",
     take_pictures},
    {0},
};

/* A travel_poll_fn. */
static bool poll_stop(void *context)
{
    (void)context;
    return signals_arrived();
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static bool png(void *context, const struct screen *screen, struct writer *out,
                struct error *err)
{
    (void)context;
    return png_encode_screen(screen, out, err);
}

static bool write_page(const json_t *report, const char *path,
                       struct error *err)
{
    struct writer w;
    writer_init(&w);
    bool ok = report_page(report, &w) ||
              error_set(err, ERR_NOMEM, "%s: out of memory", path);
    FILE *f = ok ? fopen(path, "wb") : NULL;
    if (ok && !f)
        ok = error_set(err, ERR_IO, "%s: cannot write: %s", path,
                       strerror(errno));
    bool is_written = f && fwrite(w.data, 1, w.used, f) == w.used;
    if (f && fclose(f) != 0)
        is_written = false;
    if (ok && !is_written)
        ok = error_set(err, ERR_IO, "%s: cannot write: %s", path,
                       strerror(errno));
    writer_fini(&w);
    return ok;
}

static bool view(struct replay *r, const struct cli_options *o,
                 struct error *err)
{
    char path[PATH_MAX];
    const struct report_host host = {.now_ns = now_ns, .png = png};
    const struct report_options options = {
        .path = o->session,
        .points = o->points ? o->points : POINTS_DEFAULT,
        .pictures = o->pictures ? o->pictures : PICTURES_DEFAULT};
    size_t n = strlen(o->session);
    while (n > 1 && o->session[n - 1] == '/')
        n--;
    if (o->output)
        (void)snprintf(path, sizeof path, "%s", o->output);
    else
        (void)snprintf(path, sizeof path, "%.*s.html", (int)n, o->session);
    if (!replay_open(r, o, err))
        return false;
    struct travel *t = travel_new(r->replayer, r->setup.machine, 0, err);
    if (t)
        travel_set_poll(t, poll_stop, NULL);
    json_t *report = t ? report_gather(t, &options, &host, err) : NULL;
    bool ok = report && write_page(report, path, err);
    if (ok)
        (void)printf("%s\n", path);
    json_decref(report);
    travel_free(t);
    return ok;
}

static int make_page(struct replay *r, const struct cli_options *o)
{
    struct error err;
    signals_install(NULL);
    return view(r, o, &err) ? STATUS_OK : cli_fail(&err);
}

static int run(const struct cli_options *o)
{
    return replay_command(o, make_page);
}

const struct command command_view = {
    .name = "view",
    .synopsis = "SESSION [-o FILE.html]",
    .summary = "write a page about a session for a browser",
    .details =
        "Run through a session and write one HTML page that needs nothing "
        "else:\nscreen, serial line, events, interrupts and exceptions, speed "
        "and tiers\nover time, processes by CPU time, and how the guest "
        "failed. A click copies\nthe command that debugs that moment.",
    .groups = {view_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
