/* IRET in all its modes (SDM vol. 2A IRET/IRETD/IRETQ). */
#include "cpu/system_internal.h"

#include "cpu/op_system.h"

enum {
    FLAGS_USER = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT,
    FLAGS_USER32 = FLAG_RF | FLAG_AC | FLAG_ID
};

/* Processors read FLAGS, CS, then IP, as faults inside the frame show. */
static enum exc pop_frame(struct cpu *c, uint64_t *values, unsigned count,
                          unsigned bytes)
{
    for (unsigned n = 0; n < count; n++) {
        unsigned k = n < 3 ? 2 - n : n;
        enum exc e = cpu_stack_read(c, k * bytes, &values[k], bytes);
        if (e)
            return e;
    }
    return EXC_NONE;
}

/* Bits of EFLAGS that IRET with this operand size loads at CPL. */
static uint32_t iret_mask(const struct cpu *c, unsigned bytes)
{
    uint32_t mask = FLAGS_USER;
    if (bytes > 2)
        mask |= FLAGS_USER32;
    if (c->cpl <= cpu_iopl(c))
        mask |= FLAG_IF;
    if (c->cpl == 0) {
        mask |= FLAG_IOPL;
        if (bytes > 2)
            mask |= FLAG_VIF | FLAG_VIP;
    }
    return mask;
}

static void iret_done(struct cpu *c)
{
    cpu_recheck_events(c);
}

static enum exc iret_real(struct cpu *c, unsigned bytes)
{
    uint64_t f[3];
    enum exc e = pop_frame(c, f, 3, bytes);
    if (e)
        return e;
    struct segment code = segment_real(c, SEG_CS, (uint16_t)f[1]);
    if (f[0] > code.limit)
        return cpu_gp0(c);
    cpu_add_sp(c, 3 * (int64_t)bytes);
    cpu_merge_rflags(c, (uint32_t)f[2],
                     iret_mask(c, bytes) & ~(uint32_t)(FLAG_VIF | FLAG_VIP));
    far_commit(c, code, c->cpl, f[0]);
    iret_done(c);
    return EXC_NONE;
}

/* Inside virtual-8086 mode; IOPL < 3 needs VME (SDM vol. 3A 20.3.3.4). */
static enum exc iret_v86(struct cpu *c, unsigned bytes)
{
    uint64_t f[3];
    bool is_virtual = cpu_iopl(c) < 3;
    if (is_virtual && (!(c->cr4 & CR4_VME) || bytes != 2))
        return cpu_gp0(c);
    enum exc e = pop_frame(c, f, 3, bytes);
    if (e)
        return e;
    if (f[0] > 0xffff)
        return cpu_gp0(c);
    uint32_t image = (uint32_t)f[2], mask = FLAGS_USER;
    if (is_virtual) {
        bool wants_if = (image & FLAG_IF) != 0;
        if ((image & FLAG_TF) || (wants_if && (c->flags & FLAG_VIP)))
            return cpu_gp0(c);
        image = wants_if ? image | FLAG_VIF : image & ~(uint32_t)FLAG_VIF;
        mask |= FLAG_VIF;
    } else {
        mask |= FLAG_IF | (bytes > 2 ? FLAGS_USER32 : 0);
    }
    cpu_add_sp(c, 3 * (int64_t)bytes);
    cpu_merge_rflags(c, image, mask);
    far_commit(c, segment_real(c, SEG_CS, (uint16_t)f[1]), 3, f[0]);
    iret_done(c);
    return EXC_NONE;
}

/* To virtual-8086 mode, from ring 0 of a 32-bit segment. */
static enum exc iret_to_v86(struct cpu *c)
{
    static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t f[9]; /* EIP CS EFLAGS ESP SS ES DS FS GS */
    enum exc e = pop_frame(c, f, 9, 4);
    if (e)
        return e;
    if (f[0] > 0xffff)
        return cpu_gp0(c);
    cpu_set_rflags(c, (uint32_t)f[2] & FLAGS_DEFINED);
    for (unsigned k = 0; k < sizeof order; k++)
        c->seg[order[k]] = segment_real(c, order[k], (uint16_t)f[4 + k]);
    c->r[REG_RSP] = (uint32_t)f[3];
    far_commit(c, segment_real(c, SEG_CS, (uint16_t)f[1]), 3, f[0]);
    iret_done(c);
    return EXC_NONE;
}

/* Same or outer ring, and every return in 64-bit mode, which always has SS:RSP
 * in its frame (SDM vol. 3A 6.14.3). */
static enum exc iret_level(struct cpu *c, unsigned bytes, const uint64_t f[3])
{
    uint64_t g[2];
    struct segment code, ss;
    enum exc e = far_return_code(c, (uint16_t)f[1], &code);
    if (e)
        return e;
    unsigned cpl = code.selector & 3;
    uint32_t mask = iret_mask(c, bytes);
    bool is_outer = cpl != c->cpl;
    if (!is_outer && c->mode != MODE_64) {
        e = far_check_offset(c, &code, f[0]);
        if (e)
            return e;
        cpu_add_sp(c, 3 * (int64_t)bytes);
        cpu_merge_rflags(c, (uint32_t)f[2], mask);
        far_commit(c, code, cpl, f[0]);
        iret_done(c);
        return EXC_NONE;
    }
    for (unsigned k = 2; k-- > 0;) { /* SS, then SP */
        e = cpu_stack_read(c, (3 + k) * bytes, &g[k], bytes);
        if (e)
            return e;
    }
    e = far_return_stack(c, (uint16_t)g[1], &code, &ss);
    if (!e) /* the target comes last */
        e = far_check_offset(c, &code, f[0]);
    if (e)
        return e;
    cpu_merge_rflags(c, (uint32_t)f[2], mask);
    c->seg[SEG_SS] = ss;
    /* A return to a 16-bit stack changes SP alone (SDM: "ESP fix"). */
    bool is_16 = !(cpu_is_long(c) && (code.attr & SEG_ATTR_L)) &&
                 !(ss.attr & SEG_ATTR_DB);
    uint64_t keep = is_16 ? ~0xffffULL : 0;
    c->r[REG_RSP] = (c->r[REG_RSP] & keep) | (g[0] & ~keep);
    far_commit(c, code, cpl, f[0]);
    if (is_outer) {
        far_drop_segments(c);
        cpu_update_mode(c);
    }
    iret_done(c);
    return EXC_NONE;
}

enum exc op_iret(struct cpu *c, const struct insn *i)
{
    uint64_t f[3];
    unsigned bytes = i->opsize;
    c->nmi_blocked = false; /* even when IRET faults (SDM vol. 3C 27.2.3) */
    if (c->nmi_pending)
        cpu_attention(c);
    if (cpu_is_real(c))
        return iret_real(c, bytes);
    if (cpu_is_v86(c))
        return iret_v86(c, bytes);
    if (c->flags & FLAG_NT) {
        if (cpu_is_long(c))
            return cpu_gp0(c);
        enum exc e = task_return(c);
        if (!e)
            iret_done(c);
        return e;
    }
    enum exc e = pop_frame(c, f, 3, bytes);
    if (e)
        return e;
    if ((f[2] & FLAG_VM) && bytes == 4 && c->cpl == 0 && !cpu_is_long(c))
        return iret_to_v86(c);
    return iret_level(c, bytes, f);
}
