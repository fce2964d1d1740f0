/* Queries over a stored trace: chunks that cannot match stay closed; the rows
 * of one that can are gathered, then handed out in either direction. */
#include "analysis/trace_code.h"
#include "analysis/trace_read.h"
#include "cpu/decode.h"

#include <stdlib.h>
#include <string.h>

struct trace_cursor {
    struct trace *trace; /* borrowed */
    struct trace_query q;
    uint8_t *wanted;   /* owned: by block, an instruction of it is in q.rip */
    uint8_t *branches; /* owned: by block, its last instruction is a branch */
    struct trace_chunk chunk;
    TRACE_LIST(struct trace_row) rows; /* matches in the chunk, ascending */
    size_t at;                         /* how many of them were handed out */
    uint32_t next;   /* chunk to look at; backwards: that + 1 */
    uint32_t loaded; /* chunk in `chunk` */
    uint32_t opened;
    uint64_t given;
    bool failed; /* a list could not grow */
    /* trace_registers(): those of row `reg_row` of chunk `reg_chunk`. */
    struct trace_chunk reg_columns;
    uint32_t reg_chunk, reg_row;
    size_t reg_value;
    uint64_t regs[TRACE_REGISTERS];
};

struct trace_query trace_query_all(enum trace_table table)
{
    return (struct trace_query){.table = table,
                                .to = UINT64_MAX,
                                .rip = {0, UINT64_MAX},
                                .address = {0, UINT64_MAX}};
}

static bool has_rip(const struct trace_query *q)
{
    return q->rip.first > 0 || q->rip.last < UINT64_MAX;
}

static bool has_address(const struct trace_query *q)
{
    return q->address.first > 0 || q->address.last < UINT64_MAX;
}

static bool ends_in_branch(const struct trace_blocks *b, uint32_t number)
{
    const struct trace_block *k = &b->block[number];
    unsigned length = trace_block_lengths(b, number)[k->count - 1];
    struct insn i;
    return decode_insn(trace_block_code(b, number) + k->code_bytes - length,
                       length, (enum cpu_mode)k->mode, &i) == DECODE_OK &&
           i.cls != CLASS_NORMAL;
}

static bool mark_blocks(struct trace_cursor *c)
{
    const struct trace_blocks *b = trace_blocks_of(c->trace);
    c->wanted = calloc(b->count, 1);
    c->branches = calloc(b->count, 1);
    if (!c->wanted || !c->branches)
        return false;
    for (uint32_t n = 1; n < b->count; n++) {
        const struct trace_block *k = &b->block[n];
        struct trace_bounds code = {k->linear, k->linear + k->code_bytes - 1};
        c->wanted[n] = trace_bounds_meet(&code, c->q.rip.first, c->q.rip.last);
        if (c->q.table == TRACE_BRANCHES)
            c->branches[n] = ends_in_branch(b, n);
    }
    return true;
}

struct trace_cursor *trace_select(struct trace *t, const struct trace_query *q,
                                  struct error *err)
{
    static const struct {
        uint8_t what;
        const char *name;
    } needed[] = {[TRACE_INSNS] = {TRACE_FLOW, "insn"},
                  [TRACE_BRANCHES] = {TRACE_FLOW, "branch"},
                  [TRACE_ACCESSES] = {TRACE_MEM, "mem"},
                  [TRACE_DEVICE_ROWS] = {TRACE_IO, "io"},
                  [TRACE_EVENT_ROWS] = {TRACE_EVENTS, "irq"}};
    const struct trace_head *head = trace_head_of(t);
    if (!(head->what & needed[q->table].what)) {
        error_set(err, ERR_USAGE, "trace %s was made without --what %s",
                  head->name, needed[q->table].name);
        return NULL;
    }
    struct trace_cursor *c = calloc(1, sizeof *c);
    if (c) {
        c->trace = t;
        c->q = *q;
        c->next = q->backwards ? head->chunks : 0;
        c->reg_chunk = UINT32_MAX;
    }
    if (c && mark_blocks(c))
        return c;
    error_set(err, ERR_NOMEM, "no memory for a query");
    trace_cursor_free(c);
    return NULL;
}

void trace_cursor_free(struct trace_cursor *c)
{
    if (!c)
        return;
    free(c->wanted);
    free(c->branches);
    free(c->rows.at);
    trace_chunk_fini(&c->chunk);
    trace_chunk_fini(&c->reg_columns);
    free(c);
}

uint32_t trace_chunks_opened(const struct trace_cursor *c)
{
    return c->opened;
}

/* ---- which chunks -----------------------------------------------------------
 */

static bool has_wanted_block(const struct trace_cursor *c,
                             const struct trace_index *x)
{
    for (uint32_t i = 0; i < x->block_count; i++)
        if (x->blocks[i] < trace_blocks_of(c->trace)->count &&
            c->wanted[x->blocks[i]])
            return true;
    return false;
}

static bool can_match(const struct trace_cursor *c, const struct trace_index *x)
{
    const struct trace_query *q = &c->q;
    bool is_flow = q->table <= TRACE_ACCESSES;
    if (q->to == 0 || !trace_bounds_meet(&x->ticks, q->from, q->to - 1))
        return false;
    if (is_flow && has_rip(q) && !has_wanted_block(c, x))
        return false;
    if (q->table == TRACE_ACCESSES)
        return x->accesses &&
               (!has_address(q) ||
                trace_index_has_page(x, q->address.first >> TRACE_PAGE_SHIFT,
                                     q->address.last >> TRACE_PAGE_SHIFT,
                                     q->accesses ? q->accesses
                                                 : TRACE_PAGE_READ |
                                                       TRACE_PAGE_WRITTEN));
    if (q->table == TRACE_DEVICE_ROWS)
        return trace_bounds_meet(&x->ports, q->address.first, q->address.last);
    if (q->table == TRACE_EVENT_ROWS)
        return x->events &&
               (!q->has_vector ||
                (x->vectors[q->vector >> 6] >> (q->vector & 63) & 1));
    return x->rows > 0;
}

/* ---- which rows -------------------------------------------------------------
 */

static bool in_ticks(const struct trace_query *q, uint64_t tick)
{
    return tick >= q->from && tick < q->to;
}

/* A walk over the runs of a chunk: where each begins. */
struct place {
    size_t run, jump, space, entry; /* entry: the next one behind this run */
    uint32_t row;
    uint64_t tick, cr3;
    uint8_t cpl;
};

static void place_start(struct place *p, const struct trace_chunk *c)
{
    *p = (struct place){.tick = c->first_tick};
}

/* What changes with this run. */
static void place_enter(struct place *p, const struct trace_chunk *c)
{
    if (p->jump < c->jumps.count && c->jumps.at[p->jump].run == p->run)
        p->tick = c->jumps.at[p->jump++].tick;
    if (p->space < c->spaces.count && c->spaces.at[p->space].run == p->run) {
        p->cr3 = c->spaces.at[p->space].cr3;
        p->cpl = c->spaces.at[p->space++].cpl;
    }
    while (p->entry < c->entries.count && c->entries.at[p->entry].run <= p->run)
        p->entry++;
}

static void place_leave(struct place *p, const struct trace_chunk *c)
{
    const struct trace_run *r = &c->runs.at[p->run++];
    p->row += r->count;
    p->tick += r->count - (r->flags & TRACE_FAULTED);
}

static struct trace_row row_at(const struct trace_cursor *c,
                               const struct place *p, const struct trace_run *r)
{
    return (struct trace_row){.tick = p->tick,
                              .cr3 = p->cr3,
                              .cpl = p->cpl,
                              .chunk = c->loaded,
                              .block = r->block};
}

/* Where execution went behind the run, or would have gone without what was
 * delivered; 0: not known. */
static uint64_t behind(const struct trace_cursor *c, const struct place *p)
{
    const struct trace_blocks *b = trace_blocks_of(c->trace);
    const struct trace_chunk *k = &c->chunk;
    if (p->run + 1 == k->runs.count)
        return k->next_rip;
    if (p->entry < k->entries.count &&
        k->entries.at[p->entry].run == p->run + 1)
        return k->entries.at[p->entry].rip;
    const struct trace_run *next = &k->runs.at[p->run + 1];
    return trace_block_address(b, next->block, next->first);
}

/* Is the row the taken branch that its run ends in? Sets where it goes. */
static bool is_taken(const struct trace_cursor *c, const struct place *p,
                     struct trace_row *row)
{
    const struct trace_run *r = &c->chunk.runs.at[p->run];
    bool ends = r->first + r->count ==
                    trace_blocks_of(c->trace)->block[r->block].count &&
                row->insn + 1 == r->first + r->count;
    if (!ends || !c->branches[r->block] || (r->flags & TRACE_FAULTED))
        return false;
    row->address = behind(c, p);
    return row->address && row->address != row->rip + row->length;
}

/* The instructions of one run. */
static void gather_run(struct trace_cursor *c, const struct place *p)
{
    const struct trace_blocks *b = trace_blocks_of(c->trace);
    const struct trace_run *r = &c->chunk.runs.at[p->run];
    const uint8_t *lengths = trace_block_lengths(b, r->block);
    uint64_t rip = trace_block_address(b, r->block, r->first);
    struct trace_row row = row_at(c, p, r);
    for (unsigned n = 0; n < r->count; n++, row.tick++) {
        bool is_rest = n == 0 && (r->flags & TRACE_REST);
        row.rip = rip;
        row.row = p->row + n;
        row.insn = (uint16_t)(r->first + n);
        row.length = lengths[r->first + n];
        rip += row.length;
        if (!in_ticks(&c->q, row.tick) || row.rip < c->q.rip.first ||
            row.rip > c->q.rip.last)
            continue;
        if (c->q.table == TRACE_BRANCHES ? is_taken(c, p, &row) : !is_rest)
            TRACE_ADD(c, rows, row);
    }
}

static void gather_insns(struct trace_cursor *c)
{
    struct place p;
    place_start(&p, &c->chunk);
    while (p.run < c->chunk.runs.count) {
        const struct trace_run *r = &c->chunk.runs.at[p.run];
        place_enter(&p, &c->chunk);
        if (c->wanted[r->block] && (!c->q.has_cr3 || c->q.cr3 == p.cr3))
            gather_run(c, &p);
        place_leave(&p, &c->chunk);
    }
}

static bool access_wanted(const struct trace_query *q,
                          const struct trace_access *a)
{
    struct trace_bounds bytes = {a->vaddr, a->vaddr + a->bytes - 1};
    unsigned kind =
        a->flags & TRACE_WRITE ? TRACE_PAGE_WRITTEN : TRACE_PAGE_READ;
    return (!q->accesses || (q->accesses & kind)) &&
           trace_bounds_meet(&bytes, q->address.first, q->address.last) &&
           (!q->has_value || q->value == a->value);
}

static void gather_accesses(struct trace_cursor *c)
{
    const struct trace_blocks *b = trace_blocks_of(c->trace);
    const struct trace_chunk *k = &c->chunk;
    struct place p;
    place_start(&p, k);
    if (k->runs.count)
        place_enter(&p, k);
    for (size_t i = 0; i < k->accesses.count; i++) {
        const struct trace_access *a = &k->accesses.at[i];
        while (p.run < k->runs.count &&
               a->row >= p.row + k->runs.at[p.run].count) {
            place_leave(&p, k);
            place_enter(&p, k);
        }
        if (p.run == k->runs.count || !access_wanted(&c->q, a) ||
            (c->q.has_cr3 && c->q.cr3 != p.cr3))
            continue;
        const struct trace_run *r = &k->runs.at[p.run];
        unsigned n = a->row - p.row;
        struct trace_row row = row_at(c, &p, r);
        row.tick += n + a->after;
        row.row = a->row;
        row.insn = (uint16_t)(r->first + n);
        row.rip = trace_block_address(b, r->block, row.insn);
        row.length = trace_block_lengths(b, r->block)[row.insn];
        row.address = a->vaddr;
        row.value = a->value;
        row.bytes = a->bytes;
        row.flags = a->flags;
        if (in_ticks(&c->q, row.tick) && row.rip >= c->q.rip.first &&
            row.rip <= c->q.rip.last)
            TRACE_ADD(c, rows, row);
    }
}

static void gather_devices(struct trace_cursor *c)
{
    const struct trace_query *q = &c->q;
    for (size_t i = 0; i < c->chunk.devices.count; i++) {
        const struct trace_device *d = &c->chunk.devices.at[i];
        struct trace_bounds bytes = {d->address, d->address + d->bytes - 1};
        unsigned kind =
            d->flags & TRACE_WRITE ? TRACE_PAGE_WRITTEN : TRACE_PAGE_READ;
        if (!in_ticks(q, d->tick) || (q->accesses && !(q->accesses & kind)) ||
            d->rip < q->rip.first || d->rip > q->rip.last ||
            !trace_bounds_meet(&bytes, q->address.first, q->address.last) ||
            (q->has_value && q->value != d->value))
            continue;
        struct trace_row row = {.tick = d->tick,
                                .rip = d->rip,
                                .address = d->address,
                                .value = d->value,
                                .chunk = c->loaded,
                                .bytes = d->bytes,
                                .flags = d->flags};
        TRACE_ADD(c, rows, row);
    }
}

static void gather_events(struct trace_cursor *c)
{
    const struct trace_query *q = &c->q;
    for (size_t i = 0; i < c->chunk.events.count; i++) {
        const struct trace_event *e = &c->chunk.events.at[i];
        if (!in_ticks(q, e->tick) || e->rip < q->rip.first ||
            e->rip > q->rip.last || (q->has_cr3 && e->cr3 != q->cr3) ||
            (q->has_vector && e->vector != q->vector) ||
            (q->has_kind && e->kind != q->kind) ||
            (q->has_value && e->value != q->value))
            continue;
        struct trace_row row = {.tick = e->tick,
                                .rip = e->rip,
                                .cr3 = e->cr3,
                                .value = e->value,
                                .error = e->error,
                                .chunk = c->loaded,
                                .kind = e->kind,
                                .vector = e->vector};
        TRACE_ADD(c, rows, row);
    }
}

/* ---- one after the other ----------------------------------------------------
 */

static unsigned columns_of(const struct trace_query *q)
{
    static const unsigned columns[] = {
        [TRACE_INSNS] = 1u << TRACE_COLUMN_FLOW,
        [TRACE_BRANCHES] = 1u << TRACE_COLUMN_FLOW,
        [TRACE_ACCESSES] = 1u << TRACE_COLUMN_FLOW |
                           1u << TRACE_COLUMN_ACCESSES |
                           1u << TRACE_COLUMN_BYTES,
        [TRACE_DEVICE_ROWS] = 1u << TRACE_COLUMN_DEVICES,
        [TRACE_EVENT_ROWS] = 1u << TRACE_COLUMN_EVENTS};
    return columns[q->table];
}

static bool gather(struct trace_cursor *c, uint32_t chunk, struct error *err)
{
    static void (*const by_table[])(struct trace_cursor *) = {
        gather_insns, gather_insns, gather_accesses, gather_devices,
        gather_events};
    if (!trace_load(c->trace, chunk, columns_of(&c->q), &c->chunk, err))
        return false;
    c->loaded = chunk;
    c->opened++;
    by_table[c->q.table](c);
    return !c->failed || error_set(err, ERR_NOMEM, "no memory for a query");
}

/* The next chunk that has matches. */
static enum trace_found advance(struct trace_cursor *c, struct error *err)
{
    uint32_t chunks = trace_head_of(c->trace)->chunks;
    c->rows.count = c->at = 0;
    while (c->q.backwards ? c->next > 0 : c->next < chunks) {
        uint32_t chunk = c->q.backwards ? --c->next : c->next++;
        const struct trace_index *x = trace_index_of(c->trace, chunk, err);
        if (!x)
            return TRACE_BAD;
        if (!can_match(c, x))
            continue;
        if (!gather(c, chunk, err))
            return TRACE_BAD;
        if (c->rows.count)
            return TRACE_ROW;
    }
    return TRACE_DONE;
}

enum trace_found trace_next(struct trace_cursor *c, struct trace_row *row,
                            struct error *err)
{
    if (c->q.limit && c->given == c->q.limit)
        return TRACE_DONE;
    if (c->at == c->rows.count) {
        enum trace_found found = advance(c, err);
        if (found != TRACE_ROW)
            return found;
    }
    size_t n = c->at++;
    *row = c->rows.at[c->q.backwards ? c->rows.count - 1 - n : n];
    c->given++;
    return TRACE_ROW;
}

bool trace_registers(struct trace_cursor *c, const struct trace_row *row,
                     uint64_t regs[TRACE_REGISTERS], struct error *err)
{
    const unsigned columns =
        1u << TRACE_COLUMN_FLOW | 1u << TRACE_COLUMN_REGISTERS;
    const struct trace_head *head = trace_head_of(c->trace);
    struct trace_chunk *k = &c->reg_columns;
    if (!(head->what & TRACE_REGS))
        return error_set(err, ERR_USAGE,
                         "trace %s was made without --what regs", head->name);
    if (c->reg_chunk != row->chunk) {
        c->reg_chunk = UINT32_MAX;
        if (!trace_load(c->trace, row->chunk, columns, k, err))
            return false;
        c->reg_chunk = row->chunk;
        c->reg_row = UINT32_MAX;
    }
    if (c->reg_row == UINT32_MAX || c->reg_row > row->row) {
        memset(c->regs, 0, sizeof c->regs);
        c->reg_row = 0; /* of the next row to apply */
        c->reg_value = 0;
    }
    for (; c->reg_row <= row->row && c->reg_row < k->masks.count; c->reg_row++)
        for (unsigned r = 0; r < TRACE_REGISTERS; r++)
            if (k->masks.at[c->reg_row] >> r & 1)
                c->regs[r] = k->values.at[c->reg_value++];
    memcpy(regs, c->regs, sizeof c->regs);
    return true;
}

const uint8_t *trace_code(const struct trace *t, const struct trace_row *row)
{
    const struct trace_blocks *b = trace_blocks_of(t);
    const uint8_t *lengths = trace_block_lengths(b, row->block);
    const uint8_t *code = trace_block_code(b, row->block);
    for (unsigned i = 0; i < row->insn; i++)
        code += lengths[i];
    return code;
}
