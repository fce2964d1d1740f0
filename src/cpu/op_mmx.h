/* The MMX forms of the mnemonics that exist for MMX and for XMM registers, up
 * to SSSE3. The rows of these mnemonics are in insn_sse.def; the picks there
 * choose the functions listed here when an operand is an MMX register (the
 * decoder sets bit 7 of insn.third then). Rows of MMX-only mnemonics are in
 * insn_mmx.def.
 *
 * Every function raises #UD for CR0.EM, #NM for CR0.TS and #MF for a pending
 * x87 exception, and leaves TOP 0 and all registers valid (SDM vol. 1 9.5.1,
 * vol. 3A 12.1). MMX memory operands need no alignment. */
#ifndef RELIVE_CPU_OP_MMX_H
#define RELIVE_CPU_OP_MMX_H

#include "cpu/insn.h"

/* X(MNEMONIC, function) for each shared mnemonic. */
#define MMX_SHARED(X) \
    X(MOVD, op_mmx_movd) \
    X(MOVQ, op_mmx_movq) \
    X(PACKSSDW, op_mmx_packssdw) \
    X(PACKSSWB, op_mmx_packsswb) \
    X(PACKUSWB, op_mmx_packuswb) \
    X(PADDB, op_mmx_paddb) \
    X(PADDW, op_mmx_paddw) \
    X(PADDD, op_mmx_paddd) \
    X(PADDQ, op_mmx_paddq) \
    X(PADDSB, op_mmx_paddsb) \
    X(PADDSW, op_mmx_paddsw) \
    X(PADDUSB, op_mmx_paddusb) \
    X(PADDUSW, op_mmx_paddusw) \
    X(PAND, op_mmx_pand) \
    X(PANDN, op_mmx_pandn) \
    X(PAVGB, op_mmx_pavgb) \
    X(PAVGW, op_mmx_pavgw) \
    X(PCMPEQB, op_mmx_pcmpeqb) \
    X(PCMPEQW, op_mmx_pcmpeqw) \
    X(PCMPEQD, op_mmx_pcmpeqd) \
    X(PCMPGTB, op_mmx_pcmpgtb) \
    X(PCMPGTW, op_mmx_pcmpgtw) \
    X(PCMPGTD, op_mmx_pcmpgtd) \
    X(PEXTRW, op_mmx_pextrw) \
    X(PINSRW, op_mmx_pinsrw) \
    X(PMADDWD, op_mmx_pmaddwd) \
    X(PMAXSW, op_mmx_pmaxsw) \
    X(PMAXUB, op_mmx_pmaxub) \
    X(PMINSW, op_mmx_pminsw) \
    X(PMINUB, op_mmx_pminub) \
    X(PMOVMSKB, op_mmx_pmovmskb) \
    X(PMULHUW, op_mmx_pmulhuw) \
    X(PMULHW, op_mmx_pmulhw) \
    X(PMULLW, op_mmx_pmullw) \
    X(PMULUDQ, op_mmx_pmuludq) \
    X(POR, op_mmx_por) \
    X(PSADBW, op_mmx_psadbw) \
    X(PSLLW, op_mmx_psllw) \
    X(PSLLD, op_mmx_pslld) \
    X(PSLLQ, op_mmx_psllq) \
    X(PSRAW, op_mmx_psraw) \
    X(PSRAD, op_mmx_psrad) \
    X(PSRLW, op_mmx_psrlw) \
    X(PSRLD, op_mmx_psrld) \
    X(PSRLQ, op_mmx_psrlq) \
    X(PSUBB, op_mmx_psubb) \
    X(PSUBW, op_mmx_psubw) \
    X(PSUBD, op_mmx_psubd) \
    X(PSUBQ, op_mmx_psubq) \
    X(PSUBSB, op_mmx_psubsb) \
    X(PSUBSW, op_mmx_psubsw) \
    X(PSUBUSB, op_mmx_psubusb) \
    X(PSUBUSW, op_mmx_psubusw) \
    X(PUNPCKHBW, op_mmx_punpckhbw) \
    X(PUNPCKHWD, op_mmx_punpckhwd) \
    X(PUNPCKHDQ, op_mmx_punpckhdq) \
    X(PUNPCKLBW, op_mmx_punpcklbw) \
    X(PUNPCKLWD, op_mmx_punpcklwd) \
    X(PUNPCKLDQ, op_mmx_punpckldq) \
    X(PXOR, op_mmx_pxor) \
    X(PABSB, op_mmx_pabsb) \
    X(PABSW, op_mmx_pabsw) \
    X(PABSD, op_mmx_pabsd) \
    X(PALIGNR, op_mmx_palignr) \
    X(PHADDW, op_mmx_phaddw) \
    X(PHADDD, op_mmx_phaddd) \
    X(PHADDSW, op_mmx_phaddsw) \
    X(PHSUBW, op_mmx_phsubw) \
    X(PHSUBD, op_mmx_phsubd) \
    X(PHSUBSW, op_mmx_phsubsw) \
    X(PMADDUBSW, op_mmx_pmaddubsw) \
    X(PMULHRSW, op_mmx_pmulhrsw) \
    X(PSHUFB, op_mmx_pshufb) \
    X(PSIGNB, op_mmx_psignb) \
    X(PSIGNW, op_mmx_psignw) \
    X(PSIGND, op_mmx_psignd)

#define MMX_PROTOTYPE(mnemonic, function)                                      \
    enum exc function(struct cpu *c, const struct insn *i);
MMX_SHARED(MMX_PROTOTYPE)

#endif
