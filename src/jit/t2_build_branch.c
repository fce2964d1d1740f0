/* Branches of the trace: followed where they went when it was recorded, under a
 * guard. */
#include "jit/codes.h"
#include "jit/t2_build.h"

#include <Zydis/Mnemonic.h>

static bool is_canonical(uint64_t rip)
{
    return (uint64_t)((int64_t)rip >> 47) + 1 <= 1;
}

static uint64_t page_of(uint64_t rip)
{
    return rip & ~(uint64_t)(PAGE_BYTES - 1);
}

/* The relative target; false when a jump there faults or has another width. */
static bool relative_target(const struct t2_build *b, uint64_t *target)
{
    const struct t2_ir *ir = b->ir;
    *target = b->t->rip + b->i->len + b->i->imm;
    if (!ir->is64)
        *target = (uint32_t)*target;
    return b->i->opsize == (ir->is64 ? 8 : 4) &&
           (!ir->is64 || is_canonical(*target));
}

/* The map in front of a branch whose target, outside the page, may not be
 * canonical where the page is mapped next; else none. */
static uint16_t unless_canonical(struct t2_build *b, uint64_t target)
{
    const struct t2_ir *ir = b->ir;
    if (!ir->is64 || !ir->one_page || page_of(target) == page_of(ir->head))
        return T2_MAP_NONE;
    return t2_map_before(b);
}

static void end_at(struct t2_build *b, uint64_t target, bool is_taken)
{
    uint16_t map = t2_map_after(b, target);
    t2_emit_ir(b->ir,
               (struct t2_op){.kind = T2_EXIT,
                              .map = map,
                              .imm = is_taken ? unless_canonical(b, target)
                                              : T2_MAP_NONE,
                              .insn = (uint16_t)b->n});
    b->ended = true;
}

static bool build_jcc(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    unsigned code = 0;
    uint64_t target, behind = b->t->rip + b->i->len;
    while (code < 16 && jit_jump_codes[code] != b->i->mnemonic)
        code++;
    if (code == 16 || !relative_target(b, &target))
        return false;
    bool is_taken = b->t->next == target;
    if (!is_taken && b->t->next != behind)
        return false;
    if (target != behind) {
        uint64_t other = is_taken ? behind : target;
        uint16_t before = is_taken ? T2_MAP_NONE : unless_canonical(b, target);
        uint16_t map = t2_map_after(b, other);
        t2_emit_ir(
            ir, (struct t2_op){.kind = T2_GUARD,
                               .digit = (uint8_t)(is_taken ? code : code ^ 1),
                               .c = t2_flags_for(b, code),
                               .from = b->is_last,
                               .map = map,
                               .imm = before,
                               .insn = (uint16_t)b->n});
    }
    if (b->is_last)
        end_at(b, b->t->next, is_taken);
    return true;
}

/* LOOP and JRCXZ: on a count in rCX, without flags. */
static bool build_count(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    unsigned mnemonic = b->i->mnemonic, size = b->i->addr;
    bool is_loop = mnemonic == ZYDIS_MNEMONIC_LOOP;
    uint64_t target, behind = b->t->rip + b->i->len;
    if ((!is_loop && mnemonic != ZYDIS_MNEMONIC_JECXZ &&
         mnemonic != ZYDIS_MNEMONIC_JRCXZ) ||
        size < 4 || !relative_target(b, &target) || target == behind)
        return false;
    bool is_taken = b->t->next == target;
    if (!is_taken && b->t->next != behind)
        return false;
    uint16_t before = is_taken ? T2_MAP_NONE : unless_canonical(b, target);
    t2_ref count = ir->now[REG_RCX];
    if (is_loop) {
        count = size == 8 || !ir->is64 ? t2_plus(b, count, -1)
                                       : t2_binary(b, T2_LEA, 4, 0, count, 0);
        if (size == 4 && ir->is64)
            ir->ops[count].imm = -1;
        ir->now[REG_RCX] = count;
    }
    unsigned code = is_loop == is_taken ? 5 : 4; /* NZ, Z */
    t2_ref test = t2_binary(b, T2_TEST, size, 0, count, count);
    uint16_t map = t2_map_after(b, is_taken ? behind : target);
    t2_emit_ir(ir, (struct t2_op){.kind = T2_GUARD,
                                  .digit = (uint8_t)code,
                                  .c = test,
                                  .map = map,
                                  .imm = before,
                                  .insn = (uint16_t)b->n});
    if (b->is_last)
        end_at(b, b->t->next, is_taken);
    return true;
}

/* Control goes to v, which was b->t->next when the trace was recorded. before:
 * the state in front of the branch. */
static void go_to(struct t2_build *b, t2_ref v, uint16_t before)
{
    struct t2_ir *ir = b->ir;
    uint16_t map = t2_map_after(b, b->t->next);
    struct t2_op op = {.kind = b->is_last ? T2_EXIT_TO : T2_GUARDEQ,
                       .size = ir->is64 ? 8 : 4,
                       .a = v,
                       .map = map,
                       .imm = ir->is64 ? before : T2_MAP_NONE,
                       .insn = (uint16_t)b->n};
    if (!b->is_last)
        op.b = t2_linear(b, b->t->next);
    t2_emit_ir(ir, op);
    b->ended = b->is_last;
}

static bool target_operand(struct t2_build *b, t2_ref *v)
{
    const struct insn *i = b->i;
    struct t2_place p;
    if (i->form == FORM_M) {
        if (!t2_operand_place(b, i->opsize, T2_READS, &p))
            return false;
        *v = t2_read(b, p, i->opsize);
        return true;
    }
    *v = b->ir->now[i->dst];
    if (i->opsize == 4)
        *v = t2_unary(b, T2_MOVZX, 4, *v);
    return true;
}

static bool build_jmp(struct t2_build *b)
{
    const struct insn *i = b->i;
    uint64_t target;
    t2_ref v;
    if (i->mnemonic != ZYDIS_MNEMONIC_JMP || i->is_far ||
        i->opsize != (b->ir->is64 ? 8 : 4))
        return false;
    if (i->form == FORM_I) {
        if (!relative_target(b, &target) || target != b->t->next)
            return false;
        if (b->is_last)
            end_at(b, target, true);
        return true;
    }
    uint16_t before = t2_map_before(b);
    if (!target_operand(b, &v))
        return false;
    go_to(b, v, before);
    return true;
}

/* Leave in front of the instruction unless bits 63..47 of v are equal. */
static void require_canonical(struct t2_build *b, t2_ref v)
{
    t2_ref top = t2_binary(b, T2_SHIFT, 8, 7, v, 0);
    b->ir->ops[top].imm = 47;
    t2_ref next = t2_binary(b, T2_LEA, 8, 0, top, 0);
    b->ir->ops[next].imm = 1;
    t2_require(b, 6, 8, next, t2_const(b->ir, 1));
}

static bool build_call(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    unsigned n = i->opsize;
    uint64_t target = 0;
    t2_ref v = 0;
    if (i->mnemonic != ZYDIS_MNEMONIC_CALL || i->is_far ||
        n != (ir->is64 ? 8u : 4u))
        return false;
    uint16_t before = t2_map_before(b);
    if (i->form == FORM_I ? !relative_target(b, &target) || target != b->t->next
                          : !target_operand(b, &v))
        return false;
    /* A target that is not canonical faults before anything is pushed: then
     * the state in front of the call must still be there. */
    t2_ref sp = t2_plus(b, ir->now[REG_RSP], -(int64_t)n);
    t2_ref back = t2_linear(b, b->t->rip + i->len);
    struct t2_place p = t2_place_at(b, sp, n, T2_WRITES);
    if (v && ir->is64 && b->is_last) {
        require_canonical(b, v);
        before = T2_MAP_NONE;
    } else if (v && ir->is64) {
        t2_emit_ir(ir, (struct t2_op){.kind = T2_GUARDEQ,
                                      .size = 8,
                                      .a = v,
                                      .b = t2_linear(b, b->t->next),
                                      .map = before,
                                      .imm = before,
                                      .from = 1,
                                      .insn = (uint16_t)b->n});
        v = 0;
    }
    t2_write(b, p, n, back);
    ir->now[REG_RSP] = sp;
    if (v)
        go_to(b, v, before);
    else if (b->is_last)
        end_at(b, target ? target : b->t->next, true);
    return true;
}

static bool build_ret(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    unsigned n = i->opsize;
    if (i->mnemonic != ZYDIS_MNEMONIC_RET || i->is_far ||
        n != (ir->is64 ? 8u : 4u))
        return false;
    uint16_t before = t2_map_before(b);
    t2_ref sp = ir->now[REG_RSP];
    t2_ref v = t2_read(b, t2_place_at(b, sp, n, T2_READS), n);
    ir->now[REG_RSP] = t2_plus(b, sp, (int64_t)(n + (i->imm & 0xffff)));
    go_to(b, v, before);
    return true;
}

bool t2_build_branch(struct t2_build *b)
{
    if (b->i->cls != CLASS_BRANCH)
        return false;
    return build_jcc(b) || build_count(b) || build_jmp(b) || build_call(b) ||
           build_ret(b);
}
