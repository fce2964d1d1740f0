/* Structures and their members, from the type stream (LLVM's "The PDB TPI
 * Stream", "CodeView Type Records"). */
#include "analysis/pdb_internal.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    LF_MODIFIER = 0x1001,
    LF_FIELDLIST = 0x1203,
    LF_BITFIELD = 0x1205,
    LF_BCLASS = 0x1400,
    LF_INDEX = 0x1404,
    LF_VFUNCTAB = 0x1409,
    LF_ENUMERATE = 0x1502,
    LF_CLASS = 0x1504,
    LF_STRUCTURE = 0x1505,
    LF_UNION = 0x1506,
    LF_MEMBER = 0x150d,
    LF_STMEMBER = 0x150e,
    LF_METHOD = 0x150f,
    LF_NESTTYPE = 0x1510,
    LF_ONEMETHOD = 0x1511,
    PROP_FORWARD = 0x80,
    DEPTH_MAX = 16,
    MEMBERS_MAX = 1 << 20 /* looked at for one path; types may be cyclic */
};

bool pdb_types_open(struct pdb *p)
{
    if (!pdb_stream_open(p, PDB_STREAM_TYPES, &p->types) ||
        p->types.count < 56)
        return true;
    const uint8_t *b = p->types.bytes;
    uint32_t at = load_le32(b + 4), first = load_le32(b + 8);
    uint32_t end = load_le32(b + 12);
    if (at > p->types.count || end < first ||
        end - first > p->types.count / 4)
        return true;
    p->type_first = first;
    p->type_at = calloc((size_t)(end - first) + 1, sizeof *p->type_at);
    if (!p->type_at)
        return false;
    while (p->type_count < end - first && p->types.count - at >= 4) {
        uint32_t n = load_le16(b + at);
        if (n < 2 || n + 2 > p->types.count - at)
            break;
        p->type_at[p->type_count++] = at;
        at += n + 2;
    }
    return true;
}

/* A record: its kind and what follows that. */
struct record {
    uint16_t kind;
    const uint8_t *at, *end;
};

static bool get_record(const struct pdb *p, uint32_t index, struct record *r)
{
    if (index < p->type_first || index - p->type_first >= p->type_count)
        return false;
    const uint8_t *b = p->types.bytes + p->type_at[index - p->type_first];
    r->kind = load_le16(b + 2);
    r->at = b + 4;
    r->end = b + 2 + load_le16(b);
    return true;
}

static bool take(struct record *r, size_t bytes, const uint8_t **at)
{
    if ((size_t)(r->end - r->at) < bytes)
        return false;
    *at = r->at;
    r->at += bytes;
    return true;
}

static bool take_number(struct record *r, uint64_t *value)
{
    const uint8_t *at;
    if (!take(r, 2, &at))
        return false;
    *value = load_le16(at);
    if (*value < 0x8000)
        return true;
    /* LF_CHAR, SHORT, USHORT, LONG, ULONG, and 8009h, 800ah: 64 bits */
    static const uint8_t bytes[] = {1, 2, 2, 4, 4, 0, 0, 0, 0, 8, 8};
    uint64_t leaf = *value - 0x8000;
    if (leaf >= sizeof bytes || !bytes[leaf] || !take(r, bytes[leaf], &at))
        return false;
    *value = 0;
    memcpy(value, at, bytes[leaf]);
    return true;
}

static bool take_text(struct record *r, const char **text)
{
    const uint8_t *end = memchr(r->at, 0, (size_t)(r->end - r->at));
    if (!end)
        return false;
    *text = (const char *)r->at;
    r->at = end + 1;
    return true;
}

struct compound {
    const char *name;
    uint32_t fields;
    uint64_t bytes;
    bool is_forward;
};

static bool get_compound(const struct pdb *p, uint32_t index,
                         struct compound *c)
{
    struct record r;
    const uint8_t *at;
    if (!get_record(p, index, &r) ||
        (r.kind != LF_STRUCTURE && r.kind != LF_CLASS && r.kind != LF_UNION) ||
        !take(&r, r.kind == LF_UNION ? 8 : 16, &at) ||
        !take_number(&r, &c->bytes) || !take_text(&r, &c->name))
        return false;
    c->is_forward = load_le16(at + 2) & PROP_FORWARD;
    c->fields = load_le32(at + 4);
    return true;
}

static bool find_compound(const struct pdb *p, const char *name,
                          struct compound *c)
{
    for (uint32_t i = 0; i < p->type_count; i++)
        if (get_compound(p, p->type_first + i, c) && !c->is_forward &&
            strcmp(c->name, name) == 0)
            return true;
    return false;
}

/* Behind modifiers, and the definition of what is only declared. */
static bool resolve(const struct pdb *p, uint32_t index, struct compound *c)
{
    struct record r;
    for (unsigned n = 0; n < DEPTH_MAX && get_record(p, index, &r) &&
                         r.kind == LF_MODIFIER && r.end - r.at >= 4;
         n++)
        index = load_le32(r.at);
    if (!get_compound(p, index, c))
        return false;
    return !c->is_forward || find_compound(p, c->name, c);
}

struct field {
    uint16_t kind;
    uint32_t type;
    uint64_t offset;
    const char *name;
};

/* The next of a list; false at its end and where it is malformed. */
static bool take_field(struct record *r, struct field *f)
{
    const uint8_t *at;
    uint64_t number;
    while (r->at < r->end && *r->at >= 0xf0) /* padding */
        r->at++;
    if (!take(r, 4, &at))
        return false;
    f->kind = load_le16(at);
    unsigned attributes = load_le16(at + 2);
    f->name = "";
    f->offset = 0;
    if (f->kind == LF_ENUMERATE)
        return take_number(r, &number) && take_text(r, &f->name);
    if (!take(r, 4, &at))
        return false;
    f->type = load_le32(at);
    switch (f->kind) {
    case LF_MEMBER:
        return take_number(r, &f->offset) && take_text(r, &f->name);
    case LF_BCLASS:
        return take_number(r, &f->offset);
    case LF_STMEMBER:
    case LF_METHOD:
    case LF_NESTTYPE:
        return take_text(r, &f->name);
    case LF_ONEMETHOD: /* one that introduces a virtual has an offset */
        if ((attributes >> 2 & 7) == 4 || (attributes >> 2 & 7) == 6)
            if (!take(r, 4, &at))
                return false;
        return take_text(r, &f->name);
    case LF_INDEX:
    case LF_VFUNCTAB:
        return true;
    default:
        return false;
    }
}

static bool is_bit_field(const struct pdb *p, uint32_t type)
{
    struct record r;
    return get_record(p, type, &r) && r.kind == LF_BITFIELD;
}

static bool find_member(const struct pdb *p, uint32_t list, const char *path,
                        unsigned depth, uint32_t *budget, uint64_t *offset)
{
    struct record r;
    struct field f;
    size_t n = strcspn(path, ".");
    if (depth == DEPTH_MAX || !get_record(p, list, &r) ||
        r.kind != LF_FIELDLIST)
        return false;
    while (*budget && take_field(&r, &f)) {
        struct compound c;
        (*budget)--;
        if (f.kind == LF_INDEX)
            return find_member(p, f.type, path, depth + 1, budget, offset);
        if (f.kind != LF_MEMBER || strlen(f.name) != n ||
            strncmp(f.name, path, n) != 0)
            continue;
        if (!path[n]) {
            *offset += f.offset;
            return !is_bit_field(p, f.type);
        }
        *offset += f.offset;
        return resolve(p, f.type, &c) &&
               find_member(p, c.fields, path + n + 1, depth + 1, budget,
                           offset);
    }
    return false;
}

bool pdb_member(const struct pdb *p, const char *type, const char *path,
                uint32_t *offset)
{
    struct compound c;
    uint32_t budget = MEMBERS_MAX;
    uint64_t sum = 0;
    if (!find_compound(p, type, &c) ||
        !find_member(p, c.fields, path, 0, &budget, &sum) ||
        sum > UINT32_MAX)
        return false;
    *offset = (uint32_t)sum;
    return true;
}

bool pdb_size(const struct pdb *p, const char *type, uint32_t *bytes)
{
    struct compound c;
    if (!find_compound(p, type, &c) || c.bytes > UINT32_MAX)
        return false;
    *bytes = (uint32_t)c.bytes;
    return true;
}
