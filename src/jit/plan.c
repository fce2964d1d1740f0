#include "jit/plan.h"

#include "jit/lower.h"

#include <Zydis/Mnemonic.h>

#include <string.h>

/* symbol: a number; offset: bytes. */
struct value {
    uint16_t symbol;
    int32_t offset;
};

enum {
    SYMBOL_PAGE, /* the linear page of the block, + 1 + page distance: */
    SYMBOL_PAGES = 1 << 12,
    SYMBOL_FREE = SYMBOL_PAGES /* and up: unknown values */
};

struct planner {
    struct plan *plan;
    unsigned size; /* of addresses: 8 or 4 bytes */
    struct value r[16];
    uint16_t next_symbol;
    uint16_t group_symbol[PLAN_INSNS];
    bool is_raw[PLAN_INSNS]; /* the group's first access is */
};

/* In 32-bit code even symbols are registers as they came, raw; the odd one behind
 * stands for the same value in registers that were made of them. */
static void forget(struct planner *p, unsigned reg)
{
    p->r[reg] = (struct value){p->next_symbol, 0};
    p->next_symbol += 2;
}

static void is_made(struct planner *p, unsigned reg)
{
    if (p->size == 4)
        p->r[reg].symbol |= 1;
}

static void forget_all(struct planner *p)
{
    for (unsigned g = 0; g < 16; g++)
        forget(p, g);
}

static void add(struct planner *p, unsigned reg, int64_t by)
{
    int64_t sum = p->r[reg].offset + by;
    if (sum != (int32_t)sum)
        forget(p, reg);
    else
        p->r[reg].offset = (int32_t)sum;
    is_made(p, reg);
}

/* ---- what an instruction does to registers ---------------------------------- */

/* Instructions that write their first operand alone, or nothing. */
static bool writes_first(uint16_t mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_XOR:
        return true;
    default:
        /* SETcc and CMOVcc; mnemonics are in alphabetical order. */
        return (mnemonic >= ZYDIS_MNEMONIC_SETB &&
                mnemonic <= ZYDIS_MNEMONIC_SETZ) ||
               (mnemonic >= ZYDIS_MNEMONIC_CMOVB &&
                mnemonic <= ZYDIS_MNEMONIC_CMOVZ);
    }
}

static bool writes_nothing(uint16_t mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_TEST:
        return true;
    default:
        return false;
    }
}

static bool is_general(const struct insn *i, unsigned operand)
{
    return (i->classes >> (4 * operand) & 15) == REG_CLASS_GENERAL;
}

static unsigned first_register(const struct insn *i)
{
    return i->size == 1 ? i->dst >> 3 : i->dst;
}

/* A first operand whose new value is an old one and a distance. */
static bool moves(struct planner *p, const struct insn *i)
{
    if (i->size != p->size)
        return false;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        if (i->form != FORM_RR || !is_general(i, 1))
            return false;
        p->r[i->dst] = p->r[i->src];
        is_made(p, i->dst);
        return true;
    case ZYDIS_MNEMONIC_LEA:
        if (i->addr != p->size || i->base > 15 || i->index != REG_ZERO)
            return false;
        p->r[i->dst] = p->r[i->base];
        add(p, i->dst, i->disp);
        return true;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (i->form != FORM_RI)
            return false;
        add(p, i->dst,
            i->mnemonic == ZYDIS_MNEMONIC_ADD ? (int64_t)i->imm
                                              : -(int64_t)i->imm);
        return true;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        if (i->form != FORM_R)
            return false;
        add(p, i->dst, i->mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1);
        return true;
    default:
        return false;
    }
}

static bool is_memory_first(const struct insn *i)
{
    return i->form == FORM_M || i->form == FORM_MR || i->form == FORM_MI;
}

/* Instructions of the vector and x87 units. */
static bool step_unit(struct planner *p, const struct insn *i)
{
    bool stores;
    if (lower_x87_knows(i, &stores)) {
        if (i->mnemonic == ZYDIS_MNEMONIC_FNSTSW && i->form != FORM_M)
            forget(p, REG_RAX);
        return true;
    }
    if (!lower_sse_unit(i))
        return false;
    if (is_general(i, 0))
        forget(p, i->dst);
    if (i->mnemonic == ZYDIS_MNEMONIC_PCMPESTRI ||
        i->mnemonic == ZYDIS_MNEMONIC_PCMPISTRI)
        forget(p, REG_RCX);
    return true;
}

/* Registers after the instruction. What is not known forgets everything. */
static void step(struct planner *p, const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        add(p, REG_RSP, -(int32_t)i->opsize);
        return;
    case ZYDIS_MNEMONIC_POP:
        add(p, REG_RSP, i->opsize);
        if (i->form == FORM_R)
            forget(p, i->dst);
        return;
    case ZYDIS_MNEMONIC_LEAVE:
        p->r[REG_RSP] = p->r[REG_RBP];
        add(p, REG_RSP, i->opsize);
        forget(p, REG_RBP);
        return;
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CWDE:
        forget(p, REG_RAX);
        return;
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO:
        forget(p, REG_RDX);
        return;
    default:
        break;
    }
    if (i->cls == CLASS_BRANCH) /* in the middle: a conditional jump */
        return;
    if (writes_nothing(i->mnemonic) || step_unit(p, i))
        return;
    bool is_imul = i->mnemonic == ZYDIS_MNEMONIC_IMUL &&
                   (i->form == FORM_RR || i->form == FORM_RM);
    if (is_memory_first(i) && writes_first(i->mnemonic))
        return;
    if (!writes_first(i->mnemonic) && !is_imul) {
        forget_all(p);
    } else if (is_general(i, 0)) {
        if (!moves(p, i))
            forget(p, first_register(i));
    } else {
        forget_all(p);
    }
}

/* ---- accesses ----------------------------------------------------------------- */

static bool writes_memory(const struct insn *i)
{
    bool stores;
    if (lower_x87_knows(i, &stores))
        return stores;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_TEST:
        return false;
    default:
        return is_memory_first(i) || i->mnemonic == ZYDIS_MNEMONIC_XCHG;
    }
}

static unsigned group_of(struct planner *p, struct value at, unsigned bytes)
{
    struct plan *plan = p->plan;
    bool is_raw = p->size == 4 && !(at.symbol & 1);
    if (p->size == 4)
        at.symbol &= ~1u;
    for (unsigned g = plan->groups; g-- > 0;) {
        if (p->group_symbol[g] != at.symbol || (is_raw && !p->is_raw[g]))
            continue;
        struct plan_group *group = &plan->group[g];
        int64_t low = at.offset < group->low ? at.offset : group->low;
        int64_t end = (int64_t)at.offset + bytes;
        int64_t high = end > group->high ? end : group->high;
        if (high - low > PLAN_SPAN_MAX)
            break;
        group->low = (int32_t)low;
        group->high = (int32_t)high;
        return g;
    }
    unsigned g = plan->groups++;
    p->group_symbol[g] = at.symbol;
    p->is_raw[g] = is_raw;
    plan->group[g] = (struct plan_group){.low = at.offset,
                                         .high = at.offset + (int32_t)bytes};
    return g;
}

static void enter(struct planner *p, struct plan_access *a, struct value at,
                  bool write)
{
    int64_t end = (int64_t)at.offset + a->bytes;
    bool is_near = a->disp >= -PLAN_REACH / 4 && a->disp <= PLAN_REACH / 4;
    if (end != (int32_t)end || (p->size == 4 && !is_near))
        return;
    unsigned g = group_of(p, at, a->bytes);
    struct plan_group *group = &p->plan->group[g];
    group->writes |= write;
    group->members++;
    a->group = (uint8_t)g;
    a->offset = at.offset;
}

/* What the stack instructions use: below or at RSP, LEAVE at RBP. */
static bool stack_access(struct planner *p, const struct insn *i,
                         struct plan_access *a)
{
    bool down = i->mnemonic == ZYDIS_MNEMONIC_PUSH ||
                i->mnemonic == ZYDIS_MNEMONIC_CALL;
    if (!down && i->mnemonic != ZYDIS_MNEMONIC_POP &&
        i->mnemonic != ZYDIS_MNEMONIC_RET &&
        i->mnemonic != ZYDIS_MNEMONIC_LEAVE)
        return false;
    a->is_stack = true;
    a->bytes = i->opsize;
    a->reg = i->mnemonic == ZYDIS_MNEMONIC_LEAVE ? REG_RBP : REG_RSP;
    a->disp = down ? -(int32_t)i->opsize : 0;
    struct value at = p->r[a->reg];
    at.offset += a->disp;
    enter(p, a, at, down);
    return true;
}

static void explicit_access(struct planner *p, const struct insn *i,
                            uint32_t next, struct plan_access *a)
{
    bool is_memory = is_memory_first(i) || i->form == FORM_RM;
    if (!is_memory || i->mnemonic == ZYDIS_MNEMONIC_LEA || i->is_moffs64 ||
        i->addr != p->size || i->index != REG_ZERO || i->seg >= SEG_FS ||
        (p->size == 4 && i->seg == SEG_CS))
        return;
    a->bytes = i->form == FORM_RM ? i->size1 : i->size;
    a->reg = i->base;
    a->disp = i->disp;
    if (a->bytes == 0 || a->bytes > 16)
        return;
    struct value at;
    if (i->base == REG_RIP) {
        int64_t from_page = (int64_t)next + i->disp;
        int64_t page = from_page >> PAGE_SHIFT;
        if (page < -SYMBOL_PAGES / 2 || page >= SYMBOL_PAGES / 2)
            return;
        at.symbol = (uint16_t)(SYMBOL_PAGE + SYMBOL_PAGES / 2 + page);
        at.offset = (int32_t)from_page;
        a->disp = at.offset;
    } else if (i->base < 16) {
        at = p->r[i->base];
        int64_t offset = (int64_t)at.offset + i->disp;
        if (offset != (int32_t)offset)
            return;
        at.offset = (int32_t)offset;
    } else {
        return;
    }
    enter(p, a, at, writes_memory(i));
}

void plan_part(struct plan *plan, const struct insn *insns, unsigned count,
               uint32_t start, bool is64)
{
    struct planner p;
    uint32_t next = start;
    p.plan = plan;
    p.size = is64 ? 8 : 4;
    p.next_symbol = SYMBOL_FREE;
    plan->groups = 0;
    plan->slots = 0;
    forget_all(&p);
    for (unsigned n = 0; n < count; n++) {
        const struct insn *i = &insns[n];
        struct plan_access *a = &plan->access[n];
        *a = (struct plan_access){.group = PLAN_NONE};
        next += i->len;
        if (!stack_access(&p, i, a))
            explicit_access(&p, i, next, a);
        step(&p, i);
    }
    for (unsigned g = 0; g < plan->groups; g++) {
        bool has_slot =
            plan->group[g].members > 1 && plan->slots < PLAN_SLOTS;
        plan->group[g].slot = PLAN_NONE;
        if (has_slot)
            plan->group[g].slot = (uint8_t)plan->slots++;
    }
}
