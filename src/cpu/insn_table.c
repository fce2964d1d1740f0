#include "cpu/decode.h"
#include "cpu/op_int.h"
#include "cpu/op_mmx.h"
#include "cpu/op_sse.h"
#include "cpu/op_system.h"
#include "cpu/op_x87.h"

#include <Zydis/Mnemonic.h>

#define INSN(mnemonic, handler, class_)                                        \
    [ZYDIS_MNEMONIC_##mnemonic] = {.fn = (handler), .cls = (class_)},
#define INSN_PICK(mnemonic, pick_, class_)                                     \
    [ZYDIS_MNEMONIC_##mnemonic] = {.pick = (pick_), .cls = (class_)},

static const struct insn_rule rules[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "cpu/insn_int.def"
#include "cpu/insn_mmx.def"
#include "cpu/insn_sse.def"
#include "cpu/insn_sys.def"
#include "cpu/insn_x87.def"
};

static const struct insn_rule string_rules[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "cpu/insn_string.def"
};

static const struct insn_rule *claimed(const struct insn_rule *table,
                                       unsigned mnemonic)
{
    if (mnemonic > ZYDIS_MNEMONIC_MAX_VALUE)
        return NULL;
    const struct insn_rule *rule = &table[mnemonic];
    return rule->fn || rule->pick ? rule : NULL;
}

const struct insn_rule *insn_rule(unsigned mnemonic)
{
    return claimed(rules, mnemonic);
}

const struct insn_rule *insn_string_rule(unsigned mnemonic)
{
    return claimed(string_rules, mnemonic);
}
