/* Symbols (LLVM's "The PDB DBI Stream", "The Module Information Stream",
 * "CodeView Symbol Records"): addresses are sections and offsets, which the
 * image's section headers and, in images whose code was moved after linking,
 * an address map translate. */
#include "analysis/pdb_internal.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    S_LDATA32 = 0x110c,
    S_GDATA32 = 0x110d,
    S_PUB32 = 0x110e,
    S_LPROC32 = 0x110f,
    S_GPROC32 = 0x1110,
    S_LPROC32_ID = 0x1146,
    S_GPROC32_ID = 0x1147,
    DEBUG_HEADER = 64,
    MODULE_HEADER = 64,
    SECTION_HEADER = 40,
    NO_STREAM = 0xffff,
    OPTIONAL_OMAP = 4,      /* from the source's addresses to the image's */
    OPTIONAL_SECTIONS = 5,  /* of the image */
    OPTIONAL_ORIGINAL = 10, /* of the source, when there is a map */
    PUBLIC_IS_CODE = 2
};

struct reading {
    const struct pdb *p;
    struct symbol_table *table;
    uint64_t base;
    struct pdb_stream debug, sections, map;
};

/* ---- addresses
 * -------------------------------------------------------------------------- */

/* Pairs {from, to}, ascending; to 0: it was left out. */
static bool map_address(const struct pdb_stream *map, uint32_t *rva)
{
    uint32_t low = 0, high = map->count / 8;
    if (high == 0)
        return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (load_le32(map->bytes + 8 * (size_t)middle) <= *rva)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    const uint8_t *pair = map->bytes + 8 * (size_t)(low - 1);
    uint32_t to = load_le32(pair + 4);
    *rva = to + (*rva - load_le32(pair));
    return to != 0;
}

static void add(struct reading *r, const char *name, size_t bytes,
                uint32_t offset, uint16_t section, uint32_t size,
                enum symbol_kind kind)
{
    if (section == 0 || section > r->sections.count / SECTION_HEADER)
        return;
    const uint8_t *s =
        r->sections.bytes + (size_t)(section - 1) * SECTION_HEADER;
    uint32_t rva = load_le32(s + 12) + offset;
    if (map_address(&r->map, &rva))
        symbol_table_add(r->table, name, bytes, r->base + rva, size, kind);
}

/* ---- records
 * ---------------------------------------------------------------------------- */

/* One record: `at` is behind its kind, n bytes. */
static void add_record(struct reading *r, uint16_t kind, const uint8_t *at,
                       uint32_t n)
{
    const char *text = (const char *)at;
    switch (kind) {
    case S_PUB32:
        if (n > 10)
            add(r, text + 10, n - 10, load_le32(at + 4), load_le16(at + 8), 0,
                load_le32(at) & PUBLIC_IS_CODE ? SYMBOL_CODE : SYMBOL_DATA);
        break;
    case S_LDATA32:
    case S_GDATA32:
        if (n > 10)
            add(r, text + 10, n - 10, load_le32(at + 4), load_le16(at + 8), 0,
                SYMBOL_DATA);
        break;
    case S_LPROC32:
    case S_GPROC32:
    case S_LPROC32_ID:
    case S_GPROC32_ID:
        if (n > 35)
            add(r, text + 35, n - 35, load_le32(at + 28), load_le16(at + 32),
                load_le32(at + 12), SYMBOL_CODE);
        break;
    default:
        break;
    }
}

static void add_records(struct reading *r, const uint8_t *at, uint32_t count)
{
    while (count >= 4) {
        uint32_t n = load_le16(at);
        if (n < 2 || n > count - 2)
            return;
        add_record(r, load_le16(at + 2), at + 4, n - 2);
        at += n + 2;
        count -= n + 2;
    }
}

/* ---- streams
 * ---------------------------------------------------------------------------- */

/* Where the parts behind the header begin, in their order. */
static uint64_t part_offset(const struct pdb_stream *debug, unsigned part)
{
    /* module information, section contributions, section map, sources, type
     * servers, edit and continue, then the optional header; the last two are
     * described in the other order */
    static const uint8_t size_at[] = {24, 28, 32, 36, 40, 52};
    uint64_t at = DEBUG_HEADER;
    for (unsigned i = 0; i < part; i++)
        at += load_le32(debug->bytes + size_at[i]);
    return at;
}

static uint16_t optional_stream(const struct pdb_stream *debug, unsigned which)
{
    uint64_t at = part_offset(debug, 6) + UINT64_C(2) * which;
    uint32_t bytes = load_le32(debug->bytes + 48);
    if (2 * which + 2 > bytes || at + 2 > debug->count)
        return NO_STREAM;
    return load_le16(debug->bytes + at);
}

/* The symbols of each module that the linker was given. */
static void add_modules(struct reading *r)
{
    uint64_t at = DEBUG_HEADER;
    uint64_t end = at + load_le32(r->debug.bytes + 24);
    if (end > r->debug.count)
        end = r->debug.count;
    while (end - at > MODULE_HEADER) {
        const uint8_t *m = r->debug.bytes + at;
        uint16_t index = load_le16(m + 34);
        uint32_t bytes = load_le32(m + 36);
        struct pdb_stream s;
        if (index != NO_STREAM && pdb_stream_open(r->p, index, &s)) {
            if (bytes > 4 && bytes <= s.count)
                add_records(r, s.bytes + 4, bytes - 4);
            pdb_stream_close(&s);
        }
        at += MODULE_HEADER;
        for (unsigned names = 0; names < 2; names++) { /* and its library */
            const uint8_t *nul =
                memchr(r->debug.bytes + at, 0, (size_t)(end - at));
            if (!nul)
                return;
            at = (uint64_t)(nul - r->debug.bytes) + 1;
        }
        at = (at + 3) & ~UINT64_C(3);
        if (at > end)
            return;
    }
}

static void add_publics(struct reading *r)
{
    struct pdb_stream s;
    if (!pdb_stream_open(r->p, load_le16(r->debug.bytes + 20), &s))
        return;
    add_records(r, s.bytes, s.count);
    pdb_stream_close(&s);
}

static bool open_streams(struct reading *r, struct error *err)
{
    if (!pdb_stream_open(r->p, PDB_STREAM_DEBUG, &r->debug) ||
        r->debug.count < DEBUG_HEADER)
        return error_set(err, ERR_INPUT,
                         "%s: expected a PDB file with symbols, found no "
                         "debug stream",
                         r->p->name);
    bool has_map =
        pdb_stream_open(r->p, optional_stream(&r->debug, OPTIONAL_OMAP),
                        &r->map) &&
        r->map.count >= 8;
    unsigned which = has_map ? OPTIONAL_ORIGINAL : OPTIONAL_SECTIONS;
    if (pdb_stream_open(r->p, optional_stream(&r->debug, which),
                        &r->sections) &&
        r->sections.count >= SECTION_HEADER)
        return true;
    return error_set(err, ERR_INPUT,
                     "%s: expected a PDB file with the image's section "
                     "headers, found none",
                     r->p->name);
}

struct symbol_table *pdb_symbols(const struct pdb *p, const char *module,
                                 uint64_t base, struct error *err)
{
    struct reading r = {.p = p, .base = base};
    bool ok = open_streams(&r, err);
    if (ok && !(r.table = symbol_table_new(module)))
        ok = error_set(err, ERR_NOMEM, "%s: out of memory", p->name);
    if (ok) {
        add_modules(&r);
        add_publics(&r);
        ok = symbol_table_finish(r.table, err);
    }
    if (!ok) {
        symbol_table_free(r.table);
        r.table = NULL;
    }
    pdb_stream_close(&r.debug);
    pdb_stream_close(&r.sections);
    pdb_stream_close(&r.map);
    return r.table;
}

struct symbol_table *pdb_symbols_of_file(const char *module, const char *path,
                                         uint64_t base, struct error *err)
{
    struct pdb *p = pdb_open_file(path, err);
    struct symbol_table *t = p ? pdb_symbols(p, module, base, err) : NULL;
    pdb_close(p);
    return t;
}
