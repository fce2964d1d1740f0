#include "cli/progress.h"

#include "host/clock.h"
#include "base/duration.h"
#include "host/terminal.h"

#include <stdio.h>
#include <string.h>

#define EVERY_NS UINT64_C(500000000)

void progress_init(struct progress *p, bool guest_uses_terminal,
                   uint32_t cpu_mhz, uint64_t tick, uint64_t insns)
{
    memset(p, 0, sizeof *p);
    p->is_on = !guest_uses_terminal && terminal_is_tty(fileno(stderr));
    p->cpu_mhz = cpu_mhz;
    p->tick = tick;
    p->insns = insns;
    p->shown_ns = clock_monotonic_ns();
}

bool progress_due(const struct progress *p, uint64_t now_ns)
{
    return p->is_on && now_ns - p->shown_ns >= EVERY_NS;
}

void progress_show(struct progress *p, uint64_t now_ns,
                   const struct progress_figures *f)
{
    double host = (double)(now_ns - p->shown_ns) / 1e9;
    double guest = (double)duration_ns(f->tick - p->tick, p->cpu_mhz) / 1e9;
    double seconds = (double)duration_ns(f->tick, p->cpu_mhz) / 1e9;
    (void)fprintf(stderr, "\rtick %llu", (unsigned long long)f->tick);
    if (f->end_tick)
        (void)fprintf(stderr, " (%.0f %%)",
                      100.0 * (double)f->tick / (double)f->end_tick);
    (void)fprintf(stderr, "  guest %.2f s  %.1f MIPS  %.2fx real time", seconds,
                  (double)(f->insns - p->insns) / host / 1e6, guest / host);
    if (f->log_bytes)
        (void)fprintf(stderr, "  log %.1f KB", (double)f->log_bytes / 1000.0);
    (void)fputs("\x1b[K", stderr);
    (void)fflush(stderr);
    p->is_shown = true;
    p->shown_ns = now_ns;
    p->tick = f->tick;
    p->insns = f->insns;
}

void progress_clear(struct progress *p)
{
    if (p->is_shown)
        (void)fputs("\r\x1b[K", stderr);
    p->is_shown = false;
}
