#include "lib_fuzz_pe.h"

#include "base/bytes.h"

#include <string.h>

enum {
    AT_PE = 0x80,
    AT_OPTIONAL = AT_PE + 24,
    AT_DIRECTORY = PEIMAGE_RDATA,        /* of exports */
    AT_FUNCTIONS = PEIMAGE_RDATA + 0x40, /* 64 each */
    AT_NAMES = PEIMAGE_RDATA + 0x140,
    AT_ORDINALS = PEIMAGE_RDATA + 0x240,
    AT_TEXTS = PEIMAGE_RDATA + 0x300,
    AT_DEBUG = PEIMAGE_RDATA + 0xe00,
    AT_RECORD = PEIMAGE_RDATA + 0xe40
};

static void put_section(uint8_t *row, const char *name, uint32_t rva,
                        uint32_t flags)
{
    strncpy((char *)row, name, 8);
    store_le32(row + 8, 0x1000);
    store_le32(row + 12, rva);
    store_le32(row + 16, 0x1000);
    store_le32(row + 20, rva);
    store_le32(row + 36, flags);
}

static void put_headers(uint8_t *image, bool is_64)
{
    unsigned optional = is_64 ? 0xf0 : 0xe0;
    uint8_t *o = image + AT_OPTIONAL;
    uint8_t *directories = o + (is_64 ? 112 : 96);
    memcpy(image, "MZ", 2);
    store_le32(image + 60, AT_PE);
    memcpy(image + AT_PE, "PE\0\0", 4);
    store_le16(image + AT_PE + 4, is_64 ? 0x8664 : 0x14c);
    store_le16(image + AT_PE + 6, 3);
    store_le32(image + AT_PE + 8, PEIMAGE_TIMESTAMP);
    store_le16(image + AT_PE + 20, (uint16_t)optional);
    store_le16(o, is_64 ? 0x20b : 0x10b);
    store_le32(o + 16, PEIMAGE_TEXT);
    store_le32(o + 56, PEIMAGE_BYTES);
    store_le32(directories - 4, 16);
    store_le32(directories, AT_DIRECTORY);
    store_le32(directories + 4, AT_DEBUG - AT_DIRECTORY);
    store_le32(directories + 8 * 6, AT_DEBUG);
    store_le32(directories + 8 * 6 + 4, 28);
    put_section(o + optional, ".text", PEIMAGE_TEXT, 0x60000020);
    put_section(o + optional + 40, ".rdata", PEIMAGE_RDATA, 0x40000040);
    put_section(o + optional + 80, ".data", PEIMAGE_DATA, 0xc0000040);
}

static uint32_t put_text(uint8_t *image, uint32_t *at, const char *text)
{
    uint32_t here = *at;
    strcpy((char *)image + here, text);
    *at += (uint32_t)strlen(text) + 1;
    return here;
}

void peimage_make(uint8_t image[PEIMAGE_BYTES], bool is_64, const char *module,
                  const struct peimage_export *exports, unsigned count)
{
    uint32_t text = AT_TEXTS;
    memset(image, 0, PEIMAGE_BYTES);
    put_headers(image, is_64);
    uint8_t *d = image + AT_DIRECTORY;
    store_le32(d + 12, put_text(image, &text, module));
    store_le32(d + 16, 1);
    store_le32(d + 20, count);
    store_le32(d + 24, count);
    store_le32(d + 28, AT_FUNCTIONS);
    store_le32(d + 32, AT_NAMES);
    store_le32(d + 36, AT_ORDINALS);
    for (unsigned n = 0; n < count; n++) {
        uint32_t rva = exports[n].rva;
        if (!rva)
            rva = put_text(image, &text, "hal.Other");
        /* Functions in the opposite order of the names. */
        store_le32(image + AT_FUNCTIONS + 4 * (count - 1 - n), rva);
        store_le16(image + AT_ORDINALS + 2 * n, (uint16_t)(count - 1 - n));
        store_le32(image + AT_NAMES + 4 * n,
                   put_text(image, &text, exports[n].name));
    }
    uint8_t *debug = image + AT_DEBUG, *record = image + AT_RECORD;
    store_le32(debug + 12, 2);
    store_le32(debug + 20, AT_RECORD);
    memcpy(record, "RSDS", 4);
    for (unsigned i = 0; i < 16; i++)
        record[4 + i] = (uint8_t)(0x10 + i);
    store_le32(record + 20, PEIMAGE_AGE);
    strcpy((char *)record + 24, PEIMAGE_PDB);
}
