/* Flags in host code: the host's own where they still stand, else computed
 * again from what is at hand. */
#include "jit/t2_code.h"
#include "jit/t2_flags.h"

enum { OP_LAHF = 0x9f, OP_SAHF = 0x9e };

static void emit_lahf(struct t2_gen *g)
{
    emit_u8(&g->e, OP_LAHF);
    emit_op(&g->e, 1, 0x0f90, 0, rm_reg(H_RAX), 1, 0); /* seto al */
}

static void emit_sahf(struct t2_gen *g)
{
    emit_u8(&g->e, 0x3c); /* cmp al, 81h: OF from AL */
    emit_u8(&g->e, 0x81);
    emit_u8(&g->e, OP_SAHF);
}

/* digit of rax with b: the flags of a two-operand instruction. */
static void rax_with(struct t2_gen *g, unsigned digit, unsigned size, t2_ref b)
{
    int32_t imm;
    if (t2g_imm(g, b, size, &imm)) {
        t2g_alu_ri(g, size, digit, rm_reg(H_RAX), imm);
        return;
    }
    struct rm rm = t2g_operand(g, b, H_RDX);
    t2g_op(g, size, digit << 3 | (size == 1 ? 2 : 3), H_RAX, rm, size, 0);
}

static void test_value(struct t2_gen *g, unsigned size, t2_ref r)
{
    struct rm rm = t2g_operand(g, r, H_RAX);
    if (rm.kind == RM_REG)
        emit_op(&g->e, size, size == 1 ? 0x84 : 0x85, rm.reg, rm, size, 0);
    else
        t2g_alu_ri(g, size, 7, rm, 0);
}

/* Compute again; CF of INC and DEC is not right. */
static void recompute(struct t2_gen *g, const struct t2_recipe *r)
{
    unsigned size = r->size;
    if (r->kind == R_LOGIC) {
        test_value(g, size, r->r);
        return;
    }
    t2g_load(g, H_RAX, r->r);
    switch (r->kind) {
    case R_TEST: {
        struct rm rm = t2g_operand(g, r->b, H_RDX);
        t2g_op(g, size, size == 1 ? 0x84 : 0x85, H_RAX, rm, size, 0);
        break;
    }
    case R_CMP:
        rax_with(g, 7, size, r->b);
        break;
    case R_ADD:
        rax_with(g, 5, size, r->b);
        rax_with(g, 0, size, r->b);
        break;
    case R_SUB:
        rax_with(g, 0, size, r->b);
        rax_with(g, 5, size, r->b);
        break;
    case R_INC:
    case R_DEC: {
        unsigned digit = r->kind == R_INC ? 0 : 1;
        uint32_t op = size == 1 ? 0xfe : 0xff;
        emit_op(&g->e, size, op, digit ^ 1, rm_reg(H_RAX), size, 0);
        emit_op(&g->e, size, op, digit, rm_reg(H_RAX), size, 0);
        break;
    }
    case R_NEG:
        for (unsigned n = 0; n < 2; n++)
            emit_op(&g->e, size, size == 1 ? 0xf6 : 0xf7, 3, rm_reg(H_RAX),
                    size, 0);
        break;
    default:
        g->failed = true;
        break;
    }
}

/* Everything constant? */
static bool constant_flags(const struct t2_gen *g, const struct t2_recipe *r,
                           uint16_t *flags)
{
    int64_t v, b = 0;
    if (r->kind == R_HELD || r->kind == R_NEVER || r->c ||
        !t2g_const(g, r->r, &v) || (r->b && !t2g_const(g, r->b, &b)))
        return false;
    *flags = t2_flags_eval(r->kind, r->size, (uint64_t)v, (uint64_t)b, 0);
    return true;
}

void t2g_flags_to_rax(struct t2_gen *g, t2_ref flags)
{
    struct t2_recipe r = t2_recipe_of(g->ir, flags);
    uint16_t constant;
    if (r.kind == R_HELD) {
        t2g_load(g, H_RAX, r.r);
        return;
    }
    if (constant_flags(g, &r, &constant)) {
        emit_mov_ri(&g->e, H_RAX, constant);
        return;
    }
    if (r.c) {
        t2g_flags_to_rax(g, r.c);
        emit_mov_rr(&g->e, 4, H_RDX, H_RAX);
        emit_alu_ri(&g->e, 4, 4, rm_reg(H_RDX), 0x100);
    }
    recompute(g, &r);
    emit_lahf(g);
    if ((r.kind == R_LOGIC || r.kind == R_TEST) && !g->ir->host.logic)
        emit_alu_ri(&g->e, 4, 4, rm_reg(H_RAX), ~0x1000);
    if (r.c) {
        emit_alu_ri(&g->e, 4, 4, rm_reg(H_RAX), ~0x100);
        emit_alu_rr(&g->e, 4, 1, H_RAX, H_RDX);
    }
}

void t2g_host_flags(struct t2_gen *g, t2_ref flags)
{
    t2_ref f = t2_flags_of(g->ir, flags);
    const struct t2_op *o = &g->ir->ops[f];
    if (g->host && g->host == f && o->kind != T2_INC && o->kind != T2_DEC)
        return;
    if (t2_recipe_of(g->ir, f).kind == R_NEVER) {
        g->failed = true;
        return;
    }
    t2g_flags_to_rax(g, f);
    emit_sahf(g);
}

/* Conditions by what they read. */
static bool reads_only_result(unsigned code)
{
    unsigned c = code >> 1; /* ZF, SF, PF */
    return c == 2 || c == 4 || c == 5;
}

unsigned t2g_condition(struct t2_gen *g, t2_ref flags, unsigned code)
{
    t2_ref f = t2_flags_of(g->ir, flags);
    struct t2_recipe r = t2_recipe_of(g->ir, f);
    bool reads_cf = code >> 1 == 1 || code >> 1 == 3;
    bool is_counting = r.kind == R_INC || r.kind == R_DEC;
    if (g->host == f && !(is_counting && reads_cf))
        return code;
    if (r.kind == R_NEVER) {
        g->failed = true; /* nobody keeps them, so nobody may need them */
        return code;
    }
    g->host = 0;
    if (r.kind == R_HELD || (is_counting && reads_cf)) {
        t2g_flags_to_rax(g, f);
        emit_sahf(g);
    } else if (reads_only_result(code) && r.kind != R_CMP && r.kind != R_TEST) {
        test_value(g, r.size, r.r);
        return code;
    } else {
        recompute(g, &r);
    }
    if (!is_counting && r.kind != R_HELD)
        g->host = f;
    return code;
}
