/* Handlers of SSE to SSE4.2 on XMM registers (SDM vol. 2; vol. 1 ch. 10-12);
 * the rows are in insn_sse.def. op_sse_* of a mnemonic that exists for MMX
 * registers too is its XMM form; pick_* chooses between both.
 *
 * Outside the handlers the host's MXCSR has its default controls: other code
 * may use floating point. Handlers need a host with SSE4.2. */
#ifndef RELIVE_CPU_OP_SSE_H
#define RELIVE_CPU_OP_SSE_H

#include "cpu/insn.h"

/* X(name) for each mnemonic that has an MMX form: op_sse_name, op_mmx_name. */
#define SSE_SHARED(X)                                                          \
    X(movd) X(movq) X(packssdw) X(packsswb) X(packuswb) X(paddb) X(paddw)      \
    X(paddd) X(paddq) X(paddsb) X(paddsw) X(paddusb) X(paddusw) X(pand)        \
    X(pandn) X(pavgb) X(pavgw) X(pcmpeqb) X(pcmpeqw) X(pcmpeqd) X(pcmpgtb)     \
    X(pcmpgtw) X(pcmpgtd) X(pextrw) X(pinsrw) X(pmaddwd) X(pmaxsw) X(pmaxub)   \
    X(pminsw) X(pminub) X(pmovmskb) X(pmulhuw) X(pmulhw) X(pmullw)             \
    X(pmuludq) X(por) X(psadbw) X(psllw) X(pslld) X(psllq) X(psraw) X(psrad)   \
    X(psrlw) X(psrld) X(psrlq) X(psubb) X(psubw) X(psubd) X(psubq) X(psubsb)   \
    X(psubsw) X(psubusb) X(psubusw) X(punpckhbw) X(punpckhwd) X(punpckhdq)     \
    X(punpcklbw) X(punpcklwd) X(punpckldq) X(pxor) X(pabsb) X(pabsw)           \
    X(pabsd) X(palignr) X(phaddw) X(phaddd) X(phaddsw) X(phsubw) X(phsubd)     \
    X(phsubsw) X(pmaddubsw) X(pmulhrsw) X(pshufb) X(psignb) X(psignw)          \
    X(psignd)

#define SSE_PROTOTYPE(name)                                                    \
    enum exc op_sse_##name(struct cpu *c, const struct insn *i);
SSE_SHARED(SSE_PROTOTYPE)
#undef SSE_PROTOTYPE

#define INSN(mnemonic, handler, class)                                         \
    enum exc handler(struct cpu *c, const struct insn *i);
#define INSN_PICK(mnemonic, pick, class)                                       \
    insn_fn *pick(const struct insn *i);
#include "cpu/insn_sse.def"
#undef INSN
#undef INSN_PICK

#endif
