/* Probes: what an observer asks a machine to watch for while it runs.
 *
 * A place in a run is finer than a tick, for the delivery of an interrupt or
 * exception costs no tick: place (T, 0) is the state machine_run(m, T) stops
 * in, place (T, n) the state after n deliveries at tick T, in front of the
 * handler's first instruction. Probes are not guest state: they use none of the
 * guest's debug registers, are never saved, and change nothing that the guest
 * sees. */
#ifndef RELIVE_BOARD_PROBE_H
#define RELIVE_BOARD_PROBE_H

#include "board/machine.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PROBE_EXEC = 1, /* an instruction that starts at vaddr */
    PROBE_READ = 2,
    PROBE_WRITE = 4,
    PROBES_MAX = 256
};

/* On linear addresses, in whatever address space. */
struct probe {
    uint64_t vaddr;
    uint64_t bytes; /* of data, at least 1; unused for PROBE_EXEC */
    unsigned kinds; /* PROBE_EXEC alone, or PROBE_READ and PROBE_WRITE */
};

struct machine_place {
    uint64_t tick;
    uint32_t deliveries;
};
/* Negative, 0 or positive as a lies before, at or behind b. */
static inline int machine_place_compare(struct machine_place a,
                                        struct machine_place b)
{
    if (a.tick != b.tick)
        return a.tick < b.tick ? -1 : 1;
    return a.deliveries == b.deliveries  ? 0
           : a.deliveries < b.deliveries ? -1
                                         : 1;
}

/* One hit. place: in front of the instruction or delivery that made it. */
struct probe_hit {
    struct machine_place place;
    unsigned index; /* of the probe */
    unsigned kind;  /* one PROBE_* */
    uint64_t vaddr; /* of the access */
    unsigned bytes;
};
struct probe_tally {
    uint64_t hits;
    struct probe_hit first, last;
};

enum probe_mode {
    PROBE_OFF, /* hits are not looked at */
    PROBE_COUNT,
    PROBE_STOP /* machine_run() returns STOP_PROBE: in front of the instruction
                  for PROBE_EXEC, behind the access for data */
};

/* Replace the probes (copied, at most PROBES_MAX). Cheap when they are those
 * that are armed already. Starts in PROBE_OFF. */
void machine_set_probes(struct machine *m, const struct probe *probes,
                        unsigned count);
/* Set the mode and clear the tally. PROBE_EXEC does not hit at the place the
 * machine is in now when skip_here is set. */
void machine_probe_mode(struct machine *m, enum probe_mode mode,
                        bool skip_here);
const struct probe_tally *machine_probe_tally(const struct machine *m);

/* Make machine_run() return STOP_PROBE in front of the first instruction at
 * `place` or behind it. Runs an instruction at a time: for the last few only.
 * NULL: no longer. Does not touch the tally. */
void machine_stop_at(struct machine *m, const struct machine_place *place);

/* The tick at which the sleep that the machine is in, or was in last, began; of
 * a machine loaded asleep: the tick of the load. */
uint64_t machine_asleep_since(const struct machine *m);

/* Where the machine is. */
struct machine_place machine_place(const struct machine *m);

#endif
