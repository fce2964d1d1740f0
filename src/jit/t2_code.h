/* Host code of tier 2: from allocated IR to bytes that are installed later, at
 * another address, by the vCPU. */
#ifndef RELIVE_JIT_T2_CODE_H
#define RELIVE_JIT_T2_CODE_H

#include "jit/emit.h"
#include "jit/jit_internal.h"
#include "jit/t2_alloc.h"

enum {
    T2_TRACES = 1 << 14,     /* at a time */
    T2_CODE_BYTES = 1 << 20, /* of one trace, at most */
    T2_LINKS_MAX = 8192,
    T2_SITES_MAX = 8192,
    T2_FIXES_MAX = 1 << 16,
    T2_CONSTS_MAX = 4096,
    T2_LIVE_MAX = 20,
    T2_OPEN_MAX = 64, /* calls */
    T2_CONST_PLACE = 0x4000 /* + number of a constant */
};

enum t2_reason {
    T2_FAIL_BRANCH, /* a conditional branch went the other way */
    T2_FAIL_TARGET, /* an indirect one went elsewhere */
    T2_FAIL_HEAD,   /* a check at the head of a loop */
    T2_FAIL_KEY,    /* other translations than the trace was made for */
    T2_FAIL_SPAN,   /* accesses that share a check were not all on one page */
    T2_FAIL_ACCESS, /* no plain memory: devices, faults, code, watched pages */
    T2_REASONS
};

/* Data that compiled traces read and write: near the code. */
struct t2_near {
    uint64_t save[16]; /* host registers in a slow path */
    uint64_t spill[T2_SPILLS];
    uint64_t scratch;
    struct t2_count {
        uint64_t ticks; /* executed */
        uint32_t fails[T2_REASONS];
    } count[T2_TRACES]; /* by id of the trace */
};

/* A slow path: how to find the guest's state, and what to look up. */
struct t2_site {
    uint16_t reg[16]; /* places; T2_CONST_PLACE + n */
    struct {
        uint8_t kind, size;
        uint16_t r, b;
    } flags[2];   /* [1]: where CF is from */
    uint64_t rip; /* or offset from the page, in a trace of one page */
    const struct insn *insn;
    struct t2_trace *trace;
    uint32_t left; /* ticks taken for what was not done */
    uint32_t done; /* instructions of the segment before it */
    struct t2_lookup {
        uint16_t at, root; /* places of the pointer and of the linear address */
        int32_t lo, hi;
        uint8_t rw;
    } check, live[T2_LIVE_MAX]; /* live: pointers that must stay good */
    int32_t own;
    uint8_t own_bytes, live_count;
    bool own_write;
};

/* A direct jump out of the trace. */
struct t2_link {
    uint32_t site; /* of the displacement */
    uint32_t stub; /* where it goes unlinked */
    uint32_t slot; /* of the imm32 that takes the slot number */
};

/* A finished trace. */
struct t2_trace {
    uint32_t id; /* 1.. */
    uint64_t head;
    uint64_t key; /* jit_key it is good for; one_page: any */
    bool one_page, is_loop, is_installed;
    unsigned insn_count, attempts;
    uint64_t judged_ticks, judged_cost, judged_keys; /* by the last verdict */
    struct t2_site *sites;               /* owned */
    int64_t *consts;                     /* owned */
    struct block_code *head_block;
    uint8_t *entry;          /* writable address, once installed */
    const uint8_t *fallback; /* tier 1's code of the head */
};

/* What the generator makes. */
struct t2_gen {
    const struct t2_ir *ir;
    const struct t2_alloc *a;
    const struct jit *j; /* read only: thunks and addresses of fields */
    struct t2_near *near_data;
    struct t2_trace *trace;
    struct emit e;
    uint8_t *buffer; /* T2_CODE_BYTES, owned */
    uint32_t *fixes; /* offsets of displacements that count from the code */
    unsigned fix_count;
    struct t2_link *links;
    unsigned link_count;
    unsigned site_count, const_count;
    int64_t *consts;       /* T2_CONSTS_MAX, owned */
    const uint8_t *fallback; /* the jump to tier 1's code of the head; NULL */
    uint32_t fallback_at;    /* its displacement */
    uint32_t code_bytes;
    /* ---- while generating */
    t2_ref host; /* whose flags the host's are; 0 */
    uint32_t at; /* position in seq */
    uint32_t loop_top, entry_top;
    uint8_t *arm_site[T2_SEGMENTS_MAX]; /* jumps that lead to arms */
    struct t2_cold *cold;
    unsigned cold_count;
    bool failed;
    const uint8_t *slow; /* the thunk */
};

bool t2_gen_init(struct t2_gen *g, const struct jit *j,
                 struct t2_near *near_data, const uint8_t *slow);
void t2_gen_fini(struct t2_gen *g);
/* Code for the allocated IR into g->buffer; sites and constants into the trace.
 * False: it does not fit. */
bool t2_generate(struct t2_gen *g, const struct t2_ir *ir,
                 const struct t2_alloc *a, struct t2_trace *trace);

/* ---- shared between t2_gen*.c */

/* A path out of line. */
struct t2_cold {
    enum {
        COLD_EXIT,
        COLD_EXIT_TO,
        COLD_HEAD,
        COLD_BUDGET,
        COLD_ARM, /* it would pass the limit */
        COLD_SLOW
    } kind;
    uint8_t *site[2]; /* the jumps that lead here */
    uint8_t *resume;  /* COLD_SLOW, writable address */
    t2_ref op;
    uint32_t at;
    uint32_t number; /* COLD_SLOW: of its t2_site */
    enum t2_reason reason;
};

/* As emit_op(), for any operand. */
void t2g_op(struct t2_gen *g, unsigned size, uint32_t op, unsigned reg,
            struct rm rm, unsigned rm_bytes, unsigned imm_bytes);
void t2g_alu_ri(struct t2_gen *g, unsigned size, unsigned digit, struct rm to,
                int32_t imm);
void t2g_jump_out(struct t2_gen *g, unsigned condition, const uint8_t *exec);
void t2g_call_out(struct t2_gen *g, const uint8_t *exec);
/* Places as operands. */
struct rm t2g_place(const struct t2_gen *g, unsigned place);
unsigned t2g_at(const struct t2_gen *g, t2_ref v);
bool t2g_const(const struct t2_gen *g, t2_ref v, int64_t *k);
/* A constant as the sign-extended imm32 of an operation of this size. */
bool t2g_imm(const struct t2_gen *g, t2_ref v, unsigned size, int32_t *imm);
/* The value as an operand; a constant goes to `scratch`. */
struct rm t2g_operand(struct t2_gen *g, t2_ref v, unsigned scratch);
/* The register that holds it, or scratch after a move. */
unsigned t2g_register(struct t2_gen *g, t2_ref v, unsigned scratch);
void t2g_load(struct t2_gen *g, unsigned host, t2_ref v);
/* Where the result of r is computed: its register, else RAX. */
unsigned t2g_target(const struct t2_gen *g, t2_ref r);
/* From there to where it belongs. Host flags stand. */
void t2g_put(struct t2_gen *g, t2_ref r, unsigned host);
/* Is y in the register that the result goes to, while x is not? */
bool t2g_is_taken(const struct t2_gen *g, t2_ref r, t2_ref x, t2_ref y);
/* The opcode for operands of `size` bytes from that for wide ones. */
static inline unsigned t2g_op_for(unsigned size, unsigned wide_op)
{
    return size == 1 ? wide_op - 1 : wide_op;
}

/* Host code of ops: t2_gen_alu.c, t2_gen_move.c, t2_gen_memory.c. */
typedef void t2g_rule(struct t2_gen *g, t2_ref r, const struct t2_op *o);
t2g_rule t2g_alu, t2g_compare, t2g_unary, t2g_shift, t2g_shift_cl, t2g_imul,
    t2g_mulhi, t2g_div, t2g_bt, t2g_host, t2g_extend, t2g_high, t2g_merge,
    t2g_set_high, t2g_lea, t2g_setcc, t2g_cmov, t2g_simple, t2g_syswrite,
    t2g_check, t2g_load_op, t2g_store, t2g_vector;

/* Behind the call of a check's slow path, with the pointer in RAX: as the fast
 * path leaves it. */
void t2g_after_slow(struct t2_gen *g, t2_ref r);

/* t2_gen_flags.c: host flags for a condition; the condition to test (it may be
 * another). Uses RAX and RDX. */
unsigned t2g_condition(struct t2_gen *g, t2_ref flags, unsigned code);
/* All flags into RAX as in cpu->aflags. */
void t2g_flags_to_rax(struct t2_gen *g, t2_ref flags);
/* All flags into the host's. */
void t2g_host_flags(struct t2_gen *g, t2_ref flags);

/* t2_gen_exit.c */
void t2g_enter(struct t2_gen *g); /* from the convention between blocks */
/* To the head of the loop's body: from the entry, or over an edge. */
void t2g_loop_moves(struct t2_gen *g, int edge);
enum { T2_FROM_ENTRY = -1 };
/* Ticks that an arm takes more than the path that it leaves. */
int32_t t2g_arm_ticks(const struct t2_gen *g, const struct t2_op *arm);
void t2g_exit(struct t2_gen *g, const struct t2_op *o);
void t2g_colds(struct t2_gen *g);
/* A jump to tier 1's code of the head, where ticks are not taken yet. */
void t2g_to_fallback(struct t2_gen *g);
/* So many instructions since the head were executed: ticks, and accesses when
 * they are counted. Clobbers host flags. */
void t2g_count(struct t2_gen *g, unsigned retired, unsigned accesses);
struct t2_cold *t2g_cold(struct t2_gen *g, unsigned kind, t2_ref op);

static inline uint64_t t2g_page_of(uint64_t rip)
{
    return rip & ~(uint64_t)(PAGE_BYTES - 1);
}
/* Set cpu->jit_page when the target lies on another page. Uses RCX. */
void t2g_page(struct t2_gen *g, uint64_t rip);
/* The jump or call at `site` goes to rip, once linked. Emits code, which nothing
 * runs into. */
void t2g_link(struct t2_gen *g, uint8_t *site, uint64_t rip);

/* t2_gen_return.c */

/* Return addresses of the calls that are open in the state of a map, the
 * innermost last. is_call: it is the last instruction done; is_return: that is a
 * RET of what the trace has not called. */
struct t2_calls {
    uint64_t back[T2_OPEN_MAX];
    unsigned count;
    bool is_call, is_return;
};
void t2g_calls(const struct t2_gen *g, const struct t2_map *m,
               struct t2_calls *calls);
/* Open them, but for the one of is_call; RCX and RDX are lost. */
void t2g_open_calls(struct t2_gen *g, const struct t2_calls *calls);
/* That one, calling rip, or the RIP in RCX. */
void t2g_call_link(struct t2_gen *g, const struct t2_calls *calls,
                   uint64_t rip);
void t2g_call_dispatch(struct t2_gen *g, const struct t2_calls *calls);

#endif
