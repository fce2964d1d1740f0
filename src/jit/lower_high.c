/* Rules for AH, CH, DH and BH. Their guest registers live in host registers whose
 * second byte has no name, or none beside a REX prefix: a copy in RDX or RCX
 * does the work, as DH or CH. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum {
    DIGIT_CMP = 7,
    DIGIT_TEST = 8,
    DIGIT_MOV = 9,
    BYTE_HIGH = 4, /* DL + 4 is DH, CL + 4 is CH */
    MODRM_REG = 0xc0,
    MODRM_AT_RCX = 1
};

static bool is_byte(const struct insn *i, unsigned operand)
{
    return (i->classes >> (4 * operand) & 15) == REG_CLASS_GENERAL &&
           (operand ? i->size1 : i->size) == 1;
}

static bool is_high(const struct insn *i, unsigned operand)
{
    return is_byte(i, operand) && ((operand ? i->src : i->dst) & 7) == 1;
}

static int digit_of(uint16_t mnemonic)
{
    static const uint16_t mnemonics[] = {
        ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_OR,  ZYDIS_MNEMONIC_ADC,
        ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_SUB,
        ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_TEST,
        ZYDIS_MNEMONIC_MOV};
    for (int d = 0; d <= DIGIT_MOV; d++)
        if (mnemonics[d] == mnemonic)
            return d;
    return -1;
}

/* The opcode with the register on the r/m side, or (to_reg) the other. */
static unsigned opcode(int digit, bool to_reg)
{
    if (digit == DIGIT_TEST)
        return 0x84;
    if (digit == DIGIT_MOV)
        return to_reg ? 0x8a : 0x88;
    return (unsigned)digit << 3 | (to_reg ? 2 : 0);
}

/* Copy a byte operand's register; the number of the byte in the copy. */
static unsigned copy(struct lower *l, unsigned operand, unsigned to)
{
    unsigned byte = operand ? l->i->src : l->i->dst;
    emit_mov_rr(l->e, 8, to, lower_get(l, byte >> 3, to));
    return to + (byte & 7 ? BYTE_HIGH : 0);
}

static void put_back(struct lower *l)
{
    emit_mov_rr(l->e, 8, jit_host_of[l->i->dst >> 3], H_RDX);
}

static void immediate(struct lower *l, int digit)
{
    unsigned to = copy(l, 0, H_RDX);
    unsigned extension = digit < DIGIT_TEST ? (unsigned)digit : 0;
    emit_u8(l->e, digit == DIGIT_TEST  ? 0xf6
                  : digit == DIGIT_MOV ? 0xc6
                                       : 0x80);
    emit_u8(l->e, MODRM_REG | extension << 3 | to);
    emit_u8(l->e, l->i->imm & 0xff);
}

static bool in_memory(struct lower *l, int digit, bool writes)
{
    bool to_reg = l->i->form == FORM_RM;
    if (!lower_address(l, 1, writes && !to_reg))
        return false;
    if (digit == 2 || digit == 3)
        lower_restore_flags(l);
    unsigned reg = copy(l, to_reg ? 0 : 1, H_RDX);
    emit_u8(l->e, opcode(digit, to_reg));
    emit_u8(l->e, reg << 3 | MODRM_AT_RCX);
    return true;
}

static bool arithmetic(struct lower *l)
{
    const struct insn *i = l->i;
    int digit = digit_of(i->mnemonic);
    bool writes = digit != DIGIT_CMP && digit != DIGIT_TEST;
    if (digit < 0)
        return false;
    if (i->form == FORM_RM || i->form == FORM_MR) {
        if (!is_high(i, i->form == FORM_RM ? 0 : 1) ||
            !in_memory(l, digit, writes))
            return false;
    } else if (i->form == FORM_RI || i->form == FORM_RR) {
        if (!is_byte(i, 0) || !(is_high(i, 0) || is_high(i, 1)))
            return false;
        if (digit == 2 || digit == 3)
            lower_restore_flags(l);
        if (i->form == FORM_RI) {
            immediate(l, digit);
        } else {
            unsigned from = copy(l, 1, H_RCX), to = copy(l, 0, H_RDX);
            emit_u8(l->e, opcode(digit, false));
            emit_u8(l->e, MODRM_REG | from << 3 | to);
        }
    } else {
        return false;
    }
    if (writes && i->form != FORM_MR)
        put_back(l);
    if (digit != DIGIT_MOV)
        lower_flags_written(l, digit == 1 || digit == 4 || digit == 6 ||
                                       digit == DIGIT_TEST
                                   ? FIX_AF
                                   : FIX_NONE);
    return true;
}

static bool widen(struct lower *l)
{
    const struct insn *i = l->i;
    bool is_signed = i->mnemonic == ZYDIS_MNEMONIC_MOVSX;
    if ((!is_signed && i->mnemonic != ZYDIS_MNEMONIC_MOVZX) ||
        i->form != FORM_RR || !is_high(i, 1))
        return false;
    unsigned from = copy(l, 1, H_RDX);
    emit_u8(l->e, 0x0f); /* to EDX */
    emit_u8(l->e, is_signed ? 0xbe : 0xb6);
    emit_u8(l->e, MODRM_REG | H_RDX << 3 | from);
    unsigned h = i->size < 4 ? lower_get(l, i->dst, H_SCRATCH_C)
                             : lower_target(l, i->dst, H_SCRATCH_C);
    emit_mov_rr(l->e, i->size, h, H_RDX);
    lower_put(l, i->dst, h);
    return true;
}

bool lower_high(struct lower *l)
{
    return arithmetic(l) || widen(l);
}
