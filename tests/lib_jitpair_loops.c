/* Random code that runs long enough to become traces: counted loops with memory
 * operands at fixed distances, forward branches, calls of small functions and
 * loops inside, and now and then what no trace can hold. */
#include "tests/lib_jitpair_gen.h"

enum {
    LEAVES = 6,
    ROUNDS = 300, /* at most, of a loop */
    COUNTER = REG_RCX,
    LAST_BYTES = 400 /* what one loop may take */
};

/* Registers by what loops use them for. */
static unsigned data_register(struct jp_gen *g)
{
    static const uint8_t low[] = {REG_RAX, REG_RDX, REG_RBX};
    if (g->s->is64 && one_in(g, 3))
        return 8 + below(g, 8);
    return low[below(g, 3)];
}
static unsigned pointer(struct jp_gen *g)
{
    static const uint8_t low[] = {REG_RSI, REG_RDI, REG_RBP};
    return low[below(g, 3)];
}

static void load_register(struct jp_gen *g, unsigned reg, uint64_t value)
{
    bool is_wide = g->s->is64 && value > UINT32_MAX;
    if (is_wide || reg >= 8)
        u8(g, (is_wide ? 0x48 : 0x40) | (reg >= 8));
    u8(g, 0xb8 + (reg & 7));
    u32(g, value);
    if (is_wide)
        u32(g, value >> 32);
}

/* ---- one instruction ----------------------------------------------------- */

/* Prefixes and opcode for registers reg and rm (or base and index). Size 0 is a
 * byte, 1 a word, 2 and 3 what they say; *wide: the opcode of more bytes. */
static void head(struct jp_gen *g, unsigned size, unsigned reg, unsigned rm,
                 unsigned index, unsigned op)
{
    unsigned rex = size == 3 ? 8 : 0;
    rex |= (reg >= 8 ? 4u : 0) | (index >= 8 ? 2u : 0) | (rm >= 8 ? 1u : 0);
    if (size == 1)
        u8(g, 0x66);
    if (g->s->is64 && (rex || size == 0))
        u8(g, 0x40 | rex); /* low bytes, not AH..BH */
    if (op > 0xff)
        u8(g, op >> 8);
    u8(g, op & 0xff);
}

static void register_form(struct jp_gen *g, unsigned size, unsigned op,
                          unsigned reg, unsigned rm)
{
    if (!g->s->is64 && size == 0) { /* no SIL and its kind */
        reg &= 3;
        rm &= 3;
        if (rm == COUNTER)
            rm = REG_RAX;
    }
    head(g, size, reg, rm, 0, op);
    u8(g, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void memory_form(struct jp_gen *g, unsigned size, unsigned op,
                        unsigned reg)
{
    unsigned base = pointer(g);
    bool indexed = one_in(g, 6);
    if (!g->s->is64 && size == 0)
        reg &= 3;
    if (one_in(g, 8) && g->s->flavour != JP_X87)
        base = g->s->is64 ? REG_RSI : REG_RDI;
    head(g, size, reg, base, indexed ? REG_RAX : 0, op);
    unsigned mod = one_in(g, 4) ? 2 : 1;
    u8(g, mod << 6 | (reg & 7) << 3 | (indexed ? 4 : (base & 7)));
    if (indexed)
        u8(g, below(g, 2) << 6 | REG_RAX << 3 | (base & 7));
    if (mod == 1)
        u8(g, one_in(g, 3) ? 0u - 8 * below(g, 16) : 4 * below(g, 30));
    else
        u32(g, one_in(g, 4) ? below(g, 3000) : 8 * below(g, 60));
}

static unsigned a_size(struct jp_gen *g)
{
    static const uint8_t sizes[] = {0, 1, 2, 2, 2, 3, 3, 3};
    unsigned n = sizes[below(g, 8)];
    return n == 3 && !g->s->is64 ? 2 : n;
}

static void gen_alu(struct jp_gen *g)
{
    unsigned size = a_size(g), op = below(g, 8) << 3 | (size ? 1 : 0);
    unsigned d = data_register(g);
    switch (below(g, 6)) {
    case 0:
    case 1: /* D, [P] */
        memory_form(g, size, op | 2, d);
        return;
    case 2: /* [P], D */
        memory_form(g, size, op, d);
        return;
    case 3: { /* immediate */
        unsigned rm = d;
        register_form(g, size, size ? 0x83 : 0x80, op >> 3, rm);
        u8(g, oracle_random(g->r) & 0xff);
        return;
    }
    default:
        register_form(g, size, op, data_register(g), d);
    }
}

static void gen_move(struct jp_gen *g)
{
    unsigned size = a_size(g), d = data_register(g);
    switch (below(g, 7)) {
    case 0:
    case 1:
        memory_form(g, size, size ? 0x8b : 0x8a, d);
        return;
    case 2:
    case 3:
        memory_form(g, size, size ? 0x89 : 0x88, d);
        return;
    case 4: { /* MOVZX, MOVSX from memory */
        static const uint16_t ops[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
        memory_form(g, 2 + (g->s->is64 && one_in(g, 2)), ops[below(g, 4)], d);
        return;
    }
    case 5: /* LEA */
        memory_form(g, 2 + (g->s->is64 && one_in(g, 2)), 0x8d, d);
        return;
    default:
        register_form(g, size ? size : 2, 0x8b, d,
                      one_in(g, 3) ? (unsigned)COUNTER : data_register(g));
    }
}

static void gen_more(struct jp_gen *g)
{
    unsigned size = a_size(g), d = data_register(g);
    switch (below(g, 13)) {
    case 11: /* CDQ or XOR EDX, EDX; IDIV or DIV */
        if (one_in(g, 2)) {
            u8(g, 0x99);
            register_form(g, 2, 0xf7, 7, one_in(g, 2) ? (unsigned)COUNTER : d);
        } else {
            register_form(g, 2, 0x31, REG_RDX, REG_RDX);
            register_form(g, 2, 0xf7, 6, one_in(g, 2) ? (unsigned)COUNTER : d);
        }
        return;
    case 0: { /* shift by a constant or CL */
        static const uint8_t digits[] = {0, 1, 4, 5, 7};
        bool by_cl = one_in(g, 2);
        register_form(g, size, (by_cl ? 0xd2 : 0xc0) | (size ? 1 : 0),
                      digits[below(g, 5)], d);
        if (!by_cl)
            u8(g, 1 + below(g, 31));
        return;
    }
    case 1:
        register_form(g, size ? size : 2, 0x0faf, d, data_register(g));
        return;
    case 2: /* INC, DEC */
        register_form(g, size, size ? 0xff : 0xfe, below(g, 2), d);
        return;
    case 3: /* NOT, NEG */
        register_form(g, size, size ? 0xf7 : 0xf6, 2 + below(g, 2), d);
        return;
    case 4: /* SETcc */
        register_form(g, 0, 0x0f90 | below(g, 16), 0, d);
        return;
    case 5: /* CMOVcc */
        register_form(g, size ? size : 2, 0x0f40 | below(g, 16), d,
                      data_register(g));
        return;
    case 6: /* BT and its kind by a constant */
        register_form(g, size < 2 ? 2 : size, 0x0fba, 4 + below(g, 4), d);
        u8(g, below(g, 64));
        return;
    case 7: /* XCHG */
        if (one_in(g, 3))
            memory_form(g, size < 2 ? 2 : size, 0x87, d);
        else
            register_form(g, size < 2 ? 2 : size, 0x87, d, data_register(g));
        return;
    case 8: /* IMUL by a constant */
        register_form(g, size < 2 ? 2 : size, 0x6b, d, data_register(g));
        u8(g, one_in(g, 2) ? 1u << below(g, 7) : below(g, 12));
        return;
    case 9: /* MUL, one-operand IMUL: RAX and RDX */
        register_form(g, size < 2 ? 2 : size, 0xf7, 4 + below(g, 2), d);
        return;
    case 10: /* PUSH, POP */
        u8(g, 0x50 + (data_register(g) & 3 & ~1u));
        u8(g, 0x58 + (below(g, 2) ? REG_RAX : REG_RDX));
        return;
    default: /* INC, ADC, ... of memory */
        memory_form(g, size, size ? 0xff : 0xfe, below(g, 2));
    }
}

/* Read-modify-write, scans, flags and strings. */
static void gen_rare(struct jp_gen *g)
{
    static const char *const flags[] = {"\xf8",     "\xf9", "\xf5", "\x9f",
                                        "\x9c\x5a", "\xfc", "\x9e", "\xfa",
                                        "\x0f\x31"}; /* RDTSC */
    static const uint8_t strings[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad};
    unsigned size = a_size(g), wide = size < 2 ? 2 : size;
    unsigned d = data_register(g);
    switch (below(g, 12)) {
    case 0: /* BSF, BSR */
        register_form(g, size ? size : 2, 0x0fbc | below(g, 2), d,
                      data_register(g));
        return;
    case 1:
        memory_form(g, size ? size : 2, 0x0fbc | below(g, 2), d);
        return;
    case 2: /* POPCNT */
        u8(g, 0xf3);
        register_form(g, 2, 0x0fb8, d, data_register(g));
        return;
    case 3: /* CMPXCHG */
        memory_form(g, size, size ? 0x0fb1 : 0x0fb0, d);
        return;
    case 4: /* XADD */
        memory_form(g, size, size ? 0x0fc1 : 0x0fc0, d);
        return;
    case 5: { /* BT and its kind, by a register */
        static const uint16_t ops[4] = {0x0fa3, 0x0fab, 0x0fb3, 0x0fbb};
        memory_form(g, wide, ops[below(g, 4)], COUNTER);
        return;
    }
    case 6: /* by a constant */
        memory_form(g, wide, 0x0fba, 4 + below(g, 4));
        u8(g, below(g, 64));
        return;
    case 7: /* CMPXCHG8B */
        memory_form(g, 2, 0x0fc7, 1);
        return;
    case 8: { /* AH, DH, BH: no REX */
        unsigned x = 4 + below(g, 4), y = below(g, 8);
        x = x == 5 ? 4 : x;
        y = (y & 3) == 1 ? 6 : y;
        u8(g, below(g, 8) << 3 | 2 * below(g, 2));
        u8(g, 0xc0 | x << 3 | y);
        return;
    }
    case 9: {
        unsigned n = below(g, 9);
        bool is_system = n == 7 && (g->s->user || !one_in(g, 4));
        const char *b = flags[is_system ? 0 : n];
        put(g, b, strlen(b));
        return;
    }
    case 10:
        u8(g, strings[below(g, 6)]);
        return;
    default: /* XCHG of any size */
        memory_form(g, size, size ? 0x87 : 0x86, d);
    }
}

/* Vector instructions that leave general registers or flags. */
static void gen_vector(struct jp_gen *g)
{
    static const char *const forms[] = {
        "\x66\x0f\x2e\xc1",         /* UCOMISD XMM0, XMM1 */
        "\x0f\x2f\xd3",             /* COMISS XMM2, XMM3 */
        "\xf2\x0f\x2c\xc1",         /* CVTTSD2SI EAX, XMM1 */
        "\xf3\x0f\x2d\xd2",         /* CVTSS2SI EDX, XMM2 */
        "\x66\x0f\x7e\xc8",         /* MOVD EAX, XMM1 */
        "\x66\x0f\x6e\xd3",         /* MOVD XMM2, EBX */
        "\x66\x0f\xd7\xd9",         /* PMOVMSKB EBX, XMM1 */
        "\x66\x0f\x50\xd1",         /* MOVMSKPD EDX, XMM1 */
        "\x66\x0f\x38\x17\xc8",     /* PTEST XMM1, XMM0 */
        "\x66\x0f\x3a\x16\xd0\x02", /* PEXTRD EAX, XMM2, 2 */
        "\x66\x0f\xef\xc1",         /* PXOR XMM0, XMM1 */
        "\xf2\x0f\x2a\xc8"};        /* CVTSI2SD XMM1, EAX */
    const char *b = forms[below(g, 12)];
    put(g, b, strlen(b));
}

/* A pointer moves on. */
static void gen_advance(struct jp_gen *g)
{
    unsigned size = g->s->is64 ? 3 : 2, p = pointer(g);
    unsigned by = one_in(g, 6) ? 0u - 8 : 1u << below(g, 5);
    if (one_in(g, 2)) {
        head(g, size, 0, p, 0, 0x83);
        u8(g, 0xc0 | p);
    } else {
        head(g, size, p, p, 0, 0x8d);
        u8(g, 0x40 | p << 3 | p);
    }
    u8(g, by & 0xff);
}

/* Index registers stay small. */
static void gen_mask(struct jp_gen *g)
{
    u8(g, 0x25); /* and eax, imm */
    u32(g, 0xff8);
}

static void gen_items(struct jp_gen *g, unsigned count, bool with_branches);

static void gen_skip(struct jp_gen *g)
{
    u8(g, 0x70 + below(g, 16));
    unsigned site = g->at++;
    gen_items(g, 1 + below(g, 2), false);
    g->code[site] = (uint8_t)(g->at - site - 1);
}

static void call(struct jp_gen *g, unsigned target)
{
    u8(g, 0xe8);
    u32(g, target - (g->at + 4));
}

/* What no trace holds: a handler, a fault, an event window. */
static void gen_odd(struct jp_gen *g)
{
    static const char *const bytes[] = {"\x0f\xa2",         /* CPUID */
                                        "\xd9\xe8\xdd\xd8", /* FLD1; FSTP ST0 */
                                        "\x0f\x28\xc1",     /* MOVAPS */
                                        "\xfc",             /* CLD */
                                        "\x9c\x58",         /* PUSHF; POP rAX */
                                        "\x0f\x31"};        /* RDTSC */
    const char *b = bytes[below(g, 6)];
    put(g, b, strlen(b));
    load_register(g, COUNTER, 1 + below(g, ROUNDS));
}

static void gen_item(struct jp_gen *g, bool with_branches)
{
    unsigned what = below(g, 38);
    if (what >= 36)
        gen_vector(g);
    else if (what >= 32)
        gen_rare(g);
    else if (what < 10)
        gen_alu(g);
    else if (what < 18)
        gen_move(g);
    else if (what < 24)
        gen_more(g);
    else if (what < 26)
        gen_advance(g);
    else if (what < 27)
        gen_mask(g);
    else if (!with_branches)
        u8(g, 0x90);
    else if (what < 30)
        gen_skip(g);
    else if (g->start_count)
        call(g, g->starts[below(g, g->start_count)]);
}

static void gen_items(struct jp_gen *g, unsigned count, bool with_branches)
{
    while (count--)
        gen_item(g, with_branches);
}

/* ---- structure ----------------------------------------------------------- */

static void gen_pointers(struct jp_gen *g)
{
    static const uint8_t low[] = {REG_RSI, REG_RDI, REG_RBP};
    const struct jp_scene *s = g->s;
    for (unsigned n = 0; n < 3; n++) {
        uint64_t page = s->data + (1 + below(g, 5)) * (uint64_t)PAGE_BYTES;
        uint64_t at =
            one_in(g, 3) ? page - 8 * below(g, 40) : page + below(g, 3000);
        if (one_in(g, 12))
            at = s->data + below(g, JP_DATA_WINDOW * PAGE_BYTES);
        if (one_in(g, 24))
            at = s->code + below(g, JP_CODE_BYTES);
        load_register(g, low[n], at);
    }
    gen_mask(g);
}

/* dec ecx; jnz: or with another test. */
static void gen_close(struct jp_gen *g, unsigned top)
{
    unsigned before = g->at;
    switch (below(g, 3)) {
    case 0:
        register_form(g, 2, 0xff, 1, COUNTER);
        break;
    case 1:
        register_form(g, 2, 0x83, 5, COUNTER); /* sub ecx, 1 */
        u8(g, 1);
        break;
    default:
        register_form(g, 2, 0x83, 5, COUNTER);
        u8(g, 1);
        register_form(g, 2, 0x85, COUNTER, COUNTER); /* test */
        break;
    }
    if (top + 120 > g->at && one_in(g, 2)) { /* LOOP instead */
        g->at = before;
        u8(g, 0xe2);
        u8(g, (top - g->at - 1) & 0xff);
        return;
    }
    u8(g, 0x0f);
    u8(g, 0x85);
    u32(g, top - (g->at + 4));
}

static void gen_loop(struct jp_gen *g)
{
    if (!one_in(g, 3))
        gen_pointers(g);
    bool nests = one_in(g, 4);
    if (nests) { /* around the loop: the counter is kept on the stack */
        load_register(g, COUNTER, 2 + below(g, 20));
        unsigned outer = g->at;
        u8(g, 0x50 + COUNTER);
        load_register(g, COUNTER, 1 + below(g, 12));
        unsigned top = g->at;
        gen_items(g, 1 + below(g, 4), true);
        gen_close(g, top);
        u8(g, 0x58 + COUNTER);
        gen_items(g, 1 + below(g, 3), false);
        gen_close(g, outer);
        return;
    }
    load_register(g, COUNTER, 2 + below(g, ROUNDS));
    unsigned top = g->at;
    gen_items(g, 1 + below(g, 10), true);
    if (one_in(g, 12))
        gen_odd(g);
    gen_close(g, top);
}

/* RET, or another way back. */
static void gen_return(struct jp_gen *g)
{
    static const char *const ways[] = {
        "\x5a\xff\xe2",                     /* POP rDX; JMP rDX */
        "\x5a\x52\xc3",                     /* POP rDX; PUSH rDX; RET */
        "\xe8\x01\x00\x00\x00\x90\x5a\xc3"}; /* CALL over a NOP; POP; RET */
    static const uint8_t bytes[] = {3, 3, 8};
    unsigned n = below(g, 3);
    if (!one_in(g, 4)) {
        u8(g, 0xc3);
        return;
    }
    put(g, ways[n], bytes[n]);
}

/* A function; the starts are theirs. */
static void gen_leaf(struct jp_gen *g)
{
    unsigned at = g->starts[g->start_count++] = (uint16_t)g->at;
    if (one_in(g, 5)) { /* as deep as rDX has bits */
        u8(g, 0xd1);
        u8(g, 0xea); /* shr edx, 1 */
        u8(g, 0x74);
        u8(g, 5); /* jz over the call */
        call(g, at);
    }
    gen_items(g, 1 + below(g, 4), false);
    if (g->start_count > 1 && one_in(g, 3))
        call(g, g->starts[below(g, g->start_count - 1)]);
    gen_return(g);
}

void jp_code_loops(struct jp_scene *s)
{
    struct jp_gen g = {.s = s, .r = &s->r, .code = s->ram + JP_CODE};
    unsigned bytes = (1 + below(&g, 3)) * PAGE_BYTES, entries = 0;
    u8(&g, 0xe9);
    g.at += 4;
    while (g.start_count < LEAVES)
        gen_leaf(&g);
    store_le32(g.code + 1, g.at - 5);
    while (g.at < bytes - LAST_BYTES) {
        if (entries < JP_ENTRY_COUNT) {
            s->entries[entries++] = s->code + g.at;
            load_register(&g, REG_RSP, s->stack + 0x2000 - 8 * below(&g, 64));
            gen_pointers(&g);
        }
        gen_loop(&g);
    }
    u8(&g, 0xe9); /* again */
    u32(&g, 0u - (g.at + 4));
    for (unsigned n = 0; n < JP_ENTRY_COUNT; n++) {
        s->entries[n] = s->entries[n % entries];
        if (s->high && one_in(&g, 3))
            s->entries[n] += s->high - s->code;
        store_le64(s->ram + JP_ENTRIES + 8 * n, s->entries[n]);
    }
}
