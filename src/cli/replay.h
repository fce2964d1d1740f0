/* A session opened for replay: what replay and screenshot share. */
#ifndef RELIVE_CLI_REPLAY_H
#define RELIVE_CLI_REPLAY_H

#include "cli/machine_setup.h"
#include "cli/options.h"
#include "cli/stats.h"
#include "replay/replayer.h"

struct replay {
    struct replayer *replayer;  /* owned */
    struct machine_setup setup; /* owned */
    struct stats stats;         /* open or zeroed; closed by replay_close() */
    bool notes_reads;           /* see machine_setup.h; before replay_open() */
    bool updates;               /* the session is opened to add to it; likewise */
};

/* Open the session that o names and its media, build the machine with the
 * engine of o and attach it. Warns on stderr of a torn session. r is zeroed and
 * does not move. */
bool replay_open(struct replay *r, const struct cli_options *o,
                 struct error *err);
void replay_close(struct replay *r);

/* Do a command's work, which gives its exit status, with a session that work
 * opens by replay_open() and that is closed behind it. */
typedef int replay_work_fn(struct replay *r, const struct cli_options *o);
int replay_command(const struct cli_options *o, replay_work_fn *work);

/* replayer_run(), stopping on the way to measure what r->stats asks for. */
enum replay_stop replay_run_until(struct replay *r, uint64_t until,
                                  struct error *err);

/* Stand at a tick, from the nearest snapshot below it; what o wants measured is
 * measured from there. */
bool replay_go_to(struct replay *r, const struct cli_options *o, uint64_t tick,
                  struct error *err);

/* The picture now, with the panel if r->stats has one. */
bool replay_screenshot(struct replay *r, const char *path, struct error *err);

#endif
