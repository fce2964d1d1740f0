/* The front door: which command, which help. */
#include "cli/commands.h"
#include "cli/machine_setup.h"
#include "cli/version.h"
#include "replay/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_run,    &command_record, &command_replay,     &command_info,
    &command_events, &command_check,  &command_screenshot, &command_debug,
    &command_snapshots, &command_compact, &command_trim, &command_crash,
    &command_export, &command_pack, &command_unpack, &command_trace,
    &command_traces, &command_query, &command_bisect, &command_diff,
    &command_states, &command_view,
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const struct command *find_command(const char *name)
{
    for (unsigned i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void help(void)
{
    (void)printf(
        "usage: relive COMMAND [OPTIONS]\n\n"
        "A PC that records what happens in it and replays it exactly.\n\n"
        "Commands:\n");
    for (unsigned i = 0; i < COMMANDS; i++)
        (void)printf("  %-12s%s\n", commands[i]->name, commands[i]->summary);
    (void)printf(
        "  help        this text; help COMMAND, help input (input scripts),\n"
        "              help lua (what scripts can use)\n\n"
        "Options:\n"
        "      --help      show this text; relive COMMAND --help for a "
        "command\n"
        "      --version   show the version\n\n"
        "Example:\n"
        "  relive record -o s --mem 2G --disk win7.img\n"
        "  relive replay s\n\n"
        "Exit status:\n"
        "  0  all went well\n"
        "  1  the replay differs from the recording, or the guest failed: a\n"
        "     triple fault, a text that did not come\n"
        "  2  usage, bad input (media, session, script), or host trouble\n"
        "  (v << 1) | 1, modulo 256, from run and record when the guest "
        "writes\n"
        "  v to isa-debug-exit\n");
}

static int usage(const char *sentence, const char *word)
{
    struct error err;
    error_set(&err, ERR_USAGE, sentence, word);
    return cli_fail(&err);
}

static int run_command(const struct command *c, int argc, char **argv)
{
    struct error err;
    struct cli_options *o = malloc(sizeof *o);
    int status = STATUS_BAD;
    if (!o)
        return usage("%s: out of memory", c->name);
    switch (options_parse(c, argc, argv, o, &err)) {
    case PARSE_HELP:
        options_help(c);
        status = STATUS_OK;
        break;
    case PARSE_BAD:
        status = cli_fail(&err);
        break;
    case PARSE_OK:
        if (c->takes_machine && !machine_setup_defaults(&o->config, &err))
            status = cli_fail(&err);
        else
            status = c->run(o);
        break;
    }
    free(o);
    return status;
}

static int run_help(int argc, char **argv)
{
    if (argc < 2) {
        help();
        return STATUS_OK;
    }
    const struct command *c = find_command(argv[1]);
    if (c)
        options_help(c);
    else if (strcmp(argv[1], "input") == 0)
        help_input();
    else if (strcmp(argv[1], "lua") == 0)
        help_lua();
    else
        return usage("help: expected a command, input or lua, found '%.100s' (see "
                     "relive --help)",
                     argv[1]);
    return STATUS_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return usage("expected a command%s (see relive --help)", "");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help();
        return STATUS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("%s, session format %d\n", RELIVE_BUILD, STORE_FORMAT);
        return STATUS_OK;
    }
    if (strcmp(argv[1], "help") == 0)
        return run_help(argc - 1, argv + 1);
    const struct command *c = find_command(argv[1]);
    if (!c)
        return usage(argv[1][0] == '-'
                         ? "unknown option '%.100s' (see relive --help)"
                         : "unknown command '%.100s' (see relive --help)",
                     argv[1]);
    return run_command(c, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    bool is_written = fflush(stdout) == 0 && !ferror(stdout);
    if (!is_written && status == STATUS_OK)
        return usage("cannot write to standard output: %.200s",
                     strerror(errno));
    return status;
}
