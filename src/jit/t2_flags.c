/* Flags from recipes, in C: for constants and for slow paths. */
#include "jit/t2_flags.h"

#include "cpu/flags.h"

static uint16_t carry_flags(uint64_t x, uint64_t y, uint64_t r, unsigned bits,
                            bool is_sub)
{
    uint64_t mask = UINT64_MAX >> (64 - bits);
    uint16_t f = flags_of_result(r, bits);
    x &= mask;
    y &= mask;
    r &= mask;
    uint64_t over = is_sub ? (x ^ y) & (x ^ r) : ~(x ^ y) & (x ^ r);
    if (is_sub ? x < y : r < x)
        f |= AF_CF;
    if (over >> (bits - 1) & 1)
        f |= AF_OF;
    if ((x ^ y ^ r) & 0x10)
        f |= AF_AF;
    return f;
}

uint16_t t2_flags_eval(enum t2_recipe_kind kind, unsigned size, uint64_t r,
                       uint64_t b, uint16_t before)
{
    unsigned bits = size * 8;
    uint16_t f;
    switch (kind) {
    case R_LOGIC:
        return flags_of_result(r, bits);
    case R_TEST:
        return flags_of_result(r & b, bits);
    case R_CMP:
        return carry_flags(r, b, r - b, bits, true);
    case R_ADD:
        return carry_flags(r - b, b, r, bits, false);
    case R_SUB:
        return carry_flags(r + b, b, r, bits, true);
    case R_INC:
        f = carry_flags(r - 1, 1, r, bits, false);
        return (uint16_t)((f & ~AF_CF) | (before & AF_CF));
    case R_DEC:
        f = carry_flags(r + 1, 1, r, bits, true);
        return (uint16_t)((f & ~AF_CF) | (before & AF_CF));
    case R_NEG:
        return carry_flags(0, 0 - r, r, bits, true);
    default:
        return (uint16_t)r;
    }
}
