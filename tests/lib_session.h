/* A small guest that keeps memory, disk, serial line and timer busy, and
 * sessions recorded of it, for tests of snapshots and seeking. */
#ifndef RELIVE_TESTS_LIB_SESSION_H
#define RELIVE_TESTS_LIB_SESSION_H

#include "replay/recorder.h"
#include "replay/replayer.h"

#include <stdint.h>

#define SECOND UINT64_C(1000000000)

/* A directory of the running test's own, and where its session is in it. */
extern char session_dir[64], session_path[80];

/* Set-up and tear-down: a directory of the test's own. */
int session_dir_make(void **state);
int session_dir_remove(void **state);

/* A disk of zeros. */
struct block *session_disk(uint64_t bytes);

/* At tick 0, with a disk of 1 MiB. */
struct machine *session_machine(void);

/* No snapshots on the way unless the caller fills them in. */
struct recorder_options session_options(void);
void session_send(struct recorder *r, const char *text);

/* `seconds` of guest time, with a byte to the serial line at odd moments,
 * several of them at the same tick. */
void session_record(const struct recorder_options *options, unsigned seconds);

struct replayer *session_replayer(struct machine **m);
void session_drop(struct replayer *rp, struct machine *m);

#endif
