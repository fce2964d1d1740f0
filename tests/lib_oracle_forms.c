/* The list of instruction forms that the CPU claims: every opcode of the four
 * maps with every mandatory prefix, operand size and ModRM group, decoded as
 * the CPU decodes and kept when the instruction table has a row for it. */
#include "tests/lib_oracle.h"

#include "cpu/decode.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 1 << 15 };

/* The same extensions off as in cpu/decode.c. */
static void init_decoder(ZydisDecoder *d, unsigned mode)
{
    static const ZydisDecoderMode off[] = {
        ZYDIS_DECODER_MODE_MPX,      ZYDIS_DECODER_MODE_CET,
        ZYDIS_DECODER_MODE_LZCNT,    ZYDIS_DECODER_MODE_TZCNT,
        ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE};
    static const ZydisMachineMode machine[] = {
        [ORACLE_64] = ZYDIS_MACHINE_MODE_LONG_64,
        [ORACLE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
        [ORACLE_16] = ZYDIS_MACHINE_MODE_LEGACY_16};
    static const ZydisStackWidth stack[] = {[ORACLE_64] = ZYDIS_STACK_WIDTH_64,
                                            [ORACLE_32] = ZYDIS_STACK_WIDTH_32,
                                            [ORACLE_16] = ZYDIS_STACK_WIDTH_16};
    (void)ZydisDecoderInit(d, machine[mode], stack[mode]);
    for (size_t k = 0; k < sizeof off / sizeof off[0]; k++)
        (void)ZydisDecoderEnableMode(d, off[k], ZYAN_FALSE);
}

bool oracle_skips(unsigned mnemonic)
{
    switch (mnemonic) {
    /* answers of the host CPU model or its clock */
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPMC:
    /* a host with UMIP traps these and Linux emulates some */
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    /* they enter the host's kernel */
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
        return true;
    default:
        return false;
    }
}

bool oracle_claims(const ZydisDecodedInstruction *zi)
{
    bool claimed = zi->meta.category == ZYDIS_CATEGORY_STRINGOP
                       ? insn_string_rule(zi->mnemonic) != NULL
                       : insn_rule(zi->mnemonic) != NULL;
    if (!claimed || oracle_skips(zi->mnemonic))
        return false;
    return !(zi->mnemonic == ZYDIS_MNEMONIC_INT &&
             zi->raw.imm[0].value.u == 0x80); /* a system call */
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t operand_shape(const ZydisDecodedOperand *o)
{
    uint64_t shape = (uint64_t)o->type << 16 | o->size;
    if (o->type == ZYDIS_OPERAND_TYPE_REGISTER)
        shape |= (uint64_t)ZydisRegisterGetClass(o->reg.value) << 24;
    return shape;
}

static uint64_t form_key(unsigned mode, const ZydisDecodedInstruction *zi,
                         const ZydisDecodedOperand *ops)
{
    uint64_t h = mix(mode, zi->mnemonic);
    h = mix(h, (uint64_t)zi->opcode_map << 8 | zi->opcode);
    h = mix(h, (uint64_t)zi->operand_width << 8 | zi->operand_count_visible);
    h = mix(h,
            zi->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                              ZYDIS_ATTRIB_HAS_REPNE | ZYDIS_ATTRIB_HAS_LOCK));
    for (unsigned k = 0; k < zi->operand_count_visible; k++)
        h = mix(h, operand_shape(&ops[k]));
    return h;
}

static uint32_t find_key(const struct oracle_forms *f, uint64_t key,
                         uint32_t *slot)
{
    uint32_t at = (uint32_t)(key >> 40) & (SLOTS - 1);
    while (f->slots[at] && f->list[f->slots[at] - 1].key != key)
        at = (at + 1) & (SLOTS - 1);
    *slot = at;
    return f->slots[at];
}

int32_t oracle_form_find(const struct oracle_forms *f, unsigned mode,
                         const ZydisDecodedInstruction *zi,
                         const ZydisDecodedOperand *ops)
{
    uint32_t slot;
    return (int32_t)find_key(f, form_key(mode, zi, ops), &slot) - 1;
}

static bool add_form(struct oracle_forms *f, const struct oracle_form *form)
{
    uint32_t slot;
    if (find_key(f, form->key, &slot))
        return true;
    if (f->count == f->room) {
        uint32_t room = f->room ? 2 * f->room : 1024;
        struct oracle_form *list = realloc(f->list, room * sizeof list[0]);
        if (!list || room > SLOTS / 2) {
            free(list);
            f->list = NULL;
            return false;
        }
        f->list = list;
        f->room = room;
    }
    f->list[f->count++] = *form;
    f->slots[slot] = f->count;
    return true;
}

static const ZydisDecodedInstruction *decode_form(struct oracle_forms *f,
                                                  const struct oracle_form *t,
                                                  ZydisDecodedInstruction *zi,
                                                  ZydisDecodedOperand *ops)
{
    uint8_t bytes[24] = {0};
    unsigned at = 0;
    memcpy(bytes, t->prefixes, t->prefix_count);
    at = t->prefix_count;
    memcpy(bytes + at, t->opcode, t->opcode_bytes);
    at += t->opcode_bytes;
    bytes[at] = t->modrm;
    return ZYAN_SUCCESS(
               ZydisDecoderDecodeFull(&f->decoder[t->mode], bytes, 15, zi, ops))
               ? zi
               : NULL;
}

/* One ModRM byte of one opcode. */
static bool try_form(struct oracle_forms *f, struct oracle_form *t)
{
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    if (!decode_form(f, t, &zi, ops) || !oracle_claims(&zi))
        return true;
    t->mnemonic = (uint16_t)zi.mnemonic;
    t->has_modrm = (zi.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    t->cls = zi.meta.category == ZYDIS_CATEGORY_STRINGOP
                 ? insn_string_rule(zi.mnemonic)->cls
                 : insn_rule(zi.mnemonic)->cls;
    t->key = form_key(t->mode, &zi, ops);
    return add_form(f, t);
}

static bool is_prefix(unsigned mode, unsigned map, unsigned opcode)
{
    static const uint8_t all[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                  0x66, 0x67, 0xf0, 0xf2, 0xf3};
    if (map == 1)
        return opcode == 0x38 || opcode == 0x3a;
    if (map != 0)
        return false;
    if (!mode && (opcode & 0xf0) == 0x40)
        return true;
    return opcode == 0x0f || memchr(all, (int)opcode, sizeof all) != NULL;
}

static bool try_opcode(struct oracle_forms *f, struct oracle_form *t,
                       unsigned map, unsigned opcode)
{
    static const uint8_t escapes[4][2] = {
        {0, 0}, {0x0f, 0}, {0x0f, 0x38}, {0x0f, 0x3a}};
    static const uint8_t escape_bytes[4] = {0, 1, 2, 2};
    if (is_prefix(t->mode, map, opcode))
        return true;
    memcpy(t->opcode, escapes[map], 2);
    t->opcode[escape_bytes[map]] = (uint8_t)opcode;
    t->opcode_bytes = (uint8_t)(escape_bytes[map] + 1);
    bool each_rm = map == 0 && (opcode & 0xf8) == 0xd8;
    each_rm |= map == 1 && opcode == 0x01;
    for (unsigned reg = 0; reg < 8; reg++) {
        t->modrm = (uint8_t)(reg << 3);
        if (!try_form(f, t))
            return false;
        for (unsigned rm = 0; rm < (each_rm ? 8u : 1u); rm++) {
            t->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
            if (!try_form(f, t))
                return false;
        }
    }
    return true;
}

static bool try_prefixes(struct oracle_forms *f, unsigned mode,
                         const char *prefixes)
{
    struct oracle_form t = {.mode = (uint8_t)mode};
    t.prefix_count = (uint8_t)strlen(prefixes);
    memcpy(t.prefixes, prefixes, t.prefix_count);
    for (unsigned map = 0; map < 4; map++)
        for (unsigned opcode = 0; opcode < 256; opcode++)
            if (!try_opcode(f, &t, map, opcode))
                return false;
    return true;
}

bool oracle_forms_init(struct oracle_forms *f)
{
    static const char *const sets[] = {
        "",         "\x66",     "\xf2",        "\xf3",     "\xf0",
        "\x66\xf0", "\x66\xf2", "\x66\xf3",    "\x67",     "\x48",
        "\x66\x48", "\xf2\x48", "\xf3\x48",    "\xf0\x48", "\x66\xf2\x48",
        "\x67\xf3", "\x67\x48", "\x66\xf3\x48"};
    memset(f, 0, sizeof *f);
    for (unsigned mode = 0; mode < ORACLE_MODES; mode++)
        init_decoder(&f->decoder[mode], mode);
    f->slots = calloc(SLOTS, sizeof f->slots[0]);
    if (!f->slots)
        return false;
    for (unsigned mode = 0; mode < ORACLE_MODES; mode++)
        for (size_t k = 0; k < sizeof sets / sizeof sets[0]; k++) {
            if (mode && strchr(sets[k], 0x48))
                continue; /* REX is 64-bit mode's */
            if (!try_prefixes(f, mode, sets[k]))
                return false;
        }
    return true;
}

void oracle_forms_fini(struct oracle_forms *f)
{
    free(f->list);
    free(f->slots);
}
