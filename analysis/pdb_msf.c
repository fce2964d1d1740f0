/* The container: streams of blocks (LLVM's "The MSF File Format"). */
#include "analysis/pdb_internal.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[32] = "Microsoft C/C++ MSF 7.00\r\n\x1a"
                              "DS\0\0";
enum {
    SUPERBLOCK_BYTES = 56,
    BLOCK_MIN = 512,
    BLOCK_MAX = 65536,
    FILE_MAX_BYTES = 0x7fffffff
};

bool pdb_is(const uint8_t *bytes, size_t count)
{
    return count >= SUPERBLOCK_BYTES && memcmp(bytes, magic, 32) == 0;
}

/* Puts `count` bytes together from blocks whose numbers are at `list`. */
static bool gather(const struct pdb *p, const uint8_t *list, uint32_t count,
                   struct pdb_stream *out)
{
    out->count = count;
    out->bytes = malloc((size_t)count + 1);
    if (!out->bytes)
        return false;
    for (uint32_t at = 0; at < count; at += p->block_bytes, list += 4) {
        uint64_t block = (uint64_t)load_le32(list) * p->block_bytes;
        uint32_t n = count - at;
        n = n < p->block_bytes ? n : p->block_bytes;
        if (block > p->count || n > p->count - block) {
            pdb_stream_close(out);
            return false;
        }
        memcpy(out->bytes + at, p->bytes + block, n);
    }
    return true;
}

static uint64_t blocks_of(const struct pdb *p, uint32_t bytes)
{
    return ((uint64_t)bytes + p->block_bytes - 1) / p->block_bytes;
}

void pdb_stream_close(struct pdb_stream *s)
{
    free(s->bytes);
    *s = (struct pdb_stream){0};
}

/* A stream that was deleted has this size. */
static uint32_t stream_bytes(const struct pdb *p, uint32_t index)
{
    uint32_t n = load_le32(p->directory.bytes + 4 + 4 * (size_t)index);
    return n == UINT32_MAX ? 0 : n;
}

bool pdb_stream_open(const struct pdb *p, uint32_t index,
                     struct pdb_stream *out)
{
    *out = (struct pdb_stream){0};
    if (index >= p->streams)
        return false;
    uint64_t at = 4 + 4 * (uint64_t)p->streams;
    for (uint32_t i = 0; i < index; i++)
        at += 4 * blocks_of(p, stream_bytes(p, i));
    uint32_t bytes = stream_bytes(p, index);
    uint64_t list = 4 * blocks_of(p, bytes);
    if (bytes > p->count || at > p->directory.count ||
        list > p->directory.count - at)
        return false;
    return gather(p, p->directory.bytes + at, bytes, out);
}

static bool open_directory(struct pdb *p)
{
    const uint8_t *s = p->bytes;
    if (!pdb_is(p->bytes, p->count))
        return false;
    p->block_bytes = load_le32(s + 32);
    p->blocks = load_le32(s + 40);
    uint32_t bytes = load_le32(s + 44);
    uint64_t map = (uint64_t)load_le32(s + 52) * p->block_bytes;
    if (p->block_bytes < BLOCK_MIN || p->block_bytes > BLOCK_MAX ||
        (p->block_bytes & (p->block_bytes - 1)) || bytes < 4 ||
        bytes > p->count || map > p->count ||
        4 * blocks_of(p, bytes) > p->count - map ||
        !gather(p, p->bytes + map, bytes, &p->directory))
        return false;
    p->streams = load_le32(p->directory.bytes);
    return p->streams <= (p->directory.count - 4) / 4;
}

struct pdb *pdb_open(const char *name, const uint8_t *bytes, size_t count,
                     struct error *err)
{
    struct pdb *p = calloc(1, sizeof *p);
    if (!p || !(p->name = strdup(name))) {
        free(p);
        error_set(err, ERR_NOMEM, "%s: out of memory", name);
        return NULL;
    }
    p->bytes = bytes;
    p->count = count;
    if (!open_directory(p)) {
        error_set(err, ERR_INPUT,
                  "%s: expected a PDB file (MSF 7.00) with its directory of "
                  "streams inside it",
                  name);
        pdb_close(p);
        return NULL;
    }
    if (!pdb_types_open(p)) {
        error_set(err, ERR_NOMEM, "%s: out of memory for its types", name);
        pdb_close(p);
        return NULL;
    }
    return p;
}

void pdb_close(struct pdb *p)
{
    if (!p)
        return;
    pdb_stream_close(&p->directory);
    pdb_stream_close(&p->types);
    free(p->type_at);
    free(p->owned);
    free(p->name);
    free(p);
}

struct pdb *pdb_open_file(const char *path, struct error *err)
{
    FILE *f = fopen(path, "rb");
    long count = -1;
    uint8_t *bytes = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0 && (count = ftell(f)) >= 0 &&
        count <= FILE_MAX_BYTES && fseek(f, 0, SEEK_SET) == 0 &&
        (bytes = malloc((size_t)count + 1)) &&
        fread(bytes, 1, (size_t)count, f) != (size_t)count) {
        free(bytes);
        bytes = NULL;
    }
    if (!bytes)
        error_set(err, ERR_IO, "%s: cannot be read: %s", path,
                  strerror(errno));
    if (f)
        (void)fclose(f);
    struct pdb *p =
        bytes ? pdb_open(path, bytes, (size_t)count, err) : NULL;
    if (p)
        p->owned = bytes;
    else
        free(bytes);
    return p;
}

bool pdb_identity(const struct pdb *p, struct pdb_identity *out)
{
    struct pdb_stream s;
    if (!pdb_stream_open(p, PDB_STREAM_INFO, &s))
        return false;
    bool ok = s.count >= 28;
    if (ok) {
        out->age = load_le32(s.bytes + 8);
        memcpy(out->guid, s.bytes + 12, 16);
    }
    pdb_stream_close(&s);
    return ok;
}
