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
    PROBE_RANGE = 8, /* an instruction that starts in [vaddr, vaddr+bytes) */
    PROBES_MAX = 256
};

/* On linear addresses, in whatever address space. */
struct probe {
    uint64_t vaddr;
    uint64_t bytes; /* at least 1; unused for PROBE_EXEC */
    unsigned kinds; /* PROBE_EXEC or PROBE_RANGE alone, or PROBE_READ and
                       PROBE_WRITE */
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
    PROBE_TELL, /* and each one is told to the observer */
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

/* ---- observing --------------------------------------------------------------
 */

struct cpu_note;   /* cpu/probe.h */
struct cpu_tracer; /* cpu/probe.h */

/* What an observer hears of, each before it happens but for what is read; a
 * call that is NULL is not wanted. The calls must change nothing; they may look
 * at the machine, and make it stop. */
struct machine_observer {
    void *context; /* borrowed */
    /* A hit in PROBE_TELL; data: the bytes read or to be written, else NULL. */
    void (*hit)(void *context, const struct probe_hit *hit, const void *data);
    void (*note)(void *context, const struct cpu_note *note);
    void (*io)(void *context, uint16_t port, unsigned bytes, bool is_write,
               uint32_t value);
    void (*mmio)(void *context, uint64_t paddr, unsigned bytes, bool is_write,
                 uint64_t value);
    /* A store into a page that machine_spy() names. */
    void (*store)(void *context, uint32_t frame, uint32_t offset,
                  uint32_t bytes, const void *in, bool is_dma);
    /* Every data access by linear address; slow. */
    void (*access)(void *context, uint64_t vaddr, unsigned bytes, bool is_write,
                   bool is_system, const void *data);
    struct cpu_tracer *tracer; /* borrowed; slow */
};
/* NULL: nobody observes any more. The observer is copied. */
void machine_observe(struct machine *m, const struct machine_observer *o);
/* Tell of stores into this frame of memory, by whatever way they come; or no
 * longer. Loading a state keeps it. */
void machine_spy(struct machine *m, uint32_t frame, bool on);
/* In an observer's call: machine_run() is to return STOP_PROBE soon. */
void machine_observed_enough(struct machine *m);
/* In an observer's call: the linear address of the instruction that runs or
 * that is interrupted. */
uint64_t machine_running_insn(const struct machine *m);

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
