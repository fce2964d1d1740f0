/* Parts of the run loop that the JIT shares. */
#ifndef RELIVE_CPU_RUN_H
#define RELIVE_CPU_RUN_H

#include "cpu/insn.h"

/* An instruction's handler returned e instead of EXC_NONE, with RIP behind it:
 * finish what that means (deliver the fault, or put RIP back). */
void cpu_insn_failed(struct cpu *c, const struct insn *i, enum exc e);

#endif
