/* Guest time as people write it: "2.5s", "250ms", "3m". */
#ifndef RELIVE_BASE_DURATION_H
#define RELIVE_BASE_DURATION_H

#include <stdbool.h>
#include <stdint.h>

/* A decimal number with at most nine digits behind the point and one of the
 * units ns, us, ms, s, m. False: it is not that, or above 2^63 ns. */
bool duration_parse(const char *text, uint64_t *ns);

/* cpu_mhz ticks pass in a guest microsecond. Saturates at UINT64_MAX. */
uint64_t duration_ticks(uint64_t ns, uint32_t cpu_mhz);
uint64_t duration_ns(uint64_t ticks, uint32_t cpu_mhz);

#endif
