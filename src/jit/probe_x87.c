/* Does the host's x87 unit do what tier 0 does, in what the manual leaves open
 * too (condition codes called undefined, the contents of empty registers)? Each
 * register form that compiled code uses is tried on states that cover the
 * classes of operands, full and empty stacks, and all controls. An instruction
 * that differs anywhere has no rule: its handler runs. */
#include "jit/jit_internal.h"

#include "cpu/decode.h"
#include "cpu/insn.h"
#include "jit/lower.h"

#include <stddef.h>
#include <string.h>

enum {
    ENCODINGS = 512,
    CODE_BYTES = 32,
    STATES = 12
};

struct probe_x87_frame {
    struct x87_image image;
    uint32_t pad;
    uint16_t aflags;
};
_Static_assert(offsetof(struct probe_x87_frame, aflags) == 112,
               "probe_x87_code.S uses this offset");

extern const uint8_t probe_x87_code[];
typedef void probe_fn(struct probe_x87_frame *f);

static const struct {
    uint64_t mantissa;
    uint16_t exponent;
} values[] = {
    {0x8000000000000000, 0x3fff}, {0xc90fdaa22168c235, 0xc000},
    {0, 0},                       {0, 0x8000},
    {0x8000000000000000, 0x7fff}, {0x8000000000000000, 0xffff},
    {0xc000000000000000, 0xffff}, {0xe123456789abcdef, 0x7fff},
    {0xa123456789abcdef, 0x7fff}, {0x0000000000000001, 0},
    {0x7fffffffffffffff, 0x8000}, {0x8000000000000000, 0},
    {0x4000000000000000, 0x4000}, {0xffffffffffffffff, 0x7ffe},
    {0x8000000000000001, 0xc03e}, {0xb504f333f9de6484, 0x0001},
    {0xfffffffffffff000, 0x403d},
};
enum {
    VALUES = sizeof values / sizeof values[0]
};

static struct x87 state(unsigned n)
{
    static const uint8_t valid[] = {0xff, 0xff, 0xff, 0x00, 0x7e, 0x55};
    static const uint16_t control[] = {0x37f, 0xb7f, 0x27f, 0xf7f, 0x07f, 0x77f};
    static const uint16_t status[] = {0, 0x4700, 0x3f, 0x477f, 0x0200};
    struct x87 x = {.control = control[n / 2 % 6],
                    .status = status[n % 5],
                    .top = (n * 3) & 7,
                    .valid = valid[n % 6]};
    for (unsigned k = 0; k < 8; k++) {
        x.mantissa[k] = values[(n * 5 + k * (n + 1)) % VALUES].mantissa;
        x.exponent[k] = values[(n * 5 + k * (n + 1)) % VALUES].exponent;
    }
    return x;
}

static bool same(const struct x87 *a, const struct x87 *b)
{
    return memcmp(a->mantissa, b->mantissa, sizeof a->mantissa) == 0 &&
           memcmp(a->exponent, b->exponent, sizeof a->exponent) == 0 &&
           a->control == b->control && a->status == b->status &&
           a->top == b->top && a->valid == b->valid;
}

static bool agrees(struct cpu *c, const struct insn *i, unsigned encoding,
                   unsigned n)
{
    probe_fn *run =
        (probe_fn *)(uintptr_t)(probe_x87_code + encoding * CODE_BYTES);
    struct x87 before = state(n), host;
    struct probe_x87_frame f = {.aflags = n & 1 ? 0xd701 : 0x0200};
    jit_x87_pack(&before, &f.image);
    c->x87 = before;
    c->aflags = f.aflags;
    c->r[REG_RIP] = i->len;
    run(&f);
    jit_x87_unpack(&f.image, &host);
    return i->fn(c, i) == EXC_NONE && same(&c->x87, &host) &&
           c->aflags == f.aflags;
}

/* Of forms with ST(i) three registers stand for all. */
static bool is_sample(const uint8_t *bytes)
{
    bool has_register = bytes[0] != 0xd9 || bytes[1] < 0xe0;
    return !has_register || ((bytes[1] + 1) & 7) < 3;
}

void probe_x87(struct jit *j)
{
    struct cpu c;
    memset(&c, 0, sizeof c);
    c.mode = MODE_64;
    for (unsigned e = 0; e < ENCODINGS; e++) {
        uint8_t bytes[15] = {(uint8_t)(0xd8 + (e >> 6)),
                             (uint8_t)(0xc0 + (e & 63))};
        struct insn i;
        if (!is_sample(bytes) ||
            decode_insn(bytes, sizeof bytes, MODE_64, &i) != DECODE_OK ||
            lower_x87_opcode(&i) == 0)
            continue;
        bool ok = true;
        for (unsigned n = 0; ok && n < STATES; n++)
            ok = agrees(&c, &i, e, n);
        if (!ok)
            j->x87_differs[i.mnemonic / 8] |= (uint8_t)(1u << i.mnemonic % 8);
    }
}
