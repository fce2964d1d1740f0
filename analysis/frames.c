#include "analysis/frames.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { LOOK_SHARE = 50 }; /* looks take at most 1/50 of the host time */

struct frames {
    uint64_t refresh_ticks;
    uint64_t slow_ns; /* 0: none is slow */
    /* The look before: count 0 has none. */
    uint64_t looks;
    uint64_t picture; /* hash */
    uint64_t done_ns, rest_until_ns;
    struct machine_stats before;
    /* The frames. */
    uint64_t *times; /* owned: ns */
    size_t count, room;
    uint64_t slow, total_ns;
    double mean_ms, sum_squares_ms2; /* Welford: of differences from the mean */
};

struct frames *frames_new(uint32_t cpu_mhz, uint32_t slow_ms)
{
    struct frames *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->refresh_ticks = (uint64_t)cpu_mhz * 1000000 / FRAMES_HZ;
    f->slow_ns = (uint64_t)slow_ms * 1000000;
    return f;
}

void frames_free(struct frames *f)
{
    if (!f)
        return;
    free(f->times);
    free(f);
}

bool frames_due(const struct frames *f, uint64_t tick, uint64_t host_ns)
{
    return f->looks == 0 ||
           (tick / f->refresh_ticks > f->before.ticks / f->refresh_ticks &&
            host_ns >= f->rest_until_ns);
}

uint64_t frames_next_tick(const struct frames *f, uint64_t tick)
{
    return tick - tick % f->refresh_ticks + f->refresh_ticks;
}

void frames_add(struct frames *f, uint64_t ns)
{
    double ms = (double)ns / 1e6;
    if (f->count == f->room) {
        size_t room = f->room ? 2 * f->room : 1024;
        uint64_t *more = realloc(f->times, room * sizeof *more);
        if (!more)
            return; /* the figures are those of the frames before */
        f->times = more;
        f->room = room;
    }
    f->times[f->count++] = ns;
    f->total_ns += ns;
    f->slow += f->slow_ns && ns > f->slow_ns;
    double away = ms - f->mean_ms;
    f->mean_ms += away / (double)f->count;
    f->sum_squares_ms2 += away * (ms - f->mean_ms);
}

static uint64_t hash(const struct screen *s)
{
    uint64_t size = (uint64_t)s->width << 32 | s->height;
    return XXH3_64bits_withSeed(
        s->pixels, (size_t)s->width * s->height * sizeof *s->pixels, size);
}

/* Totals can fall: a medium that is ejected takes its own along. */
static uint64_t grown(uint64_t before, uint64_t now, uint64_t most)
{
    uint64_t by = now > before ? now - before : 0;
    return by < most ? by : most;
}

/* Compilation happens in no device, and devices wait for images. */
static void share(const struct machine_stats *a, const struct machine_stats *b,
                  struct frame_time *out)
{
    uint64_t left = out->span_ns;
    out->jit_ns = grown(a->jit.tier1_ns, b->jit.tier1_ns, left);
    left -= out->jit_ns;
    uint64_t chips = grown(a->device_ns, b->device_ns, left);
    out->io_ns = grown(a->image_read_ns, b->image_read_ns, chips);
    out->device_ns = chips - out->io_ns;
    out->cpu_ns = left - chips;
}

bool frames_look(struct frames *f, uint64_t reached_ns, uint64_t done_ns,
                 const struct screen *screen, const struct machine_stats *now,
                 struct frame_time *out)
{
    uint64_t picture = hash(screen);
    uint64_t refreshes = now->ticks / f->refresh_ticks -
                         f->before.ticks / f->refresh_ticks;
    bool is_frame = f->looks > 0 && picture != f->picture && refreshes > 0;
    if (is_frame) {
        *out = (struct frame_time){.span_ns = reached_ns - f->done_ns};
        out->ns = out->span_ns / refreshes;
        out->is_slow = f->slow_ns && out->ns > f->slow_ns;
        share(&f->before, now, out);
        frames_add(f, out->ns);
    }
    f->looks++;
    f->picture = picture;
    f->before = *now;
    f->done_ns = done_ns;
    f->rest_until_ns = done_ns + (LOOK_SHARE - 1) * (done_ns - reached_ns);
    return is_frame;
}

static int by_length(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* 1000 / the percentile in ms, which is per_mille / 10. */
static double fps_at(const uint64_t *sorted, size_t count, size_t per_mille)
{
    size_t rank = (count * per_mille + 999) / 1000;
    uint64_t ns = sorted[rank ? rank - 1 : 0];
    return ns ? 1e9 / (double)ns : 0.0;
}

bool frames_figures(const struct frames *f, struct frame_figures *out)
{
    size_t n = f->count;
    *out = (struct frame_figures){.looks = f->looks};
    if (n == 0)
        return true;
    uint64_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return false;
    memcpy(sorted, f->times, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_length);
    out->count = n;
    out->slow = f->slow;
    out->total_time_s = (double)f->total_ns / 1e9;
    out->avg_fps = f->total_ns ? (double)n / out->total_time_s : 0.0;
    out->median_fps = fps_at(sorted, n, 500);
    out->low_1_percent_fps = fps_at(sorted, n, 990);
    out->low_01_percent_fps = fps_at(sorted, n, 999);
    out->mean_ms = f->mean_ms;
    out->variance_ms2 = f->sum_squares_ms2 / (double)n;
    out->stdev_ms = sqrt(out->variance_ms2);
    out->cov = f->mean_ms > 0 ? out->stdev_ms / f->mean_ms : 0.0;
    free(sorted);
    return true;
}
