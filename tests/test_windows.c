/* Windows 7 in images of memory that are made here, of both service packs, 32
 * and 64 bits, is read as it was made. Damaged ones end every walk. */
#include "analysis/guest.h"
#include "analysis/pdb.h"
#include "lib_fuzz_pe.h"
#include "lib_fuzz_windows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIST_MAX = 16 };

static int make(void **state)
{
    *state = calloc(1, sizeof(struct winimage));
    return *state ? 0 : -1;
}

static int drop(void **state)
{
    free(*state);
    return 0;
}

/* ---- looking
 * -------------------------------------------------------------------------- */

struct list {
    unsigned count;
    struct guest_process p[LIST_MAX];
    struct guest_thread t[LIST_MAX];
    struct guest_module m[LIST_MAX];
};

static bool take_process(void *context, const struct guest_process *p)
{
    struct list *l = context;
    l->p[l->count++ % LIST_MAX] = *p;
    return true;
}

static bool take_thread(void *context, const struct guest_thread *t)
{
    struct list *l = context;
    l->t[l->count++ % LIST_MAX] = *t;
    return true;
}

static bool take_module(void *context, const struct guest_module *m)
{
    struct list *l = context;
    l->m[l->count++ % LIST_MAX] = *m;
    return true;
}

static void check_processes(const struct winimage *w, struct guest *g)
{
    static const char *const names[] = {"Idle", "System", "program.exe"};
    static const uint64_t pids[] = {0, 4, 1234};
    struct list *l = calloc(1, sizeof *l), *threads = calloc(1, sizeof *l);
    guest_processes(g, take_process, l);
    assert_int_equal(l->count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(l->p[i].name, names[i]);
        assert_int_equal(l->p[i].pid, pids[i]);
        assert_int_equal(l->p[i].address, winimage_narrow(w, w->process[i]));
        assert_int_equal(l->p[i].is_kernel, i < 2);
        assert_int_equal(l->p[i].root, 0x1000);
        threads->count = 0;
        guest_threads(g, &l->p[i], take_thread, threads);
        assert_int_equal(threads->count, 2);
        for (unsigned k = 0; k < 2; k++) {
            assert_int_equal(threads->t[k].pid, pids[i]);
            assert_int_equal(threads->t[k].tid, pids[i] * 100 + k);
        }
    }
    assert_int_equal(l->p[2].parent, 4);
    free(threads);
    free(l);
}

static void check_modules(const struct winimage *w, struct guest *g)
{
    struct list *l = calloc(1, sizeof *l);
    guest_modules(g, take_module, l);
    assert_int_equal(l->count, 2);
    assert_string_equal(l->m[0].name, "ntoskrnl.exe");
    assert_string_equal(l->m[1].path, "\\SystemRoot\\system32\\hal.dll");
    assert_int_equal(l->m[1].base, winimage_narrow(w, WINIMAGE_HAL));
    assert_int_equal(l->m[1].bytes, PEIMAGE_BYTES);
    free(l);
    struct symbol s;
    char text[100];
    assert_true(symbols_find(guest_symbols(g), "nt!KeBugCheckEx", &s));
    assert_int_equal(s.address, winimage_narrow(w, WINIMAGE_KERNEL + PEIMAGE_TEXT + 0x100));
    symbols_format(guest_symbols(g), winimage_narrow(w, WINIMAGE_HAL + PEIMAGE_TEXT + 0x23), text,
                   sizeof text);
    assert_string_equal(text, "hal!HalMakeBeep+0x3");
}

static void check(struct winimage *w, const struct winimage_version *v)
{
    struct guest_process p;
    struct guest_thread t;
    char name[64];
    winimage_make(w, v);
    struct guest *g = guest_new();
    assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
    (void)snprintf(name, sizeof name, "Windows %u %s", v->is_sp1 ? 7601 : 7600,
                   v->is_64 ? "x64" : "x86");
    assert_string_equal(guest_version(g), name);
    check_processes(w, g);
    check_modules(w, g);
    assert_true(guest_current(g, &p, &t));
    assert_string_equal(p.name, "program.exe");
    assert_int_equal(t.tid, 123401);
    assert_true(guest_syscall_name(g, v->is_64 ? 0x52 : 0x42, name,
                                   sizeof name));
    assert_string_equal(name, "NtCreateFile");
    assert_true(
        guest_syscall_name(g, v->is_64 ? 0x0c : 0x32, name, sizeof name));
    assert_string_equal(name, "NtClose");
    assert_false(guest_syscall_name(g, 0, name, sizeof name));
    assert_false(guest_syscall_name(g, UINT32_MAX, name, sizeof name));
    /* Another thread runs: what was found stays, what is read is new. */
    winimage_put_word(w, WINIMAGE_PCR + v->current, winimage_thread(0));
    assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
    assert_true(guest_current(g, &p, &t));
    assert_string_equal(p.name, "Idle");
    /* Gone: another system has taken its place. */
    memset(w->ram, 0, WINIMAGE_BYTES);
    assert_int_equal(guest_look(g, &w->g), GUEST_UNKNOWN);
    guest_free(g);
}

static void every_version(void **state)
{
    for (unsigned i = 0; i < WINIMAGE_VERSIONS; i++)
        check(*state, &winimage_versions[i]);
}

/* The exports' page is not in memory: the debugger's block leads on. */
static void debugger_block_without_exports(void **state)
{
    struct winimage *w = *state;
    for (unsigned i = 0; i < WINIMAGE_VERSIONS; i++) {
        winimage_make(w, &winimage_versions[i]);
        uint64_t block = WINIMAGE_KERNEL + PEIMAGE_DATA + 0x100;
        winimage_put(w, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x20, "\0\0\0\0\0\0\0\0", 8);
        winimage_put(w, block + 0x10, "KDBG", 4);
        winimage_put_word(w, block + 0x18, WINIMAGE_KERNEL);
        winimage_put_word(w, block + 0x48, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x30);
        winimage_put_word(w, block + 0x50, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x40);
        struct guest *g = guest_new();
        assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
        check_processes(w, g);
        check_modules(w, g);
        guest_free(g);
    }
}

/* Structures that no Windows has, for a PDB that clang and lld make of them. */
#define STRUCTURES                                                            \
    struct _LIST_ENTRY {                                                      \
        void *Flink, *Blink;                                                  \
    };                                                                        \
    struct _KPROCESS {                                                        \
        char a[0x40];                                                         \
        void *DirectoryTableBase;                                             \
    };                                                                        \
    struct _EPROCESS {                                                        \
        struct _KPROCESS Pcb;                                                 \
        char b[0x100];                                                        \
        void *InheritedFromUniqueProcessId, *UniqueProcessId, *Peb;           \
        struct _LIST_ENTRY ThreadListHead, ActiveProcessLinks;                \
        unsigned char ImageFileName[15];                                      \
    };                                                                        \
    struct _KAPC_STATE {                                                      \
        char c[0x30];                                                         \
        struct _KPROCESS *Process;                                            \
    };                                                                        \
    struct _KTHREAD {                                                         \
        char d[0x90];                                                         \
        struct _KAPC_STATE ApcState;                                          \
    };                                                                        \
    struct _ETHREAD {                                                         \
        struct _KTHREAD Tcb;                                                  \
        char e[0x300];                                                        \
        struct _LIST_ENTRY ThreadListEntry;                                   \
        struct {                                                              \
            void *UniqueProcess, *UniqueThread;                               \
        } Cid;                                                                \
    };
STRUCTURES
#define TEXT_(...) #__VA_ARGS__
#define TEXT(...)  TEXT_(__VA_ARGS__)

static void make_pdb(const char *dir)
{
    char command[600], path[100];
    (void)snprintf(path, sizeof path, "%s/k.c", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(TEXT(STRUCTURES) "\nstruct _EPROCESS process; struct _ETHREAD "
                                 "thread;\nint start(void) { return "
                                 "sizeof process + sizeof thread; }\n",
                f);
    (void)fclose(f);
    (void)snprintf(command, sizeof command,
                   "cd %s && clang --target=x86_64-pc-windows-msvc -g "
                   "-gcodeview -c k.c -o k.obj && lld-link /debug "
                   "/nodefaultlib /dll /noentry /export:start /pdb:k.pdb "
                   "/out:k.dll k.obj >log.txt 2>&1 || { cat log.txt; exit 1; }",
                   dir);
    assert_int_equal(system(command), 0);
}

/* Every image in memory names this PDB. */
static void name_pdb(struct winimage *w, const char *path)
{
    struct error err;
    struct pdb_identity id;
    struct pdb *p = pdb_open_file(path, &err);
    assert_non_null(p);
    assert_true(pdb_identity(p, &id));
    pdb_close(p);
    for (uint8_t *at = w->ram;
         (at = memmem(at, (size_t)(w->ram + WINIMAGE_BYTES - at), "RSDS", 4));
         at += 4)
        memcpy(at + 4, id.guid, sizeof id.guid);
}

static void a_pdb_overrides_the_layouts(void **state)
{
    const struct winimage_version other = {
        true, true, 0x18, 0x20, 0x180, 0x188, 0x198,
        offsetof(struct _KTHREAD, ApcState) +
            offsetof(struct _KAPC_STATE, Process),
        offsetof(struct _KPROCESS, DirectoryTableBase),
        offsetof(struct _EPROCESS, UniqueProcessId),
        offsetof(struct _EPROCESS, ActiveProcessLinks),
        offsetof(struct _EPROCESS, InheritedFromUniqueProcessId),
        offsetof(struct _EPROCESS, ImageFileName),
        offsetof(struct _EPROCESS, ThreadListHead),
        offsetof(struct _EPROCESS, Peb), offsetof(struct _ETHREAD, Cid),
        offsetof(struct _ETHREAD, ThreadListEntry)};
    struct winimage *w = *state;
    struct error err;
    struct symbol symbol;
    char dir[] = "/tmp/relive-win-XXXXXX", path[80], command[80];
    assert_non_null(mkdtemp(dir));
    make_pdb(dir);
    (void)snprintf(path, sizeof path, "%s/k.pdb", dir);
    winimage_make(w, &other);
    struct guest *g = guest_new();
    assert_int_equal(guest_look(g, &w->g), GUEST_UNKNOWN);
    assert_true(guest_set_pdb(g, path, &err));
    assert_int_equal(guest_look(g, &w->g), GUEST_UNKNOWN); /* another's */
    name_pdb(w, path);
    assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
    check_processes(w, g);
    assert_true(symbols_find(guest_symbols(g), "nt!start", &symbol));
    assert_false(symbols_find(guest_symbols(g), "nt!KeBugCheckEx", &symbol));
    assert_false(guest_set_pdb(g, "/nowhere.pdb", &err));
    assert_non_null(strstr(err.text, "/nowhere.pdb"));
    guest_free(g);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static void look_at_all(struct winimage *w)
{
    struct guest_process p;
    struct guest_thread t;
    char name[64];
    struct list *l = calloc(1, sizeof *l);
    struct guest *g = guest_new();
    for (unsigned n = 0; n < 2; n++) {
        (void)guest_look(g, &w->g);
        guest_processes(g, take_process, l);
        guest_threads(g, &l->p[0], take_thread, l);
        guest_modules(g, take_module, l);
        (void)guest_current(g, &p, &t);
        (void)guest_syscall_name(g, 1, name, sizeof name);
    }
    guest_free(g);
    free(l);
}

/* Lists that never come back, and memory with random words. */
static void damage_ends_every_walk(void **state)
{
    struct winimage *w = *state;
    uint32_t random = 99;
    for (unsigned i = 0; i < 400; i++) {
        winimage_make(w, &winimage_versions[i % WINIMAGE_VERSIONS]);
        for (unsigned k = 0; k < 1 + i / 20; k++) {
            random = random * 1664525 + 1013904223;
            uint64_t at = (random >> 8) % (w->next - 8);
            uint64_t other = random % (w->next - 8);
            memcpy(w->ram + at, w->ram + other, 8); /* pointers among them */
        }
        look_at_all(w);
    }
    for (unsigned i = 0; i < WINIMAGE_VERSIONS; i++) { /* rho-shaped */
        const struct winimage_version *v = &winimage_versions[i];
        winimage_make(w, v);
        winimage_put_word(w, w->process[2] + v->links, w->process[2] + v->links);
        winimage_put_word(w, w->process[2] + v->threads,
                 winimage_thread(4) + v->thread_links);
        winimage_put_word(w, winimage_thread(4) + v->thread_links,
                 winimage_thread(4) + v->thread_links);
        winimage_put_word(w, WINIMAGE_OBJECTS + 0x11000, WINIMAGE_OBJECTS + 0x11000);
        look_at_all(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version),
        cmocka_unit_test(debugger_block_without_exports),
        cmocka_unit_test(a_pdb_overrides_the_layouts),
        cmocka_unit_test(damage_ends_every_walk),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
