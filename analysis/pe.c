#include "analysis/pe.h"

#include "base/bytes.h"

#include <string.h>

enum {
    PAGE = 4096,
    DOS_BYTES = 64,
    COFF_BYTES = 24,      /* signature and file header */
    OPTIONAL_BYTES = 112, /* up to the directories of PE32+ */
    SECTION_BYTES = 40,
    DEBUG_BYTES = 28,
    DIRECTORY_EXPORT = 0,
    DIRECTORY_DEBUG = 6,
    DEBUG_CODEVIEW = 2,
    DEBUG_ENTRIES_MAX = 64,
    SECTIONS_MAX = 96, /* the loader's own limit */
    MAGIC_32 = 0x10b,
    MAGIC_64 = 0x20b
};

/* ---- reading
 * ------------------------------------------------------------------ */

static bool get(const struct pe_image *pe, uint64_t rva, void *out,
                size_t bytes)
{
    return rva <= pe->bytes && bytes <= pe->bytes - rva &&
           pe->memory->read(pe->memory->context, pe->base + rva, out, bytes);
}

/* Text with its NUL; a longer one fails. Reads up to the ends of pages, for
 * what follows need not be there. */
static bool get_text(const struct pe_image *pe, uint64_t rva,
                     char out[PE_NAME_MAX])
{
    size_t used = 0;
    while (used < PE_NAME_MAX && rva < pe->bytes) {
        size_t n = PAGE - (size_t)((pe->base + rva) % PAGE);
        n = n < PE_NAME_MAX - used ? n : PE_NAME_MAX - used;
        n = n < 64 ? n : 64;
        n = n < pe->bytes - rva ? n : (size_t)(pe->bytes - rva);
        if (!get(pe, rva, out + used, n))
            return false;
        if (memchr(out + used, 0, n))
            return true;
        used += n;
        rva += n;
    }
    return false;
}

/* ---- headers
 * ------------------------------------------------------------------ */

/* A data directory that lies in the image, else none. */
static void take_directory(const struct pe_image *pe, const uint8_t *entry,
                           uint32_t *rva, uint32_t *bytes)
{
    *rva = load_le32(entry);
    *bytes = load_le32(entry + 4);
    if (*rva >= pe->bytes || *bytes > pe->bytes - *rva)
        *rva = *bytes = 0;
}

static bool read_optional(struct pe_image *pe, uint64_t rva, unsigned size)
{
    uint8_t head[OPTIONAL_BYTES + 8 * (DIRECTORY_DEBUG + 1)] = {0};
    size_t n = size < sizeof head ? size : sizeof head;
    /* The size of the image is not known yet: the headers are in its page. */
    pe->bytes = 2 * PAGE;
    if (n < 96 || !get(pe, rva, head, n))
        return false;
    unsigned magic = load_le16(head);
    if (magic != MAGIC_32 && magic != MAGIC_64)
        return false;
    pe->is_64 = magic == MAGIC_64;
    unsigned at = pe->is_64 ? OPTIONAL_BYTES : 96;
    uint32_t count = load_le32(head + at - 4);
    pe->bytes = load_le32(head + 56);
    pe->entry = load_le32(head + 16);
    if (pe->bytes < PAGE || pe->bytes > PE_SEARCH_BYTES * 4u)
        return false;
    if (pe->entry >= pe->bytes)
        pe->entry = 0;
    if (count > DIRECTORY_EXPORT)
        take_directory(pe, head + at, &pe->exports, &pe->exports_bytes);
    if (count > DIRECTORY_DEBUG)
        take_directory(pe, head + at + 8 * DIRECTORY_DEBUG, &pe->debug,
                       &pe->debug_bytes);
    return true;
}

bool pe_open(struct pe_image *pe, const struct pe_memory *memory, uint64_t base)
{
    uint8_t dos[DOS_BYTES], coff[COFF_BYTES];
    *pe = (struct pe_image){.memory = memory, .base = base, .bytes = PAGE};
    if (!get(pe, 0, dos, sizeof dos) || dos[0] != 'M' || dos[1] != 'Z')
        return false;
    uint32_t at = load_le32(dos + 60);
    if (at > PAGE - COFF_BYTES || !get(pe, at, coff, sizeof coff) ||
        memcmp(coff, "PE\0\0", 4) != 0)
        return false;
    unsigned optional = load_le16(coff + 20);
    pe->machine = load_le16(coff + 4);
    pe->sections = load_le16(coff + 6);
    pe->timestamp = load_le32(coff + 8);
    pe->section_table = at + COFF_BYTES + optional;
    if (pe->sections > SECTIONS_MAX)
        pe->sections = SECTIONS_MAX;
    return read_optional(pe, at + COFF_BYTES, optional);
}

bool pe_find(struct pe_image *pe, const struct pe_memory *memory,
             uint64_t inside)
{
    uint64_t base = inside & -(uint64_t)PAGE;
    for (uint64_t back = 0; back < PE_SEARCH_BYTES && back <= base;
         back += PAGE)
        if (pe_open(pe, memory, base - back) &&
            inside - (base - back) < pe->bytes)
            return true;
    return false;
}

/* ---- exports
 * ------------------------------------------------------------------ */

struct exports {
    uint32_t functions, names, address_table, name_table, ordinal_table;
};

static bool read_exports(const struct pe_image *pe, struct exports *e)
{
    uint8_t d[40];
    if (!pe->exports || !get(pe, pe->exports, d, sizeof d))
        return false;
    e->functions = load_le32(d + 20);
    e->names = load_le32(d + 24);
    e->address_table = load_le32(d + 28);
    e->name_table = load_le32(d + 32);
    e->ordinal_table = load_le32(d + 36);
    if (e->names > PE_NAMES_MAX)
        e->names = PE_NAMES_MAX;
    return true;
}

/* The address that name n stands for; false: forwarded, or not in the image. */
static bool export_address(const struct pe_image *pe, const struct exports *e,
                           uint32_t n, uint64_t *address)
{
    uint8_t ordinal[2], rva[4];
    if (!get(pe, e->ordinal_table + 2 * (uint64_t)n, ordinal, 2) ||
        load_le16(ordinal) >= e->functions ||
        !get(pe, e->address_table + 4 * (uint64_t)load_le16(ordinal), rva, 4))
        return false;
    uint32_t at = load_le32(rva);
    if (at == 0 || at >= pe->bytes || at - pe->exports < pe->exports_bytes)
        return false;
    *address = pe->base + at;
    return true;
}

void pe_exports_each(const struct pe_image *pe, pe_export_fn *fn, void *context)
{
    struct exports e;
    char name[PE_NAME_MAX];
    uint8_t rva[4];
    uint64_t address;
    if (!read_exports(pe, &e))
        return;
    for (uint32_t n = 0; n < e.names; n++)
        if (get(pe, e.name_table + 4 * (uint64_t)n, rva, 4) &&
            get_text(pe, load_le32(rva), name) &&
            export_address(pe, &e, n, &address) && !fn(context, name, address))
            return;
}

struct wanted {
    const char *name;
    uint64_t address;
    bool found;
};

static bool is_wanted(void *context, const char *name, uint64_t address)
{
    struct wanted *w = context;
    if (strcmp(name, w->name) != 0)
        return true;
    w->address = address;
    w->found = true;
    return false;
}

bool pe_export(const struct pe_image *pe, const char *name, uint64_t *address)
{
    struct wanted w = {.name = name};
    pe_exports_each(pe, is_wanted, &w);
    if (w.found)
        *address = w.address;
    return w.found;
}

struct nearest {
    uint64_t address, best;
    char *name;
    bool found;
};

static bool is_nearer(void *context, const char *name, uint64_t address)
{
    struct nearest *n = context;
    if (address > n->address || (n->found && address <= n->best))
        return true;
    n->best = address;
    n->found = true;
    strcpy(n->name, name);
    return true;
}

bool pe_nearest(const struct pe_image *pe, uint64_t address,
                char name[PE_NAME_MAX], uint64_t *offset)
{
    struct nearest n = {.address = address, .name = name};
    if (address - pe->base >= pe->bytes)
        return false;
    pe_exports_each(pe, is_nearer, &n);
    if (n.found)
        *offset = address - n.best;
    return n.found;
}

bool pe_name(const struct pe_image *pe, char name[PE_NAME_MAX])
{
    uint8_t rva[4];
    return pe->exports && get(pe, pe->exports + 12, rva, 4) &&
           load_le32(rva) != 0 && get_text(pe, load_le32(rva), name);
}

/* ---- sections and debugging information
 * --------------------------------------- */

bool pe_section(const struct pe_image *pe, unsigned index,
                struct pe_section *out)
{
    uint8_t row[SECTION_BYTES];
    if (index >= pe->sections ||
        !get(pe, pe->section_table + (uint64_t)index * SECTION_BYTES, row,
             sizeof row))
        return false;
    uint32_t rva = load_le32(row + 12);
    *out = (struct pe_section){.address = pe->base + rva,
                               .bytes = load_le32(row + 8),
                               .flags = load_le32(row + 36)};
    memcpy(out->name, row, 8);
    if (rva >= pe->bytes)
        return false;
    if (out->bytes > pe->bytes - rva)
        out->bytes = pe->bytes - rva;
    return true;
}

bool pe_pdb(const struct pe_image *pe, struct pe_pdb *out)
{
    uint8_t entry[DEBUG_BYTES], record[24];
    uint32_t count = pe->debug_bytes / DEBUG_BYTES;
    for (uint32_t n = 0; n < count && n < DEBUG_ENTRIES_MAX; n++) {
        if (!get(pe, pe->debug + (uint64_t)n * DEBUG_BYTES, entry,
                 sizeof entry) ||
            load_le32(entry + 12) != DEBUG_CODEVIEW)
            continue;
        uint32_t rva = load_le32(entry + 20);
        if (!get(pe, rva, record, sizeof record) ||
            memcmp(record, "RSDS", 4) != 0)
            continue;
        memcpy(out->guid, record + 4, sizeof out->guid);
        out->age = load_le32(record + 20);
        return get_text(pe, (uint64_t)rva + sizeof record, out->name);
    }
    return false;
}
