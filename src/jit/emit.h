/* Host code bytes: the x86-64 encoder of the JIT (SDM vol. 2A ch. 2). Knows
 * nothing of guests. */
#ifndef RELIVE_JIT_EMIT_H
#define RELIVE_JIT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_reg {
    H_RAX,
    H_RCX,
    H_RDX,
    H_RBX,
    H_RSP,
    H_RBP,
    H_RSI,
    H_RDI,
    H_R8,
    H_R9,
    H_R10,
    H_R11,
    H_R12,
    H_R13,
    H_R14,
    H_R15,
    H_NONE
};

/* Code is written through one mapping and executed through another: `at` is
 * the writable address, `at + to_exec` the executable one. Running out of room
 * is remembered: check `full` at the end. */
struct emit {
    uint8_t *at, *end;
    ptrdiff_t to_exec;
    bool full;
};

/* The r/m operand. */
struct rm {
    enum {
        RM_REG,
        RM_MEM, /* [base + index * 2^scale + disp]; base may be H_NONE */
        RM_ABS  /* [RIP-relative] address of host data near the code */
    } kind;
    uint8_t reg; /* RM_REG, or base */
    uint8_t index, scale;
    int32_t disp;
    const void *target; /* RM_ABS */
};

static inline struct rm rm_reg(unsigned reg)
{
    return (struct rm){.kind = RM_REG, .reg = (uint8_t)reg};
}
static inline struct rm rm_base(unsigned base, int32_t disp)
{
    return (struct rm){.kind = RM_MEM,
                       .reg = (uint8_t)base,
                       .index = H_NONE,
                       .disp = disp};
}
static inline struct rm rm_abs(const void *target)
{
    return (struct rm){.kind = RM_ABS, .target = target};
}

void emit_u8(struct emit *e, unsigned v);
void emit_u32(struct emit *e, uint32_t v);
void emit_u64(struct emit *e, uint64_t v);

/* op: one to three opcode bytes, most significant first (0x0fb6 is 0F B6); size
 * 1, 2, 4 or 8 is the operand size (66h and REX.W follow from it; an 8-bit
 * opcode is the caller's choice). reg: register or /digit. rm_bytes: size of the
 * r/m operand, for the REX that byte registers 4..7 need. imm_bytes: how many
 * immediate bytes the caller emits behind, which RIP-relative operands count. */
void emit_op(struct emit *e, unsigned size, uint32_t op, unsigned reg,
             struct rm rm, unsigned rm_bytes, unsigned imm_bytes);

/* The VEX form of `op` with general registers: reg and rm are the fields of
 * ModRM, vvvv the third operand; size 4 or 8. */
enum vex_map { VEX_0F38 = 2, VEX_0F3A };
enum vex_prefix { VEX_66 = 1, VEX_F3, VEX_F2 };
void emit_vex(struct emit *e, unsigned size, enum vex_map map,
              enum vex_prefix prefix, unsigned op, unsigned reg, unsigned vvvv,
              unsigned rm);

/* RORX of BMI2: to := from rotated right by count; flags stay. */
void emit_rorx(struct emit *e, unsigned size, unsigned to, unsigned from,
               unsigned count);

/* Shorthands. */
void emit_mov_rr(struct emit *e, unsigned size, unsigned to, unsigned from);
void emit_load(struct emit *e, unsigned size, unsigned to, struct rm from);
void emit_store(struct emit *e, unsigned size, struct rm to, unsigned from);
void emit_mov_ri(struct emit *e, unsigned to, uint64_t value);
/* ADD OR ADC SBB AND SUB XOR CMP are digits 0..7. */
void emit_alu_ri(struct emit *e, unsigned size, unsigned digit, struct rm to,
                 int32_t imm);
void emit_alu_rr(struct emit *e, unsigned size, unsigned digit, unsigned to,
                 unsigned from);

/* Jumps: rel32 forms whose displacement is filled now or by emit_patch(). They
 * return the writable address of the displacement. condition 0..15, 16 always.*/
uint8_t *emit_jump(struct emit *e, unsigned condition);
void emit_jump_to(struct emit *e, unsigned condition, const uint8_t *exec);
void emit_call(struct emit *e, const void *exec);
void emit_push(struct emit *e, unsigned reg); /* 64 bits */
void emit_pop(struct emit *e, unsigned reg);
/* Make the jump whose displacement is at `site` go to executable address. */
void emit_patch(const struct emit *e, uint8_t *site, const uint8_t *exec);

static inline const uint8_t *emit_here(const struct emit *e)
{
    return e->at + e->to_exec;
}

#endif
