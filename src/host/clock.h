/* The host's clocks. What they show reaches the guest as events only. */
#ifndef RELIVE_HOST_CLOCK_H
#define RELIVE_HOST_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some fixed moment; never goes back. */
uint64_t clock_monotonic_ns(void);

/* Seconds since 1970, UTC. */
int64_t clock_wall_seconds(void);

#endif
