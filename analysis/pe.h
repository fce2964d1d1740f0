/* PE images as they lie in memory, read through a callback: the headers, the
 * exports, the sections and the name of the PDB file ("PE Format",
 * Microsoft's specification). Every byte may be hostile: offsets are checked
 * against the image's size, counts are bounded, and what cannot be read fails.
 */
#ifndef RELIVE_ANALYSIS_PE_H
#define RELIVE_ANALYSIS_PE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the image lies: guest memory by linear address, or a buffer. */
struct pe_memory {
    /* All of it or false. */
    bool (*read)(void *context, uint64_t address, void *out, size_t bytes);
    void *context; /* borrowed */
};

enum {
    PE_I386 = 0x14c, /* values of machine */
    PE_AMD64 = 0x8664,
    PE_NAME_MAX = 512,         /* longest name that is read, with its NUL */
    PE_NAMES_MAX = 1 << 16,    /* exports that are looked at */
    PE_SEARCH_BYTES = 64 << 20 /* how far back an image's start is looked for */
};

struct pe_image {
    const struct pe_memory *memory; /* borrowed */
    uint64_t base;
    uint32_t bytes; /* of the image in memory */
    uint32_t entry; /* these are relative to base, 0: none */
    uint32_t exports, exports_bytes;
    uint32_t debug, debug_bytes;
    uint32_t section_table;
    uint32_t timestamp;
    uint16_t machine, sections;
    bool is_64; /* PE32+ */
};

/* The image that begins at base. False: there is none. */
bool pe_open(struct pe_image *pe, const struct pe_memory *memory,
             uint64_t base);
/* The image that an address lies in: the nearest below whose size reaches it.
 * Pages that cannot be read are passed over. */
bool pe_find(struct pe_image *pe, const struct pe_memory *memory,
             uint64_t inside);

/* Named exports, in the order of the table; those that forward to another
 * image are left out. False stops. The name lives until the call returns. */
typedef bool pe_export_fn(void *context, const char *name, uint64_t address);
void pe_exports_each(const struct pe_image *pe, pe_export_fn *fn,
                     void *context);
/* The address of an export; false: there is none of that name. */
bool pe_export(const struct pe_image *pe, const char *name, uint64_t *address);
/* The last export at or below an address in the image, and its distance. */
bool pe_nearest(const struct pe_image *pe, uint64_t address,
                char name[PE_NAME_MAX], uint64_t *offset);

/* The module's own name, from its export table ("ntoskrnl.exe"). */
bool pe_name(const struct pe_image *pe, char name[PE_NAME_MAX]);

struct pe_section {
    char name[9];
    uint64_t address;
    uint32_t bytes, flags;
};
bool pe_section(const struct pe_image *pe, unsigned index,
                struct pe_section *out);

/* What names the PDB file (CodeView record "RSDS"). */
struct pe_pdb {
    uint8_t guid[16];
    uint32_t age;
    char name[PE_NAME_MAX];
};
bool pe_pdb(const struct pe_image *pe, struct pe_pdb *out);

#endif
