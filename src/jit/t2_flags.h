#ifndef RELIVE_JIT_T2_FLAGS_H
#define RELIVE_JIT_T2_FLAGS_H

#include "jit/t2_ir.h"

/* Flags (as cpu->aflags) of a recipe whose operands have these values; before:
 * where INC and DEC have CF from. R_HELD: r itself. */
uint16_t t2_flags_eval(enum t2_recipe_kind kind, unsigned size, uint64_t r,
                       uint64_t b, uint16_t before);

#endif
