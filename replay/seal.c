/* The seal of a finished session: a hash of the whole of data.mdb, kept in a
 * record of its own, so that a flipped bit is found even where no record lies
 * (free pages, the unused ends of pages). The bytes of that record's value
 * count as zero in the hash; it is written in place, after the last commit. */
#include "base/bytes.h"
#include "replay/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    SEAL_BYTES = 16,
    SEAL_SUM_BYTES = 4,
    SEAL_VALUE_BYTES = SEAL_BYTES + SEAL_SUM_BYTES,
    READ_BYTES = 1 << 20,
    FILE_PAGE = 4096
};
static const char seal_key[] = "seal";
static const uint8_t no_seal[SEAL_BYTES];

/* Where in the file the record's value lies; 0: there is no such record. A
 * short value lies inside a leaf page, which begins with its own number, and
 * the map is aligned to pages. */
static uint64_t find_value(const struct store *s, MDB_txn *txn)
{
    MDB_val k = {.mv_size = 4, .mv_data = (void *)(uintptr_t)seal_key};
    MDB_val v;
    if (mdb_get(txn, s->dbi[STORE_META], &k, &v) != 0 ||
        v.mv_size != SEAL_VALUE_BYTES)
        return 0;
    size_t offset = (uintptr_t)v.mv_data % FILE_PAGE;
    uint64_t page = load_le64((const uint8_t *)v.mv_data - offset);
    return page * FILE_PAGE + offset;
}

/* Zero what [at, at+count) of the file has in common with the value. */
static void blank(uint8_t *bytes, uint64_t at, size_t count, uint64_t value)
{
    for (uint64_t i = value; i < value + SEAL_VALUE_BYTES; i++)
        if (i >= at && i - at < count)
            bytes[i - at] = 0;
}

static bool hash_file(const struct store *s, int fd, uint64_t value,
                      uint8_t hash[SEAL_BYTES], struct error *err)
{
    uint8_t *bytes = malloc(READ_BYTES);
    XXH3_state_t *state = XXH3_createState();
    uint64_t at = 0;
    ssize_t got = 0;
    bool ok = bytes && state;
    if (!ok) {
        error_set(err, ERR_NOMEM, "%s: out of memory", s->path);
    } else {
        (void)XXH3_128bits_reset(state);
        while ((got = pread(fd, bytes, READ_BYTES, (off_t)at)) > 0) {
            blank(bytes, at, (size_t)got, value);
            (void)XXH3_128bits_update(state, bytes, (size_t)got);
            at += (uint64_t)got;
        }
        ok = got == 0 ||
             error_set(err, ERR_IO, "%s: %s", s->data_path, strerror(errno));
    }
    if (ok) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
        memcpy(hash, canonical.digest, SEAL_BYTES);
    }
    (void)XXH3_freeState(state);
    free(bytes);
    return ok;
}

int store_blank_seal(struct store *s, MDB_txn *txn)
{
    uint8_t value[SEAL_VALUE_BYTES], sum[8];
    MDB_val k = {.mv_size = 4, .mv_data = (void *)(uintptr_t)seal_key};
    MDB_val v = {.mv_size = sizeof value, .mv_data = value};
    store_le64(sum, store_sum(STORE_META, seal_key, 4, no_seal, SEAL_BYTES));
    memcpy(value, no_seal, SEAL_BYTES);
    memcpy(value + SEAL_BYTES, sum, SEAL_SUM_BYTES);
    return mdb_put(txn, s->dbi[STORE_META], &k, &v, 0);
}

bool store_seal(struct store *s, struct error *err)
{
    MDB_txn *txn;
    uint8_t value[SEAL_VALUE_BYTES], sum[8];
    bool ok;
    int code = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (!code) {
        code = store_blank_seal(s, txn);
        if (code)
            mdb_txn_abort(txn);
        else
            code = mdb_txn_commit(txn);
    }
    if (!code)
        code = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (code)
        return store_fail(s, code, "sealing", err);
    uint64_t at = find_value(s, txn);
    mdb_txn_abort(txn);
    int fd = open(s->data_path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || at == 0) {
        ok =
            error_set(err, ERR_IO, "%s: sealing: %s", s->path, strerror(errno));
    } else if ((ok = hash_file(s, fd, at, value, err))) {
        store_le64(sum, store_sum(STORE_META, seal_key, 4, value, SEAL_BYTES));
        memcpy(value + SEAL_BYTES, sum, SEAL_SUM_BYTES);
        if (pwrite(fd, value, sizeof value, (off_t)at) != sizeof value ||
            fdatasync(fd) != 0)
            ok = error_set(err, ERR_IO, "%s: sealing: %s", s->path,
                           strerror(errno));
    }
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

bool store_check_seal(struct store *s, bool *sealed, struct error *err)
{
    struct store_bytes v;
    uint8_t hash[SEAL_BYTES];
    *sealed = false;
    enum store_found found = store_get(s, STORE_META, seal_key, 4, &v, err);
    if (found == STORE_BAD)
        return false;
    if (found == STORE_NONE || v.bytes != SEAL_BYTES ||
        memcmp(v.data, no_seal, SEAL_BYTES) == 0)
        return true;
    *sealed = true;
    int fd = open(s->data_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERR_IO, "%s: %s", s->data_path, strerror(errno));
    bool ok = hash_file(s, fd, find_value(s, s->txn), hash, err);
    (void)close(fd);
    if (ok && memcmp(hash, v.data, SEAL_BYTES) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: damaged: changed since it was recorded: "
                         "expected contents with hash %016llx, found %016llx",
                         s->data_path, (unsigned long long)load_be64(v.data),
                         (unsigned long long)load_be64(hash));
    return ok;
}
