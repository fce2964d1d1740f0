/* The columns of a trace: chunks to bytes and back.
 *
 * What a chunk holds is predicted from what came before it in the chunk, the
 * same way on both sides, and only what was predicted wrongly is written: which
 * block follows, by the two blocks before; how often an instruction accesses
 * memory, where and what, by what the same instruction did last. What is left
 * is compressed with zstd. Each chunk stands for itself, given the dictionary.
 *
 * Decoding trusts nothing: false means malformed bytes, or no memory. */
#ifndef RELIVE_ANALYSIS_TRACE_CODE_H
#define RELIVE_ANALYSIS_TRACE_CODE_H

#include "analysis/trace_blocks.h"
#include "analysis/trace_chunk.h"
#include "base/stream.h"

struct trace_coder;
struct trace_coder *trace_coder_new(void); /* NULL: out of memory */
void trace_coder_free(struct trace_coder *t);

enum trace_column {
    TRACE_COLUMN_HEAD,   /* chunk 0 alone: struct trace_head */
    TRACE_COLUMN_BLOCKS, /* blocks first met in this chunk */
    TRACE_COLUMN_INDEX,
    TRACE_COLUMN_FLOW,
    TRACE_COLUMN_ACCESSES,
    TRACE_COLUMN_BYTES, /* read and written */
    TRACE_COLUMN_REGISTERS,
    TRACE_COLUMN_DEVICES,
    TRACE_COLUMN_EVENTS,
    TRACE_COLUMNS
};
const char *trace_column_name(enum trace_column column);

/* Append one column of c; b: the dictionary of all chunks up to this one.
 * False: out of memory. All but BLOCKS, HEAD and INDEX. */
bool trace_encode(struct trace_coder *t, enum trace_column column,
                  const struct trace_chunk *c, const struct trace_blocks *b,
                  struct writer *out);
/* Fill what the column holds into c, which had FLOW decoded before ACCESSES and
 * REGISTERS, and ACCESSES before BYTES. */
bool trace_decode(struct trace_coder *t, enum trace_column column,
                  const void *bytes, size_t count, const struct trace_blocks *b,
                  struct trace_chunk *c);

#endif
