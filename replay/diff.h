/* Where two recordings of one machine part: in configuration or media, in what
 * came from outside, or in state although nothing else differs. */
#ifndef RELIVE_REPLAY_DIFF_H
#define RELIVE_REPLAY_DIFF_H

#include "base/error.h"
#include "base/stream.h"
#include "board/event.h"
#include "replay/session.h"

#include <stdbool.h>
#include <stdint.h>

struct diff {
    uint64_t events_equal, digests_equal;

    /* The first event that differs; the one that is not there has type 0. The
     * end of a recording is no event. */
    bool events_differ;
    struct event event[2];

    /* The first digest that differs, and the last equal one. */
    bool digests_differ;
    uint64_t last_equal, first_differing;
    bool cpu_differs, io_differs, mem_differs;
};

/* Text: a line for each key of the configuration and each medium that is not
 * the same in both. */
bool diff_machines(const struct session *a, const struct session *b,
                   struct writer *text, struct error *err);
bool diff_recordings(const struct session *a, const struct session *b,
                     struct diff *out, struct error *err);

/* Did an event come before the states differed? */
bool diff_is_event(const struct diff *d);

#endif
