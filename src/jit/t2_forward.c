/* Loads of what was just stored or loaded: what CALL pushes is what RET pops.
 *
 * All memory of a trace is plain; nothing but its own stores changes it, and
 * checks, which may walk page tables. Pages may be mapped twice: a store through
 * one check may change what was accessed through another. */
#include "jit/t2_ir.h"

enum { CELLS = 16 };

/* `size` bytes at [check + at] are the low ones of value. */
struct cell {
    t2_ref check, value;
    int64_t at;
    unsigned size;
    bool is_loaded; /* the other bytes of value are 0 */
};

struct cells {
    struct cell cell[CELLS];
    unsigned count;
};

static void know(struct cells *c, struct cell cell)
{
    c->cell[c->count++ % CELLS] = cell;
}

static void note_store(struct t2_ir *ir, struct cells *c, const struct t2_op *o)
{
    t2_ref check = t2_value(ir, o->a);
    unsigned kept = 0;
    for (unsigned n = 0; n < c->count && n < CELLS; n++) {
        const struct cell *k = &c->cell[n];
        if (k->check == check && (k->at >= o->imm + o->size ||
                                  o->imm >= k->at + (int64_t)k->size))
            c->cell[kept++] = *k;
    }
    c->count = kept;
    know(c, (struct cell){check, t2_value(ir, o->b), o->imm, o->size, false});
}

/* The load r becomes the value that is known to be there. */
static bool forward(struct t2_ir *ir, struct cells *c, t2_ref r)
{
    struct t2_op *o = &ir->ops[r];
    t2_ref check = t2_value(ir, o->a);
    if (o->from)
        return false;
    for (unsigned n = 0; n < c->count && n < CELLS; n++) {
        const struct cell *k = &c->cell[n];
        if (k->check != check || k->at != o->imm || k->size != o->size)
            continue;
        if (k->is_loaded || o->size == 8) {
            ir->same[r] = k->value;
            return true;
        }
        o->kind = T2_MOVZX;
        o->a = k->value;
        o->imm = 0;
        return false;
    }
    know(c, (struct cell){check, r, o->imm, o->size, true});
    return false;
}

static bool forgets(const struct t2_op *o)
{
    return o->kind == T2_LOOP || o->kind == T2_ARM || o->kind == T2_CHECK ||
           (o->kind == T2_VECTOR && (o->rw & T2_WRITES));
}

void t2_forward(struct t2_ir *ir)
{
    struct cells cells = {.count = 0};
    unsigned kept = 0;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        if (forgets(o))
            cells.count = 0;
        else if (o->kind == T2_STORE)
            note_store(ir, &cells, o);
        else if (o->kind == T2_LOAD && forward(ir, &cells, r))
            continue;
        ir->seq[kept++] = r;
    }
    ir->seq_count = kept;
}
