/* Where a value came from: the last store into its memory, and behind that the
 * copies (loads, stores, pushes, pops, string moves, register moves, SSE moves)
 * that brought it there, until something made it: a computation, a constant, a
 * device. */
#ifndef RELIVE_ANALYSIS_ORIGIN_H
#define RELIVE_ANALYSIS_ORIGIN_H

#include "base/error.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stdint.h>

enum origin_kind {
    ORIGIN_COPIED,   /* the instruction only moved it; the next step goes on */
    ORIGIN_COMPUTED, /* it made the value */
    ORIGIN_CONSTANT, /* it had the value in itself */
    ORIGIN_INPUT,    /* it read a port or device memory */
    ORIGIN_DMA,      /* a device stored it */
    ORIGIN_START,    /* nothing stored it since the session began */
    ORIGIN_LOST      /* no writer of the register was found near enough */
};
const char *origin_kind_name(enum origin_kind kind);

struct origin_step {
    enum origin_kind kind;
    struct machine_place place; /* in front of the instruction */
    uint64_t rip;               /* linear; 0: no instruction */
    bool is_register;           /* what it wrote: a register, or memory */
    char name[8];               /* of the register */
    uint64_t paddr;             /* of the memory, physical */
    unsigned offset;            /* of the first byte in the register */
    unsigned bytes;             /* followed */
    uint64_t value;             /* of them, behind the instruction */
    char text[96];              /* the instruction */
};

enum { ORIGIN_STEPS_MAX = 256 };

/* Follow `bytes` (1 to 8) at linear address `vaddr`, as they are at tick `tick`
 * in the space of that time, back through at most `most` steps. Moves the
 * machine. *count steps were found, the nearest first; the last one is not
 * COPIED, unless there were more. TRAVEL_THERE, TRAVEL_INTERRUPTED or
 * TRAVEL_FAILED: err. */
enum travel_stop origin_find(struct travel *t, uint64_t vaddr, unsigned bytes,
                             uint64_t tick, struct origin_step *steps,
                             unsigned most, unsigned *count, struct error *err);

#endif
