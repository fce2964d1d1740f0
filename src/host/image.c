#include "host/image_internal.h"

#include "base/bytes.h"
#include "host/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 65536, SAMPLES = 1024, ENDS = 16 << 20, MAGIC_BYTES = 4096 };
#define WHOLE_MAX ((uint64_t)1 << 30)

/* ---- files ------------------ */

bool image_file_read(const struct image_file *f, uint64_t offset, void *out,
                     size_t bytes, struct error *err)
{
    uint8_t *to = out;
    while (bytes) {
        ssize_t n = pread(f->fd, to, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, ERR_IO, "%s: reading at byte %llu: %s",
                             f->path, (unsigned long long)offset,
                             strerror(errno));
        if (n == 0) {
            /* Inside the size it had when it was opened: it was cut short. */
            if (offset < f->bytes)
                return error_set(err, ERR_IO,
                                 "%s: expected %llu bytes, the file now ends "
                                 "at %llu",
                                 f->path, (unsigned long long)f->bytes,
                                 (unsigned long long)offset);
            memset(to, 0, bytes);
            return true;
        }
        to += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

void image_file_close(struct image_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

static bool file_open(struct image_file *f, const char *path, struct error *err)
{
    struct stat st;
    size_t length = strlen(path);
    if (length >= sizeof f->path)
        return error_set(err, ERR_USAGE, "the image path is longer than %d",
                         IMAGE_PATH - 1);
    memcpy(f->path, path, length + 1);
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    off_t end = -1;
    if (fstat(f->fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        end = lseek(f->fd, 0, SEEK_END);
    if (end < 0) {
        image_file_close(f);
        return error_set(err, ERR_INPUT,
                         "%s: expected a file or a block device", path);
    }
    f->bytes = (uint64_t)end;
    return true;
}

/* ---- identification ------------------ */

static bool hash_range(XXH3_state_t *hash, const struct image_file *f,
                       uint64_t offset, uint64_t bytes, struct error *err)
{
    uint8_t piece[PIECE];
    while (bytes) {
        size_t n = bytes < sizeof piece ? (size_t)bytes : sizeof piece;
        if (!image_file_read(f, offset, piece, n, err))
            return false;
        (void)XXH3_128bits_update(hash, piece, n);
        offset += n;
        bytes -= n;
    }
    return true;
}

static bool hash_file(XXH3_state_t *hash, const struct image_file *f,
                      struct error *err)
{
    uint8_t size[8];
    store_le64(size, f->bytes);
    (void)XXH3_128bits_update(hash, size, sizeof size);
    if (f->bytes <= WHOLE_MAX)
        return hash_range(hash, f, 0, f->bytes, err);
    if (!hash_range(hash, f, 0, ENDS, err) ||
        !hash_range(hash, f, f->bytes - ENDS, ENDS, err))
        return false;
    uint64_t span = f->bytes - PIECE;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        uint64_t at =
            span / (SAMPLES - 1) * i + span % (SAMPLES - 1) * i / (SAMPLES - 1);
        if (!hash_range(hash, f, at & ~(uint64_t)4095, PIECE, err))
            return false;
    }
    return true;
}

/* ---- raw ------------------ */

static bool raw_read(void *context, uint64_t offset, void *out, size_t bytes,
                     struct error *err)
{
    return image_file_read(context, offset, out, bytes, err);
}

static void raw_close(void *context)
{
    image_file_close(context);
    free(context);
}

static bool raw_open(struct image_file *file, struct block_base *base,
                     struct error *err)
{
    struct image_file *f = malloc(sizeof *f);
    if (!f || file->bytes == 0) {
        bool empty = file->bytes == 0;
        image_file_close(file);
        free(f);
        return empty
                   ? error_set(err, ERR_INPUT, "%s: the image is empty",
                               file->path)
                   : error_set(err, ERR_NOMEM, "%s: out of memory", file->path);
    }
    *f = *file;
    *base = (struct block_base){.bytes = (f->bytes + 511) & ~(uint64_t)511,
                                .context = f,
                                .read = raw_read,
                                .now_ns = clock_monotonic_ns,
                                .close = raw_close};
    return true;
}

/* ---- formats ------------------ */

/* Formats that are recognised and refused. */
static const struct {
    const char *name, *qemu_name, *magic;
    uint8_t bytes;
    uint16_t offset;
} foreign[] = {
    {"VMDK", "vmdk", "KDMV", 4, 0},
    {"VMDK", "vmdk", "COWD", 4, 0},
    {"VMDK", "vmdk", "# Disk DescriptorFile", 21, 0},
    {"VHDX", "vhdx", "vhdxfile", 8, 0},
    {"VHD", "vpc", "conectix", 8, 0},
    {"VDI", "vdi", "\x7f\x10\xda\xbe", 4, 64},
    {"QED", "qed", "QED\0", 4, 0},
    {"Parallels", "parallels", "WithoutFreeSpace", 16, 0},
    {"Parallels", "parallels", "WithouFreSpacExt", 16, 0},
};

static bool refuse_foreign(const struct image_file *f, const uint8_t *head,
                           struct error *err)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (memcmp(head + foreign[i].offset, foreign[i].magic,
                   foreign[i].bytes) == 0)
            return error_set(err, ERR_INPUT,
                             "%s: %s images are not read directly; convert it "
                             "with: qemu-img convert -f %s -O qcow2 '%s' "
                             "NEW.qcow2",
                             f->path, foreign[i].name, foreign[i].qemu_name,
                             f->path);
    return true;
}

/* A fixed-size VHD has its mark at the end only. */
static bool refuse_fixed_vhd(const struct image_file *f, struct error *err)
{
    uint8_t tail[8] = {0};
    if (f->bytes < 1024 ||
        !image_file_read(f, f->bytes - 512, tail, sizeof tail, err))
        return f->bytes < 1024;
    if (memcmp(tail, "conectix", 8) != 0)
        return true;
    return error_set(err, ERR_INPUT,
                     "%s: VHD images are not read directly; convert it with: "
                     "qemu-img convert -f vpc -O qcow2 '%s' NEW.qcow2",
                     f->path, f->path);
}

/* Is it qcow2? A backing file is what the image above says it is: raw data may
 * look like anything. */
static bool probe(const struct image_file *f, const char *format, bool *qcow2,
                  struct error *err)
{
    uint8_t head[MAGIC_BYTES];
    *qcow2 = false;
    if (format && strcmp(format, "raw") == 0)
        return true;
    if (!image_file_read(f, 0, head, sizeof head, err))
        return false;
    *qcow2 = memcmp(head, "QFI\xfb", 4) == 0;
    if (*qcow2)
        return true;
    if (format && strcmp(format, "qcow2") == 0)
        return error_set(err, ERR_INPUT,
                         "%s: expected a qcow2 image, found other contents",
                         f->path);
    return refuse_foreign(f, head, err) && refuse_fixed_vhd(f, err);
}

bool image_open_chain(const char *path, const char *format, unsigned depth,
                      struct block_base *base, XXH3_state_t *hash,
                      struct error *err)
{
    struct image_file f;
    bool qcow2;
    if (depth >= IMAGE_CHAIN)
        return error_set(err, ERR_INPUT,
                         "%s: more than %d files in the backing chain", path,
                         IMAGE_CHAIN);
    if (!file_open(&f, path, err))
        return false;
    if (!probe(&f, format, &qcow2, err) || !hash_file(hash, &f, err)) {
        image_file_close(&f);
        return false;
    }
    if (qcow2)
        return qcow2_open(&f, depth, base, hash, err);
    return raw_open(&f, base, err);
}

bool image_open(const char *path, struct block_base *base, uint8_t hash[16],
                struct error *err)
{
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    (void)XXH3_128bits_reset(state);
    bool ok = image_open_chain(path, NULL, 0, base, state, err);
    if (ok) {
        XXH128_hash_t h = XXH3_128bits_digest(state);
        store_le64(hash, h.low64);
        store_le64(hash + 8, h.high64);
    }
    (void)XXH3_freeState(state);
    return ok;
}
