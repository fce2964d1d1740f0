/* Descriptor tables, selectors and their inspection (SDM vol. 2 of each name).
 */
#include "cpu/op_system.h"

#include "cpu/system_internal.h"

/* The 16-bit register or memory operand of LLDT, LTR, VERR, ... */
static enum exc read_selector(struct cpu *c, const struct insn *i,
                              uint16_t *selector)
{
    if (i->form == FORM_M)
        return insn_read(c, i, selector, 2);
    *selector = (uint16_t)c->r[i->dst];
    return EXC_NONE;
}

static enum exc store_selector(struct cpu *c, const struct insn *i,
                               uint16_t selector)
{
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    if (i->form == FORM_M)
        return insn_write(c, i, &selector, 2);
    reg_set(c, i->dst, selector, i->size);
    return EXC_NONE;
}

enum exc op_sldt(struct cpu *c, const struct insn *i)
{
    return store_selector(c, i, c->ldtr.selector);
}

enum exc op_str(struct cpu *c, const struct insn *i)
{
    return store_selector(c, i, c->tr.selector);
}

/* ---- GDTR, IDTR -------------------------------------------------------------
 */

static enum exc load_table(struct cpu *c, const struct insn *i,
                           struct table_register *t)
{
    uint8_t raw[10];
    bool is_64 = c->mode == MODE_64;
    if (c->cpl != 0)
        return cpu_gp0(c);
    enum exc e = insn_read(c, i, raw, is_64 ? 10 : 6);
    if (e)
        return e;
    uint64_t base = is_64 ? load_le64(raw + 2) : load_le32(raw + 2);
    if (!is_64 && i->opsize == 2)
        base &= 0xffffff;
    if (is_64 && !is_canonical(base))
        return cpu_gp0(c);
    t->base = base;
    t->limit = load_le16(raw);
    return EXC_NONE;
}

/* The base is stored whole whatever the operand size. The SDM promises 24 bits
 * and a zero for 16-bit operands, but says that only the 80286 is like that. */
static enum exc store_table(struct cpu *c, const struct insn *i,
                            const struct table_register *t)
{
    uint8_t raw[10];
    store_le16(raw, t->limit);
    store_le64(raw + 2, t->base);
    return insn_write(c, i, raw, c->mode == MODE_64 ? 10 : 6);
}

enum exc op_lgdt(struct cpu *c, const struct insn *i)
{
    return load_table(c, i, &c->gdtr);
}
enum exc op_lidt(struct cpu *c, const struct insn *i)
{
    return load_table(c, i, &c->idtr);
}
enum exc op_sgdt(struct cpu *c, const struct insn *i)
{
    return store_table(c, i, &c->gdtr);
}
enum exc op_sidt(struct cpu *c, const struct insn *i)
{
    return store_table(c, i, &c->idtr);
}

/* ---- LDTR, TR ---------------------------------------------------------------
 */

/* Fetch and check a system descriptor that LLDT or LTR names. */
static enum exc fetch_system(struct cpu *c, uint16_t selector, unsigned type,
                             unsigned other, struct descriptor *d)
{
    uint32_t error = selector & 0xfffc;
    if (selector & 4)
        return cpu_fault(c, EXC_GP, error);
    enum exc e = descriptor_fetch(c, selector, EXC_GP, d);
    if (e)
        return e;
    unsigned found = descriptor_type(d);
    if (!descriptor_is_system(d) || (found != type && found != other))
        return cpu_fault(c, EXC_GP, error);
    if (!descriptor_present(d))
        return cpu_fault(c, EXC_NP, error);
    if (!cpu_is_long(c))
        return EXC_NONE;
    e = descriptor_extend(c, d);
    if (!e && !is_canonical(descriptor_segment(d, 0).base))
        return cpu_fault(c, EXC_GP, error);
    return e;
}

enum exc op_lldt(struct cpu *c, const struct insn *i)
{
    struct descriptor d;
    uint16_t selector;
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    if (c->cpl != 0)
        return cpu_gp0(c);
    enum exc e = read_selector(c, i, &selector);
    if (e)
        return e;
    if (selector_is_null(selector)) {
        c->ldtr = segment_null(selector);
        return EXC_NONE;
    }
    e = fetch_system(c, selector, TYPE_LDT, TYPE_LDT, &d);
    if (!e)
        c->ldtr = descriptor_segment(&d, selector);
    return e;
}

enum exc op_ltr(struct cpu *c, const struct insn *i)
{
    struct descriptor d;
    uint16_t selector;
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    if (c->cpl != 0)
        return cpu_gp0(c);
    enum exc e = read_selector(c, i, &selector);
    if (e)
        return e;
    if (selector_is_null(selector))
        return cpu_gp0(c);
    e = fetch_system(c, selector, TYPE_TSS,
                     cpu_is_long(c) ? TYPE_TSS : TYPE_TSS16, &d);
    if (!e)
        e = descriptor_set_busy(c, &d, true);
    if (!e)
        c->tr = descriptor_segment(&d, selector);
    return e;
}

/* ---- LAR, LSL, VERR, VERW, ARPL
 * ---------------------------------------------- */

/* System types that LAR (bit 0) and LSL (bit 1) accept, legacy and IA-32e mode
 * (SDM vol. 2A table 3-53, 3-57). */
enum { SEEN_BY_LAR = 1, SEEN_BY_LSL = 2 };
static const uint8_t seen_legacy[16] = {
    [TYPE_TSS16] = 3,    [TYPE_LDT] = 3,       [TYPE_TSS16_BUSY] = 3,
    [TYPE_CALL16] = 1,   [TYPE_TASK_GATE] = 1, [TYPE_TSS] = 3,
    [TYPE_TSS_BUSY] = 3, [TYPE_CALL] = 1,
};
static const uint8_t seen_long[16] = {
    [TYPE_LDT] = 3,
    [TYPE_TSS] = 3,
    [TYPE_TSS_BUSY] = 3,
    [TYPE_CALL] = 1,
};

static bool privilege_allows(const struct cpu *c, const struct descriptor *d)
{
    unsigned dpl = descriptor_dpl(d), rpl = d->selector & 3;
    return descriptor_is_conforming(d) || (c->cpl <= dpl && rpl <= dpl);
}

/* Source of LAR and LSL: *valid when ZF becomes 1. */
static enum exc inspect(struct cpu *c, const struct insn *i, unsigned seen,
                        struct descriptor *d, bool *valid)
{
    uint16_t selector;
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    enum exc e = EXC_NONE;
    if (i->form == FORM_RM)
        e = insn_read(c, i, &selector, 2);
    else
        selector = (uint16_t)c->r[i->src];
    if (!e)
        e = descriptor_look(c, selector, d, valid);
    if (e || !*valid)
        return e;
    const uint8_t *types = cpu_is_long(c) ? seen_long : seen_legacy;
    if (descriptor_is_system(d) && !(types[descriptor_type(d)] & seen))
        *valid = false;
    else
        *valid = privilege_allows(c, d);
    return EXC_NONE;
}

enum exc op_lar(struct cpu *c, const struct insn *i)
{
    struct descriptor d;
    bool valid;
    enum exc e = inspect(c, i, SEEN_BY_LAR, &d, &valid);
    if (e)
        return e;
    cpu_set_zf(c, valid);
    if (valid)
        reg_set(c, i->dst, d.hi & (i->opsize == 2 ? 0xff00 : 0xffff00),
                i->opsize);
    return EXC_NONE;
}

enum exc op_lsl(struct cpu *c, const struct insn *i)
{
    struct descriptor d;
    bool valid;
    enum exc e = inspect(c, i, SEEN_BY_LSL, &d, &valid);
    if (e)
        return e;
    cpu_set_zf(c, valid);
    if (valid)
        reg_set(c, i->dst, descriptor_limit(&d), i->opsize);
    return EXC_NONE;
}

static enum exc verify(struct cpu *c, const struct insn *i, bool write)
{
    struct descriptor d;
    uint16_t selector;
    bool valid;
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    enum exc e = read_selector(c, i, &selector);
    if (!e)
        e = descriptor_look(c, selector, &d, &valid);
    if (e)
        return e;
    if (valid)
        valid = (write ? descriptor_is_writable_data(&d)
                       : descriptor_is_readable(&d)) &&
                privilege_allows(c, &d);
    cpu_set_zf(c, valid);
    return EXC_NONE;
}

enum exc op_verr(struct cpu *c, const struct insn *i)
{
    return verify(c, i, false);
}
enum exc op_verw(struct cpu *c, const struct insn *i)
{
    return verify(c, i, true);
}

enum exc op_arpl(struct cpu *c, const struct insn *i)
{
    uint16_t value, rpl = (uint16_t)c->r[i->src] & 3;
    enum exc e = EXC_NONE;
    if (!cpu_is_protected(c))
        return cpu_fault(c, EXC_UD, 0);
    if (i->form == FORM_MR) /* a plain read: the store is conditional */
        e = insn_read(c, i, &value, 2);
    else
        value = (uint16_t)c->r[i->dst];
    if (e)
        return e;
    bool raised = (value & 3) < rpl;
    value = (uint16_t)((value & ~3u) | rpl);
    if (raised && i->form == FORM_MR)
        e = insn_write(c, i, &value, 2);
    else if (raised)
        reg_set(c, i->dst, value, 2);
    if (!e)
        cpu_set_zf(c, raised);
    return e;
}
