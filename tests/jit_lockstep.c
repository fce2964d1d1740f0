/* The lockstep of the tiers as a program: tests/jit_lockstep --seconds N
 * [--seed S] [--count N] [--stop N] [--mode16] [--verbose]. Seeds are tried from
 * S on, or with --mode16 those whose code is 16-bit. Exit status 1 when the tiers
 * differ. */
#include "tests/lib_jitpair.h"

#include <getopt.h>
#include <stdlib.h>
#include <time.h>

struct options {
    double seconds;
    uint64_t seed, count;
    unsigned stop; /* after so many differences */
    bool verbose, only_16;
};

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 'r'},
        {"stop", required_argument, NULL, 'n'},
        {"mode16", no_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'c':
            o->count = strtoull(optarg, NULL, 0);
            break;
        case 'r':
            o->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            o->stop = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'm':
            o->only_16 = true;
            break;
        case 'v':
            o->verbose = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct options o = {.seconds = 10, .seed = 1, .stop = 1};
    struct jp_totals t = {0};
    struct oracle_forms forms;
    unsigned bad = 0;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: jit_lockstep [--seconds N] [--seed S] "
                        "[--count N] [--stop N] [--mode16] [--verbose]\n");
        return 2;
    }
    if (!oracle_forms_init(&forms))
        return 2;
    double end = now() + o.seconds;
    for (uint64_t n = 0; now() < end && (!o.count || n < o.count); n++) {
        if (o.only_16 && !jp_is_16(o.seed + n))
            continue;
        if (!jp_run(o.seed + n, &forms, o.verbose, stdout, &t) &&
            ++bad == o.stop)
            break;
    }
    printf("jit_lockstep: seeds %llu.., %llu programs, %llu slices, %llu "
           "ticks, %llu shutdowns; %llu blocks compiled, %llu instructions in "
           "compiled code, %llu joined, %llu links, %llu "
           "flushes, %llu traces, %llu ticks in them, %llu deopts; %u differ\n",
           (unsigned long long)o.seed, (unsigned long long)t.programs,
           (unsigned long long)t.slices, (unsigned long long)t.ticks,
           (unsigned long long)t.shutdowns, (unsigned long long)t.compiled,
           (unsigned long long)t.compiled_insns,
           (unsigned long long)t.joined, (unsigned long long)t.links,
           (unsigned long long)t.flushes,
           (unsigned long long)t.traces, (unsigned long long)t.trace_ticks,
           (unsigned long long)t.deopts, bad);
    oracle_forms_fini(&forms);
    return bad != 0;
}
