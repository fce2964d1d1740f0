/* When does a condition come true in a session? */
#ifndef RELIVE_REPLAY_WHEN_H
#define RELIVE_REPLAY_WHEN_H

#include "base/error.h"
#include "replay/condition.h"
#include "replay/replayer.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stdint.h>

enum when {
    WHEN_FOUND, /* the machine stands there */
    WHEN_NEVER,
    WHEN_INTERRUPTED,
    WHEN_FAILED /* err */
};

/* How when_first() looks. */
enum when_way { WHEN_BY_EXECUTION, WHEN_BY_STORES, WHEN_BY_STEPS };

struct when_search {
    struct travel *travel;     /* borrowed */
    struct replayer *replayer; /* the travel's */
    const struct condition *condition;
    uint64_t from, to;
};

/* Halve the range; it must hold at its end (WHEN_NEVER: it does not) and stay
 * true from the place on: else one of the ticks at which it comes true. */
enum when when_stays(const struct when_search *s, struct machine_place *place,
                     struct error *err);

/* The first place at which it holds. At the starts of ticks, and with
 * WHEN_BY_EXECUTION in front of handlers too. WHEN_BY_STORES looks when the CPU
 * has stored to the linear addresses and at the end of the range: not when a
 * device or another mapping of the page changes them. */
enum when when_first(const struct when_search *s, struct machine_place *place,
                     struct error *err);
enum when_way when_way(const struct condition *c);

#endif
