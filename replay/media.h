/* Media identities: which files a machine was built from, by role, size and
 * content hash. The caller opens and hashes the files; replay/ stores and
 * compares. */
#ifndef RELIVE_REPLAY_MEDIA_H
#define RELIVE_REPLAY_MEDIA_H

#include "base/error.h"
#include "base/stream.h"
#include "board/config.h"

#include <stdbool.h>
#include <stdint.h>

enum { MEDIA_ROLE_BYTES = 16, MEDIA_HASH_BYTES = 16, MEDIA_MAX = 64 };

/* role is "bios", "vgabios", "kernel", "initrd", "disk0".."disk2", "cdrom",
 * "floppy" for what the machine starts with, and "inserted" for media that a
 * MEDIA event names. */
struct media_identity {
    char role[MEDIA_ROLE_BYTES];
    char path[MACHINE_PATH];
    uint64_t bytes;                 /* size of the contents the guest sees */
    uint8_t hash[MEDIA_HASH_BYTES]; /* XXH3-128, canonical big-endian */
};

/* Hash of a blob that is in memory (firmware, kernel). A caller that reads a
 * disk image piece by piece uses XXH3_128bits_update() and stores the canonical
 * form (XXH128_canonicalFromHash), which gives the same bytes. */
void media_hash(const void *data, size_t bytes, uint8_t hash[MEDIA_HASH_BYTES]);

/* Compares what a recording names with what the caller opened. Roles present
 * on one side only are a mismatch, "inserted" ones are left out. On the first
 * mismatch: false and ERR_MISMATCH with role, path, expected and found.
 * where  the session's path, for the sentence */
bool media_check(const struct media_identity *expected, unsigned expected_count,
                 const struct media_identity *found, unsigned found_count,
                 const char *where, struct error *err);

/* The stored form. Loading fails on lengths that cannot be. */
void media_save(const struct media_identity *media, struct writer *w);
bool media_load(struct media_identity *media, struct reader *r,
                struct error *err);

#endif
