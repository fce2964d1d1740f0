/* Saved machines that cannot be: each is refused with a sentence. */
#include "lib_fuzz.h"

#include "cpu/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void refuse(const void *bytes, size_t count, const char *words)
{
    struct machine *m = fuzz_machine(0, 1);
    struct error err = {0};
    struct reader r;
    reader_init(&r, bytes, count);
    assert_false(machine_load(m, &r, &err));
    if (!strstr(err.text, words))
        fail_msg("expected '%s' in: %s", words, err.text);
    machine_free(m);
}

/* Deadlines are sums of ticks: at the end of the range they would wrap. */
static void a_tick_at_the_end_of_time(void **state)
{
    struct machine *m = fuzz_machine(0, 1);
    struct writer w;
    (void)state;
    writer_init(&w);
    machine_cpu(m)->tick = UINT64_MAX - 10;
    machine_save(m, &w);
    refuse(w.data, w.used, "tick below 2^63");
    writer_reset(&w);
    machine_cpu(m)->tick = 5;
    machine_cpu(m)->skew = 6;
    machine_save(m, &w);
    refuse(w.data, w.used, "fewer skipped");
    writer_fini(&w);
    machine_free(m);
}

static void a_state_that_is_cut_off(void **state)
{
    struct machine *m = fuzz_machine(0, 1);
    struct writer w;
    (void)state;
    writer_init(&w);
    machine_save(m, &w);
    refuse(w.data, w.used - 1, "");
    refuse(w.data, w.used / 2, "");
    refuse(w.data, 12, "");
    refuse(w.data, 0, "");
    writer_fini(&w);
    machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_at_the_end_of_time),
        cmocka_unit_test(a_state_that_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
