/* Which blocks are compiled as one: a block and those behind it that it falls
 * through to nearly always, as counts before compilation have it. */
#include "jit/codes.h"
#include "jit/jit_internal.h"

enum {
    JOIN_BLOCKS = JIT_JOIN_BLOCKS,
    JOIN_INSNS = 48
};

static bool is_conditional(const struct insn *i)
{
    for (unsigned code = 0; code < 16; code++)
        if (i->mnemonic == jit_jump_codes[code])
            return true;
    return false;
}

/* Executions, of which no more than the threshold are known. */
static uint32_t heat(const struct jit *j, const struct block_code *k)
{
    if (!k)
        return 0;
    return k->code ? j->options.tier1_threshold : k->hits;
}

/* The block that `last` falls through to, if it goes on there as a rule. */
static struct block_code *next_of(const struct jit *j,
                                  const struct block_code *first,
                                  const struct block_code *last)
{
    const struct cpu *c = j->cpu;
    const struct insn *i = &last->insns[last->count - 1];
    uint32_t most = j->options.tier1_threshold;
    uint64_t page = last->start & ~(uint64_t)(PAGE_BYTES - 1);
    uint64_t next = last->start - page + last->bytes;
    uint64_t target = next + i->imm;
    if (!is_conditional(i) || i->opsize != 8 || next >= PAGE_BYTES)
        return NULL;
    struct block_code *fall = blocks_known(c, page + next, last->mode);
    if (!fall || fall->probed || heat(j, fall) * 4 < most * 3)
        return NULL;
    if (target >= PAGE_BYTES)
        return fall;
    const struct block_code *taken = blocks_known(c, page + target, last->mode);
    return taken == first || heat(j, taken) * 4 > most ? NULL : fall;
}

struct block_code *jit_join(struct jit *j, struct block_code *k)
{
    struct block_code *all[JOIN_BLOCKS] = {k}, *next;
    unsigned count = 1, insns = k->count;
    if (k->mode != MODE_64)
        return k;
    while (count < JOIN_BLOCKS && (next = next_of(j, k, all[count - 1])) &&
           insns + next->count <= JOIN_INSNS) {
        insns += next->count;
        all[count++] = next;
    }
    struct block_code *joined = count > 1 ? blocks_join(j->cpu, all, count) : NULL;
    return joined ? joined : k;
}
