/* x87 arithmetic, comparison and classification (SDM vol. 1 8.3.5, 8.3.6). */
#include "cpu/x87_host.h"
#include "cpu/x87_internal.h"

/* ---- two operands ----------------------------------------------------- */

/* One operation with its operand types. */
struct arith {
    x87_host_fn *reg, *f32, *f64, *i16, *i32;
};
#define ARITH(name)                                                            \
    static const struct arith arith_##name = {                                 \
        x87_host_##name, x87_host_##name##_f32, x87_host_##name##_f64,         \
        x87_host_##name##_i16, x87_host_##name##_i32}
ARITH(add);
ARITH(mul);
ARITH(sub);
ARITH(subr);
ARITH(div);
ARITH(divr);
ARITH(com);

static void host_set(const struct cpu *c, struct x87_host *h, unsigned a)
{
    struct f80 v = x87_get(c, a);

    h->a_mantissa = v.mantissa;
    h->a_exponent = v.exponent;
    h->control = c->x87.control;
}

static void host_set_b(const struct cpu *c, struct x87_host *h, unsigned b)
{
    struct f80 v = x87_get(c, b);

    h->b_mantissa = v.mantissa;
    h->b_exponent = v.exponent;
}

/* Commit an operation whose result replaces ST(dst); false when an unmasked
 * invalid, zero-divide or denormal exception left everything in place. */
static bool host_finish(struct cpu *c, const struct insn *i,
                        const struct x87_host *h, unsigned dst)
{
    x87_commit(c, i, h->status, X87_C1);
    if (UNLIKELY(x87_unmasked(c, h->status & (X87_IE | X87_ZE | X87_DE))))
        return false;
    x87_set(c, dst, (struct f80){h->a_mantissa, h->a_exponent});
    return true;
}

static enum exc arith_register(struct cpu *c, const struct insn *i,
                               x87_host_fn *fn, bool pops)
{
    unsigned dst = i->dst, src = i->form == FORM_RR ? i->src : 0;
    struct x87_host h;

    if (UNLIKELY(x87_is_empty(c, dst) || x87_is_empty(c, src))) {
        if (!x87_stack_fault(c, i, false))
            return EXC_NONE;
        x87_set(c, dst, X87_INDEFINITE);
    } else {
        host_set(c, &h, dst);
        host_set_b(c, &h, src);
        fn(&h);
        if (!host_finish(c, i, &h, dst))
            return EXC_NONE;
    }
    if (pops)
        x87_pop(c);
    return EXC_NONE;
}

static enum exc arith_memory(struct cpu *c, const struct insn *i,
                             x87_host_fn *fn, unsigned bytes)
{
    struct x87_host h = {.b_mantissa = 0};

    enum exc e = insn_read(c, i, h.mem, bytes);
    if (e)
        return e;
    if (UNLIKELY(x87_is_empty(c, 0))) {
        if (x87_stack_fault(c, i, false))
            x87_set(c, 0, X87_INDEFINITE);
        return EXC_NONE;
    }
    host_set(c, &h, 0);
    fn(&h);
    host_finish(c, i, &h, 0);
    return EXC_NONE;
}

static enum exc arith(struct cpu *c, const struct insn *i,
                      const struct arith *op)
{
    enum exc e = x87_enter(c);
    if (UNLIKELY(e))
        return e;
    if (i->form != FORM_M)
        return arith_register(c, i, op->reg, false);
    return i->size == 4 ? arith_memory(c, i, op->f32, 4)
                        : arith_memory(c, i, op->f64, 8);
}

static enum exc arith_int(struct cpu *c, const struct insn *i,
                          const struct arith *op)
{
    enum exc e = x87_enter(c);
    if (UNLIKELY(e))
        return e;
    return i->size == 2 ? arith_memory(c, i, op->i16, 2)
                        : arith_memory(c, i, op->i32, 4);
}

static enum exc arith_pop(struct cpu *c, const struct insn *i,
                          const struct arith *op)
{
    enum exc e = x87_enter(c);
    return UNLIKELY(e) ? e : arith_register(c, i, op->reg, true);
}

#define ARITH_HANDLERS(name)                                                   \
    enum exc op_f##name(struct cpu *c, const struct insn *i)                   \
    {                                                                          \
        return arith(c, i, &arith_##name);                                     \
    }                                                                          \
    enum exc op_f##name##p(struct cpu *c, const struct insn *i)                \
    {                                                                          \
        return arith_pop(c, i, &arith_##name);                                 \
    }                                                                          \
    enum exc op_fi##name(struct cpu *c, const struct insn *i)                  \
    {                                                                          \
        return arith_int(c, i, &arith_##name);                                 \
    }
ARITH_HANDLERS(add)
ARITH_HANDLERS(mul)
ARITH_HANDLERS(sub)
ARITH_HANDLERS(subr)
ARITH_HANDLERS(div)
ARITH_HANDLERS(divr)

/* ---- comparison ------------------------------------------------------- */

/* Where a comparison's outcome goes. */
enum outcome {
    TO_STATUS, /* C3 C2 C0 */
    TO_FLAGS   /* ZF PF CF; OF SF AF are cleared */
};

static void compare_result(struct cpu *c, unsigned status, enum outcome to)
{
    uint32_t flags = 0;

    if (to == TO_STATUS) {
        c->x87.status = (uint16_t)((c->x87.status & ~X87_CC) |
                                   (status & (X87_C0 | X87_C2 | X87_C3)));
        return;
    }
    if (status & X87_C0)
        flags |= FLAG_CF;
    if (status & X87_C2)
        flags |= FLAG_PF;
    if (status & X87_C3)
        flags |= FLAG_ZF;
    cpu_set_arith(c, flags);
}

/* Commit a comparison and pop. With an unmasked exception the outcome is
 * stored all the same, as on Intel's CPUs, but nothing is popped. */
static void compare_finish(struct cpu *c, const struct insn *i,
                           unsigned status, enum outcome to, unsigned pops)
{
    unsigned c1 = to == TO_STATUS || (status & X87_SF) ? X87_C1 : 0;
    x87_commit(c, i, status & ~(unsigned)X87_C1, c1);
    compare_result(c, status, to);
    if (x87_unmasked(c, status & (X87_IE | X87_DE)))
        return;
    while (pops--)
        x87_pop(c);
}

#define UNORDERED (X87_C0 | X87_C2 | X87_C3)

static enum exc compare_register(struct cpu *c, const struct insn *i,
                                 unsigned st, x87_host_fn *fn,
                                 enum outcome to, unsigned pops)
{
    struct x87_host h;

    enum exc e = x87_enter(c);
    if (UNLIKELY(e))
        return e;
    if (UNLIKELY(x87_is_empty(c, 0) || x87_is_empty(c, st))) {
        compare_finish(c, i, X87_IE | X87_SF | UNORDERED, to, pops);
        return EXC_NONE;
    }
    host_set(c, &h, 0);
    host_set_b(c, &h, st);
    fn(&h);
    compare_finish(c, i, h.status, to, pops);
    return EXC_NONE;
}

static enum exc compare_memory(struct cpu *c, const struct insn *i,
                               x87_host_fn *fn, unsigned bytes, unsigned pops)
{
    struct x87_host h = {.b_mantissa = 0};

    enum exc e = x87_enter(c);
    if (UNLIKELY(e))
        return e;
    e = insn_read(c, i, h.mem, bytes);
    if (e)
        return e;
    if (UNLIKELY(x87_is_empty(c, 0))) {
        compare_finish(c, i, X87_IE | X87_SF | UNORDERED, TO_STATUS, pops);
        return EXC_NONE;
    }
    host_set(c, &h, 0);
    fn(&h);
    compare_finish(c, i, h.status, TO_STATUS, pops);
    return EXC_NONE;
}

static enum exc compare(struct cpu *c, const struct insn *i, unsigned pops)
{
    if (i->form != FORM_M)
        return compare_register(c, i, i->form == FORM_RR ? i->src : i->dst,
                                x87_host_com, TO_STATUS, pops);
    return i->size == 4 ? compare_memory(c, i, arith_com.f32, 4, pops)
                        : compare_memory(c, i, arith_com.f64, 8, pops);
}

static enum exc compare_int(struct cpu *c, const struct insn *i,
                            unsigned pops)
{
    return i->size == 2 ? compare_memory(c, i, arith_com.i16, 2, pops)
                        : compare_memory(c, i, arith_com.i32, 4, pops);
}

static unsigned other(const struct insn *i)
{
    return i->form == FORM_RR ? i->src : i->dst;
}

enum exc op_fcom(struct cpu *c, const struct insn *i)
{
    return compare(c, i, 0);
}
enum exc op_fcomp(struct cpu *c, const struct insn *i)
{
    return compare(c, i, 1);
}
enum exc op_fcompp(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, 1, x87_host_com, TO_STATUS, 2);
}
enum exc op_ficom(struct cpu *c, const struct insn *i)
{
    return compare_int(c, i, 0);
}
enum exc op_ficomp(struct cpu *c, const struct insn *i)
{
    return compare_int(c, i, 1);
}
enum exc op_fucom(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_ucom, TO_STATUS, 0);
}
enum exc op_fucomp(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_ucom, TO_STATUS, 1);
}
enum exc op_fucompp(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, 1, x87_host_ucom, TO_STATUS, 2);
}
enum exc op_fcomi(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_com, TO_FLAGS, 0);
}
enum exc op_fcomip(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_com, TO_FLAGS, 1);
}
enum exc op_fucomi(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_ucom, TO_FLAGS, 0);
}
enum exc op_fucomip(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, other(i), x87_host_ucom, TO_FLAGS, 1);
}
enum exc op_ftst(struct cpu *c, const struct insn *i)
{
    return compare_register(c, i, 0, x87_host_tst, TO_STATUS, 0);
}

/* C3 C2 C0 by class, C1 the sign (SDM vol. 2A FXAM). */
enum exc op_fxam(struct cpu *c, const struct insn *i)
{
    static const uint16_t codes[] = {
        [F80_ZERO] = X87_C3,
        [F80_DENORMAL] = X87_C3 | X87_C2,
        [F80_NORMAL] = X87_C2,
        [F80_INFINITY] = X87_C2 | X87_C0,
        [F80_QNAN] = X87_C0,
        [F80_SNAN] = X87_C0,
        [F80_UNSUPPORTED] = 0};
    struct f80 v = x87_get(c, 0);

    enum exc e = x87_enter(c);
    if (e)
        return e;
    unsigned code = x87_is_empty(c, 0) ? X87_C3 | X87_C0
                                       : codes[f80_classify(v)];
    x87_commit(c, i, code | (f80_sign(v) ? X87_C1 : 0u), X87_CC);
    return EXC_NONE;
}

/* ---- one operand ------------------------------------------------------ */

bool x87_one_operand(struct cpu *c, const struct insn *i, enum exc *e)
{
    *e = x87_enter(c);
    if (*e)
        return false;
    if (!x87_is_empty(c, 0))
        return true;
    if (x87_stack_fault(c, i, false))
        x87_set(c, 0, X87_INDEFINITE);
    return false;
}

enum exc op_fchs(struct cpu *c, const struct insn *i)
{
    enum exc e;

    if (x87_one_operand(c, i, &e)) {
        x87_commit(c, i, 0, X87_C1);
        c->x87.exponent[c->x87.top] ^= 0x8000;
    }
    return e;
}

enum exc op_fabs(struct cpu *c, const struct insn *i)
{
    enum exc e;

    if (x87_one_operand(c, i, &e)) {
        x87_commit(c, i, 0, X87_C1);
        c->x87.exponent[c->x87.top] &= 0x7fff;
    }
    return e;
}

static enum exc host_unary(struct cpu *c, const struct insn *i,
                           x87_host_fn *fn)
{
    struct x87_host h;
    enum exc e;

    if (x87_one_operand(c, i, &e)) {
        host_set(c, &h, 0);
        h.b_mantissa = h.b_exponent = 0;
        fn(&h);
        host_finish(c, i, &h, 0);
    }
    return e;
}

enum exc op_fsqrt(struct cpu *c, const struct insn *i)
{
    return host_unary(c, i, x87_host_sqrt);
}
enum exc op_frndint(struct cpu *c, const struct insn *i)
{
    return host_unary(c, i, x87_host_rndint);
}

bool x87_two_operands(struct cpu *c, const struct insn *i, enum exc *e)
{
    *e = x87_enter(c);
    if (*e)
        return false;
    if (!x87_is_empty(c, 0) && !x87_is_empty(c, 1))
        return true;
    if (x87_stack_fault(c, i, false))
        x87_set(c, 0, X87_INDEFINITE);
    return false;
}

enum exc op_fscale(struct cpu *c, const struct insn *i)
{
    struct x87_host h;
    enum exc e;

    if (x87_two_operands(c, i, &e)) {
        host_set(c, &h, 0);
        host_set_b(c, &h, 1);
        x87_host_scale(&h);
        host_finish(c, i, &h, 0);
    }
    return e;
}

/* ---- FXTRACT ---------------------------------------------------------- */

static void extract(struct f80 v, struct f80 *significand,
                    struct f80 *exponent, unsigned *status)
{
    enum f80_class class = f80_classify(v);
    uint16_t sign = v.exponent & 0x8000;

    *significand = *exponent = v;
    switch (class) {
    case F80_ZERO:
        *status = X87_ZE;
        *exponent = (struct f80){X87_INTEGER, 0xffff};
        return;
    case F80_INFINITY:
        exponent->exponent = 0x7fff;
        return;
    case F80_SNAN:
        *status = X87_IE;
        significand->mantissa |= 1ull << 62;
        *exponent = *significand;
        return;
    case F80_QNAN:
        return;
    case F80_UNSUPPORTED:
        *status = X87_IE;
        *significand = *exponent = X87_INDEFINITE;
        return;
    case F80_DENORMAL:
        *status = X87_DE;
        break;
    case F80_NORMAL:
        break;
    }
    struct wide w = wide_from_f80(v);
    uint64_t magnitude = (uint64_t)(w.e < 0 ? -w.e : w.e);
    significand->mantissa = (uint64_t)(w.m >> 64);
    significand->exponent = sign | 0x3fff;
    *exponent = (struct f80){0, 0};
    if (magnitude) {
        int shift = __builtin_clzll(magnitude);
        *exponent = (struct f80){
            magnitude << shift,
            (uint16_t)((w.e < 0) << 15 | (16446 - shift))};
    }
}

enum exc op_fxtract(struct cpu *c, const struct insn *i)
{
    struct f80 significand, exponent;
    unsigned status = 0;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    bool is_overflow = !x87_is_empty(c, 0) && !x87_is_empty(c, 7);
    if (x87_is_empty(c, 0) || is_overflow) {
        if (x87_stack_fault(c, i, is_overflow)) {
            x87_set(c, 0, X87_INDEFINITE);
            x87_push(c, X87_INDEFINITE);
        }
        return EXC_NONE;
    }
    extract(x87_get(c, 0), &significand, &exponent, &status);
    x87_commit(c, i, status, X87_C1);
    if (!x87_unmasked(c, status)) {
        x87_set(c, 0, exponent);
        x87_push(c, significand);
    }
    return EXC_NONE;
}

/* ---- partial remainder ------------------------------------------------ */

/* Results that need no division. True when *v and *status hold one. */
static bool remainder_special(struct f80 a, struct f80 b, struct f80 *v,
                              unsigned *status)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);

    *v = a;
    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED) {
        *v = X87_INDEFINITE;
        *status = X87_IE;
        return true;
    }
    if (ca >= F80_QNAN || cb >= F80_QNAN) {
        *v = x87_propagate_nan(a, b, status);
        return true;
    }
    if (ca == F80_INFINITY || cb == F80_ZERO) {
        *v = X87_INDEFINITE;
        *status = X87_IE;
        return true;
    }
    if (ca == F80_DENORMAL || cb == F80_DENORMAL)
        *status = X87_DE;
    return ca == F80_ZERO || cb == F80_INFINITY;
}

/* Where the exponents differ by 64 or more, one step takes off 32 + D mod 32
 * bits of the quotient: the SDM leaves 32..63 to the CPU. */
static struct f80 remainder_finite(const struct cpu *c, struct f80 a,
                                   struct f80 b, bool is_nearest,
                                   unsigned *status)
{
    struct wide wa = wide_from_f80(a), wb = wide_from_f80(b);
    uint64_t ma = (uint64_t)(wa.m >> 64), mb = (uint64_t)(wb.m >> 64);
    int d = wa.e - wb.e;
    uint64_t quotient = 0, rest = ma;
    bool negative = wa.is_negative;

    if (d < -1 || (d == -1 && !is_nearest)) {
        d = 0; /* |a| < |b| / 2, or truncation: a remains */
        wb.e = wa.e;
    } else if (d == -1) {
        /* |b|/4 < |a| < |b|: quotient 0 or 1, in units of wa.e */
        unsigned __int128 twice = (unsigned __int128)mb << 1;
        wb.e = wa.e;
        if ((unsigned __int128)ma > mb) {
            quotient = 1;
            rest = (uint64_t)(twice - ma);
            negative = !negative;
        }
    } else if (d < 64) {
        unsigned __int128 n = (unsigned __int128)ma << d;
        quotient = (uint64_t)(n / mb);
        rest = (uint64_t)(n % mb);
        if (is_nearest && (rest > mb - rest ||
                           (rest == mb - rest && (quotient & 1)))) {
            quotient++;
            rest = mb - rest;
            negative = !negative;
        }
    } else {
        unsigned n = (d & 31) | 32;
        rest = (uint64_t)(((unsigned __int128)ma << n) % mb);
        wb.e += d - (int)n;
        *status |= X87_C2;
    }
    if (!(*status & X87_C2))
        *status |= (quotient & 4 ? X87_C0 : 0u) | (quotient & 2 ? X87_C3 : 0u) |
                   (quotient & 1 ? X87_C1 : 0u);
    if (!rest)
        return (struct f80){0, a.exponent & 0x8000};
    int shift = __builtin_clzll(rest);
    struct wide w = {(unsigned __int128)rest << (64 + shift), wb.e - shift,
                     negative};
    unsigned flags = 0;
    struct f80 v = wide_round(w, false, c->x87.control, &flags);
    *status |= flags & ~X87_C1;
    return v;
}

static enum exc partial_remainder(struct cpu *c, const struct insn *i,
                                  bool is_nearest)
{
    unsigned status = 0;
    struct f80 v;
    enum exc e;

    if (!x87_two_operands(c, i, &e)) {
        x87_clear_c2(c, e);
        return e;
    }
    struct f80 a = x87_get(c, 0), b = x87_get(c, 1);
    bool is_special = remainder_special(a, b, &v, &status);
    if (x87_unmasked(c, status)) {
        x87_commit(c, i, status, X87_C1 | X87_C2);
        return EXC_NONE;
    }
    if (!is_special)
        v = remainder_finite(c, a, b, is_nearest, &status);
    x87_commit(c, i, status,
               f80_classify(v) >= F80_QNAN ? X87_C1 | X87_C2 : X87_CC);
    x87_set(c, 0, v);
    return EXC_NONE;
}

enum exc op_fprem(struct cpu *c, const struct insn *i)
{
    return partial_remainder(c, i, false);
}
enum exc op_fprem1(struct cpu *c, const struct insn *i)
{
    return partial_remainder(c, i, true);
}
