/* Shifts and rotates (SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
 * Undefined flags: see cpu/flags.h. */
#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/operand.h"

#include <Zydis/Mnemonic.h>

static unsigned shift_count(const struct cpu *c, const struct insn *i)
{
    unsigned count = i->form == FORM_RI || i->form == FORM_MI
                         ? (unsigned)i->imm
                         : (unsigned)c->r[REG_RCX];
    return count & (i->size == 8 ? 63 : 31);
}

/* Flags of a shift: SF ZF PF of the result, AF 0, CF and OF as given. */
static void set_shift_flags(struct cpu *c, uint64_t result, unsigned bits,
                            bool cf, bool of)
{
    c->aflags = (uint16_t)(flags_of_result(result, bits) | (cf ? AF_CF : 0) |
                           (of ? AF_OF : 0));
}

/* Rotates touch CF and OF only. */
static void set_rotate_flags(struct cpu *c, bool cf, bool of)
{
    c->aflags = (uint16_t)((c->aflags & ~(AF_CF | AF_OF)) | (cf ? AF_CF : 0) |
                           (of ? AF_OF : 0));
}

static bool bit(uint64_t v, unsigned n)
{
    return v >> n & 1;
}

static uint64_t shift_left(struct cpu *c, uint64_t v, unsigned n, unsigned bits)
{
    uint64_t r = n < bits ? low_bits(v << n, bits) : 0;
    bool cf = n <= bits && bit(v, bits - n);
    set_shift_flags(c, r, bits, cf, bit(v, bits - 1) != bit(v, bits - 2));
    return r;
}

static uint64_t shift_right(struct cpu *c, uint64_t v, unsigned n,
                            unsigned bits)
{
    uint64_t r = n < bits ? v >> n : 0;
    bool cf = n <= bits && bit(v, n - 1);
    set_shift_flags(c, r, bits, cf, bit(v, bits - 1));
    return r;
}

static uint64_t shift_right_signed(struct cpu *c, uint64_t v, unsigned n,
                                   unsigned bits)
{
    int64_t s = sign_extend(v, bits);
    uint64_t r = low_bits((uint64_t)(s >> (n > 63 ? 63 : n)), bits);
    set_shift_flags(c, r, bits, bit((uint64_t)(s >> (n - 1)), 0), false);
    return r;
}

static uint64_t rotate_left(struct cpu *c, uint64_t v, unsigned n,
                            unsigned bits)
{
    unsigned k = n % bits;
    uint64_t r = k ? low_bits(v << k | v >> (bits - k), bits) : v;
    set_rotate_flags(c, bit(r, 0), bit(v, bits - 1) != bit(v, bits - 2));
    return r;
}

static uint64_t rotate_right(struct cpu *c, uint64_t v, unsigned n,
                             unsigned bits)
{
    unsigned k = n % bits;
    uint64_t r = k ? low_bits(v >> k | v << (bits - k), bits) : v;
    set_rotate_flags(c, bit(r, bits - 1), bit(v, 0) != bit(v, bits - 1));
    return r;
}

/* Through carry: a rotate of bits + 1 positions. */
static uint64_t rotate_carry_left(struct cpu *c, uint64_t v, unsigned n,
                                  unsigned bits)
{
    unsigned k = n % (bits + 1);
    bool cf = c->aflags & AF_CF;
    for (unsigned step = 0; step < k; step++) {
        bool out = bit(v, bits - 1);
        v = low_bits(v << 1, bits) | cf;
        cf = out;
    }
    set_rotate_flags(c, cf, bit(v, bits - 1) != cf);
    return v;
}

static uint64_t rotate_carry_right(struct cpu *c, uint64_t v, unsigned n,
                                   unsigned bits)
{
    unsigned k = n % (bits + 1);
    bool cf = c->aflags & AF_CF;
    for (unsigned step = 0; step < k; step++) {
        bool out = bit(v, 0);
        v = v >> 1 | (uint64_t)cf << (bits - 1);
        cf = out;
    }
    set_rotate_flags(c, cf, bit(v, bits - 1) != bit(v, bits - 2));
    return v;
}

enum exc op_shift(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    uint16_t before = c->aflags;
    unsigned bits = i->size * 8u, n = shift_count(c, i);
    enum exc e = operand0_read_for_write(c, i, &v);
    if (e)
        return e;
    if (n == 0) /* flags unchanged; a 32-bit register is still zero-extended */
        return operand0_write(c, i, v);
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
        v = shift_left(c, v, n, bits);
        break;
    case ZYDIS_MNEMONIC_SHR:
        v = shift_right(c, v, n, bits);
        break;
    case ZYDIS_MNEMONIC_SAR:
        v = shift_right_signed(c, v, n, bits);
        break;
    case ZYDIS_MNEMONIC_ROL:
        v = rotate_left(c, v, n, bits);
        break;
    case ZYDIS_MNEMONIC_ROR:
        v = rotate_right(c, v, n, bits);
        break;
    case ZYDIS_MNEMONIC_RCL:
        v = rotate_carry_left(c, v, n, bits);
        break;
    default:
        v = rotate_carry_right(c, v, n, bits);
        break;
    }
    e = operand0_write(c, i, v);
    if (e)
        c->aflags = before;
    return e;
}

/* Shapes: r/m, r, imm8 and r/m, r, CL. Zydis puts an immediate in imm; CL is the
 * third operand. mnemonic tells nothing of that, so imm8 forms are recognised by
 * the absence of a third register (CL is register offset 8). */
static unsigned double_shift_count(const struct cpu *c, const struct insn *i)
{
    unsigned count = (i->third & 0x7f) == REG_RCX * 8
                         ? (unsigned)c->r[REG_RCX]
                         : (unsigned)i->imm;
    return count & (i->size == 8 ? 63 : 31);
}

/* For 16-bit operands and counts above 16, the SDM leaves the result undefined;
 * here the source is rotated in behind itself, as Intel processors do. */
enum exc op_shld(struct cpu *c, const struct insn *i)
{
    uint64_t a, b = reg_get(c, i->src, i->size);
    unsigned bits = i->size * 8u, n = double_shift_count(c, i);
    enum exc e = operand0_read_for_write(c, i, &a);
    if (e)
        return e;
    if (n == 0)
        return operand0_write(c, i, a);
    uint64_t r;
    bool cf;
    if (bits == 64) {
        r = a << n | b >> (64 - n);
        cf = bit(a, 64 - n);
    } else {
        unsigned __int128 wide = (unsigned __int128)a << (2 * bits) |
                                 (unsigned __int128)b << bits |
                                 (bits == 16 ? a : b);
        r = low_bits((uint64_t)(wide << n >> (2 * bits)), bits);
        cf = bit((uint64_t)(wide >> (3 * bits - n)), 0);
    }
    e = operand0_write(c, i, r);
    if (!e)
        set_shift_flags(c, r, bits, cf, bit(r, bits - 1) != cf);
    return e;
}

enum exc op_shrd(struct cpu *c, const struct insn *i)
{
    uint64_t a, b = reg_get(c, i->src, i->size);
    unsigned bits = i->size * 8u, n = double_shift_count(c, i);
    enum exc e = operand0_read_for_write(c, i, &a);
    if (e)
        return e;
    if (n == 0)
        return operand0_write(c, i, a);
    uint64_t r;
    bool cf;
    if (bits == 64) {
        r = a >> n | b << (64 - n);
        cf = bit(a, n - 1);
    } else {
        unsigned __int128 wide = (unsigned __int128)(bits == 16 ? a : b)
                                     << (2 * bits) |
                                 (unsigned __int128)b << bits | a;
        r = low_bits((uint64_t)(wide >> n), bits);
        cf = bit((uint64_t)(wide >> (n - 1)), 0);
    }
    e = operand0_write(c, i, r);
    if (!e)
        set_shift_flags(c, r, bits, cf, bit(r, bits - 1) != bit(r, bits - 2));
    return e;
}
