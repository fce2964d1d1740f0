/* Multiplication, division, sign extension of the accumulator and the decimal
 * adjustments (SDM vol. 2). Undefined flags: see cpu/flags.h. */
#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/operand.h"

static void set_multiply_flags(struct cpu *c, uint64_t low, unsigned bits,
                               bool overflow)
{
    c->aflags = (uint16_t)((flags_of_result(low, bits) & ~AF_ZF) |
                           (overflow ? AF_CF | AF_OF : 0));
}

/* The double-width result or dividend: AX, DX:AX, EDX:EAX, RDX:RAX. */
static void set_double(struct cpu *c, unsigned __int128 v, unsigned bytes)
{
    if (bytes == 1) {
        reg_set(c, REG_RAX, (uint64_t)v, 2);
        return;
    }
    reg_set(c, REG_RAX, (uint64_t)v, bytes);
    reg_set(c, REG_RDX, (uint64_t)(v >> (bytes * 8)), bytes);
}

static unsigned __int128 get_double(const struct cpu *c, unsigned bytes)
{
    if (bytes == 1)
        return reg_get(c, REG_RAX, 2);
    return (unsigned __int128)reg_get(c, REG_RDX, bytes) << (bytes * 8) |
           reg_get(c, REG_RAX, bytes);
}

static uint64_t accumulator(const struct cpu *c, unsigned bytes)
{
    return reg_get(c, REG_RAX, bytes); /* AL is byte offset 0 */
}

enum exc op_mul(struct cpu *c, const struct insn *i)
{
    uint64_t b;
    enum exc e = operand0_read(c, i, &b);
    if (e)
        return e;
    unsigned __int128 p = (unsigned __int128)accumulator(c, i->size) * b;
    set_double(c, p, i->size);
    set_multiply_flags(c, (uint64_t)p, i->size * 8u,
                       (p >> (i->size * 8u)) != 0);
    return EXC_NONE;
}

static enum exc op_imul1(struct cpu *c, const struct insn *i)
{
    uint64_t b;
    unsigned bits = i->size * 8u;
    enum exc e = operand0_read(c, i, &b);
    if (e)
        return e;
    __int128 p = (__int128)sign_extend(accumulator(c, i->size), bits) *
                 sign_extend(b, bits);
    set_double(c, (unsigned __int128)p, i->size);
    set_multiply_flags(c, (uint64_t)p, bits,
                       p != sign_extend((uint64_t)p, bits));
    return EXC_NONE;
}

static enum exc imul_to(struct cpu *c, const struct insn *i, uint64_t a,
                        uint64_t b)
{
    unsigned bits = i->size * 8u;
    __int128 p = (__int128)sign_extend(a, bits) * sign_extend(b, bits);
    reg_set(c, i->dst, (uint64_t)p, i->size);
    set_multiply_flags(c, (uint64_t)p, bits,
                       p != sign_extend((uint64_t)p, bits));
    return EXC_NONE;
}

static enum exc op_imul2(struct cpu *c, const struct insn *i)
{
    uint64_t b;
    enum exc e = operand1_read(c, i, &b);
    if (e)
        return e;
    return imul_to(c, i, reg_get(c, i->dst, i->size), b);
}

static enum exc op_imul3(struct cpu *c, const struct insn *i)
{
    uint64_t a;
    enum exc e = operand1_read(c, i, &a);
    if (e)
        return e;
    return imul_to(c, i, a, i->imm);
}

insn_fn *pick_imul(const struct insn *i)
{
    if (i->form == FORM_R || i->form == FORM_M)
        return op_imul1;
    return i->has_third ? op_imul3 : op_imul2;
}

enum exc op_div(struct cpu *c, const struct insn *i)
{
    uint64_t d;
    enum exc e = operand0_read(c, i, &d);
    if (e)
        return e;
    unsigned __int128 n = get_double(c, i->size);
    unsigned bits = i->size * 8u;
    if (d == 0 || (n >> bits) >= d)
        return cpu_fault(c, EXC_DE, 0);
    uint64_t q, r;
    if (bits == 64) {
        /* The quotient fits: the host's own instruction is exact. */
        __asm__("divq %4"
                : "=a"(q), "=d"(r)
                : "a"((uint64_t)n), "d"((uint64_t)(n >> 64)), "r"(d)
                : "cc");
    } else {
        q = (uint64_t)n / d;
        r = (uint64_t)n % d;
    }
    if (bits == 8) {
        reg_set(c, REG_RAX, q | r << 8, 2);
    } else {
        reg_set(c, REG_RAX, q, i->size);
        reg_set(c, REG_RDX, r, i->size);
    }
    return EXC_NONE;
}

enum exc op_idiv(struct cpu *c, const struct insn *i)
{
    uint64_t raw;
    unsigned bits = i->size * 8u;
    enum exc e = operand0_read(c, i, &raw);
    if (e)
        return e;
    __int128 d = sign_extend(raw, bits);
    unsigned wide = bits * 2;
    __int128 n = (__int128)(get_double(c, i->size) << (128 - wide)) >>
                 (128 - wide);
    if (d == 0)
        return cpu_fault(c, EXC_DE, 0);
    /* -2^127 / -1 does not fit the host's type either. */
    if (d == -1 && n == (__int128)((unsigned __int128)1 << 127))
        return cpu_fault(c, EXC_DE, 0);
    __int128 q = n / d, r = n % d;
    if (q != sign_extend((uint64_t)q, bits))
        return cpu_fault(c, EXC_DE, 0);
    if (bits == 8) {
        reg_set(c, REG_RAX, ((uint64_t)q & 0xff) | ((uint64_t)r & 0xff) << 8,
                2);
    } else {
        reg_set(c, REG_RAX, (uint64_t)q, i->size);
        reg_set(c, REG_RDX, (uint64_t)r, i->size);
    }
    return EXC_NONE;
}

/* ---- CBW and its family ------------------------------------------------------ */

#define EXTEND(name, from_bits, to_bytes)                                      \
    enum exc name(struct cpu *c, const struct insn *i)                         \
    {                                                                          \
        (void)i;                                                               \
        reg_set(c, REG_RAX,                                                    \
                (uint64_t)sign_extend(c->r[REG_RAX], from_bits), to_bytes);    \
        return EXC_NONE;                                                       \
    }
EXTEND(op_cbw, 8, 2)
EXTEND(op_cwde, 16, 4)
EXTEND(op_cdqe, 32, 8)

#define SPREAD(name, bits)                                                     \
    enum exc name(struct cpu *c, const struct insn *i)                         \
    {                                                                          \
        (void)i;                                                               \
        reg_set(c, REG_RDX, (uint64_t)(sign_extend(c->r[REG_RAX], bits) >> 63),\
                (bits) / 8);                                                   \
        return EXC_NONE;                                                       \
    }
SPREAD(op_cwd, 16)
SPREAD(op_cdq, 32)
SPREAD(op_cqo, 64)

/* ---- decimal adjustments ------------------------------------------------------ */

static uint8_t get_al(const struct cpu *c)
{
    return (uint8_t)c->r[REG_RAX];
}

static void set_ax(struct cpu *c, unsigned ax)
{
    reg_set(c, REG_RAX, ax & 0xffff, 2);
}

static enum exc ascii_adjust(struct cpu *c, int sign)
{
    unsigned ax = (unsigned)(c->r[REG_RAX] & 0xffff);
    bool adjust = (ax & 0xf) > 9 || (c->aflags & AF_AF);
    if (adjust)
        ax = (unsigned)((int)ax + sign * 0x106);
    set_ax(c, ax & 0xff0f);
    c->aflags = (uint16_t)(AF_ONE | (adjust ? AF_AF | AF_CF : 0));
    return EXC_NONE;
}

enum exc op_aaa(struct cpu *c, const struct insn *i)
{
    (void)i;
    return ascii_adjust(c, 1);
}

enum exc op_aas(struct cpu *c, const struct insn *i)
{
    (void)i;
    return ascii_adjust(c, -1);
}

enum exc op_aam(struct cpu *c, const struct insn *i)
{
    unsigned base = (uint8_t)i->imm;
    if (base == 0)
        return cpu_fault(c, EXC_DE, 0);
    unsigned al = get_al(c);
    set_ax(c, al / base << 8 | al % base);
    c->aflags = flags_of_result(al % base, 8);
    return EXC_NONE;
}

enum exc op_aad(struct cpu *c, const struct insn *i)
{
    unsigned ax = (unsigned)(c->r[REG_RAX] & 0xffff);
    unsigned al = ((ax & 0xff) + (ax >> 8) * (uint8_t)i->imm) & 0xff;
    set_ax(c, al);
    c->aflags = flags_of_result(al, 8);
    return EXC_NONE;
}

static enum exc decimal_adjust(struct cpu *c, int sign)
{
    unsigned old = get_al(c), al = old;
    bool cf = c->aflags & AF_CF, out = false, af = false;
    if ((al & 0xf) > 9 || (c->aflags & AF_AF)) {
        /* DAS: CF also when the subtraction of 6 borrows. */
        out = cf || (sign < 0 && al < 6) || (sign > 0 && al + 6 > 0xff);
        al = (unsigned)((int)al + sign * 6) & 0xff;
        af = true;
    }
    if (old > 0x99 || cf) {
        al = (unsigned)((int)al + sign * 0x60) & 0xff;
        out = true;
    }
    reg_set(c, REG_RAX * 8, al, 1);
    c->aflags = (uint16_t)(flags_of_result(al, 8) | (out ? AF_CF : 0) |
                           (af ? AF_AF : 0));
    return EXC_NONE;
}

enum exc op_daa(struct cpu *c, const struct insn *i)
{
    (void)i;
    return decimal_adjust(c, 1);
}

enum exc op_das(struct cpu *c, const struct insn *i)
{
    (void)i;
    return decimal_adjust(c, -1);
}
