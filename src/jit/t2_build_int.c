/* Moves, arithmetic and the stack as ops. */
#include "jit/t2_build.h"

#include "cpu/op_sse.h"
#include "cpu/op_system.h"

#include <Zydis/Mnemonic.h>

/* Operand 1 as a value: register, memory or immediate of the first's size. */
static bool second_value(struct t2_build *b, unsigned bytes, t2_ref *v)
{
    const struct insn *i = b->i;
    struct t2_place p;
    switch (i->form) {
    case FORM_RR:
    case FORM_MR:
        if (!t2_is_general(i, 1))
            return false;
        *v = t2_reg_operand(b, i->src, bytes);
        return true;
    case FORM_RM:
        if (!t2_operand_place(b, bytes, T2_READS, &p))
            return false;
        *v = t2_read(b, p, bytes);
        return true;
    case FORM_RI:
    case FORM_MI:
        *v = t2_const(b->ir, bytes == 8   ? i->imm
                             : bytes == 4 ? (uint32_t)i->imm
                             : bytes == 2 ? (uint16_t)i->imm
                                          : (uint8_t)i->imm);
        return true;
    default:
        return false;
    }
}

/* ---- two-operand arithmetic -----------------------------------------------
 */

enum { DIGIT_XOR = 6, DIGIT_SUB = 5, DIGIT_CMP = 7, DIGIT_TEST = 8 };

static int alu_digit(uint16_t mnemonic)
{
    static const uint16_t by_digit[9] = {
        ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_OR,  ZYDIS_MNEMONIC_ADC,
        ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_SUB,
        ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_TEST};
    for (int d = 0; d < 9; d++)
        if (by_digit[d] == mnemonic)
            return d;
    return -1;
}

static bool alu_clears(struct t2_build *b, unsigned digit)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    if ((digit != DIGIT_XOR && digit != DIGIT_SUB) || i->form != FORM_RR ||
        i->dst != i->src || i->size < 4 || !t2_is_general(i, 0))
        return false;
    t2_ref zero = t2_const(ir, 0);
    ir->now[i->dst] = zero;
    ir->flags = t2_emit_ir(
        ir, (struct t2_op){.kind = T2_RECIPE,
                           .digit = digit == DIGIT_XOR ? R_LOGIC : R_CMP,
                           .size = i->size,
                           .a = zero,
                           .b = digit == DIGIT_XOR ? 0 : zero});
    return true;
}

static t2_ref alu_op(struct t2_build *b, unsigned digit, t2_ref x, t2_ref y)
{
    unsigned kind = digit == DIGIT_CMP    ? T2_CMP
                    : digit == DIGIT_TEST ? T2_TEST
                                          : T2_ALU;
    t2_ref r = t2_binary(b, kind, b->i->size, digit, x, y);
    if (digit == 2 || digit == 3)
        b->ir->ops[r].c = t2_flags_for(b, 2);
    return r;
}

static bool alu_to_register(struct t2_build *b, unsigned digit)
{
    const struct insn *i = b->i;
    t2_ref y;
    if (!t2_is_general(i, 0) || !second_value(b, i->size, &y))
        return false;
    t2_ref r = alu_op(b, digit, t2_reg_operand(b, i->dst, i->size), y);
    if (digit < DIGIT_CMP)
        t2_set_result(b, i->dst, i->size, r);
    t2_set_flags(b, r);
    return true;
}

static bool alu_to_memory(struct t2_build *b, unsigned digit)
{
    const struct insn *i = b->i;
    struct t2_place p;
    t2_ref y;
    bool writes = digit < DIGIT_CMP;
    if (!second_value(b, i->size, &y) ||
        !t2_operand_place(b, i->size, writes ? T2_READS | T2_WRITES : T2_READS,
                          &p))
        return false;
    t2_ref r = alu_op(b, digit, t2_read(b, p, i->size), y);
    if (writes)
        t2_write(b, p, i->size, r);
    t2_set_flags(b, r);
    return true;
}

static bool build_alu(struct t2_build *b)
{
    int digit = alu_digit(b->i->mnemonic);
    if (digit < 0)
        return false;
    if (alu_clears(b, (unsigned)digit))
        return true;
    if (b->i->form == FORM_MR || b->i->form == FORM_MI)
        return alu_to_memory(b, (unsigned)digit);
    return alu_to_register(b, (unsigned)digit);
}

static bool build_unary(struct t2_build *b)
{
    const struct insn *i = b->i;
    enum t2_kind kind;
    struct t2_place p;
    t2_ref x;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_INC:
        kind = T2_INC;
        break;
    case ZYDIS_MNEMONIC_DEC:
        kind = T2_DEC;
        break;
    case ZYDIS_MNEMONIC_NEG:
        kind = T2_NEG;
        break;
    case ZYDIS_MNEMONIC_NOT:
        kind = T2_NOT;
        break;
    default:
        return false;
    }
    bool is_memory = i->form == FORM_M;
    if (is_memory) {
        if (!t2_operand_place(b, i->size, T2_READS | T2_WRITES, &p))
            return false;
        x = t2_read(b, p, i->size);
    } else {
        if (!t2_is_general(i, 0))
            return false;
        x = t2_reg_operand(b, i->dst, i->size);
    }
    t2_ref r = t2_unary(b, kind, i->size, x);
    if (kind == T2_INC || kind == T2_DEC)
        b->ir->ops[r].c = b->ir->flags;
    if (is_memory)
        t2_write(b, p, i->size, r);
    else
        t2_set_result(b, i->dst, i->size, r);
    if (kind != T2_NOT)
        t2_set_flags(b, r);
    return true;
}

/* ---- moves --------------------------------------------------------------- */

static bool build_mov(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_place p;
    t2_ref v;
    if ((i->mnemonic != ZYDIS_MNEMONIC_MOV &&
         i->mnemonic != ZYDIS_MNEMONIC_MOVNTI) ||
        i->classes >> 4 > REG_CLASS_GENERAL ||
        (i->classes & 15) > REG_CLASS_GENERAL || !second_value(b, i->size, &v))
        return false;
    if (i->form == FORM_MR || i->form == FORM_MI) {
        if (!t2_operand_place(b, i->size, T2_WRITES, &p))
            return false;
        t2_write(b, p, i->size, v);
        return true;
    }
    if (i->form == FORM_RR && i->size == 4)
        v = t2_unary(b, T2_MOVZX, 4, v);
    t2_set_operand(b, i->dst, i->size, v);
    return true;
}

static bool build_widen(struct t2_build *b)
{
    const struct insn *i = b->i;
    bool is_signed = i->mnemonic == ZYDIS_MNEMONIC_MOVSX ||
                     i->mnemonic == ZYDIS_MNEMONIC_MOVSXD;
    t2_ref v;
    if ((!is_signed && i->mnemonic != ZYDIS_MNEMONIC_MOVZX) || i->size < 4 ||
        i->size1 >= i->size || !t2_is_general(i, 0) ||
        !second_value(b, i->size1, &v))
        return false;
    v = t2_unary(b, is_signed ? T2_MOVSX : T2_MOVZX,
                 is_signed ? i->size : i->size1, v);
    b->ir->ops[v].from = i->size1;
    t2_set_operand(b, i->dst, i->size, v);
    return true;
}

static bool build_lea(struct t2_build *b)
{
    const struct insn *i = b->i;
    t2_ref v;
    if (i->mnemonic != ZYDIS_MNEMONIC_LEA || !t2_is_general(i, 0) ||
        !t2_effective(b, &v))
        return false;
    if (i->size == 4)
        v = t2_unary(b, T2_MOVZX, 4, v);
    t2_set_operand(b, i->dst, i->size, v);
    return true;
}

static bool build_extend(struct t2_build *b)
{
    t2_ref *now = b->ir->now;
    t2_ref v;
    switch (b->i->mnemonic) {
    case ZYDIS_MNEMONIC_CWDE:
        v = t2_unary(b, T2_MOVSX, 4, now[REG_RAX]);
        b->ir->ops[v].from = 2;
        now[REG_RAX] = v;
        return true;
    case ZYDIS_MNEMONIC_CDQE:
        v = t2_unary(b, T2_MOVSX, 8, now[REG_RAX]);
        b->ir->ops[v].from = 4;
        now[REG_RAX] = v;
        return true;
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO: {
        unsigned size = b->i->mnemonic == ZYDIS_MNEMONIC_CDQ ? 4 : 8;
        v = t2_binary(b, T2_SHIFT, size, 7, now[REG_RAX], 0);
        b->ir->ops[v].imm = size * 8 - 1;
        now[REG_RDX] = v;
        return true;
    }
    default:
        return false;
    }
}

/* XCHG with a register, and of registers. */
static bool build_xchg(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_place p;
    if (i->mnemonic != ZYDIS_MNEMONIC_XCHG)
        return false;
    unsigned g = i->form == FORM_MR ? i->src : i->dst;
    if (i->form == FORM_RR) {
        t2_ref x = t2_reg_operand(b, i->dst, i->size);
        t2_ref y = t2_reg_operand(b, i->src, i->size);
        if (i->size == 4) {
            x = t2_unary(b, T2_MOVZX, 4, x);
            y = t2_unary(b, T2_MOVZX, 4, y);
        }
        t2_set_operand(b, i->dst, i->size, y);
        t2_set_operand(b, i->src, i->size, x);
        return true;
    }
    if (!t2_is_general(i, i->form == FORM_RM ? 0 : 1) ||
        !t2_operand_place(b, i->size, T2_READS | T2_WRITES, &p))
        return false;
    t2_ref v = t2_read(b, p, i->size);
    t2_write(b, p, i->size, t2_reg_operand(b, g, i->size));
    t2_set_operand(b, g, i->size, v);
    return true;
}

/* ---- the stack ----------------------------------------------------------- */

static bool build_push(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    unsigned n = i->opsize;
    t2_ref v;
    if (i->mnemonic != ZYDIS_MNEMONIC_PUSH || n != (ir->is64 ? 8u : 4u) ||
        (i->classes & 15) == REG_CLASS_SEGMENT)
        return false;
    if (i->form == FORM_M) {
        if (!t2_operand_place(b, n, T2_READS, &p))
            return false;
        v = t2_read(b, p, n);
    } else if (i->form == FORM_R) {
        v = ir->now[i->dst];
    } else {
        v = t2_const(ir, n == 8 ? i->imm : (uint32_t)i->imm);
    }
    t2_ref sp = t2_plus(b, ir->now[REG_RSP], -(int64_t)n);
    t2_write(b, t2_place_at(b, sp, n, T2_WRITES), n, v);
    ir->now[REG_RSP] = sp;
    return true;
}

static bool build_pop(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    unsigned n = i->opsize;
    if (i->mnemonic != ZYDIS_MNEMONIC_POP || n != (ir->is64 ? 8u : 4u) ||
        i->form != FORM_R || (i->classes & 15) == REG_CLASS_SEGMENT)
        return false;
    t2_ref sp = ir->now[REG_RSP];
    t2_ref v = t2_read(b, t2_place_at(b, sp, n, T2_READS), n);
    ir->now[REG_RSP] = t2_plus(b, sp, n);
    ir->now[i->dst] = v;
    return true;
}

static bool build_leave(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    unsigned n = b->i->opsize;
    if (b->i->mnemonic != ZYDIS_MNEMONIC_LEAVE || n != (ir->is64 ? 8u : 4u))
        return false;
    t2_ref bp = ir->now[REG_RBP];
    t2_ref v = t2_read(b, t2_place_at(b, bp, n, T2_READS), n);
    ir->now[REG_RSP] = t2_plus(b, bp, n);
    ir->now[REG_RBP] = v;
    return true;
}

/* What one CPU without caches has no use for: NOP, PAUSE, fences, prefetches. */
static bool build_nop(struct t2_build *b)
{
    return b->i->fn == op_nop || b->i->fn == op_sse_hint;
}

bool t2_build_int(struct t2_build *b)
{
    static t2_rule *const rules[] = {build_mov,   build_alu,    build_lea,
                                     build_push,  build_pop,    build_unary,
                                     build_widen, build_extend, build_xchg,
                                     build_leave, build_nop};
    for (size_t n = 0; n < sizeof rules / sizeof rules[0]; n++)
        if (rules[n](b))
            return true;
    return false;
}
