/* Two processes that run sessions side by side, and what a bisect of them says:
 * what relive bisect and relive diff share. */
#ifndef RELIVE_CLI_BISECTION_H
#define RELIVE_CLI_BISECTION_H

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/states_client.h"
#include "replay/bisect.h"
#include "replay/session.h"

struct bisection {
    struct session *session; /* owned: whose snapshots divide the range */
    struct states_client client[2];
    const char *name[2]; /* borrowed */
    struct progress progress;
    struct bisect bisect;
    struct bisect_result result;
    struct writer code[2], difference; /* texts of the report */
};

/* All borrowed, for as long as the bisection lives. */
struct bisection_side {
    const char *name;    /* in the report */
    const char *engine;  /* as --engine, or jit; NULL: that of the options,
                            or of the recording */
    const char *program; /* NULL: this one */
    const char *session;
};
/* Start side n. The session is open. */
bool bisection_open_side(struct bisection *b, unsigned n,
                         const struct cli_options *o,
                         const struct bisection_side *side, struct error *err);
/* With both sides, the session and bisect.from, to and every set: find the
 * difference and look at it. */
bool bisection_run(struct bisection *b, struct error *err);
/* A program that was started has told what is wrong. */
bool bisection_is_said(const struct bisection *b);
void bisection_close(struct bisection *b); /* zeroed is fine */

/* session: for the command that debugs it. */
void bisection_print(const struct bisection *b, const char *session);
bool bisection_print_json(const struct bisection *b, struct error *err);

#endif
