/* Shared by image.c (files, raw, identification) and qcow2.c. */
#ifndef RELIVE_HOST_IMAGE_INTERNAL_H
#define RELIVE_HOST_IMAGE_INTERNAL_H

#include "host/image.h"

#include <xxhash.h>

enum {
    IMAGE_PATH = 4096,
    IMAGE_CHAIN = 16 /* files of a backing chain */
};

struct image_file {
    int fd;
    uint64_t bytes;
    char path[IMAGE_PATH];
};

/* Exactly `bytes` at `offset`; bytes past the end of the file are zero. */
bool image_file_read(const struct image_file *f, uint64_t offset, void *out,
                     size_t bytes, struct error *err);
void image_file_close(struct image_file *f);

/* Open a file of a chain by its contents; depth 0 is the one the user named.
 * format: NULL, or the backing format the image above names. */
bool image_open_chain(const char *path, const char *format, unsigned depth,
                      struct block_base *base, XXH3_state_t *hash,
                      struct error *err);

/* Takes over *file (closed on failure too). */
bool qcow2_open(const struct image_file *file, unsigned depth,
                struct block_base *base, XXH3_state_t *hash, struct error *err);

#endif
