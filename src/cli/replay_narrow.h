/* What `relive replay` says when the replay differs, beside the sentence. */
#ifndef RELIVE_CLI_REPLAY_NARROW_H
#define RELIVE_CLI_REPLAY_NARROW_H

#include "cli/replay.h"

/* Say on stderr what differs, whether the interpreter does better, and which
 * command finds the instruction. Moves the machine. */
void replay_narrow(struct replay *r, const struct cli_options *o);

#endif
