/* Fast system calls (SDM vol. 2B SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS).
 */
#include "cpu/system_internal.h"

#include "cpu/op_system.h"

enum {
    ATTR_DATA = SEG_ATTR_WRITABLE | SEG_ATTR_DB,
    ATTR_CODE32 = SEG_ATTR_CODE | SEG_ATTR_WRITABLE | SEG_ATTR_DB,
    ATTR_CODE64 = SEG_ATTR_CODE | SEG_ATTR_WRITABLE | SEG_ATTR_L
};

static bool syscall_allowed(const struct cpu *c)
{
    return c->mode == MODE_64 && (c->efer & EFER_SCE);
}

enum exc op_syscall(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (!syscall_allowed(c))
        return cpu_fault(c, EXC_UD, 0);
    cpu_probe_note(c, &(struct cpu_note){.kind = CPU_NOTE_SYSCALL});
    uint16_t cs = (uint16_t)(c->star >> 32) & 0xfffc;
    uint32_t flags = cpu_rflags(c);
    c->r[REG_RCX] = c->r[REG_RIP];
    c->r[11] = flags & ~(uint32_t)FLAG_RF;
    c->seg[SEG_SS] = segment_flat((uint16_t)(cs + 8), ATTR_DATA);
    far_commit(c, segment_flat(cs, ATTR_CODE64), 0, c->lstar);
    cpu_set_rflags(c, flags & ~((uint32_t)c->sfmask | FLAG_RF));
    /* A mask that clears TF leaves no single-step trap behind. */
    return flags & (uint32_t)c->sfmask & FLAG_TF ? EXC_DELIVERED : EXC_NONE;
}

enum exc op_sysret(struct cpu *c, const struct insn *i)
{
    const uint32_t loaded = 0x3c7fd7;
    bool to_64 = i->opsize == 8;
    if (!syscall_allowed(c))
        return cpu_fault(c, EXC_UD, 0);
    if (c->cpl != 0 || (to_64 && !is_canonical(c->r[REG_RCX])))
        return cpu_gp0(c);
    uint16_t base = (uint16_t)(c->star >> 48);
    uint16_t cs = (uint16_t)((to_64 ? base + 16 : base) | 3);
    uint64_t rip = to_64 ? c->r[REG_RCX] : (uint32_t)c->r[REG_RCX];
    c->seg[SEG_SS] = segment_flat((uint16_t)((base + 8) | 3), ATTR_DATA);
    far_commit(c, segment_flat(cs, to_64 ? ATTR_CODE64 : ATTR_CODE32), 3, rip);
    cpu_set_rflags(c, (uint32_t)c->r[11] & loaded);
    cpu_recheck_events(c);
    return EXC_NONE;
}

enum exc op_sysenter(struct cpu *c, const struct insn *i)
{
    (void)i;
    uint16_t cs = (uint16_t)c->sysenter_cs & 0xfffc;
    if (cpu_is_real(c) || cs == 0)
        return cpu_gp0(c);
    cpu_probe_note(c, &(struct cpu_note){.kind = CPU_NOTE_SYSCALL});
    bool is_long = cpu_is_long(c);
    uint64_t mask = is_long ? UINT64_MAX : 0xffffffff;
    c->flags &= ~(uint32_t)(FLAG_VM | FLAG_IF | FLAG_RF);
    c->r[REG_RSP] = c->sysenter_esp & mask;
    c->seg[SEG_SS] = segment_flat((uint16_t)(cs + 8), ATTR_DATA);
    far_commit(c, segment_flat(cs, is_long ? ATTR_CODE64 : ATTR_CODE32), 0,
               c->sysenter_eip & mask);
    cpu_set_rflags(c, cpu_rflags(c));
    return EXC_NONE;
}

enum exc op_sysexit(struct cpu *c, const struct insn *i)
{
    uint16_t base = (uint16_t)c->sysenter_cs & 0xfffc;
    bool to_64 = i->opsize == 8;
    uint64_t rip = c->r[REG_RDX], rsp = c->r[REG_RCX];
    if (cpu_is_real(c) || base == 0 || c->cpl != 0)
        return cpu_gp0(c);
    if (to_64 && (!is_canonical(rip) || !is_canonical(rsp)))
        return cpu_gp0(c);
    uint16_t cs = (uint16_t)((base + (to_64 ? 32 : 16)) | 3);
    c->r[REG_RSP] = to_64 ? rsp : (uint32_t)rsp;
    c->seg[SEG_SS] = segment_flat((uint16_t)(cs + 8), ATTR_DATA);
    far_commit(c, segment_flat(cs, to_64 ? ATTR_CODE64 : ATTR_CODE32), 3,
               to_64 ? rip : (uint32_t)rip);
    return EXC_NONE;
}

enum exc op_swapgs(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (c->mode != MODE_64)
        return cpu_fault(c, EXC_UD, 0);
    if (c->cpl != 0)
        return cpu_gp0(c);
    uint64_t base = c->seg[SEG_GS].base;
    c->seg[SEG_GS].base = c->kernel_gs_base;
    c->kernel_gs_base = base;
    c->ea_base[SEG_GS] = c->seg[SEG_GS].base;
    return EXC_NONE;
}
