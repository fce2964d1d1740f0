/* A stage holds the contents of all pages that have changed since the last one,
 * as they are at one tick, without copying them at that tick: the guest runs on
 * and another thread copies; whoever comes first to a page, that thread or the
 * guest with its next store into it, copies it.
 *
 *   vCPU thread: stage_begin() at the tick; then the machine runs on.
 *   the other:   stage_take() for each item, then stage_end().
 *   vCPU thread: the next stage_begin(), after stage_end().
 *
 * A machine has one stage at a time, to which its tracking of changes
 * (phys_changes, block_changes) belongs. */
#ifndef RELIVE_REPLAY_STAGE_H
#define RELIVE_REPLAY_STAGE_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

struct stage_item {
    const uint8_t *source; /* what the guest writes to */
    uint32_t number;       /* of the frame or block */
    uint32_t slot;         /* where the guest's thread saves a copy */
};

struct stage_list {
    uint64_t numbers; /* how many frames or blocks there are */
    bool whole;       /* nothing was known: items are all there is */
    struct stage_item *items; /* owned; ascending after stage_sort() */
    uint32_t count;
    uint32_t capacity;
    uint8_t *state;  /* owned, by number: enum in stage.c */
    uint32_t *slots; /* owned, by number: valid for those staged */
    struct stage *stage; /* borrowed: the hook's way back */
};

struct stage {
    struct machine *machine; /* borrowed */
    struct block *block[MACHINE_BLOCKS]; /* whose layers are known */
    struct stage_list list[SNAPSHOT_LISTS];
    uint8_t *copies; /* owned: one page for each item */
    uint64_t copies_bytes;
};

/* Tracking starts with what has changed since the machine was made. */
bool stage_init(struct stage *s, struct machine *m, struct error *err);
void stage_fini(struct stage *s);

/* The page contents of now. False: out of memory, nothing is staged. */
bool stage_begin(struct stage *s, struct error *err);

/* Bring the items of every list into ascending order. */
void stage_sort(struct stage *s);
/* The contents of one item; out holds PAGE_DATA_BYTES. Each item once. */
void stage_take(struct stage *s, unsigned list, const struct stage_item *item,
                uint8_t *out);
/* All items have been taken. */
void stage_end(struct stage *s);

#endif
