/* Debian's amd64 kernel: shells over the serial line and on the screen. */
#include "lib_linux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void linux_amd64_boots_records_and_replays(void **state)
{
    linux_records_and_replays(*state, "amd64", "x86_64");
}

/* The kernel unpacks itself, finds its devices and starts the first program. */
static void tiers_agree_over_a_boot(void **state)
{
    static const char *const engines[] = {
        "tier1", "tier2 --jit-tier2-threshold 20 --stress-slice 1",
        "tier2 --jit-tier2-threshold 1 --jit-threshold 1 --jit-cache 1M "
        "--jit-wait",
        "tier2 --jit-tier2-threshold 20 --jit-blocks 300 --jit-block 9"};
    char first[64], again[64];
    for (size_t n = 0; n < sizeof engines / sizeof engines[0]; n++) {
        lab_run(*state,
                "$R run --kernel $G/vmlinuz-amd64 --initrd $G/initrd-amd64 "
                "--append 'console=ttyS0 quiet' --mem 256M --until 4s "
                "--rtc 2026-01-31T12:00:00 --engine %s",
                engines[n]);
        lab_assert_status(*state, 0);
        lab_state(*state, n ? again : first);
        if (n)
            assert_string_equal(first, again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_amd64_boots_records_and_replays),
        cmocka_unit_test(tiers_agree_over_a_boot),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
