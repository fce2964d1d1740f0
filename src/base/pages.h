/* Address space that the host backs with memory only where it is touched. */
#ifndef RELIVE_BASE_PAGES_H
#define RELIVE_BASE_PAGES_H

#include <stdint.h>

/* Zeros, at the start of a page; NULL on failure. */
void *pages_reserve(uint64_t bytes);
/* Takes what was reserved, and NULL. */
void pages_release(void *at, uint64_t bytes);

#endif
