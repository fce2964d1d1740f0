/* Segments: from offsets to linear addresses, and rules for segment registers.
 * Loads have one in real mode alone, where they change a base and nothing that
 * compiled 16-bit code takes for granted. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

enum {
    REAL_ATTR = 0x93 /* of every segment that real mode loaded */
};

/* ---- addresses ------------------------------------------------------------ */

void lower_segment16(struct lower *l, unsigned seg, unsigned at, unsigned bytes,
                     unsigned scratch)
{
    struct emit *e = l->e;
    struct cpu *c = l->j->cpu;
    unsigned last = bytes == 1 ? at : scratch;
    if (bytes != 1)
        emit_op(e, 8, 0x8d, last, rm_base(at, (int32_t)bytes - 1), 8, 0);
    emit_op(e, 8, 0x3b, last, rm_abs(&c->ea_end[seg]), 8, 0);
    lower_cold(l, emit_jump(e, 3)); /* jae */
    emit_op(e, 4, 0x03, at, rm_abs(&c->ea_base[seg]), 8, 0);
}

void lower_segment(struct lower *l, unsigned bytes)
{
    const struct insn *i = l->i;
    struct cpu *c = l->j->cpu;
    if (l->is16) {
        lower_segment16(l, i->seg, H_SCRATCH_A, bytes, H_SCRATCH_B);
        return;
    }
    if (i->seg < SEG_FS && (l->is64 || i->seg != SEG_CS))
        return; /* flat, base 0 */
    if (!l->is64) { /* code segments are not writable, some not readable */
        emit_alu_ri(l->e, 1, 7, rm_abs(&c->ea_flat[i->seg]), 0);
        lower_cold(l, emit_jump(l->e, 4));
    }
    emit_op(l->e, l->is64 ? 8 : 4, 0x03, H_SCRATCH_A,
            rm_abs(&c->ea_base[i->seg]), 8, 0);
}

/* ---- segment registers ---------------------------------------------------- */

static bool is_segment(const struct insn *i, unsigned operand)
{
    return (i->classes >> (4 * operand) & 15) == REG_CLASS_SEGMENT;
}

/* MOV r/m, Sreg. */
static bool mov_from_segment(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned g;
    if (i->mnemonic != ZYDIS_MNEMONIC_MOV || !is_segment(i, 1) ||
        i->src >= SEG_COUNT)
        return false;
    struct rm selector = rm_abs(&l->j->cpu->seg[i->src].selector);
    if (i->form == FORM_MR) {
        if (!lower_operand(l, 2, true))
            return false;
        emit_op(l->e, 4, 0x0fb7, H_SCRATCH_B, selector, 2, 0); /* movzx */
        emit_store(l->e, 2, l->mem, H_SCRATCH_B);
        return true;
    }
    if (!lower_first(i, &g))
        return false;
    unsigned h = i->size < 4 ? lower_get(l, g, H_SCRATCH_C)
                             : lower_target(l, g, H_SCRATCH_C);
    if (i->size < 4)
        emit_load(l->e, 2, h, selector);
    else
        emit_op(l->e, 4, 0x0fb7, h, selector, 2, 0);
    lower_put(l, g, h);
    return true;
}

/* Real mode, and a segment whose limit and kind a load leaves alone. Flags are
 * SAVED. */
static void check_real(struct lower *l, unsigned seg)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    emit_op(e, 1, 0xf6, 0, rm_abs(&c->cr0), 1, 1); /* test */
    emit_u8(e, CR0_PE);
    lower_cold(l, emit_jump(e, 5));
    emit_alu_ri(e, 1, 7, rm_abs(&c->seg[seg].attr), REAL_ATTR);
    lower_cold(l, emit_jump(e, 5));
    lower_flags_clobbered(l);
}

/* The selector in H_SCRATCH_B becomes that of the segment, and its base. */
static void set_real(struct lower *l, unsigned seg)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    emit_store(e, 2, rm_abs(&c->seg[seg].selector), H_SCRATCH_B);
    emit_op(e, 4, 0xc1, 4, rm_reg(H_SCRATCH_B), 4, 1); /* shl */
    emit_u8(e, 4);
    emit_store(e, 8, rm_abs(&c->seg[seg].base), H_SCRATCH_B);
    emit_store(e, 8, rm_abs(&c->ea_base[seg]), H_SCRATCH_B);
}

static bool is_loaded(const struct lower *l)
{
    const struct insn *i = l->i;
    return l->is16 && is_segment(i, 0) && i->dst < SEG_COUNT &&
           i->dst != SEG_CS && i->dst != SEG_SS;
}

/* MOV Sreg, r/m. */
static bool mov_to_segment(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned g = 0;
    if (i->mnemonic != ZYDIS_MNEMONIC_MOV || !is_loaded(l) ||
        (i->form != FORM_RM && !lower_second(i, &g)))
        return false;
    lower_save_flags(l);
    check_real(l, i->dst);
    if (i->form == FORM_RM && !lower_operand(l, 2, false))
        return false;
    struct rm from = i->form == FORM_RM
                         ? l->mem
                         : rm_reg(lower_get(l, g, H_SCRATCH_B));
    emit_op(l->e, 4, 0x0fb7, H_SCRATCH_B, from, 2, 0); /* movzx */
    set_real(l, i->dst);
    return true;
}

/* Outside 64-bit code it stores two bytes, whatever the size of the slot is. */
static bool push_segment(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned n = i->opsize;
    if (i->mnemonic != ZYDIS_MNEMONIC_PUSH || !is_segment(i, 0) ||
        !lower_is_usual(l, n))
        return false;
    lower_push_address(l, n);
    emit_op(l->e, 4, 0x0fb7, H_SCRATCH_B,
            rm_abs(&l->j->cpu->seg[i->dst].selector), 2, 0); /* movzx */
    emit_store(l->e, n == 8 ? 8 : 2, l->mem, H_SCRATCH_B);
    lower_move_sp(l, -(int32_t)n);
    return true;
}

static bool pop_segment(struct lower *l)
{
    const struct insn *i = l->i;
    if (i->mnemonic != ZYDIS_MNEMONIC_POP || !is_loaded(l))
        return false;
    lower_save_flags(l);
    check_real(l, i->dst);
    lower_pop_address(l, 2, REG_RSP);
    emit_op(l->e, 4, 0x0fb7, H_SCRATCH_B, l->mem, 2, 0); /* movzx */
    lower_move_sp(l, i->opsize);
    set_real(l, i->dst);
    return true;
}

bool lower_segment_register(struct lower *l)
{
    return mov_from_segment(l) || mov_to_segment(l) || push_segment(l) ||
           pop_segment(l);
}
