/* Guest state in the host's vector and x87 units. A part of a block that uses a
 * unit makes sure at its start that the host's holds the guest's state; calling C gives it
 * back to struct cpu, so what follows a call makes sure again. Where the guest's
 * state forbids it (an exception is unmasked, CR0.TS is set, ...) the block is
 * left and tier 0 executes what comes. */
#include "jit/lower.h"

static struct rm resident_flag(const struct lower *l, enum lower_unit unit)
{
    const struct cpu *c = l->j->cpu;
    return rm_abs(unit == UNIT_SIMD ? &c->jit_simd : &c->jit_x87);
}

static const uint8_t *load_thunk(const struct lower *l, enum lower_unit unit)
{
    return unit == UNIT_SIMD ? l->j->simd_load : l->j->x87_load;
}

static void test_resident(struct lower *l, enum lower_unit unit)
{
    emit_alu_ri(l->e, 1, 7, resident_flag(l, unit), 0);
}

void lower_need(struct lower *l, enum lower_unit unit)
{
    if (l->units & unit)
        return;
    l->units |= unit;
    lower_save_flags(l);
    test_resident(l, unit);
    uint8_t *site = emit_jump(l->e, 4);
    lower_flags_clobbered(l);
    if (l->need_count == NEED_MAX) {
        l->e->full = true;
        return;
    }
    l->needs[l->need_count++] =
        (struct need){.site = site,
                      .resume = emit_here(l->e),
                      .offset = (uint16_t)l->offset,
                      .n = (uint16_t)l->n,
                      .unit = (uint8_t)unit,
                      .x87_at = l->x87_at};
}

void lower_units_start(struct lower *l)
{
    unsigned units = 0;
    for (unsigned n = l->first; n < l->end; n++)
        units |= lower_sse_unit(&l->k->insns[n]) |
                 lower_x87_unit(l, &l->k->insns[n]);
    if (units & UNIT_X87)
        lower_need(l, UNIT_X87);
    if (units & UNIT_SIMD)
        lower_need(l, UNIT_SIMD);
}

/* jit_x87_ip := the address at page offset x87_at. Flags stay. */
static void store_x87_ip(struct lower *l, int32_t x87_at)
{
    struct cpu *c = l->j->cpu;
    if (x87_at < 0)
        return;
    emit_load(l->e, 8, H_SCRATCH_A, rm_abs(&c->jit_page));
    emit_op(l->e, 8, 0x8d, H_SCRATCH_A, rm_base(H_SCRATCH_A, x87_at), 8, 0);
    emit_store(l->e, 8, rm_abs(&c->jit_x87_ip), H_SCRATCH_A);
}

void lower_units_settle(struct lower *l)
{
    store_x87_ip(l, l->x87_at);
    l->x87_at = X87_SETTLED;
}

void lower_units_settle_cold(struct lower *l, const struct cold *cold)
{
    store_x87_ip(l, cold->x87_at);
}

/* Leave before instruction n at page offset `offset`, for tier 0. */
static void refuse(struct lower *l, unsigned n, uint32_t offset)
{
    emit_alu_ri(l->e, 8, 5, rm_reg(H_TICKS), (int32_t)(l->k->count - n));
    emit_mov_ri(l->e, H_RCX, offset);
    emit_jump_to(l->e, 16, l->j->exit_refused);
}

void lower_units_back(struct lower *l, unsigned n, uint32_t next)
{
    for (unsigned unit = UNIT_X87; unit >= UNIT_SIMD; unit >>= 1) {
        if (!(lower_place(l, n)->resume_units & unit) || n + 1u == l->k->count)
            continue;
        emit_call(l->e, load_thunk(l, unit));
        uint8_t *loaded = emit_jump(l->e, 4);
        refuse(l, n + 1, next);
        emit_patch(l->e, loaded, emit_here(l->e));
    }
}

void lower_units_finish(struct lower *l)
{
    for (unsigned k = 0; k < l->need_count; k++) {
        const struct need *need = &l->needs[k];
        emit_patch(l->e, need->site, emit_here(l->e));
        emit_call(l->e, load_thunk(l, need->unit));
        emit_jump_to(l->e, 4, need->resume);
        store_x87_ip(l, need->x87_at);
        refuse(l, need->n, need->offset);
    }
}
