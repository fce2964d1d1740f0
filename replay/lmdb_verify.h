/* A read-only walker of the LMDB 0.9 file format (data version 1, 64-bit), run
 * over data.mdb before liblmdb sees it, because liblmdb trusts the file and a
 * damaged one can crash it. */
#ifndef RELIVE_REPLAY_LMDB_VERIFY_H
#define RELIVE_REPLAY_LMDB_VERIFY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Walks the newest committed state of the image of a data.mdb in memory: meta
 * pages, every reachable branch, leaf and overflow page of every database and
 * the free list: node offsets inside pages, page numbers inside the file, keys
 * in order, depths and counts as claimed, no page used twice.
 * data  at least 8-byte aligned; never read outside [data, data+bytes)
 * where names the file in the sentence. False: ERR_INPUT. Allocates a bitmap of
 * one bit per page. */
bool lmdb_verify_image(const void *data, size_t bytes, const char *where,
                       struct error *err);

/* The same for a file, through a read-only map. */
bool lmdb_verify_file(const char *path, struct error *err);

#endif
