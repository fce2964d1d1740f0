/* Values that instructions find interesting. */
#include "tests/lib_oracle.h"

#include <string.h>

uint64_t oracle_random(struct oracle_random *r)
{
    r->seed ^= r->seed >> 12;
    r->seed ^= r->seed << 25;
    r->seed ^= r->seed >> 27;
    return r->seed * 0x2545f4914f6cdd1du;
}

uint64_t oracle_interesting(struct oracle_random *r)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     UINT64_MAX,
                                     0x5555555555555555,
                                     0x100,
                                     0x10000,
                                     0x100000000};
    uint64_t v = oracle_random(r);
    switch (oracle_below(r, 8)) {
    case 0:
        return edges[v % (sizeof edges / sizeof edges[0])];
    case 1:
        return edges[v % (sizeof edges / sizeof edges[0])] +
               oracle_below(r, 5) - 2;
    case 2:
        return v & 0xff;
    case 3:
        return (uint64_t)((int64_t)v >> oracle_below(r, 64));
    case 4:
        return 1ULL << (v & 63);
    case 5:
        return ORACLE_DATA + (v & 0x1fff);
    default:
        return v;
    }
}

static uint32_t random_f32(struct oracle_random *r)
{
    static const uint32_t special[] = {
        0,          0x80000000, 0x3f800000, 0xbf800000, 0x00000001, 0x007fffff,
        0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00001,
        0xffc12345, 0x3f000000, 0x4f000000, 0xcf000000, 0x4f7fffff, 0x5f000000,
        0x40490fdb, 0x3fc00000, 0x40200000, 0x4b000001, 0x33800000};
    uint64_t v = oracle_random(r);
    switch (oracle_below(r, 4)) {
    case 0:
        return special[v % (sizeof special / sizeof special[0])];
    case 1: /* near 1 */
        return (uint32_t)((v & 0x807fffff) | (0x3f800000 - 0x4000000 +
                                              (v >> 32 & 0xf) * 0x800000));
    default:
        return (uint32_t)v;
    }
}

static uint64_t random_f64(struct oracle_random *r)
{
    static const uint64_t special[] = {0,
                                       0x8000000000000000,
                                       0x3ff0000000000000,
                                       0xbff0000000000000,
                                       1,
                                       0x000fffffffffffff,
                                       0x0010000000000000,
                                       0x7fefffffffffffff,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0x7ff4000000000001,
                                       0xfff8123456789abc,
                                       0x3fe0000000000000,
                                       0x41dfffffffc00000,
                                       0x41e0000000000000,
                                       0xc1e0000000000000,
                                       0x43e0000000000000,
                                       0xc3e0000000000000,
                                       0x36a0000000000000,
                                       0x47efffffe0000000,
                                       0x380fffffe0000000,
                                       0x4004000000000000};
    uint64_t v = oracle_random(r);
    switch (oracle_below(r, 4)) {
    case 0:
        return special[v % (sizeof special / sizeof special[0])];
    case 1: /* near 1 */
        return (v & 0x800fffffffffffff) |
               (0x3ff0000000000000 + ((v >> 52 & 0x1f) << 52) - (8ULL << 52));
    case 2: /* around the range of single precision */
        return (v & 0x800fffffffffffff) |
               ((v >> 62 & 1 ? 0x380ULL : 0x47eULL) - 24 + (v >> 52 & 31))
                   << 52;
    default:
        return v;
    }
}

void oracle_random_f80(struct oracle_random *r, uint8_t *out)
{
    static const uint64_t mantissas[] = {0,
                                         1,
                                         0x8000000000000000,
                                         0xc000000000000000,
                                         0xffffffffffffffff,
                                         0xa000000000000000,
                                         0x8000000000000001,
                                         0x4000000000000000};
    static const uint16_t exponents[] = {
        0, 0, 1, 0x7ffe, 0x7fff, 0x7fff, 0x3fff, 0x3ffe, 0x4000, 0x403e};
    uint64_t v = oracle_random(r);
    uint64_t mantissa = oracle_random(r) | 1ULL << 63;
    uint16_t exponent = (uint16_t)(0x3fff - 32 + (v >> 8 & 127));
    if ((v & 7) == 0)
        mantissa = mantissas[v >> 16 & 7];
    else if ((v & 7) == 1)
        mantissa &= ~0ULL << (v >> 20 & 63);
    if ((v >> 32 & 7) == 0)
        exponent = exponents[(v >> 40) % 10];
    else if ((v >> 32 & 15) == 1)
        exponent = v >> 48 & 0x7fff;
    if ((v >> 52 & 15) == 0)
        mantissa &= ~(1ULL << 63);
    exponent |= (uint16_t)(v >> 63 << 15);
    memcpy(out, &mantissa, 8);
    memcpy(out + 8, &exponent, 2);
}

/* 16 bytes of one kind. */
void oracle_fill_16(struct oracle_random *r, uint8_t *out)
{
    uint64_t v[2];
    uint32_t f[4];
    unsigned kind = oracle_below(r, 6);
    for (unsigned k = 0; k < 4; k++)
        f[k] = random_f32(r);
    for (unsigned k = 0; k < 2; k++)
        v[k] = kind == 0   ? random_f64(r)
               : kind == 1 ? oracle_interesting(r)
                           : oracle_random(r);
    memcpy(out, v, 16);
    if (kind == 2)
        memcpy(out, f, 16);
    else if (kind == 3)
        oracle_random_f80(r, out);
    else if (kind == 4)
        for (unsigned k = 0; k < 16; k++)
            out[k] = (uint8_t)oracle_interesting(r);
}

void oracle_fill_base(struct oracle_random *r, uint8_t *base)
{
    for (size_t k = 0; k < ORACLE_DATA_BYTES; k += 16)
        oracle_fill_16(r, base + k);
}

static uint16_t random_status(struct oracle_random *r, uint16_t control)
{
    uint64_t v = oracle_random(r);
    uint16_t status = (uint16_t)(v & 0x7f00); /* TOP, C0..C3 */
    if (v >> 16 & 1)
        status |= v >> 20 & 0x7f;
    if ((v >> 32 & 7) != 0) /* nothing pending, mostly */
        status &= (uint16_t)(control | ~0x3f);
    if (status & ~control & 0x3f)
        status |= 0x8080;
    return status;
}

/* An image as FXSAVE64 could have written it. */
void oracle_random_fx(struct oracle_random *r, uint8_t *fx)
{
    uint64_t v = oracle_random(r);
    uint16_t control = 0x37f, status, opcode = v >> 8 & 0x7ff;
    uint64_t ip = v >> 20 & 0x7fffffff, dp = v >> 30 & 0x7fffffff;
    uint32_t mxcsr = 0x1f80;
    memset(fx, 0, 512);
    if (v >> 62 & 1)
        control = (uint16_t)((oracle_random(r) & 0x1f3f) | 0x40 |
                             (v >> 61 & 1 ? 0x3f : 0));
    if ((control & 0x300) == 0x100) /* reserved precision */
        control |= 0x200;
    status = random_status(r, control);
    if (v & 1)
        mxcsr = (uint32_t)(oracle_random(r) & 0xffff) | (v & 6 ? 0x1f80 : 0);
    memcpy(fx, &control, 2);
    memcpy(fx + 2, &status, 2);
    fx[4] = (uint8_t)(v & 8 ? 0xff : oracle_random(r));
    memcpy(fx + 6, &opcode, 2);
    memcpy(fx + 8, &ip, 8);
    memcpy(fx + 16, &dp, 8);
    memcpy(fx + 24, &mxcsr, 4);
    for (unsigned k = 0; k < 8; k++) {
        oracle_random_f80(r, fx + 32 + 16 * k);
        if (oracle_below(r, 4) == 0) { /* as MMX leaves it */
            uint64_t m = oracle_interesting(r);
            memcpy(fx + 32 + 16 * k, &m, 8);
            memset(fx + 40 + 16 * k, 0xff, 2);
        }
    }
    for (unsigned k = 0; k < 16; k++)
        oracle_fill_16(r, fx + 160 + 16 * k);
}
