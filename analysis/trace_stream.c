#include "analysis/trace_stream.h"

#include <stdlib.h>
#include <zstd.h>

enum { LEVEL = 1 };

struct trace_zip {
    ZSTD_CCtx *zip;   /* owned */
    ZSTD_DCtx *unzip; /* owned */
    uint8_t *bytes;   /* owned */
    size_t capacity;
};

struct trace_zip *trace_zip_new(void)
{
    struct trace_zip *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    z->zip = ZSTD_createCCtx();
    z->unzip = ZSTD_createDCtx();
    if (z->zip && z->unzip)
        return z;
    trace_zip_free(z);
    return NULL;
}

void trace_zip_free(struct trace_zip *z)
{
    if (!z)
        return;
    (void)ZSTD_freeCCtx(z->zip);
    (void)ZSTD_freeDCtx(z->unzip);
    free(z->bytes);
    free(z);
}

void trace_put(struct writer *w, uint64_t v)
{
    uint8_t bytes[10];
    unsigned n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    writer_bytes(w, bytes, n);
}

uint64_t trace_get(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(r);
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}

void trace_put_bytes(struct writer *w, uint64_t v, unsigned bytes)
{
    uint8_t le[8];
    for (unsigned i = 0; i < bytes; i++)
        le[i] = (uint8_t)(v >> 8 * i);
    writer_bytes(w, le, bytes);
}

uint64_t trace_get_bytes(struct reader *r, unsigned bytes)
{
    uint8_t le[8] = {0};
    uint64_t v = 0;
    reader_bytes(r, le, bytes);
    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | le[i];
    return v;
}

static bool reserve(struct trace_zip *z, size_t bytes)
{
    if (bytes <= z->capacity)
        return true;
    void *grown = realloc(z->bytes, bytes);
    if (!grown)
        return false;
    z->bytes = grown;
    z->capacity = bytes;
    return true;
}

bool trace_pack(struct trace_zip *z, struct writer *value,
                const struct writer *stream)
{
    if (stream->failed || !reserve(z, ZSTD_compressBound(stream->used)))
        return false;
    size_t bytes = ZSTD_compressCCtx(z->zip, z->bytes, z->capacity,
                                     stream->data, stream->used, LEVEL);
    if (ZSTD_isError(bytes))
        return false;
    trace_put(value, stream->used);
    trace_put(value, bytes);
    writer_bytes(value, z->bytes, bytes);
    return !value->failed;
}

bool trace_unpack(struct trace_zip *z, struct reader *value,
                  struct writer *bytes)
{
    uint64_t raw = trace_get(value), zipped = trace_get(value);
    writer_reset(bytes);
    if (value->failed || raw > TRACE_STREAM_MAX ||
        zipped > value->size - value->at || !reserve(z, raw))
        return false;
    size_t got = ZSTD_decompressDCtx(z->unzip, z->bytes, raw,
                                     value->data + value->at, zipped);
    if (ZSTD_isError(got) || got != raw)
        return false;
    value->at += zipped;
    writer_bytes(bytes, z->bytes, raw);
    return !bytes->failed;
}
