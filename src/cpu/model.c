/* CPU models (SDM vol. 2A CPUID, tables 3-8 ff.). */
#include "cpu/model.h"

#include "cpu/cpu.h"

#include <string.h>

/* Leaf 1 EDX. */
enum {
    F_FPU = 1 << 0,
    F_VME = 1 << 1,
    F_DE = 1 << 2,
    F_PSE = 1 << 3,
    F_TSC = 1 << 4,
    F_MSR = 1 << 5,
    F_PAE = 1 << 6,
    F_MCE = 1 << 7,
    F_CX8 = 1 << 8,
    F_APIC = 1 << 9,
    F_SEP = 1 << 11,
    F_MTRR = 1 << 12,
    F_PGE = 1 << 13,
    F_MCA = 1 << 14,
    F_CMOV = 1 << 15,
    F_PAT = 1 << 16,
    F_PSE36 = 1 << 17,
    F_CLFSH = 1 << 19,
    F_MMX = 1 << 23,
    F_FXSR = 1 << 24,
    F_SSE = 1 << 25,
    F_SSE2 = 1 << 26,
    FEATURES_BASE = F_FPU | F_VME | F_DE | F_PSE | F_TSC | F_MSR | F_PAE |
                    F_MCE | F_CX8 | F_APIC | F_SEP | F_MTRR | F_PGE | F_MCA |
                    F_CMOV | F_PAT | F_PSE36 | F_CLFSH | F_MMX | F_FXSR |
                    F_SSE | F_SSE2
};
/* Leaf 1 ECX. */
enum {
    F_SSE3 = 1 << 0,
    F_SSSE3 = 1 << 9,
    F_CX16 = 1 << 13,
    F_SSE41 = 1 << 19,
    F_SSE42 = 1 << 20,
    F_POPCNT = 1 << 23
};
/* Leaf 80000001h. */
enum {
    X_LAHF = 1 << 0, /* ECX */
    X_SYSCALL = 1 << 11,
    X_NX = 1 << 20,
    X_RDTSCP = 1 << 27,
    X_LM = 1 << 29
};

/* EBX, ECX, EDX of leaf 0 spell "GenuineIntel". */
#define GENUINE_INTEL 0x756e6547, 0x6c65746e, 0x49656e69
#define LEAF_1_EBX    (1u << 16 | 8u << 8) /* one processor, 64-byte lines */

/* Leaf 4: 8-way caches of 64-byte lines, self-initialising, not shared. */
#define CACHE(subleaf, type, level, sets)                                      \
    {                                                                          \
        4, (subleaf), 0x100 | (type) | (level) << 5, 7 << 22 | 63, (sets)-1, 0 \
    }
enum { CACHE_DATA = 1, CACHE_CODE = 2, CACHE_UNIFIED = 3 };

/* Leaf 2: 32 KiB L1 data (2Ch) and code (30h), 2 MiB L2 (7Dh), as leaf 4 says.
 * Leaf 6: the APIC timer never stops (ARAT). Leaf 5, 7: nothing. */
#define COMMON_ROWS                                                            \
    {2, 0, 0x00000001, 0, 0, 0x002c307d}, CACHE(0, CACHE_DATA, 1, 64),         \
        CACHE(1, CACHE_CODE, 1, 64), CACHE(2, CACHE_UNIFIED, 2, 4096),         \
        {6, 0, 4, 0, 0, 0}, {0x80000000, 0, 0x80000008, 0, 0, 0},              \
        {0x80000006, 0, 0, 0, 0x08006040, 0},                                  \
    {                                                                          \
        0x80000007, 0, 0, 0, 0, 1 << 8                                         \
    } /* invariant TSC */

/* The second models have the signature of a core that executes in order (family
 * 6, model 28: Atom D510 and N270): nothing here speculates, and a system that
 * believes it leaves out its mitigations, above all the two page tables of each
 * process, which cost a third of a system call. */
enum {
    SIGNATURE_64 = 0x000106a5,      /* family 6, model 26, stepping 5 */
    SIGNATURE_32 = 0x000006e8,      /* family 6, model 14, stepping 8 */
    SIGNATURE_IN_ORDER = 0x000106ca /* family 6, model 28, stepping 10 */
};

#define ROWS_64(signature)                                                     \
    {0, 0, 7, GENUINE_INTEL},                                                  \
        {1, 0, (signature), LEAF_1_EBX,                                        \
         F_SSE3 | F_SSSE3 | F_CX16 | F_SSE41 | F_SSE42 | F_POPCNT,             \
         FEATURES_BASE},                                                       \
        {0x80000001, 0, 0, 0, X_LAHF, X_SYSCALL | X_NX | X_RDTSCP | X_LM},     \
        {0x80000008, 0, 48 << 8 | PHYS_ADDRESS_BITS, 0, 0, 0}, COMMON_ROWS
#define ROWS_32(signature)                                                     \
    {0, 0, 7, GENUINE_INTEL},                                                  \
        {1, 0, (signature), LEAF_1_EBX, F_SSE3, FEATURES_BASE},                \
        {0x80000001, 0, 0, 0, 0, X_NX},                                        \
        {0x80000008, 0, 32 << 8 | PHYS_ADDRESS_BITS, 0, 0, 0}, COMMON_ROWS

static const struct cpuid_row rows_64[] = {ROWS_64(SIGNATURE_64)};
static const struct cpuid_row rows_64_2[] = {ROWS_64(SIGNATURE_IN_ORDER)};
static const struct cpuid_row rows_32[] = {ROWS_32(SIGNATURE_32)};
static const struct cpuid_row rows_32_2[] = {ROWS_32(SIGNATURE_IN_ORDER)};

enum {
    CR4_BASE = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE |
               CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT
};

#define MODEL(name_, brand_, rows_, efer, signature, update)                   \
    {                                                                          \
        .name = name_, .brand = brand_, .rows = rows_,                         \
        .row_count = sizeof(rows_) / sizeof(rows_)[0], .cr4_mask = CR4_BASE,   \
        .efer_mask = (efer), .reset_edx = (signature), .microcode = (update)   \
    }
#define EFER_64 (EFER_SCE | EFER_LME | EFER_NXE)

static const struct cpu_model models[] = {
    MODEL("relive64-2", "relive64 virtual CPU", rows_64_2, EFER_64,
          SIGNATURE_IN_ORDER, 0x107),
    MODEL("relive32-2", "relive32 virtual CPU", rows_32_2, EFER_NXE,
          SIGNATURE_IN_ORDER, 0x107),
    MODEL("relive64", "relive64 virtual CPU", rows_64, EFER_64, SIGNATURE_64,
          0x1d),
    MODEL("relive32", "relive32 virtual CPU", rows_32, EFER_NXE, SIGNATURE_32,
          0x39),
};

const struct cpu_model *cpu_model_find(const char *name)
{
    for (size_t k = 0; k < sizeof models / sizeof models[0]; k++)
        if (strcmp(models[k].name, name) == 0)
            return &models[k];
    return NULL;
}

const char *cpu_model_name(size_t index)
{
    return index < sizeof models / sizeof models[0] ? models[index].name : NULL;
}

static const struct cpuid_row *find_row(const struct cpu_model *m,
                                        uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t k = 0; k < m->row_count; k++)
        if (m->rows[k].leaf == leaf &&
            (leaf != 4 || m->rows[k].subleaf == subleaf))
            return &m->rows[k];
    return NULL;
}

static void brand_leaf(const struct cpu_model *m, uint32_t leaf,
                       uint32_t out[4])
{
    char text[48] = {0};
    size_t n = strlen(m->brand);
    memcpy(text, m->brand, n < sizeof text - 1 ? n : sizeof text - 1);
    memcpy(out, text + (leaf - 0x80000002) * 16, 16);
}

void cpu_model_cpuid(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf,
                     uint32_t out[4])
{
    uint32_t max_basic = find_row(m, 0, 0)->eax;
    uint32_t max_extended = find_row(m, 0x80000000, 0)->eax;
    bool is_extended = leaf >= 0x80000000;
    if (leaf > (is_extended ? max_extended : max_basic))
        leaf = max_basic;
    memset(out, 0, 4 * sizeof out[0]);
    if (leaf >= 0x80000002 && leaf <= 0x80000004) {
        brand_leaf(m, leaf, out);
        return;
    }
    const struct cpuid_row *row = find_row(m, leaf, subleaf);
    if (!row)
        return;
    out[CPUID_EAX] = row->eax;
    out[CPUID_EBX] = row->ebx;
    out[CPUID_ECX] = row->ecx;
    out[CPUID_EDX] = row->edx;
}
