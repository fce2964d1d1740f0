/* Shared by trace_code*.c. */
#ifndef RELIVE_ANALYSIS_TRACE_CODE_INTERNAL_H
#define RELIVE_ANALYSIS_TRACE_CODE_INTERNAL_H

#include "analysis/trace_code.h"
#include "analysis/trace_stream.h"

enum {
    CODE_STREAMS = 6,
    CODE_FOLLOWERS = 1 << 16,
    CODE_KNOWN = 1 << 14,
    CODE_RUNS_MAX = 1 << 22,
    CODE_ROWS_MAX = 1 << 24,
    CODE_ACCESSES_MAX = 1 << 23
};

/* Two guesses of the run that follows two others, by block. */
struct code_followers {
    uint32_t likely, other;
};

/* What one access of one instruction did last. */
struct code_slot {
    uint64_t vaddr, stride;
    uint64_t gap; /* distance from the access before it */
    uint64_t value, step;
    uint32_t after; /* ticks behind the access before it in the row */
    uint8_t bytes, flags;
};
/* An instruction of a block of this chunk. */
struct code_site {
    uint32_t slots;    /* CODE_SLOTS of them; 0: none yet */
    uint32_t accesses; /* last time */
    uint32_t mask;     /* of registers, last time */
};
enum { CODE_SLOTS = 4 };

/* What memory holds, as far as it was seen. */
struct code_known {
    uint64_t vaddr, value;
    uint8_t bytes; /* 0: nothing known */
};

struct trace_coder {
    struct trace_zip *zip; /* owned */
    struct writer stream[CODE_STREAMS];
    struct reader in[CODE_STREAMS];
    /* The chunk's blocks, in order of appearance. */
    uint32_t *local_of; /* owned: by number; valid when the stamp is right */
    uint32_t *stamp_of; /* owned */
    uint32_t numbers;   /* capacity of both */
    uint32_t stamp;
    TRACE_LIST(uint32_t) locals;      /* numbers */
    TRACE_LIST(uint32_t) bases;       /* the first site of each */
    struct code_followers *followers; /* owned */
    struct code_known *known;         /* owned */
    TRACE_LIST(struct code_site) sites;
    TRACE_LIST(struct code_slot) slots;
    bool failed; /* a list could not grow */
};

/* Forget all blocks; false: out of memory. */
bool code_begin(struct trace_coder *t, const struct trace_blocks *b);
/* The local number of a block, entered if need be. */
uint32_t code_local(struct trace_coder *t, uint32_t number);
/* After the flow is known: sites for all instructions of the chunk's blocks. */
bool code_make_sites(struct trace_coder *t, const struct trace_chunk *c,
                     const struct trace_blocks *b);
/* The slot of a site's access number n. */
struct code_slot *code_slot(struct trace_coder *t, uint32_t site, unsigned n);

/* Compress `count` streams into out; unpack as many and let in[] read them. */
bool code_pack(struct trace_coder *t, unsigned count, struct writer *out);
bool code_unpack(struct trace_coder *t, unsigned count, const void *bytes,
                 size_t size);
/* All streams were read to their ends, and none past it. */
bool code_done(const struct trace_coder *t, unsigned count);

/* One column each. */
bool code_flow_out(struct trace_coder *t, const struct trace_chunk *c,
                   const struct trace_blocks *b);
bool code_flow_in(struct trace_coder *t, const struct trace_blocks *b,
                  struct trace_chunk *c);
bool code_accesses_out(struct trace_coder *t, const struct trace_chunk *c,
                       const struct trace_blocks *b);
bool code_accesses_in(struct trace_coder *t, const struct trace_blocks *b,
                      struct trace_chunk *c);
bool code_bytes_out(struct trace_coder *t, const struct trace_chunk *c,
                    const struct trace_blocks *b);
bool code_bytes_in(struct trace_coder *t, const struct trace_blocks *b,
                   struct trace_chunk *c);
bool code_registers_out(struct trace_coder *t, const struct trace_chunk *c,
                        const struct trace_blocks *b);
bool code_registers_in(struct trace_coder *t, const struct trace_blocks *b,
                       struct trace_chunk *c);
bool code_devices_out(struct trace_coder *t, const struct trace_chunk *c);
bool code_devices_in(struct trace_coder *t, struct trace_chunk *c);
bool code_events_out(struct trace_coder *t, const struct trace_chunk *c);
bool code_events_in(struct trace_coder *t, struct trace_chunk *c);

#endif
