/* Shared by trace_make*.c. */
#ifndef RELIVE_ANALYSIS_TRACE_MAKE_INTERNAL_H
#define RELIVE_ANALYSIS_TRACE_MAKE_INTERNAL_H

#include "analysis/trace_blocks.h"
#include "analysis/trace_chunk.h"
#include "base/stream.h"
#include "replay/store.h"
#include "replay/trace_record.h"

#include <stdatomic.h>

/* The thread that compresses and stores. */
struct trace_packer;

/* What it gets: a chunk and the blocks first met in it, as
 * trace_blocks_write() has them. */
struct trace_job {
    struct trace_chunk chunk;
    struct writer blocks;
    uint64_t until; /* the trace goes this far with it */
};

/* head is the trace's first one, committed already. NULL: err. */
struct trace_packer *trace_packer_new(struct store *s,
                                      const struct trace_head *head,
                                      struct error *err);
/* An empty job to fill; waits for one. Never NULL. */
struct trace_job *trace_packer_job(struct trace_packer *p);
/* Store a filled job, in order. */
void trace_packer_give(struct trace_packer *p, struct trace_job *job);
/* Something went wrong: gathering more is of no use. */
bool trace_packer_failed(const struct trace_packer *p);
/* After the last job: wait for all of it, and commit the finished head. */
bool trace_packer_finish(struct trace_packer *p, uint64_t until,
                         struct trace_head *head, struct error *err);
void trace_packer_free(struct trace_packer *p); /* takes NULL */

#endif
