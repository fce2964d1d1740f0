/* Random guest code for the lockstep: mostly what the JIT has rules for, with
 * operands at page edges, and everything that can go wrong around it. */
#include "tests/lib_jitpair_gen.h"

#include "cpu/insn.h"

/* ---- addresses
 * ------------------------------------------------------------------- */

static uint64_t data_address(struct jp_gen *g)
{
    const struct jp_scene *s = g->s;
    uint64_t page;
    switch (below(g, 16)) {
    case 0:
    case 1: /* any page of the window */
        page = s->data + below(g, JP_DATA_WINDOW) * (uint64_t)PAGE_BYTES;
        return page + below(g, PAGE_BYTES);
    case 2:
    case 3: /* across the end of any page */
        page = s->data + below(g, JP_DATA_WINDOW + 1) * (uint64_t)PAGE_BYTES;
        return page - below(g, 20);
    case 4: /* across pages that are there */
    case 5:
        return s->data + (1 + below(g, 5)) * (uint64_t)PAGE_BYTES -
               below(g, 20);
    case 6:
        return s->stack + below(g, JP_STACK_PAGES * PAGE_BYTES);
    case 7:
        return oracle_interesting(g->r);
    default:
        page = s->data + below(g, 6) * (uint64_t)PAGE_BYTES;
        return page + (below(g, PAGE_BYTES - 512) & ~(one_in(g, 3) ? 0u : 15u));
    }
}

static uint64_t code_address(struct jp_gen *g)
{
    return g->s->code + (g->start_count ? g->starts[below(g, g->start_count)]
                                        : below(g, g->bytes));
}

/* MOV reg, imm: 32 bits, which is enough for all windows. */
static void load_register(struct jp_gen *g, unsigned reg, uint64_t value)
{
    if (g->s->is64 && value > UINT32_MAX) {
        u8(g, reg >= 8 ? 0x49 : 0x48);
        u8(g, 0xb8 + (reg & 7));
        u32(g, value);
        u32(g, value >> 32);
        return;
    }
    if (reg >= 8)
        u8(g, 0x41);
    u8(g, 0xb8 + (reg & 7));
    u32(g, value);
}

static unsigned any_register(struct jp_gen *g)
{
    unsigned reg = below(g, g->s->is64 ? 16 : 8);
    return reg == REG_RSP ? (unsigned)REG_RAX : reg;
}

/* A memory operand [address] without registers, behind the opcode. */
static void absolute(struct jp_gen *g, unsigned digit, uint64_t address)
{
    u8(g, digit << 3 | (g->s->is64 ? 4 : 5));
    if (g->s->is64)
        u8(g, 0x25);
    u32(g, address);
}

/* ---- instructions from the catalogue of forms
 * -------------------------------------- */

#define INSN(mnemonic, handler, class) [ZYDIS_MNEMONIC_##mnemonic] = true,
#define INSN_PICK INSN
static const bool is_sse[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "cpu/insn_sse.def"
};
static const bool is_x87[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "cpu/insn_mmx.def"
#include "cpu/insn_x87.def"
};
#undef INSN
#undef INSN_PICK

static bool is_favourite(struct jp_gen *g, const struct oracle_form *t)
{
    if (g->s->flavour == JP_SSE && !one_in(g, 8))
        return is_sse[t->mnemonic];
    if (g->s->flavour == JP_X87 && !one_in(g, 8))
        return is_x87[t->mnemonic] || (is_sse[t->mnemonic] && one_in(g, 4));
    return jp_is_integer(t);
}

/* Prefixes, REX and opcode. Returns how many bytes. */
static unsigned put_opcode(struct jp_gen *g, const struct oracle_form *t,
                           uint8_t *b, bool *addr_prefix)
{
    unsigned n = 0, rex = 0;
    bool is64 = g->s->is64;
    *addr_prefix = false;
    if (one_in(g, 10))
        b[n++] = (uint8_t)(one_in(g, 2) ? 0x64 : 0x65);
    else if (one_in(g, 24))
        b[n++] = (uint8_t)(0x26 | below(g, 4) << 3);
    if (one_in(g, 20)) {
        b[n++] = 0x67;
        *addr_prefix = true;
    }
    if (one_in(g, 12))
        b[n++] = 0x66;
    if (one_in(g, 40))
        b[n++] = 0xf0;
    for (unsigned k = 0; k < t->prefix_count; k++) {
        if (t->prefixes[k] == 0x48)
            rex = 0x48;
        else
            b[n++] = t->prefixes[k];
        *addr_prefix |= t->prefixes[k] == 0x67;
    }
    if (is64 && one_in(g, 2))
        rex |= 0x40 | below(g, 8);
    if (is64 && one_in(g, 4))
        rex |= 0x48;
    if (rex)
        b[n++] = (uint8_t)rex;
    memcpy(b + n, t->opcode, t->opcode_bytes);
    return n + t->opcode_bytes;
}

/* A memory operand of any shape; *direct: its displacement is the address. */
static unsigned put_memory(struct jp_gen *g, unsigned reg, uint8_t *b,
                           bool *direct, bool *relative)
{
    unsigned n = 0, how = below(g, 8);
    if (how < 2) { /* [disp32] */
        b[n++] = (uint8_t)(reg << 3 | (g->s->is64 ? 4 : 5));
        if (g->s->is64)
            b[n++] = 0x25;
        *direct = true;
        return n + 4;
    }
    if (how == 2) {
        b[n++] = (uint8_t)(reg << 3 | 5);
        *direct = true;
        *relative = g->s->is64;
        return n + 4;
    }
    unsigned mod = below(g, 3), rm = below(g, 8);
    b[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
    if (rm == 4)
        b[n++] = (uint8_t)oracle_random(g->r);
    if (mod == 2) /* small displacements leave pointers useful */
        store_le32(b + n, one_in(g, 2) ? below(g, 4096)
                                       : (uint32_t) - (int32_t)below(g, 4096));
    return n;
}

static bool try_form(struct jp_gen *g, const struct oracle_form *t, uint8_t *b,
                     ZydisDecodedInstruction *zi, ZydisDecodedOperand *ops)
{
    bool addr_prefix, direct = false, relative = false;
    for (unsigned k = 0; k < 32; k++)
        b[k] = (uint8_t)(one_in(g, 3) ? oracle_interesting(g->r)
                                      : oracle_random(g->r));
    unsigned n = put_opcode(g, t, b, &addr_prefix);
    if (t->has_modrm) {
        unsigned reg = one_in(g, 2) ? below(g, 8) : t->modrm >> 3 & 7u;
        if (t->modrm >> 6 == 3)
            b[n] = (uint8_t)(0xc0 | reg << 3 |
                             (one_in(g, 2) ? below(g, 8) : t->modrm & 7u));
        else if (addr_prefix && !g->s->is64)
            b[n] = (uint8_t)(below(g, 3) << 6 | reg << 3 | below(g, 8));
        else
            (void)put_memory(g, reg, b + n, &direct, &relative);
    }
    const ZydisDecoder *d =
        &g->forms->decoder[g->s->is64 ? ORACLE_64 : ORACLE_32];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, b, 15, zi, ops)))
        return one_in(g, 400);
    if (direct && zi->raw.disp.size == 32) {
        uint64_t to = data_address(g);
        for (unsigned k = 0; k < n; k++)
            if (b[k] == 0x64 || b[k] == 0x65)
                to = below(g, 0x4100);
        if (relative)
            to -= g->s->code + g->at + zi->length;
        store_le32(b + zi->raw.disp.offset, (uint32_t)to);
    }
    return true;
}

static void gen_form(struct jp_gen *g)
{
    const struct jp_forms forms = {.mode = g->s->is64 ? ORACLE_64 : ORACLE_32,
                                   .favours = is_favourite,
                                   .make = try_form};
    jp_put_form(g, &forms);
}

/* ---- branches
 * ------------------------------------------------------------------------ */

static void gen_relative(struct jp_gen *g)
{
    switch (below(g, 12)) {
    case 0:
    case 1:
    case 2:
        u8(g, 0x70 + below(g, 16));
        jp_displacement(g, 1);
        return;
    case 3:
        u8(g, 0xe0 + below(g, 4)); /* LOOPNE LOOPE LOOP JCXZ */
        jp_displacement(g, 1);
        return;
    case 4:
        u8(g, 0xeb);
        jp_displacement(g, 1);
        return;
    case 5:
        u8(g, 0xe9);
        jp_displacement(g, 4);
        return;
    case 6:
        u8(g, 0xe8);
        jp_displacement(g, 4);
        return;
    default:
        if (one_in(g, 40))
            u8(g, 0x66);
        u8(g, 0x0f);
        u8(g, 0x80 + below(g, 16));
        jp_displacement(g, 4);
    }
}

static uint64_t branch_target(struct jp_gen *g)
{
    static const uint64_t odd[] = {0x7ffffffffffc,     0x800000000000,
                                   0xfffffffe,         0x1000,
                                   0xffffffff80400000, 0x12345678};
    if (one_in(g, 16))
        return odd[below(g, 6)];
    if (g->s->high && one_in(g, 3))
        return code_address(g) - g->s->code + g->s->high;
    uint64_t page = one_in(g, 4) ? below(g, 8) * (uint64_t)PAGE_BYTES : 0;
    return code_address(g) + page;
}

static void gen_indirect(struct jp_gen *g)
{
    unsigned reg = below(g, 8) & 3, digit = one_in(g, 2) ? 2 : 4;
    uint64_t to = branch_target(g), slot = g->s->data + 8 * below(g, 512);
    load_register(g, reg, to);
    switch (below(g, 4)) {
    case 0: /* CALL or JMP reg */
        u8(g, 0xff);
        u8(g, 0xc0 | digit << 3 | reg);
        return;
    case 1: /* through memory */
        if (g->s->is64)
            u8(g, 0x48);
        u8(g, 0x89);
        absolute(g, reg, slot);
        u8(g, 0xff);
        absolute(g, digit, slot);
        return;
    case 2: /* PUSH, RET n */
        u8(g, 0x50 + reg);
        u8(g, one_in(g, 2) ? 0xc3 : 0xc2);
        if (g->code[g->at - 1] == 0xc2) {
            u8(g, 8 * below(g, 4));
            u8(g, 0);
        }
        return;
    default:
        u8(g, 0xc3); /* whatever CALL pushed */
    }
}

/* Far transfers to the same or another code segment. */
static void gen_far(struct jp_gen *g)
{
    const struct jp_scene *s = g->s;
    static const uint8_t selectors[] = {JP_SEL_CODE64, JP_SEL_CODE32,
                                        JP_SEL_USER32, JP_SEL_USER64,
                                        JP_SEL_EXECUTE};
    unsigned to = selectors[below(g, 5)];
    if (one_in(g, 2))
        to = s->user ? (s->is64 ? JP_SEL_USER64 : JP_SEL_USER32)
                     : (s->is64 ? JP_SEL_CODE64 : JP_SEL_CODE32);
    if (to >= JP_SEL_USER32)
        to |= 3;
    if (!s->is64 && one_in(g, 2)) {
        u8(g, one_in(g, 2) ? 0x9a : 0xea);
        u32(g, code_address(g));
        u8(g, to);
        u8(g, 0);
        return;
    }
    if (to >= JP_SEL_USER32 && !s->user) { /* to CPL 3: SS and RSP too */
        u8(g, 0x6a);
        u8(g, JP_SEL_USER_DATA | 3);
        u8(g, 0x68);
        u32(g, s->stack + 0x2000);
    }
    u8(g, 0x6a);
    u8(g, to);
    u8(g, 0x68);
    u32(g, code_address(g));
    if (s->is64)
        u8(g, 0x48);
    u8(g, 0xcb);
}

/* ---- stores into code and page tables
 * --------------------------------------------------- */

static void store_imm(struct jp_gen *g, uint64_t at, uint64_t value,
                      unsigned bytes)
{
    if (bytes == 8)
        u8(g, 0x48);
    if (bytes == 2)
        u8(g, 0x66);
    u8(g, bytes == 1 ? 0xc6 : 0xc7);
    absolute(g, 0, at);
    if (bytes == 1)
        u8(g, value);
    else if (bytes == 2)
        put(g, (const char[]){(char)value, (char)(value >> 8)}, 2);
    else
        u32(g, value);
}

static void gen_modify(struct jp_gen *g)
{
    const struct jp_scene *s = g->s;
    static const uint16_t with[] = {0x9090, 0x04b0, 0xc0ff, 0xc3ff, 0x00eb,
                                    0x0275, 0xc031, 0xd8f7, 0x9040, 0xc001};
    uint64_t at;
    switch (below(g, 4)) {
    case 0: /* the next instructions */
        at = s->code + g->at + 11 + below(g, 24);
        break;
    case 1: /* close before */
        at = s->code + g->at - (g->at ? below(g, g->at < 64 ? g->at : 64) : 0);
        break;
    default:
        at = code_address(g) + (one_in(g, 3) ? below(g, 5) : 0);
    }
    if (one_in(g, 4))
        at += below(g, JP_WINDOW_PAGES) * (uint64_t)PAGE_BYTES;
    if (one_in(g, 4)) { /* INC byte [at] */
        u8(g, 0xfe);
        absolute(g, 0, at);
        return;
    }
    store_imm(g, at, one_in(g, 3) ? 0x90 : with[below(g, 10)],
              one_in(g, 2) ? 1 : 2);
}

static void gen_table_store(struct jp_gen *g)
{
    const struct jp_scene *s = g->s;
    unsigned wide = s->mode == JP_PAGED32 ? 4 : 8;
    bool is_code = one_in(g, 2);
    uint64_t linear =
        is_code ? s->code + below(g, 8) * (uint64_t)PAGE_BYTES
                : s->data + below(g, JP_DATA_WINDOW) * (uint64_t)PAGE_BYTES;
    uint64_t at = s->table + ((linear - s->code) >> 12) * wide;
    uint64_t frame = is_code ? JP_CODE + below(g, 8) * (uint64_t)PAGE_BYTES
                             : JP_DATA + below(g, 8) * (uint64_t)PAGE_BYTES;
    static const uint8_t bits[] = {7, 7, 7, 0x67, 5, 3, 6, 0x27};
    if (one_in(g, 6)) { /* clear or set bits in place: AND, OR, BTS */
        u8(g, 0x80);
        absolute(g, one_in(g, 2) ? 4 : 1, at);
        u8(g, one_in(g, 2) ? 0xdf : 0x42);
        return;
    }
    store_imm(g, at, frame | bits[below(g, 8)], one_in(g, 2) ? 4 : wide);
    if (one_in(g, 4)) { /* INVLPG */
        u8(g, 0x0f);
        u8(g, 0x01);
        absolute(g, 7, linear);
    }
}

/* ---- system instructions
 * ------------------------------------------------------------------ */

static void gen_flags(struct jp_gen *g)
{
    u8(g, 0x9c);        /* PUSHF */
    if (one_in(g, 2)) { /* OR byte [rSP + 1], ... */
        static const uint8_t bits[] = {1, 2, 4, 1};
        PUT(g, "\x80\x4c\x24\x01");
        u8(g, bits[below(g, 4)]);
    } else { /* AND */
        PUT(g, "\x80\x64\x24\x01");
        u8(g, one_in(g, 2) ? 0xfa : 0xfe);
    }
    u8(g, 0x9d);
}

static void gen_segment(struct jp_gen *g)
{
    static const uint8_t selectors[] = {JP_SEL_USER_DATA | 3,
                                        JP_SEL_USER_DATA | 3,
                                        JP_SEL_SMALL | 3,
                                        JP_SEL_BASED | 3,
                                        JP_SEL_RO | 3,
                                        JP_SEL_DATA,
                                        0,
                                        JP_SEL_USER32 | 3,
                                        JP_SEL_EXECUTE | 3};
    static const uint8_t segs[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS};
    unsigned seg = segs[below(g, 5)];
    unsigned selector = selectors[below(g, 9)];
    if (seg == SEG_SS && !one_in(g, 6))
        selector = g->s->user ? JP_SEL_USER_DATA | 3 : JP_SEL_DATA;
    u8(g, 0xb8);
    u32(g, selector);
    u8(g, 0x8e);
    u8(g, 0xc0 | seg << 3);
}

static void gen_base(struct jp_gen *g) /* WRMSR of FS or GS base */
{
    load_register(g, REG_RCX, 0xc0000100u + below(g, 3));
    load_register(g, REG_RAX, one_in(g, 2) ? g->s->data : data_address(g));
    PUT(g, "\x31\xd2\x0f\x30");
}

/* Toggle a bit of CR0 or CR4 that changes what instructions or accesses do. */
static void gen_control(struct jp_gen *g)
{
    static const uint8_t cr0[] = {3, 3, 2, 16, 18}; /* TS EM WP AM */
    static const uint8_t cr4[] = {9, 10, 2, 7};     /* OSFXSR ... TSD PGE */
    bool is_cr4 = one_in(g, 3);
    u8(g, 0x0f); /* MOV EAX, CRn */
    u8(g, 0x20);
    u8(g, is_cr4 ? 0xe0 : 0xc0);
    PUT(g, "\x0f\xba\xf8"); /* BTC EAX, n */
    u8(g, is_cr4 ? cr4[below(g, 4)] : cr0[below(g, 5)]);
    u8(g, 0x0f);
    u8(g, 0x22);
    u8(g, is_cr4 ? 0xe0 : 0xc0);
}

/* Breakpoint 0 on code, stores or accesses; mostly off again. */
static void gen_breakpoint(struct jp_gen *g)
{
    static const uint32_t dr7[] = {0, 0, 0, 0x402, 0xd0402, 0xf0402, 0x10402};
    load_register(g, REG_RAX,
                  one_in(g, 2) ? code_address(g) : data_address(g) & ~3ull);
    PUT(g, "\x0f\x23\xc0");
    load_register(g, REG_RAX, dr7[below(g, 7)]);
    PUT(g, "\x0f\x23\xf8");
}

/* SYSCALL; SYSRET to somewhere, with flags of which TF and AC are seldom. */
static void gen_fast_call(struct jp_gen *g)
{
    if (one_in(g, 2)) {
        PUT(g, "\x0f\x05");
        return;
    }
    uint32_t flags = (uint32_t)oracle_random(g->r);
    if (!one_in(g, 8))
        flags &= ~(uint32_t)(FLAG_TF | FLAG_AC | FLAG_NT);
    load_register(g, REG_RCX, one_in(g, 16) ? oracle_random(g->r)
                                            : code_address(g));
    load_register(g, 11, flags | (one_in(g, 4) ? 0u : (uint32_t)FLAG_IF));
    if (!one_in(g, 8))
        u8(g, 0x48);
    PUT(g, "\x0f\x07");
}

static void gen_system(struct jp_gen *g)
{
    const struct jp_scene *s = g->s;
    switch (below(g, 20)) {
    case 0:
    case 1:
        gen_flags(g);
        return;
    case 16:
        gen_control(g);
        return;
    case 17:
        gen_breakpoint(g);
        return;
    case 2:
    case 3:
        gen_segment(g);
        return;
    case 4:
        u8(g, 0xfb); /* STI */
        return;
    case 5:
        u8(g, one_in(g, 3) ? 0xfa : 0xfb);
        return;
    case 6:
    case 7: /* IN and OUT, imm8 */
        u8(g, 0xe4 + below(g, 4));
        u8(g, oracle_random(g->r) & 0xff);
        return;
    case 8:
        PUT(g, "\x0f\x31"); /* RDTSC */
        return;
    case 9:
        u8(g, 0xcd);
        u8(g, one_in(g, 4) ? oracle_random(g->r) & 0xff : 0x20 + below(g, 200));
        return;
    case 10:
        gen_base(g);
        return;
    case 11:
        if (s->mode != JP_FLAT) {
            load_register(g, REG_RAX, s->roots[below(g, 2)]);
            PUT(g, "\x0f\x22\xd8");
        }
        return;
    case 12:
        PUT(g, "\x0f\xa2"); /* CPUID */
        return;
    case 13:
    case 18:
    case 19:
        if (s->is64)
            gen_fast_call(g);
        return;
    case 14:
        if (s->can_idle)
            u8(g, 0xf4);
        return;
    default:
        PUT(g, "\x0f\x06"); /* CLTS */
        return;
    }
}

/* ---- vector and x87 state
 * ----------------------------------------------------------------- */

/* PUSH imm32; LDMXCSR or FLDCW [rSP]; POP rAX. Most values mask everything. */
static void gen_control_word(struct jp_gen *g)
{
    static const uint32_t mxcsr[] = {0x1f80, 0x1f80, 0x9fc0, 0x7f80,
                                     0x3fbf, 0x1f00, 0x1d80, 0x11f80};
    static const uint16_t control[] = {0x37f, 0x37f, 0x27f, 0xf7f,
                                       0x7f,  0x33e, 0x37b, 0x340};
    bool is_x87_word = one_in(g, 2);
    u8(g, 0x68);
    u32(g, is_x87_word ? control[below(g, 8)] : mxcsr[below(g, 8)]);
    if (is_x87_word)
        PUT(g, "\xd9\x2c\x24");
    else
        PUT(g, "\x0f\xae\x14\x24");
    u8(g, 0x58);
}

static void gen_units(struct jp_gen *g)
{
    switch (below(g, 6)) {
    case 0:
        PUT(g, "\xdb\xe3"); /* FNINIT */
        return;
    case 1:
        PUT(g, "\xdb\xe2"); /* FNCLEX */
        return;
    case 2:
        PUT(g, "\x0f\x77"); /* EMMS */
        return;
    case 3:
        PUT(g, "\xdf\xe0\x9e"); /* FNSTSW AX; SAHF */
        return;
    default:
        gen_control_word(g);
    }
}

/* ---- the stream */

/* Where faults go on: a stack and pointers. */
static void gen_entry(struct jp_gen *g)
{
    load_register(g, REG_RSP, g->s->stack + 0x2000 - 8 * below(g, 64));
    for (unsigned n = 0; n < 8; n++)
        if (n != REG_RSP && one_in(g, 2))
            load_register(g, n, data_address(g));
}

static void gen_reload(struct jp_gen *g)
{
    unsigned reg = any_register(g);
    load_register(g, reg, data_address(g));
    if (one_in(g, 4)) /* a count that REP and shifts find useful */
        load_register(g, REG_RCX, below(g, 300));
}

static void gen_one(struct jp_gen *g)
{
    unsigned what = below(g, 100);
    if (g->s->flavour != JP_INTEGER && one_in(g, 16))
        gen_units(g);
    else if (what < 66)
        gen_form(g);
    else if (what < 78)
        gen_relative(g);
    else if (what < 88)
        gen_reload(g);
    else if (what < 91)
        gen_indirect(g);
    else if (what < 94)
        gen_modify(g);
    else if (what < 96 && g->s->table)
        gen_table_store(g);
    else if (what < 99)
        gen_system(g);
    else if (one_in(g, 4))
        gen_far(g);
}

void jp_code(struct jp_scene *s, const struct oracle_forms *forms)
{
    static const struct jp_stream stream = {
        .room = 64, .last_bytes = 4, .entry = gen_entry, .one = gen_one};
    struct jp_gen g = {
        .s = s, .forms = forms, .r = &s->r, .code = s->ram + JP_CODE};
    unsigned entries[JP_ENTRY_COUNT];
    jp_fill(&g, &stream, entries);
    for (unsigned n = 0; n < JP_ENTRY_COUNT; n++) {
        s->entries[n] = s->code + entries[n];
        if (s->high && one_in(&g, 3))
            s->entries[n] += s->high - s->code;
        store_le64(s->ram + JP_ENTRIES + 8 * n, s->entries[n]);
    }
}
