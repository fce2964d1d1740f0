/* The snapshots of a session on their way into a copy of it. */
#ifndef RELIVE_REPLAY_COPY_SNAPSHOTS_H
#define RELIVE_REPLAY_COPY_SNAPSHOTS_H

#include "replay/page_refs.h"
#include "replay/session.h"
#include "replay/snapshot.h"
#include "replay/thin.h"

struct snapshot_copy {
    struct store *store;        /* borrowed: where they come from */
    struct snapshot *snapshots; /* owned, ascending */
    size_t count, capacity;
    uint64_t dropped;
    uint64_t from; /* tick where the copy begins; 0 without a snapshot */
    uint32_t first_event;
    struct page_refs refs; /* of the pages that they name */
    struct thin thin;
    uint64_t page_bytes;
};

/* Those that a copy from (the snapshot at or below) `from` to `to` has, within
 * `budget` bytes (0: all of them). snapshot_copy_fini() also after false. */
bool snapshot_copy_read(struct snapshot_copy *c, const struct session *s,
                        uint64_t from, uint64_t to, uint64_t budget,
                        struct error *err);
/* Pages first: batch is committed whenever it is full, and at last holds the
 * rest. */
bool snapshot_copy_write(struct snapshot_copy *c, struct store *out,
                         struct store_batch *batch, struct error *err);
void snapshot_copy_fini(struct snapshot_copy *c);

#endif
