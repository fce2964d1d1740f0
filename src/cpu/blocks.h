/* The decoded-block cache: runs of decoded instructions by frame address (frame
 * number * 4096 + offset: remaps do not touch it) and mode. It never shows: a store into a page that holds blocks drops those it
 * overlaps before the next instruction (phys_watch of FRAME_CODE). */
#ifndef RELIVE_CPU_BLOCKS_H
#define RELIVE_CPU_BLOCKS_H

#include "cpu/insn.h"

struct block_code;

/* Membership in the list of one frame's blocks. */
struct page_link {
    struct block_code *block;
    struct page_link *next;
};

struct block_code {
    uint64_t start;    /* frame address of the first byte */
    uint64_t second;   /* a one-instruction block across a page: frame address
                          of the second page; else UINT64_MAX */
    uint8_t mode;      /* enum cpu_mode */
    bool valid;        /* false once dropped; the memory stays until a flush */
    bool probed;       /* an observer may want to hear of its start */
    uint16_t count;    /* instructions, at least 1 */
    uint32_t bytes;    /* code bytes in the first page */
    uint32_t covered;  /* as bytes: those whose change drops it, at least bytes */
    struct block_code *hash_next;
    struct page_link links[2]; /* first and second page */
    const void *code;  /* compiled by the engine, or NULL */
    const void *refuse; /* the engine's: where code leaves instead of running */
    uint32_t hits;     /* the engine's execution count */
    uint16_t ticks;    /* the engine's: those that its code takes at its start */
    uint32_t incoming; /* the engine's list of jumps linked to this block */
    uint16_t low, high; /* the engine's: which offsets of its page its jumps
                           stay within, [low, high) */
    uint32_t heat;     /* the engine's: number of its second counter */
    uint32_t traces;   /* the engine's list of what was made of this block */
    uint8_t tier2;     /* the engine's: what became of it */
    uint8_t attempts;  /* the engine's */
    bool no_spans;     /* the engine's */
    bool is_held;      /* the engine's: it kept the address, though not compiled */
    uint32_t trace_id; /* a tracer's own; 0 at first */
    struct insn insns[];
};

enum { BLOCK_INSNS_MAX = 1000 };

struct blocks *blocks_new(struct cpu *c, struct error *err);
void blocks_free(struct blocks *b);

/* The block that starts at CS:RIP, or NULL with *fault set to what fetching its
 * first instruction raises. The pointer is good until the next call. */
struct block_code *blocks_at(struct cpu *c, enum exc *fault);

/* The block decoded at this frame address on one page, or NULL. */
struct block_code *blocks_known(const struct cpu *c, uint64_t start,
                                unsigned mode);

/* A block for the engine alone: the instructions of all of these, each of which
 * begins where the one before it ends, on one page. From now on the first is
 * dropped with any of them. NULL when there is no memory left or it would be too
 * long; the result is good until the next flush. */
struct block_code *blocks_join(struct cpu *c, struct block_code *const *all,
                               unsigned count);

/* Forget everything (load, stress). */
void blocks_flush(struct cpu *c);

/* At most n instructions in a block; 0: BLOCK_INSNS_MAX. Forgets everything. */
void blocks_limit(struct cpu *c, unsigned n);

#endif
