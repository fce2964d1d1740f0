/* The dictionary of a trace: every block of instructions that was executed,
 * once for each linear address and contents. Numbers begin at 1. */
#ifndef RELIVE_ANALYSIS_TRACE_BLOCKS_H
#define RELIVE_ANALYSIS_TRACE_BLOCKS_H

#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_BLOCK_INSNS = 1000 };

struct trace_block {
    uint64_t linear;  /* of its first byte */
    uint32_t lengths; /* where in bytes[] its `count` instruction lengths are,
                         and its code behind them */
    uint16_t count, code_bytes;
    uint8_t mode; /* enum cpu_mode */
};

struct trace_blocks {
    struct trace_block *block; /* owned; [0] is unused */
    uint32_t count;            /* the next number */
    uint32_t capacity;
    uint8_t *bytes; /* owned */
    size_t used, bytes_capacity;
    uint32_t *hash; /* owned: numbers, by contents; NULL until the first find */
    uint32_t hash_size;
};

bool trace_blocks_init(struct trace_blocks *b); /* false: out of memory */
void trace_blocks_fini(struct trace_blocks *b); /* zeroed is fine */

/* Append. 0: out of memory, or more blocks than can be counted. */
uint32_t trace_blocks_add(struct trace_blocks *b, uint64_t linear,
                          unsigned mode, const uint8_t *lengths, unsigned count,
                          const uint8_t *code);
/* The number of an equal block, or of a new one. 0: as above. */
uint32_t trace_blocks_find(struct trace_blocks *b, uint64_t linear,
                           unsigned mode, const uint8_t *lengths,
                           unsigned count, const uint8_t *code);

/* The linear address of an instruction. */
static inline const uint8_t *trace_block_lengths(const struct trace_blocks *b,
                                                 uint32_t number)
{
    return b->bytes + b->block[number].lengths;
}
static inline const uint8_t *trace_block_code(const struct trace_blocks *b,
                                              uint32_t number)
{
    return trace_block_lengths(b, number) + b->block[number].count;
}
uint64_t trace_block_address(const struct trace_blocks *b, uint32_t number,
                             unsigned insn);

/* Those from `first` on, as bytes; and back, appended. False: malformed. */
void trace_blocks_write(const struct trace_blocks *b, uint32_t first,
                        struct writer *w);
bool trace_blocks_read(struct trace_blocks *b, struct reader *r);

#endif
