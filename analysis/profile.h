/* Where a guest spends its time: samples at equal distances in ticks, each with
 * the function that runs, those that called it and the process. The same
 * session, range and distance give the same profile. */
#ifndef RELIVE_ANALYSIS_PROFILE_H
#define RELIVE_ANALYSIS_PROFILE_H

#include "analysis/guest.h"
#include "replay/travel.h"

struct profile_options {
    uint64_t from, to;    /* ticks; samples at from, from + every, ... < to */
    uint64_t every;       /* at least 1 */
    bool has_stacks;      /* walk them: inclusive ticks, and folded stacks */
    const struct symbols *files; /* asked first; NULL: none */
};

/* Ticks are samples times the distance between them. */
struct profile_symbol {
    const char *module, *name; /* "" and "[user]" or "[unknown]" without one */
    uint64_t self, inclusive;  /* inclusive: 0 without stacks */
};
struct profile_process {
    uint64_t pid;
    const char *name;
    uint64_t user, kernel; /* by privilege; idle time is the idle process's */
};
struct profile_stack {
    const char *text; /* "process;outermost;...;innermost" */
    uint64_t ticks;
};

struct profile;

enum profile_end { PROFILE_DONE, PROFILE_INTERRUPTED, PROFILE_FAILED };

/* Moves the travel, forward from `from`. Interrupted: the travel's poll said
 * so; *out holds what there is. Failed: err. */
enum profile_end profile_take(struct travel *t, struct guest *g,
                              const struct profile_options *o,
                              struct profile **out, struct error *err);
void profile_free(struct profile *p); /* takes NULL */

uint64_t profile_samples(const struct profile *p);
/* In order of falling self ticks, of all ticks, of ticks. Texts live as long as
 * the profile. */
size_t profile_symbols(const struct profile *p,
                       const struct profile_symbol **out);
size_t profile_processes(const struct profile *p,
                         const struct profile_process **out);
size_t profile_stacks(const struct profile *p,
                      const struct profile_stack **out);

#endif
