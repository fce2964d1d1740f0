#include "lib_fuzz_symbols.h"

#include "base/bytes.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

/* ---- appending
 * ------------------------------------------------------------------------ */

struct out {
    uint8_t *bytes;
    size_t used;
};

static void put(struct out *o, const void *bytes, size_t n)
{
    memcpy(o->bytes + o->used, bytes, n);
    o->used += n;
}

static void put_n(struct out *o, uint64_t value, unsigned n)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    put(o, bytes, n);
}

static void put_text(struct out *o, const char *text)
{
    put(o, text, strlen(text) + 1);
}

static void align(struct out *o, size_t to)
{
    while (o->used % to)
        o->bytes[o->used++] = 0;
}

/* ---- ELF
 * -------------------------------------------------------------------------------- */

enum { ELF_SECTIONS = 9 };

struct section {
    uint32_t name, type, link, info;
    uint64_t flags, address, offset, size, entry;
};

static void put_elf_symbol(struct out *o, bool is_64, uint32_t name,
                           uint64_t value, uint64_t size, unsigned type,
                           uint16_t section)
{
    put_n(o, name, 4);
    if (is_64) {
        put_n(o, ELF64_ST_INFO(STB_GLOBAL, type), 1);
        put_n(o, 0, 1);
        put_n(o, section, 2);
        put_n(o, value, 8);
        put_n(o, size, 8);
    } else {
        put_n(o, value, 4);
        put_n(o, size, 4);
        put_n(o, ELF32_ST_INFO(STB_GLOBAL, type), 1);
        put_n(o, 0, 1);
        put_n(o, section, 2);
    }
}

/* .debug_abbrev, .debug_info, .debug_line */
static void put_dwarf(struct out *o, struct section s[3], unsigned word)
{
    static const uint8_t abbrev[] = {1, 0x11, 0, 0x03, 0x08, 0x10, 0x17,
                                     0x11, 0x01, 0x12, 0x06, 0,    0,    0};
    static const uint8_t lengths[] = {0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1};
    s[0].offset = o->used;
    put(o, abbrev, sizeof abbrev);
    s[0].size = o->used - s[0].offset;
    s[1].offset = o->used;
    put_n(o, 4 + 2 + 1 + 1 + 4 + 4 + word + 4, 4);
    put_n(o, 4, 2);
    put_n(o, 0, 4);
    put_n(o, word, 1);
    put_n(o, 1, 1);
    put_text(o, "x.c");
    put_n(o, 0, 4);
    put_n(o, 0x401000, word);
    put_n(o, 0x20, 4);
    s[1].size = o->used - s[1].offset;
    s[2].offset = o->used;
    put_n(o, 0, 4);
    put_n(o, 4, 2);
    size_t header = o->used;
    put_n(o, 0, 4);
    put(o, "\1\1\1\xfb\x0e\x0d", 6); /* min, ops, is_stmt, base, range, first */
    put(o, lengths, sizeof lengths);
    put_n(o, 0, 1); /* no directories */
    put_text(o, "x.c");
    put(o, "\0\0\0\0", 4); /* its directory, time, size; no more files */
    store_le32(o->bytes + header, (uint32_t)(o->used - header - 4));
    put_n(o, 0, 1); /* extended: set address */
    put_n(o, word + 1, 1);
    put_n(o, 2, 1);
    put_n(o, 0x401000, word);
    put(o, "\x03\x06\x01", 3);         /* line += 6, copy */
    put(o, "\x02\x08\x03\x02\x01", 5); /* pc += 8, line += 2, copy */
    put(o, "\x02\x18\0\1\1", 5);       /* pc += 18h, end */
    s[2].size = o->used - s[2].offset;
    store_le32(o->bytes + s[2].offset, (uint32_t)(s[2].size - 4));
}

static void put_section(struct out *o, bool is_64, const struct section *s)
{
    unsigned n = is_64 ? 8 : 4;
    put_n(o, s->name, 4);
    put_n(o, s->type, 4);
    put_n(o, s->flags, n);
    put_n(o, s->address, n);
    put_n(o, s->offset, n);
    put_n(o, s->size, n);
    put_n(o, s->link, 4);
    put_n(o, s->info, 4);
    put_n(o, 1, n);
    put_n(o, s->entry, n);
}

static void put_elf_header(struct out *o, bool is_64, uint64_t sections)
{
    unsigned n = is_64 ? 8 : 4;
    put(o, "\x7f" "ELF", 4);
    put_n(o, is_64 ? 2 : 1, 1);
    put(o, "\1\1\0\0\0\0\0\0\0\0", 11);
    o->used = 16;
    put_n(o, ET_EXEC, 2);
    put_n(o, is_64 ? EM_X86_64 : EM_386, 2);
    put_n(o, 1, 4);
    put_n(o, 0x401000, n);
    put_n(o, 0, n);
    put_n(o, sections, n);
    put_n(o, 0, 4);
    put_n(o, is_64 ? 64 : 52, 2);
    put_n(o, is_64 ? 56 : 32, 2);
    put_n(o, 0, 2);
    put_n(o, is_64 ? 64 : 40, 2);
    put_n(o, ELF_SECTIONS, 2);
    put_n(o, 6, 2);
}

size_t symimage_elf(uint8_t out[SYMIMAGE_BYTES], bool is_64, bool has_lines)
{
    static const char strings[] = "\0first\0second\0data";
    static const char names[] = "\0.text\0.data\0.symtab\0.strtab\0"
                                ".shstrtab\0.debug_abbrev\0.debug_info\0"
                                ".debug_line";
    struct out o = {out, is_64 ? 64 : 52};
    struct section s[ELF_SECTIONS] = {
        [1] = {1, SHT_PROGBITS, 0, 0, SHF_ALLOC | SHF_EXECINSTR, 0x401000, 0,
               32, 0},
        [2] = {7, SHT_PROGBITS, 0, 0, SHF_ALLOC | SHF_WRITE, 0x402000, 0, 16,
               0},
        [3] = {39, SHT_PROGBITS, 0, 0, 0, 0, 0, 0, 0},
        [4] = {13, SHT_SYMTAB, 5, 1, 0, 0, 0, 0, is_64 ? 24 : 16},
        [5] = {21, SHT_STRTAB, 0, 0, 0, 0, 0, sizeof strings, 0},
        [6] = {29, SHT_STRTAB, 0, 0, 0, 0, 0, sizeof names, 0},
        [7] = {53, SHT_PROGBITS, 0, 0, 0, 0, 0, 0, 0},
        [8] = {65, SHT_PROGBITS, 0, 0, 0, 0, 0, 0, 0}};
    memset(out, 0, SYMIMAGE_BYTES);
    s[4].offset = o.used;
    put_elf_symbol(&o, is_64, 0, 0, 0, 0, 0);
    put_elf_symbol(&o, is_64, 1, 0x401000, 16, STT_FUNC, 1);
    put_elf_symbol(&o, is_64, 7, 0x401010, 16, STT_FUNC, 1);
    put_elf_symbol(&o, is_64, 14, 0x402000, 4, STT_OBJECT, 2);
    s[4].size = o.used - s[4].offset;
    s[5].offset = o.used;
    put(&o, strings, sizeof strings);
    s[6].offset = o.used;
    put(&o, names, sizeof names);
    if (has_lines) {
        struct section dwarf[3] = {s[3], s[7], s[8]};
        put_dwarf(&o, dwarf, is_64 ? 8 : 4);
        s[3] = dwarf[0];
        s[7] = dwarf[1];
        s[8] = dwarf[2];
    }
    align(&o, 8);
    uint64_t sections = o.used;
    for (unsigned i = 0; i < ELF_SECTIONS; i++)
        put_section(&o, is_64, &s[i]);
    struct out header = {out, 0};
    put_elf_header(&header, is_64, sections);
    return o.used;
}

/* ---- PDB
 * -------------------------------------------------------------------------------- */

enum { BLOCK = 512, PDB_STREAMS = 10 };

static void put_type(struct out *o, uint16_t kind, const struct out *body)
{
    struct out padded = *body;
    align(&padded, 4);
    put_n(o, padded.used + 2, 2);
    put_n(o, kind, 2);
    put(o, padded.bytes, padded.used);
}

static void put_member(struct out *o, uint32_t type, uint16_t offset,
                       const char *name)
{
    put_n(o, 0x150d, 2);
    put_n(o, 3, 2);
    put_n(o, type, 4);
    put_n(o, offset, 2);
    put_text(o, name);
    align(o, 4);
}

static void put_structure(struct out *o, uint16_t properties, uint32_t fields,
                          uint16_t bytes, const char *name)
{
    uint8_t room[64];
    struct out b = {room, 0};
    put_n(&b, 1, 2);
    put_n(&b, properties, 2);
    put_n(&b, fields, 4);
    put_n(&b, 0, 8);
    put_n(&b, bytes, 2);
    put_text(&b, name);
    put_type(o, 0x1505, &b);
}

/* 1000h: "in" declared; 1001h: fields of s; 1002h: s; 1003h, 1004h: in. */
static void put_types(struct out *o)
{
    uint8_t room[128], records_room[512];
    struct out records = {records_room, 0}, b = {room, 0};
    put_structure(&records, 0x80, 0, 0, "in");
    put_member(&b, 0x74, 0, "a");
    put_member(&b, 0x1000, 8, "in");
    put_type(&records, 0x1203, &b);
    put_structure(&records, 0, 0x1001, 16, "s");
    b.used = 0;
    put_member(&b, 0x74, 4, "b");
    put_type(&records, 0x1203, &b);
    put_structure(&records, 0, 0x1003, 8, "in");
    put_n(o, 20040203, 4);
    put_n(o, 56, 4);
    put_n(o, 0x1000, 4);
    put_n(o, 0x1005, 4);
    put_n(o, records.used, 4);
    o->used += 36;
    put(o, records.bytes, records.used);
}

/* One module, and the optional header. */
static void put_debug(struct out *o, uint32_t module_bytes)
{
    uint16_t optional[11];
    size_t start = o->used;
    memset(optional, 0xff, sizeof optional);
    optional[4] = 7;  /* the map; 0 bytes when there is none */
    optional[5] = 6;  /* sections */
    optional[10] = 6; /* as they were */
    put_n(o, UINT32_MAX, 4);
    o->used = start + 20;
    put_n(o, 5, 2); /* symbol records */
    o->used = start + 24;
    put_n(o, 64 + 8, 4);
    o->used = start + 48;
    put_n(o, sizeof optional, 4);
    o->used = start + 64 + 34;
    put_n(o, 4, 2); /* the module's stream */
    put_n(o, module_bytes, 4);
    o->used = start + 128;
    put(o, "m.o\0l.a", 8);
    put(o, optional, sizeof optional);
}

static void put_module(struct out *o)
{
    put_n(o, 4, 4);
    put_n(o, 2 + 35 + 5, 2);
    put_n(o, 0x1110, 2);
    o->used += 12;
    put_n(o, 0x20, 4);
    put_n(o, 0, 8);
    o->used += 4;
    put_n(o, 0x10, 4);
    put_n(o, 1, 2);
    put_n(o, 0, 1);
    put_text(o, "proc");
}

static void put_pdb_stream(struct out *o, unsigned index, bool has_map)
{
    static const uint32_t map[] = {0x1000, 0x1100, 0x3000, 0, 0x3008, 0x3008};
    switch (index) {
    case 1:
        put_n(o, 20000404, 4);
        put_n(o, 0, 4);
        put_n(o, 3, 4);
        put(o, "0123456789abcdef", 16);
        break;
    case 2:
        put_types(o);
        break;
    case 3:
        put_debug(o, 4 + 4 + 35 + 5);
        break;
    case 4:
        put_module(o);
        break;
    case 5:
        put_n(o, 2 + 10 + 8, 2);
        put_n(o, 0x110e, 2);
        put_n(o, 0, 4);
        put_n(o, 8, 4);
        put_n(o, 2, 2);
        put_text(o, "_public");
        break;
    case 6:
        for (unsigned i = 0; i < 2; i++) {
            put(o, i ? ".data\0\0" : ".text\0\0", 8);
            put_n(o, 0x1000, 4);
            put_n(o, i ? 0x3000 : 0x1000, 4);
            o->used += 24;
        }
        break;
    case 7:
        if (has_map)
            put(o, map, sizeof map);
        break;
    default:
        break;
    }
}

/* Block 0: the superblock; 1: the list of the directory's blocks; 2: the
 * directory; then the streams. */
size_t symimage_pdb(uint8_t out[SYMIMAGE_BYTES], bool has_map)
{
    uint32_t sizes[PDB_STREAMS];
    struct out o = {out, 3 * BLOCK}, head = {out, 0}, list = {out, 2 * BLOCK};
    memset(out, 0, SYMIMAGE_BYTES);
    list.used += 4 + 4 * PDB_STREAMS;
    for (unsigned i = 0; i < PDB_STREAMS; i++) {
        size_t start = o.used;
        put_pdb_stream(&o, i, has_map);
        sizes[i] = (uint32_t)(o.used - start);
        for (size_t at = start; at < o.used; at += BLOCK)
            put_n(&list, at / BLOCK, 4);
        o.used = (o.used + BLOCK - 1) / BLOCK * BLOCK;
    }
    size_t directory = list.used - 2 * BLOCK;
    list.used = 2 * BLOCK;
    put_n(&list, PDB_STREAMS, 4);
    put(&list, sizes, sizeof sizes);
    put(&head, "Microsoft C/C++ MSF 7.00\r\n\x1a" "DS\0\0", 32);
    put_n(&head, BLOCK, 4);
    put_n(&head, 1, 4);
    put_n(&head, o.used / BLOCK, 4);
    put_n(&head, directory, 4);
    put_n(&head, 0, 4);
    put_n(&head, 1, 4);
    store_le32(out + BLOCK, 2);
    return o.used;
}

/* ---- BTF
 * -------------------------------------------------------------------------------- */

static void put_btf_type(struct out *o, uint32_t name, unsigned kind,
                         unsigned vlen, bool flag, uint32_t size)
{
    put_n(o, name, 4);
    put_n(o, kind << 24 | vlen | (uint32_t)flag << 31, 4);
    put_n(o, size, 4);
}

static void put_btf_member(struct out *o, uint32_t name, uint32_t type,
                           uint32_t offset)
{
    put_n(o, name, 4);
    put_n(o, type, 4);
    put_n(o, offset, 4);
}

size_t symimage_btf(uint8_t out[SYMIMAGE_BYTES])
{
    static const char strings[] =
        "\0int\0task\0pid\0a\0u\0deep\0links\0bits\0list\0next\0previous";
    struct out o = {out, 24};
    memset(out, 0, SYMIMAGE_BYTES);
    put_btf_type(&o, 1, 1, 0, false, 4); /* 1: int */
    put_n(&o, 32, 4);
    put_btf_type(&o, 0, 2, 0, false, 0);     /* 2: void * */
    put_btf_type(&o, 34, 4, 2, false, 16);   /* 3: list */
    put_btf_member(&o, 39, 2, 0);
    put_btf_member(&o, 44, 2, 64);
    put_btf_type(&o, 0, 5, 2, false, 8);     /* 4: the union */
    put_btf_member(&o, 16, 1, 0);
    put_btf_member(&o, 18, 1, 0);
    put_btf_type(&o, 0, 4, 2, false, 16);    /* 5: the structure in it */
    put_btf_member(&o, 14, 1, 0);
    put_btf_member(&o, 0, 4, 64);
    put_btf_type(&o, 0, 10, 0, false, 3);    /* 6: const list */
    put_btf_type(&o, 5, 4, 4, true, 48);     /* 7: task */
    put_btf_member(&o, 10, 1, 0);
    put_btf_member(&o, 0, 5, 64);
    put_btf_member(&o, 23, 6, 192);
    put_btf_member(&o, 29, 1, 3u << 24 | 320);
    size_t types = o.used - 24;
    put(&o, strings, sizeof strings);
    struct out head = {out, 0};
    put_n(&head, 0xeb9f, 2);
    put_n(&head, 1, 2);
    put_n(&head, 24, 4);
    put_n(&head, 0, 4);
    put_n(&head, types, 4);
    put_n(&head, types, 4);
    put_n(&head, sizeof strings, 4);
    return o.used;
}

/* ---- kallsyms
 * --------------------------------------------------------------------------- */

enum { FUNCTIONS = 600 };

/* Every character is a token of itself but 1, which is "Tf". */
static void put_tokens(struct out *o, size_t *zero, unsigned word)
{
    uint16_t index[256];
    size_t start = o->used;
    for (unsigned i = 0; i < 256; i++) {
        index[i] = (uint16_t)(o->used - start);
        if (i == '0')
            *zero = o->used;
        if (i == 1)
            put_text(o, "Tf");
        else {
            put_n(o, i == 0 ? '?' : i, 1);
            put_n(o, 0, 1);
        }
    }
    align(o, word);
    put(o, index, sizeof index);
    align(o, word);
}

static void put_offsets(struct out *o, unsigned word, uint64_t base,
                        unsigned extra)
{
    for (unsigned i = 0; i < extra; i++)
        put_n(o, 0x40, 4);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        put_n(o, word == 8 ? (uint32_t)(-1 - 16 * (int)i) : 16 * i, 4);
    align(o, word);
    put_n(o, base, word);
}

static void put_names(struct out *o, unsigned word, unsigned extra,
                      uint32_t markers[3])
{
    size_t start = o->used;
    for (unsigned i = 0; i < FUNCTIONS + extra; i++) {
        char text[16] = "Dcpu";
        if (i % 256 == 0)
            markers[i / 256] = (uint32_t)(o->used - start);
        if (i >= extra)
            (void)snprintf(text, sizeof text, "\1%u", i - extra);
        put_n(o, strlen(text), 1);
        put(o, text, strlen(text));
    }
    align(o, word);
}

size_t symimage_kallsyms(uint8_t out[SYMIMAGE_BYTES], unsigned word,
                         unsigned order, uint64_t base, size_t *tokens)
{
    unsigned extra = word == 8; /* a per-CPU variable */
    uint32_t markers[3];
    struct out o = {out, 64};
    memset(out, 0, SYMIMAGE_BYTES);
    if (order < 2)
        put_offsets(&o, word, base, extra);
    put_n(&o, FUNCTIONS + extra, 4);
    align(&o, word);
    put_names(&o, word, extra, markers);
    put(&o, markers, sizeof markers);
    align(&o, word);
    if (order == 1) {
        for (unsigned i = 0; i < FUNCTIONS + extra; i++)
            put_n(&o, i, 3);
        align(&o, word);
    }
    put_tokens(&o, tokens, word);
    if (order == 2)
        put_offsets(&o, word, base, extra);
    return o.used;
}
