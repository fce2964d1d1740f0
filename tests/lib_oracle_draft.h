/* A case while it is made: what the files that make cases share
 * (lib_oracle_gen.c, lib_oracle_special.c). */
#ifndef RELIVE_TESTS_LIB_ORACLE_DRAFT_H
#define RELIVE_TESTS_LIB_ORACLE_DRAFT_H

#include "tests/lib_oracle.h"

struct oracle_draft {
    struct oracle_case *out;
    struct oracle_random *r;
    struct oracle_forms *forms;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    bool is_valid;
    uint64_t target; /* where the explicit memory operand is, or 0 */
};

static inline bool oracle_one_in(struct oracle_draft *d, unsigned n)
{
    return oracle_below(d->r, n) == 0;
}

/* A linear address for an access of so many bytes (0 is 1), mostly where
 * something may go wrong. */
uint64_t oracle_pick_target(struct oracle_draft *d, unsigned bytes);
/* These n bytes of data are at `at`, if it is among the data pages; the last
 * call counts. */
void oracle_patch(struct oracle_draft *d, uint64_t at, const void *bytes,
                  unsigned n);
/* NULL: none. */
const ZydisDecodedOperand *oracle_explicit_memory(const struct oracle_draft *d);

/* What single instructions want: operands that they divide, compare, load or
 * branch by. The registers and d->target are there. */
void oracle_aim_special(struct oracle_draft *d);
/* A count, and data that overlap or are equal, for string instructions. */
void oracle_aim_repeat(struct oracle_draft *d);

#endif
