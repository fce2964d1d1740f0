/* relive run: a machine without a recording. */
#include "cli/commands.h"
#include "cli/live.h"

const struct command command_run = {
    .name = "run",
    .synopsis = "MACHINE-OPTIONS",
    .summary = "run a machine without recording it",
    .details =
        "Run a PC until its guest powers it off, ends it through\n"
        "isa-debug-exit (value v: exit status (v << 1) | 1, modulo 256) or\n"
        "triple-faults (exit status 1), or until --until, --until-serial, the\n"
        "input script's quit or Ctrl-C. A second Ctrl-C exits at once. Images\n"
        "are opened read-only; what the guest writes is forgotten at the end.",
    .groups = {machine_options, engine_options, stats_options,
               stress_options},
    .takes_machine = true,
    .run = live_run,
};
