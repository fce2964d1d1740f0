/* Ways into and out of a trace: moves between its places and the registers that
 * guest registers have outside. */
#include "jit/t2_code.h"

#include <stddef.h>

enum { MOVES_MAX = 64, SCRATCH_PLACE = 0x300 };

struct move {
    unsigned to, from; /* places; from T2_NOWHERE: the constant */
    int64_t constant;
};

struct moves {
    struct move list[MOVES_MAX];
    unsigned count;
};

static void add(struct moves *m, unsigned to, unsigned from)
{
    if (to != from && to != T2_NOWHERE && from != T2_NOWHERE)
        m->list[m->count++] = (struct move){to, from, 0};
}

static void add_value(const struct t2_gen *g, struct moves *m, unsigned to,
                      t2_ref v)
{
    int64_t k;
    if (t2g_const(g, v, &k))
        m->list[m->count++] = (struct move){to, T2_NOWHERE, k};
    else
        add(m, to, t2g_at(g, v));
}

static void emit_constant(struct t2_gen *g, unsigned to, int64_t k)
{
    if (!t2_is_memory(to)) {
        emit_mov_ri(&g->e, to, (uint64_t)k);
    } else if (k == (int32_t)k) {
        t2g_op(g, 8, 0xc7, 0, t2g_place(g, to), 8, 4);
        emit_u32(&g->e, (uint32_t)k);
    } else {
        emit_mov_ri(&g->e, H_RDX, (uint64_t)k);
        t2g_op(g, 8, 0x89, H_RDX, t2g_place(g, to), 8, 0);
    }
}

static void emit_move(struct t2_gen *g, unsigned to, unsigned from)
{
    if (!t2_is_memory(to)) {
        t2g_op(g, 8, 0x8b, to, t2g_place(g, from), 8, 0);
    } else if (!t2_is_memory(from)) {
        t2g_op(g, 8, 0x89, from, t2g_place(g, to), 8, 0);
    } else {
        t2g_op(g, 8, 0x8b, H_RDX, t2g_place(g, from), 8, 0);
        t2g_op(g, 8, 0x89, H_RDX, t2g_place(g, to), 8, 0);
    }
}

static bool is_read(const struct moves *m, unsigned place, unsigned but)
{
    for (unsigned n = 0; n < m->count; n++)
        if (n != but && m->list[n].from == place)
            return true;
    return false;
}

/* All moves at once. Uses RDX; host flags stand. */
static void emit_moves(struct t2_gen *g, struct moves *m)
{
    while (m->count) {
        unsigned n = 0;
        while (n < m->count && is_read(m, m->list[n].to, n))
            n++;
        if (n == m->count) { /* a cycle: put one value aside */
            n = 0;
            while (m->list[n].from == T2_NOWHERE)
                n++;
            unsigned place = m->list[n].from;
            emit_move(g, SCRATCH_PLACE, place);
            for (unsigned k = 0; k < m->count; k++)
                if (m->list[k].from == place)
                    m->list[k].from = SCRATCH_PLACE;
            continue;
        }
        if (m->list[n].from == T2_NOWHERE)
            emit_constant(g, m->list[n].to, m->list[n].constant);
        else
            emit_move(g, m->list[n].to, m->list[n].from);
        m->list[n] = m->list[--m->count];
    }
}

/* ---- in ------------------------------------------------------------------ */

static unsigned outside(unsigned guest)
{
    return guest < JIT_MAPPED ? jit_host_of[guest] : T2_HOME + guest;
}

void t2g_enter(struct t2_gen *g)
{
    struct moves m = {.count = 0};
    for (unsigned n = 0; n < g->ir->seq_count; n++) {
        t2_ref r = g->ir->seq[n];
        const struct t2_op *o = &g->ir->ops[r];
        if (o->kind == T2_PARAM)
            add(&m, g->a->at[r], outside(o->digit));
        else if (o->kind == T2_PFLAGS)
            add(&m, g->a->at[r], H_RAX);
        else
            break;
    }
    emit_moves(g, &m);
}

void t2g_loop_moves(struct t2_gen *g, int edge)
{
    const struct t2_ir *ir = g->ir;
    struct moves m = {.count = 0};
    for (unsigned n = g->a->loop + 1; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        if (o->kind == T2_PHI || o->kind == T2_FPHI) {
            if (g->a->at[r] != T2_NOWHERE)
                add_value(g, &m, g->a->at[r],
                          edge == T2_FROM_ENTRY
                              ? o->a
                              : t2_phi_at(ir, o, (unsigned)edge));
        } else if (o->kind != T2_RECIPE) {
            break;
        }
    }
    emit_moves(g, &m);
}

/* ---- out ----------------------------------------------------------------- */

static uint64_t head_page(const struct t2_gen *g)
{
    return t2g_page_of(g->ir->head);
}

static uint32_t ticks_left(const struct t2_gen *g, const struct t2_map *m)
{
    return g->ir->segments[m->segment].insns - m->retired;
}

int32_t t2g_arm_ticks(const struct t2_gen *g, const struct t2_op *arm)
{
    const struct t2_segment *s = g->ir->segments;
    return (int32_t)(s[arm->segment].insns -
                     s[g->ir->maps[arm->map].segment].insns);
}

void t2g_count(struct t2_gen *g, unsigned retired, unsigned accesses)
{
    if (retired)
        t2g_alu_ri(g, 8, 0, rm_abs(&g->near_data->count[g->trace->id].ticks),
                   (int32_t)retired);
    if (g->j->options.count_memory && accesses)
        t2g_alu_ri(g, 8, 0, rm_abs(&g->j->cpu->jit_accesses),
                   (int32_t)accesses);
}

/* Everything to where it belongs outside; ticks are exact. */
static void emit_state(struct t2_gen *g, const struct t2_map *map)
{
    struct moves m = {.count = 0};
    uint32_t left = ticks_left(g, map);
    t2g_count(g, map->retired, map->accesses);
    t2g_flags_to_rax(g, map->flags);
    for (unsigned n = 0; n < 16; n++)
        add_value(g, &m, outside(n), map->reg[n]);
    emit_moves(g, &m);
    if (left)
        emit_op(&g->e, 8, 0x8d, H_TICKS, rm_base(H_TICKS, -(int32_t)left), 8,
                0);
}

static void count_failure(struct t2_gen *g, enum t2_reason reason)
{
    t2g_alu_ri(g, 4, 0,
               rm_abs(&g->near_data->count[g->trace->id].fails[reason]), 1);
}

void t2g_page(struct t2_gen *g, uint64_t rip)
{
    uint64_t page = t2g_page_of(rip);
    if (page == t2g_page_of(g->ir->head))
        return;
    emit_mov_ri(&g->e, H_RCX, page);
    t2g_op(g, 8, 0x89, H_RCX, rm_abs(&g->j->cpu->jit_page), 8, 0);
}

void t2g_to_fallback(struct t2_gen *g)
{
    uint8_t *site = emit_jump(&g->e, 16);
    if (g->fallback) {
        emit_patch(&g->e, site, g->fallback);
        return;
    }
    g->fallback = site - 1 + g->e.to_exec; /* later ones jump to this jump */
    g->fallback_at = (uint32_t)(site - g->buffer);
}

void t2g_link(struct t2_gen *g, uint8_t *site, uint64_t rip)
{
    struct emit *e = &g->e;
    const uint8_t *stub = emit_here(e);
    emit_patch(e, site, stub);
    emit_mov_ri(e, H_RDX, 0);
    uint32_t slot = (uint32_t)(e->at - 4 - g->buffer);
    emit_mov_ri(e, H_RCX, (uint32_t)(rip & (PAGE_BYTES - 1)));
    t2g_jump_out(g, 16, g->j->exit_link);
    if (g->link_count == T2_LINKS_MAX) {
        g->failed = true;
        return;
    }
    g->links[g->link_count++] =
        (struct t2_link){(uint32_t)(site - g->buffer),
                         (uint32_t)(stub - e->to_exec - g->buffer), slot};
}

/* To rip, by the CALL that was done last or else a jump. */
static void emit_linked(struct t2_gen *g, uint64_t rip,
                        const struct t2_calls *calls)
{
    if (calls->is_call) {
        t2g_call_link(g, calls, rip);
        return;
    }
    t2g_page(g, rip);
    t2g_link(g, emit_jump(&g->e, 16), rip);
}

/* The same to the RIP in RCX; state is outside. */
static void emit_dispatch(struct t2_gen *g, const struct t2_calls *calls)
{
    if (calls->is_call)
        t2g_call_dispatch(g, calls);
    else if (calls->is_return)
        emit_u8(&g->e, 0xc3); /* ret */
    else
        t2g_jump_out(g, 16, g->j->dispatch);
}

/* When the RIP in RAX is not canonical: leave in front of the branch. */
static void emit_unless_canonical(struct t2_gen *g, unsigned before)
{
    struct emit *e = &g->e;
    const struct t2_map *m = &g->ir->maps[before];
    emit_mov_rr(e, 8, H_RDX, H_RAX);
    emit_op(e, 8, 0xc1, 7, rm_reg(H_RDX), 8, 1); /* sar rdx, 47 */
    emit_u8(e, 47);
    emit_alu_ri(e, 8, 0, rm_reg(H_RDX), 1);
    emit_alu_ri(e, 8, 7, rm_reg(H_RDX), 1);
    uint8_t *fine = emit_jump(e, 6);
    emit_state(g, m);
    t2g_page(g, m->rip);
    emit_mov_ri(e, H_RCX, (uint32_t)(m->rip & (PAGE_BYTES - 1)));
    t2g_jump_out(g, 16, g->j->exit_refused); /* it is for tier 0 */
    emit_patch(e, fine, emit_here(e));
}

/* Where a map goes, outside the page of a trace that is good anywhere. */
static bool is_elsewhere(const struct t2_gen *g, const struct t2_map *m)
{
    return g->ir->one_page &&
           (m->rip & ~(uint64_t)(PAGE_BYTES - 1)) != head_page(g);
}

static void emit_far_rip(struct t2_gen *g, unsigned to, uint64_t rip)
{
    int64_t by = (int64_t)(rip - head_page(g));
    if (!g->ir->is64)
        by = (int32_t)by;
    if (by != (int32_t)by) {
        g->failed = true;
        return;
    }
    t2g_op(g, 8, 0x8b, to, rm_abs(&g->j->cpu->jit_page), 8, 0);
    emit_op(&g->e, g->ir->is64 ? 8 : 4, 0x8d, to, rm_base(to, (int32_t)by), 8,
            0);
}

static void exit_static(struct t2_gen *g, const struct t2_op *o)
{
    const struct t2_map *m = &g->ir->maps[o->map];
    struct t2_calls calls;
    t2g_calls(g, m, &calls);
    if (!is_elsewhere(g, m)) {
        emit_state(g, m);
        t2g_open_calls(g, &calls);
        /* In front of the head's instruction the trace would only be entered,
         * and left, again: tier 1 is to go on. */
        if (m->rip == g->ir->head && m->retired == 0)
            t2g_to_fallback(g);
        else
            emit_linked(g, m->rip, &calls);
        return;
    }
    if (o->imm) {
        emit_far_rip(g, H_RAX, m->rip);
        emit_unless_canonical(g, (unsigned)o->imm);
    }
    emit_state(g, m);
    t2g_open_calls(g, &calls);
    emit_far_rip(g, H_RCX, m->rip);
    emit_dispatch(g, &calls);
}

static void exit_to(struct t2_gen *g, const struct t2_op *o)
{
    const struct t2_map *m = &g->ir->maps[o->map];
    struct t2_calls calls;
    if (o->imm) {
        t2g_load(g, H_RAX, o->a);
        emit_unless_canonical(g, (unsigned)o->imm);
    }
    /* The target survives the moves in memory. */
    t2g_load(g, H_RDX, o->a);
    t2g_op(g, 8, 0x89, H_RDX, rm_abs(&g->j->cpu->jit_target), 8, 0);
    emit_state(g, m);
    t2g_calls(g, m, &calls);
    t2g_open_calls(g, &calls);
    t2g_op(g, 8, 0x8b, H_RCX, rm_abs(&g->j->cpu->jit_target), 8, 0);
    emit_dispatch(g, &calls);
}

void t2g_exit(struct t2_gen *g, const struct t2_op *o)
{
    if (o->kind == T2_EXIT_TO || (o->kind == T2_GUARDEQ && !o->from) ||
        (o->kind == T2_ARM && o->digit))
        exit_to(g, o);
    else
        exit_static(g, o);
}

/* ---- cold paths ---------------------------------------------------------- */

struct t2_cold *t2g_cold(struct t2_gen *g, unsigned kind, t2_ref op)
{
    if (g->cold_count == T2_LINKS_MAX) {
        g->failed = true;
        g->cold_count--;
    }
    struct t2_cold *c = &g->cold[g->cold_count++];
    *c = (struct t2_cold){.kind = kind, .op = op, .at = g->at};
    return c;
}

static unsigned site_place(struct t2_gen *g, t2_ref v)
{
    int64_t k;
    if (!t2g_const(g, v, &k))
        return t2g_at(g, v);
    for (unsigned n = 0; n < g->const_count; n++)
        if (g->consts[n] == k)
            return T2_CONST_PLACE + n;
    if (g->const_count == T2_CONSTS_MAX) {
        g->failed = true;
        return T2_NOWHERE;
    }
    g->consts[g->const_count] = k;
    return T2_CONST_PLACE + g->const_count++;
}

static struct t2_lookup lookup_of(struct t2_gen *g, t2_ref r)
{
    const struct t2_op *o = &g->ir->ops[r];
    return (struct t2_lookup){.at = (uint16_t)t2g_at(g, r),
                              .root = (uint16_t)site_place(g, o->a),
                              .lo = o->lo,
                              .hi = o->hi,
                              .rw = o->rw};
}

/* Pointers of other checks that are used behind this one. */
static void fill_live(struct t2_gen *g, struct t2_site *s, uint32_t at)
{
    t2_ref check = g->ir->seq[at];
    for (unsigned n = 0; n < g->ir->seq_count; n++) {
        t2_ref r = g->ir->seq[n];
        if (g->ir->ops[r].kind != T2_CHECK || n == at ||
            g->a->at[r] >= T2_FOLDED || g->a->first[r] > at ||
            g->a->last[r] <= at || !t2_dominates(g->ir, r, check))
            continue;
        if (s->live_count == T2_LIVE_MAX) {
            g->failed = true;
            return;
        }
        s->live[s->live_count++] = lookup_of(g, r);
    }
}

static void fill_site(struct t2_gen *g, struct t2_site *s, t2_ref r,
                      uint32_t at)
{
    const struct t2_op *o = &g->ir->ops[r];
    const struct t2_map *m = &g->ir->maps[o->map];
    *s = (struct t2_site){.trace = g->trace,
                          .insn = g->ir->insns[m->insn].original,
                          .left = ticks_left(g, m),
                          .done = m->retired,
                          .check = lookup_of(g, r),
                          .own = o->own,
                          .own_bytes = o->own_bytes,
                          .own_write = o->own_write};
    s->rip = g->ir->one_page ? m->rip - head_page(g) : m->rip;
    for (unsigned n = 0; n < 16; n++)
        s->reg[n] = (uint16_t)site_place(g, m->reg[n]);
    t2_ref f = m->flags;
    for (unsigned level = 0; f && level < 2; level++) {
        struct t2_recipe q = t2_recipe_of(g->ir, f);
        while (level && (q.kind == R_INC || q.kind == R_DEC))
            q = t2_recipe_of(g->ir, q.c);
        s->flags[level].kind = (uint8_t)q.kind;
        s->flags[level].size = (uint8_t)q.size;
        s->flags[level].r = (uint16_t)site_place(g, q.r);
        s->flags[level].b = (uint16_t)(q.b ? site_place(g, q.b) : T2_NOWHERE);
        f = q.c;
    }
    fill_live(g, s, at);
}

static void cold_slow(struct t2_gen *g, struct t2_cold *c)
{
    if (g->site_count == T2_SITES_MAX) {
        g->failed = true;
        return;
    }
    struct t2_site *s = &g->trace->sites[g->site_count++];
    fill_site(g, s, c->op, c->at);
    emit_u8(&g->e, 0x48); /* mov rax, imm64 */
    emit_u8(&g->e, 0xb8);
    emit_u64(&g->e, (uintptr_t)s);
    t2g_call_out(g, g->slow);
    t2g_after_slow(g, c->op);
    uint8_t *back = emit_jump(&g->e, 16);
    emit_patch(&g->e, back, c->resume + g->e.to_exec);
}

/* Back to the trace's entry, or on in tier 1, from the head of the body. */
static void cold_head(struct t2_gen *g, bool to_entry)
{
    emit_state(g, &g->ir->maps[g->ir->loop_map]);
    if (to_entry)
        emit_jump_to(&g->e, 16, g->buffer + g->entry_top + g->e.to_exec);
    else
        t2g_to_fallback(g);
}

void t2g_colds(struct t2_gen *g)
{
    for (unsigned n = 0; n < g->cold_count && !g->failed; n++) {
        struct t2_cold *c = &g->cold[n];
        g->host = 0;
        g->at = c->at;
        for (unsigned k = 0; k < 2; k++)
            if (c->site[k])
                emit_patch(&g->e, c->site[k], emit_here(&g->e));
        switch (c->kind) {
        case COLD_SLOW:
            cold_slow(g, c);
            break;
        case COLD_HEAD:
            count_failure(g, T2_FAIL_HEAD);
            cold_head(g, true);
            break;
        case COLD_BUDGET:
            cold_head(g, false);
            break;
        case COLD_ARM: {
            const struct t2_op *o = &g->ir->ops[c->op];
            emit_op(&g->e, 8, 0x8d, H_TICKS,
                    rm_base(H_TICKS, -t2g_arm_ticks(g, o)), 8, 0);
            t2g_exit(g, o);
            break;
        }
        default: {
            const struct t2_op *o = &g->ir->ops[c->op];
            if (o->kind != T2_GUARD || !o->from)
                count_failure(g, c->reason);
            t2g_exit(g, o);
            break;
        }
        }
    }
}
