/* Instructions on flags and on the state of the system as ops. */
#include "jit/t2_build.h"

#include "cpu/flags.h"

#include <Zydis/Mnemonic.h>

static t2_ref alu(struct t2_build *b, unsigned digit, t2_ref x, uint64_t k)
{
    return t2_binary(b, T2_ALU, 4, digit, x, t2_const(b->ir, k));
}

static t2_ref system_value(struct t2_build *b, enum t2_system which)
{
    t2_ref v = t2_unary(b, T2_SYSREAD, 4, 0);
    b->ir->ops[v].digit = which;
    return v;
}

static void write_system_flags(struct t2_build *b, unsigned digit, uint32_t k)
{
    t2_ref r = t2_emit_ir(b->ir, (struct t2_op){.kind = T2_SYSWRITE,
                                                .digit = (uint8_t)digit,
                                                .insn = (uint16_t)b->n});
    b->ir->ops[r].imm = (int32_t)k;
}

enum { OR = 1, AND = 4, XOR = 6 };

static bool build_carry(struct t2_build *b)
{
    unsigned digit;
    switch (b->i->mnemonic) {
    case ZYDIS_MNEMONIC_CLC:
        digit = AND;
        break;
    case ZYDIS_MNEMONIC_STC:
        digit = OR;
        break;
    case ZYDIS_MNEMONIC_CMC:
        digit = XOR;
        break;
    default:
        return false;
    }
    t2_ref f = t2_flags_value(b);
    t2_set_flags_value(
        b, alu(b, digit, f, digit == AND ? (uint32_t)~AF_CF : AF_CF));
    return true;
}

static bool build_direction(struct t2_build *b)
{
    if (b->i->mnemonic == ZYDIS_MNEMONIC_CLD)
        write_system_flags(b, AND, (uint32_t)~FLAG_DF);
    else if (b->i->mnemonic == ZYDIS_MNEMONIC_STD)
        write_system_flags(b, OR, FLAG_DF);
    else
        return false;
    return true;
}

/* AH's bits are those of LAHF already. */
static bool build_ah(struct t2_build *b)
{
    t2_ref *now = b->ir->now;
    if (b->i->mnemonic == ZYDIS_MNEMONIC_LAHF) {
        t2_ref f = t2_unary(b, T2_HIGH, 1, t2_flags_value(b));
        now[REG_RAX] = t2_binary(b, T2_SETHIGH, 1, 0, now[REG_RAX], f);
        return true;
    }
    if (b->i->mnemonic != ZYDIS_MNEMONIC_SAHF)
        return false;
    const uint32_t mask = AF_SF | AF_ZF | AF_AF | AF_PF | AF_CF;
    t2_ref of = alu(b, AND, t2_flags_value(b), AF_OF);
    t2_ref rest = alu(b, AND, now[REG_RAX], mask);
    t2_set_flags_value(
        b, alu(b, OR, t2_binary(b, T2_ALU, 4, OR, of, rest), AF_ONE));
    return true;
}

/* Not in virtual-8086 mode, whose code is 16-bit. */
static bool build_pushf(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    unsigned n = b->i->opsize;
    if ((b->i->mnemonic != ZYDIS_MNEMONIC_PUSHFQ &&
         b->i->mnemonic != ZYDIS_MNEMONIC_PUSHFD) ||
        n != (ir->is64 ? 8u : 4u))
        return false;
    t2_ref sp = t2_plus(b, ir->now[REG_RSP], -(int64_t)n);
    struct t2_place p = t2_place_at(b, sp, n, T2_WRITES);
    t2_ref f = t2_flags_value(b);
    t2_ref low = alu(b, AND, t2_unary(b, T2_HIGH, 1, f), 0xd5);
    t2_ref of = t2_binary(b, T2_SHIFT, 4, 4, alu(b, AND, f, AF_OF), 0);
    ir->ops[of].imm = 11;
    t2_ref v = t2_binary(b, T2_ALU, 4, OR, low, of);
    v = t2_binary(b, T2_ALU, 4, OR, v, system_value(b, T2_SYS_FLAGS));
    v = alu(b, AND, alu(b, OR, v, 2), ~(uint32_t)(FLAG_VM | FLAG_RF));
    t2_write(b, p, n, v);
    ir->now[REG_RSP] = sp;
    return true;
}

/* TSC = tick + tsc_offset at the instruction. */
static bool build_rdtsc(struct t2_build *b)
{
    struct t2_ir *ir = b->ir;
    if (b->i->mnemonic != ZYDIS_MNEMONIC_RDTSC)
        return false;
    t2_require(b, 4, 4,
               alu(b, AND, system_value(b, T2_SYS_CR4), CR4_TSD),
               t2_const(ir, 0));
    t2_ref tsc = system_value(b, T2_SYS_TSC);
    ir->ops[tsc].imm = b->retired;
    ir->ops[tsc].scale = (uint8_t)ir->segment;
    ir->now[REG_RAX] = t2_unary(b, T2_MOVZX, 4, tsc);
    ir->now[REG_RDX] = t2_binary(b, T2_SHIFT, 8, 5, tsc, 0);
    ir->ops[ir->now[REG_RDX]].imm = 32;
    return true;
}

/* Nothing new can happen behind CLI, although it ends a block. */
static bool build_cli(struct t2_build *b)
{
    if (b->i->mnemonic != ZYDIS_MNEMONIC_CLI)
        return false;
    t2_require(b, 4, 4, system_value(b, T2_SYS_CPL), t2_const(b->ir, 0));
    write_system_flags(b, AND, (uint32_t)~FLAG_IF);
    return true;
}

bool t2_passes(const struct insn *i)
{
    return i->mnemonic == ZYDIS_MNEMONIC_CLI;
}

bool t2_build_system(struct t2_build *b)
{
    return build_carry(b) || build_direction(b) || build_ah(b) ||
           build_pushf(b) || build_cli(b) || build_rdtsc(b);
}
