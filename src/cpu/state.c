#include "base/field.h"
#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "cpu/model.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_FIELDS(s)                                                      \
    FIELD_U64(struct cpu, s.base), FIELD_U32(struct cpu, s.limit),             \
        FIELD_U16(struct cpu, s.selector), FIELD_U16(struct cpu, s.attr)

static const struct field cpu_fields[] = {
    FIELD_U64(struct cpu, r),
    FIELD_U16(struct cpu, aflags),
    FIELD_U32(struct cpu, flags),
    FIELD_U64(struct cpu, tick),
    FIELD_U64(struct cpu, skew),
    FIELD_U8(struct cpu, cpl),
    SEGMENT_FIELDS(seg[SEG_ES]),
    SEGMENT_FIELDS(seg[SEG_CS]),
    SEGMENT_FIELDS(seg[SEG_SS]),
    SEGMENT_FIELDS(seg[SEG_DS]),
    SEGMENT_FIELDS(seg[SEG_FS]),
    SEGMENT_FIELDS(seg[SEG_GS]),
    SEGMENT_FIELDS(ldtr),
    SEGMENT_FIELDS(tr),
    FIELD_U64(struct cpu, gdtr.base),
    FIELD_U16(struct cpu, gdtr.limit),
    FIELD_U64(struct cpu, idtr.base),
    FIELD_U16(struct cpu, idtr.limit),
    FIELD_U64(struct cpu, cr0),
    FIELD_U64(struct cpu, cr2),
    FIELD_U64(struct cpu, cr3),
    FIELD_U64(struct cpu, cr4),
    FIELD_U64(struct cpu, efer),
    FIELD_U64(struct cpu, pdpte),
    FIELD_U64(struct cpu, dr),
    FIELD_U64(struct cpu, star),
    FIELD_U64(struct cpu, lstar),
    FIELD_U64(struct cpu, cstar),
    FIELD_U64(struct cpu, sfmask),
    FIELD_U64(struct cpu, kernel_gs_base),
    FIELD_U64(struct cpu, tsc_aux),
    FIELD_U64(struct cpu, sysenter_cs),
    FIELD_U64(struct cpu, sysenter_esp),
    FIELD_U64(struct cpu, sysenter_eip),
    FIELD_U64(struct cpu, tsc_offset),
    FIELD_U64(struct cpu, apic_base),
    FIELD_U64(struct cpu, pat),
    FIELD_U64(struct cpu, mtrr_def_type),
    FIELD_U64(struct cpu, mtrr_fixed),
    FIELD_U64(struct cpu, mtrr_var),
    FIELD_U64(struct cpu, misc_enable),
    FIELD_U64(struct cpu, mcg_status),
    FIELD_U64(struct cpu, mc_banks),
    FIELD_U64(struct cpu, microcode),
    FIELD_BOOL(struct cpu, halted),
    FIELD_BOOL(struct cpu, shutdown),
    FIELD_BOOL(struct cpu, intr),
    FIELD_BOOL(struct cpu, nmi_pending),
    FIELD_BOOL(struct cpu, nmi_blocked),
    FIELD_U8(struct cpu, shadow),
    FIELD_U32(struct cpu, debug_pending),
    FIELD_U64(struct cpu, fault_tick),
    FIELD_U64(struct cpu, xmm),
    FIELD_U32(struct cpu, mxcsr),
    FIELD_U64(struct cpu, x87.mantissa),
    FIELD_U16(struct cpu, x87.exponent),
    FIELD_U16(struct cpu, x87.control),
    FIELD_U16(struct cpu, x87.status),
    FIELD_U8(struct cpu, x87.top),
    FIELD_U8(struct cpu, x87.valid),
    FIELD_U16(struct cpu, x87.opcode),
    FIELD_U64(struct cpu, x87.ip),
    FIELD_U64(struct cpu, x87.dp),
    FIELD_U16(struct cpu, x87.cs),
    FIELD_U16(struct cpu, x87.ds),
    FIELD_BOOL(struct cpu, ferr),
    FIELD_BOOL(struct cpu, x87_ignne),
};

/* The mapping of the running code may have changed: the rest of the current
 * block is not necessarily what comes next. */
static void on_rekey(void *context)
{
    cpu_attention(context);
}

bool cpu_init(struct cpu *c, struct phys *phys, const struct cpu_model *model,
              const struct cpu_board *board, struct error *err)
{
    memset(c, 0, sizeof *c);
    c->model = model;
    c->board = *board;
    c->exc_delivering = -1;
    c->fault_tick = UINT64_MAX;
    cpu_probe_forget(c);
    if (!mmu_init(&c->mmu, phys, err))
        return false;
    c->mmu.on_rekey = on_rekey;
    c->mmu.rekey_context = c;
    c->blocks = blocks_new(c, err);
    if (!c->blocks) {
        mmu_fini(&c->mmu);
        return false;
    }
    cpu_reset(c);
    return true;
}

void cpu_fini(struct cpu *c)
{
    blocks_free(c->blocks);
    mmu_fini(&c->mmu);
    memset(c, 0, sizeof *c);
}

/* What INIT and RESET have in common (SDM vol. 3A table 9-1). */
static void reset_common(struct cpu *c)
{
    memset(c->r, 0, sizeof c->r);
    c->r[REG_RIP] = 0xfff0;
    c->r[REG_RDX] = c->model->reset_edx;
    c->flags = 0;
    cpu_set_arith(c, 0);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        c->seg[s] = (struct segment){
            .limit = 0xffff,
            .attr = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_WRITABLE |
                    SEG_ATTR_ACCESSED};
    c->seg[SEG_CS].selector = 0xf000;
    c->seg[SEG_CS].base = 0xffff0000;
    c->seg[SEG_CS].attr |= SEG_ATTR_CODE;
    c->ldtr = (struct segment){.limit = 0xffff, .attr = SEG_ATTR_P | 2};
    c->tr = (struct segment){.limit = 0xffff, .attr = SEG_ATTR_P | 11};
    c->gdtr = c->idtr = (struct table_register){.limit = 0xffff};
    c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
    memset(c->pdpte, 0, sizeof c->pdpte);
    memset(c->dr, 0, sizeof c->dr);
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->cpl = 0;
    c->halted = c->shutdown = false;
    c->intr = c->nmi_pending = c->nmi_blocked = false;
    c->shadow = 0;
    c->debug_pending = 0;
}

static void update_all(struct cpu *c)
{
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
}

void cpu_reset(struct cpu *c)
{
    reset_common(c);
    c->cr0 = CR0_CD | CR0_NW | CR0_ET;
    c->star = c->lstar = c->cstar = c->sfmask = 0;
    c->kernel_gs_base = c->tsc_aux = 0;
    c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
    c->tsc_offset = 0 - c->tick;
    c->apic_base = 0xfee00900; /* enabled, bootstrap processor */
    c->pat = 0x0007040600070406;
    c->mtrr_def_type = 0;
    memset(c->mtrr_fixed, 0, sizeof c->mtrr_fixed);
    memset(c->mtrr_var, 0, sizeof c->mtrr_var);
    c->misc_enable = 1; /* fast strings */
    c->mcg_status = 0;
    memset(c->mc_banks, 0, sizeof c->mc_banks);
    c->microcode = 0;
    memset(c->xmm, 0, sizeof c->xmm);
    c->mxcsr = 0x1f80;
    memset(&c->x87, 0, sizeof c->x87);
    c->x87.control = 0x40;
    c->x87.valid = 0xff;
    c->ferr = false;
    c->x87_ignne = false;
    update_all(c);
}

void cpu_init_signal(struct cpu *c)
{
    uint64_t kept = c->cr0 & (CR0_CD | CR0_NW);
    reset_common(c);
    c->cr0 = kept | CR0_ET;
    update_all(c);
}

void cpu_save(const struct cpu *c, struct writer *w)
{
    fields_save(cpu_fields, FIELD_COUNT(cpu_fields), c, w);
}

/* Bring values from outside into the ranges that the code relies on. */
static bool check_loaded(struct cpu *c, struct error *err)
{
    /* Deadlines are sums of ticks; half the range is 292 years at 1 GHz. */
    if (c->tick > INT64_MAX || c->skew > c->tick)
        return error_set(err, ERR_INPUT,
                         "CPU state: expected a tick below 2^63 and fewer "
                         "skipped ones, found %llu and %llu",
                         (unsigned long long)c->tick,
                         (unsigned long long)c->skew);
    if (c->cpl > 3 || c->x87.top > 7 || c->shadow > 2 ||
        c->r[REG_ZERO] != 0 || (c->flags & FLAGS_ARITH) ||
        (c->mxcsr & ~0xffffu))
        return error_set(err, ERR_INPUT,
                         "CPU state: expected CPL 0..3, x87 top 0..7, shadow "
                         "0..2, MXCSR 0..ffff, found %u, %u, %u, %x",
                         c->cpl, c->x87.top, c->shadow, c->mxcsr);
    return true;
}

bool cpu_load(struct cpu *c, struct reader *r, struct error *err)
{
    if (!fields_load(cpu_fields, FIELD_COUNT(cpu_fields), c, r, err) ||
        !check_loaded(c, err))
        return false;
    c->limit = 0;
    c->exc_delivering = -1;
    cpu_probe_forget(c);
    mmu_drop_all(&c->mmu);
    blocks_flush(c);
    update_all(c);
    return true;
}

bool cpu_field_name(size_t offset, char *text, size_t text_bytes)
{
    size_t at = 0;
    for (size_t n = 0; n < FIELD_COUNT(cpu_fields); n++) {
        const struct field *f = &cpu_fields[n];
        size_t bytes = (size_t)f->count * f->bytes;
        if (offset < at + bytes) {
            (void)snprintf(text, text_bytes, f->count > 1 ? "%s[%zu]" : "%s",
                           f->name, (offset - at) / f->bytes);
            return true;
        }
        at += bytes;
    }
    return false;
}

/* ---- derived state ------------------------------------------------------------ */

static bool is_flat(const struct segment *s)
{
    const unsigned want = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_WRITABLE;
    const unsigned mask = want | SEG_ATTR_CODE | SEG_ATTR_EXPAND_DOWN;
    return s->limit == UINT32_MAX && (s->attr & mask) == want;
}

/* Data that grows up, present and writable; in real mode code as well. */
static uint64_t plain_end(const struct cpu *c, const struct segment *s)
{
    bool is_code = s->attr & SEG_ATTR_CODE;
    bool is_allowed =
        cpu_is_real(c) || (!is_code && (s->attr & SEG_ATTR_WRITABLE));
    bool is_down = !is_code && (s->attr & SEG_ATTR_EXPAND_DOWN);
    return (s->attr & SEG_ATTR_P) && is_allowed && !is_down
               ? (uint64_t)s->limit + 1
               : 0;
}

void cpu_update_mode(struct cpu *c)
{
    const struct segment *cs = &c->seg[SEG_CS], *ss = &c->seg[SEG_SS];
    bool is64 = cpu_is_long(c) && (cs->attr & SEG_ATTR_L);
    c->mode = is64 ? MODE_64 : cs->attr & SEG_ATTR_DB ? MODE_32 : MODE_16;
    c->linear_mask = is64 ? UINT64_MAX : UINT32_MAX;
    c->sp_mask = is64                      ? UINT64_MAX
                 : ss->attr & SEG_ATTR_DB ? UINT32_MAX
                                          : 0xffff;
    for (unsigned s = 0; s < SEG_COUNT; s++) {
        bool has_base = !is64 || s >= SEG_FS;
        c->ea_base[s] = has_base ? c->seg[s].base : 0;
        c->ea_flat[s] = is64 || is_flat(&c->seg[s]);
        if (!is64)
            c->ea_end[s] = plain_end(c, &c->seg[s]);
    }
    mmu_set_user(&c->mmu, c->cpl == 3);
    cpu_update_single(c);
}

void cpu_update_paging(struct cpu *c)
{
    struct mmu_regs regs = {
        .cr0 = c->cr0, .cr3 = c->cr3, .cr4 = c->cr4, .efer = c->efer};
    memcpy(regs.pdpte, c->pdpte, sizeof regs.pdpte);
    mmu_configure(&c->mmu, &regs);
    mmu_set_user(&c->mmu, c->cpl == 3);
}

/* Of the four breakpoints, is an enabled one for code (R/W 0) or data? */
static void breakpoint_kinds(const struct cpu *c, bool *code, bool *data)
{
    *code = *data = false;
    if (!(c->dr[7] & 0xff)) /* all disabled */
        return;
    for (unsigned n = 0; n < 4; n++) {
        if (!(c->dr[7] >> (2 * n) & 3))
            continue;
        unsigned rw = c->dr[7] >> (16 + 4 * n) & 3;
        *code |= rw == 0;
        *data |= rw == 1 || rw == 3;
    }
}

void cpu_update_single(struct cpu *c)
{
    bool code, data;
    breakpoint_kinds(c, &code, &data);
    bool single =
        (c->flags & (FLAG_TF | FLAG_RF)) || code || c->probe.every;
    if (single && !c->single)
        cpu_attention(c);
    c->single = single;
    mmu_set_checked(&c->mmu, data || (c->cpl == 3 && (c->flags & FLAG_AC) &&
                                      (c->cr0 & CR0_AM)));
}

void cpu_set_rflags(struct cpu *c, uint32_t rflags)
{
    cpu_set_arith(c, rflags);
    c->flags = rflags & ~(uint32_t)(FLAGS_ARITH | 2);
    /* A pending interrupt is taken behind this very instruction. */
    if (c->intr && (rflags & FLAG_IF))
        cpu_attention(c);
    cpu_update_single(c);
}
