/* What relive states and those who start it agree on: see its --help. */
#ifndef RELIVE_CLI_STATES_H
#define RELIVE_CLI_STATES_H

/* The first line of its output begins so, then comes the build. */
#define STATES_HELLO "relive-states 1"

enum { STATES_LINE = 512 }; /* bytes of a line at most */

#endif
