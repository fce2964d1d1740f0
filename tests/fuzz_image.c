/* Hostile disk images: qcow2 headers, tables and compressed clusters, and
 * whatever is taken for raw. Read from one end to the other when they open. */
#include "lib_fuzz.h"

#include "base/bytes.h"
#include "host/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

enum {
    CLUSTER = 4096,
    FILE_BYTES = 6 * CLUSTER,
    FILE_MAX = FILE_BYTES + 65536,
    DISK_BYTES = 64 * CLUSTER,
    PIECE = 8192
};

/* A raw deflate stream of one cluster, for a compressed entry. */
static size_t deflate_cluster(uint8_t *out, size_t room)
{
    uint8_t in[CLUSTER];
    z_stream z = {0};
    for (unsigned n = 0; n < sizeof in; n++)
        in[n] = (uint8_t)(n >> 4);
    if (deflateInit2(&z, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        fuzz_fail("deflateInit2");
    z.next_in = in;
    z.avail_in = sizeof in;
    z.next_out = out;
    z.avail_out = (uInt)room;
    (void)deflate(&z, Z_FINISH);
    size_t bytes = room - z.avail_out;
    (void)deflateEnd(&z);
    return bytes;
}

/* Clusters: header, L1, L2, data, compressed data, refcounts. */
static size_t make_qcow2(uint8_t *d, uint32_t version)
{
    memset(d, 0, FILE_BYTES);
    memcpy(d, "QFI\xfb", 4);
    store_be32(d + 4, version);
    store_be32(d + 20, 12); /* cluster bits */
    store_be64(d + 24, DISK_BYTES);
    store_be32(d + 36, 1); /* L1 entries, at */
    store_be64(d + 40, CLUSTER);
    store_be64(d + 48, 5 * CLUSTER); /* refcounts, clusters of them */
    store_be32(d + 56, 1);
    store_be32(d + 96, 4); /* refcount order, header bytes */
    store_be32(d + 100, version == 3 ? 104 : 0);
    store_be64(d + CLUSTER, UINT64_C(1) << 63 | 2 * CLUSTER);
    uint8_t *l2 = d + 2 * CLUSTER;
    store_be64(l2, UINT64_C(1) << 63 | 3 * CLUSTER);
    size_t packed = deflate_cluster(d + 4 * CLUSTER, CLUSTER);
    uint64_t sectors = (packed + 511) / 512 - 1;
    store_be64(l2 + 8, UINT64_C(1) << 62 | sectors << 58 | 4 * CLUSTER);
    store_be64(l2 + 16, 1); /* zeros */
    memset(d + 3 * CLUSTER, 0xa5, CLUSTER);
    return FILE_BYTES;
}

static void read_all(const struct block_base *base)
{
    uint8_t *piece = malloc(PIECE);
    struct error err = {0};
    uint64_t end = base->bytes < 16 * DISK_BYTES ? base->bytes
                                                 : 16 * DISK_BYTES;
    if (!piece)
        return;
    if (base->bytes % BLOCK_SECTOR_BYTES)
        fuzz_fail("a medium of %llu bytes",
                  (unsigned long long)base->bytes);
    for (uint64_t at = 0; at < end; at += PIECE) {
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
        if (!base->read(base->context, at, piece, n, &err) && !err.text[0])
            fuzz_fail("failed without a sentence");
    }
    if (base->bytes > BLOCK_SECTOR_BYTES)
        (void)base->read(base->context, base->bytes - BLOCK_SECTOR_BYTES,
                         piece, BLOCK_SECTOR_BYTES, &err);
    free(piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    uint8_t *file = malloc(FILE_MAX), how = fuzz_u8(&f), hash[16];
    char path[64];
    struct block_base b;
    struct error err = {0};
    if (!file)
        return 0;
    size_t bytes = make_qcow2(file, how & 1 ? 3 : 2);
    if (how & 2) { /* a backing file that is not there, or is a directory */
        store_be64(file + 8, 120);
        store_be32(file + 16, 4);
        memcpy(file + 120, how & 4 ? "/tmp" : "none", 4);
    }
    fuzz_edit(&f, file, &bytes, FILE_MAX);
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file, bytes) != (ssize_t)bytes)
        fuzz_fail("memfd: %s", strerror(errno));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (image_open(path, &b, hash, &err)) {
        read_all(&b);
        b.close(b.context);
    } else if (!err.text[0]) {
        fuzz_fail("refused without a sentence");
    }
    (void)close(fd);
    free(file);
    return 0;
}
