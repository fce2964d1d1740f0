/* Constant folding and strength reduction. */
#include "jit/t2_flags.h"
#include "jit/t2_ir.h"

#include "cpu/flags.h"

#include <string.h>

static uint64_t low(uint64_t v, unsigned size)
{
    return size == 8 ? v : v & ((UINT64_C(1) << (size * 8)) - 1);
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned shift = 64 - size * 8;
    return (int64_t)(v << shift) >> shift;
}

static uint64_t value_of(const struct t2_ir *ir, t2_ref r)
{
    return (uint64_t)ir->ops[t2_value(ir, r)].imm;
}

/* ---- folding ------------------------------------------------------------- */

static bool fold_alu(const struct t2_op *o, uint64_t x, uint64_t y, uint64_t *v)
{
    switch (o->digit) {
    case 0:
        *v = x + y;
        break;
    case 1:
        *v = x | y;
        break;
    case 4:
        *v = x & y;
        break;
    case 5:
        *v = x - y;
        break;
    case 6:
        *v = x ^ y;
        break;
    default:
        return false;
    }
    return true;
}

/* The value of an op of constants. */
static bool evaluate(const struct t2_op *o, uint64_t x, uint64_t y, uint64_t *v)
{
    switch (o->kind) {
    case T2_MOVZX:
        *v = low(x, o->size);
        return true;
    case T2_MOVSX:
        *v = low((uint64_t)sign_extend(x, o->from), o->size);
        return true;
    case T2_HIGH:
        *v = x >> 8 & 0xff;
        return true;
    case T2_MERGE:
        *v = (x & ~low(UINT64_MAX, o->size)) | low(y, o->size);
        return true;
    case T2_ALU:
        if (o->size < 4 || !fold_alu(o, x, y, v))
            return false;
        break;
    case T2_INC:
        *v = x + 1;
        break;
    case T2_DEC:
        *v = x - 1;
        break;
    case T2_NEG:
        *v = 0 - x;
        break;
    case T2_NOT:
        *v = ~x;
        break;
    case T2_SHIFT:
        *v = o->digit == 4   ? x << o->imm
             : o->digit == 5 ? low(x, o->size) >> o->imm
                             : (uint64_t)(sign_extend(x, o->size) >> o->imm);
        break;
    case T2_IMUL:
        *v = x * y;
        break;
    default:
        return false;
    }
    *v = low(*v, o->size);
    return o->size >= 4;
}

static bool needs_second(unsigned kind)
{
    return kind == T2_MERGE || kind == T2_ALU || kind == T2_IMUL;
}

static void become(struct t2_ir *ir, t2_ref r, t2_ref v)
{
    if (v && t2_value(ir, v) != r)
        ir->same[r] = t2_value(ir, v);
}

static void fold_lea(struct t2_ir *ir, t2_ref r)
{
    struct t2_op *o = &ir->ops[r];
    if (o->b && t2_is_const(ir, o->b)) {
        int64_t k = o->imm + (int64_t)(value_of(ir, o->b) << o->scale);
        if (k == (int32_t)k || !o->a || t2_is_const(ir, o->a)) {
            o->imm = k;
            o->b = 0;
            o->scale = 0;
        }
    }
    if (o->a && o->b && t2_is_const(ir, o->a)) {
        int64_t k = o->imm + (int64_t)value_of(ir, o->a);
        if (k == (int32_t)k) {
            o->imm = k;
            o->a = 0;
        }
    }
    if (o->b)
        return;
    if (!o->a || t2_is_const(ir, o->a)) {
        uint64_t v = (o->a ? value_of(ir, o->a) : 0) + (uint64_t)o->imm;
        become(ir, r, t2_const(ir, low(v, o->size)));
    } else if (o->imm == 0 && o->size == 8) {
        become(ir, r, o->a);
    }
}

/* Is the upper half of the value 0 already? */
static bool is_32bit(const struct t2_ir *ir, t2_ref v)
{
    const struct t2_op *o = &ir->ops[t2_value(ir, v)];
    switch (o->kind) {
    case T2_LEA:
    case T2_ALU:
    case T2_INC:
    case T2_DEC:
    case T2_NEG:
    case T2_NOT:
    case T2_SHIFT:
    case T2_IMUL:
    case T2_MULHI:
    case T2_DIV:
    case T2_BSWAP:
    case T2_CMOV:
    case T2_MOVSX:
        return o->size == 4;
    case T2_SHIFTCL: /* a count of 0 clears it as well */
    case T2_BT:
        return o->size == 4;
    case T2_MOVZX:
        return true;
    case T2_LOAD:
        return o->from ? o->from == 4 : o->size <= 4;
    case T2_CONST:
        return (uint64_t)o->imm <= UINT32_MAX;
    case T2_PHI:
        return o->from == 4;
    default:
        return false;
    }
}

static bool comes_in_32bit(const struct t2_ir *ir, const struct t2_op *phi)
{
    if (!is_32bit(ir, phi->a))
        return false;
    for (unsigned e = 0; e < ir->edge_count; e++)
        if (!is_32bit(ir, t2_phi_at(ir, phi, e)))
            return false;
    return true;
}

/* Phis of 32-bit values: all are taken for such, until none is found that one
 * of another kind gets into. */
static void find_32bit_phis(struct t2_ir *ir)
{
    bool changed;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        struct t2_op *o = &ir->ops[ir->seq[n]];
        if (o->kind == T2_PHI)
            o->from = 4;
    }
    do {
        changed = false;
        for (unsigned n = 0; n < ir->seq_count; n++) {
            struct t2_op *o = &ir->ops[ir->seq[n]];
            if (o->kind == T2_PHI && o->from == 4 && !comes_in_32bit(ir, o)) {
                o->from = 0;
                changed = true;
            }
        }
    } while (changed);
}

/* Do low `size` bytes hold all of the value? */
static bool is_narrow(const struct t2_ir *ir, t2_ref v, unsigned size)
{
    const struct t2_op *o = &ir->ops[t2_value(ir, v)];
    if (size == 4)
        return is_32bit(ir, v);
    return (o->kind == T2_MOVZX || (o->kind == T2_LOAD && !o->from)) &&
           o->size <= size;
}

/* What no iteration changes. */
static void fold_phi(struct t2_ir *ir, t2_ref r)
{
    const struct t2_op *o = &ir->ops[r];
    t2_ref a = t2_value(ir, o->a);
    for (unsigned e = 0; e < ir->edge_count; e++) {
        t2_ref b = t2_value(ir, t2_phi_at(ir, o, e));
        if (!b || (b != a && b != r))
            return;
    }
    become(ir, r, a);
}

static void fold_value(struct t2_ir *ir, t2_ref r)
{
    struct t2_op *o = &ir->ops[r];
    uint64_t v;
    if (o->kind == T2_LEA) {
        fold_lea(ir, r);
        return;
    }
    if (o->kind == T2_PHI) {
        fold_phi(ir, r);
        return;
    }
    if (o->kind == T2_MOVZX && is_narrow(ir, o->a, o->size)) {
        become(ir, r, o->a);
        return;
    }
    if (!o->a || !t2_is_const(ir, o->a) ||
        (needs_second(o->kind) && (!o->b || !t2_is_const(ir, o->b))))
        return;
    if (evaluate(o, value_of(ir, o->a), o->b ? value_of(ir, o->b) : 0, &v))
        become(ir, r, t2_const(ir, v));
}

/* A guard whose flags are known and hold. */
static bool is_settled(const struct t2_ir *ir, const struct t2_op *o)
{
    if (o->kind == T2_GUARDEQ)
        return t2_value(ir, o->a) == t2_value(ir, o->b) ||
               (t2_is_const(ir, o->a) && t2_is_const(ir, o->b) &&
                value_of(ir, o->a) == value_of(ir, o->b));
    if (o->kind != T2_GUARD)
        return false;
    struct t2_recipe r = t2_recipe_of(ir, o->c);
    if (r.kind == R_CMP && r.r == r.b)
        return flags_condition(AF_ONE | AF_ZF | AF_PF, o->digit);
    if (r.kind == R_HELD || r.kind == R_NEVER || r.c || !t2_is_const(ir, r.r) ||
        (r.b && !t2_is_const(ir, r.b)))
        return false;
    uint16_t f = t2_flags_eval(r.kind, r.size, value_of(ir, r.r),
                               r.b ? value_of(ir, r.b) : 0, 0);
    return flags_condition(f, o->digit);
}

void t2_fold(struct t2_ir *ir)
{
    unsigned kept = 0;
    find_32bit_phis(ir);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        if (is_settled(ir, &ir->ops[r]))
            continue;
        fold_value(ir, r);
        ir->seq[kept++] = r;
    }
    ir->seq_count = kept;
}

/* ---- strength reduction -------------------------------------------------- */

/* The multiplication as one LEA or shift. */
static void reduce_imul(struct t2_ir *ir, struct t2_op *o)
{
    uint64_t k = low(value_of(ir, o->b), o->size);
    if (k == 3 || k == 5 || k == 9) {
        o->kind = T2_LEA;
        o->b = o->a;
        o->scale = k == 3 ? 1 : k == 5 ? 2 : 3;
        o->imm = 0;
    } else if (k && !(k & (k - 1))) {
        o->kind = T2_SHIFT;
        o->digit = 4;
        o->b = 0;
        o->imm = __builtin_ctzll(k);
    }
}

static void reduce_add(struct t2_ir *ir, struct t2_op *o)
{
    if (o->b && t2_is_const(ir, o->b)) {
        int64_t k = sign_extend(value_of(ir, o->b), o->size);
        if (o->digit == 5)
            k = -k;
        if (k != (int32_t)k)
            return;
        o->imm = k;
        o->b = 0;
    } else if (o->digit == 5) {
        return;
    }
    o->kind = T2_LEA;
    o->scale = 0;
    o->digit = 0;
}

/* Maps may want flags of the op: from a recipe, before it becomes another. */
static void keep_recipe(struct t2_ir *ir, t2_ref r)
{
    struct t2_recipe q = t2_recipe_of(ir, r);
    if (q.kind == R_NEVER)
        return;
    ir->fsame[r] = t2_new_op(ir, (struct t2_op){.kind = T2_RECIPE,
                                                .digit = (uint8_t)q.kind,
                                                .size = (uint8_t)q.size,
                                                .a = q.r,
                                                .b = q.b,
                                                .c = q.c});
}

static void count_readers(struct t2_ir *ir)
{
    memset(ir->flag_uses, 0, ir->op_count * sizeof *ir->flag_uses);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        const struct t2_op *o = &ir->ops[ir->seq[n]];
        if (t2_reads_flags(o))
            ir->flag_uses[t2_flags_of(ir, o->c)]++;
    }
}

/* Once nobody wants their flags, additions, left shifts and multiplications are
 * LEAs, which keep their operands and the host's flags. */
void t2_reduce(struct t2_ir *ir)
{
    count_readers(ir);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        struct t2_op *o = &ir->ops[r];
        if (ir->flag_uses[r] || o->size < 4 || !o->a || t2_is_const(ir, o->a))
            continue;
        if (t2_sets_flags(o->kind))
            keep_recipe(ir, r);
        if (o->kind == T2_IMUL && t2_is_const(ir, o->b)) {
            reduce_imul(ir, o);
        } else if (o->kind == T2_ALU && (o->digit == 0 || o->digit == 5)) {
            reduce_add(ir, o);
        } else if (o->kind == T2_INC || o->kind == T2_DEC) {
            o->imm = o->kind == T2_INC ? 1 : -1;
            o->kind = T2_LEA;
            o->c = 0;
        }
        if (o->kind == T2_SHIFT && o->digit == 4 && o->imm <= 3) {
            o->kind = T2_LEA;
            o->digit = 0;
            o->b = o->a;
            o->a = 0;
            o->scale = (uint8_t)o->imm;
            o->imm = 0;
        }
    }
}
