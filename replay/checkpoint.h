/* When a recorder takes a digest: the one rule, a function of ticks and retired
 * instructions alone, so that two recordings of the same run have digests at
 * the same ticks.
 *
 * Candidates are the multiples of 2^24 ticks. A digest is taken at a candidate
 * when at least 2^24 instructions have retired, or 2^30 ticks have passed,
 * since the last digest (or the start). A busy guest is checked every 17 ms of
 * its time, an idle one about once a second, which keeps its log below 500
 * bytes a second. One more digest is taken where the recording ends. */
#ifndef RELIVE_REPLAY_CHECKPOINT_H
#define RELIVE_REPLAY_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#define CHECKPOINT_TICKS     (UINT64_C(1) << 24)
#define CHECKPOINT_INSNS     (UINT64_C(1) << 24)
#define CHECKPOINT_TICKS_MAX (UINT64_C(1) << 30)

struct checkpoint {
    uint64_t tick;  /* of the last digest; 0 at the start */
    uint64_t insns; /* retired then */
};

/* The first candidate after `tick`. */
static inline uint64_t checkpoint_next(uint64_t tick)
{
    return (tick / CHECKPOINT_TICKS + 1) * CHECKPOINT_TICKS;
}

/* Is a digest due at `tick`, with `insns` retired so far? */
static inline bool checkpoint_due(const struct checkpoint *last, uint64_t tick,
                                  uint64_t insns)
{
    if (tick % CHECKPOINT_TICKS != 0 || tick == last->tick)
        return false;
    return insns - last->insns >= CHECKPOINT_INSNS ||
           tick - last->tick >= CHECKPOINT_TICKS_MAX;
}

#endif
