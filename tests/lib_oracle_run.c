/* The oracle's loop: generate a batch, run it on both sides, compare, count. */
#include "tests/lib_oracle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_DEATHS = 20,
    AUTO_RUNS = 6 /* of a case: through all tiers */
};

struct session {
    const struct oracle_options *options;
    FILE *out;
    struct oracle_forms forms;
    struct oracle_native native;
    struct oracle_guest *guest;
    struct oracle_random random;
    struct oracle_totals *totals;
    unsigned deaths;                            /* of the host child */
    uint32_t bad[ZYDIS_MNEMONIC_MAX_VALUE + 2]; /* last: undefined encodings */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned mnemonic_of(const struct session *s,
                            const struct oracle_case *k)
{
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&s->forms.decoder[k->mode],
                                            k->bytes, 15, &zi, ops)))
        return zi.mnemonic;
    return ZYDIS_MNEMONIC_MAX_VALUE + 1;
}

/* counts: the engine did it the way it is asked to. */
static void judge(struct session *s, const struct oracle_case *k,
                  const struct oracle_result *host,
                  const struct oracle_result *guest, bool counts)
{
    const struct oracle_options *o = s->options;
    const struct oracle_shared *shared = s->native.shared;
    if (k->form >= 0 && counts)
        s->forms.list[k->form].tried++;
    s->totals->cases++;
    s->totals->faults += host->trap != 1 && host->trap != 3;
    if (oracle_compare(&s->forms, shared, k, host, guest, NULL))
        return;
    s->totals->mismatches++;
    uint32_t *bad = &s->bad[mnemonic_of(s, k)];
    if (o->verbose || (*bad < 3 && s->totals->mismatches <= o->max_reports))
        (void)oracle_compare(&s->forms, shared, k, host, guest, s->out);
    ++*bad;
}

static void run_case(struct session *s, uint32_t n)
{
    static struct oracle_result guest;
    const struct oracle_shared *shared = s->native.shared;
    const struct oracle_case *k = &shared->cases[n];
    enum oracle_engine engine = s->options->wish.engine;
    if (engine == ORACLE_TIER2)
        oracle_guest_train(s->guest, shared, k);
    uint64_t before = oracle_guest_trace_runs(s->guest);
    for (unsigned runs = engine == ORACLE_AUTO ? AUTO_RUNS : 1; runs; runs--) {
        oracle_guest_run(s->guest, shared, k, &guest);
        bool in_trace = oracle_guest_trace_runs(s->guest) != before;
        judge(s, k, &shared->results[n], &guest,
              in_trace || engine != ORACLE_TIER2);
        s->totals->in_traces += in_trace && runs == 1;
    }
}

static void run_batch(struct session *s)
{
    struct oracle_shared *shared = s->native.shared;
    oracle_fill_base(&s->random, shared->base);
    shared->count = ORACLE_BATCH;
    for (uint32_t n = 0; n < ORACLE_BATCH; n++)
        (s->options->wish.blocks ? oracle_generate_block : oracle_generate)(
            &s->forms, &s->options->wish, &s->random, &shared->cases[n]);
    uint32_t good = ORACLE_BATCH;
    if (!oracle_native_run(&s->native)) {
        good = shared->done;
        s->deaths++;
        s->totals->mismatches++;
        fprintf(s->out, "the host child died or hung in\n    ");
        oracle_print_case(&s->forms, &shared->cases[good], s->out);
        oracle_print_input(&shared->cases[good], s->out);
    }
    for (uint32_t n = 0; n < good; n++)
        run_case(s, n);
}

static void report(struct session *s)
{
    struct oracle_totals *t = s->totals;
    const struct oracle_wish *w = &s->options->wish;
    for (uint32_t n = 0; n < s->forms.count; n++) {
        const struct oracle_form *f = &s->forms.list[n];
        if (!w->modes[f->mode] || (w->only >= 0 && f->mnemonic != w->only))
            continue;
        t->forms++;
        t->forms_tried += f->tried != 0;
    }
    fprintf(s->out,
            "oracle, %s: %llu cases in %.1f s (%.0f/s), %llu of them faults; "
            "%u of %u forms tried; %llu blocks compiled, %llu cases in traces; "
            "%llu mismatches\n",
            oracle_engines[w->engine], (unsigned long long)t->cases, t->seconds,
            (double)t->cases / t->seconds, (unsigned long long)t->faults,
            t->forms_tried, t->forms, (unsigned long long)t->blocks,
            (unsigned long long)t->in_traces, (unsigned long long)t->mismatches);
    for (unsigned n = 0; n <= ZYDIS_MNEMONIC_MAX_VALUE + 1; n++)
        if (s->bad[n])
            fprintf(s->out, "    %6u  %s\n", s->bad[n],
                    n <= ZYDIS_MNEMONIC_MAX_VALUE
                        ? ZydisMnemonicGetString((ZydisMnemonic)n)
                        : "(undefined encoding)");
}

/* Mnemonics with the share of their forms that were never tried. */
static void report_untried(const struct session *s)
{
    const struct oracle_wish *w = &s->options->wish;
    for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        unsigned forms = 0, untried = 0;
        if (w->only >= 0 && (int)m != w->only)
            continue;
        for (uint32_t n = 0; n < s->forms.count; n++) {
            const struct oracle_form *f = &s->forms.list[n];
            if (f->mnemonic != m || !w->modes[f->mode])
                continue;
            forms++;
            untried += f->tried == 0;
        }
        if (untried)
            fprintf(s->out, "    %-12s %u of %u forms not tried\n",
                    ZydisMnemonicGetString((ZydisMnemonic)m), untried, forms);
    }
}

static bool any_form(const struct session *s)
{
    const struct oracle_wish *w = &s->options->wish;
    for (uint32_t n = 0; n < s->forms.count; n++) {
        const struct oracle_form *f = &s->forms.list[n];
        if (w->modes[f->mode] && (w->only < 0 || f->mnemonic == w->only))
            return true;
    }
    return false;
}

/* A NOP: does the host let the child have its pages, segments and signals? */
static bool host_works(struct session *s)
{
    struct oracle_shared *shared = s->native.shared;
    struct oracle_case *k = &shared->cases[0];
    memset(k, 0, sizeof *k);
    memset(k->bytes, 0x90, sizeof k->bytes);
    k->length = 1;
    k->in.rip = ORACLE_CODE;
    k->in.rflags = 0x202;
    oracle_random_fx(&s->random, k->in.fx);
    k->stepped = true;
    shared->count = 1;
    return oracle_native_run(&s->native) && shared->results[0].trap == 1 &&
           shared->results[0].out.rip == ORACLE_CODE + 1;
}

static bool open_session(struct session *s)
{
    if (!oracle_forms_init(&s->forms) || !any_form(s)) {
        fprintf(s->out, "oracle: no such form is claimed\n");
        return false;
    }
    if (!oracle_native_init(&s->native)) {
        fprintf(s->out, "oracle: cannot start the host child\n");
        return false;
    }
    if (!host_works(s)) {
        fprintf(s->out, "oracle: this host cannot single-step the child\n");
        s->totals->is_unavailable = true;
        oracle_native_fini(&s->native);
        return false;
    }
    s->guest = oracle_guest_new(s->options->wish.engine);
    return s->guest != NULL;
}

bool oracle_run(const struct oracle_options *o, FILE *out,
                struct oracle_totals *totals)
{
    struct session *s = calloc(1, sizeof *s);
    double start = now();
    if (!s)
        return false;
    s->options = o;
    s->out = out;
    s->totals = totals;
    s->random.seed = o->seed * 0x9e3779b97f4a7c15u | 1;
    memset(totals, 0, sizeof *totals);
    if (!open_session(s)) {
        free(s);
        return false;
    }
    start = now();
    while (s->deaths < MAX_DEATHS &&
           (o->cases ? totals->cases < o->cases : now() - start < o->seconds))
        run_batch(s);
    totals->seconds = now() - start;
    totals->blocks = oracle_guest_blocks(s->guest);
    report(s);
    if (o->lists_untried)
        report_untried(s);
    oracle_guest_free(s->guest);
    oracle_native_fini(&s->native);
    oracle_forms_fini(&s->forms);
    free(s);
    return totals->mismatches == 0;
}
