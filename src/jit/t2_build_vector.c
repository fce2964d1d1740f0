/* Vector instructions as ops. */
#include "jit/t2_build.h"

#include "jit/lower.h"

static bool is_known(struct t2_build *b, t2_ref root, unsigned low)
{
    for (unsigned n = 0; n < b->aligned_count; n++)
        if (b->aligned[n].root == root && b->aligned[n].low == low)
            return true;
    if (b->aligned_count < T2_ALIGNED_MAX)
        b->aligned[b->aligned_count++] = (struct t2_aligned){root, low};
    return false;
}

void t2_require_aligned(struct t2_build *b, struct t2_place p)
{
    struct t2_ir *ir = b->ir;
    t2_ref root = t2_value(ir, ir->ops[p.check].a);
    if (is_known(b, root, (unsigned)p.at & 15))
        return;
    /* Of addresses multiples of 16 apart one is tested. */
    struct t2_sum s = t2_sum_of(ir, root);
    s.offset = (s.offset + p.at) & 15;
    t2_ref test = t2_binary(b, T2_TEST, 4, 0, t2_plus(b, s.root, s.offset),
                            t2_const(ir, 15));
    uint16_t map = t2_map_before(b);
    t2_emit_ir(ir, (struct t2_op){.kind = T2_GUARD,
                                  .digit = 4, /* ZF */
                                  .c = test,
                                  .map = map,
                                  .insn = (uint16_t)b->n});
}

bool t2_build_vector(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    struct lower_vector v;
    if (!lower_sse_vector(b->i, &v))
        return false;
    struct t2_op op = {.kind = v.is_value ? T2_VVALUE : T2_VECTOR,
                       .size = v.size,
                       .digit = v.reg,
                       .scale = v.rm,
                       .from = v.prefix,
                       .own_bytes = v.imm,
                       .own_write = v.has_imm,
                       .own = v.sets_flags,
                       .lo = (int32_t)v.op,
                       .hi = v.is_value_rm ? T2_FIELD_RM : T2_FIELD_REG,
                       .insn = (uint16_t)b->n};
    if (v.is_memory) {
        struct t2_place p;
        op.rw = v.is_store ? T2_WRITES : T2_READS;
        if (!t2_operand_place(b, v.bytes, op.rw, &p))
            return false;
        if (v.is_aligned)
            t2_require_aligned(b, p);
        op.a = p.check;
        op.imm = p.at;
    } else if (v.is_general) {
        op.b = ir->now[v.rm];
    }
    t2_ref r = t2_emit_ir(ir, op);
    ir->uses_vectors = true;
    if (v.is_value)
        ir->now[v.value] = r;
    if (v.sets_flags)
        t2_set_flags(b, r);
    return true;
}
