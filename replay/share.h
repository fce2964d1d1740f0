/* Shares of a session: parts between snapshots that can be verified apart, in
 * any order or at once. Every share's end is compared with the snapshot at
 * which the next one starts, so all of them together prove what one replay of
 * the whole does. */
#ifndef RELIVE_REPLAY_SHARE_H
#define RELIVE_REPLAY_SHARE_H

#include "base/error.h"
#include "replay/replayer.h"
#include "replay/session.h"

#include <stdbool.h>
#include <stdint.h>

struct share {
    uint64_t from, to; /* ticks; equal: there are more shares than snapshots */
    uint64_t insns;    /* retired between them, about */
    bool is_first, is_last;
};

/* Share number `index`, from 1, of `count` with about equally many
 * instructions. The same for everyone who asks. */
bool share_find(const struct session *s, unsigned index, unsigned count,
                struct share *out, struct error *err);

/* Run a share from its start to its end: REPLAY_UNTIL or, of the last share,
 * as replayer_run() ends. After REPLAY_REQUEST share_run() goes on. */
enum replay_stop share_start(struct replayer *r, const struct share *share,
                             struct error *err);
enum replay_stop share_run(struct replayer *r, const struct share *share,
                           struct error *err);

#endif
