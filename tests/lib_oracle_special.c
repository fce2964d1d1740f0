/* Cases: what single instructions want in registers and memory. */
#include "tests/lib_oracle_draft.h"

#include "cpu/cpu.h"

#include <string.h>

/* ---- selectors ----------------------------------------------------------- */

static uint16_t pick_selector(struct oracle_draft *d)
{
    static const uint16_t all[] = {0,    1,    2,    3,    0x2b, 0x28, 0x29,
                                   0x2a, 0x23, 0x33, 0x30, 0x20, 0x18, 0x10,
                                   0x08, 0x1b, 0x40, 0x43, 0x48, 0x50, 0x58,
                                   0x60, 0x63, 0x68, 0x73, 0x80, 0x83, 0xffff,
                                   4,    7,    0x2b, 0x2b, 0x7b, 0x78};
    unsigned n = sizeof all / sizeof all[0];
    if (d->zi.mnemonic == ZYDIS_MNEMONIC_LSL)
        n -= 2; /* the limit of 78h is the host's CPU number */
    return all[oracle_below(d->r, n)];
}

static bool takes_selector(const struct oracle_draft *d)
{
    switch (d->zi.mnemonic) {
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
        return true;
    default:
        return d->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(d->ops[0].reg.value) ==
                   ZYDIS_REGCLASS_SEGMENT;
    }
}

static void aim_selector(struct oracle_draft *d)
{
    uint16_t selector = pick_selector(d);
    uint8_t bytes[16];
    unsigned at = 0;
    for (unsigned k = 0; k < d->zi.operand_count_visible; k++)
        if (d->ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(d->ops[k].reg.value) !=
                ZYDIS_REGCLASS_SEGMENT) {
            unsigned n = (unsigned)ZydisRegisterGetId(d->ops[k].reg.value);
            uint64_t *r = &d->out->in.r[n & 15];
            *r = (*r & ~0xffffULL) | selector;
        }
    for (unsigned k = 0; k < 16; k++)
        bytes[k] = (uint8_t)oracle_random(d->r);
    if (oracle_explicit_memory(d) && oracle_explicit_memory(d)->size > 16)
        at = oracle_explicit_memory(d)->size / 8 - 2;
    memcpy(bytes + at, &selector, 2);
    if (d->target)
        oracle_patch(d, d->target, bytes, 16);
    else
        oracle_patch(d, d->out->in.r[REG_RSP], bytes, 16);
    switch (d->zi.mnemonic) {
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
        break;
    default:
        d->out->loads_segments = true;
        break;
    }
}

/* ---- arithmetic and branches --------------------------------------------- */

static void aim_divide(struct oracle_draft *d)
{
    uint64_t *r = d->out->in.r;
    bool is_signed = d->zi.mnemonic == ZYDIS_MNEMONIC_IDIV;
    uint64_t v = oracle_interesting(d->r);
    switch (oracle_below(d->r, 4)) {
    case 0: /* a dividend of one width */
        r[REG_RDX] = is_signed ? (uint64_t)((int64_t)r[REG_RAX] >> 63) : 0;
        break;
    case 1:
        r[REG_RDX] >>= oracle_below(d->r, 64);
        break;
    case 2:
        r[REG_RDX] = is_signed ? UINT64_MAX : 1;
        break;
    default:
        break;
    }
    if (d->target && oracle_one_in(d, 2))
        oracle_patch(d, d->target, &v, 8);
}

static void aim_compare_exchange(struct oracle_draft *d)
{
    uint64_t *r = d->out->in.r;
    uint64_t pair[2] = {r[REG_RAX], r[REG_RDX]};
    if (d->zi.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B)
        pair[0] = (r[REG_RDX] << 32) | (uint32_t)r[REG_RAX];
    if (oracle_one_in(d, 2))
        return;
    if (d->target)
        oracle_patch(d, d->target, pair, 16);
    else if (d->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        r[ZydisRegisterGetId(d->ops[0].reg.value) & 15] = r[REG_RAX];
}

static void aim_branch(struct oracle_draft *d)
{
    uint64_t to = oracle_one_in(d, 2) ? ORACLE_CODE + oracle_below(d->r, 8192)
                                      : oracle_pick_target(d, 1);
    if (oracle_one_in(d, 8))
        to = oracle_random(d->r);
    if (d->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        d->out->in.r[ZydisRegisterGetId(d->ops[0].reg.value) & 15] = to;
    else if (d->target)
        oracle_patch(d, d->target, &to, 8);
    else
        oracle_patch(d, d->out->in.r[REG_RSP], &to, 8);
}

/* Far transfers: offset and selector in memory, on the stack or in the
 * instruction; IRET's frame goes on with flags, rSP and SS. */
static void aim_far(struct oracle_draft *d)
{
    unsigned n = d->zi.operand_width / 8;
    uint64_t value[5] = {ORACLE_CODE + oracle_below(d->r, 8192),
                         pick_selector(d), oracle_random(d->r),
                         oracle_pick_target(d, 8), pick_selector(d)};
    uint8_t bytes[40] = {0};
    if (oracle_one_in(d, 2))
        value[1] = oracle_one_in(d, 2) ? ORACLE_CS32 : ORACLE_CS64;
    if (oracle_one_in(d, 2))
        value[4] = ORACLE_SS;
    if (oracle_one_in(d, 16))
        value[0] = oracle_random(d->r);
    /* IRET goes on single-stepping, and not as a nested task. It raises #AC by
     * the new AC with the old flags saved, which Linux takes for a split lock
     * and tries again for ever. */
    value[2] = (value[2] | FLAG_TF) & ~(uint64_t)(FLAG_NT | FLAG_AC);
    for (unsigned k = 0; k < 5; k++)
        memcpy(bytes + n * k, &value[k], n);
    d->out->loads_segments = true;
    if (d->ops[0].type == ZYDIS_OPERAND_TYPE_POINTER)
        memcpy(d->out->bytes + d->out->length - n - 2, bytes, n + 2);
    else
        oracle_patch(d, d->target ? d->target : d->out->in.r[REG_RSP], bytes,
                     5 * n);
}

/* ---- state of vectors and x87 -------------------------------------------- */

static void aim_image(struct oracle_draft *d)
{
    uint8_t fx[512];
    oracle_random_fx(d->r, fx);
    if (oracle_one_in(d, 8))
        fx[26] = 1; /* a reserved bit of MXCSR */
    if (d->target)
        oracle_patch(d, d->target, fx, 512);
}

static void aim_mxcsr(struct oracle_draft *d)
{
    uint32_t v = (uint32_t)oracle_random(d->r);
    if (!oracle_one_in(d, 4))
        v &= 0xffff;
    if (d->target)
        oracle_patch(d, d->target, &v, 4);
}

/* ---- by instruction ------------------------------------------------------ */

/* ENTER, x87 environments and so on find random memory good enough. */
void oracle_aim_special(struct oracle_draft *d)
{
    uint64_t *r = d->out->in.r;
    switch (d->zi.mnemonic) {
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        aim_divide(d);
        break;
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        aim_compare_exchange(d);
        break;
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_RET:
        if (d->zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
            aim_far(d);
        else
            aim_branch(d);
        break;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        aim_far(d);
        break;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
        aim_image(d);
        break;
    case ZYDIS_MNEMONIC_LDMXCSR:
        aim_mxcsr(d);
        break;
    case ZYDIS_MNEMONIC_XLAT:
        r[REG_RBX] = oracle_pick_target(d, 1) - (r[REG_RAX] & 0xff);
        break;
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
        if (oracle_one_in(d, 2))
            r[REG_RAX] = (uint64_t)(int64_t)(int)(oracle_below(d->r, 40) - 20);
        if (oracle_one_in(d, 2))
            r[REG_RDX] = (uint64_t)(int64_t)(int)(oracle_below(d->r, 40) - 20);
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        r[REG_RBP] = oracle_pick_target(d, 8);
        break;
    default:
        break;
    }
    if (takes_selector(d))
        aim_selector(d);
}

void oracle_aim_repeat(struct oracle_draft *d)
{
    const uint64_t repeats =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    if (d->zi.meta.category != ZYDIS_CATEGORY_STRINGOP)
        return;
    if (!(d->zi.attributes & repeats) && oracle_one_in(d, 2))
        return;
    static const unsigned most[] = {3, 40, 1100, 5000};
    d->out->in.r[REG_RCX] = oracle_below(d->r, most[oracle_below(d->r, 4)]);
    if (oracle_one_in(d, 4)) /* overlap */
        d->out->in.r[REG_RDI] =
            d->out->in.r[REG_RSI] + oracle_below(d->r, 64) - 32;
    if (oracle_one_in(d, 4)) { /* equal data, for REPE */
        memset(d->out->patch, 0x41, 512);
        oracle_patch(d, d->out->in.r[REG_RDI], d->out->patch, 512);
        d->out->in.r[REG_RAX] = 0x4141414141414141;
    }
}
