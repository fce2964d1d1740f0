/* Cases: an instruction of a claimed form with random prefixes, registers and
 * operands, aimed at memory where something may go wrong. */
#include "tests/lib_oracle.h"

#include "cpu/cpu.h"
#include "cpu/insn.h"

#include <string.h>

struct draft {
    struct oracle_case *out;
    struct oracle_random *r;
    struct oracle_forms *forms;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    bool is_valid;
    uint64_t target; /* where the explicit memory operand is, or 0 */
};

static bool one_in(struct draft *d, unsigned n)
{
    return oracle_below(d->r, n) == 0;
}

/* ---- bytes
 * ------------------------------------------------------------------------ */

static unsigned put_prefixes(struct draft *d, const struct oracle_form *t,
                             uint8_t *bytes)
{
    static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = 0, rex = 0;
    if (one_in(d, 10))
        bytes[n++] = segments[oracle_below(d->r, 6)];
    if (one_in(d, 12))
        bytes[n++] = 0x67;
    if (one_in(d, 25))
        bytes[n++] = 0x66;
    if (one_in(d, 40))
        bytes[n++] = one_in(d, 2) ? 0xf2 : 0xf3;
    if (one_in(d, 40))
        bytes[n++] = 0xf0;
    for (unsigned k = 0; k < t->prefix_count; k++) {
        if (t->prefixes[k] == 0x48)
            rex = 0x48;
        else
            bytes[n++] = t->prefixes[k];
    }
    if (!t->mode) {
        if (one_in(d, 2))
            rex |= 0x40 | oracle_below(d->r, 8);
        if (one_in(d, 12))
            rex |= 0x48;
        if (rex)
            bytes[n++] = (uint8_t)rex;
    }
    return n;
}

static void put_modrm(struct draft *d, const struct oracle_form *t, uint8_t *at)
{
    unsigned mod = t->modrm >> 6, reg = t->modrm >> 3 & 7, rm = t->modrm & 7;
    if (one_in(d, 2))
        reg = oracle_below(d->r, 8);
    if (mod != 3) {
        mod = oracle_below(d->r, 3);
        rm = oracle_below(d->r, 8);
    } else if (one_in(d, 2)) {
        rm = oracle_below(d->r, 8);
    }
    *at = (uint8_t)(mod << 6 | reg << 3 | rm);
}

static void put_bytes(struct draft *d, const struct oracle_form *t)
{
    uint8_t *bytes = d->out->bytes;
    memset(bytes, 0xcc, sizeof d->out->bytes);
    unsigned n = put_prefixes(d, t, bytes);
    memcpy(bytes + n, t->opcode, t->opcode_bytes);
    n += t->opcode_bytes;
    if (t->has_modrm)
        put_modrm(d, t, bytes + n++);
    for (unsigned k = 0; k < 10; k++)
        bytes[n + k] = (uint8_t)(one_in(d, 3) ? oracle_interesting(d->r)
                                              : oracle_random(d->r));
}

static bool decode(struct draft *d)
{
    d->is_valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(
        &d->forms->decoder[d->out->mode], d->out->bytes, 15, &d->zi, d->ops));
    return d->is_valid;
}

static const struct oracle_form *choose(struct oracle_forms *f,
                                        const struct oracle_wish *w,
                                        struct oracle_random *r)
{
    for (;;) {
        const struct oracle_form *t = &f->list[oracle_below(r, f->count)];
        if (!w->modes[t->mode])
            continue;
        if (w->only < 0 || t->mnemonic == w->only)
            return t;
    }
}

/* Linux lets a process wait after a locked access across cache lines (split lock
 * and bus lock detection), for seconds when others do the same: so none. */
static bool is_locked(const struct draft *d)
{
    return d->zi.mnemonic == ZYDIS_MNEMONIC_XCHG ||
           (d->zi.attributes & ZYDIS_ATTRIB_HAS_LOCK);
}

/* False: not a case, try again. */
static bool make_bytes(struct draft *d, const struct oracle_wish *w)
{
    const struct oracle_form *t = choose(d->forms, w, d->r);
    struct oracle_case *k = d->out;
    k->mode = t->mode;
    k->form = -1;
    put_bytes(d, t);
    if (!decode(d)) {
        k->length = 15;
        /* 0F 01 holds calls to a hypervisor, which answers as it likes. */
        return w->only < 0 && !memmem(k->bytes, 8, "\x0f\x01", 2) &&
               one_in(d, 4);
    }
    /* The CPU models have neither TZCNT nor LZCNT, the host may. */
    if ((d->zi.mnemonic == ZYDIS_MNEMONIC_BSF ||
         d->zi.mnemonic == ZYDIS_MNEMONIC_BSR) &&
        memchr(k->bytes, 0xf3, d->zi.raw.modrm.offset - 2u))
        return false;
    if (!oracle_claims(&d->zi) ||
        (is_locked(d) && d->zi.address_width == 16 && k->mode == ORACLE_32) ||
        (w->only >= 0 && (int)d->zi.mnemonic != w->only))
        return false;
    k->form = oracle_form_find(d->forms, k->mode, &d->zi, d->ops);
    k->length = d->zi.length;
    memset(k->bytes + k->length, 0xcc, sizeof k->bytes - k->length);
    return true;
}

/* ---- addresses
 * ------------------------------------------------------------------------ */

/* Linear addresses beyond the window: the ends of the canonical halves. */
static uint64_t far_target(struct draft *d)
{
    static const uint64_t far[] = {0x7ffffffffff8,     0x800000000000,
                                   0x1234567890abcdef, 0xffff7ffffffffff8,
                                   0xffff900000000000, 0xfffffffffffff000};
    return far[oracle_below(d->r, 6)] + oracle_below(d->r, 16);
}

static uint64_t pick_target(struct draft *d, unsigned bytes)
{
    unsigned in = oracle_below(d->r, bytes ? bytes : 1);
    uint64_t first = ORACLE_DATA, second = ORACLE_DATA + ORACLE_PAGE;
    unsigned align = bytes > 16 ? 16 : bytes ? bytes : 1;
    switch (oracle_below(d->r, 32)) {
    case 0:
    case 1:
    case 2:
    case 3: /* across two writable pages */
        return second - in;
    case 4:
    case 5: /* off the end */
        return second + ORACLE_PAGE - in;
    case 6: /* before the start */
        return first - in;
    case 7: /* page 4 is read-only, 5 is not, 6 is */
    case 8:
        return ORACLE_WINDOW +
               (4 + oracle_below(d->r, 4)) * (uint64_t)ORACLE_PAGE - in;
    case 9:
        return ORACLE_WINDOW + 4 * ORACLE_PAGE +
               oracle_below(d->r, ORACLE_PAGE);
    case 10:
        return ORACLE_WINDOW + oracle_below(d->r, 20 * ORACLE_PAGE);
    case 11:
        if (!d->out->mode)
            return far_target(d);
        return oracle_random(d->r) & 0xffffffff;
    case 12:
    case 13:
    case 14:
    case 15: /* anywhere */
        return first + oracle_below(d->r, 2 * ORACLE_PAGE);
    case 16: /* the last place where it fits */
        return second + ORACLE_PAGE - bytes;
    default:
        return first +
               (oracle_below(d->r, 2 * ORACLE_PAGE - 512) & ~(align - 1));
    }
}

static void patch_displacement(struct draft *d, uint64_t value)
{
    unsigned at = d->zi.raw.disp.offset, bytes = d->zi.raw.disp.size / 8;
    memcpy(d->out->bytes + at, &value, bytes);
}

/* Make the explicit memory operand lie at `at`, as far as its form allows. */
static void aim(struct draft *d, const ZydisDecodedOperand *o, uint64_t at)
{
    struct oracle_case *k = d->out;
    const ZydisDecodedOperandMem *m = &o->mem;
    uint64_t offset = at - oracle_segment_base(k->mode, m->segment);
    uint64_t disp = m->disp.has_displacement ? (uint64_t)m->disp.value : 0;
    if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP) {
        patch_displacement(d, offset - k->in.rip - k->length);
        return;
    }
    if (m->base == ZYDIS_REGISTER_NONE && m->index == ZYDIS_REGISTER_NONE) {
        patch_displacement(d, offset);
        return;
    }
    unsigned index = (unsigned)ZydisRegisterGetId(m->index) & 15;
    unsigned base = (unsigned)ZydisRegisterGetId(m->base) & 15;
    if (m->base == ZYDIS_REGISTER_NONE)
        k->in.r[index] = (offset - disp) / m->scale;
    else if (m->index == ZYDIS_REGISTER_NONE)
        k->in.r[base] = offset - disp;
    else if (base == index)
        k->in.r[base] = (offset - disp) / (m->scale + 1u);
    else
        k->in.r[base] = offset - disp - k->in.r[index] * m->scale;
}

/* ---- registers
 * ---------------------------------------------------------------------- */

static void random_registers(struct draft *d)
{
    struct oracle_state *s = &d->out->in;
    for (unsigned n = 0; n < 16; n++)
        s->r[n] = oracle_below(d->r, 5) < 3 ? oracle_interesting(d->r)
                                            : oracle_random(d->r);
    s->r[REG_RSP] = pick_target(d, 8);
    if (!one_in(d, 8))
        s->r[REG_RSP] &= ~7ULL;
    if (!one_in(d, 8))
        s->r[REG_RSI] = pick_target(d, 8);
    if (!one_in(d, 8))
        s->r[REG_RDI] = pick_target(d, 8);
    if (one_in(d, 2))
        s->r[REG_RBP] = pick_target(d, 8);
    if (d->out->mode == ORACLE_16) { /* the data segments start there */
        s->r[REG_RSP] -= ORACLE_WINDOW;
        s->r[REG_RSI] -= ORACLE_WINDOW;
        s->r[REG_RDI] -= ORACLE_WINDOW;
        s->r[REG_RBP] -= ORACLE_WINDOW;
    }
    s->rflags = (oracle_random(d->r) & FLAGS_ARITH) | 0x202;
    if (one_in(d, 4))
        s->rflags |= FLAG_DF;
    if (one_in(d, 16))
        s->rflags |= FLAG_AC;
}

static uint64_t pick_code(struct draft *d)
{
    switch (oracle_below(d->r, 16)) {
    case 0:
    case 1: /* across its two pages */
        return ORACLE_CODE + ORACLE_PAGE - 1 - oracle_below(d->r, 14);
    case 2: /* off the end */
        return ORACLE_CODE + 2 * ORACLE_PAGE - 1 - oracle_below(d->r, 15);
    default:
        return ORACLE_CODE + oracle_below(d->r, 2048);
    }
}

static void patch(struct draft *d, uint64_t at, const void *bytes, unsigned n)
{
    if (at - ORACLE_DATA > ORACLE_DATA_BYTES - n)
        return;
    d->out->patch_at = at;
    d->out->patch_bytes = (uint16_t)n;
    memcpy(d->out->patch, bytes, n);
}

static const ZydisDecodedOperand *explicit_memory(const struct draft *d)
{
    for (unsigned k = 0; k < d->zi.operand_count_visible; k++)
        if (d->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return &d->ops[k];
    return NULL;
}

/* ---- what single instructions want
 * --------------------------------------------------- */

static uint16_t pick_selector(struct draft *d)
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

static bool takes_selector(const struct draft *d)
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

static void aim_selector(struct draft *d)
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
    if (explicit_memory(d) && explicit_memory(d)->size > 16)
        at = explicit_memory(d)->size / 8 - 2;
    memcpy(bytes + at, &selector, 2);
    if (d->target)
        patch(d, d->target, bytes, 16);
    else
        patch(d, d->out->in.r[REG_RSP], bytes, 16);
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

static void aim_divide(struct draft *d)
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
    if (d->target && one_in(d, 2))
        patch(d, d->target, &v, 8);
}

static void aim_compare_exchange(struct draft *d)
{
    uint64_t *r = d->out->in.r;
    uint64_t pair[2] = {r[REG_RAX], r[REG_RDX]};
    if (d->zi.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B)
        pair[0] = (r[REG_RDX] << 32) | (uint32_t)r[REG_RAX];
    if (one_in(d, 2))
        return;
    if (d->target)
        patch(d, d->target, pair, 16);
    else if (d->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        r[ZydisRegisterGetId(d->ops[0].reg.value) & 15] = r[REG_RAX];
}

static void aim_branch(struct draft *d)
{
    uint64_t to = one_in(d, 2) ? ORACLE_CODE + oracle_below(d->r, 8192)
                               : pick_target(d, 1);
    if (one_in(d, 8))
        to = oracle_random(d->r);
    if (d->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        d->out->in.r[ZydisRegisterGetId(d->ops[0].reg.value) & 15] = to;
    else if (d->target)
        patch(d, d->target, &to, 8);
    else
        patch(d, d->out->in.r[REG_RSP], &to, 8);
}

/* Far transfers: offset and selector in memory, on the stack or in the
 * instruction; IRET's frame goes on with flags, rSP and SS. */
static void aim_far(struct draft *d)
{
    unsigned n = d->zi.operand_width / 8;
    uint64_t value[5] = {ORACLE_CODE + oracle_below(d->r, 8192),
                         pick_selector(d), oracle_random(d->r),
                         pick_target(d, 8), pick_selector(d)};
    uint8_t bytes[40] = {0};
    if (one_in(d, 2))
        value[1] = one_in(d, 2) ? ORACLE_CS32 : ORACLE_CS64;
    if (one_in(d, 2))
        value[4] = ORACLE_SS;
    if (one_in(d, 16))
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
        patch(d, d->target ? d->target : d->out->in.r[REG_RSP], bytes, 5 * n);
}

static void aim_image(struct draft *d)
{
    uint8_t fx[512];
    oracle_random_fx(d->r, fx);
    if (one_in(d, 8))
        fx[26] = 1; /* a reserved bit of MXCSR */
    if (d->target)
        patch(d, d->target, fx, 512);
}

static void aim_mxcsr(struct draft *d)
{
    uint32_t v = (uint32_t)oracle_random(d->r);
    if (!one_in(d, 4))
        v &= 0xffff;
    if (d->target)
        patch(d, d->target, &v, 4);
}

/* ENTER, x87 environments and so on find random memory good enough. */
static void aim_special(struct draft *d)
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
        r[REG_RBX] = pick_target(d, 1) - (r[REG_RAX] & 0xff);
        break;
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
        if (one_in(d, 2))
            r[REG_RAX] = (uint64_t)(int64_t)(int)(oracle_below(d->r, 40) - 20);
        if (one_in(d, 2))
            r[REG_RDX] = (uint64_t)(int64_t)(int)(oracle_below(d->r, 40) - 20);
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        r[REG_RBP] = pick_target(d, 8);
        break;
    default:
        break;
    }
    if (takes_selector(d))
        aim_selector(d);
}

/* A bit string's word is found from the operand and a register. */
static uint64_t bit_offset_bytes(struct draft *d)
{
    uint64_t *r = d->out->in.r;
    switch (d->zi.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        break;
    default:
        return 0;
    }
    if (d->ops[1].type != ZYDIS_OPERAND_TYPE_REGISTER || one_in(d, 8))
        return 0;
    unsigned n = (unsigned)ZydisRegisterGetId(d->ops[1].reg.value) & 15;
    int64_t v = (int64_t)oracle_below(d->r, 8192) - 4096;
    r[n] = (uint64_t)v;
    return (uint64_t)((v >> 3) & -(int64_t)(d->ops[0].size / 8));
}

static void aim_memory(struct draft *d)
{
    const ZydisDecodedOperand *o = explicit_memory(d);
    d->target = 0;
    if (!o || (d->zi.address_width == 16 && d->out->mode == ORACLE_32))
        return;
    unsigned bytes = o->size / 8;
    uint64_t at = pick_target(d, bytes);
    if (is_locked(d) && ((at - 16) & 63) + bytes > 32) /* aim() may miss by a few */
        at = (at & ~UINT64_C(63)) + 16;
    uint64_t shift = bit_offset_bytes(d);
    aim(d, o, at - shift);
    d->target = at;
    if (one_in(d, 4) && bytes <= 16) {
        uint8_t fill[16];
        for (unsigned k = 0; k < 2; k++) {
            uint64_t v = oracle_interesting(d->r);
            memcpy(fill + 8 * k, &v, 8);
        }
        patch(d, at, fill, bytes);
    }
}

static void aim_repeat(struct draft *d)
{
    const uint64_t repeats =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    if (d->zi.meta.category != ZYDIS_CATEGORY_STRINGOP)
        return;
    if (!(d->zi.attributes & repeats) && one_in(d, 2))
        return;
    static const unsigned most[] = {3, 40, 1100, 5000};
    d->out->in.r[REG_RCX] = oracle_below(d->r, most[oracle_below(d->r, 4)]);
    if (one_in(d, 4)) /* overlap */
        d->out->in.r[REG_RDI] =
            d->out->in.r[REG_RSI] + oracle_below(d->r, 64) - 32;
    if (one_in(d, 4)) { /* equal data, for REPE */
        memset(d->out->patch, 0x41, 512);
        patch(d, d->out->in.r[REG_RDI], d->out->patch, 512);
        d->out->in.r[REG_RAX] = 0x4141414141414141;
    }
}

void oracle_generate(struct oracle_forms *f, const struct oracle_wish *w,
                     struct oracle_random *r, struct oracle_case *out)
{
    struct draft d = {.out = out, .r = r, .forms = f};
    out->is_block = false;
    while (!make_bytes(&d, w))
        continue;
    out->patch_bytes = 0;
    out->loads_segments = out->loads_flags = out->is_near_branch = false;
    random_registers(&d);
    oracle_random_fx(r, out->in.fx);
    out->in.rip = pick_code(&d) - oracle_code_base(out->mode);
    out->stepped = true;
    if (d.is_valid) {
        bool ends = d.zi.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
                    d.zi.meta.category == ZYDIS_CATEGORY_RET;
        out->stepped =
            ends || (oracle_below(r, 2) && w->engine == ORACLE_INTERP);
        out->loads_flags = d.zi.mnemonic == ZYDIS_MNEMONIC_POPF ||
                           d.zi.mnemonic == ZYDIS_MNEMONIC_POPFD ||
                           d.zi.mnemonic == ZYDIS_MNEMONIC_POPFQ;
        out->is_near_branch =
            d.zi.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT ||
            d.zi.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
        aim_repeat(&d);
        aim_memory(&d);
        aim_special(&d);
    }
    if (out->mode != ORACLE_64)
        for (unsigned n = 0; n < 16; n++)
            out->in.r[n] &= 0xffffffff;
}
