/* MMX handlers and the MMX forms of SSE to SSSE3 against the host CPU. */
#include "tests/lib_native.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static void random_bytes(struct native *n, uint8_t *out, unsigned length)
{
    for (unsigned k = 0; k < length; k += 8) {
        uint64_t r = native_random(n), v = native_random(n);
        if ((r & 7) == 0)
            v &= 0x8000800080008080;
        else if ((r & 7) == 1)
            v |= 0x7fff7fff7fff7f7f;
        else if ((r & 7) == 2)
            v >>= r >> 8 & 63; /* shift counts, small numbers */
        memcpy(out + k, &v, 8);
    }
}

static void random_state(struct native *n)
{
    uint64_t r = native_random(n);
    uint32_t mxcsr = 0x1f80 | (r & 0x6040);

    memset(n->before, 0, 512);
    store_le16(n->before, 0x37f);
    store_le16(n->before + 2, r >> 16 & 0x7f00);
    n->before[4] = (uint8_t)(r >> 32);
    memcpy(n->before + 24, &mxcsr, 4);
    for (unsigned k = 0; k < 8; k++)
        random_bytes(n, n->before + 32 + 16 * k, 16);
    for (unsigned k = 0; k < 8; k++)
        memset(n->before + 42 + 16 * k, 0, 6);
    random_bytes(n, n->before + 160, 256);
    random_bytes(n, n->memory, 128);
    n->regs[0] = 0x202;
    n->regs[1] = native_random(n);
}

static bool is_same(const struct native *n)
{
    return memcmp(n->after, n->guest, 5) == 0 &&
           memcmp(n->after + 24, n->guest + 24, 4) == 0 &&
           memcmp(n->after + 32, n->guest + 32, 384) == 0 &&
           n->regs[1] == n->cpu->r[REG_RAX] &&
           memcmp(n->host_memory, n->memory, 128) == 0;
}

static void run(struct native *n, const uint8_t *code, unsigned length,
                unsigned rounds)
{
    struct insn i;

    if (!native_decode(n, code, length, &i))
        return;
    for (unsigned k = 0; k < rounds; k++) {
        random_state(n);
        assert_int_equal(native_run(n, code, length), EXC_NONE);
        if (is_same(n))
            continue;
        for (unsigned b = 0; b < 416; b++)
            if (n->after[b] != n->guest[b])
                print_message("%3u: before %02x host %02x guest %02x\n", b,
                              n->before[b], n->after[b], n->guest[b]);
        for (unsigned b = 0; b < length; b++)
            print_message("%02x ", code[b]);
        fail_msg("host and interpreter differ");
    }
}

/* Does the instruction have an MMX operand, and no general register but RAX,
 * the one that is free? */
static bool is_mmx(const struct native *n, const uint8_t *code,
                   unsigned length)
{
    struct insn i;

    if (!native_decode(n, code, length, &i) || !(i.third & 0x80))
        return false;
    return ((i.classes & 15) != REG_CLASS_GENERAL || i.dst == REG_RAX) &&
           (i.classes >> 4 != REG_CLASS_GENERAL || i.src == REG_RAX);
}

/* reg, rm: 1, 2; 1, 0; 0, 3; 0, 0; group 71..73's 2, 4 and 6; and 1, [rsi] */
static const uint8_t modrms[] = {0xca, 0xc8, 0xc3, 0xc0,
                                 0xd5, 0xe5, 0xf5, 0x0e};

static void run_map(struct native *n, const uint8_t *prefix, unsigned length,
                    bool has_imm)
{
    for (unsigned opcode = 0; opcode < 256; opcode++)
        for (unsigned m = 0; m < sizeof modrms; m++) {
            uint8_t code[8] = {0};
            unsigned at = length;
            memcpy(code, prefix, length);
            code[at++] = (uint8_t)opcode;
            code[at++] = modrms[m];
            if (!has_imm) {
                if (is_mmx(n, code, at))
                    run(n, code, at, 200);
                continue;
            }
            for (unsigned imm = 0; imm < 256; imm += 1 + imm / 20) {
                code[at] = (uint8_t)imm;
                if (is_mmx(n, code, at + 1))
                    run(n, code, at + 1, 20);
            }
        }
}

static void two_byte_opcodes_match_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x0f}, 1, false);
}
static void wide_moves_match_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x48, 0x0f}, 2, false);
}
static void immediate_forms_match_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x0f}, 1, true);
}
static void ssse3_forms_match_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x0f, 0x38}, 2, false);
}
static void palignr_matches_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x0f, 0x3a}, 2, true);
}
static void conversions_and_xmm_moves_match_host(void **state)
{
    run_map(*state, (const uint8_t[]){0x66, 0x0f}, 2, false);
    run_map(*state, (const uint8_t[]){0xf2, 0x0f}, 2, false);
    run_map(*state, (const uint8_t[]){0xf3, 0x0f}, 2, false);
}

static void cvtpi2pd_from_memory_leaves_x87_alone(void **state)
{
    run(*state, (const uint8_t[]){0x66, 0x0f, 0x2a, 0x0e}, 4, 100);
}
static void cvtpi2ps_from_memory_matches_host(void **state)
{
    run(*state, (const uint8_t[]){0x0f, 0x2a, 0x0e}, 3, 100);
}
static void emms_empties_the_registers(void **state)
{
    run(*state, (const uint8_t[]){0x0f, 0x77}, 2, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_byte_opcodes_match_host),
        cmocka_unit_test(wide_moves_match_host),
        cmocka_unit_test(immediate_forms_match_host),
        cmocka_unit_test(ssse3_forms_match_host),
        cmocka_unit_test(palignr_matches_host),
        cmocka_unit_test(conversions_and_xmm_moves_match_host),
        cmocka_unit_test(cvtpi2pd_from_memory_leaves_x87_alone),
        cmocka_unit_test(cvtpi2ps_from_memory_matches_host),
        cmocka_unit_test(emms_empties_the_registers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
