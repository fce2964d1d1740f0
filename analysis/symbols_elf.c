/* ELF files (System V ABI, "Object Files"): .symtab, or .dynsym where that was
 * stripped. All offsets come from the file and are checked. */
#include "analysis/symbols.h"
#include "base/bytes.h"

#include <elf.h>
#include <string.h>

/* The fields of both classes that matter here, as 64-bit values. */
struct section {
    uint32_t type, link;
    uint64_t flags, address, offset, size, entry;
};

struct elf {
    const uint8_t *bytes;
    size_t count;
    bool is_64;
    uint16_t type;
    uint64_t sections, segments; /* where their headers are */
    uint32_t section_count, segment_count;
    unsigned section_bytes, segment_bytes;
};

static bool is_inside(const struct elf *e, uint64_t offset, uint64_t size)
{
    return offset <= e->count && size <= e->count - offset;
}

static bool read_section(const struct elf *e, uint32_t index,
                         struct section *s)
{
    if (index >= e->section_count)
        return false;
    const uint8_t *p =
        e->bytes + e->sections + (uint64_t)index * e->section_bytes;
    s->type = load_le32(p + 4);
    if (e->is_64) {
        s->flags = load_le64(p + 8);
        s->address = load_le64(p + 16);
        s->offset = load_le64(p + 24);
        s->size = load_le64(p + 32);
        s->link = load_le32(p + 40);
        s->entry = load_le64(p + 56);
    } else {
        s->flags = load_le32(p + 8);
        s->address = load_le32(p + 12);
        s->offset = load_le32(p + 16);
        s->size = load_le32(p + 20);
        s->link = load_le32(p + 24);
        s->entry = load_le32(p + 36);
    }
    return s->type == SHT_NOBITS || is_inside(e, s->offset, s->size);
}

static bool read_header(struct elf *e, const char *name, struct error *err)
{
    const uint8_t *p = e->bytes;
    size_t header = sizeof(Elf32_Ehdr);
    if (e->count >= 5 && p[EI_CLASS] == ELFCLASS64)
        header = sizeof(Elf64_Ehdr);
    if (e->count < header || memcmp(p, ELFMAG, SELFMAG) != 0 ||
        p[EI_DATA] != ELFDATA2LSB)
        return error_set(err, ERR_INPUT,
                         "%s: expected a little-endian ELF file", name);
    e->is_64 = p[EI_CLASS] == ELFCLASS64;
    e->type = load_le16(p + 16);
    e->segments = e->is_64 ? load_le64(p + 32) : load_le32(p + 28);
    e->sections = e->is_64 ? load_le64(p + 40) : load_le32(p + 32);
    e->segment_bytes = load_le16(p + (e->is_64 ? 54 : 42));
    e->segment_count = load_le16(p + (e->is_64 ? 56 : 44));
    e->section_bytes = load_le16(p + (e->is_64 ? 58 : 46));
    e->section_count = load_le16(p + (e->is_64 ? 60 : 48));
    if (e->segment_bytes < (e->is_64 ? 56 : 32) ||
        !is_inside(e, e->segments,
                   (uint64_t)e->segment_count * e->segment_bytes))
        e->segment_count = 0;
    if (e->section_bytes < (e->is_64 ? 64 : 40) ||
        !is_inside(e, e->sections,
                   (uint64_t)e->section_count * e->section_bytes))
        return error_set(err, ERR_INPUT,
                         "%s: its section headers are not inside the file "
                         "(%zu bytes)",
                         name, e->count);
    return true;
}

/* Where the image's first byte is linked to be. */
static bool first_address(const struct elf *e, uint64_t *first, uint64_t *end)
{
    bool is_found = false;
    *first = UINT64_MAX;
    *end = 0;
    for (uint32_t i = 0; i < e->segment_count; i++) {
        const uint8_t *p =
            e->bytes + e->segments + (uint64_t)i * e->segment_bytes;
        uint64_t at = e->is_64 ? load_le64(p + 16) : load_le32(p + 8);
        uint64_t size = e->is_64 ? load_le64(p + 40) : load_le32(p + 20);
        /* The kernel's per-CPU segment lies at 0 in a kernel far above. */
        if (load_le32(p) != PT_LOAD || at + size < at ||
            (at == 0 && e->type == ET_EXEC))
            continue;
        *first = at < *first ? at : *first;
        *end = at + size > *end ? at + size : *end;
        is_found = true;
    }
    *first &= ~UINT64_C(0xfff);
    return is_found;
}

static enum symbol_kind kind_of(unsigned type)
{
    return type == STT_FUNC || type == STT_GNU_IFUNC ? SYMBOL_CODE
           : type == STT_OBJECT || type == STT_COMMON ? SYMBOL_DATA
                                                      : SYMBOL_OTHER;
}

/* One entry of a symbol table. Undefined ones, those of sections and files, and
 * per-CPU and thread-local offsets have no address. */
static void add_symbol(const struct elf *e, struct symbol_table *t,
                       const uint8_t *p, const struct section *names,
                       uint64_t bias)
{
    uint32_t name = load_le32(p);
    unsigned info = e->is_64 ? p[4] : p[12];
    uint16_t where = load_le16(p + (e->is_64 ? 6 : 14));
    uint64_t value = e->is_64 ? load_le64(p + 8) : load_le32(p + 4);
    uint64_t size = e->is_64 ? load_le64(p + 16) : load_le32(p + 8);
    unsigned type = ELF64_ST_TYPE(info);
    struct section home = {0};
    if (where == SHN_UNDEF || type == STT_SECTION || type == STT_FILE ||
        type == STT_TLS || name >= names->size)
        return;
    const char *text = (const char *)e->bytes + names->offset + name;
    if (where < SHN_LORESERVE) {
        if (!read_section(e, where, &home))
            return;
        if (e->type == ET_REL && !(home.flags & SHF_EXECINSTR))
            return;
    } else if (where == SHN_ABS && e->type != ET_EXEC) {
        return;
    }
    value += where == SHN_ABS ? 0 : bias;
    if (!e->is_64)
        value &= UINT32_MAX;
    symbol_table_add(t, text, names->size - name, value, size, kind_of(type));
}

static bool add_symbols(const struct elf *e, struct symbol_table *t,
                        uint32_t wanted, uint64_t bias)
{
    bool is_found = false;
    unsigned entry = e->is_64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
    for (uint32_t i = 0; i < e->section_count && !is_found; i++) {
        struct section s, names;
        if (!read_section(e, i, &s) || s.type != wanted ||
            !read_section(e, s.link, &names) || names.type != SHT_STRTAB)
            continue;
        is_found = true;
        for (uint64_t at = entry; at + entry <= s.size; at += entry)
            add_symbol(e, t, e->bytes + s.offset + at, &names, bias);
    }
    return is_found;
}

struct symbol_table *symbols_read_elf(const char *module, const char *path,
                                      const uint8_t *bytes, size_t count,
                                      bool has_base, uint64_t base,
                                      struct error *err)
{
    struct elf e = {.bytes = bytes, .count = count};
    uint64_t first = 0, end = 0;
    const char *name = path ? path : module;
    if (!read_header(&e, name, err))
        return NULL;
    bool has_image = first_address(&e, &first, &end);
    uint64_t bias = has_base ? base - (has_image ? first : 0) : 0;
    struct symbol_table *t = symbol_table_new(module);
    if (!t) {
        error_set(err, ERR_NOMEM, "%s: out of memory", name);
        return NULL;
    }
    if (!add_symbols(&e, t, SHT_SYMTAB, bias) &&
        !add_symbols(&e, t, SHT_DYNSYM, bias)) {
        error_set(err, ERR_INPUT,
                  "%s: expected an ELF file with symbols, found neither "
                  ".symtab nor .dynsym",
                  name);
        symbol_table_free(t);
        return NULL;
    }
    if (has_image)
        symbol_table_set_range(t, first + bias, end + bias);
    if (!symbol_table_finish(t, err) ||
        (path && !symbols_add_dwarf(t, path, bias, err))) {
        symbol_table_free(t);
        return NULL;
    }
    return t;
}
