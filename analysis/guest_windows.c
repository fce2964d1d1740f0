/* Windows 7: processes and threads, from EPROCESS and ETHREAD. */
#include "analysis/windows_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding
 * ------------------------------------------------------------------------- */

static void drop(void *state)
{
    struct windows_guest *w = state;
    symbols_free(w->symbols);
    free(w->syscalls);
    free(w);
}

/* A reader's `find`. */
static void *find(const struct guest_memory *m, const char *pdb)
{
    struct windows_guest *w = calloc(1, sizeof *w);
    if (w && windows_find(w, m, pdb)) {
        windows_module_symbols(w, m, pdb);
        return w;
    }
    free(w);
    return NULL;
}

static bool keep(void *state, const struct guest_memory *m, const char *pdb)
{
    struct windows_guest *w = state;
    struct guest_process p;
    if (m->mode == PAGING_OFF || !windows_read_process(w, m, w->system, &p) ||
        p.pid != 4 || strcmp(p.name, "System") != 0)
        return false;
    windows_module_symbols(w, m, pdb);
    return true;
}

static const char *version(const void *state)
{
    return ((const struct windows_guest *)state)->version;
}

static uint64_t kernel_root(const void *state)
{
    return ((const struct windows_guest *)state)->root;
}

static const struct symbols *symbols(const void *state)
{
    return ((const struct windows_guest *)state)->symbols;
}

/* ---- processes
 * ----------------------------------------------------------------------- */

enum { IMAGE_NAME_BYTES = 16 };

bool windows_read_process(const struct windows_guest *w,
                          const struct guest_memory *m, uint64_t process,
                          struct guest_process *p)
{
    uint64_t peb;
    *p = (struct guest_process){.address = process};
    if (!windows_word(w, m, process, WIN_PROCESS_PID, &p->pid) ||
        !windows_word(w, m, process, WIN_PROCESS_ROOT, &p->root) ||
        !guest_read_text(m, w->root, process + w->layout.at[WIN_PROCESS_NAME],
                         p->name, IMAGE_NAME_BYTES))
        return false;
    (void)windows_word(w, m, process, WIN_PROCESS_PARENT, &p->parent);
    p->is_kernel =
        windows_word(w, m, process, WIN_PROCESS_PEB, &peb) && peb == 0;
    return true;
}

static bool thread_process(const struct windows_guest *w,
                           const struct guest_memory *m,
                           enum windows_field which, uint64_t *thread,
                           uint64_t *process)
{
    uint64_t prcb = w->pcr + w->layout.at[WIN_PCR_PRCB_DATA];
    return windows_word(w, m, prcb, which, thread) &&
           windows_word(w, m, *thread, WIN_THREAD_PROCESS, process);
}

void windows_processes(const struct windows_guest *w,
                       const struct guest_memory *m, guest_process_fn *fn,
                       void *context)
{
    uint64_t process, thread, offset = w->layout.at[WIN_PROCESS_LINKS];
    struct guest_process p;
    /* The idle process is in no list. */
    if (thread_process(w, m, WIN_PRCB_IDLE, &thread, &process) &&
        windows_read_process(w, m, process, &p) && p.pid == 0) {
        (void)snprintf(p.name, sizeof p.name, "Idle");
        if (!fn(context, &p))
            return;
    }
    process = w->system;
    for (unsigned n = 0; n < GUEST_LIST_MAX; n++) {
        /* The head of the list is a variable of the kernel. */
        bool is_head = process + offset - w->base < w->kernel_bytes;
        if (!is_head && (!windows_read_process(w, m, process, &p) ||
                         !fn(context, &p)))
            return;
        uint64_t entry;
        if (!guest_read_word(m, w->root, process + offset, &entry))
            return;
        process = entry - offset;
        if (process == w->system)
            return;
    }
}

static void processes(void *state, const struct guest_memory *m,
                      guest_process_fn *fn, void *context)
{
    windows_processes(state, m, fn, context);
}

/* ---- threads
 * ------------------------------------------------------------------------- */

static bool read_thread(const struct windows_guest *w,
                        const struct guest_memory *m, uint64_t thread,
                        const char *name, struct guest_thread *t)
{
    *t = (struct guest_thread){.address = thread};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    return windows_word(w, m, thread, WIN_THREAD_CID, &t->pid) &&
           guest_read_word(m, w->root,
                           thread + w->layout.at[WIN_THREAD_CID] +
                               guest_word(m),
                           &t->tid);
}

static void threads(void *state, const struct guest_memory *m,
                    const struct guest_process *p, guest_thread_fn *fn,
                    void *context)
{
    const struct windows_guest *w = state;
    uint64_t head = p->address + w->layout.at[WIN_PROCESS_THREADS], entry;
    struct guest_thread t;
    if (!guest_read_word(m, w->root, head, &entry))
        return;
    for (unsigned n = 0; n < GUEST_LIST_MAX && entry != head; n++)
        if (!read_thread(w, m, entry - w->layout.at[WIN_THREAD_LINKS], p->name,
                         &t) ||
            !fn(context, &t) || !guest_read_word(m, w->root, entry, &entry))
            return;
}

static void modules(void *state, const struct guest_memory *m,
                    guest_module_fn *fn, void *context)
{
    const struct windows_guest *w = state;
    windows_modules(w, m, w->root, w->modules, fn, context);
}

static bool current(void *state, const struct guest_memory *m,
                    struct guest_process *p, struct guest_thread *t)
{
    const struct windows_guest *w = state;
    uint64_t thread, process;
    if (!thread_process(w, m, WIN_PRCB_CURRENT, &thread, &process) ||
        !windows_read_process(w, m, process, p))
        return false;
    if (p->pid == 0)
        (void)snprintf(p->name, sizeof p->name, "Idle");
    return read_thread(w, m, thread, p->name, t);
}

static bool syscall_name(void *state, const struct guest_memory *m,
                         unsigned number, char *name, size_t bytes)
{
    struct windows_guest *w = state;
    if (number >= WIN_SYSCALLS_MAX || !windows_read_syscalls(w, m) ||
        !w->syscalls[number][0])
        return false;
    (void)snprintf(name, bytes, "%s", w->syscalls[number]);
    return true;
}

const struct guest_reader guest_windows = {
    .os = GUEST_WINDOWS,
    .find = find,
    .keep = keep,
    .drop = drop,
    .version = version,
    .kernel_root = kernel_root,
    .symbols = symbols,
    .processes = processes,
    .threads = threads,
    .modules = modules,
    .current = current,
    .syscall_name = syscall_name,
};
