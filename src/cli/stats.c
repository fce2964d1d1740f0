#include "cli/stats.h"

#include "analysis/hud.h"
#include "host/clock.h"

#include <errno.h>
#include <string.h>

#define WARN_NS UINT64_C(1000000000) /* at most one warning in that time */

bool stats_wanted(const struct cli_options *o)
{
    return o->stats || o->hud || o->slow_frame_ms;
}

static bool can_write(const char *path, struct error *err)
{
    FILE *file = fopen(path, "a"); /* rather now than after the run */
    if (!file)
        return error_set(err, ERR_IO, "%s: cannot write: %s", path,
                         strerror(errno));
    (void)fclose(file);
    return true;
}

bool stats_open(struct stats *s, const struct cli_options *o,
                const struct machine_setup *setup, struct error *err)
{
    if (!stats_wanted(o))
        return true;
    s->path = o->stats;
    s->has_hud = o->hud;
    if (s->path && !can_write(s->path, err))
        return false;
    uint32_t cpu_mhz = machine_config(setup->machine)->cpu_mhz;
    s->telemetry =
        telemetry_new(machine_engine_name(setup->engine.config.kind), cpu_mhz);
    s->frames = frames_new(cpu_mhz, o->slow_frame_ms);
    return (s->telemetry && s->frames) ||
           error_set(err, ERR_NOMEM, "no memory for --stats");
}

static double percent(uint64_t part, const struct frame_time *f)
{
    return f->span_ns ? 100.0 * (double)part / (double)f->span_ns : 0.0;
}

static void warn_slow(struct stats *s, uint64_t tick, uint64_t now,
                      const struct frame_time *f)
{
    char text[160];
    if (s->warned_ns && now - s->warned_ns < WARN_NS)
        return;
    s->warned_ns = now;
    (void)snprintf(text, sizeof text,
                   "slow frame at tick %llu: %.1f ms (CPU %.0f%%, JIT %.0f%%, "
                   "I/O %.0f%%, devices %.0f%%)",
                   (unsigned long long)tick, (double)f->ns / 1e6,
                   percent(f->cpu_ns, f), percent(f->jit_ns, f),
                   percent(f->io_ns, f), percent(f->device_ns, f));
    if (s->log)
        (void)fprintf(s->log, "%llu: %s\n", (unsigned long long)tick, text);
    else
        cli_warn(text);
}

static void look_at_screen(struct stats *s, struct machine *m, uint64_t now)
{
    struct machine_stats figures;
    struct frame_time frame;
    if (!machine_screen(m, &s->screen))
        return; /* no memory: this refresh is not looked at */
    machine_stats(m, &figures);
    if (frames_look(s->frames, now, clock_monotonic_ns(), &s->screen, &figures,
                    &frame) &&
        frame.is_slow)
        warn_slow(s, figures.ticks, now, &frame);
}

static void sample(struct stats *s, const struct machine *m, uint64_t now)
{
    struct machine_stats figures;
    machine_stats(m, &figures);
    telemetry_sample(s->telemetry, now, &figures);
}

void stats_look(struct stats *s, struct machine *m)
{
    if (!s->telemetry)
        return;
    uint64_t now = clock_monotonic_ns();
    if (telemetry_due(s->telemetry, now))
        sample(s, m, now);
    if (frames_due(s->frames, machine_tick(m), now))
        look_at_screen(s, m, now);
}

uint64_t stats_next_tick(const struct stats *s, const struct machine *m)
{
    return s->frames ? frames_next_tick(s->frames, machine_tick(m))
                     : UINT64_MAX;
}

void stats_draw(const struct stats *s, const struct machine *m,
                struct screen *screen)
{
    struct machine_stats figures;
    struct telemetry_view view;
    struct frame_figures frames;
    if (!s->has_hud || !s->telemetry)
        return;
    machine_stats(m, &figures);
    telemetry_view(s->telemetry, clock_monotonic_ns(), &figures, &view);
    (void)frames_figures(s->frames, &frames);
    hud_draw(screen, &view, &frames);
}

bool stats_write(struct stats *s, const struct machine *m, struct error *err)
{
    struct frame_figures frames;
    if (!s->path)
        return true;
    sample(s, m, clock_monotonic_ns());
    if (!frames_figures(s->frames, &frames))
        return error_set(err, ERR_NOMEM, "no memory for --stats");
    return telemetry_write(s->telemetry, &frames, s->path, err);
}

void stats_close(struct stats *s)
{
    telemetry_free(s->telemetry);
    frames_free(s->frames);
    screen_fini(&s->screen);
    s->telemetry = NULL;
    s->frames = NULL;
}
