/* CALL and RET by the host's (thunks.c, the return stack). */
#include "jit/lower.h"

#include <assert.h>

enum {
    OP_CALL = 0xe8,
    OP_RET = 0xc3
};

static bool in_page(uint32_t offset)
{
    return offset < PAGE_BYTES;
}

/* What the host CALL returns to: where RCX is what its entry says, on at the
 * instruction behind the CALL. */
static void arrive(struct lower *l, struct open_call *call, bool is_same_page)
{
    struct emit *e = l->e;
    const uint64_t *page = &l->j->cpu->jit_page;
    emit_pop(e, H_RDX);
    if (!in_page(lower_next(l))) {
        emit_jump_to(e, 16, l->j->return_miss);
        return;
    }
    emit_alu_rr(e, 8, 7, H_RCX, H_RDX); /* cmp */
    emit_jump_to(e, 5, l->j->return_miss);
    if (is_same_page) {
        /* A store would make the next CALL wait for the value loaded here. */
        emit_op(e, 8, 0x33, H_RDX, rm_abs(page), 8, 0); /* xor */
        emit_alu_ri(e, 8, 7, rm_reg(H_RDX), PAGE_BYTES - 1);
        call->moved = emit_jump(e, 7);
    } else {
        emit_alu_ri(e, 8, 4, rm_reg(H_RDX), -PAGE_BYTES);
        emit_store(e, 8, rm_abs(page), H_RDX);
    }
    call->arrive = emit_here(e);
    lower_link(l, emit_jump(e, 16), lower_next(l));
}

/* Push the entry's first half. */
static struct open_call *open_call(struct lower *l)
{
    struct emit *e = l->e;
    assert(l->calls < CALLS_MAX);
    struct open_call *call = &l->call[l->calls++];
    *call = (struct open_call){0};
    jit_emit_test_full(l->j, e);
    call->full = emit_jump(e, 4);
    call->go_on = emit_here(e);
    emit_push(e, H_RDX);
    return call;
}

void lower_call_link(struct lower *l, uint32_t target)
{
    struct open_call *call = open_call(l);
    emit_u8(l->e, OP_CALL);
    emit_u32(l->e, 0);
    lower_link(l, l->e->at - 4, target);
    arrive(l, call, true);
}

/* The host's CALL is the indirect one itself: a CALL of a jump behind `arrive`
 * made the indirect calls of bench/guests/indirect.S 20 % slower. */
void lower_call_dispatch(struct lower *l, uint8_t *miss[2])
{
    struct open_call *call = open_call(l);
    jit_emit_dispatch(l->j, l->e, JIT_CALL, miss);
    arrive(l, call, false);
}

void lower_return(struct lower *l, int32_t sp_moved)
{
    struct emit *e = l->e;
    l->branched = emit_here(e);
    if (l->is64) {
        emit_u8(e, 0x41); /* mov r14d, imm32 */
        emit_u8(e, 0xbe);
        l->is_late = true;
        l->late = (struct late){
            .ret = e->at, .n = (uint16_t)l->n, .sp_moved = sp_moved};
        emit_u32(e, 0);
    }
    emit_u8(e, OP_RET);
}

void lower_calls_finish(struct lower *l)
{
    struct emit *e = l->e;
    const struct cpu *c = l->j->cpu;
    for (unsigned k = 0; k < l->calls; k++) {
        const struct open_call *call = &l->call[k];
        emit_patch(e, call->full, emit_here(e));
        emit_load(e, 8, H_RSP, rm_abs(&c->jit_stack));
        emit_jump_to(e, 16, call->go_on);
        if (!call->moved)
            continue;
        emit_patch(e, call->moved, emit_here(e));
        emit_alu_ri(e, 8, 4, rm_reg(H_RCX), -PAGE_BYTES);
        emit_store(e, 8, rm_abs(&c->jit_page), H_RCX);
        emit_jump_to(e, 16, call->arrive);
    }
}
