/* What is known of the memory accesses of a part of a 32- or 64-bit block before
 * it is lowered: which
 * of them lie at fixed distances of each other, so that one look into the TLB
 * serves all of them.
 *
 * Each general register holds symbol + offset; symbols stand for values that are
 * not known, and ADD, LEA, PUSH and their kind change offsets only. Accesses
 * through one symbol form a group, whose first one proves that the range from
 * the lowest to the highest byte lies in one page.
 *
 * In 32-bit code addresses wrap at 4 GiB, and the host's sum of a register, a
 * displacement and a page's addend does not; the upper half of a register may
 * hold what 64-bit code left there. So the registers of a group are such that
 * 32-bit instructions have written, or the one that the first access goes through,
 * and all are within PLAN_REACH of each other and of the bytes: when the first is
 * below 4 GiB, and that far from both ends, none of the sums wraps. */
#ifndef RELIVE_JIT_PLAN_H
#define RELIVE_JIT_PLAN_H

#include "cpu/blocks.h"

enum {
    PLAN_SLOTS = 8,
    PLAN_REACH = 1 << 16,
    PLAN_SPAN_MAX = 1024,  /* bytes: beyond, a page border is too likely */
    PLAN_NONE = 0xff,
    PLAN_INSNS = 64 /* of a part */
};

struct plan_group {
    int32_t low, high; /* bytes [low, high) from the symbol */
    uint16_t members;
    uint8_t slot; /* where its addend is kept; PLAN_NONE: nowhere */
    bool writes;
};

/* The access of an instruction through `reg`, a general register or REG_RIP
 * (the page of the block): at reg + disp when the instruction starts. */
struct plan_access {
    uint8_t group; /* index, or PLAN_NONE */
    uint8_t reg;
    uint8_t bytes;
    bool is_stack; /* PUSH, POP, CALL, RET, LEAVE: not the explicit operand */
    int32_t disp;
    int32_t offset; /* of the access from the group's symbol */
};

struct plan {
    struct plan_group group[PLAN_INSNS];
    struct plan_access access[PLAN_INSNS];
    unsigned groups;
    unsigned slots; /* groups of two and more members that have one */
};

/* `count` instructions, at most PLAN_INSNS, the first at page offset `start`, of
 * 64-bit code or of 32-bit code with flat segments. */
void plan_part(struct plan *p, const struct insn *insns, unsigned count,
               uint32_t start, bool is64);

#endif
