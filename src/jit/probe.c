#include "jit/probe.h"

#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/access.h"

#include <Zydis/Mnemonic.h>

#include <cpuid.h>
#include <string.h>

/* Operands whose products, shifts and bits cover the interesting cases. */
static const uint64_t values[] = {
    0,          1,          2,          0x7f,       0x80,
    0xff,       0x100,      0x7fff,     0x8000,     0xffff,
    0x10000,    0x7fffffff, 0x80000000, 0xffffffff, 0x123456789abcdef0,
    0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
    0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0xdeadbeefcafebabe};
enum { VALUES = sizeof values / sizeof values[0] };

#define HOST_FLAGS(instruction, size_type, a, b, f)                            \
    do {                                                                       \
        size_type x_ = (size_type)(a), y_ = (size_type)(b);                    \
        __asm__ volatile("cmp $0x81, %%al\n\tsahf\n\t" instruction             \
                         "\n\tlahf\n\tseto %%al"                               \
                         : "+a"(f), [x] "+r"(x_)                               \
                         : [y] "r"(y_), "c"((uint8_t)(b))                      \
                         : "cc");                                              \
    } while (0)

/* What tier 0 leaves in aflags, and the first operand. */
static uint16_t tier0(insn_fn *fn, uint16_t mnemonic, unsigned size, uint64_t a,
                      uint64_t b, uint16_t before)
{
    static const struct cpu blank;
    struct cpu c = blank;
    struct insn i = {.mnemonic = mnemonic,
                     .form = FORM_RR,
                     .size = (uint8_t)size,
                     .size1 = (uint8_t)size,
                     .dst = size == 1 ? REG_RBX * 8 : REG_RBX,
                     .src = REG_RCX,
                     .opsize = (uint8_t)size};
    c.r[REG_RBX] = a;
    c.r[REG_RCX] = b;
    c.aflags = before;
    (void)fn(&c, &i);
    return c.aflags;
}

static bool probe_logic(void)
{
    for (unsigned n = 0; n < VALUES * VALUES; n++) {
        uint64_t a = values[n / VALUES], b = values[n % VALUES];
        uint16_t f = 0xd701, all = 0;
        HOST_FLAGS("and %[y], %[x]", uint64_t, a, b, f);
        all |= f;
        f = 0xd701;
        HOST_FLAGS("or %[y], %[x]", uint64_t, a, b, f);
        all |= f;
        f = 0xd701;
        HOST_FLAGS("xor %[y], %[x]", uint64_t, a, b, f);
        all |= f;
        f = 0xd701;
        HOST_FLAGS("test %[y], %[x]", uint64_t, a, b, f);
        if ((all | f) & AF_AF)
            return false;
    }
    return true;
}

#define SHIFT_ROW(name, suffix, type, bytes)                                   \
    f = before;                                                                \
    HOST_FLAGS(name suffix " %%cl, %[x]", type, a, count, f);                  \
    ok &= f == tier0(op_shift, mnemonic, bytes, a, count, before);
#define SHIFT_MNEMONIC(name, id)                                               \
    do {                                                                       \
        const uint16_t mnemonic = id;                                          \
        uint16_t f;                                                            \
        SHIFT_ROW(name, "b", uint8_t, 1)                                       \
        SHIFT_ROW(name, "w", uint16_t, 2)                                      \
        SHIFT_ROW(name, "l", uint32_t, 4)                                      \
        SHIFT_ROW(name, "q", uint64_t, 8)                                      \
    } while (0)

/* Shifts by a constant are another instruction, with other undefined flags. */
#define CONSTANT_ROW(name, suffix, type, bytes, count)                         \
    f = before;                                                                \
    HOST_FLAGS(name suffix " $" #count ", %[x]", type, a, count, f);           \
    ok &= f == tier0(op_shift, mnemonic, bytes, a, count, before);
#define CONSTANT_COUNT(name, count)                                            \
    CONSTANT_ROW(name, "b", uint8_t, 1, count)                                 \
    CONSTANT_ROW(name, "w", uint16_t, 2, count)                                \
    CONSTANT_ROW(name, "l", uint32_t, 4, count)                                \
    CONSTANT_ROW(name, "q", uint64_t, 8, count)
#define CONSTANT_MNEMONIC(name, id)                                            \
    do {                                                                       \
        const uint16_t mnemonic = id;                                          \
        uint16_t f;                                                            \
        CONSTANT_COUNT(name, 1)                                                \
        CONSTANT_COUNT(name, 3)                                                \
        CONSTANT_COUNT(name, 8)                                                \
        CONSTANT_COUNT(name, 13)                                               \
        CONSTANT_COUNT(name, 31)                                               \
    } while (0)

static bool probe_constant_shifts(void)
{
    bool ok = true;
    for (unsigned n = 0; ok && n < VALUES * 2; n++) {
        uint64_t a = values[n / 2];
        uint16_t before = n & 1 ? 0xd701 : 0x0200;
        CONSTANT_MNEMONIC("shl", ZYDIS_MNEMONIC_SHL);
        CONSTANT_MNEMONIC("shr", ZYDIS_MNEMONIC_SHR);
        CONSTANT_MNEMONIC("sar", ZYDIS_MNEMONIC_SAR);
    }
    return ok;
}

static bool probe_shifts(void)
{
    bool ok = true;
    for (unsigned n = 0; ok && n < VALUES * 64 * 2; n++) {
        uint64_t a = values[n / 128];
        uint8_t count = n / 2 % 64;
        uint16_t before = n & 1 ? 0xd701 : 0x0200;
        SHIFT_MNEMONIC("shl", ZYDIS_MNEMONIC_SHL);
        SHIFT_MNEMONIC("shr", ZYDIS_MNEMONIC_SHR);
        SHIFT_MNEMONIC("sar", ZYDIS_MNEMONIC_SAR);
        SHIFT_MNEMONIC("rol", ZYDIS_MNEMONIC_ROL);
        SHIFT_MNEMONIC("ror", ZYDIS_MNEMONIC_ROR);
    }
    return ok;
}

static uint16_t multiply_flags(bool is_signed, unsigned size, uint64_t a,
                               uint64_t b)
{
    uint16_t f;
    uint64_t low = a, high;
    if (size == 8 && is_signed)
        __asm__("imulq %3\n\tmov %%rax, %0\n\tlahf\n\tseto %%al"
                : "=&r"(high), "+a"(low), "=d"(a) : "r"(b) : "cc");
    else if (size == 8)
        __asm__("mulq %3\n\tmov %%rax, %0\n\tlahf\n\tseto %%al"
                : "=&r"(high), "+a"(low), "=d"(a) : "r"(b) : "cc");
    else if (is_signed)
        __asm__("imull %k3\n\tmov %%rax, %0\n\tlahf\n\tseto %%al"
                : "=&r"(high), "+a"(low), "=d"(a) : "r"(b) : "cc");
    else
        __asm__("mull %k3\n\tmov %%rax, %0\n\tlahf\n\tseto %%al"
                : "=&r"(high), "+a"(low), "=d"(a) : "r"(b) : "cc");
    f = (uint16_t)low;
    return f;
}

static uint16_t tier0_multiply(bool is_signed, unsigned size, uint64_t a,
                               uint64_t b)
{
    unsigned bits = size * 8;
    __int128 p = is_signed
                     ? (__int128)((int64_t)(a << (64 - bits)) >> (64 - bits)) *
                           ((int64_t)(b << (64 - bits)) >> (64 - bits))
                     : 0;
    unsigned __int128 u =
        (unsigned __int128)(a & UINT64_MAX >> (64 - bits)) *
        (b & UINT64_MAX >> (64 - bits));
    uint64_t low = is_signed ? (uint64_t)p : (uint64_t)u;
    bool over = is_signed
                    ? p != (int64_t)(low << (64 - bits)) >> (64 - bits)
                    : (u >> bits) != 0;
    return (uint16_t)((flags_of_result(low, bits) & ~AF_ZF) |
                      (over ? AF_CF | AF_OF : 0));
}

static bool probe_multiplies(void)
{
    for (unsigned n = 0; n < VALUES * VALUES * 4; n++) {
        uint64_t a = values[n / 4 / VALUES], b = values[n / 4 % VALUES];
        unsigned size = n & 1 ? 8 : 4;
        bool is_signed = n & 2;
        if (multiply_flags(is_signed, size, a, b) !=
            tier0_multiply(is_signed, size, a, b))
            return false;
        uint16_t f = 0xd701;
        if (size == 8)
            HOST_FLAGS("imulq %[y], %[x]", uint64_t, a, b, f);
        else
            HOST_FLAGS("imull %[y], %[x]", uint32_t, a, b, f);
        if (f != tier0_multiply(true, size, a, b))
            return false;
    }
    return true;
}

static bool probe_bit_tests(void)
{
    for (unsigned n = 0; n < VALUES * 64; n++) {
        uint64_t a = values[n / 64], b = n % 64;
        uint16_t f = 0xd601, g = 0xd601;
        HOST_FLAGS("btq %[y], %[x]", uint64_t, a, b, f);
        HOST_FLAGS("btsq %[y], %[x]", uint64_t, a, b, g);
        uint16_t want = (uint16_t)(0xd601 | (a >> b & 1 ? AF_CF : 0));
        if (f != want || g != want)
            return false;
    }
    return true;
}

void probe_host(struct host_flags *out)
{
    out->logic = probe_logic();
    out->shifts = probe_shifts() && probe_constant_shifts();
    out->multiplies = probe_multiplies();
    out->bit_tests = probe_bit_tests();
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        out->bmi2 = b >> 8 & 1;        /* SDM vol. 2A CPUID */
        out->short_moves = d >> 4 & 1; /* FSRM */
    }
}
