/* Which instructions end the paths of traces. */
#include "jit/t2.h"

#include <Zydis/Mnemonic.h>
#include <string.h>

void t2_count_cut(struct t2 *t, unsigned mnemonic)
{
    if (mnemonic && mnemonic < JIT_MNEMONICS)
        t->cuts[mnemonic]++;
}

void t2_top_cuts(const struct t2 *t, struct jit_cut out[JIT_CUTS])
{
    memset(out, 0, JIT_CUTS * sizeof *out);
    for (unsigned m = 1; m < JIT_MNEMONICS; m++) {
        unsigned n = JIT_CUTS;
        while (n && out[n - 1].paths < t->cuts[m])
            n--;
        if (n == JIT_CUTS)
            continue;
        memmove(out + n + 1, out + n, (JIT_CUTS - 1 - n) * sizeof *out);
        out[n] = (struct jit_cut){ZydisMnemonicGetString((ZydisMnemonic)m),
                                  t->cuts[m]};
    }
}

uint64_t jit_cut_paths(const struct jit_stats *s, const char *mnemonic)
{
    for (unsigned n = 0; n < JIT_CUTS && s->cuts[n].mnemonic; n++)
        if (strcmp(s->cuts[n].mnemonic, mnemonic) == 0)
            return s->cuts[n].paths;
    return 0;
}
