/* Floating-point workloads: matmul on SSE2, x87 on the old stack. */
#include "works.h"

#include <string.h>

uint64_t work_matmul(unsigned repeats)
{
    enum { N = 160 };
    static double a[N][N], b[N][N], c[N][N];
    uint64_t bits, sum = 0;
    for (unsigned i = 0; i < N; i++) {
        for (unsigned j = 0; j < N; j++) {
            a[i][j] = 1.0 / (i + 2 * j + 1);
            b[i][j] = (i ^ j) * 0.5 - 17;
        }
    }
    for (unsigned r = 0; r < repeats; r++) {
        for (unsigned i = 0; i < N; i++) {
            for (unsigned j = 0; j < N; j++) {
                double dot = 0;
                for (unsigned k = 0; k < N; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        }
        a[r % N][(r * 7) % N] += c[3][5] * 1e-3;
        memcpy(&bits, &c[r % N][r % N], sizeof bits);
        sum = sum * 31 + bits;
    }
    return sum;
}

/* Only additions, multiplications, divisions and square roots, which the x87
 * rounds as IEEE 754 says, so every host agrees. */
uint64_t work_x87(unsigned repeats)
{
    volatile long double start = 0.7310585786300049L;
    long double x = start, sum = 0;
    double rounded;
    uint64_t bits;
    for (unsigned r = 0; r < repeats; r++) {
        for (unsigned i = 1; i <= 100000; i++) {
            long double p = (((0.5L * x - 1.25L) * x + 3.0L) * x - 0.1L) * x;
            x = x + p / (1.0L + p * p);
            if (x > 2.0L || x < -2.0L)
                x = x * 0.25L;
            if ((i & 15) == 0)
                sum += __builtin_sqrtl(x * x + 1.0L);
        }
    }
    rounded = (double)(sum + x);
    memcpy(&bits, &rounded, sizeof bits);
    return bits;
}
