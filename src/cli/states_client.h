/* Another process that answers questions about the states of a session: the
 * other end of relive states, as a side of a bisect. */
#ifndef RELIVE_CLI_STATES_CLIENT_H
#define RELIVE_CLI_STATES_CLIENT_H

#include "base/error.h"
#include "replay/bisect.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct states_client {
    struct bisect_side side; /* its calls; the context is this struct */
    const char *name;        /* borrowed: for sentences */
    pid_t pid;               /* 0: none */
    FILE *to, *from;         /* owned */
    char build[200];         /* of the program that answers */
    bool has_spoken;         /* it has said itself what went wrong */
};

/* Start `program states session args...` (args ends with NULL; name is what
 * sentences call it). c does not move afterwards. On false with has_spoken the
 * program has already told its user why. */
bool states_client_open(struct states_client *c, const char *name,
                        const char *program, const char *session,
                        const char *const *args, struct error *err);
void states_client_close(struct states_client *c); /* zeroed is fine */

#endif
