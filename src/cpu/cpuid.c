/* CPUID: the model's table with the bits that CPU state decides (SDM vol. 2A).
 */
#include "cpu/system_internal.h"

#include "cpu/model.h"
#include "cpu/op_system.h"

enum {
    MISC_LIMIT_CPUID = 1 << 22, /* MSR 1A0h: no basic leaf above 3 */
    APIC_BASE_ENABLE = 1 << 11
};
#define MISC_XD_DISABLE (1ULL << 34)

static void apply_state(const struct cpu *c, uint32_t leaf, uint32_t out[4])
{
    switch (leaf) {
    case 0:
        if ((c->misc_enable & MISC_LIMIT_CPUID) && out[CPUID_EAX] > 3)
            out[CPUID_EAX] = 3;
        break;
    case 1:
        if (!(c->apic_base & APIC_BASE_ENABLE))
            out[CPUID_EDX] &= ~(1u << 9);
        break;
    case 0x80000001:
        /* SYSCALL exists, and shows, in 64-bit mode alone. */
        if (c->mode != MODE_64)
            out[CPUID_EDX] &= ~(1u << 11);
        if (c->misc_enable & MISC_XD_DISABLE)
            out[CPUID_EDX] &= ~(1u << 20);
        break;
    default:
        break;
    }
}

enum exc op_cpuid(struct cpu *c, const struct insn *i)
{
    uint32_t out[4], leaf = (uint32_t)c->r[REG_RAX];
    (void)i;
    cpu_model_cpuid(c->model, leaf, (uint32_t)c->r[REG_RCX], out);
    apply_state(c, leaf, out);
    if (leaf == 1) /* how software learns the revision (vol. 3A 9.11.7.1) */
        c->microcode = (uint64_t)c->model->microcode << 32;
    c->r[REG_RAX] = out[CPUID_EAX];
    c->r[REG_RBX] = out[CPUID_EBX];
    c->r[REG_RCX] = out[CPUID_ECX];
    c->r[REG_RDX] = out[CPUID_EDX];
    return EXC_NONE;
}
