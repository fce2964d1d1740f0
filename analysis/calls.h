/* Call trees of a part of a session: every call with its arguments and what it
 * gave back. A call is matched with its return by the stack slot that holds the
 * return address, so that threads, interrupts and long jumps do not confuse it.
 * Runs in tier 0. */
#ifndef RELIVE_ANALYSIS_CALLS_H
#define RELIVE_ANALYSIS_CALLS_H

#include "base/error.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stdint.h>

enum { CALL_ARGUMENTS = 6, CALL_NO_PARENT = -1 };

enum calls_abi {
    CALLS_ABI_SYSV, /* RDI RSI RDX RCX R8 R9; 32-bit code: the stack */
    CALLS_ABI_WIN64 /* RCX RDX R8 R9, then the stack; 32-bit as above */
};

struct calls_query {
    uint64_t from, to;    /* ticks of the calls, from <= tick < to */
    uint64_t first, last; /* where the functions begin */
    bool tree;            /* and all calls made by them */
    bool has_cr3;
    uint64_t cr3;
    uint64_t limit; /* calls; 0: a million */
    enum calls_abi abi;
};
struct calls_query calls_query_all(void);

struct call {
    uint64_t tick, end;   /* of the CALL, and behind the RET */
    uint64_t rip;         /* of the CALL, linear */
    uint64_t entry, back; /* of the function; where it returns to */
    uint64_t slot;        /* linear: where the return address lies */
    uint64_t cr3;
    uint64_t argument[CALL_ARGUMENTS];
    uint64_t result; /* RAX, valid when has_returned */
    int64_t parent;  /* number of the call that it was made in */
    uint32_t depth;
    uint8_t cpl;
    bool has_returned;
};

struct calls {
    struct call *at; /* owned, in order of their ticks */
    size_t count;
    bool is_cut; /* the limit was reached */
};
void calls_fini(struct calls *c); /* zeroed is fine */

/* Moves the machine. TRAVEL_THERE; TRAVEL_INTERRUPTED: what was found so far;
 * TRAVEL_FAILED: err. */
enum travel_stop calls_gather(struct travel *t, const struct calls_query *q,
                              struct calls *out, struct error *err);

#endif
