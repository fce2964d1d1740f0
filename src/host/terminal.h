/* The user's terminal in raw mode, for a guest whose serial line is on it.
 * Ctrl-A is the escape: x ends the run, Ctrl-A or a sends Ctrl-A, h helps. */
#ifndef RELIVE_HOST_TERMINAL_H
#define RELIVE_HOST_TERMINAL_H

#include "base/error.h"

#include <stddef.h>
#include <termios.h>

struct terminal {
    int fd;
    bool is_raw;
    bool escape; /* the last byte was Ctrl-A */
    struct termios cooked;
};

void terminal_init(struct terminal *t);
bool terminal_is_tty(int fd);

/* Every byte typed is delivered at once and unchanged. Output processing stays,
 * so that a lone newline still starts a line. */
bool terminal_raw(struct terminal *t, int fd, struct error *err);
/* Back to what it was; safe in a signal handler; idempotent. */
void terminal_restore(struct terminal *t);

enum terminal_key {
    TERMINAL_NONE,
    TERMINAL_QUIT, /* Ctrl-A x was typed */
    TERMINAL_HELP
};
/* Take escapes out of what was typed, in place. Returns the bytes left for the
 * guest; *key tells the last escape in them. */
size_t terminal_filter(struct terminal *t, char *bytes, size_t count,
                       enum terminal_key *key);

#endif
