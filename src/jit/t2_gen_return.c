/* Traces and the return stack (thunks.c). CALLs that a trace follows open nothing,
 * and the RETs that it follows out of them are guards; where control leaves in
 * between, or the trace ends in a CALL, what is open then is opened. */
#include "jit/t2_code.h"

#include <Zydis/Mnemonic.h>

/* The code behind a host CALL: on at the guest's return address `rip`. */
static void arrive(struct t2_gen *g, uint64_t rip)
{
    struct emit *e = &g->e;
    emit_pop(e, H_RDX);
    if (g->ir->one_page && t2g_page_of(rip) != t2g_page_of(g->ir->head)) {
        t2g_jump_out(g, 16, g->j->return_miss);
        return;
    }
    emit_alu_rr(e, 8, 7, H_RCX, H_RDX); /* cmp */
    t2g_jump_out(g, 5, g->j->return_miss);
    emit_alu_ri(e, 8, 4, rm_reg(H_RDX), -PAGE_BYTES);
    t2g_op(g, 8, 0x89, H_RDX, rm_abs(&g->j->cpu->jit_page), 8, 0);
    t2g_link(g, emit_jump(e, 16), rip);
}

/* The first half of an entry. Host flags and RDX are lost. */
static void push_entry(struct t2_gen *g, uint64_t rip)
{
    struct emit *e = &g->e;
    jit_emit_test_full(g->j, e);
    uint8_t *has_room = emit_jump(e, 5);
    t2g_op(g, 8, 0x8b, H_RSP, rm_abs(&g->j->cpu->jit_stack), 8, 0);
    emit_patch(e, has_room, emit_here(e));
    if (g->ir->one_page) {
        t2g_op(g, 8, 0x8b, H_RDX, rm_abs(&g->j->cpu->jit_page), 8, 0);
        emit_op(e, 8, 0x8d, H_RDX,
                rm_base(H_RDX, (int32_t)(rip - t2g_page_of(g->ir->head))), 8,
                0);
    } else {
        emit_mov_ri(e, H_RDX, rip);
    }
    emit_push(e, H_RDX);
}

static uint8_t *emit_call_site(struct emit *e)
{
    emit_u8(e, 0xe8);
    emit_u32(e, 0);
    return e->at - 4;
}

void t2g_open_calls(struct t2_gen *g, const struct t2_calls *calls)
{
    for (unsigned n = 0; n < calls->count; n++) {
        if (n + 1 == calls->count && calls->is_call)
            break;
        push_entry(g, calls->back[n]);
        uint8_t *over = emit_call_site(&g->e);
        arrive(g, calls->back[n]);
        emit_patch(&g->e, over, emit_here(&g->e));
    }
}

void t2g_call_link(struct t2_gen *g, const struct t2_calls *calls, uint64_t rip)
{
    uint64_t back = calls->back[calls->count - 1];
    push_entry(g, back);
    t2g_page(g, rip);
    uint8_t *site = emit_call_site(&g->e);
    arrive(g, back);
    t2g_link(g, site, rip);
}

void t2g_call_dispatch(struct t2_gen *g, const struct t2_calls *calls)
{
    uint64_t back = calls->back[calls->count - 1];
    push_entry(g, back);
    t2g_call_out(g, g->j->dispatch);
    arrive(g, back);
}

static void follow(struct t2_calls *calls, const struct t2_insn *t)
{
    bool is_call = t->i.mnemonic == ZYDIS_MNEMONIC_CALL;
    calls->is_call = calls->is_return = false;
    if (is_call && calls->count < T2_OPEN_MAX &&
        !(t->i.form == FORM_I && t->i.imm == 0)) {
        calls->back[calls->count++] = t->rip + t->i.len;
        calls->is_call = true;
    } else if (t->i.mnemonic == ZYDIS_MNEMONIC_RET) {
        calls->is_return = calls->count == 0;
        calls->count -= calls->count > 0;
    }
}

/* The way to instruction n, from arm to arm; returns how many come before. */
static unsigned follow_to(const struct t2_ir *ir, struct t2_calls *calls,
                          unsigned n)
{
    unsigned done = 0, first = 0;
    for (unsigned k = 1; k < ir->piece_count; k++) {
        const struct t2_piece *p = &ir->pieces[k];
        if (n < p->first || n - p->first >= p->count)
            continue;
        done = follow_to(ir, calls, p->at) + 1;
        follow(calls, &ir->insns[p->at]);
        first = p->first;
    }
    for (unsigned k = first; k < n; k++)
        follow(calls, &ir->insns[k]);
    return done + n - first;
}

/* A loop's head is reached with no call open, so one iteration tells. */
void t2g_calls(const struct t2_gen *g, const struct t2_map *m,
               struct t2_calls *calls)
{
    const struct t2_ir *ir = g->ir;
    calls->count = 0;
    calls->is_call = calls->is_return = false;
    unsigned before = follow_to(ir, calls, m->insn);
    if (m->retired > before && (m->retired - before) % ir->insn_count == 1)
        follow(calls, &ir->insns[m->insn]);
}
