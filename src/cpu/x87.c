/* x87 status, exceptions and the reporting of errors (SDM vol. 1 ch. 8 and
 * app. D; vol. 3A 2.5 for CR0's bits). */
#include "cpu/x87.h"

#include "cpu/x87_internal.h"

/* FERR# is asserted late, as since the Pentium: not by the instruction with the
 * error but when the next waiting one finds it. Then a CPU with NE = 0 stops
 * until an interrupt comes; where IRQ 13 cannot be taken that would be for
 * ever, so execution goes on instead. */
static enum exc x87_report(struct cpu *c)
{
    if (c->cr0 & CR0_NE)
        return EXC_MF;
    if (c->x87_ignne)
        return EXC_NONE;
    if (!c->ferr) {
        c->ferr = true;
        if (c->board.ferr)
            c->board.ferr(c->board.context, true);
    }
    if (!c->intr || !(c->flags & FLAG_IF) || c->shadow)
        return EXC_NONE;
    cpu_attention(c);
    return EXC_REP_BREAK;
}

enum exc x87_enter(struct cpu *c)
{
    if (UNLIKELY(c->cr0 & (CR0_EM | CR0_TS)))
        return EXC_NM;
    if (UNLIKELY(c->x87.status & X87_ES))
        return x87_report(c);
    return EXC_NONE;
}

enum exc x87_enter_mmx(struct cpu *c)
{
    if (UNLIKELY(c->cr0 & CR0_EM))
        return EXC_UD;
    return x87_enter(c);
}

enum exc op_fwait(struct cpu *c, const struct insn *i)
{
    (void)i;
    if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        return EXC_NM;
    return c->x87.status & X87_ES ? x87_report(c) : EXC_NONE;
}

void x87_update_summary(struct cpu *c)
{
    if (x87_unmasked(c, c->x87.status)) {
        c->x87.status |= X87_ES | X87_BUSY;
        return;
    }
    c->x87.status &= (uint16_t)~(X87_ES | X87_BUSY);
    c->x87_ignne = false;
    if (c->ferr) {
        c->ferr = false;
        if (c->board.ferr)
            c->board.ferr(c->board.context, false);
    }
}

void x87_ignne(struct cpu *c)
{
    if (!c->ferr)
        return;
    c->x87_ignne = true;
    if (c->board.ferr)
        c->board.ferr(c->board.context, false);
}

void x87_init(struct cpu *c)
{
    c->x87.control = 0x37f;
    c->x87.status = 0;
    c->x87.top = 0;
    c->x87.valid = 0;
    c->x87.opcode = 0;
    c->x87.ip = c->x87.dp = 0;
    c->x87.cs = c->x87.ds = 0;
    x87_update_summary(c);
}

/* FOP: the low three bits of the first opcode byte and all of the second. The
 * bytes are read again because only an unmasked exception needs them (SDM vol.
 * 1 8.1.9.1, fopcode compatibility mode off). */
static uint16_t x87_fetch_opcode(struct cpu *c, const struct insn *i)
{
    uint8_t bytes[16] = {0};
    uint64_t linear =
        (c->r[REG_RIP] - i->len + c->ea_base[SEG_CS]) & c->linear_mask;
    const void *hit = cpu_tlb_read_hit(c, linear, i->len);

    if (hit)
        memcpy(bytes, hit, i->len);
    else if (cpu_system_read(c, linear, bytes, i->len))
        return 0;
    for (unsigned k = 0; k + 1 < i->len; k++)
        if (bytes[k] >= 0xd8 && bytes[k] <= 0xdf)
            return (uint16_t)((bytes[k] & 7) << 8 | bytes[k + 1]);
    return 0;
}

void x87_commit(struct cpu *c, const struct insn *i, unsigned status,
                unsigned codes)
{
    const unsigned taken = X87_EXCEPTIONS | X87_SF;

    c->x87.ip = c->r[REG_RIP] - i->len;
    if (c->mode != MODE_64)
        c->x87.ip = (uint32_t)c->x87.ip;
    c->x87.cs = c->seg[SEG_CS].selector;
    if (i->form == FORM_M) {
        c->x87.dp = insn_offset(c, i);
        c->x87.ds = c->seg[i->seg & 7].selector;
    }
    c->x87.status = (uint16_t)((c->x87.status & ~codes) |
                               (status & (codes | taken)));
    if (UNLIKELY(x87_unmasked(c, status))) {
        c->x87.opcode = x87_fetch_opcode(c, i);
        x87_update_summary(c);
    }
}

bool x87_stack_fault(struct cpu *c, const struct insn *i, bool is_overflow)
{
    x87_commit(c, i, X87_IE | X87_SF | (is_overflow ? X87_C1 : 0u), X87_C1);
    return !x87_unmasked(c, X87_IE);
}

enum f80_class f80_classify(struct f80 v)
{
    unsigned exponent = v.exponent & 0x7fff;

    if (exponent == 0)
        return v.mantissa ? F80_DENORMAL : F80_ZERO;
    if (!(v.mantissa & X87_INTEGER))
        return F80_UNSUPPORTED;
    if (exponent != 0x7fff)
        return F80_NORMAL;
    if (v.mantissa == X87_INTEGER)
        return F80_INFINITY;
    return v.mantissa >> 62 & 1 ? F80_QNAN : F80_SNAN;
}

struct f80 x87_propagate_nan(struct f80 a, struct f80 b, unsigned *status)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    bool a_nan = ca == F80_QNAN || ca == F80_SNAN;
    bool b_nan = cb == F80_QNAN || cb == F80_SNAN;
    bool takes_a;

    if (ca == F80_SNAN || cb == F80_SNAN)
        *status |= X87_IE;
    if (!a_nan || !b_nan)
        takes_a = a_nan;
    else if (ca != cb)
        takes_a = ca == F80_QNAN;
    else if (a.mantissa != b.mantissa)
        takes_a = a.mantissa > b.mantissa;
    else
        takes_a = !f80_sign(a);
    struct f80 v = takes_a ? a : b;
    v.mantissa |= 1ull << 62;
    return v;
}

struct wide wide_from_f80(struct f80 v)
{
    int e = v.exponent & 0x7fff;
    int shift = __builtin_clzll(v.mantissa);

    if (e == 0)
        e = 1;
    return (struct wide){(unsigned __int128)v.mantissa << (64 + shift),
                         e - 16383 - shift, f80_sign(v)};
}

/* Does the discarded part, `rest` of a unit of 2^64 in the last place, round
 * the magnitude up? */
static bool rounds_up(uint64_t kept, uint64_t rest, bool sticky, bool negative,
                      uint16_t control)
{
    switch (control >> 10 & 3) {
    case 0:
        if (rest != 1ull << 63)
            return rest > 1ull << 63;
        return sticky || (kept & 1);
    case 1:
        return negative && (rest || sticky);
    case 2:
        return !negative && (rest || sticky);
    default:
        return false;
    }
}

static struct f80 round_overflow(bool negative, uint16_t control,
                                 unsigned *status)
{
    unsigned rc = control >> 10 & 3;
    bool to_infinity = rc == 0 || (rc == 1 && negative) ||
                       (rc == 2 && !negative);

    *status |= X87_OE | X87_PE | (to_infinity ? X87_C1 : 0u);
    if (to_infinity)
        return (struct f80){X87_INTEGER, (uint16_t)(negative << 15 | 0x7fff)};
    return (struct f80){UINT64_MAX, (uint16_t)(negative << 15 | 0x7ffe)};
}

static struct f80 round_denormal(struct wide v, int biased, bool sticky,
                                 uint16_t control, unsigned *status)
{
    unsigned shift = (unsigned)(1 - biased);

    if (shift >= 128) {
        sticky = true;
        v.m = 0;
    } else {
        sticky |= (v.m << (128 - shift)) != 0;
        v.m >>= shift;
    }
    uint64_t kept = (uint64_t)(v.m >> 64), rest = (uint64_t)v.m;
    if (rest || sticky)
        *status |= X87_UE | X87_PE;
    if (rounds_up(kept, rest, sticky, v.is_negative, control)) {
        kept++;
        *status |= X87_C1;
    }
    return (struct f80){kept, (uint16_t)(v.is_negative << 15 |
                                         (kept & X87_INTEGER ? 1 : 0))};
}

struct f80 wide_round(struct wide v, bool is_inexact, uint16_t control,
                      unsigned *status)
{
    uint64_t kept = (uint64_t)(v.m >> 64), rest = (uint64_t)v.m;
    int biased = v.e + 16383;
    bool up = rounds_up(kept, rest, is_inexact, v.is_negative, control);
    int after = biased;
    const int bias_adjust = 24576; /* SDM vol. 1 8.5.4, 8.5.5 */

    if (v.m == 0)
        return (struct f80){0, (uint16_t)(v.is_negative << 15)};
    if (up && ++kept == 0) {
        kept = X87_INTEGER;
        after++;
    }
    if (after > 0x7ffe) {
        if (control & X87_OE)
            return round_overflow(v.is_negative, control, status);
        *status |= X87_OE;
        after -= bias_adjust;
    } else if (after < 1) {
        if (control & X87_UE)
            return round_denormal(v, biased, is_inexact, control, status);
        *status |= X87_UE;
        after += bias_adjust;
    }
    if (rest || is_inexact)
        *status |= X87_PE | (up ? X87_C1 : 0u);
    return (struct f80){kept, (uint16_t)(v.is_negative << 15 | after)};
}
