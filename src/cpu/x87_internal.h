/* The x87 stack, status and exceptions, for the files of this unit only. */
#ifndef RELIVE_CPU_X87_INTERNAL_H
#define RELIVE_CPU_X87_INTERNAL_H

#include "cpu/access.h"
#include "cpu/x87.h"

/* Status word bits (SDM vol. 1 8.1.3); the low six are masks in the control
 * word too. */
enum {
    X87_IE = 0x1,
    X87_DE = 0x2,
    X87_ZE = 0x4,
    X87_OE = 0x8,
    X87_UE = 0x10,
    X87_PE = 0x20,
    X87_EXCEPTIONS = 0x3f,
    X87_SF = 0x40,
    X87_ES = 0x80,
    X87_C0 = 0x100,
    X87_C1 = 0x200,
    X87_C2 = 0x400,
    X87_C3 = 0x4000,
    X87_CC = 0x4700,
    X87_BUSY = 0x8000
};

struct f80 {
    uint64_t mantissa;
    uint16_t exponent; /* sign in bit 15 */
};

#define X87_INDEFINITE ((struct f80){0xc000000000000000, 0xffff})
#define X87_INTEGER    0x8000000000000000 /* the explicit integer bit */

/* Classes of an 80-bit value (SDM vol. 1 tables 4-3 and 8-3). */
enum f80_class {
    F80_ZERO,
    F80_DENORMAL, /* pseudo-denormals too */
    F80_NORMAL,
    F80_INFINITY,
    F80_QNAN,
    F80_SNAN,
    F80_UNSUPPORTED
};
enum f80_class f80_classify(struct f80 v);
static inline bool f80_sign(struct f80 v)
{
    return v.exponent >> 15;
}

static inline unsigned x87_slot(const struct cpu *c, unsigned st)
{
    return (c->x87.top + st) & 7;
}
static inline bool x87_is_empty(const struct cpu *c, unsigned st)
{
    return !(c->x87.valid >> x87_slot(c, st) & 1);
}
static inline struct f80 x87_get(const struct cpu *c, unsigned st)
{
    unsigned slot = x87_slot(c, st);
    return (struct f80){c->x87.mantissa[slot], c->x87.exponent[slot]};
}
static inline void x87_set(struct cpu *c, unsigned st, struct f80 v)
{
    unsigned slot = x87_slot(c, st);
    c->x87.mantissa[slot] = v.mantissa;
    c->x87.exponent[slot] = v.exponent;
    c->x87.valid |= (uint8_t)(1u << slot);
}
static inline void x87_pop(struct cpu *c)
{
    c->x87.valid &= (uint8_t)~(1u << c->x87.top);
    c->x87.top = (c->x87.top + 1) & 7;
}
static inline void x87_push(struct cpu *c, struct f80 v)
{
    c->x87.top = (c->x87.top - 1) & 7;
    x87_set(c, 0, v);
}
/* Is an unmasked one among these exceptions? */
static inline bool x87_unmasked(const struct cpu *c, unsigned flags)
{
    return (flags & ~c->x87.control & X87_EXCEPTIONS) != 0;
}

/* Before a waiting instruction: #NM, #MF, or FERR#. */
enum exc x87_enter(struct cpu *c);

/* The instruction executes: remember it and its operand, take the exception
 * flags and SF from `status` and replace the condition codes in `codes` with
 * those of `status`. */
void x87_commit(struct cpu *c, const struct insn *i, unsigned status,
                unsigned codes);

/* Stack underflow or overflow: commit it; true when the masked response, an
 * indefinite, is due. */
bool x87_stack_fault(struct cpu *c, const struct insn *i, bool is_overflow);

/* Before an instruction on ST(0), or ST(0) and ST(1), whose result replaces
 * ST(0): false when it is over, by the fault in *e or by stack underflow. */
bool x87_one_operand(struct cpu *c, const struct insn *i, enum exc *e);
bool x87_two_operands(struct cpu *c, const struct insn *i, enum exc *e);

/* The instructions that report in C2 clear it on a stack fault too. */
static inline void x87_clear_c2(struct cpu *c, enum exc e)
{
    if (!e)
        c->x87.status &= (uint16_t)~X87_C2;
}

/* The NaN that two operands with at least one NaN give: the QNaN of a QNaN and
 * an SNaN, else the larger significand, else the positive one; adds IE to
 * *status for an SNaN (SDM vol. 1 table 4-7). */
struct f80 x87_propagate_nan(struct f80 a, struct f80 b, unsigned *status);

/* ES, B and FERR# after status or control changed. */
void x87_update_summary(struct cpu *c);

/* Wide arithmetic for what IEEE does not define: value m * 2^(e - 127), with
 * the top bit of m set unless m is 0. */
struct wide {
    unsigned __int128 m;
    int32_t e;
    bool is_negative;
};
/* A finite nonzero value, denormals normalised. */
struct wide wide_from_f80(struct f80 v);
/* Round to 64 bits as the control word's RC says (PC does not apply), with
 * masked or unmasked overflow and underflow. is_inexact: the true value is a
 * little above m. Adds OE, UE, PE and C1 to *status. */
struct f80 wide_round(struct wide v, bool is_inexact, uint16_t control,
                      unsigned *status);

/* The transcendental functions (x87_transcendental.c) for finite nonzero
 * arguments. */
struct wide_sincos {
    struct wide sin, cos;
};
struct wide_sincos wide_sine_cosine(struct f80 x); /* |x| < 2^63 */
struct wide wide_div(struct wide a, struct wide b);
struct wide wide_exp2m1(struct f80 x);                   /* |x| < 1 */
struct wide wide_atan2(struct f80 y, struct f80 x);
struct wide wide_ylog2(struct f80 y, struct wide x, bool *is_exact); /* x > 0 */
struct wide wide_ylog2p1(struct f80 y, struct f80 x);    /* x > -1 */
/* n/4 of pi, for infinite and zero arguments of FPATAN. */
struct wide wide_quarter_pi(unsigned n);

#define INSN(mnemonic, handler, class) insn_fn handler;
#include "cpu/insn_x87.def"
#undef INSN

#endif
