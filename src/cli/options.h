/* Command lines: one table row per option drives parsing and help. */
#ifndef RELIVE_CLI_OPTIONS_H
#define RELIVE_CLI_OPTIONS_H

#include "base/error.h"
#include "board/config.h"
#include "board/machine.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses of every command. */
enum {
    STATUS_OK = 0,
    STATUS_GUEST = 1, /* the replay diverged, or the guest failed */
    STATUS_BAD = 2    /* usage, bad input, host trouble */
};

enum pace {
    PACE_AUTO, /* real when someone can type, max otherwise */
    PACE_REAL,
    PACE_MAX
};

enum { SYMBOL_FILES = 32 };

/* A tick, given as such or as guest time. */
struct tick_option {
    bool is_given, is_time;
    uint64_t value; /* ticks or ns */
};

/* Everything any command takes; texts are borrowed from argv. */
struct cli_options {
    struct machine_config config;
    const char *session; /* the argument, or record's -o */
    const char *output;  /* screenshot's, trim's -o */
    const char *serial, *debugcon;
    const char *input;
    const char *log;
    const char *screenshot;
    const char *until_serial;
    struct tick_option until, from, to, at;
    enum pace pace;
    uint64_t limit_bytes;
    bool jit_perf_map, count_memory;
    const char *stats; /* where telemetry goes; NULL: nowhere */
    bool hud;
    uint32_t slow_frame_ms; /* 0: no frame is slow */
    uint64_t snapshot_interval; /* ns; 0: none on the way */
    uint64_t snapshot_budget;   /* bytes; 0: no limit */
    bool has_interval, has_budget;
    bool with_media; /* pack's */
    unsigned jobs;              /* replay's; 0: not given */
    unsigned segment, segments; /* I/N; 0: not given */
    uint64_t stress_tlb, stress_block, stress_save, stress_slice;
    bool no_verify, json;
    const char *listen, *arch; /* debug's */
    const char *format;        /* export's */
    const char *media_dir;     /* of a session's media that have moved */
    const char *what, *name;   /* trace's, traces' */
    bool deletes;              /* traces' */
    bool with_gdb;
    unsigned points, pictures; /* view's; 0: not given */
    /* query's */
    const char *code, *script;
    char **script_words; /* arguments of the script */
    int script_count;
    uint64_t timeout_ns, script_memory; /* 0: no limit */
    bool has_script_memory, allows_files;
    const char *symbols[SYMBOL_FILES]; /* FILE@ADDRESS */
    unsigned symbol_count;
    const char *other; /* diff's second session */
    const char *engines, *against, *when; /* bisect's */
    uint64_t every;                       /* 0: not given */
    bool first;
};

struct option_row {
    const char *name; /* NULL ends a table */
    char letter;      /* also -x VALUE; 0: none */
    const char *arg;  /* NULL: takes no value */
    const char *help;
    bool (*take)(struct cli_options *o, const char *value, struct error *err);
};

struct command {
    const char *name;
    const char *synopsis;               /* behind the name */
    const char *summary;                /* a few words */
    const char *details;                /* paragraphs for --help */
    const struct option_row *groups[8]; /* tables, NULL at the end */
    bool takes_session;                 /* has one argument, the session */
    bool takes_other;                   /* and another session */
    bool takes_script;                  /* behind it a script and its own words */
    bool takes_machine;                 /* fill in firmware defaults */
    int (*run)(const struct cli_options *o);
};

extern const struct option_row machine_options[];
extern const struct option_row engine_options[];
extern const struct option_row media_options[]; /* of who replays */
extern const struct option_row stats_options[];
extern const struct option_row stress_options[];

/* Setters that commands' own tables name. */
bool take_output_session(struct cli_options *o, const char *v,
                         struct error *err);
bool take_until(struct cli_options *o, const char *v, struct error *err);

/* "512M", "2G", "65536K": MiB without a unit. */
bool size_parse(const char *option, const char *v, uint64_t *bytes,
                struct error *err);
bool take_from(struct cli_options *o, const char *v, struct error *err);
bool take_to(struct cli_options *o, const char *v, struct error *err);
bool take_json(struct cli_options *o, const char *v, struct error *err);
/* The file or session to make. */
bool take_output(struct cli_options *o, const char *v, struct error *err);
bool take_hud(struct cli_options *o, const char *v, struct error *err);
bool take_every(struct cli_options *o, const char *v, struct error *err);
bool take_budget(struct cli_options *o, const char *v, struct error *err);
#define SNAPSHOT_BUDGET_DEFAULT (UINT64_C(8) << 30)

/* "123" or "2.5s". */
bool tick_option_parse(struct tick_option *t, const char *name,
                       const char *text, struct error *err);
/* As ticks of a machine; `otherwise` when it was not given. */
uint64_t tick_option_ticks(const struct tick_option *t, uint32_t cpu_mhz,
                           uint64_t otherwise);

enum parse_result {
    PARSE_OK,
    PARSE_HELP, /* --help was there */
    PARSE_BAD
};
/* argv[0] is the command's name. */
enum parse_result options_parse(const struct command *c, int argc, char **argv,
                                struct cli_options *o, struct error *err);

/* What `relive COMMAND --help` shows, to stdout. */
void options_help(const struct command *c);

/* Print "relive: SENTENCE" to stderr; returns STATUS_BAD. */
int cli_fail(const struct error *err);
/* One line to stderr, of the same shape. */
void cli_warn(const char *text);

#endif
