/* What a machine has done and how: telemetry, never part of its state. */
#ifndef RELIVE_BOARD_STATS_H
#define RELIVE_BOARD_STATS_H

#include "board/machine.h"

/* Totals since the machine was made or its engine set. */
struct machine_stats {
    uint64_t ticks, insns;
    uint64_t tier_insns[3]; /* retired by tier 0, 1 and 2 */
    bool has_jit;
    struct jit_stats jit; /* all 0 without */
    uint64_t translate_slow_calls, walks, l2_hits, large_hits, table_drops;
    uint64_t mmio_reads, mmio_writes, port_reads, port_writes;
    uint64_t dma_read_bytes, dma_write_bytes;
    /* Host nanoseconds: chips at work (0: the engine's times_devices is off), and in
     * reads of images, which chips wait for. */
    uint64_t device_ns, image_read_ns;
    uint64_t ram_bytes, ram_touched_bytes;
};
void machine_stats(const struct machine *m, struct machine_stats *out);

#endif
