#include "analysis/tables.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "replay/gdb_monitor.h"
#include "replay/gdb_target.h"

#include <string.h>

enum { PRINT_VECTORS = 32, PRINT_DESCRIPTORS = 16 };

static bool read_table(struct machine *m, const struct table_register *t,
                       unsigned at, void *out, unsigned bytes)
{
    return at + bytes - 1 <= t->limit &&
           gdb_memory_read(m, false, t->base + at, out, bytes) == bytes;
}

/* ---- the IDT
 * ------------------------------------------------------------------ */

bool tables_gate(struct machine *m, unsigned vector, struct gate *out)
{
    const struct cpu *c = machine_cpu(m);
    uint8_t g[16] = {0};
    unsigned bytes = cpu_is_long(c) ? 16 : 8;
    if (!read_table(m, &c->idtr, vector * bytes, g, bytes))
        return false;
    *out = (struct gate){
        .offset = load_le16(g) | (uint64_t)load_le16(g + 6) << 16 |
                  (uint64_t)load_le32(g + 8) << 32,
        .selector = load_le16(g + 2),
        .type = g[5] & 0x1f,
        .dpl = g[5] >> 5 & 3,
        .ist = bytes == 16 ? g[4] & 7 : 0,
        .is_present = g[5] >> 7,
    };
    return true;
}

const char *gate_type_name(const struct gate *g)
{
    switch (g->type) {
    case 0x5:
        return "task gate";
    case 0x6:
        return "16-bit interrupt gate";
    case 0x7:
        return "16-bit trap gate";
    case 0xe:
        return "interrupt gate";
    case 0xf:
        return "trap gate";
    default:
        return "not a gate";
    }
}

/* ---- the GDT
 * ------------------------------------------------------------------ */

bool tables_descriptor(struct machine *m, uint16_t selector,
                       struct descriptor *out)
{
    const struct cpu *c = machine_cpu(m);
    uint8_t d[16] = {0};
    if (!read_table(m, &c->gdtr, selector & 0xfff8u, d, 8))
        return false;
    *out = (struct descriptor){
        .base = load_le16(d + 2) | (uint64_t)d[4] << 16 | (uint64_t)d[7] << 24,
        .limit = load_le16(d) | (d[6] & 0xfu) << 16,
        .type = d[5] & 0xf,
        .dpl = d[5] >> 5 & 3,
        .is_system = !(d[5] & 0x10),
        .is_present = d[5] >> 7,
        .is_long = (d[6] & 0x20) != 0,
        .is_big = (d[6] & 0x40) != 0,
        .bytes = 8,
    };
    if (d[6] & 0x80)
        out->limit = out->limit << 12 | 0xfff;
    /* System descriptors of long mode take two entries. */
    if (cpu_is_long(c) && out->is_system && out->type != 0) {
        out->bytes = 16;
        if (!read_table(m, &c->gdtr, selector & 0xfff8u, d, 16))
            return false;
        out->base |= (uint64_t)load_le32(d + 8) << 32;
    }
    return true;
}

const char *descriptor_type_name(const struct descriptor *d)
{
    static const char *const system[16] = {"reserved",
                                           "16-bit TSS",
                                           "LDT",
                                           "busy 16-bit TSS",
                                           "16-bit call gate",
                                           "task gate",
                                           "16-bit interrupt gate",
                                           "16-bit trap gate",
                                           "reserved",
                                           "TSS",
                                           "reserved",
                                           "busy TSS",
                                           "call gate",
                                           "reserved",
                                           "interrupt gate",
                                           "trap gate"};
    if (d->is_system)
        return system[d->type];
    if (!(d->type & 8))
        return d->type & 2 ? "data, writable" : "data, read only";
    if (d->is_long)
        return "64-bit code";
    return d->is_big ? "32-bit code" : "16-bit code";
}

/* ---- text
 * --------------------------------------------------------------------- */

static void print_real(struct machine *m, struct writer *w)
{
    const struct cpu *c = machine_cpu(m);
    for (unsigned v = 0; v < 8; v++) {
        uint8_t entry[4];
        if (!read_table(m, &c->idtr, v * 4, entry, 4))
            gdb_print(w, "  %02x  behind the limit\n", v);
        else
            gdb_print(w, "  %02x  %04x:%04x\n", v, load_le16(entry + 2),
                      load_le16(entry));
    }
}

static void print_gates(struct machine *m, struct writer *w)
{
    struct gate g;
    for (unsigned v = 0; v < PRINT_VECTORS; v++) {
        if (!tables_gate(m, v, &g)) {
            gdb_print(w, "  %02x  behind the limit, or not mapped\n", v);
            break;
        }
        if (!g.is_present && g.offset == 0 && g.selector == 0)
            continue;
        gdb_print(w, "  %02x  %04x:%016llx %s%s, dpl %u", v, g.selector,
                  (unsigned long long)g.offset,
                  g.is_present ? "" : "not present, ", gate_type_name(&g),
                  g.dpl);
        if (g.ist)
            gdb_print(w, ", stack %u", g.ist);
        gdb_print(w, "\n");
    }
}

static void print_descriptors(struct machine *m, struct writer *w)
{
    struct descriptor d;
    for (unsigned s = 8; s < PRINT_DESCRIPTORS * 8; s += d.bytes) {
        if (!tables_descriptor(m, (uint16_t)s, &d)) {
            gdb_print(w, "  %04x  behind the limit, or not mapped\n", s);
            break;
        }
        if (!d.is_present && d.base == 0 && d.type == 0)
            continue;
        gdb_print(w, "  %04x  base %016llx limit %08x %s%s, dpl %u\n", s,
                  (unsigned long long)d.base, d.limit,
                  d.is_present ? "" : "not present, ", descriptor_type_name(&d),
                  d.dpl);
    }
}

void tables_print(struct machine *m, struct writer *w)
{
    const struct cpu *c = machine_cpu(m);
    gdb_print(w, "IDT at %016llx, limit %04x\n",
              (unsigned long long)c->idtr.base, c->idtr.limit);
    if (cpu_is_real(c)) {
        print_real(m, w);
        return;
    }
    print_gates(m, w);
    gdb_print(w, "GDT at %016llx, limit %04x\n",
              (unsigned long long)c->gdtr.base, c->gdtr.limit);
    print_descriptors(m, w);
}
