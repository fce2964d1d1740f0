/* Rules for CMPXCHG and XADD. There is one CPU: LOCK changes nothing. */
#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

/* On memory. The host's own instruction on a copy of rAX, which takes the place
 * of the flags: they are written whole. */
static bool lower_cmpxchg(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned b, a = jit_host_of[REG_RAX];
    struct emit *e = l->e;
    if (i->mnemonic != ZYDIS_MNEMONIC_CMPXCHG || i->form != FORM_MR ||
        !lower_second(i, &b) || !lower_operand(l, i->size, true))
        return false;
    unsigned h = lower_get(l, b, H_SCRATCH_C);
    emit_mov_rr(e, 8, H_RAX, a);
    emit_op(e, i->size, lower_op(i->size, 0x0fb1), h, l->mem,
            i->size, 0);
    if (i->size == 4) { /* when equal, rAX keeps its upper half */
        emit_op(e, 8, 0x0f45, a, rm_reg(H_RAX), 8, 0); /* cmovne */
    } else {
        emit_mov_rr(e, 8, a, H_RAX);
    }
    lower_flags_written(l, FIX_NONE);
    return true;
}

/* The sum to the first operand, its old value to the second. */
static bool lower_xadd(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned b;
    if (i->mnemonic != ZYDIS_MNEMONIC_XADD || i->form != FORM_MR ||
        !lower_second(i, &b) || !lower_operand(l, i->size, true))
        return false;
    unsigned h = lower_get(l, b, H_SCRATCH_C);
    emit_op(l->e, i->size, lower_op(i->size, 0x0fc1), h,
            l->mem, i->size, 0);
    lower_put(l, b, h);
    lower_flags_written(l, FIX_NONE);
    return true;
}

bool lower_exchange(struct lower *l)
{
    return lower_cmpxchg(l) || lower_xadd(l);
}
