/* Does this host give the flags that the manual leaves undefined the values that
 * cpu/flags.h fixes? Where it does, host flags are used as they are; where not,
 * the tier 0 handler runs. Either way the guest sees the same. */
#ifndef RELIVE_JIT_PROBE_H
#define RELIVE_JIT_PROBE_H

#include <stdbool.h>

struct host_flags {
    bool logic;      /* AF = 0 after AND OR XOR TEST */
    bool shifts;     /* SHL SHR SAR ROL ROR, every count and size */
    bool multiplies; /* MUL IMUL */
    bool bit_tests;  /* BT BTS BTR BTC change CF alone */
    bool bmi2;        /* shows in time alone, as the next */
    bool short_moves; /* REP MOVSB is fast for few bytes; shows in time alone */
};

void probe_host(struct host_flags *out);

#endif
