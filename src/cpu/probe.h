/* How an observer of the CPU learns of instructions before they are executed.
 * Nothing here is guest state: arming and hits never change what the guest
 * sees.
 *
 * Decoded blocks end in front of an armed address and the block that starts
 * there is marked `probed`. The run loop asks the observer before it executes
 * such a block, and runs it in tier 0: an engine never gets to see, compile or
 * link one. */
#ifndef RELIVE_CPU_PROBE_H
#define RELIVE_CPU_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;

/* The instruction at `linear` is about to be executed. True: leave cpu_run() in
 * front of it. */
typedef bool cpu_probe_fn(void *context, uint64_t linear);

struct cpu_probe {
    cpu_probe_fn *fn; /* borrowed with context; NULL: no observer */
    void *context;
    bool every;           /* ask before every instruction (slow) */
    uint64_t wanted[64];  /* bit n: an armed address has page offset n */
    bool has_offsets;     /* a bit of `offsets` is set */
    uint64_t offsets[64]; /* those that blocks know: `wanted` at least */
    /* Kept always: a place inside a tick. Delivering an event costs no tick, so
     * so many deliveries lie between the start of the tick and now. */
    uint64_t delivery_tick; /* UINT64_MAX: none since the last load */
    uint32_t deliveries;
    uint64_t rep_tick; /* a REP instruction stopped between two iterations */
};

/* At the start, and in a load, which drops all blocks. */
void cpu_probe_forget(struct cpu *c);
/* Set the observer and the addresses it wants to hear of. Drops all blocks when
 * an address has a new page offset; it is still asked about some that are armed
 * no longer, until a load drops the blocks. */
void cpu_probe_arm(struct cpu *c, cpu_probe_fn *fn, void *context,
                   const uint64_t *linear, unsigned count);
/* Ask before every instruction, or no longer. */
void cpu_probe_every(struct cpu *c, bool every);

/* For the run loop: ask the observer about the instruction at CS:RIP. */
bool cpu_probe_reached(struct cpu *c);
/* An event or fault has been delivered without cost. */
void cpu_probe_delivered(struct cpu *c);

#endif
