/* Which snapshots to give up when they take too much room: those whose absence
 * makes the smallest gap in proportion to their age, so that the gaps grow with
 * age. The first and the last stay. */
#ifndef RELIVE_REPLAY_THIN_H
#define RELIVE_REPLAY_THIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thin_entry {
    uint64_t tick;
    uint64_t bytes; /* of the record */
};

struct thin {
    struct thin_entry *entries; /* owned, ascending */
    size_t count, capacity;
    uint64_t bytes; /* of all records */
};

void thin_init(struct thin *t);
void thin_fini(struct thin *t);

/* A new last one, or another size of one that is there. False: no memory. */
bool thin_put(struct thin *t, uint64_t tick, uint64_t bytes);
void thin_remove(struct thin *t, uint64_t tick);
uint64_t thin_last(const struct thin *t); /* tick; 0 when there is none */

/* The one to go next, and the one behind it, which is at or below `last`.
 * False: none may go. */
bool thin_choose(const struct thin *t, uint64_t last, uint64_t *tick,
                 uint64_t *next);

#endif
