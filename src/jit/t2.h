/* Tier 2: traces over hot blocks of tier 1, compiled beside the vCPU.
 *
 * A block of tier 1 counts its executions. When it is hot, tier 0 runs on from
 * there and the paths from it are recorded, as a tree of blocks with counts. The
 * path taken most becomes the trace, a loop when it comes back to the head, and
 * other ways that are taken often become its arms (t2_path.c). It is compiled
 * (t2_ir.h and what follows it), by default on a thread of its own, from
 * copies; the vCPU installs the result between two stays in compiled code, when
 * the blocks that it was made from still stand. Then the head's tier 1 code
 * jumps to it. Guards leave to tier 1 with exact state; a trace whose guards
 * fail too often is dropped.
 *
 * A trace within one page is good wherever the page is mapped; one over several
 * pages while cpu->jit_key is what it was. */
#ifndef RELIVE_JIT_T2_H
#define RELIVE_JIT_T2_H

#include "jit/jit_internal.h"
#include "jit/t2_code.h"

enum {
    T2_HEATS = 1 << 17, /* blocks that count */
    T2_REQUESTS = 24,
    T2_BLOCKS_MAX = 1024, /* of a trace */
    T2_NODES = 512,       /* of the tree of its paths */
    T2_PATH_MAX = 256,    /* blocks of a path */
    T2_WAYS_MAX = 32,     /* that a branch can go */
    T2_USES = 1 << 17,
    T2_HEAT_BYTES = 13, /* of the counter in front of a block */
    T2_ATTEMPTS = 3
};

/* What block_code.tier2 says. */
enum t2_state {
    T2_COLD,    /* counts */
    T2_SAMPLED, /* counts, and its path is being compared with itself */
    T2_BUSY,    /* is recorded, compiled or has a trace: does not count */
    T2_BANNED
};

/* A block on paths from a head, node 0 of a tree. */
struct t2_node {
    struct block_code *block;
    uint64_t rip, end; /* end: where a path went on that ended here */
    uint32_t count;    /* samples that came here, */
    uint32_t backs;    /* and then to the head */
    uint32_t child, sibling; /* 0: none */
    uint32_t piece, last;    /* t2_path.c: where it was put */
    bool is_excluded; /* paths end in front of it */
};

/* A trace on its way: recorded by the vCPU, compiled by whoever takes it. */
struct t2_request {
    struct t2_insn insns[T2_INSNS_MAX];
    struct block_code *blocks[T2_BLOCKS_MAX];
    uint64_t starts[T2_BLOCKS_MAX]; /* RIP of each */
    unsigned first[T2_BLOCKS_MAX];  /* its first instruction */
    unsigned insn_count, block_count; /* of the main path; of all pieces */
    struct t2_piece pieces[T2_PIECES_MAX];
    unsigned piece_count;
    struct block_code *head;
    uint64_t key;
    uint64_t generation; /* flushes before it */
    bool is_taken;       /* not in the pool */
    bool is_sampled;     /* still the vCPU's */
    bool is_broken;      /* something came between: no fault of the path */
    bool is64, one_page, is_loop, no_spans;
    struct t2_node nodes[T2_NODES];
    unsigned node_count, samples, broken;
    bool is_wide;    /* a branch goes more than two ways */
    bool comes_back; /* a path did, to the head */
    uint16_t cut; /* mnemonic of the instruction without a rule; 0: none */
    /* ---- the result */
    struct t2_trace *trace; /* owned until installed */
    bool is_compiled;
    uint8_t *code; /* owned */
    uint32_t code_bytes, fix_count, link_count;
    uint32_t *fixes;       /* owned */
    struct t2_link *links; /* owned */
    uint32_t fallback_at; /* displacement of the jump to tier 1 */
    uint64_t pass_ns[JIT_PASSES], total_ns;
};

/* Blocks and the traces made of them. */
struct t2_use {
    uint32_t trace, next;
};

struct t2_compiler {
    struct t2_ir ir;
    struct t2_alloc alloc;
    struct t2_gen gen;
    const struct jit_options *options;
    struct host_flags host;
};

struct t2_thread;

struct t2_total {
    uint64_t ticks, fails[T2_REASONS];
};

struct t2 {
    struct jit *j;
    struct t2_near *near_data; /* owned */
    int32_t *heat;             /* T2_HEATS, near the code */
    size_t near_bytes;
    uint32_t heats;
    uint64_t generation;
    struct t2_compiler compiler; /* of the thread while there is one */
    struct t2_request *requests; /* owned: T2_REQUESTS */
    unsigned next_request;
    struct t2_thread *thread;           /* owned; NULL: compile at once */
    struct t2_trace *traces[T2_TRACES]; /* owned, by id */
    uint32_t next_id, most_id;
    uint64_t judged;      /* tick */
    struct t2_total past; /* of traces that are gone */
    struct t2_use *uses;  /* owned */
    uint32_t use_count;
    uint32_t cuts[JIT_MNEMONICS]; /* paths, by what ended them */
    /* ---- recording */
    struct t2_request *recording;
    uint64_t expected_tick;
    struct t2_step {
        unsigned node, insns; /* before it */
    } path[T2_PATH_MAX];
    unsigned path_count, path_insns;
    unsigned depth, call_at[64]; /* calls that have not returned */
};

struct t2 *t2_new(struct jit *j, struct error *err);
void t2_free(struct t2 *t);

/* ---- for jit.c: between two stays in compiled code */

/* Tier 0 is to run k, which is being recorded. */
bool t2_before(struct t2 *t, struct block_code *k);
void t2_dropped(struct t2 *t, struct block_code *k);
void t2_flushed(struct t2 *t);
void t2_stats(const struct t2 *t, struct jit_stats *out);

/* ---- for lower.c: the counter in front of a block; its jump when hot */
uint8_t *t2_emit_counter(struct t2 *t, struct emit *e, struct block_code *k);

/* ---- parts */
bool t2_compiler_init(struct t2_compiler *c, const struct jit *j,
                      struct t2_near *near_data, const uint8_t *slow,
                      struct error *err);
void t2_compiler_fini(struct t2_compiler *c);
void t2_compile(struct t2_compiler *c, struct t2_request *q);

/* t2_path.c: pieces, instructions and blocks from the tree of paths. */
void t2_lay_out(struct t2_request *q, unsigned insns_max);

void t2_submit(struct t2 *t, struct t2_request *q);
void t2_finish(struct t2 *t, struct t2_request *q); /* install or give up */
void t2_stop_counting(uint8_t *at);
void t2_judge(struct t2 *t);
void t2_release(struct t2_request *q);
void t2_drop_trace(struct t2 *t, uint32_t id, bool for_good);

/* t2_cuts.c: what no trace holds */
void t2_count_cut(struct t2 *t, unsigned mnemonic); /* 0: nothing */
void t2_top_cuts(const struct t2 *t, struct jit_cut out[JIT_CUTS]);

const uint8_t *t2_make_slow(struct jit *j, struct emit *e,
                            struct t2_near *near_data);
void *t2_slow(struct jit *j, struct t2_site *s);

bool t2_thread_new(struct t2 *t, struct error *err);
void t2_thread_free(struct t2_thread *w);
bool t2_thread_push(struct t2_thread *w, struct t2_request *q);
struct t2_request *t2_thread_pop(struct t2_thread *w);

#endif
