/* ELF cores: notes, then a segment for each run of pages that is mapped. */
#include "analysis/export.h"
#include "analysis/export_internal.h"
#include "analysis/guest_memory.h"

#include "base/bytes.h"
#include "base/stream.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"
#include "replay/mappings.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum {
    CORE_SEGMENTS = 60000, /* e_phnum has 16 bits */
    CORE_ALIGN = 4096,
    INFO_BYTES_MAX = 16384 /* of VMCOREINFO: 4096 in kernels so far */
};

struct core {
    struct machine *m;
    bool is_64;
    uint64_t ram_end;
    struct mapping *runs; /* owned */
    unsigned count;
};

/* A mapping_fn: keep what lies in RAM. */
static bool add_run(void *context, const struct mapping *run)
{
    struct core *core = context;
    struct mapping r = *run;
    if (r.paddr >= core->ram_end)
        return true;
    if (r.bytes > core->ram_end - r.paddr)
        r.bytes = core->ram_end - r.paddr;
    const struct mapping *last = core->runs + core->count - 1;
    if (core->count && last->paddr == r.paddr && last->bytes == r.bytes)
        return true; /* one more name of a page: Linux has 65536 for one */
    core->runs[core->count++] = r;
    return core->count < CORE_SEGMENTS;
}

/* Registers by gdb's names, in the order of Linux's struct user_regs_struct;
 * "" is a word of zeros. */
static const char *const prstatus_64[] = {
    "r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11", "r10", "r9",
    "r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "",    "rip", "cs",
    "eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",  "fs",  "gs"};
static const char *const prstatus_32[] = {
    "ebx", "ecx", "edx", "esi", "edi", "ebp",    "eax", "ds", "es",
    "fs",  "gs",  "",    "eip", "cs",  "eflags", "esp", "ss"};

static void put_register(struct core *core, const char *name, unsigned bytes,
                         struct writer *w)
{
    enum gdb_arch arch = core->is_64 ? GDB_X86_64 : GDB_I386;
    uint8_t value[GDB_REGISTER_BYTES] = {0};
    for (unsigned n = 0; n < gdb_register_count(arch); n++)
        if (strcmp(gdb_register_name(arch, n), name) == 0)
            gdb_register_get(core->m, arch, n, value);
    writer_bytes(w, value, bytes);
}

static void put_zeros(struct writer *w, unsigned count)
{
    while (count--)
        writer_u8(w, 0);
}

/* ---- notes
 * ------------------------------------------------------------------- */

/* NT_PRSTATUS: struct elf_prstatus of Linux. */
static void put_prstatus(struct core *core, struct writer *w)
{
    unsigned word = core->is_64 ? 8 : 4;
    unsigned head = core->is_64 ? 112 : 72; /* in front of the registers */
    unsigned pid = core->is_64 ? 32 : 24;   /* where pr_pid stands */
    unsigned count = core->is_64 ? sizeof prstatus_64 / sizeof *prstatus_64
                                 : sizeof prstatus_32 / sizeof *prstatus_32;
    const char *const *names = core->is_64 ? prstatus_64 : prstatus_32;
    writer_u32(w, 5);
    writer_u32(w, head + count * word + word);
    writer_u32(w, NT_PRSTATUS);
    writer_bytes(w, "CORE\0\0\0", 8);
    put_zeros(w, pid);
    writer_u32(w, 1);
    put_zeros(w, head - pid - 4);
    for (unsigned i = 0; i < count; i++)
        put_register(core, names[i], word, w);
    put_zeros(w, word); /* pr_fpvalid, padded */
}

/* What the kernel says of its own layout for whoever reads a dump of it
 * (Documentation/admin-guide/kdump/vmcoreinfo.rst): text in a note that it has
 * ready in memory. */
static void put_vmcoreinfo(struct core *core, struct writer *w)
{
    /* The end of the note's head: type 0, then the name. */
    static const char mark[] = "\0\0\0\0VMCOREINFO";
    static const char start[] = "OSRELEASE=";
    struct guest_memory g;
    guest_memory_of(&g, core->m);
    uint64_t at = 8;
    while ((at = guest_search_physical(&g, at, core->ram_end, mark,
                                       sizeof mark)) != UINT64_MAX) {
        uint8_t head[8], text[INFO_BYTES_MAX];
        size_t bytes = 0;
        if (guest_read_physical(&g, at - 8, head, 8) == 8 &&
            load_le32(head) == sizeof mark - 4)
            bytes = load_le32(head + 4);
        at += sizeof mark;
        if (bytes < sizeof start || bytes > sizeof text ||
            guest_read_physical(&g, at + 1, text, bytes) != bytes ||
            memcmp(text, start, sizeof start - 1) != 0)
            continue;
        writer_u32(w, sizeof mark - 4);
        writer_u32(w, (uint32_t)bytes);
        writer_u32(w, 0);
        writer_bytes(w, mark + 4, sizeof mark - 4);
        put_zeros(w, 1);
        writer_bytes(w, text, bytes);
        put_zeros(w, (unsigned)(-bytes & 3));
        return;
    }
}

static void put_qemu_segment(const struct segment *s, struct writer *w)
{
    writer_u32(w, s->selector);
    writer_u32(w, s->limit);
    writer_u32(w, (s->attr & 0xf0ffu) << 8); /* as in the descriptor */
    writer_u32(w, 0);
    writer_u64(w, s->base);
}

/* The system registers, which prstatus lacks, in the note that QEMU's dumps
 * have and crash(8) knows. */
static void put_qemu_note(struct core *core, struct writer *w)
{
    static const uint8_t order[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI,
                                    REG_RDI, REG_RSP, REG_RBP, 8,       9,
                                    10,      11,      12,      13,      14,
                                    15,      REG_RIP};
    static const enum seg segments[] = {SEG_CS, SEG_DS, SEG_ES,
                                        SEG_FS, SEG_GS, SEG_SS};
    enum { BYTES = 440 };
    const struct cpu *c = machine_cpu(core->m);
    const struct segment gdt = {c->gdtr.base, c->gdtr.limit, 0, 0};
    const struct segment idt = {c->idtr.base, c->idtr.limit, 0, 0};
    const uint64_t control[5] = {c->cr0, 0, c->cr2, c->cr3, c->cr4};
    writer_u32(w, 5);
    writer_u32(w, BYTES);
    writer_u32(w, 0);
    writer_bytes(w, "QEMU\0\0\0", 8);
    writer_u32(w, 1);
    writer_u32(w, BYTES);
    for (unsigned i = 0; i < sizeof order; i++)
        writer_u64(w, c->r[order[i]]);
    writer_u64(w, cpu_rflags(c));
    for (unsigned i = 0; i < sizeof segments / sizeof *segments; i++)
        put_qemu_segment(&c->seg[segments[i]], w);
    put_qemu_segment(&c->ldtr, w);
    put_qemu_segment(&c->tr, w);
    put_qemu_segment(&gdt, w);
    put_qemu_segment(&idt, w);
    for (unsigned i = 0; i < 5; i++)
        writer_u64(w, control[i]);
    writer_u64(w, c->kernel_gs_base);
}

/* ---- headers
 * ----------------------------------------------------------------- */

static void put_header(const struct core *core, struct writer *w)
{
    static const uint8_t ident[8] = {0};
    unsigned word = core->is_64 ? 8 : 4;
    writer_bytes(w, ELFMAG, SELFMAG);
    writer_u8(w, core->is_64 ? ELFCLASS64 : ELFCLASS32);
    writer_u8(w, ELFDATA2LSB);
    writer_u8(w, EV_CURRENT);
    writer_u8(w, ELFOSABI_NONE);
    writer_bytes(w, ident, sizeof ident);
    writer_u16(w, ET_CORE);
    writer_u16(w, core->is_64 ? EM_X86_64 : EM_386);
    writer_u32(w, EV_CURRENT);
    put_zeros(w, word); /* entry */
    writer_u32(w, core->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr));
    put_zeros(w, word - 4);
    put_zeros(w, word); /* section headers */
    writer_u32(w, 0);   /* flags */
    writer_u16(w, core->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr));
    writer_u16(w, core->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr));
    writer_u16(w, (uint16_t)(core->count + 1));
    put_zeros(w, 6);
}

static void put_segment(const struct core *core, uint32_t type, uint64_t offset,
                        const struct mapping *run, struct writer *w)
{
    uint32_t flags =
        PF_R | (run->is_writable ? PF_W : 0) | (run->is_executable ? PF_X : 0);
    if (core->is_64) {
        writer_u32(w, type);
        writer_u32(w, flags);
        writer_u64(w, offset);
        writer_u64(w, run->vaddr);
        writer_u64(w, run->paddr);
        writer_u64(w, run->bytes);
        writer_u64(w, run->bytes);
        writer_u64(w, 0);
        return;
    }
    writer_u32(w, type);
    writer_u32(w, (uint32_t)offset);
    writer_u32(w, (uint32_t)run->vaddr);
    writer_u32(w, (uint32_t)run->paddr);
    writer_u32(w, (uint32_t)run->bytes);
    writer_u32(w, (uint32_t)run->bytes);
    writer_u32(w, flags);
    writer_u32(w, 0);
}

/* Headers and notes; RAM follows at *ram_offset. */
static void put_core(struct core *core, struct writer *w, uint64_t *ram_offset)
{
    struct writer note;
    unsigned ehdr = core->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    unsigned phdr = core->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint64_t note_at = ehdr + (uint64_t)(core->count + 1) * phdr;
    writer_init(&note);
    put_prstatus(core, &note);
    put_qemu_note(core, &note);
    put_vmcoreinfo(core, &note);
    *ram_offset =
        (note_at + note.used + CORE_ALIGN - 1) & -(uint64_t)CORE_ALIGN;
    put_header(core, w);
    struct mapping n = {.bytes = note.used};
    put_segment(core, PT_NOTE, note_at, &n, w);
    for (unsigned i = 0; i < core->count; i++)
        put_segment(core, PT_LOAD, *ram_offset + core->runs[i].paddr,
                    &core->runs[i], w);
    writer_bytes(w, note.data, note.used);
    w->failed |= note.failed;
    writer_fini(&note);
}

bool export_elf_core(struct machine *m, const char *path, struct error *err)
{
    struct core core = {.m = m,
                        .is_64 = gdb_target_of(m) == GDB_X86_64,
                        .ram_end = export_ram_end(m)};
    struct writer w;
    uint64_t ram_offset;
    core.runs = calloc(CORE_SEGMENTS, sizeof *core.runs);
    if (!core.runs)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    mappings_each(m, add_run, &core);
    writer_init(&w);
    put_core(&core, &w, &ram_offset);
    FILE *f = fopen(path, "wb");
    bool ok = f && !w.failed;
    if (f) {
        ok = ok && fwrite(w.data, 1, w.used, f) == w.used &&
             export_ram(m, f, ram_offset, core.ram_end);
        ok = export_finish(f, ok, path, err);
    } else {
        export_write_error(path, err);
    }
    writer_fini(&w);
    free(core.runs);
    return ok;
}
