/* The exports of PE images: loaded ones, through whoever reads their memory,
 * and files, whose sections are looked up where they would be loaded. */
#include "analysis/symbols_pe.h"

#include "base/bytes.h"

#include <string.h>

/* ---- loaded images
 * ----------------------------------------------------------------- */

/* A pe_export_fn. */
static bool add_export(void *context, const char *name, uint64_t address)
{
    struct symbol_table *t = context;
    symbol_table_add(t, name, strlen(name), address, 0, SYMBOL_CODE);
    return true;
}

struct symbol_table *symbols_of_pe(const char *module,
                                   const struct pe_image *pe)
{
    struct symbol_table *t = symbol_table_new(module);
    if (!t)
        return NULL;
    pe_exports_each(pe, add_export, t);
    symbol_table_set_range(t, pe->base, pe->base + pe->bytes);
    if (symbol_table_finish(t, NULL))
        return t;
    symbol_table_free(t);
    return NULL;
}

/* ---- files
 * -------------------------------------------------------------------------- */

struct pe_file {
    const uint8_t *bytes;
    size_t count;
    uint64_t base;
    size_t headers;           /* bytes that are loaded as they are */
    const uint8_t *sections;  /* their headers */
    unsigned section_count;
};

/* The part of a section, or of the headers, that begins at an address. */
static const uint8_t *find_bytes(const struct pe_file *f, uint64_t rva,
                                 size_t *left)
{
    if (rva < f->headers) {
        *left = f->headers - (size_t)rva;
        return f->bytes + rva;
    }
    for (unsigned i = 0; i < f->section_count; i++) {
        const uint8_t *s = f->sections + (size_t)40 * i;
        uint64_t at = load_le32(s + 12), raw = load_le32(s + 20);
        uint64_t size = load_le32(s + 16);
        if (rva < at || rva - at >= size || raw > f->count ||
            size > f->count - raw)
            continue;
        *left = (size_t)(size - (rva - at));
        return f->bytes + raw + (rva - at);
    }
    return NULL;
}

/* A pe_memory.read. */
static bool read_file(void *context, uint64_t address, void *out,
                      size_t bytes)
{
    const struct pe_file *f = context;
    uint8_t *to = out;
    uint64_t rva = address - f->base;
    while (bytes > 0) {
        size_t left;
        const uint8_t *from = find_bytes(f, rva, &left);
        if (!from)
            return false;
        size_t n = left < bytes ? left : bytes;
        memcpy(to, from, n);
        to += n;
        rva += n;
        bytes -= n;
    }
    return true;
}

/* Where the headers are; false: this is no PE file. */
static bool read_headers(struct pe_file *f)
{
    if (f->count < 64 || f->bytes[0] != 'M' || f->bytes[1] != 'Z')
        return false;
    uint64_t at = load_le32(f->bytes + 60);
    if (at > f->count || f->count - at < 24 + 64 ||
        memcmp(f->bytes + at, "PE\0\0", 4) != 0)
        return false;
    const uint8_t *p = f->bytes + at;
    uint64_t sections = at + 24 + load_le16(p + 20);
    f->section_count = load_le16(p + 6);
    f->headers = load_le32(p + 24 + 60);
    f->base = load_le16(p + 24) == 0x20b ? load_le64(p + 24 + 24)
                                         : load_le32(p + 24 + 28);
    if (f->headers > f->count)
        f->headers = f->count;
    if (sections > f->count ||
        (uint64_t)40 * f->section_count > f->count - sections)
        return false;
    f->sections = f->bytes + sections;
    return true;
}

struct symbol_table *symbols_read_pe(const char *module, const char *path,
                                     const uint8_t *bytes, size_t count,
                                     bool has_base, uint64_t base,
                                     struct error *err)
{
    struct pe_file f = {.bytes = bytes, .count = count};
    const struct pe_memory memory = {read_file, &f};
    struct pe_image pe;
    bool is_pe = read_headers(&f);
    if (has_base)
        f.base = base;
    if (!is_pe || !pe_open(&pe, &memory, f.base)) {
        error_set(err, ERR_INPUT, "%s: expected a PE file", path);
        return NULL;
    }
    struct symbol_table *t = symbols_of_pe(module, &pe);
    if (!t) {
        error_set(err, ERR_NOMEM, "%s: out of memory for its symbols", path);
        return NULL;
    }
    if (symbol_table_count(t) > 0)
        return t;
    error_set(err, ERR_INPUT, "%s: expected a PE file with exports", path);
    symbol_table_free(t);
    return NULL;
}
