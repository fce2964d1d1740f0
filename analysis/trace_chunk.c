#include "analysis/trace_chunk.h"

#include <stdlib.h>

bool trace_list_grow(void **at, size_t *capacity, size_t count, size_t size)
{
    size_t wanted = count < 1024 ? 2048 : count * 2;
    void *grown = realloc(*at, wanted * size);
    if (!grown)
        return false;
    *at = grown;
    *capacity = wanted;
    return true;
}

void trace_chunk_fini(struct trace_chunk *c)
{
    free(c->runs.at);
    free(c->jumps.at);
    free(c->spaces.at);
    free(c->entries.at);
    free(c->accesses.at);
    free(c->devices.at);
    free(c->events.at);
    free(c->masks.at);
    free(c->values.at);
    *c = (struct trace_chunk){.first_tick = UINT64_MAX};
}

void trace_chunk_reset(struct trace_chunk *c)
{
    c->first_tick = UINT64_MAX;
    c->next_rip = 0;
    c->rows = 0;
    c->failed = false;
    c->runs.count = c->jumps.count = c->spaces.count = 0;
    c->entries.count = 0;
    c->accesses.count = c->devices.count = c->events.count = 0;
    c->masks.count = c->values.count = 0;
}
