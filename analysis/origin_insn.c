/* What single instructions do to bytes. */
#include "analysis/origin_internal.h"

#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <string.h>

bool origin_decode(struct machine *m, uint64_t rip,
                   ZydisDisassembledInstruction *insn)
{
    static const ZydisMachineMode modes[] = {
        [MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
        [MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
        [MODE_64] = ZYDIS_MACHINE_MODE_LONG_64};
    uint8_t code[15];
    size_t got = gdb_memory_read(m, false, rip, code, sizeof code);
    return got && ZYAN_SUCCESS(ZydisDisassembleIntel(
                      modes[machine_cpu(m)->mode], rip, code, got, insn));
}

/* ---- registers --------------------------------------------------------------
 */

/* The register that a register is part of, with which bytes. */
static struct origin_bytes whole(ZydisRegister r)
{
    struct origin_bytes b = {.is_register = true};
    bool is_high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
    b.reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    if (ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_XMM)
        b.reg = r;
    b.offset = is_high;
    b.bytes = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, r) / 8;
    return b;
}

static bool is_general(ZydisRegister r)
{
    return ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_GPR64;
}

/* Bytes of a register that a write to part of it changes. */
static struct origin_bytes written(ZydisRegister r)
{
    struct origin_bytes b = whole(r);
    if (is_general(b.reg) && b.bytes == 4)
        b.bytes = 8; /* the upper half becomes 0 */
    return b;
}

static bool overlap(const struct origin_bytes *a, const struct origin_bytes *b)
{
    return a->reg == b->reg && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

bool origin_writes(const ZydisDisassembledInstruction *insn,
                   const struct origin_bytes *to)
{
    for (unsigned i = 0; i < insn->info.operand_count; i++) {
        const ZydisDecodedOperand *o = &insn->operands[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        struct origin_bytes b = written(o->reg.value);
        if (overlap(&b, to))
            return true;
    }
    return false;
}

static uint64_t general(const struct cpu *c, ZydisRegister r)
{
    if (r == ZYDIS_REGISTER_NONE)
        return 0;
    struct origin_bytes b = whole(r);
    uint64_t v = c->r[ZydisRegisterGetId(b.reg) & 15] >> 8 * b.offset;
    return b.bytes == 8 ? v : v & ((UINT64_C(1) << 8 * b.bytes) - 1);
}

uint64_t origin_value(struct machine *m, const struct origin_bytes *b)
{
    const struct cpu *c = machine_cpu(m);
    uint64_t v = 0;
    if (!b->is_register)
        (void)gdb_memory_read(m, true, b->paddr, &v, b->bytes);
    else if (is_general(b->reg))
        memcpy(&v,
               (const uint8_t *)&c->r[ZydisRegisterGetId(b->reg) & 15] +
                   b->offset,
               b->bytes);
    else
        memcpy(&v, c->xmm[ZydisRegisterGetId(b->reg) & 15].u8 + b->offset,
               b->bytes);
    return v;
}

/* ---- memory operands --------------------------------------------------------
 */

static uint64_t linear_of(const struct cpu *c,
                          const ZydisDisassembledInstruction *insn,
                          const ZydisDecodedOperand *o)
{
    const uint64_t mask = insn->info.address_width == 64   ? UINT64_MAX
                          : insn->info.address_width == 32 ? UINT32_MAX
                                                           : UINT16_MAX;
    uint64_t at = (uint64_t)o->mem.disp.value;
    if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP)
        at += c->r[REG_RIP] + insn->info.length;
    else
        at += general(c, o->mem.base);
    at += general(c, o->mem.index) * o->mem.scale;
    /* PUSH moves the stack pointer first. */
    bool is_push = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                   (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
                   whole(o->mem.base).reg == ZYDIS_REGISTER_RSP;
    if (is_push && o->mem.disp.value == 0)
        at -= o->size / 8;
    unsigned segment = (unsigned)ZydisRegisterGetId(o->mem.segment);
    return ((at & mask) + c->ea_base[segment < SEG_COUNT ? segment : SEG_DS]) &
           c->linear_mask;
}

/* The operand that holds or gets the bytes, by action; NULL: there are none or
 * several. Stack pointers and counters of hidden operands do not count. */
static const ZydisDecodedOperand *only(const ZydisDisassembledInstruction *insn,
                                       unsigned action,
                                       const ZydisDecodedOperand *but)
{
    const ZydisDecodedOperand *found = NULL;
    for (unsigned i = 0; i < insn->info.operand_count; i++) {
        const ZydisDecodedOperand *o = &insn->operands[i];
        bool is_hidden_register =
            o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
            o->type == ZYDIS_OPERAND_TYPE_REGISTER;
        bool is_string_register =
            is_hidden_register &&
            !(insn->info.mnemonic >= ZYDIS_MNEMONIC_STOSB &&
              insn->info.mnemonic <= ZYDIS_MNEMONIC_STOSW &&
              whole(o->reg.value).reg == ZYDIS_REGISTER_RAX) &&
            !(insn->info.mnemonic >= ZYDIS_MNEMONIC_LODSB &&
              insn->info.mnemonic <= ZYDIS_MNEMONIC_LODSW &&
              whole(o->reg.value).reg == ZYDIS_REGISTER_RAX);
        if (o == but || is_string_register || !(o->actions & action))
            continue;
        if (found)
            return NULL;
        found = o;
    }
    return found;
}

static bool only_moves(ZydisMnemonic n)
{
    static const ZydisMnemonic moves[] = {
        ZYDIS_MNEMONIC_MOV,     ZYDIS_MNEMONIC_MOVZX,
        ZYDIS_MNEMONIC_MOVSX,   ZYDIS_MNEMONIC_MOVSXD,
        ZYDIS_MNEMONIC_PUSH,    ZYDIS_MNEMONIC_POP,
        ZYDIS_MNEMONIC_MOVSB,   ZYDIS_MNEMONIC_MOVSW,
        ZYDIS_MNEMONIC_MOVSD,   ZYDIS_MNEMONIC_MOVSQ,
        ZYDIS_MNEMONIC_STOSB,   ZYDIS_MNEMONIC_STOSW,
        ZYDIS_MNEMONIC_STOSD,   ZYDIS_MNEMONIC_STOSQ,
        ZYDIS_MNEMONIC_LODSB,   ZYDIS_MNEMONIC_LODSW,
        ZYDIS_MNEMONIC_LODSD,   ZYDIS_MNEMONIC_LODSQ,
        ZYDIS_MNEMONIC_MOVAPS,  ZYDIS_MNEMONIC_MOVAPD,
        ZYDIS_MNEMONIC_MOVUPS,  ZYDIS_MNEMONIC_MOVUPD,
        ZYDIS_MNEMONIC_MOVDQA,  ZYDIS_MNEMONIC_MOVDQU,
        ZYDIS_MNEMONIC_MOVSS,   ZYDIS_MNEMONIC_MOVD,
        ZYDIS_MNEMONIC_MOVQ,    ZYDIS_MNEMONIC_MOVNTI,
        ZYDIS_MNEMONIC_MOVNTDQ, ZYDIS_MNEMONIC_MOVNTPS,
        ZYDIS_MNEMONIC_MOVNTPD, ZYDIS_MNEMONIC_LDDQU,
        ZYDIS_MNEMONIC_MOVNTDQA};
    for (unsigned i = 0; i < sizeof moves / sizeof moves[0]; i++)
        if (moves[i] == n)
            return true;
    return false;
}

/* ---- sources ----------------------------------------------------------------
 */

/* Bytes of an operand from `offset` on. */
static struct origin_source
from_operand(struct machine *m, const ZydisDisassembledInstruction *insn,
             const ZydisDecodedOperand *o, unsigned offset, unsigned bytes)
{
    struct origin_source s = {.kind = ORIGIN_COMPUTED};
    struct cpu *c = machine_cpu(m);
    if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        s.kind = ORIGIN_CONSTANT;
    } else if (offset + bytes > o->size / 8) {
        /* What extends: zeros are constant, signs computed. */
        s.kind = offset >= o->size / 8 &&
                         insn->info.mnemonic != ZYDIS_MNEMONIC_MOVSX &&
                         insn->info.mnemonic != ZYDIS_MNEMONIC_MOVSXD
                     ? ORIGIN_CONSTANT
                     : ORIGIN_COMPUTED;
    } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        s.from = whole(o->reg.value);
        s.from.offset += offset;
        s.from.bytes = bytes;
        bool is_xmm = ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_XMM;
        if (is_general(s.from.reg) || is_xmm)
            s.kind = ORIGIN_COPIED;
    } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        uint64_t at = linear_of(c, insn, o) + offset;
        struct phys_page page = {0};
        s.from = (struct origin_bytes){.bytes = bytes};
        if (mmu_peek(&c->mmu, at, &s.from.paddr))
            phys_lookup(machine_phys(m), s.from.paddr, PHYS_READ, &page);
        s.kind = page.host ? ORIGIN_COPIED : ORIGIN_INPUT;
    }
    return s;
}

static bool reads_a_port(ZydisMnemonic n)
{
    return n == ZYDIS_MNEMONIC_IN || n == ZYDIS_MNEMONIC_INSB ||
           n == ZYDIS_MNEMONIC_INSW || n == ZYDIS_MNEMONIC_INSD;
}

/* Which byte of the operand the first of `to` is; false: it lies outside. */
static bool offset_in(struct machine *m,
                      const ZydisDisassembledInstruction *insn,
                      const ZydisDecodedOperand *o,
                      const struct origin_bytes *to, unsigned *offset)
{
    if (to->is_register) {
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
            return false;
        struct origin_bytes b = written(o->reg.value);
        *offset = to->offset - b.offset;
        return b.reg == to->reg && to->offset >= b.offset &&
               to->offset + to->bytes <= b.offset + b.bytes;
    }
    if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
        return false;
    /* Operands may lie across pages, whose frames are elsewhere. */
    uint64_t at = linear_of(machine_cpu(m), insn, o);
    *offset = (unsigned)(to->paddr - at) & (PAGE_BYTES - 1);
    return *offset + to->bytes <= o->size / 8;
}

/* XCHG: each operand comes from the other. */
static struct origin_source
of_exchange(struct machine *m, const ZydisDisassembledInstruction *insn,
            const struct origin_bytes *to)
{
    unsigned offset;
    for (unsigned i = 0; i < 2; i++)
        if (offset_in(m, insn, &insn->operands[i], to, &offset))
            return from_operand(m, insn, &insn->operands[1 - i], offset,
                                to->bytes);
    return (struct origin_source){.kind = ORIGIN_COMPUTED};
}

struct origin_source origin_source_of(struct machine *m,
                                      const ZydisDisassembledInstruction *insn,
                                      const struct origin_bytes *to)
{
    struct origin_source made = {.kind = ORIGIN_COMPUTED};
    ZydisMnemonic n = insn->info.mnemonic;
    unsigned offset;
    if (reads_a_port(n)) {
        made.kind = ORIGIN_INPUT;
        return made;
    }
    if (n == ZYDIS_MNEMONIC_XCHG)
        return of_exchange(m, insn, to);
    if (!only_moves(n))
        return made;
    const ZydisDecodedOperand *target =
        only(insn, ZYDIS_OPERAND_ACTION_MASK_WRITE, NULL);
    const ZydisDecodedOperand *source =
        only(insn, ZYDIS_OPERAND_ACTION_MASK_READ, target);
    if (!target || !source || !offset_in(m, insn, target, to, &offset))
        return made;
    return from_operand(m, insn, source, offset, to->bytes);
}
