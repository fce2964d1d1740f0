/* Operand access of any size for handlers that are not specialised by width. */
#ifndef RELIVE_CPU_OPERAND_H
#define RELIVE_CPU_OPERAND_H

#include "cpu/access.h"

static inline bool insn_first_is_memory(const struct insn *i)
{
    return i->form == FORM_M || i->form == FORM_MR || i->form == FORM_MI;
}

/* The first operand: a general register or memory of i->size bytes. */
static inline enum exc operand0_read(struct cpu *c, const struct insn *i,
                                     uint64_t *value)
{
    *value = 0;
    if (insn_first_is_memory(i))
        return insn_read(c, i, value, i->size);
    *value = reg_get(c, i->dst, i->size);
    return EXC_NONE;
}

/* As above, when the same operand is written afterwards. */
static inline enum exc operand0_read_for_write(struct cpu *c,
                                               const struct insn *i,
                                               uint64_t *value)
{
    *value = 0;
    if (insn_first_is_memory(i))
        return insn_read_for_write(c, i, value, i->size);
    *value = reg_get(c, i->dst, i->size);
    return EXC_NONE;
}

static inline enum exc operand0_write(struct cpu *c, const struct insn *i,
                                      uint64_t value)
{
    if (insn_first_is_memory(i))
        return insn_write(c, i, &value, i->size);
    reg_set(c, i->dst, value, i->size);
    return EXC_NONE;
}

/* The second operand: register, memory or immediate of i->size1 bytes. */
static inline enum exc operand1_read(struct cpu *c, const struct insn *i,
                                     uint64_t *value)
{
    *value = 0;
    switch (i->form) {
    case FORM_RM:
        return insn_read(c, i, value, i->size1);
    case FORM_RI:
    case FORM_MI:
        *value = i->imm;
        return EXC_NONE;
    default:
        *value = reg_get(c, i->src, i->size1);
        return EXC_NONE;
    }
}

static inline uint64_t low_bits(uint64_t v, unsigned bits)
{
    return v & (UINT64_MAX >> (64 - bits));
}

static inline int64_t sign_extend(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

#endif
