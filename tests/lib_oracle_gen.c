/* Cases: an instruction of a claimed form with random prefixes, registers and
 * operands, aimed at memory where something may go wrong. */
#include "tests/lib_oracle_draft.h"

#include "cpu/cpu.h"
#include "cpu/insn.h"

#include <string.h>

/* ---- bytes
 * ------------------------------------------------------------------------ */

static unsigned put_prefixes(struct oracle_draft *d,
                             const struct oracle_form *t, uint8_t *bytes)
{
    static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = 0, rex = 0;
    if (oracle_one_in(d, 10))
        bytes[n++] = segments[oracle_below(d->r, 6)];
    if (oracle_one_in(d, 12))
        bytes[n++] = 0x67;
    if (oracle_one_in(d, 25))
        bytes[n++] = 0x66;
    if (oracle_one_in(d, 40))
        bytes[n++] = oracle_one_in(d, 2) ? 0xf2 : 0xf3;
    if (oracle_one_in(d, 40))
        bytes[n++] = 0xf0;
    for (unsigned k = 0; k < t->prefix_count; k++) {
        if (t->prefixes[k] == 0x48)
            rex = 0x48;
        else
            bytes[n++] = t->prefixes[k];
    }
    if (!t->mode) {
        if (oracle_one_in(d, 2))
            rex |= 0x40 | oracle_below(d->r, 8);
        if (oracle_one_in(d, 12))
            rex |= 0x48;
        if (rex)
            bytes[n++] = (uint8_t)rex;
    }
    return n;
}

static void put_modrm(struct oracle_draft *d, const struct oracle_form *t,
                      uint8_t *at)
{
    unsigned mod = t->modrm >> 6, reg = t->modrm >> 3 & 7, rm = t->modrm & 7;
    if (oracle_one_in(d, 2))
        reg = oracle_below(d->r, 8);
    if (mod != 3) {
        mod = oracle_below(d->r, 3);
        rm = oracle_below(d->r, 8);
    } else if (oracle_one_in(d, 2)) {
        rm = oracle_below(d->r, 8);
    }
    *at = (uint8_t)(mod << 6 | reg << 3 | rm);
}

static void put_bytes(struct oracle_draft *d, const struct oracle_form *t)
{
    uint8_t *bytes = d->out->bytes;
    memset(bytes, 0xcc, sizeof d->out->bytes);
    unsigned n = put_prefixes(d, t, bytes);
    memcpy(bytes + n, t->opcode, t->opcode_bytes);
    n += t->opcode_bytes;
    if (t->has_modrm)
        put_modrm(d, t, bytes + n++);
    for (unsigned k = 0; k < 10; k++)
        bytes[n + k] = (uint8_t)(oracle_one_in(d, 3) ? oracle_interesting(d->r)
                                                     : oracle_random(d->r));
}

static bool decode(struct oracle_draft *d)
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

/* Linux lets a process wait after a locked access across cache lines (split
 * lock and bus lock detection), for seconds when others do the same: none. */
static bool is_locked(const struct oracle_draft *d)
{
    return d->zi.mnemonic == ZYDIS_MNEMONIC_XCHG ||
           (d->zi.attributes & ZYDIS_ATTRIB_HAS_LOCK);
}

/* False: not a case, try again. */
static bool make_bytes(struct oracle_draft *d, const struct oracle_wish *w)
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
               oracle_one_in(d, 4);
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
static uint64_t far_target(struct oracle_draft *d)
{
    static const uint64_t far[] = {0x7ffffffffff8,     0x800000000000,
                                   0x1234567890abcdef, 0xffff7ffffffffff8,
                                   0xffff900000000000, 0xfffffffffffff000};
    return far[oracle_below(d->r, 6)] + oracle_below(d->r, 16);
}

uint64_t oracle_pick_target(struct oracle_draft *d, unsigned bytes)
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
    case 10: /* not the code: behind it a trace has a jump, the host INT3 */
        return ORACLE_WINDOW +
               oracle_below(d->r, ORACLE_CODE_FIRST * ORACLE_PAGE - 16);
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

static void patch_displacement(struct oracle_draft *d, uint64_t value)
{
    unsigned at = d->zi.raw.disp.offset, bytes = d->zi.raw.disp.size / 8;
    memcpy(d->out->bytes + at, &value, bytes);
}

/* Make the explicit memory operand lie at `at`, as far as its form allows. */
static void aim(struct oracle_draft *d, const ZydisDecodedOperand *o,
                uint64_t at)
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

static void random_registers(struct oracle_draft *d)
{
    struct oracle_state *s = &d->out->in;
    for (unsigned n = 0; n < 16; n++)
        s->r[n] = oracle_below(d->r, 5) < 3 ? oracle_interesting(d->r)
                                            : oracle_random(d->r);
    s->r[REG_RSP] = oracle_pick_target(d, 8);
    if (!oracle_one_in(d, 8))
        s->r[REG_RSP] &= ~7ULL;
    if (!oracle_one_in(d, 8))
        s->r[REG_RSI] = oracle_pick_target(d, 8);
    if (!oracle_one_in(d, 8))
        s->r[REG_RDI] = oracle_pick_target(d, 8);
    if (oracle_one_in(d, 2))
        s->r[REG_RBP] = oracle_pick_target(d, 8);
    if (d->out->mode == ORACLE_16) { /* the data segments start there */
        s->r[REG_RSP] -= ORACLE_WINDOW;
        s->r[REG_RSI] -= ORACLE_WINDOW;
        s->r[REG_RDI] -= ORACLE_WINDOW;
        s->r[REG_RBP] -= ORACLE_WINDOW;
    }
    s->rflags = (oracle_random(d->r) & FLAGS_ARITH) | 0x202;
    if (oracle_one_in(d, 4))
        s->rflags |= FLAG_DF;
    if (oracle_one_in(d, 16))
        s->rflags |= FLAG_AC;
}

static uint64_t pick_code(struct oracle_draft *d)
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

void oracle_patch(struct oracle_draft *d, uint64_t at, const void *bytes,
                  unsigned n)
{
    if (at - ORACLE_DATA > ORACLE_DATA_BYTES - n)
        return;
    d->out->patch_at = at;
    d->out->patch_bytes = (uint16_t)n;
    memcpy(d->out->patch, bytes, n);
}

const ZydisDecodedOperand *oracle_explicit_memory(const struct oracle_draft *d)
{
    for (unsigned k = 0; k < d->zi.operand_count_visible; k++)
        if (d->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return &d->ops[k];
    return NULL;
}

/* A bit string's word is found from the operand and a register. */
static uint64_t bit_offset_bytes(struct oracle_draft *d)
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
    if (d->ops[1].type != ZYDIS_OPERAND_TYPE_REGISTER || oracle_one_in(d, 8))
        return 0;
    unsigned n = (unsigned)ZydisRegisterGetId(d->ops[1].reg.value) & 15;
    int64_t v = (int64_t)oracle_below(d->r, 8192) - 4096;
    r[n] = (uint64_t)v;
    return (uint64_t)((v >> 3) & -(int64_t)(d->ops[0].size / 8));
}

static void aim_memory(struct oracle_draft *d)
{
    const ZydisDecodedOperand *o = oracle_explicit_memory(d);
    d->target = 0;
    if (!o || (d->zi.address_width == 16 && d->out->mode == ORACLE_32))
        return;
    unsigned bytes = o->size / 8;
    uint64_t at = oracle_pick_target(d, bytes);
    if (is_locked(d) &&
        ((at - 16) & 63) + bytes > 32) /* aim() may miss by a few */
        at = (at & ~UINT64_C(63)) + 16;
    uint64_t shift = bit_offset_bytes(d);
    aim(d, o, at - shift);
    d->target = at;
    if (oracle_one_in(d, 4) && bytes <= 16) {
        uint8_t fill[16];
        for (unsigned k = 0; k < 2; k++) {
            uint64_t v = oracle_interesting(d->r);
            memcpy(fill + 8 * k, &v, 8);
        }
        oracle_patch(d, at, fill, bytes);
    }
}

void oracle_generate(struct oracle_forms *f, const struct oracle_wish *w,
                     struct oracle_random *r, struct oracle_case *out)
{
    struct oracle_draft d = {.out = out, .r = r, .forms = f};
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
        oracle_aim_repeat(&d);
        aim_memory(&d);
        oracle_aim_special(&d);
    }
    if (out->mode != ORACLE_64)
        for (unsigned n = 0; n < 16; n++)
            out->in.r[n] &= 0xffffffff;
}
