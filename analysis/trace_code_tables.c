/* The tables of a trace: what devices and events do. There are few of them, so
 * that each field is simply told from the row before. */
#include "analysis/trace_code_internal.h"

enum { TABLE_ROWS_MAX = 1 << 22 };

static void put(struct writer *w, uint64_t now, uint64_t before)
{
    trace_put(w, trace_zigzag(now - before));
}

static uint64_t get(struct reader *r, uint64_t before)
{
    return before + trace_unzigzag(trace_get(r));
}

bool code_devices_out(struct trace_coder *t, const struct trace_chunk *c)
{
    struct writer *w = &t->stream[0];
    struct trace_device before = {0};
    trace_put(w, c->devices.count);
    for (size_t i = 0; i < c->devices.count; i++) {
        const struct trace_device *d = &c->devices.at[i];
        put(w, d->tick, before.tick);
        put(w, d->rip, before.rip);
        put(w, d->address, before.address);
        trace_put(w, d->value);
        trace_put(w, (unsigned)d->bytes << 4 | d->flags);
        before = *d;
    }
    return true;
}

bool code_devices_in(struct trace_coder *t, struct trace_chunk *c)
{
    struct reader *r = &t->in[0];
    struct trace_device d = {0};
    uint64_t count = trace_get(r);
    if (count > TABLE_ROWS_MAX)
        return false;
    for (uint64_t i = 0; i < count && !r->failed; i++) {
        d.tick = get(r, d.tick);
        d.rip = get(r, d.rip);
        d.address = get(r, d.address);
        d.value = trace_get(r);
        uint64_t shape = trace_get(r);
        d.bytes = (uint8_t)(shape >> 4);
        d.flags = shape & 15;
        if (shape > 0x8f || d.bytes == 0)
            return false;
        TRACE_ADD(c, devices, d);
    }
    return !r->failed;
}

bool code_events_out(struct trace_coder *t, const struct trace_chunk *c)
{
    struct writer *w = &t->stream[0];
    struct trace_event before = {0};
    trace_put(w, c->events.count);
    for (size_t i = 0; i < c->events.count; i++) {
        const struct trace_event *e = &c->events.at[i];
        put(w, e->tick, before.tick);
        put(w, e->rip, before.rip);
        put(w, e->cr3, before.cr3);
        put(w, e->value, before.value);
        trace_put(w, e->error);
        trace_put(w, (unsigned)e->kind << 8 | e->vector);
        before = *e;
    }
    return true;
}

bool code_events_in(struct trace_coder *t, struct trace_chunk *c)
{
    struct reader *r = &t->in[0];
    struct trace_event e = {0};
    uint64_t count = trace_get(r);
    if (count > TABLE_ROWS_MAX)
        return false;
    for (uint64_t i = 0; i < count && !r->failed; i++) {
        e.tick = get(r, e.tick);
        e.rip = get(r, e.rip);
        e.cr3 = get(r, e.cr3);
        e.value = get(r, e.value);
        e.error = (uint32_t)trace_get(r);
        uint64_t kind = trace_get(r);
        e.kind = (uint8_t)(kind >> 8);
        e.vector = (uint8_t)kind;
        if (kind >> 8 > 4)
            return false;
        TRACE_ADD(c, events, e);
    }
    return !r->failed;
}
