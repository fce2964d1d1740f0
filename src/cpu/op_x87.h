/* Handlers of the x87 and MMX-only rows of the instruction table. */
#ifndef RELIVE_CPU_OP_X87_H
#define RELIVE_CPU_OP_X87_H

#include "cpu/insn.h"

#define INSN(mnemonic, handler, cls) insn_fn handler;
#include "cpu/insn_mmx.def"
#include "cpu/insn_x87.def"
#undef INSN

#endif
