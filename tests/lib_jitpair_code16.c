/* Random 16-bit code for the lockstep: offsets that wrap, segments that end,
 * prefixes that make operands and addresses wide, several code segments for the
 * same bytes. */
#include "tests/lib_jitpair_gen.h"

#include "cpu/insn.h"

/* ---- operands ------------------------------------------------------------ */

static unsigned data_offset(struct jp_gen *g)
{
    static const uint16_t edges[] = {0, 0xffff, 0xfffe, 0xfffd, 0x3fff, 0x1fff,
                                     0x2080, 0x207e};
    switch (below(g, 8)) {
    case 0:
        return edges[below(g, 8)];
    case 1: /* across pages */
        return ((1 + below(g, 15)) * PAGE_BYTES - below(g, 8)) & 0xffff;
    case 2:
        return below(g, 0x10000);
    default:
        return below(g, 0x5f00);
    }
}

static unsigned a_register(struct jp_gen *g)
{
    unsigned reg = below(g, 8);
    return reg == REG_RSP ? (unsigned)REG_RAX : reg;
}

/* MOV, of 16 bits or of 32 with something in the upper half. */
static void load_register(struct jp_gen *g, unsigned reg, unsigned value)
{
    bool is_wide = one_in(g, 6);
    if (is_wide)
        u8(g, 0x66);
    u8(g, 0xb8 + reg);
    u16(g, value);
    if (is_wide)
        u16(g, one_in(g, 2) ? 0 : below(g, 0x10000));
}

/* A selector into a segment register, through AX or the stack. */
static void load_segment(struct jp_gen *g, unsigned seg, unsigned selector)
{
    if (one_in(g, 3)) { /* PUSH imm16; POP seg */
        u8(g, 0x68);
        u16(g, selector);
        if (seg >= SEG_FS)
            u8(g, 0x0f);
        u8(g, seg >= SEG_FS ? 0x81 + seg * 8 : 7 + seg * 8);
        return;
    }
    u8(g, 0xb8);
    u16(g, selector);
    u8(g, 0x8e);
    u8(g, 0xc0 | seg << 3);
}

static unsigned data_selector(struct jp_gen *g)
{
    return g->s->datas[one_in(g, 2) ? below(g, 2) : below(g, 8)].selector;
}

/* ---- instructions from the catalogue of forms ---------------------------- */

static bool is_favourite(struct jp_gen *g, const struct oracle_form *t)
{
    (void)g;
    return jp_is_integer(t);
}

static unsigned put_prefixes(struct jp_gen *g, const struct oracle_form *t,
                             uint8_t *b, bool *is_addr32)
{
    static const uint8_t overrides[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = 0;
    *is_addr32 = one_in(g, 8);
    if (one_in(g, 6))
        b[n++] = overrides[below(g, 6)];
    if (*is_addr32)
        b[n++] = 0x67;
    if (one_in(g, 5))
        b[n++] = 0x66;
    if (one_in(g, 40))
        b[n++] = 0xf0;
    for (unsigned k = 0; k < t->prefix_count; k++) {
        b[n++] = t->prefixes[k];
        *is_addr32 |= t->prefixes[k] == 0x67;
    }
    return n;
}

/* ModRM; *direct: an address without registers follows. */
static void put_modrm(struct jp_gen *g, const struct oracle_form *t, uint8_t *b,
                      bool is_addr32, bool *direct)
{
    unsigned reg = one_in(g, 2) ? below(g, 8) : t->modrm >> 3 & 7u;
    if (t->modrm >> 6 == 3) {
        b[0] = (uint8_t)(0xc0 | reg << 3 |
                         (one_in(g, 2) ? below(g, 8) : t->modrm & 7u));
        return;
    }
    *direct = below(g, 8) < 3;
    if (*direct) {
        b[0] = (uint8_t)(reg << 3 | (is_addr32 ? 5 : 6));
        return;
    }
    unsigned mod = below(g, 3);
    b[0] = (uint8_t)(mod << 6 | reg << 3 | below(g, 8));
    if (mod == 2 && one_in(g, 2)) /* small displacements keep pointers useful */
        store_le32(b + 1, below(g, 256));
}

static bool try_form(struct jp_gen *g, const struct oracle_form *t, uint8_t *b,
                     ZydisDecodedInstruction *zi, ZydisDecodedOperand *ops)
{
    bool is_addr32, direct = false;
    for (unsigned k = 0; k < 32; k++)
        b[k] = (uint8_t)(one_in(g, 3) ? oracle_interesting(g->r)
                                      : oracle_random(g->r));
    unsigned n = put_prefixes(g, t, b, &is_addr32);
    memcpy(b + n, t->opcode, t->opcode_bytes);
    n += t->opcode_bytes;
    if (t->has_modrm)
        put_modrm(g, t, b + n, is_addr32, &direct);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&g->forms->decoder[ORACLE_16], b,
                                             15, zi, ops)))
        return one_in(g, 400);
    if (!zi->raw.disp.size || (!direct && t->has_modrm))
        return true;
    uint8_t *at = b + zi->raw.disp.offset;
    if (zi->raw.disp.size == 16)
        store_le16(at, (uint16_t)data_offset(g));
    else if (zi->raw.disp.size == 32)
        store_le32(at, data_offset(g) + (one_in(g, 8) ? 0x10000 : 0));
    return true;
}

static void gen_form(struct jp_gen *g)
{
    static const struct jp_forms forms = {
        .mode = ORACLE_16, .favours = is_favourite, .make = try_form};
    jp_put_form(g, &forms);
}

static void gen_string(struct jp_gen *g)
{
    static const uint8_t ops[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa,
                                  0xab, 0xac, 0xad, 0xae, 0xaf};
    if (one_in(g, 2))
        load_register(g, REG_RCX, below(g, one_in(g, 4) ? 3000 : 60));
    if (one_in(g, 3))
        load_register(g, REG_RSI, data_offset(g));
    if (one_in(g, 3))
        load_register(g, REG_RDI, data_offset(g));
    if (one_in(g, 12))
        u8(g, 0xfc + below(g, 2)); /* CLD, STD */
    if (one_in(g, 6))
        u8(g, 0x2e);
    if (one_in(g, 12))
        u8(g, 0x67);
    if (one_in(g, 4))
        u8(g, 0x66);
    if (!one_in(g, 3))
        u8(g, 0xf2 + below(g, 2));
    u8(g, ops[below(g, 10)]);
}

/* ---- stack --------------------------------------------------------------- */

static void gen_stack(struct jp_gen *g)
{
    static const uint8_t pushes[] = {0x06, 0x0e, 0x16, 0x1e};
    if (one_in(g, 4))
        u8(g, 0x66);
    switch (below(g, 12)) {
    case 0:
        u8(g, 0x60 + below(g, 2)); /* PUSHA, POPA */
        return;
    case 1: /* ENTER, LEAVE */
        u8(g, 0xc8);
        u16(g, 2 * below(g, 8));
        u8(g, one_in(g, 4) ? below(g, 4) : 0);
        u8(g, 0xc9);
        return;
    case 2:
        u8(g, pushes[below(g, 4)]);
        return;
    case 3:
        u8(g, 0x9c); /* PUSHF */
        return;
    case 4:
        u8(g, 0x6a);
        u8(g, below(g, 256));
        return;
    case 5: /* PUSH, POP [offset] */
        u8(g, one_in(g, 2) ? 0xff : 0x8f);
        u8(g, (g->code[g->at - 1] == 0xff ? 6 : 0) << 3 | 6);
        u16(g, data_offset(g));
        return;
    case 6:
        if (one_in(g, 8)) /* LEAVE of whatever BP is */
            u8(g, 0xc9);
        else
            u8(g, 0x50 + below(g, 8));
        return;
    default:
        u8(g, 0x50 + below(g, 8));
        if (one_in(g, 3))
            u8(g, 0x66);
        u8(g, 0x58 + a_register(g));
    }
}

/* ---- branches ------------------------------------------------------------ */

static void gen_relative(struct jp_gen *g)
{
    unsigned what = below(g, 12), wide = one_in(g, 6) ? 4 : 2;
    if (wide == 4)
        u8(g, 0x66);
    switch (what) {
    case 0:
    case 1:
    case 2:
    case 3:
        u8(g, 0x70 + below(g, 16));
        jp_displacement(g, 1);
        return;
    case 4:
    case 5:
        if (one_in(g, 8))
            u8(g, 0x67);
        u8(g, 0xe0 + below(g, 4)); /* LOOPNE LOOPE LOOP JCXZ */
        jp_displacement(g, 1);
        return;
    case 6:
        u8(g, 0xeb);
        jp_displacement(g, 1);
        return;
    case 7:
        u8(g, 0xe9);
        break;
    case 8:
    case 9:
        u8(g, 0xe8);
        break;
    default:
        u8(g, 0x0f);
        u8(g, 0x80 + below(g, 16));
    }
    jp_displacement(g, wide);
}

/* A loop of a few forms. */
static void gen_loop(struct jp_gen *g)
{
    load_register(g, REG_RCX, 1 + below(g, 40));
    unsigned top = g->at;
    for (unsigned n = 1 + below(g, 4); n--;)
        gen_form(g);
    if (g->at - top > 120)
        return;
    if (one_in(g, 2)) {
        u8(g, 0xe2);
        u8(g, top - (g->at + 1));
    } else { /* DEC CX; JNZ */
        u8(g, 0x49);
        u8(g, 0x75);
        u8(g, top - (g->at + 1));
    }
}

static unsigned code_offset(struct jp_gen *g)
{
    return g->start_count ? g->starts[below(g, g->start_count)]
                          : below(g, g->bytes);
}

static void gen_indirect(struct jp_gen *g)
{
    static const uint16_t odd[] = {0xffff, 0xfffe, 0, 0x1cb0, 0x1cae, 0x8000};
    unsigned reg = below(g, 4), digit = one_in(g, 2) ? 2 : 4;
    unsigned slot = 8 * below(g, 512);
    uint64_t entry = jp_entry_16(g->s, code_offset(g));
    unsigned ip = one_in(g, 16) ? odd[below(g, 6)] : entry & 0xffff;
    bool is_wide = one_in(g, 5);
    if (is_wide)
        u8(g, 0x66);
    u8(g, 0xb8 + reg);
    u16(g, ip);
    if (is_wide)
        u16(g, one_in(g, 8));
    switch (below(g, 5)) {
    case 0: /* CALL or JMP reg */
        if (is_wide)
            u8(g, 0x66);
        u8(g, 0xff);
        u8(g, 0xc0 | digit << 3 | reg);
        return;
    case 1: /* through memory */
        u8(g, 0x89);
        u8(g, reg << 3 | 6);
        u16(g, slot);
        u8(g, 0xff);
        u8(g, digit << 3 | 6);
        u16(g, slot);
        return;
    case 2:
    case 3: /* PUSH, RET n */
        if (is_wide)
            u8(g, 0x66);
        u8(g, 0x50 + reg);
        if (is_wide)
            u8(g, 0x66);
        u8(g, one_in(g, 2) ? 0xc3 : 0xc2);
        if (g->code[g->at - 1] == 0xc2)
            u16(g, 2 * below(g, 4));
        return;
    default:
        u8(g, 0xc3); /* whatever CALL pushed */
    }
}

/* Far transfers: the same bytes under another CS, or other code. */
static void gen_far(struct jp_gen *g)
{
    uint64_t entry = jp_entry_16(g->s, code_offset(g));
    unsigned ip = entry & 0xffff, cs = (unsigned)(entry >> 32);
    if (g->s->mode == JP_PROT16 && one_in(g, 8))
        cs = JP_SEL_USER32 | 3;
    switch (below(g, 4)) {
    case 0:
    case 1:
        u8(g, one_in(g, 2) ? 0x9a : 0xea);
        u16(g, ip);
        u16(g, cs);
        return;
    case 2: /* RETF */
        u8(g, 0x68);
        u16(g, cs);
        u8(g, 0x68);
        u16(g, ip);
        u8(g, 0xcb);
        return;
    default: /* IRET */
        u8(g, 0x9c);
        u8(g, 0x68);
        u16(g, cs);
        u8(g, 0x68);
        u16(g, ip);
        u8(g, 0xcf);
    }
}

/* ---- stores into code ---------------------------------------------------- */

static void gen_modify(struct jp_gen *g)
{
    static const uint16_t with[] = {0x9090, 0x04b0, 0xc0ff, 0xc3ff, 0x00eb,
                                    0x0275, 0xc031, 0xd8f7, 0x9040, 0xc001};
    const struct jp_segment *alias =
        &g->s->datas[g->s->mode == JP_PROT16 ? 4 : 5];
    if (one_in(g, 2))
        load_segment(g, SEG_ES, alias->selector);
    unsigned to = one_in(g, 2) ? g->at + 6 + below(g, 24) : code_offset(g);
    bool is_word = one_in(g, 2);
    if (g->s->mode == JP_REAL && one_in(g, 3))
        u8(g, 0x2e); /* real mode writes through CS */
    else
        u8(g, 0x26);
    if (one_in(g, 4)) { /* INC byte */
        u8(g, 0xfe);
        u8(g, 0x06);
        u16(g, to);
        return;
    }
    u8(g, is_word ? 0xc7 : 0xc6);
    u8(g, 0x06);
    u16(g, to);
    unsigned value = one_in(g, 3) ? 0x90 : with[below(g, 10)];
    if (is_word)
        u16(g, value);
    else
        u8(g, value);
}

/* ---- system instructions ------------------------------------------------- */

static void gen_flags(struct jp_gen *g)
{
    u8(g, 0x9c);
    PUT(g, "\x55\x89\xe5\x80"); /* push bp; mov bp, sp; or/and byte [bp+3] */
    bool sets = one_in(g, 2);
    u8(g, sets ? 0x4e : 0x66);
    u8(g, 3);
    u8(g, sets ? 1u << below(g, 3) : one_in(g, 2) ? 0xfa : 0xfe);
    PUT(g, "\x5d\x9d"); /* pop bp; popf */
}

/* "Unreal mode": a limit or size of protected mode in a segment of real mode. */
static void gen_unreal(struct jp_gen *g)
{
    static const uint8_t selectors[] = {JP_SEL_DATA,     JP_SEL_DATA,
                                        JP_SEL_SMALL,    JP_SEL_RO,
                                        JP_SEL_DATA16,   JP_SEL_DOWN16,
                                        JP_SEL_EXECUTE,  0};
    static const uint8_t segs[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS};
    unsigned seg = segs[below(g, one_in(g, 8) ? 5 : 4)];
    PUT(g, "\xfa\x0f\x20\xc0\x34\x01\x0f\x22\xc0\xbb"); /* cli; mov eax, cr0; xor
                                               al, 1; mov cr0, eax; mov bx */
    u16(g, selectors[below(g, 8)]);
    u8(g, 0x8e);
    u8(g, 0xc3 | seg << 3);
    PUT(g, "\x34\x01\x0f\x22\xc0\xbb");
    u16(g, seg == SEG_SS ? g->s->stack16.selector : data_selector(g));
    if (!one_in(g, 4)) {
        u8(g, 0x8e);
        u8(g, 0xc3 | seg << 3);
    }
    u8(g, 0xfb);
}

static void gen_system(struct jp_gen *g)
{
    static const uint8_t segs[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    switch (below(g, 12)) {
    case 0:
        gen_flags(g);
        return;
    case 1:
        if (g->s->mode == JP_REAL) {
            gen_unreal(g);
            return;
        }
        u8(g, 0x9d); /* POPF */
        return;
    case 2:
        u8(g, 0xfa + below(g, 2)); /* CLI, STI */
        return;
    case 3: /* IN and OUT, imm8 */
        u8(g, 0xe4 + below(g, 4));
        u8(g, below(g, 256));
        return;
    case 4:
        PUT(g, "\x0f\x31"); /* RDTSC */
        return;
    case 5:
        u8(g, 0xcd);
        u8(g, one_in(g, 4) ? below(g, 256) : 0x20 + below(g, 200));
        return;
    case 6:
        if (g->s->can_idle)
            u8(g, 0xf4);
        return;
    case 7: /* MOV SS; MOV SP */
        load_segment(g, SEG_SS, g->s->stack16.selector);
        u8(g, 0xbc);
        u16(g, 0x2000 - 2 * below(g, 64));
        return;
    default:
        load_segment(g, segs[below(g, 4)], data_selector(g));
    }
}

/* ---- the stream ---------------------------------------------------------- */

/* Where faults go on: a stack, segments and pointers. */
static void gen_entry(struct jp_gen *g)
{
    u8(g, 0xb8);
    u16(g, g->s->stack16.selector);
    PUT(g, "\x8e\xd0\xbc"); /* mov ss, ax; mov sp */
    u16(g, 0x2000 - below(g, 128) + (one_in(g, 8) ? 0xe000 : 0));
    load_segment(g, SEG_DS, data_selector(g));
    load_segment(g, SEG_ES, data_selector(g));
    for (unsigned n = 0; n < 8; n++)
        if (n != REG_RSP && one_in(g, 2))
            load_register(g, n, data_offset(g));
}

static void gen_one(struct jp_gen *g)
{
    unsigned what = below(g, 100);
    if (what < 50)
        gen_form(g);
    else if (what < 56)
        gen_string(g);
    else if (what < 63)
        gen_stack(g);
    else if (what < 76)
        gen_relative(g);
    else if (what < 84)
        load_register(g, a_register(g), data_offset(g));
    else if (what < 87)
        gen_loop(g);
    else if (what < 90)
        gen_indirect(g);
    else if (what < 93)
        gen_modify(g);
    else if (what < 98)
        gen_system(g);
    else
        gen_far(g);
}

void jp_code_16(struct jp_scene *s, const struct oracle_forms *forms)
{
    static const struct jp_stream stream = {
        .room = 80, .last_bytes = 2, .entry = gen_entry, .one = gen_one};
    struct jp_gen g = {
        .s = s, .forms = forms, .r = &s->r, .code = s->ram + JP_CODE};
    unsigned entries[JP_ENTRY_COUNT];
    jp_fill(&g, &stream, entries);
    for (unsigned n = 0; n < JP_ENTRY_COUNT; n++) {
        s->entries[n] = jp_entry_16(s, entries[n]);
        store_le64(s->ram + JP_ENTRIES + 8 * n, s->entries[n]);
    }
}
