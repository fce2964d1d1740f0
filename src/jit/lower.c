#include "jit/lower.h"

#include "jit/t2.h"

#include <Zydis/Mnemonic.h>

#include <stddef.h>
#include <string.h>

/* ---- flags ------------------------------------------------------------------- */

enum {
    OP_LAHF = 0x9f,
    OP_SAHF = 0x9e
};

void lower_save_flags(struct lower *l)
{
    if (l->flags != FLAGS_HOST)
        return;
    emit_u8(l->e, OP_LAHF);
    emit_op(l->e, 1, 0x0f90, 0, rm_reg(H_RAX), 1, 0); /* seto al */
    l->flags = FLAGS_BOTH;
    if (l->fix == FIX_AF && !l->j->host.logic) {
        emit_u8(l->e, 0x80); /* and ah, ~AF */
        emit_u8(l->e, 0xe4);
        emit_u8(l->e, 0xef);
        l->flags = FLAGS_SAVED;
    }
    l->fix = FIX_NONE;
}

/* OF from AL: 0 - (-127) does not overflow, 1 - (-127) does. */
static void emit_restore(struct emit *e)
{
    emit_u8(e, 0x3c); /* cmp al, 81h */
    emit_u8(e, 0x81);
    emit_u8(e, OP_SAHF);
}

void lower_restore_flags(struct lower *l)
{
    if (l->flags == FLAGS_HOST && l->fix != FIX_NONE && !l->j->host.logic)
        lower_save_flags(l);
    if (l->flags != FLAGS_SAVED)
        return;
    emit_restore(l->e);
    l->flags = FLAGS_BOTH;
}

void lower_flags_written(struct lower *l, enum flag_fix fix)
{
    l->flags = FLAGS_HOST;
    l->fix = fix;
}

/* ---- registers ----------------------------------------------------------------- */

unsigned lower_get(struct lower *l, unsigned g, unsigned scratch)
{
    if (g < JIT_MAPPED)
        return jit_host_of[g];
    emit_load(l->e, 8, scratch, rm_abs(&l->j->cpu->r[g]));
    return scratch;
}

unsigned lower_target(const struct lower *l, unsigned g, unsigned scratch)
{
    (void)l;
    return g < JIT_MAPPED ? jit_host_of[g] : scratch;
}

struct rm lower_register(const struct lower *l, unsigned g)
{
    return g < JIT_MAPPED ? rm_reg(jit_host_of[g])
                          : rm_abs(&l->j->cpu->r[g]);
}

void lower_put(struct lower *l, unsigned g, unsigned host)
{
    if (g >= JIT_MAPPED)
        emit_store(l->e, 8, rm_abs(&l->j->cpu->r[g]), host);
}

/* ---- operands ------------------------------------------------------------------ */

/* A general register operand: its number, false for AH..BH. */
static bool general(uint8_t operand, unsigned size, unsigned *g)
{
    if (size != 1) {
        *g = operand;
        return true;
    }
    *g = operand >> 3;
    return (operand & 7) == 0;
}

bool lower_first(const struct insn *i, unsigned *g)
{
    return (i->classes & 15) == REG_CLASS_GENERAL && general(i->dst, i->size, g);
}

bool lower_second(const struct insn *i, unsigned *g)
{
    return i->classes >> 4 == REG_CLASS_GENERAL &&
           general(i->src, i->size1, g);
}

void lower_immediate(struct emit *e, unsigned size, uint64_t v)
{
    if (size == 1) {
        emit_u8(e, v & 0xff);
    } else if (size == 2) {
        emit_u8(e, v & 0xff);
        emit_u8(e, v >> 8 & 0xff);
    } else {
        emit_u32(e, (uint32_t)v);
    }
}

/* ---- the block --------------------------------------------------------------------- */

/* Ticks are taken for the whole block at its entry, unless that would pass the
 * limit: then leave before the first instruction. */
static uint8_t *emit_budget(struct lower *l)
{
    emit_alu_ri(l->e, 8, 0, rm_reg(H_TICKS), l->k->count);
    return emit_jump(l->e, 15); /* jg */
}

bool jit_has_access(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_LEAVE:
        return true;
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_NOP:
        return false;
    default:
        return i->form == FORM_M || i->form == FORM_RM || i->form == FORM_MR ||
               i->form == FORM_MI;
    }
}

/* Count the accesses of instructions [first, count), +1 or -1 times. */
static void emit_count(struct lower *l, unsigned first, int sign)
{
    int32_t accesses = 0;
    for (unsigned n = first; n < l->k->count; n++)
        accesses += jit_has_access(&l->k->insns[n]);
    if (l->j->options.count_memory && accesses)
        emit_alu_ri(l->e, 8, 0, rm_abs(&l->j->cpu->jit_accesses),
                    sign * accesses);
}

void lower_side(struct lower *l, uint8_t *site, int64_t target)
{
    if (l->sides == SIDES_MAX) {
        l->e->full = true;
        return;
    }
    l->side[l->sides++] = (struct side){site, target, (uint16_t)l->n,
                                        (uint8_t)l->flags, (uint8_t)l->fix};
}

/* Jumps out of the middle: what was counted for the rest was too much. */
static void emit_sides(struct lower *l)
{
    const enum flag_place flags = l->flags;
    const enum flag_fix fix = l->fix;
    const int32_t x87_at = l->x87_at;
    for (unsigned k = 0; k < l->sides; k++) {
        const struct side *s = &l->side[k];
        bool is_near = lower_in_page(l, s->target);
        emit_patch(l->e, s->site, emit_here(l->e));
        l->n = s->n;
        l->flags = s->flags;
        l->fix = s->fix;
        l->x87_at = X87_SETTLED;
        lower_save_flags(l);
        if (!is_near) {
            lower_load_target(l, s->target, 8);
            lower_check_target(l);
        }
        emit_alu_ri(l->e, 8, 5, rm_reg(H_TICKS), l->k->count - s->n - 1);
        emit_count(l, s->n + 1u, -1);
        if (is_near) {
            lower_link(l, emit_jump(l->e, 16), (uint32_t)s->target);
            continue;
        }
        lower_dispatch(l);
    }
    l->flags = flags; /* of the part that follows */
    l->fix = fix;
    l->x87_at = x87_at;
}

/* Where a block goes that may not run, from too_far or from its patched entry
 * (jit_retire()). */
static void emit_refusal(struct lower *l, uint8_t *too_far, uint8_t *hot_site,
                         uint32_t start)
{
    emit_patch(l->e, too_far, emit_here(l->e));
    emit_alu_ri(l->e, 8, 5, rm_reg(H_TICKS), l->k->count);
    if (hot_site)
        emit_patch(l->e, hot_site, emit_here(l->e));
    l->head->refuse = emit_here(l->e);
    emit_mov_ri(l->e, H_RCX, start);
    emit_jump_to(l->e, 16, l->j->exit_at);
}

/* Interpret instruction n, which ends at page offset `next`. */
static void emit_interpret(struct lower *l, unsigned n, uint32_t next,
                           bool comes_back)
{
    emit_u8(l->e, 0x48); /* mov rdx, imm64 */
    emit_u8(l->e, 0xba);
    emit_u64(l->e, (uintptr_t)&l->k->insns[n]);
    emit_mov_ri(l->e, H_RCX, (l->k->count - n) << 16 | next);
    if (comes_back)
        emit_call(l->e, l->j->interpret);
    else
        emit_jump_to(l->e, 16, l->j->interpret_last);
}

/* No rule: call the handler in line. */
static void lower_by_handler(struct lower *l)
{
    lower_save_flags(l);
    lower_units_settle(l);
    l->units = 0;
    emit_interpret(l, l->n, lower_next(l), l->i->cls == CLASS_NORMAL);
    l->flags = FLAGS_SAVED;
    l->fix = FIX_NONE;
    memset(l->held, 0, sizeof l->held);
    l->ended = l->i->cls != CLASS_NORMAL;
}

static void lower_insn(struct lower *l)
{
    static rule_fn *const rules[] = {
        lower_branch,   lower_int,    lower_shift, lower_muldiv, lower_bits,
        lower_exchange, lower_system, lower_high,  lower_string,
        lower_segment_register, lower_fastcall,
        /* Not in 16-bit code: */ lower_sse, lower_x87};
    size_t count = sizeof rules / sizeof rules[0] - (l->is16 ? 2 : 0);
    if (l->i->cls != CLASS_NORMAL)
        lower_units_settle(l);
    for (size_t n = 0; n < count; n++)
        if (rules[n](l))
            return;
    lower_by_handler(l);
}

/* Instructions of the part from `from` on, which lies at page offset `offset`. */
static void emit_insns(struct lower *l, unsigned from, uint32_t offset)
{
    l->offset = offset;
    for (l->n = from; l->n < l->end; l->n++) {
        struct place *p = lower_place(l, l->n);
        l->i = &l->k->insns[l->n];
        if (p->is_entered) {
            lower_save_flags(l);
            l->flags = FLAGS_SAVED;
            l->units = 0;
            if (p->entry_x87_at != X87_SETTLED)
                l->x87_at = p->entry_x87_at;
            p->entry = emit_here(l->e);
        }
        lower_insn(l);
        p->resume = emit_here(l->e);
        p->resume_flags = (uint8_t)l->flags;
        p->resume_units = l->units;
        lower_window(l);
        l->offset += l->i->len;
    }
}

/* What comes behind the last instruction. */
static void emit_end(struct lower *l)
{
    if (l->ended)
        return;
    lower_save_flags(l);
    lower_units_settle(l);
    lower_fall_through(l, l->offset);
}

/* Nothing is known here that both versions of a part would not know. */
static void forget(struct lower *l)
{
    l->flags = FLAGS_SAVED;
    l->fix = FIX_NONE;
    l->units = 0;
    l->x87_at = X87_SETTLED;
    memset(l->held, 0, sizeof l->held);
    memset(l->aligned, 0, sizeof l->aligned);
}

static void emit_border(struct lower *l)
{
    lower_save_flags(l);
    lower_units_settle(l);
    forget(l);
}

static uint32_t offset_of(const struct lower *l, unsigned n)
{
    uint32_t at = l->first_offset;
    for (unsigned i = l->first; i < n; i++)
        at += l->k->insns[i].len;
    return at;
}

/* What the fast version could not go on with: the plain one, from the first
 * instruction that it is needed for. next: the fast version of the next part. */
static void emit_plain(struct lower *l, const uint8_t *next)
{
    struct cold fast[COLD_MAX];
    unsigned fasts = l->colds, first = l->end;
    memcpy(fast, l->cold, fasts * sizeof fast[0]);
    for (unsigned k = 0; k < fasts; k++) {
        struct place *p = lower_place(l, fast[k].n);
        p->is_entered = true;
        p->entry_x87_at = fast[k].x87_at;
        if (fast[k].n < first)
            first = fast[k].n;
    }
    if (fasts == 0)
        return;
    l->colds = 0;
    l->plan = NULL;
    l->ended = false;
    forget(l);
    emit_insns(l, first, offset_of(l, first));
    if (next) {
        emit_border(l);
        emit_jump_to(l->e, 16, next);
    } else {
        emit_end(l);
        lower_emit_late(l);
    }
    for (unsigned k = 0; k < fasts; k++)
        emit_patch(l->e, fast[k].site, lower_place(l, fast[k].n)->entry);
}

/* A CALL or RET was interpreted; RIP is what it says. */
static void emit_branched(struct lower *l, uint32_t next)
{
    const struct cpu *c = l->j->cpu;
    emit_load(l->e, 8, H_RCX, rm_abs(&c->r[REG_RIP]));
    emit_load(l->e, 8, H_RDX, rm_abs(&c->jit_page));
    emit_op(l->e, 8, 0x8d, H_RDX, rm_base(H_RDX, (int32_t)next), 8, 0);
    emit_jump_to(l->e, 16, l->branched);
}

static void emit_colds(struct lower *l)
{
    for (unsigned k = 0; k < l->colds; k++) {
        unsigned n = l->cold[k].n;
        bool is_normal = l->k->insns[n].cls == CLASS_NORMAL;
        emit_patch(l->e, l->cold[k].site, emit_here(l->e));
        lower_units_settle_cold(l, &l->cold[k]);
        bool is_call = l->branched && n + 1u == l->k->count && !is_normal;
        emit_interpret(l, n, offset_of(l, n + 1), is_normal || is_call);
        if (is_call)
            emit_branched(l, offset_of(l, n + 1));
        if (!is_normal)
            continue;
        lower_units_back(l, n, offset_of(l, n + 1));
        if (lower_place(l, n)->resume_flags != FLAGS_SAVED)
            emit_restore(l->e);
        emit_jump_to(l->e, 16, lower_place(l, n)->resume);
    }
}

/* One part: its fast version into `hot`, everything else into `cold`. */
static void lower_part(struct lower *l, struct emit *hot, struct emit *cold)
{
    bool is_last = l->end == l->k->count;
    const uint8_t *next = NULL;
    l->e = hot;
    l->n = l->first;
    l->offset = l->first_offset;
    l->plan = NULL;
    l->colds = l->stops = l->need_count = l->sides = 0;
    for (unsigned n = l->first; n < l->end; n++)
        lower_place(l, n)->is_entered = false;
    if (!l->is16) {
        plan_part(&l->room, &l->k->insns[l->first], l->end - l->first,
                  l->first_offset, l->is64);
        l->plan = l->room.slots ? &l->room : NULL;
    }
    if (!l->is16)
        lower_units_start(l);
    emit_insns(l, l->first, l->first_offset);
    if (is_last) {
        emit_end(l);
        l->e = cold;
        lower_emit_late(l);
    } else if (l->plan) {
        emit_border(l);
        next = emit_here(hot);
    }
    uint32_t end_offset = l->offset;
    l->e = cold;
    if (l->plan)
        emit_plain(l, next);
    emit_sides(l);
    emit_colds(l);
    lower_units_finish(l);
    lower_emit_stops(l);
    l->first_offset = end_offset;
}

const void *jit_lower(struct jit *j, struct block_code *head,
                      const struct block_code *k, bool *full)
{
    struct lower l;
    struct emit hot = {.at = j->rw + j->used,
                       .end = j->rw + j->cold_first,
                       .to_exec = j->exec - j->rw};
    struct emit cold = {.at = j->rw + j->cold_used,
                        .end = j->rw + j->bytes,
                        .to_exec = j->exec - j->rw};
    uint32_t start = (uint32_t)(k->start & (PAGE_BYTES - 1));
    uint32_t first_slot = j->slot_count;
    const uint8_t *code = emit_here(&hot);
    memset(&l, 0, offsetof(struct lower, cold));
    l.j = j;
    l.e = &hot;
    l.head = head;
    l.k = k;
    l.is64 = k->mode == MODE_64;
    l.is16 = k->mode == MODE_16;
    l.first_offset = start;
    l.x87_at = X87_SETTLED;
    bool counts = j->t2 && !l.is16 && k->second == UINT64_MAX;
    head->tier2 = T2_BANNED;
    uint8_t *hot_site = counts ? t2_emit_counter(j->t2, &hot, head) : NULL;
    uint8_t *too_far = emit_budget(&l);
    emit_count(&l, 0, 1);
    for (; l.first < k->count; l.first = l.end) {
        unsigned left = k->count - l.first;
        l.end = l.first + (left < j->options.part_max ? left
                                                      : j->options.part_max);
        lower_part(&l, &hot, &cold);
    }
    lower_calls_finish(&l);
    lower_emit_stubs(&l);
    emit_refusal(&l, too_far, hot_site, start);
    if (hot.full || cold.full) {
        j->slot_count = first_slot;
        *full = true;
        return NULL;
    }
    j->used = (size_t)(((hot.at - j->rw) + 15) & ~(ptrdiff_t)15);
    j->cold_used = (size_t)(cold.at - j->rw);
    return code;
}
