/* SSE moves between registers and memory, MXCSR, and inserts and extracts. */
#include "cpu/sse_internal.h"

enum exc sse_unusable(struct cpu *c)
{
    /* SDM vol. 3A table 13-1: #UD before #NM. */
    if ((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR))
        return cpu_fault(c, EXC_UD, 0);
    return cpu_fault(c, EXC_NM, 0);
}

/* Fences order nothing here: there is one CPU and its accesses are in order.
 * Prefetches never fault. Neither looks at CR0.EM or CR4.OSFXSR. */
enum exc op_sse_hint(struct cpu *c, const struct insn *i)
{
    (void)c;
    (void)i;
    return EXC_NONE;
}

/* ---- sixteen bytes --------------------------------------------------------
 */

SSE_INLINE enum exc move16(struct cpu *c, const struct insn *i, bool aligned)
{
    __m128i value;
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    switch (i->form) {
    case FORM_RR:
        value = sse_get(c, i->src);
        break;
    case FORM_RM:
        e = sse_load16(c, i, aligned, &value);
        if (UNLIKELY(e))
            return e;
        break;
    default:
        return sse_store16(c, i, aligned, sse_get(c, i->src));
    }
    sse_set(c, i->dst, value);
    return EXC_NONE;
}

#define MOVE16(name, aligned)                                                  \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return move16(c, i, aligned);                                          \
    }
MOVE16(movaps, true)
MOVE16(movapd, true)
MOVE16(movdqa, true)
MOVE16(movntps, true)
MOVE16(movntpd, true)
MOVE16(movntdq, true)
MOVE16(movntdqa, true)
MOVE16(movups, false)
MOVE16(movupd, false)
MOVE16(movdqu, false)
MOVE16(lddqu, false)

/* ---- scalars and halves ---------------------------------------------------
 */

/* MOVSS, MOVSD: a load clears the rest, a register move keeps it. */
SSE_INLINE enum exc move_scalar(struct cpu *c, const struct insn *i,
                                unsigned bytes)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    uint64_t low = 0;
    switch (i->form) {
    case FORM_RM:
        e = insn_read(c, i, &low, bytes);
        if (UNLIKELY(e))
            return e;
        sse_set(c, i->dst, _mm_cvtsi64_si128((int64_t)low));
        return EXC_NONE;
    case FORM_MR:
        return insn_write(c, i, &c->xmm[i->src], bytes);
    default:
        memcpy(&c->xmm[i->dst], &c->xmm[i->src], bytes);
        return EXC_NONE;
    }
}

enum exc op_sse_movss(struct cpu *c, const struct insn *i)
{
    return move_scalar(c, i, 4);
}

enum exc op_sse_movsd(struct cpu *c, const struct insn *i)
{
    return move_scalar(c, i, 8);
}

/* MOVLPS and the like: one half, register and memory. */
SSE_INLINE enum exc move_half(struct cpu *c, const struct insn *i,
                              unsigned half)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    if (i->form == FORM_MR)
        return insn_write(c, i, &c->xmm[i->src].u64[half], 8);
    return insn_read(c, i, &c->xmm[i->dst].u64[half], 8);
}

enum exc op_sse_movlps(struct cpu *c, const struct insn *i)
{
    return move_half(c, i, 0);
}

enum exc op_sse_movlpd(struct cpu *c, const struct insn *i)
{
    return move_half(c, i, 0);
}

enum exc op_sse_movhps(struct cpu *c, const struct insn *i)
{
    return move_half(c, i, 1);
}

enum exc op_sse_movhpd(struct cpu *c, const struct insn *i)
{
    return move_half(c, i, 1);
}

enum exc op_sse_movhlps(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    c->xmm[i->dst].u64[0] = c->xmm[i->src].u64[1];
    return EXC_NONE;
}

enum exc op_sse_movlhps(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    c->xmm[i->dst].u64[1] = c->xmm[i->src].u64[0];
    return EXC_NONE;
}

SSE_INTEGER(movsldup, 16)
SSE_INTEGER(movshdup, 16)
SSE_INTEGER(movddup, 8)

/* ---- general registers ----------------------------------------------------
 */

/* MOVD and MOVQ in all their forms: the operand classes tell which side is a
 * general register. The result is zero-extended to the whole XMM register. */
SSE_INLINE enum exc move_low(struct cpu *c, const struct insn *i,
                             unsigned bytes)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    uint64_t low = 0;
    switch (i->form) {
    case FORM_RM:
        e = insn_read(c, i, &low, bytes);
        if (UNLIKELY(e))
            return e;
        break;
    case FORM_MR:
        return insn_write(c, i, &c->xmm[i->src], bytes);
    default:
        if ((i->classes & 15) == REG_CLASS_GENERAL) {
            reg_set(c, i->dst, c->xmm[i->src].u64[0], bytes);
            return EXC_NONE;
        }
        low = i->classes >> 4 == REG_CLASS_GENERAL ? reg_get(c, i->src, bytes)
                                                   : c->xmm[i->src].u64[0];
        break;
    }
    sse_set(c, i->dst, _mm_cvtsi64_si128((int64_t)low));
    return EXC_NONE;
}

enum exc op_sse_movd(struct cpu *c, const struct insn *i)
{
    return move_low(c, i, 4);
}

enum exc op_sse_movq(struct cpu *c, const struct insn *i)
{
    return move_low(c, i, 8);
}

/* A store of a general register: no SSE state, hence no check of CR0.TS. */
enum exc op_sse_movnti(struct cpu *c, const struct insn *i)
{
    return insn_write(c, i, &c->r[i->src], i->size);
}

/* Sign bits of the source into a general register. */
#define MOVE_MASK(name)                                                        \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        enum exc e = sse_check(c);                                             \
        uint32_t bits;                                                         \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        __asm__(#name " %1, %0" : "=r"(bits) : "x"(sse_get(c, i->src)));       \
        reg_set(c, i->dst, bits, 4);                                           \
        return EXC_NONE;                                                       \
    }
MOVE_MASK(movmskps)
MOVE_MASK(movmskpd)
MOVE_MASK(pmovmskb)

/* Element imm of the source, to memory or zero-extended to a register. */
SSE_INLINE enum exc extract(struct cpu *c, const struct insn *i, unsigned bytes)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    unsigned at = (unsigned)i->imm * bytes & 15;
    uint64_t value = 0;
    memcpy(&value, &c->xmm[i->src].u8[at], bytes);
    if (i->form == FORM_MR)
        return insn_write(c, i, &value, bytes);
    c->r[i->dst] = value;
    return EXC_NONE;
}

/* Element imm of the destination, from memory or a register's low bytes. */
SSE_INLINE enum exc insert(struct cpu *c, const struct insn *i, unsigned bytes)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    unsigned at = (unsigned)i->imm * bytes & 15;
    if (i->form == FORM_RM)
        return insn_read(c, i, &c->xmm[i->dst].u8[at], bytes);
    memcpy(&c->xmm[i->dst].u8[at], &c->r[i->src], bytes);
    return EXC_NONE;
}

#define ELEMENT(name, how, bytes)                                              \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return how(c, i, bytes);                                               \
    }
ELEMENT(pextrb, extract, 1)
ELEMENT(pextrw, extract, 2)
ELEMENT(pextrd, extract, 4)
ELEMENT(pextrq, extract, 8)
ELEMENT(extractps, extract, 4)
ELEMENT(pinsrb, insert, 1)
ELEMENT(pinsrw, insert, 2)
ELEMENT(pinsrd, insert, 4)
ELEMENT(pinsrq, insert, 8)

/* imm: source element 7..6 (registers only), destination 5..4, zero 3..0. */
enum exc op_sse_insertps(struct cpu *c, const struct insn *i)
{
    __m128i s;
    enum exc e = sse_fetch(c, i, 4, &s);
    if (UNLIKELY(e))
        return e;
    union xmm u = sse_union(s);
    unsigned from = i->form == FORM_RR ? (unsigned)i->imm >> 6 & 3 : 0;
    c->xmm[i->dst].u32[i->imm >> 4 & 3] = u.u32[from];
    for (unsigned k = 0; k < 4; k++)
        if (i->imm >> k & 1)
            c->xmm[i->dst].u32[k] = 0;
    return EXC_NONE;
}

/* ---- MXCSR ----------------------------------------------------------------
 */

enum exc op_sse_ldmxcsr(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    uint32_t value;
    e = insn_read(c, i, &value, 4);
    if (UNLIKELY(e))
        return e;
    if (value & ~(uint32_t)MXCSR_ALL)
        return cpu_fault(c, EXC_GP, 0);
    c->mxcsr = value;
    return EXC_NONE;
}

enum exc op_sse_stmxcsr(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    return insn_write(c, i, &c->mxcsr, 4);
}

/* ---- MASKMOVDQU -----------------------------------------------------------
 */

/* The next run of selected bytes at or after `from`: its start, its length in
 * *len; 16 when there is none. */
static unsigned next_run(unsigned mask, unsigned from, unsigned *len)
{
    while (from < 16 && !(mask >> from & 1))
        from++;
    unsigned end = from;
    while (end < 16 && (mask >> end & 1))
        end++;
    *len = end - from;
    return from;
}

/* Store the selected bytes at seg:rDI; the others are not touched at all. All
 * bytes are checked before the first is written. */
enum exc op_sse_maskmovdqu(struct cpu *c, const struct insn *i)
{
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    uint64_t address_mask = i->addr == 8   ? UINT64_MAX
                            : i->addr == 4 ? 0xffffffff
                                           : 0xffff;
    uint64_t start = c->r[REG_RDI] & address_mask;
    unsigned mask = (unsigned)_mm_movemask_epi8(sse_get(c, i->src));
    union xmm data = c->xmm[i->dst];
    unsigned len, at;
    for (at = next_run(mask, 0, &len); len;
         at = next_run(mask, at + len, &len)) {
        uint64_t linear;
        e = cpu_linear(c, i->seg, start + at, len, true, &linear);
        if (!e && !cpu_tlb_write_hit(c, linear, len))
            e = mmu_probe_write(&c->mmu, linear, len, ACCESS_WRITE);
        if (UNLIKELY(e))
            return e;
    }
    for (at = next_run(mask, 0, &len); len;
         at = next_run(mask, at + len, &len)) {
        e = cpu_write(c, i->seg, start + at, &data.u8[at], len);
        if (UNLIKELY(e))
            return e;
    }
    return EXC_NONE;
}
