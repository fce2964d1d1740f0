/* Signals that end a run: the first one asks, the second one exits at once. */
#ifndef RELIVE_CLI_SIGNALS_H
#define RELIVE_CLI_SIGNALS_H

#include "host/terminal.h"

#include <stdbool.h>
#include <stdint.h>

/* terminal is borrowed for the process's life (NULL: none): restored when a
 * signal kills the process. */
void signals_install(struct terminal *terminal);
bool signals_arrived(void);
/* The request has been met: a later signal is a first one again. */
void signals_forget(void);

/* In so many nanoseconds, unless called again before: say `text` on stderr and
 * exit with status 2, whatever the process is doing. 0: not at all. text lives
 * as long as the process. */
void signals_watchdog(uint64_t ns, const char *text);

#endif
