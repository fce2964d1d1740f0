/* relive crash: how the guest ended, and where to look. */
#include "analysis/crash.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "replay/gdb_monitor.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The stack in words of the mode's size, from the top. */
static void put_stack(struct machine *m, struct writer *w)
{
    enum gdb_arch arch = gdb_target_of(m);
    unsigned bytes = arch == GDB_X86_64 ? 8 : 4, n = 0;
    uint8_t sp[GDB_REGISTER_BYTES], word[8];
    const char *name = arch == GDB_X86_64 ? "rsp" : "esp";
    while (strcmp(gdb_register_name(arch, n), name) != 0)
        n++;
    gdb_register_get(m, arch, n, sp);
    uint64_t at = 0;
    for (unsigned i = 8; i-- > 0;)
        at = at << 8 | sp[i];
    for (unsigned i = 0; i < STACK_WORDS; i++, at += bytes) {
        if (gdb_memory_read(m, false, at, word, bytes) != bytes)
            break;
        uint64_t v = 0;
        for (unsigned k = bytes; k-- > 0;)
            v = v << 8 | word[k];
        gdb_print(w, "%016llx  %016llx\n", (unsigned long long)at,
                  (unsigned long long)v);
    }
}

static void print_place(const struct crash *c)
{
    (void)printf("tick %llu", (unsigned long long)c->place.tick);
    if (c->place.deliveries)
        (void)printf(" behind %u deliveries", c->place.deliveries);
    if (c->has_fault && c->kind == CRASH_LINUX)
        (void)printf(", in front of the instruction that raised %s",
                     exception_name(c->vector));
    if (c->seen)
        (void)printf("; the message came at tick %llu",
                     (unsigned long long)c->seen);
    (void)printf("\n");
}

static void print_text(struct replay *r, const struct crash *c,
                       const char *session)
{
    struct machine *m = r->setup.machine;
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
    gdb_disassemble(m, gdb_linear_pc(m), DISAS_INSNS, &w);
    gdb_print(&w, "\n");
    gdb_info_registers(m, &w);
    gdb_print(&w, "\nstack\n");
    put_stack(m, &w);
    (void)fwrite(w.data, 1, w.used, stdout);
    writer_fini(&w);
    (void)printf("\nrelive debug %s --at %llu --gdb\n", session,
                 (unsigned long long)c->place.tick);
}

/* ---- JSON
 * ---------------------------------------------------------------------- */

static json_t *registers(struct machine *m)
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
    if (o && c->has_fault && c->kind == CRASH_LINUX)
        (void)json_object_set_new(o, "exception",
                                  json_string(exception_name(c->vector)));
    if (o && c->kind != CRASH_NONE)
        (void)json_object_set_new(o, "registers", registers(r->setup.machine));
    char *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (text)
        (void)printf("%s\n", text);
    free(text);
    json_decref(o);
    return text || error_set(err, ERR_NOMEM, "out of memory");
}

/* ---- the command
 * -------------------------------------------------------------------- */

static bool crash(struct replay *r, const struct cli_options *o,
                  struct crash *c, struct error *err)
{
    if (!replay_open(r, o->session, err) ||
        !machine_set_engine(r->setup.machine, &o->engine, err))
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

static int run(const struct cli_options *o)
{
    struct error err;
    struct crash c;
    struct replay *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = crash(r, o, &c, &err) ? STATUS_OK : cli_fail(&err);
    if (status == STATUS_OK && c.kind != CRASH_NONE)
        status = STATUS_GUEST;
    replay_close(r);
    free(r);
    return status;
}

const struct command command_crash = {
    .name = "crash",
    .synopsis = "SESSION [--json]",
    .summary = "find how the guest failed, and where to look",
    .details = "Look for a triple fault, a panic or oops of Linux, or a hang, "
               "and show\nthe machine where it happened: in front of the "
               "instruction that failed\nwhen there is one. Exit status 1 "
               "when the guest failed.",
    .groups = {crash_options, engine_options},
    .takes_session = true,
    .run = run,
};
