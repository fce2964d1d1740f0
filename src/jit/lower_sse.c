/* Rules for SSE instructions that raise no floating-point exceptions: moves,
 * logic, integer arithmetic and shuffles. XMM registers stay in struct cpu; the
 * host's XMM0 and XMM1 do the work. Arithmetic on floats calls its handler,
 * which keeps MXCSR exact. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum shape {
    OP_FULL,    /* xmm, xmm/m128 (aligned) */
    OP_FULL_I8, /* the same with imm8 */
    OP_SHIFT,   /* xmm, imm8: opcode /digit in the high byte of `op` */
    MOVE_16A,   /* 16 bytes, aligned, both ways */
    MOVE_16U,   /* 16 bytes, both ways */
    MASK_GPR    /* r32, xmm */
};

struct row {
    uint16_t mnemonic;
    uint8_t prefix;
    uint8_t shape;
    uint32_t op;
};

#define FULL(name, prefix, op) {ZYDIS_MNEMONIC_##name, prefix, OP_FULL, op}
#define FULL_I8(name, prefix, op)                                              \
    {ZYDIS_MNEMONIC_##name, prefix, OP_FULL_I8, op}
#define SHIFT(name, op, digit)                                                 \
    {ZYDIS_MNEMONIC_##name, 0x66, OP_SHIFT, (digit) << 24 | (op)}

static const struct row rows[] = {
    {ZYDIS_MNEMONIC_MOVAPS, 0, MOVE_16A, 0x0f28},
    {ZYDIS_MNEMONIC_MOVAPD, 0, MOVE_16A, 0x0f28},
    {ZYDIS_MNEMONIC_MOVDQA, 0, MOVE_16A, 0x0f28},
    {ZYDIS_MNEMONIC_MOVUPS, 0, MOVE_16U, 0x0f10},
    {ZYDIS_MNEMONIC_MOVUPD, 0, MOVE_16U, 0x0f10},
    {ZYDIS_MNEMONIC_MOVDQU, 0, MOVE_16U, 0x0f10},
    {ZYDIS_MNEMONIC_PMOVMSKB, 0x66, MASK_GPR, 0x0fd7},
    {ZYDIS_MNEMONIC_MOVMSKPS, 0, MASK_GPR, 0x0f50},
    {ZYDIS_MNEMONIC_MOVMSKPD, 0x66, MASK_GPR, 0x0f50},
    FULL(ANDPS, 0, 0x0f54),
    FULL(ANDPD, 0x66, 0x0f54),
    FULL(ANDNPS, 0, 0x0f55),
    FULL(ANDNPD, 0x66, 0x0f55),
    FULL(ORPS, 0, 0x0f56),
    FULL(ORPD, 0x66, 0x0f56),
    FULL(XORPS, 0, 0x0f57),
    FULL(XORPD, 0x66, 0x0f57),
    FULL(UNPCKLPS, 0, 0x0f14),
    FULL(UNPCKLPD, 0x66, 0x0f14),
    FULL(UNPCKHPS, 0, 0x0f15),
    FULL(UNPCKHPD, 0x66, 0x0f15),
    FULL(PUNPCKLBW, 0x66, 0x0f60),
    FULL(PUNPCKLWD, 0x66, 0x0f61),
    FULL(PUNPCKLDQ, 0x66, 0x0f62),
    FULL(PACKSSWB, 0x66, 0x0f63),
    FULL(PCMPGTB, 0x66, 0x0f64),
    FULL(PCMPGTW, 0x66, 0x0f65),
    FULL(PCMPGTD, 0x66, 0x0f66),
    FULL(PACKUSWB, 0x66, 0x0f67),
    FULL(PUNPCKHBW, 0x66, 0x0f68),
    FULL(PUNPCKHWD, 0x66, 0x0f69),
    FULL(PUNPCKHDQ, 0x66, 0x0f6a),
    FULL(PACKSSDW, 0x66, 0x0f6b),
    FULL(PUNPCKLQDQ, 0x66, 0x0f6c),
    FULL(PUNPCKHQDQ, 0x66, 0x0f6d),
    FULL(PCMPEQB, 0x66, 0x0f74),
    FULL(PCMPEQW, 0x66, 0x0f75),
    FULL(PCMPEQD, 0x66, 0x0f76),
    FULL(PADDQ, 0x66, 0x0fd4),
    FULL(PMULLW, 0x66, 0x0fd5),
    FULL(PSUBUSB, 0x66, 0x0fd8),
    FULL(PSUBUSW, 0x66, 0x0fd9),
    FULL(PMINUB, 0x66, 0x0fda),
    FULL(PAND, 0x66, 0x0fdb),
    FULL(PADDUSB, 0x66, 0x0fdc),
    FULL(PADDUSW, 0x66, 0x0fdd),
    FULL(PMAXUB, 0x66, 0x0fde),
    FULL(PANDN, 0x66, 0x0fdf),
    FULL(PAVGB, 0x66, 0x0fe0),
    FULL(PAVGW, 0x66, 0x0fe3),
    FULL(PMULHUW, 0x66, 0x0fe4),
    FULL(PMULHW, 0x66, 0x0fe5),
    FULL(PSUBSB, 0x66, 0x0fe8),
    FULL(PSUBSW, 0x66, 0x0fe9),
    FULL(PMINSW, 0x66, 0x0fea),
    FULL(POR, 0x66, 0x0feb),
    FULL(PADDSB, 0x66, 0x0fec),
    FULL(PADDSW, 0x66, 0x0fed),
    FULL(PMAXSW, 0x66, 0x0fee),
    FULL(PXOR, 0x66, 0x0fef),
    FULL(PMULUDQ, 0x66, 0x0ff4),
    FULL(PMADDWD, 0x66, 0x0ff5),
    FULL(PSADBW, 0x66, 0x0ff6),
    FULL(PSUBB, 0x66, 0x0ff8),
    FULL(PSUBW, 0x66, 0x0ff9),
    FULL(PSUBD, 0x66, 0x0ffa),
    FULL(PSUBQ, 0x66, 0x0ffb),
    FULL(PADDB, 0x66, 0x0ffc),
    FULL(PADDW, 0x66, 0x0ffd),
    FULL(PADDD, 0x66, 0x0ffe),
    FULL(PSHUFB, 0x66, 0x0f3800),
    FULL(PABSB, 0x66, 0x0f381c),
    FULL(PABSW, 0x66, 0x0f381d),
    FULL(PABSD, 0x66, 0x0f381e),
    FULL(PMINUD, 0x66, 0x0f383b),
    FULL(PMAXUD, 0x66, 0x0f383f),
    FULL(PMULLD, 0x66, 0x0f3840),
    FULL(PCMPEQQ, 0x66, 0x0f3829),
    FULL_I8(PSHUFD, 0x66, 0x0f70),
    FULL_I8(PSHUFHW, 0xf3, 0x0f70),
    FULL_I8(PSHUFLW, 0xf2, 0x0f70),
    FULL_I8(SHUFPS, 0, 0x0fc6),
    FULL_I8(SHUFPD, 0x66, 0x0fc6),
    FULL_I8(PALIGNR, 0x66, 0x0f3a0f),
    SHIFT(PSRLW, 0x0f71, 2u),
    SHIFT(PSRAW, 0x0f71, 4u),
    SHIFT(PSLLW, 0x0f71, 6u),
    SHIFT(PSRLD, 0x0f72, 2u),
    SHIFT(PSRAD, 0x0f72, 4u),
    SHIFT(PSLLD, 0x0f72, 6u),
    SHIFT(PSRLQ, 0x0f73, 2u),
    SHIFT(PSRLDQ, 0x0f73, 3u),
    SHIFT(PSLLQ, 0x0f73, 6u),
    SHIFT(PSLLDQ, 0x0f73, 7u),
};

enum {
    X_WORK, /* host XMM registers */
    X_SOURCE
};

static void emit_sse(struct emit *e, unsigned prefix, uint32_t op, unsigned reg,
                     struct rm rm, unsigned imm_bytes)
{
    if (prefix)
        emit_u8(e, prefix);
    emit_op(e, 4, op, reg, rm, 16, imm_bytes);
}

static struct rm slot(const struct lower *l, unsigned n)
{
    return rm_abs(&l->j->cpu->xmm[n]);
}

static void load16(struct lower *l, unsigned host, struct rm from)
{
    emit_sse(l->e, 0, 0x0f28, host, from, 0); /* movaps */
}

static void store16(struct lower *l, struct rm to, unsigned host)
{
    emit_sse(l->e, 0, 0x0f29, host, to, 0);
}

/* CR0.EM, CR0.TS and CR4.OSFXSR cannot change inside a block: once is enough. */
static void check_usable(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    if (l->sse_checked)
        return;
    lower_save_flags(l);
    emit_op(l->e, 1, 0xf6, 0, rm_abs(&c->cr0), 1, 1);
    emit_u8(l->e, CR0_EM | CR0_TS);
    lower_cold(l, emit_jump(l->e, 5));
    emit_op(l->e, 4, 0xf7, 0, rm_abs(&c->cr4), 4, 4);
    emit_u32(l->e, CR4_OSFXSR);
    lower_cold(l, emit_jump(l->e, 4));
    lower_flags_clobbered(l);
    l->sse_checked = true;
}

/* The linear address is in H_SCRATCH_A before translation would be simpler, but
 * pages are aligned: the host address has the same low bits. */
static void check_aligned(struct lower *l)
{
    emit_u8(l->e, 0xf6); /* test cl, 15 */
    emit_u8(l->e, 0xc1);
    emit_u8(l->e, 15);
    lower_cold(l, emit_jump(l->e, 5));
}

static bool is_xmm(const struct insn *i, unsigned operand)
{
    return (i->classes >> (4 * operand) & 15) == REG_CLASS_XMM;
}

/* The second operand into X_SOURCE. */
static bool get_source(struct lower *l, bool aligned)
{
    const struct insn *i = l->i;
    if (i->form == FORM_RR) {
        check_usable(l);
        load16(l, X_SOURCE, slot(l, i->src));
        return true;
    }
    if (!lower_can_address(l))
        return false;
    check_usable(l);
    (void)lower_address(l, 16, false);
    if (aligned)
        check_aligned(l);
    emit_sse(l->e, 0, 0x0f10, X_SOURCE, rm_base(H_SCRATCH_A, 0), 0);
    return true;
}

static bool full(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    if (!is_xmm(i, 0) || (i->form == FORM_RR && !is_xmm(i, 1)) ||
        (i->form != FORM_RR && i->form != FORM_RM) || !get_source(l, true))
        return false;
    bool has_imm = row->shape == OP_FULL_I8;
    load16(l, X_WORK, slot(l, i->dst));
    emit_sse(l->e, row->prefix, row->op, X_WORK, rm_reg(X_SOURCE), has_imm);
    if (has_imm)
        emit_u8(l->e, i->imm & 0xff);
    store16(l, slot(l, i->dst), X_WORK);
    return true;
}

static bool shift(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    if (i->form != FORM_RI || !is_xmm(i, 0))
        return false;
    check_usable(l);
    load16(l, X_WORK, slot(l, i->dst));
    emit_sse(l->e, row->prefix, row->op & 0xffff, row->op >> 24,
             rm_reg(X_WORK), 1);
    emit_u8(l->e, i->imm & 0xff);
    store16(l, slot(l, i->dst), X_WORK);
    return true;
}

static bool move16(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    bool aligned = row->shape == MOVE_16A;
    if (i->form == FORM_MR) {
        if (!is_xmm(i, 1) || !lower_can_address(l))
            return false;
        check_usable(l);
        (void)lower_address(l, 16, true);
        if (aligned)
            check_aligned(l);
        load16(l, X_WORK, slot(l, i->src));
        emit_sse(l->e, 0, 0x0f11, X_WORK, rm_base(H_SCRATCH_A, 0), 0);
        return true;
    }
    if (!is_xmm(i, 0) || (i->form == FORM_RR && !is_xmm(i, 1)) ||
        (i->form != FORM_RR && i->form != FORM_RM) || !get_source(l, aligned))
        return false;
    store16(l, slot(l, i->dst), X_SOURCE);
    return true;
}

static bool mask(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    if (i->form != FORM_RR || !is_xmm(i, 1))
        return false;
    check_usable(l);
    load16(l, X_SOURCE, slot(l, i->src));
    unsigned h = lower_target(l, i->dst, H_SCRATCH_C);
    emit_sse(l->e, row->prefix, row->op, h, rm_reg(X_SOURCE), 0);
    lower_put(l, i->dst, h);
    return true;
}

/* MOVQ, MOVD, MOVSS, MOVSD: 4 or 8 bytes. A load from memory, and MOVQ and MOVD
 * between registers, clear the rest of the register. */
static bool narrow(struct lower *l)
{
    const struct insn *i = l->i;
    struct cpu *c = l->j->cpu;
    bool is_scalar = i->mnemonic == ZYDIS_MNEMONIC_MOVSS ||
                     i->mnemonic == ZYDIS_MNEMONIC_MOVSD;
    bool is_integer = i->mnemonic == ZYDIS_MNEMONIC_MOVQ ||
                      i->mnemonic == ZYDIS_MNEMONIC_MOVD;
    if ((!is_scalar && !is_integer) || (i->third & 0x80))
        return false;
    unsigned n = i->mnemonic == ZYDIS_MNEMONIC_MOVSS ||
                         i->mnemonic == ZYDIS_MNEMONIC_MOVD
                     ? 4
                     : 8;
    if (i->form == FORM_RM && is_xmm(i, 0) && lower_can_address(l)) {
        check_usable(l);
        (void)lower_address(l, n, false);
        emit_sse(l->e, n == 4 ? 0xf3 : 0xf2, 0x0f10, X_WORK,
                 rm_base(H_SCRATCH_A, 0), 0);
        store16(l, slot(l, i->dst), X_WORK);
        return true;
    }
    if (i->form == FORM_MR && is_xmm(i, 1) && lower_can_address(l)) {
        check_usable(l);
        (void)lower_address(l, n, true);
        emit_load(l->e, n, H_SCRATCH_B, rm_abs(&c->xmm[i->src]));
        emit_store(l->e, n, rm_base(H_SCRATCH_A, 0), H_SCRATCH_B);
        return true;
    }
    if (i->form != FORM_RR)
        return false;
    if (is_xmm(i, 0) && is_xmm(i, 1)) {
        check_usable(l);
        emit_load(l->e, n, H_SCRATCH_B, rm_abs(&c->xmm[i->src]));
        emit_store(l->e, n, rm_abs(&c->xmm[i->dst]), H_SCRATCH_B);
        if (is_integer) {
            emit_op(l->e, 8, 0xc7, 0, rm_abs(&c->xmm[i->dst].u64[1]), 8, 4);
            emit_u32(l->e, 0);
        }
        return true;
    }
    if (is_scalar)
        return false;
    n = is_xmm(i, 0) ? i->size1 : i->size;
    check_usable(l);
    if (is_xmm(i, 0)) {
        unsigned h = lower_get(l, i->src, H_SCRATCH_B);
        emit_mov_rr(l->e, n, H_SCRATCH_C, h);
        emit_store(l->e, 8, rm_abs(&c->xmm[i->dst]), H_SCRATCH_C);
        emit_op(l->e, 8, 0xc7, 0, rm_abs(&c->xmm[i->dst].u64[1]), 8, 4);
        emit_u32(l->e, 0);
    } else {
        unsigned h = lower_target(l, i->dst, H_SCRATCH_B);
        emit_load(l->e, n, h, rm_abs(&c->xmm[i->src]));
        lower_put(l, i->dst, h);
    }
    return true;
}

bool lower_sse(struct lower *l)
{
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        if (rows[n].mnemonic != l->i->mnemonic)
            continue;
        if (l->i->third & 0x80)
            return false; /* the MMX form */
        switch (rows[n].shape) {
        case OP_FULL:
        case OP_FULL_I8:
            return full(l, &rows[n]);
        case OP_SHIFT:
            return shift(l, &rows[n]);
        case MASK_GPR:
            return mask(l, &rows[n]);
        default:
            return move16(l, &rows[n]);
        }
    }
    return narrow(l);
}
