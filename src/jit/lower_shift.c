/* Rules for shifts and rotates. Host instructions that set flags are kept away from
 * flags that nothing reads. */
#include "jit/codes.h"
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum {
    DIGIT_SHL = 4,
    DIGIT_SHR = 5,
    DIGIT_SAR = 7
};

/* ---- which flags are read ------------------------------------------------- */

/* Runs to its end whatever the state is: registers alone, and by a rule. */
static bool is_plain(const struct insn *i)
{
    unsigned g;
    bool first = lower_first(i, &g);
    if (i->form == FORM_RR)
        return first && lower_second(i, &g);
    return first && (i->form == FORM_RI || i->form == FORM_R);
}

static bool leaves_flags(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
        return i->addr >= 4 && i->size >= 4 && i->base != REG_RIP;
    case ZYDIS_MNEMONIC_BSWAP:
        return i->size >= 4;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_NOT:
        return i->size >= 4 && is_plain(i);
    default:
        return false;
    }
}

static bool sets_all_flags(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_XOR:
        return is_plain(i);
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
        return i->form == FORM_RI && is_plain(i) &&
               (i->imm & (i->size == 8 ? 63 : 31)) != 0;
    default:
        return false;
    }
}

/* Are the flags that the current instruction leaves overwritten before anything
 * can read them? What may fault or leave the block counts as reading. */
static bool flags_are_dead(const struct lower *l)
{
    if (l->n > 0 && l->i[-1].mnemonic == ZYDIS_MNEMONIC_STI)
        return false; /* see lower_window() */
    for (unsigned n = l->n + 1; n < l->k->count; n++) {
        const struct insn *i = &l->k->insns[n];
        if (sets_all_flags(i))
            return true;
        if (!leaves_flags(i))
            return false;
    }
    return false;
}

/* ---- the rule ------------------------------------------------------------- */

static void by_constant(struct lower *l, unsigned digit, struct rm rm,
                        unsigned count)
{
    unsigned size = l->i->size;
    emit_op(l->e, size, lower_op(size, 0xc1), digit, rm, size, 1);
    emit_u8(l->e, count);
}

/* SHLX, SHRX and SARX set no flags: by the count in `by`. */
static void shift_without_flags(struct lower *l, unsigned digit, unsigned h,
                                unsigned by)
{
    enum vex_prefix prefix = digit == DIGIT_SHL   ? VEX_66
                             : digit == DIGIT_SHR ? VEX_F2
                                                  : VEX_F3;
    emit_vex(l->e, l->i->size, VEX_0F38, prefix, 0xf7, h, by, h);
}

/* A shift of register h whose flags nobody sees. */
static void shift_dead(struct lower *l, unsigned digit, unsigned h, bool by_cl,
                       unsigned count)
{
    unsigned size = l->i->size;
    lower_flags_clobbered(l);
    if (!by_cl) {
        by_constant(l, digit, rm_reg(h), count);
    } else if (l->j->host.bmi2 && digit >= DIGIT_SHL && size >= 4) {
        shift_without_flags(l, digit, h, jit_host_of[REG_RCX]);
    } else {
        emit_mov_rr(l->e, 4, H_RCX, jit_host_of[REG_RCX]);
        emit_op(l->e, size, lower_op(size, 0xd3), digit, rm_reg(h), size, 0);
    }
}

/* A rotate keeps most flags, a count of 0 all of them. Intel processors keep OF in
 * rotates by an immediate count, but not in those by CL. */
static void shift_live(struct lower *l, unsigned digit, struct rm rm,
                       bool by_cl, unsigned count)
{
    unsigned size = l->i->size;
    bool is_rotate = digit < DIGIT_SHL;
    if (by_cl)
        emit_mov_rr(l->e, 4, H_RCX, jit_host_of[REG_RCX]);
    else if (is_rotate)
        emit_mov_ri(l->e, H_RCX, count);
    if (by_cl || is_rotate) {
        lower_restore_flags(l);
        emit_op(l->e, size, lower_op(size, 0xd3), digit, rm, size, 0);
    } else {
        by_constant(l, digit, rm, count);
    }
    lower_flags_written(l, FIX_NONE);
}

bool lower_shift(struct lower *l)
{
    const struct insn *i = l->i;
    int digit = jit_shift_digit(i->mnemonic);
    if (digit < 0 || !l->j->host.shifts)
        return false;
    unsigned size = i->size, g = 0;
    bool by_cl = i->form == FORM_RR || i->form == FORM_MR;
    bool is_memory = i->form == FORM_MR || i->form == FORM_MI;
    unsigned count = (unsigned)i->imm & (size == 8 ? 63 : 31);
    if (!is_memory && !lower_first(i, &g))
        return false;
    if (!by_cl && count == 0)
        return false; /* changes nothing: rare enough for the handler */
    if (is_memory) {
        if (!lower_address(l, size, true))
            return false;
        emit_mov_rr(l->e, 8, H_SCRATCH_B, H_SCRATCH_A);
        shift_live(l, (unsigned)digit, rm_base(H_SCRATCH_B, 0), by_cl, count);
        return true;
    }
    unsigned h = lower_get(l, g, H_SCRATCH_C);
    if (flags_are_dead(l))
        shift_dead(l, (unsigned)digit, h, by_cl, count);
    else
        shift_live(l, (unsigned)digit, rm_reg(h), by_cl, count);
    lower_put(l, g, h);
    return true;
}
