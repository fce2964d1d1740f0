/* A session as one file to send. The file is "relive pack 1\n" and a zstd frame,
 * with checksum, of a compacted session's data.mdb. */
#ifndef RELIVE_REPLAY_PACK_H
#define RELIVE_REPLAY_PACK_H

#include "base/error.h"
#include "replay/copy.h"

#include <stdbool.h>

/* Writes `file`, new; nothing of it is left after false. extra: see copy.h. */
bool session_pack(const char *session, const char *file,
                  const struct copy_options *options,
                  struct copy_report *report, struct error *err);

/* Makes the session `to`, a new directory, and opens it once. */
bool session_unpack(const char *file, const char *to, struct error *err);

#endif
