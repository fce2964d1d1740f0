/* Decoded blocks and code that changes. */
#include "lib_fuzz.h"

#include "cpu/cpu.h"
#include "cpu/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    CODE_AT = 0x8000,
    CHANGES = 300000,
    ROUNDS = 400,
    ROUND_TICKS = 40
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 16;
}

/* Any instruction, one or more of its bytes changed. */
static void a_changed_instruction_is_what_decoding_says(void **state)
{
    uint64_t seed = 1;
    unsigned kept = 0;
    (void)state;
    for (unsigned n = 0; n < CHANGES; n++) {
        enum cpu_mode mode = (enum cpu_mode)(n % 3);
        uint8_t old[16], bytes[16];
        struct insn i, fresh;
        for (unsigned k = 0; k < sizeof old; k++)
            old[k] = (uint8_t)next_random(&seed);
        if (n & 4)
            old[0] = 0x0f;
        memcpy(bytes, old, sizeof old);
        if (decode_insn(old, 15, mode, &i) != DECODE_OK)
            continue;
        unsigned len = i.len, cls = i.cls;
        unsigned from = (unsigned)(next_random(&seed) % len);
        unsigned to = n & 8 ? from + 1 : len;
        for (unsigned k = from; k < to; k++)
            bytes[k] = (uint8_t)next_random(&seed);
        bool is_ok = decode_insn(bytes, 15, mode, &fresh) == DECODE_OK;
        if (decode_changed(old, bytes, mode, &i)) {
            assert_true(is_ok);
            assert_memory_equal(&i, &fresh, sizeof i);
            kept++;
        } else {
            assert_true(!is_ok || fresh.len != len || fresh.cls != cls);
        }
    }
    assert_true(kept > CHANGES / 4);
}

/* AX and BX go through a loop of instructions of which one is changed in every
 * round, by a device; mostly its immediate, sometimes the whole. */
static void code_that_changes_all_the_time_is_never_stale(void **state)
{
    static const uint8_t code[] = {
        0xb8, 0x34, 0x12, /* mov ax, 1234h */
        0x05, 0x01, 0x00, /* add ax, 1 */
        0x83, 0xe8, 0x02, /* sub ax, 2 */
        0x01, 0xc3,       /* add bx, ax */
        0xeb, 0xf3        /* again */
    };
    static const struct {
        uint8_t at, bytes, with[3];
    } changes[] = {
        {1, 2, {0x78, 0x56}},       {4, 1, {0xff}},
        {8, 1, {0x80}},             {9, 1, {0x29}},
        {9, 1, {0x01}},             {6, 3, {0x83, 0xc0, 0x11}},
        {3, 3, {0x90, 0x90, 0x40}}, {3, 3, {0x05, 0x03, 0x00}},
        {6, 3, {0xeb, 0x01, 0x90}}, {6, 3, {0x83, 0xf0, 0x55}},
    };
    enum { COUNT = sizeof changes / sizeof changes[0] };
    struct machine *m = fuzz_machine(0, 1);
    uint64_t seed = 7, tick = 0;
    (void)state;
    phys_write(machine_phys(m), CODE_AT, code, sizeof code);
    cpu_set_real_segment(machine_cpu(m), SEG_CS, 0);
    machine_cpu(m)->r[REG_RIP] = CODE_AT;
    cpu_update_mode(machine_cpu(m));
    for (unsigned n = 0; n < ROUNDS; n++) {
        unsigned k = (unsigned)(next_random(&seed) % COUNT);
        uint8_t immediate[2] = {(uint8_t)n, (uint8_t)(n >> 4)};
        phys_write(machine_phys(m), CODE_AT + changes[k].at, changes[k].with,
                   changes[k].bytes);
        phys_write(machine_phys(m), CODE_AT + 1, immediate, n & 3 ? 2 : 1);
        struct machine *fresh = fuzz_fork(m, 0, 1);
        tick += ROUND_TICKS;
        assert_int_equal(machine_run(m, tick), STOP_TICK);
        assert_int_equal(machine_run(fresh, tick), STOP_TICK);
        fuzz_same(fresh, m, "decoded anew");
        machine_free(fresh);
    }
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_instruction_is_what_decoding_says),
        cmocka_unit_test(code_that_changes_all_the_time_is_never_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
