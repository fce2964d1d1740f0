/* The IR of tier 2: one trace of guest instructions in SSA form.
 *
 * A value is an op, named by its number (t2_ref; 0 is none). `seq` is the order
 * in which ops are executed; passes reorder and drop entries of seq, never ops.
 * Values are 64 bits wide. An op of size n does what the host's two-operand
 * instruction of that size does to a register that held `a`: 4 clears the upper
 * half, 1 and 2 keep the rest of it.
 *
 * Flags are values too: ops that set flags are named where flags are read. Most
 * can be had again from what is at hand anyway (struct t2_recipe), so they are
 * never stored; T2_FLAGS ops hold those that cannot.
 *
 * Where control may leave, a map names the value of every guest register and of
 * the flags.
 *
 * A loop is a trace that ends at its head: the first iteration, T2_LOOP, the
 * body (one or more iterations), T2_BACK. What the first iteration computed is
 * there for the body, which is what moves invariants out of it.
 *
 * Where a branch goes both ways often, the other way is an arm: its code follows
 * behind that of the main path, from a T2_ARM in the state of the guard on, and
 * ends as a main path does, in a loop with a T2_BACK of its own. So code is a
 * tree: what comes before a guard, and nothing behind it, comes before its arm
 * (t2_dominates()). */
#ifndef RELIVE_JIT_T2_IR_H
#define RELIVE_JIT_T2_IR_H

#include "cpu/insn.h"
#include "jit/jit.h"

typedef uint16_t t2_ref;

enum {
    T2_OPS_MAX = 60000,
    T2_MAPS_MAX = 24000,
    T2_INSNS_MAX = JIT_TRACE_MOST, /* guest instructions of a trace, at most */
    T2_PIECES_MAX = 48, /* of the path of a trace: the main one and its arms */
    T2_SEGMENTS_MAX = T2_PIECES_MAX + 1,
    T2_PHIS_MAX = 24, /* registers, flags and their operands */
    T2_MAP_NONE = 0
};

enum t2_kind {
    T2_NONE,
    /* ---- values without code of their own, but for moves */
    T2_CONST,  /* imm */
    T2_PARAM,  /* guest register `digit` at the entry */
    T2_PFLAGS, /* flags at the entry, as a T2_FLAGS */
    T2_PHI,    /* number imm: a at the entry of the loop, b at its end (edge 0);
                  from 4: its upper half is 0 */
    T2_FPHI,   /* the same of flags ops that are T2_FLAGS */
    T2_RECIPE, /* flags alone: as those of recipe kind `digit` of a, b, c */
    /* ---- computing */
    T2_PAGE,    /* linear address of the page of the trace's head */
    T2_SEGBASE, /* of segment `digit` */
    T2_MOVZX,   /* low `size` bytes of a */
    T2_MOVSX,   /* low `from` bytes of a to size */
    T2_HIGH,    /* bits 15..8 of a */
    T2_MERGE,   /* a with the low `size` bytes of b */
    T2_SETHIGH, /* a with the low byte of b in bits 15..8 */
    T2_LEA,     /* a + (b << scale) + imm */
    T2_ALU,     /* digit 0..6; ADC and SBB take CF from c */
    T2_CMP,     /* flags alone */
    T2_TEST,
    T2_INC, /* keep CF of c, which their host flags do not have */
    T2_DEC,
    T2_NEG,
    T2_NOT,
    T2_SHIFT,   /* by imm; digit */
    T2_SHIFTCL, /* by b; digit; keeps flags of c for a count of 0; from 1:
                   nobody wants its flags */
    T2_IMUL,
    T2_MULHI, /* upper half; digit 1: signed; flags of the multiplication */
    T2_DIV,   /* a / b, digit 1: signed; guards have seen to it that it fits */
    T2_BSWAP,
    T2_SETCC, /* a with its low byte set by condition digit of c */
    T2_CMOV,  /* b when condition digit of c, else a */
    T2_BT,    /* digit 4..7; bit b; CF alone changes in c; from 1: nobody
                 wants more than CF */
    T2_HOST,  /* the host's instruction imm with prefix `from`: reg a, rm b */
    T2_GETF,  /* flags of c as in cpu->aflags, to compute with */
    T2_FLAGS, /* flags of c in a register, as in cpu->aflags */
    /* ---- memory: a check gives the host address that belongs to linear
     * address a; it covers bytes [lo, hi) from there. */
    T2_CHECK,
    T2_LOAD, /* [a + imm], zero-extended; or with `from`: sign-extended to it */
    T2_SYSREAD, /* enum t2_system `digit`, as it is now */
    T2_STORE, /* b to [a + imm] */
    T2_SYSWRITE, /* cpu->flags: AND (digit 4) or OR (1) with imm */
    /* A vector instruction on the XMM registers, which are no values: the host
     * holds the guest's. lo: opcode; from: prefix; digit: ModRM's reg; own_bytes
     * and own_write: an immediate and whether there is one. The other operand
     * is [a + imm], which rw accesses, or general register b, or XMM `scale`.
     * own: it sets flags, nothing else. */
    T2_VECTOR,
    /* The same with a general register, the value, for the ModRM field hi: enum
     * t2_field. */
    T2_VVALUE,
    /* ---- control */
    T2_GUARD,   /* stay when condition digit of c holds; from 1: the trace ends
                   here either way */
    T2_GUARDEQ, /* stay when a == b; else go to a */
    T2_LOOP,
    T2_BACK, /* edge imm */
    T2_ARM,  /* where the guard with this arm goes: `map`, `imm` and a are those
                of the guard; digit 1: of a T2_GUARDEQ */
    T2_EXIT,    /* the end of the trace */
    T2_EXIT_TO, /* the same, to RIP a */
    T2_KINDS
};

enum { T2_READS = 1, T2_WRITES = 2 };
enum t2_system {
    T2_SYS_FLAGS,
    T2_SYS_CPL,
    T2_SYS_CR4,
    T2_SYS_TSC /* behind imm instructions of segment `scale` */
};
enum t2_field { T2_FIELD_REG, T2_FIELD_RM };

struct t2_op {
    uint8_t kind, size, digit, scale, from;
    uint8_t rw;        /* T2_CHECK: T2_READS, T2_WRITES */
    uint8_t own_bytes; /* T2_CHECK: the access that is done here */
    bool own_write;
    bool at_head;    /* T2_CHECK: at the loop's head, no access is done here */
    bool is_dropped; /* not in seq any more */
    uint8_t segment;
    uint8_t arm; /* T2_GUARD, T2_GUARDEQ: the segment to go to; 0: leave */
    t2_ref a, b, c;
    uint16_t map;
    uint16_t insn;  /* of the trace */
    int32_t lo, hi; /* T2_CHECK */
    int32_t own;    /* T2_CHECK: displacement of its access */
    int64_t imm;
};

/* Guest state at a point, for leaving. */
struct t2_map {
    t2_ref reg[16];
    t2_ref flags;
    uint16_t insn;    /* of the trace, that is next or failed */
    uint16_t retired; /* instructions done before, since the head */
    uint16_t accesses; /* of them, as jit_has_access() counts */
    uint8_t segment;
    uint64_t rip;     /* where to go on */
};

/* One guest instruction of the trace. */
struct t2_insn {
    struct insn i;
    const struct insn *original; /* in its block: good until a flush */
    uint64_t rip;                /* linear when it was recorded */
    uint64_t next;               /* the one that followed */
};

/* A part of the path without branches: the main one, or an arm. */
struct t2_piece {
    unsigned first, count; /* of insns */
    unsigned at;           /* an arm: the branch where it leaves its parent */
    uint8_t parent;        /* the piece of that branch, or one that leaves there
                              too and is tried first */
    uint8_t weight;        /* how often it is taken, of 16 runs */
    bool is_back;          /* it ends at the trace's head */
    uint64_t start;        /* RIP */
};

/* What belongs together in the code: the first iteration or all of a trace that
 * is no loop (0), the body of a loop (1), then arms. */
struct t2_segment {
    unsigned insns, accesses; /* to its end, since the head */
    t2_ref from;              /* T2_LOOP or the guard that leads here */
    uint8_t weight;
};

struct t2_ir {
    /* ---- what is compiled */
    const struct t2_insn *insns;
    unsigned insn_count;            /* of the main path */
    const struct t2_piece *pieces;  /* [0]: the main path */
    unsigned piece_count;           /* 0: as 1 */
    bool is64;
    bool one_page;   /* addresses are relative to the page of the head */
    bool is_loop;    /* the last instruction led back to the first */
    bool no_spans;   /* every access has a check of its own */
    unsigned unroll; /* iterations of the body */
    uint64_t head;   /* RIP of the first instruction */
    struct {
        bool shifts, multiplies, bit_tests, logic;
    } host;

    /* ---- the code */
    unsigned op_count, map_count, seq_count;
    struct t2_segment *segments; /* T2_SEGMENTS_MAX */
    unsigned segment;            /* while building */
    unsigned edge_count;         /* of T2_BACK */
    unsigned phi_count;
    t2_ref (*more)[T2_PHIS_MAX]; /* T2_SEGMENTS_MAX: phis at edges, see
                                    t2_phi_at() */
    bool holds_flags; /* the loop keeps them in a register */
    uint16_t loop_map;         /* state at the head of the body */
    t2_ref now[16], flags;     /* while building: the state */
    unsigned built;            /* instructions that have rules */
    bool uses_vectors;
    bool failed;               /* out of room, or a loop that does not close */
    struct t2_op *ops;         /* T2_OPS_MAX */
    struct t2_map *maps;       /* T2_MAPS_MAX */
    t2_ref *seq, *seq2;        /* T2_OPS_MAX */
    t2_ref *same;              /* T2_OPS_MAX: what a value was replaced by */
    t2_ref *fsame;             /* the same of its flags */
    uint32_t *hash;            /* of passes */
    uint16_t *value_uses;      /* T2_OPS_MAX, of passes */
    uint16_t *flag_uses;
};

enum { T2_HASH = 1 << 15 };

bool t2_ir_alloc(struct t2_ir *ir);
void t2_ir_free(struct t2_ir *ir);
/* Forget the code. */
void t2_ir_reset(struct t2_ir *ir);

/* A new op at the end; ref 0 and `failed` when there is no room. */
t2_ref t2_emit_ir(struct t2_ir *ir, struct t2_op op);
/* A new op that is not in seq yet. */
t2_ref t2_new_op(struct t2_ir *ir, struct t2_op op);
t2_ref t2_const(struct t2_ir *ir, uint64_t v);

/* What stands for a value, for flags, now. */
static inline t2_ref t2_value(const struct t2_ir *ir, t2_ref r)
{
    while (ir->same[r] != r)
        r = ir->same[r];
    return r;
}
static inline t2_ref t2_flags_of(const struct t2_ir *ir, t2_ref r)
{
    while (ir->fsame[r] != r)
        r = ir->fsame[r];
    return r;
}
static inline bool t2_is_const(const struct t2_ir *ir, t2_ref r)
{
    return ir->ops[t2_value(ir, r)].kind == T2_CONST;
}

/* v = root + offset, seen through additions of constants. */
struct t2_sum {
    t2_ref root;
    int64_t offset;
};
struct t2_sum t2_sum_of(const struct t2_ir *ir, t2_ref v);

/* How flags can be had again. r is the result of what set them. */
enum t2_recipe_kind {
    R_HELD,  /* r is a T2_FLAGS, T2_FPHI or T2_PFLAGS value */
    R_LOGIC, /* of result r */
    R_TEST,  /* r & b */
    R_CMP,   /* r - b */
    R_ADD,   /* r was x + b */
    R_SUB,   /* r was x - b */
    R_INC,   /* r was x + 1; CF as in c */
    R_DEC,
    R_NEG,
    R_NEVER /* T2_FLAGS needed */
};
struct t2_recipe {
    enum t2_recipe_kind kind;
    unsigned size;
    t2_ref r, b, c;
};
struct t2_recipe t2_recipe_of(const struct t2_ir *ir, t2_ref flags);

/* What a T2_PHI or T2_FPHI becomes at the end of the loop. */
static inline t2_ref t2_phi_at(const struct t2_ir *ir, const struct t2_op *phi,
                               unsigned edge)
{
    return edge ? ir->more[edge][phi->imm] : phi->b;
}

/* Has x been executed wherever y is? Ops of a segment are numbered in order. */
bool t2_dominates(const struct t2_ir *ir, t2_ref x, t2_ref y);

/* Facts about kinds. */
bool t2_sets_flags(
    unsigned kind); /* the host instruction does, as the guest's */
bool t2_has_value(unsigned kind);
bool t2_reads_flags(const struct t2_op *op); /* through c */
bool t2_has_second_map(unsigned kind);       /* in imm */

/* t2_build_system.c: does a path go on behind the instruction although it is of
 * CLASS_STOP? */
bool t2_passes(const struct insn *i);

/* ---- t2_build*.c: the trace as ops; false: no room or nothing to gain, and
 * `built` instructions of the main path have rules. */
bool t2_build(struct t2_ir *ir);

/* ---- passes (t2_fold.c, t2_cse.c, t2_reuse.c,
 * t2_forward.c, t2_dead.c) */
void t2_fold(struct t2_ir *ir);   /* constant folding */
void t2_reduce(struct t2_ir *ir); /* strength reduction */
void t2_cse(struct t2_ir *ir);    /* equal ops, checks of the same page */
void t2_licm(struct t2_ir *ir);   /* loop-invariant code motion */
void t2_reuse(struct t2_ir *ir);  /* checks that repeat earlier ones */
void t2_forward(struct t2_ir *ir); /* loads of what is known */
void t2_flag_elimination(struct t2_ir *ir);
void t2_dce(struct t2_ir *ir);
void t2_schedule(struct t2_ir *ir);

/* For tests and reports: a line for each op. */
void t2_print(const struct t2_ir *ir, char *text, unsigned bytes);

#endif
