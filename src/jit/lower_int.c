/* Rules for the integer instructions: the same host instruction on mapped
 * registers. */
#include "jit/lower.h"
#include "jit/codes.h"

#include <Zydis/Mnemonic.h>

/* ---- two-operand arithmetic ------------------------------------------------------ */

enum {
    DIGIT_ADC = 2,
    DIGIT_SBB = 3,
    DIGIT_SUB = 5,
    DIGIT_XOR = 6,
    DIGIT_CMP = 7,
    DIGIT_TEST = 8
};

static int alu_digit(uint16_t mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        return 0;
    case ZYDIS_MNEMONIC_OR:
        return 1;
    case ZYDIS_MNEMONIC_ADC:
        return DIGIT_ADC;
    case ZYDIS_MNEMONIC_SBB:
        return DIGIT_SBB;
    case ZYDIS_MNEMONIC_AND:
        return 4;
    case ZYDIS_MNEMONIC_SUB:
        return DIGIT_SUB;
    case ZYDIS_MNEMONIC_XOR:
        return DIGIT_XOR;
    case ZYDIS_MNEMONIC_CMP:
        return DIGIT_CMP;
    case ZYDIS_MNEMONIC_TEST:
        return DIGIT_TEST;
    default:
        return -1;
    }
}

static void alu_operation(struct lower *l, unsigned digit, unsigned reg,
                          struct rm rm, bool reg_is_target)
{
    unsigned size = l->i->size;
    unsigned op = digit == DIGIT_TEST
                      ? lower_op(size, 0x85)
                      : lower_op(size, digit << 3 | (reg_is_target ? 3 : 1));
    if (digit == DIGIT_ADC || digit == DIGIT_SBB)
        lower_restore_flags(l);
    emit_op(l->e, size, op, reg, rm, size, 0);
}

static void alu_immediate(struct lower *l, unsigned digit, struct rm rm)
{
    unsigned size = l->i->size;
    if (digit == DIGIT_ADC || digit == DIGIT_SBB)
        lower_restore_flags(l);
    if (digit == DIGIT_TEST) {
        emit_op(l->e, size, lower_op(size, 0xf7), 0, rm, size,
                lower_immediate_bytes(size));
        lower_immediate(l->e, size, l->i->imm);
    } else {
        emit_alu_ri(l->e, size, digit, rm,
                    size == 2 ? (int16_t)l->i->imm : (int32_t)l->i->imm);
    }
}

/* XOR and SUB of a register with itself: 0, whatever it holds. */
static bool is_clearing(const struct lower *l, unsigned digit)
{
    return l->i->form == FORM_RR && l->i->dst == l->i->src && l->i->size >= 4 &&
           (digit == DIGIT_SUB || digit == DIGIT_XOR);
}

/* Only whole registers are written in place: a smaller store would make the next
 * load of all wait. */
static bool alu_registers(struct lower *l, unsigned digit, bool writes)
{
    unsigned a, b = 0;
    if (!lower_first(l->i, &a) ||
        (l->i->form == FORM_RR && !lower_second(l->i, &b)))
        return false;
    if (is_clearing(l, digit)) {
        unsigned h = lower_target(l, a, H_SCRATCH_C);
        emit_alu_rr(l->e, 4, digit, h, h);
        lower_put(l, a, h);
        return true;
    }
    bool in_place = a < JIT_MAPPED || !writes || l->i->size == 8;
    struct rm to = in_place ? lower_register(l, a)
                            : rm_reg(lower_get(l, a, H_SCRATCH_C));
    if (l->i->form == FORM_RI)
        alu_immediate(l, digit, to);
    else if (to.kind == RM_REG && b >= JIT_MAPPED)
        alu_operation(l, digit, to.reg, lower_register(l, b), true);
    else
        alu_operation(l, digit, lower_get(l, b, H_SCRATCH_B), to, false);
    if (!in_place)
        lower_put(l, a, H_SCRATCH_C);
    return true;
}

static bool alu_memory(struct lower *l, unsigned digit, bool writes)
{
    const struct insn *i = l->i;
    unsigned g = 0;
    if ((i->form == FORM_RM && !lower_first(i, &g)) ||
        (i->form == FORM_MR && !lower_second(i, &g)))
        return false;
    bool to_memory = writes && i->form != FORM_RM;
    if (!lower_operand(l, i->size, to_memory))
        return false;
    if (i->form == FORM_MI) {
        alu_immediate(l, digit, l->mem);
        return true;
    }
    unsigned h = lower_get(l, g, H_SCRATCH_C);
    alu_operation(l, digit, h, l->mem, i->form == FORM_RM);
    if (i->form == FORM_RM && writes)
        lower_put(l, g, h);
    return true;
}

static bool lower_alu(struct lower *l)
{
    int digit = alu_digit(l->i->mnemonic);
    if (digit < 0)
        return false;
    bool writes = digit < DIGIT_CMP;
    bool is_logic = digit == 1 || digit == 4 || digit == 6 || digit == 8;
    bool done = l->i->form == FORM_RR || l->i->form == FORM_RI
                    ? alu_registers(l, (unsigned)digit, writes)
                    : alu_memory(l, (unsigned)digit, writes);
    if (done)
        lower_flags_written(l, is_logic ? FIX_AF : FIX_NONE);
    return done;
}

/* ---- INC DEC NEG NOT ---------------------------------------------------------------- */

static bool lower_unary(struct lower *l)
{
    unsigned digit, op = 0xf7, g;
    switch (l->i->mnemonic) {
    case ZYDIS_MNEMONIC_INC:
        digit = 0;
        op = 0xff;
        break;
    case ZYDIS_MNEMONIC_DEC:
        digit = 1;
        op = 0xff;
        break;
    case ZYDIS_MNEMONIC_NOT:
        digit = 2;
        break;
    case ZYDIS_MNEMONIC_NEG:
        digit = 3;
        break;
    default:
        return false;
    }
    unsigned size = l->i->size;
    if (l->i->form == FORM_M) {
        if (!lower_operand(l, size, true))
            return false;
        if (op == 0xff)
            lower_restore_flags(l); /* CF stays */
        emit_op(l->e, size, lower_op(size, op), digit, l->mem,
                size, 0);
    } else {
        if (!lower_first(l->i, &g))
            return false;
        unsigned h = lower_get(l, g, H_SCRATCH_C);
        if (op == 0xff)
            lower_restore_flags(l);
        emit_op(l->e, size, lower_op(size, op), digit, rm_reg(h), size, 0);
        lower_put(l, g, h);
    }
    if (digit != 2)
        lower_flags_written(l, FIX_NONE);
    return true;
}

/* ---- moves --------------------------------------------------------------------------- */

static bool mov_from_memory(struct lower *l)
{
    unsigned g, size = l->i->size;
    if (!lower_first(l->i, &g) || !lower_operand(l, size, false))
        return false;
    unsigned h = size < 4 ? lower_get(l, g, H_SCRATCH_C)
                          : lower_target(l, g, H_SCRATCH_C);
    emit_load(l->e, size, h, l->mem);
    lower_put(l, g, h);
    return true;
}

static bool mov_to_memory(struct lower *l)
{
    unsigned g = 0, size = l->i->size;
    if (l->i->form == FORM_MR && !lower_second(l->i, &g))
        return false;
    if (!lower_operand(l, size, true))
        return false;
    if (l->i->form == FORM_MR) {
        emit_store(l->e, size, l->mem,
                   lower_get(l, g, H_SCRATCH_C));
    } else {
        emit_op(l->e, size, lower_op(size, 0xc7), 0, l->mem,
                size, lower_immediate_bytes(size));
        lower_immediate(l->e, size, l->i->imm);
    }
    return true;
}

static bool mov_register(struct lower *l)
{
    unsigned a, b, size = l->i->size;
    if (!lower_first(l->i, &a))
        return false;
    if (l->i->form == FORM_RI) {
        unsigned h = size < 4 ? lower_get(l, a, H_SCRATCH_C)
                              : lower_target(l, a, H_SCRATCH_C);
        if (size >= 4) {
            emit_mov_ri(l->e, h, size == 4 ? (uint32_t)l->i->imm : l->i->imm);
        } else {
            emit_op(l->e, size, lower_op(size, 0xc7), 0, rm_reg(h), size, size);
            lower_immediate(l->e, size, l->i->imm);
        }
        lower_put(l, a, h);
        return true;
    }
    if (!lower_second(l->i, &b))
        return false;
    if (size == 8 && b < JIT_MAPPED && a >= JIT_MAPPED) {
        lower_put(l, a, jit_host_of[b]);
        return true;
    }
    unsigned ha = size < 4 ? lower_get(l, a, H_SCRATCH_C)
                           : lower_target(l, a, H_SCRATCH_C);
    if (b < JIT_MAPPED)
        emit_mov_rr(l->e, size, ha, jit_host_of[b]);
    else
        emit_load(l->e, size, ha, lower_register(l, b));
    lower_put(l, a, ha);
    return true;
}

static bool lower_mov(struct lower *l)
{
    if (l->i->mnemonic != ZYDIS_MNEMONIC_MOV)
        return false;
    if (l->i->classes >> 4 > REG_CLASS_GENERAL ||
        (l->i->classes & 15) > REG_CLASS_GENERAL)
        return false; /* segment, control, debug registers */
    switch (l->i->form) {
    case FORM_RM:
        return mov_from_memory(l);
    case FORM_MR:
    case FORM_MI:
        return mov_to_memory(l);
    default:
        return mov_register(l);
    }
}

/* MOVZX, MOVSX, MOVSXD. */
static bool lower_widen(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned a, b = 0, op;
    if (i->mnemonic == ZYDIS_MNEMONIC_MOVZX)
        op = i->size1 == 1 ? 0x0fb6 : 0x0fb7;
    else if (i->mnemonic == ZYDIS_MNEMONIC_MOVSX)
        op = i->size1 == 1 ? 0x0fbe : 0x0fbf;
    else if (i->mnemonic == ZYDIS_MNEMONIC_MOVSXD && i->size1 == 4)
        op = 0x63;
    else
        return false;
    if (!lower_first(i, &a) ||
        (i->form == FORM_RR && !lower_second(i, &b)))
        return false;
    if (i->form == FORM_RM && !lower_operand(l, i->size1, false))
        return false;
    unsigned h = i->size < 4 ? lower_get(l, a, H_SCRATCH_C)
                             : lower_target(l, a, H_SCRATCH_C);
    struct rm from = i->form == FORM_RM ? l->mem : lower_register(l, b);
    emit_op(l->e, i->size, op, h, from, i->size1, 0);
    lower_put(l, a, h);
    return true;
}

static bool lower_lea(struct lower *l)
{
    unsigned g;
    if (l->i->mnemonic != ZYDIS_MNEMONIC_LEA || !lower_first(l->i, &g) ||
        !lower_can_address(l))
        return false;
    unsigned size = l->i->size;
    unsigned address = l->is64 && l->i->addr == 8 ? 8 : l->i->addr == 2 ? 2 : 4;
    unsigned h = size < 4 ? lower_get(l, g, H_SCRATCH_C)
                          : lower_target(l, g, H_SCRATCH_C);
    if (address > 2 && size >= 4) {
        lower_effective_to(l, h, size < address ? size : address);
    } else {
        lower_effective(l);
        emit_mov_rr(l->e, size, h, H_SCRATCH_A);
    }
    lower_put(l, g, h);
    return true;
}

static bool lower_xchg(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned a, b;
    if (i->mnemonic != ZYDIS_MNEMONIC_XCHG)
        return false;
    if (i->form == FORM_RR) {
        if (!lower_first(i, &a) || !lower_second(i, &b) || i->size == 1)
            return false;
        unsigned ha = lower_get(l, a, H_SCRATCH_C);
        unsigned hb = lower_get(l, b, H_SCRATCH_B);
        emit_mov_rr(l->e, i->size, H_SCRATCH_A, ha);
        emit_mov_rr(l->e, i->size, ha, hb);
        emit_mov_rr(l->e, i->size, hb, H_SCRATCH_A);
        lower_put(l, a, ha);
        lower_put(l, b, hb);
        return true;
    }
    if (!(i->form == FORM_RM ? lower_first(i, &a) : lower_second(i, &a)) ||
        !lower_operand(l, i->size, true))
        return false;
    unsigned h = lower_get(l, a, H_SCRATCH_C);
    emit_load(l->e, i->size, H_SCRATCH_B, l->mem);
    emit_store(l->e, i->size, l->mem, h);
    emit_mov_rr(l->e, i->size, h, H_SCRATCH_B);
    lower_put(l, a, h);
    return true;
}

static bool lower_bswap(struct lower *l)
{
    if (l->i->mnemonic != ZYDIS_MNEMONIC_BSWAP || l->i->size < 4)
        return false;
    unsigned h = lower_get(l, l->i->dst, H_SCRATCH_C);
    unsigned rex = (l->i->size == 8 ? 8u : 0u) | (h >= 8 ? 1u : 0u);
    if (rex)
        emit_u8(l->e, 0x40 | rex);
    emit_u8(l->e, 0x0f);
    emit_u8(l->e, 0xc8 + (h & 7));
    lower_put(l, l->i->dst, h);
    return true;
}

/* CBW's family: sign extension inside rAX or into rDX. */
static bool lower_extend(struct lower *l)
{
    unsigned a = jit_host_of[REG_RAX], d = jit_host_of[REG_RDX];
    struct emit *e = l->e;
    switch (l->i->mnemonic) {
    case ZYDIS_MNEMONIC_CBW:
        emit_op(e, 2, 0x0fbe, a, rm_reg(a), 1, 0);
        return true;
    case ZYDIS_MNEMONIC_CWDE:
        emit_op(e, 4, 0x0fbf, a, rm_reg(a), 2, 0);
        return true;
    case ZYDIS_MNEMONIC_CDQE:
        emit_op(e, 8, 0x63, a, rm_reg(a), 4, 0);
        return true;
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO: {
        /* SAR clobbers host flags: keep the guest's. */
        unsigned size = l->i->mnemonic == ZYDIS_MNEMONIC_CWD   ? 2
                        : l->i->mnemonic == ZYDIS_MNEMONIC_CDQ ? 4
                                                               : 8;
        lower_save_flags(l);
        emit_mov_rr(e, size, d, a);
        emit_op(e, size, 0xc1, 7, rm_reg(d), size, 1);
        emit_u8(e, size * 8 - 1);
        lower_flags_clobbered(l);
        return true;
    }
    default:
        return false;
    }
}

/* ---- conditions ------------------------------------------------------------------------------ */

static bool lower_setcc(struct lower *l, unsigned code)
{
    unsigned g;
    if (l->i->form == FORM_M) {
        if (!lower_operand(l, 1, true))
            return false;
        lower_restore_flags(l);
        emit_op(l->e, 1, 0x0f90 | code, 0, l->mem, 1, 0);
        return true;
    }
    if (!lower_first(l->i, &g))
        return false;
    unsigned h = lower_get(l, g, H_SCRATCH_C);
    lower_restore_flags(l);
    emit_op(l->e, 1, 0x0f90 | code, 0, rm_reg(h), 1, 0);
    lower_put(l, g, h);
    return true;
}

static bool lower_cmov(struct lower *l, unsigned code)
{
    const struct insn *i = l->i;
    unsigned a, b = 0;
    if (!lower_first(i, &a) || (i->form == FORM_RR && !lower_second(i, &b)))
        return false;
    if (i->form == FORM_RM && !lower_operand(l, i->size, false))
        return false;
    struct rm from = i->form == FORM_RM ? l->mem : lower_register(l, b);
    unsigned h = lower_get(l, a, H_SCRATCH_C);
    lower_restore_flags(l);
    emit_op(l->e, i->size, 0x0f40 | code, h, from, i->size, 0);
    lower_put(l, a, h);
    return true;
}

static bool lower_conditional(struct lower *l)
{
    for (unsigned code = 0; code < 16; code++) {
        if (l->i->mnemonic == jit_set_codes[code])
            return lower_setcc(l, code);
        if (l->i->mnemonic == jit_cmov_codes[code])
            return lower_cmov(l, code);
    }
    return false;
}

/* ---- stack ---------------------------------------------------------------------------------- */

void lower_move_sp(struct lower *l, int32_t by)
{
    unsigned sp = jit_host_of[REG_RSP];
    emit_op(l->e, lower_sp_bytes(l), 0x8d, sp, rm_base(sp, by), 8, 0);
}

static bool lower_push(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned n = i->opsize;
    uint64_t *kept = &l->j->cpu->jit_target;
    if (i->mnemonic != ZYDIS_MNEMONIC_PUSH || !lower_is_usual(l, n) ||
        (i->classes & 15) == REG_CLASS_SEGMENT)
        return false;
    if (i->form == FORM_M) { /* looking up the stack takes all scratch */
        if (!lower_operand(l, n, false))
            return false;
        emit_load(l->e, n, H_SCRATCH_B, l->mem);
        emit_store(l->e, 8, rm_abs(kept), H_SCRATCH_B);
    }
    lower_push_address(l, n);
    if (i->form == FORM_M) {
        emit_load(l->e, 8, H_SCRATCH_B, rm_abs(kept));
        emit_store(l->e, n, l->mem, H_SCRATCH_B);
    } else if (i->form == FORM_R) {
        emit_store(l->e, n, l->mem,
                   lower_get(l, i->dst, H_SCRATCH_C));
    } else {
        emit_op(l->e, n, 0xc7, 0, l->mem, n, lower_immediate_bytes(n));
        lower_immediate(l->e, n, i->imm);
    }
    lower_move_sp(l, -(int32_t)n);
    return true;
}

static bool lower_pop(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned n = i->opsize;
    if (i->mnemonic != ZYDIS_MNEMONIC_POP || !lower_is_usual(l, n) ||
        i->form != FORM_R || (i->classes & 15) == REG_CLASS_SEGMENT)
        return false;
    lower_pop_address(l, n, REG_RSP);
    unsigned h = lower_target(l, i->dst, H_SCRATCH_B);
    emit_load(l->e, n, h, l->mem);
    if (i->dst != REG_RSP)
        lower_move_sp(l, (int32_t)n);
    lower_put(l, i->dst, h);
    return true;
}

static bool lower_leave_frame(struct lower *l)
{
    unsigned n = l->i->opsize, bp = jit_host_of[REG_RBP];
    if (l->i->mnemonic != ZYDIS_MNEMONIC_LEAVE || !lower_is_usual(l, n))
        return false;
    lower_pop_address(l, n, REG_RBP);
    emit_op(l->e, lower_sp_bytes(l), 0x8d, jit_host_of[REG_RSP],
            rm_base(bp, (int32_t)n), 8, 0);
    emit_load(l->e, n, bp, l->mem);
    return true;
}

bool lower_int(struct lower *l)
{
    static rule_fn *const rules[] = {
        lower_mov,    lower_alu,    lower_lea,         lower_widen,
        lower_unary,  lower_push,   lower_pop,         lower_conditional,
        lower_extend, lower_xchg,   lower_bswap,       lower_leave_frame};
    for (size_t n = 0; n < sizeof rules / sizeof rules[0]; n++)
        if (rules[n](l))
            return true;
    return false;
}
