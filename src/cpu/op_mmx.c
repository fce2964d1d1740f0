/* MMX instructions and the MMX forms of SSE, SSE2 and SSSE3 (SDM vol. 1 ch. 9,
 * vol. 2). Every one leaves TOP 0 and all registers valid; a written register
 * gets exponent FFFFh (SDM vol. 1 9.6.2). */
#include "cpu/mmx_internal.h"

union lanes {
    uint64_t u64;
    uint32_t u32[2];
    uint16_t u16[4];
    uint8_t u8[8];
    int32_t s32[2];
    int16_t s16[4];
    int8_t s8[8];
};

/* The second operand: a register, or `bytes` of memory, zero-extended. */
static enum exc mmx_source(struct cpu *c, const struct insn *i,
                           unsigned bytes, uint64_t *value)
{
    *value = 0;
    if (i->form == FORM_RM)
        return insn_read(c, i, value, bytes);
    *value = mmx_get(c, i->src);
    return EXC_NONE;
}

/* mm = f(mm, mm/m64) */
typedef uint64_t mmx_binary_fn(uint64_t a, uint64_t b);

static enum exc mmx_binary(struct cpu *c, const struct insn *i,
                           unsigned bytes, mmx_binary_fn *f)
{
    uint64_t b;

    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    e = mmx_source(c, i, bytes, &b);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, f(mmx_get(c, i->dst), b));
    return EXC_NONE;
}

/* BINARY: the low half of each instruction is a function of two 64-bit values.
 * LANES: one expression for each lane k of `type`, from a and b into r. */
#define HANDLER(name, bytes)                                                   \
    enum exc op_mmx_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return mmx_binary(c, i, bytes, value_##name);                          \
    }
#define BINARY(name, expression)                                               \
    static uint64_t value_##name(uint64_t a, uint64_t b)                       \
    {                                                                          \
        return (expression);                                                   \
    }                                                                          \
    HANDLER(name, 8)
#define LANES(name, lane, count, expression)                                   \
    static uint64_t value_##name(uint64_t a64, uint64_t b64)                   \
    {                                                                          \
        const union lanes a = {.u64 = a64}, b = {.u64 = b64};                  \
        union lanes r = {.u64 = 0};                                            \
        for (unsigned k = 0; k < (count); k++)                                 \
            r.lane[k] = (__typeof__(r.lane[0]))(expression);                   \
        return r.u64;                                                          \
    }                                                                          \
    HANDLER(name, 8)

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}
static int sat_s8(int v)
{
    return clamp(v, -128, 127);
}
static int sat_u8(int v)
{
    return clamp(v, 0, 255);
}
static int sat_s16(int v)
{
    return clamp(v, -32768, 32767);
}
static int sat_u16(int v)
{
    return clamp(v, 0, 65535);
}

/* ---- logic, add, subtract, compare ------------------------------------ */

BINARY(pand, a & b)
BINARY(pandn, ~a & b)
BINARY(por, a | b)
BINARY(pxor, a ^ b)
BINARY(paddq, a + b)
BINARY(psubq, a - b)
BINARY(pmuludq, (a & 0xffffffff) * (b & 0xffffffff))
LANES(paddb, u8, 8, a.u8[k] + b.u8[k])
LANES(paddw, u16, 4, a.u16[k] + b.u16[k])
LANES(paddd, u32, 2, a.u32[k] + b.u32[k])
LANES(psubb, u8, 8, a.u8[k] - b.u8[k])
LANES(psubw, u16, 4, a.u16[k] - b.u16[k])
LANES(psubd, u32, 2, a.u32[k] - b.u32[k])
LANES(paddsb, s8, 8, sat_s8(a.s8[k] + b.s8[k]))
LANES(paddsw, s16, 4, sat_s16(a.s16[k] + b.s16[k]))
LANES(paddusb, u8, 8, sat_u8(a.u8[k] + b.u8[k]))
LANES(paddusw, u16, 4, sat_u16(a.u16[k] + b.u16[k]))
LANES(psubsb, s8, 8, sat_s8(a.s8[k] - b.s8[k]))
LANES(psubsw, s16, 4, sat_s16(a.s16[k] - b.s16[k]))
LANES(psubusb, u8, 8, sat_u8(a.u8[k] - b.u8[k]))
LANES(psubusw, u16, 4, sat_u16(a.u16[k] - b.u16[k]))
LANES(pcmpeqb, u8, 8, a.u8[k] == b.u8[k] ? 0xff : 0)
LANES(pcmpeqw, u16, 4, a.u16[k] == b.u16[k] ? 0xffff : 0)
LANES(pcmpeqd, u32, 2, a.u32[k] == b.u32[k] ? UINT32_MAX : 0)
LANES(pcmpgtb, u8, 8, a.s8[k] > b.s8[k] ? 0xff : 0)
LANES(pcmpgtw, u16, 4, a.s16[k] > b.s16[k] ? 0xffff : 0)
LANES(pcmpgtd, u32, 2, a.s32[k] > b.s32[k] ? UINT32_MAX : 0)
LANES(pavgb, u8, 8, (a.u8[k] + b.u8[k] + 1) >> 1)
LANES(pavgw, u16, 4, (a.u16[k] + b.u16[k] + 1) >> 1)
LANES(pmaxub, u8, 8, a.u8[k] > b.u8[k] ? a.u8[k] : b.u8[k])
LANES(pminub, u8, 8, a.u8[k] < b.u8[k] ? a.u8[k] : b.u8[k])
LANES(pmaxsw, s16, 4, a.s16[k] > b.s16[k] ? a.s16[k] : b.s16[k])
LANES(pminsw, s16, 4, a.s16[k] < b.s16[k] ? a.s16[k] : b.s16[k])

/* ---- multiply --------------------------------------------------------- */

LANES(pmullw, s16, 4, a.s16[k] * b.s16[k])
LANES(pmulhw, s16, 4, (a.s16[k] * b.s16[k]) >> 16)
LANES(pmulhuw, u16, 4, ((uint32_t)a.u16[k] * b.u16[k]) >> 16)
LANES(pmulhrsw, s16, 4, (((a.s16[k] * b.s16[k]) >> 14) + 1) >> 1)
LANES(pmaddwd, u32, 2,
      (uint32_t)(a.s16[2 * k] * b.s16[2 * k]) +
          (uint32_t)(a.s16[2 * k + 1] * b.s16[2 * k + 1]))
LANES(pmaddubsw, s16, 4,
      sat_s16(a.u8[2 * k] * b.s8[2 * k] + a.u8[2 * k + 1] * b.s8[2 * k + 1]))

static unsigned distance(uint8_t a, uint8_t b)
{
    return a > b ? (unsigned)(a - b) : (unsigned)(b - a);
}

static uint64_t value_psadbw(uint64_t a64, uint64_t b64)
{
    const union lanes a = {.u64 = a64}, b = {.u64 = b64};
    uint64_t sum = 0;

    for (unsigned k = 0; k < 8; k++)
        sum += distance(a.u8[k], b.u8[k]);
    return sum;
}
HANDLER(psadbw, 8)

/* ---- SSSE3 sums and signs --------------------------------------------- */

/* Word or doubleword k of b:a. */
static int pair_s16(const union lanes *a, const union lanes *b, unsigned k)
{
    return k < 4 ? a->s16[k] : b->s16[k - 4];
}
static uint32_t pair_u32(const union lanes *a, const union lanes *b,
                         unsigned k)
{
    return k < 2 ? a->u32[k] : b->u32[k - 2];
}

LANES(phaddw, s16, 4, pair_s16(&a, &b, 2 * k) + pair_s16(&a, &b, 2 * k + 1))
LANES(phsubw, s16, 4, pair_s16(&a, &b, 2 * k) - pair_s16(&a, &b, 2 * k + 1))
LANES(phaddsw, s16, 4,
      sat_s16(pair_s16(&a, &b, 2 * k) + pair_s16(&a, &b, 2 * k + 1)))
LANES(phsubsw, s16, 4,
      sat_s16(pair_s16(&a, &b, 2 * k) - pair_s16(&a, &b, 2 * k + 1)))
LANES(phaddd, u32, 2, pair_u32(&a, &b, 2 * k) + pair_u32(&a, &b, 2 * k + 1))
LANES(phsubd, u32, 2, pair_u32(&a, &b, 2 * k) - pair_u32(&a, &b, 2 * k + 1))

#define SIGNED_BY(b, a) ((b) < 0 ? 0 - (a) : (b) > 0 ? (a) : 0)
LANES(psignb, s8, 8, SIGNED_BY(b.s8[k], a.s8[k]))
LANES(psignw, s16, 4, SIGNED_BY(b.s16[k], a.s16[k]))
LANES(psignd, u32, 2, SIGNED_BY(b.s32[k], a.u32[k]))

/* Of the second operand alone: the first is overwritten. */
#define LANES_OF_B(name, lane, count, expression)                              \
    static uint64_t value_##name(uint64_t a64, uint64_t b64)                   \
    {                                                                          \
        const union lanes b = {.u64 = b64};                                    \
        union lanes r = {.u64 = 0};                                            \
        (void)a64;                                                             \
        for (unsigned k = 0; k < (count); k++)                                 \
            r.lane[k] = (__typeof__(r.lane[0]))(expression);                   \
        return r.u64;                                                          \
    }                                                                          \
    HANDLER(name, 8)
LANES_OF_B(pabsb, u8, 8, b.s8[k] < 0 ? -b.s8[k] : b.s8[k])
LANES_OF_B(pabsw, u16, 4, b.s16[k] < 0 ? -b.s16[k] : b.s16[k])
LANES_OF_B(pabsd, u32, 2, b.s32[k] < 0 ? 0 - b.u32[k] : b.u32[k])

/* ---- pack, unpack, shuffle -------------------------------------------- */

LANES(packsswb, s8, 8, sat_s8(pair_s16(&a, &b, k)))
LANES(packuswb, u8, 8, sat_u8(pair_s16(&a, &b, k)))
LANES(packssdw, s16, 4, sat_s16((int32_t)pair_u32(&a, &b, k)))
LANES(punpckhbw, u8, 8, k & 1 ? b.u8[4 + k / 2] : a.u8[4 + k / 2])
LANES(punpckhwd, u16, 4, k & 1 ? b.u16[2 + k / 2] : a.u16[2 + k / 2])
LANES(punpckhdq, u32, 2, k & 1 ? b.u32[1] : a.u32[1])
LANES(pshufb, u8, 8, b.u8[k] & 0x80 ? 0 : a.u8[b.u8[k] & 7])

/* The low unpacks read 32 bits of memory. */
#define LANES_LOW(name, lane, count, expression)                               \
    static uint64_t value_##name(uint64_t a64, uint64_t b64)                   \
    {                                                                          \
        const union lanes a = {.u64 = a64}, b = {.u64 = b64};                  \
        union lanes r = {.u64 = 0};                                            \
        for (unsigned k = 0; k < (count); k++)                                 \
            r.lane[k] = (expression);                                          \
        return r.u64;                                                          \
    }                                                                          \
    HANDLER(name, 4)
LANES_LOW(punpcklbw, u8, 8, k & 1 ? b.u8[k / 2] : a.u8[k / 2])
LANES_LOW(punpcklwd, u16, 4, k & 1 ? b.u16[k / 2] : a.u16[k / 2])
LANES_LOW(punpckldq, u32, 2, k & 1 ? b.u32[0] : a.u32[0])

/* mm, mm/m64, imm8: src is combined with the old destination. */
static enum exc mmx_with_imm(struct cpu *c, const struct insn *i,
                             uint64_t (*f)(uint64_t a, uint64_t b, uint8_t n))
{
    uint64_t b;

    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    e = mmx_source(c, i, 8, &b);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, f(mmx_get(c, i->dst), b, (uint8_t)i->imm));
    return EXC_NONE;
}

static uint64_t value_pshufw(uint64_t a, uint64_t b, uint8_t n)
{
    uint64_t r = 0;

    (void)a;
    for (unsigned k = 0; k < 4; k++)
        r |= (b >> (n >> 2 * k & 3) * 16 & 0xffff) << 16 * k;
    return r;
}
enum exc op_pshufw(struct cpu *c, const struct insn *i)
{
    return mmx_with_imm(c, i, value_pshufw);
}

static uint64_t value_palignr(uint64_t a, uint64_t b, uint8_t n)
{
    unsigned __int128 both = (unsigned __int128)a << 64 | b;

    return n < 16 ? (uint64_t)(both >> 8 * n) : 0;
}
enum exc op_mmx_palignr(struct cpu *c, const struct insn *i)
{
    return mmx_with_imm(c, i, value_palignr);
}

/* ---- shifts ----------------------------------------------------------- */

/* The count is mm/m64 or imm8; beyond the lane it gives 0 or the sign. */
static enum exc mmx_shift(struct cpu *c, const struct insn *i,
                          mmx_binary_fn *f)
{
    if (i->form != FORM_RI)
        return mmx_binary(c, i, 8, f);
    enum exc e = x87_enter_mmx(c);
    if (e)
        return e;
    mmx_touch(c);
    mmx_set(c, i->dst, f(mmx_get(c, i->dst), (uint8_t)i->imm));
    return EXC_NONE;
}

#define SHIFT(name, lane, count, expression)                                   \
    static uint64_t value_##name(uint64_t a64, uint64_t n)                     \
    {                                                                          \
        const union lanes a = {.u64 = a64};                                    \
        union lanes r = {.u64 = 0};                                            \
        for (unsigned k = 0; k < (count); k++)                                 \
            r.lane[k] = (__typeof__(r.lane[0]))(expression);                   \
        return r.u64;                                                          \
    }                                                                          \
    enum exc op_mmx_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return mmx_shift(c, i, value_##name);                                  \
    }
SHIFT(psllw, u16, 4, n < 16 ? (uint32_t)a.u16[k] << n : 0)
SHIFT(pslld, u32, 2, n < 32 ? a.u32[k] << n : 0)
SHIFT(psrlw, u16, 4, n < 16 ? a.u16[k] >> n : 0)
SHIFT(psrld, u32, 2, n < 32 ? a.u32[k] >> n : 0)
SHIFT(psraw, s16, 4, a.s16[k] >> (n < 16 ? n : 15))
SHIFT(psrad, s32, 2, a.s32[k] >> (n < 32 ? n : 31))

static uint64_t value_psllq(uint64_t a, uint64_t n)
{
    return n < 64 ? a << n : 0;
}
enum exc op_mmx_psllq(struct cpu *c, const struct insn *i)
{
    return mmx_shift(c, i, value_psllq);
}
static uint64_t value_psrlq(uint64_t a, uint64_t n)
{
    return n < 64 ? a >> n : 0;
}
enum exc op_mmx_psrlq(struct cpu *c, const struct insn *i)
{
    return mmx_shift(c, i, value_psrlq);
}
