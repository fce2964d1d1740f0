#include "analysis/trace_blocks.h"

#include "analysis/trace_stream.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCKS_MAX = 1 << 24, HASH_FIRST = 1 << 12, INSN_BYTES_MAX = 15 };

bool trace_blocks_init(struct trace_blocks *b)
{
    *b = (struct trace_blocks){.count = 1, .capacity = 1024};
    b->block = calloc(b->capacity, sizeof *b->block);
    return b->block != NULL;
}

void trace_blocks_fini(struct trace_blocks *b)
{
    free(b->block);
    free(b->bytes);
    free(b->hash);
    *b = (struct trace_blocks){0};
}

static bool grow(struct trace_blocks *b, size_t bytes)
{
    if (b->count == b->capacity) {
        void *grown =
            realloc(b->block, 2 * (size_t)b->capacity * sizeof *b->block);
        if (!grown)
            return false;
        b->block = grown;
        b->capacity *= 2;
    }
    if (b->used + bytes > b->bytes_capacity) {
        size_t wanted = 2 * (b->used + bytes) + 65536;
        void *grown = realloc(b->bytes, wanted);
        if (!grown)
            return false;
        b->bytes = grown;
        b->bytes_capacity = wanted;
    }
    return true;
}

static unsigned sum(const uint8_t *lengths, unsigned count)
{
    unsigned total = 0;
    for (unsigned i = 0; i < count; i++)
        total += lengths[i];
    return total;
}

uint32_t trace_blocks_add(struct trace_blocks *b, uint64_t linear,
                          unsigned mode, const uint8_t *lengths, unsigned count,
                          const uint8_t *code)
{
    unsigned code_bytes = sum(lengths, count);
    if (b->count == BLOCKS_MAX || b->used > UINT32_MAX / 2 ||
        !grow(b, count + code_bytes))
        return 0;
    b->block[b->count] =
        (struct trace_block){.linear = linear,
                             .lengths = (uint32_t)b->used,
                             .count = (uint16_t)count,
                             .code_bytes = (uint16_t)code_bytes,
                             .mode = (uint8_t)mode};
    memcpy(b->bytes + b->used, lengths, count);
    memcpy(b->bytes + b->used + count, code, code_bytes);
    b->used += count + code_bytes;
    return b->count++;
}

/* ---- finding ----------------------------------------------------------------
 */

static uint32_t hash_of(uint64_t linear, unsigned mode, const uint8_t *code,
                        unsigned bytes)
{
    return (uint32_t)XXH3_64bits_withSeed(code, bytes, linear * 4 + mode);
}

static void enter(struct trace_blocks *b, uint32_t number)
{
    const struct trace_block *k = &b->block[number];
    uint32_t at =
        hash_of(k->linear, k->mode, trace_block_code(b, number), k->code_bytes);
    while (b->hash[at &= b->hash_size - 1])
        at++;
    b->hash[at] = number;
}

static bool rehash(struct trace_blocks *b)
{
    if (b->hash && b->count < b->hash_size / 2)
        return true;
    uint32_t size = b->hash ? b->hash_size * 2 : HASH_FIRST;
    while (size / 2 <= b->count)
        size *= 2;
    free(b->hash);
    b->hash = calloc(size, sizeof *b->hash);
    b->hash_size = size;
    if (!b->hash)
        return false;
    for (uint32_t n = 1; n < b->count; n++)
        enter(b, n);
    return true;
}

uint32_t trace_blocks_find(struct trace_blocks *b, uint64_t linear,
                           unsigned mode, const uint8_t *lengths,
                           unsigned count, const uint8_t *code)
{
    unsigned bytes = sum(lengths, count);
    if (!rehash(b))
        return 0;
    uint32_t at = hash_of(linear, mode, code, bytes);
    for (; b->hash[at &= b->hash_size - 1]; at++) {
        uint32_t n = b->hash[at];
        const struct trace_block *k = &b->block[n];
        if (k->linear == linear && k->mode == mode && k->count == count &&
            k->code_bytes == bytes &&
            memcmp(trace_block_lengths(b, n), lengths, count) == 0 &&
            memcmp(trace_block_code(b, n), code, bytes) == 0)
            return n;
    }
    uint32_t n = trace_blocks_add(b, linear, mode, lengths, count, code);
    if (n)
        b->hash[at] = n;
    return n;
}

uint64_t trace_block_address(const struct trace_blocks *b, uint32_t number,
                             unsigned insn)
{
    uint64_t at =
        b->block[number].linear + sum(trace_block_lengths(b, number), insn);
    return b->block[number].mode == 2 ? at : (uint32_t)at;
}

/* ---- as bytes ---------------------------------------------------------------
 */

void trace_blocks_write(const struct trace_blocks *b, uint32_t first,
                        struct writer *w)
{
    uint64_t before = 0;
    trace_put(w, b->count - first);
    for (uint32_t n = first; n < b->count; n++) {
        const struct trace_block *k = &b->block[n];
        trace_put(w, trace_zigzag(k->linear - before));
        trace_put(w, (uint64_t)k->count * 4 + k->mode);
        writer_bytes(w, trace_block_lengths(b, n), k->count);
        writer_bytes(w, trace_block_code(b, n), k->code_bytes);
        before = k->linear;
    }
}

static bool lengths_ok(const uint8_t *lengths, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (lengths[i] == 0 || lengths[i] > INSN_BYTES_MAX)
            return false;
    return true;
}

bool trace_blocks_read(struct trace_blocks *b, struct reader *r)
{
    uint8_t lengths[TRACE_BLOCK_INSNS];
    uint8_t code[TRACE_BLOCK_INSNS * INSN_BYTES_MAX];
    uint64_t before = 0;
    for (uint64_t left = trace_get(r); left && !r->failed; left--) {
        uint64_t linear = before + trace_unzigzag(trace_get(r));
        uint64_t shape = trace_get(r);
        unsigned count = (unsigned)(shape / 4), mode = shape & 3;
        if (shape / 4 < 1 || shape / 4 > TRACE_BLOCK_INSNS || mode > 2)
            return false;
        reader_bytes(r, lengths, count);
        if (r->failed || !lengths_ok(lengths, count))
            return false;
        reader_bytes(r, code, sum(lengths, count));
        if (r->failed ||
            !trace_blocks_add(b, linear, mode, lengths, count, code))
            return false;
        before = linear;
    }
    return !r->failed;
}
