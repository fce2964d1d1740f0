#include "lib_fuzz_windows.h"

#include "base/bytes.h"
#include "lib_fuzz_pe.h"

#include <stdlib.h>
#include <string.h>

#define GDT   UINT64_C(0xfffff80082e00000)
#define NTDLL UINT64_C(0x0000000077000000)
#define PEB   UINT64_C(0x000000007ffd0000)

const struct winimage_version winimage_versions[WINIMAGE_VERSIONS] = {
    {false, false, 0x1c, 0x20, 0x120, 0x124, 0x12c, 0x50, 0x18, 0xb4, 0xb8,
     0x140, 0x16c, 0x188, 0x1a8, 0x22c, 0x268},
    {false, true, 0x1c, 0x20, 0x120, 0x124, 0x12c, 0x50, 0x18, 0xb4, 0xb8,
     0x140, 0x16c, 0x188, 0x1a8, 0x22c, 0x268},
    {true, false, 0x18, 0x20, 0x180, 0x188, 0x198, 0x70, 0x28, 0x180, 0x188,
     0x290, 0x2e0, 0x308, 0x338, 0x3b0, 0x420},
    {true, true, 0x18, 0x20, 0x180, 0x188, 0x198, 0x70, 0x28, 0x180, 0x188,
     0x290, 0x2e0, 0x308, 0x338, 0x3b8, 0x428},
};

/* A guest_memory.page. */
static const uint8_t *page(void *context, uint64_t paddr, bool touched)
{
    const struct winimage *w = context;
    (void)touched;
    return paddr < WINIMAGE_BYTES ? w->ram + paddr : NULL;
}

/* ---- building
 * ------------------------------------------------------------------------- */

static uint64_t new_page(struct winimage *w)
{
    uint64_t at = w->next;
    w->next += 4096;
    if (w->next > WINIMAGE_BYTES)
        abort();
    return at;
}

uint64_t winimage_narrow(const struct winimage *w, uint64_t vaddr)
{
    return w->v->is_64 ? vaddr : (uint32_t)vaddr;
}

/* The page of an address, mapped when it is not; PAE or 4-level tables. */
static uint64_t map(struct winimage *w, uint64_t vaddr)
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

void winimage_put(struct winimage *w, uint64_t vaddr, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w->ram[map(w, winimage_narrow(w, vaddr + i)) + ((vaddr + i) & 0xfff)] =
            ((const uint8_t *)bytes)[i];
}

static unsigned word_bytes(const struct winimage *w)
{
    return w->v->is_64 ? 8 : 4;
}

void winimage_put_word(struct winimage *w, uint64_t vaddr, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    winimage_put(w, vaddr, bytes, word_bytes(w));
}

static void put_u32(struct winimage *w, uint64_t vaddr, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    winimage_put(w, vaddr, bytes, 4);
}

/* A ring through a head and entries. */
static void put_ring(struct winimage *w, uint64_t head, const uint64_t *entries,
                     unsigned count)
{
    uint64_t last = head;
    for (unsigned i = 0; i <= count; i++) {
        uint64_t at = i < count ? entries[i] : head;
        winimage_put_word(w, last, at);
        winimage_put_word(w, at + word_bytes(w), last);
        last = at;
    }
}

static void put_unicode(struct winimage *w, uint64_t at, uint64_t text,
                        const char *s)
{
    uint16_t n = (uint16_t)(2 * strlen(s));
    put_u32(w, at, (uint32_t)n | (uint32_t)(n + 2) << 16);
    winimage_put_word(w, at + word_bytes(w), text);
    for (; *s; s++, text += 2)
        winimage_put(w, text, (const uint8_t[]){(uint8_t)*s, 0}, 2);
}

/* An LDR_DATA_TABLE_ENTRY; returns it. */
static uint64_t put_module(struct winimage *w, uint64_t entry, uint64_t base,
                           const char *name, const char *path)
{
    bool is_64 = w->v->is_64;
    winimage_put_word(w, entry + (is_64 ? 0x30 : 0x18), base);
    put_u32(w, entry + (is_64 ? 0x40 : 0x20), PEIMAGE_BYTES);
    put_unicode(w, entry + (is_64 ? 0x48 : 0x24), entry + 0x100, path);
    put_unicode(w, entry + (is_64 ? 0x58 : 0x2c), entry + 0x200, name);
    return entry;
}

static void put_image(struct winimage *w, uint64_t base, const char *name,
                      const struct peimage_export *exports, unsigned count)
{
    uint8_t image[PEIMAGE_BYTES];
    peimage_make(image, w->v->is_64, name, exports, count);
    winimage_put(w, base, image, sizeof image);
}

static void put_process(struct winimage *w, unsigned index, uint64_t pid,
                        uint64_t parent, const char *name)
{
    const struct winimage_version *v = w->v;
    uint64_t at = w->process[index];
    winimage_put_word(w, at + v->pid, pid);
    winimage_put_word(w, at + v->parent, parent);
    winimage_put_word(w, at + v->root, w->g.cpu.cr3);
    winimage_put(w, at + v->name, name, strlen(name) + 1);
}

uint64_t winimage_thread(unsigned n)
{
    return WINIMAGE_OBJECTS + 0x8000 + n * 0x1000;
}

/* Two threads of a process. */
static void put_threads(struct winimage *w, unsigned index, uint64_t pid)
{
    const struct winimage_version *v = w->v;
    uint64_t entries[2];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t t = winimage_thread(2 * index + i);
        winimage_put_word(w, t + v->cid, pid);
        winimage_put_word(w, t + v->cid + word_bytes(w), pid * 100 + i);
        winimage_put_word(w, t + v->apc_process, w->process[index]);
        entries[i] = t + v->thread_links;
    }
    put_ring(w, w->process[index] + v->threads, entries, 2);
}

static void put_kernel(struct winimage *w)
{
    static const struct peimage_export nt[] = {
        {"KeBugCheckEx", PEIMAGE_TEXT + 0x100},
        {"NtBuildNumber", PEIMAGE_DATA + 0x10},
        {"PsInitialSystemProcess", PEIMAGE_DATA + 0x20},
        {"PsLoadedModuleList", PEIMAGE_DATA + 0x30},
    };
    static const struct peimage_export hal[] = {
        {"HalMakeBeep", PEIMAGE_TEXT + 0x20}};
    put_image(w, WINIMAGE_KERNEL, "ntoskrnl.exe", nt, 4);
    put_image(w, WINIMAGE_HAL, "hal.dll", hal, 1);
    put_u32(w, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x10,
            0xf0000000 | (w->v->is_sp1 ? 7601 : 7600));
    winimage_put_word(w, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x20, w->process[1]);
    const uint64_t modules[] = {
        put_module(w, WINIMAGE_OBJECTS + 0x10000, WINIMAGE_KERNEL, "ntoskrnl.exe",
                   "\\SystemRoot\\system32\\ntoskrnl.exe"),
        put_module(w, WINIMAGE_OBJECTS + 0x11000, WINIMAGE_HAL, "hal.dll",
                   "\\SystemRoot\\system32\\hal.dll")};
    put_ring(w, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x30, modules, 2);
}

/* ntdll in the program: NtCreateFile and NtClose, and one that is no call. */
static void put_ntdll(struct winimage *w)
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
        winimage_put(w, NTDLL + PEIMAGE_TEXT + 0x10 + 0x10 * i,
            is_64 ? stubs_64[i] : stubs_32[i], 8);
    uint64_t ldr = PEB + 0x400;
    winimage_put_word(w, PEB + (is_64 ? 0x18 : 0xc), ldr);
    const uint64_t entries[] = {
        put_module(w, PEB + 0x1000, 0x400000, "program.exe", "C:\\program.exe"),
        put_module(w, PEB + 0x2000, NTDLL, "ntdll.dll", "C:\\ntdll.dll")};
    put_ring(w, ldr + (is_64 ? 0x10 : 0xc), entries, 2);
}

static void put_pcr(struct winimage *w)
{
    const struct winimage_version *v = w->v;
    winimage_put_word(w, WINIMAGE_PCR + v->self, WINIMAGE_PCR);
    winimage_put_word(w, WINIMAGE_PCR + v->prcb, WINIMAGE_PCR + v->prcb_data);
    winimage_put_word(w, WINIMAGE_PCR + v->current, winimage_thread(5)); /* the program's second */
    winimage_put_word(w, WINIMAGE_PCR + v->idle, winimage_thread(0));
    /* The descriptor of the kernel's FS. */
    uint32_t base = (uint32_t)WINIMAGE_PCR;
    const uint8_t d[8] = {0xff, 0xff, (uint8_t)base, (uint8_t)(base >> 8),
                          (uint8_t)(base >> 16), 0x93, 0x40,
                          (uint8_t)(base >> 24)};
    winimage_put(w, GDT + 0x30, d, sizeof d);
}

void winimage_make(struct winimage *w, const struct winimage_version *v)
{
    memset(w, 0, sizeof *w);
    w->next = 0x2000;
    w->v = v;
    w->g = (struct guest_memory){
        .page = page,
        .context = w,
        .ram_end = WINIMAGE_BYTES,
        .mode = v->is_64 ? PAGING_LONG : PAGING_PAE,
        .cpu = {.cr3 = 0x1000, .cpl = 3, .is_long = v->is_64}};
    w->g.cpu.kernel_gs_base = WINIMAGE_PCR; /* in user mode */
    w->g.cpu.gdt_base = winimage_narrow(w, GDT);
    w->g.cpu.syscall_entry = winimage_narrow(w, WINIMAGE_KERNEL + PEIMAGE_TEXT + 0x80);
    for (unsigned i = 0; i < 3; i++)
        w->process[i] = WINIMAGE_OBJECTS + i * 0x1000;
    put_process(w, 0, 0, 0, "");
    put_process(w, 1, 4, 0, "System");
    put_process(w, 2, 1234, 4, "program.exe");
    winimage_put_word(w, w->process[2] + v->peb, PEB);
    for (unsigned i = 0; i < 3; i++)
        put_threads(w, i, (const uint64_t[]){0, 4, 1234}[i]);
    put_kernel(w);
    const uint64_t links[] = {w->process[1] + v->links,
                              w->process[2] + v->links};
    put_ring(w, WINIMAGE_KERNEL + PEIMAGE_DATA + 0x40, links, 2);
    put_ntdll(w);
    put_pcr(w);
}
