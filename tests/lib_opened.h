/* A recorded session of a kernel guest (no disks), opened in this process to
 * look into its memory. */
#ifndef RELIVE_TESTS_LIB_OPENED_H
#define RELIVE_TESTS_LIB_OPENED_H

#include "replay/replayer.h"
#include "replay/travel.h"

struct opened {
    struct replayer *replayer;
    struct machine *machine;
    struct travel *travel;
};

/* Fails the test when it cannot. */
void opened_open(struct opened *o, const char *path);
void opened_close(struct opened *o);

/* Stand at a tick. */
void opened_goto(struct opened *o, uint64_t tick);
uint64_t opened_end(const struct opened *o);

#endif
