/* MMX or XMM form of a shared mnemonic: the decoder marks MMX in insn.third. */
#include "cpu/op_mmx.h"
#include "cpu/op_sse.h"

#define PICK(name)                                                             \
    insn_fn *pick_##name(const struct insn *i)                                 \
    {                                                                          \
        return i->third & 0x80 ? op_mmx_##name : op_sse_##name;                \
    }
SSE_SHARED(PICK)
