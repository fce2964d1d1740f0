/* Windows 7 in images of memory that are made here: page tables, a processor
 * control region, a kernel with exports, processes, threads, modules and an
 * ntdll with system-call stubs. */
#ifndef RELIVE_TESTS_LIB_FUZZ_WINDOWS_H
#define RELIVE_TESTS_LIB_FUZZ_WINDOWS_H

#include "analysis/guest_memory.h"

enum { WINIMAGE_BYTES = 1 << 20, WINIMAGE_VERSIONS = 4 };

/* Where things are in the kernel's half; low 32 bits on x86. */
#define WINIMAGE_KERNEL  UINT64_C(0xfffff80082a00000)
#define WINIMAGE_HAL     UINT64_C(0xfffff80082b00000)
#define WINIMAGE_PCR     UINT64_C(0xfffff80082c00000)
#define WINIMAGE_OBJECTS UINT64_C(0xfffff80082d00000)

/* What differs: offsets as debuggers print them with the public symbols. */
struct winimage_version {
    bool is_64, is_sp1;
    uint32_t self, prcb, prcb_data, current, idle, apc_process, root, pid,
        links, parent, name, threads, peb, cid, thread_links;
};
/* 7600 and 7601 of x86, then of x64. */
extern const struct winimage_version winimage_versions[WINIMAGE_VERSIONS];

struct winimage {
    uint8_t ram[WINIMAGE_BYTES];
    uint64_t next; /* free page */
    const struct winimage_version *v;
    struct guest_memory g;
    uint64_t process[3]; /* Idle, System, program.exe; two threads each */
};

/* Everything, with program.exe's second thread running in user mode. g's
 * context is w, which does not move. */
void winimage_make(struct winimage *w, const struct winimage_version *v);

/* Store at a linear address, mapping its page. */
void winimage_put(struct winimage *w, uint64_t vaddr, const void *bytes,
                  size_t n);
void winimage_put_word(struct winimage *w, uint64_t vaddr, uint64_t value);
/* An address as the guest has it. */
uint64_t winimage_narrow(const struct winimage *w, uint64_t vaddr);
/* The structure of a thread: 2 * process + 0 or 1. */
uint64_t winimage_thread(unsigned n);

#endif
