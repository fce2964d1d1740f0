#include "analysis/kallsyms.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    TOKENS = 256,
    SYMBOLS_MAX = 4000000,
    NAME_MAX_BYTES = 1024,
    BEFORE = 24 << 20, /* how far tables and image reach around the tokens */
    BEHIND = 12 << 20,
    IMAGE_MAX = 256 << 20
};

/* Tables inside `bytes`, as offsets. */
struct tables {
    const uint8_t *bytes;
    size_t count;
    unsigned word;
    size_t token[TOKENS]; /* where each begins */
    size_t index_end;
    size_t names;
    size_t offsets;
    uint32_t symbols;
    uint64_t base;
    bool is_percpu_absolute;
};

static size_t align(const struct tables *t, size_t at)
{
    return (at + t->word - 1) & ~(size_t)(t->word - 1);
}

/* ---- tokens
 * ----------------------------------------------------------------------- */

/* The table holds 256 texts, of which number '0' begins at `zero`; the index
 * behind it holds where each begins. */
static bool find_tokens(struct tables *t, size_t zero)
{
    size_t start = zero;
    for (unsigned i = 0; i < '0'; i++) {
        if (start < 2 || t->bytes[start - 1] != 0)
            return false;
        start--; /* behind the text's last character */
        while (start > 0 && t->bytes[start - 1] != 0)
            start--;
    }
    if (start % t->word)
        return false;
    size_t at = start;
    for (unsigned i = 0; i < TOKENS; i++) {
        const uint8_t *end = memchr(t->bytes + at, 0, t->count - at);
        if (!end)
            return false;
        t->token[i] = at;
        at = (size_t)(end - t->bytes) + 1;
    }
    at = align(t, at);
    if (t->count < 2 * TOKENS || at > t->count - 2 * TOKENS)
        return false;
    for (unsigned i = 0; i < TOKENS; i++)
        if (load_le16(t->bytes + at + 2 * i) != t->token[i] - start)
            return false;
    t->index_end = align(t, at + 2 * TOKENS);
    return true;
}

/* ---- names
 * ------------------------------------------------------------------------ */

/* One compressed name: its length, in one or two bytes, then tokens. False when
 * it does not end before `end`. */
static bool skip_name(const struct tables *t, size_t *at, size_t end,
                      size_t *first, size_t *length)
{
    if (*at >= end)
        return false;
    *length = t->bytes[(*at)++];
    if (*length & 0x80) {
        if (*at >= end)
            return false;
        *length = (*length & 0x7f) | (size_t)t->bytes[(*at)++] << 7;
    }
    *first = *at;
    if (*length == 0 || *length > end - *at)
        return false;
    *at += *length;
    return true;
}

/* Behind the names lie markers, which tell where every 256th name begins, and
 * then, in some versions, an order of the symbols in 3 bytes each; then the
 * tokens. */
static bool names_fit(const struct tables *t, size_t names, uint32_t symbols)
{
    size_t at = names, end = t->token[0], first, length;
    for (uint32_t i = 0; i < symbols; i++)
        if (!skip_name(t, &at, end, &first, &length))
            return false;
    size_t markers = align(t, at);
    size_t behind = align(t, markers + 4 * (((size_t)symbols + 255) / 256));
    if (behind != end && align(t, behind + 3 * (size_t)symbols) != end)
        return false;
    at = names;
    for (uint32_t i = 0; i < symbols; i++) {
        if (i % 256 == 0 &&
            load_le32(t->bytes + markers + 4 * (i / 256)) != at - names)
            return false;
        (void)skip_name(t, &at, markers, &first, &length);
    }
    return true;
}

/* The names lie behind their number. A name takes at least 2 bytes, and few
 * take more than 40. */
static bool find_names(struct tables *t)
{
    size_t end = t->token[0];
    for (size_t names = end; names >= t->word; names -= t->word) {
        size_t room = end - names;
        uint32_t symbols = load_le32(t->bytes + names - t->word);
        if (symbols == 0 || symbols > SYMBOLS_MAX || symbols > room / 2 ||
            symbols < room / 64 || !names_fit(t, names, symbols))
            continue;
        t->names = names;
        t->symbols = symbols;
        return true;
    }
    return false;
}

/* ---- addresses
 * -------------------------------------------------------------------- */

/* Negative offsets count down from the base, others are absolute addresses (of
 * per-CPU variables); without negative ones all count up from the base. */
static uint64_t address_of(const struct tables *t, uint32_t index)
{
    int32_t offset = (int32_t)load_le32(t->bytes + t->offsets + 4 * index);
    uint64_t address;
    if (!t->is_percpu_absolute)
        address = t->base + (uint32_t)offset;
    else if (offset >= 0)
        address = (uint32_t)offset;
    else
        address = t->base - 1 - (uint64_t)(int64_t)offset;
    return t->word == 8 ? address : (uint32_t)address;
}

static bool addresses_ascend(struct tables *t, size_t offsets, size_t base_at)
{
    uint64_t last = 0;
    if (offsets > t->count || base_at > t->count - t->word ||
        4 * (size_t)t->symbols > t->count - offsets)
        return false;
    t->offsets = offsets;
    t->base = t->word == 8 ? load_le64(t->bytes + base_at)
                           : load_le32(t->bytes + base_at);
    t->is_percpu_absolute = false;
    for (uint32_t i = 0; i < t->symbols; i++)
        if ((int32_t)load_le32(t->bytes + offsets + 4 * i) < 0)
            t->is_percpu_absolute = true;
    for (uint32_t i = 0; i < t->symbols; i++) {
        uint64_t address = address_of(t, i);
        if (address < last)
            return false;
        last = address;
    }
    return t->base != 0 && t->base % 4096 == 0 && last > t->base;
}

static bool find_addresses(struct tables *t)
{
    size_t array = align(t, 4 * (size_t)t->symbols);
    size_t number = t->names - t->word; /* where the number of names is */
    if (number >= t->word + array &&
        addresses_ascend(t, number - t->word - array, number - t->word))
        return true;
    return addresses_ascend(t, t->index_end, t->index_end + array);
}

/* ---- all of it
 * -------------------------------------------------------------------- */

static enum symbol_kind kind_of(char type)
{
    switch (type | 0x20) {
    case 't':
    case 'w':
        return SYMBOL_CODE;
    case 'd':
    case 'b':
    case 'r':
        return SYMBOL_DATA;
    default:
        return SYMBOL_OTHER;
    }
}

/* The name with its type in front. */
static size_t expand(const struct tables *t, size_t at, size_t length,
                     char name[NAME_MAX_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        const char *token =
            (const char *)t->bytes + t->token[t->bytes[at + i]];
        for (; *token && used < NAME_MAX_BYTES; token++)
            name[used++] = *token;
    }
    return used;
}

static struct symbol_table *build(const struct tables *t)
{
    char name[NAME_MAX_BYTES];
    size_t at = t->names, first, length;
    struct symbol_table *table = symbol_table_new("kernel");
    uint64_t end = 0;
    if (!table)
        return NULL;
    for (uint32_t i = 0; i < t->symbols; i++) {
        uint64_t address = address_of(t, i);
        if (!skip_name(t, &at, t->token[0], &first, &length))
            break;
        size_t n = expand(t, first, length, name);
        if (n > 1)
            symbol_table_add(table, name + 1, n - 1, address, 0,
                             address < t->base ? SYMBOL_OTHER
                                               : kind_of(name[0]));
        end = address;
    }
    symbol_table_set_range(table, t->base,
                           end + 4096 > end ? end + 4096 : UINT64_MAX);
    if (symbol_table_finish(table, NULL))
        return table;
    symbol_table_free(table);
    return NULL;
}

struct symbol_table *kallsyms_parse(const uint8_t *bytes, size_t count,
                                    size_t tokens, unsigned word,
                                    struct kallsyms *out)
{
    struct tables *t = calloc(1, sizeof *t);
    struct symbol_table *table = NULL;
    if (!t)
        return NULL;
    t->bytes = bytes;
    t->count = count;
    t->word = word;
    if (find_tokens(t, tokens) && find_names(t) && find_addresses(t) &&
        (table = build(t))) {
        out->base = t->base;
        out->tables = t->token[0];
    }
    free(t);
    return table;
}

/* ---- in memory
 * --------------------------------------------------------------------- */

/* Page-table isolation gives user mode tables that lack most of the kernel, one
 * page behind those that have it (arch/x86/include/asm/pgtable.h). */
static bool find_root(const struct guest_memory *g, struct kallsyms *k)
{
    const uint64_t roots[] = {g->cpu.cr3 & ~UINT64_C(0x1000), g->cpu.cr3};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t paddr, tables;
        if (!guest_translate(g, roots[i], k->base, &paddr) ||
            k->tables < paddr || k->tables - paddr > IMAGE_MAX ||
            !guest_translate(g, roots[i], k->base + (k->tables - paddr),
                             &tables) ||
            tables != k->tables)
            continue;
        k->root = roots[i];
        k->paddr = paddr;
        return true;
    }
    return false;
}

/* A copy of what is around a place; its start is page-aligned. */
static uint8_t *copy_around(const struct guest_memory *g, uint64_t paddr,
                            uint64_t *start, size_t *count)
{
    *start = paddr > BEFORE ? (paddr - BEFORE) & ~UINT64_C(0xfff) : 0;
    uint8_t *bytes = calloc(1, BEFORE + BEHIND + 4096);
    if (!bytes)
        return NULL;
    size_t before = (size_t)(paddr - *start), at = 0;
    for (; at < before; at += 4096) /* holes stay zero */
        (void)guest_read_physical(g, *start + at, bytes + at, 4096);
    *count = at + guest_read_physical(g, *start + at, bytes + at, BEHIND);
    return bytes;
}

static struct symbol_table *try_at(const struct guest_memory *g,
                                   uint64_t paddr, struct kallsyms *k)
{
    uint64_t start;
    size_t count;
    uint8_t *bytes = copy_around(g, paddr, &start, &count);
    struct symbol_table *t = NULL;
    if (bytes)
        t = kallsyms_parse(bytes, count, (size_t)(paddr - start),
                           guest_word(g), k);
    if (t) {
        memcpy(k->mark, bytes + k->tables, sizeof k->mark);
        k->tables += start;
        if (!find_root(g, k)) {
            symbol_table_free(t);
            t = NULL;
        }
    }
    free(bytes);
    return t;
}

enum { HITS_MAX = 64 };

struct symbol_table *kallsyms_find(const struct guest_memory *g,
                                   struct kallsyms *out)
{
    static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
    uint64_t at = 0;
    if (g->mode == PAGING_OFF)
        return NULL;
    for (unsigned n = 0; n < HITS_MAX; n++) {
        at = guest_search_physical(g, at, UINT64_MAX, digits, sizeof digits);
        if (at == UINT64_MAX)
            return NULL;
        struct symbol_table *t = try_at(g, at, out);
        if (t)
            return t;
        at++;
    }
    return NULL;
}

bool kallsyms_is_there(const struct guest_memory *g, struct kallsyms *k)
{
    uint8_t now[KALLSYMS_MARK_BYTES];
    return guest_read_physical(g, k->tables, now, sizeof now) == sizeof now &&
           memcmp(now, k->mark, sizeof now) == 0 && find_root(g, k);
}
