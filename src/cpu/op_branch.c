/* Near control transfers (SDM vol. 2 Jcc, JMP, CALL, RET, LOOPcc). Far forms are
 * in cpu/far.c. */
#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/op_system.h"
#include "cpu/operand.h"

#include <Zydis/Mnemonic.h>

/* Set RIP to a near target: truncated to the operand size and checked against
 * the CS limit, or for canonical form in 64-bit mode. */
static inline enum exc jump_near(struct cpu *c, uint64_t target,
                                 unsigned opsize)
{
    if (c->mode == MODE_64) {
        if (UNLIKELY((uint64_t)sign_extend(target, 48) != target))
            return cpu_fault(c, EXC_GP, 0);
    } else {
        target &= opsize == 2 ? 0xffff : 0xffffffff;
        if (UNLIKELY(target > c->seg[SEG_CS].limit))
            return cpu_fault(c, EXC_GP, 0);
    }
    c->r[REG_RIP] = target;
    return EXC_NONE;
}

#define CONDITIONAL(name, code)                                                \
    static enum exc j##name(struct cpu *c, const struct insn *i)               \
    {                                                                          \
        if (!flags_condition(c->aflags, code))                                 \
            return EXC_NONE;                                                   \
        return jump_near(c, c->r[REG_RIP] + i->imm, i->opsize);                \
    }                                                                          \
    insn_fn *pick_j##name(const struct insn *i)                                \
    {                                                                          \
        (void)i;                                                               \
        return j##name;                                                        \
    }                                                                          \
    enum exc op_set##name(struct cpu *c, const struct insn *i)                 \
    {                                                                          \
        return operand0_write(c, i, flags_condition(c->aflags, code));         \
    }                                                                          \
    enum exc op_cmov##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        uint64_t v;                                                            \
        enum exc e = operand1_read(c, i, &v);                                  \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        if (!flags_condition(c->aflags, code))                                 \
            v = reg_get(c, i->dst, i->size);                                   \
        reg_set(c, i->dst, v, i->size);                                        \
        return EXC_NONE;                                                       \
    }
CONDITIONAL(o, 0)
CONDITIONAL(no, 1)
CONDITIONAL(b, 2)
CONDITIONAL(nb, 3)
CONDITIONAL(z, 4)
CONDITIONAL(nz, 5)
CONDITIONAL(be, 6)
CONDITIONAL(nbe, 7)
CONDITIONAL(s, 8)
CONDITIONAL(ns, 9)
CONDITIONAL(p, 10)
CONDITIONAL(np, 11)
CONDITIONAL(l, 12)
CONDITIONAL(nl, 13)
CONDITIONAL(le, 14)
CONDITIONAL(nle, 15)

/* ---- JMP ----------------------------------------------------------------------- */

static enum exc jmp_relative(struct cpu *c, const struct insn *i)
{
    return jump_near(c, c->r[REG_RIP] + i->imm, i->opsize);
}

static enum exc jmp_indirect(struct cpu *c, const struct insn *i)
{
    uint64_t target;
    enum exc e = operand0_read(c, i, &target);
    return e ? e : jump_near(c, target, i->opsize);
}

insn_fn *pick_jmp(const struct insn *i)
{
    if (i->is_far)
        return op_jmp_far;
    return i->form == FORM_I ? jmp_relative : jmp_indirect;
}

/* ---- CALL ---------------------------------------------------------------------- */

/* The return address is stored before the target is checked: a bad target
 * faults with rSP unmoved and the bytes below it written. */
static enum exc call_target(struct cpu *c, uint64_t target, unsigned opsize)
{
    uint64_t sp = c->r[REG_RSP];
    enum exc e = cpu_push(c, c->r[REG_RIP], opsize);
    if (UNLIKELY(e))
        return e;
    e = jump_near(c, target, opsize);
    if (UNLIKELY(e))
        c->r[REG_RSP] = sp;
    return e;
}

static enum exc call_relative(struct cpu *c, const struct insn *i)
{
    return call_target(c, c->r[REG_RIP] + i->imm, i->opsize);
}

static enum exc call_indirect(struct cpu *c, const struct insn *i)
{
    uint64_t target;
    enum exc e = operand0_read(c, i, &target);
    return e ? e : call_target(c, target, i->opsize);
}

insn_fn *pick_call(const struct insn *i)
{
    if (i->is_far)
        return op_call_far;
    return i->form == FORM_I ? call_relative : call_indirect;
}

/* ---- RET ----------------------------------------------------------------------- */

static enum exc ret_near(struct cpu *c, const struct insn *i)
{
    uint64_t target;
    enum exc e = cpu_stack_read(c, 0, &target, i->opsize);
    if (UNLIKELY(e))
        return e;
    e = jump_near(c, target, i->opsize);
    if (UNLIKELY(e))
        return e;
    cpu_add_sp(c, i->opsize + (int64_t)(i->imm & 0xffff));
    return EXC_NONE;
}

insn_fn *pick_ret(const struct insn *i)
{
    return i->is_far ? op_ret_far : ret_near;
}

/* ---- LOOP and JCXZ ---------------------------------------------------------------- */

enum exc op_loop(struct cpu *c, const struct insn *i)
{
    uint64_t count = reg_get(c, REG_RCX, i->addr) - 1;
    bool zf = c->aflags & AF_ZF;
    uint64_t before = c->r[REG_RCX];
    reg_set(c, REG_RCX, count, i->addr);
    if (reg_get(c, REG_RCX, i->addr) == 0 ||
        (i->mnemonic == ZYDIS_MNEMONIC_LOOPE && !zf) ||
        (i->mnemonic == ZYDIS_MNEMONIC_LOOPNE && zf))
        return EXC_NONE;
    enum exc e = jump_near(c, c->r[REG_RIP] + i->imm, i->opsize);
    if (UNLIKELY(e))
        c->r[REG_RCX] = before;
    return e;
}

enum exc op_jcxz(struct cpu *c, const struct insn *i)
{
    if (reg_get(c, REG_RCX, i->addr) != 0)
        return EXC_NONE;
    return jump_near(c, c->r[REG_RIP] + i->imm, i->opsize);
}
