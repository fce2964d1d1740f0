/* The columns of stored traces: what is encoded comes back, and bytes that no
 * encoder made are refused or decoded, within bounds, without harm. */
#include "lib_fuzz.h"

#include "analysis/trace_code.h"
#include "analysis/trace_index.h"
#include "analysis/trace_stream.h"
#include "replay/trace_record.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 5, RUNS_MAX = 200 };

static const enum trace_column columns[] = {
    TRACE_COLUMN_FLOW,      TRACE_COLUMN_ACCESSES, TRACE_COLUMN_BYTES,
    TRACE_COLUMN_REGISTERS, TRACE_COLUMN_DEVICES,  TRACE_COLUMN_EVENTS};
static const uint8_t streams[] = {6, 3, 2, 3, 1, 1};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void make_blocks(struct trace_blocks *b)
{
    static const uint8_t lengths[] = {1, 2, 3, 5, 1, 7, 2, 15};
    uint8_t code[64] = {0x90};
    if (!trace_blocks_init(b))
        abort();
    for (unsigned n = 0; n < BLOCKS; n++)
        if (!trace_blocks_find(b, 0x1000 * n + (n == 3 ? UINT64_MAX << 40 : 0),
                               n % 3, lengths, n + 1, code))
            abort();
}

/* ---- there and back
 * ----------------------------------------------------------
 */

static void add_run(struct fuzz *f, const struct trace_blocks *b,
                    struct trace_chunk *c, uint64_t *tick)
{
    uint8_t how = fuzz_u8(f);
    uint32_t block = 1 + how % BLOCKS, run = (uint32_t)c->runs.count;
    struct trace_run r = {block, 0, b->block[block].count, 0};
    if (how & 0x80) {
        r.first = fuzz_u8(f) % r.count;
        r.count = (uint16_t)(1 + fuzz_u8(f) % (r.count - r.first));
        r.flags = fuzz_u8(f) & 3;
    }
    if (how & 0x40 && run) {
        *tick += fuzz_u16(f);
        TRACE_ADD(c, jumps, (struct trace_jump){run, *tick});
        TRACE_ADD(c, entries, (struct trace_entry){run, fuzz_u64(f)});
    }
    if (how & 0x20 || run == 0)
        TRACE_ADD(c, spaces,
                  (struct trace_space){run, fuzz_u8(f) & 3, fuzz_u32(f)});
    TRACE_ADD(c, runs, r);
    for (unsigned n = 0; n < r.count; n++, c->rows++) {
        uint8_t accesses = fuzz_u8(f), mask = fuzz_u8(f);
        for (unsigned k = 0; k < accesses % 4u; k++) {
            struct trace_access a = {.vaddr = fuzz_u16(f) * 3u,
                                     .row = c->rows,
                                     .after = k * (accesses >> 6),
                                     .bytes = (uint8_t)(1 + accesses % 8),
                                     .flags = accesses >> 4 & 7};
            a.value = fuzz_u32(f);
            if (a.bytes < 8)
                a.value &= (UINT64_C(1) << 8 * a.bytes) - 1;
            TRACE_ADD(c, accesses, a);
        }
        TRACE_ADD(c, masks, mask);
        for (unsigned bit = 0; bit < 8; bit++)
            if (mask >> bit & 1)
                TRACE_ADD(c, values, fuzz_u32(f));
    }
    *tick += r.count - (r.flags & TRACE_FAULTED);
}

static void make_chunk(struct fuzz *f, const struct trace_blocks *b,
                       struct trace_chunk *c)
{
    uint64_t tick = c->first_tick = fuzz_u32(f);
    c->next_rip = fuzz_u32(f);
    for (unsigned n = 0; n < RUNS_MAX && fuzz_more(f); n++)
        add_run(f, b, c, &tick);
    for (unsigned n = fuzz_u8(f) % 4; n > 0; n--) {
        TRACE_ADD(c, devices,
                  (struct trace_device){tick, fuzz_u64(f), fuzz_u16(f),
                                        fuzz_u32(f), 4, fuzz_u8(f) & 15});
        TRACE_ADD(c, events,
                  (struct trace_event){tick, fuzz_u64(f), fuzz_u32(f),
                                       fuzz_u64(f), fuzz_u32(f), fuzz_u8(f) % 5,
                                       fuzz_u8(f)});
    }
}

#define SAME(list)                                                             \
    same(a->list.at, a->list.count, b->list.at, b->list.count,                 \
         sizeof *a->list.at, #list)
static void same(const void *a, size_t a_count, const void *b, size_t b_count,
                 size_t size, const char *what)
{
    if (a_count != b_count || (a_count && memcmp(a, b, a_count * size) != 0))
        fuzz_fail("%s came back changed: %zu, then %zu", what, a_count,
                  b_count);
}

static void same_chunk(const struct trace_chunk *a, const struct trace_chunk *b)
{
    if (a->first_tick != b->first_tick || a->rows != b->rows ||
        a->next_rip != b->next_rip)
        fuzz_fail("the chunk came back changed");
    SAME(masks);
    SAME(values);
    for (size_t i = 0; i < a->runs.count && i < b->runs.count; i++)
        if (a->runs.at[i].block != b->runs.at[i].block ||
            a->runs.at[i].first != b->runs.at[i].first ||
            a->runs.at[i].count != b->runs.at[i].count ||
            a->runs.at[i].flags != b->runs.at[i].flags)
            fuzz_fail("run %zu came back changed", i);
    for (size_t i = 0; i < a->accesses.count && i < b->accesses.count; i++) {
        const struct trace_access *x = &a->accesses.at[i];
        const struct trace_access *y = &b->accesses.at[i];
        if (x->vaddr != y->vaddr || x->value != y->value || x->row != y->row ||
            x->after != y->after || x->bytes != y->bytes ||
            x->flags != y->flags)
            fuzz_fail("access %zu came back changed", i);
    }
    if (a->runs.count != b->runs.count ||
        a->accesses.count != b->accesses.count ||
        a->jumps.count != b->jumps.count ||
        a->spaces.count != b->spaces.count ||
        a->entries.count != b->entries.count ||
        a->devices.count != b->devices.count ||
        a->events.count != b->events.count)
        fuzz_fail("the chunk came back with other counts");
}

static void round_trip(struct trace_coder *t, const struct trace_blocks *b,
                       const struct trace_chunk *c)
{
    struct trace_chunk back = {0};
    struct writer w;
    trace_chunk_reset(&back);
    writer_init(&w);
    for (unsigned i = 0; i < COLUMNS; i++) {
        writer_reset(&w);
        if (!trace_encode(t, columns[i], c, b, &w))
            fuzz_fail("column %u does not encode", i);
        if (!trace_decode(t, columns[i], w.data, w.used, b, &back))
            fuzz_fail("column %u does not decode", i);
    }
    same_chunk(c, &back);
    writer_fini(&w);
    trace_chunk_fini(&back);
}

static void index_round_trip(struct trace_zip *z, const struct trace_blocks *b,
                             const struct trace_chunk *c)
{
    struct trace_index x, back;
    struct writer w;
    writer_init(&w);
    if (!trace_index_make(&x, c, b) || !trace_index_write(&x, z, &w) ||
        !trace_index_read(&back, z, w.data, w.used))
        fuzz_fail("the index does not come back");
    if (x.rows != back.rows || x.block_count != back.block_count ||
        x.page_count != back.page_count)
        fuzz_fail("the index came back changed");
    for (size_t i = 0; i < c->runs.count; i++)
        if (!trace_index_has_block(&back, c->runs.at[i].block))
            fuzz_fail("a block is not in the index");
    for (size_t i = 0; i < c->accesses.count; i++) {
        uint64_t page = c->accesses.at[i].vaddr >> TRACE_PAGE_SHIFT;
        if (!trace_index_has_page(&back, page, page,
                                  c->accesses.at[i].flags & TRACE_WRITE
                                      ? TRACE_PAGE_WRITTEN
                                      : TRACE_PAGE_READ))
            fuzz_fail("a page is not in the index");
    }
    trace_index_fini(&x);
    trace_index_fini(&back);
    writer_fini(&w);
}

/* ---- bytes of strangers
 * ------------------------------------------------------
 */

/* Streams of input bytes, packed as a column has them. */
static void pack_input(struct fuzz *f, struct trace_zip *z, unsigned count,
                       struct writer *out)
{
    struct writer stream;
    writer_init(&stream);
    for (unsigned i = 0; i < count; i++) {
        writer_reset(&stream);
        for (unsigned n = fuzz_u8(f); n > 0 && fuzz_more(f); n--)
            writer_u8(&stream, fuzz_u8(f));
        if (!trace_pack(z, out, &stream))
            abort();
    }
    writer_fini(&stream);
}

static void strange_column(struct fuzz *f, struct trace_coder *t,
                           struct trace_zip *z, const struct trace_blocks *b,
                           struct trace_chunk *c)
{
    unsigned i = fuzz_u8(f) % COLUMNS;
    struct writer w;
    writer_init(&w);
    pack_input(f, z, streams[i], &w);
    if (columns[i] == TRACE_COLUMN_FLOW)
        trace_chunk_reset(c);
    c->accesses.count =
        columns[i] == TRACE_COLUMN_BYTES ? c->accesses.count : 0;
    c->devices.count = c->events.count = 0;
    c->masks.count = c->values.count = 0;
    (void)trace_decode(t, columns[i], w.data, w.used, b, c);
    writer_fini(&w);
}

static void strange_records(struct fuzz *f, struct trace_zip *z)
{
    uint8_t bytes[600];
    size_t count = (size_t)(f->end - f->at);
    struct reader r;
    struct trace_blocks b;
    struct trace_index x;
    struct trace_head head;
    struct error err = {0};
    struct writer w;
    count = count < sizeof bytes ? count : sizeof bytes;
    fuzz_bytes(f, bytes, count);
    const struct store_bytes k = {bytes, TRACE_KEY_BYTES}, v = {bytes, count};
    if (!trace_head_get(&k, &v, &head, "fuzz", &err) && !err.text[0])
        fuzz_fail("a head was refused without a sentence");
    if (!trace_blocks_init(&b))
        abort();
    reader_init(&r, bytes, count);
    (void)trace_blocks_read(&b, &r);
    trace_blocks_fini(&b);
    writer_init(&w);
    struct writer stream = {.data = bytes, .used = count};
    if (trace_pack(z, &w, &stream) && trace_index_read(&x, z, w.data, w.used))
        trace_index_fini(&x);
    if (trace_index_read(&x, z, bytes, count))
        trace_index_fini(&x);
    writer_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    struct trace_blocks b;
    struct trace_chunk c = {0};
    struct trace_coder *t = trace_coder_new();
    struct trace_zip *z = trace_zip_new();
    if (!t || !z)
        abort();
    trace_chunk_reset(&c);
    make_blocks(&b);
    uint8_t mode = fuzz_u8(&f) % 3;
    if (mode == 2) {
        strange_records(&f, z);
    } else {
        struct fuzz head = f;
        make_chunk(&head, &b, &c);
        if (mode == 0) {
            round_trip(t, &b, &c);
            index_round_trip(z, &b, &c);
        } else {
            strange_column(&f, t, z, &b, &c);
        }
    }
    trace_chunk_fini(&c);
    trace_blocks_fini(&b);
    trace_coder_free(t);
    trace_zip_free(z);
    return 0;
}
