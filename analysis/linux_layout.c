#include "analysis/btf.h"
#include "analysis/linux_internal.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    TASK_BYTES = 12288, /* of a task_struct that are looked at */
    MODULE_BYTES = 1536,
    MM_BYTES = 1024,
    FEW = 4, /* tasks that are compared */
    TASKS_MAX = 4096,
    BTF_MAX = 64 << 20
};

void linux_layout_clear(struct linux_layout *layout)
{
    memset(layout, 0xff, sizeof *layout);
}

/* ---- BTF
 * -------------------------------------------------------------------------- */

static int32_t member(const struct btf *b, const char *type, const char *path)
{
    uint32_t offset;
    return btf_member(b, type, path, &offset) && offset <= INT32_MAX
               ? (int32_t)offset
               : -1;
}

static void read_members(struct linux_layout *o, const struct btf *b,
                         unsigned word)
{
    o->task_tasks = member(b, "task_struct", "tasks");
    o->task_comm = member(b, "task_struct", "comm");
    o->task_pid = member(b, "task_struct", "pid");
    o->task_tgid = member(b, "task_struct", "tgid");
    o->task_parent = member(b, "task_struct", "real_parent");
    o->task_mm = member(b, "task_struct", "mm");
    o->task_signal = member(b, "task_struct", "signal");
    o->signal_threads = member(b, "signal_struct", "thread_head");
    o->task_thread_node = member(b, "task_struct", "thread_node");
    o->task_thread_group = member(b, "task_struct", "thread_group");
    o->mm_pgd = member(b, "mm_struct", "pgd");
    o->module_list = member(b, "module", "list");
    o->module_name = member(b, "module", "name");
    o->module_base = member(b, "module", "core_layout.base");
    o->module_size = member(b, "module", "core_layout.size");
    if (o->module_base < 0) { /* from 6.4 on: text is the first of several */
        o->module_base = member(b, "module", "mem");
        o->module_size =
            o->module_base < 0 ? -1 : o->module_base + (int32_t)word;
    }
    o->module_kallsyms = member(b, "module", "kallsyms");
}

bool linux_layout_btf(struct linux_guest *l, const struct guest_memory *m)
{
    struct symbol start, stop;
    if (!symbol_table_find(l->kernel, "__start_BTF", &start) ||
        !symbol_table_find(l->kernel, "__stop_BTF", &stop) ||
        stop.address <= start.address ||
        stop.address - start.address > BTF_MAX)
        return false;
    size_t count = (size_t)(stop.address - start.address);
    uint8_t *bytes = malloc(count);
    struct btf *b = NULL;
    if (bytes && guest_read_all(m, l->root, start.address, bytes, count))
        b = btf_open(bytes, count);
    if (b)
        read_members(&l->layout, b, guest_word(m));
    btf_close(b);
    free(bytes);
    return b != NULL;
}

/* ---- by looks
 * ---------------------------------------------------------------------- */

/* Copies of the first tasks: 0 (idle), 1 (init), 2 (kthreadd), and another. */
struct looks {
    struct linux_guest *l;
    const struct guest_memory *m;
    unsigned word;
    uint64_t task[FEW];
    uint8_t bytes[FEW][TASK_BYTES];
};

static uint64_t word_at(const struct looks *k, unsigned task, int32_t offset)
{
    const uint8_t *p = k->bytes[task] + offset;
    return k->word == 8 ? load_le64(p) : load_le32(p);
}

static void find_comm(struct looks *k)
{
    static const char name[] = "swapper";
    const uint8_t *at =
        memmem(k->bytes[0], TASK_BYTES - 16, name, sizeof name - 1);
    if (at)
        k->l->layout.task_comm = (int32_t)(at - k->bytes[0]);
}

/* How many tasks a list at this offset connects with the first; 0: none. */
static unsigned count_tasks(const struct looks *k, int32_t offset)
{
    uint64_t head = k->task[0] + (uint64_t)offset, at, back, previous = head;
    char comm[16];
    if (!linux_word(k->l, k->m, head, &at))
        return 0;
    for (unsigned n = 1; n < TASKS_MAX; n++) {
        if (!linux_is_kernel_address(k->m, at) ||
            !linux_word(k->l, k->m, at + k->word, &back) || back != previous)
            return 0;
        if (at == head)
            return n;
        uint64_t task = at - (uint64_t)offset;
        if (!guest_read_all(k->m, k->l->root,
                            task + (uint64_t)k->l->layout.task_comm, comm,
                            sizeof comm) ||
            comm[0] <= ' ' || comm[0] > '~' ||
            !memchr(comm, 0, sizeof comm))
            return 0;
        previous = at;
        if (!linux_word(k->l, k->m, at, &at))
            return 0;
    }
    return 0;
}

static void find_tasks(struct looks *k)
{
    unsigned most = FEW - 1;
    for (int32_t o = 0; o + 16 <= TASK_BYTES; o += (int32_t)k->word) {
        uint64_t next = word_at(k, 0, o);
        if (!linux_is_kernel_address(k->m, next) ||
            next == k->task[0] + (uint64_t)o)
            continue;
        unsigned n = count_tasks(k, o);
        if (n <= most)
            continue;
        most = n;
        k->l->layout.task_tasks = o;
    }
}

/* Copies the tasks behind the first. */
static bool copy_tasks(struct looks *k)
{
    int32_t o = k->l->layout.task_tasks;
    for (unsigned i = 1; i < FEW; i++) {
        k->task[i] = word_at(k, i - 1, o) - (uint64_t)o;
        if (guest_read(k->m, k->l->root, k->task[i], k->bytes[i],
                       TASK_BYTES) < TASK_BYTES / 2)
            return false;
    }
    return true;
}

static void find_pid(struct looks *k)
{
    for (int32_t o = 0; o + 8 <= TASK_BYTES; o += 4) {
        bool fits = true;
        for (uint32_t i = 0; i < 3 && fits; i++)
            fits = load_le32(k->bytes[i] + o) == i &&
                   load_le32(k->bytes[i] + o + 4) == i;
        if (!fits)
            continue;
        k->l->layout.task_pid = o;
        k->l->layout.task_tgid = o + 4;
        return;
    }
}

/* Parent and real parent of all three are the first; each leads its own group;
 * from there on the structure has not changed from 3.x to 6.6. */
static void find_relatives(struct looks *k)
{
    int32_t word = (int32_t)k->word, o = k->l->layout.task_tgid + 4;
    struct linux_layout *layout = &k->l->layout;
    for (o = (o + word - 1) / word * word; o + 2 * word <= TASK_BYTES;
         o += word) {
        bool is_parent = true, is_leader = true;
        for (unsigned i = 0; i < 3; i++) {
            is_parent &= word_at(k, i, o) == k->task[0] &&
                         word_at(k, i, o + word) == k->task[0];
            is_leader &= word_at(k, i, o) == k->task[i];
        }
        if (is_parent && layout->task_parent < 0)
            layout->task_parent = o;
        if (!is_leader)
            continue;
        /* ptraced, ptrace_entry, thread_pid, pid_links[4] lie between. */
        int32_t group = o + 14 * word;
        bool is_list = group + 2 * word <= TASK_BYTES;
        for (unsigned i = 0; i < FEW && is_list; i++) {
            uint64_t back, next = word_at(k, i, group);
            is_list = linux_word(k->l, k->m, next + k->word, &back) &&
                      back == k->task[i] + (uint64_t)group;
        }
        if (is_list)
            layout->task_thread_group = group;
        return;
    }
}

/* Memory of a process: none for 0 and 2; mm and active_mm of 1 are the same. */
static void find_mm(struct looks *k)
{
    int32_t word = (int32_t)k->word;
    for (int32_t o = k->l->layout.task_tasks + 2 * word;
         o + 2 * word <= TASK_BYTES; o += word) {
        uint64_t mm = word_at(k, 1, o);
        if (word_at(k, 0, o) == 0 && word_at(k, 2, o) == 0 &&
            linux_is_kernel_address(k->m, mm) &&
            word_at(k, 1, o + word) == mm) {
            k->l->layout.task_mm = o;
            return;
        }
    }
}

/* The member of an mm_struct that leads to page tables which map the kernel. */
static void find_pgd(struct looks *k)
{
    uint8_t bytes[MM_BYTES];
    uint64_t mm = word_at(k, 1, k->l->layout.task_mm);
    if (guest_read(k->m, k->l->root, mm, bytes, MM_BYTES) != MM_BYTES)
        return;
    for (int32_t o = 0; o + 8 <= MM_BYTES; o += (int32_t)k->word) {
        uint64_t root, paddr;
        uint64_t pgd = k->word == 8 ? load_le64(bytes + o)
                                    : load_le32(bytes + o);
        if (pgd % 32 || !linux_is_kernel_address(k->m, pgd) ||
            !guest_translate(k->m, k->l->root, pgd, &root) ||
            !guest_translate(k->m, root, k->l->kallsyms.base, &paddr) ||
            paddr != k->l->kallsyms.paddr)
            continue;
        k->l->layout.mm_pgd = o;
        return;
    }
}

static void derive_tasks(struct looks *k)
{
    struct linux_layout *o = &k->l->layout;
    k->task[0] = k->l->init_task;
    if (!k->task[0] || guest_read(k->m, k->l->root, k->task[0], k->bytes[0],
                                  TASK_BYTES) < TASK_BYTES / 2)
        return;
    if (o->task_comm < 0)
        find_comm(k);
    if (o->task_comm >= 0 && o->task_tasks < 0)
        find_tasks(k);
    if (o->task_tasks < 0 || !copy_tasks(k))
        return;
    if (o->task_pid < 0)
        find_pid(k);
    if (o->task_pid >= 0 && o->task_parent < 0)
        find_relatives(k);
    if (o->task_mm < 0)
        find_mm(k);
    if (o->task_mm >= 0 && o->mm_pgd < 0)
        find_pgd(k);
}

/* ---- modules
 * ----------------------------------------------------------------------- */

/* A module's structure lies in the module's own memory, which tells base and
 * size; its symbols are described right behind the pointer to them once it has
 * started. */
static void look_at_module(struct linux_layout *o,
                           const struct guest_memory *m, uint64_t module,
                           const uint8_t *bytes)
{
    unsigned word = guest_word(m);
    for (int32_t at = o->module_name; at + 2 * (int32_t)word <= MODULE_BYTES;
         at += (int32_t)word) {
        uint64_t value = word == 8 ? load_le64(bytes + at)
                                   : load_le32(bytes + at);
        uint64_t size = load_le32(bytes + at + word);
        if (o->module_base < 0 && value % 4096 == 0 && value <= module &&
            module - value < size && size < 64 << 20) {
            o->module_base = at;
            o->module_size = at + (int32_t)word;
        }
        if (o->module_kallsyms < 0 && value == module + (uint64_t)at + word)
            o->module_kallsyms = at;
    }
}

static void derive_module(struct linux_guest *l, const struct guest_memory *m)
{
    uint8_t bytes[MODULE_BYTES];
    unsigned word = guest_word(m);
    uint64_t entry;
    struct linux_layout *o = &l->layout;
    o->module_list = (int32_t)word; /* behind the state, since 2.6 */
    o->module_name = 3 * (int32_t)word;
    if (!linux_word(l, m, l->modules, &entry))
        return;
    for (unsigned n = 0; n < LINUX_MODULES_MAX && entry != l->modules &&
                         (o->module_base < 0 || o->module_kallsyms < 0);
         n++) {
        if (guest_read(m, l->root, entry - word, bytes, MODULE_BYTES) ==
            MODULE_BYTES)
            look_at_module(o, m, entry - word, bytes);
        if (!linux_word(l, m, entry, &entry))
            return;
    }
}

void linux_layout_derive(struct linux_guest *l, const struct guest_memory *m)
{
    struct linux_layout *o = &l->layout;
    if (o->mm_pgd < 0) {
        struct looks *k = calloc(1, sizeof *k);
        if (!k)
            return;
        k->l = l;
        k->m = m;
        k->word = guest_word(m);
        derive_tasks(k);
        free(k);
    }
    if (!l->modules)
        l->modules = linux_find_modules(l, m);
    if (l->modules && (o->module_base < 0 || o->module_kallsyms < 0))
        derive_module(l, m);
    l->is_complete = o->mm_pgd >= 0 && l->modules &&
                     o->module_base >= 0 && o->module_kallsyms >= 0;
}
