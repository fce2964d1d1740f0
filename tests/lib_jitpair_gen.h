/* Random code as it is made: the bytes so far, the places that branches may go
 * to, and the branches that are aimed once all is there. Included by the makers
 * of code alone (lib_jitpair_code*.c, lib_jitpair_loops.c); the names are short
 * because those are written in them. */
#ifndef RELIVE_TESTS_LIB_JITPAIR_GEN_H
#define RELIVE_TESTS_LIB_JITPAIR_GEN_H

#include "tests/lib_jitpair.h"

#include "base/bytes.h"

#include <string.h>

enum { JP_STARTS_MAX = 8192 };

struct jp_gen {
    struct jp_scene *s;
    const struct oracle_forms *forms; /* NULL: made without the catalogue */
    struct oracle_random *r;
    uint8_t *code;  /* the code frames */
    unsigned at;    /* next byte */
    unsigned bytes; /* how much of the frames is code */
    uint16_t starts[JP_STARTS_MAX]; /* where branches may go */
    unsigned start_count;
    struct {
        uint16_t site; /* of a displacement */
        uint8_t bytes; /* of it: 1, 2 or 4 */
    } fixups[JP_STARTS_MAX];
    unsigned fixup_count;
};

static inline unsigned below(struct jp_gen *g, unsigned n)
{
    return oracle_below(g->r, n);
}
static inline bool one_in(struct jp_gen *g, unsigned n)
{
    return below(g, n) == 0;
}
static inline void u8(struct jp_gen *g, unsigned v)
{
    g->code[g->at++] = (uint8_t)v;
}
static inline void u16(struct jp_gen *g, unsigned v)
{
    store_le16(g->code + g->at, (uint16_t)v);
    g->at += 2;
}
static inline void u32(struct jp_gen *g, uint64_t v)
{
    store_le32(g->code + g->at, (uint32_t)v);
    g->at += 4;
}
static inline void put(struct jp_gen *g, const void *bytes, size_t n)
{
    memcpy(g->code + g->at, bytes, n);
    g->at += (unsigned)n;
}
#define PUT(g, bytes) put(g, bytes, sizeof(bytes) - 1)

/* Leave room for a branch's displacement of 1, 2 or 4 bytes, aimed later. */
void jp_displacement(struct jp_gen *g, unsigned bytes);

/* Fill 1 to 3 pages with what `one` makes, end them with a JMP that has
 * `last_bytes` of displacement, aim all branches and repeat the pages over the
 * code frames. room: what a call of `one` and the JMP may take. entry: makes
 * what each entry begins with; the offsets of all go to `entries`. */
struct jp_stream {
    unsigned room, last_bytes;
    void (*entry)(struct jp_gen *g);
    void (*one)(struct jp_gen *g);
};
void jp_fill(struct jp_gen *g, const struct jp_stream *stream,
             unsigned entries[JP_ENTRY_COUNT]);

/* ---- instructions from the catalogue of forms */

/* Integer instructions that the JIT has rules for? */
bool jp_is_integer(const struct oracle_form *t);

/* How forms become bytes. favours: is it what the scene is about? make: bytes
 * of this form, decoded; false: none, try another. A length of zero means bytes
 * that are no instruction. */
struct jp_forms {
    enum oracle_mode mode;
    bool (*favours)(struct jp_gen *g, const struct oracle_form *t);
    bool (*make)(struct jp_gen *g, const struct oracle_form *t, uint8_t b[32],
                 ZydisDecodedInstruction *zi, ZydisDecodedOperand *ops);
};
/* One instruction, or nothing after many tries. */
void jp_put_form(struct jp_gen *g, const struct jp_forms *forms);

#endif
