/* Shared by phys*.c only. */
#ifndef RELIVE_MEM_PHYS_INTERNAL_H
#define RELIVE_MEM_PHYS_INTERNAL_H

#include "mem/phys.h"

enum {
    /* Beside the public frame flags: a TLB may hold a writable entry. Implies
     * FRAME_DIRTY and FRAME_CHANGED, so that only such frames need a call when
     * it must go. */
    FRAME_DIRECT = 32,
    FRAME_CHANGED = 64, /* in changes[] */
    FRAME_FLAGS_PUBLIC = 31 | FRAME_SPIED,
    FRAME_WATCHED = FRAME_CODE | FRAME_TABLE | FRAME_SPIED
};

/* Pages [first, end) that answer in one way. ops NULL: memory. */
struct phys_range {
    uint64_t first, end;
    const struct mmio_ops *ops;
    void *device;
    uint64_t start; /* frame number, or offset in the MMIO region, of `first` */
};

/* Sorted and disjoint; adjacent ranges that continue each other are merged. */
struct phys_map {
    struct phys_range *ranges; /* owned, reserved for PHYS_RANGES_MAX */
    uint32_t count;
};
enum { PHYS_RANGES_MAX = 65536 };

struct phys_watcher {
    phys_watch_fn *fn;
    void *context; /* borrowed */
};

struct phys {
    uint8_t *memory;       /* owned reservation: frames_max pages */
    uint8_t *flags;        /* owned: one byte for each frame */
    uint64_t (*hashes)[2]; /* owned, derived: low and high half of what the
                              frame adds to the digest */
    uint32_t *dirty;       /* owned, derived: the frames flagged DIRTY */
    uint32_t dirty_count;
    uint32_t *changes; /* owned, derived: the frames flagged CHANGED */
    uint32_t change_count;
    uint32_t frames;
    uint32_t frames_max;
    uint32_t touched;     /* derived: frames flagged TOUCHED */
    uint64_t digest[2];   /* derived: sum of hashes[] */
    uint64_t a20_mask;    /* derived: restored by the chip that owns A20 */
    struct phys_map read; /* derived: restored by the chips */
    struct phys_map write;
    struct phys_watcher code_watcher, table_watcher;
    phys_spy_fn *spy; /* borrowed with its context; so is the next */
    void *spy_context;
    phys_mmio_spy_fn *mmio_spy;
    void *mmio_spy_context;
    struct phys_counts counts; /* derived */
    uint64_t (*now_ns)(void *context); /* NULL: devices are not timed */
    void *now_context;                 /* borrowed */
    bool is_dma; /* the store comes from a device */
    phys_first_store_fn *first_store; /* NULL: nobody copies late */
    void *first_store_context;        /* borrowed */
    phys_drop_fn *drop_fn; /* NULL: nobody caches translations */
    void *drop_context;    /* borrowed */
};

/* Sets DIRTY, TOUCHED and CHANGED. */
void phys_mark_dirty(struct phys *p, uint32_t frame);

/* Store into a frame with tracking, ROM or not. */
void phys_store(struct phys *p, uint32_t frame, uint32_t offset, const void *in,
                uint32_t bytes);

/* The range that holds a physical page; NULL when nothing answers there. */
const struct phys_range *phys_find(const struct phys_map *map, uint64_t page);

/* Ask the holder of translations to drop; see phys_on_drop(). */
void phys_drop(struct phys *p, uint32_t frame);

#endif
