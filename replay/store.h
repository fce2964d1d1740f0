/* The session store: one directory with one LMDB 0.9 environment (data.mdb and
 * lock.mdb), one named database per kind of record. It knows keys, checksums
 * and transactions; what a value means is record.h's business.
 *
 * Keys are big-endian, so key order is time order. Every value carries a
 * checksum of (database, key, value), verified at every read: 4 bytes, and 8 in
 * pages, snapshots and traces. A flipped bit is therefore never taken for data. */
#ifndef RELIVE_REPLAY_STORE_H
#define RELIVE_REPLAY_STORE_H

#include "base/error.h"
#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Version; a newer one is refused by name. Version 2: snapshots that name what
 * has changed since others. Version 3: long pages in two pieces. */
#define STORE_FORMAT    3
#define SNAPSHOT_FORMAT 2 /* the first with such snapshots */

enum store_db {
    STORE_META,      /* name */
    STORE_EVENTS,    /* tick u64, index u32 */
    STORE_DIGESTS,   /* tick u64 */
    STORE_SNAPSHOTS, /* tick u64 */
    STORE_PAGES,     /* content hash, 16 bytes; with a 0 behind it: the rest */
    STORE_OUTPUT,    /* tick u64, index u32 */
    STORE_TRACES,    /* trace u32, column u8, chunk u32; not in old sessions */
    STORE_DBS
};

enum { STORE_KEY_MAX = 64 };

struct store;

/* "meta", "events", ... */
const char *store_db_name(enum store_db db);

/* Make the directory (its parent must exist) and an empty store in it. Refuses
 * a path at which a session or anything but an empty directory exists. The
 * store is locked against other writers and readers until closed.
 * limit_bytes  the data file never grows beyond this (0: the disk decides);
 *              reaching it is the same ERR_FULL that a full disk gives */
bool store_create(const char *path, uint64_t limit_bytes, struct store **out,
                  struct error *err);

/* Open for reading. The file's structure is walked first (lmdb_verify.h), so
 * damaged bytes give a sentence and never reach liblmdb. One sentence each for:
 * no session, damaged, newer format, being recorded right now. */
bool store_open(const char *path, struct store **out, struct error *err);

/* As store_open(), and store_commit() works on it, from any thread: what is read
 * stays what the store held when it was opened. Nobody else can open it. A seal
 * is checked and taken off; store_close() puts it on again. */
bool store_open_update(const char *path, struct store **out, struct error *err);

void store_close(struct store *s); /* takes NULL */

/* Close a store that store_create() made and remove its files: for callers that
 * fail before the session is worth keeping. */
void store_discard(struct store *s);

const char *store_path(const struct store *s);
uint64_t store_file_bytes(const struct store *s); /* size of data.mdb now */
uint32_t store_format(const struct store *s);

/* ---- writing: batches, committed by any thread ------------------------------
 */

/* A list of puts in memory, committed as one transaction: all or nothing. */
struct store_batch {
    struct writer bytes;
    unsigned count;
};
void store_batch_init(struct store_batch *b);
void store_batch_fini(struct store_batch *b);
void store_batch_reset(struct store_batch *b);
/* Adds or replaces db[key] = value. Out of memory is found by the commit. */
void store_batch_put(struct store_batch *b, enum store_db db, const void *key,
                     size_t key_bytes, const void *value, size_t value_bytes);

/* Removes db[key], if it is there. */
void store_batch_delete(struct store_batch *b, enum store_db db,
                        const void *key, size_t key_bytes);

/* On return the batch is durable (fsync'ed). False: nothing of it is in the
 * store, everything committed before still is. ERR_FULL when the disk (or the
 * limit) is full. */
bool store_commit(struct store *s, const struct store_batch *b,
                  struct error *err);

/* After the last commit: remember a hash of the whole file, so that any bit
 * that flips later is found, in the space between records too. */
bool store_seal(struct store *s, struct error *err);
/* On an opened store: false when the file is not what was sealed. *sealed:
 * there is a seal (a torn session has none). Reads the whole file. */
bool store_check_seal(struct store *s, bool *sealed, struct error *err);

/* ---- reading
 * ------------------------------------------------------------------ */

struct store_bytes {
    const void *data; /* into the map: lives until store_close() */
    size_t bytes;
};

enum store_found {
    STORE_FOUND,
    STORE_NONE,
    STORE_BAD /* checksum or library error: err says which record */
};

/* Only on a store that store_open() gave. */
enum store_found store_get(struct store *s, enum store_db db, const void *key,
                           size_t key_bytes, struct store_bytes *value,
                           struct error *err);
/* On a store that store_create() gave: a copy of the value, appended to out. */
enum store_found store_fetch(struct store *s, enum store_db db,
                             const void *key, size_t key_bytes,
                             struct writer *out, struct error *err);

/* A cursor walks one database in key order. Embedded; no fini needed beyond
 * store_cursor_close(). */
struct store_cursor {
    struct store *store; /* borrowed */
    void *handle; /* NULL: the database is not there */
    enum store_db db;
};
bool store_cursor_open(struct store *s, enum store_db db,
                       struct store_cursor *c, struct error *err);
void store_cursor_close(struct store_cursor *c); /* idempotent */
/* The first record with a key >= `key` (NULL: the first of all). */
enum store_found store_cursor_seek(struct store_cursor *c, const void *key,
                                   size_t key_bytes, struct store_bytes *k,
                                   struct store_bytes *v, struct error *err);
enum store_found store_cursor_next(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err);
enum store_found store_cursor_prev(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err);
enum store_found store_cursor_last(struct store_cursor *c,
                                   struct store_bytes *k, struct store_bytes *v,
                                   struct error *err);

struct store_stats {
    uint64_t records;
    uint64_t file_bytes; /* pages of the file that this database occupies */
};
bool store_stats(struct store *s, enum store_db db, struct store_stats *out,
                 struct error *err);

#endif
