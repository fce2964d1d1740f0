/* Debian's i386 kernel: shells over the serial line and on the screen. */
#include "lib_linux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void linux_i386_boots_records_and_replays(void **state)
{
    linux_records_and_replays(*state, "i386", "i686");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linux_i386_boots_records_and_replays),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
