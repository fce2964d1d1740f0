/* Verifying a session in several processes, or one share of it. */
#ifndef RELIVE_CLI_REPLAY_SHARES_H
#define RELIVE_CLI_REPLAY_SHARES_H

#include "cli/options.h"

/* --jobs and --segment. */
extern const struct option_row share_options[];

/* Has either been given? */
bool replay_is_shared(const struct cli_options *o);
/* Returns the exit status. */
int replay_shared(const struct cli_options *o);

#endif
