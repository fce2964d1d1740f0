/* The x87 transcendental functions in integer arithmetic, so that every host
 * gives the same bits: 128-bit significands, series, and one rounding at the
 * end, in wide_round(). The error before it is below 2^-55 ulp of the result.
 *
 * Trigonometric arguments are reduced by the 66-bit pi that Intel's CPUs use
 * (SDM vol. 1 8.3.8): results agree with theirs, not with a mathematician's. */
#include "cpu/x87_internal.h"

typedef unsigned __int128 u128;
#define U128(high, low) ((u128)(high) << 64 | (low))

/* 1/n! * 2^126 */
static const u128 inverse_factorial[] = {
    U128(0x4000000000000000, 0x0000000000000000),
    U128(0x4000000000000000, 0x0000000000000000),
    U128(0x2000000000000000, 0x0000000000000000),
    U128(0x0aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab),
    U128(0x02aaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab),
    U128(0x0088888888888888, 0x8888888888888889),
    U128(0x0016c16c16c16c16, 0xc16c16c16c16c16c),
    U128(0x0003403403403403, 0x4034034034034034),
    U128(0x0000680680680680, 0x6806806806806807),
    U128(0x00000b8ef1d2ab63, 0x99c7d560e4472801),
    U128(0x00000127e4fb7789, 0xf5c72ef016d3ea66),
    U128(0x0000001ae64567f5, 0x44e38fe747e4b838),
    U128(0x000000023ddb1dff, 0x1b12f6a89b530f5a),
    U128(0x000000002c248c27, 0x50da12f9470663a4),
    U128(0x0000000003272e95, 0x180f93a4175be28c),
    U128(0x000000000035cfe7, 0xce67703e23b0cad6),
    U128(0x0000000000035cfe, 0x7ce67703e23b0cad),
    U128(0x00000000000032a5, 0x8ee0615a94d64c0a),
    U128(0x00000000000002d0, 0x4f0c772fb2ef7601),
    U128(0x0000000000000025, 0xe9368d0282ae4994),
    U128(0x0000000000000001, 0xe542ba402022507b),
    U128(0x0000000000000000, 0x171b8ef6dcf5718c),
    U128(0x0000000000000000, 0x010ce396db7f8529),
    U128(0x0000000000000000, 0x000bb0da098b1c0d),
    U128(0x0000000000000000, 0x00007cb3c065cbd6),
    U128(0x0000000000000000, 0x000004fcf3374598),
    U128(0x0000000000000000, 0x000000311d0bf8d5),
    U128(0x0000000000000000, 0x00000001d1ab1c2e),
    U128(0x0000000000000000, 0x0000000010a18a26),
    U128(0x0000000000000000, 0x000000000092cfcc),
    U128(0x0000000000000000, 0x000000000004e4cb),
    U128(0x0000000000000000, 0x000000000000286a),
    U128(0x0000000000000000, 0x0000000000000143),
    U128(0x0000000000000000, 0x000000000000000a),
    U128(0x0000000000000000, 0x0000000000000000),
    U128(0x0000000000000000, 0x0000000000000000),
};

/* 1/(2n+1) * 2^126 */
static const u128 inverse_odd[] = {
    U128(0x4000000000000000, 0x0000000000000000),
    U128(0x1555555555555555, 0x5555555555555555),
    U128(0x0ccccccccccccccc, 0xcccccccccccccccd),
    U128(0x0924924924924924, 0x9249249249249249),
    U128(0x071c71c71c71c71c, 0x71c71c71c71c71c7),
    U128(0x05d1745d1745d174, 0x5d1745d1745d1746),
    U128(0x04ec4ec4ec4ec4ec, 0x4ec4ec4ec4ec4ec5),
    U128(0x0444444444444444, 0x4444444444444444),
    U128(0x03c3c3c3c3c3c3c3, 0xc3c3c3c3c3c3c3c4),
    U128(0x035e50d79435e50d, 0x79435e50d79435e5),
    U128(0x030c30c30c30c30c, 0x30c30c30c30c30c3),
    U128(0x02c8590b21642c85, 0x90b21642c8590b21),
    U128(0x028f5c28f5c28f5c, 0x28f5c28f5c28f5c3),
    U128(0x025ed097b425ed09, 0x7b425ed097b425ed),
    U128(0x0234f72c234f72c2, 0x34f72c234f72c235),
    U128(0x0210842108421084, 0x2108421084210842),
    U128(0x01f07c1f07c1f07c, 0x1f07c1f07c1f07c2),
    U128(0x01d41d41d41d41d4, 0x1d41d41d41d41d42),
    U128(0x01bacf914c1bacf9, 0x14c1bacf914c1bad),
    U128(0x01a41a41a41a41a4, 0x1a41a41a41a41a42),
    U128(0x018f9c18f9c18f9c, 0x18f9c18f9c18f9c2),
    U128(0x017d05f417d05f41, 0x7d05f417d05f417d),
    U128(0x016c16c16c16c16c, 0x16c16c16c16c16c1),
    U128(0x015c9882b9310572, 0x620ae4c415c9882c),
    U128(0x014e5e0a72f05397, 0x829cbc14e5e0a72f),
    U128(0x0141414141414141, 0x4141414141414141),
    U128(0x013521cfb2b78c13, 0x521cfb2b78c13522),
    U128(0x0129e4129e4129e4, 0x129e4129e4129e41),
};

/* atan(n/16) * 2^127 */
static const u128 arctangent[] = {
    U128(0x0000000000000000, 0x0000000000000000),
    U128(0x07fd56edcb3f7a71, 0xb6593c96e071706b),
    U128(0x0feadd4d5617b6e3, 0x2c897989f3e888ef),
    U128(0x17b97b4bce5b0226, 0x8f6169f103938e91),
    U128(0x1f5b75f92c80dd62, 0xadb8f3debef442fd),
    U128(0x26c4ee6e0fd7979a, 0x716aed26349ebcca),
    U128(0x2dec3283c9bde11c, 0xe2a8c848b73f9121),
    U128(0x34c9dd879847f96d, 0x909f257a40079c4e),
    U128(0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea341),
    U128(0x4195fa536cc33f15, 0x25b504e5b0d28ae0),
    U128(0x47802eaf7bfacfcd, 0xae41af0b32e21ba4),
    U128(0x4d17c07338deed10, 0x21137c711027f9de),
    U128(0x525e3e8c9a7b8492, 0x0cd43f9522bed64f),
    U128(0x5756261c5a6c6040, 0x0a392f179f290385),
    U128(0x5c029f15e118cf39, 0xe596d2a90852221f),
    U128(0x606742dc56293320, 0x44eeb16237497d12),
    U128(0x6487ed5110b4611a, 0x62633145c06e0e69),
};

/* pi/4 * 2^128, 2/ln 2 * 2^126, ln 2 * 2^128 */
#define QUARTER_PI U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1)
#define TWO_BY_LN2 U128(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89)
#define LN2        U128(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af)

/* ---- 128-bit significands --------------------------------------------- */

static const struct wide wide_one = {(u128)1 << 127, 0, false};
static const struct wide wide_two = {(u128)1 << 127, 1, false};

static unsigned leading_zeros(u128 v)
{
    uint64_t high = (uint64_t)(v >> 64);

    return high ? (unsigned)__builtin_clzll(high)
                : 64 + (unsigned)__builtin_clzll((uint64_t)v);
}

/* m * 2^(e - 127), m not yet normalised. */
static struct wide wide_make(u128 m, int e, bool is_negative)
{
    if (!m)
        return (struct wide){0, 0, is_negative};
    unsigned shift = leading_zeros(m);
    return (struct wide){m << shift, e - (int)shift, is_negative};
}

/* The upper half of a 256-bit product; the lower half in *low. */
static u128 multiply(u128 a, u128 b, u128 *low)
{
    uint64_t a1 = (uint64_t)(a >> 64), a0 = (uint64_t)a;
    uint64_t b1 = (uint64_t)(b >> 64), b0 = (uint64_t)b;
    u128 middle = (u128)a1 * b0 + (uint64_t)(((u128)a0 * b0) >> 64);
    u128 other = (u128)a0 * b1 + (uint64_t)middle;

    *low = other << 64 | (uint64_t)((u128)a0 * b0);
    return (u128)a1 * b1 + (middle >> 64) + (other >> 64);
}

static struct wide wide_mul(struct wide a, struct wide b)
{
    u128 low, high = multiply(a.m, b.m, &low);

    if (!high)
        return (struct wide){0, 0, a.is_negative != b.is_negative};
    if (!(high >> 127)) {
        high = high << 1 | low >> 127;
        return (struct wide){high, a.e + b.e, a.is_negative != b.is_negative};
    }
    return (struct wide){high, a.e + b.e + 1, a.is_negative != b.is_negative};
}

/* Truncated; exact when the bits that leave are 0. */
static struct wide wide_add(struct wide a, struct wide b)
{
    if (!a.m)
        return b;
    if (!b.m)
        return a;
    if (a.e < b.e || (a.e == b.e && a.m < b.m)) {
        struct wide t = a;
        a = b;
        b = t;
    }
    int shift = a.e - b.e;
    u128 addend = shift < 128 ? b.m >> shift : 0;
    if (a.is_negative != b.is_negative)
        return wide_make(a.m - addend, a.e, a.is_negative);
    u128 sum = a.m + addend;
    if (sum < a.m)
        return (struct wide){sum >> 1 | (u128)1 << 127, a.e + 1,
                             a.is_negative};
    return (struct wide){sum, a.e, a.is_negative};
}

/* b is not 0. */
struct wide wide_div(struct wide a, struct wide b)
{
    u128 rest = a.m, quotient = 0;
    int e = a.e - b.e;
    bool carry = false;

    if (!a.m)
        return a;
    if (rest < b.m) {
        carry = rest >> 127;
        rest <<= 1;
        e--;
    }
    for (unsigned n = 0; n < 128; n++) {
        quotient <<= 1;
        if (carry || rest >= b.m) {
            rest -= b.m;
            quotient |= 1;
        }
        carry = rest >> 127;
        rest <<= 1;
    }
    return (struct wide){quotient, e, a.is_negative != b.is_negative};
}

static struct wide wide_from_int(int64_t v)
{
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    return wide_make(magnitude, 127, v < 0);
}

struct wide wide_quarter_pi(unsigned n)
{
    struct wide quarter = {QUARTER_PI, -1, false};

    return wide_mul(quarter, wide_from_int(n));
}

/* ---- fixed point: value * 2^126 --------------------------------------- */

#define FIXED_ONE ((u128)1 << 126)

/* |v| < 2 */
static u128 fixed_from_wide(struct wide v)
{
    int shift = 1 - v.e;

    return shift < 128 ? v.m >> shift : 0;
}

static struct wide wide_from_fixed(u128 v)
{
    return wide_make(v, 1, false);
}

static u128 fixed_mul(u128 a, u128 b)
{
    u128 low, high = multiply(a, b, &low);

    return high << 2 | low >> 126;
}

/* table[first] - t table[first + step] + t^2 table[first + 2 step] - ... */
static u128 alternating_series(const u128 *table, unsigned first,
                               unsigned step, unsigned last, u128 t)
{
    unsigned n = first + (last - first) / step * step;
    u128 sum = table[n];

    while (n > first) {
        n -= step;
        sum = table[n] - fixed_mul(t, sum);
    }
    return sum;
}

static u128 series(const u128 *table, unsigned first, unsigned last, u128 t)
{
    u128 sum = table[last];

    for (unsigned n = last; n-- > first;)
        sum = table[n] + fixed_mul(t, sum);
    return sum;
}

/* 1 - v, but never 1: the true v is positive however small. */
static struct wide one_less(u128 v)
{
    return wide_from_fixed(FIXED_ONE - (v ? v : 1));
}

/* ---- sine, cosine ----------------------------------------------------- */

struct reduced {
    struct wide rest; /* |rest| <= pi/4 */
    unsigned quadrant;
};

/* |x| modulo pi/2 to nearest. P is pi/2 in units of 2^-67. */
static struct reduced reduce(struct f80 x)
{
    const u128 p = U128(0xc, 0x90fdaa22168c234c);
    struct wide w = wide_from_f80(x);
    int units = w.e - 63 + 67; /* x = significand * 2^units in units of 2^-67 */
    unsigned quadrant = 0;

    w.is_negative = false;
    if (units < 3)
        return (struct reduced){w, 0};
    u128 rest = w.m >> 64;
    while (units > 0) {
        int shift = units > 24 ? 24 : units;
        rest <<= shift;
        quadrant = (quadrant << shift) + (unsigned)(rest / p);
        rest %= p;
        units -= shift;
    }
    bool is_past_half = rest > p / 2;
    if (is_past_half) {
        rest = p - rest;
        quadrant++;
    }
    return (struct reduced){wide_make(rest, 127 - 67, is_past_half),
                            quadrant & 3};
}

struct wide_sincos wide_sine_cosine(struct f80 x)
{
    struct reduced r = reduce(x);
    struct wide_sincos out = {wide_one, wide_one};
    struct wide sine = r.rest, cosine = wide_one;

    if (r.rest.m) {
        u128 v = fixed_from_wide(r.rest);
        u128 t = fixed_mul(v, v);
        sine = wide_mul(r.rest, one_less(fixed_mul(
                                    t, alternating_series(inverse_factorial, 3,
                                                          2, 35, t))));
        cosine = one_less(fixed_mul(
            t, alternating_series(inverse_factorial, 2, 2, 34, t)));
    }
    out.sin = r.quadrant & 1 ? cosine : sine;
    out.cos = r.quadrant & 1 ? sine : cosine;
    out.sin.is_negative ^= (r.quadrant & 2) != 0;
    out.cos.is_negative ^= r.quadrant == 1 || r.quadrant == 2;
    out.sin.is_negative ^= f80_sign(x);
    return out;
}

/* ---- 2^x - 1 ---------------------------------------------------------- */

struct wide wide_exp2m1(struct f80 x)
{
    struct wide y = wide_mul(wide_from_f80(x), (struct wide){LN2, -1, false});
    bool is_negative = y.is_negative;

    y.is_negative = false;
    struct wide r = wide_mul(
        y, wide_from_fixed(
               series(inverse_factorial, 1, 35, fixed_from_wide(y))));
    if (is_negative) { /* 2^-x - 1 = -(2^x - 1) / 2^x */
        r = wide_div(r, wide_add(r, wide_one));
        r.is_negative = true;
    }
    return r;
}

/* ---- arctangent ------------------------------------------------------- */

/* 0 < z <= 1: atan z = atan c + atan((z - c) / (1 + z c)), c = n/16 near z. */
static struct wide arctangent_of(struct wide z)
{
    unsigned n = (unsigned)((fixed_from_wide(z) + (FIXED_ONE >> 5)) >> 122);
    struct wide w = z, base = {0, 0, false};

    if (n) {
        struct wide c = wide_make(n, 127 - 4, true);
        w = wide_add(z, c);
        c.is_negative = false;
        w = wide_div(w, wide_add(wide_one, wide_mul(z, c)));
        base = wide_make(arctangent[n], 0, false);
    }
    if (w.m) {
        u128 v = fixed_from_wide(w);
        u128 t = fixed_mul(v, v);
        w = wide_mul(w, one_less(fixed_mul(
                            t, alternating_series(inverse_odd, 1, 1, 14, t))));
    }
    return wide_add(base, w);
}

struct wide wide_atan2(struct f80 y, struct f80 x)
{
    struct wide wy = wide_from_f80(y), wx = wide_from_f80(x);
    bool is_steep;
    struct wide r;

    wy.is_negative = wx.is_negative = false;
    is_steep = wy.e > wx.e || (wy.e == wx.e && wy.m > wx.m);
    r = arctangent_of(is_steep ? wide_div(wx, wy) : wide_div(wy, wx));
    if (is_steep != f80_sign(x))
        r.is_negative = true;
    if (is_steep)
        r = wide_add(wide_quarter_pi(2), r);
    else if (f80_sign(x))
        r = wide_add(wide_quarter_pi(4), r);
    r.is_negative = f80_sign(y);
    return r;
}

/* ---- logarithm -------------------------------------------------------- */

/* log2((1 + s) / (1 - s)) = 2/ln 2 atanh s, |s| < 0.172 */
static struct wide log2_of_ratio(struct wide s)
{
    u128 v = fixed_from_wide(s);

    return wide_mul(
        wide_mul(s, (struct wide){TWO_BY_LN2, 1, false}),
        wide_from_fixed(series(inverse_odd, 0, 27, fixed_mul(v, v))));
}

/* x > 0. Exact for powers of two. */
static struct wide wide_log2(struct wide x, bool *is_exact)
{
    const u128 root_two = U128(0xb504f333f9de6484, 0);
    struct wide minus_one = wide_one, f = {x.m, 0, false};
    int e = x.e;

    minus_one.is_negative = true;
    if (f.m > root_two) {
        f.e = -1;
        e++;
    }
    struct wide top = wide_add(f, minus_one);
    *is_exact = !top.m;
    if (!top.m)
        return wide_from_int(e);
    struct wide s = wide_div(top, wide_add(f, wide_one));
    return wide_add(wide_from_int(e), log2_of_ratio(s));
}

struct wide wide_ylog2(struct f80 y, struct wide x, bool *is_exact)
{
    return wide_mul(wide_from_f80(y), wide_log2(x, is_exact));
}

struct wide wide_ylog2p1(struct f80 y, struct f80 x)
{
    struct wide w = wide_from_f80(x), r;
    bool is_exact;

    if (w.e <= -3) /* |x| < 1/4 */
        r = log2_of_ratio(wide_div(w, wide_add(wide_two, w)));
    else
        r = wide_log2(wide_add(w, wide_one), &is_exact);
    return wide_mul(wide_from_f80(y), r);
}
