/* Host code of moves, addresses and flags as values. RAX and RDX are scratch. */
#include "jit/t2_code.h"

void t2g_extend(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r), from = o->kind == T2_MOVZX ? o->size : o->from;
    struct rm x = t2g_operand(g, o->a, H_RAX);
    if (o->kind == T2_MOVZX)
        t2g_op(g, 4,
               from == 1   ? 0x0fb6
               : from == 2 ? 0x0fb7
                           : 0x8b,
               d, x, from, 0);
    else
        t2g_op(g, o->size,
               from == 1   ? 0x0fbe
               : from == 2 ? 0x0fbf
                           : 0x63,
               d, x, from, 0);
    t2g_put(g, r, d);
}

void t2g_high(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RAX, o->a);
    emit_u8(&g->e, 0x0f); /* movzx eax, ah */
    emit_u8(&g->e, 0xb6);
    emit_u8(&g->e, 0xc4);
    t2g_put(g, r, H_RAX);
}

void t2g_merge(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_is_taken(g, r, o->a, o->b) ? (unsigned)H_RAX : t2g_target(g, r);
    t2g_load(g, d, o->a);
    struct rm y = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, t2g_op_for(o->size, 0x8b), d, y, o->size, 0);
    t2g_put(g, r, d);
}

void t2g_set_high(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned y = t2g_register(g, o->b, H_RDX);
    if (y != H_RDX)
        emit_mov_rr(&g->e, 8, H_RDX, y);
    t2g_load(g, H_RAX, o->a);
    emit_u8(&g->e, 0x88); /* mov ah, dl */
    emit_u8(&g->e, 0xd4);
    t2g_put(g, r, H_RAX);
}

void t2g_lea(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r);
    unsigned a = o->a ? t2g_register(g, o->a, H_RAX) : (unsigned)H_NONE;
    unsigned b = o->b ? t2g_register(g, o->b, H_RDX) : (unsigned)H_NONE;
    if (a == H_NONE && o->scale == 0) {
        a = b;
        b = H_NONE;
    }
    struct rm rm = rm_base(a, (int32_t)o->imm);
    rm.index = (uint8_t)b;
    rm.scale = o->scale;
    if (b == H_NONE && o->imm == 0)
        emit_mov_rr(&g->e, o->size, d, a);
    else
        emit_op(&g->e, o->size, 0x8d, d, rm, 8, 0);
    t2g_put(g, r, d);
}

void t2g_setcc(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r);
    unsigned code = t2g_condition(g, o->c, o->digit);
    t2g_load(g, d, o->a);
    emit_op(&g->e, 1, 0x0f90 | code, 0, rm_reg(d), 1, 0);
    t2g_put(g, r, d);
}

void t2g_cmov(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned code = t2g_condition(g, o->c, o->digit);
    unsigned d = t2g_is_taken(g, r, o->a, o->b) ? (unsigned)H_RAX : t2g_target(g, r);
    t2g_load(g, d, o->a);
    struct rm y = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, 0x0f40 | code, d, y, o->size, 0);
    t2g_put(g, r, d);
}

/* Host flags stand. */
static void read_system(struct t2_gen *g, const struct t2_op *o, unsigned d)
{
    const struct cpu *c = g->j->cpu;
    switch (o->digit) {
    case T2_SYS_CPL:
        t2g_op(g, 4, 0x0fb6, d, rm_abs(&c->cpl), 1, 0);
        break;
    case T2_SYS_CR4:
        t2g_op(g, 4, 0x8b, d, rm_abs(&c->cr4), 4, 0);
        break;
    case T2_SYS_TSC: {
        int64_t left = (int64_t)g->ir->segments[o->scale].insns - o->imm;
        t2g_op(g, 8, 0x8b, H_RDX, rm_abs(&c->jit_limit), 8, 0);
        struct rm sum = rm_base(H_RDX, (int32_t)-left);
        sum.index = H_TICKS;
        emit_op(&g->e, 8, 0x8d, H_RDX, sum, 8, 0); /* lea */
        t2g_op(g, 8, 0x8b, d, rm_abs(&c->tsc_offset), 8, 0);
        sum = rm_base(d, 0);
        sum.index = H_RDX;
        emit_op(&g->e, 8, 0x8d, d, sum, 8, 0);
        break;
    }
    default:
        t2g_op(g, 4, 0x8b, d, rm_abs(&c->flags), 4, 0);
        break;
    }
}

/* All flags to RAX: lahf, seto al. */
static void gen_flags(struct t2_gen *g, const struct t2_op *o)
{
    if (t2_recipe_of(g->ir, o->c).kind != R_NEVER) {
        t2g_flags_to_rax(g, o->c);
        g->host = 0;
        return;
    }
    if (g->host != t2_flags_of(g->ir, o->c))
        g->failed = true;
    emit_u8(&g->e, 0x9f);
    emit_op(&g->e, 1, 0x0f90, 0, rm_reg(H_RAX), 1, 0);
}

void t2g_simple(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    const struct cpu *c = g->j->cpu;
    unsigned d = t2g_target(g, r);
    switch (o->kind) {
    case T2_PAGE:
        t2g_op(g, 8, 0x8b, d, rm_abs(&c->jit_page), 8, 0);
        break;
    case T2_SEGBASE:
        t2g_op(g, 8, 0x8b, d, rm_abs(&c->ea_base[o->digit]), 8, 0);
        break;
    case T2_BSWAP: {
        t2g_load(g, d, o->a);
        unsigned rex = (o->size == 8 ? 8u : 0u) | (d >= 8 ? 1u : 0u);
        if (rex)
            emit_u8(&g->e, 0x40 | rex);
        emit_u8(&g->e, 0x0f);
        emit_u8(&g->e, 0xc8 + (d & 7));
        break;
    }
    case T2_GETF:
        t2g_flags_to_rax(g, o->c);
        g->host = 0;
        d = H_RAX;
        break;
    case T2_SYSREAD:
        read_system(g, o, d);
        break;
    default: /* T2_FLAGS */
        gen_flags(g, o);
        d = H_RAX;
        break;
    }
    t2g_put(g, r, d);
}

void t2g_syswrite(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    (void)r;
    t2g_alu_ri(g, 4, o->digit, rm_abs(&g->j->cpu->flags), (int32_t)o->imm);
    g->host = 0;
}

