/* Moving guest state between struct cpu and the host's vector and x87 units,
 * and when that is allowed. */
#include "jit/jit_internal.h"

#include <stddef.h>
#include <string.h>

enum {
    MXCSR_MASKS = 0x1f80,
    MXCSR_CONTROLS = 0xe040, /* RC, FTZ, DAZ */
    X87_MASKS = 0x3f,
    X87_STATUS = 0x477f, /* all but TOP, ES and B */
    X87_ES = 0x80,
    OP_RET = 0xc3
};

_Static_assert(offsetof(struct cpu, jit_x87) ==
                   offsetof(struct cpu, jit_simd) + 1,
               "both are tested as one word");

/* ---- vectors -------------------------------------------------------------------- */

static void move_vectors(struct emit *e, struct cpu *c, unsigned op)
{
    for (unsigned n = 0; n < 16; n++)
        emit_op(e, 4, op, n, rm_abs(&c->xmm[n]), 16, 0);
}

static void mxcsr_op(struct emit *e, unsigned digit, const void *at)
{
    emit_op(e, 4, 0x0fae, digit, rm_abs(at), 4, 0);
}

enum {
    LDMXCSR = 2,
    STMXCSR = 3,
    MOVAPS_LOAD = 0x0f28,
    MOVAPS_STORE = 0x0f29
};

/* Give XMM0..15 and MXCSR back; the host's gets its default controls. Clobbers
 * flags alone. */
static const uint8_t *make_simd_save(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    const uint8_t *initial = emit_here(e);
    emit_u32(e, MXCSR_MASKS);
    const uint8_t *at = emit_here(e);
    move_vectors(e, c, MOVAPS_STORE);
    mxcsr_op(e, STMXCSR, &c->mxcsr);
    emit_op(e, 4, 0xf7, 0, rm_abs(&c->mxcsr), 4, 4); /* test */
    emit_u32(e, MXCSR_CONTROLS);
    uint8_t *is_default = emit_jump(e, 4);
    mxcsr_op(e, LDMXCSR, initial);
    emit_patch(e, is_default, emit_here(e));
    emit_op(e, 1, 0xc6, 0, rm_abs(&c->jit_simd), 1, 1); /* mov */
    emit_u8(e, 0);
    emit_u8(e, OP_RET);
    return at;
}

/* Load them; ZF = 0 when the guest's state forbids it. Clobbers H_SCRATCH_C. */
static const uint8_t *make_simd_load(struct jit *j, struct emit *e)
{
    struct cpu *c = j->cpu;
    uint8_t *refused[3];
    const uint8_t *at = emit_here(e);
    emit_op(e, 1, 0xf6, 0, rm_abs(&c->cr0), 1, 1); /* test */
    emit_u8(e, CR0_EM | CR0_TS);
    refused[0] = emit_jump(e, 5);
    emit_load(e, 4, H_SCRATCH_C, rm_abs(&c->cr4));
    emit_op(e, 4, 0xf7, 2, rm_reg(H_SCRATCH_C), 4, 0); /* not */
    emit_op(e, 4, 0xf7, 0, rm_reg(H_SCRATCH_C), 4, 4); /* test */
    emit_u32(e, CR4_OSFXSR);
    refused[1] = emit_jump(e, 5);
    emit_load(e, 4, H_SCRATCH_C, rm_abs(&c->mxcsr));
    emit_op(e, 4, 0xf7, 2, rm_reg(H_SCRATCH_C), 4, 0);
    emit_op(e, 4, 0xf7, 0, rm_reg(H_SCRATCH_C), 4, 4);
    emit_u32(e, MXCSR_MASKS);
    refused[2] = emit_jump(e, 5);
    /* LDMXCSR is slow when it changes something. */
    mxcsr_op(e, STMXCSR, &c->jit_mxcsr);
    emit_load(e, 4, H_SCRATCH_C, rm_abs(&c->jit_mxcsr));
    emit_op(e, 4, 0x3b, H_SCRATCH_C, rm_abs(&c->mxcsr), 4, 0); /* cmp */
    uint8_t *is_same = emit_jump(e, 4);
    mxcsr_op(e, LDMXCSR, &c->mxcsr);
    emit_patch(e, is_same, emit_here(e));
    move_vectors(e, c, MOVAPS_LOAD);
    emit_op(e, 1, 0xc6, 0, rm_abs(&c->jit_simd), 1, 1); /* mov */
    emit_u8(e, 1);
    emit_alu_rr(e, 4, 6, H_SCRATCH_C, H_SCRATCH_C); /* ZF = 1 */
    for (unsigned n = 0; n < 3; n++)
        emit_patch(e, refused[n], emit_here(e));
    emit_u8(e, OP_RET);
    return at;
}

/* ---- x87 ------------------------------------------------------------------------ */

_Static_assert(sizeof(struct x87_image) == 108, "the format of FNSAVE");

void jit_x87_pack(const struct x87 *x, struct x87_image *m)
{
    memset(m, 0, sizeof *m);
    m->control = x->control;
    m->status = x->status | (uint32_t)x->top << 11;
    for (unsigned k = 0; k < 8; k++) {
        unsigned slot = (x->top + k) & 7;
        memcpy(m->st[k], &x->mantissa[slot], 8);
        memcpy(m->st[k] + 8, &x->exponent[slot], 2);
        if (!(x->valid >> k & 1))
            m->tags |= 3u << 2 * k;
    }
}

void jit_x87_unpack(const struct x87_image *m, struct x87 *x)
{
    x->control = (uint16_t)m->control;
    x->status = m->status & X87_STATUS;
    x->top = m->status >> 11 & 7;
    x->valid = 0;
    for (unsigned k = 0; k < 8; k++) {
        unsigned slot = (x->top + k) & 7;
        memcpy(&x->mantissa[slot], m->st[k], 8);
        memcpy(&x->exponent[slot], m->st[k] + 8, 2);
        if ((m->tags >> 2 * k & 3) != 3)
            x->valid |= (uint8_t)(1u << k);
    }
}

static bool can_load(const struct cpu *c)
{
    return !(c->cr0 & (CR0_EM | CR0_TS)) && !(c->x87.status & X87_ES) &&
           (c->x87.control & X87_MASKS) == X87_MASKS && !c->ferr &&
           !c->x87_ignne;
}

/* 0: the host's unit holds the guest's; 1: that is not allowed. */
static uint32_t x87_load(struct cpu *c)
{
    struct x87_image m;
    if (!can_load(c))
        return 1;
    jit_x87_pack(&c->x87, &m);
    __asm__ volatile("frstor %0" : : "m"(m));
    c->jit_x87 = 1;
    c->jit_x87_ip = JIT_NO_X87_IP;
    c->jit_x87_seg = JIT_NO_X87_SEG;
    return 0;
}

/* The instruction and operand pointers: jit_x87_ip and x87.dp are kept by
 * compiled code; selectors do not change while it runs. */
static void save_pointers(struct cpu *c)
{
    struct x87 *x = &c->x87;
    if (c->jit_x87_ip != JIT_NO_X87_IP) {
        x->ip = c->mode == MODE_64 ? c->jit_x87_ip : (uint32_t)c->jit_x87_ip;
        x->cs = c->seg[SEG_CS].selector;
    }
    if (c->jit_x87_seg != JIT_NO_X87_SEG)
        x->ds = c->seg[c->jit_x87_seg].selector;
}

static void x87_save(struct cpu *c)
{
    struct x87_image m;
    __asm__ volatile("fnsave %0" : "=m"(m));
    jit_x87_unpack(&m, &c->x87);
    save_pointers(c);
    c->jit_x87 = 0;
}

static void call_c(struct emit *e, const struct cpu *c, const void *fn)
{
    emit_mov_ri(e, H_RDI, (uintptr_t)c);
    emit_mov_ri(e, H_RAX, (uintptr_t)fn);
    emit_op(e, 4, 0xff, 2, rm_reg(H_RAX), 8, 0);
}

static uint8_t *unless(struct emit *e, const uint8_t *flag)
{
    emit_alu_ri(e, 1, 7, rm_abs(flag), 0);
    return emit_jump(e, 4);
}

/* Called from the middle of a block, on a stack that is aligned but for the
 * return address. ZF = 0 when the guest's state forbids it. */
static const uint8_t *make_x87_load(struct jit *j, struct emit *e,
                                    const uint8_t *simd_save)
{
    static const uint8_t kept[] = {H_RAX, H_RSI, H_RDI, H_R8,
                                   H_R9,  H_R10, H_R11};
    struct cpu *c = j->cpu;
    const uint8_t *at = emit_here(e);
    for (unsigned n = 0; n < sizeof kept; n++)
        emit_push(e, kept[n]);
    emit_op(e, 4, 0x0fb6, H_SCRATCH_C, rm_abs(&c->jit_simd), 1, 0); /* movzx */
    uint8_t *no_vectors = unless(e, &c->jit_simd);
    emit_call(e, simd_save);
    emit_patch(e, no_vectors, emit_here(e));
    call_c(e, c, (const void *)(uintptr_t)x87_load);
    emit_mov_rr(e, 4, H_RDX, H_RAX);
    emit_op(e, 4, 0x85, H_SCRATCH_C, rm_reg(H_SCRATCH_C), 4, 0); /* test */
    uint8_t *had_none = emit_jump(e, 4);
    emit_call(e, j->simd_load); /* allowed before, hence now */
    emit_patch(e, had_none, emit_here(e));
    for (unsigned n = sizeof kept; n-- > 0;)
        emit_pop(e, kept[n]);
    emit_op(e, 4, 0x85, H_RDX, rm_reg(H_RDX), 4, 0);
    emit_u8(e, OP_RET);
    return at;
}

/* Called when everything else of the guest has been stored. RCX and RDX stay. */
static void make_save(struct jit *j, struct emit *e, const uint8_t *simd_save)
{
    struct cpu *c = j->cpu;
    j->units_save = emit_here(e);
    uint8_t *no_vectors = unless(e, &c->jit_simd);
    emit_call(e, simd_save);
    emit_patch(e, no_vectors, emit_here(e));
    uint8_t *no_x87 = unless(e, &c->jit_x87);
    emit_mov_rr(e, 8, H_RBX, H_RCX);
    emit_mov_rr(e, 8, H_RBP, H_RDX);
    emit_mov_rr(e, 8, H_R12, H_RSP);
    emit_alu_ri(e, 8, 4, rm_reg(H_RSP), -16);
    call_c(e, c, (const void *)(uintptr_t)x87_save);
    emit_mov_rr(e, 8, H_RSP, H_R12);
    emit_mov_rr(e, 8, H_RCX, H_RBX);
    emit_mov_rr(e, 8, H_RDX, H_RBP);
    emit_patch(e, no_x87, emit_here(e));
    emit_u8(e, OP_RET);
}

void jit_make_unit_thunks(struct jit *j, struct emit *e)
{
    const uint8_t *simd_save = make_simd_save(j, e);
    j->simd_load = make_simd_load(j, e);
    j->x87_load = make_x87_load(j, e, simd_save);
    make_save(j, e, simd_save);
}

void jit_emit_units_save(struct jit *j, struct emit *e)
{
    emit_op(e, 2, 0x83, 7, rm_abs(&j->cpu->jit_simd), 2, 1); /* cmp */
    emit_u8(e, 0);
    uint8_t *none = emit_jump(e, 4);
    emit_call(e, j->units_save);
    emit_patch(e, none, emit_here(e));
}
