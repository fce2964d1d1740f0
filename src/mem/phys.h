/* The physical address space: what answers at every guest-physical address,
 * and per-page tracking of what was written.
 *
 * Everything that behaves like memory (RAM, video memory, ROM) lives in frames:
 * 4 KiB pages of one lazily populated host reservation, numbered from 0.
 * Physical pages are mapped, separately for reads and for writes, to a frame,
 * to an MMIO region or to nothing (reads give all ones, writes vanish), which
 * is what PAM registers and SMRAM need (82441FX data sheet 3.2.16, 3.2.19).
 * Later mappings replace earlier ones page by page. */
#ifndef RELIVE_MEM_PHYS_H
#define RELIVE_MEM_PHYS_H

#include "base/error.h"
#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PAGE_SHIFT = 12,
    PAGE_BYTES = 4096
};
#define PHYS_ADDRESS_BITS 40

/* Frame flags. A frame without FRAME_DIRTY, or with CODE or TABLE, is never
 * entered into a TLB as directly writable, so the slow path sees the store. */
enum {
    FRAME_DIRTY = 1,  /* written since the last phys_digest() */
    FRAME_TOUCHED = 2,/* written since machine start: worth saving */
    FRAME_CODE = 4,   /* decoded blocks come from it */
    FRAME_TABLE = 8,  /* a page table under a cached translation */
    FRAME_ROM = 16,   /* guest stores are ignored */
    FRAME_SPIED = 128 /* an observer hears of every store into it */
};

struct mmio_ops {
    /* offset  from the start of the region; bytes  1, 2, 4 or 8; never
     * crosses a page. A device that decodes only 32-bit accesses splits
     * or merges as its data sheet says. */
    uint64_t (*read)(void *device, uint64_t offset, unsigned bytes);
    void (*write)(void *device, uint64_t offset, uint64_t value,
                  unsigned bytes);
};

enum {
    PHYS_READ = 1,
    PHYS_WRITE = 2
};

struct phys;

/* Observers of stores to frames flagged CODE or TABLE (mmu and block cache).
 * Called after the bytes have changed; `old` holds the bytes before. A store of
 * what is there already is not reported. */
typedef void phys_watch_fn(void *context, uint32_t frame, uint32_t offset,
                           uint32_t bytes, const void *old);

struct phys *phys_new(uint64_t frame_bytes_max, struct error *err);
void phys_free(struct phys *p);

/* Reserve zeroed memory of `bytes` (rounded up to pages) for `name`.
 * Returns its first frame. The order of calls is part of the machine's layout:
 * it must be the same in every run. rom: guest stores are ignored. */
uint32_t phys_add_memory(struct phys *p, const char *name, uint64_t bytes,
                         bool rom);

/* Map [paddr, paddr+bytes) (page aligned) for the accesses in `how`
 * (PHYS_READ | PHYS_WRITE). Every cached translation is dropped, unless the map
 * says so already. */
void phys_map_memory(struct phys *p, uint64_t paddr, uint64_t bytes,
                     uint32_t first_frame, unsigned how);
void phys_map_mmio(struct phys *p, uint64_t paddr, uint64_t bytes,
                   const struct mmio_ops *ops, void *device,
                   uint64_t first_offset, unsigned how);
void phys_unmap(struct phys *p, uint64_t paddr, uint64_t bytes, unsigned how);

/* Address line 20: when off, bit 20 of every CPU physical address is 0. */
void phys_set_a20(struct phys *p, bool enabled);
bool phys_a20(const struct phys *p);

/* What one physical page is made of. host is NULL for MMIO and for nothing.
 * how: one of PHYS_READ and PHYS_WRITE. A20 is not applied. */
struct phys_page {
    uint8_t *host;  /* start of the page in this process */
    uint32_t frame; /* valid when host is set */
    const struct mmio_ops *mmio;
    void *device;
    uint64_t mmio_offset; /* of the start of the page inside the region */
};
void phys_lookup(const struct phys *p, uint64_t paddr, unsigned how,
                 struct phys_page *page);

/* Access any length at any address, split at pages and, for MMIO, into naturally
 * aligned pieces of at most 8 bytes. The paths of the walker and the CPU's slow
 * path; stores keep all tracking. A20 is applied. */
void phys_read(struct phys *p, uint64_t paddr, void *out, size_t bytes);
void phys_write(struct phys *p, uint64_t paddr, const void *in, size_t bytes);

/* Device DMA: as above without A20, and MMIO targets read all ones and ignore
 * stores (no device of this PC does peer-to-peer). */
void phys_dma_read(struct phys *p, uint64_t paddr, void *out, size_t bytes);
void phys_dma_write(struct phys *p, uint64_t paddr, const void *in,
                    size_t bytes);

/* Frames, for the MMU, devices that own memory, digests and snapshots. */
uint32_t phys_frames(const struct phys *p); /* how many exist */
uint8_t *phys_frame_host(const struct phys *p, uint32_t frame);
unsigned phys_frame_flags(const struct phys *p, uint32_t frame);

/* Set or clear CODE, TABLE or SPIED on a frame. Setting one drops every directly
 * writable TLB entry of that frame. */
void phys_flag_set(struct phys *p, uint32_t frame, unsigned flag);
void phys_flag_clear(struct phys *p, uint32_t frame, unsigned flag);

/* The MMU calls this before it enters a writable translation: sets DIRTY and
 * TOUCHED; true when the frame may be written directly (no CODE, TABLE, ROM, SPIED). */
bool phys_make_writable(struct phys *p, uint32_t frame);

/* Store into a frame as its owner (ROM included), with all tracking. Devices
 * that own memory (VGA planes) and loaders use it. */
void phys_frame_write(struct phys *p, uint32_t frame, uint32_t offset,
                      const void *in, uint32_t bytes);

/* One watcher for each of FRAME_CODE and FRAME_TABLE. */
void phys_watch(struct phys *p, unsigned flag, phys_watch_fn *fn,
                void *context);

/* An observer's. A store into a frame flagged FRAME_SPIED is about to be done,
 * whatever it changes; is_dma: a device does it. Must change nothing. */
typedef void phys_spy_fn(void *context, uint32_t frame, uint32_t offset,
                         uint32_t bytes, const void *in, bool is_dma);
void phys_spy(struct phys *p, phys_spy_fn *fn, void *context);
/* The CPU reads from or writes to a device's memory: the value read, or about
 * to be written. NULL: nobody. */
/* Accesses that devices answered, by the CPU; telemetry. */
struct phys_counts {
    uint64_t mmio_reads, mmio_writes;
    uint64_t mmio_ns; /* host time in devices; 0: not timed */
};
/* Time devices by a host clock in nanoseconds; NULL: do not. */
void phys_set_clock(struct phys *p, uint64_t (*now_ns)(void *context),
                    void *context);
const struct phys_counts *phys_counts(const struct phys *p);

typedef void phys_mmio_spy_fn(void *context, uint64_t paddr, unsigned bytes,
                              bool is_write, uint64_t value);
void phys_spy_mmio(struct phys *p, phys_mmio_spy_fn *fn, void *context);

/* Called when cached translations must go. PHYS_DROP_ALL: all of them (remap,
 * A20, load). PHYS_DROP_WRITES: direct write access to every frame (digest).
 * Otherwise direct write access to that one frame. */
#define PHYS_DROP_ALL    UINT32_MAX
#define PHYS_DROP_WRITES (UINT32_MAX - 1)
typedef void phys_drop_fn(void *context, uint32_t frame);
void phys_on_drop(struct phys *p, phys_drop_fn *fn, void *context);

/* Digest of all frames: the sum modulo 2^128 over non-zero frames of
 * XXH3-128(frame number, contents). Rehashes only DIRTY frames, then clears
 * DIRTY (and drops direct write access). out: 16 bytes, little-endian. */
void phys_digest(struct phys *p, uint8_t out[16]);

/* A second set of written frames, for snapshots: those stored to since the
 * machine started or since phys_forget_changes(), in no order. Independent of
 * DIRTY. The list lives until the next store or call. */
uint32_t phys_changes(const struct phys *p, const uint32_t **frames);
/* Empty the set (and drop direct write access). */
void phys_forget_changes(struct phys *p);
/* fn is called when a frame is about to enter the set, before the store that
 * does it: whoever has still to copy the frame does so now. NULL: nobody. */
typedef void phys_first_store_fn(void *context, uint32_t frame);
void phys_on_first_store(struct phys *p, phys_first_store_fn *fn,
                         void *context);

/* All TOUCHED frames that are not zero, in order. Loading first zeroes what is
 * TOUCHED now. The map itself is not saved: chips restore it from their
 * registers (PAM, BARs). */
void phys_save(const struct phys *p, struct writer *w);
bool phys_load(struct phys *p, struct reader *r, struct error *err);

/* Bytes of frames that are TOUCHED (for memory telemetry). */
uint64_t phys_touched_bytes(const struct phys *p);

#endif
