#include "cpu/probe.h"

#include "cpu/blocks.h"

#include <string.h>

static void know_wanted(struct cpu_probe *p)
{
    p->has_offsets = false;
    for (unsigned i = 0; i < 64; i++) {
        p->offsets[i] = p->wanted[i];
        p->has_offsets |= p->wanted[i] != 0;
    }
}

void cpu_probe_forget(struct cpu *c)
{
    c->probe.delivery_tick = c->probe.rep_tick = UINT64_MAX;
    c->probe.deliveries = 0;
    know_wanted(&c->probe);
}

/* True: blocks do not know one of its page offsets. */
static bool want_range(struct cpu_probe *p, const struct cpu_probe_range *r)
{
    bool is_new = false;
    uint64_t count = r->count < PAGE_BYTES ? r->count : PAGE_BYTES;
    for (uint64_t k = 0; k < count; k++) {
        uint64_t at = r->first + k, bit = UINT64_C(1) << (at & 63);
        p->wanted[at >> 6 & 63] |= bit;
        is_new |= !(p->offsets[at >> 6 & 63] & bit);
    }
    return is_new;
}

void cpu_probe_arm(struct cpu *c, cpu_probe_fn *fn, void *context,
                   const struct cpu_probe_range *ranges, unsigned count)
{
    struct cpu_probe *p = &c->probe;
    bool is_new = false;
    memset(p->wanted, 0, sizeof p->wanted);
    for (unsigned i = 0; i < count; i++)
        is_new |= want_range(p, &ranges[i]);
    p->fn = fn;
    p->context = context;
    if (!is_new)
        return;
    know_wanted(p);
    blocks_flush(c);
}

void cpu_probe_trace(struct cpu *c, struct cpu_tracer *tracer)
{
    if (c->probe.tracer == tracer)
        return;
    c->probe.tracer = tracer;
    blocks_flush(c);
}

void cpu_probe_note(struct cpu *c, const struct cpu_note *note)
{
    if (c->probe.note)
        c->probe.note(c->probe.note_context, note);
}

void cpu_probe_every(struct cpu *c, bool every)
{
    c->probe.every = every;
    cpu_update_single(c);
}

bool cpu_probe_reached(struct cpu *c)
{
    const struct cpu_probe *p = &c->probe;
    return p->fn && p->fn(p->context, (c->r[REG_RIP] + c->ea_base[SEG_CS]) &
                                          c->linear_mask);
}

void cpu_probe_delivered(struct cpu *c)
{
    struct cpu_probe *p = &c->probe;
    if (p->delivery_tick != c->tick)
        p->deliveries = 0;
    p->delivery_tick = c->tick;
    p->deliveries++;
}
