#include "analysis/symbols.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t address, size;
    uint32_t name; /* where it begins in names */
    uint32_t kind;
};

struct symbol_table {
    char *module;           /* owned */
    struct entry *entries;  /* owned; by address when finished */
    size_t count, capacity;
    char *names;            /* owned; NUL-terminated, one after the other */
    size_t names_used, names_capacity;
    uint32_t *by_name;      /* owned; indexes of entries in order of names */
    uint64_t low, high;
    bool has_range, failed;
    symbol_line_fn *line;
    void (*drop)(void *source);
    void *source; /* owned, by drop() */
};

struct symbol_table *symbol_table_new(const char *module)
{
    struct symbol_table *t = calloc(1, sizeof *t);
    if (t && !(t->module = strdup(module))) {
        free(t);
        return NULL;
    }
    return t;
}

void symbol_table_free(struct symbol_table *t)
{
    if (!t)
        return;
    if (t->drop)
        t->drop(t->source);
    free(t->module);
    free(t->entries);
    free(t->names);
    free(t->by_name);
    free(t);
}

/* ---- filling
 * ---------------------------------------------------------------------- */

/* Room for `more` elements behind `used`; false is remembered. */
static bool grow(struct symbol_table *t, void **array, size_t *capacity,
                 size_t used, size_t more, size_t element)
{
    if (used + more <= *capacity)
        return true;
    size_t want = *capacity ? 2 * *capacity : 1024;
    while (want < used + more)
        want *= 2;
    void *bigger = realloc(*array, want * element);
    if (!bigger) {
        t->failed = true;
        return false;
    }
    *array = bigger;
    *capacity = want;
    return true;
}

void symbol_table_add(struct symbol_table *t, const char *name,
                      size_t name_bytes, uint64_t address, uint64_t size,
                      enum symbol_kind kind)
{
    if (name_bytes > SYMBOL_NAME_MAX)
        name_bytes = SYMBOL_NAME_MAX;
    name_bytes = strnlen(name, name_bytes);
    if (name_bytes == 0 || t->failed ||
        t->names_used + name_bytes + 1 > UINT32_MAX ||
        !grow(t, (void **)&t->entries, &t->capacity, t->count, 1,
              sizeof *t->entries) ||
        !grow(t, (void **)&t->names, &t->names_capacity, t->names_used,
              name_bytes + 1, 1))
        return;
    char *copy = t->names + t->names_used;
    for (size_t i = 0; i < name_bytes; i++)
        copy[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    copy[name_bytes] = 0;
    t->entries[t->count++] =
        (struct entry){.address = address,
                       .size = size,
                       .name = (uint32_t)t->names_used,
                       .kind = kind};
    t->names_used += name_bytes + 1;
}

void symbol_table_set_range(struct symbol_table *t, uint64_t low,
                            uint64_t high)
{
    t->low = low;
    t->high = high;
    t->has_range = true;
}

void symbol_table_set_lines(struct symbol_table *t, symbol_line_fn *line,
                            void (*drop)(void *source), void *source)
{
    if (t->drop)
        t->drop(t->source);
    t->line = line;
    t->drop = drop;
    t->source = source;
}

/* Names were added in order, so their places tell which was first. */
static int by_address(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name;
}

static int by_name(const void *x, const void *y, void *context)
{
    const struct symbol_table *t = context;
    const struct entry *a = &t->entries[*(const uint32_t *)x];
    const struct entry *b = &t->entries[*(const uint32_t *)y];
    int order = strcmp(t->names + a->name, t->names + b->name);
    return order                ? order
           : a->name < b->name ? -1
                                : a->name > b->name;
}

bool symbol_table_finish(struct symbol_table *t, struct error *err)
{
    t->by_name = calloc(t->count ? t->count : 1, sizeof *t->by_name);
    if (t->failed || !t->by_name)
        return error_set(err, ERR_NOMEM, "%s: out of memory for its symbols",
                         t->module);
    if (t->count)
        qsort(t->entries, t->count, sizeof *t->entries, by_address);
    for (size_t i = 0; i < t->count; i++)
        t->by_name[i] = (uint32_t)i;
    qsort_r(t->by_name, t->count, sizeof *t->by_name, by_name, t);
    if (!t->has_range && t->count) {
        const struct entry *last = &t->entries[t->count - 1];
        uint64_t end = last->address + (last->size ? last->size : 4096);
        symbol_table_set_range(t, t->entries[0].address,
                               end > last->address ? end : UINT64_MAX);
    }
    return true;
}

/* ---- asking
 * ----------------------------------------------------------------------- */

const char *symbol_table_module(const struct symbol_table *t)
{
    return t->module;
}

size_t symbol_table_count(const struct symbol_table *t)
{
    return t->count;
}

struct symbol symbol_table_at(const struct symbol_table *t, size_t index)
{
    const struct entry *e = &t->entries[index];
    return (struct symbol){.module = t->module,
                           .name = t->names + e->name,
                           .address = e->address,
                           .size = e->size,
                           .kind = e->kind};
}

bool symbol_table_lookup(const struct symbol_table *t, uint64_t address,
                         struct symbol_place *out)
{
    size_t low = 0, high = t->count;
    if (address < t->low || address >= t->high)
        return false;
    while (low < high) { /* the first entry above the address */
        size_t middle = low + (high - low) / 2;
        if (t->entries[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    size_t at = low - 1;
    while (at > 0 && t->entries[at - 1].address == t->entries[at].address)
        at--;
    /* Of those at one address the first that reaches so far. */
    for (; at < low; at++) {
        const struct entry *e = &t->entries[at];
        if (e->size && address - e->address >= e->size)
            continue;
        *out = (struct symbol_place){.symbol = symbol_table_at(t, at),
                                     .offset = address - e->address};
        if (t->line)
            (void)t->line(t->source, address, &out->file, &out->line);
        return true;
    }
    return false;
}

bool symbol_table_find(const struct symbol_table *t, const char *name,
                       struct symbol *out)
{
    size_t low = 0, high = t->count;
    while (low < high) { /* the first entry not below the name */
        size_t middle = low + (high - low) / 2;
        const struct entry *e = &t->entries[t->by_name[middle]];
        if (strcmp(t->names + e->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->count)
        return false;
    *out = symbol_table_at(t, t->by_name[low]);
    return strcmp(out->name, name) == 0;
}
