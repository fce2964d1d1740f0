/* Field tables: one list per struct drives save, load and the divergence
 * report, so that no field can be in one and missing in another. */
#ifndef RELIVE_BASE_FIELD_H
#define RELIVE_BASE_FIELD_H

#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An array of `count` unsigned integers of `bytes` bytes (1, 2, 4 or 8) at
 * `offset`; bool is a one-byte integer that must load as 0 or 1. */
struct field {
    const char *name;
    uint32_t offset;
    uint32_t count;
    uint8_t bytes;
    bool is_bool;
};

#define FIELD_SIZEOF(type, member) sizeof(((type *)0)->member)
#define FIELD_(type, member, width, isbool)                                    \
    {                                                                          \
        .name = #member, .offset = offsetof(type, member),                     \
        .count = FIELD_SIZEOF(type, member) / (width), .bytes = (width),       \
        .is_bool = (isbool)                                                    \
    }
/* Scalars and arrays alike: FIELD_U8(struct x, regs) covers uint8_t regs[16]. */
#define FIELD_U8(type, member)   FIELD_(type, member, 1, false)
#define FIELD_U16(type, member)  FIELD_(type, member, 2, false)
#define FIELD_U32(type, member)  FIELD_(type, member, 4, false)
#define FIELD_U64(type, member)  FIELD_(type, member, 8, false)
#define FIELD_BOOL(type, member) FIELD_(type, member, 1, true)

#define FIELD_COUNT(table) (sizeof(table) / sizeof(table)[0])

void fields_save(const struct field *table, size_t fields, const void *object,
                 struct writer *w);

/* Loads what fields_save() wrote. On false (a bool that is neither 0 nor 1, or
 * bytes missing) the object is partly overwritten: the caller discards it. */
bool fields_load(const struct field *table, size_t fields, void *object,
                 struct reader *r, struct error *err);

/* Finds the first field in which a and b differ: index of the field or -1;
 * *element gets the array index inside it. */
int fields_first_difference(const struct field *table, size_t fields,
                            const void *a, const void *b, uint32_t *element);

#endif
