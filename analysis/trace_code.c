#include "analysis/trace_code.h"

#include "analysis/trace_code_internal.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t streams_of[TRACE_COLUMNS] = {
    [TRACE_COLUMN_FLOW] = 6,    [TRACE_COLUMN_ACCESSES] = 3,
    [TRACE_COLUMN_BYTES] = 2,   [TRACE_COLUMN_REGISTERS] = 3,
    [TRACE_COLUMN_DEVICES] = 1, [TRACE_COLUMN_EVENTS] = 1};

const char *trace_column_name(enum trace_column column)
{
    static const char *const names[TRACE_COLUMNS] = {
        "head",  "blocks",    "index",   "flow",  "accesses",
        "bytes", "registers", "devices", "events"};
    return names[column];
}

struct trace_coder *trace_coder_new(void)
{
    struct trace_coder *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->zip = trace_zip_new();
    t->followers = calloc(CODE_FOLLOWERS, sizeof *t->followers);
    t->known = calloc(CODE_KNOWN, sizeof *t->known);
    for (unsigned i = 0; i < CODE_STREAMS; i++)
        writer_init(&t->stream[i]);
    if (t->zip && t->followers && t->known)
        return t;
    trace_coder_free(t);
    return NULL;
}

void trace_coder_free(struct trace_coder *t)
{
    if (!t)
        return;
    trace_zip_free(t->zip);
    for (unsigned i = 0; i < CODE_STREAMS; i++)
        writer_fini(&t->stream[i]);
    free(t->local_of);
    free(t->stamp_of);
    free(t->locals.at);
    free(t->bases.at);
    free(t->followers);
    free(t->known);
    free(t->sites.at);
    free(t->slots.at);
    free(t);
}

/* ---- blocks and sites -------------------------------------------------------
 */

bool code_begin(struct trace_coder *t, const struct trace_blocks *b)
{
    if (t->numbers < b->count) {
        uint32_t wanted = b->count * 2;
        free(t->local_of);
        free(t->stamp_of);
        t->local_of = calloc(wanted, sizeof *t->local_of);
        t->stamp_of = calloc(wanted, sizeof *t->stamp_of);
        t->numbers = t->local_of && t->stamp_of ? wanted : 0;
        t->stamp = 0;
    }
    t->stamp++;
    t->failed = t->numbers < b->count;
    t->locals.count = 0;
    return !t->failed;
}

uint32_t code_local(struct trace_coder *t, uint32_t number)
{
    if (t->stamp_of[number] != t->stamp) {
        t->stamp_of[number] = t->stamp;
        t->local_of[number] = (uint32_t)t->locals.count;
        TRACE_ADD(t, locals, number);
    }
    return t->local_of[number];
}

bool code_make_sites(struct trace_coder *t, const struct trace_chunk *c,
                     const struct trace_blocks *b)
{
    if (!code_begin(t, b))
        return false;
    for (size_t i = 0; i < c->runs.count; i++)
        (void)code_local(t, c->runs.at[i].block);
    t->bases.count = t->sites.count = 0;
    for (size_t i = 0; i < t->locals.count && !t->failed; i++) {
        unsigned insns = b->block[t->locals.at[i]].count;
        TRACE_ADD(t, bases, (uint32_t)t->sites.count);
        for (unsigned n = 0; n < insns; n++)
            TRACE_ADD(t, sites, (struct code_site){0});
    }
    t->slots.count = 0;
    TRACE_ADD(t, slots, (struct code_slot){0}); /* 0 means none */
    return !t->failed;
}

struct code_slot *code_slot(struct trace_coder *t, uint32_t site, unsigned n)
{
    struct code_site *s = &t->sites.at[site];
    if (!s->slots) {
        uint32_t first = (uint32_t)t->slots.count;
        for (unsigned i = 0; i < CODE_SLOTS; i++)
            TRACE_ADD(t, slots, (struct code_slot){0});
        s->slots = t->failed ? 0 : first;
    }
    /* A repeated instruction reads and writes by turns. */
    return &t->slots.at[s->slots ? s->slots + (n < 2 ? n : 2 + (n & 1)) : 0];
}

/* ---- streams ----------------------------------------------------------------
 */

bool code_pack(struct trace_coder *t, unsigned count, struct writer *out)
{
    for (unsigned i = 0; i < count; i++)
        if (!trace_pack(t->zip, out, &t->stream[i]))
            return false;
    return !t->failed;
}

bool code_unpack(struct trace_coder *t, unsigned count, const void *bytes,
                 size_t size)
{
    struct reader value;
    reader_init(&value, bytes, size);
    for (unsigned i = 0; i < count; i++) {
        if (!trace_unpack(t->zip, &value, &t->stream[i]))
            return false;
        reader_init(&t->in[i], t->stream[i].data, t->stream[i].used);
    }
    return value.at == value.size;
}

bool code_done(const struct trace_coder *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (t->in[i].failed || t->in[i].at != t->in[i].size)
            return false;
    return !t->failed;
}

bool trace_encode(struct trace_coder *t, enum trace_column column,
                  const struct trace_chunk *c, const struct trace_blocks *b,
                  struct writer *out)
{
    bool ok = false;
    t->failed = false;
    for (unsigned i = 0; i < CODE_STREAMS; i++)
        writer_reset(&t->stream[i]);
    if (column == TRACE_COLUMN_FLOW)
        ok = code_flow_out(t, c, b);
    else if (column == TRACE_COLUMN_ACCESSES)
        ok = code_accesses_out(t, c, b);
    else if (column == TRACE_COLUMN_BYTES)
        ok = code_bytes_out(t, c, b);
    else if (column == TRACE_COLUMN_REGISTERS)
        ok = code_registers_out(t, c, b);
    else if (column == TRACE_COLUMN_DEVICES)
        ok = code_devices_out(t, c);
    else if (column == TRACE_COLUMN_EVENTS)
        ok = code_events_out(t, c);
    return ok && code_pack(t, streams_of[column], out);
}

bool trace_decode(struct trace_coder *t, enum trace_column column,
                  const void *bytes, size_t count, const struct trace_blocks *b,
                  struct trace_chunk *c)
{
    bool ok = false;
    t->failed = false;
    if (!code_unpack(t, streams_of[column], bytes, count))
        return false;
    if (column == TRACE_COLUMN_FLOW)
        ok = code_flow_in(t, b, c);
    else if (column == TRACE_COLUMN_ACCESSES)
        ok = code_accesses_in(t, b, c);
    else if (column == TRACE_COLUMN_BYTES)
        ok = code_bytes_in(t, b, c);
    else if (column == TRACE_COLUMN_REGISTERS)
        ok = code_registers_in(t, b, c);
    else if (column == TRACE_COLUMN_DEVICES)
        ok = code_devices_in(t, c);
    else if (column == TRACE_COLUMN_EVENTS)
        ok = code_events_in(t, c);
    return ok && !c->failed && code_done(t, streams_of[column]);
}
