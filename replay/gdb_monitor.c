#include "replay/gdb_monitor.h"

#include "cpu/cpu.h"
#include "replay/gdb_packet.h"
#include "replay/info.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gdb_print(struct writer *out, const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gdb_put_text(out, text);
}

/* ---- words
 * ---------------------------------------------------------------------- */

/* The next word of the line, copied; "" at its end. */
static void take_word(const char **at, char *word, size_t bytes)
{
    size_t n = 0;
    while (**at == ' ' || **at == '\t')
        (*at)++;
    while (**at && **at != ' ' && **at != '\t') {
        if (n + 1 < bytes)
            word[n++] = **at;
        (*at)++;
    }
    word[n] = 0;
}

/* 123, 0x1f or 1_000_000; the whole word. */
static bool parse_number(const char *word, uint64_t *value)
{
    char digits[40];
    size_t n = 0;
    for (; *word && n + 1 < sizeof digits; word++)
        if (*word != '_')
            digits[n++] = *word;
    digits[n] = 0;
    if (n == 0 || digits[0] < '0' || digits[0] > '9')
        return false;
    char *end;
    *value = strtoull(digits, &end, 0);
    return *end == 0 && *word == 0;
}

static bool take_number(const char **at, uint64_t *value)
{
    char word[64];
    take_word(at, word, sizeof word);
    return parse_number(word, value);
}

/* ---- where we are
 * ---------------------------------------------------------------- */

static struct machine *machine_of(const struct gdb_monitor *mon)
{
    return travel_machine(mon->travel);
}

static void print_when(const struct gdb_monitor *mon, struct writer *out)
{
    static const char *const modes[] = {"16-bit", "32-bit", "64-bit"};
    struct machine *m = machine_of(mon);
    const struct cpu *c = machine_cpu(m);
    struct machine_place place = machine_place(m), from;
    uint64_t us = place.tick / machine_config(m)->cpu_mhz;
    gdb_print(out, "tick %llu", (unsigned long long)place.tick);
    if (place.deliveries)
        gdb_print(out, " behind %u deliver%s", place.deliveries,
                  place.deliveries == 1 ? "y" : "ies");
    gdb_print(out,
              " of %llu, guest time %llu.%06llu s, %llu instructions, %s, "
              "CPL %u%s\n",
              (unsigned long long)travel_session(mon->travel)->end_tick,
              (unsigned long long)(us / 1000000),
              (unsigned long long)(us % 1000000),
              (unsigned long long)machine_insns(m), modes[c->mode], c->cpl,
              c->halted ? ", halted" : "");
    if (travel_branch(mon->travel, &from))
        gdb_print(out, "what-if branch, left the recording at tick %llu\n",
                  (unsigned long long)from.tick);
}

static void go(struct gdb_monitor *mon, struct machine_place place,
               struct writer *out)
{
    struct error err;
    switch (travel_goto(mon->travel, place, &err)) {
    case TRAVEL_FAILED:
        gdb_print(out, "%s\n", err.text);
        return;
    case TRAVEL_INTERRUPTED:
        gdb_print(out, "interrupted on the way\n");
        break;
    default:
        break;
    }
    print_when(mon, out);
}

/* ---- events and snapshots
 * ---------------------------------------------------------- */

/* The first event at or behind `tick`, or with *index when by_index is set. */
static bool find_event(const struct gdb_monitor *mon, uint64_t tick,
                       bool by_index, uint32_t *index, struct event *e)
{
    struct store *store = travel_session(mon->travel)->store;
    struct store_cursor c;
    struct store_bytes k, v;
    struct error err;
    uint8_t key[KEY_INDEXED_BYTES];
    uint32_t wanted = *index;
    bool is_found = false;
    if (!store_cursor_open(store, STORE_EVENTS, &c, &err))
        return false;
    key_indexed(key, by_index ? 0 : tick, 0);
    enum store_found found =
        store_cursor_seek(&c, key, sizeof key, &k, &v, &err);
    while (found == STORE_FOUND && !is_found) {
        if (!event_record_get(&k, &v, index, e, store_path(store), &err))
            break;
        is_found = !by_index || *index == wanted;
        if (!is_found)
            found = store_cursor_next(&c, &k, &v, &err);
    }
    store_cursor_close(&c);
    return is_found;
}

static void print_event(uint32_t index, const struct event *e,
                        struct writer *out)
{
    char *json = info_event_json(index, e);
    gdb_print(out, "%s\n", json ? json : "out of memory");
    free(json);
}

static void do_event(struct gdb_monitor *mon, const char *at,
                     struct writer *out)
{
    struct event e;
    uint64_t n;
    uint32_t index = 0;
    bool by_index = take_number(&at, &n) && n <= UINT32_MAX;
    if (by_index)
        index = (uint32_t)n;
    if (find_event(mon, machine_tick(machine_of(mon)), by_index, &index, &e))
        print_event(index, &e, out);
    else
        gdb_print(out, "there is no such event\n");
}

static void do_snapshots(struct gdb_monitor *mon, const char *at,
                         struct writer *out)
{
    struct store *store = travel_session(mon->travel)->store;
    struct store_cursor c;
    struct store_bytes k, v;
    struct error err;
    uint64_t tick;
    (void)at;
    if (!store_cursor_open(store, STORE_SNAPSHOTS, &c, &err)) {
        gdb_print(out, "%s\n", err.text);
        return;
    }
    uint8_t zero[KEY_TICK_BYTES] = {0};
    enum store_found found =
        store_cursor_seek(&c, zero, sizeof zero, &k, &v, &err);
    while (found == STORE_FOUND && k.bytes == KEY_TICK_BYTES) {
        tick = 0;
        for (unsigned i = 0; i < KEY_TICK_BYTES; i++)
            tick = tick << 8 | ((const uint8_t *)k.data)[i];
        gdb_print(out, "tick %llu, %zu bytes\n", (unsigned long long)tick,
                  v.bytes);
        found = store_cursor_next(&c, &k, &v, &err);
    }
    store_cursor_close(&c);
}

/* ---- goto, checkpoint, restart
 * -------------------------------------------------------- */

static bool parse_place(const struct gdb_monitor *mon, const char *word,
                        const char *at, struct machine_place *place)
{
    uint64_t n, now = machine_tick(machine_of(mon));
    uint64_t end = travel_session(mon->travel)->end_tick;
    *place = (struct machine_place){0, 0};
    if (strcmp(word, "start") == 0)
        return true;
    if (strcmp(word, "end") == 0) {
        place->tick = end;
        return true;
    }
    if (strcmp(word, "event") == 0) {
        struct event e;
        uint32_t index;
        if (!take_number(&at, &n) || n > UINT32_MAX)
            return false;
        index = (uint32_t)n;
        bool is_found = find_event(mon, 0, true, &index, &e);
        place->tick = is_found ? e.tick : 0;
        return is_found;
    }
    bool is_forward = word[0] == '+', is_back = word[0] == '-';
    if (!parse_number(word + (is_forward || is_back), &n))
        return false;
    if (is_back)
        place->tick = n < now ? now - n : 0;
    else if (is_forward)
        place->tick = n > end - now ? end : now + n;
    else
        place->tick = n;
    return true;
}

/* The machine may have been moved to find out; on failure it is put back. */
static void go_to_crash(struct gdb_monitor *mon, struct writer *out)
{
    struct error err;
    struct machine_place place = travel_place(mon->travel);
    if (!mon->host->find_crash)
        gdb_print(out, "goto crash: not possible here\n");
    else if (!mon->host->find_crash(mon->host->context, &place, &err))
        gdb_print(out, "goto crash: %s\n", err.text);
    go(mon, place, out);
}

static void do_goto(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    char word[64];
    struct machine_place place;
    take_word(&at, word, sizeof word);
    if (strcmp(word, "crash") == 0)
        go_to_crash(mon, out);
    else if (parse_place(mon, word, at, &place))
        go(mon, place, out);
    else
        gdb_print(out,
                  "goto: expected TICK, +N, -N, start, end, crash or event N "
                  "of this session, found '%.100s'\n",
                  word);
}

static void do_when(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    (void)at;
    print_when(mon, out);
}

static void do_checkpoint(struct gdb_monitor *mon, const char *at,
                          struct writer *out)
{
    struct machine_place from;
    (void)at;
    if (travel_branch(mon->travel, &from)) {
        gdb_print(out, "a what-if branch cannot be kept\n");
        return;
    }
    if (mon->checkpoints == GDB_CHECKPOINTS) {
        gdb_print(out, "all %d checkpoints are in use\n", GDB_CHECKPOINTS);
        return;
    }
    mon->checkpoint[mon->checkpoints++] = travel_place(mon->travel);
    gdb_print(out, "checkpoint %u: ", mon->checkpoints);
    print_when(mon, out);
}

static void do_checkpoints(struct gdb_monitor *mon, const char *at,
                           struct writer *out)
{
    (void)at;
    for (unsigned i = 0; i < mon->checkpoints; i++)
        gdb_print(out, "checkpoint %u: tick %llu\n", i + 1,
                  (unsigned long long)mon->checkpoint[i].tick);
}

static void do_restart(struct gdb_monitor *mon, const char *at,
                       struct writer *out)
{
    uint64_t n;
    if (!take_number(&at, &n) || n < 1 || n > mon->checkpoints)
        gdb_print(out,
                  "restart: expected the number of a checkpoint, 1 to "
                  "%u\n",
                  mon->checkpoints);
    else
        go(mon, mon->checkpoint[n - 1], out);
}

/* ---- looking
 * ------------------------------------------------------------------------------
 */

static void do_info(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    static const struct {
        const char *name;
        void (*print)(struct machine *m, struct writer *out);
    } rows[] = {
        {"registers", gdb_info_registers},
        {"cr3", gdb_info_paging},
        {"tlb", gdb_info_mappings},
        {"pic", gdb_info_interrupts},
    };
    char word[64];
    take_word(&at, word, sizeof word);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, word) == 0) {
            rows[i].print(machine_of(mon), out);
            return;
        }
    gdb_print(out,
              "info: expected registers, cr3, tlb or pic, found "
              "'%.100s'\n",
              word);
}

static void do_disas(struct gdb_monitor *mon, const char *at,
                     struct writer *out)
{
    struct machine *m = machine_of(mon);
    uint64_t address, count;
    if (!take_number(&at, &address))
        address = gdb_linear_pc(m);
    if (!take_number(&at, &count))
        count = 10;
    gdb_disassemble(m, address, count > 1000 ? 1000 : (unsigned)count, out);
}

static void do_xp(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    uint64_t address, bytes;
    if (!take_number(&at, &address)) {
        gdb_print(out, "xp: expected a physical address\n");
        return;
    }
    if (!take_number(&at, &bytes))
        bytes = 64;
    gdb_dump_physical(machine_of(mon), address,
                      bytes > 65536 ? 65536 : (unsigned)bytes, out);
}

static void do_phys(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    char word[64];
    take_word(&at, word, sizeof word);
    if (strcmp(word, "on") == 0 || strcmp(word, "off") == 0)
        mon->is_physical = strcmp(word, "on") == 0;
    gdb_print(out, "gdb's addresses of memory are %s\n",
              mon->is_physical ? "physical" : "linear");
}

static void do_screenshot(struct gdb_monitor *mon, const char *at,
                          struct writer *out)
{
    struct error err;
    while (*at == ' ')
        at++;
    if (!*at)
        gdb_print(out, "screenshot: expected a file name\n");
    else if (!mon->host->screenshot)
        gdb_print(out, "screenshot: not possible here\n");
    else if (mon->host->screenshot(mon->host->context, machine_of(mon), at,
                                   &err))
        gdb_print(out, "%s: written\n", at);
    else
        gdb_print(out, "%s\n", err.text);
}

static void ask_guest(struct gdb_monitor *mon, const char *question,
                      const char *at, struct writer *out)
{
    if (mon->host->ask_guest)
        mon->host->ask_guest(mon->host->context, machine_of(mon), question, at,
                             out);
    else
        gdb_print(out, "%s: not possible here\n", question);
}

static void do_ps(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    ask_guest(mon, "ps", at, out);
}

static void do_lsmod(struct gdb_monitor *mon, const char *at,
                     struct writer *out)
{
    ask_guest(mon, "lsmod", at, out);
}

static void do_bt(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    ask_guest(mon, "bt", at, out);
}

static void do_symbol(struct gdb_monitor *mon, const char *at,
                      struct writer *out)
{
    ask_guest(mon, "symbol", at, out);
}

static void do_help(struct gdb_monitor *mon, const char *at,
                    struct writer *out);

static const struct {
    const char *name;
    void (*run)(struct gdb_monitor *mon, const char *at, struct writer *out);
    const char *help;
} commands[] = {
    {"help", do_help, "this text"},
    {"goto", do_goto, "TICK, +N, -N, start, end, crash or event N: go there"},
    {"when", do_when, "where we are"},
    {"checkpoint", do_checkpoint, "remember this place"},
    {"checkpoints", do_checkpoints, "list what was remembered"},
    {"restart", do_restart, "N: go to checkpoint N"},
    {"snapshots", do_snapshots, "list those of the session"},
    {"event", do_event, "[N]: the next logged event, or event N"},
    {"info", do_info,
     "registers, cr3 (paging), tlb (mappings) or pic (interrupts)"},
    {"disas", do_disas, "[ADDRESS [COUNT]]: instructions in the CPU's mode"},
    {"xp", do_xp, "ADDRESS [BYTES]: dump physical memory"},
    {"phys", do_phys,
     "on or off: gdb's x, print and set take physical addresses"},
    {"ps", do_ps, "processes of the guest; * runs"},
    {"lsmod", do_lsmod, "modules of its kernel"},
    {"bt", do_bt, "callers, by names that the guest's memory holds"},
    {"symbol", do_symbol, "NAME or ADDRESS: the other"},
    {"screenshot", do_screenshot, "FILE: write the screen as PNG"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void do_help(struct gdb_monitor *mon, const char *at, struct writer *out)
{
    (void)mon;
    (void)at;
    for (unsigned i = 0; i < COMMANDS; i++)
        gdb_print(out, "%-12s%s\n", commands[i].name, commands[i].help);
    gdb_print(out,
              "gdb does not know that goto and restart move the machine: say "
              "\"maintenance flush\nregister-cache\" behind them, or start gdb "
              "by relive debug --gdb, which does it.\nOutside flat code $pc is "
              "the base of CS plus EIP.\n");
}

void gdb_monitor_run(struct gdb_monitor *mon, const char *line,
                     struct writer *out)
{
    char word[64];
    take_word(&line, word, sizeof word);
    for (unsigned i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, word) == 0) {
            commands[i].run(mon, line, out);
            return;
        }
    gdb_print(out, "'%.60s' is no command of relive (see monitor help)\n",
              word);
}
