#include "analysis/guest_print.h"

#include "analysis/unwind.h"
#include "replay/gdb_monitor.h"

#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

enum { TEXT_BYTES = 512 };

struct printing {
    struct guest *g;
    const struct guest_memory *m;
    struct writer *out;
    uint64_t current; /* address of the process that runs; 0: unknown */
};

/* A guest_process_fn. */
static bool print_process(void *context, const struct guest_process *p)
{
    struct printing *s = context;
    gdb_print(s->out, "%s%6llu %6llu  %016llx  %010llx  %s\n",
              p->address == s->current ? "* " : "  ", (ull)p->pid,
              (ull)p->parent, (ull)p->address, (ull)p->root, p->name);
    return true;
}

static void print_processes(struct printing *s)
{
    struct guest_process p;
    struct guest_thread t;
    if (guest_current(s->g, &p, &t))
        s->current = p.address;
    gdb_print(s->out, "     pid parent  structure         cr3         name\n");
    guest_processes(s->g, print_process, s);
}

/* A guest_module_fn. */
static bool print_module(void *context, const struct guest_module *m)
{
    struct printing *s = context;
    gdb_print(s->out, "%016llx  %8llx  %s\n", (ull)m->base, (ull)m->bytes,
              m->name);
    return true;
}

static void print_modules(struct printing *s)
{
    guest_modules(s->g, print_module, s);
}

/* A place by name, or "-" for what has none. */
static void print_name(struct printing *s, uint64_t pc)
{
    char text[TEXT_BYTES];
    struct symbol_place place;
    const struct symbols *symbols = guest_symbols(s->g);
    if (symbols && symbols_lookup(symbols, pc, &place)) {
        symbol_place_format(&place, text, sizeof text);
        gdb_print(s->out, "%016llx  %s\n", (ull)pc, text);
    } else {
        gdb_print(s->out, "%016llx\n", (ull)pc);
    }
}

static void print_callers(struct printing *s)
{
    struct unwind_frame frames[UNWIND_MAX];
    unsigned n = unwind(s->g, s->m, frames, UNWIND_MAX);
    for (unsigned i = 0; i < n; i++) {
        gdb_print(s->out, "%s", frames[i].how == UNWIND_GUESS ? "? " : "  ");
        print_name(s, frames[i].pc);
    }
}

static void print_symbol(struct printing *s, const char *argument)
{
    struct symbol symbol;
    char *end;
    const struct symbols *symbols = guest_symbols(s->g);
    uint64_t address = strtoull(argument, &end, 0);
    while (*argument == ' ')
        argument++;
    if (symbols && symbols_find(symbols, argument, &symbol))
        gdb_print(s->out, "%016llx  %s!%s\n", (ull)symbol.address,
                  symbol.module, symbol.name);
    else if (*argument >= '0' && *argument <= '9' && *end == 0)
        print_name(s, address);
    else
        gdb_print(s->out, "symbol: '%.200s' is not known\n", argument);
}

void guest_print(struct guest *g, struct machine *m, const char *question,
                 const char *argument, struct writer *out)
{
    struct guest_memory memory;
    guest_memory_of(&memory, m);
    struct printing s = {.g = g, .m = &memory, .out = out};
    bool is_known = guest_look(g, &memory) != GUEST_UNKNOWN;
    if (strcmp(question, "bt") == 0)
        print_callers(&s);
    else if (!is_known)
        gdb_print(out, "no system that is known runs here\n");
    else if (strcmp(question, "ps") == 0)
        print_processes(&s);
    else if (strcmp(question, "lsmod") == 0)
        print_modules(&s);
    else
        print_symbol(&s, argument);
}
