#include "analysis/symbols_pe.h"
#include "analysis/pdb.h"
#include "analysis/windows_internal.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODULES_MAX = 2048, STUB_BYTES = 8 };

/* ---- lists of modules
 * ------------------------------------------------------------------ */

/* UNICODE_STRING: length in bytes, room, pointer. */
static bool read_string(const struct guest_memory *m, uint64_t root,
                        uint64_t at, char *out, size_t bytes)
{
    uint32_t lengths;
    uint64_t text;
    out[0] = 0;
    return guest_read_u32(m, root, at, &lengths) &&
           guest_read_word(m, root, at + guest_word(m), &text) &&
           guest_read_utf16(m, root, text, lengths & 0xffff, out, bytes);
}

static bool read_module(const struct windows_guest *w,
                        const struct guest_memory *m, uint64_t root,
                        uint64_t entry, struct guest_module *out)
{
    const uint32_t *at = w->layout.at;
    uint32_t bytes;
    *out = (struct guest_module){0};
    if (!guest_read_word(m, root, entry + at[WIN_MODULE_BASE], &out->base) ||
        !guest_read_u32(m, root, entry + at[WIN_MODULE_BYTES], &bytes) ||
        !read_string(m, root, entry + at[WIN_MODULE_NAME], out->name,
                     sizeof out->name))
        return false;
    (void)read_string(m, root, entry + at[WIN_MODULE_PATH], out->path,
                      sizeof out->path);
    out->bytes = bytes;
    return true;
}

void windows_modules(const struct windows_guest *w,
                     const struct guest_memory *m, uint64_t root,
                     uint64_t head, guest_module_fn *fn, void *context)
{
    uint64_t entry;
    struct guest_module g;
    if (!guest_read_word(m, root, head, &entry))
        return;
    for (unsigned n = 0; n < MODULES_MAX && entry != head; n++)
        if (!read_module(w, m, root, entry, &g) || !fn(context, &g) ||
            !guest_read_word(m, root, entry, &entry))
            return;
}

/* ---- their symbols
 * --------------------------------------------------------------------- */

struct loading {
    struct windows_guest *w;
    const struct guest_memory *m;
    uint64_t mark;
    const char *pdb;
};

/* A guest_module_fn: a sum over what is loaded where. */
static bool mark_one(void *context, const struct guest_module *g)
{
    struct loading *s = context;
    s->mark = (s->mark + g->base + g->bytes) * 0x100000001b3;
    return true;
}

/* "ntoskrnl.exe" and its kin are nt, as debuggers have it; others lose their
 * extension. */
static void short_name(const struct windows_guest *w,
                       const struct guest_module *g, char name[64])
{
    (void)snprintf(name, 64, "%.63s", g->base == w->base ? "nt" : g->name);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = 0;
}

/* A guest_module_fn. */
static bool load_one(void *context, const struct guest_module *g)
{
    struct loading *s = context;
    struct windows_space space = {s->m, s->w->root};
    const struct pe_memory memory = {windows_read_image, &space};
    struct pe_image pe;
    char name[64];
    struct symbol_table *t = NULL;
    short_name(s->w, g, name);
    if (s->w->has_pdb && g->base == s->w->base)
        t = pdb_symbols_of_file(name, s->pdb, g->base, NULL);
    else if (pe_open(&pe, &memory, g->base))
        t = symbols_of_pe(name, &pe);
    if (!t)
        return true;
    return symbols_add(s->w->symbols, t, NULL);
}

void windows_module_symbols(struct windows_guest *w,
                            const struct guest_memory *m, const char *pdb)
{
    struct loading s = {.w = w, .m = m, .pdb = pdb};
    windows_modules(w, m, w->root, w->modules, mark_one, &s);
    if (w->symbols && s.mark == w->module_mark)
        return;
    symbols_free(w->symbols);
    w->symbols = symbols_new();
    w->module_mark = s.mark;
    if (w->symbols)
        windows_modules(w, m, w->root, w->modules, load_one, &s);
}

/* ---- system calls
 * ---------------------------------------------------------------------- */

struct stubs {
    struct windows_guest *w;
    const struct guest_memory *m;
    uint64_t root;
    unsigned found;
};

/* x64: mov r10,rcx; mov eax,number. x86: mov eax,number. A pe_export_fn. */
static bool read_stub(void *context, const char *name, uint64_t address)
{
    struct stubs *s = context;
    uint8_t code[STUB_BYTES];
    static const uint8_t begin_64[] = {0x4c, 0x8b, 0xd1, 0xb8};
    if (strncmp(name, "Nt", 2) != 0 ||
        !guest_read_all(s->m, s->root, address, code, sizeof code))
        return true;
    uint32_t number = WIN_SYSCALLS_MAX;
    if (s->m->cpu.is_long && memcmp(code, begin_64, sizeof begin_64) == 0)
        number = load_le32(code + 4);
    else if (!s->m->cpu.is_long && code[0] == 0xb8)
        number = load_le32(code + 1);
    if (number >= WIN_SYSCALLS_MAX || s->w->syscalls[number][0])
        return true;
    (void)snprintf(s->w->syscalls[number], WIN_SYSCALL_NAME, "%s", name);
    s->found++;
    return true;
}

/* A guest_module_fn. */
static bool find_ntdll(void *context, const struct guest_module *g)
{
    struct stubs *s = context;
    struct windows_space space = {s->m, s->root};
    const struct pe_memory memory = {windows_read_image, &space};
    struct pe_image pe;
    if (strcasecmp(g->name, "ntdll.dll") != 0)
        return true;
    if (pe_open(&pe, &memory, g->base))
        pe_exports_each(&pe, read_stub, s);
    return false;
}

/* A guest_process_fn. */
static bool try_process(void *context, const struct guest_process *p)
{
    struct stubs *s = context;
    uint64_t peb, ldr;
    s->root = p->root;
    if (!windows_word(s->w, s->m, p->address, WIN_PROCESS_PEB, &peb) ||
        peb == 0 ||
        !guest_read_word(s->m, p->root, peb + s->w->layout.at[WIN_PEB_LDR],
                         &ldr))
        return true;
    windows_modules(s->w, s->m, p->root, ldr + s->w->layout.at[WIN_LDR_LIST],
                    find_ntdll, s);
    return s->found == 0;
}

bool windows_read_syscalls(struct windows_guest *w,
                           const struct guest_memory *m)
{
    struct stubs s = {.w = w, .m = m};
    if (w->syscalls)
        return true;
    w->syscalls = calloc(WIN_SYSCALLS_MAX, sizeof *w->syscalls);
    if (!w->syscalls)
        return false;
    windows_processes(w, m, try_process, &s);
    if (s.found)
        return true;
    free(w->syscalls);
    w->syscalls = NULL;
    return false;
}
