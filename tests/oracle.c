/* The host-CPU oracle as a program: tests/oracle --seconds N [--seed S]
 * [--engine interp|tier1|tier2|auto] [--only MNEMONIC] [--mode 64|32|16]
 * [--blocks] [--untried] [--verbose]. Exit status 1 on a mismatch. tier2 tries a form when a
 * trace ran it; --untried lists the others by mnemonic. */
#include "tests/lib_oracle.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int find_mnemonic(const char *name)
{
    for (unsigned n = 1; n <= ZYDIS_MNEMONIC_MAX_VALUE; n++)
        if (strcasecmp(ZydisMnemonicGetString((ZydisMnemonic)n), name) == 0)
            return (int)n;
    return -1;
}

static bool find_engine(const char *name, enum oracle_engine *engine)
{
    for (unsigned n = 0; n < ORACLE_ENGINES; n++)
        if (strcmp(oracle_engines[n], name) == 0) {
            *engine = (enum oracle_engine)n;
            return true;
        }
    return false;
}

static int usage(void)
{
    fprintf(stderr, "usage: oracle [--seconds N] [--cases N] [--seed S] "
                    "[--engine interp|tier1|tier2|auto] [--only MNEMONIC] "
                    "[--mode 64|32|16] [--blocks] [--reports N] [--untried] "
                    "[--verbose]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct oracle_options *o)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"cases", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 'r'},
        {"only", required_argument, NULL, 'o'},
        {"mode", required_argument, NULL, 'm'},
        {"engine", required_argument, NULL, 'e'},
        {"reports", required_argument, NULL, 'n'},
        {"blocks", no_argument, NULL, 'b'},
        {"untried", no_argument, NULL, 'u'},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'c':
            o->cases = strtoull(optarg, NULL, 0);
            break;
        case 'r':
            o->seed = strtoull(optarg, NULL, 0);
            break;
        case 'o':
            o->wish.only = find_mnemonic(optarg);
            if (o->wish.only < 0)
                return false;
            break;
        case 'm':
            o->wish.modes[ORACLE_64] = atoi(optarg) == 64;
            o->wish.modes[ORACLE_32] = atoi(optarg) == 32;
            o->wish.modes[ORACLE_16] = atoi(optarg) == 16;
            break;
        case 'e':
            if (!find_engine(optarg, &o->wish.engine))
                return false;
            break;
        case 'n':
            o->max_reports = (unsigned)atoi(optarg);
            break;
        case 'b':
            o->wish.blocks = true;
            break;
        case 'u':
            o->lists_untried = true;
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

int main(int argc, char **argv)
{
    struct oracle_options o = {.seconds = 10,
                               .seed = 1,
                               .wish = {{true, true, true}, -1, ORACLE_INTERP, false},
                               .max_reports = 40};
    struct oracle_totals totals;
    if (!parse(argc, argv, &o))
        return usage();
    printf("oracle: seed %llu\n", (unsigned long long)o.seed);
    (void)fflush(stdout);
    return oracle_run(&o, stdout, &totals) ? 0 : 1;
}
