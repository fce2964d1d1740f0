/* What a guest's operating system knows of itself: its processes, threads,
 * modules, the process that runs now, the names of its system calls and
 * symbols. Linux from its own tables in memory, Windows 7 by tables of layouts,
 * which a PDB file overrides; both behind one interface.
 *
 *     g = guest_new();
 *     guest_look(g, &memory)           after the machine has moved
 *     guest_processes(g, fn, context)  as of that moment
 *
 * Everything read is the guest's and may be hostile: walks are bounded, and
 * what makes no sense is left out. */
#ifndef RELIVE_ANALYSIS_GUEST_H
#define RELIVE_ANALYSIS_GUEST_H

#include "analysis/guest_memory.h"
#include "analysis/symbols.h"

enum guest_os { GUEST_UNKNOWN, GUEST_LINUX, GUEST_WINDOWS };

enum {
    GUEST_NAME_BYTES = 64,
    GUEST_PATH_BYTES = 260,
    GUEST_LIST_MAX = 1 << 16 /* entries of a list that are walked */
};

struct guest_process {
    uint64_t address; /* of task_struct or EPROCESS */
    uint64_t pid, parent;
    uint64_t root; /* its page tables, a value of CR3; 0: it has none */
    bool is_kernel; /* it runs in the kernel alone */
    char name[GUEST_NAME_BYTES];
};

struct guest_thread {
    uint64_t address; /* of task_struct or ETHREAD */
    uint64_t tid, pid;
    char name[GUEST_NAME_BYTES]; /* Linux: comm; Windows: its process's */
};

struct guest_module {
    uint64_t base, bytes;
    char name[GUEST_NAME_BYTES];
    char path[GUEST_PATH_BYTES]; /* "" unknown */
};

struct guest;

struct guest *guest_new(void);      /* NULL: no memory */
void guest_free(struct guest *g);   /* takes NULL */

/* A PDB of the Windows kernel: its structures replace the built-in layouts, and
 * its symbols are used where that kernel is; one of another build is left aside.
 * Before guest_look(). */
bool guest_set_pdb(struct guest *g, const char *path, struct error *err);

/* Recognise the guest as it is now; the memory is copied (its context stays
 * borrowed). What was found before is kept as long as it is there, so that only
 * the first look is slow. GUEST_UNKNOWN is no error: firmware, a boot loader,
 * another system. */
enum guest_os guest_look(struct guest *g, const struct guest_memory *memory);

enum guest_os guest_os(const struct guest *g);
const char *guest_os_name(enum guest_os os); /* "linux", "windows", "unknown" */
/* "Linux version 6.1.0-...", "Windows 7601 x64"; "" unknown. */
const char *guest_version(const struct guest *g);
/* Page tables (a value of CR3) that map the whole kernel; 0 unknown. */
uint64_t guest_kernel_root(const struct guest *g);
/* Symbols of the kernel and of its modules, as of the last look; NULL: none.
 * Borrowed until the next look. */
const struct symbols *guest_symbols(const struct guest *g);

/* Callbacks return false to stop. The idle process (pid 0) comes first. */
typedef bool guest_process_fn(void *context, const struct guest_process *p);
void guest_processes(struct guest *g, guest_process_fn *fn, void *context);
typedef bool guest_thread_fn(void *context, const struct guest_thread *t);
void guest_threads(struct guest *g, const struct guest_process *p,
                   guest_thread_fn *fn, void *context);
/* Of the kernel. */
typedef bool guest_module_fn(void *context, const struct guest_module *m);
void guest_modules(struct guest *g, guest_module_fn *fn, void *context);

/* What the CPU runs now. False: it cannot be told. */
bool guest_current(struct guest *g, struct guest_process *p,
                   struct guest_thread *t);

/* "read", "NtCreateFile". False: unknown. */
bool guest_syscall_name(struct guest *g, unsigned number, char *name,
                        size_t bytes);

#endif
