/* Copies of sessions: compacted, or a part of one that stands for itself. */
#ifndef RELIVE_REPLAY_COPY_H
#define RELIVE_REPLAY_COPY_H

#include "base/error.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

struct copy_options {
    /* The copy begins at the last snapshot at or below `from`, and ends at
     * `to` or the session's end, whichever is first. Stored traces that lie
     * inside come along. */
    uint64_t from, to;
    uint64_t budget; /* bytes of snapshots; thin them out above it. 0: keep */
    /* Adds what else is to be in the copy. NULL: nothing. */
    bool (*extra)(void *context, struct store *out, struct store_batch *b,
                  struct error *err);
    void *extra_context;
};

struct copy_report {
    uint64_t from, to; /* ticks */
    uint64_t snapshots, dropped_snapshots;
    uint64_t bytes_before, bytes_after; /* of the files */
};

/* Writes the session `from` as `to`, a new directory, sealed. False: err, and
 * nothing is left of `to`. */
bool session_copy(const char *from, const char *to,
                  const struct copy_options *options,
                  struct copy_report *report, struct error *err);

/* Remove a session that was being made, or what there is of it. */
void session_copy_remove(const char *path);

/* In place: the session's file is replaced when the new one is complete. */
bool session_compact(const char *path, uint64_t budget,
                     struct copy_report *report, struct error *err);

#endif
