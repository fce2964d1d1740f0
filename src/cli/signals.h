/* Signals that end a run: the first one asks, the second one exits at once. */
#ifndef RELIVE_CLI_SIGNALS_H
#define RELIVE_CLI_SIGNALS_H

#include "host/terminal.h"

#include <stdbool.h>

/* terminal is borrowed for the process's life (NULL: none): restored when a
 * signal kills the process. */
void signals_install(struct terminal *terminal);
bool signals_arrived(void);

#endif
