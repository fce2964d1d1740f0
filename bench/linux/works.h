/* The workloads of the benchmark program: one function for each row of
 * works.def. What they compute depends on `repeats` alone, so that the result
 * proves that a guest computed what the host computes. */
#ifndef BENCH_LINUX_WORKS_H
#define BENCH_LINUX_WORKS_H

#include <stdint.h>

#define WORK(name, times, what) uint64_t work_##name(unsigned repeats);
#include "works.def"
#undef WORK

/* Pseudo-random numbers (Marsaglia, "Xorshift RNGs", 2003); state is not 0. */
static inline uint32_t next_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

/* Ends the program with a message when `is_good` is false. */
void must(int is_good, const char *what);

#endif
