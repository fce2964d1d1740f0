/* The tree of a trace: its main path, as a loop or not, and arms. */
#include "jit/t2_build.h"

#include <string.h>

enum {
    LOOP_INSNS_MAX = 700 /* longer ones end in a jump to their entry */
};

static void start(struct t2_ir *ir)
{
    for (unsigned g = 0; g < 16; g++)
        ir->now[g] = t2_emit_ir(
            ir, (struct t2_op){.kind = T2_PARAM, .digit = (uint8_t)g});
    ir->flags = t2_emit_ir(ir, (struct t2_op){.kind = T2_PFLAGS, .size = 4});
}

static void end_at(struct t2_build *b, uint64_t rip)
{
    uint16_t map = t2_map_here(b, rip);
    t2_emit_ir(b->ir, (struct t2_op){.kind = T2_EXIT,
                                     .map = map,
                                     .imm = b->before,
                                     .insn = (uint16_t)b->n});
    b->ended = true;
}

static void end_segment(struct t2_build *b)
{
    struct t2_segment *s = &b->ir->segments[b->ir->segment];
    s->insns = b->retired;
    s->accesses = b->accesses;
}

static bool has_arms(const struct t2_ir *ir)
{
    return ir->piece_count > 1;
}

/* ---- loops --------------------------------------------------------------- */

/* The state at the head of the body, and its counterparts at the end. */
struct closing {
    t2_ref first[16]; /* before: at the end of the first iteration */
    t2_ref phi[16];
    struct t2_recipe
        flags[2];        /* of the first iteration; [1]: its source of CF */
    t2_ref flags_phi[2]; /* FPHI or RECIPE */
    t2_ref extra[2][2];  /* phis of operands r, b that are no register */
};

static t2_ref new_phi(struct t2_ir *ir, unsigned kind, t2_ref a)
{
    return t2_emit_ir(ir, (struct t2_op){.kind = (uint8_t)kind,
                                         .size = 8,
                                         .a = a,
                                         .imm = ir->phi_count++});
}

/* What the phi becomes at the edge that is being closed. */
static void set_phi(struct t2_ir *ir, t2_ref phi, t2_ref v)
{
    if (ir->edge_count)
        ir->more[ir->edge_count][ir->ops[phi].imm] = v;
    else
        ir->ops[phi].b = v;
}

/* Flags in a register, whatever they are the flags of. */
static void hold_flags(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    if (t2_recipe_of(ir, ir->flags).kind != R_HELD)
        ir->flags = t2_emit_ir(ir, (struct t2_op){.kind = T2_FLAGS,
                                                  .size = 4,
                                                  .c = ir->flags,
                                                  .insn = (uint16_t)b->n});
}

static t2_ref phi_of(struct t2_ir *ir, struct closing *c, t2_ref v,
                     t2_ref *extra)
{
    *extra = 0;
    if (!v || ir->ops[v].kind == T2_CONST)
        return v;
    for (unsigned g = 0; g < 16; g++)
        if (c->first[g] == v)
            return c->phi[g];
    return *extra = new_phi(ir, T2_PHI, v);
}

/* Flags at the head in the form that they have at the end of an iteration. */
static t2_ref open_flags(struct t2_ir *ir, struct closing *c, t2_ref flags,
                         unsigned level)
{
    struct t2_recipe r = t2_recipe_of(ir, flags);
    c->flags[level] = r;
    if (r.kind == R_HELD)
        return c->flags_phi[level] = new_phi(ir, T2_FPHI, r.r);
    struct t2_op op = {
        .kind = T2_RECIPE, .digit = (uint8_t)r.kind, .size = (uint8_t)r.size};
    if (r.c) {
        /* CF alone: INC and DEC keep it. */
        t2_ref source = r.c;
        struct t2_recipe s = t2_recipe_of(ir, source);
        while (s.kind == R_INC || s.kind == R_DEC) {
            source = s.c;
            s = t2_recipe_of(ir, source);
        }
        op.c = open_flags(ir, c, source, level + 1);
    }
    op.a = phi_of(ir, c, r.r, &c->extra[level][0]);
    op.b = phi_of(ir, c, r.b, &c->extra[level][1]);
    return c->flags_phi[level] = t2_emit_ir(ir, op);
}

static void open_loop(struct t2_build *b, struct closing *c)
{
    struct t2_ir *ir = b->ir;
    if (ir->holds_flags)
        hold_flags(b);
    t2_ref loop = t2_emit_ir(ir, (struct t2_op){.kind = T2_LOOP});
    ir->segment = 1;
    ir->segments[1].from = loop;
    ir->segments[1].weight = 16;
    for (unsigned g = 0; g < 16; g++) {
        t2_ref v = t2_value(ir, ir->now[g]);
        /* An arm may change what the main path does not. */
        bool is_same = !has_arms(ir) && ir->ops[v].kind == T2_PARAM &&
                       ir->ops[v].digit == g;
        c->first[g] = v;
        c->phi[g] = is_same ? v : new_phi(ir, T2_PHI, v);
    }
    ir->flags = open_flags(ir, c, ir->flags, 0);
    memcpy(ir->now, c->phi, sizeof c->phi);
    b->retired = b->accesses = 0;
    b->n = 0;
    ir->loop_map = t2_map_here(b, ir->head);
    ir->ops[loop].map = ir->loop_map;
}

static bool close_operand(struct t2_ir *ir, const struct closing *c, t2_ref was,
                          t2_ref is, t2_ref extra)
{
    if (extra) {
        set_phi(ir, extra, is);
        return is != 0;
    }
    if (!was || ir->ops[was].kind == T2_CONST)
        return was == is || (is && ir->ops[is].kind == T2_CONST &&
                             ir->ops[is].imm == ir->ops[was].imm);
    for (unsigned g = 0; g < 16; g++)
        if (c->first[g] == was)
            return t2_value(ir, ir->now[g]) == is;
    return false;
}

static bool close_flags(struct t2_ir *ir, const struct closing *c, t2_ref flags,
                        unsigned level)
{
    struct t2_recipe r = t2_recipe_of(ir, flags);
    const struct t2_recipe *was = &c->flags[level];
    while (level == 1 && (r.kind == R_INC || r.kind == R_DEC))
        r = t2_recipe_of(ir, flags = r.c);
    if (r.kind != was->kind || (r.kind != R_HELD && r.size != was->size))
        return false;
    if (r.kind == R_HELD) {
        set_phi(ir, c->flags_phi[level], r.r);
        return true;
    }
    return close_operand(ir, c, was->r, r.r, c->extra[level][0]) &&
           close_operand(ir, c, was->b, r.b, c->extra[level][1]) &&
           (!r.c || close_flags(ir, c, r.c, level + 1));
}

/* The end of an iteration. */
static bool close_loop(struct t2_build *b, struct closing *c)
{
    struct t2_ir *ir = b->ir;
    for (unsigned g = 0; g < 16; g++) {
        t2_ref end = t2_value(ir, ir->now[g]);
        if (ir->ops[c->phi[g]].kind == T2_PHI)
            set_phi(ir, c->phi[g], end);
        else if (end != c->phi[g])
            return false;
    }
    if (ir->holds_flags)
        hold_flags(b);
    if (!close_flags(ir, c, ir->flags, 0))
        return false;
    t2_emit_ir(ir, (struct t2_op){.kind = T2_BACK, .imm = ir->edge_count++});
    b->ended = true;
    return !ir->failed;
}

/* ---- arms ---------------------------------------------------------------- */

static unsigned segment_of(const struct t2_build *b, unsigned piece)
{
    return piece + b->is_loop;
}

/* The guard that arm k goes on from; 0: there is none, it leaves. */
static t2_ref guard_of(const struct t2_build *b, const struct t2_piece *arm)
{
    const struct t2_ir *ir = b->ir;
    unsigned segment = segment_of(b, arm->parent);
    for (unsigned n = ir->seq_count; n-- > 0;) {
        const struct t2_op *o = &ir->ops[ir->seq[n]];
        if (o->segment != segment || o->insn != arm->at || o->arm)
            continue;
        if (o->kind == T2_GUARD ? ir->maps[o->map].rip == arm->start
                                : o->kind == T2_GUARDEQ && !o->from)
            return ir->seq[n];
    }
    return 0;
}

/* The same state for another segment. */
static uint16_t copy_map(struct t2_ir *ir, unsigned map)
{
    if (map == T2_MAP_NONE)
        return T2_MAP_NONE;
    if (ir->map_count == T2_MAPS_MAX) {
        ir->failed = true;
        return T2_MAP_NONE;
    }
    ir->maps[ir->map_count] = ir->maps[map];
    ir->maps[ir->map_count].segment = (uint8_t)ir->segment;
    return (uint16_t)ir->map_count++;
}

/* From the guard's state; an indirect branch has another target to be. */
static void open_arm(struct t2_build *b, const struct t2_piece *arm,
                     t2_ref guard)
{
    struct t2_ir *ir = b->ir;
    const struct t2_op g = ir->ops[guard];
    const struct t2_map *m = &ir->maps[g.map];
    bool is_indirect = g.kind == T2_GUARDEQ;
    ir->ops[guard].arm = (uint8_t)ir->segment;
    ir->segments[ir->segment].from = guard;
    ir->segments[ir->segment].weight = arm->weight;
    memcpy(ir->now, m->reg, sizeof m->reg);
    ir->flags = m->flags;
    b->retired = m->retired;
    b->accesses = m->accesses;
    b->n = arm->at;
    b->before = T2_MAP_NONE;
    b->aligned_count = 0;
    b->ended = false;
    t2_emit_ir(ir, (struct t2_op){.kind = T2_ARM,
                                  .digit = is_indirect,
                                  .size = g.size,
                                  .a = is_indirect ? g.a : 0,
                                  .map = g.map,
                                  .imm = g.imm,
                                  .insn = g.insn});
    if (!is_indirect)
        return;
    t2_ref target = t2_linear(b, arm->start);
    uint16_t map = copy_map(ir, g.map);
    uint16_t before = copy_map(ir, (unsigned)g.imm);
    t2_emit_ir(ir, (struct t2_op){.kind = T2_GUARDEQ,
                                  .size = g.size,
                                  .a = g.a,
                                  .b = target,
                                  .map = map,
                                  .imm = before,
                                  .insn = g.insn});
}

static bool build_arm(struct t2_build *b, unsigned k, struct closing *c)
{
    struct t2_ir *ir = b->ir;
    const struct t2_piece *arm = &ir->pieces[k];
    t2_ref guard = guard_of(b, arm);
    if (!guard)
        return true;
    bool is_back = arm->is_back && b->is_loop;
    ir->segment = segment_of(b, k);
    open_arm(b, arm, guard);
    unsigned done = t2_build_run(b, arm->first, arm->count, !is_back);
    if (ir->failed)
        return false;
    end_segment(b);
    const struct t2_insn *next = &ir->insns[arm->first + done];
    if (done < arm->count) {
        b->before = T2_MAP_NONE;
        end_at(b, next->rip);
    } else if (is_back) {
        return close_loop(b, c);
    } else if (!b->ended) {
        end_at(b, done ? next[-1].next : ir->head);
    }
    return !ir->failed;
}

static bool build_arms(struct t2_build *b, struct closing *c)
{
    for (unsigned k = 1; k < b->ir->piece_count; k++)
        if (!build_arm(b, k, c))
            return false;
    return true;
}

/* ---- traces -------------------------------------------------------------- */

/* The main path from the entry on; false: not all of it has rules. */
static bool build_first(struct t2_build *b, bool is_end)
{
    struct t2_ir *ir = b->ir;
    t2_ir_reset(ir);
    start(ir);
    ir->built = t2_build_run(b, 0, ir->insn_count, is_end);
    ir->segments[0].weight = 16;
    end_segment(b);
    return !ir->failed && ir->built == ir->insn_count;
}

static bool build_loop(struct t2_ir *ir)
{
    struct t2_build b = {.ir = ir, .is_loop = true};
    struct closing c = {0};
    unsigned copies = has_arms(ir) ? 1 : ir->unroll;
    if (!build_first(&b, false))
        return false;
    open_loop(&b, &c);
    for (unsigned k = 0; k < copies; k++)
        if (t2_build_run(&b, 0, ir->insn_count, false) < ir->insn_count)
            return false;
    end_segment(&b);
    return close_loop(&b, &c) && build_arms(&b, &c);
}

static bool build_straight(struct t2_ir *ir)
{
    struct t2_build b = {.ir = ir};
    if (!build_first(&b, true))
        return false;
    if (!b.ended)
        end_at(&b, ir->insns[ir->insn_count - 1].next);
    return build_arms(&b, NULL) && !ir->failed;
}

bool t2_build(struct t2_ir *ir)
{
    if (ir->is_loop && ir->insn_count <= LOOP_INSNS_MAX) {
        /* Flags as they are when all iterations end alike. */
        for (unsigned holds = 0; holds < 2; holds++) {
            ir->holds_flags = holds;
            if (build_loop(ir))
                return true;
            if (ir->failed || ir->built < ir->insn_count)
                return false;
        }
    }
    return build_straight(ir); /* again, with a jump to the entry */
}
