/* Rules for near control transfers: linked jumps inside the page, a table look-up
 * for everything else. */
#include "jit/lower.h"
#include "jit/codes.h"

#include <Zydis/Mnemonic.h>

/* A RIP in H_RCX that is not canonical or beyond the limit faults at the branch:
 * interpret it. */
void lower_check_target(struct lower *l)
{
    struct emit *e = l->e;
    if (l->is16) {
        emit_op(e, 4, 0x3b, H_RCX, rm_abs(&l->j->cpu->seg[SEG_CS].limit), 4, 0);
        lower_cold(l, emit_jump(e, 7)); /* ja */
    }
    if (!l->is64)
        return;
    jit_emit_canonical(e);
    lower_cold(l, emit_jump(e, 7));
}

/* The relative target as a page offset; false when it cannot be one. */
static bool relative_target(const struct lower *l, int64_t *target)
{
    *target = (int64_t)lower_next(l) + (int64_t)l->i->imm;
    return lower_is_usual(l, l->i->opsize) && *target == (int32_t)*target;
}

/* Make the condition that of host flags; returns the one to test. Conditions
 * that are one bit of AH can be tested there. */
static unsigned condition(struct lower *l, unsigned code)
{
    static const uint8_t bits[16] = {[2] = 0x01, [4] = 0x40, [6] = 0x41,
                                     [8] = 0x80, [10] = 0x04};
    unsigned mask = bits[code & 14];
    if (l->flags == FLAGS_SAVED && mask) {
        emit_u8(l->e, 0xf6); /* test ah, mask */
        emit_u8(l->e, 0xc4);
        emit_u8(l->e, mask);
        return code & 1 ? 4 : 5;
    }
    lower_restore_flags(l);
    return code;
}

static bool jcc_target(const struct lower *l, unsigned *code, int64_t *target)
{
    *code = 0;
    while (*code < 16 && jit_jump_codes[*code] != l->i->mnemonic)
        ++*code;
    return *code < 16 && relative_target(l, target);
}

/* In the middle of joined blocks: the way on is straight ahead. */
static bool lower_side_jcc(struct lower *l)
{
    unsigned code;
    int64_t target;
    if (!jcc_target(l, &code, &target))
        return false;
    code = condition(l, code);
    lower_side(l, emit_jump(l->e, code), target);
    return true;
}

static bool lower_jcc(struct lower *l)
{
    unsigned code;
    int64_t target;
    if (!jcc_target(l, &code, &target))
        return false;
    lower_save_flags(l);
    code = condition(l, code);
    if (lower_leave_if(l, code, target)) {
        lower_fall_through(l, lower_next(l));
        return true;
    }
    uint8_t *taken = emit_jump(l->e, code);
    lower_fall_through(l, lower_next(l));
    emit_patch(l->e, taken, emit_here(l->e));
    lower_leave(l, target, 0);
    return true;
}

/* H_RCX := a target of the operand size. */
static void load_rip(struct lower *l, struct rm from)
{
    if (l->i->opsize == 2)
        emit_op(l->e, 4, 0x0fb7, H_RCX, from, 2, 0); /* movzx */
    else
        emit_load(l->e, l->i->opsize, H_RCX, from);
}

/* The target of an indirect JMP or CALL into H_RCX; flags are SAVED. */
static bool indirect_target(struct lower *l)
{
    const struct insn *i = l->i;
    if (i->form == FORM_M) {
        if (!lower_operand(l, i->opsize, false))
            return false;
        load_rip(l, l->mem);
        lower_save_flags(l);
    } else {
        lower_save_flags(l);
        load_rip(l, rm_reg(lower_get(l, i->dst, H_SCRATCH_C)));
    }
    return true;
}

static bool lower_jmp(struct lower *l)
{
    const struct insn *i = l->i;
    int64_t target;
    if (i->mnemonic != ZYDIS_MNEMONIC_JMP || i->is_far ||
        !lower_is_usual(l, i->opsize))
        return false;
    if (i->form == FORM_I) {
        if (!relative_target(l, &target))
            return false;
        lower_save_flags(l);
        lower_leave(l, target, 0);
        return true;
    }
    if (!indirect_target(l))
        return false;
    lower_dispatch_checked(l, 0);
    return true;
}

/* Push the return address, which RDX holds then; flags are SAVED. */
static void push_return(struct lower *l)
{
    unsigned n = l->i->opsize;
    lower_push_address(l, n);
    emit_load(l->e, 8, H_RDX, rm_abs(&l->j->cpu->jit_page));
    emit_op(l->e, 8, 0x8d, H_RDX, rm_base(H_RDX, (int32_t)lower_next(l)), 8, 0);
    emit_store(l->e, n, l->mem, H_RDX);
    lower_move_sp(l, -(int32_t)n);
    lower_save_flags(l);
}

/* A CALL of what follows, which reads its own address, opens nothing; nor does
 * 16-bit code. */
static void call_direct(struct lower *l, int64_t target)
{
    int32_t by = -(int32_t)l->i->opsize;
    uint8_t *miss[2];
    if (target == lower_next(l) || l->is16) {
        lower_leave(l, target, by);
        return;
    }
    l->branched = emit_here(l->e);
    if (target >= 0 && target < PAGE_BYTES) {
        lower_call_link(l, (uint32_t)target);
        return;
    }
    emit_op(l->e, l->is64 ? 8 : 4, 0x8d, H_RCX,
            rm_base(H_RDX, (int32_t)(target - lower_next(l))), 8, 0);
    lower_call_dispatch(l, miss);
    lower_missed(l, miss, by);
    l->late.is_open = true;
}

static bool lower_call(struct lower *l)
{
    const struct insn *i = l->i;
    const uint64_t *kept = &l->j->cpu->jit_target;
    int64_t target;
    uint8_t *miss[2];
    if (i->mnemonic != ZYDIS_MNEMONIC_CALL || i->is_far ||
        !lower_is_usual(l, i->opsize))
        return false;
    if (i->form == FORM_I) {
        if (!relative_target(l, &target))
            return false;
        push_return(l);
        call_direct(l, target);
        return true;
    }
    if (!indirect_target(l))
        return false;
    lower_check_target(l);
    emit_store(l->e, 8, rm_abs(kept), H_RCX);
    push_return(l);
    emit_load(l->e, 8, H_RCX, rm_abs(kept));
    if (l->is16) {
        emit_jump_to(l->e, 16, l->j->dispatch);
        return true;
    }
    l->branched = emit_here(l->e);
    lower_call_dispatch(l, miss);
    emit_patch(l->e, miss[0], l->j->dispatch_miss);
    emit_patch(l->e, miss[1], l->j->dispatch_miss);
    return true;
}

static bool lower_ret(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned n = i->opsize;
    if (i->mnemonic != ZYDIS_MNEMONIC_RET || i->is_far ||
        !lower_is_usual(l, n))
        return false;
    lower_pop_address(l, n, REG_RSP);
    load_rip(l, l->mem);
    lower_save_flags(l);
    int32_t by = (int32_t)(n + (i->imm & 0xffff));
    lower_move_sp(l, by);
    if (l->is16)
        lower_dispatch_checked(l, by);
    else
        lower_return(l, by);
    return true;
}

/* LOOP, LOOPE, LOOPNE, JECXZ and JRCXZ inside the page. */
static bool lower_count(struct lower *l)
{
    const struct insn *i = l->i;
    unsigned h = jit_host_of[REG_RCX], size = i->addr;
    bool is_jump = i->mnemonic == ZYDIS_MNEMONIC_JCXZ ||
                   i->mnemonic == ZYDIS_MNEMONIC_JECXZ ||
                   i->mnemonic == ZYDIS_MNEMONIC_JRCXZ;
    bool wants_zf = i->mnemonic == ZYDIS_MNEMONIC_LOOPE;
    bool wants_nz = i->mnemonic == ZYDIS_MNEMONIC_LOOPNE;
    int64_t target;
    if ((!is_jump && !wants_zf && !wants_nz &&
         i->mnemonic != ZYDIS_MNEMONIC_LOOP) ||
        (size == 2 && !l->is16) || !relative_target(l, &target) ||
        target < l->k->low || target >= l->k->high)
        return false;
    lower_save_flags(l);
    if (!is_jump)
        emit_op(l->e, size, 0x8d, h, rm_base(h, -1), 8, 0); /* lea */
    emit_op(l->e, size, 0x85, h, rm_reg(h), size, 0);       /* test */
    lower_flags_clobbered(l);
    uint8_t *over = NULL;
    if (wants_zf || wants_nz) {
        over = emit_jump(l->e, 4);
        emit_u8(l->e, 0xf6); /* test ah, ZF */
        emit_u8(l->e, 0xc4);
        emit_u8(l->e, FLAG_ZF);
    }
    (void)lower_leave_if(l, is_jump || wants_nz ? 4 : 5, target);
    if (over)
        emit_patch(l->e, over, emit_here(l->e));
    lower_fall_through(l, lower_next(l));
    return true;
}

bool lower_branch(struct lower *l)
{
    if (l->i->cls != CLASS_BRANCH)
        return false;
    if (l->n + 1u < l->k->count)
        return lower_side_jcc(l);
    l->ended = lower_jcc(l) || lower_jmp(l) || lower_call(l) || lower_ret(l) ||
               lower_count(l);
    return l->ended;
}
