/* Register allocation of tier 2: linear scan over the order of ops. A value has
 * one place for its whole life: a host register or memory. */
#ifndef RELIVE_JIT_T2_ALLOC_H
#define RELIVE_JIT_T2_ALLOC_H

#include "jit/t2_ir.h"

/* Places: host registers 0..15, then memory. */
enum {
    T2_SPILL = 0x100, /* + slot number */
    T2_HOME = 0x200,  /* + guest register: cpu->r */
    T2_FOLDED = 0xfffe, /* a pointer that the next op alone wants: see access()
                           in t2_gen_memory.c */
    T2_NOWHERE = 0xffff,
    T2_SPILLS = 200
};

struct t2_alloc {
    uint16_t *at;           /* place of each op's value */
    uint32_t *first, *last; /* positions in seq of its life */
    uint32_t *weight;
    t2_ref *hint;        /* a value to share a register with */
    uint8_t *want;       /* the host register it has outside, at the end */
    /* Positions; UINT32_MAX without a loop, which arms with ends of their own
     * belong to: back is that of the last op. */
    uint32_t loop, back;
    uint32_t edge[T2_SEGMENTS_MAX]; /* positions of T2_BACK */
    uint32_t spill_last[T2_SPILLS];
    unsigned spill_count;
};

bool t2_alloc_init(struct t2_alloc *a);
void t2_alloc_fini(struct t2_alloc *a);

/* Places for all values of ir->seq. False: more values than spill slots. */
bool t2_allocate(struct t2_alloc *a, const struct t2_ir *ir);

static inline bool t2_is_memory(unsigned place)
{
    return place >= T2_SPILL;
}

#endif
