/* The real side of the KVM oracle: one vCPU and SYS_MEM_BYTES of memory. */
#include "lib_kvm_alarm.h"
#include "lib_kvm_scene.h"

#include "cpu/model.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUN_USEC_MAX = 50000, EXITS_MAX = 64 };

struct kvm_vm {
    int kvm, fd, cpu;
    struct kvm_run *run; /* owned mapping */
    size_t run_bytes;
    uint8_t *mem; /* owned mapping */
};

static void set_cpuid(struct kvm_vm *v)
{
    enum { ROWS = 40 };
    static const uint32_t leaves[][2] = {
        {0, 0},          {1, 0},          {2, 0},          {4, 0},
        {4, 1},          {4, 2},          {4, 3},          {5, 0},
        {6, 0},          {7, 0},          {0x80000000, 0}, {0x80000001, 0},
        {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x80000006, 0},
        {0x80000007, 0}, {0x80000008, 0}};
    const struct cpu_model *m = cpu_model_find(CPU_MODEL_DEFAULT);
    struct kvm_cpuid2 *c =
        calloc(1, sizeof *c + ROWS * sizeof(struct kvm_cpuid_entry2));
    if (!c)
        return;
    for (unsigned k = 0; k < sizeof leaves / sizeof leaves[0]; k++) {
        uint32_t out[4];
        struct kvm_cpuid_entry2 *e = &c->entries[c->nent++];
        cpu_model_cpuid(m, leaves[k][0], leaves[k][1], out);
        e->function = leaves[k][0];
        e->index = leaves[k][1];
        e->flags = leaves[k][0] == 4 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
        e->eax = out[0];
        e->ebx = out[1];
        e->ecx = out[2];
        e->edx = out[3];
    }
    if (ioctl(v->cpu, KVM_SET_CPUID2, c))
        perror("KVM_SET_CPUID2");
    free(c);
}

static bool map_memory(struct kvm_vm *v, uint64_t bytes)
{
    struct kvm_userspace_memory_region region = {
        .memory_size = bytes,
        .userspace_addr = (uint64_t)(uintptr_t)v->mem,
    };
    return ioctl(v->fd, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool start(struct kvm_vm *v, const char **why)
{
    *why = "/dev/kvm cannot be opened";
    v->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (v->kvm < 0)
        return false;
    *why = "KVM has another API version";
    if (ioctl(v->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return false;
    *why = "KVM makes no machine here";
    v->fd = ioctl(v->kvm, KVM_CREATE_VM, 0);
    if (v->fd < 0)
        return false;
    (void)ioctl(v->fd, KVM_SET_TSS_ADDR, 0xfffbd000UL);
    (void)ioctl(v->fd, KVM_SET_IDENTITY_MAP_ADDR, &(uint64_t){0xfffbc000});
    v->mem = mmap(NULL, SYS_MEM_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v->mem == MAP_FAILED) {
        v->mem = NULL;
        return false;
    }
    if (!map_memory(v, SYS_MEM_BYTES))
        return false;
    v->cpu = ioctl(v->fd, KVM_CREATE_VCPU, 0);
    int bytes = ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (v->cpu < 0 || bytes <= 0)
        return false;
    v->run_bytes = (size_t)bytes;
    v->run =
        mmap(NULL, v->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->cpu, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        return false;
    }
    set_cpuid(v);
    return true;
}

struct kvm_vm *kvm_vm_new(const char **why)
{
    struct kvm_vm *v = calloc(1, sizeof *v);
    if (!v) {
        *why = "no memory";
        return NULL;
    }
    v->kvm = v->fd = v->cpu = -1;
    kvm_alarm_install();
    if (start(v, why))
        return v;
    kvm_vm_free(v);
    return NULL;
}

void kvm_vm_free(struct kvm_vm *v)
{
    if (!v)
        return;
    if (v->run)
        (void)munmap(v->run, v->run_bytes);
    if (v->cpu >= 0)
        (void)close(v->cpu);
    if (v->fd >= 0)
        (void)close(v->fd);
    if (v->kvm >= 0)
        (void)close(v->kvm);
    if (v->mem)
        (void)munmap(v->mem, SYS_MEM_BYTES);
    free(v);
}

static struct kvm_segment to_kvm(const struct segment *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->attr & 15,
        .s = s->attr >> 4 & 1,
        .dpl = s->attr >> 5 & 3,
        .present = s->attr >> 7 & 1,
        .avl = s->attr >> 12 & 1,
        .l = s->attr >> 13 & 1,
        .db = s->attr >> 14 & 1,
        .g = s->attr >> 15 & 1,
        .unusable = !(s->attr & SEG_ATTR_P),
    };
}

static struct segment from_kvm(const struct kvm_segment *k)
{
    unsigned attr = k->type | k->s << 4 | k->dpl << 5 | k->present << 7 |
                    k->avl << 12 | k->l << 13 | k->db << 14 | k->g << 15;
    if (k->unusable)
        attr &= ~(unsigned)SEG_ATTR_P;
    return (struct segment){
        .base = k->base,
        .limit = k->limit,
        .selector = k->selector,
        .attr = (uint16_t)attr,
    };
}

/* struct kvm_sregs names its segments; ours are numbered. */
static struct kvm_segment *seg_of(struct kvm_sregs *k, unsigned s)
{
    struct kvm_segment *const segs[SEG_COUNT] = {&k->es, &k->cs, &k->ss,
                                                 &k->ds, &k->fs, &k->gs};
    return segs[s];
}

/* struct kvm_regs has the same order as ours but for RSI, RDI, RSP, RBP. */
static unsigned long long *reg_of(struct kvm_regs *k, unsigned r)
{
    unsigned long long *const regs[16] = {
        &k->rax, &k->rcx, &k->rdx, &k->rbx, &k->rsp, &k->rbp, &k->rsi, &k->rdi,
        &k->r8,  &k->r9,  &k->r10, &k->r11, &k->r12, &k->r13, &k->r14, &k->r15};
    return regs[r];
}

/* Room for SYS_MSR_COUNT entries behind the head. */
union msr_list {
    struct kvm_msrs head;
    uint8_t room[sizeof(struct kvm_msrs) +
                 SYS_MSR_COUNT * sizeof(struct kvm_msr_entry)];
};

static bool set_state(struct kvm_vm *v, const struct sys_state *s)
{
    struct kvm_sregs k;
    struct kvm_regs g = {.rip = s->rip, .rflags = s->rflags};
    struct kvm_debugregs d = {.dr6 = s->dr[6], .dr7 = s->dr[7]};
    struct kvm_vcpu_events ev = {0};
    union msr_list m = {.head.nmsrs = SYS_MSR_COUNT};
    if (ioctl(v->cpu, KVM_GET_SREGS, &k))
        return false;
    for (unsigned n = 0; n < SEG_COUNT; n++)
        *seg_of(&k, n) = to_kvm(&s->seg[n]);
    k.ldt = to_kvm(&s->ldtr);
    k.tr = to_kvm(&s->tr);
    k.gdt = (struct kvm_dtable){.base = s->gdtr.base, .limit = s->gdtr.limit};
    k.idt = (struct kvm_dtable){.base = s->idtr.base, .limit = s->idtr.limit};
    k.cr0 = s->cr0;
    k.cr2 = s->cr2;
    k.cr3 = s->cr3;
    k.cr4 = s->cr4;
    k.cr8 = s->cr8;
    k.efer = s->efer;
    memset(k.interrupt_bitmap, 0, sizeof k.interrupt_bitmap);
    for (unsigned n = 0; n < 16; n++)
        *reg_of(&g, n) = s->r[n];
    for (unsigned n = 0; n < 4; n++)
        d.db[n] = s->dr[n];
    for (unsigned n = 0; n < SYS_MSR_COUNT; n++)
        m.head.entries[n] = (struct kvm_msr_entry){.index = sys_msr_index[n],
                                                   .data = s->msr[n]};
    ev.interrupt.shadow = s->shadow == 1   ? KVM_X86_SHADOW_INT_STI
                          : s->shadow == 2 ? KVM_X86_SHADOW_INT_MOV_SS
                                           : 0;
    ev.flags = KVM_VCPUEVENT_VALID_SHADOW;
    return ioctl(v->cpu, KVM_SET_SREGS, &k) == 0 &&
           ioctl(v->cpu, KVM_SET_VCPU_EVENTS, &ev) == 0 &&
           ioctl(v->cpu, KVM_SET_REGS, &g) == 0 &&
           ioctl(v->cpu, KVM_SET_DEBUGREGS, &d) == 0 &&
           ioctl(v->cpu, KVM_SET_MSRS, &m) == SYS_MSR_COUNT;
}

static bool get_state(struct kvm_vm *v, struct sys_state *s)
{
    struct kvm_sregs k;
    struct kvm_regs g;
    struct kvm_debugregs d;
    union msr_list m = {.head.nmsrs = SYS_MSR_COUNT};
    for (unsigned n = 0; n < SYS_MSR_COUNT; n++)
        m.head.entries[n].index = sys_msr_index[n];
    if (ioctl(v->cpu, KVM_GET_SREGS, &k) || ioctl(v->cpu, KVM_GET_REGS, &g) ||
        ioctl(v->cpu, KVM_GET_DEBUGREGS, &d) ||
        ioctl(v->cpu, KVM_GET_MSRS, &m) != SYS_MSR_COUNT)
        return false;
    memset(s, 0, sizeof *s);
    for (unsigned n = 0; n < SEG_COUNT; n++)
        s->seg[n] = from_kvm(seg_of(&k, n));
    s->ldtr = from_kvm(&k.ldt);
    s->tr = from_kvm(&k.tr);
    s->gdtr = (struct table_register){k.gdt.base, k.gdt.limit};
    s->idtr = (struct table_register){k.idt.base, k.idt.limit};
    s->cr0 = k.cr0;
    s->cr2 = k.cr2;
    s->cr3 = k.cr3;
    s->cr4 = k.cr4;
    s->cr8 = k.cr8;
    s->efer = k.efer;
    s->rip = g.rip;
    s->rflags = g.rflags;
    for (unsigned n = 0; n < 16; n++)
        s->r[n] = *reg_of(&g, n);
    for (unsigned n = 0; n < 4; n++)
        s->dr[n] = d.db[n];
    s->dr[6] = d.dr6;
    s->dr[7] = d.dr7;
    for (unsigned n = 0; n < SYS_MSR_COUNT; n++)
        s->msr[n] = m.head.entries[n].data;
    return true;
}

static void serve_ports(struct kvm_vm *v, struct sys_result *out)
{
    uint8_t *data = (uint8_t *)v->run + v->run->io.data_offset;
    unsigned bytes = v->run->io.size;
    for (unsigned n = 0; n < v->run->io.count; n++, data += bytes) {
        uint32_t value = kvm_port_value(v->run->io.port);
        bool is_write = v->run->io.direction == KVM_EXIT_IO_OUT;
        if (is_write) {
            value = 0;
            memcpy(&value, data, bytes);
        } else {
            memcpy(data, &value, bytes);
            value = 0;
        }
        kvm_port_note(out, is_write, v->run->io.port, bytes, value);
    }
}

static void give_up(struct sys_result *out, const char *why)
{
    out->end = SYS_GAVE_UP;
    out->why = why;
}

static void run_to_end(struct kvm_vm *v, struct sys_result *out)
{
    kvm_alarm_set(RUN_USEC_MAX);
    give_up(out, "too many exits");
    for (unsigned n = 0; n < EXITS_MAX; n++) {
        if (ioctl(v->cpu, KVM_RUN, 0)) {
            give_up(out, errno == EINTR ? "time is up" : "KVM_RUN failed");
            break;
        }
        unsigned reason = v->run->exit_reason;
        if (reason == KVM_EXIT_IO) {
            serve_ports(v, out);
            continue;
        }
        if (reason == KVM_EXIT_HLT)
            out->end = SYS_HALTED;
        else if (reason == KVM_EXIT_SHUTDOWN)
            out->end = SYS_SHUTDOWN;
        else
            give_up(out, reason == KVM_EXIT_MMIO ? "outside memory"
                         : reason == KVM_EXIT_INTERNAL_ERROR
                             ? "KVM cannot emulate it"
                         : reason == KVM_EXIT_FAIL_ENTRY
                             ? "KVM refuses the state"
                             : "another exit");
        break;
    }
    kvm_alarm_set(0);
    if (out->end == SYS_GAVE_UP) { /* let a half-done access finish */
        v->run->immediate_exit = 1;
        (void)ioctl(v->cpu, KVM_RUN, 0);
        v->run->immediate_exit = 0;
    }
}

void kvm_vm_run(struct kvm_vm *v, const struct sys_state *s, const uint8_t *mem,
                struct sys_result *out, const uint8_t **after)
{
    memset(out, 0, sizeof *out);
    bool has_new_tables = false;
    for (size_t at = 0; at < SYS_MEM_BYTES; at += 4096) {
        if (memcmp(v->mem + at, mem + at, 4096) == 0)
            continue;
        memcpy(v->mem + at, mem + at, 4096);
        has_new_tables |= at >= AT_PML4 && at <= AT_PT_WINDOW;
    }
    /* A KVM that shadows page tables sees the guest's stores to them, not
     * ours: taking the memory away drops what it has cached. */
    if (has_new_tables &&
        (!map_memory(v, 0) || !map_memory(v, SYS_MEM_BYTES))) {
        give_up(out, "KVM takes no memory");
        return;
    }
    *after = v->mem;
    if (!set_state(v, s)) {
        give_up(out, "KVM refuses the state");
        return;
    }
    run_to_end(v, out);
    if (out->end != SYS_GAVE_UP && !get_state(v, &out->s))
        give_up(out, "KVM hides the state");
}
