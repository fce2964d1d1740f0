#include "jit/t2_alloc.h"

#include "jit/jit_internal.h"

#include <stdlib.h>
#include <string.h>

/* RAX and RDX are scratch of the code generator, R15 counts ticks. */
static const uint8_t registers[] = {H_RBX, H_RSI, H_RDI, H_RBP, H_RCX, H_R8,
                                    H_R9,  H_R10, H_R11, H_R12, H_R13, H_R14};

bool t2_alloc_init(struct t2_alloc *a)
{
    memset(a, 0, sizeof *a);
    a->at = calloc(T2_OPS_MAX, sizeof *a->at);
    a->first = calloc(T2_OPS_MAX, sizeof *a->first);
    a->last = calloc(T2_OPS_MAX, sizeof *a->last);
    a->weight = calloc(T2_OPS_MAX, sizeof *a->weight);
    a->hint = calloc(T2_OPS_MAX, sizeof *a->hint);
    a->want = calloc(T2_OPS_MAX, sizeof *a->want);
    return a->want && a->at && a->first && a->last && a->weight && a->hint;
}

void t2_alloc_fini(struct t2_alloc *a)
{
    free(a->at);
    free(a->first);
    free(a->last);
    free(a->weight);
    free(a->hint);
    free(a->want);
}

/* ---- lives --------------------------------------------------------------- */

struct lives {
    struct t2_alloc *a;
    const struct t2_ir *ir;
    uint32_t at; /* current position */
    unsigned cost;
};

/* What was there before the loop and is used in it is there to its end. */
static void use(struct lives *l, t2_ref r, unsigned cost)
{
    struct t2_alloc *a = l->a;
    r = t2_value(l->ir, r);
    if (!r || l->ir->ops[r].kind == T2_CONST)
        return;
    uint32_t end = l->at;
    if (a->loop != UINT32_MAX && end > a->loop && end < a->back &&
        a->first[r] < a->loop)
        end = a->back;
    if (end > a->last[r])
        a->last[r] = end;
    a->weight[r] += cost;
}

static void use_flags(struct lives *l, t2_ref flags, unsigned cost)
{
    while (flags) {
        struct t2_recipe r = t2_recipe_of(l->ir, flags);
        use(l, r.kind == R_NEVER ? 0 : r.r, cost);
        use(l, r.b, cost);
        flags = r.c;
    }
}

static void use_map(struct lives *l, unsigned map)
{
    if (!map)
        return;
    const struct t2_map *m = &l->ir->maps[map];
    for (unsigned g = 0; g < 16; g++)
        use(l, m->reg[g], 0);
    use_flags(l, m->flags, 0);
}

static void use_op(struct lives *l, const struct t2_op *o)
{
    if (o->kind == T2_PHI || o->kind == T2_FPHI) {
        /* Set at the loop's head, and again at its end. */
        l->at = l->a->loop;
        use(l, o->a, 1);
        for (unsigned e = 0; e < l->ir->edge_count; e++) {
            l->at = l->a->edge[e];
            use(l, t2_phi_at(l->ir, o, e), 1);
        }
        return;
    }
    if (o->kind == T2_RECIPE)
        return;
    if (o->kind == T2_LOOP)
        l->at++; /* its map is of the state behind the phis */
    use(l, o->a, l->cost);
    use(l, o->b, l->cost);
    if (t2_reads_flags(o))
        use_flags(l, o->c, 1);
    use_map(l, o->map);
    if (t2_has_second_map(o->kind))
        use_map(l, (unsigned)o->imm);
}

static void find_loop(struct t2_alloc *a, const struct t2_ir *ir)
{
    a->loop = a->back = UINT32_MAX;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        const struct t2_op *o = &ir->ops[ir->seq[n]];
        if (o->kind == T2_LOOP) {
            a->loop = n;
            a->back = ir->seq_count - 1;
        } else if (o->kind == T2_BACK) {
            a->edge[o->imm] = n;
        }
    }
}

/* The next op alone wants the pointer: it adds the root itself. */
static void fold_pointers(struct lives *l)
{
    const struct t2_ir *ir = l->ir;
    for (unsigned n = 0; n + 1 < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r], *next = &ir->ops[ir->seq[n + 1]];
        if (o->kind != T2_CHECK || o->at_head || l->a->last[r] != n + 1 ||
            t2_value(ir, next->a) != r || t2_value(ir, next->b) == r ||
            next->kind < T2_LOAD || next->kind > T2_VVALUE)
            continue;
        l->a->at[r] = T2_FOLDED;
        l->at = n + 1;
        use(l, o->a, 0);
    }
}

/* After a slow path, pointers of checks are looked up again: their roots must
 * be there. */
static void keep_roots(struct lives *l)
{
    const struct t2_ir *ir = l->ir;
    struct t2_alloc *a = l->a;
    uint32_t slow = 0, last_slow = 0;
    for (unsigned n = ir->seq_count; n-- > 0;) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        if (o->kind != T2_CHECK)
            continue;
        /* Any slow path in its life? In a loop, all of the body's are. */
        bool is_slow = slow && (slow <= a->last[r] || a->last[r] == a->back);
        if (is_slow && last_slow) {
            l->at = a->last[r];
            use(l, o->a, 0);
        }
        if (!o->at_head) {
            slow = n;
            last_slow = last_slow ? last_slow : n;
        }
    }
}

static void find_lives(struct t2_alloc *a, const struct t2_ir *ir)
{
    struct lives l = {.a = a, .ir = ir};
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        bool is_phi = o->kind == T2_PHI || o->kind == T2_FPHI;
        a->first[r] = a->last[r] = is_phi ? a->loop : n;
        a->weight[r] = 0;
        a->hint[r] = 0;
        a->want[r] = H_NONE;
        a->at[r] = T2_NOWHERE;
    }
    for (unsigned n = 0; n < ir->seq_count; n++) {
        bool in_loop = a->loop != UINT32_MAX && n > a->loop;
        unsigned weight = ir->segments[ir->ops[ir->seq[n]].segment].weight;
        l.at = n;
        l.cost = in_loop && weight > 2 ? weight : 2;
        use_op(&l, &ir->ops[ir->seq[n]]);
    }
    keep_roots(&l);
    fold_pointers(&l);
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        if (o->kind == T2_EXIT || o->kind == T2_EXIT_TO)
            for (unsigned g = 0; g < JIT_MAPPED; g++)
                a->want[t2_value(ir, ir->maps[o->map].reg[g])] = jit_host_of[g];
        if (o->kind == T2_PHI || o->kind == T2_FPHI) {
            t2_ref b = t2_value(ir, o->b);
            if (ir->ops[b].kind != T2_CONST && !a->hint[b])
                a->hint[b] = r;
            t2_ref first = t2_value(ir, o->a);
            if (ir->ops[first].kind != T2_CONST)
                a->hint[r] = first;
        }
    }
}

/* ---- the scan ------------------------------------------------------------ */

struct scan {
    struct t2_alloc *a;
    const struct t2_ir *ir;
    t2_ref in[16]; /* by host register */
};

static bool needs_place(const struct t2_op *o)
{
    return t2_has_value(o->kind) && o->kind != T2_CONST;
}

static void expire(struct scan *s, uint32_t now)
{
    for (unsigned n = 0; n < sizeof registers; n++) {
        t2_ref *v = &s->in[registers[n]];
        if (*v && s->a->last[*v] <= now)
            *v = 0;
    }
}

static bool to_memory(struct scan *s, t2_ref v)
{
    struct t2_alloc *a = s->a;
    const struct t2_op *o = &s->ir->ops[v];
    if (o->kind == T2_PARAM) {
        a->at[v] = (uint16_t)(T2_HOME + o->digit);
        return true;
    }
    for (unsigned n = 0; n < T2_SPILLS; n++) {
        if (n < a->spill_count && a->spill_last[n] >= a->first[v])
            continue;
        if (n >= a->spill_count)
            a->spill_count = n + 1;
        a->spill_last[n] = a->last[v];
        a->at[v] = (uint16_t)(T2_SPILL + n);
        return true;
    }
    return false;
}

static bool is_free(const struct scan *s, unsigned host)
{
    return host < 16 && host != H_RAX && host != H_RDX && host != H_RSP &&
           host != H_R15 && !s->in[host];
}

/* A register that saves a move: that of the hint, of the first operand, or the
 * one that the guest register has outside. */
static unsigned preferred(const struct scan *s, t2_ref v)
{
    const struct t2_alloc *a = s->a;
    const struct t2_op *o = &s->ir->ops[v];
    if (a->hint[v] && is_free(s, a->at[a->hint[v]]))
        return a->at[a->hint[v]];
    if (o->kind == T2_PARAM && is_free(s, jit_host_of[o->digit]))
        return jit_host_of[o->digit];
    if (is_free(s, a->want[v]))
        return a->want[v];
    t2_ref x = t2_value(s->ir, o->a);
    if (x && is_free(s, a->at[x]))
        return a->at[x];
    x = t2_value(s->ir, o->b);
    if (x && is_free(s, a->at[x]))
        return a->at[x];
    for (unsigned n = 0; n < sizeof registers; n++)
        if (!s->in[registers[n]])
            return registers[n];
    return H_NONE;
}

static uint64_t worth(const struct t2_alloc *a, t2_ref v)
{
    return ((uint64_t)a->weight[v] << 16) / (a->last[v] - a->first[v] + 1);
}

static bool place(struct scan *s, t2_ref v)
{
    struct t2_alloc *a = s->a;
    unsigned host = preferred(s, v);
    if (host == H_NONE) {
        t2_ref least = v;
        for (unsigned n = 0; n < sizeof registers; n++) {
            t2_ref other = s->in[registers[n]];
            if (worth(a, other) < worth(a, least))
                least = other;
        }
        host = a->at[least];
        if (!to_memory(s, least))
            return false;
        if (least == v)
            return true;
    }
    s->in[host] = v;
    a->at[v] = (uint16_t)host;
    return true;
}

bool t2_allocate(struct t2_alloc *a, const struct t2_ir *ir)
{
    struct scan s = {.a = a, .ir = ir};
    find_loop(a, ir);
    find_lives(a, ir);
    a->spill_count = 0;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        /* Operands are read before the result is written; parameters are all
         * there at once, as phis are. */
        bool is_at_head = o->kind == T2_PHI || o->kind == T2_FPHI ||
                          (o->kind == T2_RECIPE && n > a->loop);
        if (o->kind != T2_PARAM && o->kind != T2_PFLAGS)
            expire(&s, is_at_head ? a->loop : n);
        if (needs_place(o) && a->at[r] != T2_FOLDED &&
            a->last[r] > a->first[r] && !place(&s, r))
            return false;
    }
    return true;
}
