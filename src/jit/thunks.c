/* The fixed pieces of host code: entering, leaving, finding the next block and
 * calling a handler. */
#include "jit/jit_internal.h"

#include "cpu/run.h"

#include <stddef.h>

const uint8_t jit_host_of[16] = {
    [REG_RAX] = H_R8,  [REG_RCX] = H_R9,  [REG_RDX] = H_R10,
    [REG_RBX] = H_RBX, [REG_RSP] = H_R11, [REG_RBP] = H_RBP,
    [REG_RSI] = H_RSI, [REG_RDI] = H_RDI, [8] = H_R12,
    [9] = H_R13,       [10] = H_R14,      [11] = H_NONE,
    [12] = H_NONE,     [13] = H_NONE,     [14] = H_NONE,
    [15] = H_NONE};

static void load_guest(struct emit *e, const struct cpu *c)
{
    for (unsigned g = 0; g < JIT_MAPPED; g++)
        emit_load(e, 8, jit_host_of[g], rm_abs(&c->r[g]));
    emit_op(e, 4, 0x0fb7, H_RAX, rm_abs(&c->aflags), 2, 0); /* movzx */
}

static void spill_guest(struct emit *e, const struct cpu *c)
{
    for (unsigned g = 0; g < JIT_MAPPED; g++)
        emit_store(e, 8, rm_abs(&c->r[g]), jit_host_of[g]);
    emit_store(e, 2, rm_abs(&c->aflags), H_RAX);
}

static const uint8_t saved[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static void push(struct emit *e, unsigned reg)
{
    if (reg >= 8)
        emit_u8(e, 0x41);
    emit_u8(e, 0x50 + (reg & 7));
}

static void pop(struct emit *e, unsigned reg)
{
    if (reg >= 8)
        emit_u8(e, 0x41);
    emit_u8(e, 0x58 + (reg & 7));
}

static void make_enter(struct jit *j, struct emit *e)
{
    const uint8_t *at = emit_here(e);
    for (unsigned n = 0; n < sizeof saved; n++)
        push(e, saved[n]);
    emit_alu_ri(e, 8, 5, rm_reg(H_RSP), 8); /* 16-byte alignment */
    emit_mov_rr(e, 8, H_RCX, H_RDI);
    load_guest(e, j->cpu);
    emit_op(e, 4, 0xff, 4, rm_reg(H_RCX), 8, 0); /* jmp rcx */
    j->enter = (void (*)(const void *))(uintptr_t)at;
}

/* exit_link (edx: slot, ecx: page offset), exit_at (ecx), exit; falls through.
 * Returns where the epilogue without spilling starts. */
static const uint8_t *make_exits(struct jit *j, struct emit *e)
{
    j->exit_link = emit_here(e);
    emit_store(e, 4, rm_abs(&j->cpu->jit_link), H_RDX);
    j->exit_at = emit_here(e);
    emit_op(e, 8, 0x03, H_RCX, rm_abs(&j->cpu->jit_page), 8, 0); /* add */
    emit_store(e, 8, rm_abs(&j->cpu->r[REG_RIP]), H_RCX);
    j->exit = emit_here(e);
    spill_guest(e, j->cpu);
    const uint8_t *epilogue = emit_here(e);
    emit_alu_ri(e, 8, 0, rm_reg(H_RSP), 8);
    for (unsigned n = sizeof saved; n-- > 0;)
        pop(e, saved[n]);
    emit_u8(e, 0xc3);
    return epilogue;
}

/* rcx: the next RIP. Looks it up as blocks_at() does. */
static void make_dispatch(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    struct blocks_view v = blocks_view(c);
    uint8_t *miss[6];
    unsigned n = 0;
    j->dispatch_rip = emit_here(e);
    emit_load(e, 8, H_RCX, rm_abs(&c->r[REG_RIP]));
    j->dispatch = emit_here(e);
    emit_store(e, 8, rm_abs(&c->r[REG_RIP]), H_RCX);
    emit_mov_rr(e, 8, H_RDX, H_RCX);
    emit_mov_rr(e, 8, H_R15, H_RCX);
    emit_op(e, 8, 0xc1, 5, rm_reg(H_R15), 8, 1); /* shr r15, 12 */
    emit_u8(e, 12);
    emit_alu_rr(e, 8, 6, H_RDX, H_R15);
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), (int32_t)v.jump_mask);
    emit_op(e, 4, 0xc1, 4, rm_reg(H_RDX), 4, 1); /* shl edx, 5 */
    emit_u8(e, 5);
    emit_mov_ri(e, H_R15, (uintptr_t)v.jumps);
    emit_alu_rr(e, 8, 0, H_RDX, H_R15);
    emit_op(e, 8, 0x3b, H_RCX, rm_base(H_RDX, 0), 8, 0);
    miss[n++] = emit_jump(e, 5);
    emit_load(e, 8, H_R15, rm_abs(&c->mmu.space_key));
    emit_op(e, 8, 0x3b, H_R15, rm_base(H_RDX, 8), 8, 0);
    miss[n++] = emit_jump(e, 5);
    emit_op(e, 4, 0x0fb6, H_R15, rm_abs(&c->mode), 1, 0); /* movzx */
    emit_op(e, 8, 0x3b, H_R15, rm_base(H_RDX, 16), 8, 0);
    miss[n++] = emit_jump(e, 5);
    emit_load(e, 8, H_RDX, rm_base(H_RDX, 24));
    emit_alu_ri(e, 1, 7,
                rm_base(H_RDX, (int32_t)offsetof(struct block_code, valid)), 0);
    miss[n++] = emit_jump(e, 4);
    emit_load(e, 8, H_RDX,
              rm_base(H_RDX, (int32_t)offsetof(struct block_code, code)));
    emit_op(e, 8, 0x85, H_RDX, rm_reg(H_RDX), 8, 0); /* test */
    miss[n++] = emit_jump(e, 4);
    emit_alu_ri(e, 8, 4, rm_reg(H_RCX), -4096);
    emit_store(e, 8, rm_abs(&c->jit_page), H_RCX);
    emit_op(e, 4, 0xff, 4, rm_reg(H_RDX), 8, 0); /* jmp rdx */
    while (n-- > 0)
        emit_patch(e, miss[n], j->exit);
}

/* rdx: instruction, ecx: where. */
static void make_interpret(struct jit *j, struct emit *e,
                           const uint8_t *epilogue)
{
    j->interpret = emit_here(e);
    spill_guest(e, j->cpu);
    emit_mov_ri(e, H_RDI, (uintptr_t)j->cpu);
    emit_mov_rr(e, 8, H_RSI, H_RDX);
    emit_mov_rr(e, 4, H_RDX, H_RCX);
    emit_mov_ri(e, H_RAX, (uintptr_t)jit_interpret);
    emit_alu_ri(e, 8, 5, rm_reg(H_RSP), 8);
    emit_op(e, 4, 0xff, 2, rm_reg(H_RAX), 8, 0); /* call rax */
    emit_alu_ri(e, 8, 0, rm_reg(H_RSP), 8);
    emit_op(e, 4, 0x85, H_RAX, rm_reg(H_RAX), 4, 0);
    uint8_t *leave = emit_jump(e, 5);
    load_guest(e, j->cpu);
    emit_u8(e, 0xc3);
    emit_patch(e, leave, emit_here(e));
    emit_alu_ri(e, 8, 0, rm_reg(H_RSP), 8); /* the return address */
    emit_jump_to(e, 16, epilogue);
}

bool jit_make_thunks(struct jit *j)
{
    struct emit e = {.at = j->rw,
                     .end = j->rw + j->bytes,
                     .to_exec = j->exec - j->rw};
    make_enter(j, &e);
    const uint8_t *epilogue = make_exits(j, &e);
    make_dispatch(j, &e);
    make_interpret(j, &e, epilogue);
    j->thunk_bytes = ((size_t)(e.at - j->rw) + 63) & ~(size_t)63;
    j->used = j->thunk_bytes;
    return !e.full;
}
