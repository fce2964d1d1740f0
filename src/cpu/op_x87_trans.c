/* FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: special operands
 * and exceptions (the tables of SDM vol. 2A); x87_transcendental.c computes. */
#include "cpu/x87_internal.h"

static const struct f80 f80_zero = {0, 0};
static const struct f80 f80_one = {X87_INTEGER, 0x3fff};

static struct f80 with_sign(struct f80 v, bool is_negative)
{
    v.exponent = (uint16_t)((v.exponent & 0x7fff) | is_negative << 15);
    return v;
}

static struct f80 infinity(bool is_negative)
{
    return with_sign((struct f80){X87_INTEGER, 0x7fff}, is_negative);
}

static struct f80 invalid(unsigned *status)
{
    *status = X87_IE;
    return X87_INDEFINITE;
}

static struct f80 quieted(struct f80 v, enum f80_class class, unsigned *status)
{
    if (class == F80_SNAN)
        *status |= X87_IE;
    v.mantissa |= 1ull << 62;
    return v;
}

/* True for an operand pair that gives a NaN whatever the function. */
static bool nan_of_two(struct f80 a, struct f80 b, struct f80 *v,
                       unsigned *status)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);

    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED) {
        *v = invalid(status);
        return true;
    }
    if (ca >= F80_QNAN || cb >= F80_QNAN) {
        *v = x87_propagate_nan(a, b, status);
        return true;
    }
    return false;
}

/* Commit an outcome; false when an unmasked exception found in the operands
 * keeps the function from being computed. */
static bool commit(struct cpu *c, const struct insn *i, unsigned status,
                   unsigned codes)
{
    const unsigned early = X87_IE | X87_DE | X87_ZE;

    if (x87_unmasked(c, status & early)) {
        x87_commit(c, i, status & early, codes);
        return false;
    }
    x87_commit(c, i, status, codes);
    return true;
}

/* ---- trigonometric functions of ST(0) --------------------------------- */

struct trig {
    struct f80 sin, cos, tan;
    unsigned status;
};

enum trig_result {
    TRIG_SIN,
    TRIG_COS,
    TRIG_SINCOS,
    TRIG_TAN
};

static struct f80 round_inexact(struct wide v, uint16_t control,
                                unsigned *status)
{
    *status &= ~X87_C1;
    return wide_round(v, true, control, status);
}

static void trig_finite(struct f80 x, enum trig_result want, uint16_t control,
                        struct trig *t)
{
    struct wide_sincos w = wide_sine_cosine(x);

    if (want == TRIG_SIN || want == TRIG_SINCOS)
        t->sin = round_inexact(w.sin, control, &t->status);
    if (want == TRIG_COS || want == TRIG_SINCOS)
        t->cos = round_inexact(w.cos, control, &t->status);
    if (want == TRIG_TAN)
        t->tan =
            round_inexact(wide_div(w.sin, w.cos), control, &t->status);
}

static struct trig trig_value(struct f80 x, enum trig_result want,
                              uint16_t control)
{
    struct trig t = {x, f80_one, x, 0};
    enum f80_class class = f80_classify(x);

    switch (class) {
    case F80_ZERO:
        break;
    case F80_INFINITY:
    case F80_UNSUPPORTED:
        t.sin = t.cos = t.tan = invalid(&t.status);
        break;
    case F80_QNAN:
    case F80_SNAN:
        t.sin = t.cos = t.tan = quieted(x, class, &t.status);
        break;
    case F80_DENORMAL:
        t.status = X87_DE;
        if (!(control & X87_DE))
            break;
        trig_finite(x, want, control, &t);
        break;
    case F80_NORMAL:
        trig_finite(x, want, control, &t);
        break;
    }
    return t;
}

/* C2 for |x| >= 2^63: the operand stays. */
static bool is_out_of_range(struct f80 x)
{
    return f80_classify(x) == F80_NORMAL &&
           (x.exponent & 0x7fff) >= 0x3fff + 63;
}

static enum exc trig_one(struct cpu *c, const struct insn *i,
                         enum trig_result want)
{
    enum exc e;

    if (!x87_one_operand(c, i, &e)) {
        x87_clear_c2(c, e);
        return e;
    }
    struct f80 x = x87_get(c, 0);
    if (is_out_of_range(x)) {
        x87_commit(c, i, X87_C2, X87_C1 | X87_C2);
        return EXC_NONE;
    }
    struct trig t = trig_value(x, want, c->x87.control);
    if (commit(c, i, t.status, X87_C1 | X87_C2))
        x87_set(c, 0, want == TRIG_SIN ? t.sin : t.cos);
    return EXC_NONE;
}

enum exc op_fsin(struct cpu *c, const struct insn *i)
{
    return trig_one(c, i, TRIG_SIN);
}
enum exc op_fcos(struct cpu *c, const struct insn *i)
{
    return trig_one(c, i, TRIG_COS);
}

/* FSINCOS and FPTAN: replace ST(0), then push. */
static enum exc trig_two(struct cpu *c, const struct insn *i,
                         enum trig_result want)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    bool is_overflow = !x87_is_empty(c, 0) && !x87_is_empty(c, 7);
    if (x87_is_empty(c, 0) || is_overflow) {
        if (x87_stack_fault(c, i, is_overflow)) {
            x87_set(c, 0, X87_INDEFINITE);
            x87_push(c, X87_INDEFINITE);
        }
        x87_clear_c2(c, EXC_NONE);
        return EXC_NONE;
    }
    struct f80 x = x87_get(c, 0);
    if (is_out_of_range(x)) {
        x87_commit(c, i, X87_C2, X87_C1 | X87_C2);
        return EXC_NONE;
    }
    struct trig t = trig_value(x, want, c->x87.control);
    if (!commit(c, i, t.status, X87_C1 | X87_C2))
        return EXC_NONE;
    bool is_nan = f80_classify(t.tan) >= F80_QNAN;
    x87_set(c, 0, want == TRIG_TAN ? t.tan : t.sin);
    x87_push(c, want == TRIG_SINCOS ? t.cos : is_nan ? t.tan : f80_one);
    return EXC_NONE;
}

enum exc op_fsincos(struct cpu *c, const struct insn *i)
{
    return trig_two(c, i, TRIG_SINCOS);
}
enum exc op_fptan(struct cpu *c, const struct insn *i)
{
    return trig_two(c, i, TRIG_TAN);
}

/* ---- F2XM1 ------------------------------------------------------------ */

/* Outside -1..1 the SDM leaves the result undefined: the operand stays. */
static struct f80 exp2m1_value(struct f80 x, uint16_t control,
                               unsigned *status)
{
    enum f80_class class = f80_classify(x);

    switch (class) {
    case F80_ZERO:
        return x;
    case F80_INFINITY:
        return f80_sign(x) ? with_sign(f80_one, true) : x;
    case F80_QNAN:
    case F80_SNAN:
        return quieted(x, class, status);
    case F80_UNSUPPORTED:
        return invalid(status);
    case F80_DENORMAL:
        *status = X87_DE;
        break;
    case F80_NORMAL:
        break;
    }
    if ((x.exponent & 0x7fff) >= 0x3fff) {
        if (x.exponent == 0xbfff && x.mantissa == X87_INTEGER)
            x.exponent = 0xbffe; /* -1: -0.5 */
        *status |= X87_PE; /* as Intel's CPUs, for exact results too */
        return x;
    }
    return wide_round(wide_exp2m1(x), true, control, status);
}

enum exc op_f2xm1(struct cpu *c, const struct insn *i)
{
    unsigned status = 0;
    enum exc e;

    if (!x87_one_operand(c, i, &e))
        return e;
    struct f80 v = exp2m1_value(x87_get(c, 0), c->x87.control, &status);
    if (commit(c, i, status, X87_C1))
        x87_set(c, 0, v);
    return EXC_NONE;
}

/* ---- functions of ST(1) and ST(0) ------------------------------------- */

typedef struct f80 pair_fn(struct f80 y, struct f80 x, uint16_t control,
                           unsigned *status);

/* ST(1) = f(ST(1), ST(0)), pop. */
static enum exc pair(struct cpu *c, const struct insn *i, pair_fn *f)
{
    unsigned status = 0;
    struct f80 v;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    if (x87_is_empty(c, 0) || x87_is_empty(c, 1)) {
        if (x87_stack_fault(c, i, false)) {
            x87_set(c, 1, X87_INDEFINITE);
            x87_pop(c);
        }
        return EXC_NONE;
    }
    struct f80 x = x87_get(c, 0), y = x87_get(c, 1);
    if (!nan_of_two(x, y, &v, &status))
        v = f(y, x, c->x87.control, &status);
    if (!commit(c, i, status, X87_C1))
        return EXC_NONE;
    x87_set(c, 1, v);
    x87_pop(c);
    return EXC_NONE;
}

static unsigned denormal_status(struct f80 y, struct f80 x)
{
    return f80_classify(x) == F80_DENORMAL || f80_classify(y) == F80_DENORMAL
               ? X87_DE
               : 0;
}

static struct f80 atan_value(struct f80 y, struct f80 x, uint16_t control,
                             unsigned *status)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    unsigned quarters;

    *status |= denormal_status(y, x);
    if (cy == F80_INFINITY)
        quarters = cx != F80_INFINITY ? 2 : f80_sign(x) ? 3 : 1;
    else if (cx == F80_INFINITY || cy == F80_ZERO)
        quarters = f80_sign(x) ? 4 : 0;
    else if (cx == F80_ZERO)
        quarters = 2;
    else
        return wide_round(wide_atan2(y, x), true, control, status);
    if (quarters == 0)
        return with_sign(f80_zero, f80_sign(y));
    struct wide w = wide_quarter_pi(quarters);
    w.is_negative = f80_sign(y);
    return wide_round(w, true, control, status);
}

enum exc op_fpatan(struct cpu *c, const struct insn *i)
{
    return pair(c, i, atan_value);
}

/* x compared with 1, for positive finite x. */
static int compare_one(struct f80 x)
{
    unsigned exponent = x.exponent & 0x7fff;

    if (exponent != 0x3fff)
        return exponent < 0x3fff ? -1 : 1;
    return x.mantissa != X87_INTEGER;
}

static struct f80 log2_of_zero(struct f80 y, unsigned *status)
{
    enum f80_class cy = f80_classify(y);

    if (cy == F80_ZERO)
        return invalid(status);
    if (cy != F80_INFINITY)
        *status |= X87_ZE;
    return infinity(!f80_sign(y));
}

static struct f80 ylog2_value(struct f80 y, struct f80 x, uint16_t control,
                              unsigned *status)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    bool is_exact;

    if (cx == F80_ZERO)
        return log2_of_zero(y, status);
    if (f80_sign(x))
        return invalid(status);
    if (cx == F80_INFINITY)
        return cy == F80_ZERO ? invalid(status) : infinity(f80_sign(y));
    int side = compare_one(x);
    if (cy == F80_INFINITY && side == 0)
        return invalid(status);
    *status |= denormal_status(y, x);
    if (cy == F80_INFINITY || cy == F80_ZERO)
        return with_sign(y, f80_sign(y) != (side < 0));
    struct wide r = wide_ylog2(y, wide_from_f80(x), &is_exact);
    if (!r.m)
        return with_sign(f80_zero, f80_sign(y));
    *status |= X87_PE; /* as Intel's CPUs, for exact results too */
    return wide_round(r, !is_exact, control, status);
}

enum exc op_fyl2x(struct cpu *c, const struct insn *i)
{
    return pair(c, i, ylog2_value);
}

/* The SDM leaves the result undefined for x <= -1: x, as on Intel's CPUs. */
static struct f80 ylog2p1_value(struct f80 y, struct f80 x, uint16_t control,
                                unsigned *status)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    bool sign = f80_sign(x) != f80_sign(y);

    if (cx == F80_ZERO) {
        if (cy == F80_INFINITY)
            return invalid(status);
        *status |= denormal_status(y, x);
        return with_sign(f80_zero, sign);
    }
    if (f80_sign(x) && cx == F80_INFINITY)
        return invalid(status);
    if (cx == F80_INFINITY)
        return cy == F80_ZERO ? invalid(status) : infinity(f80_sign(y));
    *status |= denormal_status(y, x);
    if (f80_sign(x) && (x.exponent & 0x7fff) >= 0x3fff) {
        *status |= X87_PE;
        return x;
    }
    if (cy == F80_ZERO || cy == F80_INFINITY)
        return with_sign(y, sign);
    return wide_round(wide_ylog2p1(y, x), true, control, status);
}

enum exc op_fyl2xp1(struct cpu *c, const struct insn *i)
{
    return pair(c, i, ylog2p1_value);
}
