/* How guest instructions run; never what they do. These are the keys of a
 * configuration that decide nothing of the guest's state: a recording names
 * those that it was made with, a replay may take others. */
#ifndef RELIVE_BOARD_ENGINE_H
#define RELIVE_BOARD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum machine_engine_kind {
    ENGINE_UNSET,  /* not given: the same as auto */
    ENGINE_AUTO,   /* the fastest that this host allows: all tiers, or tier 0
                      where there is no memory for compiled code */
    ENGINE_INTERP, /* tier 0 alone */
    ENGINE_TIER1,  /* tier 0, and blocks that run often compiled */
    ENGINE_TIER2,  /* as above, and hot paths compiled as traces */
    ENGINE_KINDS
};

/* Are traces compiled on the vCPU's thread, for tests? */
enum engine_wait {
    WAIT_UNSET, /* not given: no */
    WAIT_NO,
    WAIT_YES,
    WAITS
};

/* Numbers that are 0 are not given; engine_limits[] has what stands for them. */
struct engine_config {
    enum machine_engine_kind kind;
    enum engine_wait wait;
    uint64_t cache_bytes;     /* host code */
    uint64_t blocks_max;      /* compiled blocks and traces at a time */
    uint64_t tier1_threshold; /* executions before compiling */
    uint64_t tier2_threshold; /* of a compiled block */
    uint64_t trace_max;       /* instructions of a trace */
    uint64_t inline_max;      /* of a call inlined in it */
    uint64_t unroll_max;      /* iterations of a loop unrolled */
    uint64_t block_max;       /* instructions of a block, of tier 0 too */
};

/* One row per number: its name as a key (with '-' for '_': as an option), where
 * it is, what it may be, and what it is when it is not given. */
struct engine_limit {
    const char *name;
    size_t offset;
    uint64_t least, most, standard;
};
enum { ENGINE_LIMITS = 8 };
extern const struct engine_limit engine_limits[ENGINE_LIMITS];

/* NULL when there is none of that name. */
const struct engine_limit *engine_limit_find(const char *name);
static inline uint64_t *engine_limit_in(struct engine_config *c,
                                        const struct engine_limit *limit)
{
    return (uint64_t *)(void *)((char *)c + limit->offset);
}
static inline uint64_t engine_limit_of(const struct engine_config *c,
                                       const struct engine_limit *limit)
{
    return *(const uint64_t *)(const void *)((const char *)c + limit->offset);
}

/* "auto", "interp", ... */
const char *machine_engine_name(enum machine_engine_kind kind);
/* ENGINE_UNSET when there is none of that name. */
enum machine_engine_kind machine_engine_find(const char *name);

/* What c does not give comes from `other`. */
void engine_config_merge(struct engine_config *c,
                         const struct engine_config *other);
/* What c does not give is what stands for it. */
void engine_config_complete(struct engine_config *c);

#endif
