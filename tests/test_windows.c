/* Windows 7 in images of memory that are made here: page tables, a processor
 * control region, a kernel with exports, processes, threads, modules and an
 * ntdll with system-call stubs; of both service packs, 32 and 64 bits. Damaged
 * ones end every walk. */
#include "analysis/guest.h"
#include "base/bytes.h"
#include "lib_fuzz_pe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RAM_BYTES = 8 << 20, LIST_MAX = 16 };

/* Where things are in the kernel's half; low 32 bits on x86. */
#define KERNEL   UINT64_C(0xfffff80082a00000)
#define HAL      UINT64_C(0xfffff80082b00000)
#define PCR      UINT64_C(0xfffff80082c00000)
#define OBJECTS  UINT64_C(0xfffff80082d00000)
#define GDT      UINT64_C(0xfffff80082e00000)
#define NTDLL    UINT64_C(0x0000000077000000)
#define PEB      UINT64_C(0x000000007ffd0000)

/* What differs: offsets as debuggers print them with the public symbols. */
struct version {
    bool is_64, is_sp1;
    uint32_t self, prcb, prcb_data, current, idle, apc_process, root, pid,
        links, parent, name, threads, peb, cid, thread_links;
};
static const struct version versions[] = {
    {false, false, 0x1c, 0x20, 0x120, 0x124, 0x12c, 0x50, 0x18, 0xb4, 0xb8,
     0x140, 0x16c, 0x188, 0x1a8, 0x22c, 0x268},
    {false, true, 0x1c, 0x20, 0x120, 0x124, 0x12c, 0x50, 0x18, 0xb4, 0xb8,
     0x140, 0x16c, 0x188, 0x1a8, 0x22c, 0x268},
    {true, false, 0x18, 0x20, 0x180, 0x188, 0x198, 0x70, 0x28, 0x180, 0x188,
     0x290, 0x2e0, 0x308, 0x338, 0x3b0, 0x420},
    {true, true, 0x18, 0x20, 0x180, 0x188, 0x198, 0x70, 0x28, 0x180, 0x188,
     0x290, 0x2e0, 0x308, 0x338, 0x3b8, 0x428},
};
enum { VERSIONS = sizeof versions / sizeof versions[0] };

struct world {
    uint8_t *ram;
    uint64_t next; /* free page */
    const struct version *v;
    struct guest_memory g;
    uint64_t process[3]; /* Idle, System, program.exe */
};

/* A guest_memory.page. */
static const uint8_t *page(void *context, uint64_t paddr, bool touched)
{
    const struct world *w = context;
    (void)touched;
    return paddr < RAM_BYTES ? w->ram + paddr : NULL;
}

/* ---- building
 * ------------------------------------------------------------------------- */

static uint64_t new_page(struct world *w)
{
    uint64_t at = w->next;
    w->next += 4096;
    assert_true(w->next <= RAM_BYTES);
    return at;
}

static uint64_t narrow(const struct world *w, uint64_t vaddr)
{
    return w->v->is_64 ? vaddr : (uint32_t)vaddr;
}

/* The page of an address, mapped when it is not; PAE or 4-level tables. */
static uint64_t map(struct world *w, uint64_t vaddr)
{
    uint64_t table = w->g.cpu.cr3;
    for (int level = w->v->is_64 ? 4 : 3; level > 0; level--) {
        unsigned index = vaddr >> (12 + 9 * (level - 1)) & 511;
        if (level == 3 && !w->v->is_64)
            index &= 3;
        uint8_t *entry = w->ram + table + 8 * index;
        if (!(load_le64(entry) & 1))
            store_le64(entry, new_page(w) | 1);
        table = load_le64(entry) & ~UINT64_C(0xfff);
    }
    return table;
}

static void put(struct world *w, uint64_t vaddr, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w->ram[map(w, narrow(w, vaddr + i)) + ((vaddr + i) & 0xfff)] =
            ((const uint8_t *)bytes)[i];
}

static unsigned word_bytes(const struct world *w)
{
    return w->v->is_64 ? 8 : 4;
}

static void put_word(struct world *w, uint64_t vaddr, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    put(w, vaddr, bytes, word_bytes(w));
}

static void put_u32(struct world *w, uint64_t vaddr, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    put(w, vaddr, bytes, 4);
}

/* A ring through a head and entries. */
static void put_ring(struct world *w, uint64_t head, const uint64_t *entries,
                     unsigned count)
{
    uint64_t last = head;
    for (unsigned i = 0; i <= count; i++) {
        uint64_t at = i < count ? entries[i] : head;
        put_word(w, last, at);
        put_word(w, at + word_bytes(w), last);
        last = at;
    }
}

static void put_unicode(struct world *w, uint64_t at, uint64_t text,
                        const char *s)
{
    uint16_t n = (uint16_t)(2 * strlen(s));
    put_u32(w, at, (uint32_t)n | (uint32_t)(n + 2) << 16);
    put_word(w, at + word_bytes(w), text);
    for (; *s; s++, text += 2)
        put(w, text, (const uint8_t[]){(uint8_t)*s, 0}, 2);
}

/* An LDR_DATA_TABLE_ENTRY; returns it. */
static uint64_t put_module(struct world *w, uint64_t entry, uint64_t base,
                           const char *name, const char *path)
{
    bool is_64 = w->v->is_64;
    put_word(w, entry + (is_64 ? 0x30 : 0x18), base);
    put_u32(w, entry + (is_64 ? 0x40 : 0x20), PEIMAGE_BYTES);
    put_unicode(w, entry + (is_64 ? 0x48 : 0x24), entry + 0x100, path);
    put_unicode(w, entry + (is_64 ? 0x58 : 0x2c), entry + 0x200, name);
    return entry;
}

static void put_image(struct world *w, uint64_t base, const char *name,
                      const struct peimage_export *exports, unsigned count)
{
    uint8_t image[PEIMAGE_BYTES];
    peimage_make(image, w->v->is_64, name, exports, count);
    put(w, base, image, sizeof image);
}

static void put_process(struct world *w, unsigned index, uint64_t pid,
                        uint64_t parent, const char *name)
{
    const struct version *v = w->v;
    uint64_t at = w->process[index];
    put_word(w, at + v->pid, pid);
    put_word(w, at + v->parent, parent);
    put_word(w, at + v->root, w->g.cpu.cr3);
    put(w, at + v->name, name, strlen(name) + 1);
}

static uint64_t thread_at(unsigned n)
{
    return OBJECTS + 0x8000 + n * 0x1000;
}

/* Two threads of a process. */
static void put_threads(struct world *w, unsigned index, uint64_t pid)
{
    const struct version *v = w->v;
    uint64_t entries[2];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t t = thread_at(2 * index + i);
        put_word(w, t + v->cid, pid);
        put_word(w, t + v->cid + word_bytes(w), pid * 100 + i);
        put_word(w, t + v->apc_process, w->process[index]);
        entries[i] = t + v->thread_links;
    }
    put_ring(w, w->process[index] + v->threads, entries, 2);
}

static void put_kernel(struct world *w)
{
    static const struct peimage_export nt[] = {
        {"KeBugCheckEx", PEIMAGE_TEXT + 0x100},
        {"NtBuildNumber", PEIMAGE_DATA + 0x10},
        {"PsInitialSystemProcess", PEIMAGE_DATA + 0x20},
        {"PsLoadedModuleList", PEIMAGE_DATA + 0x30},
    };
    static const struct peimage_export hal[] = {
        {"HalMakeBeep", PEIMAGE_TEXT + 0x20}};
    put_image(w, KERNEL, "ntoskrnl.exe", nt, 4);
    put_image(w, HAL, "hal.dll", hal, 1);
    put_u32(w, KERNEL + PEIMAGE_DATA + 0x10,
            0xf0000000 | (w->v->is_sp1 ? 7601 : 7600));
    put_word(w, KERNEL + PEIMAGE_DATA + 0x20, w->process[1]);
    const uint64_t modules[] = {
        put_module(w, OBJECTS + 0x10000, KERNEL, "ntoskrnl.exe",
                   "\\SystemRoot\\system32\\ntoskrnl.exe"),
        put_module(w, OBJECTS + 0x11000, HAL, "hal.dll",
                   "\\SystemRoot\\system32\\hal.dll")};
    put_ring(w, KERNEL + PEIMAGE_DATA + 0x30, modules, 2);
}

/* ntdll in the program: NtCreateFile and NtClose, and one that is no call. */
static void put_ntdll(struct world *w)
{
    static const struct peimage_export exports[] = {
        {"NtClose", PEIMAGE_TEXT + 0x10},
        {"NtCreateFile", PEIMAGE_TEXT + 0x20},
        {"NtCurrentTeb", PEIMAGE_TEXT + 0x30},
        {"RtlZeroMemory", PEIMAGE_TEXT + 0x40}};
    static const uint8_t stubs_64[][8] = {{0x4c, 0x8b, 0xd1, 0xb8, 0x0c},
                                          {0x4c, 0x8b, 0xd1, 0xb8, 0x52}};
    static const uint8_t stubs_32[][8] = {{0xb8, 0x32, 0, 0, 0, 0xba},
                                          {0xb8, 0x42, 0, 0, 0, 0xba}};
    bool is_64 = w->v->is_64;
    put_image(w, NTDLL, "ntdll.dll", exports, 4);
    for (unsigned i = 0; i < 2; i++)
        put(w, NTDLL + PEIMAGE_TEXT + 0x10 + 0x10 * i,
            is_64 ? stubs_64[i] : stubs_32[i], 8);
    uint64_t ldr = PEB + 0x400;
    put_word(w, PEB + (is_64 ? 0x18 : 0xc), ldr);
    const uint64_t entries[] = {
        put_module(w, PEB + 0x1000, 0x400000, "program.exe", "C:\\program.exe"),
        put_module(w, PEB + 0x2000, NTDLL, "ntdll.dll", "C:\\ntdll.dll")};
    put_ring(w, ldr + (is_64 ? 0x10 : 0xc), entries, 2);
}

static void put_pcr(struct world *w)
{
    const struct version *v = w->v;
    put_word(w, PCR + v->self, PCR);
    put_word(w, PCR + v->prcb, PCR + v->prcb_data);
    put_word(w, PCR + v->current, thread_at(5)); /* the program's second */
    put_word(w, PCR + v->idle, thread_at(0));
    /* The descriptor of the kernel's FS. */
    uint32_t base = (uint32_t)PCR;
    const uint8_t d[8] = {0xff, 0xff, (uint8_t)base, (uint8_t)(base >> 8),
                          (uint8_t)(base >> 16), 0x93, 0x40,
                          (uint8_t)(base >> 24)};
    put(w, GDT + 0x30, d, sizeof d);
}

static void build(struct world *w, const struct version *v)
{
    uint8_t *ram = w->ram;
    memset(ram, 0, RAM_BYTES);
    *w = (struct world){.ram = ram, .next = 0x2000, .v = v};
    w->g = (struct guest_memory){
        .page = page,
        .context = w,
        .ram_end = RAM_BYTES,
        .mode = v->is_64 ? PAGING_LONG : PAGING_PAE,
        .cpu = {.cr3 = 0x1000, .cpl = 3, .is_long = v->is_64}};
    w->g.cpu.kernel_gs_base = PCR; /* in user mode */
    w->g.cpu.gdt_base = narrow(w, GDT);
    w->g.cpu.syscall_entry = narrow(w, KERNEL + PEIMAGE_TEXT + 0x80);
    for (unsigned i = 0; i < 3; i++)
        w->process[i] = OBJECTS + i * 0x1000;
    put_process(w, 0, 0, 0, "");
    put_process(w, 1, 4, 0, "System");
    put_process(w, 2, 1234, 4, "program.exe");
    put_word(w, w->process[2] + v->peb, PEB);
    for (unsigned i = 0; i < 3; i++)
        put_threads(w, i, (const uint64_t[]){0, 4, 1234}[i]);
    put_kernel(w);
    const uint64_t links[] = {w->process[1] + v->links,
                              w->process[2] + v->links};
    put_ring(w, KERNEL + PEIMAGE_DATA + 0x40, links, 2);
    put_ntdll(w);
    put_pcr(w);
}

static int make(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    return w && (w->ram = malloc(RAM_BYTES)) ? 0 : -1;
}

static int drop(void **state)
{
    struct world *w = *state;
    free(w->ram);
    free(w);
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

static void check_processes(const struct world *w, struct guest *g)
{
    static const char *const names[] = {"Idle", "System", "program.exe"};
    static const uint64_t pids[] = {0, 4, 1234};
    struct list *l = calloc(1, sizeof *l), *threads = calloc(1, sizeof *l);
    guest_processes(g, take_process, l);
    assert_int_equal(l->count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(l->p[i].name, names[i]);
        assert_int_equal(l->p[i].pid, pids[i]);
        assert_int_equal(l->p[i].address, narrow(w, w->process[i]));
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

static void check_modules(const struct world *w, struct guest *g)
{
    struct list *l = calloc(1, sizeof *l);
    guest_modules(g, take_module, l);
    assert_int_equal(l->count, 2);
    assert_string_equal(l->m[0].name, "ntoskrnl.exe");
    assert_string_equal(l->m[1].path, "\\SystemRoot\\system32\\hal.dll");
    assert_int_equal(l->m[1].base, narrow(w, HAL));
    assert_int_equal(l->m[1].bytes, PEIMAGE_BYTES);
    free(l);
    struct symbol s;
    char text[100];
    assert_true(symbols_find(guest_symbols(g), "nt!KeBugCheckEx", &s));
    assert_int_equal(s.address, narrow(w, KERNEL + PEIMAGE_TEXT + 0x100));
    symbols_format(guest_symbols(g), narrow(w, HAL + PEIMAGE_TEXT + 0x23), text,
                   sizeof text);
    assert_string_equal(text, "hal!HalMakeBeep+0x3");
}

static void check(struct world *w, const struct version *v)
{
    struct guest_process p;
    struct guest_thread t;
    char name[64];
    build(w, v);
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
    put_word(w, PCR + v->current, thread_at(0));
    assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
    assert_true(guest_current(g, &p, &t));
    assert_string_equal(p.name, "Idle");
    /* Gone: another system has taken its place. */
    memset(w->ram, 0, RAM_BYTES);
    assert_int_equal(guest_look(g, &w->g), GUEST_UNKNOWN);
    guest_free(g);
}

static void every_version(void **state)
{
    for (unsigned i = 0; i < VERSIONS; i++)
        check(*state, &versions[i]);
}

/* The exports' page is not in memory: the debugger's block leads on. */
static void debugger_block_without_exports(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < VERSIONS; i++) {
        build(w, &versions[i]);
        uint64_t block = KERNEL + PEIMAGE_DATA + 0x100;
        put(w, KERNEL + PEIMAGE_DATA + 0x20, "\0\0\0\0\0\0\0\0", 8);
        put(w, block + 0x10, "KDBG", 4);
        put_word(w, block + 0x18, KERNEL);
        put_word(w, block + 0x48, KERNEL + PEIMAGE_DATA + 0x30);
        put_word(w, block + 0x50, KERNEL + PEIMAGE_DATA + 0x40);
        struct guest *g = guest_new();
        assert_int_equal(guest_look(g, &w->g), GUEST_WINDOWS);
        check_processes(w, g);
        check_modules(w, g);
        guest_free(g);
    }
}

static void look_at_all(struct world *w)
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
    struct world *w = *state;
    uint32_t random = 99;
    for (unsigned i = 0; i < 400; i++) {
        build(w, &versions[i % VERSIONS]);
        for (unsigned k = 0; k < 1 + i / 20; k++) {
            random = random * 1664525 + 1013904223;
            uint64_t at = (random >> 8) % (w->next - 8);
            uint64_t other = random % (w->next - 8);
            memcpy(w->ram + at, w->ram + other, 8); /* pointers among them */
        }
        look_at_all(w);
    }
    for (unsigned i = 0; i < VERSIONS; i++) { /* rho-shaped */
        const struct version *v = &versions[i];
        build(w, v);
        put_word(w, w->process[2] + v->links, w->process[2] + v->links);
        put_word(w, w->process[2] + v->threads,
                 thread_at(4) + v->thread_links);
        put_word(w, thread_at(4) + v->thread_links,
                 thread_at(4) + v->thread_links);
        put_word(w, OBJECTS + 0x11000, OBJECTS + 0x11000);
        look_at_all(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_version),
        cmocka_unit_test(debugger_block_without_exports),
        cmocka_unit_test(damage_ends_every_walk),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
