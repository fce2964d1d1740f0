/* x87 handlers against the host CPU, on random and special operands. */
#include "tests/lib_native.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static struct native native;

    *state = &native;
    return native_init(&native) ? 0 : -1;
}

static int tear_down(void **state)
{
    native_fini(*state);
    return 0;
}

/* ---- operands --------------------------------------------------------- */

static void random_f80(struct native *n, uint8_t *out)
{
    static const uint64_t mantissas[] = {
        0, 1, 0x8000000000000000, 0xc000000000000000, 0xffffffffffffffff,
        0xa000000000000000, 0x8000000000000001, 0x4000000000000000};
    static const uint16_t exponents[] = {0, 0, 1, 0x7ffe, 0x7fff, 0x7fff,
                                         0x3fff, 0x3ffe, 0x4000};
    uint64_t r = native_random(n);
    uint64_t mantissa = native_random(n) | 1ull << 63;
    uint16_t exponent = (uint16_t)(0x3fff - 32 + (r >> 8 & 127));

    if ((r & 7) == 0)
        mantissa = mantissas[r >> 16 & 7];
    else if ((r & 7) == 1)
        mantissa &= ~0ull << (r >> 20 & 63);
    if ((r >> 32 & 7) == 0)
        exponent = exponents[(r >> 40) % 9];
    else if ((r >> 32 & 15) == 1)
        exponent = r >> 48 & 0x7fff;
    if ((r >> 52 & 15) == 0)
        mantissa &= ~(1ull << 63);
    exponent |= (uint16_t)(r >> 63 << 15);
    memcpy(out, &mantissa, 8);
    memcpy(out + 8, &exponent, 2);
}

static void random_memory(struct native *n)
{
    uint64_t r = native_random(n), v = native_random(n);

    for (unsigned k = 0; k < 128; k += 8) {
        uint64_t filler = native_random(n);
        memcpy(n->memory + k, &filler, 8);
    }
    switch (r & 7) {
    case 0: /* small integers */
        v = (uint64_t)((int64_t)v >> (r >> 8 & 63));
        break;
    case 1: /* single-precision specials */
        v &= 0xffffffff007fffff;
        v |= (r >> 8 & 1) * 0x7f800000;
        break;
    case 2: /* double-precision specials */
        v &= 0x800fffffffffffff;
        v |= (r >> 8 & 1) * 0x7ff0000000000000;
        break;
    case 3:
        v &= 0x8000000080000000;
        break;
    default:
        break;
    }
    memcpy(n->memory, &v, 8);
}

/* A state without a pending exception. */
static void random_state(struct native *n)
{
    uint64_t r = native_random(n);
    uint16_t control = 0x40 | 0x3f, status = r & 0x7f00;
    uint32_t mxcsr = 0x1f80;

    memset(n->before, 0, 512);
    control |= r >> 16 & 0xf00;
    if ((control & 0x300) == 0x100)
        control |= 0x300;
    if ((r >> 24 & 3) == 0)
        control &= (uint16_t)(~0x3f | (r >> 32 & 0x3f));
    status |= (uint16_t)(r >> 40 & control & 0x3f);
    memcpy(n->before, &control, 2);
    memcpy(n->before + 2, &status, 2);
    n->before[4] = (uint8_t)(r >> 48);
    if (r >> 56 & 3) /* mostly: ST0..ST5 full, ST6 and ST7 empty */
        n->before[4] = (uint8_t)(0x3f3f << (status >> 11 & 7) >> 8 |
                                 0x3f << (status >> 11 & 7));
    memcpy(n->before + 24, &mxcsr, 4);
    for (unsigned k = 0; k < 8; k++)
        random_f80(n, n->before + 32 + 16 * k);
    n->regs[0] = 0x202 | (native_random(n) & 0x8d5);
    n->regs[1] = native_random(n);
    random_memory(n);
}

/* ---- comparison ------------------------------------------------------- */

static void report(const struct native *n, const uint8_t *code,
                   unsigned length)
{
    struct insn i;

    native_decode(n, code, length, &i);
    print_message("instruction %02x %02x (mnemonic %u)\n", code[0], code[1],
                  i.mnemonic);
    for (unsigned k = 0; k < 160; k++)
        if (k < 24 || n->after[k] != n->guest[k])
            print_message("%3u: before %02x host %02x guest %02x\n", k,
                          n->before[k], n->after[k], n->guest[k]);
    print_message("flags host %llx guest %x\n",
                  (unsigned long long)n->regs[0], cpu_rflags(n->cpu));
    for (unsigned k = 0; k < 16; k++)
        print_message("memory %2u: host %02x guest %02x\n", k,
                      n->host_memory[k], n->memory[k]);
}

/* Equal but for FCS, FDS and the status bits in `ignored`. */
static bool is_same(struct native *n, unsigned ignored)
{
    static const uint8_t skipped[] = {12, 13, 14, 15, 20, 21, 22, 23,
                                      28, 29, 30, 31};
    uint16_t host, guest;

    memcpy(&host, n->after + 2, 2);
    memcpy(&guest, n->guest + 2, 2);
    if ((host ^ guest) & ~ignored)
        return false;
    memcpy(n->after + 2, &guest, 2);
    /* Newer CPUs record the operand address for unmasked exceptions only. */
    if (load_le32(n->after + 16) == 0)
        memcpy(n->after + 16, n->guest + 16, 4);
    for (unsigned k = 0; k < sizeof skipped; k++)
        n->after[skipped[k]] = n->guest[skipped[k]];
    return memcmp(n->after, n->guest, 160) == 0 &&
           ((n->regs[0] ^ cpu_rflags(n->cpu)) & 0x8d5) == 0 &&
           n->regs[1] == n->cpu->r[REG_RAX] &&
           memcmp(n->host_memory, n->memory, 128) == 0;
}

static void compare(struct native *n, const uint8_t *code, unsigned length,
                    unsigned ignored)
{
    if (is_same(n, ignored))
        return;
    report(n, code, length);
    fail_msg("host and interpreter differ");
}

static bool is_transcendental(unsigned opcode, unsigned modrm)
{
    return opcode == 0xd9 &&
           ((modrm >= 0xf0 && modrm <= 0xf3) || modrm == 0xf9 ||
            modrm == 0xfb || modrm == 0xfe || modrm == 0xff);
}

/* Every claimed encoding of one opcode byte. */
static void run_opcode(struct native *n, uint8_t opcode, bool is_memory,
                       unsigned rounds)
{
    struct insn i;

    for (unsigned modrm = 0; modrm < 256; modrm++) {
        uint8_t code[2] = {opcode, (uint8_t)modrm};
        if ((modrm >= 0xc0) == is_memory ||
            (is_memory && (modrm & 0xc7) != 6) ||
            is_transcendental(opcode, modrm))
            continue;
        if (!native_decode(n, code, 2, &i))
            continue;
        for (unsigned k = 0; k < rounds; k++) {
            random_state(n);
            assert_int_equal(native_run(n, code, 2), EXC_NONE);
            compare(n, code, 2, 0);
        }
    }
}

static void register_forms_match_host(void **state)
{
    for (unsigned opcode = 0xd8; opcode <= 0xdf; opcode++)
        run_opcode(*state, (uint8_t)opcode, false, 150);
}

static void memory_forms_match_host(void **state)
{
    for (unsigned opcode = 0xd8; opcode <= 0xdf; opcode++)
        run_opcode(*state, (uint8_t)opcode, true, 1200);
}

/* ---- transcendental functions ----------------------------------------- */

/* The distance of two values in units of the last place; large when their kinds
 * differ. */
static uint64_t ulps(const uint8_t *a, const uint8_t *b)
{
    uint64_t ma = load_le64(a), mb = load_le64(b);
    uint16_t ea = load_le16(a + 8), eb = load_le16(b + 8);

    if (ea == eb)
        return ma > mb ? ma - mb : mb - ma;
    if (ea == eb + 1 && ma == 1ull << 63)
        return 0 - mb;
    if (eb == ea + 1 && mb == 1ull << 63)
        return 0 - ma;
    return UINT64_MAX;
}

static void function_matches(struct native *n, uint8_t modrm, int low,
                             int high)
{
    uint8_t code[2] = {0xd9, modrm};
    uint16_t control = 0x37f, host, guest;

    for (unsigned k = 0; k < 3000; k++) {
        random_state(n);
        memcpy(n->before, &control, 2);
        for (unsigned st = 0; st < 2; st++) {
            uint64_t r = native_random(n);
            uint8_t *at = n->before + 32 + 16 * st;
            if ((r & 3) == 0)
                continue;
            uint16_t exponent =
                (uint16_t)(0x3fff + low +
                           (int)((r >> 8) % (unsigned)(high - low + 1)));
            exponent |= (uint16_t)(r >> 63 << 15);
            at[7] |= 0x80;
            memcpy(at + 8, &exponent, 2);
        }
        assert_int_equal(native_run(n, code, 2), EXC_NONE);
        bool is_near = true;
        for (unsigned st = 0; st < 8; st++)
            if (ulps(n->after + 32 + 16 * st, n->guest + 32 + 16 * st) > 1)
                is_near = false;
        memcpy(&host, n->after + 2, 2);
        memcpy(&guest, n->guest + 2, 2);
        is_near &= ((host ^ guest) & 0x3c5f) == 0 &&
                   n->after[4] == n->guest[4];
        if (!is_near) {
            report(n, code, 2);
            fail_msg("host and interpreter differ by more than an ulp");
        }
    }
}

static void fsin_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xfe, -70, 63);
}
static void fcos_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xff, -70, 63);
}
static void fsincos_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xfb, -70, 63);
}
static void fptan_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xf2, -70, 63);
}
static void fpatan_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xf3, -40, 40);
}
static void f2xm1_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xf0, -70, -1);
}
static void fyl2x_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xf1, -60, 60);
}
static void fyl2xp1_is_within_an_ulp(void **state)
{
    function_matches(*state, 0xf9, -70, -3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(register_forms_match_host),
        cmocka_unit_test(memory_forms_match_host),
        cmocka_unit_test(fsin_is_within_an_ulp),
        cmocka_unit_test(fcos_is_within_an_ulp),
        cmocka_unit_test(fsincos_is_within_an_ulp),
        cmocka_unit_test(fptan_is_within_an_ulp),
        cmocka_unit_test(fpatan_is_within_an_ulp),
        cmocka_unit_test(f2xm1_is_within_an_ulp),
        cmocka_unit_test(fyl2x_is_within_an_ulp),
        cmocka_unit_test(fyl2xp1_is_within_an_ulp),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
