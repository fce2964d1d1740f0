/* Named CPU models: what CPUID answers, and the limits that follow from it.
 * A model is constant data, chosen by the machine configuration, never by the
 * host. */
#ifndef RELIVE_CPU_MODEL_H
#define RELIVE_CPU_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpuid_row {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};

struct cpu_model {
    const char *name;
    const char *brand; /* up to 47 characters, leaves 80000002h..80000004h */
    const struct cpuid_row *rows;
    uint32_t row_count;
    uint32_t cr4_mask;  /* bits that MOV to CR4 may set */
    uint32_t efer_mask; /* bits that WRMSR EFER may set; 0: no EFER */
    uint32_t reset_edx; /* EDX after RESET: the signature of leaf 1 */
    uint32_t microcode; /* revision, high half of MSR 8Bh */
};

#define CPU_MODEL_DEFAULT "relive64-2"

/* NULL when no model has this name. */
const struct cpu_model *cpu_model_find(const char *name);
/* Names in order, for help texts; NULL past the end. */
const char *cpu_model_name(size_t index);

enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };
/* The static answer, leaves beyond the maximum included (they read as the last
 * basic leaf, SDM vol. 2A CPUID). Bits that depend on CPU state (APIC enable,
 * SYSCALL) are as the table has them. */
void cpu_model_cpuid(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf,
                     uint32_t out[4]);

/* Does a feature bit read as 1? */
static inline bool cpu_model_has(const struct cpu_model *m, uint32_t leaf,
                                 enum cpuid_register r, unsigned bit)
{
    uint32_t out[4];
    cpu_model_cpuid(m, leaf, 0, out);
    return out[r] >> bit & 1;
}

#endif
