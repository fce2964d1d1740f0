/* Read-modify-write of memory and string instructions as ops. There is one CPU:
 * LOCK changes nothing. */
#include "jit/t2_build.h"

#include "cpu/flags.h"
#include "cpu/op_int.h"

#include <Zydis/Mnemonic.h>

enum { ADD = 0, OR = 1, AND = 4, XOR = 6, BE_ZERO = 4 };

/* y when condition Z of flags, else x. */
static t2_ref select_zero(struct t2_build *b, t2_ref flags, t2_ref x, t2_ref y)
{
    t2_ref r = t2_binary(b, T2_CMOV, 8, BE_ZERO, x, y);
    b->ir->ops[r].c = flags;
    return r;
}

/* On memory: it is written either way. */
static bool build_cmpxchg(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    if (i->mnemonic != ZYDIS_MNEMONIC_CMPXCHG || i->form != FORM_MR ||
        !t2_is_general(i, 1) ||
        !t2_operand_place(b, i->size, T2_READS | T2_WRITES, &p))
        return false;
    t2_ref acc = ir->now[REG_RAX], old = t2_read(b, p, i->size);
    t2_ref cmp = t2_binary(b, T2_CMP, i->size, 0, acc, old);
    t2_write(b, p, i->size,
             select_zero(b, cmp, old, t2_reg_operand(b, i->src, i->size)));
    t2_ref loaded = i->size < 4
                        ? t2_binary(b, T2_MERGE, i->size, 0, acc, old)
                        : old;
    /* When equal, rAX keeps its upper half. */
    ir->now[REG_RAX] = select_zero(b, cmp, loaded, acc);
    t2_set_flags(b, cmp);
    return true;
}

static bool build_xadd(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_place p;
    if (i->mnemonic != ZYDIS_MNEMONIC_XADD || i->form != FORM_MR ||
        !t2_is_general(i, 1) ||
        !t2_operand_place(b, i->size, T2_READS | T2_WRITES, &p))
        return false;
    t2_ref old = t2_read(b, p, i->size);
    t2_ref sum = t2_binary(b, T2_ALU, i->size, ADD, old,
                           t2_reg_operand(b, i->src, i->size));
    t2_write(b, p, i->size, sum);
    t2_set_operand(b, i->src, i->size, old);
    t2_set_flags(b, sum);
    return true;
}

/* CMPXCHG8B and CMPXCHG16B: of the flags ZF alone changes. */
static bool build_cmpxchg_pair(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    t2_ref *now = ir->now;
    struct t2_place p;
    bool is_wide = i->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
    unsigned n = is_wide ? 8 : 4;
    if (!is_wide && i->mnemonic != ZYDIS_MNEMONIC_CMPXCHG8B)
        return false;
    if (!t2_operand_place(b, 2 * n, T2_READS | T2_WRITES, &p))
        return false;
    if (is_wide) /* misaligned ones fault */
        t2_require_aligned(b, p);
    struct t2_place q = {p.check, p.at + (int64_t)n};
    t2_ref low = t2_read(b, p, n), high = t2_read(b, q, n);
    t2_ref d = t2_binary(b, T2_ALU, n, OR,
                         t2_binary(b, T2_ALU, n, XOR, low, now[REG_RAX]),
                         t2_binary(b, T2_ALU, n, XOR, high, now[REG_RDX]));
    t2_ref test = t2_binary(b, T2_TEST, n, 0, d, d);
    t2_write(b, p, n, select_zero(b, test, low, now[REG_RBX]));
    t2_write(b, q, n, select_zero(b, test, high, now[REG_RCX]));
    now[REG_RAX] = select_zero(b, test, low, now[REG_RAX]);
    now[REG_RDX] = select_zero(b, test, high, now[REG_RDX]);
    t2_ref zf = select_zero(b, test, t2_const(ir, 0), t2_const(ir, AF_ZF));
    t2_ref rest = t2_binary(b, T2_ALU, 4, AND, t2_flags_value(b),
                            t2_const(ir, (uint32_t)~AF_ZF));
    t2_set_flags_value(b, t2_binary(b, T2_ALU, 4, OR, rest, zf));
    return true;
}

/* ---- bit tests ----------------------------------------------------------- */

/* A bit string: the offset selects the operand-sized word. */
static bool bit_place(struct t2_build *b, unsigned rw, struct t2_place *p)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    t2_ref v, n = ir->now[i->src];
    unsigned wide = ir->is64 && i->addr == 8 ? 8 : 4;
    unsigned shift = i->size == 8 ? 6 : 5;
    if (i->form == FORM_MI)
        return t2_operand_place(b, i->size, rw, p);
    if (!t2_is_general(i, 1) || !t2_effective(b, &v))
        return false;
    unsigned span = i->size > wide ? i->size : wide;
    if (i->size < span) {
        n = t2_unary(b, T2_MOVSX, span, n);
        ir->ops[n].from = i->size;
    }
    t2_ref word = t2_binary(b, T2_SHIFT, span, 7, n, 0);
    ir->ops[word].imm = shift;
    t2_ref at = t2_binary(b, T2_LEA, wide, 0, v, word);
    ir->ops[at].scale = (uint8_t)(shift - 3);
    return t2_place_of(b, at, i->size, rw, p);
}

static bool build_bit_test(struct t2_build *b)
{
    static const uint16_t rows[4] = {ZYDIS_MNEMONIC_BT, ZYDIS_MNEMONIC_BTS,
                                     ZYDIS_MNEMONIC_BTR, ZYDIS_MNEMONIC_BTC};
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    struct t2_place p;
    unsigned row = 0;
    while (row < 4 && rows[row] != i->mnemonic)
        row++;
    if (row == 4 || !ir->host.bit_tests || i->size < 4 ||
        (i->form != FORM_MR && i->form != FORM_MI) ||
        !bit_place(b, row ? T2_READS | T2_WRITES : T2_READS, &p))
        return false;
    t2_ref bit =
        i->form == FORM_MR ? ir->now[i->src] : t2_const(ir, (uint8_t)i->imm);
    t2_ref r = t2_binary(b, T2_BT, i->size, 4 + row, t2_read(b, p, i->size),
                         bit);
    ir->ops[r].c = ir->flags;
    if (row)
        t2_write(b, p, i->size, r);
    t2_set_flags(b, r);
    return true;
}

/* ---- strings ------------------------------------------------------------- */

/* One element, upwards: the place at rSI or rDI, which moves on. */
static struct t2_place element(struct t2_build *b, unsigned reg, unsigned n,
                               unsigned rw)
{
    return t2_place_at(b, b->ir->now[reg], n, rw);
}

static void move_on(struct t2_build *b, unsigned reg, unsigned n)
{
    b->ir->now[reg] = t2_plus(b, b->ir->now[reg], n);
}

/* Not repeated, with flat segments and the address size of the mode. */
static bool build_string(struct t2_build *b)
{
    const struct insn *i = b->i;
    struct t2_ir *ir = b->ir;
    bool reads = i->fn == op_movs || i->fn == op_lods;
    bool writes = i->fn == op_movs || i->fn == op_stos;
    unsigned n = i->opsize;
    if ((!reads && !writes) || i->addr != (ir->is64 ? 8 : 4) ||
        (i->prefix & (PREFIX_REP | PREFIX_REPNE)) ||
        (reads && (i->seg >= SEG_FS || (!ir->is64 && i->seg == SEG_CS))))
        return false;
    t2_ref down = t2_unary(b, T2_SYSREAD, 4, 0);
    t2_require(b, BE_ZERO, 4,
               t2_binary(b, T2_ALU, 4, AND, down, t2_const(ir, FLAG_DF)),
               t2_const(ir, 0));
    struct t2_place from, to;
    if (reads)
        from = element(b, REG_RSI, n, T2_READS);
    if (writes)
        to = element(b, REG_RDI, n, T2_WRITES);
    t2_ref v = reads ? t2_read(b, from, n) : ir->now[REG_RAX];
    if (writes)
        t2_write(b, to, n, v);
    else
        t2_set_operand(b, REG_RAX, n, v);
    if (reads)
        move_on(b, REG_RSI, n);
    if (writes)
        move_on(b, REG_RDI, n);
    return true;
}

bool t2_build_memory(struct t2_build *b)
{
    return build_cmpxchg(b) || build_xadd(b) || build_cmpxchg_pair(b) ||
           build_bit_test(b) || build_string(b);
}
