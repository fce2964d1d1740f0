#include "cpu/decode.h"

#include <Zydis/Zydis.h>

#include <string.h>

/* Extensions that the CPU models do not have but Zydis decodes by default. With
 * them off, their encodings read as older CPUs read them (ENDBR64 is a NOP,
 * TZCNT is BSF with an ignored prefix). */
static const ZydisDecoderMode modes_off[] = {
    ZYDIS_DECODER_MODE_MPX,      ZYDIS_DECODER_MODE_CET,
    ZYDIS_DECODER_MODE_LZCNT,    ZYDIS_DECODER_MODE_TZCNT,
    ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE,
};

static void init_decoder(ZydisDecoder *d, enum cpu_mode mode)
{
    static const struct {
        ZydisMachineMode machine;
        ZydisStackWidth stack;
    } zydis[] = {
        [MODE_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        [MODE_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        [MODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };
    (void)ZydisDecoderInit(d, zydis[mode].machine, zydis[mode].stack);
    for (unsigned k = 0; k < sizeof modes_off / sizeof modes_off[0]; k++)
        (void)ZydisDecoderEnableMode(d, modes_off[k], ZYAN_FALSE);
}

/* Register to our number and class; see insn.h for byte registers. */
static uint8_t register_number(ZydisRegister r, enum reg_class *rc)
{
    ZydisRegisterClass zc = ZydisRegisterGetClass(r);
    uint8_t id = (uint8_t)ZydisRegisterGetId(r);
    switch (zc) {
    case ZYDIS_REGCLASS_GPR8:
        *rc = REG_CLASS_GENERAL;
        if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
            return (uint8_t)((r - ZYDIS_REGISTER_AH) * 8 + 1);
        if (r >= ZYDIS_REGISTER_SPL)
            return (uint8_t)((r - ZYDIS_REGISTER_SPL + 4) * 8);
        return (uint8_t)((r - ZYDIS_REGISTER_AL) * 8);
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        *rc = REG_CLASS_GENERAL;
        return id;
    case ZYDIS_REGCLASS_SEGMENT:
        *rc = REG_CLASS_SEGMENT;
        return id;
    case ZYDIS_REGCLASS_CONTROL:
        *rc = REG_CLASS_CONTROL;
        return id;
    case ZYDIS_REGCLASS_DEBUG:
        *rc = REG_CLASS_DEBUG;
        return id;
    case ZYDIS_REGCLASS_MMX:
        *rc = REG_CLASS_MMX;
        return id;
    case ZYDIS_REGCLASS_XMM:
        *rc = REG_CLASS_XMM;
        return id;
    case ZYDIS_REGCLASS_X87:
        *rc = REG_CLASS_X87;
        return id;
    default:
        *rc = REG_CLASS_NONE;
        return 0;
    }
}

static uint8_t address_register(ZydisRegister r)
{
    enum reg_class rc;
    if (r == ZYDIS_REGISTER_NONE)
        return REG_ZERO;
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
        return REG_RIP;
    return register_number(r, &rc);
}

static uint8_t segment_number(ZydisRegister r)
{
    enum reg_class rc;
    uint8_t n = register_number(r, &rc);
    return rc == REG_CLASS_SEGMENT ? n : SEG_DS;
}

/* SIB base 101b with mod 00 is a displacement alone, whatever REX.B says (SDM
 * vol. 2A table 2-3); Zydis 4.0 takes REX.B = 1 for R13. */
static bool has_no_base(const ZydisDecodedInstruction *zi)
{
    return (zi->attributes & ZYDIS_ATTRIB_HAS_SIB) && zi->raw.modrm.mod == 0 &&
           zi->raw.sib.base == 5;
}

static void set_memory(struct insn *out, const ZydisDecodedInstruction *zi,
                       const ZydisDecodedOperandMem *m)
{
    out->base = has_no_base(zi) ? REG_ZERO : address_register(m->base);
    out->index = address_register(m->index);
    out->scale = (uint8_t)(m->scale == 8   ? 3
                           : m->scale == 4 ? 2
                           : m->scale == 2 ? 1
                                           : 0);
    out->seg = segment_number(m->segment);
    out->disp = has_no_base(zi)            ? (int32_t)zi->raw.disp.value
                : m->disp.has_displacement ? (int32_t)m->disp.value
                                           : 0;
}

static uint8_t operand_bytes(const ZydisDecodedOperand *o)
{
    unsigned bytes = o->size / 8;
    return (uint8_t)(bytes > 255 ? 255 : bytes);
}

/* One of: register 'R', memory 'M', immediate 'I', nothing 0. */
static char set_operand(struct insn *out, const ZydisDecodedInstruction *zi,
                        const ZydisDecodedOperand *o, unsigned n)
{
    enum reg_class rc;
    if (n == 0)
        out->size = operand_bytes(o);
    else if (n == 1)
        out->size1 = operand_bytes(o);
    switch (o->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER: {
        uint8_t r = register_number(o->reg.value, &rc);
        if (rc == REG_CLASS_MMX)
            out->third |= 0x80;
        if (n == 0)
            out->dst = r;
        else if (n == 1)
            out->src = r;
        else
            out->third = (uint8_t)((out->third & 0x80) | r);
        if (n < 2)
            out->classes |= (uint8_t)(rc << (4 * n));
        return 'R';
    }
    case ZYDIS_OPERAND_TYPE_MEMORY:
        set_memory(out, zi, &o->mem);
        /* A 64-bit absolute address (MOV AL, moffs) does not fit disp. */
        out->is_moffs64 = zi->raw.disp.size == 64;
        if (out->is_moffs64)
            out->imm = (uint64_t)o->mem.disp.value;
        return 'M';
    case ZYDIS_OPERAND_TYPE_POINTER:
        out->imm = (uint64_t)o->ptr.offset | (uint64_t)o->ptr.segment << 32;
        return 'I';
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if (zi->mnemonic == ZYDIS_MNEMONIC_ENTER && n == 1)
            out->imm |= o->imm.value.u << 16;
        else
            out->imm = o->imm.value.u;
        return 'I';
    default:
        return 0;
    }
}

static uint8_t form_of(char a, char b)
{
    static const struct {
        char a, b;
        uint8_t form;
    } forms[] = {
        {'R', 0, FORM_R},    {'M', 0, FORM_M},    {'I', 0, FORM_I},
        {'R', 'R', FORM_RR}, {'R', 'M', FORM_RM}, {'M', 'R', FORM_MR},
        {'R', 'I', FORM_RI}, {'M', 'I', FORM_MI}, {'I', 'I', FORM_I},
        {'I', 'R', FORM_R}, /* OUT imm8, AL */
    };
    for (unsigned k = 0; k < sizeof forms / sizeof forms[0]; k++)
        if (forms[k].a == a && forms[k].b == b)
            return forms[k].form;
    return FORM_NONE;
}

static void set_prefixes(struct insn *out, const ZydisDecodedInstruction *zi)
{
    if (zi->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        out->prefix |= PREFIX_LOCK;
    if (zi->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        out->prefix |= PREFIX_REP;
    if (zi->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        out->prefix |= PREFIX_REPNE;
    /* String instructions repeat for F2 as well as for F3, which Zydis does not
     * always report as an attribute; the last of several prefixes counts. */
    if (zi->meta.category == ZYDIS_CATEGORY_STRINGOP ||
        zi->meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
        for (unsigned k = 0; k < zi->raw.prefix_count; k++)
            if (zi->raw.prefixes[k].value == 0xf2 ||
                zi->raw.prefixes[k].value == 0xf3)
                out->prefix = (uint8_t)((out->prefix & PREFIX_LOCK) |
                                        (zi->raw.prefixes[k].value == 0xf2
                                             ? PREFIX_REPNE
                                             : PREFIX_REP));
}

static enum exc op_undefined(struct cpu *c, const struct insn *i)
{
    (void)i;
    return cpu_fault(c, EXC_UD, 0);
}

/* MOV and POP that may change the mode, or what compiled code takes for granted.
 * 16-bit code takes nothing for granted of data segments. */
static bool ends_block(const struct insn *i, enum cpu_mode mode)
{
    unsigned to = i->classes & 15;
    if (to == REG_CLASS_SEGMENT)
        return i->mnemonic != ZYDIS_MNEMONIC_PUSH &&
               (mode != MODE_16 || i->dst == SEG_CS || i->dst == SEG_SS);
    return to == REG_CLASS_CONTROL || to == REG_CLASS_DEBUG;
}

static void choose_handler(struct insn *out, const struct insn_rule *rule,
                           enum cpu_mode mode)
{
    out->fn = NULL;
    out->cls = CLASS_STOP;
    if (rule) {
        out->fn = rule->pick ? rule->pick(out) : rule->fn;
        out->cls = rule->cls;
        if (ends_block(out, mode))
            out->cls = CLASS_STOP;
    }
    if (!out->fn) {
        out->fn = op_undefined;
        out->cls = CLASS_STOP;
    }
}

/* String instructions have hidden memory operands only: the source segment,
 * the one that an override changes, is that of the operand based on rSI. */
static void set_string_segment(struct insn *out,
                               const ZydisDecodedInstruction *zi,
                               const ZydisDecodedOperand *ops)
{
    out->seg = SEG_DS;
    for (unsigned k = 0; k < zi->operand_count; k++)
        if (ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            ZydisRegisterGetId(ops[k].mem.base) != 7)
            out->seg = segment_number(ops[k].mem.segment);
}

/* MASKMOVQ and MASKMOVDQU store at a hidden [rDI] that an override moves. */
static void set_mask_move_segment(struct insn *out,
                                  const ZydisDecodedInstruction *zi,
                                  const ZydisDecodedOperand *ops)
{
    for (unsigned k = 0; k < zi->operand_count; k++)
        if (ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
            out->seg = segment_number(ops[k].mem.segment);
}

static void note_immediate(struct insn *out, const ZydisDecodedInstruction *zi)
{
    const struct ZydisDecodedInstructionRawImm_ *imm = zi->raw.imm;
    if (imm[0].size == 0 || imm[1].size != 0 || out->imm != imm[0].value.u)
        return;
    out->imm_at = imm[0].offset;
    out->imm_bytes = imm[0].size / 8;
    out->is_imm_signed = imm[0].is_signed;
}

static enum decode_result decode_failed(ZyanStatus status, unsigned available)
{
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return available >= 15 ? DECODE_TOO_LONG : DECODE_SHORT;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return DECODE_TOO_LONG;
    return DECODE_INVALID;
}

enum decode_result decode_insn(const uint8_t *bytes, unsigned available,
                               enum cpu_mode mode, struct insn *out)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    init_decoder(&decoder, mode);
    memset(out, 0, sizeof *out);
    if (available > 15)
        available = 15;
    ZyanStatus status =
        ZydisDecoderDecodeFull(&decoder, bytes, available, &zi, ops);
    if (ZYAN_FAILED(status))
        return decode_failed(status, available);

    out->len = zi.length;
    out->addr = (uint8_t)(zi.address_width / 8);
    out->opsize = (uint8_t)(zi.operand_width / 8);
    out->mnemonic = (uint16_t)zi.mnemonic;
    out->base = out->index = REG_ZERO;
    out->seg = SEG_DS;
    out->is_far = zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    set_prefixes(out, &zi);
    if (zi.operand_count_visible == 0)
        set_string_segment(out, &zi, ops);
    if (zi.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
        zi.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU)
        set_mask_move_segment(out, &zi, ops);
    char shape[2] = {0, 0};
    for (unsigned n = 0; n < zi.operand_count_visible && n < 4; n++) {
        char s = set_operand(out, &zi, &ops[n], n);
        if (n < 2)
            shape[n] = s;
    }
    out->has_third = zi.operand_count_visible > 2;
    out->form = form_of(shape[0], shape[1]);
    note_immediate(out, &zi);
    choose_handler(out,
                   zi.meta.category == ZYDIS_CATEGORY_STRINGOP
                       ? insn_string_rule(zi.mnemonic)
                       : insn_rule(zi.mnemonic),
                   mode);
    return DECODE_OK;
}

static bool is_same_but_for_immediate(const uint8_t *a, const uint8_t *b,
                                      const struct insn *i)
{
    unsigned end = i->imm_at + i->imm_bytes;
    return i->imm_at && memcmp(a, b, i->imm_at) == 0 &&
           memcmp(a + end, b + end, i->len - end) == 0;
}

bool decode_changed(const uint8_t *old, const uint8_t *bytes,
                    enum cpu_mode mode, struct insn *out)
{
    unsigned len = out->len, cls = out->cls;
    if (memcmp(old, bytes, len) == 0)
        return true;
    if (!is_same_but_for_immediate(old, bytes, out))
        return decode_insn(bytes, len, mode, out) == DECODE_OK &&
               out->len == len && out->cls == cls;
    unsigned unused = 64 - 8 * out->imm_bytes;
    uint64_t imm = 0;
    memcpy(&imm, bytes + out->imm_at, out->imm_bytes);
    imm <<= unused;
    out->imm = out->is_imm_signed ? (uint64_t)((int64_t)imm >> unused)
                                  : imm >> unused;
    choose_handler(out, insn_rule(out->mnemonic), mode);
    return out->cls == cls;
}
