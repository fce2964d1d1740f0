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
struct block_code;
struct insn;

/* The instruction at `linear` is about to be executed. True: leave cpu_run() in
 * front of it. */
typedef bool cpu_probe_fn(void *context, uint64_t linear);

/* What happens seldom enough to be told of by a call, before it happens. */
enum cpu_note_kind {
    CPU_NOTE_INTERRUPT, /* hardware: an external one, or NMI */
    CPU_NOTE_EXCEPTION, /* a fault, or a debug trap */
    CPU_NOTE_SOFTWARE,  /* INT n, INT3, INTO */
    CPU_NOTE_CR3,       /* a load of CR3 that will succeed */
    CPU_NOTE_SYSCALL    /* SYSCALL or SYSENTER */
};
struct cpu_note {
    enum cpu_note_kind kind;
    uint8_t vector; /* of the first three kinds */
    bool has_error;
    uint32_t error;
    uint64_t value; /* the new CR3 */
};
typedef void cpu_note_fn(void *context, const struct cpu_note *note);

/* A tracer hears of every instruction; all of them then run in tier 0. Calls
 * come in threes: begin, at most one insn for each instruction, end. */
struct cpu_tracer {
    void *context; /* borrowed */
    /* The instructions of k from number `first` on, which is at `linear`, are
     * about to be executed. is_rest: that one is a repeated one that was
     * stopped between two iterations, and goes on. */
    void (*begin)(void *context, struct block_code *k, unsigned first,
                  uint64_t linear, bool is_rest);
    void (*insn)(void *context); /* before each; NULL: not wanted */
    /* So many were begun; the last one did not retire. */
    void (*end)(void *context, unsigned begun, bool has_faulted);
    unsigned at; /* kept between begin and end: the number, from `first` on, of
                    the instruction in execution */
};

struct cpu_probe {
    cpu_probe_fn *fn; /* borrowed with context; NULL: no observer */
    void *context;
    cpu_note_fn *note; /* borrowed with its context; NULL: nobody */
    void *note_context;
    struct cpu_tracer *tracer; /* borrowed; NULL: none */
    uint64_t rip; /* of the instruction whose handler runs; while an event is
                     delivered, of the one that it interrupts */
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
/* Addresses, at least one; must not wrap. */
struct cpu_probe_range {
    uint64_t first, count;
};
/* Set the observer and the addresses it wants to hear of. Drops all blocks when
 * an address has a new page offset; it is still asked about some that are armed
 * no longer, until a load drops the blocks. */
void cpu_probe_arm(struct cpu *c, cpu_probe_fn *fn, void *context,
                   const struct cpu_probe_range *ranges, unsigned count);
/* Trace, or no longer. Drops all blocks. */
void cpu_probe_trace(struct cpu *c, struct cpu_tracer *tracer);
/* Ask before every instruction, or no longer. */
void cpu_probe_every(struct cpu *c, bool every);

/* For the run loop: ask the observer about the instruction at CS:RIP. */
bool cpu_probe_reached(struct cpu *c);
/* Tell of what is about to happen, if somebody listens. */
void cpu_probe_note(struct cpu *c, const struct cpu_note *note);
/* An event or fault has been delivered without cost. */
void cpu_probe_delivered(struct cpu *c);

#endif
