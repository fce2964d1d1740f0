/* Model-specific registers (SDM vol. 4; vol. 3A ch. 11 for MTRR and PAT, ch. 15
 * for machine check). */
#include "cpu/system_internal.h"

#include "cpu/model.h"
#include "cpu/op_system.h"

#include <stddef.h>

#define PHYS_MASK ((1ULL << PHYS_ADDRESS_BITS) - 1)

enum {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_UCODE_TRIGGER = 0x79,
    MSR_UCODE_REVISION = 0x8b,
    MSR_MTRR_CAP = 0xfe,
    MSR_MCG_CAP = 0x179,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_VAR = 0x200,
    MSR_MTRR_FIX_64K = 0x250,
    MSR_MTRR_FIX_16K = 0x258,
    MSR_MTRR_FIX_4K = 0x268,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_MC0_CTL = 0x400,
    MTRR_CAP = 0x508,    /* 8 variable ranges, fixed ranges, write combining */
    MISC_FIXED = 0x1800, /* BTS and PEBS are unavailable */
    MC_BANKS = 10
};
#define MSR_EFER    0xc0000080u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u

/* Registers that are one field and no more, with what WRMSR checks. */
enum check {
    CHECK_NONE,
    CHECK_CANONICAL,
    CHECK_32,      /* upper half must be 0 */
    CHECK_TRUNCATE /* upper half is ignored */
};
struct plain_msr {
    uint32_t index;
    uint16_t offset;
    uint8_t check;
    bool is_long; /* exists only with Intel 64 */
};
#define PLAIN(number, field, check_, long_)                                    \
    {                                                                          \
        .index = (number), .offset = offsetof(struct cpu, field),              \
        .check = (check_), .is_long = (long_)                                  \
    }
static const struct plain_msr plain[] = {
    PLAIN(0x174, sysenter_cs, CHECK_TRUNCATE, false),
    PLAIN(0x175, sysenter_esp, CHECK_CANONICAL, false),
    PLAIN(0x176, sysenter_eip, CHECK_CANONICAL, false),
    PLAIN(0x17a, mcg_status, CHECK_NONE, false),
    PLAIN(0xc0000081, star, CHECK_NONE, true),
    PLAIN(0xc0000082, lstar, CHECK_CANONICAL, true),
    PLAIN(0xc0000083, cstar, CHECK_CANONICAL, true),
    PLAIN(0xc0000084, sfmask, CHECK_TRUNCATE, true),
    PLAIN(0xc0000102, kernel_gs_base, CHECK_CANONICAL, true),
    PLAIN(0xc0000103, tsc_aux, CHECK_32, true),
};

/* Registers without function here that known software touches without asking
 * CPUID first: they read a constant; writes are ignored. */
struct quirk_msr {
    uint32_t first, last;
    uint64_t value;
};
static const struct quirk_msr quirks[] = {
    {0x17, 0x17, 0},       /* PLATFORM_ID: Windows microcode update driver */
    {0x2a, 0x2a, 0},       /* EBL_CR_POWERON: Windows, FreeBSD */
    {0x2c, 0x2c, 0},       /* EBC_FREQUENCY_ID: Windows */
    {0x35, 0x35, 0x10001}, /* CORE_THREAD_COUNT: one of each */
    {0x3a, 0x3a, 1},       /* FEATURE_CONTROL: locked, no VMX */
    {0xc1, 0xc2, 0},   /* PMC0, 1: Windows 7 without architectural perfmon */
    {0xcd, 0xce, 0},   /* FSB_FREQ, PLATFORM_INFO: Linux, SeaBIOS forks */
    {0xe2, 0xe2, 0},   /* PKG_CST_CONFIG_CONTROL: idle drivers */
    {0x119, 0x119, 0}, /* BBL_CR_CTL: processor serial number off */
    {0x11e, 0x11e, 0}, /* BBL_CR_CTL3: L2 set-up of old kernels */
    {0x17b, 0x17b, 0}, /* MCG_CTL although MCG_CAP.CTL_P is 0 */
    {0x186, 0x187, 0}, /* PERFEVTSEL0, 1 */
    {0x198, 0x199, 0}, /* PERF_STATUS, PERF_CTL */
    {0x19a, 0x19d, 0}, /* clock modulation, thermal monitor */
    {0x1a2, 0x1a2, 0}, /* TEMPERATURE_TARGET */
    {0x1ad, 0x1ad, 0}, /* TURBO_RATIO_LIMIT */
    {0x1c9, 0x1c9, 0}, /* LASTBRANCH_TOS */
    {0x1d9, 0x1d9, 0}, /* DEBUGCTL: no last-branch records */
    {0x1db, 0x1de, 0}, /* last branch, last interrupt from and to */
    {0x1fc, 0x1fc, 0}, /* POWER_CTL */
};

static const struct plain_msr *find_plain(const struct cpu *c, uint32_t index)
{
    bool has_long = (c->model->efer_mask & EFER_LME) != 0;
    for (unsigned k = 0; k < sizeof plain / sizeof plain[0]; k++)
        if (plain[k].index == index && (has_long || !plain[k].is_long))
            return &plain[k];
    return NULL;
}

static const struct quirk_msr *find_quirk(uint32_t index)
{
    for (unsigned k = 0; k < sizeof quirks / sizeof quirks[0]; k++)
        if (index >= quirks[k].first && index <= quirks[k].last)
            return &quirks[k];
    return NULL;
}

/* The fixed-range MTRR behind an index, in memory order; -1 none. */
static int fixed_mtrr(uint32_t index)
{
    if (index == MSR_MTRR_FIX_64K)
        return 0;
    if (index >= MSR_MTRR_FIX_16K && index < MSR_MTRR_FIX_16K + 2)
        return (int)(1 + index - MSR_MTRR_FIX_16K);
    if (index >= MSR_MTRR_FIX_4K && index < MSR_MTRR_FIX_4K + 8)
        return (int)(3 + index - MSR_MTRR_FIX_4K);
    return -1;
}

static bool is_memory_type(unsigned t)
{
    return t <= 6 && t != 2 && t != 3;
}

/* All eight bytes are memory types; PAT also knows UC- (7). */
static bool are_memory_types(uint64_t v, bool is_pat)
{
    for (unsigned k = 0; k < 8; k++, v >>= 8) {
        unsigned t = v & 0xff;
        if (!is_memory_type(t) && !(is_pat && t == 7))
            return false;
    }
    return true;
}

static bool read_range(const struct cpu *c, uint32_t index, uint64_t *value)
{
    int fixed = fixed_mtrr(index);
    if (fixed >= 0)
        *value = c->mtrr_fixed[fixed];
    else if (index >= MSR_MTRR_VAR && index < MSR_MTRR_VAR + 16)
        *value = c->mtrr_var[index - MSR_MTRR_VAR];
    else if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + 4 * MC_BANKS)
        *value = c->mc_banks[index - MSR_MC0_CTL];
    else
        return false;
    return true;
}

static enum exc read_other(struct cpu *c, uint32_t index, uint64_t *value)
{
    const struct quirk_msr *q = find_quirk(index);
    const struct plain_msr *p = find_plain(c, index);
    if (p)
        memcpy(value, (const char *)c + p->offset, sizeof *value);
    else if (q)
        *value = q->value;
    else if (!read_range(c, index, value))
        return cpu_gp0(c);
    return EXC_NONE;
}

enum exc cpu_rdmsr(struct cpu *c, uint32_t index, uint64_t *value)
{
    bool has_long = (c->model->efer_mask & EFER_LME) != 0;
    switch (index) {
    case MSR_TSC:
        *value = cpu_tsc(c);
        return EXC_NONE;
    case MSR_APIC_BASE:
        *value = c->apic_base;
        return EXC_NONE;
    case MSR_UCODE_REVISION:
        *value = c->microcode;
        return EXC_NONE;
    case MSR_MTRR_CAP:
        *value = MTRR_CAP;
        return EXC_NONE;
    case MSR_MCG_CAP:
        *value = MC_BANKS;
        return EXC_NONE;
    case MSR_MISC_ENABLE:
        *value = c->misc_enable | MISC_FIXED;
        return EXC_NONE;
    case MSR_PAT:
        *value = c->pat;
        return EXC_NONE;
    case MSR_MTRR_DEF_TYPE:
        *value = c->mtrr_def_type;
        return EXC_NONE;
    case MSR_EFER:
        *value = c->efer;
        return c->model->efer_mask ? EXC_NONE : cpu_gp0(c);
    case MSR_FS_BASE:
    case MSR_GS_BASE:
        *value = c->seg[index - MSR_FS_BASE + SEG_FS].base;
        return has_long ? EXC_NONE : cpu_gp0(c);
    default:
        return read_other(c, index, value);
    }
}

/* ---- writing ----------------------------------------------------------------
 */

static enum exc write_efer(struct cpu *c, uint64_t value)
{
    uint64_t mask = c->model->efer_mask;
    if (c->misc_enable >> 34 & 1)
        mask &= ~(uint64_t)EFER_NXE;
    if (!c->model->efer_mask || (value & ~(mask | EFER_LMA)))
        return cpu_gp0(c);
    if (((value ^ c->efer) & EFER_LME) && (c->cr0 & CR0_PG))
        return cpu_gp0(c);
    c->efer = (value & mask) | (c->efer & EFER_LMA);
    cpu_update_mode(c);
    cpu_update_paging(c);
    return EXC_NONE;
}

static enum exc write_apic_base(struct cpu *c, uint64_t value)
{
    /* BSP, enable and the base; no x2APIC. */
    if (value & ~(0x900ULL | (PHYS_MASK & ~0xfffULL)))
        return cpu_gp0(c);
    c->apic_base = value;
    c->board.apic_base_write(c->board.context, value);
    return EXC_NONE;
}

/* Fast strings, LIMIT_CPUID and XD_DISABLE can be written; BTS and PEBS stay
 * "unavailable". */
static enum exc write_misc_enable(struct cpu *c, uint64_t value)
{
    c->misc_enable = value & (1ULL | 1ULL << 22 | 1ULL << 34);
    if (c->misc_enable >> 34 & 1)
        c->efer &= ~(uint64_t)EFER_NXE;
    cpu_update_paging(c);
    return EXC_NONE;
}

static enum exc write_def_type(struct cpu *c, uint64_t value)
{
    if ((value & ~0xcffULL) || !is_memory_type(value & 0xff))
        return cpu_gp0(c);
    c->mtrr_def_type = value;
    return EXC_NONE;
}

static enum exc write_variable_mtrr(struct cpu *c, unsigned n, uint64_t value)
{
    uint64_t low = n & 1 ? 0x7ff : 0xf00; /* reserved bits of mask and base */
    if ((value & ~PHYS_MASK) || (value & low))
        return cpu_gp0(c);
    if (!(n & 1) && !is_memory_type(value & 0xff))
        return cpu_gp0(c);
    c->mtrr_var[n] = value;
    return EXC_NONE;
}

/* CTL takes all zeros or all ones; STATUS, ADDR and MISC take zero. */
static enum exc write_mc_bank(struct cpu *c, unsigned n, uint64_t value)
{
    bool allowed = value == 0 || (n % 4 == 0 && value == UINT64_MAX);
    if (!allowed)
        return cpu_gp0(c);
    c->mc_banks[n] = value;
    return EXC_NONE;
}

static enum exc write_plain(struct cpu *c, const struct plain_msr *p,
                            uint64_t value)
{
    bool has_long = (c->model->efer_mask & EFER_LME) != 0;
    if (p->check == CHECK_CANONICAL && has_long && !is_canonical(value))
        return cpu_gp0(c);
    if (p->check == CHECK_32 && value >> 32)
        return cpu_gp0(c);
    if (p->check == CHECK_TRUNCATE || !has_long)
        value = (uint32_t)value;
    memcpy((char *)c + p->offset, &value, sizeof value);
    return EXC_NONE;
}

static enum exc write_other(struct cpu *c, uint32_t index, uint64_t value)
{
    const struct plain_msr *p = find_plain(c, index);
    int fixed = fixed_mtrr(index);
    if (p)
        return write_plain(c, p, value);
    if (index == 0x3a) /* locked */
        return cpu_gp0(c);
    if (find_quirk(index))
        return EXC_NONE;
    if (fixed >= 0) {
        if (!are_memory_types(value, false))
            return cpu_gp0(c);
        c->mtrr_fixed[fixed] = value;
        return EXC_NONE;
    }
    if (index >= MSR_MTRR_VAR && index < MSR_MTRR_VAR + 16)
        return write_variable_mtrr(c, index - MSR_MTRR_VAR, value);
    if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + 4 * MC_BANKS)
        return write_mc_bank(c, index - MSR_MC0_CTL, value);
    return cpu_gp0(c);
}

static enum exc write_base(struct cpu *c, unsigned seg, uint64_t value)
{
    if (!(c->model->efer_mask & EFER_LME) || !is_canonical(value))
        return cpu_gp0(c);
    c->seg[seg].base = value;
    cpu_update_mode(c);
    return EXC_NONE;
}

enum exc cpu_wrmsr(struct cpu *c, uint32_t index, uint64_t value)
{
    switch (index) {
    case MSR_TSC:
        c->tsc_offset = value - c->tick;
        return EXC_NONE;
    case MSR_APIC_BASE:
        return write_apic_base(c, value);
    case MSR_UCODE_TRIGGER: /* an update of no effect */
        return EXC_NONE;
    case MSR_UCODE_REVISION:
        c->microcode = value;
        return EXC_NONE;
    case MSR_MTRR_CAP:
    case MSR_MCG_CAP:
        return cpu_gp0(c);
    case MSR_MISC_ENABLE:
        return write_misc_enable(c, value);
    case MSR_PAT:
        if (!are_memory_types(value, true))
            return cpu_gp0(c);
        c->pat = value;
        return EXC_NONE;
    case MSR_MTRR_DEF_TYPE:
        return write_def_type(c, value);
    case MSR_EFER:
        return write_efer(c, value);
    case MSR_FS_BASE:
    case MSR_GS_BASE:
        return write_base(c, index - MSR_FS_BASE + SEG_FS, value);
    default:
        return write_other(c, index, value);
    }
}

/* ---- instructions -----------------------------------------------------------
 */

static void set_edx_eax(struct cpu *c, uint64_t value)
{
    c->r[REG_RAX] = (uint32_t)value;
    c->r[REG_RDX] = value >> 32;
}

enum exc op_rdmsr(struct cpu *c, const struct insn *i)
{
    uint64_t value = 0;
    (void)i;
    if (c->cpl != 0)
        return cpu_gp0(c);
    enum exc e = cpu_rdmsr(c, (uint32_t)c->r[REG_RCX], &value);
    if (!e)
        set_edx_eax(c, value);
    return e;
}

enum exc op_wrmsr(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl != 0)
        return cpu_gp0(c);
    return cpu_wrmsr(c, (uint32_t)c->r[REG_RCX],
                     c->r[REG_RDX] << 32 | (uint32_t)c->r[REG_RAX]);
}

enum exc op_rdtsc(struct cpu *c, const struct insn *i)
{
    (void)i;
    if ((c->cr4 & CR4_TSD) && c->cpl != 0)
        return cpu_gp0(c);
    set_edx_eax(c, cpu_tsc(c));
    return EXC_NONE;
}

enum exc op_rdtscp(struct cpu *c, const struct insn *i)
{
    if (!cpu_model_has(c->model, 0x80000001, CPUID_EDX, 27))
        return cpu_fault(c, EXC_UD, 0);
    enum exc e = op_rdtsc(c, i);
    if (!e)
        c->r[REG_RCX] = (uint32_t)c->tsc_aux;
    return e;
}

/* No counter exists, so every index is out of range. */
enum exc op_rdpmc(struct cpu *c, const struct insn *i)
{
    (void)i;
    return cpu_gp0(c);
}
