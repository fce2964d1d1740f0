/* Rules for bit tests and scans. */
#include "jit/lower.h"

#include "cpu/flags.h"

#include <Zydis/Mnemonic.h>

static const struct {
    uint16_t mnemonic;
    uint8_t digit;
    uint16_t op;
} tests[] = {{ZYDIS_MNEMONIC_BT, 4, 0x0fa3},
             {ZYDIS_MNEMONIC_BTS, 5, 0x0fab},
             {ZYDIS_MNEMONIC_BTR, 6, 0x0fb3},
             {ZYDIS_MNEMONIC_BTC, 7, 0x0fbb}};

/* The address of the operand that bit (register b) of a bit string lies in, by
 * which the operand is `size` bytes further for each size * 8 bits. */
static void bit_string(struct lower *l, unsigned b, bool write)
{
    const struct insn *i = l->i;
    unsigned size = i->size, shift = size == 8 ? 6 : size == 4 ? 5 : 4;
    unsigned wide = l->is64 && i->addr == 8 ? 8 : 4;
    lower_save_flags(l);
    lower_effective(l);
    unsigned h = lower_get(l, b, H_SCRATCH_B);
    if (size == 2)
        emit_op(l->e, wide, 0x0fbf, H_SCRATCH_B, rm_reg(h), 2, 0); /* movsx */
    else if (size < wide)
        emit_op(l->e, wide, 0x63, H_SCRATCH_B, rm_reg(h), 4, 0); /* movsxd */
    else
        emit_mov_rr(l->e, size, H_SCRATCH_B, h);
    /* Of a 64-bit offset with 32-bit addresses the low half would do, but for
     * the bits that SAR brings in: shift all of it. */
    unsigned span = size > wide ? size : wide;
    emit_op(l->e, span, 0xc1, 7, rm_reg(H_SCRATCH_B), span, 1);
    emit_u8(l->e, shift);
    struct rm rm = rm_base(H_SCRATCH_A, 0);
    rm.index = H_SCRATCH_B;
    rm.scale = (uint8_t)(shift - 3);
    emit_op(l->e, wide, 0x8d, H_SCRATCH_A, rm, 8, 0);
    lower_segment(l, size);
    lower_translate(l, size, write);
    l->mem = rm_base(H_SCRATCH_A, 0);
}

/* BT and its kin on a register: CF alone changes. */
static bool test_register(struct lower *l, unsigned row)
{
    const struct insn *i = l->i;
    unsigned a, b = 0;
    if (!lower_first(i, &a) || (i->form == FORM_RR && !lower_second(i, &b)))
        return false;
    unsigned h = lower_get(l, a, H_SCRATCH_C);
    unsigned hb = i->form == FORM_RR ? lower_get(l, b, H_SCRATCH_B) : 0;
    lower_restore_flags(l);
    if (i->form == FORM_RR) {
        emit_op(l->e, i->size, tests[row].op, hb, rm_reg(h), i->size, 0);
    } else {
        emit_op(l->e, i->size, 0x0fba, tests[row].digit, rm_reg(h), i->size, 1);
        emit_u8(l->e, (unsigned)i->imm & 0xff);
    }
    if (row != 0)
        lower_put(l, a, h);
    return true;
}

static bool test_memory(struct lower *l, unsigned row)
{
    const struct insn *i = l->i;
    unsigned b = 0, bits = i->size * 8u;
    if (!lower_can_address(l) ||
        (i->form == FORM_MR && (i->addr == 2 || !lower_second(i, &b))))
        return false;
    if (i->form == FORM_MI) {
        (void)lower_operand(l, i->size, row != 0);
        lower_restore_flags(l);
        emit_op(l->e, i->size, 0x0fba, tests[row].digit,
                l->mem, i->size, 1);
        emit_u8(l->e, (unsigned)i->imm & (bits - 1));
        return true;
    }
    bit_string(l, b, row != 0);
    emit_mov_rr(l->e, 4, H_SCRATCH_B, lower_get(l, b, H_SCRATCH_B));
    emit_alu_ri(l->e, 4, 4, rm_reg(H_SCRATCH_B), (int32_t)bits - 1);
    lower_restore_flags(l);
    emit_op(l->e, i->size, tests[row].op, H_SCRATCH_B, l->mem,
            i->size, 0);
    return true;
}

static bool lower_bit_test(struct lower *l)
{
    unsigned row = 0;
    while (row < 4 && tests[row].mnemonic != l->i->mnemonic)
        row++;
    if (row == 4 || !l->j->host.bit_tests)
        return false;
    bool done = l->i->form == FORM_RR || l->i->form == FORM_RI
                    ? test_register(l, row)
                    : test_memory(l, row);
    if (done)
        lower_flags_written(l, FIX_NONE);
    return done;
}

/* BSF and BSR: a zero source leaves the destination alone; of the flags ZF alone
 * can be set (cpu/op_bit.c). */
static bool lower_scan(struct lower *l)
{
    const struct insn *i = l->i;
    struct emit *e = l->e;
    unsigned a, b = 0;
    bool forward = i->mnemonic == ZYDIS_MNEMONIC_BSF;
    if ((!forward && i->mnemonic != ZYDIS_MNEMONIC_BSR) || !lower_first(i, &a))
        return false;
    if (i->form == FORM_RM) {
        if (!lower_operand(l, i->size, false))
            return false;
        emit_load(e, i->size, H_SCRATCH_B, l->mem);
    } else {
        if (!lower_second(i, &b))
            return false;
        emit_mov_rr(e, i->size, H_SCRATCH_B, lower_get(l, b, H_SCRATCH_B));
    }
    unsigned h = lower_get(l, a, H_SCRATCH_C);
    emit_op(e, i->size, 0x85, H_SCRATCH_B, rm_reg(H_SCRATCH_B), i->size, 0);
    emit_mov_ri(e, H_RAX, AF_ONE | AF_ZF);
    uint8_t *zero = emit_jump(e, 4);
    emit_op(e, i->size, forward ? 0x0fbc : 0x0fbd, h, rm_reg(H_SCRATCH_B),
            i->size, 0);
    emit_mov_ri(e, H_RAX, AF_ONE);
    emit_patch(e, zero, emit_here(e));
    lower_put(l, a, h);
    lower_flags_written(l, FIX_NONE);
    lower_flags_clobbered(l);
    return true;
}

bool lower_bits(struct lower *l)
{
    return lower_bit_test(l) || lower_scan(l);
}
