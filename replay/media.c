#include "replay/media.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

void media_hash(const void *data, size_t bytes, uint8_t hash[MEDIA_HASH_BYTES])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
    memcpy(hash, canonical.digest, MEDIA_HASH_BYTES);
}

static void hash_text(const uint8_t hash[MEDIA_HASH_BYTES], char text[33])
{
    for (unsigned i = 0; i < MEDIA_HASH_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

static bool is_inserted(const struct media_identity *m)
{
    return strcmp(m->role, "inserted") == 0;
}

static const struct media_identity *find_role(const struct media_identity *list,
                                              unsigned count, const char *role)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(list[i].role, role) == 0)
            return &list[i];
    return NULL;
}

static bool check_one(const struct media_identity *want,
                      const struct media_identity *got, const char *where,
                      struct error *err)
{
    char want_hash[33], got_hash[33];
    if (!got)
        return error_set(err, ERR_MISMATCH,
                         "%.200s: recorded with %s '%.300s' (%llu bytes), "
                         "found none",
                         where, want->role, want->path,
                         (unsigned long long)want->bytes);
    if (want->bytes != got->bytes)
        return error_set(err, ERR_MISMATCH,
                         "%.200s: %s '%.300s' is not the recorded one: "
                         "expected %llu bytes, found %llu",
                         where, want->role, got->path,
                         (unsigned long long)want->bytes,
                         (unsigned long long)got->bytes);
    if (memcmp(want->hash, got->hash, MEDIA_HASH_BYTES) == 0)
        return true;
    hash_text(want->hash, want_hash);
    hash_text(got->hash, got_hash);
    return error_set(err, ERR_MISMATCH,
                     "%.200s: %s '%.300s' is not the recorded one: expected "
                     "content hash %s, found %s",
                     where, want->role, got->path, want_hash, got_hash);
}

bool media_check(const struct media_identity *expected, unsigned expected_count,
                 const struct media_identity *found, unsigned found_count,
                 const char *where, struct error *err)
{
    for (unsigned i = 0; i < expected_count; i++) {
        const struct media_identity *want = &expected[i];
        if (is_inserted(want))
            continue;
        if (!check_one(want, find_role(found, found_count, want->role), where,
                       err))
            return false;
    }
    for (unsigned i = 0; i < found_count; i++) {
        const struct media_identity *got = &found[i];
        if (!is_inserted(got) &&
            !find_role(expected, expected_count, got->role))
            return error_set(err, ERR_MISMATCH,
                             "%.200s: recorded without %s, found '%.300s'",
                             where, got->role, got->path);
    }
    return true;
}

void media_save(const struct media_identity *media, struct writer *w)
{
    size_t role = strnlen(media->role, MEDIA_ROLE_BYTES - 1);
    size_t path = strnlen(media->path, MACHINE_PATH - 1);
    writer_u8(w, (uint8_t)role);
    writer_bytes(w, media->role, role);
    writer_u16(w, (uint16_t)path);
    writer_bytes(w, media->path, path);
    writer_u64(w, media->bytes);
    writer_bytes(w, media->hash, MEDIA_HASH_BYTES);
}

bool media_load(struct media_identity *media, struct reader *r,
                struct error *err)
{
    *media = (struct media_identity){0};
    unsigned role = reader_u8(r);
    if (role >= MEDIA_ROLE_BYTES)
        return error_set(err, ERR_INPUT,
                         "media identity: role of %u bytes, expected under %d",
                         role, MEDIA_ROLE_BYTES);
    reader_bytes(r, media->role, role);
    unsigned path = reader_u16(r);
    if (path >= MACHINE_PATH)
        return error_set(err, ERR_INPUT,
                         "media identity: path of %u bytes, expected under %d",
                         path, MACHINE_PATH);
    reader_bytes(r, media->path, path);
    media->bytes = reader_u64(r);
    reader_bytes(r, media->hash, MEDIA_HASH_BYTES);
    return reader_done(r, "media identity", err);
}
