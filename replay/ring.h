/* A lock-free ring of bytes between one producer thread and one consumer
 * thread. Records are written whole or not at all. */
#ifndef RELIVE_REPLAY_RING_H
#define RELIVE_REPLAY_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring;

/* capacity is rounded up to a power of two. NULL: out of memory. */
struct ring *ring_new(size_t capacity);
void ring_free(struct ring *r); /* takes NULL */

/* Producer: append the concatenation of a and b as one record. False: no room
 * now (or a record larger than the ring); nothing was written. */
bool ring_push(struct ring *r, const void *a, size_t a_bytes, const void *b,
               size_t b_bytes);

/* Consumer: the bytes of the next record, copied into out (capacity
 * out_bytes). Returns the record's length; 0 when the ring is empty. A record
 * longer than out_bytes is dropped to out_bytes: callers pass enough. */
size_t ring_pop(struct ring *r, void *out, size_t out_bytes);

/* Either side; exact only for the side that asks about its own progress. */
size_t ring_used(const struct ring *r);
size_t ring_capacity(const struct ring *r);

#endif
