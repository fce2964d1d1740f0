/* What a chunk of a trace holds, so that a query need not open those that
 * cannot match: bounds, the blocks executed, and the pages accessed. */
#ifndef RELIVE_ANALYSIS_TRACE_INDEX_H
#define RELIVE_ANALYSIS_TRACE_INDEX_H

#include "analysis/trace_blocks.h"
#include "analysis/trace_chunk.h"
#include "analysis/trace_stream.h"

struct trace_bounds {
    uint64_t first, last; /* first > last: nothing */
};
static inline bool trace_bounds_meet(const struct trace_bounds *b,
                                     uint64_t first, uint64_t last)
{
    return b->first <= b->last && b->first <= last && first <= b->last;
}

enum {
    TRACE_PAGE_READ = 1, /* in the low bits of a page's number << 2 */
    TRACE_PAGE_WRITTEN = 2,
    TRACE_PAGE_SHIFT = 12
};

struct trace_index {
    uint32_t rows, accesses, devices, events;
    struct trace_bounds ticks;               /* of everything */
    struct trace_bounds code, memory, ports; /* addresses */
    uint64_t vectors[4];                     /* bits, of events with one */
    uint32_t *blocks;                        /* owned, ascending numbers */
    uint32_t block_count;
    uint64_t *pages; /* owned, ascending: number << 2 | TRACE_PAGE_* */
    uint32_t page_count;
};
void trace_index_fini(struct trace_index *x); /* zeroed is fine */

/* False: out of memory. */
bool trace_index_make(struct trace_index *x, const struct trace_chunk *c,
                      const struct trace_blocks *b);
bool trace_index_write(const struct trace_index *x, struct trace_zip *z,
                       struct writer *out);
/* False: malformed, or out of memory. */
bool trace_index_read(struct trace_index *x, struct trace_zip *z,
                      const void *bytes, size_t count);

bool trace_index_has_block(const struct trace_index *x, uint32_t number);
/* An access of one of the kinds (TRACE_PAGE_*) to a page in [first, last]. */
bool trace_index_has_page(const struct trace_index *x, uint64_t first,
                          uint64_t last, unsigned kinds);

#endif
