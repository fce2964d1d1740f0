/* A machine run live: what `relive run` and `relive record` share. */
#ifndef RELIVE_CLI_LIVE_H
#define RELIVE_CLI_LIVE_H

#include "cli/options.h"

/* Run the machine that the options describe to its end and report; recorded
 * into o->session when that is set. Returns the exit status. */
int live_run(const struct cli_options *o);

#endif
