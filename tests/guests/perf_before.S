/* perf.h, before a change. */
#define SCAN_ROUNDS 2000
#include "perf.h"
