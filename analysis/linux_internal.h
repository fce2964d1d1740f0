/* What the files of the Linux reader share. */
#ifndef RELIVE_ANALYSIS_LINUX_INTERNAL_H
#define RELIVE_ANALYSIS_LINUX_INTERNAL_H

#include "analysis/guest_internal.h"
#include "analysis/kallsyms.h"

enum { LINUX_MODULES_MAX = 4096 }; /* on the list; a longer one is none */

/* Offsets in bytes into structures of the kernel; negative: not known. */
struct linux_layout {
    int32_t task_tasks, task_comm, task_pid, task_tgid, task_parent, task_mm;
    int32_t task_signal, signal_threads, task_thread_node; /* all, or */
    int32_t task_thread_group;                              /* this */
    int32_t mm_pgd;
    int32_t module_list, module_name, module_base, module_size;
    int32_t module_kallsyms;
};

struct linux_guest {
    struct kallsyms kallsyms;
    uint64_t root; /* page tables that map the whole kernel */
    const struct symbol_table *kernel; /* in symbols */
    struct symbols *symbols;           /* owned */
    struct linux_layout layout;
    bool is_complete; /* the layout: nothing is left to be derived */
    /* Addresses of variables; 0: not known. */
    uint64_t init_task, init_mm, current_task, per_cpu_offset, modules,
        sys_call_table;
    uint64_t module_mark; /* of the modules whose symbols are loaded */
    char version[256];
};

/* ---- linux_variables.c: addresses of the kernel's variables
 * ------------------------------------------------------------------------ */

/* From kallsyms; where those have code alone, from what the kernel exports to
 * modules, or by what must be in memory there. */
void linux_find_variables(struct linux_guest *l, const struct guest_memory *m);

/* The head of the list of modules, which must be told by its looks. */
uint64_t linux_find_modules(const struct linux_guest *l,
                            const struct guest_memory *m);

/* ---- linux_layout.c
 * --------------------------------------------------------------------- */

void linux_layout_clear(struct linux_layout *layout);
/* From the kernel's BTF. False: it has none. */
bool linux_layout_btf(struct linux_guest *l, const struct guest_memory *m);
/* What is not known yet, from how memory looks: the processes 0, 1 and 2 are
 * the same in every Linux. Call again while is_complete is false. */
void linux_layout_derive(struct linux_guest *l, const struct guest_memory *m);

/* ---- linux_modules.c
 * --------------------------------------------------------------------- */

void linux_modules(struct linux_guest *l, const struct guest_memory *m,
                   guest_module_fn *fn, void *context);
/* Load the symbols of modules when other modules are there than before. */
void linux_module_symbols(struct linux_guest *l,
                          const struct guest_memory *m);

/* ---- for all
 * ------------------------------------------------------------------------- */

static inline bool linux_word(const struct linux_guest *l,
                              const struct guest_memory *m, uint64_t vaddr,
                              uint64_t *value)
{
    return guest_read_word(m, l->root, vaddr, value);
}

/* Can it be an address of the kernel? */
static inline bool linux_is_kernel_address(const struct guest_memory *m,
                                           uint64_t vaddr)
{
    return m->cpu.is_long ? vaddr >> 47 == 0x1ffff
                          : vaddr >= 0x40000000 && vaddr <= UINT32_MAX;
}

#endif
