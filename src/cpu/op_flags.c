/* Software interrupts, HLT and the flags that belong to the system: CLI, STI,
 * PUSHF, POPF (SDM vol. 2; vol. 3A 20.3.3, 20.4 for VIF and VIP). */
#include "cpu/op_system.h"

#include "cpu/system_internal.h"

/* EXC_DELIVERED: entering the handler cleared TF, so that no single-step trap
 * follows the instruction (SDM vol. 3B 17.3.1.4). */
static enum exc enter(struct cpu *c, uint8_t vector, enum event_kind kind)
{
    enum exc e = cpu_enter_handler(c, vector, kind, false, 0);
    return e ? e : EXC_DELIVERED;
}

enum exc op_int(struct cpu *c, const struct insn *i)
{
    return enter(c, (uint8_t)i->imm, EVENT_SOFT);
}

enum exc op_int1(struct cpu *c, const struct insn *i)
{
    (void)i;
    return enter(c, 1, EVENT_ICEBP);
}

enum exc op_int3(struct cpu *c, const struct insn *i)
{
    (void)i;
    return enter(c, 3, EVENT_TRAP);
}

enum exc op_into(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (!(cpu_rflags(c) & FLAG_OF))
        return EXC_NONE;
    return enter(c, 4, EVENT_TRAP);
}

enum exc op_hlt(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl != 0)
        return cpu_gp0(c);
    c->halted = true;
    cpu_attention(c);
    return EXC_NONE;
}

/* ---- IF and VIF
 * --------------------------------------------------------------- */

/* Who may change IF, or has the virtual flag instead. */
enum if_right { IF_REAL, IF_VIRTUAL, IF_DENIED };
static enum if_right if_right(const struct cpu *c)
{
    if (cpu_is_real(c) || c->cpl <= cpu_iopl(c))
        return IF_REAL;
    if (cpu_is_v86(c))
        return c->cr4 & CR4_VME ? IF_VIRTUAL : IF_DENIED;
    return c->cpl == 3 && (c->cr4 & CR4_PVI) ? IF_VIRTUAL : IF_DENIED;
}

enum exc op_cli(struct cpu *c, const struct insn *i)
{
    (void)i;
    switch (if_right(c)) {
    case IF_REAL:
        c->flags &= ~(uint32_t)FLAG_IF;
        return EXC_NONE;
    case IF_VIRTUAL:
        c->flags &= ~(uint32_t)FLAG_VIF;
        return EXC_NONE;
    default:
        return cpu_gp0(c);
    }
}

enum exc op_sti(struct cpu *c, const struct insn *i)
{
    (void)i;
    switch (if_right(c)) {
    case IF_REAL:
        if (c->flags & FLAG_IF)
            return EXC_NONE;
        c->flags |= FLAG_IF;
        c->shadow = 1;
        cpu_update_single(c);
        cpu_attention(c);
        return EXC_NONE;
    case IF_VIRTUAL:
        if (c->flags & FLAG_VIP)
            return cpu_gp0(c);
        c->flags |= FLAG_VIF;
        return EXC_NONE;
    default:
        return cpu_gp0(c);
    }
}

/* ---- PUSHF, POPF
 * --------------------------------------------------------------- */

enum exc op_pushf(struct cpu *c, const struct insn *i)
{
    uint32_t image = cpu_rflags(c) & ~(uint32_t)(FLAG_VM | FLAG_RF);
    if (cpu_is_v86(c) && cpu_iopl(c) < 3) {
        if (!(c->cr4 & CR4_VME) || i->opsize != 2)
            return cpu_gp0(c);
        image = (image & ~(uint32_t)FLAG_IF) | FLAG_IOPL;
        if (c->flags & FLAG_VIF)
            image |= FLAG_IF;
    }
    return cpu_push(c, image, i->opsize);
}

/* The bits POPF loads outside VME; RF is cleared by the wider forms. */
static uint32_t popf_mask(const struct cpu *c, unsigned bytes)
{
    uint32_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
    if (bytes > 2)
        mask |= FLAG_AC | FLAG_ID | FLAG_RF;
    if (c->cpl <= cpu_iopl(c))
        mask |= FLAG_IF;
    if (c->cpl == 0)
        mask |= FLAG_IOPL;
    return mask;
}

enum exc op_popf(struct cpu *c, const struct insn *i)
{
    uint64_t value;
    bool is_virtual = cpu_is_v86(c) && cpu_iopl(c) < 3;
    if (is_virtual && (!(c->cr4 & CR4_VME) || i->opsize != 2))
        return cpu_gp0(c);
    enum exc e = cpu_stack_read(c, 0, &value, i->opsize);
    if (e)
        return e;
    uint32_t image = (uint32_t)value & ~(uint32_t)FLAG_RF;
    uint32_t mask = popf_mask(c, i->opsize);
    if (is_virtual) {
        bool wants_if = (image & FLAG_IF) != 0;
        if ((image & FLAG_TF) || (wants_if && (c->flags & FLAG_VIP)))
            return cpu_gp0(c);
        image = wants_if ? image | FLAG_VIF : image & ~(uint32_t)FLAG_VIF;
        mask |= FLAG_VIF;
    }
    cpu_add_sp(c, i->opsize);
    cpu_merge_rflags(c, image, mask);
    cpu_recheck_events(c);
    return EXC_NONE;
}
