/* Rules for system instructions that run often: time, PUSHF, CLI, single flags, and
 * those that do nothing here. */
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

void lower_rflags(struct lower *l)
{
    struct emit *e = l->e;
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
}

/* Virtual-8086 mode, whose code is 16-bit, has a look at IOPL. */
static bool lower_pushf(struct lower *l)
{
    struct emit *e = l->e;
    unsigned n = l->i->opsize;
    if ((l->i->mnemonic != ZYDIS_MNEMONIC_PUSHFQ &&
         l->i->mnemonic != ZYDIS_MNEMONIC_PUSHFD &&
         l->i->mnemonic != ZYDIS_MNEMONIC_PUSHF) ||
        !lower_is_usual(l, n))
        return false;
    lower_save_flags(l);
    if (l->is16) {
        emit_op(e, 4, 0xf7, 0, rm_abs(&l->j->cpu->flags), 4, 4); /* test */
        emit_u32(e, FLAG_VM);
        lower_cold(l, emit_jump(e, 5));
        lower_flags_clobbered(l);
    }
    lower_push_address(l, n);
    lower_rflags(l);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_B), ~(FLAG_VM | FLAG_RF));
    emit_store(e, n, l->mem, H_SCRATCH_B);
    lower_move_sp(l, -(int32_t)n);
    return true;
}

/* CLC, STC, CMC on the host's flags or in AH; CLD, STD. */
static bool lower_one_flag(struct lower *l)
{
    static const struct {
        uint16_t mnemonic;
        uint8_t host, digit; /* opcode; AND, OR, XOR */
        uint8_t mask;        /* for AH */
    } rows[] = {{ZYDIS_MNEMONIC_CLC, 0xf8, 4, 0xfe},
                {ZYDIS_MNEMONIC_STC, 0xf9, 1, 0x01},
                {ZYDIS_MNEMONIC_CMC, 0xf5, 6, 0x01}};
    struct rm flags = rm_abs(&l->j->cpu->flags);
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        if (rows[n].mnemonic != l->i->mnemonic)
            continue;
        if (l->flags == FLAGS_SAVED) {
            emit_u8(l->e, 0x80);
            emit_u8(l->e, 0xc4 | (unsigned)rows[n].digit << 3);
            emit_u8(l->e, rows[n].mask);
        } else {
            emit_u8(l->e, rows[n].host);
            lower_flags_written(l, l->fix);
        }
        return true;
    }
    if (l->i->mnemonic != ZYDIS_MNEMONIC_CLD &&
        l->i->mnemonic != ZYDIS_MNEMONIC_STD)
        return false;
    lower_save_flags(l);
    if (l->i->mnemonic == ZYDIS_MNEMONIC_CLD)
        emit_alu_ri(l->e, 4, 4, flags, ~FLAG_DF);
    else
        emit_alu_ri(l->e, 4, 1, flags, FLAG_DF);
    lower_flags_clobbered(l);
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
 * here, for ticks are taken for whole blocks; lower_window() follows the next. Of
 * a repeated one they are kept out for one iteration only. */
static bool lower_sti(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    if (l->i->mnemonic != ZYDIS_MNEMONIC_STI || l->n + 1u == l->k->count ||
        l->i[1].cls != CLASS_NORMAL ||
        l->i[1].mnemonic == ZYDIS_MNEMONIC_STI ||
        (l->i[1].prefix & (PREFIX_REP | PREFIX_REPNE)))
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
           lower_swapgs(l) || lower_sti(l) || lower_one_flag(l);
}
