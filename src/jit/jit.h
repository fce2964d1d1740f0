/* Tier 1: straight re-emission of guest blocks as host code (x86-64 hosts).
 *
 * Guest general registers live in host registers across chained blocks; guest
 * flags live in host flags until something clobbers them and are kept in AX, in
 * the layout of cpu->aflags, wherever control can leave. What has no rule calls
 * the instruction's tier 0 handler. It executes exactly what tier 0 executes:
 * same state at every tick (tests compare digests). */
#ifndef RELIVE_JIT_JIT_H
#define RELIVE_JIT_JIT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct jit;

/* Host code that was made, for profilers. Later code may take its place. */
struct jit_code {
    const void *host;
    uint64_t host_bytes;
    uint64_t guest; /* linear address that it was compiled at */
    unsigned tier;
};
typedef void jit_code_fn(void *context, const struct jit_code *code);

/* What became of a trace of tier 2, told when it is freed. */
struct jit_trace {
    uint64_t guest;       /* linear address of its head */
    uint64_t insns;       /* of its path */
    uint64_t ticks;       /* executed in it */
    uint64_t guard_fails; /* it was left because it went another way */
    uint64_t deopts;      /* instructions of it that tier 0 did */
};
typedef void jit_trace_fn(void *context, const struct jit_trace *trace);

/* What compiles hot traces (tier 2). */
enum jit_tier2 {
    JIT_TIER2_OFF,
    JIT_TIER2_AT_ONCE, /* the vCPU itself, while the guest waits: for tests */
    JIT_TIER2_THREAD   /* a thread beside it */
};

/* The passes of tier 2, in the order of their names in jit.tier2.pass.<name>. */
enum jit_pass {
    JIT_PASS_CONSTANT_FOLDING,
    JIT_PASS_DCE,
    JIT_PASS_CSE,
    JIT_PASS_FLAG_ELIMINATION,
    JIT_PASS_STRENGTH_REDUCTION,
    JIT_PASS_LICM,
    JIT_PASS_REGISTER_ALLOCATION,
    JIT_PASS_SCHEDULING,
    JIT_PASS_INLINING,
    JIT_PASS_UNROLLING,
    JIT_PASSES
};
extern const char *const jit_pass_names[JIT_PASSES];

/* Bounds of the options, and what stands for 0. */
enum {
    JIT_CACHE_LEAST = 1 << 20,
    JIT_CACHE_STANDARD = 256 << 20,
    JIT_CACHE_MOST = 512 << 20,
    JIT_BLOCKS_LEAST = 100, /* below, nothing is done but making room */
    JIT_BLOCKS_STANDARD = 100000,
    JIT_BLOCKS_MOST = 1000000,
    JIT_THRESHOLD_STANDARD = 10,
    JIT_TIER2_THRESHOLD_STANDARD = 1000,
    JIT_TRACE_MOST = 5000, /* and standard */
    JIT_INLINE_STANDARD = 50,
    JIT_UNROLL_STANDARD = 16,
    JIT_CALLS_STANDARD = 8192
};

struct jit_options {
    uint64_t cache_bytes;     /* host code */
    uint32_t blocks_max;      /* compiled blocks and traces at a time */
    uint32_t tier1_threshold; /* executions before compiling */
    uint32_t calls_max;       /* open calls whose return is foreseen; a power of 2
                                 from 4; 0: 8192 */
    uint32_t part_max;        /* instructions of a block that are lowered
                                 together, for tests; 0: 64, which is most */
    enum jit_tier2 tier2;
    uint32_t tier2_threshold; /* executions of a block of tier 1 */
    uint32_t trace_max;       /* instructions of a trace */
    uint32_t trace_min;       /* of one that is no loop; 0: 48 */
    uint32_t inline_max;      /* of a call that is inlined */
    uint32_t unroll_max;      /* iterations of an unrolled loop */
    /* Nanoseconds, called on the JIT thread as well; NULL: nothing is timed. */
    uint64_t (*now_ns)(void *context);
    void *now_context;
    bool count_lookups;       /* count searches for code by RIP */
    bool count_memory;        /* count the guest's memory accesses */
    jit_code_fn *on_code;     /* NULL: nobody listens */
    jit_trace_fn *on_trace;   /* NULL: nobody listens */
    void *on_code_context;    /* borrowed; of both */
};

/* Attach to a CPU, which is borrowed and must not move. NULL and err when
 * memory near the CPU cannot be had. */
struct jit *jit_new(struct cpu *c, const struct jit_options *options,
                    struct error *err);
void jit_free(struct jit *j); /* takes NULL; detaches */

/* Why control comes back to tier 0. */
enum jit_exit {
    JIT_EXIT_UNLINKED, /* a jump whose target was not known yet */
    JIT_EXIT_LIMIT,    /* the next block would pass the tick limit, or may not
                          run */
    JIT_EXIT_LOOKUP,   /* no code for a RIP is in the table */
    JIT_EXIT_HANDLER,  /* a fault, a device or a change of mode */
    JIT_EXIT_UNITS,    /* SSE or x87 state that the host's units may not hold */
    JIT_EXITS
};
extern const char *const jit_exit_names[JIT_EXITS];

/* Instructions that paths of tier 2 end in front of or with, because no trace
 * holds them: so many paths. */
struct jit_cut {
    const char *mnemonic; /* NULL: no more */
    uint64_t paths;
};
enum { JIT_CUTS = 16 };

struct jit_stats {
    uint64_t blocks_compiled; /* jit.tier1.blocks_compiled_total */
    uint64_t code_bytes;      /* jit.cache.used_bytes */
    uint64_t slow_calls; /* by traces */
    /* Tier 2: traces, nanoseconds, and why control left traces early. */
    uint64_t tier2_blocks_compiled, tier2_dropped, tier2_ns;
    uint64_t pass_ns[JIT_PASSES];
    uint64_t tier2_ticks; /* executed in traces */
    uint64_t guard_fail_branch, guard_fail_target, guard_fail_head,
        guard_fail_key, guard_fail_span;
    uint64_t deopts; /* instructions of traces that tier 0 did */
    struct jit_cut cuts[JIT_CUTS]; /* the most frequent first */
    uint64_t capacity_bytes;  /* jit.cache.capacity_bytes */
    uint64_t flushes, links;
    uint64_t blocks_joined;   /* compiled with some that follow them */
    uint64_t blocks; /* compiled blocks and traces that may run now */
    /* Flushes because the memory was full, because there were too many blocks,
     * and how long all and the longest took; 0: not timed. */
    uint64_t evictions_bytes, evictions_blocks, eviction_ns, eviction_ns_most;
    uint64_t tier1_ns;        /* jit.tier1.compile_time_total; 0: not timed */
    /* Searches for the code of a RIP by compiled code, if counted, and those
     * that failed. */
    uint64_t lookup_hit, lookup_miss;
    uint64_t return_misses; /* RETs that went elsewhere than the innermost open
                               CALL says, and were searches therefore */
    uint64_t exit[JIT_EXITS];    /* why control left compiled code */
    uint64_t exit_mmio_calls;    /* handlers called that met a device's memory */
    uint64_t entered_insns;      /* retired in compiled code, and in */
    uint64_t handler_calls, handler_insns; /* handlers that it called */
    uint64_t memory_accesses;    /* mmu.guest_mem_ops; 0: not counted */
};
void jit_stats(const struct jit *j, struct jit_stats *out);
/* 0 when the mnemonic is not among the cuts. */
uint64_t jit_cut_paths(const struct jit_stats *s, const char *mnemonic);

#endif
