/* Far JMP, CALL and RET (SDM vol. 2A CALL, JMP, vol. 2B RET; vol. 3A 5.8). */
#include "cpu/system_internal.h"

#include "cpu/op_system.h"

enum exc far_check_offset(struct cpu *c, const struct segment *code,
                          uint64_t offset)
{
    if (cpu_is_long(c) && (code->attr & SEG_ATTR_L))
        return is_canonical(offset) ? EXC_NONE : cpu_gp0(c);
    return (uint32_t)offset <= code->limit ? EXC_NONE : cpu_gp0(c);
}

void far_commit(struct cpu *c, struct segment code, unsigned cpl, uint64_t rip)
{
    c->seg[SEG_CS] = code;
    c->cpl = (uint8_t)cpl;
    /* A 64-bit offset into compatibility mode loses its upper half. */
    bool is_64 = cpu_is_long(c) && (code.attr & SEG_ATTR_L);
    c->r[REG_RIP] = is_64 ? rip : (uint32_t)rip;
    cpu_update_mode(c);
}

static uint16_t with_rpl(uint16_t selector, unsigned cpl)
{
    return (uint16_t)((selector & 0xfffc) | cpl);
}

enum exc far_gate_code(struct cpu *c, uint16_t selector, uint64_t offset,
                       struct segment *code, unsigned *cpl)
{
    struct descriptor d;
    uint32_t error = selector & 0xfffc;
    if (selector_is_null(selector))
        return cpu_gp0(c);
    enum exc e = descriptor_fetch(c, selector, EXC_GP, &d);
    if (e)
        return e;
    unsigned dpl = descriptor_dpl(&d);
    if (!descriptor_is_code(&d) || dpl > c->cpl)
        return cpu_fault(c, EXC_GP, error);
    if (cpu_is_long(c) && (d.hi & 0x600000) != 0x200000) /* L=1, D=0 */
        return cpu_fault(c, EXC_GP, error);
    if (!descriptor_present(&d))
        return cpu_fault(c, EXC_NP, error);
    *cpl = descriptor_is_conforming(&d) ? c->cpl : dpl;
    e = descriptor_set_accessed(c, &d);
    if (e)
        return e;
    *code = descriptor_segment(&d, with_rpl(selector, *cpl));
    return far_check_offset(c, code, offset);
}

/* A code segment named directly by a far JMP or CALL. */
static enum exc direct_code(struct cpu *c, struct descriptor *d,
                            struct segment *code)
{
    uint32_t error = d->selector & 0xfffc;
    unsigned dpl = descriptor_dpl(d), rpl = d->selector & 3;
    bool allowed = descriptor_is_conforming(d) ? dpl <= c->cpl
                                               : rpl <= c->cpl && dpl == c->cpl;
    if (!allowed)
        return cpu_fault(c, EXC_GP, error);
    if (cpu_is_long(c) && (d->hi & 0x600000) == 0x600000)
        return cpu_fault(c, EXC_GP, error);
    if (!descriptor_present(d))
        return cpu_fault(c, EXC_NP, error);
    *code = descriptor_segment(d, with_rpl(d->selector, c->cpl));
    code->attr |= SEG_ATTR_ACCESSED;
    return descriptor_set_accessed(c, d);
}

/* A call gate: what it says, after the checks on the gate itself. */
struct call_gate {
    uint16_t selector;
    uint64_t offset;
    uint8_t bytes; /* of each pushed value */
    uint8_t words; /* parameters to copy */
};

static enum exc read_call_gate(struct cpu *c, struct descriptor *d,
                               struct call_gate *g)
{
    bool is_32 = descriptor_type(d) == TYPE_CALL;
    *g = (struct call_gate){
        .selector = (uint16_t)(d->lo >> 16),
        .offset = d->lo & 0xffff,
        .bytes = is_32 ? 4 : 2,
        .words = d->hi & 0x1f,
    };
    if (is_32)
        g->offset |= d->hi & 0xffff0000;
    if (!cpu_is_long(c))
        return EXC_NONE;
    enum exc e = descriptor_extend(c, d);
    if (e)
        return e;
    g->offset |= (uint64_t)d->upper << 32;
    g->bytes = 8;
    g->words = 0;
    return EXC_NONE;
}

/* Gates and task descriptors: DPL >= CPL and RPL, then present. */
static enum exc check_gate(struct cpu *c, const struct descriptor *d)
{
    unsigned dpl = descriptor_dpl(d), rpl = d->selector & 3;
    if (dpl < c->cpl || dpl < rpl)
        return cpu_fault(c, EXC_GP, d->selector & 0xfffc);
    if (!descriptor_present(d))
        return cpu_fault(c, EXC_NP, d->selector & 0xfffc);
    return EXC_NONE;
}

static enum exc call_inner(struct cpu *c, const struct call_gate *g,
                           struct segment code, unsigned cpl)
{
    uint64_t values[2 + 31 + 2];
    unsigned count = 0;
    struct stack s;
    enum exc e = cpu_is_long(c) ? stack_from_tss64(c, cpl, 0, &s)
                                : stack_from_tss(c, cpl, &s);
    if (e)
        return e;
    values[count++] = c->seg[SEG_SS].selector;
    values[count++] = c->r[REG_RSP];
    for (unsigned k = g->words; k-- > 0;) {
        e = cpu_stack_read(c, k * g->bytes, &values[count++], g->bytes);
        if (e)
            return e;
    }
    values[count++] = c->seg[SEG_CS].selector;
    values[count++] = c->r[REG_RIP];
    e = stack_push(c, &s, values, count, g->bytes);
    if (e)
        return e;
    stack_load(c, &s);
    far_commit(c, code, cpl, g->offset);
    return EXC_NONE;
}

static enum exc push_return(struct cpu *c, uint16_t selector, unsigned bytes)
{
    uint64_t sp = c->r[REG_RSP];
    enum exc e = cpu_push(c, selector, bytes);
    if (!e)
        e = cpu_push(c, c->r[REG_RIP], bytes);
    if (e)
        c->r[REG_RSP] = sp;
    return e;
}

/* A direct CALL pushes in the mode of the code that it enters: between 64-bit
 * and compatibility mode that changes what SS means. As for a near CALL, the
 * return address is stored before the offset is checked. */
static enum exc call_direct(struct cpu *c, struct segment code,
                            uint64_t offset, unsigned bytes)
{
    struct segment caller = c->seg[SEG_CS];
    uint64_t sp = c->r[REG_RSP];
    c->seg[SEG_CS] = code;
    cpu_update_mode(c);
    enum exc e = push_return(c, caller.selector, bytes);
    if (!e)
        e = far_check_offset(c, &code, offset);
    if (e) {
        c->r[REG_RSP] = sp;
        c->seg[SEG_CS] = caller;
        cpu_update_mode(c);
    }
    return e;
}

static enum exc through_call_gate(struct cpu *c, struct descriptor *d,
                                  bool is_call)
{
    struct call_gate g;
    struct segment code;
    unsigned cpl;
    enum exc e = check_gate(c, d);
    if (!e)
        e = read_call_gate(c, d, &g);
    if (!e)
        e = far_gate_code(c, g.selector, g.offset, &code, &cpl);
    if (e)
        return e;
    if (cpl != c->cpl) {
        if (!is_call) /* JMP cannot change the privilege level */
            return cpu_fault(c, EXC_GP, g.selector & 0xfffc);
        return call_inner(c, &g, code, cpl);
    }
    if (is_call) {
        e = push_return(c, c->seg[SEG_CS].selector, g.bytes);
        if (e)
            return e;
    }
    far_commit(c, code, cpl, g.offset);
    return EXC_NONE;
}

static enum exc far_system(struct cpu *c, struct descriptor *d, bool is_call)
{
    unsigned type = descriptor_type(d);
    enum task_cause cause = is_call ? TASK_CALL : TASK_JMP;
    if (type == TYPE_CALL || (type == TYPE_CALL16 && !cpu_is_long(c)))
        return through_call_gate(c, d, is_call);
    bool is_tss = type == TYPE_TSS || type == TYPE_TSS16;
    if (cpu_is_long(c) || (!is_tss && type != TYPE_TASK_GATE))
        return cpu_fault(c, EXC_GP, d->selector & 0xfffc);
    enum exc e = check_gate(c, d);
    if (e)
        return e;
    if (is_tss)
        return task_enter(c, d->selector, cause, false, 0);
    return task_enter(c, (uint16_t)(d->lo >> 16), cause, false, 0);
}

static enum exc far_real(struct cpu *c, uint16_t selector, uint64_t offset,
                         unsigned bytes, bool is_call)
{
    struct segment code = segment_real(c, SEG_CS, selector);
    if (offset > code.limit)
        return cpu_gp0(c);
    if (is_call) {
        enum exc e = push_return(c, c->seg[SEG_CS].selector, bytes);
        if (e)
            return e;
    }
    far_commit(c, code, c->cpl, offset);
    return EXC_NONE;
}

static enum exc far_transfer(struct cpu *c, uint16_t selector, uint64_t offset,
                             unsigned bytes, bool is_call)
{
    struct descriptor d;
    struct segment code;
    if (!cpu_is_protected(c))
        return far_real(c, selector, offset, bytes, is_call);
    if (selector_is_null(selector))
        return cpu_gp0(c);
    enum exc e = descriptor_fetch(c, selector, EXC_GP, &d);
    if (e)
        return e;
    if (descriptor_is_system(&d))
        return far_system(c, &d, is_call);
    if (!descriptor_is_code(&d))
        return cpu_fault(c, EXC_GP, selector & 0xfffc);
    e = direct_code(c, &d, &code);
    if (!e)
        e = is_call ? call_direct(c, code, offset, bytes)
                    : far_check_offset(c, &code, offset);
    if (e)
        return e;
    far_commit(c, code, c->cpl, offset);
    return EXC_NONE;
}

static enum exc far_branch(struct cpu *c, const struct insn *i, bool is_call)
{
    uint64_t offset = 0;
    uint16_t selector;
    if (i->form == FORM_M) {
        enum exc e = cpu_read_far_pointer(c, i, &offset, &selector);
        if (e)
            return e;
    } else {
        offset = (uint32_t)i->imm;
        selector = (uint16_t)(i->imm >> 32);
    }
    if (i->opsize == 2)
        offset &= 0xffff;
    return far_transfer(c, selector, offset, i->opsize, is_call);
}

enum exc op_jmp_far(struct cpu *c, const struct insn *i)
{
    return far_branch(c, i, false);
}

enum exc op_call_far(struct cpu *c, const struct insn *i)
{
    return far_branch(c, i, true);
}

/* ---- returning ------------------------------------------------------------
 */

enum exc far_return_code(struct cpu *c, uint16_t selector,
                         struct segment *code)
{
    struct descriptor d;
    uint32_t error = selector & 0xfffc;
    unsigned rpl = selector & 3;
    if (selector_is_null(selector))
        return cpu_gp0(c);
    enum exc e = descriptor_fetch(c, selector, EXC_GP, &d);
    if (e)
        return e;
    unsigned dpl = descriptor_dpl(&d);
    if (!descriptor_is_code(&d) || rpl < c->cpl ||
        (descriptor_is_conforming(&d) ? dpl > rpl : dpl != rpl) ||
        (cpu_is_long(c) && (d.hi & 0x600000) == 0x600000))
        return cpu_fault(c, EXC_GP, error);
    if (!descriptor_present(&d))
        return cpu_fault(c, EXC_NP, error);
    *code = descriptor_segment(&d, selector);
    code->attr |= SEG_ATTR_ACCESSED;
    return descriptor_set_accessed(c, &d);
}

enum exc far_return_stack(struct cpu *c, uint16_t selector,
                          const struct segment *code, struct segment *ss)
{
    unsigned cpl = code->selector & 3;
    if (!selector_is_null(selector))
        return segment_prepare_stack(c, selector, cpl, EXC_GP, ss);
    /* Null is fine for 64-bit code that is not in ring 3. */
    if (!cpu_is_long(c) || !(code->attr & SEG_ATTR_L) || cpl == 3 ||
        selector != cpl)
        return cpu_gp0(c);
    *ss = segment_null_stack(cpl);
    return EXC_NONE;
}

void far_drop_segments(struct cpu *c)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned k = 0; k < sizeof data; k++) {
        struct segment *s = &c->seg[data[k]];
        unsigned dpl = s->attr >> SEG_ATTR_DPL_SHIFT & 3;
        bool conforming = (s->attr & (SEG_ATTR_CODE | SEG_ATTR_EXPAND_DOWN)) ==
                          (SEG_ATTR_CODE | SEG_ATTR_EXPAND_DOWN);
        if ((s->attr & SEG_ATTR_P) && dpl < c->cpl && !conforming)
            *s = segment_null(0);
    }
}

static enum exc ret_real(struct cpu *c, unsigned bytes, uint64_t ip,
                         uint16_t selector, uint32_t extra)
{
    struct segment code = segment_real(c, SEG_CS, selector);
    if (ip > code.limit)
        return cpu_gp0(c);
    cpu_add_sp(c, (int64_t)(2 * bytes + extra));
    far_commit(c, code, c->cpl, ip);
    return EXC_NONE;
}

static enum exc ret_outer(struct cpu *c, unsigned bytes, uint64_t ip,
                          struct segment code, uint32_t extra)
{
    uint64_t sp, selector;
    struct segment ss;
    enum exc e = cpu_stack_read(c, 2 * bytes + extra, &sp, bytes);
    if (!e)
        e = cpu_stack_read(c, 3 * bytes + extra, &selector, bytes);
    if (!e)
        e = far_return_stack(c, (uint16_t)selector, &code, &ss);
    if (!e)
        e = far_check_offset(c, &code, ip);
    if (e)
        return e;
    unsigned cpl = code.selector & 3;
    struct stack s = stack_of(ss, bytes == 2 ? (uint16_t)sp : sp, cpl);
    stack_load(c, &s);
    far_commit(c, code, cpl, ip);
    cpu_add_sp(c, extra);
    far_drop_segments(c);
    cpu_update_mode(c);
    return EXC_NONE;
}

enum exc op_ret_far(struct cpu *c, const struct insn *i)
{
    uint64_t ip, selector;
    struct segment code;
    unsigned bytes = i->opsize;
    uint32_t extra = i->form == FORM_I ? (uint16_t)i->imm : 0;
    /* Processors read CS, and only its word, before IP, as faults show. */
    enum exc e = cpu_stack_read(c, bytes, &selector, 2);
    if (!e)
        e = cpu_stack_read(c, 0, &ip, bytes);
    if (e)
        return e;
    if (!cpu_is_protected(c))
        return ret_real(c, bytes, ip, (uint16_t)selector, extra);
    e = far_return_code(c, (uint16_t)selector, &code);
    if (e)
        return e;
    if ((code.selector & 3) != c->cpl)
        return ret_outer(c, bytes, ip, code, extra);
    e = far_check_offset(c, &code, ip);
    if (e)
        return e;
    cpu_add_sp(c, (int64_t)(2 * bytes + extra));
    far_commit(c, code, c->cpl, ip);
    return EXC_NONE;
}
