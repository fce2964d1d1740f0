/* SSE floating point while some exceptions are unmasked (SDM vol. 1 11.5).
 *
 * The host always runs with everything masked. Flags differ from that in three
 * ways: an unmasked exception found before the computation (IE, DE, ZE) keeps
 * the later ones from being seen; an unmasked underflow is raised for every
 * tiny result, exact ones too; and with an unmasked overflow or underflow PE
 * speaks of the result as if the exponent had no bounds (as for x87, vol.
 * 1 4.9.1.5). */
#include "cpu/sse_internal.h"

static uint32_t run_masked(sse_op *op, __m128i d, __m128i s, uint32_t controls,
                           __m128i *out)
{
    uint32_t mxcsr = controls | MXCSR_MASKS;
    sse_host_enter(mxcsr);
    *out = op(d, s);
    return sse_host_leave(mxcsr) & MXCSR_FLAGS;
}

/* Layout of a floating-point format. */
struct format {
    unsigned fraction_bits;
    uint64_t exponent_max, bias;
};
static const struct format single_format = {23, 0xff, 127};
static const struct format double_format = {52, 0x7ff, 1023};

static const struct format *format_of(unsigned bytes)
{
    return bytes == 4 ? &single_format : &double_format;
}

static uint64_t element_get(const union xmm *u, unsigned bytes, unsigned n)
{
    return bytes == 4 ? u->u32[n] : u->u64[n];
}

static void element_set(union xmm *u, unsigned bytes, unsigned n, uint64_t v)
{
    if (bytes == 4)
        u->u32[n] = (uint32_t)v;
    else
        u->u64[n] = v;
}

static bool is_denormal(const union xmm *u, unsigned bytes, unsigned n)
{
    const struct format *f = format_of(bytes);
    uint64_t v = element_get(u, bytes, n);
    uint64_t fraction = v & ((1ULL << f->fraction_bits) - 1);
    return fraction != 0 && !(v >> f->fraction_bits & f->exponent_max);
}

/* The value with its exponent made 0 (so that 1 <= |v| < 2). */
static uint64_t unit_exponent(const struct format *f, uint64_t v)
{
    uint64_t one = 1ULL << f->fraction_bits;
    uint64_t fraction = v & (one - 1);
    uint64_t exponent = v >> f->fraction_bits & f->exponent_max;
    uint64_t sign = v & ~(f->exponent_max << f->fraction_bits | (one - 1));
    if (exponent == f->exponent_max || (exponent == 0 && fraction == 0))
        return v;
    while (exponent == 0 && !(fraction & one))
        fraction <<= 1;
    return sign | f->bias << f->fraction_bits | (fraction & (one - 1));
}

/* The value divided by 2^8, unless it is so small that it can only ever be the
 * inexact tail of a sum that overflowed. */
static uint64_t scaled_down(const struct format *f, uint64_t v)
{
    uint64_t exponent = v >> f->fraction_bits & f->exponent_max;
    if (exponent == f->exponent_max || exponent <= 8)
        return v;
    return v - (8ULL << f->fraction_bits);
}

static __m128i scale_all(__m128i value, const struct sse_shape *shape)
{
    const struct format *f = format_of(shape->bytes);
    union xmm u = sse_union(value);
    for (unsigned n = 0; n < 16u / shape->bytes; n++) {
        uint64_t v = element_get(&u, shape->bytes, n);
        bool is_sum = shape->kind == SSE_ADD || shape->kind == SSE_HORIZONTAL;
        v = is_sum ? scaled_down(f, v) : unit_exponent(f, v);
        element_set(&u, shape->bytes, n, v);
    }
    return sse_value(&u);
}

/* All elements of d and s that do not feed result `lane` become 1.0, which
 * raises nothing in any instruction that comes here. */
static void isolate(const struct sse_shape *shape, unsigned lane, __m128i *d,
                    __m128i *s)
{
    const struct format *f = format_of(shape->bytes);
    uint64_t one = f->bias << f->fraction_bits;
    union xmm ud = sse_union(*d), us = sse_union(*s);
    unsigned count = 16u / shape->bytes;
    for (unsigned n = 0; n < count; n++) {
        bool in_d = n == lane, in_s = n == lane;
        if (shape->kind == SSE_HORIZONTAL) {
            in_d = n / 2 == lane;
            in_s = (n + count) / 2 == lane;
        }
        if (!in_d)
            element_set(&ud, shape->bytes, n, one);
        if (!in_s)
            element_set(&us, shape->bytes, n, one);
    }
    *d = sse_value(&ud);
    *s = sse_value(&us);
}

/* OE, UE and PE of one lane, given which of OE and UE are unmasked. */
static uint32_t lane_flags(sse_op *op, __m128i d, __m128i s,
                           const struct sse_shape *shape, unsigned lane,
                           uint32_t controls, uint32_t unmasked)
{
    __m128i result;
    isolate(shape, lane, &d, &s);
    uint32_t flags = run_masked(op, d, s, controls, &result);
    union xmm u = sse_union(result);
    unsigned bytes = shape->kind == SSE_NARROW ? 4 : shape->bytes;
    if (is_denormal(&u, bytes, lane))
        flags |= MXCSR_UE & unmasked;
    uint32_t raised = flags & unmasked & (MXCSR_OE | MXCSR_UE);
    if (!raised)
        return flags & (MXCSR_OE | MXCSR_UE | MXCSR_PE);
    /* A sum that underflows is exact. */
    bool is_sum = shape->kind == SSE_ADD || shape->kind == SSE_HORIZONTAL;
    if (is_sum && raised == MXCSR_UE)
        return raised;
    flags = run_masked(op, scale_all(d, shape), scale_all(s, shape), controls,
                       &result);
    return raised | (flags & MXCSR_PE);
}

enum exc sse_fp_trapping(struct cpu *c, sse_op *op, __m128i d, __m128i s,
                         const struct sse_shape *shape, __m128i *out)
{
    uint32_t guest = c->mxcsr & MXCSR_ALL;
    uint32_t unmasked = ~guest >> 7 & MXCSR_FLAGS;
    uint32_t controls = guest & (MXCSR_RC | MXCSR_DAZ);
    /* FTZ is the masked response to underflow (vol. 1 10.2.3.3). */
    if (guest & MXCSR_UM)
        controls |= guest & MXCSR_FTZ;
    __m128i result;
    uint32_t flags = run_masked(op, d, s, controls, &result);
    if (flags & unmasked & MXCSR_PRE) {
        flags &= MXCSR_PRE;
    } else if (shape->kind != SSE_PLAIN && (unmasked & (MXCSR_OE | MXCSR_UE))) {
        flags &= MXCSR_PRE;
        for (unsigned lane = 0; lane < shape->lanes; lane++)
            flags |= lane_flags(op, d, s, shape, lane, controls, unmasked);
    }
    c->mxcsr = guest | flags;
    if (flags & unmasked)
        return cpu_fault(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD, 0);
    *out = result;
    return EXC_NONE;
}
