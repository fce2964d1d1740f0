/* A station runs pieces of a session over and over, each time from the same
 * state, and says what it saw: digests at many ticks, or all about one state.
 * Two stations, in processes of their own, are what bisecting compares.
 *
 * A run begins in the recording's snapshot at or below its start, cold: with no
 * compiled code and no cached translation. So a piece that is run again meets
 * the same circumstances, and what an engine got wrong it gets wrong again. */
#ifndef RELIVE_REPLAY_STATION_H
#define RELIVE_REPLAY_STATION_H

#include "base/error.h"
#include "base/stream.h"
#include "replay/replayer.h"

#include <stdbool.h>
#include <stdint.h>

enum { STATION_HASH_BYTES = 16, STATION_MARKS_MAX = 1024 };

struct station;

/* rp has m attached; both are borrowed. Digests of the recording are compared
 * no longer. NULL: err. */
struct station *station_new(struct replayer *rp, struct machine *m,
                            struct error *err);
void station_free(struct station *s); /* takes NULL */

/* start <= from <= to. Run from the state at `start` to `from`, then on to
 * `to`, and look at the state at every multiple of `every` between the two and
 * at `to`. every 0: at `to` alone.
 * block  most instructions of a block, 0: as ever. Smaller ones tell an
 * engine's instructions apart. */
struct stretch {
    uint64_t start, from, to, every;
    unsigned block;
};
/* The hash of all that was seen so far, in a stretch. */
struct station_mark {
    uint64_t tick;
    uint8_t hash[STATION_HASH_BYTES];
};
/* At most STATION_MARKS_MAX marks, evenly spread over the samples; the last is
 * at `to`, or at the tick where the guest has ended. */
bool station_run(struct station *s, const struct stretch *stretch,
                 struct station_mark marks[STATION_MARKS_MAX], unsigned *count,
                 struct error *err);

/* ---- the state that the last run ended in ----------------------------------
 */

/* As machine_save_devices(). */
void station_devices(struct station *s, struct writer *out);
/* Of each frame that is not zero: u32 number, hash. Ascending. */
void station_frames(struct station *s, struct writer *out);
/* Its contents, and its first physical address, UINT64_MAX: none. False: there
 * is no such frame. */
bool station_frame(struct station *s, uint32_t frame, const uint8_t **contents,
                   uint64_t *paddr);
/* Digest of the copy-on-write layer of each drive, one behind the other. */
void station_layers(struct station *s, struct writer *out);

/* Text: what is executed from here up to tick `to`, a line for each instruction
 * or, when they are more, for the last `most`. Moves the machine. */
bool station_code(struct station *s, uint64_t to, unsigned most,
                  struct writer *text, struct error *err);

#endif
