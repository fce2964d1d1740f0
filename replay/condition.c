#include "replay/condition.h"

#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, NONE = UINT16_MAX };

enum op {
    OP_NUMBER,
    OP_REGISTER,
    OP_LINEAR, /* memory at a */
    OP_PHYSICAL,
    OP_NOT,
    OP_INVERT,
    OP_NEGATE, /* of a */
    OP_OR,
    OP_AND, /* of a and b, from here on */
    OP_BIT_OR,
    OP_BIT_XOR,
    OP_BIT_AND,
    OP_EQUAL,
    OP_UNEQUAL,
    OP_BELOW,
    OP_BELOW_EQUAL,
    OP_ABOVE,
    OP_ABOVE_EQUAL,
    OP_SHIFT_LEFT,
    OP_SHIFT_RIGHT,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_REMAINDER
};

/* ---- registers
 * ----------------------------------------------------------------
 */

enum kind {
    KIND_GENERAL, /* r[index], shifted right by `shift`, `bytes` wide */
    KIND_SELECTOR,
    KIND_BASE,
    KIND_RIP,
    KIND_EIP,
    KIND_PC,
    KIND_FLAGS,
    KIND_CR0,
    KIND_CR2,
    KIND_CR3,
    KIND_CR4,
    KIND_EFER,
    KIND_CPL,
    KIND_TICK
};

struct known {
    enum kind kind;
    unsigned index, bytes, shift;
};

static bool find_low(const char *name, struct known *k)
{
    static const char *const rows[][5] = {
        {"rax", "eax", "ax", "al", "ah"}, {"rcx", "ecx", "cx", "cl", "ch"},
        {"rdx", "edx", "dx", "dl", "dh"}, {"rbx", "ebx", "bx", "bl", "bh"},
        {"rsp", "esp", "sp", "spl", ""},  {"rbp", "ebp", "bp", "bpl", ""},
        {"rsi", "esi", "si", "sil", ""},  {"rdi", "edi", "di", "dil", ""}};
    static const unsigned bytes[] = {8, 4, 2, 1, 1};
    for (unsigned i = 0; i < 8; i++)
        for (unsigned n = 0; n < 5; n++)
            if (strcmp(rows[i][n], name) == 0) {
                *k = (struct known){KIND_GENERAL, i, bytes[n], n == 4 ? 8 : 0};
                return true;
            }
    return false;
}

/* r8, r8d, r8w, r8b, ... r15b */
static bool find_high(const char *name, struct known *k)
{
    char *end;
    if (name[0] != 'r' || !isdigit((unsigned char)name[1]))
        return false;
    unsigned long n = strtoul(name + 1, &end, 10);
    unsigned bytes = !*end                   ? 8
                     : strcmp(end, "d") == 0 ? 4
                     : strcmp(end, "w") == 0 ? 2
                     : strcmp(end, "b") == 0 ? 1
                                             : 0;
    *k = (struct known){KIND_GENERAL, (unsigned)n, bytes, 0};
    return n >= 8 && n <= 15 && bytes;
}

static bool find_segment(const char *name, struct known *k)
{
    static const char *const names[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        if (strncmp(name, names[i], 2) != 0)
            continue;
        *k = (struct known){name[2] ? KIND_BASE : KIND_SELECTOR, i, 8, 0};
        return !name[2] || strcmp(name + 2, "_base") == 0;
    }
    return false;
}

static bool find_register(const char *name, struct known *k)
{
    static const struct {
        const char *name;
        enum kind kind;
    } rows[] = {
        {"rip", KIND_RIP},      {"eip", KIND_EIP},      {"pc", KIND_PC},
        {"rflags", KIND_FLAGS}, {"eflags", KIND_FLAGS}, {"cr0", KIND_CR0},
        {"cr2", KIND_CR2},      {"cr3", KIND_CR3},      {"cr4", KIND_CR4},
        {"efer", KIND_EFER},    {"cpl", KIND_CPL},      {"tick", KIND_TICK}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0) {
            *k = (struct known){rows[i].kind, 0, 8, 0};
            return true;
        }
    return find_low(name, k) || find_high(name, k) || find_segment(name, k);
}

/* A struct known in the value of a node. */
static uint64_t pack(const struct known *k)
{
    return (uint64_t)k->kind | (uint64_t)k->index << 8 |
           (uint64_t)k->bytes << 16 | (uint64_t)k->shift << 24;
}

static enum kind kind_of(const struct condition_node *n)
{
    return (enum kind)(n->value & 0xff);
}

static uint64_t register_value(const struct condition_node *n,
                               struct machine *m)
{
    const struct cpu *c = machine_cpu(m);
    unsigned index = n->value >> 8 & 0xff, bytes = n->value >> 16 & 0xff;
    unsigned shift = n->value >> 24 & 0xff;
    switch (kind_of(n)) {
    case KIND_GENERAL:
        return c->r[index] >> shift &
               (bytes == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * bytes) - 1);
    case KIND_SELECTOR:
        return c->seg[index].selector;
    case KIND_BASE:
        return c->seg[index].base;
    case KIND_RIP:
        return c->r[REG_RIP];
    case KIND_EIP:
        return (uint32_t)c->r[REG_RIP];
    case KIND_PC:
        return gdb_linear_pc(m);
    case KIND_FLAGS:
        return cpu_rflags(c);
    case KIND_CR0:
        return c->cr0;
    case KIND_CR2:
        return c->cr2;
    case KIND_CR3:
        return c->cr3;
    case KIND_CR4:
        return c->cr4;
    case KIND_EFER:
        return c->efer;
    case KIND_CPL:
        return c->cpl;
    default:
        return c->tick;
    }
}

/* ---- parsing
 * ------------------------------------------------------------------
 */

struct parser {
    struct condition *c;
    const char *text, *at;
    unsigned depth;
    struct error *err;
};

static uint16_t wrong(struct parser *p, const char *expected)
{
    if (!p->err->text[0])
        error_set(p->err, ERR_USAGE,
                  "'%.200s': expected %s at column %zu, found '%.40s'", p->text,
                  expected, (size_t)(p->at - p->text) + 1, p->at);
    return NONE;
}

static uint16_t add(struct parser *p, enum op op, unsigned size, uint16_t a,
                    uint16_t b, uint64_t value)
{
    if (p->c->count == CONDITION_NODES)
        return wrong(p, "a shorter condition");
    p->c->node[p->c->count] =
        (struct condition_node){(uint8_t)op, (uint8_t)size, a, b, value};
    return (uint16_t)p->c->count++;
}

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static bool take(struct parser *p, const char *sign)
{
    skip_blanks(p);
    if (strncmp(p->at, sign, strlen(sign)) != 0)
        return false;
    p->at += strlen(sign);
    return true;
}

/* Letters, digits and _; "" when there are none. */
static void take_word(struct parser *p, char word[16])
{
    size_t n = 0;
    skip_blanks(p);
    const char *at = p->at;
    while ((isalnum((unsigned char)*at) || *at == '_') && n < 15)
        word[n++] = (char)tolower((unsigned char)*at++);
    word[n] = 0;
}

static uint16_t parse_or(struct parser *p);

static uint16_t parse_memory(struct parser *p)
{
    static const struct {
        const char *name;
        unsigned bytes;
    } sizes[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}};
    char word[16];
    enum op op = OP_LINEAR;
    unsigned bytes = 0;
    take_word(p, word);
    if (strcmp(word, "phys") == 0) {
        op = OP_PHYSICAL;
        p->at += 4;
        take_word(p, word);
    }
    for (size_t i = 0; i < 4; i++)
        if (strcmp(word, sizes[i].name) == 0)
            bytes = sizes[i].bytes;
    if (!bytes)
        return wrong(p, "u8, u16, u32 or u64");
    p->at += strlen(word);
    uint16_t a = parse_or(p);
    if (a == NONE)
        return NONE;
    return take(p, "]") ? add(p, op, bytes, a, 0, 0) : wrong(p, "]");
}

static uint16_t parse_name(struct parser *p)
{
    char word[16], *end;
    struct known k;
    skip_blanks(p);
    if (isdigit((unsigned char)*p->at)) {
        errno = 0;
        uint64_t value = strtoull(p->at, &end, 0);
        if (errno || isalnum((unsigned char)*end) || *end == '_')
            return wrong(p, "a number below 2^64");
        p->at = end;
        return add(p, OP_NUMBER, 0, 0, 0, value);
    }
    take_word(p, word);
    if (!word[0] || !find_register(word, &k))
        return wrong(p, "a number, a register, [ or (");
    p->at += strlen(word);
    return add(p, OP_REGISTER, 0, 0, 0, pack(&k));
}

static uint16_t parse_unary(struct parser *p)
{
    static const struct {
        const char *sign;
        enum op op;
    } signs[] = {{"!", OP_NOT}, {"~", OP_INVERT}, {"-", OP_NEGATE}};
    uint16_t a = NONE;
    if (p->depth == DEPTH_MAX)
        return wrong(p, "fewer brackets");
    p->depth++;
    for (size_t i = 0; i < 3; i++)
        if (take(p, signs[i].sign)) {
            a = parse_unary(p);
            p->depth--;
            return a == NONE ? NONE : add(p, signs[i].op, 0, a, 0, 0);
        }
    if (take(p, "[")) {
        a = parse_memory(p);
    } else if (take(p, "(")) {
        a = parse_or(p);
        if (a != NONE && !take(p, ")"))
            a = wrong(p, ")");
    } else {
        a = parse_name(p);
    }
    p->depth--;
    return a;
}

/* Longer signs first. */
static const struct binary {
    const char *sign;
    enum op op;
    unsigned level; /* binds the tighter, the higher */
} binaries[] = {
    {"||", OP_OR, 1},          {"&&", OP_AND, 2},
    {"==", OP_EQUAL, 6},       {"!=", OP_UNEQUAL, 6},
    {"<<", OP_SHIFT_LEFT, 8},  {">>", OP_SHIFT_RIGHT, 8},
    {"<=", OP_BELOW_EQUAL, 7}, {">=", OP_ABOVE_EQUAL, 7},
    {"<", OP_BELOW, 7},        {">", OP_ABOVE, 7},
    {"|", OP_BIT_OR, 3},       {"^", OP_BIT_XOR, 4},
    {"&", OP_BIT_AND, 5},      {"+", OP_ADD, 9},
    {"-", OP_SUBTRACT, 9},     {"*", OP_MULTIPLY, 10},
    {"/", OP_DIVIDE, 10},      {"%", OP_REMAINDER, 10},
};

static const struct binary *next_binary(struct parser *p)
{
    skip_blanks(p);
    for (size_t i = 0; i < sizeof binaries / sizeof binaries[0]; i++)
        if (strncmp(p->at, binaries[i].sign, strlen(binaries[i].sign)) == 0)
            return &binaries[i];
    return NULL;
}

/* Everything that binds at least as tight as `level`. */
static uint16_t parse_binary(struct parser *p, unsigned level)
{
    uint16_t a = parse_unary(p);
    for (;;) {
        const struct binary *sign = next_binary(p);
        if (a == NONE || !sign || sign->level < level)
            return a;
        p->at += strlen(sign->sign);
        uint16_t b = parse_binary(p, sign->level + 1);
        if (b == NONE)
            return NONE;
        a = add(p, sign->op, 0, a, b, 0);
    }
}

static uint16_t parse_or(struct parser *p)
{
    return parse_binary(p, 1);
}

bool condition_parse(struct condition *c, const char *text, struct error *err)
{
    struct parser p = {.c = c, .text = text, .at = text, .err = err};
    c->count = 0;
    err->text[0] = 0;
    if (parse_or(&p) == NONE)
        return false;
    skip_blanks(&p);
    if (*p.at)
        (void)wrong(&p, "an operator or the end");
    return !err->text[0];
}

/* ---- evaluating
 * ---------------------------------------------------------------
 */

struct value {
    bool is_known;
    uint64_t number;
};

static struct value memory_value(const struct condition_node *n, uint64_t at,
                                 struct machine *m)
{
    uint8_t bytes[8] = {0};
    struct value v = {0};
    v.is_known =
        gdb_memory_read(m, n->op == OP_PHYSICAL, at, bytes, n->size) == n->size;
    for (unsigned i = n->size; i-- > 0;)
        v.number = v.number << 8 | bytes[i];
    return v;
}

static uint64_t shifted(uint64_t a, uint64_t b, bool left)
{
    return b > 63 ? 0 : left ? a << b : a >> b;
}

static struct value binary_value(enum op op, struct value x, struct value y)
{
    uint64_t a = x.number, b = y.number;
    bool is_known = x.is_known && y.is_known;
    switch (op) {
    case OP_OR:
        return (struct value){true, (x.is_known && a) || (y.is_known && b)};
    case OP_AND:
        return (struct value){true, is_known && a && b};
    case OP_BIT_OR:
        return (struct value){is_known, a | b};
    case OP_BIT_XOR:
        return (struct value){is_known, a ^ b};
    case OP_BIT_AND:
        return (struct value){is_known, a & b};
    case OP_EQUAL:
        return (struct value){true, is_known && a == b};
    case OP_UNEQUAL:
        return (struct value){true, is_known && a != b};
    case OP_BELOW:
        return (struct value){true, is_known && a < b};
    case OP_BELOW_EQUAL:
        return (struct value){true, is_known && a <= b};
    case OP_ABOVE:
        return (struct value){true, is_known && a > b};
    case OP_ABOVE_EQUAL:
        return (struct value){true, is_known && a >= b};
    case OP_SHIFT_LEFT:
    case OP_SHIFT_RIGHT:
        return (struct value){is_known, shifted(a, b, op == OP_SHIFT_LEFT)};
    case OP_ADD:
        return (struct value){is_known, a + b};
    case OP_SUBTRACT:
        return (struct value){is_known, a - b};
    case OP_MULTIPLY:
        return (struct value){is_known, a * b};
    case OP_DIVIDE:
        return (struct value){is_known && b, b ? a / b : 0};
    default:
        return (struct value){is_known && b, b ? a % b : 0};
    }
}

bool condition_holds(const struct condition *c, struct machine *m)
{
    struct value v[CONDITION_NODES];
    for (unsigned i = 0; i < c->count; i++) {
        const struct condition_node *n = &c->node[i];
        struct value a = v[n->a < i ? n->a : 0];
        switch ((enum op)n->op) {
        case OP_NUMBER:
            v[i] = (struct value){true, n->value};
            break;
        case OP_REGISTER:
            v[i] = (struct value){true, register_value(n, m)};
            break;
        case OP_LINEAR:
        case OP_PHYSICAL:
            v[i] = a.is_known ? memory_value(n, a.number, m) : a;
            break;
        case OP_NOT:
            v[i] = (struct value){a.is_known, !a.number};
            break;
        case OP_INVERT:
            v[i] = (struct value){a.is_known, ~a.number};
            break;
        case OP_NEGATE:
            v[i] = (struct value){a.is_known, -a.number};
            break;
        default:
            v[i] = binary_value((enum op)n->op, a, v[n->b]);
        }
    }
    struct value whole = v[c->count - 1];
    return whole.is_known && whole.number;
}

/* ---- what can make it true
 * ----------------------------------------------------
 */

/* A number, or what is computed of numbers. */
static bool constant(const struct condition *c, unsigned at, uint64_t *value)
{
    const struct condition_node *n = &c->node[at];
    uint64_t a, b;
    if (n->op == OP_NUMBER) {
        *value = n->value;
        return true;
    }
    if (n->op < OP_OR || !constant(c, n->a, &a) || !constant(c, n->b, &b))
        return false;
    struct value v = binary_value((enum op)n->op, (struct value){true, a},
                                  (struct value){true, b});
    *value = v.number;
    return v.is_known;
}

/* pc == number, or rip == number above 64 KiB: the address of an instruction.
 * Segments that do not begin at 0 belong to 16-bit code. */
static bool exec_probe(const struct condition *c,
                       const struct condition_node *n, struct probe *p)
{
    if (n->op != OP_EQUAL)
        return false;
    for (unsigned side = 0; side < 2; side++) {
        const struct condition_node *r = &c->node[side ? n->b : n->a];
        uint64_t address;
        if (r->op != OP_REGISTER || !constant(c, side ? n->a : n->b, &address))
            continue;
        if (kind_of(r) == KIND_PC ||
            (kind_of(r) == KIND_RIP && address > UINT16_MAX)) {
            *p = (struct probe){.vaddr = address, .kinds = PROBE_EXEC};
            return true;
        }
    }
    return false;
}

/* Everything below reads linear memory at constant addresses and nothing else;
 * the probes are added. */
static bool data_probes(const struct condition *c, unsigned at,
                        struct probe probes[PROBES_MAX], unsigned *count)
{
    const struct condition_node *n = &c->node[at];
    uint64_t address;
    if (n->op == OP_NUMBER)
        return true;
    if (n->op == OP_LINEAR) {
        if (!constant(c, n->a, &address) || address + n->size < address ||
            *count == PROBES_MAX)
            return false;
        probes[(*count)++] = (struct probe){address, n->size, PROBE_WRITE};
        return true;
    }
    return n->op >= OP_NOT && data_probes(c, n->a, probes, count) &&
           (n->op < OP_OR || data_probes(c, n->b, probes, count));
}

static bool find_probes(const struct condition *c, unsigned at,
                        struct probe probes[PROBES_MAX], unsigned *count)
{
    const struct condition_node *n = &c->node[at];
    unsigned before = *count;
    if (*count < PROBES_MAX && exec_probe(c, n, &probes[*count])) {
        ++*count;
        return true;
    }
    /* Of an OR both must be found, of an AND one will do: an instruction that
     * is about to be executed says all, a store does not. */
    if (n->op == OP_OR)
        return find_probes(c, n->a, probes, count) &&
               find_probes(c, n->b, probes, count);
    if (n->op == OP_AND) {
        for (unsigned side = 0; side < 2; side++) {
            const struct condition_node *part = &c->node[side ? n->b : n->a];
            if (*count < PROBES_MAX && exec_probe(c, part, &probes[*count])) {
                ++*count;
                return true;
            }
        }
    }
    if (data_probes(c, at, probes, count))
        return true;
    *count = before;
    return false;
}

unsigned condition_probes(const struct condition *c,
                          struct probe probes[PROBES_MAX])
{
    unsigned count = 0;
    return find_probes(c, c->count - 1, probes, &count) ? count : 0;
}

bool condition_reads_tick(const struct condition *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->node[i].op == OP_REGISTER && kind_of(&c->node[i]) == KIND_TICK)
            return true;
    return false;
}
