/* The flow column: which block follows. Streams: counts and the first tick;
 * the chunk's blocks; symbols; irregular runs; jumps and entries; spaces. */
#include "analysis/trace_code_internal.h"

#include <string.h>

enum { COUNTS, BLOCKS, SYMBOLS, ODD_RUNS, JUMPS, SPACES };

/* A symbol follows a number of runs that were predicted right. */
enum {
    SYMBOL_END,   /* behind the last run */
    SYMBOL_ODD,   /* not a whole block: ODD_RUNS has it */
    SYMBOL_OTHER, /* the second guess */
    SYMBOL_BLOCK  /* and up: a local number */
};
#define NO_BLOCK UINT32_MAX

static struct code_followers *followers(struct trace_coder *t,
                                        const uint32_t before[2])
{
    uint32_t h = before[0] * 0x9e3779b1u ^ before[1] * 0x85ebca6bu;
    return &t->followers[(h ^ h >> 15) & (CODE_FOLLOWERS - 1)];
}

static void learn(struct code_followers *f, uint32_t local)
{
    if (f->likely == local)
        return;
    f->other = f->likely;
    f->likely = local;
}

static void step(uint32_t before[2], uint32_t local)
{
    before[1] = before[0];
    before[0] = local;
}

static void forget(struct trace_coder *t)
{
    memset(t->followers, 0xff, CODE_FOLLOWERS * sizeof *t->followers);
}

static bool is_whole(const struct trace_run *r, const struct trace_blocks *b)
{
    return r->first == 0 && r->flags == 0 &&
           r->count == b->block[r->block].count;
}

static void put_odd(struct writer *w, const struct trace_run *r, uint32_t local)
{
    trace_put(w, local);
    trace_put(w, r->first);
    trace_put(w, r->count);
    trace_put(w, r->flags);
}

static void put_runs(struct trace_coder *t, const struct trace_chunk *c,
                     const struct trace_blocks *b)
{
    uint32_t before[2] = {NO_BLOCK, NO_BLOCK};
    uint64_t right = 0;
    for (size_t i = 0; i < c->runs.count; i++) {
        const struct trace_run *r = &c->runs.at[i];
        uint32_t local = code_local(t, r->block);
        struct code_followers *f = followers(t, before);
        bool whole = is_whole(r, b);
        step(before, local);
        if (whole && f->likely == local) {
            right++;
            continue;
        }
        trace_put(&t->stream[SYMBOLS], right);
        trace_put(&t->stream[SYMBOLS], !whole ? SYMBOL_ODD
                                       : f->other == local
                                           ? SYMBOL_OTHER
                                           : SYMBOL_BLOCK + local);
        if (!whole)
            put_odd(&t->stream[ODD_RUNS], r, local);
        right = 0;
        learn(f, local);
    }
    trace_put(&t->stream[SYMBOLS], right);
    trace_put(&t->stream[SYMBOLS], SYMBOL_END);
}

static void put_changes(struct trace_coder *t, const struct trace_chunk *c)
{
    uint32_t run = 0;
    uint64_t tick = c->first_tick, cr3 = 0;
    for (size_t i = 0; i < c->jumps.count; i++) {
        const struct trace_jump *j = &c->jumps.at[i];
        trace_put(&t->stream[JUMPS], j->run - run);
        trace_put(&t->stream[JUMPS], j->tick - tick);
        run = j->run;
        tick = j->tick;
    }
    run = 0;
    uint64_t rip = 0;
    for (size_t i = 0; i < c->entries.count; i++) {
        const struct trace_entry *e = &c->entries.at[i];
        trace_put(&t->stream[JUMPS], e->run - run);
        trace_put(&t->stream[JUMPS], trace_zigzag(e->rip - rip));
        run = e->run;
        rip = e->rip;
    }
    run = 0;
    for (size_t i = 0; i < c->spaces.count; i++) {
        const struct trace_space *s = &c->spaces.at[i];
        trace_put(&t->stream[SPACES], s->run - run);
        trace_put(&t->stream[SPACES], s->cpl);
        trace_put(&t->stream[SPACES], trace_zigzag(s->cr3 - cr3));
        run = s->run;
        cr3 = s->cr3;
    }
}

bool code_flow_out(struct trace_coder *t, const struct trace_chunk *c,
                   const struct trace_blocks *b)
{
    uint32_t before = 0;
    if (!code_begin(t, b))
        return false;
    forget(t);
    put_runs(t, c, b);
    put_changes(t, c);
    for (size_t i = 0; i < t->locals.count; i++) {
        trace_put(&t->stream[BLOCKS],
                  trace_zigzag((uint64_t)t->locals.at[i] - before));
        before = t->locals.at[i];
    }
    trace_put(&t->stream[COUNTS], c->first_tick);
    trace_put(&t->stream[COUNTS], c->next_rip);
    trace_put(&t->stream[COUNTS], c->rows);
    trace_put(&t->stream[COUNTS], c->runs.count);
    trace_put(&t->stream[COUNTS], t->locals.count);
    trace_put(&t->stream[COUNTS], c->jumps.count);
    trace_put(&t->stream[COUNTS], c->entries.count);
    trace_put(&t->stream[COUNTS], c->spaces.count);
    return true;
}

/* ---- and back ---------------------------------------------------------------
 */

static bool get_blocks(struct trace_coder *t, const struct trace_blocks *b,
                       uint64_t count)
{
    uint64_t number = 0;
    if (!code_begin(t, b) || count > b->count)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        number += trace_unzigzag(trace_get(&t->in[BLOCKS]));
        if (number == 0 || number >= b->count ||
            code_local(t, (uint32_t)number) != i)
            return false;
    }
    return !t->failed;
}

static bool get_odd(struct trace_coder *t, const struct trace_blocks *b,
                    struct trace_run *r, uint32_t *local)
{
    struct reader *in = &t->in[ODD_RUNS];
    uint64_t number = trace_get(in), first = trace_get(in);
    uint64_t count = trace_get(in), flags = trace_get(in);
    if (number >= t->locals.count || flags > (TRACE_FAULTED | TRACE_REST))
        return false;
    *local = (uint32_t)number;
    r->block = t->locals.at[number];
    if (count == 0 || first + count > b->block[r->block].count ||
        first >= b->block[r->block].count)
        return false;
    r->first = (uint16_t)first;
    r->count = (uint16_t)count;
    r->flags = (uint8_t)flags;
    return true;
}

static void add_run(struct trace_chunk *c, struct trace_run r)
{
    c->rows += r.count;
    TRACE_ADD(c, runs, r);
}

static struct trace_run whole_run(const struct trace_coder *t,
                                  const struct trace_blocks *b, uint32_t local)
{
    uint32_t number = t->locals.at[local];
    return (struct trace_run){number, 0, b->block[number].count, 0};
}

/* The runs that were predicted right, then the one that was not. */
static bool get_symbol(struct trace_coder *t, const struct trace_blocks *b,
                       struct trace_chunk *c, uint32_t before[2], uint64_t most,
                       bool *is_end)
{
    uint64_t right = trace_get(&t->in[SYMBOLS]);
    uint64_t symbol = trace_get(&t->in[SYMBOLS]);
    struct trace_run r;
    uint32_t local;
    if (t->in[SYMBOLS].failed || right > most - c->runs.count)
        return false;
    for (; right; right--) {
        local = followers(t, before)->likely;
        if (local >= t->locals.count || c->rows > CODE_ROWS_MAX)
            return false;
        add_run(c, whole_run(t, b, local));
        step(before, local);
    }
    *is_end = symbol == SYMBOL_END;
    if (*is_end)
        return c->runs.count == most;
    if (c->runs.count == most)
        return false;
    struct code_followers *f = followers(t, before);
    if (symbol == SYMBOL_ODD) {
        if (!get_odd(t, b, &r, &local))
            return false;
    } else {
        if (symbol != SYMBOL_OTHER && symbol - SYMBOL_BLOCK >= t->locals.count)
            return false;
        local = symbol == SYMBOL_OTHER ? f->other
                                       : (uint32_t)(symbol - SYMBOL_BLOCK);
        if (local >= t->locals.count)
            return false;
        r = whole_run(t, b, local);
    }
    add_run(c, r);
    learn(f, local);
    step(before, local);
    return c->rows <= CODE_ROWS_MAX && !c->failed;
}

static bool get_jumps(struct trace_coder *t, struct trace_chunk *c,
                      uint64_t count)
{
    struct trace_jump j = {0, c->first_tick};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t by = trace_get(&t->in[JUMPS]);
        j.tick += trace_get(&t->in[JUMPS]);
        if (t->in[JUMPS].failed || (i && by == 0) ||
            by >= c->runs.count - j.run)
            return false;
        j.run += (uint32_t)by;
        TRACE_ADD(c, jumps, j);
    }
    return true;
}

static bool get_entries(struct trace_coder *t, struct trace_chunk *c,
                        uint64_t count)
{
    struct trace_entry e = {0, 0};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t by = trace_get(&t->in[JUMPS]);
        e.rip += trace_unzigzag(trace_get(&t->in[JUMPS]));
        if (t->in[JUMPS].failed || (i && by == 0) ||
            by >= c->runs.count - e.run)
            return false;
        e.run += (uint32_t)by;
        TRACE_ADD(c, entries, e);
    }
    return true;
}

static bool get_spaces(struct trace_coder *t, struct trace_chunk *c,
                       uint64_t count)
{
    struct trace_space s = {0, 0, 0};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t by = trace_get(&t->in[SPACES]);
        s.cpl = (uint8_t)trace_get(&t->in[SPACES]);
        s.cr3 += trace_unzigzag(trace_get(&t->in[SPACES]));
        if (t->in[SPACES].failed || s.cpl > 3 || (i && by == 0) ||
            by >= c->runs.count - s.run)
            return false;
        s.run += (uint32_t)by;
        TRACE_ADD(c, spaces, s);
    }
    return true;
}

bool code_flow_in(struct trace_coder *t, const struct trace_blocks *b,
                  struct trace_chunk *c)
{
    struct reader *in = &t->in[COUNTS];
    uint32_t before[2] = {NO_BLOCK, NO_BLOCK};
    bool is_end = false;
    c->first_tick = trace_get(in);
    c->next_rip = trace_get(in);
    uint64_t rows = trace_get(in), runs = trace_get(in), locals = trace_get(in);
    uint64_t jumps = trace_get(in), entries = trace_get(in);
    uint64_t spaces = trace_get(in);
    if (in->failed || runs > CODE_RUNS_MAX || !get_blocks(t, b, locals))
        return false;
    forget(t);
    while (!is_end)
        if (!get_symbol(t, b, c, before, runs, &is_end))
            return false;
    return c->rows == rows && get_jumps(t, c, jumps) &&
           get_entries(t, c, entries) && get_spaces(t, c, spaces);
}
