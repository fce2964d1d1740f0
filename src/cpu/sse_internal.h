/* What the SSE handlers share: availability, operand fetch, and running one
 * host instruction under the guest's MXCSR. Included by sse_*.c alone.
 *
 * Each handler runs the very host instruction on the operands in their order,
 * so which NaN survives is the hardware's choice (SDM vol. 1 4.8.3.5). The host
 * must have SSE4.2. */
#ifndef RELIVE_CPU_SSE_INTERNAL_H
#define RELIVE_CPU_SSE_INTERNAL_H

#include "cpu/access.h"
#include "cpu/op_sse.h"

#include <emmintrin.h>

#define SSE_INLINE static inline __attribute__((always_inline))

/* MXCSR (SDM vol. 1 10.2.3). */
enum {
    MXCSR_IE = 1,
    MXCSR_DE = 2,
    MXCSR_ZE = 4,
    MXCSR_OE = 8,
    MXCSR_UE = 0x10,
    MXCSR_PE = 0x20,
    MXCSR_FLAGS = 0x3f,
    MXCSR_PRE = 7, /* found before the computation */
    MXCSR_DAZ = 0x40,
    MXCSR_UM = 0x800,
    MXCSR_MASKS = 0x1f80,
    MXCSR_RC = 0x6000,
    MXCSR_FTZ = 0x8000,
    MXCSR_ALL = 0xffff
};

/* One instruction: destination's old value and source to result. Integers and
 * flags travel in the low bits. */
typedef __m128i sse_op(__m128i d, __m128i s);

/* What an unmasked overflow or underflow needs to know of an instruction. */
enum sse_kind {
    SSE_PLAIN,      /* neither overflows nor underflows */
    SSE_ADD,        /* lane by lane, sum or difference */
    SSE_MUL,        /* lane by lane, product or quotient */
    SSE_HORIZONTAL, /* sums of neighbours */
    SSE_NARROW      /* double to single */
};
struct sse_shape {
    uint8_t kind;
    uint8_t lanes; /* results computed */
    uint8_t bytes; /* of one source element */
};

/* Some exceptions are unmasked (cpu/sse_trap.c): run op, set the flags that the
 * SDM says, return the fault if one is due; *out is written on EXC_NONE. */
enum exc sse_fp_trapping(struct cpu *c, sse_op *op, __m128i d, __m128i s,
                         const struct sse_shape *shape, __m128i *out);

/* #UD or #NM: which of both when SSE cannot be used (cpu/sse_mov.c). */
enum exc sse_unusable(struct cpu *c);

SSE_INLINE enum exc sse_check(struct cpu *c)
{
    if (UNLIKELY((c->cr0 & (CR0_EM | CR0_TS)) || !(c->cr4 & CR4_OSFXSR)))
        return sse_unusable(c);
    return EXC_NONE;
}

SSE_INLINE __m128i sse_get(const struct cpu *c, unsigned n)
{
    return _mm_load_si128((const __m128i *)&c->xmm[n]);
}

SSE_INLINE void sse_set(struct cpu *c, unsigned n, __m128i value)
{
    _mm_store_si128((__m128i *)&c->xmm[n], value);
}

SSE_INLINE union xmm sse_union(__m128i value)
{
    union xmm u;
    _mm_store_si128((__m128i *)&u, value);
    return u;
}

SSE_INLINE __m128i sse_value(const union xmm *u)
{
    return _mm_load_si128((const __m128i *)u);
}

/* Is the 16-byte memory operand misaligned? That is #GP(0) before its segment's
 * limit and its canonical form are looked at. */
SSE_INLINE bool sse_is_misaligned(const struct cpu *c, const struct insn *i)
{
    return (insn_offset(c, i) + c->ea_base[i->seg]) & 15;
}

/* The 16-byte memory operand; misaligned ones raise #GP(0) when `aligned`. */
SSE_INLINE enum exc sse_load16(struct cpu *c, const struct insn *i,
                               bool aligned, __m128i *out)
{
    uint64_t linear;
    if (aligned && UNLIKELY(sse_is_misaligned(c, i)))
        return cpu_fault(c, EXC_GP, 0);
    enum exc e = cpu_linear(c, i->seg, insn_offset(c, i), 16, false, &linear);
    if (UNLIKELY(e))
        return e;
    const void *hit = cpu_tlb_read_hit(c, linear, 16);
    if (LIKELY(hit != NULL)) {
        *out = _mm_loadu_si128(hit);
        return EXC_NONE;
    }
    return cpu_slow_read(c, i->seg, linear, out, 16);
}

SSE_INLINE enum exc sse_store16(struct cpu *c, const struct insn *i,
                                bool aligned, __m128i value)
{
    uint64_t linear;
    if (aligned && UNLIKELY(sse_is_misaligned(c, i)))
        return cpu_fault(c, EXC_GP, 0);
    enum exc e = cpu_linear(c, i->seg, insn_offset(c, i), 16, true, &linear);
    if (UNLIKELY(e))
        return e;
    void *hit = cpu_tlb_write_hit(c, linear, 16);
    if (LIKELY(hit != NULL)) {
        _mm_storeu_si128(hit, value);
        return EXC_NONE;
    }
    return cpu_slow_write(c, i->seg, linear, &value, 16);
}

/* Is SSE usable; then the second operand: an XMM register in full, or `bytes`
 * of memory, zero-extended. Sixteen bytes must be aligned. */
SSE_INLINE enum exc sse_fetch(struct cpu *c, const struct insn *i,
                              unsigned bytes, __m128i *out)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    if (LIKELY(i->form == FORM_RR)) {
        *out = sse_get(c, i->src);
        return EXC_NONE;
    }
    if (bytes == 16)
        return sse_load16(c, i, true, out);
    uint64_t low = 0;
    e = insn_read(c, i, &low, bytes);
    *out = _mm_cvtsi64_si128((int64_t)low);
    return e;
}

/* An integer instruction dst = op(dst, src). */
SSE_INLINE enum exc sse_integer(struct cpu *c, const struct insn *i,
                                unsigned bytes, sse_op *op)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, bytes, &s);
    if (UNLIKELY(e))
        return e;
    sse_set(c, i->dst, op(sse_get(c, i->dst), s));
    return EXC_NONE;
}

/* Between handlers the host's MXCSR has the default rounding and no FTZ or DAZ,
 * for other C code's sake; its flags are anything. Loading MXCSR is skipped
 * when the value already stands there, which is the rule for guests that keep
 * the default. Other guests always load: without the comparison
 * their ADDPS takes 76 ns instead of 142 on a Xeon with AVX2 (others: 5 ns). */
SSE_INLINE bool sse_is_default(uint32_t mxcsr)
{
    return !(mxcsr & (MXCSR_RC | MXCSR_FTZ | MXCSR_DAZ));
}

SSE_INLINE void sse_host_enter(uint32_t mxcsr)
{
    uint32_t now = ~mxcsr;
    if (LIKELY(sse_is_default(mxcsr)))
        __asm__ volatile("stmxcsr %0" : "=m"(now));
    if (UNLIKELY(now != mxcsr))
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

SSE_INLINE uint32_t sse_host_leave(uint32_t mxcsr)
{
    static const uint32_t initial = 0x1f80;
    uint32_t after;
    __asm__ volatile("stmxcsr %0" : "=m"(after));
    if (UNLIKELY(!sse_is_default(mxcsr)))
        __asm__ volatile("ldmxcsr %0" : : "m"(initial));
    return after;
}

/* Run op as the guest would; *out is written on EXC_NONE. */
SSE_INLINE enum exc sse_fp_run(struct cpu *c, sse_op *op, __m128i d, __m128i s,
                               const struct sse_shape *shape, __m128i *out)
{
    uint32_t guest = c->mxcsr & MXCSR_ALL;
    if (UNLIKELY((guest & MXCSR_MASKS) != MXCSR_MASKS))
        return sse_fp_trapping(c, op, d, s, shape, out);
    sse_host_enter(guest);
    *out = op(d, s);
    c->mxcsr = sse_host_leave(guest);
    return EXC_NONE;
}

/* A floating-point instruction dst = op(dst, src). */
SSE_INLINE enum exc sse_fp(struct cpu *c, const struct insn *i, unsigned bytes,
                           sse_op *op, const struct sse_shape *shape)
{
    __m128i s, result;
    enum exc e = sse_fetch(c, i, bytes, &s);
    if (UNLIKELY(e))
        return e;
    e = sse_fp_run(c, op, sse_get(c, i->dst), s, shape, &result);
    if (UNLIKELY(e))
        return e;
    sse_set(c, i->dst, result);
    return EXC_NONE;
}

/* do_NAME runs the host's NAME. The asm of a floating-point instruction is
 * volatile to stay between the reads and writes of MXCSR. */
#define SSE_DO(name)                                                           \
    SSE_INLINE __m128i do_##name(__m128i d, __m128i s)                         \
    {                                                                          \
        __asm__(#name " %1, %0" : "+x"(d) : "x"(s));                           \
        return d;                                                              \
    }
#define SSE_DO_FP(name)                                                        \
    SSE_INLINE __m128i do_##name(__m128i d, __m128i s)                         \
    {                                                                          \
        __asm__ volatile(#name " %1, %0" : "+x"(d) : "x"(s));                  \
        return d;                                                              \
    }
/* With an immediate operand baked in. */
#define SSE_DO_IMM(name, n)                                                    \
    static __m128i do_##name##_##n(__m128i d, __m128i s)                       \
    {                                                                          \
        __asm__ volatile(#name " $" #n ", %1, %0" : "+x"(d) : "x"(s));         \
        return d;                                                              \
    }

#define SSE_INTEGER(name, bytes)                                               \
    SSE_DO(name)                                                               \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return sse_integer(c, i, bytes, do_##name);                            \
    }
#define SSE_FP(name, bytes, shape_kind, shape_lanes, shape_bytes)              \
    SSE_DO_FP(name)                                                            \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        static const struct sse_shape shape = {shape_kind, shape_lanes,        \
                                               shape_bytes};                   \
        return sse_fp(c, i, bytes, do_##name, &shape);                         \
    }

#endif
