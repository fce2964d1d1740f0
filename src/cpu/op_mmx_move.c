/* MMX data movement: between MMX, general, XMM registers and memory, and the
 * conversions that have an MMX operand (SDM vol. 1 9.4, 11.4.4, vol. 2). */
#include "cpu/mmx_internal.h"

enum exc op_emms(struct cpu *c, const struct insn *i)
{
    (void)i;
    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    c->x87.top = 0;
    c->x87.valid = 0;
    return EXC_NONE;
}

static enum exc store(struct cpu *c, const struct insn *i, unsigned bytes)
{
    uint64_t value = mmx_get(c, i->src);

    enum exc e = insn_write(c, i, &value, bytes);
    if (!e)
        mmx_touch(c);
    return e;
}

static enum exc load(struct cpu *c, const struct insn *i, unsigned bytes)
{
    uint64_t value = 0;

    enum exc e = insn_read(c, i, &value, bytes);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, value);
    return EXC_NONE;
}

/* MOVD and MOVQ: between memory, a general and an MMX register. */
static enum exc move(struct cpu *c, const struct insn *i, unsigned bytes)
{
    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    if (i->form == FORM_RM)
        return load(c, i, bytes);
    if (i->form == FORM_MR)
        return store(c, i, bytes);
    mmx_touch(c);
    if ((i->classes & 15) == REG_CLASS_GENERAL)
        reg_set(c, i->dst & 15, mmx_get(c, i->src), bytes);
    else if (i->classes >> 4 == REG_CLASS_GENERAL)
        mmx_set(c, i->dst, reg_get(c, i->src & 15, bytes));
    else
        mmx_set(c, i->dst, mmx_get(c, i->src));
    return EXC_NONE;
}

enum exc op_mmx_movd(struct cpu *c, const struct insn *i)
{
    return move(c, i, 4);
}
enum exc op_mmx_movq(struct cpu *c, const struct insn *i)
{
    return move(c, i, 8);
}

enum exc op_movntq(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter_mmx(c);
    return e ? e : store(c, i, 8);
}

/* The bytes that the mask selects go to DS:rDI; the others are not accessed, so
 * that a page fault can only come from a selected one. */
enum exc op_maskmovq(struct cpu *c, const struct insn *i)
{
    static const uint64_t address_mask[9] = {
        [2] = 0xffff, [4] = 0xffffffff, [8] = UINT64_MAX};
    uint64_t value = mmx_get(c, i->dst), mask = mmx_get(c, i->src);
    uint64_t offset[8];
    uint8_t byte;

    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    for (unsigned k = 0; k < 8; k++) {
        offset[k] = (c->r[REG_RDI] + k) & address_mask[i->addr];
        if (!(mask >> (8 * k + 7) & 1))
            continue;
        e = cpu_read_for_write(c, i->seg, offset[k], &byte, 1);
        if (e)
            return e;
    }
    for (unsigned k = 0; k < 8; k++) {
        if (!(mask >> (8 * k + 7) & 1))
            continue;
        byte = (uint8_t)(value >> 8 * k);
        e = cpu_write(c, i->seg, offset[k], &byte, 1);
        if (e)
            return e;
    }
    mmx_touch(c);
    return EXC_NONE;
}

enum exc op_mmx_pmovmskb(struct cpu *c, const struct insn *i)
{
    uint64_t value = mmx_get(c, i->src);
    unsigned mask = 0;

    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    for (unsigned k = 0; k < 8; k++)
        mask |= (unsigned)(value >> (8 * k + 7) & 1) << k;
    mmx_touch(c);
    reg_set(c, i->dst & 15, mask, 8);
    return EXC_NONE;
}

enum exc op_mmx_pextrw(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    mmx_touch(c);
    reg_set(c, i->dst & 15,
            mmx_get(c, i->src) >> (i->imm & 3) * 16 & 0xffff, 8);
    return EXC_NONE;
}

enum exc op_mmx_pinsrw(struct cpu *c, const struct insn *i)
{
    unsigned shift = (i->imm & 3) * 16;
    uint16_t word;

    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    if (i->form == FORM_RM) {
        e = insn_read(c, i, &word, 2);
        if (e)
            return e;
    } else {
        word = (uint16_t)c->r[i->src & 15];
    }
    mmx_touch(c);
    mmx_set(c, i->dst, (mmx_get(c, i->dst) & ~(0xffffull << shift)) |
                           (uint64_t)word << shift);
    return EXC_NONE;
}

/* ---- with an XMM register --------------------------------------------- */

/* Legacy SIMD with an XMM operand: also #UD for CR4.OSFXSR clear. */
static enum exc enter_xmm_only(const struct cpu *c)
{
    if ((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR))
        return EXC_UD;
    return c->cr0 & CR0_TS ? EXC_NM : EXC_NONE;
}

static enum exc enter_xmm(struct cpu *c)
{
    enum exc e = enter_xmm_only(c);
    return e ? e : x87_enter_mmx(c);
}

enum exc op_movq2dq(struct cpu *c, const struct insn *i)
{
    enum exc e = enter_xmm(c);
    if (e)
        return e;
    mmx_touch(c);
    c->xmm[i->dst & 15].u64[0] = mmx_get(c, i->src);
    c->xmm[i->dst & 15].u64[1] = 0;
    return EXC_NONE;
}

enum exc op_movdq2q(struct cpu *c, const struct insn *i)
{
    enum exc e = enter_xmm(c);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, c->xmm[i->src & 15].u64[0]);
    return EXC_NONE;
}

/* One host conversion with the guest's MXCSR, all exceptions masked. The
 * 128-bit forms stand for the 64-bit ones: zeros in the upper half raise
 * nothing, and the host's x87 registers stay out of it. */
typedef void convert_fn(union xmm *v, uint32_t *mxcsr);

#define CONVERT(name, text)                                                    \
    static void convert_##name(union xmm *v, uint32_t *mxcsr)                  \
    {                                                                          \
        uint32_t host;                                                         \
        __asm__ volatile("stmxcsr %[host]\n\tldmxcsr %[guest]\n\t" text    \
                         " %[v], %%xmm0\n\tstmxcsr %[guest]\n\t"              \
                         "ldmxcsr %[host]\n\tmovaps %%xmm0, %[v]"              \
                         : [host] "=m"(host), [guest] "+m"(*mxcsr),            \
                           [v] "+m"(*v)                                        \
                         :                                                     \
                         : "xmm0");                                            \
    }
CONVERT(i32_f32, "cvtdq2ps")
CONVERT(i32_f64, "cvtdq2pd")
CONVERT(f32_i32, "cvtps2dq")
CONVERT(f32_i32_chop, "cvttps2dq")
CONVERT(f64_i32, "cvtpd2dq")
CONVERT(f64_i32_chop, "cvttpd2dq")

/* Convert v in place; #XM for an unmasked exception, of which IE keeps PE from
 * being reported (SDM vol. 1 11.5.2). */
static enum exc convert(struct cpu *c, convert_fn *f, union xmm *v)
{
    const uint32_t flags = 0x3f, masks = 0x1f80, invalid = 1;
    uint32_t mxcsr = (c->mxcsr & 0xffff & ~flags) | masks;

    f(v, &mxcsr);
    uint32_t raised = mxcsr & flags, unmasked = ~(c->mxcsr >> 7) & flags;
    if (raised & unmasked & invalid)
        raised = invalid;
    c->mxcsr |= raised;
    if (raised & unmasked)
        return c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD;
    return EXC_NONE;
}

/* XMM from two integers of MMX or memory. The memory forms have nothing to do
 * with the x87 unit: they neither change it nor report its errors (SDM vol. 2A
 * CVTPI2PD; CPUs do so for CVTPI2PS too). */
static enum exc to_xmm(struct cpu *c, const struct insn *i, convert_fn *f,
                       bool is_double)
{
    union xmm v = {.u64 = {0, 0}};
    bool is_memory = i->form == FORM_RM;

    enum exc e = is_memory ? enter_xmm_only(c) : enter_xmm(c);
    if (e)
        return e;
    if (is_memory)
        e = insn_read(c, i, &v.u64[0], 8);
    else
        v.u64[0] = mmx_get(c, i->src);
    if (e)
        return e;
    e = convert(c, f, &v);
    if (e)
        return e;
    if (!is_memory)
        mmx_touch(c);
    c->xmm[i->dst & 15].u64[0] = v.u64[0];
    if (is_double)
        c->xmm[i->dst & 15].u64[1] = v.u64[1];
    return EXC_NONE;
}

/* MMX from two floats of XMM or memory; m128 must be aligned. */
static enum exc to_mmx(struct cpu *c, const struct insn *i, convert_fn *f,
                       unsigned bytes)
{
    union xmm v = {.u64 = {0, 0}};

    enum exc e = enter_xmm(c);
    if (e)
        return e;
    if (i->form == FORM_RM) {
        uint64_t linear = insn_offset(c, i) + c->ea_base[i->seg & 7];
        if (bytes == 16 && (linear & 15))
            return cpu_fault(c, EXC_GP, 0);
        e = insn_read(c, i, &v, bytes);
        if (e)
            return e;
    } else {
        memcpy(&v, &c->xmm[i->src & 15], bytes);
    }
    e = convert(c, f, &v);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, v.u64[0]);
    return EXC_NONE;
}

enum exc op_cvtpi2ps(struct cpu *c, const struct insn *i)
{
    return to_xmm(c, i, convert_i32_f32, false);
}
enum exc op_cvtpi2pd(struct cpu *c, const struct insn *i)
{
    return to_xmm(c, i, convert_i32_f64, true);
}
enum exc op_cvtps2pi(struct cpu *c, const struct insn *i)
{
    return to_mmx(c, i, convert_f32_i32, 8);
}
enum exc op_cvttps2pi(struct cpu *c, const struct insn *i)
{
    return to_mmx(c, i, convert_f32_i32_chop, 8);
}
enum exc op_cvtpd2pi(struct cpu *c, const struct insn *i)
{
    return to_mmx(c, i, convert_f64_i32, 16);
}
enum exc op_cvttpd2pi(struct cpu *c, const struct insn *i)
{
    return to_mmx(c, i, convert_f64_i32_chop, 16);
}
