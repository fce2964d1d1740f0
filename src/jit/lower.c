#include "jit/lower.h"

#include "base/bytes.h"
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

/* ---- memory -------------------------------------------------------------------- */

void lower_cold(struct lower *l, uint8_t *site)
{
    if (l->colds == COLD_MAX) {
        l->e->full = true;
        return;
    }
    l->cold[l->colds++] = (struct cold){site, (uint16_t)l->n, l->x87_at};
}

bool lower_can_address(const struct lower *l)
{
    const struct insn *i = l->i;
    if ((i->addr == 2 && !l->is16) || i->is_moffs64)
        return false;
    if (i->base == REG_RIP) {
        int64_t d = (int64_t)i->disp + lower_next(l);
        return i->index == REG_ZERO && i->addr == 8 && d == (int32_t)d;
    }
    return true;
}

/* Addresses of 16 bits wrap. */
static void effective16(struct lower *l, unsigned to)
{
    const struct insn *i = l->i;
    bool has_base = i->base != REG_ZERO, has_index = i->index != REG_ZERO;
    unsigned from = jit_host_of[has_base ? i->base : has_index ? i->index : 0];
    if (!has_base && !has_index) {
        emit_mov_ri(l->e, to, (uint16_t)i->disp);
        return;
    }
    if ((has_base && has_index) || i->disp) {
        struct rm sum = rm_base(from, i->disp);
        if (has_base && has_index)
            sum.index = jit_host_of[i->index];
        emit_op(l->e, 4, 0x8d, to, sum, 8, 0);
        from = to;
    }
    emit_op(l->e, 4, 0x0fb7, to, rm_reg(from), 2, 0); /* movzx */
}

void lower_effective_to(struct lower *l, unsigned to, unsigned size)
{
    const struct insn *i = l->i;
    struct emit *e = l->e;
    if (i->addr == 2) {
        effective16(l, to);
        return;
    }
    if (i->base == REG_RIP) {
        emit_load(e, 8, to, rm_abs(&l->j->cpu->jit_page));
        emit_op(e, size, 0x8d, to,
                rm_base(to, i->disp + (int32_t)lower_next(l)), 8, 0);
        return;
    }
    unsigned base = i->base == REG_ZERO ? (unsigned)H_NONE
                                        : lower_get(l, i->base, H_SCRATCH_A);
    unsigned index = i->index == REG_ZERO ? (unsigned)H_NONE
                                          : lower_get(l, i->index, H_SCRATCH_B);
    if (base == H_NONE && index == H_NONE) {
        emit_mov_ri(e, to,
                    size == 8 ? (uint64_t)(int64_t)i->disp
                              : (uint64_t)(uint32_t)i->disp);
        return;
    }
    if (index == H_NONE && i->disp == 0) {
        emit_mov_rr(e, size, to, base);
        return;
    }
    struct rm rm = rm_base(base, i->disp);
    rm.index = (uint8_t)index;
    rm.scale = i->scale;
    if (base == H_NONE && i->scale == 0) {
        rm.reg = (uint8_t)index;
        rm.index = H_NONE;
    }
    emit_op(e, size, 0x8d, to, rm, 8, 0);
}

void lower_effective(struct lower *l)
{
    lower_effective_to(l, H_SCRATCH_A, l->is64 && l->i->addr == 8 ? 8 : 4);
}

void lower_tlb_entry(struct lower *l, unsigned first)
{
    struct emit *e = l->e;
    /* 32-byte entries: (vaddr >> 12 & 1023) << 5. */
    if (first != H_SCRATCH_B && l->j->host.bmi2) {
        emit_vex(e, 8, VEX_0F3A, VEX_F2, 0xf0, H_SCRATCH_B, 0, first); /* rorx */
    } else {
        if (first != H_SCRATCH_B)
            emit_mov_rr(e, 8, H_SCRATCH_B, first);
        emit_op(e, 8, 0xc1, 5, rm_reg(H_SCRATCH_B), 8, 1); /* shr */
    }
    emit_u8(e, PAGE_SHIFT - 5);
    emit_alu_ri(e, 8, 4, rm_reg(H_SCRATCH_C), -PAGE_BYTES);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), (TLB_ENTRIES - 1) << 5);
    emit_op(e, 8, 0x03, H_SCRATCH_B, rm_abs(&l->j->cpu->mmu.tlb), 8, 0);
}

void lower_translate(struct lower *l, unsigned bytes, bool write)
{
    struct emit *e = l->e;
    int32_t tag = write ? (int32_t)offsetof(struct tlb_entry, write_tag)
                        : (int32_t)offsetof(struct tlb_entry, read_tag);
    if (bytes == 1)
        emit_mov_rr(e, 8, H_SCRATCH_C, H_SCRATCH_A);
    else
        emit_op(e, 8, 0x8d, H_SCRATCH_C,
                rm_base(H_SCRATCH_A, (int32_t)bytes - 1), 8, 0);
    lower_tlb_entry(l, H_SCRATCH_A);
    emit_op(e, 8, 0x3b, H_SCRATCH_C, rm_base(H_SCRATCH_B, tag), 8, 0);
    lower_cold(l, emit_jump(e, 5));
    emit_op(e, 8, 0x03, H_SCRATCH_A,
            rm_base(H_SCRATCH_B, (int32_t)offsetof(struct tlb_entry, addend)),
            8, 0);
    lower_flags_clobbered(l);
}

/* 32-bit code: is the register PLAN_REACH away from 0 and from 4 GiB? */
static void check_reach(struct lower *l, unsigned h)
{
    struct emit *e = l->e;
    emit_op(e, 8, 0x8d, H_SCRATCH_C, rm_base(h, -PLAN_REACH), 8, 0);
    emit_op(e, 8, 0xc1, 5, rm_reg(H_SCRATCH_C), 8, 1); /* shr */
    emit_u8(e, 16);
    emit_alu_ri(e, 8, 7, rm_reg(H_SCRATCH_C), (1 << 16) - 2);
    lower_cold(l, emit_jump(e, 3)); /* jae */
}

/* The addend of the page that holds [reg + low, reg + high) into H_SCRATCH_A. */
static void look_up(struct lower *l, unsigned reg, int32_t low, int32_t high,
                    bool write)
{
    struct emit *e = l->e;
    int32_t tag = write ? (int32_t)offsetof(struct tlb_entry, write_tag)
                        : (int32_t)offsetof(struct tlb_entry, read_tag);
    lower_save_flags(l);
    unsigned h = H_SCRATCH_B;
    if (reg == REG_RIP)
        emit_load(e, 8, h, rm_abs(&l->j->cpu->jit_page));
    else
        h = lower_get(l, reg, H_SCRATCH_B);
    if (!l->is64)
        check_reach(l, h);
    emit_op(e, 8, 0x8d, H_SCRATCH_C, rm_base(h, high - 1), 8, 0);
    if (low) {
        emit_op(e, 8, 0x8d, H_SCRATCH_B, rm_base(h, low), 8, 0);
        h = H_SCRATCH_B;
    }
    lower_tlb_entry(l, h);
    emit_op(e, 8, 0x3b, H_SCRATCH_C, rm_base(H_SCRATCH_B, tag), 8, 0);
    lower_cold(l, emit_jump(e, 5));
    emit_load(e, 8, H_SCRATCH_A,
              rm_base(H_SCRATCH_B, (int32_t)offsetof(struct tlb_entry, addend)));
    lower_flags_clobbered(l);
}

/* l->mem for reg + disp in the page whose addend is in H_SCRATCH_A. */
static void set_operand(struct lower *l, unsigned reg, int32_t disp)
{
    if (reg < JIT_MAPPED) {
        l->mem = rm_base(jit_host_of[reg], disp);
        l->mem.index = H_SCRATCH_A;
        return;
    }
    struct rm sum = rm_base(H_SCRATCH_B, 0);
    sum.index = H_SCRATCH_A;
    if (reg == REG_RIP)
        emit_load(l->e, 8, H_SCRATCH_B, rm_abs(&l->j->cpu->jit_page));
    else
        (void)lower_get(l, reg, H_SCRATCH_B);
    emit_op(l->e, 8, 0x8d, H_SCRATCH_A, sum, 8, 0);
    l->mem = rm_base(H_SCRATCH_A, disp);
}

_Static_assert(PLAN_REACH == 1 << 16, "check_reach() shifts by 16");

/* What the plan puts beside the current instruction's access, or NULL. */
static const struct plan_group *group_of(const struct lower *l, unsigned bytes,
                                         bool is_stack)
{
    const struct plan_access *a = lower_planned(l);
    if (!a || a->group == PLAN_NONE || a->is_stack != is_stack ||
        a->bytes != bytes || l->plan->group[a->group].slot == PLAN_NONE)
        return NULL;
    return &l->plan->group[a->group];
}

/* An access at reg + disp with others of its group. */
static void shared_access(struct lower *l, const struct plan_group *g,
                          unsigned reg, int32_t disp, bool write)
{
    int32_t from = disp - lower_planned(l)->offset;
    uint64_t *slot = &l->j->cpu->jit_addend[g->slot];
    if (l->held[g->slot] >= (write ? HELD_WRITE : HELD_READ)) {
        emit_load(l->e, 8, H_SCRATCH_A, rm_abs(slot));
    } else {
        write |= g->writes;
        look_up(l, reg, from + g->low, from + g->high, write);
        emit_store(l->e, 8, rm_abs(slot), H_SCRATCH_A);
        l->held[g->slot] = write ? HELD_WRITE : HELD_READ;
    }
    set_operand(l, reg, disp);
}

/* 64-bit code: an access at reg + disp, by itself or with others. */
static void based_access(struct lower *l, unsigned reg, int32_t disp,
                         unsigned bytes, bool write, bool is_stack)
{
    const struct plan_group *g = group_of(l, bytes, is_stack);
    if (g) {
        shared_access(l, g, reg, disp, write);
        return;
    }
    look_up(l, reg, disp, disp + (int32_t)bytes, write);
    set_operand(l, reg, disp);
}

static bool is_based(const struct lower *l)
{
    const struct insn *i = l->i;
    return l->is64 && i->addr == 8 && i->index == REG_ZERO &&
           i->base != REG_ZERO && i->seg < SEG_FS;
}

bool lower_operand(struct lower *l, unsigned bytes, bool write)
{
    const struct insn *i = l->i;
    if (!lower_can_address(l))
        return false;
    if (is_based(l)) {
        int32_t disp = i->disp;
        if (i->base == REG_RIP)
            disp += (int32_t)lower_next(l);
        based_access(l, i->base, disp, bytes, write, false);
        return true;
    }
    const struct plan_group *g = group_of(l, bytes, false);
    if (g) {
        shared_access(l, g, i->base, i->disp, write);
        return true;
    }
    lower_save_flags(l);
    lower_effective(l);
    lower_segment(l, bytes);
    lower_translate(l, bytes, write);
    l->mem = rm_base(H_SCRATCH_A, 0);
    return true;
}

bool lower_address(struct lower *l, unsigned bytes, bool write)
{
    if (!lower_operand(l, bytes, write))
        return false;
    lower_save_flags(l);
    if (l->mem.index != H_NONE || l->mem.disp)
        emit_op(l->e, 8, 0x8d, H_SCRATCH_A, l->mem, 8, 0);
    return true;
}

/* 16-bit code: from an offset in SS, in host register `from`, to the address. */
static void stack16(struct lower *l, unsigned from, unsigned bytes)
{
    if (!l->is16)
        return;
    emit_op(l->e, 4, 0x0fb7, H_SCRATCH_A, rm_reg(from), 2, 0); /* movzx */
    lower_segment16(l, SEG_SS, H_SCRATCH_A, bytes, H_SCRATCH_B);
}

void lower_push_address(struct lower *l, unsigned bytes)
{
    if (l->is64) {
        based_access(l, REG_RSP, -(int32_t)bytes, bytes, true, true);
        return;
    }
    const struct plan_group *g = group_of(l, bytes, true);
    if (g) {
        shared_access(l, g, REG_RSP, -(int32_t)bytes, true);
        return;
    }
    lower_save_flags(l);
    emit_op(l->e, 4, 0x8d, H_SCRATCH_A,
            rm_base(jit_host_of[REG_RSP], -(int32_t)bytes), 8, 0);
    stack16(l, H_SCRATCH_A, bytes);
    lower_translate(l, bytes, true);
    l->mem = rm_base(H_SCRATCH_A, 0);
}

void lower_pop_address(struct lower *l, unsigned bytes, unsigned from)
{
    if (l->is64) {
        based_access(l, from, 0, bytes, false, true);
        return;
    }
    const struct plan_group *g = group_of(l, bytes, true);
    if (g) {
        shared_access(l, g, from, 0, false);
        return;
    }
    lower_save_flags(l);
    if (!l->is16)
        emit_mov_rr(l->e, 4, H_SCRATCH_A, jit_host_of[from]);
    stack16(l, jit_host_of[from], bytes);
    lower_translate(l, bytes, false);
    l->mem = rm_base(H_SCRATCH_A, 0);
}

/* ---- leaving -------------------------------------------------------------------- */

void lower_missed(struct lower *l, uint8_t *const miss[2], int32_t sp_moved)
{
    l->is_late = l->is64 || l->is16;
    l->late = (struct late){.miss = {miss[0], miss[1]},
                            .n = (uint16_t)l->n,
                            .sp_moved = sp_moved};
    for (unsigned n = 0; n < 2 && !l->is_late; n++)
        emit_patch(l->e, miss[n], l->j->dispatch_miss);
}

void lower_dispatch_checked(struct lower *l, int32_t sp_moved)
{
    uint8_t *miss[2];
    jit_emit_dispatch(l->j, l->e, JIT_JUMP, miss);
    lower_missed(l, miss, sp_moved);
}

/* Code is found for canonical addresses and below limits alone, so others end up
 * here: undo, and let the handler raise the fault. */
static void emit_late(struct lower *l)
{
    if (!l->is_late)
        return;
    l->is_late = false;
    if (l->late.ret) {
        if (!l->e->full)
            store_le32(l->late.ret, (uint32_t)(emit_here(l->e) - l->j->exec));
    } else {
        emit_patch(l->e, l->late.miss[0], emit_here(l->e));
        emit_patch(l->e, l->late.miss[1], emit_here(l->e));
        if (l->is16)
            emit_op(l->e, 4, 0x3b, H_RCX, rm_abs(&l->j->cpu->seg[SEG_CS].limit),
                    4, 0);
        else
            jit_emit_canonical(l->e);
        emit_jump_to(l->e, 6, l->j->dispatch_miss); /* jbe */
    }
    if (l->late.is_open)
        emit_pop(l->e, H_RDX);
    if (l->late.sp_moved)
        lower_move_sp(l, -l->late.sp_moved);
    l->n = l->late.n;
    lower_cold(l, emit_jump(l->e, 16));
}

/* On the page, and without leaving the code segment. */
static bool in_page(const struct lower *l, int64_t target)
{
    return target >= l->k->low && target < l->k->high;
}

/* Linked later: until then the jump goes to a stub that says which it is. */
void lower_link(struct lower *l, uint8_t *site, uint32_t target)
{
    struct jit *j = l->j;
    if (j->slot_count == JIT_SLOTS || l->stubs == STUBS_MAX) {
        l->e->full = true;
        return;
    }
    l->stub[l->stubs++] = (struct stub){j->slot_count, target};
    j->slots[j->slot_count++] =
        (struct slot){.site = site, .low = l->k->low, .high = l->k->high};
}

void lower_stop_here(struct lower *l, uint8_t *site)
{
    if (l->stops == STOPS_MAX) {
        l->e->full = true;
        return;
    }
    l->stop[l->stops++] =
        (struct stop){site, (uint16_t)l->n, (uint16_t)lower_next(l)};
}

static void emit_stops(struct lower *l)
{
    for (unsigned k = 0; k < l->stops; k++) {
        const struct stop *s = &l->stop[k];
        emit_patch(l->e, s->site, emit_here(l->e));
        emit_alu_ri(l->e, 8, 5, rm_reg(H_TICKS), l->k->count - s->n - 1);
        emit_alu_ri(l->e, 8, 4, rm_abs(&l->j->cpu->limit), 0);
        emit_mov_ri(l->e, H_RCX, s->next);
        emit_jump_to(l->e, 16, l->j->exit_at);
    }
}

static void emit_stubs(struct lower *l)
{
    struct jit *j = l->j;
    for (unsigned k = 0; k < l->stubs; k++) {
        struct slot *s = &j->slots[l->stub[k].slot];
        s->stub = emit_here(l->e);
        emit_patch(l->e, s->site, s->stub);
        emit_mov_ri(l->e, H_RDX, l->stub[k].slot);
        emit_mov_ri(l->e, H_RCX, l->stub[k].target);
        emit_jump_to(l->e, 16, j->exit_link);
    }
}

/* RIP for a target in another page. */
static void load_target(struct lower *l, int64_t target, unsigned rip_bytes)
{
    emit_load(l->e, 8, H_RCX, rm_abs(&l->j->cpu->jit_page));
    emit_op(l->e, rip_bytes == 8 ? 8 : 4, 0x8d, H_RCX,
            rm_base(H_RCX, (int32_t)target), 8, 0);
    if (rip_bytes == 2)
        emit_op(l->e, 4, 0x0fb7, H_RCX, rm_reg(H_RCX), 2, 0); /* movzx */
}

bool lower_leave_if(struct lower *l, unsigned condition, int64_t target)
{
    if (!in_page(l, target))
        return false;
    lower_link(l, emit_jump(l->e, condition), (uint32_t)target);
    return true;
}

void lower_leave(struct lower *l, int64_t target, int32_t sp_moved)
{
    if (in_page(l, target)) {
        lower_link(l, emit_jump(l->e, 16), (uint32_t)target);
        return;
    }
    load_target(l, target, l->i->opsize);
    lower_dispatch_checked(l, sp_moved);
}

/* Tier 0 does not wrap EIP there either: fetching beyond the limit faults. */
void lower_fall_through(struct lower *l, uint32_t next)
{
    if (in_page(l, next)) {
        lower_link(l, emit_jump(l->e, 16), next);
        return;
    }
    load_target(l, next, 8);
    emit_jump_to(l->e, 16, l->j->dispatch);
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
        bool is_near = in_page(l, s->target);
        uint8_t *miss[2];
        emit_patch(l->e, s->site, emit_here(l->e));
        l->n = s->n;
        l->flags = s->flags;
        l->fix = s->fix;
        l->x87_at = X87_SETTLED;
        lower_save_flags(l);
        if (!is_near) {
            load_target(l, s->target, 8);
            lower_check_target(l);
        }
        emit_alu_ri(l->e, 8, 5, rm_reg(H_TICKS), l->k->count - s->n - 1);
        emit_count(l, s->n + 1u, -1);
        if (is_near) {
            lower_link(l, emit_jump(l->e, 16), (uint32_t)s->target);
            continue;
        }
        jit_emit_dispatch(l->j, l->e, JIT_JUMP, miss);
        emit_patch(l->e, miss[0], l->j->dispatch_miss);
        emit_patch(l->e, miss[1], l->j->dispatch_miss);
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
        emit_late(l);
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
        emit_late(l);
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
    emit_stops(l);
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
    emit_stubs(&l);
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
