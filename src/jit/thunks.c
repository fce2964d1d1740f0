/* The fixed pieces of host code: entering, leaving, finding the next block and
 * calling a handler. */
#include "jit/jit_internal.h"

#include "cpu/run.h"

#include <stddef.h>

const uint8_t jit_host_of[16] = {
    [REG_RAX] = H_R8,  [REG_RCX] = H_R9,  [REG_RDX] = H_R10,
    [REG_RBX] = H_RBX, [REG_RSP] = H_R11, [REG_RBP] = H_RBP,
    [REG_RSI] = H_RSI, [REG_RDI] = H_RDI, [8] = H_R12,
    [9] = H_R13,       [10] = H_NONE,     [11] = H_NONE,
    [12] = H_NONE,     [13] = H_NONE,     [14] = H_NONE,
    [15] = H_NONE};

static void load_guest(struct emit *e, const struct cpu *c)
{
    for (unsigned g = 0; g < JIT_MAPPED; g++)
        emit_load(e, 8, jit_host_of[g], rm_abs(&c->r[g]));
    emit_op(e, 4, 0x0fb7, H_RAX, rm_abs(&c->aflags), 2, 0); /* movzx */
    emit_load(e, 8, H_TICKS, rm_abs(&c->tick));
    emit_op(e, 8, 0x2b, H_TICKS, rm_abs(&c->jit_limit), 8, 0); /* sub */
}

static void spill_guest(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    for (unsigned g = 0; g < JIT_MAPPED; g++)
        emit_store(e, 8, rm_abs(&c->r[g]), jit_host_of[g]);
    emit_store(e, 2, rm_abs(&c->aflags), H_RAX);
    emit_op(e, 8, 0x03, H_TICKS, rm_abs(&c->jit_limit), 8, 0); /* add */
    emit_store(e, 8, rm_abs(&c->tick), H_TICKS);
    jit_emit_units_save(j, e);
}

static const uint8_t saved[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

/* ---- the return stack
 *
 * Compiled code executes a guest's CALL by pushing the guest's return address on
 * the host stack and by a host CALL, and its RET by a host RET with RCX = the
 * guest's new RIP. That is a prediction, which the host's own return predictor
 * follows: control arrives behind the host CALL, where code pops what was pushed
 * there and compares it with RCX. Other than that goes to return_miss, a search
 * as for any jump.
 *
 * An entry takes 16 bytes, so RSP is a multiple of 16 at every block boundary.
 * What an entry says is good for the jit_key that it was made under: whatever
 * changes jit_key, and leaving, drops all entries. So does the CALL that finds
 * RSP at a multiple of so many entries. Below the first entry lies one that
 * always misses and comes back; cpu->jit_stack points to it. */

void jit_emit_test_full(const struct jit *j, struct emit *e)
{
    emit_op(e, 4, 0xf7, 0, rm_reg(H_RSP), 4, 4); /* test */
    emit_u32(e, (j->options.calls_max - 1) * JIT_ENTRY_BYTES);
}

static void make_enter(struct jit *j, struct emit *e)
{
    const uint8_t *at = emit_here(e);
    for (unsigned n = 0; n < sizeof saved; n++)
        emit_push(e, saved[n]);
    emit_mov_rr(e, 8, H_RCX, H_RDI);
    load_guest(e, j->cpu);
    emit_mov_rr(e, 8, H_RDX, H_RSP);
    emit_alu_ri(e, 8, 4, rm_reg(H_RSP),
                -(int32_t)(j->options.calls_max * JIT_ENTRY_BYTES));
    emit_push(e, H_RDX);
    emit_op(e, 8, 0x8d, H_RDX, rm_abs(j->return_bottom), 8, 0); /* lea */
    emit_push(e, H_RDX);
    emit_store(e, 8, rm_abs(&j->cpu->jit_stack), H_RSP);
    emit_op(e, 4, 0xff, 4, rm_reg(H_RCX), 8, 0); /* jmp rcx */
    j->enter = (void (*)(const void *))(uintptr_t)at;
}

static void note_exit(struct jit *j, struct emit *e, enum jit_exit why)
{
    emit_op(e, 1, 0xc6, 0, rm_abs(&j->cpu->jit_left), 1, 1); /* mov */
    emit_u8(e, why);
}

/* exit_at (ecx: page offset) and exit fall through; exit_link (edx: slot, ecx) is
 * exit_at for a jump that can be linked, exit_refused (ecx) for code that tier 0
 * is to execute. Returns where the epilogue without spilling starts. */
static const uint8_t *make_exits(struct jit *j, struct emit *e)
{
    j->exit_at = emit_here(e);
    note_exit(j, e, JIT_EXIT_LIMIT);
    const uint8_t *at = emit_here(e);
    emit_op(e, 8, 0x03, H_RCX, rm_abs(&j->cpu->jit_page), 8, 0); /* add */
    emit_store(e, 8, rm_abs(&j->cpu->r[REG_RIP]), H_RCX);
    j->exit = emit_here(e);
    spill_guest(j, e);
    const uint8_t *epilogue = emit_here(e);
    emit_load(e, 8, H_RSP, rm_abs(&j->cpu->jit_stack));
    emit_load(e, 8, H_RSP, rm_base(H_RSP, 8));
    for (unsigned n = sizeof saved; n-- > 0;)
        emit_pop(e, saved[n]);
    emit_u8(e, 0xc3);
    j->exit_link = emit_here(e);
    emit_store(e, 4, rm_abs(&j->cpu->jit_link), H_RDX);
    note_exit(j, e, JIT_EXIT_UNLINKED);
    emit_jump_to(e, 16, at);
    j->exit_refused = emit_here(e);
    emit_op(e, 1, 0xc6, 0, rm_abs(&j->cpu->jit_refused), 1, 1); /* mov */
    emit_u8(e, 1);
    note_exit(j, e, JIT_EXIT_UNITS);
    emit_jump_to(e, 16, at);
    return epilogue;
}

void jit_emit_dispatch(const struct jit *j, struct emit *e,
                       enum jit_transfer how, uint8_t *miss[2])
{
    struct cpu *c = j->cpu;
    if (j->options.count_lookups)
        emit_op(e, 8, 0xff, 0, rm_abs(&c->jit_lookups), 8, 0); /* inc */
    /* The entry's address, as enter_jump() computes it. */
    emit_mov_rr(e, 8, H_RDX, H_RCX);
    emit_op(e, 8, 0xc1, 5, rm_reg(H_RDX), 8, 1); /* shr rdx, 12 */
    emit_u8(e, PAGE_SHIFT);
    emit_alu_rr(e, 4, 6, H_RDX, H_RCX);
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), JIT_JUMPS - 1);
    emit_op(e, 4, 0xc1, 4, rm_reg(H_RDX), 4, 1); /* shl edx, 5 */
    emit_u8(e, 5);
    emit_op(e, 8, 0x8d, H_SCRATCH_C, rm_abs(j->jumps_exec), 8, 0); /* lea */
    emit_alu_rr(e, 8, 0, H_RDX, H_SCRATCH_C);
    emit_load(e, 8, H_SCRATCH_C, rm_abs(&c->jit_key));
    emit_op(e, 8, 0x3b, H_RCX,
            rm_base(H_RDX, offsetof(struct jit_jump, rip)), 8, 0);
    miss[0] = emit_jump(e, 5);
    emit_op(e, 8, 0x3b, H_SCRATCH_C,
            rm_base(H_RDX, offsetof(struct jit_jump, key)), 8, 0);
    miss[1] = emit_jump(e, 5);
    emit_load(e, 8, H_RCX, rm_base(H_RDX, offsetof(struct jit_jump, page)));
    emit_store(e, 8, rm_abs(&c->jit_page), H_RCX);
    emit_op(e, 4, 0xff, how, rm_base(H_RDX, offsetof(struct jit_jump, code)), 8,
            0);
}

void jit_emit_canonical(struct emit *e)
{
    emit_mov_rr(e, 8, H_RDX, H_RCX);
    emit_op(e, 8, 0xc1, 7, rm_reg(H_RDX), 8, 1); /* sar rdx, 47 */
    emit_u8(e, 47);
    emit_alu_ri(e, 8, 0, rm_reg(H_RDX), 1);
    emit_alu_ri(e, 8, 7, rm_reg(H_RDX), 1);
}

static void make_dispatch(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    uint8_t *miss[2];
    j->dispatch_rip = emit_here(e);
    emit_load(e, 8, H_RCX, rm_abs(&c->r[REG_RIP]));
    j->dispatch = emit_here(e);
    jit_emit_dispatch(j, e, JIT_JUMP, miss);
    j->dispatch_miss = emit_here(e);
    emit_patch(e, miss[0], j->dispatch_miss);
    emit_patch(e, miss[1], j->dispatch_miss);
    emit_store(e, 8, rm_abs(&c->r[REG_RIP]), H_RCX);
    note_exit(j, e, JIT_EXIT_LOOKUP);
    emit_jump_to(e, 16, j->exit);
    j->dispatch_at = emit_here(e); /* ecx: page offset */
    emit_op(e, 8, 0x03, H_RCX, rm_abs(&c->jit_page), 8, 0); /* add */
    emit_jump_to(e, 16, j->dispatch);
}

/* RCX: the guest's RIP. R14: the distance from the start of the cache to code that
 * undoes the RET and lets its handler raise the fault when that is not canonical,
 * in 64-bit code. */
static void make_return_miss(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    uint8_t *miss[2];
    j->return_miss = emit_here(e);
    emit_op(e, 8, 0xff, 0, rm_abs(&c->jit_return_misses), 8, 0); /* inc */
    emit_store(e, 8, rm_abs(&c->jit_target), H_SCRATCH_C);
    jit_emit_dispatch(j, e, JIT_JUMP, miss);
    emit_patch(e, miss[0], emit_here(e));
    emit_patch(e, miss[1], emit_here(e));
    jit_emit_canonical(e);
    emit_jump_to(e, 6, j->dispatch_miss);
    emit_op(e, 8, 0x8d, H_RDX, rm_abs(j->exec), 8, 0); /* lea */
    emit_op(e, 8, 0x03, H_RDX, rm_abs(&c->jit_target), 8, 0); /* add */
    emit_op(e, 4, 0xff, 4, rm_reg(H_RDX), 8, 0); /* jmp rdx */
    j->return_bottom = emit_here(e);
    emit_call(e, j->return_miss);
    emit_jump_to(e, 16, j->return_bottom);
}

/* Save, call fn(cpu, rdx, ecx), load; where it said to leave do that instead. The
 * stack is aligned but for `pushed` bytes. */
static void call_handler(struct jit *j, struct emit *e, const void *fn,
                         unsigned pushed, const uint8_t *epilogue)
{
    spill_guest(j, e);
    emit_mov_ri(e, H_RDI, (uintptr_t)j->cpu);
    emit_mov_rr(e, 8, H_RSI, H_RDX);
    emit_mov_rr(e, 4, H_RDX, H_RCX);
    emit_mov_ri(e, H_RAX, (uintptr_t)fn);
    if (pushed)
        emit_alu_ri(e, 8, 5, rm_reg(H_RSP), (int32_t)pushed);
    emit_op(e, 4, 0xff, 2, rm_reg(H_RAX), 8, 0); /* call rax */
    if (pushed)
        emit_alu_ri(e, 8, 0, rm_reg(H_RSP), (int32_t)pushed);
    emit_op(e, 4, 0x85, H_RAX, rm_reg(H_RAX), 4, 0);
    uint8_t *go_on = emit_jump(e, 4);
    emit_alu_ri(e, 4, 7, rm_reg(H_RAX), JIT_REKEYED);
    emit_jump_to(e, 5, epilogue);
    emit_load(e, 8, H_RSP, rm_abs(&j->cpu->jit_stack));
    emit_patch(e, go_on, emit_here(e));
    load_guest(e, j->cpu);
}

static void make_interpret(struct jit *j, struct emit *e,
                           const uint8_t *epilogue)
{
    j->interpret = emit_here(e);
    call_handler(j, e, (const void *)(uintptr_t)jit_interpret, 8, epilogue);
    emit_u8(e, 0xc3);
    j->interpret_last = emit_here(e);
    call_handler(j, e, (const void *)(uintptr_t)jit_interpret_last, 0,
                 epilogue);
    emit_jump_to(e, 16, j->dispatch_rip);
}

bool jit_make_thunks(struct jit *j)
{
    struct emit e = {.at = j->rw + JIT_JUMPS * sizeof(struct jit_jump),
                     .end = j->rw + j->bytes,
                     .to_exec = j->exec - j->rw};
    jit_make_unit_thunks(j, &e);
    const uint8_t *epilogue = make_exits(j, &e);
    j->leave = epilogue;
    make_dispatch(j, &e);
    make_return_miss(j, &e);
    make_enter(j, &e);
    make_interpret(j, &e, epilogue);
    j->first = ((size_t)(e.at - j->rw) + 63) & ~(size_t)63;
    j->used = j->first;
    /* Most of a block is code for what rarely happens. */
    j->cold_first = j->first + (j->bytes - j->first) / 3;
    j->cold_used = j->cold_first;
    return !e.full;
}
