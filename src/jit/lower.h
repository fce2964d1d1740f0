/* Lowering a block: shared between the rules (lower_*.c).
 *
 * Long blocks are lowered in parts of PLAN_INSNS instructions; ticks are taken
 * for the block. What is known of registers, of the units and of pages ends with
 * the part. */
#ifndef RELIVE_JIT_LOWER_H
#define RELIVE_JIT_LOWER_H

#include "jit/jit_internal.h"
#include "jit/plan.h"

/* Where the guest's arithmetic flags are. */
enum flag_place {
    FLAGS_SAVED, /* in AX; host flags are anything */
    FLAGS_HOST,  /* in host flags; AX is stale */
    FLAGS_BOTH
};

/* How host flags differ from what the guest must see (undefined flags have fixed
 * values, cpu/flags.h): what saving has to mend. */
enum flag_fix {
    FIX_NONE,
    FIX_AF /* AF := 0 */
};

enum {
    COLD_MAX = 512,
    CALLS_MAX = 2, /* one in each version */
    SIDES_MAX = 2 * JIT_JOIN_BLOCKS, /* in each version of the block */
    STUBS_MAX = 4 + SIDES_MAX,       /* and two jumps at the end of each */
    STOPS_MAX = PLAN_INSNS,
    NEED_MAX = 4 * PLAN_INSNS + 4,
    X87_SETTLED = -1
};

/* A linkable jump out of the block. */
struct stub {
    uint32_t slot, target;
};

/* A look-up that failed: is the target canonical at all? */
struct late {
    uint8_t *miss[2];
    uint8_t *ret; /* of a RET instead: where code says how far this is from the
                     start of the cache, writable address */
    uint16_t n;
    bool is_open; /* an entry of the return stack has been begun */
    int32_t sp_moved;
};

/* Out of line: parts of a CALL (thunks.c, the return stack). */
struct open_call {
    uint8_t *full, *moved; /* no room for an entry; back on another page */
    const uint8_t *go_on, *arrive;
};

/* A jump that leaves behind instruction n, which ends at page offset next. */
struct stop {
    uint8_t *site;
    uint16_t n, next;
};

/* A jump out of the middle: instruction n, to page offset target. */
struct side {
    uint8_t *site;
    int64_t target;
    uint16_t n;
    uint8_t flags, fix; /* enum flag_place, enum flag_fix there */
};

/* Out of line: interpret instruction n, then go on at `resume`. */
struct cold {
    uint8_t *site; /* the jump that leads here */
    uint16_t n;    /* instruction index */
    int32_t x87_at; /* of struct lower */
};

/* The host's units that can hold guest state. */
enum lower_unit {
    UNIT_SIMD = 1, /* XMM0..15, MXCSR */
    UNIT_X87 = 2
};

/* Out of line: load a unit before instruction n. */
struct need {
    uint8_t *site;
    const uint8_t *resume;
    uint16_t offset; /* of the instruction in its page */
    uint16_t n;
    uint8_t unit;
    int32_t x87_at;
};

struct lower {
    struct jit *j;
    struct emit *e;
    struct block_code *head;
    const struct block_code *k; /* head, or joined */
    const struct insn *i; /* current instruction */
    unsigned n;           /* its index */
    /* The part of the block that is being lowered: its first instruction, the
     * one behind its last, and the page offset of the first. */
    unsigned first, end;
    uint32_t first_offset;
    uint32_t offset;      /* page offset of its first byte */
    bool is64, is16;
    enum flag_place flags;
    enum flag_fix fix;
    uint8_t units;        /* enum lower_unit that hold the guest's state here */
    int32_t x87_at;       /* page offset of the last x87 instruction when
                             cpu->jit_x87_ip does not have it yet */
    bool ended;           /* the block's last jump has been emitted */
    struct rm mem;        /* see lower_operand() */
    /* The fast version of a part follows a plan; what it cannot go on with
     * goes on in the plain one (NULL), which looks up every access, up to the
     * next part. */
    const struct plan *plan;
    enum { HELD_NOT, HELD_READ, HELD_WRITE } held[PLAN_SLOTS]; /* addends */
    uint8_t aligned[PLAN_SLOTS]; /* which offsets of a group are known to lie at
                                    multiples of 16: their low 4 bits, + 1 */
    struct open_call call[CALLS_MAX];
    unsigned calls;
    /* Where a CALL or RET that was interpreted goes on: RCX is the new RIP, RDX
     * the return address of a CALL. NULL: it is found by RIP. */
    const uint8_t *branched;
    struct late late; /* of the block's last instruction */
    bool is_late;
    struct stub stub[STUBS_MAX];
    unsigned stubs;
    unsigned colds, stops, need_count, sides; /* of the part */

    /* ---- from here on written before it is read, and so never cleared */
    struct cold cold[COLD_MAX];
    struct stop stop[STOPS_MAX];
    struct side side[SIDES_MAX];
    /* Per instruction of the part (lower_place()): where cold paths come back,
     * and the flags there; where the fast version goes on in the plain one, with
     * flags SAVED. */
    struct place {
        const uint8_t *resume, *entry;
        int32_t entry_x87_at;
        uint8_t resume_flags, resume_units;
        bool is_entered;
    } place[PLAN_INSNS];
    struct need needs[NEED_MAX];
    struct plan room;
};

static inline struct place *lower_place(struct lower *l, unsigned n)
{
    return &l->place[n - l->first];
}

/* What the plan says of the current instruction's access, or NULL. */
static inline const struct plan_access *lower_planned(const struct lower *l)
{
    return l->plan ? &l->plan->access[l->n - l->first] : NULL;
}

/* Page offset behind the current instruction. */
static inline uint32_t lower_next(const struct lower *l)
{
    return l->offset + l->i->len;
}

/* Bytes of RSP and of an operand on the stack that the code's mode changes. */
static inline unsigned lower_sp_bytes(const struct lower *l)
{
    return l->is64 ? 8 : l->is16 ? 2 : 4;
}
/* Operand sizes of stack instructions and near branches that have rules. */
static inline bool lower_is_usual(const struct lower *l, unsigned opsize)
{
    return l->is16 ? opsize == 2 || opsize == 4 : opsize == (l->is64 ? 8 : 4);
}

/* A rule: emit the current instruction; false: no rule, nothing emitted. */
typedef bool rule_fn(struct lower *l);
bool lower_int(struct lower *l);
bool lower_shift(struct lower *l);
bool lower_branch(struct lower *l);
bool lower_sse(struct lower *l);
bool lower_x87(struct lower *l);
bool lower_string(struct lower *l);
bool lower_muldiv(struct lower *l);
bool lower_bits(struct lower *l);
bool lower_exchange(struct lower *l);
bool lower_system(struct lower *l);
bool lower_fastcall(struct lower *l);
bool lower_high(struct lower *l);
bool lower_segment_register(struct lower *l);

/* ---- flags */
void lower_save_flags(struct lower *l);    /* AX holds them */
void lower_restore_flags(struct lower *l); /* host flags hold them too */
void lower_flags_written(struct lower *l, enum flag_fix fix);
/* RFLAGS into H_SCRATCH_B; they are SAVED, and H_SCRATCH_C is lost. */
void lower_rflags(struct lower *l);
/* Host flags are about to be lost by our own code. */
static inline void lower_flags_clobbered(struct lower *l)
{
    l->flags = FLAGS_SAVED;
}

/* ---- registers */
/* The host register that holds guest register g, loaded into scratch when it
 * lives in memory. */
unsigned lower_get(struct lower *l, unsigned g, unsigned scratch);
/* As above without loading, for a register about to be written whole. */
unsigned lower_target(const struct lower *l, unsigned g, unsigned scratch);
/* Where it lives, as the operand of an instruction. */
struct rm lower_register(const struct lower *l, unsigned g);
/* Store back when g lives in memory. */
void lower_put(struct lower *l, unsigned g, unsigned host);

/* ---- operands */
/* The number of the first (second; for FORM_MR the only) register operand when
 * it is general and not AH, CH, DH or BH. */
bool lower_first(const struct insn *i, unsigned *g);
bool lower_second(const struct insn *i, unsigned *g);
/* The opcode for operands of `size` bytes from that for wide ones. */
static inline unsigned lower_op(unsigned size, unsigned wide_op)
{
    return size == 1 ? wide_op - 1 : wide_op;
}
/* An immediate as the instruction has it: 4 bytes stand for 8. */
void lower_immediate(struct emit *e, unsigned size, uint64_t v);
static inline unsigned lower_immediate_bytes(unsigned size)
{
    return size == 8 ? 4 : size;
}

/* ---- memory */
/* Make l->mem the memory operand, in host memory, whose registers are good
 * while H_SCRATCH_A and guest registers are left alone; flags are wherever
 * they are then. A miss interprets the instruction. Uses all scratch registers.
 * False: no rule for this addressing, nothing emitted. */
bool lower_operand(struct lower *l, unsigned bytes, bool write);
/* As above, its address in H_SCRATCH_A; flags end SAVED. */
bool lower_address(struct lower *l, unsigned bytes, bool write);
/* As above for the linear address that is already in H_SCRATCH_A. */
void lower_translate(struct lower *l, unsigned bytes, bool write);
bool lower_can_address(const struct lower *l);
/* The TLB entry of the first byte's address, in a register that stays, into
 * H_SCRATCH_B; from the last one's in H_SCRATCH_C to its page. Flags are lost. */
void lower_tlb_entry(struct lower *l, unsigned first);
/* The effective address (no segment) into H_SCRATCH_A; flags untouched. */
void lower_effective(struct lower *l);
/* The low 4 or 8 bytes of it alone. */
void lower_effective_to(struct lower *l, unsigned to, unsigned size);
/* Make it linear: of an access of so many bytes; flags are SAVED. Uses
 * H_SCRATCH_B. */
void lower_segment(struct lower *l, unsigned bytes);
/* 16-bit code: the same for the offset in host register `at` and segment `seg`;
 * uses `scratch`. */
void lower_segment16(struct lower *l, unsigned seg, unsigned at, unsigned bytes,
                     unsigned scratch);

/* ---- stack: l->mem as lower_operand() sets it; from: REG_RSP or REG_RBP */
void lower_push_address(struct lower *l, unsigned bytes);
void lower_pop_address(struct lower *l, unsigned bytes, unsigned from);
void lower_move_sp(struct lower *l, int32_t by);

/* A jump to the cold path of the current instruction. */
void lower_cold(struct lower *l, uint8_t *site);

/* ---- vector and x87 state (lower_units.c) */
/* From here on the host's unit holds the guest's state. */
void lower_need(struct lower *l, enum lower_unit unit);
/* The same at the start of the part for what its instructions use. */
void lower_units_start(struct lower *l);
/* Before what may leave the block or call C: no x87_at is outstanding. */
void lower_units_settle(struct lower *l);
void lower_units_settle_cold(struct lower *l, const struct cold *cold);
/* Code that called C for instruction n is about to resume behind it, at page
 * offset `next`. */
void lower_units_back(struct lower *l, unsigned n, uint32_t next);
void lower_units_finish(struct lower *l); /* the out-of-line code */
/* Which unit the rule for this instruction uses, or 0. */
unsigned lower_sse_unit(const struct insn *i);
unsigned lower_x87_unit(const struct lower *l, const struct insn *i);
/* What tier 2 needs of a vector instruction on XMM registers, memory and one
 * general register, which it reads (is_general) or writes (is_value). False: it
 * is not one. */
struct lower_vector {
    uint32_t op;
    uint8_t prefix, size; /* size 8: REX.W */
    uint8_t reg, rm;      /* XMM numbers of the ModRM fields */
    uint8_t imm;
    bool has_imm;
    bool is_memory, is_store, is_aligned; /* rm is the memory operand */
    bool is_general;                      /* rm is general register `rm` */
    bool is_value, is_value_rm; /* reg, or rm, is general register `value` */
    bool sets_flags;
    uint8_t value;
    uint8_t bytes;                        /* of memory */
};
bool lower_sse_vector(const struct insn *i, struct lower_vector *v);
/* Has the x87 instruction a row, and does it write its memory operand? */
bool lower_x87_knows(const struct insn *i, bool *stores);
/* The two opcode bytes that the rule emits for a form without memory; 0: no such
 * rule, or nothing to emit. */
unsigned lower_x87_opcode(const struct insn *i);

/* ---- leaving the block */
/* Is page offset `target` on the page, within the code segment? */
bool lower_in_page(const struct lower *l, int64_t target);
/* The RIP of page offset `target` into H_RCX; RIP has so many bytes. */
void lower_load_target(struct lower *l, int64_t target, unsigned rip_bytes);
/* The jump at `site` leaves behind the current instruction, with attention.
 * Flags are SAVED, units settled. */
void lower_stop_here(struct lower *l, uint8_t *site);
/* Behind the instruction after STI: leave when an interrupt waits. */
void lower_window(struct lower *l);
/* To page offset `target` (any, relative to this page; the current instruction's
 * operand size truncates RIP), checked as lower_dispatch_checked() does. Flags
 * are SAVED. */
void lower_leave(struct lower *l, int64_t target, int32_t sp_moved);
/* The jump or call at `site` goes there, inside the page. */
void lower_link(struct lower *l, uint8_t *site, uint32_t target);
/* The jump at `site`, a conditional one in the middle, goes to page offset
 * `target`; flags are wherever they are. */
void lower_side(struct lower *l, uint8_t *site, int64_t target);
/* A conditional jump there; false, and nothing emitted, when the target lies in
 * another page. */
bool lower_leave_if(struct lower *l, unsigned condition, int64_t target);
/* To what lies behind: EIP does not wrap at 4 GiB. */
void lower_fall_through(struct lower *l, uint32_t next);
/* The jumps of jit_emit_dispatch() where it finds nothing, after an instruction as
 * in lower_dispatch_checked(). */
void lower_missed(struct lower *l, uint8_t *const miss[2], int32_t sp_moved);
/* CALLs by the host's (lower_return.c), with an entry that says RDX; and the code
 * that they return to. Inside the page, and to the RIP in H_SCRATCH_A. */
void lower_call_link(struct lower *l, uint32_t target);
void lower_call_dispatch(struct lower *l, uint8_t *miss[2]);
/* The RET to the RIP in H_SCRATCH_A; RSP has been moved by sp_moved. */
void lower_return(struct lower *l, int32_t sp_moved);
void lower_calls_finish(struct lower *l); /* the out-of-line code */
/* Interpret the current instruction when it faults with the RIP in H_RCX. */
void lower_check_target(struct lower *l);
/* To the RIP in H_RCX, which is canonical and within the limit of CS. */
void lower_dispatch(struct lower *l);
/* To the RIP in H_SCRATCH_A; when it is not canonical, or beyond the limit of CS,
 * the instruction faults. RSP
 * has been moved by sp_moved; nothing else has been changed, but for a return
 * address that was stored. */
void lower_dispatch_checked(struct lower *l, int32_t sp_moved);
/* What they need out of line: the faults of targets, the stops, the jumps that are
 * not linked yet. */
void lower_emit_late(struct lower *l);
void lower_emit_stops(struct lower *l);
void lower_emit_stubs(struct lower *l);

#endif
