/* What the makers of random code share: forms become instructions, branches are
 * aimed, pages are filled. */
#include "tests/lib_jitpair_gen.h"

#include "cpu/insn.h"

/* Opcodes of one and two bytes. */
bool jp_is_integer(const struct oracle_form *t)
{
    switch (t->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_SCASB:
        return true;
    default: /* SETcc and CMOVcc */
        return t->opcode_bytes == 2 &&
               ((t->opcode[1] & 0xf0) == 0x90 || (t->opcode[1] & 0xf0) == 0x40);
    }
}

static const struct oracle_form *choose_form(struct jp_gen *g,
                                             const struct jp_forms *forms)
{
    bool favourite = below(g, 8) > 1;
    for (;;) {
        const struct oracle_form *t =
            &g->forms->list[below(g, g->forms->count)];
        if (t->mode != forms->mode || t->cls == CLASS_BRANCH)
            continue;
        if (t->cls == CLASS_STOP && !one_in(g, 24))
            continue;
        if (!favourite || forms->favours(g, t))
            return t;
    }
}

/* Does it write RSP other than by pushing? */
static bool breaks_stack(const ZydisDecodedInstruction *zi,
                         const ZydisDecodedOperand *ops)
{
    if (zi->mnemonic == ZYDIS_MNEMONIC_LEAVE ||
        zi->mnemonic == ZYDIS_MNEMONIC_ENTER)
        return true;
    for (unsigned k = 0; k < zi->operand_count_visible; k++)
        if (ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (ops[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
                                             ops[k].reg.value) ==
                ZYDIS_REGISTER_RSP)
            return true;
    return false;
}

void jp_put_form(struct jp_gen *g, const struct jp_forms *forms)
{
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t b[32];
    for (unsigned tries = 0; tries < 64; tries++) {
        memset(&zi, 0, sizeof zi);
        if (!forms->make(g, choose_form(g, forms), b, &zi, ops))
            continue;
        if (zi.length && breaks_stack(&zi, ops) && !one_in(g, 30))
            continue;
        if (zi.mnemonic == ZYDIS_MNEMONIC_HLT && !g->s->can_idle)
            continue;
        put(g, b, zi.length ? zi.length : 4u);
        return;
    }
}

/* ---- branches ------------------------------------------------------------ */

void jp_displacement(struct jp_gen *g, unsigned bytes)
{
    if (g->fixup_count < JP_STARTS_MAX) {
        g->fixups[g->fixup_count].site = (uint16_t)g->at;
        g->fixups[g->fixup_count++].bytes = (uint8_t)bytes;
    }
    g->at += bytes;
}

static void aim_branches(struct jp_gen *g)
{
    for (unsigned n = 0; n < g->fixup_count; n++) {
        unsigned site = g->fixups[n].site, bytes = g->fixups[n].bytes;
        int32_t next = (int32_t)(site + bytes), by = 0;
        for (unsigned tries = 0; tries < 60; tries++) {
            by = (int32_t)g->starts[below(g, g->start_count)] - next;
            bool near = by >= -600 && by <= 600;
            if (bytes == 1 ? by >= -128 && by < 128 : near || tries > 6)
                break;
            by = 0;
        }
        if (bytes == 1)
            g->code[site] = (uint8_t)by;
        else if (bytes == 2)
            store_le16(g->code + site, (uint16_t)by);
        else
            store_le32(g->code + site, (uint32_t)by);
    }
}

/* ---- the stream ---------------------------------------------------------- */

void jp_fill(struct jp_gen *g, const struct jp_stream *stream,
             unsigned entries[JP_ENTRY_COUNT])
{
    unsigned count = 0;
    g->bytes = (1 + below(g, 3)) * PAGE_BYTES;
    unsigned end = g->bytes - stream->room;
    while (g->at < end && g->start_count < JP_STARTS_MAX) {
        if (count < JP_ENTRY_COUNT && g->at >= count * end / JP_ENTRY_COUNT) {
            entries[count++] = g->at;
            stream->entry(g);
            continue;
        }
        g->starts[g->start_count++] = (uint16_t)g->at;
        stream->one(g);
    }
    u8(g, 0xe9);
    jp_displacement(g, stream->last_bytes);
    aim_branches(g);
    for (unsigned to = g->bytes; to < JP_CODE_BYTES; to += g->bytes)
        memcpy(g->code + to, g->code,
               to + g->bytes > JP_CODE_BYTES ? JP_CODE_BYTES - to : g->bytes);
    for (unsigned n = count; n < JP_ENTRY_COUNT; n++)
        entries[n] = entries[n % count];
}
