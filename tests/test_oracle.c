/* A bounded sample of the host-CPU oracle; tests/oracle runs as long as asked.
 */
#include "tests/lib_oracle.h"

#include "cpu/decode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    SEED = 20240607,
    CASES = 40000,
    COMPILED_CASES = 25000,
    TRACED_CASES = 20000,
    BLOCK_CASES = 4000
};

/* No mismatch; skips where the host cannot be the judge. */
static void run_agreeing(const struct oracle_options *o,
                         struct oracle_totals *totals)
{
    bool agrees = oracle_run(o, stdout, totals);
    if (totals->is_unavailable)
        skip();
    assert_true(agrees);
    assert_int_equal(totals->mismatches, 0);
}

static void tier_0_agrees_with_the_host_cpu(void **state)
{
    struct oracle_options o = {.cases = CASES,
                               .seed = SEED,
                               .wish = {{true, true, true}, -1, ORACLE_INTERP, false},
                               .max_reports = 20};
    struct oracle_totals totals;
    (void)state;
    print_message("oracle: seed %d\n", SEED);
    run_agreeing(&o, &totals);
    assert_true(totals.cases >= CASES);
    /* With this many cases nearly every form is drawn. */
    assert_true(totals.forms_tried > totals.forms * 9 / 10);
}

/* The same for compiled code of 64 and 32 bits. */
static void tier_1_agrees_with_the_host_cpu(void **state)
{
    struct oracle_options o = {.cases = COMPILED_CASES,
                               .seed = SEED + 1,
                               .wish = {{true, true, false}, -1, ORACLE_TIER1, false},
                               .max_reports = 20};
    struct oracle_totals totals;
    (void)state;
    run_agreeing(&o, &totals);
    assert_true(totals.forms_tried > totals.forms * 9 / 10);
    /* Blocks across pages, branches and undefined encodings are not. */
    assert_true(totals.blocks > COMPILED_CASES * 3 / 5);
}

/* What has a rule in tier 2 really runs in a trace, or would be untried. */
static void tier_2_agrees_with_the_host_cpu(void **state)
{
    struct oracle_options o = {.cases = TRACED_CASES,
                               .seed = SEED + 2,
                               .wish = {{true, true, false}, -1, ORACLE_TIER2, false},
                               .max_reports = 20};
    struct oracle_totals totals;
    (void)state;
    run_agreeing(&o, &totals);
    assert_true(totals.in_traces > TRACED_CASES / 3);
    assert_true(totals.forms_tried > totals.forms / 3);
}

/* The same case again and again, from tier to tier. */
static void all_tiers_agree_with_the_host_cpu(void **state)
{
    struct oracle_options o = {.cases = TRACED_CASES,
                               .seed = SEED + 3,
                               .wish = {{true, true, true}, -1, ORACLE_AUTO, false},
                               .max_reports = 20};
    struct oracle_totals totals;
    (void)state;
    run_agreeing(&o, &totals);
    assert_true(totals.in_traces > 0 && totals.blocks > 0);
}

/* Sequences with skips, loops and operands in memory. */
static void blocks_agree(enum oracle_engine engine, bool in_traces)
{
    struct oracle_options o = {
        .cases = BLOCK_CASES,
        .seed = SEED + 4,
        .wish = {{true, true, false}, -1, engine, true},
        .max_reports = 5};
    struct oracle_totals totals;
    run_agreeing(&o, &totals);
    assert_true(totals.faults < totals.cases * 3 / 4);
    assert_true(totals.blocks > 0 || engine == ORACLE_INTERP);
    assert_true(!in_traces || totals.in_traces > BLOCK_CASES / 4);
}

static void blocks_of_tier_0_agree_with_the_host_cpu(void **state)
{
    (void)state;
    blocks_agree(ORACLE_INTERP, false);
}

static void blocks_of_tier_1_agree_with_the_host_cpu(void **state)
{
    (void)state;
    blocks_agree(ORACLE_TIER1, false);
}

static void blocks_in_traces_agree_with_the_host_cpu(void **state)
{
    (void)state;
    blocks_agree(ORACLE_TIER2, true);
}

/* A row that no encoding reaches would never be tested. */
static void every_claimed_mnemonic_has_a_form(void **state)
{
    static bool seen[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    struct oracle_forms f;
    unsigned missing = 0;
    (void)state;
    assert_true(oracle_forms_init(&f));
    for (uint32_t k = 0; k < f.count; k++)
        seen[f.list[k].mnemonic] = true;
    for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        bool claimed = insn_rule(m) || insn_string_rule(m);
        if (!claimed || seen[m] || oracle_skips(m))
            continue;
        print_message("no form of %s\n",
                      ZydisMnemonicGetString((ZydisMnemonic)m));
        missing++;
    }
    oracle_forms_fini(&f);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_claimed_mnemonic_has_a_form),
        cmocka_unit_test(tier_0_agrees_with_the_host_cpu),
        cmocka_unit_test(tier_1_agrees_with_the_host_cpu),
        cmocka_unit_test(tier_2_agrees_with_the_host_cpu),
        cmocka_unit_test(all_tiers_agree_with_the_host_cpu),
        cmocka_unit_test(blocks_of_tier_0_agree_with_the_host_cpu),
        cmocka_unit_test(blocks_of_tier_1_agree_with_the_host_cpu),
        cmocka_unit_test(blocks_in_traces_agree_with_the_host_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
