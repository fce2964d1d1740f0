#include "analysis/linux_internal.h"
#include "base/bytes.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum {
    SYMBOLS_MAX = 1 << 18, /* of one module */
    STRINGS_MAX = 16 << 20,
    MODULE_NAME = 56
};

/* One module of the list; `entry` is its list_head. */
static bool read_module(const struct linux_guest *l,
                        const struct guest_memory *m, uint64_t entry,
                        uint64_t *module, struct guest_module *out)
{
    const struct linux_layout *o = &l->layout;
    uint32_t bytes = 0;
    *module = entry - (uint64_t)o->module_list;
    *out = (struct guest_module){0};
    if (!guest_read_text(m, l->root, *module + (uint64_t)o->module_name,
                         out->name, MODULE_NAME) ||
        !out->name[0])
        return false;
    if (o->module_base >= 0) {
        (void)linux_word(l, m, *module + (uint64_t)o->module_base, &out->base);
        (void)guest_read_u32(m, l->root, *module + (uint64_t)o->module_size,
                             &bytes);
    }
    out->bytes = bytes;
    return true;
}

typedef bool module_fn(void *context, uint64_t module,
                       const struct guest_module *g);

static void each_module(const struct linux_guest *l,
                        const struct guest_memory *m, module_fn *fn,
                        void *context)
{
    uint64_t entry, module;
    struct guest_module g;
    if (!l->modules || l->layout.module_list < 0 || l->layout.module_name < 0 ||
        !linux_word(l, m, l->modules, &entry))
        return;
    for (unsigned n = 0; n < LINUX_MODULES_MAX && entry != l->modules; n++)
        if (!read_module(l, m, entry, &module, &g) ||
            !fn(context, module, &g) || !linux_word(l, m, entry, &entry))
            return;
}

struct listing {
    guest_module_fn *fn;
    void *context;
};

/* A module_fn. */
static bool list_one(void *context, uint64_t module,
                     const struct guest_module *g)
{
    const struct listing *s = context;
    (void)module;
    return s->fn(s->context, g);
}

void linux_modules(struct linux_guest *l, const struct guest_memory *m,
                   guest_module_fn *fn, void *context)
{
    struct listing s = {fn, context};
    each_module(l, m, list_one, &s);
}

/* ---- their symbols
 * ------------------------------------------------------------------------ */

struct loading {
    struct linux_guest *l;
    const struct guest_memory *m;
    uint64_t mark;
};

/* Where a module's symbols are described. */
static bool find_symbols(const struct loading *s, uint64_t module,
                         uint64_t *where)
{
    int32_t offset = s->l->layout.module_kallsyms;
    return offset >= 0 &&
           linux_word(s->l, s->m, module + (uint64_t)offset, where) && *where;
}

/* A module_fn: a sum over what is loaded where. A module is listed before its
 * symbols are there, and they move when it has started. */
static bool mark_one(void *context, uint64_t module,
                     const struct guest_module *g)
{
    struct loading *s = context;
    uint64_t where = 0;
    (void)find_symbols(s, module, &where);
    s->mark = s->mark * 0x100000001b3 + module;
    s->mark = s->mark * 0x100000001b3 + g->base + g->bytes;
    s->mark = s->mark * 0x100000001b3 + where;
    return true;
}

/* The end of the strings: behind the last that a symbol names. */
static uint64_t string_bytes(const uint8_t *symbols, uint32_t count,
                             unsigned each)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name = load_le32(symbols + (size_t)i * each);
        last = name > last && name < STRINGS_MAX ? name : last;
    }
    return (uint64_t)last + SYMBOL_NAME_MAX;
}

/* ELF symbols whose values the loader has made addresses. */
static void add_symbols(struct symbol_table *t, const uint8_t *symbols,
                        uint32_t count, unsigned each, const char *strings,
                        size_t string_count, const struct guest_module *g)
{
    for (uint32_t i = 1; i < count; i++) {
        const uint8_t *p = symbols + (size_t)i * each;
        bool is_64 = each == sizeof(Elf64_Sym);
        uint32_t name = load_le32(p);
        unsigned type = (is_64 ? p[4] : p[12]) & 15;
        uint64_t value = is_64 ? load_le64(p + 8) : load_le32(p + 4);
        uint64_t size = is_64 ? load_le64(p + 16) : load_le32(p + 8);
        uint16_t home = load_le16(p + (is_64 ? 6 : 14));
        if (name >= string_count || home == SHN_UNDEF ||
            type == STT_SECTION || type == STT_FILE || value < g->base ||
            value - g->base >= g->bytes)
            continue;
        symbol_table_add(t, strings + name, string_count - name, value, size,
                         type == STT_FUNC     ? SYMBOL_CODE
                         : type == STT_OBJECT ? SYMBOL_DATA
                                              : SYMBOL_OTHER);
    }
}

static struct symbol_table *read_symbols(const struct linux_guest *l,
                                         const struct guest_memory *m,
                                         uint64_t where,
                                         const struct guest_module *g)
{
    unsigned word = guest_word(m);
    unsigned each = word == 8 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
    uint64_t symtab, strtab;
    uint32_t count;
    if (!linux_word(l, m, where, &symtab) ||
        !guest_read_u32(m, l->root, where + word, &count) ||
        !linux_word(l, m, where + 2 * word, &strtab) || count == 0 ||
        count > SYMBOLS_MAX)
        return NULL;
    struct symbol_table *t = symbol_table_new(g->name);
    uint8_t *symbols = malloc((size_t)count * each);
    char *strings = NULL;
    if (t && symbols &&
        guest_read_all(m, l->root, symtab, symbols, (size_t)count * each)) {
        size_t bytes = string_bytes(symbols, count, each);
        strings = malloc(bytes);
        if (strings) {
            bytes = guest_read(m, l->root, strtab, strings, bytes);
            add_symbols(t, symbols, count, each, strings, bytes, g);
        }
    }
    free(strings);
    free(symbols);
    if (!t || symbol_table_count(t) == 0) {
        symbol_table_free(t);
        return NULL;
    }
    symbol_table_set_range(t, g->base, g->base + g->bytes);
    return t;
}

/* A module_fn. */
static bool load_one(void *context, uint64_t module,
                     const struct guest_module *g)
{
    struct loading *s = context;
    uint64_t where;
    if (!find_symbols(s, module, &where))
        return true;
    struct symbol_table *t = read_symbols(s->l, s->m, where, g);
    if (!t)
        return true;
    if (!symbol_table_finish(t, NULL))
        symbol_table_free(t);
    else
        (void)symbols_add(s->l->symbols, t, NULL);
    return true;
}

void linux_module_symbols(struct linux_guest *l, const struct guest_memory *m)
{
    struct loading s = {.l = l, .m = m};
    each_module(l, m, mark_one, &s);
    if (s.mark == l->module_mark)
        return;
    l->module_mark = s.mark;
    symbols_keep_first(l->symbols);
    each_module(l, m, load_one, &s);
}
