/* What snapshot.c (reading) and snapshot_take.c (writing) share. */
#ifndef RELIVE_REPLAY_SNAPSHOT_INTERNAL_H
#define RELIVE_REPLAY_SNAPSHOT_INTERNAL_H

#include "replay/snapshot.h"

bool snapshot_is_zero(const uint8_t *page); /* PAGE_BYTES of it */

/* The next entry of a BLKS section; false at its end or, with r->failed, where
 * it is malformed. */
bool snapshot_next_block(struct reader *r, uint32_t *drive, uint64_t *bytes,
                         uint32_t *chunks, const uint8_t **hashes);

/* Orders and lengths that unpacking has not checked. */
bool snapshot_well_formed(const struct snapshot *s, const char *where,
                          struct error *err);

#endif
