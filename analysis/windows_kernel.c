#include "analysis/windows_kernel.h"

#include "analysis/tables.h"
#include "base/bytes.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <stdio.h>
#include <string.h>

/* KDDEBUGGER_DATA64 (wdbgexts.h): the same in 32-bit kernels, which extend the
 * sign of their pointers. */
enum {
    KDBG_TAG_AT = 0x10,
    KDBG_SIZE_AT = 0x14,
    KDBG_BASE = 0x18,
    KDBG_MODULES = 0x48,
    KDBG_PROCESSES = 0x50,
    KDBG_BUGCHECK = 0x88,
    KDBG_PFN_DATABASE = 0xc0,
    KDBG_MEMORY_BLOCK = 0x270,
    KDBG_CONTEXT_OFFSET = 0x2bc,  /* OffsetPrcbProcStateContext, 16 bits */
    KDBG_CONTEXT_POINTER = 0x338, /* OffsetPrcbContext, from Windows 7 on */
    KDBG_BYTES_MIN = 0x278,       /* up to MmPhysicalMemoryBlock: Windows XP */
    KDBG_BYTES_MAX = 0x1000
};

/* KPCR and KPRCB. */
static const struct {
    unsigned self, prcb, version_block;
    unsigned context; /* ProcessorState.ContextFrame in the PRCB */
} layout[2] = {
    {.self = 0x1c, .prcb = 0x20, .version_block = 0x34, .context = 0x18},
    {.self = 0x18, .prcb = 0x20, .version_block = 0x108, .context = 0x120},
};

enum {
    MODULES_MAX = 4096,
    SELECTOR_PCR = 0x30, /* FS of the 32-bit kernel */
    VERSION_LIST = 0x20  /* DBGKD_GET_VERSION64.DebuggerDataList */
};

/* ---- reading
 * ------------------------------------------------------------------ */

static bool read_machine(void *context, uint64_t address, void *out,
                         size_t bytes)
{
    return gdb_memory_read(context, false, address, out, bytes) == bytes;
}

bool windows_read(const struct windows_kernel *w, uint64_t address, void *out,
                  size_t bytes)
{
    return read_machine(w->machine, address, out, bytes);
}

bool windows_read_word(const struct windows_kernel *w, uint64_t address,
                       uint64_t *value)
{
    uint8_t word[8] = {0};
    if (!windows_read(w, address, word, w->is_64 ? 8 : 4))
        return false;
    *value = load_le64(word);
    return true;
}

/* A pointer of 64 bits as KDDEBUGGER_DATA64 has it. */
static uint64_t load_pointer(const struct windows_kernel *w, const uint8_t *at)
{
    return w->is_64 ? load_le64(at) : load_le32(at);
}

/* ---- the image
 * ---------------------------------------------------------------- */

static bool is_kernel(struct windows_kernel *w, uint64_t inside)
{
    uint64_t at;
    return inside != 0 && pe_find(&w->image, &w->memory, inside) &&
           w->image.is_64 == w->is_64 &&
           pe_export(&w->image, "KeBugCheckEx", &at);
}

static bool find_image(struct windows_kernel *w)
{
    static const uint8_t vectors[] = {14, 13, 0, 3};
    const struct cpu *c = machine_cpu(w->machine);
    struct gate gate;
    for (unsigned i = 0; i < sizeof vectors; i++)
        if (tables_gate(w->machine, vectors[i], &gate) && gate.is_present &&
            is_kernel(w, gate.offset))
            return true;
    return is_kernel(w, w->is_64 ? c->lstar : c->sysenter_eip);
}

/* NtBuildNumber: the build, and the kind of it in the upper half. */
static void read_build(struct windows_kernel *w)
{
    uint64_t at;
    uint8_t number[4];
    if (!pe_export(&w->image, "NtBuildNumber", &at) ||
        !windows_read(w, at, number, sizeof number))
        return;
    w->build = load_le16(number);
    w->is_checked = number[3] == 0xc0;
}

/* ---- the processor block
 * ------------------------------------------------------ */

static bool is_pcr(const struct windows_kernel *w, uint64_t at)
{
    uint64_t self;
    return at != 0 && windows_read_word(w, at + layout[w->is_64].self, &self) &&
           self == at;
}

static void find_pcr(struct windows_kernel *w)
{
    const struct cpu *c = machine_cpu(w->machine);
    uint64_t places[2] = {c->seg[SEG_GS].base, c->kernel_gs_base};
    struct descriptor fs;
    unsigned count = 2;
    if (!w->is_64) {
        count = 1;
        places[0] = tables_descriptor(w->machine, SELECTOR_PCR, &fs)
                        ? fs.base
                        : c->seg[SEG_FS].base;
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t prcb;
        if (!is_pcr(w, places[i]) ||
            !windows_read_word(w, places[i] + layout[w->is_64].prcb, &prcb))
            continue;
        w->pcr = places[i];
        w->prcb = prcb;
        w->context = prcb + layout[w->is_64].context;
        return;
    }
}

/* ---- the debugger's data block
 * ------------------------------------------------ */

/* A later kernel points to the context, an earlier one has it in the PRCB. */
static void find_context(struct windows_kernel *w, uint32_t block_bytes)
{
    uint8_t offset[2];
    uint64_t at = w->debugger_block, context;
    if (block_bytes >= KDBG_CONTEXT_POINTER + 2 &&
        windows_read(w, at + KDBG_CONTEXT_POINTER, offset, 2) &&
        load_le16(offset) != 0 &&
        windows_read_word(w, w->prcb + load_le16(offset), &context) &&
        context != 0)
        w->context = context;
    else if (block_bytes >= KDBG_CONTEXT_OFFSET + 2 &&
             windows_read(w, at + KDBG_CONTEXT_OFFSET, offset, 2) &&
             load_le16(offset) != 0)
        w->context = w->prcb + load_le16(offset);
}

static bool take_debugger_block(struct windows_kernel *w, uint64_t at)
{
    uint8_t b[KDBG_BYTES_MIN];
    if (!windows_read(w, at, b, KDBG_BYTES_MIN) ||
        memcmp(b + KDBG_TAG_AT, "KDBG", 4) != 0)
        return false;
    uint32_t bytes = load_le32(b + KDBG_SIZE_AT);
    if (bytes < KDBG_BYTES_MIN || bytes > KDBG_BYTES_MAX ||
        load_pointer(w, b + KDBG_BASE) != w->image.base)
        return false;
    w->debugger_block = at;
    w->modules = load_pointer(w, b + KDBG_MODULES);
    w->processes = load_pointer(w, b + KDBG_PROCESSES);
    w->bugcheck_data = load_pointer(w, b + KDBG_BUGCHECK);
    if (!windows_read_word(w, load_pointer(w, b + KDBG_PFN_DATABASE),
                           &w->pfn_database))
        w->pfn_database = 0;
    if (!windows_read_word(w, load_pointer(w, b + KDBG_MEMORY_BLOCK),
                           &w->memory_block))
        w->memory_block = 0;
    if (w->prcb)
        find_context(w, bytes);
    return true;
}

/* The processor block leads to a list whose first entry is the block. */
static bool follow_version_block(struct windows_kernel *w)
{
    uint64_t version, list, block;
    return w->pcr &&
           windows_read_word(w, w->pcr + layout[w->is_64].version_block,
                             &version) &&
           version != 0 &&
           windows_read_word(w, version + VERSION_LIST, &list) &&
           windows_read_word(w, list, &block) && take_debugger_block(w, block);
}

/* Else its tag is looked for in the image. */
static void find_debugger_block(struct windows_kernel *w)
{
    uint8_t page[PAGE_BYTES];
    if (follow_version_block(w))
        return;
    for (uint64_t at = 0; at + PAGE_BYTES <= w->image.bytes; at += PAGE_BYTES) {
        if (!windows_read(w, w->image.base + at, page, sizeof page))
            continue;
        for (unsigned i = 0; i < PAGE_BYTES; i += 4)
            if (memcmp(page + i, "KDBG", 4) == 0 &&
                take_debugger_block(w, w->image.base + at + i - KDBG_TAG_AT))
                return;
    }
}

bool windows_kernel_find(struct windows_kernel *w, struct machine *m)
{
    *w = (struct windows_kernel){.machine = m,
                                 .is_64 = cpu_is_long(machine_cpu(m))};
    w->memory = (struct pe_memory){.read = read_machine, .context = m};
    if (cpu_is_real(machine_cpu(m)) || !find_image(w))
        return false;
    read_build(w);
    find_pcr(w);
    find_debugger_block(w);
    return true;
}

/* ---- bugchecks
 * ---------------------------------------------------------------- */

bool windows_bugcheck(const struct windows_kernel *w, struct bugcheck *out)
{
    unsigned word = w->is_64 ? 8 : 4;
    uint64_t code;
    if (!w->bugcheck_data || !windows_read_word(w, w->bugcheck_data, &code) ||
        (uint32_t)code == 0)
        return false;
    *out = (struct bugcheck){.code = (uint32_t)code};
    for (unsigned i = 0; i < 4; i++)
        if (!windows_read_word(w, w->bugcheck_data + (i + 1) * word,
                               &out->parameter[i]))
            return false;
    return true;
}

/* x64: RCX, RDX, R8, R9, then the stack behind the return address and the four
 * words of home space. x86: the stack behind the return address. */
bool windows_bugcheck_arguments(const struct windows_kernel *w,
                                struct bugcheck *out)
{
    const struct cpu *c = machine_cpu(w->machine);
    uint64_t stack = c->r[REG_RSP], code;
    if (w->is_64) {
        *out = (struct bugcheck){(uint32_t)c->r[REG_RCX],
                                 {c->r[REG_RDX], c->r[8], c->r[9], 0}};
        return windows_read_word(w, stack + 0x28, &out->parameter[3]);
    }
    stack = (uint32_t)(stack + c->seg[SEG_SS].base);
    if (!windows_read_word(w, stack + 4, &code))
        return false;
    out->code = (uint32_t)code;
    for (unsigned i = 0; i < 4; i++)
        if (!windows_read_word(w, stack + 8 + 4 * i, &out->parameter[i]))
            return false;
    return true;
}

/* ---- modules and names
 * -------------------------------------------------------- */

/* LDR_DATA_TABLE_ENTRY. */
static bool read_module(const struct windows_kernel *w, uint64_t entry,
                        struct windows_module *out)
{
    uint8_t size[4], text[2 * sizeof out->name], name[2];
    uint64_t buffer;
    *out = (struct windows_module){0};
    if (!windows_read_word(w, entry + (w->is_64 ? 0x30 : 0x18), &out->base) ||
        !windows_read(w, entry + (w->is_64 ? 0x40 : 0x20), size, 4) ||
        !windows_read(w, entry + (w->is_64 ? 0x58 : 0x2c), name, 2) ||
        !windows_read_word(w, entry + (w->is_64 ? 0x60 : 0x30), &buffer))
        return false;
    out->bytes = load_le32(size);
    unsigned n = load_le16(name) / 2u;
    n = n < sizeof out->name - 1 ? n : sizeof out->name - 1;
    if (!windows_read(w, buffer, text, 2 * (size_t)n))
        return true; /* paged out */
    for (unsigned i = 0; i < n; i++) {
        unsigned c = load_le16(text + 2 * i);
        out->name[i] = c >= ' ' && c < 127 ? (char)c : '?';
    }
    return true;
}

void windows_modules_each(const struct windows_kernel *w, windows_module_fn *fn,
                          void *context)
{
    struct windows_module module;
    uint64_t entry;
    if (!w->modules || !windows_read_word(w, w->modules, &entry))
        return;
    for (unsigned n = 0; n < MODULES_MAX && entry != w->modules; n++)
        if (!read_module(w, entry, &module) || !fn(context, &module) ||
            !windows_read_word(w, entry, &entry))
            return;
}

struct owner {
    uint64_t address;
    struct windows_module module;
    bool found;
};

static bool is_owner(void *context, const struct windows_module *m)
{
    struct owner *o = context;
    if (o->address - m->base >= m->bytes)
        return true;
    o->module = *m;
    o->found = true;
    return false;
}

bool windows_symbol(const struct windows_kernel *w, uint64_t address,
                    char *text, size_t text_bytes)
{
    struct owner o = {.address = address};
    struct pe_image image = w->image;
    char name[PE_NAME_MAX];
    uint64_t offset;
    windows_modules_each(w, is_owner, &o);
    if (o.found) {
        if (!pe_open(&image, &w->memory, o.module.base))
            image = (struct pe_image){.base = o.module.base};
    } else if (address - image.base < image.bytes && pe_name(&image, name)) {
        (void)snprintf(o.module.name, sizeof o.module.name, "%.60s", name);
    } else {
        return false;
    }
    if (pe_nearest(&image, address, name, &offset))
        (void)snprintf(text, text_bytes, "%s!%.200s+%#llx", o.module.name, name,
                       (unsigned long long)offset);
    else
        (void)snprintf(text, text_bytes, "%s+%#llx", o.module.name,
                       (unsigned long long)(address - image.base));
    return true;
}
