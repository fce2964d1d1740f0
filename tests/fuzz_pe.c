/* PE images in a guest's memory: headers, exports, sections, the name of the
 * PDB file. An edited image must never make the reader leave it. */
#include "lib_fuzz.h"
#include "lib_fuzz_pe.h"

#include "analysis/pe.h"

#include <string.h>

#define BASE UINT64_C(0x80000000)

struct world {
    uint8_t bytes[PEIMAGE_BYTES];
    size_t count;
};

static bool read_world(void *context, uint64_t address, void *out, size_t bytes)
{
    struct world *w = context;
    if (address - BASE > w->count || bytes > w->count - (address - BASE))
        return false;
    memcpy(out, w->bytes + (address - BASE), bytes);
    return true;
}

static bool check_export(void *context, const char *name, uint64_t address)
{
    const struct pe_image *pe = context;
    if (strlen(name) >= PE_NAME_MAX)
        fuzz_fail("a name of %zu bytes", strlen(name));
    if (address - pe->base >= pe->bytes)
        fuzz_fail("%s is outside of the image", name);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct peimage_export exports[] = {
        {"Elsewhere", 0},
        {"KeBugCheckEx", PEIMAGE_TEXT + 0x100},
        {"ZwClose", PEIMAGE_TEXT + 0x40},
    };
    struct fuzz f = fuzz_begin(data, size);
    struct world w;
    struct pe_memory memory = {.read = read_world, .context = &w};
    struct pe_image pe;
    struct pe_section section;
    struct pe_pdb pdb;
    char name[PE_NAME_MAX];
    uint64_t offset;
    peimage_make(w.bytes, fuzz_u8(&f) & 1, "a.exe", exports, 3);
    w.count = sizeof w.bytes;
    fuzz_edit(&f, w.bytes, &w.count, sizeof w.bytes);
    if (!pe_find(&pe, &memory, BASE + fuzz_u16(&f) % PEIMAGE_BYTES))
        return 0;
    pe_exports_each(&pe, check_export, &pe);
    if (pe_nearest(&pe, BASE + fuzz_u16(&f), name, &offset) &&
        offset >= pe.bytes)
        fuzz_fail("nearest export is %llu bytes away",
                  (unsigned long long)offset);
    (void)pe_name(&pe, name);
    (void)pe_pdb(&pe, &pdb);
    for (unsigned n = 0; n < 100; n++)
        if (pe_section(&pe, n, &section) &&
            (section.address - pe.base >= pe.bytes ||
             section.bytes > pe.bytes - (section.address - pe.base)))
            fuzz_fail("section %u is outside of the image", n);
    return 0;
}
