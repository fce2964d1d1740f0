/* Rules for multiplication and division. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

/* ---- multiplication ------------------------------------------------------------------------ */

static bool lower_imul(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned a, b = 0, size = i->size;
    if (i->mnemonic != ZYDIS_MNEMONIC_IMUL || !l->j->host.multiplies ||
        (i->form != FORM_RR && i->form != FORM_RM) || size < 4 ||
        !lower_first(i, &a) || (i->form == FORM_RR && !lower_second(i, &b)))
        return false;
    if (i->form == FORM_RM && !lower_operand(l, size, false))
        return false;
    struct rm from = i->form == FORM_RM
                         ? l->mem
                         : rm_reg(lower_get(l, b, H_SCRATCH_B));
    unsigned h = i->has_third ? lower_target(l, a, H_SCRATCH_C)
                              : lower_get(l, a, H_SCRATCH_C);
    emit_op(l->e, size, i->has_third ? 0x69 : 0x0faf, h, from, size,
            i->has_third ? 4 : 0);
    if (i->has_third)
        emit_u32(l->e, (uint32_t)i->imm);
    lower_put(l, a, h);
    lower_flags_written(l, FIX_NONE);
    return true;
}

/* MUL and one-operand IMUL: through the host's rAX and rDX. */
static bool lower_mul(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned g = 0, size = i->size;
    bool is_signed = i->mnemonic == ZYDIS_MNEMONIC_IMUL;
    if ((!is_signed && i->mnemonic != ZYDIS_MNEMONIC_MUL) || size < 4 ||
        !l->j->host.multiplies || (i->form != FORM_R && i->form != FORM_M))
        return false;
    if (i->form == FORM_R && !lower_first(i, &g))
        return false;
    if (i->form == FORM_M && !lower_operand(l, size, false))
        return false;
    struct rm from = i->form == FORM_M
                         ? l->mem
                         : rm_reg(lower_get(l, g, H_SCRATCH_C));
    emit_mov_rr(l->e, size, H_RAX, jit_host_of[REG_RAX]);
    emit_op(l->e, size, 0xf7, is_signed ? 5 : 4, from, size, 0);
    emit_mov_rr(l->e, size, jit_host_of[REG_RAX], H_RAX);
    emit_mov_rr(l->e, size, jit_host_of[REG_RDX], H_RDX);
    lower_flags_written(l, FIX_NONE);
    return true;
}

/* ---- division ---------------------------------------------------------------- */

/* The divisor into H_SCRATCH_C; flags end SAVED. */
static bool divisor(struct lower *l)
{
    unsigned g = 0;
    if (l->i->form == FORM_R && !lower_first(l->i, &g))
        return false;
    if (l->i->form == FORM_M) {
        if (!lower_operand(l, l->i->size, false))
            return false;
        emit_load(l->e, l->i->size, H_SCRATCH_C, l->mem);
        lower_save_flags(l);
        return true;
    }
    lower_save_flags(l);
    emit_mov_rr(l->e, l->i->size, H_SCRATCH_C, lower_get(l, g, H_SCRATCH_C));
    return true;
}

/* A quotient that may not fit, 0 and -1 as divisors: to the handler. IDIV's
 * dividend must be a sign-extended rAX, as after CDQ. */
static void check_quotient(struct lower *l, bool is_signed)
{
    struct emit *e = l->e;
    unsigned size = l->i->size, d = jit_host_of[REG_RDX];
    if (!is_signed) {
        emit_alu_rr(e, size, 7, d, H_SCRATCH_C);
        lower_cold(l, emit_jump(e, 3)); /* jae */
        return;
    }
    emit_mov_rr(e, size, H_SCRATCH_A, jit_host_of[REG_RAX]);
    emit_op(e, size, 0xc1, 7, rm_reg(H_SCRATCH_A), size, 1); /* sar */
    emit_u8(e, size * 8 - 1);
    emit_alu_rr(e, size, 7, H_SCRATCH_A, d);
    lower_cold(l, emit_jump(e, 5));
    emit_op(e, size, 0x8d, H_SCRATCH_A, rm_base(H_SCRATCH_C, 1), 8, 0);
    emit_alu_ri(e, size, 7, rm_reg(H_SCRATCH_A), 1);
    lower_cold(l, emit_jump(e, 6)); /* jbe */
}

/* DIV and IDIV leave the flags as they are (cpu/flags.h). */
static bool lower_div(struct lower *l)
{
    bool is_signed = l->i->mnemonic == ZYDIS_MNEMONIC_IDIV;
    unsigned size = l->i->size, a = jit_host_of[REG_RAX],
             d = jit_host_of[REG_RDX];
    struct emit *e = l->e;
    if ((!is_signed && l->i->mnemonic != ZYDIS_MNEMONIC_DIV) || size < 4 ||
        !divisor(l))
        return false;
    check_quotient(l, is_signed);
    emit_mov_rr(e, 4, H_SCRATCH_A, H_RAX);
    emit_mov_rr(e, size, H_RAX, a);
    emit_mov_rr(e, size, H_RDX, d);
    emit_op(e, size, 0xf7, is_signed ? 7 : 6, rm_reg(H_SCRATCH_C), size, 0);
    emit_mov_rr(e, size, a, H_RAX);
    emit_mov_rr(e, size, d, H_RDX);
    emit_mov_rr(e, 4, H_RAX, H_SCRATCH_A);
    lower_flags_clobbered(l);
    return true;
}

bool lower_muldiv(struct lower *l)
{
    return lower_imul(l) || lower_mul(l) || lower_div(l);
}
