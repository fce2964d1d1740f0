/* Where operands and results of ops are, as operands of host instructions. */
#include "jit/t2_code.h"

/* ---- operands ------------------------------------------------------------ */

void t2g_op(struct t2_gen *g, unsigned size, uint32_t op, unsigned reg,
            struct rm rm, unsigned rm_bytes, unsigned imm_bytes)
{
    emit_op(&g->e, size, op, reg, rm, rm_bytes, imm_bytes);
    if (rm.kind != RM_ABS)
        return;
    if (g->fix_count == T2_FIXES_MAX) {
        g->failed = true;
        return;
    }
    g->fixes[g->fix_count++] = (uint32_t)(g->e.at - 4 - g->buffer);
}

void t2g_alu_ri(struct t2_gen *g, unsigned size, unsigned digit, struct rm to,
                int32_t imm)
{
    if (to.kind != RM_ABS) {
        emit_alu_ri(&g->e, size, digit, to, imm);
        return;
    }
    bool is_short = size == 1 || (imm >= -128 && imm < 128);
    unsigned bytes = is_short ? 1 : size == 2 ? 2 : 4;
    t2g_op(g, size,
           size == 1  ? 0x80
           : is_short ? 0x83
                      : 0x81,
           digit, to, size, bytes);
    for (unsigned n = 0; n < bytes; n++)
        emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
}

static void out(struct t2_gen *g, const uint8_t *exec)
{
    uint8_t *site = g->e.at - 4;
    emit_patch(&g->e, site, exec);
    if (g->fix_count == T2_FIXES_MAX) {
        g->failed = true;
        return;
    }
    g->fixes[g->fix_count++] = (uint32_t)(site - g->buffer);
}

void t2g_jump_out(struct t2_gen *g, unsigned condition, const uint8_t *exec)
{
    (void)emit_jump(&g->e, condition);
    out(g, exec);
}

void t2g_call_out(struct t2_gen *g, const uint8_t *exec)
{
    emit_u8(&g->e, 0xe8);
    emit_u32(&g->e, 0);
    out(g, exec);
}

struct rm t2g_place(const struct t2_gen *g, unsigned place)
{
    if (place < 16)
        return rm_reg(place);
    if (place >= T2_SPILL && place < T2_SPILL + T2_SPILLS)
        return rm_abs(&g->near_data->spill[place - T2_SPILL]);
    if (place >= T2_HOME && place < T2_HOME + 16)
        return rm_abs(&g->j->cpu->r[place - T2_HOME]);
    return rm_abs(&g->near_data->scratch);
}

unsigned t2g_at(const struct t2_gen *g, t2_ref v)
{
    return g->a->at[t2_value(g->ir, v)];
}

bool t2g_const(const struct t2_gen *g, t2_ref v, int64_t *k)
{
    const struct t2_op *o = &g->ir->ops[t2_value(g->ir, v)];
    *k = o->imm;
    return o->kind == T2_CONST;
}

bool t2g_imm(const struct t2_gen *g, t2_ref v, unsigned size, int32_t *imm)
{
    int64_t k;
    if (!t2g_const(g, v, &k))
        return false;
    *imm = size == 1 ? (int8_t)k : size == 2 ? (int16_t)k : (int32_t)k;
    return size < 8 || k == *imm;
}

struct rm t2g_operand(struct t2_gen *g, t2_ref v, unsigned scratch)
{
    int64_t k;
    if (!t2g_const(g, v, &k))
        return t2g_place(g, t2g_at(g, v));
    emit_mov_ri(&g->e, scratch, (uint64_t)k);
    return rm_reg(scratch);
}

unsigned t2g_register(struct t2_gen *g, t2_ref v, unsigned scratch)
{
    struct rm rm = t2g_operand(g, v, scratch);
    if (rm.kind == RM_REG)
        return rm.reg;
    t2g_op(g, 8, 0x8b, scratch, rm, 8, 0);
    return scratch;
}

void t2g_load(struct t2_gen *g, unsigned host, t2_ref v)
{
    int64_t k;
    if (t2g_const(g, v, &k))
        emit_mov_ri(&g->e, host, (uint64_t)k);
    else if (t2g_at(g, v) != host)
        t2g_op(g, 8, 0x8b, host, t2g_place(g, t2g_at(g, v)), 8, 0);
}

/* ---- results: computed in their register, or in RAX and then stored ------ */

static bool is_same(const struct t2_gen *g, t2_ref x, t2_ref y)
{
    return t2_value(g->ir, x) == t2_value(g->ir, y);
}

static bool in_register(const struct t2_gen *g, t2_ref r)
{
    return g->a->at[r] < 16;
}

unsigned t2g_target(const struct t2_gen *g, t2_ref r)
{
    return in_register(g, r) ? g->a->at[r] : (unsigned)H_RAX;
}

void t2g_put(struct t2_gen *g, t2_ref r, unsigned host)
{
    unsigned at = g->a->at[r];
    if (at == T2_NOWHERE || at == host)
        return;
    if (at < 16)
        emit_mov_rr(&g->e, 8, at, host);
    else
        t2g_op(g, 8, 0x89, host, t2g_place(g, at), 8, 0);
}

bool t2g_is_taken(const struct t2_gen *g, t2_ref r, t2_ref x, t2_ref y)
{
    int64_t k;
    return in_register(g, r) && y && !t2g_const(g, y, &k) &&
           !is_same(g, x, y) && t2g_at(g, y) == g->a->at[r];
}
