/* Where an instruction's operand is in memory: effective addresses, and their
 * pages in the TLB (mem/mmu.h), one look-up for several accesses where plan.h
 * says so. */
#include "jit/lower.h"

#include <stddef.h>

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

void jit_emit_tlb_offset(const struct jit *j, struct emit *e, unsigned to,
                         unsigned from)
{
    enum { SHIFT = PAGE_SHIFT - 5 }; /* entries have 32 bytes */
    if (from != to && j->host.bmi2) {
        emit_rorx(e, 8, to, from, SHIFT);
    } else {
        if (from != to)
            emit_mov_rr(e, 8, to, from);
        emit_op(e, 8, 0xc1, 5, rm_reg(to), 8, 1); /* shr */
        emit_u8(e, SHIFT);
    }
    emit_alu_ri(e, 4, 4, rm_reg(to), (TLB_ENTRIES - 1) << 5);
}

void lower_tlb_entry(struct lower *l, unsigned first)
{
    struct emit *e = l->e;
    jit_emit_tlb_offset(l->j, e, H_SCRATCH_B, first);
    emit_alu_ri(e, 8, 4, rm_reg(H_SCRATCH_C), -PAGE_BYTES);
    emit_op(e, 8, 0x03, H_SCRATCH_B, rm_abs(&l->j->cpu->mmu.tlb), 8, 0);
}

void lower_translate(struct lower *l, unsigned bytes, bool write)
{
    struct emit *e = l->e;
    if (bytes == 1)
        emit_mov_rr(e, 8, H_SCRATCH_C, H_SCRATCH_A);
    else
        emit_op(e, 8, 0x8d, H_SCRATCH_C,
                rm_base(H_SCRATCH_A, (int32_t)bytes - 1), 8, 0);
    lower_tlb_entry(l, H_SCRATCH_A);
    emit_op(e, 8, 0x3b, H_SCRATCH_C,
            rm_base(H_SCRATCH_B, jit_tag_offset(write)), 8, 0);
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

/* The addend of the page that holds [reg + low, reg + high) into H_SCRATCH_A.
 */
static void look_up(struct lower *l, unsigned reg, int32_t low, int32_t high,
                    bool write)
{
    struct emit *e = l->e;
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
    emit_op(e, 8, 0x3b, H_SCRATCH_C,
            rm_base(H_SCRATCH_B, jit_tag_offset(write)), 8, 0);
    lower_cold(l, emit_jump(e, 5));
    emit_load(
        e, 8, H_SCRATCH_A,
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

/* 16-bit code: from an offset in SS, in host register `from`, to the address.
 */
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
