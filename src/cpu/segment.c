/* Descriptor tables and segment registers (SDM vol. 3A ch. 3 and 5). */
#include "cpu/system_internal.h"

#include "cpu/op_system.h"

static enum exc read_table(struct cpu *c, uint64_t vaddr, uint32_t out[2])
{
    uint8_t bytes[8];
    enum exc e =
        cpu_system_read(c, table_address(c, vaddr), bytes, sizeof bytes);
    if (e)
        return e == EXC_GP ? cpu_gp0(c) : e;
    out[0] = load_le32(bytes);
    out[1] = load_le32(bytes + 4);
    return EXC_NONE;
}

/* The table that holds `selector`: false when it has no room for `bytes`. */
static bool table_holds(const struct cpu *c, uint16_t selector, unsigned bytes,
                        uint64_t *vaddr)
{
    uint32_t offset = selector & 0xfff8;
    bool is_local = (selector & 4) != 0;
    uint64_t base = is_local ? c->ldtr.base : c->gdtr.base;
    uint32_t limit = is_local ? c->ldtr.limit : c->gdtr.limit;
    *vaddr = base + offset;
    if (is_local && !(c->ldtr.attr & SEG_ATTR_P))
        return false;
    return offset + bytes - 1 <= limit;
}

enum exc descriptor_look(struct cpu *c, uint16_t selector, struct descriptor *d,
                         bool *found)
{
    uint32_t words[2];
    *found = false;
    if (selector_is_null(selector) || !table_holds(c, selector, 8, &d->vaddr))
        return EXC_NONE;
    enum exc e = read_table(c, d->vaddr, words);
    if (e)
        return e;
    d->lo = words[0];
    d->hi = words[1];
    d->upper = 0;
    d->selector = selector;
    *found = true;
    return EXC_NONE;
}

enum exc descriptor_fetch(struct cpu *c, uint16_t selector, enum exc bad,
                          struct descriptor *d)
{
    bool found;
    enum exc e = descriptor_look(c, selector, d, &found);
    if (e)
        return e;
    return found ? EXC_NONE : cpu_fault(c, bad, selector & 0xfffc);
}

enum exc descriptor_extend(struct cpu *c, struct descriptor *d)
{
    uint32_t words[2];
    uint64_t vaddr;
    if (!table_holds(c, d->selector, 16, &vaddr))
        return cpu_fault(c, EXC_GP, d->selector & 0xfffc);
    enum exc e = read_table(c, d->vaddr + 8, words);
    if (e)
        return e;
    if (words[1] & 0x1f00)
        return cpu_fault(c, EXC_GP, d->selector & 0xfffc);
    d->upper = words[0];
    return EXC_NONE;
}

static enum exc write_type(struct cpu *c, struct descriptor *d, uint32_t hi)
{
    uint8_t byte = (uint8_t)(hi >> 8);
    enum exc e = cpu_system_write(c, table_address(c, d->vaddr + 5), &byte, 1);
    if (e)
        return e == EXC_GP ? cpu_gp0(c) : e;
    d->hi = hi;
    return EXC_NONE;
}

enum exc descriptor_set_accessed(struct cpu *c, struct descriptor *d)
{
    if (d->hi & 0x100)
        return EXC_NONE;
    return write_type(c, d, d->hi | 0x100);
}

enum exc descriptor_set_busy(struct cpu *c, struct descriptor *d, bool busy)
{
    return write_type(c, d, busy ? d->hi | 0x200 : d->hi & ~0x200u);
}

uint32_t descriptor_limit(const struct descriptor *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi & 0x800000 ? limit << 12 | 0xfff : limit;
}

struct segment descriptor_segment(const struct descriptor *d, uint16_t selector)
{
    struct segment s = {
        .base = (d->lo >> 16) | (d->hi & 0xff) << 16 | (d->hi & 0xff000000) |
                (uint64_t)d->upper << 32,
        .limit = descriptor_limit(d),
        .selector = selector,
        .attr = (uint16_t)(d->hi >> 8 & 0xf0ff),
    };
    return s;
}

struct segment segment_null(uint16_t selector)
{
    return (struct segment){.selector = selector};
}

struct segment segment_null_stack(unsigned cpl)
{
    return (struct segment){
        .selector = (uint16_t)cpl,
        .attr = (uint16_t)(cpl << SEG_ATTR_DPL_SHIFT),
    };
}

struct segment segment_flat(uint16_t selector, unsigned attr)
{
    return (struct segment){
        .limit = 0xffffffff,
        .selector = selector,
        .attr = (uint16_t)(attr | SEG_ATTR_G | SEG_ATTR_P | SEG_ATTR_S |
                           SEG_ATTR_ACCESSED |
                           (selector & 3) << SEG_ATTR_DPL_SHIFT),
    };
}

/* Real mode loads change base and selector alone: a limit and a size that
 * protected mode left behind stay ("unreal mode"). What protected mode could
 * not use at all gets the values of RESET. Virtual-8086 mode has fixed ones
 * (SDM vol. 3A 20.1.1, 20.2.1). */
struct segment segment_real(const struct cpu *c, enum seg seg,
                            uint16_t selector)
{
    struct segment s = c->seg[seg];
    s.base = (uint64_t)selector << 4;
    s.selector = selector;
    if (cpu_is_v86(c)) {
        s.limit = 0xffff;
        s.attr = 0xf3;
    } else if (!(s.attr & SEG_ATTR_P)) {
        s.limit = 0xffff;
        s.attr = 0x93;
    } else {
        s.attr = (uint16_t)((s.attr & 0xf000) | 0x93);
    }
    return s;
}

enum exc segment_prepare_stack(struct cpu *c, uint16_t selector, unsigned cpl,
                               enum exc bad, struct segment *out)
{
    struct descriptor d;
    enum exc e = descriptor_fetch(c, selector, bad, &d);
    if (e)
        return e;
    if ((selector & 3) != cpl || descriptor_dpl(&d) != cpl ||
        !descriptor_is_writable_data(&d))
        return cpu_fault(c, bad, selector & 0xfffc);
    if (!descriptor_present(&d))
        return cpu_fault(c, EXC_SS, selector & 0xfffc);
    e = descriptor_set_accessed(c, &d);
    if (e)
        return e;
    *out = descriptor_segment(&d, selector);
    return EXC_NONE;
}

static enum exc prepare_data(struct cpu *c, uint16_t selector,
                             struct segment *out)
{
    struct descriptor d;
    enum exc e = descriptor_fetch(c, selector, EXC_GP, &d);
    if (e)
        return e;
    unsigned dpl = descriptor_dpl(&d);
    if (!descriptor_is_readable(&d) ||
        (!descriptor_is_conforming(&d) &&
         ((selector & 3u) > dpl || c->cpl > dpl)))
        return cpu_fault(c, EXC_GP, selector & 0xfffc);
    if (!descriptor_present(&d))
        return cpu_fault(c, EXC_NP, selector & 0xfffc);
    e = descriptor_set_accessed(c, &d);
    if (e)
        return e;
    *out = descriptor_segment(&d, selector);
    return EXC_NONE;
}

/* SDM vol. 2B MOV, "Loading of segment registers in protected mode". */
enum exc segment_prepare(struct cpu *c, enum seg seg, uint16_t selector,
                         struct segment *out)
{
    if (!cpu_is_protected(c)) {
        *out = segment_real(c, seg, selector);
        return EXC_NONE;
    }
    if (!selector_is_null(selector))
        return seg == SEG_SS
                   ? segment_prepare_stack(c, selector, c->cpl, EXC_GP, out)
                   : prepare_data(c, selector, out);
    if (seg != SEG_SS) {
        *out = segment_null(selector);
        return EXC_NONE;
    }
    if (c->mode != MODE_64 || c->cpl == 3 || selector != c->cpl)
        return cpu_gp0(c);
    *out = segment_null_stack(c->cpl);
    return EXC_NONE;
}

enum exc cpu_load_segment(struct cpu *c, enum seg seg, uint16_t selector)
{
    struct segment s;
    enum exc e = segment_prepare(c, seg, selector, &s);
    if (e)
        return e;
    c->seg[seg] = s;
    cpu_update_mode(c);
    return EXC_NONE;
}

void cpu_set_real_segment(struct cpu *c, enum seg seg, uint16_t selector)
{
    c->seg[seg] = segment_real(c, seg, selector);
    cpu_update_mode(c);
}

/* ---- limits ---------------------------------------------------------------
 */

bool segment_covers(const struct segment *s, uint64_t offset, unsigned bytes)
{
    uint64_t last = offset + bytes - 1;
    if ((s->attr & (SEG_ATTR_CODE | SEG_ATTR_EXPAND_DOWN)) ==
        SEG_ATTR_EXPAND_DOWN) {
        uint64_t top = s->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
        return offset > s->limit && last <= top;
    }
    /* A 4 GiB segment wraps instead of faulting, as flat ones do. */
    return last <= s->limit || s->limit == 0xffffffff;
}

enum exc cpu_segment_check(struct cpu *c, unsigned seg, uint64_t offset,
                           unsigned bytes, bool write)
{
    const struct segment *s = &c->seg[seg];
    if (c->mode == MODE_64)
        return EXC_NONE;
    bool is_code = (s->attr & SEG_ATTR_CODE) != 0;
    bool bit = (s->attr & SEG_ATTR_WRITABLE) != 0;
    bool allowed = write ? !is_code && bit : !is_code || bit;
    if (cpu_is_real(c))
        allowed = true; /* real mode writes through CS too */
    if ((s->attr & SEG_ATTR_P) && allowed && segment_covers(s, offset, bytes))
        return EXC_NONE;
    return cpu_fault(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* ---- MOV, PUSH, POP, LDS and relatives ------------------------------------
 */

static void load_shadowed(struct cpu *c, unsigned seg, struct segment s)
{
    c->seg[seg] = s;
    cpu_update_mode(c);
    if (seg == SEG_SS) {
        c->shadow = 2;
        cpu_update_single(c);
        cpu_attention(c);
    }
}

enum exc op_mov_to_segment(struct cpu *c, const struct insn *i)
{
    uint16_t selector;
    if (i->dst == SEG_CS || i->dst >= SEG_COUNT)
        return cpu_fault(c, EXC_UD, 0);
    if (i->form == FORM_RM) {
        enum exc e = insn_read(c, i, &selector, 2);
        if (e)
            return e;
    } else {
        selector = (uint16_t)c->r[i->src];
    }
    struct segment s;
    enum exc e = segment_prepare(c, i->dst, selector, &s);
    if (e)
        return e;
    load_shadowed(c, i->dst, s);
    return EXC_NONE;
}

enum exc op_mov_from_segment(struct cpu *c, const struct insn *i)
{
    if (i->src >= SEG_COUNT)
        return cpu_fault(c, EXC_UD, 0);
    uint16_t selector = c->seg[i->src].selector;
    if (i->form == FORM_MR)
        return insn_write(c, i, &selector, 2);
    reg_set(c, i->dst, selector, i->size);
    return EXC_NONE;
}

/* A 32-bit push of a selector writes only 16 bits on the processors of this
 * family: the slot's upper half keeps what it held. A 64-bit one is
 * zero-extended (SDM vol. 2B PUSH). */
enum exc op_push_segment(struct cpu *c, const struct insn *i)
{
    uint64_t sp = (c->r[REG_RSP] - i->opsize) & c->sp_mask;
    if (i->opsize == 8)
        return cpu_push(c, c->seg[i->dst].selector, 8);
    enum exc e = cpu_write(c, SEG_SS, sp, &c->seg[i->dst].selector, 2);
    if (e)
        return e;
    cpu_add_sp(c, -(int64_t)i->opsize);
    return EXC_NONE;
}

enum exc op_pop_segment(struct cpu *c, const struct insn *i)
{
    uint64_t selector;
    struct segment s;
    enum exc e = cpu_stack_read(c, 0, &selector, 2);
    if (e)
        return e;
    e = segment_prepare(c, i->dst, (uint16_t)selector, &s);
    if (e)
        return e;
    cpu_add_sp(c, i->opsize); /* by the old SS's size */
    load_shadowed(c, i->dst, s);
    return EXC_NONE;
}

/* Two reads: they fault and are checked for alignment one by one. */
enum exc cpu_read_far_pointer(struct cpu *c, const struct insn *i,
                              uint64_t *offset, uint16_t *selector)
{
    static const uint64_t mask[9] = {
        [2] = 0xffff, [4] = 0xffffffff, [8] = UINT64_MAX};
    uint64_t at = (insn_offset(c, i) + i->opsize) & mask[i->addr];
    *offset = 0;
    enum exc e = insn_read(c, i, offset, i->opsize);
    return e ? e : cpu_read(c, i->seg, at, selector, sizeof *selector);
}

static enum exc load_far_pointer(struct cpu *c, const struct insn *i,
                                 enum seg seg)
{
    uint64_t offset;
    uint16_t selector;
    struct segment s;
    if (i->form != FORM_RM)
        return cpu_fault(c, EXC_UD, 0);
    enum exc e = cpu_read_far_pointer(c, i, &offset, &selector);
    if (!e)
        e = segment_prepare(c, seg, selector, &s);
    if (e)
        return e;
    reg_set(c, i->dst, offset, i->opsize);
    c->seg[seg] = s; /* LSS has no interrupt shadow (SDM vol. 2A LDS) */
    cpu_update_mode(c);
    return EXC_NONE;
}

enum exc op_lds(struct cpu *c, const struct insn *i)
{
    return load_far_pointer(c, i, SEG_DS);
}
enum exc op_les(struct cpu *c, const struct insn *i)
{
    return load_far_pointer(c, i, SEG_ES);
}
enum exc op_lfs(struct cpu *c, const struct insn *i)
{
    return load_far_pointer(c, i, SEG_FS);
}
enum exc op_lgs(struct cpu *c, const struct insn *i)
{
    return load_far_pointer(c, i, SEG_GS);
}
enum exc op_lss(struct cpu *c, const struct insn *i)
{
    return load_far_pointer(c, i, SEG_SS);
}
