/* Rules for system instructions that run often: time, PUSHF, CLI, and those that
 * do nothing here. */
#include "jit/lower.h"

#include "cpu/model.h"
#include "cpu/op_sse.h"
#include "cpu/op_system.h"

#include <Zydis/Mnemonic.h>

/* What one CPU without caches has no use for: NOP, PAUSE, fences, prefetches. */
static bool lower_nop(struct lower *l)
{
    return l->i->fn == op_nop || l->i->fn == op_sse_hint;
}

/* TSC = tick + tsc_offset at the instruction. */
static bool lower_rdtsc(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    bool has_aux = l->i->mnemonic == ZYDIS_MNEMONIC_RDTSCP;
    if ((!has_aux && l->i->mnemonic != ZYDIS_MNEMONIC_RDTSC) ||
        (has_aux && !cpu_model_has(c->model, 0x80000001, CPUID_EDX, 27)))
        return false;
    lower_save_flags(l);
    emit_op(e, 1, 0xf6, 0, rm_abs(&c->cr4), 1, 1); /* test */
    emit_u8(e, CR4_TSD);
    lower_cold(l, emit_jump(e, 5));
    emit_load(e, 8, H_SCRATCH_A, rm_abs(&c->jit_limit));
    struct rm rm = rm_base(H_SCRATCH_A, (int32_t)l->n - l->k->count);
    rm.index = H_TICKS;
    emit_op(e, 8, 0x8d, H_SCRATCH_A, rm, 8, 0);
    emit_op(e, 8, 0x03, H_SCRATCH_A, rm_abs(&c->tsc_offset), 8, 0);
    emit_mov_rr(e, 4, jit_host_of[REG_RAX], H_SCRATCH_A);
    emit_op(e, 8, 0xc1, 5, rm_reg(H_SCRATCH_A), 8, 1); /* shr */
    emit_u8(e, 32);
    emit_mov_rr(e, 4, jit_host_of[REG_RDX], H_SCRATCH_A);
    if (has_aux)
        emit_load(e, 4, jit_host_of[REG_RCX], rm_abs(&c->tsc_aux));
    lower_flags_clobbered(l);
    return true;
}

/* Not in virtual-8086 mode, whose code is 16-bit. */
static bool lower_pushf(struct lower *l)
{
    struct emit *e = l->e;
    unsigned n = l->i->opsize;
    if (l->is16 || (l->i->mnemonic != ZYDIS_MNEMONIC_PUSHFQ &&
                    l->i->mnemonic != ZYDIS_MNEMONIC_PUSHFD) ||
        n != (l->is64 ? 8u : 4u))
        return false;
    lower_push_address(l, n);
    lower_save_flags(l);
    emit_u8(e, 0x0f); /* movzx edx, ah */
    emit_u8(e, 0xb6);
    emit_u8(e, 0xd4);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), 0xd5);
    emit_mov_rr(e, 4, H_SCRATCH_C, H_RAX);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_C), 1);
    emit_op(e, 4, 0xc1, 4, rm_reg(H_SCRATCH_C), 4, 1); /* shl: OF */
    emit_u8(e, 11);
    emit_alu_rr(e, 4, 1, H_SCRATCH_B, H_SCRATCH_C);
    emit_op(e, 4, 0x0b, H_SCRATCH_B, rm_abs(&l->j->cpu->flags), 4, 0); /* or */
    emit_alu_ri(e, 4, 1, rm_reg(H_SCRATCH_B), 2);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), ~(FLAG_VM | FLAG_RF));
    emit_store(e, n, l->mem, H_SCRATCH_B);
    lower_move_sp(l, -(int32_t)n);
    return true;
}

/* CLI ends a block, but nothing new can happen behind it. */
static bool lower_cli(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    if (l->i->mnemonic != ZYDIS_MNEMONIC_CLI)
        return false;
    lower_save_flags(l);
    emit_alu_ri(l->e, 1, 7, rm_abs(&c->cpl), 0);
    lower_cold(l, emit_jump(l->e, 5));
    emit_alu_ri(l->e, 4, 4, rm_abs(&c->flags), ~FLAG_IF);
    lower_flags_clobbered(l);
    lower_fall_through(l, lower_next(l));
    l->ended = true;
    return true;
}

/* STI keeps interrupts out for one more instruction. It and the next are one
 * here, for ticks are taken for whole blocks; lower_window() follows the next. */
static bool lower_sti(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    if (l->i->mnemonic != ZYDIS_MNEMONIC_STI || l->n + 1u == l->k->count ||
        l->i[1].cls != CLASS_NORMAL || l->i[1].mnemonic == ZYDIS_MNEMONIC_STI)
        return false;
    lower_save_flags(l);
    emit_alu_ri(e, 1, 7, rm_abs(&c->cpl), 0);
    lower_cold(l, emit_jump(e, 5));
    emit_alu_ri(e, 4, 1, rm_abs(&c->flags), FLAG_IF);
    lower_flags_clobbered(l);
    return true;
}

void lower_window(struct lower *l)
{
    if (l->n == 0 || l->i[-1].mnemonic != ZYDIS_MNEMONIC_STI || l->ended)
        return;
    lower_save_flags(l);
    lower_units_settle(l);
    emit_alu_ri(l->e, 1, 7, rm_abs(&l->j->cpu->intr), 0);
    lower_stop_here(l, emit_jump(l->e, 5));
    lower_flags_clobbered(l);
}

/* SWAPGS exchanges bases; code goes on in the same mode. */
static bool lower_swapgs(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    if (l->i->mnemonic != ZYDIS_MNEMONIC_SWAPGS || !l->is64)
        return false;
    lower_save_flags(l);
    emit_alu_ri(e, 1, 7, rm_abs(&c->cpl), 0);
    lower_cold(l, emit_jump(e, 5));
    emit_load(e, 8, H_SCRATCH_A, rm_abs(&c->kernel_gs_base));
    emit_load(e, 8, H_SCRATCH_B, rm_abs(&c->seg[SEG_GS].base));
    emit_store(e, 8, rm_abs(&c->kernel_gs_base), H_SCRATCH_B);
    emit_store(e, 8, rm_abs(&c->seg[SEG_GS].base), H_SCRATCH_A);
    emit_store(e, 8, rm_abs(&c->ea_base[SEG_GS]), H_SCRATCH_A);
    lower_flags_clobbered(l);
    lower_fall_through(l, lower_next(l));
    l->ended = true;
    return true;
}

bool lower_system(struct lower *l)
{
    return lower_nop(l) || lower_rdtsc(l) || lower_pushf(l) || lower_cli(l) ||
           lower_swapgs(l) || lower_sti(l);
}
