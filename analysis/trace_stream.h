/* Bytes in and out of the columns of a trace: variable-length numbers, and
 * several streams of bytes, each compressed on its own, in one value. */
#ifndef RELIVE_ANALYSIS_TRACE_STREAM_H
#define RELIVE_ANALYSIS_TRACE_STREAM_H

#include "base/stream.h"

#include <stdbool.h>
#include <stdint.h>

/* Compression contexts and a buffer; one for each thread. */
struct trace_zip;
struct trace_zip *trace_zip_new(void); /* NULL: out of memory */
void trace_zip_free(struct trace_zip *z);

static inline uint64_t trace_zigzag(uint64_t v)
{
    return v << 1 ^ (uint64_t)((int64_t)v >> 63);
}
static inline uint64_t trace_unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

/* LEB128. */
void trace_put(struct writer *w, uint64_t v);
/* Past the end, and for more than 64 bits: 0, and r->failed. */
uint64_t trace_get(struct reader *r);

/* The low `bytes` bytes. */
void trace_put_bytes(struct writer *w, uint64_t v, unsigned bytes);
uint64_t trace_get_bytes(struct reader *r, unsigned bytes);
/* How many bytes hold v: 0 to 8. */
static inline unsigned trace_width(uint64_t v)
{
    return v ? (71u - (unsigned)__builtin_clzll(v)) / 8 : 0;
}

/* Append the stream to a value. False: out of memory. */
bool trace_pack(struct trace_zip *z, struct writer *value,
                const struct writer *stream);
/* The next stream of a value into `bytes`, which it replaces. False: what is
 * there is no stream, or holds more than TRACE_STREAM_MAX bytes. */
enum { TRACE_STREAM_MAX = 1 << 28 };
bool trace_unpack(struct trace_zip *z, struct reader *value,
                  struct writer *bytes);

#endif
