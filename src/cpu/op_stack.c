/* PUSH, POP and the stack frame instructions (SDM vol. 2; vol. 1 6.2). */
#include "cpu/op_int.h"
#include "cpu/op_system.h"
#include "cpu/operand.h"

static enum exc push64_r(struct cpu *c, const struct insn *i)
{
    uint64_t v = c->r[i->dst], sp = c->r[REG_RSP] - 8;
    enum exc e = cpu_write(c, SEG_SS, sp, &v, 8);
    if (UNLIKELY(e))
        return e;
    c->r[REG_RSP] = sp;
    return EXC_NONE;
}

static enum exc push_r(struct cpu *c, const struct insn *i)
{
    return cpu_push(c, c->r[i->dst], i->opsize);
}

static enum exc push_m(struct cpu *c, const struct insn *i)
{
    uint64_t v = 0;
    enum exc e = insn_read(c, i, &v, i->opsize);
    return e ? e : cpu_push(c, v, i->opsize);
}

static enum exc push_i(struct cpu *c, const struct insn *i)
{
    return cpu_push(c, i->imm, i->opsize);
}

insn_fn *pick_push(const struct insn *i)
{
    if ((i->classes & 15) == REG_CLASS_SEGMENT)
        return op_push_segment;
    if (i->form == FORM_R)
        return i->opsize == 8 ? push64_r : push_r;
    return i->form == FORM_M ? push_m : push_i;
}

static enum exc pop64_r(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    enum exc e = cpu_read(c, SEG_SS, c->r[REG_RSP], &v, 8);
    if (UNLIKELY(e))
        return e;
    c->r[REG_RSP] += 8;
    c->r[i->dst] = v;
    return EXC_NONE;
}

static enum exc pop_r(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    enum exc e = cpu_stack_read(c, 0, &v, i->opsize);
    if (e)
        return e;
    cpu_add_sp(c, i->opsize);
    reg_set(c, i->dst, v, i->opsize);
    return EXC_NONE;
}

/* An address based on rSP is computed with rSP already incremented. */
static enum exc pop_m(struct cpu *c, const struct insn *i)
{
    uint64_t v, sp = c->r[REG_RSP];
    enum exc e = cpu_stack_read(c, 0, &v, i->opsize);
    if (e)
        return e;
    cpu_add_sp(c, i->opsize);
    e = insn_write(c, i, &v, i->opsize);
    if (e)
        c->r[REG_RSP] = sp;
    return e;
}

insn_fn *pick_pop(const struct insn *i)
{
    if ((i->classes & 15) == REG_CLASS_SEGMENT)
        return op_pop_segment;
    if (i->form == FORM_R)
        return i->opsize == 8 ? pop64_r : pop_r;
    return pop_m;
}

enum exc op_pusha(struct cpu *c, const struct insn *i)
{
    unsigned n = i->opsize;
    uint64_t sp = c->r[REG_RSP], values[8];
    for (unsigned r = 0; r < 8; r++)
        values[r] = c->r[r];
    for (unsigned r = 0; r < 8; r++) {
        enum exc e = cpu_push(c, values[r], n);
        if (e) {
            c->r[REG_RSP] = sp;
            return e;
        }
    }
    return EXC_NONE;
}

/* Like processors, loads each register as it is read: those before a fault have
 * their new values, and rSP has not moved. */
enum exc op_popa(struct cpu *c, const struct insn *i)
{
    unsigned n = i->opsize;
    for (unsigned k = 0; k < 8; k++) {
        uint64_t value;
        enum exc e = cpu_stack_read(c, k * n, &value, n);
        if (e)
            return e;
        if (7 - k != REG_RSP)
            reg_set(c, 7 - k, value, n);
    }
    cpu_add_sp(c, 8 * (int64_t)n);
    return EXC_NONE;
}

/* The nested frame pointers of ENTER: copies level - 1 display entries and
 * pushes the new frame pointer. */
static enum exc enter_display(struct cpu *c, unsigned level, unsigned n,
                              uint64_t frame)
{
    uint64_t bp = c->r[REG_RBP];
    for (unsigned k = 1; k < level; k++) {
        uint64_t v = 0;
        bp = (bp & ~c->sp_mask) | ((bp - n) & c->sp_mask);
        enum exc e = cpu_read(c, SEG_SS, bp & c->sp_mask, &v, n);
        if (!e)
            e = cpu_push(c, v, n);
        if (e)
            return e;
    }
    return cpu_push(c, frame, n);
}

enum exc op_enter(struct cpu *c, const struct insn *i)
{
    unsigned n = i->opsize, level = (unsigned)(i->imm >> 16) & 31;
    uint64_t sp = c->r[REG_RSP];
    enum exc e = cpu_push(c, c->r[REG_RBP], n);
    uint64_t frame = c->r[REG_RSP];
    if (!e && level > 0)
        e = enter_display(c, level, n, frame);
    if (!e) {
        cpu_add_sp(c, -(int64_t)(i->imm & 0xffff));
        /* The SDM ends ENTER with a check that the new top can be written. */
        uint64_t unused;
        e = cpu_read_for_write(c, SEG_SS, c->r[REG_RSP] & c->sp_mask, &unused,
                               n);
    }
    if (e) {
        c->r[REG_RSP] = sp;
        return e;
    }
    reg_set(c, REG_RBP, frame, n);
    return EXC_NONE;
}

enum exc op_leave(struct cpu *c, const struct insn *i)
{
    uint64_t v = 0, bp = c->r[REG_RBP] & c->sp_mask;
    enum exc e = cpu_read(c, SEG_SS, bp, &v, i->opsize);
    if (e)
        return e;
    c->r[REG_RSP] = (c->r[REG_RSP] & ~c->sp_mask) | bp;
    cpu_add_sp(c, i->opsize);
    reg_set(c, REG_RBP, v, i->opsize);
    return EXC_NONE;
}

/* The upper bound is read only when the lower one is kept. */
enum exc op_bound(struct cpu *c, const struct insn *i)
{
    unsigned n = i->opsize;
    int64_t v = sign_extend(c->r[i->dst], n * 8);
    uint64_t bound = 0;
    enum exc e = insn_read(c, i, &bound, n);
    if (!e && v < sign_extend(bound, n * 8))
        e = cpu_fault(c, EXC_BR, 0);
    if (!e)
        e = cpu_read(c, i->seg,
                     (insn_offset(c, i) + n) &
                         (i->addr == 2 ? 0xffff : 0xffffffff),
                     &bound, n);
    if (!e && v > sign_extend(bound, n * 8))
        e = cpu_fault(c, EXC_BR, 0);
    return e;
}
