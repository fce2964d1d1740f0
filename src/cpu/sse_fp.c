/* Floating-point arithmetic, comparison, rounding and conversion. */
#include "cpu/sse_internal.h"

/* ---- arithmetic -----------------------------------------------------------
 */

#define FOUR(name, kind)                                                       \
    SSE_FP(name##ps, 16, kind, 4, 4)                                           \
    SSE_FP(name##pd, 16, kind, 2, 8)                                           \
    SSE_FP(name##ss, 4, kind, 1, 4)                                            \
    SSE_FP(name##sd, 8, kind, 1, 8)
FOUR(add, SSE_ADD)
FOUR(sub, SSE_ADD)
FOUR(mul, SSE_MUL)
FOUR(div, SSE_MUL)
FOUR(min, SSE_PLAIN)
FOUR(max, SSE_PLAIN)
FOUR(sqrt, SSE_PLAIN)
SSE_FP(addsubps, 16, SSE_ADD, 4, 4)
SSE_FP(addsubpd, 16, SSE_ADD, 2, 8)
SSE_FP(haddps, 16, SSE_HORIZONTAL, 4, 4)
SSE_FP(haddpd, 16, SSE_HORIZONTAL, 2, 8)
SSE_FP(hsubps, 16, SSE_HORIZONTAL, 4, 4)
SSE_FP(hsubpd, 16, SSE_HORIZONTAL, 2, 8)

/* ---- conversions between vectors --------------------------------------------
 */

SSE_FP(cvtps2pd, 8, SSE_PLAIN, 2, 4)
SSE_FP(cvtss2sd, 4, SSE_PLAIN, 1, 4)
SSE_FP(cvtpd2ps, 16, SSE_NARROW, 2, 8)
SSE_FP(cvtsd2ss, 8, SSE_NARROW, 1, 8)
SSE_FP(cvtdq2ps, 16, SSE_PLAIN, 4, 4)
SSE_FP(cvtps2dq, 16, SSE_PLAIN, 4, 4)
SSE_FP(cvttps2dq, 16, SSE_PLAIN, 4, 4)
SSE_FP(cvtpd2dq, 16, SSE_PLAIN, 2, 8)
SSE_FP(cvttpd2dq, 16, SSE_PLAIN, 2, 8)
SSE_INTEGER(cvtdq2pd, 8)

static const struct sse_shape plain = {SSE_PLAIN, 1, 8};

/* ---- conversions to and from general registers
 * ------------------------------- */

#define DO_FROM_GENERAL(name, insn, type, get)                                 \
    SSE_INLINE __m128i do_##name(__m128i d, __m128i s)                         \
    {                                                                          \
        type value = (type)get(s);                                             \
        __asm__ volatile(insn " %1, %0" : "+x"(d) : "r"(value));               \
        return d;                                                              \
    }
DO_FROM_GENERAL(cvtsi2ss_32, "cvtsi2ssl", uint32_t, _mm_cvtsi128_si32)
DO_FROM_GENERAL(cvtsi2ss_64, "cvtsi2ssq", uint64_t, _mm_cvtsi128_si64)
DO_FROM_GENERAL(cvtsi2sd_32, "cvtsi2sdl", uint32_t, _mm_cvtsi128_si32)
DO_FROM_GENERAL(cvtsi2sd_64, "cvtsi2sdq", uint64_t, _mm_cvtsi128_si64)

/* The asm texts of both widths differ, or gcc 12 takes the two functions for
 * the same and merges them. */
#define DO_TO_GENERAL(name, insn, type)                                        \
    SSE_INLINE __m128i do_##name(__m128i d, __m128i s)                         \
    {                                                                          \
        type value;                                                            \
        (void)d;                                                               \
        __asm__ volatile(insn " %1, %0" : "=r"(value) : "x"(s));               \
        return _mm_cvtsi64_si128((int64_t)value);                              \
    }
DO_TO_GENERAL(cvtss2si_32, "cvtss2sil", uint32_t)
DO_TO_GENERAL(cvtss2si_64, "cvtss2siq", uint64_t)
DO_TO_GENERAL(cvtsd2si_32, "cvtsd2sil", uint32_t)
DO_TO_GENERAL(cvtsd2si_64, "cvtsd2siq", uint64_t)
DO_TO_GENERAL(cvttss2si_32, "cvttss2sil", uint32_t)
DO_TO_GENERAL(cvttss2si_64, "cvttss2siq", uint64_t)
DO_TO_GENERAL(cvttsd2si_32, "cvttsd2sil", uint32_t)
DO_TO_GENERAL(cvttsd2si_64, "cvttsd2siq", uint64_t)

SSE_INLINE enum exc from_general(struct cpu *c, const struct insn *i,
                                 sse_op *op32, sse_op *op64)
{
    uint64_t value = 0;
    __m128i d, s;
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    if (i->form == FORM_RR)
        value = c->r[i->src];
    else if (i->size1 == 8)
        e = insn_read(c, i, &value, 8);
    else
        e = insn_read(c, i, &value, 4);
    if (UNLIKELY(e))
        return e;
    d = sse_get(c, i->dst);
    s = _mm_cvtsi64_si128((int64_t)value);
    e = i->size1 == 8 ? sse_fp_run(c, op64, d, s, &plain, &d)
                      : sse_fp_run(c, op32, d, s, &plain, &d);
    if (UNLIKELY(e))
        return e;
    sse_set(c, i->dst, d);
    return EXC_NONE;
}

SSE_INLINE enum exc to_general(struct cpu *c, const struct insn *i,
                               unsigned bytes, sse_op *op32, sse_op *op64)
{
    __m128i s, result;
    enum exc e = sse_fetch(c, i, bytes, &s);
    if (UNLIKELY(e))
        return e;
    e = i->size == 8 ? sse_fp_run(c, op64, s, s, &plain, &result)
                     : sse_fp_run(c, op32, s, s, &plain, &result);
    if (UNLIKELY(e))
        return e;
    /* The 32-bit results are zero-extended already. */
    c->r[i->dst] = (uint64_t)_mm_cvtsi128_si64(result);
    return EXC_NONE;
}

#define FROM_GENERAL(name)                                                     \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return from_general(c, i, do_##name##_32, do_##name##_64);             \
    }
FROM_GENERAL(cvtsi2ss)
FROM_GENERAL(cvtsi2sd)

#define TO_GENERAL(name, bytes)                                                \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return to_general(c, i, bytes, do_##name##_32, do_##name##_64);        \
    }
TO_GENERAL(cvtss2si, 4)
TO_GENERAL(cvtsd2si, 8)
TO_GENERAL(cvttss2si, 4)
TO_GENERAL(cvttsd2si, 8)

/* ---- comparison to flags
 * ------------------------------------------------------ */

/* The result's low bits are RFLAGS: ZF, PF and CF; OF, SF and AF are cleared.
 */
#define COMPARE_FLAGS(name, bytes)                                             \
    SSE_INLINE __m128i do_##name(__m128i d, __m128i s)                         \
    {                                                                          \
        bool z, p, carry;                                                      \
        __asm__ volatile(#name " %4, %3"                                       \
                         : "=@ccz"(z), "=@ccp"(p), "=@ccc"(carry)              \
                         : "x"(d), "x"(s));                                    \
        return _mm_cvtsi32_si128((z ? FLAG_ZF : 0) | (p ? FLAG_PF : 0) |       \
                                 (carry ? FLAG_CF : 0));                       \
    }                                                                          \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        __m128i s, result;                                                     \
        enum exc e = sse_fetch(c, i, bytes, &s);                               \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        e = sse_fp_run(c, do_##name, sse_get(c, i->dst), s, &plain, &result);  \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        cpu_set_arith(c, (uint32_t)_mm_cvtsi128_si32(result));                 \
        return EXC_NONE;                                                       \
    }
COMPARE_FLAGS(comiss, 4)
COMPARE_FLAGS(comisd, 8)
COMPARE_FLAGS(ucomiss, 4)
COMPARE_FLAGS(ucomisd, 8)

/* ---- an immediate chooses the host instruction
 * ---------------------------------- */

/* CMPccPS: bits 7..3 of the immediate are ignored (SDM vol. 2A CMPPS, legacy
 * form). */
#define COMPARE(name, bytes)                                                   \
    SSE_DO_IMM(name, 0)                                                        \
    SSE_DO_IMM(name, 1)                                                        \
    SSE_DO_IMM(name, 2)                                                        \
    SSE_DO_IMM(name, 3)                                                        \
    SSE_DO_IMM(name, 4)                                                        \
    SSE_DO_IMM(name, 5)                                                        \
    SSE_DO_IMM(name, 6)                                                        \
    SSE_DO_IMM(name, 7)                                                        \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        static sse_op *const ops[8] = {                                        \
            do_##name##_0, do_##name##_1, do_##name##_2, do_##name##_3,        \
            do_##name##_4, do_##name##_5, do_##name##_6, do_##name##_7};       \
        return sse_fp(c, i, bytes, ops[i->imm & 7], &plain);                   \
    }
COMPARE(cmpps, 16)
COMPARE(cmppd, 16)
COMPARE(cmpss, 4)
COMPARE(cmpsd, 8)

/* ROUND: bits 1..0 are the mode, 2 takes MXCSR's instead, 3 leaves PE alone.
 * With bit 2 set the mode bits do not matter. */
#define ROUND(name, bytes)                                                     \
    SSE_DO_IMM(name, 0)                                                        \
    SSE_DO_IMM(name, 1)                                                        \
    SSE_DO_IMM(name, 2)                                                        \
    SSE_DO_IMM(name, 3)                                                        \
    SSE_DO_IMM(name, 4)                                                        \
    SSE_DO_IMM(name, 8)                                                        \
    SSE_DO_IMM(name, 9)                                                        \
    SSE_DO_IMM(name, 10)                                                       \
    SSE_DO_IMM(name, 11)                                                       \
    SSE_DO_IMM(name, 12)                                                       \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        static sse_op *const ops[16] = {                                       \
            do_##name##_0,  do_##name##_1,  do_##name##_2,  do_##name##_3,     \
            do_##name##_4,  do_##name##_4,  do_##name##_4,  do_##name##_4,     \
            do_##name##_8,  do_##name##_9,  do_##name##_10, do_##name##_11,    \
            do_##name##_12, do_##name##_12, do_##name##_12, do_##name##_12};   \
        return sse_fp(c, i, bytes, ops[i->imm & 15], &plain);                  \
    }
ROUND(roundps, 16)
ROUND(roundpd, 16)
ROUND(roundss, 4)
ROUND(roundsd, 8)

/* ---- dot products ---------------------------------------------------------
 */

/* Products where imm[7:4] says so, their sum as in the SDM's pseudo code,
 * copied to where imm[3:0] says so. Each step raises its exceptions before the
 * next begins (SDM vol. 2A DPPS). Which of several NaNs survives depends on the
 * lane; the operand order of the sums is that of Intel's CPUs. */
enum exc op_sse_dpps(struct cpu *c, const struct insn *i)
{
    static const struct sse_shape mul = {SSE_MUL, 4, 4};
    static const struct sse_shape add = {SSE_ADD, 4, 4};
    __m128i s, v;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm a = c->xmm[i->dst], b = sse_union(s), r;
    for (unsigned k = 0; k < 4; k++)
        if (!(i->imm >> (4 + k) & 1))
            a.u32[k] = b.u32[k] = 0;
    e = sse_fp_run(c, do_mulps, sse_value(&a), sse_value(&b), &mul, &v);
    if (UNLIKELY(e))
        return e;
    s = _mm_shuffle_epi32(v, 0xb1); /* neighbours swapped */
    e = sse_fp_run(c, do_addps, s, v, &add, &v);
    if (UNLIKELY(e))
        return e;
    s = _mm_shuffle_epi32(v, 0x4e); /* halves swapped */
    e = sse_fp_run(c, do_addps, v, s, &add, &v);
    if (UNLIKELY(e))
        return e;
    r = sse_union(v);
    for (unsigned k = 0; k < 4; k++)
        c->xmm[i->dst].u32[k] = i->imm >> k & 1 ? r.u32[k] : 0;
    return EXC_NONE;
}

enum exc op_sse_dppd(struct cpu *c, const struct insn *i)
{
    static const struct sse_shape mul = {SSE_MUL, 2, 8};
    static const struct sse_shape add = {SSE_ADD, 2, 8};
    __m128i s, v;
    enum exc e = sse_fetch(c, i, 16, &s);
    if (UNLIKELY(e))
        return e;
    union xmm a = c->xmm[i->dst], b = sse_union(s), r;
    for (unsigned k = 0; k < 2; k++)
        if (!(i->imm >> (4 + k) & 1))
            a.u64[k] = b.u64[k] = 0;
    e = sse_fp_run(c, do_mulpd, sse_value(&a), sse_value(&b), &mul, &v);
    if (UNLIKELY(e))
        return e;
    s = _mm_shuffle_epi32(v, 0x4e);
    e = sse_fp_run(c, do_addpd, v, s, &add, &v);
    if (UNLIKELY(e))
        return e;
    r = sse_union(v);
    for (unsigned k = 0; k < 2; k++)
        c->xmm[i->dst].u64[k] = i->imm >> k & 1 ? r.u64[k] : 0;
    return EXC_NONE;
}
