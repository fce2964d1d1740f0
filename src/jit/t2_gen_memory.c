/* Host code of accesses to memory and of vectors. RAX and RDX are scratch. */
#include "jit/t2_code.h"

#include <stddef.h>

/* The TLB's entry for the page of root + lo into RDX. */
static void find_entry(struct t2_gen *g, unsigned root, int32_t lo)
{
    if (lo) {
        emit_op(&g->e, 8, 0x8d, H_RDX, rm_base(root, lo), 8, 0);
        root = H_RDX;
    }
    jit_emit_tlb_offset(g->j, &g->e, H_RDX, root);
    t2g_op(g, 8, 0x03, H_RDX, rm_abs(&g->j->cpu->mmu.tlb), 8, 0);
}

static void add_root(struct t2_gen *g, unsigned to, const struct t2_op *o)
{
    int64_t k;
    if (t2g_const(g, o->a, &k)) {
        emit_mov_ri(&g->e, H_RDX, (uint64_t)k);
        emit_alu_rr(&g->e, 8, 0, to, H_RDX);
    } else {
        t2g_op(g, 8, 0x03, to, t2g_place(g, t2g_at(g, o->a)), 8, 0);
    }
}

/* The register that holds the root of a check, or H_NONE. */
static unsigned root_register(const struct t2_gen *g, const struct t2_op *o)
{
    int64_t k;
    if (t2g_const(g, o->a, &k) || t2g_at(g, o->a) >= 16)
        return H_NONE;
    return t2g_at(g, o->a);
}

/* From the entry in RDX: the pointer to where it belongs, or for T2_FOLDED what
 * access() wants in RAX. */
static void take_pointer(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    struct rm addend =
        rm_base(H_RDX, (int32_t)offsetof(struct tlb_entry, addend));
    unsigned d = g->a->at[r], root = root_register(g, o);
    if (d == T2_NOWHERE)
        return;
    if (d == T2_FOLDED) {
        emit_load(e, 8, H_RAX, addend);
        if (root == H_NONE)
            add_root(g, H_RAX, o);
    } else if (d == root) {
        emit_op(e, 8, 0x03, d, addend, 8, 0);
    } else {
        unsigned to = t2g_target(g, r);
        emit_load(e, 8, to, addend);
        add_root(g, to, o);
        t2g_put(g, r, to);
    }
}

/* The pages of the first and the last byte must be one, and in the TLB. */
void t2g_check(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct emit *e = &g->e;
    unsigned root = t2g_register(g, o->a, H_RDX);
    emit_op(e, 8, 0x8d, H_RAX, rm_base(root, o->hi - 1), 8, 0);
    find_entry(g, root, o->lo);
    emit_alu_ri(e, 8, 4, rm_reg(H_RAX), -PAGE_BYTES);
    struct t2_cold *c = t2g_cold(g, o->at_head ? COLD_HEAD : COLD_SLOW, r);
    unsigned sites = 0;
    for (unsigned w = 0; w < 2; w++) {
        if (!(o->rw & (w ? T2_WRITES : T2_READS)))
            continue;
        emit_op(e, 8, 0x3b, H_RAX, rm_base(H_RDX, jit_tag_offset(w)), 8, 0);
        c->site[sites++] = emit_jump(e, 5);
    }
    g->host = 0;
    take_pointer(g, r, o);
    c->resume = e->at;
}

void t2g_after_slow(struct t2_gen *g, t2_ref r)
{
    unsigned d = g->a->at[r], root = root_register(g, &g->ir->ops[r]);
    if (d == T2_FOLDED && root != H_NONE)
        emit_alu_rr(&g->e, 8, 5, H_RAX, root);
    else if (d != T2_FOLDED && d != T2_NOWHERE)
        t2g_op(g, 8, 0x89, H_RAX, t2g_place(g, d), 8, 0);
}

/* What o accesses, behind its check. Clobbers RDX, or needs RAX as it is. */
static struct rm access(struct t2_gen *g, const struct t2_op *o)
{
    t2_ref check = t2_value(g->ir, o->a);
    if (t2g_at(g, check) != T2_FOLDED)
        return rm_base(t2g_register(g, check, H_RDX), (int32_t)o->imm);
    unsigned root = root_register(g, &g->ir->ops[check]);
    struct rm rm =
        rm_base(root == H_NONE ? (unsigned)H_RAX : root, (int32_t)o->imm);
    if (root != H_NONE)
        rm.index = H_RAX;
    return rm;
}

void t2g_load_op(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    unsigned d = t2g_target(g, r);
    struct rm rm = access(g, o);
    unsigned size = o->size;
    emit_op(&g->e, size == 8 ? 8 : 4,
            size == 1   ? 0x0fb6
            : size == 2 ? 0x0fb7
                        : 0x8b,
            d, rm, 8, 0);
    t2g_put(g, r, d);
}

void t2g_store(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    (void)r;
    unsigned size = o->size;
    struct rm rm = access(g, o);
    int32_t imm;
    if (t2g_imm(g, o->b, size, &imm)) {
        unsigned bytes = size == 8 ? 4 : size;
        emit_op(&g->e, size, t2g_op_for(size, 0xc7), 0, rm, size, bytes);
        for (unsigned n = 0; n < bytes; n++)
            emit_u8(&g->e, (unsigned)imm >> (8 * n) & 0xff);
        return;
    }
    unsigned free = rm.reg == H_RDX ? H_RAX : H_RDX;
    emit_store(&g->e, size, rm, t2g_register(g, o->b, free));
}

void t2g_vector(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    struct rm rm = rm_reg(o->scale);
    unsigned reg = o->digit, d = H_NONE;
    if (o->a)
        rm = access(g, o);
    else if (o->b)
        rm = rm_reg(t2g_register(g, o->b, H_RDX));
    if (o->kind == T2_VVALUE) {
        d = t2g_target(g, r);
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
        t2g_put(g, r, d);
    else if (o->own)
        g->host = r;
}
