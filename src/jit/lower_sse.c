/* Rules for SSE and MMX instructions: the same host instruction on the same
 * registers, which the host holds (jit/lower_units.c). Handlers in tier 0 run
 * that instruction too, so results and MXCSR agree on every host. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum shape {
    SHAPE_NONE,
    SHAPE_OP,            /* vector, vector/memory */
    SHAPE_FLAGS,         /* the same, result in the arithmetic flags */
    SHAPE_MOVE,          /* vector, vector/memory; memory, vector */
    SHAPE_LOW,           /* MOVD, MOVQ */
    SHAPE_SHIFT,         /* vector, vector/memory/imm8 */
    SHAPE_FROM_GENERAL,  /* vector, general/memory */
    SHAPE_TO_GENERAL,    /* general, vector/memory */
    SHAPE_EXTRACT,       /* general/memory, vector, imm8 */
    SHAPE_STRING,        /* PCMPxSTRx */
    SHAPE_LOAD_MXCSR,
    SHAPE_STORE_MXCSR,
    SHAPE_STORE_GENERAL, /* memory, general */
    SHAPE_COUNT,         /* POPCNT */
    SHAPE_CRC            /* CRC32 */
};

enum {
    LOOSE = 0x80, /* no alignment needed */
    MXCSR_MASKS = 0x1f80
};

struct row {
    uint8_t shape, prefix, bytes, mmx;
    uint8_t imm;
    uint32_t op, extra;
};

#define SSE(mnemonic, shape_, prefix_, op_, extra_, bytes_, mmx_, imm_)        \
    [ZYDIS_MNEMONIC_##mnemonic] = {SHAPE_##shape_, prefix_, bytes_, mmx_,      \
                                   imm_,           op_,     extra_},
static const struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "jit/lower_sse.def"
};
#undef SSE

static bool is_mmx(const struct insn *i)
{
    return i->third & 0x80;
}

/* Operand n: an XMM register, or MMX in the MMX form? */
static bool is_vector(const struct insn *i, unsigned n)
{
    return (i->classes >> (4 * n) & 15) ==
           (is_mmx(i) ? REG_CLASS_MMX : REG_CLASS_XMM);
}

static bool is_general(const struct insn *i, unsigned n)
{
    return (i->classes >> (4 * n) & 15) == REG_CLASS_GENERAL;
}

static unsigned memory_bytes(const struct lower *l, const struct row *row)
{
    return (is_mmx(l->i) ? row->mmx : row->bytes) & (unsigned)~LOOSE;
}

/* size 8: with REX.W. */
static void emit_vector(struct lower *l, const struct row *row, unsigned size,
                        uint32_t op, unsigned reg, struct rm rm,
                        unsigned imm_bytes)
{
    if (row->prefix && !is_mmx(l->i))
        emit_u8(l->e, row->prefix);
    emit_op(l->e, size, op, reg, rm, 16, imm_bytes);
}

static void emit_immediate(struct lower *l, const struct row *row)
{
    if (row->imm)
        emit_u8(l->e, l->i->imm & row->imm);
}

/* Has an access of the same group shown that this one is aligned? If not it will
 * have. */
static bool is_known_aligned(struct lower *l)
{
    const struct plan_access *a = lower_planned(l);
    if (!a || a->group == PLAN_NONE ||
        l->plan->group[a->group].slot == PLAN_NONE)
        return false;
    uint8_t *known = &l->aligned[l->plan->group[a->group].slot];
    uint8_t this = (uint8_t)((a->offset & 15) + 1);
    bool is_known = *known == this;
    *known = this;
    return is_known;
}

/* A page has the same offset on both sides, so the low bits of l->mem are those
 * of its base and displacement. */
static void check_aligned(struct lower *l)
{
    unsigned reg = l->mem.reg;
    if (is_known_aligned(l))
        return;
    lower_save_flags(l);
    if (l->mem.disp & 15) {
        emit_op(l->e, 4, 0x8d, H_SCRATCH_B, rm_base(reg, l->mem.disp), 8, 0);
        reg = H_SCRATCH_B;
    }
    emit_op(l->e, 1, 0xf6, 0, rm_reg(reg), 1, 1); /* test */
    emit_u8(l->e, 15);
    lower_cold(l, emit_jump(l->e, 5));
    lower_flags_clobbered(l);
}

/* The memory operand as the host addresses it. */
static struct rm memory(struct lower *l, const struct row *row, bool write)
{
    unsigned bytes = memory_bytes(l, row);
    (void)lower_operand(l, bytes, write);
    if (bytes == 16 && !(row->bytes & LOOSE))
        check_aligned(l);
    return l->mem;
}

static void need_vector(struct lower *l)
{
    lower_need(l, is_mmx(l->i) ? UNIT_X87 : UNIT_SIMD);
}

/* vector, vector/memory: can it be done? Then the second operand. */
static bool second(struct lower *l, const struct row *row, struct rm *rm)
{
    const struct insn *i = l->i;
    if (!row->op || (i->form != FORM_RR && i->form != FORM_RM) ||
        (i->form == FORM_RR && !is_vector(i, 1)) ||
        (i->form == FORM_RM && !lower_can_address(l)))
        return false;
    need_vector(l);
    *rm = i->form == FORM_RR ? rm_reg(i->src) : memory(l, row, false);
    return true;
}

static bool operate(struct lower *l, const struct row *row)
{
    struct rm rm;
    if (!is_vector(l->i, 0) || !second(l, row, &rm))
        return false;
    emit_vector(l, row, 4, row->op, l->i->dst, rm, row->imm != 0);
    emit_immediate(l, row);
    if (row->shape == SHAPE_FLAGS)
        lower_flags_written(l, FIX_NONE);
    return true;
}

static bool move(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    if (i->form != FORM_MR)
        return operate(l, row);
    if (!row->extra || !is_vector(i, 1) || !lower_can_address(l))
        return false;
    need_vector(l);
    struct rm rm = memory(l, row, true);
    emit_vector(l, row, 4, row->extra, i->src, rm, 0);
    return true;
}

/* MOVD, MOVQ. Those between a vector and a general register or memory share
 * their opcodes; MOVQ between vectors and to memory has its own. */
static bool move_low(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    unsigned size = row->bytes;
    if ((i->form != FORM_RR && !lower_can_address(l)) ||
        (i->form != FORM_RR && i->form != FORM_RM && i->form != FORM_MR))
        return false;
    need_vector(l);
    if (i->form == FORM_RM) {
        emit_vector(l, row, size, row->op, i->dst, memory(l, row, false), 0);
    } else if (i->form == FORM_MR) {
        emit_vector(l, row, size, row->extra, i->src, memory(l, row, true), 0);
    } else if (is_general(i, 0)) {
        unsigned h = lower_target(l, i->dst, H_SCRATCH_B);
        emit_vector(l, row, size, row->extra, i->src, rm_reg(h), 0);
        lower_put(l, i->dst, h);
    } else if (is_general(i, 1)) {
        unsigned h = lower_get(l, i->src, H_SCRATCH_B);
        emit_vector(l, row, size, row->op, i->dst, rm_reg(h), 0);
    } else if (is_mmx(i)) {
        emit_op(l->e, 4, 0x0f6f, i->dst, rm_reg(i->src), 16, 0);
    } else {
        emit_u8(l->e, 0xf3);
        emit_op(l->e, 4, 0x0f7e, i->dst, rm_reg(i->src), 16, 0);
    }
    return true;
}

static bool shift(struct lower *l, const struct row *row)
{
    if (l->i->form != FORM_RI)
        return operate(l, row);
    need_vector(l);
    emit_vector(l, row, 4, row->extra & 0xffff, row->extra >> 16,
                rm_reg(l->i->dst), 1);
    emit_u8(l->e, l->i->imm & 0xff);
    return true;
}

/* CVTSI2SS, CVTSI2SD, PINSRx. */
static bool from_general(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    bool is_memory = i->form == FORM_RM;
    unsigned bytes = row->bytes ? memory_bytes(l, row) : i->size1;
    if (!is_vector(i, 0) || (!is_memory && i->form != FORM_RR) ||
        (is_memory ? !lower_can_address(l) : !is_general(i, 1)))
        return false;
    need_vector(l);
    if (is_memory)
        (void)lower_operand(l, bytes, false);
    struct rm rm = is_memory ? l->mem
                             : rm_reg(lower_get(l, i->src, H_SCRATCH_B));
    emit_vector(l, row, bytes == 8 ? 8 : 4, row->op, i->dst, rm, row->imm != 0);
    emit_immediate(l, row);
    return true;
}

/* CVTxSx2SI, MOVMSKx, PMOVMSKB. */
static bool to_general(struct lower *l, const struct row *row)
{
    struct rm rm;
    if (!is_general(l->i, 0) || !second(l, row, &rm))
        return false;
    unsigned h = lower_target(l, l->i->dst, H_SCRATCH_B);
    bool is_wide = row->bytes && l->i->size == 8;
    emit_vector(l, row, is_wide ? 8 : 4, row->op, h, rm, 0);
    lower_put(l, l->i->dst, h);
    return true;
}

static bool extract(struct lower *l, const struct row *row)
{
    const struct insn *i = l->i;
    unsigned size = row->bytes == 8 ? 8 : 4;
    bool is_memory = i->form == FORM_MR;
    if (!is_vector(i, 1) || (!is_memory && i->form != FORM_RR) ||
        (is_memory && !lower_can_address(l)))
        return false;
    need_vector(l);
    if (is_memory) {
        emit_vector(l, row, size, row->op, i->src, memory(l, row, true), 1);
        emit_immediate(l, row);
        return true;
    }
    unsigned h = lower_target(l, i->dst, H_SCRATCH_B);
    if (is_mmx(i)) /* PEXTRW r32, mm */
        emit_op(l->e, 4, 0x0fc5, h, rm_reg(i->src), 4, 1);
    else
        emit_vector(l, row, size, row->op, i->src, rm_reg(h), 1);
    emit_immediate(l, row);
    lower_put(l, i->dst, h);
    return true;
}

/* The host's rAX and rDX take the lengths, its RCX gives the index. All
 * arithmetic flags are written: what AX holds may be lost. */
static bool strings(struct lower *l, const struct row *row)
{
    bool is_explicit = !(row->op & 2), is_index = row->op & 1;
    struct rm rm;
    if (!is_vector(l->i, 0) || !second(l, row, &rm))
        return false;
    if (is_explicit) {
        emit_mov_rr(l->e, 8, H_RAX, jit_host_of[REG_RAX]);
        emit_mov_rr(l->e, 8, H_RDX, jit_host_of[REG_RDX]);
    }
    emit_vector(l, row, is_explicit && l->i->opsize == 8 ? 8 : 4, row->op,
                l->i->dst, rm, 1);
    emit_immediate(l, row);
    if (is_index)
        emit_mov_rr(l->e, 4, jit_host_of[REG_RCX], H_RCX);
    lower_flags_written(l, FIX_NONE);
    return true;
}

/* A value with reserved bits faults, one that unmasks an exception ends what
 * the host can do for the guest: both are the handler's. */
static bool load_mxcsr(struct lower *l, const struct row *row)
{
    struct emit *e = l->e;
    if (l->i->form != FORM_M || !lower_can_address(l))
        return false;
    lower_need(l, UNIT_SIMD);
    struct rm rm = memory(l, row, false);
    lower_save_flags(l);
    emit_load(e, 4, H_SCRATCH_B, rm);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), ~0xe07f); /* and */
    emit_alu_ri(e, 4, 7, rm_reg(H_SCRATCH_B), MXCSR_MASKS);
    lower_cold(l, emit_jump(e, 5));
    lower_flags_clobbered(l);
    emit_op(e, 4, row->op, row->extra, rm, 4, 0);
    return true;
}

static bool store_mxcsr(struct lower *l, const struct row *row)
{
    if (l->i->form != FORM_M || !lower_can_address(l))
        return false;
    lower_need(l, UNIT_SIMD);
    emit_op(l->e, 4, row->op, row->extra, memory(l, row, true), 4, 0);
    return true;
}

static bool store_general(struct lower *l)
{
    const struct insn *i = l->i;
    if (i->form != FORM_MR || !lower_operand(l, i->size, true))
        return false;
    emit_store(l->e, i->size, l->mem,
               lower_get(l, i->src, H_SCRATCH_B));
    return true;
}

/* r, r/m of general registers: POPCNT, CRC32. AH..BH have no rule. */
static bool general(struct lower *l, const struct row *row, unsigned size,
                    unsigned op)
{
    const struct insn *i = l->i;
    bool is_memory = i->form == FORM_RM, is_byte = i->size1 == 1;
    if (!is_general(i, 0) || (!is_memory && i->form != FORM_RR) ||
        (!is_memory && is_byte && (i->src & 7)) ||
        (is_memory && !lower_operand(l, i->size1, false)))
        return false;
    struct rm rm = l->mem;
    if (!is_memory)
        rm = rm_reg(
            lower_get(l, is_byte ? i->src >> 3 : i->src, H_SCRATCH_B));
    unsigned h = lower_get(l, i->dst, H_SCRATCH_C);
    emit_u8(l->e, row->prefix);
    emit_op(l->e, size, op, h, rm, i->size1, 0);
    lower_put(l, i->dst, h);
    return true;
}

static bool lower_row(struct lower *l, const struct row *row)
{
    switch (row->shape) {
    case SHAPE_OP:
    case SHAPE_FLAGS:
        return operate(l, row);
    case SHAPE_MOVE:
        return move(l, row);
    case SHAPE_LOW:
        return move_low(l, row);
    case SHAPE_SHIFT:
        return shift(l, row);
    case SHAPE_FROM_GENERAL:
        return from_general(l, row);
    case SHAPE_TO_GENERAL:
        return to_general(l, row);
    case SHAPE_EXTRACT:
        return extract(l, row);
    case SHAPE_STRING:
        return strings(l, row);
    case SHAPE_LOAD_MXCSR:
        return load_mxcsr(l, row);
    case SHAPE_STORE_MXCSR:
        return store_mxcsr(l, row);
    case SHAPE_STORE_GENERAL:
        return store_general(l);
    case SHAPE_COUNT:
        if (!general(l, row, l->i->size, row->op))
            return false;
        lower_flags_written(l, FIX_NONE);
        return true;
    case SHAPE_CRC:
        return general(l, row, l->i->size1 == 1 ? 4 : l->i->size1,
                       row->op - (l->i->size1 == 1));
    default:
        return false;
    }
}

/* Has the instruction a row for its registers? String MOVSD and CMPSD have none;
 * nor have instructions with one MMX and one XMM register. */
static const struct row *row_of(const struct insn *i)
{
    const struct row *row = &rows[i->mnemonic];
    bool is_vectorless = row->shape >= SHAPE_LOAD_MXCSR;
    if (row->shape == SHAPE_NONE || (i->form == FORM_NONE && !is_vectorless) ||
        (is_mmx(i) && !row->mmx))
        return NULL;
    return row;
}

unsigned lower_sse_unit(const struct insn *i)
{
    const struct row *row = row_of(i);
    if (!row || row->shape >= SHAPE_STORE_GENERAL)
        return 0;
    return is_mmx(i) ? UNIT_X87 : UNIT_SIMD;
}

bool lower_sse(struct lower *l)
{
    const struct row *row = row_of(l->i);
    return row && lower_row(l, row);
}

/* ---- for tier 2 ----------------------------------------------------------------- */

/* Operands: memory, XMM and, where `general` says so, a general register. */
static bool describe(const struct insn *i, const struct row *row, bool general,
                     struct lower_vector *v)
{
    v->is_memory = i->form == FORM_RM || i->form == FORM_MR;
    v->is_store = i->form == FORM_MR;
    v->is_general = general && i->form == FORM_RR;
    v->reg = v->is_store ? i->src : i->dst;
    v->rm = i->src;
    if (i->form == FORM_RI) {
        v->reg = (uint8_t)(row->extra >> 16);
        v->rm = i->dst;
        return row->shape == SHAPE_SHIFT && is_vector(i, 0);
    }
    if (!v->is_memory && i->form != FORM_RR)
        return false;
    return is_vector(i, v->is_store) &&
           (v->is_memory || (general ? is_general(i, 1) : is_vector(i, 1)));
}

/* Between a general register, which is written, and the other operand. */
static bool describe_value(const struct insn *i, const struct row *row,
                           struct lower_vector *v)
{
    bool is_extract = row->shape == SHAPE_EXTRACT;
    v->is_value = true;
    v->value = i->dst;
    v->is_value_rm = row->shape != SHAPE_TO_GENERAL;
    v->is_memory = i->form == FORM_RM;
    v->reg = v->rm = i->src;
    if (is_extract && i->form == FORM_MR) {
        v->is_value = v->is_value_rm = false;
        v->is_memory = v->is_store = true;
        return is_vector(i, 1);
    }
    if (!is_general(i, 0))
        return false;
    if (v->is_value_rm || i->form == FORM_RR)
        return i->form == FORM_RR && is_vector(i, 1);
    return v->is_memory;
}

/* MOVD and MOVQ between registers. */
static bool describe_low(const struct insn *i, const struct row *row,
                         struct lower_vector *v)
{
    if (is_general(i, 0)) {
        v->op = row->extra;
        return describe_value(i, row, v);
    }
    v->reg = i->dst;
    v->rm = i->src;
    v->is_general = is_general(i, 1);
    if (!v->is_general) {
        v->prefix = 0xf3;
        v->op = 0x0f7e;
        v->size = 4;
    }
    return true;
}

static uint32_t vector_op(const struct insn *i, const struct row *row)
{
    if (row->shape == SHAPE_EXTRACT)
        return row->op;
    if (i->form == FORM_MR)
        return row->extra;
    return i->form == FORM_RI ? row->extra & 0xffff : row->op;
}

static bool is_wide(const struct insn *i, const struct row *row)
{
    switch (row->shape) {
    case SHAPE_FROM_GENERAL:
        return row->bytes ? row->bytes == 8 : i->size1 == 8;
    case SHAPE_TO_GENERAL:
        return row->bytes && i->size == 8;
    case SHAPE_LOW:
    case SHAPE_EXTRACT:
        return row->bytes == 8;
    default:
        return false;
    }
}

bool lower_sse_vector(const struct insn *i, struct lower_vector *v)
{
    const struct row *row = row_of(i);
    if (!row || is_mmx(i))
        return false;
    unsigned bytes = row->bytes ? row->bytes & (unsigned)~LOOSE : i->size1;
    *v = (struct lower_vector){.op = vector_op(i, row),
                               .prefix = row->prefix,
                               .size = is_wide(i, row) ? 8 : 4,
                               .bytes = (uint8_t)bytes,
                               .has_imm = row->imm || i->form == FORM_RI};
    v->is_aligned = bytes == 16 && !(row->bytes & LOOSE);
    v->imm = (uint8_t)(i->imm & (row->imm ? row->imm : 0xff));
    switch (row->shape) {
    case SHAPE_FLAGS:
        v->sets_flags = true;
        return describe(i, row, false, v);
    case SHAPE_LOW:
        if (i->form == FORM_RR)
            return describe_low(i, row, v);
        return describe(i, row, false, v);
    case SHAPE_OP:
    case SHAPE_MOVE:
    case SHAPE_SHIFT:
        return describe(i, row, false, v) && v->op != 0;
    case SHAPE_FROM_GENERAL:
        return describe(i, row, true, v);
    case SHAPE_STORE_MXCSR:
        v->op = row->op;
        v->reg = (uint8_t)row->extra;
        v->is_memory = v->is_store = true;
        return i->form == FORM_M;
    case SHAPE_TO_GENERAL:
    case SHAPE_EXTRACT:
        return describe_value(i, row, v);
    default:
        return false;
    }
}
