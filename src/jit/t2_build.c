#include "jit/t2_build.h"

#include "jit/jit_internal.h"

#include <string.h>

enum { FAR_OFFSET = 1024 }; /* displacements beyond are part of the base */

/* ---- state --------------------------------------------------------------- */

static uint16_t new_map(struct t2_build *b, uint64_t rip, unsigned retired,
                        unsigned accesses)
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
    m->accesses = (uint16_t)accesses;
    m->segment = (uint8_t)ir->segment;
    m->rip = rip;
    return (uint16_t)ir->map_count++;
}

uint16_t t2_map_here(struct t2_build *b, uint64_t rip)
{
    return new_map(b, rip, b->retired, b->accesses);
}

uint16_t t2_map_before(struct t2_build *b)
{
    if (!b->before)
        b->before = t2_map_here(b, b->t->rip);
    return b->before;
}

uint16_t t2_map_after(struct t2_build *b, uint64_t rip)
{
    return new_map(b, rip, b->retired + 1,
                   b->accesses + jit_has_access(b->i));
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

unsigned t2_build_run(struct t2_build *b, unsigned first, unsigned count,
                      bool is_end)
{
    struct t2_ir *ir = b->ir;
    for (unsigned n = 0; n < count; n++) {
        struct t2_ir saved = *ir;
        b->n = first + n;
        b->t = &ir->insns[first + n];
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
        b->accesses += jit_has_access(b->i);
    }
    return count;
}
