/* MMX registers as parts of the x87 ones, for op_mmx*.c only. */
#ifndef RELIVE_CPU_MMX_INTERNAL_H
#define RELIVE_CPU_MMX_INTERNAL_H

#include "cpu/access.h"
#include "cpu/op_mmx.h"
#include "cpu/x87.h"

#define INSN(mnemonic, handler, class) insn_fn handler;
#include "cpu/insn_mmx.def"
#undef INSN

/* What every MMX instruction but EMMS does to TOP and the tags. */
static inline void mmx_touch(struct cpu *c)
{
    c->x87.top = 0;
    c->x87.valid = 0xff;
}
static inline void mmx_set(struct cpu *c, unsigned reg, uint64_t value)
{
    c->x87.mantissa[reg & 7] = value;
    c->x87.exponent[reg & 7] = 0xffff;
}
static inline uint64_t mmx_get(const struct cpu *c, unsigned reg)
{
    return c->x87.mantissa[reg & 7];
}

#endif
