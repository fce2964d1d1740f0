#include "board/engine.h"

#include "cpu/blocks.h"
#include "jit/jit.h"

#include <string.h>

#define LIMIT(name, member, least, most, standard)                             \
    {                                                                          \
        name, offsetof(struct engine_config, member), least, most, standard    \
    }
const struct engine_limit engine_limits[ENGINE_LIMITS] = {
    LIMIT("jit_block", block_max, 1, BLOCK_INSNS_MAX, BLOCK_INSNS_MAX),
    LIMIT("jit_blocks", blocks_max, JIT_BLOCKS_LEAST, JIT_BLOCKS_MOST,
          JIT_BLOCKS_STANDARD),
    LIMIT("jit_cache", cache_bytes, JIT_CACHE_LEAST, JIT_CACHE_MOST,
          JIT_CACHE_STANDARD),
    LIMIT("jit_inline", inline_max, 1, JIT_TRACE_MOST, JIT_INLINE_STANDARD),
    LIMIT("jit_threshold", tier1_threshold, 1, 1 << 30,
          JIT_THRESHOLD_STANDARD),
    LIMIT("jit_tier2_threshold", tier2_threshold, 1, 1 << 30,
          JIT_TIER2_THRESHOLD_STANDARD),
    LIMIT("jit_trace", trace_max, 1, JIT_TRACE_MOST, JIT_TRACE_MOST),
    LIMIT("jit_unroll", unroll_max, 1, 1000, JIT_UNROLL_STANDARD),
};

static const char *const kinds[ENGINE_KINDS] = {[ENGINE_UNSET] = "auto",
                                                [ENGINE_AUTO] = "auto",
                                                [ENGINE_INTERP] = "interp",
                                                [ENGINE_TIER1] = "tier1",
                                                [ENGINE_TIER2] = "tier2"};

const struct engine_limit *engine_limit_find(const char *name)
{
    for (unsigned i = 0; i < ENGINE_LIMITS; i++)
        if (strcmp(engine_limits[i].name, name) == 0)
            return &engine_limits[i];
    return NULL;
}

const char *machine_engine_name(enum machine_engine_kind kind)
{
    return kinds[kind];
}

enum machine_engine_kind machine_engine_find(const char *name)
{
    for (unsigned k = ENGINE_AUTO; k < ENGINE_KINDS; k++)
        if (strcmp(kinds[k], name) == 0)
            return (enum machine_engine_kind)k;
    return ENGINE_UNSET;
}

void engine_config_merge(struct engine_config *c,
                         const struct engine_config *other)
{
    if (c->kind == ENGINE_UNSET)
        c->kind = other->kind;
    if (c->wait == WAIT_UNSET)
        c->wait = other->wait;
    for (unsigned i = 0; i < ENGINE_LIMITS; i++) {
        uint64_t *number = engine_limit_in(c, &engine_limits[i]);
        if (!*number)
            *number = engine_limit_of(other, &engine_limits[i]);
    }
}

void engine_config_complete(struct engine_config *c)
{
    struct engine_config standard = {.kind = ENGINE_AUTO, .wait = WAIT_NO};
    for (unsigned i = 0; i < ENGINE_LIMITS; i++)
        *engine_limit_in(&standard, &engine_limits[i]) =
            engine_limits[i].standard;
    engine_config_merge(c, &standard);
}
