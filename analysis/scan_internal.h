/* Shared by scan*.c. */
#ifndef RELIVE_ANALYSIS_SCAN_INTERNAL_H
#define RELIVE_ANALYSIS_SCAN_INTERNAL_H

#include "analysis/scan.h"
#include "cpu/cpu.h"

enum {
    SCAN_BUFFER = 1 << 14, /* hits gathered at once */
    SCAN_WIDE = 64         /* bytes of code from which on tier 0 is faster than
                              probes at every offset */
};

struct scan {
    struct travel *travel; /* borrowed */
    struct machine *machine;
    struct scan_query q;
    /* Hits of the part that was run last: a ring, the oldest at `head`. */
    struct scan_hit *hit; /* owned: `capacity` */
    unsigned head, count, capacity;
    bool is_full;        /* a hit was lost: forwards the part ended there */
    uint64_t skip_below; /* hits below this tick are not wanted: the run-up */
    unsigned skip;       /* so many hits at `from` were handed out already */
    uint64_t given;
    uint64_t stride; /* ticks of the next part forwards */
    /* SCAN_EXEC of a wide range. */
    struct cpu_tracer tracer;
    struct scan_run {
        const struct block_code *block;
        unsigned first;
        uint64_t linear, tick;
        uint32_t deliveries;
        bool is_rest;
    } run;
};

/* scan_watch.c: arm the machine for the query, or disarm it. */
void scan_arm(struct scan *s);
void scan_disarm(struct scan *s);

/* scan.c: an observer has found something that fits the query but for ticks. */
void scan_add(struct scan *s, const struct scan_hit *hit);

#endif
