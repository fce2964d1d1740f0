/* Shifts, multiplication, conditions and bit tests as ops. */
#include "jit/codes.h"
#include "jit/t2_build.h"

#include "cpu/flags.h"

#include <Zydis/Mnemonic.h>

/* ---- shifts -------------------------------------------------------------- */

static bool build_shift(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    int digit = jit_shift_digit(i->mnemonic);
    bool by_cl = i->form == FORM_RR || i->form == FORM_MR;
    bool is_memory = i->form == FORM_MR || i->form == FORM_MI;
    unsigned count = (unsigned)i->imm & (i->size == 8 ? 63 : 31);
    t2_ref x, r;
    if (digit < 0 || !ir->host.shifts || (!by_cl && count == 0))
        return false;
    if (!is_memory && !t2_is_general(i, 0))
        return false;
    if (is_memory) {
        if (!t2_operand_place(b, i->size, T2_READS | T2_WRITES, &p))
            return false;
        x = t2_read(b, p, i->size);
    } else {
        x = t2_reg_operand(b, i->dst, i->size);
    }
    if (by_cl || digit < 2) { /* rotates keep most flags */
        t2_ref by = by_cl ? ir->now[REG_RCX] : t2_const(ir, count);
        r = t2_binary(b, T2_SHIFTCL, i->size, (unsigned)digit, x, by);
        ir->ops[r].c = ir->flags;
    } else {
        r = t2_binary(b, T2_SHIFT, i->size, (unsigned)digit, x, 0);
        ir->ops[r].imm = count;
    }
    if (is_memory)
        t2_write(b, p, i->size, r);
    else
        t2_set_result(b, i->dst, i->size, r);
    t2_set_flags(b, r);
    return true;
}

/* ---- multiplication ------------------------------------------------------ */

static bool factor(struct t2_build *b, bool is_memory, unsigned reg, t2_ref *v)
{
    const struct insn *i = b->i;
    struct t2_place p;
    if (!is_memory) {
        *v = b->ir->now[reg];
        return true;
    }
    if (!t2_operand_place(b, i->size, T2_READS, &p))
        return false;
    *v = t2_read(b, p, i->size);
    return true;
}

static bool build_imul(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    t2_ref x, y;
    if (i->mnemonic != ZYDIS_MNEMONIC_IMUL || !ir->host.multiplies ||
        (i->form != FORM_RR && i->form != FORM_RM) || i->size < 4 ||
        !t2_is_general(i, 0) || !factor(b, i->form == FORM_RM, i->src, &x))
        return false;
    y = i->has_third ? t2_const(ir, i->size == 8 ? i->imm : (uint32_t)i->imm)
                     : ir->now[i->dst];
    t2_ref r = i->has_third ? t2_binary(b, T2_IMUL, i->size, 0, x, y)
                            : t2_binary(b, T2_IMUL, i->size, 0, y, x);
    ir->now[i->dst] = r;
    t2_set_flags(b, r);
    return true;
}

/* MUL and one-operand IMUL: the halves are ops of their own. */
static bool build_mul(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    bool is_signed = i->mnemonic == ZYDIS_MNEMONIC_IMUL;
    t2_ref x;
    if ((!is_signed && i->mnemonic != ZYDIS_MNEMONIC_MUL) || i->size < 4 ||
        !ir->host.multiplies || (i->form != FORM_R && i->form != FORM_M) ||
        !factor(b, i->form == FORM_M, i->dst, &x))
        return false;
    t2_ref a = ir->now[REG_RAX];
    ir->now[REG_RAX] = t2_binary(b, T2_IMUL, i->size, 0, a, x);
    t2_ref hi = t2_binary(b, T2_MULHI, i->size, is_signed, a, x);
    ir->now[REG_RDX] = hi;
    t2_set_flags(b, hi);
    return true;
}

/* Stay when the condition holds for x compared with y; else leave in front of
 * the instruction. */
void t2_require(struct t2_build *b, unsigned code, unsigned size, t2_ref x,
                t2_ref y)
{
    t2_ref c = t2_binary(b, T2_CMP, size, 0, x, y);
    uint16_t map = t2_map_before(b);
    t2_emit_ir(b->ir, (struct t2_op){.kind = T2_GUARD,
                                     .digit = (uint8_t)code,
                                     .c = c,
                                     .map = map,
                                     .insn = (uint16_t)b->n});
}

/* DIV and IDIV of a number that fits into the lower half, as it does in code of
 * compilers: the quotient fits too, but for -1. */
static bool build_div(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    bool is_signed = i->mnemonic == ZYDIS_MNEMONIC_IDIV;
    t2_ref y, one = t2_const(ir, 1), zero = t2_const(ir, 0);
    if ((!is_signed && i->mnemonic != ZYDIS_MNEMONIC_DIV) || i->size < 4 ||
        (i->form != FORM_R && i->form != FORM_M) ||
        !factor(b, i->form == FORM_M, i->dst, &y))
        return false;
    t2_ref a = ir->now[REG_RAX], d = ir->now[REG_RDX];
    if (is_signed) {
        t2_ref sign = t2_binary(b, T2_SHIFT, i->size, 7, a, 0);
        ir->ops[sign].imm = i->size * 8 - 1;
        t2_require(b, 4, i->size, d, sign);
        t2_ref next = t2_binary(b, T2_LEA, i->size, 0, y, 0);
        ir->ops[next].imm = 1;
        t2_require(b, 7, i->size, next, one);
    } else {
        t2_require(b, 4, i->size, d, zero);
        t2_require(b, 5, i->size, y, zero);
    }
    t2_ref q = t2_binary(b, T2_DIV, i->size, is_signed, a, y);
    t2_ref product = t2_binary(b, T2_IMUL, i->size, 0, q, y);
    ir->now[REG_RAX] = q;
    ir->now[REG_RDX] = t2_binary(b, T2_ALU, i->size, 5, a, product);
    return true;
}

/* ---- conditions ---------------------------------------------------------- */

static bool build_setcc(struct t2_build *b, unsigned code)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    bool is_memory = i->form == FORM_M;
    if (is_memory ? !t2_operand_place(b, 1, T2_WRITES, &p)
                  : !t2_is_general(i, 0))
        return false;
    t2_ref old =
        is_memory ? t2_const(ir, 0) : t2_reg_operand(b, i->dst, 1);
    t2_ref r = t2_binary(b, T2_SETCC, 1, code, old, 0);
    ir->ops[r].c = t2_flags_for(b, code);
    if (is_memory)
        t2_write(b, p, 1, r);
    else
        t2_set_result(b, i->dst, 1, r);
    return true;
}

static bool build_cmov(struct t2_build *b, unsigned code)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    t2_ref y;
    if (!t2_is_general(i, 0))
        return false;
    if (i->form == FORM_RM) {
        if (!t2_operand_place(b, i->size, T2_READS, &p))
            return false;
        y = t2_read(b, p, i->size);
    } else {
        y = ir->now[i->src];
    }
    t2_ref r = t2_binary(b, T2_CMOV, i->size, code, ir->now[i->dst], y);
    ir->ops[r].c = t2_flags_for(b, code);
    ir->now[i->dst] = r;
    return true;
}

static bool build_conditional(struct t2_build *b)
{
    for (unsigned code = 0; code < 16; code++) {
        if (b->i->mnemonic == jit_set_codes[code])
            return build_setcc(b, code);
        if (b->i->mnemonic == jit_cmov_codes[code])
            return build_cmov(b, code);
    }
    return false;
}

static bool build_bt(struct t2_build *b)
{
    static const uint16_t rows[4] = {ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS,
                                     ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC};
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    unsigned row = 0;
    while (row < 4 && rows[row] != i->mnemonic)
        row++;
    if (row == 4 || !ir->host.bit_tests || i->size < 4 ||
        (i->form != FORM_RR && i->form != FORM_RI) || !t2_is_general(i, 0))
        return false;
    t2_ref bit =
        i->form == FORM_RR ? ir->now[i->src] : t2_const(ir, (uint8_t)i->imm);
    t2_ref r = t2_binary(b, T2_BT, i->size, 4 + row, ir->now[i->dst], bit);
    ir->ops[r].c = ir->flags;
    if (row)
        ir->now[i->dst] = r;
    t2_set_flags(b, r);
    return true;
}

static bool build_bswap(struct t2_build *b)
{
    const struct insn *i = b->i;
    if (i->mnemonic != ZYDIS_MNEMONIC_BSWAP || i->size < 4)
        return false;
    t2_ref *now = b->ir->now;
    now[i->dst] = t2_unary(b, T2_BSWAP, i->size, now[i->dst]);
    return true;
}

/* The source of a scan or a count, zero-extended as the host wants it. */
static bool scanned(struct t2_build *b, t2_ref *v)
{
    const struct insn *i = b->i;
    struct t2_place p;
    if (!t2_is_general(i, 0) || (i->form != FORM_RR && i->form != FORM_RM))
        return false;
    if (i->form == FORM_RR) {
        *v = t2_reg_operand(b, i->src, i->size1);
        return t2_is_general(i, 1);
    }
    if (!t2_operand_place(b, i->size1, T2_READS, &p))
        return false;
    *v = t2_read(b, p, i->size1);
    return true;
}

static t2_ref host_op(struct t2_build *b, unsigned size, unsigned prefix,
                      uint32_t op, t2_ref x, t2_ref y)
{
    t2_ref r = t2_binary(b, T2_HOST, size, 0, x, y);
    struct t2_op *o = &b->ir->ops[r];
    o->from = (uint8_t)prefix;
    o->scale = b->i->size1; /* bytes of the second operand */
    o->imm = op;
    return r;
}

/* BSF and BSR: a zero source leaves the destination alone; of the flags ZF alone
 * can be set (cpu/op_bit.c). */
static bool build_scan(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    bool forward = i->mnemonic == ZYDIS_MNEMONIC_BSF;
    t2_ref v;
    if ((!forward && i->mnemonic != ZYDIS_MNEMONIC_BSR) || !scanned(b, &v))
        return false;
    t2_ref old = ir->now[i->dst];
    t2_ref at = host_op(b, i->size, 0, forward ? 0x0fbc : 0x0fbd, old, v);
    t2_ref is_zero = t2_binary(b, T2_TEST, i->size, 0, v, v);
    t2_ref f = t2_binary(b, T2_CMOV, 8, 4, t2_const(ir, AF_ONE),
                         t2_const(ir, AF_ONE | AF_ZF));
    ir->ops[f].c = is_zero;
    t2_ref r = t2_binary(b, T2_CMOV, 8, 4, at, old);
    ir->ops[r].c = is_zero;
    ir->now[i->dst] = r;
    t2_set_flags_value(b, f);
    return true;
}

static bool build_count_bits(struct t2_build *b)
{
    const struct insn *i = b->i;
    t2_ref v;
    bool is_crc = i->mnemonic == ZYDIS_MNEMONIC_CRC32;
    if ((!is_crc && i->mnemonic != ZYDIS_MNEMONIC_POPCNT) || !scanned(b, &v))
        return false;
    t2_ref old = b->ir->now[i->dst];
    if (is_crc) {
        unsigned size = i->size1 == 1 ? 4 : i->size1;
        b->ir->now[i->dst] = host_op(b, size, 0xf2,
                                     i->size1 == 1 ? 0x0f38f0 : 0x0f38f1, old,
                                     v);
        return true;
    }
    t2_ref r = host_op(b, i->size, 0xf3, 0x0fb8, i->size == 2 ? old : 0, v);
    b->ir->now[i->dst] = r;
    t2_set_flags(b, r);
    return true;
}

bool t2_build_more(struct t2_build *b)
{
    static t2_rule *const rules[] = {build_shift, build_imul, build_conditional,
                                     build_mul,   build_div,  build_bt,
                                     build_bswap, build_scan,
                                     build_count_bits};
    for (size_t n = 0; n < sizeof rules / sizeof rules[0]; n++)
        if (rules[n](b))
            return true;
    return false;
}
