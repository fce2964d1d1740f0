/* RCPPS, RCPSS, RSQRTPS, RSQRTSS: real CPUs differ in the low bits, so the
 * result is defined here. It is the exact value rounded to 12 significant bits,
 * halves upwards, which is within the 1.5 * 2^-12 of the SDM (vol. 2B RCPPS,
 * RSQRTPS). Special cases are the SDM's; MXCSR is neither read nor written. */
#include "cpu/sse_internal.h"

enum {
    SIGN = 1u << 31,
    INFINITE = 0x7f800000,
    TINY_RESULT = 0x7e800000, /* 2^126: a reciprocal that is tiny reads as 0,
                                 before rounding could make it normal */
    INDEFINITE = 0xffc00000,
    QUIET = 0x00400000,
    FRACTION = 0x007fffff
};

/* 2^exponent * q / 4096 with 2048 <= q <= 4096, as a positive single; 0 when it
 * is below the normal range. */
static uint32_t compose(int exponent, uint32_t q)
{
    uint32_t fraction = q == 4096 ? 0 : (q - 2048) << 12;
    int biased = exponent + 127 - (q != 4096);
    return biased <= 0 ? 0 : (uint32_t)biased << 23 | fraction;
}

static uint32_t reciprocal(uint32_t x)
{
    uint32_t sign = x & SIGN, magnitude = x & ~(uint32_t)SIGN;
    if (magnitude > INFINITE)
        return x | QUIET;
    if (magnitude >= TINY_RESULT) /* infinity too */
        return sign;
    if (magnitude <= FRACTION) /* denormals count as 0 */
        return sign | INFINITE;
    /* x = m / 2^23 * 2^e; 1 / x = (2^35 / m) / 2^12 * 2^-e */
    uint64_t m = (magnitude & FRACTION) | 1u << 23;
    uint32_t q = (uint32_t)(((1ULL << 36) / m + 1) >> 1);
    return sign | compose(127 - (int)(magnitude >> 23), q);
}

/* The integer part of the square root of n < 2^28. */
static uint32_t integer_sqrt(uint32_t n)
{
    uint32_t root = 0;
    for (uint32_t bit = 1u << 26; bit; bit >>= 2) {
        uint32_t trial = root + bit;
        root >>= 1;
        if (n >= trial) {
            n -= trial;
            root += bit;
        }
    }
    return root;
}

static uint32_t reciprocal_sqrt(uint32_t x)
{
    uint32_t sign = x & SIGN, magnitude = x & ~(uint32_t)SIGN;
    if (magnitude > INFINITE)
        return x | QUIET;
    if (magnitude <= FRACTION)
        return sign | INFINITE;
    if (sign)
        return INDEFINITE;
    if (magnitude == INFINITE)
        return 0;
    /* x = v / 2^23 * 4^k with 1 <= v / 2^23 < 4;
     * 1 / sqrt(x) = sqrt(2^47 / v) / 2^12 * 2^-k; one more bit to round */
    int e = (int)(magnitude >> 23) - 127;
    uint64_t v = (uint64_t)((magnitude & FRACTION) | 1u << 23) << (e & 1);
    uint32_t root = integer_sqrt((uint32_t)((1ULL << 49) / v));
    return compose(-(e - (e & 1)) / 2, (root + 1) >> 1);
}

SSE_INLINE enum exc approximate(struct cpu *c, const struct insn *i,
                                unsigned bytes, uint32_t (*f)(uint32_t))
{
    __m128i s;
    enum exc e = sse_fetch(c, i, bytes, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s);
    for (unsigned k = 0; k < bytes / 4; k++)
        c->xmm[i->dst].u32[k] = f(u.u32[k]);
    return EXC_NONE;
}

enum exc op_sse_rcpps(struct cpu *c, const struct insn *i)
{
    return approximate(c, i, 16, reciprocal);
}

enum exc op_sse_rcpss(struct cpu *c, const struct insn *i)
{
    return approximate(c, i, 4, reciprocal);
}

enum exc op_sse_rsqrtps(struct cpu *c, const struct insn *i)
{
    return approximate(c, i, 16, reciprocal_sqrt);
}

enum exc op_sse_rsqrtss(struct cpu *c, const struct insn *i)
{
    return approximate(c, i, 4, reciprocal_sqrt);
}
