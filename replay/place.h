/* Places: complete states of one machine in memory, made from the machine as it
 * stands or from a snapshot of the session. They share the pages in which they
 * do not differ, and loading one writes only the pages in which it differs from
 * what the machine has now. */
#ifndef RELIVE_REPLAY_PLACE_H
#define RELIVE_REPLAY_PLACE_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/page_map.h"
#include "replay/snapshot.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

struct place {
    uint64_t tick, insns;
    uint32_t events_before;
    uint8_t *devices; /* owned */
    size_t devices_bytes;
    struct page_map list[SNAPSHOT_LISTS];
};
void place_fini(struct place *p); /* zeroed is fine */

/* Knows what the machine's memory and disk layers hold, by tracking changes
 * (phys_changes, block_changes), which are its own. */
struct place_keeper;

/* Both borrowed. The machine's changes since it was made have not been
 * forgotten. NULL: out of memory. */
struct place_keeper *place_keeper_new(struct store *s, struct machine *m,
                                      struct error *err);
void place_keeper_free(struct place_keeper *k); /* after all places */

/* The machine as it stands. */
bool place_keep(struct place_keeper *k, uint32_t events_before,
                struct place *out, struct error *err);

/* The snapshot at or below tick, or exactly at it. */
enum store_found place_find(struct place_keeper *k, uint64_t tick, bool exact,
                            struct place *out, struct error *err);

/* Put the machine there. On false it is in no state at all; another load can
 * still succeed. */
bool place_load(struct place_keeper *k, const struct place *p,
                struct error *err);

/* The first thing in which the machine differs from the place: a device field,
 * a frame, a disk block. False: none. */
bool place_differs(struct place_keeper *k, const struct place *p, char *text,
                   size_t text_bytes);

/* Memory of all places together. */
uint64_t place_bytes(const struct place_keeper *k);

#endif
