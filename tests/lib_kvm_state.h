/* System-level scenarios and the state that the KVM oracle compares.
 *
 * A scenario is a memory image and a complete register state; running it means
 * executing from there to the first HLT (all memory that holds nothing else is
 * filled with HLT) or to shutdown. */
#ifndef RELIVE_TESTS_KVM_STATE_H
#define RELIVE_TESTS_KVM_STATE_H

#include "cpu/cpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYS_MEM_BYTES = 0x40000, SYS_PORT_LOG = 16 };

/* MSRs that are set before a run and compared after it. */
enum sys_msr {
    SYS_STAR,
    SYS_LSTAR,
    SYS_CSTAR,
    SYS_SFMASK,
    SYS_KERNEL_GS,
    SYS_SYSENTER_CS,
    SYS_SYSENTER_ESP,
    SYS_SYSENTER_EIP,
    SYS_PAT,
    SYS_TSC_AUX,
    SYS_MSR_COUNT
};
extern const uint32_t sys_msr_index[SYS_MSR_COUNT];

enum sys_end {
    SYS_HALTED,
    SYS_SHUTDOWN,
    SYS_GAVE_UP /* ran into something that is no answer */
};

struct sys_state {
    uint64_t r[16], rip, rflags;
    struct segment seg[SEG_COUNT], ldtr, tr;
    struct table_register gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint64_t dr[8];
    uint64_t msr[SYS_MSR_COUNT];
    uint8_t shadow; /* as struct cpu has it */
};

struct sys_result {
    enum sys_end end;
    struct sys_state s;
    unsigned ports; /* accesses: kind << 56 | port << 32 | value */
    uint64_t port[SYS_PORT_LOG];
    const char *why; /* of SYS_GAVE_UP */
};

/* What a port reads: the same in both machines. */
static inline uint32_t kvm_port_value(uint16_t port)
{
    return 0x9e3779b9u * (port + 1u);
}
void kvm_port_note(struct sys_result *r, bool is_write, uint16_t port,
                   unsigned bytes, uint32_t value);

/* Our side (lib_kvm_tier0.c). One object serves many scenarios. */
struct kvm_tier0;
struct kvm_tier0 *kvm_tier0_new(void);
void kvm_tier0_free(struct kvm_tier0 *t);
/* mem: SYS_MEM_BYTES before; after returns the memory as left behind. */
void kvm_tier0_run(struct kvm_tier0 *t, const struct sys_state *s,
                   const uint8_t *mem, struct sys_result *out, uint8_t *after);

/* The other side (lib_kvm_vm.c). NULL with *why when KVM cannot be used. */
struct kvm_vm;
struct kvm_vm *kvm_vm_new(const char **why);
void kvm_vm_free(struct kvm_vm *v);
void kvm_vm_run(struct kvm_vm *v, const struct sys_state *s, const uint8_t *mem,
                struct sys_result *out, const uint8_t **after);

#endif
