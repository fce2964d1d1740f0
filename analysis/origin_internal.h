/* Shared by origin*.c. */
#ifndef RELIVE_ANALYSIS_ORIGIN_INTERNAL_H
#define RELIVE_ANALYSIS_ORIGIN_INTERNAL_H

#include "analysis/origin.h"

#include <Zydis/Zydis.h>

/* Bytes that are followed: of memory, or of a register. */
struct origin_bytes {
    bool is_register;
    uint64_t paddr;
    ZydisRegister reg; /* a 64-bit general register, or an XMM register */
    unsigned offset;   /* in it */
    unsigned bytes;
};

/* What an instruction did to bytes. */
struct origin_source {
    enum origin_kind kind;
    struct origin_bytes from; /* when COPIED */
};

/* Decode what is at a linear address now. False: nothing can be. */
bool origin_decode(struct machine *m, uint64_t rip,
                   ZydisDisassembledInstruction *insn);
/* Where the bytes that it writes come from; m stands in front of it. */
struct origin_source origin_source_of(struct machine *m,
                                      const ZydisDisassembledInstruction *insn,
                                      const struct origin_bytes *to);
/* Does it write one of the bytes of a register? */
bool origin_writes(const ZydisDisassembledInstruction *insn,
                   const struct origin_bytes *to);
/* What they hold now. */
uint64_t origin_value(struct machine *m, const struct origin_bytes *b);

#endif
