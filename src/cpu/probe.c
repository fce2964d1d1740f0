#include "cpu/probe.h"

#include "cpu/blocks.h"

#include <string.h>

void cpu_probe_forget(struct cpu *c)
{
    c->probe.delivery_tick = c->probe.rep_tick = UINT64_MAX;
    c->probe.deliveries = 0;
}

void cpu_probe_arm(struct cpu *c, cpu_probe_fn *fn, void *context,
                   const uint64_t *linear, unsigned count)
{
    struct cpu_probe *p = &c->probe;
    uint64_t offsets[64] = {0};
    for (unsigned i = 0; i < count; i++)
        offsets[linear[i] >> 6 & 63] |= UINT64_C(1) << (linear[i] & 63);
    p->fn = fn;
    p->context = context;
    p->has_offsets = count != 0;
    if (memcmp(offsets, p->offsets, sizeof offsets) == 0)
        return;
    memcpy(p->offsets, offsets, sizeof offsets);
    blocks_flush(c);
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
