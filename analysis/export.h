/* A machine's memory and registers as files that other tools read. */
#ifndef RELIVE_ANALYSIS_EXPORT_H
#define RELIVE_ANALYSIS_EXPORT_H

#include "base/error.h"
#include "board/machine.h"

#include <stdbool.h>

/* The guest's RAM by physical address: byte n of the file is at address n.
 * Holes and pages of zeros are holes of the file. */
bool export_raw_memory(struct machine *m, const char *path, struct error *err);

/* An ELF core (System V ABI; the notes are Linux's) that gdb opens: the
 * registers of the CPU as its only thread, and memory by linear address as the
 * page tables map it now, each page also by its physical address. A 64-bit file
 * in long mode, else a 32-bit one. Of a Linux guest it is what kdump would have
 * written: VMCOREINFO, which the kernel keeps in memory, is among the notes. */
bool export_elf_core(struct machine *m, const char *path, struct error *err);

/* A Windows crash dump of all memory (MEMORY.DMP), 64-bit in long mode.
 * Bugcheck, lists, memory runs and the context come from the guest's kernel
 * where it says them, else from the machine. *has_kernel: there is a Windows
 * kernel; without one the dump has registers and memory alone. */
bool export_dmp(struct machine *m, const char *path, bool *has_kernel,
                struct error *err);

#endif
