/* Integer workloads: intmix, sieve, sha256, qsort. */
#include "works.h"

#include <stdlib.h>
#include <string.h>

/* ---- intmix ---------------------------------------------------------------
 */

static uint64_t mix(uint64_t x, uint32_t y)
{
    x += y;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    if (x & 64)
        x = (x << 7) | (x >> 57);
    else
        x -= (uint32_t)x >> 3;
    return x;
}

uint64_t work_intmix(unsigned repeats)
{
    uint64_t sum = 1;
    uint32_t random = 12345;
    for (unsigned r = 0; r < repeats; r++) {
        for (unsigned i = 0; i < 200000; i++) {
            uint32_t y = next_random(&random);
            sum = mix(sum, y);
            if ((i & 63) == 0)
                sum += y / ((uint32_t)(sum >> 40) | 1);
            if ((int32_t)y > (int32_t)sum)
                sum ^= (uint64_t)y << 20;
        }
    }
    return sum;
}

/* ---- sieve ----------------------------------------------------------------
 */

uint64_t work_sieve(unsigned repeats)
{
    enum { SIZE = 1 << 20 };
    static uint8_t is_composite[SIZE];
    uint64_t primes = 0;
    for (unsigned r = 0; r < repeats; r++) {
        memset(is_composite, 0, SIZE);
        for (unsigned i = 2; i * i < SIZE; i++)
            if (!is_composite[i])
                for (unsigned j = i * i; j < SIZE; j += i)
                    is_composite[j] = 1;
        for (unsigned i = 2; i < SIZE; i++)
            primes += !is_composite[i];
    }
    return primes;
}

/* ---- sha256: FIPS PUB 180-4 ------------------------------------------------
 */

static uint32_t rotate(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32 - n));
}

/* The first 32 bits of the fraction of the cube roots of the first 64 primes
 * (4.2.2), by bisection. */
static void make_constants(uint32_t k[64])
{
    unsigned n = 0;
    for (uint64_t p = 2; n < 64; p++) {
        int is_prime = 1;
        uint64_t low = 0, high = (uint64_t)7 << 32;
        for (uint64_t d = 2; d * d <= p; d++)
            is_prime &= p % d != 0;
        if (!is_prime)
            continue;
        while (high - low > 1) { /* low^3 <= p * 2^96 < high^3 */
            uint64_t middle = (low + high) / 2;
            unsigned __int128 square = (unsigned __int128)middle * middle;
            if ((square >> 32) * middle >> 32 < (unsigned __int128)p << 32)
                low = middle;
            else
                high = middle;
        }
        k[n++] = (uint32_t)low;
    }
}

static void sha256_block(uint32_t h[8], const uint8_t *p, const uint32_t k[64])
{
    uint32_t w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5],
                    g = h[6], last = h[7];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (unsigned i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1 = last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                      ((e & f) ^ (~e & g)) + k[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                      ((a & b) ^ (a & c) ^ (b & c));
        last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
    h[4] += e, h[5] += f, h[6] += g, h[7] += last;
}

uint64_t work_sha256(unsigned repeats)
{
    static uint8_t data[1 << 20];
    uint32_t k[64];
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    make_constants(k);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    for (unsigned r = 0; r < repeats; r++)
        for (unsigned at = 0; at < sizeof data; at += 64)
            sha256_block(h, data + at, k);
    return (uint64_t)h[0] << 32 | h[7];
}

/* ---- qsort ----------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint64_t work_qsort(unsigned repeats)
{
    enum { COUNT = 100000 };
    static uint32_t v[COUNT];
    uint32_t random = 99;
    uint64_t sum = 0;
    for (unsigned r = 0; r < repeats; r++) {
        for (unsigned i = 0; i < COUNT; i++)
            v[i] = next_random(&random);
        qsort(v, COUNT, sizeof v[0], compare);
        for (unsigned i = 0; i < COUNT; i += 1000)
            sum = sum * 31 + v[i];
    }
    return sum;
}
