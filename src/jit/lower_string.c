/* Rules for string instructions: one element, or a repetition that stays inside
 * a page and the tick budget, by the host's own instruction. All else (DF = 1,
 * long runs, faults) is the handler's. */
#include "jit/lower.h"

#include "cpu/op_int.h"

#include <stddef.h>

enum {
    OP_MOVS = 0xa5, /* of wide elements; one less for bytes */
    OP_CMPS = 0xa7,
    OP_STOS = 0xab,
    OP_LODS = 0xad,
    OP_SCAS = 0xaf,
    COMPARE_MOST = 64 /* elements; beyond, the handler's search is faster */
};

struct string {
    unsigned op;
    bool reads_si, reads_di, writes_di;
};

static bool string_of(const struct insn *i, struct string *s)
{
    const struct {
        insn_fn *fn;
        struct string s;
    } rows[] = {{op_movs, {OP_MOVS, true, false, true}},
                {op_cmps, {OP_CMPS, true, true, false}},
                {op_stos, {OP_STOS, false, false, true}},
                {op_lods, {OP_LODS, true, false, false}},
                {op_scas, {OP_SCAS, false, true, false}}};
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        if (i->fn != rows[n].fn)
            continue;
        *s = rows[n].s;
        return true;
    }
    return false;
}

static unsigned scale_of(const struct insn *i)
{
    return (unsigned)__builtin_ctz(i->opsize);
}

static unsigned address_size(const struct lower *l)
{
    return l->is64 ? 8 : 4;
}

/* The TLB entry for [reg, reg + bytes of rcx or one element) into H_SCRATCH_B.
 * Uses H_SCRATCH_C. */
static void find_entry(struct lower *l, unsigned reg, bool repeated, bool write)
{
    struct rm last = rm_base(H_SCRATCH_B, repeated ? -1 : l->i->opsize - 1);
    if (repeated) {
        last.index = H_RCX;
        last.scale = (uint8_t)scale_of(l->i);
    }
    emit_mov_rr(l->e, address_size(l), H_SCRATCH_B, reg);
    emit_op(l->e, 8, 0x8d, H_SCRATCH_C, last, 8, 0); /* lea */
    lower_tlb_entry(l, H_SCRATCH_B);
    emit_op(l->e, 8, 0x3b, H_SCRATCH_C, rm_base(H_SCRATCH_B, jit_tag_offset(write)), 8, 0);
    lower_cold(l, emit_jump(l->e, 5));
}

static struct rm addend(void)
{
    return rm_base(H_SCRATCH_B, (int32_t)offsetof(struct tlb_entry, addend));
}

static void check_direction(struct lower *l)
{
    lower_save_flags(l);
    emit_op(l->e, 4, 0xf7, 0, rm_abs(&l->j->cpu->flags), 4, 4); /* test */
    emit_u32(l->e, FLAG_DF);
    lower_cold(l, emit_jump(l->e, 5));
    lower_flags_clobbered(l);
}

/* ---- one element ---------------------------------------------------------------- */

/* The operand at reg, whose entry is in H_SCRATCH_B; `scratch` is used. */
static struct rm operand(struct lower *l, unsigned reg, unsigned scratch)
{
    struct rm rm = rm_base(scratch, 0);
    emit_mov_rr(l->e, address_size(l), scratch, reg);
    emit_load(l->e, 8, H_SCRATCH_B, addend());
    rm.index = H_SCRATCH_B;
    return rm;
}

static void step(struct lower *l, unsigned reg)
{
    emit_op(l->e, address_size(l), 0x8d, reg, rm_base(reg, l->i->opsize), 8, 0);
}

static void lower_once(struct lower *l, const struct string *s)
{
    unsigned size = l->i->opsize, ax = jit_host_of[REG_RAX];
    unsigned element = s->op == OP_MOVS || s->op == OP_CMPS ? (unsigned)H_RCX : ax;
    check_direction(l);
    if (s->reads_si) {
        find_entry(l, H_RSI, false, false);
        emit_load(l->e, size, element, operand(l, H_RSI, H_RCX));
    }
    if (s->reads_di || s->writes_di) {
        find_entry(l, H_RDI, false, s->writes_di);
        struct rm rm = operand(l, H_RDI, H_SCRATCH_C);
        if (s->writes_di)
            emit_store(l->e, size, rm, element);
        else
            emit_op(l->e, size, lower_op(size, 0x3b), element, rm, size, 0);
    }
    if (s->reads_di)
        lower_flags_written(l, FIX_NONE);
    if (s->reads_si)
        step(l, H_RSI);
    if (s->reads_di || s->writes_di)
        step(l, H_RDI);
}

/* ---- repetition ----------------------------------------------------------------- */

/* rCX into RCX: some elements, not too many for a page or for the ticks that are
 * left. Returns the jump for none, which 64-bit code alone takes: elsewhere that
 * changes upper halves. */
static uint8_t *check_count(struct lower *l, unsigned most)
{
    struct emit *e = l->e;
    uint8_t *none = NULL;
    struct rm ticks = rm_base(H_TICKS, -1);
    emit_mov_rr(e, address_size(l), H_RCX, jit_host_of[REG_RCX]);
    emit_op(e, 8, 0x85, H_RCX, rm_reg(H_RCX), 8, 0); /* test */
    if (l->is64)
        none = emit_jump(e, 4);
    else
        lower_cold(l, emit_jump(e, 4));
    emit_alu_ri(e, 8, 7, rm_reg(H_RCX), (int32_t)most);
    lower_cold(l, emit_jump(e, 7));
    ticks.index = H_RCX;
    emit_op(e, 8, 0x8d, H_SCRATCH_B, ticks, 8, 0); /* lea */
    emit_op(e, 8, 0x85, H_SCRATCH_B, rm_reg(H_SCRATCH_B), 8, 0);
    lower_cold(l, emit_jump(e, 15));
    return none;
}

/* H_SCRATCH_C iterations took place; one tick has been counted. */
static void count_ticks(struct lower *l)
{
    struct emit *e = l->e;
    emit_op(e, 8, 0x8d, H_SCRATCH_C, rm_base(H_SCRATCH_C, -1), 8, 0);
    emit_alu_rr(e, 8, 0, H_TICKS, H_SCRATCH_C);
    emit_op(e, 8, 0x01, H_SCRATCH_C, rm_abs(&l->j->cpu->skew), 8, 0);
}

static void emit_repeated(struct lower *l, const struct string *s)
{
    bool is_repne = l->i->prefix & PREFIX_REPNE;
    unsigned size = l->i->opsize;
    emit_u8(l->e, is_repne ? 0xf2 : 0xf3);
    if (size == 2)
        emit_u8(l->e, 0x66);
    if (size == 8)
        emit_u8(l->e, 0x48);
    emit_u8(l->e, lower_op(size, s->op));
}

/* MOVS of wide elements on hosts that are faster with bytes. An element must not
 * overlap the one it comes from: then bytes are another thing. */
static void emit_move(struct lower *l, const struct string *s)
{
    struct emit *e = l->e;
    emit_mov_rr(e, 8, H_SCRATCH_C, H_RDI);
    emit_alu_rr(e, 8, 5, H_SCRATCH_C, H_RSI); /* sub */
    emit_alu_ri(e, 8, 7, rm_reg(H_SCRATCH_C), l->i->opsize);
    uint8_t *overlap = emit_jump(e, 2);
    emit_op(e, 8, 0xc1, 4, rm_reg(H_RCX), 8, 1); /* shl */
    emit_u8(e, scale_of(l->i));
    emit_u8(e, 0xf3);
    emit_u8(e, OP_MOVS - 1);
    uint8_t *done = emit_jump(e, 16);
    emit_patch(e, overlap, emit_here(e));
    emit_repeated(l, s);
    emit_patch(e, done, emit_here(e));
}

/* rSI and rDI by the distance from guest to host; digit 0 there, 5 back. */
static void move_indices(struct lower *l, const struct string *s, bool back)
{
    struct emit *e = l->e;
    unsigned op = back ? 0x2b : 0x03;
    for (unsigned n = 0; n < 2; n++) {
        unsigned reg = n ? H_RDI : H_RSI;
        if (!n && !s->reads_si)
            continue;
        if (!back && !l->is64)
            emit_mov_rr(e, 4, reg, reg); /* clear the upper half */
        if (n)
            emit_op(e, 8, op, reg, rm_reg(H_SCRATCH_B), 8, 0);
        else
            emit_op(e, 8, op, reg, rm_abs(&l->j->cpu->jit_string), 8, 0);
        if (back && !l->is64)
            emit_mov_rr(e, 4, reg, reg);
    }
}

static void lower_repeated(struct lower *l, const struct string *s)
{
    struct emit *e = l->e;
    unsigned size = l->i->opsize;
    bool compares = s->reads_di;
    check_direction(l);
    uint8_t *none =
        check_count(l, compares ? COMPARE_MOST : PAGE_BYTES / size);
    if (s->reads_si) {
        find_entry(l, H_RSI, true, false);
        emit_load(e, 8, H_SCRATCH_C, addend());
        emit_store(e, 8, rm_abs(&l->j->cpu->jit_string), H_SCRATCH_C);
    }
    find_entry(l, H_RDI, true, s->writes_di);
    emit_load(e, 8, H_SCRATCH_B, addend());
    if (!compares) {
        emit_mov_rr(e, 8, H_SCRATCH_C, H_RCX);
        count_ticks(l);
    }
    move_indices(l, s, false);
    /* AX has flags: comparisons replace them all. */
    emit_mov_rr(e, 8, H_SCRATCH_C, compares ? H_RCX : H_RAX);
    if (!s->reads_si)
        emit_mov_rr(e, 8, H_RAX, jit_host_of[REG_RAX]);
    if (s->op == OP_MOVS && size > 1 && l->j->host.short_moves)
        emit_move(l, s);
    else
        emit_repeated(l, s);
    if (compares) {
        lower_flags_written(l, FIX_NONE);
        lower_save_flags(l);
        emit_alu_rr(e, 8, 5, H_SCRATCH_C, H_RCX); /* sub */
        count_ticks(l);
    } else if (!s->reads_si) {
        emit_mov_rr(e, 8, H_RAX, H_SCRATCH_C);
    }
    move_indices(l, s, true);
    emit_mov_rr(e, 8, jit_host_of[REG_RCX], H_RCX);
    if (none)
        emit_patch(e, none, emit_here(e));
    lower_flags_clobbered(l);
}

bool lower_string(struct lower *l)
{
    const struct insn *i = l->i;
    struct string s;
    bool repeated = i->prefix & (PREFIX_REP | PREFIX_REPNE);
    if (!string_of(i, &s) || l->is16 || i->addr != address_size(l) ||
        jit_host_of[REG_RSI] != H_RSI || jit_host_of[REG_RDI] != H_RDI ||
        (s.reads_si && (i->seg >= SEG_FS || (!l->is64 && i->seg == SEG_CS))) ||
        (repeated && s.op == OP_LODS))
        return false;
    if (repeated)
        lower_repeated(l, &s);
    else
        lower_once(l, &s);
    return true;
}
