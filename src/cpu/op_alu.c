/* Two-operand arithmetic and logic, INC, DEC, NEG, NOT (SDM vol. 2). Each
 * mnemonic has one handler for each operand shape and size. */
#include "cpu/access.h"
#include "cpu/flags.h"
#include "cpu/op_int.h"

/* A register operand of each width, as a host lvalue or through a setter. */
#define R8(n)      (((uint8_t *)c->r)[n])
#define R16(n)     (*(uint16_t *)&c->r[n])
#define R32(n)     ((uint32_t)c->r[n])
#define R64(n)     (c->r[n])
#define SET8(n, v) (((uint8_t *)c->r)[n] = (v))
#define SET16(n, v) (*(uint16_t *)&c->r[n] = (v))
#define SET32(n, v) (c->r[n] = (uint32_t)(v))
#define SET64(n, v) (c->r[n] = (v))

#define BINARY_WIDTH(name, bits)                                               \
    static enum exc name##bits##_rr(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        SET##bits(i->dst, alu_##name##bits(c, R##bits(i->dst),                 \
                                           R##bits(i->src)));                  \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_ri(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        SET##bits(i->dst, alu_##name##bits(c, R##bits(i->dst),                 \
                                           (uint##bits##_t)i->imm));           \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_rm(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        uint##bits##_t v;                                                      \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        SET##bits(i->dst, alu_##name##bits(c, R##bits(i->dst), v));            \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_modify(struct cpu *c, const struct insn *i,   \
                                        uint##bits##_t b)                      \
    {                                                                          \
        uint##bits##_t a;                                                      \
        uint16_t before = c->aflags;                                           \
        enum exc e = insn_read_for_write(c, i, &a, sizeof a);                  \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        a = alu_##name##bits(c, a, b);                                         \
        e = insn_write(c, i, &a, sizeof a);                                    \
        if (UNLIKELY(e))                                                       \
            c->aflags = before;                                                \
        return e;                                                              \
    }                                                                          \
    static enum exc name##bits##_mr(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        return name##bits##_modify(c, i, R##bits(i->src));                     \
    }                                                                          \
    static enum exc name##bits##_mi(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        return name##bits##_modify(c, i, (uint##bits##_t)i->imm);              \
    }

/* CMP and TEST: no result is written. */
#define COMPARE_WIDTH(name, op, bits)                                          \
    static enum exc name##bits##_rr(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        (void)alu_##op##bits(c, R##bits(i->dst), R##bits(i->src));             \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_ri(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        (void)alu_##op##bits(c, R##bits(i->dst), (uint##bits##_t)i->imm);      \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_rm(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        uint##bits##_t v;                                                      \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        (void)alu_##op##bits(c, R##bits(i->dst), v);                           \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_mr(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        uint##bits##_t v;                                                      \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        (void)alu_##op##bits(c, v, R##bits(i->src));                           \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_mi(struct cpu *c, const struct insn *i)       \
    {                                                                          \
        uint##bits##_t v;                                                      \
        enum exc e = insn_read(c, i, &v, sizeof v);                            \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        (void)alu_##op##bits(c, v, (uint##bits##_t)i->imm);                    \
        return EXC_NONE;                                                       \
    }

/* The pick function of a mnemonic: a table over form and size. */
#define FORM_ROW(name, bits)                                                   \
    {                                                                          \
        [FORM_RR] = name##bits##_rr, [FORM_RM] = name##bits##_rm,              \
        [FORM_MR] = name##bits##_mr, [FORM_RI] = name##bits##_ri,              \
        [FORM_MI] = name##bits##_mi                                            \
    }
#define PICK_BINARY(name)                                                      \
    insn_fn *pick_##name(const struct insn *i)                                 \
    {                                                                          \
        static insn_fn *const table[4][FORM_MI + 1] = {                        \
            FORM_ROW(name, 8), FORM_ROW(name, 16), FORM_ROW(name, 32),         \
            FORM_ROW(name, 64)};                                               \
        return table[__builtin_ctz(i->size | 8u)][i->form];                    \
    }

#define BINARY(name)                                                           \
    BINARY_WIDTH(name, 8)                                                      \
    BINARY_WIDTH(name, 16)                                                     \
    BINARY_WIDTH(name, 32)                                                     \
    BINARY_WIDTH(name, 64)                                                     \
    PICK_BINARY(name)
#define COMPARE(name, op)                                                      \
    COMPARE_WIDTH(name, op, 8)                                                 \
    COMPARE_WIDTH(name, op, 16)                                                \
    COMPARE_WIDTH(name, op, 32)                                                \
    COMPARE_WIDTH(name, op, 64)                                                \
    PICK_BINARY(name)

BINARY(add)
BINARY(or)
BINARY(adc)
BINARY(sbb)
BINARY(and)
BINARY(sub)
BINARY(xor)
COMPARE(cmp, sub)
COMPARE(test, and)

/* ---- one operand ------------------------------------------------------------ */

/* INC and DEC keep CF. */
#define KEEP_CF(before) \
    (c->aflags = (uint16_t)((c->aflags & ~AF_CF) | ((before) & AF_CF)))
#define ONE_inc(bits, a)                                                       \
    do {                                                                       \
        uint16_t f_ = c->aflags;                                               \
        a = alu_add##bits(c, a, 1);                                            \
        KEEP_CF(f_);                                                           \
    } while (0)
#define ONE_dec(bits, a)                                                       \
    do {                                                                       \
        uint16_t f_ = c->aflags;                                               \
        a = alu_sub##bits(c, a, 1);                                            \
        KEEP_CF(f_);                                                           \
    } while (0)
#define ONE_neg(bits, a) (a = alu_sub##bits(c, 0, a))
#define ONE_not(bits, a) (a = (uint##bits##_t)~a)

#define UNARY_WIDTH(name, bits)                                                \
    static enum exc name##bits##_r(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        uint##bits##_t a = R##bits(i->dst);                                    \
        ONE_##name(bits, a);                                                   \
        SET##bits(i->dst, a);                                                  \
        return EXC_NONE;                                                       \
    }                                                                          \
    static enum exc name##bits##_m(struct cpu *c, const struct insn *i)        \
    {                                                                          \
        uint##bits##_t a;                                                      \
        uint16_t before = c->aflags;                                           \
        enum exc e = insn_read_for_write(c, i, &a, sizeof a);                  \
        if (UNLIKELY(e))                                                       \
            return e;                                                          \
        ONE_##name(bits, a);                                                   \
        e = insn_write(c, i, &a, sizeof a);                                    \
        if (UNLIKELY(e))                                                       \
            c->aflags = before;                                                \
        return e;                                                              \
    }
#define UNARY(name)                                                            \
    UNARY_WIDTH(name, 8)                                                       \
    UNARY_WIDTH(name, 16)                                                      \
    UNARY_WIDTH(name, 32)                                                      \
    UNARY_WIDTH(name, 64)                                                      \
    insn_fn *pick_##name(const struct insn *i)                                 \
    {                                                                          \
        static insn_fn *const table[4][2] = {{name##8_r, name##8_m},           \
                                             {name##16_r, name##16_m},         \
                                             {name##32_r, name##32_m},         \
                                             {name##64_r, name##64_m}};        \
        return table[__builtin_ctz(i->size | 8u)][i->form == FORM_M];          \
    }

UNARY(inc)
UNARY(dec)
UNARY(neg)
UNARY(not)
