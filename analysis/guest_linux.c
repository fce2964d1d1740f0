/* Linux: tasks, threads and the current one, from task_struct. */
#include "analysis/linux_internal.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding
 * ---------------------------------------------------------------------- */

static void drop(void *state)
{
    struct linux_guest *l = state;
    symbols_free(l->symbols);
    free(l);
}

/* A reader's `find`. */
static void *find(const struct guest_memory *m, const char *pdb)
{
    struct linux_guest *l = calloc(1, sizeof *l);
    (void)pdb;
    if (!l)
        return NULL;
    struct symbol_table *t = kallsyms_find(m, &l->kallsyms);
    l->symbols = t ? symbols_new() : NULL;
    if (!l->symbols || !symbols_add(l->symbols, t, NULL)) {
        if (!l->symbols)
            symbol_table_free(t);
        drop(l);
        return NULL;
    }
    l->kernel = t;
    linux_find_variables(l, m);
    linux_layout_clear(&l->layout);
    if (linux_layout_btf(l, m))
        l->is_complete = l->modules != 0;
    if (!l->is_complete)
        linux_layout_derive(l, m);
    linux_module_symbols(l, m);
    return l;
}

static bool keep(void *state, const struct guest_memory *m, const char *pdb)
{
    struct linux_guest *l = state;
    (void)pdb;
    bool own_root = l->root != l->kallsyms.root;
    if (!kallsyms_is_there(m, &l->kallsyms))
        return false;
    if (!own_root)
        l->root = l->kallsyms.root;
    if (!l->is_complete)
        linux_layout_derive(l, m);
    linux_module_symbols(l, m);
    return true;
}

static const char *version(const void *state)
{
    return ((const struct linux_guest *)state)->version;
}

static uint64_t kernel_root(const void *state)
{
    return ((const struct linux_guest *)state)->root;
}

static const struct symbols *symbols(const void *state)
{
    return ((const struct linux_guest *)state)->symbols;
}

/* ---- tasks
 * ------------------------------------------------------------------------ */

static bool read_u32(const struct linux_guest *l, const struct guest_memory *m,
                     uint64_t task, int32_t offset, uint32_t *value)
{
    return offset >= 0 &&
           guest_read_u32(m, l->root, task + (uint64_t)offset, value);
}

static bool read_pointer(const struct linux_guest *l,
                         const struct guest_memory *m, uint64_t task,
                         int32_t offset, uint64_t *value)
{
    return offset >= 0 && linux_word(l, m, task + (uint64_t)offset, value);
}

static bool read_comm(const struct linux_guest *l,
                      const struct guest_memory *m, uint64_t task,
                      char name[GUEST_NAME_BYTES])
{
    return l->layout.task_comm >= 0 &&
           guest_read_text(m, l->root, task + (uint64_t)l->layout.task_comm,
                           name, 16);
}

/* Its page tables: those that map the kernel too. */
static uint64_t read_root(const struct linux_guest *l,
                          const struct guest_memory *m, uint64_t mm)
{
    uint64_t pgd, root;
    if (!read_pointer(l, m, mm, l->layout.mm_pgd, &pgd) ||
        !guest_translate(m, l->root, pgd, &root))
        return 0;
    return root;
}

static bool read_task(const struct linux_guest *l,
                      const struct guest_memory *m, uint64_t task,
                      struct guest_process *p)
{
    uint32_t pid = 0, parent_pid = 0;
    uint64_t mm = 0, parent;
    *p = (struct guest_process){.address = task};
    if (!read_comm(l, m, task, p->name) ||
        !read_u32(l, m, task, l->layout.task_tgid, &pid))
        return false;
    if (read_pointer(l, m, task, l->layout.task_parent, &parent))
        (void)read_u32(l, m, parent, l->layout.task_tgid, &parent_pid);
    if (read_pointer(l, m, task, l->layout.task_mm, &mm) && mm)
        p->root = read_root(l, m, mm);
    p->pid = pid;
    p->parent = parent_pid;
    p->is_kernel = mm == 0;
    return true;
}

static void processes(void *state, const struct guest_memory *m,
                      guest_process_fn *fn, void *context)
{
    const struct linux_guest *l = state;
    uint64_t task = l->init_task, entry;
    struct guest_process p;
    if (l->layout.task_tasks < 0 || !task)
        return;
    uint64_t offset = (uint64_t)l->layout.task_tasks;
    for (unsigned n = 0; n < GUEST_LIST_MAX; n++) {
        if (!read_task(l, m, task, &p) || !fn(context, &p) ||
            !linux_word(l, m, task + offset, &entry))
            return;
        task = entry - offset;
        if (task == l->init_task)
            return;
    }
}

/* ---- threads
 * ------------------------------------------------------------------------ */

static bool read_thread(const struct linux_guest *l,
                        const struct guest_memory *m, uint64_t task,
                        struct guest_thread *t)
{
    uint32_t tid, pid;
    *t = (struct guest_thread){.address = task};
    if (!read_comm(l, m, task, t->name) ||
        !read_u32(l, m, task, l->layout.task_pid, &tid) ||
        !read_u32(l, m, task, l->layout.task_tgid, &pid))
        return false;
    t->tid = tid;
    t->pid = pid;
    return true;
}

/* The list goes through all threads, and through a head in the signal_struct
 * unless they are linked to each other alone. */
static void threads(void *state, const struct guest_memory *m,
                    const struct guest_process *p, guest_thread_fn *fn,
                    void *context)
{
    const struct linux_guest *l = state;
    const struct linux_layout *o = &l->layout;
    struct guest_thread t;
    uint64_t signal, head = 0, entry;
    int32_t node = o->task_thread_node;
    if (o->signal_threads >= 0 && node >= 0 &&
        read_pointer(l, m, p->address, o->task_signal, &signal))
        head = signal + (uint64_t)o->signal_threads;
    else
        node = o->task_thread_group;
    entry = node >= 0 ? p->address + (uint64_t)node : 0;
    if (head && !linux_word(l, m, head, &entry))
        return;
    uint64_t first = entry;
    if (node < 0) { /* its leader is all that is known */
        if (read_thread(l, m, p->address, &t))
            (void)fn(context, &t);
        return;
    }
    for (unsigned n = 0; n < GUEST_LIST_MAX && entry != head; n++) {
        if (!read_thread(l, m, entry - (uint64_t)node, &t) ||
            !fn(context, &t) || !linux_word(l, m, entry, &entry) ||
            entry == first)
            return;
    }
}

/* ---- the current one
 * --------------------------------------------------------------------- */

static bool current(void *state, const struct guest_memory *m,
                    struct guest_process *p, struct guest_thread *t)
{
    const struct linux_guest *l = state;
    uint64_t offset, task;
    return l->current_task && l->per_cpu_offset &&
           linux_word(l, m, l->per_cpu_offset, &offset) &&
           linux_word(l, m,
                      m->cpu.is_long ? l->current_task + offset
                                     : (uint32_t)(l->current_task + offset),
                      &task) &&
           read_task(l, m, task, p) && read_thread(l, m, task, t);
}

/* ---- system calls
 * ------------------------------------------------------------------------ */

enum { SYSCALLS_MAX = 1024 };

static bool syscall_name(void *state, const struct guest_memory *m,
                         unsigned number, char *name, size_t bytes)
{
    static const char *const prefixes[] = {"__x64_", "__ia32_", "__do_",
                                           "__se_", "sys_"};
    const struct linux_guest *l = state;
    struct symbol_place place;
    uint64_t function;
    if (!l->sys_call_table || number >= SYSCALLS_MAX ||
        !linux_word(l, m, l->sys_call_table + number * guest_word(m),
                    &function) ||
        !symbol_table_lookup(l->kernel, function, &place) ||
        place.offset != 0 || !strstr(place.symbol.name, "sys_") ||
        strstr(place.symbol.name, "sys_ni_syscall"))
        return false;
    const char *text = place.symbol.name;
    for (unsigned i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t n = strlen(prefixes[i]);
        if (strncmp(text, prefixes[i], n) == 0)
            text += n;
    }
    (void)snprintf(name, bytes, "%s", text);
    return true;
}

static void modules(void *state, const struct guest_memory *m,
                    guest_module_fn *fn, void *context)
{
    linux_modules(state, m, fn, context);
}

const struct guest_reader guest_linux = {
    .os = GUEST_LINUX,
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
