/* Checks that repeat an earlier one. t2_cse() remembers the last check of each
 * root and widens it; where every access has a check of its own, because they lie
 * on both sides of a page's border, all of them are worth remembering: the loop's
 * body then goes by those of the first iteration. */
#include "jit/t2_ir.h"

enum {
    REMEMBERED = 32,
    REUSED_MAX = 10 /* pointers that are kept for it: they take registers */
};

struct known {
    t2_ref check[REMEMBERED];
    unsigned count, reused;
    bool is_reused[REMEMBERED];
};

/* Does e prove what o wants, or can it do so at no more than another look at
 * its entry of the TLB? */
static bool answers(struct t2_ir *ir, t2_ref e, t2_ref r)
{
    struct t2_op *by = &ir->ops[e];
    const struct t2_op *o = &ir->ops[r];
    if (t2_value(ir, by->a) != t2_value(ir, o->a) || o->lo < by->lo ||
        o->hi > by->hi || !t2_dominates(ir, e, r))
        return false;
    if ((o->rw & ~by->rw) &&
        (o->segment != by->segment || by->at_head || o->lo != by->lo ||
         o->hi != by->hi))
        return false;
    by->rw |= o->rw;
    return true;
}

static bool reuse(struct t2_ir *ir, struct known *k, t2_ref r)
{
    for (unsigned n = 0; n < k->count && n < REMEMBERED; n++) {
        if (!k->is_reused[n] && k->reused == REUSED_MAX)
            continue;
        if (!answers(ir, k->check[n], r))
            continue;
        k->reused += !k->is_reused[n];
        k->is_reused[n] = true;
        ir->same[r] = k->check[n];
        return true;
    }
    return false;
}

void t2_reuse(struct t2_ir *ir)
{
    struct known k = {.count = 0};
    unsigned kept = 0;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        if (ir->ops[r].kind == T2_CHECK) {
            if (reuse(ir, &k, r))
                continue;
            unsigned at = k.count++ % REMEMBERED;
            k.check[at] = r;
            k.is_reused[at] = false;
        }
        ir->seq[kept++] = r;
    }
    ir->seq_count = kept;
}
