/* A session opened for replay: what replay and screenshot share. */
#ifndef RELIVE_CLI_REPLAY_H
#define RELIVE_CLI_REPLAY_H

#include "cli/machine_setup.h"
#include "cli/options.h"

struct replay {
    struct replayer *replayer;  /* owned */
    struct machine_setup setup; /* owned */
    bool notes_reads;           /* see machine_setup.h; before replay_open() */
    bool updates;               /* the session is opened to add to it; likewise */
};

/* Open the session that o names and its media, build the machine with the
 * engine of o and attach it. Warns on stderr of a torn session. r is zeroed and
 * does not move. */
bool replay_open(struct replay *r, const struct cli_options *o,
                 struct error *err);
void replay_close(struct replay *r);

/* The picture now. */
bool replay_screenshot(struct replay *r, const char *path, struct error *err);

#endif
