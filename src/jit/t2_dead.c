/* Flags that nobody reads, and ops that nobody needs. */
#include "jit/t2_ir.h"

#include <string.h>

/* ---- flag elimination ---------------------------------------------------- */

/* Does the host code of the op leave host flags alone? */
static bool keeps_flags(const struct t2_op *o)
{
    switch (o->kind) {
    case T2_PAGE:
    case T2_SEGBASE:
    case T2_MOVZX:
    case T2_MOVSX:
    case T2_HIGH:
    case T2_MERGE:
    case T2_SETHIGH:
    case T2_LEA:
    case T2_NOT:
    case T2_BSWAP:
    case T2_SETCC:
    case T2_CMOV:
    case T2_FLAGS:
    case T2_LOAD:
    case T2_STORE:
    case T2_SYSREAD:
    case T2_VVALUE:
    case T2_GUARD:
        return true;
    case T2_VECTOR:
        return !o->own;
    default:
        return o->kind <= T2_RECIPE;
    }
}

/* Flags that a map or a loop wants, through recipes. flag_uses counts readers
 * in the code, value_uses those of maps. */
static void wanted(struct t2_ir *ir, t2_ref flags)
{
    for (t2_ref f = t2_flags_of(ir, flags); f;) {
        struct t2_recipe r = t2_recipe_of(ir, f);
        ir->value_uses[f]++;
        if (r.kind == R_HELD && r.r != f)
            ir->value_uses[r.r]++;
        f = r.c;
    }
}

static void count_flags(struct t2_ir *ir)
{
    memset(ir->flag_uses, 0, ir->op_count * sizeof *ir->flag_uses);
    memset(ir->value_uses, 0, ir->op_count * sizeof *ir->value_uses);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        const struct t2_op *o = &ir->ops[ir->seq[n]];
        if (t2_reads_flags(o))
            ir->flag_uses[t2_flags_of(ir, o->c)]++;
        if (o->kind == T2_FPHI) {
            wanted(ir, o->a);
            for (unsigned e = 0; e < ir->edge_count; e++)
                wanted(ir, t2_phi_at(ir, o, e));
        }
        if (o->kind == T2_RECIPE && o->c)
            wanted(ir, o->c);
        if (o->map)
            wanted(ir, ir->maps[o->map].flags);
        if (t2_has_second_map(o->kind) && o->imm)
            wanted(ir, ir->maps[o->imm].flags);
    }
}

/* The held flags at position n: when all that read them do so while the host's
 * flags stand, they read those, and nothing is held. */
static bool is_fused(struct t2_ir *ir, unsigned n)
{
    t2_ref held = ir->seq[n];
    t2_ref source = t2_flags_of(ir, ir->ops[held].c);
    unsigned left = ir->flag_uses[held];
    if (ir->value_uses[held])
        return false;
    for (unsigned k = n + 1; left && k < ir->seq_count; k++) {
        struct t2_op *o = &ir->ops[ir->seq[k]];
        if (t2_reads_flags(o) && t2_flags_of(ir, o->c) == held &&
            o->kind != T2_SHIFTCL && o->kind != T2_BT && o->kind != T2_GETF)
            left--;
        if (!keeps_flags(o))
            break;
    }
    if (left)
        return false;
    ir->fsame[held] = source;
    ir->flag_uses[source] =
        (uint16_t)(ir->flag_uses[source] - 1 + ir->flag_uses[held]);
    return true;
}

/* What the flags of the op are good for: nothing, or CF alone. */
static void note_partial(struct t2_ir *ir, t2_ref r)
{
    struct t2_op *o = &ir->ops[r];
    if (o->kind != T2_SHIFTCL && o->kind != T2_BT)
        return;
    if (!ir->flag_uses[r])
        o->from = 1;
}

void t2_flag_elimination(struct t2_ir *ir)
{
    /* Backwards, for held flags may be what the next one keeps of. */
    count_flags(ir);
    for (unsigned n = ir->seq_count; n-- > 0;) {
        t2_ref r = ir->seq[n];
        if (ir->ops[r].kind == T2_FLAGS && is_fused(ir, n))
            ir->ops[r].is_dropped = true;
        note_partial(ir, r);
        const struct t2_op *o = &ir->ops[r];
        if (o->from == 1 && (o->kind == T2_SHIFTCL || o->kind == T2_BT))
            ir->flag_uses[t2_flags_of(ir, o->c)]--;
    }
    unsigned kept = 0;
    for (unsigned n = 0; n < ir->seq_count; n++)
        if (!ir->ops[ir->seq[n]].is_dropped)
            ir->seq[kept++] = ir->seq[n];
    ir->seq_count = kept;
}

/* ---- dead code ----------------------------------------------------------- */

struct marks {
    struct t2_ir *ir;
    unsigned depth; /* of the stack in seq2 */
};

static void need(struct marks *m, t2_ref r)
{
    struct t2_ir *ir = m->ir;
    r = t2_value(ir, r);
    if (!r || ir->value_uses[r]++)
        return;
    ir->seq2[m->depth++] = r;
}

static void need_recipe(struct marks *m, t2_ref flags)
{
    while (flags) {
        struct t2_recipe r = t2_recipe_of(m->ir, flags);
        need(m, r.kind == R_NEVER ? 0 : r.r);
        need(m, r.b);
        flags = r.c;
    }
}

/* Flags read in the code: by the op that sets them, or from its recipe. */
static void need_flags(struct marks *m, t2_ref flags)
{
    t2_ref f = t2_flags_of(m->ir, flags);
    need_recipe(m, f);
    if (m->ir->ops[f].kind == T2_RECIPE || !f || m->ir->value_uses[f]++)
        return;
    m->ir->seq2[m->depth++] = f;
}

static void need_map(struct marks *m, unsigned map)
{
    if (!map)
        return;
    for (unsigned g = 0; g < 16; g++)
        need(m, m->ir->maps[map].reg[g]);
    need_recipe(m, m->ir->maps[map].flags);
}

static void need_operands(struct marks *m, const struct t2_op *o)
{
    need(m, o->a);
    need(m, o->b);
    if (o->kind == T2_PHI || o->kind == T2_FPHI)
        for (unsigned e = 1; e < m->ir->edge_count; e++)
            need(m, t2_phi_at(m->ir, o, e));
    if (t2_reads_flags(o) &&
        !(o->from == 1 && (o->kind == T2_SHIFTCL || o->kind == T2_BT)))
        need_flags(m, o->c);
    need_map(m, o->map);
    if (t2_has_second_map(o->kind))
        need_map(m, (unsigned)o->imm);
}

void t2_dce(struct t2_ir *ir)
{
    struct marks m = {.ir = ir};
    unsigned kept = 0;
    memset(ir->value_uses, 0, ir->op_count * sizeof *ir->value_uses);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        if (o->kind == T2_CHECK || o->kind >= T2_STORE) {
            if (!ir->value_uses[r]) {
                ir->value_uses[r] = 1;
                need_operands(&m, o);
            }
        }
        while (m.depth)
            need_operands(&m, &ir->ops[ir->seq2[--m.depth]]);
    }
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        if (ir->value_uses[r] || ir->ops[r].kind == T2_PARAM ||
            ir->ops[r].kind == T2_RECIPE)
            ir->seq[kept++] = r;
    }
    ir->seq_count = kept;
}

/* ---- scheduling ---------------------------------------------------------- */

/* A comparison goes to where its flags are first read, when something between
 * would clobber them. */
static bool sink(const struct t2_ir *ir, unsigned n, unsigned *to)
{
    t2_ref r = ir->seq[n];
    bool is_lost = false;
    for (unsigned k = n + 1; k < ir->seq_count; k++) {
        const struct t2_op *o = &ir->ops[ir->seq[k]];
        if (t2_reads_flags(o) && t2_flags_of(ir, o->c) == r) {
            *to = k;
            return is_lost;
        }
        if (o->kind == T2_LOOP || o->kind == T2_BACK || o->arm)
            return false; /* an arm may want them too */
        is_lost |= !keeps_flags(o);
    }
    return false;
}

void t2_schedule(struct t2_ir *ir)
{
    /* next[r]: comparisons to put in front of an op, by its position. */
    unsigned kept = 0, to;
    t2_ref *before = ir->seq2;
    memset(before, 0, (ir->seq_count + 1) * sizeof *before);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        struct t2_op *o = &ir->ops[r];
        if ((o->kind == T2_CMP || o->kind == T2_TEST) && sink(ir, n, &to) &&
            !before[to]) {
            before[to] = r;
            continue;
        }
        if (before[n])
            ir->seq[kept++] = before[n];
        ir->seq[kept++] = r;
    }
    ir->seq_count = kept;
}
