/* PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1 12.10.3 "String
 * processing", vol. 2B 4.1). `a` is the first operand, `b` the second; bit j of
 * a result speaks of element j of b. */
#include "cpu/sse_internal.h"

enum {
    MODE_WORDS = 1, /* imm[0] */
    MODE_SIGNED = 2
};

/* One bit per element of a comparison's result. */
static unsigned element_bits(__m128i mask, bool words)
{
    if (words)
        mask = _mm_packs_epi16(mask, _mm_setzero_si128());
    return (unsigned)_mm_movemask_epi8(mask);
}

static unsigned equal_bits(__m128i x, __m128i y, bool words)
{
    return element_bits(words ? _mm_cmpeq_epi16(x, y) : _mm_cmpeq_epi8(x, y),
                        words);
}

/* x > y, elements signed. */
static unsigned greater_bits(__m128i x, __m128i y, bool words)
{
    return element_bits(words ? _mm_cmpgt_epi16(x, y) : _mm_cmpgt_epi8(x, y),
                        words);
}

/* Element n of a in every place. */
static __m128i spread(const union xmm *a, unsigned n, bool words)
{
    return words ? _mm_set1_epi16(a->s16[n]) : _mm_set1_epi8((char)a->s8[n]);
}

struct strings {
    union xmm a, b;
    unsigned length_a, length_b; /* in elements */
    unsigned count;              /* elements in a register: 16 or 8 */
    bool words;
};

static unsigned any_equal(const struct strings *t)
{
    unsigned result = 0;
    for (unsigned n = 0; n < t->length_a; n++)
        result |=
            equal_bits(sse_value(&t->b), spread(&t->a, n, t->words), t->words);
    return result & ((1u << t->length_b) - 1);
}

/* a holds pairs, lower and upper bound. */
static unsigned in_ranges(const struct strings *t, bool is_signed)
{
    __m128i bias = is_signed  ? _mm_setzero_si128()
                   : t->words ? _mm_set1_epi16(INT16_MIN)
                              : _mm_set1_epi8(INT8_MIN);
    __m128i b = _mm_xor_si128(sse_value(&t->b), bias);
    unsigned result = 0;
    for (unsigned n = 0; n + 1 < t->length_a; n += 2) {
        __m128i low = _mm_xor_si128(spread(&t->a, n, t->words), bias);
        __m128i high = _mm_xor_si128(spread(&t->a, n + 1, t->words), bias);
        result |=
            ~(greater_bits(low, b, t->words) | greater_bits(b, high, t->words));
    }
    return result & ((1u << t->length_b) - 1);
}

static unsigned each_equal(const struct strings *t)
{
    unsigned valid_a = (1u << t->length_a) - 1;
    unsigned valid_b = (1u << t->length_b) - 1;
    unsigned equal = equal_bits(sse_value(&t->a), sse_value(&t->b), t->words);
    return (equal & valid_a & valid_b) | ~(valid_a | valid_b);
}

/* Where in b does a begin? A match may run off the end of the register. */
static unsigned ordered_equal(const struct strings *t)
{
    unsigned valid_b = (1u << t->length_b) - 1;
    unsigned beyond = ~((1u << t->count) - 1);
    unsigned result = ~0u;
    for (unsigned n = 0; n < t->length_a; n++) {
        unsigned equal =
            equal_bits(sse_value(&t->b), spread(&t->a, n, t->words), t->words);
        result &= ((equal & valid_b) | beyond) >> n;
    }
    return result;
}

/* IntRes2. */
static unsigned compare_strings(const struct strings *t, unsigned mode)
{
    unsigned all = (1u << t->count) - 1;
    unsigned result;
    switch (mode >> 2 & 3) {
    case 0:
        result = any_equal(t);
        break;
    case 1:
        result = in_ranges(t, mode & MODE_SIGNED);
        break;
    case 2:
        result = each_equal(t);
        break;
    default:
        result = ordered_equal(t);
        break;
    }
    if ((mode >> 4 & 3) == 1)
        result = ~result;
    else if ((mode >> 4 & 3) == 3)
        result ^= (1u << t->length_b) - 1;
    return result & all;
}

/* Elements before the first zero. */
static unsigned implicit_length(const union xmm *x, unsigned count, bool words)
{
    unsigned zero = equal_bits(sse_value(x), _mm_setzero_si128(), words);
    return (unsigned)__builtin_ctz(zero | 1u << count);
}

/* |value|, at most count. */
static unsigned explicit_length(uint64_t value, bool is_64, unsigned count)
{
    int64_t v = is_64 ? (int64_t)value : (int32_t)value;
    if (v < -(int64_t)count || v > (int64_t)count)
        return count;
    return (unsigned)(v < 0 ? -v : v);
}

static void set_flags(struct cpu *c, const struct strings *t, unsigned result)
{
    uint32_t flags = 0;
    if (result)
        flags |= FLAG_CF;
    if (t->length_b < t->count)
        flags |= FLAG_ZF;
    if (t->length_a < t->count)
        flags |= FLAG_SF;
    if (result & 1)
        flags |= FLAG_OF;
    cpu_set_arith(c, flags);
}

/* The two operands (memory needs no alignment), lengths, comparison, flags. */
static enum exc run(struct cpu *c, const struct insn *i, bool is_explicit,
                    struct strings *t, unsigned *result)
{
    __m128i b;
    enum exc e = sse_check(c);
    if (UNLIKELY(e))
        return e;
    if (i->form == FORM_RR) {
        b = sse_get(c, i->src);
    } else {
        e = sse_load16(c, i, false, &b);
        if (UNLIKELY(e))
            return e;
    }
    t->a = c->xmm[i->dst];
    t->b = sse_union(b);
    t->words = i->imm & MODE_WORDS;
    t->count = t->words ? 8 : 16;
    if (is_explicit) {
        bool is_64 = i->opsize == 8;
        t->length_a = explicit_length(c->r[REG_RAX], is_64, t->count);
        t->length_b = explicit_length(c->r[REG_RDX], is_64, t->count);
    } else {
        t->length_a = implicit_length(&t->a, t->count, t->words);
        t->length_b = implicit_length(&t->b, t->count, t->words);
    }
    *result = compare_strings(t, (unsigned)i->imm);
    set_flags(c, t, *result);
    return EXC_NONE;
}

static enum exc to_index(struct cpu *c, const struct insn *i, bool is_explicit)
{
    struct strings t;
    unsigned result;
    enum exc e = run(c, i, is_explicit, &t, &result);
    if (UNLIKELY(e))
        return e;
    unsigned index = t.count;
    if (result && (i->imm & 0x40))
        index = 31 - (unsigned)__builtin_clz(result);
    else if (result)
        index = (unsigned)__builtin_ctz(result);
    reg_set(c, REG_RCX, index, 4);
    return EXC_NONE;
}

static enum exc to_mask(struct cpu *c, const struct insn *i, bool is_explicit)
{
    struct strings t;
    unsigned result;
    enum exc e = run(c, i, is_explicit, &t, &result);
    if (UNLIKELY(e))
        return e;
    union xmm mask = {.u64 = {result, 0}};
    if (i->imm & 0x40)
        for (unsigned n = 0; n < 16; n++)
            mask.u8[n] = result >> (t.words ? n / 2 : n) & 1 ? 0xff : 0;
    c->xmm[0] = mask;
    return EXC_NONE;
}

enum exc op_sse_pcmpestri(struct cpu *c, const struct insn *i)
{
    return to_index(c, i, true);
}

enum exc op_sse_pcmpistri(struct cpu *c, const struct insn *i)
{
    return to_index(c, i, false);
}

enum exc op_sse_pcmpestrm(struct cpu *c, const struct insn *i)
{
    return to_mask(c, i, true);
}

enum exc op_sse_pcmpistrm(struct cpu *c, const struct insn *i)
{
    return to_mask(c, i, false);
}
