/* relive bisect --when. */
#ifndef RELIVE_CLI_BISECT_WHEN_H
#define RELIVE_CLI_BISECT_WHEN_H

#include "cli/options.h"

int bisect_when(const struct cli_options *o);

#endif
