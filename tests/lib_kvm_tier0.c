/* The interpreter's side of the KVM oracle. */
#include "lib_kvm_state.h"

#include "cpu/blocks.h"
#include "cpu/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICKS_MAX = 600 };

const uint32_t sys_msr_index[SYS_MSR_COUNT] = {
    [SYS_STAR] = 0xc0000081,
    [SYS_LSTAR] = 0xc0000082,
    [SYS_CSTAR] = 0xc0000083,
    [SYS_SFMASK] = 0xc0000084,
    [SYS_KERNEL_GS] = 0xc0000102,
    [SYS_SYSENTER_CS] = 0x174,
    [SYS_SYSENTER_ESP] = 0x175,
    [SYS_SYSENTER_EIP] = 0x176,
    [SYS_PAT] = 0x277,
    [SYS_TSC_AUX] = 0xc0000103,
};

struct kvm_tier0 {
    struct phys *phys;
    struct cpu c;
    struct sys_result *result; /* borrowed, of the current run */
    uint64_t cr8;
};

void kvm_port_note(struct sys_result *r, bool is_write, uint16_t port,
                   unsigned bytes, uint32_t value)
{
    if (r->ports < SYS_PORT_LOG)
        r->port[r->ports] = (uint64_t)(is_write ? 8 : 0) << 60 |
                            (uint64_t)bytes << 56 | (uint64_t)port << 32 |
                            value;
    r->ports++;
}

static uint32_t board_read(void *context, uint16_t port, unsigned bytes)
{
    struct kvm_tier0 *t = context;
    kvm_port_note(t->result, false, port, bytes, 0);
    return kvm_port_value(port);
}
static void board_write(void *context, uint16_t port, uint32_t value,
                        unsigned bytes)
{
    struct kvm_tier0 *t = context;
    kvm_port_note(t->result, true, port, bytes,
                  bytes == 4 ? value : value & ((1u << 8 * bytes) - 1));
}
static uint8_t board_acknowledge(void *context)
{
    (void)context;
    return 0;
}
static uint8_t board_tpr_read(void *context)
{
    return (uint8_t)((struct kvm_tier0 *)context)->cr8;
}
static void board_tpr_write(void *context, uint8_t cr8)
{
    ((struct kvm_tier0 *)context)->cr8 = cr8;
}
static void board_apic_base(void *context, uint64_t value)
{
    (void)context;
    (void)value;
}
static void board_ferr(void *context, bool level)
{
    (void)context;
    (void)level;
}

struct kvm_tier0 *kvm_tier0_new(void)
{
    struct error err = {0};
    struct kvm_tier0 *t = calloc(1, sizeof *t);
    struct cpu_board board = {
        .context = t,
        .io_read = board_read,
        .io_write = board_write,
        .acknowledge = board_acknowledge,
        .tpr_read = board_tpr_read,
        .tpr_write = board_tpr_write,
        .apic_base_write = board_apic_base,
        .ferr = board_ferr,
    };
    if (!t)
        return NULL;
    t->phys = phys_new(SYS_MEM_BYTES, &err);
    if (!t->phys) {
        free(t);
        return NULL;
    }
    uint32_t frame = phys_add_memory(t->phys, "ram", SYS_MEM_BYTES, false);
    phys_map_memory(t->phys, 0, SYS_MEM_BYTES, frame, PHYS_READ | PHYS_WRITE);
    if (!cpu_init(&t->c, t->phys, cpu_model_find(CPU_MODEL_DEFAULT), &board,
                  &err)) {
        phys_free(t->phys);
        free(t);
        return NULL;
    }
    return t;
}

void kvm_tier0_free(struct kvm_tier0 *t)
{
    if (!t)
        return;
    cpu_fini(&t->c);
    phys_free(t->phys);
    free(t);
}

static uint64_t *msr_field(struct cpu *c, enum sys_msr m)
{
    uint64_t *const fields[SYS_MSR_COUNT] = {
        [SYS_STAR] = &c->star,
        [SYS_LSTAR] = &c->lstar,
        [SYS_CSTAR] = &c->cstar,
        [SYS_SFMASK] = &c->sfmask,
        [SYS_KERNEL_GS] = &c->kernel_gs_base,
        [SYS_SYSENTER_CS] = &c->sysenter_cs,
        [SYS_SYSENTER_ESP] = &c->sysenter_esp,
        [SYS_SYSENTER_EIP] = &c->sysenter_eip,
        [SYS_PAT] = &c->pat,
        [SYS_TSC_AUX] = &c->tsc_aux,
    };
    return fields[m];
}

static void load_memory(struct kvm_tier0 *t, const uint8_t *mem)
{
    for (uint32_t f = 0; f < SYS_MEM_BYTES / PAGE_BYTES; f++) {
        const uint8_t *want = mem + (size_t)f * PAGE_BYTES;
        if (memcmp(phys_frame_host(t->phys, f), want, PAGE_BYTES) != 0)
            phys_frame_write(t->phys, f, 0, want, PAGE_BYTES);
    }
}

static void load_state(struct cpu *c, const struct sys_state *s)
{
    cpu_reset(c);
    memcpy(c->r, s->r, sizeof s->r);
    c->r[REG_RIP] = s->rip;
    memcpy(c->seg, s->seg, sizeof c->seg);
    c->ldtr = s->ldtr;
    c->tr = s->tr;
    c->gdtr = s->gdtr;
    c->idtr = s->idtr;
    c->cr0 = s->cr0;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
    memcpy(c->dr, s->dr, sizeof c->dr);
    c->cpl = s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
    if ((s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA))
        phys_read(c->mmu.phys, s->cr3 & 0xffffffe0, c->pdpte, sizeof c->pdpte);
    for (unsigned m = 0; m < SYS_MSR_COUNT; m++)
        *msr_field(c, m) = s->msr[m];
    c->shadow = s->shadow;
    c->exc_delivering = -1;
    c->fault_tick = UINT64_MAX;
    cpu_set_rflags(c, (uint32_t)s->rflags);
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
}

static void store_state(const struct kvm_tier0 *t, struct sys_state *s)
{
    struct cpu *c = (struct cpu *)(uintptr_t)&t->c;
    memset(s, 0, sizeof *s);
    memcpy(s->r, c->r, sizeof s->r);
    s->rip = c->r[REG_RIP];
    s->rflags = cpu_rflags(c);
    memcpy(s->seg, c->seg, sizeof s->seg);
    s->ldtr = c->ldtr;
    s->tr = c->tr;
    s->gdtr = c->gdtr;
    s->idtr = c->idtr;
    s->cr0 = c->cr0;
    s->cr2 = c->cr2;
    s->cr3 = c->cr3;
    s->cr4 = c->cr4;
    s->cr8 = t->cr8;
    s->efer = c->efer;
    memcpy(s->dr, c->dr, sizeof s->dr);
    for (unsigned m = 0; m < SYS_MSR_COUNT; m++)
        s->msr[m] = *msr_field(c, m);
}

void kvm_tier0_run(struct kvm_tier0 *t, const struct sys_state *s,
                   const uint8_t *mem, struct sys_result *out, uint8_t *after)
{
    memset(out, 0, sizeof *out);
    t->result = out;
    t->cr8 = s->cr8;
    load_memory(t, mem);
    load_state(&t->c, s);
    uint64_t until = t->c.tick + TICKS_MAX;
    while (t->c.tick < until && !t->c.halted && !t->c.shutdown)
        cpu_run(&t->c, until);
    out->end = t->c.shutdown ? SYS_SHUTDOWN
               : t->c.halted ? SYS_HALTED
                             : SYS_GAVE_UP;
    out->why = "tier 0 ran on";
    store_state(t, &out->s);
    for (uint32_t f = 0; f < SYS_MEM_BYTES / PAGE_BYTES; f++)
        memcpy(after + (size_t)f * PAGE_BYTES, phys_frame_host(t->phys, f),
               PAGE_BYTES);
}
