/* The benchmarks' bookkeeping: the history and the dashboard made of it, on
 * runs that never happened. */
#include "lib_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[1024]; /* of the sources: where the tests are started */

static void needs_lua(struct lab *lab)
{
    lab_run(lab, "command -v lua5.4");
    if (lab->status != 0)
        skip();
}

/* Appends a run with a speed (the more the better) and a time. */
static void add_run(struct lab *lab, const char *host, unsigned number,
                    double speed, double seconds)
{
    lab_write("metrics",
              "cpu.alu-64.run-auto.mips\tMIPS\thigher\t3\t%g\t8\n"
              "boot.amd64.run-auto.x_native\tx\tlower\t3\t%g\t0.01\n",
              speed, seconds);
    lab_run(lab,
            "lua5.4 '%s/bench/history.lua' history.json metrics mode=full "
            "commit=c0ffee%u date=2026-03-%02uT02:00:00Z 'host=%s'",
            root, number, number, host);
    lab_assert_status(lab, 0);
}

static void build(struct lab *lab, const char *options)
{
    lab_run(lab, "lua5.4 '%s/bench/dashboard/build.lua' history.json page %s",
            root, options);
    lab_assert_status(lab, 0);
    lab_run(lab, "cat page");
}

static void expect_count(struct lab *lab, const char *word, unsigned want)
{
    lab_run(lab, "grep -o '%s' page | wc -l", word);
    if ((unsigned)strtoul(lab->text, NULL, 10) != want)
        fail_msg("'%s' %s times, expected %u", word, lab->text, want);
}

static void history_keeps_every_run(void **state)
{
    struct lab *lab = *state;
    needs_lua(lab);
    (void)unlink("history.json");
    add_run(lab, "CPU \"A\"", 1, 1000, 2);
    add_run(lab, "CPU \"A\"", 2, 1010, 2);
    lab_run(lab, "cat history.json");
    lab_assert_text(lab, "c0ffee1");
    lab_assert_text(lab, "c0ffee2");
    lab_assert_text(lab, "\"mean\":1010,\"n\":3,\"stdev\":8");
    lab_assert_text(lab, "\"cov\":0.008,"); /* 8 / 1000 */
}

static void dashboard_stands_alone(void **state)
{
    struct lab *lab = *state;
    needs_lua(lab);
    (void)unlink("history.json");
    for (unsigned i = 1; i <= 8; i++)
        add_run(lab, "A <&> B", i, 1000 + i % 3, 2);
    build(lab, "--commits https://example.org/commit/");
    lab_assert_text(lab, "<svg ");
    lab_assert_text(lab, "href=\"https://example.org/commit/c0ffee5\"");
    lab_assert_text(lab, "A &lt;&amp;&gt; B");
    lab_assert_text(lab, "No regression");
    lab_assert_no_text(lab, "<script");
    lab_assert_no_text(lab, "<link");
    lab_assert_no_text(lab, "src=");
    lab_assert_no_text(lab, "url(");
    lab_assert_no_text(lab, "@import");
    expect_count(lab, "class=\"regression\"", 0);
    expect_count(lab, "r=\"3\"", 16); /* two metrics of eight runs */
}

static void regression_is_marked_where_it_happened(void **state)
{
    struct lab *lab = *state;
    needs_lua(lab);
    (void)unlink("history.json");
    for (unsigned i = 1; i <= 9; i++) /* slower in 6; 2 % in 8 is no news */
        add_run(lab, "A", i, i == 6 ? 880 : i == 8 ? 980 : 1000, 2);
    build(lab, "");
    expect_count(lab, "class=\"regression\"", 1);
    expect_count(lab, "regression: 12.0 % worse than 1000", 1);
    lab_run(lab, "grep 'regression: ' page");
    lab_assert_text(lab, "c0ffee6");
    add_run(lab, "A", 10, 1000, 2.6); /* the time, of which less is better */
    build(lab, "");
    expect_count(lab, "class=\"regression\"", 2);
    lab_run(lab, "grep 'regressions' page");
    lab_assert_text(lab, "boot.amd64.run-auto.x_native");
}

static void gain_or_other_host_is_no_regression(void **state)
{
    struct lab *lab = *state;
    needs_lua(lab);
    (void)unlink("history.json");
    for (unsigned i = 1; i <= 4; i++)
        add_run(lab, "A", i, 1000, 2);
    add_run(lab, "slow B", 5, 300, 9);
    add_run(lab, "A", 6, 2000, 1);
    build(lab, "");
    expect_count(lab, "class=\"regression\"", 0);
}

static void bad_history_is_refused(void **state)
{
    struct lab *lab = *state;
    static const char *const bad[][2] = {
        {"[{\"mode\":\"full\"", "expected ',' or '}', found the end"},
        {"[1,2]", "run 1 has no metrics"},
        {"7", "expected a JSON array of runs, found a value"},
        {"[] x", "text behind the value"},
        {"", "expected a value, found the end"}};
    needs_lua(lab);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        lab_write("history.json", "%s", bad[i][0]);
        lab_run(lab, "lua5.4 '%s/bench/dashboard/build.lua' history.json page",
                root);
        lab_assert_status(lab, 2);
        lab_assert_text(lab, bad[i][1]);
    }
}

/* Ratios are taken round by round; a sum that differs is an error. */
static void statistics_are_right(void **state)
{
    struct lab *lab = *state;
    lab_write("samples", "%s",
              "1\tnative\tw\t1\t1000000000\t9\t0\tsum\n"
              "2\tnative\tw\t1\t2000000000\t9\t0\tsum\n"
              "3\tnative\tw\t1\t1000000000\t9\t0\tsum\n"
              "1\trun-auto\tw\t1\t3000000000\t9\t6000000000\tsum\n"
              "2\trun-auto\tw\t1\t2000000000\t9\t6000000000\tsum\n"
              "3\trun-auto\tw\t1\t2000000000\t9\t6000000000\tsum\n");
    lab_run(lab,
            "awk -v clock=wall -v suite=s -v metrics=m -f '%s/bench/stats.awk' "
            "-f '%s/bench/report.awk' samples",
            root, root);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "2.00 (1.00..3.00)"); /* 3, 1 and 2 times slower */
    lab_assert_text(lab, "3000 (2000..3000)"); /* MIPS */
    lab_run(lab, "cat m");
    lab_assert_text(lab, "s.w.run-auto.x_native\tx\tlower\t3\t2\t0.816497\n");
    lab_run(lab,
            "sed -i '6s/sum/other/' samples; awk -v clock=wall -v suite=s "
            "-v metrics= -f '%s/bench/stats.awk' "
            "-f '%s/bench/report.awk' samples",
            root, root);
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "WRONG: run-auto computed other with w, expected sum");
}

/* A guest that stopped half way must not pass for a fast one. */
static void missing_result_is_an_error(void **state)
{
    struct lab *lab = *state;
    lab_write("samples", "%s",
              "1\tnative\tv\t1\t1000000000\t9\t0\tsum\n"
              "1\tnative\tw\t1\t1000000000\t9\t0\tsum\n"
              "1\trun-auto\tv\t1\t3000000000\t9\t6000000000\tsum\n");
    lab_run(lab,
            "awk -v clock=wall -v suite=s -v metrics= -f '%s/bench/stats.awk' "
            "-f '%s/bench/report.awk' samples",
            root, root);
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "MISSING: run-auto, round 1: w");
}

/* An engine's name is no section, and a missing section is no zero. */
static void jit_line_reads_the_statistics(void **state)
{
    struct lab *lab = *state;
    lab_write("stats", "%s",
              "{\"jit\":{\"totals\":{\"tier1\": {\"blocks_compiled\": 27,\n"
              "\"compile_ms\": 0.25},\"cache\":{\"lookup_hit\":5,"
              "\"lookup_miss\":2,\"used_bytes\":4096}},\n"
              "\"rolling\":{\"deopt\":{\"count\":9}}},\n"
              "\"cpu\":{\"engine\":\"tier1\",\"tiers\":{\"interp\":"
              "{\"share\":0.1},\"tier1\":{\"share\":0.9}}},\"mmu\":"
              "{\"translate_slow_calls\":3,\"guest_mem_ops\":40},"
              "\"memory\":{}}\n");
    lab_run(lab, "awk -f '%s/bench/jit_line.awk' stats", root);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "tier 1: 27 blocks, 0.2 ms, 90.0 %; "
                         "tier 2: - blocks, - ms, - %; lookups 5, missed 2; "
                         "cache 4 KB; deopts -, guards failed -; "
                         "slow translations 3 of 40; MMIO exits -");
    /* 40 accesses of 4 bytes are 0.039 pages. */
    lab_run(lab, "awk -v access=4 -f '%s/bench/jit_line.awk' stats", root);
    lab_assert_text(lab, "of 40, 76.80000 a page of the stream; MMIO");
    lab_run(lab,
            "sed -i s/:40/:0/ stats; awk -v access=4 -f "
            "'%s/bench/jit_line.awk' stats",
            root);
    lab_assert_text(lab, "slow translations 3 of -; MMIO");
}

static void goals_are_judged_by_the_worst(void **state)
{
    struct lab *lab = *state;
    lab_write("m", "%s",
              "linux.a.record-auto.x_faster_than_qemu\tx\thigher\t1\t1.1\t0\n"
              "linux.b.record-auto.x_faster_than_qemu\tx\thigher\t1\t9\t0\n"
              "cpu.alu-64.run-auto.mips\tMIPS\thigher\t1\t4000\t0\n"
              "cpu.mem_seq-64.run-auto.translations\ta page\tlower\t1\t1.2\t0\n"
              "logs.idle.record.size\tbytes\tlower\t1\t501\t0\n");
    lab_run(lab,
            "awk -f '%s/bench/stats.awk' -f '%s/bench/goals.awk' m | tr -s ' '",
            root, root);
    lab_assert_text(lab, ">= 1.2 1.10 not met: linux.a.record-auto.");
    lab_assert_text(lab, ">= 2500 4000 \n");
    lab_assert_text(lab, "<= 1.1 1.20 not met: cpu.mem_seq-64.");
    lab_assert_text(lab, "<= 500 501 not met: logs.idle.");
    lab_assert_no_text(lab, "resident"); /* was not measured */
}

/* Samples are told apart by thread, then by what they hit; those before the
 * work are left out. */
static void profiles_have_the_budgets_parts(void **state)
{
    struct lab *lab = *state;
    lab_write("functions", "%s", "mmu_walk src/mem/mmu_walk.o\n"
                                 "pit_read src/dev/pit.o\n");
    lab_write("script", "%s",
              "relive 0.9: 5 [unknown] (/tmp/perf-1.map)\n"
              "relive 1.0: 5 [unknown] (/tmp/perf-1.map)\n"
              "relive 1.1: 5 kernel_code+0x4 (/tmp/perf-1.map)\n"
              "relive 1.2: 7 mmu_walk+0x1f (/usr/bin/relive)\n"
              "relive 1.3: 7 mmu_walk.part.0+0x1f (/usr/bin/relive)\n"
              "relive 1.4: 7 exc_page_fault+0x1 ([kernel.kallsyms])\n"
              "relive 1.5: 7 pit_read+0x2 (/usr/bin/relive)\n"
              "jit 1.6: 7 __memmove+0x2 (/usr/lib/libc.so.6)\n"
              "snapshots 1.7: 7 [unknown] (/usr/lib/libzstd.so.1.5.4)\n"
              "log 1.8: 7 vfs_write+0x9 ([kernel.kallsyms])\n"
              "relive 1.9: 7 nobody+0x9 (/usr/bin/relive)\n");
    lab_run(lab,
            "awk -v begun=1 -v ended=2 -v title=t -v functions=functions -f "
            "'%s/bench/profile.awk' script | tr -s ' '",
            root);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "t: 10 samples\n");
    lab_assert_text(lab, "JIT code 20.0 % 40 %");
    lab_assert_text(lab, "memory 30.0 % 25 %");
    lab_assert_text(lab, "devices 10.0 % 15 %");
    lab_assert_text(lab, "interpreter 0.0 % 10 %");
    lab_assert_text(lab, "compile 10.0 % 5 %");
    lab_assert_text(lab, "sync 20.0 % 5 %");
    lab_assert_text(lab, "other 10.0 %");
    lab_assert_text(lab, "70.0 % vCPU");
    lab_assert_text(lab, "10.0 % snapshots");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history_keeps_every_run),
        cmocka_unit_test(dashboard_stands_alone),
        cmocka_unit_test(regression_is_marked_where_it_happened),
        cmocka_unit_test(gain_or_other_host_is_no_regression),
        cmocka_unit_test(bad_history_is_refused),
        cmocka_unit_test(statistics_are_right),
        cmocka_unit_test(missing_result_is_an_error),
        cmocka_unit_test(jit_line_reads_the_statistics),
        cmocka_unit_test(goals_are_judged_by_the_worst),
        cmocka_unit_test(profiles_have_the_budgets_parts),
    };
    if (!getcwd(root, sizeof root))
        return 1;
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
