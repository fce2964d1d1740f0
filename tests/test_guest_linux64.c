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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_amd64_boots_records_and_replays),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
