/* The Windows kernel in a guest's memory: where its image lies, its processor
 * block and its debugger data block, and what it says of a bugcheck. x86 and
 * x64, from layouts that are public: wdbgexts.h (KDDEBUGGER_DATA64), wdm.h and
 * ntddk.h (CONTEXT, KPCR), the symbols of Windows 7.
 *
 * The guest may be hostile: what does not fit is as if it were not there. */
#ifndef RELIVE_ANALYSIS_WINDOWS_KERNEL_H
#define RELIVE_ANALYSIS_WINDOWS_KERNEL_H

#include "analysis/pe.h"
#include "board/machine.h"

#include <stdbool.h>
#include <stdint.h>

struct bugcheck {
    uint32_t code;
    uint64_t parameter[4];
};

struct windows_kernel {
    struct machine *machine; /* borrowed */
    struct pe_memory memory;
    struct pe_image image;
    bool is_64;
    uint32_t build;          /* 7601; 0: unknown */
    bool is_checked;         /* a checked build */
    uint64_t pcr, prcb;      /* of the only CPU; 0: none was found */
    uint64_t context;        /* where the PRCB has room for a CONTEXT */
    uint64_t debugger_block; /* KdDebuggerDataBlock; 0: none was found,
                                and then these are 0 too */
    uint64_t bugcheck_data;  /* KiBugCheckData: five words */
    uint64_t modules;        /* PsLoadedModuleList */
    uint64_t processes;      /* PsActiveProcessHead */
    uint64_t pfn_database;   /* its value */
    uint64_t memory_block;   /* value of MmPhysicalMemoryBlock */
};

/* Looks from the entries of the kernel that the CPU knows: gates of the IDT,
 * SYSCALL, SYSENTER. False: there is no Windows kernel in the current address
 * space. w does not move afterwards. */
bool windows_kernel_find(struct windows_kernel *w, struct machine *m);

/* What KiBugCheckData holds. False: nothing, or it is not known where. */
bool windows_bugcheck(const struct windows_kernel *w, struct bugcheck *out);
/* The arguments of KeBugCheckEx, whose first instruction is next. */
bool windows_bugcheck_arguments(const struct windows_kernel *w,
                                struct bugcheck *out);
/* "PAGE_FAULT_IN_NONPAGED_AREA"; NULL: no name is known here. */
const char *bugcheck_name(uint32_t code);
/* Is it what becomes of an exception in the kernel? */
bool bugcheck_is_fault(uint32_t code);

/* A word of the guest's size. */
bool windows_read_word(const struct windows_kernel *w, uint64_t address,
                       uint64_t *value);
bool windows_read(const struct windows_kernel *w, uint64_t address, void *out,
                  size_t bytes);

/* A module of PsLoadedModuleList; false stops. */
struct windows_module {
    uint64_t base;
    uint32_t bytes;
    char name[64]; /* ASCII; other characters are '?' */
};
typedef bool windows_module_fn(void *context, const struct windows_module *m);
void windows_modules_each(const struct windows_kernel *w, windows_module_fn *fn,
                          void *context);

/* "ntoskrnl.exe!KeBugCheckEx+0x12", by the exports of the image that an
 * address lies in; false: it lies in none. */
bool windows_symbol(const struct windows_kernel *w, uint64_t address,
                    char *text, size_t text_bytes);

#endif
