/* Takes snapshots of a running machine. The machine's thread stops only to
 * write down the device state and the list of changed pages; copying, hashing,
 * compressing and committing happen on a thread of the snapshotter.
 *
 * A snapshot is committed in two steps, its pages first, then, when the log has
 * been committed up to its tick, the record that names them: killed at any
 * moment, a session has whole snapshots only. */
#ifndef RELIVE_REPLAY_SNAPSHOTTER_H
#define RELIVE_REPLAY_SNAPSHOTTER_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/store.h"
#include "replay/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct snapshotter;

/* store and m are borrowed; the machine's tracking of changes is the
 * snapshotter's, and nobody has used it before.
 * budget  bytes of pages and records above which old snapshots are thinned out,
 *         more the older they are; 0: never */
struct snapshotter *snapshotter_new(struct store *store, struct machine *m,
                                    uint64_t budget, struct error *err);
/* Before the machine and the store. Takes NULL. */
void snapshotter_free(struct snapshotter *s);

/* From now on wait with each record until `log` has committed up to it. */
void snapshotter_follow(struct snapshotter *s, const struct log_writer *log);

/* Snapshot the machine as it is now. False: not taken, because the one before
 * is still being copied, or because snapshots have failed. */
bool snapshotter_take(struct snapshotter *s, uint32_t events_before);

/* Until what the last one holds has been copied: before a medium goes. */
void snapshotter_wait_copied(struct snapshotter *s);

/* Until the last one is committed. False: err, and no more will be taken. */
bool snapshotter_wait(struct snapshotter *s, struct error *err);

struct snapshotter_stats {
    uint64_t taken, postponed, thinned;
    uint64_t pages, page_bytes;    /* stored now */
    uint64_t stop_ns, stop_ns_max; /* the machine's thread stood still */
};
/* From the machine's thread. */
void snapshotter_stats(struct snapshotter *s, struct snapshotter_stats *out);

/* The one snapshot of a machine that has none yet, all in one call. */
bool snapshot_take(struct store *store, struct machine *m,
                   uint32_t events_before, struct error *err);

#endif
