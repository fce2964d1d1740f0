/* What the files of the JIT share. */
#ifndef RELIVE_JIT_JIT_INTERNAL_H
#define RELIVE_JIT_JIT_INTERNAL_H

#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "jit/emit.h"
#include "jit/jit.h"
#include "jit/probe.h"

enum {
    JIT_ENTRY_BYTES = 16, /* of an open call on the return stack */
    JIT_SLOTS = 1 << 19, /* direct jumps between blocks */
    JIT_NO_SLOT = 0,
    JIT_GO_ON = 0, JIT_LEAVE = 1, JIT_REKEYED = 2, /* jit_interpret*() */
    JIT_JUMPS = 1 << 15, /* entries of the jump table */
    JIT_VIEW_BITS = 8,
    JIT_VIEWS = 1 << JIT_VIEW_BITS,
    JIT_MNEMONICS = 2048, /* more than Zydis has */
    /* Host registers that hold no guest register; RAX has the flags. */
    H_SCRATCH_A = H_RCX, /* addresses */
    H_SCRATCH_B = H_RDX,
    H_SCRATCH_C = H_R14,
    H_TICKS = H_R15 /* tick - cpu->jit_limit: at most 0 */
};

/* Compiled code by RIP: what dispatch looks into. Good as long as the key
 * stands (jit_key()); a dropped block's code leaves at once. */
struct jit_jump {
    uint64_t rip, key;
    const void *code;
    uint64_t page; /* for cpu->jit_page */
};
_Static_assert(sizeof(struct jit_jump) == 32, "dispatch shifts by 5");

/* What 16-bit code at a RIP means: one number for each. */
struct jit_view {
    uint64_t space, base; /* mmu.space_key, base of CS */
    uint64_t limit;
    uint64_t number; /* 0: none */
};

/* A direct jump that may be linked to its target's code. */
struct slot {
    uint8_t *site;       /* displacement, writable address */
    const uint8_t *stub; /* where it goes unlinked */
    uint32_t next;       /* in the target's list of incoming jumps */
    uint16_t low, high;  /* of the block that it leaves (struct block_code) */
};

struct jit {
    struct cpu *cpu;
    struct jit_options options;
    struct host_flags host;
    uint8_t x87_differs[JIT_MNEMONICS / 8]; /* bits by mnemonic */
    uint8_t *rw;   /* owned: writable mapping */
    uint8_t *exec; /* owned: executable mapping near the CPU */
    size_t bytes, used;
    size_t first; /* where blocks start: behind the jump table and the thunks */
    size_t cold_first, cold_used; /* code that rarely runs lies apart */
    struct jit_jump *jumps; /* JIT_JUMPS, at the start of the cache */
    const uint8_t *jumps_exec; /* the same for compiled code */
    struct slot *slots; /* owned */
    uint32_t slot_count;
    uint32_t blocks; /* compiled blocks and traces that may run */

    /* Thunks (executable addresses). */
    void (*enter)(const void *code);
    const uint8_t *exit, *exit_at, *exit_link, *dispatch, *dispatch_rip, *dispatch_at;
    const uint8_t *dispatch_miss;
    const uint8_t *return_miss, *return_bottom; /* see thunks.c, the return stack */
    const uint8_t *interpret, *interpret_last;
    const uint8_t *leave; /* state is in the cpu */
    struct t2 *t2;        /* owned; NULL without tier 2 */
    const uint8_t *exit_refused, *units_save, *simd_load, *x87_load;


    uint64_t left_rip, left_tick, left_key; /* see note_exit() */
    struct jit_view views[JIT_VIEWS];
    uint64_t view_count;
    struct jit_stats stats;
};

/* join.c: the block itself, or one that has the instructions of those that follow
 * it too: conditional jumps inside it leave it when they are taken. */
enum { JIT_JOIN_BLOCKS = 6 };
struct block_code *jit_join(struct jit *j, struct block_code *k);

/* lower.c: host code for block `head`, whose instructions those of k begin with,
 * or NULL (out of room: *full; or nothing worth compiling). Executable address. */
const void *jit_lower(struct jit *j, struct block_code *head,
                      const struct block_code *k, bool *full);

/* lower_memory.c: where in a TLB the entry for the page of the linear address in
 * `from` is, into `to`. Flags are lost. */
void jit_emit_tlb_offset(const struct jit *j, struct emit *e, unsigned to,
                         unsigned from);
/* The tag in an entry that the page is compared with. */
static inline int32_t jit_tag_offset(bool is_write)
{
    return is_write ? (int32_t)offsetof(struct tlb_entry, write_tag)
                    : (int32_t)offsetof(struct tlb_entry, read_tag);
}

/* lower.c: does the guest count a memory access for it (mmu.guest_mem_ops)? */
bool jit_has_access(const struct insn *i);

/* thunks.c */

/* Go on at the RIP in RCX: find its code in the jump table and jump there, or call
 * it. Uses RDX and R14. miss: jumps taken, with RCX as it was, where there is none; what it does
 * then is at j->dispatch_miss. */
enum jit_transfer {
    JIT_CALL = 2, /* digits of the opcode */
    JIT_JUMP = 4
};
void jit_emit_dispatch(const struct jit *j, struct emit *e,
                       enum jit_transfer how, uint8_t *miss[2]);
/* Condition 4 (Z): the return stack has no room, and RSP := cpu->jit_stack is to
 * make some. */
void jit_emit_test_full(const struct jit *j, struct emit *e);
/* Condition 6 (BE): the RIP in RCX is canonical. Uses RDX. */
void jit_emit_canonical(struct emit *e);
bool jit_make_thunks(struct jit *j);

/* thunks_simd.c: SSE and x87 state in the host's registers while cpu->jit_simd and
 * jit_x87 say so (1). Compiled code calls simd_load and x87_load; they answer with
 * ZF = 1 when the state is there now and clobber scratch registers. */
void jit_make_unit_thunks(struct jit *j, struct emit *e);
/* Emit: give back what the host's units hold, before C code runs. Everything else
 * of the guest has been stored; RCX and RDX stay. */
void jit_emit_units_save(struct jit *j, struct emit *e);
#define JIT_NO_X87_IP UINT64_MAX
enum {
    JIT_NO_X87_SEG = 0xff
};

/* What FNSAVE stores and FRSTOR loads (SDM vol. 1 figure 8-9). */
struct x87_image {
    uint32_t control, status, tags, ip, cs_opcode, dp, ds;
    uint8_t st[8][10];
};
void jit_x87_pack(const struct x87 *x, struct x87_image *m);
/* Leaves the opcode and the pointers alone. */
void jit_x87_unpack(const struct x87_image *m, struct x87 *x);

/* probe_x87.c: which x87 instructions the host executes otherwise than tier 0
 * does, into x87_differs. */
void probe_x87(struct jit *j);

/* Where a guest register lives: a host register or H_NONE (in cpu->r). */
extern const uint8_t jit_host_of[16];
enum {
    JIT_MAPPED = 10 /* guest registers 0..9 */
};

/* Tier 0 does an instruction of compiled code, behind which RIP is already; with
 * what is counted of that. */
enum exc jit_handle(struct jit *j, const struct insn *i);

/* Called from host code: execute one instruction by its handler. where: ticks of
 * the block not yet executed, this one included, << 16 | page offset behind the
 * instruction. JIT_GO_ON or JIT_LEAVE. */
uint32_t jit_interpret(struct cpu *c, const struct insn *i, uint32_t where);
/* As above for the last instruction of a block, after which RIP says what is
 * next, whatever mode that is in. JIT_REKEYED: go on, but jit_key has changed. */
uint32_t jit_interpret_last(struct cpu *c, const struct insn *i,
                            uint32_t where);

#endif
