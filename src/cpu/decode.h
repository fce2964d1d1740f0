/* From instruction bytes to struct insn: Zydis decodes, a table chooses. */
#ifndef RELIVE_CPU_DECODE_H
#define RELIVE_CPU_DECODE_H

#include "cpu/insn.h"

enum decode_result {
    DECODE_OK,
    DECODE_SHORT,   /* the bytes end inside the instruction */
    DECODE_INVALID, /* #UD; insn->len may be 0 */
    DECODE_TOO_LONG /* more than 15 bytes: #GP(0) */
};

/* Decode one instruction of up to `available` bytes in `mode`. On DECODE_OK every
 * field of *out is set, fn included: an instruction that no table row claims
 * gets a handler that raises #UD. */
enum decode_result decode_insn(const uint8_t *bytes, unsigned available,
                               enum cpu_mode mode, struct insn *out);

/* An instruction that was decoded in `mode` when its out->len bytes were `old`,
 * and that are `bytes` now: makes *out what decode_insn() would, at less cost
 * where none but those of the immediate have changed. False: its length or
 * class is another, or it cannot be decoded, and *out is spoilt. */
bool decode_changed(const uint8_t *old, const uint8_t *bytes,
                    enum cpu_mode mode, struct insn *out);

/* One row of the instruction table. */
struct insn_rule {
    insn_fn *fn;
    insn_fn *(*pick)(const struct insn *);
    uint8_t cls; /* enum insn_class */
};
/* The row of a ZydisMnemonic; NULL when the CPU does not claim it. */
const struct insn_rule *insn_rule(unsigned mnemonic);
/* As above for string instructions, whose mnemonics MOVSD and CMPSD also name
 * SSE instructions. */
const struct insn_rule *insn_string_rule(unsigned mnemonic);

#endif
