/* perf.h, behind a change that made scan_list slower. */
#define SCAN_ROUNDS 3000
#include "perf.h"
