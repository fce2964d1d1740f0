/* The progress line on a terminal. */
#ifndef RELIVE_CLI_PROGRESS_H
#define RELIVE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_on;    /* stderr is a terminal that the guest does not use */
    bool is_shown; /* a line stands there */
    uint32_t cpu_mhz;
    uint64_t shown_ns;    /* when; a monotonic clock */
    uint64_t tick, insns; /* then */
};

struct progress_figures {
    uint64_t tick, insns;
    uint64_t end_tick;  /* 0: not known */
    uint64_t log_bytes; /* 0: nothing is recorded */
};

/* tick, insns: where counting starts. */
void progress_init(struct progress *p, bool guest_uses_terminal,
                   uint32_t cpu_mhz, uint64_t tick, uint64_t insns);
/* True about twice a second: worth gathering figures for. */
bool progress_due(const struct progress *p, uint64_t now_ns);
void progress_show(struct progress *p, uint64_t now_ns,
                   const struct progress_figures *f);
/* Before anything else is printed. */
void progress_clear(struct progress *p);

#endif
