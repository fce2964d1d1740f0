#include "analysis/symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbols {
    struct symbol_table **tables; /* owned, as they are */
    size_t count;
};

struct symbols *symbols_new(void)
{
    return calloc(1, sizeof(struct symbols));
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        symbol_table_free(s->tables[i]);
    free(s->tables);
    free(s);
}

bool symbols_add(struct symbols *s, struct symbol_table *t, struct error *err)
{
    struct symbol_table **bigger =
        realloc(s->tables, (s->count + 1) * sizeof *bigger);
    if (!bigger) {
        symbol_table_free(t);
        return error_set(err, ERR_NOMEM, "out of memory for symbols");
    }
    s->tables = bigger;
    s->tables[s->count++] = t;
    return true;
}

bool symbols_remove(struct symbols *s, const char *module)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(symbol_table_module(s->tables[i]), module) == 0)
            symbol_table_free(s->tables[i]);
        else
            s->tables[kept++] = s->tables[i];
    }
    bool is_removed = kept < s->count;
    s->count = kept;
    return is_removed;
}

void symbols_keep_first(struct symbols *s)
{
    while (s->count > 1)
        symbol_table_free(s->tables[--s->count]);
}

bool symbols_lookup(const struct symbols *s, uint64_t address,
                    struct symbol_place *out)
{
    for (size_t i = s->count; i-- > 0;)
        if (symbol_table_lookup(s->tables[i], address, out))
            return true;
    return false;
}

bool symbols_find(const struct symbols *s, const char *name,
                  struct symbol *out)
{
    const char *bang = strchr(name, '!');
    for (size_t i = s->count; i-- > 0;) {
        const struct symbol_table *t = s->tables[i];
        const char *module = symbol_table_module(t);
        if (symbol_table_find(t, name, out))
            return true;
        if (bang && strlen(module) == (size_t)(bang - name) &&
            strncmp(module, name, (size_t)(bang - name)) == 0 &&
            symbol_table_find(t, bang + 1, out))
            return true;
    }
    return false;
}

void symbols_each(const struct symbols *s, symbols_each_fn *fn, void *context)
{
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < symbol_table_count(s->tables[i]); k++) {
            struct symbol symbol = symbol_table_at(s->tables[i], k);
            if (!fn(context, &symbol))
                return;
        }
}

void symbol_place_format(const struct symbol_place *place, char *out,
                         size_t bytes)
{
    const struct symbol *s = &place->symbol;
    int n = snprintf(out, bytes, "%s!%s", s->module, s->name);
    if (place->offset && n >= 0 && (size_t)n < bytes)
        n += snprintf(out + n, bytes - (size_t)n, "+0x%llx",
                      (unsigned long long)place->offset);
    if (place->file && n >= 0 && (size_t)n < bytes) {
        const char *slash = strrchr(place->file, '/');
        (void)snprintf(out + n, bytes - (size_t)n, " (%s:%u)",
                       slash ? slash + 1 : place->file, place->line);
    }
}

void symbols_format(const struct symbols *s, uint64_t address, char *out,
                    size_t bytes)
{
    struct symbol_place place;
    if (symbols_lookup(s, address, &place))
        symbol_place_format(&place, out, bytes);
    else
        (void)snprintf(out, bytes, "0x%llx", (unsigned long long)address);
}
