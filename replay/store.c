#include "replay/store.h"

#include "base/bytes.h"
#include "replay/lmdb_verify.h"
#include "replay/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    FORMAT_NAME_BYTES = 15, /* "relive session" and its 0 */
    FORMAT_VALUE_BYTES = FORMAT_NAME_BYTES + 4,
    MAP_BYTES_FIRST = 16 << 20, /* doubled whenever it is full */
    LIMIT_BYTES_MIN = 128 << 10,
    NEARLY_FULL_BYTES = 4 << 20
};
static const char format_name[] = "relive session";

static const char *const db_names[STORE_DBS] = {
    "meta", "events", "digests", "snapshots", "pages", "output", "traces",
};

const char *store_db_name(enum store_db db)
{
    return db_names[db];
}

unsigned store_sum_bytes(enum store_db db)
{
    bool is_long =
        db == STORE_PAGES || db == STORE_SNAPSHOTS || db == STORE_TRACES;
    return is_long ? 8 : 4;
}

uint64_t store_sum(enum store_db db, const void *key, size_t key_bytes,
                   const void *value, size_t value_bytes)
{
    uint64_t seed = XXH3_64bits_withSeed(key, key_bytes, (uint64_t)db + 1);
    return XXH3_64bits_withSeed(value, value_bytes, seed);
}

/* A write that the disk had no room for comes back from liblmdb as ENOSPC, as
 * EFBIG, or, when a part of it fitted, as a plain EIO. */
static bool is_full(const struct store *s, int code)
{
    struct statvfs fs;
    struct rlimit limit;
    if (code == ENOSPC || code == EDQUOT || code == EFBIG ||
        code == MDB_MAP_FULL)
        return true;
    if (code != EIO)
        return false;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY &&
        store_file_bytes(s) + NEARLY_FULL_BYTES > limit.rlim_cur)
        return true;
    return statvfs(s->path, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < NEARLY_FULL_BYTES;
}

bool store_fail(const struct store *s, int code, const char *doing,
                struct error *err)
{
    if (code == ENOMEM)
        return error_set(err, ERR_NOMEM, "%s: %s: out of memory", s->path,
                         doing);
    if (code == MDB_MAP_FULL)
        return error_set(err, ERR_FULL,
                         "%s: %s: the session has reached its limit of %llu "
                         "bytes",
                         s->path, doing, (unsigned long long)s->limit_bytes);
    if (is_full(s, code))
        return error_set(err, ERR_FULL, "%s: %s: no space left on the disk",
                         s->path, doing);
    return error_set(err, ERR_IO, "%s: %s: %s", s->path, doing,
                     mdb_strerror(code));
}

const char *store_path(const struct store *s)
{
    return s->path;
}

uint32_t store_format(const struct store *s)
{
    return s->format;
}

uint64_t store_file_bytes(const struct store *s)
{
    struct stat st;
    return stat(s->data_path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->txn)
        mdb_txn_abort(s->txn);
    s->txn = NULL;
    if (s->was_sealed)
        (void)store_seal(s, NULL);
    if (s->env)
        mdb_env_close(s->env);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s->data_path);
    free(s);
}

static struct store *store_new(const char *path, struct error *err)
{
    struct store *s = calloc(1, sizeof *s);
    if (s) {
        s->lock_fd = -1;
        s->format = STORE_FORMAT;
        (void)pthread_mutex_init(&s->lock, NULL);
        s->path = strdup(path);
        size_t bytes = strlen(path) + sizeof "/data.mdb";
        s->data_path = malloc(bytes);
        if (s->data_path)
            (void)snprintf(s->data_path, bytes, "%s/data.mdb", path);
    }
    if (s && s->path && s->data_path)
        return s;
    error_set(err, ERR_NOMEM, "%s: out of memory", path);
    store_close(s);
    return NULL;
}

/* Writers lock the directory alone, readers together. A file system without
 * locks is not a reason to refuse. */
static bool lock_directory(struct store *s, int how, struct error *err)
{
    s->lock_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0)
        return error_set(err, ERR_IO, "%s: %s", s->path, strerror(errno));
    if (flock(s->lock_fd, how | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return error_set(err, ERR_IO,
                         "%s: the session is in use: a recording into it is "
                         "still running",
                         s->path);
    return true;
}

/* ---- creating ---------------------------------------------------------------
 */

static bool make_directory(struct store *s, struct error *err)
{
    if (mkdir(s->path, 0777) == 0) {
        s->made_directory = true;
        return true;
    }
    if (errno != EEXIST)
        return error_set(err, ERR_IO, "%s: cannot make the directory: %s",
                         s->path, strerror(errno));
    if (access(s->data_path, F_OK) == 0)
        return error_set(err, ERR_USAGE,
                         "%s: a session exists there already; give another "
                         "name or remove it",
                         s->path);
    /* rmdir() is the test for an empty directory that cannot be fooled. */
    if (rmdir(s->path) != 0 || mkdir(s->path, 0777) != 0)
        return error_set(err, ERR_USAGE,
                         "%s: expected a new name or an empty directory, "
                         "found: %s",
                         s->path, strerror(errno));
    s->made_directory = true;
    return true;
}

static int create_databases(struct store *s)
{
    uint8_t value[FORMAT_VALUE_BYTES];
    struct store_batch batch;
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (code)
        return code;
    for (unsigned db = 0; db < STORE_DBS && !code; db++)
        code = mdb_dbi_open(txn, db_names[db], MDB_CREATE, &s->dbi[db]);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    code = mdb_txn_commit(txn);
    if (code)
        return code;
    memcpy(value, format_name, FORMAT_NAME_BYTES);
    store_le32(value + FORMAT_NAME_BYTES, STORE_FORMAT);
    store_batch_init(&batch);
    store_batch_put(&batch, STORE_META, "format", 6, value, sizeof value);
    code = store_commit(s, &batch, NULL) ? 0 : ENOSPC;
    store_batch_fini(&batch);
    return code;
}

static bool create_environment(struct store *s, struct error *err)
{
    int code = mdb_env_create(&s->env);
    if (code)
        return store_fail(s, code, "creating the store", err);
    if (!(code = mdb_env_set_maxdbs(s->env, STORE_DBS + 8)) &&
        !(code = mdb_env_set_mapsize(s->env, s->map_bytes)) &&
        !(code = mdb_env_open(s->env, s->path, 0, 0666)))
        code = create_databases(s);
    /* The names of the files must survive a power loss as well. */
    if (!code && fsync(s->lock_fd) != 0)
        code = errno;
    return code ? store_fail(s, code, "creating the store", err) : true;
}

void store_discard(struct store *s)
{
    char lock[4200];
    if (!s)
        return;
    if (s->made_directory) {
        (void)unlink(s->data_path);
        (void)snprintf(lock, sizeof lock, "%s/lock.mdb", s->path);
        (void)unlink(lock);
        (void)rmdir(s->path);
    }
    store_close(s);
}

bool store_create(const char *path, uint64_t limit_bytes, struct store **out,
                  struct error *err)
{
    struct store *s = store_new(path, err);
    if (!s)
        return false;
    s->limit_bytes = limit_bytes & ~UINT64_C(4095);
    if (limit_bytes && limit_bytes < LIMIT_BYTES_MIN)
        s->limit_bytes = LIMIT_BYTES_MIN;
    s->map_bytes = MAP_BYTES_FIRST;
    if (s->limit_bytes && s->limit_bytes < s->map_bytes)
        s->map_bytes = s->limit_bytes;
    if (!make_directory(s, err) || !lock_directory(s, LOCK_EX, err) ||
        !create_environment(s, err)) {
        store_discard(s);
        return false;
    }
    *out = s;
    return true;
}

/* ---- opening
 * ------------------------------------------------------------------ */

static bool check_format(struct store *s, struct error *err)
{
    struct store_bytes v;
    switch (store_get(s, STORE_META, "format", 6, &v, err)) {
    case STORE_BAD:
        return false;
    case STORE_NONE:
        return error_set(err, ERR_INPUT,
                         "%s: not a relive session: it names no format",
                         s->path);
    default:
        break;
    }
    if (v.bytes != FORMAT_VALUE_BYTES ||
        memcmp(v.data, format_name, FORMAT_NAME_BYTES) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: not a relive session: its format record is "
                         "another program's",
                         s->path);
    uint32_t version = load_le32((const uint8_t *)v.data + FORMAT_NAME_BYTES);
    if (version > STORE_FORMAT)
        return error_set(err, ERR_VERSION,
                         "%s: recorded by a newer relive: expected format "
                         "version %d or older, found %u",
                         s->path, STORE_FORMAT, version);
    if (version < 1)
        return error_set(err, ERR_INPUT, "%s: damaged: format version 0",
                         s->path);
    s->format = version;
    return true;
}

static bool open_databases(struct store *s, struct error *err)
{
    for (unsigned db = 0; db < STORE_DBS; db++) {
        int code = mdb_dbi_open(s->txn, db_names[db], 0, &s->dbi[db]);
        if (code == MDB_NOTFOUND && db == STORE_TRACES) {
            s->dbi[db] = STORE_NO_DBI; /* recorded before there were any */
            continue;
        }
        if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
            return error_set(err, ERR_INPUT,
                             "%s: not a relive session: it has no database "
                             "'%s'",
                             s->path, db_names[db]);
        if (code)
            return store_fail(s, code, "opening the store", err);
        if (db == STORE_META && !check_format(s, err))
            return false;
    }
    return true;
}

static bool open_environment(struct store *s, struct error *err)
{
    int code = mdb_env_create(&s->env);
    if (code)
        return store_fail(s, code, "opening the store", err);
    s->map_bytes = (store_file_bytes(s) + 4095) & ~UINT64_C(4095);
    if (!(code = mdb_env_set_maxdbs(s->env, STORE_DBS + 8)) &&
        !(code = mdb_env_set_mapsize(s->env, s->map_bytes)) &&
        !(code = mdb_env_open(s->env, s->path,
                              MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0666)))
        code = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->txn);
    return code ? store_fail(s, code, "opening the store", err) : true;
}

/* Address space for what an update adds: the map cannot grow while it is read.
 */
#define UPDATE_BYTES     (UINT64_C(64) << 30)
#define UPDATE_BYTES_MIN (UINT64_C(64) << 20)

/* Handles that a later write can use must come from a write. With the same one
 * the seal goes, for it no longer holds. */
static int open_handles(struct store *s, bool is_sealed)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (code)
        return code;
    for (unsigned db = 0; db < STORE_DBS && !code; db++)
        code = mdb_dbi_open(txn, db_names[db],
                            db == STORE_TRACES ? MDB_CREATE : 0, &s->dbi[db]);
    if (!code && is_sealed)
        code = store_blank_seal(s, txn);
    if (!code)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

/* With room for `room` bytes more. */
static int open_with_room(struct store *s, uint64_t room)
{
    int code = mdb_env_create(&s->env);
    if (code)
        return code;
    s->map_bytes = ((store_file_bytes(s) + 4095) & ~UINT64_C(4095)) + room;
    if (!(code = mdb_env_set_maxdbs(s->env, STORE_DBS + 8)) &&
        !(code = mdb_env_set_mapsize(s->env, s->map_bytes)))
        code = mdb_env_open(s->env, s->path, MDB_NOTLS, 0666);
    if (code) {
        mdb_env_close(s->env);
        s->env = NULL;
    }
    return code;
}

static bool open_update(struct store *s, bool is_sealed, struct error *err)
{
    uint64_t room = UPDATE_BYTES;
    int code = open_with_room(s, room);
    while ((code == EINVAL || code == ENOMEM) &&
           (room /= 4) >= UPDATE_BYTES_MIN)
        code = open_with_room(s, room); /* address space is scarce */
    if (!code && !(code = open_handles(s, is_sealed)))
        code = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->txn);
    s->was_sealed = is_sealed && !code;
    return code ? store_fail(s, code, "opening the store", err) : true;
}

static bool check_path(const struct store *s, struct error *err)
{
    struct stat st;
    if (stat(s->path, &st) != 0)
        return error_set(err, ERR_IO, "%s: no such session: %s", s->path,
                         strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(err, ERR_INPUT,
                         "%s: not a relive session: expected a directory, "
                         "found a file",
                         s->path);
    if (stat(s->data_path, &st) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: not a relive session: data.mdb: %s", s->path,
                         strerror(errno));
    return true;
}

bool store_open(const char *path, struct store **out, struct error *err)
{
    struct store *s = store_new(path, err);
    if (!s)
        return false;
    if (!check_path(s, err) || !lock_directory(s, LOCK_SH, err) ||
        !lmdb_verify_file(s->data_path, err) || !open_environment(s, err) ||
        !open_databases(s, err)) {
        store_close(s);
        return false;
    }
    *out = s;
    return true;
}

bool store_open_update(const char *path, struct store **out, struct error *err)
{
    struct store *probe, *s;
    bool is_sealed;
    if (!store_open(path, &probe, err)) /* the right format, and whole */
        return false;
    bool ok = store_check_seal(probe, &is_sealed, err);
    store_close(probe);
    if (!ok)
        return false;
    s = store_new(path, err);
    if (!s)
        return false;
    if (!lock_directory(s, LOCK_EX, err) ||
        !lmdb_verify_file(s->data_path, err) ||
        !open_update(s, is_sealed, err) || !check_format(s, err)) {
        store_close(s);
        return false;
    }
    *out = s;
    return true;
}

/* ---- batches ----------------------------------------------------------------
 */

enum {
    PUT_HEAD_BYTES = 6 /* u8 database, u8 key bytes, u32 value bytes */
};
#define DELETED UINT32_MAX /* stands where the value's bytes would */

void store_batch_init(struct store_batch *b)
{
    writer_init(&b->bytes);
    b->count = 0;
}

void store_batch_fini(struct store_batch *b)
{
    writer_fini(&b->bytes);
    b->count = 0;
}

void store_batch_reset(struct store_batch *b)
{
    writer_reset(&b->bytes);
    b->count = 0;
}

void store_batch_put(struct store_batch *b, enum store_db db, const void *key,
                     size_t key_bytes, const void *value, size_t value_bytes)
{
    uint8_t sum[8];
    unsigned sum_bytes = store_sum_bytes(db);
    store_le64(sum, store_sum(db, key, key_bytes, value, value_bytes));
    writer_u8(&b->bytes, (uint8_t)db);
    writer_u8(&b->bytes, (uint8_t)key_bytes);
    writer_u32(&b->bytes, (uint32_t)(value_bytes + sum_bytes));
    writer_bytes(&b->bytes, key, key_bytes);
    writer_bytes(&b->bytes, value, value_bytes);
    writer_bytes(&b->bytes, sum, sum_bytes);
    b->count++;
}

void store_batch_delete(struct store_batch *b, enum store_db db,
                        const void *key, size_t key_bytes)
{
    writer_u8(&b->bytes, (uint8_t)db);
    writer_u8(&b->bytes, (uint8_t)key_bytes);
    writer_u32(&b->bytes, DELETED);
    writer_bytes(&b->bytes, key, key_bytes);
    b->count++;
}

/* Most records arrive in key order: appending fills pages to the brim where
 * inserting would leave them half empty. */
static int put(struct store *s, MDB_txn *txn, enum store_db db, MDB_val *k,
               MDB_val *v)
{
    bool in_order = db != STORE_META;
    int code = mdb_put(txn, s->dbi[db], k, v, in_order ? MDB_APPEND : 0);
    if (code == MDB_KEYEXIST && in_order)
        code = mdb_put(txn, s->dbi[db], k, v, 0);
    return code;
}

static int commit_once(struct store *s, const struct store_batch *b)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (code)
        return code;
    uint8_t *at = b->bytes.data;
    for (unsigned i = 0; i < b->count && !code; i++) {
        MDB_val k = {.mv_size = at[1], .mv_data = at + PUT_HEAD_BYTES};
        MDB_val v = {.mv_size = load_le32(at + 2),
                     .mv_data = at + PUT_HEAD_BYTES + k.mv_size};
        if (v.mv_size == DELETED) {
            v.mv_size = 0;
            code = mdb_del(txn, s->dbi[at[0]], &k, NULL);
            code = code == MDB_NOTFOUND ? 0 : code;
        } else {
            code = put(s, txn, (enum store_db)at[0], &k, &v);
        }
        at += PUT_HEAD_BYTES + k.mv_size + v.mv_size;
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* Double the map; false when the limit is reached. */
static bool grow(struct store *s)
{
    uint64_t bytes = s->map_bytes * 2;
    if (s->txn) /* somebody reads */
        return false;
    if (s->limit_bytes && bytes > s->limit_bytes)
        bytes = s->limit_bytes;
    if (bytes == s->map_bytes || mdb_env_set_mapsize(s->env, bytes) != 0)
        return false;
    s->map_bytes = bytes;
    return true;
}

bool store_commit(struct store *s, const struct store_batch *b,
                  struct error *err)
{
    int code;
    if (b->bytes.failed)
        return store_fail(s, ENOMEM, "writing", err);
    (void)pthread_mutex_lock(&s->lock);
    do
        code = commit_once(s, b);
    while (code == MDB_MAP_FULL && grow(s));
    (void)pthread_mutex_unlock(&s->lock);
    return code ? store_fail(s, code, "writing", err) : true;
}
