/* Data movement and exchange (SDM vol. 2). MOV to and from segment, control and
 * debug registers is in the system family. */
#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/op_system.h"
#include "cpu/operand.h"

#define MOV_WIDTH(bits)                                                        \
    static enum exc mov##bits##_rr(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        reg_set(c, i->dst, reg_get(c, i->src, (bits) / 8), (bits) / 8);        \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc mov##bits##_ri(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        reg_set(c, i->dst, i->imm, (bits) / 8);                                \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc mov##bits##_rm(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        uint##bits##_t v;                                                      \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        reg_set(c, i->dst, v, (bits) / 8);                                     \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc mov##bits##_mr(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        uint##bits##_t v = (uint##bits##_t)reg_get(c, i->src, (bits) / 8);     \
        return insn_write(c, i, &v, sizeof v);                                 \
    }                                                                          \
    static enum exc mov##bits##_mi(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        uint##bits##_t v = (uint##bits##_t)i->imm;                             \
        return insn_write(c, i, &v, sizeof v);                                 \
    }
MOV_WIDTH(8)
MOV_WIDTH(16)
MOV_WIDTH(32)
MOV_WIDTH(64)

/* MOV between the accumulator and a 64-bit absolute address, kept in imm. */
static enum exc mov_r_moffs64(struct cpu *c, const struct insn *i)
{
    uint64_t v = 0;
    enum exc e = cpu_read(c, i->seg, i->imm, &v, i->size);
    if (e)
        return e;
    reg_set(c, i->dst, v, i->size);
    return EXC_NONE;
}

static enum exc mov_moffs64_r(struct cpu *c, const struct insn *i)
{
    uint64_t v = reg_get(c, i->src, i->size);
    return cpu_write(c, i->seg, i->imm, &v, i->size);
}

static insn_fn *pick_special_mov(const struct insn *i)
{
    unsigned to = i->classes & 15, from = i->classes >> 4;
    if (to == REG_CLASS_SEGMENT)
        return op_mov_to_segment;
    if (from == REG_CLASS_SEGMENT)
        return op_mov_from_segment;
    if (to == REG_CLASS_CONTROL)
        return op_mov_to_control;
    if (from == REG_CLASS_CONTROL)
        return op_mov_from_control;
    if (to == REG_CLASS_DEBUG)
        return op_mov_to_debug;
    if (from == REG_CLASS_DEBUG)
        return op_mov_from_debug;
    return NULL;
}

#define MOV_ROW(bits)                                                          \
    {                                                                          \
        [FORM_RR] = mov##bits##_rr, [FORM_RM] = mov##bits##_rm,                \
        [FORM_MR] = mov##bits##_mr, [FORM_RI] = mov##bits##_ri,                \
        [FORM_MI] = mov##bits##_mi                                             \
    }
insn_fn *pick_mov(const struct insn *i)
{
    static insn_fn *const table[4][FORM_MI + 1] = {MOV_ROW(8), MOV_ROW(16),
                                                   MOV_ROW(32), MOV_ROW(64)};
    insn_fn *special = pick_special_mov(i);
    if (special)
        return special;
    bool has_memory = i->form == FORM_RM || i->form == FORM_MR;
    if (has_memory && i->is_moffs64)
        return i->form == FORM_RM ? mov_r_moffs64 : mov_moffs64_r;
    return table[__builtin_ctz(i->size | 8u)][i->form];
}

/* ---- widening -------------------------------------------------------------------- */

#define WIDEN(name, bits, type)                                                \
    static enum exc name##bits##_r(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        type v = (type)reg_get(c, i->src, (bits) / 8);                         \
        reg_set(c, i->dst, (uint64_t)v, i->size);                              \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_m(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        type v;                                                                \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        reg_set(c, i->dst, (uint64_t)v, i->size);                              \
        return EXC_NONE;                                                       \
    }
WIDEN(movzx, 8, uint8_t)
WIDEN(movzx, 16, uint16_t)
WIDEN(movsx, 8, int8_t)
WIDEN(movsx, 16, int16_t)
WIDEN(movsx, 32, int32_t)

insn_fn *pick_movzx(const struct insn *i)
{
    if (i->form == FORM_RR)
        return i->size1 == 1 ? movzx8_r : movzx16_r;
    return i->size1 == 1 ? movzx8_m : movzx16_m;
}

/* MOVSXD of a 16-bit destination has a 16-bit source (SDM vol. 2B MOVSXD),
 * which Zydis 4.0 calls 32 bits. */
insn_fn *pick_movsx(const struct insn *i)
{
    if (i->size == 2 && i->size1 == 4)
        return i->form == FORM_RR ? movsx16_r : movsx16_m;
    if (i->form == FORM_RR)
        return i->size1 == 1   ? movsx8_r
               : i->size1 == 2 ? movsx16_r
                               : movsx32_r;
    return i->size1 == 1 ? movsx8_m : i->size1 == 2 ? movsx16_m : movsx32_m;
}

/* ---- LEA ------------------------------------------------------------------------- */

#define LEA_WIDTH(bits)                                                        \
    static enum exc lea##bits(struct cpu *c, const struct insn *i)             \
    {                                                                          \
        reg_set(c, i->dst, insn_offset(c, i), (bits) / 8);                     \
        return EXC_NONE;                                                       \
    }
LEA_WIDTH(16)
LEA_WIDTH(32)
LEA_WIDTH(64)

insn_fn *pick_lea(const struct insn *i)
{
    return i->size == 8 ? lea64 : i->size == 4 ? lea32 : lea16;
}

/* ---- exchange ---------------------------------------------------------------------- */

enum exc op_xchg(struct cpu *c, const struct insn *i)
{
    uint64_t a, b;
    if (i->form == FORM_RM) { /* Zydis lists the register first for 86/87 r, m */
        uint64_t m = 0;
        b = reg_get(c, i->dst, i->size);
        enum exc e = insn_read_for_write(c, i, &m, i->size);
        if (!e)
            e = insn_write(c, i, &b, i->size);
        if (!e)
            reg_set(c, i->dst, m, i->size);
        return e;
    }
    b = reg_get(c, i->src, i->size);
    enum exc e = operand0_read_for_write(c, i, &a);
    if (!e)
        e = operand0_write(c, i, b);
    if (!e)
        reg_set(c, i->src, a, i->size);
    return e;
}

static uint64_t add_flags(struct cpu *c, uint64_t a, uint64_t b, unsigned n)
{
    return n == 1   ? alu_add8(c, (uint8_t)a, (uint8_t)b)
           : n == 2 ? alu_add16(c, (uint16_t)a, (uint16_t)b)
           : n == 4 ? alu_add32(c, (uint32_t)a, (uint32_t)b)
                    : alu_add64(c, a, b);
}

static void compare_flags(struct cpu *c, uint64_t a, uint64_t b, unsigned n)
{
    if (n == 1)
        (void)alu_sub8(c, (uint8_t)a, (uint8_t)b);
    else if (n == 2)
        (void)alu_sub16(c, (uint16_t)a, (uint16_t)b);
    else if (n == 4)
        (void)alu_sub32(c, (uint32_t)a, (uint32_t)b);
    else
        (void)alu_sub64(c, a, b);
}

/* The source register gets the old value first: XADD r, r with equal registers
 * leaves the sum. */
enum exc op_xadd(struct cpu *c, const struct insn *i)
{
    uint64_t a, b = reg_get(c, i->src, i->size);
    uint16_t before = c->aflags;
    enum exc e = operand0_read_for_write(c, i, &a);
    if (e)
        return e;
    uint64_t sum = add_flags(c, a, b, i->size);
    if (i->form == FORM_RR) {
        reg_set(c, i->src, a, i->size);
        reg_set(c, i->dst, sum, i->size);
        return EXC_NONE;
    }
    e = operand0_write(c, i, sum);
    if (e)
        c->aflags = before;
    else
        reg_set(c, i->src, a, i->size);
    return e;
}

/* The destination is written in both cases (with itself when unequal). */
enum exc op_cmpxchg(struct cpu *c, const struct insn *i)
{
    uint64_t a, b = reg_get(c, i->src, i->size);
    enum exc e = operand0_read_for_write(c, i, &a);
    if (e)
        return e;
    uint64_t acc = reg_get(c, REG_RAX, i->size);
    if (acc == a) {
        e = operand0_write(c, i, b);
    } else if (insn_first_is_memory(i)) {
        e = operand0_write(c, i, a);
        if (!e)
            reg_set(c, REG_RAX, a, i->size);
    } else {
        /* The 32-bit form leaves the upper half of an unequal destination. */
        reg_set(c, REG_RAX, a, i->size);
    }
    if (!e)
        compare_flags(c, acc, a, i->size);
    return e;
}

enum exc op_cmpxchg8b(struct cpu *c, const struct insn *i)
{
    uint64_t m;
    enum exc e = insn_read_for_write(c, i, &m, 8);
    if (e)
        return e;
    uint64_t want = (c->r[REG_RDX] << 32) | (uint32_t)c->r[REG_RAX];
    uint64_t put = (c->r[REG_RCX] << 32) | (uint32_t)c->r[REG_RBX];
    bool equal = m == want;
    e = insn_write(c, i, equal ? &put : &m, 8);
    if (e)
        return e;
    if (!equal) {
        c->r[REG_RAX] = (uint32_t)m;
        c->r[REG_RDX] = m >> 32;
    }
    c->aflags = (uint16_t)((c->aflags & ~AF_ZF) | (equal ? AF_ZF : 0));
    return EXC_NONE;
}

enum exc op_cmpxchg16b(struct cpu *c, const struct insn *i)
{
    uint64_t m[2], put[2] = {c->r[REG_RBX], c->r[REG_RCX]};
    uint64_t linear = insn_offset(c, i) + c->ea_base[i->seg];
    if (linear & 15)
        return cpu_fault(c, EXC_GP, 0);
    enum exc e = insn_read_for_write(c, i, m, 16);
    if (e)
        return e;
    bool equal = m[0] == c->r[REG_RAX] && m[1] == c->r[REG_RDX];
    e = insn_write(c, i, equal ? put : m, 16);
    if (e)
        return e;
    if (!equal) {
        c->r[REG_RAX] = m[0];
        c->r[REG_RDX] = m[1];
    }
    c->aflags = (uint16_t)((c->aflags & ~AF_ZF) | (equal ? AF_ZF : 0));
    return EXC_NONE;
}

/* BSWAP of a 16-bit register is undefined in the SDM; processors give 0. */
enum exc op_bswap(struct cpu *c, const struct insn *i)
{
    uint64_t v = c->r[i->dst];
    if (i->size == 8)
        c->r[i->dst] = __builtin_bswap64(v);
    else if (i->size == 4)
        c->r[i->dst] = __builtin_bswap32((uint32_t)v);
    else
        reg_set(c, i->dst, 0, 2);
    return EXC_NONE;
}

enum exc op_xlat(struct cpu *c, const struct insn *i)
{
    static const uint64_t mask[9] = {
        [2] = 0xffff, [4] = 0xffffffff, [8] = UINT64_MAX};
    uint64_t at = (c->r[REG_RBX] + (uint8_t)c->r[REG_RAX]) & mask[i->addr];
    uint8_t v;
    enum exc e = cpu_read(c, i->seg, at, &v, 1);
    if (!e)
        reg_set(c, REG_RAX * 8, v, 1);
    return e;
}

/* ---- flags ---------------------------------------------------------------------------- */

enum exc op_lahf(struct cpu *c, const struct insn *i)
{
    (void)i;
    reg_set(c, 1, c->aflags >> 8, 1); /* byte 1 of RAX: AH */
    return EXC_NONE;
}

enum exc op_sahf(struct cpu *c, const struct insn *i)
{
    (void)i;
    uint64_t ah = reg_get(c, 1, 1);
    c->aflags = (uint16_t)((c->aflags & AF_OF) | (ah & 0xd5) << 8 | AF_ONE);
    return EXC_NONE;
}

enum exc op_salc(struct cpu *c, const struct insn *i)
{
    (void)i;
    reg_set(c, REG_RAX * 8, c->aflags & AF_CF ? 0xff : 0, 1);
    return EXC_NONE;
}

enum exc op_clc(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->aflags &= (uint16_t)~AF_CF;
    return EXC_NONE;
}

enum exc op_stc(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->aflags |= AF_CF;
    return EXC_NONE;
}

enum exc op_cmc(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->aflags ^= AF_CF;
    return EXC_NONE;
}

enum exc op_cld(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->flags &= ~(uint32_t)FLAG_DF;
    return EXC_NONE;
}

enum exc op_std(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->flags |= FLAG_DF;
    return EXC_NONE;
}
