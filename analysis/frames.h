/* Frames of a machine without a window, and how long the host took for them.
 *
 * A refresh is 1/60 s of guest time, whatever the mode's own rate. A frame is a
 * refresh in which the picture changed; its time is the host time of that
 * refresh, without what looking at the picture took. Looks are paid for: they
 * take at most 1/50 of the host time, so several refreshes may pass between two
 * of them; if the picture changed, that is one frame, and its time is the mean
 * over those refreshes. */
#ifndef RELIVE_ANALYSIS_FRAMES_H
#define RELIVE_ANALYSIS_FRAMES_H

#include "board/stats.h"
#include "dev/display.h"

#include <stdbool.h>
#include <stdint.h>

struct frames;

enum { FRAMES_HZ = 60 };

/* slow_ms: a frame that takes longer is slow; 0: none is. NULL: no memory. */
struct frames *frames_new(uint32_t cpu_mhz, uint32_t slow_ms);
void frames_free(struct frames *f); /* takes NULL */

/* Is it time to look? The tick of the next refresh, for who runs up to it. */
bool frames_due(const struct frames *f, uint64_t tick, uint64_t host_ns);
uint64_t frames_next_tick(const struct frames *f, uint64_t tick);

/* Where the host time since the look before went. The rest is the CPU's:
 * interpreting and running compiled code. Tier 2 compiles beside it on a thread
 * of its own and is in none of them. */
struct frame_time {
    bool is_slow;
    uint64_t ns;      /* the frame's time */
    uint64_t span_ns; /* since the look before, of which: */
    uint64_t cpu_ns, jit_ns, io_ns, device_ns;
};

/* The picture and the totals at a tick, reached at host time reached_ns; looked
 * at until done_ns. The first look begins the measurement. True when the
 * picture changed: *out is the frame. */
bool frames_look(struct frames *f, uint64_t reached_ns, uint64_t done_ns,
                 const struct screen *screen, const struct machine_stats *now,
                 struct frame_time *out);
/* A frame of which only the time is known, as frames_look() counts it. */
void frames_add(struct frames *f, uint64_t ns);

struct frame_figures {
    uint64_t count, looks, slow; /* frames; all others 0 without any */
    double total_time_s;         /* of all frames */
    double avg_fps;              /* count / total_time_s */
    double median_fps;           /* 1000 / p50 of the frame times in ms */
    double low_1_percent_fps;    /* 1000 / p99 */
    double low_01_percent_fps;   /* 1000 / p99.9 */
    double mean_ms, variance_ms2, stdev_ms, cov; /* of the population */
};
/* Percentiles are by nearest rank. False: no memory to sort; *out is zeroed. */
bool frames_figures(const struct frames *f, struct frame_figures *out);

#endif
