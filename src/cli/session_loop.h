/* Runs a machine, recorded or not, in slices of guest time, and between them
 * looks after its surroundings: input, output, pace, signals, progress. */
#ifndef RELIVE_CLI_SESSION_LOOP_H
#define RELIVE_CLI_SESSION_LOOP_H

#include "cli/machine_setup.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/stats.h"
#include "host/channel.h"
#include "host/input_player.h"
#include "host/terminal.h"

enum loop_end {
    LOOP_GUEST,    /* the guest ended: reason */
    LOOP_TICK,     /* --until */
    LOOP_SERIAL,   /* --until-serial */
    LOOP_QUIT,     /* the script's quit */
    LOOP_SIGNAL,   /* Ctrl-C and its kind */
    LOOP_ESCAPE,   /* Ctrl-A x */
    LOOP_TIMEOUT,  /* a wait of the script: error */
    LOOP_RECORDER, /* the recording cannot go on: error */
    LOOP_FAILED    /* error */
};

enum {
    WATCH_BYTES = 256, /* longest text of --until-serial */
    TYPED_BYTES = 4096 /* input that waits for its guest time */
};

/* Has a text gone by? One byte at a time, wherever it is cut. */
struct text_watch {
    const char *text; /* NULL: nothing to find */
    unsigned bytes, matched;
    bool is_found;
    unsigned fallback[WATCH_BYTES]; /* Knuth, Morris, Pratt 1977 */
};

struct session_loop {
    const struct cli_options *options; /* borrowed */
    struct machine_setup *setup;       /* borrowed */
    struct machine *machine;           /* borrowed */
    struct recorder *recorder;         /* borrowed; NULL: not recorded */
    struct channel serial, debugcon;
    struct terminal terminal;
    bool is_real_pace;
    struct input_script script;
    struct input_sink sink;
    struct input_player *player; /* owned; NULL: no script */
    struct stats *stats; /* borrowed */
    struct text_watch watch;
    struct progress progress;
    uint64_t until_tick, next_reload;
    uint64_t paced_tick, paced_ns; /* where guest and wall clock meet */
    char typed[TYPED_BYTES];
    size_t typed_bytes;
    uint64_t next_typed; /* tick */

    enum loop_end end;
    enum stop_reason reason; /* what a recording's END says */
    uint64_t host_ns;        /* how long the loop ran */
    struct error error;
};

/* Reads the script and opens the channels; the machine may come later. */
bool session_loop_open(struct session_loop *l, const struct cli_options *o,
                       struct error *err);
void session_loop_close(struct session_loop *l);

/* Give the loop its machine; output goes through session_loop_output(). */
bool session_loop_attach(struct session_loop *l, struct machine_setup *setup,
                         struct error *err);

/* Observer of the guest's output; context is the loop. */
void session_loop_output(void *context, uint64_t tick,
                         enum output_channel channel, const void *bytes,
                         size_t count);

/* Until something ends it: fills end, reason and, where it says so, error. */
void session_loop_run(struct session_loop *l);

#endif
