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

void cpu_probe_arm(struct cpu *c, cpu_probe_fn *fn, void *context,
                   const uint64_t *linear, unsigned count)
{
    struct cpu_probe *p = &c->probe;
    bool is_new = false;
    memset(p->wanted, 0, sizeof p->wanted);
    for (unsigned i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << (linear[i] & 63);
        p->wanted[linear[i] >> 6 & 63] |= bit;
        is_new |= !(p->offsets[linear[i] >> 6 & 63] & bit);
    }
    p->fn = fn;
    p->context = context;
    if (!is_new)
        return;
    know_wanted(p);
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
