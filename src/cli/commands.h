/* The subcommands, one file each. */
#ifndef RELIVE_CLI_COMMANDS_H
#define RELIVE_CLI_COMMANDS_H

#include "cli/options.h"

extern const struct command command_run, command_record, command_replay,
    command_info, command_events, command_check, command_screenshot,
    command_debug, command_snapshots, command_compact, command_trim,
    command_pack, command_unpack,
    command_trace, command_traces, command_crash, command_export,
    command_query, command_bisect, command_diff, command_states, command_view;

/* What `relive help input` prints. */
void help_input(void);
/* What `relive help lua` prints. */
void help_lua(void);

#endif
