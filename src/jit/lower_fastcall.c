/* SYSCALL and SYSRET between rings of 64-bit mode: what op_syscall() and
 * op_sysret() (cpu/fastcall.c) and cpu_update_mode() change there. The handlers do
 * what else may happen: with TF and RF, which end compiled code; with AC, which
 * changes the TLB that CPL 3 sees; and when something waits to be taken. */
#include "jit/lower.h"

#include "cpu/flags.h"

#include <Zydis/Mnemonic.h>

#include <stddef.h>

_Static_assert(offsetof(struct segment, selector) ==
                       offsetof(struct segment, limit) + 4 &&
                   offsetof(struct segment, attr) ==
                       offsetof(struct segment, limit) + 6 &&
                   offsetof(struct segment, limit) % 8 == 0,
               "limit, selector and attr make one word");

enum {
    ATTR_FLAT = SEG_ATTR_G | SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_ACCESSED |
                SEG_ATTR_WRITABLE,
    ATTR_DATA = ATTR_FLAT | SEG_ATTR_DB,
    ATTR_CODE64 = ATTR_FLAT | SEG_ATTR_CODE | SEG_ATTR_L,
    FLAGS_UNUSUAL = FLAG_TF | FLAG_RF | FLAG_AC
};

/* Load a flat segment whose selector is that in H_RCX plus `by`. */
static void set_segment(struct lower *l, enum seg seg, unsigned by,
                        unsigned attr, unsigned cpl)
{
    struct emit *e = l->e;
    struct segment *s = &l->j->cpu->seg[seg];
    attr |= cpl << SEG_ATTR_DPL_SHIFT;
    emit_op(e, 4, 0x8d, H_RDX, rm_base(H_RCX, (int32_t)by), 8, 0); /* lea */
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), 0xfffc);
    if (cpl)
        emit_alu_ri(e, 4, 1, rm_reg(H_RDX), (int32_t)cpl);
    emit_op(e, 8, 0xc1, 4, rm_reg(H_RDX), 8, 1); /* shl */
    emit_u8(e, 32);
    emit_mov_ri(e, H_SCRATCH_C, (uint64_t)attr << 48 | UINT32_MAX);
    emit_alu_rr(e, 8, 1, H_RDX, H_SCRATCH_C);
    emit_store(e, 8, rm_abs(&s->limit), H_RDX);
    emit_op(e, 8, 0xc7, 0, rm_abs(&s->base), 8, 4); /* mov */
    emit_u32(e, 0);
}

/* CPL, and what the MMU and jit_key follow from it; open CALLs are dropped. */
static void set_cpl(struct lower *l, unsigned cpl)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    const struct mmu_view *view = &c->mmu.view[cpl == 3];
    emit_op(e, 1, 0xc6, 0, rm_abs(&c->cpl), 1, 1); /* mov */
    emit_u8(e, cpl);
    emit_op(e, 1, 0xc6, 0, rm_abs(&c->mmu.is_user), 1, 1);
    emit_u8(e, cpl == 3);
    emit_load(e, 8, H_RDX, rm_abs(&view->tlb));
    emit_store(e, 8, rm_abs(&c->mmu.tlb), H_RDX);
    emit_load(e, 8, H_RDX, rm_abs(&view->key));
    emit_store(e, 8, rm_abs(&c->mmu.space_key), H_RDX);
    emit_op(e, 8, 0xc1, 4, rm_reg(H_RDX), 8, 1); /* shl, as jit_key() */
    emit_u8(e, 2);
    emit_alu_ri(e, 8, 1, rm_reg(H_RDX), MODE_64);
    emit_store(e, 8, rm_abs(&c->jit_key), H_RDX);
    emit_load(e, 8, H_RSP, rm_abs(&c->jit_stack));
}

/* RFLAGS := H_RDX. */
static void set_flags(struct lower *l)
{
    struct emit *e = l->e;
    emit_mov_rr(e, 4, H_SCRATCH_C, H_RDX);
    emit_alu_ri(e, 4, 4, rm_reg(H_SCRATCH_C), ~(FLAGS_ARITH | 2));
    emit_store(e, 4, rm_abs(&l->j->cpu->flags), H_SCRATCH_C);
    emit_mov_rr(e, 4, H_RAX, H_RDX);
    emit_alu_ri(e, 4, 4, rm_reg(H_RAX), 0xd5);
    emit_op(e, 4, 0xc1, 4, rm_reg(H_RAX), 4, 1); /* shl */
    emit_u8(e, 8);
    emit_op(e, 4, 0xc1, 5, rm_reg(H_RDX), 4, 1); /* shr: OF */
    emit_u8(e, 11);
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), AF_OF);
    emit_alu_rr(e, 4, 1, H_RAX, H_RDX);
    emit_alu_ri(e, 4, 1, rm_reg(H_RAX), AF_ONE);
}

/* SYSCALL and SYSRET are there, and no interrupt is. */
static void check_both(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    lower_save_flags(l);
    emit_op(l->e, 1, 0xf6, 0, rm_abs(&c->efer), 1, 1); /* test */
    emit_u8(l->e, EFER_SCE);
    lower_cold(l, emit_jump(l->e, 4));
    emit_alu_ri(l->e, 1, 7, rm_abs(&c->intr), 0);
    lower_cold(l, emit_jump(l->e, 5));
}

static void lower_syscall(struct lower *l)
{
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    check_both(l);
    emit_alu_ri(e, 8, 7, rm_abs(&c->probe.note), 0);
    lower_cold(l, emit_jump(e, 5));
    emit_op(e, 4, 0xf7, 0, rm_abs(&c->flags), 4, 4); /* test */
    emit_u32(e, FLAGS_UNUSUAL);
    lower_cold(l, emit_jump(e, 5));
    lower_rflags(l);
    emit_store(e, 8, rm_abs(&c->r[11]), H_RDX);
    emit_load(e, 4, H_RCX, rm_abs(&c->sfmask));
    emit_op(e, 4, 0xf7, 2, rm_reg(H_RCX), 4, 0); /* not */
    emit_alu_rr(e, 4, 4, H_RDX, H_RCX);
    set_flags(l);
    emit_load(e, 8, jit_host_of[REG_RCX], rm_abs(&c->jit_page));
    emit_alu_ri(e, 8, 0, rm_reg(jit_host_of[REG_RCX]),
                (int32_t)lower_next(l));
    emit_op(e, 4, 0x0fb7, H_RCX, rm_abs((uint8_t *)&c->star + 4), 2, 0);
    emit_alu_ri(e, 4, 4, rm_reg(H_RCX), 0xfffc);
    set_segment(l, SEG_CS, 0, ATTR_CODE64, 0);
    set_segment(l, SEG_SS, 8, ATTR_DATA, 0);
    set_cpl(l, 0);
    emit_load(e, 8, H_RCX, rm_abs(&c->lstar));
    lower_dispatch(l);
}

static void lower_sysret(struct lower *l)
{
    const int32_t loaded = 0x3c7fd7;
    struct cpu *c = l->j->cpu;
    struct emit *e = l->e;
    check_both(l);
    emit_alu_ri(e, 1, 7, rm_abs(&c->nmi_pending), 0);
    lower_cold(l, emit_jump(e, 5));
    emit_alu_ri(e, 1, 7, rm_abs(&c->cpl), 0);
    lower_cold(l, emit_jump(e, 5));
    emit_op(e, 4, 0xf7, 0, rm_abs(&c->r[11]), 4, 4); /* test */
    emit_u32(e, FLAGS_UNUSUAL);
    lower_cold(l, emit_jump(e, 5));
    emit_mov_rr(e, 8, H_RCX, jit_host_of[REG_RCX]);
    jit_emit_canonical(e);
    lower_cold(l, emit_jump(e, 7)); /* ja */
    emit_load(e, 4, H_RDX, rm_abs(&c->r[11]));
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), loaded);
    set_flags(l);
    emit_op(e, 4, 0x0fb7, H_RCX, rm_abs((uint8_t *)&c->star + 6), 2, 0);
    set_segment(l, SEG_CS, 16, ATTR_CODE64, 3);
    set_segment(l, SEG_SS, 8, ATTR_DATA, 3);
    set_cpl(l, 3);
    emit_mov_rr(e, 8, H_RCX, jit_host_of[REG_RCX]);
    lower_dispatch(l);
}

bool lower_fastcall(struct lower *l)
{
    if (!l->is64)
        return false;
    if (l->i->mnemonic == ZYDIS_MNEMONIC_SYSCALL)
        lower_syscall(l);
    else if (l->i->mnemonic == ZYDIS_MNEMONIC_SYSRET && l->i->opsize == 8)
        lower_sysret(l);
    else
        return false;
    l->ended = true;
    return true;
}
