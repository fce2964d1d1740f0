/* qcow2, read only (QEMU docs/interop/qcow2.txt, versions 2 and 3). Every
 * number of the file is checked before it is used: an image may be hostile. */
#include "host/image_internal.h"

#include "base/bytes.h"
#include "host/clock.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    HEADER_V2 = 72,
    HEADER_V3 = 104,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    BACKING_NAME_MAX = 1023,
    L1_BYTES_MAX = 32 << 20,
    L2_CACHED = 32,
    SECTOR = 512,

    INCOMPATIBLE_DIRTY = 1, /* reference counts may be off: reading is fine */
    INCOMPATIBLE_CORRUPT = 2,
    INCOMPATIBLE_EXTERNAL = 4,
    INCOMPATIBLE_COMPRESSION = 8,
    INCOMPATIBLE_EXTENDED_L2 = 16,

    EXTENSION_END = 0,
    COMPRESSION_ZLIB = 0,
    COMPRESSION_ZSTD = 1
};
#define EXTENSION_FORMAT 0xE2792ACAu
#define OFFSET_MASK      0x00FFFFFFFFFFFE00ull
#define L2_COMPRESSED    (1ull << 62)
#define L2_ZERO          1ull

struct l2_cache {
    uint64_t offset; /* of the table in the file; 0: empty */
    uint64_t used;   /* clock of last use */
    uint8_t *table;  /* one cluster */
};

struct qcow2 {
    struct image_file file;
    unsigned version, cluster_bits, compression;
    uint64_t cluster_bytes;
    uint64_t bytes; /* virtual size */
    uint64_t l1_entries;
    uint8_t *l1; /* big-endian, as in the file */
    struct l2_cache cache[L2_CACHED];
    uint64_t clock;
    uint64_t unpacked_at; /* guest offset of `unpacked`; UINT64_MAX: none */
    uint8_t *unpacked;    /* one cluster */
    uint8_t *packed;      /* compressed bytes, up to a cluster + 512 */
    size_t packed_bytes;
    z_stream zlib; /* both are ready from qcow2_open() on: */
    bool zlib_ready;
    ZSTD_DStream *zstd;        /* reading allocates nothing */
    struct block_base backing; /* read is NULL: none */
};

/* ---- tables ------------------ */

static bool corrupt(const struct qcow2 *q, struct error *err, const char *what,
                    uint64_t value)
{
    return error_set(err, ERR_INPUT,
                     "%s: damaged qcow2 image: %s is %#llx, the file has %llu "
                     "bytes",
                     q->file.path, what, (unsigned long long)value,
                     (unsigned long long)q->file.bytes);
}

/* The L2 table at `offset`, from the cache or the file. */
static const uint8_t *l2_table(struct qcow2 *q, uint64_t offset,
                               struct error *err)
{
    struct l2_cache *oldest = &q->cache[0];
    for (unsigned i = 0; i < L2_CACHED; i++) {
        struct l2_cache *c = &q->cache[i];
        if (c->offset == offset) {
            c->used = ++q->clock;
            return c->table;
        }
        if (c->used < oldest->used)
            oldest = c;
    }
    if (offset & (q->cluster_bytes - 1) || offset >= q->file.bytes ||
        q->file.bytes - offset < q->cluster_bytes) {
        corrupt(q, err, "an L2 table's offset", offset);
        return NULL;
    }
    oldest->offset = 0;
    if (!image_file_read(&q->file, offset, oldest->table, q->cluster_bytes,
                         err))
        return NULL;
    oldest->offset = offset;
    oldest->used = ++q->clock;
    return oldest->table;
}

/* The L2 entry for a guest offset; 0 where there is no table. */
static bool l2_entry(struct qcow2 *q, uint64_t offset, uint64_t *entry,
                     struct error *err)
{
    unsigned l2_bits = q->cluster_bits - 3;
    uint64_t l1_index = offset >> (q->cluster_bits + l2_bits);
    uint64_t l2_index =
        offset >> q->cluster_bits & (((uint64_t)1 << l2_bits) - 1);
    uint64_t table_at = load_be64(q->l1 + 8 * l1_index) & OFFSET_MASK;
    *entry = 0;
    if (table_at == 0)
        return true;
    const uint8_t *table = l2_table(q, table_at, err);
    if (!table)
        return false;
    *entry = load_be64(table + 8 * l2_index);
    return true;
}

/* ---- clusters ------------------ */

static bool inflate_cluster(struct qcow2 *q, size_t packed)
{
    z_stream *z = &q->zlib;
    if (inflateReset(z) != Z_OK)
        return false;
    z->next_in = q->packed;
    z->avail_in = (uInt)packed;
    z->next_out = q->unpacked;
    z->avail_out = (uInt)q->cluster_bytes;
    int result = inflate(z, Z_FINISH);
    /* The stream may end early in the last sector, or be cut by it. */
    return (result == Z_STREAM_END || result == Z_BUF_ERROR) &&
           z->avail_out == 0;
}

static bool unzstd_cluster(struct qcow2 *q, size_t packed)
{
    ZSTD_inBuffer in = {.src = q->packed, .size = packed};
    ZSTD_outBuffer out = {.dst = q->unpacked, .size = q->cluster_bytes};
    bool ok = !ZSTD_isError(ZSTD_initDStream(q->zstd));
    while (ok && out.pos < out.size) {
        size_t before = in.pos + out.pos;
        size_t result = ZSTD_decompressStream(q->zstd, &out, &in);
        ok = !ZSTD_isError(result) && in.pos + out.pos != before;
    }
    return ok;
}

/* Compressed cluster descriptor: x = 62 - (cluster_bits - 8) bits of byte
 * offset, above them the number of additional 512-byte sectors. */
static bool read_compressed(struct qcow2 *q, uint64_t guest, uint64_t entry,
                            struct error *err)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t at = entry & (((uint64_t)1 << x) - 1);
    uint64_t more = (entry & (L2_COMPRESSED - 1)) >> x;
    uint64_t packed = (more + 1) * SECTOR - (at & (SECTOR - 1));
    if (q->unpacked_at == guest)
        return true;
    if (at >= q->file.bytes || packed > q->packed_bytes)
        return corrupt(q, err, "a compressed cluster's offset", at);
    q->unpacked_at = UINT64_MAX;
    if (!image_file_read(&q->file, at, q->packed, packed, err))
        return false;
    bool ok = q->compression == COMPRESSION_ZSTD ? unzstd_cluster(q, packed)
                                                 : inflate_cluster(q, packed);
    if (!ok)
        return corrupt(q, err, "a compressed cluster that does not unpack at",
                       at);
    q->unpacked_at = guest;
    return true;
}

static bool read_backing(struct qcow2 *q, uint64_t offset, uint8_t *out,
                         size_t bytes, struct error *err)
{
    uint64_t have = 0;
    if (q->backing.read && offset < q->backing.bytes)
        have = q->backing.bytes - offset;
    if (have > bytes)
        have = bytes;
    memset(out + have, 0, bytes - have);
    return !have || q->backing.read(q->backing.context, offset, out, have, err);
}

/* Bytes inside one cluster. */
static bool read_in_cluster(struct qcow2 *q, uint64_t offset, uint8_t *out,
                            size_t bytes, struct error *err)
{
    uint64_t entry;
    uint64_t inside = offset & (q->cluster_bytes - 1);
    if (!l2_entry(q, offset, &entry, err))
        return false;
    if (entry & L2_COMPRESSED) {
        if (!read_compressed(q, offset - inside, entry, err))
            return false;
        memcpy(out, q->unpacked + inside, bytes);
        return true;
    }
    if (q->version >= 3 && (entry & L2_ZERO)) {
        memset(out, 0, bytes);
        return true;
    }
    uint64_t at = entry & OFFSET_MASK;
    if (at == 0)
        return read_backing(q, offset, out, bytes, err);
    /* The last cluster of a file need not be there in full. */
    if (at & (q->cluster_bytes - 1) || at >= q->file.bytes)
        return corrupt(q, err, "a data cluster's offset", at);
    return image_file_read(&q->file, at + inside, out, bytes, err);
}

static bool qcow2_read(void *context, uint64_t offset, void *out, size_t bytes,
                       struct error *err)
{
    struct qcow2 *q = context;
    uint8_t *to = out;
    while (bytes) {
        uint64_t inside = offset & (q->cluster_bytes - 1);
        size_t n = bytes;
        if (n > q->cluster_bytes - inside)
            n = (size_t)(q->cluster_bytes - inside);
        if (!read_in_cluster(q, offset, to, n, err))
            return false;
        to += n;
        bytes -= n;
        offset += n;
    }
    return true;
}

static void qcow2_close(void *context)
{
    struct qcow2 *q = context;
    if (!q)
        return;
    if (q->backing.close)
        q->backing.close(q->backing.context);
    for (unsigned i = 0; i < L2_CACHED; i++)
        free(q->cache[i].table);
    if (q->zlib_ready)
        (void)inflateEnd(&q->zlib);
    (void)ZSTD_freeDStream(q->zstd);
    free(q->unpacked);
    free(q->packed);
    free(q->l1);
    image_file_close(&q->file);
    free(q);
}

/* ---- opening ------------------ */

static bool check_features(struct qcow2 *q, const uint8_t *header,
                           struct error *err)
{
    uint64_t features = load_be64(header + 72);
    uint32_t header_bytes = load_be32(header + 100);
    if (features & INCOMPATIBLE_CORRUPT)
        return error_set(err, ERR_INPUT,
                         "%s: the image is marked corrupt; repair it with: "
                         "qemu-img check -r all '%s'",
                         q->file.path, q->file.path);
    if (features & ~(uint64_t)(INCOMPATIBLE_DIRTY | INCOMPATIBLE_COMPRESSION))
        return error_set(err, ERR_INPUT,
                         "%s: the qcow2 image uses features %#llx (4: external "
                         "data file, 16: extended L2 entries) that are not "
                         "supported; convert it with: qemu-img convert -O "
                         "qcow2 '%s' NEW.qcow2",
                         q->file.path, (unsigned long long)features,
                         q->file.path);
    if (header_bytes < HEADER_V3 || header_bytes > q->cluster_bytes)
        return corrupt(q, err, "the header's length", header_bytes);
    if (features & INCOMPATIBLE_COMPRESSION)
        q->compression = header_bytes > HEADER_V3 ? header[104] : 255;
    if (q->compression > COMPRESSION_ZSTD)
        return corrupt(q, err, "the compression type", q->compression);
    return true;
}

static bool check_header(struct qcow2 *q, const uint8_t *header,
                         struct error *err)
{
    q->version = load_be32(header + 4);
    q->cluster_bits = load_be32(header + 20);
    q->bytes = load_be64(header + 24);
    if (q->version != 2 && q->version != 3)
        return error_set(err, ERR_INPUT,
                         "%s: expected qcow version 2 or 3, found %u",
                         q->file.path, q->version);
    if (q->file.bytes < HEADER_V2)
        return corrupt(q, err, "the header's length", HEADER_V2);
    if (q->cluster_bits < CLUSTER_BITS_MIN ||
        q->cluster_bits > CLUSTER_BITS_MAX)
        return corrupt(q, err, "the cluster size exponent", q->cluster_bits);
    q->cluster_bytes = (uint64_t)1 << q->cluster_bits;
    if (q->bytes == 0 || q->bytes > (uint64_t)1 << 50)
        return corrupt(q, err, "the virtual size", q->bytes);
    if (load_be32(header + 32))
        return error_set(err, ERR_INPUT,
                         "%s: encrypted qcow2 images are not supported",
                         q->file.path);
    return q->version == 2 || check_features(q, header, err);
}

static bool load_l1(struct qcow2 *q, const uint8_t *header, struct error *err)
{
    uint64_t entries = load_be32(header + 36);
    uint64_t at = load_be64(header + 40);
    unsigned span_bits = 2 * q->cluster_bits - 3;
    q->l1_entries = ((q->bytes - 1) >> span_bits) + 1;
    if (q->l1_entries > entries || q->l1_entries * 8 > L1_BYTES_MAX)
        return corrupt(q, err, "the L1 table's size", entries);
    if (at >= q->file.bytes || q->file.bytes - at < q->l1_entries * 8)
        return corrupt(q, err, "the L1 table's offset", at);
    q->l1 = malloc(q->l1_entries * 8);
    if (!q->l1)
        return error_set(err, ERR_NOMEM, "%s: out of memory", q->file.path);
    return image_file_read(&q->file, at, q->l1, q->l1_entries * 8, err);
}

static bool allocate(struct qcow2 *q, struct error *err)
{
    /* The sector count field has cluster_bits - 8 bits. */
    q->packed_bytes = (((size_t)1 << (q->cluster_bits - 8)) + 1) * SECTOR;
    q->packed = malloc(q->packed_bytes);
    q->unpacked = malloc(q->cluster_bytes);
    /* Raw deflate with a 4 KiB window. */
    q->zlib_ready = inflateInit2(&q->zlib, -12) == Z_OK;
    q->zstd = ZSTD_createDStream();
    bool ok = q->packed && q->unpacked && q->zlib_ready && q->zstd;
    for (unsigned i = 0; i < L2_CACHED; i++) {
        q->cache[i].table = malloc(q->cluster_bytes);
        ok = ok && q->cache[i].table;
    }
    q->unpacked_at = UINT64_MAX;
    return ok || error_set(err, ERR_NOMEM, "%s: out of memory", q->file.path);
}

/* The header extension that names the backing file's format, or "". */
static bool backing_format(struct qcow2 *q, const uint8_t *header,
                           char format[16], struct error *err)
{
    uint64_t at = q->version == 2 ? HEADER_V2 : load_be32(header + 100);
    format[0] = '\0';
    while (at + 8 <= q->cluster_bytes) {
        uint8_t head[8];
        if (!image_file_read(&q->file, at, head, sizeof head, err))
            return false;
        uint32_t bytes = load_be32(head + 4);
        if (load_be32(head) == EXTENSION_END)
            return true;
        if (load_be32(head) == EXTENSION_FORMAT) {
            if (bytes >= 16)
                return corrupt(q, err, "the backing format's length", bytes);
            format[bytes] = '\0';
            return image_file_read(&q->file, at + 8, format, bytes, err);
        }
        at += 8 + (((uint64_t)bytes + 7) & ~(uint64_t)7);
    }
    return true;
}

/* A relative name is relative to the directory of the image that names it. */
static bool backing_path(struct qcow2 *q, const char *name,
                         char path[IMAGE_PATH], struct error *err)
{
    const char *slash = strrchr(q->file.path, '/');
    size_t folder =
        slash && name[0] != '/' ? (size_t)(slash - q->file.path) + 1 : 0;
    size_t length = strlen(name);
    if (folder + length >= IMAGE_PATH)
        return error_set(err, ERR_INPUT,
                         "%s: the backing file's path is too long",
                         q->file.path);
    memcpy(path, q->file.path, folder);
    memcpy(path + folder, name, length + 1);
    return true;
}

static bool open_backing(struct qcow2 *q, const uint8_t *header, unsigned depth,
                         XXH3_state_t *hash, struct error *err)
{
    char name[BACKING_NAME_MAX + 1], path[IMAGE_PATH], format[16];
    uint64_t at = load_be64(header + 8);
    uint32_t bytes = load_be32(header + 16);
    if (at == 0)
        return true;
    if (bytes == 0 || bytes > BACKING_NAME_MAX || at >= q->file.bytes ||
        q->file.bytes - at < bytes)
        return corrupt(q, err, "the backing file name's offset", at);
    if (!image_file_read(&q->file, at, name, bytes, err))
        return false;
    name[bytes] = '\0';
    if (!backing_format(q, header, format, err) ||
        !backing_path(q, name, path, err))
        return false;
    if (format[0] && strcmp(format, "raw") && strcmp(format, "qcow2"))
        return error_set(err, ERR_INPUT,
                         "%s: its backing file %s has format %.15s; only raw "
                         "and qcow2 are read",
                         q->file.path, path, format);
    return image_open_chain(path, format[0] ? format : NULL, depth + 1,
                            &q->backing, hash, err);
}

bool qcow2_open(const struct image_file *file, unsigned depth,
                struct block_base *base, XXH3_state_t *hash, struct error *err)
{
    uint8_t header[HEADER_V3 + 8];
    struct qcow2 *q = calloc(1, sizeof *q);
    if (!q) {
        struct image_file f = *file;
        image_file_close(&f);
        return error_set(err, ERR_NOMEM, "%s: out of memory", f.path);
    }
    q->file = *file;
    if (!image_file_read(&q->file, 0, header, sizeof header, err) ||
        !check_header(q, header, err) || !load_l1(q, header, err) ||
        !allocate(q, err) || !open_backing(q, header, depth, hash, err)) {
        qcow2_close(q);
        return false;
    }
    *base = (struct block_base){.bytes = (q->bytes + 511) & ~(uint64_t)511,
                                .context = q,
                                .read = qcow2_read,
                                .now_ns = clock_monotonic_ns,
                                .close = qcow2_close};
    return true;
}
