/* Cases of many instructions: straight lines, skips and counted loops with
 * operands in memory, for which the host is the judge. Registers that hold
 * addresses or count are only read. Flags that are undefined are followed, so
 * that nothing reads them and the outcome's are not compared. */
#include "tests/lib_oracle.h"

#include "cpu/cpu.h"
#include "cpu/insn.h"

#include <string.h>

enum {
    ITEMS_MOST = 10,
    ROUNDS_MOST = 40,
    ITEM_BYTES = 15,
    BLOCK_BYTES = 230,
    TRIES = 4000
};

struct block {
    struct oracle_case *out;
    struct oracle_random *r;
    struct oracle_forms *forms;
    unsigned at;
    uint32_t defined, always; /* flags: now; at every instruction */
};

static bool one_in(struct block *b, unsigned n)
{
    return oracle_below(b->r, n) == 0;
}

/* ---- which instructions -------------------------------------------------- */

/* What depends on the processor, or changes more than registers and memory. */
static bool is_wanted(const ZydisDecodedInstruction *zi)
{
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_RCPPS:
    case ZYDIS_MNEMONIC_RCPSS:
    case ZYDIS_MNEMONIC_RSQRTPS:
    case ZYDIS_MNEMONIC_RSQRTSS:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
        return false;
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return zi->operand_width != 16; /* undefined results */
    default:
        return zi->meta.category != ZYDIS_CATEGORY_STRINGOP &&
               zi->meta.category != ZYDIS_CATEGORY_X87_ALU &&
               zi->meta.branch_type == ZYDIS_BRANCH_TYPE_NONE &&
               !(zi->attributes & ZYDIS_ATTRIB_HAS_LOCK);
    }
}

static bool is_fixed(unsigned general)
{
    return general == REG_RCX || general == REG_RSP || general == REG_RBP ||
           general == REG_RSI || general == REG_RDI;
}

/* The general register that an operand is or is part of; 16: none. */
static unsigned general_of(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
        return (unsigned)(r - ZYDIS_REGISTER_AH);
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return (unsigned)ZydisRegisterGetId(
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r));
    default:
        return 16;
    }
}

static bool register_fits(const ZydisDecodedOperand *o)
{
    unsigned g = general_of(o->reg.value);
    ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
    if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_MMX ||
        c == ZYDIS_REGCLASS_X87)
        return false;
    bool is_stack =
        g == REG_RSP && o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    return g == 16 || !is_fixed(g) || is_stack ||
           !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

/* [RSI, RDI or RBP + displacement]. */
static bool memory_fits(const struct block *b,
                        const ZydisDecodedInstruction *zi,
                        const ZydisDecodedOperand *o)
{
    unsigned g = general_of(o->mem.base);
    if (o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
        return true;
    return (g == REG_RSI || g == REG_RDI || g == REG_RBP) &&
           o->mem.index == ZYDIS_REGISTER_NONE && zi->raw.disp.size >= 8 &&
           zi->address_width == (b->out->mode == ORACLE_64 ? 64 : 32) &&
           (o->mem.segment == ZYDIS_REGISTER_DS ||
            o->mem.segment == ZYDIS_REGISTER_SS) &&
           zi->mnemonic != ZYDIS_MNEMONIC_XCHG; /* locked */
}

static bool operands_fit(const struct block *b,
                         const ZydisDecodedInstruction *zi,
                         const ZydisDecodedOperand *ops)
{
    bool is_string = false;
    for (unsigned n = 0; n < zi->operand_count; n++) {
        const ZydisDecodedOperand *o = &ops[n];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && !register_fits(o))
            return false;
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && !memory_fits(b, zi, o))
            return false;
        /* A register would choose the word of a bit string. */
        is_string |= n < 2 && o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
                     zi->meta.category == ZYDIS_CATEGORY_BITBYTE &&
                     ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                     zi->mnemonic >= ZYDIS_MNEMONIC_BT &&
                     zi->mnemonic <= ZYDIS_MNEMONIC_BTS;
    }
    return !is_string;
}

/* ---- flags --------------------------------------------------------------- */

static bool is_shift(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return true;
    default:
        return false;
    }
}

static uint32_t flags_read(const ZydisDecodedInstruction *zi)
{
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
        return FLAGS_ARITH;
    default:
        return zi->cpu_flags ? zi->cpu_flags->tested & FLAGS_ARITH : 0;
    }
}

static void note_flags(struct block *b, const ZydisDecodedInstruction *zi)
{
    const ZydisAccessedFlags *f = zi->cpu_flags;
    if (is_shift(zi->mnemonic)) /* a count of 0 keeps all */
        b->defined &= FLAG_ZF | FLAG_SF | FLAG_PF;
    else if (f)
        b->defined = (b->defined | f->modified | f->set_0 | f->set_1) &
                     ~f->undefined & FLAGS_ARITH;
    b->always &= b->defined;
}

/* ---- code ---------------------------------------------------------------- */

static void put(struct block *b, const char *bytes, unsigned n)
{
    memcpy(b->out->bytes + b->at, bytes, n);
    b->at += n;
}

static void random_bytes(struct block *b, const struct oracle_form *f,
                         uint8_t *bytes)
{
    unsigned n = 0;
    memcpy(bytes, f->prefixes, f->prefix_count);
    n += f->prefix_count;
    memcpy(bytes + n, f->opcode, f->opcode_bytes);
    n += f->opcode_bytes;
    if (f->has_modrm) {
        unsigned reg = one_in(b, 2) ? oracle_below(b->r, 8) << 3
                                    : f->modrm & 0x38u;
        unsigned rm = f->modrm >> 6 == 3 ? 0xc0 | oracle_below(b->r, 8)
                                         : 0x40 | (5 + oracle_below(b->r, 3));
        bytes[n++] = (uint8_t)(reg | rm);
    }
    for (; n < ITEM_BYTES; n++)
        bytes[n] = (uint8_t)oracle_random(b->r);
}

/* One random instruction; false: tried in vain. */
static bool put_item(struct block *b)
{
    struct oracle_case *k = b->out;
    for (unsigned tries = 0; tries < TRIES; tries++) {
        const struct oracle_form *f =
            &b->forms->list[oracle_below(b->r, b->forms->count)];
        ZydisDecodedInstruction zi;
        ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
        uint8_t bytes[ITEM_BYTES];
        if (f->mode != k->mode || f->cls != CLASS_NORMAL)
            continue;
        random_bytes(b, f, bytes);
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&b->forms->decoder[k->mode],
                                                 bytes, ITEM_BYTES, &zi,
                                                 ops)) ||
            !oracle_claims(&zi) || !is_wanted(&zi) ||
            !operands_fit(b, &zi, ops) ||
            (flags_read(&zi) & ~b->defined))
            continue;
        if (zi.raw.disp.size) { /* inside the page, or just outside it */
            int32_t at = (int32_t)(oracle_below(b->r, 12) * 16) - 96;
            if (one_in(b, 4))
                at += (int32_t)oracle_below(b->r, 16);
            memcpy(bytes + zi.raw.disp.offset, &at, zi.raw.disp.size / 8);
        }
        put(b, (const char *)bytes, zi.length);
        note_flags(b, &zi);
        return true;
    }
    return false;
}

static bool put_items(struct block *b, unsigned count)
{
    while (count--)
        if (b->at > BLOCK_BYTES || !put_item(b))
            return false;
    return true;
}

/* A condition that is defined, over one or two instructions. */
static bool put_skip(struct block *b)
{
    static const uint32_t reads[8] = {FLAG_OF,           FLAG_CF,
                                      FLAG_ZF,           FLAG_CF | FLAG_ZF,
                                      FLAG_SF,           FLAG_PF,
                                      FLAG_SF | FLAG_OF, FLAG_SF | FLAG_OF |
                                                             FLAG_ZF};
    unsigned code = oracle_below(b->r, 16);
    if (reads[code >> 1] & ~b->defined)
        return put_items(b, 1);
    uint32_t before = b->defined;
    put(b, (const char[]){(char)(0x70 | code), 0}, 2);
    unsigned site = b->at;
    bool ok = put_items(b, 1 + oracle_below(b->r, 2));
    b->out->bytes[site - 1] = (uint8_t)(b->at - site);
    b->defined &= before;
    return ok;
}

static void put_code(struct block *b)
{
    bool loops = !one_in(b, 4);
    put(b, "\x3c\x55", 2); /* cmp al, 55h: all flags are defined */
    unsigned top = b->at;
    for (unsigned n = 1 + oracle_below(b->r, ITEMS_MOST); n; n--)
        if (!(one_in(b, 4) ? put_skip(b) : put_items(b, 1)))
            break;
    if (!loops)
        return;
    put(b, "\x83\xe9\x01\x0f\x85", 5); /* sub ecx, 1; jnz */
    uint32_t back = top - 2 - (b->at + 4);
    put(b, (const char *)&back, 4);
    b->defined = FLAGS_ARITH;
}

static uint64_t in_data(struct block *b)
{
    uint64_t second = ORACLE_DATA + ORACLE_PAGE;
    if (one_in(b, 3))
        return second - 16 * oracle_below(b->r, 8);
    if (one_in(b, 12)) /* off the end */
        return second + ORACLE_PAGE - 16 * oracle_below(b->r, 8);
    return second - 1024 + 16 * oracle_below(b->r, 128);
}

void oracle_generate_block(struct oracle_forms *f, const struct oracle_wish *w,
                           struct oracle_random *r, struct oracle_case *out)
{
    struct block b = {
        .out = out, .r = r, .forms = f, .defined = FLAGS_ARITH};
    struct oracle_state *s = &out->in;
    b.always = FLAGS_ARITH;
    memset(out, 0, sizeof *out);
    memset(out->bytes, 0xcc, sizeof out->bytes);
    out->mode = w->modes[ORACLE_64] && (!w->modes[ORACLE_32] || one_in(&b, 2))
                    ? ORACLE_64
                    : ORACLE_32;
    out->form = -1;
    out->is_block = true;
    for (unsigned n = 0; n < 16; n++)
        s->r[n] = one_in(&b, 2) ? oracle_interesting(r) : oracle_random(r);
    s->r[REG_RSI] = in_data(&b);
    s->r[REG_RDI] = in_data(&b);
    s->r[REG_RBP] = in_data(&b);
    s->r[REG_RSP] = ORACLE_DATA + 6 * ORACLE_PAGE / 4;
    s->r[REG_RCX] = 2 + oracle_below(r, ROUNDS_MOST);
    s->rflags = (oracle_random(r) & FLAGS_ARITH) | 0x202;
    oracle_random_fx(r, s->fx);
    s->rip = ORACLE_CODE + oracle_below(r, 2048);
    put_code(&b);
    out->length = (uint8_t)b.at;
    out->flags_defined = b.defined;
    out->flags_always = b.always;
    for (unsigned n = 0; n < 16 && out->mode == ORACLE_32; n++)
        s->r[n] &= UINT32_MAX;
}
