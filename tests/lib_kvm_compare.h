/* Running one scenario in both machines and saying how they differ.
 *
 * KVM is only as good as what it runs on. With VT-x or SVM the processor itself
 * answers, KVM's emulator only where it must. A software KVM (pvm) emulates
 * CPL 0..2 and runs CPL 3 with the host's tables and flags. What such a one is
 * known to do differently from the manual, so that its differences mean
 * nothing (all were checked against the SDM):
 *   - 32-bit and PAE paging and virtual-8086 mode do not run;
 *   - delivery clears AC, checks no stack limit, and always pushes 32-bit
 *     frames outside IA-32e mode; IOPL, AC and selectors at CPL 3 are the
 *     host's;
 *   - LTR and LLDT take any upper half, WRMSR any PAT and any non-canonical
 *     SYSENTER address, MOV to CR0 and CR4 bits that CPUID denies;
 *   - SYSRET and SWAPGS run outside 64-bit mode; IRET returns #GP(0) for every
 *     bad selector;
 *   - TF traps once for a whole REP and after INT n; page-table entries above
 *     one that faults do not become accessed (SDM vol. 3A 4.8 allows both);
 *   - a store across two pages writes the first before the second faults. */
#ifndef RELIVE_TESTS_KVM_COMPARE_H
#define RELIVE_TESTS_KVM_COMPARE_H

#include "lib_kvm_scene.h"

struct kvm_oracle {
    struct kvm_vm *vm;       /* owned */
    struct kvm_tier0 *tier0; /* owned */
    struct scene *scene;     /* owned */
    uint8_t *after;          /* owned: memory that tier 0 leaves */
    uint64_t cases, differ;
    uint64_t gave_up;     /* cases without an answer from KVM */
    unsigned shown, show; /* reports printed, and how many are wanted */
};

/* NULL with *why when this machine cannot run it. */
struct kvm_oracle *kvm_oracle_new(const char **why);
void kvm_oracle_free(struct kvm_oracle *o);
/* One case; true when both agree or KVM had no answer. Differences are printed
 * on stderr. */
bool kvm_oracle_case(struct kvm_oracle *o, const struct scene_group *g,
                     uint64_t seed);

#endif
