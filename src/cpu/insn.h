/* The compact record of one decoded instruction, and the table that says which
 * handler executes it. Operands are Zydis's visible ones (written in an Intel
 * syntax listing): implicit ones such as the AL of `add al, 1`, the CL of a shift
 * or the ST0 of `fadd st0, st1` count, hidden ones (ST0 of `fld st1`) do not.
 *
 * A handler runs with RIP already behind the instruction and returns EXC_NONE
 * when it retired. When it returns a fault it must have changed nothing that the
 * SDM does not say survives; the run loop puts RIP back. Tick and RIP are kept by
 * the loop; only REP handlers add ticks of their own (cpu/string.c). */
#ifndef RELIVE_CPU_INSN_H
#define RELIVE_CPU_INSN_H

#include "cpu/cpu.h"

typedef enum exc insn_fn(struct cpu *c, const struct insn *i);

/* Operand shapes: which of the first two operands are register, memory or
 * immediate. */
enum form {
    FORM_NONE,
    FORM_R,
    FORM_M,
    FORM_I,
    FORM_RR,
    FORM_RM, /* first is a register, second is memory */
    FORM_MR,
    FORM_RI,
    FORM_MI
};

enum {
    PREFIX_LOCK = 1,
    PREFIX_REP = 2,   /* F3 */
    PREFIX_REPNE = 4  /* F2 */
};

struct insn {
    insn_fn *fn;
    uint64_t imm;   /* immediate, sign-extended as the SDM says; relative
                       branches: displacement; ENTER: imm16 | imm8 << 16; far
                       pointers: offset | selector << 32; moffs: the address */
    int32_t disp;   /* of the memory operand */
    uint8_t len;    /* bytes, 1..15 */
    uint8_t form;   /* enum form */
    uint8_t size;   /* bytes of the first explicit operand (0: none); x87 and
                       others: of the memory operand when form is FORM_M */
    uint8_t size1;  /* bytes of the second explicit operand */
    uint8_t dst;    /* first operand's register number, when a register */
    uint8_t src;    /* second operand's; for FORM_MR the register is here */
    uint8_t base, index; /* enum reg; REG_ZERO when absent; base REG_RIP */
    uint8_t scale;  /* shift count 0..3 */
    uint8_t addr;   /* address size in bytes: 2, 4 or 8 */
    uint8_t seg;    /* enum seg of the memory operand, override applied */
    uint8_t prefix; /* PREFIX_* */
    uint8_t opsize; /* effective operand size attribute in bytes: 2, 4 or 8 */
    uint8_t third;  /* register number of a third explicit register operand;
                       bit 7: an operand is an MMX register */
    uint16_t mnemonic; /* ZydisMnemonic, for reports */
    uint8_t classes; /* enum reg_class of the first operand in bits 3..0, of
                        the second in bits 7..4; 0 when not a register */
    uint8_t cls;     /* enum insn_class */
    bool is_far;     /* CALL, JMP, RET: the far form */
    bool is_moffs64; /* MOV with a 64-bit absolute address, which is in imm */
    bool has_third;  /* a third operand: register in third, or immediate */
    uint8_t imm_at;  /* imm is what imm_bytes bytes from there on say; 0: it is
                        made of other bytes, or of none */
    uint8_t imm_bytes;
    bool is_imm_signed;
};

enum reg_class {
    REG_CLASS_NONE,
    REG_CLASS_GENERAL,
    REG_CLASS_SEGMENT,
    REG_CLASS_CONTROL,
    REG_CLASS_DEBUG,
    REG_CLASS_MMX,
    REG_CLASS_XMM,
    REG_CLASS_X87
};
/* Register numbers: general registers 0..15, segment registers enum seg, control
 * and debug registers, MMX and x87 stack slots 0..7 and XMM 0..15 by number.
 * x87 operands that Zydis calls implicit but shows count: FADD ST0, ST1 (D8 C1)
 * is FORM_RR with dst 0, src 1; FADD ST1, ST0 (DC C1) has dst 1, src 0.
 * A general register of one byte is instead its byte offset in c->r: n * 8 for
 * the low byte, n * 8 + 1 for AH, CH, DH, BH. */

/* How a row of an insn_*.def table is written:
 *     INSN(MNEMONIC, handler, class)            one handler, whatever the operands
 *     INSN_PICK(MNEMONIC, pick_function, class) insn_fn *pick(const struct insn *)
 * MNEMONIC is Zydis's (ZYDIS_MNEMONIC_ADDPS -> ADDPS). class is one of: */
enum insn_class {
    CLASS_NORMAL, /* execution goes on behind it */
    CLASS_BRANCH, /* may change RIP: ends the block */
    CLASS_STOP    /* may change mode, mappings, interrupts: ends the block */
};

/* The address of the memory operand before segmentation. */
static inline uint64_t insn_offset(const struct cpu *c, const struct insn *i)
{
    static const uint64_t mask[9] = {
        [2] = 0xffff, [4] = 0xffffffff, [8] = UINT64_MAX};
    return (c->r[i->base] + (c->r[i->index] << i->scale) +
            (uint64_t)(int64_t)i->disp) &
           mask[i->addr];
}

#endif
