/* How compiled code leaves a block: to code of the same page, linked; to any
 * other RIP; and what is emitted behind the block for it. */
#include "jit/lower.h"

#include "base/bytes.h"

void lower_missed(struct lower *l, uint8_t *const miss[2], int32_t sp_moved)
{
    l->is_late = l->is64 || l->is16;
    l->late = (struct late){
        .miss = {miss[0], miss[1]}, .n = (uint16_t)l->n, .sp_moved = sp_moved};
    for (unsigned n = 0; n < 2 && !l->is_late; n++)
        emit_patch(l->e, miss[n], l->j->dispatch_miss);
}

void lower_dispatch(struct lower *l)
{
    uint8_t *miss[2];
    jit_emit_dispatch(l->j, l->e, JIT_JUMP, miss);
    emit_patch(l->e, miss[0], l->j->dispatch_miss);
    emit_patch(l->e, miss[1], l->j->dispatch_miss);
}

void lower_dispatch_checked(struct lower *l, int32_t sp_moved)
{
    uint8_t *miss[2];
    jit_emit_dispatch(l->j, l->e, JIT_JUMP, miss);
    lower_missed(l, miss, sp_moved);
}

/* Code is found for canonical addresses and below limits alone, so others end
 * up here: undo, and let the handler raise the fault. */
void lower_emit_late(struct lower *l)
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

bool lower_in_page(const struct lower *l, int64_t target)
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

void lower_emit_stops(struct lower *l)
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

void lower_emit_stubs(struct lower *l)
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

void lower_load_target(struct lower *l, int64_t target, unsigned rip_bytes)
{
    emit_load(l->e, 8, H_RCX, rm_abs(&l->j->cpu->jit_page));
    emit_op(l->e, rip_bytes == 8 ? 8 : 4, 0x8d, H_RCX,
            rm_base(H_RCX, (int32_t)target), 8, 0);
    if (rip_bytes == 2)
        emit_op(l->e, 4, 0x0fb7, H_RCX, rm_reg(H_RCX), 2, 0); /* movzx */
}

bool lower_leave_if(struct lower *l, unsigned condition, int64_t target)
{
    if (!lower_in_page(l, target))
        return false;
    lower_link(l, emit_jump(l->e, condition), (uint32_t)target);
    return true;
}

void lower_leave(struct lower *l, int64_t target, int32_t sp_moved)
{
    if (lower_in_page(l, target)) {
        lower_link(l, emit_jump(l->e, 16), (uint32_t)target);
        return;
    }
    lower_load_target(l, target, l->i->opsize);
    lower_dispatch_checked(l, sp_moved);
}

/* Tier 0 does not wrap EIP there either: fetching beyond the limit faults. */
void lower_fall_through(struct lower *l, uint32_t next)
{
    if (lower_in_page(l, next)) {
        lower_link(l, emit_jump(l->e, 16), next);
        return;
    }
    lower_load_target(l, next, 8);
    emit_jump_to(l->e, 16, l->j->dispatch);
}
