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

struct jit_options {
    uint64_t cache_bytes;     /* host code; 0: 256 MB */
    uint32_t tier1_threshold; /* executions before compiling; 0: 10 */
    jit_code_fn *on_code;     /* NULL: nobody listens */
    void *on_code_context;    /* borrowed */
};

/* Attach to a CPU, which is borrowed and must not move. NULL and err when
 * memory near the CPU cannot be had. */
struct jit *jit_new(struct cpu *c, const struct jit_options *options,
                    struct error *err);
void jit_free(struct jit *j); /* takes NULL; detaches */

struct jit_stats {
    uint64_t blocks_compiled; /* jit.tier1.blocks_compiled_total */
    uint64_t code_bytes;      /* jit.cache.used_bytes */
    uint64_t flushes, links, exits, slow_calls;
};
void jit_stats(const struct jit *j, struct jit_stats *out);

#endif
