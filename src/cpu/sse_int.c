/* Packed integers, logic, shuffles and blends. */
#include "cpu/sse_internal.h"

#define PACKED(name) SSE_INTEGER(name, 16)

/* SSE, SSE2: logic */
PACKED(andps)
PACKED(andpd)
PACKED(andnps)
PACKED(andnpd)
PACKED(orps)
PACKED(orpd)
PACKED(xorps)
PACKED(xorpd)
PACKED(pand)
PACKED(pandn)
PACKED(por)
PACKED(pxor)

/* SSE, SSE2: unpack and pack */
PACKED(unpcklps)
PACKED(unpckhps)
PACKED(unpcklpd)
PACKED(unpckhpd)
PACKED(punpcklbw)
PACKED(punpcklwd)
PACKED(punpckldq)
PACKED(punpcklqdq)
PACKED(punpckhbw)
PACKED(punpckhwd)
PACKED(punpckhdq)
PACKED(punpckhqdq)
PACKED(packsswb)
PACKED(packssdw)
PACKED(packuswb)

/* SSE2: arithmetic and comparison */
PACKED(paddb)
PACKED(paddw)
PACKED(paddd)
PACKED(paddq)
PACKED(paddsb)
PACKED(paddsw)
PACKED(paddusb)
PACKED(paddusw)
PACKED(psubb)
PACKED(psubw)
PACKED(psubd)
PACKED(psubq)
PACKED(psubsb)
PACKED(psubsw)
PACKED(psubusb)
PACKED(psubusw)
PACKED(pavgb)
PACKED(pavgw)
PACKED(pcmpeqb)
PACKED(pcmpeqw)
PACKED(pcmpeqd)
PACKED(pcmpgtb)
PACKED(pcmpgtw)
PACKED(pcmpgtd)
PACKED(pmaddwd)
PACKED(pmaxsw)
PACKED(pmaxub)
PACKED(pminsw)
PACKED(pminub)
PACKED(pmulhuw)
PACKED(pmulhw)
PACKED(pmullw)
PACKED(pmuludq)
PACKED(psadbw)

/* SSSE3 */
PACKED(pshufb)
PACKED(phaddw)
PACKED(phaddd)
PACKED(phaddsw)
PACKED(phsubw)
PACKED(phsubd)
PACKED(phsubsw)
PACKED(pmaddubsw)
PACKED(pmulhrsw)
PACKED(psignb)
PACKED(psignw)
PACKED(psignd)
PACKED(pabsb)
PACKED(pabsw)
PACKED(pabsd)

/* SSE4.1, SSE4.2 */
PACKED(packusdw)
PACKED(pcmpeqq)
PACKED(pcmpgtq)
PACKED(phminposuw)
PACKED(pmaxsb)
PACKED(pmaxsd)
PACKED(pmaxud)
PACKED(pmaxuw)
PACKED(pminsb)
PACKED(pminsd)
PACKED(pminud)
PACKED(pminuw)
PACKED(pmuldq)
PACKED(pmulld)
SSE_INTEGER(pmovsxbw, 8)
SSE_INTEGER(pmovsxbd, 4)
SSE_INTEGER(pmovsxbq, 2)
SSE_INTEGER(pmovsxwd, 8)
SSE_INTEGER(pmovsxwq, 4)
SSE_INTEGER(pmovsxdq, 8)
SSE_INTEGER(pmovzxbw, 8)
SSE_INTEGER(pmovzxbd, 4)
SSE_INTEGER(pmovzxbq, 2)
SSE_INTEGER(pmovzxwd, 8)
SSE_INTEGER(pmovzxwq, 4)
SSE_INTEGER(pmovzxdq, 8)

/* ---- shifts: the count is an immediate or the low half of the source -------
 */

SSE_INLINE enum exc shift(struct cpu *c, const struct insn *i, sse_op *op)
{
    __m128i s;
    if (i->form != FORM_RI)
        return sse_integer(c, i, 16, op);
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    s = _mm_cvtsi32_si128((int)(i->imm & 0xff));
    sse_set(c, i->dst, op(sse_get(c, i->dst), s));
    return EXC_NONE;
}

#define SHIFT(name)                                                            \
    SSE_DO(name)                                                               \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return shift(c, i, do_##name);                                         \
    }
SHIFT(psllw)
SHIFT(pslld)
SHIFT(psllq)
SHIFT(psrlw)
SHIFT(psrld)
SHIFT(psrlq)
SHIFT(psraw)
SHIFT(psrad)

/* Sixteen bytes of high:low from byte `at` on; zeros follow. */
static __m128i align_right(__m128i high, __m128i low, unsigned at)
{
    uint8_t bytes[48] __attribute__((aligned(16)));
    _mm_store_si128((__m128i *)&bytes[0], low);
    _mm_store_si128((__m128i *)&bytes[16], high);
    _mm_store_si128((__m128i *)&bytes[32], _mm_setzero_si128());
    return _mm_loadu_si128((const __m128i *)&bytes[at > 32 ? 32 : at]);
}

enum exc op_sse_palignr(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    sse_set(c, i->dst, align_right(sse_get(c, i->dst), s, i->imm & 0xff));
    return EXC_NONE;
}

enum exc op_sse_psrldq(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    __m128i zero = _mm_setzero_si128();
    unsigned count = i->imm & 0xff;
    sse_set(c, i->dst, align_right(zero, sse_get(c, i->dst), count));
    return EXC_NONE;
}

enum exc op_sse_pslldq(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    __m128i zero = _mm_setzero_si128();
    unsigned count = i->imm & 0xff;
    if (count > 16)
        count = 16;
    sse_set(c, i->dst, align_right(sse_get(c, i->dst), zero, 16 - count));
    return EXC_NONE;
}

/* ---- shuffles by an immediate ----------------------------------------------
 */

enum exc op_sse_pshufd(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), r;
    for (unsigned k = 0; k < 4; k++)
        r.u32[k] = u.u32[i->imm >> 2 * k & 3];
    c->xmm[i->dst] = r;
    return EXC_NONE;
}

/* Shuffle the words of one half, copy the other. */
SSE_INLINE enum exc shuffle_words(struct cpu *c, const struct insn *i,
                                  unsigned half)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), r = u;
    for (unsigned k = 0; k < 4; k++)
        r.u16[4 * half + k] = u.u16[4 * half + (i->imm >> 2 * k & 3)];
    c->xmm[i->dst] = r;
    return EXC_NONE;
}

enum exc op_sse_pshuflw(struct cpu *c, const struct insn *i)
{
    return shuffle_words(c, i, 0);
}

enum exc op_sse_pshufhw(struct cpu *c, const struct insn *i)
{
    return shuffle_words(c, i, 1);
}

enum exc op_sse_shufps(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), d = c->xmm[i->dst], r;
    r.u32[0] = d.u32[i->imm & 3];
    r.u32[1] = d.u32[i->imm >> 2 & 3];
    r.u32[2] = u.u32[i->imm >> 4 & 3];
    r.u32[3] = u.u32[i->imm >> 6 & 3];
    c->xmm[i->dst] = r;
    return EXC_NONE;
}

enum exc op_sse_shufpd(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), d = c->xmm[i->dst], r;
    r.u64[0] = d.u64[i->imm & 1];
    r.u64[1] = u.u64[i->imm >> 1 & 1];
    c->xmm[i->dst] = r;
    return EXC_NONE;
}

/* ---- blends -----------------------------------------------------------------
 */

/* Take the elements of the source whose bit in imm is set. */
SSE_INLINE enum exc blend(struct cpu *c, const struct insn *i, unsigned bytes)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s);
    for (unsigned k = 0; k < 16 / bytes; k++)
        if (i->imm >> k & 1)
            memcpy(&c->xmm[i->dst].u8[k * bytes], &u.u8[k * bytes], bytes);
    return EXC_NONE;
}

enum exc op_sse_blendps(struct cpu *c, const struct insn *i)
{
    return blend(c, i, 4);
}

enum exc op_sse_blendpd(struct cpu *c, const struct insn *i)
{
    return blend(c, i, 8);
}

enum exc op_sse_pblendw(struct cpu *c, const struct insn *i)
{
    return blend(c, i, 2);
}

/* The sign bits of XMM0 select; XMM0 may be the destination as well. */
#define BLEND_VARIABLE(name)                                                   \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        __m128i s;                                                             \
        enum exc e = sse_fetch(c, i, 16, &s);                                  \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        __m128i d = sse_get(c, i->dst);                                        \
        __asm__(#name " %%xmm0, %1, %0"                                        \
                : "+x"(d)                                                      \
                : "x"(s), "Yz"(sse_get(c, 0)));                                \
        sse_set(c, i->dst, d);                                                 \
        return EXC_NONE;                                                       \
    }
BLEND_VARIABLE(pblendvb)
BLEND_VARIABLE(blendvps)
BLEND_VARIABLE(blendvpd)

/* ---- PTEST, MPSADBW
 * ---------------------------------------------------------- */

enum exc op_sse_ptest(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), d = c->xmm[i->dst];
    uint64_t both = (u.u64[0] & d.u64[0]) | (u.u64[1] & d.u64[1]);
    uint64_t rest = (u.u64[0] & ~d.u64[0]) | (u.u64[1] & ~d.u64[1]);
    cpu_set_arith(c, (both ? 0 : FLAG_ZF) | (rest ? 0 : FLAG_CF));
    return EXC_NONE;
}

/* Eight sums of four absolute differences: the group imm[1:0] of the source
 * against a window that slides from byte 4 * imm[2] of the destination. */
enum exc op_sse_mpsadbw(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s), d = c->xmm[i->dst], r;
    const uint8_t *group = &u.u8[4 * (i->imm & 3)];
    const uint8_t *window = &d.u8[i->imm & 4];
    for (unsigned k = 0; k < 8; k++) {
        int sum = 0;
        for (unsigned n = 0; n < 4; n++) {
            int diff = window[k + n] - group[n];
            sum += diff < 0 ? -diff : diff;
        }
        r.u16[k] = (uint16_t)sum;
    }
    c->xmm[i->dst] = r;
    return EXC_NONE;
}
