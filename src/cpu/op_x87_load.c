/* x87 data transfer: loads, stores, constants, exchange, conditional moves
 * (SDM vol. 1 8.3.3, 8.3.4). */
#include "cpu/x87_host.h"
#include "cpu/x87_internal.h"

/* ---- loads ------------------------------------------------------------ */

static struct f80 f80_from_int(int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    if (!magnitude)
        return (struct f80){0, 0};
    int shift = __builtin_clzll(magnitude);
    return (struct f80){magnitude << shift,
                        (uint16_t)((value < 0) << 15 | (16446 - shift))};
}

/* The value of m32fp or m64fp; sets *is_odd for denormals and SNaNs, which
 * raise something. */
static struct f80 f80_from_f32(uint32_t v, bool *is_odd)
{
    unsigned exponent = v >> 23 & 0xff;
    uint64_t fraction = (uint64_t)(v & 0x7fffff) << 40;
    uint16_t sign = (uint16_t)(v >> 31 << 15);

    *is_odd = exponent == 0 ? fraction != 0
                            : exponent == 0xff && fraction &&
                                  !(fraction >> 62 & 1);
    if (exponent == 0)
        return (struct f80){0, sign};
    return (struct f80){
        fraction | X87_INTEGER,
        (uint16_t)(sign | (exponent == 0xff ? 0x7fff
                                            : exponent + 16383 - 127))};
}

static struct f80 f80_from_f64(uint64_t v, bool *is_odd)
{
    unsigned exponent = v >> 52 & 0x7ff;
    uint64_t fraction = (v & 0xfffffffffffff) << 11;
    uint16_t sign = (uint16_t)(v >> 63 << 15);

    *is_odd = exponent == 0 ? fraction != 0
                            : exponent == 0x7ff && fraction &&
                                  !(fraction >> 62 & 1);
    if (exponent == 0)
        return (struct f80){0, sign};
    return (struct f80){
        fraction | X87_INTEGER,
        (uint16_t)(sign | (exponent == 0x7ff ? 0x7fff
                                             : exponent + 16383 - 1023))};
}

/* Commit and push v, or respond to overflow. */
static enum exc load_value(struct cpu *c, const struct insn *i, struct f80 v)
{
    if (UNLIKELY(!x87_is_empty(c, 7))) {
        if (x87_stack_fault(c, i, true))
            x87_push(c, X87_INDEFINITE);
        return EXC_NONE;
    }
    x87_commit(c, i, 0, X87_C1);
    x87_push(c, v);
    return EXC_NONE;
}

/* A denormal or signalling operand: the host knows the responses. */
static enum exc load_odd(struct cpu *c, const struct insn *i, const void *raw)
{
    if (!x87_is_empty(c, 7))
        return load_value(c, i, X87_INDEFINITE);
    struct x87_host h = {.control = c->x87.control};
    memcpy(h.mem, raw, 8);
    if (i->size == 4)
        x87_host_ld_f32(&h);
    else
        x87_host_ld_f64(&h);
    x87_commit(c, i, h.status, X87_C1);
    if (!x87_unmasked(c, h.status & X87_IE)) /* DE: pushed all the same */
        x87_push(c, (struct f80){h.a_mantissa, h.a_exponent});
    return EXC_NONE;
}

static enum exc load_register(struct cpu *c, const struct insn *i)
{
    if (x87_is_empty(c, i->dst)) {
        if (x87_stack_fault(c, i, false))
            x87_push(c, X87_INDEFINITE);
        return EXC_NONE;
    }
    return load_value(c, i, x87_get(c, i->dst));
}

enum exc op_fld(struct cpu *c, const struct insn *i)
{
    uint8_t raw[16] = {0};
    uint64_t bits;
    struct f80 v;
    bool is_odd = false;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    if (i->form != FORM_M)
        return load_register(c, i);
    e = insn_read(c, i, raw, i->size == 4 ? 4 : i->size == 8 ? 8 : 10);
    if (e)
        return e;
    memcpy(&bits, raw, 8);
    if (i->size == 4)
        v = f80_from_f32((uint32_t)bits, &is_odd);
    else if (i->size == 8)
        v = f80_from_f64(bits, &is_odd);
    else
        v = (struct f80){bits, (uint16_t)(raw[8] | raw[9] << 8)};
    return is_odd ? load_odd(c, i, raw) : load_value(c, i, v);
}

enum exc op_fild(struct cpu *c, const struct insn *i)
{
    uint64_t bits = 0;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    unsigned bytes = i->size == 2 ? 2 : i->size == 4 ? 4 : 8;
    e = insn_read(c, i, &bits, bytes);
    if (e)
        return e;
    int64_t value = bytes == 2   ? (int16_t)bits
                    : bytes == 4 ? (int32_t)bits
                                 : (int64_t)bits;
    return load_value(c, i, f80_from_int(value));
}

/* Packed BCD: 18 digits and a sign byte. Invalid digits count as their nibble
 * (the SDM leaves the result undefined). */
enum exc op_fbld(struct cpu *c, const struct insn *i)
{
    uint8_t raw[10];
    uint64_t value = 0;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    e = insn_read(c, i, raw, 10);
    if (e)
        return e;
    for (int k = 8; k >= 0; k--)
        value = value * 100 + (raw[k] >> 4) * 10u + (raw[k] & 15u);
    struct f80 v = f80_from_int((int64_t)value);
    v.exponent |= (uint16_t)(raw[9] >> 7 << 15);
    return load_value(c, i, v);
}

/* The constants are rounded as RC says: `below` is the value rounded down,
 * is_up_nearest whether the nearest is one more (SDM vol. 1 8.3.8). */
static enum exc load_constant(struct cpu *c, const struct insn *i,
                              struct f80 below, bool is_up_nearest)
{
    unsigned rc = c->x87.control >> 10 & 3;
    enum exc e = x87_enter(c);

    if (e)
        return e;
    if ((rc == 0 && is_up_nearest) || rc == 2)
        below.mantissa++;
    return load_value(c, i, below);
}

enum exc op_fldl2t(struct cpu *c, const struct insn *i)
{
    return load_constant(c, i, (struct f80){0xd49a784bcd1b8afe, 0x4000},
                         false);
}
enum exc op_fldl2e(struct cpu *c, const struct insn *i)
{
    return load_constant(c, i, (struct f80){0xb8aa3b295c17f0bb, 0x3fff}, true);
}
enum exc op_fldpi(struct cpu *c, const struct insn *i)
{
    return load_constant(c, i, (struct f80){0xc90fdaa22168c234, 0x4000}, true);
}
enum exc op_fldlg2(struct cpu *c, const struct insn *i)
{
    return load_constant(c, i, (struct f80){0x9a209a84fbcff798, 0x3ffd}, true);
}
enum exc op_fldln2(struct cpu *c, const struct insn *i)
{
    return load_constant(c, i, (struct f80){0xb17217f7d1cf79ab, 0x3ffe}, true);
}
enum exc op_fld1(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    return e ? e : load_value(c, i, (struct f80){X87_INTEGER, 0x3fff});
}
enum exc op_fldz(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    return e ? e : load_value(c, i, (struct f80){0, 0});
}

/* ---- stores ----------------------------------------------------------- */

struct store {
    uint8_t bytes[16];
    unsigned size;
    unsigned status; /* exceptions the conversion raised */
    bool is_done;    /* the masked response, or none needed */
};

/* Write what a conversion gave, then commit; pop when it took place. */
static enum exc store_finish(struct cpu *c, const struct insn *i,
                             const struct store *s, bool pops)
{
    if (s->is_done) {
        enum exc e = insn_write(c, i, s->bytes, s->size);
        if (e)
            return e;
    }
    x87_commit(c, i, s->status, X87_C1);
    if (s->is_done && pops)
        x87_pop(c);
    return EXC_NONE;
}

static void store_underflow(const struct cpu *c, struct store *s,
                            const uint8_t *indefinite)
{
    s->status = X87_IE | X87_SF;
    s->is_done = !x87_unmasked(c, X87_IE);
    memcpy(s->bytes, indefinite, s->size);
}

static void store_convert(const struct cpu *c, struct store *s,
                          x87_host_fn *convert, uint16_t control)
{
    struct f80 v = x87_get(c, 0);
    struct x87_host h = {.a_mantissa = v.mantissa, .a_exponent = v.exponent,
                         .control = control};

    convert(&h);
    s->status = h.status;
    s->is_done = !x87_unmasked(c, h.status & (X87_IE | X87_OE | X87_UE));
    memcpy(s->bytes, h.mem, s->size);
}

static enum exc store_float(struct cpu *c, const struct insn *i, bool pops)
{
    static const uint8_t single[4] = {0, 0, 0xc0, 0xff};
    static const uint8_t twice[8] = {0, 0, 0, 0, 0, 0, 0xf8, 0xff};
    static const uint8_t extended[10] = {0, 0, 0,    0,    0,
                                         0, 0, 0xc0, 0xff, 0xff};
    struct store s = {.size = i->size == 4 ? 4 : i->size == 8 ? 8 : 10,
                      .is_done = true};

    if (x87_is_empty(c, 0)) {
        store_underflow(c, &s, s.size == 4   ? single
                               : s.size == 8 ? twice
                                             : extended);
    } else if (s.size == 10) {
        struct f80 v = x87_get(c, 0);
        memcpy(s.bytes, &v.mantissa, 8);
        memcpy(s.bytes + 8, &v.exponent, 2);
    } else {
        store_convert(c, &s, s.size == 4 ? x87_host_st_f32 : x87_host_st_f64,
                      c->x87.control);
    }
    return store_finish(c, i, &s, pops);
}

static enum exc store_register(struct cpu *c, const struct insn *i, bool pops)
{
    unsigned st = i->dst;

    if (x87_is_empty(c, 0)) {
        if (!x87_stack_fault(c, i, false))
            return EXC_NONE;
        x87_set(c, st, X87_INDEFINITE);
    } else {
        x87_commit(c, i, 0, X87_C1);
        x87_set(c, st, x87_get(c, 0));
    }
    if (pops)
        x87_pop(c);
    return EXC_NONE;
}

enum exc op_fst(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    return i->form == FORM_M ? store_float(c, i, false)
                             : store_register(c, i, false);
}

enum exc op_fstp(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    return i->form == FORM_M ? store_float(c, i, true)
                             : store_register(c, i, true);
}

/* D9 D8+i: FSTP that raises no stack underflow; an empty ST(0) only pops. */
enum exc op_fstpnce(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    x87_commit(c, i, 0, X87_C1);
    if (!x87_is_empty(c, 0))
        x87_set(c, i->dst, x87_get(c, 0));
    x87_pop(c);
    return EXC_NONE;
}

static enum exc store_int(struct cpu *c, const struct insn *i,
                          uint16_t control, bool pops)
{
    struct store s = {.size = i->size == 2 ? 2 : i->size == 4 ? 4 : 8};
    uint8_t indefinite[8] = {0};

    enum exc e = x87_enter(c);
    if (e)
        return e;
    indefinite[s.size - 1] = 0x80;
    if (x87_is_empty(c, 0))
        store_underflow(c, &s, indefinite);
    else
        store_convert(c, &s,
                      s.size == 2   ? x87_host_st_i16
                      : s.size == 4 ? x87_host_st_i32
                                    : x87_host_st_i64,
                      control);
    return store_finish(c, i, &s, pops);
}

enum exc op_fist(struct cpu *c, const struct insn *i)
{
    return store_int(c, i, c->x87.control, false);
}
enum exc op_fistp(struct cpu *c, const struct insn *i)
{
    return store_int(c, i, c->x87.control, true);
}
enum exc op_fisttp(struct cpu *c, const struct insn *i)
{
    return store_int(c, i, c->x87.control | 0xc00, true); /* RC: chop */
}

static void store_bcd(const struct cpu *c, struct store *s,
                      const uint8_t *indefinite)
{
    struct f80 v = x87_get(c, 0);
    int64_t value;

    s->size = 8;
    store_convert(c, s, x87_host_st_i64, c->x87.control);
    s->size = 10;
    memcpy(&value, s->bytes, 8);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    if ((s->status & X87_IE) || magnitude > 999999999999999999) {
        s->status = X87_IE;
        s->is_done = !x87_unmasked(c, X87_IE);
        memcpy(s->bytes, indefinite, 10);
        return;
    }
    for (int k = 0; k < 9; k++, magnitude /= 100)
        s->bytes[k] =
            (uint8_t)(magnitude / 10 % 10 << 4 | magnitude % 10);
    s->bytes[9] = (uint8_t)(f80_sign(v) << 7);
}

enum exc op_fbstp(struct cpu *c, const struct insn *i)
{
    static const uint8_t indefinite[10] = {0, 0, 0,    0,    0,
                                           0, 0, 0xc0, 0xff, 0xff};
    struct store s = {.size = 10};

    enum exc e = x87_enter(c);
    if (e)
        return e;
    if (x87_is_empty(c, 0))
        store_underflow(c, &s, indefinite);
    else
        store_bcd(c, &s, indefinite);
    return store_finish(c, i, &s, true);
}

/* ---- exchange and conditional moves ----------------------------------- */

enum exc op_fxch(struct cpu *c, const struct insn *i)
{
    unsigned st = i->form == FORM_RR ? i->src : i->dst;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    if (x87_is_empty(c, 0) || x87_is_empty(c, st)) {
        if (!x87_stack_fault(c, i, false))
            return EXC_NONE;
        if (x87_is_empty(c, 0))
            x87_set(c, 0, X87_INDEFINITE);
        if (x87_is_empty(c, st))
            x87_set(c, st, X87_INDEFINITE);
    } else {
        x87_commit(c, i, 0, X87_C1);
    }
    struct f80 top = x87_get(c, 0);
    x87_set(c, 0, x87_get(c, st));
    x87_set(c, st, top);
    return EXC_NONE;
}

static enum exc move_if(struct cpu *c, const struct insn *i, bool condition)
{
    unsigned st = i->form == FORM_RR ? i->src : i->dst;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    if (x87_is_empty(c, 0) || x87_is_empty(c, st)) {
        if (x87_stack_fault(c, i, false))
            x87_set(c, 0, X87_INDEFINITE);
        return EXC_NONE;
    }
    x87_commit(c, i, 0, 0);
    if (condition)
        x87_set(c, 0, x87_get(c, st));
    return EXC_NONE;
}

enum exc op_fcmovb(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, cpu_rflags(c) & FLAG_CF);
}
enum exc op_fcmove(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, cpu_rflags(c) & FLAG_ZF);
}
enum exc op_fcmovbe(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, cpu_rflags(c) & (FLAG_CF | FLAG_ZF));
}
enum exc op_fcmovu(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, cpu_rflags(c) & FLAG_PF);
}
enum exc op_fcmovnb(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, !(cpu_rflags(c) & FLAG_CF));
}
enum exc op_fcmovne(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, !(cpu_rflags(c) & FLAG_ZF));
}
enum exc op_fcmovnbe(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, !(cpu_rflags(c) & (FLAG_CF | FLAG_ZF)));
}
enum exc op_fcmovnu(struct cpu *c, const struct insn *i)
{
    return move_if(c, i, !(cpu_rflags(c) & FLAG_PF));
}
