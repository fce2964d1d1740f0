/* Rules for x87 instructions: the same host instruction on the host's unit, which
 * holds the guest's state (jit/lower_units.c). All exceptions are masked then. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum {
    FIXED = 1,        /* the plain form has no ST(i) to put in */
    STORES = 2,       /* the memory operand is written */
    WRITES_FLAGS = 4, /* ZF PF CF; OF SF AF are cleared */
    READS_FLAGS = 8,
    CONTROL = 16,     /* does not become the last instruction */
    NOTHING = 32,     /* no code at all */
    X87_MASKS = 0x3f
};

struct row {
    uint16_t plain, reversed;
    uint16_t memory[4]; /* by log2 of the operand's bytes, less 1; last: m80 */
    uint8_t flags;
    bool is_known;
};

#define X87(mnemonic, plain_, reversed_, m16, m32, m64, m80, flags_)           \
    [ZYDIS_MNEMONIC_##mnemonic] = {                                            \
        plain_, reversed_, {m16, m32, m64, m80}, flags_, true},
static const struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "jit/lower_x87.def"
};
#undef X87
_Static_assert((int)ZYDIS_MNEMONIC_MAX_VALUE < (int)JIT_MNEMONICS, "a bit for each");

static const struct row *row_of(const struct lower *l, const struct insn *i)
{
    const struct row *row = &rows[i->mnemonic];
    bool differs = l->j->x87_differs[i->mnemonic / 8] >> i->mnemonic % 8 & 1;
    return row->is_known && !differs ? row : NULL;
}

unsigned lower_x87_unit(const struct lower *l, const struct insn *i)
{
    return row_of(l, i) ? UNIT_X87 : 0;
}

bool lower_x87_knows(const struct insn *i, bool *stores)
{
    *stores = rows[i->mnemonic].flags & STORES;
    return rows[i->mnemonic].is_known;
}

static unsigned memory_bytes(const struct insn *i)
{
    return i->size == 2 || i->size == 4 || i->size == 8 ? i->size : 10;
}

static unsigned memory_op(const struct row *row, unsigned bytes)
{
    return row->memory[bytes == 2 ? 0 : bytes == 4 ? 1 : bytes == 8 ? 2 : 3];
}

/* The opcode of a form without memory; 0: none. */
static unsigned register_op(const struct row *row, const struct insn *i)
{
    if (row->flags & FIXED)
        return row->plain;
    if (i->form == FORM_RR && i->dst == 0 && row->plain)
        return row->plain + i->src;
    if (i->form == FORM_RR && i->src != 0)
        return 0;
    unsigned op = row->reversed ? row->reversed : row->plain;
    return op ? op + i->dst : 0;
}

unsigned lower_x87_opcode(const struct insn *i)
{
    const struct row *row = &rows[i->mnemonic];
    return row->is_known && i->form != FORM_M ? register_op(row, i) : 0;
}

/* What a control instruction leaves alone. */
static void note_last(struct lower *l)
{
    l->x87_at = (int32_t)l->offset;
}

static void note_operand(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    lower_effective(l);
    emit_store(l->e, 8, rm_abs(&c->x87.dp), H_SCRATCH_A);
    emit_op(l->e, 1, 0xc6, 0, rm_abs(&c->jit_x87_seg), 1, 1); /* mov */
    emit_u8(l->e, l->i->seg);
}

/* The operand is l->mem; a control word that unmasks an exception is the
 * handler's. */
static void check_control_word(struct lower *l)
{
    lower_save_flags(l);
    emit_op(l->e, 4, 0x0fb7, H_SCRATCH_B, l->mem, 2, 0); /* movzx */
    emit_alu_ri(l->e, 4, 4, rm_reg(H_SCRATCH_B), X87_MASKS);
    emit_alu_ri(l->e, 4, 7, rm_reg(H_SCRATCH_B), X87_MASKS);
    lower_cold(l, emit_jump(l->e, 5));
    lower_flags_clobbered(l);
}

static bool memory_form(struct lower *l, const struct row *row)
{
    unsigned bytes = memory_bytes(l->i), op = memory_op(row, bytes);
    if (!op || !lower_can_address(l))
        return false;
    lower_need(l, UNIT_X87);
    (void)lower_operand(l, bytes, row->flags & STORES);
    if (l->i->mnemonic == ZYDIS_MNEMONIC_FLDCW)
        check_control_word(l);
    emit_op(l->e, 4, op >> 8, op >> 3 & 7, l->mem, 8, 0);
    if (row->flags & CONTROL)
        return true;
    note_operand(l);
    note_last(l);
    return true;
}

static bool register_form(struct lower *l, const struct row *row)
{
    unsigned op = register_op(row, l->i);
    if (!op && !(row->flags & NOTHING))
        return false;
    lower_need(l, UNIT_X87);
    if (row->flags & READS_FLAGS)
        lower_restore_flags(l);
    if (op) {
        emit_u8(l->e, op >> 8);
        emit_u8(l->e, op & 0xff);
    }
    if (row->flags & WRITES_FLAGS)
        lower_flags_written(l, FIX_NONE);
    if (!(row->flags & CONTROL))
        note_last(l);
    return true;
}

/* FNSTSW AX: the host's AX holds flags. */
static bool status_to_ax(struct lower *l)
{
    unsigned ax = jit_host_of[REG_RAX];
    lower_need(l, UNIT_X87);
    if (l->flags != FLAGS_HOST)
        emit_mov_rr(l->e, 4, H_SCRATCH_B, H_RAX);
    emit_u8(l->e, 0xdf);
    emit_u8(l->e, 0xe0);
    emit_mov_rr(l->e, 2, ax, H_RAX);
    if (l->flags != FLAGS_HOST)
        emit_mov_rr(l->e, 4, H_RAX, H_SCRATCH_B);
    return true;
}

/* SAHF and LAHF, by which older code reads comparisons. AX has the flags as both
 * know them in AH, OF in AL. */
static bool flags_and_ah(struct lower *l)
{
    struct emit *e = l->e;
    unsigned ax = jit_host_of[REG_RAX];
    bool is_store = l->i->mnemonic == ZYDIS_MNEMONIC_SAHF;
    if (!is_store && l->i->mnemonic != ZYDIS_MNEMONIC_LAHF)
        return false;
    lower_save_flags(l);
    emit_mov_rr(e, 4, H_SCRATCH_B, is_store ? ax : H_RAX);
    if (is_store) {
        emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), 0xd500); /* and */
        emit_alu_ri(e, 4, 1, rm_reg(H_SCRATCH_B), 0x200);  /* or */
        emit_op(e, 4, 0x0fb6, H_RAX, rm_reg(H_RAX), 1, 0); /* movzx */
        emit_alu_rr(e, 4, 1, H_RAX, H_SCRATCH_B);
    } else {
        emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), 0xff00);
        emit_alu_ri(e, 8, 4, rm_reg(ax), ~0xff00);
        emit_alu_rr(e, 8, 1, ax, H_SCRATCH_B);
    }
    lower_flags_clobbered(l);
    return true;
}

bool lower_x87(struct lower *l)
{
    const struct insn *i = l->i;
    const struct row *row = row_of(l, i);
    if (!row)
        return flags_and_ah(l);
    if (i->form == FORM_M)
        return memory_form(l, row);
    if (i->mnemonic == ZYDIS_MNEMONIC_FNSTSW)
        return status_to_ax(l);
    return register_form(l, row);
}
