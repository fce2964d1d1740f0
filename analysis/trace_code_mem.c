/* Accesses and their bytes. An access belongs to a site, the instruction that
 * makes it, and is compared with what that site did last.
 *
 * Streams of accesses: how many a row makes, where the guess (as many as last
 * time) is wrong; one byte for each access that says how it was guessed; what
 * could not be. Streams of bytes: the same two. */
#include "analysis/trace_code_internal.h"

#include <string.h>

/* ---- rows with their accesses, in order -------------------------------------
 */

/* Walks the rows of a chunk. */
struct walk {
    const struct trace_chunk *c;
    const struct trace_coder *t;
    size_t run;
    unsigned insn; /* of the run */
    uint32_t base; /* the site of instruction 0 of the run's block */
};

static bool walk_next(struct walk *w, uint32_t *site)
{
    const struct trace_run *r;
    if (w->run == w->c->runs.count)
        return false;
    r = &w->c->runs.at[w->run];
    if (w->insn == 0)
        w->base = w->t->bases.at[w->t->local_of[r->block]] + r->first;
    *site = w->base + w->insn;
    if (++w->insn == r->count) {
        w->insn = 0;
        w->run++;
    }
    return true;
}

/* Accesses behind the last row (an event was delivered at the chunk's end)
 * count as a site of their own, number 0 of no block. */
static uint32_t last_site(struct trace_coder *t)
{
    TRACE_ADD(t, sites, (struct code_site){0});
    return (uint32_t)t->sites.count - 1;
}

/* ---- where ------------------------------------------------------------------
 */

enum { COUNTS, HOW, REST };

/* How an access was guessed: one of these, and flags. */
enum {
    ADDRESS_STRIDE, /* as far from the last one as that was from its last */
    ADDRESS_SAME,
    ADDRESS_GAP,   /* as far from the access before as last time */
    ADDRESS_BYTES, /* and up: so many bytes of distance from the last one */
    ADDRESS_MASK = 15,
    NEW_SHAPE = 16, /* bytes and flags follow */
    NEW_AFTER = 32  /* ticks behind the access before follow */
};

/* What was before an access: in its row, and at all. */
struct context {
    uint64_t vaddr;
    uint32_t after;
};

static void learn_access(struct code_slot *s, const struct trace_access *a,
                         struct context *before)
{
    s->stride = a->vaddr - s->vaddr;
    s->gap = a->vaddr - before->vaddr;
    s->vaddr = a->vaddr;
    s->after = a->after - before->after;
    s->bytes = a->bytes;
    s->flags = a->flags;
    before->vaddr = a->vaddr;
    before->after = a->after;
}

static void put_access(struct trace_coder *t, struct code_slot *s,
                       const struct trace_access *a, struct context *before)
{
    struct writer *rest = &t->stream[REST];
    uint64_t distance = trace_zigzag(a->vaddr - s->vaddr);
    unsigned how;
    if (a->vaddr == s->vaddr + s->stride)
        how = ADDRESS_STRIDE;
    else if (a->vaddr == s->vaddr)
        how = ADDRESS_SAME;
    else if (a->vaddr == before->vaddr + s->gap)
        how = ADDRESS_GAP;
    else
        how = ADDRESS_BYTES + trace_width(distance);
    bool shape = a->bytes != s->bytes || a->flags != s->flags;
    bool after = a->after - before->after != s->after;
    writer_u8(&t->stream[HOW], (uint8_t)(how | (shape ? NEW_SHAPE : 0) |
                                         (after ? NEW_AFTER : 0)));
    if (how > ADDRESS_BYTES)
        trace_put_bytes(rest, distance, how - ADDRESS_BYTES);
    if (shape)
        writer_u8(rest, (uint8_t)(a->bytes << 4 | a->flags));
    if (after)
        trace_put(rest, trace_zigzag((int64_t)a->after - before->after));
    learn_access(s, a, before);
}

static bool get_access(struct trace_coder *t, struct code_slot *s,
                       struct trace_access *a, struct context *before)
{
    struct reader *rest = &t->in[REST];
    unsigned how = reader_u8(&t->in[HOW]), kind = how & ADDRESS_MASK;
    if (kind > ADDRESS_BYTES + 8 ||
        how > (ADDRESS_MASK | NEW_SHAPE | NEW_AFTER))
        return false;
    if (kind == ADDRESS_STRIDE)
        a->vaddr = s->vaddr + s->stride;
    else if (kind == ADDRESS_SAME)
        a->vaddr = s->vaddr;
    else if (kind == ADDRESS_GAP)
        a->vaddr = before->vaddr + s->gap;
    else
        a->vaddr = s->vaddr +
                   trace_unzigzag(trace_get_bytes(rest, kind - ADDRESS_BYTES));
    a->bytes = s->bytes;
    a->flags = s->flags;
    a->after = before->after + s->after;
    if (how & NEW_SHAPE) {
        uint8_t shape = reader_u8(rest);
        a->bytes = shape >> 4;
        a->flags = shape & 15;
    }
    if (how & NEW_AFTER)
        a->after = before->after + (uint32_t)trace_unzigzag(trace_get(rest));
    if (a->bytes < 1 || a->bytes > 8 || t->in[HOW].failed || rest->failed)
        return false;
    learn_access(s, a, before);
    return true;
}

bool code_accesses_out(struct trace_coder *t, const struct trace_chunk *c,
                       const struct trace_blocks *b)
{
    struct walk w = {.c = c, .t = t};
    struct context before = {0, 0};
    uint64_t right = 0;
    size_t n = 0;
    uint32_t site, row = 0;
    if (!code_make_sites(t, c, b))
        return false;
    uint32_t last = last_site(t);
    for (bool more = true; more && !t->failed; row++) {
        more = walk_next(&w, &site);
        if (!more)
            site = last;
        size_t first = n;
        before.after = 0;
        for (; n < c->accesses.count && c->accesses.at[n].row == row; n++)
            put_access(t, code_slot(t, site, (unsigned)(n - first)),
                       &c->accesses.at[n], &before);
        struct code_site *s = &t->sites.at[site];
        if (s->accesses == n - first) {
            right++;
            continue;
        }
        s->accesses = (uint32_t)(n - first);
        trace_put(&t->stream[COUNTS], right);
        trace_put(&t->stream[COUNTS], s->accesses);
        right = 0;
    }
    trace_put(&t->stream[COUNTS], right);
    return n == c->accesses.count;
}

/* How many accesses the next row makes. */
struct counts {
    uint64_t right; /* guesses before the next wrong one */
};

static bool next_count(struct trace_coder *t, struct counts *k,
                       struct code_site *s)
{
    struct reader *in = &t->in[COUNTS];
    if (k->right) {
        k->right--;
        return true;
    }
    uint64_t count = trace_get(in);
    if (count == s->accesses || count > CODE_ACCESSES_MAX)
        return false;
    s->accesses = (uint32_t)count;
    k->right = trace_get(in);
    return !in->failed;
}

bool code_accesses_in(struct trace_coder *t, const struct trace_blocks *b,
                      struct trace_chunk *c)
{
    struct walk w = {.c = c, .t = t};
    struct context before = {0, 0};
    uint32_t site, row = 0;
    if (!code_make_sites(t, c, b))
        return false;
    uint32_t last = last_site(t);
    struct counts k = {.right = trace_get(&t->in[COUNTS])};
    for (bool more = true; more && !t->failed && !c->failed; row++) {
        more = walk_next(&w, &site);
        if (!more)
            site = last;
        if (!next_count(t, &k, &t->sites.at[site]))
            return false;
        uint32_t count = t->sites.at[site].accesses;
        before.after = 0;
        if (count > CODE_ACCESSES_MAX - c->accesses.count)
            return false;
        for (uint32_t n = 0; n < count; n++) {
            struct trace_access a = {.row = row};
            if (!get_access(t, code_slot(t, site, n), &a, &before))
                return false;
            TRACE_ADD(c, accesses, a);
        }
    }
    return k.right == 0;
}

/* ---- what -------------------------------------------------------------------
 */

enum { VALUE_HOW, VALUE_REST };

enum {
    VALUE_KNOWN,  /* what was seen there last */
    VALUE_STEP,   /* as far from the last one as that was from its last */
    VALUE_SAME,   /* as last time */
    VALUE_BEFORE, /* of the access before: a copy */
    VALUE_BYTES   /* and up: so many bytes */
};

static uint64_t low(uint64_t v, unsigned bytes)
{
    return bytes < 8 ? v & ((UINT64_C(1) << 8 * bytes) - 1) : v;
}

static struct code_known *known(struct trace_coder *t, uint64_t vaddr)
{
    return &t->known[(vaddr ^ vaddr >> 13) & (CODE_KNOWN - 1)];
}

static bool is_known(const struct code_known *k, const struct trace_access *a)
{
    return k->vaddr == a->vaddr && k->bytes >= a->bytes;
}

static void learn_value(struct trace_coder *t, struct code_slot *s,
                        const struct trace_access *a, uint64_t *before)
{
    struct code_known *k = known(t, a->vaddr);
    if (!is_known(k, a) || low(k->value, a->bytes) != a->value)
        *k = (struct code_known){a->vaddr, a->value, a->bytes};
    s->step = a->value - s->value;
    s->value = a->value;
    *before = a->value;
}

static void put_value(struct trace_coder *t, const struct code_slot *s,
                      const struct trace_access *a, uint64_t before)
{
    const struct code_known *k = known(t, a->vaddr);
    unsigned how;
    if (is_known(k, a) && low(k->value, a->bytes) == a->value)
        how = VALUE_KNOWN;
    else if (low(s->value + s->step, a->bytes) == a->value)
        how = VALUE_STEP;
    else if (low(s->value, a->bytes) == a->value)
        how = VALUE_SAME;
    else if (low(before, a->bytes) == a->value)
        how = VALUE_BEFORE;
    else
        how = VALUE_BYTES + trace_width(a->value);
    writer_u8(&t->stream[VALUE_HOW], (uint8_t)how);
    if (how > VALUE_BYTES)
        trace_put_bytes(&t->stream[VALUE_REST], a->value, how - VALUE_BYTES);
}

static bool get_value(struct trace_coder *t, const struct code_slot *s,
                      struct trace_access *a, uint64_t before)
{
    const struct code_known *k = known(t, a->vaddr);
    unsigned how = reader_u8(&t->in[VALUE_HOW]);
    if (how > VALUE_BYTES + 8u || t->in[VALUE_HOW].failed)
        return false;
    if (how == VALUE_KNOWN)
        a->value = low(k->value, a->bytes);
    else if (how == VALUE_STEP)
        a->value = low(s->value + s->step, a->bytes);
    else if (how == VALUE_SAME)
        a->value = low(s->value, a->bytes);
    else if (how == VALUE_BEFORE)
        a->value = low(before, a->bytes);
    else
        a->value = low(trace_get_bytes(&t->in[VALUE_REST], how - VALUE_BYTES),
                       a->bytes);
    return true;
}

/* Both directions: the slots follow the accesses, which are there already. */
static bool code_values(struct trace_coder *t, const struct trace_chunk *c,
                        const struct trace_blocks *b, bool is_out)
{
    uint64_t before = 0;
    size_t run = 0;
    uint32_t first = 0, row = UINT32_MAX; /* of the run; of the access before */
    unsigned nth = 0;
    if (!code_make_sites(t, c, b))
        return false;
    memset(t->known, 0, CODE_KNOWN * sizeof *t->known);
    uint32_t site = last_site(t), last = site;
    for (size_t n = 0; n < c->accesses.count && !t->failed; n++) {
        struct trace_access *a = &c->accesses.at[n];
        nth = a->row == row ? nth + 1 : 0;
        row = a->row;
        while (run < c->runs.count && row >= first + c->runs.at[run].count)
            first += c->runs.at[run++].count;
        site = last;
        if (run < c->runs.count) {
            const struct trace_run *r = &c->runs.at[run];
            site = t->bases.at[t->local_of[r->block]] + r->first + row - first;
        }
        struct code_slot *s = code_slot(t, site, nth);
        if (is_out)
            put_value(t, s, a, before);
        else if (!get_value(t, s, a, before))
            return false;
        learn_value(t, s, a, &before);
    }
    return true;
}

bool code_bytes_out(struct trace_coder *t, const struct trace_chunk *c,
                    const struct trace_blocks *b)
{
    return code_values(t, c, b, true);
}

bool code_bytes_in(struct trace_coder *t, const struct trace_blocks *b,
                   struct trace_chunk *c)
{
    return code_values(t, c, b, false);
}
