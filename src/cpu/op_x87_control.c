/* x87 control and state: control and status word, environment, FNSAVE and
 * FXSAVE images (SDM vol. 1 8.1.10, 10.5; vol. 2A). */
#include "cpu/x87_internal.h"

/* Bit 6 reads as 1 and bits 7, 13..15 as 0. */
static uint16_t control_value(unsigned value)
{
    return (uint16_t)((value & 0x1f3f) | 0x40);
}

static void set_status(struct cpu *c, unsigned value)
{
    c->x87.top = value >> 11 & 7;
    c->x87.status = value & (X87_CC | X87_SF | X87_EXCEPTIONS);
}

/* Instructions that do not wait check CR0 only. */
static enum exc enter_no_wait(const struct cpu *c)
{
    return c->cr0 & (CR0_EM | CR0_TS) ? EXC_NM : EXC_NONE;
}

enum exc op_fdecstp(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    x87_commit(c, i, 0, X87_C1);
    c->x87.top = (c->x87.top - 1) & 7;
    return EXC_NONE;
}

enum exc op_fincstp(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    x87_commit(c, i, 0, X87_C1);
    c->x87.top = (c->x87.top + 1) & 7;
    return EXC_NONE;
}

enum exc op_ffree(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (e)
        return e;
    x87_commit(c, i, 0, X87_C1);
    c->x87.valid &= (uint8_t)~(1u << x87_slot(c, i->dst));
    return EXC_NONE;
}

enum exc op_ffreep(struct cpu *c, const struct insn *i)
{
    enum exc e = op_ffree(c, i);
    if (!e)
        x87_pop(c);
    return e;
}

enum exc op_fnop(struct cpu *c, const struct insn *i)
{
    enum exc e = x87_enter(c);
    if (!e)
        x87_commit(c, i, 0, 0);
    return e;
}

enum exc op_fnop_nowait(struct cpu *c, const struct insn *i)
{
    (void)i;
    return enter_no_wait(c);
}

enum exc op_fninit(struct cpu *c, const struct insn *i)
{
    (void)i;
    enum exc e = enter_no_wait(c);
    if (!e)
        x87_init(c);
    return e;
}

enum exc op_fnclex(struct cpu *c, const struct insn *i)
{
    (void)i;
    enum exc e = enter_no_wait(c);
    if (e)
        return e;
    c->x87.status &= X87_CC;
    x87_update_summary(c);
    return EXC_NONE;
}

enum exc op_fldcw(struct cpu *c, const struct insn *i)
{
    uint16_t value;

    enum exc e = x87_enter(c);
    if (e)
        return e;
    e = insn_read(c, i, &value, 2);
    if (e)
        return e;
    c->x87.control = control_value(value);
    x87_update_summary(c);
    return EXC_NONE;
}

enum exc op_fnstcw(struct cpu *c, const struct insn *i)
{
    enum exc e = enter_no_wait(c);
    return e ? e : insn_write(c, i, &c->x87.control, 2);
}

enum exc op_fnstsw(struct cpu *c, const struct insn *i)
{
    uint16_t value = x87_status(c);

    enum exc e = enter_no_wait(c);
    if (e)
        return e;
    if (i->form == FORM_M)
        return insn_write(c, i, &value, 2);
    reg_set(c, REG_RAX, value, 2);
    return EXC_NONE;
}

/* ---- environment ------------------------------------------------------ */

/* 00 valid, 01 zero, 10 special, 11 empty for each register. */
static uint16_t tag_word(const struct cpu *c)
{
    unsigned tags = 0;

    for (unsigned k = 0; k < 8; k++) {
        struct f80 v = {c->x87.mantissa[k], c->x87.exponent[k]};
        enum f80_class class = f80_classify(v);
        unsigned tag = class == F80_NORMAL ? 0 : class == F80_ZERO ? 1 : 2;
        if (!(c->x87.valid >> k & 1))
            tag = 3;
        tags |= tag << 2 * k;
    }
    return (uint16_t)tags;
}

static void set_tag_word(struct cpu *c, unsigned tags)
{
    c->x87.valid = 0;
    for (unsigned k = 0; k < 8; k++)
        if ((tags >> 2 * k & 3) != 3)
            c->x87.valid |= (uint8_t)(1u << k);
}

static unsigned environment_size(const struct insn *i)
{
    return i->opsize == 2 ? 14 : 28;
}

static bool has_real_format(const struct cpu *c)
{
    return cpu_is_real(c) || cpu_is_v86(c);
}

/* The seven words of the environment; the upper halves of the 32-bit format are
 * put in by the caller. */
struct environment {
    uint32_t word[7];
};

static struct environment environment_get(const struct cpu *c, bool is_16)
{
    const struct x87 *x = &c->x87;
    struct environment e = {
        {x->control, x87_status(c), tag_word(c), (uint32_t)x->ip,
         x->cs | (is_16 ? 0 : (uint32_t)x->opcode << 16), (uint32_t)x->dp,
         x->ds}};

    if (has_real_format(c)) {
        uint32_t ip = (uint32_t)x->ip + ((uint32_t)x->cs << 4);
        uint32_t dp = (uint32_t)x->dp + ((uint32_t)x->ds << 4);
        e.word[3] = ip & 0xffff;
        e.word[4] = (is_16 ? ip >> 16 << 12 & 0xf000 : ip >> 16 << 12) |
                    x->opcode;
        e.word[5] = dp & 0xffff;
        e.word[6] = is_16 ? dp >> 16 << 12 & 0xf000 : dp >> 16 << 12;
    }
    if (is_16)
        return e;
    /* Reserved halves read as ones, as on Intel's CPUs. */
    e.word[0] |= 0xffff0000;
    e.word[1] |= 0xffff0000;
    e.word[2] |= 0xffff0000;
    if (has_real_format(c)) {
        e.word[3] |= 0xffff0000;
        e.word[5] |= 0xffff0000;
    } else {
        e.word[6] |= 0xffff0000;
    }
    return e;
}

static void environment_set(struct cpu *c, const struct environment *e,
                            bool is_16)
{
    struct x87 *x = &c->x87;

    x->control = control_value(e->word[0]);
    set_status(c, e->word[1]);
    set_tag_word(c, e->word[2]);
    x->cs = x->ds = 0;
    if (has_real_format(c)) {
        x->ip = (e->word[3] & 0xffff) | (e->word[4] >> 12 & 0xffff) << 16;
        x->dp = (e->word[5] & 0xffff) | (e->word[6] >> 12 & 0xffff) << 16;
        x->opcode = e->word[4] & 0x7ff;
    } else {
        x->ip = e->word[3];
        x->cs = (uint16_t)e->word[4];
        x->dp = e->word[5];
        x->ds = (uint16_t)e->word[6];
        /* The 16-bit format has no room for it: it becomes 0. */
        x->opcode = is_16 ? 0 : e->word[4] >> 16 & 0x7ff;
    }
    x87_update_summary(c);
}

static void environment_pack(const struct environment *e, bool is_16,
                             uint8_t *out)
{
    for (unsigned k = 0; k < 7; k++)
        memcpy(out + (is_16 ? 2 : 4) * k, &e->word[k], is_16 ? 2 : 4);
}

static struct environment environment_unpack(const uint8_t *in, bool is_16)
{
    struct environment e = {{0}};

    for (unsigned k = 0; k < 7; k++)
        memcpy(&e.word[k], in + (is_16 ? 2 : 4) * k, is_16 ? 2 : 4);
    return e;
}

enum exc op_fnstenv(struct cpu *c, const struct insn *i)
{
    bool is_16 = i->opsize == 2;
    uint8_t image[28];

    enum exc e = enter_no_wait(c);
    if (e)
        return e;
    struct environment env = environment_get(c, is_16);
    environment_pack(&env, is_16, image);
    e = insn_write(c, i, image, environment_size(i));
    if (e)
        return e;
    c->x87.control |= X87_EXCEPTIONS;
    x87_update_summary(c);
    return EXC_NONE;
}

enum exc op_fldenv(struct cpu *c, const struct insn *i)
{
    bool is_16 = i->opsize == 2;
    uint8_t image[28];

    enum exc e = x87_enter(c);
    if (e)
        return e;
    e = insn_read(c, i, image, environment_size(i));
    if (e)
        return e;
    struct environment env = environment_unpack(image, is_16);
    environment_set(c, &env, is_16);
    return EXC_NONE;
}

enum exc op_fnsave(struct cpu *c, const struct insn *i)
{
    bool is_16 = i->opsize == 2;
    unsigned size = environment_size(i);
    uint8_t image[108];

    enum exc e = enter_no_wait(c);
    if (e)
        return e;
    struct environment env = environment_get(c, is_16);
    environment_pack(&env, is_16, image);
    for (unsigned k = 0; k < 8; k++) {
        struct f80 v = x87_get(c, k);
        memcpy(image + size + 10 * k, &v.mantissa, 8);
        memcpy(image + size + 10 * k + 8, &v.exponent, 2);
    }
    e = insn_write(c, i, image, size + 80);
    if (!e)
        x87_init(c);
    return e;
}

enum exc op_frstor(struct cpu *c, const struct insn *i)
{
    bool is_16 = i->opsize == 2;
    unsigned size = environment_size(i);
    uint8_t image[108];

    enum exc e = x87_enter(c);
    if (e)
        return e;
    e = insn_read(c, i, image, size + 80);
    if (e)
        return e;
    struct environment env = environment_unpack(image, is_16);
    environment_set(c, &env, is_16);
    for (unsigned k = 0; k < 8; k++) {
        unsigned slot = x87_slot(c, k);
        memcpy(&c->x87.mantissa[slot], image + size + 10 * k, 8);
        memcpy(&c->x87.exponent[slot], image + size + 10 * k + 8, 2);
    }
    return EXC_NONE;
}

/* ---- FXSAVE, FXRSTOR -------------------------------------------------- */

/* Offsets in the image (SDM vol. 1 table 10-2). */
enum {
    FX_CONTROL = 0,
    FX_STATUS = 2,
    FX_TAGS = 4,
    FX_OPCODE = 6,
    FX_IP = 8,
    FX_CS = 12,
    FX_DP = 16,
    FX_DS = 20,
    FX_MXCSR = 24,
    FX_MXCSR_MASK = 28,
    FX_ST = 32,
    FX_XMM = 160,
    FX_SIZE = 512
};
#define MXCSR_MASK 0xffffu

static unsigned xmm_count(const struct cpu *c)
{
    return c->mode == MODE_64 ? 16 : 8;
}

static enum exc enter_fx(struct cpu *c, const struct insn *i)
{
    uint64_t linear = insn_offset(c, i) + c->ea_base[i->seg & 7];

    if (c->cr0 & (CR0_EM | CR0_TS))
        return EXC_NM;
    if (!(linear & 15))
        return EXC_NONE;
    /* Misaligned, but a bad segment or stack address comes first. */
    enum exc e = cpu_linear(c, i->seg, insn_offset(c, i), 1, false, &linear);
    if (e)
        return e;
    if (c->mode == MODE_64 && i->seg == SEG_SS &&
        (uint64_t)((int64_t)(linear << 16) >> 16) != linear)
        return cpu_fault(c, EXC_SS, 0);
    return cpu_fault(c, EXC_GP, 0);
}

static void fx_pack(const struct cpu *c, bool is_wide, uint8_t *out)
{
    const struct x87 *x = &c->x87;
    uint16_t status = x87_status(c);
    unsigned pointer = is_wide ? 8 : 4;

    memcpy(out + FX_CONTROL, &x->control, 2);
    memcpy(out + FX_STATUS, &status, 2);
    out[FX_TAGS] = x->valid;
    out[FX_TAGS + 1] = 0;
    memcpy(out + FX_OPCODE, &x->opcode, 2);
    memset(out + FX_IP, 0, 16);
    memcpy(out + FX_CS, &x->cs, 2);
    memcpy(out + FX_DS, &x->ds, 2);
    memcpy(out + FX_IP, &x->ip, pointer);
    memcpy(out + FX_DP, &x->dp, pointer);
    memset(out + FX_ST, 0, 128);
    for (unsigned k = 0; k < 8; k++) {
        struct f80 v = x87_get(c, k);
        memcpy(out + FX_ST + 16 * k, &v.mantissa, 8);
        memcpy(out + FX_ST + 16 * k + 8, &v.exponent, 2);
    }
}

/* With CR4.OSFXSR clear MXCSR and the XMM registers stay out of the image (SDM
 * vol. 2A FXSAVE leaves it to the CPU). Bytes from 416 on, and XMM8..15 outside
 * 64-bit mode, keep what memory holds. */
enum exc op_fxsave(struct cpu *c, const struct insn *i)
{
    const uint32_t mask = MXCSR_MASK;
    uint8_t image[FX_SIZE];

    enum exc e = enter_fx(c, i);
    if (e)
        return e;
    e = insn_read_for_write(c, i, image, FX_SIZE);
    if (e)
        return e;
    fx_pack(c, i->opsize == 8, image);
    if (c->cr4 & CR4_OSFXSR) {
        memcpy(image + FX_MXCSR, &c->mxcsr, 4);
        memcpy(image + FX_MXCSR_MASK, &mask, 4);
        for (unsigned k = 0; k < xmm_count(c); k++)
            memcpy(image + FX_XMM + 16 * k, &c->xmm[k], 16);
    }
    return insn_write(c, i, image, FX_SIZE);
}

static void fx_unpack(struct cpu *c, bool is_wide, const uint8_t *in)
{
    struct x87 *x = &c->x87;
    uint16_t control, status, opcode;
    unsigned pointer = is_wide ? 8 : 4;

    memcpy(&control, in + FX_CONTROL, 2);
    memcpy(&status, in + FX_STATUS, 2);
    memcpy(&opcode, in + FX_OPCODE, 2);
    x->control = control_value(control);
    set_status(c, status);
    x->valid = in[FX_TAGS];
    x->opcode = opcode & 0x7ff;
    x->ip = x->dp = 0;
    x->cs = x->ds = 0;
    memcpy(&x->ip, in + FX_IP, pointer);
    memcpy(&x->dp, in + FX_DP, pointer);
    if (!is_wide) {
        memcpy(&x->cs, in + FX_CS, 2);
        memcpy(&x->ds, in + FX_DS, 2);
    }
    for (unsigned k = 0; k < 8; k++) {
        unsigned slot = x87_slot(c, k);
        memcpy(&x->mantissa[slot], in + FX_ST + 16 * k, 8);
        memcpy(&x->exponent[slot], in + FX_ST + 16 * k + 8, 2);
    }
    x87_update_summary(c);
}

enum exc op_fxrstor(struct cpu *c, const struct insn *i)
{
    uint8_t image[FX_SIZE];
    uint32_t mxcsr;

    enum exc e = enter_fx(c, i);
    if (e)
        return e;
    e = insn_read(c, i, image, FX_SIZE);
    if (e)
        return e;
    memcpy(&mxcsr, image + FX_MXCSR, 4);
    if ((c->cr4 & CR4_OSFXSR) && (mxcsr & ~MXCSR_MASK))
        return cpu_fault(c, EXC_GP, 0);
    fx_unpack(c, i->opsize == 8, image);
    if (c->cr4 & CR4_OSFXSR) {
        c->mxcsr = mxcsr;
        for (unsigned k = 0; k < xmm_count(c); k++)
            memcpy(&c->xmm[k], image + FX_XMM + 16 * k, 16);
    }
    return EXC_NONE;
}
