#include "analysis/export_json.h"

#include "analysis/tables.h"
#include "base/bytes.h"
#include "base/stream.h"
#include "board/probe.h"
#include "cpu/cpu.h"
#include "dev/pic.h"
#include "replay/gdb_target.h"
#include "replay/mappings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MAPPINGS_MAX = 4096 };

json_t *export_json_hex(uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%#llx", (unsigned long long)value);
    return json_string(text);
}

json_t *export_json_registers(struct machine *m)
{
    enum gdb_arch arch = gdb_target_of(m);
    json_t *o = json_object();
    for (unsigned n = 0; n < gdb_register_count(arch); n++) {
        uint8_t value[GDB_REGISTER_BYTES];
        char text[2 * GDB_REGISTER_BYTES + 3] = "0x";
        unsigned bytes = gdb_register_bytes(arch, n);
        gdb_register_get(m, arch, n, value);
        for (unsigned i = 0; i < bytes; i++)
            (void)snprintf(text + 2 + 2 * i, 3, "%02x", value[bytes - 1 - i]);
        (void)json_object_set_new(o, gdb_register_name(arch, n),
                                  json_string(text));
    }
    return o;
}

/* ---- descriptor tables
 * -------------------------------------------------------- */

static json_t *gates(struct machine *m)
{
    json_t *list = json_array();
    struct gate g;
    for (unsigned v = 0; v < TABLES_VECTORS && tables_gate(m, v, &g); v++)
        if (g.is_present || g.offset || g.selector)
            (void)json_array_append_new(
                list, json_pack("{s:i, s:s, s:i, s:o, s:i, s:i, s:b}", "vector",
                                (int)v, "type", gate_type_name(&g), "selector",
                                (int)g.selector, "offset",
                                export_json_hex(g.offset), "dpl", (int)g.dpl,
                                "ist", (int)g.ist, "present", g.is_present));
    return list;
}

static json_t *descriptors(struct machine *m)
{
    json_t *list = json_array();
    struct descriptor d;
    for (unsigned s = 8; s < 0x10000 && tables_descriptor(m, (uint16_t)s, &d);
         s += d.bytes)
        if (d.is_present || d.base || d.type)
            (void)json_array_append_new(
                list, json_pack("{s:i, s:s, s:o, s:o, s:i, s:b}", "selector",
                                (int)s, "type", descriptor_type_name(&d),
                                "base", export_json_hex(d.base), "limit",
                                export_json_hex(d.limit), "dpl", (int)d.dpl,
                                "present", d.is_present));
    return list;
}

json_t *export_json_tables(struct machine *m)
{
    const struct cpu *c = machine_cpu(m);
    json_t *o = json_pack(
        "{s:{s:o, s:i}, s:{s:o, s:i}, s:{s:i, s:o}, s:{s:i, s:o}}", "idtr",
        "base", export_json_hex(c->idtr.base), "limit", (int)c->idtr.limit,
        "gdtr", "base", export_json_hex(c->gdtr.base), "limit",
        (int)c->gdtr.limit, "ldtr", "selector", (int)c->ldtr.selector, "base",
        export_json_hex(c->ldtr.base), "tr", "selector", (int)c->tr.selector,
        "base", export_json_hex(c->tr.base));
    if (cpu_is_real(c))
        return o;
    (void)json_object_set_new(o, "idt", gates(m));
    (void)json_object_set_new(o, "gdt", descriptors(m));
    return o;
}

/* ---- memory
 * ------------------------------------------------------------------- */

/* A mapping_fn. */
static bool add_mapping(void *context, const struct mapping *run)
{
    json_t *list = context;
    char rights[4] = {run->is_user ? 'u' : 's', run->is_writable ? 'w' : 'r',
                      run->is_executable ? 'x' : '-', 0};
    (void)json_array_append_new(
        list,
        json_pack("{s:o, s:o, s:o, s:s}", "vaddr", export_json_hex(run->vaddr),
                  "paddr", export_json_hex(run->paddr), "bytes",
                  export_json_hex(run->bytes), "rights", rights));
    return json_array_size(list) < MAPPINGS_MAX;
}

static json_t *paging(struct machine *m)
{
    uint64_t root;
    const char *mode = mappings_mode(m, &root);
    json_t *list = json_array();
    mappings_each(m, add_mapping, list);
    return json_pack("{s:s, s:o, s:b, s:o}", "mode", mode, "root",
                     export_json_hex(root), "is_cut",
                     json_array_size(list) >= MAPPINGS_MAX, "mappings", list);
}

/* ---- chips
 * -------------------------------------------------------------------- */

static json_t *interrupts(struct machine *m)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < 2; i++) {
        struct pic_view v;
        machine_pic(m, i, &v);
        (void)json_array_append_new(
            list, json_pack("{s:i, s:i, s:i, s:i, s:i}", "irr", (int)v.irr,
                            "imr", (int)v.imr, "isr", (int)v.isr, "elcr",
                            (int)v.elcr, "first_vector", (int)v.base));
    }
    const struct cpu *c = machine_cpu(m);
    return json_pack("{s:o, s:b, s:b, s:b, s:o}", "pics", list, "intr", c->intr,
                     "if", (c->flags & FLAG_IF) != 0, "nmi_pending",
                     c->nmi_pending, "next_deadline",
                     export_json_hex(machine_next_deadline(m)));
}

/* Each section of the saved state: equal hashes are equal chips. */
static json_t *chips(struct machine *m)
{
    struct writer w;
    struct reader all, in;
    json_t *list = json_array();
    writer_init(&w);
    machine_save_devices(m, &w);
    reader_init(&all, w.data, w.failed ? 0 : w.used);
    while (all.size - all.at >= 8) {
        char tag[5] = {0}, hash[20];
        memcpy(tag, all.data + all.at, 4);
        if (!reader_section(&all, tag, &in, NULL))
            break;
        (void)snprintf(hash, sizeof hash, "%016llx",
                       (unsigned long long)XXH3_64bits(in.data, in.size));
        tag[strcspn(tag, " ")] = 0;
        (void)json_array_append_new(
            list, json_pack("{s:s, s:i, s:s}", "chip", tag, "state_bytes",
                            (int)in.size, "state_hash", hash));
    }
    writer_fini(&w);
    return list;
}

/* ---- all of it
 * ----------------------------------------------------------------- */

static json_t *machine_json(struct machine *m)
{
    struct machine_place place = machine_place(m);
    char *text = machine_config_to_json(machine_config(m), CONFIG_MACHINE);
    json_t *config = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return json_pack(
        "{s:I, s:I, s:I, s:b, s:o*, s:o, s:o, s:o, s:o, s:o}", "tick",
        (json_int_t)place.tick, "deliveries", (json_int_t)place.deliveries,
        "instructions", (json_int_t)machine_insns(m), "halted",
        machine_is_halted(m), "machine", config, "registers",
        export_json_registers(m), "tables", export_json_tables(m), "paging",
        paging(m), "interrupts", interrupts(m), "chips", chips(m));
}

bool export_json(struct machine *m, const char *path, struct error *err)
{
    json_t *o = machine_json(m);
    if (!o)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    FILE *f = fopen(path, "w");
    bool ok = f && json_dumpf(o, f, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 &&
              fputc('\n', f) != EOF;
    int why = errno;
    if (f && fclose(f) != 0 && ok) {
        ok = false;
        why = errno;
    }
    json_decref(o);
    return ok || error_set(err, ERR_IO, "%s: %s", path, strerror(why));
}
