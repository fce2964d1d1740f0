/* Where Windows is: from the processor control region, which GS or FS leads to,
 * and the kernel's image, in which the system-call entry lies. */
#include "analysis/windows_internal.h"
#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

bool windows_read_image(void *context, uint64_t address, void *out,
                        size_t bytes)
{
    const struct windows_space *s = context;
    return guest_read_all(s->m, s->root, address, out, bytes);
}

/* ---- the processor control region
 * ------------------------------------------------------- */

static bool is_pcr(const struct windows_guest *w, const struct guest_memory *m,
                   uint64_t pcr)
{
    uint64_t self, prcb;
    return windows_is_kernel_address(m, pcr) &&
           windows_word(w, m, pcr, WIN_PCR_SELF, &self) && self == pcr &&
           windows_word(w, m, pcr, WIN_PCR_PRCB, &prcb) &&
           prcb == pcr + w->layout.at[WIN_PCR_PRCB_DATA];
}

/* The base of the descriptor with selector 30h, which is the kernel's FS. */
static uint64_t kernel_fs(const struct windows_guest *w,
                          const struct guest_memory *m)
{
    uint8_t d[8];
    if (!guest_read_all(m, w->root, m->cpu.gdt_base + 0x30, d, sizeof d))
        return 0;
    return load_le16(d + 2) | (uint64_t)d[4] << 16 | (uint64_t)d[7] << 24;
}

static bool find_pcr(struct windows_guest *w, const struct guest_memory *m)
{
    const uint64_t places[] = {m->cpu.is_long ? m->cpu.gs_base
                                              : m->cpu.fs_base,
                               m->cpu.is_long ? m->cpu.kernel_gs_base
                                              : kernel_fs(w, m)};
    for (unsigned i = 0; i < 2; i++)
        if (is_pcr(w, m, places[i])) {
            w->pcr = places[i];
            return true;
        }
    return false;
}

/* ---- the kernel's image
 * ---------------------------------------------------------------- */

static bool find_kernel(struct windows_guest *w, const struct guest_memory *m,
                        struct pe_image *pe, const struct pe_memory *memory)
{
    char name[PE_NAME_MAX];
    if (!windows_is_kernel_address(m, m->cpu.syscall_entry) ||
        !pe_find(pe, memory, m->cpu.syscall_entry) || !pe_name(pe, name) ||
        (strncmp(name, "ntoskrnl", 8) != 0 && strncmp(name, "ntkrnl", 6) != 0 &&
         strncmp(name, "ntkrpa", 6) != 0))
        return false;
    w->base = pe->base;
    w->kernel_bytes = pe->bytes;
    return true;
}

enum {
    KDBG_TAG = 0x10, /* KDDEBUGGER_DATA64 of the public debugger header */
    KDBG_KERNEL = 0x18,
    KDBG_MODULES = 0x48,
    KDBG_PROCESSES = 0x50,
    KDBG_BYTES = 0x58
};

/* The debugger's data block in the kernel's image: a tag, and the image's base
 * behind it. */
static bool find_kdbg(const struct windows_guest *w,
                      const struct guest_memory *m, uint64_t *modules,
                      uint64_t *processes)
{
    uint8_t page[4096 + KDBG_BYTES];
    uint64_t mask = m->cpu.is_long ? UINT64_MAX : UINT32_MAX;
    for (uint64_t at = 0; at < w->kernel_bytes; at += 4096) {
        size_t n = guest_read(m, w->root, w->base + at, page, sizeof page);
        for (size_t i = 0; i + KDBG_BYTES <= n && i < 4096; i += 8) {
            if (memcmp(page + i + KDBG_TAG, "KDBG", 4) != 0 ||
                (load_le64(page + i + KDBG_KERNEL) & mask) != w->base)
                continue;
            *modules = load_le64(page + i + KDBG_MODULES) & mask;
            *processes = load_le64(page + i + KDBG_PROCESSES) & mask;
            return true;
        }
    }
    return false;
}

/* ---- all of it
 * --------------------------------------------------------------------- */

static bool is_system(const struct windows_guest *w,
                      const struct guest_memory *m, uint64_t process)
{
    struct guest_process p;
    return windows_is_kernel_address(m, process) &&
           windows_read_process(w, m, process, &p) && p.pid == 4 &&
           strcmp(p.name, "System") == 0;
}

/* The System process and the list of modules: exported, or in the debugger's
 * block when the pages with the exports are not there. */
static bool find_lists(struct windows_guest *w, const struct guest_memory *m,
                       const struct pe_image *pe)
{
    uint64_t pointer, processes = 0, modules = 0, first;
    if (pe_export(pe, "PsLoadedModuleList", &pointer))
        w->modules = pointer;
    if (pe_export(pe, "PsInitialSystemProcess", &pointer))
        (void)guest_read_word(m, w->root, pointer, &w->system);
    if (w->modules && is_system(w, m, w->system))
        return true;
    if (!find_kdbg(w, m, &modules, &processes))
        return false;
    w->modules = modules;
    if (!guest_read_word(m, w->root, processes, &first))
        return false;
    w->system = first - w->layout.at[WIN_PROCESS_LINKS];
    return is_system(w, m, w->system);
}

/* Threads tell which service pack the structures are of. */
static bool threads_fit(const struct windows_guest *w,
                        const struct guest_memory *m)
{
    uint64_t entry, pid;
    return windows_word(w, m, w->system, WIN_PROCESS_THREADS, &entry) &&
           windows_word(w, m, entry - w->layout.at[WIN_THREAD_LINKS],
                        WIN_THREAD_CID, &pid) &&
           pid == 4;
}

static void read_build(struct windows_guest *w, const struct guest_memory *m,
                       const struct pe_image *pe)
{
    uint64_t pointer;
    if (pe_export(pe, "NtBuildNumber", &pointer) &&
        guest_read_u32(m, w->root, pointer, &w->build))
        w->build &= 0xffff;
    (void)snprintf(w->version, sizeof w->version, "Windows %u %s", w->build,
                   m->cpu.is_long ? "x64" : "x86");
}

bool windows_find(struct windows_guest *w, const struct guest_memory *m,
                  const char *pdb)
{
    struct windows_space space = {m, m->cpu.cr3};
    const struct pe_memory memory = {windows_read_image, &space};
    struct pe_image pe;
    struct guest_process p;
    w->root = m->cpu.cr3;
    windows_layout_set(&w->layout, true, m->cpu.is_long);
    if (m->mode == PAGING_OFF || !find_pcr(w, m) ||
        !find_kernel(w, m, &pe, &memory))
        return false;
    read_build(w, m, &pe);
    windows_layout_set(&w->layout, w->build != 7600, m->cpu.is_long);
    w->has_pdb = pdb && windows_layout_pdb(&w->layout, &pe, pdb);
    if (!find_lists(w, m, &pe))
        return false;
    if (!w->has_pdb && !threads_fit(w, m)) {
        struct windows_layout other;
        windows_layout_set(&other, w->build == 7600, m->cpu.is_long);
        struct windows_layout kept = w->layout;
        w->layout = other;
        if (!threads_fit(w, m))
            w->layout = kept;
    }
    if (windows_read_process(w, m, w->system, &p) && p.root)
        w->root = p.root;
    return true;
}
