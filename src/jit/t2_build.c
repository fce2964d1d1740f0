#include "jit/t2_build.h"

#include <string.h>

enum {
    FAR_OFFSET = 1024,   /* displacements beyond are part of the base */
    LOOP_INSNS_MAX = 700 /* longer ones end in a jump to their entry */
};

/* ---- state --------------------------------------------------------------- */

static uint16_t new_map(struct t2_build *b, uint64_t rip, unsigned retired)
{
    struct t2_ir *ir = b->ir;
    if (ir->map_count == T2_MAPS_MAX) {
        ir->failed = true;
        return T2_MAP_NONE;
    }
    struct t2_map *m = &ir->maps[ir->map_count];
    memcpy(m->reg, ir->now, sizeof m->reg);
    m->flags = ir->flags;
    m->insn = (uint16_t)b->n;
    m->retired = (uint16_t)retired;
    m->segment = (uint8_t)b->segment;
    m->rip = rip;
    return (uint16_t)ir->map_count++;
}

uint16_t t2_map_before(struct t2_build *b)
{
    if (!b->before)
        b->before = new_map(b, b->t->rip, b->retired);
    return b->before;
}

uint16_t t2_map_after(struct t2_build *b, uint64_t rip)
{
    return new_map(b, rip, b->retired + 1);
}

/* ---- values -------------------------------------------------------------- */

t2_ref t2_unary(struct t2_build *b, enum t2_kind kind, unsigned size, t2_ref a)
{
    return t2_emit_ir(b->ir, (struct t2_op){.kind = (uint8_t)kind,
                                            .size = (uint8_t)size,
                                            .a = a,
                                            .insn = (uint16_t)b->n});
}

t2_ref t2_binary(struct t2_build *b, enum t2_kind kind, unsigned size,
                 unsigned digit, t2_ref x, t2_ref y)
{
    return t2_emit_ir(b->ir, (struct t2_op){.kind = (uint8_t)kind,
                                            .size = (uint8_t)size,
                                            .digit = (uint8_t)digit,
                                            .a = x,
                                            .b = y,
                                            .insn = (uint16_t)b->n});
}

static t2_ref sum(struct t2_build *b, t2_ref root, int64_t k)
{
    if (k == 0)
        return root;
    return t2_emit_ir(b->ir, (struct t2_op){.kind = T2_LEA,
                                            .size = b->ir->is64 ? 8 : 4,
                                            .a = root,
                                            .imm = k,
                                            .insn = (uint16_t)b->n});
}

/* A sum of 0 is its root: in 32-bit code only if that is a 32-bit value. */
t2_ref t2_plus(struct t2_build *b, t2_ref v, int64_t k)
{
    struct t2_sum s = t2_sum_of(b->ir, v);
    int64_t total = s.offset + k;
    if (!b->ir->is64)
        total = (int32_t)total;
    if (total != (int32_t)total)
        return sum(b, v, k);
    return sum(b, s.root, total);
}

t2_ref t2_linear(struct t2_build *b, uint64_t rip)
{
    struct t2_ir *ir = b->ir;
    if (!ir->one_page)
        return t2_const(ir, rip);
    int64_t at = (int64_t)(rip - (ir->head & ~(uint64_t)(PAGE_BYTES - 1)));
    t2_ref page =
        t2_emit_ir(ir, (struct t2_op){.kind = T2_PAGE, .insn = (uint16_t)b->n});
    return sum(b, page, at);
}

t2_ref t2_reg_operand(struct t2_build *b, unsigned operand, unsigned size)
{
    if (size != 1)
        return b->ir->now[operand];
    t2_ref v = b->ir->now[operand >> 3];
    return operand & 7 ? t2_unary(b, T2_HIGH, 1, v) : v;
}

void t2_set_result(struct t2_build *b, unsigned operand, unsigned size,
                   t2_ref r)
{
    if (size == 1 && (operand & 7))
        t2_set_operand(b, operand, 1, r);
    else
        b->ir->now[size == 1 ? operand >> 3 : operand] = r;
}

void t2_set_operand(struct t2_build *b, unsigned operand, unsigned size,
                    t2_ref v)
{
    t2_ref *now = b->ir->now;
    if (size >= 4) {
        now[operand] = v;
        return;
    }
    unsigned g = size == 1 ? operand >> 3 : operand;
    bool is_high = size == 1 && (operand & 7);
    now[g] = t2_binary(b, is_high ? T2_SETHIGH : T2_MERGE, size, 0, now[g], v);
}

void t2_set_flags(struct t2_build *b, t2_ref op)
{
    struct t2_ir *ir = b->ir;
    ir->flags = op;
    if (t2_recipe_of(ir, op).kind == R_NEVER)
        ir->flags = t2_emit_ir(ir, (struct t2_op){.kind = T2_FLAGS,
                                                  .size = 4,
                                                  .c = op,
                                                  .insn = (uint16_t)b->n});
}

void t2_set_flags_value(struct t2_build *b, t2_ref v)
{
    b->ir->flags = t2_emit_ir(b->ir, (struct t2_op){.kind = T2_RECIPE,
                                                    .digit = R_HELD,
                                                    .size = 4,
                                                    .a = v,
                                                    .insn = (uint16_t)b->n});
}

t2_ref t2_flags_value(struct t2_build *b)
{
    return t2_emit_ir(b->ir, (struct t2_op){.kind = T2_GETF,
                                            .size = 4,
                                            .c = b->ir->flags,
                                            .insn = (uint16_t)b->n});
}

t2_ref t2_flags_for(const struct t2_build *b, unsigned code)
{
    t2_ref f = b->ir->flags;
    if (code >> 1 != 1)
        return f;
    struct t2_recipe r = t2_recipe_of(b->ir, f);
    while (r.kind == R_INC || r.kind == R_DEC) {
        f = r.c;
        r = t2_recipe_of(b->ir, f);
    }
    return f;
}

/* ---- memory -------------------------------------------------------------- */

struct t2_place t2_place_at(struct t2_build *b, t2_ref address, unsigned bytes,
                            unsigned rw)
{
    struct t2_ir *ir = b->ir;
    struct t2_sum s = t2_sum_of(ir, address);
    if (s.offset < -FAR_OFFSET || s.offset > FAR_OFFSET)
        s = (struct t2_sum){t2_value(ir, address), 0};
    struct t2_op op = {.kind = T2_CHECK,
                       .a = s.root,
                       .rw = (uint8_t)rw,
                       .own_write = rw & T2_WRITES,
                       .own_bytes = (uint8_t)bytes,
                       .lo = (int32_t)s.offset,
                       .hi = (int32_t)s.offset + (int32_t)bytes,
                       .own = (int32_t)s.offset,
                       .map = t2_map_before(b),
                       .insn = (uint16_t)b->n};
    return (struct t2_place){t2_emit_ir(ir, op), s.offset};
}

static bool effective_rip(struct t2_build *b, t2_ref *v)
{
    const struct insn *i = b->i;
    if (i->index != REG_ZERO || i->addr != 8)
        return false;
    *v = t2_linear(b, b->t->rip + i->len + (uint64_t)(int64_t)i->disp);
    return true;
}

bool t2_effective(struct t2_build *b, t2_ref *v)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    unsigned size = ir->is64 && i->addr == 8 ? 8 : 4;
    if (i->addr == 2 || i->is_moffs64)
        return false;
    if (i->base == REG_RIP)
        return effective_rip(b, v);
    t2_ref base = i->base == REG_ZERO ? 0 : ir->now[i->base];
    t2_ref index = i->index == REG_ZERO ? 0 : ir->now[i->index];
    if (!base && !index) {
        *v = t2_const(ir, size == 8 ? (uint64_t)(int64_t)i->disp
                                    : (uint32_t)i->disp);
        return true;
    }
    if (base && !index && size == (ir->is64 ? 8 : 4)) {
        *v = t2_plus(b, base, i->disp);
        return true;
    }
    *v = t2_emit_ir(ir, (struct t2_op){.kind = T2_LEA,
                                       .size = (uint8_t)size,
                                       .scale = i->scale,
                                       .a = base,
                                       .b = index,
                                       .imm = i->disp,
                                       .insn = (uint16_t)b->n});
    return true;
}

bool t2_operand_place(struct t2_build *b, unsigned bytes, unsigned rw,
                      struct t2_place *p)
{
    t2_ref v;
    return t2_effective(b, &v) && t2_place_of(b, v, bytes, rw, p);
}

bool t2_place_of(struct t2_build *b, t2_ref v, unsigned bytes, unsigned rw,
                 struct t2_place *p)
{
    const struct insn *i = b->i;
    if (!b->ir->is64 && (i->seg == SEG_CS || i->seg >= SEG_FS))
        return false; /* segments with limits, or not writable */
    if (i->seg >= SEG_FS) {
        t2_ref base = t2_emit_ir(b->ir, (struct t2_op){.kind = T2_SEGBASE,
                                                       .digit = i->seg,
                                                       .insn = (uint16_t)b->n});
        v = t2_binary(b, T2_LEA, 8, 0, v, base);
    }
    *p = t2_place_at(b, v, bytes, rw);
    return true;
}

t2_ref t2_read(struct t2_build *b, struct t2_place p, unsigned bytes)
{
    return t2_emit_ir(b->ir, (struct t2_op){.kind = T2_LOAD,
                                            .size = (uint8_t)bytes,
                                            .a = p.check,
                                            .imm = p.at,
                                            .insn = (uint16_t)b->n});
}

void t2_write(struct t2_build *b, struct t2_place p, unsigned bytes, t2_ref v)
{
    t2_emit_ir(b->ir, (struct t2_op){.kind = T2_STORE,
                                     .size = (uint8_t)bytes,
                                     .a = p.check,
                                     .b = v,
                                     .imm = p.at,
                                     .insn = (uint16_t)b->n});
}

/* ---- the trace ----------------------------------------------------------- */

static bool build_insn(struct t2_build *b)
{
    static t2_rule *const rules[] = {t2_build_int,    t2_build_more,
                                     t2_build_branch, t2_build_vector,
                                     t2_build_system, t2_build_memory};
    if (b->i->cls == CLASS_STOP && !t2_passes(b->i))
        return false;
    for (size_t n = 0; n < sizeof rules / sizeof rules[0]; n++)
        if (rules[n](b))
            return !b->ir->failed;
    return false;
}

/* Up to `count` instructions; how many have a rule. State and ops of the first
 * that has none are taken back. */
static unsigned build_run(struct t2_build *b, unsigned count, bool is_end)
{
    struct t2_ir *ir = b->ir;
    for (unsigned n = 0; n < count; n++) {
        struct t2_ir saved = *ir;
        b->n = n;
        b->t = &ir->insns[n];
        b->i = &b->t->i;
        b->before = T2_MAP_NONE;
        b->is_last = is_end && n == count - 1;
        if (!build_insn(b)) {
            bool failed = ir->failed;
            *ir = saved;
            ir->failed = failed;
            return n;
        }
        b->retired++;
    }
    return count;
}

static void start(struct t2_ir *ir)
{
    for (unsigned g = 0; g < 16; g++)
        ir->now[g] = t2_emit_ir(
            ir, (struct t2_op){.kind = T2_PARAM, .digit = (uint8_t)g});
    ir->flags = t2_emit_ir(ir, (struct t2_op){.kind = T2_PFLAGS, .size = 4});
}

static void end_at(struct t2_build *b, uint64_t rip)
{
    uint16_t map = new_map(b, rip, b->retired);
    t2_emit_ir(b->ir, (struct t2_op){.kind = T2_EXIT,
                                     .map = map,
                                     .imm = b->before,
                                     .insn = (uint16_t)b->n});
    b->ended = true;
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
    return t2_emit_ir(ir,
                      (struct t2_op){.kind = (uint8_t)kind, .size = 8, .a = a});
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
    t2_ref loop = t2_emit_ir(ir, (struct t2_op){.kind = T2_LOOP});
    for (unsigned g = 0; g < 16; g++) {
        t2_ref v = t2_value(ir, ir->now[g]);
        bool is_same = ir->ops[v].kind == T2_PARAM && ir->ops[v].digit == g;
        c->first[g] = v;
        c->phi[g] = is_same ? v : new_phi(ir, T2_PHI, v);
    }
    ir->flags = open_flags(ir, c, ir->flags, 0);
    memcpy(ir->now, c->phi, sizeof c->phi);
    b->segment = 1;
    b->retired = 0;
    b->n = 0;
    ir->loop_map = new_map(b, ir->head, 0);
    ir->ops[loop].map = ir->loop_map;
}

static bool close_operand(struct t2_ir *ir, const struct closing *c, t2_ref was,
                          t2_ref is, t2_ref extra)
{
    if (extra) {
        ir->ops[extra].b = is;
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
        ir->ops[c->flags_phi[level]].b = r.r;
        return true;
    }
    return close_operand(ir, c, was->r, r.r, c->extra[level][0]) &&
           close_operand(ir, c, was->b, r.b, c->extra[level][1]) &&
           (!r.c || close_flags(ir, c, r.c, level + 1));
}

static bool close_loop(struct t2_build *b, struct closing *c)
{
    struct t2_ir *ir = b->ir;
    for (unsigned g = 0; g < 16; g++) {
        t2_ref end = t2_value(ir, ir->now[g]);
        struct t2_op *phi = &ir->ops[c->phi[g]];
        if (phi->kind == T2_PHI)
            phi->b = end;
        else if (end != c->phi[g])
            return false;
    }
    if (!close_flags(ir, c, ir->flags, 0))
        return false;
    t2_emit_ir(ir, (struct t2_op){.kind = T2_BACK});
    ir->segment_insns[1] = b->retired;
    return !ir->failed;
}

static bool build_body(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    struct closing c = {0};
    open_loop(b, &c);
    for (unsigned k = 0; k < ir->unroll; k++)
        if (build_run(b, ir->insn_count, false) < ir->insn_count)
            return false;
    return close_loop(b, &c);
}

bool t2_build(struct t2_ir *ir)
{
    struct t2_build b = {.ir = ir};
    t2_ir_reset(ir);
    start(ir);
    bool wants_loop = ir->is_loop && ir->insn_count <= LOOP_INSNS_MAX;
    unsigned done = build_run(&b, ir->insn_count, !wants_loop);
    if (ir->failed)
        return false;
    ir->segment_insns[0] = b.retired;
    ir->built = done;
    if (done < ir->insn_count)
        return false;
    if (wants_loop) {
        if (build_body(&b))
            return true;
        ir->is_loop = false; /* again, with a jump to the entry */
        if (ir->failed)
            return false;
        bool ok = t2_build(ir);
        ir->is_loop = true;
        return ok;
    }
    if (!b.ended)
        end_at(&b, ir->insns[ir->insn_count - 1].next);
    return !ir->failed;
}
