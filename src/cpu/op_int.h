/* Handlers and pick functions of the integer instruction table. */
#ifndef RELIVE_CPU_OP_INT_H
#define RELIVE_CPU_OP_INT_H

#include "cpu/insn.h"

#define INSN(mnemonic, handler, cls)                                           \
    enum exc handler(struct cpu *c, const struct insn *i);
#define INSN_PICK(mnemonic, pick, cls) insn_fn *pick(const struct insn *i);
#include "cpu/insn_int.def"
#undef INSN
#undef INSN_PICK

/* String handlers: mnemonics shared with SSE (MOVSD, CMPSD). */
#define INSN(mnemonic, handler, cls)                                           \
    enum exc handler(struct cpu *c, const struct insn *i);
#include "cpu/insn_string.def"
#undef INSN

#endif
