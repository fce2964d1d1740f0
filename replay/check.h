/* `relive check`: is every record of a session what it should be? */
#ifndef RELIVE_REPLAY_CHECK_H
#define RELIVE_REPLAY_CHECK_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct check_report {
    uint64_t events, digests, snapshots, pages, outputs;
    uint64_t page_bytes; /* uncompressed */
    bool torn;
    bool sealed;       /* the whole file was compared with its seal */
    char warning[400]; /* torn session, pages without an owner; "" for none */
};

/* Walks the file's structure, then every database: checksums, key order, sizes,
 * types, decompression, content hashes, references, digests monotonic, counts
 * as the last commit says. False: err is the first thing found. */
bool session_check(const char *path, struct check_report *report,
                   struct error *err);

#endif
