#include "board/stats.h"

#include "board/machine_internal.h"
#include "mem/phys.h"

static void jit_part(const struct machine *m, struct machine_stats *out)
{
    out->has_jit = m->jit != NULL;
    if (!m->jit)
        return;
    jit_stats(m->jit, &out->jit);
    out->tier_insns[2] = out->jit.tier2_ticks;
    out->tier_insns[1] = out->jit.entered_insns - out->jit.handler_insns -
                         out->jit.tier2_ticks;
}

/* Of media that are in the drives: what ejected ones took is forgotten. */
static uint64_t image_read_ns(const struct machine *m)
{
    uint64_t ns = 0;
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++) {
        const struct block *b = machine_block((struct machine *)m, n);
        ns += b ? block_read_ns(b) : 0;
    }
    return ns;
}

void machine_stats(const struct machine *m, struct machine_stats *out)
{
    const struct mmu *mmu = &m->cpu.mmu;
    const struct phys_counts *memory = phys_counts(m->phys);
    const struct bus_counts *bus = bus_counts(m->bus);
    *out = (struct machine_stats){
        .ticks = machine_tick(m),
        .insns = machine_insns(m),
        .translate_slow_calls = mmu->slow_calls,
        .walks = mmu->walks,
        .l2_hits = mmu->l2_hits,
        .large_hits = mmu->large_hits,
        .table_drops = mmu->drops,
        .mmio_reads = memory->mmio_reads,
        .mmio_writes = memory->mmio_writes,
        .port_reads = bus->port_reads,
        .port_writes = bus->port_writes,
        .dma_read_bytes = bus->dma_read_bytes,
        .dma_write_bytes = bus->dma_write_bytes,
        .device_ns = bus->device_ns + memory->mmio_ns,
        .image_read_ns = image_read_ns(m),
        .ram_bytes = m->config.mem_bytes,
        .ram_touched_bytes = phys_touched_bytes(m->phys),
    };
    jit_part(m, out);
    out->tier_insns[0] =
        out->insns - out->tier_insns[1] - out->tier_insns[2];
}
