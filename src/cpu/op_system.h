/* Handlers of the system instructions: the rows of insn_sys.def, and the forms
 * of MOV, PUSH, POP, JMP, CALL and RET that concern segments, control and debug
 * registers, whose rows are in insn_int.def. */
#ifndef RELIVE_CPU_OP_SYSTEM_H
#define RELIVE_CPU_OP_SYSTEM_H

#include "cpu/insn.h"

#define INSN(mnemonic, handler, class_) insn_fn handler;
#include "cpu/insn_sys.def"
#undef INSN

/* These may change mode, mappings or the interrupt shadow (CLASS_STOP), the
 * last three of them RIP as well; reading forms are harmless. */
insn_fn op_mov_to_segment, op_mov_from_segment; /* dst or src: enum seg */
insn_fn op_mov_to_control, op_mov_from_control; /* CR number, 8 included */
insn_fn op_mov_to_debug, op_mov_from_debug;
insn_fn op_push_segment, op_pop_segment; /* dst: enum seg */
insn_fn op_jmp_far, op_call_far;         /* FORM_M, or imm as insn.h says */
insn_fn op_ret_far;                      /* FORM_NONE, or FORM_I */

#endif
