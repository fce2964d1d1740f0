/* Time travel within a session: stand at any tick, in any order.
 *
 * A seek starts from the best of three places: where the machine is, a
 * checkpoint in memory, a snapshot in the session; and runs forward from there.
 * Going somewhere leaves checkpoints on the way, at distances that halve toward
 * the goal, so that the next steps back from it are short. Checkpoints share
 * the pages in which they do not differ; when they take more memory than
 * allowed, those go first that are close together and far from the machine.
 *
 *     rp = replayer_open(), m = machine_new(), replayer_attach() as ever
 *     s = seeker_new(rp, m, 0, &err);
 *     seeker_goto(s, tick, &err)            any tick, any number of times
 *     seeker_run(s, until, &err)            forward only
 *     seeker_free(s);                       before replayer and machine
 *
 * The state at tick T includes the events logged with tick <= T. Between calls
 * the caller may run the machine forward with replayer_run(). After anything
 * else that changes its state (a store, a register, machine_run() past the
 * next event) it says seeker_forget_position(); memory and disk layers come
 * back with the next seeker_goto(), because stores are tracked. */
#ifndef RELIVE_REPLAY_SEEK_H
#define RELIVE_REPLAY_SEEK_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/replayer.h"

#include <stdbool.h>
#include <stdint.h>

struct seeker;

/* rp has m attached; both are borrowed, and m's tracking of stores
 * (phys_take_changes) is the seeker's. cache_bytes bounds the memory of
 * checkpoints; 0: 512 MiB. NULL: err. */
struct seeker *seeker_new(struct replayer *rp, struct machine *m,
                          uint64_t cache_bytes, struct error *err);
void seeker_free(struct seeker *s); /* takes NULL */

/* Stand at `tick` exactly: REPLAY_UNTIL, or REPLAY_END or REPLAY_TORN when it
 * is the session's last (a later one stands there too). Others as
 * replayer_run(); after REPLAY_REQUEST the machine is on the way and a second
 * call goes on. After REPLAY_FAILED only another seek can help. */
enum replay_stop seeker_goto(struct seeker *s, uint64_t tick,
                             struct error *err);

/* Run forward from where the machine is, like replayer_run(), leaving
 * checkpoints about every SEEK_STRIDE instructions. */
#define SEEK_STRIDE (UINT64_C(1) << 25)
enum replay_stop seeker_run(struct seeker *s, uint64_t until_tick,
                            struct error *err);

/* Keep a checkpoint of here and now. False: out of memory. */
bool seeker_keep(struct seeker *s, struct error *err);

/* Where a seek to `tick` would start: the tick, at or below it, of the nearest
 * checkpoint or snapshot. Reverse execution scans from seeker_floor(s, t - 1)
 * to t, then from the floor below that. */
uint64_t seeker_floor(struct seeker *s, uint64_t tick);

/* The machine is no longer where the recording was at its tick. The next
 * seeker_goto() loads a checkpoint or snapshot even if it is a step ahead. */
void seeker_forget_position(struct seeker *s);

struct seeker_stats {
    uint64_t checkpoints, cache_bytes;
    uint64_t seeks, loads; /* seeks, and how many loaded another state */
    uint64_t ticks_run;    /* while seeking */
};
void seeker_stats(const struct seeker *s, struct seeker_stats *out);

#endif
