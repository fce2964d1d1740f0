/* Bisecting: two sides run one recording, and the first instruction after which
 * their states differ is found.
 *
 * The recording is taken piece by piece between its snapshots. In each, both
 * sides begin in the recorded state and are compared at many ticks; the first
 * that differs is closed in on by running from the last that did not. Ever
 * smaller blocks of code keep an engine's instructions apart, for an engine is
 * asked for a state inside of a block it lets the interpreter finish it.
 *
 * Compared is the hash of all samples up to a tick, not only the last: what
 * differs once differs for good. What differs between two samples and no longer
 * at the second is not seen; `every` says how close they are. */
#ifndef RELIVE_REPLAY_BISECT_H
#define RELIVE_REPLAY_BISECT_H

#include "base/error.h"
#include "base/stream.h"
#include "replay/station.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

/* A station, here or in another program; calls as those of station.h, which
 * see. begin_run() asks and end_run() waits, so that both sides run at once. */
struct bisect_side {
    void *context;
    bool (*begin_run)(void *context, const struct stretch *w,
                      struct error *err);
    bool (*end_run)(void *context, struct station_mark marks[STATION_MARKS_MAX],
                    unsigned *count, struct error *err);
    bool (*devices)(void *context, struct writer *out, struct error *err);
    bool (*frames)(void *context, struct writer *out, struct error *err);
    /* u64 physical address, then the contents. */
    bool (*frame)(void *context, uint32_t frame, struct writer *out,
                  struct error *err);
    bool (*layers)(void *context, struct writer *out, struct error *err);
    bool (*code)(void *context, uint64_t to, unsigned most, struct writer *out,
                 struct error *err);
};

struct bisect {
    struct store *store; /* borrowed: whose snapshots divide the recording */
    const struct bisect_side *side[2]; /* borrowed */
    uint64_t from, to;
    uint64_t every; /* ticks between samples; 0: bisect_every() */
    /* Told before each piece; NULL: nobody. False: give up (ERR_USAGE). */
    bool (*progress)(void *context, uint64_t tick);
    void *progress_context;
};

/* As close as 2^20 samples allow, at most CHECKPOINT_TICKS apart. */
uint64_t bisect_every(uint64_t from, uint64_t to);

struct bisect_result {
    bool differs;
    /* Both were equal at last_equal and differ at tick. With is_exact the one
     * follows the other, and the instruction between them is the one. */
    uint64_t last_equal, tick;
    bool is_exact;
    unsigned block; /* so many instructions were compiled together, 0: as many
                       as there are; with 1 it is the instruction for sure */
    uint64_t start; /* where the run that shows it begins */
    uint64_t every; /* what was used */
};
bool bisect_find(const struct bisect *b, struct bisect_result *out,
                 struct error *err);

/* Are both sides equal at `from` already? */
bool bisect_begins_equal(const struct bisect *b, bool *is_equal,
                         struct error *err);

/* Text: in what both sides differ at result->tick, a line each; registers by
 * name. */
bool bisect_differences(const struct bisect *b,
                        const struct bisect_result *result, struct writer *text,
                        struct error *err);
/* Text: what side n executes up to result->tick from last_equal, or the last
 * `block` instructions when they are more. */
bool bisect_code(const struct bisect *b, const struct bisect_result *result,
                 unsigned n, struct writer *text, struct error *err);

/* The part of bisect_differences() that needs no sides: two saved device
 * states. Returns how many differences were written, at most `most`. */
unsigned bisect_device_differences(const struct writer *a,
                                   const struct writer *b, unsigned most,
                                   struct writer *text);

#endif
