/* relive crash: how the guest ended, and where to look. */
#include "analysis/crash.h"
#include "analysis/export_json.h"
#include "analysis/names.h"
#include "analysis/tables.h"
#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "cli/report.h"
#include "cpu/cpu.h"
#include "replay/gdb_monitor.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { STACK_WORDS = 16, DISAS_INSNS = 6 };

static const struct option_row crash_options[] = {
    {"json", 0, NULL, "print JSON", take_json},
    {0},
};

static const char *exception_name(unsigned vector)
{
    static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF",
                                        "#BR", "#UD", "#NM", "#DF", "#9",
                                        "#TS", "#NP", "#SS", "#GP", "#PF"};
    return vector < sizeof names / sizeof names[0] ? names[vector] : "?";
}

/* ---- text
 * --------------------------------------------------------------------- */

/* The words on top of the stack. */
static void put_words(struct machine *m, struct writer *w)
{
    const struct cpu *c = machine_cpu(m);
    unsigned bytes = gdb_target_of(m) == GDB_X86_64 ? 8 : 4;
    uint64_t at = c->r[REG_RSP] + (bytes == 8 ? 0 : c->seg[SEG_SS].base);
    for (unsigned i = 0; i < STACK_WORDS; i++, at += bytes) {
        uint8_t word[8] = {0};
        if (gdb_memory_read(m, false, at, word, bytes) != bytes)
            break;
        gdb_print(w, i % 4 == 0 ? "%016llx  %0*llx" : "%.0llx %0*llx",
                  i % 4 == 0 ? (unsigned long long)at : 0, 2 * (int)bytes,
                  (unsigned long long)load_le64(word));
        if (i % 4 == 3)
            gdb_print(w, "\n");
    }
}

static void put_backtrace(struct machine *m, const struct names *names,
                          struct writer *w)
{
    struct frame frames[BACKTRACE_MAX];
    unsigned count = backtrace_take(names, m, frames);
    bool has_names = false; /* then all that matters has one */
    for (unsigned i = 0; i < count; i++) {
        char name[300] = "";
        bool is_named =
            names && names_of(names, frames[i].address, name, sizeof name);
        has_names |= i == 0 && is_named;
        if (has_names && !is_named && !frames[i].is_sure)
            continue;
        gdb_print(w, "%s%016llx  %s\n", frames[i].is_sure ? "  " : "? ",
                  (unsigned long long)frames[i].address, name);
    }
}

static void print_place(const struct crash *c)
{
    (void)printf("tick %llu", (unsigned long long)c->place.tick);
    if (c->place.deliveries && c->kind != CRASH_TRIPLE)
        (void)printf(" behind %u deliveries", c->place.deliveries);
    if (c->has_fault && c->kind != CRASH_TRIPLE)
        (void)printf(", in front of the instruction that raised %s",
                     exception_name(c->vector));
    if (c->seen && (c->seen != c->place.tick || c->kind != CRASH_WINDOWS))
        (void)printf("; %s at tick %llu",
                     c->kind == CRASH_WINDOWS ? "the kernel gave up"
                                              : "the message came",
                     (unsigned long long)c->seen);
    (void)printf("\n");
}

static void print_text(struct replay *r, const struct crash *c,
                       const char *session)
{
    struct machine *m = r->setup.machine;
    struct names *names = NULL;
    struct writer w;
    const struct session *s = replayer_session(r->replayer);
    if (c->kind == CRASH_NONE) {
        (void)printf("nothing says that the guest failed; it ended at tick "
                     "%llu: %s\n",
                     (unsigned long long)s->end_tick,
                     s->torn ? "torn" : stop_reason_name(s->end_reason));
        return;
    }
    (void)printf("%s: %s\n", crash_kind_name(c->kind), c->text);
    print_place(c);
    writer_init(&w);
    names = names_new(m);
    gdb_disassemble(m, gdb_linear_pc(m), DISAS_INSNS, &w);
    gdb_print(&w, "\n");
    gdb_info_registers(m, &w);
    gdb_print(&w, "\nstack\n");
    put_words(m, &w);
    gdb_print(&w, "\nbacktrace (? where it is not sure)\n");
    put_backtrace(m, names, &w);
    names_free(names);
    if (c->kind == CRASH_TRIPLE) {
        gdb_print(&w, "\n");
        tables_print(m, &w);
    }
    (void)fwrite(w.data, 1, w.used, stdout);
    writer_fini(&w);
    (void)printf("\nrelive debug %s --at %llu --gdb\n", session,
                 (unsigned long long)c->place.tick);
}

/* ---- JSON
 * ---------------------------------------------------------------------- */

static void add_bugcheck(json_t *o, const struct bugcheck *b)
{
    const char *name = bugcheck_name(b->code);
    (void)json_object_set_new(
        o, "bugcheck",
        json_pack("{s:I, s:s*, s:[o,o,o,o]}", "code", (json_int_t)b->code,
                  "name", name, "parameters", export_json_hex(b->parameter[0]),
                  export_json_hex(b->parameter[1]),
                  export_json_hex(b->parameter[2]),
                  export_json_hex(b->parameter[3])));
}

static json_t *backtrace(struct machine *m)
{
    struct frame frames[BACKTRACE_MAX];
    struct names *names = names_new(m);
    unsigned count = backtrace_take(names, m, frames);
    bool has_names = false; /* then all that matters has one */
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        char name[300];
        bool is_named =
            names && names_of(names, frames[i].address, name, sizeof name);
        has_names |= i == 0 && is_named;
        if (has_names && !is_named && !frames[i].is_sure)
            continue;
        (void)json_array_append_new(
            list, json_pack("{s:o, s:b, s:s*}", "address",
                            export_json_hex(frames[i].address), "is_sure",
                            frames[i].is_sure, "name", is_named ? name : NULL));
    }
    names_free(names);
    return list;
}

static void add_machine(json_t *o, struct machine *m)
{
    (void)json_object_set_new(o, "registers", export_json_registers(m));
    (void)json_object_set_new(o, "backtrace", backtrace(m));
    (void)json_object_set_new(o, "tables", export_json_tables(m));
}

static bool print_json(struct replay *r, const struct crash *c,
                       struct error *err)
{
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:I, s:b}", "kind", crash_kind_name(c->kind), "text",
        c->text, "tick", (json_int_t)c->place.tick, "deliveries",
        (json_int_t)c->place.deliveries, "at_fault", c->has_fault);
    if (o && c->seen)
        (void)json_object_set_new(o, "message_tick",
                                  json_integer((json_int_t)c->seen));
    if (o && c->has_fault && c->kind != CRASH_TRIPLE)
        (void)json_object_set_new(o, "exception",
                                  json_string(exception_name(c->vector)));
    if (o && c->kind != CRASH_NONE)
        add_machine(o, r->setup.machine);
    if (o && c->kind == CRASH_WINDOWS)
        add_bugcheck(o, &c->bugcheck);
    return report_json(o, err);
}

/* ---- the command
 * -------------------------------------------------------------------- */

static bool crash(struct replay *r, const struct cli_options *o,
                  struct crash *c, struct error *err)
{
    if (!replay_open(r, o, err))
        return false;
    struct travel *t = travel_new(r->replayer, r->setup.machine, 0, err);
    bool ok = t && crash_find(t, c, err);
    if (ok && o->json)
        ok = print_json(r, c, err);
    else if (ok)
        print_text(r, c, o->session);
    travel_free(t);
    return ok;
}

static int tell_crash(struct replay *r, const struct cli_options *o)
{
    struct error err;
    struct crash c;
    if (!crash(r, o, &c, &err))
        return cli_fail(&err);
    return c.kind != CRASH_NONE ? STATUS_GUEST : STATUS_OK;
}

static int run(const struct cli_options *o)
{
    return replay_command(o, tell_crash);
}

const struct command command_crash = {
    .name = "crash",
    .synopsis = "SESSION [--json]",
    .summary = "find how the guest failed, and where to look",
    .details =
        "Look for a triple fault, a bugcheck of Windows, a panic or oops "
        "of Linux, a\nprogram that Linux killed, or a hang, and show "
        "the machine where it happened:\nin front of the instruction "
        "that failed when there is one. Exit status 1 when\nthe guest "
        "failed.",
    .groups = {crash_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
