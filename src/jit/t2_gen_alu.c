/* Host code of arithmetic. RAX and RDX are scratch. */
#include "jit/t2_code.h"

void t2g_alu(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r), size = o->size;
    t2_ref x = o->a, y = o->b;
    int32_t imm;
    bool carries = o->digit == 2 || o->digit == 3;
    if (carries) {
        unsigned code = t2g_condition(g, o->c, 2);
        if (code != 2)
            g->failed = true;
    }
    if (t2g_is_taken(g, r, x, y)) {
        if (o->digit != 5 && o->digit != 3 && size >= 4) {
            t2_ref t = x;
            x = y;
            y = t;
        } else {
            d = H_RAX;
        }
    }
    t2g_load(g, d, x);
    if (t2g_imm(g, y, size, &imm)) {
        t2g_alu_ri(g, size, o->digit, rm_reg(d), imm);
    } else {
        struct rm rm = t2g_operand(g, y, H_RDX);
        t2g_op(g, size, t2g_op_for(size, o->digit << 3 | 3u), d, rm, size, 0);
    }
    g->host = r;
    t2g_put(g, r, d);
}

void t2g_compare(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned size = o->size;
    bool is_test = o->kind == T2_TEST;
    int32_t imm;
    int64_t k;
    struct rm x = t2g_operand(g, o->a, H_RAX);
    if (t2g_imm(g, o->b, size, &imm)) {
        if (is_test) {
            unsigned bytes = size == 8 ? 4 : size;
            t2g_op(g, size, t2g_op_for(size, 0xf7), 0, x, size, bytes);
            for (unsigned n = 0; n < bytes; n++)
                emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
        } else {
            t2g_alu_ri(g, size, 7, x, imm);
        }
        g->host = r;
        return;
    }
    if (x.kind != RM_REG && !t2g_const(g, o->b, &k) && t2g_at(g, o->b) < 16) {
        t2g_op(g, size, t2g_op_for(size, is_test ? 0x85 : 0x39),
               t2g_at(g, o->b), x, size, 0);
    } else {
        unsigned xr = t2g_register(g, o->a, H_RAX);
        struct rm y = t2g_operand(g, o->b, H_RDX);
        t2g_op(g, size, t2g_op_for(size, is_test ? 0x85 : 0x3b), xr, y, size,
               0);
    }
    g->host = r;
}

void t2g_unary(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r), size = o->size;
    unsigned op = t2g_op_for(size, 0xff), digit = 0;
    switch (o->kind) {
    case T2_DEC:
        digit = 1;
        break;
    case T2_NOT:
        op = t2g_op_for(size, 0xf7);
        digit = 2;
        break;
    case T2_NEG:
        op = t2g_op_for(size, 0xf7);
        digit = 3;
        break;
    default:
        break;
    }
    t2g_load(g, d, o->a);
    emit_op(&g->e, size, op, digit, rm_reg(d), size, 0);
    if (o->kind != T2_NOT)
        g->host = r;
    t2g_put(g, r, d);
}

void t2g_shift(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r);
    t2g_load(g, d, o->a);
    emit_op(&g->e, o->size, t2g_op_for(o->size, 0xc1), o->digit, rm_reg(d),
            o->size, 1);
    emit_u8(&g->e, (unsigned)o->imm & 0xff);
    g->host = r;
    t2g_put(g, r, d);
}

/* By a constant, flags lost. */
static void shift_by(struct t2_gen *g, t2_ref r, const struct t2_op *o,
                     unsigned count)
{
    unsigned d = t2g_target(g, r), bits = o->size * 8;
    count &= o->size == 8 ? 63 : 31;
    if (o->digit <= 1 && o->size >= 4 && g->j->host.bmi2) { /* ROL, ROR */
        emit_rorx(&g->e, o->size, d, t2g_register(g, o->a, H_RAX),
                  (o->digit == 0 ? bits - count : count) & (bits - 1));
    } else {
        t2g_load(g, d, o->a);
        emit_op(&g->e, o->size, t2g_op_for(o->size, 0xc1), o->digit, rm_reg(d),
                o->size, 1);
        emit_u8(&g->e, count);
        g->host = 0;
    }
    t2g_put(g, r, d);
}

/* BMI2's shifts take the count from any register and leave flags alone. */
static bool shift_x(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    enum vex_prefix prefix = o->digit == 4   ? VEX_66
                             : o->digit == 5 ? VEX_F2
                                             : VEX_F3;
    if (o->from != 1 || o->size < 4 || o->digit < 4 || o->digit == 6 ||
        !g->j->host.bmi2)
        return false;
    unsigned d = t2g_target(g, r), x = t2g_register(g, o->a, H_RAX);
    emit_vex(&g->e, o->size, VEX_0F38, prefix, 0xf7, d,
             t2g_register(g, o->b, H_RDX), x);
    t2g_put(g, r, d);
    return true;
}

/* By CL; flags of o->c stay for a count of 0 and in parts for rotates. */
void t2g_shift_cl(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    int64_t count;
    if (o->from == 1 && t2g_const(g, o->b, &count)) {
        shift_by(g, r, o, (unsigned)count);
        return;
    }
    if (shift_x(g, r, o))
        return;
    if (o->from != 1)
        t2g_host_flags(g, o->c);
    emit_mov_rr(e, 8, H_RDX, H_RCX);
    t2g_load(g, H_RAX, o->a);
    t2g_load(g, H_RCX, o->b);
    emit_op(e, o->size, t2g_op_for(o->size, 0xd3), o->digit, rm_reg(H_RAX),
            o->size, 0);
    emit_mov_rr(e, 8, H_RCX, H_RDX);
    g->host = o->from == 1 ? 0 : r;
    t2g_put(g, r, H_RAX);
}

void t2g_imul(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r), size = o->size;
    t2_ref x = o->a, y = o->b;
    int32_t imm;
    if (t2g_imm(g, y, size, &imm)) {
        struct rm rm = t2g_operand(g, x, H_RAX);
        t2g_op(g, size, 0x69, d, rm, size, 4);
        emit_u32(&g->e, (uint32_t)imm);
    } else {
        if (t2g_is_taken(g, r, x, y)) {
            x = o->b;
            y = o->a;
        }
        t2g_load(g, d, x);
        struct rm rm = t2g_operand(g, y, H_RDX);
        t2g_op(g, size, 0x0faf, d, rm, size, 0);
    }
    g->host = r;
    t2g_put(g, r, d);
}

void t2g_mulhi(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RAX, o->a);
    struct rm rm = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, 0xf7, o->digit ? 5 : 4, rm, o->size, 0);
    g->host = r;
    t2g_put(g, r, H_RDX);
}

void t2g_div(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    struct rm by = t2g_operand(g, o->b, H_RDX);
    if (by.kind == RM_REG && by.reg == H_RDX) { /* a constant */
        by = rm_abs(&g->near_data->scratch);
        t2g_op(g, 8, 0x89, H_RDX, by, 8, 0);
    }
    t2g_load(g, H_RAX, o->a);
    if (o->digit) {
        if (o->size == 8)
            emit_u8(e, 0x48);
        emit_u8(e, 0x99); /* CDQ, CQO */
    } else {
        emit_alu_rr(e, 4, 6, H_RDX, H_RDX);
    }
    t2g_op(g, o->size, 0xf7, o->digit ? 7 : 6, by, o->size, 0);
    g->host = 0;
    t2g_put(g, r, H_RAX);
}

void t2g_host(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RDX, o->b);
    if (o->a)
        t2g_load(g, H_RAX, o->a);
    if (o->from)
        emit_u8(&g->e, o->from);
    emit_op(&g->e, o->size, (uint32_t)o->imm, H_RAX, rm_reg(H_RDX), o->scale,
            0);
    g->host = r;
    t2g_put(g, r, H_RAX);
}

void t2g_bt(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    int64_t bit;
    if (o->from != 1)
        t2g_host_flags(g, o->c);
    t2g_load(g, H_RAX, o->a);
    if (t2g_const(g, o->b, &bit)) {
        emit_op(&g->e, o->size, 0x0fba, o->digit, rm_reg(H_RAX), o->size, 1);
        emit_u8(&g->e, (unsigned)bit & 0xff);
    } else {
        static const uint16_t ops[4] = {0x0fa3, 0x0fab, 0x0fb3, 0x0fbb};
        unsigned b = t2g_register(g, o->b, H_RDX);
        emit_op(&g->e, o->size, ops[o->digit - 4], b, rm_reg(H_RAX), o->size,
                0);
    }
    g->host = o->from == 1 ? 0 : r;
    if (o->digit != 4)
        t2g_put(g, r, H_RAX);
}
