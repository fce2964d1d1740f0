#include "base/field.h"

#include <string.h>

void fields_save(const struct field *table, size_t fields, const void *object,
                 struct writer *w)
{
    /* The host is little-endian (base/bytes.h), so an integer array's bytes
     * are already what the format wants. */
    for (size_t i = 0; i < fields; i++)
        writer_bytes(w, (const uint8_t *)object + table[i].offset,
                     (size_t)table[i].count * table[i].bytes);
}

bool fields_load(const struct field *table, size_t fields, void *object,
                 struct reader *r, struct error *err)
{
    for (size_t i = 0; i < fields; i++) {
        const struct field *f = &table[i];
        uint8_t *to = (uint8_t *)object + f->offset;
        reader_bytes(r, to, (size_t)f->count * f->bytes);
        for (uint32_t k = 0; f->is_bool && k < f->count; k++) {
            uint8_t v = to[k];
            to[k] = v & 1;
            if (v > 1)
                return error_set(err, ERR_INPUT,
                                 "field %s: expected 0 or 1, found %u",
                                 f->name, v);
        }
        if (!reader_ok(r, f->name, err))
            return false;
    }
    return true;
}

int fields_first_difference(const struct field *table, size_t fields,
                            const void *a, const void *b, uint32_t *element)
{
    for (size_t i = 0; i < fields; i++) {
        const struct field *f = &table[i];
        for (uint32_t k = 0; k < f->count; k++) {
            size_t at = f->offset + (size_t)k * f->bytes;
            if (memcmp((const uint8_t *)a + at, (const uint8_t *)b + at,
                       f->bytes) != 0) {
                *element = k;
                return (int)i;
            }
        }
    }
    return -1;
}
