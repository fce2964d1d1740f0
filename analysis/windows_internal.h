/* What the files of the Windows reader share. Names are those of the public
 * symbol files. */
#ifndef RELIVE_ANALYSIS_WINDOWS_INTERNAL_H
#define RELIVE_ANALYSIS_WINDOWS_INTERNAL_H

#include "analysis/guest_internal.h"
#include "analysis/pe.h"

/* Offsets into structures; windows_layout.c says where each is. */
enum windows_field {
    WIN_PCR_SELF,
    WIN_PCR_PRCB,         /* pointer to it */
    WIN_PCR_PRCB_DATA,    /* itself */
    WIN_PRCB_CURRENT,
    WIN_PRCB_IDLE,
    WIN_THREAD_PROCESS,
    WIN_PROCESS_ROOT,
    WIN_PROCESS_PID,
    WIN_PROCESS_LINKS,
    WIN_PROCESS_PARENT,
    WIN_PROCESS_NAME,
    WIN_PROCESS_THREADS,
    WIN_PROCESS_PEB,
    WIN_THREAD_CID,
    WIN_THREAD_LINKS,
    WIN_PEB_LDR,
    WIN_LDR_LIST,
    WIN_MODULE_BASE,
    WIN_MODULE_BYTES,
    WIN_MODULE_PATH, /* UNICODE_STRING */
    WIN_MODULE_NAME,
    WIN_FIELDS
};

struct windows_layout {
    uint32_t at[WIN_FIELDS];
};

enum { WIN_SYSCALLS_MAX = 0x2000, WIN_SYSCALL_NAME = 64 };

struct windows_guest {
    uint64_t root;   /* page tables of the System process */
    uint64_t pcr;
    uint64_t base;   /* of the kernel's image */
    uint64_t kernel_bytes;
    uint64_t system; /* EPROCESS of System */
    uint64_t modules; /* PsLoadedModuleList */
    uint32_t build;
    bool has_pdb; /* the PDB given is that of this kernel */
    struct windows_layout layout;
    struct symbols *symbols; /* owned */
    uint64_t module_mark;    /* of the modules whose symbols are loaded */
    char (*syscalls)[WIN_SYSCALL_NAME]; /* owned; NULL: not read yet */
    char version[64];
};

/* ---- windows_layout.c
 * ------------------------------------------------------------------- */

/* The built-in layout: of the first or a later service pack, 32 or 64 bits. */
void windows_layout_set(struct windows_layout *layout, bool is_sp1,
                        bool is_64);
/* Replaces what a PDB describes, if it is the one that the kernel's image names.
 * False: it is another, or cannot be read. */
bool windows_layout_pdb(struct windows_layout *layout,
                        const struct pe_image *kernel, const char *path);

/* ---- windows_find.c
 * --------------------------------------------------------------------- */

/* Fills all but symbols and system calls. */
bool windows_find(struct windows_guest *w, const struct guest_memory *m,
                  const char *pdb);

/* ---- windows_modules.c
 * ------------------------------------------------------------------ */

/* A list of modules, the kernel's or a process's. */
void windows_modules(const struct windows_guest *w,
                     const struct guest_memory *m, uint64_t root,
                     uint64_t head, guest_module_fn *fn, void *context);
/* Exports of the kernel's modules, anew when others are loaded than before. */
void windows_module_symbols(struct windows_guest *w,
                            const struct guest_memory *m, const char *pdb);
/* Names by number, from the system-call stubs that ntdll.dll exports in some
 * process. */
bool windows_read_syscalls(struct windows_guest *w,
                           const struct guest_memory *m);

/* ---- guest_windows.c
 * -------------------------------------------------------------------- */

bool windows_read_process(const struct windows_guest *w,
                          const struct guest_memory *m, uint64_t process,
                          struct guest_process *p);
void windows_processes(const struct windows_guest *w,
                       const struct guest_memory *m, guest_process_fn *fn,
                       void *context);

/* ---- for all
 * ------------------------------------------------------------------------ */

/* A pe_memory over an address space. */
struct windows_space {
    const struct guest_memory *m;
    uint64_t root;
};
bool windows_read_image(void *context, uint64_t address, void *out,
                        size_t bytes);

static inline bool windows_word(const struct windows_guest *w,
                                const struct guest_memory *m, uint64_t object,
                                enum windows_field field, uint64_t *value)
{
    return guest_read_word(m, w->root, object + w->layout.at[field], value);
}

static inline bool windows_is_kernel_address(const struct guest_memory *m,
                                             uint64_t vaddr)
{
    return m->cpu.is_long ? vaddr >> 47 == 0x1ffff
                          : vaddr >= 0x80000000 && vaddr <= UINT32_MAX;
}

#endif
