/* Integer arithmetic with its flags, computed by the same host instruction. The
 * host's LAHF and SETO give the flags in the layout of cpu->aflags.
 *
 * Flags that the SDM leaves undefined (vol. 1 app. A) have these fixed values:
 *   AND OR XOR TEST              AF = 0
 *   SHL SAL SHR SAR              AF = 0; OF for counts above 1 is what a shift of
 *                                the operand by 1 would give
 *   ROL ROR                      OF for counts above 1 likewise
 *   SHLD SHRD RCL RCR            AF = 0 (shifts); OF for counts above 1 from the
 *                                result: SHLD and RCL msb ^ CF, SHRD and RCR the
 *                                xor of the two top bits
 *   MUL IMUL                     SF and PF of the low half, ZF = AF = 0
 *   DIV IDIV                     unchanged
 *   BSF BSR                      CF = OF = SF = AF = PF = 0
 *   BT BTS BTR BTC               OF SF AF PF unchanged
 *   AAA AAS                      OF SF ZF PF = 0
 *   AAM AAD                      CF = OF = AF = 0
 *   DAA DAS                      OF = 0 */
#ifndef RELIVE_CPU_FLAGS_H
#define RELIVE_CPU_FLAGS_H

#include "cpu/cpu.h"

/* Bits of aflags. */
enum {
    AF_CF = 0x0100,
    AF_PF = 0x0400,
    AF_AF = 0x1000,
    AF_ZF = 0x4000,
    AF_SF = 0x8000,
    AF_ONE = 0x0200,
    AF_OF = 0x0001
};

#define ALU_ASM(name, type, insn)                                              \
    static inline type name(struct cpu *c, type a, type b)                     \
    {                                                                          \
        uint16_t f;                                                            \
        __asm__(insn " %2, %0\n\tlahf\n\tseto %%al"                            \
                : "+r"(a), "=&a"(f)                                            \
                : "rm"(b)                                                      \
                : "cc");                                                       \
        c->aflags = f;                                                         \
        return a;                                                              \
    }
/* CF in: bit 8 of aflags goes to the carry first. */
#define ALU_CARRY_ASM(name, type, insn)                                        \
    static inline type name(struct cpu *c, type a, type b)                     \
    {                                                                          \
        uint16_t f = c->aflags;                                                \
        __asm__("btl $8, %k1\n\t" insn " %2, %0\n\tlahf\n\tseto %%al"          \
                : "+r"(a), "+&a"(f)                                            \
                : "rm"(b)                                                      \
                : "cc");                                                       \
        c->aflags = f;                                                         \
        return a;                                                              \
    }
/* Logic: AF is undefined and always 0 here. */
#define ALU_LOGIC(name, type, insn)                                            \
    static inline type name(struct cpu *c, type a, type b)                     \
    {                                                                          \
        uint16_t f;                                                            \
        __asm__(insn " %2, %0\n\tlahf\n\tseto %%al"                            \
                : "+r"(a), "=&a"(f)                                            \
                : "rm"(b)                                                      \
                : "cc");                                                       \
        c->aflags = (uint16_t)(f & ~AF_AF);                                    \
        return a;                                                              \
    }
#define ALU_SIZE(bits, suffix)                                                 \
    ALU_ASM(alu_add##bits, uint##bits##_t, "add" suffix)                       \
    ALU_ASM(alu_sub##bits, uint##bits##_t, "sub" suffix)                       \
    ALU_CARRY_ASM(alu_adc##bits, uint##bits##_t, "adc" suffix)                 \
    ALU_CARRY_ASM(alu_sbb##bits, uint##bits##_t, "sbb" suffix)                 \
    ALU_LOGIC(alu_and##bits, uint##bits##_t, "and" suffix)                     \
    ALU_LOGIC(alu_or##bits, uint##bits##_t, "or" suffix)                       \
    ALU_LOGIC(alu_xor##bits, uint##bits##_t, "xor" suffix)
ALU_SIZE(8, "b")
ALU_SIZE(16, "w")
ALU_SIZE(32, "l")
ALU_SIZE(64, "q")
#undef ALU_ASM
#undef ALU_CARRY_ASM
#undef ALU_LOGIC
#undef ALU_SIZE

/* Flags as a logical instruction leaves them for a result of `bits` bits. */
static inline uint16_t flags_of_result(uint64_t v, unsigned bits)
{
    uint16_t f = AF_ONE;
    v &= UINT64_MAX >> (64 - bits);
    if (v == 0)
        f |= AF_ZF;
    if (v >> (bits - 1))
        f |= AF_SF;
    if (!__builtin_parity((unsigned)(v & 0xff)))
        f |= AF_PF;
    return f;
}

/* The condition codes 0..15 of Jcc, SETcc and CMOVcc (SDM vol. 1 app. B). */
static inline bool flags_condition(uint16_t f, unsigned code)
{
    bool v;
    switch (code >> 1) {
    case 0:
        v = f & AF_OF;
        break;
    case 1:
        v = f & AF_CF;
        break;
    case 2:
        v = f & AF_ZF;
        break;
    case 3:
        v = f & (AF_CF | AF_ZF);
        break;
    case 4:
        v = f & AF_SF;
        break;
    case 5:
        v = f & AF_PF;
        break;
    case 6:
        v = (f >> 15 ^ f) & 1;
        break;
    default:
        v = ((f >> 15 ^ f) & 1) || (f & AF_ZF);
        break;
    }
    return v != (code & 1);
}

#endif
