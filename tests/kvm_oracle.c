/* kvm_oracle: random system-level scenarios in KVM and in tier 0, compared.
 *
 *     kvm_oracle --seconds N [--seed S] [--only GROUP] [--cases N] [--show N]
 *
 * A case is named by its group and seed: `--only GROUP --seed S --cases 1` runs
 * it again. Exit status 0: no difference; 1: some; 77: no KVM here. */
#include "lib_kvm_compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    double seconds;
    uint64_t seed, cases;
    const char *only;
    unsigned show;
};

static bool parse(int argc, char **argv, struct options *opt)
{
    for (int n = 1; n + 1 < argc; n += 2) {
        const char *name = argv[n], *value = argv[n + 1];
        if (strcmp(name, "--seconds") == 0)
            opt->seconds = strtod(value, NULL);
        else if (strcmp(name, "--seed") == 0)
            opt->seed = strtoull(value, NULL, 0);
        else if (strcmp(name, "--cases") == 0)
            opt->cases = strtoull(value, NULL, 0);
        else if (strcmp(name, "--show") == 0)
            opt->show = (unsigned)strtoul(value, NULL, 0);
        else if (strcmp(name, "--only") == 0)
            opt->only = value;
        else
            return false;
    }
    return argc % 2 == 1;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_group(struct kvm_oracle *o, const struct scene_group *g,
                      const struct options *opt, double seconds)
{
    uint64_t cases = o->cases, differ = o->differ, gave_up = o->gave_up;
    double start = now();
    o->shown = 0;
    for (uint64_t n = 0; opt->cases == 0 || n < opt->cases; n++) {
        if (opt->cases == 0 && now() - start >= seconds)
            break;
        (void)kvm_oracle_case(o, g, opt->seed + n);
    }
    printf("%-8s %8" PRIu64 " cases, %6" PRIu64 " differ, %6" PRIu64
           " without an answer, %.0f/s\n",
           g->name, o->cases - cases, o->differ - differ, o->gave_up - gave_up,
           (double)(o->cases - cases) / (now() - start));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct options opt = {.seconds = 10, .seed = 1, .show = 3};
    const char *why;
    if (!parse(argc, argv, &opt)) {
        fprintf(stderr, "usage: kvm_oracle --seconds N [--seed S] [--only "
                        "GROUP] [--cases N] [--show N]\n");
        return 2;
    }
    struct kvm_oracle *o = kvm_oracle_new(&why);
    if (!o) {
        printf("skipped: %s\n", why);
        return 77;
    }
    o->show = opt.show;
    unsigned groups = opt.only ? 1 : scene_group_count;
    for (unsigned n = 0; n < scene_group_count; n++)
        if (!opt.only || strcmp(opt.only, scene_groups[n].name) == 0)
            run_group(o, &scene_groups[n], &opt, opt.seconds / groups);
    int status = o->differ ? 1 : 0;
    kvm_oracle_free(o);
    return status;
}
