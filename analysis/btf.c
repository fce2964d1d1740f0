#include "analysis/btf.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    BTF_MAGIC = 0xeb9f,
    HEADER_BYTES = 24,
    TYPE_BYTES = 12,
    MEMBER_BYTES = 12,
    DEPTH_MAX = 16,
    MEMBERS_MAX = 1 << 20 /* looked at for one path; types may be cyclic */
};

enum kind {
    KIND_INT = 1,
    KIND_PTR,
    KIND_ARRAY,
    KIND_STRUCT,
    KIND_UNION,
    KIND_ENUM,
    KIND_FWD,
    KIND_TYPEDEF,
    KIND_VOLATILE,
    KIND_CONST,
    KIND_RESTRICT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_VAR,
    KIND_DATASEC,
    KIND_FLOAT,
    KIND_DECL_TAG,
    KIND_TYPE_TAG,
    KIND_ENUM64
};

struct btf {
    const uint8_t *types, *strings; /* borrowed */
    uint32_t type_bytes, string_bytes;
    uint32_t *offsets; /* owned; of type n + 1 in types */
    uint32_t count;
};

struct type {
    const uint8_t *members;
    const char *name;
    enum kind kind;
    uint32_t vlen, size; /* or what it refers to */
    bool has_bit_fields;
};

/* Bytes behind the common part of a type. UINT32_MAX: unknown. */
static uint64_t extra_bytes(unsigned kind, uint32_t vlen)
{
    switch (kind) {
    case KIND_INT:
    case KIND_VAR:
    case KIND_DECL_TAG:
        return 4;
    case KIND_ARRAY:
        return 12;
    case KIND_STRUCT:
    case KIND_UNION:
    case KIND_DATASEC:
    case KIND_ENUM64:
        return UINT64_C(12) * vlen;
    case KIND_ENUM:
    case KIND_FUNC_PROTO:
        return UINT64_C(8) * vlen;
    case KIND_PTR:
    case KIND_FWD:
    case KIND_TYPEDEF:
    case KIND_VOLATILE:
    case KIND_CONST:
    case KIND_RESTRICT:
    case KIND_FUNC:
    case KIND_FLOAT:
    case KIND_TYPE_TAG:
        return 0;
    default:
        return UINT32_MAX;
    }
}

/* Where each type begins; twice: to count, then to fill. */
static bool index_types(struct btf *b, uint32_t *offsets)
{
    uint64_t at = 0;
    b->count = 0;
    while (at < b->type_bytes) {
        if (b->type_bytes - at < TYPE_BYTES)
            return false;
        uint32_t info = load_le32(b->types + at + 4);
        uint64_t extra = extra_bytes(info >> 24 & 0x1f, info & 0xffff);
        if (extra > b->type_bytes - at - TYPE_BYTES)
            return false;
        if (offsets)
            offsets[b->count] = (uint32_t)at;
        b->count++;
        at += TYPE_BYTES + extra;
    }
    return b->count > 0;
}

struct btf *btf_open(const uint8_t *bytes, size_t count)
{
    if (count < HEADER_BYTES || load_le16(bytes) != BTF_MAGIC)
        return NULL;
    uint64_t header = load_le32(bytes + 4);
    uint64_t types = header + load_le32(bytes + 8);
    uint64_t strings = header + load_le32(bytes + 16);
    uint32_t type_bytes = load_le32(bytes + 12);
    uint32_t string_bytes = load_le32(bytes + 20);
    if (header < HEADER_BYTES || types + type_bytes > count ||
        strings + string_bytes > count || string_bytes == 0 ||
        bytes[strings + string_bytes - 1] != 0)
        return NULL;
    struct btf *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->types = bytes + types;
    b->type_bytes = type_bytes;
    b->strings = bytes + strings;
    b->string_bytes = string_bytes;
    if (!index_types(b, NULL) ||
        !(b->offsets = calloc(b->count, sizeof *b->offsets)) ||
        !index_types(b, b->offsets)) {
        btf_close(b);
        return NULL;
    }
    return b;
}

void btf_close(struct btf *b)
{
    if (!b)
        return;
    free(b->offsets);
    free(b);
}

static const char *text(const struct btf *b, uint32_t at)
{
    return at < b->string_bytes ? (const char *)b->strings + at : "";
}

/* Type 0 is void; ids count from 1. */
static bool get_type(const struct btf *b, uint32_t id, struct type *t)
{
    if (id == 0 || id > b->count)
        return false;
    const uint8_t *p = b->types + b->offsets[id - 1];
    uint32_t info = load_le32(p + 4);
    *t = (struct type){.members = p + TYPE_BYTES,
                       .name = text(b, load_le32(p)),
                       .kind = (enum kind)(info >> 24 & 0x1f),
                       .vlen = info & 0xffff,
                       .size = load_le32(p + 8),
                       .has_bit_fields = info >> 31};
    return true;
}

static bool is_compound(const struct type *t)
{
    return t->kind == KIND_STRUCT || t->kind == KIND_UNION;
}

/* Behind typedefs and qualifiers. */
static bool get_compound(const struct btf *b, uint32_t id, struct type *t)
{
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        if (!get_type(b, id, t))
            return false;
        if (is_compound(t))
            return true;
        if (t->kind != KIND_TYPEDEF && t->kind != KIND_VOLATILE &&
            t->kind != KIND_CONST && t->kind != KIND_TYPE_TAG)
            return false;
        id = t->size;
    }
    return false;
}

static bool find_type(const struct btf *b, const char *name, struct type *t)
{
    for (uint32_t id = 1; id <= b->count; id++)
        if (get_type(b, id, t) && is_compound(t) &&
            strcmp(t->name, name) == 0)
            return true;
    return false;
}

static bool find_member(const struct btf *b, const struct type *t,
                        const char *path, unsigned depth, uint32_t *budget,
                        uint32_t *offset)
{
    size_t n = strcspn(path, ".");
    for (uint32_t i = 0; i < t->vlen && depth < DEPTH_MAX && *budget; i++) {
        (*budget)--;
        const uint8_t *m = t->members + (size_t)i * MEMBER_BYTES;
        const char *name = text(b, load_le32(m));
        uint32_t bits = load_le32(m + 8), inner;
        struct type type;
        bool is_named = strlen(name) == n && strncmp(name, path, n) == 0;
        bool is_bit_field = t->has_bit_fields && bits >> 24;
        bits &= t->has_bit_fields ? 0xffffff : UINT32_MAX;
        if (is_named && !path[n]) {
            *offset = bits / 8;
            return !is_bit_field && bits % 8 == 0;
        }
        if ((is_named || !name[0]) &&
            get_compound(b, load_le32(m + 4), &type) &&
            find_member(b, &type, is_named ? path + n + 1 : path, depth + 1,
                        budget, &inner)) {
            *offset = bits / 8 + inner;
            return true;
        }
    }
    return false;
}

bool btf_member(const struct btf *b, const char *type, const char *path,
                uint32_t *offset)
{
    struct type t;
    uint32_t budget = MEMBERS_MAX;
    return find_type(b, type, &t) &&
           find_member(b, &t, path, 0, &budget, offset);
}

bool btf_size(const struct btf *b, const char *type, uint32_t *bytes)
{
    struct type t;
    if (!find_type(b, type, &t))
        return false;
    *bytes = t.size;
    return true;
}
