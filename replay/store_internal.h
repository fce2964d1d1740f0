/* What store.c (opening, writing) and store_read.c share. */
#ifndef RELIVE_REPLAY_STORE_INTERNAL_H
#define RELIVE_REPLAY_STORE_INTERNAL_H

#include "replay/store.h"

#include <lmdb.h>
#include <pthread.h>

/* In place of the handle of a database that is not there. */
#define STORE_NO_DBI UINT32_MAX

struct store {
    char *path;      /* owned: the directory */
    char *data_path; /* owned: its data.mdb */
    MDB_env *env;    /* owned */
    MDB_txn *txn;    /* owned: the reader's view; NULL in store_create()'s */
    MDB_dbi dbi[STORE_DBS];
    int lock_fd;        /* flock()ed directory */
    uint64_t map_bytes; /* address space of the map */
    uint64_t limit_bytes;
    bool made_directory; /* by store_create() */
    bool was_sealed; /* before an update */
    uint32_t format;
    pthread_mutex_t lock; /* of a writer: the map moves only when it is held */
};

/* 4 or 8: how many checksum bytes end a value of this database. */
unsigned store_sum_bytes(enum store_db db);
uint64_t store_sum(enum store_db db, const void *key, size_t key_bytes,
                   const void *value, size_t value_bytes);
/* Put a record of no seal. Returns liblmdb's code. */
int store_blank_seal(struct store *s, MDB_txn *txn);
/* Turn a return code of liblmdb into a sentence. Always false. */
bool store_fail(const struct store *s, int code, const char *doing,
                struct error *err);

#endif
