/* The prompt of relive query. */
#ifndef RELIVE_CLI_PROMPT_H
#define RELIVE_CLI_PROMPT_H

#include "analysis/lua_vm.h"

/* Read lines and run them until the end of input or exit(); with history
 * (~/.relive_history) and completion at a terminal. Ctrl-C stops what runs and
 * the line that is typed. Returns the exit status: STATUS_BAD when lines that
 * did not come from a terminal failed. */
int prompt_run(struct lua_vm *vm);

#endif
