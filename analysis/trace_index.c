#include "analysis/trace_index.h"

#include <stdlib.h>
#include <string.h>

void trace_index_fini(struct trace_index *x)
{
    free(x->blocks);
    free(x->pages);
    *x = (struct trace_index){0};
}

static const struct trace_bounds nothing = {UINT64_MAX, 0};

static void widen(struct trace_bounds *b, uint64_t first, uint64_t last)
{
    b->first = first < b->first ? first : b->first;
    b->last = last > b->last ? last : b->last;
}

/* ---- making -----------------------------------------------------------------
 */

static int compare32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int compare64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The blocks and the ticks of the flow. */
static bool make_flow(struct trace_index *x, const struct trace_chunk *c,
                      const struct trace_blocks *b)
{
    uint8_t *seen = calloc(b->count, 1);
    size_t jump = 0;
    uint64_t tick = c->first_tick;
    x->blocks = malloc((size_t)b->count * sizeof *x->blocks);
    if (!seen || !x->blocks) {
        free(seen);
        return false;
    }
    for (size_t i = 0; i < c->runs.count; i++) {
        const struct trace_run *r = &c->runs.at[i];
        if (jump < c->jumps.count && c->jumps.at[jump].run == i)
            tick = c->jumps.at[jump++].tick;
        widen(&x->ticks, tick, tick + r->count - 1);
        tick += r->count - (r->flags & TRACE_FAULTED);
        if (seen[r->block])
            continue;
        seen[r->block] = 1;
        x->blocks[x->block_count++] = r->block;
        const struct trace_block *k = &b->block[r->block];
        widen(&x->code, k->linear, k->linear + k->code_bytes - 1);
    }
    free(seen);
    qsort(x->blocks, x->block_count, sizeof *x->blocks, compare32);
    return true;
}

/* A small table of pages on the way: most accesses hit the same few. */
struct pages {
    uint64_t *at; /* owned, open addressing; 0: free */
    uint32_t size, count;
};

static bool pages_grow(struct pages *p)
{
    uint32_t size = p->size ? p->size * 2 : 4096;
    uint64_t *at = calloc(size, sizeof *at);
    if (!at)
        return false;
    for (uint32_t i = 0; i < p->size; i++) {
        if (!p->at[i])
            continue;
        uint32_t k = (uint32_t)((p->at[i] >> 2) * 0x9e3779b1u) & (size - 1);
        while (at[k])
            k = (k + 1) & (size - 1);
        at[k] = p->at[i];
    }
    free(p->at);
    p->at = at;
    p->size = size;
    return true;
}

static bool pages_add(struct pages *p, uint64_t page, unsigned kind)
{
    if (p->count >= p->size / 2 && !pages_grow(p))
        return false;
    uint32_t k = (uint32_t)(page * 0x9e3779b1u) & (p->size - 1);
    while (p->at[k] && p->at[k] >> 2 != page)
        k = (k + 1) & (p->size - 1);
    p->count += p->at[k] == 0;
    p->at[k] = page << 2 | (p->at[k] & 3) | kind;
    return true;
}

static bool make_pages(struct trace_index *x, const struct trace_chunk *c)
{
    struct pages p = {0};
    uint32_t n = 0;
    bool ok = pages_grow(&p);
    for (size_t i = 0; ok && i < c->accesses.count; i++) {
        const struct trace_access *a = &c->accesses.at[i];
        uint64_t last = a->vaddr + a->bytes - 1;
        unsigned kind =
            a->flags & TRACE_WRITE ? TRACE_PAGE_WRITTEN : TRACE_PAGE_READ;
        widen(&x->memory, a->vaddr, last);
        ok = pages_add(&p, a->vaddr >> TRACE_PAGE_SHIFT, kind);
        if (ok && last >> TRACE_PAGE_SHIFT != a->vaddr >> TRACE_PAGE_SHIFT)
            ok = pages_add(&p, last >> TRACE_PAGE_SHIFT, kind);
    }
    for (uint32_t i = 0; ok && i < p.size; i++)
        if (p.at[i])
            p.at[n++] = p.at[i];
    if (ok)
        qsort(p.at, n, sizeof *p.at, compare64);
    x->pages = p.at;
    x->page_count = n;
    return ok;
}

bool trace_index_make(struct trace_index *x, const struct trace_chunk *c,
                      const struct trace_blocks *b)
{
    *x = (struct trace_index){.rows = c->rows,
                              .accesses = (uint32_t)c->accesses.count,
                              .devices = (uint32_t)c->devices.count,
                              .events = (uint32_t)c->events.count,
                              .ticks = nothing,
                              .code = nothing,
                              .memory = nothing,
                              .ports = nothing};
    for (size_t i = 0; i < c->devices.count; i++) {
        const struct trace_device *d = &c->devices.at[i];
        widen(&x->ticks, d->tick, d->tick);
        widen(&x->ports, d->address, d->address + d->bytes - 1);
    }
    for (size_t i = 0; i < c->events.count; i++) {
        const struct trace_event *e = &c->events.at[i];
        widen(&x->ticks, e->tick, e->tick);
        x->vectors[e->vector >> 6] |= UINT64_C(1) << (e->vector & 63);
    }
    return make_flow(x, c, b) && make_pages(x, c);
}

/* ---- as bytes ---------------------------------------------------------------
 */

static void put_bounds(struct writer *w, const struct trace_bounds *b)
{
    writer_u64(w, b->first);
    writer_u64(w, b->last);
}

static struct trace_bounds get_bounds(struct reader *r)
{
    uint64_t first = reader_u64(r);
    return (struct trace_bounds){first, reader_u64(r)};
}

bool trace_index_write(const struct trace_index *x, struct trace_zip *z,
                       struct writer *out)
{
    struct writer w;
    uint64_t before = 0;
    writer_init(&w);
    writer_u32(&w, x->rows);
    writer_u32(&w, x->accesses);
    writer_u32(&w, x->devices);
    writer_u32(&w, x->events);
    put_bounds(&w, &x->ticks);
    put_bounds(&w, &x->code);
    put_bounds(&w, &x->memory);
    put_bounds(&w, &x->ports);
    for (unsigned i = 0; i < 4; i++)
        writer_u64(&w, x->vectors[i]);
    trace_put(&w, x->block_count);
    for (uint32_t i = 0; i < x->block_count; before = x->blocks[i++])
        trace_put(&w, x->blocks[i] - before);
    trace_put(&w, x->page_count);
    before = 0;
    for (uint32_t i = 0; i < x->page_count; before = x->pages[i++])
        trace_put(&w, x->pages[i] - before);
    bool ok = trace_pack(z, out, &w);
    writer_fini(&w);
    return ok;
}

static bool get_blocks(struct trace_index *x, struct reader *r)
{
    uint64_t count = trace_get(r), number = 0;
    if (r->failed || count > r->size - r->at)
        return false;
    x->blocks = malloc((count + 1) * sizeof *x->blocks);
    if (!x->blocks)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        number += trace_get(r);
        if (number > UINT32_MAX)
            return false;
        x->blocks[i] = (uint32_t)number;
    }
    x->block_count = (uint32_t)count;
    return !r->failed;
}

static bool get_pages(struct trace_index *x, struct reader *r)
{
    uint64_t count = trace_get(r), page = 0;
    if (r->failed || count > r->size - r->at)
        return false;
    x->pages = malloc((count + 1) * sizeof *x->pages);
    if (!x->pages)
        return false;
    for (uint64_t i = 0; i < count; i++)
        x->pages[i] = page += trace_get(r);
    x->page_count = (uint32_t)count;
    return !r->failed;
}

bool trace_index_read(struct trace_index *x, struct trace_zip *z,
                      const void *bytes, size_t count)
{
    struct reader value, r;
    struct writer w;
    *x = (struct trace_index){0};
    writer_init(&w);
    reader_init(&value, bytes, count);
    bool ok = trace_unpack(z, &value, &w) && value.at == value.size;
    reader_init(&r, w.data, ok ? w.used : 0);
    x->rows = reader_u32(&r);
    x->accesses = reader_u32(&r);
    x->devices = reader_u32(&r);
    x->events = reader_u32(&r);
    x->ticks = get_bounds(&r);
    x->code = get_bounds(&r);
    x->memory = get_bounds(&r);
    x->ports = get_bounds(&r);
    for (unsigned i = 0; i < 4; i++)
        x->vectors[i] = reader_u64(&r);
    ok = ok && !r.failed && get_blocks(x, &r) && get_pages(x, &r) &&
         r.at == r.size;
    writer_fini(&w);
    if (!ok)
        trace_index_fini(x);
    return ok;
}

/* ---- asking -----------------------------------------------------------------
 */

bool trace_index_has_block(const struct trace_index *x, uint32_t number)
{
    return x->block_count && bsearch(&number, x->blocks, x->block_count,
                                     sizeof number, compare32) != NULL;
}

bool trace_index_has_page(const struct trace_index *x, uint64_t first,
                          uint64_t last, unsigned kinds)
{
    uint32_t low = 0, high = x->page_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (x->pages[middle] >> 2 < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < x->page_count && x->pages[low] >> 2 <= last; low++)
        if (x->pages[low] & kinds)
            return true;
    return false;
}
