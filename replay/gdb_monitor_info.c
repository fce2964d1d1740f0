/* What `monitor info`, `disas` and `xp` print. */
#include "base/bytes.h"
#include "board/machine.h"
#include "cpu/cpu.h"
#include "dev/pic.h"
#include "mem/phys.h"
#include "replay/gdb_monitor.h"

#include <Zydis/Zydis.h>

#include <string.h>

typedef unsigned long long ull;

/* ---- registers
 * ------------------------------------------------------------------ */

static void print_segment(const char *name, const struct segment *s,
                          struct writer *out)
{
    gdb_print(out, "%-5s%04x base %016llx limit %08x attributes %04x\n", name,
              s->selector, (ull)s->base, s->limit, s->attr);
}

void gdb_info_registers(struct machine *m, struct writer *out)
{
    static const char *const names[] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const segments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const struct cpu *c = machine_cpu(m);
    for (unsigned i = 0; i < 16; i++)
        gdb_print(out, "%-4s%016llx%s", names[i], (ull)c->r[i],
                  i % 4 == 3 ? "\n" : " ");
    gdb_print(out, "rip %016llx rflags %08x CPL %u\n", (ull)c->r[REG_RIP],
              cpu_rflags(c), c->cpl);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        print_segment(segments[i], &c->seg[i], out);
    print_segment("ldtr", &c->ldtr, out);
    print_segment("tr", &c->tr, out);
    gdb_print(out, "gdtr base %016llx limit %04x\n", (ull)c->gdtr.base,
              c->gdtr.limit);
    gdb_print(out, "idtr base %016llx limit %04x\n", (ull)c->idtr.base,
              c->idtr.limit);
    gdb_info_paging(m, out);
}

/* ---- paging
 * ------------------------------------------------------------------------ */

/* How the tables are read (SDM vol. 3A ch. 4). */
struct paging {
    const char *name;
    unsigned levels;
    unsigned entry_bytes, index_bits;
    uint64_t root;
};

static struct paging paging_of(const struct cpu *c)
{
    if (!(c->cr0 & CR0_PG))
        return (struct paging){"off", 0, 0, 0, 0};
    if (cpu_is_long(c))
        return (struct paging){"4-level", 4, 8, 9, c->cr3 & 0x000ffffffffff000};
    if (c->cr4 & CR4_PAE)
        return (struct paging){"PAE", 3, 8, 9, c->cr3 & 0xffffffe0};
    return (struct paging){"32-bit", 2, 4, 10, c->cr3 & 0xfffff000};
}

void gdb_info_paging(struct machine *m, struct writer *out)
{
    const struct cpu *c = machine_cpu(m);
    struct paging p = paging_of(c);
    gdb_print(out,
              "cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx\n"
              "paging %s, tables at %llx\n",
              (ull)c->cr0, (ull)c->cr2, (ull)c->cr3, (ull)c->cr4, (ull)c->efer,
              p.name, (ull)p.root);
}

enum {
    ENTRY_P = 1,
    ENTRY_W = 2,
    ENTRY_U = 4,
    ENTRY_PS = 0x80,
    RUN_NX = 8, /* in the rights of a run; as ENTRY_* otherwise */
    LINES_MAX = 2000
};

/* A run of pages with the same rights. */
struct mapping_walk {
    struct machine *m;
    struct writer *out;
    struct paging paging;
    bool has_pse;
    unsigned lines;
    uint64_t vaddr, paddr, bytes; /* of the run; bytes 0: none */
    unsigned rights;
};

static void end_run(struct mapping_walk *w)
{
    if (w->bytes && w->lines++ < LINES_MAX)
        gdb_print(w->out, "%016llx-%016llx -> %010llx %c%c%c\n", (ull)w->vaddr,
                  (ull)(w->vaddr + w->bytes - 1), (ull)w->paddr,
                  w->rights & ENTRY_U ? 'u' : 's',
                  w->rights & ENTRY_W ? 'w' : 'r',
                  w->rights & RUN_NX ? '-' : 'x');
    w->bytes = 0;
}

static void add_page(struct mapping_walk *w, uint64_t vaddr, uint64_t paddr,
                     uint64_t bytes, unsigned rights)
{
    if (w->bytes && w->vaddr + w->bytes == vaddr &&
        w->paddr + w->bytes == paddr && w->rights == rights) {
        w->bytes += bytes;
        return;
    }
    end_run(w);
    w->vaddr = vaddr;
    w->paddr = paddr;
    w->bytes = bytes;
    w->rights = rights;
}

/* Rights of an entry under those of the levels above. */
static unsigned rights_of(const struct paging *p, unsigned level,
                          uint64_t entry, unsigned above)
{
    if (p->levels == 3 && level == 3)
        return above; /* PDPTEs of PAE have none */
    unsigned rights = above & (unsigned)entry & (ENTRY_W | ENTRY_U);
    bool is_nx = (above & RUN_NX) || entry >> 63;
    return rights | (is_nx ? RUN_NX : 0);
}

static unsigned shift_of(const struct paging *p, unsigned level)
{
    return 12 + p->index_bits * (level - 1);
}

static void walk_table(struct mapping_walk *w, unsigned level, uint64_t table,
                       uint64_t vaddr, unsigned above);

static void walk_entry(struct mapping_walk *w, unsigned level, uint64_t entry,
                       uint64_t vaddr, unsigned above)
{
    unsigned shift = shift_of(&w->paging, level);
    unsigned rights = rights_of(&w->paging, level, entry, above);
    bool is_large = level > 1 && (entry & ENTRY_PS) && w->has_pse &&
                    !(level == 3 && w->paging.levels == 3);
    uint64_t address =
        entry & (w->paging.entry_bytes == 4 ? UINT64_C(0xfffff000)
                                            : UINT64_C(0x000ffffffffff000));
    if (level != 1 && !is_large) {
        walk_table(w, level - 1, address, vaddr, rights);
        return;
    }
    uint64_t bytes = UINT64_C(1) << shift;
    if (is_large && w->paging.entry_bytes == 4) /* PSE-36 */
        address = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
    add_page(w, vaddr, address & ~(bytes - 1), bytes, rights);
}

static void walk_table(struct mapping_walk *w, unsigned level, uint64_t table,
                       uint64_t vaddr, unsigned above)
{
    const struct paging *p = &w->paging;
    unsigned entries = p->levels == 3 && level == 3 ? 4 : 1u << p->index_bits;
    unsigned shift = shift_of(p, level);
    for (unsigned i = 0; i < entries && w->lines < LINES_MAX; i++) {
        uint8_t raw[8] = {0};
        uint64_t at = table + (uint64_t)i * p->entry_bytes;
        if (gdb_memory_read(w->m, true, at, raw, p->entry_bytes) !=
            p->entry_bytes)
            return;
        uint64_t entry = load_le64(raw);
        uint64_t next = vaddr | (uint64_t)i << shift;
        if (p->levels == 4 && level == 4 && i >= entries / 2)
            next |= UINT64_C(0xffff) << 48;
        if (entry & ENTRY_P)
            walk_entry(w, level, entry, next, above);
    }
}

void gdb_info_mappings(struct machine *m, struct writer *out)
{
    const struct cpu *c = machine_cpu(m);
    struct mapping_walk w = {.m = m,
                             .out = out,
                             .paging = paging_of(c),
                             .has_pse = (c->cr4 & (CR4_PSE | CR4_PAE)) != 0};
    if (!w.paging.levels) {
        gdb_print(out, "paging is off: linear addresses are physical\n");
        return;
    }
    walk_table(&w, w.paging.levels, w.paging.root, 0, ENTRY_W | ENTRY_U);
    end_run(&w);
    if (w.lines >= LINES_MAX)
        gdb_print(out, "... and more\n");
}

/* ---- interrupts
 * ----------------------------------------------------------------------- */

void gdb_info_interrupts(struct machine *m, struct writer *out)
{
    static const char *const names[] = {"master", "slave "};
    const struct cpu *c = machine_cpu(m);
    for (unsigned i = 0; i < 2; i++) {
        struct pic_view v;
        machine_pic(m, i, &v);
        gdb_print(out,
                  "%s irr %02x imr %02x isr %02x elcr %02x first vector %02x\n",
                  names[i], v.irr, v.imr, v.isr, v.elcr, v.base);
    }
    gdb_print(out, "INTR %s, IF %u, NMI %s, next deadline at tick %llu\n",
              c->intr ? "high" : "low", (c->flags & FLAG_IF) != 0,
              c->nmi_pending ? "pending" : "none",
              (ull)machine_next_deadline(m));
}

/* ---- instructions and bytes
 * ------------------------------------------------------------ */

void gdb_disassemble(struct machine *m, uint64_t address, unsigned count,
                     struct writer *out)
{
    static const ZydisMachineMode modes[] = {
        [MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
        [MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
        [MODE_64] = ZYDIS_MACHINE_MODE_LONG_64};
    const struct cpu *c = machine_cpu(m);
    uint64_t base = c->ea_base[SEG_CS];
    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[15];
        ZydisDisassembledInstruction insn;
        size_t n = gdb_memory_read(m, false, address, bytes, sizeof bytes);
        if (n == 0) {
            gdb_print(out, "%016llx  not mapped\n", (ull)address);
            return;
        }
        bool is_valid = ZYAN_SUCCESS(ZydisDisassembleIntel(
            modes[c->mode], address - base, bytes, n, &insn));
        gdb_print(out, "%s%016llx  %s\n",
                  address == gdb_linear_pc(m) ? "=> " : "   ", (ull)address,
                  is_valid ? insn.text : "(bad)");
        address =
            (address + (is_valid ? insn.info.length : 1)) & c->linear_mask;
    }
}

void gdb_dump_physical(struct machine *m, uint64_t address, unsigned bytes,
                       struct writer *out)
{
    for (unsigned at = 0; at < bytes; at += 16) {
        uint8_t line[16];
        size_t want = bytes - at < 16 ? bytes - at : 16;
        size_t n = gdb_memory_read(m, true, address + at, line, want);
        gdb_print(out, "%010llx ", (ull)(address + at));
        for (size_t i = 0; i < n; i++)
            gdb_print(out, " %02x", line[i]);
        gdb_print(out, n < want ? " no memory\n" : "\n");
        if (n < want)
            return;
    }
}
