/* Telemetry: what the JSON says of samples, and where the figures come from. */
#include "analysis/telemetry.h"

#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_NAME "telemetry-test.json"

static const struct frame_figures frames = {.count = 3, .avg_fps = 50};

/* The value at a path like "jit.totals.cache.lookup_hit". */
static const json_t *at(const json_t *o, const char *path)
{
    char name[64];
    while (*path) {
        size_t n = strcspn(path, ".");
        assert_true(n < sizeof name);
        memcpy(name, path, n);
        name[n] = 0;
        o = json_object_get(o, name);
        assert_non_null(o);
        path += n + (path[n] == '.');
    }
    return o;
}

static double number(const json_t *o, const char *path)
{
    return json_number_value(at(o, path));
}

static json_t *written(const struct telemetry *t)
{
    struct error err;
    assert_true(telemetry_write(t, &frames, FILE_NAME, &err));
    json_t *o = json_load_file(FILE_NAME, 0, NULL);
    assert_non_null(o);
    (void)unlink(FILE_NAME);
    return o;
}

static const struct machine_stats first = {
    .ticks = 1000, .insns = 900, .tier_insns = {900, 0, 0}, .has_jit = true,
    .jit = {.blocks_compiled = 5, .lookup_hit = 10, .lookup_miss = 10,
            .cuts = {{"hlt", 1}}}};
static const struct machine_stats second = {
    .ticks = 2001000,
    .insns = 2000900,
    .tier_insns = {500900, 1500000, 0},
    .has_jit = true,
    .translate_slow_calls = 7,
    .port_reads = 3,
    .jit = {.blocks_compiled = 105,
            .lookup_hit = 100,
            .lookup_miss = 20,
            .tier1_ns = 4000000,
            .tier2_blocks_compiled = 11,
            .pass_ns = {[JIT_PASS_CSE] = 3000000},
            .guard_fail_branch = 30,
            .guard_fail_key = 4,
            .deopts = 6,
            .cuts = {{"cpuid", 5}, {"hlt", 2}},
            .exit = {[JIT_EXIT_HANDLER] = 9}}};

static void totals_count_from_the_first_sample(void **state)
{
    (void)state;
    struct telemetry *t = telemetry_new("auto", 1000);
    assert_non_null(t);
    telemetry_sample(t, 5, &first);
    telemetry_sample(t, 5 + 2000000000u, &second);
    json_t *o = written(t);
    assert_true(number(o, "cpu.insns") == 2000000);
    assert_true(number(o, "cpu.ticks") == 2000000);
    assert_true(number(o, "cpu.guest_s") == 0.002);
    assert_true(number(o, "cpu.mips") == 1.0);
    assert_true(number(o, "cpu.tiers.tier1.share") == 0.75);
    assert_true(number(o, "cpu.tiers.interp.insns") == 500000);
    assert_true(number(o, "jit.totals.tier1.blocks_compiled") == 100);
    assert_true(number(o, "jit.totals.tier1.compile_ms") == 4.0);
    assert_true(number(o, "jit.totals.cache.lookup_hit") == 90);
    assert_true(number(o, "jit.totals.exits.handler") == 9);
    assert_true(number(o, "jit.totals.tier2.blocks_compiled") == 11);
    assert_true(number(o, "jit.totals.tier2.passes_ms."
                          "common_subexpression_elimination") == 3.0);
    assert_true(number(o, "jit.totals.tier2.cuts.cpuid") == 5);
    assert_true(number(o, "jit.totals.tier2.cuts.hlt") == 1);
    assert_true(number(o, "jit.totals.deopt.guard_fail") == 34);
    assert_true(number(o, "jit.totals.deopt.count") == 6);
    assert_true(number(o, "jit.rolling.cache_hit_rate") == 0.9);
    assert_true(number(o, "jit.rolling.compile_ms_per_s") == 2.0);
    assert_true(number(o, "jit.rolling.blocks_compiled_per_s") == 50);
    assert_true(number(o, "mmu.translate_slow_calls") == 7);
    assert_true(number(o, "io.port_reads") == 3);
    assert_true(number(o, "frames.count") == 3);
    assert_true(number(o, "frames.avg_fps") == 50);
    assert_true(json_array_size(at(o, "series")) == 1);
    json_decref(o);
    telemetry_free(t);
}

static void a_window_is_over_after_its_length(void **state)
{
    (void)state;
    struct telemetry *t = telemetry_new("interp", 1000);
    assert_non_null(t);
    assert_true(telemetry_due(t, 77));
    telemetry_sample(t, 77, &first);
    assert_false(telemetry_due(t, 77 + 999999999u));
    assert_true(telemetry_due(t, 77 + 1000000000u));
    for (unsigned n = 1; n <= 200; n++)
        telemetry_sample(t, 77 + n * 1000000000ull, &first);
    json_t *o = written(t);
    assert_true(json_array_size(at(o, "series")) == 200);
    const json_t *last = json_array_get(at(o, "series"), 199);
    assert_true(number(last, "host_ms") == 200000.0);
    json_decref(o);
    telemetry_free(t);
}

static void a_file_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct error err;
    struct telemetry *t = telemetry_new("auto", 1000);
    assert_non_null(t);
    assert_false(telemetry_write(t, &frames, FILE_NAME, &err));
    telemetry_sample(t, 1, &first);
    assert_false(telemetry_write(t, &frames, "no/such/folder/s.json", &err));
    assert_non_null(strstr(err.text, "no/such/folder/s.json: cannot write"));
    telemetry_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_count_from_the_first_sample),
        cmocka_unit_test(a_window_is_over_after_its_length),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
