/* Common subexpressions and what loops need to compute only once. Both look ops
 * up in a table of those before; loop-invariant code motion looks from the body
 * into the first iteration. */
#include "jit/t2_ir.h"

#include <string.h>

enum {
    SPAN_MAX = 512, /* bytes that one check may cover */
    ROOTS = 64,     /* checks remembered */
    HEAD_MAX = 6,   /* checks at the head of a loop */
    OFTEN = 4       /* weight of an arm */
};

struct checks {
    t2_ref by_root[ROOTS];
    unsigned count;
};

/* ---- values -------------------------------------------------------------- */

static bool is_pure(const struct t2_op *o)
{
    return (o->kind >= T2_PAGE && o->kind <= T2_FLAGS) || o->kind == T2_RECIPE;
}

/* Behind it the condition holds, everywhere. */
static bool is_lasting_guard(const struct t2_op *o)
{
    return o->kind == T2_GUARD && !o->arm && !o->from;
}

static uint32_t hash_of(const struct t2_ir *ir, const struct t2_op *o)
{
    uint64_t h = o->kind | o->size << 8 | o->digit << 12 | o->scale << 17 |
                 (uint32_t)o->from << 20;
    h = (h ^ t2_value(ir, o->a)) * 0x9e3779b97f4a7c15u;
    h = (h ^ t2_value(ir, o->b)) * 0x9e3779b97f4a7c15u;
    h = (h ^ t2_flags_of(ir, o->c)) * 0x9e3779b97f4a7c15u;
    h = (h ^ (uint64_t)o->imm) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 40) & (T2_HASH - 1);
}

static bool equal_refs(const struct t2_ir *ir, t2_ref x, t2_ref y)
{
    x = t2_value(ir, x);
    y = t2_value(ir, y);
    if (x == y)
        return true;
    return x && y && ir->ops[x].kind == T2_CONST &&
           ir->ops[y].kind == T2_CONST && ir->ops[x].imm == ir->ops[y].imm;
}

static bool is_equal(const struct t2_ir *ir, const struct t2_op *x,
                     const struct t2_op *y)
{
    return x->kind == y->kind && x->size == y->size && x->digit == y->digit &&
           x->scale == y->scale && x->from == y->from && x->imm == y->imm &&
           equal_refs(ir, x->a, y->a) && equal_refs(ir, x->b, y->b) &&
           t2_flags_of(ir, x->c) == t2_flags_of(ir, y->c);
}

/* Constants have many names: give equal operands one, so that hashes agree. */
static void rename_constants(struct t2_ir *ir, struct t2_op *o)
{
    t2_ref *const refs[2] = {&o->a, &o->b};
    for (unsigned n = 0; n < 2; n++) {
        t2_ref r = t2_value(ir, *refs[n]);
        if (!r || ir->ops[r].kind != T2_CONST)
            continue;
        uint32_t h =
            ((uint32_t)((uint64_t)ir->ops[r].imm * 0x9e3779b97f4a7c15u >> 40)) &
            (T2_HASH - 1);
        t2_ref known = (t2_ref)(ir->hash[h] >> 16);
        if (known && known < ir->op_count && ir->ops[known].kind == T2_CONST &&
            ir->ops[known].imm == ir->ops[r].imm)
            *refs[n] = known;
        else
            ir->hash[h] = (ir->hash[h] & 0xffff) | (uint32_t)r << 16;
    }
}

/* The op in the table that computed the same before r, or 0. */
static t2_ref find(const struct t2_ir *ir, t2_ref r)
{
    const struct t2_op *o = &ir->ops[r];
    t2_ref e = (t2_ref)(ir->hash[hash_of(ir, o)] & 0xffff);
    return e && is_equal(ir, &ir->ops[e], o) && t2_dominates(ir, e, r) ? e : 0;
}

static void enter(struct t2_ir *ir, t2_ref r)
{
    uint32_t *h = &ir->hash[hash_of(ir, &ir->ops[r])];
    *h = (*h & 0xffff0000) | r;
}

static void replace(struct t2_ir *ir, t2_ref r, t2_ref by)
{
    ir->same[r] = by;
    ir->fsame[r] = by;
}

/* ---- checks -------------------------------------------------------------- */

/* One with the root of r that was done before it. */
static t2_ref *check_of(struct checks *c, const struct t2_ir *ir, t2_ref r)
{
    t2_ref root = t2_value(ir, ir->ops[r].a);
    for (unsigned n = 0; n < c->count && n < ROOTS; n++)
        if (t2_value(ir, ir->ops[c->by_root[n]].a) == root &&
            t2_dominates(ir, c->by_root[n], r))
            return &c->by_root[n];
    return NULL;
}

static void remember(struct checks *c, const struct t2_ir *ir, t2_ref r)
{
    t2_ref *known = check_of(c, ir, r);
    if (known)
        *known = r;
    else
        c->by_root[c->count++ % ROOTS] = r;
}

static bool is_arm(const struct t2_ir *ir, const struct t2_op *o)
{
    t2_ref from = ir->segments[o->segment].from;
    return from && ir->ops[from].kind != T2_LOOP;
}

/* Let `by` answer for r as well. */
static bool widen(struct t2_ir *ir, t2_ref by, t2_ref r)
{
    struct t2_op *e = &ir->ops[by];
    const struct t2_op *o = &ir->ops[r];
    int32_t lo = o->lo < e->lo ? o->lo : e->lo;
    int32_t hi = o->hi > e->hi ? o->hi : e->hi;
    uint8_t rw = e->rw | o->rw;
    bool is_wider = lo != e->lo || hi != e->hi || rw != e->rw;
    if (is_wider && (ir->no_spans || hi - lo > SPAN_MAX))
        return false;
    /* What an arm does asks for no more where the arm is not taken. */
    if (is_wider && o->segment != e->segment && is_arm(ir, o) &&
        (e->at_head || rw != e->rw ||
         ir->segments[o->segment].weight < OFTEN))
        return false;
    e->lo = lo;
    e->hi = hi;
    e->rw = rw;
    replace(ir, r, by);
    return true;
}

/* ---- the passes ---------------------------------------------------------- */

static unsigned loop_position(const struct t2_ir *ir)
{
    for (unsigned n = 0; n < ir->seq_count; n++)
        if (ir->ops[ir->seq[n]].kind == T2_LOOP)
            return n;
    return ir->seq_count;
}

/* Loads are equal while nothing was stored; a check may walk page tables, which
 * sets bits in memory. */
static bool ends_epoch(const struct t2_op *o)
{
    return o->kind == T2_STORE ||
           (o->kind == T2_VECTOR && (o->rw & T2_WRITES)) || (o->kind == T2_CHECK && !o->at_head);
}

static void cse_range(struct t2_ir *ir, unsigned from, unsigned to,
                      unsigned *kept)
{
    struct checks checks = {.count = 0};
    unsigned epoch = 0;
    memset(ir->hash, 0, T2_HASH * sizeof *ir->hash);
    for (unsigned n = from; n < to; n++) {
        t2_ref r = ir->seq[n], e = 0;
        struct t2_op *o = &ir->ops[r];
        if (o->kind == T2_CHECK) {
            t2_ref *known = check_of(&checks, ir, r);
            if (known && widen(ir, *known, r))
                continue;
            remember(&checks, ir, r);
        } else if (is_pure(o) || o->kind == T2_LOAD) {
            rename_constants(ir, o);
            if (o->kind == T2_LOAD)
                o->b = 0;
            e = find(ir, r);
            if (e && o->kind == T2_LOAD && ir->ops[e].lo != (int32_t)epoch)
                e = 0;
            if (e) {
                replace(ir, r, e);
                continue;
            }
            if (o->kind == T2_LOAD)
                o->lo = (int32_t)epoch;
            enter(ir, r);
        } else if (is_lasting_guard(o)) {
            if (find(ir, r))
                continue;
            enter(ir, r);
        }
        if (o->arm)
            o->lo = (int32_t)epoch;
        if (o->kind == T2_ARM)
            epoch = (unsigned)ir->ops[ir->segments[o->segment].from].lo;
        epoch += ends_epoch(o);
        ir->seq[(*kept)++] = r;
    }
}

void t2_cse(struct t2_ir *ir)
{
    unsigned loop = loop_position(ir), kept = 0;
    cse_range(ir, 0, loop, &kept);
    cse_range(ir, loop, ir->seq_count, &kept);
    ir->seq_count = kept;
}

/* ---- loops --------------------------------------------------------------- */

/* Fill the table with the first iteration. */
static void enter_first(struct t2_ir *ir, unsigned loop, struct checks *checks)
{
    memset(ir->hash, 0, T2_HASH * sizeof *ir->hash);
    for (unsigned n = 0; n < loop; n++) {
        t2_ref r = ir->seq[n];
        if (ir->ops[r].kind == T2_CHECK) {
            remember(checks, ir, r);
        } else if (is_pure(&ir->ops[r]) || is_lasting_guard(&ir->ops[r])) {
            rename_constants(ir, &ir->ops[r]);
            enter(ir, r);
        }
    }
}

/* A check whose root is known at the head: one of the first iteration answers
 * for it, or it is done there. */
static bool hoist_check(struct t2_ir *ir, t2_ref r, struct checks *first,
                        struct checks *head)
{
    struct t2_op *o = &ir->ops[r];
    t2_ref root = t2_value(ir, o->a);
    t2_ref *known = check_of(first, ir, r);
    if (known)
        return widen(ir, *known, r);
    if (ir->ops[root].kind != T2_PHI || ir->no_spans)
        return false;
    known = check_of(head, ir, r);
    if (known)
        return widen(ir, *known, r);
    if (head->count == HEAD_MAX || is_arm(ir, o))
        return false;
    o->at_head = true;
    o->map = ir->loop_map;
    remember(head, ir, r);
    return true;
}

/* Where the body's own code begins: behind phis and recipes. */
static unsigned body_start(const struct t2_ir *ir, unsigned loop)
{
    unsigned n = loop + 1;
    while (n < ir->seq_count && ir->ops[ir->seq[n]].kind <= T2_RECIPE)
        n++;
    return n;
}

void t2_licm(struct t2_ir *ir)
{
    unsigned loop = loop_position(ir), kept = 0;
    if (loop == ir->seq_count)
        return;
    struct checks first = {.count = 0}, head = {.count = 0};
    enter_first(ir, loop, &first);
    unsigned start = body_start(ir, loop);
    for (unsigned n = start; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n], e = 0;
        struct t2_op *o = &ir->ops[r];
        if (o->kind == T2_CHECK) {
            if (hoist_check(ir, r, &first, &head))
                continue;
        } else if (is_pure(o)) {
            rename_constants(ir, o);
            e = find(ir, r);
            if (e) {
                replace(ir, r, e);
                continue;
            }
        } else if (is_lasting_guard(o) && find(ir, r)) {
            continue;
        }
        ir->seq2[kept++] = r;
    }
    for (unsigned n = 0; n < head.count; n++)
        ir->seq[start++] = head.by_root[n];
    memcpy(ir->seq + start, ir->seq2, kept * sizeof *ir->seq);
    ir->seq_count = start + kept;
}
