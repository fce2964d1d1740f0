/* What `monitor info`, `disas` and `xp` print. */
#include "board/machine.h"
#include "cpu/cpu.h"
#include "dev/pic.h"
#include "replay/gdb_monitor.h"
#include "replay/mappings.h"

#include <Zydis/Zydis.h>

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

void gdb_info_paging(struct machine *m, struct writer *out)
{
    const struct cpu *c = machine_cpu(m);
    uint64_t root;
    const char *name = mappings_mode(m, &root);
    gdb_print(out,
              "cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx\n"
              "paging %s, tables at %llx\n",
              (ull)c->cr0, (ull)c->cr2, (ull)c->cr3, (ull)c->cr4, (ull)c->efer,
              name, (ull)root);
}

enum { LINES_MAX = 2000 };
struct mapping_lines {
    struct writer *out;
    unsigned lines;
    struct mapping last;
    unsigned names; /* further ones of the same page */
};

static void end_names(struct mapping_lines *l)
{
    if (l->names)
        gdb_print(l->out, "    and %u more names of that page\n", l->names);
    l->names = 0;
}

/* A mapping_fn. */
static bool print_mapping(void *context, const struct mapping *r)
{
    struct mapping_lines *l = context;
    if (l->lines && r->paddr == l->last.paddr && r->bytes == l->last.bytes) {
        l->names++;
        return true;
    }
    end_names(l);
    l->last = *r;
    gdb_print(l->out, "%016llx-%016llx -> %010llx %c%c%c\n", (ull)r->vaddr,
              (ull)(r->vaddr + r->bytes - 1), (ull)r->paddr,
              r->is_user ? 'u' : 's', r->is_writable ? 'w' : 'r',
              r->is_executable ? 'x' : '-');
    if (++l->lines < LINES_MAX)
        return true;
    gdb_print(l->out, "... and more\n");
    return false;
}

void gdb_info_mappings(struct machine *m, struct writer *out)
{
    struct mapping_lines l = {.out = out};
    mappings_each(m, print_mapping, &l);
    end_names(&l);
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
