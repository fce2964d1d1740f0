#include "analysis/profile.h"

#include "analysis/unwind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts with two sums each
 * ------------------------------------------------------------------ */

struct row {
    char *text;  /* owned */
    uint64_t a, b;
    uint64_t last; /* the sample that b was added in last */
};

/* Open addressing over rows by hash of the text; order of rows is that of
 * first sight. */
struct rows {
    struct row *row; /* owned */
    size_t count, capacity;
    uint32_t *slot; /* owned; index + 1, 0: free; twice the capacity */
};

static size_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3;
    return (size_t)(h ^ h >> 29);
}

static void place(struct rows *r, uint32_t index)
{
    size_t mask = 2 * r->capacity - 1;
    size_t at = hash(r->row[index].text) & mask;
    while (r->slot[at])
        at = (at + 1) & mask;
    r->slot[at] = index + 1;
}

static bool grow(struct rows *r)
{
    size_t want = r->capacity ? 2 * r->capacity : 256;
    struct row *bigger = realloc(r->row, want * sizeof *bigger);
    if (!bigger)
        return false;
    r->row = bigger;
    uint32_t *slot = calloc(2 * want, sizeof *slot);
    if (!slot)
        return false;
    free(r->slot);
    r->slot = slot;
    r->capacity = want;
    for (uint32_t i = 0; i < r->count; i++)
        place(r, i);
    return true;
}

/* The row of a text, made when it is new. NULL: no memory. */
static struct row *row_of(struct rows *r, const char *text)
{
    if (r->count == r->capacity && !grow(r))
        return NULL;
    size_t mask = 2 * r->capacity - 1, at = hash(text) & mask;
    for (; r->slot[at]; at = (at + 1) & mask)
        if (strcmp(r->row[r->slot[at] - 1].text, text) == 0)
            return &r->row[r->slot[at] - 1];
    char *copy = strdup(text);
    if (!copy)
        return NULL;
    r->row[r->count] = (struct row){.text = copy, .last = UINT64_MAX};
    place(r, (uint32_t)r->count);
    return &r->row[r->count++];
}

static int by_sum(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    if (a->a + a->b != b->a + b->b)
        return a->a + a->b > b->a + b->b ? -1 : 1;
    return strcmp(a->text, b->text);
}

static int by_self(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    if (a->a != b->a)
        return a->a > b->a ? -1 : 1;
    return a->b != b->b ? (a->b > b->b ? -1 : 1) : strcmp(a->text, b->text);
}

static void rows_free(struct rows *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->row[i].text);
    free(r->row);
    free(r->slot);
}

/* ---- one sample
 * ---------------------------------------------------------------------------- */

struct profile {
    uint64_t samples, every;
    struct rows symbols, processes, stacks;
    struct profile_symbol *symbol; /* owned, as the next two */
    struct profile_process *process;
    struct profile_stack *stack;
};

struct sampling {
    struct profile *p;
    struct guest *g;
    const struct profile_options *o;
    struct guest_memory m;
    struct unwind_frame frames[UNWIND_MAX];
    unsigned frame_count;
};

enum { TEXT_BYTES = 512, STACK_BYTES = 16384 };

/* "module\nname". */
static void name_of(const struct sampling *s, uint64_t pc, bool is_user,
                    char text[TEXT_BYTES])
{
    struct symbol_place place;
    const struct symbols *guest = guest_symbols(s->g);
    if ((s->o->files && symbols_lookup(s->o->files, pc, &place)) ||
        (guest && symbols_lookup(guest, pc, &place)))
        (void)snprintf(text, TEXT_BYTES, "%s\n%s", place.symbol.module,
                       place.symbol.name);
    else
        (void)snprintf(text, TEXT_BYTES, "\n%s",
                       is_user ? "[user]" : "[unknown]");
}

static bool is_user_address(const struct sampling *s, uint64_t pc)
{
    return guest_os(s->g) != GUEST_UNKNOWN &&
           (s->m.cpu.is_long ? pc >> 47 == 0 : pc < 0x80000000);
}

/* A return address may lie behind the last instruction of its function. */
static uint64_t frame_pc(const struct sampling *s, unsigned i)
{
    return s->frames[i].pc - (s->frames[i].how != UNWIND_HERE);
}

/* Self to the innermost, inclusive to each function once. */
static bool add_symbols(struct sampling *s)
{
    char text[TEXT_BYTES];
    for (unsigned i = 0; i < s->frame_count; i++) {
        uint64_t pc = frame_pc(s, i);
        name_of(s, pc, is_user_address(s, pc), text);
        struct row *r = row_of(&s->p->symbols, text);
        if (!r)
            return false;
        if (i == 0)
            r->a += s->p->every;
        if (s->o->has_stacks && r->last != s->p->samples) {
            r->b += s->p->every;
            r->last = s->p->samples;
        }
    }
    return true;
}

/* What ';' and ' ' would confuse in folded stacks. */
static void append(char *out, size_t *used, const char *text)
{
    if (*used && *used + 1 < STACK_BYTES)
        out[(*used)++] = ';';
    for (; *text && *used + 1 < STACK_BYTES; text++)
        out[(*used)++] = *text == ';' ? ':' : *text == ' ' ? '_' : *text;
    out[*used] = 0;
}

static bool add_stack(struct sampling *s, const char *process)
{
    char out[STACK_BYTES], text[TEXT_BYTES];
    size_t used = 0;
    if (!s->o->has_stacks)
        return true;
    append(out, &used, process);
    for (unsigned i = s->frame_count; i-- > 0;) {
        uint64_t pc = frame_pc(s, i);
        name_of(s, pc, is_user_address(s, pc), text);
        char *line = strchr(text, '\n');
        *line = '!';
        append(out, &used, line == text ? text + 1 : text);
    }
    struct row *r = row_of(&s->p->stacks, out);
    if (r)
        r->a += s->p->every;
    return r != NULL;
}

static bool take_sample(struct sampling *s, struct machine *machine)
{
    struct guest_process p = {.name = "[unknown]"};
    struct guest_thread t;
    char key[GUEST_NAME_BYTES + 32];
    guest_memory_of(&s->m, machine);
    (void)guest_look(s->g, &s->m);
    (void)guest_current(s->g, &p, &t);
    s->frames[0] = (struct unwind_frame){s->m.cpu.rip, s->m.cpu.rsp,
                                         UNWIND_HERE};
    s->frame_count = 1;
    if (s->o->has_stacks)
        s->frame_count = unwind(s->g, &s->m, s->frames, UNWIND_MAX);
    (void)snprintf(key, sizeof key, "%llu\n%s", (unsigned long long)p.pid,
                   p.name);
    struct row *r = row_of(&s->p->processes, key);
    if (!r || !add_symbols(s) || !add_stack(s, p.name))
        return false;
    *(s->m.cpu.cpl == 3 ? &r->a : &r->b) += s->p->every;
    s->p->samples++;
    return true;
}

/* ---- the result
 * --------------------------------------------------------------------------- */

static bool order(struct profile *p)
{
    p->symbol = calloc(p->symbols.count + 1, sizeof *p->symbol);
    p->process = calloc(p->processes.count + 1, sizeof *p->process);
    p->stack = calloc(p->stacks.count + 1, sizeof *p->stack);
    if (!p->symbol || !p->process || !p->stack)
        return false;
    if (p->symbols.count)
        qsort(p->symbols.row, p->symbols.count, sizeof(struct row), by_self);
    if (p->processes.count)
        qsort(p->processes.row, p->processes.count, sizeof(struct row),
              by_sum);
    if (p->stacks.count)
        qsort(p->stacks.row, p->stacks.count, sizeof(struct row), by_sum);
    for (size_t i = 0; i < p->symbols.count; i++) {
        struct row *r = &p->symbols.row[i];
        char *line = strchr(r->text, '\n');
        *line = 0;
        p->symbol[i] =
            (struct profile_symbol){r->text, line + 1, r->a, r->b};
    }
    for (size_t i = 0; i < p->processes.count; i++) {
        struct row *r = &p->processes.row[i];
        char *line;
        uint64_t pid = strtoull(r->text, &line, 10);
        p->process[i] =
            (struct profile_process){pid, line + 1, r->a, r->b};
    }
    for (size_t i = 0; i < p->stacks.count; i++)
        p->stack[i] = (struct profile_stack){p->stacks.row[i].text,
                                             p->stacks.row[i].a};
    return true;
}

enum profile_end profile_take(struct travel *t, struct guest *g,
                              const struct profile_options *o,
                              struct profile **out, struct error *err)
{
    enum profile_end end = PROFILE_DONE;
    struct sampling *s = calloc(1, sizeof *s);
    struct profile *p = calloc(1, sizeof *p);
    bool has_memory = s && p;
    if (has_memory) {
        *s = (struct sampling){.p = p, .g = g, .o = o};
        p->every = o->every;
    }
    for (uint64_t at = o->from; has_memory && at < o->to;) {
        enum travel_stop stop =
            at == o->from ? travel_goto(t, (struct machine_place){at, 0}, err)
                          : travel_run(t, at, err);
        if (stop == TRAVEL_FAILED || stop == TRAVEL_INTERRUPTED) {
            end = stop == TRAVEL_FAILED ? PROFILE_FAILED
                                        : PROFILE_INTERRUPTED;
            break;
        }
        if (machine_tick(travel_machine(t)) != at)
            break; /* behind the recording's end */
        has_memory = take_sample(s, travel_machine(t));
        if (o->to - at <= o->every)
            break;
        at += o->every;
    }
    free(s);
    if (end != PROFILE_FAILED && (!has_memory || !order(p))) {
        error_set(err, ERR_NOMEM, "out of memory for a profile");
        end = PROFILE_FAILED;
    }
    if (end == PROFILE_FAILED) {
        profile_free(p);
        p = NULL;
    }
    *out = p;
    return end;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    rows_free(&p->symbols);
    rows_free(&p->processes);
    rows_free(&p->stacks);
    free(p->symbol);
    free(p->process);
    free(p->stack);
    free(p);
}

uint64_t profile_samples(const struct profile *p)
{
    return p->samples;
}

size_t profile_symbols(const struct profile *p,
                       const struct profile_symbol **out)
{
    *out = p->symbol;
    return p->symbols.count;
}

size_t profile_processes(const struct profile *p,
                         const struct profile_process **out)
{
    *out = p->process;
    return p->processes.count;
}

size_t profile_stacks(const struct profile *p,
                      const struct profile_stack **out)
{
    *out = p->stack;
    return p->stacks.count;
}
