/* Host code of each op. RAX and RDX are scratch. */
#include "jit/t2_code.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- operands ------------------------------------------------------------ */

void t2g_op(struct t2_gen *g, unsigned size, uint32_t op, unsigned reg,
            struct rm rm, unsigned rm_bytes, unsigned imm_bytes)
{
    emit_op(&g->e, size, op, reg, rm, rm_bytes, imm_bytes);
    if (rm.kind != RM_ABS)
        return;
    if (g->fix_count == T2_FIXES_MAX) {
        g->failed = true;
        return;
    }
    g->fixes[g->fix_count++] = (uint32_t)(g->e.at - 4 - g->buffer);
}

void t2g_alu_ri(struct t2_gen *g, unsigned size, unsigned digit, struct rm to,
                int32_t imm)
{
    if (to.kind != RM_ABS) {
        emit_alu_ri(&g->e, size, digit, to, imm);
        return;
    }
    bool is_short = size == 1 || (imm >= -128 && imm < 128);
    unsigned bytes = is_short ? 1 : size == 2 ? 2 : 4;
    t2g_op(g, size,
           size == 1  ? 0x80
           : is_short ? 0x83
                      : 0x81,
           digit, to, size, bytes);
    for (unsigned n = 0; n < bytes; n++)
        emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
}

static void out(struct t2_gen *g, const uint8_t *exec)
{
    uint8_t *site = g->e.at - 4;
    emit_patch(&g->e, site, exec);
    if (g->fix_count == T2_FIXES_MAX) {
        g->failed = true;
        return;
    }
    g->fixes[g->fix_count++] = (uint32_t)(site - g->buffer);
}

void t2g_jump_out(struct t2_gen *g, unsigned condition, const uint8_t *exec)
{
    (void)emit_jump(&g->e, condition);
    out(g, exec);
}

void t2g_call_out(struct t2_gen *g, const uint8_t *exec)
{
    emit_u8(&g->e, 0xe8);
    emit_u32(&g->e, 0);
    out(g, exec);
}

struct rm t2g_place(const struct t2_gen *g, unsigned place)
{
    if (place < 16)
        return rm_reg(place);
    if (place >= T2_SPILL && place < T2_SPILL + T2_SPILLS)
        return rm_abs(&g->near_data->spill[place - T2_SPILL]);
    if (place >= T2_HOME && place < T2_HOME + 16)
        return rm_abs(&g->j->cpu->r[place - T2_HOME]);
    return rm_abs(&g->near_data->scratch);
}

unsigned t2g_at(const struct t2_gen *g, t2_ref v)
{
    return g->a->at[t2_value(g->ir, v)];
}

bool t2g_const(const struct t2_gen *g, t2_ref v, int64_t *k)
{
    const struct t2_op *o = &g->ir->ops[t2_value(g->ir, v)];
    *k = o->imm;
    return o->kind == T2_CONST;
}

bool t2g_imm(const struct t2_gen *g, t2_ref v, unsigned size, int32_t *imm)
{
    int64_t k;
    if (!t2g_const(g, v, &k))
        return false;
    *imm = size == 1 ? (int8_t)k : size == 2 ? (int16_t)k : (int32_t)k;
    return size < 8 || k == *imm;
}

struct rm t2g_operand(struct t2_gen *g, t2_ref v, unsigned scratch)
{
    int64_t k;
    if (!t2g_const(g, v, &k))
        return t2g_place(g, t2g_at(g, v));
    emit_mov_ri(&g->e, scratch, (uint64_t)k);
    return rm_reg(scratch);
}

unsigned t2g_register(struct t2_gen *g, t2_ref v, unsigned scratch)
{
    struct rm rm = t2g_operand(g, v, scratch);
    if (rm.kind == RM_REG)
        return rm.reg;
    t2g_op(g, 8, 0x8b, scratch, rm, 8, 0);
    return scratch;
}

void t2g_load(struct t2_gen *g, unsigned host, t2_ref v)
{
    int64_t k;
    if (t2g_const(g, v, &k))
        emit_mov_ri(&g->e, host, (uint64_t)k);
    else if (t2g_at(g, v) != host)
        t2g_op(g, 8, 0x8b, host, t2g_place(g, t2g_at(g, v)), 8, 0);
}

/* ---- results: computed in their register, or in RAX and then stored ------ */

static bool is_same(const struct t2_gen *g, t2_ref x, t2_ref y)
{
    return t2_value(g->ir, x) == t2_value(g->ir, y);
}

static bool in_register(const struct t2_gen *g, t2_ref r)
{
    return g->a->at[r] < 16;
}

static unsigned target(const struct t2_gen *g, t2_ref r)
{
    return in_register(g, r) ? g->a->at[r] : (unsigned)H_RAX;
}

static void put(struct t2_gen *g, t2_ref r, unsigned host)
{
    unsigned at = g->a->at[r];
    if (at == T2_NOWHERE || at == host)
        return;
    if (at < 16)
        emit_mov_rr(&g->e, 8, at, host);
    else
        t2g_op(g, 8, 0x89, host, t2g_place(g, at), 8, 0);
}

/* Is y in the register that the result goes to, while x is not? */
static bool is_taken(const struct t2_gen *g, t2_ref r, t2_ref x, t2_ref y)
{
    int64_t k;
    return in_register(g, r) && y && !t2g_const(g, y, &k) &&
           !is_same(g, x, y) && t2g_at(g, y) == g->a->at[r];
}

static unsigned op_for(unsigned size, unsigned wide_op)
{
    return size == 1 ? wide_op - 1 : wide_op;
}

/* ---- arithmetic ---------------------------------------------------------- */

static void gen_alu(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r), size = o->size;
    t2_ref x = o->a, y = o->b;
    int32_t imm;
    bool carries = o->digit == 2 || o->digit == 3;
    if (carries) {
        unsigned code = t2g_condition(g, o->c, 2);
        if (code != 2)
            g->failed = true;
    }
    if (is_taken(g, r, x, y)) {
        if (o->digit != 5 && o->digit != 3 && size >= 4) {
            t2_ref t = x;
            x = y;
            y = t;
        } else {
            d = H_RAX;
        }
    }
    t2g_load(g, d, x);
    if (t2g_imm(g, y, size, &imm)) {
        t2g_alu_ri(g, size, o->digit, rm_reg(d), imm);
    } else {
        struct rm rm = t2g_operand(g, y, H_RDX);
        t2g_op(g, size, op_for(size, o->digit << 3 | 3u), d, rm, size, 0);
    }
    g->host = r;
    put(g, r, d);
}

static void gen_compare(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned size = o->size;
    bool is_test = o->kind == T2_TEST;
    int32_t imm;
    int64_t k;
    struct rm x = t2g_operand(g, o->a, H_RAX);
    if (t2g_imm(g, o->b, size, &imm)) {
        if (is_test) {
            unsigned bytes = size == 8 ? 4 : size;
            t2g_op(g, size, op_for(size, 0xf7), 0, x, size, bytes);
            for (unsigned n = 0; n < bytes; n++)
                emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
        } else {
            t2g_alu_ri(g, size, 7, x, imm);
        }
        g->host = r;
        return;
    }
    if (x.kind != RM_REG && !t2g_const(g, o->b, &k) && t2g_at(g, o->b) < 16) {
        t2g_op(g, size, op_for(size, is_test ? 0x85 : 0x39), t2g_at(g, o->b), x,
               size, 0);
    } else {
        unsigned xr = t2g_register(g, o->a, H_RAX);
        struct rm y = t2g_operand(g, o->b, H_RDX);
        t2g_op(g, size, op_for(size, is_test ? 0x85 : 0x3b), xr, y, size, 0);
    }
    g->host = r;
}

static void gen_unary(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r), size = o->size;
    unsigned op = op_for(size, 0xff), digit = 0;
    switch (o->kind) {
    case T2_DEC:
        digit = 1;
        break;
    case T2_NOT:
        op = op_for(size, 0xf7);
        digit = 2;
        break;
    case T2_NEG:
        op = op_for(size, 0xf7);
        digit = 3;
        break;
    default:
        break;
    }
    t2g_load(g, d, o->a);
    emit_op(&g->e, size, op, digit, rm_reg(d), size, 0);
    if (o->kind != T2_NOT)
        g->host = r;
    put(g, r, d);
}

static void gen_shift(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r);
    t2g_load(g, d, o->a);
    emit_op(&g->e, o->size, op_for(o->size, 0xc1), o->digit, rm_reg(d), o->size,
            1);
    emit_u8(&g->e, (unsigned)o->imm & 0xff);
    g->host = r;
    put(g, r, d);
}

/* By CL; flags of o->c stay for a count of 0 and in parts for rotates. */
static void gen_shift_cl(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    int64_t count;
    if (o->from == 1 && t2g_const(g, o->b, &count)) {
        unsigned d = target(g, r);
        t2g_load(g, d, o->a);
        emit_op(e, o->size, op_for(o->size, 0xc1), o->digit, rm_reg(d), o->size,
                1);
        emit_u8(e, (unsigned)count & (o->size == 8 ? 63 : 31));
        g->host = 0;
        put(g, r, d);
        return;
    }
    if (o->from != 1)
        t2g_host_flags(g, o->c);
    emit_mov_rr(e, 8, H_RDX, H_RCX);
    t2g_load(g, H_RAX, o->a);
    t2g_load(g, H_RCX, o->b);
    emit_op(e, o->size, op_for(o->size, 0xd3), o->digit, rm_reg(H_RAX), o->size,
            0);
    emit_mov_rr(e, 8, H_RCX, H_RDX);
    g->host = o->from == 1 ? 0 : r;
    put(g, r, H_RAX);
}

static void gen_imul(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r), size = o->size;
    t2_ref x = o->a, y = o->b;
    int32_t imm;
    if (t2g_imm(g, y, size, &imm)) {
        struct rm rm = t2g_operand(g, x, H_RAX);
        t2g_op(g, size, 0x69, d, rm, size, 4);
        emit_u32(&g->e, (uint32_t)imm);
    } else {
        if (is_taken(g, r, x, y)) {
            x = o->b;
            y = o->a;
        }
        t2g_load(g, d, x);
        struct rm rm = t2g_operand(g, y, H_RDX);
        t2g_op(g, size, 0x0faf, d, rm, size, 0);
    }
    g->host = r;
    put(g, r, d);
}

static void gen_mulhi(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RAX, o->a);
    struct rm rm = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, 0xf7, o->digit ? 5 : 4, rm, o->size, 0);
    g->host = r;
    put(g, r, H_RDX);
}

static void gen_div(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    struct rm by = t2g_operand(g, o->b, H_RDX);
    if (by.kind == RM_REG && by.reg == H_RDX) { /* a constant */
        by = rm_abs(&g->near_data->scratch);
        t2g_op(g, 8, 0x89, H_RDX, by, 8, 0);
    }
    t2g_load(g, H_RAX, o->a);
    if (o->digit) {
        if (o->size == 8)
            emit_u8(e, 0x48);
        emit_u8(e, 0x99); /* CDQ, CQO */
    } else {
        emit_alu_rr(e, 4, 6, H_RDX, H_RDX);
    }
    t2g_op(g, o->size, 0xf7, o->digit ? 7 : 6, by, o->size, 0);
    g->host = 0;
    put(g, r, H_RAX);
}

static void gen_host(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RDX, o->b);
    if (o->a)
        t2g_load(g, H_RAX, o->a);
    if (o->from)
        emit_u8(&g->e, o->from);
    emit_op(&g->e, o->size, (uint32_t)o->imm, H_RAX, rm_reg(H_RDX), o->scale,
            0);
    g->host = r;
    put(g, r, H_RAX);
}

static void gen_bt(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    int64_t bit;
    if (o->from != 1)
        t2g_host_flags(g, o->c);
    t2g_load(g, H_RAX, o->a);
    if (t2g_const(g, o->b, &bit)) {
        emit_op(&g->e, o->size, 0x0fba, o->digit, rm_reg(H_RAX), o->size, 1);
        emit_u8(&g->e, (unsigned)bit & 0xff);
    } else {
        static const uint16_t ops[4] = {0x0fa3, 0x0fab, 0x0fb3, 0x0fbb};
        unsigned b = t2g_register(g, o->b, H_RDX);
        emit_op(&g->e, o->size, ops[o->digit - 4], b, rm_reg(H_RAX), o->size,
                0);
    }
    g->host = o->from == 1 ? 0 : r;
    if (o->digit != 4)
        put(g, r, H_RAX);
}

/* ---- moves and addresses ------------------------------------------------- */

static void gen_extend(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r), from = o->kind == T2_MOVZX ? o->size : o->from;
    struct rm x = t2g_operand(g, o->a, H_RAX);
    if (o->kind == T2_MOVZX)
        t2g_op(g, 4,
               from == 1   ? 0x0fb6
               : from == 2 ? 0x0fb7
                           : 0x8b,
               d, x, from, 0);
    else
        t2g_op(g, o->size,
               from == 1   ? 0x0fbe
               : from == 2 ? 0x0fbf
                           : 0x63,
               d, x, from, 0);
    put(g, r, d);
}

static void gen_high(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    t2g_load(g, H_RAX, o->a);
    emit_u8(&g->e, 0x0f); /* movzx eax, ah */
    emit_u8(&g->e, 0xb6);
    emit_u8(&g->e, 0xc4);
    put(g, r, H_RAX);
}

static void gen_merge(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = is_taken(g, r, o->a, o->b) ? (unsigned)H_RAX : target(g, r);
    t2g_load(g, d, o->a);
    struct rm y = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, op_for(o->size, 0x8b), d, y, o->size, 0);
    put(g, r, d);
}

static void gen_set_high(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned y = t2g_register(g, o->b, H_RDX);
    if (y != H_RDX)
        emit_mov_rr(&g->e, 8, H_RDX, y);
    t2g_load(g, H_RAX, o->a);
    emit_u8(&g->e, 0x88); /* mov ah, dl */
    emit_u8(&g->e, 0xd4);
    put(g, r, H_RAX);
}

static void gen_lea(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r);
    unsigned a = o->a ? t2g_register(g, o->a, H_RAX) : (unsigned)H_NONE;
    unsigned b = o->b ? t2g_register(g, o->b, H_RDX) : (unsigned)H_NONE;
    if (a == H_NONE && o->scale == 0) {
        a = b;
        b = H_NONE;
    }
    struct rm rm = rm_base(a, (int32_t)o->imm);
    rm.index = (uint8_t)b;
    rm.scale = o->scale;
    if (b == H_NONE && o->imm == 0)
        emit_mov_rr(&g->e, o->size, d, a);
    else
        emit_op(&g->e, o->size, 0x8d, d, rm, 8, 0);
    put(g, r, d);
}

static void gen_setcc(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r);
    unsigned code = t2g_condition(g, o->c, o->digit);
    t2g_load(g, d, o->a);
    emit_op(&g->e, 1, 0x0f90 | code, 0, rm_reg(d), 1, 0);
    put(g, r, d);
}

static void gen_cmov(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned code = t2g_condition(g, o->c, o->digit);
    unsigned d = is_taken(g, r, o->a, o->b) ? (unsigned)H_RAX : target(g, r);
    t2g_load(g, d, o->a);
    struct rm y = t2g_operand(g, o->b, H_RDX);
    t2g_op(g, o->size, 0x0f40 | code, d, y, o->size, 0);
    put(g, r, d);
}

static void gen_simple(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    const struct cpu *c = g->j->cpu;
    unsigned d = target(g, r);
    switch (o->kind) {
    case T2_PAGE:
        t2g_op(g, 8, 0x8b, d, rm_abs(&c->jit_page), 8, 0);
        break;
    case T2_SEGBASE:
        t2g_op(g, 8, 0x8b, d, rm_abs(&c->ea_base[o->digit]), 8, 0);
        break;
    case T2_BSWAP: {
        t2g_load(g, d, o->a);
        unsigned rex = (o->size == 8 ? 8u : 0u) | (d >= 8 ? 1u : 0u);
        if (rex)
            emit_u8(&g->e, 0x40 | rex);
        emit_u8(&g->e, 0x0f);
        emit_u8(&g->e, 0xc8 + (d & 7));
        break;
    }
    case T2_GETF:
        t2g_flags_to_rax(g, o->c);
        g->host = 0;
        d = H_RAX;
        break;
    case T2_SYSREAD:
        if (o->digit == T2_SYS_CPL)
            t2g_op(g, 4, 0x0fb6, d, rm_abs(&c->cpl), 1, 0);
        else
            t2g_op(g, 4, 0x8b, d, rm_abs(&c->flags), 4, 0);
        break;
    default: /* T2_FLAGS: lahf, seto al */
        if (g->host != t2_flags_of(g->ir, o->c))
            g->failed = true;
        emit_u8(&g->e, 0x9f);
        emit_op(&g->e, 1, 0x0f90, 0, rm_reg(H_RAX), 1, 0);
        d = H_RAX;
        break;
    }
    put(g, r, d);
}

/* ---- memory -------------------------------------------------------------- */

static int32_t tag_offset(bool is_write)
{
    return is_write ? (int32_t)offsetof(struct tlb_entry, write_tag)
                    : (int32_t)offsetof(struct tlb_entry, read_tag);
}

/* The pages of the first and the last byte must be one, and in the TLB. */
static void gen_check(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    unsigned root = t2g_register(g, o->a, H_RDX);
    emit_op(e, 8, 0x8d, H_RAX, rm_base(root, o->hi - 1), 8, 0);
    emit_op(e, 8, 0x8d, H_RDX, rm_base(root, o->lo), 8, 0);
    emit_op(e, 8, 0xc1, 5, rm_reg(H_RDX), 8, 1);
    emit_u8(e, PAGE_SHIFT - 5);
    emit_alu_ri(e, 8, 4, rm_reg(H_RAX), -PAGE_BYTES);
    emit_alu_ri(e, 4, 4, rm_reg(H_RDX), (TLB_ENTRIES - 1) << 5);
    t2g_op(g, 8, 0x03, H_RDX, rm_abs(&g->j->cpu->mmu.tlb), 8, 0);
    struct t2_cold *c = t2g_cold(g, o->at_head ? COLD_HEAD : COLD_SLOW, r);
    unsigned sites = 0;
    for (unsigned w = 0; w < 2; w++) {
        if (!(o->rw & (w ? T2_WRITES : T2_READS)))
            continue;
        emit_op(e, 8, 0x3b, H_RAX, rm_base(H_RDX, tag_offset(w)), 8, 0);
        c->site[sites++] = emit_jump(e, 5);
    }
    g->host = 0;
    unsigned d = g->a->at[r];
    if (d != T2_NOWHERE) {
        emit_load(e, 8, H_RAX,
                  rm_base(H_RDX, (int32_t)offsetof(struct tlb_entry, addend)));
        int64_t k;
        if (t2g_const(g, o->a, &k)) {
            emit_mov_ri(e, H_RDX, (uint64_t)k);
            emit_alu_rr(e, 8, 0, H_RAX, H_RDX);
        } else {
            t2g_op(g, 8, 0x03, H_RAX, t2g_place(g, t2g_at(g, o->a)), 8, 0);
        }
        put(g, r, H_RAX);
    }
    c->resume = e->at;
}

static void gen_load(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = target(g, r);
    struct rm rm = rm_base(t2g_register(g, o->a, H_RDX), (int32_t)o->imm);
    unsigned size = o->size;
    emit_op(&g->e, size == 8 ? 8 : 4,
            size == 1   ? 0x0fb6
            : size == 2 ? 0x0fb7
                        : 0x8b,
            d, rm, 8, 0);
    put(g, r, d);
}

static void gen_store(struct t2_gen *g, const struct t2_op *o)
{
    unsigned size = o->size;
    struct rm rm = rm_base(t2g_register(g, o->a, H_RDX), (int32_t)o->imm);
    int32_t imm;
    if (t2g_imm(g, o->b, size, &imm)) {
        unsigned bytes = size == 8 ? 4 : size;
        emit_op(&g->e, size, op_for(size, 0xc7), 0, rm, size, bytes);
        for (unsigned n = 0; n < bytes; n++)
            emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
        return;
    }
    emit_store(&g->e, size, rm, t2g_register(g, o->b, H_RAX));
}

static void gen_vector(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct rm rm = rm_reg(o->scale);
    unsigned reg = o->digit, d = H_NONE;
    if (o->a)
        rm = rm_base(t2g_register(g, o->a, H_RDX), (int32_t)o->imm);
    else if (o->b)
        rm = rm_reg(t2g_register(g, o->b, H_RDX));
    if (o->kind == T2_VVALUE) {
        d = target(g, r);
        if (o->hi == T2_FIELD_REG)
            reg = d;
        else
            rm = rm_reg(d);
    }
    if (o->from)
        emit_u8(&g->e, o->from);
    emit_op(&g->e, o->size, (uint32_t)o->lo, reg, rm, 16, o->own_write);
    if (o->own_write)
        emit_u8(&g->e, o->own_bytes);
    if (o->kind == T2_VVALUE)
        put(g, r, d);
    else if (o->own)
        g->host = r;
}

static void gen_syswrite(struct t2_gen *g, const struct t2_op *o)
{
    t2g_alu_ri(g, 4, o->digit, rm_abs(&g->j->cpu->flags), (int32_t)o->imm);
    g->host = 0;
}

/* ---- control ------------------------------------------------------------- */

static void gen_guard(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    if (o->kind == T2_GUARD) {
        unsigned code = t2g_condition(g, o->c, o->digit);
        struct t2_cold *c = t2g_cold(g, COLD_EXIT, r);
        c->reason = T2_FAIL_BRANCH;
        c->site[0] = emit_jump(e, code ^ 1);
        return;
    }
    int32_t imm;
    unsigned x = t2g_register(g, o->a, H_RAX);
    if (t2g_imm(g, o->b, o->size, &imm)) {
        t2g_alu_ri(g, o->size, 7, rm_reg(x), imm);
    } else {
        struct rm y = t2g_operand(g, o->b, H_RDX);
        t2g_op(g, o->size, 0x3b, x, y, o->size, 0);
    }
    g->host = 0;
    struct t2_cold *c = t2g_cold(g, COLD_EXIT, r);
    c->reason = T2_FAIL_TARGET;
    c->site[0] = emit_jump(e, 5);
}

static uint8_t *take_ticks(struct t2_gen *g, unsigned count)
{
    emit_alu_ri(&g->e, 8, 0, rm_reg(H_TICKS), (int32_t)count);
    return emit_jump(&g->e, 15); /* jg */
}

static void gen_loop(struct t2_gen *g, t2_ref r)
{
    t2g_loop_moves(g, false);
    t2g_count(g, g->ir->segment_insns[0]);
    g->loop_top = (uint32_t)(g->e.at - g->buffer);
    uint8_t *site = take_ticks(g, g->ir->segment_insns[1]);
    struct t2_cold *c = t2g_cold(g, COLD_BUDGET, r);
    c->site[0] = site;
    g->host = 0;
}

static void gen_back(struct t2_gen *g)
{
    t2g_loop_moves(g, true);
    t2g_count(g, g->ir->segment_insns[1]);
    uint8_t *jump = emit_jump(&g->e, 16);
    emit_patch(&g->e, jump, g->buffer + g->loop_top + g->e.to_exec);
}

static void gen_op(struct t2_gen *g, t2_ref r)
{
    const struct t2_op *o = &g->ir->ops[r];
    switch (o->kind) {
    case T2_ALU:
        gen_alu(g, r, o);
        break;
    case T2_CMP:
    case T2_TEST:
        gen_compare(g, r, o);
        break;
    case T2_INC:
    case T2_DEC:
    case T2_NEG:
    case T2_NOT:
        gen_unary(g, r, o);
        break;
    case T2_SHIFT:
        gen_shift(g, r, o);
        break;
    case T2_SHIFTCL:
        gen_shift_cl(g, r, o);
        break;
    case T2_IMUL:
        gen_imul(g, r, o);
        break;
    case T2_MULHI:
        gen_mulhi(g, r, o);
        break;
    case T2_DIV:
        gen_div(g, r, o);
        break;
    case T2_BT:
        gen_bt(g, r, o);
        break;
    case T2_MOVZX:
    case T2_MOVSX:
        gen_extend(g, r, o);
        break;
    case T2_HIGH:
        gen_high(g, r, o);
        break;
    case T2_MERGE:
        gen_merge(g, r, o);
        break;
    case T2_SETHIGH:
        gen_set_high(g, r, o);
        break;
    case T2_LEA:
        gen_lea(g, r, o);
        break;
    case T2_SETCC:
        gen_setcc(g, r, o);
        break;
    case T2_CMOV:
        gen_cmov(g, r, o);
        break;
    case T2_PAGE:
    case T2_SEGBASE:
    case T2_BSWAP:
    case T2_GETF:
    case T2_SYSREAD:
    case T2_FLAGS:
        gen_simple(g, r, o);
        break;
    case T2_HOST:
        gen_host(g, r, o);
        break;
    case T2_CHECK:
        gen_check(g, r, o);
        break;
    case T2_LOAD:
        gen_load(g, r, o);
        break;
    case T2_STORE:
        gen_store(g, o);
        break;
    case T2_SYSWRITE:
        gen_syswrite(g, o);
        break;
    case T2_VECTOR:
    case T2_VVALUE:
        gen_vector(g, r, o);
        break;
    case T2_GUARD:
    case T2_GUARDEQ:
        gen_guard(g, r, o);
        break;
    case T2_LOOP:
        gen_loop(g, r);
        break;
    case T2_BACK:
        gen_back(g);
        break;
    case T2_EXIT:
    case T2_EXIT_TO:
        g->host = 0;
        t2g_exit(g, o);
        break;
    default: /* no code */
        break;
    }
}

/* ---- the trace ----------------------------------------------------------- */

/* The key and, where addresses are constants, the page. */
static unsigned gen_entry_guard(struct t2_gen *g, uint8_t *sites[2])
{
    struct emit *e = &g->e;
    const struct cpu *c = g->j->cpu;
    if (g->trace->one_page)
        return 0;
    emit_mov_ri(e, H_RCX, g->trace->key);
    t2g_op(g, 8, 0x3b, H_RCX, rm_abs(&c->jit_key), 8, 0);
    sites[0] = emit_jump(e, 5);
    emit_mov_ri(e, H_RCX, g->ir->head & ~(uint64_t)(PAGE_BYTES - 1));
    t2g_op(g, 8, 0x3b, H_RCX, rm_abs(&c->jit_page), 8, 0);
    sites[1] = emit_jump(e, 5);
    return 2;
}

/* The host's vector unit holds the guest's state, or tier 1 sees to it. Returns
 * the jump for the latter. */
static uint8_t *need_vectors(struct t2_gen *g)
{
    if (!g->ir->uses_vectors)
        return NULL;
    t2g_alu_ri(g, 1, 7, rm_abs(&g->j->cpu->jit_simd), 0);
    uint8_t *ready = emit_jump(&g->e, 5);
    t2g_call_out(g, g->j->simd_load);
    uint8_t *refused = emit_jump(&g->e, 5);
    emit_patch(&g->e, ready, emit_here(&g->e));
    return refused;
}

static void gen_refusals(struct t2_gen *g, uint8_t *const key[2], unsigned keys,
                         uint8_t *too_far, uint8_t *no_vectors)
{
    struct emit *e = &g->e;
    unsigned count = g->ir->segment_insns[0];
    emit_patch(e, too_far, emit_here(e));
    if (no_vectors)
        emit_patch(e, no_vectors, emit_here(e));
    emit_alu_ri(e, 8, 5, rm_reg(H_TICKS), (int32_t)count);
    t2g_to_fallback(g);
    if (!keys)
        return;
    for (unsigned n = 0; n < keys; n++)
        emit_patch(e, key[n], emit_here(e));
    t2g_alu_ri(g, 4, 0,
               rm_abs(&g->near_data->count[g->trace->id].fails[T2_FAIL_KEY]),
               1);
    t2g_to_fallback(g);
}

bool t2_generate(struct t2_gen *g, const struct t2_ir *ir,
                 const struct t2_alloc *a, struct t2_trace *trace)
{
    uint8_t *key[2] = {NULL, NULL};
    g->ir = ir;
    g->a = a;
    g->trace = trace;
    g->e = (struct emit){.at = g->buffer,
                         .end = g->buffer + T2_CODE_BYTES,
                         .to_exec = g->j->exec - g->buffer};
    g->fix_count = g->link_count = g->site_count = g->const_count = 0;
    g->fallback = NULL;
    g->cold_count = 0;
    g->failed = false;
    g->host = 0;
    g->entry_top = 0;
    unsigned keys = gen_entry_guard(g, key);
    uint8_t *too_far = take_ticks(g, ir->segment_insns[0]);
    uint8_t *no_vectors = need_vectors(g);
    t2g_enter(g);
    for (g->at = 0; g->at < ir->seq_count && !g->failed && !g->e.full; g->at++)
        gen_op(g, ir->seq[g->at]);
    t2g_colds(g);
    gen_refusals(g, key, keys, too_far, no_vectors);
    g->code_bytes = (uint32_t)(g->e.at - g->buffer);
    return !g->failed && !g->e.full;
}

bool t2_gen_init(struct t2_gen *g, const struct jit *j,
                 struct t2_near *near_data, const uint8_t *slow)
{
    memset(g, 0, sizeof *g);
    g->j = j;
    g->near_data = near_data;
    g->slow = slow;
    g->buffer = malloc(T2_CODE_BYTES);
    g->fixes = calloc(T2_FIXES_MAX, sizeof *g->fixes);
    g->links = calloc(T2_LINKS_MAX, sizeof *g->links);
    g->consts = calloc(T2_CONSTS_MAX, sizeof *g->consts);
    g->cold = calloc(T2_LINKS_MAX + 1, sizeof *g->cold);
    return g->buffer && g->fixes && g->links && g->cold && g->consts;
}

void t2_gen_fini(struct t2_gen *g)
{
    free(g->buffer);
    free(g->fixes);
    free(g->links);
    free(g->cold);
    free(g->consts);
}
